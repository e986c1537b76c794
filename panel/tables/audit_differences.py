"""What differs between two moments, put together from what entries of the log say was before and after.

Entries say what they were told: an operation's names its plan and no values. So what is found here did change; what is
not found may have changed too, by an entry that has no values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jails.models import AuditEntry
from panel.tables import audit_values
from panel.tables.audit import as_text
from panel.tables.audit_values import EVENTS, UNKNOWN, pairs, things


@dataclass
class Difference:
    """Of one name in before and after: its first value, its last one, and the entries that tell of it."""

    name: str
    first: Any
    last: Any
    entries: list[AuditEntry] = field(default_factory=list)

    @property
    def is_back(self) -> bool:
        return self.first is not UNKNOWN and self.first == self.last

    @property
    def before(self) -> str | None:
        return None if self.first is UNKNOWN else as_text(self.first)

    @property
    def after(self) -> str | None:
        return None if self.last is UNKNOWN else as_text(self.last)

    @property
    def label(self) -> str:
        return audit_values.label(self.name, self.newest.action)

    @property
    def said_before(self) -> str | None:
        return None if self.first is UNKNOWN else audit_values.said(self.name, self.first, self.newest.action)

    @property
    def said_after(self) -> str | None:
        return None if self.last is UNKNOWN else audit_values.said(self.name, self.last, self.newest.action)

    @property
    def mark(self) -> str:
        return audit_values.mark(self.first, self.last)

    @property
    def newest(self) -> AuditEntry:
        return self.entries[-1]


@dataclass
class Differences:
    found: list[Difference]
    back: list[Difference]
    """What was changed, and changed back."""
    silent: list[AuditEntry]
    """Done in this time, and no entry says what was before or after."""


def between(entries: Iterable[AuditEntry], kind: str, pk: str) -> Differences:
    """Of one thing, from entries oldest first. What was refused or failed has changed nothing that it tells of."""
    known: dict[str, Difference] = {}
    silent: list[AuditEntry] = []
    for entry in entries:
        if entry.outcome != "done":
            continue
        sides = _sides(entry, kind, pk)
        if sides == (None, None):
            silent.append(entry)
            continue
        for name, before, after in pairs(*sides):
            if before == after:
                continue
            seen = known.setdefault(name, Difference(name, before, after))
            seen.last = after
            seen.entries.append(entry)
    rows = sorted(known.values(), key=lambda row: row.name)
    return Differences([row for row in rows if not row.is_back], [row for row in rows if row.is_back], silent)


def _sides(entry: AuditEntry, kind: str, pk: str) -> tuple[Any, Any]:
    """What an entry says of the thing: all it says where it is about it, or the part that an operation's has of it."""
    if entry.action.startswith(EVENTS) or entry.action.endswith("export"):
        return None, None
    if (entry.object_type, entry.object_id) == (kind, pk):
        return entry.before, entry.after
    before, after = things(entry).get(f"{kind}:{pk}", (None, None))
    # Named in both, so that a reader of the entry knows the jail.
    same = (before or {}).get("name") == (after or {}).get("name")
    return tuple(
        {k: v for k, v in side.items() if k != "name" or not same} if side else side for side in (before, after)
    )
