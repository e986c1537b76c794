"""A week of the log in a page of plain text: what its reader would want to know without looking.

It counts what its reader may see, and nothing else: those who see the whole log get the state of the chain and of the
reviews too, the owners and managers of a tenant get their tenant's week.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from jails import audit, policy, review
from jails.mailing import confirmed_addresses, is_sent
from jails.models import AuditEntry, AuditReview, BreakGlass, Membership, User

WEEK = timedelta(days=7)
MOST = 25
"""Lines of one list; the rest is counted."""
ROLES = (Membership.Role.OWNER, Membership.Role.MANAGER)
CHECKED = 500
"""Entries at the end of the chain that are checked for it. `audit_verify` checks all."""
AT_ONCE = 50
"""Mails of one run; the next one goes on."""


def week_of(day: date) -> date:
    """The Monday of the week that has the day, in UTC as all of the log."""
    return day - timedelta(days=day.weekday())


def last_week() -> date:
    """The Monday of the last week that is over."""
    return week_of(timezone.now().astimezone(UTC).date()) - WEEK


def may_have(user: User) -> bool:
    """Whether there is a log that this person is told about."""
    return policy.allowed(user, "audit.view") or bool(_led(user))


def _led(user: User) -> list[int]:
    """The tenants of which this person is told."""
    return [tenant for tenant, role in policy.tenant_roles(user).items() if role in ROLES]


def _told(user: User, model: type[AuditEntry] | type[BreakGlass]) -> QuerySet[Any]:
    """Rows of a model that this person is told of: all, or those of the tenants they lead."""
    rows = policy.visible(user, model)
    return rows if policy.allowed(user, "audit.view") else rows.filter(tenant_id__in=_led(user))


def text_of(user: User, monday: date) -> str:
    """What the week was, for this person. In ten queries at most."""
    since = datetime.combine(monday, time.min, UTC)
    rows = _told(user, AuditEntry).filter(at__gte=since, at__lt=since + WEEK).order_by()
    parts = [
        f"The log of {settings.URL} from {monday} to {monday + WEEK - timedelta(days=1)} (UTC)",
        *_state(user),
        "",
        *_listed("What was done", rows.filter(outcome="done")),
        *_listed("What did not go through", rows.exclude(outcome="done"), with_outcome=True),
        *_sign_ins(rows),
        *_glasses(user, since),
        f"The whole log: {settings.URL}{reverse('audit')}?since={monday}&until={monday + WEEK - timedelta(days=1)}",
        f"You asked for this on {settings.URL}{reverse('account')}.",
    ]
    return "\n".join(parts) + "\n"


def _state(user: User) -> Iterable[str]:
    if not policy.allowed(user, "audit.view"):
        return
    verdict = audit.verify(newest=CHECKED)
    yield (
        f"Chain: the last {verdict.checked} of {verdict.last} entries hold."
        if verdict.ok
        else f"Chain: BROKEN. {verdict.problem}. Run manage.py audit_verify."
    )
    waiting = AuditReview.objects.exclude(state=AuditReview.State.DONE).order_by("at")
    oldest = waiting.values_list("at", flat=True).first()
    since = f", the oldest since {oldest:%Y-%m-%d}" if oldest else ""
    yield f"Reviews that wait: {review.open_count()}{since}. {settings.URL}{reverse('audit-review')}"


def _listed(title: str, rows: QuerySet[AuditEntry], *, with_outcome: bool = False) -> Iterable[str]:
    by = ("action", "outcome") if with_outcome else ("action",)
    counts = list(rows.values_list(*by).annotate(count=Count("pk")).order_by("-count", *by))
    yield f"{title}: {sum(row[-1] for row in counts) or 'nothing'}"
    yield from (f"  {row[-1]:>6}  {_done(*row[:-1])}" for row in counts[:MOST])
    if more := counts[MOST:]:
        yield f"  {sum(row[-1] for row in more):>6}  of {len(more)} more kinds"
    yield ""


def _done(action: str, outcome: str = "") -> str:
    """`session.sign_in (signed in)`: the action, by which the log can be filtered, and in words."""
    from panel import words

    if not outcome:
        said = words.DID.get(action, "")
    else:
        said = f"{words.WANTED} {words.TO_DO[action]}" if outcome == "refused" and action in words.TO_DO else ""
    parts = (action, OUTCOMES.get(outcome, outcome), f"({said})" if said else "")
    return " ".join(part for part in parts if part)


OUTCOMES = {"stale": "as the host had changed", "stuck": "and needs attention"}
"""How something ended, where its name in the log does not say it."""


def _sign_ins(rows: QuerySet[AuditEntry]) -> Iterable[str]:
    failed = rows.filter(action__in=("session.sign_in", "session.lockout"), outcome="refused")
    counts = list(failed.values_list("actor", "source").annotate(count=Count("pk")).order_by("-count", "actor"))
    if not counts:
        return
    yield f"Failed sign-ins: {sum(count for *_, count in counts)}"
    yield from (
        f"  {count:>6}  {_line(actor) or 'nobody'} from {source or '?'}" for actor, source, count in counts[:MOST]
    )
    if len(counts) > MOST:
        yield f"          and {len(counts) - MOST} more"
    yield ""


def _glasses(user: User, since: datetime) -> Iterable[str]:
    opened = _told(user, BreakGlass).filter(opened_at__gte=since, opened_at__lt=since + WEEK)
    found = list(opened.select_related("user", "tenant").order_by("pk")[: MOST + 1])
    if not found:
        return
    yield "Break-glass:"
    for row in found[:MOST]:
        yield f"  {row.opened_at:%a %H:%M}  {row.user} in {row.jail_name} of {row.tenant}: {_line(row.reason)}"
    if len(found) > MOST:
        yield "  and more"
    yield ""


def _line(text: str) -> str:
    """Text of others, on one line whatever it holds."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def send_due() -> int:
    """Send last week's to everybody who wants it, may have it and has not had it. How many were sent."""
    if not settings.MAIL_SENDS:
        return 0
    monday = last_week()
    people = User.objects.filter(wants_summary=True, is_active=True)
    due = people.filter(Q(summary_sent_for=None) | Q(summary_sent_for__lt=monday)).order_by("pk")
    return sum(_send(person, monday) for person in due[:AT_ONCE])


def _send(person: User, monday: date) -> bool:
    """Claimed first: of two workers one sends, and one that dies meanwhile has sent none rather than two."""
    had = person.summary_sent_for
    mine = User.objects.filter(pk=person.pk, summary_sent_for=had).update(summary_sent_for=monday)
    to = confirmed_addresses([person.pk])
    if not mine or not to or not may_have(person):
        return False
    message = EmailMessage(f"[Cellblock] The week from {monday}", text_of(person, monday), to=to)
    if not is_sent(message, f"the summary for {person}"):
        User.objects.filter(pk=person.pk).update(summary_sent_for=had)
        return False
    return True
