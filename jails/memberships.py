"""What a membership is worth, and its end: who is let out loses at once what being in a team gave.

Others that have to do something about it listen to `ended`; they are called inside the transaction of the change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.dispatch import Signal
from django.utils import timezone

from jails.models import Grant, Invitation, Jail, Membership, Operation, Right, User
from jails.operations import lifecycle

ended = Signal()
"""Somebody is no longer in a team. Arguments: membership (its row is gone already), actor, source."""


def rights_of(membership: Membership) -> dict[str, Any]:
    """Role, rights on all jails and grants by jail's name, as the log has them."""
    found: dict[str, Any] = {"role": membership.role}
    if membership.role != Membership.Role.MEMBER:
        return found
    by_jail: dict[str, list[str]] = {}
    for jail, right in membership.grants.values_list("jail__name", "right"):
        by_jail.setdefault(jail, []).append(right)
    return found | {"all_jails": sorted(membership.rights)} | ({"jails": by_jail} if by_jail else {})


def set_grants(membership: Membership, jail: Jail, rights: Iterable[str]) -> None:
    """Exactly these rights on the jail, beside those on all."""
    wanted = {Right(right).value for right in rights}
    membership.grants.filter(jail=jail).exclude(right__in=wanted).delete()
    has = set(membership.grants.filter(jail=jail).values_list("right", flat=True))
    Grant.objects.bulk_create([Grant(membership=membership, jail=jail, right=right) for right in sorted(wanted - has)])


def end(membership: Membership, *, actor: User, source: str) -> dict[str, int]:
    """Take somebody out of the team, in the transaction of the caller. What ended with it, by name, for the log.

    The links that they made for the team and the plans they have not confirmed go with it. What they have confirmed is
    asked about again by the worker, which finds that they may no longer.
    """
    person, tenant = membership.user, membership.tenant
    Membership.objects.filter(pk=membership.pk).delete()
    links = Invitation.objects.filter(tenant=tenant, created_by=person, used_at=None, expires_at__gt=timezone.now())
    withdrawn = links.update(expires_at=timezone.now())
    discarded = lifecycle.discard_drafts(Operation.objects.filter(tenant=tenant, requested_by=person))
    ended.send(Membership, membership=membership, actor=actor, source=source)
    return {"links_withdrawn": withdrawn, "plans_discarded": discarded}
