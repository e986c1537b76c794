"""The end of a log file of a running jail, or of its lines that have some text in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jails.freebsd import logs
from jails.looks import kind as base
from jails.looks.kind import RESULT, Place, Refused
from jails.operations.transcript import safe


class Kind(base.Kind):
    """{"lines": text, the newest last, "cut": whether there are more before them}."""

    name = "log"
    action = "inside.read"
    needs_running = True
    is_read = True
    fresh = timedelta(seconds=2)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        path, text = str(parameters.get("path", "")), str(parameters.get("text", ""))
        if problem := logs.path_error(path):
            raise Refused(f"A log {problem}")
        if problem := logs.text_error(text):
            raise Refused(f"What is searched for {problem}")
        return {"path": path, "text": text}

    def detail(self, parameters: Mapping[str, Any]) -> str:
        return str(parameters["path"])

    def look(self, place: Place, parameters: Mapping[str, Any]) -> dict[str, Any]:
        argv = logs.read(parameters["path"], parameters["text"])
        result = place.inside(argv, limit=logs.LINES * (logs.WIDTH + 1))
        if result.rc == logs.GONE:
            raise Refused(f"There is no file {parameters['path']} any more.")
        if result.rc and not result.stdout and result.stderr:
            raise Refused(f"It cannot be read: {safe(result.stderr.decode('utf-8', 'replace')).strip()[:200]}")
        lines = [safe(line) for line in result.text.split("\n")]
        if lines[-1] == "":
            lines.pop()
        kept = _newest(lines)
        return {"lines": kept, "cut": len(lines) >= logs.LINES or len(kept) < len(lines)}


def _newest(lines: list[str]) -> list[str]:
    """As many from the end as can be kept."""
    kept: list[str] = []
    room = RESULT - 2000
    for line in reversed(lines):
        room -= (
            len(line)
            + 4
            + 5 * sum(not "\x1f" < letter < "\x7f" for letter in line)
            + line.count('"')
            + line.count("\\")
        )
        if room < 0:
            break
        kept.append(line)
    return kept[::-1]


kind = Kind()
