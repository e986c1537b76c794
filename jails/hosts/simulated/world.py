"""What jail(8), rc and their kin need of a process of the simulated host beyond process.py: files by name, commands
started as another user or inside a jail, and the end of jails."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from . import clock, daemons, listening, network, prison
from .host import os_error, strerror
from .process import Exit, Killed, NotFound, Process, close_all_but

TIMED_OUT = 1 << 16


class World:
    """A process, and what it can do. Everything of Process is here too."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def _root_of(self, jid: int | None) -> str:
        if jid is None or jid == self._process.jid:
            return self._process.root
        with self.host.reading() as state:
            row = prison.by_jid(state, jid)
        return str(row["path"]) if row else self._process.root

    def locate_in(self, path: str, jid: int | None = None, *, follow: bool = True) -> Any:
        with self.host.reading() as state:
            return self.host.locate(state, path, root=self._root_of(jid), cwd=self._process.cwd, follow=follow)

    def _kind(self, path: str, *, follow: bool) -> str | None:
        try:
            mode = os.lstat(self.locate_in(path, follow=follow).backing).st_mode
        except OSError:
            return None
        return "dir" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "file"

    def stat(self, path: str) -> str | None:
        """``dir``, ``file`` or None."""
        return self._kind(path, follow=True)

    def lstat(self, path: str) -> str | None:
        return self._kind(path, follow=False)

    def realpath(self, path: str) -> str:
        return str(self.locate_in(path).path)

    def read_text(self, path: str, *, jid: int | None = None) -> str:
        with open(self.locate_in(path, jid).backing, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()

    def write_text(self, path: str, text: str, *, jid: int | None = None, append: bool = False) -> None:
        place = self.locate_in(path, jid)
        if place.read_only:
            raise os_error(30, path)
        with open(place.backing, "a" if append else "w", encoding="utf-8", errors="surrogateescape", newline="") as f:
            f.write(text)
        self.host.touched(place.mount)

    def unlink(self, path: str) -> None:
        try:
            place = self.locate_in(path, follow=False)
            os.unlink(place.backing)
            self.host.touched(place.mount)
        except OSError:
            return

    def listdir(self, path: str) -> list[str]:
        return list(self.host.entries(self.locate_in(path).backing))

    def stdin_text(self) -> str:
        return self.stdin().decode("utf-8", "surrogateescape")  # type: ignore[no-any-return]

    def resolve(self, hostname: str) -> str | None:
        """gethostbyname(3) over the host's /etc/hosts."""
        try:
            lines = self.read_text("/etc/hosts").splitlines()
        except OSError:
            return None
        for line in lines:
            words = line.partition("#")[0].split()
            if hostname in words[1:] and ":" not in words[0]:
                return words[0]
        return None

    def mounted_type(self, path: str) -> str | None:
        """The type of the file system mounted exactly on ``path``."""
        try:
            place = self.locate_in(path)
        except OSError:
            return None
        return str(place.mount["type"]) if place.is_mountpoint else None

    def run_quietly(self, argv: list[str]) -> int:
        return int(self._process.capture(argv)[0])

    def captured(self, argv: list[str]) -> tuple[int, str]:
        """Status and output of a command, both streams as they come."""
        reading, writing = os.pipe()
        parts: list[bytes] = []

        def drain() -> None:
            while part := os.read(reading, 65536):
                parts.append(part)

        thread = threading.Thread(target=drain)
        thread.start()
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            status = self._process.run(argv, fds={0: null, 1: writing, 2: writing})
        finally:
            os.close(writing)
            os.close(null)
            thread.join()
            os.close(reading)
        return status, b"".join(parts).decode("utf-8", "surrogateescape")

    def spawn(
        self,
        argv: list[str],
        *,
        jid: int | None,
        user: str | None,
        clean: bool,
        system_user: bool,
        output: str | None,
        background: bool,
        timeout: int | None,
        warn: Callable[[str], None],
    ) -> int:
        """Run a command as jail(8) does. Gives its status, minus a signal, or TIMED_OUT."""
        self._process.flush()
        root = self._root_of(jid) if jid is not None else self._process.root
        env = dict(self._process.env)
        cwd = "/" if jid is not None else self._process.cwd
        if clean or user:
            entry = self.user(user or "root", None if system_user else jid)
            if entry is None:
                warn(self._no_user(user, None if system_user else jid))
                return 1
            kept = {"TERM": env["TERM"]} if "TERM" in env else {}
            # setusercontext(3): what login.conf(5) gives everybody.
            own = {
                "SHELL": entry[6] or "/bin/sh",
                "HOME": entry[5],
                "USER": entry[0],
                "BLOCKSIZE": "K",
                "MAIL": f"/var/mail/{entry[0]}",
                "PATH": f"/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:{entry[5]}/bin",
            }
            env = {**own, **kept} if clean else {**own, **{name: env[name] for name in env if name not in own}}
            if clean:
                if not self.enterable(root, entry[5]):
                    warn(f"chdir {entry[5]}: No such file or directory")
                    return 1
                cwd = entry[5]
        fds = dict(self._process.fds)
        log = -1
        if output:
            place = self.locate_in(output)
            try:
                log = os.open(place.backing, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            except OSError as problem:
                warn(f"open {output}: {strerror(problem)}")
                return 1
            fds |= {1: log, 2: log}
        try:
            if background:
                self._in_background(argv, fds, env, cwd, root, jid or 0, user)
                return 0
            return self._in_time(argv, fds, env, cwd, root, jid, timeout, warn, user)
        finally:
            if log >= 0:
                os.close(log)

    def enterable(self, root: str, path: str) -> bool:
        try:
            with self.host.reading() as state:
                return os.path.isdir(self.host.locate(state, path, root=root).backing)
        except OSError:
            return False

    def _run(
        self,
        argv: list[str],
        fds: Any,
        env: Any,
        cwd: str,
        root: str,
        jid: int | None,
        warn: Any,
        user: str | None = None,
    ) -> int:
        try:
            if jid:
                status = self.attach(argv, fds=fds, env=env, cwd=cwd, root=root, jid=jid, user=user)
            else:
                status = self._process.run(argv, fds=fds, env=env, cwd=cwd, root=root, jid=jid, user=user)
        except NotFound as problem:
            warn(f"exec {argv[0]}: {problem.words}")
            return 1
        except Exit as end:
            return end.rc
        return 128 - status if 128 < status < 128 + 64 else status

    def attach(
        self,
        argv: list[str],
        *,
        jid: int,
        root: str,
        fds: Any = None,
        env: Any = None,
        cwd: str = "/",
        user: str | None = None,
        replaces: bool = False,
    ) -> int:
        """jail_attach(2) and execve(2) in a process of its own, which the jail has as long as it runs; its status.

        Raises NotFound, and JailError when the jail is gone by now.
        """
        self._process.flush()
        child = self._process.child(argv, fds=fds, env=env, cwd=cwd, root=root, jid=jid, user=user)
        child.find_program(argv[0])
        moment = clock.now() if clock.hurried() else None
        gate, opener = os.pipe()
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            close_all_but({*child.fds.values(), gate, tell})
            _attached(child, gate, tell, moment, replaces)
        os.close(gate)
        os.close(tell)
        try:
            with self.host.changing() as state:
                prison.get(state, jid, within=self._process.jid)
                name = argv[0].rpartition("/")[2]
                known = daemons.start(state, name, " ".join(argv), jid=jid, real=pid, user=child.user)
            os.write(opener, str(known).encode())
        finally:
            os.close(opener)
            _, code = os.waitpid(pid, 0)
            later = os.read(told, 64)
            os.close(told)
        if later:
            clock.go_on(float(later))
        self.ended(jid)
        status = os.waitstatus_to_exitcode(code)
        return 128 - status if status < 0 else status

    def ended(self, jid: int) -> None:
        """A process of a jail has ended: a jail that nothing else holds goes with it."""
        with self.host.reading() as state:
            row = prison.by_jid(state, jid)
            if row is None or row["set"].get("persist") or "dying" in row or daemons.running(state, jid):
                return
        with self.host.changing() as state:
            self.ended_in(state, jid)

    def ended_in(self, state: dict[str, Any], jid: int) -> None:
        row = prison.by_jid(state, jid)
        if row is not None:
            self._end_if_empty(state, row)

    def _in_time(
        self,
        argv: list[str],
        fds: Any,
        env: Any,
        cwd: str,
        root: str,
        jid: int | None,
        timeout: int | None,
        warn: Any,
        user: str | None,
    ) -> int:
        if not timeout:
            return self._run(argv, fds, env, cwd, root, jid, warn, user)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            close_all_but(fds.values())
            status = 1
            try:
                status = self._run(argv, fds, env, cwd, root, jid, warn, user)
            finally:
                os._exit(status & 0xFF if status >= 0 else 128 - status)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            done, code = os.waitpid(pid, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
                return 128 - status if 128 < status < 192 else status
            time.sleep(0.01)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return TIMED_OUT

    def background(self, argv: list[str], *, fds: Any, cwd: str, user: str | None) -> int:
        """Start a program that nothing waits for; gives its pid on the host."""
        self._process.flush()
        return self._in_background(argv, fds, dict(self.env), cwd, self.root, self.jid, user)

    def _in_background(
        self, argv: list[str], fds: Any, env: Any, cwd: str, root: str, jid: int, user: str | None
    ) -> int:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            close_all_but(fds.values())
            try:
                self._in_own_place(argv, fds, env, cwd, root, jid, user)
            finally:
                os._exit(0)
        time.sleep(0.01)
        with self.host.changing() as state:
            name = argv[0].rpartition("/")[2]
            return daemons.start(state, name, " ".join(argv), jid=jid, real=pid, user=user or self._process.user)

    def _in_own_place(
        self, argv: list[str], fds: Any, env: Any, cwd: str, root: str, jid: int, user: str | None
    ) -> None:
        try:
            self._process.run(argv, fds=fds, env=env, cwd=cwd, root=root, jid=jid, user=user)
        except NotFound as problem:
            self._whisper(f"exec {argv[0]}: {problem.words}")
        if jid:
            with self.host.changing() as state:
                daemons.left(state, os.getpid())
            self.ended(jid)

    def _whisper(self, text: str) -> None:
        self.err(f"jail: {text}\n")

    def has_accounts(self, jid: int | None) -> bool:
        """Whether there is a password database to ask, in a jail or on the host: getpwnam(3) reads no text."""
        root = self._root_of(jid) if jid is not None else self._process.root
        with self.host.reading() as state:
            for name in ("/etc/spwd.db", "/etc/pwd.db", "/etc/passwd"):
                try:
                    if self.host.locate(state, name, root=root).exists:
                        return True
                except OSError:
                    continue
        return False

    def _no_user(self, user: str | None, jid: int | None) -> str:
        """get_user_info() in usr.sbin/jail/command.c."""
        if not self.has_accounts(jid):
            return f"getpwnam{' ' + user if user else ''}: No such file or directory"
        return f"{user}: no such user" if user else "unknown uid 0"

    def user(self, name: str, jid: int | None) -> list[str] | None:
        """A line of /etc/passwd, of the host or of a jail, as its seven fields."""
        try:
            text = self.read_text("/etc/passwd", jid=jid if jid is not None else 0 if self._process.jid == 0 else None)
        except OSError:
            return None
        for line in text.splitlines():
            fields = line.split(":")
            if len(fields) == 7 and fields[0] == name:
                return fields
        return None

    def remove_jail(self, jid: int) -> None:
        """jail_remove(2) with all that goes with a jail: its processes, its interfaces, its datasets' delegation."""
        with self.host.changing() as state:
            row = prison.by_jid(state, jid)
            if row is not None:
                self._remove_in(state, row)

    def _remove_in(self, state: dict[str, Any], row: dict[str, Any]) -> None:
        from .tools.zfs import destroy_jail

        inside = {row["jid"], *(kid["jid"] for kid in prison.descendants(state, row["jid"]))}
        daemons.end(state, [p for p in state.get("processes", []) if p["jid"] in inside], signal.SIGKILL)
        network.leave(state, inside)
        for jid in prison.remove(state, row):
            destroy_jail(state, jid)

    def drop_persist(self, jid: int) -> None:
        """``nopersist``: the jail lives on only while it has a process or a jail inside."""
        with self.host.changing() as state:
            row = prison.by_jid(state, jid)
            if row is None:
                return
            row["set"].pop("persist", None)
            self._end_if_empty(state, row)

    def _end_if_empty(self, state: dict[str, Any], row: dict[str, Any]) -> None:
        if row["set"].get("persist") or daemons.running(state, row["jid"]) or "dying" in row:
            return
        if any(kid["parent"] == row["jid"] for kid in state["jails"]):
            return
        self._remove_in(state, row)

    def jail_processes(self, jid: int) -> list[int]:
        with self.host.reading() as state:
            return [int(row["pid"]) for row in daemons.running(state, jid)]

    def terminate_jail(self, jid: int) -> list[int]:
        with self.host.changing() as state:
            rows = daemons.running(state, jid)
            daemons.ask(state, rows)
        return [int(row["pid"]) for row in rows]

    def daemon_pid(self, name: str) -> int | None:
        with self.host.reading() as state:
            return daemons.find(state, name, self._process.jid)

    def start_daemon(self, name: str, args: str, listens: list[listening.Wanted]) -> int:
        """Start one that listens there; 0 where it wants to and there is none of these addresses."""
        with self.host.changing() as state:
            sockets = listening.opened(state, self._process.jid, listens)
            if listens and not sockets:
                return 0
            return daemons.start(state, name, args, jid=self._process.jid, listens=sockets)

    def listen_anew(self, name: str, listens: list[listening.Wanted]) -> None:
        """What a daemon does that executes itself again: the same process, other sockets."""
        with self.host.changing() as state:
            daemons.listen_anew(state, name, self._process.jid, listening.opened(state, self._process.jid, listens))

    def stop_daemon(self, name: str) -> None:
        with self.host.changing() as state:
            daemons.stop(state, name, self._process.jid)


def _attached(child: Process, gate: int, tell: int, moment: float | None, replaces: bool) -> NoReturn:
    """The forked process of `attach`: waits until the host knows it, and tells how far it came with the clock."""
    status = 1
    try:
        known = os.read(gate, 64)
        os.close(gate)
        if known:
            if moment is not None:
                clock.go_on(moment)
            child.pid = int(known)
            status = child.execute(replaces)
            if moment is not None:
                os.write(tell, str(clock.now()).encode())
    except Killed as end:
        status = 128 + end.number
    except Exception:
        from traceback import print_exc

        print_exc()
    finally:
        os._exit(status)
