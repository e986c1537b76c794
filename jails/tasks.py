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
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from jails import approvals
from jails.models import Host, HostAccessRecord, Look, Operation, Worker

log = logging.getLogger(__name__)

FORGOTTEN = timedelta(seconds=15)
"""A message that was sent so long ago, and no worker has taken the operation: send another one."""
SEEN_EVERY = 15
"""Seconds."""
DRAFTS = timedelta(hours=24)
REFRESH_EVERY = timedelta(minutes=1)
REFRESH_AT_LEAST_EVERY = timedelta(minutes=15)
"""Back-off for a host that does not answer: so much later, at most, it is seen that it does again."""
REFRESH_SECONDS = 900
"""A refresh that hangs in spite of all its time limits is ended, lest no worker is left for others."""

LOOK_SECONDS = 120


def worker_name() -> str:
    """Which hosts this worker serves: those that name it. `CELLBLOCK_WORKER`, or the default one."""
    return os.environ.get("CELLBLOCK_WORKER", "") or "default"


@shared_task(name="jails.tasks.run_operation", ignore_result=True)
def run_operation(operation_id: str) -> None:
    """Go on with an operation. Any id may come: one that is unknown, ended or taken is left alone.

    So is one of a host that another worker serves: what is local to it is another machine, and its keys are others.
    """
    from jails.operations import engine, queue

    try:
        wanted = uuid.UUID(str(operation_id))
    except ValueError:
        log.warning("a message names no operation")
        return
    operation = Operation.objects.select_related("host").only("host").filter(pk=wanted).first()
    if operation is None or not _is_served_here(operation.host):
        return
    outcome = engine.run(wanted, worker=f"{worker_name()}@{socket.gethostname()}:{os.getpid()}")
    if outcome.again_in is not None:
        queue.send(operation, outcome.again_in)


def _is_served_here(host: Host | None) -> bool:
    from jails.operations import queue

    if host is None or queue.worker_of(host) == worker_name():
        return True
    log.warning("a message came here for %s, which the worker %s serves", host, queue.worker_of(host))
    return False


@shared_task(name="jails.tasks.sweep", ignore_result=True)
def sweep() -> int:
    """Send again what waits without a message or whose worker has died; put away old drafts. How many were sent."""
    from jails.looks import looking
    from jails.operations import queue

    seen(worker_name())
    now = timezone.now()
    looking.sweep(now)
    free = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=now)
    rows = Operation.objects.select_related("host").defer("plan", "parameters", "error")
    waiting = rows.filter(free, status__in=Operation.OPEN)
    due = [operation for operation in waiting.order_by("confirmed_at") if _is_due(operation, now)]
    for operation in due:
        if not queue.send(operation):
            break  # the broker is away
    drafts = Operation.objects.filter(status=Operation.Status.DRAFT, created_at__lt=now - DRAFTS)
    approvals.keeps_draft(drafts).update(status=Operation.Status.DISCARDED, finished_at=now, changed_at=now)
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


@shared_task(name="jails.tasks.refresh_host", ignore_result=True, time_limit=REFRESH_SECONDS)
def refresh_host(host_id: int) -> None:
    """Many may be asked for at once: one that began after the last was asked for serves them all."""
    from jails import usage
    from jails.hosts import accessing, surveying
    from jails.hosts.refresh import refresh
    from jails.operations import queue

    seen(worker_name())
    host = Host.objects.filter(pk=host_id).first()
    if host is None or not _is_served_here(host):
        return
    if host.refreshed_at and host.refresh_wanted_at and host.refreshed_at >= host.refresh_wanted_at:
        return
    refresh(host)
    host.refresh_from_db(fields=["refreshed_at", "unavailable_since"])
    if host.available and surveying.is_due(host):
        queue.send_survey(host)
    if host.available and usage.is_due(host):
        queue.send_measure(host)
    if host.available:
        accessing.test_again(host)


@shared_task(name="jails.tasks.survey_host", ignore_result=True, time_limit=REFRESH_SECONDS)
def survey_host(host_id: int) -> None:
    """Look at what is looked at less often: with the refresh that finds it due, or when a person or a fix asks."""
    from jails.hosts import surveying

    seen(worker_name())
    host = Host.objects.filter(pk=host_id).first()
    if host is not None and _is_served_here(host) and not surveying.is_done(host):
        surveying.survey(host)


@shared_task(name="jails.tasks.measure_host", ignore_result=True, time_limit=REFRESH_SECONDS)
def measure_host(host_id: int) -> None:
    """Measure what the jails of a host use: with a refresh, about once a minute."""
    from jails import usage

    seen(worker_name())
    host = Host.objects.filter(pk=host_id).first()
    if host is not None and _is_served_here(host) and usage.is_due(host):
        usage.measure(host)


@shared_task(name="jails.tasks.test_access", ignore_result=True, time_limit=REFRESH_SECONDS)
def test_access(host_id: int) -> None:
    """One test serves all that asked before it began."""
    from jails.hosts import accessing
    from jails.operations import queue

    seen(worker_name())
    record = HostAccessRecord.objects.select_related("host").filter(host=host_id).first()
    if record is None or not record.is_wanted or not _is_served_here(record.host):
        return
    found = accessing.test(record.host)
    if found.is_good and not record.host.available:
        queue.send_refresh(record.host)


@shared_task(name="jails.tasks.take_look", ignore_result=True, time_limit=LOOK_SECONDS)
def take_look(look_id: str) -> None:
    """Read something of a jail that a person waits for. Any id may come."""
    from jails.looks import looking

    try:
        wanted = uuid.UUID(str(look_id))
    except ValueError:
        log.warning("a message names no look")
        return
    look = Look.objects.select_related("jail__host").only("jail__host").filter(pk=wanted).first()
    if look is not None and _is_served_here(look.jail.host):
        looking.run(wanted)


@shared_task(name="jails.tasks.refresh_hosts", ignore_result=True)
def refresh_hosts() -> int:
    """Ask for a refresh of each host that is due. How many were."""
    from jails.operations import queue

    due = [host for host in Host.objects.all() if _refresh_is_due(host)]
    for host in due:
        queue.send_refresh(host)
    now = timezone.now()
    asked = (now - HostAccessRecord.PATIENCE, now - FORGOTTEN)
    for record in HostAccessRecord.objects.select_related("host").filter(wanted_at__range=asked):
        if record.is_wanted:
            queue.send_access(record.host)
    return len(due)


def _refresh_is_due(host: Host) -> bool:
    last = max((at for at in (host.refresh_wanted_at, host.refreshed_at) if at), default=None)
    if last is None:
        return True
    pause = min(REFRESH_AT_LEAST_EVERY, REFRESH_EVERY * 2 ** min(host.refresh_failures, 10))
    return bool(timezone.now() - last >= pause)


def seen(name: str) -> None:
    """This worker lives; hosts that name one which does not say so."""
    Worker.objects.update_or_create(name=name[:64], defaults={"seen_at": timezone.now()})


@worker_ready.connect
def at_start(**_: Any) -> None:
    """What waited while no worker was there is found, and whatever is lost later on."""
    threading.Thread(target=_look_after, name="look after", daemon=True).start()


def _look_after(*, forever: bool = True) -> None:
    """Say every few seconds that this worker lives, sweep, and ask for due refreshes: none of it waits for beat or for
    a free process, so a new installation shows its hosts at once."""
    is_published = False
    while True:
        with _database:
            try:
                if not is_published:
                    is_published = _publish_key()
                sweep()
                refresh_hosts()
            except Exception:
                log.exception("looking after the operations failed, and is tried again")
            finally:
                connection.close()
        if not forever:
            return
        time.sleep(SEEN_EVERY)


def _publish_key() -> bool:
    """So that a person can let this worker into a host before the host is added. Whether to leave it at that."""
    from jails.hosts import keys

    try:
        keys.publish(worker_name())
    except (keys.KeyUnusable, OSError):
        log.exception("this worker has no SSH key")
    return True


# The pool forks a process for each one that dies. None may inherit a connection that the thread has open.
_database = threading.Lock()
os.register_at_fork(before=_database.acquire, after_in_parent=_database.release, after_in_child=_database.release)


@shared_task(name="jails.tasks.tell_of_break_glass", ignore_result=True)
def tell_of_break_glass() -> int:
    """Mail to the owners of tenants whose jails somebody has entered."""
    from jails import breakglass

    return breakglass.tell_owners()


@shared_task(name="jails.tasks.send_summaries", ignore_result=True)
def send_summaries() -> int:
    """Last week's log by mail, to who wants it and has not had it."""
    from jails import summary

    return summary.send_due()


@shared_task(name="jails.tasks.end_sandboxes", ignore_result=True)
def end_sandboxes() -> int:
    """Queue the end of sandboxes whose time is over."""
    from jails import sandboxes

    return sandboxes.end_expired()


@shared_task(name="jails.tasks.audit_checkpoint", ignore_result=True)
def audit_checkpoint() -> None:
    """Sign where the log ends. A chain that does not hold is not signed: that is an entry of its own, once."""
    from jails import checkpoints

    try:
        checkpoints.make()
    except checkpoints.Broken as broken:
        _tell_of_broken_log(str(broken))


@shared_task(name="jails.tasks.audit_seal", ignore_result=True)
def audit_seal() -> None:
    """Seal the entries of past months (UTC) that are not sealed yet; let the database look what the log is made of."""
    from jails import audittext, checkpoints, segments

    this_month = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    try:
        segments.seal(this_month)
    except (checkpoints.Broken, ValueError) as problem:
        _tell_of_broken_log(str(problem))
    audittext.analyse()


def _tell_of_broken_log(problem: str) -> None:
    """An entry of its own, once."""
    from django.db import transaction

    from jails import audit, checkpoints
    from jails.models import AuditEntry

    checkpoints.log.critical("the audit log does not hold: %s", problem)
    if AuditEntry.objects.filter(action="audit.broken", detail=problem).exists():
        return
    with transaction.atomic():
        audit.record("audit.broken", actor="worker", outcome="failed", detail=problem, source="worker")


@shared_task(name="jails.tasks.audit_review", ignore_result=True)
def audit_review() -> int:
    """Put what the rules find among the new entries of the log into the queue of reviews. How many."""
    from jails import review

    return review.catch_up()
