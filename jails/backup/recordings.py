"""Recordings of consoles in a backup, where somebody asked for them: they are the largest part of a panel, and the log
has their digests in any case."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from jails import folders
from jails.backup import keyfiles
from jails.backup.archive import CHUNK, Reader, Writer

FOLDER = "recordings/"
_NAME = re.compile(r"[0-9]{4}-[0-9]{2}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.cast")


def found() -> Iterator[tuple[str, Path]]:
    """(part of a backup, file) of each that is finished."""
    root = Path(settings.CONSOLE_RECORDINGS)
    for path in sorted(root.glob("*/*.cast")) if root.is_dir() else ():
        name = f"{path.parent.name}/{path.name}"
        if _NAME.fullmatch(name) and path.is_file() and not path.is_symlink():
            yield FOLDER + name, path


def size() -> tuple[int, int]:
    """How many there are, and their bytes."""
    sizes = [path.stat().st_size for _, path in found()]
    return len(sizes), sum(sizes)


def store(writer: Writer) -> int:
    """How many were packed. One that is removed meanwhile, because it is old, is left out."""
    count = 0
    for part, path in found():
        with suppress(FileNotFoundError), open(path, "rb") as file:
            with writer.part(part) as stream:
                while chunk := file.read(CHUNK):
                    stream.write(chunk)
            count += 1
    return count


def place_of(part: str) -> Path:
    """Where a part belongs. Raises ValueError for one that no backup has."""
    name = part.removeprefix(FOLDER)
    if not part.startswith(FOLDER) or not _NAME.fullmatch(name):
        raise ValueError(f"{part!r} is no recording")
    return Path(settings.CONSOLE_RECORDINGS, name)


def restore(reader: Reader) -> tuple[int, str]:
    """Put back those that are not there. How many, and what kept it from the others, or "".

    What is there stays: its digest is asked when it is read.
    """
    missing = {part: path for part in reader.names(FOLDER) if not (path := place_of(part)).exists()}
    count = 0
    try:
        for part, path in missing.items():
            _put(reader, part, path)
            count += 1
        for folder in {path.parent for path in missing.values()}:
            folders.sync(folder)
    except OSError as error:
        return count, f"{error.filename or settings.CONSOLE_RECORDINGS}: {error.strerror or error}"
    return count, ""


def _put(reader: Reader, part: str, path: Path) -> None:
    _make(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(reader, part, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _write(reader: Reader, part: str, draft: Path) -> None:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file, reader.open(part) as stream:
        keyfiles.give(descriptor, draft.parent)
        shutil.copyfileobj(stream, file, CHUNK)
        file.flush()
        os.fsync(descriptor)


def _make(folder: Path) -> None:
    """For the workers' user alone, who is whoever has the folder above."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        keyfiles.give(descriptor, folder.parent)
    finally:
        os.close(descriptor)
