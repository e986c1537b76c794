"""Coming in by one-time links, passwords, sessions and lockout."""

from __future__ import annotations

import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jails import audit
from jails.models import AuditEntry, Host, Invitation, Membership, Tenant, User
from jails.models.tenant import token_digest
from panel import accounts

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def no_earlier_tries() -> None:
    """What limits rates is kept in the cache, which outlives a test."""
    cache.clear()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password=PASSWORD, role=User.Role.ADMINISTRATOR)


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def entries(action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action))


def issued(**fields: Any) -> str:
    """The path of a link."""
    return reverse("enter", args=[Invitation.issue(**fields)[1]])


def command(*args: str) -> str:
    output = StringIO()
    call_command("signin_link", *args, stdout=output)
    return output.getvalue().strip()


def path_of(link: str) -> str:
    return link.removeprefix("http://127.0.0.1:8000")


def sign_in(client: Client, username: str = "ada", password: str = PASSWORD) -> Any:
    return client.post(reverse("account_login"), {"login": username, "password": password})


def test_the_first_administrator_comes_in_by_the_printed_link(client: Client) -> None:
    path = path_of(command())
    assert client.get(path).status_code == 200
    response = client.post(path, {"username": "ada"})
    assert response.headers["Location"] == reverse("account_set_password")
    ada = User.objects.get()
    assert (ada.username, ada.role, ada.has_usable_password()) == ("ada", "administrator", False)
    assert client.get("/").status_code == 200
    assert entries("invitation.use")[0].after == {
        "link": "the first administrator",
        "role": "administrator",
        "hosts": [],
    }
    assert entries("session.sign_in")[0].actor == "ada"


def test_looking_at_a_link_uses_nothing_up(client: Client) -> None:
    path = path_of(command())
    for _ in range(3):
        assert client.get(path).status_code == 200
        assert client.head(path).status_code == 200
    assert Invitation.objects.get().is_open
    assert not User.objects.exists()


def test_a_link_works_once(client: Client) -> None:
    path = path_of(command())
    client.post(path, {"username": "ada"})
    other = Client()
    assert other.get(path).status_code == 410
    assert other.post(path, {"username": "eve"}).status_code == 410
    assert User.objects.count() == 1
    assert [(entry.outcome, entry.detail) for entry in entries("invitation.use")] == [
        ("refused", "used before"),
        ("done", "invited by the command line"),
    ]


def test_of_two_uses_at_once_one_finds_it_closed() -> None:
    invitation, _ = Invitation.issue(by_command=True)
    accounts.redeem(invitation, "ada")
    with pytest.raises(accounts.Closed):
        accounts.redeem(invitation, "eve")
    assert User.objects.count() == 1


def test_what_went_wrong_leaves_the_link_open() -> None:
    User.objects.create_user("ada")
    invitation, _ = Invitation.issue(by_command=True)
    with pytest.raises(IntegrityError):
        accounts.redeem(invitation, "ada")
    assert Invitation.objects.get().is_open


def test_an_expired_link_answers_with_a_plain_page(client: Client) -> None:
    path = issued(by_command=True, lifetime=timedelta(seconds=-1))
    response = client.get(path)
    assert response.status_code == 410
    assert b"does not work" in response.content
    assert client.post(path, {"username": "ada"}).status_code == 410


@pytest.mark.parametrize("token", ["x", "%00", "../..", "a" * 5000, "%F0%9F%98%80", "'; DROP TABLE"])
def test_an_unknown_link_answers_like_a_used_one(client: Client, token: str) -> None:
    assert client.get(f"/enter/{token}/".replace("../..", "..%2F..")).status_code in (404, 410)


def test_the_page_of_a_link_is_not_kept_and_tells_no_other_site(client: Client) -> None:
    response = client.get(path_of(command()))
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Referrer-Policy"] == "strict-origin"


def test_only_a_digest_of_the_link_is_kept() -> None:
    token = command().rstrip("/").rpartition("/")[2]
    assert Invitation.objects.get().token_digest == token_digest(token)
    assert token not in str(Invitation.objects.values().get())
    assert token not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    "username",
    [
        "",
        "Ada",
        "аda",
        "a\nda",
        "ada;rm",
        "../ada",
        "ada\0",
        "a" * 33,
        "-ada",
        "ada da",
        "demo",
        "worker",
        "bob",
        "1ada",
    ],
)
def test_a_name_that_cannot_be_is_refused_at_its_field(client: Client, username: str) -> None:
    User.objects.create_user("bob")
    path = path_of(command())
    response = client.post(path, {"username": username})
    assert response.status_code == 422
    assert list(response.context["form"].errors) == ["username"]
    assert User.objects.count() == 1
    assert Invitation.objects.get().is_open


def test_a_name_taken_at_the_same_time_is_a_form_error(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(command())
    monkeypatch.setattr("panel.forms.account.EnterForm.clean_username", lambda form: form.cleaned_data["username"])
    User.objects.create_user("ada")
    response = client.post(path, {"username": "ada"})
    assert response.status_code == 422
    assert "taken" in response.context["form"].errors["username"][0]


# The command


def test_a_second_link_replaces_the_first(client: Client) -> None:
    first, second = path_of(command()), path_of(command())
    assert client.get(first).status_code == 410
    assert client.get(second).status_code == 200


def test_nothing_is_printed_when_an_administrator_can_sign_in(ada: User) -> None:
    assert command() == ""
    assert not Invitation.objects.exists()


def test_an_administrator_without_a_password_gets_a_link(ada: User, client: Client) -> None:
    ada.set_unusable_password()
    ada.save()
    path = path_of(command())
    assert b"Sign in as ada" in client.get(path).content
    client.post(path)
    assert client.get(reverse("account")).context["user"] == ada
    assert User.objects.count() == 1


def test_a_disabled_administrator_does_not_count(ada: User) -> None:
    User.objects.update(is_active=False)
    assert command()
    assert Invitation.objects.get().role == "administrator"


def test_a_link_for_somebody_by_name(ada: User, client: Client) -> None:
    client.post(path_of(command("ada")))
    ada.refresh_from_db()
    assert not ada.has_usable_password()
    assert entries("user.link")[0].actor == "command line"


def test_no_link_for_who_is_not_there_or_disabled(ada: User) -> None:
    User.objects.create_user("bob", is_active=False)
    with pytest.raises(CommandError, match="nobody is called"):
        command("eve")
    with pytest.raises(CommandError, match="disabled"):
        command("bob")


# Sign-in links and invitations


def test_a_sign_in_link_ends_the_old_password_and_the_old_sessions(ada: User, client: Client) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD)
    old = Client()
    sign_in(old, "bob")
    client.post(issued(user=bob, created_by=ada))
    assert client.get(reverse("account")).status_code == 200
    assert old.get(reverse("account")).status_code == 302
    assert sign_in(Client(), "bob").status_code == 200


def test_who_is_signed_in_as_somebody_else_is_told_so(ada: User, client: Client) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD)
    sign_in(client)
    path = issued(user=bob, created_by=ada)
    assert b"sign out first" in client.get(path).content
    assert client.post(path).status_code == 422
    assert Invitation.objects.get().is_open


def test_a_new_person_joins_a_team(ada: User, acme: Tenant, client: Client) -> None:
    client.post(issued(tenant=acme, tenant_role="owner", created_by=ada), {"username": "bob"})
    bob = User.objects.get(username="bob")
    assert Membership.objects.get(user=bob).role == "owner"
    assert bob.role == ""
    entry = entries("invitation.use")[0]
    assert (entry.tenant, entry.actor, entry.detail) == ("acme", "bob", "invited by ada")


def test_a_person_with_an_account_joins_a_team(ada: User, acme: Tenant, client: Client) -> None:
    User.objects.create_user("bob", password=PASSWORD, role=User.Role.AUDITOR)
    sign_in(client, "bob")
    path = issued(tenant=acme, tenant_role="member", created_by=ada)
    assert b"Join as bob" in client.get(path).content
    assert client.post(path, {"username": "ignored"}).headers["Location"] == reverse("tenant", args=["acme"])
    assert Membership.objects.get().user.username == "bob"
    assert User.objects.get(username="bob").role == "auditor"


def test_who_is_in_the_team_already_does_not_change_by_a_link(ada: User, acme: Tenant, client: Client) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD)
    Membership.objects.create(tenant=acme, user=bob, role="owner")
    sign_in(client, "bob")
    path = issued(tenant=acme, tenant_role="viewer", created_by=ada)
    assert client.post(path).status_code == 422
    assert Membership.objects.get().role == "owner"
    assert Invitation.objects.get().is_open


def test_a_role_of_the_panel_is_for_somebody_new(ada: User, client: Client) -> None:
    sign_in(client)
    path = issued(role="auditor", created_by=ada)
    assert client.post(path).status_code == 422
    ada.refresh_from_db()
    assert ada.role == "administrator"


def test_an_operator_comes_in_with_the_hosts_of_the_invitation(ada: User, client: Client) -> None:
    host = Host.objects.create(name="warden1", kind="simulated")
    invitation, token = Invitation.issue(role="operator", created_by=ada)
    invitation.operated_hosts.add(host)
    client.post(reverse("enter", args=[token]), {"username": "bob"})
    assert list(User.objects.get(username="bob").operated_hosts.all()) == [host]


def test_an_invitation_gives_only_what_its_maker_still_could(ada: User, acme: Tenant, client: Client) -> None:
    owner = User.objects.create_user("olga")
    membership = Membership.objects.create(tenant=acme, user=owner, role="owner")
    path = issued(tenant=acme, tenant_role="owner", created_by=owner)
    assert client.get(path).status_code == 200
    Membership.objects.filter(pk=membership.pk).update(role="member")
    assert client.get(path).status_code == 410
    assert client.post(path, {"username": "eve"}).status_code == 410
    path = issued(role="administrator", created_by=ada)
    User.objects.filter(pk=ada.pk).update(role="auditor")
    assert client.post(path, {"username": "eve"}).status_code == 410


def test_an_invitation_of_nobody_does_not_hold(client: Client) -> None:
    assert client.get(issued(role="administrator")).status_code == 410


def test_an_invitation_into_an_archived_tenant_does_not_hold(ada: User, acme: Tenant, client: Client) -> None:
    path = issued(tenant=acme, tenant_role="owner", created_by=ada)
    Tenant.objects.update(archived_at=timezone.now())
    assert client.get(path).status_code == 410


# Passwords and sessions


def test_signing_in_and_out_is_in_the_log(ada: User, client: Client) -> None:
    assert sign_in(client).status_code == 302
    client.post(reverse("account_logout"))
    assert client.get("/").status_code == 302
    assert [entry.action for entry in AuditEntry.objects.order_by("sequence")] == [
        "session.sign_in",
        "session.sign_out",
    ]
    assert {entry.source for entry in AuditEntry.objects.all()} == {"127.0.0.1"}


def test_a_failed_sign_in_is_in_the_log_without_the_password(ada: User, client: Client) -> None:
    sign_in(client, password="wrong password 1")
    sign_in(client, username="Tr0ub4dor&3")
    sign_in(client, username="nobody-here")
    found = AuditEntry.objects.order_by("sequence")
    assert [entry.actor for entry in found] == ["ada", "(no user name)", "nobody-here"]
    assert {(entry.outcome, entry.actor_id) for entry in found} == {("refused", None)}
    assert "wrong password" not in str(list(found.values()))
    assert "Tr0ub4dor" not in str(list(found.values()))


def test_a_known_and_an_unknown_name_are_refused_alike(ada: User, client: Client) -> None:
    known = sign_in(client, password="wrong password 1").context["form"].errors
    unknown = sign_in(client, username="nobody-here").context["form"].errors
    assert known == unknown


def test_ten_failures_lock_out_and_the_log_says_so_once(ada: User, client: Client) -> None:
    for _ in range(9):
        assert sign_in(client, password="wrong password 1").status_code == 200
    locked = sign_in(client, password="wrong password 1")
    assert locked.status_code == 429
    assert b"Too many failures" in locked.content
    assert sign_in(client).status_code == 429
    assert sign_in(client, password="wrong password 1").status_code == 429
    assert [entry.actor for entry in entries("session.lockout")] == ["ada"]
    assert len(entries("session.sign_in")) == 12
    assert client.get("/").status_code == 302


def test_another_spelling_of_the_name_is_counted_as_the_name(ada: User, client: Client) -> None:
    spellings = ("ada", "Ada", "aDa", "adA", "ADa", "AdA", "aDA", "ADA", " ada ", "ada")
    answers = [sign_in(client, spelling, "wrong password 1").status_code for spelling in spellings]
    assert answers == [200] * 9 + [429]
    assert [sign_in(client, spelling).status_code for spelling in spellings] == [429] * 10
    assert [entry.actor for entry in entries("session.lockout")] == ["ada"]
    # The log names the person, however the name was typed.
    assert {(entry.actor, entry.actor_id or entry.object_id) for entry in entries("session.sign_in")} == {
        ("ada", str(ada.pk))
    }


def test_the_name_may_be_typed_with_capitals(ada: User, client: Client) -> None:
    assert sign_in(client, "Ada").status_code == 302
    assert client.get("/").status_code == 200


def test_a_disabled_person_cannot_sign_in(ada: User, client: Client) -> None:
    User.objects.update(is_active=False)
    response = sign_in(client)
    assert response.status_code == 302 and response.headers["Location"] == reverse("account_inactive")
    assert client.get("/").status_code == 302
    assert entries("session.sign_in")[0].outcome == "refused"


def test_setting_and_changing_a_password(client: Client) -> None:
    client.post(path_of(command()), {"username": "ada"})
    page = client.get(reverse("account_set_password"))
    assert b"Later" in page.content
    response = client.post(reverse("account_set_password"), {"password1": PASSWORD, "password2": PASSWORD})
    assert response.headers["Location"] == "/"
    other = Client()
    assert sign_in(other).status_code == 302
    new = "another horse entirely"
    wrong = {"oldpassword": "wrong password 1", "password1": new, "password2": new}
    assert "oldpassword" in client.post(reverse("account_change_password"), wrong).context["form"].errors
    assert client.post(reverse("account_change_password"), wrong | {"oldpassword": PASSWORD}).status_code == 302
    assert client.get(reverse("account")).status_code == 200
    assert other.get(reverse("account")).status_code == 302
    assert [entry.actor for entry in entries("user.password")] == ["ada", "ada"]
    assert new not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("password", ["short", "password1234", "1234567890123"])
def test_a_weak_password_is_refused_at_its_field(client: Client, password: str) -> None:
    client.post(path_of(command()), {"username": "ada"})
    response = client.post(reverse("account_set_password"), {"password1": password, "password2": password})
    assert "password1" in response.context["form"].errors
    assert not User.objects.get().has_usable_password()


@pytest.mark.parametrize("password", ["cellblock-freebsd", "Administrator1", "CellblockCellblock", "warden-operator"])
def test_a_password_of_words_of_this_place_is_refused(client: Client, ada: User, password: str) -> None:
    sign_in(client)
    sent = {"oldpassword": PASSWORD, "password1": password, "password2": password}
    response = client.post(reverse("account_change_password"), sent)
    assert "mostly words" in str(response.context["form"].errors)


@pytest.mark.parametrize("password", ["a" * 7 + "bcdefghijklm" * 10, "Grün ist der Panda im Cellblock", "🔑🗝" * 8])
def test_a_long_password_of_any_characters_is_kept_as_it_is(client: Client, ada: User, password: str) -> None:
    sign_in(client)
    sent = {"oldpassword": PASSWORD, "password1": password, "password2": password}
    client.post(reverse("account_change_password"), sent)
    assert sign_in(Client(), password=password).status_code == 302
    assert sign_in(Client(), password=password[:-1]).status_code == 200


def test_signing_out_tells_the_browser_to_forget(client: Client, ada: User) -> None:
    sign_in(client)
    session = client.cookies["session"].value
    assert client.post(reverse("account_logout")).headers["Clear-Site-Data"] == '"cache", "storage"'
    client.cookies["session"] = session
    assert client.get(reverse("account")).status_code == 302


def test_a_password_and_its_entry_are_one(ada: User, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(client)

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no log, no change")

    monkeypatch.setattr(audit, "record", broken)
    new = {"oldpassword": PASSWORD, "password1": "another horse entirely", "password2": "another horse entirely"}
    with pytest.raises(RuntimeError):
        client.post(reverse("account_change_password"), new)
    ada.refresh_from_db()
    assert ada.check_password(PASSWORD)


def test_signing_out_everywhere_else(ada: User, client: Client) -> None:
    other = Client(headers={"user-agent": "Other/1.0"})
    sign_in(client)
    sign_in(other)
    page = client.get(reverse("account"))
    assert b"Other/1.0" in page.content
    client.post(reverse("account-sessions"))
    assert client.get(reverse("account")).status_code == 200
    assert other.get(reverse("account")).status_code == 302
    assert entries("session.end")[0].after == {"ended": 1}


def test_one_other_session_is_ended_and_no_more(client: Client, ada: User) -> None:
    first, second = Client(), Client()
    for one in (first, second, client):
        sign_in(one)
    page = client.get(reverse("account"))
    theirs = next(row for row in page.context["sessions"] if row.session_key == first.cookies["session"].value)
    client.post(reverse("account-sessions"), {"session": theirs.pk})
    assert first.get(reverse("account")).status_code == 302
    assert second.get(reverse("account")).status_code == 200
    assert client.get(reverse("account")).status_code == 200
    assert entries("session.end")[0].after == {"ended": 1}


@pytest.mark.parametrize("which", ["own", "another person's", "0", "-1", "x", "9" * 30, "²"])
def test_what_is_no_other_session_of_ones_own_is_not_found(client: Client, ada: User, which: str) -> None:
    User.objects.create_user("bob", password=PASSWORD)
    other = Client()
    sign_in(other, "bob")
    sign_in(client)
    client.get(reverse("account"))
    from allauth.usersessions.models import UserSession

    rows = {"own": ada.username, "another person's": "bob"}
    pk = str(UserSession.objects.get(user__username=rows[which]).pk) if which in rows else which
    assert client.post(reverse("account-sessions"), {"session": pk}).status_code == 404
    assert client.get(reverse("account")).status_code == 200
    assert other.get(reverse("account")).status_code == 200
    assert not entries("session.end")


def test_the_account_page_says_who_one_is(ada: User, acme: Tenant, client: Client) -> None:
    Membership.objects.create(tenant=acme, user=ada, role="viewer")
    sign_in(client)
    text = client.get(reverse("account")).content.decode()
    assert "Administrator of this panel" in text
    assert "Acme</a>, viewer" in text


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "\0", ""])
def test_choosing_a_theme_leads_nowhere_else(client: Client, back: str) -> None:
    response = client.post(reverse("account-theme"), {"theme": "dark", "next": back})
    assert response.headers["Location"] == "/"
    assert response.cookies["theme"].value == "dark"


def test_no_other_theme_than_the_three(client: Client) -> None:
    assert "theme" not in client.post(reverse("account-theme"), {"theme": "x\r\nSet-Cookie: a=b"}).cookies


@pytest.mark.parametrize("path", ["signup/", "password/reset/", "email/", "confirm-email/", "login/code/confirm/"])
def test_pages_of_allauth_that_have_no_use_here_are_not_there(client: Client, path: str) -> None:
    assert client.get(f"/accounts/{path}").status_code == 404


def test_a_sign_in_ends_in_time_whatever_is_done_meanwhile(
    ada: User, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client)
    began, at = time.time(), 0.0
    monkeypatch.setattr(time, "time", lambda: began + at)
    for _ in range(3):
        at += settings.SESSION_COOKIE_AGE / 4
        # What is saved makes the row and the cookie begin anew.
        session = client.session
        session["team"] = ""
        session.save()
        assert client.get(reverse("account")).status_code == 200
    at = settings.SESSION_COOKIE_AGE + 1
    assert client.get(reverse("account")).headers["Location"].startswith(reverse("account_login"))
    assert SESSION_KEY not in client.session
    assert [entry.actor for entry in entries("session.sign_out")] == ["ada"]


@pytest.mark.parametrize(("role", "minutes"), [("", 60), ("auditor", 30)])
def test_a_sign_in_that_nobody_uses_ends(
    ada: User, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, role: str, minutes: int
) -> None:
    settings.SESSION_IDLE_SECONDS, settings.STAFF_IDLE_SECONDS = 3600, 1800
    User.objects.update(role=role)
    sign_in(client)
    began, at = time.time(), 0.0
    monkeypatch.setattr(time, "time", lambda: began + at)

    def is_in(**headers: str) -> bool:
        return client.get(reverse("tray"), headers={"HX-Request": "true", **headers}).status_code != 302

    at += minutes * 60 - 70
    assert is_in()  # a person did that
    at += minutes * 60 - 70
    assert is_in(**{"X-Unattended": "1"})  # the page did
    at += 80
    assert not is_in()
    assert SESSION_KEY not in client.session
    (entry,) = entries("session.sign_out")
    assert (entry.actor, entry.detail) == ("ada", "Nothing was done for too long.")
    settings.SESSION_IDLE_SECONDS = settings.STAFF_IDLE_SECONDS = 0
    sign_in(client)
    at += 4 * 3600
    assert is_in()
