"""Asking consoled from a view, which waits: for one command, or for a recording."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from django.conf import settings

from jails.consoles import frames
from jails.consoles.tickets import Refused

PATIENCE = 10.0
"""Seconds without an answer, beyond what a command may take itself."""


class Unavailable(Exception):
    """consoled does not answer."""


@dataclass(frozen=True)
class Outcome:
    """What one command left. `status` is None where none was told; `words` say why, or are ""."""

    output: bytes
    status: int | None
    words: str
    is_cut: bool


def run(request: dict[str, Any]) -> Outcome:
    """One command. Raises Unavailable or Refused."""
    with _asked({"do": "run", **request}, PATIENCE * 5 + settings.CONSOLE_COMMAND_SECONDS) as file:
        output = b""
        while True:
            kind, content = _next(file)
            if kind == frames.DATA:
                output += content
                continue
            said = _said(content)
            return Outcome(output, said.get("status"), str(said.get("words", "")), bool(said.get("cut")))


@dataclass(frozen=True)
class Recording:
    """`is_whole`: the file is the one whose digest the log has. `parts` can be read once, and ends the connection."""

    size: int
    is_whole: bool
    parts: Iterator[bytes]


def read(request: dict[str, Any]) -> Recording:
    """A recording. Raises Unavailable or Refused."""
    held = contextlib.ExitStack()
    try:
        file = held.enter_context(_asked({"do": "read", **request}, PATIENCE))
        head = _said(_next(file)[1])
    except BaseException:
        held.close()
        raise
    return Recording(int(head["size"]), bool(head["whole"]), _parts(file, int(head["size"]), held))


def _parts(file: IO[bytes], size: int, held: contextlib.ExitStack) -> Iterator[bytes]:
    with held:
        while size > 0:
            part = _next(file)[1]
            size -= len(part)
            yield part


@contextlib.contextmanager
def _asked(request: dict[str, Any], patience: float) -> Iterator[IO[bytes]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            connection.connect(settings.CONSOLED_SOCKET)
            connection.sendall(frames.message(request))
        except OSError as error:
            raise Unavailable(f"{settings.CONSOLED_SOCKET}: {error}") from error
        with connection.makefile("rb") as file:
            yield file


def _next(file: IO[bytes]) -> tuple[bytes, bytes]:
    try:
        frame = frames.read_from(file)
    except (OSError, frames.Malformed) as error:
        raise Unavailable(str(error)) from error
    if frame is None:
        raise Unavailable("it hung up")
    return frame


def _said(content: bytes) -> dict[str, Any]:
    said = frames.parsed(content)
    if "refused" in said:
        raise Refused(str(said["refused"]))
    return said
