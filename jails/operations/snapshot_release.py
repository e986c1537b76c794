"""Let a snapshot go that was kept: it can be destroyed again. Holds that others have on it stay.

What staff keep (evidence, or a state to go back to) is theirs to let go, whatever rights the jail's tenant has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jails import policy
from jails.models import Host, Operation, User
from jails.models.agreement import Side
from jails.operations import snapshots
from jails.operations.kind import Refused, Request
from jails.operations.step import Plan


class SnapshotRelease(snapshots.OfOne):
    name = "snapshot_release"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Let the snapshot {parameters['snapshot']} of {self.jails(host, parameters)[0].name} go"

    def why_not_for(self, user: User, host: Host, parameters: Mapping[str, Any]) -> str:
        (row,) = self.jails(host, parameters)
        keeper = snapshots.kept_for_the_host(row).get(parameters["snapshot"])
        if keeper is None or policy.works_for(user, Side.HOST, row):
            return ""
        return f"{keeper} keeps {parameters['snapshot']} for the host: ask those who run it to let it go."

    def plan(self, request: Request) -> Plan:
        row = snapshots.find_jail(request.host, request.parameters)
        snapshot = snapshots.look(row, request.facts).find(request.parameters["snapshot"])
        name = snapshots.short(snapshot)
        if not snapshots.is_kept(snapshot):
            by_hand = " It is held by somebody on the host (zfs holds): only they can release it."
            raise Refused({"snapshot": f"{name} is not kept.{by_hand if snapshot.userrefs else ''}"})
        automatic = snapshots.is_automatic(snapshot)
        return Plan(
            title=self.title(request.parameters, request.host),
            steps=snapshots.let_go_steps(row, snapshot),
            summary=(
                f"{name} stays where it is, and can be destroyed again: by hand, with {row.name}, or by putting "
                f"{row.name} back to an older one.",
                *(
                    (f"It is an automatic one: of each kind of change the last {snapshots.KEPT} are kept.",)
                    if automatic
                    else ()
                ),
            ),
            resources=snapshots.locks(request.host, row),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"kept": operation.parameters["snapshot"]}, {}


kind = SnapshotRelease()
