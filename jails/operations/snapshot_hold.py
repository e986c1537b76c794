"""Keep a snapshot of a jail: it cannot be destroyed, nor rolled back past, until somebody lets it go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jails.models import Host, Operation
from jails.operations import snapshots
from jails.operations.kind import Refused, Request
from jails.operations.step import Plan


class SnapshotHold(snapshots.OfOne):
    name = "snapshot_hold"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Keep the snapshot {parameters['snapshot']} of {self.jails(host, parameters)[0].name}"

    def plan(self, request: Request) -> Plan:
        row = snapshots.find_jail(request.host, request.parameters)
        snapshot = snapshots.look(row, request.facts).find(request.parameters["snapshot"])
        if snapshots.is_kept(snapshot):
            raise Refused({"snapshot": f"{snapshots.short(snapshot)} is kept already."})
        return Plan(
            title=self.title(request.parameters, request.host),
            steps=snapshots.keep_steps(request, row, snapshot),
            summary=(
                f"{snapshots.short(snapshot)}, of {snapshots.when(snapshot)}, stays until somebody lets it go.",
                f"Until then {row.name} can be put back to it, but to none that is older, and cannot be destroyed.",
            ),
            resources=snapshots.locks(request.host, row),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"kept": operation.parameters["snapshot"]}


kind = SnapshotHold()
