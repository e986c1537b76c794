"""SIGKILL to a real worker process, everywhere: before, in and after each command and each write to the database.

The worker is a forked process; the commands it started go on without it. Another worker then takes the operation.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connection

from jails.models import AuditEntry, ResourceLock
from jails.operations import engine
from tests.operations import fakes

Status = engine.Status


class Events:
    """Counts what happens in a worker, and kills it at the n-th."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.count = fatal, 0

    def __call__(self, *_: object) -> None:
        self.count += 1
        if self.count == self.fatal:
            fakes.die()


def killed_at(number, operation, run, shell, monkeypatch) -> bool:
    """Run it in a process that dies at that event; False when it ended before there were so many."""
    connection.close()
    child = os.fork()
    if child == 0:
        try:
            event = Events(number)
            shell.before = lambda pipeline: event() if fakes.is_changing(pipeline) else None
            # Once while the command runs, and once when it has ended and the worker does not know yet.
            shell.started = lambda pipeline: (time.sleep(0.03), event()) if fakes.is_changing(pipeline) else None
            shell.after = shell.before
            real = engine._Run._mark

            def mark(self, row, status, **fields):
                event()
                real(self, row, status, **fields)

            monkeypatch.setattr(engine._Run, "_mark", mark)
            for name in ("_finish", "_turn", "_end"):
                step_before(monkeypatch, name, event)
            run(operation)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def step_before(monkeypatch, name, event):
    real = getattr(engine._Run, name)

    def method(self, *args, **kwargs):
        event()
        return real(self, *args, **kwargs)

    monkeypatch.setattr(engine._Run, name, method)


def take_over(operation, run, abandon):
    """Other workers go on, as the sweeper makes them."""
    for _ in range(100):
        abandon(operation)
        if run(operation).state != "waiting":
            return
    raise AssertionError(operation.waiting_for)


def sweep(make, check, run, shell, abandon, monkeypatch, root):
    """Kill at event 1, 2, 3 … each time in a new operation, until one ends unharmed. How many were killed."""
    for number in range(1, 400):
        operation = make()
        was_killed = killed_at(number, operation, run, shell, monkeypatch)
        take_over(operation, run, abandon)
        operation.refresh_from_db()
        check(operation, number)
        if not was_killed:
            return number - 1
        tidy(root)
    raise AssertionError("no end")


def tidy(root):
    for name in ("box/one", "box/two", "box/.id", "journal"):
        (root / name).unlink(missing_ok=True)
    if (root / "box").is_dir():
        (root / "box").rmdir()
    (root / "old").write_text("old\n")


def names(root):
    return sorted(path.name for path in root.rglob("*"))


@pytest.mark.slow
def test_wherever_the_worker_is_killed_it_is_done_once(
    committed, confirmed, run, shell, abandon, monkeypatch, root, box
):
    def check(operation, number):
        assert operation.status == Status.DONE, (number, operation.error)
        assert names(root) == [".id", "box", "journal", "one", "two"], number
        assert (root / "journal").read_text() == "mkdir\ntwo\n", number
        assert not ResourceLock.objects.exists()
        assert AuditEntry.objects.filter(operation=str(operation.pk), action="jail.power").count() == 1
        assert operation.subject == "finished"

    killed = sweep(lambda: confirmed(slow=0.06), check, run, shell, abandon, monkeypatch, root)
    assert killed >= 5 * 4


@pytest.mark.slow
def test_wherever_the_worker_is_killed_a_failed_operation_leaves_nothing(
    committed, confirmed, run, shell, abandon, monkeypatch, root, box
):
    def check(operation, number):
        assert operation.status == Status.FAILED, (number, operation.error)
        assert names(root) == ["journal", "old"], number
        assert (root / "journal").read_text() == "mkdir\ntwo\n", number
        assert not ResourceLock.objects.exists()
        assert operation.error.startswith("Step 6 “Do what cannot be done” failed: this cannot be.")
        assert operation.subject == "released"

    killed = sweep(lambda: confirmed(fail=True), check, run, shell, abandon, monkeypatch, root)
    assert killed >= 6 * 4


def test_a_killed_workers_command_goes_on_and_is_waited_for(committed, confirmed, run, shell, abandon, root):
    """In the middle of a command: the worker is gone, its command is not."""
    operation = confirmed(slow=1)
    connection.close()
    child = os.fork()
    if child == 0:
        shell.started = lambda pipeline: (time.sleep(0.2), fakes.die()) if fakes.is_changing(pipeline) else None
        run(operation)
        os._exit(0)
    os.waitpid(child, 0)
    assert not (root / "box").exists()
    abandon(operation)
    assert run(operation, timing={"patience": 0.1}).state == "waiting"
    assert "its command still runs on warden1" in operation.waiting_for
    take_over(operation, run, abandon)
    assert operation.status == Status.DONE and (root / "journal").read_text() == "mkdir\ntwo\n"


@pytest.fixture
def celery_worker(tmp_path, settings):
    """Starts real workers, each in a process group of its own; what is left of them is killed at the end."""
    started = []
    database = connection.settings_dict
    environment = os.environ | {
        "CELLBLOCK_STATE_DIR": str(tmp_path / "state"),
        "DJANGO_SETTINGS_MODULE": "panel.settings",
    }
    if connection.vendor == "sqlite":
        environment["CELLBLOCK_DATABASE_URL"] = f"sqlite:///{database['NAME']}"
    else:
        url = environment["CELLBLOCK_DATABASE_URL"].rpartition("/")[0]
        environment["CELLBLOCK_DATABASE_URL"] = f"{url}/{database['NAME']}"

    def start():
        with open(tmp_path / "worker.log", "ab") as log:
            command = [sys.executable, "-m", "tests.operations.worker", str(tmp_path)]
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        kill_all(process)


def kill_all(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until(holds, seconds=40):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_real_worker_killed_in_a_command_is_replaced(committed, confirmed, celery_worker, root, tmp_path):
    """No message is ever sent here: the workers' own sweeps find the operation."""
    operation = confirmed(slow=1)
    first = celery_worker()
    until((root / "journal").exists)
    operation.refresh_from_db()
    busy = int(operation.lease_owner.rpartition(":")[2])
    assert os.getpgid(busy) == first.pid
    os.kill(busy, signal.SIGKILL)
    kill_all(first)
    assert not (root / "box").exists()
    celery_worker()

    def ended():
        operation.refresh_from_db()
        return operation.has_ended

    until(ended)
    log = Path(tmp_path / "worker.log").read_text()
    assert operation.status == Status.DONE, (operation.error, log[-3000:])
    assert (root / "journal").read_text() == "mkdir\ntwo\n" and names(root) == [".id", "box", "journal", "one", "two"]
