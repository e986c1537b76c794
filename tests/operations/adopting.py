"""What tests of adoption look at: all of a simulated host's folder, and jails that somebody made by hand."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

VOLATILE = ("commands.jsonl", "lock", "metadata.lock", "changes", "root/var/run", "root/var/log")
"""Of the simulation: its list of commands and its locks. Of the host: what runs (pids, operations' locks) and logs."""
VOLATILE_STATE = ("lastjid", "lastmount", "lastif", "generation", "space")
"""Counters of what has ever run, and how much room things have been found to take."""


def fingerprint(folder: Path) -> dict[str, tuple[str, str]]:
    """Path → (mode, digest of the content) of everything in a simulated host's folder but what is volatile."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if any(name == one or name.startswith(f"{one}/") for one in VOLATILE):
            continue
        info = path.lstat()
        found[name] = (oct(stat.S_IMODE(info.st_mode)), _content(path, info))
    return found


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in VOLATILE_STATE}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def _content(path: Path, info: os.stat_result) -> str:
    if stat.S_ISLNK(info.st_mode):
        return f"-> {os.readlink(path)}"
    if not stat.S_ISREG(info.st_mode):
        return "folder" if stat.S_ISDIR(info.st_mode) else "other"
    data = path.read_bytes()
    if path.name == "state.json":
        state: dict[str, Any] = json.loads(data)
        data = json.dumps(_lasting(state), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()
