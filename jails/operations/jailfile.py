"""The /etc/jail.conf.d/NAME.conf that the panel writes: ordinary jail.conf(5), complete in one file.

rc.d/jail reads it alone, without the globals of /etc/jail.conf, so all that matters stands in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jails.freebsd import jailconf, names, parameters, rctl
from jails.freebsd.jailconf.effective import same_option
from jails.freebsd.parameters import Setter, Value
from jails.hosts import drift
from jails.models import Release, Template
from jails.operations import layout

HEADER = "{name}: managed by Cellblock. What is changed here by hand is shown as drift and kept.\nuuid: {uuid}"
_HEAD = re.compile(
    r"# (?P<name>[^\s:]{1,255}): managed by Cellblock\.[^\n]*\n# uuid: (?P<uuid>[0-9a-f-]{36})\n"
    r"(?P<notes>(?:# (?:tenant|from): [^\n]{1,300}\n){0,2})"
)
LIMITS: Mapping[str, str] = {
    "children_max": "children.max",
    "securelevel": "securelevel",
    "enforce_statfs": "enforce_statfs",
}
"""Names of Jail.limits that are parameters of jail(8); `quota` is a property of the dataset."""
RULES = tuple(rctl.RESOURCES)
"""Names of Jail.limits that are rules of rctl(8): set when the jail starts and taken away when it stops, by its file.

/etc/rctl.conf would hold them as well, but for all jails in one file, for good, and whether or not the jail is there.
"""
HOOKS = ("exec.prestart", "exec.poststop")
"""Parameters that hold the commands for RULES, beside whatever else stands in them."""


@dataclass(frozen=True)
class Address:
    """One address of a jail, as its file has it: on an interface, which jail(8) gives it to at start."""

    ip: str
    interface: str
    prefix: int

    def __str__(self) -> str:
        return f"{self.interface}|{self.ip}/{self.prefix}"

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """`em0|192.0.2.5/24`; None where a part is missing, or there is more to it."""
        interface, bar, rest = text.strip().rpartition("|")
        try:
            address = ipaddress.ip_interface(rest)
        except ValueError:
            return None
        return cls(str(address.ip), interface, address.network.prefixlen) if bar and interface else None

    @property
    def version(self) -> int:
        return ipaddress.ip_address(self.ip).version


@dataclass(frozen=True)
class JailFile:
    """What decides the text of the file. `limits` are those of Jail.limits without the quota, `more` is Jail.wanted.

    `notes`: what a database that is rebuilt from hosts needs and nothing else on them says (`notes_of`).
    """

    name: str
    uuid: str
    path: str
    hostname: str
    addresses: tuple[Address, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict, hash=False)
    more: Mapping[str, Sequence[str] | None] = field(default_factory=dict, hash=False)
    notes: Mapping[str, str] = field(default_factory=dict, hash=False)

    def parameters(self) -> dict[str, Value]:
        """jail.conf(5) parameters in the order people read them. ValueError names the one that is not right."""
        values = self.usual()
        for name, wanted in self.more.items():
            _add(values, name, wanted)
        return values

    def usual(self) -> dict[str, Value]:
        """The same without what was accepted from the host as it is."""
        names.require("name", self.name, names.jail_name_error)
        values: dict[str, Value] = {
            "path": names.require("path", self.path, names.path_error),
            "host.hostname": names.require("hostname", self.hostname, names.hostname_error),
        }
        for version in (4, 6):
            mine = tuple(str(address) for address in self.addresses if address.version == version)
            values |= {f"ip{version}.addr": mine} if mine else {f"ip{version}": "disable"}
        values |= {
            # Without it the jail would be gone with its last process, and its mounts and aliases would stay.
            "persist": True,
            "exec.clean": True,
            **rule_commands(self.name, self.limits),
            "exec.start": "/bin/sh /etc/rc",
            "exec.stop": "/bin/sh /etc/rc.shutdown",
            "exec.consolelog": layout.console_log(self.name),
            "exec.timeout": 120,
            "stop.timeout": 30,
            "mount.devfs": True,
            "devfs_ruleset": 4,
        }
        limits = {"enforce_statfs": 2, "children_max": 0, "securelevel": -1, **self.limits}
        values |= {LIMITS[name]: limits[name] for name in LIMITS if not is_default(name, limits[name])}
        for name, value in values.items():
            if problem := parameters.validate(name, value):
                raise ValueError(problem)
        return values

    def text(self) -> str:
        notes = (f"\n{key}: {value}" for key, value in self.notes.items() if value)
        header = HEADER.format(name=self.name, uuid=self.uuid) + "".join(notes)
        return jailconf.render_jail(self.name, self.parameters(), header=header)


def _add(values: dict[str, Value], name: str, wanted: Sequence[str] | None) -> None:
    """Of addresses, these are more than those of the panel's networks, and of commands before a start and after a stop
    more than those for limits; anything else takes the place of the usual."""
    before = values.get(name)
    for old in [old for old in values if same_option(old, name)]:
        del values[old]
    if name in HOOKS and isinstance(before, tuple):
        more = tuple(wanted or ())
        values[name] = (*before, *more) if name == "exec.prestart" else (*more, *before)
        return
    if wanted is None:
        return
    if name in ("ip4.addr", "ip6.addr"):
        values.pop(name.removesuffix(".addr"), None)
        known = before if isinstance(before, tuple) else ()
        values[name] = (*known, *(one for one in wanted if one not in known))
    else:
        values[name] = drift.for_file(name, tuple(wanted))


@dataclass(frozen=True)
class Head:
    """What the comment at the top of a file says. `tenant` is a slug, `base` as `base_name` has it; each may be ""."""

    name: str
    uuid: str
    tenant: str = ""
    base: str = ""


def head_of(text: str) -> Head | None:
    """None for a file that the panel did not write."""
    found = _HEAD.match(text)
    if found is None:
        return None
    notes = dict(line.removeprefix("# ").split(": ", 1) for line in found["notes"].splitlines())
    return Head(found["name"], found["uuid"], notes.get("tenant", ""), notes.get("from", ""))


def with_tenant(text: str, tenant: str) -> str:
    """The text with another owner in the comment at its top; as it is where that is not the panel's."""
    found, head = _HEAD.match(text), head_of(text)
    if found is None or head is None:
        return text
    notes = notes_of(tenant, head.base)
    lines = "".join(f"# {key}: {value}\n" for key, value in notes.items() if value)
    return text[: found.start("notes")] + lines + text[found.end("notes") :]


def notes_of(tenant: str, base: str) -> dict[str, str]:
    """For a jail on UFS. On ZFS the dataset says it: by its place below its tenant's, and by its properties."""
    return {"tenant": tenant, "from": base}


def base_name(base: Release | Template | None) -> str:
    """`release 14.2-RELEASE-amd64`, `template web`, or ""."""
    if base is None:
        return ""
    return f"release {base.name}-{base.architecture}" if isinstance(base, Release) else f"template {base.name}"


def in_file(limits: Mapping[str, int | None]) -> dict[str, int]:
    """Those of Jail.limits that its file says: all but the quota."""
    return {key: value for key, value in limits.items() if key in (*LIMITS, *RULES) and value is not None}


def rule_commands(name: str, limits: Mapping[str, int | None]) -> dict[str, tuple[str, ...]]:
    """exec.prestart and exec.poststop with the limits of rctl(8); nothing where there are none."""
    if all(limits.get(limit) is None for limit in RULES):
        return {}
    return {"exec.prestart": (rctl.prestart(name, limits),), "exec.poststop": (rctl.poststop(name, limits),)}


def with_rules(
    document: jailconf.Document,
    name: str,
    given: Mapping[str, Sequence[str]],
    limits: Mapping[str, int | None],
    *,
    called: str = "",
    others: Mapping[str, Sequence[str]] | None = None,
) -> jailconf.Document:
    """The file with these limits of rctl(8), and other commands as they are. EditRefused as Document.set.

    given: its parameters as they are read. called: the name that its commands have of it, where that is another one.
    others: of HOOKS, the other commands where they are not to be as they are.
    """
    wanted = rule_commands(name, limits)
    for parameter in HOOKS:
        before = given.get(parameter, ())
        kept = [one for one in before if not _is_rule_command(called or name, parameter, one)]
        kept = list((others or {}).get(parameter, kept))
        # First before others start anything, and last when others have stopped it.
        ours = list(wanted.get(parameter, ()))
        after = [*ours, *kept] if parameter == "exec.prestart" else [*kept, *ours]
        if tuple(after) == tuple(before):
            continue
        document = document.set(name, parameter, after) if after else document.remove(name, parameter)
    return document


def _is_rule_command(name: str, parameter: str, command: str) -> bool:
    if parameter == "exec.prestart":
        return rctl.limits_of_prestart(name, command) is not None
    return rctl.is_poststop(name, command)


def is_default(name: str, value: int) -> bool:
    return {"children_max": 0, "securelevel": -1}.get(name) == value


def widened(limits: Mapping[str, int | None]) -> list[str]:
    """Which parameters of these limits only an administrator may set so: they give the jail more than it has."""
    safe = {"children_max": 0, "enforce_statfs": 2}
    return [
        parameter
        for name, parameter in LIMITS.items()
        if limits.get(name) is not None
        and limits[name] != safe.get(name)
        and name in safe
        and parameters.setter(parameter) >= Setter.ADMINISTRATOR
    ]


def addresses_in(parameters_of: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """ip4.addr and ip6.addr of a parsed file, as written."""
    return tuple(value for name, values in parameters_of if name in ("ip4.addr", "ip6.addr") for value in values)
