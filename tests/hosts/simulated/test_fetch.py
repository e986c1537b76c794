"""fetch(1): from files and from a web server of this machine."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jails.hosts.simulated import faults

from .machine import Machine

BODY = os.urandom(300_000)
CHANGED = 1_700_000_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer()

    def _answer(self, head: bool = False) -> None:
        kind = self.path.strip("/").partition(".")[0]
        if kind.isdigit():
            self.send_error(int(kind))
            return
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", "/whole.txz")
            self.end_headers()
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if kind != "unknown":
            self.send_header("Content-Length", str(len(BODY) - start))
        self.send_header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
        self.end_headers()
        if not head:
            self.wfile.write(BODY[start : 100_000 if kind in ("short", "stalls") else None])
            if kind == "stalls":
                self.wfile.flush()
                time.sleep(3)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "host", directories=["/d"])


def test_from_a_web_server(machine: Machine, server: str) -> None:
    outcome = machine.run("fetch", "-q", "-o", "/d/base.txz", f"{server}/whole.txz")
    assert outcome == (0, "", "")
    assert machine.run("sha256", "-q", "/d/base.txz").out.strip() == hashlib.sha256(BODY).hexdigest()
    assert machine.run("stat", "-f", "%m %z", "/d/base.txz").out == f"{CHANGED} {len(BODY)}\n"


def test_its_name_comes_from_the_url(machine: Machine, server: str) -> None:
    assert machine.run("sh", "-c", f"cd /d && fetch {server}/whole.txz && fetch -o /d {server}/moved.txz").rc == 0
    assert machine.run("ls", "/d").out == "moved.txz\nwhole.txz\n"
    outcome = machine.run("sh", "-c", f"cd /d && fetch {server}/whole.txz")
    assert outcome.err.startswith("whole.txz") and outcome.err.endswith("s\n")


def test_to_standard_output(machine: Machine, server: str) -> None:
    rc, out, err = machine.run_bytes("fetch", "-q", "-o", "-", f"{server}/whole.txz")
    assert (rc, out, err) == (0, BODY, b"")


@pytest.mark.parametrize(("path", "size"), [("whole.txz", str(len(BODY))), ("unknown.txz", "Unknown")])
def test_the_size_alone(machine: Machine, server: str, path: str, size: str) -> None:
    assert machine.run("fetch", "-s", f"{server}/{path}") == (0, f"{size}\n", "")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (404, "Not Found"),
        (403, "Forbidden"),
        (500, "Internal Server Error"),
        (503, "Service Unavailable"),
        (418, "Unknown HTTP error"),
    ],
)
def test_the_server_refuses(machine: Machine, server: str, code: int, words: str) -> None:
    url = f"{server}/{code}.txz"
    assert machine.run("fetch", "-q", "-o", "/d/x", url) == (1, "", f"fetch: {url}: {words}\n")
    assert not machine.exists("/d/x")
    assert machine.run("fetch", "-s", url).rc == 1


def test_nobody_answers(machine: Machine) -> None:
    url = "http://127.0.0.1:1/x"
    assert machine.run("fetch", "-q", "-o", "/d/x", url) == (1, "", f"fetch: {url}: Connection refused\n")
    assert machine.run("fetch", "gopher://h/x").err == "fetch: gopher://h/x: Invalid URL scheme\n"


def test_a_server_that_breaks_off(machine: Machine, server: str) -> None:
    """What came stays, and can be gone on with."""
    outcome = machine.run("fetch", "-q", "-o", "/d/x", f"{server}/short.txz")
    assert outcome == (1, "", f"fetch: /d/x appears to be truncated: 100000/{len(BODY)} bytes\n")
    assert machine.run("stat", "-f", "%z", "/d/x").out == "100000\n"
    assert machine.run("fetch", "-q", "-r", "-o", "/d/x", f"{server}/whole.txz").rc == 0
    assert machine.run("sha256", "-q", "/d/x").out.strip() == hashlib.sha256(BODY).hexdigest()


def test_a_server_that_hangs(machine: Machine, server: str) -> None:
    outcome = machine.run("fetch", "-q", "-T", "1", "-o", "/d/x", f"{server}/stalls.txz")
    late = f"fetch: transfer timed out\nfetch: /d/x appears to be truncated: 100000/{len(BODY)} bytes\n"
    assert outcome == (1, "", late)
    assert machine.run("stat", "-f", "%z", "/d/x").out == "100000\n"


def test_an_old_file_stays_until_the_new_one_is_whole(machine: Machine, server: str) -> None:
    machine.run("sh", "-c", "echo old > /d/x")
    assert machine.run("fetch", "-q", "-o", "/d/x", f"{server}/short.txz").rc == 1
    assert machine.run("cat", "/d/x").out == "old\n"
    rest = machine.run("ls", "-A", "/d").out.split()
    assert len(rest) == 2 and rest[0].startswith(".fetch.") and rest[0].endswith(".x")
    assert machine.run("fetch", "-q", "-o", "/d/x", f"{server}/whole.txz").rc == 0
    assert machine.run("stat", "-f", "%z", "/d/x").out == f"{len(BODY)}\n"


def test_from_a_file_of_the_host(machine: Machine) -> None:
    machine.run("sh", "-c", "mkdir '/d/m x'; echo text > '/d/m x/f'")
    assert machine.run("fetch", "-q", "-o", "/d/copy", "file:///d/m%20x/f").rc == 0
    assert machine.run("cat", "/d/copy").out == "text\n"
    assert machine.run("fetch", "-s", "file:///d/m%20x/f").out == "5\n"
    missing = machine.run("fetch", "-q", "-o", "/d/none", "file:///d/none.txz")
    assert missing == (1, "", "fetch: file:///d/none.txz: No such file or directory\n")
    assert machine.run("fetch", "-q", "-o", "/nosuch/x", "file:///d/copy").rc == 1


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_download_that_is_made_to_end_early(machine: Machine, server: str, scheme: str) -> None:
    machine.host.path("/d/whole.txz").write_bytes(BODY)
    url = "file:///d/whole.txz" if scheme == "file" else f"{server}/whole.txz"
    faults.add(machine.host, '{"fetch": {"truncate": 12345}}')
    outcome = machine.run("fetch", "-q", "-o", "/d/x", url)
    assert outcome == (1, "", f"fetch: /d/x appears to be truncated: 12345/{len(BODY)} bytes\n")
    assert machine.run("stat", "-f", "%z", "/d/x").out == "12345\n"
    faults.add(machine.host, "none")
    machine.run("rm", "/d/x")
    assert machine.run("fetch", "-q", "-o", "/d/x", url).rc == 0


def test_a_slow_download_grows_where_it_can_be_watched(machine: Machine, server: str) -> None:
    faults.add(machine.host, '{"fetch": {"rate": 200000}}')
    words = [sys.executable, "-S", "-m", "jails.hosts.simulated", str(machine.host.directory), "--"]
    begin = time.monotonic()
    fetch = subprocess.Popen([*words, "fetch", "-q", "-o", "/d/x", f"{server}/whole.txz"])
    sizes = set()
    while fetch.poll() is None:
        if machine.exists("/d/x"):
            sizes.add(machine.run("stat", "-f", "%z", "/d/x").out)
        time.sleep(0.02)
    assert fetch.returncode == 0
    assert time.monotonic() - begin >= len(BODY) / 200_000
    assert len(sizes) > 2


def test_a_full_file_system_takes_the_partial_file_away(machine: Machine, server: str) -> None:
    machine.zfs("create -o quota=200K -o mountpoint=/d/q tank/q")
    outcome = machine.run("fetch", "-q", "-o", "/d/q/x", f"{server}/whole.txz")
    assert (outcome.rc, outcome.err) == (1, "fetch: /d/q/x: Disc quota exceeded\n")
    assert not machine.exists("/d/q/x")


def test_a_download_that_is_cut_leaves_a_partial_file(machine: Machine, server: str) -> None:
    faults.add(machine.host, '{"match": "fetch", "cut": {"nth": 1}}')
    words = [sys.executable, "-S", "-m", "jails.hosts.simulated", str(machine.host.directory), "--"]
    ended = subprocess.run([*words, "fetch", "-q", "-o", "/d/x", f"{server}/whole.txz"], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert 0 < int(machine.run("stat", "-f", "%z", "/d/x").out) < len(BODY)


def test_usage(machine: Machine) -> None:
    for words in ([], ["-Z", "http://x/"]):
        outcome = machine.run("fetch", *words)
        assert outcome.rc == 1 and "usage: fetch [-146AadFlMmnPpqRrsUv]" in outcome.err
