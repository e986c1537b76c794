from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import audit, policy
from jails.models import Host, Jail, ObservedAddress, Operation, Release, Worker
from jails.operations import queue
from panel.forms.hosts import ForgetForm, HostForm
from panel.views.access import find, require, source
from panel.views.operations import shown_operations
from panel.views.planning import plan_from_button

JAILS_A_PAGE = 100
WORKER_SILENT = timezone.timedelta(seconds=60)


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "panel.overview")
    hosts = (
        policy.visible(request.user, Host)
        .annotate(jail_count=Count("jails"), running=Count("jails", filter=Q(jails__state=Jail.State.RUNNING)))
        .prefetch_related("pools")
    )
    return render(request, "panel/hosts.html", {"hosts": hosts})


@require_safe
@login_required
def page(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.view", name=name)
    request.tree_host = host.name
    context = state_of(host)
    if request.htmx and request.htmx.target == "host-state":
        response = render(request, "panel/_host_state.html", context)
        if not context["refreshing"]:
            response["HX-Trigger"] = "host-refreshed"
        return response
    operations = shown_operations(request).filter(host=host)
    mark = page_mark(host, operations)
    if request.htmx and request.headers.get("If-None-Match") == mark:
        return HttpResponseNotModified()
    jails = policy.visible(request.user, Jail).filter(host=host).select_related("tenant").prefetch_related("addresses")
    context |= {
        "pools": host.pools.all(),
        "jails": Paginator(jails.order_by("name"), JAILS_A_PAGE).get_page(request.GET.get("page")),
        "counts": host.jails.aggregate(all=Count("pk"), running=Count("pk", filter=Q(state=Jail.State.RUNNING))),
        "releases": policy.visible(request.user, Release).filter(host=host),
        "addresses": ObservedAddress.objects.filter(host=host)[:200],
        "operations": operations[:6],
        "mark": mark,
    }
    return render(request, "panel/host.html", context)


def page_mark(host: Host, operations: QuerySet[Operation]) -> str:
    """An ETag of what moves on the page: a refresh and every operation on the host change it."""
    latest = operations.order_by().aggregate(at=Max("changed_at"))["at"]
    return f'"{host.changed_at.timestamp()}-{latest.timestamp() if latest else 0}"'


def state_of(host: Host) -> dict[str, Any]:
    worker = Worker.objects.filter(pk=host.worker).first()
    silent = worker is None or worker.seen_at < timezone.now() - WORKER_SILENT
    waiting = host.refresh_wanted_at and (host.refreshed_at is None or host.refreshed_at < host.refresh_wanted_at)
    if waiting and host.unavailable_since and host.changed_at > host.refresh_wanted_at:
        waiting = False
    return {"host": host, "worker": worker, "worker_silent": silent, "refreshing": bool(waiting)}


@require_POST
@login_required
def refresh(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.refresh", name=name)
    want_refresh(host)
    if request.htmx:
        return render(request, "panel/_host_state.html", state_of(host))
    return redirect("host", name=host.name)


def want_refresh(host: Host) -> None:
    """Ask the host's worker for a refresh, as soon as what is being saved is saved."""
    host.refresh_wanted_at = timezone.now()
    host.save(update_fields=["refresh_wanted_at"])
    transaction.on_commit(lambda: queue.send_refresh(host))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def add(request: HttpRequest) -> HttpResponse:
    require(request, "host.add")
    form = HostForm(request.POST or None, initial={"kind": Host.Kind.SSH})
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            host = form.save()
            want_refresh(host)
            audit.record("host.add", actor=request.user, obj=host, after=_facts(host), source=source(request))
        return redirect("host", name=host.name)
    context = {"form": form, "workers": Worker.objects.exclude(public_key="")}
    return render(request, "panel/host_form.html", context, status=200 if not form.errors else 422)


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
            host = form.save()
            want_refresh(host)
            audit.record(
                "host.change", actor=request.user, obj=host, before=before, after=_facts(host), source=source(request)
            )
        return redirect("host", name=host.name)
    return render(request, "panel/host_form.html", {"form": form, "host": host}, status=200 if not form.errors else 422)


def trust(request: HttpRequest, host: Host) -> HttpResponse:
    """Pin the key the host offered, if it is still the one the administrator saw and compared."""
    offered = request.POST.get("trust", "")
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host.pk)
        if not offered or offered != host.offered_key:
            messages.error(request, "The host offers another key by now. Compare it again.")
            return redirect("host", name=host.name)
        before, host.host_key, host.offered_key = host.host_key, offered, ""
        host.save()
        want_refresh(host)
        audit.record(
            "host.pin",
            actor=request.user,
            obj=host,
            before={"host_key": before},
            after={"host_key": offered},
            source=source(request),
        )
    return redirect("host", name=host.name)


@require_POST
@login_required
def setup(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.setup", name=name)
    return plan_from_button(request, "host_setup", {}, host, back=host.get_absolute_url())


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def forget(request: HttpRequest, name: str) -> HttpResponse:
    """Take a host out of the panel. The machine stays as it is; its jails go on running."""
    host = find(request, Host, "host.forget", name=name)
    request.tree_host = host.name
    form = ForgetForm(host, request.POST or None)
    under_way = host.operations.filter(status__in=[*Operation.OPEN, Operation.Status.STUCK]).count()
    if request.method == "POST" and form.is_valid() and not under_way:
        with transaction.atomic():
            jails = list(host.jails.values_list("name", flat=True))
            host.operations.filter(status=Operation.Status.DRAFT).update(status=Operation.Status.DISCARDED)
            entry = {"obj": host, "before": _facts(host) | {"jails": jails}}
            host_name, identity = host.name, host.pk
            host.delete()
            host.pk = identity
            audit.record("host.forget", actor=request.user, source=source(request), **entry)
        messages.success(request, f"{host_name} is no longer in the panel. Nothing was changed on it.")
        return redirect("hosts")
    context = {"form": form, "host": host, "under_way": under_way, "jail_count": host.jails.count()}
    return render(request, "panel/host_forget.html", context, status=200 if request.method != "POST" else 422)


def _facts(host: Host) -> dict[str, Any]:
    fields = ("kind", "address", "port", "username", "directory", "pool", "jail_root", "interface", "worker")
    return {name: getattr(host, name) for name in fields}
