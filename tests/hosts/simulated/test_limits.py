"""rctl(8), cpuset(1), devfs(8), pfctl(8) and route(8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "host", racct=True)
    machine.run("jail", "-c", "name=www1", "path=/", "persist")
    return machine


def test_rules_outlive_their_jail(machine: Machine) -> None:
    machine.run("rctl", "-a", "jail:www1:memoryuse:deny=256M")
    machine.run("jail", "-r", "www1")
    assert machine.run("rctl", "jail:www1").out == "jail:www1:memoryuse:deny=268435456\n"


def test_without_racct_nothing_is_said_but_why(tmp_path: Path) -> None:
    outcome = Machine(tmp_path / "host").run("rctl", "-a", "jail:www1:maxproc:deny=5")
    assert outcome.rc == 1 and "enable using kern.racct.enable=1 tunable" in outcome.err


def test_a_jails_cpuset_can_only_shrink(machine: Machine) -> None:
    assert machine.run("cpuset", "-l", "0-1", "-j", "www1").rc == 0
    outcome = machine.run("cpuset", "-l", "0-2", "-j", "www1")
    assert (outcome.rc, outcome.err) == (1, "cpuset: setaffinity: Invalid argument\n")


def test_devfs_rules_are_numbered_in_hundreds(machine: Machine) -> None:
    for path in ("bpf*", "tun*"):
        machine.run("devfs", "rule", "-s", "9", "add", "path", path, "unhide")
    assert machine.run("devfs", "rule", "-s", "9", "show").out == "100 path bpf* unhide\n200 path tun* unhide\n"


def test_an_anchor_is_loaded_beside_the_main_rules(machine: Machine) -> None:
    machine.run("kldload", "pf")
    rules = b'anchor "cellblock/*"\npass all\n'
    assert machine.run("pfctl", "-f", "-", stdin=rules).rc == 0
    assert machine.run("pfctl", "-a", "cellblock/www1", "-f", "-", stdin=b"pass in proto tcp\n").rc == 0
    printed = 'anchor "cellblock/*" all\npass all flags S/SA keep state\n'
    assert machine.run("pfctl", "-s", "rules").out == printed
    shown = machine.run("pfctl", "-a", "cellblock/www1", "-s", "rules").out
    assert shown == "pass in proto tcp all flags S/SA keep state\n"


def test_a_broken_rule_loads_nothing(machine: Machine) -> None:
    machine.run("kldload", "pf")
    outcome = machine.run("pfctl", "-f", "-", stdin=b"pass all\npas all\n")
    assert outcome.rc == 1 and outcome.err.startswith("stdin:2: syntax error\n")
    assert machine.run("pfctl", "-s", "rules").out == ""


def test_routes_have_one_gateway(machine: Machine) -> None:
    assert machine.run("route", "add", "198.51.100.0/24", "192.0.2.1").rc == 0
    assert "already in table" in machine.run("route", "add", "198.51.100.0/24", "192.0.2.1").out
    assert "gateway: 192.0.2.1" in machine.run("route", "-n", "get", "198.51.100.7").out


def test_a_vnet_jail_has_routes_of_its_own(machine: Machine) -> None:
    machine.run("jail", "-c", "name=v", "path=/", "vnet", "persist")
    assert machine.run("jexec", "v", "route", "-n", "get", "default").rc != 0
    assert machine.run("route", "-n", "get", "default").rc == 0
