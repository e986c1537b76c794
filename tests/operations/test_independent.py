"""Steps of subjects that do not depend on each other: one fails, the others go on."""

from dataclasses import replace

import pytest

from jails.hosts.connection import Result
from jails.models import AuditEntry, ResourceLock
from jails.operations import checks, engine, lifecycle
from jails.operations.step import Run, Step, Undo, step_from_data, to_data
from tests.operations import fakes
from tests.operations.test_kill import killed_at, take_over

Status = engine.Status


def line(root, name, text="true", *, undo=(), irreversible="", last=""):
    """Two steps for one subject: make a file, then do something that may fail."""
    made, done = str(root / f"{name}.made"), str(root / f"{name}.done")
    journal = root / "journal"
    remove = Undo(Run((("rm", made),)), only_if=(checks.path_exists(made),))
    return (
        Step(
            key=f"make-{name}",
            purpose=f"Make {name}",
            action=fakes.journalled(journal, f"make-{name}", 'touch "$1"', made),
            done_when=(checks.path_exists(made),),
            undo=undo or (remove,),
            subject=name,
            independent=True,
            irreversible=irreversible,
        ),
        Step(
            key=f"use-{name}",
            purpose=f"Use {name}",
            action=fakes.journalled(journal, f"use-{name}", f'{{ {text}; }} && touch "$1"', done),
            done_when=(checks.path_exists(done),),
            undo=(Undo(Run((("rm", done),)), only_if=(checks.path_exists(done),)),),
            subject=name,
            independent=True,
        ),
    )


FAILS = "echo no luck >&2; exit 1"


@pytest.fixture
def lines(box, root):
    """Has the box's plan consist of lines: a name and the text of its second step for each."""

    def make(*wanted, after=(), **options):
        steps = [step for name, text in wanted for step in line(root, name, text, **options.get(name, {}))]
        box.change = lambda plan: replace(plan, steps=(*steps, *after))

    return make


def there(root):
    return sorted(path.stem for path in root.glob("*.done"))


def made(root):
    return sorted(path.stem for path in root.glob("*.made"))


def statuses(operation):
    return [row.status for row in operation.steps.order_by("index")]


def test_the_others_go_on_and_the_failed_one_is_named(lines, confirmed, run, root, box):
    lines(("a", "true"), ("b", FAILS), ("c", "true"))
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert there(root) == made(root) == ["a", "c"]
    assert operation.error == "1 of 3 failed: b. Step 4 “Use b” failed: no luck."
    assert statuses(operation) == ["done", "done", "undone", "undone", "done", "done"]
    assert box.released == [str(operation.pk)] and not box.finished
    assert not ResourceLock.objects.exists()
    entry = AuditEntry.objects.filter(operation=str(operation.pk)).first()
    assert (entry.outcome, entry.detail) == ("failed", operation.error)


def test_the_rest_of_a_failed_one_is_left_out(lines, confirmed, run, root, box):
    lines(("a", "true"), ("b", "true"))
    plan_of = box.change
    no = Run((("sh", "-c", "echo no >&2; exit 1"),))
    box.change = lambda plan: replace(
        plan, steps=(replace(plan_of(plan).steps[0], action=no), *plan_of(plan).steps[1:])
    )
    operation = confirmed()
    run(operation)
    assert statuses(operation) == ["undone", "pending", "done", "done"]
    assert there(root) == ["b"] and "1 of 2 failed: a." in operation.error


def test_a_question_that_is_not_answered_is_a_failure_of_its_own_subject(lines, confirmed, run, root, box, shell):
    lines(("a", "true"), ("b", "true"))
    plan_of = box.change
    first = lambda plan: replace(plan_of(plan).steps[0], ensure=True)  # noqa: E731
    box.change = lambda plan: replace(plan, steps=(first(plan), *plan_of(plan).steps[1:]))
    operation = confirmed()
    real = shell.run
    broken = [Result(1, b"", b"no answer")]

    def answer(pipeline, **options):
        asked = broken and "a.made" in str(pipeline.argvs) and not fakes.is_changing(pipeline)
        return broken.pop() if asked else real(pipeline, **options)

    shell.run = answer
    assert run(operation).state == Status.FAILED
    assert there(root) == made(root) == ["b"]
    assert "1 of 2 failed: a." in operation.error and "no answer" in operation.error


def test_all_well_is_done(lines, confirmed, run, box):
    lines(("a", "true"), ("b", "true"))
    operation = confirmed()
    assert run(operation).state == Status.DONE and box.finished


def test_cancelled_between_two_lines_all_is_rolled_back(lines, confirmed, run, root, shell, admin):
    lines(("a", "true"), ("b", FAILS), ("c", "true"))
    operation = confirmed()

    def cancel(pipeline):
        if (root / "b.made").exists():
            shell.after = lambda pipeline: None
            lifecycle.cancel(operation, user=admin)

    shell.after = cancel
    assert run(operation).state == Status.CANCELLED
    assert there(root) == made(root) == []


def test_a_later_step_for_all_rolls_all_back(lines, confirmed, run, root):
    last = Step(key="last", purpose="End", action=Run((("false",),)))
    lines(("a", "true"), ("b", "true"), after=(last,))
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert there(root) == [] and operation.error.startswith("Step 5 “End” failed")


def test_what_cannot_be_undone_needs_attention_and_the_others_still_go_on(lines, confirmed, run, root):
    stuck = (Undo(Run((("sh", "-c", "echo it resists >&2; exit 1"),))),)
    lines(("a", FAILS), ("b", "true"), a={"undo": stuck})
    operation = confirmed()
    assert run(operation).state == Status.STUCK
    assert there(root) == ["b"]
    assert operation.error.startswith(
        "1 of 2 failed: a. Step 2 “Use a” failed: no luck. Undoing step 1 “Make a” failed: it resists."
    )


def test_what_is_kept_is_said(lines, confirmed, run, root, box):
    lines(("a", FAILS), ("b", "true"))
    with_undo = box.change
    box.change = lambda plan: replace(
        with_undo(plan), steps=tuple(replace(step, undo=()) for step in with_undo(plan).steps)
    )
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert operation.error.endswith("failed: no luck. Left as it is: Make a.")


def test_beyond_the_point_of_no_return_it_is_not_undone(lines, confirmed, run, root):
    lines(("a", FAILS), ("b", "true"), a={"irreversible": "a is gone"})
    operation = confirmed()
    assert run(operation).state == Status.STUCK
    assert made(root) == ["a"] and "It cannot be rolled back: a is gone." in operation.error


@pytest.mark.parametrize("rc", [0, 1])
def test_an_undo_that_failure_rules_out(confirmed, run, root, box, rc):
    undo = Undo(Run((("touch", str(root / "undone")),)), after_failure=False)
    nothing = checks.path_exists(str(root / "nothing"))
    action = Run((("sh", "-c", f"exit {rc}"),))
    step = Step(key="x", purpose="X", action=action, done_when=(nothing,), undo=(undo,))
    box.change = lambda plan: replace(plan, steps=(step,))
    operation = confirmed()
    assert run(operation).state == Status.FAILED
    assert (root / "undone").exists() == (rc == 0)


def test_steps_of_an_older_release_are_read(box, root):
    step = line(root, "a")[0]
    data = to_data(step)
    del data["independent"]
    for undo in data["undo"]:
        del undo["after_failure"]
    assert step_from_data(data) == replace(step, independent=False)


@pytest.mark.slow
def test_wherever_the_worker_is_killed_each_line_ends_once(
    committed, lines, confirmed, run, shell, abandon, monkeypatch, root, box
):
    for number in range(1, 200):
        lines(("a", "true"), ("b", FAILS), ("c", "true"))
        operation = confirmed()
        was_killed = killed_at(number, operation, run, shell, monkeypatch)
        take_over(operation, run, abandon)
        operation.refresh_from_db()
        assert operation.status == Status.FAILED, (number, operation.error)
        assert there(root) == made(root) == ["a", "c"], number
        assert operation.error == "1 of 3 failed: b. Step 4 “Use b” failed: no luck.", number
        journal = (root / "journal").read_text().split()
        assert [word for word in journal if word != "use-b"] == ["make-a", "use-a", "make-b", "make-c", "use-c"]
        if not was_killed:
            break
        for path in [*root.glob("*.made"), *root.glob("*.done"), root / "journal"]:
            path.unlink()
    assert number > 6 * 4
