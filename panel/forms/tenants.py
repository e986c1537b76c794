from __future__ import annotations

from typing import Any

from django import forms

from jails.freebsd import names
from jails.models import Jail, Membership, Tenant
from panel.forms.people import checked_label

ROLES = [
    (Membership.Role.OWNER.value, "Owner: invites and manages the team too"),
    (Membership.Role.MEMBER.value, "Member: starts, stops and restarts the jails"),
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
        return slug


class InviteMemberForm(forms.Form):
    label = forms.CharField(
        label="For whom",
        max_length=100,
        help_text="A name or address, so that you know later whom this link was for. They choose their user name.",
    )
    role = forms.ChoiceField(
        label="Role in the team",
        choices=ROLES,
        initial=Membership.Role.MEMBER,
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
    )

    def clean_label(self) -> str:
        return checked_label(self.cleaned_data["label"])


class MemberForm(forms.Form):
    role = forms.ChoiceField(
        label="Role in the team", choices=ROLES, widget=forms.RadioSelect(attrs={"class": "form-check-input"})
    )


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
