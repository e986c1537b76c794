"""Rows that no worker wrote, in every place where one could be believed: refused, nothing run, and in the log."""

import pytest

from jails import audit
from jails.models import Address, AuditEntry, Operation, OperationStep, ResourceLock
from jails.operations import engine, lifecycle, seal
from tests.operations.test_engine import Dead, files, interrupt_at_step

Status = engine.Status


@pytest.fixture
def interrupted(confirmed, run, shell, abandon):
    """A worker has died in its fourth step."""
    operation = confirmed()
    interrupt_at_step(shell, run, operation, abandon, "two")
    shell.log.clear()
    return operation


def set_operation(operation, **values):
    Operation.objects.filter(pk=operation.pk).update(**values)


def the_entry(operation, outcome):
    """The worker's one entry about it; and the log as a whole holds."""
    assert audit.verify().ok
    entry = AuditEntry.objects.get(operation=str(operation.pk), source="worker")
    assert entry.outcome == outcome and entry.host == "warden1"
    return entry


EDITS = (
    {"status": "done"},
    {"status": "pending"},
    {"rc": 0},
    {"error": "as if it had failed"},
    {"captured": {"inode": "1"}},
    {"started_at": None},
    {"state_seal": ""},
    {"seal": ""},
    {"data": {}},
)
# The first step is done, the fourth is under way, the fifth has not begun.
AS_IT_IS = [(0, EDITS[0]), (0, EDITS[2]), (4, EDITS[1]), (4, EDITS[5])]


@pytest.mark.parametrize(
    ("index", "values"),
    [(index, values) for index in (0, 3, 4) for values in EDITS if (index, values) not in AS_IT_IS],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_an_edited_step_is_refused_and_logged(interrupted, run, shell, index, values):
    row = interrupted.steps.get(index=index)
    OperationStep.objects.filter(pk=row.pk).update(**values)
    assert run(interrupted).state == Status.STUCK
    assert shell.log == []
    entry = the_entry(interrupted, "stuck")
    assert f"step {index + 1} is not as a worker stored it" in entry.detail
    assert "Nothing more was run." in entry.detail


@pytest.mark.parametrize(
    "values",
    [
        {"parameters": {"root": "/elsewhere"}},
        {"kind": "jail_destroy"},
        {"digest": "0" * 64},
        {"sealed": ""},
        {"plan": {}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_an_edited_operation_is_not_resumed_and_that_is_logged(interrupted, run, shell, values):
    set_operation(interrupted, **values)
    assert run(interrupted).state == Status.STUCK
    assert shell.log == []
    assert "seal is not a worker's" in the_entry(interrupted, "stuck").detail


def test_steps_of_another_operation_are_refused(interrupted, confirmed, run, shell):
    """Rightly sealed, but for another one."""
    other = confirmed(resources=["other"])
    set_operation(other, status=Status.RUNNING, sealed=interrupted.sealed)
    OperationStep.objects.filter(operation=interrupted).update(operation=other)
    assert run(other).state == Status.STUCK
    assert shell.log == [] and the_entry(other, "stuck")


def test_a_begun_one_that_is_said_to_wait_is_refused(interrupted, run, shell, box):
    """Planned anew it would forget what was done, and give back what is in use."""
    set_operation(interrupted, status=Status.QUEUED)
    assert run(interrupted).state == Status.STUCK
    assert shell.log == [] and box.released == []
    assert "it is said to wait, but was begun" in the_entry(interrupted, "stuck").detail
    assert interrupted.steps.count() == 5


def test_one_past_its_point_of_no_return_is_not_undone_by_an_edit(confirmed, run, shell, abandon, root):
    operation = confirmed(irreversible=True)
    interrupt_at_step(shell, run, operation, abandon, "two")
    shell.log.clear()
    set_operation(operation, status=Status.UNDOING)
    assert run(operation).state == Status.STUCK
    assert shell.log == [] and "box/one" in files(root)
    assert "past a step that cannot be" in the_entry(operation, "stuck").detail


def test_a_forged_row_is_refused_and_logged(draft, run, admin, root, shell):
    """Inserted, or made of a draft, by whoever can write to the database."""
    operation = draft()
    set_operation(operation, status=Status.QUEUED, confirmed_by=admin, confirmed_digest=operation.digest)
    assert run(operation).state == Status.REFUSED
    assert files(root) == ["old"] and shell.log == []
    assert "does not know that anybody confirmed" in the_entry(operation, "refused").detail


def test_a_confirmation_by_somebody_else_does_not_count(confirmed, run, shell, django_user_model):
    operation = confirmed()
    other = django_user_model.objects.create_user("bob", role="administrator")
    set_operation(operation, confirmed_by=other)
    assert run(operation).state == Status.REFUSED
    assert shell.log == [] and the_entry(operation, "refused")


def test_running_rows_that_no_worker_sealed_are_refused_and_logged(draft, run, root, admin, shell):
    operation = draft()
    set_operation(operation, status=Status.RUNNING, confirmed_by=admin)
    data = {"version": 1, **operation.plan["steps"][0]}
    OperationStep.objects.create(operation=operation, index=0, data=data, seal="f" * 64, state_seal="f" * 64)
    assert run(operation).state == Status.REFUSED
    assert files(root) == ["old"] and shell.log == [] and the_entry(operation, "refused")


def test_a_refused_one_holds_no_lock_and_no_worker(interrupted, run):
    set_operation(interrupted, sealed="")
    run(interrupted)
    assert not ResourceLock.objects.exists() and not Address.objects.exists()
    assert interrupted.lease_expires_at is None
    assert run(interrupted).state == "busy"


def test_what_a_newer_release_has_planned_waits_for_its_worker(interrupted, run, shell, monkeypatch, root):
    """It is rightly sealed: to this worker it is unknown, not forged."""
    monkeypatch.setattr(seal, "VERSION", 0)
    outcome = run(interrupted)
    assert (outcome.state, interrupted.status) == ("waiting", Status.RUNNING)
    assert "a worker of a newer release" in interrupted.waiting_for and shell.log == []
    monkeypatch.undo()


def test_and_that_one_goes_on_with_it(interrupted, run, root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal, "VERSION", 0)
        run(interrupted)
    assert run(interrupted).state == Status.DONE
    assert (root / "journal").read_text() == "mkdir\ntwo\n"


def test_a_plan_confirmed_stale_is_the_new_one_and_no_other(confirmed, admin):
    """The page of the first plan is still open somewhere."""
    operation = confirmed()
    set_operation(operation, status=Status.STALE, digest="1" * 64)
    for digest in (operation.confirmed_digest, "", "1" * 64):
        with pytest.raises(lifecycle.Refused):
            lifecycle.accept_new_plan(operation, digest, user=admin)


# What has ended stays so, whatever the row says


def forget_the_end(operation, status, **values):
    set_operation(operation, status=status, finished_at=None, error="", **values)


@pytest.mark.parametrize("fail", [False, True], ids=["done", "rolled back"])
@pytest.mark.parametrize("status", [Status.RUNNING, Status.UNDOING, Status.QUEUED])
def test_an_ended_one_is_not_run_again(confirmed, run, shell, box, fail, status):
    """Its steps bear a worker's seals still."""
    operation = confirmed(fail=fail)
    run(operation)
    assert operation.has_ended
    box.finished.clear()
    box.released.clear()
    shell.log.clear()
    forget_the_end(operation, status)
    assert run(operation).state == Status.STUCK
    assert shell.log == [] and box.finished == box.released == []
    assert AuditEntry.objects.filter(operation=str(operation.pk), source="worker").count() == 2


def test_one_that_was_cancelled_before_it_began_is_not_run_after_all(confirmed, run, shell, admin, root):
    operation = lifecycle.cancel(confirmed(), user=admin)
    forget_the_end(operation, Status.QUEUED, cancel_requested_at=None)
    assert run(operation).state == Status.REFUSED
    assert "the log says that it has ended already" in the_entry(operation, "refused").detail.lower()
    assert shell.log == [] and files(root) == ["old"]


def test_one_that_was_refused_is_not_run_after_all(confirmed, run, shell, admin, root):
    operation = confirmed()
    type(admin).objects.filter(pk=admin.pk).update(role="")
    assert run(operation).state == Status.REFUSED
    type(admin).objects.filter(pk=admin.pk).update(role="administrator")
    forget_the_end(operation, Status.QUEUED)
    assert run(operation).state == Status.REFUSED
    assert shell.log == [] and files(root) == ["old"]


@pytest.fixture
def stuck(confirmed, run, shell, root):
    operation = confirmed(irreversible=True, fail=True)
    assert run(operation).state == Status.STUCK
    shell.log.clear()
    return operation


def test_a_stuck_one_does_not_go_on_because_its_row_says_so(stuck, run, shell):
    """It has no locks any more."""
    forget_the_end(stuck, Status.RUNNING)
    assert run(stuck).state == Status.STUCK and shell.log == []


def test_a_wish_to_resume_counts_once(stuck, run, shell, admin):
    lifecycle.resume(stuck, user=admin)
    stuck.refresh_from_db()
    asked = {"resumed_at": stuck.resumed_at, "resumed_by": admin}
    assert run(stuck).state == Status.STUCK  # the cause is still there
    commands = [pipeline for pipeline in shell.log if "exit 3" in str(pipeline)]
    assert len(commands) == 1
    forget_the_end(stuck, Status.RUNNING, **asked)
    assert run(stuck).state == Status.STUCK
    assert "does not know that anybody wanted it taken up again" in stuck.error
    assert [pipeline for pipeline in shell.log if "exit 3" in str(pipeline)] == commands


def test_a_worker_that_dies_in_a_resumed_one_is_replaced(stuck, run, shell, abandon, admin):
    def die(pipeline):
        if "exit 3" in str(pipeline):
            raise Dead

    lifecycle.resume(stuck, user=admin)
    shell.before = die
    with pytest.raises(Dead):
        run(stuck)
    shell.before = lambda pipeline: None
    abandon(stuck)
    assert run(stuck).state == Status.STUCK
    assert "log does not know" not in stuck.error
