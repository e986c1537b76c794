"""What entries of the log say was before and after, in words and with units.

The log, and what is taken out of it, keeps values as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jails.models import AuditEntry
from jails.plans import size

UNKNOWN = object()
"""What no entry has told: in none of them was this named as what was before, or came after."""
DEPTH = 4
"""So deep are values told one by one; what is deeper is JSON."""
BYTES = frozenset({"quota", "disk", "memory", "bytes", "used", "reserve", "size"})
PER_CENT = frozenset({"cpu"})
SECONDS = frozenset({"seconds"})
LABELS = {
    "": "Value",
    "all_jails": "Rights on all jails",
    "any_host": "All hosts",
    "any_network": "All networks",
    "any_release": "All releases",
    "any_template": "All templates",
    "boot": "Starts with the host",
    "children_max": "Jails inside",
    "cidr": "Network",
    "cpu": "CPU",
    "drift": "Not as wanted",
    "ended": "Ended",
    "enforce_statfs": "Sees mounts",
    "host_key": "Host key",
    "hostname": "Host name",
    "jail_root": "Folder of jails",
    "keys": "SSH keys",
    "links_withdrawn": "Links withdrawn",
    "quota": "Disk",
    "recording_sha256": "SHA-256 of the recording",
    "command_sha256": "SHA-256 of the command",
    "sessions_ended": "Sessions ended",
    "tenant_role": "Role in the team",
    "username": "User name",
    "widens": "Widens the jail by",
}
WORDS: Mapping[tuple[str, Any], str] = {
    ("securelevel", -1): "that of the host",
    ("enforce_statfs", 0): "all of the host",
    ("enforce_statfs", 1): "below its root",
    ("enforce_statfs", 2): "only its root",
    ("children_max", 0): "none",
}
NO_LIMIT = frozenset({*BYTES, *PER_CENT, "processes", "jails", "addresses", "snapshots"})
"""Of these no value is no limit."""
THING = re.compile(r"[a-z]+:[0-9]+")
"""The key under which an operation's entry tells of one of its jails."""


@dataclass(frozen=True)
class Change:
    """One thing that an entry tells of. `of`: the jail it is of, where the entry is about several things."""

    name: str
    before: Any
    after: Any
    of: str = ""

    @property
    def label(self) -> str:
        return label(self.name)

    @property
    def said_before(self) -> str:
        return "" if self.before is UNKNOWN else said(self.name, self.before)

    @property
    def said_after(self) -> str:
        return "" if self.after is UNKNOWN else said(self.name, self.after)

    @property
    def mark(self) -> str:
        return mark(self.before, self.after)


def mark(before: Any, after: Any) -> str:
    """`added`, `removed`, `changed` or `same`: what is not named, or empty, is not there."""
    if _is_empty(before):
        return "same" if _is_empty(after) else "added"
    if _is_empty(after):
        return "removed"
    return "same" if before == after else "changed"


def _is_empty(value: Any) -> bool:
    return value is UNKNOWN or value is None or value in ("", [], {})


def label(name: str) -> str:
    """`limits.children_max` → `Limits: Jails inside`."""
    words = (LABELS.get(part, part.replace("_", " ")) for part in name.split("."))
    text = ": ".join(words)
    return text[:1].upper() + text[1:]


def said(name: str, value: Any) -> str:
    """A value in words; whatever it is, it is text."""
    key = name.rpartition(".")[2]
    if isinstance(value, (str, int)) and (key, value) in WORDS and not isinstance(value, bool):
        return WORDS[key, value]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "no limit" if key in NO_LIMIT else "none"
    if isinstance(value, int):
        return _number(key, value)
    if isinstance(value, list):
        return ", ".join(said(key, one) for one in value) or "none"
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value) or "none"


def _number(key: str, value: int) -> str:
    if key in BYTES and value >= 0:
        return size(value)
    if key in PER_CENT:
        return f"{value} %"
    return f"{value} s" if key in SECONDS else str(value)


def pairs(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, before, after) of each thing that two sides tell of, those within others by names with points."""
    if not isinstance(before or {}, dict) or not isinstance(after or {}, dict):
        yield "", UNKNOWN if before is None else before, UNKNOWN if after is None else after
        return
    yield from _within("", before or {}, after or {}, DEPTH)


def _within(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any], depth: int
) -> Iterator[tuple[str, Any, Any]]:
    for name in {**before, **after}:
        old, new = before.get(name, UNKNOWN), after.get(name, UNKNOWN)
        at = f"{path}.{name}" if path else name
        has_more = any(isinstance(one, dict) and one for one in (old, new))
        if has_more and depth and all(isinstance(one, dict) or _is_empty(one) for one in (old, new)):
            yield from _within(
                at, old if isinstance(old, dict) else {}, new if isinstance(new, dict) else {}, depth - 1
            )
        else:
            yield at, old, new


def things(entry: AuditEntry) -> dict[str, tuple[Any, Any]]:
    """`jail:3` → what the entry of an operation says of it, before and after; of another entry nothing."""
    sides = [side if isinstance(side, dict) else {} for side in (entry.before, entry.after)]
    keys = [key for key in {**sides[0], **sides[1]} if THING.fullmatch(key)] if entry.operation else []
    return {
        key: (sides[0].get(key), sides[1].get(key))
        for key in sorted(keys)
        if all(isinstance(side.get(key, {}), dict) for side in sides)
    }


def changes(entry: AuditEntry) -> list[Change]:
    """What an entry tells, thing by thing."""
    found, parts = [], things(entry)
    for before, after in parts.values():
        name = str((after or before or {}).get("name", ""))
        told = [Change(key, old, new, name) for key, old, new in pairs(before, after)]
        found += [one for one in told if one.name != "name" or one.mark == "changed"] or told
    before, after = (_without(side, parts) for side in (entry.before, entry.after))
    if before is not None or after is not None:
        rest = [Change(key, old, new) for key, old, new in pairs(before, after)]
        found += sorted(rest, key=lambda one: one.name)
    return found


def _without(side: Any, keys: Mapping[str, Any]) -> Any:
    if not isinstance(side, dict) or not keys:
        return side
    return {name: value for name, value in side.items() if name not in keys} or None
