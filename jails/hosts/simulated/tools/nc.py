"""nc(1) over TCP between processes of the simulated host: enough to have sockets that listen, talk and linger."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

from jails.hosts.simulated import clock, daemons, network, prison
from jails.hosts.simulated.host import State
from jails.hosts.simulated.process import Process
from jails.hosts.simulated.world import World

from . import access, ping, route
from .access import Options

USAGE = "\n".join(
    (
        "usage: nc [-46DdEFhklMNnrStUuvz] [-e policy] [-I length] [-i interval] [-O length]",
        "\t  [-P proxy_username] [-p source_port] [-s source] [-T ToS]",
        "\t  [-V rtable] [-w timeout] [-X proxy_protocol]",
        "\t  [-x proxy_address[:port]] [destination] [port]",
    )
)
_LETTERS = "46DdEFhklMNnrStUuvzI:O:P:T:V:X:e:i:p:s:w:x:"
LINGERS = 60
"""Seconds that the end which closed first stays in TIME_WAIT (twice net.inet.tcp.msl)."""
_PATIENCE = 3.0


def main(process: Process) -> int:
    options = Options(process, _LETTERS, USAGE, 1)
    words = list(options.operands)
    if len(words) not in (1, 2) or ("l" not in options and len(words) != 2):
        access.wrong_usage(process, "", USAGE, 1)
    port = words[-1]
    if not port.isdigit() or not 0 < int(port) < 65536:
        process.exit(1, f"port number invalid: {port}")
    host = words[0] if len(words) == 2 else options.get("s") or ""
    if "l" in options:
        return _listen(process, options, host, int(port))
    return _connect(process, options, host, int(port))


def _listen(process: Process, options: Options, host: str, port: int) -> int:
    family = 6 if "6" in options or ":" in host else 4
    with process.host.changing() as state:
        daemons.tidy(state)
        stack, addresses = _own(process, state, family)
        local = host or ("*" if addresses is None else addresses[0] if addresses else "*")
        held = _addresses(state, stack, family)
        if host and (host not in held or (addresses is not None and host not in addresses)):
            process.exit(1, "Can't assign requested address")
        if any(_covers(row, stack, local, port) for row in state["sockets"]):
            process.exit(1, "Address already in use")
        place = _place(process, f"{os.getpid()}-{threading.get_ident()}")
        server = _bind(place)
        row = {
            "user": process.user,
            "command": "nc",
            "pid": _pid(process, state),
            "fd": 3,
            "proto": f"tcp{family}",
            "local": f"{local}:{port}",
            "foreign": "*:*",
            "jid": process.jid,
            "stack": stack,
            "wire": place.name,
            "real": daemons.itself(),
        }
        state["sockets"].append(row)
    try:
        while True:
            line, _ = server.accept()
            _talk(process, options, line)
            if "k" not in options:
                return 0
    finally:
        server.close()
        place.unlink(missing_ok=True)
        with process.host.changing() as state:
            state["sockets"] = [one for one in state["sockets"] if one != row]


def _connect(process: Process, options: Options, host: str, port: int) -> int:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        with process.host.reading():
            found = World(process).resolve(host)
        if found is None:
            process.exit(1, "getaddrinfo: Name does not resolve")
        address = ipaddress.ip_address(found)
    trouble, row = _reach(process, address, port)
    if not trouble and row is None:
        trouble = "Connection refused"
    if trouble or row is None:
        if "v" in options or ("z" not in options and trouble != "Connection refused"):
            process.err(f"nc: connect to {host} port {port} (tcp) failed: {trouble}\n")
        return 1
    line = _dial(_place(process, row["wire"]))
    if line is None:
        return 1
    if "v" in options:
        process.err(f"Connection to {host} {port} port [tcp/*] succeeded!\n")
    closed_first = True
    if "z" not in options:
        closed_first = _talk(process, options, line)
    line.close()
    if closed_first:
        _linger(process, str(address), port, row)
    return 0


def _reach(process: Process, address: Any, port: int) -> tuple[str, dict[str, Any] | None]:
    """What connect(2) says, or who listens there. Where time is hurried, one that was just started is waited for."""
    end = time.monotonic() + (_PATIENCE if clock.hurried() else 0)
    while True:
        with process.host.reading() as state:
            trouble, answers = ping.answer(process, state, address)
            if trouble or not answers:
                return trouble or "Operation timed out", None
            stack = max(0, route.stack_of(World(process), state))
            for row in daemons.sockets(state):
                if "wire" in row and _hears(state, row, stack, str(address), port):
                    return "", row
        if time.monotonic() >= end:
            return "", None
        time.sleep(0.02)


def _hears(state: State, row: dict[str, Any], stack: int, address: str, port: int) -> bool:
    local, _, number = row["local"].rpartition(":")
    if number != str(port) or local not in ("*", address):
        return False
    family = 6 if ":" in address else 4
    owners = {one for one in (stack, row["stack"]) if address in _addresses(state, one, family)}
    return row["stack"] in (owners & {stack} or owners)


def _talk(process: Process, options: Options, line: socket.socket) -> bool:
    """Carry bytes both ways until the other end closes; whether this one closed first."""
    first = [False]
    over = threading.Event()

    def send() -> None:
        while "d" not in options and (part := process.read()):
            try:
                line.sendall(part)
            except OSError:
                return
        if "N" in options and not over.is_set():
            first[0] = True
            line.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    limit = options.get("w")
    line.settimeout(float(limit) if limit else None)
    try:
        while part := line.recv(65536):
            process.write(1, part)
    except OSError:
        first[0] = True
    over.set()
    if first[0]:
        sender.join(1)
    line.close()
    return first[0]


def _linger(process: Process, address: str, port: int, peer: dict[str, Any]) -> None:
    """The end that closed first: its address and the jail it was in are kept for a while."""
    with process.host.changing() as state:
        daemons.tidy(state)
        family = 6 if ":" in address else 4
        stack, addresses = _own(process, state, family)
        local = address if address in _addresses(state, stack, family) else (addresses or [""])[0]
        local = local or next(iter(_addresses(state, stack, family)), "*")
        state["sockets"].append(
            {
                "user": "?",
                "command": "?",
                "pid": -1,
                "fd": -1,
                "proto": peer["proto"],
                "local": f"{local}:{random.randint(10000, 65535)}",  # noqa: S311 (a port number)
                "foreign": f"{address}:{port}",
                "state": "TIME_WAIT",
                "jid": process.jid,
                "until": clock.now() + LINGERS,
            }
        )


def _own(process: Process, state: State, family: int) -> tuple[int, list[str] | None]:
    """The stack of a process, and the addresses it is limited to there (None: it is not)."""
    stack = route.stack_of(World(process), state)
    if stack >= 0:
        return stack, None
    jail = prison.by_jid(state, process.jid) or {"set": {}}
    if jail["set"].get(f"ip{family}") == "inherit":
        return 0, None
    return 0, list(jail["set"].get(f"ip{family}.addr", []))


def _addresses(state: State, stack: int, family: int) -> list[str]:
    key = "inet6" if family == 6 else "inet"
    return [text.partition("/")[0] for row in network.interfaces(state, stack) if row["up"] for text in row[key]]


def _covers(row: dict[str, Any], stack: int, local: str, port: int) -> bool:
    if row["foreign"] != "*:*" or row.get("stack", 0) != stack or not row["proto"].startswith("tcp"):
        return False
    return bool(row["local"] == f"{local}:{port}")


def _pid(process: Process, state: State) -> int:
    if process.pid:
        return process.pid
    known = [row["pid"] for row in daemons.running(state) if row["real"] and row["real"][0] == os.getpid()]
    return int(known[0]) if known else max(int(state.get("lastpid", 0)), daemons.FIRST_PID) + 1


def _place(process: Process, name: str) -> Path:
    folder = process.host.directory / "wires"
    folder.mkdir(exist_ok=True)
    return folder / name


def _bind(place: Path) -> socket.socket:
    """A unix socket by way of its folder's descriptor: paths of sockets have 108 bytes at most."""
    server = socket.socket(socket.AF_UNIX)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        server.bind(f"/proc/self/fd/{folder}/{place.name}")
        server.listen(16)
    finally:
        os.close(folder)
    return server


def _dial(place: Path) -> socket.socket | None:
    line = socket.socket(socket.AF_UNIX)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        line.connect(f"/proc/self/fd/{folder}/{place.name}")
    except OSError:
        line.close()
        return None
    finally:
        os.close(folder)
    return line
