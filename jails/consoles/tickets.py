"""One-use tickets for a console: bound to a person, a sign-in, a jail and the page's origin, good for half a minute."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from jails import audit, policy
from jails.consoles import sessions
from jails.freebsd import names
from jails.models import Console, ConsoleTicket, Jail, User

LIFETIME = timedelta(seconds=30)
KEPT = timedelta(days=1)


class Refused(Exception):
    """Why no console is opened, in words for whoever asked."""


@dataclass(frozen=True)
class Opening:
    """What a ticket was good for, all of it read as of now."""

    user: User
    session_key: str
    jail: Jail
    login: str
    source: str


def issue(user: User, session_key: str, jail: Jail, *, login: str, origin: str) -> str:
    """A new ticket; ask the policy first (`jail.console`). ValueError for a login that is none."""
    names.require("user", login, names.user_name_error)
    now = timezone.now()
    ConsoleTicket.objects.filter(expires_at__lt=now - KEPT).delete()
    token = secrets.token_urlsafe(32)
    ConsoleTicket.objects.create(
        digest=_digest(token),
        user=user,
        session_key=session_key,
        jail=jail,
        login=login,
        origin=origin,
        expires_at=now + LIFETIME,
    )
    return token


def redeem(token: str, *, session_key: str, origin: str, source: str) -> Opening:
    """Use it up, and ask all of it again. Raises Refused, which is an entry of the log when a person can be named."""
    asking = sessions.owner(session_key)
    with transaction.atomic():
        rows = ConsoleTicket.objects.select_for_update(of=("self",)).select_related(
            "user", "jail__host", "jail__tenant"
        )
        ticket = rows.filter(digest=_digest(token)).first()
        problem = _problem(ticket, asking, session_key, origin)
        if ticket is not None and ticket.used_at is None:
            ticket.used_at = timezone.now()
            ticket.save(update_fields=["used_at"])
        if problem and (ticket is not None or asking is not None):
            _record_refusal(ticket, asking, problem, source)
    if problem or ticket is None or asking is None:
        raise Refused(problem)
    return Opening(asking, session_key, ticket.jail, ticket.login, source)


def _problem(ticket: ConsoleTicket | None, asking: User | None, session_key: str, origin: str) -> str:
    if ticket is None:
        return "There is no such ticket. Open the console again."
    if ticket.used_at is not None:
        return "This ticket has been used. Open the console again."
    if ticket.expires_at < timezone.now():
        return "This ticket has expired. Open the console again."
    if asking is None or asking.pk != ticket.user_id or not constant_time_compare(ticket.session_key, session_key):
        return "This ticket is of another sign-in. Sign in and open the console again."
    if not constant_time_compare(ticket.origin, origin):
        return "This ticket is of a page from elsewhere."
    if not policy.allowed(asking, "jail.console", ticket.jail):
        return "You may not open a console in this jail."
    return ""


def _record_refusal(ticket: ConsoleTicket | None, asking: User | None, problem: str, source: str) -> None:
    about: dict[str, Any] = {"obj": ticket.jail} if ticket is not None else {}
    actor = asking or (ticket.user if ticket is not None else None)
    audit.record("console.open", actor=actor, outcome="refused", detail=problem, source=source, **about)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def ended_rights(openings: list[Opening]) -> list[str]:
    """For each: why it must end now (Console.Ended), or "". So many queries for all, however many there are."""
    if not openings:
        return []
    people = sessions.owners(opening.session_key for opening in openings)
    jails = Jail.objects.in_bulk([opening.jail.pk for opening in openings])
    policy.prepare(people.values(), jails.values())
    return [_ended(opening, people.get(opening.session_key), jails.get(opening.jail.pk)) for opening in openings]


def _ended(opening: Opening, person: User | None, jail: Jail | None) -> str:
    if person is None or person.pk != opening.user.pk:
        return Console.Ended.SESSION.value
    if jail is None or jail.host_id != opening.jail.host_id or jail.name != opening.jail.name:
        return Console.Ended.JAIL.value
    if jail.tenant_id != opening.jail.tenant_id or not policy.allowed(person, "jail.console", jail):
        return Console.Ended.RIGHT.value
    return ""
