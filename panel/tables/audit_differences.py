"""What differs between two moments, put together from what entries of the log say was before and after.

Entries say what they were told: an operation's names its plan and no values. So what is found here did change; what is
not found may have changed too, by an entry that has no values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jails.models import AuditEntry
from panel.tables.audit import as_text

UNKNOWN = object()
"""What no entry has told: in none of them was this named as what was before, or came after."""


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
        is_about = (entry.object_type, entry.object_id) == (kind, pk)
        if not is_about or (entry.before is None and entry.after is None):
            silent.append(entry)
            continue
        for name, before, after in _values(entry):
            seen = known.setdefault(name, Difference(name, before, after))
            seen.last = after
            seen.entries.append(entry)
    rows = sorted(known.values(), key=lambda row: row.name)
    return Differences([row for row in rows if not row.is_back], [row for row in rows if row.is_back], silent)


def _values(entry: AuditEntry) -> list[tuple[str, Any, Any]]:
    before, after = entry.before, entry.after
    if not isinstance(before or {}, dict) or not isinstance(after or {}, dict):
        return [("", UNKNOWN if before is None else before, UNKNOWN if after is None else after)]
    before, after = before or {}, after or {}
    return [(name, before.get(name, UNKNOWN), after.get(name, UNKNOWN)) for name in {**before, **after}]
