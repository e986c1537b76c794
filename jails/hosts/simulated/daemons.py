"""Processes that stay on the simulated host after their command ended.

``state["processes"]`` is a list of ``{"pid", "jid", "user", "name", "args", "started", "real"}``: ``real`` is the pid
of a process of the machine that does its work, with its start time, or None for one that only is there.
``state["lastpid"]`` counts pids. What a process listens on is in ``state["sockets"]``, with its pid and jid; those that
were there from the first boot (sshd, syslogd) are known by their sockets alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from . import clock

State = dict[str, Any]
FIRST_PID = 700


def start(
    state: State,
    name: str,
    args: str,
    *,
    jid: int = 0,
    user: str = "root",
    listens: list[tuple[str, str]] | None = None,
    real: int | None = None,
) -> int:
    """Note a process as running, listening on (``tcp4``, ``*:22``)...; gives its pid on the host."""
    pid = state["lastpid"] = max(int(state.get("lastpid", 0)) + 1, FIRST_PID)
    state.setdefault("processes", []).append(
        {
            "pid": pid,
            "jid": jid,
            "user": user,
            "name": name,
            "args": args,
            "started": clock.now(),
            "real": [real, _birth(real)] if real else None,
        }
    )
    sockets = [
        {
            "user": user,
            "command": name,
            "pid": pid,
            "fd": number,
            "proto": proto,
            "local": local,
            "foreign": "*:*",
            "jid": jid,
        }
        for number, (proto, local) in enumerate(listens or [], 3)
    ]
    state.setdefault("sockets", []).extend(sockets)
    return pid


def running(state: State, jid: int | None = None) -> list[dict[str, Any]]:
    """Processes alive now, of one jail or of all."""
    return [row for row in state.get("processes", []) if (jid is None or row["jid"] == jid) and alive(row)]


def alive(row: dict[str, Any]) -> bool:
    return row["real"] is None or (row["real"][1] is not None and _birth(row["real"][0]) == row["real"][1])


def find(state: State, name: str, jid: int) -> int | None:
    """The pid of a daemon by its name."""
    found = [int(row["pid"]) for row in running(state, jid) if row["name"] == name]
    found += [int(row["pid"]) for row in _sockets_of(state, name, jid)]
    return found[0] if found else None


def _sockets_of(state: State, name: str, jid: int) -> list[dict[str, Any]]:
    return [row for row in state.get("sockets", []) if row["command"] == name and row.get("jid", 0) == jid]


def stop(state: State, name: str, jid: int) -> None:
    """A daemon ends, and its sockets with it."""
    end(state, [row for row in running(state, jid) if row["name"] == name])
    gone = _sockets_of(state, name, jid)
    state["sockets"] = [row for row in state.get("sockets", []) if row not in gone]


def ask(state: State, rows: list[dict[str, Any]], number: int = signal.SIGTERM) -> None:
    """Send a signal that ends: what only is there is gone at once, what really runs when it has taken the signal."""
    _signal(rows, number)
    _forget(state, {row["pid"] for row in rows if not row["real"]})


def end(state: State, rows: list[dict[str, Any]], number: int = signal.SIGTERM) -> None:
    """Processes end: they are forgotten, and what does their work is killed."""
    _signal(rows, number)
    _forget(state, {row["pid"] for row in rows})


def _signal(rows: list[dict[str, Any]], number: int) -> None:
    for row in rows:
        if row["real"] and alive(row):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                _kill(row["real"][0], number)


def _forget(state: State, gone: set[int]) -> None:
    state["processes"] = [row for row in state.get("processes", []) if row["pid"] not in gone and alive(row)]
    state["sockets"] = [row for row in state.get("sockets", []) if row["pid"] not in gone]


def _kill(pid: int, number: int) -> None:
    """The process, and those it started where it leads a group of its own."""
    if os.getpgid(pid) == pid:
        os.killpg(pid, number)
    else:
        os.kill(pid, number)


def _birth(pid: int | None) -> str | None:
    """The start time of a real process, which tells it from a later one of the same pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
