"""Audit logs for tests: filled, checked, and rewritten as the owner of the database could."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command

from jails import audit
from jails.models import AuditEntry, AuditHead


def verify(*words: str) -> str:
    """What `manage.py audit_verify` prints."""
    out = StringIO()
    call_command("audit_verify", *words, stdout=out)
    return out.getvalue()


def made_anew() -> None:
    """As somebody would who owns the database: every entry edited, hashed again, the head too."""
    previous = audit.GENESIS
    for entry in AuditEntry.objects.order_by("sequence"):
        entry.actor, entry.previous_hash = "eve", previous
        entry.hash = previous = audit.entry_hash(entry)
        AuditEntry.objects.filter(pk=entry.pk).update(actor="eve", previous_hash=entry.previous_hash, hash=entry.hash)
    AuditHead.objects.update(hash=previous)
