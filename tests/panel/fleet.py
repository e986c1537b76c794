"""Rows for tests of pages: two hosts, one with ZFS and one without, with jails of every sort."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.test import Client

from jails.hosts.facts import HostFacts
from jails.models import (
    Address,
    Host,
    HostFactsRecord,
    Jail,
    Membership,
    Network,
    ObservedAddress,
    Pool,
    Release,
    Template,
    Tenant,
    User,
)

GiB = 2**30
MiB = 2**20
WHEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Fleet:
    """`people` by their role: administrator, auditor, operator (of warden1), owner, member and viewer of acme,
    stranger (of another tenant)."""

    zfs: Host
    ufs: Host
    office: Network
    branch: Network
    release: Release
    old_release: Release
    ufs_release: Release
    template: Template
    acme: Tenant
    other: Tenant
    people: dict[str, User] = field(default_factory=dict)
    jails: dict[str, Jail] = field(default_factory=dict)


def signed_in(fleet: Fleet, role: str) -> Client:
    """A browser in which this one of the people is signed in."""
    client = Client()
    client.force_login(fleet.people[role], backend="django.contrib.auth.backends.ModelBackend")
    return client


def make_fleet() -> Fleet:
    zfs = _host("warden1", "zroot", "192.0.2.2/24")
    ufs = _host("warden2", "", "198.51.100.2/24")
    Pool.objects.create(
        host=zfs, name="zroot", size=40 * GiB, used=12 * GiB, available=26 * GiB, reserve=8 * GiB, health="ONLINE"
    )
    acme = Tenant.objects.create(slug="acme", name="Acme")
    other = Tenant.objects.create(slug="globex", name="Globex")
    release = _release(zfs, "14.2-RELEASE", "zfs")
    fleet = Fleet(
        zfs=zfs,
        ufs=ufs,
        office=Network.objects.create(name="office", cidr="192.0.2.0/24"),
        branch=Network.objects.create(name="branch", cidr="198.51.100.0/24"),
        release=release,
        old_release=_release(zfs, "13.1-RELEASE", "zfs"),
        ufs_release=_release(ufs, "14.2-RELEASE", "ufs"),
        template=Template.objects.create(
            host=zfs,
            name="web",
            architecture="amd64",
            storage="zfs",
            dataset="zroot/cellblock/templates/web",
            snapshot="zroot/cellblock/templates/web@cellblock",
            path="/var/db/cellblock/templates/web",
            state="ready",
            used=500 * MiB,
            release=release,
            source_jail="loghost",
        ),
        acme=acme,
        other=other,
    )
    fleet.people = _people(fleet)
    _jails(fleet)
    return fleet


def _host(name: str, pool: str, address: str) -> Host:
    host = Host.objects.create(
        name=name,
        kind=Host.Kind.SIMULATED,
        pool=pool,
        interface="em0",
        hostname=f"{name}.example.org",
        release="14.2-RELEASE",
        architecture="amd64",
        processors=4,
        memory=16 * GiB,
        booted_at=WHEN,
        refreshed_at=WHEN,
    )
    ip, _, prefix = address.partition("/")
    ObservedAddress.objects.create(host=host, ip=ip, prefix=int(prefix), interface="em0")
    facts = HostFacts(hostname=host.hostname, kernel="14.2-RELEASE", userland="14.2-RELEASE", architecture="amd64")
    HostFactsRecord.objects.create(host=host, data=facts.to_data(), gathered_at=WHEN)
    return host


def _release(host: Host, name: str, storage: str) -> Release:
    base = f"zroot/cellblock/releases/{name}-amd64" if storage == "zfs" else ""
    return Release.objects.create(
        host=host,
        name=name,
        architecture="amd64",
        storage=storage,
        dataset=base,
        snapshot=f"{base}@cellblock" if base else "",
        path=f"/var/db/cellblock/releases/{name}-amd64",
        state="ready",
        used=412 * MiB,
        source=f"https://download.freebsd.org/releases/amd64/{name}",
        manifest_digest="a24e5aa03d3da74b8617fe6639d7b9298506232783c94c59dbc3c36fcc840c00",
    )


def _people(fleet: Fleet) -> dict[str, User]:
    people = {
        role: User.objects.create_user(f"{role}-person", role=role) for role in ("administrator", "auditor", "operator")
    }
    people["operator"].operated_hosts.add(fleet.zfs)
    for role in ("owner", "member", "viewer"):
        people[role] = User.objects.create_user(f"{role}-person")
        Membership.objects.create(tenant=fleet.acme, user=people[role], role=role)
    people["stranger"] = User.objects.create_user("stranger-person")
    Membership.objects.create(tenant=fleet.other, user=people["stranger"], role="owner")
    return people


def _jails(fleet: Fleet) -> None:
    add_jail(fleet, "loghost", ip="192.0.2.10", used=900 * MiB)
    add_jail(fleet, "www1", ip="192.0.2.11", kind="thin", tenant=fleet.acme, limits={"quota": 10 * GiB}, used=2 * GiB)
    add_jail(fleet, "www2", ip="192.0.2.12", kind="thin", tenant=fleet.acme, state="stopped", base=fleet.template)
    add_jail(fleet, "logdb", host=fleet.ufs, ip="198.51.100.10", storage="ufs", base=fleet.ufs_release, state="stopped")
    add_jail(fleet, "gone", kind="thin", state="missing")
    fleet.jails["legacy"] = Jail.objects.create(
        host=fleet.zfs,
        name="legacy",
        kind="found",
        hostname="legacy.example.org",
        state="running",
        state_since=WHEN,
        jid=3,
        path="/usr/jails/legacy",
        config_path="/etc/jail.conf",
        observed_addresses=["192.0.2.77"],
        boot=True,
    )


def add_jail(
    fleet: Fleet,
    name: str,
    *,
    host: Host | None = None,
    ip: str = "",
    kind: str = "thick",
    storage: str = "zfs",
    base: Release | Template | None = None,
    **values: Any,
) -> Jail:
    host, base = host or fleet.zfs, base or fleet.release
    tenant = values.get("tenant")
    dataset = f"zroot/cellblock/{tenant.slug if tenant else 'host'}/{name}" if storage == "zfs" else ""
    jail = Jail.objects.create(
        **{
            "host": host,
            "name": name,
            "kind": kind,
            "storage": storage,
            "managed": True,
            "hostname": f"{name}.example.org",
            "boot": True,
            "path": f"/jail/{name}",
            "dataset": dataset,
            "origin": base.snapshot if kind == "thin" else "",
            "shared": 400 * MiB if kind == "thin" else 0,
            "config_path": f"/etc/jail.conf.d/{name}.conf",
            "release": base if isinstance(base, Release) else None,
            "template": base if isinstance(base, Template) else None,
            "state": "running",
            "state_since": WHEN + timedelta(hours=len(fleet.jails)),
            **values,
        }
    )
    if ip:
        network = fleet.branch if ip.startswith("198.") else fleet.office
        Address.objects.create(network=network, ip=ip, jail=jail, interface="em0", prefix=24)
    fleet.jails[name] = jail
    return jail
