"""consoled by itself: what it does when nothing can be written, and whose turn it is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import SimpleNamespace

import pytest
from django.db import DatabaseError
from django.utils import timezone

from jails.consoles import cast, frames, records, server
from jails.consoles.tickets import Refused
from jails.models import Console


class Writer:
    def __init__(self):
        self.sent = []

    def write(self, content):
        kind, rest = content[:1], content[5:]
        if content:
            self.sent.append(frames.parsed(rest) if kind == frames.JSON else rest)

    async def drain(self):
        pass


class Stream:
    """What `Terminal` has of the host: it notes whether the jail's side was let go."""

    def __init__(self):
        self.done = []

    async def read(self):
        return b""

    read_error = read

    def end_input(self):
        self.done.append("end of input")

    def close(self):
        self.done.append("closed")


def opening(host=1):
    jail = SimpleNamespace(host_id=host, tenant_id=None)
    return SimpleNamespace(jail=jail, user=SimpleNamespace(pk=1), login="root")


@pytest.mark.parametrize("fails", ["recording", "database"])
def test_a_console_ends_in_order_when_its_end_cannot_be_written(fails):
    written, stream, writer = [], Stream(), Writer()

    def note(text):
        if fails == "recording":
            raise OSError(28, "No space left on device")

    async def close(console, recorder, ended, status):
        if fails == "database":
            raise DatabaseError("gone")
        written.append(ended)

    async def begin():
        return stream

    async def relay(stream):
        terminal.end(Console.Ended.EXIT, "The shell ended.")

    terminal = server.Terminal.__new__(server.Terminal)
    terminal.consoled, terminal.console = SimpleNamespace(_close=close), None
    terminal.recorder, terminal.writer = SimpleNamespace(note=note), writer
    terminal.ended, terminal.words, terminal.status = None, "", 0
    terminal._begin, terminal._relay = begin, relay

    async def live():
        terminal.over = asyncio.Event()
        await terminal.live()

    asyncio.run(live())
    assert writer.sent == [{"ended": "exit", "words": "The shell ended.", "status": 0}]
    assert stream.done == ["end of input", "closed"]
    assert written == ([Console.Ended.EXIT] if fails == "recording" else [])


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run one command by a consoled, with a database that answers without one: what was sent, and what was kept."""
    ended = []
    monkeypatch.setattr(server, "_recorder", lambda *_: cast.Recorder(tmp_path / "x.cast", {}, largest=4000))

    async def one(consoled, text="id"):
        async def in_database(function, *words, **named):
            if function is records.end:
                ended.append((words[1], named))
            return opening() if function is server._redeem else None

        consoled.in_database = in_database
        writer = Writer()
        await consoled._run({"text": text}, None, writer)
        return writer.sent

    return one, ended


def result(stdout):
    return SimpleNamespace(stdout=stdout, rc=0, truncated=False)


def test_a_command_whose_output_cannot_be_recorded_is_ended_all_the_same(run, monkeypatch):
    one, ended = run
    monkeypatch.setattr(server, "_command", lambda opening, text: (Console.Ended.EXIT, "", result(b"out\n")))

    def full(recorder, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cast.Recorder, "shown", full)

    async def whole():
        return await one(server.Consoled())

    output, said = asyncio.run(whole())
    assert output == b"out\n" and said["words"] == "What it printed could not be recorded."
    assert [words for words, _ in ended] == ["exit"]


def test_ends_that_no_database_takes_are_written_later_as_of_then(monkeypatch, settings):
    """In their order, once each; of more than may be kept the rest is left to the next consoled."""
    settings.CONSOLE_POLL_SECONDS = 0.01
    monkeypatch.setattr(server, "OWED", 2)
    answers, written = ["gone", "gone", "gone", "gone"], []

    def end(console, ended, *, at, **values):
        if answers:
            raise DatabaseError(answers.pop())
        written.append((console, ended, at, values["status"]))

    monkeypatch.setattr(records, "end", end)
    recorder = SimpleNamespace(finish=lambda: "digest", size=7, cut=False)

    async def whole():
        consoled = server.Consoled()

        async def in_database(function, *words, **named):
            return function(*words, **named)

        consoled.in_database = in_database
        for console, status in (("first", 1), ("second", 2), ("third", 3)):
            await consoled._close(console, recorder, Console.Ended.EXIT, status)
        before = timezone.now()
        assert not written and len(consoled.owed) == 2
        looking = asyncio.create_task(consoled._look_after())
        while consoled.owed or not written:
            await asyncio.sleep(0.01)
        looking.cancel()
        return before

    before = asyncio.run(asyncio.wait_for(whole(), 10))
    assert [(console, status) for console, _, _, status in written] == [("first", 1), ("second", 2)]
    assert all(at < before for _, _, at, _ in written)


def test_commands_that_wait_keep_no_terminal_waiting(run, monkeypatch, settings):
    settings.CONSOLE_COMMANDS = settings.CONSOLE_THREADS = 1
    one, _ = run
    begun, go_on = threading.Event(), threading.Event()

    def command(opening, text):
        begun.set()
        assert go_on.wait(20)
        return Console.Ended.EXIT, "", result(b"")

    monkeypatch.setattr(server, "_command", command)

    async def whole():
        consoled = server.Consoled()
        waiting = asyncio.create_task(one(consoled))
        assert await asyncio.to_thread(begun.wait, 20)
        try:
            assert await asyncio.wait_for(consoled.on_host(lambda: "a terminal"), 5) == "a terminal"
        finally:
            go_on.set()
        await waiting

    asyncio.run(whole())


def test_so_many_commands_run_on_a_host_at_once(settings):
    async def whole():
        consoled = server.Consoled()
        with contextlib.ExitStack() as held:
            for _ in range(settings.CONSOLE_COMMANDS_PER_HOST):
                held.enter_context(consoled._turn(opening().jail))
            with pytest.raises(Refused, match="Too many commands run"), consoled._turn(opening().jail):
                pass
            with consoled._turn(opening(host=2).jail):
                pass
        with consoled._turn(opening().jail):
            pass
        assert not consoled.places

    asyncio.run(whole())
