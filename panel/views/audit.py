"""The log, as people read it: what they may see of it, by filters that live in the address."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jails import policy
from jails.models import AuditEntry

A_PAGE = 50


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    entries = policy.visible(request.user, AuditEntry).defer("before", "after")[:A_PAGE]
    return render(request, "panel/audit.html", {"entries": entries})


@require_safe
@login_required
def entry(request: HttpRequest, sequence: int) -> HttpResponse:
    found = policy.visible(request.user, AuditEntry).filter(sequence=sequence).first()
    if found is None:
        raise Http404
    return render(request, "panel/audit_entry.html", {"entry": found})
