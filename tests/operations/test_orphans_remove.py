"""What nobody owns is found on a simulated host, and removed by its name while it still is nobody's."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from jails.hosts import surveying
from jails.hosts.orphans import KINDS
from jails.models import AuditEntry, HostSurveyRecord, Jail, Operation, ResourceLock
from jails.operations import checks, effects, lifecycle, orphans_remove
from jails.operations import kind as kinds
from jails.operations.kind import Refused
from jails.operations.step import step_from_data
from tests.operations.killing import kill_everywhere

ENDED = "11111111-2222-4333-8444-555555555555"
OPEN = "22222222-2222-4333-8444-555555555555"
OTHER = "33333333-2222-4333-8444-555555555555"


@pytest.fixture
def host(warden):
    """With limits in its kernel, an operation that has ended and one that has not."""
    state = warden.simulation.directory / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"racct": True}))
    for key, status in ((ENDED, "failed"), (OPEN, "stuck")):
        Operation.objects.create(pk=key, host=warden.row, kind="jail_create", status=status)
    warden.make("www1", "192.0.2.11")
    return warden


def leave(host, *what):
    """Each of these without an owner."""
    made = {
        "dataset": "zfs create -o mountpoint=/jail/old zroot/cellblock/host/old;"
        " zfs snapshot zroot/cellblock/host/old@a",
        "mount": "mkdir -p /jail/gone/dev; mount -t devfs -o ruleset=4 devfs /jail/gone/dev",
        "nullfs": "mkdir -p /jail/gone/ports /usr/ports; mount -t nullfs -o ro /usr/ports /jail/gone/ports",
        "epair": "ifconfig epair create; ifconfig bridge0 create; ifconfig bridge0 addm epair0a",
        "alias": "ifconfig em0 192.0.2.77/32 alias",
        "rctl": "rctl -a jail:gone:maxproc:deny=10; rctl -a jail:www1:maxproc:deny=20",
        "devfs": "devfs rule -s 17 add path 'bpf*' unhide; devfs rule -s 17 add include 1",
        "fstab": "echo '/usr/ports /jail/gone/ports nullfs ro 0 0' >/etc/fstab.gone",
        "draft": f"mkdir -p /jail/.x.{ENDED}/a; echo 1 >/jail/.x.{ENDED}/a/b; chflags schg /jail/.x.{ENDED}/a/b;"
        f" echo 1 >/etc/jail.conf.d/.x.conf.{ENDED}",
        "lock": f"mkdir -p /var/run/cellblock; echo 1 >/var/run/cellblock/{ENDED}; echo 1 >/var/run/cellblock/{OPEN};"
        f" echo 1 >/var/run/cellblock/{OTHER}",
    }
    for one in what or made:
        host.sh(made[one])


def look(host):
    """As a refresh and a survey do: key → orphan."""
    host.refresh()
    surveying.survey(host.row, connection=lambda row: host.connection)
    found = orphans_remove.find(host.row, lifecycle.facts_of(host.row))
    assert found.unknown == ()
    return {orphan.key: orphan for orphan in found.orphans}


def cleanable(host):
    return sorted(key for key, orphan in look(host).items() if not orphan.kept)


def test_a_host_in_order_has_none(host):
    # `base` stands for a release of which there is no row.
    assert list(look(host)) == ["dataset:zroot/cellblock/base", "snapshot:zroot/cellblock/base@cellblock"]
    assert all(orphan.kept for orphan in look(host).values())


def test_each_kind_is_found_and_what_has_an_owner_is_not(host):
    leave(host)
    assert cleanable(host) == [
        "alias:192.0.2.77",
        "dataset:zroot/cellblock/host/old",
        "devfs:17",
        f"draft:/etc/jail.conf.d/.x.conf.{ENDED}",
        f"draft:/jail/.x.{ENDED}",
        "epair:epair0a",
        "fstab:/etc/fstab.gone",
        f"lock:/var/run/cellblock/{ENDED}",
        "mount:/jail/gone/dev",
        "mount:/jail/gone/ports",
        "rctl:jail:gone:maxproc:deny=10",
    ]
    found = look(host)
    assert f"lock:/var/run/cellblock/{OPEN}" not in found and found[f"lock:/var/run/cellblock/{OTHER}"].kept
    assert {orphan.kind for orphan in found.values()} == set(KINDS)
    assert all(orphan.origin.endswith(".") for orphan in found.values())


def test_all_of_it_goes_and_nothing_else(host):
    before = host.picture()
    leave(host)
    keys = cleanable(host)
    operation = host.do("orphans_remove", orphans=keys)
    assert (operation.status, operation.error) == ("done", "")
    assert cleanable(host) == []
    host.sh("rm -r /var/run/cellblock/[23]*; rmdir /jail/gone/dev /jail/gone/ports /jail/gone")
    assert host.picture() == before
    assert "jail:www1:maxproc:deny=20" in host.sh("rctl")
    assert "epair0a" not in host.sh("ifconfig -l") and "bridge0" in host.sh("ifconfig -l")
    commands = "\n".join(host.commands())
    assert "destroy -r" not in commands and "destroy -R" not in commands and "umount -f" not in commands
    assert commands.index("ifconfig bridge0 deletem epair0a") < commands.index("ifconfig epair0a destroy")


@pytest.mark.parametrize("what", ["nullfs", "alias", "rctl", "devfs", "fstab"])
def test_what_can_be_undone_is_as_it_was(host, what):
    leave(host, what)
    before = state(host)
    (key,) = cleanable(host)
    operation = host.do("orphans_remove", orphans=[key])
    assert operation.status == "done" and state(host) != before
    (row,) = operation.steps.all()
    (undo,) = step_from_data(row.data).undo
    assert checks.all_hold(host.connection, undo.only_if)
    assert host.connection.run(effects.pipeline(undo.action, operation.pk), timeout=60).ok
    assert state(host) == before and not checks.all_hold(host.connection, undo.only_if)


def state(host):
    """All that such an operation could change."""
    return host.picture(), host.sh(
        "rctl | sort; devfs rule showsets; devfs rule -s 17 show || true; mount -p; ifconfig -a | sed s/tentative//"
    )


CHANGES = {
    "mount:/jail/gone/dev": "umount /jail/gone/dev; mount -t tmpfs tmpfs /jail/gone/dev",
    "dataset:zroot/cellblock/host/old": "zfs create -o mountpoint=/mnt/x zroot/cellblock/host/old/new",
    "epair:epair0a": "ifconfig epair0b 203.0.113.9/24",
    "alias:192.0.2.77": "jail -c name=new path=/ ip4.addr=192.0.2.77 persist",
    "rctl:jail:gone:maxproc:deny=10": "rctl -r jail:gone:maxproc; rctl -a jail:gone:maxproc:deny=11",
    "devfs:17": "devfs rule -s 17 add path zero unhide",
    "fstab:/etc/fstab.gone": "echo more >>/etc/fstab.gone",
    f"draft:/jail/.x.{ENDED}": f"mkdir -p /usr/ports; mount -t nullfs /usr/ports /jail/.x.{ENDED}/a",
}
OWNERS = {
    "mount:/jail/gone/dev": "jail -c name=gone path=/jail/gone persist",
    "dataset:zroot/cellblock/host/old": "jail -c name=new path=/jail/old persist",
    "epair:epair0a": "sysrc cloned_interfaces=epair0",
    "alias:192.0.2.77": "sysrc ifconfig_em0_alias0='inet 192.0.2.77/32'",
    "rctl:jail:gone:maxproc:deny=10": "jail -c name=gone path=/ persist",
    "devfs:17": "jail -c name=new path=/ devfs_ruleset=17 persist",
    "fstab:/etc/fstab.gone": "echo 'gone { path=/jail/gone; mount.fstab=/etc/fstab.gone; persist; }' >/etc/jail.conf",
}


@pytest.mark.parametrize("key", OWNERS)
def test_what_somebody_has_taken_since_is_left_alone(host, key):
    """Between the plan and its start: the worker plans again, and refuses."""
    leave(host)
    assert key in cleanable(host)
    operation = host.confirm("orphans_remove", orphans=[key])
    host.sh(OWNERS[key])
    before = host.picture()
    host.work(operation)
    assert operation.status not in ("done", "running"), operation.error
    assert host.picture() == before
    assert not ResourceLock.objects.exists()


@pytest.mark.parametrize(("key", "change"), [*CHANGES.items(), *OWNERS.items()])
def test_each_step_looks_once_more(host, monkeypatch, key, change):
    """Something happens after the worker has planned again, right before the command."""
    leave(host)
    assert key in cleanable(host)
    operation = host.confirm("orphans_remove", orphans=[key])
    real, after = orphans_remove.OrphansRemove.plan, []

    def plan(self, request):
        planned = real(self, request)
        if not after:
            host.sh(change)
            after.append(state(host))
        return planned

    monkeypatch.setattr(orphans_remove.OrphansRemove, "plan", plan)
    host.work(operation)
    assert operation.status == "failed", operation.error
    assert state(host) == after[0]


def test_the_steps_of_one_that_fails_do_not_keep_the_others(host):
    leave(host, "alias", "rctl")
    look(host)
    operation = host.confirm("orphans_remove", orphans=["alias:192.0.2.77", "rctl:jail:gone:maxproc:deny=10"])
    host.fail("ifconfig em0")
    host.work(operation)
    assert operation.status == "failed"
    host.fault()
    assert "192.0.2.77" in host.addresses() and "jail:gone" not in host.sh("rctl")


def test_what_a_dataset_holds_goes_first_and_only_when_it_was_chosen(host):
    leave(host, "dataset")
    host.sh("zfs create zroot/cellblock/host/old/data")
    assert cleanable(host) == ["dataset:zroot/cellblock/host/old", "dataset:zroot/cellblock/host/old/data"]
    with pytest.raises(Refused, match="old/data"):
        host.draft("orphans_remove", orphans=["dataset:zroot/cellblock/host/old"])
    assert host.do("orphans_remove", orphans=cleanable(host)).status == "done"
    assert cleanable(host) == []


@pytest.mark.parametrize(
    "keys",
    [[], None, "dataset:x", [1], ["x"], ["dataset:"], ["zpool:zroot"], ["dataset:a\nb"], ["dataset:x"] * 101],
)
def test_nonsense_is_refused_at_its_field(warden, keys):
    with pytest.raises(Refused) as refusal:
        kinds.get("orphans_remove").clean({"orphans": keys})
    assert set(refusal.value.errors) == {"orphans"}


@pytest.mark.parametrize(
    "key", ["dataset:zroot", "dataset:zroot/cellblock/host/www1", "mount:/jail/www1/dev", "lock:/etc"]
)
def test_what_is_no_orphan_is_refused(host, key):
    look(host)
    with pytest.raises(Refused, match="left alone"):
        host.draft("orphans_remove", orphans=[key])


def test_what_stays_is_refused_with_its_reason(host):
    look(host)
    with pytest.raises(Refused, match="www1 is a clone of it"):
        host.draft("orphans_remove", orphans=["dataset:zroot/cellblock/base"])


def test_nothing_is_an_orphan_where_a_file_of_jails_cannot_be_read(host):
    leave(host, "alias")
    look(host)
    host.write("/etc/jail.conf.d/odd.conf", "odd { path = ")
    with pytest.raises(Refused, match=r"odd\.conf"):
        host.draft("orphans_remove", orphans=["alias:192.0.2.77"])


def test_before_the_first_survey_it_is_said(host):
    leave(host, "alias")
    with pytest.raises(Refused, match="not been surveyed"):
        host.draft("orphans_remove", orphans=["alias:192.0.2.77"])


def test_an_old_survey_is_not_enough(host):
    leave(host, "alias")
    look(host)
    operation = host.confirm("orphans_remove", orphans=["alias:192.0.2.77"])
    HostSurveyRecord.objects.update(gathered_at=timezone.now() - timedelta(minutes=31))
    with pytest.raises(Refused, match="check this host again"):
        host.draft("orphans_remove", orphans=["alias:192.0.2.77"])
    host.work(operation)
    assert operation.status != "done" and "192.0.2.77" in host.addresses()
    HostSurveyRecord.objects.update(gathered_at=timezone.now() - timedelta(minutes=29))
    host.draft("orphans_remove", orphans=["alias:192.0.2.77"])


def test_afterwards_a_survey_is_asked_for(host, messages, django_capture_on_commit_callbacks):
    leave(host, "alias")
    look(host)
    messages.clear()
    with django_capture_on_commit_callbacks(execute=True):
        host.do("orphans_remove", orphans=["alias:192.0.2.77"])
    assert any(task == "survey_host" for task, *_ in messages)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fails", ["", "rctl -r"])
def test_kill_everywhere(committed, host, tmp_path, fails):
    leave(host)
    keys = cleanable(host)
    before = host.picture()
    operation = host.confirm("orphans_remove", orphans=keys)
    if fails:
        host.fail(fails)
    died = kill_everywhere(operation, host.connection, Path(tmp_path) / "died", lambda: None)
    assert len(died) > 2 * len(keys)
    assert operation.status == ("failed" if fails else "done"), operation.error
    assert cleanable(host) == (["rctl:jail:gone:maxproc:deny=10"] if fails else [])
    assert host.running() == before["jails"] and not ResourceLock.objects.exists()
    ends = AuditEntry.objects.filter(operation=str(operation.pk)).exclude(action="operation.confirm")
    assert [entry.outcome for entry in ends] == [operation.status]
    assert list(Jail.objects.values_list("name", flat=True)) == ["www1"]
