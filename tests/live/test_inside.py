"""What is done inside a jail by streams, on the host of these tests: a terminal, one command, a log that is followed,
and a file out of a snapshot. Nothing of it is left on the host."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jails.consoles import reach
from jails.freebsd import console, jexec, logs, timeout
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import Stream
from jails.looks import looking
from jails.models import Jail
from tests.live.site import Site
from tests.live.test_story import Story

pytestmark = [] if os.environ.get("CELLBLOCK_LIVE_HOST") else [pytest.mark.slow]

LOG = "/var/log/cbt.log"
PATIENCE = 30


def talk(site: Site, argv: Argv, conversation: Callable[[Stream], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        loop = asyncio.get_running_loop()
        stream = await loop.run_in_executor(None, site.connection.stream, argv, loop)
        try:
            return await asyncio.wait_for(conversation(stream), 2 * PATIENCE)
        finally:
            await reach.let_go(stream)

    return asyncio.run(go())


async def until(read: Callable[[], Awaitable[bytes]], text: bytes) -> bytes:
    found = b""
    while text not in found:
        part = await asyncio.wait_for(read(), PATIENCE)
        assert part, found
        found += part
    return found


def is_gone(site: Site, *pgrep: str) -> bool:
    end = time.monotonic() + PATIENCE
    while site.output("pgrep", *pgrep):
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@pytest.mark.timeout(3600)
def test_inside(story: Story) -> None:
    site = story.site
    story.done("host_setup", reserve=False)
    release = story.fetched()
    www1 = story.created("www1", kind="thick", storage=release.storage, release=release.pk, start=True)
    jid = looking.jid_of(site.connection, www1)
    a_terminal(site, www1, jid)
    one_command(site, jid)
    a_followed_log(site, story, www1, jid)
    if release.storage == "zfs":
        a_file_of_a_snapshot(story, www1)
    story.done("jail_destroy", jail=str(www1.uuid), name=www1.name)
    story.done("release_remove", release=release.pk)


def a_terminal(site: Site, row: Jail, jid: int) -> None:
    """Its size, its end by itself with a status, and its end by the panel with what runs on it."""
    tokens = console.Tokens(secrets.token_hex(16), secrets.token_hex(16))

    async def typing(stream: Stream) -> None:
        told = await until(stream.read_error, b"\n")
        tty, _ = console.told(told, tokens)
        assert tty.startswith("pts/")
        await stream.write(b"echo it-is-$((40+2)) $(hostname) $(stty size)\n")
        assert row.hostname.encode() in await until(stream.read, b"it-is-42 ")
        words = console.resize(jid, "root", tty, columns=101, rows=31)
        assert (await asyncio.to_thread(site.connection.run, Pipeline.of(words), timeout=PATIENCE)).ok
        await stream.write(b"echo now $(stty size)\n")
        await until(stream.read, b"now 31 101")
        await stream.write(b"exit 7\n")
        said = told
        while (status := console.told(said, tokens)[1]) is None:
            part = await asyncio.wait_for(stream.read_error(), PATIENCE)
            assert part, said
            said += part
        assert status == 7

    talk(site, console.terminal(jid, "root", tokens, columns=80, rows=24), typing)
    assert is_gone(site, "-f", tokens.mark)

    tokens = console.Tokens(secrets.token_hex(16), secrets.token_hex(16))

    async def leaving(stream: Stream) -> None:
        await until(stream.read_error, b"\n")
        await stream.write(b"echo begun; sleep 4321\n")
        await until(stream.read, b"begun\r\n")

    talk(site, console.terminal(jid, "root", tokens, columns=80, rows=24), leaving)
    assert is_gone(site, "-f", tokens.mark) and is_gone(site, "-j", str(jid), "-f", "sleep 4321")


def one_command(site: Site, jid: int) -> None:
    words = console.line(jid, "root", seconds=20)
    text = b"id -un; echo to error >&2; cat; exit 3"
    result = site.connection.run(Pipeline.of(words, stdin=text), timeout=PATIENCE)
    assert (result.rc, result.stdout) == (3, b"root\nto error\n")
    late = Pipeline.of(console.line(jid, "root", seconds=2), stdin=b"sleep 4322 & sleep 4323")
    assert site.connection.run(late, timeout=PATIENCE).rc == timeout.EXPIRED
    assert is_gone(site, "-j", str(jid), "-f", "sleep 432")


def a_followed_log(site: Site, story: Story, row: Jail, jid: int) -> None:
    """What is there, what comes, and what is in the file that takes its place; nothing stays while it is quiet."""

    def write(script: str) -> Awaitable[str]:
        return asyncio.to_thread(story.inside, row, "sh", "-c", script)

    async def all_of_it(stream: Stream) -> None:
        assert await until(stream.read, b"\n") == b"get 1\n"
        await write(f"echo post 2 >>{LOG}")
        assert await until(stream.read, b"\n") == b"post 2\n"
        await write(f"mv {LOG} {LOG}.0; echo get 3 >{LOG}")
        assert await until(stream.read, b"\n") == b"get 3\n"

    async def those_with_a_text(stream: Stream) -> None:
        assert await until(stream.read, b"\n") == b"get 3\n"
        await write(f"echo post 4 >>{LOG}; echo get 5 >>{LOG}")
        assert await until(stream.read, b"\n") == b"get 5\n"

    async def what_is_not_there(stream: Stream) -> None:
        assert timeout.ended(await until(stream.read_error, b"\n")) == logs.GONE

    story.inside(row, "sh", "-c", f"echo get 1 >{LOG}")
    for path, text, conversation in (
        (LOG, "", all_of_it),
        (LOG, "GET", those_with_a_text),
        (f"{LOG}.none", "", what_is_not_there),
    ):
        talk(site, timeout.while_open(600, jexec.run(jid, logs.follow(path, text))), conversation)
        assert is_gone(site, "-j", str(jid), "-f", LOG), text


def a_file_of_a_snapshot(story: Story, row: Jail) -> None:
    """By the way of .zfs/snapshot: beside what is there, and instead of it."""
    story.inside(row, "sh", "-c", "mkdir -p /srv; echo old >/srv/page")
    story.done("snapshot_create", jail=str(row.uuid), name="monday")
    story.inside(row, "sh", "-c", "echo new >/srv/page")
    restored = story.done("file_restore", jail=str(row.uuid), snapshot="monday", path="/srv/page", how="beside")
    assert story.inside(row, "cat", "/srv/page") == "new\n"
    assert story.inside(row, "cat", f"/srv/page.restored-{str(restored.pk)[:8]}") == "old\n"
    story.done("file_restore", jail=str(row.uuid), snapshot="monday", path="/srv/page", how="replace")
    assert story.inside(row, "cat", "/srv/page") == "old\n"
