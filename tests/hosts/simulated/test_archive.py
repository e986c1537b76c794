"""tar(1) of the simulated host."""

import pytest

from tests.hosts.simulation import Simulation


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return Simulation(tmp_path_factory.mktemp("host") / "warden1")


@pytest.mark.parametrize(
    ("suffix", "begins"), [("tar", b"."), ("txz", b"\xfd7zXZ"), ("tgz", b"\x1f\x8b"), ("tbz", b"BZh")]
)
def test_the_suffix_says_how_to_compress(host, suffix, begins):
    host.run("sh", "-c", "mkdir -p /tmp/t && echo x >/tmp/t/x")
    host.run("tar", "-a", "-cf", f"/tmp/a.{suffix}", "-C", "/tmp/t", ".")
    assert (host.directory / f"root/tmp/a.{suffix}").read_bytes().startswith(begins)
    assert host.run("tar", "-tf", f"/tmp/a.{suffix}").split() == ["./", "./x"]
