from __future__ import annotations

from pathlib import Path

import pytest

from jails.hosts.simulated import network

from .machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "host", directories=["/jail"])


def test_epair_units_are_the_next_free_ones(machine: Machine) -> None:
    for wanted in ("epair0a", "epair1a"):
        assert machine.run("ifconfig", "epair", "create").out == f"{wanted}\n"
    machine.run("ifconfig", "epair0a", "destroy")
    assert machine.run("ifconfig", "epair", "create").out == "epair0a\n"


def test_both_ends_go_together(machine: Machine) -> None:
    machine.run("ifconfig", "epair", "create")
    machine.run("ifconfig", "epair0b", "destroy")
    assert machine.run("ifconfig", "-l").out == "em0 lo0\n"


def test_a_name_has_fifteen_characters_at_most(machine: Machine) -> None:
    machine.run("ifconfig", "epair", "create")
    assert machine.run("ifconfig", "epair0a", "name", "a" * 15).rc == 0
    outcome = machine.run("ifconfig", "epair0b", "name", "b" * 16)
    assert (outcome.rc, outcome.err) == (1, "ifconfig: ioctl SIOCSIFNAME (set name): File name too long\n")


def test_a_failed_rename_leaves_what_was_made(machine: Machine) -> None:
    machine.run("ifconfig", "bridge", "create", "name", "cb0")
    outcome = machine.run("ifconfig", "bridge", "create", "name", "cb0")
    assert (outcome.rc, outcome.out) == (1, "bridge1\n")
    assert "bridge1" in machine.run("ifconfig", "-l").out


def test_without_alias_the_first_address_is_replaced(machine: Machine) -> None:
    machine.run("ifconfig", "em0", "inet", "192.0.2.9/24")
    assert "192.0.2.2 " not in machine.run("ifconfig", "em0").out


def test_an_address_is_on_one_interface_only(machine: Machine) -> None:
    machine.run("ifconfig", "lo1", "create")
    outcome = machine.run("ifconfig", "lo1", "inet", "192.0.2.2/32", "alias")
    assert (outcome.rc, outcome.err) == (1, "ifconfig: ioctl (SIOCAIFADDR): File exists\n")


def test_a_member_belongs_to_one_bridge(machine: Machine) -> None:
    for _ in range(2):
        machine.run("ifconfig", "bridge", "create")
    machine.run("ifconfig", "bridge0", "addm", "em0")
    assert machine.run("ifconfig", "bridge1", "addm", "em0").err == "ifconfig: BRDGADD em0: Device busy\n"


def test_addresses_do_not_survive_a_move(machine: Machine) -> None:
    machine.run("ifconfig", "epair", "create")
    machine.run("ifconfig", "epair0b", "inet", "198.51.100.1/24")
    machine.run("jail", "-c", "name=a", "path=/", "vnet", "persist")
    machine.run("ifconfig", "epair0b", "vnet", "a")
    assert "inet 198" not in machine.run("jexec", "a", "ifconfig", "epair0b").out


def test_a_shared_stack_shows_a_jail_its_own_addresses(machine: Machine) -> None:
    machine.run("ifconfig", "em0", "inet", "192.0.2.10/32", "alias")
    machine.run("jail", "-c", "name=a", "path=/", "ip4.addr=192.0.2.10", "persist")
    shown = machine.run("jexec", "a", "ifconfig", "em0").out
    assert "192.0.2.10" in shown and "192.0.2.2 " not in shown


def test_a_made_interface_ends_with_the_jail_it_was_made_in(machine: Machine) -> None:
    machine.run("jail", "-c", "name=a", "path=/", "vnet", "persist")
    assert machine.run("jexec", "a", "ifconfig", "epair", "create").out == "epair0a\n"
    machine.run("jail", "-r", "a")
    assert machine.run("ifconfig", "-l").out == "em0 lo0\n"


@pytest.mark.parametrize(
    "words", ["inet 300.1.1.1 alias", "inet 192.0.2.1/33 alias", "inet nosuchhost", "inet6 ::g/64"]
)
def test_bad_addresses_are_refused(machine: Machine, words: str) -> None:
    outcome = machine.run("ifconfig", "em0", *words.split())
    assert outcome.rc == 1 and "bad value" in outcome.err


def test_lower_up_is_shown_since_14(tmp_path: Path) -> None:
    for release, wanted in (("14.2-RELEASE", "LOWER_UP"), ("13.2-RELEASE", "MULTICAST>")):
        machine = Machine(tmp_path / release, release=release)
        assert wanted in machine.run("ifconfig", "em0").out.splitlines()[0]


def test_link_local_addresses_come_from_the_mac() -> None:
    assert network.link_local("52:54:00:12:34:56") == "fe80::5054:ff:fe12:3456"


def test_a_new_ipv6_address_is_tentative_for_a_while(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.run("ifconfig", "em0", "inet6", "2001:db8::10", "prefixlen", "64", "alias")
    assert "inet6 2001:db8::10 prefixlen 64 tentative" in machine.run("ifconfig", "em0").out
    monkeypatch.setattr(network, "DETECTION", 0)
    monkeypatch.setattr(network, "LINK_LOCAL_DETECTION", 0)
    assert "tentative" not in machine.run("ifconfig", "em0").out
