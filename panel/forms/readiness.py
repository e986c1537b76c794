from __future__ import annotations

from typing import Any

from django import forms

from jails.models import Host
from jails.readiness import Look


class SshdForm(forms.Form):
    """Which of the host's own addresses sshd listens on."""

    addresses = forms.MultipleChoiceField(
        label="sshd listens on",
        widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
        help_text="Addresses of the host that belong to no jail. The one the panel uses must stay.",
        error_messages={"required": "Choose an address: on none of them nobody could sign in, the panel least of all."},
    )

    def __init__(self, host: Host, look: Look, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = look.own_addresses()
        field = self.fields["addresses"]
        field.choices = [(ip, f"{ip} (the panel's way)" if ip == host.address else ip) for ip in own]
        field.initial = [host.address] if host.address in own else own

    @property
    def parameters(self) -> dict[str, Any]:
        return {"addresses": self.cleaned_data["addresses"]}


class SyslogdForm(forms.Form):
    """Whether syslogd opens a socket at all."""

    address = forms.ChoiceField(
        label="syslogd listens",
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
        required=False,
        initial="",
    )

    def __init__(self, host: Host, look: Look, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = [(ip, f"On {ip}, to send from there or to receive what -a allows") for ip in look.own_addresses()]
        self.fields["address"].choices = [("", "Nowhere (-ss): what happens here is logged here"), *own]

    @property
    def parameters(self) -> dict[str, Any]:
        return {"address": self.cleaned_data["address"]}


FORMS: dict[str, type[SshdForm] | type[SyslogdForm]] = {"sshd": SshdForm, "syslogd": SyslogdForm}
"""Fixes that have to be told something."""
