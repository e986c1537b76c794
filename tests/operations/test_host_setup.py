"""Preparing a host: from nothing, from half of it, twice, with and without ZFS, and back."""

import pytest

from jails.models import AuditEntry
from jails.operations import layout
from jails.operations.kind import Refused
from tests.operations.world import transcript

FOLDERS = ("/etc/jail.conf.d", "/jail", *(f"/var/db/cellblock/{name}" for name in ("releases", "templates")))
DATASETS = ("", "/host", "/releases", "/templates")


def test_a_host_with_zfs(world):
    world.done("host_setup", reserve=True)
    for name in DATASETS:
        assert world.value(f"zroot/cellblock{name}", "mounted") == "no"
    assert world.value("zroot/cellblock/releases", "mountpoint") == "/var/db/cellblock/releases"
    assert {world.mode(path) for path in ("/jail", "/var/db/cellblock", "/var/log/cellblock")} == {"700"}
    assert "/var/log/cellblock/*.log\t\t600  5\t1000\t*\tGN\n" in world.read(layout.NEWSYSLOG)
    assert all(world.exists(folder) for folder in FOLDERS)


def test_the_reserve_is_a_fifth_of_the_pool(world):
    before = world.facts().pool("zroot")
    world.done("host_setup", reserve=True)
    after = world.facts().pool("zroot")
    assert after.reserve_dataset == "zroot/cellblock/reserve"
    assert after.reserve == pytest.approx((before.used + before.available) / 5, rel=0.01)
    assert after.used + after.available == before.used + before.available


def test_a_second_time_there_is_nothing_to_do(world):
    world.done("host_setup", reserve=True)
    with pytest.raises(Refused, match="has all that jails need already"):
        world.draft("host_setup", reserve=True)


def test_the_reserve_comes_later_and_grows_with_the_pool(world):
    world.done("host_setup", reserve=False)
    assert world.facts().pool("zroot").reserve == 0
    world.done("host_setup", reserve=True)
    world.sh("zfs set reservation=1G zroot/cellblock/reserve")
    world.done("host_setup", reserve=True)
    assert world.facts().pool("zroot").reserve > 1 << 30


def test_what_a_person_holds_back_already_counts(world):
    world.sh("zfs create -o mountpoint=none -o canmount=off -o reservation=3G zroot/spare")
    world.done("host_setup", reserve=True)
    assert "zroot/cellblock/reserve" not in world.datasets()


def test_what_is_used_changes_no_plan(world):
    operation = world.confirm("host_setup", reserve=True)
    world.sh("zfs create -o mountpoint=/data zroot/data; dd if=/dev/zero of=/data/file bs=1m count=20")
    assert world.work(operation) == "done"


def test_a_reserve_that_would_not_fit_is_refused(world):
    world.sh("zfs create -o reservation=8G -o mountpoint=/data zroot/data")
    with pytest.raises(Refused) as refused:
        world.draft("host_setup", reserve=True)
    assert list(refused.value.errors) == ["reserve"]


def test_a_host_without_zfs(ufs_world):
    ufs_world.done("host_setup", reserve=False)
    assert all(ufs_world.exists(folder) for folder in FOLDERS) and ufs_world.mode("/jail") == "700"
    with pytest.raises(Refused, match="has all that jails need already"):
        ufs_world.draft("host_setup", reserve=False)
    with pytest.raises(Refused) as refused:
        ufs_world.draft("host_setup", reserve=True)
    assert list(refused.value.errors) == ["reserve"]


def test_what_is_there_stays_and_others_are_shut_out(world):
    world.sh("mkdir -m 0755 /jail /jail/byhand; zfs create -o mountpoint=none -o atime=off zroot/cellblock")
    world.done("host_setup", reserve=False)
    assert world.mode("/jail") == "700" and world.mode("/jail/byhand") == "755"
    assert world.value("zroot/cellblock", "atime") == "off"


def test_a_file_of_newsyslog_that_a_person_changed_stays(world):
    world.write(layout.NEWSYSLOG, "# mine\n")
    world.done("host_setup", reserve=False)
    assert world.read(layout.NEWSYSLOG) == "# mine\n"


def test_a_failure_is_rolled_back_to_what_was_there(world):
    world.sh("mkdir -m 0755 /jail")
    before = world.picture()
    operation = world.confirm("host_setup", reserve=True)
    world.fail("zfs create -o cellblock:operation", nth=5)
    assert world.work(operation) == "failed" and "it resists" in operation.error, transcript(operation)
    assert world.mode("/jail") == "755" and world.picture() == before


def test_it_is_audited(world):
    operation = world.done("host_setup", reserve=True)
    entry = AuditEntry.objects.get(operation=str(operation.pk), action="host.setup")
    assert entry.outcome == "done" and entry.plan_digest == operation.confirmed_digest


@pytest.mark.parametrize("wrong", [{"reserve": "yes"}, {"reserve": 1}, {"pool": "x; rm -rf /"}, {"a\0b": "\n"}])
def test_parameters_are_checked(world, wrong):
    with pytest.raises(Refused) as refused:
        world.draft("host_setup", **wrong)
    assert list(refused.value.errors) == list(wrong)


def test_a_pool_that_is_not_there_is_refused(world):
    world.row.pool = "nosuch"
    world.row.save()
    with pytest.raises(Refused, match="has no pool nosuch"):
        world.draft("host_setup", reserve=False)
