"""Which entries come next on a page of the log, however many there are and whatever they are filtered by.

Only numbers are looked for, in indexes; the rows of one page are read at the end. Each way gives the same entries in
the same order as the filters alone would, and differs only in what has to be read for it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from jails import audittext
from jails.models import AuditEntry
from jails.prepared import Prepared
from panel.tables.audit import DIGEST, AuditFilter

FEW = 100
"""So many entries are looked at one by one rather than searched for in another way."""
ROUNDS = 5
"""Where many hold a text: entries are looked at in so many rounds, four times as many each time."""


class Line(NamedTuple):
    """What the list shows of an entry."""

    sequence: int
    at: datetime
    actor_id: int | None
    actor: str
    on_behalf_of: str
    source: str
    tenant: str
    action: str
    object_name: str
    host: str
    outcome: str
    operation: str


@Prepared
def _lines(numbers: Collection[int]) -> QuerySet[Any]:
    return AuditEntry.objects.filter(sequence__in=numbers).order_by().values_list(*Line._fields)


class Finder:
    def __init__(self, wanted: AuditFilter) -> None:
        self.rows: QuerySet[AuditEntry] = wanted.qs
        self.exact, self.text, self.has_exact = wanted.exact, wanted.text, wanted.has_exact
        self.by_time = wanted.has_days and not wanted.has_exact
        """Days alone: in the order of time, which is that of the numbers but where a clock was set."""
        self.next = next_in_time if self.by_time else next_by_number

    def __call__(self, count: int, *, before: int | None = None, after: int | None = None) -> list[Line]:
        """The newest, those before an entry, or (oldest first) those after one."""
        numbers = self._numbers(count, before, after)
        found = {row[0]: Line._make(row) for row in _lines(numbers)}
        return [found[number] for number in numbers]

    def _numbers(self, count: int, before: int | None, after: int | None) -> list[int]:
        if not self.text or len(self.text) == DIGEST:
            return self.next(self.rows, count, before, after)
        if not audittext.can_find(self.text):
            return self.next(audittext.narrowed(self.rows, self.text), count, before, after)
        below, above = (None, None) if self.by_time else (before, after)
        candidates = audittext.near(self.text, FEW + 1, below=below, above=above)
        if len(candidates) <= FEW:
            return self.next(self.rows.filter(sequence__in=candidates), count, before, after)
        if self.has_exact or self.by_time:
            return self._walk(count, before, after)
        return self._in_windows(candidates, count, before, after)

    def _walk(self, count: int, before: int | None, after: int | None) -> list[int]:
        """Of what the other filters leave, those that hold the text."""
        found: list[int] = []
        size = FEW
        for _ in range(ROUNDS):
            some = self.next(self.exact, size, before, after)
            holding = audittext.holding(self.text, some)
            found += [number for number in some if number in holding]
            if len(found) >= count or len(some) < size:
                return found[:count]
            size *= 4
            before, after = (None, some[-1]) if after is not None else (some[-1], None)
        return found + self.next(self.rows, count - len(found), before, after)

    def _in_windows(self, window: list[int], count: int, before: int | None, after: int | None) -> list[int]:
        """Of what may hold the text, those that do."""
        found: list[int] = []
        size = FEW + 1
        for _ in range(ROUNDS):
            found += self._of_window(window)[: count - len(found)]
            if len(found) == count or len(window) < size:
                return found
            size *= 4
            before, after = (None, window[-1]) if after is not None else (window[-1], None)
            window = audittext.near(self.text, size, below=before, above=after)
        return found + self.next(self.rows, count - len(found), before, after)

    def _of_window(self, window: list[int]) -> list[int]:
        """Those that hold the text and that the reader may see, in the order of the window."""
        holding = audittext.holding(self.text, window)
        if holding and self.exact.query.where:
            holding = set(self.exact.filter(sequence__in=holding).values_list("sequence", flat=True))
        return [number for number in window if number in holding]


def next_in_time(rows: QuerySet[AuditEntry], count: int, before: int | None, after: int | None) -> list[int]:
    edge = before if after is None else after
    at = AuditEntry.objects.filter(sequence=edge).values_list("at", flat=True).first() if edge is not None else None
    if at is None and edge is not None and (after is not None) == (edge > 0):
        return []  # the log has no gaps: it is a number behind its end, or before its beginning
    if at is not None and after is not None:
        rows = rows.filter(Q(at__gt=at) | Q(sequence__gt=after), at__gte=at)
    elif at is not None:
        rows = rows.filter(Q(at__lt=at) | Q(sequence__lt=before), at__lte=at)
    order = ("at", "sequence") if after is not None else ("-at", "-sequence")
    return list(rows.order_by(*order).values_list("sequence", flat=True)[:count])


def next_by_number(rows: QuerySet[AuditEntry], count: int, before: int | None, after: int | None) -> list[int]:
    if after is not None:
        rows = rows.filter(sequence__gt=after)
    elif before is not None:
        rows = rows.filter(sequence__lt=before)
    order = "sequence" if after is not None else "-sequence"
    return list(rows.order_by(order).values_list("sequence", flat=True)[:count])
