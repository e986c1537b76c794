"""Who does what cannot be undone, or decides who may do what, proves anew who they are.

Asked after the policy: by panel.views.access for the actions below, by views for what depends on more than the action.
The answer comes by allauth: password, code or passkey. Then what was asked for goes on, with the values that were sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.flows.reauthentication import STATE_SESSION_KEY
from allauth.core.exceptions import ImmediateHttpResponse, ReauthenticationRequired
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jails.models import Operation
from jails.operations import kind as kinds
from jails.operations.step import plan_from_data
from jails.signals import SIGNED_IN_AT
from panel.middleware import page_referring

ACTIONS = frozenset(
    {
        "agreement.decide",
        "agreement.set",
        "approval.decide",
        "audit.review",
        "host.access",
        "host.add",
        "host.change",
        "host.forget",
        "jail.breakglass",
        "release.trust",
        "tenant.archive",
        "tenant.invite",
        "tenant.members",
        "tenant.plan",
        "user.change",
        "user.disable",
        "user.factors",
        "user.invite",
        "user.link",
        "user.sign_out",
    }
)
"""Actions of jails.policy that need it, where something is sent: to look needs none."""


ASKED_FROM = "asked_from"
"""In the session: address that something was sent to and for which was asked → page of the form."""
TABS = 8
"""So many of these at most."""


def authenticated_at(request: HttpRequest) -> float:
    """When this session last proved who it is of, in seconds since 1970: by signing in, however, or when asked anew."""
    records = get_authentication_records(request, request.user)
    asked = [record["at"] for record in records if record.get("reauthenticated")]
    return float(max([request.session.get(SIGNED_IN_AT, 0), *asked]))


def is_recent(request: HttpRequest) -> bool:
    return time.time() - authenticated_at(request) < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def ask(request: HttpRequest) -> None:
    """Ends the request by asking, unless this session has proved recently who it is of."""
    if is_recent(request):
        return
    ways = ways_of(request.user)
    refuse_linked(request)
    if not ways:
        messages.warning(
            request,
            "This needs proof that it is still you, and you have no password yet. Set one, or come by another link.",
        )
        to = reverse("account_set_password")
        if getattr(request, "htmx", False):
            raise ImmediateHttpResponse(HttpResponse(status=204, headers={"HX-Redirect": to}))
        if request.method == "POST":
            _note_page(request)
        raise ImmediateHttpResponse(redirect(to))
    if getattr(request, "htmx", False):
        # A fragment's place is no place to ask: the whole page goes there, and comes back to where it was.
        to = _asking(ways, request.htmx.current_url_abs_path or "/")
        raise ImmediateHttpResponse(HttpResponse(status=204, headers={"HX-Redirect": to}))
    if request.method == "POST":
        _note_page(request)
    raise ReauthenticationRequired


def _note_page(request: HttpRequest) -> None:
    """Where the form was. What was sent is kept for one tab, the last that asked; the others go back to their page."""
    page = page_referring(request).path or reverse("home")
    noted = {**request.session.get(ASKED_FROM, {}), request.get_full_path(): page}
    request.session[ASKED_FROM] = dict(list(noted.items())[-TABS:])


def page_left(request: HttpRequest) -> str:
    """Where somebody was who was led to set a password first, "" for nowhere. Asked once."""
    noted = request.session.pop(ASKED_FROM, {})
    return next(reversed(noted.values()), "")


def ask_keeping_nothing(request: HttpRequest, back: str) -> None:
    """As `ask`, where what was sent is kept nowhere, not in the session either: it is sent again from `back`."""
    if is_recent(request):
        return
    ways = ways_of(request.user)
    if ways:
        raise ImmediateHttpResponse(redirect(_asking(ways, back)))
    ask(request)


def _asking(ways: list[dict[str, Any]], back: str) -> str:
    return f"{ways[0]['url']}?{urlencode({REDIRECT_FIELD_NAME: back})}"


def ways_of(user: Any) -> list[dict[str, Any]]:
    """allauth's pages on which this person can prove anew who they are: by password, code or passkey."""
    return list(get_adapter().get_reauthentication_methods(user))


def refuse_linked(request: HttpRequest) -> None:
    """Ends the request of whom only an account elsewhere signs in, and did long ago: to sign in is the proof there is.

    Whatever they could set here without it, a session left open could set and prove itself with.
    """
    if is_recent(request) or ways_of(request.user) or not settings.OIDC_ISSUER:
        return
    if not SocialAccount.objects.filter(user=request.user).exists():
        return
    messages.warning(
        request,
        f"This needs proof that it is still you: sign out, sign in again with {settings.OIDC_NAME}, then go on. "
        "With a password or a second factor of your own you would be asked for that instead.",
    )
    if getattr(request, "htmx", False):
        raise ImmediateHttpResponse(HttpResponse(status=204, headers={"HX-Redirect": reverse("account")}))
    raise ImmediateHttpResponse(redirect("account"))


def proving(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """One of allauth's pages that ask; who has nothing to prove it with is led to set a password."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        if not ways_of(request.user):
            return redirect("account_set_password")
        to = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME, "")
        kept = request.session.get(STATE_SESSION_KEY, {}).get("request")
        goes_on = kept is not None and json.loads(kept)["path"] == to
        response = view(request)
        page = request.session.get(ASKED_FROM, {}).get(to)
        if not page or goes_on or response.status_code != 302 or response.headers["Location"] != to:
            return response
        messages.info(request, "It is you. What you sent from here was not kept, and not done: send it again.")
        return redirect(page)

    return never_cache(require_http_methods(["GET", "HEAD", "POST"])(login_required(wrapped)))


def ask_for(request: HttpRequest, action: str) -> None:
    if request.method == "POST" and action in ACTIONS:
        ask(request)


def ask_for_plan(request: HttpRequest, operation: Operation) -> None:
    """Before a plan is run that loses something, of which a step cannot be undone, or that lets somebody do more."""
    plan = plan_from_data(operation.plan)
    if plan.loses or any(step.irreversible for step in plan.steps) or _lets_more(operation):
        ask(request)


def _lets_more(operation: Operation) -> bool:
    """Gives a jail or access to one, or widens what it may do, by what is known now."""
    wish = operation.parameters
    if operation.kind == "jail_give" or wish.get("access") or (operation.kind == "keys_change" and wish.get("keys")):
        return True
    if operation.host is None:
        return False
    try:
        return bool(kinds.get(operation.kind).widens(operation.host, wish))
    except LookupError:
        return False  # what it is about is gone: confirming says so
