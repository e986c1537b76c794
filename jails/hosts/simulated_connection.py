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
# What it prints, with status 255, where it was told to be offline (simulated/__main__.py).
_OFFLINE = b"ssh: connect to host "


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
        if not (self.directory / "state.json").is_file():
            raise HostUnavailable(Unavailable.MISSING, f"No simulated host in {self.directory}")
        command = (sys.executable, "-S", "-m", "jails.hosts.simulated", str(self.directory), "--")
        environment = {"PATH": sh.PATH, "PYTHONPATH": _SOURCE, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
        result = run_process(
            (*command, *sh.argv_of(pipeline)),
            stdin=pipeline.stdin,
            timeout=timeout,
            environment=environment,
            output=Output(limit, on_output),
            kill=False,
        )
        if result.rc == 255 and result.stderr.startswith(_OFFLINE) and not result.stdout:
            raise HostUnavailable(Unavailable.TIMED_OUT, result.stderr.decode().strip())
        return result

    def close(self) -> None:
        """Nothing is kept open."""
