"""Recorded output of FreeBSD 12.1."""

import json
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "transcripts" / "samples"


@cache
def _commands(file):
    return json.loads((FOLDER / file).read_text())


def outputs(file, *argv):
    """What each run of exactly this command printed, as bytes."""
    found = [command["stdout"].encode() for command in _commands(file) if tuple(command["argv"]) == argv]
    assert found, f"{file} has no {' '.join(argv)}"
    return found
