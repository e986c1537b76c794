"""Break-glass: the form of the administrator who needs it, and what the tenant reads of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import breakglass, policy
from jails.models import BreakGlass, Jail
from panel.forms.breakglass import BreakGlassForm
from panel.tables import keyset
from panel.views.access import find, require, source
from panel.views.planning import posted

A_PAGE = 50
DONE = 200
"""Entries of the log on the page of one; all of them are in the log."""
ON_TOP = 5
"""On the first page and on a jail's; all are a page of their own."""


def banners(request: HttpRequest, jail: Jail | None = None) -> list[BreakGlass]:
    """What is open or was not read by an owner, of one jail or of all that this person may know of. One query."""
    rows = breakglass.shown(policy.visible(request.user, BreakGlass))
    return list((rows.filter(jail=jail) if jail else rows)[:ON_TOP])


def any_shown(rows: QuerySet[BreakGlass], now: datetime) -> Exists:
    """Whether there is any to ask for."""
    return Exists(breakglass.shown(rows, now))


def mark_of(rows: list[BreakGlass]) -> list[Any]:
    return [(row.pk, row.is_open, row.acknowledged_at, row.console_since) for row in rows]


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """All that there ever were: of one's own teams, for administrators and auditors of all tenants."""
    sees_all = policy.allowed(request.user, "audit.view")
    if not sees_all and not policy.tenant_roles(request.user):
        require(request, "audit.view")
    rows = policy.visible(request.user, BreakGlass).select_related("user", "tenant", "jail", "acknowledged_by")
    page = keyset.page(rows, request.GET, A_PAGE)
    return render(request, "panel/break_glasses.html", {"rows": page, "sees_all": sees_all})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def enter(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.breakglass", uuid=uuid)
    request.tree_host = jail.host.name
    form = BreakGlassForm(posted(request))
    if request.method == "POST" and form.is_valid() and _entered(request, form, jail):
        return redirect("jail", uuid=jail.uuid)
    context = {"jail": jail, "tree_jail": jail.pk, "form": form, "is_open": breakglass.is_open(request.user, jail)}
    return render(request, "panel/jail_break_glass.html", context, status=422 if form.errors else 200)


def _entered(request: HttpRequest, form: BreakGlassForm, jail: Jail) -> bool:
    try:
        breakglass.enter(jail, form.cleaned_data["reason"], form.lasts, user=request.user, source=source(request))
    except breakglass.CannotBreak as error:
        form.add_error(None, str(error))
        return False
    messages.success(request, f"{jail.tenant.name} is told that you may enter {jail.name}, and why.")
    return True


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    """Who came in, why, and what they did."""
    row = find(request, _whole(), "breakglass.view", pk=pk)
    entries = list(breakglass.entries(row).defer("before", "after")[: DONE + 1])
    context = {"row": row, "entries": entries[:DONE], "more": len(entries) > DONE}
    return render(request, "panel/break_glass.html", context)


@require_POST
@login_required
def end(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "breakglass.end", pk=pk)
    try:
        breakglass.end(row, user=request.user, source=source(request))
    except breakglass.CannotBreak as error:
        messages.error(request, str(error))
    return redirect("break-glass", pk=pk)


@require_POST
@login_required
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "breakglass.acknowledge", pk=pk)
    breakglass.acknowledge(row, user=request.user, source=source(request))
    return redirect("break-glass", pk=pk)


def _whole() -> QuerySet[BreakGlass]:
    return BreakGlass.objects.select_related("jail", "tenant", "user", "ended_by", "acknowledged_by")
