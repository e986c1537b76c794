import ipaddress
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]


def trusted_proxies(get_response: GetResponse) -> GetResponse:
    """Make REMOTE_ADDR the client's address, and believe forwarding headers from CELLBLOCK_TRUSTED_PROXY alone."""

    def middleware(request: HttpRequest) -> HttpResponse:
        is_from_proxy = _is_from_proxy(request)
        request.META["REMOTE_ADDR"] = peer_address(request)
        if not is_from_proxy:
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        request.META.pop("HTTP_X_FORWARDED_FOR", None)
        return get_response(request)

    return middleware


def peer_address(request: HttpRequest) -> str:
    """Where a request came from: the client's address behind our proxies, otherwise that of whoever connected."""
    return client_address(request) if _is_from_proxy(request) else request.META.get("REMOTE_ADDR", "")


def _is_from_proxy(request: HttpRequest) -> bool:
    peer = request.META.get("REMOTE_ADDR", "")
    return _is_trusted(peer) or (not peer and settings.TRUSTED_PROXY_SOCKET)


def client_address(request: HttpRequest) -> str:
    """The last address in X-Forwarded-For that is not a trusted proxy's: what stands before it anybody can write."""
    address: str = request.META.get("REMOTE_ADDR", "")
    for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        if not _is_address(hop.strip()):
            return address
        address = hop.strip()
        if not _is_trusted(address):
            return address
    return address


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(text: str) -> bool:
    return _is_address(text) and any(ipaddress.ip_address(text) in network for network in settings.TRUSTED_PROXIES)


UNATTENDED = "X-Unattended"
"""What a page says when it asks by itself and nobody has touched it lately (static/js/live.js). Whoever leaves it out
keeps a session that is theirs open, no longer than it may last."""
NOTED_EVERY = 60
"""Seconds: so often at most it is written down that a session is used."""


def ends_in_time(get_response: GetResponse) -> GetResponse:
    """A sign-in ends CELLBLOCK_SESSION_SECONDS after it began, whatever was done, and sooner when nothing is."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and SESSION_KEY in request.session:
            _end_or_note(request)
        return get_response(request)

    return middleware


def _end_or_note(request: HttpRequest) -> None:
    from jails.signals import USED_AT, has_run_out, is_left_alone

    if has_run_out(request.session):
        logout(request)
    elif is_left_alone(request.session, request.user):
        request.why_ended = "Nothing was done for too long."  # type: ignore[attr-defined]
        logout(request)
    elif UNATTENDED not in request.headers and time.time() - request.session.get(USED_AT, 0) >= NOTED_EVERY:
        request.session[USED_AT] = time.time()


class MustHaveFactor:
    """Who must have a second factor and has none is led to set one up; nothing else works before."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        from panel import factors
        from panel.views.factors import OPEN_WITHOUT_FACTOR, lead_to_set_up

        if not factors.must_have_factor(request.user) or factors.has_factor(request.user):
            return None
        request.lacks_factor = True  # type: ignore[attr-defined]
        return None if request.resolver_match.url_name in OPEN_WITHOUT_FACTOR else lead_to_set_up(request)
