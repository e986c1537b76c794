from __future__ import annotations

import ipaddress
from typing import Any

from django import forms

from jails.freebsd import names
from jails.models import Network
from panel.forms.fields import CheckedField


def cidr_error(value: str) -> str | None:
    """What is wrong with a network's addresses as 192.0.2.0/24, or None."""
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        return _as_network(value) or "is no network; expected one like 192.0.2.0/24 or 2001:db8::/64."
    if network.prefixlen == 0:
        return "is every address there is; expected a network like 192.0.2.0/24."
    if network.is_multicast:
        return "is for multicast; no jail can have an address of it."
    return None


def _as_network(value: str) -> str | None:
    """The hint for an address of a host with the network's length."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None
    return f"names an address in a network; the network itself is {network}."


class NetworkForm(forms.ModelForm):
    name = CheckedField(names.jail_name_error, help_text="What the panel calls it: letters, digits and dashes.")
    cidr = CheckedField(
        cidr_error,
        label="Addresses",
        help_text="As 192.0.2.0/24 or 2001:db8::/64: the panel gives jails addresses from it.",
    )
    interface = CheckedField(
        names.interface_error,
        required=False,
        help_text="Where its addresses go. Empty: each host's own interface for jails.",
    )

    class Meta:
        model = Network
        fields = ["name", "cidr", "host", "interface"]
        labels = {"host": "Private to"}
        help_texts = {
            "host": "Empty: shared by all hosts, each address only once. A private network may repeat on other hosts.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["host"].empty_label = "No host: shared by all"

    def clean_cidr(self) -> str:
        return str(ipaddress.ip_network(self.cleaned_data["cidr"]))

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if not data.get("cidr") or "host" in self.errors:
            return data
        mine = ipaddress.ip_network(data["cidr"])
        for other in Network.objects.exclude(pk=self.instance.pk).filter(host=data.get("host")):
            theirs = ipaddress.ip_network(other.cidr)
            if mine.version == theirs.version and mine.overlaps(theirs):
                self.add_error("cidr", f"Overlaps {other.name} ({other.cidr}): an address must belong to one network.")
        return data
