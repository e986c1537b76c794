"""Give jails to a tenant, or take them back to nobody: stop, move the dataset under the tenant's, start.

The path stays /jail/NAME, and so do the jail's file, addresses and boot. A jail on UFS stays where it is: only its row
changes. All jails of one operation are given, or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jails import audit, keys, plans, usage
from jails.freebsd import zfs
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset
from jails.models import Host, Jail, Operation, Tenant
from jails.models.release import Storage
from jails.operations import adoption, checks, common, effects, jailfile, layout, power
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Check, Plan, Run, Step, Undo, WriteFile
from jails.operations.wish import Wish


class JailGive(Kind):
    name = "jail_give"
    action = "jail.give"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        """The one that gets them; where they go to nobody, the one that had them.

        From one tenant to another it is in nobody's log but the staff's, as its steps name both; `finish` then tells
        each of the two its own part.
        """
        if parameters["tenant"] is None:
            return super().tenant(host, parameters)
        others = {row.tenant_id for row in self.jails(host, parameters)} - {None, parameters["tenant"]}
        return None if others else Tenant.objects.filter(pk=parameters["tenant"]).first()

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        tenant = Tenant.objects.filter(pk=parameters["tenant"]).first() if parameters["tenant"] else None
        return _title(self.jails(host, parameters), tenant)

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        tenant = Tenant.objects.filter(pk=parameters["tenant"]).first() if parameters["tenant"] else None
        return plans.of_given(tenant, host, self.jails(host, parameters))

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jails": wish.uuids("jails"), "tenant": wish.key("tenant")}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        tenant = common.find_tenant(request.parameters["tenant"])
        try:
            rows = self.jails(host, request.parameters)
        except LookupError as error:
            raise Refused({"jails": f"{error}."}) from error
        found = [power.look(row, facts) for row in rows]
        moved = [one for one in found if _moves(one.row, tenant)]
        running = power.in_order(facts, [one for one in moved if one.running is not None])

        def why_not(one: power.Found) -> str:
            why = _why_not(one, tenant, facts)
            if not why and one in running:
                why = power.why_not_start(host, facts, one, running) or power.why_not_stop(facts, one, running)
            return why

        power.refuse(found, why_not)
        moves = [
            _Move(one.row, dataset, _target(one.row, tenant)) for one in moved if (dataset := _dataset(one, facts))
        ]
        parents = [
            common.ensure_tenant(host, pool, tenant, request.operation_id)
            for pool in sorted({move.dataset.pool for move in moves})
        ]
        steps = [
            *parents,
            *(step for one in reversed(running) for step in power.stop_steps(one, facts, back=True)),
            *(step for move in moves for step in move.steps()),
            *(power.start_step(one) for one in running),
            *(step for one in found for step in _note_steps(one, tenant, facts)),
        ]
        return Plan(
            title=_title(rows, tenant),
            steps=tuple(steps),
            summary=_summary(rows, moves, tenant),
            warnings=_warnings(running, moves, facts),
            notes=power.dying_notes(moved),
            resources=_resources(host, found, running, moves),
            result=tuple((str(move.row.uuid), move.target) for move in moves),
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        key = operation.parameters["tenant"]
        tenant = Tenant.objects.get(pk=key) if key is not None else None
        datasets = dict(plan.result)
        for row in self.jails(operation.host, operation.parameters):
            former = row.tenant
            usage.hand_over(row)
            row.touched, row.dataset = True, datasets.get(str(row.uuid), row.dataset)
            row.save(update_fields=["touched", "dataset"])
            row.grants.exclude(membership__tenant=tenant).delete()
            # While it is the former tenant's: its people and their keys are none of the new one's business.
            keys.settle_given(row, tenant, actor=operation.confirmed_by, source="worker")
            row.tenant, row.allotted = tenant, {}
            row.save(update_fields=["tenant", "allotted"])
            if former is not None and former != operation.tenant:
                _tell(operation, row, former, f"{row.name} is no longer a jail of {former}.")
            if tenant is not None and tenant != operation.tenant:
                _tell(operation, row, tenant, f"{row.name} is a jail of {tenant} now.")


kind = JailGive()

TOUCHED = "cellblock:touched"


def _tell(operation: Operation, row: Jail, tenant: Tenant, detail: str) -> None:
    """In the log of a tenant that does not see the operation."""
    audit.record("jail.give", actor=operation.confirmed_by, obj=row, tenant=tenant, detail=detail, source="worker")


def wishes(owners: Mapping[Jail, Tenant | None]) -> list[tuple[Host, dict[str, Any]]]:
    """Who shall get each jail, as the operations that do it: one a host and new owner. For archiving a tenant."""
    groups: dict[tuple[Host, Tenant | None], list[str]] = {}
    for jail, tenant in owners.items():
        groups.setdefault((jail.host, tenant), []).append(str(jail.uuid))
    return [
        (host, {"jails": uuids, "tenant": tenant.pk if tenant else None}) for (host, tenant), uuids in groups.items()
    ]


@dataclass(frozen=True)
class _Move:
    """One jail's dataset, from under one tenant's to under another's."""

    row: Jail
    dataset: Dataset
    target: str

    @property
    def ours(self) -> Check:
        return checks.dataset_property(self.target, layout.JAIL, str(self.row.uuid))

    def steps(self) -> tuple[Step, ...]:
        return (self._rename(), *(() if self.dataset.marks.get(TOUCHED) == "yes" else (self._mark(),)))

    def _mark(self) -> Step:
        """For a database that is rebuilt from the hosts: from now on no host follows a path into this tree."""
        was = self.dataset.marks.get(TOUCHED, "")
        back = zfs.set_properties(self.target, {TOUCHED: was}) if was else zfs.inherit(TOUCHED, self.target)
        return Step(
            key=f"mark-{self.row.name}",
            purpose=f"Mark the tree of {self.row.name} as one that a tenant has had",
            action=Run((zfs.set_properties(self.target, {TOUCHED: "yes"}),)),
            done_when=(self.ours, checks.dataset_property(self.target, TOUCHED, "yes")),
            undo=(Undo(Run((back,)), only_if=(self.ours,)),),
            seconds=30,
            subject=self.row.name,
        )

    def _rename(self) -> Step:
        """-u leaves it mounted where it is: its mount point is a property of its own and does not follow the name.

        Which dataset it is shows by the jail's uuid in it.
        """
        source = self.dataset.name
        moved = (self.ours, checks.dataset_absent(source))
        back = Run((zfs.rename(self.target, source, keep_mounted=True),))
        return Step(
            key=f"move-{self.row.name}",
            purpose=f"Move the dataset of {self.row.name}, with its snapshots, below that of its new owner",
            action=Run((zfs.rename(source, self.target, keep_mounted=True),)),
            done_when=moved,
            undo=(Undo(back, only_if=moved),),
            requires=(checks.dataset_property(source, layout.JAIL, str(self.row.uuid)),),
            seconds=60,
            subject=self.row.name,
        )


def _note_steps(found: power.Found, tenant: Tenant | None, facts: HostFacts) -> tuple[Step, ...]:
    """On UFS no dataset says whose a jail is: the comment in its file does, for a database rebuilt from the hosts."""
    row = found.row
    before = facts.files.get(row.config_path) if row.managed and row.storage != Storage.ZFS else None
    after = jailfile.with_tenant(before, tenant.slug if tenant is not None else "") if before is not None else None
    if before is None or after is None or after == before:
        return ()
    write = WriteFile(row.config_path, after, before=before)
    step = Step(
        key=f"note-{row.name}",
        purpose=f"Note in the file of {row.name}, in a comment, whose it is",
        action=write,
        done_when=(checks.file_has(write.path, write.content),),
        undo=effects.undo_of(write),
        seconds=30,
        subject=row.name,
    )
    return (step,)


def _moves(row: Jail, tenant: Tenant | None) -> bool:
    """An adopted jail has its dataset where its administrator keeps it: then only its row changes."""
    return row.managed and row.storage == Storage.ZFS and row.dataset != _target(row, tenant)


def _target(row: Jail, tenant: Tenant | None) -> str:
    return layout.jail_dataset(row.dataset.partition("/")[0], tenant, row.name)


def _dataset(found: power.Found, facts: HostFacts) -> Dataset | None:
    return facts.dataset(found.row.dataset)


def _why_not(found: power.Found, tenant: Tenant | None, facts: HostFacts) -> str:
    """A sentence, or ""."""
    row = found.row
    if not row.is_kept:
        return "it was not made by Cellblock: adopt it first."
    if row.state == Jail.State.PENDING:
        return "it is being made."
    if row.tenant == tenant:
        return f"it belongs to {tenant or 'nobody'} already."
    if tenant is not None and row.adoption and (why := _why_not_trusted(found)):
        return why
    return found.problem or (_why_not_move(found, tenant, facts) if _moves(row, tenant) else "")


def _why_not_trusted(found: power.Found) -> str:
    """By the file that starts it, its tool's or jail.conf(5)."""
    if found.tool is not None:
        return adoption.why_not_trusted(found.name, found.tool.parameters, found.tool.root)
    given = dict(found.configured.parameters) if found.configured is not None else {}
    return adoption.why_not_trusted(found.name, given, (given.get("path") or (found.row.path,))[-1])


def _why_not_move(found: power.Found, tenant: Tenant | None, facts: HostFacts) -> str:
    row = found.row
    dataset, problem = power.own_dataset(row, facts)
    if dataset is None:
        return problem
    if dataset.name in facts.doubtful:
        return f"the properties of {dataset.name} cannot be read safely: look at it on the host."
    if not dataset.name.startswith(f"{layout.root(dataset.pool)}/"):
        return f"its dataset {dataset.name} is not below {layout.root(dataset.pool)}."
    if dataset.mountpoint != row.path:
        return f"its dataset {dataset.name} belongs at {dataset.mountpoint or 'no path'}, expected {row.path}."
    if dataset.jailed:
        return f"its dataset {dataset.name} was handed over to a jail (jailed=on): take it back first."
    target = _target(row, tenant)
    if facts.dataset(target) is not None:
        return f"{target} is there already: rename or remove it first."
    parent = facts.dataset(target.rpartition("/")[0])
    if parent is not None and parent.quota and parent.quota - parent.used < dataset.used:
        return f"it holds more than the quota of {parent.name} leaves."
    return ""


def _title(rows: Sequence[Jail], tenant: Tenant | None) -> str:
    names = power.listed([row.name for row in rows])
    return f"Give {names} to {tenant}" if tenant else f"Take {names} back to nobody"


def _summary(rows: Sequence[Jail], moves: Sequence[_Move], tenant: Tenant | None) -> tuple[str, ...]:
    lines = []
    if len(moves) == 1:
        lines.append(f"{moves[0].dataset.name} becomes {moves[0].target}; it stays at {moves[0].row.path}.")
    elif moves:
        lines.append(f"The datasets of {power.listed([move.row.name for move in moves])} move; their paths stay.")
    if adopted := [row.name for row in rows if not row.managed]:
        words = "nothing on the host is moved or stopped, only the owner changes."
        lines.append(f"{power.listed(adopted)} {'was' if len(adopted) == 1 else 'were'} adopted: {words}")
    if staying := [row.name for row in rows if row.managed and row.storage != Storage.ZFS]:
        lines.append(f"{power.listed(staying)}: on UFS nothing is moved or stopped, only the owner changes.")
    who = f"the members of {tenant}" if tenant else "no tenant"
    lines.append(f"Then {who} may see and use {'it' if len(rows) == 1 else 'them'}.")
    return tuple(lines)


def _warnings(running: Sequence[power.Found], moves: Sequence[_Move], facts: HostFacts) -> tuple[str, ...]:
    warnings = []
    if running:
        warnings.append(f"{power.listed([one.name for one in running])} will be stopped and started again.")
    if below := [dataset.name for move in moves for dataset in facts.children(move.dataset.name)]:
        warnings.append(f"What is below moves along: {power.listed(below)}.")
    return (*warnings, *filter(None, (power.host_addresses_lost(one, facts) for one in running)))


def _resources(
    host: Host, found: Sequence[power.Found], running: Sequence[power.Found], moves: Sequence[_Move]
) -> tuple[str, ...]:
    names = {*power.resources(host, found, start=False), *power.resources(host, running, start=True)}
    names |= {layout.dataset_lock(host, name) for move in moves for name in (move.dataset.name, move.target)}
    return tuple(sorted(names))
