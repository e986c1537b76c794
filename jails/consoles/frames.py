"""What goes over consoled's socket: a kind, a length, and so many bytes.

`d`: bytes of a terminal or of a file. `j`: a JSON object. The first frame of a connection is a `j` that says what is
wanted; consoled ends the connection.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import IO, Any

DATA, JSON = b"d", b"j"
LARGEST = 1 << 16
"""Bytes of one frame."""
_HEAD = struct.Struct("!cI")


class Malformed(Exception):
    """Not what this protocol says."""


def data(content: bytes) -> bytes:
    """Frames of data, as many as it takes."""
    parts = (content[at : at + LARGEST] for at in range(0, len(content), LARGEST))
    return b"".join(_HEAD.pack(DATA, len(part)) + part for part in parts)


def message(value: dict[str, Any]) -> bytes:
    text = text_of(value)
    if len(text) > LARGEST:
        raise ValueError("message: longer than a frame")
    return _HEAD.pack(JSON, len(text)) + text


def text_of(value: object) -> bytes:
    """As it stands in a message."""
    return json.dumps(value, separators=(",", ":")).encode()


async def read(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """The next frame: kind and content; None at the end. Raises Malformed."""
    try:
        kind, length = _parsed(await reader.readexactly(_HEAD.size))
        return kind, await reader.readexactly(length)
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise Malformed("cut off") from None
        return None
    except ConnectionError:
        return None


def read_from(file: IO[bytes]) -> tuple[bytes, bytes] | None:
    """The same of a file that blocks."""
    head = file.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise Malformed("cut off")
    kind, length = _parsed(head)
    content = file.read(length)
    if len(content) < length:
        raise Malformed("cut off")
    return kind, content


def _parsed(head: bytes) -> tuple[bytes, int]:
    kind, length = _HEAD.unpack(head)
    if kind not in (DATA, JSON) or length > LARGEST:
        raise Malformed("no frame")
    return kind, length


def parsed(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises Malformed."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise Malformed("no JSON") from None
    if not isinstance(value, dict):
        raise Malformed("no object")
    return value
