"""Configuration files on this machine: read whatever their bytes are, replaced in one stroke, the last versions kept.

Texts carry bytes that are no UTF-8 as lone surrogates (PEP 383), so that they come back as they were.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import fcntl
import glob
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jails import folders

KEPT = 5
VERSIONS = ".versions"
"""The folder beside a file that holds its earlier versions: no pattern of sh(1), rc(8) or `.include` finds it there,
as it would find NAME.conf.1 beside NAME.conf."""
INCLUDED_FILES = 10_000
INCLUDED_BYTES = 64_000_000


@dataclass(frozen=True)
class File:
    """A file as it was read. `path` is where it really is: a symbolic link is followed."""

    name: str
    path: Path
    content: bytes

    @property
    def text(self) -> str:
        return decode(self.content)


class NotWritten(Exception):
    """The file stays as it is; the message names it and says why."""


def decode(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read(name: str) -> File:
    """The file of that name. Raises OSError."""
    path = Path(os.path.realpath(name))
    return File(name, path, path.read_bytes())


class Included:
    """What `.include` of jail.conf(5) finds on this machine, sorted as glob(3) does. Raises OSError between two files.

    jail(8) would read for ever where files include each other in great number; here that is an error.
    """

    def __init__(self) -> None:
        self._files = INCLUDED_FILES
        self._bytes = INCLUDED_BYTES

    def __call__(self, pattern: str) -> Iterator[tuple[str, str]]:
        for path in sorted(glob.glob(pattern), key=os.fsencode):  # noqa: PTH207 (Path.glob takes no absolute pattern)
            content = self._read(path)
            yield path, decode(content)

    def _read(self, path: str) -> bytes:
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        with open(path, "rb") as file:
            content = file.read(self._bytes + 1)
        self._files -= 1
        self._bytes -= len(content)
        if self._files < 0 or self._bytes < 0:
            raise OSError(errno.E2BIG, "too much is included by these files", path)
        return content


def diff(name: str, before: str, after: str) -> str:
    """The unified diff, as patch(1) takes it; empty where nothing changes."""
    lines = difflib.unified_diff(_lines(before), _lines(after), f"{name}.orig", name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    # Not splitlines: a form feed or U+2028 ends no line of a file.
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def replace(file: File, after: bytes) -> Path:
    """Put new content in place of what was read, with the same mode and owner; the path of the version kept.

    Whoever reads meanwhile gets all of the old or all of the new. Raises NotWritten where the file is no longer as it
    was read, and OSError.
    """
    with _versions(file.path) as versions:
        was = _unchanged(file)
        kept = _keep(file, was, versions)
        draft = _draft(file.path.parent, file.path.name, after, was)
        try:
            _unchanged(file)
            draft.replace(file.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        folders.sync(file.path.parent)
    return kept


@contextlib.contextmanager
def _versions(path: Path) -> Iterator[Path]:
    """The folder of earlier versions, made if need be; one at a time works with it."""
    folder = path.parent / VERSIONS
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def _unchanged(file: File) -> os.stat_result:
    with open(file.path, "rb") as current:
        was = os.fstat(current.fileno())
        if not stat.S_ISREG(was.st_mode):
            raise NotWritten(f"{file.path}: is not an ordinary file")
        if current.read() != file.content or os.path.realpath(file.name) != str(file.path):
            raise NotWritten(f"{file.path}: has changed since it was read; look at it and try again")
    return was


def _keep(file: File, was: os.stat_result, versions: Path) -> Path:
    name = file.path.name
    draft = _draft(versions, name, file.content, was)
    os.utime(draft, ns=(was.st_atime_ns, was.st_mtime_ns))
    for number in range(KEPT - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            (versions / f"{name}.{number}").replace(versions / f"{name}.{number + 1}")
    newest = versions / f"{name}.1"
    draft.replace(newest)
    folders.sync(versions)
    return newest


def _draft(folder: Path, name: str, content: bytes, like: os.stat_result) -> Path:
    """A file on disk with that content, under a name that no pattern finds."""
    descriptor, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=folder)
    draft = Path(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            own = os.fstat(file.fileno())
            if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def put(out: Any, text: str) -> None:
    """Write text to a stream with the bytes it stands for, whatever the locale.

    To a terminal control characters go as \\x1b and the like: a file may hold what would steer it.
    """
    if out.isatty():
        text = visible(text)
    buffer = getattr(out, "buffer", None)
    if buffer is None:
        # A stream of characters, as tests have.
        out.write(text, ending="") if hasattr(out, "ending") else out.write(text)
        return
    out.flush()
    left = memoryview(encode(text))
    while left:
        # With PYTHONUNBUFFERED one write may be a part of it: where the reader goes away, the next one says so.
        left = left[buffer.write(left) or 0 :]
    buffer.flush()


def visible(text: str) -> str:
    """Text with each character that a terminal would act on, or that is half of one, as an escape."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def standard_input() -> bytes:
    return sys.stdin.buffer.read()
