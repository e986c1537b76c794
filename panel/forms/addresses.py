"""Rows of a form, each a network and an address in it: as many as there are, and one more when asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django import forms

from jails.free_addresses import address_error, networks_of, next_free
from jails.models import Host, Network
from panel.forms.fields import CheckedField

MOST = 16
"""Addresses of one jail."""


class Row(NamedTuple):
    network: forms.BoundField
    ip: forms.BoundField
    free: str
    """The address it gets when none is typed; "" where there is none, or no network yet."""


class AddressesForm(forms.Form):
    """Fields `network-N` and `ip-N`. An empty network is no address, an empty address the next free one of its network.

    Set `host` before __init__. Afterwards `addresses` is what was asked for: [{"network": id, "ip": text}].
    """

    host: Host

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.networks = networks_of(self.host)
        self.addresses: list[dict[str, Any]] = []
        self.row_of_ip: dict[str, int] = {}
        source = data if data is not None else self.initial
        self.row_count = min(MOST, max(count_rows(source) + ("more" in source), 1))
        for number in range(self.row_count):
            self._add_row(number)

    def _add_row(self, number: int) -> None:
        choices = [("", "No address"), *((str(one.pk), f"{one.name} {one.cidr}") for one in self.networks)]
        network = forms.ChoiceField(label="Network", required=False, choices=choices)
        address = CheckedField(address_error, label="Address", required=False)
        self.fields[f"network-{number}"], self.fields[f"ip-{number}"] = network, address

    @property
    def rows(self) -> list[Row]:
        found, promised = [], set(self._typed())
        for number in range(self.row_count):
            network, ip = self[f"network-{number}"], self[f"ip-{number}"]
            chosen = self._network(network.value())
            free = next_free(self.host, chosen, promised) if chosen and not ip.value() else ""
            promised.add(free)
            ip.help_text = f"Empty: the next free one, {free}." if free else ""
            found.append(Row(network, ip, free))
        return found

    @property
    def can_have_more(self) -> bool:
        return bool(self.networks) and self.row_count < MOST

    def _typed(self) -> Iterable[str]:
        return (str(self[f"ip-{number}"].value() or "") for number in range(self.row_count))

    def _network(self, value: Any) -> Network | None:
        return next((one for one in self.networks if str(one.pk) == str(value)), None)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        taken = {data.get(f"ip-{number}") or "" for number in range(self.row_count)}
        self.addresses, self.row_of_ip = [], {}
        for number in range(self.row_count):
            network, ip = self._network(data.get(f"network-{number}")), data.get(f"ip-{number}", "")
            if network is None:
                if ip and f"network-{number}" not in self.errors:
                    self.add_error(f"network-{number}", "Choose the network that the address is in.")
                continue
            if f"ip-{number}" in self.errors:
                continue
            ip = ip or next_free(self.host, network, taken)
            if not ip:
                self.add_error(f"ip-{number}", f"{network} has no free address that could be found: type one.")
                continue
            ip = str(ipaddress.ip_address(ip))
            if ip in self.row_of_ip:
                self.add_error(f"ip-{number}", f"{ip} stands here twice.")
                continue
            taken.add(ip)
            self.row_of_ip[ip] = number
            self.addresses.append({"network": network.pk, "ip": ip})
        return data

    def address_field(self, problem: str) -> str:
        """The field of the address that a message about addresses names; the first row's where it names none."""
        words = {word.strip("“”‘’'\",:;()") for word in problem.replace(". ", " ").split()}
        words |= {word.rstrip(".") for word in words}
        number = next((number for ip, number in self.row_of_ip.items() if ip in words), 0)
        return f"ip-{number}"


def count_rows(source: Mapping[str, Any]) -> int:
    """How many rows a posted form, an address or initial values have."""
    return next((number for number in range(MOST) if f"network-{number}" not in source), MOST)
