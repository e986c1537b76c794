"""The quota of a tenant's dataset on a host, as its plan has it."""

import pytest
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from jails import allotting, plans
from jails.models import AuditEntry, Drift, Jail, Operation, PlanShare, Sample, Tenant, TenantDataset, TenantPlan
from jails.operations import common, drift_accept, lifecycle, tenant_limits
from jails.operations.kind import Refused
from jails.operations.lease import claim
from tests.operations.killing import kill_everywhere
from tests.operations.test_drift import edit
from tests.operations.test_jail_change import wish
from tests.operations.test_limits import rctl_commands, rules, with_racct

MiB, GiB = 1 << 20, 1 << 30
USUAL = {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}


@pytest.fixture
def acme(db):
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def there(warden, acme):
    """Its dataset, as jail_create makes it, with 3 GiB in it."""
    warden.sh(
        "zfs create -o cellblock:operation=made -o mountpoint=none -o canmount=off zroot/cellblock/acme; "
        "zfs create -o mountpoint=/jail/x zroot/cellblock/acme/x; truncate -s 1 /jail/x/f"
    )
    warden.refresh()
    return TenantDataset.objects.get()


def plan_for(acme, **values):
    return TenantPlan.objects.update_or_create(tenant=acme, defaults=values)[0]


def quota(warden):
    return warden.simulation.run("zfs", "get", "-Hp", "-o", "value", "quota", "zroot/cellblock/acme").strip()


def refused(warden, acme):
    with pytest.raises(Refused) as refusal:
        warden.draft("tenant_limits", tenant=acme.pk)
    return str(refusal.value)


def test_a_refresh_sees_its_dataset_and_what_is_set_there(warden, acme, there):
    assert (there.tenant, there.host, there.name, there.quota) == (acme, warden.row, "zroot/cellblock/acme", None)
    assert there.used > 0
    warden.sh("zfs set quota=5G zroot/cellblock/acme")
    warden.refresh()
    there.refresh_from_db()
    assert there.quota == 5 * GiB
    warden.sh("zfs destroy -r zroot/cellblock/acme")
    warden.refresh()
    assert not TenantDataset.objects.exists()


def test_it_is_set_to_the_disk_of_the_plan_and_taken_away_with_it(warden, acme, there):
    plan = plan_for(acme, disk=2 * GiB)
    operation = warden.do("tenant_limits", tenant=acme.pk)
    assert (operation.status, operation.error, operation.tenant) == ("done", "", acme)
    assert operation.plan["summary"] == ["zroot/cellblock/acme: quota none → 2 GiB."]
    there.refresh_from_db()
    assert quota(warden) == str(2 * GiB) and there.quota == 2 * GiB
    assert "Nothing on warden1 is to be changed" in refused(warden, acme)
    plan.delete()
    assert warden.do("tenant_limits", tenant=acme.pk).status == "done"
    there.refresh_from_db()
    assert quota(warden) == "0" and there.quota is None


def test_less_than_is_used_is_refused_with_what_to_do(warden, acme, there):
    plan_for(acme, disk=there.used - 1)
    assert "ZFS takes no quota below what is used" in refused(warden, acme)
    assert quota(warden) == "0"


def test_a_dataset_that_somebody_else_made_is_left_alone(warden, acme):
    warden.sh("zfs create -o canmount=off zroot/cellblock/acme")
    plan_for(acme, disk=GiB)
    assert "was not made by Cellblock" in refused(warden, acme)


def test_a_plan_that_has_changed_since_is_not_run(warden, acme, there):
    plan_for(acme, disk=2 * GiB)
    operation = warden.confirm("tenant_limits", tenant=acme.pk)
    plan_for(acme, disk=3 * GiB)
    assert warden.work(operation) == "stale" and quota(warden) == "0"


def test_a_newer_one_replaces_what_waits_or_went_stale_and_the_log_says_by_which(warden, acme, there):
    other = Tenant.objects.create(slug="blue", name="Blue")
    warden.sh("zfs create -o cellblock:operation=made -o mountpoint=none zroot/cellblock/blue")
    warden.refresh()
    TenantPlan.objects.create(tenant=other, disk=GiB)
    anothers = warden.confirm("tenant_limits", tenant=other.pk)
    plan_for(acme, disk=2 * GiB)
    went_stale = warden.confirm("tenant_limits", tenant=acme.pk)
    plan_for(acme, disk=3 * GiB)
    assert warden.work(went_stale) == "stale"
    waits = warden.confirm("tenant_limits", tenant=acme.pk)
    assert Operation.objects.get(pk=went_stale.pk).status == "discarded"
    plan_for(acme, disk=4 * GiB)
    newest = warden.confirm("tenant_limits", tenant=acme.pk)
    for old, status, action, by in (
        (went_stale, "discarded", "operation.discard", waits),
        (waits, "cancelled", "operation.cancel", newest),
    ):
        old.refresh_from_db()
        assert old.status == status and f"({by.short_id}) has replaced it. Nothing of it was done." in old.error
        entry = AuditEntry.objects.get(action=action, operation=str(old.pk))
        assert (entry.outcome, entry.actor, entry.after) == ("done", warden.user.username, {"replaced_by": str(by.pk)})
    warden.work(waits)
    assert quota(warden) == "0", "a host that is back runs the newest alone"
    assert warden.work(newest) == "done" and quota(warden) == str(4 * GiB)
    assert warden.work(anothers) == "done", "it is another tenant's"


def test_what_a_worker_is_just_looking_at_is_replaced_before_its_first_step(warden, acme, there):
    plan_for(acme, disk=2 * GiB)
    old = warden.confirm("tenant_limits", tenant=acme.pk)
    lease = claim(old.pk, "away", 600)
    plan_for(acme, disk=3 * GiB)
    with pytest.raises(Refused, match="read the new one"):
        lifecycle.confirm(warden.draft("tenant_limits", tenant=acme.pk), "0" * 64, user=warden.user)
    assert Operation.objects.get(pk=old.pk).cancel_requested_at is None, "nothing was confirmed"
    newest = warden.confirm("tenant_limits", tenant=acme.pk)
    old.refresh_from_db()
    assert old.status == "queued" and old.cancel_requested_at
    lease.give_back()
    assert warden.work(old) == "cancelled" and quota(warden) == "0"
    old.refresh_from_db()
    assert f"({newest.short_id}) has replaced it" in old.error
    assert warden.work(newest) == "done" and quota(warden) == str(3 * GiB)


@pytest.fixture
def two_pools(warden, acme, there):
    """A second pool with a dataset of the tenant's, where nothing is yet."""
    warden.sh(
        "mdconfig -a -t swap -s 64g; zpool create tank md0; zfs create -p -o cellblock:operation=made "
        "-o mountpoint=none -o canmount=off tank/cellblock/acme"
    )
    warden.refresh()
    return {row.name: row for row in TenantDataset.objects.all()}


def quotas(warden):
    warden.refresh()
    return {row.name.partition("/")[0]: row.quota for row in TenantDataset.objects.all()}


def test_several_pools_have_the_share_together(warden, acme, two_pools):
    www1 = warden.make("www1", tenant=acme, dataset="zroot/cellblock/acme/www1", limits=USUAL | {"quota": 6 * GiB})
    plan_for(acme, disk=10 * GiB)
    assert [len(one.datasets) for one in allotting.pending(acme, plans.plan_of(acme))] == [2]
    operation = warden.do("tenant_limits", tenant=acme.pk)
    assert "10 GiB are for all of its pools together." in operation.plan["notes"]
    found = quotas(warden)
    assert found["zroot"] >= 6 * GiB and found["tank"] > 0 and 9 * GiB < sum(found.values()) <= 10 * GiB
    assert allotting.pending(acme, plans.plan_of(acme)) == []
    assert "Nothing on warden1 is to be changed" in refused(warden, acme)
    Jail.objects.filter(pk=www1.pk).update(limits=USUAL | {"quota": 9 * GiB})
    assert [one.quota for one in allotting.pending(acme, plans.plan_of(acme))] == [sum(found.values())]
    assert warden.do("tenant_limits", tenant=acme.pk).status == "done"
    found = quotas(warden)
    assert found["zroot"] >= 9 * GiB and found["tank"] > 0 and sum(found.values()) <= 10 * GiB
    TenantPlan.objects.update(disk=None)
    assert warden.do("tenant_limits", tenant=acme.pk).status == "done"
    assert quotas(warden) == {"zroot": None, "tank": None}


@given(
    st.integers(GiB, 99 * GiB),
    st.lists(st.tuples(*[st.integers(0, 40 * GiB)] * 3), min_size=2, max_size=4),
)
@example(16 * GiB, [(0, 0, 0), (0, 0, 20 * GiB)])
@example(16 * GiB, [(0, 8 * GiB + 1, 0), (0, 7 * GiB + 1, 0)])
@example(17 * GiB, [(0, 1, 0), (0, 1, 0), (0, 16 * GiB + 1, 0)])
@example(16 * GiB, [(0, 1, GiB // 2), (0, 3 * GiB, 31 * GiB // 2)])
@example(GiB, [(0, 1, 0), (0, GiB - 1, 0)])
def test_what_pools_get_is_the_share_at_most_and_stays_once_it_is_set(share, given_):
    rows = [
        TenantDataset(name=f"p{n}/cellblock/acme", quota=quota or None, used=used)
        for n, (quota, used, _) in enumerate(given_)
    ]
    jails = [
        Jail(name=f"j{n}", dataset=f"p{n}/cellblock/acme/j{n}", limits={"quota": quota or None})
        for n, (_, _, quota) in enumerate(given_)
    ]
    found = allotting.on_pools(share, rows, jails)
    assert all(found.values())
    if sum(max(1, row.used) for row in rows) > share:
        return  # more is there than it may have: ZFS refuses that until some is freed
    assert sum(found.values()) <= share
    needed = [max(row.used, jail.limits["quota"] or 0) for row, jail in zip(rows, jails, strict=True)]
    fits = sum(max(1, need) for need in needed) <= share
    for row, need in zip(rows, needed, strict=True):
        assert found[row.name] >= (need if fits else min(row.used, row.quota or row.used))
        row.quota = found[row.name]
    assert allotting.on_pools(share, rows, jails) == found


def test_a_failure_leaves_it_as_it_was(warden, acme, there):
    warden.sh("zfs set quota=4G zroot/cellblock/acme")
    plan_for(acme, disk=2 * GiB)
    operation = warden.confirm("tenant_limits", tenant=acme.pk)
    warden.fail("zfs set")
    assert warden.work(operation) == "failed" and quota(warden) == str(4 * GiB)


def test_a_first_jail_makes_the_dataset_with_it(stocked, acme):
    plan_for(acme, disk=2 * GiB)
    limits = {"quota": GiB, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
    stocked.done("jail_create", **stocked.wish(name="www1", tenant=acme.pk, limits=limits))
    assert stocked.value("zroot/cellblock/acme", "quota") == str(2 * GiB)
    stocked.refresh()
    assert TenantDataset.objects.get().quota == 2 * GiB


# The limits of its jails


@pytest.fixture
def jails(warden, acme, there):
    """www1 runs without limits, www2 is stopped and has 1 GiB of memory; the plan was saved with some for both."""
    with_racct(warden)
    rows = {
        "www1": warden.make("www1", "192.0.2.11", tenant=acme, allotted={"memory": 512 * MiB, "cpu": 50, "quota": GiB}),
        "www2": warden.make(
            "www2", start=False, tenant=acme, limits=USUAL | {"memory": GiB}, allotted={"memory": 256 * MiB}
        ),
    }
    plan_for(acme, disk=2 * GiB, memory=GiB, cpu=100)
    return rows


def fresh(row):
    return Jail.objects.get(pk=row.pk)


def test_one_plan_brings_quotas_and_limits_of_all_its_jails(warden, acme, jails):
    jid = warden.simulation.run("jls", "-j", "www1", "jid")
    operation = warden.do("tenant_limits", tenant=acme.pk)
    assert (operation.status, operation.error) == ("done", "")
    assert set(operation.jails.all()) == set(jails.values())
    assert quota(warden) == str(2 * GiB)
    assert warden.simulation.run("zfs", "get", "-Hp", "-o", "value", "quota", jails["www1"].dataset) == f"{GiB}\n"
    assert rules(warden) == ["jail:www1:memoryuse:deny=536870912", "jail:www1:pcpu:deny=50"]
    assert warden.simulation.run("jls", "-j", "www1", "jid") == jid, "without a restart"
    assert "jail:www2:memoryuse:deny=268435456" in warden.read(jails["www2"].config_path)
    assert {
        row.name: (row.limits.get("memory"), row.limits["quota"], row.allotted) for row in map(fresh, jails.values())
    } == {
        "www1": (512 * MiB, GiB, {}),
        "www2": (256 * MiB, None, {}),
    }
    warden.refresh()
    assert not Drift.objects.exists()
    entry = AuditEntry.objects.get(action="tenant.plan", operation=str(operation.pk))
    www1, www2 = (f"jail:{jails[name].pk}" for name in ("www1", "www2"))
    assert entry.before[www2] == {"name": "www2", "memory": GiB}
    assert entry.after[www2] == {"name": "www2", "memory": 256 * MiB}
    assert entry.after["zroot/cellblock/acme"] == {"quota": 2 * GiB} and entry.tenant == "acme"
    assert entry.after.keys() == {www1, www2, "zroot/cellblock/acme"}, "each is told once"
    assert "Nothing on warden1 is to be changed" in refused(warden, acme)


def test_a_failure_brings_all_of_it_back(warden, acme, jails):
    before = warden.picture()
    operation = warden.confirm("tenant_limits", tenant=acme.pk)
    warden.fail("rctl -a")
    assert warden.work(operation) == "failed"
    assert warden.picture() == before and rules(warden) == []
    assert fresh(jails["www1"]).allotted["cpu"] == 50, "it is still to come"


def test_a_host_without_racct_gets_all_but_what_it_cannot_hold(warden, acme, jails):
    with_racct(warden, on=False)
    operation = warden.do("tenant_limits", tenant=acme.pk)
    assert operation.status == "done" and quota(warden) == str(2 * GiB)
    assert any("kern.racct.enable is not 1 on warden1" in note for note in operation.plan["notes"])
    assert "pcpu:deny=50" in warden.read(jails["www1"].config_path) and rctl_commands(warden) == []


def test_what_cannot_be_is_left_out_by_name_and_the_rest_goes(warden, acme, there, jails):
    plan_for(acme, disk=there.used - 1)
    row = warden.make("www3", start=False, tenant=acme, allotted={"memory": 128 * MiB})
    warden.sh('rm "$1"', row.config_path)
    operation = warden.do("tenant_limits", tenant=acme.pk)
    assert operation.status == "done" and quota(warden) == "0" and rules(warden)
    quota_words, www3 = operation.plan["warnings"]
    assert "ZFS takes no quota below what is used" in quota_words and "www3.conf is gone" in www3
    assert fresh(row).allotted == {"memory": 128 * MiB} and fresh(jails["www1"]).allotted == {}


def test_less_than_a_jail_uses_is_told_by_name(warden, acme, jails):
    Sample.objects.create(
        jail=jails["www1"], at=timezone.now(), seconds=60, running=True, memory=700 * MiB, processes=12, disk=0
    )
    operation = warden.draft("tenant_limits", tenant=acme.pk)
    assert (
        "www1 uses 700 MiB of memory now: what is above 512 MiB is paged out, and it gets slow."
        in operation.plan["notes"]
    )
    digest = operation.digest
    Sample.objects.all().delete()
    assert warden.draft("tenant_limits", tenant=acme.pk).plan["steps"] == operation.plan["steps"]
    assert lifecycle.confirm(operation, digest, user=warden.user) and warden.work(operation) == "done"


def test_what_somebody_chooses_for_a_jail_since_goes_before(warden, acme, jails):
    plan_for(acme, disk=2 * GiB, memory=4 * GiB, cpu=100)
    limits = {"memory": GiB, "cpu": 50, "quota": GiB}
    assert warden.do("jail_change", **wish(warden, jails["www1"], limits=limits)).status == "done"
    assert fresh(jails["www1"]).allotted == {}
    operation = warden.do("tenant_limits", tenant=acme.pk)
    assert operation.status == "done" and rules(warden) == [
        "jail:www1:memoryuse:deny=1073741824",
        "jail:www1:pcpu:deny=50",
    ]


def test_nobody_resizes_a_jail_past_what_a_smaller_plan_has_for_it(warden, acme, jails):
    """www2 has 1 GiB still; the plan has 1 GiB for both, 256 MiB of it for www2."""
    row = jails["www2"]
    problems = {
        amount: plans.why_not(plans.of_change(row, wish(warden, row, limits={"memory": amount * MiB})))
        for amount in (1000, 600, 512, 256, 128, 1024)
    }
    assert "its plan has no room for more" in problems[1000]["memory"] and problems[600].keys() == {"memory"}
    assert problems[512] == problems[256] == problems[128] == {}, "with these both have 1 GiB at most"
    assert problems[1024] == {}, "nothing changes of what it has"
    plan_for(acme, memory=4 * GiB)
    assert plans.why_not(plans.of_change(row, wish(warden, row, limits={"memory": 1000 * MiB}))) == {}


def test_a_plan_that_is_saved_while_a_change_ends_keeps_what_it_gives(warden, acme, jails, monkeypatch):
    row, keep = jails["www2"], common.keep_addresses

    def save_meanwhile(*args):
        keep(*args)
        Jail.objects.filter(pk=row.pk).update(allotted={"memory": 256 * MiB, "processes": 40, "cpu": 20})

    operation = warden.confirm("jail_change", **wish(warden, row, limits={"cpu": 30}))
    monkeypatch.setattr(common, "keep_addresses", save_meanwhile)
    assert warden.work(operation) == "done"
    assert fresh(row).allotted == {"memory": 256 * MiB, "processes": 40}


def test_who_ends_it_waits_for_jails_alone(warden, acme, jails):
    """Whoever writes a host's facts has its row, and wants those of its jails next."""
    operation = warden.confirm("tenant_limits", tenant=acme.pk)
    rows = tenant_limits.kept(operation, operation.plan["result"])
    assert set(rows) == set(jails.values()) and "jails_host" not in str(rows.query)


def test_what_is_to_come_counts_as_used(warden, acme, jails):
    used = plans.use(acme)
    assert (used.memory, used.cpu, used.disk) == (512 * MiB + GiB, 50, GiB), "what is given back is still there"
    assert used.without_memory == 1
    growth = plans.of_change(jails["www1"], wish(warden, jails["www1"], limits={"cpu": 120}))
    assert growth is not None and growth.more.cpu == 70 and "cpu" in plans.why_not(growth)


# Its disk, shared among hosts


def test_each_host_gets_its_share_and_what_has_none_the_rest(warden, acme, there):
    plan = plan_for(acme, disk=10 * GiB)
    assert plans.share_of(plan, warden.row) == 10 * GiB
    PlanShare.objects.create(plan=plan, host=warden.row, disk=4 * GiB)
    assert warden.do("tenant_limits", tenant=acme.pk).status == "done" and quota(warden) == str(4 * GiB)
    other = type(warden.row).objects.create(name="warden9", kind="simulated")
    assert plans.shares_of(plan, [warden.row.pk, other.pk]) == {warden.row.pk: 4 * GiB, other.pk: 6 * GiB}


def test_the_panel_asks_the_share_of_the_host(warden, acme, jails):
    plan = plan_for(acme, disk=10 * GiB, memory=None, cpu=None)
    PlanShare.objects.create(plan=plan, host=warden.row, disk=2 * GiB)
    more = {**USUAL, "quota": 3 * GiB}
    growth = plans.of_sandbox(jails["www1"], more)
    assert "what is set aside for warden1 has room for 1 GiB more, not for 3 GiB" in plans.why_not(growth)["disk"]
    PlanShare.objects.update(disk=4 * GiB)
    assert plans.why_not(growth) == {}


@pytest.mark.parametrize(
    ("whole", "least", "found"),
    [
        (100, {"a": 10, "b": 30}, {"a": 40, "b": 60}),
        (20, {"a": 10, "b": 30}, {"a": 5, "b": 15}),
        (10, {}, {}),
        (10, {"a": 0, "b": 0, "c": 0}, {"a": 3, "b": 3, "c": 3}),
    ],
)
def test_use_now_and_an_equal_part_of_the_rest(whole, least, found):
    assert plans.spread(whole, least) == found and sum(found.values()) <= whole


@pytest.mark.slow
def test_wherever_workers_are_killed_all_of_it_is_done_once(committed, warden, tmp_path):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    with_racct(warden)
    warden.sh("zfs create -o cellblock:operation=made -o mountpoint=none -o canmount=off zroot/cellblock/acme")
    rows = [
        warden.make("www1", tenant=acme, allotted={"memory": 512 * MiB, "quota": GiB}),
        warden.make("www2", tenant=acme, limits=USUAL | {"cpu": 90}, allotted={"cpu": 50}),
    ]
    plan_for(acme, disk=2 * GiB)
    operation = warden.confirm("tenant_limits", tenant=acme.pk)
    died = kill_everywhere(operation, warden.connection, tmp_path / "died", lambda: None)
    assert operation.status == "done" and {"1 run middle", "4 run middle"} <= set(died)
    assert quota(warden) == str(2 * GiB)
    assert rules(warden) == ["jail:www1:memoryuse:deny=536870912", "jail:www2:pcpu:deny=50"]
    assert [fresh(row).allotted for row in rows] == [{}, {}]
    assert AuditEntry.objects.filter(action="tenant.plan", operation=str(operation.pk)).count() == 1
    warden.refresh()
    assert not Drift.objects.exists()


@pytest.mark.slow
def test_wherever_workers_are_killed_what_fails_is_as_before(committed, warden, tmp_path):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    with_racct(warden)
    warden.make("www1", tenant=acme, allotted={"memory": 512 * MiB, "quota": GiB})
    before = warden.picture()
    operation = warden.confirm("tenant_limits", tenant=acme.pk)
    warden.fail("rctl -a")
    kill_everywhere(operation, warden.connection, tmp_path / "died", lambda: None)
    warden.fault()
    assert operation.status == "failed" and warden.picture() == before and rules(warden) == []
    assert Jail.objects.get().allotted == {"memory": 512 * MiB, "quota": GiB}


@pytest.mark.slow
def test_wherever_workers_are_killed_it_is_set_once(committed, warden, tmp_path):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    warden.sh("zfs create -o cellblock:operation=made -o mountpoint=none -o canmount=off zroot/cellblock/acme")
    plan_for(acme, disk=2 * GiB)
    operation = warden.confirm("tenant_limits", tenant=acme.pk)
    died = kill_everywhere(operation, warden.connection, tmp_path / "died", lambda: None)
    assert operation.status == "done" and any("run middle" in point for point in died)
    assert quota(warden) == str(2 * GiB) and TenantDataset.objects.get().quota == 2 * GiB


# What is accepted from a host is asked of the plan as well


def test_limits_and_addresses_of_a_file_are_asked_of_the_plan(warden, acme):
    with_racct(warden)
    usual = {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
    row = warden.make("www1", "192.0.2.11", start=False, tenant=acme, limits=usual | {"cpu": 50})
    plan_for(acme, cpu=60, addresses=1)
    edit(warden, row, "pcpu:deny=50", "pcpu:deny=75")
    edit(warden, row, "ip4.addr = em0|192.0.2.11/32", "ip4.addr = em0|192.0.2.11/32, em0|192.0.2.12/32")
    with pytest.raises(Refused) as refusal:
        warden.draft("drift_accept", jail=str(row.uuid), parameters=None)
    assert "acme has 50 % of 60 % of CPU" in str(refusal.value) and "1 of 1 addresses" in str(refusal.value)
    plan_for(acme, cpu=80, addresses=2)
    operation = warden.draft("drift_accept", jail=str(row.uuid), parameters=None)
    plan_for(acme, cpu=60, addresses=2)
    with pytest.raises(Refused):
        lifecycle.confirm(operation, operation.digest, user=warden.user)
    plan_for(acme, cpu=80, addresses=2)
    lifecycle.confirm(operation, operation.digest, user=warden.user)
    assert plans.use(acme).cpu == 75, "what is accepted and not done yet is used"


def test_an_address_in_place_of_another_is_no_more(warden, acme):
    row = warden.make("www1", "192.0.2.11", start=False, tenant=acme)
    plan_for(acme, addresses=1)
    edit(warden, row, "192.0.2.11", "192.0.2.12")
    warden.refresh()
    growth = drift_accept.kind.adds(warden.row, {"jail": str(row.uuid), "parameters": ["ip4.addr"]})
    assert growth is not None and growth.more.addresses == 0 and plans.why_not(growth) == {}


def test_what_is_accepted_since_goes_before_what_the_plan_had_for_it(warden, acme):
    with_racct(warden)
    limits, allotted = USUAL | {"cpu": 50}, {"cpu": 40, "memory": 256 * MiB}
    row = warden.make("www1", start=False, tenant=acme, limits=limits, allotted=allotted)
    edit(warden, row, "pcpu:deny=50", "pcpu:deny=45")
    assert warden.do("drift_accept", jail=str(row.uuid), parameters=None).status == "done"
    assert (fresh(row).limits["cpu"], fresh(row).allotted) == (45, {"memory": 256 * MiB})
