"""Testing what the panel may do on a host, and keeping what was found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from jails.hosts import connect
from jails.hosts.access import Access, Subject, examine
from jails.hosts.connection import Connection
from jails.models import Host, HostAccessRecord

AGAIN = timedelta(minutes=10)
"""How old a test that failed must be to be made again after a refresh: somebody may have put it right on the host."""


def subject_of(host: Host) -> Subject:
    return Subject(host.kind, host.username or "root", connect.become(host), host.jail_root, host.pool)


def test(host: Host, *, connection: Callable[[Host], Connection] = connect.connection) -> Access:
    """Try it and keep what was found, unless where the host is reached has changed meanwhile."""
    begun = timezone.now()
    found = examine(connection(host), subject_of(host))
    fields = ("address", "port", "username", "become", "host_key", "jail_root", "pool")
    same = {f"host__{name}": getattr(host, name) for name in fields}
    rows = HostAccessRecord.objects.filter(host=host.pk, **same)
    rows.exclude(tested_at__gt=begun).update(data=found.to_data(), tested_at=begun)
    return found


def test_again(host: Host, *, connection: Callable[[Host], Connection] = connect.connection) -> None:
    """After a refresh: what failed some time ago and may be right by now."""
    record = HostAccessRecord.objects.filter(host=host.pk, tested_at__lt=timezone.now() - AGAIN).first()
    if record is not None and record.access.failing:
        test(host, connection=connection)
