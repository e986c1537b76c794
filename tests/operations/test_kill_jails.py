"""SIGKILL to the worker everywhere in what is done to a jail that is there: destroy, rename, change, power.

As in test_kill_kinds.py one operation takes all the deaths, and ends as if there had been none.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jails.models import Address, AuditEntry, Jail, JailKey, Network, Operation, ResourceLock, SshKey
from tests.freebsd.test_logins import KEYS
from tests.operations.killing import kill_everywhere
from tests.operations.warden import Warden

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(warden: Warden, operation: Operation, folder: Path) -> str:
    """Its status in the end. Everywhere a worker has died, and the log knows of one end."""
    died = kill_everywhere(operation, warden.connection, folder / f"died-{operation.pk}", lambda: None)
    # What only looks may be seen to be so before it has looked.
    begun = [row.index for row in operation.steps.order_by("index") if row.started_at and row.data["changes"]]
    assert {f"{index} begin" for index in begun} <= set(died)
    assert {f"{index} run middle" for index in begun} <= set(died)
    assert not ResourceLock.objects.exists()
    ends = AuditEntry.objects.filter(operation=str(operation.pk)).exclude(action="operation.confirm")
    assert [entry.outcome for entry in ends] == [operation.status]
    return operation.status


def without_ids(picture: dict[str, object]) -> str:
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", repr(picture)).replace(", ", ",\n")


def worked(warden: Warden, *words: str) -> int:
    """How often a command of these first words has ended well."""
    log = [entry["argv"] for entry in warden.simulation.log() if entry.get("rc") == 0]
    return len([argv for argv in log if argv[0] == words[0] and set(words) <= set(argv)])


@pytest.mark.parametrize("storage", ["zfs", "ufs"])
def test_destroy(committed, request, tmp_path, storage):
    warden = request.getfixturevalue("warden" if storage == "zfs" else "plain_warden")
    warden.make("db", "192.0.2.20", boot=True, start=False)
    before = warden.picture()
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    if storage == "zfs":
        warden.sh("zfs snapshot zroot/cellblock/host/www1@monday; zfs create zroot/cellblock/host/www1/data")
    operation = warden.confirm("jail_destroy", jail=str(www1.uuid), name="www1")
    assert run(warden, operation, tmp_path) == "done", operation.error
    assert warden.picture() == before
    assert list(Jail.objects.values_list("name", flat=True)) == ["db"]
    assert list(Address.objects.values_list("ip", flat=True)) == ["192.0.2.20"]
    assert worked(warden, "jail", "-r", "www1") <= 1


@pytest.mark.parametrize(("storage", "fails"), [("zfs", "zfs unmount"), ("ufs", "mv -n /jail/www1")])
def test_a_destruction_that_fails_before_its_tree_goes(committed, request, tmp_path, storage, fails):
    warden = request.getfixturevalue("warden" if storage == "zfs" else "plain_warden")
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.make("db", "192.0.2.20", boot=True, start=False)
    before = warden.picture()
    operation = warden.confirm("jail_destroy", jail=str(www1.uuid), name="www1")
    warden.fail(fails)
    assert run(warden, operation, tmp_path) == "failed", operation.error
    assert "it resists" in operation.error
    assert warden.picture() == before and Jail.objects.count() == 2


@pytest.fixture
def twin(prepared, tmp_path, warden):
    """How the host looks when a jail is made so in the first place."""

    def make(*args, **fields) -> str:
        other = Warden(prepared(True), tmp_path / "twin", warden.user, name="twin")
        other.network = Network.objects.create(name="twin", cidr="192.0.2.0/24", host=other.row)
        other.make(*args, **fields)
        picture = without_ids(other.picture())
        Jail.objects.filter(host=other.row).delete()
        other.row.delete()
        return picture

    return make


def test_rename(committed, warden, twin, tmp_path):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    operation = warden.confirm("jail_rename", jail=str(www1.uuid), name="web1")
    assert run(warden, operation, tmp_path) == "done", operation.error
    expected = twin("web1", "192.0.2.11", boot=True, hostname="www1.example.org")
    assert without_ids(warden.picture()) == expected
    assert list(Jail.objects.values_list("name", "path")) == [("web1", "/jail/web1")]
    assert worked(warden, "jail", "-c", "web1") == 1


def test_change(committed, warden, twin, tmp_path):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    wish = {"hostname": "www1.example.org", "boot": True, "limits": www1.limits | {"quota": 1 << 30}}
    addresses = [{"network": warden.network.pk, "ip": "192.0.2.12"}]
    operation = warden.confirm("jail_change", jail=str(www1.uuid), addresses=addresses, **wish)
    assert run(warden, operation, tmp_path) == "done", operation.error
    assert without_ids(warden.picture()).replace("\\t1G\\t", "\\tnone\\t") == twin("www1", "192.0.2.12", boot=True)
    assert list(Address.objects.values_list("ip", "operation")) == [("192.0.2.12", None)]
    assert worked(warden, "jail", "-c", "www1") == 1


def test_rollback(committed, warden, tmp_path):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.sh("echo old >/jail/www1/root/page; zfs snapshot zroot/cellblock/host/www1@monday")
    before = warden.picture()
    warden.sh("echo new >/jail/www1/root/page; sleep 1.1; zfs snapshot zroot/cellblock/host/www1@tuesday")
    operation = warden.confirm("jail_rollback", jail=str(www1.uuid), snapshot="monday")
    assert run(warden, operation, tmp_path) == "done", operation.error
    assert warden.picture() == before and warden.read("/jail/www1/root/page") == "old\n"
    assert worked(warden, "jail", "-c", "www1") == 1


def test_a_rollback_that_fails(committed, warden, tmp_path):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.sh("zfs snapshot zroot/cellblock/host/www1@monday; echo new >/jail/www1/root/page")
    before = warden.picture()
    operation = warden.confirm("jail_rollback", jail=str(www1.uuid), snapshot="monday")
    warden.fail("zfs rollback")
    assert run(warden, operation, tmp_path) == "failed", operation.error
    assert warden.picture() == before and warden.read("/jail/www1/root/page") == "new\n"


def test_sandbox(committed, warden, tmp_path):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.sh("zfs snapshot zroot/cellblock/host/www1@monday")
    wish = {"jail": str(www1.uuid), "snapshot": "monday", "name": "try1", "start": True}
    operation = warden.confirm("sandbox_create", **wish)
    assert run(warden, operation, tmp_path) == "done", operation.error
    assert warden.running() == {"www1": "/jail/www1", "try1": "/jail/try1"}
    assert worked(warden, "jail", "-c", "try1") == 1
    assert warden.do("jail_destroy", jail=str(Jail.objects.get(name="try1").uuid), name="try1").status == "done"
    before = warden.picture()
    assert before["jails"] == {"www1": "/jail/www1"} and not any("try1" in str(row) for row in before["zfs"])
    operation = warden.confirm("sandbox_create", **wish)
    warden.fail("jail -f /etc/jail.conf.d/try1.conf -q -c")
    assert run(warden, operation, tmp_path) == "failed", operation.error
    assert warden.picture() == before and Jail.objects.count() == 1


@pytest.mark.parametrize("start", [True, False])
def test_file_restore(committed, warden, tmp_path, start):
    www1 = warden.make("www1", start=start)
    warden.sh("mkdir /jail/www1/srv; echo old >/jail/www1/srv/page; zfs snapshot zroot/cellblock/host/www1@monday")
    warden.sh("echo new >/jail/www1/srv/page")
    wish = {"jail": str(www1.uuid), "snapshot": "monday", "path": "/srv/page", "how": "replace"}
    operation = warden.confirm("file_restore", **wish)
    assert run(warden, operation, tmp_path) == "done", operation.error
    before = f"page.before-{str(operation.pk)[:8]}"
    assert warden.sh("ls -A /jail/www1/srv").split() == ["page", before]
    assert warden.read("/jail/www1/srv/page") == "old\n" and warden.read(f"/jail/www1/srv/{before}") == "new\n"
    assert list(warden.running()) == ["www1"] * start


def test_snapshots(committed, warden, tmp_path):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("zfs snapshot zroot/cellblock/host/www1@monday; zfs snapshot zroot/cellblock/host/www1@tuesday")
    operation = warden.confirm("snapshot_destroy", jail=str(www1.uuid), snapshots=["monday", "tuesday"])
    assert run(warden, operation, tmp_path) == "done", operation.error
    warden.sh("zfs snapshot zroot/cellblock/host/www1@thursday")
    for kind, count in (("snapshot_hold", 1), ("snapshot_release", 0)):
        operation = warden.confirm(kind, jail=str(www1.uuid), snapshot="thursday")
        assert run(warden, operation, tmp_path) == "done", operation.error
        (thursday,) = warden.facts().snapshots_of(www1.dataset)
        assert thursday.userrefs == count == len(thursday.marks)
    warden.sh("zfs destroy zroot/cellblock/host/www1@thursday")
    operation = warden.confirm("snapshot_create", jail=str(www1.uuid), name="friday")
    assert run(warden, operation, tmp_path) == "done", operation.error
    assert [one.name for one in warden.facts().snapshots_of(www1.dataset)] == [f"{www1.dataset}@friday"]
    assert warden.facts().snapshots[-1].operation == str(operation.pk)
    assert worked(warden, "zfs", "snapshot", f"{www1.dataset}@friday") == 1


@pytest.mark.parametrize("start", [True, False])
def test_keys(committed, warden, tmp_path, start):
    """A jail in which nothing can be asked: each step is done again, and once is as good as many times."""
    www1 = warden.make("www1", "192.0.2.11", start=start)
    for key in KEYS[:2]:
        SshKey.objects.create(
            user=warden.user, name=key.comment, type=key.type, body=key.body, fingerprint=key.fingerprint
        )
    wish = {"login": "web", "person": warden.user.pk, "keys": [key.fingerprint for key in KEYS[:2]], "sshd": True}
    before = warden.running()
    operation = warden.confirm("keys_change", jail=str(www1.uuid), **wish)
    assert run(warden, operation, tmp_path) == "done", operation.error
    text = warden.read("/jail/www1/home/web/.ssh/authorized_keys")
    assert sorted(text.splitlines()) == sorted(key.marked(warden.user.pk) for key in KEYS[:2])
    assert warden.read("/jail/www1/etc/passwd").count("\nweb:") == 1
    assert warden.running() == before and JailKey.objects.count() == 2


def test_several_of_which_one_does_not_start(committed, warden, tmp_path):
    rows = [warden.make(f"www{n}", f"192.0.2.1{n}", start=False) for n in (1, 2, 3)]
    operation = warden.confirm("jail_start", jails=[str(row.uuid) for row in rows])
    warden.fail("jail -f /etc/jail.conf.d/www2.conf -q -c", "jail: www2: it resists")
    assert run(warden, operation, tmp_path) == "failed"
    assert operation.error == "1 of 3 failed: www2. Step 2 “Start www2” failed: jail: www2: it resists."
    assert sorted(warden.running()) == ["www1", "www3"] and warden.addresses() == ["192.0.2.11", "192.0.2.13"]
    assert worked(warden, "jail", "-c", "www1") == worked(warden, "jail", "-c", "www3") == 1
