"""Taking jails that others made under the panel, and giving them back: what each way means, and its plan."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from jails import policy
from jails.hosts.facts import Missing
from jails.models import Host, Jail
from jails.operations import jail_adopt, power
from jails.operations.kind import Refused
from panel.views.access import find
from panel.views.planning import facts_of, plan, plan_from_button, preview

Adoption = Jail.Adoption
AT_ONCE = 500
"""Jails of one plan, which a person reads."""


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def adopt(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One jail: each way in which it can be adopted, with what would change, or why it cannot be."""
    jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.adopt", uuid=uuid)
    request.tree_host = jail.host.name
    ways = jail_adopt.ways(jail)
    error = ""
    if request.method == "POST":
        how = request.POST.get("how", "")
        try:
            if how not in ways:
                raise Refused("Choose one of the ways.")
            return plan(request, "jail_adopt", _wish([jail], how), jail.host)
        except Refused as refused:
            error = " ".join(refused.errors.values())
    context = {
        "jail": jail,
        "tree_jail": jail.pk,
        "ways": [_way(jail, how) for how in ways],
        "made_by": jail.get_manager_display(),
        "error": error,
    }
    return render(request, "panel/jail_adopt.html", context, status=422 if error else 200)


def _way(jail: Jail, how: str) -> dict[str, Any]:
    """A way with the plan that it would have now, or why there is none."""
    try:
        return {"how": how, "plan": preview("jail_adopt", _wish([jail], how), jail.host), "refused": ""}
    except Refused as refused:
        return {"how": how, "plan": None, "refused": " ".join(refused.errors.values())}


def _wish(jails: list[Jail], how: str) -> dict[str, Any]:
    return {"jails": [str(jail.uuid) for jail in jails], "how": how, "tenant": None}


@require_POST
@login_required
def unadopt(request: HttpRequest, uuid: UUID) -> HttpResponse:
    jail = find(request, Jail.objects.select_related("host", "tenant"), "jail.adopt", uuid=uuid)
    back = reverse("jail", args=[jail.uuid])
    return plan_from_button(request, "jail_unadopt", {"jail": str(jail.uuid)}, jail.host, back=back)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def of_host(request: HttpRequest, name: str) -> HttpResponse:
    """All jails of a host that the panel did not make: whose they are, where they are, and how they can be adopted."""
    host = find(request, Host, "jail.adopt", name=name)
    request.tree_host = host.name
    rows = policy.visible(request.user, Jail).filter(host=host, managed=False).order_by("manager", "name")
    if request.method == "POST":
        chosen = _chosen(request, list(rows))
        if not chosen or len(chosen) > AT_ONCE:
            messages.error(request, f"Choose at least one jail, and at most {AT_ONCE} at once.")
            return redirect("host-adopt", name=host.name)
        back = reverse("host-adopt", args=[host.name])
        return plan_from_button(request, "jail_adopt", _wish(chosen, Adoption.IN_PLACE), host, back=back)
    configured = _configured(host)
    found = [
        {
            "jail": jail,
            "ways": jail_adopt.ways(jail),
            "kind": kind_of(jail),
            "addresses": addresses_of(jail, configured.get(jail.name, ())),
        }
        for jail in rows
    ]
    context = {
        "host": host,
        "standard": [row for row in found if row["jail"].manager in power.STANDARD],
        "of_tools": [row for row in found if row["jail"].manager not in power.STANDARD],
        "open": sum(Adoption.IN_PLACE in row["ways"] for row in found),
    }
    return render(request, "panel/host_adopt.html", context)


def _chosen(request: HttpRequest, rows: list[Jail]) -> list[Jail]:
    wanted = set(request.POST.getlist("jails"))
    jails = [jail for jail in rows if str(jail.uuid) in wanted]
    if len(jails) != len(wanted):
        raise Http404
    return jails


def kind_of(jail: Jail) -> str:
    """Thick, thin or base: what it was made as, or what its tool or its dataset tells; "" where nothing does."""
    if jail.kind != Jail.Kind.FOUND:
        return jail.kind
    return str(jail.found.get("kind") or ("thin" if jail.origin else ""))


def _configured(host: Host) -> dict[str, tuple[str, ...]]:
    """The addresses of standard jails by their files."""
    try:
        return {jail.name: jail.addresses for jail in facts_of(host).configured}
    except (Refused, Missing):
        return {}


def addresses_of(jail: Jail, configured: tuple[str, ...] = ()) -> list[str]:
    """What it has, or would have when it runs, without interfaces and prefixes."""
    given = (
        list(configured)
        or [str(one) for one in jail.found.get("addresses", ())]
        or list((jail.wanted or {}).get("ip4.addr") or ())
    )
    return list(jail.observed_addresses) or [one.rpartition("|")[2].partition("/")[0] for one in given]
