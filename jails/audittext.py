"""An index of the words in the log, so that a rare one is found among a million entries without reading them all.

It is an aid and no evidence: whatever it finds is looked at again in the entries themselves, and it can be thrown away
and made anew. On SQLite it is a table of FTS5 with trigrams (https://sqlite.org/fts5.html, 4.3.4) that a trigger fills
with each new entry; on PostgreSQL an index of pg_trgm, which its planner uses by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

log = logging.getLogger(__name__)

ENTRIES = "jails_auditentry"
TABLE = "jails_audittext"
INDEX = "audit_by_text"
COLUMNS = ("actor", "on_behalf_of", "object_name", "action", "detail")
SHORTEST = 3
"""Characters: there is no trigram in less."""
MOST = 40
"""Trigrams of a long text that are asked for; the rest is for who looks again."""


def words_of(row: str, newline: str) -> str:
    return f" || {newline} || ".join(f"{row}{name}" for name in COLUMNS)


FILL = (
    f"INSERT INTO {TABLE} (rowid, words) SELECT sequence, {words_of('', 'char(10)')} "  # noqa: S608 # nosec B608
    f"FROM {ENTRIES} ORDER BY sequence"
)
MAKE_SQLITE = (
    f"DROP TABLE IF EXISTS {TABLE}",
    f"CREATE VIRTUAL TABLE {TABLE} USING fts5(words, content='', detail=none, columnsize=0, tokenize='trigram')",
    FILL,
    f"CREATE TRIGGER audit_text AFTER INSERT ON {ENTRIES} BEGIN "  # noqa: S608 # nosec B608
    f"INSERT INTO {TABLE} (rowid, words) VALUES (NEW.sequence, {words_of('NEW.', 'char(10)')}); END",
)
WORDS_POSTGRES = f"upper({words_of('', 'chr(10)')})"
MAKE_POSTGRES = f"CREATE INDEX IF NOT EXISTS {INDEX} ON {ENTRIES} USING gin ({WORDS_POSTGRES} gin_trgm_ops)"


def make(using: Any = None) -> bool:
    """Make it, of all that is in the log. False where PostgreSQL has no pg_trgm, or this role may not create it: the
    search works without, and reads the whole log for a rare word."""
    database = using or connection
    with database.cursor() as cursor:
        if database.vendor == "sqlite":
            drop(database)
            for statement in MAKE_SQLITE:
                cursor.execute(statement)
            return True
        try:
            with transaction.atomic(using=database.alias):
                cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
                cursor.execute(MAKE_POSTGRES)
        except DatabaseError as problem:
            log.warning("no index of the words in the log, a search of it will be slow: %s", problem)
            return False
    return True


def drop(using: Any = None) -> None:
    database = using or connection
    with database.cursor() as cursor:
        if database.vendor == "sqlite":
            cursor.execute("DROP TRIGGER IF EXISTS audit_text")
            cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        else:
            cursor.execute(f"DROP INDEX IF EXISTS {INDEX}")


def can_find(text: str) -> bool:
    """Whether `near` has an answer for it. PostgreSQL has no need of it."""
    return connection.vendor == "sqlite" and len(text) >= SHORTEST


def near(text: str, count: int, *, below: int | None = None, above: int | None = None) -> list[int]:
    """Sequences of entries that may hold a text, so many at most: the newest below one, or the oldest above one.

    All that hold it are among them, in whatever case, and others that have its trigrams elsewhere.
    """
    side, order = ("rowid > %s", "ASC") if above is not None else ("rowid < %s", "DESC")
    limit = above if above is not None else (2**63 - 1 if below is None else below)
    statement = f"SELECT rowid FROM {TABLE} WHERE {TABLE} MATCH %s AND {side} ORDER BY rowid {order} LIMIT %s"  # noqa: S608 # nosec B608
    with connection.cursor() as cursor:
        cursor.execute(statement, [query(text), limit, count])
        return [number for (number,) in cursor.fetchall()]


def query(text: str) -> str:
    """Each trigram of a text, as FTS5 takes them: all must be there."""
    found = dict.fromkeys(text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1))
    quoted = ('"' + trigram.replace('"', '""') + '"' for trigram in list(found)[:MOST])
    return " ".join(quoted)


HOLD = " OR ".join(f"{name} LIKE %s ESCAPE '\\'" for name in COLUMNS)


def holding(text: str, numbers: Collection[int]) -> set[int]:
    """Of these entries those that hold a text, in whatever case, as `icontains` finds it. On SQLite: one statement
    that is written here, as Django takes longer to put it together than SQLite to answer it."""
    if not numbers:
        return set()
    pattern = "%" + connection.ops.prep_for_like_query(text) + "%"
    places = ", ".join(["%s"] * len(numbers))
    statement = f"SELECT sequence FROM {ENTRIES} WHERE sequence IN ({places}) AND ({HOLD})"  # noqa: S608 # nosec B608
    with connection.cursor() as cursor:
        cursor.execute(statement, [*numbers, *[pattern] * len(COLUMNS)])
        return {number for (number,) in cursor.fetchall()}


def narrowed(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Entries that may hold a text, all of them: for what reads them all, and for PostgreSQL."""
    if connection.vendor == "postgresql":
        pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        return rows.alias(_words=RawSQL(f"{WORDS_POSTGRES} LIKE upper(%s)", [pattern])).filter(_words=True)  # noqa: S611 # nosec B611
    if not can_find(text):
        return rows
    return rows.filter(sequence__in=RawSQL(f"SELECT rowid FROM {TABLE} WHERE {TABLE} MATCH %s", [query(text)]))  # noqa: S608, S611 # nosec B608 B611


def analyse(using: Any = None) -> None:
    """Tell SQLite's planner which columns of the log narrow it most. PostgreSQL looks by itself."""
    database = using or connection
    if database.vendor != "sqlite":
        return
    with database.cursor() as cursor:
        cursor.execute("PRAGMA analysis_limit = 100000")
        cursor.execute(f"ANALYZE {ENTRIES}")
