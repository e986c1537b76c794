"""Bring a tenant's plan to one host: the quota of the dataset above its jails, and the limits that jails were given.

The panel adds up the quotas of the jails; the host holds to their sum what grows beside those as well. With no disk in
the plan, or no plan, there is none. Limits go into each jail's own file, and into force where it runs, without a
restart.

What cannot be for the moment is left out, with the reason, and stays not yet there; all else goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from jails import allotting, plans, usage
from jails.freebsd import zfs
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset
from jails.models import Host, Jail, Operation, Tenant, TenantDataset
from jails.operations import checks, jail_change, jailfile, layout, limits, power
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish

DATASET, JAIL = "dataset ", "jail "
"""In a plan's result, before a dataset's name and a jail's uuid: what each had and gets, as JSON."""
LINES = 3


class TenantLimits(Kind):
    """{"tenant": id}: what is to be is read from its plan and jails, when it is planned and when it is run."""

    name = "tenant_limits"
    action = "tenant.plan"

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        return Tenant.objects.filter(pk=parameters["tenant"]).first()

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return list(waiting(parameters["tenant"]).filter(host=host).order_by("name"))

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Hold {self.tenant(host, parameters)} to its plan on {host.name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"tenant": wish.required_key("tenant")}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        tenant = self.tenant(host, request.parameters)
        if tenant is None:
            raise Refused({"tenant": "There is no such tenant."})
        planned = _Planned(host, facts, tenant)
        for one in self.jails(host, request.parameters):
            planned.add_jail(one)
        if not planned.steps:
            raise Refused(
                " ".join(dict.fromkeys(planned.left_out)) or f"Nothing on {host.name} is to be changed for {tenant}."
            )
        return Plan(
            title=self.title(request.parameters, host),
            steps=tuple(planned.steps),
            summary=_few(planned.summary),
            warnings=tuple(f"Left out: {why}" for why in dict.fromkeys(planned.left_out)),
            notes=tuple(planned.notes()),
            resources=tuple(dict.fromkeys(planned.resources)),
            result=tuple(planned.result),
        )

    def replaces(self, operation: Operation) -> QuerySet[Operation]:
        """Earlier ones of the same tenant on the same host: what the plan says now is in this one.

        Of two that are confirmed at once the second waits here for the first, and finds it.
        """
        tenant = operation.parameters["tenant"]
        Tenant.objects.select_for_update(no_key=True).filter(pk=tenant).first()
        rows = Operation.objects.filter(kind=self.name, host=operation.host_id, parameters__tenant=tenant)
        rows = rows.filter(status__in=(Operation.Status.QUEUED, Operation.Status.STALE)).exclude(pk=operation.pk)
        return rows.select_for_update(of=("self",)).select_related("host", "tenant").order_by("pk")

    def finish(self, operation: Operation, plan: Plan) -> None:
        rows = {str(row.uuid): row for row in kept(operation, plan.result)}
        for key, text in plan.result:
            new = json.loads(text)["after"]
            if key.startswith(DATASET):
                datasets = TenantDataset.objects.filter(host=operation.host, name=key.removeprefix(DATASET))
                datasets.update(quota=new["quota"])
            elif (row := rows.get(key.removeprefix(JAIL))) is not None:
                row.limits |= new
                row.allotted = {limit: value for limit, value in row.allotted.items() if new.get(limit) != value}
        Jail.objects.bulk_update(rows.values(), ["limits", "allotted"], batch_size=200)

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of datasets alone: what its jails have, their rows tell."""
        datasets = [json.loads(text) for key, text in plan.result if key.startswith(DATASET)]
        before, after = ({one["name"]: one[when] for one in datasets} for when in ("before", "after"))
        return before, after


def kept(operation: Operation, result: Iterable[Sequence[str]]) -> QuerySet[Jail]:
    """The jails of a plan's result, locked, without the host that their usual order would join."""
    uuids = [key.removeprefix(JAIL) for key, _ in result if key.startswith(JAIL)]
    rows = Jail.objects.select_for_update(no_key=True).filter(host=operation.host, uuid__in=uuids)
    return rows.order_by("pk")


class _Planned:
    """What a plan is put together from, datasets first."""

    def __init__(self, host: Host, facts: HostFacts, tenant: Tenant) -> None:
        self.host, self.facts, self.tenant = host, facts, tenant
        self.steps: list[Step] = []
        self.summary: list[str] = []
        self.left_out: list[str] = []
        self.resources: list[str] = []
        self.result: list[tuple[str, str]] = []
        self.used: list[str] = []
        self.limited: dict[Jail, dict[str, int]] = {}
        share, datasets = plans.share_of(plans.plan_of(tenant), host), list(datasets_of(tenant, facts))
        quotas = allotting.on_pools(share, datasets, Jail.objects.filter(tenant=tenant, host=host))
        for one in datasets:
            if (one.quota or None) != quotas[one.name]:
                self._add_dataset(one, quotas[one.name])
        if share is not None and len(datasets) > 1 and self.steps:
            self.used.append(f"{plans.size(share)} are for all of its pools together.")

    def _add_dataset(self, dataset: Dataset, quota: int | None) -> None:
        if why := _why_no_quota(self.host, self.tenant, dataset, quota):
            self.left_out.append(why)
            return
        old = dataset.quota or None
        self.steps.append(_step(self.tenant, dataset, quota))
        self.summary.append(f"{dataset.name}: quota {_shown(old)} → {_shown(quota)}.")
        self.used.append(f"It uses {plans.size(dataset.used)} there, snapshots included.")
        self.resources.append(layout.dataset_lock(self.host, dataset.name))
        self._note(DATASET + dataset.name, dataset.name, {"quota": old}, {"quota": quota})

    def add_jail(self, row: Jail) -> None:
        found = power.look(row, self.facts)
        changes = jail_change.limit_effects(found, row.allotted, self.facts)
        done: dict[str, jail_change.Effect] = {}
        for names in (("quota",), jailfile.RULES):
            some = {limit: changes[limit] for limit in names if limit in changes}
            if some and self._add_limits(found, some):
                done |= some
        if not done:
            return
        self.summary.append(f"{row.name}: {', '.join(map(str, done.values()))}.")
        self.resources.append(layout.jail_lock(self.host, row.name))
        if "quota" in done:
            self.resources.append(layout.dataset_lock(self.host, row.dataset))
        old = {limit: effect.old for limit, effect in done.items()}
        new = {limit: effect.new for limit, effect in done.items()}
        self._note(JAIL + str(row.uuid), row.name, old, new)
        self.limited[row] = new

    def _add_limits(self, found: power.Found, changes: Mapping[str, jail_change.Effect]) -> bool:
        try:
            steps = list(jail_change.limit_steps(self.host, self.facts, found, changes))
        except Refused as refused:
            why = " ".join(refused.errors.values())
            self.left_out.append(why if why.startswith(found.name) else f"{found.name}: {why}")
            return False
        # Where somebody has written just that by hand already, there is nothing to do but to note it.
        self.steps += steps or [_look_step(found, self.facts)]
        return True

    def _note(self, key: str, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self.result.append((key, json.dumps({"name": name, "before": before, "after": after}, sort_keys=True)))

    def notes(self) -> Iterable[str]:
        yield from self.used
        yield from limits.notes(self.host.name, self.facts, self.limited.values())
        now = usage.lately(self.limited)
        for row, new in self.limited.items():
            yield from (f"{row.name} {words}" for words in limits.below_use(new, now.get(row.pk)))


def waiting(tenant: Any) -> Any:
    """Jails of a tenant that were given limits which are not on their host yet."""
    rows = Jail.objects.filter(tenant=tenant).exclude(allotted={})
    return rows.select_related("tenant", "release", "template", "host")


def datasets_of(tenant: Tenant, facts: HostFacts) -> Iterable[Dataset]:
    """Of each pool. Raises Missing."""
    facts.require("zfs")
    found = (facts.dataset(layout.tenant_dataset(pool.name, tenant)) for pool in facts.pools)
    return [one for one in found if one is not None]


def _why_no_quota(host: Host, tenant: Tenant, dataset: Dataset, quota: int | None) -> str:
    if not dataset.marks.get(layout.OPERATION):
        return f"{dataset.name} on {host.name} was not made by Cellblock: set its quota there by hand."
    if quota is not None and quota < dataset.used:
        return (
            f"{tenant} uses {plans.size(dataset.used)} on {host.name}, snapshots included, and its plan has "
            f"{plans.size(quota)} of disk for it: ZFS takes no quota below what is used. Free some there first, or "
            "allow more."
        )
    return ""


def _step(tenant: Tenant, dataset: Dataset, quota: int | None) -> Step:
    old, new = dataset.quota or None, quota
    together = f"Let the jails of {tenant} in {dataset.name.partition('/')[0]} together fill"
    return Step(
        key=f"quota-{dataset.name}",
        purpose=f"{together} at most {plans.size(new)}" if new is not None else f"{together} the pool",
        action=Run((_set(dataset, new),)),
        done_when=(_is(dataset, new),),
        undo=(Undo(Run((_set(dataset, old),)), only_if=(_is(dataset, new),)),),
        requires=(checks.dataset_property(dataset.name, layout.OPERATION, dataset.marks[layout.OPERATION]),),
        seconds=60,
    )


def _look_step(found: power.Found, facts: HostFacts) -> Step:
    return Step(
        key=f"read-{found.name}",
        purpose=f"See that {found.file} says so already",
        action=Run((("sha256", "-q", found.file),)),
        done_when=(checks.file_has(found.file, facts.file(found.file) or ""),),
        changes=False,
        seconds=30,
        subject=found.name,
    )


def _set(dataset: Dataset, quota: int | None) -> tuple[str, ...]:
    return zfs.set_properties(dataset.name, {"quota": "none" if quota is None else str(quota)})


def _is(dataset: Dataset, quota: int | None) -> Any:
    return checks.dataset_property(dataset.name, "quota", str(quota or 0))


def _shown(quota: int | None) -> str:
    return "none" if quota is None else plans.size(quota)


def _few(lines: Sequence[str]) -> tuple[str, ...]:
    """What fits above a plan; its steps say all of it."""
    more = len(lines) - LINES
    return tuple(lines) if more <= 0 else (*lines[: LINES - 1], f"And {more + 1} more: see the steps.")


kind = TenantLimits()
