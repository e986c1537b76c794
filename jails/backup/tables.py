"""Rows of the database as lines of JSON, the same for SQLite and PostgreSQL: of one moment, and back into either.

Times keep their microseconds, which the log's hashes cover; no row passes through a model's save.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder

from jails.models import AuditHead

FORGOTTEN = {
    "account.EmailConfirmation": "one-time links",
    "jails.ConsoleTicket": "good for half a minute",
    "jails.Invitation": "one-time links",
    "jails.Invitation_operated_hosts": "one-time links",
    "jails.Look": "what was read of a jail for a few minutes",
    "jails.HostSampling": "counters of the last minute",
    "jails.ResourceLock": "held by operations under way, and none is afterwards",
    "jails.Sample": "what was used minute by minute",
    "jails.Worker": "which worker was seen when",
    "sessions.Session": "who was signed in",
    "usersessions.UserSession": "who was signed in",
}
"""Models whose rows are not kept; being as a backup says, there are none."""
NOT_OURS = {
    "auth.Group": "the panel has roles of its own",
    "auth.Group_permissions": "the panel has roles of its own",
    "auth.Permission": "made by migrations",
    "axes.AccessAttempt": "failures to sign in, forgotten after minutes",
    "axes.AccessAttemptExpiration": "failures to sign in, forgotten after minutes",
    "axes.AccessFailureLog": "failures to sign in, which are in the log",
    "axes.AccessLog": "sign-ins, which are in the log",
    "contenttypes.ContentType": "made by migrations",
    "jails.User_groups": "the panel has roles of its own",
    "jails.User_user_permissions": "the panel has roles of its own",
}
"""Models whose rows stay as they are."""
BATCH = 500

Model = type[models.Model]


def kept() -> list[Model]:
    """The models whose rows are in a backup: all but those named above, so that nothing new is forgotten."""
    return [model for model in _all() if model._meta.label not in FORGOTTEN and model._meta.label not in NOT_OURS]


def _all() -> list[Model]:
    found = [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    return sorted((model for model in found if not model._meta.proxy), key=lambda model: model._meta.label)


def migrations() -> dict[str, list[str]]:
    """App → its migrations, of the apps whose rows are kept."""
    labels = {model._meta.app_label for model in kept()}
    applied = sorted(MigrationRecorder(connection).applied_migrations())
    return {label: [name for app, name in applied if app == label] for label in sorted(labels)}


# Out


@contextmanager
def one_moment() -> Iterator[None]:
    """All that is read in it is of one moment, and nobody has to wait meanwhile."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # Deferred: atomic() would take the lock for writing.
            cursor.execute("BEGIN")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
    else:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield


def columns_of(model: Model) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def rows_of(model: Model) -> Iterator[bytes]:
    """A line a row: a list of values in the order of `columns_of`."""
    rows = model._base_manager.order_by("pk").values_list(*columns_of(model))
    for row in rows.iterator(chunk_size=BATCH):
        yield json.dumps([_plain(value) for value in row], separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, UUID):
        return str(value)
    # What is no JSON value, json refuses.
    return value


# Back


def is_empty() -> bool:
    """Whether the panel has never been used."""
    heads = AuditHead.objects.filter(sequence=0)
    used = (model for model in kept() if model is not AuditHead and model._base_manager.exists())
    return next(used, None) is None and heads.count() == AuditHead.objects.count()


def clear() -> None:
    """Remove all rows that a backup replaces. The log's triggers must be away."""
    with connection.cursor() as cursor:
        for model in _all():
            if model._meta.label not in NOT_OURS:
                cursor.execute(f"DELETE FROM {_quoted(model._meta.db_table)}")  # noqa: S608 # nosec B608


def load(model: Model, columns: Sequence[str], lines: Iterable[bytes]) -> int:
    """Insert rows as they were. How many. Raises LookupError for a column that is not there."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    if sorted(columns) != sorted(fields):
        raise LookupError(f"{model._meta.label} has other columns")
    into = ", ".join(_quoted(fields[name].column) for name in columns)
    places = ", ".join(["%s"] * len(columns))
    insert = f"INSERT INTO {_quoted(model._meta.db_table)} ({into}) VALUES ({places})"  # noqa: S608 # nosec B608
    ordered = [fields[name] for name in columns]
    count, remaining = 0, iter(lines)
    with connection.cursor() as cursor:
        while batch := list(islice(remaining, BATCH)):
            cursor.executemany(insert, [_values(ordered, json.loads(line)) for line in batch])
            count += len(batch)
    return count


def _values(fields: Sequence[models.Field[Any, Any]], row: Sequence[Any]) -> list[Any]:
    return [
        field.get_db_prep_save(_target(field).to_python(value), connection)
        for field, value in zip(fields, row, strict=True)
    ]


def _target(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """What a foreign key's value is."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field


def settle() -> None:
    """After all rows are there: every reference leads somewhere, and new rows get new numbers."""
    connection.check_constraints()
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), kept()):
            cursor.execute(statement)


def _quoted(name: str) -> str:
    return str(connection.ops.quote_name(name))
