from __future__ import annotations

import ipaddress
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jails import audit, policy
from jails.models import Address, Host, HostFactsRecord, Network, ObservedAddress
from panel.forms.networks import NetworkForm
from panel.views.access import find, require, source

CONFLICTS = 200
A_PAGE = 100


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    require(request, "network.view")
    visible = (
        policy.visible(request.user, Network).select_related("host").annotate(given=Count("addresses")).order_by("name")
    )
    networks = [{"row": row, "free": free_in(row.cidr, row.given)} for row in visible]
    wanted = next((one["row"] for one in networks if str(one["row"].pk) == request.GET.get("network")), None)
    rows = policy.visible(request.user, Address)
    if wanted is not None:
        rows = rows.filter(network=wanted)
    page = Paginator(in_order(rows), A_PAGE).get_page(request.GET.get("page"))
    found = rows.select_related("network", "jail", "jail__host").in_bulk(list(page.object_list))
    context = {
        "networks": networks,
        "wanted": wanted,
        "page": page,
        "addresses": [found[pk] for pk in page.object_list if pk in found],
        "conflicts": conflicts(request),
        "shared": shared_addresses(policy.visible(request.user, Host)),
    }
    return render(request, "panel/networks.html", context)


def shared_addresses(hosts: QuerySet[Host]) -> list[dict[str, Any]]:
    """Addresses that several jails of one host have by their files, whoever made them: at most one of them can run."""
    records = HostFactsRecord.objects.filter(host__in=hosts).order_by("host__name")
    rows = records.values_list("host__name", "data__shared_addresses")[:CONFLICTS]
    return [{"host": name, **row} for name, found in rows for row in found or ()]


def in_order(rows: QuerySet[Address]) -> list[int]:
    """Ids, by address as a number: 10.0.0.9 before 10.0.0.10, on either database."""
    pairs = [(ipaddress.ip_address(ip), pk) for pk, ip in rows.order_by().values_list("pk", "ip")]
    return [pk for _, pk in sorted(pairs, key=lambda pair: (pair[0].version, pair[0].packed, pair[1]))]


def free_in(cidr: str, given: int) -> int | None:
    """How many addresses are left to give; None for more than anybody counts."""
    network = ipaddress.ip_network(cidr)
    if network.num_addresses > 2**24:
        return None
    ends = 2 if network.version == 4 and network.prefixlen < 31 else 0
    return max(0, network.num_addresses - ends - given)


def conflicts(request: HttpRequest) -> list[dict[str, Any]]:
    """Addresses seen more than once, with where. What belongs to a host's own private network may repeat elsewhere."""
    seen: dict[str, list[ObservedAddress]] = {}
    rows = ObservedAddress.objects.filter(host__in=policy.visible(request.user, Host)).select_related("host")
    rows = rows.exclude(interface__startswith="lo")
    repeated = rows.order_by().values("ip").annotate(n=Count("pk")).filter(n__gt=1).values("ip")
    private: dict[int | None, list[Any]] = {}
    for host_id, cidr in Network.objects.filter(host__isnull=False).values_list("host_id", "cidr"):
        private.setdefault(host_id, []).append(ipaddress.ip_network(cidr))
    for row in rows.filter(ip__in=repeated).order_by("ip", "host__name", "interface")[:CONFLICTS]:
        address = ipaddress.ip_address(row.ip)
        if not any(address in network for network in private.get(row.host_id, [])):
            seen.setdefault(row.ip, []).append(row)
    return [{"ip": ip, "places": places} for ip, places in seen.items() if len(places) > 1]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def add(request: HttpRequest) -> HttpResponse:
    require(request, "network.add")
    form = NetworkForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _save(request, form):
        return redirect("networks")
    return render(request, "panel/network_form.html", {"form": form}, status=422 if form.errors else 200)


def _save(request: HttpRequest, form: NetworkForm) -> bool:
    try:
        with transaction.atomic():
            network = form.save()
            audit.record(
                "network.add", actor=request.user, obj=network, after={"cidr": network.cidr}, source=source(request)
            )
    except IntegrityError:
        form.add_error(None, "Somebody has just added a network of that name or with these addresses.")
        return False
    return True


@require_POST
@login_required
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    network = find(request, Network, "network.remove", pk=pk)
    if network.addresses.exists():
        messages.error(request, f"{network} still has addresses in use. Destroy or change their jails first.")
        return redirect("networks")
    with transaction.atomic():
        identity = network.pk
        network.delete()
        network.pk = identity
        audit.record(
            "network.remove", actor=request.user, obj=network, before={"cidr": network.cidr}, source=source(request)
        )
    return redirect("networks")
