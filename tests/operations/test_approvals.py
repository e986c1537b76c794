"""An approval from the question to the end of what it was for, on a simulated host; and two who use it at once."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest

from jails import agreements, approvals, breakglass
from jails.models import Approval, AuditEntry, Jail, Membership, Side, Tenant, User, Work
from jails.operations import kind, lifecycle
from tests.operations.test_simultaneous import at_once
from tests.panel.fleet import make_fleet
from tests.panel.planned import Planned


@pytest.fixture
def acme(warden):
    """Its jail www1 runs; restarts are the tenant's work."""
    acme = Tenant.objects.create(slug="acme", name="Acme")
    owner = User.objects.create_user("olive")
    Membership.objects.create(tenant=acme, user=owner, role="owner")
    jail = warden.make("www1", "192.0.2.11")
    jail.tenant = acme
    jail.save()
    agreements.set_alone(acme, None, {Work.RESTARTS: Side.TENANT}, user=warden.user, reason="As in the contract.")
    return acme


def draft(warden):
    jail = Jail.objects.get(name="www1")
    return warden.draft("jail_stop", jails=[str(jail.uuid)])


def approved(warden):
    operation = draft(warden)
    (row,) = approvals.ask(operation, "It must go down for a new disk.", user=warden.user)
    approvals.grant(row, user=User.objects.get(username="olive"))
    return lifecycle.confirm(operation, operation.digest, user=warden.user), row


def test_what_is_approved_runs_to_its_end_and_the_log_says_by_what(warden, acme):
    operation, row = approved(warden)
    warden.work(operation)
    assert operation.status == "done" and warden.running() == {}
    words = f"approval {row.pk} of olive"
    entries = AuditEntry.objects.filter(operation=str(operation.pk), action__in=("operation.confirm", "jail.power"))
    assert {(one.action, one.source, one.approval, one.on_behalf_of) for one in entries} == {
        ("operation.confirm", "", words, "olive"),
        ("jail.power", "worker", words, "olive"),
    }


def test_what_is_taken_back_before_a_worker_begins_does_not_run(warden, acme):
    operation, row = approved(warden)
    approvals.withdraw(row, user=User.objects.get(username="olive"))
    warden.work(operation)
    assert operation.status == "refused" and "was taken back" in operation.error
    assert list(warden.running()) == ["www1"]


def test_what_was_begun_by_break_glass_ends_when_that_has_ended_meanwhile(warden, acme):
    operation = draft(warden)
    glass = breakglass.enter(operation.jails.get(), "It floods the network.", timedelta(hours=1), user=warden.user)
    lifecycle.confirm(operation, operation.digest, user=warden.user)
    breakglass.end(glass, user=warden.user)
    assert warden.work(operation) == "refused"
    assert list(warden.running()) == ["www1"]


def test_an_agreement_made_after_the_confirmation_counts(warden, acme):
    agreements.set_alone(acme, None, {Work.RESTARTS: Side.EITHER}, user=warden.user, reason="For now.")
    operation = draft(warden)
    lifecycle.confirm(operation, operation.digest, user=warden.user)
    agreements.set_alone(acme, None, {Work.RESTARTS: Side.TENANT}, user=warden.user, reason="Again.")
    warden.work(operation)
    assert operation.status == "refused" and "ask for approval" in operation.error


def test_a_row_that_says_it_is_approved_does_not_make_it_so(warden, acme):
    """As somebody could write who has the database and no owner's word."""
    operation = draft(warden)
    glass = breakglass.enter(operation.jails.get(), "It floods the network.", timedelta(hours=1), user=warden.user)
    lifecycle.confirm(operation, operation.digest, user=warden.user)
    breakglass.end(glass, user=warden.user)
    (row,) = Approval.objects.bulk_create(
        [
            Approval(
                tenant=acme, host=warden.row, operation=operation, digest="f" * 64, work="restarts", side="tenant",
                asked_by=warden.user, lasts=timedelta(hours=1), state="granted", expires_at=glass.expires_at,
                decided_by=User.objects.get(username="olive"), subject="Stop www1", reason="Because.",
            )
        ]
    )  # fmt: skip
    operation.approvals.set([row])
    assert warden.work(operation) == "refused"


# Two at once


@pytest.fixture
def fleet(committed, messages, monkeypatch):
    real, state = kind.get, Planned.State()
    monkeypatch.setattr(kind, "get", lambda name: Planned(real(name), state))
    fleet = make_fleet()
    agreements.set_alone(
        fleet.acme, None, {Work.RESTARTS: Side.TENANT}, user=fleet.people["administrator"], reason="As agreed."
    )
    return fleet


def granted(fleet):
    admin = fleet.people["administrator"]
    jail = fleet.jails["www1"]
    operation = lifecycle.draft("jail_stop", {"jails": [str(jail.uuid)]}, host=fleet.zfs, user=admin)
    (row,) = approvals.ask(operation, "It must go down.", user=admin)
    approvals.grant(row, user=fleet.people["owner"])
    return operation, row


@pytest.fixture
def together(monkeypatch):
    """Both look at what is approved before either goes on, where nothing keeps them from it."""
    barrier, real = threading.Barrier(2), approvals.cover

    def cover(*args):
        found = real(*args)
        with suppress(threading.BrokenBarrierError):
            barrier.wait(1.5)
        return found

    return lambda: monkeypatch.setattr(approvals, "cover", cover)


def test_of_two_simultaneous_confirmations_one_uses_it(fleet, together):
    operation, row = granted(fleet)
    together()
    user = fleet.people["administrator"]
    results = at_once(2, lambda n: lifecycle.confirm(operation, operation.digest, user=user))
    assert sorted(type(result).__name__ for result in results) == ["Operation", "Refused"], results
    row.refresh_from_db()
    assert row.used_at is not None
    assert AuditEntry.objects.filter(action="operation.confirm", outcome="done").count() == 1


def test_taken_back_and_used_simultaneously_is_one_of_both(fleet):
    operation, row = granted(fleet)
    acts = [
        lambda: lifecycle.confirm(operation, operation.digest, user=fleet.people["administrator"]),
        lambda: approvals.withdraw(row, user=fleet.people["owner"]),
    ]
    results = at_once(2, lambda n: acts[n]())
    operation.refresh_from_db()
    row.refresh_from_db()
    assert row.state == "withdrawn" and results[1] is None
    if operation.status == "queued":
        operation.confirmed_by = fleet.people["administrator"]
        assert "was taken back" in approvals.why_not_begin(operation)
    else:
        assert (operation.status, row.used_at) == ("draft", None)


def test_of_two_simultaneous_questions_about_a_plan_one_is_asked(fleet, together):
    admin = fleet.people["administrator"]
    jail = fleet.jails["www1"]
    operation = lifecycle.draft("jail_stop", {"jails": [str(jail.uuid)]}, host=fleet.zfs, user=admin)
    together()
    results = at_once(2, lambda n: approvals.ask(operation, "It must go down.", user=admin))
    assert sorted(type(result).__name__ for result in results) == ["CannotApprove", "list"], results
    assert Approval.objects.count() == 1


def test_of_two_simultaneous_answers_one_counts(fleet):
    operation, row = granted(fleet)
    Approval.objects.update(state="asked")
    acts = [approvals.grant, approvals.refuse]
    results = at_once(2, lambda n: acts[n](row, user=fleet.people["owner"]))
    assert sorted(type(result).__name__ for result in results) == ["CannotApprove", "NoneType"], results
    assert operation.asked_for.get().state in ("granted", "refused")


def test_of_two_simultaneous_agreements_one_replaces_the_other(fleet):
    sides = (Side.HOST, Side.EITHER)
    admin = fleet.people["administrator"]
    results = at_once(
        2, lambda n: agreements.set_alone(fleet.acme, None, {Work.RESTARTS: sides[n]}, user=admin, reason="So.")
    )
    assert [type(result).__name__ for result in results] == ["Agreement", "Agreement"], results
    states = sorted(fleet.acme.agreements.values_list("state", flat=True))
    assert states == ["in force", "replaced", "replaced"]
