"""Who does what: the operating agreement of a jail, or of all of a tenant's jails."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from jails import agreements, policy
from jails.models import Agreement, Jail, Side, Tenant
from panel import step_up
from panel.forms.agreements import AgreementForm, AnswerForm
from panel.views.access import find, refuse, source
from panel.views.planning import posted

HISTORY = 20
State = Agreement.State


def card(request: HttpRequest, jail: Jail) -> dict[str, Any]:
    """For a jail's page: the table, and what waits to be answered or read. Two queries; none for a jail of nobody."""
    if jail.tenant_id is None:
        return {}
    rows = policy.visible(request.user, _whole()).filter(tenant=jail.tenant_id)
    rows = rows.filter(Q(jail=jail) | Q(jail=None), Q(state=State.PROPOSED) | Q(unread=True))
    return {"agreement": agreements.lines_of(jail), "agreement_news": list(rows.order_by("pk"))}


def mark_of(context: dict[str, Any]) -> list[Any]:
    lines = [(line.work, line.side, line.origin) for line in context.get("agreement", [])]
    return [lines, [(row.pk, row.state, row.unread) for row in context.get("agreement_news", [])]]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def of_jail(request: HttpRequest, uuid: UUID) -> HttpResponse:
    rows = Jail.objects.select_related("host", "tenant").filter(tenant__isnull=False)
    jail = find(request, rows, "agreement.view", uuid=uuid)
    request.tree_host = jail.host.name
    otherwise = f"as for all jails of {jail.tenant.name}"
    form = AgreementForm(agreements.lines_of(jail), "jail", otherwise, posted(request))
    context = {"jail": jail, "tree_jail": jail.pk, "back": reverse("jail", args=[jail.uuid])}
    return _page(request, form, jail.tenant, jail, context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def of_tenant(request: HttpRequest, slug: str) -> HttpResponse:
    """What counts for all of its jails that have no agreement of their own."""
    tenant = find(request, Tenant.objects.filter(archived_at__isnull=True), "agreement.view", slug=slug)
    form = AgreementForm(agreements.lines_for_all(tenant), "tenant", "as the panel has it", posted(request))
    return _page(request, form, tenant, None, {"back": reverse("tenant", args=[tenant.slug])})


def _page(
    request: HttpRequest, form: AgreementForm, tenant: Tenant, jail: Jail | None, context: dict[str, Any]
) -> HttpResponse:
    thing = jail or tenant
    if request.method == "POST":
        action = "agreement.set" if request.POST.get("do") == "set" else "agreement.propose"
        if not policy.allowed(request.user, action, thing):
            refuse(request, action, thing)
        step_up.ask_for(request, action)
        if form.is_valid() and _saved(request, form, tenant, jail):
            return redirect(context["back"])
    history = _whole().filter(tenant=tenant, jail=jail)
    context |= {
        "form": form,
        "tenant": tenant,
        "thing": thing,
        "history": [row for row in history[:HISTORY] if row.state != State.PROPOSED],
        "proposals": [row for row in history if row.state == State.PROPOSED],
        "other": tenant.name if _side(request, thing) == Side.HOST else "the host",
    }
    return render(request, "panel/agreement.html", context, status=422 if form.errors else 200)


def _side(request: HttpRequest, thing: Any) -> Side:
    """For which side this person speaks. Who speaks for both speaks for the host."""
    return Side.HOST if policy.speaks_for(request.user, Side.HOST, thing) else Side.TENANT


def _saved(request: HttpRequest, form: AgreementForm, tenant: Tenant, jail: Jail | None) -> bool:
    reason, note = form.cleaned_data["reason"], {"user": request.user, "source": source(request)}
    side = _side(request, jail or tenant)
    try:
        if form.cleaned_data["do"] == "set":
            agreements.set_alone(tenant, jail, form.terms, reason=reason, **note)
            messages.success(request, f"It counts from now on, and {tenant.name} is told.")
        else:
            agreements.propose(tenant, jail, form.terms, side=side, reason=reason, **note)
            other = tenant.name if side == Side.HOST else "the host"
            messages.success(request, f"Proposed: it counts once {other} has accepted it.")
    except agreements.CannotAgree as error:
        form.add_error(None, str(error))
        return False
    return True


@require_POST
@login_required
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "agreement.decide", pk=pk)
    form = AnswerForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Accept it or turn it down; a comment has 500 characters at most.")
        return _back(row)
    act = agreements.accept if form.cleaned_data["do"] == "yes" else agreements.refuse
    try:
        act(row, user=request.user, comment=form.cleaned_data["comment"], source=source(request))
    except agreements.CannotAgree as error:
        messages.error(request, str(error))
    return _back(row)


@require_POST
@login_required
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "agreement.withdraw", pk=pk)
    try:
        agreements.withdraw(row, user=request.user, source=source(request))
    except agreements.CannotAgree as error:
        messages.error(request, str(error))
    return _back(row)


@require_POST
@login_required
def read(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "agreement.read", pk=pk)
    agreements.mark_read(row, user=request.user, source=source(request))
    return _back(row)


def _back(row: Agreement) -> HttpResponse:
    return redirect(url_of(row))


def url_of(row: Agreement) -> str:
    if row.jail is not None:
        return reverse("jail-agreement", args=[row.jail.uuid])
    return reverse("tenant-agreement", args=[row.tenant.slug])


def _whole() -> QuerySet[Agreement]:
    return Agreement.objects.select_related("tenant", "jail", "proposed_by", "decided_by")
