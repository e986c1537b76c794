"""Real worker processes for tests, with brokers of their own whose messages can be taken away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from django.db import connection

REDIS_DATABASE = "15"
"""Of the server that CELLBLOCK_TEST_REDIS_URL names: it is emptied."""


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def database_url() -> str:
    """Of the database of this test, for another process."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return f"{os.environ['CELLBLOCK_DATABASE_URL'].rpartition('/')[0]}/{name}"


class Files:
    """The broker of files, in the state folder of the workers."""

    url = "filesystem://localhost/"

    def __init__(self, folder: Path) -> None:
        self.messages = folder / "state" / "broker" / "messages"

    def clear(self) -> int:
        """Delete all messages; how many there were."""
        found = list(self.messages.glob("*.msg")) if self.messages.is_dir() else []
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)


class Redis:
    def __init__(self) -> None:
        import redis

        server = os.environ["CELLBLOCK_TEST_REDIS_URL"].rpartition("/")[0]
        self.url = f"{server}/{REDIS_DATABASE}"
        self.client = redis.Redis.from_url(self.url)
        self.client.flushdb()

    def clear(self) -> int:
        """Delete all there is, the lists of queues too."""
        found = sum(self.client.llen(queue) for queue in ("operations", "refresh"))
        self.client.flushdb()
        return found


class Workers:
    """Starts them, each in a process group of its own; what is left of them is killed at the end."""

    def __init__(self, folder: Path, broker: Files | Redis) -> None:
        self.folder, self.broker = folder, broker
        self.started: list[subprocess.Popen] = []

    def start(self) -> subprocess.Popen:
        environment = os.environ | {
            "CELLBLOCK_STATE_DIR": str(self.folder / "state"),
            "CELLBLOCK_DATABASE_URL": database_url(),
            "CELLBLOCK_BROKER_URL": self.broker.url,
            "DJANGO_SETTINGS_MODULE": "panel.settings",
        }
        argv = [sys.executable, "-m", "tests.operations.worker", str(self.folder)]
        with open(self.folder / "worker.log", "ab") as log:
            process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.started.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def kill(self) -> None:
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if isinstance(self.broker, Redis):
            self.broker.client.flushdb()


class Deleting:
    """While in it, every message is deleted as soon as it is seen. `count` is how many there were."""

    def __init__(self, broker: Files | Redis) -> None:
        self.broker, self.count, self._stop = broker, 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            self.count += self.broker.clear()

    def __enter__(self) -> Deleting:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
