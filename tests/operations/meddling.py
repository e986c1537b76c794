"""Somebody who does something to a host, or to a worker, while an operation is under way there."""

from __future__ import annotations

from collections.abc import Callable

from jails.freebsd.command import Pipeline
from jails.hosts.connection import Connection, Result
from tests.operations import fakes


class Meddling:
    """A connection that calls `act` before the n-th changing command, or before the first that has some words in it."""

    def __init__(self, inner: Connection, at: int | str, act: Callable[[], object]) -> None:
        self.inner, self.at, self.act = inner, at, act
        self.count = 0
        self.done = False

    def run(self, pipeline: Pipeline, **options) -> Result:
        if fakes.is_changing(pipeline) and not self.done:
            self.count += 1
            self.done = self.at == self.count if isinstance(self.at, int) else self.at in " ".join(pipeline.argvs[0])
            if self.done:
                self.act()
        return self.inner.run(pipeline, **options)

    def close(self) -> None:
        pass
