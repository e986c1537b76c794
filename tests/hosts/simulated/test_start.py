"""A command of the simulated host starts as fast as its interpreter: it loads what it needs and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .machine import Machine

SLOW = {
    "ast",
    "bz2",
    "dataclasses",
    "hashlib",
    "inspect",
    "lzma",
    "random",
    "shutil",
    "socket",
    "subprocess",
    "tarfile",
    "tempfile",
    "traceback",
    "urllib.request",
}


def loaded(machine: Machine, *argv: str) -> set[str]:
    words = [sys.executable, "-X", "importtime", "-S", "-m", "jails.hosts.simulated", str(machine.host.directory), "--"]
    ran = subprocess.run([*words, *argv], capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}


COMMANDS = (
    "true|jls|zfs list|ifconfig -a|sysrc -n sshd_enable|mount|cat /etc/rc.conf|sh -c true"
    "|service sshd status|ls /|rctl|jail -c name=a path=/ persist"
)


@pytest.mark.parametrize("text", COMMANDS.split("|"))
def test_a_command_loads_no_more_than_it_needs(tmp_path, text: str) -> None:
    modules = loaded(Machine(tmp_path / "host", racct=True), *text.split())
    assert "jails.hosts.simulated.process" in modules
    assert modules & SLOW == set()
    tools = {name for name in modules if name.startswith("jails.hosts.simulated.tools.")}
    assert len(tools) < 16, tools


def test_a_batch_runs_in_one_process(tmp_path) -> None:
    machine = Machine(tmp_path / "host")
    words = [sys.executable, "-S", "-m", "jails.hosts.simulated", str(machine.host.directory), "--", "sh", "-c"]
    text = "echo $$; sh -c 'echo $$'; (echo $$); jls | cat; zfs list | sh -c 'cat >/dev/null; echo $$'"
    ran = subprocess.run([*words, text], capture_output=True, text=True, check=True)
    own = {line for line in ran.stdout.split() if line.isdigit()}
    assert len(own) == 1
