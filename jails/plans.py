"""What a tenant may have: its plan, how much of it is used, and whether a wish still fits.

Asked where something is planned, again in the transaction that confirms it, and again by the worker that begins it.
What open operations will make the tenant's counts as used, and who confirms has the tenant's row locked: of two
requests for the last place one wins, the other is told so.

Jails, addresses and snapshots are counted; of disk, memory, CPU and processes the limits of its jails, each of which
must then have one. The disk may be shared among hosts: then what the jails of one host may have is its share at most.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import BigIntegerField, Count, Exists, Q, QuerySet, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Greatest

from jails.models import Address, Host, Jail, Operation, Template, Tenant, TenantPlan
from jails.operations.kind import SNAPSHOT_FIRST, Refused
from jails.prepared import Prepared

if TYPE_CHECKING:
    from jails.operations.kind import Kind

COUNTED = ("jails", "disk", "addresses", "snapshots", "memory", "cpu", "processes")
LIMITS = {"disk": "quota", "memory": "memory", "cpu": "cpu", "processes": "processes"}
"""What is counted as a sum of limits → which of Jail.limits; a jail without that is in no sum."""
OWN = ("jails", "snapshots", *LIMITS, *(f"without_{limit}" for limit in LIMITS.values()))
"""What a tenant has by the rows of its jails: fields of Use."""
USABLE = {"hosts": "any_host", "networks": "any_network", "templates": "any_template", "releases": "any_release"}
"""What a plan names → the field that says that all of its sort may be used."""
GIVES = ("jail_give", "jail_adopt")
"""Kinds that make a tenant's what was not: until they are done their jails are another one's, or nobody's."""
MAKES_SNAPSHOTS = ("snapshot_create",)
"""Kinds that add a snapshot to each of their jails."""
CHANGES = ("jail_change", "drift_accept")
"""Kinds that change the limits of the jail they are about."""
UNFINISHED = (*Operation.OPEN, Operation.Status.STUCK)
"""Operations that may still have their effect: one that needs attention is resumed, or has had half of it."""
LARGER = "or have an administrator enlarge the plan"


Limits = Mapping[str, int | None]
"""As Jail.limits, or some of it."""


@dataclass(frozen=True)
class Use:
    """How much of each thing. disk, memory: bytes; cpu: per cent of one CPU; each a sum of limits.

    snapshots: those of the datasets of its jails, as a refresh or an operation has last seen them. without_…: jails
    that are not in the sum of the one limit.
    """

    jails: int = 0
    disk: int = 0
    addresses: int = 0
    snapshots: int = 0
    without_quota: int = 0
    memory: int = 0
    cpu: int = 0
    processes: int = 0
    without_memory: int = field(default=0, compare=False)
    without_cpu: int = field(default=0, compare=False)
    without_processes: int = field(default=0, compare=False)

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def without(self, thing: str) -> int:
        """How many of its jails have no limit of it; 0 for what no limit is of."""
        return int(getattr(self, f"without_{LIMITS[thing]}", 0)) if thing in LIMITS else 0


@dataclass(frozen=True)
class Growth:
    """What an operation adds to a tenant: how much more of each thing (below nought: less), and what it uses for it.

    unlimited: thing of LIMITS → names of jails that it would have without a limit of it. keeps: things of which it must
    fit though it adds none. host: one that it comes to;
    place: the one whose disk it uses. fields: which parameter of the operation each thing is, for the form; "" stands
    for those that are not named.
    """

    tenant: Tenant
    more: Use = Use()
    unlimited: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keeps: frozenset[str] = frozenset()
    host: Host | None = None
    place: Host | None = None
    networks: frozenset[int] = frozenset()
    template: int | None = None
    release: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def field_of(self, thing: str) -> str:
        return self.fields.get(thing) or self.fields.get("", "")


# What kinds of operations add


def of_new(tenant: Tenant | None, host: Host, wish: Mapping[str, Any]) -> Growth | None:
    """Of a jail that is made: `wish` as jail_create takes it, maybe of a form that is only half filled in."""
    if tenant is None:
        return None
    return Growth(
        tenant,
        Use(jails=1, addresses=len(wish["addresses"])) + _sums([wish["limits"]]),
        unlimited=_unlimited({wish["name"]: wish["limits"]}),
        host=host,
        place=host,
        networks=frozenset(one["network"] for one in wish["addresses"]),
        template=wish["template"],
        release=wish["release"],
        fields={"": "tenant", **LIMITS, "addresses": "addresses", "networks": "addresses"}
        | {"templates": "template", "releases": "release"},
    )


def of_given(tenant: Tenant | None, host: Host, rows: Iterable[Jail]) -> Growth | None:
    """Of jails that it gets: those that are not its own already."""
    got = [row for row in rows if tenant is not None and row.tenant_id != tenant.pk]
    if tenant is None or not got:
        return None
    networks = list(Address.objects.filter(jail__in=got).values_list("network_id", flat=True))
    own = Use(jails=len(got), addresses=len(networks), snapshots=sum(row.snapshots for row in got))
    return Growth(
        tenant,
        own + _sums([row.limits for row in got]),
        unlimited=_unlimited({row.name: row.limits for row in got}),
        host=host,
        place=host,
        networks=frozenset(networks),
        fields={"": "tenant"},
    )


def of_change(row: Jail, wish: Mapping[str, Any]) -> Growth | None:
    """Of a jail that is changed: `wish` as jail_change takes it. What it has already it may keep."""
    if row.tenant is None:
        return None
    own = set(row.addresses.filter(operation=None).values_list("network_id", "ip"))
    wanted = {(one["network"], one["ip"]) for one in wish["addresses"]}
    return Growth(
        row.tenant,
        Use(addresses=len(wanted) - len(own)) + _difference(held(row), wish["limits"]),
        unlimited=_lost(row, wish["limits"]),
        keeps=_keeps(row, wish["limits"]),
        place=row.host,
        networks=frozenset(network for network, _ in wanted - own),
        fields={**LIMITS, "addresses": "addresses", "networks": "addresses"},
    )


def of_sandbox(row: Jail, limits: Limits) -> Growth | None:
    """Of a copy of a jail: a jail more, with limits of its own."""
    if row.tenant is None:
        return None
    unlimited = _unlimited({f"the copy of {row.name}": limits})
    more = Use(jails=1) + _sums([limits])
    return Growth(row.tenant, more, unlimited=unlimited, place=row.host, fields={"disk": "quota"})


def of_accepted(row: Jail, limits: Limits, gained: Collection[int], lost: int) -> Growth | None:
    """Of what a jail's file says by hand: limits, for each address that it gains the network, and how many it loses."""
    if row.tenant is None:
        return None
    return Growth(
        row.tenant,
        Use(addresses=len(gained) - lost) + _difference(held(row), limits),
        unlimited=_lost(row, limits),
        keeps=_keeps(row, limits),
        networks=frozenset(gained),
        fields={"": "parameters"},
    )


def _sums(given: Iterable[Limits]) -> Use:
    found = list(given)
    sums = {thing: sum(limits.get(limit) or 0 for limits in found) for thing, limit in LIMITS.items()}
    missing = {f"without_{limit}": sum(not limits.get(limit) for limits in found) for limit in LIMITS.values()}
    return Use(**sums, **missing)


def held(row: Jail) -> dict[str, int | None]:
    """Its limits, or what its tenant's plan has for it already where that is more: what counts as used."""
    return {limit: _more(row.limits.get(limit), row.allotted.get(limit)) for limit in LIMITS.values()}


def _keeps(row: Jail, new: Limits) -> frozenset[str]:
    """Things of which it would keep more than its tenant's plan was saved with for it, by asking for another limit."""
    asked = {limit: value or 0 for limit, value in new.items() if value != row.limits.get(limit)}
    return frozenset(
        thing for thing, limit in LIMITS.items() if asked.get(limit, 0) > row.allotted.get(limit, asked.get(limit, 0))
    )


def _more(one: int | None, other: int | None) -> int | None:
    return max(one or 0, other or 0) or None


def _difference(old: Limits, new: Limits) -> Use:
    """What is left out of the new ones stays as it is."""
    return Use(
        **{thing: (new.get(limit, old.get(limit)) or 0) - (old.get(limit) or 0) for thing, limit in LIMITS.items()}
    )


def _unlimited(given: Mapping[str, Limits]) -> dict[str, list[str]]:
    missing = {thing: [name for name, has in given.items() if not has.get(limit)] for thing, limit in LIMITS.items()}
    return {thing: names for thing, names in missing.items() if names}


def _lost(row: Jail, new: Limits) -> dict[str, list[str]]:
    """Limits that it has and would have no more."""
    gone = [thing for thing, limit in LIMITS.items() if row.limits.get(limit) and not new.get(limit, row.limits[limit])]
    return {thing: [row.name] for thing in gone}


def of_snapshot(row: Jail, field: str) -> Growth | None:
    """Of a snapshot of a jail. field: the parameter of the operation that one would leave out, or change."""
    return Growth(row.tenant, Use(snapshots=1), fields={"": field}) if row.tenant is not None else None


def with_snapshot(growth: Growth | None, instead: int = 0, field: str = "snapshot") -> Growth | None:
    """The same with a snapshot that is taken first, when so many others have gone for it."""
    if growth is None:
        return None
    more = replace(growth.more, snapshots=growth.more.snapshots + max(0, 1 - instead))
    return replace(growth, more=more, fields={**growth.fields, "snapshots": field})


def of_snapshot_first(row: Jail, wish: Mapping[str, Any]) -> Growth | None:
    """Of a kind that makes nothing else a tenant's: `wish` as jails.operations.snapshots.clean_first has it."""
    if row.tenant is None or not wish.get("snapshot_first"):
        return None
    return with_snapshot(Growth(row.tenant), len(wish.get("instead", ())), "snapshot_first")


def has_room_for_snapshot(tenant: Tenant | None) -> bool:
    plan = plan_of(tenant) if tenant is not None else None
    return plan is None or plan.snapshots is None or use(plan.tenant).snapshots < plan.snapshots


# Whether it fits


def refuse(kind: Kind, host: Host, parameters: Mapping[str, Any], *, operation: Any = "") -> None:
    """Raises Refused where the plan of a tenant has no room for what the operation adds, at the fields it is about.

    operation: the id of the operation itself, so that what it holds already does not count. LookupError as the kind's.
    """
    growth = kind.adds(host, parameters)
    if growth is not None:
        _refuse(growth, operation)


def refuse_for_good(kind: Kind, host: Host, parameters: Mapping[str, Any], *, operation: Any) -> None:
    """The same in the transaction that confirms it: until that ends nobody else is told that there is room."""
    before = kind.adds(host, parameters)
    if before is None:
        return
    # As it is when the one before has committed. Rows that refer to the tenant may be written meanwhile.
    Tenant.objects.select_for_update(no_key=True).get(pk=before.tenant.pk)
    growth = kind.adds(host, parameters)
    if growth is not None and growth.tenant != before.tenant:
        raise Refused(f"It has just become a jail of {growth.tenant}: plan it again.")
    if growth is not None:
        _refuse(growth, operation)


def _refuse(growth: Growth, operation: Any) -> None:
    problems: dict[str, list[str]] = {}
    for thing, words in why_not(growth, but=operation).items():
        problems.setdefault(growth.field_of(thing), []).append(words)
    if problems:
        raise Refused({name: " ".join(words) for name, words in problems.items()})


def why_not(growth: Growth, *, but: Any = "") -> dict[str, str]:
    """Thing → why the plan has no room for it, a sentence. Nothing where all fits, or the tenant has no plan."""
    plan = plan_of(growth.tenant)
    if plan is None:
        return {}
    problems = exceeded(plan, use(growth.tenant, but=but), growth) | _not_usable(plan, growth)
    return _beyond_share(plan, growth, but) | problems


def _beyond_share(plan: TenantPlan, growth: Growth, but: Any) -> dict[str, str]:
    place, more = growth.place, growth.more.disk
    room = room_on(plan, place, but=but) if place is not None and more > 0 else None
    if room is None or more <= room:
        return {}
    left = f"room for {size(room)} more, not for {size(more)}" if room else "no room for more"
    words = f"Of the disk of the plan of {growth.tenant}, what is set aside for {place} has {left}."
    return {"disk": f"{words} {FREE['disk']}, or have an administrator share it otherwise."}


# The disk of a plan, host by host


def share_of(plan: TenantPlan | None, host: Host) -> int | None:
    """Bytes of its disk for one host: what is set aside there, or else what the others leave. None: no limit."""
    return shares_of(plan, [host.pk])[host.pk]


def shares_of(plan: TenantPlan | None, hosts: Iterable[int]) -> dict[int, int | None]:
    """The same of several by their ids, in one query."""
    if plan is None or plan.disk is None:
        return dict.fromkeys(hosts)
    given = dict(plan.shares.values_list("host", "disk"))
    return {host: left_for(host, plan.disk, given) for host in hosts}


def left_for(host: int, disk: int, given: Mapping[int, int]) -> int:
    """What is set aside for a host, or what the others leave."""
    return given.get(host, max(0, disk - sum(given.values())))


def room_on(plan: TenantPlan, host: Host, *, but: Any = "") -> int | None:
    """Bytes that the jails of one host may still have as quotas; None where the disk is not shared among hosts."""
    share = share_of(plan, host)
    if share is None or plan.disk is None or share >= plan.disk:
        return None
    return max(0, share - use(plan.tenant, but=but, host=host).disk)


def spread(whole: int, least: Mapping[Any, int], grain: int = 1, *, parts: int = 0) -> dict[Any, int]:
    """Share something out: to each what it needs at least and an equal part of the rest, in multiples of `grain`.

    Together it is the whole at most. Where that is less than all need, each gets its part of it. parts: into how many
    the rest is divided, where that is more than there are now.
    """
    needed = sum(least.values())
    if needed > whole:
        return {key: whole * one // needed // grain * grain for key, one in least.items()}
    return {key: (one + (whole - needed) // max(parts, len(least))) // grain * grain for key, one in least.items()}


def plan_of(tenant: Tenant) -> TenantPlan | None:
    """As it is now, whatever was read with the tenant."""
    return TenantPlan.objects.filter(tenant=tenant).first()


def exceeded(plan: TenantPlan, used: Use, growth: Growth) -> dict[str, str]:
    """Of what is counted. Who has more than the plan allows already keeps it, and gets no more."""
    tenant, problems = growth.tenant, {}
    for thing in COUNTED:
        limit, more, has = getattr(plan, thing), getattr(growth.more, thing), getattr(used, thing)
        if limit is not None and (more > 0 or thing in growth.keeps) and has + more > limit:
            room = max(0, limit - has)
            left = f"room for {shown(thing, room)} more, not for {shown(thing, more)}" if room else "no room for more"
            problems[thing] = (
                f"{tenant} has {shown(thing, has)} of {shown(thing, limit)} {NOUNS[thing]}: its plan has {left}. "
                f"{FREE[thing]}, {LARGER}."
            )
    for thing, jails in growth.unlimited.items():
        if getattr(plan, thing) is not None:
            names = ", ".join(name for name in jails if name)
            problems[thing] = (
                f"Give {names or 'it'} {A_LIMIT[thing]}: the plan of {tenant} limits {WHAT[thing]}, so that none of "
                "its jails may be without one."
            )
    return problems


NOUNS = {
    "jails": "jails",
    "disk": "of disk",
    "addresses": "addresses",
    "snapshots": "snapshots",
    "memory": "of memory",
    "cpu": "of CPU",
    "processes": "processes",
}
WHAT = {"disk": "disk", "memory": "memory", "cpu": "CPU", "processes": "processes"}
A_LIMIT = {"disk": "a quota"} | {thing: f"a limit of {WHAT[thing]}" for thing in ("memory", "cpu", "processes")}
FREE = {
    "jails": "Destroy one or take one back",
    "disk": "Choose a smaller quota, lower that of another jail",
    "addresses": "Take away one",
    "snapshots": "Destroy one that is not needed any more",
} | dict.fromkeys(("memory", "cpu", "processes"), "Choose a smaller limit, lower that of another jail")


def _not_usable(plan: TenantPlan, growth: Growth) -> dict[str, str]:
    whose = f"the plan of {growth.tenant}"
    problems = {}
    if growth.host is not None and not _may_use(plan, "hosts", {growth.host.pk}):
        problems["hosts"] = f"{growth.host} is not among the hosts that {whose} allows."
    if growth.networks and not _may_use(plan, "networks", growth.networks):
        problems["networks"] = f"An address is of a network that {whose} does not allow: choose another one."
    if growth.release is not None and not _may_use(plan, "releases", {growth.release}):
        problems["releases"] = f"It is not among the releases that {whose} allows: choose another one."
    if growth.template is not None and not _may_use(plan, "templates", {growth.template}) and not _is_own(growth):
        problems["templates"] = f"It is not among the templates that {whose} allows: choose another one."
    return problems


def _may_use(plan: TenantPlan, things: str, keys: Collection[int]) -> bool:
    return getattr(plan, USABLE[things]) or getattr(plan, things).filter(pk__in=keys).count() == len(keys)


def _is_own(growth: Growth) -> bool:
    """A template of the tenant itself: what is in it is its own."""
    return Template.objects.filter(pk=growth.template, tenant=growth.tenant).exists()


# What is used


def use(tenant: Tenant, *, but: Any = "", host: Host | None = None) -> Use:
    """What a tenant has, and what open operations will make its own.

    but: an operation that is left out, with the jail and the addresses that it holds. host: only what is there.
    """
    return uses([tenant], but=but, host=host)[tenant.pk]


def uses(tenants: Iterable[Tenant], *, but: Any = "", host: Host | None = None) -> dict[int, Use]:
    """The same of several by their ids, in four queries at most for one or for all; two where nothing is coming."""
    found = {tenant.pk: Use() for tenant in tenants}
    keys, is_all = list(found), not but and host is None
    jails = _jails_of(keys) if is_all else list(_jails(keys, but, host))
    for key, _, *counts in jails:
        found[key] += Use(**{name: int(value or 0) for name, value in zip(OWN, counts, strict=True)})
    for key, count in _addresses_of(keys) if is_all else _addresses(keys, but, host):
        found[key] += Use(addresses=count)
    if jails and not any(comes for _, comes, *_ in jails):
        return found
    for key, coming in _coming(found, but, host):
        found[key] += coming
    return found


def _jails(tenants: Collection[int], but: Any = "", host: Host | None = None) -> QuerySet[Any]:
    """(tenant, whether anything may be coming to any of them, its amount of each of OWN), of those that have jails."""
    jails = Jail.objects.filter(tenant__in=tenants, **_only(host))
    if but:
        jails = jails.exclude(pk__in=Jail.objects.filter(operations=but, state=Jail.State.PENDING).values("pk"))
    # What is given to anybody at all: to whom, only its parameters say.
    coming = Operation.objects.filter(Q(kind__in=GIVES) | _grows(tenants), status__in=UNFINISHED)
    rows = jails.annotate(**_amounts()).order_by().values("tenant").annotate(comes=Exists(coming), **_totals())
    return rows.values_list("tenant", "comes", *(f"all_{name}" for name in OWN))


def _addresses(tenants: Collection[int], but: Any = "", host: Host | None = None) -> QuerySet[Any]:
    rows = Address.objects.filter(jail__tenant__in=tenants, **_only(host, "jail__host"))
    rows = rows.exclude(operation=but) if but else rows
    return rows.order_by().values_list("jail__tenant").annotate(Count("pk"))


def _only(host: Host | None, field: str = "host") -> dict[str, Host]:
    return {} if host is None else {field: host}


_jails_of, _addresses_of = Prepared(_jails), Prepared(_addresses)


def _amounts() -> dict[str, Any]:
    """Of a jail has_LIMIT, NULL where it has none, and held_LIMIT as `held`."""
    found: dict[str, Any] = {}
    for limit in LIMITS.values():
        has, will = (Cast(KT(f"{column}__{limit}"), BigIntegerField()) for column in ("limits", "allotted"))
        found |= {f"has_{limit}": has, f"held_{limit}": Greatest(Coalesce(has, 0), Coalesce(will, 0))}
    return found


def _totals() -> dict[str, Any]:
    """`all_` before each of OWN."""
    sums = {f"all_{thing}": Sum(f"held_{limit}") for thing, limit in LIMITS.items()}
    without = {
        f"all_without_{limit}": Count("pk", filter=Q(**{f"has_{limit}__isnull": True})) for limit in LIMITS.values()
    }
    return {"all_jails": Count("pk"), "all_snapshots": Sum("snapshots"), **sums, **without}


def _coming(tenants: Collection[int], but: Any, host: Host | None) -> Iterable[tuple[int, Use]]:
    """What is confirmed and not done: jails on their way to a tenant, limits that grow, and snapshots.

    A jail that is being made, and addresses, have their rows from the confirmation on.
    """
    comes = Q(kind__in=GIVES, parameters__tenant__in=list(tenants)) | _grows(tenants)
    rows = Operation.objects.filter(comes, status__in=UNFINISHED, **_only(host))
    # One that is about several jails may be found several times.
    columns = ("pk", "kind", "parameters", "plan__result")
    found = {row[0]: row[1:] for row in rows.order_by().values_list(*columns) if row[0] != _id(but)}
    given = {uuid: wish["tenant"] for kind, wish, _ in found.values() if kind in GIVES for uuid in wish["jails"]}
    changed = {
        wish["jail"]: _new_limits(kind, wish, result) for kind, wish, result in found.values() if kind in CHANGES
    }
    taken = [wish["jail"] for kind, wish, _ in found.values() if kind in MAKES_SNAPSHOTS or _takes_first(kind, wish)]
    if not found:
        return
    jails = Jail.objects.filter(uuid__in={*given, *changed, *taken}).annotate(count=Count("addresses"))
    for row in jails.order_by().only("uuid", "tenant_id", "limits", "allotted", "snapshots"):
        uuid, owner = str(row.uuid), row.tenant_id
        heir = given.get(uuid, owner)
        if heir is not None and heir != owner:
            yield heir, Use(jails=1, addresses=row.count, snapshots=row.snapshots) + _sums([row.limits])
        if owner in tenants:
            more = _difference(held(row), changed.get(uuid, {}))
            # What it will give back it still has.
            grows = {thing: max(0, getattr(more, thing)) for thing in LIMITS}
            yield owner, Use(snapshots=taken.count(uuid), **grows)


def _takes_first(kind: str, wish: Mapping[str, Any]) -> bool:
    """A snapshot before it, for which no other one goes."""
    asked = wish.get("snapshot_first") or (kind == "jail_change" and wish.get("snapshot"))
    return bool(asked) and not wish.get("instead")


def _new_limits(kind: str, wish: Mapping[str, Any], result: Any) -> Limits:
    """What an operation of CHANGES sets. Of what is accepted from a host only the plan tells."""
    if kind == "jail_change":
        limits: Limits = wish["limits"]
    else:
        limits = json.loads(dict(result or ()).get("update", "{}")).get("limits", {})
    return limits


def _grows(tenants: Collection[int]) -> Q:
    return Q(kind__in=(*MAKES_SNAPSHOTS, *CHANGES, *SNAPSHOT_FIRST), jails__tenant__in=tenants)


def _id(operation: Any) -> Any:
    return UUID(str(operation)) if operation else None


# For people


@dataclass(frozen=True)
class Share:
    """One thing of a plan and how much of it is used. limit: None for no limit."""

    thing: str
    label: str
    used: int
    limit: int | None

    @property
    def is_size(self) -> bool:
        return self.thing in ("disk", "memory")

    @property
    def is_percent(self) -> bool:
        return self.thing == "cpu"

    @property
    def is_over(self) -> bool:
        return self.limit is not None and self.used > self.limit

    @property
    def is_full(self) -> bool:
        return self.limit is not None and self.used >= self.limit

    @property
    def percent(self) -> int:
        """Of the limit, at most 100: for a bar."""
        if self.limit is None:
            return 0
        return min(100, self.used * 100 // self.limit) if self.limit else 100 * bool(self.used)


LABELS = {
    "jails": "Jails",
    "disk": "Disk quotas",
    "addresses": "Addresses",
    "snapshots": "Snapshots",
    "memory": "Memory limits",
    "cpu": "CPU limits",
    "processes": "Process limits",
}
OFTEN = ("jails", "disk", "addresses", "snapshots")
"""Shown also where the plan does not limit them."""


def shares(plan: TenantPlan, used: Use) -> list[Share]:
    return [
        Share(thing, LABELS[thing], getattr(used, thing), getattr(plan, thing))
        for thing in COUNTED
        if thing in OFTEN or getattr(plan, thing) is not None
    ]


def without(plan: TenantPlan, used: Use) -> list[str]:
    """Jails that have no limit of what the plan limits, in words: `3 jails have no quota`."""
    found = [(thing, used.without(thing)) for thing in LIMITS if getattr(plan, thing) is not None]
    return [
        f"{count} {'jail has' if count == 1 else 'jails have'} no {A_LIMIT[thing].removeprefix('a ')}"
        for thing, count in found
        if count
    ]


def shown(thing: str, value: int) -> str:
    if thing == "cpu":
        return f"{value} %"
    return size(value) if thing in ("disk", "memory") else str(value)


def size(value: int) -> str:
    """Bytes for a sentence: `10 GiB`."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= factor:
            return f"{value / factor:.4g} {unit}"
    return f"{value} bytes"
