"""A host added over SSH: its key is shown, compared and pinned before anything is sent, against a real sshd."""

import subprocess

import pytest

from jails.hosts import connect, keys
from jails.hosts.refresh import refresh
from jails.models import Host

from .simulation import Simulation
from .sshd import Sshd, free_port, make_key

pytestmark = [pytest.mark.sshd, pytest.mark.django_db]


@pytest.fixture
def server(tmp_path, settings):
    settings.WORKER_DIR = tmp_path / "worker-state"
    simulation = Simulation(tmp_path / "warden1", "--pool", "zroot=10G")
    server = Sshd(tmp_path / "sshd")
    server.authorize(keys.public_key(), simulation.login)
    server.start()
    yield server
    connect.close_all()
    server.stop()


@pytest.fixture
def host(server):
    return Host.objects.create(
        name="warden1", kind="ssh", address="127.0.0.1", port=server.port, username=server.user, pool="zroot"
    )


@pytest.fixture(autouse=True)
def as_root(monkeypatch):
    """The forced command is root already, whoever runs the tests."""
    monkeypatch.setattr(connect, "become", lambda host: ())


def asked(host):
    refresh(host)
    host.refresh_from_db()
    return host


def pin(host, line):
    host.host_key, host.offered_key = line, ""
    host.save()


def test_a_new_host_offers_its_key_and_is_not_used(host, server):
    asked(host)
    assert (host.state, host.refreshed_at) == ("unpinned", None)
    assert host.offered_key.split() == server.host_key.split()[:2]
    assert "compare and pin" in host.unavailable_reason
    assert "Accepted" not in (server.directory / "log").read_text()


def test_the_fingerprint_is_the_one_that_the_page_tells_to_compare_with(host, server):
    asked(host)
    listed = subprocess.run(["ssh-keygen", "-lf", server.directory / "host_key.pub"], capture_output=True, text=True)
    assert host.offered.fingerprint == listed.stdout.split()[1]
    assert host.offered.file == "/etc/ssh/ssh_host_ed25519_key.pub"


def test_pinned_it_is_used(host):
    pin(host, asked(host).offered_key)
    asked(host)
    assert (host.state, host.offered_key, host.unavailable_reason) == ("up", "", "")
    assert host.pools.get().name == "zroot"


def test_another_key_than_the_pinned_one_is_offered_and_not_used(host, server, tmp_path):
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    pin(host, other)
    asked(host)
    assert host.state == "unpinned"
    assert host.offered_key.split() == server.host_key.split()[:2]
    assert host.host_key == other
    assert host.pinned.fingerprint in host.unavailable_reason


def test_what_the_old_address_said_is_not_stored_for_the_new_one(host):
    stale = Host.objects.get(pk=host.pk)
    Host.objects.filter(pk=host.pk).update(address="192.0.2.2")
    refresh(stale)
    host.refresh_from_db()
    assert (host.offered_key, host.unavailable_since) == ("", None)


def test_a_host_that_is_not_there_offers_nothing(host):
    Host.objects.filter(pk=host.pk).update(port=free_port())
    host.refresh_from_db()
    asked(host)
    assert host.offered_key == ""
    assert "refused" in host.unavailable_reason
