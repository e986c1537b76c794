"""Pages of a list that go on from a row, not from a number: what comes and goes meanwhile is neither skipped nor twice.

A place in the address (`after`, `before`) is what its row is sorted by. One that makes no sense is the first page.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Field, IntegerField, Model, Q, QuerySet
from django.db.models.expressions import F, OrderBy
from django.http import QueryDict
from django.utils.timezone import is_aware

from panel.tables.jails import PLACES, without

Row = TypeVar("Row", bound=Model)
PLACE_MAX = 2000
"""Characters of a place in an address."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """`start`, `end`: numbers of its first and last row, from 1, among `count`.

    `previous`, `next`: query strings of the pages beside it, "" at the ends. `here`: its own.
    """

    rows: list[Row]
    count: int
    start: int
    previous: str
    next: str
    here: str

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def end(self) -> int:
        return self.start + len(self.rows) - 1


@dataclass(frozen=True)
class _Key:
    """One of what rows are sorted by. None stands behind all upwards and before all downwards, on each database."""

    name: str
    field: Field[Any, Any]
    down: bool
    may_be_none: bool

    def order(self, backwards: bool) -> str | OrderBy:
        down = self.down != backwards
        if not self.may_be_none:
            return f"-{self.name}" if down else self.name
        return F(self.name).desc(nulls_first=True) if down else F(self.name).asc(nulls_last=True)

    def beyond(self, value: Any, backwards: bool) -> Q:
        down = self.down != backwards
        is_none = Q(**{f"{self.name}__isnull": True})
        if value is None:
            return ~is_none if down else Q(pk__in=[])
        found = Q(**{f"{self.name}__{'lt' if down else 'gt'}": value})
        return found | is_none if self.may_be_none and not down else found

    def not_before(self, value: Any, backwards: bool) -> Q:
        return Q(**{f"{self.name}__{'lte' if self.down != backwards else 'gte'}": value})

    def same(self, value: Any) -> Q:
        return Q(**{f"{self.name}__isnull": True}) if value is None else Q(**{self.name: value})

    def of(self, row: Model) -> Any:
        value: Any = row
        for part in self.name.split("__"):
            value = getattr(value, part) if value is not None else None
        return value

    def read(self, value: Any) -> Any:
        """What a place says of it. Raises ValueError, ValidationError or OverflowError."""
        if value is None and self.may_be_none:
            return None
        number = isinstance(self.field, IntegerField)
        if type(value) is not (int if number else str) or (number and not -(2**63) <= value < 2**63):
            raise ValueError
        if isinstance(value, str):
            value.encode()
            if "\0" in value:
                raise ValueError
        found = self.field.to_python(value)
        if isinstance(found, datetime):
            if not is_aware(found):
                raise ValueError
            return found.astimezone(UTC)
        return found


def page(rows: QuerySet[Row], query: QueryDict, size: int) -> Page[Row]:
    """That page of sorted rows which the address asks for, with three queries for one or a hundred thousand.

    Rows are told apart by their primary key where all else that they are sorted by is the same. One behind the last
    row is the last page, one before the first is the first.
    """
    keys = _keys(rows)
    count = rows.count()
    after, before = _place(query.get("after", ""), keys), _place(query.get("before", ""), keys)
    found: list[Row] = []
    if after is not None:
        found = _some(rows.filter(_beyond(keys, after, backwards=False)), keys, size)
        found = found or _some(rows, keys, size, backwards=True)
    elif before is not None:
        found = _some(rows.filter(_beyond(keys, before, backwards=True)), keys, size, backwards=True)
    start = 1
    if after is None and len(found) < size:
        found = _some(rows, keys, size)
    elif found:
        start += rows.filter(_beyond(keys, [key.of(found[0]) for key in keys], backwards=True)).count()
    end = start + len(found) - 1
    return Page(
        rows=found,
        count=count,
        start=start,
        previous=without(query, *PLACES, before=_text(keys, found[0])) if found and start > 1 else "",
        next=without(query, *PLACES, after=_text(keys, found[-1])) if end < count and found else "",
        here=without(query, "page"),
    )


def in_order(rows: QuerySet[Row]) -> QuerySet[Row]:
    """All of them as their pages have them, one behind the other."""
    return rows.order_by(*(key.order(backwards=False) for key in _keys(rows)))


def _keys(rows: QuerySet[Row]) -> list[_Key]:
    names = [str(name) for name in rows.query.order_by or rows.model._meta.ordering]
    names = [*names, *(["pk"] if not {"pk", "-pk", "id", "-id"} & set(names) else [])]
    return [_key(rows.model, name) for name in names]


def _key(model: type[Model], name: str) -> _Key:
    may_be_none, at = False, model
    for part in name.removeprefix("-").split("__"):
        field: Any = at._meta.pk if part == "pk" else at._meta.get_field(part)
        may_be_none, at = may_be_none or field.null, field.related_model
    return _Key(name.removeprefix("-"), field, name.startswith("-"), may_be_none)


def _some(rows: QuerySet[Row], keys: Sequence[_Key], size: int, *, backwards: bool = False) -> list[Row]:
    found = list(rows.order_by(*(key.order(backwards) for key in keys))[:size])
    return found[::-1] if backwards else found


def _beyond(keys: Sequence[_Key], values: Sequence[Any], *, backwards: bool) -> Q:
    """Rows behind the one that has these values, or before it."""
    found, same = Q(pk__in=[]), Q()
    for key, value in zip(keys, values, strict=True):
        found |= same & key.beyond(value, backwards)
        same &= key.same(value)
    # By this alone an index of the first is used: no planner takes it out of the alternatives.
    return found if keys[0].may_be_none else keys[0].not_before(values[0], backwards) & found


def _text(keys: Sequence[_Key], row: Model) -> str:
    values = [key.of(row) for key in keys]
    told = json.dumps(values, default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value))
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def _place(text: str, keys: Sequence[_Key]) -> list[Any] | None:
    """What the row of a place is sorted by; None where it makes no sense for these keys."""
    if not text or len(text) > PLACE_MAX:
        return None
    try:
        told = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(told, list) or len(told) != len(keys):
            return None
        return [key.read(value) for key, value in zip(keys, told, strict=True)]
    except (ValueError, ValidationError, OverflowError, RecursionError):
        return None
