"""Put right on a host what the report of jails.readiness finds wrong: one fix, with a plan like everything else.

What the fixes are is in jails.operations.fixes. Its parameters are the key of one, and what that one needs to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from jails.models import Host, Operation
from jails.operations import fixes, queue
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan
from jails.operations.wish import Wish


class HostFix(Kind):
    name = "host_fix"
    action = "host.fix"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"{fixes.FIXES[parameters['fix']].title.format(**parameters)} on {host.name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned: dict[str, Any] = {"fix": wish.choice("fix", tuple(fixes.FIXES))}
        fix = fixes.FIXES.get(cleaned["fix"])
        for name, take in fix.parameters.items() if fix else ():
            cleaned[name] = take(wish, name)
        wish.refuse_wrong()
        return cleaned

    def also(self, parameters: Mapping[str, Any]) -> str:
        """What could shut the panel out, or keep the host from starting, is an administrator's."""
        return "host.fix_system" if fixes.FIXES[parameters["fix"]].system else ""

    def plan(self, request: Request) -> Plan:
        try:
            found = fixes.FIXES[request.parameters["fix"]].build(request)
        except ValueError as error:
            # What only sh can tell of rc.conf, or a file that is not written as its editor expects.
            raise Refused(f"{request.host.name}: {str(error).rstrip('.')}.") from error
        return Plan(
            title=self.title(request.parameters, request.host),
            steps=found.steps,
            summary=found.summary,
            warnings=found.warnings,
            resources=found.resources,
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, dict(operation.parameters)

    def finish(self, operation: Operation, plan: Plan) -> None:
        host = operation.host
        if host is not None:
            # The report is to show what has come of it: what was seen before does not count any more.
            Host.objects.filter(pk=host.pk).update(refresh_wanted_at=timezone.now())
            transaction.on_commit(lambda: queue.send_survey(host))


kind = HostFix()
