"""Statements of tenants: sums of hours, whose they are, and what nobody measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jails import statements
from jails.models import Jail, UsageHour
from jails.statements import HOUR, Month
from tests.panel.fleet import Fleet, GiB, make_fleet

pytestmark = pytest.mark.django_db
MARCH = Month.parse("2026-03")
NOW = datetime(2026, 3, 2, 5, 30, tzinfo=UTC)


@pytest.fixture
def fleet() -> Fleet:
    return make_fleet()


def measured(fleet: Fleet, name: str, hour: datetime, **values: Any) -> UsageHour:
    """An hour of a jail, which ran all of it and used a GiB of each, unless said otherwise."""
    jail = fleet.jails[name]
    usual = {"measured": 3600, "running": 3600, "cpu": 60.0, "memory": GiB, "memory_peak": 2 * GiB, "disk": GiB}
    usual |= {"disk_peak": GiB, "processes_peak": 9, "tenant": jail.tenant, "jail_name": name}
    row: UsageHour = UsageHour.objects.create(
        jail=jail, jail_uuid=jail.uuid, host_name=jail.host.name, hour=hour, **(usual | values)
    )
    return row


def hours(fleet: Fleet, name: str, begin: datetime, count: int, **values: Any) -> None:
    for number in range(count):
        measured(fleet, name, begin + number * HOUR, **values)


def line(statement: statements.Statement, name: str) -> statements.Line:
    (found,) = (one for one in statement.lines if one.name == name)
    return found


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "0000-01", "26-01", "2026-1", "2026-01-01", "", "２０２６-01"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(ValueError):
        Month.parse(text)


def test_months_follow_each_other() -> None:
    december = Month.parse("2026-12")
    assert (str(december.next), str(december.before)) == ("2027-01", "2026-11")
    assert december.end == datetime(2027, 1, 1, tzinfo=UTC) and Month.of(december.end - HOUR) == december


def test_hours_add_up_by_jail_and_for_all(fleet: Fleet) -> None:
    hours(fleet, "www1", MARCH.begin, 4)
    hours(fleet, "www1", MARCH.begin + 4 * HOUR, 2, running=1800, disk=4 * GiB, disk_peak=5 * GiB, cpu=0)
    hours(fleet, "www2", MARCH.begin, 2, running=0, memory=0, memory_peak=0, cpu=0)
    found = statements.of(fleet.acme, MARCH, now=NOW)
    sums = line(found, "www1").sums
    assert (sums.running_hours, sums.cpu, sums.measured) == (5.0, 240.0, 6 * 3600)
    assert (sums.disk_average, sums.disk_peak, sums.disk_gib_hours) == (2 * GiB, 5 * GiB, 12.0)
    assert (sums.memory_average, sums.memory_gib_hours) == (GiB, 5.0)
    assert found.total.running_hours == 5.0 and found.total.disk_gib_hours == 14.0
    assert line(found, "www2").sums.memory_average == 0


def test_more_than_eight_bytes_hold(fleet: Fleet) -> None:
    hours(fleet, "www1", MARCH.begin, 3, disk=2**60, disk_peak=2**60)
    assert line(statements.of(fleet.acme, MARCH, now=NOW), "www1").sums.disk_average == 2**60


def test_only_hours_of_the_month_and_of_the_tenant(fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin - HOUR)
    measured(fleet, "www1", MARCH.begin)
    measured(fleet, "www1", MARCH.begin + HOUR, tenant=fleet.other)
    measured(fleet, "www1", MARCH.end)
    assert statements.of(fleet.acme, MARCH, now=NOW).total.running_hours == 1
    assert statements.of(fleet.other, MARCH, now=NOW).total.running_hours == 1
    assert statements.of(fleet.acme, MARCH.before, now=NOW).total.running_hours == 1


def test_a_jail_has_its_last_name_and_stays_when_it_is_gone(fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin, jail_name="old")
    measured(fleet, "www1", MARCH.begin + HOUR)
    measured(fleet, "www2", MARCH.begin)
    Jail.objects.filter(name="www2").delete()
    found = statements.of(fleet.acme, MARCH, now=NOW)
    assert [(one.name, one.is_there) for one in found.lines] == [("www1", True), ("www2", False)]


def test_what_nobody_measured_is_said(fleet: Fleet) -> None:
    """From when the tenant had it: a jail that is there until now, one that is gone until it went."""
    measured(fleet, "www1", MARCH.begin - 9 * HOUR)
    hours(fleet, "www1", MARCH.begin + 2 * HOUR, 3)
    measured(fleet, "www1", MARCH.begin + 10 * HOUR, measured=1800, running=1800)
    hours(fleet, "www2", MARCH.begin + 3 * HOUR, 2)
    Jail.objects.filter(name="www2").delete()
    found = statements.of(fleet.acme, MARCH, now=NOW)
    assert line(found, "www1").sums.missing_hours == 29 - 3.5
    assert line(found, "www2").sums.missing == 0
    begin = MARCH.begin
    assert found.gaps == (
        (begin, begin + 2 * HOUR),
        (begin + 5 * HOUR, begin + 10 * HOUR),
        (begin + 11 * HOUR, begin + 29 * HOUR),
    )


def test_a_month_that_is_over_is_missing_to_its_end(fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin)
    found = statements.of(fleet.acme, MARCH, now=MARCH.end + timedelta(days=40))
    assert found.gaps == ((MARCH.begin + HOUR, MARCH.end),)
    assert line(found, "www1").sums.missing_hours == 31 * 24 - 1


def test_a_month_without_data_has_nothing_and_no_gaps(fleet: Fleet) -> None:
    found = statements.of(fleet.acme, MARCH, now=NOW)
    assert (found.lines, found.gaps, found.total.running) == ((), (), 0) and statements.months(fleet.acme) is None


def test_it_takes_as_many_queries_for_many_jails(fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin)
    with CaptureQueriesContext(connection) as one:
        statements.of(fleet.acme, MARCH, now=NOW)
    hours(fleet, "www2", MARCH.begin, 30)
    with CaptureQueriesContext(connection) as more:
        statements.of(fleet.acme, MARCH, now=NOW)
    assert len(one) == len(more) <= 3


def test_rows_for_a_spreadsheet(fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin)
    found = statements.of(fleet.acme, MARCH, now=NOW)
    first, total = statements.csv_rows(fleet.acme, MARCH, found.lines)
    assert len(first) == len(total) == len(statements.CSV_HEAD)
    assert first[:5] == [MARCH, "acme", "www1", fleet.jails["www1"].uuid, "warden1"]
    assert dict(zip(statements.CSV_HEAD, total, strict=True))["running_hours"] == "1.00" and total[2] == "all jails"
