"""Pools, datasets and snapshots as the simulated host keeps them.

`state["zfs"]` is `{"txg", "serial", "pools": {name: pool}, "datasets": {name: dataset}}`:

- pool: `guid`, `size` (bytes), `vdevs` (lines of [depth, name]), `created`, `health`, `props`, `scan`,
  `history` ([time, text]); one that left has `how` (exported, destroyed) and `left`, the datasets it took away.
- dataset: `id` (its directory), `type`, `guid`, `creation`, `createtxg`, `origin` (`id` of a snapshot or None),
  `props`, `received`, `snapshots` (oldest first), `bookmarks`, `space` (what space.py measured), `generation` (of the
  files when measured), `jail` (jids it is delegated to), `permissions`.
- snapshot: `name`, `id`, `guid`, `creation`, `createtxg`, `props`, `holds` ({tag: time}), `refer`, `used`, `written`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from jails.hosts.simulated import clock

from . import properties
from .properties import Properties

Record = dict[str, Any]


def data(state: Record) -> Record:
    """The part of the state that belongs to ZFS."""
    if "zfs" not in state:
        state["zfs"] = {"txg": 4, "serial": 0, "pools": {}, "datasets": {}}
    part: Record = state["zfs"]
    return part


def release_of(text: str) -> tuple[int, int]:
    """(12, 1) of "12.1-STABLE"."""
    major, _, rest = text.partition(".")
    minor = "".join(letter for letter in rest.partition("-")[0] if letter.isdigit())
    return int(major or 0), int(minor or 0)


def new_guid() -> int:
    return int.from_bytes(os.urandom(8)) or 1


def filesystem_of(name: str) -> str:
    """tank/a of tank/a@b and tank/a#b."""
    return name.partition("@")[0].partition("#")[0]


def parent_of(name: str) -> str:
    return name.rpartition("/")[0]


def list_key(name: str, createtxg: int = 0) -> tuple[str, int, int, str]:
    """The order in which zfs(8) lists: a dataset before its snapshots, these by their age."""
    filesystem = filesystem_of(name)
    return filesystem, int(filesystem != name), createtxg if filesystem != name else 0, name


class Zfs:
    """What zfs(8) and zpool(8) know, over one loaded state."""

    def __init__(self, state: Record, release: tuple[int, int]) -> None:
        self.state = state
        self.release = release
        self.openzfs = release >= (13, 0)
        self.properties = Properties(release)
        part = data(state)
        self._part = part
        self.pools: dict[str, Record] = part["pools"]
        self.datasets: dict[str, Record] = part["datasets"]

    def next_txg(self) -> int:
        self._part["txg"] += 1
        return int(self._part["txg"])

    def next_id(self, kind: str) -> str:
        self._part["serial"] += 1
        return f"{kind}{self._part['serial']}"

    def active_pools(self) -> list[str]:
        return sorted(name for name in self.pools if name in self.datasets)

    def exists(self, name: str) -> bool:
        return self.find(name) is not None

    def find(self, name: str) -> Record | None:
        """The dataset or snapshot called `name`."""
        if "@" not in name:
            return self.datasets.get(name)
        filesystem, _, short = name.partition("@")
        dataset = self.datasets.get(filesystem)
        if dataset is None:
            return None
        return next((one for one in dataset["snapshots"] if one["name"] == short), None)

    def children(self, name: str) -> list[str]:
        """Direct children, sorted."""
        depth = name.count("/") + 1
        return [one for one in self.descendants(name) if one.count("/") == depth]

    def descendants(self, name: str) -> list[str]:
        prefix = name + "/"
        return sorted(one for one in self.datasets if one.startswith(prefix))

    def snapshot_by_guid(self, guid: int) -> str | None:
        for name, dataset in self.datasets.items():
            for snapshot in dataset["snapshots"]:
                if snapshot["guid"] == guid:
                    return f"{name}@{snapshot['name']}"
        return None

    def origins(self) -> dict[str, str]:
        """Name of every snapshot by its id, for callers that need many."""
        return {
            snapshot["id"]: f"{name}@{snapshot['name']}"
            for name, dataset in self.datasets.items()
            for snapshot in dataset["snapshots"]
        }

    def origin_name(self, dataset: Record) -> str | None:
        return self.origins().get(dataset["origin"]) if dataset.get("origin") else None

    def clones(self, snapshot_id: str) -> list[str]:
        """By id and not by guid, which a received copy of the snapshot has as well."""
        return sorted(name for name, dataset in self.datasets.items() if dataset.get("origin") == snapshot_id)

    def dependents(self, name: str, clones: bool = True) -> list[str]:
        """All that must go before `name` can, in the order of going; with the clones of its snapshots if asked.

        Children come newest name first: the real order is that of a hash, this is the one recorded.
        """
        found: list[str] = []
        self._gather(name, clones, found)
        return found

    def _gather(self, name: str, clones: bool, found: list[str]) -> None:
        if "@" in name:
            if clones:
                snapshot = self.find(name)
                for clone in self.clones(snapshot["id"]) if snapshot else []:
                    self._add(clone, clones, found)
            return
        for child in reversed(self.children(name)):
            self._add(child, clones, found)
        for snapshot in self.datasets[name]["snapshots"]:
            self._add(f"{name}@{snapshot['name']}", clones, found)

    def _add(self, name: str, clones: bool, found: list[str]) -> None:
        if name in found:
            return
        self._gather(name, clones, found)
        if name not in found:
            found.append(name)

    def property(self, name: str, wanted: str) -> tuple[str | int, str]:
        """Value and source of a settable or user property of a dataset or snapshot.

        Sources: local, received, default, "inherited from X", "-" (no such user property: value "-").
        """
        record = self.find(name)
        if record is None:
            raise KeyError(name)
        known = self.properties.table.get(wanted)
        own = self._own(record, wanted)
        if own is not None:
            return own
        if known is not None and known.flow != "inherit":
            return known.default, "default"
        for ancestor in self._ancestors(name):
            found = self._own(self.datasets[ancestor], wanted)
            if found is None:
                continue
            if wanted == "mountpoint":
                return _below(str(found[0]), name[len(ancestor) :]), f"inherited from {ancestor}"
            return found[0], f"inherited from {ancestor}"
        if wanted == "mountpoint":
            return f"/{name}", "default"
        return (known.default, "default") if known else ("-", "-")

    @staticmethod
    def _own(record: Record, wanted: str) -> tuple[str | int, str] | None:
        if wanted in record["props"]:
            return record["props"][wanted], "local"
        if wanted in record.get("received", ()):
            return record["received"][wanted], "received"
        return None

    @staticmethod
    def _ancestors(name: str) -> Iterator[str]:
        at = filesystem_of(name)
        if at != name:
            yield at
        while "/" in at:
            at = parent_of(at)
            yield at

    def value(self, name: str, wanted: str) -> str | int:
        return self.property(name, wanted)[0]

    def add_dataset(self, name: str, type_: str = "filesystem", origin: str | None = None) -> Record:
        """A new, empty dataset; its directory is the caller's to make."""
        record: Record = {
            "id": self.next_id("d"),
            "type": type_,
            "guid": new_guid(),
            "creation": int(clock.now()),
            "createtxg": self.next_txg(),
            "origin": origin,
            "props": {},
            "snapshots": [],
        }
        self.datasets[name] = record
        return record

    def add_snapshot(self, filesystem: str, short: str, txg: int | None = None) -> Record:
        record: Record = {
            "name": short,
            "id": self.next_id("s"),
            "guid": new_guid(),
            "creation": int(clock.now()),
            "createtxg": txg or self.next_txg(),
            "props": {},
        }
        self.datasets[filesystem]["snapshots"].append(record)
        return record

    def mountable(self, name: str) -> bool:
        """Whether `zfs mount -a` would mount it."""
        return (
            self.datasets[name]["type"] == "filesystem"
            and self.value(name, "canmount") == "on"
            and self.value(name, "jailed") == "off"
            and self.value(name, "mountpoint") not in ("none", "legacy")
        )


def _below(mountpoint: str, rest: str) -> str:
    if mountpoint in ("none", "legacy"):
        return mountpoint
    return (mountpoint.rstrip("/") + rest.partition("@")[0]) or "/"


def type_letter(name: str, record: Record) -> str:
    """f, v, s or b, as properties.Property.types has it."""
    if "@" in name:
        return "s"
    if "#" in name:
        return "b"
    return "v" if record["type"] == "volume" else "f"


def is_native(name: str, known: Properties) -> bool:
    return known.find(name) is not None or not properties.is_user_property(name)
