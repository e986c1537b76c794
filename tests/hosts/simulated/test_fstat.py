"""fstat -f: who keeps a file system from being unmounted."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from jails.freebsd import fstat

from .machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "host", directories=["/jail", "/jail/www1"])
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/jail/www1")
    return machine


def test_nobody(machine: Machine) -> None:
    outcome = machine.run("fstat", "-f", "/jail/www1")
    assert outcome.rc == 0 and outcome.out.startswith("USER     CMD          PID   FD MOUNT")
    assert fstat.parse(outcome.out.encode(), "/jail/www1") == ()


def test_a_shell_that_stands_in_it(machine: Machine) -> None:
    argv = [sys.executable, "-S", "-m", "jails.hosts.simulated", str(machine.host.directory), "--", "sh", "-c"]
    shell = subprocess.Popen([*argv, "cd /jail/www1; echo there; sleep 60"], stdout=subprocess.PIPE)
    try:
        assert shell.stdout is not None and shell.stdout.readline() == b"there\n"
        (holder,) = fstat.parse(machine.run("fstat", "-f", "/jail/www1").out.encode(), "/jail/www1")
        assert (holder.user, holder.command) == ("root", "sh")
        assert machine.run("umount", "/jail/www1").err == "umount: unmount of /jail/www1 failed: Device busy\n"
    finally:
        shell.kill()
        shell.wait()
    for _ in range(100):
        if machine.run("umount", "/jail/www1").rc == 0:
            return
        time.sleep(0.05)
    raise AssertionError("still busy")


def test_what_is_not_there(machine: Machine) -> None:
    assert machine.run("fstat", "-f", "/nosuch") == (1, "", "fstat: /nosuch: No such file or directory\n")
    assert machine.run("fstat", "-x").rc == 1
