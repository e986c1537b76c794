import ipaddress
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME, SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

GetResponse = Callable[[HttpRequest], HttpResponse]
NOWHERE = urlsplit("")


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


def back_to_the_form(get_response: GetResponse) -> GetResponse:
    """Who must sign in before what they sent comes back to the page they sent it from: where it goes is often none."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.method != "POST" or response.status_code != 302 or request.user.is_authenticated or request.htmx:
            return response
        to = urlsplit(response.headers["Location"])
        if to.path != resolve_url(settings.LOGIN_URL) or REDIRECT_FIELD_NAME not in parse_qs(to.query):
            return response
        messages.warning(request, "You are not signed in any more: nothing of what you sent was done.")
        if page := _page_of(request):
            response.headers["Location"] = f"{to.path}?{urlencode({REDIRECT_FIELD_NAME: page})}"
        return response

    return middleware


def _page_of(request: HttpRequest) -> str:
    """The page of ours that a form was on, with its query; "" where the browser does not say."""
    return page_referring(request)._replace(scheme="", netloc="", fragment="").geturl()


def page_referring(request: HttpRequest) -> SplitResult:
    """The page of ours that a request came from; nothing in all its parts where the browser does not say, or lies."""
    try:
        referrer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return NOWHERE
    is_ours = referrer.netloc == request.get_host()
    return referrer if is_ours and url_has_allowed_host_and_scheme(referrer.path, allowed_hosts=None) else NOWHERE


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
