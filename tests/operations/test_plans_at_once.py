"""Two simultaneous requests for the last place in a tenant's plan: one is confirmed."""

import threading
from contextlib import suppress

import pytest

from jails import plans
from jails.models import Address, Jail, Operation, TenantPlan
from jails.operations import kind, lifecycle
from jails.operations.kind import Refused
from tests.operations.test_simultaneous import at_once
from tests.panel.fleet import GiB, make_fleet
from tests.panel.planned import Planned


@pytest.fixture
def fleet(committed, messages, monkeypatch):
    real, state = kind.get, Planned.State()
    monkeypatch.setattr(kind, "get", lambda name: Planned(real(name), state))
    fleet = make_fleet()
    Jail.objects.filter(name="loghost").update(limits={"quota": GiB})
    return fleet


@pytest.fixture
def looked_together(monkeypatch):
    """Both look at what is used before either goes on, where nothing keeps them from it."""
    barrier, real = threading.Barrier(2), plans.use

    def use(*args, **options):
        found = real(*args, **options)
        with suppress(threading.BrokenBarrierError):
            barrier.wait(1.5)
        return found

    return lambda: monkeypatch.setattr(plans, "use", use)


def drafts(fleet, kinds):
    limits = {"quota": GiB, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
    new = {"kind": "thin", "storage": "zfs", "release": fleet.release.pk, "template": None, "limits": limits}
    new |= {"boot": True, "start": True, "tenant": fleet.acme.pk}
    www1 = fleet.jails["www1"]
    at = [{"network": fleet.office.pk, "ip": ip} for ip in ("192.0.2.11", "192.0.2.60", "192.0.2.61")]
    wishes = {
        "create": lambda n: ("jail_create", {**new, "name": f"new{n}", "hostname": f"new{n}", "addresses": [at[n]]}),
        "give": lambda n: ("jail_give", {"jails": [str(fleet.jails["loghost"].uuid)], "tenant": fleet.acme.pk}),
        "change": lambda n: (
            "jail_change",
            {
                "jail": str(www1.uuid),
                "hostname": www1.hostname,
                "addresses": [at[0], at[n]],
                "boot": True,
                "limits": limits | {"quota": 11 * GiB},
            },
        ),
        "snapshot": lambda n: ("snapshot_create", {"jail": str(www1.uuid), "name": f"new{n}", "note": ""}),
    }
    made = (wishes[name](number) for number, name in enumerate(kinds, 1))
    user = fleet.people["administrator"]
    return [lifecycle.draft(name, wish, host=fleet.zfs, user=user) for name, wish in made]


@pytest.mark.parametrize(
    ("kinds", "limit"),
    [
        (("create", "create"), {"jails": 3}),
        (("create", "create"), {"disk": 11 * GiB}),
        (("create", "create"), {"addresses": 3}),
        (("create", "give"), {"jails": 3}),
        (("create", "change"), {"disk": 11 * GiB}),
        (("create", "change"), {"addresses": 3}),
        (("snapshot", "snapshot"), {"snapshots": 1}),
    ],
    ids=lambda value: "-".join(value),
)
def test_of_two_simultaneous_ones_for_the_last_place_one_is_confirmed(fleet, looked_together, kinds, limit):
    TenantPlan.objects.create(tenant=fleet.acme, **limit)
    operations = drafts(fleet, kinds)
    looked_together()
    user = fleet.people["administrator"]
    results = at_once(2, lambda n: lifecycle.confirm(operations[n], operations[n].digest, user=user))
    assert sorted(type(result).__name__ for result in results) == ["Operation", "Refused"], results
    (refused,) = [result for result in results if isinstance(result, Refused)]
    assert "no room for more" in str(refused)
    assert Operation.objects.filter(status="queued").count() == 1
    used = plans.use(fleet.acme)
    assert all(getattr(used, thing) == most for thing, most in limit.items())
    assert Address.objects.filter(jail__tenant=fleet.acme).count() <= 3


def test_of_two_simultaneous_ones_that_bring_a_plan_to_a_host_the_second_replaces_the_first(fleet):
    user, wish = fleet.people["administrator"], {"tenant": fleet.acme.pk}
    operations = [lifecycle.draft("tenant_limits", wish, host=fleet.zfs, user=user) for _ in range(2)]
    results = at_once(2, lambda n: lifecycle.confirm(operations[n], operations[n].digest, user=user))
    assert [type(result).__name__ for result in results] == ["Operation"] * 2, results
    waits, replaced = sorted(Operation.objects.all(), key=lambda one: one.status, reverse=True)
    assert (waits.status, replaced.status) == ("queued", "cancelled") and waits.short_id in replaced.error
