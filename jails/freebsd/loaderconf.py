"""loader.conf(5): what the loader sets before the kernel starts, and one variable of it changed."""

from __future__ import annotations

import re

PATH = "/boot/loader.conf"
LOCAL = "/boot/loader.conf.local"
"""Read after PATH; so is what is in /boot/loader.conf.d, in between."""

_LINE = re.compile(
    r"\s*(?P<name>[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(?:\"(?P<quoted>[^\"]*)\"|(?P<plain>[^\s#\"]+))\s*(?:#.*)?"
)
_VALUE = re.compile(r"[A-Za-z0-9_./:,-]+")


def values(text: str) -> dict[str, str]:
    """Variables as they are at the end of the file. A line that the loader would not take is passed over."""
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            found[match["name"]] = match["quoted"] if match["quoted"] is not None else match["plain"]
    return found


def with_value(text: str, name: str, value: str) -> str:
    """The file with this variable set: its last line changed, or one added at the end. ValueError for odd text."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name) or not _VALUE.fullmatch(value):
        raise ValueError(f"loader.conf: {name}={value!r} is not a plain variable and value")
    new = f'{name}="{value}"'
    lines = text.split("\n")
    places = [number for number, line in enumerate(lines) if (m := _LINE.fullmatch(line)) and m["name"] == name]
    if places:
        lines[places[-1]] = new
        return "\n".join(lines)
    ended = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{ended}{new}\n"
