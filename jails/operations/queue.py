"""Sending hints to workers. The operations' table is the queue: a message that is lost costs a few seconds.

Of delayed messages each operation has one at a time, or every further message would bring forth a chain of its own.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import Error
from django.db.models import Q
from django.utils import timezone

from jails.models import Host, Look, Operation
from jails.operations import locks

log = logging.getLogger(__name__)

DEFAULT_WORKER = "default"
EXPIRES = 600
"""Seconds after which a message that nobody has read is thrown away: the worker of its host has been away so long."""


def queue_of(kind: str, worker: str) -> str:
    """`operations` or `refresh`; a worker with a name has queues of its own: `operations.NAME`."""
    return kind if worker in ("", DEFAULT_WORKER) else f"{kind}.{worker}"


def worker_of(host: Host | None) -> str:
    """The name of the worker that serves a host."""
    return (host.worker if host is not None else "") or DEFAULT_WORKER


def send(operation: Operation, countdown: float = 0) -> bool:
    """Tell the workers of its host that it waits, now or in so many seconds. Call it after the commit. Never fails.

    Whether a message is under way. A delayed one is not sent where another is already.
    """
    from jails.tasks import run_operation

    if not _note(operation, countdown) and countdown:
        return True
    return _send(run_operation, str(operation.pk), queue_of("operations", worker_of(operation.host)), countdown)


def _note(operation: Operation, countdown: float) -> bool:
    """Keep when its newest message is for, unless one is to come later."""
    now = timezone.now()
    try:
        rows = Operation.objects.filter(Q(sent_at__isnull=True) | Q(sent_at__lte=now), pk=operation.pk)
        return bool(rows.update(sent_at=now + timedelta(seconds=countdown)))
    except Error:
        log.exception("when a message was sent for operation %s could not be kept", operation.pk)
        return True


def send_refresh(host: Host) -> None:
    from jails.tasks import refresh_host

    Host.objects.filter(pk=host.pk).update(refresh_wanted_at=timezone.now())
    _send(refresh_host, host.pk, queue_of("refresh", worker_of(host)))


def send_survey(host: Host) -> None:
    """Ask for what a refresh does not look at. A person who asks wants both: send_refresh first."""
    from jails.tasks import survey_host

    _send(survey_host, host.pk, queue_of("refresh", worker_of(host)))


def send_access(host: Host) -> None:
    """Have the host's worker test what it may do there. What asked for it is in HostAccessRecord."""
    from jails.tasks import test_access

    _send(test_access, host.pk, queue_of("refresh", worker_of(host)))


def send_measure(host: Host) -> None:
    """Have what its jails use measured."""
    from jails.tasks import measure_host

    _send(measure_host, host.pk, queue_of("refresh", worker_of(host)))


def send_look(look: Look) -> bool:
    """Have the host's worker take a look. Whether a message is under way."""
    from jails.tasks import take_look

    return _send(take_look, str(look.pk), queue_of("refresh", worker_of(look.jail.host)))


def wake(host_id: int | None, *, but: UUID | None = None) -> None:
    """An operation (`but`), or a look, has ended: operations on its host that could go on now are told, the oldest
    first."""
    waiting = Operation.objects.filter(host=host_id, status__in=Operation.OPEN, lease_expires_at__isnull=True)
    rows = (
        (waiting if but is None else waiting.exclude(pk=but))
        .exclude(waiting_for="")
        .select_related("host")
        .order_by("confirmed_at")
    )
    for operation in locks.free(rows.defer("parameters")):
        if not send(operation):
            return


def _send(task: Any, argument: str | int, queue: str, countdown: float = 0) -> bool:
    try:
        task.apply_async(
            (argument,), queue=queue, countdown=countdown or None, expires=countdown + EXPIRES, retry=False
        )
    except Exception:
        # Whatever a broker raises: the sweeper sends again.
        log.exception("no message could be sent to the queue %s", queue)
        return False
    return True
