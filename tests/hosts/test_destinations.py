"""Where workers may connect to."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import pytest

from jails.hosts import destinations
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.hosts.ssh import scan_host_key

NETWORKS = [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]


@pytest.mark.parametrize("address", ["192.0.2.9", "2001:db8::9", "::ffff:192.0.2.9", "host.example.org"])
def test_inside_or_not_known_yet(address):
    assert destinations.why_not(address, NETWORKS) == ""


@pytest.mark.parametrize("address", ["192.0.3.9", "127.0.0.1", "::1", "::ffff:169.254.169.254", "fe80::1%lo"])
def test_outside(address):
    assert address in destinations.why_not(address, NETWORKS)
    assert "192.0.2.0/24, 2001:db8::/32" in destinations.why_not(address, NETWORKS)
    assert destinations.why_not(address, []) == ""


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def name_leads_to(monkeypatch, *addresses):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **values: found)


def test_nothing_is_sent_to_where_a_name_leads_outside(listening, monkeypatch):
    name_leads_to(monkeypatch, "127.0.0.1")
    with pytest.raises(HostUnavailable, match=r"outside of 192.0.2.0/24.*Nothing was sent") as raised:
        scan_host_key("host.example.org", listening.getsockname()[1], networks=NETWORKS)
    assert raised.value.reason == Unavailable.UNREACHABLE
    with pytest.raises(TimeoutError):
        listening.accept()


def test_of_several_addresses_those_inside_are_tried_one_after_the_other(listening, monkeypatch):
    tried, port = [], listening.getsockname()[1]

    def create(place, timeout):
        tried.append(place[0])
        if place[0] == "127.0.0.2":
            raise ConnectionRefusedError
        sock = socket.socket()
        sock.connect(place)
        return sock

    name_leads_to(monkeypatch, "192.0.2.9", "127.0.0.2", "127.0.0.1")
    monkeypatch.setattr(socket, "create_connection", create)
    with destinations.connect("host.example.org", port, 5, [ip_network("127.0.0.0/8")]):
        listening.accept()[0].close()
    assert tried == ["127.0.0.2", "127.0.0.1"]
