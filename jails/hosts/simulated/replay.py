"""`--replay FILE`: a transcript of a real host, run again on a fresh simulated one, and what differs.

A transcript is `{"host": {...}, "commands": [{"argv", "stdin", "rc", "stdout", "stderr"}, ...]}`. Commands marked
`skip` are run and not compared; for those marked `sizes` runs of digits (with unit and blanks around) are masked, and
only the first line of a usage text counts. MASKS names what differs from run to run everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from . import clock, new
from .host import Host
from .process import PATH, Killed, NotFound, Process

MASKS: tuple[tuple[str, str], ...] = (
    ("uuid", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    ("time", r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) +(?:[A-Z][a-z]{2}) +\d+ +\d+:\d\d(?::\d\d)?(?: [A-Z]{3,4})? +\d{4}\b"),
    ("minute", r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) +(?:[A-Z][a-z]{2}) +\d+ +\d+:\d\d\b(?: +\d{4})?"),
    ("date", r"\b\d{4}-\d\d-\d\d[.T ]\d\d:\d\d:\d\d\b"),
    ("ether", r"\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b"),
    ("link local", r"\bfe80::[0-9a-f:]+"),
    ("guid", r"\b\d{17,20}\b"),
    ("epoch", r"\b1[678]\d{8}\b"),
)
"""Name and regular expression of what is replaced by `<name>` on both sides before they are compared."""

ENVIRONMENT = {
    "LOGNAME": "root",
    "MAIL": "/var/mail/root",
    "PATH": f"{PATH}:/root/bin",
    "PWD": "/root",
    "TERM": "su",
    "USER": "root",
    "HOME": "/root",
    "SHELL": "/bin/sh",
    "BLOCKSIZE": "K",
}
"""What sshd(8) and login.conf(5) give a command of root."""
PACE = 0.4
"""Seconds that a command took where transcripts were recorded: in a slow virtual machine, by ssh(1)."""
LIMIT = 10.0
"""Seconds that a command's output may be held after its end."""
PATIENCE = 60.0
"""Seconds that a command may run here."""
MOST_OUTPUT = 16 << 20
"""Bytes that are kept of what a command prints."""
RELEASE = "12.1-STABLE"
POOL_SIZE = 8053063680
"""What the recorded host had, where a transcript does not say."""

_SIZES = re.compile(r" *-?\d+(?:\.\d+)?[BKMGTPE%x]?(?:iB)?(?: |\t|(?=\n)|$)*")


def command(words: list[str]) -> int:
    as_json = "--json" in words
    files = [word for word in words if word != "--json"]
    if len(files) != 1:
        sys.stderr.write("usage: python -m jails.hosts.simulated --replay FILE [--json]\n")
        return 2
    try:
        transcript = read(Path(files[0]))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{files[0]}: {error}\n")
        return 2
    with _only_ours() as out:
        ran = replay(transcript)
        if as_json:
            out.write(json.dumps({"commands": ran}) + "\n")
            return 0
        found = differences(transcript, ran)
        for one in found:
            out.write(one + "\n")
        out.write(f"{len(found)} of {len(ran)} commands differ\n")
    return int(bool(found))


def read(file: Path) -> dict[str, Any]:
    """A transcript, with what a recorder may leave out filled in. ValueError when the file is none."""
    found = json.loads(file.read_bytes())
    if isinstance(found, list):
        found = {"commands": found}
    if not isinstance(found, dict) or not isinstance(found.get("commands"), list):
        raise ValueError('expected {"host": {...}, "commands": [...]}')
    host = found.get("host")
    return {"host": host if isinstance(host, dict) else {}, "commands": [_command(one) for one in found["commands"]]}


def _command(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("argv"), list):
        raise ValueError(f'expected {{"argv": [...], ...}} as a command, not {json.dumps(given)[:80]}')
    texts = {name: given.get(name) or "" for name in ("stdin", "stdout", "stderr")}
    return {"rc": 0, **given, "argv": [str(word) for word in given["argv"]], **texts}


@contextlib.contextmanager
def _only_ours() -> Iterator[TextIO]:
    """Standard output for the answer alone: what anything else would write to it goes nowhere meanwhile."""
    sys.stdout.flush()
    with open(os.dup(1), "w", encoding="utf-8", errors="replace") as out, open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield out
        finally:
            os.dup2(out.fileno(), 1)


def replay(transcript: dict[str, Any], directory: str | Path | None = None) -> list[dict[str, Any]]:
    """Make the host the transcript starts with, run its commands; each one's argv, rc, stdout and stderr."""
    place = Path(directory) if directory else Path(tempfile.mkdtemp(prefix="replay-"))
    try:
        host = make_host(transcript["host"], place / "host")
        clock.hurry()
        ran = []
        for one in transcript["commands"]:
            clock.forward(PACE)
            ran.append(run(host, one["argv"], one.get("stdin") or ""))
        return ran
    finally:
        if directory is None:
            shutil.rmtree(place, ignore_errors=True)


def make_host(given: dict[str, Any], directory: Path) -> Host:
    """The host as the `host` part of a transcript describes it."""
    pools, interfaces = _named(given.get("pools")), _named(given.get("interfaces"))
    return new.make(
        directory,
        release=given.get("release") or RELEASE,
        hostname=given.get("hostname") or "simulated",
        pools={name: int(one.get("size") or POOL_SIZE) for name, one in pools.items()},
        devices={name: str(one["device"]) for name, one in pools.items() if one.get("device")},
        interfaces=interfaces,
        directories=[str(path) for path in given.get("directories") or []],
        arch=given.get("arch") or "amd64",
        ncpu=int(given.get("ncpu") or 2),
        memory=int(given.get("memory") or 4 << 30),
        racct=bool(_named_or_empty(given.get("features")).get("racct")),
        router=given.get("router") or _router(interfaces),
        minimal=True,
    )


def _named(given: Any) -> dict[str, dict[str, Any]]:
    """Things by their names; a bare list of names says nothing more of them."""
    if isinstance(given, list):
        given = dict.fromkeys(str(name) for name in given)
    return {name: _named_or_empty(one) for name, one in _named_or_empty(given).items()}


def _named_or_empty(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def _router(interfaces: dict[str, Any]) -> str:
    """The recorded host is a virtual machine: in its network, QEMU's user network, .2 is the router."""
    for one in interfaces.values():
        for address in one.get("inet", []):
            if address.startswith("10.0.2."):
                return "10.0.2.2"
    return ""


def run(host: Host, argv: list[str], stdin: str) -> dict[str, Any]:
    """One command as it was recorded: over when it has ended and nobody holds its output any more.

    A daemon that goes on holding it makes the recorder's time limit: status None and `TIMEOUT ` on standard error.
    """
    caller = Process(host, ["sh"], fds={}, env=ENVIRONMENT, cwd="/root")
    streams = [_Stream(), _Stream()]
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        rc = _within(PATIENCE, lambda: _execute(caller, argv, given.fileno(), streams))
    end = time.monotonic() + LIMIT
    for stream in streams:
        os.close(stream.end)
    ended = [stream.over(end) for stream in streams]
    stdout, stderr = (b"".join(stream.parts).decode(errors="replace") for stream in streams)
    if rc is None or not all(ended):
        rc, stderr = None, stderr + "TIMEOUT "
    return {"argv": argv, "rc": rc, "stdout": stdout, "stderr": stderr}


def _execute(caller: Process, argv: list[str], stdin: int, streams: list[_Stream]) -> int:
    try:
        if not argv:
            raise NotFound("", errno.ENOENT)
        return caller.run(argv, fds={0: stdin, 1: streams[0].end, 2: streams[1].end})
    except NotFound as problem:
        os.write(streams[1].end, f"{problem.name}: {problem.words}\n".encode(errors="replace"))
        return 127
    except Killed as end:
        return 128 + end.number
    except OutOfTime:
        raise
    except Exception as problem:  # a fault of a tool must not cost the answers to the commands after it
        os.write(streams[1].end, f"{argv[0]}: {problem!r}\n".encode(errors="replace"))
        return 70


class OutOfTime(Exception):
    """Raised in the middle of a command that runs for too long."""


def _within(seconds: float, work: Callable[[], int]) -> int | None:
    """What the work gives; None when it did not end in time."""
    results: list[int] = []
    worker = threading.Thread(target=_keep, args=(work, results), daemon=True)
    worker.start()
    worker.join(seconds)
    for _ in range(5):
        if not worker.is_alive():
            break
        # It may be caught at a place that goes on regardless, or wait for something that never comes.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident or 0), ctypes.py_object(OutOfTime))
        worker.join(1)
    return results[0] if results else None


def _keep(work: Callable[[], int], results: list[int]) -> None:
    with contextlib.suppress(OutOfTime, OSError):
        results.append(work())


class _Stream:
    """A pipe read by a thread, for as long as somebody holds its other end, or LIMIT seconds after the command."""

    def __init__(self) -> None:
        self._end, self.end = os.pipe()
        self.parts: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        kept = 0
        while part := os.read(self._end, 1 << 16):
            if kept < MOST_OUTPUT:
                self.parts.append(part)
            kept += len(part)
        os.close(self._end)

    def over(self, end: float) -> bool:
        """Whether nobody holds it any more; waits until then, or that time of the monotonic clock."""
        self._thread.join(max(0, end - time.monotonic()))
        return not self._thread.is_alive()


def differences(transcript: dict[str, Any], ran: list[dict[str, Any]]) -> list[str]:
    """One text for each command whose masked result is not the recorded one."""
    found = []
    for number, (expected, got) in enumerate(zip(transcript["commands"], ran, strict=True)):
        if expected.get("skip"):
            continue
        pairs: list[tuple[str, Any, Any]] = [("rc", expected["rc"], got["rc"])]
        for stream in ("stdout", "stderr"):
            wanted, said = (masked(one[stream], bool(expected.get("sizes"))) for one in (expected, got))
            pairs.append((stream, wanted, said))
        lines = [
            f"  {name}: expected {one!r}\n  {' ' * len(name)}       got {other!r}"
            for name, one, other in pairs
            if one != other
        ]
        if lines:
            found.append(f"{number}: {' '.join(expected['argv'])}\n" + "\n".join(lines))
    return found


def masked(text: str, sizes: bool = False) -> str:
    """The text with everything that differs from run to run replaced by its name."""
    text = _without_usage(text)
    for name, pattern in MASKS:
        text = re.sub(pattern, f"<{name}>", text)
    return _SIZES.sub(" # ", text) if sizes else text


def _without_usage(text: str) -> str:
    """Only the first line of a usage text."""
    lines = text.splitlines(keepends=True)
    at = next((number for number, line in enumerate(lines) if line.lower().startswith(("usage:", "jls: usage:"))), None)
    return text if at is None else "".join(lines[: at + 1])
