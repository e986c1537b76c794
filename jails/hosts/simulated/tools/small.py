"""Small programs of /usr/bin: getent, groups, logname, nice, printenv, seq, time, uptime, who."""

from __future__ import annotations

import time
from pathlib import Path

from jails.hosts.simulated import clock
from jails.hosts.simulated.process import NotFound, Process


def getent_main(process: Process) -> int:
    """usr.bin/getent/getent.c: status 2 for a key that is not found, 1 for a database it does not know."""
    words = process.argv[1:]
    if not words:
        process.err("usage: getent database [key ...]\n")
        return 1
    database, keys = words[0], words[1:]
    files = {"passwd": "/etc/passwd", "group": "/etc/group", "hosts": "/etc/hosts", "services": "/etc/services"}
    if database not in files:
        process.err(f"getent: no such database `{database}'\n")
        return 1
    rows = [row for row in _lines(process, files[database]) if not row.startswith("#") and row.strip()]
    if not keys:
        process.out("".join(f"{row}\n" for row in rows))
        return 0
    failed = 0
    for key in keys:
        found = [row for row in rows if _is_of(row, key, database)]
        process.out(f"{found[0]}\n" if found else "")
        failed = failed or (0 if found else 2)
    return failed


def _is_of(row: str, key: str, database: str) -> bool:
    if database in ("passwd", "group"):
        return key in row.split(":")[0:3:2]
    return key in row.partition("#")[0].split()


def _lines(process: Process, path: str) -> list[str]:
    try:
        place: Path = process.path(path)
        return place.read_text(errors="replace").splitlines()
    except OSError:
        return []


def groups_main(process: Process) -> int:
    return process.run(["id", "-Gn", *process.argv[1:]])


def logname_main(process: Process) -> int:
    process.out(f"{process.env.get('LOGNAME', 'root')}\n")
    return 0


def printenv_main(process: Process) -> int:
    names = [word for word in process.argv[1:] if word != "--"]
    if not names:
        process.out("".join(f"{name}={value}\n" for name, value in process.env.items()))
        return 0
    if names[0] not in process.env:
        return 1
    process.out(f"{process.env[names[0]]}\n")
    return 0


def seq_main(process: Process) -> int:
    """usr.bin/seq/seq.c, for whole numbers."""
    words = process.argv[1:]
    if not 1 <= len(words) <= 3:
        process.err("usage: seq [-w] [-f format] [-s string] [-t string] [first [incr]] last\n")
        return 1
    numbers = []
    for word in words:
        try:
            numbers.append(int(word))
        except ValueError:
            process.exit(2, f"invalid floating point argument: {word}")
    first, last = (numbers[0] if len(numbers) > 1 else 1), numbers[-1]
    step = numbers[1] if len(numbers) == 3 else (1 if last >= first else -1)
    if step == 0 or (step > 0) != (last >= first):
        process.exit(
            1, "zero increment" if step == 0 else f"needs {'positive' if last > first else 'negative'} increment"
        )
    process.out("".join(f"{number}\n" for number in range(first, last + (1 if step > 0 else -1), step)))
    return 0


def nice_main(process: Process) -> int:
    words = process.argv[1:]
    if words[:1] == ["-n"]:
        words = words[2:]
    elif words and words[0].startswith("-") and words[0][1:].lstrip("-").isdigit():
        words = words[1:]
    if not words:
        process.err("usage: nice [-n incr] utility [arguments]\n")
        return 1
    return _run(process, words)


def time_main(process: Process) -> int:
    words = process.argv[1:]
    portable = "-p" in words[:1]
    words = words[1:] if portable else words
    if not words:
        process.err("usage: time [-al] [-h | -p] [-o file] utility [argument ...]\n")
        return 1
    began = clock.now()
    status = _run(process, words)
    passed = max(0.0, clock.now() - began)
    if portable:
        process.err(f"real {passed:.2f}\nuser 0.00\nsys 0.00\n")
    else:
        process.err(f"{passed:>9.2f} real {0:>9.2f} user {0:>9.2f} sys\n")
    return status


def _run(process: Process, words: list[str]) -> int:
    try:
        return process.run(words, replaces=True)
    except NotFound as problem:
        process.err(f"{process.name}: {words[0]}: {problem.words}\n")
        return 127 if problem.words.startswith("No such") else 126


def uptime_main(process: Process) -> int:
    with process.host.reading() as state:
        minutes = max(0, int(clock.now() - float(state.get("booted", 0)))) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    up = f"{days} day{'s' if days > 1 else ''}, " if days else ""
    if hours and minutes:
        up += f"{hours:>2}:{minutes:02}"
    elif hours:
        up += f"{hours} hr{'s' if hours > 1 else ''}"
    elif minutes or not days:
        up += f"{minutes} min{'s' if minutes > 1 else ''}" if minutes else "0 mins"
    now = time.strftime("%l:%M%p", time.gmtime(clock.now()))
    process.out(f"{now}  up {up}, 0 users, load averages: 0.12, 0.20, 0.18\n")
    return 0


def who_main(process: Process) -> int:
    """Nobody has a terminal here."""
    return 0
