import time

import pytest

from jails.freebsd.foreign import ForeignJail
from jails.hosts.data import decode
from jails.hosts.facts import gather
from jails.hosts.refresh import refresh
from jails.models import Host, Jail

from .foreign import APPJAIL, BASTILLE, CBSD, IOCAGE, JAILADMIN, LAYOUTS, RC_CONF
from .stub import SYSCTL, StubHost, archive
from .test_facts import jail as running
from .test_facts import jls

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    return Host.objects.create(name="warden1", kind="ssh", address="192.0.2.2")


@pytest.fixture
def stub(tmp_path):
    mounts = "/dev/ada0p2\t\t/\tufs\trw\t1 1\n"
    return StubHost(tmp_path / "bin", sysctl=SYSCTL.replace("vfs.zfs", "other"), mount=mounts)


@pytest.fixture
def ask(host, stub):
    def ask(files, *jails):
        stub.tool("jls", jls(*jails))
        stub.tool("tar", archive({"/etc/rc.conf": "", **files}))
        refresh(host, connection=lambda _: stub)
        return {row.name: row for row in Jail.objects.order_by("name")}

    return ask


def live(name, path, **values):
    return running(name, path=path, **values)


@pytest.mark.parametrize("manager", LAYOUTS)
def test_jails_of_each_tool_are_found(ask, manager):
    rows = ask(LAYOUTS[manager].files)
    assert rows
    assert {row.manager for row in rows.values()} == {manager}
    assert all((row.kind, row.managed, row.state) == ("found", False, "stopped") for row in rows.values())
    assert all(row.path == row.found["root"] and row.config_path == row.found["config"] for row in rows.values())


def test_a_running_jail_of_iocage_is_one_row_with_its_definition(ask):
    rows = ask(IOCAGE.files, live("ioc-web_example", "/iocage/jails/web.example/root", jid=4))
    assert sorted(rows) == ["ioc-db", "ioc-net", "ioc-web_example"]
    row = rows["ioc-web_example"]
    assert (row.state, row.jid, row.manager, row.boot) == ("running", 4, "iocage", True)
    assert row.found["name"] == "web.example"
    assert row.found["addresses"] == ["em0|192.0.2.10/24", "em0|192.0.2.11/32"]


def test_what_a_row_keeps_reads_back(ask):
    row = ask(BASTILLE.files)["web1"]
    found = decode(ForeignJail, row.found)
    assert found.parameters["path"] == ("/usr/local/bastille/jails/web1/root",)
    assert found.start == ("bastille", "start", "web1")


def test_a_jail_without_a_name_is_known_by_its_tree(ask):
    rows = ask(JAILADMIN.files, live("7", "/var/jail/server1", jid=7))
    assert sorted(rows) == ["server1", "server2"]
    assert (rows["server1"].state, rows["server1"].boot) == ("running", True)
    assert (rows["server2"].state, rows["server2"].boot) == ("stopped", False)


def test_standard_jails_and_those_that_no_file_knows(ask):
    conf = {"/etc/jail.conf.d/www1.conf": 'www1 { path = "/jail/www1"; }\n'}
    rows = ask(conf, live("lost", "/somewhere"))
    assert (rows["www1"].manager, rows["lost"].manager) == ("standard", "")


def test_jails_of_iocage_and_standard_ones_side_by_side(ask):
    conf = {"/etc/jail.conf": 'db { path = "/jail/db"; }\n'}
    rows = ask({**IOCAGE.files, **conf}, live("db", "/jail/db"))
    assert (rows["db"].manager, rows["db"].state) == ("standard", "running")
    assert (rows["ioc-db"].manager, rows["ioc-db"].state) == ("iocage", "stopped")


def test_a_tools_jail_under_the_name_of_a_standard_one_is_shown_as_well(ask):
    conf = {"/etc/jail.conf": 'web1 { path = "/jail/web1"; }\n'}
    rows = ask({**BASTILLE.files, **conf}, live("web1", "/usr/local/bastille/jails/web1/root"))
    assert (rows["web1"].manager, rows["web1"].state) == ("standard", "stopped")
    assert (rows["web1 (bastille)"].manager, rows["web1 (bastille)"].state) == ("bastille", "running")


def test_a_standard_file_for_a_tools_tree_is_the_same_jail(ask):
    conf = {"/etc/jail.conf": 'shop { path = "/usr/local/bastille/jails/web1/root"; }\n'}
    rows = ask({**BASTILLE.files, **conf})
    assert sorted(rows) == ["db1", "empty1", "shop"]
    assert (rows["shop"].manager, rows["shop"].config_path) == ("standard", "/etc/jail.conf")
    assert rows["shop"].found["manager"] == "bastille"


def test_an_adopted_jail_stays_its_tools_where_the_file_says_so_too(ask, host):
    ask(BASTILLE.files)
    Jail.objects.filter(name="web1").update(adoption="taken over", boot=True, path="/x")
    conf = {"/etc/jail.conf.d/web1.conf": 'web1 { path = "/usr/local/bastille/jails/web1/root"; }\n'}
    row = ask({**BASTILLE.files, **conf})["web1"]
    assert (row.manager, row.config_path, row.path) == ("bastille", "/etc/jail.conf.d/web1.conf", "/x")


def test_a_jail_that_its_tool_destroyed_is_forgotten(ask):
    ask(CBSD.files)
    assert ask({}) == {}


def test_files_inside_a_jails_tree_say_nothing_of_the_host(stub):
    inside = {path: text for path, text in IOCAGE.files.items() if "/jails/" in path}
    stub.tool("tar", archive({f"/jail{path}": text for path, text in inside.items()} | {"/etc/rc.conf": ""}))
    facts = gather(stub)
    assert facts.foreign == ()
    assert list(facts.files) == ["/etc/rc.conf"]
    stub.tool("jls", jls(live("old", "/iocage")))
    stub.tool("tar", archive({**inside, "/etc/rc.conf": ""}))
    assert gather(stub).foreign == ()


@pytest.mark.parametrize("manager", LAYOUTS)
def test_no_tool_costs_a_process(stub, manager):
    stub.tool("sysctl", SYSCTL)
    stub.tool("tar", archive(LAYOUTS[manager].files))
    stub.tool("zfs", "zroot/cellblock" + "\t-" * 19 + "\n")
    assert gather(stub).foreign
    assert stub.requests <= 6
    assert len(stub.commands) + 1 <= 13


def test_who_has_an_address_of_a_tools_jail(stub):
    stub.tool("tar", archive({**APPJAIL.files, **RC_CONF.files}))
    facts = gather(stub)
    assert facts.address_in_use("192.0.2.41") == "jail nginx (/usr/local/appjail/jails/nginx/conf/config.conf)"
    assert facts.address_in_use("192.0.2.81") == "jail www (/etc/rc.conf)"


def test_a_broken_database_is_said_and_hides_nothing_else(stub):
    stub.tool("tar", archive({**CBSD.files, "/usr/jails/var/db/local.sqlite": b"SQLite format 3\0" + b"x" * 4000}))
    facts = gather(stub)
    assert facts.unreadable == ("/usr/jails/var/db/local.sqlite",)
    assert [jail.name for jail in facts.foreign] == ["away"]


def test_a_thousand_jails_of_a_tool_are_read_in_a_moment(stub):
    config, fstab = "/iocage/jails/db/config.json", "/iocage/jails/db/fstab"
    files = dict(IOCAGE.files)
    for number in range(1000):
        files[config.replace("/db/", f"/db{number}/")] = files[config].replace(
            "192.0.2.12", f"10.0.{number // 250}.{number % 250}"
        )
        files[fstab.replace("/db/", f"/db{number}/")] = ""
    stub.tool("tar", archive(files))
    stub.tool("jls", jls(*(live(f"ioc-db{n}", f"/iocage/jails/db{n}/root", jid=n + 1) for n in range(1000))))
    facts = gather(stub)
    begun = time.process_time()
    assert len(facts.foreign_rows) == 1003
    assert all(
        facts.running_of(jail)
        for name, jail in facts.foreign_rows.items()
        if name.startswith("ioc-db") and name != "ioc-db"
    )
    assert facts.address_in_use("10.0.3.249") == "jail db999 (/iocage/jails/db999/config.json)"
    assert time.process_time() - begun < 5
