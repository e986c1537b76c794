"""The whole product as `make run` starts it, and a browser on it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = Path(os.environ.get("CELLBLOCK_TEST_SCREENSHOTS", ROOT / "screenshots"))
STARTED_WITHIN = 90


class Panel:
    """`python -m panel.supervise` with data, ports and services of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.lines: list[str] = []
        listen, live, mirror = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.url = f"http://{listen}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("CELLBLOCK_")}
        self.environment |= {
            "CELLBLOCK_ENV_FILE": os.devnull,
            "CELLBLOCK_DEMO": "1",
            "CELLBLOCK_STATE_DIR": str(folder),
            "CELLBLOCK_LISTEN": listen,
            "CELLBLOCK_LIVE_LISTEN": live,
            "CELLBLOCK_MIRROR_LISTEN": mirror,
            **settings,
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "panel.supervise"],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        self.wait_for(r"Ctrl-C stops everything")

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout:
            self.lines.append(line)

    def wait_for(self, pattern: str, seconds: float = STARTED_WITHIN) -> re.Match[str]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := re.search(pattern, "".join(self.lines)):
                return found
            assert self.process.poll() is None, "".join(self.lines)
            time.sleep(0.1)
        raise AssertionError(f"{pattern!r} was not printed:\n{''.join(self.lines)}")

    def signin_link(self) -> str:
        return self.wait_for(r"(http://\S+/enter/\S+)")[1]

    def manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def on_host(self, name: str, *argv: str, ok: bool = True) -> str:
        command = [sys.executable, "-m", "jails.hosts.simulated", str(self.folder / "fleet" / name), "--", *argv]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True)
        assert not ok or done.returncode == 0, done.stderr
        return done.stdout

    def worker_pids(self) -> list[int]:
        """The processes that run operations."""
        found = subprocess.run(
            ["pgrep", "-f", "celery .*worker .*-Q operations"], capture_output=True, text=True
        ).stdout.split()
        return [int(pid) for pid in found if self.is_mine(pid)]

    def is_mine(self, pid: str) -> bool:
        """Whether it runs for this panel; it may have ended, or be another user's."""
        with contextlib.suppress(OSError):
            return f"CELLBLOCK_STATE_DIR={self.folder}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        return False

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def new_database(url: str) -> str:
    """A database of its own on that PostgreSQL."""
    import psycopg

    name = f"story_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def services(kind: str) -> dict[str, str]:
    if kind == "files":
        return {}
    return {
        "CELLBLOCK_DATABASE_URL": new_database(os.environ["CELLBLOCK_TEST_POSTGRES_URL"]),
        "CELLBLOCK_BROKER_URL": os.environ["CELLBLOCK_TEST_REDIS_URL"],
    }


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("files", id="SQLite and files"),
        pytest.param("servers", id="PostgreSQL and Redis", marks=[pytest.mark.postgres, pytest.mark.redis]),
    ],
)
def panel(request, tmp_path_factory):
    panel = Panel(tmp_path_factory.mktemp("panel"), **services(request.param))
    panel.kind = request.param
    panel.start()
    yield panel
    panel.stop()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["CELLBLOCK_TEST_CHROMIUM"], args=arguments)
        yield browser
        browser.close()


class Complaints(list):
    """What the browser's console said that a strict page must not: errors, refused scripts and styles."""

    def watch(self, page) -> None:
        page.on("console", lambda message: self.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.append(str(error)))


@pytest.fixture
def complaints():
    found = Complaints()
    yield found
    # A refused form is answered with 4xx, which the console notes down as an error to load.
    assert [text for text in found if "the server responded with a status of 4" not in text] == []


@pytest.fixture
def visit(browser, panel, complaints):
    """Opens a browser of its own for a person: `visit()` gives a page."""
    contexts = []

    def new(**options):
        options = {
            "reduced_motion": "reduce",
            "viewport": {"width": 1280, "height": 900},
            "base_url": panel.url,
            **options,
        }
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        complaints.watch(page)
        return page

    yield new
    for context in contexts:
        context.close()


@pytest.fixture
def picture(panel):
    """Writes a screenshot: light, dark, and as narrow as a phone."""

    def take(page, name: str, *, full: bool = True) -> None:
        folder = SCREENSHOTS / panel.kind
        folder.mkdir(parents=True, exist_ok=True)
        before = page.viewport_size
        page.emulate_media(color_scheme="light")
        page.screenshot(path=folder / f"{name}.png", full_page=full)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=folder / f"{name}-dark.png", full_page=full)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 360, "height": 740})
        page.screenshot(path=folder / f"{name}-360.png", full_page=full)
        page.set_viewport_size(before)

    return take


# Pages with rows that tests make, without workers: quick, and still until a test moves something


@pytest.fixture(scope="module")
def _async_allowed():
    """Playwright runs an event loop in this thread, which Django takes for an async view's."""
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    yield
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def _log_can_be_emptied(django_db_setup, django_db_blocker):
    """The test database is emptied after each test, which the log refuses: after the last one it does again."""
    from django.db import connection

    yield
    with django_db_blocker.unblock():
        _guard_log(connection)


def _guard_log(connection) -> None:
    from jails.models.audit_triggers import drop_triggers, make_triggers

    drop_triggers(connection)
    make_triggers(connection)


@pytest.fixture
def rows(_async_allowed, _log_can_be_emptied, transactional_db, live_server):
    """A fleet of rows, served at `rows.url`."""
    from django.db import connection
    from django.utils import timezone

    from jails.models import Worker
    from jails.models.audit_triggers import drop_triggers
    from tests.panel.fleet import make_fleet

    _guard_log(connection)
    fleet = make_fleet()
    Worker.objects.create(name="default", seen_at=timezone.now() + timezone.timedelta(hours=1))
    fleet.url = live_server.url
    yield fleet
    drop_triggers(connection)


@pytest.fixture
def visit_rows(browser, rows, complaints):
    """Opens a browser of its own on the fleet of rows, for nobody yet: `visit_rows()` gives a page."""
    contexts = []

    def new(**options):
        options = {"reduced_motion": "reduce", "viewport": {"width": 1280, "height": 900}, **options}
        contexts.append(browser.new_context(base_url=rows.url, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        complaints.watch(page)
        return page

    yield new
    for context in contexts:
        context.close()


@pytest.fixture
def sign_in(visit_rows, rows):
    """The same for a person of the fleet: `sign_in("owner")` gives a page."""
    from django.conf import settings
    from django.test import Client

    def new(role="administrator", **options):
        client = Client()
        client.force_login(rows.people[role], backend="django.contrib.auth.backends.ModelBackend")
        page = visit_rows(**options)
        value = client.cookies[settings.SESSION_COOKIE_NAME].value
        page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": rows.url}])
        return page

    return new
