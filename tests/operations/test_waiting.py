"""What is asked of an operation, or happens to its host, while it waits or just as it ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import QuerySet

from jails.hosts.connection import HostUnavailable, Unavailable
from jails.models import AuditEntry, Operation, OperationStep, ResourceLock
from jails.operations import checks, engine, lifecycle, locks, queue
from jails.operations.step import Run, Step

Status = engine.Status


def now():
    return datetime.now(UTC)


def test_a_cancel_that_comes_while_it_is_planned_anew_is_no_new_plan(confirmed, run, box, admin):
    """The host has changed, and the person does not want it any more: nothing is left to be confirmed."""
    operation = confirmed()

    def change(plan):
        lifecycle.cancel(operation, user=admin)
        return replace(plan, title="Make another box")

    box.change = change
    assert run(operation).state == Status.CANCELLED
    assert box.released == [str(operation.pk)] and not ResourceLock.objects.exists()
    assert AuditEntry.objects.filter(operation=str(operation.pk), outcome="cancelled").count() == 1


def test_a_new_plan_is_not_cancelled_by_a_wish_about_the_old_one(confirmed, run, admin):
    operation = confirmed()
    Operation.objects.filter(pk=operation.pk).update(
        status=Status.STALE, cancel_requested_at=now(), cancel_requested_by=admin, unreachable_since=now()
    )
    lifecycle.accept_new_plan(operation, operation.digest, user=admin)
    assert run(operation).state == Status.DONE


def test_time_spent_behind_others_does_not_count_as_a_host_that_does_not_answer(confirmed, run):
    first, second = confirmed(resources=["a"]), confirmed(resources=["b"])

    def gather(connection, row):
        raise HostUnavailable(Unavailable.UNREACHABLE, "no route to host")

    assert run(second, gather=gather).state == "waiting" and second.unreachable_since
    two_hours_ago = now() - timedelta(hours=2)
    Operation.objects.filter(pk=second.pk).update(unreachable_since=two_hours_ago)
    locks.take(first, ["b"])
    assert run(second, gather=gather).state == "waiting" and second.unreachable_since is None
    locks.release(first)
    assert run(second, gather=gather).state == "waiting"  # and not given up
    assert second.unreachable_since > two_hours_ago


def test_who_waits_long_asks_more_and_more_rarely(confirmed, run):
    first, second = confirmed(), confirmed()
    assert run(second).again_in == 5
    Operation.objects.update(confirmed_at=now() - timedelta(minutes=1))
    Operation.objects.filter(pk=first.pk).update(confirmed_at=now() - timedelta(minutes=2))
    assert 14 < run(second).again_in < 17
    Operation.objects.filter(pk=second.pk).update(confirmed_at=now() - timedelta(hours=1))
    Operation.objects.filter(pk=first.pk).update(confirmed_at=now() - timedelta(hours=2))
    assert run(second).again_in == 30


def test_an_end_stays_an_end_when_nobody_can_be_told(confirmed, run, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("whatever")

    operation = confirmed()
    monkeypatch.setattr(queue, "wake", fail)
    assert run(operation).state == Status.DONE
    assert operation.status == Status.DONE and operation.error == ""
    assert AuditEntry.objects.filter(operation=str(operation.pk), source="worker").count() == 1


@pytest.mark.parametrize("text", ["no\0answer", "\x1b[2Jgone", "\u202eevil"])
def test_whatever_a_host_says_can_be_stored_and_shown(confirmed, run, shell, text):
    def unreachable(pipeline):
        raise HostUnavailable(Unavailable.PERMISSION, text)

    operation = confirmed()
    shell.before = unreachable
    assert run(operation).state == "waiting"
    assert not set("\0\x1b\u202e") & set(operation.waiting_for)


def test_a_question_that_fails_says_why_in_words_that_can_be_stored(confirmed, run, box, monkeypatch):
    bad = 'printf "no\\0such\\033[2Jthing" >&2; exit 1'
    monkeypatch.setitem(checks._makers, "failing", lambda: checks.Question(("sh", "-c", bad), bool, "it is so"))
    box.change = lambda plan: replace(
        plan, steps=(replace(plan.steps[2], action=Run((("true",),)), done_when=(checks.Check("failing"),)),)
    )
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    row = operation.steps.get(index=0)
    assert "could not be found out" in row.error
    assert not set("\0\x1b") & set(row.error + operation.error)


def test_whatever_is_written_of_a_step_shows_in_its_operations_time(committed, confirmed, run, root, box, monkeypatch):
    """Pages ask for what has changed by that time alone: state, output, progress and the command itself."""
    part = root / "part"
    fetch = Step(
        key="fetch",
        purpose="Fetch",
        action=Run((("sh", "-c", f"printf 12345 >{part}; echo said; sleep 0.4; rm {part}"),)),
        progress=str(part),
    )
    box.change = lambda plan: replace(plan, steps=(*plan.steps, fetch))
    operation = confirmed()
    written, fields = [], set()
    real = QuerySet.update

    def update(rows, **values):
        if rows.model is OperationStep:
            written.append(Operation.objects.values_list("changed_at", flat=True).get(pk=operation.pk))
            fields.update(values)
        return real(rows, **values)

    monkeypatch.setattr(QuerySet, "update", update)
    assert run(operation, timing={"progress": 0.05}).state == Status.DONE
    assert {"status", "output", "progress", "captured"} <= fields
    assert sorted(set(written)) == written
