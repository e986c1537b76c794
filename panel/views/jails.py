"""The list of jails, a jail's page, and its buttons."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import policy
from jails.models import Jail
from panel.views.access import find
from panel.views.jail_forms import change, create, create_check, destroy, form_url, give, rename
from panel.views.planning import plan_from_button

__all__ = [
    "bulk", "change", "create", "create_check", "destroy", "form_url", "give", "index", "page", "rename", "restart",
    "start", "stop",
]  # fmt: skip


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "panel/jails.html", {"jails": policy.visible(request.user, Jail)[:50]})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def bulk(request: HttpRequest) -> HttpResponse:
    return redirect("jails")


@require_safe
@login_required
def page(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, Jail, "jail.view", uuid=uuid)
    return render(request, "panel/jail.html", {"jail": jail})


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
    jail = find(request, Jail.objects.select_related("host"), "jail.power", uuid=uuid)
    back = reverse("jail", args=[jail.uuid])
    return plan_from_button(request, kind, {"jails": [str(jail.uuid)]}, jail.host, back=back)
