"""Keys that have to leave jails: those of who may not put them there any more, and those that were given up.

Each becomes an operation of whoever caused it, queued in the same act. Where none can be (a host that has never
answered, a jail that another tool runs), and where one ends badly, the key's row says so until somebody tries again.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.dispatch import receiver
from django.utils import timezone

from jails import audit, memberships, policy
from jails.models import Jail, JailKey, Operation, SshKey, Tenant, User
from jails.operations import lifecycle
from jails.operations.kind import Refused

WITH = ("jail__tenant", "jail__host")
MOST = 200
"""Operations that one act queues: what is more waits until somebody tries again."""
GIFT = timedelta(minutes=5)


def settle(person: User, *, actor: Any, source: str = "") -> int:
    """Take out all keys of a person that they may have no more, as of now. How many; in the caller's transaction."""
    now = _held(person)
    rows = JailKey.objects.filter(user=person, leaving_since=None).select_related(*WITH)
    return leave([row for row in rows if not policy.allowed(now, "jail.keys", row.jail)], actor=actor, source=source)


def settle_given(jail: Jail, tenant: Tenant | None, *, actor: Any, source: str = "") -> int:
    """The same for all whose keys are in a jail that is about to become that tenant's. How many.

    The operations are still its former owner's, as is what the log says of them.
    """
    then = copy.copy(jail)
    then.tenant = tenant
    rows = JailKey.objects.filter(jail=jail, leaving_since=None).select_related(*WITH, "user").order_by("pk")
    people = {person.pk: person for person in User.objects.filter(jail_keys__jail=jail).distinct()}
    kept = {key for key, person in people.items() if policy.allowed(person, "jail.keys", then)}
    return leave([row for row in rows if row.user_id not in kept], actor=actor, source=source)


def known_to(user: User, jail_keys: QuerySet[JailKey]) -> QuerySet[JailKey]:
    """Without what a former owner's people have left in a jail: of that only those know who see its host."""
    if user.is_administrator or user.is_auditor:
        return jail_keys
    staff = Q(jail__host_id__in=policy.operated_host_ids(user))
    own = (Q(removal=None) & ~Exists(_gifts_since())) | Q(removal__tenant=F("jail__tenant"))
    return jail_keys.filter(staff | own | Q(user=user))


def _gifts_since() -> QuerySet[Operation]:
    """Of a key that is to leave: what has given its jail away then or later, so that it is a former owner's.

    Keys that have to leave because of a gift are marked in the act that ends it, a moment after the time that it bears.
    """
    since = OuterRef("leaving_since") - GIFT
    gifts = Operation.objects.filter(kind="jail_give", status=Operation.Status.DONE, finished_at__gte=since)
    return gifts.filter(jails=OuterRef("jail"))


def settle_finished(jail: Jail, person: User, *, source: str) -> int:
    """Take out what came to an end while an operation put it in: the right to it, or the key on the profile.

    In the transaction that notes the keys down, so that none is in a jail unknown to whoever ends a right: either they
    see its row, or this sees that the right has ended. Done as the person's own. How many.
    """
    now = _held(person)
    rows = list(JailKey.objects.filter(jail=jail, user=person, leaving_since=None).select_related(*WITH))
    if policy.allowed(now, "jail.keys", jail):
        have = set(SshKey.objects.filter(user=person).values_list("fingerprint", flat=True))
        rows = [row for row in rows if row.fingerprint not in have]
    return leave(rows, actor=now, source=source)


def give_up(key: SshKey, *, source: str = "") -> int:
    """Remove a key from its person's profile, and take it out of all jails. How many logins lose it."""
    person = key.user
    rows = JailKey.objects.filter(user=person, fingerprint=key.fingerprint).select_related(*WITH)
    with transaction.atomic():
        _held(person)
        count = leave(list(rows), actor=person, source=source)
        before = {"name": key.name, "fingerprint": key.fingerprint}
        key.delete()
        audit.record("user.key_remove", actor=person, obj=person, before=before, source=source)
    return count


def _held(person: User) -> User:
    """Read afresh. Until the transaction ends, nobody else decides which of the person's keys have to leave."""
    return User.objects.select_for_update(no_key=True).get(pk=person.pk)


def leave(rows: Iterable[JailKey], *, actor: Any, source: str = "") -> int:
    """Queue what takes these out. How many keys."""
    groups: dict[tuple[Jail, str, User], list[JailKey]] = defaultdict(list)
    for row in rows:
        groups[row.jail, row.login, row.user].append(row)
    JailKey.objects.filter(pk__in=[row.pk for group in groups.values() for row in group], leaving_since=None).update(
        leaving_since=timezone.now()
    )
    for number, (jail, login, person) in enumerate(groups):
        again = any(row.leaving_since for row in groups[jail, login, person])
        why = _take_out(jail, login, person, actor, source, again) if number < MOST else "Too many at once: try again."
        if why:
            JailKey.objects.filter(pk__in=[row.pk for row in groups[jail, login, person]]).update(
                removal=None, why_not=why[:300]
            )
    return sum(map(len, groups.values()))


def _take_out(jail: Jail, login: str, person: User, actor: Any, source: str, again: bool) -> str:
    """Why it cannot be done for now, or "". What goes is all of the person's there that is to leave.

    again: it was to leave already before this act.
    """
    rows = JailKey.objects.filter(jail=jail, login=login, user=person)
    stay = list(rows.filter(leaving_since=None).values_list("fingerprint", flat=True))
    before = rows.exclude(removal=None).exclude(leaving_since=None).select_related("removal").first()
    wish = {"jail": str(jail.uuid), "login": login, "person": person.pk, "keys": stay, "sshd": False}
    try:
        # Of its own: what is refused half way must not break what the caller does.
        with transaction.atomic():
            operation = lifecycle.draft("keys_change", wish, host=jail.host, user=actor, source=source)
            if before is not None and before.removal is not None:
                # Tried once more: still of whose jail it was.
                Operation.objects.filter(pk=operation.pk).update(tenant=before.removal.tenant_id)
            elif again and rows.filter(Exists(_gifts_since()), removal=None).exists():
                # Whose people these are is not told to who has the jail now.
                Operation.objects.filter(pk=operation.pk).update(tenant=None)
            operation = lifecycle.confirm(operation, operation.digest, user=actor, source=source)
    except Refused as refused:
        return " ".join(refused.errors.values())
    except (PermissionDenied, LookupError) as error:
        return f"{error}"
    rows.exclude(leaving_since=None).update(removal=operation, why_not="")
    return ""


@receiver(memberships.ended)
def _left(sender: Any, membership: Any, actor: Any, source: str, **kwargs: Any) -> None:
    settle(membership.user, actor=actor, source=source)
