"""Consoles in jails of a host that is reached over SSH: a real sshd before the simulated host."""

import contextlib
import json

import pytest

from jails.hosts import keys
from tests.consoles.house import Shown, until
from tests.hosts.sshd import Sshd

pytestmark = pytest.mark.sshd


@pytest.fixture
def sshd(house, services, tmp_path):
    """The house's host, from now on behind sshd, which knows the key of the services' worker."""
    server = Sshd(tmp_path / "sshd", command=house.warden.simulation.login)
    server.authorize(keys.public_key(), house.warden.simulation.login)
    server.start()
    for name, value in {
        "kind": "ssh",
        "address": "127.0.0.1",
        "port": server.port,
        "username": server.user,
        "host_key": server.host_key,
        "directory": "",
    }.items():
        setattr(house.host, name, value)
    house.host.save()
    yield server
    server.stop()


def test_a_console_over_ssh(house, sshd):
    with house.console("granted") as shown:
        shown.type("echo it is; hostname; stty size\n")
        shown.until("www1.example.org\r\n24 80\r\n")
        shown.say(columns=100, rows=30)
        until(lambda: shown.size() == "30 100", "the new size")
        shown.type("exit 5\n")
        assert shown.ended() == "exit"
        shown.rest()
    console = house.ended()
    assert console.status == 5
    shown_then = "".join(text for _, kind, text in house.recording(console)[1:] if kind == "o")
    assert shown_then == shown.output.decode()


def test_a_closed_page_ends_it_on_the_host(house, sshd):
    with house.console("granted") as shown:
        shown.type("sleep 300\n")
        shown.until("sleep 300\r\n")
        assert house.inside()
    until(lambda: not house.inside(), "the end of what ran inside")


def test_a_lost_connection_ends_it_on_both_sides(house, sshd):
    with house.console("granted") as shown:
        shown.type("sleep 300\n")
        shown.until("sleep 300\r\n")
        sshd.kill_sessions()
        assert shown.ended() == "host"
        shown.rest()
    until(lambda: not house.inside(), "the end of what ran inside")
    assert house.ended().ended == "host"
    with house.console("granted") as again:
        again.type("exit\n")
        assert again.ended() == "exit"


def test_a_followed_log_leaves_nothing_on_the_host(house, sshd):
    """Nothing is written while it ends, so that no broken pipe could be what ends it."""
    house.warden.sh("jexec www1 sh -c 'mkdir -p /var/log; echo before >/var/log/messages'")
    with house.followed("member", "/var/log/messages") as shown, house.followed("owner", "/var/log/messages", text="e"):
        shown.until_line("before")
        until(lambda: len(house.tails()) == 2, "both of them")
        house.warden.sh("jexec www1 sh -c 'echo later >>/var/log/messages'")
        shown.until_line("later")
    until(lambda: not house.tails(), "the end of what follows it")
    with house.followed("member", "/var/log/messages") as shown:
        shown.until_line("later")
        sshd.kill_sessions()
        assert shown.ended() == "host"
    until(lambda: not house.tails(), "the end of what follows it")


def test_a_host_that_is_gone(house, sshd):
    sshd.stop()
    with house.socket("granted") as made:
        made.send(json.dumps({"ticket": house.ticket("granted"), "columns": 80, "rows": 24}))
        shown = Shown(made)
        assert shown.ended(30) == "host"
    assert "127.0.0.1" not in json.dumps(shown.said)


def test_more_at_once_than_one_connection_has(house, sshd):
    """sshd lets ten sessions onto one connection: the rest come by others, and commands have room beside them."""
    with contextlib.ExitStack() as stack:
        people = ["granted", "owner"]
        consoles = [stack.enter_context(house.console(people[number % 2])) for number in range(10)]
        for number, shown in enumerate(consoles):
            shown.type(f"echo number$(({number}+100))\n")
            shown.until(f"number{number + 100}")
        answer = house.client("owner").post(
            f"/jails/{house.jail.uuid}/console/run", {"login": "root", "text": "hostname"}
        )
        assert "www1.example.org" in answer.content.decode()
