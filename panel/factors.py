"""Second factors: who has which, who must have one, and how what they rest on is kept."""

from __future__ import annotations

import base64
from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from jails import audit, policy
from jails.models import User
from panel import accounts

USE = b"cellblock second factors 1"
"""What the key derived from the panel's secret is for: for any other use another key comes out."""
MAIN = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
"""What one signs in with. Recovery codes stand in for one of these and are none alone."""


class MFAAdapter(DefaultMFAAdapter):
    """Seeds of apps and recovery codes are encrypted in the database; passkeys are public keys."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "This is not the code of now. Each code works once.",
        "cannot_generate_recovery_codes": "Recovery codes stand in for an app or a passkey: add one of these first.",
    }

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises InvalidToken where it was encrypted with another secret of the panel."""
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def get_totp_label(self, user: Any) -> str:
        return str(user.username)

    def generate_authenticator_name(self, user: Any, type: Any) -> str:
        return f"Passkey {Authenticator.objects.filter(user=user, type=type).count() + 1}"


def _cipher() -> MultiFernet:
    """Encrypts with the secret of now, and reads what older ones encrypted that are still named."""
    return MultiFernet([Fernet(_key(secret)) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _key(secret: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=USE).derive(secret.encode())
    return base64.urlsafe_b64encode(derived)


def encrypt_anew() -> tuple[int, int]:
    """Encrypt with the secret of now all that an older one encrypted. How many rows, and how many none can read."""
    count, unreadable, cipher = 0, 0, _cipher()
    with transaction.atomic():
        for row in Authenticator.objects.select_for_update().exclude(type=Authenticator.Type.WEBAUTHN):
            name = "secret" if row.type == Authenticator.Type.TOTP else "seed"
            try:
                row.data[name] = cipher.rotate(row.data[name].encode()).decode()
            except InvalidToken:
                unreadable += 1
                continue
            row.save(update_fields=["data"])
            count += 1
    return count, unreadable


def has_factor(person: Any) -> bool:
    return Authenticator.objects.filter(user_id=person.pk, type__in=MAIN).exists()


def must_have_factor(person: Any) -> bool:
    """By CELLBLOCK_MFA_REQUIRED_ROLES: roles of the panel, and those in a tenant."""
    required = settings.MFA_REQUIRED_ROLES
    if not required or not person.is_authenticated:
        return False
    return person.role in required or not required.isdisjoint(policy.tenant_roles(person).values())


def factors_of(person: Any) -> dict[str, Any]:
    """As the log has them, without secrets: `{"app": added, "passkeys": [names], "recovery codes": made}`."""
    rows = list(Authenticator.objects.filter(user_id=person.pk).order_by("pk"))
    made = {row.type: row.created_at.isoformat(timespec="seconds") for row in rows}
    return {
        "app": made.get(Authenticator.Type.TOTP, ""),
        "passkeys": [str(row) for row in rows if row.type == Authenticator.Type.WEBAUTHN],
        "recovery codes": made.get(Authenticator.Type.RECOVERY_CODES, ""),
    }


def forget_factors(person: User, *, actor: Any, source: str) -> None:
    """For who lost them: all are removed and all sessions end. The person is told at the next sign-in."""
    with transaction.atomic():
        before = factors_of(person)
        Authenticator.objects.filter(user=person).delete()
        person.factors_forgotten_at = timezone.now()
        person.save(update_fields=["factors_forgotten_at"])
        ended = accounts.end_sessions(person)
        audit.record(
            "user.factors",
            actor=actor,
            obj=person,
            before=before,
            after=factors_of(person) | {"sessions_ended": ended},
            source=source,
        )
