"""Tenants, their teams, and what a member sees."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jails.models import AuditEntry, Invitation, Jail, Membership, Operation, Template, Tenant, User
from jails.operations import kind
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step
from panel import accounts
from tests.panel.fleet import Fleet, add_jail
from tests.panel.fleet import signed_in as as_
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db


class Give(Kind):
    """Stands for the kind jail_give, whose own tests are those of operations: these are about who asks for what."""

    name = "jail_give"
    action = "jail.give"
    refuses = ""

    def jails(self, host: Any, parameters: Any) -> list[Jail]:
        return list(Jail.objects.filter(host=host, uuid__in=parameters["jails"]).order_by("name"))

    def tenant(self, host: Any, parameters: Any) -> Tenant | None:
        return Tenant.objects.filter(pk=parameters["tenant"]).first()

    def title(self, parameters: Any, host: Any) -> str:
        return "Give jails"

    def clean(self, parameters: Any) -> dict[str, Any]:
        return dict(parameters)

    def plan(self, request: Request) -> Plan:
        if self.refuses in request.parameters["jails"]:
            raise Refused("its dataset is gone.")
        step = Step(key="move", purpose="Move", action=Run((("/usr/bin/true",),)))
        return Plan(title=f"Give to {request.parameters['tenant']}", steps=(step,), resources=())


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    wanted, real = Give(), kind.get
    monkeypatch.setattr(kind, "get", lambda name: wanted if name == "jail_give" else real(name))
    return wanted


def given(operation: Operation) -> None:
    """As a worker would have done it."""
    operation.jails.update(tenant=operation.parameters["tenant"])
    Operation.objects.filter(pk=operation.pk).update(status="done")


@pytest.fixture
def ada(as_person: Any) -> Client:
    return as_person("administrator")


def membership(fleet: Fleet, role: str) -> Membership:
    return Membership.objects.get(user=fleet.people[role])


def last(action: str) -> AuditEntry:
    return AuditEntry.objects.filter(action=action).latest("sequence")


def member_url(of: Membership) -> str:
    return reverse("tenant-member", args=[of.tenant.slug, of.pk])


# All tenants


def test_the_list_counts_what_each_has(ada: Client, fleet: Fleet) -> None:
    rows = {row["tenant"].slug: row for row in ada.get(reverse("tenants")).context["tenants"]}
    assert rows["acme"]["members"] == 3
    assert (rows["acme"]["use"]["jails"], rows["acme"]["use"]["running"]) == (2, 1)
    assert rows["acme"]["use"]["used"] == 2 * 2**30
    assert (rows["globex"]["members"], rows["globex"]["use"]) == (1, None)


def test_the_number_of_queries_does_not_grow_with_the_tenants(
    ada: Client, fleet: Fleet, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        tenant = Tenant.objects.create(slug=f"t{number}", name=f"T{number}")
        tenant.memberships.create(user=fleet.people["viewer"], role="viewer")
        add_jail(fleet, f"j{number}", tenant=tenant)
    with django_assert_max_num_queries(10):
        ada.get(reverse("tenants"))
    with django_assert_max_num_queries(14):
        ada.get(reverse("tenant", args=["acme"]))


def test_adding_a_tenant(ada: Client, fleet: Fleet) -> None:
    response = ada.post(reverse("tenant-add"), {"name": "Initech GmbH", "slug": "initech"})
    assert response.headers["Location"] == reverse("tenant", args=["initech"])
    assert (last("tenant.add").tenant, last("tenant.add").after) == ("initech", {"name": "Initech GmbH"})


@pytest.mark.parametrize(
    "slug", [*HOSTILE.values(), "acme", "host", "releases", "templates", "Acme", "1a", "-a", "a-", ""]
)
def test_a_short_name_that_cannot_be_is_refused_at_its_field(ada: Client, fleet: Fleet, slug: str) -> None:
    response = ada.post(reverse("tenant-add"), {"name": "Some name", "slug": slug})
    assert response.status_code == 422
    assert list(response.context["form"].errors) == ["slug"]
    assert Tenant.objects.count() == 2


@pytest.mark.parametrize(("slug", "there"), [("acme-x", "acme"), ("glob", "glob-al")])
def test_no_short_name_begins_with_another(ada: Client, fleet: Fleet, slug: str, there: str) -> None:
    Tenant.objects.get_or_create(slug=there, defaults={"name": "There"})
    response = ada.post(reverse("tenant-add"), {"name": "Some name", "slug": slug})
    assert list(response.context["form"].errors) == ["slug"] and not Tenant.objects.filter(slug=slug).exists()
    assert ada.post(reverse("tenant-add"), {"name": "Some name", "slug": "acmex"}).status_code == 302


@pytest.mark.parametrize("case", ["newline", "carriage return", "nul", "long", "right-to-left", "zero width"])
def test_a_name_is_one_line_of_text(ada: Client, fleet: Fleet, case: str) -> None:
    response = ada.post(reverse("tenant-add"), {"name": HOSTILE[case], "slug": "initech"})
    assert list(response.context["form"].errors) == ["name"]


def test_a_name_is_shown_as_text(ada: Client, fleet: Fleet) -> None:
    ada.post(reverse("tenant-add"), {"name": HOSTILE["markup"], "slug": "initech"})
    for url in (reverse("tenants"), reverse("tenant", args=["initech"]), reverse("jails")):
        assert HOSTILE["markup"] not in ada.get(url).content.decode()


def test_a_short_name_taken_at_the_same_time_is_a_form_error(
    ada: Client, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panel.forms.tenants.TenantForm.validate_unique", lambda form: None)
    response = ada.post(reverse("tenant-add"), {"name": "Acme", "slug": "acme"})
    assert response.status_code == 422
    assert list(response.context["form"].errors) == ["slug"]


# A team


def test_a_member_sees_the_team_and_what_it_uses(fleet: Fleet) -> None:
    for role in ("owner", "member", "viewer"):
        text = as_(fleet, role).get(reverse("tenant", args=["acme"])).content.decode()
        assert all(word in text for word in ("owner-person", "www1", "www2", "2.0 GiB", "10.0 GiB"))
        assert "loghost" not in text and "globex" not in text.lower()


def test_only_an_owner_sees_invitations_and_buttons(fleet: Fleet) -> None:
    Invitation.issue(label="Bob of sales", tenant=fleet.acme, tenant_role="viewer", created_by=fleet.people["owner"])
    pages = {role: as_(fleet, role).get(reverse("tenant", args=["acme"])).content.decode() for role in fleet.people}
    assert {role for role, text in pages.items() if "Bob of sales" in text} == {"administrator", "auditor", "owner"}
    assert {role for role, text in pages.items() if "Invite a member" in text} == {"administrator", "owner"}
    assert {role for role, text in pages.items() if "Archive Acme" in text} == {"administrator"}


def test_inviting_a_member_by_a_link_shown_once(fleet: Fleet) -> None:
    owner = as_(fleet, "owner")
    response = owner.post(reverse("tenant-invite", args=["acme"]), {"label": "Bob", "role": "member"})
    link = response.context["link"]
    assert link in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    assert link not in owner.get(reverse("tenant", args=["acme"])).content.decode()
    client = Client()
    client.post(link.removeprefix("http://127.0.0.1:8000"), {"username": "bob"})
    assert Membership.objects.get(user__username="bob").role == "member"
    assert client.get(reverse("jail", args=[fleet.jails["www1"].uuid])).status_code == 200
    assert client.get(reverse("jail", args=[fleet.jails["loghost"].uuid])).status_code == 404
    assert (last("tenant.invite").tenant, last("invitation.use").tenant) == ("acme", "acme")


@pytest.mark.parametrize("value", [*HOSTILE.values(), "administrator", ""])
def test_no_other_role_than_the_three(fleet: Fleet, value: str) -> None:
    owner = as_(fleet, "owner")
    response = owner.post(reverse("tenant-invite", args=["acme"]), {"label": "Bob", "role": value})
    assert list(response.context["form"].errors) == ["role"]
    response = owner.post(member_url(membership(fleet, "member")), {"role": value})
    assert list(response.context["form"].errors) == ["role"]
    assert not Invitation.objects.exists()
    assert membership(fleet, "member").role == "member"


def test_withdrawing_an_invitation(fleet: Fleet) -> None:
    invitation, token = Invitation.issue(
        label="Bob", tenant=fleet.acme, tenant_role="member", created_by=fleet.people["owner"]
    )
    as_(fleet, "owner").post(reverse("invitation-withdraw", args=["acme", invitation.pk]))
    assert Client().get(reverse("enter", args=[token])).status_code == 410
    assert last("invitation.withdraw").tenant == "acme"


def test_an_owner_manages_the_own_team(fleet: Fleet) -> None:
    owner = as_(fleet, "owner")
    owner.post(member_url(membership(fleet, "member")), {"role": "viewer"})
    assert membership(fleet, "member").role == "viewer"
    entry = last("tenant.member_change")
    assert (entry.tenant, entry.object_name, entry.before, entry.after) == (
        "acme",
        "member-person",
        {"role": "member", "all_jails": ["power"]},
        {"role": "viewer"},
    )
    owner.post(member_url(membership(fleet, "viewer")), {"remove": "1"})
    assert not Membership.objects.filter(user=fleet.people["viewer"]).exists()
    assert last("tenant.member_remove").object_name == "viewer-person"


def test_who_was_taken_out_sees_nothing_from_the_next_click_on(fleet: Fleet) -> None:
    member, url = as_(fleet, "member"), reverse("jail", args=[fleet.jails["www1"].uuid])
    assert member.get(url).status_code == 200
    as_(fleet, "owner").post(member_url(membership(fleet, "member")), {"remove": "1"})
    assert member.get(url).status_code == 404


def test_a_team_keeps_an_owner(fleet: Fleet, ada: Client) -> None:
    owner, mine = as_(fleet, "owner"), membership(fleet, "owner")
    assert owner.post(member_url(mine), {"role": "viewer"}).status_code == 422
    assert owner.post(member_url(mine), {"remove": "1"}).status_code == 422
    assert membership(fleet, "owner").role == "owner"
    User.objects.filter(pk=fleet.people["member"].pk).update(is_active=False)
    Membership.objects.filter(user=fleet.people["member"]).update(role="owner")
    assert owner.post(member_url(mine), {"remove": "1"}).status_code == 422  # the other one is disabled
    assert ada.post(member_url(mine), {"remove": "1"}).status_code == 302
    assert not Membership.objects.filter(pk=mine.pk).exists()


def test_an_owner_may_leave_to_another_owner(fleet: Fleet) -> None:
    Membership.objects.filter(user=fleet.people["member"]).update(role="owner")
    owner = as_(fleet, "owner")
    assert owner.post(member_url(membership(fleet, "owner")), {"remove": "1"}).headers["Location"] == "/"
    assert owner.get(reverse("tenant", args=["acme"])).status_code == 404


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_a_member_may_leave_and_do_no_more(fleet: Fleet, role: str) -> None:
    client, mine = as_(fleet, role), membership(fleet, role)
    other = membership(fleet, "viewer" if role == "member" else "member")
    assert client.get(member_url(mine)).status_code == 404
    assert client.post(member_url(mine), {"role": "owner"}).status_code == 404
    assert client.post(member_url(other), {"remove": "1"}).status_code == 404
    assert client.post(member_url(mine), {"remove": "1"}).status_code == 302
    assert not Membership.objects.filter(pk=mine.pk).exists()


def test_to_leave_takes_two_steps_and_says_what_that_means(fleet: Fleet) -> None:
    client, mine = as_(fleet, "member"), membership(fleet, "member")
    text = client.get(reverse("tenant", args=["acme"])).text
    own = text[text.index('<summary class="btn btn-sm">Leave</summary>') :]
    assert own.index("only another invitation brings you back") < own.index("Leave Acme") < own.index("</details>")
    assert text.count(member_url(mine)) == 1
    page = client.post(member_url(mine), {"remove": "1"}, follow=True).text
    assert "You are no longer in Acme" in page and "You are in no team." in page


def test_to_take_somebody_out_takes_two_steps_and_says_what_that_means(fleet: Fleet) -> None:
    text = as_(fleet, "owner").get(member_url(membership(fleet, "viewer"))).text
    menu = text[text.index('<details class="menu mt-3"><summary class="btn btn-outline-danger">') :]
    menu = menu[: menu.index("</details>")]
    assert menu.index("signed out everywhere at once") < menu.index(f"Take {fleet.people['viewer']} out of Acme")
    assert text.count('name="remove"') == menu.count('name="remove"') == 1


def test_an_empty_tenant_leads_to_making_it_a_jail(fleet: Fleet) -> None:
    Jail.objects.filter(tenant=fleet.acme).update(tenant=None)
    where = f"{reverse('jail-create')}?tenant={fleet.acme.pk}"
    admin = as_(fleet, "administrator")
    assert where in admin.get(reverse("tenant", args=["acme"])).text
    assert admin.get(where).context["form"]["tenant"].value() == str(fleet.acme.pk)
    assert where not in as_(fleet, "auditor").get(reverse("tenant", args=["acme"])).text


def test_ids_of_another_team_in_the_path(fleet: Fleet) -> None:
    owner, theirs = as_(fleet, "owner"), membership(fleet, "stranger")
    assert owner.post(reverse("tenant-member", args=["acme", theirs.pk]), {"remove": "1"}).status_code == 404
    assert owner.post(reverse("tenant-member", args=["globex", theirs.pk]), {"remove": "1"}).status_code == 404
    invitation, _ = Invitation.issue(
        label="x", tenant=fleet.other, tenant_role="owner", created_by=fleet.people["stranger"]
    )
    assert owner.post(reverse("invitation-withdraw", args=["acme", invitation.pk])).status_code == 404
    panel, _ = Invitation.issue(label="x", role="administrator", created_by=fleet.people["administrator"])
    assert owner.post(reverse("invitation-withdraw", args=["acme", panel.pk])).status_code == 404
    assert Membership.objects.filter(pk=theirs.pk).exists()
    assert accounts.open_invitations().count() == 2


# Archiving


def archive_url() -> str:
    return reverse("tenant-archive", args=["acme"])


def test_archiving_asks_who_gets_each_jail_and_ends_when_nothing_is_owned(
    ada: Client, fleet: Fleet, give: Give
) -> None:
    www1, www2 = fleet.jails["www1"], fleet.jails["www2"]
    response = ada.post(archive_url(), {"to": "nobody", f"to_{www2.uuid}": str(fleet.other.pk)})
    assert response.status_code == 302
    plans = list(Operation.objects.filter(kind="jail_give"))
    assert {(plan.parameters["tenant"], *plan.parameters["jails"]) for plan in plans} == {
        (None, str(www1.uuid)),
        (fleet.other.pk, str(www2.uuid)),
    }
    assert {plan.status for plan in plans} == {"draft"}
    text = ada.get(archive_url()).content.decode()
    assert text.count("read the plan and run it") == 2
    assert ada.post(archive_url(), {}).status_code == 422
    fleet.acme.refresh_from_db()
    assert fleet.acme.archived_at is None
    for plan in plans:
        given(plan)
    assert ada.post(archive_url()).headers["Location"] == reverse("tenants")
    fleet.acme.refresh_from_db()
    assert fleet.acme.archived_at
    entry = last("tenant.archive")
    assert entry.tenant == "acme"
    assert entry.before == {"members": ["member-person", "owner-person", "viewer-person"]}


def archive(fleet: Fleet, ada: Client) -> None:
    Jail.objects.update(tenant=None)
    assert ada.post(archive_url()).status_code == 302


def test_the_members_of_an_archived_tenant_see_it_no_more_and_staff_do(ada: Client, fleet: Fleet) -> None:
    made_by = fleet.people["owner"]
    token = Invitation.issue(label="x", tenant=fleet.acme, tenant_role="owner", created_by=made_by)[1]
    archive(fleet, ada)
    for role in ("owner", "member", "viewer"):
        client = as_(fleet, role)
        assert client.get(reverse("tenant", args=["acme"])).status_code == 404
        assert client.get(reverse("audit")).status_code == 404
    assert "archived" in ada.get(reverse("tenant", args=["acme"])).content.decode()
    assert Client().get(reverse("enter", args=[token])).status_code == 410
    assert ada.get(f"{reverse('audit')}?tenant=acme").context["entries"]


@pytest.mark.parametrize("name", ["tenant-invite", "tenant-archive"])
def test_nothing_is_done_to_an_archived_tenant(ada: Client, fleet: Fleet, name: str) -> None:
    archive(fleet, ada)
    assert ada.get(reverse(name, args=["acme"])).status_code == 404
    assert ada.post(member_url(membership(fleet, "member")), {"role": "owner"}).status_code == 404


def test_an_earlier_plan_gives_way_to_a_new_one(ada: Client, fleet: Fleet, give: Give) -> None:
    ada.post(archive_url(), {"to": "nobody"})
    ada.post(archive_url(), {"to": str(fleet.other.pk)})
    assert sorted(Operation.objects.values_list("status", "parameters__tenant")) == [
        ("discarded", None),
        ("draft", fleet.other.pk),
    ]


def test_a_refused_gift_is_shown_and_the_rest_planned(ada: Client, fleet: Fleet, give: Give) -> None:
    give.refuses = str(fleet.jails["www1"].uuid)
    response = ada.post(archive_url(), {"to": "nobody", f"to_{fleet.jails['www2'].uuid}": str(fleet.other.pk)})
    assert response.status_code == 422
    assert "warden1: its dataset is gone." in response.content.decode()
    assert Operation.objects.get().jails.get() == fleet.jails["www2"]


@pytest.mark.parametrize("value", [*HOSTILE.values(), "", "0", "-1", "99999999999999999999"])
def test_hostile_heirs_are_refused_at_their_field(ada: Client, fleet: Fleet, give: Give, value: str) -> None:
    field = f"to_{fleet.jails['www1'].uuid}"
    assert "to" in ada.post(archive_url(), {"to": value}).context["form"].errors
    if value:
        assert field in ada.post(archive_url(), {"to": "nobody", field: value}).context["form"].errors
    assert not Operation.objects.exists()


def test_no_archived_tenant_and_not_itself_is_an_heir(ada: Client, fleet: Fleet, give: Give) -> None:
    gone = Tenant.objects.create(slug="gone", name="Gone", archived_at=timezone.now())
    for heir in (gone, fleet.acme):
        assert "to" in ada.post(archive_url(), {"to": str(heir.pk)}).context["form"].errors


def test_a_template_keeps_a_tenant_from_being_archived(ada: Client, fleet: Fleet) -> None:
    Jail.objects.update(tenant=None)
    Template.objects.update(tenant=fleet.acme)
    assert "remove it, or publish it" in ada.get(archive_url()).content.decode()
    assert ada.post(archive_url()).status_code == 422
    fleet.acme.refresh_from_db()
    assert fleet.acme.archived_at is None


def test_a_running_operation_keeps_a_tenant_from_being_archived(ada: Client, fleet: Fleet) -> None:
    Jail.objects.update(tenant=None)
    operation = Operation.objects.create(
        kind="jail_create", title="Create x", tenant=fleet.acme, host=fleet.zfs, host_name="warden1", status="running"
    )
    assert ada.post(archive_url()).status_code == 422
    Operation.objects.filter(pk=operation.pk).update(status="draft")
    assert ada.post(archive_url()).status_code == 302
    operation.refresh_from_db()
    assert operation.status == "discarded"


def test_one_membership_a_person_and_tenant(fleet: Fleet) -> None:
    with pytest.raises(IntegrityError):
        Membership.objects.create(tenant=fleet.acme, user=fleet.people["owner"], role="viewer")
