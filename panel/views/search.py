from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from jails import policy
from jails.models import Host, Jail, Operation, Release, Template, Tenant, User

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
    """Jails, hosts, addresses, tenants, people and operations by name. As one types: only the list."""
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    hits = find_all(request.user, query) if query else []
    template = "panel/_search.html" if request.htmx else "panel/search.html"
    return render(request, template, {"query": query, "hits": hits})


def find_all(user: Any, query: str) -> list[Hit]:
    hits = [
        Hit("Jail", "box", jail.name, f"on {jail.host.name}", reverse("jail", args=[jail.uuid]))
        for jail in policy.visible(user, Jail)
        .filter(Q(name__icontains=query) | Q(hostname__icontains=query) | Q(addresses__ip__startswith=query))
        .select_related("host")
        .distinct()[:LIMIT]
    ]
    hits += [
        Hit("Host", "server-2", host.name, host.release, reverse("host", args=[host.name]))
        for host in policy.visible(user, Host).filter(
            Q(name__icontains=query) | Q(hostname__icontains=query) | Q(address__startswith=query)
        )[:LIMIT]
    ]
    hits += [
        Hit("Tenant", "building", tenant.name, tenant.slug, reverse("tenant", args=[tenant.slug]))
        for tenant in policy.visible(user, Tenant).filter(Q(slug__icontains=query) | Q(name__icontains=query))[:LIMIT]
    ]
    hits += [
        Hit("Release", "download", row.name, f"on {row.host.name}", reverse("release", args=[row.pk]))
        for row in policy.visible(user, Release).filter(name__icontains=query).select_related("host")[:LIMIT]
    ]
    hits += [
        Hit("Template", "stack-2", row.name, f"on {row.host.name}", reverse("template", args=[row.pk]))
        for row in policy.visible(user, Template).filter(name__icontains=query).select_related("host")[:LIMIT]
    ]
    if policy.allowed(user, "user.view"):
        people = User.objects.filter(username__icontains=query)[:LIMIT]
        hits += [Hit("Person", "user", row.username, row.role, reverse("person", args=[row.pk])) for row in people]
    operations = Q(title__icontains=query)
    if len(query) >= 4:
        operations |= Q(id__startswith=query.replace("-", "").lower())
    hits += [
        Hit("Operation", "activity", row.title, row.get_status_display(), reverse("operation", args=[row.pk]))
        for row in policy.visible(user, Operation).filter(operations)[:LIMIT]
    ]
    return hits
