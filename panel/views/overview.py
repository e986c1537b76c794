"""The first page: for staff what needs attention and the fleet in five numbers, for tenants their jails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

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
from jails.models import (
    Address,
    Agreement,
    Approval,
    BreakGlass,
    Host,
    Jail,
    Operation,
    Pool,
    Tenant,
    TenantPlan,
    User,
    Worker,
)
from jails.prepared import Prepared
from panel.context import TREE_LIMIT, shell_of
from panel.views import approvals, breakglass, live
from panel.views.networks import conflicts

POOL_FULL, POOL_VERY_FULL = 80, 90
"""Per cent at which a pool gets slow and is shown as needing attention, and at which it is grave."""
LIMIT = 20
"""Of each sort; more of it is a list of its own."""
FEW = 3
MISSING = DRIFTED = 1000
MY_JAILS = 24
HIDDEN = (Operation.Status.DRAFT, Operation.Status.DISCARDED)
"""Plans that nobody has confirmed."""
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
    found = my_jails(request)
    shell_of(request).own_jails = found  # the tree lists the same ones
    jails, there = found[:MY_JAILS], what_is_there(request)
    wrong = list(trouble(request)[:3]) if there.trouble else []
    glasses = breakglass.banners(request) if there.break_glasses else []
    operations = [Lately._make(row) for row in _lately(here(request))]
    context = {
        "jails": jails,
        "addresses": addresses_of(jails),
        "may_power": startable(request, jails),
        "counts": counts_of(request),
        "waits": approvals.waits(request) if there.waits else [],
        **plans_of(request),
    }
    changed = [(row.pk, row.changed_at) for row in (*wrong, *operations)]
    mark = live.mark_of(*context.values(), changed, breakglass.mark_of(glasses))
    if live.has(request, mark):
        return HttpResponseNotModified()
    context |= {"trouble": wrong, "operations": operations, "break_glasses": glasses, "mark": mark}
    context["in_a_team"] = bool(teams(request))
    template = "panel/_tenant_home.html" if request.htmx else "panel/tenant_home.html"
    return live.marked(render(request, template, context), mark)


def teams(request: HttpRequest) -> list[Tenant]:
    """Those of one's own, or the one that one has chosen to look at."""
    shell = shell_of(request)
    return [shell.team] if shell.team else shell.own_tenants


def here(request: HttpRequest) -> list[int]:
    return [tenant.pk for tenant in teams(request)]


class MyJail(NamedTuple):
    """What is shown of a jail of one's own, and what it takes to know what one may do with it."""

    pk: int
    uuid: UUID
    name: str
    state: str
    hostname: str
    state_since: datetime
    used: int
    limits: dict[str, int | None]
    tenant_id: int
    host_id: int


def my_jails(request: HttpRequest) -> list[MyJail]:
    """The first, one more than the tree shows where there are more."""
    return [MyJail._make(row) for row in _my_jails(here(request))]


@Prepared
def _my_jails(tenants: Collection[int]) -> QuerySet[Any]:
    rows = policy.visible_to_teams(tenants, Jail).order_by("name")
    return rows.values_list(*MyJail._fields)[: TREE_LIMIT + 1]


def counts_of(request: HttpRequest) -> dict[str, int]:
    """How many jails one has, and how many of them run."""
    rows = _counted(here(request))
    return {"all": sum(row[1] for row in rows), "running": sum(row[2] for row in rows)}


@Prepared
def _counted(tenants: Collection[int]) -> QuerySet[Any]:
    """(tenant, jails, those that run) of each that has any."""
    rows = policy.visible_to_teams(tenants, Jail).order_by().values_list("tenant")
    return rows.annotate(number=Count("pk"), running=Count("pk", filter=Q(state=Jail.State.RUNNING)))


def addresses_of(jails: Iterable[MyJail]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for jail, ip in _addresses([jail.pk for jail in jails]):
        found.setdefault(jail, []).append(ip)
    return found


@Prepared
def _addresses(jails: Collection[int]) -> QuerySet[Any]:
    return Address.objects.filter(jail__in=jails).values_list("jail", "ip")


def startable(request: HttpRequest, jails: Iterable[MyJail]) -> set[int]:
    """Ids of those that one may start and stop: asked of a team, and one by one where one may not do it to all."""
    allowed = {tenant.pk for tenant in teams(request) if policy.allowed(request.user, "jail.power", tenant)}
    return {
        jail.pk
        for jail in jails
        if jail.tenant_id in allowed
        or policy.allowed(request.user, "jail.power", Jail(pk=jail.pk, tenant_id=jail.tenant_id, host_id=jail.host_id))
    }


class There(NamedTuple):
    """Which parts of a tenant's first page may have anything in them: most days none of these has."""

    trouble: bool
    break_glasses: bool
    waits: bool


def what_is_there(request: HttpRequest) -> There:
    now, everybody = timezone.now(), [tenant.pk for tenant in shell_of(request).own_tenants]
    for trouble, glasses, *waits in _there(request.user.pk, everybody, here(request), now, now - RECENT):
        return There(bool(trouble), bool(glasses), any(waits))
    return There(False, False, False)


@Prepared
def _there(
    user: int, everybody: Collection[int], tenants: Collection[int], now: datetime, recent: datetime
) -> QuerySet[Any]:
    questions, agreements = (policy.visible_to_teams(everybody, model) for model in (Approval, Agreement))
    return User.objects.filter(pk=user).values_list(
        Exists(ended_badly(policy.visible_to_teams(tenants, Operation), recent)),
        breakglass.any_shown(policy.visible_to_teams(everybody, BreakGlass), now),
        *approvals.any_wait(questions, agreements, user, now),
    )


class Lately(NamedTuple):
    """What is shown of an operation of one's own."""

    pk: UUID
    title: str
    status: str
    host_name: str
    created_at: datetime
    changed_at: datetime
    requested_by: str | None


@Prepared
def _lately(tenants: Collection[int]) -> QuerySet[Any]:
    rows = policy.visible_to_teams(tenants, Operation).exclude(status__in=HIDDEN)
    return rows.values_list(*Lately._fields[:-1], "requested_by__username")[:8]


@Prepared
def _plans(tenants: Collection[int]) -> QuerySet[Any]:
    return TenantPlan.objects.filter(tenant__in=tenants).values_list("tenant", *plans.COUNTED)


def plans_of(request: HttpRequest) -> dict[str, Any]:
    """What is used of the plan of each team, by its name, and whether one may make jails; nothing without a plan."""
    found = {
        tenant: TenantPlan(tenant_id=tenant, **dict(zip(plans.COUNTED, limits, strict=True)))
        for tenant, *limits in _plans(here(request))
    }
    planned = [tenant for tenant in teams(request) if tenant.pk in found]
    used = plans.uses(planned) if planned else {}
    return {
        "plans": [(tenant.name, plans.shares(found[tenant.pk], used[tenant.pk])) for tenant in planned],
        "may_make": any(policy.allowed(request.user, "jail.create", tenant) for tenant in planned),
    }


def _rows(request: HttpRequest) -> QuerySet[Operation]:
    rows = shell_of(request).of_team(policy.visible(request.user, Operation)).exclude(status__in=HIDDEN)
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
    rows = shell_of(request).of_team(policy.visible(request.user, Operation))
    rows = ended_badly(rows, timezone.now() - RECENT)
    return rows.defer("plan", "parameters").order_by("-finished_at")


def ended_badly(rows: QuerySet[Operation], since: datetime) -> QuerySet[Operation]:
    """Operations that were not tried again."""
    stuck = Q(status=Operation.Status.STUCK)
    failed = Q(status=Operation.Status.FAILED, finished_at__gt=since)
    again = Operation.objects.filter(retry_of=OuterRef("pk")).exclude(status__in=HIDDEN)
    # Both at first, for indexes that have the status before the time.
    rows = rows.filter(status__in=(Operation.Status.STUCK, Operation.Status.FAILED))
    return rows.filter(stuck | failed).exclude(Exists(again))


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
    rows = policy.visible(request.user, Jail).filter(drifts__unheld=False).exclude(state=Jail.State.MISSING)
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
