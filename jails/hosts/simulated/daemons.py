"""Processes that stay on the simulated host after their command ended.

``state["processes"]`` is a list of ``{"pid", "jid", "user", "name", "args", "started", "real"}``: ``real`` is the pid
of a process of the machine that does its work, with its start time, or None for one that only is there.
What leads a session on a terminal has ``ppid``, ``tty`` (``pts/0``) and ``terminal``, the one of the machine, too.
``state["lastpid"]`` counts pids. What a process listens on is in ``state["sockets"]``, with its pid and jid; those that
were there from the first boot (sshd, syslogd) are known by their sockets alone.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import zlib
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
    _forget(state, set())
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
    state.setdefault("sockets", []).extend(_opened(pid, name, jid, user, listens or []))
    return pid


def listen_anew(state: State, name: str, jid: int, listens: list[tuple[str, str]]) -> None:
    """A daemon closes its sockets and opens these."""
    old = _sockets_of(state, name, jid)
    pid = find(state, name, jid)
    if pid is not None:
        state["sockets"] = [row for row in state["sockets"] if row not in old]
        state["sockets"] += _opened(pid, name, jid, old[0]["user"] if old else "root", listens)


def _opened(pid: int, name: str, jid: int, user: str, listens: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
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
        for number, (proto, local) in enumerate(listens, 3)
    ]


def running(state: State, jid: int | None = None) -> list[dict[str, Any]]:
    """Processes alive now, of one jail or of all."""
    return [row for row in state.get("processes", []) if (jid is None or row["jid"] == jid) and alive(row)]


WAVE = 900
"""Seconds after which the simulated load of a process repeats."""


def _nature(row: dict[str, Any]) -> tuple[float, float]:
    """How busy a process is on average (share of a core), and where in its wave it begins: always the same for it."""
    number = zlib.crc32(f"{row['jid']} {row.get('args') or row.get('command')}".encode())
    return (0.001, 0.004, 0.015, 0.06)[number % 4], (number >> 8) % 628 / 100


def cpu_seconds(row: dict[str, Any], now: float) -> float:
    """CPU time that a process has used: it only grows, sometimes faster."""
    share, phase = _nature(row)
    turn = 2 * math.pi / WAVE
    age = max(0.0, now - float(row["started"]))
    return share * (age + 0.9 / turn * (math.sin(turn * age + phase) - math.sin(phase)))


def memory(row: dict[str, Any], now: float) -> int:
    """Bytes of its resident set."""
    share, phase = _nature(row)
    age = max(0.0, now - float(row["started"]))
    base = 2_936_832 + int(share * 2**29)
    return (base + int(base * 0.25 * (1 + math.sin(2 * math.pi * age / WAVE + phase)))) // 4096 * 4096


def itself() -> list[Any]:
    """What `real` is for the process that asks."""
    return [os.getpid(), _birth(os.getpid())]


def sockets(state: State) -> list[dict[str, Any]]:
    """Sockets there are now: not those whose process was killed, nor those that lingered long enough."""
    now = clock.now()
    return [
        row
        for row in state.get("sockets", [])
        if row.get("until", now + 1) > now and ("real" not in row or _birth(row["real"][0]) == row["real"][1])
    ]


def tidy(state: State) -> None:
    state["sockets"] = sockets(state)


def lingering(state: State, jid: int) -> float:
    """Until when the last closed connection of a jail is remembered; 0 without any."""
    return max((float(row["until"]) for row in sockets(state) if "until" in row and row["jid"] == jid), default=0.0)


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


def tell(rows: list[dict[str, Any]], number: int) -> None:
    """Send a signal that what really runs may do with what it likes."""
    _signal(rows, number)


def left(state: State, real: int) -> None:
    """A process that does its own work is about to end."""
    _forget(state, {row["pid"] for row in state.get("processes", []) if row["real"] and row["real"][0] == real})


def _signal(rows: list[dict[str, Any]], number: int) -> None:
    for row in rows:
        if row["real"] and alive(row):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                _kill(row["real"][0], number)


def _forget(state: State, gone: set[int]) -> None:
    state["processes"] = [row for row in state.get("processes", []) if row["pid"] not in gone and alive(row)]
    state["sockets"] = [row for row in state.get("sockets", []) if row["pid"] not in gone]


def _kill(pid: int, number: int) -> None:
    """The process, and those it started: at a kill all of them, else where it leads a group of its own."""
    if number == signal.SIGKILL:
        for one in (pid, *family(pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, number)
    elif os.getpgid(pid) == pid:
        os.killpg(pid, number)
    else:
        os.kill(pid, number)


def family(leader: int) -> list[int]:
    """The processes below one, but those that made a session of their own (daemons)."""
    parents, sessions = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            parents[int(name)], sessions[int(name)] = int(fields[1]), int(fields[3])
    found = [leader]
    for pid in found:
        found += [one for one, parent in parents.items() if parent == pid and sessions[one] == sessions.get(leader)]
    return found[1:]


def _birth(pid: int | None) -> str | None:
    """The start time of a real process, which tells it from a later one of the same pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
