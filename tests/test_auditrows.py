"""The quick way to the hash of a row gives what the slow way gives, whatever stands in the row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from jails import audit, auditrows, stretches
from jails.models import AuditEntry, AuditHead
from jails.models.audit_triggers import drop_triggers

pytestmark = pytest.mark.django_db

NASTY = ['"', "\\", 'a"b', "\n", "\x7f", "\x1f", "ü", "日本", "\U0001f4a9", "a\\u0041", "</script>", " ", "\u2028", ""]
WHENS = [
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
    datetime(1000, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def record(**fields: Any) -> AuditEntry:
    with transaction.atomic():
        return audit.record("test.thing", **fields)


def digests() -> dict[int, str]:
    head = AuditHead.objects.get(pk=1)
    return {row.sequence: row.digest for row in auditrows.rows(1, head.sequence)}


def slow() -> dict[int, str]:
    return {entry.sequence: audit.entry_hash(entry) for entry in AuditEntry.objects.all()}


@pytest.mark.parametrize("text", NASTY)
def test_any_text_in_any_column(text: str) -> None:
    record(actor=text, detail=text, source=text, on_behalf_of=text, host=text, after={text: [text, 1, None, True]})
    assert digests() == slow()
    assert audit.verify().ok


def test_no_column_is_forgotten() -> None:
    assert set(auditrows.COLUMNS) == {*audit.HASHED, "hash"}


@pytest.mark.parametrize("approval", ["", "approval 12 of owner-person", "ü"])
def test_an_approval(approval: str) -> None:
    made = [audit.entry("test.thing"), audit.entry("test.thing")]
    made[0].approval = approval
    with transaction.atomic():
        audit.record_all(made)
    assert digests() == slow()


@pytest.mark.parametrize("value", [None, {}, [], {"b": 1, "a": {"d": 2, "c": 3}}, 2**70, True, "null", "", [None]])
def test_any_json(value: Any) -> None:
    record(before=value, after={"it": value})
    assert digests() == slow()


@pytest.mark.parametrize("at", WHENS)
def test_any_time(at: datetime) -> None:
    made = audit.entry("test.thing")
    made.at = at
    with transaction.atomic():
        audit.record_all([made])
    assert digests() == slow()
    assert audit.verify().ok


whole_rows = st.fixed_dictionaries(
    {
        name: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
        for name in ("actor", "detail", "source", "host", "on_behalf_of", "outcome", "plan_digest")
    }
    | {
        "at": st.datetimes(timezones=st.just(UTC)),
        "after": st.none() | st.dictionaries(st.text(max_size=5), st.floats()),
    }
)


@given(whole_rows, st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.sampled_from(["", "approval 1", "é"]))
def test_the_two_ways_write_the_same(values: dict[str, Any], number: int | None, approval: str | None) -> None:
    entry = AuditEntry(sequence=7, actor_id=number, tenant_id=number, action="test", previous_hash="0" * 64, **values)
    entry.approval = approval
    row = [getattr(entry, name) for name in auditrows.COLUMNS]
    for at in (3, 4, 5):
        if at == 3 and connection.vendor == "sqlite":
            row[at] = str(entry.at.replace(tzinfo=None))
        elif at > 3 and row[at] is not None:
            row[at] = auditrows.dump(row[at])
    line = audit._json({name: getattr(entry, name) for name in audit.HASHED})
    assert auditrows.canonical(tuple(row)) == line


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "'2026-03-01T12:00:00'"),
        ("at", "'never'"),
        ("actor", "x'00ff'"),
        ("actor_id", "'seven'"),
        ("actor_id", "7.5"),
        ("hash", "NULL"),
        ("previous_hash", "x'00'"),
    ],
)
def test_what_only_sqlite_would_keep_is_found(column: str, value: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("other databases know what a column is for")
    if value == "NULL":
        value = "x'aa'"
    for _ in range(3):
        record()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE jails_auditentry SET {column} = {value} WHERE sequence = 2")
    assert audit.verify().bad_sequence == 2


# Stretches


def noted(*numbers: int) -> tuple[tuple[int, str], ...]:
    """Checkpoints of these entries."""
    return tuple(AuditEntry.objects.filter(sequence__in=numbers).order_by("sequence").values_list("sequence", "hash"))


class TestStretches:
    """In this process: what a process of its own would tell."""

    @pytest.fixture(autouse=True)
    def nine(self) -> None:
        for _ in range(9):
            record()

    def noted(self, *numbers: int) -> tuple[tuple[int, str], ...]:
        return tuple(
            AuditEntry.objects.filter(sequence__in=numbers).order_by("sequence").values_list("sequence", "hash")
        )

    @pytest.fixture(autouse=True)
    def same_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stretches.connections, "close_all", lambda: None)

    def test_one_that_holds_says_what_it_continues_and_how_it_ends(self) -> None:
        hashes = dict(AuditEntry.objects.values_list("sequence", "hash"))
        assert stretches.ends_of(stretches.Stretch(1, 4)) == (audit.GENESIS, hashes[4])
        assert stretches.ends_of(stretches.Stretch(5, 9, noted(6, 9))) == (hashes[4], hashes[9])

    def test_a_checkpoint_that_does_not_fit_spoils_it(self) -> None:
        assert stretches.ends_of(stretches.Stretch(1, 4, ((3, "a" * 64),))) is None

    @pytest.mark.usefixtures("unguarded")
    @pytest.mark.parametrize("number", [4, 5, 6, 8])
    def test_one_that_is_edited_or_lacks_one_does_not_hold(self, number: int) -> None:
        AuditEntry.objects.filter(sequence=number).update(actor="eve")
        whole = stretches.Stretch(4, 8)
        assert stretches.ends_of(whole) is None
        AuditEntry.objects.filter(sequence=number).delete()
        assert stretches.ends_of(whole) is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("guarded_again")
class TestProcesses:
    """With processes of their own, that see what is committed."""

    @pytest.fixture(autouse=True)
    def log(self, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        drop_triggers(connection)
        monkeypatch.setattr(stretches.walk_on, "__defaults__", (10,))
        with transaction.atomic():
            for number in range(95):
                audit.record("test.thing", after={"n": number})
        yield
        AuditEntry.objects.all().delete()
        AuditHead.objects.all().delete()

    def both(self, **options: Any) -> audit.Verdict:
        """One process and three give the same verdict."""
        one = audit.verify(**options)
        assert audit.verify(processes=3, **options) == one
        return one

    def test_a_log_that_holds(self) -> None:
        verdict = self.both(checkpoints=noted(3, 50, 91))
        assert (verdict.ok, verdict.checked, verdict.proven) == (True, 95, 91)
        assert self.both(newest=60).checked == 60

    @pytest.mark.parametrize("number", [1, 10, 11, 47, 90, 95])
    def test_the_same_entry_is_named(self, number: int) -> None:
        before = noted(9, 45, 92)
        AuditEntry.objects.filter(sequence=number).update(actor="eve")
        assert self.both(checkpoints=before).bad_sequence == number
        AuditEntry.objects.filter(sequence=number).delete()
        assert self.both(checkpoints=before).bad_sequence == number

    def test_a_checkpoint_in_the_middle_that_does_not_fit(self) -> None:
        first = AuditEntry.objects.get(sequence=5)
        assert self.both(checkpoints=[(5, first.hash), (44, "a" * 64)]).bad_sequence == 44
        assert self.both(checkpoints=[(5, first.hash), (200, "a" * 64)]).proven == 5


def test_a_time_in_another_zone_is_the_same_time() -> None:
    from datetime import timezone

    east = timezone(timedelta(hours=5))
    assert auditrows.spelled(datetime(2026, 3, 1, 5, tzinfo=east)) == "2026-03-01T00:00:00.000000+00:00"
