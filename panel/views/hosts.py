from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.db.models import Case, Count, Max, Q, When, prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import audit, policy
from jails.drift import IS_MARKED
from jails.freebsd.uname import eol_of
from jails.models import Host, HostAccessRecord, HostFactsRecord, Jail, ObservedAddress, Operation, Release, Worker
from jails.operations import queue
from panel.context import shell_of
from panel.forms.hosts import ForgetForm, HostForm
from panel.views import live
from panel.views.access import find, require, source
from panel.views.drift import drifted
from panel.views.networks import conflicts, shared_addresses
from panel.views.operations import shown_operations
from panel.views.overview import is_past_end
from panel.views.planning import plan_from_button
from panel.views.reports import sentence_of

JAILS_SHOWN = 25
"""On a host's page; the list of jails has them all."""
POOLS_SHOWN = 4
ADDRESSES_SHOWN = 200
REFRESH_PATIENCE = timezone.timedelta(minutes=2)
"""After which a refresh that has left no trace counts as lost."""


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "panel.overview")
    hosts = shell_of(request).hosts
    workers = Worker.objects.in_bulk()
    silent = sorted({host.worker for host in hosts if is_silent(workers.get(host.worker))})
    mark = live.mark_of(*((host.pk, host.changed_at, host.jail_count, host.running) for host in hosts), silent)
    if live.has(request, mark):
        return HttpResponseNotModified()
    prefetch_related_objects(hosts, "pools")
    context = {"rows": [list_row(host) for host in hosts], "silent": silent, "mark": mark}
    template = "panel/_hosts.html" if request.htmx else "panel/hosts.html"
    return live.marked(render(request, template, context), mark)


def list_row(host: Host) -> dict[str, Any]:
    pools = sorted(host.pools.all(), key=lambda pool: (pool.health == "ONLINE", -pool.percent, pool.name))
    return {"host": host, "pools": pools[:2], "more_pools": len(pools[2:]), "past_end": is_past_end(host.release)}


def is_silent(worker: Worker | None) -> bool:
    return worker is None or worker.is_silent


@require_safe
@login_required
def page(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.view", name=name)
    request.tree_host = host.name
    return _page(request, host)


def _page(request: HttpRequest, host: Host) -> HttpResponse:
    state = state_of(host)
    operations = shown_operations(request).filter(host=host)
    latest = operations.order_by().aggregate(at=Max("changed_at"))["at"]
    access = HostAccessRecord.objects.filter(host=host).first()
    mark = live.mark_of(
        host.changed_at, latest, state["refreshing"], state["worker_silent"], access and access.tested_at
    )
    if live.has(request, mark):
        return HttpResponseNotModified()
    context = state | _content(request, host) | {"operations": operations[:6], "mark": mark}
    context |= {"access_record": access, "access_failing": access.access.failing if access else ()}
    return live.marked(render(request, "panel/_host.html" if request.htmx else "panel/host.html", context), mark)


def _content(request: HttpRequest, host: Host) -> dict[str, Any]:
    """All that a host's page shows of what is on it."""
    trouble = Case(When(state__in=[Jail.State.MISSING, Jail.State.DYING], then=0), default=1)
    jails = policy.visible(request.user, Jail).filter(host=host).select_related("tenant").prefetch_related("addresses")
    pools = list(host.pools.all())
    jail_pool = host.pool or (pools[0].name if pools else "")
    pools.sort(key=lambda pool: (pool.name != jail_pool, pool.health == "ONLINE", -pool.percent))
    addresses = list(ObservedAddress.objects.filter(host=host)[:ADDRESSES_SHOWN])
    return {
        "jails": drifted(jails).order_by(trouble, "name")[:JAILS_SHOWN],
        "counts": host.jails.aggregate(
            all=Count("pk"),
            running=Count("pk", filter=Q(state=Jail.State.RUNNING)),
            drifted=Count("pk", filter=IS_MARKED),
        ),
        "pools": pools[:POOLS_SHOWN],
        "more_pools": pools[POOLS_SHOWN:],
        "jail_pool": jail_pool,
        "space": space_of(host) if not pools else None,
        "releases": policy.visible(request.user, Release).filter(host=host),
        "own_addresses": [row for row in addresses if not row.jail_name],
        "jail_addresses": [row for row in addresses if row.jail_name],
        "conflicts": [row for row in conflicts(request) if any(place.host_id == host.pk for place in row["places"])],
        "readiness": sentence_of(host),
        "shared": shared_addresses(Host.objects.filter(pk=host.pk)),
        "past_end": is_past_end(host.release),
        "end_of_life": eol_of(host.release) if host.release else None,
    }


def space_of(host: Host) -> dict[str, Any] | None:
    """The file system that holds the jails of a host without ZFS: what df(1) said of it at the last refresh."""
    record = HostFactsRecord.objects.filter(host=host).values_list("data__space", flat=True).first()
    below = [row for row in record or () if f"{host.jail_root}/".startswith(f"{row['path'].rstrip('/')}/")]
    if not below:
        return None
    row = max(below, key=lambda row: len(row["path"]))
    percent = round(100 * row["used"] / row["size"]) if row["size"] else 0
    return {**row, "percent": max(0, min(100, percent))}


def state_of(host: Host) -> dict[str, Any]:
    worker = Worker.objects.filter(pk=host.worker).first()
    wanted = host.refresh_wanted_at
    waiting = wanted is not None and (host.refreshed_at is None or host.refreshed_at < wanted)
    if waiting and (
        wanted < timezone.now() - REFRESH_PATIENCE or (host.unavailable_since and host.changed_at > wanted)
    ):
        waiting = False
    return {"host": host, "worker": worker, "worker_silent": is_silent(worker), "refreshing": waiting}


@require_POST
@login_required
def refresh(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.refresh", name=name)
    want_refresh(host)
    if request.htmx:
        request.tree_host = host.name
        return _page(request, host)
    return redirect("host", name=host.name)


def want_refresh(host: Host) -> None:
    """Ask the host's worker for a refresh, as soon as what is being saved is saved."""
    host.refresh_wanted_at = timezone.now()
    host.save(update_fields=["refresh_wanted_at"])
    transaction.on_commit(lambda: queue.send_refresh(host))


def want_access(host: Host, *, forget: bool = False) -> None:
    """Ask the host's worker to test what it may do there. `forget`: what an earlier test found is of another place."""
    values: dict[str, Any] = {"wanted_at": timezone.now()} | ({"data": {}, "tested_at": None} if forget else {})
    HostAccessRecord.objects.update_or_create(host=host, defaults=values)
    transaction.on_commit(lambda: queue.send_access(host))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def add(request: HttpRequest) -> HttpResponse:
    require(request, "host.add")
    form = HostForm(request.POST or None, initial={"kind": Host.Kind.SSH})
    if request.method == "POST" and form.is_valid() and _add(request, form):
        return redirect("host-access", name=form.instance.name)
    return render(request, "panel/host_form.html", {"form": form}, status=422 if form.errors else 200)


def _add(request: HttpRequest, form: HostForm) -> bool:
    try:
        with transaction.atomic():
            host = form.save()
            want_refresh(host)
            if host.kind != Host.Kind.SSH:
                want_access(host)
            audit.record("host.add", actor=request.user, obj=host, after=_facts(host), source=source(request))
    except IntegrityError:
        form.add_error("name", "Another host of this name has just been added.")
        return False
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def change(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.change", name=name)
    request.tree_host = host.name
    if request.method == "POST" and "trust" in request.POST:
        return trust(request, host)
    before = _facts(host)
    form = HostForm(request.POST or None, instance=host)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            host = form.save(commit=False)
            is_moved = (host.address, host.port) != (before["address"], before["port"])
            if is_moved:
                # What the old place has shown says nothing of the new one.
                host.offered_key = ""
            # A refresh writes the other columns, perhaps right now.
            host.save(update_fields=[*form.fields, "offered_key", "changed_at"])
            want_refresh(host)
            if is_moved or any(before[name] != getattr(host, name) for name in ("username", "become", "worker")):
                want_access(host, forget=True)
            audit.record(
                "host.change", actor=request.user, obj=host, before=before, after=_facts(host), source=source(request)
            )
        return redirect("host", name=host.name)
    return render(request, "panel/host_form.html", {"form": form, "host": host}, status=422 if form.errors else 200)


def trust(request: HttpRequest, host: Host) -> HttpResponse:
    """Pin the key the host offered, if it is still the one the administrator saw and compared."""
    if not pin(request, host, request.POST.get("trust", "")):
        messages.error(request, "The host offers another key by now. Compare it again.")
    return redirect("host", name=host.name)


def pin(request: HttpRequest, host: Host, offered: str) -> bool:
    """Whether it could be: not where the host offers another key by now."""
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host.pk)
        if not offered or offered != host.offered_key:
            return False
        before, host.host_key, host.offered_key = host.host_key, offered, ""
        host.save()
        want_refresh(host)
        want_access(host, forget=True)
        audit.record(
            "host.pin",
            actor=request.user,
            obj=host,
            before={"host_key": before},
            after={"host_key": offered},
            source=source(request),
        )
    return True


@require_POST
@login_required
def setup(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.setup", name=name)
    wanted = {"reserve": "reserve" in request.POST}
    return plan_from_button(request, "host_setup", wanted, host, back=host.get_absolute_url())


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def forget(request: HttpRequest, name: str) -> HttpResponse:
    """Take a host out of the panel. The machine stays as it is; its jails go on running."""
    host = find(request, Host, "host.forget", name=name)
    request.tree_host = host.name
    form = ForgetForm(host, request.POST or None)
    if request.method == "POST" and form.is_valid() and _forget(request, host):
        messages.success(request, f"{host.name} is no longer in the panel. Nothing was changed on it.")
        return redirect("hosts")
    context = {
        "form": form,
        "host": host,
        "under_way": host.operations.filter(status__in=Operation.OPEN).count(),
        "jail_count": host.jails.count(),
        "owners": sorted({name for name in host.jails.values_list("tenant__name", flat=True) if name}),
    }
    return render(request, "panel/host_forget.html", context, status=422 if request.method == "POST" else 200)


def _forget(request: HttpRequest, host: Host) -> bool:
    """Whether it could be: not while an operation is under way on it."""
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host.pk)
        if host.operations.filter(status__in=Operation.OPEN).exists():
            return False
        before = _facts(host) | {"jails": list(host.jails.values_list("name", flat=True))}
        unconfirmed = host.operations.filter(status__in=[Operation.Status.DRAFT, Operation.Status.STALE])
        now = timezone.now()
        unconfirmed.update(status=Operation.Status.DISCARDED, finished_at=now, changed_at=now)
        identity = host.pk
        host.delete()
        host.pk = identity
        audit.record("host.forget", actor=request.user, obj=host, before=before, source=source(request))
    return True


def _facts(host: Host) -> dict[str, Any]:
    fields = ("kind", "address", "port", "username", "become", "directory", "pool", "jail_root", "interface", "worker")
    return {name: getattr(host, name) for name in fields}
