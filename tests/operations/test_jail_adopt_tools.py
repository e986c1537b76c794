"""Adopting what other tools made, beside them and from them, on simulated hosts with those tools."""

from functools import cache

import pytest

from jails.models import Address, Jail
from jails.operations.kind import Refused
from tests.hosts import foreign
from tests.operations.adopting import fingerprint
from tests.operations.test_jail_adopt import give_back, uuids, why
from tests.operations.warden import Warden
from tests.operations.world import transcript

TOOLS = tuple(foreign.LAYOUTS)


@pytest.fixture(scope="session")
def layouts(tmp_path_factory):
    @cache
    def make(tool):
        folder = tmp_path_factory.mktemp("tool") / "host"
        foreign.build(folder, tool)
        return folder

    return make


@pytest.fixture
def old(layouts, tmp_path, admin, messages):
    """A host with the jails of one tool: `old(tool)`."""

    def make(tool):
        return Warden(layouts(tool), tmp_path / "host", admin)

    return make


def found(warden):
    warden.refresh()
    return list(Jail.objects.filter(host=warden.row).order_by("name"))


def done(warden, kind, **wish):
    operation = warden.do(kind, **wish)
    assert operation.status == "done", transcript(operation)
    return operation


def taken(warden, row):
    """Take it over; None where the panel says that it cannot be, and why."""
    try:
        return done(warden, "jail_adopt", jails=uuids(row), how="taken over")
    except Refused as refused:
        assert "cannot be" in str(refused) or "its name" in str(refused), refused
        return None


@pytest.mark.parametrize("tool", TOOLS)
def test_beside_its_tool_nothing_changes(old, tool):
    host = old(tool)
    before = fingerprint(host.simulation.directory)
    rows = found(host)
    assert rows and {row.manager for row in rows} == {tool}
    assert "made it" in why(host, "jail_adopt", jails=uuids(rows[0]), how="in place")
    able = [row for row in rows if row.found["start"] and row.found["stop"]]
    operation = done(host, "jail_adopt", jails=uuids(*able), how="beside")
    assert not any(step.data["changes"] for step in operation.steps.all())
    for row in found(host):
        assert row.adoption == ("beside" if row in able else "") and row.wanted == {}
    for row in able:
        give_back(host, row)
    assert fingerprint(host.simulation.directory) == before


@pytest.mark.parametrize("tool", TOOLS)
def test_taken_over_and_given_back_the_host_is_as_it_was(old, tool):
    host = old(tool)
    before = fingerprint(host.simulation.directory)
    able = 0
    for row in found(host):
        boots, tree = row.boot, row.path
        operation = taken(host, row)
        if operation is None:
            continue
        able += 1
        (row,) = [one for one in found(host) if one.pk == row.pk]
        assert (row.adoption, row.manager, row.managed, row.path) == ("taken over", tool, False, tree)
        assert row.config_path == f"/etc/jail.conf.d/{row.name}.conf" and row.wanted["path"] == [tree]
        facts = host.facts()
        assert (row.name in facts.boot_state().boots_today) == boots == row.boot
        assert row.name not in facts.foreign_rows or not facts.foreign_rows[row.name].boot
        assert facts.jails_of(row.config_path)[0].name == row.name
        back = give_back(host, row)
        assert "nothing is copied or moved" in back.plan["summary"][1]
        changed = fingerprint(host.simulation.directory)
        assert {name for name in before.keys() | changed.keys() if before.get(name) != changed.get(name)} == set()
    assert able
    assert not Address.objects.exists()
