"""What only workers have: their SSH keys, the keys they seal steps and sign checkpoints of the log with, and those
checkpoints. Files that nobody else may read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from django.conf import settings

from jails import folders
from jails.hosts import keys

SEAL = "keys/seal.key"
SSH = "keys/ssh/"
OLD = ".before-restore"
"""What the name of a file ends with that another one has replaced; those replaced later have a number after it."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,100}")
REPLACED = re.compile(rf".*{re.escape(OLD)}(\.[0-9]+)?")
LONGEST = 100_000


def found() -> dict[str, Path]:
    """Part of a backup → the file that is there now."""
    files = {part: path for part, path in _single().items() if path.exists()}
    return files | {f"{SSH}{path.name}": path for path in _in_folder() if not _why_not(path)}


def left_out() -> dict[Path, str]:
    """What is in the folder of keys and in no backup → why."""
    return {path: why for path in _in_folder() if (why := _why_not(path))}


def _in_folder() -> list[Path]:
    """All but what an earlier restore has put aside."""
    folder = keys.directory()
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not REPLACED.fullmatch(path.name))


def _why_not(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "it is no ordinary file"
    if not _is_name(path.name):
        return "its name has other characters than letters, digits and _.@-, or is too long, or begins with one of .@-"
    if path.stat().st_size > LONGEST:
        return f"it is longer than {LONGEST:,} bytes"
    return ""


def _is_name(name: str) -> bool:
    """Whether a file of that name is a part of backups: what is packed and what is taken back are the same."""
    return bool(NAME.fullmatch(name)) and not REPLACED.fullmatch(name)


def _single() -> dict[str, Path]:
    """Part → where that one file is."""
    return {
        SEAL: Path(settings.WORKER_KEY_FILE),
        "keys/audit-signing.key": Path(settings.AUDIT_KEY_FILE),
        "keys/audit-checkpoints.jsonl": Path(settings.AUDIT_CHECKPOINTS),
    }


def place_of(part: str) -> Path:
    """Where a part belongs. Raises ValueError for one that no backup has."""
    if (path := _single().get(part)) is not None:
        return path
    name = part.removeprefix(SSH)
    if not part.startswith(SSH) or not _is_name(name):
        raise ValueError(f"{part!r} is no key")
    return keys.directory() / name


def differing(wanted: Mapping[Path, bytes]) -> list[Path]:
    """The files that are there and are others."""
    return [path for path, content in wanted.items() if path.exists() and path.read_bytes() != content]


class Placing:
    """Files being put in place: what was done is known, so that it can be undone."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self.drafts: dict[Path, Path] = {}
        self.kept: dict[Path, Path] = {}
        self.new: list[Path] = []

    def place(self, wanted: Mapping[Path, bytes]) -> None:
        """Write them. What is replaced stays beside, under a name that nothing has yet."""
        for path, content in wanted.items():
            if not path.exists() or path.read_bytes() != content:
                self._draft(path, content)
        for path, draft in self.drafts.items():
            if os.path.lexists(path):
                self._keep(path)
            else:
                self.new.append(path)
            draft.replace(path)
        for folder in {path.parent for path in self.drafts}:
            folders.sync(folder)

    def _draft(self, path: Path, content: bytes) -> None:
        self._make(path.parent)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.drafts[path] = draft
        with os.fdopen(descriptor, "wb") as file:
            give(descriptor, path.parent)
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(mode=0o700)
        self.folders.append(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            give(descriptor, folder.parent)
        finally:
            os.close(descriptor)

    def _keep(self, path: Path) -> None:
        """A link, not a rename: there is a key at every moment, and nothing that was kept earlier is overwritten."""
        for number in count(1):
            kept = path.with_name(f"{path.name}{OLD}{f'.{number}' if number > 1 else ''}")
            with suppress(FileExistsError):
                os.link(path, kept, follow_symlinks=False)
                self.kept[path] = kept
                return

    def undo(self) -> None:
        for path in self.new:
            path.unlink(missing_ok=True)
        for path, kept in self.kept.items():
            kept.replace(path)
            # Where both were still one file, rename(2) leaves both.
            kept.unlink(missing_ok=True)

    def clean(self, *, folders: bool) -> None:
        for draft in self.drafts.values():
            draft.unlink(missing_ok=True)
        for folder in reversed(self.folders) if folders else ():
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def placing() -> Iterator[Placing]:
    """What is placed in it stays when it ends well; otherwise all files are as they were."""
    work = Placing()
    try:
        yield work
    except BaseException:
        work.undo()
        work.clean(folders=True)
        raise
    work.clean(folders=False)


def give(descriptor: int, folder: Path) -> None:
    """Whoever restores as root: the workers' user must be able to read what is in its folder."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
