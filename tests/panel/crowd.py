"""A very full panel: many hosts, pools, jails and operations, and names as long as they may be."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from jails.models import Address, Host, Jail, Network, ObservedAddress, Pool, Release, Tenant, User
from tests.panel import work

GiB = 2**30
LONG = "a-name-of-sixty-characters-is-what-a-host-or-a-jail-may-have"
STATES = ("running", "running", "running", "stopped", "running", "dying", "missing")


def make_crowd(
    user: User, *, hosts: int = 30, jails: int = 300, pools: int = 40, operations: int = 40, prefix: str = "host"
) -> list[Host]:
    """Jails and pools are spread over the hosts; the first of each has a name of sixty characters."""
    now = timezone.now()
    made = Host.objects.bulk_create(
        Host(
            name=LONG if number == 0 else f"{prefix}{number}",
            kind="ssh",
            address=f"198.51.100.{number % 250 + 1}",
            release="14.3-RELEASE-p2" if number % 5 else "13.2-RELEASE",
            architecture="amd64",
            processors=16,
            memory=64 * GiB,
            booted_at=now - timedelta(days=number * 3, hours=1),
            refreshed_at=None if number == 7 else now - timedelta(minutes=number),
            unavailable_since=now - timedelta(hours=2) if number in (3, 4) else None,
            unavailable_reason="198.51.100.4, port 22: no answer in 10 s" if number in (3, 4) else "",
        )
        for number in range(hosts)
    )
    _pools(made, pools)
    tenant, _ = Tenant.objects.get_or_create(slug="globalcorp", defaults={"name": "Global Corporation of Everything"})
    _jails(made, jails, tenant)
    for number in range(operations):
        make = (work.done, work.done, work.failed, work.done)[number % 4]
        make(made[number % hosts], user, age=timedelta(minutes=3 * number + 2))
    return made


def _pools(hosts: list[Host], count: int) -> None:
    Pool.objects.bulk_create(
        Pool(
            host=hosts[number % len(hosts)],
            name=LONG if number == 0 else f"pool{number}",
            size=1000 * GiB,
            used=int((100 + 23 * number % 880) * GiB),
            available=int((900 - 23 * number % 880) * GiB),
            snapshots=(10 * number % 90) * GiB,
            reserve=200 * GiB if number % 3 and 23 * number % 880 < 650 else 0,
            health="DEGRADED" if number == 11 else "ONLINE",
        )
        for number in range(count)
    )


def _jails(hosts: list[Host], count: int, tenant: Tenant) -> None:
    now = timezone.now()
    network, _ = Network.objects.get_or_create(name="crowd", cidr="10.0.0.0/16")
    made = Jail.objects.bulk_create(
        Jail(
            host=hosts[0] if number < count // 2 else hosts[number % len(hosts)],
            tenant=tenant if number % 4 == 1 else None,
            name=f"{LONG}" if number == 0 else f"jail{number}",
            hostname=f"jail{number}.{LONG}.example.org" if number == 0 else f"jail{number}.example.org",
            kind="thin" if number % 3 else "found",
            managed=bool(number % 3),
            storage="zfs",
            state=STATES[number % len(STATES)],
            state_since=now - timedelta(hours=number),
            path=f"/jail/jail{number}",
            used=number * GiB // 7,
        )
        for number in range(count)
    )
    Address.objects.bulk_create(
        Address(network=network, ip=f"10.0.{number // 250}.{number % 250 + 1}", jail=jail)
        for number, jail in enumerate(made)
        if jail.managed
    )
    ObservedAddress.objects.bulk_create(
        ObservedAddress(
            host=jail.host, ip=f"10.0.{number // 250}.{number % 250 + 1}", interface="em0", jail_name=jail.name
        )
        for number, jail in enumerate(made)
        if jail.state == "running"
    )
    ObservedAddress.objects.bulk_create(
        ObservedAddress(host=host, ip="10.0.9.9", interface="em0", prefix=24) for host in hosts[:2]
    )
    Release.objects.bulk_create(
        Release(host=host, name="14.3-RELEASE", architecture="amd64", storage="zfs", path="/r", state="ready", used=GiB)
        for host in hosts
    )
