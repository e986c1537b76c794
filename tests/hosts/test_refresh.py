from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails.hosts import refresh as module
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.hosts.facts import HostFacts
from jails.hosts.refresh import refresh
from jails.models import Host, HostFactsRecord, Jail, ObservedAddress, Operation, Pool, Release, ResourceLock

from .stub import SYSCTL, StubHost, archive
from .test_facts import jail as running
from .test_facts import jls

pytestmark = pytest.mark.django_db

WWW1 = "zroot/cellblock/host/www1"


@pytest.fixture
def host():
    return Host.objects.create(name="warden1", kind="ssh", address="192.0.2.2")


@pytest.fixture
def stub(tmp_path):
    """UFS only, so that no test has to think of ZFS."""
    mounts = "/dev/ada0p2\t\t/\tufs\trw\t1 1\n"
    return StubHost(tmp_path / "bin", sysctl=SYSCTL.replace("vfs.zfs", "other"), mount=mounts)


@pytest.fixture
def ask(host, stub):
    def ask(*jails, files=None):
        stub.tool("jls", jls(*jails))
        if files is not None:
            stub.tool("tar", archive({"/etc/rc.conf": "", **files}))
        refresh(host, connection=lambda _: stub)
        host.refresh_from_db()

    return ask


def conf(name, path=None):
    return {f"/etc/jail.conf.d/{name}.conf": f'{name} {{ path = "{path or "/jail/" + name}"; }}\n'}


def managed(host, name, **values):
    place = {"path": f"/jail/{name}", "config_path": f"/etc/jail.conf.d/{name}.conf"}
    return Jail.objects.create(
        **{"host": host, "name": name, "kind": "thick", "managed": True, "state": "stopped", **place, **values}
    )


def zfs_host(stub, *rows, snapshots=()):
    """Rows of (name, used, usedbysnapshots, origin)."""
    lines = []
    for name, used, by_snapshots, origin in rows:
        numbers = (used, 1000, 500, by_snapshots, 100, 0, 0, 42, 1, 0, 0, 0, 0)
        lines.append("\t".join((name, "filesystem", *map(str, numbers), "yes", "on", "off", origin, "1700000000")))
    stub.tool("sysctl", SYSCTL)
    stub.tool("zpool", "zroot\t16000\t5000\t11000\t31\tONLINE\t2\toff\t42\n")
    stub.tool("zfs", "\n".join(lines) + "\n")


def test_the_host_itself(ask, host):
    ask()
    assert (host.hostname, host.release, host.architecture) == ("warden1.example.com", "14.2-RELEASE-p1", "amd64")
    assert (host.processors, host.memory, host.state) == (4, 8 * 2**30, "up")
    assert host.booted_at.timestamp() == 1795491443


def test_all_of_it_is_kept(ask, host):
    ask(running("www1"))
    record = HostFactsRecord.objects.get(host=host)
    assert HostFacts.from_data(record.data).jail("www1").path == "/jail/www1"


def test_a_running_jail_is_found(ask):
    ask(running("www1", jid=7, **{"ip4.addr": ["192.0.2.5"]}))
    row = Jail.objects.get()
    assert (row.name, row.managed, row.kind, row.state, row.jid) == ("www1", False, "found", "running", 7)
    assert row.observed_addresses == ["192.0.2.5"]


def test_a_configured_jail_is_found(ask):
    ask(files=conf("www1"))
    row = Jail.objects.get()
    assert (row.state, row.config_path, row.path) == ("stopped", "/etc/jail.conf.d/www1.conf", "/jail/www1")


def test_whether_a_found_jail_boots(ask):
    ask(files={"/etc/rc.conf": 'jail_enable="YES"\njail_list="www1"\n', **conf("www1"), **conf("www2")})
    assert dict(Jail.objects.values_list("name", "boot")) == {"www1": True, "www2": False}


def test_a_found_jail_that_vanished_is_forgotten(ask):
    ask(running("www1"))
    ask()
    assert not Jail.objects.exists()


def test_a_managed_jail_is_observed_and_keeps_what_it_should_be(ask, host):
    managed(host, "www1", hostname="shop.example.com", boot=True)
    ask(running("www1", **{"host.hostname": "other"}), files=conf("www1"))
    row = Jail.objects.get()
    assert (row.state, row.jid, row.hostname, row.boot) == ("running", 3, "shop.example.com", True)


def test_a_managed_jail_that_vanished_is_missing(ask, host):
    managed(host, "www1", state="running")
    ask()
    assert Jail.objects.get().state == "missing"


def test_a_missing_jail_that_is_back_is_stopped(ask, host):
    managed(host, "www1", state="missing")
    ask(files=conf("www1"))
    assert Jail.objects.get().state == "stopped"


def test_a_managed_jail_without_its_dataset_is_missing(ask, host, stub):
    managed(host, "www1", dataset=WWW1)
    zfs_host(stub, ("zroot", 5000, 0, "-"))
    ask(files=conf("www1"))
    assert Jail.objects.get().state == "missing"


def test_somebody_elses_jail_of_that_name_is_not_ours(ask, host):
    managed(host, "www1")
    ask(running("www1", path="/elsewhere"), files=conf("www1"))
    row = Jail.objects.get()
    assert (row.state, row.jid, row.path) == ("stopped", None, "/jail/www1")


def test_dying(ask, host):
    managed(host, "www1", state="running")
    ask(running("www1", dying=True), files=conf("www1"))
    assert Jail.objects.get().state == "dying"


def test_a_pending_jail_is_left_alone(ask, host):
    managed(host, "www1", state="pending")
    ask()
    assert Jail.objects.get().state == "pending"


def test_since_when_stays_until_the_state_changes(ask, host):
    then = timezone.now() - timedelta(days=3)
    managed(host, "www1", state="running", state_since=then)
    ask(running("www1"), files=conf("www1"))
    assert Jail.objects.get().state_since == then
    ask(files=conf("www1"))
    assert Jail.objects.get().state_since > then


def test_another_jid_tells_that_it_was_started_again(ask, host):
    then = timezone.now() - timedelta(days=3)
    managed(host, "www1", state="running", state_since=then, jid=2)
    ask(running("www1", jid=3), files=conf("www1"))
    since = Jail.objects.get().state_since
    assert since > then
    ask(running("www1", jid=3))
    assert Jail.objects.get().state_since == since


def test_what_an_operation_is_changing_is_left_to_it(ask, host):
    managed(host, "www1", state="running")
    operation = Operation.objects.create(kind="jail_stop", title="Stop www1", host=host, host_name=host.name)
    ResourceLock.objects.create(resource=f"host:{host.pk}/jail:www1", operation=operation)
    ResourceLock.objects.create(resource=f"host:{host.pk}/jail:new1", operation=operation)
    ask(running("new1"))
    assert [(row.name, row.state) for row in Jail.objects.all()] == [("www1", "running")]


def test_what_an_operation_has_changed_meanwhile_is_left_to_it(ask, host, stub, monkeypatch):
    row = managed(host, "www1", state="stopped")
    operation = Operation.objects.create(kind="jail_start", title="Start www1", host=host, host_name=host.name)
    operation.jails.add(row)
    original = module.gather

    def slow(*args, **options):
        facts = original(*args, **options)
        Jail.objects.update(state="running")
        Operation.objects.update(status="done", finished_at=timezone.now())
        return facts

    monkeypatch.setattr(module, "gather", slow)
    ask(files=conf("www1"))
    assert Jail.objects.get().state == "running"


def test_an_older_refresh_does_not_overwrite_a_newer_one(ask, host):
    Host.objects.update(refreshed_at=timezone.now() + timedelta(minutes=1), hostname="newer")
    ask(running("www1"))
    assert host.hostname == "newer"
    assert not Jail.objects.exists()


def test_a_host_that_does_not_answer_keeps_everything(ask, host):
    ask(running("www1"))
    before = Jail.objects.values().get()

    class Down:
        def run(self, *args, **options):
            raise HostUnavailable(Unavailable.REFUSED, "192.0.2.2, port 22: refused")

    refresh(host, connection=lambda _: Down())
    host.refresh_from_db()
    since = host.unavailable_since
    assert (host.state, host.refresh_failures) == ("unavailable", 1)
    assert "refused" in host.unavailable_reason
    refresh(host, connection=lambda _: Down())
    host.refresh_from_db()
    assert (host.unavailable_since, host.refresh_failures) == (since, 2)
    assert Jail.objects.values().get() == before


def test_a_host_that_answers_again(ask, host):
    Host.objects.update(unavailable_since=timezone.now(), unavailable_reason="refused", refresh_failures=3)
    ask()
    assert (host.state, host.unavailable_reason, host.refresh_failures) == ("up", "", 0)


def test_a_host_that_was_forgotten_meanwhile(host, stub):
    Host.objects.all().delete()
    refresh(host, connection=lambda _: stub)
    assert not HostFactsRecord.objects.exists()


@pytest.mark.parametrize("tool", ["jls", "tar", "mount", "ifconfig"])
def test_a_part_that_could_not_be_read_changes_nothing_of_it(ask, host, stub, tool):
    managed(host, "www1", state="running", jid=3)
    ask(running("www1", **{"ip4.addr": ["192.0.2.5"]}), running("www2"), files=conf("www1"))
    before = list(Jail.objects.values("name", "state", "jid", "config_path"))
    addresses = ObservedAddress.objects.count()
    stub.tool(tool, (1, "", "no\n"))
    refresh(host, connection=lambda _: stub)
    assert list(Jail.objects.values("name", "state", "jid", "config_path")) == before
    assert ObservedAddress.objects.count() == addresses


def test_without_configuration_nothing_stopped_is_called_missing(ask, host, stub):
    managed(host, "www1")
    stub.tool("tar", (1, "", "no\n"))
    ask()
    assert Jail.objects.get().state == "stopped"


def test_pools_come_and_go(ask, host, stub):
    Pool.objects.create(host=host, name="gone")
    zfs_host(stub, ("zroot", 5000, 7, "-"))
    ask()
    pool = Pool.objects.get()
    assert (pool.name, pool.size, pool.used, pool.available, pool.snapshots) == ("zroot", 16000, 5000, 1000, 7)


def test_sizes_of_a_clone(ask, host, stub):
    managed(host, "www1", dataset=WWW1)
    zfs_host(stub, ("zroot", 5000, 0, "-"), (WWW1, 150, 30, "zroot/cellblock/releases/r@cellblock"))
    ask(files=conf("www1"))
    row = Jail.objects.get()
    assert (row.used, row.used_by_snapshots, row.shared) == (120, 30, 400)
    assert row.origin == "zroot/cellblock/releases/r@cellblock"


def test_a_release_without_its_snapshot_is_missing(ask, host, stub):
    dataset = "zroot/cellblock/releases/r"
    Release.objects.create(
        host=host, name="r", architecture="amd64", storage="zfs", dataset=dataset, snapshot=f"{dataset}@cellblock",
        path="/r", state="ready",
    )  # fmt: skip
    zfs_host(stub, ("zroot", 5000, 0, "-"), (dataset, 150, 0, "-"))
    ask()
    release = Release.objects.get()
    assert (release.state, release.used) == ("missing", 150)


def test_addresses_of_the_host_and_of_its_jails(ask, stub):
    lo0 = "lo0: flags=8049<UP,LOOPBACK> metric 0 mtu 16384\n\tinet 127.0.0.1 netmask 0xff000000\n"
    em0 = "em0: flags=8843<UP> metric 0 mtu 1500\n\tinet 192.0.2.2 netmask 0xffffff00\n"
    em0 += "\tinet 192.0.2.5 netmask 0xffffffff\n"
    stub.tool("ifconfig", em0 + lo0)
    ask(running("www1", **{"ip4.addr": ["192.0.2.5", "192.0.2.77"]}))
    assert set(ObservedAddress.objects.values_list("interface", "ip", "prefix", "jail_name")) == {
        ("em0", "192.0.2.2", 24, ""),
        ("em0", "192.0.2.5", 32, "www1"),
        ("", "192.0.2.77", 32, "www1"),
    }


@pytest.mark.parametrize("name", ["a 'b'", "x\ny", "\u0000", "caf\u00e9", "<script>", "n" * 255, "n" * 300])
def test_hostile_names(ask, name):
    ask(running(name), running("good"), files=conf("other"))
    assert set(Jail.objects.values_list("name", flat=True)) >= {"good", "other"}


def test_a_second_refresh_writes_no_jail(ask):
    ask(running("www1"), files=conf("www2"))
    with CaptureQueriesContext(database) as queries:
        ask(running("www1"), files=conf("www2"))
    assert Jail.objects.count() == 2
    writes = ('INSERT INTO "jails_jail"', 'UPDATE "jails_jail"', 'DELETE FROM "jails_jail"')
    assert not any(query["sql"].startswith(writes) for query in queries.captured_queries)


def many(count):
    return [running(f"jail{n}", jid=n + 1, **{"ip4.addr": [f"10.0.{n // 200}.{n % 200 + 1}"]}) for n in range(count)]


def test_as_many_queries_for_a_thousand_jails_as_for_one(ask, host):
    counts = []
    for count in (1, 1000):
        ask(*many(count))
        with CaptureQueriesContext(database) as queries:
            ask(*many(count))
        counts.append(len(queries))
    assert Jail.objects.count() == 1000
    assert counts[0] == counts[1] <= 20
