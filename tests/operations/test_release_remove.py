"""Removing a release: what depends on it keeps it, what was copied from it stays."""

import pytest

from jails.models import Jail, Operation, Release
from jails.operations import lifecycle
from jails.operations.kind import Refused
from tests.operations.meddling import Meddling
from tests.operations.world import MIRROR, RELEASE, transcript

Status = Operation.Status
PATH = "/var/db/cellblock/releases/14.2-RELEASE-amd64"


def refused(world, release):
    with pytest.raises(Refused) as error:
        world.draft("release_remove", release=release.pk)
    assert list(error.value.errors) == ["release"]
    return str(error.value)


def test_on_zfs(stocked):
    operation = stocked.done("release_remove", release=stocked.release.pk)
    assert not Release.objects.exists() and stocked.list("/var/db/cellblock/releases") == []
    assert stocked.datasets() == ["zroot", "zroot/cellblock", "zroot/cellblock/releases"]
    assert operation.plan["loses"] == [stocked.release.dataset]


def test_on_ufs(ufs_stocked):
    ufs_stocked.done("release_remove", release=ufs_stocked.release.pk)
    assert not Release.objects.exists() and ufs_stocked.list("/var/db/cellblock/releases") == []


def test_what_was_copied_from_it_stays_and_goes_on_saying_so(stocked):
    jail = stocked.made()
    stocked.done("release_remove", release=stocked.release.pk)
    jail.refresh_from_db()
    assert jail.release == stocked.release and jail.release.state == Release.State.MISSING
    assert stocked.exists("/jail/www1/bin/sh")
    again = {"release": RELEASE, "architecture": "amd64", "source": MIRROR}
    operation = stocked.confirm("release_fetch", **again)
    lifecycle.cancel(operation, user=stocked.user)
    assert Release.objects.get().state == Release.State.MISSING
    stocked.done("release_fetch", **again)
    jail.refresh_from_db()
    assert jail.release.state == Release.State.READY and jail.release.pk == stocked.release.pk


def test_a_clone_keeps_it(stocked):
    stocked.made(kind="thin")
    assert "www1" in refused(stocked, stocked.release)
    stocked.sh("rm /etc/jail.conf.d/www1.conf")
    Jail.objects.all().delete()
    assert "zroot/cellblock/host/www1" in refused(stocked, stocked.release)


def test_what_is_being_made_from_it_keeps_it(stocked):
    stocked.confirm("jail_create", **stocked.wish())
    assert "www1" in refused(stocked, stocked.release)


def test_from_its_confirmation_on_no_jail_is_made_from_it(stocked):
    jail = stocked.draft("jail_create", **stocked.wish())
    operation = stocked.confirm("release_remove", release=stocked.release.pk)
    assert Release.objects.get().state == Release.State.REMOVING
    with pytest.raises(Refused):
        lifecycle.confirm(jail, jail.digest, user=stocked.user)
    with pytest.raises(Refused):
        stocked.draft("jail_create", **stocked.wish())
    lifecycle.cancel(operation, user=stocked.user)
    assert Release.objects.get().state == Release.State.READY
    lifecycle.confirm(jail, jail.digest, user=stocked.user)


def test_what_a_person_keeps_in_it_keeps_it(stocked):
    dataset = stocked.release.dataset
    stocked.sh(f"zfs snapshot {dataset}@mine")
    assert f"{dataset}@mine" in refused(stocked, stocked.release)
    stocked.sh(f"zfs destroy {dataset}@mine; zfs create {dataset}/mine")
    assert f"{dataset}/mine" in refused(stocked, stocked.release)


def test_what_the_panel_did_not_make_is_left_alone(stocked):
    stocked.sh(f"zfs inherit cellblock:operation {stocked.release.dataset}")
    assert "not as Cellblock made it" in refused(stocked, stocked.release)


def test_a_clone_made_meanwhile_keeps_it(stocked):
    operation = stocked.confirm("release_remove", release=stocked.release.pk)
    stocked.sh(f"zfs clone -o mountpoint=none {stocked.release.snapshot} zroot/mine")
    assert stocked.work(operation) == Status.REFUSED, transcript(operation)
    assert Release.objects.get().state == Release.State.READY and stocked.release.snapshot in stocked.datasets()


@pytest.mark.parametrize("text", ["zfs clone -o mountpoint=none {0}@cellblock zroot/mine", "zfs snapshot {0}@mine"])
def test_what_somebody_makes_just_before_its_first_step_keeps_it(stocked, text):
    dataset = stocked.release.dataset
    operation = stocked.confirm("release_remove", release=stocked.release.pk)
    meddling = Meddling(stocked.connection, 1, lambda: stocked.sh(text.format(dataset)))
    stocked.work(operation, connect=lambda host: meddling)
    assert operation.status == Status.FAILED, transcript(operation)
    assert stocked.release.snapshot in stocked.datasets() and stocked.exists(f"{PATH}/bin/sh")
    assert {"zroot/mine", f"{dataset}@mine"} & set(stocked.datasets())
    assert Release.objects.get().state == Release.State.READY
    again = stocked.release.snapshot
    assert stocked.value(again, "cellblock:operation") == stocked.value(dataset, "cellblock:operation")


def test_what_somebody_makes_in_the_last_moment_is_not_taken_along(stocked):
    dataset = stocked.release.dataset
    operation = stocked.confirm("release_remove", release=stocked.release.pk)
    meddling = Meddling(stocked.connection, 2, lambda: stocked.sh(f"zfs snapshot {dataset}@mine"))
    stocked.work(operation, connect=lambda host: meddling)
    assert operation.status == Status.STUCK and f"{dataset}@mine" in stocked.datasets()
    assert Release.objects.get().state == Release.State.REMOVING


def test_one_that_is_gone_already_only_loses_its_entry(stocked):
    stocked.sh(f"zfs destroy -r {stocked.release.dataset}")
    operation = stocked.done("release_remove", release=stocked.release.pk)
    assert operation.plan["steps"] == [] and not Release.objects.exists()


def test_a_failed_removal_on_ufs_gives_it_its_name_back(ufs_stocked):
    before = ufs_stocked.picture()
    operation = ufs_stocked.confirm("release_remove", release=ufs_stocked.release.pk)
    ufs_stocked.fail("mv -n", nth=1)
    assert ufs_stocked.work(operation) == Status.FAILED
    ufs_stocked.fault()
    assert ufs_stocked.picture() == before and Release.objects.get().state == Release.State.READY


@pytest.mark.parametrize("value", [None, "1; DROP", -1, 0, True, [1], 2**70])
def test_hostile_values(stocked, value):
    with pytest.raises(Refused) as error:
        lifecycle.draft("release_remove", {"release": value}, host=stocked.row, user=stocked.user)
    assert list(error.value.errors) == ["release"]


def test_a_release_of_another_host_is_none_here(stocked, ufs_world):
    Release.objects.update(host=ufs_world.row)
    refused(stocked, stocked.release)
