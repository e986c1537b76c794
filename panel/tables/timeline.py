"""What was done with one thing, and by one person: days of entries of the log, newest first.

The log has an index for each way an entry can be about a thing (`parts`), and none for two of them together. So each is
asked by itself, for numbers alone, and the rows of one page are read at the end: as many queries for a million entries
as for ten.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from django.db.models import CharField, Count, Func, Q, QuerySet

from jails.models import AuditEntry, Console, Operation
from panel.tables import audit_values
from panel.tables.audit import OPERATIONS, midnight
from panel.tables.audit_values import Change

Numbers = QuerySet[AuditEntry]
DAY = timedelta(days=1)
QUIET = 3
"""So many days without an entry are told between two that have some."""


@dataclass(frozen=True)
class Thing:
    """What a timeline is of. `kind` and `pk` are as entries have them; `row` is None where it is gone."""

    kind: str
    pk: int
    name: str
    row: Any = None

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.pk}"


def parts(thing: Thing) -> tuple[Q, ...]:
    """The ways an entry can be about it, each of them one for an index."""
    itself = Q(object_type=thing.kind, object_id=str(thing.pk))
    if thing.kind == "host":
        return itself, Q(host=thing.name)
    if thing.kind == "user":
        return itself, Q(actor=thing.name)
    works = Operation.objects.filter(jails=thing.pk).order_by("-created_at").values_list("pk", flat=True)[:OPERATIONS]
    return itself, Q(operation__in=[str(one) for one in works])


class Tally(NamedTuple):
    """How many entries of a day, and how many of these tell of what was not done."""

    entries: int = 0
    not_done: int = 0


@dataclass
class Line:
    """An entry with what is known of it elsewhere and its reader may know: its operation, its console."""

    entry: AuditEntry
    operation: Operation | None = None
    console: Console | None = None

    @property
    def ran(self) -> bool:
        """Whether it is a worker's entry at the end of an operation."""
        return bool(self.entry.operation) and self.entry.source == "worker"

    @property
    def seconds(self) -> Any:
        """How long the console was that it tells the end of."""
        after = self.entry.after
        return after.get("seconds") if self.entry.action == "console.close" and isinstance(after, dict) else None

    @property
    def changes(self) -> list[Change]:
        """What differs by it, where it tells of a change and has no words for it."""
        is_one = self.ran or self.entry.before is not None
        if not is_one or self.entry.action == "jail.drift":
            return []
        return [one for one in audit_values.changes(self.entry) if one.mark != "same"]

    @property
    def marks(self) -> list[tuple[str, str]]:
        """(icon, word) of what a reviewer looks for."""
        entry = self.entry
        approval, found = entry.approval or "", []
        if entry.action.startswith("jail.breakglass") or approval.startswith("break-glass"):
            found.append(("alert-triangle", approval or "break-glass"))
        elif entry.action.startswith("approval.") or approval:
            found.append(("shield-check", f"by {approval}" if approval else "approval"))
        if entry.action == "jail.drift":
            found.append(("file-diff", "drift found"))
        if entry.action.startswith(("console.", "recording.")):
            found.append(("terminal-2", "console"))
        return found


@dataclass
class Day:
    day: date
    tally: Tally
    lines: list[Line]
    quiet: int = 0
    """Days without an entry between this one and what is above it, where they are worth telling."""


@dataclass
class Page:
    days: list[Day]
    newer: int | None = None
    """Entries after this one are on the page before, and so on; None where there is none."""
    older: int | None = None
    lines: list[Line] = field(default_factory=list)


class Timeline:
    """Of one thing, from the entries that its reader may see."""

    def __init__(self, rows: Numbers, thing: Thing) -> None:
        self.rows, self.thing, self.parts = rows.order_by(), thing, parts(thing)

    def page(self, size: int, *, before: int | None = None, after: int | None = None, top: date | None = None) -> Page:
        """The newest, those before an entry, or those after one. top: the day above the page, for what was quiet."""
        numbers = self._numbers(size + 1, before, after)
        has_more, numbers = len(numbers) > size, numbers[:size]
        if after is not None:
            numbers = numbers[::-1]
        found = AuditEntry.objects.in_bulk(numbers)
        page = Page([], lines=[Line(found[number]) for number in numbers])
        if numbers:
            has_newer, has_older = (has_more, True) if after is not None else (before is not None, has_more)
            page.newer, page.older = numbers[0] if has_newer else None, numbers[-1] if has_older else None
            page.days = self._days(page.lines, top)
        return page

    def _numbers(self, count: int, before: int | None, after: int | None) -> list[int]:
        """Of each part the nearest, and of these the nearest."""
        found: set[int] = set()
        for part in self.parts:
            rows = self.rows.filter(part)
            if after is not None:
                rows = rows.filter(sequence__gt=after).order_by("sequence")
            else:
                rows = (rows if before is None else rows.filter(sequence__lt=before)).order_by("-sequence")
            found |= set(rows.values_list("sequence", flat=True)[:count])
        return heapq.nsmallest(count, found) if after is not None else heapq.nlargest(count, found)

    def _days(self, lines: Sequence[Line], top: date | None) -> list[Day]:
        grouped = [(day, list(some)) for day, some in groupby(lines, lambda line: day_of(line.entry))]
        newest, oldest = grouped[0][0], grouped[-1][0]
        # A clock that was set back puts days out of their order: they are counted all the same.
        tallies = self.tallies(min(newest, oldest), max(newest, oldest))
        days, above = [], top
        for day, some in grouped:
            quiet = (above - day).days - 1 if above is not None else 0
            tally = max(tallies.get(day, Tally()), Tally(len(some)))
            days.append(Day(day, tally, some, quiet if quiet >= QUIET else 0))
            above = day
        return days

    def tallies(self, first: date, last: date) -> dict[date, Tally]:
        """Day → tally, of days that have any."""
        since, until = number_at(first), number_at(last + DAY)
        found: dict[date, Tally] = defaultdict(Tally)
        if since is None:
            return found
        for index, part in enumerate(self.parts):
            rows = self.rows.filter(part)
            for other in self.parts[:index]:
                rows = rows.exclude(other)
            rows = (
                rows.filter(sequence__gte=since) if until is None else rows.filter(sequence__range=(since, until - 1))
            )
            by_day = rows.annotate(day=DayOf("at")).values_list("day").order_by()
            counted = by_day.annotate(entries=Count("pk"), not_done=Count("pk", filter=~Q(outcome="done")))
            for day, entries, not_done in counted:
                known = found[date.fromisoformat(day)]
                found[date.fromisoformat(day)] = Tally(known.entries + entries, known.not_done + not_done)
        return found


class DayOf(Func):
    """Of a time its day in UTC, `2026-11-30`, by what the database itself can do with a million of them."""

    output_field = CharField()
    template = "substr(%(expressions)s, 1, 10)"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
        return super().as_sql(compiler, connection, template=template, **context)


def day_of(entry: AuditEntry) -> date:
    return entry.at.astimezone(UTC).date()


def number_at(day: date) -> int | None:
    """The first entry of a day, or of the next one that has any; None behind the last."""
    rows = AuditEntry.objects.filter(at__gte=midnight(day)).order_by("at", "sequence")
    return rows.values_list("sequence", flat=True).first()


def join(lines: Sequence[Line], operations: QuerySet[Operation], consoles: QuerySet[Console]) -> None:
    """Give lines their operations and consoles, of those that the reader may see. Two queries."""
    works = operations.only("pk", "title", "status", "started_at", "finished_at")
    known = {str(pk): row for pk, row in works.in_bulk({line.entry.operation for line in lines} - {""}).items()}
    opened = consoles.only("pk", "opened_at", "ended_at").in_bulk({console_of(line.entry) for line in lines} - {""})
    by_text: Mapping[str, Console] = {str(pk): row for pk, row in opened.items()}
    for line in lines:
        line.operation = known.get(line.entry.operation)
        line.console = by_text.get(console_of(line.entry))


def console_of(entry: AuditEntry) -> str:
    """Its id where the entry is about a console, or a recording of one; else ""."""
    is_about = entry.action.startswith(("console.", "recording.")) and isinstance(entry.after, dict)
    return str(entry.after.get("console", "")) if is_about else ""
