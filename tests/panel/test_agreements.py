"""Who does what, as both sides read and change it; approvals from the plan to their answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jails import agreements, approvals
from jails.models import Agreement, Approval, AuditEntry, Operation, Side, User, Work
from jails.operations import lifecycle, queue
from tests.panel.fleet import Fleet, add_jail, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def any_plan(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "send", lambda row: True)


def read(fleet: Fleet, role: str, path: str) -> str:
    response = signed_in(fleet, role).get(path)
    assert response.status_code == 200, response.status_code
    return " ".join(response.content.decode().split())


def send(fleet: Fleet, role: str, path: str, **data: str) -> str:
    response = signed_in(fleet, role).post(path, data, follow=True)
    assert response.status_code == 200, response.status_code
    return " ".join(response.content.decode().split())


def jail_url(fleet: Fleet, name: str = "www1", more: str = "") -> str:
    return f"/jails/{fleet.jails[name].uuid}/{more}"


def agree(fleet: Fleet, side: Side) -> Agreement:
    return agreements.set_alone(
        fleet.acme, None, {Work.RESTARTS: side}, user=fleet.people["administrator"], reason="As in the contract."
    )


def plan(fleet: Fleet, role: str, name: str = "www1") -> Operation:
    wish = {"jails": [str(fleet.jails[name].uuid)]}
    return lifecycle.draft("jail_restart", wish, host=fleet.zfs, user=fleet.people[role])


# The agreement


def test_both_sides_read_it_on_the_jails_page(fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    for role in ("administrator", "operator", "auditor", "owner", "viewer"):
        text = read(fleet, role, jail_url(fleet))
        assert "Who does what" in text
        assert ">Restarts</td><td>Acme</td>" in text
    assert "Who does what" not in read(fleet, "administrator", jail_url(fleet, "loghost"))


def test_a_tenant_proposes_and_the_host_accepts(fleet: Fleet) -> None:
    path = jail_url(fleet, more="agreement")
    said = send(fleet, "owner", path, restarts="tenant", patches="tenant", reason="We do it at night.")
    assert "it counts once the host has accepted it" in said
    row = Agreement.objects.get()
    assert (row.terms, row.side, row.reason) == (
        {"patches": "tenant", "restarts": "tenant"},
        "tenant",
        "We do it at night.",
    )
    assert "owner-person proposes another agreement on www1" in read(fleet, "administrator", "/")
    assert "owner-person proposes another agreement on www1" in read(fleet, "operator", "/")
    assert "proposes another agreement" not in read(fleet, "owner", "/")
    text = read(fleet, "administrator", path)
    assert "Accept" in text and "We do it at night." in text and "Patches: Acme; Restarts: Acme" in text
    send(fleet, "operator", f"/agreements/{row.pk}/decide", do="yes", comment="Fine with us.")
    text = read(fleet, "viewer", path)
    assert "In force" in text and "Fine with us." in text and "<select" not in text
    assert ">Restarts</td><td>Acme</td>" in read(fleet, "owner", jail_url(fleet))


def test_an_administrator_sets_it_alone_and_an_owner_reads_of_it(fleet: Fleet) -> None:
    path = "/tenants/acme/agreement"
    response = signed_in(fleet, "administrator").post(path, {"do": "set", "restarts": "host"})
    assert response.status_code == 422 and "Say why it is set without asking" in response.content.decode()
    said = send(fleet, "administrator", path, do="set", restarts="host", reason="The contract says so.")
    assert "Acme is told" in said
    assert "administrator-person has set who does what on all jails of Acme" in read(fleet, "owner", "/")
    assert "has set who does what" not in read(fleet, "member", "/")
    assert "has set this alone" in read(fleet, "member", jail_url(fleet))
    row = Agreement.objects.get()
    send(fleet, "owner", f"/agreements/{row.pk}/read")
    assert "has set who does what" not in read(fleet, "owner", "/")


def test_only_what_is_chosen_is_written(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    send(fleet, "owner", jail_url(fleet, more="agreement"), restarts="", backups="tenant")
    assert Agreement.objects.get(state="proposed").terms == {"backups": "tenant"}


@pytest.mark.parametrize("data", [{"restarts": "everybody"}, {"reason": "x" * 501}, {"reason": "\x1b[2J"}])
def test_what_is_wrong_is_said(data: dict[str, str], fleet: Fleet) -> None:
    response = signed_in(fleet, "owner").post(jail_url(fleet, more="agreement"), data)
    assert response.status_code == 422 and not Agreement.objects.exists()


def test_the_same_again_is_refused_in_words(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    response = signed_in(fleet, "owner").post("/tenants/acme/agreement", {"restarts": "host"})
    assert response.status_code == 422 and "That is what is agreed already." in response.content.decode()


# Approvals


@pytest.mark.parametrize(
    ("side", "by", "other", "whose"),
    [(Side.HOST, "member", "operator", "the host"), (Side.TENANT, "administrator", "owner", "Acme")],
)
def test_asked_at_the_plan_granted_by_the_other_and_run(
    side: Side, by: str, other: str, whose: str, fleet: Fleet
) -> None:
    agree(fleet, side)
    operation = plan(fleet, by)
    path = f"/operations/{operation.pk}/"
    text = read(fleet, by, path)
    assert f"Restarts of www1 are the work of {whose} by your agreement." in text
    assert "Run this plan" not in text and f"Ask {whose}" in text
    assert ("break the glass" in text) == (by == "administrator")
    text = send(fleet, by, f"{path}ask", reason="The site is down.", span="plan")
    assert "It waits for an answer." in text and f"Ask {whose}" not in text
    row = Approval.objects.get()
    home = read(fleet, other, "/")
    assert f"{by}-person asks for your approval: {operation.title}. “The site is down.”" in home
    assert "1 waits for your answer" in read(fleet, other, "/approvals/")
    text = read(fleet, other, f"/approvals/{row.pk}/")
    assert "Approve" in text and "Read the plan" in text
    assert "Approve</button>" not in read(fleet, by, f"/approvals/{row.pk}/")
    send(fleet, other, f"/approvals/{row.pk}/decide", do="yes", comment="Go on.")
    assert f"{other}-person has approved: {operation.title}. You may run it." in read(fleet, by, "/")
    text = read(fleet, by, path)
    assert "Run this plan" in text and f"You may run it by approval {row.pk} of {other}-person" in text
    send(fleet, by, f"{path}confirm", digest=operation.digest)
    operation.refresh_from_db()
    assert operation.status == "queued"
    assert f"by approval {row.pk} of {other}-person" in read(fleet, by, path)
    entry = AuditEntry.objects.get(action="operation.confirm")
    text = read(fleet, "auditor", f"/audit/{entry.sequence}/")
    assert f"approval {row.pk} of {other}-person" in text and f"for {other}-person" in text
    assert operation.title in read(fleet, other, f"/approvals/{row.pk}/")


def test_who_posts_without_an_approval_is_told_and_the_log_has_it(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = plan(fleet, "member")
    response = signed_in(fleet, "member").post(f"/operations/{operation.pk}/confirm", {"digest": operation.digest})
    assert response.status_code == 409 and "ask for approval" in response.content.decode()
    entry = AuditEntry.objects.get(action="operation.confirm")
    assert (entry.outcome, entry.approval) == ("refused", None)


def test_a_refusal_says_why_and_one_may_ask_again(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = plan(fleet, "member")
    (row,) = approvals.ask(operation, "The site is down.", user=fleet.people["member"])
    send(fleet, "administrator", f"/approvals/{row.pk}/decide", do="no", comment="Not before Monday.")
    text = read(fleet, "member", f"/operations/{operation.pk}/")
    assert "Not before Monday." in text and "Ask the host" in text and "Run this plan" not in text


def test_it_is_taken_back(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = plan(fleet, "member")
    (row,) = approvals.ask(operation, "The site is down.", user=fleet.people["member"])
    approvals.grant(row, user=fleet.people["administrator"])
    assert "Take it back" in read(fleet, "operator", f"/approvals/{row.pk}/")
    send(fleet, "operator", f"/approvals/{row.pk}/withdraw")
    assert "Run this plan" not in read(fleet, "member", f"/operations/{operation.pk}/")
    assert "not open any more" in send(fleet, "operator", f"/approvals/{row.pk}/withdraw")


@pytest.mark.parametrize("data", [{"reason": "", "span": "plan"}, {"reason": "So.", "span": "9999"}, {}])
def test_what_is_wrong_with_a_question_is_said_at_the_plan(data: dict[str, str], fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    response = signed_in(fleet, "member").post(f"/operations/{plan(fleet, 'member').pk}/ask", data)
    assert response.status_code == 422 and not Approval.objects.exists()
    assert "is-invalid" in response.content.decode() or "invalid-feedback" in response.content.decode()


def test_the_list_is_of_ones_own(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    approvals.ask(plan(fleet, "member"), "Our reason alone.", user=fleet.people["member"])
    assert "Our reason alone." in read(fleet, "operator", "/approvals/")
    text = read(fleet, "stranger", "/approvals/")
    assert "Our reason" not in text and "Nobody has asked" in text
    assert "Nothing waits for your answer" in read(fleet, "member", "/approvals/")


def test_hostile_words_are_text(fleet: Fleet) -> None:
    agree(fleet, Side.HOST)
    operation = plan(fleet, "member")
    words = "<script>alert(1)</script> {{ 7 }}"
    (row,) = approvals.ask(operation, words, user=fleet.people["member"])
    for path in ("/", "/approvals/", f"/approvals/{row.pk}/"):
        text = read(fleet, "administrator", path)
        assert "&lt;script&gt;alert(1)" in text and "<script>alert(1)" not in text


@pytest.mark.parametrize(("role", "path"), [("owner", "/"), ("operator", "/"), ("owner", "/approvals/")])
def test_as_many_queries_for_many_as_for_few(role: str, path: str, fleet: Fleet) -> None:
    agree(fleet, Side.TENANT)
    client = signed_in(fleet, role)
    counts = []
    for number in (2, 12):
        for one in range(number):
            name = add_jail(fleet, f"j{number}-{one}", tenant=fleet.acme).name
            approvals.ask(plan(fleet, "administrator", name), "Because.", user=fleet.people["administrator"])
            other = User.objects.create_user(f"a{number}-{one}", role="administrator")
            agreements.propose(
                fleet.acme, fleet.jails[name], {Work.RESTARTS: Side.HOST}, side=Side.HOST, user=other, reason="So."
            )
        client.get(path)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        counts.append(len(queries))
    assert counts[0] == counts[1]
