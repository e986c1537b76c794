"""ps, kill, pkill, killall: the processes of the simulated host (bin/ps, bin/kill, usr.bin/killall, bin/pkill)."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

from jails.hosts.simulated import clock, daemons, prison
from jails.hosts.simulated.host import State
from jails.hosts.simulated.process import Killed, Process
from jails.hosts.simulated.world import World

from . import access
from .access import Options

Row = dict[str, Any]

# The kernel's own, as a small machine shows them after boot: pid, what ps -o command says, state.
_KERNEL = (
    (0, "[kernel]", "DLs"),
    (1, "/sbin/init --", "SLs"),
    (2, "[crypto]", "DL"),
    (3, "[crypto returns 0]", "DL"),
    (4, "[crypto returns 1]", "DL"),
    (5, "[cam]", "DL"),
    (6, "[soaiod1]", "DL"),
    (7, "[soaiod2]", "DL"),
    (8, "[soaiod3]", "DL"),
    (9, "[sctp_iterator]", "DL"),
    (10, "[audit]", "DL"),
    (11, "[idle]", "RNL"),
    (12, "[intr]", "WL"),
    (13, "[geom]", "DL"),
    (14, "[soaiod4]", "DL"),
    (15, "[rand_harvestq]", "DL"),
    (16, "[pagedaemon]", "DL"),
    (17, "[vmdaemon]", "DL"),
    (18, "[bufdaemon]", "DL"),
    (19, "[syncer]", "DL"),
    (20, "[vnlru]", "DL"),
)


def rows(process: Process, state: State) -> list[Row]:
    """All processes that this one can see, by pid: `pid`, `ppid`, `jid`, `user`, `command`, `stat`, `started`."""
    booted = float(state["booted"])
    found = [_row(pid, 0, command, stat, booted) for pid, command, stat in _KERNEL]
    if state["racct"]:
        found.append(_row(21, 0, "[racctd]", "DL", booted))
    if state.get("zfs", {}).get("pools"):
        found.append(_row(41, 0, "[zfskern]", "DL", booted))
    seen = set()
    for socket in state.get("sockets", []):
        if socket["pid"] not in seen and 0 < socket["pid"] < daemons.FIRST_PID:
            seen.add(socket["pid"])
            command = f"/usr/sbin/{socket['command']}"
            one = _row(socket["pid"], 1, command, "Is", booted, socket["user"])
            found.append(one | {"jid": socket.get("jid", 0)})
    for row in daemons.running(state):
        if row["pid"] == process.pid:
            continue
        one = _row(row["pid"], row.get("ppid", 1), row["args"], "I", float(row["started"]), row["user"])
        now = clock.now()
        load = {"cpu": daemons.cpu_seconds(row, now), "memory": daemons.memory(row, now)}
        load["share"] = (load["cpu"] - daemons.cpu_seconds(row, now - 10)) / 10
        one |= {"jid": row["jid"], "stat": "IJ" if row["jid"] else "I", "load": load}
        found.append(one | ({"tt": row["tty"].removeprefix("pts/"), "tty": row["tty"]} if "tty" in row else {}))
    pid = process.pid or _own_pid(state)
    own = _row(pid, pid - 1, " ".join(process.argv), "R", clock.now(), process.user)
    found.append(own | {"jid": process.jid, "stat": "R+J" if process.jid else "R", "own": True})
    if process.jid:
        inside = {process.jid, *(one["jid"] for one in prison.all_prisons(state, within=process.jid))}
        found = [row for row in found if row["jid"] in inside]
    return sorted(found, key=lambda row: int(row["pid"]))


def _row(pid: int, ppid: int, command: str, stat: str, started: float, user: str = "root") -> Row:
    return {
        "pid": pid,
        "ppid": ppid,
        "jid": 0,
        "user": user,
        "command": command,
        "stat": stat,
        "started": started,
        "own": False,
    }


def _own_pid(state: State) -> int:
    """What comes after the last pid given away; the real pid would tell of another machine."""
    return max(int(state.get("lastpid", 0)), daemons.FIRST_PID) + 1


def name_of(command: str) -> str:
    """ps -o comm of a command line."""
    if command.startswith("["):
        return command.strip("[]")
    return command.split(" ")[0].rpartition("/")[2]


_TITLES = {
    "command": "COMMAND",
    "args": "COMMAND",
    "comm": "COMMAND",
    "ucomm": "UCOMM",
    "tt": "TT",
    "tty": "TTY",
    "stat": "STAT",
    "state": "STAT",
    "pcpu": "%CPU",
    "%cpu": "%CPU",
    "pmem": "%MEM",
    "%mem": "%MEM",
    "lstart": "STARTED",
    "start": "STARTED",
    "etime": "ELAPSED",
    "etimes": "ELAPSED",
    "nice": "NI",
    "ni": "NI",
    "cputime": "TIME",
    "nlwp": "NLWP",
    "logname": "LOGIN",
    "login": "LOGIN",
    "wchan": "WCHAN",
    "mwchan": "MWCHAN",
} | {
    name: name.upper()
    for name in "pid ppid pgid sid jid user ruser uid ruid gid rgid group time rss vsz pri cpu jail jobc flags".split()
}
_LEFT = frozenset(
    "user ruser group command comm args ucomm stat state tt tty jail lstart start login logname wchan mwchan".split()
)
_LAYOUTS = {
    "u": "user pid %cpu %mem vsz rss tt stat start time command",
    "j": "user pid ppid pgid sid jobc state tt time command",
    "l": "uid pid ppid cpu pri nice vsz rss mwchan state tt time command",
}


def ps_main(process: Process) -> int:
    if len(process.argv) > 1 and not process.argv[1].startswith("-"):
        process.argv[1] = "-" + process.argv[1]
    options = Options(
        process,
        "aCcdeHhjlmrSTuvwXxZAfJ:O:o:p:t:U:G:M:N:",
        "usage: ps [-aCcdefHhjlmrSTuvwXxZ] [-O fmt | -o fmt] [-G gid[,gid...]]",
        1,
    )
    with process.host.reading() as state:
        found = rows(process, state)
        if (wanted := options.get("J")) is not None:
            jids = {_jail(process, state, one) for one in re.split(r"[ ,]+", wanted)}
            found = [row for row in found if row["jid"] in jids]
        names = {one["jid"]: one["name"] for one in state["jails"]}
        memory = int(state["memory"])
    if (wanted := options.get("p")) is not None:
        pids = re.split(r"[ ,]+", wanted)
        found = [row | {"pid": os.getpid()} if row["own"] and str(os.getpid()) in pids else row for row in found]
        found = [row for row in found if str(row["pid"]) in pids]
    if (wanted := options.get("U")) is not None:
        found = [row for row in found if row["user"] in re.split(r"[ ,]+", wanted)]
    columns, titles = _columns(process, options)
    found = _with_users(process, found)
    table = [[_cell(row, column, names, memory) for column in columns] for row in found]
    _print(process, columns, titles, table)
    return 0 if table else 1


def _with_users(process: Process, found: list[Row]) -> list[Row]:
    """With `uid`, which the jail knows that a process is in, and `user` as who looks would call that number."""
    own = access.account_names(process, "/etc/passwd")
    numbers: dict[tuple[int, str], int] = {}

    def number(jid: int, name: str) -> int:
        if jid == process.jid or name == "root":
            return own.get(name, 0)
        if (jid, name) not in numbers:
            entry = World(process).user(name, jid)
            numbers[jid, name] = int(entry[2]) if entry and entry[2].isdigit() else 0
        return numbers[jid, name]

    rows = [row | {"uid": number(row["jid"], row["user"])} for row in found]
    return [row | {"user": access.name_of(own, row["uid"])} for row in rows]


def _jail(process: Process, state: State, text: str) -> int:
    if text == "0":
        return 0
    try:
        return int(prison.get(state, text, within=process.jid)["jid"])
    except prison.JailError:
        process.exit(1, f"Invalid jail id: {text}")


def _columns(process: Process, options: Options) -> tuple[list[str], list[str]]:
    """Keywords and their titles; `-o name=TITLE` gives another one, and only the last word of a list can."""
    given: list[tuple[str, str | None]] = []
    for letter, value in options.all:
        if letter == "o":
            words, equals, title = value.partition("=")
            keys = [one for one in re.split(r"[ ,\t]+", words) if one]
            given += [(key, None) for key in keys[:-1]] + [(key, title if equals else None) for key in keys[-1:]]
    if not given:
        layout = next((text for letter, text in _LAYOUTS.items() if letter in options), "pid tt stat time command")
        given = [(key, None) for key in layout.split()]
    for key, _ in given:
        if key not in _TITLES:
            process.err(f"ps: {key}: keyword not found\n")
    known = [(key, title) for key, title in given if key in _TITLES]
    if not known:
        process.exit(1, "no valid keywords; valid keywords:\n" + " ".join(sorted(_TITLES)))
    return [key for key, _ in known], [_TITLES[key] if title is None else title for key, title in known]


def _cell(row: Row, column: str, names: dict[int, str], memory: int) -> str:
    if column in row:
        return str(row[column])
    kernel = row["command"].startswith("[")
    load = row.get("load") or {"cpu": 0.01, "memory": 0 if kernel else 3210 * 1024, "share": 0.0}
    size = load["memory"] // 256
    hundredths = int(load["cpu"] * 100)
    spent = f"{hundredths // 6000}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
    age = max(0, int(clock.now() - row["started"]))
    started = time.gmtime(row["started"])
    if column in ("comm", "ucomm"):
        return name_of(row["command"])
    if column == "args":
        return str(row["command"])
    if column == "ruid":
        return str(row["uid"])
    made: dict[str, str] = {
        "jail": names.get(row["jid"], "-"),
        "ruser": str(row["user"]),
        "state": str(row["stat"]),
        "tt": " - ",
        "tty": "-",
        "time": spent,
        "cputime": spent,
        "vsz": str(size),
        "rss": str(size // 4),
        "%mem": f"{size * 256 * 100 / memory:.1f}",
        "start": time.strftime("%H:%M" if age < 86400 else "%a%H", started),
        "lstart": time.strftime("%a %b %e %H:%M:%S %Y", started),
        "etime": f"{age // 60:02d}:{age % 60:02d}" if age < 3600 else f"{age // 3600:02d}:{age // 60 % 60:02d}:00",
        "etimes": str(age),
        "pgid": str(row["pid"]),
        "sid": str(row["pid"]),
        "pri": "20",
        "nlwp": "1",
        "group": "wheel",
        "login": str(row["user"]),
        "logname": str(row["user"]),
        "wchan": "select",
        "mwchan": "select",
        "%cpu": f"{load['share'] * 100:.1f}",
        "pcpu": f"{load['share'] * 100:.1f}",
    }
    return made.get(column, made["%mem"] if column == "pmem" else "0")


def _print(process: Process, columns: list[str], titles: list[str], table: list[list[str]]) -> None:
    lines = ([titles] if any(titles) else []) + table
    widths = [max(len(line[number]) for line in lines) if lines else 0 for number in range(len(columns))]
    last = len(columns) - 1
    for line in lines:
        cells = []
        for number, (column, text) in enumerate(zip(columns, line, strict=True)):
            if column not in _LEFT:
                cells.append(text.rjust(widths[number]))
            else:
                cells.append(text if number == last else text.ljust(widths[number]))
        process.out(" ".join(cells) + "\n")


# Signals

_SIGNALS = {one.name.removeprefix("SIG"): int(one) for one in signal.Signals}
_ENDING = {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}
"""A daemon takes SIGHUP and others as a wish to read its files again."""
_FREEBSD = "HUP INT QUIT ILL TRAP ABRT EMT FPE KILL BUS SEGV SYS PIPE ALRM TERM URG STOP TSTP CONT CHLD TTIN TTOU IO"


def signal_number(process: Process, word: str) -> int:
    """The machine's number of a signal's name or number. Ends the tool when there is none."""
    name = word.upper().removeprefix("SIG")
    if name.isdigit():
        return int(name)
    if name not in _SIGNALS:
        process.err(f"{process.name}: unknown signal {word}; valid signals:\n{_FREEBSD.lower()}\n")
        process.exit(1)
    return _SIGNALS[name]


def kill_main(process: Process) -> int:
    words, number = process.argv[1:], int(signal.SIGTERM)
    if words[:1] == ["-l"]:
        process.out(_FREEBSD.lower() + "\n")
        return 0
    if words and words[0] == "-s" and len(words) > 1:
        number, words = signal_number(process, words[1]), words[2:]
    elif words and words[0].startswith("-") and words[0] != "--":
        number, words = signal_number(process, words[0][1:]), words[1:]
    words = [word for word in words if word != "--"]
    if not words:
        access.wrong_usage(
            process,
            "",
            "usage: kill [-s signal_name] pid ...\n       kill -l [exit_status]\n"
            "       kill -signal_name pid ...\n       kill -signal_number pid ...",
            1,
        )
    failed = 0
    for word in words:
        if not word.isdigit():
            process.err(f"kill: illegal process id: {word}\n")
            failed = 1
        elif int(word) == os.getpid() and number:
            raise Killed(number)
        elif _is_child(int(word)):
            os.kill(int(word), number)
        elif int(word) != os.getpid() and not send(process, int(word), number):
            process.err(f"kill: {word}: No such process\n")
            failed = 1
    return failed


def _is_child(pid: int) -> bool:
    """Whether it is what this shell has started and not waited for: it knows that by the machine's number."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1]) == os.getpid()
    except OSError:
        return False


def send(process: Process, pid: int, number: int) -> bool:
    """kill(2); False when there is no such process."""
    with process.host.changing() as state:
        known = [row for row in rows(process, state) if row["pid"] == pid and not row["own"]]
        if known:
            on_terminal = [row for row in daemons.running(state) if row["pid"] == pid and "tty" in row]
            if on_terminal and number not in _ENDING:
                daemons.tell(on_terminal, number)
            elif number in _ENDING:
                daemons.end(state, [row for row in daemons.running(state) if row["pid"] == pid], number)
                state["sockets"] = [one for one in state["sockets"] if one["pid"] != pid]
                World(process).ended_in(state, known[0]["jid"])
            return True
    if not _is_ours(process, pid):
        return False
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def _is_ours(process: Process, pid: int) -> bool:
    """Whether a real process is a command of this simulated host, and nothing else of this machine."""
    directory = process.host.directory
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        # One of a nursery has no words of its own, but works in the host's folder.
        return b"jails.hosts.simulated" in words and (
            os.fsencode(directory) in words or os.path.samefile(f"/proc/{pid}/cwd", directory)
        )
    except OSError:
        return False


def _by_name(
    process: Process,
    names: list[str],
    full: bool,
    jail: str | None = None,
    parent: str | None = None,
    session: str | None = None,
) -> list[int]:
    """A session has the number of the process that made it, and that one alone is known here by it."""
    with process.host.reading() as state:
        found = [row for row in rows(process, state) if not row["own"] and row["pid"] >= 100]
        if parent is not None:
            found = [row for row in found if str(row["ppid"]) in parent.split(",")]
        if session is not None:
            found = [row for row in found if str(row["pid"]) in session.split(",")]
        if jail == "any":
            found = [row for row in found if row["jid"] > 0]
        elif jail is not None:
            jid = 0 if jail == "none" else _jail(process, state, jail)
            found = [row for row in found if row["jid"] == jid]
    return [
        row["pid"]
        for row in found
        if any(re.search(name, row["command"] if full else name_of(row["command"])) for name in names)
    ]


def pkill_main(process: Process) -> int:
    number, words = int(signal.SIGTERM), process.argv[1:]
    if words and re.fullmatch(r"-([A-Z]+\d?|\d+)", words[0]):
        number = signal_number(process, words[0][1:])
        process.argv[1:2] = []
    usage = f"usage: {process.name} [-{'signal] [-ILfinovx' if process.name == 'pkill' else 'Lafilnoqvx'}] pattern ..."
    options = Options(process, "afilnoqvxj:P:s:u:F:d:", usage, 2)
    patterns = [f"^(?:{one})$" if "x" in options else one for one in options.operands]
    if not patterns and any(letter in options for letter in "jPs"):
        patterns = [""]
    if not patterns:
        access.wrong_usage(process, "", usage, 2)
    found = _by_name(process, patterns, "f" in options, options.get("j"), options.get("P"), options.get("s"))
    if process.name == "pkill":
        for pid in found:
            send(process, pid, number)
    elif "q" not in options and found:
        between = options.get("d") or "\n"
        process.out(between.join(_shown(process, found, options)) + "\n")
    return int(not found)


def _shown(process: Process, found: list[int], options: Options) -> list[str]:
    """What pgrep(1) prints of each: with -l its name too, with -f all its words (show_process in pkill.c)."""
    if "l" not in options:
        return [str(pid) for pid in found]
    with process.host.reading() as state:
        commands = {row["pid"]: row["command"] for row in rows(process, state)}
    return [f"{pid} {commands[pid] if 'f' in options else name_of(commands[pid])}" for pid in found]


def killall_main(process: Process) -> int:
    words, number, jail = process.argv[1:], int(signal.SIGTERM), None
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "-j" and words:
            jail = words.pop(0)
        else:
            number = signal_number(process, word[1:])
    found = _by_name(process, [f"^{re.escape(word)}$" for word in words] or ([""] if jail else []), False, jail)
    for pid in found:
        send(process, pid, number)
    if not found:
        process.err(
            "No matching processes were found\n" if words else "usage: killall [-delmsqvz] [-help] [-I] [-j jail]\n"
        )
    return int(not found)
