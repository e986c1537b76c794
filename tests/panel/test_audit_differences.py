"""What differs between two moments, put together from entries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jails import audit
from jails.models import AuditEntry
from panel.tables import audit_values
from panel.tables.audit_differences import between
from panel.tables.audit_values import UNKNOWN
from panel.views import audit as view
from tests.panel.fleet import Fleet

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"


def entry(before: Any = None, after: Any = None, **fields: Any) -> AuditEntry:
    defaults = {"object_type": "host", "object_id": "3", "outcome": "done", "sequence": 1}
    return AuditEntry(**(defaults | fields), before=before, after=after)


def rows(*entries: AuditEntry) -> list[tuple[str, str | None, str | None, int]]:
    return [(row.name, row.before, row.after, len(row.entries)) for row in between(entries, "host", "3").found]


def test_the_first_before_and_the_last_after() -> None:
    first, last = entry({"port": 22}, {"port": 23}), entry({"port": 23, "name": "a"}, {"port": 24, "name": "b"})
    assert rows(first, last) == [("name", "a", "b", 1), ("port", "22", "24", 2)]


def test_what_no_entry_tells_is_not_made_up() -> None:
    assert rows(entry(None, {"port": 1}), entry({"port": 5}, {"port": 6})) == [("port", None, "6", 2)]
    assert rows(entry({"port": 1}, None)) == [("port", "1", None, 1)]
    assert rows(entry({"port": None}, {"port": 1})) == [("port", "", "1", 1)]
    assert rows(entry([1], {"a": 1})) == [("", "[1]", '{"a": 1}', 1)]


def test_what_was_changed_back_is_told_apart() -> None:
    found = between([entry({"port": 1}, {"port": 2}), entry({"port": 2}, {"port": 1})], "host", "3")
    assert (found.found, [row.name for row in found.back]) == ([], ["port"])


def test_what_an_entry_leaves_as_it_was_and_what_only_happened_differs_in_nothing() -> None:
    same = between([entry({"port": 1, "cpu": None}, {"port": 1, "cpu": None})], "host", "3")
    assert (same.found, same.back) == ([], [])
    event = entry(None, {"console": "x", "seconds": 3}, action="console.close")
    assert (between([event], "host", "3").found, between([event], "host", "3").silent) == ([], [event])


@pytest.mark.parametrize("fields", [{"outcome": "refused"}, {"outcome": "failed"}])
def test_what_was_not_done_has_changed_nothing(fields: dict[str, str]) -> None:
    found = between([entry({"port": 1}, {"port": 2}, **fields)], "host", "3")
    assert (found.found, found.back, found.silent) == ([], [], [])


def test_entries_without_values_and_those_of_operations_are_listed() -> None:
    bare, operation = entry(), entry({"a": 1}, {"a": 2}, object_type="operation", object_id="x")
    found = between([bare, operation], "host", "3")
    assert (found.found, found.silent) == ([], [bare, operation])


def test_the_entry_of_an_operation_tells_of_its_jails() -> None:
    before = {"jail:3": {"name": "www1", "quota": None, "state": "running"}, "jail:4": {"name": "db", "quota": 2**20}}
    after = {"jail:3": {"name": "www1", "quota": 2**30, "state": "running"}, "jail:4": {"name": "db", "quota": 2**21}}
    fields = {"object_type": "operation", "object_id": "x", "operation": "x"}
    done = entry(before, after, **fields)
    (row,) = between([done], "jail", "3").found
    assert (row.label, row.said_before, row.said_after, row.mark) == ("Disk", "no limit", "1 GiB", "added")
    assert between([done], "host", "3").silent == [done]
    told = [(one.of, one.label, one.said_before, one.said_after, one.mark) for one in audit_values.changes(done)]
    assert told == [
        ("www1", "Disk", "no limit", "1 GiB", "added"),
        ("www1", "State", "running", "running", "same"),
        ("db", "Disk", "1 MiB", "2 MiB", "changed"),
    ]
    # What only looks like it, in an entry of something else, is told as it stands.
    assert [one.name for one in audit_values.changes(entry(None, {"jail:3": {"a": 1}}))] == ["jail:3.a"]
    new = entry(None, {"jail:5": {"name": "new", "state": "running"}}, **fields)
    assert [(one.of, one.name, one.mark) for one in audit_values.changes(new)] == [("new", "state", "added")]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("memory", 2**31, "2 GiB"),
        ("limits.quota", None, "no limit"),
        ("cpu", 150, "150 %"),
        ("seconds", 90, "90 s"),
        ("boot", False, "no"),
        ("port", 22, "22"),
        ("addresses", [], "none"),
        ("addresses", ["192.0.2.1", "192.0.2.2"], "192.0.2.1, 192.0.2.2"),
        ("securelevel", -1, "that of the host"),
        ("anything", {"deep": [1]}, '{"deep": [1]}'),
        ("anything", None, "none"),
        ("quota", "x", "x"),
    ],
)
def test_values_have_words_and_units(name: str, value: Any, words: str) -> None:
    assert audit_values.said(name, value) == words


def test_what_is_within_is_told_by_its_own_name() -> None:
    told = list(audit_values.pairs({"all_jails": ["power"], "jails": {"www1": ["console"]}}, {"all_jails": []}))
    assert told == [("all_jails", ["power"], []), ("jails.www1", ["console"], UNKNOWN)]
    assert [audit_values.label(name) for name, *_ in told] == ["Rights on all jails", "Jails: www1"]
    assert [audit_values.mark(before, after) for _, before, after in told] == ["removed", "removed"]


def record(**fields: Any) -> AuditEntry:
    with transaction.atomic():
        return audit.record("host.change", **fields)


def read(fleet: Fleet, role: str, **query: str) -> Any:
    client = Client()
    client.force_login(fleet.people[role], backend=BACKEND)
    return client.get(f"{reverse('audit-differences')}?{urlencode(query)}")


def test_the_page_compares_what_lies_between(fleet: Fleet) -> None:
    for number in range(3):
        record(actor=fleet.people["administrator"], obj=fleet.ufs, before={"port": number}, after={"port": number + 1})
    thing = f"host:{fleet.ufs.pk}"
    response = read(fleet, "auditor", object=thing)
    assert [(row.before, row.after) for row in response.context["differences"].found] == [("0", "3")]
    text = response.content.decode()
    assert "What differs of warden2" in text and "administrator-person" in text and "after 2 earlier changes" in text
    late = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    later = (timezone.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    assert '<del class="diff"><span class="del">0</span></del>' in text and ">changed</span>" in text
    nothing = read(fleet, "auditor", object=thing, since=late, until=later).content.decode()
    assert "Nothing differs" in nothing and "Nothing was done with it in this time" in nothing
    assert read(fleet, "auditor", object=thing, since=later, until=late).status_code == 400
    for wrong in ("host", ":3", "host:"):
        assert read(fleet, "auditor", object=wrong).status_code == 400


def test_a_tenant_reads_of_its_own_alone(fleet: Fleet) -> None:
    jail = fleet.jails["www1"]
    record(actor=fleet.people["administrator"], obj=jail, before={"boot": False}, after={"boot": True})
    record(actor=fleet.people["administrator"], obj=fleet.ufs, before={"port": 1}, after={"port": 2})
    assert read(fleet, "viewer", object=f"jail:{jail.pk}").context["differences"].found
    for role, thing in (("viewer", f"host:{fleet.ufs.pk}"), ("stranger", f"jail:{jail.pk}")):
        response = read(fleet, role, object=thing)
        assert response.context["differences"].found == [] and "warden2" not in response.content.decode()


def test_too_many_are_not_put_together(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "COMPARED", 2)
    counts = []
    for number in range(4):
        record(obj=fleet.ufs, before={"port": number}, after={"port": number + 1})
        with CaptureQueriesContext(connection) as captured:
            response = read(fleet, "auditor", object=f"host:{fleet.ufs.pk}")
        counts.append(len(captured))
    text = response.content.decode()
    assert "more than 2 entries" in text and "<th>Before</th>" not in text
    assert len(set(counts)) == 1


def test_hostile_values_are_shown_as_text(fleet: Fleet) -> None:
    record(obj=fleet.ufs, before={"<b>": "<script>"}, after={"<b>": "x"})
    assert "<script>" not in read(fleet, "auditor", object=f"host:{fleet.ufs.pk}").content.decode().split("<main")[1]


def test_entries_and_the_log_of_a_thing_lead_there(fleet: Fleet) -> None:
    made = record(obj=fleet.ufs, before={"port": 1}, after={"port": 2})
    link = f"{reverse('audit-differences')}?object=host:{fleet.ufs.pk}"
    client = Client()
    client.force_login(fleet.people["auditor"], backend=BACKEND)
    assert link in client.get(reverse("audit-entry", args=[made.pk])).content.decode()
    assert link in client.get(f"{reverse('audit')}?object=host:{fleet.ufs.pk}").content.decode()


@pytest.mark.parametrize(
    "times",
    [
        {"since": "2026-01-01T00:00", "until": "9999-12-31T23:59-14:00"},
        {"since": "0001-01-01T00:00+14:00", "until": "2026-01-01T00:00"},
    ],
)
def test_a_moment_beyond_all_years_is_refused_at_its_field(fleet: Fleet, times: dict[str, str]) -> None:
    response = read(fleet, "administrator", object=f"host:{fleet.zfs.pk}", **times)
    assert response.status_code < 500
    assert "within the years" in response.content.decode()


HARD = [
    "2026-19-39T29:59:59+00:00", "0000-01-01T00:00:00+00:00", "2026-02-30T00:00:00.5+00:00", "[31mx", "a=1&b=%zz&=",
    "ssh-ed25519 nothing", "jail:", ":", "=cmd", "\u202e", -1, 2**70, pytest.param(10**400, id="vast"), 1.5, True,
    None, [], [None, {"a": [1]}], {"a": {}},
]  # fmt: skip


@pytest.mark.parametrize("value", HARD)
def test_whatever_the_log_has_under_a_name_is_said_without_failing(value: Any) -> None:
    """What somebody sent, and was refused, is there as they sent it."""
    names = {*audit_values.LABELS, *audit_values.SAID, *(name for one in audit_values.MEANT.values() for name in one)}
    for action in (*audit_values.MEANT, *(begin for begin, _ in audit_values.SAID.values()), "jail.change"):
        for name in (*names, "service sshd", "disk_on.warden1", "zroot/jails", "limits.cpu", "parameters.name"):
            assert isinstance(audit_values.said(name, value, action), str)
            assert isinstance(audit_values.label(name, action), str)


@pytest.mark.parametrize(
    ("action", "name", "value", "label", "words"),
    [
        ("console.close", "ended", "idle", "Why it ended", "Nothing was typed for too long"),
        ("console.close", "seconds", 4210, "Lasted", "1 h 10 min"),
        ("session.end", "ended", 3, "Sessions ended", "3"),
        ("audit.review", "rule", "sign-in", "Rule", "Failed sign-in"),
        ("audit.review", "state", "second", "Review", "Needs a second person"),
        ("audit.export", "action", "host.forget", "Action", "forgot the host"),
        ("audit.export", "object", "user:3", "The log of", "person 3"),
        ("search.share", "query", "who=ada&outcome=failed", "Looks for", "Who: ada, Outcome: failed"),
        ("jail.breakglass", "until", "2026-11-30T14:05:09+00:00", "Ends", "2026-11-30 14:05 UTC"),
        ("tenant.plan_places", "disk_on.web.example.org", 2**30, "Disk on web.example.org", "1 GiB"),
        ("tenant.plan", "zroot/jails/acme", None, "Disk of zroot/jails/acme", "no limit"),
        ("tenant.plan", "limits.web_db.quota", 2**30, "Limits: web_db: Disk", "1 GiB"),
        ("jail.drift", "allow.raw_sockets.configured", "1", "allow.raw_sockets: in the files", "1"),
        ("jail.power", "service sshd", "restart", "Service sshd", "restarted"),
        ("host.add", "kind", "ssh", "Reached by", "SSH"),
        ("host.pin", "host_key", "ssh-ed25519 AAAA", "Host key", "ssh-ed25519 SHA256:"),
        ("host.pin", "host_key", "nonsense", "Host key", "nonsense"),
    ],
)
def test_what_the_panel_calls_things_is_said_in_words(
    action: str, name: str, value: Any, label: str, words: str
) -> None:
    change = audit_values.Change(name, UNKNOWN, value, action=action)
    assert change.label == label
    assert change.said_after == words or (words.endswith(":") and change.said_after.startswith(words))


def test_what_is_nothing_on_both_sides_is_not_told() -> None:
    told = audit_values.changes(entry({"interface": "", "cpu": None}, {"interface": None, "cpu": None}))
    assert [(one.label, one.said_after) for one in told] == [("CPU", "no limit")]
