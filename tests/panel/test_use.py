"""Charts of what a jail uses."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from jails.models import HostSampling, Sample, UsageHour
from panel import charts, use
from panel.charts import Point, chart

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GAP = timedelta(seconds=150)


def drawn(*values: float | None, every: int = 60, **options: Any) -> charts.Chart:
    """A chart of the last hour; `None` is a time that it did not run, a negative value one that nobody measured."""
    start = NOON - timedelta(hours=1)
    points = [
        Point(start + timedelta(seconds=every * number), value)
        for number, value in enumerate(values)
        if value is None or value >= 0
    ]
    return chart(points, start, NOON, gap=GAP, shown=str, **options)


def test_a_line_goes_where_the_values_are():
    one = drawn(*[10.0] * 30, *[5.0] * 31)
    assert len(one.lines) == 1 and one.gaps == () and not one.is_empty
    first, *_, last = one.lines[0].split()
    assert (first, last) == ("0.0,0.0", "600.0,80.0")
    assert [tick.label for tick in one.up] == ["5.0", "10.0"]
    assert one.summary == f"now 5.0, at most 10.0, on average {(300 + 155) / 61}"


def test_what_nobody_measured_is_a_gap_and_no_line():
    one = drawn(*[10.0] * 20, *[-1.0] * 20, *[10.0] * 21)
    assert len(one.lines) == 2 and one.gaps == ((190.0, 210.0),)
    assert drawn(*[-1.0] * 61).gaps == ((0.0, 600.0),)


def test_a_time_that_it_did_not_run_is_neither():
    one = drawn(*[10.0] * 20, *[None] * 20, *[10.0] * 21)
    assert len(one.lines) == 2 and one.gaps == ()
    assert drawn(*[None] * 61).is_empty and drawn(*[None] * 61).rows[0][1] == "not running"


def test_one_value_alone_is_a_dot():
    one = drawn(*[-1.0] * 30, 7.0, *[-1.0] * 30)
    assert one.lines == () and one.dots == ((300.0, 48.0),) and not one.is_empty


def test_a_limit_is_in_sight():
    one = drawn(*[10.0] * 61, limit=50.0)
    assert one.limit == 0.0 and one.up[1].label == "50.0"
    assert drawn(*[10.0] * 61).limit is None


@pytest.mark.parametrize(
    ("value", "top"), [(0.5, 0.5), (0.6, 1), (3, 5), (5, 5), (51, 100), (1000, 1000), (1001, 2000)]
)
def test_an_axis_ends_at_a_round_number(value, top):
    assert drawn(value, value, least=0.1).up[1].label == str(float(top))


def test_an_axis_of_bytes_ends_at_a_power_of_two():
    assert drawn(3.0 * 2**30, binary=True).up[1].label == str(4.0 * 2**30)


def test_a_table_says_the_same_in_few_rows():
    one = drawn(*map(float, range(61)))
    assert len(one.rows) <= charts.ROWS and one.rows[0] == (NOON, "60.0")


@given(st.lists(st.none() | st.floats(0, 1e15), min_size=1, max_size=80), st.booleans())
def test_everything_is_inside_the_drawing(values, binary):
    one = drawn(*values, every=40, binary=binary)
    for line in one.lines:
        for pair in line.split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT


# The page


def page(client: Any, jail: Any, **query: str) -> str:
    response = client.get(reverse("jail-use", args=[jail.uuid]), query)
    assert response.status_code == 200
    return response.content.decode()


def sample(jail: Any, minutes: float, **fields: Any) -> None:
    values = {"seconds": 60, "running": True, "cpu": 6.0, "memory": 2**26, "processes": 12, "disk": 2**31}
    Sample.objects.create(jail=jail, at=timezone.now() - timedelta(minutes=minutes), **(values | fields))


@pytest.fixture
def www1(fleet):
    return fleet.jails["www1"]


def test_an_owner_sees_what_their_jail_uses(as_person, www1):
    for minute in range(60):
        sample(www1, minute)
    HostSampling.objects.create(host=www1.host, at=timezone.now(), by_racct=True)
    www1.limits |= {"memory": 2**28}
    www1.save()
    text = page(as_person("owner"), www1)
    assert "10 %" in text and "64.0 MiB" in text and "as the kernel counts it" in text
    assert "of 256 MiB" in text and "of 10.0 GiB" in text and text.count("dashed: the limit") == 2
    assert len(re.findall("<polyline", text)) == 4 and "hatched" not in text
    assert text.count("<title id=") == 4


def test_a_jail_that_nobody_measured_says_so(as_person, www1):
    text = page(as_person("viewer"), www1)
    assert text.count("Nothing was measured in this time.") == 4 and "<polyline" not in text


def test_a_jail_that_does_not_run_uses_its_disk_alone(as_person, www1):
    for minute in range(60):
        sample(www1, minute, running=False, cpu=0.0, memory=0, processes=0)
    text = page(as_person("owner"), www1)
    assert text.count("www1 did not run.") == 3 and text.count("<polyline") == 1


def test_on_ufs_there_is_no_disk_and_processes_are_summed(as_person, fleet):
    logdb = fleet.jails["logdb"]
    HostSampling.objects.create(host=logdb.host, at=timezone.now())
    text = page(as_person("auditor"), logdb)
    assert "use-disk" not in text and "only reading all of its tree" in text and "summed over processes" in text


@pytest.mark.parametrize("span", ["hour", "day", "month", "", "eternity"])
def test_any_span(as_person, www1, span, django_assert_max_num_queries):
    for minute in range(0, 1440, 10):
        sample(www1, minute)
    for hour in range(0, 24 * 30, 5):
        UsageHour.objects.create(
            jail=www1, jail_uuid=www1.uuid, jail_name="www1", host_name="warden1", tenant=www1.tenant,
            hour=timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hour), measured=3600,
            running=3600, cpu=360.0, memory=2**26, memory_peak=2**27, processes_peak=20, disk=2**31, disk_peak=2**31,
        )  # fmt: skip
    client = as_person("owner")
    page(client, www1)
    with django_assert_max_num_queries(20):
        text = page(client, www1, span=span)
    assert text.count('aria-current="true"') == 1
    if span in ("day", "month"):
        assert "<polyline" in text


def test_points_are_put_together(www1):
    rows = [use.Row(NOON + timedelta(minutes=one), True, cpu, 10.0 * one, 1, 1) for one, cpu in ((1, 4.0), (2, 8.0))]
    idle = use.Row(NOON + timedelta(minutes=11), False, 0.0, 0, 0, 1)
    first, second = use._together([*rows, idle], timedelta(minutes=10))
    assert (first.cpu, first.memory, first.running) == (6.0, 20.0, True)
    assert (second.cpu, second.running) == (None, False)


def test_nothing_is_sent_while_nothing_was_measured(as_person, www1):
    sample(www1, 1)
    client = as_person("owner")
    path = reverse("jail-use", args=[www1.uuid])
    headers = {"HX-Request": "true"}
    mark = client.get(path, headers=headers)["ETag"]
    assert client.get(path, headers=headers | {"If-None-Match": mark}).status_code == 304
    sample(www1, 0)
    assert client.get(path, headers=headers | {"If-None-Match": mark}).status_code == 200
