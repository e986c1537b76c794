"""The first page: for staff what needs attention and the fleet in five numbers, for tenants their jails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jails import plans, policy
from jails.freebsd.uname import Release as ReleaseName
from jails.freebsd.uname import eol_of
from jails.models import Host, Jail, Operation, Pool, Tenant, Worker
from panel.context import shell_of
from panel.views import approvals, breakglass, live
from panel.views.networks import conflicts
from panel.views.selfservice import makers

POOL_FULL, POOL_VERY_FULL = 80, 90
"""Per cent at which a pool gets slow and is shown as needing attention, and at which it is grave."""
LIMIT = 20
"""Of each sort; more of it is a list of its own."""
FEW = 3
MISSING = DRIFTED = 1000
MY_JAILS = 60
SHOWN = 12
"""Before one asks for the rest."""
RECENT = timezone.timedelta(days=2)
"""How long a failed operation that nobody has tried again stays in sight."""


class Need(NamedTuple):
    """Something that needs somebody: how grave, what, and where to go."""

    icon: str
    grave: bool
    text: str
    url: str
    since: datetime | None = None


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    if not policy.allowed(request.user, "panel.overview"):
        return tenant_home(request)
    hosts = shell_of(request).hosts
    found = needs(request, hosts)
    context = {
        "needs": found[:SHOWN],
        "more_needs": found[SHOWN:],
        "need_count": len(found),
        "hosts": hosts,
        "figures": figures(request, hosts),
        "operations": list(_rows(request)[:10]),
    }
    mark = live.mark_of(found, context["figures"], [(row.pk, row.changed_at) for row in context["operations"]])
    if live.has(request, mark):
        return HttpResponseNotModified()
    template = "panel/_overview.html" if request.htmx else "panel/overview.html"
    return live.marked(render(request, template, context | {"mark": mark}), mark)


def tenant_home(request: HttpRequest) -> HttpResponse:
    mine = shell_of(request).of_team(policy.visible(request.user, Jail))
    jails = mine.select_related("host", "tenant").prefetch_related("addresses")
    counts = jails.aggregate(all=Count("pk"), running=Count("pk", filter=Q(state=Jail.State.RUNNING)))
    jails = list(jails.order_by("name")[:MY_JAILS])
    wrong, operations = list(trouble(request)[:3]), list(_rows(request)[:8])
    context = {
        "jails": jails,
        "counts": counts,
        "trouble": wrong,
        "operations": operations,
        "plans": plans_of(request),
        "may_make": bool(makers(request)),
        "break_glasses": breakglass.banners(request),
        "waits": approvals.waits(request),
    }
    moving = [(jail.pk, jail.name, jail.hostname, jail.state, jail.state_since, jail.used) for jail in jails]
    changed = [(row.pk, row.changed_at) for row in (*wrong, *operations)]
    entered = breakglass.mark_of(context["break_glasses"])
    mark = live.mark_of(moving, counts, changed, context["plans"], entered, context["waits"])
    if live.has(request, mark):
        return HttpResponseNotModified()
    template = "panel/_tenant_home.html" if request.htmx else "panel/tenant_home.html"
    return live.marked(render(request, template, context | {"mark": mark}), mark)


def plans_of(request: HttpRequest) -> list[tuple[str, list[plans.Share]]]:
    """What is used of the plan of each tenant that one belongs to, by its name; nothing of one without a plan."""
    tenants = shell_of(request).of_team(policy.visible(request.user, Tenant), "pk")
    tenants = list(tenants.filter(plan__isnull=False).select_related("plan"))
    used = plans.uses(tenants)
    return [(tenant.name, plans.shares(tenant.plan, used[tenant.pk])) for tenant in tenants]


def _rows(request: HttpRequest) -> QuerySet[Operation]:
    hidden = [Operation.Status.DRAFT, Operation.Status.DISCARDED]
    rows = shell_of(request).of_team(policy.visible(request.user, Operation)).exclude(status__in=hidden)
    return rows.select_related("requested_by").defer("plan", "parameters")


def figures(request: HttpRequest, hosts: list[Host]) -> dict[str, Any]:
    """The fleet in five numbers. Storage in bytes, without what is held back."""
    space = Pool.objects.filter(host__in=hosts).aggregate(
        data=Sum(F("used") - F("reserve")), all=Sum(F("used") + F("available") - F("reserve"))
    )
    return {
        "hosts": len(hosts),
        "jails": sum(host.jail_count for host in hosts),
        "running": sum(host.running for host in hosts),
        "used": space["data"] or 0,
        "space": space["all"] or 0,
        "tenants": policy.visible(request.user, Tenant).filter(archived_at__isnull=True).count(),
    }


# What needs attention


def needs(request: HttpRequest, hosts: list[Host]) -> list[Need]:
    """The gravest first. A constant number of queries."""
    found = [
        *silent_hosts(hosts),
        *silent_workers(hosts),
        *failed_operations(request),
        *full_pools(hosts),
        *missing_jails(request),
        *drifted_jails(request),
        *repeated_addresses(request),
        *old_releases(request, hosts),
        *(Need(one.icon, False, one.text, one.url, one.since) for one in approvals.waits(request)),
    ]
    return sorted(found, key=lambda need: not need.grave)


def silent_hosts(hosts: Iterable[Host]) -> Iterable[Need]:
    for host in hosts:
        if host.offered_key:
            text = f"{host} waits for its key to be compared and pinned."
            if host.host_key:
                text = f"{host} shows another key than the pinned one."
            yield Need("key", bool(host.host_key), text, host.get_absolute_url(), host.unavailable_since)
        elif host.unavailable_since:
            text = f"{host} does not answer: {host.unavailable_reason}"
            yield Need("server-off", True, text, host.get_absolute_url(), host.unavailable_since)


def silent_workers(hosts: Iterable[Host]) -> Iterable[Need]:
    workers = Worker.objects.in_bulk()
    served = Counter(host.worker for host in hosts)
    for name, count in sorted(served.items()):
        worker = workers.get(name)
        if worker is None or worker.is_silent:
            text = f"Worker {name} is not running: {_count(count, 'host')} cannot be reached."
            yield Need("plug-connected-x", True, text, reverse("hosts"), worker.seen_at if worker else None)


def trouble(request: HttpRequest) -> QuerySet[Operation]:
    """Operations that ended badly and were not tried again."""
    stuck = Q(status=Operation.Status.STUCK)
    failed = Q(status=Operation.Status.FAILED, finished_at__gt=timezone.now() - RECENT)
    put_away = [Operation.Status.DRAFT, Operation.Status.DISCARDED]
    again = Operation.objects.filter(retry_of=OuterRef("pk")).exclude(status__in=put_away)
    rows = shell_of(request).of_team(policy.visible(request.user, Operation)).filter(stuck | failed)
    rows = rows.exclude(Exists(again))
    return rows.defer("plan", "parameters").order_by("-finished_at")


def failed_operations(request: HttpRequest) -> Iterable[Need]:
    for row in trouble(request)[:LIMIT]:
        where = f" on {row.host_name}" if row.host_name else ""
        text = f"{row.title}{where}: {row.error or row.get_status_display()}"
        url = reverse("operation", args=[row.pk])
        yield Need("alert-triangle", row.status == Operation.Status.STUCK, text, url, row.finished_at)


def full_pools(hosts: list[Host]) -> Iterable[Need]:
    for pool in Pool.objects.filter(host__in=hosts).select_related("host"):
        url = pool.host.get_absolute_url()
        if pool.health not in ("ONLINE", "UNKNOWN"):
            yield Need("database", True, f"Pool {pool.name} of {pool.host} is {pool.health.lower()}.", url)
        if pool.percent >= POOL_FULL:
            text = f"Pool {pool.name} of {pool.host} is {pool.percent} % full; above {POOL_FULL} % it gets slow."
            yield Need("database", pool.percent >= POOL_VERY_FULL, text, url)


def missing_jails(request: HttpRequest) -> Iterable[Need]:
    """Each by name; of a host that misses many, one line for all."""
    rows = policy.visible(request.user, Jail).filter(state=Jail.State.MISSING).select_related("host")
    by_host: dict[Host, list[Jail]] = {}
    for jail in rows.order_by("host__name", "name").only("uuid", "name", "state_since", "host__name")[:MISSING]:
        by_host.setdefault(jail.host, []).append(jail)
    for host, jails in by_host.items():
        if len(jails) <= FEW:
            for jail in jails:
                url = reverse("jail", args=[jail.uuid])
                yield Need("box", True, f"{jail.name} is missing on {host}.", url, jail.state_since)
            continue
        names = ", ".join(jail.name for jail in jails[:FEW])
        url = f"{reverse('jails')}?{urlencode({'host': host.name, 'state': Jail.State.MISSING.value})}"
        since = max(jail.state_since for jail in jails)
        yield Need("box", True, f"{len(jails)} jails are missing on {host}: {names} and others.", url, since)


def drifted_jails(request: HttpRequest) -> Iterable[Need]:
    """Not what the panel wants of them: each by name, of a host with many one line for all."""
    rows = policy.visible(request.user, Jail).filter(drifts__isnull=False).exclude(state=Jail.State.MISSING)
    rows = rows.annotate(since=Min("drifts__first_seen_at")).select_related("host").order_by("host__name", "name")
    by_host: dict[Host, list[Any]] = {}
    for jail in rows.only("uuid", "name", "host__name")[:DRIFTED]:
        by_host.setdefault(jail.host, []).append(jail)
    for host, jails in by_host.items():
        if len(jails) <= FEW:
            for jail in jails:
                url = reverse("jail", args=[jail.uuid])
                yield Need("file-diff", False, f"{jail.name} on {host} is not as the panel wants it.", url, jail.since)
            continue
        names = ", ".join(jail.name for jail in jails[:FEW])
        url = f"{reverse('jails')}?{urlencode({'host': host.name, 'drift': 'yes'})}"
        since = min(jail.since for jail in jails)
        text = f"{len(jails)} jails on {host} are not as the panel wants them: {names} and others."
        yield Need("file-diff", False, text, url, since)


def repeated_addresses(request: HttpRequest) -> Iterable[Need]:
    for row in conflicts(request)[:LIMIT]:
        places = " and ".join(f"{place.jail_name or place.interface} on {place.host}" for place in row["places"])
        yield Need("network", True, f"{row['ip']} is in use more than once: {places}.", reverse("networks"))


def old_releases(request: HttpRequest, hosts: list[Host]) -> Iterable[Need]:
    """A line a release that gets no security fixes any more, with who still has it."""
    on_hosts = Counter(base_release(host.release) for host in hosts if host.release)
    userland = Coalesce("release__name", "template__release__name")
    rows = policy.visible(request.user, Jail).order_by().annotate(userland=userland).values("userland")
    in_jails = Counter({row["userland"]: row["n"] for row in rows.annotate(n=Count("pk")) if row["userland"]})
    for name in sorted(on_hosts | in_jails):
        if is_past_end(name):
            used = [_count(on_hosts[name], "host"), _count(in_jails[name], "jail")]
            text = f"{name} is past its end of life: {' and '.join(word for word in used if word)}."
            yield Need("clock", False, text, reverse("hosts") if on_hosts[name] else reverse("releases"))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""


def base_release(release: str) -> str:
    """Without the patch level: `14.2-RELEASE`; unchanged where it is no release."""
    try:
        return ReleaseName.parse(release).name
    except ValueError:
        return release


def is_past_end(release: str) -> bool:
    end = eol_of(release) if release else None
    return end is not None and end < date.today()
