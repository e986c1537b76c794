"""A sandbox: a copy of a jail without network, on a simulated host, through the real engine."""

import pytest

from jails import policy
from jails.models import Jail, Membership, Operation, Tenant, TenantPlan, User
from jails.operations.kind import Refused

WWW1 = "zroot/cellblock/host/www1"


@pytest.fixture
def www1(warden):
    row = warden.make("www1", "192.0.2.11")
    warden.sh(f"echo old >/jail/www1/root/page; zfs snapshot {WWW1}@monday; echo new >/jail/www1/root/page")
    return row


def wish(row, **more):
    return {"jail": str(row.uuid), "snapshot": "monday", "name": "try1", "start": True, **more}


def refused(warden, row, **more):
    with pytest.raises(Refused) as refusal:
        warden.draft("sandbox_create", **wish(row, **more))
    return refusal.value.errors


def test_it_is_as_the_jail_was_and_has_no_network(warden, www1):
    operation = warden.do("sandbox_create", **wish(www1, quota=1 << 30))
    assert (operation.status, operation.error) == ("done", "")
    assert warden.read("/jail/try1/root/page") == "old\n" and warden.read("/jail/www1/root/page") == "new\n"
    assert warden.running() == {"www1": "/jail/www1", "try1": "/jail/try1"} and warden.addresses() == ["192.0.2.11"]
    assert warden.simulation.run("jls", "-j", "try1", "ip4", "ip6") == "0 0\n"  # disable, see jls(8)
    text = warden.read("/etc/jail.conf.d/try1.conf")
    assert "ip4 = disable;" in text and "ip6 = disable;" in text
    assert warden.simulation.run("zfs", "get", "-Hp", "-o", "value", "quota,origin", "zroot/cellblock/host/try1") == (
        f"{1 << 30}\n{WWW1}@monday\n"
    )
    row = Jail.objects.get(name="try1")
    assert (row.kind, row.state, row.boot, row.touched) == ("sandbox", "running", False, True)
    assert "try1" not in warden.facts().boot_state().boots_today
    warden.refresh()
    row.refresh_from_db()
    assert (row.state, row.origin, row.drifts.count()) == ("running", f"{WWW1}@monday", 0)


def test_it_goes_as_any_jail_and_the_snapshot_can_go_then(warden, www1):
    assert warden.do("sandbox_create", **wish(www1)).status == "done"
    with pytest.raises(Refused, match="the jail try1 is made from it"):
        warden.draft("snapshot_destroy", jail=str(www1.uuid), snapshots=["monday"])
    made = Jail.objects.get(name="try1")
    assert warden.do("jail_destroy", jail=str(made.uuid), name="try1").status == "done"
    assert warden.do("snapshot_destroy", jail=str(www1.uuid), snapshots=["monday"]).status == "done"


def test_it_never_gets_an_address(warden, www1):
    assert warden.do("sandbox_create", **wish(www1, start=False)).status == "done"
    made = Jail.objects.get(name="try1")
    addresses = [{"network": warden.network.pk, "ip": "192.0.2.12"}]
    change = {"hostname": "try1", "boot": False, "limits": made.limits, "addresses": addresses}
    with pytest.raises(Refused, match="never has a network"):
        warden.draft("jail_change", jail=str(made.uuid), **change)
    operation = warden.do("jail_change", jail=str(made.uuid), **(change | {"hostname": "other", "addresses": []}))
    assert operation.status == "done", operation.error


def test_what_was_widened_is_not_copied(warden):
    limits = {"quota": None, "children_max": 5, "securelevel": 1, "enforce_statfs": 1}
    row = warden.make("www1", start=False, limits=limits)
    warden.sh(f"zfs snapshot {WWW1}@monday")
    assert warden.do("sandbox_create", **wish(row, start=False)).status == "done"
    made = Jail.objects.get(name="try1")
    assert made.limits == {"quota": None, "children_max": 0, "securelevel": 1, "enforce_statfs": 2}
    assert "children" not in warden.read("/etc/jail.conf.d/try1.conf")


def test_names_that_are_taken(warden, www1):
    assert "has a jail www1 already" in refused(warden, www1, name="www1")["name"]
    assert "name" in refused(warden, www1, name="a/b")
    assert refused(warden, www1, snapshot="friday")["snapshot"] == "www1 has no snapshot friday."


def test_a_tenant_is_not_told_whose_a_name_is(warden):
    acme = Tenant.objects.create(name="Acme", slug="acme")
    warden.make("secret", start=False)
    row = warden.make("www1", start=False, tenant=acme)
    warden.sh(f"zfs snapshot {WWW1}@monday")
    words = refused(warden, row, name="secret")["name"]
    assert words == "This name is not available: choose another one."


def test_the_plan_of_the_tenant_counts_it(warden):
    acme = Tenant.objects.create(name="Acme", slug="acme")
    row = warden.make("www1", start=False, tenant=acme)
    warden.sh(f"zfs snapshot {WWW1}@monday")
    plan = TenantPlan.objects.create(tenant=acme, jails=1)
    assert "no room for more" in refused(warden, row)[""]
    TenantPlan.objects.filter(pk=plan.pk).update(jails=2, disk=1 << 30)
    assert "quota" in refused(warden, row)
    operation = warden.do("sandbox_create", **wish(row, start=False, quota=1 << 20))
    assert operation.status == "done", operation.error
    made = Jail.objects.get(name="try1")
    assert (made.tenant, made.dataset) == (acme, "zroot/cellblock/acme/try1")


def test_a_tenant_makes_none_without_a_plan_and_none_beyond_it(warden):
    """Asked of whatever was sent, by the same question that the worker asks again."""
    acme = Tenant.objects.create(name="Acme", slug="acme")
    row = warden.make("www1", start=False, tenant=acme, limits={"quota": 2 << 30})
    owner = User.objects.create_user("bea")
    Membership.objects.create(tenant=acme, user=owner, role="owner")

    def why_not(**more):
        wanted = {"name": "www1-try", "quota": 1 << 30} | more
        operation = Operation(kind="sandbox_create", host=warden.row, tenant=acme, parameters=wish(row, **wanted))
        return policy.why_not_operation(owner, operation)

    assert why_not() == "acme has no plan: until it has one, only staff make jails for it."
    plan = TenantPlan.objects.create(tenant=acme)
    assert why_not() == why_not(name="acme-x") == why_not(quota=2 << 30) == ""
    assert why_not(name="try1") == why_not(name="www1") == why_not(name="acmex") == "Begin it with www1- or acme-."
    too_much = "Give it a quota of 2 GiB at most, as www1 has."
    assert why_not(quota=None) == why_not(quota=(2 << 30) + 1) == too_much
    TenantPlan.objects.filter(pk=plan.pk).update(disk=8 << 30)  # then its sum is what counts
    assert why_not(quota=4 << 30) == ""
    staff = Operation(kind="sandbox_create", host=warden.row, tenant=acme, parameters=wish(row, quota=None))
    assert policy.why_not_operation(warden.user, staff) == ""


@pytest.mark.parametrize("match", ["zfs clone", "jail -f /etc/jail.conf.d/try1.conf"])
def test_whatever_fails_nothing_is_left(warden, www1, match):
    before = warden.picture()
    operation = warden.confirm("sandbox_create", **wish(www1))
    warden.fail(match)
    assert warden.work(operation) == "failed"
    assert warden.picture() == before and not Jail.objects.filter(name="try1").exists()


def test_on_ufs_there_is_none(plain_warden):
    row = plain_warden.make("www1", start=False)
    assert "only ZFS" in refused(plain_warden, row)[""]
