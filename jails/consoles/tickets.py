"""One-use tickets for a console, or for following a log: bound to a person, a sign-in, a jail and the page's origin,
good for half a minute."""

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
from jails.freebsd import logs, names
from jails.models import Console, ConsoleTicket, Jail, User

LIFETIME = timedelta(seconds=30)
KEPT = timedelta(days=1)


CONSOLE, FOLLOW = "jail.console", "inside.read"
"""What policy.py is asked for, by what a ticket is for."""
_WORDS = {
    CONSOLE: ("Open the console again.", "You may not open a console in this jail."),
    FOLLOW: ("Load the page again.", "You may not read the logs of this jail."),
}


class Refused(Exception):
    """Why nothing is opened, in words for whoever asked."""


@dataclass(frozen=True)
class Opening:
    """What a ticket was good for, all of it read as of now. `log`: the file to follow; "" for a console."""

    user: User
    session_key: str
    jail: Jail
    login: str
    source: str
    log: str = ""

    @property
    def action(self) -> str:
        return FOLLOW if self.log else CONSOLE


def issue(user: User, session_key: str, jail: Jail, *, origin: str, login: str = "root", log: str = "") -> str:
    """A new ticket, for a console or for that log; ask the policy first. ValueError for a login or log that is none."""
    names.require("user", login, names.user_name_error)
    if log:
        names.require("log", log, logs.follow_error)
    now = timezone.now()
    ConsoleTicket.objects.filter(expires_at__lt=now - KEPT).delete()
    token = secrets.token_urlsafe(32)
    ConsoleTicket.objects.create(
        digest=_digest(token),
        user=user,
        session_key=session_key,
        jail=jail,
        login=login,
        log=log,
        origin=origin,
        expires_at=now + LIFETIME,
    )
    return token


def redeem(token: str, action: str = CONSOLE, *, session_key: str, origin: str, source: str) -> Opening:
    """Use it up for that, and ask all of it again. Raises Refused: an entry of the log when a person can be named."""
    asking = sessions.owner(session_key)
    with transaction.atomic():
        rows = ConsoleTicket.objects.select_for_update(of=("self",)).select_related(
            "user", "jail__host", "jail__tenant"
        )
        ticket = rows.filter(digest=_digest(token)).first()
        problem = _problem(ticket, action, asking, session_key, origin)
        if ticket is not None and ticket.used_at is None:
            ticket.used_at = timezone.now()
            ticket.save(update_fields=["used_at"])
        if problem and (ticket is not None or asking is not None):
            _record_refusal(ticket, action, asking, problem, source)
    if problem or ticket is None or asking is None:
        raise Refused(problem)
    return Opening(asking, session_key, ticket.jail, ticket.login, source, ticket.log)


def _problem(ticket: ConsoleTicket | None, action: str, asking: User | None, session_key: str, origin: str) -> str:
    again, not_allowed = _WORDS[action]
    if ticket is None:
        return f"There is no such ticket. {again}"
    if (FOLLOW if ticket.log else CONSOLE) != action:
        return f"This ticket is for something else. {again}"
    if ticket.used_at is not None:
        return f"This ticket has been used. {again}"
    if ticket.expires_at < timezone.now():
        return f"This ticket has expired. {again}"
    if asking is None or asking.pk != ticket.user_id or not constant_time_compare(ticket.session_key, session_key):
        return f"This ticket is of another sign-in. Sign in and {again[0].lower()}{again[1:]}"
    if not constant_time_compare(ticket.origin, origin):
        return "This ticket is of a page from elsewhere."
    return "" if policy.allowed(asking, action, ticket.jail) else not_allowed


def _record_refusal(ticket: ConsoleTicket | None, action: str, asking: User | None, problem: str, source: str) -> None:
    about: dict[str, Any] = {"obj": ticket.jail} if ticket is not None else {}
    actor = asking or (ticket.user if ticket is not None else None)
    name = "console.open" if action == CONSOLE else action
    audit.record(name, actor=actor, outcome="refused", detail=problem, source=source, **about)


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
    if jail.tenant_id != opening.jail.tenant_id or not policy.allowed(person, opening.action, jail):
        return Console.Ended.RIGHT.value
    return ""
