"""Reaching a host: what every kind of connection promises.

A connection runs pipelines as root on one host and knows nothing of jails, plans or the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from jails.freebsd.command import Argv, Pipeline

OUTPUT_LIMIT = 1_000_000
"""Bytes of stdout, and of stderr, kept of one command; what comes after is read and dropped."""

OnOutput = Callable[[bytes], None]
"""Called with pieces of stdout and stderr as they come, from the thread that runs the command."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left: its exit status (128 + n when signal n ended it) and its output in bytes."""

    rc: int
    stdout: bytes = b""
    stderr: bytes = b""
    truncated: bool = False

    @property
    def ok(self) -> bool:
        return self.rc == 0

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")


class Unavailable(StrEnum):
    """Why a host could not be reached."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNKNOWN_NAME = "unknown name"
    HOST_KEY = "host key"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_ROOT = "not root"
    LOST = "connection lost"
    MISSING = "missing"


class HostUnavailable(Exception):
    """The host could not be reached, or was lost while a command ran (`reason` is then LOST).

    After LOST the command may still run on the host: whoever goes on must take the operation's lock first.
    `offered`: with HOST_KEY, the key that the host shows, as known_hosts has it, for a person to compare.
    """

    def __init__(self, reason: Unavailable, message: str, *, offered: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.offered = offered


class CommandTimeout(Exception):
    """The command was still running after its time limit, in seconds; it may still run on the host."""

    def __init__(self, seconds: float, partial: Result) -> None:
        super().__init__(f"still running after {seconds:g} s")
        self.seconds = seconds
        self.partial = partial


class Stream(Protocol):
    """A command that runs with its standard input open. It belongs to the loop that it was opened for."""

    async def read(self) -> bytes:
        """The next bytes of standard output, b"" at its end. What is not read is not taken from the host."""
        ...

    async def read_error(self) -> bytes:
        """The same of standard error."""
        ...

    async def write(self, data: bytes) -> None:
        """Waits while the other side takes nothing. What nobody reads any more is dropped."""
        ...

    def end_input(self) -> None:
        """The end of standard input: the command learns that nothing more comes."""
        ...

    def close(self) -> None:
        """Let go of it; a command that still runs learns of it as by a lost connection."""
        ...


class Connection(Protocol):
    """One host, reached. Safe for use by several threads at once."""

    def run(
        self,
        pipeline: Pipeline,
        *,
        timeout: float,
        on_output: OnOutput | None = None,
        limit: int = OUTPUT_LIMIT,
    ) -> Result:
        """Run a pipeline and wait for it, at most `timeout` seconds.

        A command is over when it exits, not at end of file: daemons may hold its output open.

        Raises HostUnavailable or CommandTimeout. A non-zero exit status is a Result, not an exception.
        """
        ...

    def stream(self, argv: Argv, loop: asyncio.AbstractEventLoop) -> Stream:
        """Start a command and leave it running, for `loop`. Blocks: to be called from another thread.

        Raises HostUnavailable or CommandTimeout (it was not started in time).
        """
        ...

    def close(self) -> None: ...
