"""Sign-ins, sign-outs and changes of passwords are entries of the log; what a jail used outlives it."""

import time
from collections.abc import Mapping
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.signals import authentication_step_completed, password_changed, password_set
from allauth.mfa.signals import authentication_failed
from axes.signals import user_locked_out
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from jails import approvals, audit, memberships
from jails.freebsd import names
from jails.models import Jail, User


def address_of(request: Any) -> str:
    return request.META.get("REMOTE_ADDR", "") if request is not None else ""


def _record(action: str, request: Any, **entry: Any) -> None:
    with transaction.atomic():
        audit.record(action, source=address_of(request), **entry)


METHODS = {
    "socialaccount": "account elsewhere",
    "totp": "authenticator app",
    "webauthn": "passkey",
    "recovery_codes": "recovery code",
}
"""What the ways to prove who one is are called in the log."""
SIGNED_IN_AT = "signed_in_at"
"""In the session: seconds since 1970."""


USED_AT = "used_at"
"""In the session: about when its person last did something, in seconds since 1970. What a page asks for by itself,
while nobody touches it, does not count (panel.middleware.ends_in_time)."""


def has_run_out(session: Mapping[str, Any]) -> bool:
    """Whether a sign-in has lasted as long as one may. Cookie and row begin anew whenever something is saved."""
    return time.time() - float(session.get(SIGNED_IN_AT, 0)) >= settings.SESSION_COOKIE_AGE


def is_left_alone(session: Mapping[str, Any], user: Any) -> bool:
    """Whether its person has done nothing for as long as that may be: shorter for who has a role in the panel."""
    idle = time.time() - float(session.get(USED_AT, time.time()))
    if idle < min(settings.SESSION_IDLE_SECONDS or idle + 1, settings.STAFF_IDLE_SECONDS or idle + 1):
        return False
    limit = settings.STAFF_IDLE_SECONDS if getattr(user, "role", "") else settings.SESSION_IDLE_SECONDS
    return bool(limit) and idle >= limit


@receiver(user_logged_in)
def signed_in(request: Any, user: Any, **kwargs: Any) -> None:
    ways = [_way(**record) for record in get_authentication_records(request, user)]
    request.session[SIGNED_IN_AT] = request.session[USED_AT] = time.time()
    _record("session.sign_in", request, actor=user, obj=user, after={"by": ways} if ways else None)
    if user.factors_forgotten_at:
        _tell_of_forgotten_factors(request, user)


def _way(method: str = "", type: str = "", **others: Any) -> str:
    """`password`, `link`, `authenticator app`."""
    return METHODS.get(type or method, method)


def _tell_of_forgotten_factors(request: Any, user: Any) -> None:
    when = user.factors_forgotten_at.strftime("%Y-%m-%d %H:%M UTC")
    text = f"Your second factors were removed by an administrator ({when}). If you did not ask for that, tell them."
    messages.warning(request, text, fail_silently=True)
    user.factors_forgotten_at = None
    user.save(update_fields=["factors_forgotten_at"])


@receiver(memberships.ended)
def membership_ended(membership: Any, actor: Any, source: str = "", **kwargs: Any) -> None:
    """What was approved for somebody as a member is not for somebody who is none."""
    approvals.withdraw_all(membership.tenant, membership.user, actor=actor, source=source)


@receiver(user_logged_out)
def signed_out(request: Any, user: Any, **kwargs: Any) -> None:
    if user is not None:
        _record("session.sign_out", request, actor=user, obj=user, detail=getattr(request, "why_ended", ""))


@receiver(user_login_failed)
def sign_in_failed(credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
    typed = _typed(credentials)
    person = User.objects.filter(username=typed).first()
    # Who is signed in and fails is asked once more who they are.
    is_step_up = request is not None and getattr(request, "user", None) is not None and request.user.is_authenticated
    action = "session.step_up" if is_step_up else "session.sign_in"
    detail = credentials.get("factor", "")
    _record(action, request, actor=_shown(typed, person), obj=person, outcome="refused", detail=detail)


@receiver(authentication_failed)
def factor_failed(request: Any, user: Any, authenticator: Any, **kwargs: Any) -> None:
    """Counts like a wrong password: axes locks out after some, and `sign_in_failed` writes it down."""
    credentials = {"username": user.username, "factor": METHODS[authenticator.type]}
    user_login_failed.send(sender=__name__, credentials=credentials, request=request)


@receiver(authentication_step_completed)
def stepped_up(request: Any, user: Any, method: str, reauthenticated: bool = False, **others: Any) -> None:
    if reauthenticated:
        _record("session.step_up", request, actor=user, obj=user, after={"by": [_way(method, others.get("type", ""))]})


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


@receiver(pre_delete, sender=Jail)
def jail_goes(instance: Jail, **kwargs: Any) -> None:
    from jails import usage

    usage.close(instance)
