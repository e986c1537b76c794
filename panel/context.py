"""What every page shows around its content: the tree at the left and the tray at the bottom."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Window
from django.db.models.functions import Coalesce, RowNumber
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, resolve

from jails import policy
from jails.models import Host, Jail, Tenant

TEAM = "team"
"""Key of the session: the short name of the team somebody looks at."""
TREE_LIMIT = 60
"""Jails listed under an open host in the tree, and hosts; more are one link away."""


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
    def sees_consoles(self) -> bool:
        """Who was in which jail: of all, or of a team of one's own."""
        return self.can("recording.view") or any(
            policy.allowed(self.user, "console.view", tenant) for tenant in self.own_tenants
        )

    @property
    def sees_people(self) -> bool:
        return self.can("user.view")

    @cached_property
    def hosts(self) -> list[Host]:
        """Hosts with the number of their jails."""
        counted = policy.visible(self.user, Host).annotate(
            jail_count=_jails_of_host(), running=_jails_of_host(state=Jail.State.RUNNING)
        )
        # Meta.ordering is not for queries that count.
        return list(counted.order_by("name"))

    @property
    def may_create_jails(self) -> bool:
        return any(policy.allowed(self.user, "jail.create", host) for host in self.hosts) if self.is_staff else False

    @cached_property
    def place(self) -> ResolverMatch | None:
        """Which page this is: for what a page asks for later, the page that asks."""
        asker = self.request.htmx.current_url_abs_path if getattr(self.request, "htmx", False) else None
        if asker is None:
            return self.request.resolver_match
        try:
            return resolve(urlsplit(asker).path)
        except Resolver404:
            return None

    @property
    def open_host(self) -> str:
        """The host that the page is about, or that has what it is about."""
        return getattr(self.request, "tree_host", "") or self.request.GET.get("tree", "")

    @property
    def open_jail(self) -> UUID | None:
        return self.place.kwargs.get("uuid") if self.place else None

    @cached_property
    def folds(self) -> Folds:
        return folds_of(self.request.COOKIES.get("tree", ""))

    @cached_property
    def branches(self) -> list[dict[str, Any]]:
        """The hosts of the tree, those that are unfolded with their jails."""
        here = self.open_host
        shown = self.hosts[:TREE_LIMIT]
        shown += [host for host in self.hosts[TREE_LIMIT:] if host.name == here]
        unfolded = [host.pk for host in shown if host.pk in self.folds.opened]
        unfolded += [host.pk for host in shown if host.name == here and host.pk not in self.folds.closed]
        jails = self._jails_of(unfolded)
        return [{"host": host, "open": host.pk in unfolded, "jails": jails.get(host.pk, [])} for host in shown]

    @property
    def hosts_folded(self) -> bool:
        return 0 in self.folds.closed

    @property
    def more_hosts(self) -> int:
        return len(self.hosts) - len(self.branches)

    def _jails_of(self, hosts: list[int]) -> dict[int, list[Jail]]:
        """Of each host the first few, in one query."""
        found: dict[int, list[Jail]] = {}
        if not hosts or self.hosts_folded:
            return found
        number = Window(RowNumber(), partition_by=[F("host_id")], order_by=[F("name").asc()])
        rows = policy.visible(self.user, Jail).filter(host__in=hosts).annotate(number=number)
        rows = rows.filter(number__lte=TREE_LIMIT).order_by("host_id", "name")
        for jail in rows.only("uuid", "name", "state", "host_id"):
            found.setdefault(jail.host_id, []).append(jail)
        return found

    @cached_property
    def own_jails(self) -> list[Any]:
        """Of a tenant, each with pk, uuid, name and state; one more than are shown where there are more."""
        rows = self.of_team(policy.visible(self.user, Jail)).order_by("name")
        return list(rows.values_list("pk", "uuid", "name", "state", named=True)[: TREE_LIMIT + 1])

    @property
    def own_jails_shown(self) -> list[Any]:
        return self.own_jails[:TREE_LIMIT]

    @cached_property
    def own_tenants(self) -> list[Tenant]:
        if self.can("tenant.list"):
            return list(policy.visible(self.user, Tenant).filter(archived_at__isnull=True))
        return policy.tenants_of(self.user)

    @cached_property
    def team(self) -> Tenant | None:
        """The one that who is in several has chosen to look at; None: all of them."""
        slug = self.request.session.get(TEAM) if hasattr(self.request, "session") else None
        if not slug or self.is_staff:
            return None
        return next((tenant for tenant in self.own_tenants if tenant.slug == slug), None)

    def of_team(self, rows: QuerySet[Any], field: str = "tenant") -> QuerySet[Any]:
        """Of what is listed only what is the chosen team's. It hides, and protects nothing: that is the policy's."""
        return rows.filter(**{field: self.team.pk}) if self.team else rows


def _jails_of_host(**narrowed: Any) -> Coalesce:
    """How many a host has. Joined with them instead, every host's row would be read once a jail."""
    rows = Jail.objects.filter(host=OuterRef("pk"), **narrowed).order_by().values("host")
    return Coalesce(Subquery(rows.annotate(number=Count("pk")).values("number")), 0)


class Folds(NamedTuple):
    """What a person has unfolded and folded in the tree: ids of hosts, 0 being the list of hosts itself."""

    opened: frozenset[int]
    closed: frozenset[int]


def folds_of(cookie: str) -> Folds:
    """From `+3.-5.-0`, which static/js/panel.js keeps. Anything else in it counts for nothing."""
    words = re.findall(r"([+-])([0-9]{1,9})(?=\.|$)", cookie[:4000])
    return Folds(*(frozenset(int(pk) for mark, pk in words if mark == sign) for sign in "+-"))


def shell_of(request: HttpRequest) -> Shell:
    """The one of this request: a view that needs the hosts shares the tree's query."""
    if not hasattr(request, "_shell"):
        request._shell = Shell(request)
    shell: Shell = request._shell
    return shell


def shell(request: HttpRequest) -> dict[str, Any]:
    is_signed_in = getattr(request, "user", None) and request.user.is_authenticated
    if not is_signed_in or getattr(request, "lacks_factor", False):
        return {
            "theme": request.COOKIES.get("theme", "auto"),
            "oidc_name": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
            "oidc_id": settings.OIDC_ID,
        }
    return {"shell": shell_of(request), "theme": request.COOKIES.get("theme", "auto"), "tree_limit": TREE_LIMIT}
