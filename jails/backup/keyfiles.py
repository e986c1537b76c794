"""What only workers have: their SSH keys, and the key they seal steps with. Files that nobody else may read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from django.conf import settings

from jails.hosts import keys

SEAL = "keys/seal.key"
SSH = "keys/ssh/"
OLD = ".before-restore"
"""What a file is called that another one has replaced."""
LONGEST = 100_000


class Differs(Exception):
    """There is another key already: a sentence."""


def found() -> dict[str, Path]:
    """Part of a backup → the file that is there now."""
    files = {SEAL: seal()} if seal().exists() else {}
    folder = keys.directory()
    if folder.is_dir():
        files |= {
            f"{SSH}{path.name}": path
            for path in sorted(folder.iterdir())
            if path.is_file() and not path.is_symlink() and not path.name.endswith(OLD)
        }
    return files


def seal() -> Path:
    return Path(settings.WORKER_KEY_FILE)


def place_of(part: str) -> Path:
    """Where a part belongs. Raises ValueError for one that no backup has."""
    if part == SEAL:
        return seal()
    name = part.removeprefix(SSH)
    if not part.startswith(SSH) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,100}", name):
        raise ValueError(f"{part!r} is no key")
    return keys.directory() / name


def differing(wanted: dict[Path, bytes]) -> list[Path]:
    """The files that are there and are others."""
    return [path for path, content in wanted.items() if path.exists() and path.read_bytes() != content]


def place(wanted: dict[Path, bytes]) -> None:
    """Write them all, or none. What is replaced stays beside, with a name that ends with OLD."""
    drafts: dict[Path, Path] = {}
    try:
        for path, content in wanted.items():
            if not path.exists() or path.read_bytes() != content:
                drafts[path] = _draft(path, content)
        for path, draft in drafts.items():
            if path.exists():
                path.replace(path.with_name(path.name + OLD))
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() == 0:
        # Whoever restores as root: the workers' user must be able to read what is in its folder.
        owner = path.parent.stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
    return draft
