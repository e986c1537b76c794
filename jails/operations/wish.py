"""Reading the parameters of a wish one by one: each is checked by itself, without looking at any host.

wish = Wish(parameters)
cleaned = {"name": wish.text("name", names.jail_name_error), "boot": wish.flag("boot")}
wish.refuse_wrong()
return cleaned
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from jails.freebsd import names, parameters, rctl
from jails.operations.jailfile import LIMITS, RULES
from jails.operations.kind import Refused

QUOTA_MIN, QUOTA_MAX = 1 << 20, 1 << 60
"""Bytes: a jail with less than a mebibyte is a mistake in the unit."""
LEAST = {"memory": 16 << 20, "cpu": 1, "processes": 10}
"""With less of it no jail starts: /etc/rc alone has several processes at a time."""
ID_MAX = 2**63 - 1


class Wish:
    """Takes each parameter once; what is wrong with them is gathered in `errors`, by name."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = dict(given)
        self.errors: dict[str, str] = {}
        self._taken: set[str] = set()

    def refuse_wrong(self) -> None:
        """Raises Refused with all that is wrong, parameters that nobody has asked for among it."""
        for name in self.given:
            if name not in self._taken:
                self.errors.setdefault(str(name)[:60], "is not a parameter of this operation.")
        if self.errors:
            raise Refused(self.errors)

    def wrong(self, name: str, problem: str) -> None:
        self.errors.setdefault(name, problem)

    def text(self, name: str, check: names.Check, default: str | None = None) -> str:
        """Text that `check` finds nothing wrong with. Without a default it must be there."""
        value = self._take(name)
        if value in (None, "") and default is not None:
            return default
        if not isinstance(value, str):
            self.wrong(name, "is missing." if value is None else "must be text.")
            return ""
        problem = check(value)
        if problem:
            self.wrong(name, problem)
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        return self.text(
            name, lambda value: None if value in choices else f"must be one of {', '.join(choices)}.", default=None
        )

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(name, "must be true or false.")
        return value is True

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int | None:
        """A whole number; the default where it is missing."""
        value = self._take(name)
        if value is None:
            return default
        return self._number(name, value, low, high)

    def key(self, name: str) -> int | None:
        """The id of a row, or None."""
        return self.number(name, 1, ID_MAX)

    def required_key(self, name: str) -> int:
        value = self.key(name)
        if value is None:
            self.wrong(name, "is missing.")
        return value or 0

    def uuid(self, name: str) -> str:
        """A jail's, as its canonical text."""
        value = self._take(name)
        if value is None:
            self.wrong(name, "is missing.")
            return ""
        return self._uuid(name, value)

    def uuids(self, name: str) -> list[str]:
        """Of several jails, at least one, each once, in the order given."""
        value = self._take(name)
        if not isinstance(value, (list, tuple)) or not value:
            self.wrong(name, "names no jail.")
            return []
        return list(dict.fromkeys(self._uuid(name, item) for item in value))

    def addresses(self, name: str = "addresses") -> list[dict[str, Any]]:
        """[{"network": id, "ip": "192.0.2.10"}], each address once and in its shortest form."""
        value = self._take(name)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)):
            self.wrong(name, "must be a list of addresses.")
            return []
        found = [address for item in value if (address := self._address(name, item))]
        if len({address["ip"] for address in found}) != len(found):
            self.wrong(name, "names an address twice.")
        return found

    def limits(self, name: str = "limits") -> dict[str, int | None]:
        """quota in bytes or None, children_max, securelevel, enforce_statfs; errors are those of each by its name.

        Also memory in bytes, cpu in per cent of one CPU and processes, each or None, where they are given.
        """
        value = self._take(name)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            self.wrong(name, "must name quota, children_max, securelevel and enforce_statfs.")
            value = {}
        inner = Wish(value)
        limits = {
            "quota": inner.number("quota", QUOTA_MIN, QUOTA_MAX),
            "children_max": inner.number("children_max", 0, 1000, 0),
            "securelevel": inner.number("securelevel", -1, 3, -1),
            "enforce_statfs": inner.number("enforce_statfs", 0, 2, 2),
        }
        limits |= {rule: inner.number(rule, LEAST[rule], rctl.MOST[rule]) for rule in RULES if rule in value}
        for limit, parameter in LIMITS.items():
            if limit not in inner.errors and (problem := parameters.validate(parameter, limits[limit])):
                inner.wrong(limit, problem)
        for unknown in value.keys() - limits.keys():
            inner.wrong(str(unknown)[:60], "is not a limit.")
        for limit, problem in inner.errors.items():
            self.wrong(limit, problem)
        return limits

    def take(self, name: str) -> Any:
        """As it was given, unchecked; None where it is missing."""
        return self._take(name)

    def value(self, name: str) -> Any:
        """Anything: who asks checks it."""
        return self._take(name)

    def _take(self, name: str) -> Any:
        self._taken.add(name)
        return self.given.get(name)

    def _number(self, name: str, value: Any, low: int, high: int) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(name, "must be a whole number.")
            return None
        if not low <= value <= high:
            self.wrong(name, f"must be {low} to {high}.")
            return None
        return value

    def _uuid(self, name: str, value: Any) -> str:
        try:
            return str(UUID(value)) if isinstance(value, str) else self._no_jail(name)
        except ValueError:
            return self._no_jail(name)

    def _no_jail(self, name: str) -> str:
        self.wrong(name, "must be the uuid of a jail.")
        return ""

    def _address(self, name: str, item: Any) -> dict[str, Any] | None:
        if not isinstance(item, Mapping) or set(item) != {"network", "ip"}:
            self.wrong(name, "each must have a network and an ip.")
            return None
        network, ip = item["network"], item["ip"]
        if isinstance(network, bool) or not isinstance(network, int) or not 1 <= network <= ID_MAX:
            self.wrong(name, "a network must be given by its id.")
            return None
        if not isinstance(ip, str):
            self.wrong(name, "an address must be text.")
            return None
        check: Callable[[str], str | None] = names.ip6_error if ":" in ip else names.ip4_error
        problem = check(ip) or ("must be given without a prefix length." if "/" in ip else None)
        if problem:
            self.wrong(name, f"{ip[:64]!r} {problem}")
            return None
        return {"network": network, "ip": str(ipaddress.ip_address(ip))}
