"""The quota of a tenant's dataset on a host, as its plan has it."""

import pytest

from jails import plans
from jails.models import Tenant, TenantDataset, TenantPlan
from jails.operations import drift_accept, lifecycle
from jails.operations.kind import Refused
from tests.operations.killing import kill_everywhere
from tests.operations.test_drift import edit
from tests.operations.test_limits import with_racct

GiB = 1 << 30


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


def test_an_address_in_place_of_another_is_no_more(warden, acme):
    row = warden.make("www1", "192.0.2.11", start=False, tenant=acme)
    plan_for(acme, addresses=1)
    edit(warden, row, "192.0.2.11", "192.0.2.12")
    warden.refresh()
    growth = drift_accept.kind.adds(warden.row, {"jail": str(row.uuid), "parameters": ["ip4.addr"]})
    assert growth is not None and growth.more.addresses == 0 and plans.why_not(growth) == {}
