"""Keeping a snapshot and letting it go again, on a simulated host, through the real engine."""

import pytest

from jails.operations import snapshots
from tests.operations.test_snapshots import WWW1, listed, refused, rollback, text


@pytest.fixture
def kept(warden):
    """A stopped jail whose page was `old` at monday and `newer` at tuesday, which is kept, and is `new` now."""
    www1 = warden.make("www1", start=False)
    for name, words in (("monday", "old"), ("tuesday", "newer")):
        warden.sh(f"echo {words} >/jail/www1/root/page; sleep 1.1; zfs snapshot {WWW1}@{name}")
    warden.sh("echo new >/jail/www1/root/page")
    return www1, keep(warden, www1)


def keep(warden, row, name="tuesday"):
    operation = warden.do("snapshot_hold", jail=str(row.uuid), snapshot=name)
    assert (operation.status, operation.error) == ("done", "")
    return operation


def let_go(warden, row, name="tuesday"):
    return warden.do("snapshot_release", jail=str(row.uuid), snapshot=name)


def holds(warden, name="tuesday"):
    lines = warden.simulation.run("zfs", "holds", "-H", f"{WWW1}@{name}").splitlines()
    return [line.split("\t")[1] for line in lines]


def found(warden, name="tuesday"):
    return next(one for one in warden.facts().snapshots_of(WWW1) if snapshots.short(one) == name)


def test_what_is_kept_is_held_and_says_by_which_operation(warden, kept):
    _, operation = kept
    assert operation.title == "Keep the snapshot tuesday of www1"
    assert holds(warden) == ["cellblock"] and snapshots.is_kept(found(warden))
    assert found(warden).marks[snapshots.KEEP] == str(operation.pk) and not snapshots.is_kept(found(warden, "monday"))


def test_it_cannot_go_until_it_is_let_go(warden, kept):
    www1, _ = kept
    words = "tuesday is kept. Let it go first."
    assert words in refused(warden, "snapshot_destroy", jail=str(www1.uuid), snapshots=["tuesday"])["snapshots"]
    assert words in refused(warden, "jail_rollback", jail=str(www1.uuid), snapshot="monday")[""]
    assert "is kept: let it go first" in refused(warden, "jail_destroy", jail=str(www1.uuid), name="www1")[""]
    assert rollback(warden, www1, "tuesday").status == "done" and text(warden) == "newer\n"
    operation = let_go(warden, www1)
    assert (operation.status, operation.title) == ("done", "Let the snapshot tuesday of www1 go")
    assert holds(warden) == [] and snapshots.KEEP not in found(warden).marks
    assert rollback(warden, www1, "monday").status == "done"
    assert text(warden) == "old\n" and listed(warden) == ["monday"]


def test_a_hold_that_somebody_else_has_stays(warden, kept):
    www1, _ = kept
    warden.sh(f"zfs hold mine {WWW1}@tuesday; zfs hold mine {WWW1}@monday")
    assert "held by somebody" in refused(warden, "snapshot_release", jail=str(www1.uuid), snapshot="monday")["snapshot"]
    assert let_go(warden, www1).status == "done" and holds(warden) == ["mine"]
    assert "zfs holds" in refused(warden, "snapshot_destroy", jail=str(www1.uuid), snapshots=["tuesday"])["snapshots"]
    keep(warden, www1)
    assert sorted(holds(warden)) == ["cellblock", "mine"]


def test_what_was_released_by_hand_is_not_kept_and_can_be_again(warden, kept):
    www1, _ = kept
    operation = warden.confirm("snapshot_release", jail=str(www1.uuid), snapshot="tuesday")
    warden.sh(f"zfs release cellblock {WWW1}@tuesday")
    assert not snapshots.is_kept(found(warden))
    assert "is not kept." in refused(warden, "snapshot_release", jail=str(www1.uuid), snapshot="tuesday")["snapshot"]
    assert warden.work(operation) == "refused"
    again = keep(warden, www1)
    assert found(warden).marks[snapshots.KEEP] == str(again.pk) and holds(warden) == ["cellblock"]
    assert "is kept already" in refused(warden, "snapshot_hold", jail=str(www1.uuid), snapshot="tuesday")["snapshot"]


@pytest.mark.parametrize("what", ["hold cellblock", "inherit"])
def test_where_half_of_it_fails_it_is_as_before(warden, kept, what):
    www1, _ = kept
    before = holds(warden, "monday"), found(warden, "monday").marks, holds(warden), found(warden).marks
    kind, name = ("snapshot_hold", "monday") if what != "inherit" else ("snapshot_release", "tuesday")
    operation = warden.confirm(kind, jail=str(www1.uuid), snapshot=name)
    warden.fail(f"zfs {what}")
    assert warden.work(operation) == "failed", operation.error
    assert before == (holds(warden, "monday"), found(warden, "monday").marks, holds(warden), found(warden).marks)


@pytest.mark.parametrize("kind", ["snapshot_hold", "snapshot_release"])
def test_on_ufs_there_is_nothing_to_keep(plain_warden, kind):
    www1 = plain_warden.make("www1", start=False)
    assert "only ZFS" in refused(plain_warden, kind, jail=str(www1.uuid), snapshot="monday")[""]
