"""The engine on a host of real processes: forward, back, waiting, and what it refuses."""

import shutil
import subprocess
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from jails.hosts.connection import CommandTimeout, HostUnavailable, Result, Unavailable
from jails.models import AuditEntry, OperationStep, ResourceLock, User
from jails.operations import effects, engine, lifecycle, locks
from jails.operations.kind import Refused
from jails.operations.step import BootList, Run, Step, Undo
from tests.operations import fakes

Status = engine.Status


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def statuses(operation):
    return [row.status for row in operation.steps.order_by("index")]


def test_it_runs_to_its_end(confirmed, run, box, root):
    operation = confirmed()
    assert run(operation).state == Status.DONE
    assert files(root) == ["box/.id", "box/one", "box/two", "journal"]
    assert box.finished == [str(operation.pk)] and box.released == []
    assert statuses(operation) == ["done"] * 5


def test_a_captured_value_is_used_by_later_steps(confirmed, run, root):
    operation = confirmed()
    run(operation)
    inode = str((root / "box").stat().st_ino)
    assert (root / "box/two").read_text() == inode + "\n"
    assert operation.steps.get(index=2).captured == {"inode": inode}


def test_the_end_is_in_the_log_and_gives_back_locks_and_lease(confirmed, run):
    operation = confirmed()
    run(operation)
    entry = AuditEntry.objects.filter(operation=str(operation.pk)).first()
    assert (entry.action, entry.outcome, entry.actor, entry.source) == ("jail.power", "done", "ada", "worker")
    assert not ResourceLock.objects.exists()
    assert operation.lease_expires_at is None and operation.waiting_for == ""


def test_the_host_is_refreshed_and_its_lock_file_removed_at_the_end(confirmed, run, messages, host, tmp_path):
    operation = confirmed()
    run(operation)
    assert ("refresh_host", host.pk, "refresh", 0) in messages
    assert not (tmp_path / "locks" / str(operation.pk)).exists()


def test_a_failed_step_undoes_all_that_was_made(confirmed, run, box, root):
    operation = confirmed(fail=True)
    assert run(operation).state == Status.FAILED
    assert files(root) == ["journal", "old"]
    assert operation.error == (
        "Step 6 “Do what cannot be done” failed: this cannot be. Everything it had made was removed."
    )
    assert box.released == [str(operation.pk)] and box.finished == []
    assert not ResourceLock.objects.exists()


def test_what_somebody_else_made_under_the_name_is_left_alone(confirmed, run, root):
    (root / "box").mkdir()
    (root / "box" / "theirs").write_text("theirs")
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert files(root) == ["box/theirs", "journal", "old"]


def test_what_somebody_else_made_between_two_steps_is_left_alone(confirmed, run, root, shell):
    def intrude(pipeline):
        if any("/box/one" in word for word in pipeline.argvs[0]) and any(
            'ln "$1"' in word for word in pipeline.argvs[0]
        ):
            (root / "box" / "one").write_text("theirs\n")

    shell.before = intrude
    operation = confirmed()
    assert run(operation).state == Status.STUCK  # the box is not empty, so it cannot go
    assert (root / "box" / "one").read_text() == "theirs\n"
    assert "Make the box" in operation.error


def test_a_file_that_changed_since_the_plan_is_not_removed(confirmed, run, root):
    operation = confirmed()
    (root / "old").write_text("new content\n")
    assert run(operation).state == Status.FAILED
    assert files(root) == ["journal", "old"]
    assert "has changed since the plan was made" in operation.error


def test_no_error_is_believed_that_the_host_does_not_show(confirmed, run, box):
    def lie(plan):
        return replace(plan, steps=(replace(plan.steps[0], action=Run((("true",),))), *plan.steps[1:]))

    box.change = lie
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert "reported no error, but it is not so that" in operation.error


def test_an_ensured_step_is_skipped_where_it_is_so_already_and_never_undone(confirmed, run, box, root):
    place = root / "parent"
    place.mkdir()
    step = Step(
        key="parent",
        purpose="Make the parent",
        action=Run((("mkdir", str(place)),)),
        done_when=(effects_check("directory_exists", str(place)),),
        undo=(Undo(Run((("rmdir", str(place)),))),),
        ensure=True,
    )
    box.change = lambda plan: replace(plan, steps=(step, *plan.steps))
    operation = confirmed(fail=True)
    assert run(operation).state == Status.FAILED
    assert place.is_dir() and statuses(operation)[0] == "skipped"


@pytest.fixture
def ensuring(box, root):
    """Three folders to make sure of come first; the second one is missing. All need one lock."""

    def ensure(name):
        place = str(root / name)
        check = effects_check("directory_exists", place)
        return Step(
            key=name,
            purpose=f"Have {name}",
            action=Run((("mkdir", place),)),
            done_when=(check, check),
            undo=(Undo(Run((("rmdir", place),))),),
            ensure=True,
            resources=("parents",),
        )

    names = ("parent1", "parent2", "parent3")
    for name in (names[0], names[2]):
        (root / name).mkdir()
    box.change = lambda plan: replace(plan, steps=(*map(ensure, names), *plan.steps))
    return names


def questions(shell, names):
    return [p for p in shell.log if not fakes.is_changing(p) and any(name in str(p) for name in names)]


def test_what_comes_first_to_be_made_sure_of_is_asked_in_one_request(confirmed, run, shell, ensuring, root):
    operation = confirmed()
    assert run(operation).state == Status.DONE
    assert statuses(operation)[:3] == ["skipped", "done", "skipped"]
    # Together; the missing one in its turn, before it is made, and afterwards.
    assert len(questions(shell, ensuring)) == 3
    assert all((root / name).is_dir() for name in ensuring) and not ResourceLock.objects.exists()


def test_while_somebody_changes_what_it_makes_sure_of_it_waits(confirmed, run, shell, ensuring, root):
    first, second = confirmed(resources=["a"]), confirmed(resources=["b"])
    locks.take(first, ["parents"], step=0)
    assert run(second).state == "waiting" and statuses(second)[:3] == ["pending"] * 3
    assert questions(shell, ensuring) == []
    locks.release(first)
    assert run(second).state == Status.DONE


def test_a_failed_question_about_them_all_is_asked_one_by_one(confirmed, run, shell, ensuring, monkeypatch):
    from jails.operations import checks

    operation, asked, real = confirmed(), [], checks.ask

    def ask(connection, claims, captured=None):
        asked.append(len(claims))
        if len(claims) == 6:
            raise checks.Unanswered("whatever")
        return real(connection, claims, captured)

    monkeypatch.setattr(checks, "ask", ask)
    assert run(operation).state == Status.DONE
    assert asked[0] == 6 and statuses(operation)[:3] == ["skipped", "done", "skipped"]


def effects_check(name, *args):
    from jails.operations.step import Check

    return Check(name, args)


def test_a_busy_command_is_tried_again(confirmed, run, box, root):
    busy = f'echo x >>{root}/tries; [ "$(wc -l <{root}/tries)" -ge 3 ]'
    step = Step(key="busy", purpose="Be busy", action=Run((("sh", "-c", busy),)), attempts=3)
    box.change = lambda plan: replace(plan, steps=(*plan.steps, step))
    operation = confirmed()
    assert run(operation).state == Status.DONE
    assert (root / "tries").read_text() == "x\n" * 3


def test_what_a_step_requires_is_asked_before_each_try(confirmed, run, box, root):
    """Not begun, it is not undone, and nothing that cannot be undone has happened."""
    needed = effects_check("path_exists", str(root / "needed"))
    step = Step(
        key="last",
        purpose="Burn it",
        action=Run((("touch", str(root / "burnt")),)),
        requires=(needed,),
        undo=(Undo(Run((("touch", str(root / "undone")),))),),
        irreversible="it is burnt",
    )
    box.change = lambda plan: replace(plan, steps=(*plan.steps, step))
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert f"it needs that {root}/needed exists, and that is not so" in operation.error
    assert not (root / "burnt").exists() and not (root / "undone").exists() and not (root / "box").exists()
    (root / "needed").touch()
    operation = confirmed()
    assert run(operation).state == Status.DONE and (root / "burnt").exists()


def test_what_is_required_is_asked_again_when_a_worker_has_died_in_the_step(confirmed, run, box, root, shell, abandon):
    (root / "needed").touch()
    step = Step(
        key="last",
        purpose="Burn it",
        action=Run((("touch", str(root / "burnt")),)),
        done_when=(effects_check("path_exists", str(root / "burnt")),),
        requires=(effects_check("path_exists", str(root / "needed")),),
        irreversible="it is burnt",
    )
    box.change = lambda plan: replace(plan, steps=(*plan.steps, step))
    operation = confirmed()

    def die(pipeline):
        if fakes.is_changing(pipeline) and pipeline.argvs[0][-1] == str(root / "burnt"):
            raise Dead

    shell.before = die
    with pytest.raises(Dead):
        run(operation)
    shell.before = lambda pipeline: None
    abandon(operation)
    (root / "needed").unlink()
    assert run(operation).state == Status.STUCK
    assert "needs that" in operation.error and not (root / "burnt").exists()


def test_who_is_in_the_way_is_named(confirmed, run, box, root, shell):
    (shell.shims / "fstat").write_text(f"#!/bin/sh\necho 'ada  sh  4711  wd {root} 34 drwxr-xr-x 10 r'\n")
    (shell.shims / "fstat").chmod(0o755)
    busy = Run((("sh", "-c", "echo busy >&2; exit 1"),))
    step = Step(key="busy", purpose="Unmount it", action=busy, in_use=str(root), attempts=2)
    box.change = lambda plan: replace(plan, steps=(*plan.steps, step))
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert f"failed: busy. {root} is in use by sh (process 4711 of ada)." in operation.error


def test_a_command_is_ended_on_the_host_after_its_time_limit(confirmed, run, box, root):
    step = Step(key="slow", purpose="Sleep", action=Run((("sh", "-c", f"sleep 30; touch {root}/late"),)), seconds=1)
    box.change = lambda plan: replace(plan, steps=(*plan.steps, step))
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert "time limit of 1 s" in operation.error and files(root) == ["journal", "old"]


def test_nothing_is_undone_past_a_point_of_no_return(confirmed, run, box, root):
    operation = confirmed(irreversible=True, fail=True)
    assert run(operation).state == Status.STUCK
    assert "cannot be rolled back: what was there before is gone" in operation.error
    assert "box/two" in files(root) and box.released == []


def test_an_undo_that_fails_says_what_is_left(confirmed, run, box):
    broken = Step(key="broken", purpose="Make a mess", action=Run((("true",),)), undo=(Undo(Run((("false",),))),))
    box.change = lambda plan: replace(plan, steps=(broken, *plan.steps))
    operation = confirmed(fail=True)
    assert run(operation).state == Status.STUCK
    assert "Undoing step 1 “Make a mess” failed" in operation.error
    assert "1. Make a mess" in operation.error and "2." not in operation.error.partition("not undone")[2]


def test_a_tolerant_undo_may_fail(confirmed, run, box):
    shared = Step(
        key="shared",
        purpose="Make a parent",
        action=Run((("true",),)),
        undo=(Undo(Run((("false",),)), tolerant=True),),
    )
    box.change = lambda plan: replace(plan, steps=(shared, *plan.steps))
    operation = confirmed(fail=True)
    assert run(operation).state == Status.FAILED
    assert "Left as it is: Make a parent." in operation.error and statuses(operation)[0] == "kept"


# What is refused


def test_a_person_whose_rights_are_gone_by_now_is_refused(confirmed, run, admin, root, box):
    operation = confirmed()
    User.objects.filter(pk=admin.pk).update(role="")
    assert run(operation).state == Status.REFUSED
    assert files(root) == ["old"] and box.released == [str(operation.pk)]
    assert AuditEntry.objects.filter(operation=str(operation.pk), outcome="refused").exists()


def test_a_row_that_nobody_confirmed_is_refused_and_logged(draft, run, admin, root):
    operation = draft()
    type(operation).objects.filter(pk=operation.pk).update(
        status=Status.QUEUED, confirmed_by=admin, confirmed_digest=operation.digest
    )
    assert run(operation).state == Status.REFUSED
    assert files(root) == ["old"]
    assert AuditEntry.objects.filter(operation=str(operation.pk), outcome="refused").exists()


def test_argv_written_into_the_plan_row_are_never_run(confirmed, run, root):
    operation = confirmed()
    plan = operation.plan
    plan["steps"][0]["action"]["argvs"] = [["touch", f"{root}/forged"]]
    type(operation).objects.filter(pk=operation.pk).update(plan=plan)
    assert run(operation).state == Status.DONE
    assert "forged" not in files(root)


def test_a_digest_forged_to_fit_other_parameters_is_refused(confirmed, run, root, tmp_path):
    operation = confirmed()
    other = {**operation.parameters, "root": str(tmp_path)}
    type(operation).objects.filter(pk=operation.pk).update(parameters=other)
    assert run(operation).state == Status.STALE
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize(
    "forge",
    [
        lambda row, root: {"data": {**row.data, "action": {**row.data["action"], "argvs": [["touch", f"{root}/x"]]}}},
        lambda row, root: {"status": "done"},
        lambda row, root: {"captured": {"inode": "$(reboot)"}},
        lambda row, root: {"seal": "0" * 64},
        lambda row, root: {"index": 9},
    ],
    ids=["data", "status", "captured", "seal", "index"],
)
def test_an_edited_step_is_not_resumed(confirmed, run, abandon, root, shell, forge):
    operation = confirmed()
    interrupt_at_step(shell, run, operation, abandon, "two")
    row = operation.steps.get(index=3)
    OperationStep.objects.filter(pk=row.pk).update(**forge(row, root))
    shell.log.clear()
    assert run(operation).state == Status.STUCK
    assert shell.log == []
    assert AuditEntry.objects.filter(operation=str(operation.pk), outcome="stuck").exists()


def test_a_removed_step_is_not_resumed(confirmed, run, abandon, shell):
    operation = confirmed()
    interrupt_at_step(shell, run, operation, abandon, "two")
    operation.steps.get(index=4).delete()
    shell.log.clear()
    assert run(operation).state == Status.STUCK and shell.log == []


def test_running_rows_without_a_workers_seal_are_refused(draft, run, root, admin):
    operation = draft()
    type(operation).objects.filter(pk=operation.pk).update(status=Status.RUNNING, confirmed_by=admin)
    data = {"version": 2, **operation.plan["steps"][0]}
    OperationStep.objects.create(operation=operation, index=0, data=data, seal="f" * 64, state_seal="f" * 64)
    assert run(operation).state == Status.REFUSED
    assert files(root) == ["old"]


# When the host has changed


def test_a_plan_that_would_differ_stops_and_shows_the_new_one(confirmed, run, box, root, admin):
    operation = confirmed()
    box.change = lambda plan: replace(plan, title="Make another box")
    assert run(operation).state == Status.STALE
    assert files(root) == ["old"] and not ResourceLock.objects.exists()
    assert operation.title == "Make another box" and operation.digest != operation.confirmed_digest
    lifecycle.accept_new_plan(operation, operation.digest, user=admin)
    assert run(operation).state == Status.DONE


def test_a_wish_that_has_become_impossible_is_refused(confirmed, run, box):
    operation = confirmed()

    def refuse(plan):
        raise Refused("there is no room left")

    box.change = refuse
    assert run(operation).state == Status.REFUSED
    assert "there is no room left" in operation.error


# Waiting


def test_it_waits_for_a_lock_and_says_whose(confirmed, run, root, messages):
    first, second = confirmed(), confirmed()
    locks.take(first, ["host:1/jail:box", f"host:{first.host_id}/jail:box"])
    type(first).objects.filter(pk=first.pk).update(status=Status.RUNNING)
    assert run(second).state == "waiting"
    assert second.status == Status.QUEUED and "“Make a box” to finish (jail box)" in second.waiting_for
    assert not ResourceLock.objects.filter(operation=second).exists()


def test_who_was_confirmed_first_goes_first(confirmed, run):
    first, second = confirmed(), confirmed()
    assert run(second).state == "waiting"
    assert run(first).state == Status.DONE


def test_the_end_of_one_wakes_those_that_wait_for_it(confirmed, run, messages):
    first, second = confirmed(), confirmed()
    run(second)
    messages.clear()
    run(first)
    assert ("run_operation", str(second.pk), "operations", 0) in messages


def test_a_host_that_does_not_answer_is_tried_again(confirmed, run, shell, root):
    operation = confirmed()
    shell.before = fakes.unreachable
    outcome = run(operation)
    assert outcome.state == "waiting" and outcome.again_in
    assert "which does not answer since" in operation.waiting_for and operation.unreachable_since
    shell.before = lambda pipeline: None
    assert run(operation).state == Status.DONE and operation.unreachable_since is None


def test_a_connection_lost_in_a_command_is_no_failure_and_doubles_nothing(confirmed, run, shell, root):
    def lose(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs):
            shell.started = lambda pipeline: None
            raise HostUnavailable(Unavailable.LOST, "connection lost")

    shell.started = lose
    operation = confirmed(slow=0.5)
    assert run(operation).state == "waiting" and operation.status == Status.RUNNING
    for _ in range(50):
        if run(operation).state != "waiting":
            break
    assert operation.status == Status.DONE
    assert (root / "journal").read_text() == "mkdir\ntwo\n"


def test_while_the_old_command_runs_it_waits_and_says_so(confirmed, run, shell):
    def lose(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs):
            shell.started = lambda pipeline: None
            raise HostUnavailable(Unavailable.LOST, "connection lost")

    shell.started = lose
    operation = confirmed(slow=2)
    run(operation)
    time.sleep(0.2)  # until lockf has the lock
    assert run(operation).state == "waiting"
    assert operation.waiting_for == "Step 1 “Make the box” to end: its command still runs on warden1"


def test_a_host_that_stays_away_is_given_up(confirmed, run, shell):
    operation = confirmed()
    shell.before = fakes.unreachable
    run(operation)
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    type(operation).objects.filter(pk=operation.pk).update(unreachable_since=long_ago)
    operation.refresh_from_db()
    assert run(operation).state == Status.FAILED
    assert "has not answered since" in operation.error and "Nothing was changed" in operation.error


def test_a_command_sent_by_an_overtaken_worker_does_nothing(confirmed, run, shell, root):
    """The old worker's command starts only now: the lock is free, but the token is not its own any more."""
    operation = confirmed()
    late, seen = [], []

    def keep(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs) and not seen:
            late.append(pipeline)
            seen.append(pipeline)
            raise HostUnavailable(Unavailable.LOST, "connection lost")

    shell.before = keep
    run(operation)

    def start_late(pipeline):
        if late and not fakes.is_changing(pipeline):
            result = shell.run(late.pop(), timeout=9)
            seen.append(result.rc)

    shell.after = start_late
    assert run(operation).state == Status.DONE
    assert seen[1] == effects.OVERTAKEN
    assert (root / "journal").read_text() == "mkdir\ntwo\n"


def test_a_command_that_did_not_begin_in_time_does_nothing_when_it_begins_late(confirmed, run, shell, root):
    operation = confirmed()
    late, seen = [], []

    def hang(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs) and not seen:
            late.append(pipeline)
            seen.append("sent")
            raise CommandTimeout(1, Result(-1))

    def start_late(pipeline):
        if late and not fakes.is_changing(pipeline):
            seen.append(shell.run(late.pop(), timeout=9).rc)

    shell.before, shell.after = hang, start_late
    assert run(operation).state == Status.FAILED
    assert "did not end within 20 s" in operation.error
    assert seen == ["sent", effects.OVERTAKEN] and files(root) == ["old"]


def test_a_command_kept_out_for_a_moment_runs_afterwards(confirmed, run, shell, root):
    """A command of an older worker, come late, has the lock just now."""
    operation = confirmed()
    holders = []

    def hold(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs) and not holders:
            holders.append(subprocess.Popen(["flock", "-o", effects.lock_file(operation.pk), "sleep", "0.3"]))
            time.sleep(0.1)

    shell.before = hold
    assert run(operation, timing={"patience": 2}).state == Status.DONE
    holders[0].wait()
    assert (root / "journal").read_text() == "mkdir\ntwo\n"


def test_locks_that_a_restart_of_the_host_removed_are_made_again(confirmed, run, shell, tmp_path, root):
    operation = confirmed()
    removed = []

    def remove(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs) and not removed:
            removed.append(True)
            shutil.rmtree(tmp_path / "locks")

    shell.before = remove
    assert run(operation).state == Status.DONE
    assert (root / "journal").read_text() == "mkdir\ntwo\n"


class Dead(BaseException):
    """What a killed worker does: nothing more."""


@pytest.fixture
def locking(box):
    """The first step takes a lock for itself."""
    resource = "host:1/rc.conf"

    def change(plan):
        return replace(plan, steps=(replace(plan.steps[0], resources=(resource,)), *plan.steps[1:]))

    box.change = change
    return resource


def test_a_steps_lock_is_held_for_that_step_alone(confirmed, run, shell, locking):
    operation = confirmed()
    held = []
    shell.before = lambda pipeline: held.append(ResourceLock.objects.filter(resource=locking).exists())
    assert run(operation).state == Status.DONE
    assert True in held and held[-1] is False


def test_it_waits_for_a_steps_lock_and_goes_on(confirmed, run, locking):
    first, second = confirmed(resources=["a"]), confirmed(resources=["b"])
    locks.take(first, [locking], step=0)
    assert run(second).state == "waiting" and second.status == Status.RUNNING
    assert "to finish (rc.conf)" in second.waiting_for
    locks.release(first)
    assert run(second).state == Status.DONE and second.waiting_for == ""


def test_a_steps_lock_does_not_outlive_it_when_the_worker_dies_in_between(
    confirmed, run, shell, locking, abandon, monkeypatch
):
    operation = confirmed()

    def die(self, item):
        raise Dead

    with monkeypatch.context() as patch, pytest.raises(Dead):
        patch.setattr(engine._Run, "_let_go", die)
        run(operation)
    assert ResourceLock.objects.filter(resource=locking).exists()
    abandon(operation)
    held = []
    shell.before = lambda pipeline: held.append(ResourceLock.objects.filter(resource=locking).exists())
    assert run(operation).state == Status.DONE and not any(held)


# The boot list


@pytest.fixture
def rc_conf(box, shell, root, monkeypatch):
    """A list in a file that is read when a step runs and written as a whole, as rc.conf is."""
    path = root / "rc.conf"
    path.write_text("byhand\n")

    def commands(action, facts):
        before = facts.rc_conf.split()
        names = [name for name in before if name not in action.remove]
        names += [name for name in action.add if name not in names]
        if names == before:
            return ()
        return (("sh", "-c", 'sleep 0.1; echo "$*" >"$0"', str(path), *names),)

    monkeypatch.setattr(effects, "boot_commands", commands)
    monkeypatch.setattr(shell, "gather", lambda connection, host: fakes.FakeFacts(rc_conf=path.read_text()))
    step = Step(key="boot", purpose="Start it at boot", action=BootList(), resources=())

    def change(plan):
        name = plan.resources[0].rpartition(":")[2]
        action = BootList(add=(name,))
        mine = replace(step, action=action, undo=effects.undo_of(action))
        return replace(plan, steps=(mine, *(s for s in plan.steps if s.key == "fail")))

    box.change = change
    return path


def test_the_boot_list_is_changed_as_it_is_when_the_step_runs(confirmed, run, rc_conf):
    operation = confirmed(resources=["jail:www1"])
    rc_conf.write_text("byhand meanwhile\n")
    assert run(operation).state == Status.DONE
    assert rc_conf.read_text() == "byhand meanwhile www1\n"
    assert "byhand meanwhile www1" in operation.steps.get(index=0).command


def test_rolling_back_takes_only_its_own_name_from_the_boot_list(confirmed, run, rc_conf):
    operation = confirmed(resources=["jail:www1"], fail=True)
    assert run(operation).state == Status.FAILED
    assert rc_conf.read_text() == "byhand\n"


def test_an_rc_conf_that_nobody_can_read_is_a_failure_to_undo(confirmed, run, rc_conf, monkeypatch):
    """Somebody has written `jail_list=$(…)` since the plan was made."""

    def unreadable(action, facts):
        raise ValueError("rc.conf: jail_list is set in a way that only sh can tell")

    operation = confirmed(resources=["jail:www1"])
    monkeypatch.setattr(effects, "boot_commands", unreadable)
    run(operation)
    assert operation.steps.get(index=0).error == (
        "Step 1 “Start it at boot” failed: rc.conf: jail_list is set in a way that only sh can tell."
    )
    assert "fault of its own" not in operation.error and rc_conf.read_text() == "byhand\n"


def test_many_at_once_all_get_into_the_boot_list(committed, confirmed, run, rc_conf):
    operations = [confirmed(resources=[f"jail:www{number}"]) for number in range(6)]
    outcomes = []

    def work(operation):
        outcomes.append(run(operation, timing={"patience": 30}).state)
        connection.close()

    threads = [threading.Thread(target=work, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [Status.DONE] * 6
    assert sorted(rc_conf.read_text().split()) == ["byhand", *(f"www{number}" for number in range(6))]


# When the host itself went down in the middle


@pytest.mark.parametrize("fail", [False, True])
def test_what_writing_a_file_left_beside_it_is_removed(confirmed, run, shell, abandon, root, fail):
    """Between ln(1) and rm(1): the file is there, and its draft too."""
    operation = confirmed(fail=fail)
    interrupt_at_step(shell, run, operation, abandon, "/box/.one")
    draft = root / "box" / f".one.{operation.pk}"
    draft.write_text(f"made by {operation.pk}\n")
    (root / "box" / "one").hardlink_to(draft)
    run(operation)
    assert operation.status == (Status.FAILED if fail else Status.DONE), operation.error
    assert files(root) == (["journal", "old"] if fail else ["box/.id", "box/one", "box/two", "journal"])


def test_a_title_that_was_edited_does_not_get_into_the_log(confirmed, run):
    operation = confirmed()
    type(operation).objects.filter(pk=operation.pk).update(title="Refresh")
    run(operation)
    assert AuditEntry.objects.get(operation=str(operation.pk), source="worker").object_name == "Make a box"


# Cancelling


def interrupt_at_step(shell, run, operation, abandon, word):
    """The worker dies, so to say, when it sends the command that has the word."""

    def die(pipeline):
        if fakes.is_changing(pipeline) and word in pipeline.argvs[0][-4]:
            raise Dead

    shell.before = die
    with pytest.raises(Dead):
        run(operation)
    shell.before = lambda pipeline: None
    abandon(operation)
    operation.refresh_from_db()


def test_cancel_between_two_steps_rolls_back(confirmed, run, shell, admin, root, box):
    operation = confirmed()

    def cancel(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs) and not operation.cancel_requested_at:
            operation.cancel_requested_at = lifecycle.cancel(operation, user=admin).cancel_requested_at

    shell.after = cancel
    assert run(operation).state == Status.CANCELLED
    assert files(root) == ["journal", "old"] and box.released == [str(operation.pk)]
    assert AuditEntry.objects.filter(operation=str(operation.pk), outcome="cancelled").exists()


# Output


def test_output_is_kept_with_its_step(confirmed, run):
    operation = confirmed(fail=True)
    run(operation)
    assert operation.steps.get(index=5).output == "this cannot be.\n"


def test_a_secret_on_standard_input_is_never_in_the_output(confirmed, run, box):
    step = Step(
        key="secret",
        purpose="Set a password",
        action=Run((("sh", "-c", "cat; cat /nonexistent-hunter2; exit 1"),), stdin="hunter2\n", stdin_is_secret=True),
    )
    box.change = lambda plan: replace(plan, steps=(*plan.steps, step))
    operation = confirmed()
    run(operation)
    kept = operation.steps.get(index=5).output + AuditEntry.objects.first().detail + operation.error
    assert "[hidden]" in operation.steps.get(index=5).output and "hunter2" not in kept


def test_progress_follows_the_size_of_a_file(committed, confirmed, run, box, root):
    part = root / "part"
    step = Step(
        key="fetch",
        purpose="Fetch",
        action=Run((("sh", "-c", f"printf 12345 >{part}; sleep 1; rm {part}"),)),
        progress=str(part),
        progress_total=10,
    )
    box.change = lambda plan: replace(plan, steps=(*plan.steps, step))
    operation = confirmed()
    assert run(operation, timing={"progress": 0.1}).state == Status.DONE
    row = operation.steps.get(index=5)
    assert (row.progress, row.progress_total) == (5, 10)


@pytest.mark.parametrize(("told", "total"), [("7", 7), ("Unknown", None)])
def test_the_total_of_progress_may_be_a_captured_value(confirmed, run, box, root, told, total):
    part = root / "part"
    size = Step(
        key="size",
        purpose="Ask for the size",
        action=Run((("echo", told),), captures=(("size", r"^(\S+)$"),)),
        changes=False,
    )
    fetch = Step(
        key="fetch",
        purpose="Fetch",
        action=Run((("sh", "-c", 'printf 1234567 >"$1"', "sh", str(part)),)),
        progress=str(part),
        progress_of="size",
    )
    box.change = lambda plan: replace(plan, steps=(*plan.steps, size, fetch))
    operation = confirmed()
    assert run(operation).state == Status.DONE
    row = operation.steps.get(index=6)
    assert (row.progress, row.progress_total) == (7, total)


def test_a_fault_of_a_kind_ends_the_operation_and_is_not_repeated(confirmed, run, box, monkeypatch):
    operation = confirmed()
    monkeypatch.setattr(box, "finish", lambda operation, plan: 1 / 0)
    assert run(operation).state == Status.STUCK
    assert "could not note it down" in operation.error
    assert run(operation).state == "busy"


def test_two_workers_at_once_one_runs(confirmed, run, shell, root):
    operation = confirmed()
    outcomes = []

    def second(pipeline):
        if "mkdir" in str(pipeline.argvs) and fakes.is_changing(pipeline):
            outcomes.append(run(operation, worker="w2").state)

    shell.before = second
    assert run(operation).state == Status.DONE and outcomes == ["busy"]


def test_a_worker_that_lost_its_lease_touches_nothing_more(confirmed, run, shell, abandon, root):
    operation = confirmed()
    outcomes = []

    def steal(pipeline):
        if fakes.is_changing(pipeline) and "mkdir" in str(pipeline.argvs) and not outcomes:
            outcomes.append("stolen")
            abandon(operation)
            outcomes.append(run(operation, worker="w2").state)

    shell.after = steal
    assert run(operation).state == "lost"
    assert outcomes == ["stolen", Status.DONE] and operation.status == Status.DONE
    assert (root / "journal").read_text() == "mkdir\ntwo\n"


def test_unknown_ids_are_left_alone(db, run):
    assert engine.run("7b0d3f2e-0000-4000-8000-000000000000", worker="w1").state == "busy"


def test_every_changing_command_is_under_the_lock_and_its_token(confirmed, run, shell):
    operation = confirmed()
    run(operation)
    changing = [p.argvs[0] for p in shell.log if fakes.is_changing(p)]
    lock = effects.lock_file(operation.pk)
    # Five steps, and the removal of the lock itself.
    assert len(changing) == 6 and all(argv[:6] == ("lockf", "-k", "-s", "-t", "0", lock) for argv in changing)


def test_the_facts_it_leaves_are_kept_for_the_next_plan(confirmed, run, host):
    from jails.models import HostFactsRecord

    operation = confirmed()
    assert run(operation).state == Status.DONE
    record = HostFactsRecord.objects.get(host=host)
    assert record.data["release"] == "14.2-RELEASE" and record.gathered_at <= operation.finished_at
