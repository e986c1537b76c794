"""Locks on resources: what no two operations may change at once.

An operation takes all it needs or nothing, in the order of their names, so that no two can wait for each other. A lock
is a row and belongs to the operation, not to a worker: it outlives a worker that dies, and ends with the operation or,
where it was taken for one step, with that step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from django.db import OperationalError, transaction
from django.utils import timezone

from jails.looks.kind import HOLD_DATASETS
from jails.models import Look, Operation, ResourceLock
from jails.operations import layout

TRIES = 20


class Held(Exception):
    """Somebody else has one of the resources. `words` says who and what, for people."""

    def __init__(self, holders: dict[str, Operation]) -> None:
        self.holders = holders
        resource, operation = next(iter(sorted(holders.items(), key=lambda item: item[0])))
        self.words = f"“{operation.title}” to finish ({spoken(resource)})"
        super().__init__(self.words)


def spoken(resource: str) -> str:
    """`host:3/jail:www1` as people say it: `jail www1`."""
    return resource.partition("/")[2].replace(":", " ", 1) or resource


def take(operation: Operation, resources: Iterable[str], *, step: int | None = None) -> None:
    """All of them or none. What the operation has already it keeps as it has it. Raises Held.

    Belongs into the transaction of a lease's write, so that a worker that lost the operation takes nothing.
    """
    wanted = sorted(set(resources))
    if not wanted:
        return
    for _ in range(TRIES):
        # Each try lets go of all that it has inserted: kept, it would come before names that sort before it.
        with suppress(_GivenBack), transaction.atomic():
            holders = _take(operation, wanted, step)
            if holders:
                raise Held(holders)
            return
    raise OperationalError("locks that others give back again and again could not be taken")


class _GivenBack(Exception):
    """Somebody had one of the resources a moment ago, and has it no longer."""


def _take(operation: Operation, wanted: list[str], step: int | None) -> dict[str, Operation]:
    """Who else has one of them. Raises _GivenBack."""
    mine = set(ResourceLock.objects.filter(operation=operation).values_list("resource", flat=True))
    missing = [resource for resource in wanted if resource not in mine]
    rows = [ResourceLock(resource=resource, operation=operation, step=step) for resource in missing]
    # Rows of others are skipped, after waiting for their transaction, in the same order everywhere.
    ResourceLock.objects.bulk_create(rows, ignore_conflicts=True)
    found = list(ResourceLock.objects.filter(resource__in=missing).select_related("operation"))
    if len(found) < len(missing):
        raise _GivenBack
    return {lock.resource: lock.operation for lock in found if lock.operation_id != operation.pk}


def are_taken(resources: Iterable[str]) -> bool:
    """Whether some operation has one of them."""
    return ResourceLock.objects.filter(resource__in=list(resources)).exists()


def looked_at(operation: Operation, resources: Iterable[str]) -> str:
    """Who, in a plain phrase, has a hold on one of these datasets only to look at it; "" for nobody.

    Ask once the operation's own locks are committed: a look asks for them after it has said that it is under way.
    """
    wanted = {resource for resource in resources if "/dataset:" in resource}
    if not wanted:
        return ""
    since = timezone.now() - Look.PATIENCE
    rows = Look.objects.filter(kind__in=HOLD_DATASETS, state=Look.State.TAKEN, taken_at__gt=since)
    for look in rows.filter(jail__host=operation.host_id).select_related("jail__host").defer("result"):
        if layout.dataset_lock(look.jail.host, look.jail.dataset) in wanted:
            return f"somebody who looks at what has changed in {look.jail.name}"
    return ""


def release(operation: Operation, *, step: int | None = None) -> int:
    """Give back those of one step, or all. How many there were."""
    rows = ResourceLock.objects.filter(operation=operation)
    if step is not None:
        rows = rows.filter(step=step)
    return rows.delete()[0]


def older_claim(operation: Operation, resources: Iterable[str]) -> Operation | None:
    """An operation that was confirmed earlier, still waits on the same host and wants one of these: it goes first."""
    wanted = set(resources)
    if not wanted or operation.confirmed_at is None:
        return None
    waiting = Operation.objects.filter(
        host=operation.host_id, status=Operation.Status.QUEUED, confirmed_at__lt=operation.confirmed_at
    )
    for other in waiting.order_by("confirmed_at"):
        if wanted & set(_resources(other.plan)):
            return other
    return None


def free(waiting: Iterable[Operation]) -> Iterator[Operation]:
    """Of operations in the order of their confirmation, those that no lock, and no older one of them, keeps waiting."""
    taken = set(ResourceLock.objects.values_list("resource", flat=True))
    for operation in waiting:
        if operation.status != Operation.Status.QUEUED:
            yield operation  # it has its locks, and waits for something else
            continue
        wanted = set(_resources(operation.plan))
        if not wanted & taken:
            yield operation
        taken |= wanted


def _resources(plan: object) -> list[str]:
    """Of a plan as it is stored for display, which may hold anything."""
    names = plan.get("resources") if isinstance(plan, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
