"""Jails that a tenant makes and changes by itself, end to end; and what a forged wish comes to."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from jails import policy, selfservice
from jails.models import Jail, JailKey, Membership, Network, Operation, SshKey, Tenant, TenantPlan, User
from jails.operations import jail_create, lifecycle
from jails.operations.kind import Refused
from tests.freebsd.test_logins import KEYS

GiB = 1 << 30


@pytest.fixture
def acme(db):
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def plan(acme):
    return TenantPlan.objects.create(tenant=acme, jails=3, disk=6 * GiB, addresses=3)


def join(name, tenant, role="owner", rights=()):
    person = User.objects.create_user(name)
    Membership.objects.create(tenant=tenant, user=person, role=role, rights=list(rights))
    return person


@pytest.fixture
def bea(acme):
    return join("bea", acme)


def wanted(label="shop", quota=2 * GiB, **more):
    return selfservice.Wanted(label, "release:14.2-RELEASE", {"quota": quota}, **more)


def run(world, operation, person):
    operation = lifecycle.confirm(operation, operation.digest, user=person)
    world.work(operation)
    return operation


def test_from_three_fields_to_a_jail_with_ssh(stocked, acme, plan, bea):
    stocked.refresh()
    key = KEYS[0]
    SshKey.objects.create(user=bea, name="laptop", type=key.type, body=key.body, fingerprint=key.fingerprint)
    access = {"login": "bea", "person": bea.pk, "keys": [key.fingerprint]}
    operation = selfservice.draft(acme, wanted("shop.example.org", access=access), user=bea)
    operation = run(stocked, operation, bea)
    assert operation.status == "done", operation.error
    jail = Jail.objects.get()
    assert (jail.name, jail.hostname, jail.tenant) == ("acme-shop-example-org", "shop.example.org", acme)
    assert jail.limits["quota"] == 2 * GiB and jail.boot and jail.touched
    assert stocked.running() == {jail.name: jail.path} and stocked.addresses() == [jail.addresses.get().ip]
    text = stocked.read(f"{jail.path}/home/bea/.ssh/authorized_keys")
    assert text.split()[:3] == [key.type, key.body, f"cellblock:{bea.pk}"]
    assert JailKey.objects.get().jail == jail
    assert "sshd" in stocked.simulation.run("jexec", jail.name, "service", "sshd", "status")


def test_a_jail_whose_key_cannot_be_put_in_is_not_made(stocked, acme, plan, bea):
    stocked.refresh()
    before = stocked.picture()
    key = KEYS[0]
    SshKey.objects.create(user=bea, name="laptop", type=key.type, body=key.body, fingerprint=key.fingerprint)
    access = {"login": "bea", "person": bea.pk, "keys": [key.fingerprint]}
    operation = selfservice.draft(acme, wanted(access=access), user=bea)
    operation = lifecycle.confirm(operation, operation.digest, user=bea)
    stocked.fail("sh -c name=$1 alone=$2")
    stocked.work(operation)
    stocked.fault()
    assert operation.status == "failed", operation.error
    assert not Jail.objects.exists() and not JailKey.objects.exists()
    assert stocked.picture()["jails"] == before["jails"] and stocked.picture()["zfs"] == before["zfs"]


def test_a_right_that_ends_while_it_is_made_takes_the_key_out_again(stocked, acme, plan, bea, monkeypatch):
    stocked.refresh()
    key = KEYS[0]
    SshKey.objects.create(user=bea, name="laptop", type=key.type, body=key.body, fingerprint=key.fingerprint)
    access = {"login": "bea", "person": bea.pk, "keys": [key.fingerprint]}
    operation = selfservice.draft(acme, wanted(access=access), user=bea)
    operation = lifecycle.confirm(operation, operation.digest, user=bea)
    real = jail_create.kind.finish

    def after_the_last_step(*arguments):
        Membership.objects.filter(user=bea).update(role="member", rights=["create"])
        monkeypatch.undo()
        return real(*arguments)

    monkeypatch.setattr(jail_create.kind, "finish", after_the_last_step)
    assert stocked.work(operation) == "done", operation.error
    removal = Operation.objects.get(kind="keys_change", status="queued")
    assert stocked.work(removal) == "done", removal.error
    assert not JailKey.objects.exists()
    assert key.body not in stocked.read(f"{Jail.objects.get().path}/home/bea/.ssh/authorized_keys")


def test_a_name_that_is_taken_tells_nothing(stocked, acme, plan, bea):
    other = Tenant.objects.create(slug="acme-shop", name="Other")
    stocked.made(name="acme-shop-secret", tenant=other.pk)
    stocked.refresh()
    with pytest.raises(Refused) as error:
        selfservice.draft(acme, wanted("shop-secret"), user=bea)
    assert error.value.errors == {"label": selfservice.NOT_AVAILABLE}


def test_the_last_place_and_the_worker_that_finds_it_gone(stocked, acme, plan, bea):
    stocked.refresh()
    operation = selfservice.draft(acme, wanted(), user=bea)
    operation = lifecycle.confirm(operation, operation.digest, user=bea)
    plan.jails = 0
    plan.save()
    assert stocked.work(operation) != "done" and not Jail.objects.filter(state="running").exists()


# Forged: the parameters of the operation are all that an attacker could send


@pytest.fixture
def forged(stocked, acme, plan, bea):
    stocked.refresh()
    honest = selfservice.draft(acme, wanted(), user=bea)

    def plan_of(person=bea, **more):
        return lifecycle.draft("jail_create", honest.parameters | more, host=stocked.row, user=person)

    return plan_of


@pytest.mark.parametrize(
    "more",
    [
        {"name": "www1"},
        {"tenant": None},
        {"limits": {"quota": GiB, "children_max": 3, "securelevel": -1, "enforce_statfs": 2}},
        {"limits": {"quota": GiB, "children_max": 0, "securelevel": -1, "enforce_statfs": 1}},
        {"limits": {"quota": GiB, "children_max": 0, "securelevel": 2, "enforce_statfs": 2}},
    ],
    ids=str,
)
def test_a_forged_wish_is_denied(forged, more):
    with pytest.raises(PermissionDenied):
        forged(**more)


def test_more_addresses_and_others_keys_are_denied(forged, stocked, acme, bea):
    with pytest.raises(PermissionDenied, match="more than one address"):
        forged(addresses=stocked.at("192.0.2.40", "192.0.2.41"))
    carl = join("carl", acme)
    key = KEYS[0]
    SshKey.objects.create(user=carl, name="k", type=key.type, body=key.body, fingerprint=key.fingerprint)
    with pytest.raises(PermissionDenied, match="another one's keys"):
        forged(access={"login": "x", "person": carl.pk, "keys": [key.fingerprint]})
    dora = join("dora", acme, "member", ["create"])
    SshKey.objects.create(user=dora, name="k", type=key.type, body=key.body, fingerprint=key.fingerprint)
    with pytest.raises(PermissionDenied, match="may not put keys"):
        forged(dora, access={"login": "x", "person": dora.pk, "keys": [key.fingerprint]})
    assert forged(dora).status == "draft"


def test_for_another_tenant_or_without_the_right(forged, acme):
    other = Tenant.objects.create(slug="globex", name="Globex")
    TenantPlan.objects.create(tenant=other)
    with pytest.raises(PermissionDenied):
        forged(tenant=other.pk, name="globex-shop")
    for role, rights in (("viewer", ["create"]), ("member", ["power", "console", "destroy", "snapshots"])):
        with pytest.raises(PermissionDenied):
            forged(join(f"{role}-x", acme, role, rights))


def test_an_operator_of_the_host_makes_it_as_one_of_the_team(forged, stocked, acme, bea):
    User.objects.filter(pk=bea.pk).update(role=User.Role.OPERATOR)
    bea.operated_hosts.add(stocked.row)
    assert forged(User.objects.get(pk=bea.pk)).status == "draft"
    for more in ({"name": "other-shop"}, {"tenant": Tenant.objects.create(slug="globex", name="Globex").pk}):
        with pytest.raises(PermissionDenied):
            forged(User.objects.get(pk=bea.pk), **more)


def test_without_a_plan_staff_alone(forged, plan, stocked):
    plan.delete()
    with pytest.raises(PermissionDenied, match="only staff"):
        forged()
    assert forged(stocked.user).status == "draft"


def test_a_network_that_the_plan_does_not_allow(forged, plan, stocked):
    plan.any_network = False
    plan.save()
    with pytest.raises(Refused, match="network"):
        forged()


# Changing one


@pytest.fixture
def jail(warden, acme):
    limits = {"quota": 2 * GiB, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
    row = warden.make("www1", "192.0.2.10", start=False, tenant=acme, limits=limits)
    warden.sh(f"zfs set quota={2 * GiB} {row.dataset}")
    return row


def change(jail, **more):
    own = [{"network": one.network_id, "ip": one.ip} for one in jail.addresses.all()]
    wish = {"jail": str(jail.uuid), "hostname": jail.hostname, "addresses": own, "boot": jail.boot}
    return wish | {"limits": jail.limits | more.pop("limits", {})} | more


def drafted(warden, jail, person, **more):
    warden.refresh()
    return lifecycle.draft("jail_change", change(jail, **more), host=warden.row, user=person)


def test_a_tenant_resizes_and_sets_the_boot_flag(warden, jail, plan, bea):
    operation = run(warden, drafted(warden, jail, bea, boot=True, limits={"quota": 3 * GiB}), bea)
    assert operation.status == "done", operation.error
    jail.refresh_from_db()
    assert jail.boot and jail.limits["quota"] == 3 * GiB
    assert warden.facts().dataset(jail.dataset).quota == 3 * GiB
    assert "www1" in warden.facts().boot_state().boots_today


@pytest.mark.parametrize(
    "more",
    [
        {"hostname": "other.example.org"},
        {"addresses": []},
        {"limits": {"children_max": 1}},
        {"limits": {"enforce_statfs": 1}},
        {"limits": {"securelevel": 1}},
        {"limits": {"quota": None}},
        {"limits": {"quota": 3 * GiB}, "hostname": "other.example.org"},
    ],
    ids=str,
)
def test_all_else_is_for_staff(warden, jail, acme, bea, more):
    with pytest.raises((PermissionDenied, Refused)):
        drafted(warden, jail, bea, **more)
    assert not Operation.objects.exists()


def test_an_address_of_another_network_is_a_change(warden, jail, plan, bea):
    other = Network.objects.create(name="other", cidr="192.0.2.0/25")
    with pytest.raises(PermissionDenied):
        drafted(warden, jail, bea, boot=True, addresses=[{"network": other.pk, "ip": "192.0.2.10"}])


def test_more_than_nothing_counts_is_for_staff(warden, jail, acme, bea):
    with pytest.raises(PermissionDenied):
        drafted(warden, jail, bea, limits={"quota": 3 * GiB})
    assert drafted(warden, jail, bea, limits={"quota": GiB}).status == "draft", "less is always allowed"


def test_each_right_for_its_own(warden, jail, acme, plan):
    power, create = join("power", acme, "member", ["power"]), join("create", acme, "member", ["create"])
    for person, more in ((power, {"limits": {"quota": GiB}}), (create, {"boot": True})):
        with pytest.raises(PermissionDenied):
            drafted(warden, jail, person, **more)
        with pytest.raises(PermissionDenied):
            drafted(warden, jail, person, boot=True, limits={"quota": GiB})
    assert drafted(warden, jail, power, boot=True).status == "draft"
    assert drafted(warden, jail, create, limits={"quota": GiB}).status == "draft"


def test_what_is_confirmed_is_asked_again_by_the_worker(warden, jail, plan, bea):
    operation = drafted(warden, jail, bea, boot=True)
    operation = lifecycle.confirm(operation, operation.digest, user=bea)
    Jail.objects.filter(pk=jail.pk).update(hostname="changed.example.org")
    assert "jail.change" in policy.why_not_operation(User.objects.get(pk=bea.pk), Operation.objects.get())
    assert warden.work(operation) == "refused"
    jail.refresh_from_db()
    assert not jail.boot and jail.hostname == "changed.example.org"


def test_destroying_needs_the_right_and_the_name(warden, jail, acme):
    dan, power = join("dan", acme, "member", ["destroy"]), join("power", acme, "member", ["power"])
    warden.refresh()
    wish = {"jail": str(jail.uuid), "name": "www1"}
    with pytest.raises(PermissionDenied):
        lifecycle.draft("jail_destroy", wish, host=warden.row, user=power)
    with pytest.raises(Refused):
        lifecycle.draft("jail_destroy", wish | {"name": "www"}, host=warden.row, user=dan)
    operation = run(warden, lifecycle.draft("jail_destroy", wish, host=warden.row, user=dan), dan)
    assert operation.status == "done" and not Jail.objects.exists()
