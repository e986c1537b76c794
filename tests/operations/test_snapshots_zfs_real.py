"""Snapshots, putting back and sandboxes on real ZFS (zfs-fuse), by the steps of their kinds."""

import time
from dataclasses import replace

import pytest

from jails.freebsd import zfs
from jails.models import Operation
from jails.operations import jail_rollback, power, sandbox_create, snapshots
from jails.operations.kind import Refused, Request
from jails.operations.step import Run, Step
from tests.operations.test_zfs_real import ground  # noqa: F401

pytestmark = pytest.mark.zfs
Status = Operation.Status


@pytest.fixture
def www1(ground):  # noqa: F811
    """Its page was `old` at @monday, `newer` at @tuesday and is `new` now."""
    row = ground.jail(ground.release())
    row.state = "stopped"
    row.save()
    page = ground.folder / "jail/www1/page"
    for name, text in (("monday", "old\n"), ("tuesday", "newer\n")):
        page.write_text(text)
        assert take(ground, row, name).status == Status.DONE
        time.sleep(1.1)
    page.write_text("new\n")
    return row


def request(ground, key="", **parameters):  # noqa: F811
    return Request(key, parameters, ground.host, ground.facts())


def take(ground, row, name):  # noqa: F811
    return ground.do(lambda key: [snapshots.take_step(request(ground, key), row, name, kind=snapshots.BY_HAND)])


def back(ground, row, name, *meanwhile):  # noqa: F811
    """Put it back, where a command is run between the plan and what it does."""
    first = [Step(key="meanwhile", purpose="Do as somebody else", action=Run((meanwhile,)))] if meanwhile else []

    def make(key):
        asked = request(ground, key)
        own = snapshots.look(row, asked.facts)
        found = power.Found(row, "", None, None, False, "")
        return [*first, *jail_rollback._steps(asked, found, own, own.find(name), ())]

    return ground.do(make)


def listed(ground):  # noqa: F811
    return [name for name in ground.names() if name.startswith("host/www1@")]


def test_a_snapshot_carries_who_took_it(ground, www1):  # noqa: F811
    own = snapshots.look(www1, ground.facts())
    assert [snapshots.short(one) for one in own.snapshots] == ["monday", "tuesday"]
    assert not any(snapshots.is_automatic(one) or one.userrefs or one.clones for one in own.snapshots)
    assert str(Operation.objects.order_by("created_at").last().pk) == own.snapshots[-1].operation


def test_putting_back_takes_newer_ones_along(ground, www1):  # noqa: F811
    operation = back(ground, www1, "monday")
    assert operation.status == Status.DONE, operation.error
    assert (ground.folder / "jail/www1/page").read_text() == "old\n" and listed(ground) == ["host/www1@monday"]


def test_putting_back_to_the_newest(ground, www1):  # noqa: F811
    operation = back(ground, www1, "tuesday")
    assert operation.status == Status.DONE, operation.error
    assert (ground.folder / "jail/www1/page").read_text() == "newer\n" and len(listed(ground)) == 2


@pytest.mark.parametrize("what", ["snapshot", "clone", "hold"])
def test_what_appears_meanwhile_is_not_lost(ground, www1, what):  # noqa: F811
    newest = f"{www1.dataset}@tuesday"
    happens = {
        "snapshot": ("snapshot", f"{www1.dataset}@byhand"),
        "clone": ("clone", "-o", "mountpoint=none", newest, f"{ground.home}/byhand"),
        "hold": ("hold", "mine", newest),
    }
    operation = back(ground, www1, "monday", "zfs", *happens[what])
    assert operation.status == Status.FAILED and "it needs that" in operation.error, operation.error
    assert (ground.folder / "jail/www1/page").read_text() == "new\n" and "host/www1@tuesday" in listed(ground)
    own = snapshots.look(www1, replace_clones(ground, newest))
    if what != "snapshot":
        with pytest.raises(Refused):
            snapshots.refuse_in_use(own, own.newer(own.find("monday")), "A newer snapshot cannot go")
    if what == "hold":
        ground.zfs("release", "mine", newest)


def replace_clones(ground, newest):  # noqa: F811
    """The old ZFS lists no clones of a snapshot: they are those that have it as their origin."""
    facts = ground.facts()
    clones = tuple(one.name for one in facts.datasets if one.origin == newest)
    found = tuple(replace(one, clones=clones) if one.name == newest else one for one in facts.snapshots)
    return replace(facts, snapshots=found)


def test_keeping_one_and_letting_it_go(ground, www1):  # noqa: F811
    """What real ZFS says of a hold is what the questions of the steps understand."""
    own = snapshots.look(www1, ground.facts())
    tuesday = own.find("tuesday")
    operation = ground.do(lambda key: snapshots.keep_steps(request(ground, key), www1, tuesday))
    assert operation.status == Status.DONE, operation.error
    kept = snapshots.look(www1, ground.facts()).find("tuesday")
    assert snapshots.is_kept(kept) and kept.marks[snapshots.KEEP] == str(operation.pk)
    assert back(ground, www1, "monday").status == Status.FAILED
    refused = ground.do(lambda key: [snapshots.drop_step(www1, kept)])
    assert refused.status == Status.FAILED and "neither clones nor holds" in refused.error
    assert len(listed(ground)) == 2 and (ground.folder / "jail/www1/page").read_text() == "new\n"
    operation = ground.do(lambda key: snapshots.let_go_steps(www1, kept))
    assert operation.status == Status.DONE, operation.error
    gone = snapshots.look(www1, ground.facts()).find("tuesday")
    assert not gone.userrefs and snapshots.KEEP not in gone.marks
    assert back(ground, www1, "monday").status == Status.DONE and listed(ground) == ["host/www1@monday"]


def test_dropping_one(ground, www1):  # noqa: F811
    own = snapshots.look(www1, ground.facts())
    operation = ground.do(lambda key: [snapshots.drop_step(www1, own.find("monday"))])
    assert operation.status == Status.DONE, operation.error
    assert listed(ground) == ["host/www1@tuesday"]


def test_a_sandbox_is_a_clone_with_a_quota_and_its_own_files(ground, www1):  # noqa: F811
    (ground.folder / "jail/try1").mkdir()

    def make(key):
        asked = request(ground, key, quota=1 << 26, limits={}, start=False)
        own = snapshots.look(www1, asked.facts)
        place = f"{ground.home}/host/try1", f"{ground.jails}/try1"
        copy = sandbox_create._Copy(asked, own, own.find("monday"), "try1", *place)
        return [sandbox_create._clone(copy)]

    operation = ground.do(make)
    assert operation.status == Status.DONE, operation.error
    copy = f"{ground.home}/host/try1"
    assert (ground.folder / "jail/try1/page").read_text() == "old\n"
    (ground.folder / "jail/try1/page").write_text("tried\n")
    assert (ground.folder / "jail/www1/page").read_text() == "new\n"
    assert (ground.value(copy, "origin"), ground.value(copy, "quota")) == (f"{www1.dataset}@monday", "64M")
    # Turned round, the jail would depend on its copy: the one that is left can go only after that.
    ground.zfs(*zfs.promote(copy)[1:])
    assert ground.value(www1.dataset, "origin") == f"{copy}@monday" and ground.value(copy, "origin") != copy
