"""What could go neither on nor back is taken up again, once somebody has removed the cause."""

from dataclasses import replace

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from jails.models import AuditEntry, Operation, ResourceLock, User
from jails.operations import engine, lifecycle
from jails.operations.kind import Refused
from jails.operations.step import Run, Step

Status = engine.Status


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture
def in_the_way(confirmed, run, root, shell):
    """Stuck while it was undone: somebody's file is in the box."""

    def intrude(pipeline):
        if any("/box/one" in word for word in pipeline.argvs[0]) and any(
            'ln "$1"' in word for word in pipeline.argvs[0]
        ):
            (root / "box" / "one").write_text("theirs\n")

    shell.before = intrude
    operation = confirmed()
    assert run(operation).state == Status.STUCK
    shell.before = lambda pipeline: None
    return operation


def test_it_is_undone_once_the_cause_is_gone(in_the_way, run, root, admin, box, messages):
    (root / "box" / "one").unlink()
    messages.clear()
    operation = lifecycle.resume(in_the_way, user=admin, source="192.0.2.9")
    assert run(operation).state == Status.FAILED
    assert files(root) == ["journal", "old"] and box.released == [str(operation.pk)]
    assert operation.error.startswith("Step 2 “Write the first file” failed")
    assert not ResourceLock.objects.exists()
    assert AuditEntry.objects.get(action="operation.resume").source == "192.0.2.9"


def test_it_is_stuck_again_while_the_cause_is_there_and_can_be_taken_up_once_more(in_the_way, run, root, admin):
    operation = lifecycle.resume(in_the_way, user=admin)
    assert run(operation).state == Status.STUCK and (root / "box" / "one").read_text() == "theirs\n"
    (root / "box" / "one").unlink()
    operation = lifecycle.resume(operation, user=admin)
    assert run(operation).state == Status.FAILED


def test_past_the_point_of_no_return_it_goes_on(confirmed, run, box, root, admin):
    needs = Run((("sh", "-c", 'cat "$0"', str(root / "cause")),))
    box.change = lambda plan: replace(plan, steps=(*plan.steps, Step(key="last", purpose="Go on", action=needs)))
    operation = confirmed(irreversible=True)
    assert run(operation).state == Status.STUCK
    (root / "cause").write_text("gone")
    operation = lifecycle.resume(operation, user=admin)
    assert run(operation).state == Status.DONE
    assert (root / "journal").read_text() == "mkdir\ntwo\n", "nothing was done twice"


def test_what_was_done_and_could_not_be_noted_down_is_noted_down(confirmed, run, box, admin, monkeypatch):
    finish = box.finish

    def fail(operation, plan):
        raise ValueError("not now")

    monkeypatch.setattr(box, "finish", fail)
    operation = confirmed()
    assert run(operation).state == Status.STUCK
    monkeypatch.setattr(box, "finish", finish)
    operation = lifecycle.resume(operation, user=admin)
    assert run(operation).state == Status.DONE and box.finished == [str(operation.pk)]


def test_a_worker_killed_after_a_resumption_changes_nothing(in_the_way, run, root, admin, abandon, shell):
    class Dead(BaseException):
        pass

    def die(pipeline):
        raise Dead

    (root / "box" / "one").unlink()
    operation = lifecycle.resume(in_the_way, user=admin)
    shell.before = die
    with pytest.raises(Dead):
        run(operation)
    shell.before = lambda pipeline: None
    abandon(operation)
    assert run(operation).state == Status.FAILED and files(root) == ["journal", "old"]


def test_nobody_else_takes_it_up_again(in_the_way, run, db):
    viewer = User.objects.create_user("otto", role=User.Role.AUDITOR)
    with pytest.raises(PermissionDenied):
        lifecycle.resume(in_the_way, user=viewer)
    assert AuditEntry.objects.get(action="operation.resume").outcome == "refused"
    Operation.objects.filter(pk=in_the_way.pk).update(
        status=Status.RUNNING, resumed_at=timezone.now(), resumed_by=viewer, finished_at=None
    )
    assert run(in_the_way).state == Status.STUCK
    assert "does not know that anybody wanted it" in in_the_way.error


def test_only_what_is_stuck(confirmed, admin):
    with pytest.raises(Refused, match="Only what needs attention"):
        lifecycle.resume(confirmed(), user=admin)
