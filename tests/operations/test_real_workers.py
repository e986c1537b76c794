"""Celery's real workers with a real broker: what is lost on the way is found again, what is new needs no restart."""

import time

import pytest

from jails.models import Host, HostFactsRecord, Operation, Worker
from jails.operations import lifecycle
from tests.hosts.simulation import Simulation
from tests.operations.workers import Deleting, Files, Redis, Workers, until

Status = Operation.Status

pytestmark = pytest.mark.slow


@pytest.fixture(params=["files", pytest.param("redis", marks=pytest.mark.redis)])
def broker(request, tmp_path):
    return Files(tmp_path) if request.param == "files" else Redis()


@pytest.fixture
def workers(committed, tmp_path, broker):
    workers = Workers(tmp_path, broker)
    yield workers
    workers.kill()


@pytest.fixture
def boxes(confirmed, tmp_path):
    """Confirmed operations in places of their own; no message is ever sent for them from here."""

    def make(count, **parameters):
        roots = [tmp_path / f"root{number}" for number in range(count)]
        for root in roots:
            root.mkdir()
            (root / "old").write_text("old\n")
        return [(confirmed(root=str(root), resources=[f"box:{root.name}"], **parameters), root) for root in roots]

    return make


def all_ended():
    return not Operation.objects.filter(status__in=Operation.OPEN).exists()


def is_up():
    return Worker.objects.exists()


def test_all_messages_deleted_and_the_work_still_finishes(workers, boxes, broker):
    """All that a broker had for some seconds, again and again, while some operations run and others wait."""
    workers.start()
    until(is_up)
    made = boxes(4, slow=0.5)
    with Deleting(broker) as deleting:
        time.sleep(6)
    assert deleting.count > 3, "nothing was lost, so nothing is shown"
    until(all_ended)
    for operation, root in made:
        operation.refresh_from_db()
        assert operation.status == Status.DONE, (operation.error, workers.log[-3000:])
        assert (root / "journal").read_text() == "mkdir\ntwo\n"


def test_what_waits_for_another_goes_on_though_nobody_is_told(workers, boxes, broker, confirmed):
    """The message that an ended operation sends to those behind it is lost as well."""
    ((first, root),) = boxes(1, slow=0.5)
    behind = [confirmed(root=str(root), resources=[f"box:{root.name}"], fail=True) for _ in range(2)]
    workers.start()

    def first_is(status):
        return Operation.objects.filter(pk=first.pk, status=status).exists()

    until(lambda: first_is(Status.RUNNING))
    with Deleting(broker):
        until(lambda: first_is(Status.DONE))
        time.sleep(1)
    until(all_ended)
    assert {Operation.objects.get(pk=operation.pk).status for operation in behind} <= {Status.FAILED, Status.STUCK}


def test_a_host_added_later_is_served_without_a_restart(workers, tmp_path, admin):
    workers.start()
    until(is_up)
    simulation = Simulation(tmp_path / "warden9", "--pool", "zroot=10G", "--hostname", "warden9.example")
    host = Host.objects.create(name="warden9", kind=Host.Kind.SIMULATED, directory=str(simulation.directory))
    until(lambda: HostFactsRecord.objects.filter(host=host).exists())
    host.refresh_from_db()
    assert host.hostname == "warden9.example" and host.pools.get().name == "zroot"


def test_an_operation_on_a_host_added_later_needs_none_either(workers, box, tmp_path, admin):
    workers.start()
    until(is_up)
    host = Host.objects.create(name="warden9", kind=Host.Kind.SIMULATED)
    root = tmp_path / "root9"
    root.mkdir()
    (root / "old").write_text("old\n")
    draft = lifecycle.draft("box", {"root": str(root)}, host=host, user=admin)
    operation = lifecycle.confirm(draft, draft.digest, user=admin)
    until(all_ended)
    operation.refresh_from_db()
    assert operation.status == Status.DONE, (operation.error, workers.log[-3000:])
