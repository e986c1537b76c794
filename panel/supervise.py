"""`make run`: everything of the demo under one process, that starts again what dies and ends with all it started.

Production has rc(8) or systemd for this; docs/install.md says how.
"""

import contextlib
import ctypes
import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import IO

GRACE = 3.0
"""Seconds between asking a process to end and killing it. An idle Celery worker takes longer than anybody wants to wait
after Ctrl-C, and a busy one may: what it was doing goes on after the next start."""
STEADY = 60.0
"""Seconds after which a process counts as well again, and its next death starts the waiting anew."""
LONGEST_WAIT = 30.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Problem(Exception):
    """Why the demo cannot start, in words for whoever typed the command."""


@dataclass
class Process:
    name: str
    argv: list[str]
    popen: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = 0.0
    next_start: float = 0.0
    lines: threading.Thread | None = field(default=None, repr=False)

    def start(self, environment: dict[str, str]) -> None:
        self.started = time.monotonic()
        self.popen = subprocess.Popen(
            self.argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us alone, and its whole group can be ended
            preexec_fn=end_with_parent,
        )
        assert self.popen.stdout is not None
        self.lines = threading.Thread(target=relay, args=(self.name, self.popen.stdout), daemon=True)
        self.lines.start()

    def look(self, environment: dict[str, str]) -> None:
        """Notice a death, and start again when the wait is over."""
        now = time.monotonic()
        if self.popen is None:
            if now >= self.next_start:
                self.start(environment)
            return
        status = self.popen.poll()
        if status is None:
            return
        self.kill()  # what is left of its group would hold the port or the queue
        self.popen = None
        self.wait = 1.0 if now - self.started > STEADY else min(max(1.0, self.wait * 2), LONGEST_WAIT)
        self.next_start = now + self.wait
        say(f"{self.name} ended ({describe(status)}); starting it again in {self.wait:g} s")

    def kill(self) -> None:
        if self.popen is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.popen.pid, signal.SIGKILL)


def say(text: str) -> None:
    """Print a line; where the terminal is gone, stop."""
    try:
        print(text, flush=True)
    except OSError:
        stopping.set()


def describe(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


def relay(name: str, stream: IO[bytes]) -> None:
    for line in stream:
        say(f"{name:<10} | {line.decode('utf-8', 'replace').rstrip()}")


def prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def end_with_parent() -> None:
    """Ask the kernel to end this process with the supervisor, even one killed by SIGKILL (Linux only)."""
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def orphans(processes: list[Process]) -> list[int]:
    """Children of ours that we did not start: what our processes left behind comes to a subreaper (Linux only)."""
    children: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children.update(map(int, listing.read_text().split()))
    return sorted(children - {process.popen.pid for process in processes if process.popen})


def bury(processes: list[Process]) -> None:
    for pid in orphans(processes):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def end_all(processes: list[Process]) -> None:
    for process in processes:
        if process.popen:
            process.popen.terminate()
    limit = time.monotonic() + GRACE
    while time.monotonic() < limit and any(p.popen and p.popen.poll() is None for p in processes):
        time.sleep(0.05)
    for process in processes:
        process.kill()
        if process.popen:
            process.popen.wait()
    while left := orphans(processes):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise Problem(f"{listen!r} is no address to listen on: expected HOST:PORT, like 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def require_free(variable: str, listen: str) -> None:
    host, port = address(listen)
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Problem(f"cannot listen on {listen} ({reason}): choose another with {variable}=HOST:PORT") from error


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the state folder, so that no two runs serve one database with two sets of workers."""
    with open(state / "run.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(
                f"already running with the data in {state}; "
                "stop it first, or name another folder with CELLBLOCK_STATE_DIR"
            ) from None
        yield


def prepare() -> None:
    """Bring the database up to date, and make the simulated fleet where there is none."""
    import django
    from django.core.management import call_command, get_commands
    from django.db import connections

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    if "demo" in get_commands():
        call_command("demo")
    connections.close_all()


def signin_link() -> str:
    from django.core.management import call_command, get_commands

    if "signin_link" not in get_commands():
        return ""
    output = StringIO()
    call_command("signin_link", stdout=output)
    return output.getvalue().strip()


def programs(listen: str, live_listen: str, mirror_listen: str, state: Path) -> list[Process]:
    python = [sys.executable, "-m"]
    gunicorn = [*python, "gunicorn", "--no-control-socket", "--log-level", "warning", "--forwarded-allow-ips", ""]
    celery = [*python, "celery", "--quiet", "-A", "panel"]
    worker = [*celery, "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    mirror_host, mirror_port = address(mirror_listen)
    mirror = [*python, "http.server", "--bind", mirror_host, "--directory", str(state / "mirror"), str(mirror_port)]
    return [
        Process("web", [*gunicorn, "-k", "gthread", "-w", "2", "--threads", "8", "-b", listen, "panel.wsgi"]),
        Process("live", [*gunicorn, "-k", "asgi", "-b", live_listen, "panel.asgi"]),
        Process("operations", [*worker, "-Q", "operations", "-n", "operations@%h", "-c", "4"]),
        Process("consoles", [*python, "django", "consoled"]),
        Process("refresh", [*worker, "-Q", "refresh", "-n", "refresh@%h", "-c", "2"]),
        Process("mirror", mirror),
        Process("beat", [*celery, "beat", "-s", str(state / "beat")]),
    ]


def answers(listen: str) -> bool:
    """Whether the web server gives any answer; the Host it asks for does not matter."""
    connection = http.client.HTTPConnection(*address(listen), timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def greet(url: str) -> None:
    link = signin_link()
    say("")
    say(f"Cellblock is at {url}")
    if link:
        say(f"Sign in once with {link}")
    say("Ctrl-C stops everything.")
    say("")


def supervise(processes: list[Process], environment: dict[str, str], listen: str, url: str) -> None:
    greeted = False
    parent = os.getppid()
    while not stopping.is_set():
        if "MAKELEVEL" in os.environ and os.getppid() != parent:
            return  # make was killed
        for process in processes:
            process.look(environment)
        bury(processes)
        if not greeted and answers(listen):
            greeted = True
            greet(url)
        stopping.wait(0.3)


stopping = threading.Event()


def stop(number: int, frame: object) -> None:
    stopping.set()


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        if not settings.DEMO:
            raise Problem("this runs the demo (CELLBLOCK_DEMO=1); for production see docs/install.md")
        with alone(settings.STATE_DIR):
            require_free("CELLBLOCK_LISTEN", settings.LISTEN)
            require_free("CELLBLOCK_LIVE_LISTEN", settings.LIVE_LISTEN)
            require_free("CELLBLOCK_MIRROR_LISTEN", settings.MIRROR_LISTEN)
            processes = programs(settings.LISTEN, settings.LIVE_LISTEN, settings.MIRROR_LISTEN, settings.STATE_DIR)
            run(processes, settings.LISTEN, settings.URL)
    except (Problem, ImproperlyConfigured) as problem:
        print(f"make run: {problem}", file=sys.stderr)
        return 1
    return 0


def run(processes: list[Process], listen: str, url: str) -> None:
    # Who tries the demo wants to see the address, not what each process has to say of its start.
    environment = {"CELLBLOCK_LOG_LEVEL": "WARNING", **os.environ, "PYTHONUNBUFFERED": "1"}
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prepare()
    try:
        supervise(processes, environment, listen, url)
    finally:
        say("Stopping.")
        end_all(processes)


if __name__ == "__main__":
    sys.exit(main())
