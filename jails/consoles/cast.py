"""Recordings in asciinema's format, version 2: a header and one JSON list a line (docs.asciinema.org, asciicast v2).

What was shown is recorded, `[seconds, "o", text]`, sizes as `"r"`, and notes of ours as markers, `"m"`. What was typed
is not: a password that is not shown is not in it.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CUT = "The recording is full: what was shown from here on is not in it."
_NOTE_ROOM = 512


class Recorder:
    """Writes one recording, at most `largest` bytes, under a name that says that it is not finished.

    Pieces of text are whole characters, so that a reader of lines sees what a terminal saw.
    """

    def __init__(self, path: Path, header: dict[str, Any], *, largest: int, clock: Any = time.monotonic) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self.draft = draft_of(path)
        self.largest = largest
        self.size = 0
        self.cut = False
        self._hash = hashlib.sha256()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._clock = clock
        self._begun = clock()
        descriptor = os.open(self.draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._line({"version": 2, **header})

    def shown(self, content: bytes) -> None:
        text = self._decoder.decode(content)
        if text:
            self._event("o", text)

    def resized(self, columns: int, rows: int) -> None:
        self._event("r", f"{columns}x{rows}")

    def note(self, text: str) -> None:
        self._line([self._at(), "m", text])

    def finish(self) -> str:
        """Make it real. Its digest: SHA-256 in hexadecimal."""
        if rest := self._decoder.decode(b"", True):
            self._event("o", rest)
        os.fsync(self._file.fileno())
        self._file.close()
        self.draft.rename(self.path)
        return self._hash.hexdigest()

    def _event(self, kind: str, text: str) -> None:
        if self.cut:
            return
        line = _encoded([self._at(), kind, text])
        if self.size + len(line) + _NOTE_ROOM > self.largest:
            self.cut = True
            self.note(CUT)
            return
        self._write(line)

    def _at(self) -> float:
        return round(self._clock() - self._begun, 6)

    def _line(self, value: object) -> None:
        self._write(_encoded(value))

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError:
            # Half a line would be part of what comes after it, and of no digest.
            with contextlib.suppress(OSError):
                self._file.truncate(self.size)
                self._file.seek(self.size)
            raise
        self._hash.update(line)
        self.size += len(line)


def draft_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def rescue(path: Path) -> tuple[str, int] | None:
    """Finish what a process that was killed left behind: its whole lines. Digest and size; None where nothing is."""
    draft = draft_of(path)
    try:
        content = draft.read_bytes()
    except FileNotFoundError:
        return digest_of(path)
    whole = content[: content.rfind(b"\n") + 1]
    with open(draft, "r+b") as file:
        file.truncate(len(whole))
        os.fsync(file.fileno())
    draft.rename(path)
    return hashlib.sha256(whole).hexdigest(), len(whole)


def digest_of(path: Path) -> tuple[str, int] | None:
    """Digest and size of a finished recording; None where there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


# ECMA-48: control sequences, strings that a terminal does not show, and two-byte escapes. A string ends also where a
# terminal gives it up: at CAN, SUB and the next escape. Each part is read once, however much of it is never ended.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def text_of(lines: Iterable[str]) -> str:
    """What was shown, without what moves the cursor or colours it: to be read, not to be believed to the letter."""
    parts = []
    for line in lines:
        event = _event_of(line)
        if event is None:
            continue
        kind, text = event
        parts.append(text if kind == "o" else f"\n[{text}]\n" if kind == "m" else "")
    return plain("".join(parts))


def plain(text: str) -> str:
    """Text of a terminal for a page: no escape sequences, no control characters but the end of a line and tab."""
    text = _SEQUENCE.sub("", text).replace("\r\n", "\n")
    lines = (_typed_over(line) for line in text.split("\n"))
    return _CONTROL.sub("", "\n".join(lines))


def _typed_over(line: str) -> str:
    """Backspaces take back what they follow, as an editor of lines does it; a return starts the line anew."""
    line = line.rpartition("\r")[2] if not line.endswith("\r") else line.rstrip("\r").rpartition("\r")[2]
    if "\b" not in line:
        return line
    kept: list[str] = []
    for letter in line:
        if letter != "\b":
            kept.append(letter)
        elif kept:
            kept.pop()
    return "".join(kept)


def _event_of(line: str) -> tuple[str, str] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if isinstance(value, list) and len(value) == 3 and isinstance(value[1], str) and isinstance(value[2], str):
        return value[1], value[2]
    return None
