from __future__ import annotations

from typing import Any

from django import forms

from jails.freebsd import names
from jails.models import Host, User

ROLES = [
    (User.Role.ADMINISTRATOR.value, "Administrator: may do everything"),
    (User.Role.OPERATOR.value, "Operator: runs the hosts chosen below"),
    (User.Role.AUDITOR.value, "Auditor: sees everything, changes nothing"),
    (User.Role.NONE.value, "None: what their teams give them"),
]


class RoleForm(forms.Form):
    """What a person may do in the whole panel."""

    role = forms.ChoiceField(
        label="Role in the panel",
        choices=ROLES,
        required=False,
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
    )
    operated_hosts = forms.ModelMultipleChoiceField(
        label="Hosts of an operator",
        queryset=Host.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["operated_hosts"].queryset = Host.objects.all()

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("role") != User.Role.OPERATOR:
            data["operated_hosts"] = Host.objects.none()
        elif "operated_hosts" in data and not data["operated_hosts"]:
            self.add_error("operated_hosts", "Choose the hosts this operator runs, one at least.")
        return data


class InvitePersonForm(RoleForm):
    label = forms.CharField(
        label="For whom",
        max_length=100,
        help_text="A name or address, so that you know later whom this link was for. They choose their user name.",
    )
    field_order = ("label", "role", "operated_hosts")

    def clean_label(self) -> str:
        return checked_label(self.cleaned_data["label"])


def checked_label(value: str) -> str:
    problem = names.text_error(value, 200)
    if problem:
        raise forms.ValidationError(f"It {problem}")
    return value
