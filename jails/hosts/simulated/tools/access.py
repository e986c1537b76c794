"""What all file tools share: opening, status, permission of changes, names of users, options, walking."""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from jails.hosts.simulated.host import META, Location, os_error, strerror
from jails.hosts.simulated.process import Exit, Process

IMMUTABLE = frozenset({"schg", "uchg"})
UNDELETABLE = IMMUTABLE | {"sappnd", "uappnd", "sunlnk", "uunlnk"}


class Status(NamedTuple):
    """stat(2) with what the host keeps beside the file."""

    mode: int
    uid: int
    gid: int
    size: int
    flags: list[str]
    real: os.stat_result
    device: int = 0

    @property
    def is_directory(self) -> bool:
        return modes.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return modes.S_ISLNK(self.mode)


def status(process: Process, place: Location) -> Status:
    """lstat(2) of what was located. Raises OSError."""
    real = os.lstat(place.backing)
    kept = process.host.metadata(place.backing)
    kind = modes.S_IFMT(real.st_mode)
    if place.mount["type"] == "devfs" and kind == modes.S_IFREG:
        kind = modes.S_IFCHR
    mode = kind | kept.get("mode", modes.S_IMODE(real.st_mode))
    size = kept.get("size", real.st_size)
    if kind == modes.S_IFLNK:
        mode = kind | 0o755
    if kind == modes.S_IFDIR:
        size = _directory_size(process, place)
        mode = mode & ~0o222 if place.mount["type"] == "devfs" else mode
    return Status(mode, kept.get("uid", 0), kept.get("gid", 0), size, kept.get("flags", []), real, kept.get("rdev", 0))


def _directory_size(process: Process, place: Location) -> int:
    """UFS has blocks of 512 bytes for the names, ZFS counts them."""
    names = process.host.entries(place.backing)
    if place.mount["type"] == "zfs":
        return len(names) + 2
    used = 24 + sum(8 + (len(os.fsencode(name)) + 4) // 4 * 4 for name in names)
    return (used + 511) // 512 * 512


def block_size(process: Process) -> int:
    """getbsize(3): the unit of df, du and ls, from BLOCKSIZE."""
    return {"K": 1 << 10, "1K": 1 << 10, "M": 1 << 20, "1M": 1 << 20, "G": 1 << 30}.get(
        process.env.get("BLOCKSIZE", "").upper(), 512
    )


def open_file(
    process: Process, path: str, flags: int, *, cwd: str | None = None, fds: Mapping[int, int] | None = None
) -> int:
    """open(2) of a path: a real descriptor, for the caller to close. Raises OSError in FreeBSD's terms."""
    with process.host.reading() as state:
        place = process.host.locate(state, path, root=process.root, cwd=process.cwd if cwd is None else cwd)
    if place.mount["type"] == "devfs":
        return _open_device(place, flags, process.fds if fds is None else fds)
    writes = flags & (os.O_WRONLY | os.O_RDWR)
    if writes:
        before_write(process, place)
    try:
        real = os.open(place.backing, flags | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise os_error(error.errno or errno.EIO, path) from None
    if not writes and modes.S_ISDIR(os.fstat(real).st_mode):
        os.close(real)
        raise os_error(errno.EISDIR, path)
    if flags & os.O_TRUNC and "size" in process.host.metadata(place.backing):
        process.host.set_metadata(place.backing, size=None)
    return real


def _open_device(place: Location, flags: int, fds: Mapping[int, int]) -> int:
    name = place.path.rpartition("/")[2]
    numbers = {"stdin": 0, "stdout": 1, "stderr": 2}
    if name in numbers or (name.isdigit() and place.path.endswith(f"/fd/{name}")):
        number = numbers.get(name, int(name) if name.isdigit() else 0)
        if number not in fds:
            raise os_error(errno.EBADF)
        return os.dup(fds[number])
    if not place.exists:
        raise os_error(errno.EOPNOTSUPP if flags & os.O_CREAT else errno.ENOENT)
    real = {"zero": "/dev/zero", "random": "/dev/urandom", "urandom": "/dev/urandom"}.get(name, os.devnull)
    return os.open(real, flags & ~(os.O_CREAT | os.O_TRUNC | os.O_EXCL))


def before_write(process: Process, place: Location) -> None:
    """Refuse a write that FreeBSD refuses (EROFS, EPERM, EISDIR, ENOSPC), and note that the file system changes."""
    if place.read_only:
        raise os_error(errno.EROFS)
    if place.exists:
        if place.backing.is_dir():
            raise os_error(errno.EISDIR)
        if IMMUTABLE.intersection(process.host.metadata(place.backing).get("flags", ())):
            raise os_error(errno.EPERM)
    else:
        check_parent(process, place)
    check_space(process, place, 1)
    changed(process, place)


def changed(process: Process, place: Location) -> None:
    """The file system of a place was changed; counted now and again when the tool ends."""
    process.host.touched(place.mount)
    if place.mount not in process.dirty:
        process.dirty.append(place.mount)


def check_parent(process: Process, place: Location) -> None:
    """Whether an entry may be made or removed here (EROFS, EPERM by the flags of the directory)."""
    if place.read_only:
        raise os_error(errno.EROFS)
    if not place.backing.parent.is_dir():
        raise os_error(errno.ENOENT)
    if UNDELETABLE.intersection(process.host.metadata(place.backing.parent).get("flags", ())):
        raise os_error(errno.EPERM)


def check_remove(process: Process, place: Location) -> None:
    """Whether an entry may be removed or renamed (EBUSY for a mount point, EPERM by flags, EROFS)."""
    if place.is_mountpoint:
        raise os_error(errno.EBUSY)
    check_parent(process, place)
    if UNDELETABLE.intersection(process.host.metadata(place.backing).get("flags", ())):
        raise os_error(errno.EPERM)


def check_space(process: Process, place: Location, nbytes: int) -> None:
    """ENOSPC or EDQUOT when so many bytes more do not fit."""
    parts = place.mount["backing"].split("/")
    with process.host.reading() as state:
        if parts[0] == "root":
            full = any(fault.get("full") == "/" for fault in state["faults"])
            if full or (nbytes >= 1 << 20 and ufs_used(process, state) + nbytes > state["ufs_size"]):
                raise os_error(errno.ENOSPC)
            return
        if parts[0] == "tmpfs":
            from .df import tmpfs_size

            size, used = tmpfs_size(process, place.mount)
            if used + nbytes > size:
                raise os_error(errno.ENOSPC)
            return
        if parts[0] != "datasets":
            return
        name = place.mount["source"] if place.mount["type"] == "zfs" else _dataset_of(state, parts[1])
        words = _ask(process, state, place.mount["id"], name, nbytes) if name else None
    if words:
        raise OSError(errno.EDQUOT if "quota" in words else errno.ENOSPC, words)


def _ask(process: Process, state: dict[str, Any], mount: int, name: str, nbytes: int) -> str | None:
    """ZFS's answer, which lets a write go beyond a quota that is not reached yet, by what it gathers at a time.

    It measures the tree, so that it is asked for a quarter of a megabyte at a time.
    """
    from .zfs import check_space as ask

    granted = process.granted.get(mount, 0)
    if nbytes <= granted:
        process.granted[mount] = granted - nbytes
        return None
    refused = ask(state, name, max(1, nbytes - (1 << 20)), process.host)
    if not refused:
        process.granted[mount] = max(0, (1 << 18) - nbytes)
    return refused


def _dataset_of(state: dict[str, Any], number: str) -> str | None:
    return next(
        (one["source"] for one in state["mounts"] if one["type"] == "zfs" and one["backing"] == f"datasets/{number}"),
        None,
    )


def ufs_used(process: Process, state: dict[str, Any]) -> int:
    return process.host.tree_usage(process.host.directory / "root")


def remove(process: Process, place: Location) -> None:
    """unlink(2) of a file or link."""
    check_remove(process, place)
    os.unlink(place.backing)
    process.host.forget_metadata(place.backing)
    changed(process, place)


def remove_directory(process: Process, place: Location) -> None:
    """rmdir(2)."""
    check_remove(process, place)
    if not place.backing.is_dir() or place.backing.is_symlink():
        raise os_error(errno.ENOENT if not place.exists else errno.ENOTDIR)
    if process.host.entries(place.backing):
        raise os_error(errno.ENOTEMPTY)
    # Moved away first: at its old name it is there with its flags and owner or not at all.
    (place.backing / META).unlink(missing_ok=True)
    os.rmdir(place.backing)
    changed(process, place)


def make_directory(process: Process, place: Location, mode: int = 0o755) -> None:
    """mkdir(2)."""
    if place.exists:
        raise os_error(errno.EEXIST)
    check_parent(process, place)
    check_space(process, place, 1)
    os.mkdir(place.backing, 0o755)
    set_mode(process, place, mode)
    changed(process, place)


def set_mode(process: Process, place: Location, mode: int) -> None:
    """chmod(2); what would lock us out of the real file is kept beside it."""
    real = mode & 0o777 | (0o700 if place.backing.is_dir() else 0o600)
    os.chmod(place.backing, real)
    kept = process.host.metadata(place.backing).get("mode")
    if real != mode:
        process.host.set_metadata(place.backing, mode=mode)
    elif kept is not None:
        process.host.set_metadata(place.backing, mode=None)


def rename(process: Process, source: Location, target: Location) -> None:
    """rename(2)."""
    if not source.exists:
        raise os_error(errno.ENOENT)
    check_remove(process, source)
    if target.is_mountpoint:
        raise os_error(errno.EBUSY)
    if source.mount["id"] != target.mount["id"]:
        raise os_error(errno.EXDEV)
    if target.exists:
        check_remove(process, target)
        _check_kinds(process, source, target)
    else:
        check_parent(process, target)
    if f"{target.path}/".startswith(f"{source.path}/") and target.path != source.path:
        raise os_error(errno.EINVAL)
    is_directory = source.backing.is_dir() and not source.backing.is_symlink()
    kept = {} if is_directory else process.host.metadata(source.backing)
    if is_directory and target.exists:
        (target.backing / META).unlink(missing_ok=True)
    os.rename(source.backing, target.backing)
    if not is_directory and target.path != source.path:
        process.host.forget_metadata(source.backing)
        process.host.forget_metadata(target.backing)
        if kept:
            process.host.set_metadata(target.backing, **kept)
    changed(process, source)


def _check_kinds(process: Process, source: Location, target: Location) -> None:
    one, other = (place.backing.is_dir() and not place.backing.is_symlink() for place in (source, target))
    if one and not other:
        raise os_error(errno.ENOTDIR)
    if other and not one:
        raise os_error(errno.EISDIR)
    if other and process.host.entries(target.backing):
        raise os_error(errno.ENOTEMPTY)


def copy_file(process: Process, source: Location, target: Location, *, keep: bool) -> None:
    """The contents of a file into another one; with `keep` also its mode, owner, flags and time."""
    if source.mount["type"] == "devfs":
        raise os_error(errno.EOPNOTSUPP)
    before_write(process, target)
    there = target.exists
    check_space(process, target, source.backing.stat().st_size)
    with open(source.backing, "rb") as read, open(target.backing, "wb") as write:
        while part := read.read(1 << 20):
            write.write(part)
    given = status(process, source)
    claimed = process.host.metadata(source.backing).get("size")
    if claimed is not None:
        process.host.set_metadata(target.backing, size=claimed)
    if keep or not there:
        set_mode(process, target, modes.S_IMODE(given.mode) if keep else given.mode & 0o777 & ~0o022)
    if keep:
        copy_attributes(process, source, target)


def copy_attributes(process: Process, source: Location, target: Location) -> None:
    given = status(process, source)
    kept = {key: value for key, value in process.host.metadata(source.backing).items() if key != "size"}
    if kept:
        process.host.set_metadata(target.backing, **kept)
    os.utime(target.backing, ns=(given.real.st_atime_ns, given.real.st_mtime_ns), follow_symlinks=False)


def children(process: Process, place: Location) -> Iterator[tuple[str, Location]]:
    """The entries of a directory, through mounts."""
    for name in process.host.entries(place.backing):
        with process.host.reading() as state:
            found = process.host.child(state, place, name)
        yield name, found


def walk(process: Process, path: str, place: Location, *, across: bool = True) -> Iterator[tuple[str, Location]]:
    """A tree, parents first, links not followed: (path as given, place). Without `across` mounts are not entered."""
    yield path, place
    if not place.backing.is_dir() or place.backing.is_symlink():
        return
    for name, found in children(process, place):
        inside = across or found.mount["id"] == place.mount["id"]
        below = f"{path.rstrip('/')}/{name}"
        if inside:
            yield from walk(process, below, found, across=across)
        else:
            yield below, found


class Options:
    """getopt(3) over a tool's words: `options["v"]` is None, "" for a flag, or the last value."""

    def __init__(self, process: Process, letters: str, usage: str, status: int = 64) -> None:
        self._found: dict[str, str] = {}
        self.all: list[tuple[str, str]] = []
        words = process.argv[1:]
        while words and words[0].startswith("-") and len(words[0]) > 1:
            word = words.pop(0)
            if word == "--":
                break
            self._cluster(process, word[1:], words, letters, usage, status)
        self.operands = words

    def _cluster(self, process: Process, cluster: str, words: list[str], letters: str, usage: str, status: int) -> None:
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            place = letters.find(letter)
            if place < 0 or letter == ":":
                wrong_usage(process, f"illegal option -- {letter}", usage, status)
            value = ""
            if letters[place + 1 : place + 2] == ":":
                if not cluster and not words:
                    wrong_usage(process, f"option requires an argument -- {letter}", usage, status)
                value, cluster = cluster or words.pop(0), ""
            self._found[letter] = value
            self.all.append((letter, value))

    def __contains__(self, letter: str) -> bool:
        return letter in self._found

    def get(self, letter: str, default: str | None = None) -> str | None:
        return self._found.get(letter, default)


def wrong_usage(process: Process, complaint: str, usage: str, status: int = 64) -> NoReturn:
    """getopt's complaint, if there is one, the usage text and the end."""
    if complaint:
        process.err(f"{process.name}: {complaint}\n")
    process.err(usage if usage.endswith("\n") else usage + "\n")
    raise Exit(status)


def each(process: Process, operands: list[str], work: Callable[[str], int | None]) -> int:
    """Do something with every operand; what fails is told and counts, and the others are still done."""
    failed = 0
    for operand in operands:
        try:
            failed |= int(bool(work(operand)))
        except OSError as error:
            process.err(f"{process.name}: {operand}: {strerror(error)}\n")
            failed = 1
    return failed


def account_names(process: Process, file: str) -> dict[str, int]:
    """Names and numbers of /etc/passwd or /etc/group for this process."""
    found: dict[str, int] = {}
    try:
        text = process.path(file).read_text(errors="replace")
    except OSError:
        text = "root:*:0:0:::\n" if file.endswith("passwd") else "wheel:*:0:\n"
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            found.setdefault(fields[0], int(fields[2]))
    return found


def name_of(names: Mapping[str, int], number: int) -> str:
    return next((name for name, one in names.items() if one == number), str(number))


def read_all(process: Process, operand: str) -> bytes:
    """The bytes of a file, or of standard input for `-`."""
    if operand == "-":
        return process.stdin()
    real = open_file(process, operand, os.O_RDONLY)
    parts = []
    try:
        while part := os.read(real, 1 << 20):
            parts.append(part)
    finally:
        os.close(real)
    return b"".join(parts)


def seen_path(process: Process, place: Location) -> str:
    """A place as this process names it."""
    root = process.root.rstrip("/")
    return place.path[len(root) :] or "/" if place.path.startswith(root) else place.path
