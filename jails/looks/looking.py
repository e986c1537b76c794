"""Asking for a look, in the web process, and taking it, in the worker.

The table is the queue and the message only a hint, as with operations. What the web process wrote is not believed: the
worker checks the parameters and asks the policy again, of who asked, as of now.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from jails import audit, policy
from jails.freebsd import jls
from jails.freebsd.command import Pipeline
from jails.freebsd.foreign import ForeignJail
from jails.hosts import connect
from jails.hosts.connection import CommandTimeout, Connection, HostUnavailable
from jails.hosts.data import decode, encode
from jails.looks import kind as kinds
from jails.looks.kind import RESULT, Kind, Place, Refused
from jails.models import Jail, Look, User
from jails.operations import layout, locks, power, queue
from jails.operations.step import digest

log = logging.getLogger(__name__)

KEPT = timedelta(minutes=15)
"""How long an answer stays after it was last asked for: it may hold what is in a tenant's files."""
FORGOTTEN = timedelta(seconds=15)
"""A message that was sent so long ago, and nobody has taken the look: send another one."""
MOST = 12
"""Looks of one jail that may wait at a time."""


def ask(
    jail: Jail, name: str, parameters: Mapping[str, Any] | None = None, *, user: User, patient: bool = False
) -> Look:
    """The look of that kind, asked for now unless there is a fresh answer or somebody has asked already.

    The caller has asked the policy whether this person may. One that was lost is asked for again, unless `patient`: for
    a page that goes on asking by itself. Raises Refused for parameters that cannot be.
    """
    kind = kinds.get(name)
    cleaned = kind.clean(parameters or {})
    key = key_of(kind, cleaned, user)
    look = Look.objects.filter(jail=jail, kind=name, key=key).first()
    if look is None:
        look = _made(jail, name, cleaned, key, user)
    elif look.is_open or (look.is_lost and patient) or _is_fresh(look, kind):
        _join(look, user)
        return look
    elif not _ask_again(look, user):
        look.refresh_from_db()  # somebody was first
        return look
    if look.state == Look.State.WAITING:
        look.jail = jail
        transaction.on_commit(lambda: _send(look))
    return look


def key_of(kind: Kind, cleaned: Mapping[str, Any], user: User) -> str:
    """What those who ask the same share a row by."""
    return digest(json.dumps([cleaned, user.pk if kind.is_read else None], sort_keys=True))


def _made(jail: Jail, name: str, parameters: dict[str, Any], key: str, user: User) -> Look:
    now = timezone.now()
    look = Look(jail=jail, kind=name, parameters=parameters, key=key, asked_by=user, asked_at=now)
    look.expires_at = now + KEPT
    if Look.objects.filter(jail=jail, state__in=Look.OPEN).count() >= MOST:
        look.state, look.problem = Look.State.FAILED, "Too much is asked of this jail at once. Try again in a moment."
        return look
    try:
        with transaction.atomic():
            look.save(force_insert=True)
    except IntegrityError:
        return Look.objects.get(jail=jail, kind=name, key=key)
    return look


def _is_fresh(look: Look, kind: Kind) -> bool:
    return not look.is_lost and look.ended_at is not None and look.ended_at > timezone.now() - kind.fresh


def _join(look: Look, user: User) -> None:
    """One more waits for it. Until it is taken it is asked for as this person, who was allowed to just now."""
    Look.objects.filter(pk=look.pk, state=Look.State.WAITING).exclude(asked_by=user).update(asked_by=user)


def _ask_again(look: Look, user: User) -> bool:
    """Whether it was we who did."""
    now = timezone.now()
    values = {
        "state": Look.State.WAITING, "asked_by": user, "asked_at": now, "sent_at": None, "taken_at": None,
        "expires_at": now + KEPT,
    }  # fmt: skip
    if not Look.objects.filter(pk=look.pk, state=look.state, asked_at=look.asked_at).update(**values):
        return False
    look.state, look.asked_at, look.taken_at = Look.State.WAITING, now, None
    return True


def _send(look: Look) -> bool:
    Look.objects.filter(pk=look.pk).update(sent_at=timezone.now())
    return queue.send_look(look)


def sweep(now: datetime | None = None) -> None:
    """Send again what was lost, give up what nobody answers, and remove what is old."""
    now = now or timezone.now()
    Look.objects.filter(expires_at__lt=now).delete()
    late = Q(state__in=Look.OPEN, asked_at__lt=now - Look.PATIENCE)
    lost = "No worker has answered. It may be busy or stopped."
    Look.objects.filter(late).update(state=Look.State.FAILED, problem=lost, ended_at=now)
    forgotten = Look.objects.filter(state=Look.State.WAITING).filter(
        Q(sent_at__lt=now - FORGOTTEN) | Q(sent_at__isnull=True, asked_at__lt=now - FORGOTTEN)
    )
    for look in forgotten.select_related("jail__host").defer("result").order_by("asked_at")[:100]:
        if not _send(look):
            return


# In the worker


def run(pk: UUID, *, connection: Callable[[Any], Connection] = connect.connection) -> None:
    """Take a look that waits, and keep what was seen. One that another worker has taken is left to it."""
    now = timezone.now()
    if not Look.objects.filter(pk=pk, state=Look.State.WAITING).update(state=Look.State.TAKEN, taken_at=now):
        return
    look = Look.objects.select_related("jail__host", "jail__tenant", "asked_by").get(pk=pk)
    values: dict[str, Any]
    try:
        values = {"state": Look.State.DONE, "problem": "", "result": _result(look, connection), "seen_at": now}
    except Refused as refused:
        values = {"state": Look.State.FAILED, "problem": str(refused)}
    except HostUnavailable as error:
        # Where the host is and why it does not answer is for staff, who have its page.
        log.info("the look %s at jail %s: %s", look.kind, look.jail_id, error)
        values = {"state": Look.State.FAILED, "problem": "Its host could not be reached."}
    except CommandTimeout as error:
        values = {"state": Look.State.FAILED, "problem": f"It was still running after {error.seconds:.0f} s."}
    except Exception:
        log.exception("the look %s at jail %s failed", look.kind, look.jail_id)
        values = {"state": Look.State.FAILED, "problem": "The panel failed at it; the worker's log says how."}
    values["problem"] = encode(values["problem"])[:500]
    with transaction.atomic():
        mine = Look.objects.filter(pk=pk, state=Look.State.TAKEN, taken_at=now)
        mine.update(ended_at=timezone.now(), **values)
        if values["state"] == Look.State.DONE and look.seen_at is None:
            kind = kinds.get(look.kind)
            if kind.is_read:
                note_reader(look.asked_by, look.jail, kind.action, kind.detail(look.parameters), source="worker")
    if look.kind in kinds.HOLD_DATASETS:
        queue.wake(look.jail.host_id)


def note_reader(user: User, jail: Jail, action: str, detail: str, *, source: str) -> None:
    """That somebody who is not of its tenant has begun to read in a tenant's jail is an entry of the log.

    In the caller's transaction.
    """
    if jail.tenant_id is not None and not policy.is_viewer(user, jail):
        audit.record(action, actor=user, obj=jail, tenant=jail.tenant, detail=detail, source=source)


def _result(look: Look, connection: Callable[[Any], Connection]) -> dict[str, Any]:
    try:
        kind = kinds.get(look.kind)
    except LookupError as error:
        raise Refused(f"This release does not know it: {error}.") from None
    if not policy.allowed(look.asked_by, kind.action, look.jail):
        raise Refused("Who asked for it may not see it any more.")
    parameters = kind.clean(look.parameters)
    # By now the row says that it is taken: of an operation that locks the dataset at this moment one sees the other.
    if look.kind in kinds.HOLD_DATASETS and locks.are_taken([layout.dataset_lock(look.jail.host, look.jail.dataset)]):
        raise Refused("An operation is at its dataset: look again when that has ended.")
    reached = connection(look.jail.host)
    place = Place(reached, look.jail, jid_of(reached, look.jail) if kind.needs_running else 0, kind.seconds)
    result: dict[str, Any] = encode(kind.look(place, parameters))
    if len(json.dumps(result)) > RESULT:
        raise Refused("There is more of it than can be shown.")
    return result


def running_name(jail: Jail) -> str:
    """As jls(8) shows it while it runs: a tool may give a jail another name than it has there."""
    return decode(ForeignJail, jail.found).running_name if power.is_with_tool(jail) and jail.found else jail.name


def jid_of(connection: Connection, jail: Jail) -> int:
    """Of the jail as it runs right now. A name may have gone to somebody else's jail: then its root is another one.

    Raises Refused.
    """
    try:
        result = connection.run(Pipeline.of(jls.one(running_name(jail))), timeout=20)
        found = jls.parse(result.stdout) if result.ok else ()
    except ValueError:
        raise Refused("Its host does not tell whether it runs.") from None
    if not found or found[0].dying:
        raise Refused("It does not run.")
    if found[0].path.rstrip("/") != jail.path.rstrip("/"):
        raise Refused("Another jail runs under its name.")
    return found[0].jid
