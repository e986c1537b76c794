"""With the database lost: what the panel once knew of a host, read from the host's own files and datasets.

    /etc/jail.conf.d/NAME.conf with the panel's comment   a jail, its uuid; on UFS also its tenant and what it is of
    POOL/cellblock/TENANT/NAME and its properties         a jail's tree: tenant, kind, release or template, touched
    POOL/cellblock/releases/…, templates/…                releases and templates; on UFS their folders

All of it is what the host's last refresh learned; the host itself is not asked, and never changed. What is there
already in the panel stays as it is. What two things say differently is not guessed: it is named, and left out.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from jails import audit
from jails.freebsd import names
from jails.hosts.facts import JAIL_CONF_D, RELEASES, TEMPLATES, ConfiguredJail, HostFacts
from jails.hosts.zfs_reader import HOME, Dataset, Snapshot
from jails.models import Address, Host, Jail, Network, Operation, Release, Template, Tenant
from jails.models.release import Base, Storage
from jails.operations import adoption, jailfile, layout, lifecycle, sandbox_create
from jails.operations.kind import Refused
from jails.operations.limits import of_file

SOURCE = "command line"
LIMITS = {"children_max": 0, "securelevel": -1, "enforce_statfs": 2}
OWN = ("releases", "templates", layout.RESERVE)
"""Below POOL/cellblock: what is no tenant."""


@dataclass(frozen=True)
class Wanted:
    """A jail to be: its row, not saved, and names of what it refers to. `base` as jailfile.base_name has it."""

    row: Jail
    tenant: str
    base: str
    addresses: tuple[tuple[str, jailfile.Address], ...]
    """Each with the addresses of its network: 192.0.2.0/24."""


@dataclass
class Rebuilt:
    """What would be made, and why not the rest: `left` are (what, why)."""

    host: Host
    tenants: list[Tenant] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    templates: list[tuple[Template, str, str]] = field(default_factory=list)
    """Each with its tenant's slug and its release's NAME-ARCH, or ""."""
    jails: list[Wanted] = field(default_factory=list)
    host_columns: dict[str, str] = field(default_factory=dict)
    there: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        made = (self.tenants, self.networks, self.releases, self.templates, self.jails, self.host_columns)
        return not any(made)

    def lines(self) -> Iterator[str]:
        """For people: one a thing."""
        yield from (f"host {self.host}: {name} {value}" for name, value in self.host_columns.items())
        yield from (f"tenant {row.slug}" for row in self.tenants)
        for network in self.networks:
            yield f"network {network.name}: {network.cidr}" + (f", private to {self.host}" if network.host else "")
        yield from (f"release {row.name} for {row.architecture}: {row.dataset or row.path}" for row in self.releases)
        for row, tenant, _ in self.templates:
            whose = f"of {tenant}" if tenant else "published" if row.published_at else "of nobody, not published"
            yield f"template {row.name}, {whose}: {row.dataset or row.path}"
        for one in self.jails:
            at = ", ".join(address.ip for _, address in one.addresses) or "no address"
            whose = f"of {one.tenant}" if one.tenant else "of nobody"
            yield f"jail {one.row.name} {whose}: {one.row.kind}, {one.row.dataset or one.row.path}, {at}"


def look(host: Host) -> Rebuilt:
    """What a host says. Raises Refused where it has not answered since it was added, or is being worked on."""
    facts = lifecycle.facts_of(host)
    for section in ("identity", "jails", "interfaces", "mounts", "files", "names", "zfs"):
        if section in facts.missing:
            raise Refused(f"{host}: {section} could not be read ({facts.missing[section]}): refresh it first.")
    if Operation.objects.filter(host=host, status__in=Operation.OPEN).exists():
        raise Refused(f"{host}: an operation is under way on it: let it end first.")
    return _Look(host, facts).look()


class _Look:
    def __init__(self, host: Host, facts: HostFacts) -> None:
        self.host, self.facts, self.result = host, facts, Rebuilt(host)
        self.rows = {row.name: row for row in Jail.objects.filter(host=host)}
        self.tenants = {row.slug: row for row in Tenant.objects.all()}
        self.networks = list(Network.objects.filter(host__in=[host]) | Network.objects.filter(host=None))
        self.boots = adoption.boots_today(facts)

    def look(self) -> Rebuilt:
        for dataset, rest in self._below(RELEASES, "releases"):
            self._release(rest, dataset)
        for name in self._folders(RELEASES):
            self._release(name, None)
        for dataset, rest in self._below(TEMPLATES, "templates"):
            self._template(rest, dataset)
        for name in self._folders(TEMPLATES):
            self._template(name, None)
        self._jails()
        self._host()
        return self.result

    def leave(self, what: str, why: str) -> None:
        self.result.left.append((what, why))

    # Releases and templates

    def _below(self, folder: str, kind: str) -> Iterator[tuple[Dataset, str]]:
        """The datasets POOL/cellblock/KIND/NAME that are mounted where the panel mounts them."""
        for dataset in self.facts.datasets:
            rest = dataset.name.partition("/")[2]
            name = rest.removeprefix(f"{HOME}/{kind}/")
            if name == rest or "/" in name:
                continue
            what = f"dataset {dataset.name}"
            if dataset.name in self.facts.doubtful:
                self.leave(what, "its properties cannot be read safely")
            elif dataset.mountpoint != f"{folder}/{name}":
                self.leave(what, f"it belongs at {dataset.mountpoint or 'no path'}, expected {folder}/{name}")
            elif self._snapshot(dataset) is None:
                self.leave(what, f"it was never finished: it has no snapshot @{layout.SNAPSHOT}")
            else:
                yield dataset, name

    def _folders(self, folder: str) -> list[str]:
        """What is in it that no dataset is mounted on, drafts apart."""
        mounted = {dataset.mountpoint for dataset in self.facts.datasets}
        found = self.facts.names.get(folder, ())
        return [name for name in found if not name.startswith(".") and f"{folder}/{name}" not in mounted]

    def _snapshot(self, dataset: Dataset) -> Snapshot | None:
        return self.facts.snapshot(layout.snapshot_of(dataset.name))

    def _place(self, dataset: Dataset | None, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {"host": self.host, "path": path, "state": Base.State.READY}
        if dataset is None:
            return {**values, "storage": Storage.UFS}
        snapshot = layout.snapshot_of(dataset.name)
        zfs = {"storage": Storage.ZFS, "dataset": dataset.name, "snapshot": snapshot, "used": dataset.used}
        return {**values, **zfs}

    def _release(self, full: str, dataset: Dataset | None) -> None:
        what = f"release {full}"
        name, _, architecture = full.rpartition("-")
        if names.release_error(name) or names.arch_error(architecture):
            self.leave(what, "its name is not that of a release and an architecture")
        elif dataset is not None and dataset.marks.get("cellblock:release") != full:
            self.leave(what, f"{dataset.name} does not say that it is this release")
        elif any((row.name, row.architecture) == (name, architecture) for row in self.result.releases):
            self.leave(what, "it is there twice, in two pools")
        elif Release.objects.filter(host=self.host, name=name, architecture=architecture).exists():
            self.result.there.append(what)
        else:
            source = dataset.marks.get("cellblock:source", "") if dataset is not None else ""
            place = self._place(dataset, layout.release_path(name, architecture))
            row = Release(name=name, architecture=architecture, source=source[:1000], **place)
            self.result.releases.append(row)

    def _template(self, name: str, dataset: Dataset | None) -> None:
        what, marks = f"template {name}", dataset.marks if dataset is not None else {}
        tenant, release = marks.get("cellblock:tenant", ""), marks.get("cellblock:release", "")
        if names.jail_name_error(name):
            self.leave(what, "its name is none that the panel gives")
        elif dataset is not None and marks.get("cellblock:template") != name:
            self.leave(what, f"{dataset.name} does not say that it is this template")
        elif any(row.name == name for row, _, _ in self.result.templates):
            self.leave(what, "it is there twice, in two pools")
        elif Template.objects.filter(host=self.host, name=name).exists():
            self.result.there.append(what)
        elif tenant and (problem := self._tenant_problem(tenant)):
            self.leave(what, problem)
        else:
            published = dataset is not None and self._is_published(dataset)
            row = Template(
                name=name,
                architecture=self._architecture(release),
                source_jail=marks.get("cellblock:source", "")[:63],
                touched=marks.get("cellblock:touched") != "no",
                published_at=timezone.now() if published else None,
                **self._place(dataset, layout.template_path(name)),
            )
            tenant = "" if published else tenant
            self._want_tenant(tenant)
            self.result.templates.append((row, tenant, release))

    def _architecture(self, release: str) -> str:
        architecture = release.rpartition("-")[2]
        return self.facts.architecture if names.arch_error(architecture) else architecture

    def _is_published(self, dataset: Dataset) -> bool:
        """Publishing takes its snapshot anew: then that, and not the dataset, says another operation made it."""
        snapshot = self._snapshot(dataset)
        return snapshot is not None and bool(snapshot.operation) and snapshot.operation != dataset.operation

    # Tenants

    def _tenant_problem(self, slug: str) -> str:
        row = self.tenants.get(slug)
        if row is not None:
            return f"its tenant {slug} is archived" if row.archived_at is not None else ""
        problem = names.tenant_error(slug)
        return f"{slug!r} is no tenant's short name" if problem else ""

    def _want_tenant(self, slug: str) -> None:
        if slug and slug not in self.tenants:
            self.tenants[slug] = Tenant(slug=slug, name=slug)
            self.result.tenants.append(self.tenants[slug])

    # Jails

    def _jails(self) -> None:
        heads = dict(self._heads())
        uuids = Counter(head.uuid for head in heads.values())
        trees = self._trees()
        for path, head in sorted(heads.items()):
            if uuids[head.uuid] > 1:
                self.leave(f"jail {head.name}", f"{path} has the uuid of another file")
            else:
                self._jail(path, head, trees.get(head.uuid, []))
        for uuid, datasets in sorted(trees.items()):
            if uuid not in uuids:
                for dataset in datasets:
                    self.leave(
                        f"dataset {dataset.name}", f"it is a jail's, and no file in {JAIL_CONF_D} is that jail's"
                    )

    def _heads(self) -> Iterator[tuple[str, jailfile.Head]]:
        for path, text in self.facts.files.items():
            head = jailfile.head_of(text) if path.startswith(f"{JAIL_CONF_D}/") else None
            if head is None:
                continue
            if path != layout.config_path(head.name):
                self.leave(f"file {path}", f"its comment says that it is {head.name}'s")
            else:
                yield path, head

    def _trees(self) -> dict[str, list[Dataset]]:
        """Datasets below POOL/cellblock that say which jail's they are, by its uuid."""
        found: dict[str, list[Dataset]] = {}
        for dataset in self.facts.datasets:
            parts = dataset.name.split("/")
            if layout.JAIL in dataset.marks and len(parts) == 4 and parts[1] == HOME and parts[2] not in OWN:
                found.setdefault(dataset.marks[layout.JAIL], []).append(dataset)
        return found

    def _jail(self, path: str, head: jailfile.Head, datasets: list[Dataset]) -> None:
        what, row = f"jail {head.name}", self.rows.get(head.name)
        if row is not None and row.managed:
            self.result.there.append(what)
            return
        configured = next((one for one in self.facts.configured if one.name == head.name and one.file == path), None)
        why = self._why_not(path, head, configured, datasets)
        if why or configured is None:
            self.leave(what, why)
            return
        dataset = datasets[0] if datasets else None
        tenant = _tenant_of(head, dataset)
        before = len(self.result.networks)
        try:
            limits, addresses = _limits(configured, dataset), self._addresses(configured)
        except ValueError as error:
            self.leave(what, str(error))
            for network in self.result.networks[before:]:
                self.result.networks.remove(network)
                self.networks.remove(network)
            return
        self._want_tenant(tenant)
        wanted = row or Jail(host=self.host, name=head.name, **self._state(configured))
        wanted.uuid, wanted.managed, wanted.manager, wanted.found, wanted.wanted = UUID(head.uuid), True, "", {}, {}
        wanted.kind = _kind(dataset)
        wanted.storage = Storage.ZFS if dataset is not None else Storage.UFS
        wanted.hostname, wanted.path, wanted.config_path = configured.hostname[:255], configured.path, path
        wanted.dataset = dataset.name if dataset is not None else ""
        wanted.origin = dataset.origin if dataset is not None else ""
        wanted.touched = dataset is None or bool(tenant) or dataset.marks.get("cellblock:touched") != "no"
        wanted.boot, wanted.limits = head.name in self.boots, limits
        if wanted.kind == Jail.Kind.SANDBOX and wanted.expires_at is None:
            wanted.expires_at = timezone.now() + timedelta(days=sandbox_create.DAYS)
        self.result.jails.append(Wanted(wanted, tenant, _base_of(head, dataset), addresses))

    def _why_not(
        self, path: str, head: jailfile.Head, configured: ConfiguredJail | None, datasets: list[Dataset]
    ) -> str:
        row = self.rows.get(head.name)
        if row is not None and row.adoption:
            return "it is adopted: give it back first"
        if row is not None and row.state == Jail.State.PENDING:
            return "it is being made"
        try:
            other = Jail.objects.filter(uuid=UUID(head.uuid)).exclude(host=self.host, name=head.name).first()
        except ValueError:
            return f"{path} has no uuid in its comment"
        if other is not None:
            return f"its uuid is that of {other.name} on {other.host}"
        if names.jail_name_error(head.name) or configured is None or configured.failed:
            return f"jail(8) cannot read {path}, or it describes another jail"
        if len(datasets) > 1:
            return f"{' and '.join(one.name for one in datasets)} both say that they are its tree"
        if datasets:
            return self._why_not_on_zfs(head, configured, datasets[0])
        return self._why_not_on_ufs(head, configured)

    def _why_not_on_zfs(self, head: jailfile.Head, configured: ConfiguredJail, dataset: Dataset) -> str:
        _, _, slug, name = dataset.name.split("/")
        if dataset.name in self.facts.doubtful:
            return f"the properties of {dataset.name} cannot be read safely"
        if name != head.name:
            return f"its dataset is {dataset.name}, its file calls it {head.name}"
        if dataset.mountpoint != configured.path:
            return f"{dataset.name} belongs at {dataset.mountpoint or 'no path'}, its file says {configured.path}"
        return self._tenant_problem(slug) if slug != layout.NO_TENANT else ""

    def _why_not_on_ufs(self, head: jailfile.Head, configured: ConfiguredJail) -> str:
        folder, _, name = configured.path.rpartition("/")
        if self.facts.dataset_at(configured.path) is not None:
            return f"what is mounted on {configured.path} does not say that it is this jail's"
        if folder == self.facts.jail_root and not self.facts.exists(folder, name):
            return f"its tree {configured.path} is gone"
        return self._tenant_problem(head.tenant) if head.tenant else ""

    def _state(self, configured: ConfiguredJail) -> dict[str, Any]:
        """Of a jail that no refresh has met yet."""
        live = self.facts.jail(configured.name)
        runs = live is not None and not live.dying and live.path == configured.path
        return {"state": Jail.State.RUNNING if runs else Jail.State.STOPPED, "state_since": timezone.now()}

    # Addresses and networks

    def _addresses(self, configured: ConfiguredJail) -> tuple[tuple[str, jailfile.Address], ...]:
        """Raises ValueError for one that no network holds, or that another jail has."""
        found = []
        for text in jailfile.addresses_in(configured.parameters):
            address = jailfile.Address.parse(text)
            if address is None:
                raise ValueError(f"its address {text!r} does not name an interface and an address")
            network = self._network(address)
            taken = Address.objects.filter(network=network, ip=address.ip).first() if network.pk else None
            if taken is not None:
                raise ValueError(f"its address {address.ip} is that of {taken.jail.name} on {taken.jail.host}")
            found.append((network.cidr, address))
        for one in self.result.jails:
            if both := {ip for _, ip in one.addresses} & {ip for _, ip in found}:
                raise ValueError(f"its address {next(iter(both)).ip} is that of {one.row.name} as well")
        return tuple(found)

    def _network(self, address: jailfile.Address) -> Network:
        ip = ipaddress.ip_address(address.ip)
        holding = [network for network in self.networks if ip in ipaddress.ip_network(network.cidr)]
        # The host's own before a shared one.
        for network in sorted(holding, key=lambda network: network.host_id is None):
            return network
        made = self._network_of_interface(address, ip)
        self.networks.append(made)
        self.result.networks.append(made)
        return made

    def _network_of_interface(
        self, address: jailfile.Address, ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> Network:
        """What the host itself is in, on that interface. What only it can reach is private to it."""
        for interface in self.facts.interfaces:
            if interface.name != address.interface:
                continue
            for own in interface.addresses:
                cidr = ipaddress.ip_network(f"{own.ip}/{own.prefix}", strict=False)
                if ip in cidr and cidr.num_addresses > 1:
                    private = "LOOPBACK" in interface.flags
                    return self._new_network(cidr, self.host if private else None, interface.name)
        raise ValueError(f"no network holds its address {address.ip}: add one that does, then look again")

    def _new_network(
        self, cidr: ipaddress.IPv4Network | ipaddress.IPv6Network, host: Host | None, interface: str
    ) -> Network:
        for other in self.networks:
            known = ipaddress.ip_network(other.cidr)
            if other.host == host and known.version == cidr.version and known.overlaps(cidr):
                raise ValueError(f"{cidr}, which holds its address, overlaps the network {other}")
        name = f"net-{re.sub(r'[.:/]+', '-', str(cidr))}"
        return Network(name=name[:63], cidr=str(cidr), host=host, interface=interface if host is not None else "")

    # The host itself

    def _host(self) -> None:
        """Where its jails are, as far as its row does not say so."""
        datasets = [one.row.dataset for one in self.result.jails] + [row.dataset for row in self.result.releases]
        pools = {dataset.partition("/")[0] for dataset in datasets if dataset}
        if not self.host.pool and len(pools) == 1 and pools != {self.facts.pools[0].name}:
            self.result.host_columns["pool"] = pools.pop()
        roots = {one.row.path.rpartition("/")[0] for one in self.result.jails}
        kept = any(row.managed for row in self.rows.values())
        if len(roots) == 1 and roots != {self.host.jail_root.rstrip("/")} and not kept:
            self.result.host_columns["jail_root"] = roots.pop()


def _tenant_of(head: jailfile.Head, dataset: Dataset | None) -> str:
    """A slug, or ""."""
    if dataset is None:
        return head.tenant
    slug = dataset.name.split("/")[2]
    return "" if slug == layout.NO_TENANT else slug


def _kind(dataset: Dataset | None) -> str:
    if dataset is None:
        return Jail.Kind.THICK
    marked = dataset.marks.get("cellblock:kind", "")
    if marked in (Jail.Kind.THICK, Jail.Kind.THIN, Jail.Kind.SANDBOX):
        return marked
    return Jail.Kind.THIN if dataset.origin else Jail.Kind.THICK


def _base_of(head: jailfile.Head, dataset: Dataset | None) -> str:
    if dataset is None:
        return head.base
    for kind in ("template", "release"):
        if name := dataset.marks.get(f"cellblock:{kind}", ""):
            return f"{kind} {name}"
    return ""


def _limits(configured: ConfiguredJail, dataset: Dataset | None) -> dict[str, int | None]:
    """Raises ValueError for what is no number."""
    given = dict(configured.parameters)
    limits: dict[str, int | None] = {"quota": (dataset.quota or None) if dataset is not None else None}
    for limit, default in LIMITS.items():
        values = given.get(jailfile.LIMITS[limit], (str(default),))
        if len(values) != 1 or not re.fullmatch(r"-?[0-9]{1,9}", values[0]):
            raise ValueError(f"its file says {jailfile.LIMITS[limit]} is {' '.join(values)!r}")
        limits[limit] = int(values[0])
    held = {limit: amount for limit, amount in of_file(configured.name, given).items() if amount is not None}
    return limits | held


# Making it


def write(rebuilt: Rebuilt, *, actor: str = SOURCE) -> None:
    """All of it or nothing, with the log's entries. Raises IntegrityError where somebody was faster."""
    host = rebuilt.host
    with transaction.atomic():
        # The first lock of whoever writes what belongs to a host: no refresh comes between.
        Host.objects.select_for_update(no_key=True).get(pk=host.pk)
        notes: list[tuple[str, Any, dict[str, Any]]] = []
        if rebuilt.host_columns:
            Host.objects.filter(pk=host.pk).update(**rebuilt.host_columns)
            notes.append(("host.change", host, dict(rebuilt.host_columns)))
        for row in (*rebuilt.tenants, *rebuilt.networks, *rebuilt.releases):
            row.save(force_insert=True)
            notes.append((f"{row._meta.model_name}.rebuild", row, _told(row)))
        for template, tenant, release in rebuilt.templates:
            template.tenant = Tenant.objects.get(slug=tenant) if tenant else None
            template.release = _release_named(host, release)
            template.save(force_insert=True)
            notes.append(("template.rebuild", template, _told(template)))
        for wanted in rebuilt.jails:
            notes.append(("jail.rebuild", _write_jail(host, wanted), _told(wanted.row)))
        for action, row, after in notes:
            audit.record(action, actor=actor, obj=row, after=after, source=SOURCE)


def _write_jail(host: Host, wanted: Wanted) -> Jail:
    row = wanted.row
    row.tenant = Tenant.objects.get(slug=wanted.tenant) if wanted.tenant else None
    kind, _, name = wanted.base.partition(" ")
    if kind == "template":
        row.template = Template.objects.filter(host=host, name=name).first()
        row.release = row.template.release if row.template is not None else None
    elif kind == "release":
        row.release = _release_named(host, name)
    row.save()
    for cidr, address in wanted.addresses:
        holding = Network.objects.filter(cidr=cidr)
        network = holding.filter(host=host).first() or holding.get(host=None)
        Address.objects.create(
            jail=row, network=network, ip=address.ip, interface=address.interface, prefix=address.prefix
        )
    return row


def _release_named(host: Host, full: str) -> Release | None:
    name, _, architecture = full.rpartition("-")
    return Release.objects.filter(host=host, name=name, architecture=architecture).first()


def _told(row: Tenant | Network | Release | Template | Jail) -> dict[str, Any]:
    fields: dict[type, Iterable[str]] = {
        Tenant: ("name",),
        Network: ("cidr", "interface"),
        Release: ("architecture", "dataset", "path"),
        Template: ("architecture", "dataset", "path", "source_jail"),
        Jail: ("uuid", "kind", "hostname", "path", "dataset", "boot", "limits"),
    }
    return {name: str(value) if isinstance(value := getattr(row, name), UUID) else value for name in fields[type(row)]}
