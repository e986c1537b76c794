"""login.conf(5): the locale of the class `default`, which everybody has who has no other, root included."""

from __future__ import annotations

import re

from jails.freebsd.command import Argv

PATH = "/etc/login.conf"
REBUILD: Argv = ("cap_mkdb", PATH)
"""login(1) reads the database that this makes of the file, not the file."""

_RECORD = re.compile(r"^default:\\?\n(?:[ \t].*\\\n)*(?:[ \t].*\n?)?", re.MULTILINE)


def capabilities(text: str) -> dict[str, str]:
    """Of the class `default`: name → value. Empty where the file has no such class."""
    record = _RECORD.search(text)
    if record is None:
        return {}
    fields = record[0].replace("\\\n", "").split(":")[1:]
    found: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.strip().partition("=")
        if name and equals:
            found.setdefault(name, value)
    return found


def is_utf8(text: str) -> bool:
    """Whether `charset` or `lang` of the class `default` says UTF-8."""
    found = capabilities(text)
    return found.get("charset", "").upper() == "UTF-8" or found.get("lang", "").upper().endswith("UTF-8")


def with_utf8(text: str) -> str:
    """The class `default` with charset UTF-8 and the language C.UTF-8. ValueError where there is no such class.

    The first of two entries of a name counts (getcap(3)), so that what was there may stay.
    """
    head = re.search(r"^default:\\\n", text, re.MULTILINE)
    if head is None:
        raise ValueError(f"{PATH}: no class “default” of several lines; add :charset=UTF-8:lang=C.UTF-8: to it by hand")
    return f"{text[: head.end()]}\t:charset=UTF-8:\\\n\t:lang=C.UTF-8:\\\n{text[head.end() :]}"
