"""Sending hints to workers. The operations' table is the queue: a message that is lost costs a few seconds."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.utils import timezone

from jails.models import Host, Operation

log = logging.getLogger(__name__)

DEFAULT_WORKER = "default"


def queue_of(kind: str, worker: str) -> str:
    """`operations` or `refresh`; a worker with a name has queues of its own: `operations.NAME`."""
    return kind if worker in ("", DEFAULT_WORKER) else f"{kind}.{worker}"


def send(operation: Operation, countdown: float = 0) -> None:
    """Tell the workers of its host that it waits. Call it after the commit. Never fails."""
    from jails.tasks import run_operation

    Operation.objects.filter(pk=operation.pk).update(sent_at=timezone.now())
    worker = operation.host.worker if operation.host else DEFAULT_WORKER
    _send(run_operation, str(operation.pk), queue_of("operations", worker), countdown)


def send_refresh(host: Host) -> None:
    from jails.tasks import refresh_host

    Host.objects.filter(pk=host.pk).update(refresh_wanted_at=timezone.now())
    _send(refresh_host, host.pk, queue_of("refresh", host.worker))


def wake(host_id: int | None, *, but: UUID) -> None:
    """An operation has ended: those that wait on its host may go on. The oldest first."""
    waiting = Operation.objects.filter(host=host_id, status__in=Operation.OPEN, lease_expires_at__isnull=True)
    for operation in waiting.exclude(pk=but).exclude(waiting_for="").select_related("host").order_by("confirmed_at"):
        send(operation)


def _send(task: Any, argument: str | int, queue: str, countdown: float = 0) -> None:
    try:
        task.apply_async((argument,), queue=queue, countdown=countdown or None, retry=False)
    except Exception:
        # Whatever a broker raises: the sweeper sends again.
        log.exception("no message could be sent to the queue %s", queue)
