"""The time that sandboxes have: when it is over the panel ends them by itself, as the operation that anybody can read.

A sandbox is there to try things in, takes a place in its tenant's plan, and keeps its snapshot from going. Whoever may
make one gives it more time, as long as the tenant keeps to its plan.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from jails import audit, plans
from jails.models import Jail, Operation, User
from jails.operations import lifecycle
from jails.operations.kind import Refused
from jails.operations.sandbox_create import DAYS

log = logging.getLogger(__name__)

AGAIN = timedelta(hours=6)
"""After an end that failed: until then only people try again."""
ENDS = ("sandbox_end", "jail_destroy")


class CannotExtend(Exception):
    """The message says why it gets no more time."""


def extend(jail: Jail, *, user: User, source: str = "") -> Jail:
    """From now on it has as much time as a new one has, never less than it had. Ask the policy first."""
    with transaction.atomic():
        row = Jail.objects.select_for_update(of=("self",)).select_related("tenant", "host").get(pk=jail.pk)
        before = row.expires_at
        if row.kind != Jail.Kind.SANDBOX or before is None:
            raise CannotExtend(f"{row.name} is no sandbox that ends by itself.")
        if _is_being_ended(row):
            raise CannotExtend(f"{row.name} is being destroyed.")
        if why := _why_over(row):
            raise CannotExtend(why)
        row.expires_at, row.why_not_ended = max(before, timezone.now() + timedelta(days=DAYS)), ""
        row.save(update_fields=["expires_at", "why_not_ended"])
        times = [{"expires_at": at.isoformat(timespec="seconds")} for at in (before, row.expires_at)]
        audit.record("sandbox.extend", actor=user, obj=row, before=times[0], after=times[1], source=source)
    return row


def end_expired(now: datetime | None = None) -> int:
    """Queue the end of each whose time is over, and note at its jail where that cannot be. How many."""
    now = now or timezone.now()
    over = Jail.objects.filter(kind=Jail.Kind.SANDBOX, expires_at__lte=now).exclude(state=Jail.State.PENDING)
    return sum(_try(pk, now) for pk in over.order_by("expires_at").values_list("pk", flat=True))


def _try(pk: int, now: datetime) -> bool:
    """What goes wrong with one keeps no other from its end."""
    try:
        return _end(pk, now)
    except Exception:
        log.exception("the sandbox %s could not be ended", pk)
        words = "The panel failed at it; the worker's log says how."
        Jail.objects.filter(pk=pk).update(why_not_ended=words)
        return False


def _end(pk: int, now: datetime) -> bool:
    with transaction.atomic():
        rows = Jail.objects.select_for_update(of=("self",), skip_locked=True).select_related("host")
        row = rows.filter(pk=pk, expires_at__lte=now).first()
        if row is None or _is_being_ended(row) or _was_tried(row, now):
            return False
        try:
            # Of its own: what is refused half way leaves nothing.
            with transaction.atomic():
                wish = {"jail": str(row.uuid)}
                operation = lifecycle.draft("sandbox_end", wish, host=row.host, user=None, source="worker")
                lifecycle.confirm(operation, operation.digest, user=None, source="worker")
        except (Refused, PermissionDenied, LookupError) as error:
            log.info("the sandbox %s cannot be ended: %s", row.name, error)
            Jail.objects.filter(pk=pk).update(why_not_ended=str(error)[:300])
            return False
        Jail.objects.filter(pk=pk).exclude(why_not_ended="").update(why_not_ended="")
        return True


def _is_being_ended(row: Jail) -> bool:
    return Operation.objects.filter(jails=row, kind__in=ENDS, status__in=plans.UNFINISHED).exists()


def _was_tried(row: Jail, now: datetime) -> bool:
    return Operation.objects.filter(jails=row, kind="sandbox_end", created_at__gt=now - AGAIN).exists()


def _why_over(row: Jail) -> str:
    """Why its tenant's plan lets it stay no longer: a sentence, or ""."""
    plan = plans.plan_of(row.tenant) if row.tenant is not None else None
    if plan is None:
        return ""
    over = [one.label for one in plans.shares(plan, plans.use(plan.tenant)) if one.is_over]
    return f"{plan.tenant} has more than its plan allows ({', '.join(over)}): make room first." if over else ""
