"""One simulated host a foreign tool: what its commands do to the host, and what is learned of it."""

import os

import pytest

from jails.hosts.facts import gather
from jails.hosts.simulated.process import PATH, NotFound, Process
from jails.hosts.simulated.tools import rc
from jails.hosts.simulated_connection import SimulatedConnection
from tests.hosts.foreign import build, run

# Manager → (a jail that it can start, as jls shows it then, an address that appears with it).
STARTED = {
    "iocage": ("web.example", "ioc-web_example", "192.0.2.11"),
    "iocell": ("mail", "ioc-5d2f1c0e-7d0b-11e6-9f0c-0800279a2b3c", "192.0.2.30"),
    "ezjail": ("www.example.org", "www_example_org", "192.0.2.70"),
    "bsdploy": ("webserver", "webserver", "10.0.0.1"),
    "bastille": ("web1", "web1", "192.0.2.61"),
    "appjail": ("nginx", "nginx", "192.0.2.41"),
    "pot": ("cache", "cache", "192.0.2.50"),
    "cbsd": ("shop", "shop", "192.0.2.60"),
    "jailadmin": ("server1", "1", ""),
    "rc.conf": ("www", "www", "192.0.2.81"),
}


@pytest.fixture
def make(tmp_path):
    return lambda tool: build(tmp_path / "host", tool)


def facts_of(host):
    return gather(SimulatedConnection(host.directory))


def the(facts, name):
    return next(jail for jail in facts.foreign if jail.name == name)


def state(host):
    """What starting and stopping must give back: mounts, addresses and jails."""
    _, mounts, _ = run(host, "mount", "-p")
    _, interfaces, _ = run(host, "ifconfig", "-a")
    _, jails, _ = run(host, "jls", "-N", "name")
    return mounts, interfaces, jails


@pytest.mark.parametrize("tool", STARTED)
def test_a_jail_starts_and_stops_by_its_tools_own_command(make, tool):
    host = make(tool)
    name, running_name, address = STARTED[tool]
    before = state(host)
    jail = the(facts_of(host), name)
    rc, out, err = run(host, *jail.start)
    assert rc == 0, (out, err)
    facts = facts_of(host)
    live = facts.running_of(the(facts, name))
    assert live is not None, (out, err)
    assert live.name == running_name
    if address:
        assert any(one.ip == address for interface in facts.interfaces for one in interface.addresses), err
    rc, out, err = run(host, *jail.stop)
    assert rc == 0, (out, err)
    assert state(host) == before


BOOTS = {
    "iocage": ["web.example"],
    "iocell": ["mail"],
    "ezjail": ["db", "www.example.org"],
    "bsdploy": ["webserver"],
    "bastille": ["db1", "web1"],
    "appjail": ["nginx"],
    "pot": ["cache"],
    "cbsd": ["shop"],
    "jailadmin": ["server1"],
    "rc.conf": ["mail.old", "www"],
}


def boot(host):
    with open(os.devnull, "r+b") as null:
        fds = dict.fromkeys((0, 1, 2), null.fileno())
        assert rc.reboot(Process(host, ["reboot"], fds=fds, env={"PATH": PATH})) == 0


def running(host):
    facts = facts_of(host)
    return sorted(jail.name for jail in facts.foreign if facts.running_of(jail) is not None)


@pytest.mark.parametrize("tool", BOOTS)
def test_what_starts_at_boot_and_what_does_not_once_its_autostart_is_off(make, tool):
    host = make(tool)
    facts = facts_of(host)
    expected = sorted(jail.name for jail in facts.foreign if jail.boot)
    boot(host)
    assert running(host) == BOOTS[tool]
    assert set(BOOTS[tool]) <= set(expected)
    # iocage has noted in its file when it started it.
    jail = the(facts_of(host), BOOTS[tool][-1])
    kept = {edit.path: edit.before for edit in jail.autostart_off}
    switch_off(host, jail)
    changed = the_or_none(facts_of(host), jail.name)
    if jail.manager != "rc.conf":
        assert changed is not None and not changed.boot and not changed.autostart
    boot(host)
    assert running(host) == BOOTS[tool][:-1]
    switch_on(host, jail, kept)
    assert the(facts_of(host), jail.name) == jail


def the_or_none(facts, name):
    return next((jail for jail in facts.foreign if jail.name == name), None)


def switch_off(host, jail):
    for edit in jail.autostart_off:
        put(host, edit.path, edit.before, edit.after)
    if jail.autostart_off_argv:
        assert run(host, *jail.autostart_off_argv)[0] == 0


def switch_on(host, jail, kept):
    for edit in jail.autostart_off:
        put(host, edit.path, edit.after, kept[edit.path])
    if jail.autostart_on_argv:
        assert run(host, *jail.autostart_on_argv)[0] == 0


def put(host, path, before, after):
    with host.reading() as state:
        place = host.locate(state, path).backing
    assert (place.read_text() if place.exists() else None) == before
    if after is None:
        place.unlink()
    else:
        place.write_text(after)


def test_the_database_of_cbsd_is_the_same_to_the_byte_after_off_and_on(make):
    host = make("cbsd")
    with host.reading() as state:
        database = host.locate(state, "/usr/jails/var/db/local.sqlite").backing
    before = database.read_bytes()
    jail = the(facts_of(host), "shop")
    switch_off(host, jail)
    assert database.read_bytes() != before
    switch_on(host, jail, {})
    assert database.read_bytes() == before


# Command → status and what is said, of a jail that there is not.
ABSENT = {
    "iocage": (("iocage", "start", "nosuch"), 1, "jail 'nosuch' not found!"),
    "bastille": (("bastille", "stop", "nosuch"), 1, "Jail not found: nosuch"),
    "appjail": (("appjail", "start", "nosuch"), 1, "Cannot find the jail `nosuch`"),
    "cbsd": (("cbsd", "jstart", "jname=nosuch"), 1, "No such jail: nosuch"),
    "pot": (("pot", "start", "nosuch"), 1, "Pot nosuch not found"),
    "jailadmin": (("jailadmin", "start", "nosuch"), 0, ""),
    "ezjail": (("service", "ezjail", "start", "nosuch"), 0, "Warning: Jail nosuch not found."),
    "rc.conf": (("service", "jail", "start", "nosuch"), 0, "Jail nosuch was ignored."),
}


@pytest.mark.parametrize("tool", ABSENT)
def test_a_jail_that_the_tool_does_not_know(make, tool):
    argv, status, said = ABSENT[tool]
    rc, out, err = run(make(tool), *argv)
    assert rc == status
    assert said in out + err


def test_iocage_refuses_to_start_one_that_runs(make):
    host = make("iocage")
    assert run(host, "iocage", "start", "db")[0] == 0
    rc, _, err = run(host, "iocage", "start", "db")
    assert (rc, err) == (1, "db is already running!\n")


def test_a_jail_of_iocage_with_a_network_of_its_own_leaves_no_interface(make):
    host = make("iocage")
    assert run(host, "iocage", "start", "net")[0] == 0
    assert "192.0.2.13" in run(host, "jexec", "ioc-net", "ifconfig", "-a")[1]
    assert run(host, "iocage", "stop", "net")[0] == 0
    assert "epair" not in run(host, "ifconfig", "-a")[1]


def test_no_tool_is_on_a_host_without_it(make):
    host = make("rc.conf")
    with pytest.raises(NotFound):
        run(host, "iocage", "start", "db")


def test_what_a_tenant_puts_in_a_jail_called_like_a_tool_is_not_fetched(make):
    host = make("iocage")
    assert run(host, "mkdir", "-p", "/jail/iocage/jails/x/config.json", "/jail/pot/jails/y/conf")[0] == 0
    put(host, "/jail/pot/jails/y/conf/pot.conf", None, "x" * 2_000_000)
    assert run(host, "touch", "/jail/iocage/jails/x/config.json/file")[0] == 0
    facts = facts_of(host)
    assert not any(path.startswith("/jail/") for path in (*facts.files, *facts.unreadable))
    assert len(facts.foreign) == 3
    assert not facts.errors


def test_a_directory_in_place_of_a_tools_file_hides_nothing(make):
    host = make("bastille")
    assert run(host, "mkdir", "-p", "/usr/local/bastille/jails/odd/jail.conf/deep")[0] == 0
    facts = facts_of(host)
    assert sorted(jail.name for jail in facts.foreign) == ["db1", "empty1", "web1"]
    assert facts.unreadable == ("/usr/local/bastille/jails/odd/jail.conf",)
