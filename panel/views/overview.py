"""The first page: for staff what needs attention and the fleet in five numbers, for tenants their jails."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jails import policy
from jails.freebsd.uname import eol_of
from jails.models import Host, Jail, ObservedAddress, Operation, Pool, Release, Tenant

POOL_FULL = 80
"""Per cent at which a pool gets slow and is shown as needing attention."""
LIMIT = 20


class Need(NamedTuple):
    """Something that needs somebody: how grave, what, and where to go."""

    icon: str
    grave: bool
    text: str
    url: str
    since: object = None


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    if not policy.allowed(request.user, "panel.overview"):
        return tenant_home(request)
    hosts = list(policy.visible(request.user, Host))
    jails = policy.visible(request.user, Jail)
    counts = jails.aggregate(all=Count("pk"), running=Count("pk", filter=Q(state=Jail.State.RUNNING)))
    context = {
        "needs": needs(request, hosts),
        "hosts": hosts,
        "jails": counts,
        "tenants": policy.visible(request.user, Tenant).filter(archived_at__isnull=True).count(),
        "releases": policy.visible(request.user, Release).filter(state=Release.State.READY).count(),
        "operations": policy.visible(request.user, Operation)
        .exclude(status__in=[Operation.Status.DRAFT, Operation.Status.DISCARDED])
        .select_related("requested_by")[:10],
    }
    return render(request, "panel/overview.html", context)


def tenant_home(request: HttpRequest) -> HttpResponse:
    jails = policy.visible(request.user, Jail).select_related("host", "tenant").prefetch_related("addresses")
    operations = policy.visible(request.user, Operation).exclude(
        status__in=[Operation.Status.DRAFT, Operation.Status.DISCARDED]
    )
    context = {
        "jails": jails.order_by("name"),
        "trouble": operations.filter(status__in=[Operation.Status.FAILED, Operation.Status.STUCK])[:3],
        "operations": operations.select_related("requested_by")[:8],
    }
    return render(request, "panel/tenant_home.html", context)


def needs(request: HttpRequest, hosts: list[Host]) -> list[Need]:
    """What needs attention, the gravest first. A constant number of queries."""
    user = request.user
    found = [
        Need(
            "server-off",
            True,
            f"{host} does not answer: {host.unavailable_reason}",
            _host(host),
            host.unavailable_since,
        )
        for host in hosts
        if host.unavailable_since
    ]
    trouble = policy.visible(user, Operation).filter(
        Q(status=Operation.Status.STUCK)
        | Q(
            status=Operation.Status.FAILED,
            finished_at__gt=timezone.now() - timezone.timedelta(days=2),
            retries__isnull=True,
        )
    )
    found += [
        Need(
            "alert-triangle",
            row.status == Operation.Status.STUCK,
            f"{row.title} on {row.host_name}: {row.error or row.get_status_display()}",
            reverse("operation", args=[row.pk]),
            row.finished_at,
        )
        for row in trouble[:LIMIT]
    ]
    found += [
        Need(
            "database",
            pool.percent >= 90,
            f"Pool {pool.name} of {pool.host} is {pool.percent} % full; above {POOL_FULL} % it gets slow.",
            _host(pool.host),
        )
        for pool in Pool.objects.filter(host__in=hosts).select_related("host")
        if pool.percent >= POOL_FULL or pool.health not in ("ONLINE", "UNKNOWN")
    ]
    found += [
        Need("clock", False, f"{host} runs {host.release}, past its end of life.", _host(host))
        for host in hosts
        if is_past_end(host.release)
    ]
    found += [
        Need(
            "box", True, f"{jail.name} is missing on {jail.host}.", reverse("jail", args=[jail.uuid]), jail.state_since
        )
        for jail in policy.visible(user, Jail).filter(state=Jail.State.MISSING).select_related("host")[:LIMIT]
    ]
    found += [
        Need("network", True, f"{row['ip']} is in use on {row['n']} interfaces of the fleet.", reverse("networks"))
        for row in ObservedAddress.objects.filter(host__in=hosts)
        .exclude(ip__startswith="127.")
        .exclude(ip__startswith="fe80:")
        .exclude(ip="::1")
        .values("ip")
        .annotate(n=Count("pk"))
        .filter(n__gt=1)[:LIMIT]
    ]
    return sorted(found, key=lambda need: not need.grave)


def is_past_end(release: str) -> bool:
    end = eol_of(release) if release else None
    return end is not None and end < date.today()


def _host(host: Host) -> str:
    return reverse("host", args=[host.name])
