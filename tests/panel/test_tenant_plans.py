"""Plans of tenants: each limit at the form, at the plan, at its confirmation and at the worker; and their pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jails import plans
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.models import Address, AuditEntry, Jail, Network, Operation, Template, TenantDataset, TenantPlan
from jails.operations import engine, lifecycle
from jails.operations.kind import Refused
from tests.panel.fleet import Fleet, GiB, add_jail
from tests.panel.test_jail_forms import changed, errors, wanted

pytestmark = pytest.mark.django_db
TIMING = engine.Timing(heartbeat=3600, progress=3600, patience=0, poll=0.01, backoff=0, output=0)


def set_plan(fleet: Fleet, **values: Any) -> TenantPlan:
    """acme's plan, as if there had been none before. A list of rows: those may be used, and no others."""
    named = {things: rows for things, rows in values.items() if things in plans.USABLE}
    numbers = {name: value for name, value in values.items() if name not in named}
    TenantPlan.objects.filter(tenant=fleet.acme).delete()
    anything = {plans.USABLE[things]: False for things in named}
    plan: TenantPlan = TenantPlan.objects.create(tenant=fleet.acme, **numbers, **anything)
    for things, rows in named.items():
        getattr(plan, things).set(rows)
    return plan


def draft(fleet: Fleet, kind: str, wish: dict[str, Any]) -> Operation:
    return lifecycle.draft(kind, wish, host=fleet.zfs, user=fleet.people["administrator"])


def confirm(fleet: Fleet, operation: Operation) -> Operation:
    return lifecycle.confirm(operation, operation.digest, user=fleet.people["administrator"])


def work(operation: Operation) -> str:
    """As a worker begins it, up to its first question to the host: `asked`, or what the operation became."""
    asked = []

    def connect(host: Any) -> Any:
        asked.append(host)
        raise HostUnavailable(Unavailable.TIMED_OUT, "it was asked")

    engine.run(operation.pk, worker="w1", connect=connect, timing=TIMING)
    operation.refresh_from_db()
    return "asked" if asked else operation.status


def create_wish(fleet: Fleet, **changes: Any) -> dict[str, Any]:
    limits = {"quota": 10 * GiB, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
    return {
        "name": "www3",
        "kind": "thin",
        "storage": "zfs",
        "release": fleet.release.pk,
        "template": None,
        "hostname": "www3.example.org",
        "addresses": [{"network": fleet.office.pk, "ip": "192.0.2.50"}],
        "boot": True,
        "start": True,
        "tenant": fleet.acme.pk,
        "limits": limits,
    } | changes


def give_wish(fleet: Fleet) -> dict[str, Any]:
    return {"jails": [str(fleet.jails["loghost"].uuid)], "tenant": fleet.acme.pk}


def change_wish(fleet: Fleet, quota: int | None = 20 * GiB, ips: tuple[str, ...] = ("192.0.2.11", "192.0.2.51")) -> Any:
    row = fleet.jails["www1"]
    return {
        "jail": str(row.uuid),
        "hostname": row.hostname,
        "addresses": [{"network": fleet.office.pk, "ip": ip} for ip in ips],
        "boot": row.boot,
        "limits": {"quota": quota, "children_max": 0, "securelevel": -1, "enforce_statfs": 2},
    }


@pytest.fixture(autouse=True)
def use(fleet: Fleet) -> None:
    """acme has www1 with 10 GiB and www2 without a quota, two addresses; loghost, nobody's, has 10 GiB and one."""
    Jail.objects.filter(pk=fleet.jails["loghost"].pk).update(limits={"quota": 10 * GiB})


def plan_values(fleet: Fleet, name: str, fits: bool) -> dict[str, Any]:
    values: dict[str, tuple[Any, Any]] = {
        "jails": (3, 2),
        "disk": (20 * GiB, 20 * GiB - 1),
        "addresses": (3, 2),
        "hosts": ([fleet.zfs, fleet.ufs], [fleet.ufs]),
        "networks": ([fleet.office], [fleet.branch]),
        "releases": ([fleet.release], [fleet.old_release]),
        "nothing of": ([], []),
    }
    return {name: values[name][0 if fits else 1]}


WISHES = {
    "jail_create": (
        create_wish,
        {"disk": "quota", "addresses": "addresses", "networks": "addresses", "releases": "release"},
    ),
    "jail_give": (give_wish, {}),
    "jail_change": (change_wish, {"disk": "quota", "addresses": "addresses", "networks": "addresses"}),
}
CASES = [
    *[("jail_create", thing) for thing in ("jails", "disk", "addresses", "hosts", "networks", "releases")],
    *[("jail_give", thing) for thing in ("jails", "disk", "addresses", "hosts", "networks")],
    *[("jail_change", thing) for thing in ("disk", "addresses", "networks")],
]


def wish_of(fleet: Fleet, kind: str) -> dict[str, Any]:
    wish: dict[str, Any] = WISHES[kind][0](fleet)  # type: ignore[operator]
    return wish


@pytest.mark.parametrize(("kind", "thing"), CASES)
class TestEachLimit:
    def test_when_it_is_planned(self, fleet: Fleet, planned: Any, kind: str, thing: str) -> None:
        set_plan(fleet, **plan_values(fleet, thing, fits=False))
        with pytest.raises(Refused) as refused:
            draft(fleet, kind, wish_of(fleet, kind))
        field = WISHES[kind][1].get(thing, "tenant")  # type: ignore[attr-defined]
        assert list(refused.value.errors) == [field] and "plan" in refused.value.errors[field]
        assert not Operation.objects.exists() and not planned.seen
        set_plan(fleet, **plan_values(fleet, thing, fits=True))
        assert draft(fleet, kind, wish_of(fleet, kind)).status == "draft"

    def test_when_it_is_confirmed(self, fleet: Fleet, planned: Any, kind: str, thing: str) -> None:
        operation = draft(fleet, kind, wish_of(fleet, kind))
        set_plan(fleet, **plan_values(fleet, thing, fits=False))
        with pytest.raises(Refused):
            confirm(fleet, operation)
        operation.refresh_from_db()
        assert operation.status == "draft" and not Jail.objects.filter(name="www3").exists()
        set_plan(fleet, **plan_values(fleet, thing, fits=True))
        assert confirm(fleet, operation).status == "queued"

    def test_when_a_worker_begins_it(self, fleet: Fleet, planned: Any, kind: str, thing: str) -> None:
        """What it has taken at its confirmation does not count twice."""
        set_plan(fleet, **plan_values(fleet, thing, fits=True))
        first = confirm(fleet, draft(fleet, kind, wish_of(fleet, kind)))
        assert work(first) == "asked"
        set_plan(fleet, **plan_values(fleet, thing, fits=False))
        Operation.objects.filter(pk=first.pk).update(lease_expires_at=None, lease_owner="")
        assert work(first) == "refused" and "the plan of acme" in first.error.replace("its plan", "the plan of acme")
        assert not Jail.objects.filter(name="www3").exists()
        assert not Address.objects.filter(ip__in=["192.0.2.50", "192.0.2.51"]).exists()


FORM_FIELDS = {"jails": "tenant", "hosts": "tenant", "disk": "quota", "addresses": "ip-0", "releases": "base"}


@pytest.mark.parametrize("thing", ["jails", "hosts", "disk", "addresses", "releases"])
def test_the_form_for_a_new_jail_says_it_at_the_field(as_person: Any, fleet: Fleet, planned: Any, thing: str) -> None:
    ada = as_person("administrator")
    set_plan(fleet, **plan_values(fleet, thing, fits=False))
    response = ada.post("/jails/create", wanted(fleet))
    assert response.status_code == 422
    (field,) = errors(response)
    assert field == FORM_FIELDS[thing] or (thing == "addresses" and field.startswith(("ip-", "network-")))
    checked = ada.post("/jails/create/check", wanted(fleet))
    assert field in errors(checked)
    set_plan(fleet, **plan_values(fleet, thing, fits=True))
    assert ada.post("/jails/create", wanted(fleet)).status_code == 302


def test_a_form_that_is_half_filled_in_says_it_already(as_person: Any, fleet: Fleet, planned: Any) -> None:
    set_plan(fleet, jails=2)
    response = as_person("administrator").post("/jails/create/check", wanted(fleet, name=""))
    assert "acme has 2 of 2 jails" in str(errors(response)["tenant"])


def test_the_form_of_a_change_and_of_a_gift_say_it(as_person: Any, fleet: Fleet, planned: Any) -> None:
    ada, www1 = as_person("administrator"), fleet.jails["www1"]
    set_plan(fleet, disk=15 * GiB, jails=2)
    response = ada.post(reverse("jail-change", args=[www1.uuid]), changed(www1, quota="20 GiB"))
    assert "room for 5 GiB more, not for 10 GiB" in str(errors(response)["quota"])
    assert ada.post(reverse("jail-change", args=[www1.uuid]), changed(www1, quota="15 GiB")).status_code == 302
    response = ada.post(reverse("jail-give", args=[fleet.jails["loghost"].uuid]), {"tenant": fleet.acme.pk})
    assert response.status_code == 422 and "acme has 2 of 2 jails" in str(errors(response)["tenant"])


def test_without_a_plan_all_is_as_it_was(fleet: Fleet, planned: Any) -> None:
    for kind in WISHES:
        assert confirm(fleet, draft(fleet, kind, wish_of(fleet, kind))).status == "queued"


def test_a_limit_of_disk_asks_for_a_quota(fleet: Fleet, planned: Any) -> None:
    set_plan(fleet, disk=2**50)
    unlimited = create_wish(fleet, limits={**create_wish(fleet)["limits"], "quota": None})
    for kind, wish, field in (
        ("jail_create", unlimited, "quota"),
        ("jail_change", change_wish(fleet, quota=None), "quota"),
        ("jail_give", {"jails": [str(fleet.jails["gone"].uuid)], "tenant": fleet.acme.pk}, "tenant"),
    ):
        with pytest.raises(Refused) as refused:
            draft(fleet, kind, wish)
        assert "a quota" in refused.value.errors[field]
    set_plan(fleet, jails=9)
    assert draft(fleet, "jail_create", unlimited)


def test_adopting_for_a_tenant_is_giving(fleet: Fleet, planned: Any) -> None:
    wish = {"jails": [str(fleet.jails["legacy"].uuid)], "how": "in place", "tenant": fleet.acme.pk}
    set_plan(fleet, jails=2)
    with pytest.raises(Refused) as refused:
        draft(fleet, "jail_adopt", wish)
    assert list(refused.value.errors) == ["tenant"]
    assert draft(fleet, "jail_adopt", wish | {"tenant": None})
    set_plan(fleet, jails=3)
    assert draft(fleet, "jail_adopt", wish)


def test_only_templates_of_the_plan_and_its_own(fleet: Fleet, planned: Any) -> None:
    own = Template.objects.create(host=fleet.zfs, name="own", tenant=fleet.acme, state="ready", storage="zfs")
    set_plan(fleet, templates=[])
    for template in (fleet.template, own):
        wish = create_wish(fleet, release=None, template=template.pk)
        if template == own:
            assert draft(fleet, "jail_create", wish)
            continue
        with pytest.raises(Refused) as refused:
            draft(fleet, "jail_create", wish)
        assert list(refused.value.errors) == ["template"]
    set_plan(fleet, templates=[fleet.template])
    assert draft(fleet, "jail_create", create_wish(fleet, release=None, template=fleet.template.pk))


def test_when_the_last_thing_that_is_allowed_is_removed_nothing_is(fleet: Fleet, planned: Any) -> None:
    lab = Network.objects.create(name="lab", cidr="203.0.113.0/24")
    set_plan(fleet, networks=[lab])
    lab.delete()
    with pytest.raises(Refused):
        draft(fleet, "jail_create", create_wish(fleet))


def test_who_is_over_the_plan_keeps_what_is_there_and_may_have_less(fleet: Fleet, planned: Any) -> None:
    set_plan(fleet, jails=0, disk=1 * GiB, addresses=0, networks=[])
    assert draft(fleet, "jail_change", change_wish(fleet, quota=9 * GiB, ips=("192.0.2.11",)))
    assert draft(fleet, "jail_change", change_wish(fleet, quota=9 * GiB, ips=()))
    with pytest.raises(Refused):
        draft(fleet, "jail_change", change_wish(fleet, quota=11 * GiB, ips=()))


# What is used


def test_what_is_used(fleet: Fleet) -> None:
    assert plans.use(fleet.acme) == plans.Use(jails=2, disk=10 * GiB, addresses=2, without_quota=1)
    assert plans.use(fleet.other) == plans.Use()


def test_what_open_operations_will_make_its_own_is_used(fleet: Fleet, planned: Any) -> None:
    made = confirm(fleet, draft(fleet, "jail_create", create_wish(fleet)))
    assert plans.use(fleet.acme) == plans.Use(jails=3, disk=20 * GiB, addresses=3, without_quota=1)
    assert plans.use(fleet.acme, but=made.pk) == plans.Use(jails=2, disk=10 * GiB, addresses=2, without_quota=1)
    given = confirm(fleet, draft(fleet, "jail_give", give_wish(fleet)))
    assert plans.use(fleet.acme) == plans.Use(jails=4, disk=30 * GiB, addresses=4, without_quota=1)
    grown = confirm(fleet, draft(fleet, "jail_change", change_wish(fleet)))
    assert plans.use(fleet.acme) == plans.Use(jails=4, disk=40 * GiB, addresses=5, without_quota=1)
    for operation in (made, given, grown):
        lifecycle.cancel(operation, user=fleet.people["administrator"])
    assert plans.use(fleet.acme) == plans.Use(jails=2, disk=10 * GiB, addresses=2, without_quota=1)


def test_a_gift_of_several_is_counted_once_each(fleet: Fleet, planned: Any) -> None:
    wish = {"jails": [str(fleet.jails[name].uuid) for name in ("loghost", "gone")], "tenant": fleet.acme.pk}
    confirm(fleet, draft(fleet, "jail_give", wish))
    assert plans.use(fleet.acme) == plans.Use(jails=4, disk=20 * GiB, addresses=3, without_quota=2)


def test_of_two_wishes_for_the_last_place_the_second_is_refused(fleet: Fleet, planned: Any) -> None:
    set_plan(fleet, jails=3)
    other = create_wish(fleet, name="www4", addresses=[])
    first, second = (draft(fleet, "jail_create", wish) for wish in (create_wish(fleet), other))
    gift = draft(fleet, "jail_give", give_wish(fleet))
    confirm(fleet, first)
    for late in (second, gift):
        with pytest.raises(Refused, match="acme has 3 of 3 jails"):
            confirm(fleet, late)
    lifecycle.cancel(first, user=fleet.people["administrator"])
    assert confirm(fleet, gift).status == "queued"


def test_the_number_of_queries_does_not_grow(fleet: Fleet, planned: Any) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            plans.use(fleet.acme)
        return len(queries)

    confirm(fleet, draft(fleet, "jail_give", give_wish(fleet)))
    before = count()
    for number in range(10):
        add_jail(fleet, f"many{number}", tenant=fleet.acme, ip=f"192.0.2.{100 + number}", limits={"quota": GiB})
        row = add_jail(fleet, f"more{number}")
        confirm(fleet, draft(fleet, "jail_give", {"jails": [str(row.uuid)], "tenant": fleet.acme.pk}))
    assert count() == before == 4 and plans.use(fleet.acme).jails == 23


# Pages

ANY = {"any_host": "on", "any_network": "on", "any_template": "on", "any_release": "on"}
URL = "/tenants/acme/plan"


def entries(action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action).order_by("sequence"))


def test_an_administrator_makes_changes_and_removes_a_plan(as_person: Any, fleet: Fleet) -> None:
    ada = as_person("administrator")
    sent = {**ANY, "jails": "5", "disk": "100 GiB", "addresses": "4", "memory": "8 GiB", "cpu": "200"}
    sent |= {"processes": "500", "snapshots": "20"}
    assert ada.post(URL, sent).headers["Location"] == "/tenants/acme/"
    plan = TenantPlan.objects.get(tenant=fleet.acme)
    assert (plan.jails, plan.disk, plan.addresses, plan.any_host) == (5, 100 * GiB, 4, True)
    assert (plan.memory, plan.cpu, plan.processes, plan.snapshots) == (8 * GiB, 200, 500, 20)
    ada.post(URL, sent | {"jails": "6", "any_host": "", "hosts": [fleet.zfs.pk]})
    plan.refresh_from_db()
    assert (plan.jails, plan.any_host, list(plan.hosts.all())) == (6, False, [fleet.zfs])
    made, second = entries("tenant.plan")
    assert made.before is None and made.after["jails"] == 5 and made.tenant == "acme"
    assert (second.before["jails"], second.after["jails"]) == (5, 6)
    places = entries("tenant.plan_places")[-1]
    assert (places.before["hosts"], places.after["hosts"]) == ("any", ["warden1"])
    assert places.tenant == "" and places.tenant_id is None and places.object_name == "acme"
    ada.post(URL, {"remove": "1"})
    assert not TenantPlan.objects.exists()
    assert entries("tenant.plan")[-1].before["jails"] == 6 and entries("tenant.plan")[-1].after is None


def test_what_does_not_change_is_not_in_the_log(as_person: Any, fleet: Fleet) -> None:
    ada = as_person("administrator")
    for _ in range(2):
        ada.post(URL, {**ANY, "jails": "5"})
    assert len(entries("tenant.plan")) == len(entries("tenant.plan_places")) == 1
    assert ada.get(URL).context["form"]["jails"].value() == 5


def test_plan_and_entry_are_kept_together_or_not_at_all(
    as_person: Any, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = as_person("administrator")

    def fail(entries: Any) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr("jails.audit.record_all", fail)
    with pytest.raises(RuntimeError):
        ada.post(URL, {**ANY, "jails": "5"})
    assert not TenantPlan.objects.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("jails", "-1"), ("jails", "many"), ("disk", "10 loaves"), ("disk", "4096 PiB"), ("cpu", "0"), ("hosts", "999")],
)
def test_what_cannot_be_is_refused_at_its_field(as_person: Any, fleet: Fleet, name: str, value: str) -> None:
    response = as_person("administrator").post(URL, ANY | {"any_host": "", "hosts": fleet.zfs.pk} | {name: value})
    assert response.status_code == 422 and list(errors(response)) == [name]
    assert not TenantPlan.objects.exists()


def test_neither_any_nor_some_is_no_answer(as_person: Any, fleet: Fleet) -> None:
    response = as_person("administrator").post(URL, ANY | {"any_release": ""})
    assert list(errors(response)) == ["releases"]


def test_a_plan_below_what_is_used_is_kept_and_the_page_says_so(as_person: Any, fleet: Fleet) -> None:
    ada = as_person("administrator")
    assert ada.post(URL, {**ANY, "jails": "1", "disk": "5 GiB"}).status_code == 302
    page = ada.get("/tenants/acme/").content.decode()
    assert "Over its plan" in page and "nothing that adds to jails, disk quotas is accepted" in page
    assert "1 jail has no quota, which the plan asks for" in page


def test_the_page_of_a_tenant_without_a_plan(as_person: Any, fleet: Fleet) -> None:
    assert "it may have what staff give it" in as_person("administrator").get("/tenants/acme/").content.decode()


@pytest.mark.parametrize("role", ["owner", "member", "viewer"])
def test_a_tenant_sees_numbers_and_not_what_else_there_is(as_person: Any, fleet: Fleet, role: str) -> None:
    secret = Network.objects.create(name="backbone", cidr="10.0.0.0/8")
    set_plan(fleet, jails=5, disk=100 * GiB, memory=GiB, hosts=[fleet.ufs], networks=[secret])
    person = as_person(role)
    for path in ("/", "/tenants/acme/"):
        page = person.get(path).content.decode()
        assert "2 of 5" in page and "100 GiB" in page
        assert "warden2" not in page and "backbone" not in page and 'href="/tenants/acme/plan"' not in page


def test_the_first_page_of_a_tenant_without_a_plan_says_nothing_of_it(as_person: Any, fleet: Fleet) -> None:
    assert "Your plan" not in as_person("owner").get("/").content.decode()


def test_the_log_of_a_tenant_has_its_numbers_and_no_names(as_person: Any, fleet: Fleet) -> None:
    as_person("administrator").post(URL, {**ANY, "jails": "5", "any_host": "", "hosts": [fleet.ufs.pk]})
    listed = as_person("owner").get("/audit/").content.decode()
    entry = AuditEntry.objects.get(action="tenant.plan")
    shown = as_person("owner").get(reverse("audit-entry", args=[entry.sequence]))
    assert "changed the plan of" in listed and "warden2" not in listed + shown.content.decode()
    other = AuditEntry.objects.get(action="tenant.plan_places")
    assert as_person("owner").get(reverse("audit-entry", args=[other.sequence])).status_code == 404


def test_a_share_of_nothing() -> None:
    assert plans.Share("jails", "Jails", 0, 0).percent == 0
    assert plans.Share("jails", "Jails", 1, 0).percent == 100 and plans.Share("jails", "Jails", 1, 0).is_over
    assert not plans.Share("jails", "Jails", 1, None).is_over


# Memory, CPU and processes: as disk, sums of what its jails are limited to


def limited_change(fleet: Fleet, **limits: int | None) -> dict[str, Any]:
    wish = change_wish(fleet, quota=10 * GiB, ips=("192.0.2.11",))
    return {**wish, "limits": wish["limits"] | limits}


def give_limits(fleet: Fleet, name: str = "www1", **limits: int) -> None:
    row = fleet.jails[name]
    Jail.objects.filter(pk=row.pk).update(limits={**row.limits, **limits})


@pytest.mark.parametrize(
    ("thing", "has", "limit", "words"),
    [
        ("memory", GiB, 2 * GiB, "acme has 1 GiB of 2 GiB of memory"),
        ("cpu", 100, 150, "acme has 100 % of 150 % of CPU"),
        ("processes", 100, 150, "acme has 100 of 150 processes"),
    ],
)
def test_limits_of_jails_add_up_to_those_of_the_plan(
    fleet: Fleet, planned: Any, thing: str, has: int, limit: int, words: str
) -> None:
    set_plan(fleet, **{thing: limit})
    give_limits(fleet, **{thing: has})
    used = plans.use(fleet.acme)
    assert (getattr(used, thing), used.without(thing)) == (has, 1)
    assert draft(fleet, "jail_change", limited_change(fleet, **{thing: limit}))
    with pytest.raises(Refused) as refused:
        draft(fleet, "jail_change", limited_change(fleet, **{thing: limit + 20}))
    assert words in refused.value.errors[thing]
    new = create_wish(fleet)
    with pytest.raises(Refused) as refused:
        draft(fleet, "jail_create", new)
    assert "limit of" in refused.value.errors[thing]
    assert draft(fleet, "jail_create", {**new, "limits": new["limits"] | {thing: limit - has}})


def test_a_limit_that_the_plan_asks_for_cannot_be_taken_away(fleet: Fleet, planned: Any) -> None:
    set_plan(fleet, memory=4 * GiB)
    give_limits(fleet, memory=GiB)
    with pytest.raises(Refused) as refused:
        draft(fleet, "jail_change", limited_change(fleet, memory=None))
    assert refused.value.errors["memory"].startswith("Give www1 a limit of memory")
    assert draft(fleet, "jail_change", limited_change(fleet)), "what is left out stays"


def test_what_grows_is_used_from_its_confirmation_on(fleet: Fleet, planned: Any) -> None:
    give_limits(fleet, memory=GiB, cpu=100)
    grown = confirm(fleet, draft(fleet, "jail_change", limited_change(fleet, memory=3 * GiB, cpu=50)))
    used = plans.use(fleet.acme)
    assert (used.memory, used.cpu) == (3 * GiB, 100), "what is given back is still there"
    lifecycle.cancel(grown, user=fleet.people["administrator"])
    assert plans.use(fleet.acme).memory == GiB


@pytest.mark.parametrize("kind", ["jail_give", "jail_change"])
def test_what_needs_attention_is_used_until_it_is_settled(fleet: Fleet, planned: Any, kind: str) -> None:
    before = plans.use(fleet.acme)
    operation = confirm(fleet, draft(fleet, kind, wish_of(fleet, kind)))
    assert plans.use(fleet.acme) != before
    for status, same in (("stuck", False), ("failed", True), ("done", True)):
        Operation.objects.filter(pk=operation.pk).update(status=status)
        assert (plans.use(fleet.acme).disk == before.disk) == same


# On its hosts


@pytest.fixture
def places(fleet: Fleet) -> list[TenantDataset]:
    return [
        TenantDataset.objects.create(tenant=fleet.acme, host=host, name="zroot/cellblock/acme", used=5 * GiB)
        for host in (fleet.zfs, fleet.ufs)
    ]


PLAN = {"disk": "20 GiB", "any_host": "on", "any_network": "on", "any_template": "on", "any_release": "on"}


def test_a_changed_plan_is_planned_on_each_of_its_hosts(
    as_person: Any, fleet: Fleet, planned: Any, places: list[TenantDataset]
) -> None:
    ada = as_person("administrator")
    response = ada.post(reverse("tenant-plan", args=["acme"]), PLAN)
    drafts = Operation.objects.filter(kind="tenant_limits")
    assert {one.host for one in drafts} == {fleet.zfs, fleet.ufs} and {one.tenant for one in drafts} == {fleet.acme}
    assert response.url.startswith(reverse("jails-bulk")) and all(str(one.pk) in response.url for one in drafts)
    assert b"warden1" in ada.get(response.url).content
    ada.post(reverse("tenant-plan", args=["acme"]), PLAN)
    assert drafts.filter(status="draft").count() == 2, "those that nobody ran went"


def test_a_host_that_cannot_be_planned_for_waits_and_the_page_says_so(
    as_person: Any, fleet: Fleet, planned: Any, places: list[TenantDataset]
) -> None:
    ada = as_person("administrator")
    planned.refuses[""] = "It is asleep."
    ada.post(reverse("tenant-plan", args=["acme"]), PLAN)
    page = ada.get(reverse("tenant", args=["acme"])).content.decode()
    assert plans.plan_of(fleet.acme).disk == 20 * GiB
    assert "it waits: It is asleep." in page and "has not arrived on 2 hosts" in page
    TenantDataset.objects.update(quota=20 * GiB)
    assert b"has not arrived" not in ada.get(reverse("tenant", args=["acme"])).content
    assert b"has not arrived" not in as_person("owner").get(reverse("tenant", args=["acme"])).content


def test_without_a_plan_the_quota_goes(as_person: Any, fleet: Fleet, planned: Any, places: list[TenantDataset]) -> None:
    set_plan(fleet, disk=20 * GiB)
    TenantDataset.objects.filter(host=fleet.zfs).update(quota=20 * GiB)
    response = as_person("administrator").post(reverse("tenant-plan", args=["acme"]), {"remove": "1"})
    operation = Operation.objects.get(kind="tenant_limits")
    assert operation.host == fleet.zfs and response.url == reverse("operation", args=[operation.pk])


def test_several_tenants_cost_as_many_queries_as_one(fleet: Fleet, planned: Any) -> None:
    confirm(fleet, draft(fleet, "jail_give", give_wish(fleet)))
    with CaptureQueriesContext(connection) as one:
        alone = plans.uses([fleet.acme])
    with CaptureQueriesContext(connection) as both:
        together = plans.uses([fleet.acme, fleet.other])
    assert len(one) == len(both) <= 4 and together[fleet.acme.pk] == alone[fleet.acme.pk]
    assert together[fleet.other.pk] == plans.use(fleet.other)
