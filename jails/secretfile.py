"""Files which their owner alone may read: secrets of this machine, and what is taken out of the panel."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def make(path: Path, text: str) -> None:
    """Write it, unless somebody else was first: several processes may start at once, and link(2) lets one stand."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


@contextmanager
def new(path: Path) -> Iterator[IO[bytes]]:
    """A new file with mode 0600, there only when it is whole. Raises FileExistsError, other OSErrors."""
    if path.exists():
        raise FileExistsError(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: another file of that name, made meanwhile, stays.
        os.link(draft, path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def require_private(path: Path) -> None:
    """PermissionError where others may read it."""
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} can be read by others: it must have mode 0600")
