"""Hold a tenant's jails together to the disk of its plan on one host, by the quota of the dataset above them.

The panel adds up the quotas of the jails; the host holds to their sum what grows beside those as well. With no disk in
the plan, or no plan, there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jails import plans
from jails.freebsd import zfs
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset
from jails.models import Host, Operation, Tenant, TenantDataset
from jails.operations import checks, layout
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish


class TenantLimits(Kind):
    """{"tenant": id}: what the quota is to be is read from its plan, when it is planned and when it is run."""

    name = "tenant_limits"
    action = "tenant.plan"

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        return Tenant.objects.filter(pk=parameters["tenant"]).first()

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
        quota = quota_of(tenant)
        datasets = [one for one in datasets_of(tenant, facts) if (one.quota or None) != quota]
        if not datasets:
            raise Refused(f"Nothing on {host.name} is to be changed for {tenant}.")
        for one in datasets:
            _require_room(host, tenant, one, quota)
        return Plan(
            title=self.title(request.parameters, host),
            steps=tuple(_step(tenant, one, quota) for one in datasets),
            summary=tuple(f"{one.name}: quota {_shown(one.quota or None)} → {_shown(quota)}." for one in datasets),
            notes=tuple(f"It uses {plans.size(one.used)} there, snapshots included." for one in datasets),
            resources=tuple(layout.dataset_lock(host, one.name) for one in datasets),
            result=(("quota", str(quota or 0)), *((f"dataset {at}", one.name) for at, one in enumerate(datasets))),
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        result = dict(plan.result)
        names = [name for key, name in plan.result if key.startswith("dataset ")]
        rows = TenantDataset.objects.filter(host=operation.host, name__in=names)
        rows.update(quota=int(result["quota"]) or None)


def quota_of(tenant: Tenant) -> int | None:
    """Bytes that its plan allows on each host; None for no limit."""
    plan = plans.plan_of(tenant)
    return plan.disk if plan is not None else None


def datasets_of(tenant: Tenant, facts: HostFacts) -> Iterable[Dataset]:
    """Of each pool. Raises Missing."""
    facts.require("zfs")
    found = (facts.dataset(layout.tenant_dataset(pool.name, tenant)) for pool in facts.pools)
    return [one for one in found if one is not None]


def _require_room(host: Host, tenant: Tenant, dataset: Dataset, quota: int | None) -> None:
    if not dataset.marks.get(layout.OPERATION):
        raise Refused(f"{dataset.name} on {host.name} was not made by Cellblock: set its quota there by hand.")
    if quota is not None and quota < dataset.used:
        raise Refused(
            f"{tenant} uses {plans.size(dataset.used)} on {host.name}, snapshots included, and its plan has "
            f"{plans.size(quota)} of disk: ZFS takes no quota below what is used. Free some there first, or allow more."
        )


def _step(tenant: Tenant, dataset: Dataset, quota: int | None) -> Step:
    old, new = dataset.quota or None, quota
    together = f"Let the jails of {tenant} together fill"
    return Step(
        key=f"quota-{dataset.name}",
        purpose=f"{together} at most {plans.size(new)}" if new is not None else f"{together} the pool",
        action=Run((_set(dataset, new),)),
        done_when=(_is(dataset, new),),
        undo=(Undo(Run((_set(dataset, old),)), only_if=(_is(dataset, new),)),),
        requires=(checks.dataset_property(dataset.name, layout.OPERATION, dataset.marks[layout.OPERATION]),),
        seconds=60,
    )


def _set(dataset: Dataset, quota: int | None) -> tuple[str, ...]:
    return zfs.set_properties(dataset.name, {"quota": "none" if quota is None else str(quota)})


def _is(dataset: Dataset, quota: int | None) -> Any:
    return checks.dataset_property(dataset.name, "quota", str(quota or 0))


def _shown(quota: int | None) -> str:
    return "none" if quota is None else plans.size(quota)


kind = TenantLimits()
