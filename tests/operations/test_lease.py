import threading
import time
from datetime import timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from jails.models import Operation
from jails.operations.lease import LeaseLost, Pulse, claim


def test_only_one_of_two_gets_it(confirmed):
    operation = confirmed()
    assert claim(operation.pk, "w1", 30) is not None
    assert claim(operation.pk, "w2", 30) is None


def test_an_expired_one_is_taken_over_with_a_higher_token(confirmed):
    operation = confirmed()
    first = claim(operation.pk, "w1", 30, lambda: timezone.now() - timedelta(minutes=1))
    second = claim(operation.pk, "w2", 30)
    assert second.token == first.token + 1


def test_the_old_owner_cannot_write_any_more(confirmed):
    operation = confirmed()
    first = claim(operation.pk, "w1", 30, lambda: timezone.now() - timedelta(minutes=1))
    claim(operation.pk, "w2", 30)
    with pytest.raises(LeaseLost), first.writing(error="overwritten"):
        raise AssertionError("the transaction must not begin")
    operation.refresh_from_db()
    assert operation.error == ""


@pytest.mark.parametrize("status", [Operation.Status.DRAFT, Operation.Status.STALE, *Operation.ENDED])
def test_what_is_not_open_cannot_be_taken(draft, status):
    operation = draft()
    Operation.objects.filter(pk=operation.pk).update(status=status)
    assert claim(operation.pk, "w1", 30) is None


def test_given_back_it_is_free_at_once(confirmed):
    operation = confirmed()
    claim(operation.pk, "w1", 30).give_back()
    assert claim(operation.pk, "w2", 30) is not None


def test_a_pulse_keeps_it(committed, confirmed):
    operation = confirmed()
    lease = claim(operation.pk, "w1", 0.5)
    with Pulse(lease, 0.1):
        time.sleep(1)
        assert claim(operation.pk, "w2", 30) is None


def test_a_pulse_notices_that_it_is_lost(committed, confirmed):
    operation = confirmed()
    lease = claim(operation.pk, "w1", 30)
    with Pulse(lease, 0.05) as pulse:
        Operation.objects.filter(pk=operation.pk).update(lease_token=99)
        assert pulse.lost.wait(5)


def test_of_many_at_once_exactly_one_gets_it(committed, confirmed):
    operation = confirmed()
    leases, start = [], threading.Barrier(8)

    def take():
        start.wait()
        leases.append(claim(operation.pk, "w", 30))
        connection.close()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in leases) == 1


@pytest.mark.parametrize(
    "end", [{"lease_expires_at": None}, {"status": Operation.Status.DONE}], ids=["parked", "ended"]
)
def test_a_late_heartbeat_does_not_bring_back_what_was_given_back(confirmed, end):
    operation = confirmed()
    lease = claim(operation.pk, "w1", 30)
    Operation.objects.filter(pk=operation.pk).update(**{"lease_expires_at": None, **end})
    for write in (lease.renew, lease.write):
        with pytest.raises(LeaseLost):
            write()
    operation.refresh_from_db()
    assert operation.lease_expires_at is None


def test_an_errand_that_takes_long_or_fails_does_not_keep_the_lease_from_being_renewed(committed, confirmed):
    operation = confirmed()
    lease = claim(operation.pk, "w1", 0.6)
    done = []

    def errand():
        done.append(1)
        time.sleep(1.5)
        raise RuntimeError("whatever")

    with Pulse(lease, 0.1, 0.05) as pulse, pulse.meanwhile(errand):
        time.sleep(1.2)
        assert done and claim(operation.pk, "w2", 30) is None


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_pulse_outlives_a_restart_of_the_database(committed, confirmed, monkeypatch, error):
    operation = confirmed()
    lease = claim(operation.pk, "w1", 30)
    tries = []
    real = lease.renew

    def renew():
        tries.append(1)
        if len(tries) == 1:
            raise error("the connection is closed")
        real()

    monkeypatch.setattr(lease, "renew", renew)
    before = Operation.objects.get(pk=operation.pk).lease_expires_at
    with Pulse(lease, 0.05):
        for _ in range(100):
            if len(tries) > 2:
                break
            time.sleep(0.05)
    assert Operation.objects.get(pk=operation.pk).lease_expires_at > before


def test_a_new_token_for_the_same_worker_is_no_loss(committed, confirmed):
    operation = confirmed()
    lease = claim(operation.pk, "w1", 30)
    with Pulse(lease, 0.001) as pulse:
        for _ in range(30):
            lease.raise_token()
        assert not pulse.lost.wait(0.05)
    assert lease.token == 31 and claim(operation.pk, "w2", 30) is None
