"""The file for what the panel has now: complete, in one order, with nothing secret in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tomli_w

from jails.models import Host, Jail, Network, Template, Tenant
from jails.models.release import Base
from jails.operations.jail_change import DEFAULT_LIMITS
from panel.fleet.document import FORMAT, NO_QUOTA, NOBODY
from panel.forms.fields import format_size

HEAD = """\
# A fleet of Cellblock: what `manage.py fleet plan FILE` compares and `manage.py fleet apply FILE` brings about.
# A key that is taken out means: as it is. What is not in the file is left alone; a jail goes only where its table says
# `absent = true`, and with --prune. People and secrets are not in it.
"""
PLACES = {
    Host.Kind.SSH: ("address", "port", "username", "become", "host_key"),
    Host.Kind.LOCAL: (),
    Host.Kind.SIMULATED: ("directory",),
}
"""How a host is reached, by its kind."""


def export() -> str:
    """TOML. Two calls without a change between them give the same text."""
    hosts = Host.objects.order_by("name").prefetch_related("networks", "releases")
    parts = [
        HEAD,
        tomli_w.dumps({"format": FORMAT}),
        _tables("tenants", {row.slug: {"name": row.name} for row in Tenant.objects.filter(archived_at=None)}),
        _tables("networks", _networks(Network.objects.filter(host=None))),
        *(_host(host) for host in hosts),
    ]
    return "\n".join(part for part in parts if part)


def _tables(name: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    return tomli_w.dumps({name: dict(sorted(tables.items()))}) if tables else ""


def _host(host: Host) -> str:
    fields = ("kind", *PLACES[Host.Kind(host.kind)], "pool", "jail_root", "interface", "worker")
    table: dict[str, Any] = {name: getattr(host, name) for name in fields}
    if not host.host_key:
        table.pop("host_key", None)
    jails = list(_jails(host))
    table |= {
        "releases": [
            {"name": row.name, "architecture": row.architecture} | ({"source": row.source} if row.source else {})
            for row in host.releases.exclude(state=Base.State.PENDING).order_by("name", "architecture")
        ],
        "networks": dict(sorted(_networks(host.networks.all()).items())),
        "templates": {row.name: _template(row) for row in _templates(host)},
        "jails": {jail.name: _jail(jail) for jail in jails if jail.is_kept},
    }
    table = {key: value for key, value in table.items() if value not in ([], {})}
    others = ", ".join(sorted(jail.name for jail in jails if not jail.is_kept))
    return tomli_w.dumps({"hosts": {host.name: table}}) + (_comment(host, others) if others else "")


def _comment(host: Host, others: str) -> str:
    """Names of jails that others made may hold anything."""
    shown = others.encode("ascii", "backslashreplace").decode()
    text = "".join(character if character.isprintable() else "?" for character in shown)
    return f"\n# Not the panel's, on {host.name}: {text}\n"


def _networks(rows: Iterable[Network]) -> dict[str, dict[str, Any]]:
    return {row.name: {"cidr": row.cidr, "interface": row.interface} for row in rows}


def _templates(host: Host) -> Iterable[Template]:
    rows = Template.objects.filter(host=host).exclude(state=Base.State.PENDING)
    return rows.select_related("tenant").order_by("name")


def _template(row: Template) -> dict[str, Any]:
    source = {"jail": row.source_jail} if row.source_jail else {}
    return {**source, "tenant": _slug(row.tenant), "published": row.published_at is not None}


def _jails(host: Host) -> Iterable[Jail]:
    rows = Jail.objects.filter(host=host).exclude(state=Jail.State.PENDING).order_by("name")
    return rows.select_related("tenant", "release", "template").prefetch_related("addresses__network")


def _jail(row: Jail) -> dict[str, Any]:
    running = {} if row.state in (Jail.State.MISSING, Jail.State.DYING) else {"running": row.state == "running"}
    if not row.managed:
        return {"adopted": True, "tenant": _slug(row.tenant), **running}
    base = row.template or row.release
    limits = {**DEFAULT_LIMITS, **{name: value for name, value in row.limits.items() if value is not None}}
    return {
        "kind": row.kind,
        "storage": row.storage,
        **({("template" if row.template else "release"): base.name} if base is not None else {}),
        "hostname": row.hostname,
        "addresses": addresses_of(row),
        "boot": row.boot,
        **running,
        "tenant": _slug(row.tenant),
        **{name: _limit(name, limits[name]) for name in DEFAULT_LIMITS},
    }


def _limit(name: str, value: int | None) -> int | str:
    if value is None:
        return NO_QUOTA
    return format_size(value) if name in ("quota", "memory") else value


def addresses_of(row: Jail) -> list[dict[str, Any]]:
    """As the file has them, in the order of the jail's own file."""
    private = set(Network.objects.filter(host=row.host_id).values_list("name", flat=True))
    found = []
    for address in sorted(row.addresses.all(), key=lambda address: address.pk):
        network = address.network
        shared = {"shared": True} if network.host_id is None and network.name in private else {}
        found.append({"network": network.name, "ip": address.ip, **shared})
    return found


def _slug(tenant: Tenant | None) -> str:
    return tenant.slug if tenant is not None else NOBODY
