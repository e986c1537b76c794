"""What the rules find in the log, and who signs it off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from jails import audit, hours, policy, review, tasks
from jails.models import AuditEntry, AuditReview, ReviewMark, User
from jails.models.audit_triggers import drop_triggers, make_triggers
from jails.operations import kind, lifecycle, queue
from jails.operations.step import Plan, Run, Step

pytestmark = pytest.mark.django_db
WORKING = hours.parse("Mon-Fri 07:00-19:00")
MONDAY_NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def people(db: None) -> SimpleNamespace:
    roles = {"admin": "administrator", "other": "administrator", "auditor": "auditor", "tenant": ""}
    return SimpleNamespace(**{name: User.objects.create_user(name, role=role) for name, role in roles.items()})


def note(action: str, *, at: datetime = MONDAY_NOON, **fields: Any) -> AuditEntry:
    made = audit.entry(action, **fields)
    made.at = at
    with transaction.atomic():
        audit.record_all([made])
    return made


def found() -> list[tuple[int, str]]:
    return list(AuditReview.objects.order_by("sequence", "rule").values_list("sequence", "rule"))


Who = SimpleNamespace
TRIGGERS: dict[str, list[Callable[[Who], dict[str, Any]]]] = {
    "broken": [lambda p: {"action": "audit.broken", "actor": "worker", "outcome": "failed"}],
    "administrator": [
        lambda p: {
            "action": "user.change",
            "actor": p.admin,
            "before": {"role": "", "active": True},
            "after": {"role": "administrator", "active": True},
        },
        lambda p: {"action": "user.invite", "actor": p.admin, "after": {"role": "administrator"}},
        lambda p: {
            "action": "user.enable",
            "actor": p.admin,
            "before": {"role": "administrator", "active": False},
            "after": {"role": "administrator", "active": True},
        },
    ],
    "privileged": [lambda p: {"action": "operation.confirm", "actor": p.admin, "after": {"widens": ["children.max"]}}],
    "breakglass": [lambda p: {"action": "jail.breakglass", "actor": p.admin}],
    "console": [
        lambda p: {"action": "console.open", "actor": p.admin, "approval": "break-glass 3"},
        lambda p: {"action": "console.run", "actor": p.admin, "approval": "break-glass 3"},
    ],
    "sign-in": [
        lambda p: {"action": "session.sign_in", "actor": "root", "outcome": "refused"},
        lambda p: {"action": "session.lockout", "actor": "root", "outcome": "refused"},
    ],
    "refused": [
        lambda p: {"action": "host.forget", "actor": p.tenant, "outcome": "refused"},
        lambda p: {"action": "operation.confirm", "actor": p.admin, "outcome": "refused"},
    ],
    "rights": [
        lambda p: {
            "action": "user.change",
            "actor": p.admin,
            "before": {"role": "administrator", "active": True},
            "after": {"role": "administrator", "active": True},
        },
        lambda p: {"action": "user.change", "actor": p.admin, "before": {"role": ""}, "after": {"role": "auditor"}},
        lambda p: {"action": "tenant.member_change", "actor": p.tenant, "after": {"role": "owner"}},
        lambda p: {
            "action": "user.disable",
            "actor": p.admin,
            "before": {"role": "administrator", "active": True},
            "after": {"role": "administrator", "active": False},
        },
    ],
    "drift": [
        lambda p: {"action": "jail.drift", "actor": "worker"},
        lambda p: {"action": "jail.repair", "actor": p.admin, "source": "worker"},
        lambda p: {"action": "jail.accept", "actor": p.admin, "source": "worker"},
    ],
}
QUIET: list[Callable[[Who], dict[str, Any]]] = [
    lambda p: {"action": "jail.breakglass_end", "actor": p.admin},
    lambda p: {"action": "console.open", "actor": p.tenant},
    lambda p: {"action": "console.close", "actor": p.admin, "approval": "break-glass 3"},
    lambda p: {"action": "jail.breakglass_read", "actor": p.tenant},
    lambda p: {"action": "session.sign_in", "actor": p.admin},
    lambda p: {"action": "session.sign_out", "actor": p.admin},
    lambda p: {"action": "operation.confirm", "actor": p.admin},
    lambda p: {"action": "operation.confirm", "actor": p.admin, "after": {"names": ["widens"]}},
    lambda p: {"action": "jail.change", "actor": p.admin, "source": "worker"},
    lambda p: {"action": "jail.destroy", "actor": p.admin, "source": "worker"},
    lambda p: {"action": "jail.repair", "actor": p.admin, "source": "worker", "outcome": "failed"},
    lambda p: {"action": "audit.review", "actor": p.admin, "after": {"role": "administrator"}},
]


@pytest.mark.parametrize(
    ("rule", "number"), [(rule, n) for rule, entries in TRIGGERS.items() for n in range(len(entries))]
)
def test_each_rule_finds_its_entries_and_no_other_does(rule: str, number: int, people: Who) -> None:
    fields = TRIGGERS[rule][number](people)
    entry = note(fields.pop("action"), **fields)
    assert review.catch_up() == 1
    made = AuditReview.objects.get()
    assert (made.sequence, made.rule, made.state, made.at) == (entry.sequence, rule, "open", entry.at)
    assert (made.actor_id, made.actor, made.tenant_id) == (entry.actor_id, entry.actor, entry.tenant_id)
    assert made.grave == (rule in ("broken", "administrator", "privileged", "destroyed", "breakglass"))


@pytest.mark.parametrize("number", range(len(QUIET)))
def test_what_is_ordinary_is_left_alone(number: int, people: Who) -> None:
    fields = QUIET[number](people)
    note(fields.pop("action"), **fields)
    assert review.catch_up() == 0 and found() == []


def test_every_rule_has_a_test() -> None:
    assert {rule.key for rule in review.RULES} == {*TRIGGERS, "destroyed", "hours"}


def destroyed(people: Who, *minutes: float, who: str = "admin", **fields: Any) -> None:
    for minute in minutes:
        actor = getattr(people, who)
        note("jail.destroy", actor=actor, source="worker", at=MONDAY_NOON + timedelta(minutes=minute), **fields)


def test_the_third_jail_in_ten_minutes_and_each_after_it(people: Who) -> None:
    destroyed(people, 0, 4, 9, 9.5)
    review.catch_up()
    assert found() == [(3, "destroyed"), (4, "destroyed")]


def test_a_few_jails_by_several_people_or_in_more_time_are_ordinary(people: Who) -> None:
    destroyed(people, 0, 5, 10)
    destroyed(people, 11, 12, who="other")
    destroyed(people, 13, 14, 15, outcome="failed")
    review.catch_up()
    assert found() == []


def test_many_destroyed_are_seen_across_two_looks(people: Who) -> None:
    destroyed(people, 0, 1)
    review.catch_up()
    destroyed(people, 2)
    review.catch_up()
    assert found() == [(3, "destroyed")]


HOURS = [
    (datetime(2026, 3, 2, 7, 0, tzinfo=UTC), False),
    (datetime(2026, 3, 2, 18, 59, 59, tzinfo=UTC), False),
    (datetime(2026, 3, 2, 19, 0, tzinfo=UTC), True),
    (datetime(2026, 3, 2, 6, 59, 59, tzinfo=UTC), True),
    (datetime(2026, 3, 7, 12, 0, tzinfo=UTC), True),
    (datetime(2026, 3, 8, 12, 0, tzinfo=UTC), True),
]


@pytest.mark.parametrize(("at", "is_found"), HOURS)
def test_what_staff_do_out_of_hours(at: datetime, is_found: bool, people: Who, settings: Any) -> None:
    settings.AUDIT_WORKING_HOURS = WORKING
    note("host.change", actor=people.admin, at=at)
    review.catch_up()
    assert found() == ([(1, "hours")] if is_found else [])


def test_hours_are_those_of_the_time_zone(people: Who, settings: Any) -> None:
    settings.AUDIT_WORKING_HOURS, settings.AUDIT_TIME_ZONE = WORKING, ZoneInfo("Asia/Tokyo")
    note("host.change", actor=people.admin, at=datetime(2026, 3, 1, 22, 30, tzinfo=UTC))  # Monday 07:30 there
    note("host.change", actor=people.admin, at=datetime(2026, 3, 2, 10, 30, tzinfo=UTC))  # 19:30
    review.catch_up()
    assert found() == [(2, "hours")]


def test_out_of_hours_are_people_with_a_role_alone(people: Who, settings: Any) -> None:
    night = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
    note("host.change", actor=people.admin, at=night)
    review.catch_up()
    assert found() == []
    settings.AUDIT_WORKING_HOURS = WORKING
    note("session.sign_in", actor=people.tenant, at=night)
    note("jail.power", actor=people.admin, source="worker", at=night)
    note("audit.review", actor=people.auditor, at=night)
    note("audit.checkpoint", actor="worker", at=night)
    review.catch_up()
    assert found() == []


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", ()),
        (" ", ()),
        ("Mon-Fri 07:00-19:00", ((1, 5, 420, 1140),)),
        ("Sat 09:30-12:00, Sun 00:00-24:00", ((6, 6, 570, 720), (7, 7, 0, 1440))),
    ],
)
def test_working_hours_are_read(text: str, spans: tuple[tuple[int, ...], ...]) -> None:
    assert hours.parse(text) == spans


@pytest.mark.parametrize(
    "text",
    ["always", "Mon-Fri", "Mon-Fri 7:00-19:00", "Fri-Mon 07:00-19:00", "Mon-Fri 19:00-07:00", "Mon-Fri 07:00-24:01",
     "Mon-Fri 07:60-19:00", "Mo-Fr 07:00-19:00", "Abc-Fri 07:00-19:00", "Mon-Fri 07:00-19:00,"],
)  # fmt: skip
def test_working_hours_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        hours.parse(text)


# Reading on


def test_twice_finds_the_same(people: Who) -> None:
    note("host.forget", actor=people.tenant, outcome="refused")
    assert (tasks.audit_review(), tasks.audit_review()) == (1, 0)
    first = found()
    ReviewMark.objects.update(sequence=0)
    review.catch_up()
    assert found() == first and len(first) == 1


def test_it_goes_on_where_it_was(people: Who, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "BATCH", 3)
    for _ in range(10):
        note("host.forget", actor=people.tenant, outcome="refused")
    assert review.catch_up(batches=2) == 6
    assert ReviewMark.objects.get().sequence == 6
    assert review.catch_up() == 4
    assert [sequence for sequence, _ in found()] == list(range(1, 11))
    assert review.catch_up() == 0


def test_a_look_costs_as_many_queries_for_many_entries_as_for_few(people: Who) -> None:
    review.catch_up()
    counts = []
    for number in (2, 40):
        for _ in range(number):
            note("host.forget", actor=people.tenant, outcome="refused")
        with CaptureQueriesContext(connection) as queries:
            review.catch_up()
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 30


def test_what_broke_off_is_begun_again(people: Who, monkeypatch: pytest.MonkeyPatch) -> None:
    note("host.forget", actor=people.tenant, outcome="refused")
    with monkeypatch.context() as patch:
        patch.setattr(ReviewMark, "save", lambda self, **fields: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            review.catch_up()
    assert found() == [] and review.catch_up() == 1


@pytest.fixture
def log_can_be_emptied(guarded_again: None, transactional_db: None) -> Iterator[None]:
    """The database is emptied after such a test, which the log refuses."""
    drop_triggers(connection)
    make_triggers(connection)
    yield
    drop_triggers(connection)


def test_simultaneous_looks_make_one_row_an_entry(log_can_be_emptied: None, people: Who) -> None:
    for _ in range(20):
        note("host.forget", actor=people.tenant, outcome="refused")
    errors: list[Exception] = []

    def look() -> None:
        try:
            review.catch_up()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == [] and [sequence for sequence, _ in found()] == list(range(1, 21))


# What the log says of a jail that gets more


class Widening(kind.Kind):
    name, action = "jail_change", "jail.change"
    widened: tuple[str, ...] = ("children.max",)

    def title(self, parameters: Any, host: Any) -> str:
        return "Change www1"

    def clean(self, parameters: Any) -> dict[str, Any]:
        return dict(parameters)

    def widens(self, host: Any, parameters: Any) -> list[str]:
        return list(self.widened)

    def plan(self, request: kind.Request) -> Plan:
        return Plan(
            title="Change", steps=(Step(key="a", purpose="b", action=Run((("/usr/bin/true",),))),), resources=()
        )


@pytest.mark.parametrize("widened", [("children.max",), ()])
def test_what_widens_a_jail_is_in_the_log_when_it_is_confirmed(
    widened: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.panel.fleet import make_fleet

    fleet = make_fleet()
    wanted = Widening()
    wanted.widened = widened
    monkeypatch.setattr(kind, "get", lambda name: wanted)
    monkeypatch.setattr(queue, "send", lambda row: True)
    admin = fleet.people["administrator"]
    drafted = lifecycle.draft("jail_change", {}, host=fleet.zfs, user=admin)
    lifecycle.confirm(drafted, drafted.digest, user=admin)
    entry = AuditEntry.objects.get(action="operation.confirm")
    assert entry.after == ({"widens": ["children.max"]} if widened else None)
    review.catch_up()
    assert [rule for _, rule in found()] == (["privileged"] if widened else [])


# Signing off


def made(rule: str, actor: Any, **fields: Any) -> AuditReview:
    entry = note("test.thing", actor=actor)
    is_grave = next(one.grave for one in review.RULES if one.key == rule)
    return AuditReview.objects.create(
        sequence=entry.sequence, rule=rule, grave=is_grave, at=entry.at, actor_id=entry.actor_id, actor=entry.actor
    )


def test_one_signs_off_what_is_not_grave(people: Who) -> None:
    row = made("refused", people.tenant)
    review.sign_off([row], "A slip.", user=people.auditor, source="203.0.113.5")
    row.refresh_from_db()
    assert (row.state, row.first_reviewer, row.first_comment) == ("done", people.auditor, "A slip.")
    assert row.second_reviewer is None and row.first_at is not None
    entry = AuditEntry.objects.get(action="audit.review")
    assert (entry.actor, entry.detail, entry.source, entry.outcome) == ("auditor", "A slip.", "203.0.113.5", "done")
    assert entry.after == {"entry": row.sequence, "rule": "refused", "state": "done"}


def test_the_gravest_need_two_people(people: Who) -> None:
    row = made("administrator", people.admin)
    review.sign_off([row], "Seen.", user=people.auditor)
    row.refresh_from_db()
    assert row.state == "second"
    with pytest.raises(review.CannotSign, match="you have signed it already, and it needs two"):
        review.sign_off([row], "Seen again.", user=people.auditor)
    row.refresh_from_db()
    assert (row.state, row.second_comment) == ("second", "")
    review.sign_off([row], "Agreed.", user=people.other)
    row.refresh_from_db()
    assert (row.state, row.second_reviewer, row.second_comment) == ("done", people.other, "Agreed.")
    assert [
        entry.after["state"] for entry in AuditEntry.objects.filter(action="audit.review").order_by("sequence")
    ] == [
        "second",
        "done",
    ]


@pytest.mark.parametrize("is_first", [True, False])
def test_nobody_signs_off_what_they_did(is_first: bool, people: Who) -> None:
    row = made("administrator", people.admin)
    if not is_first:
        review.sign_off([row], "Seen.", user=people.auditor)
    with pytest.raises(review.CannotSign, match="you did it yourself"):
        review.sign_off([row], "Mine.", user=people.admin)
    row.refresh_from_db()
    assert row.state == ("open" if is_first else "second")
    assert not AuditEntry.objects.filter(action="audit.review", actor="admin").exists()


def test_a_failed_sign_in_is_that_of_whose_name_was_typed(people: Who) -> None:
    row = made("sign-in", "auditor")
    with pytest.raises(review.CannotSign):
        review.sign_off([row], "Mine.", user=people.auditor)
    review.sign_off([row], "Asked them.", user=people.admin)


def test_several_are_signed_off_together_or_none_is(people: Who) -> None:
    rows = [made("refused", people.tenant), made("refused", people.auditor), made("refused", people.tenant)]
    with pytest.raises(review.CannotSign):
        review.sign_off(rows, "Seen.", user=people.auditor)
    assert set(AuditReview.objects.values_list("state", flat=True)) == {"open"}
    review.sign_off(rows, "Seen.", user=people.admin)
    assert set(AuditReview.objects.values_list("state", flat=True)) == {"done"}
    assert AuditEntry.objects.filter(action="audit.review").count() == 3
    assert audit.verify().ok


def test_what_is_signed_off_stays_so(people: Who) -> None:
    row = made("refused", people.tenant)
    review.sign_off([row], "Seen.", user=people.auditor)
    with pytest.raises(review.CannotSign, match="signed off meanwhile"):
        review.sign_off([row], "Me too.", user=people.admin)
    row.refresh_from_db()
    assert row.first_comment == "Seen."


def test_the_sign_off_and_its_entry_are_one(people: Who, monkeypatch: pytest.MonkeyPatch) -> None:
    row = made("refused", people.tenant)
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record_all", lambda entries: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            review.sign_off([row], "Seen.", user=people.auditor)
    row.refresh_from_db()
    assert (row.state, row.first_comment) == ("open", "")


def test_who_may_sign_off(people: Who) -> None:
    row = made("refused", people.admin)
    may = [name for name in vars(people) if policy.allowed(vars(people)[name], "audit.review", row)]
    assert may == ["other", "auditor"]
    assert not policy.allowed(people.tenant, "audit.review") and policy.allowed(people.auditor, "audit.review")
