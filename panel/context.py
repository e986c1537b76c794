"""What every page shows around its content: the tree at the left and the tray at the bottom."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest

from jails import policy
from jails.models import Host, Jail, Operation, Tenant

TREE_LIMIT = 60
"""Jails listed under an open host in the tree; more are one link away."""


class Shell:
    """Lazily, so that fragments which show none of it cost no query."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.user = request.user

    def can(self, action: str) -> bool:
        return policy.allowed(self.user, action)

    @property
    def is_staff(self) -> bool:
        """Sees hosts: an administrator, operator or auditor. Everybody else is a tenant."""
        return self.can("panel.overview")

    @property
    def sees_audit(self) -> bool:
        return self.can("audit.view")

    @property
    def sees_people(self) -> bool:
        return self.can("user.view")

    def hosts(self) -> Any:
        """Hosts with the number of their jails."""
        return policy.visible(self.user, Host).annotate(
            jail_count=Count("jails"), running=Count("jails", filter=Q(jails__state=Jail.State.RUNNING))
        )

    def open_host(self) -> str:
        """The host whose jails the tree shows: that of the page."""
        return getattr(self.request, "tree_host", "")

    def open_jails(self) -> Any:
        name = self.open_host()
        if not name:
            return []
        rows = policy.visible(self.user, Jail).filter(host__name=name).order_by("name")
        return list(rows.only("uuid", "name", "state")[: TREE_LIMIT + 1])

    def own_jails(self) -> Any:
        rows = policy.visible(self.user, Jail).select_related("host").order_by("name")
        return list(rows.only("uuid", "name", "state", "host__name")[: TREE_LIMIT + 1])

    def own_tenants(self) -> Any:
        return policy.visible(self.user, Tenant).filter(archived_at__isnull=True)

    def running(self) -> Any:
        return policy.visible(self.user, Operation).filter(status__in=Operation.OPEN)[:5]


def shell(request: HttpRequest) -> dict[str, Any]:
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {"theme": request.COOKIES.get("theme", "auto")}
    return {"shell": Shell(request), "theme": request.COOKIES.get("theme", "auto"), "tree_limit": TREE_LIMIT}
