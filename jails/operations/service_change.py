"""Start, stop or restart a service inside a running jail, or have it start with the jail, by the jail's service(8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jails.freebsd import rcservices
from jails.models import Host, Jail, Operation
from jails.operations import checks, common, layout, power
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish

SECONDS = 180
DO = {
    "start": (("onestart",), "Start {0} in {1}"),
    "stop": (("onestop",), "Stop {0} in {1}"),
    "restart": (("onestop", "onestart"), "Restart {0} in {1}"),
    "enable": (("enable",), "Start {0} with {1}"),
    "disable": (("disable",), "Start {0} with {1} no more"),
}
"""What is wanted → what service(8) is told, and the title."""
PURPOSES = {
    "onestart": "Start {0}",
    "onestop": "Stop {0}",
    "enable": "Have {0} start with the jail: its variable in the jail's rc.conf",
    "disable": "Have {0} start with the jail no more",
}
BACK = {"onestart": "onestop", "onestop": "onestart", "enable": "disable", "disable": "enable"}


class ServiceChange(Kind):
    name = "service_change"
    action = "jail.power"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return DO[parameters["do"]][1].format(parameters["service"], self.jails(host, parameters)[0].name)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {
            "jail": wish.uuid("jail"),
            "service": wish.text("service", rcservices.name_error),
            "do": wish.choice("do", tuple(DO)),
        }
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        wish = request.parameters
        row = self.jails(request.host, wish)[0]
        found = power.look(row, request.facts)
        if found.problem:
            raise Refused(f"{row.name}: {found.problem}")
        if found.running is None:
            raise Refused(f"{row.name} does not run: start it first.")
        steps = tuple(_step(found, wish["service"], verb) for verb in DO[wish["do"]][0])
        return Plan(
            title=self.title(wish, request.host),
            steps=steps,
            summary=(
                "The jail's own service(8) does it, as its root and from inside. What its script does is its own.",
            ),
            resources=(layout.jail_lock(request.host, row.name),),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        wish = operation.parameters
        return {}, {f"service {wish['service']}": wish["do"]}


def _step(found: power.Found, service: str, verb: str) -> Step:
    assert found.running is not None
    jail = found.running_name
    asks = checks.service_runs if verb in ("onestart", "onestop") else checks.service_enabled
    wanted = asks(jail, service)
    done = wanted if verb in ("onestart", "enable") else checks.is_not(wanted)
    return Step(
        key=verb,
        purpose=PURPOSES[verb].format(service),
        action=Run((rcservices.change(jail, service, verb),)),
        done_when=(done,),
        undo=(Undo(Run((rcservices.change(jail, service, BACK[verb]),)), only_if=(done,), after_failure=False),),
        requires=(checks.jail_running(jail, found.running.path),),
        seconds=SECONDS,
        ensure=True,
    )


kind = ServiceChange()
