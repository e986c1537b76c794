"""What a tenant is asked to make a jail, or to change how large it is: few fields, all else is chosen for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django import forms

from jails import plans, policy, selfservice
from jails.freebsd import logins, names, rctl
from jails.models import Jail, SshKey, Tenant, TenantPlan, User
from jails.operations import jailfile
from jails.operations.wish import LEAST, QUOTA_MAX, QUOTA_MIN
from panel.forms.fields import CheckedField, SizeField, format_size

LABELS = {"quota": "Disk", "memory": "Memory", "cpu": "CPU, %", "processes": "Processes"}
BYTES = ("quota", "memory")
BOUNDS = {"quota": (QUOTA_MIN, QUOTA_MAX), **{rule: (LEAST[rule], rctl.MOST[rule]) for rule in jailfile.RULES}}


def limit_field(limit: str, help_text: str, *, required: bool) -> forms.Field:
    """For one limit of a jail, as Jail.limits has it."""
    low, high = BOUNDS[limit]
    if limit not in BYTES:
        return forms.IntegerField(
            label=LABELS[limit], required=required, min_value=low, max_value=high, help_text=help_text
        )
    field = SizeField(label=LABELS[limit], help_text=help_text)
    field.required = required
    return field


def refuse_out_of_bounds(form: forms.Form, limit: str, value: int | None) -> None:
    low, high = BOUNDS[limit]
    if limit in BYTES and value is not None and not low <= value <= high:
        form.add_error(limit, f"must be {format_size(low)} to {format_size(high)}.")


class MakeForm(forms.Form):
    """A jail of a tenant. `limits` are asked for where its plan has one: then each jail needs a share of it."""

    label = CheckedField(
        selfservice.label_error, label="Name", help_text="What it is called, like blog or blog.example.org."
    )
    base = forms.ChoiceField(label="From")
    login = CheckedField(logins.login_error, label="Login", required=False)
    keys = forms.MultipleChoiceField(
        label="Your keys",
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
    )

    def __init__(
        self, user: User, tenant: Tenant, plan: TenantPlan, data: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self.user, self.tenant, self.plan = user, tenant, plan
        self.left = selfservice.sizes(plan)
        self.bases = selfservice.bases(plan)
        keys = list(SshKey.objects.filter(user=user)) if policy.allowed(user, "jail.keys", tenant) else []
        initial = {
            "login": default_login(user),
            "keys": [key.fingerprint for key in keys],
            **{limit: offered(limit, left) for limit, left in self.left.items()},
        }
        super().__init__(data, initial=initial | dict(options.pop("initial", None) or {}), **options)
        self.fields["label"].widget.attrs["autofocus"] = data is None
        self.fields["base"].choices = self.bases
        for limit, left in self.left.items():
            thing = selfservice.THINGS[limit]
            words = f"Your plan has {plans.shown(thing, left)} left."
            self.fields[limit] = limit_field(limit, words, required=True)
        self.may_have_keys = policy.allowed(user, "jail.keys", tenant)
        self.fields["login"].help_text = "An account inside, in the group wheel and without a password, for ssh."
        self.fields["keys"].choices = [(key.fingerprint, f"{key.name} ({key.type})") for key in keys]
        if not keys:
            del self.fields["login"], self.fields["keys"]

    @property
    def limit_fields(self) -> Iterator[forms.BoundField]:
        return (self[limit] for limit in self.left)

    def clean_label(self) -> str:
        label: str = self.cleaned_data["label"]
        problem = names.jail_name_error(selfservice.name_of(self.tenant, label))
        if problem:
            raise forms.ValidationError("is too long: use a shorter one." if len(label) > 20 else problem)
        return label

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for limit in self.left:
            refuse_out_of_bounds(self, limit, data.get(limit))
        if data.get("keys") and not data.get("login") and "login" not in self.errors:
            self.add_error("login", "Which login shall your keys open?")
        return data

    def wanted(self) -> selfservice.Wanted:
        data = self.cleaned_data
        keys = data.get("keys")
        access = {"login": data["login"], "person": self.user.pk, "keys": keys} if keys else None
        limits = {limit: data[limit] for limit in self.left}
        return selfservice.Wanted(data["label"], data["base"], limits, access)


def default_login(user: User) -> str:
    """The person's own name where a login may be called so."""
    name = re.sub(r"[^a-z0-9_-]", "", user.username.lower())[:32]
    return "" if logins.login_error(name) else name


def offered(limit: str, left: int) -> int | str:
    low, high = BOUNDS[limit]
    most = min(left, high, selfservice.QUOTA_OFFERED if limit == "quota" else max(low, left // 2))
    most = most >> 20 << 20 if limit in BYTES else most
    return most if most >= low else ""


def _to_come(jail: Jail, limit: str) -> str:
    value = jail.allotted.get(limit)
    if value is None or value == jail.limits.get(limit):
        return ""
    shown = plans.shown(selfservice.THINGS[limit], value)
    return f"By a change of the plan it is to have {shown}, as soon as its host is told. "


class SizeForm(forms.Form):
    """How much a jail may have, and whether it starts with its host: what its tenant may change by itself."""

    boot = forms.BooleanField(label="Start it when its host starts", required=False)

    def __init__(self, user: User, jail: Jail, data: Mapping[str, Any] | None = None) -> None:
        self.jail = jail
        self.had = {limit: jail.limits.get(limit) for limit in selfservice.THINGS}
        super().__init__(data, initial={"boot": jail.boot, **self.had})
        if not policy.allowed(user, "jail.power", jail):
            del self.fields["boot"]
        self.limits = selfservice.resizable(jail) if policy.allowed(user, "jail.resize", jail) else {}
        plan = plans.plan_of(jail.tenant) if jail.tenant is not None else None
        left = selfservice.sizes(plan, jail.host) if plan is not None else {}
        for limit, grows in self.limits.items():
            unlimited = self.had[limit] is None
            words = ("It has no limit now. " if unlimited else "") + _to_come(jail, limit)
            if grows:
                words += f"The plan has {plans.shown(selfservice.THINGS[limit], left[limit])} left."
            else:
                words += (
                    "Once it has one, only staff can give it more." if unlimited else "Only staff can give it more."
                )
            self.fields[limit] = limit_field(limit, words, required=not unlimited)

    @property
    def limit_fields(self) -> Iterator[forms.BoundField]:
        return (self[limit] for limit in self.limits)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for limit, grows in self.limits.items():
            if limit in self.errors:
                continue
            refuse_out_of_bounds(self, limit, data.get(limit))
            old, new = self.had[limit], data.get(limit)
            if not grows and old is not None and (new is None or new > old):
                self.add_error(limit, "Only staff can give it more: ask your administrator.")
        return data

    def parameters(self) -> dict[str, Any]:
        """All of jail_change, as it is but for what is asked here."""
        data, jail = self.cleaned_data, self.jail
        fixed = {"quota": None, **selfservice.NARROW, **jail.limits}
        return {
            "jail": str(jail.uuid),
            "hostname": jail.hostname,
            "addresses": [{"network": one.network_id, "ip": one.ip} for one in jail.addresses.filter(operation=None)],
            "boot": data.get("boot", jail.boot),
            "limits": fixed | {limit: data[limit] for limit in self.limits if data[limit] != self.had[limit]},
        }
