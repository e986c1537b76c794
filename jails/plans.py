"""What a tenant may have: its plan, how much of it is used, and whether a wish still fits.

Asked where something is planned, again in the transaction that confirms it, and again by the worker that begins it.
What open operations will make the tenant's counts as used, and who confirms has the tenant's row locked: of two
requests for the last place one wins, the other is told so.

Jails, disk (the sum of quotas), addresses and snapshots are counted. Memory, CPU and processes of a plan are kept and
shown as not enforced: a jail has no such limits yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import BigIntegerField, Count, Q, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from jails.models import Address, Host, Jail, Operation, Template, Tenant, TenantPlan
from jails.operations.kind import Refused

if TYPE_CHECKING:
    from jails.operations.kind import Kind

COUNTED = ("jails", "disk", "addresses", "snapshots")
NOT_ENFORCED = ("memory", "cpu", "processes")
USABLE = {"hosts": "any_host", "networks": "any_network", "templates": "any_template", "releases": "any_release"}
"""What a plan names → the field that says that all of its sort may be used."""
GIVES = ("jail_give", "jail_adopt")
"""Kinds that make a tenant's what was not: until they are done their jails are another one's, or nobody's."""
MAKES_SNAPSHOTS = ("snapshot_create",)
"""Kinds that add a snapshot to each of their jails."""
LARGER = "or have an administrator enlarge the plan"


@dataclass(frozen=True)
class Use:
    """How much of each thing. disk: bytes, the sum of quotas. without_quota: jails that are not in that sum.

    snapshots: those of the datasets of its jails, as a refresh or an operation has last seen them.
    """

    jails: int = 0
    disk: int = 0
    addresses: int = 0
    snapshots: int = 0
    without_quota: int = 0


@dataclass(frozen=True)
class Growth:
    """What an operation adds to a tenant: how much more of each thing (below nought: less), and what it uses for it.

    unlimited: names of jails that it would have without a quota. fields: which parameter of the operation each thing
    is, for the form; "" stands for those that are not named.
    """

    tenant: Tenant
    more: Use = Use()
    unlimited: tuple[str, ...] = ()
    host: Host | None = None
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
    quota = wish["limits"].get("quota")
    return Growth(
        tenant,
        Use(jails=1, disk=quota or 0, addresses=len(wish["addresses"])),
        unlimited=() if quota else (wish["name"],),
        host=host,
        networks=frozenset(one["network"] for one in wish["addresses"]),
        template=wish["template"],
        release=wish["release"],
        fields={"": "tenant", "disk": "quota", "addresses": "addresses", "networks": "addresses"}
        | {"templates": "template", "releases": "release"},
    )


def of_given(tenant: Tenant | None, host: Host, rows: Iterable[Jail]) -> Growth | None:
    """Of jails that it gets: those that are not its own already."""
    got = [row for row in rows if tenant is not None and row.tenant_id != tenant.pk]
    if tenant is None or not got:
        return None
    networks = list(Address.objects.filter(jail__in=got).values_list("network_id", flat=True))
    quotas = {row.name: row.limits.get("quota") for row in got}
    return Growth(
        tenant,
        Use(
            jails=len(got),
            disk=sum(quota or 0 for quota in quotas.values()),
            addresses=len(networks),
            snapshots=sum(row.snapshots for row in got),
        ),
        unlimited=tuple(name for name, quota in quotas.items() if not quota),
        host=host,
        networks=frozenset(networks),
        fields={"": "tenant"},
    )


def of_change(row: Jail, wish: Mapping[str, Any]) -> Growth | None:
    """Of a jail that is changed: `wish` as jail_change takes it. What it has already it may keep."""
    if row.tenant is None:
        return None
    own = set(row.addresses.filter(operation=None).values_list("network_id", "ip"))
    wanted = {(one["network"], one["ip"]) for one in wish["addresses"]}
    old, new = row.limits.get("quota"), wish["limits"]["quota"]
    return Growth(
        row.tenant,
        Use(disk=(new or 0) - (old or 0), addresses=len(wanted) - len(own)),
        unlimited=(row.name,) if old and not new else (),
        networks=frozenset(network for network, _ in wanted - own),
        fields={"disk": "quota", "addresses": "addresses", "networks": "addresses"},
    )


def of_sandbox(row: Jail, quota: int | None) -> Growth | None:
    """Of a copy of a jail: a jail more, with a quota of its own."""
    if row.tenant is None:
        return None
    more = Use(jails=1, disk=quota or 0)
    return Growth(row.tenant, more, unlimited=() if quota else (f"the copy of {row.name}",), fields={"disk": "quota"})


def of_snapshot(row: Jail, field: str) -> Growth | None:
    """Of a snapshot of a jail. field: the parameter of the operation that one would leave out, or change."""
    return Growth(row.tenant, Use(snapshots=1), fields={"": field}) if row.tenant is not None else None


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
    return exceeded(plan, use(growth.tenant, but=but), growth) | _not_usable(plan, growth)


def plan_of(tenant: Tenant) -> TenantPlan | None:
    """As it is now, whatever was read with the tenant."""
    return TenantPlan.objects.filter(tenant=tenant).first()


def exceeded(plan: TenantPlan, used: Use, growth: Growth) -> dict[str, str]:
    """Of what is counted. Who has more than the plan allows already keeps it, and gets no more."""
    tenant, problems = growth.tenant, {}
    for thing in COUNTED:
        limit, more, has = getattr(plan, thing), getattr(growth.more, thing), getattr(used, thing)
        if limit is not None and more > 0 and has + more > limit:
            room = max(0, limit - has)
            left = f"room for {shown(thing, room)} more, not for {shown(thing, more)}" if room else "no room for more"
            problems[thing] = (
                f"{tenant} has {shown(thing, has)} of {shown(thing, limit)} {NOUNS[thing]}: its plan has {left}. "
                f"{FREE[thing]}, {LARGER}."
            )
    if plan.disk is not None and growth.unlimited:
        names = ", ".join(name for name in growth.unlimited if name)
        whose = f"Give {names or 'it'} a quota"
        problems["disk"] = f"{whose}: the plan of {tenant} limits disk, so that none of its jails may be without one."
    return problems


NOUNS = {"jails": "jails", "disk": "of disk", "addresses": "addresses", "snapshots": "snapshots"}
FREE = {
    "jails": "Destroy one or take one back",
    "disk": "Choose a smaller quota, lower that of another jail",
    "addresses": "Take away one",
    "snapshots": "Destroy one that is not needed any more",
}


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


def use(tenant: Tenant, *, but: Any = "") -> Use:
    """What a tenant has, and what open operations will make its own, in four queries at most.

    but: an operation that is left out, with the jail and the addresses that it holds.
    """
    jails = Jail.objects.filter(tenant=tenant)
    addresses = Address.objects.filter(jail__tenant=tenant)
    if but:
        jails = jails.exclude(pk__in=Jail.objects.filter(operations=but, state=Jail.State.PENDING).values("pk"))
        addresses = addresses.exclude(operation=but)
    counts = jails.annotate(quota=Cast(KT("limits__quota"), BigIntegerField())).aggregate(
        jails=Count("pk"),
        disk=Sum("quota"),
        snapshots=Sum("snapshots"),
        without_quota=Count("pk", filter=Q(quota__isnull=True)),
    )
    coming = _coming(tenant, but)
    return Use(
        jails=counts["jails"] + coming.jails,
        disk=(counts["disk"] or 0) + coming.disk,
        addresses=addresses.count() + coming.addresses,
        snapshots=(counts["snapshots"] or 0) + coming.snapshots,
        without_quota=counts["without_quota"] + coming.without_quota,
    )


def _coming(tenant: Tenant, but: Any) -> Use:
    """What is confirmed and not done: jails on their way to the tenant, quotas that grow, and snapshots.

    A jail that is being made, and addresses, have their rows from the confirmation on.
    """
    comes = Q(kind__in=GIVES, parameters__tenant=tenant.pk) | Q(
        kind__in=(*MAKES_SNAPSHOTS, "jail_change"), jails__tenant=tenant
    )
    rows = Operation.objects.filter(comes, status__in=Operation.OPEN)
    # One that is about several jails may be found several times.
    found = {row[0]: row[1:] for row in rows.order_by().values_list("pk", "kind", "parameters") if row[0] != _id(but)}
    given = {uuid for kind, wish in found.values() if kind in GIVES for uuid in wish["jails"]}
    changed = {wish["jail"]: wish["limits"].get("quota") or 0 for kind, wish in found.values() if kind == "jail_change"}
    snapshots = sum(kind in MAKES_SNAPSHOTS for kind, _ in found.values())
    if not given and not changed:
        return Use(snapshots=snapshots)
    rows_of = Jail.objects.filter(uuid__in=given | changed.keys()).annotate(count=Count("addresses"))
    jails = addresses = disk = without_quota = 0
    values = ("uuid", "tenant_id", "limits", "count", "snapshots")
    for uuid, owner, limits, count, taken in rows_of.order_by().values_list(*values):
        quota = limits.get("quota") or 0
        if owner == tenant.pk:
            disk += max(0, changed.get(str(uuid), 0) - quota)
        elif str(uuid) in given:
            jails, addresses, disk = jails + 1, addresses + count, disk + quota
            without_quota, snapshots = without_quota + (not quota), snapshots + taken
    return Use(jails, disk, addresses, snapshots, without_quota)


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
        return self.thing == "disk"

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


LABELS = {"jails": "Jails", "disk": "Disk, as quotas", "addresses": "Addresses", "snapshots": "Snapshots"}


def shares(plan: TenantPlan, used: Use) -> list[Share]:
    return [Share(thing, LABELS[thing], getattr(used, thing), getattr(plan, thing)) for thing in COUNTED]


def shown(thing: str, value: int) -> str:
    return size(value) if thing in ("disk", "memory") else str(value)


def size(value: int) -> str:
    """Bytes for a sentence: `10 GiB`."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if value >= factor:
            return f"{value / factor:.4g} {unit}"
    return f"{value} bytes"


def noted(plan: TenantPlan) -> Sequence[str]:
    """Limits that are kept and that nothing enforces yet, in words."""
    words = {
        "memory": f"{size(plan.memory or 0)} of memory",
        "cpu": f"{plan.cpu} % of a CPU",
        "processes": f"{plan.processes} processes",
    }
    return [words[thing] for thing in NOT_ENFORCED if getattr(plan, thing) is not None]
