"""Approvals: asking at a plan, the list of what is asked and was answered, and answering."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from jails import approvals, policy
from jails.models import Agreement, Approval, Operation
from panel.forms.agreements import AnswerForm, AskForm
from panel.tables import keyset
from panel.views.access import find, require, source
from panel.views.agreements import url_of

A_PAGE = 50
LOOKED_AT = 200
"""Open questions that the first page looks through for those that are this person's to answer."""
State = Approval.State


class Wait(NamedTuple):
    """Something that waits for this person: an answer, or a plan that may be run now."""

    icon: str
    text: str
    url: str
    since: datetime | None


def waits(request: HttpRequest) -> list[Wait]:
    """For the first page. Three queries, however many there are."""
    return [*_questions(request), *_agreements(request), *_approved(request)]


def any_wait(questions: QuerySet[Approval], agreements: QuerySet[Agreement], user: int, now: datetime) -> list[Exists]:
    """Whether any of these rows may be one of `waits`: where none is, there is nothing more to ask."""
    return [
        Exists(approvals.waiting(questions, now)),
        Exists(unsettled(agreements)),
        Exists(to_run(questions, user).filter(expires_at__gt=now)),
    ]


def unsettled(rows: QuerySet[Agreement]) -> QuerySet[Agreement]:
    return rows.filter(Q(state=Agreement.State.PROPOSED) | Q(unread=True))


def to_run(rows: QuerySet[Approval], user: int) -> QuerySet[Approval]:
    """Plans that this person has asked about, that were approved and are not run."""
    rows = rows.filter(asked_by=user, state=State.GRANTED, used_at=None)
    return rows.filter(operation__status__in=approvals.WAITING)


def _questions(request: HttpRequest) -> list[Wait]:
    rows = approvals.waiting(policy.visible(request.user, _whole())).order_by("asked_at")[:LOOKED_AT]
    return [
        Wait(
            "help-circle",
            f"{row.asked_by} asks for your approval: {_what(row)}. “{row.reason}”",
            _url(row),
            row.asked_at,
        )
        for row in approvals.to_answer(request.user, rows)
    ]


def _agreements(request: HttpRequest) -> list[Wait]:
    rows = unsettled(policy.visible(request.user, Agreement)).select_related("tenant", "jail", "proposed_by")
    found = []
    for row in rows.order_by("proposed_at")[:LOOKED_AT]:
        about = row.jail.name if row.jail else f"all jails of {row.tenant.name}"
        if row.state == Agreement.State.PROPOSED and policy.allowed(request.user, "agreement.decide", row):
            text = f"{row.proposed_by} proposes another agreement on {about}: accept it or turn it down."
            found.append(Wait("list-check", text, url_of(row), row.proposed_at))
        if row.unread and policy.allowed(request.user, "agreement.read", row):
            text = f"{row.proposed_by} has set who does what on {about}: “{row.reason}”"
            found.append(Wait("list-check", text, url_of(row), row.proposed_at))
    return found


def _approved(request: HttpRequest) -> list[Wait]:
    """Plans of one's own that were approved and not run."""
    rows = to_run(policy.visible(request.user, _whole()), request.user.pk).order_by("decided_at")[:LOOKED_AT]
    return [
        Wait(
            "circle-check",
            f"{row.decided_by} has approved: {row.subject}. You may run it.",
            _plan_url(row),
            row.decided_at,
        )
        for row in rows
        if not row.is_expired
    ]


def _what(row: Approval) -> str:
    return row.subject if row.operation_id else f"{row.get_work_display().lower()} of {row.subject}"


def _url(row: Approval) -> str:
    return reverse("approval", args=[row.pk])


def _plan_url(row: Approval) -> str:
    return reverse("operation", args=[row.operation_id])


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    if not policy.tenant_roles(request.user):
        require(request, "panel.overview")
    rows = policy.visible(request.user, _whole())
    page = keyset.page(rows, request.GET, A_PAGE)
    mine = approvals.to_answer(request.user, approvals.waiting(rows).order_by("asked_at")[:LOOKED_AT])
    return render(request, "panel/approvals.html", {"rows": page, "to_answer": mine})


@require_safe
@login_required
def page(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "approval.view", pk=pk)
    return render(request, "panel/approval.html", context_of(request, row, AnswerForm()))


def context_of(request: HttpRequest, row: Approval, form: AnswerForm) -> dict[str, Any]:
    used_for = policy.visible(request.user, Operation).filter(approvals=row).defer("plan", "parameters")
    is_open = row.status == State.ASKED and (row.operation is None or row.operation.status in approvals.WAITING)
    return {
        "row": row,
        "form": form,
        "is_open": is_open,
        "may_answer": is_open and policy.allowed(request.user, "approval.decide", row),
        "may_withdraw": (is_open or (row.status in (State.GRANTED, "used") and not row.is_expired))
        and policy.allowed(request.user, "approval.withdraw", row),
        "operations": list(used_for.exclude(status__in=["draft", "discarded"]).select_related("requested_by")[:20]),
    }


@require_POST
@login_required
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "approval.decide", pk=pk)
    form = AnswerForm(request.POST)
    if not form.is_valid():
        return render(request, "panel/approval.html", context_of(request, row, form), status=422)
    act = approvals.grant if form.cleaned_data["do"] == "yes" else approvals.refuse
    try:
        act(row, user=request.user, comment=form.cleaned_data["comment"], source=source(request))
    except approvals.CannotApprove as error:
        messages.error(request, str(error))
    return redirect("approval", pk=pk)


@require_POST
@login_required
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, _whole(), "approval.withdraw", pk=pk)
    try:
        approvals.withdraw(row, user=request.user, source=source(request))
    except approvals.CannotApprove as error:
        messages.error(request, str(error))
    return redirect("approval", pk=pk)


def _whole() -> QuerySet[Approval]:
    return Approval.objects.select_related("tenant", "jail", "host", "operation", "asked_by", "decided_by")


# At a plan


def plan_context(request: HttpRequest, operation: Operation, form: AskForm | None = None) -> dict[str, Any]:
    """For the page of a plan that this person may run: whose work it is, and by what it may be done all the same."""
    try:
        lacks = approvals.lack(request.user, operation)
    except LookupError:
        return {}
    if not lacks:
        return {}
    unused = Approval.objects.filter(used_at=None)
    covered = approvals.cover(request.user, operation, operation.digest, lacks, unused)
    asked = policy.visible(request.user, _whole()).filter(asked_by=request.user, side=lacks.side, work=lacks.work)
    about = Q(operation=operation) | Q(operation=None, jail__in=lacks.jails)
    questions = [row for row in asked.filter(about)[:20] if row.status != "used"]
    return {
        "lacks": lacks,
        "covered": covered,
        "questions": questions,
        "is_asked": any(row.status == State.ASKED and row.digest in ("", operation.digest) for row in questions),
        "ask_form": form or AskForm(),
        "break_glass_jail": _to_break(request, lacks),
    }


def _to_break(request: HttpRequest, lacks: approvals.Lack) -> Any:
    """The jail whose glass an administrator may break instead, where it is one."""
    if len(lacks.jails) != 1 or not policy.allowed(request.user, "jail.breakglass", lacks.jails[0]):
        return None
    return lacks.jails[0]
