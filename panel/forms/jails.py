"""What is asked before a jail is made, changed, renamed, given away or destroyed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.db.models.fields.json import KT

from jails import plans, policy
from jails.freebsd import names, rctl
from jails.freebsd.uname import Release as Version
from jails.models import Host, HostFactsRecord, Jail, Release, Template, Tenant, User
from jails.models.release import Base, Storage
from jails.operations import jailfile, snapshots
from jails.operations.jail_change import DEFAULT_LIMITS
from jails.operations.wish import LEAST, QUOTA_MAX, QUOTA_MIN
from panel.forms.addresses import AddressesForm
from panel.forms.fields import CheckedField, SizeField, format_size

SECURELEVELS = (
    ("-1", "That of the host"),
    ("0", "0: insecure"),
    ("1", "1: file flags stay"),
    ("2", "2: and disks cannot be opened for writing"),
    ("3", "3: and firewall rules stay"),
)
STATFS = (
    ("2", "Only that of its own root"),
    ("1", "Those below its root"),
    ("0", "All of the host"),
)
ONLY_ADMINISTRATORS = "Only an administrator may set this: it widens what the jail may do."


class LimitsForm(forms.Form):
    """Limits as Jail.limits has them. Set `user` before __init__.

    `had` are the limits there are already: what widens the jail already may stay.
    """

    user: User
    had: Mapping[str, Any] = DEFAULT_LIMITS

    quota = SizeField(label="Quota", help_text="Like 10 GiB. Empty: as much as the pool has.")
    memory = SizeField(label="Memory", help_text="Like 512 MiB: what is above it is paged out. Empty: no limit.")
    cpu = forms.IntegerField(
        label="CPU, %",
        required=False,
        min_value=LEAST["cpu"],
        max_value=rctl.MOST["cpu"],
        help_text="Of one processor: 200 are two. Empty: no limit.",
    )
    processes = forms.IntegerField(
        label="Processes",
        required=False,
        min_value=LEAST["processes"],
        max_value=rctl.MOST["processes"],
        help_text="At the same time. Empty: no limit.",
    )
    children_max = forms.IntegerField(
        label="Jails inside",
        required=False,
        min_value=0,
        max_value=1000,
        help_text="How many jails it may make in itself.",
    )
    securelevel = forms.ChoiceField(
        label="Securelevel", required=False, choices=SECURELEVELS, help_text="See security(7). Never below the host's."
    )
    enforce_statfs = forms.ChoiceField(
        label="Mounts it sees", required=False, choices=STATFS, help_text="enforce_statfs of jail(8)."
    )

    def clean_quota(self) -> int | None:
        quota: int | None = self.cleaned_data["quota"]
        if quota is not None and not QUOTA_MIN <= quota <= QUOTA_MAX:
            raise forms.ValidationError(f"must be {format_size(QUOTA_MIN)} to {format_size(QUOTA_MAX)}.")
        return quota

    def clean_memory(self) -> int | None:
        memory: int | None = self.cleaned_data["memory"]
        least, most = LEAST["memory"], rctl.MOST["memory"]
        if memory is not None and not least <= memory <= most:
            raise forms.ValidationError(f"must be {format_size(least)} to {format_size(most)}.")
        return memory

    def limits(self) -> dict[str, int | None]:
        data = self.cleaned_data
        return {
            "quota": data.get("quota"),
            **{rule: data.get(rule) for rule in jailfile.RULES if data.get(rule) or self.had.get(rule)},
            "children_max": data.get("children_max") or 0,
            "securelevel": int(data.get("securelevel") or -1),
            "enforce_statfs": int(data.get("enforce_statfs") or 2),
        }

    def refuse_widening(self) -> None:
        """At the field, what the policy would refuse as a whole."""
        if policy.is_administrator(self.user):
            return
        limits, had = self.limits(), {**DEFAULT_LIMITS, **self.had}
        more = {
            "children_max": (limits["children_max"] or 0) > (had["children_max"] or 0),
            "enforce_statfs": (limits["enforce_statfs"] or 0) < (had["enforce_statfs"] or 0),
        }
        for name in more:
            if more[name] and name not in self.errors and jailfile.widened({name: limits[name]}):
                self.add_error(name, ONLY_ADMINISTRATORS)

    @property
    def where(self) -> Host:
        """Its host, for templates: to them `host` is the field of that name."""
        host: Host = self.host  # type: ignore[attr-defined]
        return host

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in DEFAULT_LIMITS if name in self.fields]

    @property
    def limits_wanted(self) -> bool:
        """Whether any limit is not as by default, or wrong: then they are shown."""
        return any(
            field.errors or str(field.value() if field.value() is not None else "") not in _ordinary(field.name)
            for field in self.limit_fields
        )


def counts_limits(host: Host) -> bool:
    """Whether rctl(8) works there, as far as its last refresh tells; unknown is taken for yes."""
    record = HostFactsRecord.objects.filter(host=host).annotate(on=KT("data__sysctls__kern.racct.enable"))
    return record.values_list("on", flat=True).first() in (None, "1")


def _ordinary(name: str) -> tuple[str, str]:
    usual = DEFAULT_LIMITS[name]
    return ("", "" if usual is None else str(usual))


class CreateForm(AddressesForm, LimitsForm):
    """A new jail on `host`. `base` is `release:ID` or `template:ID`; storage is that of the base."""

    parameter_fields = {"release": "base", "template": "base", "storage": "base"}
    """Names of parameters that are fields of another name here."""

    name = CheckedField(names.jail_name_error, label="Name", help_text="Letters, digits, “-” and “_”.")
    base = forms.ChoiceField(label="From")
    kind = forms.ChoiceField(label="Kind", widget=forms.RadioSelect(attrs={"class": "form-check-input"}), choices=[
        ("thin", "Thin: a clone, it takes space only for what differs"),
        ("thick", "Thick: a copy with a tree of its own"),
    ])  # fmt: skip
    hostname = CheckedField(names.hostname_error, label="Hostname", required=False)
    boot = forms.BooleanField(label="Start it when the host boots", required=False)
    start = forms.BooleanField(label="Start it when it is made", required=False)
    tenant = forms.ChoiceField(label="Tenant", required=False)

    def __init__(
        self, user: User, hosts: Iterable[Host], host: Host, data: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self.user, self.host = user, host
        self.bases = bases_of(host, user)
        initial = self._defaults() | dict(options.pop("initial", None) or {})
        super().__init__(data, initial=initial, **options)
        self.fields["host"] = forms.ChoiceField(label="Host", choices=[(one.name, one.name) for one in hosts])
        self.fields["base"].choices = _grouped(self.bases)
        self.fields["name"].widget.attrs["autofocus"] = data is None and not initial.get("name")
        self.tenants = tenants_for(user)
        self.fields["tenant"].choices = [("", "Nobody"), *((str(one.pk), one.name) for one in self.tenants)]
        self.fields["hostname"].help_text = "Empty: the name" + (f" under {self.domain}." if self.domain else ".")
        if not self.has_zfs:
            del self.fields["quota"]
        self.counts_limits = counts_limits(host)

    def _defaults(self) -> dict[str, Any]:
        first = next(iter(self.bases), None)
        return {
            "host": self.host.name,
            "kind": "thin" if first and first.storage == Storage.ZFS else "thick",
            "base": base_value(first) if first else "",
            "boot": True,
            "start": True,
            **DEFAULT_LIMITS,
        }

    @property
    def domain(self) -> str:
        """What the host's own hostname is under; "" where it has no dot."""
        return self.host.hostname.partition(".")[2]

    @property
    def has_zfs(self) -> bool:
        return any(base.storage == Storage.ZFS for base in self.bases) or bool(self.host.pool)

    @property
    def chosen_base(self) -> Release | Template | None:
        value = self["base"].value()
        return next((base for base in self.bases if base_value(base) == value), None)

    @property
    def chosen_tenant(self) -> Tenant | None:
        return next((one for one in self.tenants if str(one.pk) == str(self["tenant"].value())), None)

    def default_hostname(self, name: str) -> str:
        name = name.replace("_", "-")
        return f"{name}.{self.domain}" if self.domain and names.hostname_error(self.domain) is None else name

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        base = self.chosen_base
        if base and base.storage != Storage.ZFS and data.get("kind") == "thin":
            self.add_error("kind", f"{base} is on UFS, where nothing can be cloned: make a thick jail.")
        if data.get("name") and not data.get("hostname") and "hostname" not in self.errors:
            data["hostname"] = self.default_hostname(data["name"])
            if problem := names.hostname_error(data["hostname"]):
                self.add_error("hostname", f"{data['hostname']}, made of the name, {problem} Type another one.")
        self.refuse_widening()
        return data

    def parameters(self) -> dict[str, Any]:
        """As jail_create takes them; also of a form that is not valid, with what is wrong left out."""
        data, base = self.cleaned_data, self.chosen_base
        tenant = self.chosen_tenant
        return {
            "name": data.get("name", ""),
            "kind": data.get("kind", ""),
            "storage": base.storage if base else "",
            "release": base.pk if isinstance(base, Release) else None,
            "template": base.pk if isinstance(base, Template) else None,
            "hostname": data.get("hostname", ""),
            "addresses": self.addresses,
            "boot": data.get("boot", False),
            "start": data.get("start", False),
            "tenant": tenant.pk if tenant else None,
            "limits": self.limits(),
        }


class ChangeForm(AddressesForm, LimitsForm):
    hostname = CheckedField(names.hostname_error, label="Hostname")
    boot = forms.BooleanField(label="Start it when the host boots", required=False)
    snapshot = forms.BooleanField(
        label="Take a snapshot first, where it needs a restart",
        required=False,
        help_text=f"To put its files back to. Of these the last {snapshots.KEPT} are kept.",
    )

    def __init__(self, user: User, jail: Jail, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.user, self.host, self.jail, self.had = user, jail.host, jail, {**DEFAULT_LIMITS, **jail.limits}
        initial = options.pop("initial", None) or values_of(jail)
        super().__init__(data, initial=initial, **options)
        if jail.storage != Storage.ZFS:
            del self.fields["quota"]
        if snapshots.why_none(jail):
            del self.fields["snapshot"]
        else:
            self.fields["snapshot"].initial = plans.has_room_for_snapshot(jail.tenant)
        if jail.adoption:
            # Its commands at start and stop are its administrator's.
            for rule in jailfile.RULES:
                del self.fields[rule]
        self.counts_limits = counts_limits(jail.host)

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        self.refuse_widening()
        return data

    def parameters(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "jail": str(self.jail.uuid),
            "hostname": data["hostname"],
            "addresses": self.addresses,
            "boot": data["boot"],
            "limits": self.limits(),
        } | ({"snapshot": True} if data.get("snapshot") else {})


def values_of(jail: Jail) -> dict[str, Any]:
    """What a jail has, as the form names it."""
    return {
        "hostname": jail.hostname,
        "boot": jail.boot,
        **DEFAULT_LIMITS,
        **{name: value for name, value in jail.limits.items() if name in DEFAULT_LIMITS and value is not None},
        **address_values((address.network_id, address.ip) for address in jail.addresses.all()),
    }


def address_values(addresses: Iterable[tuple[Any, str]]) -> dict[str, str]:
    values = {}
    for number, (network, ip) in enumerate(addresses):
        values |= {f"network-{number}": str(network), f"ip-{number}": ip}
    return values


class RenameForm(forms.Form):
    name = CheckedField(names.jail_name_error, label="New name", help_text="Letters, digits, “-” and “_”.")

    def __init__(self, jail: Jail, *args: Any, **options: Any) -> None:
        self.jail = jail
        super().__init__(*args, **options)
        self.fields["name"].widget.attrs["autofocus"] = True

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name == self.jail.name:
            raise forms.ValidationError("is the name it has already.")
        return name


class DestroyForm(forms.Form):
    name = forms.CharField(label="Type the jail's name to confirm", strip=False)

    def __init__(self, jail: Jail, *args: Any, **options: Any) -> None:
        self.jail = jail
        super().__init__(*args, **options)
        self.fields["name"].widget.attrs |= {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}

    def clean_name(self) -> str:
        if self.cleaned_data["name"].strip(" ") != self.jail.name:
            raise forms.ValidationError(f"Type {self.jail.name}, exactly.")
        return self.jail.name


class GiveForm(forms.Form):
    tenant = forms.ChoiceField(label="Tenant", required=False)

    def __init__(self, user: User, jail: Jail, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        tenants = [tenant for tenant in tenants_for(user) if tenant.pk != jail.tenant_id]
        nobody = [("", "Nobody: it belongs to the host")] if jail.tenant_id else []
        self.fields["tenant"].choices = [*nobody, *((str(one.pk), one.name) for one in tenants)]
        self.fields["tenant"].required = not jail.tenant_id

    def tenant_id(self) -> int | None:
        value = self.cleaned_data["tenant"]
        return int(value) if value else None


def bases_of(host: Host, user: User) -> list[Release | Template]:
    """What a jail on this host can be made from: the newest release first, then templates."""
    releases = policy.visible(user, Release).filter(host=host, state=Base.State.READY)
    templates = policy.visible(user, Template).filter(host=host, state=Base.State.READY).select_related("tenant")
    return [*sorted(releases, key=_age, reverse=True), *templates.order_by("name")]


def _age(release: Release) -> tuple[int, Version]:
    try:
        return 1, Version.parse(release.name)
    except ValueError:
        return 0, Version(0, 0, "CURRENT")


def base_value(base: Release | Template) -> str:
    return f"{'release' if isinstance(base, Release) else 'template'}:{base.pk}"


def _grouped(bases: Iterable[Release | Template]) -> list[tuple[str, list[tuple[str, str]]]]:
    groups: dict[str, list[tuple[str, str]]] = {"Releases": [], "Templates": []}
    for base in bases:
        if isinstance(base, Release):
            groups["Releases"].append((base_value(base), f"{base.name} {base.architecture}"))
        else:
            groups["Templates"].append(
                (base_value(base), f"{base.name}{f' of {base.tenant.name}' if base.tenant else ''}")
            )
    return [(name, choices) for name, choices in groups.items() if choices]


def tenants_for(user: User) -> list[Tenant]:
    """Those a person may hand a jail to."""
    tenants = policy.visible(user, Tenant).filter(archived_at__isnull=True)
    return [tenant for tenant in tenants if policy.allowed(user, "jail.assign", tenant)]
