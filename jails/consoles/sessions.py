"""Whose session a key is, as of now: signed in, active, and with the password of then."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from jails.models import User
from jails.signals import has_run_out, is_left_alone


def owners(keys: Iterable[str]) -> dict[str, User]:
    """Session key → its person; a session that has ended, or is nobody's, is not there. Two queries for all."""
    rows = Session.objects.filter(session_key__in=set(keys), expire_date__gt=timezone.now())
    sessions = {row.session_key: row.get_decoded() for row in rows}
    ids = {key: str(data.get(SESSION_KEY, "")) for key, data in sessions.items()}
    people = User.objects.in_bulk([int(pk) for pk in ids.values() if pk.isdigit()])
    found = {}
    for key, data in sessions.items():
        person = people.get(int(ids[key])) if ids[key].isdigit() else None
        if person is not None and person.is_active and _is_current(person, data):
            found[key] = person
    return found


def owner(key: str) -> User | None:
    return owners([key]).get(key) if key else None


def _is_current(person: User, data: dict[str, object]) -> bool:
    """As django.contrib.auth.get_user and panel.middleware ask it: not too old, used, our backend, the password the
    same."""
    if has_run_out(data) or is_left_alone(data, person):
        return False
    if data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    kept = str(data.get(HASH_SESSION_KEY, ""))
    known = (person.get_session_auth_hash(), *person.get_session_auth_fallback_hash())
    return any(constant_time_compare(kept, one) for one in known)
