"""Where workers may connect to. A name is looked up once, and what it leads to is what is checked and connected to."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = Sequence[IPv4Network | IPv6Network]
"""As CELLBLOCK_HOST_NETWORKS has them. None at all: anywhere."""


class Outside(OSError):
    """None of the addresses is in the networks; the message is a sentence that says what to do."""


def why_not(address: str, networks: Networks) -> str:
    """Why workers connect to no such IP address: a sentence, or "". A name can be told only when it is looked up."""
    if not networks:
        return ""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if any(found in network for network in networks):
        return ""
    allowed = ", ".join(map(str, networks))
    return f"{address} is outside of {allowed}, where workers are held to (CELLBLOCK_HOST_NETWORKS)."


def connect(address: str, port: int, timeout: float, networks: Networks) -> socket.socket:
    """A TCP connection, to the first address that answers. timeout: seconds for each. Raises OSError."""
    if not networks:
        return socket.create_connection((address, port), timeout)
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    places = list(dict.fromkeys(str(one[4][0]) for one in found))
    inside = [place for place in places if not why_not(place, networks)]
    if not inside:
        raise Outside(why_not(places[0], networks))
    for place in inside[:-1]:
        try:
            return socket.create_connection((place, port), timeout)
        except OSError:
            continue
    return socket.create_connection((inside[-1], port), timeout)
