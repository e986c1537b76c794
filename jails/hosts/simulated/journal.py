"""DIR/commands.jsonl: one line when a tool starts and one when it ends.

A start is `{"id", "exec", "argv", "start", "jid"}` (`exec` is the same for all processes of one exec request; a
subshell has `"subshell": true` and argv `["sh"]`; `"replaces": true` is a program that sh's `exec` put in its own
place: no further process), an end `{"id", "end", "rc"}`. A tool that was killed has no end.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

NAME = "commands.jsonl"


def write(directory: Path, line: dict[str, Any]) -> None:
    data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    file = os.open(directory / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)


def start(
    directory: Path, exec_id: str, argv: list[str], jid: int, *, subshell: bool = False, replaces: bool = False
) -> str:
    number = os.urandom(6).hex()
    line: dict[str, Any] = {"id": number, "exec": exec_id, "argv": argv, "start": time.time(), "jid": jid}
    if subshell:
        line["subshell"] = True
    if replaces:
        line["replaces"] = True
    write(directory, line)
    return number


def end(directory: Path, number: str, rc: int) -> None:
    write(directory, {"id": number, "end": time.time(), "rc": rc})


def read(directory: Path) -> list[dict[str, Any]]:
    """All processes in order of their start, start and end joined; `end` and `rc` are missing where it was killed."""
    found: dict[str, dict[str, Any]] = {}
    try:
        text = (directory / NAME).read_text()
    except FileNotFoundError:
        return []
    for line in text.splitlines():
        entry = json.loads(line)
        found.setdefault(entry.pop("id"), {}).update(entry)
    return [entry for entry in found.values() if "argv" in entry]


def clear(directory: Path) -> None:
    (directory / NAME).unlink(missing_ok=True)
