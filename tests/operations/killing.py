"""Killing workers with SIGKILL, one after the other, at every point of one operation.

Each worker is a forked process that dies at the first point which none before it has died at, so that every point
kills once and the operation still comes to its end. The commands that it started on the simulated host go on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from django.db import connection

from jails.freebsd.command import Pipeline
from jails.hosts.connection import Connection, Result
from jails.models import Operation
from jails.operations import engine
from tests.operations import fakes
from tests.operations.warden import QUICK, expire

IN_THE_MIDDLE = 0.005
"""Seconds after a command was sent. A tool of the simulated host needs about as long until it has an effect."""


class Points:
    """Where workers died, in a file that outlives them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.touch()

    def died(self) -> list[str]:
        return self.file.read_text().splitlines()

    def is_new(self, point: str) -> bool:
        return point not in self.died()

    def die(self, point: str) -> None:
        with self.file.open("a") as file:
            file.write(point + "\n")
        fakes.die()


class Fatal:
    """A connection in a worker that is to die: before a changing command, in the middle of it, or after it."""

    def __init__(self, inner: Connection, points: Points) -> None:
        self.inner, self.points = inner, points
        self.where = "nowhere"

    def run(self, pipeline: Pipeline, **options) -> Result:
        if not fakes.is_changing(pipeline):
            return self.inner.run(pipeline, **options)
        where = self.where
        if self.points.is_new(f"{where} before"):
            self.points.die(f"{where} before")
        if self.points.is_new(f"{where} middle"):
            threading.Timer(IN_THE_MIDDLE, self.points.die, [f"{where} middle"]).start()
            self.inner.run(pipeline, **options)
            # It has ended sooner.
            self.points.die(f"{where} middle")
        result = self.inner.run(pipeline, **options)
        if self.points.is_new(f"{where} after"):
            self.points.die(f"{where} after")
        return result

    def close(self) -> None:
        pass


def worker(operation: Operation, inner: Connection, points: Points) -> bool:
    """One worker's turn, in a process of its own; whether it was killed."""
    connection.close()
    child = os.fork()
    if child == 0:
        try:
            _work(operation, Fatal(inner, points))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _work(operation: Operation, fatal: Fatal) -> None:
    perform, command = engine._Run._perform_one, engine._Run._command

    def perform_one(self, item):
        if fatal.points.is_new(f"{item.row.index} begin"):
            fatal.points.die(f"{item.row.index} begin")
        perform(self, item)

    def run_command(self, item, pipeline):
        undoing = item.row.status == engine.StepStatus.UNDOING
        fatal.where = f"{item.row.index} {'undo' if undoing else 'run'}"
        return command(self, item, pipeline)

    engine._Run._perform_one, engine._Run._command = perform_one, run_command
    engine.run(operation.pk, worker=f"w{os.getpid()}", connect=lambda host: fatal, timing=QUICK)


def kill_everywhere(operation: Operation, inner: Connection, file: Path, look: Callable[[], None]) -> list[str]:
    """Have it run by one doomed worker after the other until it has ended. `look` is called after each death.

    The points at which one died.
    """
    points = Points(file)
    for _ in range(600):
        expire(operation)
        worker(operation, inner, points)
        operation.refresh_from_db()
        if operation.has_ended:
            return points.died()
        look()
    raise AssertionError(f"no end: {operation.waiting_for}")
