"""Messages are hints: few, for the right worker, and none of them needed."""

from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from jails import tasks
from jails.hosts.access import Access, Line, Verdict
from jails.models import Host, HostAccessRecord, Operation, Worker
from jails.operations import locks, queue

Status = Operation.Status


@pytest.fixture
def waiting(confirmed):
    """Confirmed operations that a worker has tried already: each says what it waits for."""

    def make(*resources):
        operation = confirmed(resources=list(resources))
        Operation.objects.filter(pk=operation.pk).update(waiting_for="something", sent_at=None)
        operation.refresh_from_db()
        return operation

    return make


def told(messages):
    return [argument for task, argument, _, _ in messages if task == "run_operation"]


def test_of_delayed_messages_there_is_one_at_a_time(waiting, messages):
    """Each message that finds it waiting sends the next one: two chains would never become one again."""
    operation = waiting("a")
    for _ in range(5):
        assert queue.send(operation, 30)
    assert len(messages) == 1
    assert queue.send(operation)
    queue.send(operation, 30)
    assert [countdown for *_, countdown in messages] == [30, 0]


def test_the_next_delayed_one_is_sent_when_its_time_has_come(waiting, messages):
    operation = waiting("a")
    queue.send(operation, 30)
    Operation.objects.filter(pk=operation.pk).update(sent_at=timezone.now())
    queue.send(operation, 30)
    assert len(messages) == 2


def test_messages_to_what_waits_stay_as_many_however_often_it_is_woken(waiting, messages):
    """As workers do: whatever is delivered is run, and what it sends is delivered in turn."""
    first, second = waiting("a"), waiting("a")
    locks.take(first, ["a"])
    Operation.objects.filter(pk=first.pk).update(status=Status.RUNNING)
    messages.clear()
    for _ in range(6):
        tasks.run_operation(str(second.pk))
    assert told(messages) == [str(second.pk)]


def test_at_the_end_of_one_only_those_are_told_that_can_go_on(waiting, messages):
    ended, holder = waiting("a"), waiting("b")
    locks.take(holder, ["b"])
    Operation.objects.filter(pk=holder.pk).update(status=Status.RUNNING)
    free, behind, blocked, other = waiting("a", "c"), waiting("a"), waiting("b"), waiting("d")
    Operation.objects.filter(pk=ended.pk).update(status=Status.DONE)
    messages.clear()
    queue.wake(ended.host_id, but=ended.pk)
    assert told(messages) == [str(holder.pk), str(free.pk), str(other.pk)]
    assert str(behind.pk) not in told(messages) and str(blocked.pk) not in told(messages)


def test_a_broker_that_is_away_is_tried_once(waiting, monkeypatch):
    tries = []
    for name in "abc":
        waiting(name)
    monkeypatch.setattr(queue, "_send", lambda *args: bool(tries.append(args)))
    queue.wake(Host.objects.get().pk, but="7b0d3f2e-0000-4000-8000-000000000000")
    tasks.sweep()
    assert len(tries) == 2


def test_a_database_that_is_away_does_not_undo_a_confirmation(waiting, messages, monkeypatch):
    operation = waiting("a")

    def fail(*args, **kwargs):
        raise DatabaseError("database is locked")

    monkeypatch.setattr(Operation.objects, "filter", fail)
    assert queue.send(operation) and len(messages) == 1


def test_messages_that_nobody_reads_do_not_pile_up(host, monkeypatch):
    sent = []
    monkeypatch.setattr(tasks.run_operation, "apply_async", lambda args, **options: sent.append(options))
    monkeypatch.setattr(tasks.refresh_host, "apply_async", lambda args, **options: sent.append(options))
    operation = Operation.objects.create(host=host, status=Status.QUEUED)
    queue.send(operation)
    queue.send(operation, 100)
    queue.send_refresh(operation.host)
    assert [options["expires"] - (options["countdown"] or 0) for options in sent] == [600, 600, 600]


# Workers and their hosts


def test_a_worker_leaves_a_host_to_the_worker_that_serves_it(waiting, monkeypatch):
    """Sent to the wrong queue, or before the host was given to another worker. “Local” is another machine there."""
    operation = waiting("a")
    Host.objects.update(worker="rack2")
    seen = []
    monkeypatch.setattr("jails.operations.engine.run", lambda pk, worker: seen.append(worker))
    monkeypatch.setattr("jails.hosts.refresh.refresh", lambda host: seen.append(host))
    tasks.run_operation(str(operation.pk))
    tasks.refresh_host(operation.host_id)
    assert seen == []


def test_the_worker_that_serves_it_takes_it(waiting, monkeypatch):
    operation = waiting("a")
    Host.objects.update(worker="rack2")
    monkeypatch.setenv("CELLBLOCK_WORKER", "rack2")
    seen = []
    monkeypatch.setattr("jails.hosts.refresh.refresh", lambda host: seen.append(host))
    tasks.refresh_host(operation.host_id)
    assert seen == [operation.host]


def test_one_refresh_serves_all_that_asked_before_it_began(host, messages, monkeypatch):
    begun = []

    def refresh(row):
        begun.append(row)
        Host.objects.filter(pk=row.pk).update(refreshed_at=timezone.now())

    monkeypatch.setattr("jails.hosts.refresh.refresh", refresh)
    for _ in range(3):
        queue.send_refresh(host)
    for _ in range(3):
        tasks.refresh_host(host.pk)
    assert len(begun) == 1
    queue.send_refresh(host)
    tasks.refresh_host(host.pk)
    assert len(begun) == 2


# The worker's own look-out


def test_a_worker_says_that_it_lives_and_sweeps_without_beat(committed, waiting, messages):
    operation = waiting("a")
    messages.clear()
    tasks._look_after(forever=False)
    assert told(messages) == [str(operation.pk)]
    assert Worker.objects.get().seen_at > timezone.now() - timedelta(minutes=1)


def test_it_goes_on_when_the_database_was_away(committed, monkeypatch):
    rounds = []

    def sweep():
        rounds.append(1)
        raise DatabaseError("database is locked")

    def enough(seconds):
        if len(rounds) == 3:
            raise SystemExit

    monkeypatch.setattr(tasks, "sweep", sweep)
    monkeypatch.setattr(tasks.time, "sleep", enough)
    with pytest.raises(SystemExit):
        tasks._look_after()
    assert len(rounds) == 3


def test_a_host_that_nobody_has_seen_yet_is_asked_at_once(committed, host, messages):
    tasks._look_after(forever=False)
    assert ("refresh_host", host.pk, "refresh", 0) in messages
    messages.clear()
    tasks._look_after(forever=False)
    assert messages == []


@pytest.fixture
def wanted(host):
    return HostAccessRecord.objects.create(host=host, wanted_at=timezone.now())


def test_a_test_of_access_goes_to_the_worker_of_its_host(wanted, messages):
    Host.objects.update(worker="site2")
    wanted.host.refresh_from_db()
    queue.send_access(wanted.host)
    assert messages == [("test_access", wanted.host_id, "refresh.site2", 0)]


def test_it_is_made_once_for_all_that_asked(wanted, monkeypatch):
    made = []

    def test(host):
        made.append(host)
        HostAccessRecord.objects.update(tested_at=timezone.now())
        return Access()

    monkeypatch.setattr("jails.hosts.accessing.test", test)
    tasks.test_access(wanted.host_id)
    tasks.test_access(wanted.host_id)
    assert made == [wanted.host]


@pytest.mark.parametrize(("verdict", "is_up", "sent"), [("pass", False, 1), ("pass", True, 0), ("fail", False, 0)])
def test_a_host_that_can_be_used_at_last_is_looked_at(wanted, messages, monkeypatch, verdict, is_up, sent):
    found = Access((Line("root", "Commands run as root", Verdict(verdict)),))
    Host.objects.update(
        refreshed_at=timezone.now() if is_up else None, unavailable_since=None if is_up else timezone.now()
    )
    monkeypatch.setattr("jails.hosts.accessing.test", lambda host: found)
    tasks.test_access(wanted.host_id)
    assert len(messages) == sent


def test_another_workers_host_is_left_to_it(wanted, monkeypatch):
    Host.objects.update(worker="site2")
    made = []
    monkeypatch.setattr("jails.hosts.accessing.test", made.append)
    tasks.test_access(wanted.host_id)
    tasks.test_access(wanted.host_id + 1)
    assert made == []


@pytest.mark.parametrize(("age", "sent"), [(0, False), (30, True), (600, False)])
def test_what_was_asked_for_and_lost_is_asked_for_again_for_a_while(wanted, messages, age, sent):
    HostAccessRecord.objects.update(wanted_at=timezone.now() - timedelta(seconds=age))
    tasks.refresh_hosts()
    assert (("test_access", wanted.host_id, "refresh", 0) in messages) == sent
