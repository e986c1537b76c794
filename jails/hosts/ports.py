"""The port map of a host: who listens on which address and port, and who is in whose way.

Jails that share the host's network stack share its ports: a daemon of the host on every address answers on each
jail's address too, as long as the jail itself does not. A jail with a stack of its own (vnet) is in nobody's way.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from jails.freebsd.sockstat import Socket
from jails.hosts.facts import HostFacts, plain_address
from jails.hosts.survey import HostSurvey

SOMEBODY = "\0"
"""As the jail of a socket: a jail that may not be named. No jail can be called so."""
NAMED = 3
"""How many jails a sentence names before it counts the others."""


class Level(IntEnum):
    FINE = 0
    NEAR = 1
    CONFLICT = 2


@dataclass(frozen=True)
class Place:
    """A jail that shares the host's network stack. `every`: families (4, 6) of which it has all of the host's."""

    jail: str
    addresses: frozenset[str]
    running: bool
    every: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Entry:
    """One row: a process, or several of one name, that listens. `ip` "*" is every address its owner has.

    jail: "" for the host. why: one sentence for each thing that makes it `level`.
    """

    ip: str
    version: int
    port: int
    protocol: str
    jail: str
    command: str
    user: str
    pids: tuple[int, ...]
    level: Level = Level.FINE
    why: tuple[str, ...] = field(default=(), compare=False)

    @property
    def where(self) -> str:
        return where(self.ip, self.port)


def where(ip: str, port: int) -> str:
    """`192.0.2.10:22`, `[2001:db8::10]:22`, `*:22`."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def places(facts: HostFacts, given: Mapping[str, Iterable[str]] | None = None) -> tuple[Place, ...]:
    """The jails that share the stack: those that run, those of files, and what the panel has given to its own by name.

    A jail in a jail is in its parent's place only where it has addresses of its own.
    """
    found: dict[str, Place] = {}
    apart = {jail.name for jail in facts.jails if jail.vnet}
    if "jails" not in facts.missing:
        for jail in facts.jails:
            if jail.vnet or any(jail.name.startswith(f"{name}.") for name in apart):
                continue
            every = {number for number, sharing in ((4, jail.ip4), (6, jail.ip6)) if sharing == "inherit"}
            addresses = frozenset(map(plain_address, jail.addresses))
            found[jail.name] = Place(jail.name, addresses, running=not jail.dying, every=frozenset(every))
    if "files" not in facts.missing:
        for configured in facts.configured:
            if configured.name in found or configured.name in apart or _has_own_stack(configured.parameters):
                continue
            addresses = frozenset(map(plain_address, configured.addresses))
            found[configured.name] = Place(configured.name, addresses, running=False)
    for name, ips in (given or {}).items():
        if name not in found and name not in apart:
            found[name] = Place(name, frozenset(ips), running=False)
    return tuple(found.values())


def _has_own_stack(parameters: Iterable[tuple[str, tuple[str, ...]]]) -> bool:
    return any(name == "vnet" and (not values or values[-1] in ("new", "true", "1")) for name, values in parameters)


def port_map(sockets: Iterable[Socket], jails: Sequence[Place]) -> tuple[Entry, ...]:
    """All that listen on a port, in order of port and address, each with what it is in the way of."""
    known = _Known(jails)
    by_port: dict[tuple[str, int, int], list[Entry]] = defaultdict(list)
    for entry in _entries(sockets):
        by_port[entry.protocol, entry.version, entry.port].append(entry)
    judged = [entry for group in by_port.values() for entry in _Port(group, known).judged()]
    return tuple(sorted(judged, key=_order))


def blocking(sockets: Iterable[Socket], jail: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """Before a jail starts: who holds or covers its addresses by now, a sentence each."""
    ips = {plain_address(address) for address in addresses}
    found: dict[str, None] = {}
    entries = _entries(sockets)
    for entry in entries:
        if entry.jail != jail and entry.ip in ips:
            found[f"{_whose(entry)} holds {entry.where}."] = None
    for entry in entries:
        covered = sorted((ip for ip in ips if _version(ip) == entry.version), key=_address_order)
        if entry.ip == "*" and not entry.jail and covered:
            found[f"{_whose(entry)} listens on *:{entry.port}, {_COVERS} {_listed(covered)}."] = None
    return tuple(found)


_COVERS = "which covers"


def is_of_host(sentence: str) -> bool:
    """Whether a sentence of `blocking` is about a program of the host that keeps no jail from listening itself."""
    return _COVERS in sentence


def before_start(survey: HostSurvey, jail: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """`blocking`, where it is known who listens."""
    return blocking(survey.sockets, jail, addresses) if "sockets" not in survey.missing else ()


def _entries(sockets: Iterable[Socket]) -> list[Entry]:
    pids: dict[Entry, set[int]] = {}
    for socket in sockets:
        if socket.port is None:
            continue
        ip, _, _ = socket.ip.partition("%")
        entry = Entry(ip, socket.version, socket.port, socket.protocol, socket.jail, socket.command, socket.user, ())
        pids.setdefault(entry, set()).update({socket.pid} if socket.pid is not None else ())
    return [replace(entry, pids=tuple(sorted(numbers))) for entry, numbers in pids.items()]


class _Known:
    """The jails by name, and by address."""

    def __init__(self, jails: Sequence[Place]) -> None:
        self.jails = jails
        self.by_name = {place.jail: place for place in jails}
        self.by_address: dict[str, list[str]] = defaultdict(list)
        for place in jails:
            for ip in place.addresses:
                self.by_address[ip].append(place.jail)

    def held(self, entry: Entry) -> list[str] | None:
        """The addresses it answers on; None for all of the host's."""
        if entry.ip != "*":
            return [entry.ip]
        if not entry.jail:
            return None
        place = self.by_name.get(entry.jail)
        if place is None:
            return []
        return None if entry.version in place.every else _of(place, entry.version)


class _Port:
    """All that listen on one port, with one protocol and family."""

    def __init__(self, entries: Sequence[Entry], known: _Known) -> None:
        self.entries, self.known = entries, known
        self.listening = {entry.jail for entry in entries}
        self.everywhere: list[Entry] = []
        self.by_address: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            held = known.held(entry)
            if held is None:
                self.everywhere.append(entry)
            for ip in held or ():
                self.by_address[ip].append(entry)

    def judged(self) -> Iterator[Entry]:
        for entry in self.entries:
            conflicts, near = [*self._rivals(entry)], [*self._covers(entry), *self._shares(entry)]
            # A daemon that opens a socket for each address besides, as ntpd(8) does, means all of them.
            (near if self._is_everywhere(entry) else conflicts).extend(self._taken(entry))
            level = Level.CONFLICT if conflicts else Level.NEAR if near else Level.FINE
            yield replace(entry, level=level, why=(*conflicts, *near))

    def _is_everywhere(self, entry: Entry) -> bool:
        return any(one.command == entry.command and one.jail == entry.jail for one in self.everywhere)

    def _rivals(self, entry: Entry) -> Iterator[str]:
        """Others that want an address of it on this port now."""
        found: dict[Entry, str] = {}
        held = self.known.held(entry)
        for ip in self.by_address if held is None else held:
            for other in self.by_address.get(ip, ()):
                found.setdefault(other, ip)
        for other in self.everywhere:
            found.setdefault(other, held[0] if held else "*")
        rivals = [(other, ip) for other, ip in found.items() if other.jail != entry.jail]
        for other, ip in rivals[:NAMED]:
            yield f"{_whose(other)} wants {where(ip, entry.port)} too."
        if len(rivals) > NAMED:
            yield f"So do {len(rivals) - NAMED} more."

    def _taken(self, entry: Entry) -> Iterator[str]:
        """The host itself on an address that is a jail's."""
        holders = [name for name in self.known.by_address.get(entry.ip, ()) if name not in self.listening]
        if holders and not entry.jail:
            yield f"It is the address of {_listed(holders)}, which cannot listen there."

    def _covers(self, entry: Entry) -> Iterator[str]:
        if entry not in self.everywhere:
            return
        left = [place for place in self.known.jails if place.jail not in self.listening and _of(place, entry.version)]
        if left:
            yield f"Covers {_named(left, entry.version)}: it answers there as long as no jail does."

    def _shares(self, entry: Entry) -> Iterator[str]:
        """Another jail with the same address, which may not be running."""
        if not entry.jail or entry.ip == "*":
            return
        others = [name for name in self.known.by_address.get(entry.ip, ()) if name not in self.listening]
        if others:
            yield f"{_listed(others)} {'has' if len(others) == 1 else 'have'} this address too."


def _of(place: Place, version: int) -> list[str]:
    return sorted((ip for ip in place.addresses if _version(ip) == version), key=_address_order)


def _named(jails: Sequence[Place], version: int) -> str:
    shown = [f"{place.jail} ({', '.join(_of(place, version)[:2])})" for place in jails[:NAMED]]
    return _listed(shown, len(jails) - len(shown))


def _listed(words: Sequence[str], more: int = 0) -> str:
    if more or len(words) > NAMED:
        more += max(0, len(words) - NAMED)
        return f"{', '.join(words[:NAMED])} and {more} more"
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _whose(entry: Entry) -> str:
    if entry.jail == SOMEBODY:
        return "Somebody else's jail"
    command = entry.command if entry.command not in ("", "?") else "kernel"
    return f"Jail {entry.jail}'s {command}" if entry.jail else f"The host's {command}"


def _version(ip: str) -> int:
    return 6 if ":" in ip else 4


def _order(entry: Entry) -> tuple[object, ...]:
    return (entry.port, entry.protocol, entry.version, *_address_order(entry.ip), entry.jail, entry.command)


def _address_order(ip: str) -> tuple[int, int]:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return 0, 0
    return address.version, int(address)
