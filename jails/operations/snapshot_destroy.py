"""Destroy snapshots of a jail: each only where nothing is made from it and nobody holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jails import plans
from jails.freebsd import names
from jails.models import Host, Jail, Operation
from jails.operations import common, snapshots
from jails.operations.kind import Kind, Request
from jails.operations.step import Plan
from jails.operations.wish import Wish

MOST = 500
"""At once: each is a step that a person reads."""


class SnapshotDestroy(Kind):
    name = "snapshot_destroy"
    action = "jail.snapshot"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        wanted = parameters["snapshots"]
        what = f"the snapshot {wanted[0]}" if len(wanted) == 1 else f"{len(wanted)} snapshots"
        return f"Destroy {what} of {self.jails(host, parameters)[0].name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jail": wish.uuid("jail"), "snapshots": _names(wish)}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        row = snapshots.find_jail(request.host, request.parameters)
        own = snapshots.look(row, request.facts)
        goes = [own.find(name, "snapshots") for name in request.parameters["snapshots"]]
        for one in goes:
            snapshots.refuse_in_use(own, [one], f"{snapshots.short(one)} cannot be destroyed", "snapshots")
        return Plan(
            title=self.title(request.parameters, request.host),
            steps=tuple(snapshots.drop_step(row, one) for one in goes),
            summary=(f"{row.name} cannot be put back to {'it' if len(goes) == 1 else 'them'} any more.",),
            warnings=("This cannot be undone.",),
            loses=tuple(f"the snapshot {snapshots.short(one)}, of {snapshots.when(one)}" for one in goes),
            sizes=tuple(f"{snapshots.short(one)}: {plans.size(one.used)} that only it holds" for one in goes),
            resources=snapshots.locks(request.host, row),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"destroyed": list(operation.parameters["snapshots"])}, {}

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        snapshots.note_count(operation, self.jails(operation.host, operation.parameters)[0])


def _names(wish: Wish) -> list[str]:
    given = wish.take("snapshots")
    if not isinstance(given, (list, tuple)) or not given:
        wish.wrong("snapshots", "names no snapshot.")
        return []
    if len(given) > MOST:
        wish.wrong("snapshots", f"names {len(given)} snapshots; at most {MOST} go at once.")
        return []
    for name in given:
        problem = names.snapshot_reference_error(name) if isinstance(name, str) else "must be text."
        if problem:
            wish.wrong("snapshots", problem)
    return list(dict.fromkeys(map(str, given)))


kind = SnapshotDestroy()
