"""The operating agreement: who sees to what on a tenant's jails, and how that is changed.

What is agreed for a jail counts before what is agreed for all of its tenant's, and that before what the panel has. One
side proposes, the other accepts; an administrator may set it alone, and then the tenant is told. What the panel itself
holds people to are operations (`KINDS`): one that is the other side's needs an approval (jails.approvals).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from jails import audit
from jails.models import Agreement, Jail, Side, Tenant, User, Work

State = Agreement.State
DEFAULT = {
    Work.PATCHES: Side.HOST,
    Work.BACKUPS: Side.EITHER,
    Work.PACKAGES: Side.EITHER,
    Work.FIREWALL: Side.HOST,
    Work.RESTARTS: Side.EITHER,
}
"""Where nothing is agreed."""
MEANS = {
    Work.PATCHES: "security fixes of the base system inside the jail",
    Work.BACKUPS: "copies of what is in the jail, and bringing it back",
    Work.PACKAGES: "software from packages and ports, and its fixes",
    Work.FIREWALL: "rules of pf for its addresses",
    Work.RESTARTS: "start, stop and restart",
}
KINDS: dict[str, Work] = {
    "jail_start": Work.RESTARTS,
    "jail_stop": Work.RESTARTS,
    "jail_restart": Work.RESTARTS,
    "snapshot_create": Work.BACKUPS,
    "snapshot_destroy": Work.BACKUPS,
    "snapshot_hold": Work.BACKUPS,
    "snapshot_release": Work.BACKUPS,
    "jail_rollback": Work.BACKUPS,
    "file_restore": Work.BACKUPS,
}
"""Kind of operation → the work that it is. What is not here needs nobody's approval."""
LONGEST = 500
"""Characters of a reason or a comment."""

Terms = dict[Work, Side]


class CannotAgree(Exception):
    """The message says why nothing was agreed, proposed or withdrawn."""


@dataclass(frozen=True)
class Line:
    """One kind of work: who sees to it, where that comes from, and whether the panel holds operations to it."""

    work: Work
    side: Side
    origin: str
    """`jail`, `tenant` or `panel`."""

    @property
    def label(self) -> str:
        return str(self.work.label)

    @property
    def means(self) -> str:
        return MEANS[self.work]

    @property
    def is_held(self) -> bool:
        return self.work in KINDS.values()


def held() -> set[Work]:
    """The kinds of work of which there are operations."""
    return set(KINDS.values())


def terms_of(jails: Collection[Jail]) -> dict[int, Terms]:
    """Id of each of these jails that are some tenant's → all that counts for it. One query for all."""
    rows = _in_force(jails)
    return {
        jail.pk: {work: _side(work, jail, rows)[0] for work in Work} for jail in jails if jail.tenant_id is not None
    }


def lines_of(jail: Jail) -> list[Line]:
    """The table of a tenant's jail. One query."""
    rows = _in_force([jail])
    return [Line(work, *_side(work, jail, rows)) for work in Work]


def lines_for_all(tenant: Tenant) -> list[Line]:
    """Of a tenant: what counts for jails that have no agreement of their own."""
    row = Agreement.objects.filter(state=State.IN_FORCE, tenant=tenant, jail=None).first()
    terms = _known(row.terms) if row else {}
    return [Line(work, terms[work], "tenant") if work in terms else Line(work, DEFAULT[work], "panel") for work in Work]


def _in_force(jails: Collection[Jail]) -> dict[tuple[int, int | None], Terms]:
    """(tenant, jail or None) → what is agreed there."""
    rows = Agreement.objects.filter(state=State.IN_FORCE, tenant__in={jail.tenant_id for jail in jails} - {None})
    rows = rows.filter(Q(jail=None) | Q(jail__in=[jail.pk for jail in jails]))
    return {(tenant, jail): _known(terms) for tenant, jail, terms in rows.values_list("tenant_id", "jail_id", "terms")}


def _side(work: Work, jail: Jail, rows: Mapping[tuple[int, int | None], Terms]) -> tuple[Side, str]:
    assert jail.tenant_id is not None
    for key, origin in ((jail.pk, "jail"), (None, "tenant")):
        side = rows.get((jail.tenant_id, key), {}).get(work)
        if side is not None:
            return side, origin
    return DEFAULT[work], "panel"


def _known(terms: Mapping[str, str]) -> Terms:
    """Without what another release may have written."""
    return {Work(work): Side(side) for work, side in terms.items() if work in Work.values and side in Side.values}


# Changing it


def propose(
    tenant: Tenant, jail: Jail | None, terms: Terms, *, side: Side, user: User, reason: str = "", source: str = ""
) -> Agreement:
    """Ask the other side for it. Replaces a proposal that one's own side has open. Raises CannotAgree."""
    with _of(tenant, jail):
        before = _row(tenant, jail, State.PROPOSED)
        if before is not None and before.side != side:
            raise CannotAgree("The other side has proposed something already: answer that first.")
        if before is not None:
            _decide(before, State.WITHDRAWN, user, "")
        if _written(_row(tenant, jail, State.IN_FORCE)) == _plain(terms):
            raise CannotAgree("That is what is agreed already.")
        row = _new(tenant, jail, terms, State.PROPOSED, side, user, reason)
        _note("agreement.propose", row, user, source, before=_in_force_now(row), after=row.terms, detail=reason)
    return row


def set_alone(
    tenant: Tenant, jail: Jail | None, terms: Terms, *, user: User, reason: str, source: str = ""
) -> Agreement:
    """By an administrator, asking nobody: it counts at once, and the tenant is told. Raises CannotAgree."""
    with _of(tenant, jail):
        before = _row(tenant, jail, State.IN_FORCE)
        if _written(before) == _plain(terms):
            raise CannotAgree("That is what is agreed already.")
        was = _written(before)
        proposal = _row(tenant, jail, State.PROPOSED)
        if proposal is not None:
            _decide(proposal, State.REPLACED, user, "")
        if before is not None:
            _replace(before)
        row = _new(tenant, jail, terms, State.IN_FORCE, Side.HOST, user, reason)
        row.decided_by, row.decided_at, row.unread = user, row.proposed_at, True
        row.save()
        _note("agreement.set", row, user, source, before=was, after=row.terms, detail=reason)
    return row


def accept(proposal: Agreement, *, user: User, comment: str = "", source: str = "") -> None:
    """Ask the policy first (`agreement.decide`). Raises CannotAgree when it is not open any more."""
    with _of(proposal.tenant, proposal.jail):
        row = _open(proposal)
        before = _row(row.tenant, row.jail, State.IN_FORCE)
        was = _written(before)
        if before is not None:
            _replace(before)
        _decide(row, State.IN_FORCE, user, comment)
        _note("agreement.accept", row, user, source, before=was, after=row.terms, detail=comment)


def refuse(proposal: Agreement, *, user: User, comment: str = "", source: str = "") -> None:
    _turn_down(proposal, State.REFUSED, "agreement.refuse", user, comment, source)


def withdraw(proposal: Agreement, *, user: User, source: str = "") -> None:
    _turn_down(proposal, State.WITHDRAWN, "agreement.withdraw", user, "", source)


def _turn_down(proposal: Agreement, state: str, action: str, user: User, comment: str, source: str) -> None:
    with transaction.atomic():
        row = _open(proposal)
        _decide(row, state, user, comment)
        _note(action, row, user, source, after=row.terms, detail=comment)


def mark_read(row: Agreement, *, user: User, source: str = "") -> None:
    """Who speaks for the tenant has read what an administrator set alone. Twice is once."""
    with transaction.atomic():
        if Agreement.objects.filter(pk=row.pk, unread=True).update(unread=False):
            _note("agreement.read", row, user, source)


@contextmanager
def _of(tenant: Tenant, jail: Jail | None) -> Iterator[None]:
    """A transaction in which nobody else changes what is agreed with the tenant; its jail is still the tenant's."""
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if jail and not Jail.objects.filter(pk=jail.pk, tenant=tenant).exists():
            raise CannotAgree("The jail has just got another owner: look at it again.")
        yield


def _open(proposal: Agreement) -> Agreement:
    rows = Agreement.objects.select_for_update(of=("self",)).select_related("tenant", "jail")
    row = rows.filter(pk=proposal.pk).first()
    if row is None or row.state != State.PROPOSED:
        raise CannotAgree("It is not open any more: look at it again.")
    return row


def _row(tenant: Tenant, jail: Jail | None, state: str) -> Agreement | None:
    return Agreement.objects.filter(tenant=tenant, jail=jail, state=state).first()


def _new(tenant: Tenant, jail: Jail | None, terms: Terms, state: str, side: Side, user: User, reason: str) -> Agreement:
    return Agreement.objects.create(
        tenant=tenant, jail=jail, terms=_plain(terms), state=state, side=side, proposed_by=user, reason=reason
    )


def _replace(row: Agreement) -> None:
    row.state, row.unread = State.REPLACED, False
    row.save()


def _decide(row: Agreement, state: str, user: User, comment: str) -> None:
    row.state, row.decided_by, row.decided_at, row.comment = state, user, timezone.now(), comment
    row.save()


def _plain(terms: Terms) -> dict[str, str]:
    return {str(work): str(side) for work, side in terms.items()}


def _written(row: Agreement | None) -> dict[str, str]:
    return _plain(_known(row.terms)) if row else {}


def _in_force_now(row: Agreement) -> dict[str, str]:
    return _written(_row(row.tenant, row.jail, State.IN_FORCE))


def _note(action: str, row: Agreement, user: User, source: str, **fields: Any) -> None:
    audit.record(action, actor=user, obj=row.jail or row.tenant, tenant=row.tenant, source=source, **fields)
