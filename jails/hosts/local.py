"""Commands on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Protocol

from jails.freebsd import sh
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import OUTPUT_LIMIT, CommandTimeout, OnOutput, Result, Stream
from jails.hosts.output import Output

ENVIRONMENT = {"PATH": sh.PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"}
"""What a command sees: nothing of the worker's own environment, which holds secrets."""

GRACE = 0.25
"""Seconds without output after which a command that has exited, but whose pipes a daemon holds, is left alone."""
GRACE_LIMIT = 3.0
_POLL = 0.05
_CHUNK = 65536


class Started(Protocol):
    """A program that runs, as subprocess.Popen has it."""

    @property
    def pid(self) -> int: ...

    @property
    def stdin(self) -> IO[bytes] | None: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    @property
    def stderr(self) -> IO[bytes] | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        ...


class LocalConnection:
    """This machine as a host. The worker is root itself, or `become` are words before every command that make it so."""

    def __init__(self, *, become: Sequence[str] = ()) -> None:
        self.become = tuple(become)

    def run(
        self,
        pipeline: Pipeline,
        *,
        timeout: float,
        on_output: OnOutput | None = None,
        limit: int = OUTPUT_LIMIT,
    ) -> Result:
        return run_process(
            (*self.become, *sh.argv_of(pipeline)),
            stdin=pipeline.stdin,
            timeout=timeout,
            environment=ENVIRONMENT,
            output=Output(limit, on_output),
            # What runs as root is not this user's to end: it goes on as a remote command does.
            kill=not self.become,
        )

    def stream(self, argv: Argv, loop: asyncio.AbstractEventLoop) -> Stream:
        process = subprocess.Popen(
            [*self.become, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        return PipeStream(process, loop)

    def close(self) -> None:
        """Nothing is kept open."""


def run_process(
    argv: Sequence[str],
    *,
    stdin: bytes,
    timeout: float,
    environment: Mapping[str, str],
    output: Output,
    kill: bool = True,
) -> Result:
    """Run one program in a session of its own and wait until it exits, as `attend` does.

    A program that is missing or may not be run is a Result with the shell's status for it: 127 or 126.
    """
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return _not_started(argv[0], error)
    return attend(process, stdin=stdin, timeout=deadline - time.monotonic(), output=output, kill=kill)


class PipeStream:
    """A command of this machine as connection.Stream: its pipes, read when there is something and somebody asks."""

    def __init__(self, process: Started, loop: asyncio.AbstractEventLoop) -> None:
        self.process = process
        self.loop = loop
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)

    async def read(self) -> bytes:
        return await self._next(self.process.stdout)

    async def read_error(self) -> bytes:
        return await self._next(self.process.stderr)

    async def write(self, data: bytes) -> None:
        view, stdin = memoryview(data), self.process.stdin
        assert stdin is not None
        while view and not stdin.closed:
            try:
                view = view[os.write(stdin.fileno(), view) :]
            except BlockingIOError:
                await self._ready(stdin, self.loop.add_writer, self.loop.remove_writer)
            except BrokenPipeError:
                return

    def end_input(self) -> None:
        self._close(self.process.stdin)

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            self._close(pipe)
        leave(self.process)

    async def _next(self, pipe: IO[bytes] | None) -> bytes:
        assert pipe is not None
        while not pipe.closed:
            try:
                return os.read(pipe.fileno(), _CHUNK)
            except BlockingIOError:
                await self._ready(pipe, self.loop.add_reader, self.loop.remove_reader)
        return b""

    async def _ready(self, pipe: IO[bytes], add: Callable[..., object], remove: Callable[[int], object]) -> None:
        number, waiting = pipe.fileno(), self.loop.create_future()
        self._waiting.setdefault(number, set()).add(waiting)
        add(number, _settle, waiting)
        try:
            await waiting
        finally:
            self._waiting.get(number, set()).discard(waiting)
            if not pipe.closed:
                remove(number)

    def _close(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        if pipe.closed:
            return
        number = pipe.fileno()
        self.loop.remove_reader(number)
        self.loop.remove_writer(number)
        with contextlib.suppress(OSError):
            pipe.close()
        for waiting in self._waiting.pop(number, ()):
            _settle(waiting)


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def attend(process: Started, *, stdin: bytes, timeout: float, output: Output, kill: bool = True) -> Result:
    """Feed a program that has been started, read what it prints and wait until it exits.

    `kill`: end it and what it started when the time is over; otherwise leave it running, as a remote command would be.
    Raises CommandTimeout.
    """
    deadline = time.monotonic() + timeout
    _reap_left()
    try:
        _Exchange(process, stdin, output).until_exit(deadline)
        rc = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        _end(process, kill=kill)
        partial = Result(-1, bytes(output.stdout), bytes(output.stderr), output.truncated)
        raise CommandTimeout(timeout, partial) from None
    except BaseException:
        _end(process, kill=kill)
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    return Result(128 - rc if rc < 0 else rc, bytes(output.stdout), bytes(output.stderr), output.truncated)


class _Exchange:
    """Feeds a process and reads it, all at once, so that neither side can wait for the other for ever."""

    def __init__(self, process: Started, stdin: bytes, output: Output) -> None:
        self.process = process
        self.pending = memoryview(stdin)
        self.sinks = {process.stdout: output.out, process.stderr: output.err}
        self.selector = selectors.DefaultSelector()

    def until_exit(self, deadline: float) -> None:
        """Until end of file everywhere, or until the process has exited and nothing more comes. Raises TimeoutError."""
        with self.selector:
            for pipe in self.sinks:
                self._register(pipe, selectors.EVENT_READ)
            self._start_stdin()
            exited_at = last_output = 0.0
            while self.selector.get_map():
                now = time.monotonic()
                if not exited_at and self.process.poll() is not None:
                    exited_at = last_output = now
                if exited_at and (now - last_output > GRACE or now - exited_at > GRACE_LIMIT):
                    return
                if not exited_at and now >= deadline:
                    raise TimeoutError
                for key, _ in self.selector.select(min(_POLL, max(0.0, deadline - now))):
                    if self._transfer(key.fileobj):
                        last_output = time.monotonic()

    def _register(self, pipe: IO[bytes] | None, event: int) -> None:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        self.selector.register(pipe, event)

    def _start_stdin(self) -> None:
        if self.pending:
            self._register(self.process.stdin, selectors.EVENT_WRITE)
        else:
            self._close(self.process.stdin)

    def _transfer(self, pipe: object) -> bool:
        if pipe is self.process.stdin:
            self._write()
            return False
        return self._read(pipe)  # type: ignore[arg-type]

    def _read(self, pipe: IO[bytes]) -> bool:
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.selector.unregister(pipe)
            return False
        self.sinks[pipe](data)
        return True

    def _write(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        try:
            self.pending = self.pending[os.write(stdin.fileno(), self.pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # It read as much as it wanted, and its status says whether that was enough.
            self.pending = self.pending[:0]
        if not self.pending:
            self.selector.unregister(stdin)
            self._close(stdin)

    @staticmethod
    def _close(pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.close()


_left: list[Started] = []
_left_lock = threading.Lock()


def leave(process: Started) -> None:
    """It goes on by itself; its status is collected later."""
    _reap_left()
    with _left_lock:
        _left.append(process)


def _end(process: Started, *, kill: bool) -> None:
    if not kill:
        leave(process)
        return
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    # What ignored the request, and what the process left behind.
    _signal_group(process, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5.0)


def _signal_group(process: Started, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _reap_left() -> None:
    """Collect the status of processes that were left running, lest they stay zombies."""
    with _left_lock:
        _left[:] = [process for process in _left if process.poll() is None]


def _not_started(tool: str, error: OSError) -> Result:
    missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
    words = "not found" if missing else os.strerror(error.errno or 0)
    return Result(127 if missing else 126, b"", f"{tool}: {words}\n".encode())
