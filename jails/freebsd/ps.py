"""ps(1): which jail each process is in, and the processes of one jail."""

import re
from dataclasses import dataclass

from jails.freebsd.command import Argv, argv

JAILS: Argv = ("ps", "-ax", "-o", "pid=", "-o", "jid=")


def parse_jails(output: bytes) -> dict[int, int]:
    """pid → jid, 0 for the host, from what JAILS printed; ValueError for any other line, or none at all."""
    found: dict[int, int] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        match = re.fullmatch(r"\s*([0-9]+)\s+(-?[0-9]+)\s*", line)
        if match is None:
            raise ValueError(f"ps: expected a pid and a jid, got {line[:60]!r}")
        found[int(match[1])] = int(match[2])
    if not found:
        raise ValueError("ps: expected at least its own process, got nothing")
    return found


@dataclass(frozen=True)
class Row:
    """One process. `cpu` is ps(1)'s decaying average in per cent of one core, `memory` its resident set in bytes,
    `elapsed` and `cpu_seconds` in seconds: of one that is swapped out ps(1) of FreeBSD 14 and before tells neither, and
    they are None and 0. Its command line is what the process says it is."""

    pid: int
    ppid: int
    uid: int
    cpu: float
    memory: int
    elapsed: int | None
    cpu_seconds: float
    state: str
    command: str


_COLUMNS = ["pid", "ppid", "uid", "pcpu", "rss", "etimes", "time", "state", "command"]


def of_jail(jid: int) -> Argv:
    """All processes of one jail, seen from the host: it works where the jail's own ps(1) cannot.

    Not of the jails inside it. Its status is 1 where there are none.
    """
    if jid <= 0:
        raise ValueError(f"jid: {jid} is no jail's")
    return argv("ps", "-ww", "-J", str(jid), *(word for name in _COLUMNS for word in ("-o", f"{name}=")))


_PROCESS = re.compile(
    r"\s*(?P<pid>\d+)\s+(?P<ppid>\d+)\s+(?P<uid>\d+)\s+(?P<cpu>\d+(?:[.,]\d+)?)\s+(?P<rss>\d+)\s+"
    r"(?P<elapsed>-1?|\d+)\s+"
    r"(?P<time>[\d:.,-]+)\s+(?P<state>\S+)(?:\s(?P<command>.*))?",
    re.ASCII,
)


def parse_of_jail(output: bytes) -> tuple[Row, ...]:
    """What `of_jail` printed; ValueError for a line that is none of it."""
    return tuple(_process(line) for line in output.decode("utf-8", "replace").split("\n") if line)


def _process(line: str) -> Row:
    found = _PROCESS.fullmatch(line)
    if found is None:
        raise ValueError(f"ps: expected a process, got {line[:80]!r}")
    return Row(
        pid=int(found["pid"]),
        ppid=int(found["ppid"]),
        uid=int(found["uid"]),
        cpu=float(found["cpu"].replace(",", ".")),
        memory=int(found["rss"]) * 1024,
        elapsed=None if found["elapsed"].startswith("-") else int(found["elapsed"]),
        cpu_seconds=seconds(found["time"]),
        state=found["state"],
        command=(found["command"] or "").strip(),
    )


def seconds(text: str) -> float:
    """`1:19.17`, minutes and seconds, as ps(1) prints a time (cputime in bin/ps/print.c); ValueError for others."""
    found = re.fullmatch(r"(\d+):(\d\d)[.,](\d\d)", text, re.ASCII)
    if found is None:
        raise ValueError(f"ps: expected minutes:seconds.hundredths, got {text[:20]!r}")
    return int(found[1]) * 60 + int(found[2]) + int(found[3]) / 100


@dataclass(frozen=True)
class Used:
    """What a process in some jail uses: `memory` its resident set in bytes, `cpu_seconds` also of the children that it
    has waited for."""

    pid: int
    ppid: int
    jid: int
    memory: int
    cpu_seconds: float


_USED = ("pid", "ppid", "jid", "rss", "time")
USAGE: Argv = ("ps", "-ax", "-S", *(word for name in _USED for word in ("-o", f"{name}=")))


def parse_usage(output: bytes) -> tuple[Used, ...]:
    """What USAGE printed of processes in jails; ValueError for a line that is none of it, or nothing at all."""
    found = []
    lines = output.decode("utf-8", "replace").splitlines()
    for line in lines:
        words = line.split()
        if len(words) != 5 or not all(re.fullmatch(r"-?[0-9]+", word, re.ASCII) for word in words[:4]):
            raise ValueError(f"ps: expected what a process uses, got {line[:60]!r}")
        pid, ppid, jid, rss = map(int, words[:4])
        if jid > 0:
            found.append(Used(pid, ppid, jid, rss * 1024, seconds(words[4])))
    if not lines:
        raise ValueError("ps: expected at least its own process, got nothing")
    return tuple(found)
