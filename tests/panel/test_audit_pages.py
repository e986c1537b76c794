"""The log as people read it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from jails import audit
from jails.models import AuditEntry, Operation
from jails.models.audit_triggers import drop_triggers, make_triggers
from tests.panel.fleet import Fleet, signed_in
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    cache.clear()


def record(action: str = "test.thing", **fields: Any) -> AuditEntry:
    with transaction.atomic():
        return audit.record(action, **fields)


@pytest.fixture
def log(fleet: Fleet) -> None:
    people = fleet.people
    record("jail.start", actor=people["member"], obj=fleet.jails["www1"], source="203.0.113.5", plan_digest="d" * 64)
    record("jail.stop", actor=people["administrator"], obj=fleet.jails["www1"], source="203.0.113.9", outcome="failed")
    record("jail.start", actor=people["operator"], obj=fleet.jails["loghost"], source="203.0.113.7")
    record("tenant.invite", actor=people["stranger"], tenant=fleet.other, detail="their secret plan")
    record("host.change", actor=people["administrator"], obj=fleet.ufs, before={"port": 22}, after={"port": 2222})
    record("network.add", actor=people["auditor"], obj=fleet.office, outcome="refused")


def read(fleet: Fleet, role: str, **query: str) -> Any:
    client = Client()
    client.force_login(fleet.people[role], backend=BACKEND)
    return client.get(f"{reverse('audit')}?{urlencode(query)}")


def shown(response: Any) -> list[tuple[str, str]]:
    """(action, object) of the entries of a page but its own sign-ins."""
    rows = [row["entry"] for row in response.context["entries"]]
    return [(row.action, row.object_name) for row in rows if row.action != "session.sign_in"]


def test_staff_see_all(fleet: Fleet, log: None) -> None:
    for role in ("administrator", "auditor"):
        assert len(shown(read(fleet, role))) == 6


def test_a_tenant_sees_its_own_part_alone(fleet: Fleet, log: None) -> None:
    for role in ("owner", "member", "viewer"):
        response = read(fleet, role)
        assert shown(response) == [("jail.stop", "www1"), ("jail.start", "www1")]
        text = response.content.decode()
        assert not [word for word in ("loghost", "globex", "stranger-person", "warden2", "office") if word in text]


def test_a_tenant_learns_where_its_members_came_from_and_not_where_staff_did(fleet: Fleet, log: None) -> None:
    text = read(fleet, "viewer").content.decode()
    assert "203.0.113.5" in text and "203.0.113.9" not in text
    for row in csv.DictReader(io.StringIO(body(read(fleet, "viewer", export="csv")))):
        assert row["from"] in ("203.0.113.5", "")
    entry = AuditEntry.objects.get(action="jail.stop")
    client = Client()
    client.force_login(fleet.people["viewer"], backend=BACKEND)
    assert "203.0.113.9" not in client.get(reverse("audit-entry", args=[entry.pk])).content.decode()
    assert "203.0.113.9" in read(fleet, "auditor").content.decode()


def test_what_a_tenant_may_filter_by_tells_of_nobody_else(fleet: Fleet, log: None) -> None:
    choices = read(fleet, "owner").context["choices"]
    assert choices == {
        "who": ["administrator-person", "member-person"],
        "action": ["jail.start", "jail.stop"],
        "host": ["warden1"],
        "tenant": [],
    }


def test_what_staff_may_filter_by_is_of_the_last_entries_old_and_new(fleet: Fleet, log: None) -> None:
    def offered() -> list[str]:
        return [one for one in read(fleet, "auditor").context["choices"]["action"] if one.startswith("test.")]

    made = [f"test.{number:03}" for number in range(250)]
    for action in made[:150]:
        record(action)
    assert offered() == made[:150]
    for action in made[150:]:
        record(action)
    assert offered() == made


@pytest.mark.parametrize(
    "query",
    [
        {"tenant": "globex"},
        {"who": "stranger-person"},
        {"host": "warden2"},
        {"action": "tenant.invite"},
        {"q": "their secret"},
        {"q": "loghost"},
        {"before": "999", "tenant": "globex"},
    ],
)
def test_no_filter_shows_a_tenant_what_is_not_its_own(fleet: Fleet, log: None, query: dict[str, str]) -> None:
    assert shown(read(fleet, "owner", **query)) == []
    assert len(list(csv.reader(io.StringIO(body(read(fleet, "owner", export="csv", **query)))))) == 1


@pytest.mark.parametrize("role", ["owner", "member", "viewer", "stranger", "operator"])
def test_an_entry_of_somebody_else_is_not_found(fleet: Fleet, log: None, role: str) -> None:
    client = Client()
    client.force_login(fleet.people[role], backend=BACKEND)
    foreign = AuditEntry.objects.get(action="host.change")
    assert client.get(reverse("audit-entry", args=[foreign.pk])).status_code == 404
    assert client.get(reverse("audit-entry", args=[10**12])).status_code == 404
    assert client.get("/audit/99999999999999999999999999/").status_code == 404


def test_newer_and_older_entries_are_those_one_may_see(fleet: Fleet, log: None) -> None:
    client = Client()
    client.force_login(fleet.people["owner"], backend=BACKEND)
    first, second = AuditEntry.objects.filter(tenant="acme").order_by("sequence")[:2]
    record("session.sign_in", actor=fleet.people["stranger"])
    response = client.get(reverse("audit-entry", args=[second.pk]))
    assert (response.context["newer"], response.context["older"]) == (None, first.pk)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"who": "operator-person"}, ["loghost"]),
        ({"tenant": "acme"}, ["www1", "www1"]),
        ({"action": "jail.start"}, ["loghost", "www1"]),
        ({"outcome": "refused"}, ["office"]),
        ({"outcome": "failed"}, ["www1"]),
        ({"host": "warden2"}, ["warden2"]),
        ({"q": "logh"}, ["loghost"]),
        ({"q": "SECRET"}, [""]),
        ({"q": "d" * 64}, ["www1"]),
        ({"action": "jail.start", "tenant": "acme", "who": "member-person"}, ["www1"]),
        ({"since": "2001-01-01", "until": "2001-12-31"}, []),
        ({"tenant": "none"}, []),
    ],
)
def test_filters(fleet: Fleet, log: None, query: dict[str, str], expected: list[str]) -> None:
    response = read(fleet, "auditor", **query)
    assert [name for _, name in shown(response)] == expected
    assert len(response.context["chips"]) == len(query)


def test_days_are_whole(time_stands: datetime, fleet: Fleet, log: None) -> None:
    today = time_stands.date()
    day = {"since": str(today), "until": str(today)}
    assert len(shown(read(fleet, "auditor", **day))) == 6
    assert shown(read(fleet, "auditor", until=str(today - timedelta(days=1)))) == []
    assert shown(read(fleet, "auditor", since=str(today + timedelta(days=1)))) == []
    assert len(shown(read(fleet, "auditor", until="9999-12-31"))) == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, HOSTILE["nul"]) for field in ("q", "who", "tenant", "action", "host", "object")],
        *[(field, value) for field in ("outcome", "since", "until", "operation") for value in HOSTILE.values()],
        ("since", "2026-02-30"),
        ("since", "0000-00-00"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_at_its_field(fleet: Fleet, log: None, field: str, value: str) -> None:
    response = read(fleet, "auditor", **{field: value})
    assert response.status_code == 400
    assert list(response.context["form"].errors) == [field]
    assert response.context["entries"] == []


def test_days_the_wrong_way_round_are_refused_and_stay_to_be_mended(fleet: Fleet, log: None) -> None:
    response = read(fleet, "auditor", since="2026-03-02", until="2026-03-01")
    assert response.status_code == 400 and list(response.context["form"].errors) == ["until"]
    text = response.content.decode()
    assert 'value="2026-03-02"' in text and 'value="2026-03-01"' in text and "A filter is not right" in text
    assert read(fleet, "auditor", since="2026-03-01", until="2026-03-01").status_code == 200


def test_what_is_filtered_by_stands_there_in_words(fleet: Fleet, log: None) -> None:
    response = read(fleet, "auditor", action="host.change", outcome="stale")
    found = [chip["words"] for chip in response.context["chips"]]
    assert found == ["Action: changed the host", "Outcome: The host had changed"]


def test_an_entry_of_what_happened_tells_facts_and_no_change(fleet: Fleet) -> None:
    made = record("session.sign_in", after={"by": ["link"]})
    text = signed_in(fleet, "auditor").get(reverse("audit-entry", args=[made.pk])).content.decode()
    assert "<dt>By means of</dt><dd>link</dd>" in text and "<th>Before</th>" not in text


@pytest.mark.parametrize(
    "field", ["q", "who", "tenant", "action", "host", "object", "before", "after", "export", "nonsense"]
)
@pytest.mark.parametrize("value", [value for name, value in HOSTILE.items() if name != "nul"])
def test_hostile_text_finds_nothing_and_is_shown_as_text(fleet: Fleet, log: None, field: str, value: str) -> None:
    response = read(fleet, "auditor", **{field: value})
    assert response.status_code == 200
    assert HOSTILE["markup"] not in response.content.decode()


def test_pages_follow_the_keys_while_the_log_grows(fleet: Fleet) -> None:
    for number in range(120):
        record(f"test.{number:03}")
    client = Client()
    client.force_login(fleet.people["auditor"], backend=BACKEND)

    def page(url: str) -> Any:
        return client.get(reverse("audit") + url).context

    first = page("?q=test.")
    actions = [row["entry"].action for row in first["entries"]]
    assert (actions[0], actions[-1], first["page"].newer) == ("test.119", "test.070", "")
    record("test.120")
    second = page(first["page"].older)
    assert next(row["entry"].action for row in second["entries"]) == "test.069"
    third = page(second["page"].older)
    assert [row["entry"].action for row in third["entries"]][-1] == "test.000"
    assert third["page"].older == ""
    back = page(third["page"].newer)
    assert [row["entry"].action for row in back["entries"]] == [row["entry"].action for row in second["entries"]]
    newest = page(page(back["page"].newer)["page"].newer)
    assert [row["entry"].action for row in newest["entries"]] == ["test.120"]
    assert newest["page"].newer == ""


def test_the_number_of_queries_is_constant(fleet: Fleet, log: None) -> None:
    counts = []
    for _ in range(2):
        cache.clear()
        client = Client()
        client.force_login(fleet.people["auditor"], backend=BACKEND)
        with connection.execute_wrapper(lambda execute, *rest: (counts.append(1), execute(*rest))[1]):
            client.get(reverse("audit"))
        counts.append(0)
        for number in range(100):
            record(f"test.{number}", actor=f"who{number}", host=f"h{number}", tenant=fleet.other)
    first = counts.index(0)
    assert len(counts) - first - 2 == first
    assert first <= 14


def test_an_entry_shows_before_and_after_and_its_operation(fleet: Fleet, log: None) -> None:
    client = Client()
    client.force_login(fleet.people["auditor"], backend=BACKEND)
    response = client.get(reverse("audit-entry", args=[AuditEntry.objects.get(action="host.change").pk]))
    assert response.context["changes"] == [("port", "22", "2222")]
    operation = Operation.objects.create(kind="jail_start", title="Start", host=fleet.zfs, host_name="warden1")
    entry = record("operation.confirm", operation=operation, actor=fleet.people["operator"])
    text = client.get(reverse("audit-entry", args=[entry.pk])).content.decode()
    assert reverse("operation", args=[operation.pk]) in text


def test_an_operation_one_may_not_see_is_not_linked(fleet: Fleet) -> None:
    operation = Operation.objects.create(kind="jail_start", title="Start", host=fleet.zfs, host_name="warden1")
    entry = record("operation.done", operation=operation, tenant=fleet.acme)
    client = Client()
    client.force_login(fleet.people["viewer"], backend=BACKEND)
    response = client.get(reverse("audit-entry", args=[entry.pk]))
    assert response.status_code == 200
    assert reverse("operation", args=[operation.pk]) not in response.content.decode()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, []),
        ({"a": 1}, None, [("a", "1", "")]),
        (None, {"b": [1], "a": None}, [("a", "", ""), ("b", "", "[1]")]),
        ([1], {"a": 1}, [("", "[1]", '{"a": 1}')]),
        ("x", "y", [("", "x", "y")]),
        ({"<b>": "<i>"}, {}, [("<b>", "<i>", "")]),
    ],
)
def test_changes_of_any_shape(fleet: Fleet, before: Any, after: Any, expected: list[tuple[str, str, str]]) -> None:
    entry = record(before=before, after=after)
    client = Client()
    client.force_login(fleet.people["auditor"], backend=BACKEND)
    response = client.get(reverse("audit-entry", args=[entry.pk]))
    assert response.context["changes"] == expected
    assert "<i>" not in response.content.decode()


def test_the_state_of_the_chain_is_told_to_staff(fleet: Fleet, log: None) -> None:
    assert "unbroken" in read(fleet, "auditor").content.decode()
    assert read(fleet, "owner").context["chain"] is None
    drop_triggers(connection)
    AuditEntry.objects.filter(sequence=2).update(actor="eve")
    make_triggers(connection)
    cache.clear()
    text = read(fleet, "auditor").content.decode()
    assert "entry 2 was changed after it was written" in text
    client = Client()
    client.force_login(fleet.people["auditor"], backend=BACKEND)
    assert "was changed after it was written" in client.get(reverse("audit-entry", args=[2])).content.decode()


def body(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def test_csv_has_what_the_filters_leave(fleet: Fleet, log: None) -> None:
    response = read(fleet, "auditor", action="host.change", export="csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(body(response))))
    assert [(row["action"], row["object"], row["before"], row["after"]) for row in rows] == [
        ("host.change", "warden2", '{"port": 22}', '{"port": 2222}')
    ]
    assert [(row["did"], row["changed"]) for row in rows] == [("changed the host", "Port: 22 → 2222")]


def test_json_lines_have_all_that_their_hashes_were_made_of(fleet: Fleet, log: None) -> None:
    response = read(fleet, "auditor", export="jsonl", host="warden1", q="jail.")
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert ".jsonl" in response.headers["Content-Disposition"]
    lines = [json.loads(line) for line in body(response).splitlines()]
    assert [line["action"] for line in lines] == ["jail.start", "jail.stop", "jail.start"]
    for line in lines:
        digest = line.pop("hash")
        text = json.dumps(line, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == digest
        assert AuditEntry.objects.get(sequence=line["sequence"]).hash == digest


@pytest.mark.parametrize("role", ["owner", "member", "viewer"])
def test_a_tenant_gets_no_json_lines(fleet: Fleet, log: None, role: str) -> None:
    response = read(fleet, role, export="jsonl")
    assert not response.streaming and "JSON lines" not in response.content.decode()
    assert not AuditEntry.objects.filter(action="audit.export").exists()


@pytest.mark.parametrize(("role", "tenant"), [("auditor", ""), ("administrator", ""), ("viewer", "acme")])
def test_each_export_is_an_entry(fleet: Fleet, log: None, role: str, tenant: str) -> None:
    response = read(fleet, role, export="csv", action="jail.stop", before="900")
    entry = AuditEntry.objects.get(action="audit.export")
    assert (entry.actor, entry.tenant) == (fleet.people[role].username, tenant)
    assert entry.after == {"export": "csv", "action": "jail.stop"}
    # It was written before the first line left, and is not among the lines.
    assert "audit.export" not in body(response)


def test_no_cell_of_the_csv_is_a_formula(fleet: Fleet) -> None:
    for start in "=+-@\t\r":
        record("test.formula", actor=f"{start}cmd()", detail=f"{start}1+1", after=f"{start}2")
    for row in csv.reader(io.StringIO(body(read(fleet, "auditor", export="csv")))):
        assert not [cell for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_the_log_of_one_thing(fleet: Fleet, log: None) -> None:
    jail, other = fleet.jails["www1"], fleet.jails["www2"]
    operation = Operation.objects.create(kind="jail_start", title="Start www1", host=fleet.zfs, host_name="warden1")
    operation.jails.add(jail)
    record("operation.confirm", operation=operation, tenant=fleet.acme)
    own = [("operation.confirm", "Start www1"), ("jail.stop", "www1"), ("jail.start", "www1")]
    for role in ("auditor", "owner"):
        assert shown(read(fleet, role, object=f"jail:{jail.pk}")) == own
        assert shown(read(fleet, role, object=f"jail:{other.pk}")) == []
    assert shown(read(fleet, "stranger", object=f"jail:{jail.pk}")) == []
    assert shown(read(fleet, "auditor", object=f"host:{fleet.ufs.pk}")) == [("host.change", "warden2")]
    for text in ("jail", "jail:", ":1", "jail:x", "jail:99999999999999999999", "host:1:2"):
        assert shown(read(fleet, "auditor", object=text)) == []


def test_pages_lead_to_their_log(fleet: Fleet) -> None:
    jail, person = fleet.jails["www1"], fleet.people["member"]
    pages = {
        reverse("jail", args=[jail.uuid]): f"?object=jail:{jail.pk}",
        reverse("host", args=["warden1"]): "?host=warden1",
        reverse("person", args=[person.pk]): f"?object=user:{person.pk}",
    }
    client = Client()
    client.force_login(fleet.people["auditor"], backend=BACKEND)
    for path, query in pages.items():
        assert f'href="{reverse("audit")}{query}"' in client.get(path).content.decode()
    client.force_login(fleet.people["operator"], backend=BACKEND)
    for path in list(pages)[:2]:
        assert "Its log" not in client.get(path).content.decode()
