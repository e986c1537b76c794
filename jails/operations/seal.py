"""Seals: how a worker knows its own steps again.

Rows are written by the web process too, and a database can be edited. What a worker decided to run carries an HMAC
under a key that only workers can read; nothing is resumed unless every HMAC is right.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from jails import secretfile
from jails.operations.step import VERSION

if TYPE_CHECKING:
    from jails.models import Operation, OperationStep

KEY_BYTES = 32
FORMAT = 1
"""Of what is sealed. The format of steps has a version of its own, which is in their data."""


class Forged(Exception):
    """Something stored is not what a worker stored; the message names it."""


class Newer(Exception):
    """A worker of a newer release stored it: that one must go on with it."""


def key() -> bytes:
    """The workers' key, from the file that settings name; made, readable by its owner alone, where it is missing.

    Raises PermissionError where others can read the file, ValueError where it is too short to be a key.
    """
    return _key(Path(settings.WORKER_KEY_FILE))


@cache
def _key(path: Path) -> bytes:
    if not path.exists():
        secretfile.make(path, secrets.token_hex(KEY_BYTES))
    secretfile.require_private(path)
    value = path.read_bytes().strip()
    if len(value) < KEY_BYTES:
        raise ValueError(f"{path} holds {len(value)} bytes, expected at least {KEY_BYTES}: remove it to have one made")
    return value


def of_step(operation_id: object, index: int, data: Mapping[str, Any]) -> str:
    return _hmac("step", str(operation_id), index, data)


def of_state(row: OperationStep) -> str:
    """Over what a worker must believe when it goes on: how far the step is, how it ended, and what it captured."""
    begun = row.started_at is not None
    return _hmac("state", str(row.operation_id), row.index, row.status, begun, row.rc, row.error, row.captured)


def of_operation(operation: Operation, count: int, *, stuck: bool = False) -> str:
    """Over what it is and all of its plan: with that, `finish` and a rollback know what was decided.

    `stuck`: a worker has let go of it, its locks too. It goes on only where somebody has asked for that.
    """
    wish = [operation.kind, operation.parameters, operation.host_id]
    name = "stuck operation" if stuck else "operation"
    return _hmac(name, str(operation.pk), wish, operation.digest, operation.plan, count)


def verify(operation: Operation, rows: Iterable[OperationStep]) -> None:
    """Raises Forged unless the operation and all of its steps are exactly as a worker stored them, or Newer."""
    rows = list(rows)
    seals = [of_operation(operation, len(rows))]
    if operation.resumed_at is not None:
        seals.append(of_operation(operation, len(rows), stuck=True))
    if not any(_same(operation.sealed, expected) for expected in seals):
        raise Forged("the operation's seal is not a worker's")
    for number, row in enumerate(rows):
        if row.index != number or not _same(row.seal, of_step(operation.pk, row.index, row.data)):
            raise Forged(f"step {number + 1} is not as a worker stored it")
        if row.data.get("version", 0) > VERSION:
            raise Newer(f"step {number + 1} was planned by one, this worker must be upgraded")
        if not _same(row.state_seal, of_state(row)):
            raise Forged(f"the state of step {number + 1} is not as a worker stored it")


def _hmac(*values: Any) -> str:
    text = json.dumps([FORMAT, *values], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key(), text.encode(), "sha256").hexdigest()


def _same(stored: str, expected: str) -> bool:
    return hmac.compare_digest(stored.encode("utf-8", "replace"), expected.encode())
