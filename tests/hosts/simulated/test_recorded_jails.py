"""Jails, mounts, interfaces and limits of the simulated host against recorded FreeBSD 12.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from .machine import Machine
from .recorded import commands, expected, host_options, replayed

# Answers of other tools than the ones looked at here, or of a tool that says nothing recorded about itself.
STYLES_OF_LIBXO_NOT_MADE = {"--libxo=html"}


@pytest.mark.parametrize("name", ["jails", "mounts", "network", "limits"])
def test_session_replays_equal(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path / "host", **host_options(f"{name}.session"))
    for number, command in enumerate(commands(f"{name}.session")):
        outcome = replayed(machine, command)
        if not command.get("skip"):
            assert outcome == expected(command), f"command {number}: {command['argv']}"


def test_jls_lists_many_jails_as_recorded(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "host", release="12.1-STABLE", directories=["/jails"], minimal=True)
    for name in ("alpha", "beta", "gamma/mnt", "delta"):
        machine.host.path("/jails").joinpath(name).mkdir(parents=True)
    with machine.host.changing() as state:
        state["lastjid"] = 1
    for command in commands("samples/03-jls-one") + commands("samples/03-jls-several"):
        if not STYLES_OF_LIBXO_NOT_MADE & set(command["argv"]):
            assert replayed(machine, command) == expected(command), command["argv"]


def test_rctl_answers_as_recorded(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "host", release="12.1-STABLE", racct=True)
    for command in commands("samples/07-rctl"):
        words = command["argv"]
        # What running processes use differs, and "jail" rules of a jail that never was come in another order.
        if words[0] != "rctl" or "-u" in words or "-hu" in words or "usage:" in command["stderr"]:
            continue
        outcome = replayed(machine, command)
        assert (outcome.rc, sorted(outcome.out.split()), outcome.err) == (
            command["rc"],
            sorted(command["stdout"].split()),
            command["stderr"],
        ), words
