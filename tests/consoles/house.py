"""A whole house of consoles: a simulated host with jails, people, a real consoled, a real gunicorn and websockets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from jails.models import Console, Host, Jail, Membership, Tenant, User
from tests.operations.warden import Warden

ROOT = Path(__file__).parents[2]
ORIGIN = "http://127.0.0.1:8000"
PROMPT = ":~ # "


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def database_url() -> str:
    """Of the test's own database, for another process."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**values)


class Services:
    """A consoled and a gunicorn on the test's database, and where they have their files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.socket = str(folder / "c.sock")
        self.recordings = folder / "recordings"
        self.live_port = free_port()
        self.settings: dict[str, str] = {}
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CELLBLOCK_")}
        return kept | {
            "DJANGO_SETTINGS_MODULE": "panel.settings",
            "PYTHONPATH": str(ROOT),
            "CELLBLOCK_ENV_FILE": os.devnull,
            "CELLBLOCK_DEMO": "1",
            "CELLBLOCK_STATE_DIR": str(settings.STATE_DIR),
            "CELLBLOCK_DATABASE_URL": database_url(),
            "CELLBLOCK_SECRET_KEY": settings.SECRET_KEY,
            "CELLBLOCK_CONSOLED_SOCKET": self.socket,
            "CELLBLOCK_CONSOLE_RECORDINGS": str(self.recordings),
            "CELLBLOCK_CONSOLE_POLL_SECONDS": "0.3",
            "CELLBLOCK_LOG_LEVEL": "WARNING",
            **self.settings,
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{words[0]}.log").open("ab")
        made = subprocess.Popen([sys.executable, "-m", *words], env=self.environment, cwd=ROOT, stdout=log, stderr=log)
        self.processes.append(made)
        return made

    def start_consoled(self) -> subprocess.Popen[bytes]:
        Path(self.socket).unlink(missing_ok=True)
        self.consoled = self.start("django", "consoled")
        until(lambda: _answers(self.socket), "consoled")
        return self.consoled

    def start_web(self) -> None:
        words = ("gunicorn", "--no-control-socket", "-k", "asgi", "-b", f"127.0.0.1:{self.live_port}", "panel.asgi")
        self.start(*words)
        until(lambda: _answers(("127.0.0.1", self.live_port)), "gunicorn")

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


class House:
    def __init__(self, prepared: Path, folder: Path) -> None:
        self.folder = folder
        self.admin = User.objects.create_user("ada", role="administrator")
        self.warden = Warden(prepared, folder / "warden1", self.admin)
        self.host: Host = self.warden.row
        self.acme = Tenant.objects.create(slug="acme", name="Acme")
        self.globex = Tenant.objects.create(slug="globex", name="Globex")
        self.people = {
            "administrator": self.admin,
            "auditor": User.objects.create_user("uma", role="auditor"),
            "owner": self.member("olga", self.acme, "owner"),
            "granted": self.member("greta", self.acme, "member", ["console"]),
            "member": self.member("milo", self.acme, "member", ["power"]),
            "stranger": self.member("stan", self.globex, "owner"),
        }
        self.jail: Jail = self.warden.make("www1", tenant=self.acme)
        self.clients: dict[str, Client] = {}

    def member(self, name: str, tenant: Tenant, role: str, rights: list[str] | None = None) -> User:
        user = User.objects.create_user(name)
        Membership.objects.create(tenant=tenant, user=user, role=role, rights=rights or [])
        return user

    def move_into(self, services: Services, django_settings: Any) -> None:
        self.services = services
        django_settings.CONSOLED_SOCKET = services.socket
        django_settings.CONSOLE_RECORDINGS = services.recordings

    # People

    def client(self, who: str) -> Client:
        if who not in self.clients:
            self.clients[who] = Client(HTTP_HOST="127.0.0.1:8000")
            self.clients[who].force_login(self.people[who], backend="django.contrib.auth.backends.ModelBackend")
        return self.clients[who]

    def cookie(self, who: str) -> str:
        name = settings.SESSION_COOKIE_NAME
        return f"{name}={self.client(who).cookies[name].value}"

    def ticket(self, who: str, jail: Jail | None = None, login: str = "root") -> str:
        response = self.client(who).post(f"/jails/{(jail or self.jail).uuid}/console/ticket", {"login": login})
        assert response.status_code == 200, response.content
        return str(response.json()["ticket"])

    @contextlib.contextmanager
    def socket(
        self, who: str, *, origin: str | None = ORIGIN, cookie: str | None = None, what: str = "console"
    ) -> Iterator[ClientConnection]:
        headers = {"Cookie": self.cookie(who) if cookie is None else cookie}
        address = f"ws://127.0.0.1:{self.services.live_port}/live/{what}"
        with connect(address, origin=origin, additional_headers=headers, compression=None, close_timeout=3) as made:  # type: ignore[arg-type]
            yield made

    @contextlib.contextmanager
    def console(self, who: str, jail: Jail | None = None, **more: Any) -> Iterator[Shown]:
        """An open console, at its prompt."""
        with self.socket(who) as made:
            made.send(json.dumps({"ticket": self.ticket(who, jail, **more), "columns": 80, "rows": 24}))
            shown = Shown(made)
            shown.until(PROMPT)
            yield shown

    @contextlib.contextmanager
    def followed(self, who: str, path: str, *, jail: Jail | None = None, text: str = "") -> Iterator[Shown]:
        """A log that is followed, from its first word on."""
        with self.socket(who, what="log") as made:
            address = f"/jails/{(jail or self.jail).uuid}/logs/ticket"
            ticket = self.client(who).post(address, {"path": path}).json()["ticket"]
            made.send(json.dumps({"ticket": ticket, "text": text}))
            shown = Shown(made)
            shown.until_said("open")
            yield shown

    def refused(self, who: str, **more: Any) -> int:
        """The status that a handshake is refused with."""
        try:
            with self.socket(who, **more):
                return 101
        except InvalidStatus as refusal:
            return int(refusal.response.status_code)

    # What is there

    def inside(self) -> list[str]:
        """The commands that run on terminals of the jail."""
        rows = self.warden.simulation.run("sh", "-c", "ps -J www1 -o tt,command || true").splitlines()[1:]
        return [row for row in rows if not row.startswith("-") and "script" not in row and row[:1].isdigit()]

    def tails(self) -> list[str]:
        """What follows a file in the jail."""
        return self.warden.simulation.run("sh", "-c", "pgrep -j www1 -f '^tail ' || true").split()

    def last(self) -> Console:
        return Console.objects.order_by("-opened_at").first()  # type: ignore[return-value]

    def ended(self) -> Console:
        """The last console, once it has ended."""
        until(lambda: not self.last().is_open, "the end of a console")
        return self.last()

    def recording(self, console: Console) -> list[Any]:
        path = settings.CONSOLE_RECORDINGS / f"{console.opened_at:%Y-%m}" / f"{console.pk}.cast"
        return [json.loads(line) for line in path.read_text().splitlines()]


class Shown:
    """One websocket, and what came out of it."""

    def __init__(self, made: ClientConnection) -> None:
        self.socket = made
        self.output = b""
        self.said: list[dict[str, Any]] = []

    def type(self, text: str) -> None:
        self.socket.send(text.encode())

    def say(self, **words: Any) -> None:
        self.socket.send(json.dumps(words))

    def until(self, text: str, seconds: float = 15) -> str:
        """What was shown, once this text was after the last look."""
        begun, end = len(self.output), time.monotonic() + seconds
        while text.encode() not in self.output[begun:]:
            assert self._next(end), f"{text!r} was not shown: {self.output!r}, {self.said}"
        return self.output.decode("utf-8", "replace")

    def size(self) -> str:
        self.type("stty size\n")
        return self.until(PROMPT).splitlines()[-2].strip()

    def until_said(self, word: str, seconds: float = 15) -> Any:
        end = time.monotonic() + seconds
        while not any(word in one for one in self.said):
            assert self._next(end), f"{word!r} was not said: {self.output!r}, {self.said}"
        return next(one[word] for one in self.said if word in one)

    def lines(self) -> list[str]:
        """Of a log, as far as they were said."""
        return [line for one in self.said for line in one.get("lines", [])]

    def until_line(self, line: str, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while line not in self.lines():
            assert self._next(end), f"{line!r} was not there: {self.said}"

    def ended(self, seconds: float = 20) -> str:
        """Why, once it has."""
        return str(self.until_said("ended", seconds))

    def rest(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while self._next(time.monotonic() + 5):
                pass

    def _next(self, end: float) -> bool:
        try:
            message = self.socket.recv(timeout=max(0.0, end - time.monotonic()))
        except (TimeoutError, ConnectionClosed):
            return False
        if isinstance(message, bytes):
            self.output += message
        else:
            self.said.append(json.loads(message))
        return True


def until(holds: Any, what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


def _answers(address: Any) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
    return True
