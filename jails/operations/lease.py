"""Leases: which worker has an operation, and the proof that it still does.

A lease is a token that every take-over raises. Each write a worker makes about an operation happens in a transaction
that first updates the operation's row on condition of the token, so that a worker that was declared dead and wakes up
again cannot write a thing. Clocks of workers need not agree well: they only decide when a lease counts as abandoned.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import Error, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from jails.models import Operation

log = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds after which a lease that could not be renewed is tried again."""


class LeaseLost(Exception):
    """Another worker has the operation by now: stop at once and touch nothing more."""


@dataclass
class Lease:
    """The right to run one operation until it expires. `seconds` is for how long it is taken and renewed."""

    operation_id: UUID
    owner: str
    token: int
    seconds: float
    now: Callable[[], datetime] = field(default=timezone.now, repr=False)
    _token_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def writing(self, **fields: Any) -> Iterator[None]:
        """A transaction that renews the lease and sets `fields` of the operation; raises LeaseLost instead."""
        with transaction.atomic():
            self._update(**{"lease_expires_at": self._expiry(), "changed_at": self.now(), **fields})
            yield

    def write(self, **fields: Any) -> None:
        with self.writing(**fields):
            pass

    def renew(self) -> None:
        """From any thread."""
        with self._token_lock:
            self._update(lease_expires_at=self._expiry())

    def raise_token(self) -> None:
        """A new token for the same worker: what was sent to the host under the old one may not start any more."""
        with self._token_lock, transaction.atomic():
            self._update(lease_token=F("lease_token") + 1, lease_expires_at=self._expiry())
            self.token = Operation.objects.values_list("lease_token", flat=True).get(pk=self.operation_id)

    def give_back(self, **fields: Any) -> None:
        """Let any worker take it from now on."""
        self._update(lease_expires_at=None, lease_owner="", changed_at=self.now(), **fields)

    def _expiry(self) -> datetime:
        return self.now() + timedelta(seconds=self.seconds)

    def _update(self, **fields: Any) -> None:
        # A lease that was given back, or whose operation has ended, must not come to life again by a late write.
        held = Operation.objects.filter(
            pk=self.operation_id,
            lease_token=self.token,
            lease_expires_at__isnull=False,
            status__in=Operation.OPEN,
        )
        if not held.update(**fields):
            raise LeaseLost(f"operation {self.operation_id}: another worker has it")


def claim(operation_id: UUID, owner: str, seconds: float, now: Callable[[], datetime] = timezone.now) -> Lease | None:
    """Take an open operation that nobody has, or whose lease has expired. One statement: of two workers one wins."""
    moment = now()
    free = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=moment)
    with transaction.atomic():
        taken = Operation.objects.filter(free, pk=operation_id, status__in=Operation.OPEN).update(
            lease_token=F("lease_token") + 1,
            lease_owner=owner[:128],
            lease_expires_at=moment + timedelta(seconds=seconds),
        )
        if not taken:
            return None
        token = Operation.objects.values_list("lease_token", flat=True).get(pk=operation_id)
    return Lease(operation_id, owner, token, seconds, now)


class Pulse:
    """A thread that renews a lease while the worker waits for a command. `lost` is set when it turned out to be lost.

    It has a database connection of its own, made anew after each failure: the database may have been restarted.
    """

    def __init__(self, lease: Lease, every: float, beat: float = 1.0) -> None:
        self.lease, self.every, self.beat = lease, every, beat
        self.lost = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def meanwhile(self, errand: Callable[[], None]) -> Iterator[None]:
        """Call `errand` at each beat, in a thread of its own: it may take long, and the lease must not wait for it."""
        stop = threading.Event()
        thread = threading.Thread(target=self._errands, args=(errand, stop), name="errand", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            # What takes longer is left alone: it can write nothing once the lease is given back.
            thread.join(self.beat)

    def _errands(self, errand: Callable[[], None], stop: threading.Event) -> None:
        try:
            while not stop.wait(self.beat):
                try:
                    errand()
                except LeaseLost:
                    return
                except Exception:
                    log.exception("what is done beside a step of operation %s failed", self.lease.operation_id)
                    connection.close()
        finally:
            connection.close()

    def _run(self) -> None:
        pause = self.every
        try:
            while not self._stop.wait(pause):
                try:
                    self.lease.renew()
                    pause = self.every
                except LeaseLost:
                    self.lost.set()
                    return
                except Error:
                    log.exception("the lease of operation %s could not be renewed", self.lease.operation_id)
                    connection.close()
                    pause = min(self.every, AGAIN)
        finally:
            connection.close()
