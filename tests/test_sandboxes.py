"""The time that sandboxes have: given, extended, and over."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jails import policy, sandboxes, tasks
from jails.models import AuditEntry, Jail, Membership, Operation, Tenant, TenantPlan, User
from jails.operations import lifecycle
from jails.operations.kind import Refused
from tests.operations.conftest import admin, blanks, messages, plain_warden, prepared, warden  # noqa: F401

WWW1 = "zroot/cellblock/host/www1"
DAY = timedelta(days=1)


@pytest.fixture
def try1(warden):  # noqa: F811
    """A stopped sandbox of www1, with two days."""
    source = warden.make("www1", start=False)
    warden.sh(f"zfs snapshot {WWW1}@monday")
    wish = {"jail": str(source.uuid), "snapshot": "monday", "name": "try1", "start": False, "days": 2}
    operation = warden.do("sandbox_create", **wish)
    assert (operation.status, operation.error) == ("done", "")
    warden.refresh()
    return Jail.objects.get(name="try1")


def over(row):
    Jail.objects.filter(pk=row.pk).update(expires_at=timezone.now())


def test_it_has_the_days_that_were_asked_for(try1):
    left = try1.expires_at - timezone.now()
    assert 2 * DAY - timedelta(minutes=5) < left <= 2 * DAY
    operation = Operation.objects.get(kind="sandbox_create")
    assert "try1 is destroyed by itself 2 days after it is made" in operation.plan["warnings"][0]


def test_when_its_time_is_over_the_panel_ends_it(warden, try1):  # noqa: F811
    assert sandboxes.end_expired() == 0
    over(try1)
    assert tasks.end_sandboxes() == 1 and tasks.end_sandboxes() == 0
    operation = Operation.objects.get(kind="sandbox_end")
    assert (operation.title, operation.status, operation.confirmed_by) == ("End the sandbox try1", "queued", None)
    assert warden.work(operation) == "done", operation.error
    assert not Jail.objects.filter(name="try1").exists() and "zroot/cellblock/host/try1" not in warden.datasets()
    assert Jail.objects.filter(name="www1").exists() and f"{WWW1}@monday" in warden.datasets()
    entries = AuditEntry.objects.filter(operation=str(operation.pk)).order_by("sequence")
    assert list(entries.values_list("action", "actor", "outcome", "source")) == [
        ("operation.confirm", "the panel", "done", "worker"),
        ("jail.destroy", "the panel", "done", "worker"),
    ]


def test_more_time_that_comes_in_between_counts(warden, try1):  # noqa: F811
    over(try1)
    sandboxes.end_expired()
    operation = Operation.objects.get(kind="sandbox_end")
    with pytest.raises(sandboxes.CannotExtend, match="being destroyed"):
        sandboxes.extend(try1, user=warden.user)
    Jail.objects.filter(pk=try1.pk).update(expires_at=timezone.now() + DAY)
    assert warden.work(operation) == "refused" and "more time" in operation.error
    assert "zroot/cellblock/host/try1" in warden.datasets()


def test_it_is_given_more_time_and_the_log_says_so(warden, try1):  # noqa: F811
    before = try1.expires_at
    after = sandboxes.extend(try1, user=warden.user, source="198.51.100.7").expires_at
    assert after - timezone.now() > 7 * DAY - timedelta(minutes=5)
    entry = AuditEntry.objects.get(action="sandbox.extend")
    assert (entry.actor, entry.object_name) == (warden.user.username, "try1")
    assert entry.before == {"expires_at": before.isoformat(timespec="seconds")} != entry.after
    Jail.objects.filter(pk=try1.pk).update(expires_at=timezone.now() + 20 * DAY)
    assert sandboxes.extend(try1, user=warden.user).expires_at > timezone.now() + 19 * DAY  # never less than it had


def test_beyond_the_plan_there_is_no_more_time(warden, try1):  # noqa: F811
    acme = Tenant.objects.create(name="Acme", slug="acme")
    Jail.objects.filter(pk=try1.pk).update(tenant=acme)
    plan = TenantPlan.objects.create(tenant=acme, jails=0)
    with pytest.raises(sandboxes.CannotExtend, match="more than its plan allows"):
        sandboxes.extend(try1, user=warden.user)
    TenantPlan.objects.filter(pk=plan.pk).update(jails=1)
    assert sandboxes.extend(try1, user=warden.user)


def test_what_is_no_sandbox_is_never_ended(warden, try1):  # noqa: F811
    www1 = Jail.objects.get(name="www1")
    over(www1)
    assert sandboxes.end_expired() == 0
    with pytest.raises(sandboxes.CannotExtend):
        sandboxes.extend(www1, user=warden.user)
    with pytest.raises(Refused, match="no sandbox"):
        warden.draft("sandbox_end", jail=str(www1.uuid))
    # Nor is a row enough that says so: its dataset has to.
    Jail.objects.filter(pk=www1.pk).update(kind="sandbox")
    assert sandboxes.end_expired() == 0 and not Operation.objects.filter(kind="sandbox_end").exists()
    www1.refresh_from_db()
    assert "does not say that it is a sandbox" in www1.why_not_ended


def test_what_cannot_be_ended_says_why_and_is_tried_again(warden, try1):  # noqa: F811
    warden.sh("zfs snapshot zroot/cellblock/host/try1@a; zfs hold mine zroot/cellblock/host/try1@a")
    warden.refresh()
    over(try1)
    assert sandboxes.end_expired() == 0
    try1.refresh_from_db()
    assert "held by somebody" in try1.why_not_ended
    warden.sh("zfs release mine zroot/cellblock/host/try1@a")
    warden.refresh()
    assert sandboxes.end_expired() == 1
    try1.refresh_from_db()
    assert try1.why_not_ended == ""
    operation = Operation.objects.get(kind="sandbox_end")
    warden.fail("zfs destroy")
    warden.work(operation)
    Operation.objects.filter(pk=operation.pk).update(status="failed")
    assert sandboxes.end_expired() == 0
    Operation.objects.filter(pk=operation.pk).update(created_at=timezone.now() - sandboxes.AGAIN)
    assert sandboxes.end_expired() == 1


def test_of_its_own_accord_the_panel_does_nothing_else(warden, try1):  # noqa: F811
    """Nobody is not somebody: where who confirmed it is gone, no other kind runs."""
    over(try1)
    for kind, parameters in (
        ("jail_destroy", {"jail": str(try1.uuid), "name": "try1"}),
        ("jail_stop", {"jails": [str(try1.uuid)]}),
        ("host_setup", {}),
    ):
        wanted = Operation(kind=kind, host=warden.row, parameters=parameters)
        assert policy.why_not_operation(None, wanted) == "The person who asked for it may no longer sign in."
    ends = Operation(kind="sandbox_end", host=warden.row, parameters={"jail": str(try1.uuid)})
    assert policy.why_not_operation(None, ends) == ""
    stranger = User.objects.create_user("stranger")
    assert policy.why_not_operation(stranger, ends) != ""
    acme = Tenant.objects.create(name="Acme", slug="acme")
    Jail.objects.filter(pk=try1.pk).update(tenant=acme)
    Membership.objects.create(tenant=acme, user=stranger, role="owner")
    ends.confirmed_by = None
    assert policy.why_not_cancel(User.objects.get(pk=stranger.pk), ends) == ""


def test_a_row_that_says_so_ends_no_jail_on_ufs(plain_warden):  # noqa: F811
    """There no dataset could say that it is a sandbox, and none is made there."""
    www1 = plain_warden.make("www1", start=False)
    plain_warden.refresh()
    Jail.objects.filter(pk=www1.pk).update(kind="sandbox", expires_at=timezone.now())
    assert sandboxes.end_expired() == 0 and not Operation.objects.filter(kind="sandbox_end").exists()
    www1.refresh_from_db()
    assert "no dataset that says that it is a sandbox" in www1.why_not_ended


def test_one_that_the_panel_fails_at_keeps_no_other_from_its_end(warden, try1, monkeypatch):  # noqa: F811
    over(try1)
    www1 = Jail.objects.get(name="www1")
    Jail.objects.filter(pk=www1.pk).update(kind="sandbox", expires_at=timezone.now() - DAY)
    draft = lifecycle.draft

    def fail(kind, wish, **options):
        if wish["jail"] == str(www1.uuid):
            raise ZeroDivisionError
        return draft(kind, wish, **options)

    monkeypatch.setattr(lifecycle, "draft", fail)
    assert sandboxes.end_expired() == 1
    assert Operation.objects.get(kind="sandbox_end").title == "End the sandbox try1"
    www1.refresh_from_db()
    assert www1.why_not_ended == "The panel failed at it; the worker's log says how."
