"""Signing in with an account elsewhere, against a provider that speaks the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from jails.models import AuditEntry, User
from panel.oidc import origin_of
from tests.panel.provider import CLIENT, SECRET, Provider
from tests.panel.test_factors import PASSWORD, Clock, add_app, entries, now, sign_in

__all__ = ["now"]
pytestmark = pytest.mark.django_db
BEGIN = "/accounts/oidc/oidc/login/"


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    cache.clear()
    provider = Provider()
    settings.OIDC_ISSUER, settings.OIDC_NAME = provider.issuer, "Example ID"
    settings.OIDC_ORIGINS = [provider.issuer]
    app = {"provider_id": "oidc", "name": "Example ID", "client_id": CLIENT, "secret": SECRET}
    app["settings"] = {"server_url": provider.issuer, "fetch_userinfo": False}  # type: ignore[assignment]
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": settings.SOCIALACCOUNT_PROVIDERS["openid_connect"] | {"APPS": [app]}
    }
    yield provider
    provider.stop()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password=PASSWORD)


def go(client: Client, provider: Provider) -> Any:
    """There and back again."""
    response = client.post(BEGIN)
    assert response.status_code == 302, response.content
    return client.get(provider.visit(response.headers["Location"]))


def link(person: User, subject: str = "ada-1") -> None:
    SocialAccount.objects.create(user=person, provider="oidc", uid=subject)


def is_signed_in(client: Client) -> bool:
    return client.get(reverse("account")).status_code == 200


def test_who_is_linked_signs_in(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    assert b"Sign in with Example ID" in client.get(reverse("account_login")).content
    assert go(client, provider).status_code == 302
    assert client.get(reverse("account")).context["user"] == ada
    assert entries("session.sign_in")[0].after == {"by": ["account elsewhere"]}


def test_who_is_not_linked_gets_no_account(client: Client, ada: User, provider: Provider) -> None:
    provider.claims = {"preferred_username": "ada", "email": "ada@example.org", "email_verified": True}
    User.objects.update(email="ada@example.org")
    response = go(client, provider)
    assert response.status_code == 403 and b"Nobody here has this account" in response.content
    assert not is_signed_in(client)
    assert (User.objects.count(), SocialAccount.objects.count()) == (1, 0)
    assert [(it.outcome, it.actor) for it in entries("session.sign_in")] == [
        ("refused", "(nobody's account elsewhere)")
    ]


def test_one_links_ones_own_account(client: Client, ada: User, provider: Provider) -> None:
    sign_in(client)
    go(client, provider)
    assert SocialAccount.objects.get().user == ada
    (entry,) = entries("user.oidc")
    assert (entry.actor, entry.after) == ("ada", {"linked": "Example ID", "subject": "ada-1"})
    other = Client()
    go(other, provider)
    assert is_signed_in(other)


def test_linking_gives_no_rights_and_keeps_no_token(client: Client, ada: User, provider: Provider) -> None:
    from allauth.socialaccount.models import SocialToken

    provider.claims = {"roles": ["administrator"], "role": "administrator", "is_superuser": True, "groups": ["admin"]}
    sign_in(client)
    go(client, provider)
    ada.refresh_from_db()
    assert (ada.role, ada.is_superuser, ada.is_staff, ada.email) == ("", False, False, "")
    assert not SocialToken.objects.exists()


def test_an_account_of_somebody_else_is_not_taken_over(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    bob = User.objects.create_user("bob", password=PASSWORD)
    sign_in(client, "bob")
    go(client, provider)
    assert SocialAccount.objects.get().user == ada
    assert client.get(reverse("account")).context["user"] == bob


def test_linking_needs_a_recent_proof(client: Client, ada: User, provider: Provider, now: Clock) -> None:
    sign_in(client)
    now.at += 16 * 60
    assert client.post(BEGIN).headers["Location"].startswith("/accounts/reauthenticate/")
    assert client.post("/accounts/oidc/unlink").headers["Location"].startswith("/accounts/reauthenticate/")
    assert not provider.asked


def test_the_second_factor_is_asked_here_too(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    add_app(ada)
    assert go(client, provider).headers["Location"] == reverse("mfa_authenticate")
    assert not is_signed_in(client)


def test_the_disabled_stay_out(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    User.objects.update(is_active=False)
    go(client, provider)
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "claims",
    [{"aud": "another"}, {"iss": "https://evil.example"}, {"exp": 1}, {"sub": None}],
    ids=["another client", "another issuer", "expired", "nobody"],
)
def test_a_token_that_is_not_for_us_lets_nobody_in(
    client: Client, ada: User, provider: Provider, claims: dict[str, Any]
) -> None:
    link(ada)
    provider.claims = claims
    assert go(client, provider).status_code == 403
    assert not is_signed_in(client)


def test_a_token_that_somebody_else_signed_lets_nobody_in(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    shown = provider.key
    back = provider.visit(client.post(BEGIN).headers["Location"])
    provider.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    provider.shown = shown
    assert client.get(back).status_code == 403
    assert not is_signed_in(client)


def test_a_token_by_a_shared_secret_lets_nobody_in(client: Client, ada: User, provider: Provider) -> None:
    """Its key is published, and the token's head names the algorithm: both fit, and anybody could have signed."""
    link(ada)
    provider.hmac = "a secret that everybody can read there"
    assert go(client, provider).status_code == 403
    assert not is_signed_in(client)


def test_an_issuer_that_calls_itself_another_lets_nobody_in(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    provider.named, provider.claims = "https://evil.example", {"iss": "https://evil.example"}
    assert go(client, provider).status_code == 403
    assert not is_signed_in(client)


def test_an_answer_that_was_not_asked_for_is_refused(client: Client, ada: User, provider: Provider) -> None:
    """Another browser's answer, a made-up state, a code used twice."""
    link(ada)
    back = provider.visit(client.post(BEGIN).headers["Location"])
    stranger = Client()
    assert stranger.get(back).status_code == 403 and not is_signed_in(stranger)
    assert client.get("/accounts/oidc/oidc/login/callback/?code=code0&state=x").status_code == 403
    client.get(back)
    assert is_signed_in(client)
    again = Client()
    assert again.get(back).status_code == 403 and not is_signed_in(again)


def test_who_says_no_there_is_told_so(client: Client, ada: User, provider: Provider) -> None:
    provider.refuses = True
    response = go(client, provider)
    assert response.status_code in (302, 403) and not is_signed_in(client)


def test_a_provider_that_is_away_is_said(client: Client, provider: Provider) -> None:
    provider.stop()
    response = client.post(BEGIN)
    assert response.status_code == 403 and b"could not be reached" in response.content


@pytest.mark.parametrize("how", ["named", "redirected"])
def test_only_the_providers_own_origins_are_asked(client: Client, ada: User, provider: Provider, how: str) -> None:
    """Keys of a token that lie elsewhere, by what its configuration names or by a redirect, are not fetched."""
    link(ada)
    elsewhere = Provider()
    try:
        elsewhere.key = provider.key
        if how == "named":
            provider.keys_at = f"{elsewhere.issuer}/jwks"
        else:
            provider.redirects["/jwks"] = f"{elsewhere.issuer}/jwks"
        assert go(client, provider).status_code == 403
        assert not is_signed_in(client) and not elsewhere.asked
        settings.OIDC_ORIGINS.append(elsewhere.issuer)
        go(client, provider)
        assert is_signed_in(client) and elsewhere.asked == ["/jwks"]
    finally:
        elsewhere.stop()


def test_an_origin_is_the_same_however_it_is_written(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    settings.OIDC_ORIGINS[:] = [f"{provider.issuer.upper()}/"]
    go(client, provider)
    assert is_signed_in(client)
    assert origin_of("https://Login.example.org:443/jwks") == origin_of("https://login.example.org")
    assert origin_of("https://login.example.org:4430") != origin_of("https://login.example.org")
    assert origin_of("http://login.example.org") != origin_of("https://login.example.org")


def test_looking_at_the_address_begins_nothing(client: Client, provider: Provider) -> None:
    assert client.get(BEGIN).status_code == 405
    assert not provider.asked


def test_without_a_provider_there_is_nothing(client: Client) -> None:
    assert client.post(BEGIN).status_code == 404
    assert client.get(f"{BEGIN}callback/?code=x&state=y").status_code == 404
    assert b"Sign in with single" not in client.get(reverse("account_login")).content


def test_it_is_unlinked_by_who_has_a_password(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    sign_in(client)
    client.post("/accounts/oidc/unlink")
    assert not SocialAccount.objects.exists()
    assert entries("user.oidc")[0].before == {"linked": "Example ID", "subject": "ada-1"}
    link(ada)
    ada.set_unusable_password()
    ada.save()
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    client.post("/accounts/oidc/unlink")
    assert SocialAccount.objects.exists()


def test_the_secret_of_the_client_is_on_no_page_and_in_no_log(client: Client, ada: User, provider: Provider) -> None:
    link(ada)
    go(client, provider)
    assert SECRET not in client.get(reverse("account")).content.decode()
    assert SECRET not in str(list(AuditEntry.objects.values()))
