"""What the checks of a host are asked about, and what they answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from jails.freebsd import rcconf
from jails.freebsd.sockstat import Socket
from jails.hosts.facts import HostFacts, Missing, plain_address
from jails.hosts.survey import HostSurvey


class Status(StrEnum):
    """How a check came out. `unknown` is worse than `pass`: it says that nobody has looked."""

    PASS = "pass"  # noqa: S105
    UNKNOWN = "unknown"
    WARN = "warn"
    FAIL = "fail"

    @property
    def weight(self) -> int:
        return list(Status).index(self)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    reason: in whole sentences, with what was found. man: the page that tells more, `syslogd(8)`. fix: the key of what
    puts it right (jails/operations/fixes) with `parameters` for it, "" where no command can. advice: what a person
    does then.
    """

    key: str
    status: Status
    title: str
    reason: str
    man: str
    fix: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    advice: str = ""


@dataclass(frozen=True)
class Look:
    """All that the checks go by.

    facts and survey: None where the host has not been looked at yet. pool: where new jails go, "" for the first pool.
    private: names of the panel's networks whose jails only reach out through NAT. now: the panel's clock, in seconds
    since 1970. iocage: whether there are jails of it.
    """

    facts: HostFacts | None
    survey: HostSurvey | None
    now: float
    pool: str = ""
    private: tuple[str, ...] = ()
    iocage: bool = False

    @property
    def known(self) -> HostFacts:
        """The facts. Raises Missing."""
        if self.facts is None:
            raise Missing("all of it", "the host has not answered yet")
        return self.facts

    @property
    def seen(self) -> HostSurvey:
        """The survey. Raises Missing."""
        if self.survey is None:
            raise Missing("this", "the host has not been checked yet")
        return self.survey

    @cached_property
    def rc(self) -> rcconf.RcConf:
        """Raises Missing."""
        return rcconf.parse(self.known.rc_conf)

    def sysctl(self, name: str) -> str:
        """ "" where this kernel does not know it. Raises Missing."""
        self.seen.require("sysctls")
        return self.seen.sysctls.get(name, "")

    @cached_property
    def jail_addresses(self) -> dict[str, str]:
        """Address → the jail that has it, running or configured, in its shortest form."""
        found: dict[str, str] = {}
        if self.facts is None:
            return found
        if "files" not in self.facts.missing:
            for configured in self.facts.configured:
                found |= {plain_address(ip): configured.name for ip in configured.addresses}
        for jail in self.facts.jails:
            found |= {plain_address(ip): jail.name for ip in jail.addresses}
        return found

    @cached_property
    def host_sockets(self) -> tuple[Socket, ...]:
        """Of processes of the host itself. Raises Missing."""
        self.seen.require("sockets")
        return tuple(socket for socket in self.seen.sockets if not socket.jail and socket.port is not None)

    def exposed(self, sockets: Iterable[Socket]) -> list[Socket]:
        """Those on every address, or on one that is a jail's."""
        return [one for one in sockets if one.ip == "*" or plain_address(one.ip) in self.jail_addresses]

    def own_addresses(self) -> list[str]:
        """Of the host's interfaces, without loopback, link-local ones and those of jails: the first manages it."""
        if self.facts is None:
            return []
        found = []
        for interface in self.facts.interfaces:
            for address in interface.addresses:
                ip = ipaddress.ip_address(plain_address(address.ip))
                if not (ip.is_loopback or ip.is_link_local) and str(ip) not in self.jail_addresses:
                    found.append(str(ip))
        return list(dict.fromkeys(found))


def places(sockets: Iterable[Socket]) -> str:
    """`*:514 (udp4, udp6)` for several at one place."""
    found: dict[str, list[str]] = {}
    for one in sockets:
        where = f"[{one.ip}]:{one.port}" if ":" in one.ip else f"{one.ip}:{one.port}"
        if one.proto not in found.setdefault(where, []):
            found[where].append(one.proto)
    return ", ".join(f"{where} ({', '.join(sorted(protos))})" for where, protos in found.items())


def listed(names: Iterable[str], most: int = 6) -> str:
    """`a, b and 3 more`."""
    all_names = list(names)
    if len(all_names) <= most:
        return ", ".join(all_names)
    return f"{', '.join(all_names[: most - 1])} and {len(all_names) - most + 1} more"
