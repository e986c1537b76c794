"""What a tenant's jails used in a month: added up from hours (UTC) that were measured.

An hour counts for the tenant that had the jail then. Hours that nobody measured are in no sum, and are said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, FloatField, Max, Min, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Cast
from django.utils import timezone

from jails.models import Jail, Tenant, UsageHour

HOUR = timedelta(hours=1)
GAPS = 20
"""Times without a measurement that are told one by one."""


@dataclass(frozen=True)
class Month:
    """A calendar month in UTC."""

    begin: datetime

    @classmethod
    def parse(cls, text: str) -> Month:
        """`2026-11`. ValueError."""
        if not re.fullmatch(r"2[0-9]{3}-[0-9]{2}", text):
            raise ValueError("month: expected a year and a month, like 2026-11")
        return cls(datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC))

    @classmethod
    def of(cls, moment: datetime) -> Month:
        moment = moment.astimezone(UTC)
        return cls(datetime(moment.year, moment.month, 1, tzinfo=UTC))

    def __str__(self) -> str:
        return f"{self.begin:%Y-%m}"

    @property
    def end(self) -> datetime:
        """The beginning of the next one."""
        return self.next.begin

    @property
    def next(self) -> Month:
        return Month.of(self.begin + timedelta(days=31))

    @property
    def before(self) -> Month:
        return Month.of(self.begin - timedelta(days=1))


@dataclass(frozen=True)
class Sums:
    """Of one jail or of all. measured, running, missing: seconds; missing ones should have been measured. cpu: seconds
    of CPU time. disk, memory: byte-seconds, memory while it ran. …_peak: bytes, of all the sum over jails of each one's
    own peak.
    """

    measured: int = 0
    running: int = 0
    missing: int = 0
    cpu: float = 0.0
    disk: float = 0.0
    disk_peak: int = 0
    memory: float = 0.0
    memory_peak: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Sums)))

    @property
    def running_hours(self) -> float:
        return self.running / 3600

    @property
    def missing_hours(self) -> float:
        return self.missing / 3600

    @property
    def cpu_hours(self) -> float:
        return self.cpu / 3600

    @property
    def disk_average(self) -> int:
        """Bytes, over the time that was measured."""
        return round(self.disk / self.measured) if self.measured else 0

    @property
    def memory_average(self) -> int:
        """Bytes, over the time that it ran."""
        return round(self.memory / self.running) if self.running else 0

    @property
    def disk_gib_hours(self) -> float:
        return self.disk / 3600 / 2**30

    @property
    def memory_gib_hours(self) -> float:
        return self.memory / 3600 / 2**30


@dataclass(frozen=True)
class Line:
    """A jail by the name that it had at the end. is_there: whether the tenant still has it."""

    uuid: UUID
    name: str
    host: str
    is_there: bool
    sums: Sums


@dataclass(frozen=True)
class Statement:
    """gaps: (begin, end) of times in which none of its jails was measured, until now where the month is not over."""

    tenant: Tenant
    month: Month
    lines: tuple[Line, ...]
    gaps: tuple[tuple[datetime, datetime], ...]

    @property
    def total(self) -> Sums:
        return sum((line.sums for line in self.lines), Sums())

    @property
    def more_gaps(self) -> int:
        return max(0, len(self.gaps) - GAPS)


def of(tenant: Tenant, month: Month, *, now: datetime | None = None) -> Statement:
    """In three queries, however many jails there are."""
    until = min(month.end, _full_hour(now or timezone.now()))
    lines = tuple(lines_of(tenant, month, until))
    return Statement(tenant, month, lines, tuple(gaps(_hours(tenant, month), month.begin, until)) if lines else ())


def months(tenant: Tenant) -> tuple[Month, Month] | None:
    """The first and the last month of which there are any hours."""
    found = UsageHour.objects.filter(tenant=tenant).aggregate(first=Min("hour"), last=Max("hour"))
    if found["first"] is None:
        return None
    return Month.of(found["first"]), Month.of(found["last"])


def lines_of(tenant: Tenant, month: Month, until: datetime) -> Iterator[Line]:
    own = UsageHour.objects.filter(tenant=tenant, jail_uuid=OuterRef("jail_uuid"))
    last = own.filter(hour__gte=month.begin, hour__lt=month.end).order_by("-hour")
    measured = Cast("measured", FloatField())
    running = Cast("running", FloatField())
    rows = (
        _in(tenant, month)
        .values("jail_uuid")
        .annotate(
            all_measured=Sum("measured"),
            all_running=Sum("running"),
            all_cpu=Sum("cpu"),
            # Bytes times seconds of a month are more than eight bytes hold.
            all_disk=Sum(Cast("disk", FloatField()) * measured),
            all_memory=Sum(Cast("memory", FloatField()) * running),
            top_disk=Max("disk_peak"),
            top_memory=Max("memory_peak"),
            first=Min("hour"),
            latest=Max("hour"),
            name=Subquery(last.values("jail_name")[:1]),
            host=Subquery(last.values("host_name")[:1]),
            was_there=Exists(own.filter(hour__lt=month.begin)),
            is_there=Exists(Jail.objects.filter(uuid=OuterRef("jail_uuid"), tenant=tenant)),
        )
        .order_by("name", "host", "jail_uuid")
    )
    for row in rows.iterator(chunk_size=500):
        begin = month.begin if row["was_there"] else row["first"]
        end = max(until, row["latest"] + HOUR) if row["is_there"] else row["latest"] + HOUR
        missing = round((end - begin).total_seconds()) - row["all_measured"]
        yield Line(
            row["jail_uuid"],
            row["name"],
            row["host"],
            row["is_there"],
            Sums(
                measured=row["all_measured"],
                running=row["all_running"],
                missing=max(0, missing),
                cpu=row["all_cpu"],
                disk=row["all_disk"],
                disk_peak=row["top_disk"],
                memory=row["all_memory"],
                memory_peak=row["top_memory"],
            ),
        )


def gaps(hours: Iterable[datetime], begin: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """What is missing between two moments of these hours, given in order."""
    at = begin
    for hour in hours:
        if hour > at:
            yield at, hour
        at = max(at, hour + HOUR)
    if at < until:
        yield at, until


def _in(tenant: Tenant, month: Month) -> QuerySet[UsageHour]:
    return UsageHour.objects.filter(tenant=tenant, hour__gte=month.begin, hour__lt=month.end).order_by()


def _hours(tenant: Tenant, month: Month) -> Iterable[datetime]:
    measured = _in(tenant, month).filter(measured__gt=0)
    return measured.order_by("hour").values_list(F("hour"), flat=True).distinct()


def _full_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


CSV_HEAD = (
    "month", "tenant", "jail", "uuid", "host", "running_hours", "cpu_seconds", "memory_average_bytes",
    "memory_peak_bytes", "memory_gib_hours", "disk_average_bytes", "disk_peak_bytes", "disk_gib_hours",
    "not_measured_hours",
)  # fmt: skip


def csv_rows(tenant: Tenant, month: Month, lines: Iterable[Line]) -> Iterator[list[Any]]:
    """A row a jail, then one for all of them."""
    total = Sums()
    for line in lines:
        total += line.sums
        yield [month, tenant.slug, line.name, line.uuid, line.host, *_cells(line.sums)]
    yield [month, tenant.slug, "all jails", "", "", *_cells(total)]


def _cells(sums: Sums) -> list[Any]:
    return [
        f"{sums.running_hours:.2f}",
        f"{sums.cpu:.0f}",
        sums.memory_average,
        sums.memory_peak,
        f"{sums.memory_gib_hours:.2f}",
        sums.disk_average,
        sums.disk_peak,
        f"{sums.disk_gib_hours:.2f}",
        f"{sums.missing_hours:.2f}",
    ]
