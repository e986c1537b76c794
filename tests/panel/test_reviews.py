"""The queue of reviews as auditors and administrators see it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jails import audit, review
from jails.models import AuditEntry, AuditReview
from tests.panel.fleet import Fleet, signed_in
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
URL = "/audit/review"


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    cache.clear()


def refused(actor: Any, number: int = 1, **fields: Any) -> None:
    for _ in range(number):
        with transaction.atomic():
            audit.record("host.forget", actor=actor, outcome="refused", **fields)
    review.catch_up()


def granted(actor: Any, whom: Any) -> None:
    with transaction.atomic():
        audit.record("user.change", actor=actor, obj=whom, after={"role": "administrator"})
    review.catch_up()


def read(fleet: Fleet, role: str = "auditor", **query: str) -> Any:
    return signed_in(fleet, role).get(f"{URL}?{urlencode(query)}")


def send(fleet: Fleet, role: str, *reviews: AuditReview, comment: str = "Seen.", **query: str) -> Any:
    data = {"reviews": [str(row.pk) for row in reviews], "comment": comment}
    return signed_in(fleet, role).post(f"{URL}?{urlencode(query)}", data)


def test_an_empty_queue_says_what_belongs_there(fleet: Fleet) -> None:
    for state in ("", "open", "second", "done"):
        response = read(fleet, state=state)
        assert response.status_code == 200 and "empty-state" in response.content.decode()


def test_from_the_queue_to_signed_off(fleet: Fleet) -> None:
    refused(fleet.people["member"], obj=fleet.ufs)
    (row,) = AuditReview.objects.all()
    text = read(fleet).content.decode()
    assert "data-select-all" in text and "data-select-all" not in read(fleet, state="done").content.decode()
    assert f'value="{row.pk}"' in text and reverse("audit-entry", args=[row.sequence]) in text
    response = send(fleet, "auditor", row, comment="A slip, <b>asked</b> them.", state="open", rule="refused")
    assert response.status_code == 302 and response.headers["Location"] == f"{URL}?state=open&rule=refused"
    assert read(fleet).context["rows"] == []
    text = read(fleet, state="done").content.decode()
    assert "A slip, &lt;b&gt;asked&lt;/b&gt; them." in text and "auditor-person" in text
    entry = AuditEntry.objects.get(action="audit.review")
    assert (entry.actor, entry.source) == ("auditor-person", "127.0.0.1")


def test_the_gravest_wait_for_a_second_person(fleet: Fleet) -> None:
    granted(fleet.people["operator"], fleet.people["member"])
    (row,) = AuditReview.objects.all()
    assert send(fleet, "auditor", row).status_code == 302
    assert read(fleet).context["rows"] == []
    text = read(fleet, state="second").content.decode()
    assert "you have signed it already" in text and f'value="{row.pk}"' not in text
    response = send(fleet, "auditor", row, comment="Again.")
    row.refresh_from_db()
    assert (response.status_code, row.state) == (403, "second")
    assert f'value="{row.pk}"' in read(fleet, "administrator", state="second").content.decode()
    assert send(fleet, "administrator", row, comment="Agreed.").status_code == 302
    row.refresh_from_db()
    assert (row.state, row.second_reviewer) == ("done", fleet.people["administrator"])


def test_ones_own_is_shown_and_not_offered(fleet: Fleet) -> None:
    granted(fleet.people["administrator"], fleet.people["member"])
    (row,) = AuditReview.objects.all()
    text = read(fleet, "administrator").content.decode()
    assert "you did it yourself" in text and f'value="{row.pk}"' not in text
    assert send(fleet, "administrator", row).status_code == 403
    row.refresh_from_db()
    assert row.state == "open"
    refusal = AuditEntry.objects.get(action="audit.review")
    assert (refusal.actor, refusal.outcome) == ("administrator-person", "refused")


@pytest.mark.parametrize("comment", ["", "  ", "x" * 1001, "a\0b"])
def test_a_comment_is_needed(fleet: Fleet, comment: str) -> None:
    refused(fleet.people["member"])
    (row,) = AuditReview.objects.all()
    response = send(fleet, "auditor", row, comment=comment)
    assert response.status_code == 422 and list(response.context["form"].errors) == ["comment"]
    assert " checked" in response.content.decode()
    row.refresh_from_db()
    assert row.state == "open"


@pytest.mark.parametrize("value", [*HOSTILE.values(), "999999999", "99999999999999999999999", "-1"])
def test_what_is_not_in_the_queue_is_refused_and_the_comment_kept(fleet: Fleet, value: str) -> None:
    response = signed_in(fleet, "auditor").post(URL, {"reviews": [value], "comment": "What I found"})
    assert response.status_code == 422 and list(response.context["form"].errors) == ["reviews"]
    assert HOSTILE["markup"] not in response.content.decode()


def test_nothing_chosen_is_refused_and_the_comment_kept(fleet: Fleet) -> None:
    refused(fleet.people["member"])
    response = send(fleet, "auditor", comment="What I found")
    assert response.status_code == 422
    assert "Choose what you have looked at." in response.content.decode()
    assert ">What I found</textarea>" in response.content.decode()


def test_what_was_signed_off_meanwhile_is_told(fleet: Fleet) -> None:
    refused(fleet.people["member"], 2)
    first, second = AuditReview.objects.order_by("pk")
    send(fleet, "auditor", first)
    response = send(fleet, "administrator", first, second)
    assert response.status_code == 422 and "signed off meanwhile" in response.content.decode()
    second.refresh_from_db()
    assert second.state == "open"


def test_a_rule_narrows_rows_and_counts(fleet: Fleet) -> None:
    refused(fleet.people["member"], 3)
    granted(fleet.people["operator"], fleet.people["member"])
    everything, narrowed = read(fleet).context, read(fleet, rule="administrator").context
    assert (len(everything["rows"]), len(narrowed["rows"])) == (4, 1)
    assert [count for _, _, count, _ in everything["tabs"]] == [4, 0, 0]
    assert [count for _, _, count, _ in narrowed["tabs"]] == [1, 0, 0]


@pytest.mark.parametrize("field", ["state", "rule", "before", "after"])
@pytest.mark.parametrize("value", list(HOSTILE.values()))
def test_hostile_filters_do_nothing(fleet: Fleet, field: str, value: str) -> None:
    response = read(fleet, **{field: value})
    assert response.status_code == 200 and HOSTILE["markup"] not in response.content.decode()


def test_pages_follow_the_keys(fleet: Fleet) -> None:
    refused(fleet.people["member"], 60)
    client = signed_in(fleet, "auditor")
    first = client.get(URL).context
    second = client.get(URL + first["page"].older).context
    numbers = [row["review"].sequence for page in (first, second) for row in page["rows"]]
    assert len(numbers) == 60 and numbers == sorted(numbers, reverse=True)
    assert (first["page"].newer, second["page"].older) == ("", "")


def test_the_number_of_queries_is_constant(fleet: Fleet) -> None:
    counts = []
    for number in (5, 45):
        refused(fleet.people["member"], number, obj=fleet.ufs, tenant=fleet.other)
        client = signed_in(fleet, "auditor")
        for state in ("open", "done"):
            with CaptureQueriesContext(connection) as queries:
                response = client.get(URL, {"state": state})
            counts.append((state, len(queries)))
            assert len(response.context["rows"]) == min(AuditReview.objects.filter(state=state).count(), 50)
        review.sign_off(list(AuditReview.objects.filter(state="open")[:2]), "Seen.", user=fleet.people["auditor"])
    assert counts[0] == counts[2] and counts[0][1] <= 14
    assert counts[3][1] <= counts[1][1] + 2


def test_the_log_says_how_many_wait_with_one_query(fleet: Fleet) -> None:
    refused(fleet.people["member"], 3)
    with CaptureQueriesContext(connection) as queries:
        text = signed_in(fleet, "auditor").get(reverse("audit")).content.decode()
    assert "Review 3" in text
    assert len([one for one in queries if "auditreview" in one["sql"]]) == 1
    with CaptureQueriesContext(connection) as queries:
        text = signed_in(fleet, "owner").get(reverse("audit")).content.decode()
    assert URL not in text and not [one for one in queries if "auditreview" in one["sql"]]


@pytest.mark.parametrize("role", ["owner", "member", "viewer", "stranger"])
def test_tenants_do_not_know_of_it(fleet: Fleet, role: str) -> None:
    refused(fleet.people["member"], tenant=fleet.acme)
    (row,) = AuditReview.objects.all()
    assert read(fleet, role).status_code == send(fleet, role, row).status_code == 404
    assert AuditReview.objects.filter(state="open").count() == 1


def test_a_tenant_does_not_read_what_a_reviewer_said_of_their_entry(fleet: Fleet) -> None:
    refused(fleet.people["member"], tenant=fleet.acme)
    send(fleet, "auditor", AuditReview.objects.get(), comment="They look careless.")
    text = signed_in(fleet, "owner").get(reverse("audit")).content.decode()
    assert "careless" not in text and "auditor-person" not in text
