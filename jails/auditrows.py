"""Rows of the log as the database has them, each with the hash of what is in it.

Whoever checks a million entries waits for this. It takes rows from a cursor and writes what `jails.audit.line` writes
of an entry, `hash` left out, without a model, a datetime and an encoder for each; what is not plain goes the long way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from django.db import connection
from django.utils.dateparse import parse_datetime

from jails.models.audit import AuditEntry

CHUNK = 1000
COLUMNS = (
    "sequence", "actor_id", "tenant_id", "at", "before", "after", "approval", "action", "actor", "detail", "host",
    "object_id", "object_name", "object_type", "on_behalf_of", "operation", "outcome", "plan_digest", "source",
    "tenant", "previous_hash", "hash",
)  # fmt: skip
"""Numbers, then a time, then JSON, then texts, the first of which may be NULL."""
LATER = ("approval",)
"""Columns that the first entries were written without: where one is NULL it is in no line and in no hash."""


class Row(NamedTuple):
    sequence: int
    previous_hash: str
    hash: str
    digest: str
    """SHA-256 over every column but `hash`, made of the row as it is now."""


def rows(first: int, last: int) -> Iterator[Row]:
    """From one sequence to another, in constant memory: from a cursor of the server where the database has them."""
    table = connection.ops.quote_name(AuditEntry._meta.db_table)
    columns = ", ".join(connection.ops.quote_name(name) for name in COLUMNS)
    statement = f"SELECT {columns} FROM {table} WHERE sequence BETWEEN %s AND %s ORDER BY sequence"  # noqa: S608 # nosec B608
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, [first, last])
        while found := cursor.fetchmany(CHUNK):
            for row in found:
                text = canonical(row)
                yield Row(row[0], row[-2], row[-1], hashlib.sha256(text.encode()).hexdigest())


def canonical(row: tuple[Any, ...]) -> str:
    """What the hash of a row is made of: JSON with sorted keys, times in UTC with microseconds."""
    (
        number, actor_id, tenant_id, at, before, after, approval, action, actor, detail, host, object_id, object_name,
        object_type, on_behalf_of, operation, outcome, digest, source, tenant, previous, _,
    ) = row  # fmt: skip
    if not _is_plain(row):
        return _the_long_way(row)
    approved = "" if approval is None else f',"approval":"{approval}"'
    return (
        f'{{"action":"{action}","actor":"{actor}","actor_id":{"null" if actor_id is None else actor_id},'
        f'"after":{"null" if after is None else _json(after)}{approved},"at":"{_when(at)}",'
        f'"before":{"null" if before is None else _json(before)},"detail":"{detail}","host":"{host}",'
        f'"object_id":"{object_id}","object_name":"{object_name}","object_type":"{object_type}",'
        f'"on_behalf_of":"{on_behalf_of}","operation":"{operation}","outcome":"{outcome}","plan_digest":"{digest}",'
        f'"previous_hash":"{previous}","sequence":{number},"source":"{source}","tenant":"{tenant}",'
        f'"tenant_id":{"null" if tenant_id is None else tenant_id}}}'
    )


def _is_plain(row: tuple[Any, ...]) -> bool:
    """Whether its numbers are numbers and no text has a character that JSON writes in another way. SQLite keeps values
    of any type in any column."""
    for number in row[:3]:
        if number is not None and type(number) is not int:
            return False
    try:
        text = "".join(row[7:]) + (row[6] or "") + (row[3] if isinstance(row[3], str) else "")
    except TypeError:
        return False
    return len(encode_basestring_ascii(text)) == len(text) + 2


def _the_long_way(row: tuple[Any, ...]) -> str:
    values = dict(zip(COLUMNS, row, strict=True))
    del values["hash"]
    for name in ("before", "after"):
        values[name] = None if values[name] is None else _loaded(values[name])
    values["at"] = _when(values["at"])
    return dump({name: value for name, value in values.items() if value is not None or name not in LATER})


@lru_cache(maxsize=256)
def _json(text: str) -> str:
    """A JSON column as it is stored, in the spelling that is hashed."""
    return dump(_loaded(text))


def _loaded(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return repr(text)  # nobody wrote that by way of the panel


def dump(value: Any) -> str:
    """The one spelling of JSON that hashes are made of. What is no JSON, as SQLite may keep it, gets none that fits."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr)


def spelled(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _when(at: Any) -> str:
    """SQLite keeps `2026-03-01 12:00:00[.ffffff]` in UTC; PostgreSQL gives a datetime."""
    if isinstance(at, datetime):
        return spelled(at)
    text = str(at)
    if len(text) == 26 and text[10] == " ":
        return f"{text[:10]}T{text[11:]}+00:00"
    if len(text) == 19 and text[10] == " ":
        return f"{text[:10]}T{text[11:]}.000000+00:00"
    return text if (found := _parsed(text)) is None else spelled(found)


def _parsed(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found
