"""An address of one's own: it counts once the link that was sent there is used."""

from __future__ import annotations

import re
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import reverse

from jails.models import User
from tests.panel.test_factors import PASSWORD, Clock, add_app, entries, now, sign_in

__all__ = ["now"]
pytestmark = pytest.mark.django_db
PAGE = "/accounts/address/"


@pytest.fixture(autouse=True)
def no_earlier_tries() -> None:
    cache.clear()


@pytest.fixture
def ada(client: Client) -> User:
    person = User.objects.create_user("ada", password=PASSWORD)
    sign_in(client)
    return person


def add(client: Client, address: str) -> Any:
    return client.post(PAGE, {"email": address, "action_add": "1"})


def link_in(message: Any) -> str:
    found = re.search(r"http://127\.0\.0\.1:8000(/accounts/address/confirm/\S+)", message.body)
    assert found, message.body
    return found[1]


def address_of(person: User) -> str:
    return User.objects.get(pk=person.pk).email


def test_an_address_counts_once_its_link_was_used(client: Client, ada: User) -> None:
    add(client, "ada@example.org")
    (message,) = mail.outbox
    assert message.to == ["ada@example.org"] and message.subject == "[Cellblock] Confirm your address"
    assert address_of(ada) == ""
    link = link_in(message)
    assert client.get(link).status_code == 200 and address_of(ada) == ""
    client.post(link)
    assert address_of(ada) == "ada@example.org"
    assert [(it.before["address"], it.after["address"]) for it in entries("user.email")] == [
        ("", ""),
        ("", "ada@example.org"),
    ]


def test_a_change_leaves_the_old_address_until_then_and_tells_it(
    client: Client, ada: User, django_capture_on_commit_callbacks: Any
) -> None:
    EmailAddress.objects.create(user=ada, email="old@example.org", verified=True, primary=True)
    User.objects.update(email="old@example.org")
    add(client, "new@example.org")
    assert address_of(ada) == "old@example.org"
    with django_capture_on_commit_callbacks(execute=True):
        client.post(link_in(mail.outbox[-1]))
    assert address_of(ada) == "new@example.org"
    assert list(EmailAddress.objects.values_list("email", flat=True)) == ["new@example.org"]
    assert ["old@example.org"] in [message.to for message in mail.outbox]


def test_a_link_works_for_who_it_is_of_and_once(client: Client, ada: User) -> None:
    add(client, "ada@example.org")
    link = link_in(mail.outbox[0])
    User.objects.create_user("bob", password=PASSWORD)
    other = Client()
    assert other.post(link).status_code == 302 and address_of(ada) == ""
    sign_in(other, "bob")
    assert other.get(link).status_code == 404 and other.post(link).status_code == 404
    assert address_of(ada) == ""
    client.post(link)
    assert client.get(link).status_code in (200, 404)
    assert b"does not work" in client.get(link).content


@pytest.mark.parametrize("address", ["", "ada", "ada@", "ada@example.org\nBcc: eve@example.org", "a" * 400 + "@b.org"])
def test_what_is_no_address_is_refused(client: Client, ada: User, address: str) -> None:
    response = add(client, address)
    assert response.status_code == 200 and response.context["form"].errors
    assert not mail.outbox and not EmailAddress.objects.exists()


def test_it_asks_who_one_is_when_that_was_long_ago(client: Client, ada: User, now: Clock) -> None:
    now.at += 16 * 60
    assert add(client, "ada@example.org").headers["Location"].startswith("/accounts/reauthenticate/")
    assert not mail.outbox


def test_without_mail_the_page_says_so(client: Client, ada: User, settings: Any) -> None:
    settings.MAIL_SENDS = False
    assert b"sends no mail" in client.get(PAGE).content
    add(client, "ada@example.org")
    assert not mail.outbox and not EmailAddress.objects.exists()


def test_the_link_is_sent_behind_the_transaction_or_again_later(
    client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths = []

    def away(*args: Any, **kwargs: Any) -> None:
        depths.append(len(connection.savepoint_ids))
        raise SMTPServerDisconnected("gone")

    outside = len(connection.savepoint_ids)
    with monkeypatch.context() as server:
        server.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", away)
        response = client.post(PAGE, {"email": "ada@example.org", "action_add": "1"}, follow=True)
    assert depths == [outside]
    assert b"could not be reached" in response.content and b"Open it to confirm" not in response.content
    # What was sent is kept with its entry, and counts for nothing yet; the page offers the link again.
    assert address_of(ada) == "" and [it.after["to be confirmed"] for it in entries("user.email")] == [
        "ada@example.org"
    ]
    assert b"Send the link again" in response.content
    client.post(PAGE, {"email": "ada@example.org", "action_send": "1"})
    client.post(link_in(mail.outbox[0]))
    assert address_of(ada) == "ada@example.org"


def test_who_has_an_address_is_told_of_a_changed_password(
    client: Client, ada: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    EmailAddress.objects.create(user=ada, email="ada@example.org", verified=True, primary=True)
    new = "battery horse correct 9"
    sent = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    with django_capture_on_commit_callbacks() as afterwards:
        client.post(reverse("account_change_password"), sent)
        assert not mail.outbox  # no transaction waits for a mail server
    for send in afterwards:
        send()
    assert [message.to for message in mail.outbox] == [["ada@example.org"]]

    def away(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route")

    # A mail server that is away stops no change.
    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", away)
    back = {"oldpassword": new, "password1": PASSWORD, "password2": PASSWORD}
    with django_capture_on_commit_callbacks(execute=True) as afterwards:
        client.post(reverse("account_change_password"), back)
    assert len(afterwards) == 1
    assert User.objects.get().check_password(PASSWORD)


def test_with_a_second_factor_an_address_may_be_added_too(client: Client, ada: User) -> None:
    add_app(ada)
    add(client, "ada@example.org")
    client.post(link_in(mail.outbox[0]))
    assert address_of(ada) == "ada@example.org"
