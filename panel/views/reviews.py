"""The queue of what the rules found in the log, and signing it off."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from jails import policy, review
from jails.models import AuditEntry, AuditReview
from panel.forms.reviews import SignOffForm
from panel.tables import audit as table
from panel.tables.jails import without
from panel.views.access import refuse, require, source

A_PAGE = 50
State = AuditReview.State
TABS = ((State.OPEN, "Open"), (State.SECOND, "Needs a second person"), (State.DONE, "Signed off"))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "audit.review")
    form = SignOffForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and sign_off(request, form):
        return redirect(reverse("audit-review") + without(request.GET))
    state = request.GET.get("state") if request.GET.get("state") in State.values else State.OPEN
    rule = request.GET.get("rule") if request.GET.get("rule") in review.NAMES else None
    rows = AuditReview.objects.filter(state=state, **({"rule": rule} if rule else {}))
    page = table.Page(rows.select_related("first_reviewer", "second_reviewer"), request.GET, A_PAGE, key="pk")
    counts = review.counts(**({"rule": rule} if rule else {}))
    context = {
        "tabs": [(key, name, counts[key], without(request.GET, "before", "after", state=key)) for key, name in TABS],
        "current_state": state,
        "rule": rule,
        "rules": review.RULES,
        "rows": lines(request, page.entries),
        "page": page,
        "form": form,
        "chosen": request.POST.getlist("reviews"),
    }
    return render(request, "panel/audit_review.html", context, status=422 if form.errors else 200)


def lines(request: HttpRequest, reviews: list[AuditReview]) -> list[dict[str, Any]]:
    """Reviews with what they are about, in one query, and why this reader cannot sign one."""
    about = AuditEntry.objects.defer("before", "after").in_bulk([row.sequence for row in reviews])
    return [
        {
            "review": row,
            "entry": about.get(row.sequence),
            "name": review.NAMES.get(row.rule, row.rule),
            "why_not": review.why_not(request.user, row),
        }
        for row in reviews
    ]


def sign_off(request: HttpRequest, form: SignOffForm) -> bool:
    rows = list(form.cleaned_data["reviews"])
    for row in rows:
        # One that was signed off meanwhile is no refusal: the answer is to look again.
        if row.state != State.DONE and not policy.allowed(request.user, "audit.review", row):
            refuse(request, "audit.review", row)
    try:
        review.sign_off(rows, form.cleaned_data["comment"], user=request.user, source=source(request))
    except review.CannotSign as problem:
        form.add_error("reviews", str(problem))
        return False
    messages.success(request, "Signed off." if len(rows) == 1 else f"{len(rows)} signed off.")
    return True
