"""What a real FreeBSD host said, replayed on a simulated one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .machine import Machine, Outcome

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"


def commands(name: str) -> list[dict[str, Any]]:
    """The commands of tests/transcripts/NAME.json, a session or a list of samples."""
    found = json.loads((TRANSCRIPTS / f"{name}.json").read_text())
    return list(found["commands"] if isinstance(found, dict) else found)


def host_options(name: str) -> dict[str, Any]:
    """`host` of a session as options of Machine."""
    host = json.loads((TRANSCRIPTS / f"{name}.json").read_text())["host"]
    return {
        "release": host["release"],
        "hostname": host["hostname"],
        "interfaces": host["interfaces"],
        "directories": host["directories"],
        "devices": {pool: one["device"] for pool, one in host["pools"].items()},
        "ncpu": host["ncpu"],
        "memory": host["memory"],
        "racct": host["features"]["racct"],
        "minimal": True,
    }


def without_macs(text: str) -> str:
    """MAC addresses differ from run to run."""
    return re.sub(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", "MAC", text)


def expected(command: dict[str, Any]) -> Outcome:
    return Outcome(command["rc"], without_macs(command["stdout"]), without_macs(command["stderr"]))


def replayed(machine: Machine, command: dict[str, Any]) -> Outcome:
    outcome = machine.run(*command["argv"], stdin=(command["stdin"] or "").encode())
    return Outcome(outcome.rc, without_macs(outcome.out), without_macs(outcome.err))
