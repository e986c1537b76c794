"""Queries that are put together once.

Django puts a query together anew each time it is asked: of what pages ask again and again that takes many times as
long as the answer. Here it is built once with stand-ins for what differs from one time to the next, and asked with the
values in their places. What is built is a queryset as any other, from the same rules of who may know of what.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import update_wrapper
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import QuerySet

Value = int | datetime | Collection[int]


class Statement(NamedTuple):
    """places: for each parameter which value it is (and which of it, where that is a collection), None for one that
    belongs to the query. converters: column → what makes a value of Python of it."""

    sql: str
    places: list[tuple[int, int] | None]
    own: list[Any]
    converters: dict[int, tuple[list[Any], Any]]


class Prepared:
    """Decorates a function from values to a queryset of `values_list`; gives its rows as tuples.

    Values are ids, moments, or collections of ids, each of which makes a query of its own by how many it holds; of
    none there are no rows. A moment that the function takes from the clock is no value: it would stay that of the first
    time, and TypeError is raised.
    """

    def __init__(self, build: Callable[..., QuerySet[Any]]) -> None:
        self.build = build
        self._known: dict[tuple[Any, ...], Statement] = {}
        update_wrapper(self, build)

    def __call__(self, *values: Value) -> list[tuple[Any, ...]]:
        given = [_parts(value) for value in values]
        if not all(given):
            return []
        shape = (connection.vendor, *map(len, given))
        if shape not in self._known:
            self._known[shape] = self._statement(values)
        sql, places, own, converters = self._known[shape]
        parameters = [
            mine if place is None else given[place[0]][place[1]] for place, mine in zip(places, own, strict=True)
        ]
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            rows = cursor.fetchall()
        return list(_converted(rows, converters)) if converters else rows

    def _statement(self, values: Sequence[Value]) -> Statement:
        """With two sets of stand-ins: what is the same in both belongs to the query."""
        statement, other = (self._built(stand_ins(values, number)) for number in (1, 2))
        if other[:3] != statement[:3]:
            raise TypeError(f"{self.build.__qualname__} asks for something else each time")
        return statement

    def _built(self, values: list[Value]) -> Statement:
        where = {part: (i, j) for i, value in enumerate(values) for j, part in enumerate(_parts(value))}
        compiler = self.build(*values).query.get_compiler(using=DEFAULT_DB_ALIAS)
        sql, parameters = compiler.as_sql()
        places = [where.get(parameter) for parameter in parameters]
        own = [mine if place is None else None for mine, place in zip(parameters, places, strict=True)]
        return Statement(sql, places, own, compiler.get_converters([column for column, _, _ in compiler.select]))


def _converted(rows: list[Any], converters: dict[int, tuple[list[Any], Any]]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        values = list(row)
        for column, (functions, expression) in converters.items():
            for convert in functions:
                values[column] = convert(values[column], expression, connection)
        yield tuple(values)


def _parts(value: Value) -> list[Any]:
    """As the database takes them."""
    if isinstance(value, datetime):
        return [connection.ops.adapt_datetimefield_value(value)]
    return [value] if isinstance(value, int) else list(value)


def stand_ins(values: Sequence[Value], number: int) -> list[Value]:
    """Of the same shape, and like nothing that a query holds by itself."""
    base, moment = -(10**9) * number, datetime(1000 + number, 1, 1, tzinfo=UTC)
    found: list[Value] = []
    for place, value in enumerate(values):
        if isinstance(value, datetime):
            found.append(moment + timedelta(seconds=place))
        elif isinstance(value, int):
            found.append(base - 10_000 * place)
        else:
            found.append([base - 10_000 * place - one for one in range(len(value))])
    return found
