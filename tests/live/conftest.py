"""A real host where CELLBLOCK_LIVE_HOST names one; otherwise a simulated one behind a real sshd, so that these tests
are tested themselves."""

import os
from collections.abc import Iterator

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts.ssh import SSHConnection
from tests.live.site import Site, real_site, simulated_site
from tests.live.test_story import story  # noqa: F401
from tests.operations.conftest import committed  # noqa: F401

if os.environ.get("CELLBLOCK_LIVE_HOST"):
    SITES = [pytest.param("real", marks=pytest.mark.live)]
else:
    SITES = [pytest.param(name, marks=pytest.mark.sshd) for name in ("simulated-zfs", "simulated-ufs")]


@pytest.fixture(scope="session", params=SITES)
def site(request, tmp_path_factory) -> Iterator[Site]:
    opened = real_site() if request.param == "real" else simulated_site(tmp_path_factory.mktemp("site"), request.param)
    with opened as site:
        yield site


@pytest.fixture(scope="session")
def live_connection(site: Site) -> SSHConnection:
    return site.connection


@pytest.fixture
def live_directory(live_connection: SSHConnection) -> Iterator[str]:
    """An empty directory on that host, removed afterwards."""
    made = live_connection.run(Pipeline.of(("mktemp", "-d", "/var/tmp/cellblock.XXXXXXXX")), timeout=30)
    assert made.ok, made.stderr
    directory = made.text.strip()
    assert directory.startswith("/var/tmp/cellblock.")
    yield directory
    live_connection.run(Pipeline.of(("rm", "-r", directory)), timeout=30)
