"""What zfs(8) and zpool(8) use of the simulated host: state, trees, mounts, the calling jail, output and input."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jails.hosts.simulated import clock
from jails.hosts.simulated.host import Location, strerror

from . import space, trees
from .errors import ZfsError
from .model import Record, Zfs, parent_of, release_of


class Env:
    """One running command."""

    def __init__(self, process: Any, host: Any = None) -> None:
        self.process = process
        self.host = host or process.host
        self.directory = Path(self.host.directory)
        self.argv: list[str] = list(process.argv) if process else ["zfs"]
        self.jail: int | None = (process.jid or None) if process else None
        self.history = ""
        self._release: tuple[int, int] | None = None
        self._complained = False
        self._text: list[tuple[bool, str]] = []
        self._doomed: list[str] = []
        self._cache: dict[str, space.Tree] = {}

    @classmethod
    def of_host(cls, host: Any) -> Env:
        """For code that makes or changes a host without running a command."""
        return cls(None, host)

    @property
    def openzfs(self) -> bool:
        if self._release is None:
            with self.reading():
                pass
        assert self._release is not None
        return self._release >= (13, 0)

    def zfs_of(self, state: Record) -> Zfs:
        self._release = release_of(str(state["release"]))
        return Zfs(state, self._release)

    @contextmanager
    def reading(self) -> Iterator[Zfs]:
        """The state as it is; not held while the caller prints it."""
        with self.host.reading() as state:
            zfs = self.zfs_of(state)
        yield zfs

    @contextmanager
    def changing(self) -> Iterator[Zfs]:
        """The state, to be changed by this command alone. What fails half-way stays, as on a real host."""
        failure: ZfsError | None = None
        with self.host.changing() as state:
            zfs = self.zfs_of(state)
            try:
                self._measure_touched(zfs)
                yield zfs
            except ZfsError as error:
                failure = error
            if failure is None and not self._complained:
                self._remember(zfs)
        for one in self._doomed:
            trees.remove(self._directory(one))
        self._doomed = []
        if failure:
            raise failure
        if self.process:
            self.process.middle()

    @contextmanager
    def measured(self) -> Iterator[Zfs]:
        """The state with sizes that are true now; not held while the caller prints it."""
        with self.host.reading() as state:
            zfs = self.zfs_of(state)
            stale = self._stale(zfs)
        if stale:
            with self.host.changing() as state:
                zfs = self.zfs_of(state)
                self._measure_touched(zfs)
        yield zfs

    def _remember(self, zfs: Zfs) -> None:
        """Append the command to the history of the pool it named, once."""
        words, self.history = self.history.split(" "), ""
        for word in words[2:]:
            pool = zfs.pools.get(word.partition("/")[0].partition("@")[0])
            if pool is not None:
                pool["history"] = [*pool["history"][-499:], [int(clock.now()), " ".join(words)]]
                return

    def _stale(self, zfs: Zfs) -> list[tuple[str, int]]:
        """Datasets whose files were written to since they were measured, with the generation of that."""
        generations: dict[str, int] = {}
        with os.scandir(self.directory / "changes") as found:
            for entry in found:
                if entry.name.startswith("datasets_"):
                    generations[entry.name[9:]] = entry.stat().st_mtime_ns
        return [
            (name, generations[dataset["id"]])
            for name, dataset in zfs.datasets.items()
            if generations.get(dataset["id"], 0) != dataset.get("generation", 0)
        ]

    def _measure_touched(self, zfs: Zfs) -> None:
        for name, generation in self._stale(zfs):
            self.measure(zfs, name)
            zfs.datasets[name]["generation"] = generation

    # Output and input: nothing is written while the state is locked.

    def out(self, text: str) -> None:
        self._text.append((False, text))

    def err(self, text: str) -> None:
        self._complained = True
        self._text.append((True, text))

    def note(self, text: str) -> None:
        """To stderr, but no complaint."""
        self._text.append((True, text))

    def flush(self) -> None:
        """Print what was said so far."""
        said, self._text = self._text, []
        for is_error, text in said:
            (self.process.err if is_error else self.process.out)(text)

    def write(self, data: bytes) -> None:
        """Bytes to standard output, now. BrokenPipeError when nobody reads."""
        self.flush()
        real = self.process.fds.get(1)
        if real is None:
            raise BrokenPipeError
        view = memoryview(data)
        while view:
            view = view[os.write(real, view) :]

    def stdout_is_terminal(self) -> bool:
        real = self.process.fds.get(1)
        return real is not None and os.isatty(real)

    def read_exactly(self, size: int) -> bytes:
        """`size` bytes of standard input, fewer at its end."""
        parts: list[bytes] = []
        while size > 0:
            part = self.process.read(min(size, 1 << 20))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    # Trees

    def _directory(self, one: str) -> Path:
        return self.directory / "datasets" / one

    def make_tree(self, one: str) -> None:
        trees.make(self._directory(one))

    def drop_tree(self, one: str) -> None:
        """Remove the tree once the change is written."""
        self._doomed.append(one)

    def copy_tree(self, source: str, target: str) -> None:
        trees.copy(self._directory(source), self._directory(target))
        self._cache.pop(target, None)

    def restore_tree(self, source: str | None, target: str) -> None:
        """Make the tree of `target`, which may be mounted, equal to that of `source` (None: empty)."""
        trees.clear(self._directory(target))
        if source:
            trees.fill(self._directory(source), self._directory(target))
        self._cache.pop(target, None)

    def pack_tree(self, one: str, base: str | None) -> bytes:
        return trees.pack(self._directory(one), self._directory(base) if base else None)

    def unpack_tree(self, one: str, packed: bytes) -> None:
        trees.unpack(self._directory(one), packed)
        self._cache.pop(one, None)

    def same_trees(self, one: str, other: str) -> bool:
        return not any(self.changes(one, other))

    def changes(self, old: str, new: str) -> list[tuple[str, str, str]]:
        return list(trees.changes(self._directory(old), self._directory(new)))

    def measure(self, zfs: Zfs, name: str) -> None:
        """Measure one dataset and its snapshots now, and show the snapshots in its .zfs directory."""
        dataset = zfs.datasets[name]
        self._cache.pop(dataset["id"], None)
        trees.show_names(self.control(dataset), [one["name"] for one in dataset["snapshots"]])
        space.measure(zfs, name, self._tree)

    def control(self, dataset: Record) -> Path:
        """The directory that stands for .zfs/snapshot: empty directories with the names of the snapshots."""
        return self.directory / "zfsctl" / str(dataset["id"]) / "snapshot"

    def _tree(self, one: str) -> space.Tree:
        if one not in self._cache:
            self._cache[one] = space.tree(self._directory(one))
        return self._cache[one]

    # Mounts

    def mounts(self, state: Record) -> dict[str, str]:
        """Mounted datasets and where, seen from the host, in order of mounting."""
        return {one["source"]: one["dir"] for one in state["mounts"] if one["type"] == "zfs"}

    def _mount_at(self, state: Record, target: str) -> Record | None:
        found = [one for one in state["mounts"] if one["type"] == "zfs" and one["dir"] == target]
        return found[-1] if found else None

    def mount(self, state: Record, name: str, target: str, words: list[str]) -> None:
        """Mount a dataset at a directory of the host."""
        dataset = state["zfs"]["datasets"][name]
        place = self.host.locate(state, target)
        self.host.mount(state, name, place, "zfs", words, backing=f"datasets/{dataset['id']}")

    def busy(self, state: Record, target: str, force: bool) -> bool:
        """Whether what is mounted at `target` cannot be unmounted; forced, only other mounts on it count."""
        mount = self._mount_at(state, target)
        if mount is None:
            return False
        if self._works_in(state, mount):
            return not force
        reason = self.host.busy(state, mount)
        return reason is not None and not (force and not reason.endswith("is mounted on it"))

    def _works_in(self, state: Record, mount: Record) -> bool:
        """Whether this command was called from a directory of the mounted file system, as then a shell is in it."""
        if self.process is None or self.process.cwd == "/":
            return False
        try:
            place = self.host.locate(state, self.process.cwd, root=self.process.root)
        except OSError:
            return False
        return bool(place.mount["id"] == mount["id"])

    def unmount(self, state: Record, target: str) -> None:
        mount = self._mount_at(state, target)
        if mount is not None:
            self.host.unmount(state, mount)

    def set_options(self, state: Record, target: str, words: list[str]) -> None:
        mount = self._mount_at(state, target)
        if mount is not None:
            mount["options"] = words

    def mount_options(self, state: Record, name: str) -> list[str] | None:
        """The options a dataset is mounted with; None when it is not."""
        found = [one["options"] for one in state["mounts"] if one["type"] == "zfs" and one["source"] == name]
        return found[-1] if found else None

    def rename_source(self, state: Record, old: str, new: str) -> None:
        for one in state["mounts"]:
            if one["type"] == "zfs" and one["source"] == old:
                one["source"] = new

    def prepare_mountpoint(self, state: Record, wanted: str, overlay: bool) -> str | None:
        """Make the directory to mount on. What is wrong with it, or None."""
        target = self.host_target(state, wanted)
        try:
            self._make_directories(state, target)
            place = self.host.locate(state, target)
        except OSError as error:
            return f"failed to create mountpoint: {error.strerror}"
        if not place.backing.is_dir():
            return "Not a directory"
        if not overlay and self.host.entries(place.backing):
            return "directory is not empty"
        return None

    def _make_directories(self, state: Record, target: str) -> None:
        path = ""
        for part in [one for one in target.split("/") if one]:
            path += f"/{part}"
            place = self.host.locate(state, path)
            if not place.exists:
                place.backing.mkdir(0o755)
                self.host.touched(place.mount)

    def remove_mountpoint(self, state: Record, target: str) -> None:
        """Remove the empty directory that a dataset was mounted on."""
        try:
            place = self.host.locate(state, self.host_target(state, target))
            if not place.is_mountpoint:
                place.backing.rmdir()
                self.host.touched(place.mount)
        except OSError:
            return

    def dataset_of_path(self, zfs: Zfs, path: str) -> str:
        """The dataset that holds a path (zfs_path_to_zhandle)."""
        try:
            place = self.host.locate(zfs.state, self.host_target(zfs.state, path))
        except OSError as error:
            raise ZfsError(f"{path}: {strerror(error)}") from None
        if not place.exists:
            raise ZfsError(f"{path}: No such file or directory")
        if place.mount["type"] != "zfs":
            raise ZfsError(f"'{path}': not a ZFS filesystem")
        return str(place.mount["source"])

    def place(self, state: Record, path: str) -> Location:
        """Where a path of the caller leads. Raises OSError."""
        return self.host.locate(state, self.host_target(state, path))  # type: ignore[no-any-return]

    def file_size(self, state: Record, path: str) -> int | None:
        try:
            backing = self.host.locate(state, path).backing
            claimed = self.host.metadata(backing).get("size")
            return int(claimed) if claimed is not None else backing.stat().st_size
        except OSError:
            return None

    # Jails

    def jid(self, state: Record, text: str) -> int | None:
        """The running jail of this name or number."""
        for one in state.get("jails", []):
            if "dying" not in one and text in (one["name"], str(one["jid"])):
                return int(one["jid"])
        return None

    def _jail_root(self, state: Record) -> str:
        for one in state.get("jails", []) if self.jail is not None else []:
            if one["jid"] == self.jail:
                return str(one.get("path", "/")).rstrip("/")
        return ""

    def host_target(self, state: Record, path: str) -> str:
        """The host's path of a path of the calling jail."""
        return self._jail_root(state) + path or "/"

    def seen(self, state: Record, target: str) -> str:
        """The calling jail's path of a path of the host."""
        return target.removeprefix(self._jail_root(state)) or "/"

    def seen_if_visible(self, state: Record, target: str) -> str:
        """The same; empty for what is mounted outside the calling jail."""
        root = self._jail_root(state)
        return self.seen(state, target) if target == root or target.startswith(root + "/") else ""

    def visible(self, zfs: Zfs, name: str) -> bool:
        """Whether the caller may see a dataset: in a jail only what is delegated to it and what lies above that."""
        if self.jail is None:
            return True
        filesystem = name.partition("@")[0]
        given = [one for one, dataset in zfs.datasets.items() if self.jail in dataset.get("jail", ())]
        return any(
            filesystem == one or one.startswith(filesystem + "/") or filesystem.startswith(one + "/") for one in given
        )

    def delegated(self, zfs: Zfs, name: str) -> bool:
        """Whether the calling jail may change a dataset: it or one above is jailed and given to this jail."""
        if self.jail is None:
            return True
        at = name.partition("@")[0]
        while at:
            if self.jail in zfs.datasets.get(at, {}).get("jail", ()):
                return zfs.value(at, "jailed") == "on"
            at = parent_of(at)
        return False

    def library_works(self) -> bool:
        """/dev/zfs must be there: a jail without a devfs has none."""
        if self.jail is None:
            return True
        with self.host.reading() as state:
            device = self._jail_root(state) + "/dev"
            return any(one["type"] == "devfs" and one["dir"] == device for one in state["mounts"])
