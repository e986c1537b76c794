import threading
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection
from django.utils import timezone

from jails import tasks
from jails.models import AuditEntry, Operation, User
from jails.operations import lifecycle
from jails.operations.kind import Refused

Status = Operation.Status


@pytest.fixture
def stranger(db):
    return User.objects.create_user("eve")


def test_a_draft_is_a_plan_and_nothing_is_taken_or_sent(draft, box, messages):
    operation = draft()
    assert operation.status == Status.DRAFT and operation.digest
    assert operation.plan["steps"][0]["purpose"] == "Make the box"
    assert box.reserved == [] and messages == []


def test_a_field_that_is_wrong_is_named(draft):
    with pytest.raises(Refused) as refused:
        draft(root="")
    assert refused.value.errors == {"root": "name a folder"}


def test_a_host_that_never_answered_cannot_be_planned_for(box, host, admin, root, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(Refused, match="has not answered yet"):
        lifecycle.facts_of(host)


def test_who_may_not_do_it_gets_no_plan(box, host, stranger, root):
    with pytest.raises(PermissionDenied):
        lifecycle.draft("box", {"root": str(root)}, host=host, user=stranger)
    assert not Operation.objects.exists()


def test_unknown_kinds_are_unknown(host, admin):
    with pytest.raises(LookupError):
        lifecycle.draft("os.system", {}, host=host, user=admin)


def test_confirming_reserves_logs_and_sends_only_the_id(
    draft, admin, box, messages, django_capture_on_commit_callbacks
):
    operation = draft()
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.confirm(operation, operation.digest, user=admin, source="192.0.2.9")
    operation.refresh_from_db()
    entry = AuditEntry.objects.get(action="operation.confirm")
    assert operation.status == Status.QUEUED and box.reserved == [str(operation.pk)]
    assert (entry.actor, entry.source, entry.plan_digest) == ("ada", "192.0.2.9", operation.digest)
    assert messages == [("run_operation", str(operation.pk), "operations", 0)]


def test_a_message_goes_to_the_worker_of_the_host(draft, admin, host, messages, django_capture_on_commit_callbacks):
    host.worker = "berlin"
    host.save()
    operation = draft()
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.confirm(operation, operation.digest, user=admin)
    assert messages[0][2] == "operations.berlin"


def test_another_digest_than_the_shown_one_is_refused(draft, admin, box):
    operation = draft()
    with pytest.raises(Refused, match="has changed since it was shown"):
        lifecycle.confirm(operation, "0" * 64, user=admin)
    assert box.reserved == []


def test_a_plan_row_that_does_not_match_its_digest_is_refused(draft, admin):
    operation = draft()
    operation.plan["title"] = "Something harmless"
    operation.save()
    with pytest.raises(Refused, match="damaged"):
        lifecycle.confirm(operation, operation.digest, user=admin)


def test_a_person_without_the_right_cannot_confirm_and_the_try_is_logged(draft, stranger):
    operation = draft()
    with pytest.raises(PermissionDenied):
        lifecycle.confirm(operation, operation.digest, user=stranger)
    operation.refresh_from_db()
    assert operation.status == Status.DRAFT
    assert AuditEntry.objects.get(action="operation.confirm").outcome == "refused"


def test_a_name_taken_by_somebody_else_is_a_form_error(draft, admin, box, monkeypatch):
    def taken(operation):
        raise IntegrityError("UNIQUE constraint failed")

    monkeypatch.setattr(box, "reserve", taken)
    operation = draft()
    with pytest.raises(Refused, match="Somebody else has just taken"):
        lifecycle.confirm(operation, operation.digest, user=admin)
    operation.refresh_from_db()
    assert operation.status == Status.DRAFT and not AuditEntry.objects.exists()


def test_of_two_confirmations_at_once_one_wins(committed, draft, admin, box):
    operation = draft()
    outcomes, start = [], threading.Barrier(4)

    def press():
        start.wait()
        try:
            lifecycle.confirm(operation, operation.digest, user=admin)
            outcomes.append("queued")
        except Refused:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["queued", "refused", "refused", "refused"]
    assert len(box.reserved) == 1


def test_what_nobody_has_begun_is_cancelled_at_once(confirmed, admin, box, run):
    operation = lifecycle.cancel(confirmed(), user=admin)
    assert operation.status == Status.CANCELLED and box.released == [str(operation.pk)]
    assert run(operation).state == "busy"


def test_what_has_ended_cannot_be_cancelled(confirmed, admin, run):
    operation = confirmed()
    run(operation)
    with pytest.raises(Refused):
        lifecycle.cancel(operation, user=admin)


def test_a_stranger_cannot_cancel(confirmed, stranger):
    with pytest.raises(PermissionDenied):
        lifecycle.cancel(confirmed(), user=stranger)


def test_drafts_can_be_discarded_and_queued_ones_not(draft, confirmed, admin):
    assert lifecycle.discard(draft(), user=admin).status == Status.DISCARDED
    with pytest.raises(Refused):
        lifecycle.discard(confirmed(), user=admin)


def test_a_new_plan_needs_its_own_digest(confirmed, admin):
    operation = confirmed()
    Operation.objects.filter(pk=operation.pk).update(status=Status.STALE, digest="1" * 64)
    with pytest.raises(Refused):
        lifecycle.accept_new_plan(operation, operation.confirmed_digest, user=admin)


def test_trying_again_plans_anew(confirmed, run, admin):
    operation = confirmed(fail=True)
    run(operation)
    again = lifecycle.retry(operation, user=admin)
    assert again.status == Status.DRAFT and again.retry_of == operation and again.pk != operation.pk


def test_what_is_done_is_not_tried_again(confirmed, run, admin):
    operation = confirmed()
    run(operation)
    with pytest.raises(Refused):
        lifecycle.retry(operation, user=admin)


# The sweeper


def test_all_messages_lost_the_sweeper_sends_again(confirmed, messages):
    operation = confirmed()
    messages.clear()
    Operation.objects.update(sent_at=timezone.now() - timedelta(minutes=1))
    assert tasks.sweep() == 1
    assert messages == [("run_operation", str(operation.pk), "operations", 0)]


def test_a_dead_workers_operation_is_sent_again(confirmed, messages, abandon):
    operation = confirmed()
    Operation.objects.update(status=Status.RUNNING, sent_at=timezone.now() - timedelta(minutes=9))
    abandon(operation)
    messages.clear()
    assert tasks.sweep() == 1


def test_what_a_living_worker_has_is_left_to_it(confirmed, messages):
    operation = confirmed()
    later = timezone.now() + timedelta(seconds=20)
    Operation.objects.filter(pk=operation.pk).update(lease_expires_at=later, sent_at=None)
    assert tasks.sweep() == 0


def test_a_host_that_does_not_answer_is_asked_more_and_more_rarely(confirmed):
    operation = confirmed()
    now = timezone.now()
    operation.unreachable_since, operation.sent_at = now - timedelta(minutes=6), now - timedelta(seconds=60)
    assert not tasks._is_due(operation, now)
    assert tasks._is_due(operation, now + timedelta(seconds=60))


def test_messages_of_what_waits_for_a_free_worker_do_not_pile_up(confirmed, messages):
    operation = confirmed()
    start, sent = timezone.now(), 0
    operation.confirmed_at = operation.sent_at = start
    for seconds in range(0, 3600, 10):
        now = start + timedelta(seconds=seconds)
        if tasks._is_due(operation, now):
            sent, operation.sent_at = sent + 1, now
    assert 10 < sent < 50


def test_old_drafts_are_put_away(draft):
    old, new = draft(), draft()
    Operation.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=25))
    tasks.sweep()
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.status, new.status) == (Status.DISCARDED, Status.DRAFT)


@pytest.mark.parametrize("text", ["", "no-uuid", "7b0d3f2e-0000-4000-8000-000000000000", "'; DROP TABLE"])
def test_messages_that_name_nothing_are_ignored(db, text):
    assert tasks.run_operation(text) is None


def test_a_refresh_is_asked_for_when_it_is_due(host, messages):
    assert tasks.refresh_hosts() == 1
    assert tasks.refresh_hosts() == 0
    assert messages == [("refresh_host", host.pk, "refresh", 0)]


def test_a_host_that_does_not_answer_is_refreshed_more_rarely(host):
    host.refreshed_at, host.refresh_failures = timezone.now() - timedelta(seconds=61), 0
    assert tasks._refresh_is_due(host)
    host.refresh_failures = 3
    assert not tasks._refresh_is_due(host)
    host.refreshed_at, host.refresh_failures = timezone.now() - timedelta(minutes=16), 1000
    assert tasks._refresh_is_due(host)
