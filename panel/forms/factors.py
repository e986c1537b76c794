"""allauth's forms for second factors, where failures count as failed sign-ins and a code works once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from allauth.core import context
from allauth.mfa import app_settings, signals
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as codes
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from allauth.mfa.webauthn.internal import auth
from axes.handlers.proxy import AxesProxyHandler
from cryptography.fernet import InvalidToken
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q

UNREADABLE = (
    "The panel's secret has changed, so that it cannot check codes of before. Ask for your factors to be forgotten."
)


def refuse_locked_out(user: Any) -> None:
    """As axes does with passwords: the same count, of one name from one address."""
    request = context.request
    if not AxesProxyHandler.is_allowed(request, {"username": user.username}):
        request.axes_locked_out, request.axes_credentials = True, {"username": user.username}
        raise ValidationError("Too many failures.")


def use_code_of_now(app: Authenticator) -> bool:
    """Whether no code of this period was used before. In the database, for all processes and two requests at once."""
    now = time.time()
    period = datetime.fromtimestamp(now - now % app_settings.TOTP_PERIOD, UTC)
    unused = Q(last_used_at__isnull=True) | Q(last_used_at__lt=period)
    return bool(Authenticator.objects.filter(unused, pk=app.pk).update(last_used_at=datetime.fromtimestamp(now, UTC)))


class _Code(forms.Form):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Letters too: a recovery code is typed in the same field as one of an app.
        attributes = {"inputmode": "numeric", "autocomplete": "one-time-code", "spellcheck": "false", "autofocus": True}
        self.fields["code"].widget.attrs = attributes
        self.fields["code"].max_length = 40


class _CheckedCode(_Code):
    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        refuse_locked_out(self.user)
        try:
            code: str = super().clean_code()  # type: ignore[misc]
        except InvalidToken:
            raise ValidationError(UNREADABLE) from None
        if self.authenticator.type == Authenticator.Type.TOTP and not use_code_of_now(self.authenticator):
            raise get_adapter().validation_error("incorrect_code")
        return code


class AuthenticateForm(_CheckedCode, codes.AuthenticateForm):
    pass


class ReauthenticateForm(_CheckedCode, codes.ReauthenticateForm):
    pass


class ActivateTOTPForm(_Code, totp.ActivateTOTPForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code that the app shows now"


MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
"""What the libraries raise for JSON that is no credential; what somebody posts may be anything."""


class LoginWebAuthnForm(webauthn.LoginWebAuthnForm):
    def clean_credential(self) -> Authenticator:
        """Alone it signs in with PIN, fingerprint or face, also where the challenge was made for a second factor."""
        try:
            answer = auth.parse_authentication_response(self.cleaned_data["credential"])
            found: Authenticator = super().clean_credential()
        except MALFORMED:
            raise get_adapter().validation_error("incorrect_code") from None
        if not answer.response.authenticator_data.is_user_verified():
            raise get_adapter().validation_error("incorrect_code")
        return found


class _CheckedPasskey(forms.Form):
    user: Any
    reauthenticated: bool

    def clean_credential(self) -> Authenticator:
        refuse_locked_out(self.user)
        try:
            return super().clean_credential()  # type: ignore[misc, no-any-return]
        except (ValidationError, *MALFORMED):
            _failed(self.user, self.reauthenticated)
            raise ValidationError("This passkey was not accepted. Try again.") from None


class AuthenticateWebAuthnForm(_CheckedPasskey, webauthn.AuthenticateWebAuthnForm):
    pass


class ReauthenticateWebAuthnForm(_CheckedPasskey, webauthn.ReauthenticateWebAuthnForm):
    pass


def _failed(user: Any, reauthenticated: bool) -> None:
    passkey = Authenticator(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": ""})
    signals.authentication_failed.send(
        Authenticator, request=context.request, user=user, authenticator=passkey, reauthentication=reauthenticated
    )


NAME_LIMIT = 60


class AddWebAuthnForm(webauthn.AddWebAuthnForm):
    """A passkey that signs in alone asks for a PIN, a fingerprint or a face; the checkbox is for keys that cannot."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].max_length = NAME_LIMIT
        self.fields["name"].widget.attrs |= {"maxlength": NAME_LIMIT, "autofocus": True}
        self.fields["name"].help_text = "To tell your passkeys apart."
        self.fields["passwordless"].label = "Sign in with it alone, without a password"
        self.fields["passwordless"].help_text = "It then asks for its PIN, a fingerprint or a face each time."
        self.fields["passwordless"].initial = True

    def clean_name(self) -> str:
        return str(super().clean_name())[:NAME_LIMIT].replace("\0", "")

    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()  # type: ignore[no-any-return]
        except MALFORMED:
            raise get_adapter().validation_error("incorrect_code") from None


class EditWebAuthnForm(webauthn.EditWebAuthnForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"] = forms.CharField(max_length=NAME_LIMIT, help_text="To tell your passkeys apart.")
