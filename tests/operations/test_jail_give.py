"""Giving jails to a tenant, end to end on the simulated host."""

import os
import threading

import pytest
from django.db import connection
from django.utils import timezone

from jails.models import AuditEntry, Jail, Operation, Sample, Tenant, UsageHour, User
from jails.operations import jail_give, kind, lifecycle
from jails.operations.kind import Refused
from panel import use
from tests.operations import fakes
from tests.operations.meddling import Meddling
from tests.operations.warden import expire

GIVE = "jail_give"


@pytest.fixture
def acme(db):
    return Tenant.objects.create(slug="acme", name="Acme")


def ids(*jails):
    return [str(jail.uuid) for jail in jails]


def refused(warden, field="jails", **parameters):
    with pytest.raises(Refused) as error:
        warden.draft(GIVE, **parameters)
    assert list(error.value.errors) == [field]
    return error.value.errors[field]


def steps_of(operation):
    return [step["key"] for step in operation.plan["steps"]]


def test_who_gets_it_is_not_shown_what_it_used_before(warden, acme):
    www1 = warden.make("www1", start=False)
    Sample.objects.create(jail=www1, at=timezone.now(), seconds=60, running=True, cpu=7.0, memory=1 << 20)
    assert warden.do(GIVE, jails=ids(www1), tenant=acme.pk).status == "done"
    www1.refresh_from_db()
    assert not www1.samples.exists()
    booked = UsageHour.objects.get()
    assert (booked.jail, booked.tenant, booked.cpu) == (www1, None, 7.0)
    assert all(one.chart.is_empty for one in use.measures(www1, "month") if one.name != "disk")
    www1.tenant = None
    assert not all(one.chart.is_empty for one in use.measures(www1, "month"))


def test_a_running_jail_moves_and_runs_again(warden, acme):
    www1 = warden.make("www1", "192.0.2.10", boot=True)
    warden.sh("echo mine >/jail/www1/etc/mine; zfs snapshot zroot/cellblock/host/www1@before")
    files = warden.picture()["files"]
    operation = warden.do(GIVE, jails=ids(www1), tenant=acme.pk)
    assert operation.status == "done", operation.error
    assert operation.title == "Give www1 to acme" and operation.tenant == acme
    assert "zroot/cellblock/acme/www1" in warden.datasets() and "zroot/cellblock/acme/www1@before" in warden.datasets()
    assert "zroot/cellblock/host/www1" not in warden.datasets()
    assert warden.running() == {"www1": "/jail/www1"} and warden.addresses() == ["192.0.2.10"]
    assert warden.read("/jail/www1/etc/mine") == "mine\n"
    assert warden.simulation.run("zfs", "get", "-H", "-o", "value", "origin", "zroot/cellblock/acme/www1") == (
        "zroot/cellblock/base@cellblock\n"
    )
    assert warden.picture()["files"] == files
    marks = warden.simulation.run("zfs", "get", "-H", "-o", "value", "cellblock:touched", "zroot/cellblock/acme/www1")
    assert marks == "yes\n"
    www1.refresh_from_db()
    assert (www1.tenant, www1.touched, www1.dataset) == (acme, True, "zroot/cellblock/acme/www1")
    assert [address.ip for address in www1.addresses.all()] == ["192.0.2.10"]


def test_the_parent_of_a_tenant_is_made_once_and_not_mounted(warden, acme):
    www1, www2 = warden.make("www1", start=False), warden.make("www2", start=False)
    assert steps_of(warden.do(GIVE, jails=ids(www1), tenant=acme.pk)) == ["parent-acme", "move-www1", "mark-www1"]
    warden.do(GIVE, jails=ids(www2), tenant=acme.pk)
    assert Jail.objects.filter(tenant=acme).count() == 2
    values = warden.simulation.run("zfs", "get", "-H", "-o", "value", "mountpoint,canmount", "zroot/cellblock/acme")
    assert values == "none\noff\n"
    assert warden.running() == {}


def test_several_at_once_are_all_stopped_before_any_moves(warden, acme):
    jails = [warden.make(name) for name in ("www1", "www2")] + [warden.make("off", start=False)]
    warden.sh("for name in www1 www2 off; do zfs set cellblock:touched=yes zroot/cellblock/host/$name; done")
    operation = warden.do(GIVE, jails=ids(*jails), tenant=acme.pk)
    assert operation.status == "done", operation.error
    keys = ["parent-acme", "stop-www2", "stop-www1", "move-www1", "move-www2", "move-off", "start-www1", "start-www2"]
    assert steps_of(operation) == keys
    assert set(warden.running()) == {"www1", "www2"}
    assert set(operation.jails.all()) == set(jails)


def test_back_to_nobody(warden, acme):
    www1 = warden.make("www1", start=False)
    warden.do(GIVE, jails=ids(www1), tenant=acme.pk)
    operation = warden.do(GIVE, jails=ids(www1), tenant=None)
    www1.refresh_from_db()
    assert operation.status == "done" and operation.title == "Take www1 back to nobody"
    assert (www1.tenant, www1.touched, www1.dataset) == (None, True, "zroot/cellblock/host/www1")
    assert operation.tenant == acme


def test_who_loses_a_jail_finds_that_in_the_log(warden, acme):
    globex = Tenant.objects.create(slug="globex", name="Globex")
    www1 = warden.make("www1", start=False)
    warden.do(GIVE, jails=ids(www1), tenant=acme.pk)
    operation = warden.do(GIVE, jails=ids(www1), tenant=globex.pk)
    assert operation.tenant is None, "its steps name both tenants: neither may see them"
    theirs = AuditEntry.objects.filter(tenant="acme", action="jail.give").order_by("sequence")
    assert theirs.last().detail == "www1 is no longer a jail of acme."
    assert theirs.last().operation == "" and theirs.last().object_name == "www1"
    gained = AuditEntry.objects.get(tenant="globex", action="jail.give")
    assert gained.detail == "www1 is a jail of globex now." and gained.operation == ""


def test_on_ufs_nothing_moves_and_nothing_stops(plain_warden, acme):
    logdb = plain_warden.make("logdb", "192.0.2.20")
    before, text = plain_warden.picture(), plain_warden.read("/etc/jail.conf.d/logdb.conf")
    operation = plain_warden.do(GIVE, jails=ids(logdb), tenant=acme.pk)
    logdb.refresh_from_db()
    assert operation.status == "done", operation.error
    (step,) = operation.plan["steps"]
    assert step["purpose"] == "Note in the file of logdb, in a comment, whose it is"
    assert "on UFS nothing is moved or stopped" in operation.plan["summary"][0]
    assert (logdb.tenant, logdb.touched, logdb.dataset) == (acme, True, "")
    noted = plain_warden.read("/etc/jail.conf.d/logdb.conf")
    assert noted == text.replace(f"# uuid: {logdb.uuid}\n", f"# uuid: {logdb.uuid}\n# tenant: acme\n")
    plain_warden.do(GIVE, jails=ids(logdb), tenant=None)
    assert plain_warden.picture() == before


def test_on_ufs_a_file_of_somebody_elses_making_stays(plain_warden, acme):
    logdb = plain_warden.make("logdb", start=False)
    text = plain_warden.read("/etc/jail.conf.d/logdb.conf").partition("\n")[2]
    plain_warden.write("/etc/jail.conf.d/logdb.conf", text)
    operation = plain_warden.do(GIVE, jails=ids(logdb), tenant=acme.pk)
    assert operation.status == "done" and operation.plan["steps"] == []
    assert plain_warden.read("/etc/jail.conf.d/logdb.conf") == text


def test_snapshots_and_children_move_along_and_are_named(warden, acme):
    www1 = warden.make("www1", start=False)
    warden.sh("zfs create zroot/cellblock/host/www1/data")
    operation = warden.do(GIVE, jails=ids(www1), tenant=acme.pk)
    assert operation.plan["warnings"] == ["What is below moves along: zroot/cellblock/host/www1/data."]
    assert "zroot/cellblock/acme/www1/data" in warden.datasets()


# Refusals


def test_jails_that_cannot_be_given(warden, acme):
    www1 = warden.make("www1", start=False, tenant=acme)
    pending = warden.make("pending", start=False, state=Jail.State.PENDING)
    www2 = warden.make("www2", start=False)
    warden.sh("mkdir /jail/byhand; cp -Rp /bin /jail/byhand; jail -c name=byhand path=/jail/byhand persist")
    byhand = warden.find("byhand")
    assert "belongs to acme already" in refused(warden, jails=ids(www1), tenant=acme.pk)
    assert "is being made" in refused(warden, jails=ids(pending), tenant=acme.pk)
    assert "not made by Cellblock" in refused(warden, jails=ids(byhand), tenant=acme.pk)
    assert "belongs to nobody already" in refused(warden, jails=ids(www2), tenant=None)
    words = refused(warden, jails=ids(www2, byhand, pending), tenant=acme.pk)
    assert "byhand: " in words and "pending: " in words and "www2" not in words


def test_datasets_that_are_not_what_they_should_be(warden, acme):
    www1 = warden.make("www1", start=False)
    warden.sh("zfs set mountpoint=/elsewhere zroot/cellblock/host/www1")
    assert "belongs at /elsewhere, expected /jail/www1" in refused(warden, jails=ids(www1), tenant=acme.pk)
    warden.sh("zfs set mountpoint=/jail/www1 zroot/cellblock/host/www1; zfs create zroot/cellblock/acme")
    warden.sh("zfs create -o canmount=off zroot/cellblock/acme/www1")
    assert "zroot/cellblock/acme/www1 is there already" in refused(warden, jails=ids(www1), tenant=acme.pk)
    warden.sh("zfs destroy zroot/cellblock/acme/www1; zfs inherit cellblock:jail zroot/cellblock/host/www1")
    assert "is not the dataset that was made for www1" in refused(warden, jails=ids(www1), tenant=acme.pk)


def test_what_the_quota_of_a_tenant_does_not_leave_room_for(warden, acme):
    www1 = warden.make("www1", start=False)
    warden.sh("zfs create zroot/cellblock/acme; dd if=/dev/zero of=/jail/www1/big bs=1m count=4 2>/dev/null")
    warden.sh("zfs set quota=2m zroot/cellblock/acme")
    assert "more than the quota of zroot/cellblock/acme" in refused(warden, jails=ids(www1), tenant=acme.pk)


def test_a_tenant_must_be_there_and_not_archived(warden, acme):
    from django.utils import timezone

    www1 = warden.make("www1", start=False)
    assert "no such tenant" in refused(warden, "tenant", jails=ids(www1), tenant=acme.pk + 1)
    acme.archived_at = timezone.now()
    acme.save()
    assert "archived" in refused(warden, "tenant", jails=ids(www1), tenant=acme.pk)


HOSTILE = ["", "-rf", "www1; reboot", "../x", "a\nb", "a\0b", "аcme", "x" * 5000, 1, -1, True, None, {}, ["a"], 1.5]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_hostile_values_are_refused_by_name(value):
    with pytest.raises(Refused) as error:
        kind.get(GIVE).clean({"jails": [value], "tenant": None})
    assert list(error.value.errors) == ["jails"]
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return
    with pytest.raises(Refused) as error:
        kind.get(GIVE).clean({"jails": ["7b0d3f2e-0000-4000-8000-000000000000"], "tenant": value})
    assert list(error.value.errors) == ["tenant"]


def test_only_administrators(warden, acme):
    from django.core.exceptions import PermissionDenied

    www1 = warden.make("www1", start=False)
    warden.user = User.objects.create_user("olga", role=User.Role.OPERATOR)
    warden.user.operated_hosts.add(warden.row)
    with pytest.raises(PermissionDenied):
        warden.draft(GIVE, jails=ids(www1), tenant=acme.pk)


def test_a_tenant_that_is_archived_meanwhile_gets_nothing(warden, acme):
    from django.utils import timezone

    www1 = warden.make("www1")
    operation = warden.confirm(GIVE, jails=ids(www1), tenant=acme.pk)
    Tenant.objects.filter(pk=acme.pk).update(archived_at=timezone.now())
    before = warden.picture()
    assert warden.work(operation) == "refused" and "acme is archived" in operation.error
    assert warden.picture() == before


# What goes wrong


@pytest.mark.parametrize("match", ["^zfs create", "^zfs rename", "^zfs set", "-c www1"])
def test_a_failure_leaves_the_host_as_it_was(warden, acme, match):
    www1, www2 = warden.make("www1", "192.0.2.10"), warden.make("www2", start=False)
    before = warden.picture()
    # The command that fails is the plan's; its undoing comes later.
    warden.fail(match, nth=1)
    operation = warden.do(GIVE, jails=ids(www1, www2), tenant=acme.pk)
    assert operation.status == "failed" and "it resists" in operation.error, operation.error
    assert warden.picture() == before
    www1.refresh_from_db()
    assert (www1.tenant, www1.dataset) == (None, "zroot/cellblock/host/www1")


@pytest.mark.parametrize("at", range(1, 6))
def test_a_dataset_made_by_hand_meanwhile_is_left_alone(warden, acme, at):
    """Before each step of: make the parent, stop, move, mark, start."""
    www1 = warden.make("www1")
    operation = warden.confirm(GIVE, jails=ids(www1), tenant=acme.pk)

    def by_hand():
        create = "zfs create -o mountpoint=none -o made:by=hand"
        warden.sh(f"zfs list zroot/cellblock/acme >/dev/null 2>&1 || {create} zroot/cellblock/acme")
        warden.sh(f"{create} zroot/cellblock/acme/www1 || true; {create} zroot/cellblock/host/www1 || true")

    warden.work(operation, connect=lambda row: Meddling(warden.connection, at, by_hand))
    made = warden.simulation.run("zfs", "get", "-H", "-o", "name", "-s", "local", "made:by").split()
    if at < 4:
        assert operation.status == "failed", operation.error
        assert "zroot/cellblock/acme/www1" in made and "dataset already exists" in operation.error
        assert warden.running() == {"www1": "/jail/www1"}
        origin = warden.simulation.run("zfs", "get", "-H", "-o", "value", "origin", "zroot/cellblock/host/www1")
        assert origin == "zroot/cellblock/base@cellblock\n"
    else:
        assert operation.status == "done", operation.error
        assert made == ["zroot/cellblock/host/www1"]


def test_it_is_stale_when_the_jail_has_stopped_meanwhile(warden, acme):
    www1 = warden.make("www1")
    operation = warden.confirm(GIVE, jails=ids(www1), tenant=acme.pk)
    warden.sh("jail -q -f /etc/jail.conf.d/www1.conf -r www1")
    assert warden.work(operation) == "stale"


def test_a_killed_worker_is_replaced_in_the_middle_of_the_move(committed, warden, acme):
    www1 = warden.make("www1", "192.0.2.10")
    operation = warden.confirm(GIVE, jails=ids(www1), tenant=acme.pk)
    warden.fault(match="zfs rename", slow=1)
    connection.close()
    child = os.fork()
    if child == 0:
        dying = threading.Timer(0.3, fakes.die)
        warden.work(operation, connect=lambda row: Meddling(warden.connection, 3, dying.start))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    expire(operation)
    assert warden.work(operation) == "done", operation.error
    renames = [line for line in warden.commands() if line.startswith("zfs rename")]
    assert len(renames) == 1
    assert warden.running() == {"www1": "/jail/www1"} and warden.addresses() == ["192.0.2.10"]


def test_the_wishes_of_an_archived_tenant(warden, plain_warden, acme):
    globex = Tenant.objects.create(slug="globex", name="Globex")
    one, two, three = (warden.make(name, start=False, tenant=acme) for name in ("one", "two", "three"))
    other = plain_warden.make("other", start=False, tenant=acme)
    wishes = jail_give.wishes({one: globex, two: None, three: globex, other: None})
    assert wishes == [
        (warden.row, {"jails": ids(one, three), "tenant": globex.pk}),
        (warden.row, {"jails": ids(two), "tenant": None}),
        (plain_warden.row, {"jails": ids(other), "tenant": None}),
    ]
    for host, parameters in wishes:
        lifecycle_of = {warden.row: warden, plain_warden.row: plain_warden}[host]
        lifecycle_of.refresh()
        assert lifecycle.draft(GIVE, parameters, host=host, user=warden.user).status == Operation.Status.DRAFT
