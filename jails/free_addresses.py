"""Which networks a jail on a host can have an address of, and which of their addresses nobody is known to have."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from django.db.models import Q

from jails.freebsd import names
from jails.models import Host, Network, ObservedAddress

SCANNED = 4096
"""Addresses looked at for a free one."""


def networks_of(host: Host) -> list[Network]:
    """Those a jail on this host can have an address of; first the ones the host itself is in."""
    networks = list(Network.objects.filter(Q(host__isnull=True) | Q(host=host)))
    own = set(ObservedAddress.objects.filter(host=host).values_list("ip", flat=True))
    return sorted(networks, key=lambda network: (not _is_in(network, own), network.name))


def _is_in(network: Network, ips: Iterable[str]) -> bool:
    cidr = ipaddress.ip_network(network.cidr)
    return any(ipaddress.ip_address(ip) in cidr for ip in ips)


def next_free(host: Host, network: Network, taken: Iterable[str] = ()) -> str:
    """The next address behind the host's own that nobody is known to have; "" when none was found in reach.

    A suggestion: the plan looks at what the host really has. The first address of a network is left to its router.
    """
    return next(free(host, network, taken), "")


def free(host: Host, network: Network, taken: Iterable[str] = ()) -> Iterator[str]:
    """All within reach, in the order in which `next_free` takes them."""
    cidr = ipaddress.ip_network(network.cidr)
    seen = ObservedAddress.objects.all() if network.host_id is None else ObservedAddress.objects.filter(host=host)
    used = {ipaddress.ip_address(ip) for ip in seen.values_list("ip", flat=True)}
    own = [ip for ip in (ipaddress.ip_address(row.ip) for row in seen.filter(host=host, jail_name="")) if ip in cidr]
    used |= {ipaddress.ip_address(ip) for ip in network.addresses.values_list("ip", flat=True)}
    used |= {ipaddress.ip_address(ip) for ip in taken if address_error(ip) is None}
    first, last = int(cidr.network_address) + 2, int(cidr.broadcast_address) - 1
    if cidr.num_addresses <= 4:
        first, last = int(cidr.network_address), int(cidr.broadcast_address)
    start = min((int(ip) + 1 for ip in own), default=first)
    for number in [*range(start, min(last + 1, start + SCANNED)), *range(first, min(start, first + SCANNED))]:
        candidate = type(cidr.network_address)(number)
        if candidate not in used:
            yield str(candidate)


def is_at_the_end(network: Network, ip: str) -> bool:
    """Whether it is the last address, where some networks have their router."""
    cidr = ipaddress.ip_network(network.cidr)
    return cidr.num_addresses > 4 and int(ipaddress.ip_address(ip)) >= int(cidr.broadcast_address) - 1


def address_error(value: str) -> str | None:
    """What is wrong with an address typed without a prefix length, or None."""
    check = names.ip6_error if ":" in value else names.ip4_error
    return check(value) or ("must be without a prefix length." if "/" in value else None)
