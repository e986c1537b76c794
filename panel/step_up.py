"""Who does what cannot be undone, or decides who may do what, proves anew who they are.

Asked after the policy: by panel.views.access for the actions below, by views for what depends on more than the action.
The answer comes by allauth: password, code or passkey. Then what was asked for goes on, with the values that were sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.exceptions import ImmediateHttpResponse, ReauthenticationRequired
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jails.models import Operation
from jails.operations.step import plan_from_data
from jails.signals import SIGNED_IN_AT

ACTIONS = frozenset(
    {
        "agreement.decide",
        "agreement.set",
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
    }
)
"""Actions of jails.policy that need it, where something is sent: to look needs none."""


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
    ways = get_adapter().get_reauthentication_methods(request.user)
    if not ways:
        messages.warning(
            request,
            "This needs proof that it is still you, and you have no password yet. Set one, or come by another link.",
        )
        raise ImmediateHttpResponse(redirect("account_set_password"))
    if getattr(request, "htmx", False):
        # A fragment's place is no place to ask: the whole page goes there, and comes back to where it was.
        query = urlencode({REDIRECT_FIELD_NAME: request.htmx.current_url_abs_path or "/"})
        raise ImmediateHttpResponse(HttpResponse(status=204, headers={"HX-Redirect": f"{ways[0]['url']}?{query}"}))
    raise ReauthenticationRequired


def proving(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """One of allauth's pages that ask; who has nothing to prove it with is led to set a password."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        if not get_adapter().get_reauthentication_methods(request.user):
            return redirect("account_set_password")
        return view(request)

    return never_cache(require_http_methods(["GET", "HEAD", "POST"])(login_required(wrapped)))


def ask_for(request: HttpRequest, action: str) -> None:
    if request.method == "POST" and action in ACTIONS:
        ask(request)


def ask_for_plan(request: HttpRequest, operation: Operation) -> None:
    """Before a plan is run that loses something, or of which a step cannot be undone."""
    plan = plan_from_data(operation.plan)
    if plan.loses or any(step.irreversible for step in plan.steps):
        ask(request)
