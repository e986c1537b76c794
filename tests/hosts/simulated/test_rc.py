from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.hosts.simulated import rcconf

from .machine import Machine

BOTH = "persist;\nwww1 { path = /jail/www1; }\ndb { path = /jail/db; }\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "host", directories=["/jail", "/jail/www1", "/jail/db", "/etc/jail.conf.d"])
    machine.host.path("/etc/jail.conf").write_text(BOTH)
    return machine


def reboot(machine: Machine) -> list[str]:
    """The jails that run after a boot."""
    argv = [sys.executable, "-m", "jails.hosts.simulated", str(machine.host.directory), "--reboot"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return machine.run("jls", "name").out.split()


def test_service_needs_jail_enable(machine: Machine) -> None:
    outcome = machine.run("service", "jail", "start")
    assert outcome.rc == 0
    assert outcome.out.startswith("Cannot 'start' jail. Set jail_enable to YES in /etc/rc.conf")


def test_service_starts_all_of_jail_conf(machine: Machine) -> None:
    machine.run("sysrc", "jail_enable=YES")
    assert machine.run("service", "jail", "start").out == "Starting jails: www1 db.\n"
    assert machine.run("service", "jail", "stop").out == "Stopping jails: www1 db.\n"


def test_a_start_that_failed_still_exits_zero(machine: Machine) -> None:
    outcome = machine.run("service", "jail", "onestart", "nosuch")
    assert outcome.rc == 0
    assert outcome.out == 'Starting jails: cannot start jail  "nosuch": \njail: "nosuch" not found\n.\n'


def test_the_list_is_the_order_and_the_own_file_alone_counts(machine: Machine) -> None:
    machine.host.path("/etc/jail.conf.d/db.conf").write_text("db { path = /jail/db; persist; securelevel = 2; }\n")
    machine.run("sysrc", "jail_enable=YES", "jail_list=db www1")
    assert machine.run("service", "jail", "start").out == "Starting jails: db www1.\n"
    assert machine.run("jls", "-j", "db", "securelevel").out == "2\n"


def test_what_boots_today_still_boots(machine: Machine) -> None:
    machine.run("sysrc", "jail_enable=YES")
    assert reboot(machine) == ["www1", "db"]
    assert reboot(machine) == ["www1", "db"]


def test_a_first_name_in_jail_list_stops_the_others_from_booting(machine: Machine) -> None:
    machine.run("sysrc", "jail_enable=YES", "jail_list=db")
    assert reboot(machine) == ["db"]


def test_boot_forgets_what_only_the_kernel_knew(machine: Machine) -> None:
    machine.run("jail", "-c", "name=www1", "path=/jail/www1", "ip4.addr=em0|192.0.2.10", "persist")
    machine.run("ifconfig", "bridge", "create")
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    assert reboot(machine) == []
    assert machine.run("ifconfig", "-l").out == "em0 lo0\n"
    assert "192.0.2.10" not in machine.run("ifconfig", "em0").out
    assert "tmpfs" not in machine.run("mount", "-p").out


def test_boot_mounts_fstab_and_datasets_again(machine: Machine) -> None:
    machine.zfs("create -o mountpoint=/data tank/data")
    with open(machine.host.path("/etc/fstab"), "a") as fstab:
        fstab.write("tmpfs /mnt tmpfs rw 0 0\n")
    reboot(machine)
    listed = machine.run("mount", "-p").out
    assert "/data\t" in listed and "/mnt\t" in listed and "tank\t" in listed


def test_boot_makes_cloned_interfaces_and_aliases(machine: Machine) -> None:
    machine.run("sysrc", "cloned_interfaces=lo1", "ifconfig_lo1_alias0=inet 198.51.100.1/32")
    reboot(machine)
    assert "inet 198.51.100.1 netmask 0xffffffff" in machine.run("ifconfig", "lo1").out


def test_sysrc_changes_one_line_and_no_other(machine: Machine) -> None:
    before = '# mine\nsshd_enable="YES"\t# needed\njail_list="a b"\nexport X=1\n'
    machine.host.path("/etc/rc.conf").write_text(before)
    assert machine.run("sysrc", "jail_list+=c").out == "jail_list: a b -> a b c\n"
    assert machine.host.path("/etc/rc.conf").read_text() == before.replace('"a b"', '"a b c"')


def test_sysrc_keeps_a_comment_behind_the_value(machine: Machine) -> None:
    machine.host.path("/etc/rc.conf").write_text('sshd_enable="YES" # needed\n')
    machine.run("sysrc", "sshd_enable=NO")
    assert machine.host.path("/etc/rc.conf").read_text() == 'sshd_enable="NO" # needed\n'


def test_sysrc_removes_and_does_not_know_afterwards(machine: Machine) -> None:
    machine.run("sysrc", "mine=1")
    assert machine.run("sysrc", "-x", "mine").rc == 0
    outcome = machine.run("sysrc", "mine")
    assert (outcome.rc, outcome.err) == (1, "sysrc: unknown variable 'mine'\n")


def test_sysrc_in_another_tree(machine: Machine) -> None:
    machine.host.path("/jail/db").joinpath("etc").mkdir()
    machine.run("sysrc", "-R", "/jail/db", "sshd_enable=YES")
    assert machine.host.path("/jail/db/etc/rc.conf").read_text() == 'sshd_enable="YES"\n'


def test_sysrc_minus_takes_words_away(machine: Machine) -> None:
    machine.run("sysrc", "jail_list=a b c")
    assert machine.run("sysrc", "jail_list-=b").out == "jail_list: a b c -> a c\n"


def test_a_service_is_a_process_with_a_pid_file(machine: Machine) -> None:
    assert machine.run("service", "cron", "onestatus").rc == 1
    machine.run("service", "cron", "onestart")
    pid = machine.host.path("/var/run/cron.pid").read_text().strip()
    assert machine.run("service", "cron", "onestatus").out == f"cron is running as pid {pid}.\n"
    machine.run("service", "cron", "onestop")
    assert machine.run("service", "cron", "onestatus").rc == 1


@given(st.text(st.characters(blacklist_characters='\0\r"\\$`', blacklist_categories=["Cs"]), max_size=40))
def test_what_sysrc_writes_rc_reads(value: str) -> None:
    known: dict[str, str] = {}
    rcconf.parse(rcconf.replaced("", "x", value), known)
    assert known["x"] == value
