"""Take a snapshot of a jail by hand, to put the jail or single files of it back later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jails import plans
from jails.models import Host, Jail, Operation
from jails.operations import common, snapshots
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan
from jails.operations.wish import Wish


class SnapshotCreate(Kind):
    name = "snapshot_create"
    action = "jail.snapshot"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Take the snapshot {parameters['name']} of {self.jails(host, parameters)[0].name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {
            "jail": wish.uuid("jail"),
            "name": wish.text("name", snapshots.name_error),
            "note": wish.text("note", snapshots.note_error, default=""),
        }
        wish.refuse_wrong()
        return cleaned

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        return plans.of_snapshot(self.jails(host, parameters)[0], "name")

    def plan(self, request: Request) -> Plan:
        wish = request.parameters
        row = snapshots.find_jail(request.host, wish)
        own = snapshots.look(row, request.facts)
        if any(snapshots.short(one) == wish["name"] for one in own.snapshots):
            raise Refused({"name": f"{row.name} has a snapshot {wish['name']} already."})
        running = request.facts.jail(row.name)
        words = "It runs: what it is writing at that moment is as after a power cut, which its programs must bear."
        below = [one.name for one in request.facts.children(row.dataset)]
        return Plan(
            title=self.title(wish, request.host),
            steps=(snapshots.take_step(request, row, wish["name"], kind=snapshots.BY_HAND, note=wish["note"]),),
            summary=(f"{row.name} can be put back to how it is then. It takes space only for what changes later.",),
            warnings=(f"Not in it: the datasets below, {', '.join(below)}.",) if below else (),
            notes=(words,) if running is not None else (),
            resources=snapshots.locks(request.host, row),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"snapshot": operation.parameters["name"]}

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        snapshots.note_count(operation, self.jails(operation.host, operation.parameters)[0])


kind = SnapshotCreate()
