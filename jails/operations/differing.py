"""What the two plans about drift have in common: what is chosen of what differs, and whether it can be told at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from jails import drift as rows
from jails.freebsd.jailconf.write import normal
from jails.hosts import drift
from jails.hosts.drift import Comparison, Difference, Values, Wanted
from jails.hosts.facts import HostFacts
from jails.models import Drift, Host, Jail, Operation, Tenant
from jails.operations import adoption, common, jailfile, power, snapshots
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan
from jails.operations.wish import Wish

MOST = drift.MOST
NAMED_LINES = 3
"""Lines of a plan's summary, before the rest is counted."""


class DriftKind(Kind):
    """{"jail": uuid, "parameters": [names] or None for all that differ}."""

    told: ClassVar[str]
    """What the jail's tenant reads of it."""

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        """Nobody but staff sees the plan: it shows files of the host."""
        return None

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jail": wish.uuid("jail"), "parameters": wish.value("parameters")}
        if cleaned["parameters"] is not None:
            cleaned["parameters"] = _names(wish, cleaned["parameters"])
        cleaned |= snapshots.clean_first(self.name, wish)
        wish.refuse_wrong()
        return cleaned

    def look(self, request: Request) -> Look:
        """Raises Refused where there is nothing to compare, or nothing differs."""
        try:
            (row,) = self.jails(request.host, request.parameters)
        except LookupError as error:
            raise Refused(f"{error}.") from error
        found = Look(row, request.host, request.facts)
        found.require(request.parameters["parameters"])
        return found

    def finish(self, operation: Operation, plan: Plan) -> None:
        """What the next look would find as well. Nobody is told that it is gone: the operation says so."""
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        names = json.loads(dict(plan.result)["parameters"])
        Drift.objects.filter(jail=row, parameter__in=names).delete()
        adoption.tell_tenant(operation, row, self.told)


def _names(wish: Wish, given: Any) -> list[str]:
    if not isinstance(given, (list, tuple)) or not given:
        wish.wrong("parameters", "must name at least one parameter.")
        return []
    if len(given) > MOST:
        wish.wrong("parameters", f"names {len(given)} parameters; at most {MOST} are told of one jail.")
        return []
    for name in given:
        if not isinstance(name, str) or not 0 < len(name) <= 255 or not name.isprintable():
            wish.wrong("parameters", "must be names of parameters of jail.conf(5).")
            return []
    return sorted(set(given))


def keep_way_back(row: Jail, written: Mapping[str, str]) -> None:
    """Of an adopted jail: its files are as they should be, also for whoever gives it back. path → text."""
    after = row.way_back.get("after") or {}
    known = {path: text for path, text in written.items() if path in after and after[path] != text}
    if known:
        row.way_back = {**row.way_back, "after": {**after, **known}}
        Jail.objects.filter(pk=row.pk).update(way_back=row.way_back)


def parameters_result(chosen: Iterable[Difference]) -> tuple[str, str]:
    """For Plan.result, where `finish` finds it."""
    return "parameters", json.dumps(sorted(one.parameter for one in chosen))


@dataclass(frozen=True)
class Look:
    """A jail as it is wanted and as it is."""

    row: Jail
    host: Host
    facts: HostFacts

    def require(self, wanted: list[str] | None) -> None:
        row = self.row
        if row.state == Jail.State.PENDING:
            raise Refused(f"{row.name} is being made.")
        if row.is_kept and row.follows_host:
            made_by = row.get_manager_display() or "another tool"
            raise Refused(f"{row.name} is left to {made_by}, which alone says what it should be.")
        if not row.is_kept:
            raise Refused(f"Nothing says what {row.name} should be: the panel has not made or adopted it.")
        live = self.facts.jail(row.name)
        if row.managed and live is not None and not live.dying and live.path != row.path:
            raise Refused(f"{row.name}: another jail of this name runs; its root is {live.path}, expected {row.path}.")
        if not self.differences:
            raise Refused(f"{row.name} is as the panel wants it: nothing differs any more.")
        unknown = [name for name in wanted or () if name not in self.by_name]
        if wanted is not None and len(unknown) == len(wanted):
            raise Refused(f"{power.listed(unknown)} of {row.name}: nothing differs any more.")

    @cached_property
    def comparison(self) -> Comparison:
        return Comparison(self.facts)

    @cached_property
    def wanted(self) -> Wanted:
        try:
            return rows.wanted_of(self.row, rows.own_addresses(self.row))
        except ValueError as error:
            raise Refused(f"What {self.row.name} should be cannot be written: {error}") from error

    @cached_property
    def want(self) -> dict[str, Values]:
        """What is wanted, in one spelling."""
        return self.wanted.normal

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        return self.comparison.differences(self.wanted)

    @cached_property
    def by_name(self) -> dict[str, Difference]:
        return {one.parameter: one for one in self.differences}

    @cached_property
    def usual(self) -> dict[str, Values]:
        """What a new jail of the panel has, with this one's path, name and addresses; nothing of an adopted one."""
        if not self.row.managed:
            return {}
        return usual_of(self.row)

    def chosen(self, wanted: list[str] | None) -> tuple[Difference, ...]:
        """Those that are wanted, each with what it cannot be without: a family is inherited, or has addresses."""
        if wanted is None:
            return self.differences
        names = set(with_family(wanted))
        return tuple(one for one in self.differences if one.parameter in names)


def with_family(names: Iterable[str]) -> list[str]:
    """Each with what it cannot be without. What is planned and who may plan it is both asked of these names."""
    found = list(names)
    for version in (4, 6):
        family = [f"ip{version}", f"ip{version}.addr"]
        if set(family) & set(found):
            found += family
    return list(dict.fromkeys(found))


def usual_of(row: Jail) -> dict[str, Values]:
    """Of a managed jail, without what was accepted from its host as it is."""
    values = rows.file_of(row, rows.own_addresses(row)).usual()
    return drift.normal((normal(name, value) for name, value in values.items()), limits_of=row.name)


def baseline_of(row: Jail) -> dict[str, Values]:
    """What an operator could have made: the usual, without limits. Of an adopted jail nothing is."""
    if not row.managed:
        return {}
    file = jailfile.JailFile(row.name, str(row.uuid), row.path, row.hostname)
    return drift.normal(normal(name, value) for name, value in file.usual().items())


def lines(texts: Iterable[str]) -> tuple[str, ...]:
    """A summary that people read to its end."""
    found = list(texts)
    if len(found) > NAMED_LINES + 1:
        found = [*found[:NAMED_LINES], f"… and {len(found) - NAMED_LINES} more."]
    return tuple(found)
