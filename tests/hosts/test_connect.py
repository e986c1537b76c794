import os

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts import connect
from jails.hosts.local import LocalConnection
from jails.hosts.simulated_connection import SimulatedConnection
from jails.hosts.ssh import SSHConnection
from jails.models import Host


@pytest.fixture(autouse=True)
def nothing_kept():
    connect.close_all()
    yield
    connect.close_all()


def host(**values):
    return Host(**{"pk": 1, "name": "warden1", "kind": "ssh", "address": "192.0.2.2", "host_key": "x", **values})


def test_each_kind_has_its_connection():
    assert isinstance(connect.connection(host(kind="local")), LocalConnection)
    assert isinstance(connect.connection(host(kind="simulated", directory="/tmp")), SimulatedConnection)
    assert isinstance(connect.connection(host(kind="ssh")), SSHConnection)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="warden1"):
        connect.connection(host(kind="telnet"))


def test_it_is_kept_for_the_same_host():
    assert connect.connection(host()) is connect.connection(host())


def test_hosts_do_not_share():
    assert connect.connection(host()) is not connect.connection(host(pk=2))


@pytest.mark.parametrize(
    "change",
    [{"address": "192.0.2.3"}, {"host_key": "y"}, {"port": 2222}, {"username": "ops"}, {"become": "doas"}],
)
def test_it_is_closed_and_made_anew_when_the_place_changes(change, monkeypatch):
    closed = []
    monkeypatch.setattr(SSHConnection, "close", lambda self: closed.append(self))
    before = connect.connection(host())
    assert connect.connection(host(**change)) is not before
    assert closed == [before]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ()),
        ({"username": ""}, ()),
        ({"become": "doas"}, ()),
        ({"username": "ops"}, ("mdo",)),
        ({"username": "ops", "become": "doas"}, ("doas", "-n")),
        ({"username": "ops", "become": "sudo"}, ("sudo", "-n")),
        ({"kind": "local"}, ()),
        ({"kind": "local", "username": "ops"}, ()),
        ({"kind": "local", "become": "doas"}, ("doas", "-n")),
        ({"kind": "simulated", "username": "ops", "become": "doas"}, ()),
    ],
)
def test_how_root_is_become(settings, values, words):
    settings.BECOME = ("mdo",)
    assert connect.become(host(**values)) == words


def test_connections_get_it():
    assert connect.connection(host(username="ops", become="doas")).become == ("doas", "-n")
    assert connect.connection(host(pk=2, kind="local", become="sudo")).become == ("sudo", "-n")


@pytest.mark.sshd
def test_a_forked_worker_makes_its_own_and_leaves_its_parents_alone(sshd):
    kept = sshd.connection()
    warden = host(address="127.0.0.1", port=sshd.port, host_key=sshd.host_key)
    connect._kept[1] = (connect._place(warden), kept)
    echo = Pipeline.of(("echo", "here"))
    assert kept.run(echo, timeout=5).ok
    pid = os.fork()
    if pid == 0:
        fresh = connect.connection(warden) is not kept
        os._exit(0 if fresh and kept._transport is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert kept.run(echo, timeout=5).stdout == b"here\n"
    assert (sshd.directory / "log").read_text().count("Accepted publickey") == 1
