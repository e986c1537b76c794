"""End a sandbox whose time is over: it is destroyed as any jail is. The panel itself asks for it, and no person.

Who may destroy the sandbox may cancel this, or take it up again where it got stuck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils import timezone

from jails.models import Host, Jail
from jails.operations.jail_destroy import JailDestroy
from jails.operations.kind import Refused, Request
from jails.operations.step import Plan
from jails.operations.wish import Wish


class SandboxEnd(JailDestroy):
    name = "sandbox_end"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"End the sandbox {self.jails(host, parameters)[0].name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jail": wish.uuid("jail")}
        wish.refuse_wrong()
        return cleaned

    def why_not_the_panel(self, host: Host, parameters: Mapping[str, Any]) -> str:
        (row,) = self.jails(host, parameters)
        return _why_not(row)

    def plan(self, request: Request) -> Plan:
        try:
            (row,) = self.jails(request.host, request.parameters)
        except LookupError as error:
            raise Refused(f"{error}.") from error
        if why := _why_not(row):
            raise Refused(why)
        request.facts.require("zfs")
        dataset = request.facts.dataset(row.dataset)
        # Nobody asks for it: what the rows say alone is not enough to destroy something.
        if dataset is None:
            raise Refused(f"{row.name} has no dataset that says that it is a sandbox: destroy it by hand.")
        if dataset.marks.get("cellblock:kind") != Jail.Kind.SANDBOX.value:
            raise Refused(f"{row.dataset} does not say that it is a sandbox: destroy it by hand.")
        plan = super().plan(replace(request, parameters={**request.parameters, "name": row.name}))
        return replace(
            plan,
            title=self.title(request.parameters, request.host),
            summary=(f"The time of the sandbox {row.name} is over.", *plan.summary),
        )


kind = SandboxEnd()


def _why_not(row: Jail) -> str:
    if row.kind != Jail.Kind.SANDBOX or row.expires_at is None:
        return f"{row.name} is no sandbox that ends by itself."
    return f"{row.name} has been given more time." if row.expires_at > timezone.now() else ""
