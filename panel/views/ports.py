"""The port map of a host."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from jails import policy
from jails.hosts import ports as portmap
from jails.hosts.ports import Entry, Level
from jails.hosts.survey import HostSurvey
from jails.models import Address, Host, Jail
from jails.operations import queue
from panel.tables import ports as table
from panel.views.access import find
from panel.views.hosts import want_refresh
from panel.views.planning import facts_of, survey_of

A_PAGE = 200


@require_safe
@login_required
def page(request: HttpRequest, name: str) -> HttpResponse:
    host = find(request, Host, "host.view", name=name)
    request.tree_host = host.name
    survey, surveyed_at = survey_of(host)
    context = {"host": host, "surveyed_at": surveyed_at, "survey": survey}
    if survey is not None and "sockets" not in survey.missing:
        context |= _map(request, host, survey)
    elif survey is not None:
        context["why_missing"] = survey.missing["sockets"]
    return render(request, "panel/host_ports.html", context)


def _map(request: HttpRequest, host: Host, survey: HostSurvey) -> dict[str, object]:
    given: dict[str, list[str]] = {}
    for jail, ip in Address.objects.filter(jail__host=host).values_list("jail__name", "ip"):
        given.setdefault(jail, []).append(ip)
    facts = facts_of(host)
    entries = portmap.port_map(survey.sockets, portmap.places(facts, given))
    shown = table.ordered(table.narrowed(entries, request.GET), request.GET.get("sort", ""))
    rows = Paginator(shown, A_PAGE).get_page(request.GET.get("page"))
    uuids = dict(policy.visible(request.user, Jail).filter(host=host).values_list("name", "uuid"))
    return {
        "rows": [{"entry": entry, "uuid": uuids.get(entry.jail), "level": _word(entry)} for entry in rows],
        "page": rows,
        "heads": table.heads(request.GET),
        "chips": table.chips(request.GET),
        "wanted": request.GET,
        "here": table.without(request.GET, "page"),
        "total": len(entries),
        "conflicts": sum(entry.level == Level.CONFLICT for entry in entries),
        "near": sum(entry.level == Level.NEAR for entry in entries),
        "apart": sum(jail.vnet for jail in facts.jails),
    }


def _word(entry: Entry) -> str:
    return {Level.CONFLICT: "conflict", Level.NEAR: "near"}.get(entry.level, "")


@require_POST
@login_required
def survey(request: HttpRequest, name: str) -> HttpResponse:
    """Look at the host anew, at all of it."""
    host = find(request, Host, "host.refresh", name=name)
    want_refresh(host)
    transaction.on_commit(lambda: queue.send_survey(host))
    back = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return redirect(back)
    return redirect("host", name=host.name)
