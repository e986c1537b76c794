import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import paramiko
import pytest

from jails.freebsd.command import Pipeline
from jails.hosts.ssh import SSHConnection, scan_host_key


@pytest.fixture(scope="session")
def live_connection() -> Iterator[SSHConnection]:
    """The host of CELLBLOCK_TEST_LIVE_HOST, ssh://root@address:port, with the key file CELLBLOCK_TEST_LIVE_KEY."""
    place = urlsplit(os.environ["CELLBLOCK_TEST_LIVE_HOST"])
    assert place.scheme == "ssh" and place.hostname, "expected ssh://root@address:port"
    port = place.port or 22
    key = paramiko.PKey.from_path(os.path.expanduser(os.environ["CELLBLOCK_TEST_LIVE_KEY"]))
    host_key = scan_host_key(place.hostname, port).line
    connection = SSHConnection(place.hostname, port, place.username or "root", host_key, key)
    yield connection
    connection.close()


@pytest.fixture
def live_directory(live_connection: SSHConnection) -> Iterator[str]:
    """An empty directory on that host, removed afterwards."""
    made = live_connection.run(Pipeline.of(("mktemp", "-d", "/var/tmp/cellblock.XXXXXXXX")), timeout=10)
    assert made.ok, made.stderr
    directory = made.text.strip()
    assert directory.startswith("/var/tmp/cellblock.")
    yield directory
    live_connection.run(Pipeline.of(("rm", "-r", directory)), timeout=10)
