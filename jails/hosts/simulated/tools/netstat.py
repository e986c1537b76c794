"""netstat(1) and sockstat(1): routes, interfaces and sockets of the network stack a process uses."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, NamedTuple

from jails.hosts.simulated import daemons, network, prison
from jails.hosts.simulated.host import State
from jails.hosts.simulated.process import Process
from jails.hosts.simulated.world import World

from . import route
from .access import Options


class Entry(NamedTuple):
    """A line of the routing table; `key` is what the kernel's tree sorts by."""

    key: tuple[bytes, int]
    destination: str
    gateway: str
    flags: str
    interface: str
    address: str


def sockstat_main(process: Process) -> int:
    options = Options(
        process, "46CciIj:LlnP:p:qSsUuvw", "usage: sockstat [-46CciLlnqSsUuvw] [-j jid] [-p ports] [-P protocols]", 1
    )
    with process.host.reading() as state:
        rows = [row for row in daemons.sockets(state) if "until" not in row]
        jid = _jail_of(process, state, options.get("j"))
        if process.jid or "j" in options:
            rows = [row for row in rows if row.get("jid", 0) == jid]
        # The kernel lists the sockets of one network stack. Newer ones enter that of the jail asked about.
        stack = jid if jid == process.jid or process.release_at_least(13) else process.jid
        rows = [row for row in rows if _stack_of(state, row.get("jid", 0)) == _stack_of(state, stack)]
    families = {letter for letter in "46" if letter in options} or {"4", "6"}
    rows = [row for row in rows if row["proto"][-1] in families]
    if "P" in options:
        rows = [row for row in rows if row["proto"][:-1] in (options.get("P") or "").split(",")]
    if "p" in options:
        rows = [row for row in rows if row["local"].rpartition(":")[2] in (options.get("p") or "").split(",")]
    if ("c" in options) != ("l" in options):
        rows = [row for row in rows if (row["foreign"] == "*:*") == ("l" in options)]
    if "q" not in options:
        process.out("USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      \n")
    for row in rows:
        process.out(
            f"{row['user'][:8]:<8} {row['command'][:10]:<10} {row['pid']:<5} {row['fd']:<2} {row['proto']:<6} "
            f"{row['local']:<21} {row['foreign']}\n"
        )
    return 0


def _stack_of(state: State, jid: int) -> int:
    """The jail whose network stack a jail uses; 0 is the host's."""
    row = prison.by_jid(state, jid) if jid else None
    while row is not None and row["set"].get("vnet") != "new":
        row = prison.by_jid(state, row["parent"]) if row["parent"] else None
    return int(row["jid"]) if row is not None else 0


def _jail_of(process: Process, state: State, text: str | None) -> int:
    if text is None:
        return process.jid
    if text == "0":
        return 0
    try:
        return int(prison.get(state, text, within=process.jid)["jid"])
    except prison.JailError:
        process.exit(1, f'jail_getid: jail "{text}" not found' if process.release_at_least(12) else "invalid jail")


def netstat_main(process: Process) -> int:
    styles = [word.partition("=")[2] for word in process.argv if word.startswith("--libxo")]
    process.argv = [word for word in process.argv if not word.startswith("--libxo")]
    options = Options(
        process,
        "46AaBbdEf:ghI:iLlMmN:nOPp:Qq:RrsSTuWw:xz",
        "usage: netstat [-46AaLnRSTWx] [-f protocol_family | -p protocol]",
        1,
    )
    with process.host.reading() as state:
        if "r" in options:
            return _routes(process, state, options, bool(styles) and "json" in styles[-1].split(","))
        if "i" in options or "I" in options:
            return _interfaces(process, state, options)
        return _sockets(process, state, options)


# Routes


def _wanted(options: Options) -> list[int]:
    family = options.get("f") or ("inet" if "4" in options else "inet6" if "6" in options else "")
    return {"inet": [4], "inet6": [6]}.get(family, [4, 6])


def table_of(process: Process, state: State) -> dict[int, list[Entry]]:
    """The routing table by IP version, as this process may see it."""
    world = World(process)
    stack = route.stack_of(world, state)
    entries: dict[int, list[Entry]] = {4: [], 6: []}
    for row in network.interfaces(state, max(0, stack)):
        for text in row["inet"] if row["up"] else []:
            entries[4] += _of_address(row, ipaddress.ip_interface(text))
        for text in row["inet6"] if row["up"] else []:
            entries[6] += _of_address(row, ipaddress.ip_interface(text))
    if stack < 0:
        return {version: _of_jail(process, state, rows, version) for version, rows in entries.items()}
    if stack == 0:
        entries[6] += _rejects(state)
    for one in route.routes(world, state):
        net = ipaddress.ip_network(one["destination"])
        link = route.through(world, state, ipaddress.ip_address(one["gateway"]))
        name = "default" if net.prefixlen == 0 else str(net)
        entries[net.version].append(
            Entry((net.network_address.packed, net.prefixlen), name, one["gateway"], "UGS", link[0] if link else "", "")
        )
    return {version: sorted(rows, key=lambda one: one.key) for version, rows in entries.items()}


def _of_address(row: dict[str, Any], own: Any) -> list[Entry]:
    """What the kernel enters for an interface's own address: its network, and itself by way of lo0."""
    scope = f"%{row['name']}" if own.version == 6 and own.is_link_local else ""
    packed = own.ip.packed
    if scope:
        packed = packed[:2] + int(row["index"]).to_bytes(2, "big") + packed[4:]
    link = f"link#{row['index']}"
    full = own.max_prefixlen
    itself = Entry((packed, full), f"{own.ip}{scope}", link, "UHS", "lo0", str(own.ip))
    if row["driver"] == "lo" and not scope:
        return [itself._replace(flags="UH", interface=row["name"])]
    net = own.network.network_address.packed
    if scope:
        net = net[:2] + packed[2:4] + net[4:]
    name = f"{own.network.network_address}{scope}/{own.network.prefixlen}"
    whole = Entry((net, own.network.prefixlen), name, link, "U", row["name"], "")
    if own.network.prefixlen == full:
        return [itself, whole._replace(key=(packed, full + 1))] if own.version == 4 else [itself]
    return [whole, itself]


def _of_jail(process: Process, state: State, rows: list[Entry], version: int) -> list[Entry]:
    """A jail without a stack of its own sees the host routes of its addresses."""
    jail = prison.by_jid(state, process.jid) or {"set": {}}
    name = f"ip{version}"
    if jail["set"].get(name) == "inherit":
        return sorted((one for one in rows if one.address), key=lambda one: one.key)
    return sorted((one for one in rows if one.address in jail["set"].get(f"{name}.addr", [])), key=lambda one: one.key)


def _rejects(state: State) -> list[Entry]:
    """What rc.d/routing puts in for addresses that must not leave the host."""
    loopback = next((row for row in network.interfaces(state) if row["name"] == "lo0"), None)
    if loopback is None or "::1/128" not in loopback["inet6"]:
        return []
    found = []
    for text in ("::/96", "::ffff:0.0.0.0/96", "fe80::/10", "ff02::/16"):
        net = ipaddress.ip_network(text)
        found.append(Entry((net.network_address.packed, net.prefixlen), text, "::1", "UGRS", "lo0", ""))
    return found


_FLAGS = {"U": "up", "G": "gateway", "H": "host", "R": "reject", "S": "static"}


def _routes(process: Process, state: State, options: Options, as_json: bool) -> int:
    table = table_of(process, state)
    chosen = [(version, table[version]) for version in _wanted(options) if table[version]]
    if as_json:
        process.out(_routes_json(chosen))
        return 0
    process.out("Routing tables\n")
    for version, rows in chosen:
        first, second = (18, 18) if version == 4 else (33, 29)
        process.out(f"\nInternet{'' if version == 4 else '6'}:\n")
        process.out(f"{'Destination':<{first}} {'Gateway':<{second}} {'Flags':<6} {'Netif':>8} Expire\n")
        for row in rows:
            process.out(f"{row.destination:<{first}} {row.gateway:<{second}} {row.flags:<6} {row.interface:>8}\n")
    return 0


def _routes_json(chosen: list[tuple[int, list[Entry]]]) -> str:
    families = []
    for version, rows in chosen:
        entries = []
        for row in rows:
            pretty = ",".join(json.dumps(_FLAGS[letter]) for letter in "UGHRS" if letter in row.flags)
            entries.append(
                f'{{"destination":"{row.destination}","gateway":"{row.gateway}","flags":"{row.flags}", '
                f'"flags_pretty": [{pretty}],"interface-name":"{row.interface}"}}'
            )
        name = "Internet" if version == 4 else "Internet6"
        families.append(f'{{"address-family":"{name}", "rt-entry": [{", ".join(entries)}]}}')
    body = f'{{"route-table": {{"rt-family": [{", ".join(families)}]}}}}'
    return f'{{"statistics": {{"route-information": {body}}}\n}}\n'


# Interfaces


def _interfaces(process: Process, state: State, options: Options) -> int:
    world = World(process)
    rows = network.interfaces(state, max(0, route.stack_of(world, state)))
    wanted = options.get("I")
    if wanted is not None:
        rows = [row for row in rows if row["name"] == wanted]
    count = f"{'Ibytes':>10} " if "b" in options else ""
    sent = f"{'Obytes':>10} " if "b" in options else ""
    process.out(
        f"{'Name':<5} {'Mtu':>5} {'Network':<13} {'Address':<17} {'Ipkts':>8} Ierrs Idrop {count}{'Opkts':>8} "
        f"Oerrs {sent} Coll\n"
    )
    for row in rows:
        link = row["ether"] or row["name"]
        _interface(process, options, row, str(row["mtu"]), f"<Link#{row['index']}>", link, "0")
        pairs = [(one, text) for one in ("inet", "inet6") for text in row[one]]
        for _, text in network.in_order(row, pairs):
            net, address = _names(row, text, "n" in options)
            _interface(process, options, row, "-", net, address, "-")
    return 0


def _interface(
    process: Process, options: Options, row: dict[str, Any], mtu: str, net: str, address: str, errors: str
) -> None:
    count = f"{0:>10} " if "b" in options else ""
    process.out(
        f"{row['name'][:5]:<5} {mtu:>5} {net:<13} {address:<17} {0:>8} {errors:>5} {errors:>5} {count}{0:>8} "
        f"{errors:>5} {count}{errors:>5}\n"
    )


def _names(row: dict[str, Any], text: str, numeric: bool) -> tuple[str, str]:
    own = ipaddress.ip_interface(text)
    scope = f"%{row['name']}" if own.version == 6 and own.is_link_local else ""
    net, address = f"{own.network.network_address}{scope}/{own.network.prefixlen}", f"{own.ip}{scope}"
    if not numeric and own.ip.is_loopback:
        return ("your-net" if own.version == 4 else "localhost"), "localhost"
    return net, address


# Sockets


def _sockets(process: Process, state: State, options: Options) -> int:
    rows = [row for row in daemons.sockets(state) if not process.jid or row.get("jid", 0) == process.jid]
    protocol = options.get("p")
    rows = [row for row in rows if protocol is None or row["proto"][:-1] == protocol]
    if "a" not in options:
        rows = [row for row in rows if row["foreign"] != "*:*"]
    if not rows:
        return 0
    process.out(f"Active Internet connections{' (including servers)' if 'a' in options else ''}\n")
    process.out("Proto Recv-Q Send-Q Local Address          Foreign Address        (state)\n")
    for row in sorted(rows, key=lambda one: one["proto"][:-1]):
        local, foreign = (".".join(row[end].rsplit(":", 1)) for end in ("local", "foreign"))
        shown = row.get("state", "LISTEN") if row["proto"].startswith("tcp") else ""
        process.out(f"{row['proto']:<5} {0:>6} {0:>6} {local:<22} {foreign:<22} {shown:<11}\n")
    return 0
