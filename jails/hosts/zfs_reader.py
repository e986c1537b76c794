"""What a host's ZFS holds: read by zfs(8) and zpool(8), or in process by py-libzfs where the host is this machine.

Both give equal results. Changes never go this way: they are commands that a plan shows.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from jails.freebsd import zfs, zpool
from jails.freebsd.command import Argv, Pipeline, argv
from jails.hosts.connection import Connection, Result
from jails.hosts.local import LocalConnection

HOME = "cellblock"
"""The dataset of a pool, POOL/cellblock, below which everything is that the panel makes."""

MARKS = (
    "cellblock:operation",
    "cellblock:jail",
    "cellblock:kind",
    "cellblock:release",
    "cellblock:template",
    "cellblock:touched",
    "cellblock:source",
    "cellblock:tenant",
    "cellblock:note",
    "cellblock:kept",
)
"""User properties of the panel: a lost database is rebuilt from them. A note is what somebody wrote of a snapshot; kept
is the operation that holds it."""

SECONDS = 60.0
LIMIT = 64_000_000

# Of these none can hold a tab or a newline (a mount point and a user property can).
PROPERTIES = (
    "name", "type", "used", "available", "referenced", "usedbysnapshots", "usedbydataset", "usedbychildren",
    "usedbyrefreservation", "logicalused", "written", "quota", "refquota", "reservation", "refreservation",
    "mounted", "canmount", "jailed", "origin", "creation",
)  # fmt: skip
SNAPSHOT_PROPERTIES = ("name", "used", "referenced", "creation", "userrefs", "clones")
_TEXTS = frozenset({"name", "type", "mounted", "canmount", "jailed", "origin", "clones"})


@dataclass(frozen=True)
class Dataset:
    """A filesystem or volume, its fields called as in zfsprops(7); sizes in bytes, `creation` in seconds since 1970.

    `mountpoint` is the property below POOL/cellblock, and elsewhere where it is mounted now, or empty.
    `marks`: the panel's user properties that are set on this very dataset, not inherited.
    """

    name: str
    type: str = "filesystem"
    used: int = 0
    available: int = 0
    referenced: int = 0
    usedbysnapshots: int = 0
    usedbydataset: int = 0
    usedbychildren: int = 0
    usedbyrefreservation: int = 0
    logicalused: int = 0
    written: int = 0
    quota: int = 0
    refquota: int = 0
    reservation: int = 0
    refreservation: int = 0
    mountpoint: str = ""
    mounted: bool = False
    canmount: str = ""
    jailed: bool = False
    origin: str = ""
    creation: int = 0
    marks: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def pool(self) -> str:
        return self.name.partition("/")[0]

    @property
    def operation(self) -> str:
        """The operation that made it, or empty."""
        return self.marks.get("cellblock:operation", "")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot below POOL/cellblock; `clones` are the datasets that keep it from going."""

    name: str
    used: int = 0
    referenced: int = 0
    creation: int = 0
    userrefs: int = 0
    clones: tuple[str, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def dataset(self) -> str:
        return self.name.partition("@")[0]

    @property
    def operation(self) -> str:
        return self.marks.get("cellblock:operation", "")


@dataclass(frozen=True)
class Pool:
    """`size`, `allocated` and `free` are raw (zpool(8)); `used`, `available` and `usedbysnapshots` what data may use.

    `reserve` is the largest reservation of a dataset that is not mounted and holds nothing: the brake before 100 %.
    """

    name: str
    health: str
    size: int = 0
    allocated: int = 0
    free: int = 0
    used: int = 0
    available: int = 0
    usedbysnapshots: int = 0
    reserve_dataset: str = ""
    reserve: int = 0


@dataclass(frozen=True)
class ZFSFacts:
    """`errors` says what could not be read. `doubtful` are datasets whose marks and mountpoint cannot be believed."""

    pools: tuple[Pool, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    doubtful: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class ZFSReader(Protocol):
    def read(self) -> ZFSFacts:
        """Raises HostUnavailable; whatever else goes wrong is in `errors`."""
        ...


def reader(connection: Connection) -> ZFSReader:
    """The reader for a host: libzfs in process where the host is this machine and has the module, zfs(8) otherwise.

    Also where the worker only becomes root for what it runs: in process it is not.
    """
    if isinstance(connection, LocalConnection) and not connection.become:
        try:
            return LibraryReader(importlib.import_module("libzfs"))
        except ImportError:
            pass
    return CommandReader(connection)


class CommandReader:
    """By zpool(8) and zfs(8): at most four processes, however many datasets there are."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._errors: list[str] = []

    def read(self) -> ZFSFacts:
        self._errors = []
        pools = self._pools()
        rows = self._rows(zfs.list_datasets(properties=PROPERTIES), PROPERTIES)
        homes = homes_in(row["name"] for row in rows)
        snapshots: Sequence[Mapping[str, str]] = ()
        free = _Free()
        if homes:
            listed = zfs.list_datasets(*homes, properties=SNAPSHOT_PROPERTIES, types=("snapshot",))
            snapshots = self._rows(listed, SNAPSHOT_PROPERTIES)
            names = [row["name"] for row in (*rows, *snapshots) if _below(row["name"], homes)]
            free = _free_values(self._run(_get_free(homes)), names)
        return _facts(pools, rows, snapshots, free, tuple(self._errors))

    def _pools(self) -> tuple[zpool.Pool, ...]:
        try:
            return zpool.parse_list(self._run(zpool.LIST))
        except ValueError as error:
            self._errors.append(str(error))
            return ()

    def _rows(self, command: Argv, properties: Sequence[str]) -> tuple[dict[str, str], ...]:
        try:
            return zfs.parse_list(self._run(command), properties)
        except ValueError as error:
            self._errors.append(str(error))
            return ()

    def _run(self, command: Argv) -> bytes:
        result = self.connection.run(Pipeline.of(command), timeout=SECONDS, limit=LIMIT)
        problem = _problem(command, result)
        if problem:
            self._errors.append(problem)
        return result.stdout


class LibraryReader:
    """By the module `libzfs` (port devel/py-libzfs), for a host that is this machine."""

    def __init__(self, library: ModuleType) -> None:
        self.library = library

    def read(self) -> ZFSFacts:
        try:
            with self.library.ZFS(history=False) as handle:
                return self._read(handle)
        except self.library.ZFSException as error:
            return ZFSFacts(errors=(f"libzfs: {error}",))

    def _read(self, handle: Any) -> ZFSFacts:
        pools = tuple(_library_pool(pool) for pool in handle.pools)
        names = [pool.name for pool in pools]
        wanted = [*PROPERTIES, "mountpoint"]
        found = list(_flat(handle.datasets_serialized(props=wanted, user_props=True, datasets=names))) if names else []
        homes = homes_in(data["name"] for data in found)
        snapshots = []
        if homes:
            snapshots = handle.snapshots_serialized(props=[*SNAPSHOT_PROPERTIES], datasets=list(homes), recursive=True)
        free = _Free()
        for data in (*found, *snapshots):
            if _below(data["name"], homes):
                free.take(data["name"], data["properties"])
        rows = [_library_row(data, PROPERTIES) for data in found]
        return _facts(pools, rows, [_library_row(data, SNAPSHOT_PROPERTIES) for data in snapshots], free, ())


class _Free:
    """Values that may hold any text: mount points, and the marks that are set on the very dataset or snapshot."""

    def __init__(self) -> None:
        self.mountpoints: dict[str, str] = {}
        self.marks: dict[str, dict[str, str]] = {}
        self.doubtful: set[str] = set()

    def put(self, name: str, property_name: str, value: str, source: str) -> None:
        if property_name == "mountpoint":
            self.mountpoints[name] = _text(value)
        elif source in ("local", "received"):
            self.marks.setdefault(name, {})[property_name] = value

    def take(self, name: str, properties: Mapping[str, Mapping[str, str]]) -> None:
        for property_name in ("mountpoint", *MARKS):
            entry = properties.get(property_name)
            if entry is not None:
                self.put(name, property_name, entry["rawvalue"], entry["source"].lower())


def homes_in(names: Iterable[str]) -> tuple[str, ...]:
    """The datasets POOL/cellblock."""
    return tuple(sorted(name for name in names if name.partition("/")[2] == HOME))


def _below(name: str, homes: Sequence[str]) -> bool:
    return any(name == home or name.startswith((f"{home}/", f"{home}@")) for home in homes)


def _get_free(homes: Sequence[str]) -> Argv:
    columns, properties = "name,property,value,source", ",".join(("mountpoint", *MARKS))
    return argv("zfs", "get", "-Hp", "-r", "-t", "filesystem,volume,snapshot", "-o", columns, properties, *homes)


def _free_values(output: bytes, names: Iterable[str]) -> _Free:
    """What `_get_free` printed. Each name has one row a property; a value can hold a newline and pretend to be a row.

    A forged row names something that has its true row too: both are left out, and the name is doubtful.
    """
    free, known = _Free(), set(names)
    rows: list[list[str]] = []
    seen: Counter[tuple[str, str]] = Counter()
    for line in output.decode("utf-8", "replace").split("\n"):
        columns = line.split("\t")
        if columns[0] not in known or len(columns) < 2:
            continue
        seen[columns[0], columns[1]] += 1
        if len(columns) == 4:
            rows.append(columns)
        else:
            free.doubtful.add(columns[0])
    free.doubtful |= {name for (name, _), count in seen.items() if count > 1}
    # Snapshots have no mount point: some releases print a row for it, others none.
    free.doubtful |= {name for name in known if any(not seen[name, mark] for mark in MARKS)}
    for name, property_name, value, source in rows:
        if name not in free.doubtful and property_name in ("mountpoint", *MARKS):
            free.put(name, property_name, value, source)
    return free


def _facts(
    pools: Iterable[zpool.Pool],
    rows: Iterable[Mapping[str, str]],
    snapshots: Iterable[Mapping[str, str]],
    free: _Free,
    errors: tuple[str, ...],
) -> ZFSFacts:
    datasets = tuple(sorted((_dataset(row, free) for row in rows), key=lambda dataset: dataset.name))
    return ZFSFacts(
        pools=tuple(sorted((_pool(pool, datasets) for pool in pools), key=lambda pool: pool.name)),
        datasets=datasets,
        snapshots=tuple(
            sorted((_snapshot(row, free) for row in snapshots if not _is_passing(row)), key=lambda one: one.name)
        ),
        doubtful=tuple(sorted(free.doubtful)),
        errors=errors,
    )


def _dataset(row: Mapping[str, str], free: _Free) -> Dataset:
    name = row["name"]
    numbers = {key: _number(value) for key, value in row.items() if key not in _TEXTS}
    return Dataset(
        name=name,
        type=row["type"],
        mountpoint=free.mountpoints.get(name, ""),
        mounted=row["mounted"] == "yes",
        canmount=_text(row["canmount"]),
        jailed=row["jailed"] == "on",
        origin=_text(row["origin"]),
        marks=free.marks.get(name, {}),
        **numbers,
    )


def _is_passing(row: Mapping[str, str]) -> bool:
    """What zfs-diff(8) takes for as long as it compares, and destroys by itself (libzfs_diff.c)."""
    return re.fullmatch(r"zfs-diff-[0-9]+-[0-9a-f]{16}", row["name"].partition("@")[2]) is not None


def _snapshot(row: Mapping[str, str], free: _Free) -> Snapshot:
    numbers = {key: _number(value) for key, value in row.items() if key not in _TEXTS}
    clones = tuple(sorted(filter(None, _text(row["clones"]).split(","))))
    return Snapshot(name=row["name"], clones=clones, marks=free.marks.get(row["name"], {}), **numbers)


def _pool(pool: zpool.Pool, datasets: Sequence[Dataset]) -> Pool:
    root = next((dataset for dataset in datasets if dataset.name == pool.name), Dataset(pool.name))
    brakes = [dataset for dataset in datasets if dataset.pool == pool.name and _is_brake(dataset)]
    brake = max(brakes, key=_reserved, default=None)
    return Pool(
        name=pool.name,
        health=pool.health,
        size=pool.size or 0,
        allocated=pool.allocated or 0,
        free=pool.free or 0,
        used=root.used,
        available=root.available,
        usedbysnapshots=sum(dataset.usedbysnapshots for dataset in datasets if dataset.pool == pool.name),
        reserve_dataset=brake.name if brake else "",
        reserve=_reserved(brake) if brake else 0,
    )


_EMPTY = 1_000_000
"""A filesystem that holds nothing still refers to some kB of its own bookkeeping."""


def _is_brake(dataset: Dataset) -> bool:
    held = dataset.referenced + dataset.usedbychildren
    return bool(_reserved(dataset)) and dataset.type == "filesystem" and not dataset.mounted and held < _EMPTY


def _reserved(dataset: Dataset) -> int:
    return max(dataset.reservation, dataset.refreservation)


def _library_pool(pool: Any) -> zpool.Pool:
    properties = pool.properties
    values = {name: properties[name].rawvalue for name in ("size", "allocated", "free", "guid")}
    size, allocated, free = (zfs.number(values[name]) for name in ("size", "allocated", "free"))
    return zpool.Pool(pool.name, size, allocated, free, None, pool.status, None, False, values["guid"])


def _flat(datasets: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for data in datasets:
        yield data
        yield from _flat(data.get("children", ()))


def _library_row(data: Mapping[str, Any], properties: Sequence[str]) -> dict[str, str]:
    found = data["properties"]
    row = {name: found[name]["rawvalue"] if name in found else "-" for name in properties}
    # zfs list writes the type in lower case, the module gives the name of its enumeration.
    return row | {"name": data["name"]} | ({"type": data["type"].lower()} if "type" in properties else {})


def _number(value: str) -> int:
    return zfs.number(value) or 0


def _text(value: str) -> str:
    return "" if value == "-" else value


def _problem(command: Argv, result: Result) -> str:
    words = " ".join(command[:2])
    if result.rc:
        said = result.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"{words}: status {result.rc}" + (f": {said[0]}" if said else "")
    return f"{words}: more output than {LIMIT} bytes" if result.truncated else ""
