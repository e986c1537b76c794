"""Make what new jails need on a host: datasets, folders, the turning over of console logs and, if wanted, the reserve.

Every other kind makes what it needs by itself. This one makes all of it at once, and puts it right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jails.freebsd import files, zfs
from jails.hosts.facts import JAIL_CONF_D, MADE, RELEASES, TEMPLATES, HostFacts
from jails.models import Host, Operation
from jails.operations import checks, common, layout
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish


class HostSetup(Kind):
    name = "host_setup"
    action = "host.setup"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Prepare {host.name} for jails"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"reserve": wish.flag("reserve")}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts, operation_id = request.host, request.facts, request.operation_id
        facts.require("names", "mounts")
        pool = layout.pool_of(host, facts)
        if request.parameters["reserve"] and not pool:
            raise Refused({"reserve": f"{host.name} has no ZFS pool to hold anything back of."})
        reserve = reserve_steps(request, pool) if request.parameters["reserve"] else ()
        if not reserve and not _missing(host, facts, pool):
            raise Refused(f"{host.name} has all that jails need already.")
        return Plan(
            title=self.title(request.parameters, host),
            steps=common.each_once((*_steps(host, operation_id, pool), *reserve)),
            summary=_summary(host, pool, reserve=bool(reserve)),
            resources=(layout.lock(host, "parents"),),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"set up": True, "space held back": operation.parameters["reserve"]}


def _steps(host: Host, operation_id: str, pool: str) -> tuple[Step, ...]:
    jails = common.ensure_jail_parents(host, operation_id, pool=pool)
    releases = common.ensure_bases(host, operation_id, RELEASES, pool=pool)
    templates = common.ensure_bases(host, operation_id, TEMPLATES, pool=pool)
    return (*jails, *closed_steps(host.jail_root), *releases, *templates)


def closed_steps(jail_root: str) -> tuple[Step, ...]:
    """Shut out other users of the host also where somebody else has made the folder."""
    was = Step(
        key="jail-root-mode",
        purpose=f"Note who may enter {jail_root}",
        action=Run((("stat", "-f", "%Mp%Lp", jail_root),), captures=(("jail_root_mode", r"^([0-7]{3,4})$"),)),
        changes=False,
        seconds=30,
    )
    closed = checks.mode_is(jail_root, "0700")
    back = Run((("chmod", "-h", "${jail_root_mode}", jail_root),))
    shut = Step(
        key="jail-root-closed",
        purpose=f"Keep other users of the host out of {jail_root}",
        action=Run((files.change_mode(jail_root, "0700"),)),
        done_when=(closed,),
        undo=(Undo(back, only_if=(closed,)),),
        seconds=30,
        ensure=True,
    )
    return was, shut


def reserve_steps(request: Request, name: str) -> tuple[Step, ...]:
    """None where as much is held back already, here or by hand."""
    facts = request.facts
    pool = facts.pool(name)
    assert pool is not None
    wanted, dataset = layout.reserve_size(pool), layout.reserve_dataset(name)
    there = facts.dataset(dataset)
    if wanted <= pool.reserve or (there is not None and there.reservation >= wanted):
        return ()
    more = wanted - (there.reservation if there is not None else 0)
    if pool.available < more:
        raise Refused({"reserve": f"{name} has {pool.available} bytes left, and {more} more are to be held back."})
    if there is not None:
        return (_grow(dataset, there.reservation, wanted),)
    properties = {**common.UNMOUNTED, "reservation": str(wanted)}
    words = f"Hold back a fifth of {name}: a full pool cannot even delete"
    return (common.ensure_dataset(request.host, dataset, request.operation_id, properties, words),)


def _grow(dataset: str, before: int, wanted: int) -> Step:
    done = checks.dataset_property(dataset, "reservation", str(wanted))
    back = Run((zfs.set_properties(dataset, {"reservation": str(before)}),))
    return Step(
        key="reserve",
        purpose="Hold back a fifth of the pool again, which has grown",
        action=Run((zfs.set_properties(dataset, {"reservation": str(wanted)}),)),
        done_when=(done,),
        undo=(Undo(back, only_if=(done,)),),
        seconds=60,
    )


def _missing(host: Host, facts: HostFacts, pool: str) -> bool:
    folders = (host.jail_root, RELEASES, TEMPLATES, JAIL_CONF_D)
    roots = (layout.root, layout.releases_dataset, layout.templates_dataset)
    datasets = [dataset(pool) for dataset in roots] + [layout.tenant_dataset(pool, None)] if pool else []
    return (
        any(folder not in facts.names for folder in folders)
        or any(not facts.exists(*path.rsplit("/", 1)) for path in MADE)
        or any(facts.dataset(dataset) is None for dataset in datasets)
    )


def _summary(host: Host, pool: str, *, reserve: bool) -> tuple[str, ...]:
    where = f"datasets below {layout.root(pool)} and folders" if pool else "folders"
    lines = [f"What is missing of the {where} that jails need is made; what is there stays as it is."]
    if reserve:
        lines.append(f"A fifth of {pool} is held back for emergencies: jails cannot use it.")
    return tuple(lines)


kind = HostSetup()
