"""script, stty, tty: terminals of the simulated host, each a real one of the machine (usr.bin/script, bin/stty).

A terminal has a number of this host, `/dev/pts/0`, whichever the machine gave it: daemons.py keeps both.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import struct
import termios
from typing import Any, NoReturn

from jails.hosts.simulated import daemons, prison
from jails.hosts.simulated.host import State
from jails.hosts.simulated.process import NotFound, Process, close_all_but

from . import access
from .access import Options

_CHUNK = 4096


def script_main(process: Process) -> int:
    """script(1): a command on a new terminal, what it prints copied to standard output and to a file."""
    usage = "usage: script [-aeFfkpqrw] [-t time] [file [command ...]]"
    options = Options(process, "adeFfkpqrt:w", usage, 1)
    if "q" not in options:
        process.exit(1, "only -q is simulated")
    name, *command = options.operands or ["typescript"]
    copy = access.open_file(process, name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if process.locate("/dev").mount["type"] != "devfs":
        process.exit(1, "openpty: No such file or directory")
    try:
        master, slave = os.openpty()
    except OSError as error:
        process.exit(1, f"openpty: {os.strerror(error.errno or 0)}")
    child = _start(process, command or [process.env.get("SHELL", "/bin/sh"), "-i"], master, slave)
    try:
        _relay(process, master, copy)
    finally:
        os.close(copy)
        os.close(master)
    _, code = os.waitpid(child, 0)
    with process.host.changing() as state:
        daemons.left(state, child)
    status = os.waitstatus_to_exitcode(code)
    return -status if status < 0 else status


def _start(process: Process, command: list[str], master: int, slave: int) -> int:
    """The command as leader of a session on the terminal; it begins once the host knows it."""
    process.flush()
    more = {number: real for number, real in process.fds.items() if number > 2}
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        _lead(process.child(command, fds={0: slave, 1: slave, 2: slave, **more}), gate, slave)
    os.close(gate)
    try:
        with process.host.changing() as state:
            name = command[0].rpartition("/")[2]
            known = daemons.start(state, name, " ".join(command), jid=process.jid, user=process.user, real=pid)
            row = next(one for one in state["processes"] if one["pid"] == known)
            row |= {"ppid": process.pid or 1, "tty": _free(state), "terminal": os.ttyname(slave)}
        os.write(opener, str(known).encode())
    finally:
        os.close(opener)
        os.close(slave)
    return pid


def _free(state: State) -> str:
    taken = {row.get("tty") for row in daemons.running(state)}
    return next(name for number in range(1000) if (name := f"pts/{number}") not in taken)


def _lead(child: Process, gate: int, slave: int) -> NoReturn:
    status = 1
    try:
        close_all_but({*child.fds.values(), gate})
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        known = os.read(gate, 64)
        os.close(gate)
        if known:
            child.pid = int(known)
            status = child.execute()
    except NotFound as problem:
        child.err(f"script: {problem.name}: {problem.words}\n")
    finally:
        os._exit(status & 0xFF)


def _relay(process: Process, master: int, copy: int) -> None:
    """Until nobody has the terminal any more. At the end of its input it types what ends a reader of lines, no more."""
    sources = [master] + ([process.fds[0]] if 0 in process.fds else [])
    while True:
        ready, _, _ = select.select(sources, [], [])
        if len(sources) > 1 and sources[1] in ready:
            data = os.read(sources[1], _CHUNK)
            if not data:
                data = _end_of_file(master)
                del sources[1]
            _write(master, data)
        if master in ready:
            try:
                data = os.read(master, _CHUNK)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return
            if not data:
                return
            _write(copy, data)
            process.write(1, data)


def _end_of_file(master: int) -> bytes:
    mode = termios.tcgetattr(master)
    return mode[6][termios.VEOF] if mode[3] & termios.ICANON else b""


def _write(number: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(number, view) :]


def tty_main(process: Process) -> int:
    name = _name(process)
    if "-s" not in process.argv[1:]:
        process.out(f"{name}\n" if name else "not a tty\n")
    return 0 if name else 1


def _name(process: Process) -> str:
    try:
        terminal = os.ttyname(process.fds[0])
    except (KeyError, OSError):
        return ""
    with process.host.reading() as state:
        return next((f"/dev/{row['tty']}" for row in _terminals(process, state) if row["terminal"] == terminal), "")


def _terminals(process: Process, state: State) -> list[dict[str, Any]]:
    """Those of the process's jail and of the jails below it: of others it sees nothing in /dev/pts."""
    inside = {process.jid, *(one["jid"] for one in prison.all_prisons(state, within=process.jid))}
    return [row for row in daemons.running(state) if "terminal" in row and row["jid"] in inside]


def stty_main(process: Process) -> int:
    """stty(1): the size of a terminal, read or set; of its modes only `echo`, `sane` and `raw` are known."""
    words, file = process.argv[1:], None
    # Options are words of these letters alone: -echo is none.
    while words and words[0].startswith("-") and not set(words[0]) - set("-aefg"):
        if "f" in words.pop(0):
            if not words:
                process.exit(1, "option requires an argument -- f")
            file = words.pop(0)
    terminal, opened = _terminal(process, file)
    try:
        return _set(process, terminal, words)
    finally:
        if opened:
            os.close(terminal)


def _terminal(process: Process, path: str | None) -> tuple[int, bool]:
    if path is None:
        if 0 not in process.fds or not os.isatty(process.fds[0]):
            process.exit(1, "stdin isn't a terminal")
        return process.fds[0], False
    with process.host.reading() as state:
        found = [row["terminal"] for row in _terminals(process, state) if f"/dev/{row['tty']}" == path]
    if not found:
        process.exit(1, f"{path}: No such file or directory")
    return os.open(found[0], os.O_RDWR | os.O_NOCTTY), True


def _set(process: Process, terminal: int, words: list[str]) -> int:
    rows, columns, *rest = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    words = list(words)
    while words:
        word = words.pop(0)
        if word in ("rows", "columns", "cols"):
            if not words or not re.fullmatch(r"\d{1,5}", words[0]):
                process.exit(1, f"{word} requires an argument")
            number = int(words.pop(0))
            rows, columns = (number, columns) if word == "rows" else (rows, number)
        elif word == "size":
            process.out(f"{rows} {columns}\n")
        elif word in ("echo", "-echo"):
            mode = termios.tcgetattr(terminal)
            mode[3] = mode[3] | termios.ECHO if word == "echo" else mode[3] & ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSANOW, mode)
        elif word != "sane":
            process.exit(1, f"illegal option -- {word}")
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, *rest))
    return 0
