"""Start jails: each with the file that rc.d/jail would take for it, proved by jls(8), in order of their `depend`."""

from __future__ import annotations

from jails.models import Jail, Operation
from jails.operations import in_the_way, limits, power
from jails.operations.kind import Refused, Request
from jails.operations.step import Plan


class JailStart(power.PowerKind):
    name = "jail_start"
    verb = "Start"

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        found = self.look(request)
        wanted = power.in_order(facts, [one for one in found if one.running is None or one.problem])
        power.refuse(wanted, lambda one: power.why_not_start(host, facts, one, wanted))
        running = [one.name for one in found if one not in wanted]
        if not wanted:
            raise Refused({"jails": f"{power.listed(running)}: nothing to start, as everything runs already."})
        summary = [f"{power.listed([one.name for one in wanted])} will run."]
        if running:
            summary.append(f"Nothing is done to {power.listed(running)}: running already.")
        return Plan(
            title=self.titled([one.name for one in wanted]),
            steps=tuple(step for one in wanted for step in power.start_steps(one, facts, independent=len(wanted) > 1)),
            summary=tuple(summary),
            notes=(
                *power.dying_notes(wanted),
                *in_the_way.before_start(host, wanted),
                *limits.notes(host.name, facts, [limits.of(one.row) for one in wanted]),
            ),
            resources=power.resources(host, wanted, start=True),
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        power.note_state(operation, Jail.State.RUNNING, [step.subject for step in plan.steps])


kind = JailStart()
