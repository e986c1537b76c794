"""A simulated host as any other: nothing outside this module knows that there is no FreeBSD behind it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import jails
from jails.freebsd import sh
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import OUTPUT_LIMIT, HostUnavailable, OnOutput, Result, Stream, Unavailable
from jails.hosts.local import PipeStream, attend, run_process
from jails.hosts.output import Output
from jails.hosts.simulated.nursery import LARGEST, NUMBER

_SOURCE = str(Path(jails.__file__).parent.parent)
_ENVIRONMENT = {"PATH": sh.PATH, "PYTHONPATH": _SOURCE, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
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
        result = self._run(sh.argv_of(pipeline), pipeline.stdin, timeout, Output(limit, on_output))
        if result.rc == 255 and result.stderr.startswith(_OFFLINE) and not result.stdout:
            raise HostUnavailable(Unavailable.TIMED_OUT, result.stderr.decode().strip())
        return result

    def stream(self, argv: Argv, loop: asyncio.AbstractEventLoop) -> Stream:
        if not (self.directory / "state.json").is_file():
            raise HostUnavailable(Unavailable.MISSING, f"No simulated host in {self.directory}")
        # A host that is told to be offline says so where a command begins.
        self.run(Pipeline.of(("true",)), timeout=30)
        process = _started(self.directory, argv)
        if process is None:
            raise HostUnavailable(Unavailable.LOST, "The simulated host could not start a command")
        return PipeStream(process, loop)

    def _run(self, words: tuple[str, ...], stdin: bytes, timeout: float, output: Output) -> Result:
        deadline = time.monotonic() + timeout
        process = _started(self.directory, words)
        if process is not None:
            return attend(process, stdin=stdin, timeout=deadline - time.monotonic(), output=output, kill=False)
        command = (*_INTERPRETER, str(self.directory), "--", *words)
        return run_process(command, stdin=stdin, timeout=timeout, environment=_ENVIRONMENT, output=output, kill=False)

    def close(self) -> None:
        """Nothing is kept open but a nursery, which soon ends by itself."""


_INTERPRETER = (sys.executable, "-S", "-m", "jails.hosts.simulated")

# One nursery (simulated/nursery.py) for all hosts, shared by the threads of this process and by those it forks.
_shared: socket.socket | None = None
_processes: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def _started(directory: Path, words: Argv) -> _Command | None:
    """The command, once it runs. None where it has to be started by itself: it is too long, or no nursery lives."""
    request = json.dumps((str(directory), words)).encode()
    if len(request) > LARGEST:
        return None
    for _ in range(3):
        # One that has just ended, having been idle, has either not got the request or not told a pid.
        command, nursery = _Command(), _nursery()
        try:
            command.ask(nursery, request)
        except (BrokenPipeError, ConnectionResetError):
            command.close()
            _forget(nursery)
            continue
        if command.begins():
            return command
        command.close()
        _forget(nursery)
    return None


def _nursery() -> socket.socket:
    global _shared
    with _lock:
        if _shared is None:
            _processes[:] = [process for process in _processes if process.poll() is None]
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                _processes.append(
                    subprocess.Popen(
                        [*_INTERPRETER, "--nursery"],
                        stdin=theirs.fileno(),
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env=_ENVIRONMENT,
                        cwd="/",
                        start_new_session=True,
                    )
                )
            _shared = ours
        return _shared


def _forget(nursery: socket.socket) -> None:
    """Unless another thread has done so, and started the next one."""
    global _shared
    with _lock:
        if _shared is nursery:
            _shared = None


class _Command:
    """A command that runs, as jails.hosts.local.Started."""

    def __init__(self) -> None:
        inputs, outputs, errors, reports = (os.pipe() for _ in range(4))
        self.stdin: IO[bytes] = os.fdopen(inputs[1], "wb", 0)
        self.stdout: IO[bytes] = os.fdopen(outputs[0], "rb", 0)
        self.stderr: IO[bytes] = os.fdopen(errors[0], "rb", 0)
        self._report: IO[bytes] = os.fdopen(reports[0], "rb", 0)
        self._theirs = [inputs[0], outputs[1], errors[1], reports[1]]
        self.pid = 0
        self._status: int | None = None

    def ask(self, nursery: socket.socket, request: bytes) -> None:
        """Raises BrokenPipeError or ConnectionResetError where the nursery has ended."""
        try:
            socket.send_fds(nursery, [request], self._theirs)
        finally:
            for descriptor in self._theirs:
                os.close(descriptor)

    def begins(self) -> bool:
        """Waits until it has been forked; False when it never will be."""
        self.pid = self._number() or 0
        return self.pid != 0

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._wait(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("a command of a simulated host", timeout or 0)
        return status

    def _wait(self, timeout: float | None) -> int | None:
        if self._status is None and select.select([self._report], [], [], timeout)[0]:
            status = self._number()
            # Without a status the nursery was killed: as when a connection is lost.
            self._status = 255 if status is None else os.waitstatus_to_exitcode(status)
            self._report.close()
        return self._status

    def _number(self) -> int | None:
        data = self._report.read(NUMBER.size)
        return NUMBER.unpack(data)[0] if data else None

    def close(self) -> None:
        for file in (self.stdin, self.stdout, self.stderr, self._report):
            file.close()
