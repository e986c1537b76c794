"""A simulated host in a temporary folder, its tools called within the test's own process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from jails.hosts.simulated.host import Host
from jails.hosts.simulated.new import make
from jails.hosts.simulated.process import PATH, Process


class Outcome(NamedTuple):
    rc: int
    out: str
    err: str


class Machine:
    def __init__(self, directory: Path, release: str = "14.2-RELEASE", **more: object) -> None:
        self.host: Host = make(directory, release=release, pools={"tank": 8053063680}, **more)  # type: ignore[arg-type]

    def run(self, *argv: str, stdin: bytes = b"", jid: int = 0, root: str = "/") -> Outcome:
        rc, out, err = self.run_bytes(*argv, stdin=stdin, jid=jid, root=root)
        return Outcome(rc, out.decode(), err.decode())

    def run_bytes(self, *argv: str, stdin: bytes = b"", jid: int = 0, root: str = "/") -> tuple[int, bytes, bytes]:
        process = Process(self.host, ["sh"], fds={}, env={"PATH": PATH})
        return process.capture(list(argv), stdin, jid=jid, root=root)

    def zfs(self, words: str, **more: object) -> str:
        """Standard output of a zfs command that must succeed; the words hold no blanks."""
        outcome = self.run("zfs", *words.split(), **more)  # type: ignore[arg-type]
        assert outcome.rc == 0, outcome
        return outcome.out

    def refused(self, words: str, **more: object) -> str:
        """Standard error of a zfs command that must fail."""
        outcome = self.run("zfs", *words.split(), **more)  # type: ignore[arg-type]
        assert outcome.rc == 1, outcome
        return outcome.err

    def write(self, path: str, size: int = 1000) -> None:
        """Write a file of the host as its file tools do."""
        with self.host.reading() as state:
            place = self.host.locate(state, path)
        place.backing.write_bytes(os.urandom(size))
        self.host.touched(place.mount)

    def exists(self, path: str) -> bool:
        try:
            with self.host.reading() as state:
                return self.host.locate(state, path).exists
        except OSError:
            return False

    def number(self, name: str, wanted: str) -> int:
        return int(self.zfs(f"get -Hp -o value {wanted} {name}"))
