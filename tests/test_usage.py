"""Measuring the jails of a host, hours for statements, and what stays of a jail that is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails import tasks, usage
from jails.hosts import usage as gathering
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.hosts.usage import Seen, Used
from jails.models import Host, HostSampling, Jail, Sample, Tenant, UsageHour
from jails.operations import queue
from tests.panel.fleet import Fleet, make_fleet

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MiB = 2**20


@pytest.fixture
def fleet() -> Fleet:
    fleet = make_fleet()
    for number, jail in enumerate(fleet.jails.values(), 1):
        values: dict[str, Any] = {"jid": number if jail.state == "running" else None, "state_since": NOON}
        Jail.objects.filter(pk=jail.pk).update(**values)
        jail.refresh_from_db()
    return fleet


@pytest.fixture
def measure(fleet, monkeypatch):
    """Measure warden1 at a moment: its jails use what `used` says, by name."""

    def at(moment: datetime, **used: Used | Exception) -> None:
        def gather(connection: Any, jails: dict[int, str]) -> dict[int, Used]:
            if error := next((one for one in used.values() if isinstance(one, Exception)), None):
                raise error
            return {jid: used.get(name, Used()) for jid, name in jails.items()}  # type: ignore[misc]

        monkeypatch.setattr(gathering, "gather", gather)
        monkeypatch.setattr(timezone, "now", lambda: moment)
        usage.measure(fleet.zfs, connection=lambda host: SimpleNamespace())
        monkeypatch.undo()

    return at


def samples(jail: Jail) -> list[Sample]:
    return list(jail.samples.order_by("at"))


def used(cpu: int, memory: int = 10 * MiB) -> Used:
    return Used(memory, cpu, {700: Seen(1, 0.0)})


def test_each_jail_of_the_host_is_measured(fleet, measure):
    measure(NOON, www1=used(5), loghost=used(7, 20 * MiB))
    www1, loghost, www2 = (fleet.jails[name] for name in ("www1", "loghost", "www2"))
    (first,) = samples(www1)
    assert (first.running, first.memory, first.processes, first.cpu) == (True, 10 * MiB, 1, None)
    assert first.disk == www1.used + www1.used_by_snapshots
    assert samples(loghost)[0].memory == 20 * MiB
    (stopped,) = samples(www2)
    assert (stopped.running, stopped.memory, stopped.cpu) == (False, 0, 0.0)
    assert not Sample.objects.filter(jail__host=fleet.ufs).exists()
    assert HostSampling.objects.get().by_racct


def test_cpu_is_the_difference_and_is_not_known_after_a_gap(fleet, measure):
    www1 = fleet.jails["www1"]
    measure(NOON, www1=used(5))
    measure(NOON + timedelta(seconds=62), www1=used(20))
    measure(NOON + timedelta(minutes=10), www1=used(400))
    assert [(one.seconds, one.cpu) for one in samples(www1)] == [(60, None), (62, 15.0), (60, None)]


def test_a_jail_that_was_started_since_has_used_all_it_has(fleet, measure):
    www1 = fleet.jails["www1"]
    measure(NOON, www1=used(500))
    Jail.objects.filter(pk=www1.pk).update(jid=77, state_since=NOON + timedelta(seconds=30))
    measure(NOON + timedelta(seconds=60), www1=used(3))
    assert [one.cpu for one in samples(www1)] == [None, 3.0]


def test_what_is_swapped_out_for_a_while_is_not_counted_again(fleet, measure):
    www1 = fleet.jails["www1"]
    for minute, cpu in enumerate((30.0, 31.0, 0.0, 0.0, 32.0)):
        measure(NOON + timedelta(minutes=minute), www1=Used(MiB, None, {700: Seen(1, cpu)}))
    assert [one.cpu for one in samples(www1)] == [None, 1.0, 0.0, 0.0, 1.0]


def test_a_jail_that_was_only_now_seen_has_not(fleet, measure):
    www1 = fleet.jails["www1"]
    measure(NOON, www1=used(500))
    Jail.objects.filter(pk=www1.pk).update(jid=77, state_since=NOON - timedelta(days=30))
    measure(NOON + timedelta(seconds=60), www1=used(3))
    assert [one.cpu for one in samples(www1)] == [None, None]


def test_a_host_that_does_not_answer_leaves_a_gap(fleet, measure):
    measure(NOON, www1=HostUnavailable(Unavailable.REFUSED, "no"))
    assert not Sample.objects.exists() and not HostSampling.objects.exists()


def test_of_two_at_once_the_later_stays(fleet, measure):
    measure(NOON + timedelta(seconds=2), www1=used(9))
    measure(NOON, www1=used(5))
    assert len(samples(fleet.jails["www1"])) == 1
    assert HostSampling.objects.get().at == NOON + timedelta(seconds=2)


def test_it_costs_as_many_queries_for_many_jails_as_for_one(fleet, measure):
    measure(NOON)

    def cost(minute: int) -> int:
        with CaptureQueriesContext(
            database,
        ) as found:
            measure(NOON + timedelta(minutes=minute))
        return len(found)

    few = cost(1)
    Jail.objects.bulk_create(
        Jail(
            host=fleet.zfs, name=f"n{number}", kind="thin", path=f"/jail/n{number}", state="running", jid=1000 + number
        )
        for number in range(60)
    )
    assert cost(2) == few


# Hours


def hour_of(fleet: Fleet, measure: Any, until: int = 61) -> None:
    for minute in range(until):
        measure(NOON + timedelta(minutes=minute), www1=used(100 + 6 * minute, (10 + minute % 2 * 10) * MiB))


def test_an_hour_is_put_together_when_it_has_ended(fleet, measure):
    www1 = fleet.jails["www1"]
    hour_of(fleet, measure, 60)
    assert not UsageHour.objects.exists()
    measure(NOON + timedelta(minutes=60), www1=used(1000))
    row = UsageHour.objects.get(jail=www1)
    assert (row.hour, row.measured, row.running, row.cpu) == (NOON, 3600, 3600, 6 * 59)
    assert (row.memory, row.memory_peak, row.processes_peak) == (15 * MiB, 20 * MiB, 1)
    assert (row.disk, row.tenant, row.jail_name, row.host_name) == (www1.used, fleet.acme, "www1", "warden1")
    stopped = UsageHour.objects.get(jail=fleet.jails["www2"])
    assert (stopped.measured, stopped.running, stopped.cpu, stopped.memory) == (3600, 0, 0.0, 0)


def test_hours_that_nobody_measured_have_no_row_and_part_of_one_says_so(fleet, measure):
    measure(NOON, www1=used(1))
    measure(NOON + timedelta(minutes=1), www1=used(2))
    measure(NOON + timedelta(hours=5), www1=used(3))
    rows = UsageHour.objects.filter(jail=fleet.jails["www1"])
    assert [(row.hour, row.measured, row.running) for row in rows] == [(NOON, 120, 120)]


def test_it_is_the_same_when_it_is_done_again(fleet, measure):
    hour_of(fleet, measure)
    before = list(UsageHour.objects.order_by("pk").values())
    HostSampling.objects.update(hours_until=NOON)
    usage.roll_up(fleet.zfs, NOON + timedelta(hours=1, minutes=1))
    assert list(UsageHour.objects.order_by("pk").values()) == before


def test_what_is_old_is_removed(fleet, measure):
    measure(NOON, www1=used(1))
    old = UsageHour.objects.create(
        jail_uuid=fleet.jails["www1"].uuid, jail_name="www1", host_name="warden1", hour=NOON - timedelta(days=400),
        measured=1, running=1, cpu=1, memory=1, memory_peak=1, processes_peak=1, disk=1, disk_peak=1,
    )  # fmt: skip
    measure(NOON + timedelta(hours=24), www1=used(2))
    assert Sample.objects.filter(at=NOON).exists() and UsageHour.objects.filter(pk=old.pk).exists()
    measure(NOON + timedelta(days=40), www1=used(3))
    assert not Sample.objects.filter(at__lt=NOON + timedelta(days=2)).exists()
    assert not UsageHour.objects.filter(pk=old.pk).exists()


def test_what_a_jail_used_outlives_it(fleet, measure):
    hour_of(fleet, measure, 90)
    uuid = fleet.jails["www1"].uuid
    Jail.objects.filter(pk=fleet.jails["www1"].pk).delete()
    rows = list(UsageHour.objects.filter(jail_uuid=uuid).order_by("hour"))
    assert [(row.hour.hour, row.running, row.jail, row.tenant) for row in rows] == [
        (12, 3600, None, fleet.acme),
        (13, 1800, None, fleet.acme),
    ]
    assert rows[1].cpu == 6 * 30


def test_what_a_jail_used_stays_with_who_had_it(fleet, measure):
    """The hour in which it is given is the former owner's, as far as it was measured by then."""
    www1 = fleet.jails["www1"]
    former, heir = www1.tenant, Tenant.objects.create(name="Heir", slug="heir")
    for minute in range(90):
        measure(NOON + timedelta(minutes=minute), www1=used(minute))
    usage.hand_over(www1)
    assert not www1.samples.exists()
    Jail.objects.filter(pk=www1.pk).update(tenant=heir)
    for minute in range(90, 190):
        measure(NOON + timedelta(minutes=minute), www1=used(minute))
    rows = UsageHour.objects.filter(jail=www1).values_list("tenant", "hour", "cpu")
    assert list(rows.order_by("hour"))[:3] == [
        (former.pk, NOON, 59.0),
        (former.pk, NOON + timedelta(hours=1), 30.0),
        (heir.pk, NOON + timedelta(hours=2), 60.0),
    ]


def test_a_jail_that_was_never_measured_goes_without_a_trace(fleet):
    fleet.jails["www2"].delete()
    assert not UsageHour.objects.exists()


# Tasks


def test_a_refresh_asks_for_a_measurement_that_is_due(fleet, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(queue, "_send", lambda task, argument, name, countdown=0: bool(sent.append(task.name)) or True)
    monkeypatch.setattr("jails.hosts.refresh.refresh", lambda host: None)
    monkeypatch.setattr("jails.hosts.surveying.is_due", lambda host: False)
    tasks.refresh_host(fleet.zfs.pk)
    assert sent == ["jails.tasks.measure_host"]
    HostSampling.objects.create(host=fleet.zfs, at=timezone.now())
    Host.objects.update(refresh_wanted_at=timezone.now())
    tasks.refresh_host(fleet.zfs.pk)
    assert len(sent) == 1


def test_the_task_measures_once_a_minute_at_most(fleet, monkeypatch):
    measured: list[Host] = []
    monkeypatch.setattr(usage, "measure", measured.append)
    tasks.measure_host(fleet.zfs.pk)
    HostSampling.objects.create(host=fleet.zfs, at=timezone.now())
    tasks.measure_host(fleet.zfs.pk)
    tasks.measure_host(4711)
    assert measured == [fleet.zfs]
