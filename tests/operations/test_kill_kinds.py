"""SIGKILL to the worker at every step boundary and before, in and after every command of what makes and destroys.

One operation takes all the deaths. It must end as if nothing had happened: done or undone, nothing left over, nothing
doubled. A kind is one more row of CASES.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from jails.models import Address, AuditEntry, Jail, Operation, Release, ResourceLock
from tests.operations.killing import kill_everywhere
from tests.operations.world import MIRROR, RELEASE, World, transcript

Status = Operation.Status
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Case(NamedTuple):
    """`wish`: what is asked for, of a host which that has prepared. `fails`: the words of a command that will not work.

    `stocked`: whether a release is there.
    """

    kind: str
    wish: Callable[[World], dict[str, Any]]
    zfs: bool = True
    stocked: bool = True
    fails: str = ""


def create(**more: Any) -> Callable[[World], dict[str, Any]]:
    return lambda world: world.wish(start=True, boot=True, addresses=world.at("192.0.2.10"), **more)


def fetch(world: World) -> dict[str, Any]:
    return {"release": RELEASE, "architecture": "amd64", "source": MIRROR}


CASES = {
    "create thick": Case("jail_create", create()),
    "create thin": Case("jail_create", create(kind="thin")),
    "create on UFS": Case("jail_create", create(), zfs=False),
    "fetch": Case("release_fetch", fetch, stocked=False),
    "fetch on UFS": Case("release_fetch", fetch, zfs=False, stocked=False),
}
FAILING = {
    "create thick": Case("jail_create", create(), fails="jail -f"),
    "create on UFS": Case("jail_create", create(), zfs=False, fails="jail -f"),
    "fetch": Case("release_fetch", fetch, stocked=False, fails="zfs snapshot"),
}


def host_for(request: pytest.FixtureRequest, case: Case) -> World:
    name = ("" if case.zfs else "ufs_") + ("stocked" if case.stocked else "world")
    world: World = request.getfixturevalue(name)
    return world


def shown(world: World, *operations: Operation) -> str:
    """The host and the rows, without what differs between two operations of the same kind."""
    host = {**world.picture(), "boot": world.facts().boot_state().boots_today}
    rows = {
        "jails": list(
            Jail.objects.filter(host=world.row).values("name", "state", "boot", "touched", "path", "dataset")
        ),
        "addresses": sorted(Address.objects.filter(jail__host=world.row).values_list("ip", "operation")),
        "releases": list(
            Release.objects.filter(host=world.row).values("name", "state", "dataset", "path", "operation")
        ),
    }
    text = repr((host, rows)).replace(", ", ",\n")
    for operation in operations:
        text = text.replace(str(operation.pk), "OPERATION")
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f-]{21}", "JAIL", text)


@pytest.mark.parametrize("name", CASES)
def test_wherever_workers_are_killed_it_is_done_once(committed, request, tmp_path, name):
    case = CASES[name]
    world = host_for(request, case)
    wish = case.wish(world)
    unharmed = World(world.simulation.directory, tmp_path / "unharmed", world.user, name="unharmed")
    copy_rows(world, unharmed)
    first = unharmed.done(case.kind, **case.wish(unharmed))
    expected = shown(unharmed, first)
    unharmed.row.delete()
    operation = world.confirm(case.kind, **wish)
    died = kill_everywhere(operation, world.connection, tmp_path / "died", lambda: None)
    assert operation.status == Status.DONE, (died[-1], transcript(operation))
    assert shown(world, operation) == expected, died
    expect_all(operation, died, "run")
    expect_one_end(operation, "done")


@pytest.mark.parametrize("name", FAILING)
def test_wherever_workers_are_killed_what_fails_leaves_nothing(committed, request, tmp_path, name):
    case = FAILING[name]
    world = host_for(request, case)
    wish = case.wish(world)
    before = shown(world)
    operation = world.confirm(case.kind, **wish)
    world.fail(case.fails)
    died = kill_everywhere(operation, world.connection, tmp_path / "died", lambda: None)
    world.fault()
    assert operation.status == Status.FAILED, (died[-1], transcript(operation))
    assert "it resists" in operation.error
    assert shown(world, operation) == before, died
    expect_all(operation, died, "undo")
    expect_one_end(operation, "failed")


def copy_rows(world: World, other: World) -> None:
    """The release that is on a copied host as well."""
    if hasattr(world, "release"):
        other.release = Release.objects.get(pk=world.release.pk)
        other.release.pk, other.release.host = None, other.row
        other.release.save()


def expect_all(operation: Operation, died: list[str], phase: str) -> None:
    """There was a death at each boundary, and before and in the middle of the commands of each step that changes."""
    rows = operation.steps.order_by("index")
    begun = [row.index for row in rows if row.started_at and row.data["changes"]]
    assert {f"{index} begin" for index in begun} <= set(died)
    assert {f"{index} run before" for index in begun} <= set(died)
    assert {f"{index} run middle" for index in begun} <= set(died)
    assert sum(f" {phase} middle" in point for point in died) >= 4


def expect_one_end(operation: Operation, outcome: str) -> None:
    assert not ResourceLock.objects.exists()
    ends = AuditEntry.objects.filter(operation=str(operation.pk)).exclude(action="operation.confirm")
    assert [entry.outcome for entry in ends] == [outcome]
