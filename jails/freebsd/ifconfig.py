"""ifconfig(8): interfaces, addresses, epairs and bridges."""

import ipaddress
import re
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

LIST: Argv = ("ifconfig", "-a")


@dataclass(frozen=True)
class Address:
    """`family` is inet or inet6, `ip` without zone, `prefix` in bits; `flags` as printed: tentative, duplicated, …"""

    family: str
    ip: str
    prefix: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interface:
    name: str
    flags: tuple[str, ...]
    mtu: int
    ether: str = ""
    addresses: tuple[Address, ...] = ()
    groups: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    description: str = ""
    status: str = ""
    vlan_parent: str = ""

    @property
    def up(self) -> bool:
        return "UP" in self.flags


def parse(output: bytes) -> tuple[Interface, ...]:
    """What LIST printed, from 12.1 to 15; lines that are of no interest are passed over."""
    interfaces = []
    block: list[str] = []
    for line in output.decode("utf-8", "replace").splitlines():
        if re.match(r"[^\s:]+: flags=", line):
            if block:
                interfaces.append(_interface(block))
            block = [line]
        elif block:
            block.append(line)
    if block:
        interfaces.append(_interface(block))
    return tuple(interfaces)


_HEAD = re.compile(r"(?P<name>[^\s:]+): flags=[0-9a-f]+(?:<(?P<flags>[^>]*)>)?.*?(?: mtu (?P<mtu>[0-9]+))?")


def _interface(block: list[str]) -> Interface:
    head = re.fullmatch(_HEAD, block[0].rstrip())
    assert head is not None
    addresses: list[Address] = []
    groups: tuple[str, ...] = ()
    members: list[str] = []
    found = {"ether": "", "description": "", "status": "", "vlan_parent": ""}
    for line in block[1:]:
        words = line.split()
        # A description is free text: its key alone says where it ends.
        key, rest = (words[0], line.strip()[len(words[0]) :].strip()) if words else ("", "")
        if key in ("inet", "inet6"):
            address = _address(words)
            addresses += [address] if address else []
        elif key == "groups:":
            groups = tuple(words[1:])
        elif key == "member:" and len(words) > 1:
            members.append(words[1])
        elif key in ("ether", "description:", "status:"):
            found[key.rstrip(":")] = rest
        elif key == "vlan:" and "parent interface: " in rest:
            found["vlan_parent"] = rest.partition("parent interface: ")[2]
    return Interface(
        name=head["name"],
        flags=tuple(filter(None, (head["flags"] or "").split(","))),
        mtu=int(head["mtu"] or 0),
        addresses=tuple(addresses),
        groups=groups,
        members=tuple(members),
        **found,
    )


_VALUED = frozenset({"netmask", "broadcast", "prefixlen", "scopeid", "vhid", "pltime", "vltime", "-->"})


def _address(words: list[str]) -> Address | None:
    family, text, *rest = words
    ip, slash, prefix = text.partition("/")
    values, flags = {}, []
    while rest:
        word = rest.pop(0)
        if word in _VALUED and rest:
            values[word] = rest.pop(0)
            # Of carp(4): two hosts share the address.
            flags += ["vhid"] if word == "vhid" else []
        else:
            flags.append(word)
    try:
        parsed = ipaddress.ip_address(ip.partition("%")[0])
        bits = int(prefix) if slash else _bits(values, parsed.max_prefixlen)
    except ValueError:
        return None
    return Address(family, str(parsed), bits, tuple(flags))


def _bits(values: dict[str, str], longest: int) -> int:
    if "prefixlen" in values:
        return int(values["prefixlen"])
    mask = values.get("netmask")
    if mask is None:
        return longest
    number = int(mask, 16) if mask.startswith("0x") else int(ipaddress.IPv4Address(mask))
    return number.bit_count()


def create(kind: str) -> Argv:
    """Make the next free epair, bridge, lo, …; its name (of an epair the a end) is what is printed."""
    if not re.fullmatch(r"[a-z]{1,12}", kind):
        raise ValueError(f"kind: expected a kind of interface such as epair or bridge, got {kind!r}")
    return argv("ifconfig", kind, "create")


def destroy(interface: str) -> Argv:
    """Destroy an interface. Take an epair out of its bridge first: 12.1 has panicked on it."""
    return argv("ifconfig", _name("interface", interface), "destroy")


def rename(interface: str, new: str) -> Argv:
    return argv("ifconfig", _name("interface", interface), "name", _name("new", new))


def describe(interface: str, description: str) -> Argv:
    names.require("description", description, names.word_error)
    return argv("ifconfig", _name("interface", interface), "description", description)


def set_ether(interface: str, ether: str) -> Argv:
    """Give an Ethernet address, which must be unicast."""
    if not re.fullmatch(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", ether):
        raise ValueError(f"ether: expected a unicast address such as 02:00:00:12:34:56, got {ether!r}")
    return argv("ifconfig", _name("interface", interface), "ether", ether)


def up(interface: str) -> Argv:
    return argv("ifconfig", _name("interface", interface), "up")


def add_alias(interface: str, address: str) -> Argv:
    """Add ADDRESS or ADDRESS/PREFIX; without a prefix it is a host's, /32 or /128."""
    family, full = _family(address)
    return argv("ifconfig", _name("interface", interface), family, full, "alias")


def remove_alias(interface: str, address: str) -> Argv:
    family, full = _family(address)
    return argv("ifconfig", _name("interface", interface), family, full.partition("/")[0], "-alias")


def add_member(bridge: str, interface: str) -> Argv:
    return argv("ifconfig", _name("bridge", bridge), "addm", _name("interface", interface))


def remove_member(bridge: str, interface: str) -> Argv:
    return argv("ifconfig", _name("bridge", bridge), "deletem", _name("interface", interface))


def give(interface: str, jail: str) -> Argv:
    """Move an interface into a jail with a network of its own."""
    names.require("jail", jail, names.jail_reference_error)
    return argv("ifconfig", _name("interface", interface), "vnet", jail)


def take_back(interface: str, jail: str) -> Argv:
    names.require("jail", jail, names.jail_reference_error)
    return argv("ifconfig", _name("interface", interface), "-vnet", jail)


def _name(argument: str, value: str) -> str:
    return names.require(argument, value, names.interface_error)


def _family(address: str) -> tuple[str, str]:
    if ":" in address:
        names.require("address", address, names.ip6_error)
        return "inet6", address if "/" in address else f"{address}/128"
    names.require("address", address, names.ip4_error)
    return "inet", address if "/" in address else f"{address}/32"
