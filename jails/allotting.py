"""What a changed plan of a tenant means on its hosts, before it is saved, and where it has not arrived since.

A plan's disk is shared among the hosts where the tenant has something. Its jails each need a limit of what the plan
counts: for those that have none something is proposed, and what an administrator chooses is noted with the jail
(`Jail.allotted`), from where tenant_limits brings it to the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db.models.fields.json import KT

from jails import plans, usage
from jails.hosts.zfs_reader import Dataset
from jails.models import Host, HostFactsRecord, Jail, Operation, Sample, Tenant, TenantDataset, TenantPlan
from jails.models.release import Storage
from jails.operations.wish import LEAST, QUOTA_MIN
from jails.plans import LIMITS

LOWEST = {"quota": QUOTA_MIN, **LEAST}
MiB, GiB = 1 << 20, 1 << 30
Numbers = Mapping[str, int | None]
"""Things of jails.plans.COUNTED → how much, None for no limit."""
Key = TypeVar("Key", int, str)
"""The id of a host or a jail, or the name of a dataset."""


@dataclass
class Place:
    """One host where a tenant has something. used: bytes below its datasets there, snapshots included."""

    host: Host
    datasets: list[TenantDataset] = field(default_factory=list)
    jails: list[Jail] = field(default_factory=list)
    racct: bool = True
    share: int | None = None

    @property
    def used(self) -> int:
        return sum(row.used for row in self.datasets)

    @property
    def has_zfs(self) -> bool:
        return bool(self.datasets) or any(row.storage == Storage.ZFS for row in self.jails)

    @property
    def quota(self) -> int | None:
        """What is set there now, as last seen."""
        return together(self.datasets)


@dataclass
class Estate:
    """All that a tenant has on hosts, in a constant number of queries."""

    tenant: Tenant
    places: list[Place]
    samples: Mapping[int, Sample]

    @property
    def jails(self) -> list[Jail]:
        return [row for place in self.places for row in place.jails]

    def uses_now(self, row: Jail, limit: str) -> int:
        """Bytes, per cent or processes; 0 where nobody knows."""
        if limit == "quota":
            return row.used + row.used_by_snapshots
        sample = self.samples.get(row.pk)
        if sample is None or not sample.running:
            return 0
        if limit == "cpu":
            return round(100 * (sample.cpu or 0) / max(1, sample.seconds))
        return sample.memory if limit == "memory" else sample.processes


def estate(tenant: Tenant) -> Estate:
    jails = list(Jail.objects.filter(tenant=tenant).select_related("host").order_by("name"))
    places: dict[int, Place] = {}
    for dataset in tenant.datasets.select_related("host"):
        places.setdefault(dataset.host_id, Place(dataset.host)).datasets.append(dataset)
    for row in jails:
        places.setdefault(row.host_id, Place(row.host)).jails.append(row)
    racct = _racct(places)
    for key, place in places.items():
        place.racct = racct.get(key) in (None, "1")
    return Estate(tenant, sorted(places.values(), key=lambda place: place.host.name), usage.lately(jails))


def _racct(hosts: Iterable[int]) -> dict[int, Any]:
    records = HostFactsRecord.objects.filter(host__in=hosts).annotate(on=KT("data__sysctls__kern.racct.enable"))
    return dict(records.values_list("host", "on"))


# Disk


def shares(
    found: Estate, disk: int | None, given: Mapping[int, int], proposed: Mapping[int, int] | None = None
) -> dict[int, int | None]:
    """Host id → what is set aside there, to begin with: as it is while that fits, None for what the others leave.

    For several hosts without any it is what each needs and an equal part of the rest. It needs the quotas of its jails,
    with those that are proposed (by the ids of jails). Where these are too much together, it is what each uses now, and
    of the rest as much as its quotas are of all that is needed more.
    """
    used = {place.host.pk: place.used for place in found.places if place.has_zfs or place.host.pk in given}
    if disk is None:
        return dict.fromkeys(used)
    if given and sum(given.values()) <= disk:
        return {key: given.get(key) for key in used}
    if len(used) < 2:
        return dict.fromkeys(used)
    quotas = {place.host.pk: quotas_of(place, proposed or {}) for place in found.places}
    return dict(_shared(disk, used, quotas, grain_of("quota", disk)))


def _shared(disk: int, used: Mapping[Key, int], quotas: Mapping[Key, int], grain: int) -> dict[Key, int]:
    needed = _rounded({key: max(one, quotas[key]) for key, one in used.items()}, grain)
    if sum(needed.values()) <= disk:
        return plans.spread(disk, needed, grain)
    least = _rounded(used, grain)
    rest = disk - sum(least.values())
    if rest < 0:
        return plans.spread(disk, used, grain)
    more = {key: needed[key] - one for key, one in least.items()}
    return {key: one + rest * more[key] // sum(more.values()) // grain * grain for key, one in least.items()}


def on_pools(
    share: int | None, datasets: Iterable[TenantDataset | Dataset], jails: Iterable[Jail]
) -> dict[str, int | None]:
    """Name of a tenant's dataset on a host → the quota that it is to have: in several pools the share of all together.

    jails: the tenant's there. What is set stays as it is while all of it is the share, but for the grain, and leaves
    each pool what its jails need.
    """
    found = list(datasets)
    if share is None or len(found) < 2:
        return {one.name: share for one in found}
    grain = grain_of("quota", share)
    quotas = dict.fromkeys((one.name for one in found), 0)
    for row in jails:
        above = row.dataset.rpartition("/")[0]
        if above in quotas:
            quotas[above] += limits_of(row)["quota"] or 0
    present = {one.name: one.quota or 0 for one in found}
    missing = share - sum(present.values())
    fits = sum(quotas.values()) > share or all(present[name] >= quotas[name] for name in quotas)
    if fits and all(present.values()) and 0 <= missing < grain * len(found):
        return {one.name: one.quota for one in found}
    # One of nothing would be no limit.
    used = {one.name: max(1, one.used) for one in found}
    shared = _shared(share, used, quotas, _fitting_grain(share, used, quotas))
    return {name: quota or grain for name, quota in shared.items()}


def _fitting_grain(share: int, used: Mapping[Key, int], quotas: Mapping[Key, int]) -> int:
    """A finer one where rounding alone would make it too much: of what is needed, or else of what is used."""
    grains = (grain_of("quota", share), MiB, 1)
    for least in ({key: max(one, quotas[key]) for key, one in used.items()}, used):
        for grain in grains:
            if sum(_rounded(least, grain).values()) <= share:
                return grain
    return grains[0]


def together(datasets: Sequence[TenantDataset]) -> int | None:
    """What a tenant may fill on a host by the quotas that are set there; None where one pool has none."""
    quotas = [row.quota for row in datasets if row.quota is not None]
    return sum(quotas) if quotas and len(quotas) == len(datasets) else None


def quotas_of(place: Place, chosen: Mapping[int, int | None]) -> int:
    """Of the jails of a host together, in bytes; chosen: those of some of them, by their ids."""
    return sum(chosen.get(row.pk, limits_of(row)["quota"]) or 0 for row in place.jails)


def grain_of(limit: str, whole: int) -> int:
    """What is proposed is a multiple of that."""
    if limit == "quota":
        return GiB if whole >= 16 * GiB else GiB // 16
    if limit == "memory":
        return GiB // 16 if whole >= 4 * GiB else GiB // 64
    return 1


def _rounded(least: Mapping[Key, int], grain: int) -> dict[Key, int]:
    """Up."""
    return {key: -(-one // grain) * grain for key, one in least.items()}


# Limits of jails


def limits_of(row: Jail) -> dict[str, int | None]:
    """Those that it has, or is to have already."""
    return {limit: row.allotted.get(limit, row.limits.get(limit)) for limit in LIMITS.values()}


def may_have(row: Jail, limit: str) -> bool:
    """Whether the panel can set it: of a jail that it made, a quota only on ZFS."""
    is_ours = row.managed and row.state != Jail.State.PENDING
    return is_ours and (limit != "quota" or (row.storage == Storage.ZFS and bool(row.dataset)))


def counted(numbers: Numbers) -> dict[str, int]:
    """Limit of a jail → what the plan has of it, of those that it counts."""
    return {limit: value for thing, limit in LIMITS.items() if (value := numbers.get(thing)) is not None}


def without(found: Estate, limit: str) -> list[Jail]:
    return [row for row in found.jails if limits_of(row)[limit] is None]


def proposals(found: Estate, numbers: Numbers) -> dict[str, dict[int, int]]:
    """Limit → id of a jail that has none of it → one: what it uses now, and an equal part of what the plan has left.

    A part is left for each jail that the plan allows still, or for one where it does not count jails. Never less than
    it uses.
    """
    return {limit: _proposed(found, limit, whole, numbers) for limit, whole in counted(numbers).items()}


def _proposed(found: Estate, limit: str, whole: int, numbers: Numbers) -> dict[int, int]:
    rows = [row for row in without(found, limit) if may_have(row, limit)]
    left = max(0, whole - sum(limits_of(row)[limit] or 0 for row in found.jails))
    grain = grain_of(limit, whole)
    least = _rounded({row.pk: max(LOWEST[limit], found.uses_now(row, limit)) for row in rows}, grain)
    most = numbers.get("jails")
    to_come = max(0, most - len(found.jails)) if most is not None else 1
    spread = plans.spread(left, least, grain, parts=len(rows) + to_come)
    return {key: max(one, least[key]) for key, one in spread.items()}


def totals(found: Estate, chosen: Mapping[int, Mapping[str, int | None]]) -> dict[str, int]:
    """Limit → all of it together, with what is chosen for some jails by their ids."""
    sums = dict.fromkeys(LIMITS.values(), 0)
    for row in found.jails:
        limits = limits_of(row) | dict(chosen.get(row.pk, {}))
        for limit in sums:
            sums[limit] += limits[limit] or 0
    return sums


# What has not arrived


@dataclass(frozen=True)
class Waiting:
    """A host where a tenant's plan is not yet: its datasets where they, together, have another quota than `share`, and
    jails without limits that they were given. operation: one that is on its way to bring it there."""

    host: Host
    share: int | None
    datasets: list[TenantDataset]
    jails: list[Jail]
    operation: Operation | None

    @property
    def used(self) -> int:
        return sum(row.used for row in self.datasets)

    @property
    def quota(self) -> int | None:
        return together(self.datasets)


def pending(tenant: Tenant, plan: TenantPlan | None) -> list[Waiting]:
    """By the names of hosts."""
    datasets = list(tenant.datasets.select_related("host"))
    jails = list(Jail.objects.filter(tenant=tenant).exclude(allotted={}).select_related("host").order_by("name"))
    jails = [row for row in jails if limits_of(row) != {limit: row.limits.get(limit) for limit in LIMITS.values()}]
    hosts = {row.host_id: row.host for row in (*datasets, *jails)}
    if not hosts:
        return []
    shares = plans.shares_of(plan, hosts)
    open_ = Operation.objects.filter(kind="tenant_limits", tenant=tenant, status__in=plans.UNFINISHED)
    operations = {row.host_id: row for row in open_.defer("plan").order_by("created_at")}
    found = [
        Waiting(
            host,
            shares[key],
            _not_there(shares[key], [row for row in datasets if row.host_id == key]),
            [row for row in jails if row.host_id == key],
            operations.get(key),
        )
        for key, host in hosts.items()
    ]
    return sorted((one for one in found if one.datasets or one.jails), key=lambda one: one.host.name)


def _not_there(share: int | None, datasets: list[TenantDataset]) -> list[TenantDataset]:
    """All of a host where one is to have another quota. A query for the few hosts with several pools."""
    several = {(row.tenant_id, row.host_id) for row in datasets[1:]}
    jails = [row for tenant, host in several for row in Jail.objects.filter(tenant=tenant, host=host)]
    quotas = on_pools(share, datasets, jails)
    return datasets if any(row.quota != quotas[row.name] for row in datasets) else []
