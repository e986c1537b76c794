"""route(8) and arp(8), as far as addresses of jails need them.

``state["routes"]`` holds static routes as ``{"vnet", "destination" (a network), "gateway"}``.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from jails.hosts.simulated import network, prison, rcconf
from jails.hosts.simulated.world import World

_METRICS = (
    " recvpipe  sendpipe  ssthresh  rtt,msec    mtu        weight    expire\n"
    "       0         0         0         0      1500         1         0 \n"
)


def main(caller: Any) -> int:
    process = World(caller)
    numeric = any(
        word.startswith("-") and "n" in word and word not in ("-inet", "-net", "-inet6") for word in process.argv[1:]
    )
    words = [word for word in process.argv[1:] if word not in ("-n", "-v", "-q", "-4", "-inet", "-net", "-host")]
    six = any(word in ("-6", "-inet6") for word in words)
    words = [word for word in words if word not in ("-6", "-inet6")]
    if not words:
        process.err("usage: route [-j jail] [-46dnqtv] command [[modifiers] args]\n")
        return 64
    verb, operands = words[0], words[1:]
    if verb == "get" and operands:
        return _get(process, operands[0], six, numeric)
    if verb == "add" and len(operands) > 1:
        return _add(process, operands[0], operands[1], six)
    if verb in ("delete", "del") and operands:
        return _delete(process, operands[0], six)
    if verb == "flush":
        with process.host.changing() as state:
            vnet = stack_of(process, state)
            state["routes"] = [row for row in state.get("routes", []) if row["vnet"] != vnet]
        return 0
    process.err(f"route: bad keyword: {verb}\nusage: route [-j jail] [-46dnqtv] command [[modifiers] args]\n")
    return 64


def stack_of(process: World, state: dict[str, Any]) -> int:
    """The network stack of the process (a jid, 0 for the host); -1 in a jail that only shares the host's."""
    jail = prison.by_jid(state, process.jid) if process.jid else None
    if jail is None:
        return 0
    return int(jail["jid"]) if jail["set"].get("vnet") == "new" else -1


def _network(text: str, six: bool) -> Any:
    if text == "default":
        return ipaddress.ip_network("::/0" if six else "0.0.0.0/0")
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def routes(process: World, state: dict[str, Any]) -> list[dict[str, Any]]:
    """Static routes of the stack; the host's default one comes from rc.conf(5), from how the host was made, or is the
    first address of its network."""
    vnet = stack_of(process, state)
    rows = [row for row in state.get("routes", []) if row["vnet"] == vnet]
    if vnet == 0 and not any(row["destination"] == "0.0.0.0/0" for row in rows):
        gateway = _default_gateway(process, state)
        rows = [{"vnet": 0, "destination": "0.0.0.0/0", "gateway": gateway}, *rows] if gateway else rows
    return rows


def _default_gateway(process: World, state: dict[str, Any]) -> str:
    try:
        known: dict[str, str] = {}
        rcconf.parse(process.read_text("/etc/rc.conf"), known)
        if known.get("defaultrouter", "NO").upper() != "NO":
            return known["defaultrouter"]
    except OSError:
        pass
    if router := state.get("router"):
        return str(router)
    for row in network.interfaces(state):
        if row.get("physical") and row["driver"] not in ("lo", "pflog") and row["inet"]:
            own = ipaddress.ip_interface(row["inet"][0])
            return str(next((host for host in own.network.hosts() if host != own.ip), ""))
    return ""


def through(process: World, state: dict[str, Any], address: Any) -> tuple[str, Any] | None:
    """The interface whose own network has the address, and that network."""
    for row in network.interfaces(state, max(0, stack_of(process, state))):
        for text in row["inet" if address.version == 4 else "inet6"]:
            if address in ipaddress.ip_interface(text).network:
                return row["name"], ipaddress.ip_interface(text).network
    return None


def _get(process: World, text: str, six: bool, numeric: bool) -> int:
    wanted = _network(text, six or ":" in text)
    if wanted is None:
        process.err(f"route: bad address: {text}\n")
        return 68
    with process.host.reading() as state:
        if stack_of(process, state) < 0:
            process.err("route: route has not been found\n")
            return 255
        direct = through(process, state, wanted.network_address) if text != "default" else None
        rows = [row for row in routes(process, state) if wanted.subnet_of(_network(row["destination"], six))] \
            if not direct else []  # fmt: skip
        best = max(rows, key=lambda row: _network(row["destination"], six).prefixlen, default=None)
        link = through(process, state, ipaddress.ip_address(best["gateway"])) if best else direct
    if not best and not direct:
        process.err("route: route has not been found\n")
        return 255
    net = _network(best["destination"], six) if best else direct[1] if direct else wanted
    if text == "default" and numeric:
        text = str(wanted.network_address)
    shown = "default" if text == "default" else str(net.network_address)
    mask = "default" if text == "default" else str(net.netmask)
    lines = [f"   route to: {text}", f"destination: {shown}", f"       mask: {mask}"]
    lines += [f"    gateway: {best['gateway']}"] if best else []
    flags = "UP,GATEWAY,DONE,STATIC" if best else "UP,DONE,PINNED"
    lines += ["        fib: 0", f"  interface: {link[0] if link else 'lo0'}", f"      flags: <{flags}>"]
    process.out("\n".join(lines) + "\n" + _METRICS)
    return 0


def _add(process: World, text: str, gateway: str, six: bool) -> int:
    wanted = _network(text, six or ":" in text)
    shown = text.partition("/")[0]
    if wanted is None:
        process.err(f"route: bad address: {text}\n")
        return 68
    try:
        hop = ipaddress.ip_address(gateway)
    except ValueError:
        process.err(f"route: bad address: {gateway}\n")
        return 68
    with process.host.changing() as state:
        if any(row["destination"] == str(wanted) for row in routes(process, state)):
            process.out(f"add net {shown}: gateway {gateway} fib 0: route already in table\n")
            return 1
        if through(process, state, hop) is None:
            process.out(f"add net {shown}: gateway {gateway} fib 0: Network is unreachable\n")
            process.err("route: writing to routing socket: Network is unreachable\n")
            return 1
        rows = state.setdefault("routes", [])
        rows.append({"vnet": stack_of(process, state), "destination": str(wanted), "gateway": gateway})
    process.out(f"add net {shown}: gateway {gateway}\n")
    return 0


def _delete(process: World, text: str, six: bool) -> int:
    wanted = str(_network(text, six or ":" in text))
    shown = text.partition("/")[0]
    with process.host.changing() as state:
        vnet = stack_of(process, state)
        rows = state.get("routes", [])
        kept = [row for row in rows if row["vnet"] != vnet or row["destination"] != wanted]
        state["routes"] = kept
    if len(kept) == len(rows):
        process.out(f"delete net {shown} fib 0: not in table\n")
        process.err("route: route has not been found\n")
        return 1
    process.out(f"delete net {shown}\n")
    return 0


def arp(caller: Any) -> int:
    """arp(8): the host's own addresses, which are what is certain."""
    process = World(caller)
    if "-d" in process.argv or "-s" in process.argv:
        return 0
    with process.host.reading() as state:
        rows = network.interfaces(state, max(0, stack_of(process, state)))
    for row in rows:
        kind = "bridge" if row["driver"] == "bridge" else "ethernet"
        for text in row["inet"] if row["ether"] else []:
            process.out(f"? ({text.partition('/')[0]}) at {row['ether']} on {row['name']} permanent [{kind}]\n")
    return 0
