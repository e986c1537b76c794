"""The pages of the log found by indexes are those that reading all of it would give."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from jails import audit, audittext
from jails.models import AuditEntry, AuditHead
from panel.tables import audit_finder
from panel.tables.audit import AuditFilter
from panel.tables.audit_finder import Finder

pytestmark = pytest.mark.django_db

ENTRIES = 260
DAY = datetime(2026, 5, 1, tzinfo=UTC)
WORDS = ["www1", "WWW1", "Straße", "100%", "a_b", 'say "hi"', "back\\slash", "日本語の", "needle", "ab", "x"]
FILTERS = {
    "who": "ada", "tenant": "acme", "action": "jail.start", "outcome": "refused", "host": "warden1", "object": "jail:1",
    "since": "2026-05-03", "until": "2026-05-08",
}  # fmt: skip


@pytest.fixture
def log() -> None:
    """Two of three filters leave something; clocks were set back now and then."""
    dice = random.Random(7)
    made = []
    for number in range(ENTRIES):
        entry = audit.entry(
            dice.choice(["jail.start", "jail.stop", "host.change"]),
            actor=dice.choice(["ada", "grace", "alan"]),
            outcome=dice.choice(["done", "refused"]),
            host=dice.choice(["warden1", "warden2"]),
            detail=f"{dice.choice(WORDS)} and {dice.choice(WORDS)}",
        )
        entry.tenant, entry.tenant_id = dice.choice([("acme", 1), ("globex", 2), ("", None)])
        entry.object_type, entry.object_id = "jail", str(number % 3)
        entry.object_name = f"jail-{number % 5}"
        entry.at = DAY + timedelta(hours=number) - timedelta(hours=dice.choice([0, 0, 0, 0, 30]))
        made.append(entry)
    with transaction.atomic():
        audit.record_all(made)


@pytest.fixture(params=[(2, 1), (5, 4), (500, 4)], ids=str)
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each way is gone, and each gives up."""
    few, rounds = request.param
    monkeypatch.setattr(audit_finder, "FEW", few)
    monkeypatch.setattr(audit_finder, "ROUNDS", rounds)


def found(query: dict[str, str], narrowed: bool = False) -> tuple[Finder, AuditFilter]:
    data = QueryDict("", mutable=True)
    data.update(query)
    rows = AuditEntry.objects.filter(tenant_id__in=[1]) if narrowed else AuditEntry.objects.all()
    wanted = AuditFilter(data, rows)
    wanted.narrowed = narrowed
    assert wanted.is_valid(), wanted.errors
    return Finder(wanted), wanted


def by_reading(wanted: AuditFilter, by_time: bool) -> list[int]:
    """All that the filters leave, in Python as far as text goes, newest first."""
    text = wanted.text.casefold()
    rows = [
        row
        for row in wanted.exact
        if any(text in str(getattr(row, name)).casefold() for name in audittext.COLUMNS) or not text
    ]
    key = (lambda row: (row.at, row.sequence)) if by_time else (lambda row: (row.sequence,))
    return [row.sequence for row in sorted(rows, key=key, reverse=True)]


def pages(finder: Finder, size: int) -> list[int]:
    """Forwards through all pages."""
    numbers: list[int] = []
    before = None
    while some := [row.sequence for row in finder(size, before=before)]:
        numbers += some
        before = some[-1]
    return numbers


def test_each_combination_of_filters(log: None, limits: None) -> None:
    for names in itertools.chain.from_iterable(itertools.combinations(FILTERS, n) for n in range(4)):
        for text in ("", "needle", "jail", "nowhere"):
            query = {name: FILTERS[name] for name in names} | ({"q": text} if text else {})
            finder, wanted = found(query)
            expected = by_reading(wanted, finder.by_time)
            assert pages(finder, 40) == expected, query
            if len(expected) > 9:
                newer = [row.sequence for row in finder(5, after=expected[8])]
                assert newer == expected[3:8][::-1], query


@pytest.mark.parametrize("text", [*WORDS, "LOG", "jail-4", "JAIL-4", "and", " and ", "%", "_", "needle and needle"])
@pytest.mark.parametrize("narrowed", [False, True])
def test_each_text(log: None, limits: None, text: str, narrowed: bool) -> None:
    finder, wanted = found({"q": text}, narrowed)
    numbers = pages(finder, 30)
    assert numbers == list(wanted.qs.order_by("-sequence").values_list("sequence", flat=True))
    if text.isascii():
        assert numbers == by_reading(wanted, by_time=False)


def test_a_number_that_no_entry_has(log: None) -> None:
    for query in ({}, {"since": "2026-05-03"}, {"q": "needle"}, {"since": "2026-05-03", "q": "jail"}):
        finder, _ = found(query)
        assert [row.sequence for row in finder(5, before=10**9)] == [row.sequence for row in finder(5)]
        assert finder(5, after=10**9) == finder(5, before=0) == []


def test_an_export_of_all_filters_together_has_what_the_pages_have(log: None) -> None:
    query = FILTERS | {"q": "and"}
    for name in ("tenant", "who"):
        query.pop(name)
    finder, wanted = found(query)
    exported = [row.sequence for row in wanted.found.order_by("-sequence")]
    assert exported == pages(finder, 10) and exported


def test_a_rare_text_is_not_looked_for_in_every_entry(log: None) -> None:
    with transaction.atomic():
        number = audit.record("test.thing", detail="unheard-of").sequence
    finder, _ = found({"q": "heard-o"})
    with CaptureQueriesContext(connection) as captured:
        assert [row.sequence for row in finder(50)] == [number]
    if connection.vendor != "sqlite":
        return
    likes = [query["sql"] for query in captured if "LIKE" in query["sql"]]
    assert len(likes) == 1 and f"IN ({number})" in likes[0]


def test_the_index_of_words_is_made_anew_from_the_log(log: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL keeps its own")
    audittext.drop()
    assert audittext.make()
    with transaction.atomic():
        number = audit.record("test.thing", detail="a needle after it").sequence
    near = audittext.near("needle", 1000)
    held = set(AuditEntry.objects.filter(detail__contains="needle").values_list("sequence", flat=True))
    assert held <= set(near) and near[0] == number == AuditHead.objects.get().sequence


def test_the_log_is_still_one_that_only_grows(log: None) -> None:
    from django.db import DatabaseError

    for act in (AuditEntry.objects.all().delete, lambda: AuditEntry.objects.update(actor="eve")):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            act()
    assert audit.verify().checked == ENTRIES


def test_the_planner_reads_no_rows_in_vain(log: None) -> None:
    """Each filter alone is answered from an index that has the newest in front; with others beside it, from one too."""
    if connection.vendor != "sqlite":
        pytest.skip("plans of SQLite")
    audittext.analyse()
    for names in itertools.chain.from_iterable(itertools.combinations(FILTERS, n) for n in (1, 2, 3)):
        finder, wanted = found({name: FILTERS[name] for name in names})
        order = ("-at", "-sequence") if finder.by_time else ("-sequence",)
        plan = wanted.qs.order_by(*order).values_list("sequence")[:51].explain()
        assert "USING" in plan and "SCAN" not in plan and "TEMP B-TREE" not in plan, (names, plan)
