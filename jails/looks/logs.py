"""The log files of a running jail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jails.freebsd import logs
from jails.hosts.data import encode
from jails.looks import kind as base
from jails.looks.kind import Place, Refused


class Kind(base.Kind):
    """{"files": each as logs.File, "all": whether these are all}."""

    name = "logs"
    action = "inside.read"
    needs_running = True
    fresh = timedelta(seconds=10)

    def look(self, place: Place, parameters: Mapping[str, Any]) -> dict[str, Any]:
        result = place.inside(logs.LIST)
        files = logs.parse_list(result.stdout)
        if not files and not result.ok:
            raise Refused(f"It has no {logs.FOLDER}.")
        return {"files": encode(files), "all": len(files) < logs.MOST and not result.truncated}


kind = Kind()
