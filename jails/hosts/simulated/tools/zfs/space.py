"""Who uses how much: sizes measured in the trees of datasets, shared along snapshots and clones.

A file is one block run: the same path, size and modification time in two trees of one line of descent is the same
data, as copies of a snapshot keep times. What a file takes is its data in sectors, or in whole records with their
indirect blocks; what names and dnodes take is reckoned from how many there are (both fitted to recorded sizes).
Measured sizes are kept in the records, so that a list costs nothing while no tree changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jails.hosts.simulated.host import META

from .model import Record, Zfs, parent_of

SECTOR = 512
RECORD = 131072
Tree = dict[tuple[str, int, int], int]


class Totals:
    """Bytes of one dataset (zfsprops(7))."""

    def __init__(self) -> None:
        self.used = 0
        self.available = 0
        self.referenced = 0
        self.dataset = 0
        self.snapshots = 0
        self.children = 0
        self.refreservation = 0
        self.written = 0


def tree(directory: Path) -> Tree:
    """What is in a directory: (path, size, mtime) to bytes taken; sizes that are only claimed count as claimed."""
    found: Tree = {}
    _scan(str(directory), "", found)
    return found


def _scan(directory: str, prefix: str, found: Tree) -> None:
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    claimed = _claimed(directory) if any(entry.name == META for entry in entries) else {}
    for entry in entries:
        path = f"{prefix}/{entry.name}"
        if entry.name == META:
            continue
        if entry.is_dir(follow_symlinks=False):
            found[path, 0, 0] = 0
            _scan(entry.path, path, found)
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        size = claimed.get(entry.name, {}).get("size", status.st_size)
        found[path, size, status.st_mtime_ns] = _data(size)


def _data(size: int) -> int:
    """What a file's data takes without compression: small ones their sectors, others whole records and two copies of
    the compressed blocks that point to them."""
    if size <= RECORD:
        return -(-size // SECTOR) * SECTOR
    records = -(-size // RECORD)
    pointers = 1024 + records * 448 // 10
    return records * RECORD + 2 * (-(-pointers // SECTOR) * SECTOR)


def _metadata(entries: int) -> int:
    """What the names and dnodes of a tree take beyond an empty one's: two copies of compressed blocks."""
    return 2 * SECTOR * ((100 * entries + 250) // SECTOR)


def _claimed(directory: str) -> dict[str, Any]:
    try:
        with open(f"{directory}/{META}", "rb") as file:
            return dict(json.loads(file.read()))
    except FileNotFoundError:
        return {}


def empty_size(zfs: Zfs) -> int:
    """What an empty filesystem refers to: 24K with sectors of 512 bytes, 96K with OpenZFS's usual ashift of 12."""
    return 98304 if zfs.openzfs else 24576


def measure(zfs: Zfs, name: str, read: Callable[[str], Tree]) -> None:
    """Measure a dataset and its snapshots; `read` gives the tree of an id."""
    dataset = zfs.datasets[name]
    if dataset["type"] == "volume":
        return
    origin_name = zfs.origin_name(dataset)
    origin_record = zfs.find(origin_name) if origin_name else None
    origin = read(origin_record["id"]) if origin_record else {}
    base = empty_size(zfs)
    head = read(dataset["id"])
    snapshots = dataset["snapshots"]
    trees = [read(one["id"]) for one in snapshots]
    line = [origin, *trees, head]
    for at, snapshot in enumerate(snapshots, 1):
        snapshot["refer"] = base + _metadata(len(line[at])) + sum(line[at].values())
        first = base + _metadata(len(line[at])) if at == 1 and not origin_record else 0
        snapshot["written"] = _sum_without(line[at], line[at - 1]) + first
        snapshot["used"] = _sum_without(line[at], line[at - 1], line[at + 1])
    held: Tree = {}
    for one in trees:
        held.update(one)
    alone = base + _metadata(len(head))
    dataset["space"] = {
        "refer": alone + sum(head.values()),
        "dataset": _sum_without(head, origin) + (0 if origin_record else alone),
        "snapshots": _sum_without(held, origin, head),
        "written": _sum_without(head, line[-2]) + (0 if snapshots or origin_record else alone),
    }


def _sum_without(one: Tree, *others: Tree) -> int:
    return sum(size for key, size in one.items() if not any(key in other for other in others))


def volume_reservation(size: int, block: int) -> int:
    """What a volume of `size` bytes reserves with its metadata (zvol_volsize_to_reservation in libzfs_dataset.c)."""
    blocks = -(-size // block)
    metadata = 7
    while blocks > 1:
        blocks = -(-blocks // 1024)
        metadata += blocks
    return size + metadata * 2 * 131072


def usable(size: int) -> int:
    """Bytes of a pool that its datasets may take: without the slop space (spa_get_slop_space in spa_misc.c)."""
    return size - max(size // 32, min(size // 2, 128 << 20))


def pool_used(zfs: Zfs, pool: str) -> int:
    """Bytes allocated in a pool."""
    return sum(
        int(one.get("space", {}).get("dataset", 0)) + int(one.get("space", {}).get("snapshots", 0))
        for name, one in zfs.datasets.items()
        if name == pool or name.startswith(pool + "/")
    )


def totals(zfs: Zfs) -> dict[str, Totals]:
    """The space of every dataset, in two passes."""
    found: dict[str, Totals] = {}
    names = sorted(zfs.datasets)
    for name in reversed(names):
        one = found.setdefault(name, Totals())
        _add_own(zfs.datasets[name], one)
        if "/" in name:
            reserved = int(zfs.datasets[name]["props"].get("reservation", 0))
            found.setdefault(parent_of(name), Totals()).children += max(one.used, reserved)
            found[parent_of(name)].used += max(one.used, reserved)
    room: dict[str, int] = {}
    for name in names:
        _add_available(zfs, name, found, room)
    return found


def _add_own(dataset: Record, one: Totals) -> None:
    space = dataset.get("space", {})
    one.referenced = space.get("refer", 0)
    one.dataset = space.get("dataset", 0)
    one.snapshots = space.get("snapshots", 0)
    one.written = space.get("written", 0)
    one.refreservation = max(0, int(dataset["props"].get("refreservation", 0)) - one.referenced)
    one.used += one.dataset + one.snapshots + one.refreservation


def _add_available(zfs: Zfs, name: str, found: dict[str, Totals], room: dict[str, int]) -> None:
    one, props = found[name], zfs.datasets[name]["props"]
    if "/" in name:
        left = room[parent_of(name)] + max(0, int(props.get("reservation", 0)) - one.used)
    else:
        left = max(0, usable(zfs.pools[name]["size"]) - one.used)
        if is_full(zfs.state, name):
            left = 0
    if props.get("quota"):
        left = max(0, min(left, int(props["quota"]) - one.used))
    room[name] = left
    left += one.refreservation
    if props.get("refquota"):
        left = max(0, min(left, int(props["refquota"]) - one.referenced))
    one.available = left


def is_full(state: Record, pool: str) -> bool:
    """Whether a fault says that the pool is full."""
    faults: Any = state.get("faults") or {}
    for fault in faults if isinstance(faults, list) else [faults]:
        if isinstance(fault, dict) and fault.get("full") == pool:
            return True
    return False


def refusal(zfs: Zfs, name: str, nbytes: int) -> str | None:
    """Why `nbytes` more cannot be written to a dataset: a quota (EDQUOT) or a full pool (ENOSPC), in errno's words."""
    if nbytes <= 0:
        return None
    found = totals(zfs)
    pool = name.partition("/")[0]
    own = zfs.datasets[name]["props"]
    if own.get("refquota") and found[name].referenced + nbytes > int(own["refquota"]):
        return "Disc quota exceeded"
    at = name
    while at:
        quota = int(zfs.datasets[at]["props"].get("quota", 0))
        if quota and found[at].used + nbytes > quota:
            return "Disc quota exceeded"
        at = parent_of(at)
    if is_full(zfs.state, pool) or nbytes > found[name].available:
        return "No space left on device"
    return None
