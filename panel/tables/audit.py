"""The log as a list: how it is narrowed, paged and written out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, Protocol

import django_filters
from django import forms
from django.db import connection
from django.db.models import F, Func, Q, QuerySet
from django.http import QueryDict
from django.utils.dateparse import parse_date

from jails import audittext
from jails.models import AuditEntry, Operation
from panel import words
from panel.tables import audit_values
from panel.tables.jails import without

PAGING = ("before", "after")
OUTCOMES = [
    ("done", "Done"),
    ("refused", "Refused"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
    ("stale", "The host had changed"),
    ("stuck", "Needs attention"),
]
OPERATIONS = 500
"""Of a jail's operations so many, the last ones, are in its own log."""
DIGEST = 64
EXACT = ("who", "tenant", "action", "outcome", "host", "operation", "object")
DATE = forms.DateInput(attrs={"type": "date"})


class FilterForm(forms.Form):
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        since, until = data.get("since"), data.get("until")
        if since and until and until < since:
            self.add_error("until", "This day is before the other one.")
        return data


class AuditFilter(django_filters.FilterSet):
    q = django_filters.CharFilter(label="Text", method="search")
    who = django_filters.CharFilter(label="Who", field_name="actor")
    tenant = django_filters.CharFilter(label="Tenant", field_name="tenant")
    action = django_filters.CharFilter(label="Action", field_name="action")
    outcome = django_filters.ChoiceFilter(label="Outcome", choices=OUTCOMES)
    host = django_filters.CharFilter(label="Host", field_name="host")
    since = django_filters.DateFilter(label="From", method="not_before", widget=DATE)
    until = django_filters.DateFilter(label="To", method="not_after", widget=DATE)
    operation = django_filters.UUIDFilter(label="Operation", method="of_operation")
    object = django_filters.CharFilter(label="Object", method="of_object")

    class Meta:
        model = AuditEntry
        form = FilterForm
        fields: list[str] = []

    narrowed = False
    """Whether the rows to filter are those of few tenants already."""
    text = ""
    """What is looked for in the entries themselves; `exact` are the rows that all other filters leave."""
    exact: QuerySet[AuditEntry]

    def filter_queryset(self, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        self.exact = super().filter_queryset(queryset)
        return with_text(self.exact, self.text) if self.text else self.exact

    @property
    def found(self) -> QuerySet[AuditEntry]:
        """All that is left, for what reads all of it."""
        return audittext.narrowed(self.qs, self.text) if self.text and len(self.text) != DIGEST else self.qs

    @property
    def has_exact(self) -> bool:
        """Whether it is narrowed by something that has an index with the newest in front."""
        return self.narrowed or any(self.form.cleaned_data.get(name) for name in EXACT)

    @property
    def has_days(self) -> bool:
        return any(self.form.cleaned_data.get(name) for name in ("since", "until"))

    def search(self, rows: QuerySet[AuditEntry], name: str, text: str) -> QuerySet[AuditEntry]:
        self.text = text
        return rows

    def not_before(self, rows: QuerySet[AuditEntry], name: str, day: date) -> QuerySet[AuditEntry]:
        return self._where_time(rows, moment__gte=midnight(day))

    def not_after(self, rows: QuerySet[AuditEntry], name: str, day: date) -> QuerySet[AuditEntry]:
        return rows if day == date.max else self._where_time(rows, moment__lt=midnight(day + timedelta(days=1)))

    def _where_time(self, rows: QuerySet[AuditEntry], **fields: datetime) -> QuerySet[AuditEntry]:
        """With another filter, the index of times is of no use: SQLite's planner is not asked."""
        hidden = connection.vendor == "sqlite" and self.has_exact
        return rows.alias(moment=Unindexed("at") if hidden else F("at")).filter(**fields)

    def of_object(self, rows: QuerySet[AuditEntry], name: str, text: str) -> QuerySet[AuditEntry]:
        """`host:3`: its kind and its id in the log. Of a jail that is there, also the operations it was part of."""
        kind, _, pk = text.partition(":")
        wanted = Q(object_type=kind, object_id=pk)
        if kind == "jail" and sequence(pk) is not None:
            parts = Operation.objects.filter(jails=int(pk)).order_by("-created_at").values_list("pk", flat=True)
            wanted |= Q(operation__in=[str(one) for one in parts[:OPERATIONS]])
        return rows.filter(wanted)

    def of_operation(self, rows: QuerySet[AuditEntry], name: str, pk: object) -> QuerySet[AuditEntry]:
        return rows.filter(operation=str(pk))


class Unindexed(Func):
    """SQLite uses no index for an expression."""

    template = "+%(expressions)s"
    arity = 1


def with_text(rows: QuerySet[AuditEntry], text: str) -> QuerySet[AuditEntry]:
    """Those that hold the text, in whatever case, or have a plan of that digest."""
    found = Q(actor__icontains=text) | Q(on_behalf_of__icontains=text) | Q(object_name__icontains=text)
    found |= Q(action__icontains=text) | Q(detail__icontains=text)
    return rows.filter(found | Q(plan_digest=text) if len(text) == DIGEST else found)


class Field(NamedTuple):
    """One of the filters as the page shows it. kind: text, date, list (of words to choose from or not), select."""

    name: str
    label: str
    kind: str
    value: str
    errors: list[str]
    choices: list[tuple[str, str]]


def fields(form: forms.Form, query: QueryDict, offered: Mapping[str, Sequence[Any]]) -> list[Field]:
    """Those that one sees, without that of tenants where there are none to choose from."""
    choices = {name: [(one, one) for one in offered[name]] for name in ("who", "host")}
    choices["action"] = [(one, f"{words.of_action(one)} ({one})") for one in offered["action"]]
    choices |= {"tenant": [(one.slug, one.name) for one in offered["tenant"]], "outcome": OUTCOMES}
    return [
        Field(
            name,
            one.label,
            SHOWN[name],
            query.get(name, "") if SHOWN[name] != "date" or _is_day(query.get(name, "")) else "",
            list(form.errors.get(name, ())),
            choices.get(name, []),
        )
        for name, one in AuditFilter.base_filters.items()
        if name in SHOWN and (name != "tenant" or choices["tenant"])
    ]


def _is_day(text: str) -> bool:
    """Whether a field for days can show it."""
    try:
        return parse_date(text) is not None
    except ValueError:
        return False


SHOWN = {
    "q": "text", "who": "list", "tenant": "select", "action": "select", "outcome": "select", "host": "select",
    "since": "date", "until": "date",
}  # fmt: skip
"""Filters to fill in, and how each is asked for; the other ones come with links."""


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def chips(form: forms.Form, query: QueryDict) -> list[dict[str, str]]:
    """The filters in force, in words, each with the address without it."""
    return [
        {"words": f"{field.label}: {_wanted(name, query[name].strip())}", "url": without(query, name, *PAGING)}
        for name, field in form.fields.items()
        if query.get(name, "").strip()
    ]


def _wanted(name: str, value: str) -> str:
    if name == "outcome":
        return dict(OUTCOMES).get(value, value)
    return words.of_action(value) if name == "action" else value


class Pick(Protocol):
    """Rows beside a key, nearest to it first."""

    def __call__(self, count: int, *, before: int | None = None, after: int | None = None) -> list[Any]: ...


def picked(rows: QuerySet[Any], key: str) -> Pick:
    def pick(count: int, *, before: int | None = None, after: int | None = None) -> list[Any]:
        if after is not None:
            return list(rows.filter(**{f"{key}__gt": after}).order_by(key)[:count])
        return list((rows if before is None else rows.filter(**{f"{key}__lt": before})).order_by(f"-{key}")[:count])

    return pick


class Page:
    """A key-set page: the newest rows, those before a key, or those after one. Newest first."""

    def __init__(self, rows: QuerySet[Any] | Pick, query: QueryDict, size: int, key: str = "sequence") -> None:
        before, after = sequence(query.get("before", "")), sequence(query.get("after", ""))
        pick = picked(rows, key) if isinstance(rows, QuerySet) else rows
        if after is not None:
            found = pick(size + 1, after=after)
            self.entries = found[:size][::-1]
            has_newer, has_older = len(found) > size, True
        else:
            found = pick(size + 1, before=before)
            self.entries = found[:size]
            has_newer, has_older = before is not None, len(found) > size
        self.newer = self.older = ""
        if self.entries and has_newer:
            self.newer = without(query, "before", after=str(getattr(self.entries[0], key)))
        if self.entries and has_older:
            self.older = without(query, "after", before=str(getattr(self.entries[-1], key)))


def sequence(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


CSV_HEAD = (
    "sequence", "at", "who", "for", "approval", "from", "tenant", "action", "object type", "object", "object id",
    "host", "outcome", "detail", "before", "after", "plan digest", "operation", "hash", "did", "changed",
)  # fmt: skip
"""The last two say in words, with units, what `action`, `before` and `after` have as the log has it."""


def rows_of(entries: Iterable[AuditEntry], source_of: Callable[[AuditEntry], str]) -> Iterator[tuple[Any, ...]]:
    """One row an entry, times in UTC. source_of: what of an entry's source its reader may see."""
    for entry in entries:
        yield _cells(entry, source_of(entry))


def _cells(entry: AuditEntry, source: str) -> tuple[Any, ...]:
    return (
        entry.sequence,
        entry.at.isoformat(timespec="seconds"),
        entry.actor,
        entry.on_behalf_of,
        entry.approval or "",
        source,
        entry.tenant,
        entry.action,
        entry.object_type,
        entry.object_name,
        entry.object_id,
        entry.host,
        entry.outcome,
        entry.detail,
        as_text(entry.before),
        as_text(entry.after),
        entry.plan_digest,
        entry.operation,
        entry.hash,
        words.did(entry),
        "; ".join(_in_words(change) for change in audit_values.changes(entry) if change.mark != "same"),
    )


def _in_words(change: audit_values.Change) -> str:
    """`Disk of www1: 1 GiB → 2 GiB`."""
    what = f"{change.label} of {change.of}" if change.of else change.label
    if change.mark == "changed":
        return f"{what}: {change.said_before} → {change.said_after}"
    if change.mark == "removed":
        return f"{what}: no more {change.said_before}"
    return f"{what}: {change.said_after}"


def as_text(value: Any) -> str:
    """A value from before or after: text as it is, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def changes(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """(name, before, after) of each thing the entry tells of; the name is "" where it is one value."""
    before, after = entry.before, entry.after
    if before is None and after is None:
        return []
    if not isinstance(before or {}, dict) or not isinstance(after or {}, dict):
        return [("", as_text(before), as_text(after))]
    before, after = before or {}, after or {}
    return [(key, as_text(before.get(key)), as_text(after.get(key))) for key in sorted({*before, *after})]
