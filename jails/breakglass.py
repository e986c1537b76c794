"""Break-glass: an administrator enters a tenant's jail in an emergency, for a time, and the tenant is told.

It asks nobody. In return it gives its reason, ends by itself, is in the log and on the queue of reviews, and stands on
the tenant's pages until an owner has read it. While it is open, policy.py lets its administrator into the jail.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Least
from django.urls import reverse
from django.utils import timezone

from jails import audit
from jails.mailing import confirmed_addresses, is_sent
from jails.models import AuditEntry, BreakGlass, Console, Jail, Membership, User

SHORTEST_REASON = 15
LONGEST_REASON = 500
TOLD_WITHIN = timedelta(days=1)
"""What is older is no news: it stands on pages."""
TOLD_AT_ONCE = 50


class CannotBreak(Exception):
    """The message says why it cannot be opened, ended or acknowledged: nothing was changed."""


def enter(jail: Jail, reason: str, lasts: timedelta, *, user: User, source: str = "") -> BreakGlass:
    """Open it. Ask the policy first (`jail.breakglass`). Raises CannotBreak."""
    reason = " ".join(reason.split())
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        raise CannotBreak(f"Say why, in {SHORTEST_REASON} to {LONGEST_REASON} characters: the tenant reads it.")
    if not timedelta(0) < lasts <= BreakGlass.LONGEST:
        raise CannotBreak("For more than nothing, and for 8 hours at most.")
    try:
        with transaction.atomic():
            return _enter(jail, reason, lasts, user, source)
    except IntegrityError as error:
        raise CannotBreak("You have just broken the glass of this jail already.") from error


def _enter(jail: Jail, reason: str, lasts: timedelta, user: User, source: str) -> BreakGlass:
    # As it is now: it may have got another owner, whom this reason does not concern.
    row = Jail.objects.select_for_update(of=("self",), no_key=True).select_related("tenant").get(pk=jail.pk)
    if row.tenant is None or row.tenant_id != jail.tenant_id:
        raise CannotBreak("The jail has just got another owner: look at it again.")
    now = timezone.now()
    mine = BreakGlass.objects.filter(jail=row, user=user, ended_at=None)
    mine.filter(Q(expires_at__lte=now) | ~Q(tenant=row.tenant)).update(ended_at=Least(F("expires_at"), Value(now)))
    made = BreakGlass.objects.create(
        jail=row,
        jail_name=row.name,
        tenant=row.tenant,
        user=user,
        reason=reason,
        opened_at=now,
        expires_at=now + lasts,
    )
    after = {"break_glass": made.pk, "until": made.expires_at.isoformat(timespec="seconds")}
    audit.record("jail.breakglass", actor=user, obj=row, after=after, detail=reason, source=source)
    return made


def end(row: BreakGlass, *, user: User, source: str = "") -> None:
    """Before its time. Raises CannotBreak when it has ended already."""
    with transaction.atomic():
        row = BreakGlass.objects.select_for_update(of=("self",)).get(pk=row.pk)
        if not row.is_open:
            raise CannotBreak("It has ended already.")
        row.ended_at, row.ended_by = timezone.now(), user
        row.save(update_fields=["ended_at", "ended_by"])
        audit.record("jail.breakglass_end", actor=user, after={"break_glass": row.pk}, source=source, **_about(row))


def end_all(person: User, *, user: User, source: str = "") -> int:
    """Of who is no administrator any more, or may not sign in. In the caller's transaction; how many."""
    rows = BreakGlass.objects.select_for_update(of=("self",)).select_related("jail", "tenant")
    found = list(rows.filter(user=person, ended_at=None, expires_at__gt=timezone.now()).order_by("pk"))
    for row in found:
        row.ended_at, row.ended_by = timezone.now(), user
        row.save(update_fields=["ended_at", "ended_by"])
    fields = {"actor": user, "source": source}
    audit.record_all(
        [audit.entry("jail.breakglass_end", after={"break_glass": row.pk}, **fields, **_about(row)) for row in found]
    )
    return len(found)


def acknowledge(row: BreakGlass, *, user: User, source: str = "") -> None:
    """An owner has read it: it no longer stands on the tenant's pages once it has ended. Twice is once."""
    with transaction.atomic():
        row = BreakGlass.objects.select_for_update(of=("self",)).get(pk=row.pk)
        if row.acknowledged_at is not None:
            return
        row.acknowledged_at, row.acknowledged_by = timezone.now(), user
        row.save(update_fields=["acknowledged_at", "acknowledged_by"])
        audit.record("jail.breakglass_read", actor=user, after={"break_glass": row.pk}, source=source, **_about(row))


def _about(row: BreakGlass) -> dict[str, Any]:
    """The jail as the object while it is there; the tenant whose it was in any case."""
    return {"obj": row.jail if row.jail_id else row, "tenant": row.tenant}


def tell_owners() -> int:
    """Send mail about what the owners were not told of yet, where mail is set up. About how many.

    What stands on the tenant's pages is what counts: a mail may be lost when a worker dies while it sends it.
    """
    if not settings.MAIL_SENDS:
        return 0
    rows = BreakGlass.objects.filter(told_at=None, opened_at__gt=timezone.now() - TOLD_WITHIN)
    return sum(_tell(row) for row in rows.select_related("user", "tenant").order_by("pk")[:TOLD_AT_ONCE])


def _tell(row: BreakGlass) -> bool:
    """Claimed first and sent afterwards, for no transaction waits for a mail server."""
    mine = BreakGlass.objects.filter(pk=row.pk, told_at=None).update(told_at=timezone.now())
    owners = Membership.objects.filter(tenant=row.tenant, role=Membership.Role.OWNER, user__is_active=True)
    to = confirmed_addresses(owners.values("user")) if mine else []
    if not to:
        return False
    if not is_sent(_mail(row, to), f"mail about break-glass {row.pk} to its tenant"):
        BreakGlass.objects.filter(pk=row.pk).update(told_at=None)
        return False
    return True


def _mail(row: BreakGlass, to: list[str]) -> EmailMessage:
    who = " ".join(row.user.display_name.split())
    text = (
        f"{who} has entered {row.jail_name} of {row.tenant.name} by break-glass.\n\n"
        f"Reason: {row.reason}\n"
        f"From {row.opened_at:%Y-%m-%d %H:%M} to {row.expires_at:%Y-%m-%d %H:%M} UTC at the latest.\n\n"
        f"What is done meanwhile: {settings.URL}{reverse('break-glass', args=[row.pk])}\n"
    )
    return EmailMessage(f"[Cellblock] {who} is in {row.jail_name} by break-glass", text, bcc=to)


def is_open(user: User, jail: Jail) -> bool:
    """Whether this person has broken the glass of this jail, of its owner as of now. One query; asks no role."""
    return jail.pk in open_jails(user, [jail])


def open_jails(user: User, jails: Collection[Jail]) -> dict[int, int]:
    """Of these jails those into which this person may go now: id → that of the break-glass. One query for all."""
    owners = {jail.pk: jail.tenant_id for jail in jails}
    rows = BreakGlass.objects.filter(ended_at=None, expires_at__gt=timezone.now(), user=user, jail__in=owners)
    found = rows.values_list("jail_id", "tenant_id", "pk")
    return {jail: pk for jail, tenant, pk in found if jail is not None and tenant == owners[jail]}


def open_by_person(users: Collection[User], jails: Collection[Jail]) -> set[tuple[int, int]]:
    """(person, jail) of each that is open. One query for all."""
    owners = {jail.pk: jail.tenant_id for jail in jails}
    rows = BreakGlass.objects.filter(ended_at=None, expires_at__gt=timezone.now(), user__in=users, jail__in=owners)
    found = rows.values_list("user_id", "jail_id", "tenant_id")
    return {(person, jail) for person, jail, tenant in found if jail is not None and tenant == owners[jail]}


def shown(rows: QuerySet[BreakGlass], now: datetime | None = None) -> QuerySet[BreakGlass]:
    """Those that stand on pages: open, or not read by an owner yet. The last one first.

    `console_since`: since when its administrator has a console in the jail open now; None without one.
    """
    rows = rows.filter(Q(ended_at=None, expires_at__gt=now or timezone.now()) | Q(acknowledged_at=None))
    consoles = Console.objects.filter(jail=OuterRef("jail"), user=OuterRef("user"), ended_at=None)
    since = Subquery(consoles.order_by("opened_at").values("opened_at")[:1])
    return rows.annotate(console_since=since).select_related("user", "tenant", "jail")


def entries(row: BreakGlass) -> QuerySet[AuditEntry]:
    """What its administrator did in it, by the log: about this tenant, from its beginning to its end."""
    rows = AuditEntry.objects.filter(actor_id=row.user_id, tenant_id=row.tenant_id, at__gte=row.opened_at)
    return rows.filter(at__lte=row.until).order_by("sequence")
