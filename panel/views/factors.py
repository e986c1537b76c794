"""allauth's pages for second factors; each change in one transaction with its entry in the log."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from ipaddress import ip_address
from typing import Any

from allauth.mfa.base import views as base
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from jails import audit
from panel import step_up
from panel.accounts import end_sessions
from panel.factors import factors_of, must_have_factor
from panel.step_up import proving
from panel.views.access import source

View = Callable[..., HttpResponse]
read_or_post = require_http_methods(["GET", "HEAD", "POST"])


def changing(view: View) -> View:
    """A view by which somebody changes their own factors: what was changed is an entry; other sessions end."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        step_up.refuse_linked(request)
        if request.method != "POST":
            return view(request, *args, **kwargs)
        with transaction.atomic():
            before = factors_of(request.user)
            response = view(request, *args, **kwargs)
            if hasattr(response, "render"):
                response.render()
            after = factors_of(request.user)
            if after != before:
                ended = end_sessions(request.user, but=request.session.session_key or "")
                entry = {"before": before, "after": after | {"sessions_ended": ended}, "source": source(request)}
                audit.record("user.factor_change", actor=request.user, obj=request.user, **entry)
        return response

    return never_cache(read_or_post(login_required(wrapped)))


@never_cache
@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponse:
    context = {"must_have_factor": must_have_factor(request.user), "passkeys_possible": passkeys_possible(request)}
    return base.IndexView.as_view(template_name="mfa/index.html", extra_context=context)(request)


def passkeys_possible(request: HttpRequest) -> bool:
    """Browsers have them for names, not for addresses, and with TLS or on this machine (WebAuthn, Level 3, 5.1)."""
    name = request.get_host().rsplit(":", 1)[0]
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return request.is_secure() or name == "localhost" or name.endswith(".localhost")
    return False


@require_safe
@login_required
def passkeys(request: HttpRequest) -> HttpResponse:
    """Where allauth goes after a change of passkeys: they are listed with the other factors."""
    return redirect("mfa_index")


@login_required
def only_with_passkeys(request: HttpRequest) -> HttpResponse:
    messages.error(request, "Passkeys work only where the panel has a name and TLS, not at a bare address.")
    return redirect("mfa_index")


authenticate = never_cache(read_or_post(base.authenticate))
reauthenticate = proving(base.reauthenticate)
activate_app = changing(totp.activate_totp)
deactivate_app = changing(totp.deactivate_totp)
new_codes = changing(recovery_codes.generate_recovery_codes)
codes = never_cache(require_safe(login_required(recovery_codes.view_recovery_codes)))
download_codes = require_safe(login_required(recovery_codes.download_recovery_codes))
remove_passkey = changing(webauthn.remove_webauthn)
rename_passkey = changing(webauthn.edit_webauthn)
reauthenticate_passkey = proving(webauthn.reauthenticate_webauthn)
sign_in_passkey = never_cache(read_or_post(webauthn.login_webauthn))
_add_passkey = changing(webauthn.add_webauthn)


def add_passkey(request: HttpRequest) -> HttpResponse:
    return _add_passkey(request) if passkeys_possible(request) else only_with_passkeys(request)


OPEN_WITHOUT_FACTOR = frozenset(
    {
        "account-theme",
        "account_change_password",
        "account_logout",
        "account_reauthenticate",
        "account_set_password",
        "health",
        "mfa_activate_totp",
        "mfa_add_webauthn",
        "mfa_index",
        "mfa_list_webauthn",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
    }
)
"""What works for who must have a factor and has none: setting one up, proving who one is, and going away."""


def lead_to_set_up(request: HttpRequest) -> HttpResponse:
    if getattr(request, "htmx", False):
        return HttpResponse(status=204, headers={"HX-Redirect": reverse("mfa_index")})
    return redirect("mfa_index")
