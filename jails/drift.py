"""What drift there is, kept as rows: made at each refresh of a host, and told to the log once.

jails/hosts/drift.py compares one jail; here is what the panel wants of a jail's row, and what becomes of the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Prefetch, Q

from jails import audit, plans
from jails.freebsd import parameters, rctl
from jails.freebsd.jailconf.write import normal
from jails.freebsd.parameters import Kind
from jails.hosts import drift
from jails.hosts.drift import Comparison, Difference, Values, Wanted
from jails.hosts.facts import HostFacts, Missing
from jails.models import Address, AuditEntry, Drift, Host, Jail
from jails.operations import jailfile

log = logging.getLogger(__name__)

LOGGED = frozenset({Kind.BOOLEAN, Kind.INTEGER, Kind.CHOICE, Kind.HOSTNAME, Kind.IP4, Kind.IP6})
"""Kinds of parameters whose values stand in the log, which nobody can take back and a jail's tenant reads. Commands
and free text may hold a password. Of a tenant's jail it holds no paths and interfaces of the host either."""
NOT_KEPT = ["(not kept in the log)"]
ACTOR = audit.PANEL


IS_KEPT = Q(managed=True) | ~Q(adoption__in=["", Jail.Adoption.BESIDE])
"""The jails of which the panel says what they should be."""
IS_MARKED = Exists(Drift.objects.filter(jail=OuterRef("pk"), unheld=False))
"""Of jails: whether something differs that somebody has done, and can put right."""


def is_compared(row: Jail) -> bool:
    return row.is_kept and not row.follows_host and row.state != Jail.State.PENDING


def file_of(row: Jail, addresses: Sequence[Address]) -> jailfile.JailFile:
    """As jails.operations.common.file_of, with addresses that are read already."""
    limits = jailfile.in_file(row.limits)
    given = tuple(jailfile.Address(one.ip, one.interface, one.prefix) for one in addresses)
    return jailfile.JailFile(row.name, str(row.uuid), row.path, row.hostname, given, limits, row.wanted)


def wanted_of(row: Jail, addresses: Sequence[Address]) -> Wanted:
    """What the panel wants of a jail. ValueError where its row holds what no file could say."""
    if not row.managed:
        return Wanted(row.name, row.config_path, _of_adopted(row), boot=row.boot, tree=row.path)
    values = file_of(row, addresses).parameters()
    given = dict(normal(name, value) for name, value in values.items())
    return Wanted(row.name, row.config_path, given, boot=row.boot, path=row.path, tree=row.path, limited=True)


def _of_adopted(row: Jail) -> dict[str, Values]:
    return {name: None if values is None else tuple(values) for name, values in row.wanted.items()}


def own_addresses(row: Jail) -> list[Address]:
    """Without those that an operation has only reserved."""
    return list(row.addresses.filter(operation=None).order_by("pk"))


def differences(row: Jail, facts: HostFacts) -> tuple[Difference, ...]:
    """Of one jail as the host is now. Raises Missing, or ValueError as wanted_of does."""
    return Comparison(facts).differences(wanted_of(row, own_addresses(row)))


def of_rows(rows: Iterable[Drift]) -> list[Difference]:
    """Drift that is kept, as differences again: for words."""
    return [
        Difference(row.parameter, _values(row.wanted), _values(row.configured), _values(row.running), *_where(row))
        for row in rows
    ]


def _values(column: Any) -> Values:
    return None if column is None else tuple(map(str, column))


def _where(row: Drift) -> tuple[bool, bool]:
    wanted, configured, running = (_values(one) for one in (row.wanted, row.configured, row.running))
    in_file = not drift.same(row.parameter, wanted, configured)
    return in_file, running is not None and not drift.runs_so(row.parameter, wanted, running)


# At a refresh


def store(host: Host, facts: HostFacts, busy: Collection[str], at: datetime) -> None:
    """Make, change and remove the rows of a host's jails: the last thing in the refresh's transaction.

    As many queries for a thousand jails as for one. `busy`: names of jails that an operation changes or has changed
    since the facts were asked for; they are left alone. Where files or jails could not be read all are.
    """
    try:
        comparison = Comparison(facts)
    except Missing:
        return
    has_rows = Exists(Drift.objects.filter(jail=OuterRef("pk")))
    jails = Jail.objects.filter(IS_KEPT | has_rows, host=host).select_related("tenant").order_by("pk")
    given = Address.objects.filter(operation=None).order_by("pk")
    news = _News(at, facts.racct)
    for jail in jails.prefetch_related("drifts", Prefetch("addresses", given)):
        known = {row.parameter: row for row in jail.drifts.all()}
        if not jail.is_kept or jail.follows_host:
            news.gone += [row.pk for row in known.values()]
        if jail.name in busy or not is_compared(jail):
            continue
        jail.host = host
        try:
            found = comparison.differences(wanted_of(jail, list(jail.addresses.all())))
        except ValueError:
            log.exception("what %s on %s should be cannot be told", jail.name, host)
            continue
        news.compare(jail, known, found)
    news.store()


class _News:
    """What has changed since the last look. `racct`: whether the host's kernel holds to limits of rctl(8) at all."""

    def __init__(self, at: datetime, racct: bool) -> None:
        self.at = at
        self.racct = racct
        self.new: list[Drift] = []
        self.changed: list[Drift] = []
        self.gone: list[int] = []
        self.entries: dict[int, AuditEntry] = {}

    def compare(self, jail: Jail, known: dict[str, Drift], found: Sequence[Difference]) -> None:
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        said: list[str] = []
        there = {one.parameter: one for one in found}
        logged = _logged if jail.tenant_id is None else _logged_for_tenant
        sentence = _sentence if jail.tenant_id is None else tenant_words
        for name, one in there.items():
            row, columns = known.get(name), one.columns()
            unheld = not self.racct and is_not_held(one)
            if row is None:
                times = {"first_seen_at": self.at, "changed_at": self.at}
                self.new.append(Drift(jail=jail, parameter=name, unheld=unheld, **times, **columns))
                if unheld:
                    continue
            elif columns == _columns(row) and unheld == row.unheld:
                continue
            else:
                is_news = _is_news(row, columns) or row.unheld
                old = _columns(row)
                row.wanted, row.configured, row.running = columns["wanted"], columns["configured"], columns["running"]
                row.unheld, row.changed_at = unheld, self.at
                self.changed.append(row)
                if not is_news or unheld:
                    continue
                before[name] = logged(name, old)
            before.setdefault(name, None)
            after[name] = logged(name, columns)
            said.append(sentence(one))
        for name, row in known.items():
            if name not in there:
                self.gone.append(row.pk)
                if row.unheld:
                    continue
                before[name], after[name] = logged(name, _columns(row)), None
                said.append(f"{name} is as the panel wants it again.")
        if said:
            words = " ".join(said)
            self.entries[jail.pk] = audit.entry(
                "jail.drift", actor=ACTOR, obj=jail, before=before, after=after, detail=words, source="worker"
            )

    def store(self) -> None:
        """One refresh of a host at a time gets here: it holds the host's row."""
        if self.gone:
            Drift.objects.filter(pk__in=self.gone).delete()
        if self.changed:
            Drift.objects.bulk_create(
                self.changed,
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["wanted", "configured", "running", "unheld", "changed_at"],
            )
        # Held until the end, so that nobody removes a jail for which a row is made; one that is held already is left.
        about = {*self.entries, *(row.jail_id for row in self.new)}
        held = Jail.objects.select_for_update(skip_locked=True, no_key=True).filter(pk__in=about)
        ours = set(held.order_by("pk").values_list("pk", flat=True)) if about else set()
        Drift.objects.bulk_create([row for row in self.new if row.jail_id in ours])
        audit.record_all([entry for pk, entry in self.entries.items() if pk in ours])


def _columns(row: Drift) -> dict[str, Any]:
    return {"wanted": row.wanted, "configured": row.configured, "running": row.running}


def _is_news(row: Drift, columns: dict[str, Any]) -> bool:
    """Whether it is another difference than before. That the jail was started or stopped alone makes it none."""
    if (row.wanted, row.configured) != (columns["wanted"], columns["configured"]):
        return True
    return row.running is not None and columns["running"] is not None


def _is_logged(name: str) -> bool:
    parameter = parameters.find(name)
    return name in drift.OWN or name.startswith(drift.RULE) or (parameter is not None and parameter.kind in LOGGED)


def _logged(name: str, columns: dict[str, Any]) -> dict[str, Any]:
    if _is_logged(name):
        return columns
    return {column: None if value is None else NOT_KEPT for column, value in columns.items()}


def _sentence(one: Difference) -> str:
    return drift.words(one) if _is_logged(one.parameter) else f"{one.parameter} is not as the panel wants it."


def is_not_held(one: Difference) -> bool:
    """Whether it is a limit that is nowhere in force: on a host that keeps none, the kernel's doing and nobody's."""
    return one.parameter.startswith(drift.RULE) and not one.in_file and one.running == ()


# For a jail's tenant

_PLAIN = {
    drift.FILE: "Its definition on the host is gone, or is not the panel's.",
    drift.TREE: "Its directory on the host is gone.",
}
_LIMITS = {f"{drift.RULE}{resource}": limit for limit, resource in rctl.RESOURCES.items()}


def tenant_words(one: Difference) -> str:
    """A sentence without what is the host's alone: paths, commands, interfaces."""
    name = one.parameter
    if name in _PLAIN:
        return _PLAIN[name]
    if not _is_logged(name):
        return f"{name}: it was changed on the host."
    if name in ("ip4.addr", "ip6.addr"):
        columns = (_plain(one.wanted), _plain(one.configured), one.running)
        return drift.words(Difference(name, *columns, one.in_file, one.in_kernel))
    return drift.words(_limit(one) if name.startswith(drift.RULE) else one)


def _limit(one: Difference) -> Difference:
    """A limit as people call it, with amounts in their units."""
    thing = _LIMITS[one.parameter]
    columns = (_amount(thing, values) for values in (one.wanted, one.configured, one.running))
    return Difference(plans.A_LIMIT[thing].removeprefix("a "), *columns, one.in_file, one.in_kernel)


def _amount(thing: str, values: Values) -> Values:
    return None if values is None else tuple(plans.shown(thing, int(amount)) for amount in values)


def _logged_for_tenant(name: str, columns: dict[str, Any]) -> dict[str, Any]:
    if name in _PLAIN:
        return {column: None if value is None else NOT_KEPT for column, value in columns.items()}
    found = _logged(name, columns)
    if name not in ("ip4.addr", "ip6.addr"):
        return found
    return {column: None if value is None else list(_plain(value) or ()) for column, value in found.items()}


def _plain(values: Values) -> Values:
    return None if values is None else tuple(value.rpartition("|")[2] for value in values)
