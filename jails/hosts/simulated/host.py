"""A FreeBSD host in a folder: its state, its files and its mounts.

    DIR/state.json      everything that is not a file: `release`, `hostname`, `arch`, `ncpu`, `memory`, `racct`, `uuid`,
                        `booted` (Unix time), `ufs_size`, `disks` ({name: bytes}), `mounts`, `interfaces`, `jails`,
                        `zfs`, `sysctl` (what was set), `sockets`, `faults`; each tool documents its own part
    DIR/root            files of the root file system (UFS)
    DIR/datasets/ID     files of a dataset; DIR/tmpfs/ID and DIR/devfs/ID files of such mounts
    DIR/changes/...     one empty file a mount's tree, touched by every write to it (see `generation`)
    DIR/faults.json     what shall go wrong (faults.py); DIR/commands.jsonl what was run (journal.py)

State is read with `with host.reading() as state` (no lock; do not change it) and changed in a transaction, `with
host.changing() as state`: alone on the host, freshly loaded, replaced as a whole when the block ends without an
exception, thrown away otherwise. A block inside another one of the same thread joins it. Never sleep, wait for a pipe
or run another tool in a transaction.

Paths of the host are resolved by `locate`, through mounts and symbolic links, never out of DIR. A path inside a jail
is located with the jail's path as `root`. A mount is a dict in `state["mounts"]`, oldest first:
`{"id", "on" (id of the mount it covers), "dir", "source", "type", "options" (list), "backing" (folder below DIR)}`.

What an ordinary user cannot give a file (owner, mode, flags, a size that is only claimed) is kept in a file called
META in the same directory, which travels with the tree and is hidden from all tools: `entries` lists without it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from . import clock

State = dict[str, Any]
Mount = dict[str, Any]

META = ".simulated-metadata"
MAXSYMLINKS = 32
READ_ONLY_TYPES = {"devfs": False}

_WORDS = {
    errno.EPERM: "Operation not permitted",
    errno.ENOENT: "No such file or directory",
    errno.EIO: "Input/output error",
    errno.EBADF: "Bad file descriptor",
    errno.EDEADLK: "Resource deadlock avoided",
    errno.EACCES: "Permission denied",
    errno.EBUSY: "Device busy",
    errno.EEXIST: "File exists",
    errno.EXDEV: "Cross-device link",
    errno.ENOTDIR: "Not a directory",
    errno.EISDIR: "Is a directory",
    errno.EINVAL: "Invalid argument",
    errno.ETXTBSY: "Text file busy",
    errno.EFBIG: "File too large",
    errno.ENOSPC: "No space left on device",
    errno.EROFS: "Read-only file system",
    errno.EPIPE: "Broken pipe",
    errno.ELOOP: "Too many levels of symbolic links",
    errno.ENAMETOOLONG: "File name too long",
    errno.ENOTEMPTY: "Directory not empty",
    errno.EDQUOT: "Disc quota exceeded",
    errno.ENOEXEC: "Exec format error",
    errno.EOPNOTSUPP: "Operation not supported",
}


def strerror(error: OSError) -> str:
    """The error in the words of FreeBSD's strerror(3)."""
    return _WORDS.get(error.errno or 0) or error.strerror or str(error)


def os_error(number: int, path: str = "") -> OSError:
    return OSError(number, _WORDS.get(number, os.strerror(number)), path)


FORKS = threading.RLock()
"""Held while a state is locked, and over every fork: a child must not inherit a lock that it cannot let go."""

os.register_at_fork(before=FORKS.acquire, after_in_parent=FORKS.release, after_in_child=FORKS.release)


class Location(NamedTuple):
    """Where a path leads: `path` seen from the host, `backing` the real file, `mount` the file system it is on."""

    path: str
    backing: Path
    mount: Mount

    @property
    def exists(self) -> bool:
        return os.path.lexists(self.backing)

    @property
    def read_only(self) -> bool:
        return "ro" in self.mount["options"]

    @property
    def is_mountpoint(self) -> bool:
        return bool(self.path == self.mount["dir"])


class Host:
    """One simulated host. Safe for many processes and threads at once."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(os.path.abspath(directory))
        self._state_file = str(self.directory / "state.json")
        self._own = threading.local()
        self._seen: tuple[tuple[int, int, int], State] | None = None
        self._index: tuple[State, dict[str, list[Mount]]] | None = None

    def __repr__(self) -> str:
        return f"Host({str(self.directory)!r})"

    # State

    @contextmanager
    def reading(self) -> Iterator[State]:
        """The state as last written, or the running transaction's. Not to be changed."""
        open_transaction = getattr(self._own, "state", None)
        yield open_transaction if open_transaction is not None else self._load()

    @contextmanager
    def changing(self) -> Iterator[State]:
        """The state, locked; written when the block ends without an exception."""
        outer = getattr(self._own, "state", None)
        if outer is not None:
            yield outer
            return
        with FORKS:
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                state = self._parse()
                self._own.state = state
                try:
                    yield state
                finally:
                    self._own.state = None
                self._write(state)
            finally:
                os.close(lock)

    @property
    def in_transaction(self) -> bool:
        return getattr(self._own, "state", None) is not None

    def create(self, state: State) -> None:
        """Make the folder and its first state; FileExistsError when there is a host already."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in ("root", "datasets", "tmpfs", "devfs", "changes"):
            (self.directory / name).mkdir(exist_ok=name != "root")
        self._write(state)

    def _load(self) -> State:
        status = os.stat(self._state_file)
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        seen = self._seen
        if seen is None or seen[0] != stamp:
            seen = self._seen = (stamp, self._parse())
        return seen[1]

    def _parse(self) -> State:
        with open(self._state_file, "rb") as file:
            return json.loads(file.read())  # type: ignore[no-any-return]

    def _write(self, state: State) -> None:
        data = json.dumps(state, separators=(",", ":")).encode()
        replace(self._state_file, data)

    def release(self, state: State) -> str:
        """`14.2-RELEASE`"""
        return str(state["release"])

    # Mounts

    def mount(
        self,
        state: State,
        source: str,
        directory: Location,
        type: str,
        options: list[str] | None = None,
        backing: str | None = None,
    ) -> Mount:
        """Mount something on a located directory, inside a transaction.

        `backing` is the folder of the files relative to DIR; for tmpfs and devfs one is made. What the options forbid
        (`ro`) is looked at by `Location.read_only`.
        """
        state["lastmount"] = state.get("lastmount", 0) + 1
        number = state["lastmount"]
        if backing is None:
            backing = f"{type}/{number}"
            (self.directory / backing).mkdir(parents=True)
        mount = {
            "id": number,
            "on": directory.mount["id"],
            "dir": directory.path,
            "source": source,
            "type": type,
            "options": list(options or ["rw"]),
            "backing": backing,
        }
        state["mounts"].append(mount)
        return mount

    def unmount(self, state: State, mount: Mount) -> None:
        """Take a mount away, inside a transaction. The caller has asked `busy` before."""
        state["mounts"] = [one for one in state["mounts"] if one["id"] != mount["id"]]
        if mount["type"] in ("tmpfs", "devfs", "fdescfs"):
            from shutil import rmtree

            rmtree(self.directory / mount["backing"], ignore_errors=True)

    def busy(self, state: State, mount: Mount) -> str | None:
        """Why a file system cannot be unmounted: something mounted on it, a jail's root or a daemon in it; or None."""
        for other in state["mounts"]:
            if other["on"] == mount["id"]:
                return f"{other['dir']} is mounted on it"
        for jail in state.get("jails", []):
            gone = "dying" in jail and jail["dying"] < clock.now()
            if not gone and self._lies_on(state, jail.get("path", "/"), mount):
                return f"jail {jail['name']} has its root in it"
        for holder in self.holders(mount):
            return f"process {holder} works in it"
        return None

    def _lies_on(self, state: State, path: str, mount: Mount) -> bool:
        if not (path == mount["dir"] or path.startswith(mount["dir"].rstrip("/") + "/")):
            return False
        try:
            return bool(self.locate(state, path).mount["id"] == mount["id"])
        except OSError:
            return False

    def holders(self, mount: Mount) -> Iterator[int]:
        """The processes that have their working directory there."""
        folder = self.directory / "holding"
        if not folder.is_dir():
            return
        for name in os.listdir(folder):
            number, pid, _ = name.split("-")
            if number != str(mount["id"]):
                continue
            if _alive(int(pid)):
                yield int(pid)
            else:
                (folder / name).unlink(missing_ok=True)

    def hold(self, mount: Mount) -> Path:
        """Note that this process has a working directory in a file system; remove the file to let go."""
        folder = self.directory / "holding"
        folder.mkdir(exist_ok=True)
        note = folder / f"{mount['id']}-{os.getpid()}-{os.urandom(4).hex()}"
        note.touch()
        return note

    def _mounts_by_directory(self, state: State) -> dict[str, list[Mount]]:
        index: dict[str, list[Mount]] = {}
        for mount in state["mounts"]:
            index.setdefault(mount["dir"], []).append(mount)
        return index

    def _mount_index(self, state: State) -> dict[str, list[Mount]]:
        if self.in_transaction:
            return self._mounts_by_directory(state)
        known = self._index
        if known is None or known[0] is not state:
            known = self._index = (state, self._mounts_by_directory(state))
        return known[1]

    # Paths

    def child(self, state: State, parent: Location, name: str) -> Location:
        """What is called `name` in a located directory, a link not followed. For walks through a tree."""
        path, backing, mount = _Walk(self.directory, self._mount_index(state), state, parent).covered(name)
        return Location(path, Path(backing), mount)

    def path(self, path: str, jail_root: str | None = None, *, follow: bool = True) -> Path:
        """The real file behind a path of the host, or of the jail whose root is given."""
        with self.reading() as state:
            return self.locate(state, path, root=jail_root or "/", follow=follow).backing

    def locate(self, state: State, path: str, *, root: str = "/", cwd: str = "/", follow: bool = True) -> Location:
        """Where a path leads. The last component need not exist; every other must be a directory.

        `cwd` is seen from `root`. Raises OSError: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EINVAL (NUL).
        """
        if not path:
            raise os_error(errno.ENOENT, path)
        if "\0" in path:
            raise os_error(errno.EINVAL, path)
        if len(os.fsencode(path)) >= 1024:
            raise os_error(errno.ENAMETOOLONG, path)
        walk = _Walk(self.directory, self._mount_index(state), state)
        walk.go(root, follow=True)
        walk.floor = len(walk.stack)
        if not path.startswith("/"):
            walk.go(cwd, follow=True)
        walk.go(path, follow=follow)
        return walk.location()

    def generation(self, mount: Mount) -> int:
        """A number that grows with every write to the files behind a mount (nanoseconds of the last one, 0: none)."""
        try:
            return os.stat(self._change_file(mount)).st_mtime_ns
        except FileNotFoundError:
            return 0

    def touched(self, mount: Mount) -> None:
        """Tell that files behind a mount were changed."""
        name = self._change_file(mount)
        try:
            os.utime(name)
        except FileNotFoundError:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600))

    def _change_file(self, mount: Mount) -> str:
        # What is below a nullfs mount belongs to the file system that lends it.
        parts = mount["backing"].split("/")
        return f"{self.directory}/changes/{'_'.join(parts[:1] if parts[0] == 'root' else parts[:2])}"

    # Files

    def entries(self, backing: str | Path) -> list[str]:
        """Names in a real directory, sorted, as the host's tools see them."""
        return sorted(name for name in os.listdir(backing) if name != META)

    def metadata(self, backing: str | Path) -> dict[str, Any]:
        """What is kept beside a file: `uid`, `gid`, `mode`, `flags` (names), `size` (claimed); {} for nothing."""
        directory, name = _meta_place(backing)
        found: dict[str, Any] = _read_meta(directory).get(name, {})
        return found

    def set_metadata(self, backing: str | Path, **changes: Any) -> None:
        """Change what is kept beside a file; None takes a key away."""
        directory, name = _meta_place(backing)
        self.set_metadata_in(directory, {name: changes})

    def set_metadata_in(self, directory: str | Path, changes: dict[str, dict[str, Any] | None]) -> None:
        """The same for several names of one directory (`.` is the directory itself); None forgets a name."""
        lock = os.open(self.directory / "metadata.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = _read_meta(directory)
            for name, change in changes.items():
                kept = {**known.pop(name, {}), **change} if change is not None else {}
                kept = {key: value for key, value in kept.items() if value is not None}
                if kept:
                    known[name] = kept
            if known:
                replace(f"{directory}/{META}", json.dumps(known, separators=(",", ":")).encode())
            else:
                Path(directory, META).unlink(missing_ok=True)
        finally:
            os.close(lock)

    def forget_metadata(self, backing: str | Path) -> None:
        """After a file (not a directory) was removed or moved away."""
        directory, name = os.path.split(backing)
        if os.path.exists(f"{directory}/{META}"):
            self.set_metadata_in(directory, {name: None})

    def copy_tree(self, source: str | Path, target: str | Path) -> None:
        """A whole real tree with times, links and metadata, to a place that may exist and be empty."""
        from shutil import copytree

        copytree(source, target, symlinks=True, dirs_exist_ok=True)

    def tree_usage(self, backing: str | Path) -> int:
        """Bytes of all files of a real tree, claimed sizes included; a directory counts 512."""
        total, waiting = 0, [os.fspath(backing)]
        while waiting:
            directory = waiting.pop()
            claimed: dict[str, int] = {}
            with os.scandir(directory) as found:
                for entry in found:
                    if entry.name == META:
                        claimed = {name: one["size"] for name, one in _read_meta(directory).items() if "size" in one}
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        total += 512
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
            for name, size in claimed.items():
                if os.path.lexists(f"{directory}/{name}"):
                    total += size - os.lstat(f"{directory}/{name}").st_size
        return total


class _Walk:
    """namei(9): from component to component, through mounts and links, never above `floor`."""

    def __init__(
        self, directory: Path, mounts: dict[str, list[Mount]], state: State, start: Location | None = None
    ) -> None:
        self.directory = os.fspath(directory)
        self.state = state
        self.mounts = mounts
        self.links = 0
        self.floor = 1
        self.stack: list[tuple[str, str, Mount]] = []
        if start is not None:
            self.stack.append((start.path, os.fspath(start.backing), start.mount))
            return
        root = mounts["/"][0]
        self.stack = [self._covered("/", self._backing(root), root)]

    def location(self) -> Location:
        path, backing, mount = self.stack[-1]
        return Location(path, Path(backing), mount)

    def covered(self, name: str) -> tuple[str, str, Mount]:
        path, backing, mount = self.stack[-1]
        return self._covered(f"{path.rstrip('/')}/{name}", f"{backing}/{name}", mount)

    def go(self, path: str, *, follow: bool) -> None:
        if path.startswith("/"):
            del self.stack[self.floor :]
        parts = [part for part in path.split("/") if part]
        if path.endswith("/") and parts:
            parts.append(".")
        pending = parts[::-1]
        while pending:
            self._step(pending, follow)

    def _step(self, pending: list[str], follow: bool) -> None:
        part = pending.pop()
        path, backing, mount = self.stack[-1]
        self._expect_directory(path, backing, last_slash=part == "." and not pending)
        if part == ".":
            return
        if part == "..":
            if len(self.stack) > self.floor:
                self.stack.pop()
            return
        if part == META:
            raise os_error(errno.EPERM, path)
        child = f"{path.rstrip('/')}/{part}"
        if mount["type"] == "zfs" and (control := self._snapshots(part, path, backing, mount)):
            self.stack.append((child, control, {**mount, "options": ["ro"]}))
            return
        entry = self._covered(child, f"{backing}/{part}", mount)
        if entry[2] is mount and (pending or follow):
            target = _link_target(entry[1])
            if target is not None:
                self._follow(target, pending, child)
                return
        self.stack.append(entry)

    def _snapshots(self, part: str, path: str, backing: str, mount: Mount) -> str | None:
        """What is behind .zfs, .zfs/snapshot and .zfs/snapshot/NAME of a mounted dataset; the rest is as usual."""
        if part == ".zfs" and path == mount["dir"]:
            return f"{self.directory}/zfsctl/{mount['backing'].rpartition('/')[2]}"
        if not backing.startswith(f"{self.directory}/zfsctl/") or not backing.endswith("/snapshot"):
            return None
        from .tools.zfs import snapshot_directory

        identity = backing.split("/")[-2]
        return f"{self.directory}/{snapshot_directory(self.state, identity, part) or f'zfsctl/none/{part}'}"

    def _follow(self, target: str, pending: list[str], path: str) -> None:
        self.links += 1
        if self.links > MAXSYMLINKS:
            raise os_error(errno.ELOOP, path)
        if target.startswith("/"):
            del self.stack[self.floor :]
        pending.extend([part for part in target.split("/") if part][::-1])

    def _expect_directory(self, path: str, backing: str, last_slash: bool) -> None:
        try:
            mode = os.lstat(backing).st_mode
        except FileNotFoundError:
            if last_slash:
                return
            raise os_error(errno.ENOENT, path) from None
        if mode & 0o170000 != 0o040000:
            raise os_error(errno.ENOTDIR, path)

    def _covered(self, path: str, backing: str, mount: Mount) -> tuple[str, str, Mount]:
        """The topmost of the mounts on a directory."""
        for one in self.mounts.get(path, ()):
            if one["on"] == mount["id"]:
                mount, backing = one, self._backing(one)
        return path, backing, mount

    def _backing(self, mount: Mount) -> str:
        return f"{self.directory}/{mount['backing']}"


def _link_target(backing: str) -> str | None:
    try:
        return os.readlink(backing)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTDIR):
            return None
        raise


def _meta_place(backing: str | Path) -> tuple[str, str]:
    backing = os.fspath(backing)
    if os.path.isdir(backing) and not os.path.islink(backing):
        return backing, "."
    return os.path.split(backing)


def _read_meta(directory: str | Path) -> dict[str, Any]:
    try:
        with open(f"{directory}/{META}", "rb") as file:
            return json.loads(file.read())  # type: ignore[no-any-return]
    except (FileNotFoundError, NotADirectoryError):
        return {}


def replace(name: str, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    new = f"{name}.{os.getpid()}.{threading.get_ident()}"
    with open(new, "wb") as file:
        file.write(data)
    os.replace(new, name)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
