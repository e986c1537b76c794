"""The host that the tests of this folder run on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import paramiko

from jails.freebsd.command import Pipeline
from jails.hosts.simulated import mirror
from jails.hosts.ssh import SSHConnection, scan_host_key
from tests.hosts.simulation import Simulation
from tests.hosts.sshd import Sshd

SECONDS = 120


def new_prefix() -> str:
    """What all names begin with that these tests make: nothing else on the host is touched."""
    return f"cbt{secrets.token_hex(2)}"


@dataclass
class Site:
    """`source`: a folder with MANIFEST and base.txz, as release_fetch takes it; "" where none was named."""

    connection: SSHConnection
    is_real: bool
    source: str = ""
    prefix: str = field(default_factory=new_prefix)

    def run(self, *argv: str, stdin: bytes = b"") -> str:
        """What a command prints; it must succeed."""
        result = self.connection.run(Pipeline.of(argv, stdin=stdin), timeout=SECONDS)
        assert result.ok, (argv, result.rc, result.stderr.decode("utf-8", "replace"))
        return result.text

    def sh(self, text: str, *args: str) -> str:
        return self.run("sh", "-ec", text, "sh", *args)

    def output(self, *argv: str) -> bytes:
        """The same in bytes, whatever its status."""
        return self.connection.run(Pipeline.of(argv), timeout=SECONDS).stdout


@contextmanager
def real_site() -> Iterator[Site]:
    """CELLBLOCK_LIVE_HOST, ssh://root@address:port, with the key file CELLBLOCK_LIVE_KEY."""
    place = urlsplit(os.environ["CELLBLOCK_LIVE_HOST"])
    assert place.scheme == "ssh" and place.hostname, "CELLBLOCK_LIVE_HOST: expected ssh://root@address:port"
    port = place.port or 22
    key = paramiko.PKey.from_path(os.path.expanduser(os.environ.get("CELLBLOCK_LIVE_KEY", "~/.ssh/id_ed25519")))
    host_key = scan_host_key(place.hostname, port).line
    connection = SSHConnection(place.hostname, port, place.username or "root", host_key, key)
    try:
        yield Site(connection, True, os.environ.get("CELLBLOCK_LIVE_RELEASE_SOURCE", ""))
    finally:
        connection.close()


@contextmanager
def simulated_site(folder: Path, name: str) -> Iterator[Site]:
    """With root's csh as login shell, as it was before FreeBSD 14, on the one of UFS."""
    zfs = name.endswith("zfs")
    options = ["--interface", "em0=192.0.2.2/24", *(["--pool", "zroot=10G"] if zfs else [])]
    simulation = Simulation(folder / "host", *options)
    mirror.make_mirror(folder / "host/root/mirror")
    login = simulation.login if zfs else f"{simulation.login} --login-shell csh"
    server = Sshd(folder / "sshd", command=login).start()
    connection = server.connection()
    try:
        yield Site(connection, False, f"/mirror/{mirror.ARCHITECTURE}/{mirror.RELEASE}")
    finally:
        connection.close()
        server.stop()
