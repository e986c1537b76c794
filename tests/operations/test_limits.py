"""Limits of memory, CPU and processes: in a jail's file, in force from its start to its stop, changed while it runs."""

import json

import pytest

from jails import drift
from jails.models import AuditEntry, Drift, Jail
from jails.operations import common
from jails.operations.kind import Refused
from tests.operations.test_drift import accept, edit, found, refused, repair
from tests.operations.test_jail_change import change, wish
from tests.operations.test_jail_change import refused as change_refused

MiB = 1 << 20
LIMITS = {"memory": 256 * MiB, "cpu": 50, "processes": 100}
HELD = ["jail:www1:maxproc:deny=100", "jail:www1:memoryuse:deny=268435456", "jail:www1:pcpu:deny=50"]


def with_racct(warden, on=True):
    """As after a start with kern.racct.enable in loader.conf."""
    state = warden.simulation.directory / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"racct": on}))
    return warden


@pytest.fixture
def warden(warden):
    return with_racct(warden)


def rules(warden):
    return sorted(warden.simulation.run("rctl").split())


def make(warden, **fields):
    usual = {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
    return warden.make("www1", limits=usual | LIMITS, **fields)


def rctl_commands(warden):
    words = [entry["argv"] for entry in warden.simulation.log()]
    return [" ".join(argv) for argv in words if argv[0] == "rctl" and argv[1:]]


# In its file


def test_they_are_in_force_while_it_runs_without_the_panel(warden):
    row = make(warden)
    assert rules(warden) == HELD
    warden.sh('jail -q -f "$1" -r www1', row.config_path)
    assert rules(warden) == []
    warden.sh('jail -q -f "$1" -c www1', row.config_path)
    assert rules(warden) == HELD


def test_a_host_without_racct_starts_it_all_the_same(warden):
    with_racct(warden, on=False)
    row = make(warden, start=False)
    operation = warden.do("jail_start", jails=[str(row.uuid)])
    assert operation.status == "done" and "www1" in warden.running()
    assert "kern.racct.enable is not 1 on warden1" in operation.plan["notes"][0]
    assert found(warden)["rctl.pcpu"] == (["50"], ["50"], [])
    said = refused(warden, "drift_repair", row)
    assert "kern.racct.enable is not 1 on warden1" in said


def test_the_log_blames_nobody_for_limits_that_the_host_does_not_keep(warden):
    with_racct(warden, on=False)
    row = make(warden)
    assert len(found(warden)) == len(LIMITS)
    change(warden, row, limits={"memory": 512 * MiB})
    assert found(warden)["rctl.memoryuse"] == (["536870912"], ["536870912"], [])
    assert not AuditEntry.objects.filter(action="jail.drift").exists()
    edit(warden, row, "pcpu:deny=50", "pcpu:deny=75")
    found(warden)
    (entry,) = AuditEntry.objects.filter(action="jail.drift")
    assert set(entry.after) == {"rctl.pcpu"}


def test_such_limits_mark_no_jail_until_the_host_keeps_them(warden):
    with_racct(warden, on=False)
    row = make(warden)
    found(warden)
    assert [one.unheld for one in Drift.objects.all()] == [True] * len(LIMITS)
    assert not Jail.objects.filter(drift.IS_MARKED).exists()
    with_racct(warden)
    found(warden)
    assert list(Jail.objects.filter(drift.IS_MARKED)) == [row]
    (entry,) = AuditEntry.objects.filter(action="jail.drift")
    assert set(entry.after) == set(found(warden))
    repair(warden, row)
    assert found(warden) == {}


def test_a_jail_that_has_none_has_no_commands_for_them(warden):
    assert "rctl" not in warden.read(warden.make("www1").config_path)


def test_other_jails_rules_stay(warden):
    warden.sh("rctl -a jail:www2:maxproc:deny=20; rctl -a jail:www1:nthr:deny=500")
    row = make(warden)
    warden.do("jail_stop", jails=[str(row.uuid)])
    assert rules(warden) == ["jail:www1:nthr:deny=500", "jail:www2:maxproc:deny=20"]


def test_its_new_name_has_them(warden):
    row = make(warden)
    operation = warden.do("jail_rename", jail=str(row.uuid), name="shop")
    assert (operation.status, operation.error) == ("done", "")
    assert rules(warden) == [rule.replace("www1", "shop") for rule in HELD]
    assert "jail:www1" not in warden.read("/etc/jail.conf.d/shop.conf")
    assert not any("rctl" in line for line in operation.plan["warnings"])
    assert found(warden) == {}


# Changed


def test_they_change_while_it_runs(warden):
    row = make(warden)
    jid = warden.simulation.run("jls", "-j", "www1", "jid")
    operation = change(warden, row, limits={"memory": 512 * MiB, "cpu": None})
    assert (operation.status, operation.error) == ("done", "")
    assert operation.plan["summary"] == ["memory: 256 MiB → 512 MiB (live)", "cpu: 50 % → none (live)"]
    assert rules(warden) == ["jail:www1:maxproc:deny=100", "jail:www1:memoryuse:deny=536870912"]
    assert warden.simulation.run("jls", "-j", "www1", "jid") == jid
    assert rctl_commands(warden)[:2] == ["rctl -a jail:www1:memoryuse:deny=536870912", "rctl -r jail:www1:pcpu:deny"]
    assert row.limits["memory"] == 512 * MiB and row.limits["cpu"] is None
    assert warden.read(row.config_path) == common.file_of(row).text()
    assert found(warden) == {}


def test_a_wish_that_does_not_name_them_leaves_them(warden):
    row = make(warden)
    given = wish(warden, row, hostname="shop.example.org")
    given["limits"] = {name: value for name, value in given["limits"].items() if name not in LIMITS}
    assert warden.do("jail_change", **given).status == "done"
    row.refresh_from_db()
    assert {name: row.limits[name] for name in LIMITS} == LIMITS and rules(warden) == HELD


def test_first_limits_of_a_jail_that_runs_and_the_last_taken_away(warden):
    row = warden.make("www1")
    before = warden.read(row.config_path)
    assert change(warden, row, limits=LIMITS).status == "done"
    assert rules(warden) == HELD and "exec.poststop" in warden.read(row.config_path)
    assert change(warden, row, limits=dict.fromkeys(LIMITS)).status == "done"
    assert rules(warden) == [] and warden.read(row.config_path) == before


def test_commands_that_somebody_wrote_stay_beside_them(warden):
    row = warden.make("www1", start=False)
    edit(warden, row, "\tpersist;", '\tpersist;\n\texec.prestart = "logger hello";\n\texec.poststop = "logger bye";')
    accept(warden, row)
    assert change(warden, row, limits={"cpu": 70}).status == "done"
    text = warden.read(row.config_path)
    assert "logger hello" in text and "logger bye" in text and "jail:www1:pcpu:deny=70" in text
    assert found(warden) == {} and text.index("pcpu:deny=70 ||") < text.index("logger hello")
    assert change(warden, row, limits={"cpu": None}).status == "done"
    assert "rctl" not in warden.read(row.config_path) and "logger hello" in warden.read(row.config_path)


def test_a_live_change_that_fails_is_undone(warden):
    row = make(warden)
    before = warden.picture()
    operation = warden.confirm("jail_change", **wish(warden, row, limits={"memory": 512 * MiB, "cpu": None}))
    warden.fail("rctl -r jail:www1:pcpu:deny", "rctl: it resists")
    assert warden.work(operation) == "failed"
    assert rules(warden) == HELD and warden.picture() == before


def test_with_a_restart_the_new_file_sets_them(warden):
    row = warden.make("www1", "192.0.2.11")
    operation = change(warden, row, limits=LIMITS, ips=["192.0.2.12"])
    assert (operation.status, operation.error) == ("done", "") and rules(warden) == HELD


@pytest.mark.parametrize("limits", [{"memory": 1}, {"cpu": 0}, {"processes": 3}, {"processes": 100_000}])
def test_what_no_jail_could_live_with_is_refused(warden, limits):
    row = warden.make("www1", start=False)
    assert list(change_refused(warden, row, limits=limits)) == list(limits)


def test_of_an_adopted_jail_they_are_its_administrators(warden):
    row = warden.make("www1", start=False)
    row.managed, row.adoption, row.manager = False, "in place", "standard"
    row.save()
    assert "rctl.conf" in change_refused(warden, row, limits={"cpu": 10})["cpu"]


# Drift


def test_a_limit_changed_by_hand_is_seen_and_brought_back(warden):
    row = make(warden)
    assert found(warden) == {}
    warden.sh("rctl -a jail:www1:pcpu:deny=90")
    assert found(warden) == {"rctl.pcpu": (["50"], ["50"], ["90"])}
    assert drift.of_rows(Drift.objects.all())[0].in_kernel
    repair(warden, row)
    assert rules(warden) == HELD and found(warden) == {}


def test_a_limit_taken_away_by_hand_is_seen(warden):
    row = make(warden)
    warden.sh("rctl -r jail:www1:memoryuse")
    assert found(warden) == {"rctl.memoryuse": (["268435456"], ["268435456"], [])}
    repair(warden, row, "rctl.memoryuse")
    assert rules(warden) == HELD


def test_a_limit_of_the_file_is_brought_back_there_too(warden):
    row = make(warden)
    edit(warden, row, "pcpu:deny=50", "pcpu:deny=75")
    assert found(warden) == {"rctl.pcpu": (["50"], ["75"], ["50"])}
    repair(warden, row)
    assert warden.read(row.config_path) == common.file_of(row).text() and found(warden) == {}


def test_a_limit_of_the_file_is_accepted_as_one(warden):
    row = make(warden, start=False)
    edit(warden, row, "pcpu:deny=50", "pcpu:deny=75")
    accept(warden, row)
    assert row.limits["cpu"] == 75 and row.wanted == {} and found(warden) == {}


def test_a_rule_that_nobody_wants_is_taken_away(warden):
    row = warden.make("www1")
    warden.sh("rctl -a jail:www1:maxproc:deny=30")
    assert found(warden) == {"rctl.maxproc": (None, None, ["30"])}
    repair(warden, row)
    assert rules(warden) == []


# A new one


def new(stocked, **more):
    limits = {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2, **LIMITS}
    return stocked.wish(name="www1", start=True, limits=limits, **more)


@pytest.fixture
def counted(stocked):
    return with_racct(stocked)


def test_a_new_jail_has_them(counted):
    operation = counted.done("jail_create", **new(counted))
    assert "held to 256 MiB of memory, 50 % of a CPU, 100 processes" in operation.plan["summary"][0]
    assert rules(counted) == HELD


def test_a_start_that_fails_leaves_none_when_the_jail_is_undone(counted):
    """They are there before the jail is, and jail(8) does not take them back."""
    operation = counted.confirm("jail_create", **new(counted))
    counted.fail("jail -f", "jail: it resists")
    set_by_hand = "rctl -a jail:www1:memoryuse:deny=256M jail:www1:pcpu:deny=50 jail:www1:maxproc:deny=100"
    assert counted.work_with(operation, "-c www1", before=lambda: counted.sh(set_by_hand)) == "failed"
    assert "it resists" in operation.error and rules(counted) == []


def test_what_the_form_would_refuse_is_refused_by_the_kind(warden):
    row = warden.make("www1", start=False)
    with pytest.raises(Refused):
        warden.draft("jail_change", **wish(warden, row, limits={"memory": "many"}))
