"""What every page shows around its content: the tree at the left and the tray at the bottom."""

from __future__ import annotations

from functools import cached_property
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

    @cached_property
    def hosts(self) -> list[Host]:
        """Hosts with the number of their jails."""
        counted = policy.visible(self.user, Host).annotate(
            jail_count=Count("jails"), running=Count("jails", filter=Q(jails__state=Jail.State.RUNNING))
        )
        return list(counted)

    @property
    def may_create_jails(self) -> bool:
        return any(policy.allowed(self.user, "jail.create", host) for host in self.hosts) if self.is_staff else False

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

    @cached_property
    def own_tenants(self) -> list[Tenant]:
        return list(policy.visible(self.user, Tenant).filter(archived_at__isnull=True))

    def running(self) -> Any:
        return policy.visible(self.user, Operation).filter(status__in=Operation.OPEN)[:5]


def shell_of(request: HttpRequest) -> Shell:
    """The one of this request: a view that needs the hosts shares the tree's query."""
    if not hasattr(request, "_shell"):
        request._shell = Shell(request)
    shell: Shell = request._shell
    return shell


def shell(request: HttpRequest) -> dict[str, Any]:
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {"theme": request.COOKIES.get("theme", "auto")}
    return {"shell": shell_of(request), "theme": request.COOKIES.get("theme", "auto"), "tree_limit": TREE_LIMIT}
