"""The week's summary of the log: what it says to whom, and that it is sent once."""

from __future__ import annotations

from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from jails import audit, summary, tasks
from jails.models import AuditEntry, Membership, User
from tests.panel.fleet import Fleet, make_fleet
from tests.panel.fleet import signed_in as as_

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("time_stands")]


@pytest.fixture
def fleet() -> Fleet:
    return make_fleet()


@pytest.fixture(autouse=True)
def mail_is_set_up(settings: Any) -> None:
    settings.MAIL_SENDS = True


def note(action: str, **fields: Any) -> None:
    with transaction.atomic():
        audit.record(action, **fields)


def wants(fleet: Fleet, role: str, *, verified: bool = True) -> User:
    person = fleet.people[role]
    User.objects.filter(pk=person.pk).update(wants_summary=True)
    EmailAddress.objects.create(user=person, email=f"{role}@example.org", primary=True, verified=verified)
    return person


def this_week(person: User) -> str:
    return summary.text_of(User.objects.get(pk=person.pk), summary.week_of(timezone.now().date()))


@pytest.mark.parametrize(
    ("day", "monday"), [("2026-11-30", "2026-11-30"), ("2026-12-06", "2026-11-30"), ("2027-01-01", "2026-12-28")]
)
def test_a_week_begins_on_monday(day: str, monday: str) -> None:
    assert summary.week_of(date.fromisoformat(day)) == date.fromisoformat(monday)


def test_it_counts_what_was_done_and_what_was_not(fleet: Fleet) -> None:
    for _ in range(3):
        note("jail.start", obj=fleet.jails["www1"])
    note("jail.destroy", obj=fleet.jails["loghost"], outcome="failed")
    note("session.sign_in", actor="eve", outcome="refused", source="192.0.2.9")
    text = this_week(fleet.people["auditor"])
    assert "What was done: 3\n       3  jail.start" in text
    assert "What did not go through: 2" in text and "       1  jail.destroy failed" in text
    assert "Failed sign-ins: 1\n       1  eve from 192.0.2.9" in text
    assert "Chain: the last 5 of 5 entries hold." in text and "Reviews that wait: 0." in text


def test_actions_have_words_beside_their_names(fleet: Fleet) -> None:
    note("session.sign_in", actor="eve")
    note("jail.destroy", obj=fleet.jails["loghost"], outcome="refused")
    note("host.setup", obj=fleet.zfs, outcome="stale")
    text = this_week(fleet.people["auditor"])
    assert "  session.sign_in (signed in)\n" in text
    assert "  jail.destroy refused (wanted to destroy)\n" in text
    assert "  host.setup as the host had changed\n" in text


def test_another_week_is_not_in_it(fleet: Fleet) -> None:
    note("jail.start", obj=fleet.jails["www1"])
    auditor = User.objects.get(pk=fleet.people["auditor"].pk)
    assert "What was done: nothing" in summary.text_of(auditor, summary.last_week())


@pytest.mark.usefixtures("unguarded")
def test_a_broken_chain_is_said_first(fleet: Fleet) -> None:
    note("jail.start", obj=fleet.jails["www1"])
    AuditEntry.objects.update(detail="never happened")
    assert "Chain: BROKEN." in this_week(fleet.people["auditor"]).split("What was done")[0]


def test_a_tenant_reads_of_its_own_alone(fleet: Fleet) -> None:
    note("jail.start", obj=fleet.jails["www1"])
    note("host.forget", obj=fleet.zfs)
    note("tenant.plan", obj=fleet.other)
    text = this_week(fleet.people["owner"])
    assert "What was done: 1\n       1  jail.start" in text
    assert not any(word in text for word in ("host.forget", "tenant.plan", "globex", "Chain", "Reviews"))


def test_text_of_others_stays_on_its_line(fleet: Fleet) -> None:
    note("session.sign_in", actor="eve\r\nWhat was done: nothing\u202e", outcome="refused")
    assert "  eve What was done: nothing from ?\n" in this_week(fleet.people["auditor"])


def test_a_very_full_week_is_a_page_all_the_same(fleet: Fleet) -> None:
    with transaction.atomic():
        audit.record_all([audit.entry(f"test.{number}", actor=f"p{number}") for number in range(200)])
    text = this_week(fleet.people["auditor"])
    assert "     175  of 175 more kinds" in text
    assert text.count("\n") < 60


def test_it_takes_few_queries(fleet: Fleet, django_assert_max_num_queries: Any) -> None:
    for number in range(50):
        note(f"test.{number}", actor=f"p{number}", outcome="refused")
    auditor = User.objects.get(pk=fleet.people["auditor"].pk)
    with django_assert_max_num_queries(10):
        summary.text_of(auditor, summary.week_of(timezone.now().date()))


# Sending it


def test_it_is_sent_once_a_week(fleet: Fleet) -> None:
    wants(fleet, "auditor")
    assert [tasks.send_summaries() for _ in range(3)] == [1, 0, 0]
    (sent,) = mail.outbox
    assert sent.to == ["auditor@example.org"] and str(summary.last_week()) in sent.subject
    User.objects.update(summary_sent_for=summary.last_week() - timedelta(days=7))
    assert tasks.send_summaries() == 1


@pytest.mark.parametrize("case", ["does not want it", "no confirmed address", "disabled", "a viewer now", "no mail"])
def test_it_is_not_sent_to(fleet: Fleet, case: str, settings: Any) -> None:
    person = wants(fleet, "owner", verified=case != "no confirmed address")
    if case == "does not want it":
        User.objects.update(wants_summary=False)
    if case == "disabled":
        User.objects.filter(pk=person.pk).update(is_active=False)
    if case == "a viewer now":
        Membership.objects.filter(user=person).update(role="viewer")
    settings.MAIL_SENDS = case != "no mail"
    assert tasks.send_summaries() == 0
    assert not mail.outbox


def test_what_could_not_be_sent_is_sent_later(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    wants(fleet, "auditor")

    def down(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError("no mail server")

    with monkeypatch.context() as patch:
        patch.setattr("django.core.mail.EmailMessage.send", down)
        assert tasks.send_summaries() == 0
    assert tasks.send_summaries() == 1


def test_of_two_workers_one_sends_it(fleet: Fleet) -> None:
    person = wants(fleet, "auditor")
    first, second = (User.objects.get(pk=person.pk) for _ in range(2))
    assert [summary._send(one, summary.last_week()) for one in (first, second)] == [True, False]
    assert len(mail.outbox) == 1


# Asking for it


def test_asking_for_it_and_no_more(fleet: Fleet) -> None:
    auditor = as_(fleet, "auditor")
    assert "Send it to me" in auditor.get(reverse("account")).content.decode()
    auditor.post(reverse("account-summary"), {"wants": "1"})
    assert User.objects.get(pk=fleet.people["auditor"].pk).wants_summary
    assert "needs an address" in auditor.get(reverse("account")).content.decode()
    auditor.post(reverse("account-summary"))
    assert not User.objects.get(pk=fleet.people["auditor"].pk).wants_summary


def test_who_sees_no_log_is_not_offered_it(fleet: Fleet) -> None:
    member = as_(fleet, "member")
    assert "Weekly summary" not in member.get(reverse("account")).content.decode()
    assert member.post(reverse("account-summary"), {"wants": "1"}).status_code == 404


def test_the_command_prints_it(fleet: Fleet) -> None:
    note("jail.start", obj=fleet.jails["www1"])
    out = StringIO()
    call_command("audit_summary", "auditor-person", week=timezone.now().date().isoformat(), stdout=out)
    assert "jail.start" in out.getvalue()


@pytest.mark.parametrize(("name", "week"), [("nobody", None), ("member-person", None), ("auditor-person", "soon")])
def test_what_the_command_refuses(fleet: Fleet, name: str, week: str | None) -> None:
    with pytest.raises(CommandError):
        call_command("audit_summary", name, week=week)
