"""What a changed plan means on hosts: shown before it is saved, chosen, saved, and what has not arrived since."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jails import allotting, plans
from jails.hosts.facts import HostFacts
from jails.models import (
    AuditEntry,
    Host,
    HostFactsRecord,
    Jail,
    Operation,
    PlanShare,
    Sample,
    TenantDataset,
    TenantPlan,
)
from jails.operations import lifecycle
from jails.operations.kind import Refused
from panel.views.tenants import jails_to_note
from tests.panel.fleet import Fleet, GiB, MiB, add_jail
from tests.panel.test_jail_forms import errors
from tests.panel.test_tenant_plans import ANY, create_wish, draft, set_plan

pytestmark = pytest.mark.django_db
URL = "/tenants/acme/plan"


@pytest.fixture
def branch(fleet: Fleet) -> Host:
    """A second host with ZFS, where acme has a jail as well."""
    host = Host.objects.create(name="warden3", kind=Host.Kind.SIMULATED, pool="tank", refreshed_at=timezone.now())
    HostFactsRecord.objects.create(host=host, data=HostFacts().to_data(), gathered_at=timezone.now())
    add_jail(fleet, "mail", host=host, tenant=fleet.acme, used=3 * GiB, limits={"quota": 8 * GiB, "memory": 2 * GiB})
    for one, used in ((fleet.zfs, 5 * GiB), (host, 3 * GiB)):
        TenantDataset.objects.create(tenant=fleet.acme, host=one, name="zroot/cellblock/acme", used=used)
    return host


def uses(fleet: Fleet, name: str, memory: int, processes: int = 20) -> None:
    Sample.objects.create(
        jail=fleet.jails[name], at=timezone.now(), seconds=60, running=True, cpu=12, memory=memory, processes=processes
    )


def form_of(page: Any) -> dict[str, Any]:
    """What a browser would send of a page of the plan, as it is."""
    sent: dict[str, Any] = {"seen": page.context["seen"]}
    forms = [page.context["form"], *([page.context["effects"]] if "effects" in page.context else [])]
    for one in forms:
        for bound in one:
            value = bound.field.prepare_value(bound.value()) if hasattr(bound.field, "prepare_value") else bound.value()
            if value not in (None, "", False, []):
                sent[bound.html_name] = "on" if value is True else value
    return sent | ({"effects": page.context["mark"]} if "effects" in page.context else {})


def show(client: Any, **numbers: Any) -> Any:
    """The page with what it changes."""
    sent = form_of(client.get(URL)) | ANY | numbers
    return client.post(URL, sent | {"show": "1"})


def limit(fleet: Fleet, name: str, thing: str) -> str:
    return f"{thing}-{fleet.jails[name].pk}"


def test_nothing_is_saved_before_it_is_shown_what_it_changes(fleet: Fleet, as_person: Any, branch: Host) -> None:
    uses(fleet, "www1", 700 * MiB)
    page = show(as_person("administrator"), disk="40 GiB", memory="8 GiB")
    assert page.status_code == 200 and not TenantPlan.objects.exists()
    form = form_of(page)
    # Each has what it uses, in whole steps, and a third of what mail's 2 GiB leave: one part is for a next jail.
    assert {name: form[limit(fleet, name, "memory")] for name in ("www1", "www2")} == {
        "www1": "2496 MiB",
        "www2": "1856 MiB",
    }
    assert form[limit(fleet, "www2", "quota")] == "11 GiB"
    # The quotas of its jails there, and half of the rest.
    assert (form[f"share-{fleet.zfs.pk}"], form[f"share-{branch.pk}"]) == ("26 GiB", "13 GiB")
    text = page.content.decode()
    assert "Nothing has been saved yet" in text and "Now none, uses 700 MiB." in text


@pytest.mark.parametrize(
    ("disk", "found"),
    [
        (60, (36, 24)),  # the quotas of www1 and mail, 20 and 8 GiB, and half of the rest each
        (20, (14, 6)),  # too little for these: what is used, 5 and 3 GiB, and of the rest 15 and 5 of 20 parts
        (4, (2, 1)),  # less than is used: in proportion, as far as it goes
    ],
)
def test_how_disk_is_shared_to_begin_with(fleet: Fleet, branch: Host, disk: int, found: tuple[int, int]) -> None:
    Jail.objects.filter(name="www1").update(limits={"quota": 20 * GiB})
    shares = allotting.shares(allotting.estate(fleet.acme), disk * GiB, {})
    assert tuple((shares[host.pk] or 0) // GiB for host in (fleet.zfs, branch)) == found
    assert sum(value or 0 for value in shares.values()) <= disk * GiB
    given = {fleet.zfs.pk: 2 * GiB}
    assert allotting.shares(allotting.estate(fleet.acme), disk * GiB, given) == {fleet.zfs.pk: 2 * GiB, branch.pk: None}


def test_what_was_chosen_is_saved_in_the_log_and_planned_on_each_host(
    fleet: Fleet, as_person: Any, branch: Host, planned: Any
) -> None:
    ada = as_person("administrator")
    sent = form_of(show(ada, disk="40 GiB", memory="8 GiB"))
    sent |= {limit(fleet, "www1", "memory"): "1 GiB", f"share-{fleet.zfs.pk}": "30 GiB", f"share-{branch.pk}": "10 GiB"}
    sent |= {limit(fleet, "www2", "quota"): "5 GiB", limit(fleet, "www2", "memory"): ""}
    answer = ada.post(URL, sent)
    assert answer.url.startswith(reverse("jails-bulk"))
    assert {row.host for row in Operation.objects.filter(kind="tenant_limits")} == {fleet.zfs, branch}
    assert dict(PlanShare.objects.values_list("host", "disk")) == {fleet.zfs.pk: 30 * GiB, branch.pk: 10 * GiB}
    allotted = dict(Jail.objects.exclude(allotted={}).values_list("name", "allotted"))
    assert allotted == {"www1": {"memory": GiB}, "www2": {"quota": 5 * GiB}}
    entry = AuditEntry.objects.get(action="tenant.plan")
    assert entry.after["limits"] == allotted and entry.before["limits"]["www1"] == {"memory": None}
    places = AuditEntry.objects.get(action="tenant.plan_places")
    assert places.after["disk_on"] == {"warden1": 30 * GiB, "warden3": 10 * GiB} and not places.tenant
    assert plans.use(fleet.acme).memory == 3 * GiB, "what is on its way is used"


def test_the_page_says_where_it_is_not_yet_and_plans_it_again(
    fleet: Fleet, as_person: Any, branch: Host, planned: Any
) -> None:
    ada = as_person("administrator")
    planned.refuses[""] = "It has never answered."
    sent = form_of(show(ada, memory="8 GiB"))
    ada.post(URL, sent)
    text = ada.get("/tenants/acme/").content.decode()
    assert (
        "not yet the limits of" in text
        and "has not arrived on 1 host." in text
        and "warden3" not in text.split('id="pending"')[1].split("</dl>")[0]
    )
    assert 'id="pending"' not in as_person("owner").get("/tenants/acme/").content.decode()
    ada = as_person("administrator")
    planned.refuses.clear()
    answer = ada.post(URL, {"there": "1"})
    operation = Operation.objects.get()
    assert answer.url == reverse("operation", args=[operation.pk])
    lifecycle.confirm(operation, operation.digest, user=fleet.people["administrator"])
    text = ada.get("/tenants/acme/").content.decode()
    assert reverse("operation", args=[operation.pk]) in text
    ada.post(URL, {"there": "1"})
    assert Operation.objects.count() == 1, "it is on its way already"


def test_two_administrators_at_once(fleet: Fleet, as_person: Any, branch: Host, planned: Any) -> None:
    ada = as_person("administrator")
    mine, theirs = (form_of(show(ada, jails=number)) for number in ("5", "7"))
    ada.post(URL, theirs)
    answer = ada.post(URL, mine)
    assert answer.status_code == 409 and plans.plan_of(fleet.acme).jails == 7
    assert "administrator-person has changed this plan since you opened it" in answer.content.decode()
    ada.post(URL, form_of(answer))
    assert plans.plan_of(fleet.acme).jails == 5


def test_numbers_that_were_not_looked_at_are_shown_first(fleet: Fleet, as_person: Any, branch: Host) -> None:
    ada = as_person("administrator")
    sent = form_of(show(ada, memory="8 GiB"))
    answer = ada.post(URL, sent | {"memory": "4 GiB"})
    assert answer.status_code == 409 and not TenantPlan.objects.exists()
    assert "see what they mean" in answer.content.decode()
    assert form_of(answer)[limit(fleet, "www1", "memory")] != sent[limit(fleet, "www1", "memory")]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("memory-www1", "1 MiB", "must be 16 MiB"),
        ("memory-mail", "9 GiB", "together, and the plan has 8 GiB"),
        ("memory-mail", "", "It has one"),
        ("quota-www1", "1 GiB", "It uses 2 GiB already"),
        ("share-warden1", "41 GiB", "the plan has 30 GiB of disk"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    fleet: Fleet, as_person: Any, branch: Host, name: str, value: str, words: str
) -> None:
    what, _, whose = name.partition("-")
    field = f"share-{fleet.zfs.pk}" if what == "share" else limit(fleet, whose, what)
    Jail.objects.filter(name="www2").update(limits={"quota": 90 * GiB, "memory": 7 * GiB})
    ada = as_person("administrator")
    answer = ada.post(URL, form_of(show(ada, disk="30 GiB", memory="8 GiB")) | {field: value})
    assert answer.status_code == 422 and words in str(answer.context["effects"].errors[field])
    assert not TenantPlan.objects.exists()


def test_less_than_a_running_jail_uses_is_never_proposed_and_is_told_when_chosen(
    fleet: Fleet, as_person: Any, branch: Host
) -> None:
    uses(fleet, "www1", 3 * GiB, processes=300)
    ada = as_person("administrator")
    page = show(ada, memory="4 GiB")
    assert form_of(page)[limit(fleet, "www1", "memory")] == "3 GiB", "though 2 GiB are left"
    assert [share.is_over for share in page.context["together"]] == [True]
    again = ada.post(URL, form_of(page) | {limit(fleet, "www1", "memory"): "1 GiB", "show": "1"})
    assert "www1 uses 3 GiB now, more than 1 GiB: what is above it is paged out" in again.content.decode()


def test_a_plan_below_what_is_used_takes_nothing_away_and_refuses_more_until_it_fits(
    fleet: Fleet, as_person: Any, planned: Any
) -> None:
    ada = as_person("administrator")
    page = show(ada, jails="1", disk="5 GiB")
    assert "Nothing is taken away" in page.content.decode()
    ada.post(URL, form_of(page))
    assert Jail.objects.filter(tenant=fleet.acme).count() == 2
    with pytest.raises(Refused, match="acme has 2 of 1 jails"):
        draft(fleet, "jail_create", create_wish(fleet))
    Jail.objects.filter(tenant=fleet.acme).update(tenant=None)
    assert draft(fleet, "jail_create", create_wish(fleet, limits=create_wish(fleet)["limits"] | {"quota": 5 * GiB}))


def test_what_nobody_can_set_here_is_said(fleet: Fleet, as_person: Any) -> None:
    Jail.objects.filter(name="legacy").update(tenant=fleet.acme)
    add_jail(fleet, "shop", host=fleet.ufs, storage="ufs", base=fleet.ufs_release, tenant=fleet.acme)
    page = show(as_person("administrator"), disk="90 GiB", memory="8 GiB")
    text = page.content.decode()
    assert "it was not made here: its limits are set on its host" in text and "on UFS no jail can have it" in text
    assert limit(fleet, "legacy", "memory") not in page.context["effects"].fields


def test_of_very_many_jails_the_rest_gets_what_is_proposed(
    fleet: Fleet, as_person: Any, planned: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("panel.forms.allotting.SHOWN", 2)
    for number in range(4):
        add_jail(fleet, f"many{number}", tenant=fleet.acme)
    ada = as_person("administrator")
    page = show(ada, memory="6 GiB", jails="6")
    assert "Give the other 4 that have none" in page.content.decode()
    assert [(share.thing, share.used) for share in page.context["together"]] == [("memory", 6 * GiB)]
    ada.post(URL, form_of(page))
    assert set(Jail.objects.filter(tenant=fleet.acme).values_list("allotted__memory", flat=True)) == {GiB}


def test_of_very_many_jails_the_rest_keeps_what_it_was_given_and_nobody_was_asked(
    fleet: Fleet, as_person: Any, planned: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("panel.forms.allotting.SHOWN", 1)
    given = {"memory": GiB}
    set_plan(fleet, memory=8 * GiB)
    Jail.objects.filter(tenant=fleet.acme).update(allotted=given)
    ada = as_person("administrator")
    sent = form_of(show(ada, cpu="100"))
    ada.post(URL, {name: value for name, value in sent.items() if name != "others"})
    kept = {row.name: row.allotted for row in Jail.objects.filter(tenant=fleet.acme)}
    assert all(row["memory"] == GiB for row in kept.values()) and given in kept.values()
    ada.post(URL, form_of(show(ada, cpu="100")))
    assert {tuple(sorted(row.allotted)) for row in Jail.objects.filter(tenant=fleet.acme)} == {("cpu", "memory")}


def test_of_very_many_jails_that_are_too_much_together_it_is_said_that_some_are_not_shown(
    fleet: Fleet, as_person: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("panel.forms.allotting.SHOWN", 2)
    for number in range(4):
        add_jail(fleet, f"many{number}", tenant=fleet.acme, limits={"memory": 2 * GiB})
    words = "4 more jails are counted and not shown here"
    assert words not in show(as_person("administrator"), memory="90 GiB").content.decode()
    page = show(as_person("administrator"), memory="6 GiB").content.decode()
    assert words in page and "Give the other" not in page


def test_who_saves_a_plan_waits_for_jails_alone(fleet: Fleet) -> None:
    """Whoever ends an operation has the row of its host, and wants those of its jails next."""
    rows = jails_to_note(fleet.acme, [fleet.jails["www1"].pk])
    assert rows.query.select_for_update and "jails_host" not in str(rows.query)


def test_a_draft_that_is_confirmed_meanwhile_is_not_put_away(fleet: Fleet, as_person: Any, planned: Any) -> None:
    as_person("administrator").post(URL, ANY | {"memory": "8 GiB"})
    Jail.objects.filter(name="www1").update(allotted={"memory": GiB})
    as_person("administrator").post(URL, {"there": "1"})
    operation = Operation.objects.get()

    def confirm_first(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and operation.status == Operation.Status.DRAFT:
            operation.status = Operation.Status.QUEUED
            operation.save(update_fields=["status"])
        return execute(sql, *rest)

    with connection.execute_wrapper(confirm_first):
        assert lifecycle.discard_drafts(Operation.objects.all()) == 0
    operation.refresh_from_db()
    assert operation.status == Operation.Status.QUEUED


def test_what_a_plan_no_longer_counts_is_not_given_any_more(fleet: Fleet, as_person: Any, planned: Any) -> None:
    ada = as_person("administrator")
    ada.post(URL, form_of(show(ada, memory="6 GiB", cpu="100")))
    assert Jail.objects.get(name="www1").allotted.keys() == {"memory", "cpu"}
    ada.post(URL, form_of(show(ada, memory="")))
    assert Jail.objects.get(name="www1").allotted.keys() == {"cpu"}
    ada.post(URL, {"remove": "1"})
    assert not Jail.objects.exclude(allotted={}).exists()


def test_a_page_of_many_costs_as_many_queries_as_of_few(fleet: Fleet, as_person: Any, branch: Host) -> None:
    ada = as_person("administrator")
    counts = []
    for more in (0, 20):
        for number in range(more):
            add_jail(fleet, f"many{number}", tenant=fleet.acme)
        with CaptureQueriesContext(connection) as queries:
            show(ada, disk="90 GiB", memory="90 GiB")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_by_itself_a_tenant_goes_where_its_plan_has_disk(
    fleet: Fleet, as_person: Any, branch: Host, planned: Any
) -> None:
    """warden1 has none left; on warden3 there is nothing to make a jail from."""
    plan = set_plan(fleet, jails=9, disk=60 * GiB)
    PlanShare.objects.create(plan=plan, host=fleet.zfs, disk=12 * GiB)
    data = {"label": "blog", "base": "release:14.2-RELEASE", "quota": "5 GiB"}
    answer = as_person("owner").post(reverse("jail-make"), data)
    assert "In one place your plan has room for 2 GiB" in str(errors(answer)["quota"])
    assert "warden" not in answer.content.decode().split("<form")[1]
    with pytest.raises(Refused, match="what is set aside for warden1 has room for 2 GiB more"):
        draft(fleet, "jail_create", create_wish(fleet))
    assert as_person("owner").post(reverse("jail-make"), data | {"quota": "2 GiB"}).status_code == 302
    PlanShare.objects.update(disk=10 * GiB)
    answer = as_person("owner").post(reverse("jail-make"), data)
    assert "What your plan has left cannot be used for this at the moment" in str(errors(answer)["quota"])


def test_how_much_larger_a_jail_may_become_is_what_its_host_has_left_of_the_plan(
    fleet: Fleet, as_person: Any, branch: Host
) -> None:
    plan, url = set_plan(fleet, disk=60 * GiB), reverse("jail-size", args=[fleet.jails["www1"].uuid])
    left = 60 * GiB - plans.use(fleet.acme).disk
    assert f"The plan has {plans.size(left)} left." in as_person("owner").get(url).content.decode()
    PlanShare.objects.create(plan=plan, host=fleet.zfs, disk=12 * GiB)
    assert "The plan has 2 GiB left." in as_person("owner").get(url).content.decode()


def test_who_resizes_a_jail_is_told_what_it_is_to_have(fleet: Fleet, as_person: Any, planned: Any) -> None:
    set_plan(fleet, memory=4 * GiB)
    jails, url = Jail.objects.filter(name="www1"), reverse("jail-size", args=[fleet.jails["www1"].uuid])
    jails.update(limits={"memory": 3 * GiB}, allotted={"memory": GiB})
    owner = as_person("owner")
    hint = owner.get(url).context["form"]["memory"].help_text
    assert hint == "By a change of the plan it is to have 1 GiB, as soon as its host is told. The plan has 1 GiB left."
    assert owner.post(url, {"memory": "2 GiB"}).status_code == 302, "the plan has room for it"
    Jail.objects.filter(name="www2").update(limits={"memory": 2 * GiB})
    assert "acme has 5 GiB of 4 GiB of memory: its plan has no room for more" in str(
        errors(owner.post(url, {"memory": "2560 MiB"}))["memory"]
    )
    assert owner.post(url, {"memory": "2 GiB"}).status_code == 302
    Jail.objects.filter(name="www2").update(limits={})
    jails.update(limits={"memory": GiB})
    assert owner.get(url).context["form"]["memory"].help_text == "The plan has 3 GiB left."


def test_a_host_that_is_waited_for_is_found_without_a_query_each(fleet: Fleet, branch: Host) -> None:
    plan = set_plan(fleet, disk=60 * GiB)
    with CaptureQueriesContext(connection) as queries:
        waiting = allotting.pending(fleet.acme, plan)
    assert [one.host.name for one in waiting] == ["warden1", "warden3"] and len(queries) == 4
