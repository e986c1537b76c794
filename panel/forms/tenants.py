from __future__ import annotations

from typing import Any

from django import forms

from jails.freebsd import names
from jails.models import Host, Jail, Membership, Network, Release, Right, Template, Tenant, TenantPlan
from jails.operations.wish import QUOTA_MAX
from jails.plans import COUNTED, USABLE
from panel.forms.fields import SizeField, format_size
from panel.forms.people import checked_label

ROLES = [
    (Membership.Role.OWNER.value, "Owner: everything, and the team"),
    (Membership.Role.MANAGER.value, "Manager: everything with the jails, not the team"),
    (Membership.Role.MEMBER.value, "Member: what is ticked below, or granted jail by jail"),
    (Membership.Role.VIEWER.value, "Viewer: sees, and changes nothing"),
]
NOBODY = "nobody"


class TenantForm(forms.ModelForm):
    class Meta:
        model = Tenant
        fields = ["name", "slug"]
        labels = {"slug": "Short name"}
        help_texts = {
            "name": "As people write it.",
            "slug": "Part of datasets and of this panel's addresses, never changed: lower case letters, digits, “-”.",
        }

    def clean_name(self) -> str:
        return checked_label(self.cleaned_data["name"])

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        problem = names.tenant_error(slug)
        if problem:
            raise forms.ValidationError(f"It {problem}")
        for other in Tenant.objects.values_list("slug", flat=True):
            # Their jails would have names of each other: those that a tenant makes begin with its short name and “-”.
            if slug.startswith(f"{other}-") or other.startswith(f"{slug}-"):
                raise forms.ValidationError(f"It and {other} begin alike up to a “-”: choose another.")
        return slug


class RightsField(forms.MultipleChoiceField):
    def __init__(self, **options: Any) -> None:
        ticks = forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"})
        super().__init__(choices=Right.choices, required=False, widget=ticks, **options)


class MemberForm(forms.Form):
    """What somebody may do in a team; rights are those of a member, and none of anybody else."""

    role = forms.ChoiceField(
        label="Role in the team",
        choices=ROLES,
        initial=Membership.Role.MEMBER,
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
    )
    rights = RightsField(label="A member may, on all jails of the team", initial=[Right.POWER])

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("role") != Membership.Role.MEMBER:
            data["rights"] = []
        return data


class InviteMemberForm(MemberForm):
    label = forms.CharField(
        label="For whom",
        max_length=100,
        help_text="A name or address, so that you know later whom this link was for. They choose their user name.",
    )
    field_order = ("label", "role", "rights")

    def clean_label(self) -> str:
        return checked_label(self.cleaned_data["label"])


ON_ONE = [choice for choice in Right.choices if choice[0] != Right.CREATE]
"""Making jails is about none of those there are."""


class GrantForm(forms.Form):
    """What a member may do with one jail, beside what they may with all."""

    jail = forms.ModelChoiceField(
        label="Jail", queryset=Jail.objects.none(), to_field_name="uuid", empty_label="Choose a jail"
    )
    rights = RightsField(label="The member may, on this one")

    def __init__(self, tenant: Tenant, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, auto_id="grant_%s", **kwargs)
        self.fields["jail"].queryset = Jail.objects.filter(tenant=tenant).order_by("name")
        self.fields["rights"].choices = ON_ONE


class ArchiveForm(forms.Form):
    """Who gets each jail of a tenant: `to` for all, a field a jail for another choice."""

    to = forms.ChoiceField(label="Its jails go to")

    def __init__(self, tenant: Tenant, jails: list[Jail], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.jails = jails
        heirs = Tenant.objects.filter(archived_at__isnull=True).exclude(pk=tenant.pk)
        self.heirs = {str(heir.pk): heir for heir in heirs}
        choices = [(NOBODY, "nobody: only staff see them"), *((pk, heir.name) for pk, heir in self.heirs.items())]
        self.fields["to"].choices = choices
        for jail in jails:
            self.fields[field_of(jail)] = forms.ChoiceField(
                label=f"{jail.name} on {jail.host.name}", choices=[("", "as chosen above"), *choices], required=False
            )

    def heir_of(self, jail: Jail) -> Tenant | None:
        """Who gets it; None: nobody."""
        chosen = self.cleaned_data.get(field_of(jail)) or self.cleaned_data["to"]
        return self.heirs.get(chosen)


def field_of(jail: Jail) -> str:
    return f"to_{jail.uuid}"


THINGS = ("hosts", "networks", "templates", "releases")
MANY = 2**31 - 1


class PlanForm(forms.Form):
    """What a tenant may have. A number that is empty is no limit; of each sort of thing any may be used, or those
    that are ticked."""

    jails = forms.IntegerField(label="Jails", required=False, min_value=0, max_value=MANY)
    disk = SizeField(label="Disk", help_text="The quotas of all its jails together, like 100 GiB. Each then needs one.")
    addresses = forms.IntegerField(label="Addresses", required=False, min_value=0, max_value=MANY)
    memory = SizeField(label="Memory", help_text="The limits of all its jails together, like 8 GiB. Each needs one.")
    cpu = forms.IntegerField(
        label="CPU, %",
        required=False,
        min_value=1,
        max_value=MANY,
        help_text="Likewise, of one processor: 200 are two.",
    )
    processes = forms.IntegerField(
        label="Processes", required=False, min_value=1, max_value=MANY, help_text="Likewise."
    )
    snapshots = forms.IntegerField(label="Snapshots", required=False, min_value=0, max_value=MANY)

    def __init__(self, plan: TenantPlan | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, initial=_initial(plan), **kwargs)
        rows = {
            "hosts": Host.objects.order_by("name"),
            "networks": Network.objects.select_related("host").order_by("name"),
            "templates": Template.objects.filter(tenant=None).select_related("host").order_by("name", "host__name"),
            "releases": Release.objects.select_related("host").order_by("-name", "host__name"),
        }
        for things in THINGS:
            self.fields[USABLE[things]] = forms.BooleanField(label=f"Any {things.removesuffix('s')}", required=False)
            self.fields[things] = _Several(rows[things], label=f"Only these {things}")

    @property
    def counted(self) -> list[forms.BoundField]:
        return [self[thing] for thing in COUNTED]

    @property
    def numbers(self) -> dict[str, int | None]:
        """How much of each thing; of a valid form."""
        return {thing: self.cleaned_data[thing] for thing in COUNTED}

    @property
    def usable(self) -> list[tuple[str, forms.BoundField, forms.BoundField]]:
        return [(things, self[USABLE[things]], self[things]) for things in THINGS]

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        for things in THINGS:
            if not data.get(USABLE[things]) and not data.get(things) and things not in self.errors:
                self.add_error(things, f"Tick the {things} that may be used, or “Any {things.removesuffix('s')}”.")
        return data

    def clean_disk(self) -> int | None:
        return _checked_size(self.cleaned_data["disk"])

    def clean_memory(self) -> int | None:
        return _checked_size(self.cleaned_data["memory"])

    def save(self, plan: TenantPlan) -> None:
        for name in (*COUNTED, *USABLE.values()):
            setattr(plan, name, self.cleaned_data[name])
        plan.save()
        for things in THINGS:
            chosen = [] if self.cleaned_data[USABLE[things]] else self.cleaned_data[things]
            getattr(plan, things).set(chosen)


class _Several(forms.ModelMultipleChoiceField):
    def __init__(self, rows: Any, **options: Any) -> None:
        widget = forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"})
        super().__init__(rows, required=False, widget=widget, **options)

    def label_from_instance(self, row: Any) -> str:
        return with_host(row)


def with_host(row: Any) -> str:
    """What a plan names, with the host where it is on one."""
    host = getattr(row, "host", None)
    return f"{row} on {host}" if host is not None else str(row)


def _initial(plan: TenantPlan | None) -> dict[str, Any]:
    if plan is None:
        return dict.fromkeys(USABLE.values(), True)
    values: dict[str, Any] = {name: getattr(plan, name) for name in (*COUNTED, *USABLE.values())}
    return values | {things: [row.pk for row in getattr(plan, things).all()] for things in THINGS}


def _checked_size(size: int | None) -> int | None:
    if size is not None and size > QUOTA_MAX:
        raise forms.ValidationError(f"must be {format_size(QUOTA_MAX)} at most.")
    return size
