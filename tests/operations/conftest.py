from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from jails.models.audit_triggers import drop_triggers
from tests.operations import fakes


@pytest.fixture
def messages(monkeypatch):
    """What would have been sent to workers: (task, argument, queue, countdown)."""
    from jails.operations import queue

    sent = []
    monkeypatch.setattr(
        queue,
        "_send",
        lambda task, argument, name, countdown=0: (
            sent.append((task.name.rpartition(".")[2], argument, name, countdown)) is None
        ),
    )
    return sent


@pytest.fixture
def box(monkeypatch, tmp_path, messages):
    """The kind `box`, known to the registry and the policy, with its locks in the test's folder."""
    from jails import policy
    from jails.operations import effects, kind, lifecycle

    wanted = fakes.Box()
    real = kind.get
    monkeypatch.setattr(kind, "get", lambda name: wanted if name == "box" else real(name))
    monkeypatch.setitem(policy.ACTIONS_OF_OPERATIONS, "box", "host.setup")
    monkeypatch.setattr(lifecycle, "facts_of", lambda host: fakes.FakeFacts())
    monkeypatch.setattr(effects, "LOCK_DIRECTORY", str(tmp_path / "locks"))
    return wanted


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "old").write_text("old\n")
    return folder


@pytest.fixture
def shell(tmp_path):
    return fakes.ShellHost(tmp_path)


@pytest.fixture
def committed(triggers_back, transactional_db):
    """Really commit, for what other threads and processes must see. The log refuses to be emptied afterwards."""
    yield
    drop_triggers(connection)


@pytest.fixture
def host(db):
    from jails.models import Host

    return Host.objects.create(name="warden1", kind=Host.Kind.SIMULATED)


@pytest.fixture
def admin(db):
    from jails.models import User

    return User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)


@pytest.fixture
def draft(box, host, admin, root):
    from jails.operations import lifecycle

    def make(**parameters):
        return lifecycle.draft("box", {"root": str(root), **parameters}, host=host, user=admin)

    return make


@pytest.fixture
def confirmed(draft, admin):
    from jails.operations import lifecycle

    def make(**parameters):
        operation = draft(**parameters)
        return lifecycle.confirm(operation, operation.digest, user=admin, source="192.0.2.9")

    return make


@pytest.fixture
def run(shell):
    """Run an operation once, as a worker would: quick to wait, with no thread."""
    from jails.operations import engine

    def go(operation, worker="w1", **options):
        timing = {"heartbeat": 3600, "progress": 3600, "patience": 0.2, "poll": 0.02, "backoff": 0, "output": 0}
        timing |= options.pop("timing", {})
        arguments = {
            "connect": lambda host: shell,
            "gather": lambda connection, host: shell.gather(connection, host),
            "timing": engine.Timing(**timing),
        }
        outcome = engine.run(operation.pk, worker=worker, **(arguments | options))
        operation.refresh_from_db()
        return outcome

    return go


@pytest.fixture
def abandon():
    """Let the lease of an operation run out: its worker has died."""

    def expire(operation):
        past = datetime.now(UTC) - timedelta(minutes=5)
        type(operation).objects.filter(pk=operation.pk).update(lease_expires_at=past)

    return expire


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Hosts with a release, made once for each set of options: folders to copy."""
    from functools import cache

    from tests.operations import warden

    @cache
    def make(zfs, **options):
        return warden.prepare(tmp_path_factory.mktemp("prepared") / "host", zfs=zfs, **options)

    return make


@pytest.fixture
def warden(prepared, tmp_path, admin, messages):
    """A simulated host with ZFS: warden.Warden."""
    from tests.operations.warden import Warden

    return Warden(prepared(True), tmp_path / "warden1", admin)


@pytest.fixture
def plain_warden(prepared, tmp_path, admin, messages):
    """One of UFS alone."""
    from tests.operations.warden import Warden

    return Warden(prepared(False), tmp_path / "warden2", admin, name="warden2")


@pytest.fixture(scope="session")
def blanks(tmp_path_factory):
    """Hosts with nothing on them, made once for each set of options: folders to copy."""
    from functools import cache

    from tests.operations import world

    @cache
    def make(**options):
        return world.blank(tmp_path_factory.mktemp("blank") / "host", **options)

    return make


@pytest.fixture
def world(blanks, tmp_path, admin, messages):
    """A blank simulated host with ZFS and a mirror: world.World."""
    from tests.operations.world import World

    return World(blanks(), tmp_path / "warden1", admin)


@pytest.fixture
def ufs_world(blanks, tmp_path, admin, messages):
    from tests.operations.world import World

    return World(blanks(zfs=False), tmp_path / "warden2", admin, name="warden2")


@pytest.fixture(scope="session")
def _stock():
    import shutil

    kept = {}
    yield kept
    for folder, _ in kept.values():
        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.fixture
def stocked(world, _stock):
    """A host with ZFS where a release was fetched: its row is `stocked.release`."""
    world.stock(_stock)
    return world


@pytest.fixture
def ufs_stocked(ufs_world, _stock):
    ufs_world.stock(_stock)
    return ufs_world
