"""Stop jails: each with its file as it is on the host now, those that depend on another one first.

A stop is not undone: when one jail of several resists, somebody still wants the others stopped.
"""

from __future__ import annotations

from jails.models import Jail, Operation
from jails.operations import power
from jails.operations.kind import Refused, Request
from jails.operations.step import Plan


class JailStop(power.PowerKind):
    name = "jail_stop"
    verb = "Stop"

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        found = self.look(request)
        wanted = power.in_order(facts, [one for one in found if one.running is not None])[::-1]
        power.refuse(wanted, lambda one: power.why_not_stop(facts, one, wanted))
        stopped = [one.name for one in found if one not in wanted]
        if not wanted:
            raise Refused({"jails": f"{power.listed(stopped)}: nothing to stop, as nothing of it runs."})
        summary = [f"{power.listed([one.name for one in wanted])} will not run any more."]
        if stopped:
            summary.append(f"Nothing is done to {power.listed(stopped)}: not running.")
        alone = len(wanted) == 1
        warnings = [power.left_behind(one, facts) or power.host_addresses_lost(one, facts) for one in wanted]
        return Plan(
            title=self.titled([one.name for one in wanted]),
            steps=tuple(step for one in wanted for step in power.stop_steps(one, facts, independent=not alone)),
            summary=tuple(summary),
            warnings=tuple(filter(None, warnings)),
            resources=power.resources(host, wanted, start=False),
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        power.note_state(operation, Jail.State.STOPPED, [step.subject for step in plan.steps])


kind = JailStop()
