"""Approvals: one side may do what the operating agreement gives to the other, once it was asked and has said yes.

Asked at a plan, for that plan alone or for its kind of work on one jail and for a time. Who confirms needs one that is
granted and has not ended, and the worker that begins asks again: taken back or ended meanwhile, nothing runs. One for a
plan is used once, which its row decides: of two at once one wins. Break-glass (jails.breakglass) stands for the
tenant's approval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from jails import agreements, audit, breakglass, policy
from jails.models import Approval, Jail, Operation, Side, Tenant, User, Work
from jails.operations import kind as kinds

State = Approval.State
WAITING = (Operation.Status.DRAFT, Operation.Status.STALE)
"""Of operations that somebody may still confirm."""


class CannotApprove(Exception):
    """The message says why it cannot be asked, granted or taken back: nothing was changed."""


@dataclass(frozen=True)
class Lack:
    """What of an operation is the other side's. No jails: nothing is."""

    work: Work | None = None
    side: Side | None = None
    jails: tuple[Jail, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.jails)

    @property
    def names(self) -> str:
        return ", ".join(jail.name for jail in self.jails)

    @property
    def tenants(self) -> list[Tenant]:
        return sorted({jail.tenant for jail in self.jails if jail.tenant}, key=lambda tenant: tenant.slug)

    @property
    def whose(self) -> str:
        """Whom to ask, in a sentence."""
        return "the host" if self.side == Side.HOST else " and ".join(tenant.name for tenant in self.tenants)


@dataclass
class Cover:
    """What covers it: approvals, break-glasses by their ids, and the jails for which there is nothing."""

    approvals: list[Approval] = field(default_factory=list)
    glasses: list[int] = field(default_factory=list)
    missing: list[Jail] = field(default_factory=list)

    @property
    def words(self) -> str:
        named = [f"{row} of {row.decided_by}" for row in self.approvals]
        return ", ".join([*named, *(f"break-glass {pk}" for pk in self.glasses)])[:200]

    @property
    def on_behalf_of(self) -> str:
        return ", ".join(sorted({str(row.decided_by) for row in self.approvals}))[:150]


def lack(user: User, operation: Operation) -> Lack:
    """What of it is the other side's than this person's, by what is agreed as of now. LookupError as the kind's."""
    work = agreements.KINDS.get(operation.kind)
    if work is None or operation.host is None:
        return Lack()
    jails = [
        jail
        for jail in kinds.get(operation.kind).jails(operation.host, operation.parameters)
        if jail.tenant_id is not None
    ]
    terms = agreements.terms_of(jails) if jails else {}
    sides = {jail: terms[jail.pk][work] for jail in jails}
    theirs = [jail for jail, side in sides.items() if side != Side.EITHER and not policy.works_for(user, side, jail)]
    # Who works for the host does so for all of its jails, so that one side is asked at most.
    return Lack(work, sides[theirs[0]], tuple(theirs)) if theirs else Lack()


def cover(user: User, operation: Operation, digest: str, lacks: Lack, rows: QuerySet[Approval]) -> Cover:
    """What of `rows` covers its plan of that digest, or a break-glass. Two queries at most."""
    if not lacks:
        return Cover()
    pks = [jail.pk for jail in lacks.jails]
    fits = Q(operation=operation, digest=digest) | Q(operation=None, jail__in=pks)
    rows = rows.filter(fits, state=State.GRANTED, expires_at__gt=timezone.now())
    rows = rows.filter(asked_by=user, side=lacks.side, work=lacks.work).order_by("pk")
    granted = list(rows.select_related("decided_by"))
    may_break = lacks.side == Side.TENANT and policy.is_administrator(user)
    glasses = breakglass.open_jails(user, lacks.jails) if may_break else {}
    found = Cover()
    for jail in lacks.jails:
        row = next((row for row in granted if _is_for(row, jail)), None)
        if row is None and jail.pk not in glasses:
            found.missing.append(jail)
        elif row is None:
            found.glasses.append(glasses[jail.pk])
        elif row not in found.approvals:
            found.approvals.append(row)
    return found


def _is_for(row: Approval, jail: Jail) -> bool:
    return row.tenant_id == jail.tenant_id and (row.operation_id is not None or row.jail_id == jail.pk)


def why_not(lacks: Lack, covered: Cover) -> str:
    """Why nobody may run it yet: a sentence, or "" where nothing is missing."""
    if not covered.missing:
        return ""
    names = ", ".join(jail.name for jail in covered.missing)
    assert lacks.work is not None
    return f"{lacks.work.label} of {names} are the work of {lacks.whose} by the operating agreement: ask for approval."


# What confirms and what begins


def use(user: User | None, operation: Operation) -> str:
    """In the transaction that confirms it, its row locked: why not, or "" when it may and what covers it is noted.

    None is the panel itself, which does nobody's work: the policy has said that it may.
    """
    if user is None:
        return ""
    try:
        lacks = lack(user, operation)
    except LookupError as error:
        return f"What it is about is gone: {error}."
    unused = Approval.objects.select_for_update(of=("self",)).filter(used_at=None)
    covered = cover(user, operation, operation.digest, lacks, unused)
    why = why_not(lacks, covered)
    if why:
        return why
    once = [row.pk for row in covered.approvals if row.operation_id is not None]
    Approval.objects.filter(pk__in=once).update(used_at=timezone.now())
    operation.approvals.set(covered.approvals)
    operation.approved_by, operation.on_behalf_of = covered.words, covered.on_behalf_of
    return ""


def why_not_begin(operation: Operation) -> str:
    """Asked by the worker: whether what it was confirmed by still holds, and is all that is needed as of now."""
    user = operation.confirmed_by
    if user is None:
        return ""
    try:
        lacks = lack(user, operation)
    except LookupError as error:
        return f"What it is about is gone: {error}."
    covered = cover(user, operation, operation.confirmed_digest, lacks, operation.approvals.all())
    if covered.missing and operation.approved_by:
        return f"What it was approved by ({operation.approved_by}) has ended or was taken back."
    return why_not(lacks, covered)


# Asking and answering


def ask(
    operation: Operation, reason: str, *, user: User, lasts: timedelta | None = None, source: str = ""
) -> list[Approval]:
    """Ask the other side: for this plan, or for its kind of work on each of its jails for so long.

    Ask the policy first, as for confirming. Raises CannotApprove.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise CannotApprove("Say why: who is asked needs it to decide.")
    if lasts is not None and not timedelta(0) < lasts <= Approval.LONGEST:
        raise CannotApprove("For more than nothing, and for 7 days at most.")
    try:
        lacks = lack(user, operation)
    except LookupError as error:
        raise CannotApprove(f"What it is about is gone: {error}.") from error
    if not lacks:
        raise CannotApprove("Nobody needs to be asked for it any more: look at the plan again.")
    if len(lacks.tenants) > 1 or operation.tenant_id is None:
        raise CannotApprove("It is about jails of several owners: plan it for each of them, then ask.")
    try:
        with transaction.atomic():
            return _ask(operation, lacks, reason, lasts, user, source)
    except IntegrityError as error:
        raise CannotApprove("It has just been asked for: look at the plan again.") from error


def _ask(
    operation: Operation, lacks: Lack, reason: str, lasts: timedelta | None, user: User, source: str
) -> list[Approval]:
    row = Operation.objects.select_for_update(of=("self",)).get(pk=operation.pk)
    if row.status not in WAITING:
        raise CannotApprove("It is no plan any more that somebody could confirm.")
    if row.digest != operation.digest:
        raise CannotApprove("The plan has just changed: read the new one first.")
    covered = cover(user, row, row.digest, lacks, Approval.objects.filter(used_at=None))
    if not covered.missing:
        raise CannotApprove("It is approved already.")
    common = {
        "tenant": lacks.tenants[0],
        "host": operation.host,
        "work": lacks.work,
        "side": lacks.side,
        "asked_by": user,
        "reason": reason,
        "expires_at": timezone.now() + Approval.ANSWERED_WITHIN,
    }
    if lasts is None:
        # One that nobody answered in time does not stand in the way of asking again.
        past = Approval.objects.filter(operation=row, asked_by=user, state=State.ASKED, expires_at__lte=timezone.now())
        past.update(state=State.WITHDRAWN)
        about = {"operation": operation, "digest": row.digest, "subject": row.title, "lasts": Approval.ONCE}
        made = [Approval.objects.create(**common, **about)]
    else:
        made = [
            Approval.objects.create(**common, jail=jail, subject=jail.name, lasts=lasts)
            for jail in covered.missing
            if not open_for(jail, user, lacks)
        ]
    if not made:
        raise CannotApprove("It has been asked for already, and waits for an answer.")
    audit.record_all(
        [
            _entry("approval.ask", one, user, source, after=_asked(one), detail=reason, plan_digest=one.digest)
            for one in made
        ]
    )
    return made


def open_for(jail: Jail, user: User, lacks: Lack) -> bool:
    """Whether this person waits for an answer about that work on the jail already."""
    rows = Approval.objects.filter(jail=jail, asked_by=user, work=lacks.work, side=lacks.side, state=State.ASKED)
    return rows.filter(expires_at__gt=timezone.now()).exists()


def _asked(row: Approval) -> dict[str, Any]:
    return {"approval": row.pk, "work": row.work, "of": row.side, "for": _span(row)}


def _span(row: Approval) -> str:
    if row.operation_id is not None:
        return "this plan"
    hours = int(row.lasts.total_seconds()) // 3600
    return f"{hours} h"


def grant(question: Approval, *, user: User, comment: str = "", source: str = "") -> None:
    """Ask the policy first (`approval.decide`). Raises CannotApprove when it is not open any more."""
    with transaction.atomic():
        row = _open(question)
        row.expires_at = timezone.now() + row.lasts
        _decide(row, State.GRANTED, "approval.grant", user, comment, source)


def refuse(question: Approval, *, user: User, comment: str = "", source: str = "") -> None:
    with transaction.atomic():
        _decide(_open(question), State.REFUSED, "approval.refuse", user, comment, source)


def withdraw(row: Approval, *, user: User, source: str = "") -> None:
    """A question by who asked it, an approval also by the side that gave it; what has not begun then does not."""
    with transaction.atomic():
        row = _locked(row)
        if row.state not in (State.ASKED, State.GRANTED) or row.is_expired:
            raise CannotApprove("It is not open any more: look at it again.")
        _decide(row, State.WITHDRAWN, "approval.withdraw", user, row.comment, source)


def withdraw_all(tenant: Tenant, person: User, *, actor: User, source: str = "") -> int:
    """Of who is no longer in the team: what they asked as a member, answered or not. In the caller's transaction."""
    rows = Approval.objects.select_for_update(of=("self",)).select_related("operation", "tenant", "jail", "asked_by")
    rows = rows.filter(tenant=tenant, asked_by=person, side=Side.HOST, state__in=(State.ASKED, State.GRANTED))
    found = list(rows.filter(expires_at__gt=timezone.now()).order_by("pk"))
    for row in found:
        _decide(row, State.WITHDRAWN, "approval.withdraw", actor, row.comment, source)
    return len(found)


def _open(question: Approval) -> Approval:
    row = _locked(question)
    if row.status != State.ASKED:
        raise CannotApprove("It is not open any more: look at it again.")
    if row.operation is not None and (row.operation.status not in WAITING or row.operation.digest != row.digest):
        raise CannotApprove("The plan that was asked for is not the one that would run any more.")
    return row


def _locked(row: Approval) -> Approval:
    rows = Approval.objects.select_for_update(of=("self",))
    return rows.select_related("operation", "tenant", "jail").get(pk=row.pk)


def _decide(row: Approval, state: str, action: str, user: User, comment: str, source: str) -> None:
    row.state, row.decided_by, row.decided_at, row.comment = state, user, timezone.now(), comment
    row.save()
    after = {"approval": row.pk, "asked by": row.asked_by.username, "for": _span(row)}
    fields = {"after": after, "detail": comment, "plan_digest": row.digest}
    audit.record_all([_entry(action, row, user, source, **fields)])


def _entry(action: str, row: Approval, user: User, source: str, **fields: Any) -> Any:
    made = audit.entry(action, actor=user, obj=row.jail or row, tenant=row.tenant, source=source, **fields)
    made.operation = str(row.operation_id) if row.operation_id else ""
    made.object_name = row.subject
    return made


# For pages


def waiting(rows: QuerySet[Approval], now: datetime | None = None) -> QuerySet[Approval]:
    """Questions that can still be answered: those about a plan while that plan is the one that would run."""
    gone = Q(operation__isnull=False) & ~Q(operation__status__in=WAITING)
    return rows.filter(state=State.ASKED, expires_at__gt=now or timezone.now()).exclude(gone)


def to_answer(user: User, rows: Iterable[Approval]) -> list[Approval]:
    return [row for row in rows if policy.allowed(user, "approval.decide", row)]


def keeps_draft(operations: QuerySet[Operation]) -> QuerySet[Operation]:
    """Operations without those plans that somebody has asked about and that may still be approved or run."""
    open_ones = Approval.objects.filter(operation=OuterRef("pk"), state__in=(State.ASKED, State.GRANTED))
    return operations.exclude(Exists(open_ones.filter(expires_at__gt=timezone.now(), used_at=None)))
