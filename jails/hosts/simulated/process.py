"""One process of a simulated host: a tool that runs with words, an environment, open files and a root.

All tools of one exec request run in one real process (a pipeline's parts in threads), which is why a tool must use
`process.fds` and never sys.stdin or sys.stdout. Paths are text with surrogateescape.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from . import faults, journal
from .host import FORKS, Host, Location, Mount, os_error, strerror
from .tools import TOOLS

PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
_BUFFER = 1 << 16


class Exit(Exception):
    """Ends the running tool with a status."""

    def __init__(self, rc: int) -> None:
        super().__init__(rc)
        self.rc = rc


class Killed(Exception):
    """A signal that the running tool sent to its own process: it ends the shell that started the tool."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class NotFound(Exception):
    """execve(2) failed; `words` as strerror(3), `number` the errno."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name)
        self.name = name
        self.number = number

    @property
    def words(self) -> str:
        return strerror(os_error(self.number))


class Process:
    """A running tool. `cwd` is seen from `root`; `root` and all of `Location.path` are seen from the host.

    `user` is who it runs as, a name of the password file of its root; `pid` is set where the host knows it by one.
    """

    def __init__(
        self,
        host: Host,
        argv: list[str],
        *,
        fds: Mapping[int, int],
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        root: str = "/",
        jid: int = 0,
        user: str = "root",
        exec_id: str = "",
    ) -> None:
        self.host = host
        self.argv = list(argv)
        self.name = argv[0].rpartition("/")[2]
        self.fds = dict(fds)
        self.env = dict(env or {})
        self.cwd = cwd
        self.root = root
        self.jid = jid
        self.user = user
        self.exec_id = exec_id or os.urandom(8).hex()
        self.moment: faults.Moment | None = None
        self.dirty: list[Mount] = []
        self.granted: dict[int, int] = {}
        self.pid: int | None = None
        self._buffer = bytearray()

    # Output and input

    def out(self, text: str | bytes) -> None:
        """Standard output, buffered until the tool ends."""
        self._buffer += _bytes(text)
        if len(self._buffer) >= _BUFFER:
            self.flush()

    def err(self, text: str | bytes) -> None:
        """Standard error, at once: the whole text with its newline."""
        self.write(2, _bytes(text))

    def flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        if data:
            self.write(1, data)

    def write(self, number: int, data: bytes) -> None:
        """All bytes to a descriptor of the tool; a reader that is gone ends it with 141 (SIGPIPE)."""
        real = self.fds.get(number)
        if real is None:
            if number == 2:
                return
            raise os_error(errno.EBADF, "stdout")
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(real, view) :]
            except BrokenPipeError:
                raise Exit(141) from None

    def read(self, size: int = _BUFFER) -> bytes:
        """The next bytes of standard input; b"" at its end."""
        real = self.fds.get(0)
        if real is None:
            raise os_error(errno.EBADF, "stdin")
        return os.read(real, size)

    def stdin(self) -> bytes:
        """All of standard input."""
        parts = []
        while part := self.read():
            parts.append(part)
        return b"".join(parts)

    def exit(self, rc: int, message: str = "") -> NoReturn:
        """End the tool; the message is printed after its name."""
        if message:
            self.err(f"{self.name}: {message}\n")
        raise Exit(rc)

    # The host

    def release_at_least(self, major: int, minor: int = 0) -> bool:
        """Whether the host's kernel is of that release or newer."""
        with self.host.reading() as state:
            numbers = self.host.release(state).partition("-")[0].split(".")
        return (int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0) >= (major, minor)

    def locate(self, path: str, *, follow: bool = True) -> Location:
        """Where a path leads for this process. Raises OSError."""
        with self.host.reading() as state:
            return self.host.locate(state, path, root=self.root, cwd=self.cwd, follow=follow)

    def path(self, path: str, *, follow: bool = True) -> Path:
        return self.locate(path, follow=follow).backing

    def middle(self) -> None:
        """Called by a tool half way through its effect, where a fault may cut it."""
        if self.moment:
            self.moment.middle()

    # Other processes

    def run(
        self,
        argv: list[str],
        *,
        fds: Mapping[int, int] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        root: str | None = None,
        jid: int | None = None,
        user: str | None = None,
        replaces: bool = False,
    ) -> int:
        """Run another tool and wait for its status. What is not given is as in this one; `cwd` is `/` in another root.

        Raises NotFound when there is no such program for this root, PATH and working directory.
        `replaces` says that it takes this one's place (execve without fork), for the journal.
        """
        if self.host.in_transaction:
            raise RuntimeError("a tool must not run another one inside a transaction")
        self.flush()
        return self.child(argv, fds=fds, env=env, cwd=cwd, root=root, jid=jid, user=user).execute(replaces)

    def child(
        self,
        argv: list[str],
        *,
        fds: Mapping[int, int] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        root: str | None = None,
        jid: int | None = None,
        user: str | None = None,
    ) -> Process:
        """A process to run another tool in, as `run` does."""
        if root is not None and root != self.root and cwd is None:
            cwd = "/"
        return Process(
            self.host,
            argv,
            fds=self.fds if fds is None else fds,
            env=self.env if env is None else env,
            cwd=self.cwd if cwd is None else cwd,
            root=self.root if root is None else root,
            jid=self.jid if jid is None else jid,
            user=self.user if user is None else user,
            exec_id=self.exec_id,
        )

    def capture(self, argv: list[str], stdin: bytes = b"", **more: Any) -> tuple[int, bytes, bytes]:
        """Run another tool on bytes; gives its status, standard output and standard error. `more` as for `run`."""
        readers: list[_Reader] = [_Reader(), _Reader()]
        feed_read, feed_write = os.pipe()
        feeder = threading.Thread(target=_feed, args=(feed_write, stdin))
        feeder.start()
        try:
            rc = self.run(argv, fds={0: feed_read, 1: readers[0].end, 2: readers[1].end}, **more)
        finally:
            os.close(feed_read)
            feeder.join()
            results = [reader.finish() for reader in readers]
        return rc, results[0], results[1]

    def execute(self, replaces: bool = False) -> int:
        """Find the program and run it to its end, counted in the journal. Raises NotFound."""
        tool, script = self.find_program(self.argv[0])
        number = journal.start(self.host.directory, self.exec_id, self.argv, self.jid, replaces=replaces)
        rc = 1
        try:
            rc = self._run_tool(tool, script)
        finally:
            for mount in self.dirty:
                self.host.touched(mount)
            journal.end(self.host.directory, number, rc)
        return rc

    def _run_tool(self, tool: str, script: str | None) -> int:
        self.moment = faults.Moment(self.host, self.argv)
        self.moment.before()
        if self.moment.failure:
            self.err(self.moment.failure.get("stderr", f"{self.name}: simulated failure").rstrip("\n") + "\n")
            return int(self.moment.failure.get("rc", 1))
        if script is not None:
            self.argv = ["sh", script, *self.argv[1:]]
            self.name = "sh"
        rc = self.call(_function(tool))
        self.moment.after()
        try:
            self.flush()
        except Exit as end:
            return end.rc
        except OSError as error:
            self.err(f"{self.name}: stdout: {strerror(error)}\n")
            return 1
        return rc

    def call(self, function: Any) -> int:
        """Run a tool's function; what it raises becomes its message and status."""
        try:
            return int(function(self) or 0)
        except Exit as end:
            return end.rc
        except Killed as end:
            if self.name == "kill":
                raise
            return 128 + end.number
        except OSError as error:
            name = error.filename if isinstance(error.filename, str) else ""
            where = f"{name}: " if name and not name.startswith(str(self.host.directory)) else ""
            self.err(f"{self.name}: {where}{strerror(error)}\n")
            return 1

    def find_program(self, name: str) -> tuple[str, str | None]:
        """The tool behind a name or path, and the path of its text when it is a script of sh. Raises NotFound."""
        if "/" in name:
            return self._program_at(name, name)
        worst = errno.ENOENT
        for directory in (self.env.get("PATH") or PATH).split(":"):
            try:
                return self._program_at(f"{directory or '.'}/{name}", name)
            except NotFound as problem:
                if problem.number != errno.ENOENT:
                    worst = problem.number
        raise NotFound(name, worst)

    def _program_at(self, path: str, name: str) -> tuple[str, str | None]:
        try:
            place = self.locate(path)
            with open(place.backing, "rb") as file:
                head = file.read(64)
        except IsADirectoryError:
            raise NotFound(name, errno.EACCES) from None
        except OSError as error:
            number = error.errno if error.errno in (errno.EACCES, errno.ELOOP) else errno.ENOENT
            raise NotFound(name, number or errno.ENOENT) from None
        mode = self.host.metadata(place.backing).get("mode", os.stat(place.backing).st_mode)
        if not mode & 0o111 or "noexec" in place.mount["options"]:
            raise NotFound(name, errno.EACCES)
        if head.startswith(b"\x7fELF simulated "):
            tool = head.split(b"\n", 1)[0].rpartition(b" ")[2].decode("ascii", "replace")
            if tool in TOOLS:
                return tool, None
            raise NotFound(name, errno.ENOEXEC)
        if head.startswith(b"#!"):
            interpreter = head[2:].split(b"\n", 1)[0].split()
            if not interpreter or not interpreter[0].endswith(b"/sh"):
                raise NotFound(name, errno.ENOENT)
            self._program_at(os.fsdecode(interpreter[0]), name)
            return "sh", path
        raise NotFound(name, errno.ENOEXEC)


class _Reader:
    """The reading end of a pipe, emptied by a thread."""

    def __init__(self) -> None:
        self._end, self.end = os.pipe()
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while part := os.read(self._end, _BUFFER):
            self._parts.append(part)
        os.close(self._end)

    def finish(self) -> bytes:
        os.close(self.end)
        self._thread.join()
        return b"".join(self._parts)


def _feed(end: int, data: bytes) -> None:
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(end, view) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(end)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _function(tool: str) -> Any:
    module, _, function = TOOLS[tool][1].partition(":")
    with FORKS:
        return getattr(import_module(f"jails.hosts.simulated.{module}"), function)


_import = builtins.__import__


def guard_imports() -> None:
    """Before there are threads: from now on none forks while another one imports, which its child would wait for."""
    builtins.__import__ = _guarded_import


def _guarded_import(name: str, *more: Any, **named: Any) -> Any:
    if name in sys.modules:
        return _import(name, *more, **named)
    with FORKS:
        return _import(name, *more, **named)


def close_all_but(kept: Iterable[int]) -> None:
    """closefrom(2) for a forked child: it holds nobody's pipe but its own standard files."""
    held = set(kept)
    wanted = held | {0, 1, 2}
    for name in os.listdir("/dev/fd"):
        if int(name) not in wanted:
            with contextlib.suppress(OSError):
                os.close(int(name))
    for number in (0, 1, 2):
        if number not in held:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
