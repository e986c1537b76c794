"""The chain, the triggers that guard it, and what verifying it tells."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Barrier, Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from jails import audit, auditrows
from jails.models import AuditEntry, AuditHead, Host, Tenant, User
from jails.models.audit_triggers import drop_triggers, make_triggers

pytestmark = pytest.mark.django_db


def record(action: str = "test.thing", **fields: Any) -> AuditEntry:
    with transaction.atomic():
        return audit.record(action, **fields)


@pytest.fixture
def five() -> None:
    for number in range(1, 6):
        record(f"test.{number}", after={"n": number})


# Recording


def test_entries_are_numbered_and_chained() -> None:
    first, second = record(), record()
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.previous_hash == audit.GENESIS
    assert second.previous_hash == first.hash != second.hash
    head = AuditHead.objects.get()
    assert (head.sequence, head.hash) == (2, second.hash)


def test_what_is_rolled_back_leaves_no_gap() -> None:
    record()
    with pytest.raises(RuntimeError), transaction.atomic():
        audit.record("test.undone")
        raise RuntimeError
    assert record().sequence == 2
    assert audit.verify().ok


def test_an_entry_holds_names_that_stay_readable() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    host = Host.objects.create(name="warden1", kind="simulated")
    ada = User.objects.create_user("ada")
    entry = record("host.change", actor=ada, obj=host, tenant=tenant, source="192.0.2.1")
    assert (entry.actor, entry.actor_id) == ("ada", ada.pk)
    assert (entry.object_type, entry.object_id, entry.object_name, entry.host) == (
        "host",
        str(host.pk),
        "warden1",
        "warden1",
    )
    assert (entry.tenant, entry.tenant_id) == ("acme", tenant.pk)
    foreign = [field for field in AuditEntry._meta.fields if field.is_relation]
    assert foreign == []


def test_the_tenant_is_that_of_the_thing() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    assert record(obj=tenant).tenant == "acme"


def test_texts_that_no_database_takes_are_made_storable() -> None:
    entry = record(actor="a\0b\ud800", detail="x" * 9000, source="y" * 500, after={"k\0": "\ud800"})
    stored = AuditEntry.objects.get()
    assert stored.actor == entry.actor == "a\N{REPLACEMENT CHARACTER}b?"
    assert (len(stored.detail), len(stored.source)) == (4000, 64)
    assert audit.verify().ok


def test_secrets_are_removed_however_deep() -> None:
    before = {"Password": "p1", "list": [{"api_token": "p2", "name": "kept"}], "SECRET_KEY": {"deep": "p3"}}
    entry = record(before=before, after={"private_key": "p4", "passphrase": "p5", "credentials": ["p6"]})
    stored = str(AuditEntry.objects.values().get(pk=entry.pk))
    assert not [secret for secret in ("p1", "p2", "p3", "p4", "p5", "p6") if f"'{secret}'" in stored]
    assert entry.before["list"][0] == {"api_token": audit.REMOVED, "name": "kept"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_scrubbing_twice_changes_nothing_more(value: Any) -> None:
    once = audit.scrub(value)
    assert audit.scrub(once) == once


@given(st.sampled_from(audit.SECRET_WORDS), st.text(max_size=5), st.text(max_size=5), json_values)
def test_nothing_under_a_name_that_says_secret_is_kept(word: str, before: str, after: str, value: Any) -> None:
    assert list(audit.scrub({before + word.upper() + after: value}).values()) == [audit.REMOVED]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("guarded_again")
class TestCommitted:
    """Outside of a test's own transaction. The log refuses to be emptied afterwards, so its triggers go first."""

    @pytest.fixture(autouse=True)
    def guarded(self, transactional_db: None) -> Iterator[None]:
        drop_triggers(connection)
        make_triggers(connection)
        yield
        drop_triggers(connection)

    def test_outside_of_a_transaction_nothing_is_recorded(self) -> None:
        with pytest.raises(RuntimeError, match="transaction"):
            audit.record("test.alone")
        assert not AuditEntry.objects.exists()

    def test_writers_at_once_leave_one_chain(self) -> None:
        problems: list[Exception] = []

        def write() -> None:
            try:
                for _ in range(5):
                    record()
            except Exception as error:
                problems.append(error)
            finally:
                connection.close()

        threads = [Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        verdict = audit.verify()
        assert (verdict.ok, verdict.checked) == (True, 20)

    @pytest.mark.slow
    def test_a_hundred_begin_a_log_and_some_take_back_what_they_wrote(self) -> None:
        count = writers()
        together = Barrier(count)
        problems: list[Exception] = []

        def write(number: int) -> None:
            try:
                together.wait(60)
                for n in range(3):
                    with contextlib.suppress(LookupError), transaction.atomic():
                        audit.record("test.many", detail=f"{number}:{n}")
                        if n == number % 3:
                            raise LookupError
            except Exception as error:
                problems.append(error)
            finally:
                connection.close()

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(write, range(count)))
        assert problems == []
        verdict = audit.verify()
        assert (verdict.problem, verdict.checked) == ("", 2 * count)
        kept = {f"{number}:{n}" for number in range(count) for n in range(3) if n != number % 3}
        assert set(AuditEntry.objects.values_list("detail", flat=True)) == kept


def writers() -> int:
    """A hundred, or on PostgreSQL as many as it has room for now."""
    if connection.vendor != "postgresql":
        return 100
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('max_connections')::int - count(*) FROM pg_stat_activity")
        return min(100, int(cursor.fetchone()[0]) - 20)


# Triggers


REFUSED = {
    "update": "UPDATE jails_auditentry SET actor = 'eve' WHERE sequence = 1",
    "update of all": "UPDATE jails_auditentry SET outcome = 'done'",
    "delete": "DELETE FROM jails_auditentry WHERE sequence = 1",
    "delete of all": "DELETE FROM jails_auditentry",
    "truncate": "TRUNCATE jails_auditentry",
}
"""SQLite has no TRUNCATE, and makes none of its own of a DELETE without WHERE where there are triggers."""


@pytest.mark.parametrize("statement", REFUSED)
def test_the_database_refuses_to_change_the_log(statement: str, five: None) -> None:
    if statement == "truncate" and connection.vendor == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(REFUSED[statement])
    assert audit.verify().checked == 5


def test_the_database_refuses_it_by_way_of_the_models_too(five: None) -> None:
    entry = AuditEntry.objects.first()
    assert entry is not None
    for act in (entry.save, entry.delete, AuditEntry.objects.all().delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            act()


def test_replacing_a_row_is_refused(five: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("INSERT OR REPLACE is SQLite's")
    statement = "INSERT OR REPLACE INTO jails_auditentry SELECT * FROM jails_auditentry WHERE sequence = 1"
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


# Verifying


def test_an_empty_chain_holds() -> None:
    assert audit.verify() == audit.Verdict(0)


def test_a_whole_chain_holds(five: None) -> None:
    verdict = audit.verify()
    assert (verdict.ok, verdict.checked, verdict.last) == (True, 5, 5)


def edit(sequence: int, **values: Any) -> None:
    AuditEntry.objects.filter(sequence=sequence).update(**values)


def rehash(sequence: int) -> str:
    entry = AuditEntry.objects.get(sequence=sequence)
    entry.hash = audit.entry_hash(entry)
    edit(sequence, hash=entry.hash)
    return entry.hash


def edit_one() -> None:
    edit(3, actor="eve")


def edit_one_and_its_hash() -> None:
    edit(3, actor="eve")
    rehash(3)


def remove_one() -> None:
    AuditEntry.objects.filter(sequence=3).delete()


def remove_one_and_renumber() -> None:
    remove_one()
    for number in (4, 5):
        AuditEntry.objects.filter(sequence=number).update(sequence=number - 1)
    AuditHead.objects.update(sequence=4)


def remove_the_last() -> None:
    AuditEntry.objects.filter(sequence=5).delete()


def remove_all() -> None:
    AuditEntry.objects.all().delete()


def remove_the_first() -> None:
    AuditEntry.objects.filter(sequence=1).delete()


def put_one_behind_the_head() -> None:
    entry = AuditEntry.objects.get(sequence=5)
    entry.sequence, entry.previous_hash = 6, entry.hash
    entry.hash = audit.entry_hash(entry)
    entry.save(force_insert=True)


def change_the_head() -> None:
    AuditHead.objects.update(hash="f" * 64)


def change_a_time() -> None:
    entry = AuditEntry.objects.get(sequence=2)
    edit(2, at=entry.at.replace(microsecond=(entry.at.microsecond + 1) % 1_000_000))


@pytest.mark.parametrize(
    ("tamper", "bad", "before"),
    [
        (edit_one, 3, 2),
        (edit_one_and_its_hash, 4, 3),
        (remove_one, 3, 2),
        (remove_one_and_renumber, 3, 2),
        (remove_the_last, 5, 4),
        (remove_all, 1, 0),
        (remove_the_first, 1, 0),
        (put_one_behind_the_head, 6, 5),
        (change_the_head, 5, 5),
        (change_a_time, 2, 1),
    ],
)
def test_the_first_bad_entry_is_named(
    tamper: Callable[[], None], bad: int, before: int, five: None, unguarded: None
) -> None:
    tamper()
    verdict = audit.verify()
    assert (verdict.ok, verdict.bad_sequence, verdict.checked) == (False, bad, before)
    with pytest.raises(CommandError, match=str(bad)) as failure:
        call_command("audit_verify", stdout=StringIO())
    assert failure.value.returncode == 1


@pytest.mark.parametrize("column", [name for name in audit.HASHED if name not in ("sequence", "previous_hash")])
def test_no_column_can_be_edited_unseen(column: str, five: None, unguarded: None) -> None:
    value = AuditEntry.objects.values_list(column, flat=True).get(sequence=3)
    new = {"at": None, "before": {"forged": 1}, "after": {"forged": 1}, "actor_id": 77, "tenant_id": 77}
    if column == "at":
        edit(3, at=value - timedelta(days=9000))
    else:
        edit(3, **{column: new.get(column, "forged")})
    assert audit.verify().bad_sequence == 3


LINE_OF_BEFORE = (
    '{"action":"tenant.add","actor":"root","actor_id":7,"after":{"name":"Acme"},"at":"2026-03-01T12:00:00.000000+00:00",'
    '"before":null,"detail":"","host":"","object_id":"1","object_name":"acme","object_type":"tenant","on_behalf_of":"",'
    '"operation":"","outcome":"done","plan_digest":"","previous_hash":"' + audit.GENESIS + '","sequence":1,'
    '"source":"192.0.2.9","tenant":"acme","tenant_id":1}'
)
"""As an entry was hashed before the log said by which approval something was done."""


def test_entries_from_before_approvals_hold(db: None) -> None:
    columns = json.loads(LINE_OF_BEFORE)
    made = AuditEntry(**columns | {"at": datetime(2026, 3, 1, 12, 0, tzinfo=UTC)})
    digest = hashlib.sha256(LINE_OF_BEFORE.encode()).hexdigest()
    assert audit.entry_hash(made) == audit.hash_of(columns) == digest
    made.hash = digest
    made.save(force_insert=True)
    AuditHead.objects.update_or_create(pk=1, defaults={"sequence": 1, "hash": digest})
    with transaction.atomic():
        audit.record("operation.confirm", approval="approval 12 of owner-person")
        audit.record("operation.confirm")
    verdict = audit.verify()
    assert (verdict.ok, verdict.checked) == (True, 3)
    lines = [json.loads(audit.line(entry)) for entry in AuditEntry.objects.order_by("sequence")]
    assert ["approval" in values for values in lines] == [False, True, False]
    assert lines[0] == columns | {"hash": digest}


@pytest.mark.parametrize(
    ("sequence", "value"), [(1, "approval 12 of eve"), (1, ""), (2, None), (2, "approval 13 of eve")]
)
def test_no_approval_can_be_put_in_or_taken_away_unseen(sequence: int, value: str | None, unguarded: None) -> None:
    with transaction.atomic():
        audit.record("operation.confirm")
        audit.record("operation.confirm", approval="approval 12 of owner-person")
    assert audit.verify().ok
    edit(sequence, approval=value)
    assert audit.verify().bad_sequence == sequence


def test_the_end_alone_can_be_checked(five: None, unguarded: None) -> None:
    assert audit.verify(newest=2).checked == 2
    assert audit.verify(newest=99).checked == 5
    edit(1, actor="eve")
    assert audit.verify(newest=2).ok
    assert not audit.verify().ok
    edit(4, actor="eve")
    assert audit.verify(newest=2).bad_sequence == 4


def test_what_is_appended_while_it_is_checked_is_no_break(five: None, monkeypatch: pytest.MonkeyPatch) -> None:
    over = audit.Walk.over

    def busy(walk: audit.Walk, rows: auditrows.Rows) -> str:
        record("test.meanwhile")
        return over(walk, rows)

    monkeypatch.setattr(audit.Walk, "over", busy)
    monkeypatch.setattr(auditrows, "CHUNK", 1)
    verdict = audit.verify()
    assert (verdict.ok, verdict.checked, AuditHead.objects.get().sequence) == (True, 5, 10)


def verify_command(*args: str) -> str:
    output = StringIO()
    call_command("audit_verify", *args, stdout=output)
    return output.getvalue()


def test_a_checkpoint_shows_a_chain_made_anew(five: None, unguarded: None) -> None:
    checkpoint = verify_command().split()[-1]
    assert "5 entries" in verify_command("--checkpoint", checkpoint)
    edit(3, actor="eve")
    previous = rehash(3)
    for number in (4, 5):
        edit(number, previous_hash=previous)
        previous = rehash(number)
    AuditHead.objects.update(hash=previous)
    assert audit.verify().ok
    with pytest.raises(CommandError, match="entry 5 is not the one of the checkpoint"):
        verify_command("--checkpoint", checkpoint)


def test_a_checkpoint_shows_that_the_end_was_cut_off(five: None, unguarded: None) -> None:
    checkpoint = verify_command().split()[-1]
    remove_the_last()
    last = AuditEntry.objects.get(sequence=4)
    AuditHead.objects.update(sequence=4, hash=last.hash)
    assert audit.verify().ok
    with pytest.raises(CommandError, match="the chain ends at 4"):
        verify_command("--checkpoint", checkpoint)


@pytest.mark.parametrize("text", ["", "5", "5:abc", "+1:" + "a" * 64, "5:" + "g" * 64])
def test_a_checkpoint_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="expected NUMBER:HASH"):
        verify_command("--checkpoint", text or " ")
