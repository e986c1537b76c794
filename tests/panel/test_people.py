"""Who may sign in, and what they may do in the whole panel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from jails import breakglass
from jails.models import AuditEntry, Invitation, User
from panel import accounts
from tests.panel.fleet import Fleet
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(as_person: Any) -> Client:
    """The client, signed in as the one administrator."""
    return as_person("administrator")


def last(action: str) -> AuditEntry:
    return AuditEntry.objects.filter(action=action).latest("sequence")


def link_in(response: Any) -> str:
    link: str = response.context["link"]
    assert link in response.content.decode()
    return link.removeprefix("http://127.0.0.1:8000")


def test_the_list_names_everybody_and_open_invitations(ada: Client, fleet: Fleet) -> None:
    Invitation.issue(label="Bob of sales", role="auditor", created_by=fleet.people["administrator"])
    text = ada.get(reverse("people")).content.decode()
    assert all(person.username in text for person in fleet.people.values())
    assert "Bob of sales" in text


def test_the_number_of_queries_does_not_grow_with_the_people(
    ada: Client, fleet: Fleet, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        person = User.objects.create_user(f"p{number}", role="operator")
        person.operated_hosts.add(fleet.zfs)
        fleet.acme.memberships.create(user=person, role="viewer")
    with django_assert_max_num_queries(12):
        ada.get(reverse("people"))


def test_inviting_shows_the_link_once(ada: Client, fleet: Fleet) -> None:
    response = ada.post(
        reverse("person-invite"), {"label": "Bob", "role": "operator", "operated_hosts": [fleet.zfs.pk]}
    )
    assert "no-store" in response.headers["Cache-Control"]
    path = link_in(response)
    token = path.rstrip("/").rpartition("/")[2]
    assert token not in ada.get(reverse("people")).content.decode()
    assert last("user.invite").after == {"role": "operator", "hosts": ["warden1"]}
    Client().post(path, {"username": "bob"})
    bob = User.objects.get(username="bob")
    assert (bob.role, list(bob.operated_hosts.all())) == ("operator", [fleet.zfs])


@pytest.mark.parametrize("role", ["administrator", "auditor", ""])
def test_only_operators_get_hosts(ada: Client, fleet: Fleet, role: str) -> None:
    ada.post(reverse("person-invite"), {"label": "Bob", "role": role, "operated_hosts": [fleet.zfs.pk]})
    invitation = Invitation.objects.get()
    assert (invitation.role, invitation.operated_hosts.count()) == (role, 0)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("field", ["role", "operated_hosts"])
def test_hostile_values_are_refused_at_their_field(ada: Client, fleet: Fleet, field: str, value: str) -> None:
    data = {"label": "Bob", "role": "operator", "operated_hosts": [fleet.zfs.pk], field: value}
    operator = fleet.people["operator"]
    for path in (reverse("person-invite"), reverse("person-change", args=[operator.pk])):
        response = ada.post(path, data)
        assert response.status_code == 422
        assert field in response.context["form"].errors
    assert not Invitation.objects.exists()
    assert list(operator.operated_hosts.all()) == [fleet.zfs]


@pytest.mark.parametrize("name", ["newline", "carriage return", "nul", "long", "right-to-left", "zero width"])
def test_a_label_is_one_line_of_text(ada: Client, name: str) -> None:
    response = ada.post(reverse("person-invite"), {"label": HOSTILE[name], "role": ""})
    assert response.status_code == 422
    assert list(response.context["form"].errors) == ["label"]


def test_any_other_label_is_shown_as_text(ada: Client) -> None:
    ada.post(reverse("person-invite"), {"label": HOSTILE["markup"], "role": ""})
    text = ada.get(reverse("people")).content.decode()
    assert HOSTILE["markup"] not in text
    assert "&lt;script&gt;" in text


def test_an_operator_without_a_host_is_refused(ada: Client) -> None:
    response = ada.post(reverse("person-invite"), {"label": "Bob", "role": "operator"})
    assert "operated_hosts" in response.context["form"].errors


def test_withdrawing_an_invitation(ada: Client) -> None:
    path = link_in(ada.post(reverse("person-invite"), {"label": "Bob", "role": "auditor"}))
    ada.post(reverse("person-invitation-withdraw", args=[Invitation.objects.get().pk]))
    assert Client().get(path).status_code == 410
    assert last("invitation.withdraw").object_name == "Bob"


def test_changing_a_role_holds_from_the_next_click_on(ada: Client, fleet: Fleet) -> None:
    auditor = Client()
    auditor.force_login(fleet.people["auditor"], backend="django.contrib.auth.backends.ModelBackend")
    assert auditor.get(reverse("audit")).status_code == 200
    path = reverse("person-change", args=[fleet.people["auditor"].pk])
    assert ada.post(path, {"role": "operator", "operated_hosts": [fleet.ufs.pk]}).status_code == 302
    assert auditor.get(reverse("audit")).status_code == 403
    assert auditor.get(reverse("host", args=["warden2"])).status_code == 200
    entry = last("user.change")
    assert entry.before == {"role": "auditor", "hosts": [], "active": True}
    assert entry.after == {"role": "operator", "hosts": ["warden2"], "active": True}


def test_the_last_administrator_stays_one(ada: Client, fleet: Fleet) -> None:
    me = fleet.people["administrator"]
    response = ada.post(reverse("person-change", args=[me.pk]), {"role": "auditor"})
    assert "last administrator" in response.context["form"].errors["role"][0]
    me.refresh_from_db()
    assert me.is_administrator
    User.objects.create_user("bea", role="administrator")
    assert ada.post(reverse("person-change", args=[me.pk]), {"role": "auditor"}).status_code == 302


def test_a_disabled_administrator_is_no_other_one(ada: Client, fleet: Fleet) -> None:
    User.objects.create_user("bea", role="administrator", is_active=False)
    assert accounts.is_last_administrator(fleet.people["administrator"])
    response = ada.post(reverse("person-change", args=[fleet.people["administrator"].pk]), {"role": ""})
    assert response.status_code == 422


def test_disabling_ends_sessions_at_once_and_links_too(ada: Client, fleet: Fleet) -> None:
    bob = User.objects.create_user("bob", password="correct horse battery", role="administrator")
    his, other = Client(), Client()
    for client in (his, other):
        client.post(reverse("account_login"), {"login": "bob", "password": "correct horse battery"})
        assert client.get(reverse("home")).status_code == 200
    invitation = link_in(his.post(reverse("person-invite"), {"label": "Eve", "role": "administrator"}))
    sign_in = link_in(ada.post(reverse("person-link", args=[bob.pk])))
    ada.post(reverse("person-disable", args=[bob.pk]))
    for client in (his, other):
        assert client.get(reverse("home")).status_code == 302
    assert Client().get(invitation).status_code == Client().get(sign_in).status_code == 410
    assert last("user.disable").after == {
        "role": "administrator",
        "hosts": [],
        "active": False,
        "sessions_ended": 2,
        "links_withdrawn": 2,
    }
    ada.post(reverse("person-enable", args=[bob.pk]))
    for client in (his, other):
        assert client.get(reverse("home")).status_code == 302
    assert Client().get(invitation).status_code == Client().get(sign_in).status_code == 410
    assert last("user.enable").object_name == "bob"


def test_an_administrator_ends_a_persons_sessions(fleet: Fleet) -> None:
    def sign_in(name: str) -> Client:
        client = Client()
        client.post(reverse("account_login"), {"login": name, "password": "correct horse battery"})
        assert client.get(reverse("home")).status_code == 200
        return client

    bea = User.objects.create_user("bea", password="correct horse battery", role="administrator")
    bob = User.objects.create_user("bob", password="correct horse battery")
    here, elsewhere, theirs = sign_in("bea"), sign_in("bea"), sign_in("bob")
    assert "End all sessions" in here.get(reverse("person", args=[bob.pk])).content.decode()
    response = here.post(reverse("person-sign-out", args=[bob.pk]), follow=True)
    assert "bob is signed out: 1 session ended." in response.content.decode()
    assert last("user.sign_out").after == {"sessions_ended": 1}
    assert theirs.get(reverse("home")).status_code == 302 and sign_in("bob")
    response = here.post(reverse("person-sign-out", args=[fleet.people["viewer"].pk]), follow=True)
    assert "viewer-person was signed in nowhere." in response.content.decode()
    assert last("user.sign_out").after == {"sessions_ended": 0}
    response = here.post(reverse("person-sign-out", args=[bea.pk]), follow=True)
    assert "bea is signed out elsewhere: 1 session ended." in response.content.decode()
    assert (elsewhere.get(reverse("home")).status_code, here.get(reverse("home")).status_code) == (302, 200)


def test_nobody_disables_themselves_or_the_last_administrator(ada: Client, fleet: Fleet) -> None:
    me = fleet.people["administrator"]
    ada.post(reverse("person-disable", args=[me.pk]))
    me.refresh_from_db()
    assert me.is_active
    bea = User.objects.create_user("bea", role="administrator")
    ada.post(reverse("person-disable", args=[bea.pk]))
    bea.refresh_from_db()
    assert not bea.is_active


def test_a_sign_in_link_for_who_forgot_the_password(ada: Client, fleet: Fleet) -> None:
    member = fleet.people["member"]
    first = link_in(ada.post(reverse("person-link", args=[member.pk])))
    second = link_in(ada.post(reverse("person-link", args=[member.pk])))
    assert Client().get(first).status_code == 410
    client = Client()
    client.post(second)
    assert client.get(reverse("account")).context["user"] == member
    assert last("user.link").object_name == member.username


def test_no_sign_in_link_for_who_is_disabled(ada: Client, fleet: Fleet) -> None:
    User.objects.filter(pk=fleet.people["member"].pk).update(is_active=False)
    assert ada.post(reverse("person-link", args=[fleet.people["member"].pk])).status_code == 302
    assert not Invitation.objects.exists()


def test_the_page_of_a_person(ada: Client, fleet: Fleet) -> None:
    text = ada.get(reverse("person", args=[fleet.people["operator"].pk])).content.decode()
    assert "operator-person" in text and "warden1" in text
    assert "Disable operator-person" in text


def test_an_auditor_sees_people_and_no_button(as_person: Any, fleet: Fleet) -> None:
    auditor = as_person("auditor")
    assert auditor.get(reverse("people")).status_code == 200
    text = auditor.get(reverse("person", args=[fleet.people["operator"].pk])).content.decode()
    assert "Disable" not in text and "Change role" not in text and "sign-in link" not in text


@pytest.mark.parametrize(("path", "data"), [("person-change", {"role": "auditor"}), ("person-disable", {})])
def test_who_is_no_administrator_any_more_is_in_no_jail_by_break_glass(
    ada: Client, fleet: Fleet, path: str, data: dict[str, str]
) -> None:
    bea = User.objects.create_user("bea", role="administrator")
    glasses = [
        breakglass.enter(fleet.jails[name], "Its queue fills the disk.", timedelta(hours=1), user=bea)
        for name in ("www1", "www2")
    ]
    ada.post(reverse("person-change", args=[bea.pk]), {"role": "administrator"})
    assert breakglass.is_open(bea, fleet.jails["www1"])
    ada.post(reverse(path, args=[bea.pk]), data)
    assert not breakglass.open_jails(bea, [fleet.jails["www1"], fleet.jails["www2"]])
    ended = AuditEntry.objects.filter(action="jail.breakglass_end")
    assert {(one.actor, one.tenant, one.after["break_glass"]) for one in ended} == {
        ("administrator-person", "acme", glass.pk) for glass in glasses
    }
    # It stays ended when they become one again.
    User.objects.filter(pk=bea.pk).update(role="administrator", is_active=True)
    assert not breakglass.is_open(bea, fleet.jails["www1"])
