"""ping(8): who answers on the simulated networks."""

from __future__ import annotations

import ipaddress
from typing import Any

from jails.hosts.simulated import clock, network, prison
from jails.hosts.simulated.host import State
from jails.hosts.simulated.process import Process
from jails.hosts.simulated.world import World

from . import access, route
from .access import Options

USAGE = "usage: ping [-AaDdfnoQqRrv] [-c count] [-G sweepmaxsize] [-g sweepminsize]"


def main(process: Process) -> int:
    options = Options(process, "46AaDdfnoQqRrvc:G:g:h:i:l:M:m:p:S:s:T:t:W:z:", USAGE)
    if len(options.operands) != 1:
        access.wrong_usage(process, "", USAGE)
    name = options.operands[0]
    address = _resolve(process, name)
    if address is None:
        process.err(f"ping: cannot resolve {name}: Unknown host\n")
        return 68
    with process.host.reading() as state:
        refusal = _refusal(process, state)
        trouble, answers = answer(process, state, address)
    if refusal:
        process.err(f"ping: ssend socket: {refusal}\n")
        return 71
    return _ping(process, options, name, address, trouble, answers)


def _resolve(process: Process, name: str) -> Any:
    try:
        return ipaddress.IPv4Address(name)
    except ValueError:
        found = World(process).resolve(name)
        return ipaddress.IPv4Address(found) if found else None


def _refusal(process: Process, state: State) -> str:
    """Why a process in a jail gets no raw socket."""
    jail = prison.by_jid(state, process.jid) if process.jid else None
    if jail is None or jail["set"].get("vnet") == "new":
        return ""
    if not jail["set"].get("ip4.addr") and jail["set"].get("ip4", "disable") != "inherit":
        return "Protocol not supported"
    return "" if jail["set"].get("allow.raw_sockets") else "Operation not permitted"


def answer(process: Process, state: State, address: Any) -> tuple[str, bool]:
    """What sendto(2) says, and whether somebody answers."""
    world = World(process)
    stack = max(0, route.stack_of(world, state))
    own = [row for row in network.interfaces(state, stack) if row["up"]]
    if any(_has(row, address) for row in own):
        return "", True
    if not any(row["inet"] for row in own):
        return "Network is unreachable", False
    routes = route.routes(world, state)
    if route.through(world, state, address) is None:
        if not any(address in ipaddress.ip_network(row["destination"]) for row in routes):
            return "No route to host", False
        return "", False
    if any(row["gateway"] == str(address) for row in routes):
        return "", True
    return "", any(row["up"] and _has(row, address) for row in state.get("interfaces", []))


def _has(row: dict[str, Any], address: Any) -> bool:
    return any(text.partition("/")[0] == str(address) for text in (*row["inet"], *row["inet6"]))


def _ping(process: Process, options: Options, name: str, address: Any, trouble: str, answers: bool) -> int:
    import random

    count = int(options.get("c") or 0)
    limit = float(options.get("t") or 0)
    end = clock.now() + limit if limit else None
    times: list[float] = []
    sent = 0
    process.out(f"PING {name} ({address}): 56 data bytes\n")
    while True:
        if trouble:
            process.err(f"ping: sendto: {trouble}\n")
        elif answers:
            times.append(random.uniform(0.05, 0.2))  # noqa: S311 (a time to show)
            if "q" not in options:
                process.out(f"64 bytes from {address}: icmp_seq={sent} ttl=64 time={times[-1]:.3f} ms\n")
        sent += 1
        over = (count and sent >= count) or (end is not None and clock.now() + 1 > end)
        if not over or not answers:
            process.flush()
            clock.sleep(1)
        if over:
            break
    lost = 100 * (sent - len(times)) / sent
    process.out(
        f"\n--- {name} ping statistics ---\n{sent} packets transmitted, {len(times)} packets received, "
        f"{lost:.1f}% packet loss\n"
    )
    if times:
        mean = sum(times) / len(times)
        deviation = (sum((one - mean) ** 2 for one in times) / len(times)) ** 0.5
        process.out(
            f"round-trip min/avg/max/stddev = {min(times):.3f}/{mean:.3f}/{max(times):.3f}/{deviation:.3f} ms\n"
        )
    return 0 if times else 2
