"""From a form to a plan: the same few lines for every kind of operation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from jails import plans
from jails.hosts import surveying
from jails.hosts.facts import HostFacts, Missing
from jails.hosts.survey import HostSurvey
from jails.models import Host, HostFactsRecord, HostSurveyRecord, Jail
from jails.operations import kind as kinds
from jails.operations import lifecycle, snapshots
from jails.operations.kind import Refused
from jails.operations.step import Plan
from panel.views.access import source


def posted(request: HttpRequest) -> Any:
    """What a form is bound to: also to a post with nothing in it, never to a page that is only looked at."""
    return request.POST if request.method == "POST" else None


def plan(request: HttpRequest, kind: str, parameters: Mapping[str, Any], host: Host) -> HttpResponse:
    """Plan and show the plan, with a snapshot first where one is taken before such a thing. Raises Refused."""
    try:
        parameters = with_snapshot(kind, parameters, host)
        operation = lifecycle.draft(kind, parameters, host=host, user=request.user, source=source(request))
    except LookupError as error:
        # Somebody has just destroyed what it is about.
        raise Refused(f"What it is about is gone: {error}.") from error
    return redirect("operation", pk=operation.pk)


def with_snapshot(kind: str, parameters: Mapping[str, Any], host: Host) -> Mapping[str, Any]:
    """A wish, with a snapshot first where one is taken before such a thing. Raises Refused."""
    if kind not in kinds.SNAPSHOT_FIRST:
        return parameters
    row = Jail.objects.filter(host=host, uuid=parameters["jail"]).select_related("tenant").first()
    dataset = row.dataset if row is not None else ""
    return snapshots.ask_first(kind, parameters, row, lambda: facts_of(host).snapshots_of(dataset))


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
        # A button has no fields: what is wrong is said in whole sentences.
        messages.error(request, " ".join(refused.errors.values()))
        return redirect(back)


def preview(kind: str, parameters: Mapping[str, Any], host: Host) -> Plan:
    """The plan as it would be now, to show what it means: nothing is kept, no rights are asked. Raises Refused."""
    try:
        wanted = kinds.get(kind)
        cleaned = wanted.clean(parameters)
        tenant = wanted.tenant(host, cleaned)
        plans.refuse(wanted, host, cleaned)
        return wanted.plan(kinds.Request(str(uuid4()), cleaned, host, facts_of(host), tenant))
    except Missing as missing:
        raise Refused(str(missing)) from missing
    except LookupError as error:
        raise Refused(f"What it is about is gone: {error}.") from error


def facts_of(host: Host) -> HostFacts:
    """As lifecycle.facts_of, read once for all looks between two refreshes: of a thousand jails that takes a second."""
    gathered_at = HostFactsRecord.objects.filter(host=host).values_list("gathered_at", flat=True).first()
    return _kept_facts(host, gathered_at)


@lru_cache(maxsize=4)
def _kept_facts(host: Host, gathered_at: datetime | None) -> HostFacts:
    return lifecycle.facts_of(host)


def survey_of(host: Host) -> tuple[HostSurvey | None, datetime | None]:
    """The last survey and when it was made, read once for all looks until the next one."""
    gathered_at = HostSurveyRecord.objects.filter(host=host).values_list("gathered_at", flat=True).first()
    return (_kept_survey(host, gathered_at) if gathered_at is not None else None), gathered_at


@lru_cache(maxsize=4)
def _kept_survey(host: Host, gathered_at: datetime) -> HostSurvey | None:
    return surveying.survey_of(host)


def add_errors(form: Form, refused: Refused) -> None:
    """Put each reason at the field it is about, and on top of the form what is about none."""
    for parameter, text in refused.errors.items():
        field = field_of(form, parameter, text)
        form.add_error(field, text if field or not parameter else f"{parameter}: {text}")


def field_of(form: Form, parameter: str, text: str) -> str | None:
    """The field for a parameter, `limits.quota` being the form's quota; None where it has none."""
    if parameter == "addresses" and hasattr(form, "address_field"):
        field: str = form.address_field(text)
        return field
    last = parameter.rpartition(".")[2]
    field = getattr(form, "parameter_fields", {}).get(last, last)
    return field if field in form.fields else None
