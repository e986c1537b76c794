"""The simulated kernel's network interfaces, over the host's state.

``state["interfaces"]`` is a list in the order the kernel holds them; each has ``name``, ``driver`` (``epair``),
``born`` (``epair0a``, the name it was made with), ``index``, ``vnet`` (jid of the jail that has it, 0 the host),
``home`` (where it was made), ``up``, ``mtu``, ``ether``, ``inet``/``inet6`` (lists of ``address/prefix``),
``groups`` and, by kind, ``order`` (of addresses), ``added`` (when an IPv6 address came), ``members``, ``vlan``,
``parent``, ``peer``, ``description``.
"""

from __future__ import annotations

import re
from typing import Any

from . import clock

State = dict[str, Any]
Interface = dict[str, Any]

IFNAMSIZ = 16
DETECTION = 1.0
"""Seconds of duplicate address detection: one probe, one second apart (net.inet6.ip6.dad_count=1)."""
LINK_LOCAL_DETECTION = 2.2
"""The same for an address the kernel gives itself: it waits for a random time first."""
CLONERS = ("bridge", "epair", "gif", "lo", "tap", "tun", "vlan")


class NetworkError(Exception):
    """``message`` as ifconfig(8) prints it after its own name."""


def interfaces(state: State, vnet: int = 0) -> list[Interface]:
    return [interface for interface in state.get("interfaces", []) if interface["vnet"] == vnet]


def find(state: State, name: str, vnet: int = 0) -> Interface | None:
    return next((interface for interface in interfaces(state, vnet) if interface["name"] == name), None)


def add_physical(state: State, name: str, inet: list[str], inet6: list[str] | None = None, **more: Any) -> Interface:
    """An interface that was there when the host booted (also ``lo0``)."""
    interface = _new(state, name, re.sub(r"\d+$", "", name), 0)
    interface |= {"physical": True, "up": bool(inet or inet6 or more.get("up")), "groups": []}
    if interface["driver"] in ("lo", "pflog"):
        interface |= {"groups": [interface["driver"]], "mtu": 16384 if interface["driver"] == "lo" else 33160}
        interface["ether"] = ""
    elif name == "vtnet0":
        interface["ether"] = "52:54:00:12:34:56"
    interface["inet"] = list(inet)
    interface["inet6"] = list(inet6 or [])
    if name == "lo0":
        _before_pflog(state, interface)
        if "::1/128" in interface["inet6"]:
            add_link_local(interface)
        interface["order"] = ["::1", "fe80::1"]
    return interface


def _before_pflog(state: State, loopback: Interface) -> None:
    """The kernel makes lo0 before pflog0, whoever describes the host in which order."""
    rows = state["interfaces"]
    later = [row for row in rows if row["driver"] == "pflog"]
    if later:
        rows.remove(loopback)
        rows.insert(rows.index(later[0]), loopback)
        for number, row in enumerate(rows, 1):
            row["index"] = number


def make_loopback(state: State, vnet: int) -> None:
    """A new network stack starts with its own lo0 (and what else every stack has)."""
    kinds = ["lo0", *(row["name"] for row in interfaces(state) if row["driver"] == "pflog")]
    for name in kinds:
        interface = _new(state, name, re.sub(r"\d+$", "", name), vnet)
        interface |= {"physical": True, "groups": [interface["driver"]], "ether": ""}
        interface["mtu"] = 16384 if name == "lo0" else 33160


def create(state: State, wanted: str, vnet: int, hostname: str = "") -> Interface:
    """Clone ``epair``, ``bridge7``, ``lo1``...; gives the (first) new interface."""
    if dotted := re.fullmatch(r"(.+)\.(\d+)", wanted):
        return _create_dotted(state, wanted, dotted[1], int(dotted[2]), vnet)
    match = re.fullmatch(r"([a-z_]+?)(\d*)", wanted)
    if match is None or match[1] not in CLONERS:
        raise NetworkError("Invalid argument")
    driver, unit = match[1], match[2]
    number = int(unit) if unit else _free_unit(state, driver, vnet)
    if unit and (find_born(state, driver, number, vnet) or find(state, wanted, vnet)):
        raise NetworkError("File exists")
    if driver != "epair":
        interface = _new(state, f"{driver}{number}", driver, vnet, hostname)
        interface["unit"] = number
        return interface
    ends = [_new(state, f"epair{number}{end}", driver, vnet, hostname) for end in "ab"]
    for end, other in zip(ends, ends[::-1], strict=True):
        end |= {"unit": number, "peer": other["id"]}
    ends[1]["ether"] = ends[0]["ether"][:-1] + "b"
    return ends[0]


def _create_dotted(state: State, wanted: str, parent: str, tag: int, vnet: int) -> Interface:
    """A vlan(4) named after its parent and tag (vlan_clone_match_ethervid in if_vlan.c)."""
    below = find(state, parent, vnet)
    if below is None or not 0 < tag < 4095:
        raise NetworkError("Invalid argument")
    if find(state, wanted, vnet):
        raise NetworkError("File exists")
    interface = _new(state, wanted, "vlan", vnet)
    return attach_vlan(interface, below, tag)


def attach_vlan(interface: Interface, parent: Interface, tag: int) -> Interface:
    """SIOCSETVLAN: the interface, which is changed."""
    if not 0 < tag < 4095:
        raise NetworkError("Invalid argument")
    if interface.get("parent") and (interface["parent"], interface["vlan"]) != (parent["name"], tag):
        raise NetworkError("Device busy")
    interface |= {"vlan": tag, "parent": parent["name"], "ether": parent["ether"]}
    return interface


def destroy(state: State, interface: Interface) -> None:
    """Take a cloned interface away, with the other end of an epair(4)."""
    if interface.get("physical"):
        raise NetworkError("Invalid argument")
    doomed = {interface["id"], interface.get("peer")}
    state["interfaces"] = [row for row in state["interfaces"] if row["id"] not in doomed]
    for row in state["interfaces"]:
        if row.get("members"):
            row["members"] = [member for member in row["members"] if member not in doomed]


def rename(state: State, interface: Interface, name: str) -> None:
    if find(state, name, interface["vnet"]):
        raise NetworkError("File exists")
    if len(name) >= IFNAMSIZ:
        raise NetworkError("File name too long")
    interface["name"] = name


def move(state: State, interface: Interface, vnet: int) -> None:
    """Give an interface to another network stack: it arrives last, down, bare of addresses and groups."""
    if find(state, interface["name"], vnet):
        raise NetworkError("File exists")
    state["interfaces"].remove(interface)
    for row in state["interfaces"]:
        if row.get("members"):
            row["members"] = [member for member in row["members"] if member != interface["id"]]
    home = interface["home"] == vnet
    interface |= {"vnet": vnet, "up": False, "inet": [], "inet6": [], "order": [], "index": _free_index(state, vnet)}
    interface["groups"] = [] if home else interface["groups"] or [interface["driver"]]
    state["interfaces"].append(interface)


def leave(state: State, jids: set[int]) -> None:
    """The stacks of dead jails dissolve: what came from elsewhere goes home, what was made inside ends."""
    for interface in [row for row in state.get("interfaces", []) if row["vnet"] in jids]:
        if interface["home"] in jids:
            state["interfaces"] = [row for row in state["interfaces"] if row["id"] != interface["id"]]
        elif find(state, interface["name"], interface["home"]):
            interface["name"] = (
                interface["born"]
                if not find(state, interface["born"], interface["home"])
                else (f"{interface['driver']}{_free_unit(state, interface['driver'], interface['home'])}")
            )
            move(state, interface, interface["home"])
        else:
            move(state, interface, interface["home"])


def set_address(state: State, interface: Interface, family: str, address: str, *, alias: bool) -> None:
    """SIOCAIFADDR. ``address`` is ``a.b.c.d/len``; without ``alias`` the first address is replaced."""
    plain = address.partition("/")[0]
    for other in interfaces(state, interface["vnet"]):
        if other is not interface and any(old.partition("/")[0] == plain for old in other[family]):
            raise NetworkError("ioctl (SIOCAIFADDR): File exists")
    held = interface[family]
    if not alias and family == "inet" and held and held[0] != address:
        del held[0]
    for position, old in enumerate(held):
        if old.partition("/")[0] == plain:
            held[position] = address
            break
    else:
        held.append(address)
        _note_order(interface, plain)
    if family == "inet6" and interface["driver"] != "lo":
        interface["added"] = {**interface.get("added", {}), plain: clock.now()}
    came_up = not interface["up"]
    interface["up"] = True
    if family == "inet6" or (came_up and interface["driver"] != "bridge"):
        add_link_local(interface)


def is_tentative(interface: Interface, plain: str) -> bool:
    """Whether duplicate address detection of an IPv6 address still goes on: then it cannot be bound to."""
    seconds = LINK_LOCAL_DETECTION if plain.startswith("fe80:") else DETECTION
    return bool(clock.now() - interface.get("added", {}).get(plain, 0) < seconds)


def add_link_local(interface: Interface) -> None:
    if any(address.startswith("fe80:") for address in interface["inet6"]):
        return
    if interface["driver"] == "lo":
        if interface["name"] == "lo0":
            interface["inet6"][:0] = ["::1/128"] if "::1/128" not in interface["inet6"] else []
            _note_order(interface, "::1")
        interface["inet6"].append("fe80::1/64")
        _note_order(interface, "fe80::1")
    elif interface["ether"] and interface["driver"] != "bridge":
        own = link_local(interface["ether"])
        interface["inet6"].append(f"{own}/64")
        interface["added"] = {**interface.get("added", {}), own: clock.now()}
        _note_order(interface, own)


def _note_order(interface: Interface, plain: str) -> None:
    order = interface.setdefault("order", [])
    if plain not in order:
        order.append(plain)


def in_order(interface: Interface, addresses: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(family, address/prefix) pairs as ifconfig(8) lists them: by family, the one that came first in front."""
    place = {plain: number for number, plain in enumerate(interface.get("order", []))}
    there = len(place) if interface["name"] == "lo0" else -1
    first: dict[str, int] = {}
    for family, text in addresses:
        at = place.get(text.partition("/")[0], there)
        first[family] = min(first.get(family, at), at)
    return sorted(addresses, key=lambda pair: first[pair[0]])


def link_local(ether: str) -> str:
    octets = [int(part, 16) for part in ether.split(":")]
    octets[0] ^= 2
    body = [*octets[:3], 0xFF, 0xFE, *octets[3:]]
    groups = ":".join(f"{body[i] << 8 | body[i + 1]:x}" for i in range(0, 8, 2))
    from ipaddress import ip_address

    return str(ip_address(f"fe80::{groups}"))


def remove_address(interface: Interface, family: str, plain: str | None) -> None:
    """SIOCDIFADDR: ``plain`` None means the first one."""
    held = interface[family]
    for position, old in enumerate(held):
        if plain is None or old.partition("/")[0] == plain:
            del held[position]
            interface["order"] = [one for one in interface.get("order", []) if one != old.partition("/")[0]]
            return
    raise NetworkError("ioctl (SIOCDIFADDR): Can't assign requested address")


def find_born(state: State, driver: str, unit: int, vnet: int) -> Interface | None:
    rows = state.get("interfaces", [])
    return next((r for r in rows if r["driver"] == driver and r.get("unit") == unit and r["home"] == vnet), None)


def by_id(state: State, number: int) -> Interface | None:
    return next((row for row in state.get("interfaces", []) if row["id"] == number), None)


def _new(state: State, name: str, driver: str, vnet: int, hostname: str = "") -> Interface:
    state["lastif"] = int(state.get("lastif", 0)) + 1
    interface: Interface = {
        "id": state["lastif"],
        "name": name,
        "born": name,
        "driver": driver,
        "index": _free_index(state, vnet),
        "vnet": vnet,
        "home": vnet,
        "up": False,
        "mtu": {"lo": 16384, "gif": 1280}.get(driver, 1500),
        "ether": "" if driver in ("lo", "gif", "tun") else _ether(driver, name, hostname, state["lastif"]),
        "inet": [],
        "inet6": [],
        "groups": [driver],
    }
    if driver == "bridge":
        interface["members"] = []
    state.setdefault("interfaces", []).append(interface)
    return interface


def _ether(driver: str, name: str, hostname: str, number: int) -> str:
    from hashlib import sha256

    digest = sha256(f"{hostname}/{name}/{number}".encode()).digest()
    if driver == "epair":
        return ":".join(["02", *(f"{octet:02x}" for octet in digest[:4]), "0a"])
    return ":".join(["58", "9c", "fc", *(f"{octet:02x}" for octet in digest[:3])])


def _free_index(state: State, vnet: int) -> int:
    taken = {row["index"] for row in interfaces(state, vnet)}
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def _free_unit(state: State, driver: str, vnet: int) -> int:
    taken = {row.get("unit") for row in state.get("interfaces", []) if row["driver"] == driver and row["home"] == vnet}
    taken |= {
        int(row["name"][len(driver) :])
        for row in interfaces(state, vnet)
        if re.fullmatch(re.escape(driver) + r"\d+", row["name"])
    }
    return next(number for number in range(len(taken) + 1) if number not in taken)
