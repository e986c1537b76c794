"""What a jail uses, as charts: over the last hour, day and month."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.utils import timezone

from jails import usage
from jails.models import HostSampling, Jail, Sample, UsageHour
from panel.charts import Chart, Point, chart
from panel.templatetags.cellblock import iec


@dataclass(frozen=True)
class Span:
    """`bucket`: points of so much time are put together; None: each sample is a point. `gap`: longer without a point
    is a gap."""

    word: str
    length: timedelta
    bucket: timedelta | None
    gap: timedelta


SPANS = {
    "hour": Span("Last hour", timedelta(hours=1), None, usage.GAP),
    "day": Span("Last day", timedelta(days=1), timedelta(minutes=10), timedelta(minutes=21)),
    "month": Span("Last 30 days", timedelta(days=30), timedelta(hours=6), timedelta(hours=13)),
}
DEFAULT = "hour"


@dataclass(frozen=True)
class Measure:
    """One thing that was measured, and its chart. `now` is None where there is no recent sample."""

    name: str
    title: str
    note: str
    now: str | None
    limit: str
    chart: Chart


@dataclass(frozen=True)
class Row:
    """What was used at `at`: `cpu` in per cent of a core, None where it is not known; bytes; no. of processes."""

    at: datetime
    running: bool
    cpu: float | None
    memory: float
    processes: float
    disk: float


def measures(jail: Jail, span_name: str, *, now: datetime | None = None) -> list[Measure]:
    """Charts of a jail. One query."""
    now = now or timezone.now()
    span = SPANS[span_name]
    rows = _months(jail, now - span.length) if span_name == "month" else _samples(jail, now - span.length, now)
    if span.bucket is not None:
        rows = _together(rows, span.bucket)
    limits = jail.limits
    is_current = bool(rows) and now - rows[-1].at <= span.gap

    def one(
        name: str, title: str, value: Callable[[Row], float | None], shown: Callable[[float], str],
        *, limit: Any = None, note: str = "", binary: bool = False, least: float = 1,
    ) -> Measure:  # fmt: skip
        points = [Point(row.at, value(row)) for row in rows]
        bound = float(limit) if limit else None
        drawn = chart(
            points, now - span.length, now, gap=span.gap, shown=shown, binary=binary, limit=bound, least=least
        )
        last = points[-1].value if is_current else None
        return Measure(name, title, note, None if last is None else shown(last), shown(bound) if bound else "", drawn)

    def running(value: Callable[[Row], float | None]) -> Callable[[Row], float | None]:
        return lambda row: value(row) if row.running else None

    found = [
        one("cpu", "CPU", running(lambda row: row.cpu), percent, limit=limits.get("cpu"), least=10),
        one(
            "memory", "Memory", running(lambda row: row.memory), in_bytes,
            limit=limits.get("memory"), binary=True, least=2**24,
        ),
        one(
            "processes", "Processes", running(lambda row: row.processes), whole,
            limit=limits.get("processes"), least=10,
        ),
    ]  # fmt: skip
    if jail.dataset:
        disk = one("disk", "Disk", lambda row: row.disk, in_bytes, limit=limits.get("quota"), binary=True, least=2**20)
        found.append(disk)
    return found


def how_cpu_is_known(jail: Jail) -> str:
    """What the CPU time of its host's jails rests on: `racct`, `processes`, or "" where nothing was measured yet."""
    by_racct = HostSampling.objects.filter(host=jail.host_id).values_list("by_racct", flat=True).first()
    return "" if by_racct is None else "racct" if by_racct else "processes"


def _samples(jail: Jail, since: datetime, until: datetime) -> list[Row]:
    rows = Sample.objects.filter(jail=jail, at__gte=since, at__lte=until).order_by("at")
    columns = rows.values_list("at", "seconds", "running", "cpu", "memory", "processes", "disk")
    return [
        Row(at, running, None if cpu is None else 100 * cpu / max(1, seconds), memory, processes, disk)
        for at, seconds, running, cpu, memory, processes, disk in columns
    ]


def _months(jail: Jail, since: datetime) -> list[Row]:
    rows = UsageHour.objects.filter(jail=jail, tenant_id=jail.tenant_id, hour__gte=since).order_by("hour")
    return [
        Row(
            row.hour + timedelta(minutes=30),
            row.running > 0,
            100 * row.cpu / row.running if row.running else None,
            row.memory_peak,
            row.processes_peak,
            row.disk_peak,
        )
        for row in rows
    ]


def _together(rows: Iterable[Row], bucket: timedelta) -> list[Row]:
    """One row for each stretch of time that has any: CPU on average, of the others the highest."""
    length = bucket.total_seconds()
    return [_merged(list(group)) for _, group in groupby(rows, lambda row: row.at.timestamp() // length)]


def _merged(rows: Sequence[Row]) -> Row:
    known = [row.cpu for row in rows if row.running and row.cpu is not None]
    return Row(
        at=rows[len(rows) // 2].at,
        running=any(row.running for row in rows),
        cpu=sum(known) / len(known) if known else None,
        memory=max(row.memory for row in rows),
        processes=max(row.processes for row in rows),
        disk=max(row.disk for row in rows),
    )


def percent(value: float) -> str:
    return f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def in_bytes(value: float) -> str:
    return iec(round(value))


def whole(value: float) -> str:
    return f"{value:.0f}"
