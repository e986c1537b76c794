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
from jails.hosts import keys
from jails.hosts.simulated import mirror
from jails.hosts.ssh import SSHConnection, scan_host_key
from tests.hosts.simulation import Simulation
from tests.hosts.sshd import Sshd

SECONDS = 120
JAIL_CONF = """\
# A jail from before there was a panel.
exec.clean;
mount.devfs;

old {
\tpath = "/old/$name";   # not there any more
\thost.hostname = ${name}.example.org;
\tpersist;
}
.include "/etc/jail.conf.d/*.conf";
"""
"""Of the simulated host with ZFS."""


def new_prefix() -> str:
    """What all names begin with that these tests make: nothing else on the host is touched."""
    return f"cbt{secrets.token_hex(2)}"


@dataclass
class Site:
    """`source`: a folder on the host with MANIFEST and base.txz, "" where none was named. `pool`: the one to use, ""
    for the first there is. `key_file`: the private key that is let in. `simulation`: None for a real host."""

    connection: SSHConnection
    host_key: str
    key_file: Path
    source: str = ""
    pool: str = ""
    simulation: Simulation | None = None
    prefix: str = field(default_factory=new_prefix)

    @property
    def is_real(self) -> bool:
        return self.simulation is None

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
    """CELLBLOCK_LIVE_HOST, ssh://root@address:port, with the key file CELLBLOCK_LIVE_KEY.

    CELLBLOCK_LIVE_POOL names the pool to use, CELLBLOCK_LIVE_RELEASE a folder on that host with MANIFEST and base.txz.
    """
    place = urlsplit(os.environ["CELLBLOCK_LIVE_HOST"])
    assert place.scheme == "ssh" and place.hostname, "CELLBLOCK_LIVE_HOST: expected ssh://root@address:port"
    port = place.port or 22
    key_file = Path(os.environ.get("CELLBLOCK_LIVE_KEY", "~/.ssh/id_ed25519")).expanduser()
    key = paramiko.PKey.from_path(str(key_file))
    host_key = scan_host_key(place.hostname, port).line
    connection = SSHConnection(place.hostname, port, place.username or "root", host_key, key)
    try:
        source, pool = (os.environ.get(f"CELLBLOCK_LIVE_{name}", "") for name in ("RELEASE", "POOL"))
        yield Site(connection, host_key, key_file, source, pool)
    finally:
        connection.close()


@contextmanager
def simulated_site(folder: Path, name: str) -> Iterator[Site]:
    """With root's csh as login shell, as it was before FreeBSD 14, on the one of UFS."""
    zfs = name.endswith("zfs")
    options = ["--interface", "em0=192.0.2.2/24", *(["--pool", "zroot=10G"] if zfs else [])]
    simulation = Simulation(folder / "host", *options)
    mirror.make_mirror(folder / "host/root/mirror")
    if zfs:
        (folder / "host/root/etc/jail.conf").write_text(JAIL_CONF)
    login = simulation.login if zfs else f"{simulation.login} --login-shell csh"
    server = Sshd(folder / "sshd", command=login).start()
    connection = server.connection()
    try:
        source = f"/mirror/{mirror.ARCHITECTURE}/{mirror.RELEASE}"
        key_file = server.key_directory / keys.NAME
        yield Site(connection, server.host_key, key_file, source, "zroot" if zfs else "", simulation)
    finally:
        connection.close()
        server.stop()
