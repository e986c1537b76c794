"""Where a jail is not what the panel wants of it: for the jail's page, and the page that compares and plans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from jails import drift as kept
from jails.freebsd import parameters
from jails.hosts import drift
from jails.hosts.drift import BOOT, FILE, OWN, TREE, Difference
from jails.models import Drift, Jail
from panel.views.access import find
from panel.views.planning import plan_from_button

KINDS = {"repair": ("jail.repair", "drift_repair"), "accept": ("jail.accept", "drift_accept")}
NAMES = {BOOT: "starts at boot", FILE: "definition", TREE: "directory"}
CARD = 5
"""Rows on a jail's page; the page that compares has them all."""


def drifted(rows: QuerySet[Jail]) -> QuerySet[Jail]:
    """With `drifted`: whether any of it differs. No query of its own."""
    return rows.annotate(drifted=kept.IS_MARKED)


def rows_of(jail: Jail) -> list[dict[str, Any]]:
    """What differs of a jail, the whole of it first, as tables show it."""
    found = sorted(jail.drifts.all(), key=lambda row: (row.parameter not in OWN, row.parameter))
    pairs = zip(found, kept.of_rows(found), strict=True)
    return [_row(jail, row, one) for row, one in pairs]


def _row(jail: Jail, row: Drift, one: Difference) -> dict[str, Any]:
    parameter = parameters.find(one.parameter)
    return {
        "row": row,
        "label": NAMES.get(one.parameter, one.parameter),
        "help": parameter.help if parameter else "",
        "wanted": _cell(one.parameter, row.wanted),
        "configured": _cell(one.parameter, row.configured),
        "running": _cell(one.parameter, row.running),
        "wrong_file": one.in_file,
        "wrong_running": one.in_kernel,
        "restart": _needs_restart(jail, one),
        "words": drift.words(one),
        "can_repair": can_repair(one),
        "can_accept": can_accept(one),
    }


def _cell(name: str, values: list[str] | None) -> str | None:
    """None where nothing is said."""
    if values is None:
        return None
    if name == BOOT:
        return "yes" if values == ["true"] else "no"
    if name == FILE and values == [drift.REFUSED]:
        return "refused by jail(8)"
    return "\n".join(values) or "none"


def _needs_restart(jail: Jail, one: Difference) -> bool:
    if jail.state != Jail.State.RUNNING or not drift.needs_restart(one.parameter):
        return False
    return one.in_kernel if one.running is not None else one.in_file and one.parameter != "path"


def can_repair(one: Difference) -> bool:
    """As far as one sees without the host; the plan says the rest."""
    return one.parameter != TREE


def can_accept(one: Difference) -> bool:
    return one.in_file and one.parameter not in (FILE, TREE)


def tenant_words(jail: Jail) -> list[str]:
    """For who does not see the host. That it keeps no limits is said in a place of its own."""
    return [kept.tenant_words(one) for one in kept.of_rows(jail.drifts.filter(unheld=False).order_by("parameter"))]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def page(request: HttpRequest, uuid: UUID) -> HttpResponse:
    action, kind = KINDS.get(request.POST.get("do", ""), ("", ""))
    wanted = action or ("jail.repair" if request.method == "POST" else "drift.view")
    if request.method == "POST":
        # To who sees no host there is no such page, whatever they may do to the jail.
        find(request, Jail.objects.select_related("host", "tenant"), "drift.view", uuid=uuid)
    jail: Jail = find(request, Jail.objects.select_related("host", "tenant"), wanted, uuid=uuid)
    request.tree_host = jail.host.name
    rows = rows_of(jail)
    if request.method == "POST":
        return _plan(request, jail, kind, rows)
    chosen = request.GET.getlist("parameter")
    context = {
        "jail": jail,
        "tree_jail": jail.pk,
        "drifts": rows,
        "chosen": chosen or [row["row"].parameter for row in rows],
        "restarts": [row["label"] for row in rows if row["restart"]],
        "since": min((row["row"].first_seen_at for row in rows), default=None),
    }
    return render(request, "panel/jail_drift.html", context)


def _plan(request: HttpRequest, jail: Jail, kind: str, rows: Iterable[dict[str, Any]]) -> HttpResponse:
    """Of what was ticked, or of all where nothing could be ticked (`all`), what such a plan can be about."""
    back = reverse("jail-drift", args=[jail.uuid])
    wanted = set(request.POST.getlist("parameter"))
    can = "can_accept" if kind == "drift_accept" else "can_repair"
    everything = "all" in request.POST
    named = (row["row"].parameter for row in rows if row[can])
    names = [name for name in named if everything or name in wanted]
    if not kind or not names:
        messages.error(request, _why_nothing(kind, everything or bool(wanted)))
        return redirect(back)
    return plan_from_button(request, kind, {"jail": str(jail.uuid), "parameters": names}, jail.host, back)


def _why_nothing(kind: str, is_chosen: bool) -> str:
    if not kind:
        return "Choose what to do: bring the host to the panel, or the panel to the host."
    if not is_chosen:
        return "Choose at least one parameter."
    if kind == "drift_accept":
        return "Nothing of that can be accepted: the files say what the panel wants, or are gone."
    return "No plan can put that right: look at it on the host."
