"""Many at once: of one name and of one address one wins; and what all of them change, all of them change."""

import threading

import pytest
from django.db import connection

from jails.models import Address, Jail, Operation
from jails.operations import lifecycle
from jails.operations.kind import Refused
from tests.operations.world import transcript

Status = Operation.Status


def at_once(count, act):
    """Do it in as many threads; what became of each: what it returned, or the exception."""
    results, barrier = [None] * count, threading.Barrier(count)

    def run(number):
        barrier.wait(60)
        try:
            results[number] = act(number)
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def confirm_at_once(world, operations):
    return at_once(
        len(operations),
        lambda number: lifecycle.confirm(operations[number], operations[number].digest, user=world.user),
    )


@pytest.mark.parametrize("same", ["name", "address"])
def test_of_fifty_simultaneous_creates_one_is_confirmed(committed, stocked, same):
    stocked.refresh()
    wishes = [
        stocked.wish(
            name="www1" if same == "name" else f"www{number}",
            addresses=stocked.at(f"192.0.2.{100 + number}" if same == "name" else "192.0.2.10"),
        )
        for number in range(50)
    ]
    operations = [lifecycle.draft("jail_create", wish, host=stocked.row, user=stocked.user) for wish in wishes]
    results = confirm_at_once(stocked, operations)
    won = [result for result in results if isinstance(result, Operation)]
    assert len(won) == 1, results
    assert all(isinstance(result, (Operation, Refused)) for result in results), results
    assert Jail.objects.get().operations.get() == won[0] and Address.objects.get().operation == won[0]
    lost = Operation.objects.filter(kind="jail_create").exclude(pk=won[0].pk)
    assert set(lost.values_list("status", flat=True)) == {Status.DRAFT}
    assert all("Somebody else" in str(result) for result in results if isinstance(result, Refused))


def test_those_who_lost_are_told_at_the_field_when_they_plan_again(committed, stocked):
    stocked.refresh()
    wish = stocked.wish(addresses=stocked.at("192.0.2.10"))
    first, second = (lifecycle.draft("jail_create", wish, host=stocked.row, user=stocked.user) for _ in range(2))
    confirm_at_once(stocked, [first, second])
    for more, field in (({}, "name"), ({"name": "www2"}, "addresses")):
        with pytest.raises(Refused) as refused:
            lifecycle.draft("jail_create", {**wish, **more}, host=stocked.row, user=stocked.user)
        assert list(refused.value.errors) == [field]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_creates_at_once_all_boot_and_nobody_elses_boot_changes(committed, stocked):
    stocked.sh("sysrc -q jail_enable=YES jail_list=byhand")
    stocked.write("/etc/jail.conf.d/byhand.conf", 'byhand { path = "/"; persist; }\n')
    stocked.refresh()
    names = [f"www{number}" for number in range(1, 21)]
    operations = []
    for number, name in enumerate(names):
        wish = stocked.wish(name=name, kind="thin", boot=True, addresses=stocked.at(f"192.0.2.{100 + number}"))
        draft = lifecycle.draft("jail_create", wish, host=stocked.row, user=stocked.user)
        operations.append(lifecycle.confirm(draft, draft.digest, user=stocked.user))
    waiting = list(operations)
    lock = threading.Lock()

    def work(number):
        """A worker: takes what is there until nothing is."""
        while True:
            with lock:
                if not waiting:
                    return
                operation = waiting.pop(0)
            stocked.work(operation, worker=f"w{number}")
            if operation.is_open:
                with lock:
                    waiting.append(operation)

    assert at_once(4, work) == [None] * 4
    for operation in operations:
        operation.refresh_from_db()
        assert operation.status == Status.DONE, transcript(operation)
    listed = stocked.facts().boot_state().boots_today
    assert listed[0] == "byhand" and sorted(listed[1:]) == sorted(names)
    made = Jail.objects.filter(managed=True, state=Jail.State.STOPPED)
    assert sorted(made.values_list("name", flat=True)) == sorted(names)
    assert [name for name in stocked.list("/jail") if name.startswith(".")] == []
    assert sum("cellblock/host/www" in name for name in stocked.datasets()) == 20
