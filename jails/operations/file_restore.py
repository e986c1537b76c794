"""Bring one file or directory of a jail back out of a snapshot, beside what is there or in its place.

The host follows no path into either tree. The snapshot is the root of a jail of its own, without network, whose tar
reads; what it writes goes through a pipe into the jail itself, whose tar unpacks: in the running jail, or in one that
ends with the command where it does not run (jails.freebsd.inside). A jail must not look into .zfs itself
(zfs.mount_snapshot of jail(8)), and needs not: the host mounts the snapshot before the jail begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jails import plans
from jails.freebsd import inside, jail, jexec, names
from jails.freebsd.command import Argv
from jails.hosts.zfs_reader import Snapshot
from jails.models import Host, Jail, Operation
from jails.operations import checks, common, keys_change, layout, power, snapshots
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Check, Plan, Run, Step, Undo
from jails.operations.wish import Wish

SECONDS = 3600
BESIDE, REPLACE = "beside", "replace"


class FileRestore(Kind):
    name = "file_restore"
    action = "jail.snapshot"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        (row,) = self.jails(host, parameters)
        return f"Bring {parameters['path']} of {row.name} back from {parameters['snapshot']}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {
            "jail": wish.uuid("jail"),
            "snapshot": wish.text("snapshot", names.snapshot_reference_error),
            "path": wish.text("path", path_error),
            "how": wish.choice("how", (BESIDE, REPLACE)),
        }
        cleaned |= snapshots.clean_first(self.name, wish)
        wish.refuse_wrong()
        return cleaned

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        return plans.of_snapshot_first(self.jails(host, parameters)[0], parameters)

    def plan(self, request: Request) -> Plan:
        host, facts, wish = request.host, request.facts, request.parameters
        facts.require("mounts", "files")
        row = snapshots.find_jail(host, wish)
        found = power.look(row, facts)
        power.require_ours(host, found, file=False)
        own = snapshots.look(row, facts)
        snapshot = own.find(wish["snapshot"])
        if found.dying:
            raise Refused(f"{row.name} is still dying: try again in a moment.")
        if not own.dataset.mounted:
            raise Refused(f"{row.dataset} is not mounted: mount it first.")
        others = [one.name for one in facts.jails if one.path == row.path and one.name != row.name]
        if others:
            raise Refused(f"{power.spoken(found, others)} runs in its tree: stop that first.")
        path, name = wish["path"], wish["path"].rpartition("/")[2]
        called, before = (f"{name}.{word}-{request.operation_id[:8]}" for word in ("restored", "before"))
        if problem := inside.name_error(called):
            raise Refused({"path": f"{called} {problem}"})
        steps = [_unpack_step(request, row, found, path, called)]
        if wish["how"] == REPLACE:
            steps.append(_swap_step(request, row, found, path, called, before))
            steps += _keys_steps(request, row, snapshot)
            then = (
                f"{name} is as it was at {snapshots.when(snapshot)}. What is there now is kept beside it as {before}."
            )
        else:
            then = f"What was there at {snapshots.when(snapshot)} is put beside it as {called}."
        below = [one.path for one in facts.mounted_below(row.path) if _is_below(f"{row.path}{path}", one.path)]
        plan = Plan(
            title=self.title(wish, host),
            steps=tuple(steps),
            summary=(then, f"{row.name} {'goes on running' if found.running is not None else 'stays stopped'}."),
            warnings=(f"Not in it, for it is mounted: {', '.join(below)}.",) if below else (),
            resources=(
                *snapshots.locks(host, row),
                # So that a refresh takes these jails, which end with their command, for nobody's.
                *(layout.jail_lock(host, f"{word}-{request.operation_id}") for word in ("read", "write", "keys")),
            ),
        )
        return snapshots.with_first(request, self.name, row, plan) if wish["how"] == REPLACE else plan

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        if operation.parameters.get("snapshot_first"):
            snapshots.note_count(operation, self.jails(operation.host, operation.parameters)[0])

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        wish = operation.parameters
        return {}, {"put back": wish["path"], "from": wish["snapshot"], "how": wish["how"]}


kind = FileRestore()


def path_error(value: str) -> str | None:
    return "is all of it: put the jail back instead." if value == "/" else inside.path_error(value)


def _keys_steps(request: Request, row: Jail, snapshot: Snapshot) -> Iterable[Step]:
    """Where a home, or what is in its .ssh, is put back: a key that was taken out since goes again."""
    path = request.parameters["path"]
    if "/.ssh" not in path and path not in ("/home", "/usr", "/usr/home") and not _is_home(path):
        return ()
    place = keys_change.Place(row.name, row.path, f"keys-{request.operation_id}", row.name)
    return keys_change.as_now(place, row, keys_change.put_since(row, snapshot.creation))


def _is_home(path: str) -> bool:
    return path.rpartition("/")[0] in ("/home", "/usr/home")


def _is_below(path: str, point: str) -> bool:
    return "/.zfs/" not in point and (point == path or point.startswith(f"{path}/"))


def _inside(request: Request, row: Jail, found: power.Found, command: Argv) -> Argv:
    """In the jail itself where it runs, else in one that ends with the command."""
    if found.running is not None:
        return jexec.run(row.name, command)
    return jail.run_transient(f"write-{request.operation_id}", row.path, command)


def _where(found: power.Found) -> str:
    return "from inside it" if found.running is not None else "from inside, in a jail of its own without network"


def _ends(request: Request) -> tuple[Undo, ...]:
    """What is left of jails that should have ended with their command."""
    left = []
    for word in ("read", "write"):
        name = f"{word}-{request.operation_id}"
        there = checks.is_not(checks.jail_absent(name))
        left.append(Undo(Run((jail.remove_unconfigured(name),)), only_if=(there,)))
    return tuple(left)


def _unpack_step(request: Request, row: Jail, found: power.Found, path: str, called: str) -> Step:
    snapshot = f"{row.path}/.zfs/snapshot/{request.parameters['snapshot']}"
    read = jail.run_transient(f"read-{request.operation_id}", snapshot, inside.pack(path))
    work = f".restore-{request.operation_id}"
    write = _inside(request, row, found, inside.unpack(path, called, work))
    remove = Run((_inside(request, row, found, inside.discard(path, called, work)),))
    return Step(
        key="unpack",
        purpose=f"Read {path} in the snapshot, shut in there, and unpack it in {row.name} {_where(found)}",
        action=Run((read, write)),
        undo=(*_ends(request), Undo(remove, only_if=_same_state(row, found), tolerant=True)),
        again=_ends(request),
        requires=(checks.mounted(row.path), *_same_state(row, found)),
        seconds=SECONDS,
        subject=row.name,
    )


def _swap_step(request: Request, row: Jail, found: power.Found, path: str, called: str, before: str) -> Step:
    words = (path, called, before, f".swap-{request.operation_id}")
    back = Run((_inside(request, row, found, inside.swap_back(*words)),))
    return Step(
        key="swap",
        purpose=f"Give it the name of what is there now, and keep that as {before}",
        action=Run((_inside(request, row, found, inside.swap(*words)),)),
        undo=(*_ends(request), Undo(back, only_if=_same_state(row, found), tolerant=True)),
        again=_ends(request),
        requires=_same_state(row, found),
        seconds=120,
        subject=row.name,
    )


def _same_state(row: Jail, found: power.Found) -> tuple[Check, ...]:
    """It runs as the plan has it, or does not: what is in a name by then may be another jail."""
    return (checks.jail_running(row.name, row.path),) if found.running is not None else (checks.jail_absent(row.name),)
