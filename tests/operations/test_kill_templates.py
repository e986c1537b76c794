"""SIGKILL to the worker everywhere, as in test_kill_kinds: in what gives jails, makes, publishes, removes templates."""

import io
import tarfile

import pytest

from jails.models import Jail, Operation, Template, Tenant
from tests.operations.killing import kill_everywhere
from tests.operations.test_kill_kinds import expect_one_end
from tests.operations.test_template_create import make, wish
from tests.operations.warden import Warden
from tests.operations.world import transcript

Status = Operation.Status
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def acme():
    return Tenant.objects.get_or_create(slug="acme", name="Acme")[0]


def create(ground):
    return "template_create", wish(make(ground))


def publish(ground):
    operation = ground.do("template_create", **wish(make(ground, tenant=acme()), tenant=acme()))
    assert operation.status == Status.DONE, operation.error
    return "template_publish", {"template": Template.objects.get(host=ground.row).pk}


def remove(ground):
    publish(ground)
    return "template_remove", {"template": Template.objects.get(host=ground.row).pk}


def give(ground):
    return "jail_give", {"jails": [str(ground.make("www1", "192.0.2.10").uuid)], "tenant": acme().pk}


CASES = {
    "create": (create, True, "zfs mount zroot/cellblock/templates/web"),
    "create on UFS": (create, False, "^mv -n /var/db/cellblock/templates/.web"),
    "publish": (publish, True, "^zfs snapshot"),
    "publish on UFS": (publish, False, "^mv -f"),
    "give": (give, True, "^zfs set"),
}
"""What is asked for, whether on ZFS, and a command without which it cannot be."""


@pytest.fixture
def grounds(prepared, tmp_path, admin, messages):
    def two(zfs):
        return [Warden(prepared(zfs), tmp_path / name, admin, name=name) for name in ("harmed", "unharmed")]

    return two


def shown(ground, *operations):
    """The host and the rows, without what differs between two hosts where the same was done."""
    jails, templates = Jail.objects.filter(host=ground.row), Template.objects.filter(host=ground.row)
    rows = [
        list(jails.values("name", "state", "touched", "tenant", "path", "dataset")),
        list(templates.values("name", "state", "tenant", "dataset", "snapshot", "cleaned")),
    ]
    picture = ground.picture()
    for path, content in picture["files"].items():
        if path.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                picture["files"][path] = sorted(archive.getnames())  # without times
    text = repr((picture, rows)).replace(", ", ",\n")
    for operation in (*operations, *Operation.objects.filter(host=ground.row)):
        text = text.replace(str(operation.pk), "OPERATION")
    for row in jails:
        text = text.replace(str(row.uuid), "JAIL")
    return text


def expect_deaths(operation, died):
    """At each boundary, and before and in the middle of the commands of each step that changes."""
    begun = [row.index for row in operation.steps.all() if row.started_at and row.data["changes"]]
    points = {f"{index} {point}" for index in begun for point in ("begin", "run before", "run middle")}
    assert begun and points <= set(died)


@pytest.mark.parametrize("name", [*CASES, "remove", "remove on UFS"])
def test_wherever_workers_are_killed_it_is_done_once(committed, grounds, tmp_path, name):
    prepare, zfs, _ = CASES.get(name) or (remove, name == "remove", "")
    harmed, unharmed = grounds(zfs)
    kind, parameters = prepare(unharmed)
    assert unharmed.do(kind, **parameters).status == Status.DONE
    expected = shown(unharmed)
    unharmed.row.delete()
    kind, parameters = prepare(harmed)
    operation = harmed.confirm(kind, **parameters)
    died = kill_everywhere(operation, harmed.connection, tmp_path / "died", lambda: None)
    assert operation.status == Status.DONE, (died[-1], transcript(operation))
    assert shown(harmed) == expected, died
    expect_deaths(operation, died)
    expect_one_end(operation, "done")


@pytest.mark.parametrize("name", CASES)
def test_wherever_workers_are_killed_what_fails_leaves_nothing(committed, grounds, tmp_path, name):
    prepare, zfs, fails = CASES[name]
    harmed, _ = grounds(zfs)
    kind, parameters = prepare(harmed)
    before = shown(harmed)
    operation = harmed.confirm(kind, **parameters)
    harmed.fail(fails)
    died = kill_everywhere(operation, harmed.connection, tmp_path / "died", lambda: None)
    harmed.fault()
    assert operation.status == Status.FAILED, (died[-1], transcript(operation))
    assert shown(harmed) == before, died
    expect_deaths(operation, died)
    assert any(" undo middle" in point for point in died)
    expect_one_end(operation, "failed")
