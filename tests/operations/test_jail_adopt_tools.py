"""Adopting what other tools made, beside them and from them, on simulated hosts with those tools."""

from functools import cache

import pytest

from jails.models import Address, Jail, Tenant
from jails.operations.adoption import put_back
from jails.operations.kind import Refused
from tests.hosts import foreign
from tests.operations.adopting import fingerprint
from tests.operations.test_jail_adopt import give_back, uuids, why
from tests.operations.test_kill_jails import run
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

    make.folder = layouts
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


def one(warden, name):
    return next(row for row in found(warden) if row.name == name)


@pytest.mark.parametrize(("tool", "name"), [("bastille", "db1"), ("iocage", "ioc-db"), ("ezjail", "db")])
def test_a_running_jail_is_stopped_by_its_tool_and_started_by_its_file(old, tool, name):
    host = old(tool)
    row = one(host, name)
    before = fingerprint(host.simulation.directory)
    done(host, "jail_adopt", jails=uuids(row), how="beside")
    done(host, "jail_start", jails=uuids(row))
    assert host.running() == {name: row.path}
    assert not any(command.startswith("jail ") and "/etc/jail" in command for command in host.commands())
    give_back(host, row)
    operation = done(host, "jail_adopt", jails=uuids(row), how="taken over")
    assert any("is away a moment" in line for line in operation.plan["warnings"])
    assert host.running() == {name: row.path} and one(host, name).state == "running"
    done(host, "jail_restart", jails=uuids(row))
    assert f"jail -f /etc/jail.conf.d/{name}.conf -q -c {name}" in host.commands()
    give_back(host, one(host, name))
    assert host.running() == {name: row.path}
    done(host, "jail_adopt", jails=uuids(row), how="beside")
    done(host, "jail_stop", jails=uuids(row))
    give_back(host, row)
    assert host.running() == {}
    changed = fingerprint(host.simulation.directory)
    kept = ("root/etc", "root/usr/local/etc")
    assert {name: text for name, text in before.items() if name.startswith(kept)} == {
        name: text for name, text in changed.items() if name.startswith(kept)
    }


def test_what_was_changed_by_hand_since_is_not_taken_away(old):
    host = old("bastille")
    row = one(host, "db1")
    done(host, "jail_adopt", jails=uuids(row), how="taken over")
    text = host.read("/etc/jail.conf.d/db1.conf")
    host.write("/etc/jail.conf.d/db1.conf", text.replace("db1 {", "db1 {\n\tallow.raw_sockets;"))
    words = why(host, "jail_unadopt", jail=str(row.uuid))
    assert "is not what was written there" in words and "+\tallow.raw_sockets;" in words
    host.write("/etc/jail.conf.d/db1.conf", text)
    give_back(host, row)
    assert not host.sh("ls /etc/jail.conf.d 2>/dev/null || true")


@pytest.mark.parametrize("line", ['jail_list="$(ls /jails)"', 'jail_conf="/etc/other.conf"'])
def test_nothing_is_taken_over_where_nobody_can_tell_what_boots(old, line):
    host = old("bastille")
    host.write("/etc/rc.conf", f"{host.read('/etc/rc.conf')}{line}\n")
    row = one(host, "db1")
    assert "boots on warden1 cannot be told: rc.conf: " in why(host, "jail_adopt", jails=uuids(row), how="taken over")


def test_two_that_were_taken_over_leave_rc_conf_as_it_was(old):
    host = old("bastille")
    before = fingerprint(host.simulation.directory)
    rows = [row for row in found(host) if row.name in ("db1", "web1")]
    for row in rows:
        done(host, "jail_adopt", jails=uuids(row), how="taken over")
    assert host.facts().boot_state().boots_today == tuple(row.name for row in rows if row.boot)
    for row in rows:
        give_back(host, row)
    changed = fingerprint(host.simulation.directory)
    assert {name for name in before.keys() | changed.keys() if before.get(name) != changed.get(name)} == set()


@pytest.mark.parametrize("order", [("www", "spare"), ("spare", "www")])
def test_jails_of_one_file_are_given_back_in_any_order(old, order):
    host = old("rc.conf")
    before = host.read("/etc/rc.conf")
    for name in ("www", "spare"):
        done(host, "jail_adopt", jails=uuids(one(host, name)), how="taken over")
    give_back(host, one(host, order[0]))
    text = host.read("/etc/rc.conf")
    assert text != before and host.facts().foreign_rows[order[0]].manager == "rc.conf"
    assert order[1] not in host.facts().foreign_rows
    own = [line for line in before.splitlines() if line.startswith(f"jail_{order[0]}_")]
    assert [line for line in text.splitlines() if line in own] == own
    host.write("/etc/rc.conf", text.replace("old4", "old5"))
    give_back(host, one(host, order[1]))
    assert host.read("/etc/rc.conf") == before.replace("old4", "old5"), (
        "what others wrote stays, each line in its place"
    )


def test_where_one_line_is_about_both_the_later_goes_back_first_and_is_named(old):
    host = old("jailadmin")
    conf = "/usr/local/etc/jailadmin.conf"
    host.write(conf, host.read(conf).replace("group_all = ALL, !server2", "group_all = ALL"))
    before = host.read(conf)
    for name in ("server1", "server2"):
        done(host, "jail_adopt", jails=uuids(one(host, name)), how="taken over")
    words = why(host, "jail_unadopt", jail=str(one(host, "server1").uuid))
    assert words == f"jail: server2 was taken over from {conf} since, in the same lines: give that back first."
    for name in ("server2", "server1"):
        give_back(host, one(host, name))
    assert host.read(conf) == before


def test_an_edit_is_taken_back_alone_or_not_at_all():
    lines = [f"{letter}\n" for letter in "abcdef"]
    before = "".join(lines)
    for edited in (2, 3):
        after = before.replace(lines[edited], f"# {lines[edited]}")
        assert put_back(before, after, after) == before
        others = after.replace("a\n", "x\na\n").replace("f\n", "")
        assert put_back(before, after, others) == before.replace("a\n", "x\na\n").replace("f\n", "")
        assert put_back(before, after, others.replace(f"# {lines[edited]}", "y\n")) is None
    added = before.replace("c\n", "c\nnew\n")
    assert put_back(added, before, before.replace("a\n", "")) == added.replace("a\n", "")
    assert put_back(added, before, before.replace("c\n", "c\nz\n")) is None
    assert put_back("", "new\n", "new\nz\n") == "z\n"


def test_where_the_same_lines_are_there_several_times_no_place_is_guessed():
    before = "z\n\n\na\n\nc\n\n\n\n\n"
    without_a = before.replace("a\n", "")
    without_both = without_a.replace("c\n", "")
    assert put_back(without_a, without_both, without_both) == without_a
    assert put_back(before, without_a, without_both) in (None, before.replace("c\n", ""))
    now = put_back(before, without_a, without_both) or before.replace("c\n", "")
    assert put_back(without_a, without_both, now) in (None, before)


def test_a_take_over_that_fails_leaves_all_as_it_was(old):
    host = old("bastille")
    row = one(host, "db1")
    done(host, "jail_adopt", jails=uuids(row), how="beside")
    done(host, "jail_start", jails=uuids(row))
    give_back(host, row)
    before = {name: text for name, text in fingerprint(host.simulation.directory).items() if "/etc" in name}
    operation = host.confirm("jail_adopt", jails=uuids(row), how="taken over")
    host.fail("jail -f /etc/jail.conf.d/db1.conf -q -c")
    assert host.work(operation) == "failed", transcript(operation)
    after = {name: text for name, text in fingerprint(host.simulation.directory).items() if "/etc" in name}
    assert host.running() == {"db1": row.path} and after == before
    assert one(host, "db1").adoption == ""


def test_a_name_that_somebody_takes_meanwhile_is_left_to_them(old):
    host = old("bastille")
    row = one(host, "db1")
    operation = host.confirm("jail_adopt", jails=uuids(row), how="taken over")
    host.sh("mkdir -p /etc/jail.conf.d")
    theirs = "db1 { path = /x; }\n"
    before = fingerprint(host.simulation.directory)["root/usr/local/bastille/jails/db1/settings.conf"]
    status = host.work_with(
        operation, "jail.conf.d/db1.conf", before=lambda: host.write("/etc/jail.conf.d/db1.conf", theirs)
    )
    assert status == "failed" and "File exists" in operation.error
    assert fingerprint(host.simulation.directory)["root/usr/local/bastille/jails/db1/settings.conf"] == before
    assert host.read("/etc/jail.conf.d/db1.conf") == theirs


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_that_are_killed_everywhere_take_it_over_and_give_it_back(committed, old, tmp_path):
    host = old("bastille")
    row = one(host, "db1")
    operation = host.confirm("jail_adopt", jails=uuids(row), how="taken over")
    assert run(host, operation, tmp_path) == "done", transcript(operation)
    assert one(host, "db1").adoption == "taken over"
    operation = host.confirm("jail_unadopt", jail=str(row.uuid))
    assert run(host, operation, tmp_path) == "done", transcript(operation)
    files = fingerprint(host.simulation.directory)
    first = fingerprint(old.folder("bastille"))
    kept = ("root/etc", "root/usr/local")
    assert {n: t for n, t in files.items() if n.startswith(kept)} == {
        n: t for n, t in first.items() if n.startswith(kept)
    }


@pytest.mark.parametrize("kind", ["drift_repair", "drift_accept"])
def test_given_back_after_its_drift_was_mended_or_accepted_the_host_is_as_it_was(old, kind):
    host = old("bastille")
    before = fingerprint(host.simulation.directory)
    row = one(host, "db1")
    done(host, "jail_adopt", jails=uuids(row), how="taken over")
    path = "/etc/jail.conf.d/db1.conf"
    text = host.read(path)
    host.write(path, text.replace("db1 {", "db1 {\n\tallow.chflags;"))
    host.refresh()
    done(host, kind, jail=str(row.uuid), parameters=None)
    assert ("allow.chflags" in host.read(path)) == (kind == "drift_accept")
    give_back(host, one(host, "db1"))
    changed = fingerprint(host.simulation.directory)
    assert {name for name in before.keys() | changed.keys() if before.get(name) != changed.get(name)} == set()


def test_what_is_edited_after_drift_was_accepted_is_not_taken_away(old):
    host = old("bastille")
    row = one(host, "db1")
    done(host, "jail_adopt", jails=uuids(row), how="taken over")
    path = "/etc/jail.conf.d/db1.conf"
    host.write(path, host.read(path).replace("db1 {", "db1 {\n\tallow.chflags;"))
    host.refresh()
    done(host, "drift_accept", jail=str(row.uuid), parameters=None)
    host.write(path, host.read(path).replace("db1 {", "db1 {\n\tallow.raw_sockets;"))
    words = why(host, "jail_unadopt", jail=str(row.uuid))
    assert "+\tallow.raw_sockets;" in words and "allow.chflags" in words and "+\tallow.chflags" not in words


@pytest.mark.parametrize("how", ["beside", "taken over"])
def test_no_tenant_gets_a_jail_whose_own_tree_holds_what_the_host_runs(old, how):
    host = old("bastille")
    row = next(row for row in found(host) if row.found["start"])
    file = host.simulation.directory / "root" / row.config_path.lstrip("/")
    text = file.read_text()
    file.write_text(text.replace("mount.devfs", f'exec.prestart = "{row.path}/root/hook"; mount.devfs', 1))
    host.refresh()
    acme = Tenant.objects.create(name="acme", slug="acme")
    sentence = f"exec.prestart of {row.name} runs {row.path}/root/hook on the host as root"
    assert sentence in why(host, "jail_adopt", jails=uuids(row), how=how, tenant=acme.pk)
    assert host.draft("jail_adopt", jails=uuids(row), how=how)


@pytest.mark.parametrize(
    ("edited", "stays"),
    [({}, False), ({"jail_list": "a"}, True), ({"jail_list": "b a"}, True), ({"jail_enable": "NO"}, True)],
    ids=["untouched", "a list of fewer", "another order", "no jails at boot"],
)
def test_no_list_of_jails_is_taken_away_that_somebody_has_changed_since(old, edited, stays):
    """Without a list every jail of jail.conf(5) boots: one had to be made to leave out the jail that was taken over."""
    host = old("appjail")
    host.write("/etc/rc.conf", f'{host.read("/etc/rc.conf")}jail_enable="YES"\n')
    jails = "".join(f'{name} {{ path = "/jail/{name}"; persist; }}\n' for name in "ab")
    host.write("/etc/jail.conf", f'{jails}.include "/etc/jail.conf.d/*.conf";\n')
    before = host.read("/etc/rc.conf")
    row = next(row for row in found(host) if row.manager == "appjail" and not row.boot)
    done(host, "jail_adopt", jails=uuids(row), how="taken over")
    assert 'jail_list="a b"' in host.read("/etc/rc.conf")
    for name, value in edited.items():
        host.sh('sysrc "$1=$2"', name, value)
    edit = host.read("/etc/rc.conf")
    give_back(host, one(host, row.name))
    assert host.read("/etc/rc.conf") == (edit if stays else before)


@pytest.mark.parametrize("path", ["/etc/rc.conf.local", "/etc/rc.conf.d/jail"])
def test_variables_of_any_file_of_rc_conf_come_back(old, path):
    host = old("rc.conf")
    lines = host.read("/etc/rc.conf").splitlines(keepends=True)
    name = next(row for row in found(host) if row.found["start"] or row.manager == "rc.conf").name
    part = name.replace("-", "_").replace(".", "_")
    theirs = "".join(line for line in lines if line.startswith(f"jail_{part}_"))
    host.sh('mkdir -p "${1%/*}"', path)
    host.write(path, theirs)
    host.write("/etc/rc.conf", "".join(line for line in lines if line not in theirs))
    before = fingerprint(host.simulation.directory)
    done(host, "jail_adopt", jails=uuids(one(host, name)), how="taken over")
    assert host.read(path) != theirs
    give_back(host, one(host, name))
    assert host.read(path) == theirs
    after = fingerprint(host.simulation.directory)
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == set()
