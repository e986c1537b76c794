"""ifconfig(8): shows and changes the interfaces of the network stack it runs in."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable
from typing import Any

from jails.hosts.simulated import network, prison

from . import kld

USAGE = "usage: ifconfig [-f type:format] %sinterface address_family\n"
_FLAG_OPTIONS = "adklmnuvCDGL"


class _Failed(Exception):
    """ifconfig gave up; what was done before stays done."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def main(process: Any) -> int:
    words = list(process.argv[1:])
    options = ""
    group = None
    formats: dict[str, str] = {}
    while (
        words and words[0].startswith("-") and len(words[0]) > 1 and words[0][1:2].islower() | words[0][1:2].isupper()
    ):
        word = words.pop(0)
        if word in ("-g", "-f", "-G", "-j"):
            value = words.pop(0) if words else ""
            if word == "-j" and not _enter(process, value):
                return 1
            group = value if word == "-g" else group
            formats |= dict(one.split(":", 1) for one in value.split(",") if ":" in one) if word == "-f" else {}
            continue
        if wrong := next((letter for letter in word[1:] if letter not in _FLAG_OPTIONS), None):
            process.err(f"ifconfig: illegal option -- {wrong}\n" + USAGE % "")
            return 1
        options += word[1:]
    if group is not None:
        return _show_group(process, group)
    if "C" in options:
        return _cloners(process)
    if "l" in options:
        return _list(process, options, words[0] if words else "")
    if not words or "a" in options:
        return _show_all(process, options, words, formats)
    return _one(process, words, formats)


def _enter(process: Any, which: str) -> bool:
    """-j, which stable/14 has: the network stack of a jail."""
    if not process.release_at_least(14):
        process.err("ifconfig: illegal option -- j\n" + USAGE % "")
        return False
    with process.host.reading() as state:
        try:
            process.jid = prison.get(state, which, within=process.jid)["jid"]
        except prison.JailError as problem:
            process.err(f"ifconfig: {problem.message}\n")
            return False
    return True


def _vnet(process: Any, state: dict[str, Any]) -> int:
    """The jid whose network stack the process uses: its own jail's or the nearest outer one with a stack."""
    jail = prison.by_jid(state, process.jid) if process.jid else None
    while jail and jail["set"].get("vnet") != "new":
        jail = prison.by_jid(state, jail["parent"])
    return jail["jid"] if jail else 0


def _list(process: Any, options: str, family: str) -> int:
    if family not in ("", "inet", "inet6", "link", "ether", "lladdr"):
        process.err(f"ifconfig: Address family '{family}' unknown.\n" + USAGE % "")
        return 1
    with process.host.reading() as state:
        rows = network.interfaces(state, _vnet(process, state))
    if family in ("link", "ether", "lladdr"):
        rows = [row for row in rows if row["driver"] not in ("lo", "pflog", "gif", "tun")]
    rows = [row for row in rows if ("u" not in options or row["up"]) and ("d" not in options or not row["up"])]
    process.out(" ".join(row["name"] for row in rows) + "\n")
    return 0


def _cloners(process: Any) -> int:
    """The kinds of interface that can be made: those of loaded modules first, the latest in front."""
    with process.host.reading() as state:
        names = [row["name"].removeprefix("if_") for row in kld.modules(state) if row["name"].startswith("if_")]
    process.out(" ".join([*names[::-1], "vlan", "ipsec", "gif", "vmnet", "tap", "tun", "lo"]) + "\n")
    return 0


def _show_group(process: Any, group: str) -> int:
    with process.host.reading() as state:
        rows = [row for row in network.interfaces(state, _vnet(process, state)) if group in row["groups"]]
    if group == "epair":  # the kernel makes the b end first
        rows.sort(key=lambda row: (row.get("unit", 0), not row["born"].endswith("b")))
    process.out("".join(row["name"] + "\n" for row in rows))
    return 0


def _show_all(process: Any, options: str, words: list[str], formats: dict[str, str]) -> int:
    with process.host.reading() as state:
        for row in network.interfaces(state, _vnet(process, state)):
            if ("u" in options and not row["up"]) or ("d" in options and row["up"]):
                continue
            process.out(_describe(process, state, row, words[0] if words else "", formats))
    return 0


def _one(process: Any, words: list[str], formats: dict[str, str]) -> int:
    name, commands = words[0], words[1:]
    if not commands or (len(commands) == 1 and commands[0] in ("inet", "inet6", "link", "ether")):
        with process.host.reading() as state:
            interface = network.find(state, name, _vnet(process, state))
            text = _describe(process, state, interface, commands[0] if commands else "", formats) if interface else ""
        if interface is None:
            process.err(f"ifconfig: interface {name} does not exist\n")
            return 1
        process.out(text)
        return 0
    change = _Change(process, name)
    try:
        with process.host.changing() as state:
            change.begin(state)
            try:
                change.run(commands)
            except _Failed as failure:
                change.failure = failure
    except _Failed as failure:
        change.failure = failure
    if change.printed:
        process.out(change.printed + "\n")
    if change.failure:
        process.err(f"ifconfig: {change.failure.message}\n")
        return change.failure.status
    return 0


class _Change:
    """One ``ifconfig NAME word...`` that changes something: words act in their order and are not undone."""

    def __init__(self, process: Any, name: str) -> None:
        self.process = process
        self.name = name
        self.printed = ""
        self.failure: _Failed | None = None
        self.interface: dict[str, Any] = {}
        self.vlan: dict[str, Any] = {}

    def begin(self, state: dict[str, Any]) -> None:
        self.state = state
        self.vnet = _vnet(self.process, state)
        self.release = self.process.host.release(state)

    def run(self, words: list[str]) -> None:
        words = list(words)
        if words[0] in ("create", "plumb"):
            words.pop(0)
            self._check_vlan(words)
            self._create()
        else:
            self._locate(words)
        family = "inet"
        pending: dict[str, Any] = {}
        while words:
            word = words.pop(0)
            if word in ("inet", "inet6"):
                family = word
            elif word in ("link", "ether", "lladdr"):
                self.interface["ether"] = self._operand(words, word).lower()
            elif word in ("alias", "add"):
                pending["alias"] = True
            elif word in ("-alias", "delete", "remove"):
                pending["delete"] = True
            elif word in ("netmask", "prefixlen"):
                pending["prefix"] = self._prefix(self._operand(words, word))
            elif word == "broadcast":
                self._operand(words, word)
            elif not self._command(word, words):
                pending |= self._address(word, family)
                self._peer(words)
        self._finish(pending, family)

    def _peer(self, words: list[str]) -> None:
        """A second address is the other end of a point-to-point link: accepted, not kept."""
        if words and re.fullmatch(r"[\d.]+|[0-9a-f]*:[0-9a-f:]*", words[0]):
            words.pop(0)

    def _locate(self, words: list[str]) -> None:
        found = network.find(self.state, self.name, self.vnet)
        if found is None and words[0] == "-vnet":
            return
        if found is None:
            raise _Failed(f"interface {self.name} does not exist")
        self.interface = found

    def _check_vlan(self, words: list[str]) -> None:
        """A vlan(4) is made with its tag and parent at once or with neither (vlan_create in ifvlan.c)."""
        given = dict(itertools.pairwise(words))
        if not self.name.startswith("vlan") or not {"vlan", "vlandev"} & set(given):
            return
        if "vlan" not in given:
            raise _Failed("must specify a tag for vlan create")
        if "vlandev" not in given:
            raise _Failed("must specify a parent device for vlan create")
        error = f"SIOCIFCREATE2{self._named()}"
        if network.find(self.state, given["vlandev"], self.vnet) is None:
            raise _Failed(f"{error}: Device not configured")
        if not given["vlan"].isdigit() or not 0 < int(given["vlan"]) < 4095:
            raise _Failed("invalid value for vlan" if not given["vlan"].isdigit() else f"{error}: Invalid argument")

    def _named(self) -> str:
        return f" ({self.name})" if prison.version(self.release)[0] >= 14 else ""

    def _create(self) -> None:
        if network.find(self.state, self.name, self.vnet):
            raise _Failed(f"interface {self.name} already exists")
        hostname = str(self.state.get("hostname", ""))
        try:
            self.interface = network.create(self.state, self.name, self.vnet, hostname)
            kld.load(self.state, f"if_{self.interface['driver']}")
        except network.NetworkError as problem:
            raise _Failed(f"SIOCIFCREATE2{self._named()}: {problem}") from None
        if self.interface["name"] != self.name:
            self.printed = self.interface["name"]

    def _operand(self, words: list[str], word: str) -> str:
        if not words:
            raise _Failed(f"'{word}' requires argument")
        return words.pop(0)

    def _command(self, word: str, words: list[str]) -> bool:
        """The words that are not addresses. True when ``word`` was one."""
        simple = {"up": True, "down": False}
        if word in simple:
            self.interface["up"] = simple[word]
            if word == "up":
                network.add_link_local(self.interface)
            return True
        if word in ("arp", "-arp", "promisc", "-promisc", "no_dad", "auto_linklocal", "-ifdisabled", "monitor", "-tso"):
            return True
        if word == "destroy":
            self._try(lambda: network.destroy(self.state, self.interface), "SIOCIFDESTROY: %s")
            return True
        if word == "-description":
            self.interface.pop("description", None)
            return True
        if "members" in self.interface and self._bridge_command(word, words):
            return True
        handlers: dict[str, Callable[[str], Any]] = {
            "name": self._name,
            "mtu": self._mtu,
            "description": lambda value: self.interface.update(description=value),
            "descr": lambda value: self.interface.update(description=value),
            "group": self._group,
            "-group": self._ungroup,
            "addm": self._addm,
            "deletem": self._deletem,
            "vnet": self._give,
            "-vnet": self._reclaim,
            "vlan": self._tag,
            "vlandev": lambda value: self.vlan.update(parent=value),
            "fib": lambda value: None,
            "tunnelfib": lambda value: None,
        }
        if word not in handlers:
            return False
        handlers[word](self._operand(words, word))
        return True

    def _bridge_command(self, word: str, words: list[str]) -> bool:
        """What ifbridge.c knows besides addm and deletem."""
        if word.removeprefix("-") in _MEMBER_FLAGS:
            flag = _MEMBER_FLAGS[word.removeprefix("-")]
            self._member_flag(self._operand(words, word), flag, on=not word.startswith("-"))
            return True
        if word in ("flush", "flushall"):
            return True
        if word not in _BRIDGE_NUMBERS:
            return False
        text = self._operand(words, word)
        least, most = _BRIDGE_NUMBERS[word]
        if not text.isdigit():
            raise _Failed(f"invalid value: {text}")
        if not least <= int(text) <= most:
            raise _Failed(f"{_BRIDGE_REQUESTS[word]} {text}: Invalid argument")
        self.interface[word] = int(text)
        return True

    def _member_flag(self, name: str, flag: str, on: bool) -> None:
        member = network.find(self.state, name, self.vnet)
        if member is None or member["id"] not in self.interface["members"]:
            raise _Failed("unable to get bridge flags: No such file or directory")
        chosen = {**self.interface.get("flags", {})}
        flags = set(chosen.get(str(member["id"]), _NEW_MEMBER))
        chosen[str(member["id"])] = sorted(flags | {flag} if on else flags - {flag})
        self.interface["flags"] = chosen

    def _try(self, action: Any, wording: str) -> None:
        try:
            action()
        except network.NetworkError as problem:
            raise _Failed(wording % problem) from None

    def _name(self, name: str) -> None:
        self._try(lambda: network.rename(self.state, self.interface, name), "ioctl SIOCSIFNAME (set name): %s")
        self.printed = name

    def _mtu(self, text: str) -> None:
        """SIOCSIFMTU takes what if_mtu may be (IF_MINMTU and IF_MAXMTU in net/if.h)."""
        value = int(text) if text.isdigit() else 0
        if not 72 <= value <= 65535:
            raise _Failed("ioctl SIOCSIFMTU (set mtu): Invalid argument")
        self.interface["mtu"] = value

    def _tag(self, text: str) -> None:
        if not text.isdigit():
            raise _Failed("invalid value for vlan")
        self.vlan["vlan"] = int(text)

    def _group(self, name: str) -> None:
        """setifgroup() in ifgroup.c."""
        if name[-1:].isdigit():
            raise _Failed("setifgroup: group names may not end in a digit")
        if len(name) >= network.IFNAMSIZ:
            raise _Failed("setifgroup: group name too long")
        if name not in self.interface["groups"]:
            self.interface["groups"].append(name)

    def _ungroup(self, name: str) -> None:
        self.interface["groups"] = [one for one in self.interface["groups"] if one != name]

    def _addm(self, name: str) -> None:
        member = network.find(self.state, name, self.vnet)
        if member is None:
            raise _Failed(f"BRDGADD {name}: No such file or directory")
        if member["id"] in self.interface.get("members", []):
            raise _Failed(f"BRDGADD {name}: File exists")
        if any(member["id"] in row.get("members", []) for row in network.interfaces(self.state, self.vnet)):
            raise _Failed(f"BRDGADD {name}: Device busy")
        if "members" not in self.interface or member["driver"] in ("bridge", "lo", "pflog"):
            raise _Failed(f"BRDGADD {name}: Invalid argument")
        self.interface["members"].insert(0, member["id"])

    def _deletem(self, name: str) -> None:
        member = network.find(self.state, name, self.vnet)
        if member is None or member["id"] not in self.interface.get("members", []):
            raise _Failed(f"BRDGDEL {name}: No such file or directory")
        self.interface["members"].remove(member["id"])
        self.interface.get("flags", {}).pop(str(member["id"]), None)

    def _jail(self, which: str) -> dict[str, Any]:
        try:
            return prison.get(self.state, which, within=self.process.jid)
        except prison.JailError as problem:
            raise _Failed(problem.message) from None

    def _give(self, which: str) -> None:
        jail = self._jail(which)
        if jail["set"].get("vnet") != "new":
            raise _Failed(f"SIOCSIFVNET({jail['jid']}, {self.name}): Invalid argument")
        self._try(
            lambda: network.move(self.state, self.interface, jail["jid"]),
            f"SIOCSIFVNET({jail['jid']}, {self.interface['name']}): %s",
        )

    def _reclaim(self, which: str) -> None:
        jail = self._jail(which)
        inside = network.find(self.state, self.name, jail["jid"])
        if inside is None:
            raise _Failed(f"SIOCSIFRVNET({jail['jid']}, {self.name}): Device not configured")
        self._try(lambda: network.move(self.state, inside, self.vnet), f"SIOCSIFRVNET({jail['jid']}, {self.name}): %s")
        self.interface = inside

    def _prefix(self, text: str) -> int:
        if text.isdigit():
            return int(text)
        if text.startswith("0x"):
            text = str(ipaddress.ip_address(int(text, 16)))
        try:
            return ipaddress.ip_network(f"0.0.0.0/{text}").prefixlen
        except ValueError:
            raise _Failed(f"{text}: bad value") from None

    def _address(self, word: str, family: str) -> dict[str, Any]:
        plain, slash, width = word.partition("/")
        bits = 32 if family == "inet" else 128
        if slash and not width.isdigit():
            raise _Failed(f"{word}: bad value")
        if slash and int(width) > bits:
            raise _Failed(f"{word}: bad value (width too large)")
        try:
            address = ipaddress.ip_address(plain)
        except ValueError:
            raise _Failed(f"{plain}: bad value") from None
        if address.version != (4 if family == "inet" else 6):
            raise _Failed(f"{plain}: bad value")
        return {"address": str(address)} | ({"prefix": int(width)} if slash else {})

    def _finish(self, pending: dict[str, Any], family: str) -> None:
        if self.vlan:
            parent = network.find(self.state, str(self.vlan.get("parent", "")), self.vnet)
            if parent is None:
                raise _Failed("SIOCSETVLAN: No such file or directory")
            tag = self.vlan.get("vlan", self.interface.get("vlan", 0))
            self._try(lambda: network.attach_vlan(self.interface, parent, tag), "SIOCSETVLAN: %s")
        try:
            if pending.get("delete"):
                network.remove_address(self.interface, family, pending.get("address"))
            elif "address" in pending:
                prefix = pending.get("prefix", _classful(pending["address"]) if family == "inet" else 64)
                network.set_address(
                    self.state,
                    self.interface,
                    family,
                    f"{pending['address']}/{prefix}",
                    alias=bool(pending.get("alias")),
                )
        except network.NetworkError as problem:
            raise _Failed(str(problem)) from None


def _classful(address: str) -> int:
    first = int(address.split(".")[0])
    return 8 if first < 128 else 16 if first < 192 else 24


_MEMBER_BITS = {
    "LEARNING": 0x1,
    "DISCOVER": 0x2,
    "STP": 0x4,
    "SPAN": 0x8,
    "STICKY": 0x10,
    "PRIVATE": 0x800,
    "EDGE": 0x20,
    "AUTOEDGE": 0x40,
    "PTP": 0x80,
    "AUTOPTP": 0x100,
}
"""IFBIFBITS of net/if_bridgevar.h, in the order they are shown."""
_NEW_MEMBER = ("LEARNING", "DISCOVER", "AUTOEDGE", "AUTOPTP")
_MEMBER_FLAGS = {name.lower(): name for name in _MEMBER_BITS} | {"learn": "LEARNING"}
_BRIDGE_NUMBERS = {"maxaddr": (0, 2**32 - 1), "timeout": (0, 2**32 - 1), "priority": (0, 61440)}
_BRIDGE_NUMBERS |= {"maxage": (6, 40), "hellotime": (1, 2), "fwddelay": (4, 30), "holdcnt": (1, 10)}
"""What each may be (bstp_set_* in net/bridgestp.c)."""
_BRIDGE_REQUESTS = {"maxaddr": "BRDGSCACHE", "timeout": "BRDGSTO", "priority": "BRDGSPRI", "maxage": "BRDGSMA"}
_BRIDGE_REQUESTS |= {"hellotime": "BRDGSHT", "fwddelay": "BRDGSFD", "holdcnt": "BRDGSTXHC"}


def _member_flags(names: list[str]) -> str:
    value = sum(_MEMBER_BITS[name] for name in names)
    return f"{value:x}<{','.join(name for name in _MEMBER_BITS if name in names)}>"


_BITS = [
    (0x1, "UP"),
    (0x2, "BROADCAST"),
    (0x8, "LOOPBACK"),
    (0x10, "POINTOPOINT"),
    (0x40, "RUNNING"),
    (0x100, "PROMISC"),
    (0x800, "SIMPLEX"),
    (0x8000, "MULTICAST"),
    (0x1000000, "LOWER_UP"),
]


def _flags(state: dict[str, Any], row: dict[str, Any], major: int) -> str:
    driver = row["driver"]
    names: set[str] = set()
    if driver == "lo":
        names = {"LOOPBACK", "MULTICAST"} | ({"UP", "RUNNING"} if row["up"] else set())
    elif driver in ("gif", "tun"):
        names = {"POINTOPOINT", "MULTICAST"} | ({"UP", "RUNNING"} if row["up"] else set())
    elif driver != "pflog":
        names = {"BROADCAST", "SIMPLEX", "MULTICAST"} | ({"UP"} if row["up"] else set())
        if (driver not in ("bridge", "tap") and not row.get("physical")) or row["up"]:
            names.add("RUNNING")
        if any(row["id"] in other.get("members", []) for other in network.interfaces(state, row["vnet"])):
            names.add("PROMISC")
    if major >= 14 and row["up"]:
        names.add("LOWER_UP")  # sbin/ifconfig of stable/14 reads flags by netlink(4)
    value = sum(bit for bit, name in _BITS if name in names)
    return f"{value:x}<{','.join(name for _, name in _BITS if name in names)}>"


def _describe(
    process: Any, state: dict[str, Any], row: dict[str, Any], family: str, formats: dict[str, str] | None = None
) -> str:
    """One interface as ``ifconfig NAME`` shows it; ``family`` limits the addresses."""
    major = prison.version(process.host.release(state))[0]
    shared = bool(process.jid) and _vnet(process, state) != process.jid
    lines = [f"{row['name']}: flags={_flags(state, row, major)} metric 0 mtu {row['mtu']}"]
    if row.get("description"):
        lines.append(f"\tdescription: {row['description']}")
    lines += _options(row, major)
    wanted = _visible_addresses(process, state, row) if shared else row
    links = family in ("", "link", "ether")
    if row["ether"] and links:
        lines.append(f"\tether {row['ether']}")
    pairs = [(one, text) for one in ("inet", "inet6") if family in ("", one) for text in wanted[one]]
    for one, text in network.in_order(row, pairs):
        form = (formats or {}).get(one, "")
        lines.append(_inet(row, text, form) if one == "inet" else _inet6(row, text, form))
    if family == "":
        lines += _details(state, row)
        lines += _nd6(row, major) if not shared else []
    return "\n".join(lines) + "\n"


def _visible_addresses(process: Any, state: dict[str, Any], row: dict[str, Any]) -> dict[str, list[str]]:
    jail = prison.by_jid(state, process.jid) or {"set": {}}
    result = {}
    for family, name in (("inet", "ip4"), ("inet6", "ip6")):
        allowed = jail["set"].get(f"{name}.addr", [])
        inherited = jail["set"].get(name, "disable") == "inherit"
        result[family] = [a for a in row[family] if inherited or a.partition("/")[0] in allowed]
    return result


def _options(row: dict[str, Any], major: int) -> list[str]:
    driver = row["driver"]
    if driver == "lo":
        return ["\toptions=680003<RXCSUM,TXCSUM,LINKSTATE,RXCSUM_IPV6,TXCSUM_IPV6>"]
    if driver == "epair":
        if major >= 15:
            return ["\toptions=60000b<RXCSUM,TXCSUM,VLAN_MTU,RXCSUM_IPV6,TXCSUM_IPV6>"]
        return ["\toptions=8<VLAN_MTU>"]
    if driver in ("vlan", "tap", "gif", "tun"):
        return ["\toptions=80000<LINKSTATE>"]
    if driver == "bridge":
        return ["\toptions=0"] if major >= 14 else []
    if driver == "pflog":
        return []
    return ["\toptions=80028<VLAN_MTU,JUMBO_MTU,LINKSTATE>"]


def _inet(row: dict[str, Any], text: str, form: str) -> str:
    interface = ipaddress.ip_interface(text)
    line = f"\tinet {interface.ip} netmask 0x{int(interface.netmask):08x}"
    if form == "cidr":
        line = f"\tinet {interface}"
    elif form == "dotted":
        line = f"\tinet {interface.ip} netmask {interface.netmask}"
    if row["driver"] not in ("lo", "gif", "tun"):
        line += f" broadcast {interface.network.broadcast_address}"
    return line


def _inet6(row: dict[str, Any], text: str, form: str) -> str:
    address, _, width = text.partition("/")
    width = f"/{width}" if form == "cidr" else f" prefixlen {width}"
    tentative = " tentative" if network.is_tentative(row, address) else ""
    if address.startswith("fe80:"):
        return f"\tinet6 {address}%{row['name']}{width}{tentative} scopeid 0x{row['index']:x}"
    return f"\tinet6 {address}{width}{tentative}"


def _details(state: dict[str, Any], row: dict[str, Any]) -> list[str]:
    driver = row["driver"]
    lines: list[str] = []
    if driver == "bridge":
        priority = 32768 if row["up"] and row["members"] else 0
        lines += [
            f"\tid 00:00:00:00:00:00 priority {row.get('priority', 32768)} hellotime {row.get('hellotime', 2)} "
            f"fwddelay {row.get('fwddelay', 15)}",
            f"\tmaxage {row.get('maxage', 20)} holdcnt {row.get('holdcnt', 6)} proto rstp "
            f"maxaddr {row.get('maxaddr', 2000)} timeout {row.get('timeout', 1200)}",
            f"\troot id 00:00:00:00:00:00 priority {priority} ifcost 0 port 0",
        ]
        for number in row["members"]:
            if member := network.by_id(state, number):
                flags = _member_flags(row.get("flags", {}).get(str(number), list(_NEW_MEMBER)))
                lines.append(f"\tmember: {member['name']} flags={flags}")
                lines.append(f"\t        ifmaxaddr 0 port {member['index']} priority 128 path cost 2000")
    if row["groups"]:
        lines.append(f"\tgroups: {' '.join(row['groups'])}")
    if driver == "vlan" and row.get("parent"):
        lines.append(f"\tvlan: {row['vlan']} vlanpcp: 0 parent interface: {row['parent']}")
    if driver == "epair":
        lines += ["\tmedia: Ethernet 10Gbase-T (10Gbase-T <full-duplex>)", "\tstatus: active"]
    elif driver == "tap":
        lines += ["\tmedia: Ethernet autoselect", "\tstatus: no carrier"]
    elif driver not in ("bridge", "lo", "pflog", "gif", "tun"):
        lines += ["\tmedia: Ethernet 10Gbase-T <full-duplex>", "\tstatus: active"]
    return lines


def _nd6(row: dict[str, Any], major: int) -> list[str]:
    if row["driver"] == "pflog":
        return []
    if row["driver"] == "bridge":
        return ["\tnd6 options=1<PERFORMNUD>"]
    if row.get("physical") and row["driver"] != "lo" and not row["inet6"]:
        return ["\tnd6 options=29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>"]
    return ["\tnd6 options=21<PERFORMNUD,AUTO_LINKLOCAL>"]
