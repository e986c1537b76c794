"""Bring the panel's rows in step with a host: what is there, and never what should be.

What an operation is changing right now is left to it: the facts may be from before, the rows from after.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from jails import drift
from jails.freebsd.foreign import ForeignJail
from jails.hosts import connect, zfs_reader
from jails.hosts.connection import CommandTimeout, Connection, HostUnavailable
from jails.hosts.data import encode
from jails.hosts.facts import ConfiguredJail, HostFacts, Missing, RunningJail, gather, plain_address
from jails.models import (
    Host,
    HostFactsRecord,
    Jail,
    ObservedAddress,
    Operation,
    Pool,
    Release,
    ResourceLock,
    Template,
    Tenant,
    TenantDataset,
)
from jails.models.release import Base, Storage

OBSERVED = (
    "state", "state_since", "jid", "observed_addresses", "used", "used_by_snapshots", "snapshots", "shared", "origin",
)  # fmt: skip
"""Of any jail: what a refresh writes."""
FOUND = (*OBSERVED, "hostname", "path", "config_path", "boot", "dataset", "storage", "manager", "found")
"""Of a jail the panel did not make: all of it is the host's."""
ADOPTED = (*OBSERVED, "config_path", "dataset", "storage")
"""Of one that was adopted with its file: what it should be (hostname, path, boot, `wanted`) is the panel's."""


def refresh(host: Host, *, connection: Callable[[Host], Connection] = connect.connection) -> None:
    """Ask the host and store what it says. A host that does not answer keeps its rows, and since when and why is noted.

    Sizes: Jail.used is what the jail itself holds, used_by_snapshots comes on top, shared is what it has of its origin.
    """
    begun = timezone.now()
    busy = _busy_jails(host)
    try:
        facts = gather(connection(host), jail_root=host.jail_root)
    except (HostUnavailable, CommandTimeout) as error:
        _store_unavailable(host, error, begun)
        return
    data = _data_of(facts)
    with transaction.atomic():
        # Of two refreshes at once the one that began later stays.
        current = _locked(host)
        if current is None or (current.refreshed_at is not None and current.refreshed_at > begun):
            return
        _store_host(current, facts, begun)
        HostFactsRecord.objects.update_or_create(host=current, defaults={"data": data, "gathered_at": begun})
        _store_pools(current, facts)
        _store_tenants(current, facts)
        busy |= _busy_jails(current, since=begun)
        known = HostFacts.from_data(data)
        _Jails(current, known, busy, begun).store()
        _store_bases(current, facts)
        _store_addresses(current, facts)
        # Last, for it writes to the log.
        drift.store(current, known, busy, begun)


def store_facts(host: Host, facts: HostFacts, at: datetime) -> None:
    """Keep what was learned at that moment for the next plan, unless something newer is known. Rows are left alone."""
    values = {"data": _data_of(facts), "gathered_at": at}
    _locked(host)
    record, made = HostFactsRecord.objects.select_for_update().get_or_create(host=host, defaults=values)
    if not made and record.gathered_at < at:
        HostFactsRecord.objects.filter(host=host).update(**values)


def _data_of(facts: HostFacts) -> dict[str, Any]:
    """The facts, and what pages show of them without reading them all."""
    return facts.to_data() | {"shared_addresses": shared_addresses(facts)}


def shared_addresses(facts: HostFacts) -> list[dict[str, Any]]:
    """Addresses that the files of several jails have, whoever made those: only one of them can run at a time."""
    if "files" in facts.missing:
        return []
    found: dict[str, list[str]] = {}
    given = [(jail.name, jail.addresses) for jail in facts.configured]
    given += [(name, tool.addresses) for name, tool in facts.foreign_rows.items()]
    for name, addresses in given:
        for ip in dict.fromkeys(map(plain_address, addresses)):
            if _is_public(ip) and name not in found.setdefault(ip, []):
                found[ip].append(name)
    shared = [{"ip": ip, "jails": jails} for ip, jails in found.items() if len(jails) > 1]
    return [encode(row) for row in sorted(shared, key=lambda row: str(row["ip"]))]


def _locked(host: Host) -> Host | None:
    """The first lock of whoever writes what belongs to a host, so that no two wait for each other.

    Its key is not locked: rows that refer to the host may be made meanwhile. `has_tenant_datasets`: whether any are
    known of it.
    """
    rows = Host.objects.annotate(has_tenant_datasets=Exists(TenantDataset.objects.filter(host=OuterRef("pk"))))
    return rows.select_for_update(no_key=True, of=("self",)).filter(pk=host.pk).first()


def _store_unavailable(host: Host, error: HostUnavailable | CommandTimeout, at: datetime) -> None:
    values: dict[str, Any] = {
        "unavailable_since": Coalesce("unavailable_since", at),
        "unavailable_reason": encode(str(error))[:500],
        "refresh_failures": F("refresh_failures") + 1,
        "changed_at": timezone.now(),
    }
    if isinstance(error, HostUnavailable) and error.offered:
        values["offered_key"] = error.offered
    # Somebody may have changed where it is reached, or pinned a key, while the old place was asked.
    place = {"address": host.address, "port": host.port, "host_key": host.host_key}
    Host.objects.filter(pk=host.pk, **place).update(**values)


def _store_host(host: Host, facts: HostFacts, at: datetime) -> None:
    values: dict[str, Any] = {
        "refreshed_at": at,
        "unavailable_since": None,
        "unavailable_reason": "",
        "offered_key": "",
        "refresh_failures": 0,
        "changed_at": timezone.now(),
    }
    if "identity" not in facts.missing:
        values |= {
            "hostname": encode(facts.hostname)[:255],
            "release": encode(facts.release)[:64],
            "architecture": encode(facts.architecture)[:32],
            "booted_at": datetime.fromtimestamp(facts.booted_at, UTC) if facts.booted_at else None,
            "processors": facts.processors,
            "memory": facts.memory,
        }
    Host.objects.filter(pk=host.pk).update(**values)


def _store_pools(host: Host, facts: HostFacts) -> None:
    if "zfs" in facts.missing:
        return
    rows = [
        Pool(
            host=host,
            name=pool.name,
            size=pool.size,
            used=pool.used,
            available=pool.available,
            snapshots=pool.usedbysnapshots,
            reserve=pool.reserve,
            health=pool.health[:20],
        )
        for pool in facts.pools
    ]
    Pool.objects.filter(host=host).exclude(name__in=[row.name for row in rows]).delete()
    fields = ["size", "used", "available", "snapshots", "reserve", "health"]
    Pool.objects.bulk_create(rows, update_conflicts=True, unique_fields=["host", "name"], update_fields=fields)


def _store_tenants(host: Host, facts: HostFacts) -> None:
    """The datasets of tenants: three queries, however many there are; none where there are none and were none."""
    if "zfs" in facts.missing:
        return
    found: dict[str, list[zfs_reader.Dataset]] = {}
    for dataset in facts.datasets:
        parts = dataset.name.split("/")
        if len(parts) == 3 and parts[1] == zfs_reader.HOME:
            found.setdefault(parts[2], []).append(dataset)
    if not found and not host.has_tenant_datasets:  # type: ignore[attr-defined]
        return
    tenants = {tenant.slug: tenant for tenant in Tenant.objects.filter(slug__in=found)}
    rows = [
        TenantDataset(tenant=tenants[slug], host=host, name=one.name, quota=one.quota or None, used=one.used)
        for slug, datasets in found.items()
        if slug in tenants
        for one in datasets
    ]
    TenantDataset.objects.filter(host=host).exclude(name__in=[row.name for row in rows]).delete()
    fields = ["tenant", "quota", "used"]
    TenantDataset.objects.bulk_create(rows, update_conflicts=True, unique_fields=["host", "name"], update_fields=fields)


def _busy_jails(host: Host, since: datetime | None = None) -> set[str]:
    """Names of the jails that an operation is changing, or has changed since then."""
    prefix = f"host:{host.pk}/jail:"
    locked = ResourceLock.objects.filter(resource__startswith=prefix).values_list("resource", flat=True)
    names = {resource.removeprefix(prefix) for resource in locked}
    if since is not None:
        ended = Operation.objects.filter(host=host, finished_at__gte=since)
        names |= set(Jail.objects.filter(operations__in=ended).values_list("name", flat=True))
        # The row of a jail that was destroyed is gone; its name stays.
        names |= set(ended.values_list("subject", flat=True))
    return names


@dataclass
class _Jails:
    """The jails of one host: rows against facts, which are as the database gives them, hostile text replaced."""

    host: Host
    facts: HostFacts
    busy: set[str]
    at: datetime

    def store(self) -> None:
        if "jails" in self.facts.missing:
            return
        running = self._running()
        configured = {jail.name: jail for jail in self._configured()}
        names = running.keys() | configured.keys() | self._tools.keys()
        rows = {row.name: row for row in Jail.objects.filter(host=self.host).order_by("pk")}
        changed, vanished = [], []
        for name, row in rows.items():
            if name in self.busy or row.state == Jail.State.PENDING:
                continue
            if not row.is_kept and not self._files_missing and name not in names:
                vanished.append(row.pk)
            elif self._update(row, running.get(name), configured.get(name)):
                changed.append(row)
        new = [name for name in names if name not in rows and name not in self.busy]
        made = [self._found(name, running.get(name), configured.get(name)) for name in sorted(new) if _nameable(name)]
        if vanished:
            Jail.objects.filter(pk__in=vanished, managed=False, adoption="").delete()
        if changed:
            _write(changed)
        # Somebody may have taken a name since: then the row is theirs.
        Jail.objects.bulk_create(made, ignore_conflicts=True)

    def _running(self) -> dict[str, RunningJail]:
        """The running jails by the names of their rows: one that a tool started is that tool's, whatever its name."""
        live = sorted(self.facts.jails, key=lambda jail: not jail.dying)
        roots = {tool.root for tool in self._tools.values()}
        # What runs in a snapshot only looks into it, for a moment.
        live = [jail for jail in live if "/.zfs/snapshot/" not in jail.path]
        found = {jail.name: jail for jail in live if jail.path.rstrip("/") not in roots}
        started = {name: self.facts.running_of(tool) for name, tool in self._tools.items()}
        return found | {name: jail for name, jail in started.items() if jail is not None}

    @property
    def _files_missing(self) -> bool:
        return "files" in self.facts.missing

    def _configured(self) -> Iterable[ConfiguredJail]:
        return () if self._files_missing else self.facts.configured

    def _found(self, name: str, live: RunningJail | None, configured: ConfiguredJail | None) -> Jail:
        row = Jail(host=self.host, name=name, kind=Jail.Kind.FOUND, managed=False, state=Jail.State.STOPPED)
        row.state_since = self.at
        self._update(row, live, configured)
        return row

    def _update(self, row: Jail, live: RunningJail | None, configured: ConfiguredJail | None) -> bool:
        """Set what is observed; whether anything differs."""
        before = [getattr(row, field) for field in FOUND]
        if row.managed and live is not None and live.path != row.path:
            # Somebody else's jail under the same name.
            live = None
        if not row.managed:
            self._set_found(row, live, configured)
        self._set_state(row, live, configured)
        row.jid = live.jid if live is not None else None
        row.observed_addresses = [plain_address(address) for address in live.addresses] if live is not None else []
        self._set_sizes(row)
        return before != [getattr(row, field) for field in FOUND]

    def _set_found(self, row: Jail, live: RunningJail | None, configured: ConfiguredJail | None) -> None:
        tool = self._tools.get(row.name)
        known = live or configured or tool
        path = known.path if known is not None else row.path
        hostname = known.hostname if known is not None else ""
        if row.follows_host:
            row.path, row.hostname = path[:1023], hostname[:255]
        if not self._files_missing and (configured is not None or row.follows_host):
            file = configured.file if configured is not None else tool.config if tool is not None else ""
            row.config_path = file[:1023]
        if not self._files_missing and row.follows_host:
            row.boot = row.name in self._boots or (tool is not None and tool.boot)
            self._set_manager(row, configured, tool)
        if "zfs" not in self.facts.missing and "mounts" not in self.facts.missing:
            dataset = (self._by_path.get(path, "") if path else "") or (tool.dataset if tool is not None else "")
            row.dataset = dataset[:255]
            row.storage = Storage.ZFS if dataset else Storage.UFS

    def _set_manager(self, row: Jail, configured: ConfiguredJail | None, tool: ForeignJail | None) -> None:
        """Whose files define it. What was adopted from a tool stays that tool's."""
        if not row.adoption:
            standard = Jail.Manager.STANDARD if configured is not None else ""
            row.manager = standard or (tool.manager if tool is not None else "")
        # Whole files are in the facts; each jail's row need not have them again.
        row.found = encode(replace(tool, autostart_off=())) if tool is not None else {}

    def _set_state(self, row: Jail, live: RunningJail | None, configured: ConfiguredJail | None) -> None:
        if live is not None:
            state = Jail.State.DYING if live.dying else Jail.State.RUNNING
        elif self._is_gone(row, configured):
            state = Jail.State.MISSING
        elif self._files_missing and row.state == Jail.State.MISSING:
            return
        else:
            state = Jail.State.STOPPED
        restarted = live is not None and row.jid not in (None, live.jid)
        if state != row.state or restarted:
            row.state, row.state_since = state, self.at

    def _is_gone(self, row: Jail, configured: ConfiguredJail | None) -> bool:
        """It neither runs nor could be started: its configuration, or the dataset with its tree, is not there."""
        known_to_tool = row.follows_host and row.name in self._tools
        if configured is None and not known_to_tool and not self._files_missing:
            return True
        return bool(row.dataset) and "zfs" not in self.facts.missing and row.dataset not in self._datasets

    def _set_sizes(self, row: Jail) -> None:
        dataset = self._datasets.get(row.dataset) if row.dataset else None
        if dataset is None or "zfs" in self.facts.missing:
            return
        row.used = dataset.used - dataset.usedbysnapshots
        row.used_by_snapshots = dataset.usedbysnapshots
        row.snapshots = self._snapshots[dataset.name]
        row.shared = max(0, dataset.referenced - dataset.usedbydataset) if dataset.origin else 0
        row.origin = dataset.origin

    def __post_init__(self) -> None:
        self._datasets = {dataset.name: dataset for dataset in self.facts.datasets}
        self._by_path = {row.path: row.device for row in self.facts.mounts if row.type == "zfs"}
        self._boots = _boots(self.facts)
        self._snapshots = Counter(snapshot.dataset for snapshot in self.facts.snapshots)
        self._tools: Mapping[str, ForeignJail] = {} if self._files_missing else self.facts.foreign_rows


def _boots(facts: HostFacts) -> frozenset[str]:
    """The jails that the host's own rc starts."""
    if "files" in facts.missing or "names" in facts.missing:
        return frozenset()
    try:
        return frozenset(facts.boot_state().boots_today)
    except (ValueError, Missing):
        # Only running rc.conf would tell, or a file is no text that can be read.
        return frozenset()


def _nameable(name: str) -> bool:
    return 0 < len(name) <= 255


def _write(rows: list[Jail]) -> None:
    """As INSERT … ON CONFLICT: an UPDATE of a thousand rows with their own values would be one CASE a value.

    A row that somebody else is writing, or has deleted since it was read, is left to them.
    """
    free = Jail.objects.select_for_update(skip_locked=True).filter(pk__in=[row.pk for row in rows])
    ours = set(free.order_by("pk").values_list("pk", flat=True))
    for fields in (OBSERVED, ADOPTED, FOUND):
        changed = [row for row in rows if row.pk in ours and _fields_of(row) == fields]
        if changed:
            Jail.objects.bulk_create(changed, update_conflicts=True, unique_fields=["id"], update_fields=fields)


def _fields_of(row: Jail) -> tuple[str, ...]:
    """What a refresh writes of a jail."""
    return OBSERVED if row.managed else FOUND if row.follows_host else ADOPTED


def _store_bases(host: Host, facts: HostFacts) -> None:
    """Releases and templates: whether they are there, and their size where ZFS knows it."""
    locked = ResourceLock.objects.filter(
        Q(resource__startswith=f"host:{host.pk}/release:") | Q(resource__startswith=f"host:{host.pk}/template:")
    )
    if locked.exists():
        return
    snapshots = {snapshot.name for snapshot in facts.snapshots}
    used = {dataset.name: dataset.used for dataset in facts.datasets}
    bases: list[type[Release] | type[Template]] = [Release, Template]
    for model in bases:
        under_way = (Base.State.PENDING, Base.State.REMOVING)
        for row in model.objects.filter(host=host).exclude(state__in=under_way).order_by("pk"):
            there = _is_there(row, facts, snapshots)
            before = (row.state, row.used)
            if there is not None:
                row.state = Base.State.READY if there else Base.State.MISSING
            row.used = used.get(row.dataset, row.used)
            if before != (row.state, row.used):
                model.objects.filter(pk=row.pk).update(state=row.state, used=row.used)


def _is_there(row: Base, facts: HostFacts, snapshots: set[str]) -> bool | None:
    """None where the facts do not tell."""
    if row.storage == Storage.ZFS:
        return None if "zfs" in facts.missing else row.snapshot in snapshots
    directory, _, name = row.path.rpartition("/")
    if "names" in facts.missing or directory not in _looked_into(facts):
        return None
    return name in facts.names.get(directory, ())


def _looked_into(facts: HostFacts) -> Iterable[str]:
    from jails.hosts.facts import RELEASES, TEMPLATES

    return (facts.jail_root, RELEASES, TEMPLATES)


def _store_addresses(host: Host, facts: HostFacts) -> None:
    if {"interfaces", "jails"} & facts.missing.keys():
        return
    wanted = _observed(facts)
    rows = {
        (row.interface, row.ip, row.prefix, row.jail_name): row.pk for row in ObservedAddress.objects.filter(host=host)
    }
    gone = [pk for key, pk in rows.items() if key not in wanted]
    if gone:
        ObservedAddress.objects.filter(pk__in=gone).delete()
    ObservedAddress.objects.bulk_create(
        ObservedAddress(host=host, interface=interface, ip=ip, prefix=prefix, jail_name=jail)
        for interface, ip, prefix, jail in sorted(wanted - rows.keys())
    )


def _observed(facts: HostFacts) -> set[tuple[str, str, int, str]]:
    """(interface, address, prefix, jail) of what other machines can see, and of jails whose address is nowhere."""
    owners: Mapping[str, str] = {
        plain_address(address): encode(jail.name)[:255]
        for jail in facts.jails
        for address in jail.addresses
        if not jail.dying
    }
    found = {
        (interface.name[:15], address.ip, address.prefix, owners.get(address.ip, ""))
        for interface in facts.interfaces
        for address in interface.addresses
        if _is_public(address.ip)
    }
    seen = {ip for _, ip, _, _ in found}
    nowhere = {ip: jail for ip, jail in owners.items() if ip not in seen and _is_public(ip)}
    return found | {("", ip, ipaddress.ip_address(ip).max_prefixlen, jail) for ip, jail in nowhere.items()}


def _is_public(ip: str) -> bool:
    """Not one that every machine has for itself."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
