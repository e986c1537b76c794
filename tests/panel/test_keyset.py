"""Pages that go on from a row."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails.models import Jail, Operation, Tenant
from panel.tables import jails as table
from panel.tables import keyset
from tests.panel import work
from tests.panel.fleet import Fleet, add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
SORTS = [*table.COLUMNS, *(f"-{name}" for name in table.COLUMNS), ""]


@pytest.fixture
def many(fleet: Fleet) -> Fleet:
    """Names that collations may order otherwise, the same sizes and times, and jails of nobody."""
    at, globex = timezone.now() - timedelta(hours=1), Tenant.objects.get(slug="globex")
    for number, name in enumerate(("Shop", "shop", "shop-a", "shopa", "shop.b", "SHOP2", "a_b", "a-b", "ab")):
        tenant = (None, fleet.acme, globex)[number % 3]
        jail = add_jail(fleet, name, tenant=tenant)
        Jail.objects.filter(pk=jail.pk).update(used=number // 3, state_since=at)
    return fleet


def rows(sort: str) -> Any:
    return table.ordered(Jail.objects.select_related("tenant", "host"), sort)


def at(sort: str, query: str = "", size: int = 4) -> keyset.Page[Jail]:
    return keyset.page(rows(sort), QueryDict(query.removeprefix("?")), size)


def walk(sort: str, page: keyset.Page[Jail], towards: str) -> list[keyset.Page[Jail]]:
    pages = [page]
    while (query := getattr(pages[-1], towards)) and len(pages) < 20:
        pages.append(at(sort, query))
    return pages


@pytest.mark.parametrize("sort", SORTS)
def test_each_row_once_there_and_back(many: Fleet, sort: str) -> None:
    forth = walk(sort, at(sort), "next")
    assert [one.pk for page in forth for one in page] == [one.pk for one in at(sort, size=99)]
    assert sorted(one.pk for page in forth for one in page) == sorted(Jail.objects.values_list("pk", flat=True))
    assert [(page.start, page.end, page.count) for page in forth[:2]] == [(1, 4, 15), (5, 8, 15)]
    assert forth[-1].end == 15
    back = walk(sort, forth[-1], "previous")
    assert [page.rows for page in back[::-1]] == [page.rows for page in forth] and back[-1].start == 1


def test_what_comes_and_goes_meanwhile_is_neither_skipped_nor_shown_twice(many: Fleet) -> None:
    whole = [one.name for one in at("name", size=99)]
    first = at("name")
    Jail.objects.filter(pk__in=[one.pk for one in first]).delete()
    second = at("name", first.next)
    assert [one.name for one in second] == whole[4:8] and (second.start, second.previous) == (1, "")
    add_jail(many, "0-first", tenant=None)
    third = at("name", second.next)
    assert [one.name for one in third] == whole[8:12] and third.start == 6
    assert [one.name for one in at("name", third.previous)] == whole[4:8]


def test_behind_the_last_row_is_the_last_page_and_before_the_first_a_whole_one(many: Fleet) -> None:
    pages = walk("name", at("name"), "next")
    Jail.objects.filter(pk__in=[one.pk for one in pages[-1]]).delete()
    assert [one.pk for one in at("name", pages[-2].next)] == [one.pk for one in pages[-2]]
    Jail.objects.filter(pk__in=[one.pk for one in pages[0].rows[:2]]).delete()
    found = at("name", pages[1].previous)
    assert (len(found), found.start, found.previous) == (4, 1, "")
    Jail.objects.all().delete()
    none = at("name", pages[1].next)
    assert (none.rows, none.count, none.next, none.previous) == ([], 0, "", "")


def place(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE.values(),
        "W10",
        place("shop"),
        place("shop", "warden1", 1, 2),
        place(1, "warden1", 1),
        place("shop", None, 1),
        place("shop\0", "warden1", 1),
        place("\ud800", "warden1", 1),
        place("shop", "warden1", True),
        place("shop", "warden1", 2**63),
        place("shop", ["warden1"], 1),
        base64.urlsafe_b64encode(b"[" * 1400).decode(),
        "a" * 3000,
    ],
)
def test_a_place_that_makes_no_sense_is_the_first_page(many: Fleet, text: str) -> None:
    query = QueryDict(mutable=True)
    for name in ("after", "before"):
        query[name] = text
        assert keyset.page(rows(""), query, 4).rows == at("").rows


@pytest.mark.parametrize("told", ["x", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_that_make_no_sense(many: Fleet, told: str) -> None:
    assert at("since", "after=" + place(told, "shop", 1)).rows == at("since").rows


def test_by_time_and_uuid(fleet: Fleet) -> None:
    person, now = fleet.people["member"], timezone.now()
    for _ in range(5):
        work.add_operation(fleet.zfs, person, "done", created_at=now)
    found, query = [], ""
    for _ in range(3):
        page = keyset.page(Operation.objects.all(), QueryDict(query.removeprefix("?")), 2)
        found += [one.pk for one in page]
        query = page.next
    assert query == "" and sorted(found) == sorted(Operation.objects.values_list("pk", flat=True))


def test_three_queries_a_page(many: Fleet) -> None:
    query = at("size").next
    with CaptureQueriesContext(
        connection,
    ) as captured:
        at("size", query)
    assert len(captured) == 3
