"""Sign-ins are entries of the log."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver

from jails import audit


def address_of(request: Any) -> str:
    return request.META.get("REMOTE_ADDR", "") if request is not None else ""


@receiver(user_logged_in)
def signed_in(request: Any, user: Any, **kwargs: Any) -> None:
    with transaction.atomic():
        audit.record("session.sign_in", actor=user, obj=user, source=address_of(request))


@receiver(user_logged_out)
def signed_out(request: Any, user: Any, **kwargs: Any) -> None:
    if user is None:
        return
    with transaction.atomic():
        audit.record("session.sign_out", actor=user, obj=user, source=address_of(request))


@receiver(user_login_failed)
def sign_in_failed(credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
    name = str(credentials.get("username") or credentials.get("email") or credentials.get("login") or "")
    with transaction.atomic():
        audit.record("session.sign_in", actor=name[:150], outcome="refused", source=address_of(request))
