"""Signing in with an account elsewhere, and linking it to one's own here."""

from __future__ import annotations

import requests
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from panel import oidc, step_up


@never_cache
@require_POST
def begin(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Go to the provider: to sign in, or, for who is signed in, to link the account there."""
    if provider_id != settings.OIDC_ID or not settings.OIDC_ISSUER:
        raise Http404
    sent = request.POST.copy()
    sent["process"] = AuthProcess.CONNECT if request.user.is_authenticated else AuthProcess.LOGIN
    if request.user.is_authenticated:
        step_up.ask(request)
    request.POST = sent  # type: ignore[assignment]
    try:
        return OAuth2LoginView.adapter_view(oidc.ProviderAdapter(request, provider_id))(request)
    except (requests.RequestException, ValueError, KeyError):
        return oidc.refused(request, "failed")


@never_cache
@require_safe
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    if provider_id != settings.OIDC_ID or not settings.OIDC_ISSUER:
        raise Http404
    try:
        return OAuth2CallbackView.adapter_view(oidc.ProviderAdapter(request, provider_id))(request)
    except (requests.RequestException, ValueError, KeyError):
        return oidc.refused(request, "failed")


@require_POST
@login_required
def unlink(request: HttpRequest) -> HttpResponse:
    step_up.ask(request)
    if not request.user.has_usable_password():
        messages.error(request, "Set a password first: otherwise only a one-time link would let you in.")
    elif SocialAccount.objects.filter(user=request.user).exists():
        oidc.unlink(request)
        messages.success(request, f"{settings.OIDC_NAME} does not sign you in any more.")
    return redirect("account")


@require_safe
def cancelled(request: HttpRequest) -> HttpResponse:
    messages.info(request, "You did not sign in there.")
    return redirect("account_login")
