"""What is asked before a jail is made or changed: each form ends in a plan."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from jails.models import Jail, Operation
from panel.views.access import find, require_on_a_host

GET_AND_POST = require_http_methods(["GET", "HEAD", "POST"])


@GET_AND_POST
@login_required
def create(request: HttpRequest) -> HttpResponse:
    require_on_a_host(request, "jail.create")
    return render(request, "panel/jail_form.html")


@require_POST
@login_required
def create_check(request: HttpRequest) -> HttpResponse:
    require_on_a_host(request, "jail.create")
    return HttpResponse()


@GET_AND_POST
@login_required
def change(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, Jail, "jail.change", uuid=uuid)
    return redirect("jail", uuid=jail.uuid)


@GET_AND_POST
@login_required
def rename(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, Jail, "jail.rename", uuid=uuid)
    return redirect("jail", uuid=jail.uuid)


@GET_AND_POST
@login_required
def destroy(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, Jail, "jail.destroy", uuid=uuid)
    return redirect("jail", uuid=jail.uuid)


@GET_AND_POST
@login_required
def give(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, Jail, "jail.give", uuid=uuid)
    return redirect("jail", uuid=jail.uuid)


def form_url(operation: Operation) -> str:
    """The form that a plan came from, with its values in the query; "" where there was none."""
    return ""


def parameters_of(operation: Operation) -> dict[str, Any]:
    return dict(operation.parameters)
