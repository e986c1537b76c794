"""From a form to a plan: the same few lines for every kind of operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from jails.models import Host
from jails.operations import lifecycle
from jails.operations.kind import Refused
from panel.views.access import source


def plan(request: HttpRequest, kind: str, parameters: Mapping[str, Any], host: Host) -> HttpResponse:
    """Plan and show the plan. Raises Refused."""
    operation = lifecycle.draft(kind, parameters, host=host, user=request.user, source=source(request))
    return redirect("operation", pk=operation.pk)


def plan_from_form(
    request: HttpRequest, form: Form, kind: str, parameters: Mapping[str, Any], host: Host
) -> HttpResponse | None:
    """Plan what a valid form asks for. None when it was refused: then the form says why, at the field."""
    try:
        return plan(request, kind, parameters, host)
    except Refused as refused:
        add_errors(form, refused)
        return None


def plan_from_button(
    request: HttpRequest, kind: str, parameters: Mapping[str, Any], host: Host, back: str
) -> HttpResponse:
    """Plan what a button asks for. Refused: go back to the page `back` with the reason on top."""
    try:
        return plan(request, kind, parameters, host)
    except Refused as refused:
        messages.error(request, str(refused))
        return redirect(back)


def add_errors(form: Form, refused: Refused) -> None:
    for field, text in refused.errors.items():
        form.add_error(field if field in form.fields else None, text)
