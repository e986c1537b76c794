"""What ends consoles, asked for all at once."""

from datetime import timedelta

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.utils import timezone

from jails import breakglass
from jails.consoles import sessions, tickets
from jails.models import BreakGlass, Grant, Jail, Membership, User
from tests.panel.fleet import add_jail, make_fleet

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def fleet():
    return make_fleet()


def session(user):
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client.session.session_key


def opening(user, jail):
    return tickets.Opening(user, session(user), jail, "root", "192.0.2.9")


@pytest.fixture
def grantee(fleet):
    row = Membership.objects.get(user=fleet.people["member"])
    Grant.objects.create(membership=row, jail=fleet.jails["www1"], right="console")
    return fleet.people["member"]


def ended(one):
    return tickets.ended_rights([one])[0]


def test_it_goes_on(fleet, grantee):
    people = fleet.people
    breakglass.enter(fleet.jails["www1"], "The site is down again", timedelta(hours=1), user=people["administrator"])
    assert [
        ended(opening(people[who], fleet.jails[name]))
        for who, name in (
            ("owner", "www1"), ("member", "www1"), ("administrator", "www1"), ("administrator", "loghost"),
            ("operator", "loghost"),
        )
    ] == [""] * 5  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fleet: Grant.objects.all().delete(), "right"),
        (lambda fleet: Membership.objects.filter(user=fleet.people["member"]).update(role="viewer"), "right"),
        (lambda fleet: Membership.objects.filter(user=fleet.people["member"]).delete(), "right"),
        (lambda fleet: type(fleet.acme).objects.update(archived_at=timezone.now()), "right"),
        (lambda fleet: Jail.objects.filter(name="www1").update(tenant=fleet.other), "right"),
        (lambda fleet: User.objects.filter(username="member-person").update(is_active=False), "session"),
        (lambda fleet: User.objects.filter(username="member-person").update(password="!another"), "session"),
        (lambda fleet: Jail.objects.filter(name="www1").update(name="www9"), "jail"),
        (lambda fleet: Jail.objects.filter(name="www1").delete(), "jail"),
    ],
)
def test_it_ends(fleet, grantee, change, reason):
    one = opening(grantee, fleet.jails["www1"])
    assert ended(one) == ""
    change(fleet)
    assert ended(one) == reason


def test_it_ends_with_the_break_glass_and_with_the_role(fleet):
    admin = fleet.people["administrator"]
    breakglass.enter(fleet.jails["www1"], "The site is down again", timedelta(hours=1), user=admin)
    one = opening(admin, fleet.jails["www1"])
    User.objects.filter(pk=admin.pk).update(role="auditor")
    assert ended(one) == "right"
    User.objects.filter(pk=admin.pk).update(role="administrator")
    BreakGlass.objects.update(expires_at=timezone.now(), opened_at=timezone.now() - timedelta(hours=1))
    assert ended(one) == "right"


def test_an_operator_who_lost_the_host(fleet):
    one = opening(fleet.people["operator"], fleet.jails["loghost"])
    fleet.people["operator"].operated_hosts.clear()
    assert ended(one) == "right"


def test_as_many_queries_for_many_as_for_few(fleet, grantee, django_assert_num_queries):
    many = [opening(fleet.people["owner"], fleet.jails["www1"])]
    for number in range(20):
        user = User.objects.create_user(f"user{number}", role="operator" if number % 2 else "")
        user.operated_hosts.add(fleet.zfs)
        jail = add_jail(fleet, f"more{number}", tenant=None if number % 2 else fleet.acme)
        if not number % 2:
            Membership.objects.create(tenant=fleet.acme, user=user, role="member", rights=["console"])
        many.append(opening(user, jail))
    with django_assert_num_queries(7):
        assert tickets.ended_rights(many) == [""] * 21
    assert tickets.ended_rights([]) == []


def test_sessions_that_are_nobodys(fleet):
    user = fleet.people["owner"]
    key = session(user)
    assert sessions.owner(key) == user
    store = SessionStore(key)
    store[SESSION_KEY] = str(fleet.people["administrator"].pk)  # another's id under the same password's hash
    store.save()
    assert sessions.owner(key) is None
    expired = session(user)
    SessionStore(expired).get_model_class().objects.filter(pk=expired).update(expire_date=timezone.now())
    for nobody in ("", "x" * 32, expired, SessionStore().session_key or ""):
        assert sessions.owner(nobody) is None


def test_a_session_that_nobody_uses_opens_no_console(fleet, settings):
    user = fleet.people["owner"]
    key = session(user)
    settings.SESSION_IDLE_SECONDS = 3600
    store = SessionStore(key)
    store["used_at"] -= 3590
    store.save()
    assert sessions.owner(key) == user
    store["used_at"] -= 20
    store.save()
    assert sessions.owner(key) is None


def test_a_session_ends_as_long_after_the_sign_in_as_one_lasts(fleet, settings):
    user = fleet.people["owner"]
    key = session(user)
    store = SessionStore(key)
    store["signed_in_at"] -= settings.SESSION_COOKIE_AGE - 60
    store.save()
    assert sessions.owner(key) == user
    store["signed_in_at"] -= 61
    store.save()  # with which the row begins to count anew
    assert sessions.owner(key) is None
