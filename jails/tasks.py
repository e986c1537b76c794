"""Celery's entry points. A message carries an id and is only a hint; what is to be done is in the tables."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from datetime import datetime, timedelta
from typing import Any

from celery import shared_task
from celery.signals import worker_ready
from django.db import DatabaseError, connection
from django.db.models import Q
from django.utils import timezone

from jails.models import Host, Operation, Worker

log = logging.getLogger(__name__)

FORGOTTEN = timedelta(seconds=15)
"""A message that was sent so long ago, and no worker has taken the operation: send another one."""
SEEN_EVERY = 15
"""Seconds."""
DRAFTS = timedelta(hours=24)
REFRESH_EVERY = timedelta(minutes=5)
REFRESH_AT_MOST_EVERY = timedelta(hours=1)
"""Back-off for a host that does not answer."""


def worker_name() -> str:
    """Which hosts this worker serves: those that name it. `CELLBLOCK_WORKER`, or the default one."""
    return os.environ.get("CELLBLOCK_WORKER", "") or "default"


@shared_task(name="jails.tasks.run_operation", ignore_result=True)
def run_operation(operation_id: str) -> None:
    """Go on with an operation. Any id may come: one that is unknown, ended or taken is left alone."""
    from jails.operations import engine, queue

    try:
        wanted = uuid.UUID(str(operation_id))
    except ValueError:
        log.warning("a message names no operation")
        return
    outcome = engine.run(wanted, worker=f"{worker_name()}@{socket.gethostname()}:{os.getpid()}")
    if outcome.again_in is not None:
        queue.send(Operation.objects.select_related("host").get(pk=wanted), outcome.again_in)


@shared_task(name="jails.tasks.sweep", ignore_result=True)
def sweep() -> int:
    """Send again what waits without a message or whose worker has died; put away old drafts. How many were sent."""
    from jails.operations import queue

    seen(worker_name())
    now = timezone.now()
    free = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=now)
    waiting = Operation.objects.filter(free, status__in=Operation.OPEN).select_related("host")
    due = [operation for operation in waiting.order_by("confirmed_at") if _is_due(operation, now)]
    for operation in due:
        queue.send(operation)
    drafts = Operation.objects.filter(status=Operation.Status.DRAFT, created_at__lt=now - DRAFTS)
    drafts.update(status=Operation.Status.DISCARDED, finished_at=now, changed_at=now)
    return len(due)


def _is_due(operation: Operation, now: datetime) -> bool:
    """The longer it waits, for a host that does not answer or for a free worker, the rarer a message is sent.

    Otherwise the messages of a busy hour would pile up.
    """
    if operation.sent_at is None:
        return True
    since = operation.unreachable_since or operation.lease_expires_at or operation.confirmed_at or operation.sent_at
    pause = max(FORGOTTEN, min(timedelta(minutes=2), (now - since) / 4))
    return bool(now - operation.sent_at >= pause)


@shared_task(name="jails.tasks.refresh_host", ignore_result=True)
def refresh_host(host_id: int) -> None:
    from jails.hosts.refresh import refresh

    seen(worker_name())
    host = Host.objects.filter(pk=host_id).first()
    if host is not None:
        refresh(host)


@shared_task(name="jails.tasks.refresh_hosts", ignore_result=True)
def refresh_hosts() -> int:
    """Ask for a refresh of each host that is due. How many were."""
    from jails.operations import queue

    due = [host for host in Host.objects.all() if _refresh_is_due(host)]
    for host in due:
        queue.send_refresh(host)
    return len(due)


def _refresh_is_due(host: Host) -> bool:
    last = max((at for at in (host.refresh_wanted_at, host.refreshed_at) if at), default=None)
    if last is None:
        return True
    pause = min(REFRESH_AT_MOST_EVERY, REFRESH_EVERY * 2 ** min(host.refresh_failures, 10))
    return bool(timezone.now() - last >= pause)


def seen(name: str) -> None:
    """This worker lives; hosts that name one which does not say so."""
    Worker.objects.update_or_create(name=name[:64], defaults={"seen_at": timezone.now()})


@worker_ready.connect
def at_start(**_: Any) -> None:
    """What waited while no worker was there; and from now on say every few seconds that this one is."""
    sweep()
    _publish_key()
    connection.close()
    threading.Thread(target=_stay_seen, name="seen", daemon=True).start()


def _publish_key() -> None:
    """So that a person can let this worker into a host before the host is added."""
    from jails.hosts import keys

    try:
        keys.publish(worker_name())
    except (keys.KeyUnusable, OSError):
        log.exception("this worker has no SSH key")


def _stay_seen() -> None:
    while True:
        time.sleep(SEEN_EVERY)
        try:
            seen(worker_name())
        except DatabaseError:
            log.exception("the database does not answer")
        finally:
            # Kept open it would be inherited by the processes of the pool.
            connection.close()
