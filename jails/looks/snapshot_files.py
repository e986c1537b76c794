"""The names in a folder of a snapshot, listed from inside it: the snapshot is the root of a jail for that moment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jails.freebsd import inside, jail, names
from jails.looks import kind as base
from jails.looks.kind import Place, Refused

MOST = 1000


def snapshot_of(parameters: Mapping[str, Any]) -> str:
    """What stands behind the “@”. Raises Refused."""
    name = parameters.get("snapshot")
    # It becomes part of a path of the host.
    if not isinstance(name, str) or names.snapshot_reference_error(name) or "/" in name or name in (".", ".."):
        raise Refused("It has no such snapshot.")
    return name


class Kind(base.Kind):
    """{"count": names in the folder, "rows": the first MOST of them: name, kind (directory, file, link, other), size in
    bytes, modified in seconds since 1970, exact: whether the name can be asked for as it is}."""

    name = "snapshot_files"
    action = "jail.snapshot"
    fresh = timedelta(minutes=5)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        path = parameters.get("path") or "/"
        if not isinstance(path, str) or inside.path_error(path):
            raise Refused("There is no such folder.")
        return {"snapshot": snapshot_of(parameters), "path": path}

    def look(self, place: Place, parameters: Mapping[str, Any]) -> dict[str, Any]:
        root = f"{place.jail.path}/.zfs/snapshot/{parameters['snapshot']}"
        if not place.jail.managed or not place.jail.dataset or names.path_error(root):
            raise Refused("It has no such snapshot.")
        command = inside.list_folder(parameters["path"], MOST)
        result = place.on_host(jail.run_transient(f"look-{uuid.uuid4()}", root, command))
        if result.rc or result.truncated:
            raise Refused("It could not be listed: the snapshot may be gone, or its own sh does not run.")
        try:
            count, found = inside.parse_list(result.stdout)
        except LookupError:
            raise Refused("There is no such folder in the snapshot, or a link is part of its path.") from None
        except ValueError:
            raise Refused("What its own sh says of it makes no sense.") from None
        ordered = sorted(found, key=lambda one: (one.kind != "directory", one.name))
        return {"count": count, "rows": [_row(one) for one in ordered[:MOST]]}


def _row(one: inside.Entry) -> dict[str, Any]:
    return {
        "name": inside.shown(one.name)[:255],
        "kind": one.kind,
        "size": one.size,
        "modified": one.modified,
        "exact": one.exact,
    }


kind = Kind()
