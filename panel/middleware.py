import ipaddress
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


def ends_in_time(get_response: GetResponse) -> GetResponse:
    """A sign-in ends CELLBLOCK_SESSION_SECONDS after it began, whatever was done meanwhile."""

    def middleware(request: HttpRequest) -> HttpResponse:
        from jails.signals import has_run_out

        is_known = settings.SESSION_COOKIE_NAME in request.COOKIES
        if is_known and SESSION_KEY in request.session and has_run_out(request.session):
            logout(request)
        return get_response(request)

    return middleware


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
