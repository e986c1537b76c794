"""Every transcript of a session of a real 12.1, run again: no command differs once the masked parts are masked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jails.hosts.simulated import clock, replay

SESSIONS = sorted((Path(__file__).parents[2] / "transcripts").glob("*.session.json"))


@pytest.mark.parametrize("file", SESSIONS, ids=lambda file: file.name.partition(".")[0])
def test_nothing_differs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_still", None)
    transcript = json.loads(file.read_text())
    ran = replay.replay(transcript, tmp_path / "host")
    assert len(ran) == len(transcript["commands"])
    assert replay.differences(transcript, ran) == []


def test_replayed_from_the_command_line(tmp_path: Path) -> None:
    recorded: dict[str, Any] = json.loads(SESSIONS[0].read_text())
    recorded["commands"] = [
        {
            "argv": ["sh", "-c", "cat; echo more >&2; exit 3"],
            "stdin": "text\n",
            "rc": 3,
            "stdout": "text\n",
            "stderr": "",
        },
        {"argv": ["nosuch"], "rc": 127, "stdout": "", "stderr": "nosuch: No such file or directory\n"},
    ]
    file = tmp_path / "short.session.json"
    file.write_text(json.dumps(recorded))
    as_json = replayed(file, "--json")
    assert as_json.returncode == 0
    assert json.loads(as_json.stdout) == {
        "commands": [
            {"argv": recorded["commands"][0]["argv"], "rc": 3, "stdout": "text\n", "stderr": "more\n"},
            {"argv": ["nosuch"], "rc": 127, "stdout": "", "stderr": "nosuch: No such file or directory\n"},
        ]
    }
    told = replayed(file)
    assert told.returncode == 1
    assert told.stdout.startswith("0: sh -c cat; echo more >&2; exit 3\n  stderr: expected ''")
    assert told.stdout.endswith("1 of 2 commands differ\n")


def replayed(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jails.hosts.simulated", "--replay", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", [name for name, _ in replay.MASKS])
def test_masks_hide_what_they_are_named_for(name: str) -> None:
    pairs = {
        "uuid": ("83cda4c6-0000-11ef-9ee4-0cc47ad8b808", "03cda4c6-0000-11ef-9ee4-0cc47ad8b80f"),
        "time": ("Mon Nov 24 13:02:26 2025", "Tue Dec  2 01:00:00 2025"),
        "minute": ("Mon Nov 24 13:02 2025", "Tue Dec  2  1:00 2025"),
        "date": ("2025-11-24.13:02:26", "2024-01-02.03:04:05"),
        "ether": ("58:9c:fc:00:11:22", "02:00:00:00:00:0b"),
        "link local": ("fe80::5a9c:fcff:fe00:1122", "fe80::1"),
        "guid": ("1234567890123456789", "12345678901234567890"),
        "epoch": ("1732453346", "1766666666"),
    }
    one, other = pairs[name]
    record = {"argv": ["x"], "rc": 0, "stdout": f"a {one} b\n", "stderr": ""}
    assert replay.differences({"commands": [record]}, [record | {"stdout": f"a {other} b\n"}]) == []
    assert replay.differences({"commands": [record]}, [record | {"stdout": f"a {other} c\n"}])


def test_a_transcript_may_leave_out_what_is_usual(tmp_path: Path) -> None:
    """No host, no stdin, odd words: one document, an answer for each command, the time limit kept."""
    file = tmp_path / "bare.json"
    commands = [{"argv": words} for words in (["uname", "-r"], [], ["cat"], ["/etc"], ["sysctl", "-n", "hw.ncpu"])]
    file.write_text(json.dumps({"commands": commands, "host": {"pools": ["tank"], "features": None, "more": 1}}))
    told = replayed(file, "--json")
    assert told.stderr == ""
    assert [(one["rc"], one["stdout"]) for one in json.loads(told.stdout)["commands"]] == [
        (0, "12.1-STABLE\n"),
        (127, ""),
        (0, ""),
        (127, ""),
        (0, "2\n"),
    ]


def test_a_file_that_is_no_transcript(tmp_path: Path) -> None:
    file = tmp_path / "none.json"
    file.write_text('{"commands": [{"argv": "uname"}]}')
    told = replayed(file, "--json")
    assert (told.returncode, told.stdout) == (2, "")
    assert "expected" in told.stderr


def test_a_command_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PATIENCE", 0.5)
    monkeypatch.setattr(clock, "_still", None)
    loop = {"argv": ["sh", "-c", "while :; do :; done"], "stdin": ""}
    after = {"argv": ["echo", "on"], "stdin": ""}
    ran = replay.replay({"host": {}, "commands": [loop, after]}, tmp_path / "host")
    assert [(one["rc"], one["stdout"], one["stderr"]) for one in ran] == [(None, "", "TIMEOUT "), (0, "on\n", "")]
