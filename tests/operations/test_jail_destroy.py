"""Destroying a jail: all of it goes, nothing else does, and up to the last moment nothing has."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.models import Address, AuditEntry, Jail, Template
from jails.operations import jail_destroy, lifecycle
from jails.operations.kind import Refused
from tests.operations.warden import QUICK


def destroy(warden, row):
    return warden.do("jail_destroy", jail=str(row.uuid), name=row.name)


def confirm(warden, row):
    return warden.confirm("jail_destroy", jail=str(row.uuid), name=row.name)


def refused(warden, row, name=None):
    with pytest.raises(Refused) as refusal:
        warden.draft("jail_destroy", jail=str(row.uuid), name=row.name if name is None else name)
    return refusal.value.errors


def left_of(warden, name):
    """All that bears the name on the host."""
    folders = "/etc/jail.conf.d /jail /var/log/cellblock /var/run/cellblock /etc/rc.conf"
    found = warden.sh(f"find {folders} -name '*{name}*' -maxdepth 1; grep -o '[^ ]*{name}[^ ]*' /etc/rc.conf || true")
    datasets = [one for one in warden.datasets() if name in one] if warden.zfs else []
    return [*found.split(), *datasets, *(one for one in warden.mounts() if name in one)]


def test_a_running_jail_goes_with_all_that_is_its(warden):
    warden.make("db", "192.0.2.20", boot=True)
    before = warden.picture()
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.sh("zfs snapshot zroot/cellblock/host/www1@monday; zfs create zroot/cellblock/host/www1/data")
    warden.sh("echo old >/var/log/cellblock/www1.log.0.bz2; sysrc -q jail_list='www1 db'")
    operation = destroy(warden, www1)
    assert (operation.status, operation.error) == ("done", "")
    assert left_of(warden, "www1") == []
    assert warden.running() == {"db": "/jail/db"} and warden.addresses() == ["192.0.2.20"]
    assert warden.picture() == before
    assert list(Jail.objects.values_list("name", flat=True)) == ["db"]
    assert list(Address.objects.values_list("ip", flat=True)) == ["192.0.2.20"]
    assert operation.subject == "www1" and operation.title == "Destroy www1"
    entry = AuditEntry.objects.filter(operation=str(operation.pk), action="jail.destroy").get()
    assert entry.outcome == "done"
    order = [line for line in warden.commands() if line.startswith(("sysrc jail", "jail ", "rm /etc", "zfs destroy"))]
    assert order[:3] == [
        "sysrc jail_list=db",
        "jail -f /etc/jail.conf.d/www1.conf -q -r www1",
        "rm /etc/jail.conf.d/www1.conf",
    ]
    assert order[3] == "zfs destroy -r zroot/cellblock/host/www1"
    warden.refresh()
    assert list(Jail.objects.values_list("name", flat=True)) == ["db"]


def test_the_plan_names_all_that_will_be_lost(warden):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.sh("dd if=/dev/zero of=/jail/www1/root/big bs=1m count=2 2>/dev/null")
    warden.sh("zfs snapshot zroot/cellblock/host/www1@monday; zfs create zroot/cellblock/host/www1/data")
    operation = warden.draft("jail_destroy", jail=str(www1.uuid), name="www1")
    assert operation.plan["loses"] == [
        "the dataset zroot/cellblock/host/www1, with all files in /jail/www1",
        "the dataset zroot/cellblock/host/www1/data, below it, with all its files",
        "the snapshot zroot/cellblock/host/www1@monday",
        "/etc/jail.conf.d/www1.conf",
        "/var/log/cellblock/www1.log, with older ones",
        "the address 192.0.2.11: it is free for others",
        "its place in the list of what starts at boot",
    ]
    assert len(operation.plan["sizes"]) == 7 and "MiB" in operation.plan["sizes"][0]
    assert "www1 runs, and will be stopped." in operation.plan["warnings"]


def test_what_it_holds_is_no_part_of_what_is_confirmed_but_a_new_snapshot_is(warden):
    www1 = warden.make("www1")
    first = warden.draft("jail_destroy", jail=str(www1.uuid), name="www1")
    warden.sh("dd if=/dev/zero of=/jail/www1/root/big bs=1m count=2 2>/dev/null")
    operation = confirm(warden, www1)
    assert operation.plan["sizes"] != first.plan["sizes"]
    warden.sh("dd if=/dev/zero of=/jail/www1/root/bigger bs=1m count=4 2>/dev/null")
    warden.sh("zfs snapshot zroot/cellblock/host/www1@meanwhile")
    assert warden.work(operation) == "stale"
    assert "the snapshot zroot/cellblock/host/www1@meanwhile" in operation.plan["loses"]
    lifecycle.accept_new_plan(operation, operation.digest, user=warden.user)
    assert warden.work(operation) == "done"


def test_on_ufs(plain_warden):
    keep = plain_warden.make("db", "192.0.2.20", start=False)
    before = plain_warden.picture()
    www1 = plain_warden.make("www1", "192.0.2.11")
    plain_warden.sh("chflags schg /jail/www1/root")
    operation = destroy(plain_warden, www1)
    assert (operation.status, operation.error) == ("done", "")
    assert left_of(plain_warden, "www1") == [] and plain_warden.picture() == before
    assert list(Jail.objects.all()) == [keep] and plain_warden.addresses() == []
    removed = [line for line in plain_warden.commands() if line.startswith(("rm -rfx", "chflags"))]
    assert removed == [
        f"chflags -R -x noschg /jail/.www1.{operation.pk}",
        f"rm -rfx /jail/.www1.{operation.pk}",
    ]


def test_limits_of_rctl_go_as_well(warden):
    state = warden.simulation.directory / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"racct": True}))
    www1 = warden.make("www1", start=False)
    warden.sh("rctl -a jail:www1:maxproc:deny=10; rctl -a jail:www10:maxproc:deny=10")
    assert destroy(warden, www1).status == "done"
    assert warden.simulation.run("rctl") == "jail:www10:maxproc:deny=10\n"


def test_the_next_jail_of_that_name_finds_nothing(warden):
    for _ in range(2):
        www1 = warden.make("www1", "192.0.2.11", boot=True)
        operation = destroy(warden, www1)
        assert (operation.status, operation.error) == ("done", "")


# What is refused


def test_the_name_must_be_typed(warden):
    www1 = warden.make("www1", start=False)
    for name in ("www2", "", "WWW1", "www1 "):
        assert set(refused(warden, www1, name=name)) == {"name"}


def test_a_jail_that_the_panel_did_not_make(warden):
    warden.write("/etc/jail.conf", "db { path = /mnt; }\n")
    assert "not the panel's to destroy" in refused(warden, warden.find("db"))[""]


def test_one_that_another_jail_or_a_template_is_cloned_from(warden):
    www1 = warden.make("www1", start=False)
    www2 = warden.make("www2", start=False)
    warden.sh(
        f"zfs snapshot {www1.dataset}@s; zfs destroy {www2.dataset}; zfs clone {www1.dataset}@s {www2.dataset}; "
        f"zfs clone {www1.dataset}@s zroot/cellblock/base/web; zfs clone {www1.dataset}@s zroot/mine"
    )
    Template.objects.create(
        host=warden.row, name="web", architecture="amd64", storage="zfs", dataset="zroot/cellblock/base/web", path="/x"
    )
    assert (
        refused(warden, www1)[""]
        == "the template web, the jail www2 and zroot/mine is cloned from it, and would go with it: destroy that first."
    )
    assert www1.dataset in warden.datasets()


def test_a_snapshot_that_somebody_holds(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs snapshot {www1.dataset}@kept; zfs hold mine {www1.dataset}@kept")
    assert f"{www1.dataset}@kept is held by somebody" in refused(warden, www1)[""]


@pytest.mark.parametrize("storage", ["zfs", "ufs"])
def test_a_live_mount_in_its_tree(warden, storage):
    www1 = warden.make("www1", start=False, storage=storage)
    warden.sh("mkdir /home2; echo precious >/home2/file; mount -t nullfs /home2 /jail/www1/mnt")
    assert "/jail/www1/mnt is mounted in its tree, and is not the jail's" in refused(warden, www1)[""]
    assert warden.read("/home2/file") == "precious\n"


def test_another_file_system_over_its_path(plain_warden):
    www1 = plain_warden.make("www1", start=False)
    plain_warden.sh("mount -t tmpfs tmpfs /jail/www1")
    assert "/jail/www1 is mounted in its tree" in refused(plain_warden, www1)[""]


def test_a_dataset_with_a_part_elsewhere(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs create -o mountpoint=/backup {www1.dataset}/backup")
    assert "belongs at /backup, outside of the jail" in refused(warden, www1)[""]


def test_a_dataset_whose_mount_point_is_not_its_path(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs set mountpoint=/elsewhere {www1.dataset}")
    assert "belongs at /elsewhere, expected /jail/www1" in refused(warden, www1)[""]


def test_somebody_elses_dataset_of_the_same_name(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs destroy {www1.dataset}; zfs create -o mountpoint=/jail/www1 {www1.dataset}")
    assert "is not the dataset that was made for www1" in refused(warden, www1)[""]


def test_a_stranger_that_runs_under_its_name(warden):
    www1 = warden.make("www1", start=False)
    warden.sh("jail -c name=www1 path=/mnt persist")
    assert "another one: its root is /mnt" in refused(warden, www1)[""]


def test_a_jail_that_is_being_made(warden):
    www1 = warden.make("www1", start=False, state=Jail.State.PENDING)
    operation = confirm(warden, warden.make("www2", start=False))
    operation.jails.add(www1)
    type(operation).objects.filter(pk=operation.pk).update(kind="jail_create")
    assert "is being made" in refused(warden, www1)[""]


# Between the plan and the last moment


def swap(warden, row):
    """Somebody else's dataset has taken the place of the jail's."""
    warden.sh(f"zfs rename {row.dataset} zroot/away; zfs set mountpoint=/away zroot/away")
    warden.sh(f"zfs create -o mountpoint=/jail/www1 {row.dataset}; echo theirs >/jail/www1/file")


def test_a_dataset_made_by_hand_at_the_last_moment_is_not_destroyed(warden):
    www1 = warden.make("www1", start=False)
    operation = confirm(warden, www1)
    status = warden.work_with(operation, 'rm "$1"', after=lambda: swap(warden, www1))
    assert status == "failed" and "it needs that cellblock:jail of" in operation.error
    assert warden.read("/jail/www1/file") == "theirs\n" and www1.dataset in warden.datasets()
    assert warden.read(www1.config_path)  # rolled back


def test_a_mount_made_at_the_last_moment_is_not_destroyed_through(warden):
    www1 = warden.make("www1", start=False)
    operation = confirm(warden, www1)
    warden.sh("mkdir /home2; echo precious >/home2/file")
    mount = lambda: warden.sh("mount -t nullfs /home2 /jail/www1/mnt")  # noqa: E731
    assert warden.work_with(operation, 'rm "$1"', after=mount) == "failed"
    assert "nothing is mounted below /jail/www1" in operation.error
    assert warden.read("/home2/file") == "precious\n" and www1.dataset in warden.datasets()


def test_on_ufs_a_mount_made_at_the_last_moment_is_not_removed_through(plain_warden):
    www1 = plain_warden.make("www1", start=False)
    operation = confirm(plain_warden, www1)
    plain_warden.sh("mkdir /home2; echo precious >/home2/file")
    mount = lambda: plain_warden.sh(f"mount -t nullfs /home2 /jail/.www1.{operation.pk}/mnt")  # noqa: E731
    assert plain_warden.work_with(operation, "rm -rfx", before=mount) == "stuck"
    assert plain_warden.read("/home2/file") == "precious\n"
    assert "It cannot be rolled back: the files of www1 are gone, or going" in operation.error


@pytest.mark.parametrize("match", ["sysrc jail_list=db", "jail -f", "rm /etc", "zfs unmount"])
def test_whatever_fails_before_its_tree_goes_nothing_has_changed(warden, match):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.make("db", boot=True)
    warden.sh(f"zfs create {www1.dataset}/data")
    before = warden.picture()
    operation = confirm(warden, www1)
    warden.fail(match)
    assert warden.work(operation) == "failed", operation.error
    assert "it resists" in operation.error
    assert warden.picture() == before and Jail.objects.count() == 2


@pytest.mark.parametrize("again", ["resume", "retry"])
def test_where_its_tree_has_begun_to_go_somebody_must_look(warden, again):
    """Once the cause is gone, the same operation goes on, or another one with what is left."""
    www1 = warden.make("www1", "192.0.2.11")
    operation = confirm(warden, www1)
    warden.fail("zfs destroy")
    assert warden.work(operation) == "stuck"
    assert "It cannot be rolled back: the files of www1 are gone, or going." in operation.error
    assert "resume it" in operation.error and Jail.objects.exists()
    warden.simulation.fault()
    warden.refresh()
    if again == "resume":
        operation = lifecycle.resume(operation, user=warden.user)
    else:
        operation = lifecycle.retry(operation, user=warden.user)
        lifecycle.confirm(operation, operation.digest, user=warden.user)
    assert warden.work(operation) == "done", operation.error
    assert left_of(warden, "www1") == [] and not Jail.objects.exists() and warden.addresses() == []


def test_a_dying_jail_keeps_its_dataset_for_a_moment(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.fault(dying=1)
    operation = confirm(warden, www1)
    assert warden.work(operation, timing=replace(QUICK, backoff=0.5)) == "done", operation.error
    assert left_of(warden, "www1") == []


def test_a_busy_dataset_is_tried_again(warden):
    www1 = warden.make("www1", "192.0.2.11")
    operation = confirm(warden, www1)
    warden.fail("zfs unmount", "cannot unmount '/jail/www1': pool or dataset is busy", nth=1)
    assert warden.work(operation) == "done", operation.error
    assert len([line for line in warden.commands() if line.startswith("zfs unmount")]) == 2


def test_who_keeps_it_busy_is_named_and_the_jail_goes_on(warden):
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    before = warden.picture()
    folder = str(warden.simulation.directory)
    argv = [sys.executable, "-S", "-m", "jails.hosts.simulated", folder, "--", "sh", "-c"]
    shell = subprocess.Popen([*argv, "cd /jail/www1; echo there; sleep 120"], stdout=subprocess.PIPE)
    try:
        assert shell.stdout.readline() == b"there\n"
        operation = destroy(warden, www1)
    finally:
        shell.kill()
        shell.wait()
    assert operation.status == "failed"
    assert "busy" in operation.error and "/jail/www1 is in use by sh (process " in operation.error
    assert warden.picture() == before and Jail.objects.exists()


def test_a_full_pool(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.fault(full="zroot")
    operation = destroy(warden, www1)
    assert (operation.status, operation.error) == ("done", "")


# What is left of a jail


@pytest.mark.parametrize(
    "spoil",
    [
        "zfs destroy -r zroot/cellblock/host/www1",
        "rm /etc/jail.conf.d/www1.conf",
        "rm /etc/jail.conf.d/www1.conf; zfs destroy -r zroot/cellblock/host/www1; rmdir /jail/www1 || true",
    ],
)
def test_what_is_left_of_a_jail_can_be_destroyed(warden, spoil):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    warden.sh(spoil)
    operation = destroy(warden, www1)
    assert (operation.status, operation.error) == ("done", "")
    assert left_of(warden, "www1") == [] and not Jail.objects.exists()


def test_a_jail_whose_making_has_failed_half_way(warden):
    www1 = warden.make("www1", start=False, state=Jail.State.PENDING)
    assert destroy(warden, www1).status == "done" and not Jail.objects.exists()


def test_what_a_crash_has_left_goes_too(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("jail -R www1")
    operation = destroy(warden, www1)
    assert (operation.status, operation.error) == ("done", "")
    assert warden.addresses() == [] and left_of(warden, "www1") == []


def test_the_folder_stays_where_somebody_has_put_something_into_it(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs unmount {www1.dataset}; echo theirs >/jail/www1/file")
    operation = destroy(warden, www1)
    assert operation.status == "done" and warden.read("/jail/www1/file") == "theirs\n"


HOSTILE = st.one_of(st.none(), st.integers(), st.lists(st.text()), st.sampled_from(["a\nb", "a\0", "\u202ewww1"]))


@given(HOSTILE)
def test_hostile_values_are_refused_with_the_field_named(value):
    with pytest.raises(Refused) as refusal:
        jail_destroy.kind.clean({"jail": "7b0d3f2e-0000-4000-8000-000000000000", "name": value})
    assert set(refusal.value.errors) == {"name"}
    with pytest.raises(Refused) as refusal:
        jail_destroy.kind.clean({"jail": value, "name": "www1"})
    assert set(refusal.value.errors) == {"jail"}
