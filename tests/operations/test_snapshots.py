"""Snapshots of a jail by hand, and putting it back to one: on a simulated host, through the real engine."""

import pytest

from jails import plans
from jails.models import Jail, Tenant, TenantPlan
from jails.operations import kind, lifecycle, snapshots
from jails.operations.common import NOBODY
from jails.operations.kind import Refused

WWW1 = "zroot/cellblock/host/www1"


def take(warden, row, name="monday", **more):
    operation = warden.do("snapshot_create", jail=str(row.uuid), name=name, **more)
    row.refresh_from_db()
    return operation


def refused(warden, kind_name, **parameters):
    with pytest.raises(Refused) as refusal:
        warden.draft(kind_name, **parameters)
    return refusal.value.errors


def wrong(kind_name, **parameters):
    with pytest.raises(Refused) as refusal:
        kind.get(kind_name).clean(parameters)
    return refusal.value.errors


def rollback(warden, row, snapshot="monday"):
    return warden.do("jail_rollback", jail=str(row.uuid), snapshot=snapshot)


def text(warden, path="/jail/www1/root/page"):
    return warden.read(path)


def listed(warden):
    return [name.partition("@")[2] for name in warden.datasets() if name.startswith(f"{WWW1}@")]


# By hand


def test_one_by_hand(warden):
    www1 = warden.make("www1", "192.0.2.11")
    operation = take(warden, www1, note="before the new shop = tested")
    assert (operation.status, operation.error) == ("done", "")
    assert operation.title == "Take the snapshot monday of www1"
    (snapshot,) = warden.facts().snapshots_of(WWW1)
    assert (snapshot.operation, snapshot.marks[snapshots.NOTE]) == (str(operation.pk), "before the new shop = tested")
    assert not snapshots.is_automatic(snapshot)
    assert www1.snapshots == 1 and warden.running() == {"www1": "/jail/www1"}


def test_a_jail_that_runs_is_told_what_that_means(warden):
    plan = warden.draft("snapshot_create", jail=str(warden.make("www1").uuid), name="monday").plan
    assert "power cut" in plan["notes"][0]
    stopped = warden.make("www2", start=False)
    assert warden.draft("snapshot_create", jail=str(stopped.uuid), name="monday").plan["notes"] == []


@pytest.mark.parametrize("name", ["cellblock", "cellblock-before-change-1", "a@b", "a/b", "", "-r", "a b", "a\n"])
def test_names_that_cannot_be(name):
    assert set(wrong("snapshot_create", jail=NOBODY, name=name)) == {"name"}


@pytest.mark.parametrize("note", ["a\nb", "a\tb", "x" * 201, "a\x1bb"])
def test_notes_that_cannot_be(note):
    assert set(wrong("snapshot_create", jail=NOBODY, name="monday", note=note)) == {"note"}


def test_a_name_is_taken_once(warden):
    www1 = warden.make("www1", start=False)
    take(warden, www1)
    assert "already" in refused(warden, "snapshot_create", jail=str(www1.uuid), name="monday")["name"]


def test_one_that_appears_meanwhile_is_somebody_elses(warden):
    www1 = warden.make("www1", start=False)
    operation = warden.confirm("snapshot_create", jail=str(www1.uuid), name="monday")
    status = warden.work_with(operation, "snapshot", before=lambda: warden.sh(f"zfs snapshot {WWW1}@monday"))
    assert status == "failed" and listed(warden) == ["monday"]
    assert warden.facts().snapshots_of(WWW1)[0].operation == ""


def test_on_ufs_there_are_none(plain_warden):
    www1 = plain_warden.make("www1", start=False)
    for name, more in (
        ("snapshot_create", {"name": "monday"}),
        ("snapshot_destroy", {"snapshots": ["monday"]}),
        ("jail_rollback", {"snapshot": "monday"}),
    ):
        assert "only ZFS" in refused(plain_warden, name, jail=str(www1.uuid), **more)[""]


def test_what_the_panel_did_not_make_has_none(warden):
    warden.sh("cp -Rp /var/db/cellblock/base /jail/old")
    warden.write("/etc/jail.conf", 'old { path = "/jail/old"; persist; }')
    assert (
        "not made by Cellblock"
        in refused(warden, "snapshot_create", jail=str(warden.find("old").uuid), name="monday")[""]
    )


def test_a_dataset_that_is_another_ones_is_left_alone(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs set cellblock:jail=somebody {WWW1}")
    assert "jail" in refused(warden, "snapshot_create", jail=str(www1.uuid), name="monday")


# Destroying them


def test_those_that_are_named_go(warden):
    www1 = warden.make("www1", start=False)
    for name in ("a", "b", "c"):
        take(warden, www1, name)
    operation = warden.do("snapshot_destroy", jail=str(www1.uuid), snapshots=["c", "a"])
    assert (operation.status, operation.error) == ("done", "")
    assert listed(warden) == ["b"] and Jail.objects.get(pk=www1.pk).snapshots == 1
    assert operation.title == "Destroy 2 snapshots of www1"
    assert [words.partition(",")[0] for words in operation.plan["loses"]] == ["the snapshot c", "the snapshot a"]


def test_one_that_is_cloned_or_held_stays(warden):
    www1 = warden.make("www1", start=False)
    for name in ("a", "b"):
        take(warden, www1, name)
    warden.sh(f"zfs clone -o mountpoint=none {WWW1}@a zroot/cellblock/host/copy; zfs hold mine {WWW1}@b")
    assert (
        "zroot/cellblock/host/copy is made from it"
        in refused(warden, "snapshot_destroy", jail=str(www1.uuid), snapshots=["a"])["snapshots"]
    )
    assert "zfs holds" in refused(warden, "snapshot_destroy", jail=str(www1.uuid), snapshots=["b"])["snapshots"]


def test_a_tenant_learns_nothing_of_others_that_are_made_from_it(warden):
    acme = Tenant.objects.create(name="Acme", slug="acme")
    www1 = warden.make("www1", start=False, tenant=acme)
    take(warden, www1, "a")
    secret = warden.make("secret", start=False)
    warden.sh(f"zfs destroy {secret.dataset}; zfs clone -o mountpoint=none {WWW1}@a {secret.dataset}")
    words = refused(warden, "snapshot_destroy", jail=str(www1.uuid), snapshots=["a"])["snapshots"]
    assert "something else is made from it" in words and "secret" not in words


@pytest.mark.parametrize("wish", [[], None, ["no@good"], [7], ["a"] * 501, "a"])
def test_lists_that_cannot_be(wish):
    assert set(wrong("snapshot_destroy", jail=NOBODY, snapshots=wish)) == {"snapshots"}


def test_another_one_of_that_name_is_not_what_was_confirmed(warden):
    www1 = warden.make("www1", start=False)
    warden.sh(f"zfs snapshot {WWW1}@a; zfs snapshot {WWW1}@b")
    operation = warden.confirm("snapshot_destroy", jail=str(www1.uuid), snapshots=["b", "a"])

    def anew():
        warden.sh(f"sleep 1.1; zfs destroy {WWW1}@a; zfs snapshot {WWW1}@a")

    assert warden.work_with(operation, "zfs destroy", before=anew) == "stuck"
    assert listed(warden) == ["a"]


# Putting a jail back


@pytest.fixture
def written(warden):
    """A running jail whose page was `old` when its snapshot was taken."""
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("echo old >/jail/www1/root/page")
    assert take(warden, www1).status == "done"
    warden.sh("echo new >/jail/www1/root/page; echo more >/jail/www1/root/more")
    return www1


def test_a_jail_is_as_it_was_and_runs_again(warden, written):
    operation = rollback(warden, written)
    assert (operation.status, operation.error) == ("done", "")
    assert operation.title == "Put www1 back to monday"
    assert text(warden) == "old\n" and warden.sh("ls /jail/www1/root") == "page\n"
    assert warden.running() == {"www1": "/jail/www1"} and warden.addresses() == ["192.0.2.11"]
    order = [line for line in warden.commands() if line.startswith(("jail ", "zfs "))]
    assert order == [
        "jail -f /etc/jail.conf.d/www1.conf -q -r www1",
        f"zfs rollback {WWW1}@monday",
        "jail -f /etc/jail.conf.d/www1.conf -q -c www1",
    ]
    written.refresh_from_db()
    assert (written.state, written.snapshots) == ("running", 1)


def test_one_that_is_stopped_stays_so(warden, written):
    warden.do("jail_stop", jails=[str(written.uuid)])
    assert rollback(warden, written).status == "done"
    assert text(warden) == "old\n" and warden.running() == {}
    written.refresh_from_db()
    assert written.state == "stopped"


def test_what_is_lost_is_listed_first(warden, written):
    warden.sh("sleep 1.1")
    take(warden, written, "tuesday")
    plan = warden.draft("jail_rollback", jail=str(written.uuid), snapshot="monday").plan
    then = snapshots.when(warden.facts().snapshot(f"{WWW1}@monday"))
    assert plan["loses"][0] == f"all that was written in www1 since {then}"
    assert plan["loses"][1].startswith("the snapshot tuesday, of ")
    assert any(words.startswith("the snapshot tuesday: ") for words in plan["sizes"])
    assert "cannot be undone" in plan["warnings"][0]
    assert rollback(warden, written).status == "done"
    assert listed(warden) == ["monday"] and text(warden) == "old\n"
    assert f"zfs rollback -r {WWW1}@monday" in warden.commands()
    assert Jail.objects.get(pk=written.pk).snapshots == 1


def test_what_is_made_from_a_newer_snapshot_keeps_it(warden, written):
    take(warden, written, "tuesday")
    warden.sh(f"zfs clone -o mountpoint=none {WWW1}@tuesday zroot/cellblock/host/copy")
    words = refused(warden, "jail_rollback", jail=str(written.uuid), snapshot="monday")[""]
    assert "zroot/cellblock/host/copy is made from it" in words
    # To the newest one it can be put back all the same.
    assert rollback(warden, written, "tuesday").status == "done"
    assert text(warden) == "new\n" and "zroot/cellblock/host/copy" in warden.datasets()


def test_a_newer_one_that_is_held_keeps_it(warden, written):
    take(warden, written, "tuesday")
    warden.sh(f"zfs hold mine {WWW1}@tuesday")
    assert "zfs holds" in refused(warden, "jail_rollback", jail=str(written.uuid), snapshot="monday")[""]


def test_a_snapshot_that_appears_while_it_is_stopped_is_not_lost_unseen(warden, written):
    operation = warden.confirm("jail_rollback", jail=str(written.uuid), snapshot="monday")
    status = warden.work_with(operation, "-r www1", after=lambda: warden.sh(f"zfs snapshot {WWW1}@byhand"))
    assert status == "failed" and "has no snapshots but" in operation.error
    assert set(listed(warden)) == {"monday", "byhand"} and text(warden) == "new\n"
    assert warden.running() == {"www1": "/jail/www1"}


def test_a_snapshot_that_appears_after_the_plan_makes_a_new_plan(warden, written):
    operation = warden.confirm("jail_rollback", jail=str(written.uuid), snapshot="monday")
    warden.sh(f"zfs snapshot {WWW1}@byhand")
    assert warden.work(operation) == "stale"
    assert any("byhand" in words for words in operation.plan["loses"])


@pytest.mark.parametrize("match", ["zfs rollback", "jail -f /etc/jail.conf.d/www1.conf -q -r"])
def test_where_it_fails_the_jail_runs_as_before(warden, written, match):
    operation = warden.confirm("jail_rollback", jail=str(written.uuid), snapshot="monday")
    warden.fail(match)
    assert warden.work(operation) == "failed", operation.error
    assert "it resists" in operation.error
    assert text(warden) == "new\n" and warden.running() == {"www1": "/jail/www1"}


def test_a_mount_of_somebody_in_its_tree_is_in_the_way(warden, written):
    warden.sh("mkdir /jail/www1/root/m /mnt/x; mount -t nullfs /mnt/x /jail/www1/root/m")
    words = refused(warden, "jail_rollback", jail=str(written.uuid), snapshot="monday")[""]
    assert "/jail/www1/root/m is mounted in its tree" in words


def test_no_such_snapshot(warden, written):
    words = refused(warden, "jail_rollback", jail=str(written.uuid), snapshot="friday")["snapshot"]
    assert words == "www1 has no snapshot friday."


# Plans of tenants


@pytest.fixture
def acme(warden):
    return Tenant.objects.create(name="Acme", slug="acme")


def test_no_more_than_the_plan_of_the_tenant_allows(warden, acme):
    www1, www2 = (warden.make(name, start=False, tenant=acme) for name in ("www1", "www2"))
    TenantPlan.objects.create(tenant=acme, snapshots=2)
    take(warden, www1, "a")
    take(warden, www2, "a")
    words = refused(warden, "snapshot_create", jail=str(www1.uuid), name="b")["name"]
    assert words.startswith("acme has 2 of 2 snapshots: its plan has no room for more. Destroy one")
    warden.do("snapshot_destroy", jail=str(www2.uuid), snapshots=["a"])
    assert take(warden, www1, "b").status == "done"


def test_what_is_confirmed_counts_already(warden, acme):
    www1 = warden.make("www1", start=False, tenant=acme)
    TenantPlan.objects.create(tenant=acme, snapshots=1)
    first, second = (warden.draft("snapshot_create", jail=str(www1.uuid), name=name) for name in ("a", "b"))
    lifecycle.confirm(first, first.digest, user=warden.user)
    assert plans.use(acme).snapshots == 1
    with pytest.raises(Refused, match="no room for more"):
        lifecycle.confirm(second, second.digest, user=warden.user)
    assert warden.work(first) == "done" and plans.use(acme).snapshots == 1


def test_those_made_by_hand_on_the_host_count_from_the_next_refresh(warden, acme):
    www1 = warden.make("www1", start=False, tenant=acme)
    warden.sh(f"zfs snapshot {WWW1}@a; zfs snapshot {WWW1}@b; zfs snapshot zroot/cellblock/host@x")
    warden.refresh()
    www1.refresh_from_db()
    assert www1.snapshots == 2 and plans.use(acme).snapshots == 2


def test_snapshots_come_along_with_a_jail_that_is_given(warden, acme):
    www1 = warden.make("www1", start=False)
    take(warden, www1)
    TenantPlan.objects.create(tenant=acme, snapshots=0)
    assert "snapshots" in str(refused(warden, "jail_give", jails=[str(www1.uuid)], tenant=acme.pk))


# Before a change that restarts


def at(warden, last):
    return [{"network": warden.network.pk, "ip": f"192.0.2.{last}"}]


def change(warden, row, **more):
    wish = {"hostname": row.hostname, "boot": False, "addresses": [], "limits": row.limits, "snapshot": True}
    return warden.do("jail_change", jail=str(row.uuid), **(wish | more))


@pytest.fixture
def changing(warden):
    """A jail, and how a change of it that needs a restart is asked for."""
    www1 = warden.make("www1", "192.0.2.11")

    def restart(last):
        www1.refresh_from_db()
        return change(warden, www1, addresses=at(warden, last))

    return www1, restart


def test_a_change_that_restarts_takes_one_first(warden, changing):
    www1, restart = changing
    operation = restart(12)
    assert (operation.status, operation.error) == ("done", "")
    (name,) = listed(warden)
    assert name == f"cellblock-before-change-{str(operation.pk)[:8]}"
    assert snapshots.is_automatic(warden.facts().snapshots_of(WWW1)[0])
    order = [line.split()[:2] for line in warden.commands() if line.startswith(("jail ", "zfs "))]
    assert order[0] == ["zfs", "snapshot"]
    www1.refresh_from_db()
    assert www1.snapshots == 1


def test_of_automatic_ones_the_last_stay_and_those_by_hand_all(warden, changing, monkeypatch):
    www1, restart = changing
    monkeypatch.setattr(snapshots, "KEPT", 1)
    take(warden, www1, "byhand")
    first = restart(12)
    warden.sh("sleep 1.1")
    second = restart(13)
    assert (first.status, second.status) == ("done", "done"), second.error
    assert sorted(listed(warden)) == sorted(["byhand", f"cellblock-before-change-{str(second.pk)[:8]}"])
    assert any("of automatic snapshots the last 1 are kept" in step["purpose"] for step in second.plan["steps"])


def test_a_change_that_holds_at_once_takes_none(warden, changing):
    www1, _ = changing
    assert change(warden, www1, addresses=at(warden, 11), hostname="other").status == "done"
    assert listed(warden) == []


def test_where_the_change_fails_its_snapshot_goes_again(warden, changing):
    www1, _ = changing
    wish = {"hostname": www1.hostname, "boot": False, "limits": www1.limits, "snapshot": True}
    wish["addresses"] = at(warden, 12)
    operation = warden.confirm("jail_change", jail=str(www1.uuid), **wish)
    warden.fail("jail -f /etc/jail.conf.d/www1.conf -q -r")
    assert warden.work(operation) == "failed" and listed(warden) == []


def test_without_room_in_the_plan_it_is_to_be_left_out(warden, acme):
    www1 = warden.make("www1", tenant=acme)
    TenantPlan.objects.create(tenant=acme, snapshots=0)
    wish = {"hostname": www1.hostname, "boot": False, "addresses": [], "limits": {**www1.limits, "children_max": 1}}
    assert set(refused(warden, "jail_change", jail=str(www1.uuid), snapshot=True, **wish)) == {"snapshot"}
    assert warden.do("jail_change", jail=str(www1.uuid), **wish).status == "done"
