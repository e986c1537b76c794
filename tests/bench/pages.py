"""The list of jails shows fifty whatever their number: what grows is what the database has to look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from django.contrib.auth.decorators import login_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from jails.models import Address, Host, Jail, Membership, Network, Operation, Tenant, TenantPlan, User
from panel import urls

COUNTS = (100, 10_000)
WARM, RUNS = 3, 15
HOSTS = 10


@login_required
def empty(request: HttpRequest) -> HttpResponse:
    return render(request, "base.html")


urlpatterns = [path("empty", empty), *urls.urlpatterns]


PAGES = (
    ("", "/jails/"),
    (", sorted by host", "/jails/?sort=host"),
    (", one found", "/jails/?q=jail-00050"),
    (", any other page", "/empty"),
)


def rows() -> Iterator[tuple[str, list[float], str]]:
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"]):
        client = Client()
        client.force_login(User.objects.create_user("grace", role=User.Role.ADMINISTRATOR))
        fill(0)
        nothing = median(times(client, "/empty"))
        for count in COUNTS:
            fill(count)
            for label, address in PAGES:
                with CaptureQueriesContext(connection) as captured:
                    client.get(address)
                    queries = len(captured)
                yield (
                    f"{count:,} jails{label}",
                    [took / nothing for took in times(client, address)],
                    f"{queries} queries",
                )


MANY, TENANTS = 100_000, 1000


def home_rows() -> Iterator[tuple[str, list[float], str]]:
    """The first page of the owner of one of a thousand tenants, with a plan, limits and things that were done."""
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"]):
        fill(0, tenants=TENANTS)
        owner = User.objects.create_user("olga")
        tenant = Tenant.objects.get(slug="tenant1")
        Membership.objects.create(tenant=tenant, user=owner, role=Membership.Role.OWNER)
        TenantPlan.objects.create(tenant=tenant, jails=MANY, disk=2**50, memory=2**45)
        client = Client()
        client.force_login(owner)
        nothing = median(times(client, "/empty"))
        fill(MANY, tenants=TENANTS)
        done(tenant, owner)
        for label, address in (("", "/"), (", any other page", "/empty")):
            with CaptureQueriesContext(connection) as captured:
                client.get(address)
                queries = len(captured)
            yield (
                f"{MANY:,} jails{label}",
                [took / nothing for took in times(client, address)],
                f"{queries} queries",
            )


def done(tenant: Tenant, person: User) -> None:
    values = {"kind": "jail_restart", "status": Operation.Status.DONE, "requested_by": person}
    for jail in Jail.objects.filter(tenant=tenant).select_related("host")[:20]:
        made = Operation(
            title=f"Restart {jail.name}", host=jail.host, host_name=jail.host.name, tenant=tenant, **values
        )
        made.save()
        made.jails.add(jail)


def times(client: Client, address: str) -> list[float]:
    """In seconds, of an address that answers with a page."""
    found = []
    for number in range(WARM + RUNS):
        begin = time.perf_counter()
        response = client.get(address)
        took = time.perf_counter() - begin
        assert response.status_code == 200, (address, response.status_code)
        if number >= WARM:
            found.append(took)
    return found


def fill(count: int, tenants: int = 10) -> None:
    """So many jails on ten hosts, of so many tenants, each with an address; what was there before goes."""
    Address.objects.all().delete()
    Jail.objects.all().delete()
    Host.objects.all().delete()
    network, _ = Network.objects.get_or_create(name="bench", cidr="10.0.0.0/8")
    Tenant.objects.bulk_create(
        (Tenant(slug=f"tenant{n}", name=f"Tenant {n}") for n in range(tenants)), ignore_conflicts=True
    )
    owners = list(Tenant.objects.filter(slug__startswith="tenant").order_by("pk")[:tenants])
    hosts = Host.objects.bulk_create(Host(name=f"host{n}", kind=Host.Kind.SIMULATED) for n in range(HOSTS))
    jails = Jail.objects.bulk_create(
        (
            Jail(
                host=hosts[n % HOSTS],
                tenant=owners[n % (7 if tenants == 10 else tenants)] if n % 3 else None,
                name=f"jail-{n:05}",
                hostname=f"jail-{n:05}.example.org",
                kind=Jail.Kind.THIN,
                state=Jail.State.RUNNING if n % 4 else Jail.State.STOPPED,
                path=f"/jail/jail-{n:05}",
                managed=True,
                used=n * 4096,
                limits={"quota": 10 << 30, "memory": 1 << 30, "cpu": 100, "processes": None},
            )
            for n in range(count)
        ),
        batch_size=500,
    )
    Address.objects.bulk_create(
        (
            Address(network=network, jail=jail, ip=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
            for n, jail in enumerate(jails)
        ),
        batch_size=500,
    )
