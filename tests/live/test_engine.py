"""The engine's own promises on this host: forward, back, and a connection that is lost in the middle of a command."""

import threading

import pytest

from jails import policy
from jails.freebsd.command import Pipeline
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.hosts.refresh import refresh
from jails.models import Host, Operation, User
from jails.operations import effects, engine, kind, lifecycle, queue
from tests.operations import fakes

Status = Operation.Status


@pytest.fixture
def place(site, db, monkeypatch, live_directory):
    """Confirmed operations of the kind `box` in a directory of their own: `make(**parameters)`."""
    box, real = fakes.Box(), kind.get
    monkeypatch.setattr(kind, "get", lambda name: box if name == "box" else real(name))
    monkeypatch.setitem(policy.ACTIONS_OF_OPERATIONS, "box", "host.setup")
    monkeypatch.setattr(queue, "_send", lambda *args: True)
    host = Host.objects.create(name="live", kind=Host.Kind.SSH)
    user = User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)
    refresh(host, connection=lambda row: site.connection)
    site.sh('echo old >"$1/old"', live_directory)

    def make(**parameters):
        draft = lifecycle.draft("box", {"root": live_directory, **parameters}, host=host, user=user)
        return lifecycle.confirm(draft, draft.digest, user=user)

    return make


@pytest.fixture
def work(site):
    def work(operation, connection=None):
        timing = engine.Timing(lease=600, heartbeat=3600, progress=3600, patience=20, backoff=0)
        engine.run(operation.pk, worker="live", connect=lambda row: connection or site.connection, timing=timing)
        operation.refresh_from_db()
        return operation.status

    return work


def left(site, directory):
    return site.run("ls", directory).split()


def locks(site):
    return site.sh("ls -A /var/run/cellblock 2>/dev/null || true").split()


@pytest.mark.parametrize(("fail", "names"), [(False, ["box", "journal"]), (True, ["journal", "old"])])
def test_forward_and_back(site, place, work, live_directory, fail, names):
    operation = place(fail=fail)
    assert work(operation) == (Status.FAILED if fail else Status.DONE), operation.error
    assert left(site, live_directory) == names
    assert str(operation.pk) not in locks(site)


class Losing:
    """The connection of a site that is cut for good while the first command with that word runs."""

    def __init__(self, site, word):
        self.site, self.word, self.is_lost = site, word, False

    def run(self, pipeline, **options):
        if self.is_lost:
            raise HostUnavailable(Unavailable.UNREACHABLE, "no route to host")
        if fakes.is_changing(pipeline) and self.word in str(pipeline.argvs):
            self.is_lost = True
            # It goes on there, as after a cut in the network.
            threading.Thread(target=self.site.connection.run, args=(pipeline,), kwargs={"timeout": 60}).start()
            raise HostUnavailable(Unavailable.LOST, "connection lost while a command ran")
        return self.site.connection.run(pipeline, **options)


def test_a_command_that_goes_on_after_its_connection_is_waited_for_and_not_doubled(site, place, work, live_directory):
    operation = place(slow=3)
    assert work(operation, Losing(site, "mkdir")) == Status.RUNNING
    assert "does not answer" in operation.waiting_for
    for _ in range(5):
        if work(operation) != Status.RUNNING:
            break
    assert operation.status == Status.DONE, operation.error
    assert site.run("cat", f"{live_directory}/journal") == "mkdir\ntwo\n"


def test_a_command_of_an_overtaken_worker_does_nothing(site, live_directory):
    operation = f"{site.prefix}-fence"
    late = effects.fenced(Pipeline.of(("touch", f"{live_directory}/late")), operation, 1, 30)
    for token in (1, 2):
        assert site.connection.run(effects.fence(operation, token), timeout=60).ok
    assert site.connection.run(late, timeout=60).rc == effects.OVERTAKEN
    assert site.connection.run(effects.remove_lock(operation, 2), timeout=60).ok
    assert site.connection.run(late, timeout=60).rc == effects.OVERTAKEN
    assert left(site, live_directory) == [] and operation not in locks(site)


def test_a_time_limit_ends_a_command_on_the_host_itself(site, live_directory):
    operation = f"{site.prefix}-limit"
    slow = effects.fenced(Pipeline.of(("sh", "-c", 'sleep 20; touch "$0"', f"{live_directory}/late")), operation, 1, 2)
    assert site.connection.run(effects.fence(operation, 1), timeout=60).ok
    assert site.connection.run(slow, timeout=60).rc == effects.TIMED_OUT
    assert site.connection.run(effects.remove_lock(operation, 1), timeout=60).ok
    assert left(site, live_directory) == []
