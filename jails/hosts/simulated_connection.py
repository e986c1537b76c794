"""A simulated host as any other: nothing outside this module knows that there is no FreeBSD behind it."""

from __future__ import annotations

import sys
from pathlib import Path

import jails
from jails.freebsd import sh
from jails.freebsd.command import Pipeline
from jails.hosts.connection import OUTPUT_LIMIT, HostUnavailable, OnOutput, Result, Unavailable
from jails.hosts.local import run_process
from jails.hosts.output import Output

_SOURCE = str(Path(jails.__file__).parent.parent)


class SimulatedConnection:
    """A host in a folder. Each command is a process of its own that outlives the worker, as a remote one does."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).absolute()

    def run(
        self,
        pipeline: Pipeline,
        *,
        timeout: float,
        on_output: OnOutput | None = None,
        limit: int = OUTPUT_LIMIT,
    ) -> Result:
        if not self.directory.is_dir():
            raise HostUnavailable(Unavailable.MISSING, f"No simulated host in {self.directory}")
        command = (sys.executable, "-S", "-m", "jails.hosts.simulated", str(self.directory), "--")
        environment = {"PATH": sh.PATH, "PYTHONPATH": _SOURCE, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
        return run_process(
            (*command, *sh.argv_of(pipeline)),
            stdin=pipeline.stdin,
            timeout=timeout,
            environment=environment,
            output=Output(limit, on_output),
            kill=False,
        )

    def close(self) -> None:
        """Nothing is kept open."""
