"""Sign-ins, sign-outs and changes of passwords are entries of the log."""

from typing import Any

from allauth.account.signals import password_changed, password_set
from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver

from jails import audit
from jails.freebsd import names
from jails.models import User


def address_of(request: Any) -> str:
    return request.META.get("REMOTE_ADDR", "") if request is not None else ""


def _record(action: str, request: Any, **entry: Any) -> None:
    with transaction.atomic():
        audit.record(action, source=address_of(request), **entry)


@receiver(user_logged_in)
def signed_in(request: Any, user: Any, **kwargs: Any) -> None:
    _record("session.sign_in", request, actor=user, obj=user)


@receiver(user_logged_out)
def signed_out(request: Any, user: Any, **kwargs: Any) -> None:
    if user is not None:
        _record("session.sign_out", request, actor=user, obj=user)


@receiver(user_login_failed)
def sign_in_failed(credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
    typed = _typed(credentials)
    person = User.objects.filter(username=typed).first()
    _record("session.sign_in", request, actor=_shown(typed, person), obj=person, outcome="refused")


@receiver(user_locked_out)
def locked_out(request: Any, username: str | None, **kwargs: Any) -> None:
    """axes says so at every try during a lockout; the log has its beginning, and each try as a failed sign-in."""
    if request.axes_failures_since_start != settings.AXES_FAILURE_LIMIT:
        return
    typed = _typed({"username": username})
    person = User.objects.filter(username=typed).first()
    detail = f"{settings.AXES_FAILURE_LIMIT} failures from this address"
    actor = _shown(typed, person)
    _record("session.lockout", request, actor=actor, obj=person, outcome="refused", detail=detail)


@receiver([password_changed, password_set])
def changed_password(request: Any, user: Any, **kwargs: Any) -> None:
    _record("user.password", request, actor=user, obj=user)


def _typed(credentials: dict[str, Any]) -> str:
    return str(credentials.get("username") or "").replace("\0", "")


def _shown(typed: str, person: User | None) -> str:
    """What was typed as a user name. What cannot be one may be a password typed in the wrong field."""
    return typed if person or names.user_name_error(typed) is None else "(no user name)"
