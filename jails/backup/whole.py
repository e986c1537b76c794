"""Making a backup of the whole panel while it is in use, and being as one says again while nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from jails import audit, audittext
from jails.backup import archive, keyfiles, recordings, tables
from jails.models import AuditHead, Operation, Worker
from jails.models.audit_triggers import drop_triggers, make_triggers
from jails.operations import kind

SOURCE = "command line"
Status = Operation.Status
BEGUN = "It was under way when this backup was made. Whether it went on is not known here: look at the host, then "
NOT_BEGUN = (
    "It waited for a worker when this backup was made. Whether it ran is not known here: look at the host, then "
)


class Refused(Exception):
    """It is not done: a sentence. Nothing was changed."""


@dataclass(frozen=True)
class Made:
    """What a backup holds. `end` is where the log ends in it, as audit_verify takes it for a checkpoint.

    `left_out`: what is among the keys and could not be packed, each a sentence.
    """

    rows: int
    keys: tuple[str, ...]
    left_out: tuple[str, ...]
    end: str
    problem: str
    recordings: int


def make(path: Path, *, with_keys: bool = True, with_recordings: bool = False) -> Made:
    """Raises OSError, FileExistsError among them."""
    files = keyfiles.found() if with_keys else {}
    left_out = keyfiles.left_out() if with_keys else {}
    contents = {name: file.read_bytes() for name, file in files.items()}
    with archive.writing(path) as writer:
        with tables.one_moment():
            verdict = audit.verify()
            stored = [_store(writer, model) for model in tables.kept()]
            facts = {
                "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "database": connection.vendor,
                "migrations": tables.migrations(),
                "tables": stored,
                "audit": {"sequence": verdict.last, "hash": verdict.last_hash, "problem": verdict.problem},
            }
        for name, content in contents.items():
            with writer.part(name) as stream:
                stream.write(content)
        packed = recordings.store(writer) if with_recordings else 0
        writer.finish(facts)
    end = f"{verdict.last}:{verdict.last_hash}"
    with transaction.atomic():
        what = {"file": path.name, "keys": len(contents), "recordings": packed, "checkpoint": end}
        audit.record("panel.backup", actor=SOURCE, after=what, source=SOURCE)
    left = tuple(f"{path}: {why}" for path, why in left_out.items())
    return Made(sum(one["rows"] for one in stored), tuple(contents), left, end, verdict.problem, packed)


def _store(writer: archive.Writer, model: tables.Model) -> dict[str, Any]:
    label = model._meta.label
    part, rows = f"database/{label}.jsonl", 0
    with writer.part(part) as stream:
        for line in tables.rows_of(model):
            stream.write(line)
            rows += 1
    return {"part": part, "model": label, "columns": tables.columns_of(model), "rows": rows}


@dataclass(frozen=True)
class Restored:
    """`attention`: operations that were open and need somebody to look now. `missing`: why not all recordings are back,
    or ""."""

    made_at: str
    rows: int
    keys: tuple[str, ...]
    attention: int
    problem: str
    recordings: int
    missing: str


def check(path: Path) -> dict[str, Any]:
    """The manifest of a file that is whole. Raises Damaged, OSError."""
    with archive.reading(path) as reader:
        return dict(reader.manifest)


def restore(path: Path, *, replace: bool = False, with_keys: bool = True) -> Restored:
    """Raises Damaged, Refused, OSError, and whatever the database says; then all is as it was.

    Recordings come last, and those that are not there yet: what fails then leaves all else as it was restored.
    """
    with archive.reading(path) as reader:
        models = _models(reader.manifest)
        wanted = _keys(reader) if with_keys else {}
        _require_recordings(reader)
        # The keys go back too where the database refuses at its commit.
        with keyfiles.placing() as placing, transaction.atomic():
            _require_nobody(replace, wanted)
            before = _clear() if replace else None
            rows = sum(_load(reader, model, entry) for model, entry in models)
            tables.settle()
            problem = _verify(reader.manifest["audit"])
            attention = _put_down_what_was_open()
            _tell(path, reader.manifest, before, attention)
            placing.place(wanted)
        put_back, missing = recordings.restore(reader)
    made_at = str(reader.manifest["made_at"])
    return Restored(made_at, rows, tuple(map(str, wanted)), attention, problem, put_back, missing)


def _models(manifest: dict[str, Any]) -> list[tuple[tables.Model, dict[str, Any]]]:
    theirs, ours = manifest["migrations"], tables.migrations()
    for label in sorted(theirs.keys() | ours.keys()):
        if theirs.get(label, []) != ours.get(label, []):
            last = [names[-1] if (names := one.get(label)) else "nothing" for one in (theirs, ours)]
            raise Refused(
                f"It was made by another release: its {label} is at {last[0]}, this database at {last[1]}. Restore it "
                "with the release that made it, then upgrade."
            )
    known = {model._meta.label: model for model in tables.kept()}
    entries = {entry["model"]: entry for entry in manifest["tables"]}
    if known.keys() != entries.keys():
        raise Refused(f"It was made by another release: {', '.join(sorted(known.keys() ^ entries.keys()))} differ.")
    return [(known[label], entries[label]) for label in sorted(entries)]


def _keys(reader: archive.Reader) -> dict[Path, bytes]:
    try:
        return {keyfiles.place_of(part): reader.read(part) for part in reader.names("keys/")}
    except ValueError as error:
        raise archive.Damaged(f"It holds something that no backup has: {error}.") from error


def _require_recordings(reader: archive.Reader) -> None:
    try:
        for part in reader.names(recordings.FOLDER):
            recordings.place_of(part)
    except ValueError as error:
        raise archive.Damaged(f"It holds something that no backup has: {error}.") from error


def _require_nobody(replace: bool, wanted: dict[Path, bytes]) -> None:
    alive = [worker.name for worker in Worker.objects.all() if not worker.is_silent]
    if alive:
        seconds = int(Worker.SILENT_AFTER.total_seconds())
        raise Refused(
            f"Workers are running ({', '.join(sorted(alive))}): stop them, the clock and the pages, and wait until "
            f"they have been silent for {seconds} seconds."
        )
    if Operation.objects.filter(lease_expires_at__gt=timezone.now()).exists():
        raise Refused("A worker has an operation in hand: stop it, and wait until its lease has run out.")
    if replace:
        return
    if not tables.is_empty():
        raise Refused("This panel has been used: with --replace all that it knows is replaced, its log too.")
    if others := keyfiles.differing(wanted):
        raise Refused(f"There are other keys already ({', '.join(map(str, others))}): --replace keeps them beside.")


def _clear() -> dict[str, Any]:
    """Where the log ended that goes."""
    head = AuditHead.objects.first() or AuditHead()
    drop_triggers(connection)
    tables.clear()
    make_triggers(connection)
    audittext.make(connection)
    return {"sequence": head.sequence, "hash": head.hash}


def _load(reader: archive.Reader, model: tables.Model, entry: dict[str, Any]) -> int:
    try:
        rows = tables.load(model, entry["columns"], reader.lines(entry["part"]))
    except (LookupError, TypeError, ValueError, ValidationError) as error:
        raise archive.Damaged(f"{entry['model']} holds what this release does not understand: {error}.") from error
    if rows != entry["rows"]:
        raise archive.Damaged(f"{entry['part']} has {rows} rows; {entry['rows']} were written.")
    return rows


def _verify(noted: dict[str, Any]) -> str:
    """What is wrong with the log, and was when the backup was made. Raises Refused for what is only wrong now."""
    checkpoint = (noted["sequence"], noted["hash"]) if noted["sequence"] and not noted["problem"] else None
    verdict = audit.verify(checkpoints=[checkpoint] if checkpoint else [])
    if verdict.problem and not noted["problem"]:
        raise Refused(f"The log would not hold: {verdict.problem}.")
    return verdict.problem


def _put_down_what_was_open() -> int:
    """Nothing acts by itself afterwards: what was open needs somebody. What no worker had begun holds no names."""
    count = 0
    for operation in Operation.objects.select_related("host").filter(status__in=Operation.OPEN).order_by("pk"):
        begun = bool(operation.sealed) or operation.status != Status.QUEUED
        if not begun:
            _give_back(operation)
        operation.status, operation.finished_at = Status.STUCK, timezone.now()
        operation.error = f"{BEGUN}take it up again." if begun else f"{NOT_BEGUN}try it again."
        operation.waiting_for = operation.lease_owner = ""
        operation.lease_expires_at = operation.unreachable_since = operation.sent_at = None
        operation.save()
        audit.record(
            "operation.restore",
            actor=SOURCE,
            outcome="stuck",
            operation=operation,
            detail=operation.error,
            source=SOURCE,
        )
        count += 1
    return count


def _give_back(operation: Operation) -> None:
    try:
        wanted = kind.get(operation.kind)
    except LookupError:
        return
    wanted.release(operation)


def _tell(path: Path, manifest: dict[str, Any], before: dict[str, Any] | None, attention: int) -> None:
    noted = manifest["audit"]
    after = {
        "file": path.name,
        "made_at": manifest["made_at"],
        "checkpoint": f"{noted['sequence']}:{noted['hash']}",
        "operations": attention,
    }
    audit.record("panel.restore", actor=SOURCE, before=before, after=after, source=SOURCE)
