"""The log nobody can quietly change: appending to it and checking it.

Each entry carries the hash of the one before. Sequence numbers come from the one AuditHead row, locked until the
transaction ends, so that there are no gaps: call `record` as the last thing in the transaction of what it records.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from jails import auditrows, stretches
from jails.models.audit import AuditEntry, AuditHead

GENESIS = "0" * 64
SECRET_WORDS = ("password", "secret", "token", "private", "passphrase", "credential")
REMOVED = "(removed)"
PANEL = "the panel"
"""The actor of what nobody has asked for."""
HASHED = tuple(f.attname for f in AuditEntry._meta.concrete_fields if f.attname != "hash")
LATER = auditrows.LATER


def record(action: str, **fields: Any) -> AuditEntry:
    """Append an entry; arguments as of `entry`. Must run inside transaction.atomic, after the change it is about."""
    made = entry(action, **fields)
    record_all([made])
    return made


def entry(
    action: str,
    *,
    actor: Any = None,
    outcome: str = "done",
    obj: Any = None,
    operation: Any = None,
    tenant: Any = None,
    before: Any = None,
    after: Any = None,
    plan_digest: str = "",
    detail: str = "",
    source: str = "",
    host: str = "",
    on_behalf_of: str = "",
    approval: str = "",
) -> AuditEntry:
    """An entry that is not in the log yet, for `record_all`.

    actor: a User, or a name for what is no person. tenant and host are taken from `obj` or `operation` when not given,
    on_behalf_of and approval from `operation` where it is done by who has confirmed it, or by no person: what others do
    to it nobody approved.
    """
    subject = obj if obj is not None else operation
    tenant = tenant or _tenant_of(obj) or _tenant_of(operation)
    is_person = hasattr(actor, "username")
    if not is_person or actor.pk == getattr(operation, "confirmed_by_id", None):
        on_behalf_of = on_behalf_of or getattr(operation, "on_behalf_of", "")
        approval = approval or getattr(operation, "approved_by", "")
    return AuditEntry(
        at=timezone.now(),
        actor_id=actor.pk if is_person else None,
        actor=_text(actor.username if is_person else actor or "", 150),
        on_behalf_of=_text(on_behalf_of, 150),
        source=_text(source, 64),
        tenant_id=tenant.pk if tenant else None,
        tenant=tenant.slug if tenant else "",
        action=_text(action, 60),
        object_type=subject._meta.model_name if subject is not None else "",
        object_id=str(subject.pk) if subject is not None else "",
        object_name=_text(str(subject), 300) if subject is not None else "",
        host=_text(host or _host_of(obj) or _host_of(operation), 63),
        before=scrub(before),
        after=scrub(after),
        plan_digest=_text(plan_digest, 64),
        outcome=_text(outcome, 20),
        detail=_text(detail, 4000),
        operation=str(operation.pk) if operation is not None else "",
        approval=_text(approval, 200) or None,
    )


def record_all(entries: Sequence[AuditEntry]) -> None:
    """Append several at once, in their order: as `record` does it, with as many queries as for one."""
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an audit entry belongs into the transaction of what it records")
    if not entries:
        return
    head = AuditHead.objects.select_for_update().filter(pk=1).first() or _first_head()
    for made in entries:
        made.sequence, made.previous_hash = head.sequence + 1, head.hash
        made.hash = entry_hash(made)
        head.sequence, head.hash = made.sequence, made.hash
    AuditEntry.objects.bulk_create(entries, batch_size=500)
    head.save()


def _first_head() -> AuditHead:
    """Of a log in which nothing is; another may just have made it."""
    AuditHead.objects.get_or_create(pk=1)
    return AuditHead.objects.select_for_update().get(pk=1)


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 over every column but `hash`, as JSON with sorted keys; times in UTC with microseconds. Without those of
    LATER that are NULL."""
    return hash_of({name: getattr(entry, name) for name in HASHED})


def hash_of(values: dict[str, Any]) -> str:
    """The same of columns by name, as `line` has them too."""
    return hashlib.sha256(_json(values).encode()).hexdigest()


def line(entry: AuditEntry) -> str:
    """The entry as one line of JSON: without `hash`, and written again as it is, it is what `hash` was made of."""
    return _json({name: getattr(entry, name) for name in (*HASHED, "hash")})


def _json(values: dict[str, Any]) -> str:
    canonical = {name: _canonical(value) for name, value in values.items() if value is not None or name not in LATER}
    return auditrows.dump(canonical)


def scrub(value: Any) -> Any:
    """The same JSON value without secrets: what stands under a name that says so is removed."""
    if isinstance(value, dict):
        return {
            _text(key): REMOVED if any(word in str(key).lower() for word in SECRET_WORDS) else scrub(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [scrub(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    return _text(value)


@dataclass(frozen=True)
class Verdict:
    """What `verify` found: how many entries hold, the last of them, and the first that does not, with why."""

    checked: int
    bad_sequence: int | None = None
    problem: str = ""
    last: int = 0
    last_hash: str = GENESIS
    proven: int = 0
    """The last entry that a checkpoint vouches for: up to there the log is as it was when that was noted."""

    @property
    def ok(self) -> bool:
        return not self.problem


def verify(newest: int | None = None, checkpoints: Iterable[tuple[int, str]] = (), processes: int = 1) -> Verdict:
    """Walk the chain in constant memory; name the first entry that was edited, removed or put in.

    newest: look only at so many of the last entries, and take the one before them as it is. checkpoints: sequences,
    each with the hash its entry had, lowest first, noted elsewhere: they show a chain that was made anew, or cut off.
    processes: more than one for a long log, where no transaction is open and no thread runs.
    """
    # In this order: what is appended meanwhile is behind the head that was read, and left out.
    highest = AuditEntry.objects.aggregate(highest=models.Max("sequence"))["highest"] or 0
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    first = max(1, head.sequence - newest + 1) if newest else 1
    before = AuditEntry.objects.filter(sequence=first - 1).values_list("hash", flat=True).first()
    walk = Walk(first, GENESIS if first == 1 else before or "", iter(checkpoints))
    stretches.walk_on(walk, head.sequence, processes)
    for rows in auditrows.chunks(walk.expected, head.sequence):
        if problem := walk.over(rows):
            return walk.verdict(problem)
    if walk.expected <= head.sequence:
        gone = f"entries {walk.expected} to {head.sequence} are missing, the head counts {head.sequence}"
        return walk.verdict(gone if walk.expected < head.sequence else f"entry {walk.expected}, the last, is missing")
    if walk.previous != head.hash:
        return walk.verdict(f"entry {head.sequence} is not the one the head names", head.sequence)
    if highest > head.sequence:
        return walk.verdict(f"entry {head.sequence + 1} was put in: the head counts {head.sequence}")
    if walk.noted is not None:
        return walk.verdict(f"entry {walk.noted[0]} of the checkpoint is missing: the chain ends at {head.sequence}")
    return walk.verdict()


class Walk:
    """How far the chain holds, entry by entry: what is expected next, and the hash it must continue."""

    def __init__(self, first: int, previous: str, checkpoints: Iterator[tuple[int, str]]) -> None:
        self.first, self.expected, self.previous, self.proven = first, first, previous, 0
        self._checkpoints = checkpoints
        self.noted = next(checkpoints, None)
        """The next checkpoint, None behind the last."""
        while self.noted is not None and self.noted[0] < first:
            self.noted = next(checkpoints, None)

    def noted_up_to(self, last: int) -> Iterator[tuple[int, str]]:
        """The checkpoints up to there, to be looked at elsewhere: this walk passes over them."""
        while self.noted is not None and self.noted[0] <= last:
            yield self.noted
            self.noted = next(self._checkpoints, None)

    def note(self, checkpoints: Sequence[tuple[int, str]]) -> None:
        """Look at these again, all before the next one."""
        ahead = [self.noted] if self.noted is not None else []
        self._checkpoints = itertools.chain(checkpoints, ahead, self._checkpoints)
        self.noted = next(self._checkpoints, None)

    def over(self, rows: auditrows.Rows) -> str:
        """What is wrong with the first of them that does not hold, or ""."""
        sequences, previous, hashes, digests = rows
        is_chain = (
            sequences == tuple(range(self.expected, self.expected + len(sequences)))
            and previous == (self.previous, *hashes[:-1])
            and hashes == digests
        )
        if is_chain and (self.noted is None or self.noted[0] > sequences[-1]):
            self.previous, self.expected = hashes[-1], sequences[-1] + 1
            return ""
        return next(filter(None, map(self._step, *rows)), "")

    def step(self, entry: AuditEntry) -> str:
        """What is wrong with the next entry, or ""."""
        return self._step(entry.sequence, entry.previous_hash, entry.hash, entry_hash(entry))

    def _step(self, sequence: int, previous: str, hash_: str, digest: str) -> str:
        number = self.expected
        if sequence != number:
            return f"entry {number} is missing, the next one is {sequence}"
        if previous != self.previous:
            return f"entry {number} does not continue entry {number - 1}"
        if hash_ != digest:
            return f"entry {number} was changed after it was written"
        while self.noted is not None and self.noted[0] == number:
            if self.noted[1] != hash_:
                return f"entry {number} is not the one of the checkpoint: the chain was made anew"
            self.proven, self.noted = number, next(self._checkpoints, None)
        self.previous, self.expected = hash_, number + 1
        return ""

    def verdict(self, problem: str = "", bad: int | None = None) -> Verdict:
        last, hold = self.expected - 1, self.expected - self.first
        return Verdict(hold, (bad or self.expected) if problem else None, problem, last, self.previous, self.proven)


def _canonical(value: Any) -> Any:
    return auditrows.spelled(value) if isinstance(value, datetime) else value


def _text(value: Any, limit: int | None = None) -> str:
    """PostgreSQL stores no NUL in text, and lone surrogates cannot be hashed."""
    text = str(value).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return text[:limit]


def _tenant_of(thing: Any) -> Any:
    if thing is None:
        return None
    return thing if thing._meta.model_name == "tenant" else getattr(thing, "tenant", None)


def _host_of(thing: Any) -> str:
    if thing is None:
        return ""
    if isinstance(thing, models.Model) and thing._meta.model_name == "host":
        return str(thing)
    return str(getattr(thing, "host_name", "") or getattr(thing, "host", None) or "")
