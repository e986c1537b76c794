"""`manage.py host`: what is known of the hosts, as it was learned."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from jails.hosts.facts import HostFacts
from jails.hosts.refresh import refresh
from jails.models import Host, HostFactsRecord
from tests.hosts.simulation import Simulation

pytestmark = pytest.mark.django_db


@pytest.fixture
def simulation(tmp_path):
    simulation = Simulation(tmp_path / "warden1", "--pool", "zroot=100G", "--hostname", "warden1")
    simulation.run(
        "sh",
        "-c",
        "zfs create zroot/cellblock; zfs create zroot/cellblock/host; "
        "zfs create -o mountpoint=/jail/www zroot/cellblock/host/www; zfs snapshot zroot/cellblock/host/www@first; "
        "echo 'www { path = /jail/www; ip4.addr = \"em0|192.0.2.20/32\"; persist; }' > /etc/jail.conf; "
        "echo 'old { path = $gone; }' >> /etc/jail.conf; "
        "sysrc jail_enable=YES; jail -f /etc/jail.conf -c www",
    )
    return simulation


@pytest.fixture
def host(simulation):
    return Host.objects.create(name="warden1", kind=Host.Kind.SIMULATED, directory=str(simulation.directory))


def run(capsys, *words):
    call_command("host", *words)
    return capsys.readouterr().out


def facts_json(capsys, *words):
    return json.loads(run(capsys, "facts", "warden1", "--json", *words))


def test_facts_are_all_that_a_refresh_learned(host, capsys):
    refresh(host)
    row = facts_json(capsys)
    record = HostFactsRecord.objects.get()
    assert (row["host"], row["kind"], row["state"], row["errors"]) == ("warden1", "simulated", "up", [])
    assert row["gathered_at"] == record.gathered_at.isoformat()
    assert row["facts"] == record.data
    assert HostFacts.from_data(row["facts"]).pool("zroot").available > 50 * 2**30
    assert [(jail["name"], jail["failed"]) for jail in row["configured"]] == [("www", False), ("old", True)]
    assert {"name": "ip4.addr", "values": ["em0|192.0.2.20/32"]} in row["configured"][0]["parameters"]
    assert "www" in row["boots"]


def test_facts_are_listed(host, capsys):
    refresh(host)
    lines = run(capsys, "facts", "warden1").splitlines()
    words = [line.split() for line in lines]
    assert lines[0].startswith("warden1 (simulated), as of ")
    assert ["hostname", "warden1"] in words
    assert ["www", "/etc/jail.conf", "/jail/www", "em0|192.0.2.20/32"] in words
    assert ["old", "/etc/jail.conf", "refused"] in words
    assert any(line[:2] == ["www", "jid"] and line[3:] == ["/jail/www", "192.0.2.20"] for line in words)
    assert any(line[:1] == ["zroot/cellblock/host/www@first"] for line in words)
    assert not any("not read" in line for line in lines)


def test_what_could_not_be_read_is_said(host, simulation, capsys):
    simulation.fault(match="jls", fail={"rc": 1, "stderr": "jls: out of order\n"})
    refresh(host)
    lines = run(capsys, "facts", "warden1").splitlines()
    assert "running jails: not read (jails)" in lines
    assert any("out of order" in line for line in lines)
    row = facts_json(capsys)
    assert row["facts"]["missing"].keys() == {"jails"}
    assert any("out of order" in error for error in row["errors"])
    assert [jail["name"] for jail in row["configured"]] == ["www", "old"]


def test_what_follows_from_missing_facts_is_missing(host, capsys):
    facts = HostFacts(missing={"files": "tar: wrote no archive", "identity": "sysctl: status 1"})
    HostFactsRecord.objects.create(host=host, data=facts.to_data(), gathered_at=timezone.now())
    lines = run(capsys, "facts", "warden1").splitlines()
    assert "configured jails: not read (files)" in lines
    assert "sysctls: not read (identity)" in lines
    assert not any("hostname" in line for line in lines)
    row = facts_json(capsys)
    assert (row["configured"], row["boots"]) == ([], None)


def test_refresh_asks_now(host, simulation, capsys):
    refresh(host)
    simulation.run("jail", "-c", "name=late", "path=/", "persist")
    assert "late" not in {jail["name"] for jail in facts_json(capsys)["facts"]["jails"]}
    assert "late" in {jail["name"] for jail in facts_json(capsys, "--refresh")["facts"]["jails"]}


def test_without_an_answer_the_old_facts_are_shown_and_it_fails(host, capsys):
    refresh(host)
    Host.objects.update(directory="/nosuch")
    with pytest.raises(CommandError, match="did not answer now"):
        call_command("host", "facts", "warden1", "--refresh")
    assert "does not answer since" in capsys.readouterr().out


def test_only_the_worker_of_a_host_asks_it(host):
    Host.objects.update(worker="far-away")
    with pytest.raises(CommandError, match="is served by the worker far-away"):
        call_command("host", "facts", "warden1", "--refresh")
    assert not HostFactsRecord.objects.exists()


def test_nothing_is_known_before_the_first_answer(host):
    Host.objects.update(unavailable_since=timezone.now(), unavailable_reason="no route")
    with pytest.raises(CommandError, match=r"nothing is known yet.*no route"):
        call_command("host", "facts", "warden1")


def test_an_unknown_host_is_told_with_those_that_are(host):
    with pytest.raises(CommandError, match="no host 'warden9' here; the hosts are: warden1"):
        call_command("host", "facts", "warden9")


def test_what_a_host_says_steers_no_terminal(host, capsys):
    facts = HostFacts(hostname="\x1b]0;gotcha\x07", files={"/etc/rc.conf": ""})
    HostFactsRecord.objects.create(host=host, data=facts.to_data(), gathered_at=timezone.now())
    out = run(capsys, "facts", "warden1")
    assert "\x1b" not in out
    assert "\\x1b]0;gotcha\\x07" in out


def test_hosts_are_listed(host, capsys):
    Host.objects.create(name="new1", kind=Host.Kind.SSH, address="192.0.2.3")
    refresh(host)
    rows = [line.split() for line in run(capsys, "list").splitlines()]
    assert rows[0][:3] == ["NAME", "KIND", "STATE"]
    assert [row[:3] for row in rows[1:]] == [["new1", "ssh", "new"], ["warden1", "simulated", "up"]]
    assert rows[2][3:5] == ["14.2-RELEASE", "2"]
    objects = [json.loads(line) for line in run(capsys, "list", "--json").splitlines()]
    assert [(row["host"], row["state"]) for row in objects] == [("new1", "new"), ("warden1", "up")]
