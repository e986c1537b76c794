"""The timeline of a jail, a host and a person."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jails import audit
from jails.models import AuditEntry, Console, Jail, Operation
from panel.charts import strip
from panel.views import timelines
from tests.panel.fleet import Fleet, signed_in
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
NOW = timezone.now()
NOON = datetime.combine(NOW.astimezone(UTC).date(), datetime.min.time(), UTC) + timedelta(hours=12)


@pytest.fixture(autouse=True)
def the_day_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """No midnight between the entries and the page: both count days from NOW, however late the tests run."""
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def note(days: int, action: str = "jail.power", *, minutes: int = 0, **fields: Any) -> AuditEntry:
    """An entry of so many days ago; call it in the order of time, as the log is."""
    made = audit.entry(action, **fields)
    made.at = NOON - timedelta(days=days) + timedelta(minutes=minutes)
    with transaction.atomic():
        audit.record_all([made])
    return made


def read(fleet: Fleet, role: str, thing: Any, **query: str) -> Any:
    name = thing if isinstance(thing, str) else f"{thing._meta.model_name}:{thing.pk}"
    return signed_in(fleet, role).get(f"{reverse('audit-timeline')}?{urlencode({'object': name, **query})}")


def days_of(response: Any) -> list[tuple[int, int, int, list[int]]]:
    """(days ago, entries, quiet days above, numbers shown) of each day."""
    return [
        ((NOON.date() - one.day).days, one.tally.entries, one.quiet, [line.entry.pk for line in one.lines])
        for one in response.context["page"].days
    ]


def test_days_with_their_counts_and_what_was_quiet_between_them(fleet: Fleet) -> None:
    jail, member = fleet.jails["www1"], fleet.people["member"]
    first = note(40, obj=jail, actor=member, outcome="failed")
    second = note(12, obj=jail, actor=member)
    third = note(12, minutes=1, obj=jail, actor=member)
    note(12, minutes=2, obj=fleet.jails["loghost"], actor=member)
    fourth = note(10, obj=jail, actor=member)
    response = read(fleet, "auditor", jail)
    assert days_of(response) == [
        (10, 1, 9, [fourth.pk]),
        (12, 2, 0, [third.pk, second.pk]),
        (40, 1, 27, [first.pk]),
    ]
    text = response.content.decode()
    assert "Nothing for 9 days" in text and "Nothing for 27 days" in text and "1 entry, 1 not done" in text
    assert "4 entries, 1 not done on 3 days of the last 90" in text


def test_a_line_tells_how_long_it_took_and_what_a_reviewer_looks_for(fleet: Fleet) -> None:
    jail, member, boss = fleet.jails["www1"], fleet.people["member"], fleet.people["administrator"]
    begun = NOON - timedelta(hours=1)
    operation = Operation.objects.create(
        kind="jail_stop", title="Stop www1", host=fleet.zfs, host_name="warden1", tenant=fleet.acme, status="done",
        started_at=begun, finished_at=begun + timedelta(seconds=75),
    )  # fmt: skip
    operation.jails.set([jail])
    console = Console.objects.create(
        user=boss, username=boss.username, jail=jail, jail_name="www1", host_name="warden1", tenant=fleet.acme,
        login="root", opened_at=begun, ended_at=NOON, ended="exit",
    )  # fmt: skip
    note(3, "jail.breakglass", obj=jail, actor=boss, detail="The site is down & nobody answers.")
    note(2, "console.close", obj=jail, actor=boss, after={"console": str(console.pk), "seconds": 720})
    note(1, "jail.drift", obj=jail, actor="worker", source="worker")
    done = {"actor": member, "operation": operation, "source": "worker", "approval": "approval 12 of owner-person"}
    note(0, "jail.power", **done)
    lines = read(fleet, "auditor", jail).context["page"].lines
    assert [[word for _, word in line.marks] for line in lines] == [
        ["by approval 12 of owner-person"],
        ["drift found"],
        ["console"],
        ["break-glass"],
    ]
    text = read(fleet, "auditor", jail).content.decode()
    assert "after 1 min 15 s" in text and reverse("operation", args=[operation.pk]) in text
    assert "12 min" in text and reverse("recording", args=[console.pk]) in text
    assert "The site is down &amp; nobody answers." in text
    # Recordings are for those who may play them.
    assert reverse("recording", args=[console.pk]) not in read(fleet, "owner", jail).content.decode()


def test_pages_have_every_entry_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "A_PAGE", 3)
    member, jail = fleet.people["member"], fleet.jails["loghost"]
    wanted = [note(20 - number, obj=jail, actor=member).pk for number in range(8)]
    note(1, "user.change", obj=member, actor="grace")
    wanted.append(note(0, "user.link", obj=member, actor=member).pk)  # in both ways, once
    wanted.insert(-1, wanted[-1] - 1)
    seen: list[int] = []
    query: dict[str, str] = {}
    while True:
        page = read(fleet, "auditor", member, **query).context["page"]
        seen += [line.entry.pk for line in page.lines]
        if page.older is None:
            break
        query = {"before": str(page.older)}
    assert seen == wanted[::-1]
    back = read(fleet, "auditor", member, after=str(wanted[0])).context["page"]
    assert [line.entry.pk for line in back.lines] == wanted[1:4][::-1] and back.newer == wanted[3]


def test_a_day_to_begin_with(fleet: Fleet) -> None:
    jail = fleet.jails["www1"]
    old, new = note(9, obj=jail), note(2, obj=jail)
    asked = (NOON - timedelta(days=5)).date()
    response = read(fleet, "auditor", jail, day=str(asked))
    assert days_of(response) == [(9, 1, 3, [old.pk])] and response.context["page"].newer is not None
    assert days_of(read(fleet, "auditor", jail, day=str(NOON.date())))[0][3] == [new.pk]
    for wrong in ("x", "2026-02-31", "0001-01-01", "9999-12-31"):
        assert days_of(read(fleet, "auditor", jail, day=wrong))[0][3] == [new.pk]
        assert f"{wrong} is no day to go to" in read(fleet, "auditor", jail, day=wrong).content.decode()
    assert "Nothing up to" in read(fleet, "auditor", jail, day="1999-01-01").content.decode()


def test_a_tenant_sees_what_is_in_its_own_log_alone(fleet: Fleet) -> None:
    jail, boss = fleet.jails["www1"], fleet.people["administrator"]
    own = note(2, obj=jail, actor=boss)
    assert read(fleet, "stranger", jail).status_code == 404
    hidden = note(1, "host.change", obj=jail, tenant=fleet.other, actor=boss, detail="not theirs")
    response = read(fleet, "viewer", jail)
    assert days_of(response) == [(2, 1, 0, [own.pk])] and "not theirs" not in response.content.decode()
    assert "1 entry on 1 day" in response.content.decode()
    assert {line.entry.pk for line in read(fleet, "auditor", jail).context["page"].lines} == {own.pk, hidden.pk}
    for thing in (fleet.jails["loghost"], fleet.zfs):
        assert read(fleet, "owner", thing).status_code == 404
    # Of staff they know what they did for the team, and no page of theirs.
    assert read(fleet, "owner", boss).status_code == 404
    assert read(fleet, "owner", fleet.people["stranger"]).status_code == 404
    assert read(fleet, "viewer", fleet.people["member"]).status_code == 200
    text = read(fleet, "viewer", jail).content.decode().split("<main")[1]
    assert "warden1" not in text


def test_what_is_gone_keeps_its_timeline(fleet: Fleet) -> None:
    jail = fleet.jails["www1"]
    made = note(1, "jail.destroy", obj=jail, actor=fleet.people["owner"])
    key = f"jail:{jail.pk}"
    Jail.objects.filter(pk=jail.pk).delete()
    for role in ("auditor", "owner"):
        response = read(fleet, role, key)
        assert days_of(response) == [(1, 1, 0, [made.pk])]
        assert "Timeline of www1" in response.content.decode() and "It is gone" in response.content.decode()
    assert read(fleet, "stranger", key).status_code == 404


@pytest.mark.parametrize("name", ["", "jail", "jail:", "jail:x", "jail:0", "tenant:1", f"jail:{10**30}", "jail:1\0"])
def test_what_is_no_such_thing_is_not_found(fleet: Fleet, name: str) -> None:
    assert read(fleet, "auditor", name).status_code == 404


def test_the_host_has_all_that_was_done_on_it(fleet: Fleet) -> None:
    there = [note(2, obj=fleet.jails["www1"]), note(1, "host.change", obj=fleet.zfs)]
    note(0, obj=fleet.ufs)
    assert [pk for *_, some in days_of(read(fleet, "auditor", fleet.zfs)) for pk in some] == [
        one.pk for one in reversed(there)
    ]


def test_as_many_queries_for_many_entries(fleet: Fleet) -> None:
    counts = []
    for more in (2, 60):
        for number in range(more):
            operation = Operation.objects.create(kind="jail_stop", title="x", host=fleet.zfs, host_name="warden1")
            operation.jails.set([fleet.jails["www1"]])
            note(60 - number, operation=operation, actor="ada", source="worker")
        with CaptureQueriesContext(connection) as captured:
            assert read(fleet, "auditor", fleet.jails["www1"]).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_hostile_text_is_only_text(fleet: Fleet) -> None:
    for text in HOSTILE:
        note(0, obj=fleet.jails["www1"], actor=text[:150], detail=text)
    main = read(fleet, "auditor", fleet.jails["www1"]).content.decode().split("<main")[1]
    assert "<script>" not in main and "onerror=" not in main.replace("onerror=&quot;", "")


def test_the_strip_says_what_it_draws() -> None:
    today = date(2026, 11, 30)
    tallies = {today: (1, 0), today - timedelta(days=2): (400, 3), today - timedelta(days=100): (9, 9)}
    drawn = strip(tallies, today, 90)
    assert drawn.summary == "401 entries, 3 not done on 2 days of the last 90, most on 28 November (400)."
    assert [bar.words for bar in drawn.busy] == ["Mon 30 Nov: 1 entry", "Sat 28 Nov: 400 entries, 3 not done"]
    assert [bar.mark for bar in drawn.busy] == [False, True]
    assert len(drawn.bars) == 90 and all(bar.y + bar.height == drawn.height for bar in drawn.busy)
    assert 5 <= drawn.busy[0].height < 9 and drawn.busy[1].y >= 6
    assert strip({}, today, 90).summary == "Nothing in the last 90 days."
