"""zfs(8) and zpool(8) of the simulated host.

Other tools use `backing_of`, `check_space`, `destroy_jail` and `snapshot_directory`; the commands are `zfs.main` and
`zpool.main`. Nothing else here is meant for others.
"""

from __future__ import annotations

from typing import Any

from .commands import zfs as main

__all__ = ["backing_of", "check_space", "destroy_jail", "main", "snapshot_directory"]


def check_space(state: dict[str, Any], dataset: str, nbytes: int, host: Any = None) -> str | None:
    """Why `nbytes` more cannot be written to `dataset`: "Disc quota exceeded", "No space left on device" or None.

    Counts what was measured last (`zfs list` measures); with the host, what is in the dataset's tree at this moment.
    """
    from pathlib import Path

    from . import space
    from .model import Zfs, release_of

    zfs = Zfs(state, release_of(str(state["release"])))
    record = zfs.datasets.get(dataset)
    if record is None:
        return None
    if host is not None:
        found = sum(space.tree(Path(host.directory) / "datasets" / record["id"]).values()) + space.empty_size(zfs)
        nbytes += max(0, found - record.get("space", {}).get("refer", 0))
    return space.refusal(zfs, dataset, nbytes)


def backing_of(state: dict[str, Any], name: str) -> str | None:
    """The folder of a filesystem's or snapshot's files relative to the host's directory; None: there is no such one."""
    from .model import data

    filesystem, at, short = name.partition("@")
    record = data(state)["datasets"].get(filesystem)
    if record is None or record["type"] != "filesystem":
        return None
    return snapshot_directory(state, record["id"], short) if at else f"datasets/{record['id']}"


def destroy_jail(state: dict[str, Any], jid: int) -> None:
    """A jail is gone: no dataset is delegated to it any more."""
    from .model import data

    for dataset in data(state)["datasets"].values():
        if jid in dataset.get("jail", ()):
            dataset["jail"] = [one for one in dataset["jail"] if one != jid]


def snapshot_directory(state: dict[str, Any], dataset_id: str, snapshot: str) -> str | None:
    """The folder, relative to the host's directory, behind `.zfs/snapshot/NAME` of the dataset in datasets/ID."""
    from .model import data

    for dataset in data(state)["datasets"].values():
        if dataset["id"] == dataset_id:
            for one in dataset["snapshots"]:
                if one["name"] == snapshot:
                    return f"datasets/{one['id']}"
    return None
