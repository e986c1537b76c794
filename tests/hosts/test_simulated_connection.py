import os
import signal
import subprocess
import sys
import time

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts.connection import CommandTimeout, HostUnavailable, Unavailable
from jails.hosts.simulated_connection import SimulatedConnection

from .simulation import SOURCE, Simulation


@pytest.fixture
def simulation(tmp_path):
    return Simulation(tmp_path / "warden1", "--pool", "zroot=10G")


@pytest.fixture
def connection(simulation):
    return SimulatedConnection(simulation.directory)


def run(connection, *argvs, stdin=b"", timeout=20, **options):
    return connection.run(Pipeline.of(*argvs, stdin=stdin), timeout=timeout, **options)


def datasets(simulation):
    return simulation.run("zfs", "list", "-H", "-o", "name").split()


def test_a_command(connection):
    assert run(connection, ("uname", "-s")).text == "FreeBSD\n"


def test_status_and_words_of_an_error(connection):
    result = run(connection, ("zfs", "list", "nosuch"))
    assert result.rc == 1
    assert b"nosuch" in result.stderr


def test_a_pipeline(connection):
    result = run(connection, ("cat",), ("sh", "-c", "cat; exit 3"), ("cat",), stdin=b"text\n")
    assert (result.rc, result.stdout) == (3, b"text\n")


def test_no_host_there(tmp_path):
    with pytest.raises(HostUnavailable) as caught:
        run(SimulatedConnection(tmp_path), ("true",))
    assert caught.value.reason == Unavailable.MISSING


def test_a_host_that_is_down(simulation, connection):
    simulation.fault(offline=True)
    with pytest.raises(HostUnavailable) as caught:
        run(connection, ("true",))
    assert caught.value.reason == Unavailable.TIMED_OUT
    simulation.fault()
    assert run(connection, ("true",)).ok


def test_255_is_a_result(connection):
    assert run(connection, ("sh", "-c", "echo 'ssh: connect to host' >&2; exit 255")).rc == 255


def test_a_time_limit_leaves_the_command_running(simulation, connection):
    simulation.fault(slow=1.0)
    with pytest.raises(CommandTimeout):
        run(connection, ("zfs", "create", "zroot/late"), timeout=0.3)
    time.sleep(3)
    simulation.fault()
    assert "zroot/late" in datasets(simulation)


def test_a_killed_worker_leaves_the_command_running(simulation):
    simulation.fault(slow=1.0)
    text = (
        "import sys; from jails.freebsd.command import Pipeline\n"
        "from jails.hosts.simulated_connection import SimulatedConnection\n"
        "SimulatedConnection(sys.argv[1]).run(Pipeline.of(('zfs', 'create', 'zroot/late')), timeout=60)\n"
    )
    argv = [sys.executable, "-c", text, str(simulation.directory)]
    worker = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": SOURCE}, start_new_session=True)
    time.sleep(0.8)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    time.sleep(3)
    simulation.fault()
    assert "zroot/late" in datasets(simulation)
