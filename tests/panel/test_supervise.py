"""`make run`, as its Makefile calls it: what dies is started again, and nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.sshd import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

PROGRAMS = ("panel.wsgi", "panel.asgi", "operations@%h", "refresh@%h", "panel beat")


def until(holds: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


class Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listen = f"127.0.0.1:{free_port()}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CELLBLOCK_")}
        environment |= {
            "CELLBLOCK_DEMO": "1",
            "CELLBLOCK_ENV_FILE": os.devnull,
            "CELLBLOCK_STATE_DIR": str(folder / "state"),
            "CELLBLOCK_LISTEN": self.listen,
            "CELLBLOCK_LIVE_LISTEN": f"127.0.0.1:{free_port()}",
            "CELLBLOCK_MIRROR_LISTEN": f"127.0.0.1:{free_port()}",
        }
        with open(folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "panel.supervise"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def pids(self, word: str = "") -> list[int]:
        """Of the processes that it started itself, those whose command has the word."""
        return [pid for pid in children(self.process.pid) if word in command(pid)]

    def everything(self) -> list[int]:
        """All processes that use its state, however they were started."""
        marked = f"CELLBLOCK_STATE_DIR={self.folder / 'state'}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if marked in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def answers(self) -> bool:
        with suppress(OSError):
            urllib.request.urlopen(f"http://{self.listen}/", timeout=5).close()
            return True
        return False


def children(pid: int) -> list[int]:
    """Whichever of its threads has started them."""
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in listing.read_text().split()]
    return found


def command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        until(demo.answers)
        yield demo
    finally:
        for pid in demo.everything():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        demo.process.wait()


def test_it_prints_where_it_is_and_a_link_to_sign_in(demo: Demo) -> None:
    until(lambda: "Ctrl-C stops everything." in demo.output)
    assert f"Cellblock is at http://{demo.listen}\n" in demo.output
    assert f"Sign in once with http://{demo.listen}/" in demo.output


@pytest.mark.parametrize("word", PROGRAMS)
def test_what_is_killed_is_started_again(demo: Demo, word: str) -> None:
    until(lambda: len(demo.pids(word)) == 1)
    (before,) = demo.pids(word)
    started_before = set(children(before))
    os.kill(before, signal.SIGKILL)
    # What it had started comes to the supervisor for a moment, and is ended too: it would hold the port or the queue.
    until(lambda: len(demo.pids(word)) == 1 and not {before, *started_before} & set(demo.pids(word)))


def test_a_process_of_a_workers_pool_that_is_killed_is_replaced(demo: Demo) -> None:
    """By the worker itself."""

    def pool() -> set[int]:
        (worker,) = demo.pids("operations@%h")
        return set(children(worker))

    until(lambda: len(demo.pids("operations@%h")) == 1 and len(pool()) == 4)
    victim = pool().pop()
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(pool() - {victim}) == 4)


def test_it_answers_afterwards(demo: Demo) -> None:
    until(demo.answers)


def test_a_second_one_on_the_same_data_is_refused(demo: Demo, tmp_path: Path) -> None:
    environment = os.environ | {"CELLBLOCK_DEMO": "1", "CELLBLOCK_STATE_DIR": str(demo.folder / "state")}
    second = subprocess.run(
        [sys.executable, "-m", "panel.supervise"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1 and "already running with the data in" in second.stderr


def test_interrupting_it_ends_all_that_it_started(demo: Demo) -> None:
    """Last: the others share it."""
    assert len(demo.pids()) >= len(PROGRAMS)
    os.kill(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(30) == 0
    until(lambda: not demo.everything(), seconds=10)
