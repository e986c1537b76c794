"""Stop and start jails, one after the other; those that depend on each other are stopped together, then started.

A jail that does not run is only started. One that could not be started again is not stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jails.hosts.facts import HostFacts
from jails.models import Jail, Operation
from jails.operations import in_the_way, power
from jails.operations.kind import Request
from jails.operations.step import Plan, Step


class JailRestart(power.PowerKind):
    name = "jail_restart"
    verb = "Restart"

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        wanted = power.in_order(facts, self.look(request))
        running = [one for one in wanted if one.running is not None]

        def why_not(one: power.Found) -> str:
            why = power.why_not_start(host, facts, one, wanted)
            return why or (power.why_not_stop(facts, one, running) if one in running else "")

        power.refuse(wanted, why_not)
        stopped = [one.name for one in wanted if one not in running]
        summary = []
        if running:
            summary.append(f"{power.listed([one.name for one in running])} will be stopped and started.")
        if stopped:
            summary.append(f"{power.listed(stopped)} will only be started: not running.")
        return Plan(
            title=self.titled([one.name for one in wanted]),
            steps=tuple(_steps(wanted, facts)),
            summary=tuple(summary),
            warnings=tuple(filter(None, (power.host_addresses_lost(one, facts) for one in running))),
            notes=(*power.dying_notes(wanted), *in_the_way.before_start(host, wanted)),
            resources=power.resources(host, wanted, start=True),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        """Which ran and were restarted: their rows are the same before and after. Of what is only started they tell."""
        stopped = {step.subject for step in plan.steps if step.key == f"stop-{step.subject}"}
        return {}, {"restarted": sorted(stopped)} if stopped else {}

    def finish(self, operation: Operation, plan: Plan) -> None:
        power.note_state(operation, Jail.State.RUNNING, [step.subject for step in plan.steps])


def _steps(wanted: Sequence[power.Found], facts: HostFacts) -> list[Step]:
    """One jail at a time, so that each is away for the shortest time; all together where some depend on others."""
    several = len(wanted) > 1
    names = {one.name for one in wanted}
    stops = {
        one.name: power.stop_steps(one, facts, independent=several) if one.running is not None else () for one in wanted
    }
    if any(names & set(power.dependencies(facts, one)) for one in wanted):
        ordered = [step for one in reversed(wanted) for step in stops[one.name]]
        return [*ordered, *(step for one in wanted for step in power.start_steps(one, facts, independent=several))]
    return [step for one in wanted for step in (*stops[one.name], *power.start_steps(one, facts, independent=several))]


kind = JailRestart()
