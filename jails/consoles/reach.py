"""What all that consoled has open in a jail has in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from jails.consoles import frames
from jails.consoles.tickets import Opening
from jails.hosts import connect
from jails.hosts.connection import Connection, Stream
from jails.looks import looking
from jails.models import Console

if TYPE_CHECKING:
    from jails.consoles.server import Consoled

log = logging.getLogger(__name__)
Ended = Console.Ended

FAREWELL = 12.0
"""Seconds for what runs in a jail to end, longer than the host itself takes to kill it (jails.freebsd.console)."""


def inside(opening: Opening) -> tuple[int, Connection]:
    """The jail as it runs right now, proved to be the one that is meant. Raises looking.Refused, HostUnavailable,
    CommandTimeout."""
    connection = connect.connection(opening.jail.host)
    return looking.jid_of(connection, opening.jail), connection


async def let_go(stream: Stream) -> None:
    """The end of its input has the host end what is in the jail."""
    stream.end_input()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(_drained(stream), FAREWELL)
    stream.close()


async def _drained(stream: Stream) -> None:
    async def empty(read: Callable[[], Any]) -> None:
        while await read():
            pass

    await asyncio.gather(empty(stream.read), empty(stream.read_error))


async def first_of(tasks: list[asyncio.Task[None]], over: asyncio.Event) -> None:
    """Until one says that it is over, or all have come to their end. Raises what one of them has raised."""
    left, waiting = set(tasks), asyncio.create_task(over.wait())
    try:
        while left and not waiting.done():
            done, _ = await asyncio.wait([*left, waiting], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                left.discard(task)
                task.result()
    finally:
        waiting.cancel()


async def put_down(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Relay:
    """Something open in a jail: a browser behind the socket on one side, a command in the jail on the other."""

    what = failure = ""
    """What it is, for the log of consoled, and what its person reads where it fails."""
    by_itself: tuple[Ended, ...] = (Ended.EXIT,)
    """Ends after which what the command has said before is shown still."""
    last_words = 3.0
    """Seconds for that."""

    def __init__(
        self, consoled: Consoled, opening: Opening, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.consoled, self.opening = consoled, opening
        self.reader, self.writer = reader, writer
        self.ended: Ended | None = None
        self.words = ""
        self.over = asyncio.Event()

    async def _begin(self) -> Stream | None:
        """The command in the jail; None where there is none to have."""
        raise NotImplementedError

    def _parts(self, stream: Stream) -> tuple[Coroutine[Any, Any, None], ...]:
        """What goes on at once while it is open: what the command says first."""
        raise NotImplementedError

    async def _close(self) -> None:
        raise NotImplementedError

    def end(self, ended: Ended, words: str = "") -> None:
        if self.ended is None:
            self.ended, self.words = ended, words
            self.over.set()

    async def live(self) -> None:
        stream = None
        try:
            stream = await self._begin()
            if stream is not None:
                await self._relay(stream)
        except Exception:
            log.exception("%s failed", self.what)
            self.end(Ended.FAILED, self.failure)
        finally:
            try:
                await self._close()
            except Exception:
                # The row of a console stays open, and is ended by the next consoled (records.rescue).
                log.exception("the end of %s could not be written", self.what)
            finally:
                if stream is not None:
                    await let_go(stream)

    async def _relay(self, stream: Stream) -> None:
        tasks = [asyncio.create_task(one) for one in self._parts(stream)]
        output = tasks[0]
        try:
            await first_of(tasks, self.over)
            if self.ended in self.by_itself and not output.done():
                stream.end_input()
                await asyncio.wait([output], timeout=self.last_words)
        finally:
            await put_down(tasks)

    async def _tell(self, value: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            self.writer.write(frames.message(value))
            await asyncio.wait_for(self.writer.drain(), 5)
