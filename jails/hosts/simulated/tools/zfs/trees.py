"""Trees of datasets and snapshots: real directories, copied whole, compared and packed into streams."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from jails.hosts.simulated.host import META

REMOVED = "\x01removed"


def make(directory: Path) -> None:
    """An empty directory, whatever an interrupted command left there."""
    remove(directory)
    directory.mkdir(parents=True)
    directory.chmod(0o755)


def copy(source: Path, target: Path) -> None:
    """Copy a tree with modes and times; `target` is made anew."""
    make(target)
    fill(source, target)


def fill(source: Path, target: Path) -> None:
    """Copy what is in `source` into the existing, empty `target`."""
    import shutil

    if not source.is_dir():
        return
    for entry in os.scandir(source):
        to = os.path.join(target, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), to)
            shutil.copystat(entry.path, to, follow_symlinks=False)
        elif entry.is_dir():
            os.mkdir(to)
            fill(Path(entry.path), Path(to))
        elif entry.is_file():
            shutil.copy2(entry.path, to)
    shutil.copystat(source, target)


def clear(directory: Path) -> None:
    """Remove what is in a directory, not the directory, which may be mounted."""
    for entry in list(os.scandir(directory)):
        if entry.is_dir(follow_symlinks=False):
            remove(Path(entry.path))
        else:
            os.unlink(entry.path)


def remove(directory: Path) -> None:
    """Remove a tree, also one with directories nobody may write to."""
    import shutil

    if not directory.exists():
        return
    for path, directories, _ in os.walk(directory):
        for name in directories:
            one = os.path.join(path, name)
            if not os.path.islink(one) and not os.access(one, os.W_OK | os.X_OK):
                os.chmod(one, 0o700)
    shutil.rmtree(directory, ignore_errors=True)


def walk(directory: Path) -> dict[str, tuple[str, int, int]]:
    """Path below the directory to kind (F, /, @), size and time of change in nanoseconds (both 0 for directories)."""
    found: dict[str, tuple[str, int, int]] = {}
    if directory.is_dir():
        _walk(str(directory), "", found)
    return found


def show_names(directory: Path, names: list[str]) -> None:
    """Make `directory` hold an empty directory for each name and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    have = set(os.listdir(directory))
    for name in have.difference(names):
        (directory / name).rmdir()
    for name in set(names) - have:
        (directory / name).mkdir()


def _walk(directory: str, prefix: str, found: dict[str, tuple[str, int, int]]) -> None:
    for entry in os.scandir(directory):
        path = f"{prefix}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            found[path] = "/", 0, 0
            _walk(entry.path, path, found)
            continue
        status = entry.stat(follow_symlinks=False)
        found[path] = "@" if stat.S_ISLNK(status.st_mode) else "F", status.st_size, status.st_mtime_ns


def changes(old: Path, new: Path) -> Iterator[tuple[str, str, str]]:
    """What zfs diff tells: change (M, +, -), kind and path, by path. A directory changes with the names in it."""
    before, after = walk(old), walk(new)
    noted = {path.rpartition("/")[0] for path in before.keys() | after.keys() if path.endswith("/" + META)}
    noted = {path for path in noted if before.pop(f"{path}/{META}", None) != after.pop(f"{path}/{META}", None)}
    touched = {path.rpartition("/")[0] for path in before.keys() ^ after.keys()}
    touched |= noted
    if "" in touched:
        yield "M", "/", "/"
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            yield "-", before[path][0], path
        elif path not in before:
            yield "+", after[path][0], path
        elif before[path] != after[path] or path in touched:
            yield "M", after[path][0], path


def pack(directory: Path, base: Path | None) -> bytes:
    """A tar of what differs from `base`, with the list of what is gone from it."""
    import tarfile

    after, before = walk(directory), walk(base) if base else {}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        gone = json.dumps(sorted(before.keys() - after.keys())).encode()
        note = tarfile.TarInfo(REMOVED)
        note.size = len(gone)
        archive.addfile(note, io.BytesIO(gone))
        for path in sorted(after):
            if before.get(path) != after[path]:
                archive.add(str(directory) + path, arcname=path.lstrip("/"), recursive=False)
    return buffer.getvalue()


def unpack(directory: Path, packed: bytes) -> None:
    """Apply what pack() made."""
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.name == REMOVED:
                content = archive.extractfile(member)
                _drop(directory, json.loads(content.read()) if content else [])
                continue
            target = directory / member.name
            if target.is_symlink() or (target.exists() and not member.isdir()):
                target.unlink()
            archive.extract(member, directory, numeric_owner=True, filter="tar")


def _drop(directory: Path, paths: list[str]) -> None:
    for path in reversed(paths):
        target = directory / path.lstrip("/")
        if target.is_dir() and not target.is_symlink():
            remove(target)
        else:
            target.unlink(missing_ok=True)
