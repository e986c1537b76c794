"""Signing in with an account at an OpenID Connect provider that was linked before; see docs/install.md.

The provider says who somebody is, never what they may do: nobody gets an account or a right by it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
import structlog
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import redirect, render
from requests.adapters import HTTPAdapter

from jails import audit
from panel.views.access import source

log = structlog.get_logger(__name__)


SIGNED_BY = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms of a token's signature, RFC 7518 section 3.1 and RFC 8037: those with a private key that the provider
alone has. With HMAC, whoever reads the published key could sign."""


class ProviderAdapter(OpenIDConnectOAuth2Adapter):
    """A token counts with its signature, and from the issuer that the settings name, whatever its own pages say."""

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        _refuse_other_algorithms(id_token)
        claims: dict[str, Any] = jwtkit.verify_and_decode(
            credential=id_token,
            keys_url=self.openid_config["jwks_uri"],
            issuer=settings.OIDC_ISSUER,
            audience=app.client_id,
            lookup_kid=jwtkit.lookup_kid_jwk,
            verify_signature=True,
        )
        return claims


def origin_of(url: str) -> str:
    """As browsers compare it: in small letters, without the port that its scheme has anyway."""
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc.removesuffix({'http': ':80', 'https': ':443'}.get(parts.scheme, ''))}"


def _refuse_other_algorithms(id_token: str) -> None:
    """Raises OAuth2Error."""
    try:
        algorithm = jwt.get_unverified_header(id_token).get("alg")
    except jwt.PyJWTError as error:
        raise OAuth2Error("Invalid id_token") from error
    if algorithm not in SIGNED_BY:
        log.warning("oidc_algorithm", algorithm=str(algorithm)[:40])
        raise OAuth2Error("Signed by an algorithm that does not count")


class HeldAdapter(HTTPAdapter):
    """Asks the provider's own origins alone (settings.OIDC_ORIGINS): also where its pages name others, or redirect."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        origin = origin_of(request.url or "")
        if origin not in map(origin_of, settings.OIDC_ORIGINS):
            log.warning(
                "oidc_outside", origin=origin, advice="is it the provider's? Then CELLBLOCK_OIDC_ORIGINS names it"
            )
            raise requests.ConnectionError(f"{origin} is not among the provider's origins", request=request)
        return super().send(request, *args, **kwargs)


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    def get_requests_session(self) -> requests.Session:
        session: requests.Session = super().get_requests_session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HeldAdapter())
        return session

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """The provider has said who it is: link that to who is signed in, or let in whose it is, and nobody else."""
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            raise ImmediateHttpResponse(self._link(request, sociallogin))
        if sociallogin.is_existing:
            return
        with transaction.atomic():
            detail = f"an account of {settings.OIDC_NAME} that is linked to nobody"
            actor = "(nobody's account elsewhere)"
            audit.record("session.sign_in", actor=actor, outcome="refused", detail=detail, source=source(request))
        raise ImmediateHttpResponse(refused(request, "unknown"))

    def _link(self, request: HttpRequest, sociallogin: Any) -> Any:
        if not request.user.is_authenticated:
            return redirect("account_login")
        if sociallogin.is_existing and sociallogin.user != request.user:
            messages.error(request, f"This account of {settings.OIDC_NAME} is linked to somebody else here.")
            return redirect("account")
        if not sociallogin.is_existing:
            with transaction.atomic():
                sociallogin.connect(request, request.user)
                after = {"linked": settings.OIDC_NAME, "subject": sociallogin.account.uid}
                audit.record("user.oidc", actor=request.user, obj=request.user, after=after, source=source(request))
        messages.success(request, f"You can sign in with {settings.OIDC_NAME} from now on.")
        return redirect("account")

    def on_authentication_error(self, request: HttpRequest, provider: Any, **kwargs: Any) -> None:
        raise ImmediateHttpResponse(refused(request, "failed"))


def refused(request: HttpRequest, why: str) -> Any:
    """`unknown`: nobody's here; `failed`: the provider did not say who it is."""
    return render(request, "account/oidc_refused.html", {"why": why, "oidc_name": settings.OIDC_NAME}, status=403)


def unlink(request: HttpRequest) -> None:
    with transaction.atomic():
        rows = SocialAccount.objects.select_for_update().filter(user=request.user)
        gone = [{"linked": settings.OIDC_NAME, "subject": row.uid} for row in rows]
        SocialAccount.objects.filter(user=request.user).delete()
        for before in gone:
            audit.record("user.oidc", actor=request.user, obj=request.user, before=before, source=source(request))
