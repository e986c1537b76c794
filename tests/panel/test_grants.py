"""What members are granted, what is gone when somebody is let out, and the team one looks at."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jails import memberships, policy
from jails.models import AuditEntry, Grant, Invitation, Jail, Membership, Operation, Right, Tenant, User
from tests.panel.fleet import Fleet, add_jail
from tests.panel.test_tenants import as_, last, member_url, membership

pytestmark = pytest.mark.django_db


def afresh(fleet: Fleet, role: str) -> User:
    """The person as the next request reads them."""
    return User.objects.get(pk=fleet.people[role].pk)


def may(fleet: Fleet, right: str, jail: str, role: str = "member") -> bool:
    row = Jail.objects.get(name=jail)
    return policy.has_right(afresh(fleet, role), right, row.tenant_id, row.pk)


def set_role(fleet: Fleet, role: str, rights: list[str], person: str = "member") -> None:
    Membership.objects.filter(user=fleet.people[person]).update(role=role, rights=rights)


def signed_in(fleet: Fleet, role: str) -> Client:
    """With a password, as people come in: the session is listed and can be ended."""
    person, client = fleet.people[role], Client()
    person.set_password("correct horse battery")
    person.save()
    client.post(reverse("account_login"), {"login": person.username, "password": "correct horse battery"})
    return client


# What counts


def test_a_member_has_what_is_ticked_on_all_jails(fleet: Fleet) -> None:
    for right in Right.values:
        set_role(fleet, "member", [right])
        assert [other for other in Right.values if may(fleet, other, "www1")] == [right]


def test_a_right_on_one_jail_is_on_no_other(fleet: Fleet) -> None:
    set_role(fleet, "member", [])
    Grant.objects.create(membership=membership(fleet, "member"), jail=fleet.jails["www1"], right="power")
    assert [jail for jail in ("www1", "www2") if may(fleet, "power", jail)] == ["www1"]
    assert not any(may(fleet, right, "www1") for right in Right.values if right != "power")
    assert not policy.has_right(afresh(fleet, "member"), "power", fleet.acme.pk)


@pytest.mark.parametrize(("role", "has"), [("owner", True), ("manager", True), ("viewer", False)])
def test_ticks_are_for_members_alone(fleet: Fleet, role: str, has: bool) -> None:
    set_role(fleet, role, [] if has else Right.values)
    for right in Right.values:
        Grant.objects.create(membership=membership(fleet, "member"), jail=fleet.jails["www2"], right=right)
    assert {may(fleet, right, jail) for right in Right.values for jail in ("www1", "www2")} == {has}


def test_a_manager_may_all_that_an_owner_may_but_for_the_team(fleet: Fleet) -> None:
    set_role(fleet, "manager", [])
    owner, manager = afresh(fleet, "owner"), afresh(fleet, "member")
    owners_alone = {"tenant.invite", "tenant.members", "breakglass.acknowledge", "console.view"}
    for thing in (fleet.acme, fleet.jails["www1"], fleet.zfs, fleet.other, None):
        differ = {
            action
            for action in policy.ACTIONS
            if policy.allowed(owner, action, thing) != policy.allowed(manager, action, thing)
        }
        assert differ == (owners_alone if thing in (fleet.acme, fleet.jails["www1"]) else set())


def test_no_right_reaches_another_tenants_jail(fleet: Fleet) -> None:
    shop = add_jail(fleet, "shop", tenant=fleet.other)
    Grant.objects.create(membership=membership(fleet, "member"), jail=shop, right="power")  # as a bug would
    assert not may(fleet, "power", "shop")
    assert not policy.allowed(afresh(fleet, "member"), "jail.power", shop)


def test_an_archived_tenant_gives_no_right(fleet: Fleet) -> None:
    Tenant.objects.filter(pk=fleet.acme.pk).update(archived_at=timezone.now())
    assert not may(fleet, "power", "www1", "owner")


def test_rights_cost_two_queries_however_many_jails(fleet: Fleet, django_assert_max_num_queries: Any) -> None:
    set_role(fleet, "member", [])
    jails = [add_jail(fleet, f"j{number}", tenant=fleet.acme) for number in range(30)]
    member = afresh(fleet, "member")
    with django_assert_max_num_queries(2):
        assert not any(policy.allowed(member, "jail.power", jail) for jail in jails)


def test_a_member_without_the_right_gets_no_button_and_no_operation(fleet: Fleet) -> None:
    set_role(fleet, "member", [])
    member = as_(fleet, "member")
    page = member.get(reverse("jail", args=[fleet.jails["www1"].uuid]))
    assert page.status_code == 200
    assert reverse("jail-stop", args=[fleet.jails["www1"].uuid]) not in page.content.decode()
    assert member.post(reverse("jail-stop", args=[fleet.jails["www1"].uuid])).status_code == 404
    assert not Operation.objects.exists()


# The owner's page


def test_ticking_rights(fleet: Fleet) -> None:
    owner, url = as_(fleet, "owner"), member_url(membership(fleet, "member"))
    owner.post(url, {"role": "member", "rights": ["snapshots", "console"]})
    assert sorted(membership(fleet, "member").rights) == ["console", "snapshots"]
    assert last("tenant.member_change").after == {"role": "member", "all_jails": ["console", "snapshots"]}


def test_granting_on_one_jail_and_taking_it_back(fleet: Fleet) -> None:
    owner, url, www1 = as_(fleet, "owner"), member_url(membership(fleet, "member")), fleet.jails["www1"]
    owner.post(url, {"grant": "these", "jail": www1.uuid, "rights": ["console", "destroy"]})
    assert last("tenant.member_change").after["jails"] == {"www1": ["console", "destroy"]}
    owner.post(url, {"grant": "these", "jail": www1.uuid, "rights": ["destroy", "snapshots"]})
    assert set(Grant.objects.values_list("jail__name", "right")) == {("www1", "destroy"), ("www1", "snapshots")}
    assert "Take back" in owner.get(url).content.decode()
    owner.post(url, {"grant": "none", "jail": www1.uuid})
    assert not Grant.objects.exists()
    assert "jails" not in last("tenant.member_change").after


@pytest.mark.parametrize("rights", [["root"], ["create"], ["power", "admin"]])
def test_a_right_that_is_none_is_refused(fleet: Fleet, rights: list[str]) -> None:
    url = member_url(membership(fleet, "member"))
    sent = {"grant": "these", "jail": fleet.jails["www1"].uuid, "rights": rights}
    response = as_(fleet, "owner").post(url, sent)
    assert (response.status_code, list(response.context["grant"].errors)) == (422, ["rights"])
    assert not Grant.objects.exists()


@pytest.mark.parametrize("jail", ["loghost", "shop"])
def test_nothing_is_granted_on_a_jail_of_somebody_else(fleet: Fleet, jail: str) -> None:
    add_jail(fleet, "shop", tenant=fleet.other)
    url = member_url(membership(fleet, "member"))
    sent = {"grant": "these", "jail": Jail.objects.get(name=jail).uuid, "rights": ["power"]}
    response = as_(fleet, "owner").post(url, sent)
    assert list(response.context["grant"].errors) == ["jail"]
    missing = {**sent, "jail": "00000000-0000-4000-8000-000000000000"}
    known, unknown = (as_(fleet, "owner").post(url, data).context["grant"].errors for data in (sent, missing))
    assert known == unknown  # that it exists is not told
    assert not Grant.objects.exists()


def test_a_link_carries_the_rights_of_who_joins_by_it(fleet: Fleet) -> None:
    sent = {"label": "Bob", "role": "member", "rights": ["snapshots"]}
    link = as_(fleet, "owner").post(reverse("tenant-invite", args=["acme"]), sent).context["link"]
    Client().post(link.removeprefix("http://127.0.0.1:8000"), {"username": "bob"})
    assert Membership.objects.get(user__username="bob").rights == ["snapshots"]
    assert last("invitation.use").after["all_jails"] == ["snapshots"]
    assert last("tenant.invite").after == {"role": "member", "all_jails": ["snapshots"]}


# The end of a membership


def test_who_is_let_out_is_signed_out_everywhere(fleet: Fleet) -> None:
    member = signed_in(fleet, "member")
    assert member.get(reverse("home")).status_code == 200
    as_(fleet, "owner").post(member_url(membership(fleet, "member")), {"remove": "1"})
    assert reverse("account_login") in member.get(reverse("home")).headers["Location"]
    assert last("tenant.member_remove").after["sessions_ended"] == 1


def test_who_leaves_stays_signed_in_here_and_nowhere_else(fleet: Fleet) -> None:
    here, elsewhere = signed_in(fleet, "member"), Client()
    elsewhere.post(reverse("account_login"), {"login": "member-person", "password": "correct horse battery"})
    assert {client.get(reverse("home")).status_code for client in (here, elsewhere)} == {200}
    here.post(member_url(membership(fleet, "member")), {"remove": "1"})
    assert [client.get(reverse("home")).status_code for client in (here, elsewhere)] == [200, 302]


def test_links_and_plans_go_with_who_made_them(fleet: Fleet) -> None:
    set_role(fleet, "owner", [])
    person = fleet.people["member"]
    _, token = Invitation.issue(label="x", tenant=fleet.acme, tenant_role="viewer", created_by=person)
    Invitation.issue(label="y", tenant=fleet.acme, tenant_role="viewer", created_by=fleet.people["owner"])
    rows = [
        Operation.objects.create(
            kind="jail_stop", title="x", host=fleet.zfs, tenant=tenant, requested_by=who, parameters={}
        )
        for tenant, who in ((fleet.acme, person), (fleet.acme, fleet.people["owner"]), (fleet.other, person))
    ]
    as_(fleet, "owner").post(member_url(membership(fleet, "member")), {"remove": "1"})
    assert Client().get(reverse("enter", args=[token])).status_code == 410
    assert list(Invitation.objects.filter(expires_at__gt=timezone.now()).values_list("label", flat=True)) == ["y"]
    assert [Operation.objects.get(pk=row.pk).status for row in rows] == ["discarded", "draft", "draft"]
    entry = last("tenant.member_remove")
    assert (entry.after["links_withdrawn"], entry.after["plans_discarded"]) == (1, 1)


def test_others_hear_of_it_in_the_same_transaction(fleet: Fleet) -> None:
    heard: list[Any] = []

    def listener(membership: Membership, actor: User, **rest: Any) -> None:
        heard.append((membership.user, membership.tenant, actor))
        raise RuntimeError("as if the machine died")

    memberships.ended.connect(listener)
    try:
        with pytest.raises(RuntimeError):
            as_(fleet, "owner").post(member_url(membership(fleet, "member")), {"remove": "1"})
    finally:
        memberships.ended.disconnect(listener)
    assert heard == [(fleet.people["member"], fleet.acme, fleet.people["owner"])]
    assert membership(fleet, "member").role == "member"
    assert not AuditEntry.objects.filter(action="tenant.member_remove").exists()


# The team one looks at


@pytest.fixture
def of_two(fleet: Fleet) -> Client:
    add_jail(fleet, "shop", tenant=fleet.other)
    Membership.objects.create(tenant=fleet.other, user=fleet.people["member"], role="viewer")
    return as_(fleet, "member")


@pytest.mark.parametrize("page", ["home", "jails"])
def test_who_is_in_two_teams_sees_both_or_one(of_two: Client, page: str) -> None:
    shown = {}
    for team in ("", "acme", "globex"):
        assert of_two.post(reverse("account-team"), {"team": team}).headers["Location"] == reverse("home")
        text = of_two.get(reverse(page)).content.decode()
        shown[team] = {name for name in ("www1", "www2", "shop") if f">{name}<" in text}
    assert shown == {"": {"www1", "www2", "shop"}, "acme": {"www1", "www2"}, "globex": {"shop"}}


def test_a_link_to_the_other_team_works_all_the_same(of_two: Client) -> None:
    of_two.post(reverse("account-team"), {"team": "acme"})
    assert of_two.get(reverse("jail", args=[Jail.objects.get(name="shop").uuid])).status_code == 200


def test_a_team_one_has_left_hides_nothing_more(of_two: Client, fleet: Fleet) -> None:
    of_two.post(reverse("account-team"), {"team": "globex"})
    Membership.objects.filter(tenant=fleet.other, user=fleet.people["member"]).delete()
    text = of_two.get(reverse("home")).content.decode()
    assert "www1" in text and "All my teams" not in text


def test_only_who_is_in_several_is_asked(fleet: Fleet) -> None:
    assert "All my teams" not in as_(fleet, "member").get(reverse("home")).content.decode()
