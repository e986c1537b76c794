"""Put a jail back as it was when a snapshot of it was taken: its files, not its configuration.

zfs(8) does it in one command, to which nothing is half done: `zfs rollback -r`, which takes newer snapshots with it and
refuses where something was made from one of them (there is never a -R). The plan names all that is lost first. What is
there now cannot be kept by a snapshot, for that would be a newer one: who wants to lose nothing makes a sandbox of the
old state, or takes single files out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jails import plans
from jails.freebsd import zfs
from jails.hosts.zfs_reader import Snapshot
from jails.models import Host, Jail, Operation
from jails.operations import checks, in_the_way, keys_change, layout, power, snapshots
from jails.operations.kind import Refused, Request
from jails.operations.step import Plan, Run, Step

SECONDS = 1800


class JailRollback(snapshots.OfOne):
    name = "jail_rollback"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Put {self.jails(host, parameters)[0].name} back to {parameters['snapshot']}"

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        facts.require("mounts", "files")
        row = snapshots.find_jail(host, request.parameters)
        found = power.look(row, facts)
        power.require_ours(host, found)
        own = snapshots.look(row, facts)
        snapshot = own.find(request.parameters["snapshot"])
        newer = own.newer(snapshot)
        _require_possible(request, found, own, newer)
        running = found.running is not None
        then = snapshots.when(snapshot)
        logins = keys_change.put_since(row, snapshot.creation)
        place = keys_change.Place(row.name, row.path, f"keys-{request.operation_id}", row.name)
        return Plan(
            title=self.title(request.parameters, host),
            steps=tuple(_steps(request, found, own, snapshot, keys_change.as_now(place, row, logins))),
            summary=(
                f"The files of {row.name} will be what they were at {then}.",
                f"It is stopped for that, and {'started again' if running else 'stays stopped'}.",
                "Its addresses, limits and place at boot stay as they are now"
                f"{', and so do the keys that people have in it' if logins else ''}.",
            ),
            warnings=(
                "This cannot be undone. To lose nothing, make a sandbox of it or take single files out instead.",
                *filter(None, (power.host_addresses_lost(found, facts) if running else "",)),
            ),
            loses=(
                f"all that was written in {row.name} since {then}",
                *(f"the snapshot {snapshots.short(one)}, of {snapshots.when(one)}" for one in newer),
            ),
            sizes=tuple(_sizes(own, snapshot, newer)),
            notes=(*power.dying_notes([found]), *(in_the_way.before_start(host, [found]) if running else ())),
            resources=(
                *power.resources(host, [found], start=running),
                *(lock for lock in snapshots.locks(host, row) if "dataset:" in lock),
                *([layout.jail_lock(host, place.alone)] if logins else ()),
            ),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"put back to": operation.parameters["snapshot"]}

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        snapshots.note_count(operation, row)
        started = any(step.key == f"start-{row.name}" for step in plan.steps)
        power.note_state(operation, Jail.State.RUNNING if started else Jail.State.STOPPED, [row.name])


kind = JailRollback()


def _require_possible(request: Request, found: power.Found, own: snapshots.Own, newer: Iterable[Snapshot]) -> None:
    row, facts = found.row, request.facts
    snapshots.refuse_in_use(own, newer, "A newer snapshot would have to go, and cannot")
    # What a rollback takes away from under a mount would stay reachable by nobody.
    below = [one.mountpoint for one in facts.children(row.dataset) if one.mounted and not one.jailed]
    if mounts := [*power.foreign_mounts(found, facts), *below]:
        raise Refused(f"{power.listed(mounts)} is mounted in its tree: unmount that first.")
    if found.dying:
        raise Refused(f"{row.name} is still dying: try again in a moment.")
    if found.running is None:
        others = [one.name for one in facts.jails if one.path == row.path]
        if others:
            raise Refused(f"{power.spoken(found, others)} runs in its tree: stop that first.")
        return
    if why := power.why_not_stop(facts, found, [found]):
        raise Refused(f"{row.name}: {why}")
    if why := power.why_not_start(request.host, facts, found, [found]):
        raise Refused(f"{row.name} could not be started again: {why}")


def _sizes(own: snapshots.Own, snapshot: Snapshot, newer: tuple[Snapshot, ...]) -> Iterable[str]:
    if not newer:
        yield f"written in {own.row.name} since {snapshots.when(snapshot)}: {plans.size(own.dataset.written)}"
        return
    yield f"written in {own.row.name} since its newest snapshot: {plans.size(own.dataset.written)}"
    for one in newer:
        yield f"the snapshot {snapshots.short(one)}: {plans.size(one.used)} that only it holds"


def _steps(
    request: Request, found: power.Found, own: snapshots.Own, snapshot: Snapshot, keys: Iterable[Step]
) -> Iterable[Step]:
    row, facts = found.row, request.facts
    if found.running is not None:
        yield from power.stop_steps(found, facts, back=True)
    yield from power.clear_steps(found, facts)
    newer = own.newer(snapshot)
    # Not marked as what nothing brings back, though it is: a command that fails has changed nothing, and then the jail
    # is started again. Run twice, with nothing written in between, it does the same.
    yield Step(
        key="rollback",
        purpose=f"Put its files back to {snapshots.short(snapshot)}"
        + (", and destroy the newer snapshots" if newer else ""),
        action=Run((zfs.rollback(snapshot.name, newer=bool(newer)),)),
        requires=(
            checks.dataset_property(snapshot.name, "creation", str(snapshot.creation)),
            checks.only_snapshots(row.dataset, *(one.name for one in own.snapshots)),
            checks.snapshots_free(row.dataset, *(one.name for one in newer)),
            checks.jail_absent(row.name),
            checks.nothing_mounted_below(row.path),
        ),
        seconds=SECONDS,
        attempts=3,
        in_use=row.path,
        subject=row.name,
    )
    # Before it starts: whoever lost the right to a key does not get it back, not for a moment.
    yield from keys
    if found.running is not None:
        yield power.start_step(found)
