"""A simulated host behind a real sshd is a host as any other."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.hosts.facts import gather

from .simulation import Simulation, until
from .sshd import Sshd
from .test_ssh import HOSTILE

pytestmark = pytest.mark.sshd


@pytest.fixture
def simulation(tmp_path):
    return Simulation(tmp_path / "warden1", "--pool", "zroot=10G")


@pytest.fixture
def server(tmp_path, simulation):
    server = Sshd(tmp_path / "sshd", command=simulation.login).start()
    yield server
    server.stop()


@pytest.fixture
def connection(server):
    connection = server.connection()
    yield connection
    connection.close()


def run(connection, *argvs, stdin=b"", timeout=30):
    return connection.run(Pipeline.of(*argvs, stdin=stdin), timeout=timeout)


def test_it_is_freebsd(connection):
    assert run(connection, ("uname", "-s")).text == "FreeBSD\n"


@pytest.mark.parametrize("login_shell", ["sh", "csh"])
def test_hostile_words_pass_either_login_shell(tmp_path, simulation, login_shell):
    server = Sshd(tmp_path / "sshd", command=f"{simulation.login} --login-shell {login_shell}").start()
    connection = server.connection()
    try:
        result = run(connection, ("printf", "%s\\0", *HOSTILE))
    finally:
        connection.close()
        server.stop()
    assert result.stdout.decode().split("\0")[:-1] == list(HOSTILE)


def test_a_pipeline_and_its_input(connection):
    result = run(connection, ("cat",), ("sh", "-c", "cat; exit 3"), ("cat",), stdin=b"text\n" * 50_000)
    assert (result.rc, len(result.stdout)) == (3, 250_000)


def test_facts(connection):
    facts = gather(connection)
    assert facts.errors == ()
    assert facts.pool("zroot").health == "ONLINE"


def test_lost_in_the_middle_and_the_host_goes_on(simulation, server, connection):
    run(connection, ("true",))
    simulation.fault(slow=2.0)
    create = ("zfs", "create", "zroot/late")
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(run, connection, create)
        assert until(lambda: simulation.is_running(*create))
        server.kill_sessions()
        with pytest.raises(HostUnavailable) as caught:
            creating.result()
    assert caught.value.reason == Unavailable.LOST
    simulation.fault()
    assert until(lambda: "zroot/late" in run(connection, ("zfs", "list", "-H", "-o", "name")).text.split())


def test_eight_threads_share_one_connection(server, connection):
    with ThreadPoolExecutor(8) as pool:
        names = [f"zroot/n{number}" for number in range(8)]
        assert all(pool.map(lambda name: run(connection, ("zfs", "create", name)).ok, names))
    assert set(names) <= set(run(connection, ("zfs", "list", "-H", "-o", "name")).text.split())
    assert (server.directory / "log").read_text().count("Accepted publickey") == 1
