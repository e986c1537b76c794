"""Sessions written by hand from the sources of 12.1: what a recording of these commands must show.

A file of written/ is read line by line: `# ...` names the source of what follows, `$ words` a command (as sh(1) would
split them), `< text` a line of its standard input, `2> text` one of its standard error, `= N` a status other than 0,
`> text` one of its standard output; blank lines count for nothing.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from jails.hosts.simulated import clock, replay

HERE = Path(__file__).parent / "written"
HOST = json.loads((Path(__file__).parents[2] / "transcripts" / "jails.session.json").read_text())["host"]
STREAMS = {"> ": "stdout", "2> ": "stderr", "< ": "stdin"}


def commands(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("$ "):
            found.append({"argv": shlex.split(line[2:]), "rc": 0, "stdin": "", "stdout": "", "stderr": ""})
        elif line.startswith("= "):
            found[-1]["rc"] = int(line[2:])
        else:
            mark = next(mark for mark in STREAMS if (line + " ").startswith(mark))
            found[-1][STREAMS[mark]] += line[len(mark) :] + "\n"
    return found


@pytest.mark.parametrize("file", sorted(HERE.glob("*.txt")), ids=lambda file: file.stem)
def test_nothing_differs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_still", None)
    transcript = {"host": HOST, "commands": commands(file.read_text())}
    assert len(transcript["commands"]) > 5
    ran = replay.replay(transcript, tmp_path / "host")
    assert replay.differences(transcript, ran) == []
