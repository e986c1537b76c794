"""What one side may do of the other's work: asked, granted, used once or for a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from jails import agreements, approvals, audit, breakglass, memberships, policy, tasks
from jails.models import Approval, AuditEntry, Jail, Membership, Operation, Side, User, Work
from jails.operations import kind, lifecycle, queue
from tests.panel.fleet import Fleet, add_jail, make_fleet
from tests.panel.planned import Planned

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
State = Approval.State


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    real, state = kind.get, Planned.State()
    monkeypatch.setattr(kind, "get", lambda name: Planned(real(name), state))
    monkeypatch.setattr(queue, "send", lambda row: True)
    return make_fleet()


def agree(fleet: Fleet, side: Side, jail: str | None = None) -> None:
    agreements.set_alone(
        fleet.acme,
        fleet.jails[jail] if jail else None,
        {Work.RESTARTS: side},
        user=fleet.people["administrator"],
        reason="As it is in the contract.",
    )


def draft(fleet: Fleet, role: str, *names: str, name: str = "jail_stop", **fields: Any) -> Operation:
    jails = [str(fleet.jails[one].uuid) for one in names or ("www1",)]
    return lifecycle.draft(name, {"jails": jails}, host=fleet.zfs, user=fleet.people[role], **fields)


def confirm(fleet: Fleet, operation: Operation, role: str) -> Operation:
    return lifecycle.confirm(operation, operation.digest, user=fleet.people[role], source="192.0.2.9")


def refused(fleet: Fleet, operation: Operation, role: str) -> str:
    with pytest.raises(kind.Refused) as refusal:
        confirm(fleet, operation, role)
    return str(refusal.value)


def asked(fleet: Fleet, operation: Operation, role: str, **fields: Any) -> Approval:
    (row,) = approvals.ask(operation, "The site is down.", user=fleet.people[role], **fields)
    return row


def pass_time(row: Approval, by: timedelta) -> None:
    Approval.objects.filter(pk=row.pk).update(expires_at=row.expires_at - by)


SIDES = [(Side.HOST, "member", "administrator"), (Side.TENANT, "administrator", "owner")]
"""Whose work it is, who wants to do it, who may approve."""


# Who needs one


@pytest.mark.parametrize(
    ("side", "may"), [(Side.EITHER, "AMO"), (Side.HOST, "A"), (Side.TENANT, "MO")], ids=lambda value: str(value)
)
def test_whose_work_it_is_does_it_without_asking(side: Side, may: str, fleet: Fleet) -> None:
    agree(fleet, side)
    letters = {"A": "administrator", "M": "member", "O": "owner"}
    needs_none = [
        letter for letter, role in letters.items() if not approvals.lack(fleet.people[role], draft(fleet, role))
    ]
    assert "".join(sorted(needs_none)) == may


def test_jails_of_nobody_and_other_kinds_need_none(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    admin = fleet.people["administrator"]
    assert not approvals.lack(admin, draft(fleet, "administrator", "loghost"))
    assert not approvals.lack(admin, Operation(kind="host_setup", host=fleet.zfs))
    assert approvals.lack(admin, draft(fleet, "administrator", "loghost", "www1")).names == "www1"


def test_who_is_of_both_sides_needs_none(fleet: Fleet) -> None:
    admin = fleet.people["administrator"]
    Membership.objects.create(tenant=fleet.acme, user=admin, role="member")
    for side in (Side.TENANT, Side.HOST):
        agree(fleet, side)
        assert not approvals.lack(User.objects.get(pk=admin.pk), draft(fleet, "administrator"))


def test_the_same_queries_for_one_jail_and_for_many(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    names = [add_jail(fleet, f"more{number}", tenant=fleet.acme).name for number in range(12)]
    admin = fleet.people["administrator"]
    policy.tenant_roles(admin)  # read once for each person
    counts = []
    for some in (names[:1], names):
        operation = draft(fleet, "administrator", *some)
        with CaptureQueriesContext(connection) as queries:
            lacks = approvals.lack(admin, operation)
            approvals.cover(admin, operation, operation.digest, lacks, Approval.objects.all())
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 6


# Asked, granted, used


@pytest.mark.parametrize(("side", "by", "other"), SIDES)
def test_it_is_asked_granted_and_used_once(side: Side, by: str, other: str, fleet: Fleet) -> None:
    agree(fleet, side)
    operation = draft(fleet, by)
    why = refused(fleet, operation, by)
    whose = "the host" if side == Side.HOST else "Acme"
    assert why == (f"Restarts of www1 are the work of {whose} by the operating agreement: ask for approval.")
    row = asked(fleet, operation, by)
    assert (row.side, row.work, row.digest, row.subject) == (side, Work.RESTARTS, operation.digest, operation.title)
    assert "ask for approval" in refused(fleet, operation, by), "asked is not granted"
    approvals.grant(row, user=fleet.people[other], comment="Go on.")
    confirmed = confirm(fleet, operation, by)
    words = f"approval {row.pk} of {other}-person"
    assert (confirmed.approved_by, confirmed.on_behalf_of) == (words, f"{other}-person")
    assert list(confirmed.approvals.all()) == [row]
    entry = AuditEntry.objects.get(action="operation.confirm", outcome="done")
    assert (entry.approval, entry.on_behalf_of, entry.actor) == (words, f"{other}-person", f"{by}-person")
    row.refresh_from_db()
    assert row.status == "used"
    assert approvals.why_not_begin(confirmed) == ""
    assert "ask for approval" in refused(fleet, draft(fleet, by), by), "the next plan needs another one"


def test_all_of_it_is_in_the_tenants_log(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    row = asked(fleet, operation, "member")
    approvals.grant(row, user=fleet.people["operator"], comment="Go on.")
    approvals.withdraw(row, user=fleet.people["operator"])
    entries = AuditEntry.objects.filter(action__startswith="approval.").order_by("sequence")
    assert [(one.action, one.actor, one.tenant, one.detail) for one in entries] == [
        ("approval.ask", "member-person", "acme", "The site is down."),
        ("approval.grant", "operator-person", "acme", "Go on."),
        ("approval.withdraw", "operator-person", "acme", "Go on."),
    ]
    assert {(one.operation, one.plan_digest) for one in entries} == {(str(operation.pk), operation.digest)}
    assert entries[0].after == {"approval": row.pk, "work": "restarts", "of": "host", "for": "this plan"}


def test_what_somebody_else_was_approved_is_not_ones_own(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    approvals.grant(asked(fleet, operation, "member"), user=fleet.people["administrator"])
    assert "ask for approval" in refused(fleet, operation, "owner")


def test_another_plan_is_not_what_was_approved(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    row = asked(fleet, operation, "member")
    Operation.objects.filter(pk=operation.pk).update(digest="f" * 64)
    with pytest.raises(approvals.CannotApprove, match="not the one that would run"):
        approvals.grant(row, user=fleet.people["administrator"])
    Operation.objects.filter(pk=operation.pk).update(digest=operation.digest)
    approvals.grant(row, user=fleet.people["administrator"])
    Approval.objects.filter(pk=row.pk).update(digest="f" * 64)
    assert "ask for approval" in refused(fleet, operation, "member")


@pytest.mark.parametrize("state", [State.ASKED, State.REFUSED, State.WITHDRAWN])
def test_only_one_that_is_granted_counts(state: str, fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    row = asked(fleet, operation, "member")
    Approval.objects.filter(pk=row.pk).update(state=state)
    assert "ask for approval" in refused(fleet, operation, "member")


def test_it_ends_by_itself(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    row = asked(fleet, operation, "member")
    pass_time(row, Approval.ANSWERED_WITHIN)
    row.refresh_from_db()
    assert row.status == "expired"
    with pytest.raises(approvals.CannotApprove, match="not open"):
        approvals.grant(row, user=fleet.people["administrator"])
    again = asked(fleet, draft(fleet, "member"), "member")
    approvals.grant(again, user=fleet.people["administrator"])
    again.refresh_from_db()
    pass_time(again, Approval.ONCE)
    assert "ask for approval" in refused(fleet, again.operation, "member")


def test_for_a_kind_of_work_it_is_used_as_often_as_needed_on_that_jail(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    row = asked(fleet, draft(fleet, "administrator"), "administrator", lasts=4 * HOUR)
    assert (row.jail, row.operation, row.subject) == (fleet.jails["www1"], None, "www1")
    approvals.grant(row, user=fleet.people["owner"])
    for name in ("jail_stop", "jail_restart"):
        confirmed = confirm(fleet, draft(fleet, "administrator", name=name), "administrator")
        assert confirmed.approved_by == f"approval {row.pk} of owner-person"
    row.refresh_from_db()
    assert row.status == State.GRANTED
    assert "www2" in refused(fleet, draft(fleet, "administrator", "www2", name="jail_start"), "administrator")
    pass_time(row, 4 * HOUR)
    refused(fleet, draft(fleet, "administrator"), "administrator")


def test_several_jails_are_asked_for_together(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    add_jail(fleet, "www3", tenant=fleet.acme)
    operation = draft(fleet, "administrator", "www1", "www3")
    rows = approvals.ask(operation, "Kernel update.", user=fleet.people["administrator"], lasts=HOUR)
    assert [row.subject for row in rows] == ["www1", "www3"]
    approvals.grant(rows[0], user=fleet.people["owner"])
    assert refused(fleet, operation, "administrator").startswith("Restarts of www3 are")
    approvals.grant(rows[1], user=fleet.people["owner"])
    assert confirm(fleet, operation, "administrator").approvals.count() == 2


# What cannot be asked, and by whom it is answered


def test_what_cannot_be_asked(fleet: Fleet) -> None:
    admin = fleet.people["administrator"]
    with pytest.raises(approvals.CannotApprove, match="Nobody needs to be asked"):
        asked(fleet, draft(fleet, "administrator"), "administrator")
    agree(fleet, Side.TENANT)
    operation = draft(fleet, "administrator")
    with pytest.raises(approvals.CannotApprove, match="Say why"):
        approvals.ask(operation, "  ", user=admin)
    for lasts in (timedelta(0), timedelta(days=7, seconds=1)):
        with pytest.raises(approvals.CannotApprove, match="7 days at most"):
            asked(fleet, operation, "administrator", lasts=lasts)
    row = asked(fleet, operation, "administrator")
    with pytest.raises(approvals.CannotApprove, match="just been asked"):
        asked(fleet, operation, "administrator")
    approvals.grant(row, user=fleet.people["owner"])
    with pytest.raises(approvals.CannotApprove, match="approved already"):
        asked(fleet, operation, "administrator")
    lifecycle.discard(operation, user=admin)
    with pytest.raises(approvals.CannotApprove, match="no plan any more"):
        asked(fleet, operation, "administrator")


def test_what_nobody_answered_in_time_is_asked_again(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    Operation.objects.filter(pk=operation.pk).update(status=Operation.Status.STALE)
    first = asked(fleet, operation, "member")
    pass_time(first, Approval.ANSWERED_WITHIN)
    second = asked(fleet, operation, "member")
    first.refresh_from_db()
    assert (first.status, second.status) == ("withdrawn", "asked")


def test_a_colleague_asks_for_the_same_plan_for_themselves(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    asked(fleet, operation, "member")
    theirs = asked(fleet, operation, "owner")
    approvals.grant(theirs, user=fleet.people["administrator"])
    assert "ask for approval" in refused(fleet, operation, "member")
    assert confirm(fleet, operation, "owner").approved_by == f"approval {theirs.pk} of administrator-person"


def test_one_that_was_used_and_taken_back_is_shown_as_taken_back(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    row = asked(fleet, operation, "member")
    approvals.grant(row, user=fleet.people["administrator"])
    confirm(fleet, operation, "member")
    approvals.withdraw(row, user=fleet.people["administrator"])
    row.refresh_from_db()
    assert (row.status, row.used_at is None) == ("withdrawn", False)


def test_a_plan_for_several_tenants_names_none_to_another(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    add_jail(fleet, "shop", tenant=fleet.other)
    with pytest.raises(approvals.CannotApprove, match="several owners"):
        asked(fleet, draft(fleet, "administrator", "www1", "shop"), "administrator")
    assert not Approval.objects.exists()


@pytest.mark.parametrize(
    ("side", "by", "may"),
    [(Side.HOST, "member", ["administrator", "operator"]), (Side.TENANT, "administrator", ["owner"])],
)
def test_who_may_answer(side: Side, by: str, may: list[str], fleet: Fleet) -> None:
    agree(fleet, side)
    row = asked(fleet, draft(fleet, by), by)
    people = fleet.people | {"manager": User.objects.create_user("manager-person")}
    Membership.objects.create(tenant=fleet.acme, user=people["manager"], role="manager")
    found = [name for name, person in people.items() if policy.allowed(person, "approval.decide", row)]
    assert found == may + (["manager"] if side == Side.TENANT else [])
    assert policy.allowed(people[by], "approval.withdraw", row)
    assert not policy.allowed(people["viewer"], "approval.withdraw", row)


def test_who_leaves_the_team_leaves_what_was_approved(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    row = asked(fleet, draft(fleet, "member"), "member", lasts=HOUR)
    other = asked(fleet, draft(fleet, "owner"), "owner")
    approvals.grant(row, user=fleet.people["administrator"])
    with transaction.atomic():
        membership = Membership.objects.get(user=fleet.people["member"])
        memberships.end(membership, actor=fleet.people["owner"], source="203.0.113.4")
    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.state, row.decided_by, other.state) == (State.WITHDRAWN, fleet.people["owner"], State.ASKED)
    entry = AuditEntry.objects.get(action="approval.withdraw")
    assert (entry.actor, entry.source, entry.tenant) == ("owner-person", "203.0.113.4", "acme")


def test_nobody_answers_what_they_asked_themselves(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    row = asked(fleet, draft(fleet, "administrator"), "administrator")
    admin = User.objects.get(pk=fleet.people["administrator"].pk)
    Membership.objects.create(tenant=fleet.acme, user=admin, role="owner")
    assert policy.speaks_for(admin, Side.TENANT, row) and not policy.allowed(admin, "approval.decide", row)


# The worker asks again


def queued(fleet: Fleet) -> tuple[Operation, Approval]:
    agree(fleet, Side.TENANT)
    operation = draft(fleet, "administrator")
    row = asked(fleet, operation, "administrator")
    approvals.grant(row, user=fleet.people["owner"])
    return confirm(fleet, operation, "administrator"), row


def test_taken_back_before_it_begins_it_does_not_begin(fleet: Fleet) -> None:
    operation, row = queued(fleet)
    approvals.withdraw(row, user=fleet.people["owner"])
    assert "has ended or was taken back" in approvals.why_not_begin(operation)


def test_ended_before_it_begins_it_does_not_begin(fleet: Fleet) -> None:
    operation, row = queued(fleet)
    row.refresh_from_db()
    pass_time(row, Approval.ONCE)
    assert "has ended or was taken back" in approvals.why_not_begin(operation)


def test_an_agreement_that_changes_meanwhile_is_asked_about(fleet: Fleet) -> None:
    operation = confirm(fleet, draft(fleet, "administrator"), "administrator")
    assert approvals.why_not_begin(operation) == ""
    agree(fleet, Side.TENANT)
    assert "ask for approval" in approvals.why_not_begin(operation)


def test_an_approval_that_it_was_not_confirmed_by_does_not_count(fleet: Fleet) -> None:
    operation, _ = queued(fleet)
    operation.approvals.clear()
    assert approvals.why_not_begin(operation)


# Break-glass


def test_break_glass_stands_for_the_tenants_approval_while_it_is_open(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    admin = fleet.people["administrator"]
    glass = breakglass.enter(fleet.jails["www1"], "Its mail queue fills the disk.", HOUR, user=admin)
    operation = confirm(fleet, draft(fleet, "administrator"), "administrator")
    assert (operation.approved_by, operation.on_behalf_of) == (f"break-glass {glass.pk}", "")
    assert AuditEntry.objects.get(action="operation.confirm").approval == f"break-glass {glass.pk}"
    assert approvals.why_not_begin(operation) == ""
    assert "www2" in refused(fleet, draft(fleet, "administrator", "www2", name="jail_start"), "administrator")
    breakglass.end(glass, user=admin)
    assert "has ended or was taken back" in approvals.why_not_begin(operation)


def test_break_glass_of_who_is_no_administrator_any_more_approves_nothing(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    admin = fleet.people["administrator"]
    breakglass.enter(fleet.jails["www1"], "Its mail queue fills the disk.", HOUR, user=admin)
    operation = confirm(fleet, draft(fleet, "administrator"), "administrator")
    admin.role = "operator"
    admin.save()
    admin.operated_hosts.add(fleet.zfs)
    fresh = Operation.objects.get(pk=operation.pk)
    assert "has ended or was taken back" in approvals.why_not_begin(fresh)
    assert "ask for approval" in refused(fleet, draft(fleet, "administrator"), "administrator")


def test_what_others_do_to_it_is_done_for_nobody(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    approvals.grant(asked(fleet, operation, "member"), user=fleet.people["administrator"])
    confirmed = confirm(fleet, operation, "member")
    words = (confirmed.approved_by, confirmed.on_behalf_of)
    with transaction.atomic():
        audit.record("jail.stop", actor="worker", operation=confirmed)
        audit.record("jail.stop", actor=fleet.people["member"], operation=confirmed)
    lifecycle.cancel(confirmed, user=fleet.people["owner"])
    by = {entry.actor: entry for entry in AuditEntry.objects.filter(action__in=["jail.stop", "operation.cancel"])}
    assert {actor: (one.approval, one.on_behalf_of) for actor, one in by.items()} == {
        "worker": words,
        "member-person": words,
        "owner-person": (None, ""),
    }


def test_a_new_confirmation_that_is_refused_is_not_by_the_approval_of_the_last(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = draft(fleet, "member")
    approvals.grant(asked(fleet, operation, "member"), user=fleet.people["administrator"])
    confirmed = confirm(fleet, operation, "member")
    Operation.objects.filter(pk=confirmed.pk).update(status=Operation.Status.STALE)
    with pytest.raises(kind.Refused, match="ask for approval"):
        lifecycle.accept_new_plan(confirmed, confirmed.digest, user=fleet.people["member"])
    entry = AuditEntry.objects.get(action="operation.confirm", outcome="refused")
    assert (entry.approval, entry.on_behalf_of) == (None, "")


def test_break_glass_is_no_approval_of_the_host(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    member = fleet.people["member"]
    breakglass.enter(fleet.jails["www1"], "Its mail queue fills the disk.", HOUR, user=member)
    assert "ask for approval" in refused(fleet, draft(fleet, "member"), "member")


# Drafts


def test_a_plan_that_waits_for_an_answer_is_not_put_away(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    kept, gone = draft(fleet, "administrator"), draft(fleet, "administrator")
    row = asked(fleet, kept, "administrator")
    Operation.objects.update(created_at=kept.created_at - timedelta(hours=25))
    tasks.sweep()
    statuses = dict(Operation.objects.values_list("pk", "status"))
    assert statuses == {kept.pk: "draft", gone.pk: "discarded"}
    pass_time(row, Approval.ANSWERED_WITHIN)
    tasks.sweep()
    assert Operation.objects.get(pk=kept.pk).status == "discarded"


def test_what_waits_for_an_answer(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    operation = draft(fleet, "administrator")
    row = asked(fleet, operation, "administrator")
    rows = approvals.waiting(policy.visible(fleet.people["owner"], Approval))
    assert approvals.to_answer(fleet.people["owner"], rows) == [row]
    assert approvals.to_answer(fleet.people["viewer"], rows) == []
    lifecycle.discard(operation, user=fleet.people["administrator"])
    assert list(approvals.waiting(Approval.objects.all())) == []


def test_the_jail_may_be_gone(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    operation = draft(fleet, "administrator")
    Jail.objects.filter(name="www1").delete()
    with pytest.raises(approvals.CannotApprove, match="gone"):
        asked(fleet, operation, "administrator")
    with pytest.raises(PermissionDenied, match="gone"):
        confirm(fleet, operation, "administrator")
