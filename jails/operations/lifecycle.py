"""What people do with an operation: plan it, confirm it, cancel it, try it again.

Called by views and the API. Nothing here reaches a host: plans are made from the facts of the last refresh, and the
worker makes them again. Refusals are `Refused`, with the field of the form, or PermissionDenied.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from jails import approvals, audit, plans, policy
from jails.hosts.facts import HostFacts, Missing
from jails.models import AuditEntry, Host, HostFactsRecord, Operation, User
from jails.operations import kind, locks, queue
from jails.operations.kind import Kind, Refused
from jails.operations.step import Plan, plan_from_data, to_data

Status = Operation.Status


def draft(
    kind_name: str,
    parameters: Mapping[str, Any],
    *,
    host: Host,
    user: User | None,
    source: str = "",
    retry_of: Operation | None = None,
) -> Operation:
    """A plan for somebody to confirm. Raises Refused, PermissionDenied, or LookupError for an unknown kind.

    user: None where the panel itself asks for it.
    """
    wanted = kind.get(kind_name)
    cleaned = wanted.clean(parameters)
    try:
        tenant = wanted.tenant(host, cleaned)
    except LookupError as error:
        raise Refused(f"What it is about is gone: {error}.") from error
    operation = Operation(
        id=uuid.uuid4(),
        kind=wanted.name,
        parameters=cleaned,
        host=host,
        host_name=host.name,
        tenant=tenant,
        requested_by=user,
        retry_of=retry_of,
    )
    _require(user, operation, "operation.plan", source)
    plan = _plan(operation, wanted)
    jails = wanted.jails(host, cleaned)
    operation.plan, operation.digest = to_data(plan), plan.digest()
    operation.title = plan.title[:300]
    operation.subject = ", ".join(jail.name for jail in jails)[:300]
    with transaction.atomic():
        operation.save(force_insert=True)
        operation.jails.set(jails)
    return operation


def confirm(operation: Operation, digest: str, *, user: User | None, source: str = "") -> Operation:
    """Queue a draft, bound to the plan that was seen. Of two at once one wins, the other is Refused."""
    return _queue(operation, digest, Status.DRAFT, user, source)


def accept_new_plan(operation: Operation, digest: str, *, user: User, source: str = "") -> Operation:
    """Queue an operation whose host had changed, bound to the new plan."""
    return _queue(operation, digest, Status.STALE, user, source)


def _queue(operation: Operation, digest: str, expected: str, user: User | None, source: str) -> Operation:
    with transaction.atomic():
        needless = _made_needless(operation)
        row = _locked(operation)
        if row.status != expected:
            raise Refused(f"It was {row.get_status_display().lower()} already: look at it again.")
        if not digest or digest != row.digest:
            raise Refused("The plan has changed since it was shown: read the new one, then confirm it.")
        if plan_from_data(row.plan).digest() != row.digest:
            raise Refused("Its stored plan is damaged: plan it again.")
        why = policy.why_not_operation(user, row)
        unapproved = "" if why else approvals.use(user, row)
        if not why and not unapproved:
            _reserve(row)
            row.status = Status.QUEUED
            row.confirmed_by, row.confirmed_at, row.confirmed_digest = user, timezone.now(), digest
            row.waiting_for = row.error = ""
            row.cancel_requested_at = row.cancel_requested_by = row.unreachable_since = None
            row.save()
            # So that the log itself tells what only an administrator may allow, also once the operation is gone.
            widens = kind.get(row.kind).widens(row.host, row.parameters) if row.host else []
            after = {"widens": list(widens)} if widens else None
            who = user or audit.PANEL
            ended = [entry for one in needless if (entry := _replace(one, row, user, source)) is not None]
            confirmed = audit.entry(
                "operation.confirm", actor=who, operation=row, plan_digest=digest, source=source, after=after
            )
            audit.record_all([confirmed, *ended])
            transaction.on_commit(lambda: queue.send(row))
        else:
            row.approved_by = row.on_behalf_of = ""  # of an earlier confirmation; nothing covers this one
            audit.record(
                "operation.confirm",
                actor=user or audit.PANEL,
                outcome="refused",
                operation=row,
                plan_digest=digest,
                detail=why or unapproved,
                source=source,
            )
    if why:
        raise PermissionDenied(why)
    if unapproved:
        raise Refused(unapproved)
    return row


def _made_needless(operation: Operation) -> list[Operation]:
    """Those that its kind says it replaces, locked. Before the operation itself is: of several one waits for the other.

    What is of a kind that nobody knows replaces none, and is refused as that.
    """
    with suppress(LookupError):
        return list(kind.get(operation.kind).replaces(operation))
    return []


def _replace(old: Operation, by: Operation, user: User | None, source: str) -> AuditEntry | None:
    """End what waits or went stale, for a newer one is to be done instead. Its entry of the log; None where it has one.

    One that a worker is just looking at ends there, before its first step.
    """
    if old.cancel_requested_at:
        return None
    action = "operation.discard" if old.status == Status.STALE else "operation.cancel"
    words = f"“{by.title}” of {by.confirmed_at:%Y-%m-%d %H:%M} UTC ({by.short_id}) has replaced it."
    old.error = f"{words} Nothing of it was done."
    if old.status == Status.STALE:
        old.status, old.finished_at = Status.DISCARDED, timezone.now()
    else:
        _stop(old, user)
    old.save()
    after = {"replaced_by": str(by.pk)}
    return audit.entry(action, actor=user or audit.PANEL, operation=old, detail=words, source=source, after=after)


def _reserve(operation: Operation) -> None:
    wanted = kind.get(operation.kind)
    assert operation.host is not None
    try:
        plans.refuse_for_good(wanted, operation.host, operation.parameters, operation=operation.pk)
        with transaction.atomic():
            wanted.reserve(operation)
    except IntegrityError as error:
        raise Refused(
            "Somebody else has just taken a name or an address of this plan: plan it again with another one."
        ) from error


def cancel(operation: Operation, *, user: User, source: str = "") -> Operation:
    """End what no worker has begun; have a running one stopped and rolled back before its next step.

    Raises Refused when it has ended, PermissionDenied for who may not run such an operation.
    """
    _require(user, operation, "operation.cancel", source, policy.why_not_cancel)
    with transaction.atomic():
        row = _locked(operation)
        if row.status not in (Status.QUEUED, Status.RUNNING):
            raise Refused(f"It cannot be cancelled: {row.get_status_display().lower()}.")
        if row.cancel_requested_at:
            return row
        _stop(row, user)
        row.save()
        audit.record("operation.cancel", actor=user, operation=row, source=source)
    return row


def _stop(row: Operation, user: User | None) -> None:
    """What no worker has begun has ended with that; save it. Those that waited for it are told."""
    transaction.on_commit(lambda: queue.send(row) if row.is_open else queue.wake(row.host_id, but=row.pk))
    row.cancel_requested_at, row.cancel_requested_by = timezone.now(), user
    has_worker = row.lease_expires_at is not None and row.lease_expires_at > timezone.now()
    if row.status == Status.QUEUED and not has_worker:
        # A worker that still believes it has it must not: its token is no longer the one.
        row.lease_token += 1
        row.status, row.finished_at, row.waiting_for = Status.CANCELLED, timezone.now(), ""
        _give_back(row)


def resume(operation: Operation, *, user: User, source: str = "") -> Operation:
    """Take up again what could go neither on nor back, once somebody has removed the cause.

    The worker goes on with it where a step is past that cannot be undone, else it rolls back. Raises as `cancel` does.
    """
    _require(user, operation, "operation.resume", source, policy.why_not_resume)
    with transaction.atomic():
        row = _locked(operation)
        if row.status != Status.STUCK:
            raise Refused(f"Only what needs attention can be taken up again; it is {row.get_status_display().lower()}.")
        if not row.sealed:
            raise Refused("No worker has ever begun it, so there is nothing to take up again.")
        row.status, row.resumed_at, row.resumed_by = Status.RUNNING, timezone.now(), user
        row.finished_at = row.cancel_requested_at = row.cancel_requested_by = None
        row.error = row.waiting_for = ""
        row.save()
        audit.record("operation.resume", actor=user, operation=row, plan_digest=row.digest, source=source)
        transaction.on_commit(lambda: queue.send(row))
    return row


def discard(operation: Operation, *, user: User, source: str = "") -> Operation:
    """Put away a plan that nobody will confirm: a draft, or one whose host has changed."""
    if operation.requested_by_id != user.pk:
        _require(user, operation, "operation.discard", source)
    with transaction.atomic():
        row = _locked(operation)
        if row.status not in (Status.DRAFT, Status.STALE):
            raise Refused(f"Only a plan that is not confirmed can be discarded; it is {row.get_status_display()}.")
        was_confirmed = row.status == Status.STALE
        row.status, row.finished_at = Status.DISCARDED, timezone.now()
        row.save()
        if was_confirmed:
            audit.record("operation.discard", actor=user, operation=row, source=source)
    return row


def discard_drafts(operations: QuerySet[Operation]) -> int:
    """Put away those that nobody has confirmed: they hold nothing. As jails.tasks.sweep does in time. How many."""
    now = timezone.now()
    pks = list(operations.filter(status=Status.DRAFT).order_by().values_list("pk", flat=True))
    # One may have been confirmed since.
    drafts = Operation.objects.filter(pk__in=pks, status=Status.DRAFT)
    return drafts.update(status=Status.DISCARDED, finished_at=now, changed_at=now)


def retry(operation: Operation, *, user: User, source: str = "", wish: Mapping[str, Any] | None = None) -> Operation:
    """The same wish planned anew, as a draft. Raises as `draft` does.

    wish: where not all of it is to be the same.
    """
    if not operation.has_ended or operation.status == Status.DONE:
        raise Refused("Only what has failed or was stopped can be tried again.")
    if operation.host is None:
        raise Refused(f"{operation.host_name} is no longer a host of this panel.")
    parameters = operation.parameters if wish is None else wish
    return draft(operation.kind, parameters, host=operation.host, user=user, source=source, retry_of=operation)


def _plan(operation: Operation, wanted: Kind) -> Plan:
    host = operation.host
    assert host is not None
    try:
        plans.refuse(wanted, host, operation.parameters, operation=operation.pk)
    except LookupError as error:
        raise Refused(f"What it is about is gone: {error}.") from error
    request = kind.Request(str(operation.pk), operation.parameters, host, facts_of(host), operation.tenant)
    try:
        return wanted.plan(request)
    except Missing as missing:
        raise Refused(str(missing)) from missing


def facts_of(host: Host) -> HostFacts:
    """What the last refresh learned. Raises Refused for a host that has never answered."""
    record = HostFactsRecord.objects.filter(host=host).first()
    if record is None:
        raise Refused(f"{host.name} has not answered yet, so nothing can be planned there: refresh it first.")
    return HostFacts.from_data(record.data)


def _locked(operation: Operation) -> Operation:
    return Operation.objects.select_for_update(of=("self",)).select_related("host", "tenant").get(pk=operation.pk)


def _give_back(operation: Operation) -> None:
    kind.get(operation.kind).release(operation)
    locks.release(operation)


def _require(
    user: User | None,
    operation: Operation,
    action: str,
    source: str,
    why_not: Callable[[User | None, Operation], str] = policy.why_not_operation,
) -> None:
    """Raises PermissionDenied, once the refusal is in the log: call it outside of what would be rolled back."""
    why = why_not(user, operation)
    if not why:
        return
    with transaction.atomic():
        audit.record(
            action,
            actor=user or audit.PANEL,
            outcome="refused",
            obj=operation.host,
            tenant=operation.tenant,
            after={"kind": operation.kind, "parameters": operation.parameters},
            detail=why,
            source=source,
        )
    raise PermissionDenied(why)
