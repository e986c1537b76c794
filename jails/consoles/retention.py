"""How long recordings are kept. Their digests stay in the log, which never forgets; the files go.

First the row and the log say that a recording is removed, then its file goes: what a process that was killed left
behind is found by its name, the next time.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from jails import audit
from jails.consoles import cast
from jails.models import AuditEntry, AuditReview, Console, ReviewMark

log = logging.getLogger(__name__)

A_BATCH = 200
"""Recordings in one transaction."""
ACTOR = "consoled"


def remove_old(now: datetime | None = None) -> int:
    """What is older than CONSOLE_RECORDING_DAYS and under no open review. How many; 0 days: none ever."""
    now = now or timezone.now()
    count = 0
    if settings.CONSOLE_RECORDING_DAYS > 0:
        last = now - timedelta(days=settings.CONSOLE_RECORDING_DAYS)
        held = under_review()
        while batch := _mark(last, held, now):
            count += batch
    _remove_files()
    return count


def under_review() -> set[uuid.UUID]:
    """Consoles that somebody has yet to look at.

    An entry about one is in the queue, or the break-glass it came by is, or the rules have not read the log so far.
    """
    waiting = AuditReview.objects.exclude(state=AuditReview.State.DONE)
    asked = AuditEntry.objects.filter(sequence__in=waiting.values("sequence")).order_by()
    found = _consoles(asked.filter(after__has_key="console"))
    glasses = asked.filter(action="jail.breakglass", after__has_key="break_glass").values_list("after", flat=True)
    by = [f"break-glass {after['break_glass']}" for after in glasses]
    read = ReviewMark.objects.filter(pk=1).values_list("sequence", flat=True).first() or 0
    openings = AuditEntry.objects.filter(action__in=("console.open", "console.run"), after__has_key="console")
    return found | _consoles(openings.filter(Q(approval__in=by) | Q(sequence__gt=read)).order_by())


def _consoles(entries: Iterable[AuditEntry]) -> set[uuid.UUID]:
    found = set()
    for after in entries.values_list("after", flat=True).iterator():  # type: ignore[attr-defined]
        try:
            found.add(uuid.UUID(str(after["console"])))
        except ValueError:
            continue
    return found


@transaction.atomic
def _mark(last: datetime, held: set[uuid.UUID], now: datetime) -> int:
    """Of the oldest that are kept still, and ended until then. How many."""
    old = Console.objects.filter(ended_at__lt=last, removed_at=None).order_by("ended_at", "pk")
    rows = Console.objects.filter(pk__in=_first(old.values_list("pk", flat=True), held), removed_at=None)
    found = list(rows.select_related("jail", "tenant").order_by("pk"))
    for row in found:
        row.removed_at = now
    Console.objects.bulk_update(found, ["removed_at"])
    audit.record_all([_entry(row) for row in found])
    return len(found)


def _first(pks: Iterable[uuid.UUID], held: set[uuid.UUID]) -> list[uuid.UUID]:
    found: list[uuid.UUID] = []
    for pk in pks.iterator():  # type: ignore[attr-defined]
        if pk not in held:
            found.append(pk)
        if len(found) == A_BATCH:
            break
    return found


def _entry(row: Console) -> AuditEntry:
    return audit.entry(
        "recording.remove",
        actor=ACTOR,
        obj=row.jail if row.jail_id else row,
        tenant=row.tenant,
        host=row.host_name,
        after={"console": str(row.pk), "recording_sha256": row.digest, "bytes": row.size},
        detail=f"Older than {settings.CONSOLE_RECORDING_DAYS} days.",
        source=ACTOR,
    )


def _remove_files() -> None:
    """Of all that are marked: a month's folder at a time."""
    root = Path(settings.CONSOLE_RECORDINGS)
    if not root.is_dir():
        return
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()):
        names = {path.name: path for path in folder.iterdir()}
        for pk in _marked(list(names)):
            name = f"{pk}.cast"
            for path in (names.get(name), names.get(cast.draft_of(Path(name)).name)):
                if path is not None:
                    path.unlink(missing_ok=True)
        if names and not any(folder.iterdir()):
            folder.rmdir()


def _marked(names: Sequence[str]) -> list[uuid.UUID]:
    pks = []
    for name in names:
        try:
            pks.append(uuid.UUID(name.partition(".")[0]))
        except ValueError:
            continue
    found: list[uuid.UUID] = []
    for at in range(0, len(pks), A_BATCH):
        rows = Console.objects.filter(pk__in=pks[at : at + A_BATCH], removed_at__isnull=False)
        found += rows.values_list("pk", flat=True)
    return found
