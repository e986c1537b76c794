from collections.abc import Iterator
from pathlib import Path

import pytest

from jails.hosts.ssh import SSHConnection

from .sshd import Sshd


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd").start()
    yield server
    server.stop()


@pytest.fixture
def connection(sshd: Sshd) -> Iterator[SSHConnection]:
    connection = sshd.connection()
    yield connection
    connection.close()
