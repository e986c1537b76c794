from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import reverse

from panel.middleware import trusted_proxies


@pytest.fixture(autouse=True)
def proxies(settings) -> None:
    settings.TRUSTED_PROXIES = [ip_network("192.0.2.0/24")]


def seen(peer: str, forwarded: str = "") -> HttpRequest:
    """The request as the panel sees it, that came from a peer with X-Forwarded-For and X-Forwarded-Proto."""
    request = RequestFactory().get(
        "/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded, HTTP_X_FORWARDED_PROTO="https"
    )
    trusted_proxies(lambda request: HttpResponse())(request)
    return request


def test_anybody_else_is_not_believed() -> None:
    request = seen("198.51.100.7", "203.0.113.1")
    assert request.META["REMOTE_ADDR"] == "198.51.100.7"
    assert "HTTP_X_FORWARDED_PROTO" not in request.META


def test_the_proxy_is() -> None:
    request = seen("192.0.2.1", "203.0.113.1")
    assert request.META["REMOTE_ADDR"] == "203.0.113.1"
    assert request.META["HTTP_X_FORWARDED_PROTO"] == "https"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("127.0.0.1, 203.0.113.1", "203.0.113.1"),
        ("127.0.0.1, 203.0.113.1, 192.0.2.2", "203.0.113.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("203.0.113.1, not-an-address", "192.0.2.1"),
        ("", "192.0.2.1"),
    ],
)
def test_the_client_is_the_last_that_the_proxies_did_not_add(forwarded: str, address: str) -> None:
    assert seen("192.0.2.1", forwarded).META["REMOTE_ADDR"] == address


def test_a_peer_on_a_unix_socket_is_believed_only_if_said(settings) -> None:
    assert seen("", "203.0.113.1").META["REMOTE_ADDR"] == ""
    settings.TRUSTED_PROXY_SOCKET = True
    assert seen("", "203.0.113.1").META["REMOTE_ADDR"] == "203.0.113.1"


SITE = "http://testserver"


@pytest.mark.parametrize(
    ("referrer", "back"),
    [
        (f"{SITE}/tenants/acme/invite?role=owner#top", "/tenants/acme/invite?role=owner"),
        ("", ""),
        ("https://evil.example/tenants/acme/", ""),
        (f"{SITE}//evil.example/", ""),
        ("http://[::1", ""),
    ],
)
def test_who_was_signed_out_comes_back_to_the_page_of_the_form(client, db, referrer: str, back: str) -> None:
    given = {"Referer": referrer} if referrer else {}
    to = reverse("network-add")
    response = client.post(to, {"name": "office"}, headers=given)
    asked = urlsplit(response.headers["Location"])
    assert asked.path == reverse("account_login") and parse_qs(asked.query) == {"next": [back or to]}
    assert "nothing of what you sent was done" in client.get(response.headers["Location"]).text


def test_who_only_looked_is_told_of_nothing(client, db) -> None:
    response = client.get("/tenants/", headers={"Referer": f"{SITE}/jails/"})
    assert response.headers["Location"].endswith("?next=/tenants/")
    assert "nothing of what you sent" not in client.get(response.headers["Location"]).text
