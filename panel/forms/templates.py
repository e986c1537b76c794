from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from jails.freebsd import names
from jails.models import Jail, User
from panel.forms.fields import CheckedField
from panel.forms.jails import tenants_for


class TemplateForm(forms.Form):
    """A template made from one of `jails`, which are chosen by uuid."""

    jail = forms.ChoiceField(label="From the jail")
    name = CheckedField(names.jail_name_error, label="Name", help_text="Letters, digits, “-” and “_”.")
    tenant = forms.ChoiceField(label="For", required=False)

    def __init__(self, user: User, jails: Iterable[Jail], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.jails = {str(jail.uuid): jail for jail in jails}
        self.fields["jail"].choices = [(uuid, f"{jail.name} on {jail.host.name}") for uuid, jail in self.jails.items()]
        tenants = [(str(tenant.pk), tenant.name) for tenant in tenants_for(user)]
        self.fields["tenant"].choices = [("", "Administrators and operators, until it is published"), *tenants]

    @property
    def chosen(self) -> Jail:
        return self.jails[self.cleaned_data["jail"]]

    def parameters(self) -> dict[str, Any]:
        tenant = self.cleaned_data["tenant"]
        return {
            "jail": str(self.chosen.uuid),
            "name": self.cleaned_data["name"],
            "tenant": int(tenant) if tenant else None,
        }
