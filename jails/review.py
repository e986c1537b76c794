"""What in the log somebody should look at: rules as data, the queue they fill, and signing off.

A rule is a condition that the database answers for entries of the log. `catch_up` asks the rules about what is new; the
log's numbers have no gaps and appear in their order, so one number says how far it has read. The gravest need two
people. Nobody signs off what they did themselves (jails.policy).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, DateTimeField, ExpressionWrapper, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, ExtractHour, ExtractIsoWeekDay, ExtractMinute
from django.utils import timezone

from jails import audit
from jails.models import AuditEntry, AuditHead, AuditReview, ReviewMark, User
from jails.prepared import Prepared

BATCH = 1000
"""Entries that are looked at in one transaction."""
BATCHES = 100
"""In one go; the next one goes on from there."""
MANY = 3
WITHIN = timedelta(minutes=10)
"""So many jails destroyed by one person in that time are reviewed."""
LONGEST_COMMENT = 1000

Rows = QuerySet[AuditEntry]
State = AuditReview.State


@dataclass(frozen=True)
class Rule:
    """`find` narrows entries to those it is about. `covers`: rules that need not name the same entry again."""

    key: str
    name: str
    find: Callable[[Rows], Rows]
    grave: bool = False
    covers: tuple[str, ...] = ()


def _where(*conditions: Q, **fields: Any) -> Callable[[Rows], Rows]:
    return lambda rows: rows.filter(*conditions, **fields)


SIGN_IN = ("session.sign_in", "session.lockout", "session.step_up")
RIGHTS = (
    "user.invite",
    "user.change",
    "user.disable",
    "user.enable",
    "user.link",
    "user.factors",
    "tenant.add",
    "tenant.invite",
    "tenant.archive",
    "tenant.member_change",
    "tenant.member_remove",
    "agreement.set",
    "agreement.accept",
)


def _grants_administrator(rows: Rows) -> Rows:
    granted = rows.filter(outcome="done", after__role="administrator")
    granted = granted.filter(action__in=("user.change", "user.enable", "user.invite", "invitation.use"))
    # Who was one before, and could sign in, is given nothing.
    return granted.exclude(pk__in=granted.filter(before__role="administrator", before__active=True).values("pk"))


def _many_destroyed(rows: Rows) -> Rows:
    """The third within ten minutes, and each one after it."""
    since = ExpressionWrapper(OuterRef("at") - WITHIN, output_field=DateTimeField())
    same = AuditEntry.objects.filter(action="jail.destroy", outcome="done", sequence__lte=OuterRef("sequence"))
    same = same.filter(actor_id=OuterRef("actor_id"), at__gt=since).order_by().values("actor_id")
    count = Subquery(same.annotate(number=Count("pk")).values("number"), output_field=IntegerField())
    destroyed = rows.filter(action="jail.destroy", outcome="done", actor_id__isnull=False)
    return destroyed.annotate(lately=Coalesce(count, 0)).filter(lately__gte=MANY)


def _out_of_hours(rows: Rows) -> Rows:
    """What people with a role in the panel did themselves. Tenants work when they like, and workers always."""
    spans, zone = settings.AUDIT_WORKING_HOURS, settings.AUDIT_TIME_ZONE
    if not spans:
        return rows.none()
    within = Q(pk__in=[])
    for span in spans:
        within |= Q(day__range=(span.first, span.last), minute__gte=span.begin, minute__lt=span.end)
    staff = rows.filter(actor_id__in=User.objects.exclude(role="").values("pk")).exclude(source="worker")
    staff = staff.exclude(action__in=("session.sign_out", "audit.review"))
    minute = ExtractHour("at", tzinfo=zone) * 60 + ExtractMinute("at", tzinfo=zone)
    return staff.annotate(day=ExtractIsoWeekDay("at", tzinfo=zone), minute=minute).filter(~within)


RULES = (
    Rule("broken", "The log does not hold", _where(action="audit.broken"), grave=True),
    Rule("administrator", "Made an administrator", _grants_administrator, grave=True, covers=("rights",)),
    Rule(
        "privileged",
        "Widened a jail",
        _where(action="operation.confirm", outcome="done", after__has_key="widens"),
        grave=True,
    ),
    Rule("breakglass", "Broke the glass", _where(action="jail.breakglass", outcome="done"), grave=True),
    Rule(
        "console",
        "Console into a tenant",
        _where(action__in=("console.open", "console.run"), outcome="done", approval__startswith="break-glass"),
    ),
    Rule("destroyed", "Many jails destroyed", _many_destroyed, grave=True),
    Rule("sign-in", "Failed sign-in", _where(action__in=SIGN_IN, outcome="refused")),
    Rule("refused", "Refused", lambda rows: rows.filter(outcome="refused").exclude(action__in=SIGN_IN)),
    Rule("rights", "Changed who may do what", _where(action__in=RIGHTS, outcome="done")),
    Rule(
        "drift",
        "Changed by hand, or repaired",
        _where(Q(action="jail.drift") | Q(action__in=("jail.repair", "jail.accept"), outcome="done")),
    ),
    Rule("hours", "Out of hours", _out_of_hours),
)
NAMES = {rule.key: rule.name for rule in RULES}


def catch_up(batches: int = BATCHES) -> int:
    """Ask the rules about the entries that are new. How many came into the queue.

    Two at once wait for each other, batch by batch; what was begun and not committed is begun again.
    """
    added = 0
    for _ in range(batches):
        found = _next_batch()
        if found is None:
            break
        added += found
    return added


@transaction.atomic
def _next_batch() -> int | None:
    """None when there was nothing left."""
    ReviewMark.objects.get_or_create(pk=1)
    mark = ReviewMark.objects.select_for_update().get(pk=1)
    head = AuditHead.objects.filter(pk=1).values_list("sequence", flat=True).first() or 0
    if mark.sequence >= head:
        return None
    last = min(head, mark.sequence + BATCH)
    rows = AuditEntry.objects.filter(sequence__gt=mark.sequence, sequence__lte=last)
    reviews = _reviews_of(rows)
    AuditReview.objects.bulk_create(reviews, batch_size=500, ignore_conflicts=True)
    mark.sequence = last
    mark.save(update_fields=["sequence"])
    return len(reviews)


def _reviews_of(rows: Rows) -> list[AuditReview]:
    found: dict[tuple[int, str], AuditReview] = {}
    covered: set[tuple[int, str]] = set()
    for rule in RULES:
        wanted = rule.find(rows).order_by("sequence").values("sequence", "at", "actor_id", "actor", "tenant_id")
        for values in wanted:
            found[values["sequence"], rule.key] = AuditReview(rule=rule.key, grave=rule.grave, **values)
            covered |= {(values["sequence"], other) for other in rule.covers}
    return [review for key, review in sorted(found.items()) if key not in covered]


class CannotSign(Exception):
    """The message says which entry cannot be signed off now, and why: nothing was."""


def sign_off(reviews: Sequence[AuditReview], comment: str, *, user: User, source: str = "") -> None:
    """All of them or none, each with its entry of the log. Raises CannotSign.

    Ask the policy first (`audit.review`); what it says is asked again of the rows as they are then.
    """
    from jails import policy

    with transaction.atomic():
        pks = sorted({review.pk for review in reviews})
        rows = list(AuditReview.objects.select_for_update(of=("self",)).filter(pk__in=pks).order_by("pk"))
        for row in rows:
            if row.state == State.DONE:
                raise CannotSign(f"{str(row).capitalize()} has been signed off meanwhile: look at the queue again.")
            if not policy.allowed(user, "audit.review", row):
                raise CannotSign(f"{str(row).capitalize()} needs somebody else: {why_not(user, row)}")
            _sign(row, comment, user)
        AuditReview.objects.bulk_update(rows, _SIGNED)
        audit.record_all([_entry_of(row, comment, user, source) for row in rows])


_SIGNED = [
    "state", "first_reviewer", "first_comment", "first_at", "second_reviewer", "second_comment", "second_at",
]  # fmt: skip


def _sign(row: AuditReview, comment: str, user: User) -> None:
    now = timezone.now()
    if row.state == State.SECOND:
        row.second_reviewer, row.second_comment, row.second_at, row.state = user, comment, now, State.DONE
        return
    row.first_reviewer, row.first_comment, row.first_at = user, comment, now
    row.state = State.SECOND if row.grave else State.DONE


def _entry_of(row: AuditReview, comment: str, user: User, source: str) -> AuditEntry:
    after = {"entry": row.sequence, "rule": row.rule, "state": str(row.state)}
    return audit.entry("audit.review", actor=user, obj=row, after=after, detail=comment, source=source)


def why_not(user: User, review: AuditReview) -> str:
    """What keeps this reader of the queue from signing it off: a sentence, or ""."""
    if review.state == State.DONE:
        return ""
    if is_own(user, review):
        return "you did it yourself."
    return "you have signed it already, and it needs two." if has_signed(user, review) else ""


def is_own(user: User, review: AuditReview) -> bool:
    """By id, or by name where the entry is about somebody who was not signed in."""
    return review.actor_id == user.pk or (review.actor_id is None and review.actor == user.username)


def has_signed(user: User, review: AuditReview) -> bool:
    return review.first_at is not None and review.first_reviewer_id == user.pk


def counts(**narrowed: Any) -> dict[str, int]:
    """State → how many are in it. One query."""
    rows = AuditReview.objects.filter(**narrowed).order_by().values("state").annotate(number=Count("pk"))
    return dict.fromkeys(State.values, 0) | {row["state"]: row["number"] for row in rows}


def open_count() -> int:
    """How many wait for anybody, the first or the second."""
    return sum(number for _, number in _open_ones())


@Prepared
def _open_ones() -> QuerySet[Any]:
    rows = AuditReview.objects.filter(state__in=(State.OPEN, State.SECOND)).order_by()
    return rows.values_list("state").annotate(number=Count("pk"))


def counts_by_rule(since: Any) -> dict[str, int]:
    """Name of a rule → how many entries it has found since then. In the order of the rules, those with any."""
    rows = AuditReview.objects.filter(at__gte=since).order_by().values("rule").annotate(number=Count("pk"))
    found = {row["rule"]: row["number"] for row in rows}
    return {rule.name: found[rule.key] for rule in RULES if rule.key in found}
