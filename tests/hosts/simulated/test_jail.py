from __future__ import annotations

from pathlib import Path

import pytest

from jails.hosts.simulated import daemons, prison

from .machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "host", directories=["/jail", "/jail/www1", "/jail/db"])
    for name in ("www1", "db"):
        for part in ("bin", "sbin", "usr", "etc", "root", "libexec", "var"):
            machine.host.copy_tree(machine.host.path(f"/{part}"), machine.host.path(f"/jail/{name}/{part}"))
        machine.host.path(f"/jail/{name}/dev").mkdir()
    return machine


def configure(machine: Machine, text: str, path: str = "/etc/jail.conf") -> None:
    machine.host.path(path).write_text(text)


def names(machine: Machine) -> list[str]:
    return machine.run("jls", "name").out.split()


def test_jids_grow_and_are_not_used_again(machine: Machine) -> None:
    for name in ("a", "b"):
        machine.run("jail", "-c", f"name={name}", "path=/jail/www1", "persist")
        assert machine.run("jail", "-r", name).rc == 0
    assert machine.run("jail", "-i", "-c", "name=c", "path=/jail/www1", "persist").out == "3\n"


def test_a_failing_start_takes_the_jail_and_its_mounts_away_again(machine: Machine) -> None:
    configure(machine, 'www1 { path = /jail/www1; mount.devfs; persist; exec.start = "/usr/bin/false"; }')
    outcome = machine.run("jail", "-c", "www1")
    assert (outcome.rc, outcome.err) == (1, "jail: www1: /usr/bin/false: failed\n")
    assert names(machine) == []
    assert "/jail/www1/dev" not in machine.run("mount", "-p").out


def test_what_an_earlier_hook_did_stays_when_start_fails(machine: Machine) -> None:
    text = 'www1 { path = /jail/www1; exec.prestart = "touch /tmp/mark"; exec.start = "false"; persist; }'
    configure(machine, text)
    assert machine.run("jail", "-c", "www1").rc == 1
    assert machine.exists("/tmp/mark")


def test_address_is_put_on_the_interface_and_taken_off(machine: Machine) -> None:
    configure(machine, "www1 { path = /jail/www1; ip4.addr = 192.0.2.10; interface = em0; persist; }")
    machine.run("jail", "-c", "www1")
    assert "inet 192.0.2.10 netmask 0xffffffff" in machine.run("ifconfig", "em0").out
    machine.run("jail", "-r", "www1")
    assert "192.0.2.10" not in machine.run("ifconfig", "em0").out


def test_removal_without_configuration_leaves_address_and_mount(machine: Machine) -> None:
    configure(machine, "www1 { path = /jail/www1; ip4.addr = 192.0.2.10; interface = em0; mount.devfs; persist; }")
    machine.run("jail", "-c", "www1")
    assert machine.run("jail", "-R", "www1").rc == 0
    assert "192.0.2.10" in machine.run("ifconfig", "em0").out
    assert "/jail/www1/dev" in machine.run("mount", "-p").out


def test_a_jail_without_persist_and_process_ends(machine: Machine) -> None:
    assert machine.run("jail", "-c", "name=a", "path=/jail/www1", "command=/usr/bin/true").rc == 0
    assert names(machine) == []


def test_a_process_keeps_a_jail_alive(machine: Machine) -> None:
    text = 'www1 { path = /jail/www1; exec.consolelog = /var/log/www1.log; exec.start = "/bin/sleep 30 &"; }'
    configure(machine, text)
    assert machine.run("jail", "-c", "www1").rc == 0
    assert names(machine) == ["www1"]
    outcome = machine.run("jail", "-v", "-r", "www1")
    assert "sent SIGTERM to:" in outcome.out
    assert names(machine) == []


def test_dependencies_start_first_and_stop_last(machine: Machine) -> None:
    configure(machine, "persist;\nwww1 { path = /jail/www1; depend = db; }\ndb { path = /jail/db; }\n")
    assert machine.run("jail", "-c", "www1").out == "db: created\nwww1: created\n"
    assert machine.run("jail", "-r", "db").out == "www1: removed\ndb: removed\n"


def test_a_dependency_loop_is_refused(machine: Machine) -> None:
    configure(machine, "persist;\nwww1 { path = /jail/www1; depend = db; }\ndb { path = /jail/db; depend = www1; }\n")
    outcome = machine.run("jail", "-c", "www1")
    assert (outcome.rc, outcome.err) == (1, "jail: www1: dependency loop\njail: db: skipped\n")


def test_two_jails_with_several_addresses_clash(machine: Machine) -> None:
    machine.run("jail", "-c", "name=a", "path=/jail/www1", "ip4.addr=192.0.2.10,192.0.2.11", "persist")
    outcome = machine.run("jail", "-c", "name=b", "path=/jail/db", "ip4.addr=192.0.2.11", "persist")
    assert (outcome.rc, outcome.err) == (1, "jail: IPv4 addresses clash\n")


def test_restart_gives_a_new_jid(machine: Machine) -> None:
    configure(machine, "www1 { path = /jail/www1; persist; }")
    machine.run("jail", "-c", "www1")
    assert machine.run("jail", "-rc", "www1").out == "www1: created\n"
    assert machine.run("jls", "jid").out == "2\n"


def test_a_dying_jail_is_hidden_and_its_name_free(machine: Machine) -> None:
    with machine.host.changing() as state:
        state["dying"] = 60
    machine.run("jail", "-c", "name=a", "path=/jail/www1", "persist")
    machine.run("jail", "-r", "a")
    assert names(machine) == []
    assert machine.run("jls", "-j", "a").err == 'jls: jail "a" is dying\n'
    assert machine.run("jail", "-c", "name=a", "path=/jail/www1", "persist").rc == 0
    assert machine.run("jls", "-d", "-n", "jid", "dying").out == "jid=1 dying=1\njid=2 dying=0\n"


def test_fixed_parameters_say_so(machine: Machine) -> None:
    machine.run("jail", "-c", "name=a", "path=/jail/www1", "persist")
    for parameter in ("path=/jail/db", "vnet", "osrelease=13.0-RELEASE", "ip4=inherit"):
        outcome = machine.run("jail", "-m", "name=a", parameter)
        wanted = f"jail: {parameter.partition('=')[0]} cannot be changed after creation\n"
        assert (outcome.rc, outcome.err) == (1, wanted)


def test_jail_conf_d_is_read_by_include_since_14_only(tmp_path: Path) -> None:
    for release, rc in (("14.2-RELEASE", 0), ("12.1-STABLE", 1)):
        machine = Machine(tmp_path / release, release=release, directories=["/jail", "/etc/jail.conf.d"])
        configure(machine, '.include "/etc/jail.conf.d/*.conf";\n')
        configure(machine, "www1 { path = /jail; persist; }", "/etc/jail.conf.d/www1.conf")
        assert machine.run("jail", "-c", "www1").rc == rc


def test_vnet_interface_goes_in_and_comes_home(machine: Machine) -> None:
    machine.run("ifconfig", "epair", "create")
    machine.run("jail", "-c", "name=a", "path=/jail/www1", "vnet", "vnet.interface=epair0b", "persist")
    assert machine.run("ifconfig", "-l").out == "em0 lo0 epair0a\n"
    assert machine.run("jexec", "a", "ifconfig", "-l").out == "lo0 epair0b\n"
    machine.run("jail", "-r", "a")
    assert machine.run("ifconfig", "-l").out == "em0 lo0 epair0a epair0b\n"


def test_jexec_sees_the_jails_root_alone(machine: Machine) -> None:
    machine.run("jail", "-c", "name=a", "path=/jail/www1", "persist")
    machine.host.path("/etc/only-on-the-host").touch()
    assert machine.run("jexec", "a", "ls", "/etc/only-on-the-host").rc == 1
    assert machine.run("jexec", "-l", "a", "pwd").out == "/root\n"
    missing = machine.run("jexec", "a", "/nosuch")
    assert (missing.rc, missing.err) == (1, "jexec: execvp: /nosuch: No such file or directory\n")


def test_children_live_and_die_with_their_parent(machine: Machine) -> None:
    machine.run("jail", "-c", "name=a", "path=/jail/www1", "children.max=2", "persist")
    assert machine.run("jail", "-c", "name=a.kid", "path=/jail/www1", "persist").rc == 0
    assert machine.run("jls", "-n", "-j", "a", "children.cur").out == "children.cur=1\n"
    machine.run("jail", "-r", "a")
    assert names(machine) == []


def test_exec_timeout_ends_a_hook(machine: Machine) -> None:
    configure(machine, 'www1 { path = /jail/www1; persist; exec.timeout = 1; exec.start = "/bin/sleep 30"; }')
    assert machine.run("jail", "-c", "www1").err == "jail: www1: /bin/sleep 30: timed out\n"
    assert names(machine) == []


def test_console_log_gets_what_the_start_prints(machine: Machine) -> None:
    text = 'www1 { path = /jail/www1; persist; exec.consolelog = /var/log/www1.log; exec.start = "/bin/echo inside"; }'
    configure(machine, text)
    assert machine.run("jail", "-c", "www1").out == "www1: created\n"
    assert machine.host.path("/var/log/www1.log").read_text() == "inside\n"


def test_exec_clean_hides_the_callers_environment(machine: Machine) -> None:
    configure(machine, 'www1 { path = /jail/www1; persist; exec.clean; exec.start = "env"; }')
    out = machine.run("env", "SSH_CLIENT=192.0.2.1 1 22", "jail", "-c", "www1").out
    assert "HOME=/root" in out and "SSH_CLIENT" not in out


def test_a_thousand_jails_are_listed_in_one_look(machine: Machine) -> None:
    with machine.host.changing() as state:
        for number in range(1000):
            prison.create(state, {"name": f"j{number}", "persist": True}, "14.2-RELEASE")
    assert len(machine.run("jls", "-n").out.splitlines()) == 1000


RC = 'exec.start = "/bin/sh /etc/rc"; exec.stop = "/bin/sh /etc/rc.shutdown"; exec.clean; exec.consolelog = /var/log/c;'


def test_rc_inside_starts_what_the_tree_enables_and_keeps_the_jail(machine: Machine) -> None:
    configure(machine, f"www1 {{ path = /jail/www1; ip4.addr = 192.0.2.10; interface = em0; {RC} }}")
    machine.host.path("/jail/www1/etc/rc.conf").write_text('sshd_enable="YES"\ncron_enable="NO"\n')
    machine.run("jail", "-c", "www1")
    assert names(machine) == ["www1"]
    assert machine.run("jexec", "www1", "service", "sshd", "status").out.startswith("sshd is running as pid")
    assert machine.run("jexec", "www1", "service", "cron", "onestatus").rc == 1
    assert "Starting sshd." in machine.host.path("/var/log/c").read_text()


def test_a_jail_in_which_rc_starts_nothing_is_gone(machine: Machine) -> None:
    configure(machine, f"www1 {{ path = /jail/www1; {RC} }}")
    machine.host.path("/jail/www1/etc/rc.conf").write_text('syslogd_enable="NO"\ncron_enable="NO"\n')
    assert machine.run("jail", "-c", "www1").rc == 0
    assert names(machine) == []


def test_a_daemon_listens_on_the_jails_addresses_alone(machine: Machine) -> None:
    configure(machine, f"www1 {{ path = /jail/www1; ip4.addr = 192.0.2.10; interface = em0; {RC} }}")
    machine.host.path("/jail/www1/etc/rc.conf").write_text('sshd_enable="YES"\n')
    machine.run("jail", "-c", "www1")
    with machine.host.reading() as state:
        mine = {row["local"] for row in state["sockets"] if row.get("jid")}
    assert {"192.0.2.10:22"} <= mine and "*:22" not in mine


def test_what_a_shell_leaves_running_keeps_the_jail_and_ends_with_it(machine: Machine) -> None:
    log = "exec.consolelog = /var/log/c;"
    configure(machine, f"www1 {{ path = /jail/www1; {log} exec.start = \"/bin/sh -c 'sleep 30 & true'\"; }}")
    machine.run("jail", "-c", "www1")
    assert names(machine) == ["www1"]
    with machine.host.reading() as state:
        (process,) = daemons.running(state, 1)
    machine.run("jail", "-r", "www1")
    assert names(machine) == [] and not daemons.alive(process)
