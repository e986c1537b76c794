"""A log of a jail that is followed: tail(1) in the jail on one side, lines of text for a browser on the other.

What it prints is the tenant's text. It is taken no faster than it is passed on, and bounded in lines a second, in the
bytes of all of it and in time; what is too much is left out and counted, or ends it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from django.conf import settings

from jails.consoles import frames, reach
from jails.consoles.tickets import Opening
from jails.freebsd import jexec, logs, timeout
from jails.hosts.connection import CommandTimeout, HostUnavailable, Stream
from jails.looks import looking
from jails.models import Console
from jails.operations.transcript import safe

if TYPE_CHECKING:
    from jails.consoles.server import Consoled

log = logging.getLogger(__name__)
Ended = Console.Ended

LINES_A_SECOND = 200
AT_ONCE = 1000
"""Lines that may come in one go: those that are there already, and a burst after a quiet time."""
BEAT = 0.1
"""Seconds between messages, in which nothing is taken from the jail either."""
MORE = 60
"""Seconds after which the host ends it where nobody else has."""
ROOM = frames.LARGEST - 1024
"""Bytes of one message."""
_ERROR_LONGEST = 4096

WORDS = {
    Ended.LEFT: "",
    Ended.TIME: "It was followed for as long as one may.",
    Ended.RIGHT: "The right to read it ended.",
    Ended.SESSION: "You are signed out.",
    Ended.JAIL: "The jail stopped, or somebody in it ended this.",
    Ended.HOST: "Its host could not be reached, or the connection to it was lost.",
    Ended.FAILED: "It cannot be followed.",
    Ended.SERVICE: "The service that follows logs was stopped.",
    Ended.EXIT: "What reads it in the jail ended.",
}


class Follower(reach.Relay):
    """One followed log. `text`: only lines that have it in them; "" for all."""

    what, failure = "a followed log", "Something went wrong in the service that follows logs."
    by_itself = (Ended.EXIT, Ended.FAILED)
    last_words = 1.0

    def __init__(
        self,
        consoled: Consoled,
        opening: Opening,
        text: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        super().__init__(consoled, opening, reader, writer)
        self.text = text
        self.lines = Lines()
        self.taken = 0

    async def _begin(self) -> Stream | None:
        try:
            jid, connection = await self.consoled.on_host(reach.inside, self.opening)
            command = jexec.run(jid, logs.follow(self.opening.log, self.text))
            words = timeout.while_open(settings.FOLLOW_SECONDS + MORE, command)
            stream: Stream = await self.consoled.on_host(connection.stream, words, self.consoled.loop)
        except looking.Refused as problem:
            self.end(Ended.JAIL, str(problem))
            return None
        except (HostUnavailable, CommandTimeout) as problem:
            # Where the host is and why it does not answer is for staff, who have its page.
            log.info("a log of jail %s cannot be followed: %s", self.opening.jail.pk, problem)
            self.end(Ended.HOST)
            return None
        await self._tell({"open": self.opening.log})
        return stream

    def _parts(self, stream: Stream) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._from_jail(stream), self._told(stream), self._from_browser(), self._watch()

    async def _close(self) -> None:
        ended = self.ended or Ended.LEFT
        await self._tell({"ended": ended.value, "words": self.words or WORDS[ended]})

    async def _from_jail(self, stream: Stream) -> None:
        while content := await stream.read():
            if self.ended not in (None, *self.by_itself):
                return
            self.taken += len(content)
            self.lines.take(content)
            for message in self.lines.messages(time.monotonic()):
                self.writer.write(message)
            await self.writer.drain()
            if self.taken > settings.FOLLOW_BYTES:
                most = f"{settings.FOLLOW_BYTES / (1 << 20):.0f} MiB"
                self.end(Ended.TIME, f"More than {most} came of it, which is as much as is shown in one go.")
                return
            await asyncio.sleep(BEAT)

    async def _told(self, stream: Stream) -> None:
        """That it has ended by itself; the end of all output without that is a loss."""
        error = b""
        while part := await stream.read_error():
            error = (error + part)[-_ERROR_LONGEST:]
            status = timeout.ended(error)
            if status == logs.GONE:
                self.end(Ended.FAILED, f"There is no file {self.opening.log} any more.")
            elif status is not None:
                self.end(Ended.JAIL if status > 128 else Ended.EXIT)
        self.end(Ended.HOST)

    async def _from_browser(self) -> None:
        while await frames.read(self.reader) is not None:
            pass
        self.end(Ended.LEFT)

    async def _watch(self) -> None:
        await asyncio.sleep(settings.FOLLOW_SECONDS)
        self.end(Ended.TIME)


class Lines:
    """Bytes of a log as messages with whole lines, short, of text that can be shown, and at most so many a second."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []
        self._left_out = 0
        self._room: float = AT_ONCE
        self._at = 0.0

    def take(self, content: bytes) -> None:
        *whole, rest = content.split(b"\n")
        for line in whole:
            self._lines.append(self._shown(self._rest + line))
            self._rest = b""
        # Of a line that never ends no more is kept than is shown of it.
        self._rest = (self._rest + rest)[: logs.WIDTH + 1]

    def _shown(self, line: bytes) -> str:
        text = safe(line[: logs.WIDTH].decode("utf-8", "replace").removesuffix("\r"))
        return f"{text}…" if len(line) > logs.WIDTH else text

    def messages(self, now: float) -> list[bytes]:
        """What is there, the newest of it where there is too much: {"lines": …, "left_out": how many before them}."""
        self._room = min(AT_ONCE, self._room + (now - self._at) * LINES_A_SECOND)
        self._at = now
        lines, self._lines = self._lines, []
        most = int(self._room)
        self._left_out += max(0, len(lines) - most)
        lines = lines[-most:] if most else []
        self._room -= len(lines)
        made, part, size = [], [], 0
        for line in lines:
            length = len(frames.text_of(line)) + 1
            if part and size + length > ROOM:
                made.append(self._message(part))
                part, size = [], 0
            part.append(line)
            size += length
        return [*made, self._message(part)] if part else made

    def _message(self, lines: list[str]) -> bytes:
        left_out, self._left_out = self._left_out, 0
        return frames.message({"lines": lines, "left_out": left_out})
