"""consoled by itself: what it does when nothing can be written."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from django.db import DatabaseError

from jails.consoles import cast, frames, records, server
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


def opening():
    jail = SimpleNamespace(host_id=1, tenant_id=None)
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
