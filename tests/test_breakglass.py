"""An administrator in a tenant's jail: for a time, with a reason, and the tenant is told."""

from __future__ import annotations

from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.utils import timezone

from jails import audit, breakglass, policy, review, tasks
from jails.models import AuditEntry, AuditReview, BreakGlass, Jail, Membership, User
from tests.panel.fleet import Fleet, add_jail, make_fleet

pytestmark = pytest.mark.django_db
REASON = "Its mail queue fills the disk of the host."
HOUR = timedelta(hours=1)


@pytest.fixture
def fleet() -> Fleet:
    return make_fleet()


@pytest.fixture
def admin(fleet: Fleet) -> User:
    return fleet.people["administrator"]


@pytest.fixture
def www1(fleet: Fleet) -> Jail:
    return fleet.jails["www1"]


def entered(jail: Jail, user: User, lasts: timedelta = HOUR) -> BreakGlass:
    return breakglass.enter(jail, REASON, lasts, user=user, source="203.0.113.5")


def pass_time(row: BreakGlass, by: timedelta) -> None:
    BreakGlass.objects.filter(pk=row.pk).update(opened_at=row.opened_at - by, expires_at=row.expires_at - by)


def test_it_opens_one_jail_to_one_person_for_a_time(fleet: Fleet, www1: Jail, admin: User) -> None:
    assert not breakglass.is_open(admin, www1)
    row = entered(www1, admin)
    other = User.objects.create_user("other-admin", role="administrator")
    assert breakglass.is_open(admin, www1)
    assert not breakglass.is_open(admin, fleet.jails["www2"]) and not breakglass.is_open(other, www1)
    assert breakglass.open_jails(admin, [www1, fleet.jails["www2"], fleet.jails["loghost"]]) == {www1.pk: row.pk}
    pass_time(row, HOUR)
    assert not breakglass.is_open(admin, www1)


def test_it_is_in_the_log_of_the_tenant_and_on_the_queue_for_two(www1: Jail, admin: User) -> None:
    row = entered(www1, admin)
    entry = AuditEntry.objects.get(action="jail.breakglass")
    assert (entry.actor, entry.tenant, entry.object_name, entry.detail) == (admin.username, "acme", "www1", REASON)
    assert (entry.source, entry.outcome) == ("203.0.113.5", "done")
    assert entry.after == {"break_glass": row.pk, "until": row.expires_at.isoformat(timespec="seconds")}
    review.catch_up()
    assert list(AuditReview.objects.values_list("rule", "grave")) == [("breakglass", True)]


@pytest.mark.parametrize("reason", ["", "disk full", " " * 40, "a     b        c", "x" * 501])
def test_it_wants_a_reason(reason: str, www1: Jail, admin: User) -> None:
    with pytest.raises(breakglass.CannotBreak, match="Say why, in 15 to 500"):
        breakglass.enter(www1, reason, HOUR, user=admin)
    assert not BreakGlass.objects.exists() and not AuditEntry.objects.exists()


@pytest.mark.parametrize("lasts", [timedelta(0), -HOUR, timedelta(hours=8, seconds=1), timedelta(days=9)])
def test_it_ends_within_eight_hours(lasts: timedelta, www1: Jail, admin: User) -> None:
    with pytest.raises(breakglass.CannotBreak, match="8 hours at most"):
        entered(www1, admin, lasts)
    assert entered(www1, admin, timedelta(hours=8)).is_open


def test_no_row_lasts_for_nothing(www1: Jail, admin: User) -> None:
    now = timezone.now()
    with pytest.raises(IntegrityError), transaction.atomic():
        BreakGlass.objects.create(jail=www1, tenant=www1.tenant, user=admin, opened_at=now, expires_at=now)


def test_a_jail_of_nobody_has_nobody_to_tell(fleet: Fleet, admin: User) -> None:
    with pytest.raises(breakglass.CannotBreak):
        entered(fleet.jails["loghost"], admin)
    assert not policy.allowed(admin, "jail.breakglass", fleet.jails["loghost"])


def test_the_next_owner_is_not_entered(fleet: Fleet, www1: Jail, admin: User) -> None:
    seen = Jail.objects.select_related("tenant").get(pk=www1.pk)
    entered(www1, admin)
    www1.tenant = fleet.other
    www1.save()
    assert not breakglass.is_open(admin, www1)
    with pytest.raises(breakglass.CannotBreak, match="another owner"):
        entered(seen, admin)
    entered(www1, admin)
    assert breakglass.is_open(admin, www1)


def test_twice_at_once_is_refused_and_once_more_afterwards_is_not(www1: Jail, admin: User) -> None:
    row = entered(www1, admin)
    with pytest.raises(breakglass.CannotBreak, match="already"):
        entered(www1, admin)
    assert BreakGlass.objects.count() == AuditEntry.objects.count() == 1
    pass_time(row, timedelta(hours=2))
    assert entered(www1, admin).is_open
    row.refresh_from_db()
    assert row.ended_at == row.expires_at, "the first is noted as ended when it did"


def test_it_is_ended_early(www1: Jail, admin: User) -> None:
    row = entered(www1, admin)
    breakglass.end(row, user=admin)
    assert not breakglass.is_open(admin, www1)
    row.refresh_from_db()
    assert (row.is_open, row.ended_by, row.until) == (False, admin, row.ended_at)
    with pytest.raises(breakglass.CannotBreak, match="ended already"):
        breakglass.end(row, user=admin)
    assert AuditEntry.objects.filter(action="jail.breakglass_end", tenant="acme", object_name="www1").count() == 1


def test_it_stands_on_pages_until_an_owner_has_read_it_and_it_has_ended(fleet: Fleet, www1: Jail, admin: User) -> None:
    def shown() -> bool:
        return breakglass.shown(policy.visible(fleet.people["viewer"], BreakGlass)).exists()

    row = entered(www1, admin)
    breakglass.acknowledge(row, user=fleet.people["owner"])
    assert shown(), "it is open still"
    breakglass.end(row, user=admin)
    assert not shown()
    pass_time(unread := entered(www1, admin), timedelta(days=30))
    assert shown(), "nobody has read it"
    breakglass.acknowledge(unread, user=fleet.people["owner"])
    breakglass.acknowledge(unread, user=fleet.people["owner"])
    assert not shown()
    assert AuditEntry.objects.filter(action="jail.breakglass_read", actor="owner-person").count() == 2


def test_it_is_told_also_when_the_jail_is_gone(fleet: Fleet, www1: Jail, admin: User) -> None:
    row = entered(www1, admin)
    www1.addresses.all().delete()
    www1.delete()
    assert list(breakglass.shown(policy.visible(fleet.people["owner"], BreakGlass))) == [row]
    row.refresh_from_db()
    assert row.jail_name == "www1"
    breakglass.acknowledge(row, user=fleet.people["owner"])
    assert AuditEntry.objects.get(action="jail.breakglass_read").tenant == "acme"


def test_what_was_done_is_what_the_log_has_of_that_person_and_tenant_in_that_time(
    fleet: Fleet, www1: Jail, admin: User
) -> None:
    loghost = fleet.jails["loghost"]

    def act(name: str, obj: Jail = www1, by: User = admin) -> None:
        with transaction.atomic():
            audit.record(f"test.{name}", actor=by, obj=obj)

    act("before")
    row = entered(www1, admin)
    act("within")
    act("elsewhere", loghost)
    act("another", by=fleet.people["owner"])
    breakglass.end(row, user=admin)
    row.refresh_from_db()
    act("after")
    assert [entry.action for entry in breakglass.entries(row)] == ["jail.breakglass", "test.within"]


# Mail


@pytest.fixture
def addresses(fleet: Fleet, settings: Any) -> None:
    settings.MAIL_SENDS, settings.URL = True, "https://cellblock.example.org"
    for role, verified in (("owner", True), ("member", True), ("stranger", True)):
        EmailAddress.objects.create(
            user=fleet.people[role], email=f"{role}@example.org", verified=verified, primary=True
        )
    second = User.objects.create_user("second-owner")
    Membership.objects.create(tenant=fleet.acme, user=second, role="owner")
    EmailAddress.objects.create(user=second, email="unproven@example.org", verified=False, primary=True)


def test_owners_are_sent_mail_once(fleet: Fleet, www1: Jail, admin: User, addresses: None) -> None:
    row = entered(www1, admin)
    assert (tasks.tell_of_break_glass(), tasks.tell_of_break_glass()) == (1, 0)
    (sent,) = mail.outbox
    assert (sent.to, sent.recipients()) == ([], ["owner@example.org"])
    assert sent.subject == "[Cellblock] administrator-person is in www1 by break-glass"
    assert REASON in sent.body and f"https://cellblock.example.org/break-glass/{row.pk}/" in sent.body


def test_a_mail_that_cannot_be_sent_is_sent_later(
    www1: Jail, admin: User, addresses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: EmailMessage) -> int:
        raise SMTPServerDisconnected("gone")

    entered(www1, admin)
    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", refuse)
        assert breakglass.tell_owners() == 0
    assert breakglass.tell_owners() == 1 and len(mail.outbox) == 1


def test_without_mail_or_an_address_nothing_is_sent(www1: Jail, admin: User, addresses: None, settings: Any) -> None:
    settings.MAIL_SENDS = False
    row = entered(www1, admin)
    assert breakglass.tell_owners() == 0
    settings.MAIL_SENDS = True
    EmailAddress.objects.filter(email="owner@example.org").delete()
    assert breakglass.tell_owners() == 0 and not mail.outbox
    row.refresh_from_db()
    assert row.told_at is not None


def test_what_is_old_is_no_news(www1: Jail, admin: User, addresses: None) -> None:
    pass_time(entered(www1, admin), timedelta(days=2))
    assert breakglass.tell_owners() == 0 and not mail.outbox


def test_it_and_its_entry_are_one(www1: Jail, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record_all", lambda entries: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            entered(www1, admin)
    assert not BreakGlass.objects.exists()


def test_who_may_know_of_it(fleet: Fleet, www1: Jail, admin: User) -> None:
    add_jail(fleet, "shop", tenant=fleet.other)
    entered(www1, admin)
    knows = [name for name, person in fleet.people.items() if policy.visible(person, BreakGlass).exists()]
    assert sorted(knows) == ["administrator", "auditor", "member", "owner", "viewer"]


def test_nobody_takes_note_of_their_own_for_the_tenant(fleet: Fleet, www1: Jail, admin: User) -> None:
    row = entered(www1, admin)
    Membership.objects.create(tenant=fleet.acme, user=admin, role="owner")
    admin = User.objects.get(pk=admin.pk)
    assert policy.allowed(admin, "tenant.invite", fleet.acme)
    assert not policy.allowed(admin, "breakglass.acknowledge", row)
    assert policy.allowed(fleet.people["owner"], "breakglass.acknowledge", row)
