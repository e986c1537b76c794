from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_required
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from jails import policy
from jails.models import Address, Host, Jail, Network, ObservedAddress, Operation, Release, Template, Tenant, User

LIMIT = 8
"""Results of each sort."""


class Hit(NamedTuple):
    sort: str
    icon: str
    name: str
    note: str
    url: str


@require_safe
@login_required
def search(request: HttpRequest) -> HttpResponse:
    """Jails, hosts, addresses, tenants, people and so on. As one types: only the list."""
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    hits = find_all(request.user, query) if query else []
    if request.htmx:
        return render(request, "panel/_search.html", {"query": query, "hits": hits})
    if len(hits) == 1:
        return redirect(hits[0].url)
    return render(request, "panel/search.html", {"query": query, "hits": hits})


def find_all(user: Any, query: str) -> list[Hit]:
    """What this person may know of, the best first of each sort. A constant number of queries."""
    searches = (jails, hosts, addresses, networks, tenants, people, releases, templates, operations)
    return [hit for one in searches for hit in one(user, query)]


def _best(rows: QuerySet[Any], field: str, query: str) -> QuerySet[Any]:
    """Those called exactly so, then those that begin so, then the rest."""
    rank = Case(
        When(**{f"{field}__iexact": query}, then=Value(0)),
        When(**{f"{field}__istartswith": query}, then=Value(1)),
        default=Value(2),
    )
    return rows.annotate(_rank=rank).order_by("_rank", field)[:LIMIT]


def jails(user: Any, query: str) -> Iterable[Hit]:
    named = Q(name__icontains=query) | Q(hostname__icontains=query)
    rows = policy.visible(user, Jail).filter(named).select_related("host")
    for jail in _best(rows, "name", query):
        yield Hit("Jail", "box", jail.name, f"on {jail.host.name}", reverse("jail", args=[jail.uuid]))


def hosts(user: Any, query: str) -> Iterable[Hit]:
    named = Q(name__icontains=query) | Q(hostname__icontains=query) | Q(address__startswith=query)
    for host in _best(policy.visible(user, Host).filter(named), "name", query):
        yield Hit("Host", "server-2", host.name, host.release, host.get_absolute_url())


def addresses(user: Any, query: str) -> Iterable[Hit]:
    """Those given to jails, and those that are only seen on a host."""
    given = policy.visible(user, Address).filter(ip__startswith=query).select_related("jail", "jail__host")
    for row in _best(given, "ip", query):
        where = f"{row.jail.name} on {row.jail.host.name}"
        yield Hit("Address", "network", row.ip, where, reverse("jail", args=[row.jail.uuid]))
    known = policy.visible(user, Host)
    seen = ObservedAddress.objects.filter(host__in=known, ip__startswith=query).select_related("host")
    unmanaged = seen.exclude(ip__in=policy.visible(user, Address).values("ip"))
    for row in _best(unmanaged, "ip", query):
        where = f"{row.jail_name or row.interface} on {row.host.name}"
        yield Hit("Address", "network", row.ip, where, row.host.get_absolute_url())


def networks(user: Any, query: str) -> Iterable[Hit]:
    rows = policy.visible(user, Network).filter(Q(name__icontains=query) | Q(cidr__startswith=query))
    for row in _best(rows, "name", query):
        yield Hit("Network", "network", row.name, row.cidr, f"{reverse('networks')}?network={row.pk}")


def tenants(user: Any, query: str) -> Iterable[Hit]:
    rows = policy.visible(user, Tenant).filter(Q(slug__icontains=query) | Q(name__icontains=query))
    for tenant in _best(rows, "name", query):
        yield Hit("Tenant", "building", tenant.name, tenant.slug, reverse("tenant", args=[tenant.slug]))


def people(user: Any, query: str) -> Iterable[Hit]:
    if not policy.allowed(user, "user.view"):
        return
    named = Q(username__icontains=query) | Q(first_name__icontains=query) | Q(last_name__icontains=query)
    for row in _best(User.objects.filter(named), "username", query):
        yield Hit("Person", "user", row.username, row.get_role_display(), reverse("person", args=[row.pk]))


def releases(user: Any, query: str) -> Iterable[Hit]:
    rows = policy.visible(user, Release).filter(name__icontains=query).select_related("host")
    for row in _best(rows, "name", query):
        yield Hit("Release", "download", row.name, f"on {row.host.name}", reverse("release", args=[row.pk]))


def templates(user: Any, query: str) -> Iterable[Hit]:
    rows = policy.visible(user, Template).filter(name__icontains=query).select_related("host")
    for row in _best(rows, "name", query):
        yield Hit("Template", "stack-2", row.name, f"on {row.host.name}", reverse("template", args=[row.pk]))


def operations(user: Any, query: str) -> Iterable[Hit]:
    wanted = Q(title__icontains=query)
    if beginning := beginning_of_id(query):
        wanted |= Q(id__startswith=beginning)
    rows = policy.visible(user, Operation).filter(wanted).exclude(status=Operation.Status.DISCARDED)
    for row in rows.defer("plan", "parameters").order_by("-created_at")[:LIMIT]:
        where = f"on {row.host_name}, {row.get_status_display().lower()}"
        yield Hit("Operation", "activity", row.title, where, reverse("operation", args=[row.pk]))


def beginning_of_id(query: str) -> str:
    """A query as the beginning of an operation's id, with its dashes; "" where it cannot be one."""
    digits = query.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{4,32}", digits):
        return ""
    groups = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(group for group in groups if group)
