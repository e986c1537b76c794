"""Jails that tenants make by themselves, and how large they are."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from jails import plans, policy, selfservice
from jails.models import Jail, Operation, Tenant
from jails.operations.kind import Refused
from panel.context import shell_of
from panel.forms.selfservice import MakeForm, SizeForm
from panel.views.access import find, refuse, source
from panel.views.planning import add_errors, plan_from_form, posted

GET_AND_POST = require_http_methods(["GET", "HEAD", "POST"])


def makers(request: HttpRequest) -> list[Tenant]:
    """The teams for which one may make jails; of those, the one that one looks at."""
    found = selfservice.makers(request.user)
    team = shell_of(request).team
    return [tenant for tenant in found if team is None or tenant == team]


@GET_AND_POST
@login_required
def make(request: HttpRequest) -> HttpResponse:
    """A jail in three fields. Who may make none for anybody does not know of this page."""
    tenants = makers(request)
    tenant = _chosen(request, tenants)
    plan = plans.plan_of(tenant)
    if plan is None:
        raise Http404
    form = MakeForm(request.user, tenant, plan, posted(request), initial=_given(request))
    if request.method == "POST" and form.is_valid():
        try:
            operation = selfservice.draft(tenant, form.wanted(), user=request.user, source=source(request))
            return redirect("operation", pk=operation.pk)
        except Refused as refused:
            add_errors(form, refused)
    context = {"form": form, "tenant": tenant, "tenants": tenants}
    return render(request, "panel/jail_make.html", context, status=422 if form.errors else 200)


def _chosen(request: HttpRequest, tenants: list[Tenant]) -> Tenant:
    wanted = (request.POST if request.method == "POST" else request.GET).get("tenant", "")
    found = [tenant for tenant in tenants if wanted in ("", tenant.slug)]
    if not found:
        raise Http404
    return found[0]


def _given(request: HttpRequest) -> dict[str, Any]:
    """Values of an address: those of a plan that somebody goes back from."""
    return {name: request.GET[name] for name in ("label", "base", "login") if name in request.GET}


def make_url(operation: Operation) -> str:
    """The form that such a plan came from, with its values."""
    wish, tenant = operation.parameters, operation.tenant
    values = {"label": wish.get("hostname", ""), "tenant": tenant.slug if tenant is not None else ""}
    return f"{reverse('jail-make')}?{urlencode(values)}"


@GET_AND_POST
@login_required
def size(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """How much a jail may have, and whether it starts at boot."""
    rows = Jail.objects.select_related("host", "tenant").prefetch_related("addresses")
    jail: Jail = find(request, rows, "jail.view", uuid=uuid)
    request.tree_host = jail.host.name
    if not any(policy.allowed(request.user, action, jail) for action in ("jail.resize", "jail.power")):
        refuse(request, "jail.resize", jail)
    if not jail.managed or jail.state == Jail.State.PENDING:
        messages.error(request, f"{jail.name} cannot be changed here: ask your administrator.")
        return redirect("jail", uuid=jail.uuid)
    form = SizeForm(request.user, jail, posted(request))
    valid = request.method == "POST" and form.is_valid()
    if valid and (response := plan_from_form(request, form, "jail_change", form.parameters(), jail.host)):
        return response
    context = {"jail": jail, "tree_jail": jail.pk, "form": form}
    return render(request, "panel/jail_size.html", context, status=422 if form.errors else 200)
