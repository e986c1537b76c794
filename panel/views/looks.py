"""Pages that show a look: what was read of a jail just now. They ask again and again while they are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails.consoles import tickets
from jails.freebsd import logs as log_files
from jails.looks import kind as kinds
from jails.looks import looking
from jails.models import Jail, Look
from panel import use as charts_of
from panel.views import consoles, live
from panel.views.access import find
from panel.views.planning import plan_from_button

WAITING_EVERY = 700
"""Milliseconds between questions of a page that waits for an answer."""

More = Callable[[Look | None], Mapping[str, Any]]


def find_jail(request: HttpRequest, uuid: UUID, action: str) -> Jail:
    jail: Jail = find(request, Jail.objects.select_related("host", "tenant"), action, uuid=uuid)
    request.tree_host = jail.host.name
    return jail


def shown(
    request: HttpRequest,
    jail: Jail,
    kind: str,
    parameters: Mapping[str, Any],
    *,
    page: str,
    part: str,
    every: int = 5000,
    more: More | None = None,
) -> HttpResponse:
    """A page with one look in it: the template `page`, or alone the `part` of it that asks for itself again.

    The caller has found the jail for the action of the kind. `every`: milliseconds between questions after an answer.
    The templates get `jail`, `look` (None where it was refused), `result` (None before the first answer), `problem`,
    `waits`, `mark`, `every` and what `more` makes of the look.
    """
    context, shown_values = looked(request, jail, kind, parameters)
    look = context["look"]
    extra = dict(more(look)) if more else {}
    mark = live.mark_of(request.get_full_path(), jail.state, jail.state_since, *shown_values)
    if live.has(request, mark):
        return HttpResponseNotModified()
    context |= {"jail": jail, "tree_jail": jail.pk, "mark": mark, "every": WAITING_EVERY if context["waits"] else every}
    template = part if request.htmx else page
    return live.marked(render(request, template, context | extra), mark)


def looked(
    request: HttpRequest, jail: Jail, kind: str, parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Ask, and what a template needs of the answer; with it what changes when the answer does."""
    if kinds.get(kind).needs_running and jail.state != Jail.State.RUNNING:
        return {"look": None, "result": None, "problem": "", "waits": False}, ("not running",)
    try:
        look = looking.ask(jail, kind, parameters, user=request.user, patient=bool(request.htmx))
    except kinds.Refused as refused:
        return {"look": None, "result": None, "problem": str(refused), "waits": False}, (str(refused),)
    problem = look.problem if look.state == Look.State.FAILED else ""
    if look.is_lost:
        problem = "No worker has answered. It may be busy or stopped."
    context = {"look": look, "result": look.result, "problem": problem, "waits": look.is_open}
    return context, (look.pk, look.state, look.is_lost, look.seen_at, look.problem)


@require_safe
@login_required
def use(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What the jail uses, as charts. Measured by workers all the time: this is no look."""
    jail = find_jail(request, uuid, "jail.view")
    span = request.GET.get("span", "")
    span = span if span in charts_of.SPANS else charts_of.DEFAULT
    measures = charts_of.measures(jail, span)
    latest = [measure.chart.rows[0] for measure in measures if measure.chart.rows]
    mark = live.mark_of(request.get_full_path(), jail.state, jail.state_since, *latest)
    if live.has(request, mark):
        return HttpResponseNotModified()
    context = {
        "jail": jail,
        "tree_jail": jail.pk,
        "mark": mark,
        "spans": charts_of.SPANS,
        "span": span,
        "measures": measures,
        "cpu_by": charts_of.how_cpu_is_known(jail),
    }
    return live.marked(
        render(request, "panel/_jail_use.html" if request.htmx else "panel/jail_use.html", context), mark
    )


@require_safe
@login_required
def processes(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find_jail(request, uuid, "inside.view")
    return shown(
        request,
        jail,
        "processes",
        {},
        page="panel/jail_processes.html",
        part="panel/_jail_processes.html",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def services(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The services of a jail; a button plans the change of one."""
    if request.method == "POST":
        return _change_service(request, uuid)
    jail = find_jail(request, uuid, "inside.view")
    return shown(
        request, jail, "services", {}, page="panel/jail_services.html", part="panel/_jail_services.html", every=10000
    )


def _change_service(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find_jail(request, uuid, "jail.power")
    wish = {"jail": str(jail.uuid), "service": request.POST.get("service", ""), "do": request.POST.get("do", "")}
    return plan_from_button(request, "service_change", wish, jail.host, back=reverse("jail-services", args=[jail.uuid]))


FOLLOW_EVERY = 2500
"""Milliseconds between looks at a log that is followed."""


@require_safe
@login_required
def logs(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The log files of a jail; with `path` the end of one of them, with `text` only its lines that have it."""
    jail = find_jail(request, uuid, "inside.read")
    path, text = request.GET.get("path", ""), request.GET.get("text", "").strip()
    if not path:
        return shown(
            request, jail, "logs", {}, page="panel/jail_logs.html", part="panel/_jail_logs.html", every=15000,
            more=lambda look: {"files": _files(look)},
        )  # fmt: skip
    follows = "follow" in request.GET
    return shown(
        request,
        jail,
        "log",
        {"path": path, "text": text},
        page="panel/jail_log.html",
        part="panel/_jail_log.html",
        every=FOLLOW_EVERY if follows else 0,
        more=lambda look: {
            "path": path,
            "text": text,
            "follows": follows,
            "streams": follows and jail.state == Jail.State.RUNNING and not log_files.follow_error(path),
            "live_url": consoles.live_url(request, "log"),
        },
    )


@require_POST
@login_required
def log_ticket(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """What opens one stream of a log's lines, once, within half a minute, from this page and this sign-in."""
    jail = find_jail(request, uuid, "inside.read")
    path = request.POST.get("path", "")
    if problem := log_files.follow_error(path):
        return JsonResponse({"problem": f"A log {problem}"}, status=422)
    key = request.session.session_key
    assert key is not None  # somebody is signed in
    ticket = tickets.issue(request.user, key, jail, log=path, origin=consoles.origin_of(request))
    return consoles.never_kept(JsonResponse({"ticket": ticket}))


LAST = 253_402_300_799
"""The last second of the year 9999: what a file's times say is up to whoever has it."""


def moment(seconds: int) -> datetime:
    """Of a file's time, seconds since 1970, or the nearest that there is a date for."""
    return datetime.fromtimestamp(max(0, min(seconds, LAST)), UTC)


def _files(look: Look | None) -> list[dict[str, Any]]:
    """The newest first, with the time of the last change as such."""
    rows = (look.result or {}).get("files", []) if look is not None else []
    found = [row | {"at": moment(row["changed"])} for row in rows]
    return sorted(found, key=lambda row: (-row["changed"], row["path"]))
