"""Whether a host is fit for jails: the report, and the way from each of its lines to a plan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from jails import policy
from jails.models import Host
from jails.operations.fixes import FIXES
from jails.operations.kind import Refused
from jails.readiness import Finding, Report, Status
from jails.readiness.rows import look_at
from panel.forms.readiness import FORMS
from panel.views import live
from panel.views.access import find
from panel.views.hosts import state_of
from panel.views.planning import facts_of, plan_from_button, plan_from_form, posted, survey_of
from panel.views.reports import WORDS, in_words, report_for

OLD = timedelta(minutes=30)
"""A host is looked at every ten minutes: after three times somebody should know."""


@require_safe
@login_required
def page(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.view", name=name)
    request.tree_host = host.name
    found, surveyed_at = report_for(host)
    state = state_of(host)
    wanted = host.refresh_wanted_at
    state["checking"] = state["refreshing"] or bool(
        wanted
        and wanted > timezone.now() - timedelta(minutes=2)
        and (surveyed_at is None or surveyed_at < wanted)
        and host.available
    )
    mark = live.mark_of(host.changed_at, surveyed_at, state["checking"], state["worker_silent"])
    if live.has(request, mark):
        return HttpResponseNotModified()
    context = state | {
        "surveyed_at": surveyed_at,
        "is_old": surveyed_at is not None and surveyed_at < timezone.now() - OLD,
        "mark": mark,
    }
    if found is not None and surveyed_at is not None:
        context |= _shown(request, host, found)
    template = "panel/_readiness.html" if request.htmx else "panel/readiness.html"
    return live.marked(render(request, template, context), mark)


def _shown(request: HttpRequest, host: Host, found: Report) -> dict[str, Any]:
    groups = [
        {
            "title": group.title,
            "wrong": [_row(request, host, one) for one in group.findings if one.status is not Status.PASS],
            "fine": [_row(request, host, one) for one in group.findings if one.status is Status.PASS],
        }
        for group in found.groups
    ]
    return {
        "groups": [group for group in groups if group["wrong"]],
        "fine_groups": [group for group in groups if group["fine"]],
        "fine_count": found.count(Status.PASS),
        "words": in_words(found),
        "is_fine": found.is_fine,
        "report": found,
    }


def _row(request: HttpRequest, host: Host, finding: Finding) -> dict[str, Any]:
    fix = FIXES.get(finding.fix)
    action = "host.fix_system" if fix is not None and fix.system else "host.fix"
    return {
        "finding": finding,
        "state": WORDS[finding.status],
        "fix": fix,
        "asks": finding.fix in FORMS,
        "may": fix is not None and policy.allowed(request.user, action, host),
        "id": finding.key.replace(":", "-").replace("/", "-"),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def fix(request: HttpRequest, name: str, key: str) -> HttpResponse:
    """A fix that has to be told something has a form; others are planned at once, with what the report says."""
    wanted = FIXES.get(key)
    system = wanted is not None and wanted.system
    host = find(request, Host, "host.fix_system" if system else "host.fix", name=name)
    if wanted is None:
        raise Http404
    request.tree_host = host.name
    back = reverse("host-readiness", args=[host.name])
    if key in FORMS:
        return _ask(request, host, key)
    if request.method != "POST":
        return redirect(back)
    parameters = {one: request.POST[one] for one in wanted.parameters if one in request.POST}
    return plan_from_button(request, "host_fix", {"fix": key, **parameters}, host, back=back)


def _ask(request: HttpRequest, host: Host, key: str) -> HttpResponse:
    survey, _ = survey_of(host)
    try:
        facts = facts_of(host)
    except Refused as refused:
        messages.error(request, str(refused))
        return redirect("host-readiness", name=host.name)
    look = look_at(host, facts, survey, timezone.now().timestamp())
    form = FORMS[key](host, look, posted(request))
    if request.method == "POST" and form.is_valid():
        response = plan_from_form(request, form, "host_fix", {"fix": key, **form.parameters}, host)
        if response is not None:
            return response
    context = {"form": form, "host": host, "fix": FIXES[key], "key": key}
    return render(request, "panel/readiness_fix.html", context, status=422 if form.errors else 200)
