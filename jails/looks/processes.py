"""The processes of a running jail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jails.freebsd import ps
from jails.looks import kind as base
from jails.looks.kind import Place, Refused
from jails.operations.transcript import safe

MOST = 400
COMMAND = 300
"""Characters of a command line that are kept."""


class Kind(base.Kind):
    """{"count": all of them, "rows": the busiest MOST: pid, ppid, user, cpu in per cent of a core, memory in bytes,
    elapsed and cpu_seconds, state as ps(1) has it, command}."""

    name = "processes"
    needs_running = True
    fresh = timedelta(seconds=4)

    def look(self, place: Place, parameters: Mapping[str, Any]) -> dict[str, Any]:
        result = place.on_host(ps.of_jail(place.jid))
        if result.truncated:
            raise Refused("It has more processes than can be shown.")
        try:
            found = ps.parse_of_jail(result.stdout)
        except ValueError:
            raise Refused("Its host does not tell what runs in it.") from None
        users = _users(place)
        busiest = sorted(found, key=lambda row: (-row.cpu, -row.memory, row.pid))[:MOST]
        return {"count": len(found), "rows": [_row(row, users) for row in busiest]}


def _users(place: Place) -> dict[int, str]:
    """uid → name as the jail itself knows them: the host would tell its own people's names."""
    text = place.inside(("/bin/cat", "/etc/passwd"), limit=64 * 1024).text
    lines = re.findall(r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,31}):[^:\n]*:(\d{1,10}):", text, re.MULTILINE)
    return {int(uid): name for name, uid in reversed(lines)}


def _row(row: ps.Row, users: Mapping[int, str]) -> dict[str, Any]:
    return {
        "pid": row.pid,
        "ppid": row.ppid,
        "user": users.get(row.uid, str(row.uid)),
        "cpu": row.cpu,
        "memory": row.memory,
        "elapsed": row.elapsed,
        "cpu_seconds": row.cpu_seconds,
        "state": row.state,
        "command": safe(row.command)[:COMMAND],
    }


kind = Kind()
