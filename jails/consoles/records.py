"""Rows and entries of the log for consoles: what is opened, what it left, and who read it."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from jails import audit, breakglass, policy
from jails.consoles import cast, sessions
from jails.consoles.tickets import Opening, Refused
from jails.looks import looking
from jails.models import Console


def path_of(console: Console) -> Path:
    """In the workers' folder, by month: neither the web process nor any person but root reads there."""
    return Path(settings.CONSOLE_RECORDINGS, f"{console.opened_at:%Y-%m}", f"{console.pk}.cast")


def begin(opening: Opening, kind: str, *, text: str = "") -> Console:
    """Before anything runs on the host. Of a command the log has a digest alone: it may hold a secret."""
    jail = opening.jail
    console = Console(
        kind=kind,
        user=opening.user,
        username=opening.user.username,
        jail=jail,
        jail_name=jail.name,
        host_name=jail.host.name,
        tenant_id=jail.tenant_id,
        login=opening.login,
        source=opening.source,
    )
    after: dict[str, Any] = {"console": str(console.pk), "as": opening.login}
    if text:
        after["command_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    with transaction.atomic():
        console.save(force_insert=True)
        action = "console.run" if kind == Console.Kind.COMMAND else "console.open"
        by = _break_glass(opening)
        audit.record(action, actor=opening.user, obj=jail, after=after, source=opening.source, approval=by)
    return console


def _break_glass(opening: Opening) -> str:
    """Which one lets an administrator in; "" for whoever may go in otherwise."""
    glass = breakglass.open_jails(opening.user, [opening.jail]).get(opening.jail.pk)
    return f"break-glass {glass}" if glass is not None else ""


def note_follower(opening: Opening) -> None:
    """Before a log is followed: that somebody of the staff begins to read in a tenant's jail is an entry."""
    with transaction.atomic():
        looking.note_reader(opening.user, opening.jail, opening.action, opening.log, source=opening.source)


def end(
    console: Console,
    ended: str,
    *,
    status: int | None,
    digest: str,
    size: int,
    cut: bool,
    at: datetime | None = None,
) -> None:
    """Once: the digest of the recording in the log is what shows a later change of it. `at`: when, where not now."""
    with transaction.atomic():
        row = Console.objects.select_for_update(of=("self",)).get(pk=console.pk)
        if row.ended_at is not None:
            return
        row.ended_at, row.ended, row.status = at or timezone.now(), ended, status
        row.digest, row.size, row.cut = digest, size, cut
        row.save(update_fields=["ended_at", "ended", "status", "digest", "size", "cut"])
        after = {
            "console": str(row.pk),
            "seconds": round((row.ended_at - row.opened_at).total_seconds()),
            "ended": ended,
            "status": status,
            "recording_sha256": digest,
            "bytes": size,
        }
        audit.record(
            "console.close",
            actor=row.user or row.username,
            obj=row.jail if row.jail_id else row,
            tenant=row.tenant,
            host=row.host_name,
            after=after,
            detail=cast.CUT if cut else "",
            source=row.source,
        )


def rescue() -> int:
    """What a consoled that was killed left open: its rows end, its recordings are finished as far as they go."""
    left = list(Console.objects.filter(ended_at=None).select_related("user", "jail", "tenant"))
    for console in left:
        digest, size = cast.rescue(path_of(console)) or ("", 0)
        end(console, Console.Ended.SERVICE.value, status=None, digest=digest, size=size, cut=False)
    return len(left)


def read(session_key: str, pk: str, *, source: str) -> tuple[Console, Path, bool]:
    """A recording for who may see it, and whether it is what the log says it was. Writes the reading into the log.

    Raises Refused.
    """
    person = sessions.owner(session_key)
    try:
        wanted = uuid.UUID(pk)
    except ValueError:
        raise Refused("There is no such recording.") from None
    console = Console.objects.select_related("jail", "tenant").filter(pk=wanted).first()
    if person is None or console is None:
        raise Refused("There is no such recording.")
    if not policy.allowed(person, "recording.view", console):
        raise Refused("You may not read recordings.")
    if console.removed_at is not None:
        raise Refused("It was removed because it was old. Its digest is in the log.")
    path = path_of(console)
    found = cast.digest_of(path)
    if console.is_open or found is None:
        raise Refused("It is still being recorded." if console.is_open else "Its file is gone.")
    is_whole = found[0] == console.digest
    after = {"console": str(console.pk), "recording_sha256": found[0]}
    about = {"obj": console.jail if console.jail_id else console, "tenant": console.tenant, "host": console.host_name}
    with transaction.atomic():
        detail = "" if is_whole else "The file is not the one that was recorded."
        audit.record("recording.read", actor=person, after=after, detail=detail, source=source, **about)
    return console, path, is_whole
