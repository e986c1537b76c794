"""What the jails of a host use: one request and two processes on the host for hundreds of jails.

CPU time is the kernel's own count for each jail (racct) where that is on. Where not, it is summed over processes, each
with the children that it has waited for: what a process used since it was last seen is lost when it ends and no process
of its jail waits for it, such as a daemon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from jails.freebsd import ps, racct, sh
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import Connection, HostUnavailable, Unavailable

SECONDS = 60
LIMIT = 16_000_000
AT_ONCE = 1500
"""Jails that one request names: their names go over SSH as one command line."""


@dataclass(frozen=True)
class Seen:
    """A process of a jail as it was seen: its parent, and its CPU time in seconds."""

    ppid: int
    cpu: float


@dataclass(frozen=True)
class Used:
    """What one jail uses. `processes`: pid → what was seen of it. `cpu` in seconds since the jail was started, as the
    kernel has counted it; None where it does not."""

    memory: int = 0
    cpu: int | None = None
    processes: Mapping[int, Seen] = field(default_factory=dict)


def gather(connection: Connection, jails: Mapping[int, str]) -> dict[int, Used]:
    """jid → what it uses, of these running jails: jid → name. Raises HostUnavailable and CommandTimeout."""
    if not jails:
        return {}
    countable = [jid for jid, name in jails.items() if racct.nameable(name)]
    chunks = [countable[start : start + AT_ONCE] for start in range(0, len(countable), AT_ONCE)]
    first, *others = [[racct.usage([jails[jid] for jid in chunk])] for chunk in chunks] or [[]]
    seen, *parts = _parts(connection, [ps.USAGE, *first])
    if parts and parts[0].rc == 0:  # else the kernel counts nothing, and would not for the others either
        parts += [part for commands in others for part in _parts(connection, commands)]
    counted: dict[int, int] = {}
    for chunk, part in zip(chunks, parts, strict=False):
        counted |= _counted(part, chunk)
    processes = _by_jail(seen)
    return {jid: _used(processes.get(jid, ()), counted.get(jid)) for jid in jails}


def _parts(connection: Connection, commands: Sequence[Argv]) -> list[sh.Part]:
    result = connection.run(Pipeline.of(("sh", "-c", sh.batch(commands))), timeout=SECONDS, limit=LIMIT)
    try:
        if result.truncated:
            raise ValueError(f"more output than {LIMIT} bytes")
        return sh.split_batch(result.stdout)
    except ValueError as error:
        raise HostUnavailable(Unavailable.PERMISSION, f"it does not answer as FreeBSD does: {error}") from None


def _by_jail(part: sh.Part) -> dict[int, list[ps.Used]]:
    try:
        rows = ps.parse_usage(part.stdout)
    except ValueError as error:
        raise HostUnavailable(Unavailable.PERMISSION, f"it does not answer as FreeBSD does: {error}") from None
    found: dict[int, list[ps.Used]] = {}
    for row in rows:
        found.setdefault(row.jid, []).append(row)
    return found


def _counted(part: sh.Part, chunk: Sequence[int]) -> dict[int, int]:
    """Nothing where the kernel does not count, or one of them could not be named."""
    try:
        rows = racct.parse_usage(part.stdout, len(chunk)) if part.rc == 0 else ()
    except ValueError:
        return {}
    return {jid: row[racct.FIRST] for jid, row in zip(chunk, rows, strict=False)}


def _used(rows: Sequence[ps.Used], cpu: int | None) -> Used:
    return Used(sum(row.memory for row in rows), cpu, {row.pid: Seen(row.ppid, row.cpu_seconds) for row in rows})


def carried_on(before: Used | None, after: Used) -> Used:
    """With the CPU time of before for processes that are swapped out: ps(1) has 0 for those, up to FreeBSD 14."""
    if before is None:
        return after
    processes = {pid: seen if seen.cpu else before.processes.get(pid, seen) for pid, seen in after.processes.items()}
    return replace(after, processes=processes)


def cpu_between(before: Used, after: Used) -> float:
    """Seconds of CPU time that a jail used between two moments of the same run."""
    if before.cpu is not None and after.cpu is not None:
        # It begins anew when the kernel has forgotten the jail's account meanwhile.
        return float(after.cpu - before.cpu if after.cpu >= before.cpu else after.cpu)
    return _by_processes(before.processes, after.processes)


def _by_processes(before: Mapping[int, Seen], after: Mapping[int, Seen]) -> float:
    """The difference of the sums. What a process used goes over to the one that waits for it; where none did, it left
    the sum and is added again."""
    left = sum(seen.cpu for pid, seen in before.items() if pid not in after and not _waited_for(pid, before, after))
    changed = sum(seen.cpu for seen in after.values()) - sum(seen.cpu for seen in before.values())
    return max(0.0, changed + left)


def _waited_for(pid: int, before: Mapping[int, Seen], after: Mapping[int, Seen]) -> bool:
    """Whether a process that has ended had, above it, one that is still there."""
    for _ in range(len(before)):
        seen = before.get(pid)
        if seen is None:
            return False
        if seen.ppid in after and seen.ppid in before:
            return True
        pid = seen.ppid
    return False
