"""The audit log: what an entry costs, what checking costs, and its page when there is a lot of it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from statistics import median
from urllib.parse import urlencode

from django.db import connection, connections, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from jails import audit, audittext
from jails.models import AuditEntry, AuditHead, Network, User
from tests.bench import pages

ENTRIES = 1_000_000
BATCH = 10_000
WRITERS = 100
PROCESSES = os.cpu_count() or 1
EACH = 20
RUNS = 3
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
FILTERS = (
    ("", {}),
    (", the last page", {"before": "40"}),
    (", by who", {"who": "person-7"}),
    (", by an action", {"action": "jail.start"}),
    (", by one seldom done", {"action": "host.forget"}),
    (", by outcome", {"outcome": "refused"}),
    (", by tenant", {"tenant": "tenant-3"}),
    (", by host", {"host": "host-9"}),
    (", by days", {"since": "2026-02-01", "until": "2026-02-02"}),
    (", by text, often there", {"q": "jail-42"}),
    (", by text, once there", {"q": "needle"}),
    (", by text, nowhere", {"q": "nothing like it"}),
    (", all together", {
        "who": "person-7", "action": "jail.start", "outcome": "done", "tenant": "tenant-3", "host": "host-9",
        "since": "2026-01-01", "until": "2026-12-31", "q": "jail",
    }),
)  # fmt: skip


def rows() -> Iterator[tuple[str, list[float], str]]:
    yield from appending()
    fill()
    yield from checking()
    yield from reading()


def appending() -> Iterator[tuple[str, list[float], str]]:
    """A change with its entry, against the change alone; then that by many writers at once, against one."""
    network = Network.objects.create(name="log-bench", cidr="10.0.0.0/8")

    def change() -> None:
        with transaction.atomic():
            Network.objects.filter(pk=network.pk).update(name="log-bench")

    def change_and_tell() -> None:
        with transaction.atomic():
            Network.objects.filter(pk=network.pk).update(name="log-bench")
            audit.record("network.change", actor="grace", obj=network, before={"a": 1}, after={"a": 2})

    for do in (change, change_and_tell):
        took(do, 300)  # the first ones of all are slow
    both = [(took(change, 300), took(change_and_tell, 300)) for _ in range(RUNS)]
    told = [with_entry for _, with_entry in both]
    yield "one writer", [with_entry / alone for alone, with_entry in both], "against the change without it"
    many = []
    for _ in range(RUNS):
        before = AuditEntry.objects.count()
        begin = time.perf_counter()
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda _: writer(change_and_tell), range(WRITERS)))
        many.append((time.perf_counter() - begin) / WRITERS / EACH)
        assert AuditEntry.objects.count() == before + WRITERS * EACH and audit.verify().ok
    yield f"{WRITERS} writers", [one / median(told) for one in many], "an entry, against one writer's"


def writer(change: Callable[[], None]) -> None:
    for _ in range(EACH):
        change()
    connections.close_all()


def took(do: Callable[[], object], times: int = 1) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        do()
    return (time.perf_counter() - begin) / times


def fill() -> None:
    """A chain of so many entries, the needle in its middle."""
    head = AuditHead.objects.get(pk=1)
    while head.sequence < ENTRIES:
        numbers = range(head.sequence + 1, head.sequence + BATCH + 1)
        with transaction.atomic():
            for made in (batch := [entry(number) for number in numbers]):
                made.previous_hash = head.hash
                made.hash = head.hash = audit.entry_hash(made)
                head.sequence = made.sequence
            AuditEntry.objects.bulk_create(batch, batch_size=500)
            head.save()


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        sequence=number,
        at=SINCE + timedelta(seconds=20 * number),
        actor_id=number % 50,
        actor=f"person-{number % 50}",
        source="192.0.2.7",
        tenant_id=number % 20,
        tenant=f"tenant-{number % 20}",
        action="host.forget" if number % 50_000 == 0 else ("jail.start", "jail.stop", "jail.change")[number % 3],
        object_type="jail",
        object_id=f"0000{number % 1000}",
        object_name="needle" if number == ENTRIES // 2 else f"jail-{number % 1000}",
        host=f"host-{number % 30}",
        before={"boot": False},
        after={"boot": True},
        plan_digest=hashlib.sha256(b"%d" % number).hexdigest(),
        outcome="refused" if number % 997 == 0 else "done",
    )


def checking() -> Iterator[tuple[str, list[float], str]]:
    """Of all entries, against hashing the same bytes with nothing else to do, and against reading the rows alone."""
    newest = min(200_000, ENTRIES)
    found = AuditEntry.objects.order_by("-sequence")[:newest]
    lines = [audit.line(one).encode() for one in found.iterator(chunk_size=1000)]
    runs = [
        (
            took(lambda: [hashlib.sha256(line).hexdigest() for line in lines]),
            took(lambda: audit.verify(newest=newest)),
            took(lambda: audit.verify(newest=newest, processes=PROCESSES)),
            took(lambda: [None for _ in found.iterator(chunk_size=1000)]),
        )
        for _ in range(RUNS)
    ]
    yield "checking, ÷ hashlib", [one / hashing for hashing, one, _, _ in runs], f"{newest:,} entries"
    yield f"checking, {PROCESSES} processes", [several / hashing for hashing, _, several, _ in runs], "÷ hashlib in one"
    yield "checking, ÷ reading the rows", [one / rows_alone for _, one, _, rows_alone in runs], f"{newest:,} entries"


def reading() -> Iterator[tuple[str, list[float], str]]:
    audittext.analyse()  # as a worker does every day
    with override_settings(ROOT_URLCONF=pages.__name__, ALLOWED_HOSTS=["testserver"]):
        client = Client()
        client.force_login(User.objects.create_user("hopper", role=User.Role.AUDITOR))
        nothing = median(pages.times(client, "/empty"))
        for label, query in FILTERS:
            address = f"/audit/?{urlencode(query)}" if query else "/audit/"
            with CaptureQueriesContext(connection) as captured:
                client.get(address)
                queries = len(captured)
            ratios = [one / nothing for one in pages.times(client, address)]
            yield f"the page{label}", ratios, f"{queries} queries"
