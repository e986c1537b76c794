import random
import threading

import pytest
from django.db import connection

from jails.models import Operation, ResourceLock
from jails.operations import locks


def held_by(operation):
    return sorted(ResourceLock.objects.filter(operation=operation).values_list("resource", flat=True))


def test_all_or_nothing(confirmed):
    first, second = confirmed(), confirmed()
    locks.take(first, ["host:1/b"])
    with pytest.raises(locks.Held) as held:
        locks.take(second, ["host:1/a", "host:1/b", "host:1/c"])
    assert held_by(second) == [] and held.value.holders == {"host:1/b": first}


def test_what_one_has_one_may_take_again(confirmed):
    operation = confirmed()
    locks.take(operation, ["host:1/a"])
    locks.take(operation, ["host:1/a", "host:1/b"], step=2)
    assert held_by(operation) == ["host:1/a", "host:1/b"]


def test_the_end_of_a_step_gives_back_only_what_was_taken_for_it(confirmed):
    operation = confirmed()
    locks.take(operation, ["host:1/a"])
    locks.take(operation, ["host:1/a", "host:1/rc.conf"], step=2)
    locks.release(operation, step=2)
    assert held_by(operation) == ["host:1/a"]


def test_words_name_the_holder_and_the_thing(confirmed):
    first, second = confirmed(), confirmed()
    locks.take(first, ["host:1/jail:www1"])
    with pytest.raises(locks.Held, match="“Make a box” to finish \\(jail www1\\)"):
        locks.take(second, ["host:1/jail:www1"])


def test_a_lock_given_back_while_one_asks_for_it_is_taken_and_not_only_believed(confirmed, monkeypatch):
    """Another's row kept ours out, and is gone when one looks who it was: on PostgreSQL others commit in between."""
    operation, kept_out = confirmed(), []
    real = type(ResourceLock.objects.all()).bulk_create

    def keep_out_once(self, rows, **options):
        if not kept_out:
            kept_out.append(rows)
            return rows
        return real(self, rows, **options)

    monkeypatch.setattr(type(ResourceLock.objects.all()), "bulk_create", keep_out_once)
    locks.take(operation, ["host:1/a"])
    assert kept_out and held_by(operation) == ["host:1/a"]


def test_a_plan_that_holds_nonsense_holds_nobody_up(confirmed):
    first, second = confirmed(), confirmed()
    Operation.objects.filter(pk=first.pk).update(plan=["no", {"plan": 1}])
    assert locks.older_claim(second, ["host:1/a"]) is None


def test_many_at_once_never_share_and_never_wait_for_each_other(committed, confirmed):
    """Each takes three of five resources, in an order of its own."""
    operations = [confirmed() for _ in range(6)]
    owners: dict[str, object] = {}
    doubled, rounds, failures = [], [], []

    def work(operation):
        try:
            take_and_release(operation)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    def take_and_release(operation):
        chooser = random.Random(str(operation.pk))
        for _ in range(40):
            wanted = chooser.sample([f"host:1/{name}" for name in "abcde"], 3)
            try:
                locks.take(operation, wanted)
            except locks.Held:
                continue
            doubled.extend(name for name in wanted if owners.setdefault(name, operation.pk) != operation.pk)
            for name in wanted:
                owners.pop(name)
            locks.release(operation)
            rounds.append(1)

    threads = [threading.Thread(target=work, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and not doubled and rounds and not any(thread.is_alive() for thread in threads)
