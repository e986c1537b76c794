"""What jails use, minute by minute for a day and hour by hour for statements. A worker measures after a refresh."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Avg, F, Max, Q, Sum
from django.utils import timezone

from jails.hosts import connect, usage
from jails.hosts.connection import CommandTimeout, Connection, HostUnavailable
from jails.hosts.data import decode, encode
from jails.hosts.usage import Seen, Used
from jails.looks.looking import running_name
from jails.models import Host, HostSampling, Jail, Sample, UsageHour

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=50)
"""Less than a refresh, so that every one of those brings a sample and no two come with one."""
USUAL = 60
"""Seconds that a sample stands for where there is none shortly before it."""
GAP = timedelta(seconds=150)
"""Samples further apart have a gap between them: nobody knows what was used then."""
LATELY = timedelta(minutes=5)
MEASURED = (Jail.State.RUNNING, Jail.State.STOPPED, Jail.State.DYING)


def is_due(host: Host) -> bool:
    """Whether the last measurement is old enough."""
    return not HostSampling.objects.filter(host=host, at__gt=timezone.now() - EVERY).exists()


def measure(host: Host, *, connection: Callable[[Host], Connection] = connect.connection) -> None:
    """Measure all jails of a host. One that does not answer leaves a gap."""
    begun = timezone.now()
    rows = list(Jail.objects.filter(host=host, state__in=MEASURED).order_by("pk"))
    names = {row.jid: running_name(row) for row in rows if row.state == Jail.State.RUNNING and row.jid}
    try:
        found = usage.gather(connection(host), names)
    except (HostUnavailable, CommandTimeout) as error:
        log.info("the jails of %s could not be measured: %s", host, error)
        return
    with transaction.atomic():
        record = HostSampling.objects.select_for_update().filter(host=host).first()
        if record is not None and record.at >= begun:
            return
        _store(host, begun, rows, found, record)
    roll_up(host, begun)


def _store(
    host: Host, at: datetime, rows: Iterable[Jail], found: Mapping[int, Used], record: HostSampling | None
) -> None:
    before = _counters(record, at)
    found = {jid: usage.carried_on(before.get(jid), used) for jid, used in found.items()}
    seconds = round((at - record.at).total_seconds()) if record is not None and at - record.at <= GAP else USUAL
    there = set(Jail.objects.filter(host=host).values_list("pk", flat=True))
    samples = [_sample(row, at, seconds, before, found) for row in rows if row.pk in there]
    Sample.objects.bulk_create(samples, ignore_conflicts=True)
    values = {
        "at": at,
        "counters": {str(jid): encode(used) for jid, used in found.items()},
        "by_racct": any(used.cpu is not None for used in found.values()),
    }
    HostSampling.objects.update_or_create(host=host, defaults=values)


def _counters(record: HostSampling | None, at: datetime) -> dict[int, Used]:
    """jid → what was seen the last time; nothing after a gap."""
    if record is None or at - record.at > GAP:
        return {}
    return {int(jid): _used(data) for jid, data in record.counters.items()}


def _used(data: Mapping[str, Any]) -> Used:
    processes = {int(pid): decode(Seen, seen) for pid, seen in data["processes"].items()}
    return Used(data["memory"], data["cpu"], processes)


def _sample(row: Jail, at: datetime, seconds: int, before: Mapping[int, Used], found: Mapping[int, Used]) -> Sample:
    sample = Sample(jail=row, at=at, seconds=seconds, running=False, cpu=0.0, disk=row.used + row.used_by_snapshots)
    used = found.get(row.jid) if row.jid else None
    if used is None:
        return sample
    sample.running, sample.memory, sample.processes = True, used.memory, len(used.processes)
    earlier = before.get(row.jid or 0)
    sample.cpu = None
    if earlier is not None:
        sample.cpu = usage.cpu_between(earlier, used)
    elif before and (at - row.state_since).total_seconds() <= 2 * seconds:
        sample.cpu = usage.cpu_between(Used(cpu=0), used)  # started since
    return sample


def lately(jails: Iterable[Jail]) -> dict[int, Sample]:
    """The newest sample of each jail by its id, in one query; of one that nobody has measured lately none."""
    found = Sample.objects.filter(jail__in=[row.pk for row in jails], at__gt=timezone.now() - LATELY)
    return {sample.jail_id: sample for sample in found.order_by("at")}


# Hours


def roll_up(host: Host, now: datetime) -> None:
    """Put the hours that have ended into UsageHour, once an hour, and remove what is old."""
    this_hour = _hour(now)
    record = HostSampling.objects.get(host=host)
    if record.hours_until is not None and record.hours_until >= this_hour:
        return
    with transaction.atomic():
        start = record.hours_until or this_hour - Sample.KEPT
        hour = max(_hour(start), _hour(now - Sample.KEPT))
        while hour < this_hour:
            _store_hour(Jail.objects.filter(host=host), hour)
            hour += timedelta(hours=1)
        HostSampling.objects.filter(host=host).update(hours_until=this_hour)
    Sample.objects.filter(at__lt=now - Sample.KEPT).delete()
    UsageHour.objects.filter(hour__lt=now - UsageHour.KEPT).delete()


def close(jail: Jail) -> None:
    """A jail is about to go from the panel: what its last hours used is kept."""
    record = HostSampling.objects.filter(host=jail.host_id).first()
    first = record.hours_until if record is not None else None
    last = jail.samples.order_by("-at").first()
    hour = first or (_hour(last.at) if last is not None else None)
    while last is not None and hour is not None and hour <= last.at:
        _store_hour(Jail.objects.filter(pk=jail.pk), hour)
        hour += timedelta(hours=1)


def hand_over(jail: Jail) -> None:
    """A jail is about to get another owner: what it used is booked to the one it has, and not shown to the next."""
    close(jail)
    jail.samples.all().delete()


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _store_hour(jails: Any, hour: datetime) -> None:
    """Of an hour in which a jail was given away the former owner has what was measured until then, and that is all."""
    rows = {row.pk: row for row in jails.select_related("host")}
    booked = UsageHour.objects.filter(jail__in=jails, hour=hour).values_list("jail", "tenant")
    given = {pk for pk, tenant in booked if tenant != rows[pk].tenant_id} if rows else set()
    while_running = Q(running=True)
    samples = Sample.objects.filter(jail__in=jails, at__gte=hour, at__lt=hour + timedelta(hours=1))
    found = samples.order_by().values("jail").annotate(
        measured=Sum("seconds"),
        ran=Sum("seconds", filter=while_running),
        cpu_sum=Sum("cpu"),
        memory_sum=Sum(F("memory") * F("seconds"), filter=while_running),
        memory_peak=Max("memory"),
        processes_peak=Max("processes"),
        disk_average=Avg("disk"),
        disk_peak=Max("disk"),
    )  # fmt: skip
    hours = [_usage_hour(rows[one["jail"]], hour, one) for one in found if one["jail"] in rows.keys() - given]
    fields = [field.name for field in UsageHour._meta.concrete_fields if field.name not in ("id", "jail_uuid", "hour")]
    UsageHour.objects.bulk_create(
        hours, update_conflicts=True, unique_fields=["jail_uuid", "hour"], update_fields=fields
    )


def _usage_hour(jail: Jail, hour: datetime, found: Mapping[str, Any]) -> UsageHour:
    ran = found["ran"] or 0
    return UsageHour(
        jail=jail,
        jail_uuid=jail.uuid,
        jail_name=jail.name,
        host_name=jail.host.name,
        tenant_id=jail.tenant_id,
        hour=hour,
        measured=min(3600, found["measured"]),
        running=min(3600, ran),
        cpu=found["cpu_sum"] or 0.0,
        memory=round((found["memory_sum"] or 0) / ran) if ran else 0,
        memory_peak=found["memory_peak"],
        processes_peak=found["processes_peak"],
        disk=round(found["disk_average"]),
        disk_peak=found["disk_peak"],
    )
