"""Proving anew who one is, before what cannot be undone and before what decides who may do what."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jails import policy
from jails.models import Approval, AuditEntry, Invitation, Operation, SshKey, TenantPlan, User
from panel import step_up
from tests.freebsd.test_logins import KEYS
from tests.panel import work
from tests.panel.fleet import Fleet
from tests.panel.test_factors import PASSWORD, Clock, add_app, code_of, entries, now, wrong

__all__ = ["now"]
pytestmark = pytest.mark.django_db
PLAN = {"jails": "7", "any_host": "on", "any_network": "on", "any_template": "on", "any_release": "on"}
ASK = "/accounts/reauthenticate/"


@pytest.fixture(autouse=True)
def no_earlier_tries() -> None:
    cache.clear()


@pytest.fixture
def admin(fleet: Fleet) -> User:
    person = fleet.people["administrator"]
    person.set_password(PASSWORD)
    person.save()
    return person


@pytest.fixture
def late(client: Client, admin: User, now: Clock) -> Client:
    """Signed in long ago."""
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    now.at += 16 * 60
    return client


def proves(client: Client, response: Any, **proof: str) -> Any:
    """Follow to where it asks, and answer there."""
    assert response.status_code == 302
    page = client.get(response.headers["Location"])
    assert page.status_code == 200
    path, _, query = response.headers["Location"].partition("?")
    to = query.removeprefix("next=").replace("%2F", "/")
    return client.post(path, {"next": to, **(proof or {"password": PASSWORD})})


def test_who_has_just_signed_in_is_not_asked(client: Client, admin: User, fleet: Fleet) -> None:
    client.post(reverse("account_login"), {"login": admin.username, "password": PASSWORD})
    member = fleet.people["member"]
    assert client.post(reverse("person-change", args=[member.pk]), {"role": "auditor"}).headers["Location"] == reverse(
        "person", args=[member.pk]
    )


def test_later_it_asks_and_then_does_what_was_sent(late: Client, fleet: Fleet) -> None:
    path = reverse("tenant-plan", args=["acme"])
    asked = late.post(path, PLAN)
    assert asked.headers["Location"].startswith(ASK)
    assert not TenantPlan.objects.exists() and not entries("tenant.plan")
    done = proves(late, asked)
    assert done.status_code == 302 and done.headers["Location"] == reverse("tenant", args=["acme"])
    plan = TenantPlan.objects.get()
    assert (plan.jails, plan.any_host, plan.any_release) == (7, True, True)
    assert entries("session.step_up")[0].after == {"by": ["password"]}
    # For a while it is not asked again.
    assert late.post(path, PLAN | {"jails": "8"}).headers["Location"] == reverse("tenant", args=["acme"])


def test_a_form_with_mistakes_is_shown_again_and_goes_where_it_was(late: Client) -> None:
    path = reverse("tenant-plan", args=["acme"])
    page = proves(late, late.post(path, {"jails": "-1"}))
    assert page.status_code == 422
    assert f'action="{path}"' in page.content.decode()


def test_a_link_that_is_shown_once_is_shown(late: Client) -> None:
    page = proves(late, late.post(reverse("person-invite"), {"label": "Bob", "role": "auditor"}))
    assert b"/enter/" in page.content and Invitation.objects.filter(label="Bob").exists()


def test_to_look_needs_no_proof(late: Client) -> None:
    for path in (reverse("tenant-plan", args=["acme"]), reverse("people"), reverse("audit-review")):
        assert late.get(path).status_code == 200


def test_what_one_may_not_do_is_refused_before_anything_is_asked(client: Client, fleet: Fleet, now: Clock) -> None:
    for role, status in (("auditor", 403), ("member", 404)):
        client.force_login(fleet.people[role], backend="django.contrib.auth.backends.ModelBackend")
        now.at += 16 * 60
        assert client.post(reverse("tenant-plan", args=["acme"]), PLAN).status_code == status


def test_a_wrong_answer_does_nothing_and_is_written_down(late: Client, admin: User) -> None:
    asked = late.post(reverse("tenant-plan", args=["acme"]), PLAN)
    page = proves(late, asked, password="wrong")
    assert page.status_code == 200 and page.context["form"].errors
    assert not TenantPlan.objects.exists()
    (entry,) = entries("session.step_up", outcome="refused")
    assert entry.actor == admin.username
    # The right one still goes on with what was sent.
    assert proves(late, asked).status_code == 302 and TenantPlan.objects.exists()


def test_wrong_answers_count_until_the_name_is_locked_out(late: Client, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    asked = late.post(reverse("tenant-plan", args=["acme"]), PLAN)
    for _ in range(3):
        page = proves(late, asked, password="wrong")
    assert page.status_code == 429
    assert late.post(ASK, {"password": PASSWORD, "next": reverse("tenant-plan", args=["acme"])}).status_code == 429
    assert not TenantPlan.objects.exists()
    assert entries("session.lockout")


def test_a_code_of_an_app_is_a_proof_and_works_once(client: Client, admin: User, now: Clock) -> None:
    secret = add_app(admin)
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    now.at = (now.at // 30 + 33) * 30.0  # more than a quarter of an hour on, at the beginning of a code's period
    client.post(reverse("tenant-plan", args=["acme"]), PLAN)
    to = {"next": reverse("tenant-plan", args=["acme"])}
    path = reverse("mfa_reauthenticate")
    assert b"Use your password" in client.get(path).content
    assert client.post(path, {"code": wrong(code_of(secret)), **to}).status_code == 200
    assert not TenantPlan.objects.exists()
    client.post(path, {"code": code_of(secret), **to})
    assert TenantPlan.objects.get().jails == 7
    assert entries("session.step_up", outcome="refused")[0].detail == "authenticator app"
    assert entries("session.step_up", outcome="done")[0].after == {"by": ["authenticator app"]}
    now.at += 1
    assert client.post(path, {"code": code_of(secret), **to}).status_code == 200


def test_wrong_codes_lock_out_there_too(client: Client, admin: User, now: Clock, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    secret = add_app(admin)
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    for _ in range(3):
        response = client.post(reverse("mfa_reauthenticate"), {"code": wrong(code_of(secret))})
    assert response.status_code == 429
    assert client.post(reverse("mfa_reauthenticate"), {"code": code_of(secret)}).status_code == 429


def test_who_came_by_a_link_long_ago_sets_a_password_first(client: Client, fleet: Fleet, now: Clock) -> None:
    client.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    invite = {"label": "Bob", "role": ""}
    assert client.post(reverse("person-invite"), invite).status_code == 200
    now.at += 16 * 60
    response = client.post(reverse("person-invite"), invite, follow=True)
    assert response.redirect_chain[-1][0] == reverse("account_set_password")
    assert b"Set one" in response.content and Invitation.objects.count() == 1
    response = client.post(reverse("account_set_password"), {"password1": PASSWORD, "password2": PASSWORD})
    assert response.headers["Location"] == "/"
    asked = client.post(reverse("person-invite"), invite)
    assert proves(client, asked).status_code == 200 and Invitation.objects.count() == 2


def test_who_had_no_password_comes_back_to_the_form_that_was_not_kept(client: Client, fleet: Fleet, now: Clock) -> None:
    client.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    now.at += 16 * 60
    form = reverse("person-invite")
    client.post(form, {"label": "Bob", "role": ""}, headers={"Referer": f"http://testserver{form}"})
    sent = {"password1": PASSWORD, "password2": PASSWORD}
    response = client.post(reverse("account_set_password"), sent, follow=True)
    assert response.redirect_chain == [(form, 302)]
    assert b"What you sent from here was not kept" in response.content and not Invitation.objects.exists()


def test_a_fragment_of_who_has_no_password_sends_the_whole_page_to_set_one(
    client: Client, fleet: Fleet, now: Clock
) -> None:
    client.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    now.at += 16 * 60
    response = client.post(reverse("person-invite"), {"label": "Bob", "role": ""}, headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["HX-Redirect"]) == (204, reverse("account_set_password"))


def test_a_fragment_sends_the_whole_page_to_where_it_asks(late: Client) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/people/"}
    response = late.post(reverse("person-invite"), {"label": "Bob", "role": ""}, headers=headers)
    assert response.status_code == 204
    assert response.headers["HX-Redirect"] == f"{ASK}?next=%2Fpeople%2F"


def test_it_goes_to_no_other_site_afterwards(late: Client) -> None:
    for to in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        response = late.post(ASK, {"password": PASSWORD, "next": to})
        assert response.headers["Location"] == "/"


def test_one_persons_proof_is_not_anothers(late: Client, fleet: Fleet, admin: User) -> None:
    late.post(ASK, {"password": PASSWORD})
    other = fleet.people["auditor"]
    other.role = "administrator"
    other.set_password(PASSWORD)
    other.save()
    late.force_login(other, backend="django.contrib.auth.backends.ModelBackend")
    session = late.session
    session["signed_in_at"] -= 16 * 60
    session.save()
    assert late.post(reverse("person-invite"), {"label": "x", "role": ""}).headers["Location"].startswith(ASK)


def test_roles_of_a_team_ask_but_leaving_it_does_not(client: Client, fleet: Fleet, now: Clock) -> None:
    owner = fleet.people["owner"]
    owner.set_password(PASSWORD)
    owner.save()
    acme = fleet.acme
    theirs = acme.memberships.get(user=fleet.people["member"])
    path = reverse("tenant-member", args=[acme.slug, theirs.pk])
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    now.at += 16 * 60
    assert client.post(path, {"role": "viewer"}).headers["Location"].startswith(ASK)
    client.force_login(fleet.people["member"], backend="django.contrib.auth.backends.ModelBackend")
    now.at += 16 * 60
    assert not client.post(path, {"remove": "1"}).headers["Location"].startswith(ASK)
    assert not acme.memberships.filter(pk=theirs.pk).exists()


# Plans


def test_a_plan_that_destroys_is_confirmed_by_who_has_proved_it(late: Client, fleet: Fleet, admin: User) -> None:
    operation = work.add_operation(fleet.zfs, admin, plan=work.destroy_plan())
    asked = late.post(reverse("operation-confirm", args=[operation.pk]), {"digest": operation.digest})
    assert asked.headers["Location"].startswith(ASK)
    assert Operation.objects.get(pk=operation.pk).confirmed_at is None


def test_a_plan_that_can_be_undone_is_not_asked_about(late: Client, fleet: Fleet, admin: User) -> None:
    operation = work.add_operation(fleet.zfs, admin)
    response = late.post(reverse("operation-confirm", args=[operation.pk]), {"digest": operation.digest})
    assert not response.headers.get("Location", "").startswith(ASK)


def test_a_step_that_cannot_be_undone_is_enough(rf: Any, fleet: Fleet, admin: User) -> None:
    import dataclasses

    asked = []
    plan = work.destroy_plan()
    plain = dataclasses.replace(
        plan, loses=(), steps=tuple(dataclasses.replace(s, irreversible="") for s in plan.steps)
    )
    one = dataclasses.replace(plain, steps=(dataclasses.replace(plain.steps[0], irreversible="gone"), *plain.steps[1:]))
    for wanted in (plan, plain, one):
        operation = work.add_operation(fleet.zfs, admin, plan=wanted)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step_up, "ask", lambda request: asked.append(True))
            before = len(asked)
            step_up.ask_for_plan(rf.post("/"), operation)
            asked.append(len(asked) > before)
    assert asked == [True, True, False, True, True]


# The table


def test_every_action_that_needs_it_is_an_action() -> None:
    assert policy.ACTIONS.keys() >= step_up.ACTIONS


def test_the_time_is_a_setting(late: Client, settings: Any) -> None:
    settings.ACCOUNT_REAUTHENTICATION_TIMEOUT = 3600
    assert late.post(reverse("person-invite"), {"label": "x", "role": ""}).status_code == 200
    assert AuditEntry.objects.filter(action="user.invite").exists()


# What would let a session left open prove itself


def test_an_old_session_sets_no_password_to_prove_itself_with(client: Client, fleet: Fleet, now: Clock) -> None:
    person = fleet.people["administrator"]
    secret = add_app(person)
    assert not person.has_usable_password()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    now.at += 16 * 60
    path = reverse("account_set_password")
    sent = {"password1": PASSWORD, "password2": PASSWORD}
    assert client.post(path, sent).headers["Location"].startswith(reverse("mfa_reauthenticate"))
    person.refresh_from_db()
    assert not person.has_usable_password()
    assert PASSWORD not in json.dumps(dict(client.session.items()))
    asked = client.get(path)
    assert asked.headers["Location"].startswith(reverse("mfa_reauthenticate"))
    assert proves(client, asked, code=code_of(secret)).headers["Location"] == path
    client.post(path, sent)
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_whom_only_an_account_elsewhere_signs_in_signs_in_again(
    client: Client, fleet: Fleet, now: Clock, settings: Any
) -> None:
    settings.OIDC_ISSUER, settings.OIDC_NAME = "https://id.example", "Example ID"
    person = fleet.people["administrator"]
    SocialAccount.objects.create(user=person, provider="oidc", uid="1")
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    now.at += 16 * 60
    sent = {"password1": PASSWORD, "password2": PASSWORD}
    invite = {"label": "Bob", "role": ""}
    for path, data in (
        (reverse("account_set_password"), sent),
        (reverse("mfa_activate_totp"), {"code": "000000"}),
        (reverse("person-invite"), invite),
    ):
        assert client.post(path, data).headers["Location"] == reverse("account")
    assert client.get(reverse("mfa_activate_totp")).status_code == 302
    assert b"sign in again with Example ID" in client.get(reverse("account")).content
    person.refresh_from_db()
    assert not person.has_usable_password() and not Invitation.objects.exists()
    # Who has just come from there may.
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(reverse("mfa_activate_totp")).status_code == 200
    client.post(reverse("account_set_password"), sent)
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


@pytest.mark.parametrize(
    ("kind", "parameters", "asks"),
    [
        ("jail_give", {}, True),
        ("keys_change", {"keys": ["SHA256:x"]}, True),
        ("keys_change", {"keys": []}, False),
        ("jail_create", {"limits": {"children_max": 5}}, True),
        ("jail_create", {"limits": {}}, False),
        ("jail_create", {"limits": {}, "access": {"login": "web", "keys": ["SHA256:x"]}}, True),
        ("jail_start", {"jails": []}, False),
    ],
)
def test_what_lets_somebody_do_more_asks(
    late: Client, fleet: Fleet, admin: User, kind: str, parameters: dict[str, Any], asks: bool
) -> None:
    operation = work.add_operation(fleet.zfs, admin)
    Operation.objects.filter(pk=operation.pk).update(kind=kind, parameters=parameters)
    # With no digest nothing is run, whoever is asked.
    response = late.post(reverse("operation-confirm", args=[operation.pk]), {"digest": ""})
    assert response.headers.get("Location", "").startswith(ASK) == asks


def test_a_key_on_ones_profile_asks(late: Client, admin: User) -> None:
    sent = {"text": KEYS[0].line, "name": "laptop"}
    asked = late.post(reverse("account-keys"), sent)
    assert asked.headers["Location"].startswith(ASK) and not SshKey.objects.exists()
    proves(late, asked)
    assert SshKey.objects.get().user == admin


def test_an_approval_asks(late: Client, fleet: Fleet, admin: User) -> None:
    row = Approval.objects.create(
        tenant=fleet.acme, host=fleet.zfs, jail=fleet.acme.jails.first(), subject="x", work="power", side="host",
        asked_by=fleet.people["member"], reason="why", lasts=timedelta(hours=1),
        expires_at=timezone.now() + timedelta(days=1),
    )  # fmt: skip
    asked = late.post(reverse("approval-decide", args=[row.pk]), {"do": "yes", "comment": ""})
    assert asked.headers["Location"].startswith(ASK)
    row.refresh_from_db()
    assert row.state == Approval.State.ASKED
    proves(late, asked)
    row.refresh_from_db()
    assert row.state == Approval.State.GRANTED


def test_of_two_tabs_that_ask_the_first_goes_back_to_its_page(late: Client, fleet: Fleet) -> None:
    member = fleet.people["member"]
    person = reverse("person", args=[member.pk])
    first = late.post(reverse("person-disable", args=[member.pk]), headers={"referer": f"http://testserver{person}"})
    second = late.post(reverse("tenant-plan", args=["acme"]), PLAN)
    # What the first one sent is not kept any more: its address takes nothing but what a form sends.
    assert proves(late, first).headers["Location"] == person
    assert b"send it again" in late.get(person).content
    member.refresh_from_db()
    assert member.is_active and not TenantPlan.objects.exists()
    assert late.get(second.headers["Location"]).status_code == 200


@pytest.mark.parametrize(
    "referrer",
    ["", "https://evil.example/x", "javascript:alert(1)", "/x", "http://testserver//evil.example/x", "http://[::1"],
)
def test_a_tab_whose_page_is_not_known_goes_to_the_first(late: Client, fleet: Fleet, referrer: str) -> None:
    path = reverse("person-disable", args=[fleet.people["member"].pk])
    first = late.post(path, headers={"referer": referrer})
    late.post(reverse("tenant-plan", args=["acme"]), PLAN)
    assert proves(late, first).headers["Location"] == reverse("home")
