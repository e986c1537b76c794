"""Reading a fleet's file. Each value is checked by itself; what is wrong is named by its table and key.

A key that is not there means: as it is; for what is new, the panel's default.
"""

from __future__ import annotations

import ipaddress
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from jails.freebsd import fetch, names, rctl
from jails.freebsd.names import Check
from jails.hosts.hostkey import HostKey
from jails.models import Host, Jail
from jails.models.release import Storage
from jails.operations.wish import LEAST
from panel.forms.fields import parse_size
from panel.forms.hosts import address_error
from panel.forms.networks import cidr_error
from panel.forms.people import checked_label

FORMAT = 1
LONGEST = 16_000_000
"""Bytes of a file."""
NO_QUOTA = "none"
NOBODY = ""
"""The tenant of what belongs to no tenant."""


class Unreadable(Exception):
    """The file cannot be taken; `problems` are sentences that begin with the table and key."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Wish:
    """One table of the file: `path` is its name, `given` what stands in it, checked."""

    path: str
    name: str
    given: Mapping[str, Any]

    def at(self, key: str, problem: str) -> str:
        """A sentence about one of its keys."""
        return f"{self.path}.{key}: {problem}"


@dataclass(frozen=True)
class HostWish(Wish):
    networks: tuple[Wish, ...] = ()
    releases: tuple[Wish, ...] = ()
    templates: tuple[Wish, ...] = ()
    jails: tuple[Wish, ...] = ()


@dataclass(frozen=True)
class Fleet:
    tenants: tuple[Wish, ...] = ()
    networks: tuple[Wish, ...] = ()
    hosts: tuple[HostWish, ...] = ()


def read(content: bytes) -> Fleet:
    """Raises Unreadable with all that is wrong."""
    if len(content) > LONGEST:
        raise Unreadable(f"The file has {len(content)} bytes; expected {LONGEST} at most.")
    try:
        data = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise Unreadable(f"The file is not text in UTF-8 (byte {error.start}).") from error
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"The file is not TOML: {error}.") from error
    except (RecursionError, ValueError) as error:
        # tomllib lets int() refuse numbers of too many digits.
        raise Unreadable("The file is not TOML that can be read: it has too many brackets or digits.") from error
    problems: list[str] = []
    root = _Table("", data, problems)
    if root.number("format", 1, FORMAT) is None:
        root.wrong("format", f"is missing: it must be {FORMAT}")
    fleet = Fleet(
        tenants=tuple(map(_tenant, root.tables("tenants", names.tenant_error))),
        networks=tuple(map(_network, root.tables("networks", names.jail_name_error))),
        hosts=tuple(map(_host, root.tables("hosts", names.jail_name_error))),
    )
    root.refuse_unknown()
    if problems:
        raise Unreadable(*problems)
    return fleet


def _tenant(table: _Table) -> Wish:
    table.text("name", _label_error)
    return table.wish()


def _network(table: _Table) -> Wish:
    table.text("cidr", cidr_error, needed=True)
    table.text("interface", _or_empty(names.interface_error))
    return table.wish()


def _host(table: _Table) -> HostWish:
    table.choice("kind", Host.Kind.values)
    table.text("address", _or_empty(address_error))
    table.number("port", 1, 65535)
    table.text("username", names.user_name_error)
    table.choice("become", ["", *Host.Become.values])
    table.text("host_key", _host_key_error)
    table.text("directory", names.path_error)
    table.text("pool", _or_empty(names.pool_error))
    table.text("jail_root", names.path_error)
    table.text("interface", _or_empty(names.interface_error))
    table.text("worker", _worker_error)
    networks = tuple(map(_network, table.tables("networks", names.jail_name_error)))
    releases = tuple(map(_release, table.list_of_tables("releases")))
    templates = tuple(map(_template, table.tables("templates", names.jail_name_error)))
    jails = tuple(map(_jail, table.tables("jails", names.jail_name_error)))
    _refuse_twice(releases, table)
    wish = table.wish()
    return HostWish(wish.path, wish.name, wish.given, networks, releases, templates, jails)


def _refuse_twice(releases: Sequence[Wish], table: _Table) -> None:
    keys = [(wish.name, wish.given.get("architecture", "")) for wish in releases]
    if len(set(keys)) != len(keys):
        table.wrong("releases", "names a release twice")


def _release(table: _Table) -> Wish:
    table.text("name", names.release_error, needed=True)
    table.text("architecture", names.arch_error)
    table.text("source", fetch.source_error)
    wish = table.wish()
    return Wish(wish.path, wish.given.get("name", ""), wish.given)


def _template(table: _Table) -> Wish:
    table.text("jail", names.jail_name_error)
    table.text("tenant", _or_empty(names.tenant_error))
    table.flag("published")
    if table.given.get("published") and table.given.get("tenant"):
        table.wrong("tenant", "must be empty: what is published belongs to no tenant")
    return table.wish()


def _jail(table: _Table) -> Wish:
    table.flag("absent")
    if table.given.get("absent"):
        # Whatever else the file still says of it says nothing any more.
        table.leave_the_rest()
        return table.wish()
    table.flag("adopted")
    table.choice("kind", [Jail.Kind.THICK.value, Jail.Kind.THIN.value])
    table.choice("storage", Storage.values)
    table.text("release", names.release_error)
    table.text("template", names.jail_name_error)
    table.text("hostname", names.hostname_error)
    table.addresses("addresses")
    table.flag("boot")
    table.flag("running")
    table.text("tenant", _or_empty(names.tenant_error))
    table.size("quota")
    table.size("memory")
    table.number_or_none("cpu", LEAST["cpu"], rctl.MOST["cpu"])
    table.number_or_none("processes", LEAST["processes"], rctl.MOST["processes"])
    table.number("children_max", 0, 1000)
    table.number("securelevel", -1, 3)
    table.number("enforce_statfs", 0, 2)
    if "release" in table.given and "template" in table.given:
        table.wrong("template", "cannot stand beside release: a jail is made from one of them")
    if table.given.get("adopted"):
        for key in sorted(table.given.keys() - {"adopted", "running", "tenant"}):
            table.wrong(key, "is not the panel's to decide: the jail is adopted, and has a definition of its own")
    return table.wish()


class _Table:
    """A table of the file: each key is taken once, what nobody has taken is refused."""

    def __init__(self, path: str, data: Any, problems: list[str], name: str = "") -> None:
        self.path, self.name, self.problems = path, name, problems
        self.given: dict[str, Any] = {}
        self._data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        self._taken: set[str] = set()
        if not isinstance(data, dict):
            self.problems.append(f"{path}: must be a table, not {_kind_of(data)}.")

    def wish(self) -> Wish:
        self.refuse_unknown()
        return Wish(self.path, self.name, self.given)

    def wrong(self, key: str, problem: str) -> None:
        self.problems.append(f"{_join(self.path, key)}: {problem.rstrip('.')}.")

    def has(self, key: str) -> bool:
        return key in self._data

    def refuse_unknown(self) -> None:
        for key in self._data:
            if key not in self._taken:
                self.wrong(key, "is nothing that this file can say")

    def leave_the_rest(self) -> None:
        self._taken |= self._data.keys()

    def text(self, key: str, check: Check, *, needed: bool = False) -> None:
        value = self._take(key, str, "text")
        if value is None:
            if needed and not self.has(key):
                self.wrong(key, "is missing")
            return
        if problem := check(value):
            self.wrong(key, f"{_shown(value)} {problem}")
        else:
            self.given[key] = value

    def choice(self, key: str, choices: Sequence[str]) -> None:
        words = ", ".join(choice or '""' for choice in choices)
        self.text(key, lambda value: None if value in choices else f"is none of {words}")

    def flag(self, key: str) -> None:
        value = self._take(key, bool, "true or false")
        if value is not None:
            self.given[key] = value

    def number(self, key: str, low: int, high: int) -> int | None:
        value = self._take(key, int, "a whole number")
        if value is None:
            return None
        if not low <= value <= high:
            self.wrong(key, f"must be {low} to {high}" if low < high else f"must be {low}")
            return low
        self.given[key] = value
        return int(value)

    def number_or_none(self, key: str, low: int, high: int) -> None:
        """A number, or `none`: then None is given."""
        if self._data.get(key) == NO_QUOTA:
            self._take(key, str, "a number")
            self.given[key] = None
        else:
            self.number(key, low, high)

    def size(self, key: str) -> None:
        """Bytes, `10 GiB`, or `none`: then None is given."""
        value = self._data.get(key)
        if isinstance(value, int):
            value = self._take(key, int, "a size")
            value = None if value is None else str(value)
        else:
            value = self._take(key, str, "a size like “10 GiB”")
        if value is None:
            return
        try:
            self.given[key] = None if value == NO_QUOTA else parse_size(value)
        except forms.ValidationError as error:
            self.wrong(key, f"{_shown(value)} {error.messages[0]}")

    def addresses(self, key: str) -> None:
        """[{network = "office", ip = "192.0.2.10"}], where `shared = true` tells a shared network of that name from
        one of the host's own."""
        value = self._take(key, list, "a list of addresses")
        if value is None:
            return
        found = []
        for number, item in enumerate(value):
            table = _Table(f"{_join(self.path, key)}[{number}]", item, self.problems)
            table.text("network", names.jail_name_error, needed=True)
            table.text("ip", _ip_error, needed=True)
            table.flag("shared")
            wish = table.wish()
            if {"network", "ip"} <= wish.given.keys():
                ip = str(ipaddress.ip_address(wish.given["ip"]))
                found.append({"network": wish.given["network"], "ip": ip, "shared": wish.given.get("shared", False)})
        if len({one["ip"] for one in found}) != len(found):
            self.wrong(key, "names an address twice")
        self.given[key] = found

    def tables(self, key: str, check: Check) -> Iterator[_Table]:
        """The tables in a table, by name; in the order of their names."""
        value = self._take(key, dict, "tables with names")
        for name in sorted(value or {}):
            path = _join(_join(self.path, key), name)
            if problem := check(name):
                self.problems.append(f"{path}: {_shown(name)} {problem.rstrip('.')}.")
            else:
                yield _Table(path, (value or {})[name], self.problems, name)

    def list_of_tables(self, key: str) -> Iterator[_Table]:
        value = self._take(key, list, "a list of tables")
        for number, item in enumerate(value or []):
            yield _Table(f"{_join(self.path, key)}[{number}]", item, self.problems)

    def _take(self, key: str, kind: type, words: str) -> Any:
        self._taken.add(key)
        if key not in self._data:
            return None
        value = self._data[key]
        if type(value) is not kind:
            self.wrong(key, f"must be {words}, not {_kind_of(value)}")
            return None
        return value


def _join(path: str, key: str) -> str:
    part = key if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", key) else _shown(key)
    return f"{path}.{part}" if path else part


def _shown(value: str) -> str:
    """Of what may be hostile: in quotes, in ASCII, not too much of it."""
    return json.dumps(value if len(value) <= 60 else f"{value[:59]}…").replace("\x7f", "\\u007f")


def _kind_of(value: Any) -> str:
    kinds = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def _or_empty(check: Check) -> Check:
    return lambda value: check(value) if value else None


def _label_error(value: str) -> str | None:
    if not value.strip() or len(value) > 100:
        return "must have 1 to 100 characters"
    return _refusal(checked_label, value)


def _worker_error(value: str) -> str | None:
    return None if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value) else "must be letters, digits, “.”, “_” and “-”"


def _host_key_error(value: str) -> str | None:
    if not value:
        return None
    if len(value) > 2000 or names.text_error(value):
        return "is no line of a known_hosts file"
    try:
        HostKey.parse(value)
    except ValueError:
        return "is no public key; expected its type and base64, as in known_hosts"
    return None


def _ip_error(value: str) -> str | None:
    if "/" in value:
        return "must be given without a prefix length"
    return names.ip6_error(value) if ":" in value else names.ip4_error(value)


def _refusal(clean: Callable[[str], Any], value: str) -> str | None:
    try:
        clean(value)
    except forms.ValidationError as error:
        return str(error.messages[0])
    return None
