"""What would have to change for the panel and its hosts to be as a file says. Reads the panel's rows; changes nothing.

What a change needs may not be there yet: it is looked up by name once its turn has come (`Change.resolve`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.forms import ModelForm, model_to_dict

from jails.models import Host, Jail, Network, Release, Template, Tenant
from jails.models.release import Base, Storage
from jails.operations import kind as kinds
from jails.operations.jail_change import DEFAULT_LIMITS
from jails.operations.kind import Refused
from panel.fleet.document import NO_QUOTA, Fleet, HostWish, Wish
from panel.fleet.export import addresses_of
from panel.forms.fields import format_size
from panel.forms.hosts import OF_THE_SITE, ROOT, HostForm
from panel.forms.networks import NetworkForm
from panel.forms.tenants import TenantForm

PANEL = ""
"""Instead of a host's name: what is about rows of the panel alone."""
LIMITS = tuple(DEFAULT_LIMITS)
ANY_ID = 1
"""Stands for the id of what is not there yet, where only the other parameters are looked at."""


class Gone(Exception):
    """What a change needs is not there when its turn has come: a sentence."""


@dataclass(frozen=True)
class Change:
    """One thing to do. `words`: what, as one line; `details`: from what to what.

    An operation (`kind`, and `resolve` for its parameters), or rows of the panel (`save`, given who wants it).
    """

    host: str
    path: str
    words: str
    details: tuple[str, ...] = ()
    action: str = ""
    kind: str = ""
    resolve: Callable[[], dict[str, Any]] | None = field(default=None, repr=False)
    form: Callable[[], ModelForm] | None = field(default=None, repr=False)
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a host, what its form does not ask for: `host_key`."""


@dataclass
class Plan:
    """`changes` in the order in which they are made. `problems`: why nothing of it can be. `left`: what stays."""

    changes: list[Change] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> list[str]:
        """Where something is done, in order."""
        return list(dict.fromkeys(change.host for change in self.changes if change.host))


def plan(fleet: Fleet, *, prune: bool = False) -> Plan:
    return _Planner(fleet, prune).plan()


class _Planner:
    def __init__(self, fleet: Fleet, prune: bool) -> None:
        self.fleet, self.prune, self.result = fleet, prune, Plan()
        self.tenants = {row.slug: row for row in Tenant.objects.all()}
        self.hosts = {row.name: row for row in Host.objects.all()}
        self.shared = {row.name: row for row in Network.objects.filter(host=None)}

    def plan(self) -> Plan:
        for wish in self.fleet.tenants:
            self._tenant(wish)
        for wish in self.fleet.networks:
            self._network(wish, None)
        for host in self.fleet.hosts:
            self._host_row(host)
        for host in self.fleet.hosts:
            _OnHost(self, host).plan()
        named = {wish.name for wish in self.fleet.hosts}
        self.left(f"host {name}: not in the file" for name in sorted(self.hosts.keys() - named))
        return self.result

    def problem(self, wish: Wish, key: str, text: str) -> None:
        self.result.problems.append(wish.at(key, f"{text.rstrip('.')}.") if key else f"{wish.path}: {text}")

    def left(self, lines: Iterable[str]) -> None:
        self.result.left.extend(lines)

    def add(self, change: Change) -> None:
        self.result.changes.append(change)

    def knows_tenant(self, slug: str) -> bool:
        row = self.tenants.get(slug)
        return row.archived_at is None if row is not None else any(one.name == slug for one in self.fleet.tenants)

    # Rows of the panel

    def _tenant(self, wish: Wish) -> None:
        row = self.tenants.get(wish.name)
        name = wish.given.get("name", wish.name)
        if row is None:
            self._add_row(
                wish, f"add the tenant {wish.name}", "tenant.add", TenantForm, {"slug": wish.name, "name": name}
            )
        elif row.archived_at is not None:
            self.problem(wish, "", f"{wish.name} is archived; choose another short name.")
        elif name != row.name and "name" in wish.given:
            self.problem(wish, "name", f"it is called {row.name!r}, which cannot be changed")

    def _network(self, wish: Wish, host: HostWish | None) -> None:
        host_row = self.hosts.get(host.name) if host is not None else None
        rows = self.shared if host is None else {row.name: row for row in _private(host_row)}
        row = rows.get(wish.name)
        if row is not None:
            for key in ("cidr", "interface"):
                if wish.given.get(key, getattr(row, key)) != getattr(row, key):
                    old = getattr(row, key) or "none"
                    self.problem(wish, key, f"it is {old}, which cannot be changed: remove the network first")
            return
        words = f"add the network {wish.name}" + (f" of {host.name}" if host is not None else "")
        data = {"name": wish.name, "interface": "", **wish.given}
        details = (f"{data['cidr']}{' on ' + data['interface'] if data['interface'] else ''}",)
        if host is None or host_row is not None:
            data["host"] = str(host_row.pk) if host_row is not None else ""
            self._add_row(wish, words, "network.add", NetworkForm, data, details)
            return

        # A network of a host that is not there yet: its form can be asked only then.
        def form() -> ModelForm:
            return NetworkForm({**data, "host": str(_host_named(host.name).pk)})

        self.add(Change(PANEL, wish.path, words, details, "network.add", form=form))

    def _add_row(
        self,
        wish: Wish,
        words: str,
        action: str,
        form: type[ModelForm],
        data: Mapping[str, Any],
        details: tuple[str, ...] = (),
        columns: Mapping[str, str] | None = None,
    ) -> None:
        if self._is_valid(wish, form(data)):
            change = Change(PANEL, wish.path, words, details, action, form=lambda: form(data), columns=columns or {})
            self.add(change)

    def _is_valid(self, wish: Wish, form: ModelForm) -> bool:
        for key, errors in form.errors.get_json_data().items():
            for error in errors:
                self.problem(wish, "" if key == "__all__" else key, str(error["message"]))
        return not form.errors

    def _host_row(self, wish: HostWish) -> None:
        row = self.hosts.get(wish.name)
        given = dict(wish.given)
        columns = {"host_key": given.pop("host_key")} if "host_key" in given else {}
        if given.get("become") and given.get("kind", row.kind if row is not None else "") == Host.Kind.SIMULATED:
            self.problem(wish, "become", "must be empty: a simulated host lets its worker do everything")
            return
        if row is None:
            if "kind" not in given:
                self.problem(wish, "kind", f"is missing: {wish.name} is no host of this panel yet")
                return
            defaults = {"port": 22, "username": "root", "jail_root": "/jail", "worker": "default"}
            data = {"name": wish.name, **defaults, **given}
            data["become"] = _way_to_root(data["username"], data.get("become", ""))
            where = (f"{data['kind']} {data.get('address') or data.get('directory') or ''}".strip(),)
            self._add_row(wish, f"add the host {wish.name}", "host.add", HostForm, data, where, columns)
        else:
            self._change_host(wish, row, given, columns)
        for network in wish.networks:
            self._network(network, wish)

    def _change_host(self, wish: HostWish, row: Host, given: dict[str, Any], columns: dict[str, str]) -> None:
        if given.get("kind", row.kind) != row.kind:
            self.problem(wish, "kind", f"{wish.name} is {row.kind}, which cannot be changed")
            return
        changed = {key: value for key, value in given.items() if value != getattr(row, key)}
        columns = {key: value for key, value in columns.items() if value != getattr(row, key)}
        if not changed and not columns:
            return
        details = [
            f"{key}: {getattr(row, key) or 'none'} → {value or 'none'}"
            for key, value in sorted((changed | columns).items())
        ]

        def form() -> ModelForm:
            current = Host.objects.get(pk=row.pk)
            known = model_to_dict(current, fields=[*HostForm(instance=current).fields])
            username, become = (changed.get(key, getattr(current, key)) for key in ("username", "become"))
            # Where nothing is said, the form takes it for what it is now.
            way = _way_to_root(username, become, OF_THE_SITE if "become" in changed else "")
            return HostForm({**known, "username": username, **changed, "become": way}, instance=current)

        if self._is_valid(wish, form()):
            words = f"change the host {wish.name}"
            self.add(Change(PANEL, wish.path, words, tuple(details), "host.change", form=form, columns=columns))


class _OnHost:
    """What is to be done on one host: what goes, what changes, releases, what is made, what starts or stops."""

    def __init__(self, planner: _Planner, wish: HostWish) -> None:
        self.planner, self.wish = planner, wish
        self.row = planner.hosts.get(wish.name)
        rows = Jail.objects.filter(host=self.row) if self.row is not None else Jail.objects.none()
        rows = rows.select_related("tenant", "release", "template").prefetch_related("addresses__network")
        self.jails = {row.name: row for row in rows}
        self.releases = {(row.name, row.architecture): row for row in Release.objects.filter(host=self.row)}
        self.templates = {row.name: row for row in Template.objects.filter(host=self.row).select_related("tenant")}
        if self.row is None:
            self.releases, self.templates = {}, {}
        self.wanted = {wish.name: wish for wish in wish.jails}
        self.creates: dict[str, list[Change]] = {}
        """`jail NAME` and `template NAME` → how it is made."""
        self.needs: dict[str, str] = {}
        """The same → what must be made before, where that is made too."""
        self.afterwards: list[Change] = []
        self.stopped: set[str] = set()
        """Jails that are made, or stopped, without being started yet: a template is made of them first."""

    def plan(self) -> None:
        present = [(wish, self.jails[wish.name]) for wish in self.wish.jails if wish.name in self.jails]
        gone = [one for one in present if one[0].given.get("absent")]
        kept = [one for one in present if not one[0].given.get("absent")]
        for wish, row in gone:
            self._destroy(wish, row)
        changes: dict[str, list[Change]] = {wish.name: self._change(wish, row) for wish, row in kept}
        for name in self._freeing_first(kept):
            self._all(changes[name])
        for wish in self.wish.releases:
            self._release(wish)
        # Before jails: which of them must not start at once is known then.
        for wish in self.wish.templates:
            self._template(wish)
        for wish in self.wish.jails:
            if wish.name not in self.jails and not wish.given.get("absent"):
                self._create(wish)
        self._all(change for name in self._in_order() for change in self.creates[name])
        for wish, row in kept:
            self._power(wish, row)
        self._all(self.afterwards)
        self._say_what_is_left()

    def _all(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.planner.add(change)

    def problem(self, wish: Wish, key: str, text: str) -> None:
        self.planner.problem(wish, key, text)

    def change(self, wish: Wish, words: str, kind: str, resolve: Callable[[], dict[str, Any]], *details: str) -> Change:
        return Change(self.wish.name, wish.path, words, details, kind=kind, resolve=resolve)

    def _say_what_is_left(self) -> None:
        where = self.wish.name
        kept = {name for name, row in self.jails.items() if row.is_kept}
        self.planner.left(f"jail {name} on {where}: not in the file" for name in sorted(kept - self.wanted.keys()))
        templates = self.templates.keys() - {wish.name for wish in self.wish.templates}
        self.planner.left(f"template {name} on {where}: not in the file" for name in sorted(templates))

    def _in_order(self) -> list[str]:
        """What is made, each after what it needs."""
        done: dict[str, bool] = {}

        def visit(name: str) -> Iterable[str]:
            if name in done:
                if not done[name]:
                    self.planner.result.problems.append(
                        f"{self.wish.path}: {name} would be made of itself: a template of a jail that is made of it."
                    )
                return
            done[name] = False
            needed = self.needs.get(name)
            if needed in self.creates:
                yield from visit(needed)
            done[name] = True
            yield name

        return [name for start in self.creates for name in visit(start)]

    def _freeing_first(self, kept: Sequence[tuple[Wish, Jail]]) -> list[str]:
        """Names of jails: who gives an address away before who gets it, as far as that can be."""
        has = {row.name: {one["ip"] for one in addresses_of(row)} for _, row in kept}
        wants = {wish.name: {one["ip"] for one in wish.given.get("addresses", ())} for wish, _ in kept}
        order: list[str] = []

        def visit(name: str, seen: frozenset[str]) -> None:
            if name in order or name in seen:
                return
            for other, ips in has.items():
                if other != name and wants[name] & ips:
                    visit(other, seen | {name})
            order.append(name)

        for name in has:
            visit(name, frozenset())
        return order

    # Releases and templates

    def _release(self, wish: Wish) -> None:
        architecture = wish.given.get("architecture") or self._architecture(wish)
        if not architecture:
            return
        row = self.releases.get((wish.name, architecture))
        if row is not None and row.state == Base.State.READY:
            return
        if row is not None and row.state != Base.State.MISSING:
            self.problem(wish, "name", f"{wish.name} is {row.get_state_display().lower()}")
            return
        source = wish.given.get("source")
        if not source:
            self.problem(wish, "source", f"is missing: {self.wish.name} has no {wish.name} yet")
            return
        parameters = {"release": wish.name, "architecture": architecture, "source": source}
        words = f"fetch {wish.name} for {architecture} from {source}"
        self._all([self.change(wish, words, "release_fetch", lambda: parameters)])

    def _architecture(self, wish: Wish) -> str:
        found = self.row.architecture if self.row is not None else ""
        if not found:
            self.problem(wish, "architecture", f"is missing: what {self.wish.name} is, is not known yet")
        return found

    def _template(self, wish: Wish) -> None:
        row = self.templates.get(wish.name)
        published = wish.given.get("published", False)
        if row is None:
            self._make_template(wish, published)
            return
        if row.state != Base.State.READY:
            self.problem(wish, "", f"the template {wish.name} is {row.get_state_display().lower()}.")
            return
        if "published" in wish.given and not published and row.published_at is not None:
            self.problem(wish, "published", f"{wish.name} is published, which cannot be taken back")
        elif published and row.published_at is None:
            self._all([self._publish(wish)])
        if "tenant" in wish.given and not published and wish.given["tenant"] != (row.tenant.slug if row.tenant else ""):
            self.problem(wish, "tenant", f"{wish.name} is {row.tenant or 'nobody'}'s, which cannot be changed")

    def _make_template(self, wish: Wish, published: bool) -> None:
        source, where = wish.given.get("jail"), self.wish.name
        if source is None:
            self.problem(
                wish, "jail", f"is missing: {where} has no template {wish.name}, and it would be made of a jail"
            )
            return
        jail, row = self.wanted.get(source), self.jails.get(source)
        if (jail is None and row is None) or (jail is not None and jail.given.get("absent")):
            self.problem(
                wish, "jail", f"{where} has no jail {source}, and the file makes none: the template cannot be made"
            )
            return
        tenant = wish.given.get("tenant", "")
        if tenant and not self.planner.knows_tenant(tenant):
            self.problem(wish, "tenant", f"there is no tenant {tenant}")
            return

        def resolve() -> dict[str, Any]:
            return {
                "jail": str(_jail_named(where, source).uuid),
                "name": wish.name,
                "tenant": _tenant_named(tenant),
            }

        changes = [self.change(wish, f"make the template {wish.name} of {source}", "template_create", resolve)]
        if published:
            changes.append(self._publish(wish))
        if row is not None and source not in self.stopped:
            runs = row.state == Jail.State.RUNNING
            if runs:
                changes.insert(0, self._power_change(jail or wish, source, "stop"))
            if runs if jail is None else jail.given.get("running", runs):
                self.afterwards.append(self._power_change(jail or wish, source, "start"))
        self.stopped.add(source)
        key = f"template {wish.name}"
        self.creates[key], self.needs[key] = changes, f"jail {source}"

    def _publish(self, wish: Wish) -> Change:
        where = self.wish.name

        def resolve() -> dict[str, Any]:
            return {"template": _template_named(where, wish.name).pk}

        return self.change(wish, f"publish the template {wish.name}", "template_publish", resolve)

    # Jails

    def _create(self, wish: Wish) -> None:
        given, where = wish.given, self.wish.name
        if given.get("adopted"):
            self.problem(wish, "adopted", f"{where} has no jail {wish.name}: an adopted jail is made by others")
            return
        if "kind" not in given:
            self.problem(wish, "kind", f"is missing: {where} has no jail {wish.name} yet")
            return
        if not self._base_is_known(wish) or not self._references_hold(wish):
            return
        held = wish.name in self.stopped
        start = given.get("running", False) and not held
        limits = {name: given.get(name, DEFAULT_LIMITS[name]) for name in LIMITS}

        def resolve() -> dict[str, Any]:
            base = self._base(given)
            is_release = isinstance(base, Release)
            return {
                "name": wish.name,
                "kind": given["kind"],
                "storage": given.get("storage", base.storage),
                "release": base.pk if is_release else None,
                "template": None if is_release else base.pk,
                "hostname": given.get("hostname", ""),
                "addresses": _resolved(where, given.get("addresses", [])),
                "boot": given.get("boot", False),
                "start": start,
                "tenant": _tenant_named(given.get("tenant", "")),
                "limits": limits,
            }

        base = given.get("template") or given["release"]
        checked = {
            "name": wish.name,
            "kind": given["kind"],
            "storage": given.get("storage", Storage.ZFS if given["kind"] == Jail.Kind.THIN else Storage.UFS),
            "release": ANY_ID,
            "hostname": given.get("hostname", ""),
            "addresses": _any_network(given.get("addresses", [])),
            "limits": limits if "storage" in given else {**limits, "quota": None},
        }
        if not self._is_clean(wish, "jail_create", checked):
            return
        details = [f"{given['kind']}, from {base}", *self._new_values(given)]
        if held and given.get("running", False):
            self.afterwards.append(self._power_change(wish, wish.name, "start"))
        key = f"jail {wish.name}"
        self.creates[key] = [self.change(wish, f"create the jail {wish.name}", "jail_create", resolve, *details)]
        if "template" in given:
            self.needs[key] = f"template {given['template']}"

    def _new_values(self, given: Mapping[str, Any]) -> list[str]:
        values = [("hostname", given.get("hostname")), ("tenant", given.get("tenant"))]
        values.append(("addresses", ", ".join(one["ip"] for one in given.get("addresses", []))))
        lines = [f"{name}: {value}" for name, value in values if value]
        lines += [f"{name}: yes" for name in ("boot", "running") if given.get(name)]
        differs = [name for name in LIMITS if given.get(name, DEFAULT_LIMITS[name]) != DEFAULT_LIMITS[name]]
        return [*lines, *(f"{name}: {_shown(name, given[name])}" for name in differs)]

    def _base_is_known(self, wish: Wish) -> bool:
        """Whether what the jail is to be made of is there, or will be."""
        given, where = wish.given, self.wish.name
        if "template" in given:
            name = given["template"]
            known = name in self.templates or any(one.name == name for one in self.wish.templates)
            if not known:
                self.problem(wish, "template", f"{where} has no template {name}, and the file makes none")
            return known
        if "release" not in given:
            self.problem(wish, "release", "is missing: a jail is made from a release or a template")
            return False
        name = given["release"]
        there = any(key[0] == name and row.state == Base.State.READY for key, row in self.releases.items())
        known = there or any(one.name == name for one in self.wish.releases)
        if not known:
            self.problem(wish, "release", f"{where} has no {name}, and the file does not say where to fetch it")
        return known

    def _base(self, given: Mapping[str, Any]) -> Release | Template:
        where = self.wish.name
        if "template" in given:
            return _template_named(where, given["template"])
        host = _host_named(where)
        rows = list(Release.objects.filter(host=host, name=given["release"], state=Base.State.READY))
        own = [row for row in rows if row.architecture == host.architecture]
        if not rows:
            raise Gone(f"{where} has no {given['release']}.")
        return (own or rows)[0]

    def _references_hold(self, wish: Wish) -> bool:
        """Whether the tenant and the networks it names are there, or will be."""
        before = len(self.planner.result.problems)
        tenant = wish.given.get("tenant", "")
        if tenant and not self.planner.knows_tenant(tenant):
            self.problem(wish, "tenant", f"there is no tenant {tenant}")
        own = {one.name for one in self.wish.networks} | {row.name for row in _private(self.row)}
        shared = {one.name for one in self.planner.fleet.networks} | self.planner.shared.keys()
        for one in wish.given.get("addresses", ()):
            known = shared if one["shared"] else own | shared
            if one["network"] not in known:
                self.problem(wish, "addresses", f"{one['ip']}: {self.wish.name} has no network {one['network']}")
        return len(self.planner.result.problems) == before

    def _is_clean(self, wish: Wish, kind: str, parameters: dict[str, Any]) -> bool:
        try:
            kinds.get(kind).clean(parameters)
        except Refused as refused:
            for key, text in refused.errors.items():
                self.problem(wish, key, text)
            return False
        return True

    def _destroy(self, wish: Wish, row: Jail) -> None:
        if not row.managed:
            self.problem(wish, "absent", f"{row.name} was not made by Cellblock, and is not its to destroy")
        elif not self.planner.prune:
            self.planner.left([f"jail {row.name} on {self.wish.name}: `absent = true` destroys it with --prune alone"])
        else:
            where, name = self.wish.name, row.name

            def resolve() -> dict[str, Any]:
                return {"jail": str(_jail_named(where, name).uuid), "name": name}

            lost = (f"all that is in it: {row.dataset or row.path}",)
            self._all([self.change(wish, f"DESTROY the jail {name}", "jail_destroy", resolve, *lost)])

    def _change(self, wish: Wish, row: Jail) -> list[Change]:
        """Of a jail that is there: who has it, and what it is like."""
        if not self._is_its_own(wish, row) or not self._references_hold(wish):
            return []
        changes = []
        slug = row.tenant.slug if row.tenant else ""
        if wish.given.get("tenant", slug) != slug:
            changes.append(self._give(wish, row, wish.given["tenant"]))
        if row.managed and (details := self._differences(wish, row)):
            change = self._change_values(wish, row, details)
            changes += [change] if change is not None else []
        return changes

    def _is_its_own(self, wish: Wish, row: Jail) -> bool:
        """Whether it is the jail that the file means, and one of which the panel decides."""
        if not row.is_kept:
            self.problem(wish, "", f"{row.name} on {self.wish.name} was not made by Cellblock: adopt it first.")
        elif row.state in (Jail.State.PENDING, Jail.State.MISSING):
            self.problem(wish, "", f"{row.name} on {self.wish.name} is {row.get_state_display().lower()}.")
        elif row.managed and wish.given.get("adopted"):
            self.problem(wish, "adopted", f"{row.name} was made by Cellblock")
        elif not row.managed and not wish.given.get("adopted"):
            self.problem(wish, "", f"{row.name} is adopted: say `adopted = true`, its tenant, and whether it runs.")
        else:
            return self._is_made_as_wanted(wish, row)
        return False

    def _is_made_as_wanted(self, wish: Wish, row: Jail) -> bool:
        base = row.template or row.release
        made = {"kind": row.kind, "storage": row.storage, "template": row.template and row.template.name}
        made["release"] = row.release.name if row.release is not None and row.template is None else None
        wrong = [
            key for key in ("kind", "storage", "release", "template") if wish.given.get(key, made[key]) != made[key]
        ]
        for key in wrong:
            words = base.name if base is not None and key in ("release", "template") else made[key] or "none"
            self.problem(wish, key, f"{row.name} was made so: {words}. That cannot be changed; make another jail")
        return not wrong

    def _differences(self, wish: Wish, row: Jail) -> list[str]:
        given, limits = wish.given, {**DEFAULT_LIMITS, **row.limits}
        lines = []
        for name, old in {
            "hostname": row.hostname,
            "boot": row.boot,
            **{name: limits[name] for name in LIMITS},
        }.items():
            if given.get(name, old) != old:
                lines.append(f"{name}: {_shown(name, old)} → {_shown(name, given[name])}")
        old_addresses = addresses_of(row)
        if "addresses" in given and self._places(old_addresses) != self._places(given["addresses"]):
            old, new = (", ".join(one["ip"] for one in ones) or "none" for ones in (old_addresses, given["addresses"]))
            lines.append(f"addresses: {old} → {new}")
        return lines

    def _places(self, addresses: Iterable[Mapping[str, Any]]) -> set[tuple[str, bool, str]]:
        own = {one.name for one in self.wish.networks} | {row.name for row in _private(self.row)}
        return {(one["network"], one["network"] in own and not one.get("shared"), one["ip"]) for one in addresses}

    def _change_values(self, wish: Wish, row: Jail, details: Sequence[str]) -> Change | None:
        where, name, given = self.wish.name, row.name, wish.given

        def parameters(current: Jail, addresses: list[dict[str, Any]]) -> dict[str, Any]:
            limits = {**DEFAULT_LIMITS, **current.limits}
            return {
                "jail": str(current.uuid),
                "hostname": given.get("hostname", current.hostname),
                "addresses": addresses,
                "boot": given.get("boot", current.boot),
                "limits": {limit: given.get(limit, limits[limit]) for limit in LIMITS},
            }

        def resolve() -> dict[str, Any]:
            current = _jail_named(where, name)
            own = [{"network": one.network_id, "ip": one.ip} for one in current.addresses.order_by("pk")]
            return parameters(current, _resolved(where, given["addresses"]) if "addresses" in given else own)

        if not self._is_clean(wish, "jail_change", parameters(row, _any_network(given.get("addresses", [])))):
            return None
        return self.change(wish, f"change the jail {name}", "jail_change", resolve, *details)

    def _give(self, wish: Wish, row: Jail, tenant: str) -> Change:
        where, name = self.wish.name, row.name

        def resolve() -> dict[str, Any]:
            return {"jails": [str(_jail_named(where, name).uuid)], "tenant": _tenant_named(tenant)}

        words = f"give the jail {name} to {tenant}" if tenant else f"take the jail {name} back to nobody"
        return self.change(wish, words, "jail_give", resolve, f"tenant: {row.tenant or 'none'} → {tenant or 'none'}")

    def _power(self, wish: Wish, row: Jail) -> None:
        if "running" not in wish.given or not row.is_kept or row.name in self.stopped:
            return
        runs = row.state == Jail.State.RUNNING
        if wish.given["running"] and row.state == Jail.State.STOPPED:
            self._all([self._power_change(wish, row.name, "start")])
        elif not wish.given["running"] and runs:
            self._all([self._power_change(wish, row.name, "stop")])

    def _power_change(self, wish: Wish, name: str, what: str) -> Change:
        where = self.wish.name

        def resolve() -> dict[str, Any]:
            return {"jails": [str(_jail_named(where, name).uuid)]}

        return self.change(wish, f"{what} the jail {name}", f"jail_{what}", resolve)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return NO_QUOTA
    return format_size(value) if name in ("quota", "memory") else str(value)


def _way_to_root(username: str, become: str, otherwise: str = "") -> str:
    """As the form of hosts names it."""
    return become or (ROOT if username == "root" else otherwise)


# From names to rows, once a change's turn has come


def _private(host: Host | None) -> list[Network]:
    return list(host.networks.all()) if host is not None else []


def _any_network(addresses: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"network": ANY_ID, "ip": one["ip"]} for one in addresses]


def _resolved(host: str, addresses: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"network": _network_named(host, one).pk, "ip": one["ip"]} for one in addresses]


def _network_named(host: str, address: Mapping[str, Any]) -> Network:
    """The host's own of that name, unless the file means a shared one, or there is no other."""
    rows = Network.objects.filter(name=address["network"])
    own = None if address["shared"] else rows.filter(host__name=host).first()
    row = own or rows.filter(host=None).first()
    if row is None:
        raise Gone(f"{host} has no network {address['network']}.")
    return row


def _host_named(name: str) -> Host:
    row = Host.objects.filter(name=name).first()
    if row is None:
        raise Gone(f"There is no host {name}.")
    return row


def _jail_named(host: str, name: str) -> Jail:
    row = Jail.objects.filter(host__name=host, name=name).first()
    if row is None:
        raise Gone(f"{host} has no jail {name}.")
    return row


def _template_named(host: str, name: str) -> Template:
    row = Template.objects.filter(host__name=host, name=name, state=Base.State.READY).first()
    if row is None:
        raise Gone(f"{host} has no template {name}.")
    return row


def _tenant_named(slug: str) -> int | None:
    if not slug:
        return None
    row = Tenant.objects.filter(slug=slug).first()
    if row is None:
        raise Gone(f"There is no tenant {slug}.")
    return row.pk
