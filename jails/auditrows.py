"""Rows of the log as the database has them, each with the hash of what is in it.

Whoever checks a million entries waits for this, so a row is tried the quick way first: what its hash was made of, in as
few steps as plain values need; on SQLite the database itself does most of them. No two rows give the same text there,
so a hash that fits is proof. Where one does not, the row is read again and goes the long way: something in it is not
plain, or it was changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from django.db import DataError, OperationalError, connection

from jails.models.audit import AuditEntry

CHUNK = 500
COLUMNS = (
    "sequence", "actor_id", "tenant_id", "at", "approval", "action", "actor", "detail", "host", "object_id",
    "object_name", "object_type", "on_behalf_of", "operation", "outcome", "plan_digest", "source", "tenant",
    "previous_hash", "hash", "before", "after",
)  # fmt: skip
HASHED = tuple(sorted(name for name in COLUMNS if name != "hash"))
LATER = ("approval",)
"""Columns that the first entries were written without: where one is NULL it is in no line and in no hash."""
TABLE = AuditEntry._meta.db_table

Plain = tuple[Any, Any, Any, str]
"""Sequence, previous hash and hash of a row, and what the hash was made of if the row is plain."""


class Rows(NamedTuple):
    """Some rows, one after the other: a tuple for each column, one as long as the other."""

    sequences: tuple[int, ...]
    previous: tuple[str, ...]
    hashes: tuple[str, ...]
    digests: tuple[str, ...]
    """SHA-256 over every column but `hash`, made of the row as it is now; what is no hash, and not the one that the
    row has, where there is nothing to make it of."""


def chunks(first: int, last: int) -> Iterator[Rows]:
    """From one sequence to another, in constant memory."""
    quick = _on_postgresql if connection.vendor == "postgresql" else _on_sqlite
    for found in quick(first, last):
        sequences, previous, hashes, lines = zip(*found, strict=True)
        # The hash of nothing is one that somebody may write: what has no line never holds by it.
        digests = tuple([sha256(line.encode()).hexdigest() if line else "" for line in lines])
        if digests != hashes or "" in digests:
            known = _the_long_way(
                [row[0] for row, made in zip(found, digests, strict=True) if not made == row[2] != ""]
            )
            rows = zip(sequences, hashes, digests, strict=True)
            digests = tuple([made if made == it != "" else known.get(number, f"no {it}") for number, it, made in rows])
        yield Rows(sequences, previous, hashes, digests)


# The quick way on SQLite: json_object() quotes what JSON must quote, and tells text, numbers and NULL apart


def _object(names: tuple[str, ...]) -> str:
    pairs = (f"'{name}', {_SPELLED.get(name, name)}" for name in names)
    return f"json_object({', '.join(pairs)})"


_SPELLED = {
    # Put in later: SQLite does not sort keys, and what it takes for JSON is more, and differs with its version.
    "after": "NULL",
    "before": "NULL",
    "at": "CASE WHEN typeof(at) <> 'text' THEN at WHEN length(at) = 26 THEN replace(at, ' ', 'T') || '+00:00' "
    "WHEN length(at) = 19 THEN replace(at, ' ', 'T') || '.000000+00:00' ELSE at END",
}
_ON_SQLITE = (
    f"SELECT sequence, previous_hash, hash, CASE WHEN approval IS NULL "  # noqa: S608 # nosec B608
    f"THEN {_object(tuple(name for name in HASHED if name not in LATER))} ELSE {_object(HASHED)} END, before, after "
    f"FROM {TABLE} WHERE sequence BETWEEN %s AND %s ORDER BY sequence"
)
_KEYS_ON_SQLITE = (
    f"SELECT sequence, CAST(previous_hash AS BLOB), CAST(hash AS BLOB) FROM {TABLE} "  # noqa: S608 # nosec B608
    "WHERE sequence BETWEEN %s AND %s ORDER BY sequence"
)


def _on_sqlite(first: int, last: int) -> Iterator[list[Plain]]:
    with connection.cursor() as cursor:
        try:
            cursor.execute(_ON_SQLITE, [first, last])
            while found := cursor.fetchmany(CHUNK):
                yield [
                    (number, previous, digest, _whole(line, before, after))
                    for number, previous, digest, line, before, after in found
                ]
                first = found[-1][0] + 1
            return
        except OperationalError as error:
            _require_about_a_value(error)
        cursor.execute(_KEYS_ON_SQLITE, [first, last])
        while found := cursor.fetchmany(CHUNK):
            yield [(number, _decoded(previous), _decoded(digest), "") for number, previous, digest in found]


def _whole(line: str, before: Any, after: Any) -> str:
    """In front of these keys stands text, with a backslash at each quote in it: they are what is found first."""
    if before is not None:
        line = line.replace('"before":null', _member("before", before), 1)
    if after is not None:
        line = line.replace('"after":null', _member("after", after), 1)
    return line


@lru_cache(maxsize=256)
def _member(name: str, text: Any) -> str:
    return f'"{name}":{_json(text)}'


def _require_about_a_value(error: OperationalError) -> None:
    """Raises what is not about text that is none, as SQLite may keep it."""
    if "BLOB" not in str(error) and "UTF-8" not in str(error):
        raise error


def _decoded(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


# The quick way on PostgreSQL: the rows as COPY writes them, without anything that a schema could put in between

_NULL = "\x01"
"""In no number and no JSON, and in no line either."""
_ON_POSTGRESQL = (
    f"COPY (SELECT {', '.join(COLUMNS[:-2])}, approval IS NULL, before, after FROM {TABLE} "  # noqa: S608 # nosec B608
    "WHERE sequence BETWEEN {first:d} AND {last:d} ORDER BY sequence FETCH FIRST {count:d} ROWS WITH TIES) "
    f"TO STDOUT (NULL '{_NULL}')"
)


def _on_postgresql(first: int, last: int) -> Iterator[list[Plain]]:
    while True:
        with (
            connection.cursor() as cursor,
            cursor.copy(_ON_POSTGRESQL.format(first=first, last=last, count=CHUNK)) as copy,
        ):
            found = [_copied(text) for text in b"".join(copy).decode().split("\n")[:-1]]
        if not found:
            return
        yield found
        if len(found) < CHUNK:
            return
        first = found[-1][0] + 1


def _copied(text: str) -> Plain:
    """A row of COPY, which writes a backslash in front of what would end a column or a row."""
    head, before, after = text.rsplit("\t", 2)
    (
        number, actor_id, tenant_id, at, approval, action, actor, detail, host, object_id, object_name, object_type,
        on_behalf_of, operation, outcome, plan_digest, source, tenant, previous, digest, is_without,
    ) = head.split("\t")  # fmt: skip
    if "\\" in text or '"' in head:
        return int(number), previous, digest, ""
    approved = "" if is_without == "t" else f',"approval":"{approval}"'
    line = (
        f'{{"action":"{action}","actor":"{actor}","actor_id":{"null" if actor_id == _NULL else actor_id},'
        f'"after":{"null" if after == _NULL else _json(after)}{approved},"at":"{_when_copied(at)}",'
        f'"before":{"null" if before == _NULL else _json(before)},"detail":"{detail}","host":"{host}",'
        f'"object_id":"{object_id}","object_name":"{object_name}","object_type":"{object_type}",'
        f'"on_behalf_of":"{on_behalf_of}","operation":"{operation}","outcome":"{outcome}",'
        f'"plan_digest":"{plan_digest}","previous_hash":"{previous}","sequence":{number},"source":"{source}",'
        f'"tenant":"{tenant}","tenant_id":{"null" if tenant_id == _NULL else tenant_id}}}'
    )
    return int(number), previous, digest, line


def _when_copied(text: str) -> str:
    """`2026-03-01 12:00:00[.f…]+00`: Django has the connection speak of UTC."""
    day, _, clock = text.partition(" ")
    time, _, fraction = clock.removesuffix("+00").partition(".")
    return f"{day}T{time}.{fraction:0<6}+00:00"


# The long way


def _the_long_way(sequences: list[Any]) -> dict[Any, str]:
    """The digests of these rows, without those of rows in which something cannot be read."""
    try:
        return {row[0]: sha256(canonical(row).encode()).hexdigest() for row in _read(sequences)}
    except (DataError, OperationalError) as error:
        if isinstance(error, OperationalError):
            _require_about_a_value(error)
        if len(sequences) == 1:
            return {}
        return {number: digest for one in sequences for number, digest in _the_long_way([one]).items()}


def _read(sequences: list[Any]) -> list[tuple[Any, ...]]:
    """`+at` is no column with a type that Django would convert: SQLite may keep there what is no time."""
    columns = ", ".join("+at" if name == "at" and connection.vendor == "sqlite" else name for name in COLUMNS)
    places = ", ".join(["%s"] * len(sequences))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {TABLE} WHERE sequence IN ({places})", sequences)  # noqa: S608 # nosec B608
        return cursor.fetchall()


def canonical(row: tuple[Any, ...]) -> str:
    """What the hash of a row is made of: JSON with sorted keys, times in UTC with microseconds."""
    values = dict(zip(COLUMNS, row, strict=True))
    spelled = {name: dump(value) for name, value in values.items() if value is not None or name not in LATER}
    spelled |= {name: "null" if values[name] is None else _json(values[name]) for name in ("before", "after")}
    spelled["at"] = dump(_when(values["at"]))
    return "{" + ",".join(f'"{name}":{spelled[name]}' for name in HASHED if name in spelled) + "}"


@lru_cache(maxsize=256)
def _json(text: Any) -> str:
    """A JSON column as it is stored, in the spelling that is hashed; "", which fits in no line, for what is no JSON."""
    try:
        return dump(json.loads(text)) if isinstance(text, str) else ""
    except (ValueError, RecursionError):
        return ""


def dump(value: Any) -> str:
    """The one spelling of JSON that hashes are made of. What is no JSON, as SQLite may keep it, gets one that nothing
    else has."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=lambda it: {"no JSON": repr(it)})


_KEPT_BY_SQLITE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{6})?")


def spelled(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _when(at: Any) -> Any:
    """SQLite keeps `2026-03-01 12:00:00[.ffffff]` in UTC; PostgreSQL gives a datetime. What is neither stays itself."""
    if isinstance(at, datetime):
        return spelled(at)
    found = _KEPT_BY_SQLITE.fullmatch(at) if isinstance(at, str) else None
    return f"{found[1]}T{found[2]}{found[3] or '.000000'}+00:00" if found else at
