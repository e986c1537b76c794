"""Processes that stay on the simulated host after their command ended.

``state["processes"]`` is a list of ``{"pid", "jid", "user", "name", "args", "started", "listens", "until", "real"}``:
``listens`` are sockets as ``{"proto": "tcp4", "local": "*:22"}``, ``until`` the Unix time when it ends by itself
(None: never) and ``real`` the pid of a process of the machine that does its work, with its start time, or None.
``state["lastpid"]`` counts pids.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

State = dict[str, Any]
FIRST_PID = 1000


def start(
    state: State,
    name: str,
    args: str,
    *,
    jid: int = 0,
    user: str = "root",
    listens: list[dict[str, str]] | None = None,
    until: float | None = None,
    real: int | None = None,
) -> int:
    """Note a process as running; gives its pid on the host."""
    pid = state["lastpid"] = max(int(state.get("lastpid", 0)) + 1, FIRST_PID)
    state.setdefault("processes", []).append(
        {
            "pid": pid,
            "jid": jid,
            "user": user,
            "name": name,
            "args": args,
            "started": time.time(),
            "listens": listens or [],
            "until": until,
            "real": [real, _birth(real)] if real else None,
        }
    )
    return pid


def running(state: State, jid: int | None = None) -> list[dict[str, Any]]:
    """Processes alive now, of one jail or of all."""
    return [row for row in state.get("processes", []) if (jid is None or row["jid"] == jid) and alive(row)]


def alive(row: dict[str, Any]) -> bool:
    if row["until"] is not None and row["until"] <= time.time():
        return False
    return row["real"] is None or (row["real"][1] is not None and _birth(row["real"][0]) == row["real"][1])


def find(state: State, name: str, jid: int) -> int | None:
    return next((int(row["pid"]) for row in running(state, jid) if row["name"] == name), None)


def end(state: State, rows: list[dict[str, Any]], number: int = signal.SIGTERM) -> None:
    """Processes end: they are forgotten, and what does their work is killed."""
    gone = {row["pid"] for row in rows}
    for row in rows:
        if row["real"] and alive(row):
            try:
                os.killpg(row["real"][0], number)
            except (ProcessLookupError, PermissionError):
                pass
    state["processes"] = [row for row in state.get("processes", []) if row["pid"] not in gone and alive(row)]


def _birth(pid: int | None) -> str | None:
    """The start time of a real process, which tells it from a later one of the same pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
