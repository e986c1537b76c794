"""What nobody owns on a host, and the choice of what to remove."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from jails import policy
from jails.freebsd import sh
from jails.hosts.facts import HostFacts
from jails.hosts.orphans import KINDS, Found, Orphan
from jails.models import Host
from jails.operations import orphans_remove
from jails.operations.kind import Refused
from panel.views.access import find
from panel.views.planning import facts_of, plan_from_button, survey_of


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def page(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.clean" if request.method == "POST" else "orphan.view", name=name)
    request.tree_host = host.name
    if request.method == "POST":
        wish = {"orphans": request.POST.getlist("orphans")}
        return plan_from_button(request, "orphans_remove", wish, host, back=reverse("host-orphans", args=[host.name]))
    _, surveyed_at = survey_of(host)
    context = {
        "host": host,
        "surveyed_at": surveyed_at,
        "may_clean": policy.allowed(request.user, "host.clean", host),
        **_shown(host),
    }
    return render(request, "panel/host_orphans.html", context)


def _shown(host: Host) -> dict[str, Any]:
    try:
        facts: HostFacts = facts_of(host)
    except Refused:
        return {"unseen": True}
    found = orphans_remove.find(host, facts)
    unknown = dict(found.unknown)
    return {
        "groups": [group for kind in KINDS if (group := _group(kind, found))["rows"]],
        "unknown": [{"what": KINDS[kind], "why": why} for kind, why in found.unknown if kind],
        "why_unknown": unknown.get("", ""),
        "count": len(found.orphans),
        "cleanable": sum(not orphan.kept for orphan in found.orphans),
        "most": orphans_remove.MOST,
    }


def _group(kind: str, found: Found) -> dict[str, Any]:
    rows = [_row(orphan) for orphan in found.orphans if orphan.kind == kind]
    return {"kind": kind, "heading": KINDS[kind], "rows": rows}


def _row(orphan: Orphan) -> dict[str, Any]:
    commands = [" ".join(map(sh.quote, _readable(argv))) for argv in orphan.commands]
    return {"orphan": orphan, "commands": commands if not orphan.kept else []}


def _readable(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Without the shell around it: what the plan shows in full."""
    return ("rm", argv[-1]) if argv[:2] == ("sh", "-c") else argv
