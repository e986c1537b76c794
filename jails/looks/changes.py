"""What has changed in a jail since a snapshot: zfs diff on its host, which opens no file of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jails.freebsd import inside, names, zfs
from jails.looks import kind as base
from jails.looks.kind import Place, Refused
from jails.looks.snapshot_files import snapshot_of

MOST = 1000
PATH = 180
"""Characters of a path that are kept."""
OUTPUT = 4_000_000


class Kind(base.Kind):
    """{"count": how many, "more": whether there are more than were read, "rows": by path, at most MOST: change (`+`,
    `-`, `M`, `R`), kind as ls -F has it (`F` a file), path, to (of what was renamed), at: seconds since 1970}."""

    name = "changes"
    action = "jail.snapshot"
    seconds = 60
    fresh = timedelta(seconds=20)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"snapshot": snapshot_of(parameters)}

    def look(self, place: Place, parameters: Mapping[str, Any]) -> dict[str, Any]:
        jail = place.jail
        if not jail.dataset or names.snapshot_error(f"{jail.dataset}@{parameters['snapshot']}"):
            raise Refused("It has no such snapshot.")
        compare = zfs.diff(f"{jail.dataset}@{parameters['snapshot']}", jail.dataset)
        result = place.on_host(compare, limit=OUTPUT)
        if result.rc and not result.truncated:
            raise Refused("The ZFS of its host could not compare it: the snapshot may be gone, or it is not mounted.")
        found = sorted(zfs.parse_diff(result.stdout, jail.path), key=lambda one: (one.path, one.change))
        return {
            "count": len(found),
            "more": result.truncated,
            "rows": [_row(one) for one in found[:MOST]],
        }


def _row(one: zfs.Change) -> dict[str, Any]:
    return {
        "change": one.change,
        "kind": one.kind,
        "path": inside.shown(one.path)[:PATH],
        "to": inside.shown(one.to)[:PATH],
        "at": one.at,
    }


kind = Kind()
