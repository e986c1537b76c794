"""Mail to people: to addresses that they have confirmed, and never from within a transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from allauth.account.models import EmailAddress
from django.core.mail import EmailMessage
from django.db.models import QuerySet

log = logging.getLogger(__name__)


def confirmed_addresses(people: Iterable[int] | QuerySet[int]) -> list[str]:
    """Where mail for these goes, by their ids: nothing for who has confirmed none."""
    rows = EmailAddress.objects.filter(user__in=people, primary=True, verified=True)
    return sorted(rows.values_list("email", flat=True))


def is_sent(message: EmailMessage, about: str) -> bool:
    """Send it now. False, and a line in the worker's log, when the mail server is away: the caller tries again."""
    try:
        message.send()
    except OSError:  # also what smtplib raises
        log.warning("%s could not be sent, and will be", about, exc_info=True)
        return False
    return True
