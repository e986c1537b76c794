"""The list of jails, a jail's page, and the buttons that start and stop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import audit, policy
from jails.freebsd import jail as jail_tool
from jails.freebsd import names, service, sh
from jails.freebsd.uname import eol_of
from jails.hosts.survey import HostSurvey
from jails.looks import looking
from jails.models import Host, Jail, JailKey, Operation, Template, Tenant, User
from jails.operations import jail_adopt, lifecycle, power, sandbox_create
from jails.operations.jailfile import RULES
from jails.operations.kind import Refused
from panel.context import shell_of
from panel.forms.jails import counts_limits
from panel.tables import jails as table
from panel.tables import keyset, sheet
from panel.views import agreements, breakglass, live
from panel.views.access import find, note_hidden, refuse, source
from panel.views.adopting import addresses_of, kind_of
from panel.views.drift import CARD, drifted, rows_of, tenant_words
from panel.views.jail_forms import change, create, create_check, destroy, form_url, give, rename
from panel.views.planning import plan_from_button, survey_of

__all__ = [
    "bulk", "change", "columns", "create", "create_check", "destroy", "form_url", "give", "index", "page", "rename",
    "restart", "start", "stop",
]  # fmt: skip

A_PAGE = 50
BULK_MAX = 500
"""Jails of one bulk operation: its plan is read by a person."""
BULK = {"start": "jail_start", "stop": "jail_stop", "restart": "jail_restart", "adopt": "jail_adopt"}
RELATED_MAX = 50
HIDDEN = 20
"""Of jails that somebody named and may not know of so many are in the log."""


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponseBase:
    query = request.GET
    rows = table.narrowed(shell_of(request).of_team(policy.visible(request.user, Jail)), query)
    rows = table.ordered(rows, query.get("sort", "")).select_related("host", "tenant", "release", "template")
    rows = drifted(rows).prefetch_related("addresses")
    if query.get("export") == "csv":
        return _csv(request, keyset.in_order(rows))
    jails = keyset.page(rows, query, A_PAGE)
    tenants = _tenants(request)
    shown = table.shown(request.user, query.get("sort", ""), is_staff=shell_of(request).is_staff)
    context = {
        "jails": jails,
        "rows": [_row(jail) for jail in jails],
        "heads": table.heads(query),
        "shown": shown,
        "hidden": table.hidden(request.user),
        "columns": table.choosable(is_staff=shell_of(request).is_staff),
        "wanted": query,
        "here": table.without(query, *table.PLACES),
        "chips": table.chips(query, [(tenant.slug, tenant.name) for tenant in tenants]),
        "hosts": shell_of(request).hosts if shell_of(request).is_staff else [],
        "tenants": tenants,
        "states": Jail.State.choices,
        "kinds": Jail.Kind.choices,
        "drifts": table.DRIFT,
        "may_choose": any(policy.allowed(request.user, "jail.power", jail) for jail in jails),
        "bulk_max": BULK_MAX,
        "may_adopt": any(not jail.is_kept and policy.allowed(request.user, "jail.adopt", jail) for jail in jails),
    }
    context["mark"] = mark = _list_mark(request, context["rows"], jails.count, shown)
    if live.has(request, mark):
        return HttpResponseNotModified()
    template = "panel/_jail_list.html" if request.htmx else "panel/jails.html"
    return live.marked(render(request, template, context), mark)


def _list_mark(request: HttpRequest, rows: list[dict[str, Any]], count: int, columns: dict[str, bool]) -> str:
    shown = [
        (row["jail"].uuid, row["jail"].drifted, *_values(row["jail"]), *row["addresses"], row["base"]) for row in rows
    ]
    return live.mark_of(request.get_full_path(), count, columns, *shown)


def _values(jail: Jail) -> list[Any]:
    return [getattr(jail, field.attname) for field in Jail._meta.concrete_fields]


def _row(jail: Jail) -> dict[str, Any]:
    return {"jail": jail, "addresses": table.addresses_of(jail), "base": jail.template or jail.release}


def _tenants(request: HttpRequest) -> list[Tenant]:
    """Those to filter by: for staff who know of them all, and for who belongs to several."""
    if not policy.allowed(request.user, "tenant.view"):
        own = [] if shell_of(request).is_staff else shell_of(request).own_tenants
        return own if len(own) > 1 else []
    return list(policy.visible(request.user, Tenant).filter(archived_at__isnull=True))


def _csv(request: HttpRequest, rows: QuerySet[Jail]) -> StreamingHttpResponse:
    """That it was taken out is an entry, written before a line leaves."""
    own = shell_of(request).own_tenants
    tenant = own[0] if not shell_of(request).is_staff and len(own) == 1 else None
    wanted = {name: value for name, value in request.GET.items() if value and name not in table.PLACES}
    with transaction.atomic():
        audit.record("jail.export", actor=request.user, tenant=tenant, after=wanted, source=source(request))
    return sheet.download("jails", sheet.lines(table.CSV_HEAD, map(table.cells, rows.iterator(chunk_size=500))))


@require_POST
@login_required
def columns(request: HttpRequest) -> HttpResponse:
    """Which columns of the list this person sees from now on; all with `all`."""
    is_staff = shell_of(request).is_staff
    everything = [name for name, _ in table.choosable(is_staff=is_staff)]
    wanted = everything if "all" in request.POST else request.POST.getlist("column")
    table.show_only(request.user, wanted, is_staff=is_staff)
    return redirect(_back_to_list(request))


def _back_to_list(request: HttpRequest) -> str:
    return f"{reverse('jails')}{table.without(QueryDict(request.POST.get('filter', '')))}"


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def bulk(request: HttpRequest) -> HttpResponse:
    """Start or stop several jails: one operation a host. GET shows the plans that were made."""
    if request.method != "POST":
        return _plans(request)
    back = _back_to_list(request)
    kind = BULK.get(request.POST.get("do", ""))
    jails = _chosen(request)
    problem = _bulk_problem(kind, jails)
    if kind is None or problem:
        messages.error(request, problem)
        return redirect(back)
    operations = []
    for host, group in _by_host(jails):
        try:
            operations.append(_draft(request, kind, host, group))
        except Refused as refused:
            messages.error(request, f"{host}: {refused}")
    if not operations:
        return redirect(back)
    if len(operations) == 1:
        return redirect("operation", pk=operations[0].pk)
    return redirect(f"{reverse('jails-bulk')}?{urlencode([('plan', row.pk) for row in operations])}")


def _draft(request: HttpRequest, kind: str, host: Host, jails: list[Jail]) -> Operation:
    wish: dict[str, Any] = {"jails": [str(jail.uuid) for jail in jails]}
    if kind == "jail_adopt":
        wish |= {"how": Jail.Adoption.IN_PLACE, "tenant": None}
    return lifecycle.draft(kind, wish, host=host, user=request.user, source=source(request))


def _chosen(request: HttpRequest) -> list[Jail]:
    """The jails that were ticked, or all that match the filter of the list. 404 for one that may not be known."""
    action = "jail.adopt" if request.POST.get("do") == "adopt" else "jail.power"
    rows = policy.visible(request.user, Jail).select_related("host", "tenant").order_by("host__name", "name")
    if request.POST.get("all"):
        jails = list(table.narrowed(rows, QueryDict(request.POST.get("filter", "")))[: BULK_MAX + 1])
    else:
        wanted = _uuids(request.POST.getlist("jails"))
        jails = list(rows.filter(uuid__in=list(wanted)[: BULK_MAX + 1]))
        if len(jails) != min(len(wanted), BULK_MAX + 1):
            hidden = Jail.objects.filter(uuid__in=list(wanted)[: BULK_MAX + 1]).exclude(pk__in=rows.values("pk"))
            note_hidden(request, action, list(hidden.select_related("host", "tenant")[:HIDDEN]))
            raise Http404
    for jail in jails:
        if not policy.allowed(request.user, action, jail):
            refuse(request, action, jail)
    return jails


def _uuids(texts: Iterable[str]) -> set[UUID]:
    try:
        return {UUID(text) for text in texts}
    except ValueError:
        raise Http404 from None


def _bulk_problem(kind: str | None, jails: list[Jail]) -> str:
    if kind is None:
        return "Choose what to do with them: start, stop, restart or adopt."
    if not jails:
        return "Choose at least one jail."
    if len(jails) > BULK_MAX:
        return f"At most {BULK_MAX} jails at once: narrow the list, or do it in parts."
    return ""


def _by_host(jails: list[Jail]) -> list[tuple[Host, list[Jail]]]:
    groups: dict[Host, list[Jail]] = {}
    for jail in jails:
        groups.setdefault(jail.host, []).append(jail)
    return list(groups.items())


def _plans(request: HttpRequest) -> HttpResponse:
    try:
        rows = policy.visible(request.user, Operation).filter(pk__in=request.GET.getlist("plan")[:BULK_MAX])
        plans = list(rows.prefetch_related("jails").defer("plan", "parameters").order_by("host_name"))
    except (ValidationError, ValueError):
        plans = []
    if not plans:
        return redirect("jails")
    return render(request, "panel/jails_bulk.html", {"plans": plans})


@require_safe
@login_required
def page(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, _whole(), "jail.view", uuid=uuid)
    request.tree_host = jail.host.name
    operations = policy.visible(request.user, Operation).filter(jails=jail).defer("plan", "parameters")
    recent = list(operations.exclude(status__in=["draft", "discarded"]).select_related("requested_by")[:6])
    related = _dependents(request, jail)
    limits_off = any(jail.limits.get(rule) for rule in RULES) and not counts_limits(jail.host)
    differing, drift_mark = _drift(request, jail)
    entered = breakglass.banners(request, jail)
    agreed = agreements.card(request, jail)
    shown = [(row.pk, row.status, row.changed_at) for row in recent]
    ssh, ssh_unseen = ssh_of(jail, request.user)
    is_over = jail.expires_at is not None and jail.expires_at <= timezone.now()
    mark = live.mark_of(
        *_values(jail),
        jail.tenant,
        jail.host.unavailable_since,
        *jail.addresses.all(),
        *shown,
        *related.values(),
        drift_mark,
        is_over,
        *ssh,
        ssh_unseen,
        breakglass.mark_of(entered),
        agreements.mark_of(agreed),
    )
    if live.has(request, mark):
        return HttpResponseNotModified()
    context = {
        "jail": jail,
        "is_over": is_over,
        "extension": sandbox_create.DAYS,
        "tree_jail": jail.pk,
        "addresses": list(jail.addresses.all()),
        "under_way": next((row for row in recent if row.is_open), None),
        "operations": recent,
        "why_not": why_not(jail),
        "made_as": kind_of(jail),
        "configured_addresses": [] if jail.managed else addresses_of(jail),
        "with_tool": power.is_with_tool(jail),
        "may_be_adopted": bool(jail_adopt.ways(jail)),
        "quota_share": quota_share(jail),
        "break_glasses": entered,
        "limits_off": limits_off,
        "mark": mark,
        "ssh": ssh,
        "ssh_unseen": ssh_unseen,
        **_base(jail),
        **related,
        **differing,
        **agreed,
    }
    if policy.allowed(request.user, "host.view", jail.host):
        context["by_hand"] = by_hand(jail)
    template = "panel/_jail.html" if request.htmx else "panel/jail.html"
    return live.marked(render(request, template, context), mark)


def quota_share(jail: Jail) -> int | None:
    """Per cent of its quota that it uses; None where it has none."""
    quota = jail.limits.get("quota")
    return min(100, round(100 * (jail.used + jail.used_by_snapshots) / quota)) if quota else None


def _whole() -> QuerySet[Jail]:
    rows = Jail.objects.select_related("host", "tenant", "release", "template", "template__release")
    return rows.prefetch_related("addresses__network")


def ssh_of(jail: Jail, user: User) -> tuple[list[str], bool]:
    """How its reader gets into a running jail by ssh, and whether nobody has looked since it started.

    A line for each address at which sshd was seen to listen, with each login that has keys of the reader; `user` is
    theirs to fill in where there is none. Unseen as yet, a login of the reader's is told with the jail's addresses.
    """
    if jail.state != Jail.State.RUNNING:
        return [], False
    survey, at = survey_of(jail.host)
    own = JailKey.objects.filter(jail=jail, user=user, leaving_since=None)
    logins = sorted(set(own.order_by().values_list("login", flat=True)))
    found = _sshd_at(jail, survey) if survey is not None else set()
    unseen = not found and at is not None and at < jail.state_since
    if unseen and logins:
        found = {(one.ip, 22) for one in jail.addresses.all()}
    lines = [
        f"ssh {'' if port == 22 else f'-p {port} '}{login}@{ip}"
        for ip, port in sorted(found)
        for login in logins or ["user"]
    ]
    return lines, unseen


def _sshd_at(jail: Jail, survey: HostSurvey) -> set[tuple[str, int]]:
    name = looking.running_name(jail)
    own = [one for one in survey.sockets if one.jail == name and one.command == "sshd" and one.proto.startswith("tcp")]
    return {
        (ip, one.port)
        for one in own
        for ip in (jail.observed_addresses if one.ip == "*" else [one.ip])
        if one.port and (":" in ip) == (one.proto != "tcp4")
    }


def _base(jail: Jail) -> dict[str, Any]:
    """What its userland is, and until when that is supported."""
    release = jail.release or (jail.template.release if jail.template else None)
    end = eol_of(release.name) if release else None
    return {"userland": release, "end_of_life": end, "past_end": bool(end and end < timezone.now().date())}


def _dependents(request: HttpRequest, jail: Jail) -> dict[str, Any]:
    """Who is cloned from it, and which templates were made from it."""
    clones = policy.visible(request.user, Jail).filter(host=jail.host_id, origin__startswith=f"{jail.dataset}@")
    templates = policy.visible(request.user, Template).filter(host=jail.host_id, source_jail=jail.name)
    return {
        "clones": list(clones.only("uuid", "name", "state")[:RELATED_MAX]) if jail.dataset else [],
        "made_templates": list(templates[:RELATED_MAX]),
    }


def _drift(request: HttpRequest, jail: Jail) -> tuple[dict[str, Any], Any]:
    """What is not as the panel wants it, and a mark of it: a table for staff, words for its tenant."""
    if not policy.allowed(request.user, "drift.view", jail):
        words = tenant_words(jail)
        return {"drift_words": words}, words
    rows = [row for row in rows_of(jail) if not row["row"].unheld]
    context = {
        "drifts": rows[:CARD],
        "drift_count": len(rows),
        "drift_since": min((row["row"].first_seen_at for row in rows), default=None),
        "drift_restarts": [row["label"] for row in rows if row["restart"]],
        "drift_can_repair": any(row["can_repair"] for row in rows),
        "drift_can_accept": any(row["can_accept"] for row in rows),
    }
    return context, [(row["row"].pk, row["row"].changed_at) for row in rows]


def why_not(jail: Jail) -> str:
    """Why a jail that the panel did not make cannot be changed here; "" for one that it made, or has adopted."""
    if jail.managed or (jail.adoption and not power.is_with_tool(jail)):
        return ""
    made_by = jail.get_manager_display()
    if jail.adoption:
        return f"{made_by} keeps this jail: start and stop it here, and change it with {made_by}."
    if power.is_with_tool(jail):
        return f"{made_by} made this jail, and has it in {jail.config_path}. Adopt it to start, stop or change it here."
    if not jail.config_path:
        return (
            "The panel did not make this jail: it knows it only because it runs, no configuration file names it. "
            "Once stopped, nothing here can start it again."
        )
    return (
        f"The panel did not make this jail: it found it in {jail.config_path}. It can be started and stopped here. "
        "Adopt it to change it here, or to give it to a tenant; its file and its tree stay where they are."
    )


def by_hand(jail: Jail) -> list[tuple[str, str]]:
    """(what it does, the command) without the panel; empty where no safe one can be written, or the jail is missing."""
    if jail.state == Jail.State.MISSING:
        return []
    try:
        return [(word, sh.words(argv)) for word, argv in _hand_commands(jail)]
    except ValueError:
        return []


def _hand_commands(jail: Jail) -> list[tuple[str, tuple[str, ...]]]:
    if power.is_with_tool(jail):
        return [(word.capitalize(), tuple(jail.found[word])) for word in ("start", "stop") if jail.found.get(word)]
    if not jail.config_path:
        return [("Stop", jail_tool.remove_unconfigured(jail.name))]
    if names.jail_name_error(jail.name):
        start, stop = (act(jail.name, file=jail.config_path) for act in (jail_tool.create, jail_tool.remove))
        return [("Start", start), ("Stop", stop)]
    return [
        (action.capitalize(), service.jail(action, jail.name, enabled=jail.boot))
        for action in ("start", "stop", "restart")
    ]


@require_POST
@login_required
def start(request: HttpRequest, uuid: UUID) -> HttpResponse:
    return _power(request, uuid, "jail_start")


@require_POST
@login_required
def stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    return _power(request, uuid, "jail_stop")


@require_POST
@login_required
def restart(request: HttpRequest, uuid: UUID) -> HttpResponse:
    return _power(request, uuid, "jail_restart")


def _power(request: HttpRequest, uuid: UUID, kind: str) -> HttpResponse:
    jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.power", uuid=uuid)
    back = reverse("jail", args=[jail.uuid])
    return plan_from_button(request, kind, {"jails": [str(jail.uuid)]}, jail.host, back=back)
