"""Files with a secret of this machine, which their owner alone may read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


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


def require_private(path: Path) -> None:
    """PermissionError where others may read it."""
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} can be read by others: it must have mode 0600")
