import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts import simulated_connection
from jails.hosts.connection import CommandTimeout, HostUnavailable, Unavailable
from jails.hosts.simulated_connection import SimulatedConnection

from .simulation import SOURCE, Simulation, until

LATE = ("zfs", "create", "zroot/late")


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
    run(connection, ("true",))  # what it is forked from is there
    simulation.fault(slow=1.0)
    with pytest.raises(CommandTimeout):
        run(connection, LATE, timeout=0.3)
    simulation.fault()
    assert until(lambda: "zroot/late" in datasets(simulation))


def test_a_killed_worker_leaves_the_command_running(simulation):
    simulation.fault(slow=2.0)
    text = (
        "import sys; from jails.freebsd.command import Pipeline\n"
        "from jails.hosts.simulated_connection import SimulatedConnection\n"
        "SimulatedConnection(sys.argv[1]).run(Pipeline.of(('zfs', 'create', 'zroot/late')), timeout=60)\n"
    )
    argv = [sys.executable, "-c", text, str(simulation.directory)]
    worker = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": SOURCE}, start_new_session=True)
    assert until(lambda: simulation.is_running(*LATE))
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    simulation.fault()
    assert until(lambda: "zroot/late" in datasets(simulation))


def test_many_threads_get_each_its_own_answer(connection):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: run(connection, ("sh", "-c", f"cat; exit {n}"), stdin=b"%d" % n), range(36)))
    assert [(answer.rc, answer.stdout) for answer in answers] == [(n, b"%d" % n) for n in range(36)]


def test_a_command_that_kills_itself(connection):
    assert run(connection, ("sh", "-c", "kill -9 $$")).rc == 128 + signal.SIGKILL


def test_words_too_long_to_ask_for(connection):
    words = ["x" * 5000] * 40
    assert run(connection, ("printf", "%s\\n", *words)).text.split() == words


class TestNursery:
    """What the commands are forked from (simulated/nursery.py)."""

    @pytest.fixture(autouse=True)
    def a_new_one(self):
        """Not that of the tests before; and those after have none that was started as these want it."""
        self.end()
        yield
        self.end()

    def end(self) -> None:
        if simulated_connection._shared:
            simulated_connection._shared.close()
            simulated_connection._forget(simulated_connection._shared)
        for process in simulated_connection._processes:
            process.wait(20)

    def pid(self, connection) -> int:
        run(connection, ("true",))
        words = ["pgrep", "-P", str(os.getpid()), "-f", "jails.hosts.simulated --nursery"]
        (pid,) = subprocess.run(words, capture_output=True, text=True).stdout.split()
        return int(pid)

    def test_one_serves_all_hosts(self, connection, tmp_path):
        other = SimulatedConnection(Simulation(tmp_path / "warden2", "--hostname", "warden2").directory)
        assert self.pid(connection) == self.pid(other)
        assert run(connection, ("hostname",)).text != run(other, ("hostname",)).text == "warden2\n"

    def test_it_serves_until_it_has_been_idle(self, connection, monkeypatch):
        monkeypatch.setitem(simulated_connection._ENVIRONMENT, "CELLBLOCK_SIMULATED_IDLE", "2")
        first = self.pid(connection)
        assert self.pid(connection) == first
        for process in simulated_connection._processes:
            process.wait(60)
        assert self.pid(connection) != first

    def test_another_one_takes_its_place(self, connection):
        first = self.pid(connection)
        os.kill(first, signal.SIGKILL)
        time.sleep(0.1)
        assert self.pid(connection) != first

    def test_killed_with_a_command_under_way_it_is_a_lost_connection_and_the_command_goes_on(
        self, simulation, connection
    ):
        pid = self.pid(connection)
        simulation.fault(slow=2.0)

        def kill():
            if until(lambda: simulation.is_running(*LATE)):
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        assert run(connection, LATE).rc == 255
        killer.join()
        simulation.fault()
        assert until(lambda: "zroot/late" in datasets(simulation))
