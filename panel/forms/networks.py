from __future__ import annotations

import ipaddress
from typing import Any

from django import forms

from jails.freebsd import names
from jails.models import Network


class NetworkForm(forms.ModelForm):
    class Meta:
        model = Network
        fields = ["name", "cidr", "host", "interface"]
        labels = {"cidr": "Addresses", "host": "Private to"}
        help_texts = {
            "cidr": "As 192.0.2.0/24 or 2001:db8::/64: the panel gives jails addresses from it.",
            "host": "Empty: shared by all hosts, each address only once. A private network may repeat on other hosts.",
            "interface": "Where its addresses go. Empty: each host's own interface for jails.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["host"].empty_label = "No host: shared by all"

    def clean_name(self) -> str:
        return self._checked(names.jail_name_error, "name")

    def clean_interface(self) -> str:
        return self._checked(names.interface_error, "interface")

    def clean_cidr(self) -> str:
        try:
            network = ipaddress.ip_network(self.cleaned_data["cidr"])
        except ValueError as error:
            raise forms.ValidationError(f"Expected a network like 192.0.2.0/24: {error}.") from error
        return str(network)

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if not data.get("cidr"):
            return data
        mine = ipaddress.ip_network(data["cidr"])
        for other in Network.objects.exclude(pk=self.instance.pk).filter(host=data.get("host")):
            theirs = ipaddress.ip_network(other.cidr)
            if mine.version == theirs.version and mine.overlaps(theirs):
                self.add_error("cidr", f"Overlaps {other.name} ({other.cidr}): an address must belong to one network.")
        return data

    def _checked(self, check: Any, field: str) -> str:
        value: str = self.cleaned_data[field]
        problem = check(value) if value else None
        if problem:
            raise forms.ValidationError(problem)
        return value
