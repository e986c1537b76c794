"""The quick way to the hash of a row gives what the slow way gives, whatever stands in the row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
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
    found: dict[int, str] = {}
    for rows in auditrows.chunks(1, head.sequence):
        found |= zip(rows.sequences, rows.digests, strict=True)
    return found


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


LIMITS = {
    "approval": 200, "action": 60, "actor": 150, "detail": 4000, "host": 63, "object_id": 64, "object_name": 300,
    "object_type": 40, "on_behalf_of": 150, "operation": 36, "outcome": 20, "plan_digest": 64, "source": 64,
    "tenant": 32,
}  # fmt: skip
"""Columns of text, and how many characters fit."""
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(' "\\\x00\n\t\x7f{}:,abcN', max_size=9)
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
    for at, name in enumerate(auditrows.COLUMNS):
        if name == "at" and connection.vendor == "sqlite":
            row[at] = str(entry.at.replace(tzinfo=None))
        elif name in ("before", "after") and row[at] is not None:
            row[at] = auditrows.dump(row[at])
    line = audit._json({name: getattr(entry, name) for name in audit.HASHED})
    assert auditrows.canonical(tuple(row)) == line


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda some: st.lists(some) | st.dictionaries(texts, some)
)
rows_to_keep = st.fixed_dictionaries(
    dict.fromkeys((name for name in LIMITS if name != "approval"), texts)
    | {"approval": st.none() | texts, "at": st.datetimes(timezones=st.just(UTC)), "before": anything, "after": anything}
    | dict.fromkeys(("actor_id", "tenant_id"), st.none() | st.integers(-(2**63), 2**63 - 1))
)


@settings(max_examples=50)
@given(rows_to_keep)
def test_what_the_database_makes_of_a_row_is_what_was_hashed(values: dict[str, Any]) -> None:
    values |= {name: audit._text(values[name], limit) for name, limit in LIMITS.items() if values[name] is not None}
    values |= {name: audit.scrub(values[name]) for name in ("before", "after")}
    entry = AuditEntry(sequence=7, previous_hash="0" * 64, **values)
    entry.hash = audit.entry_hash(entry)
    with transaction.atomic():
        entry.save(force_insert=True)
        (rows,) = auditrows.chunks(7, 7)
        transaction.set_rollback(True)
    assert rows == ((7,), ("0" * 64,), (entry.hash,), (entry.hash,))


def test_only_what_is_not_plain_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def noted_too(sequences: list[int], actual: Any = auditrows._read) -> Any:
        read.extend(sequences)
        return actual(sequences)

    monkeypatch.setattr(auditrows, "_read", noted_too)
    record(actor="grace", before={"name": "a", "id": 1}, after={"b": {"before": None, "after": 2}, "a": [1, " : "]})
    record(tenant=None, detail="it's plain")
    record(detail="not plän")
    assert digests() == slow()
    assert read == [3]


@pytest.mark.parametrize("chunk", [1, 2, 3, 500])
def test_chunks_of_any_length_are_one_chain(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditrows, "CHUNK", chunk)
    for text in ("a", "ü", "b", "c", '"'):
        record(detail=text)
    assert digests() == slow()
    assert audit.verify(checkpoints=noted(2, 5)) == audit.Verdict(5, last=5, last_hash=slow()[5], proven=5)
    bad = audit.verify(checkpoints=[*noted(2), (4, "a" * 64)])
    assert (bad.bad_sequence, bad.checked, bad.proven) == (4, 3, 2)


@pytest.mark.usefixtures("unguarded")
def test_an_entry_that_is_there_twice_is_found() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite cannot take a primary key from a table")
    for _ in range(auditrows.CHUNK + 1):
        record()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jails_auditentry DROP CONSTRAINT jails_auditentry_pkey")
        cursor.execute(
            "INSERT INTO jails_auditentry SELECT * FROM jails_auditentry WHERE sequence = %s", [auditrows.CHUNK]
        )
    assert audit.verify().problem == f"entry {auditrows.CHUNK + 1} is missing, the next one is {auditrows.CHUNK}"


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((name, f"CAST({name} AS BLOB)") for name in ("at", "before", "previous_hash", "hash", *LIMITS)),
        *((name, f"{name} || char(0)") for name in ("at", "before", "previous_hash", "hash", *LIMITS)),
        *((name, f"{name} || CAST(x'ff' AS TEXT)") for name in ("at", "before", "previous_hash", "hash", "detail")),
        ("after", '\'{"a": NaN, "b": 1}\''),
        ("after", "'{a: null, \"b\": 1}'"),
        ("after", "'{\"a\": null, \"b\": 1} '||char(0)||'{}'"),
        ("after", '\'{"a": null, "b": 1},"approval":"approval 1"\''),
        ("before", "'null'||char(10)||','"),
        ("at", "'2026-03-01T12:00:00'"),
        ("at", "at || 'x'"),
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
    if (column, value) == ("hash", "NULL"):
        value = "x'aa'"
    for _ in range(3):
        record(after={"a": None, "b": 1}, before="it", approval="approval 1")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(f"UPDATE jails_auditentry SET {column} = {value} WHERE sequence = 2")
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    assert audit.verify().bad_sequence == 2


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("forged", [sha256(b"").hexdigest(), ""], ids=["hash of nothing", "nothing"])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("detail", "'not \"plain\"'"),
        ("detail", "'b\\a'"),
        ("detail", "'plain'"),
        ("at", "'infinity'"),
        ("detail", "x'ff'"),
        ("detail", "CAST(x'ff' AS TEXT)"),
    ],
)
def test_no_hash_holds_that_was_not_made_of_the_row(forged: str, column: str, value: str) -> None:
    """Else its row could be another one each day, whatever checkpoint vouches for it."""
    for _ in range(2):
        record()
    if "x'" in value and connection.vendor != "sqlite":
        pytest.skip("other databases know what a column is for")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE jails_auditentry SET {column} = {value}, hash = %s WHERE sequence = 2", [forged])
        cursor.execute("UPDATE jails_audithead SET hash = %s", [forged])
    assert audit.verify(checkpoints=[(2, forged)]).bad_sequence == 2


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
        monkeypatch.setattr(auditrows, "CHUNK", 7)
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
