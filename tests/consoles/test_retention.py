"""How long recordings are kept, and what keeps one longer."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jails import audit, breakglass, review
from jails.consoles import records, retention
from jails.consoles.tickets import Opening
from jails.models import AuditEntry, AuditReview, Console, ReviewMark
from tests.panel.fleet import make_fleet

pytestmark = pytest.mark.django_db
REASON = "Its mail queue fills the disk."


@pytest.fixture
def fleet(settings, tmp_path):
    settings.CONSOLE_RECORDINGS = tmp_path / "recordings"
    settings.CONSOLE_RECORDING_DAYS = 30
    settings.AUDIT_WORKING_HOURS = ()
    return make_fleet()


@pytest.fixture
def recorded(fleet):
    def make(who="owner", name="www1", days=31):
        """One that has ended so many days ago, by the way that consoled takes."""
        opening = Opening(fleet.people[who], "key", fleet.jails[name], "root", "192.0.2.9")
        console = records.begin(opening, "terminal")
        at = timezone.now() - timedelta(days=days)
        Console.objects.filter(pk=console.pk).update(opened_at=at - timedelta(hours=1))
        console.refresh_from_db()
        path = records.path_of(console)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("recorded")
        records.end(console, "exit", status=0, digest="d" * 64, size=8, cut=False, at=at)
        return console

    return make


def is_there(console):
    console.refresh_from_db()
    assert records.path_of(console).exists() == (console.removed_at is None)
    return console.removed_at is None


def test_what_is_old_goes_and_the_log_keeps_its_digest(fleet, recorded, settings):
    old, new = recorded(), recorded(days=29)
    review.catch_up()
    assert retention.remove_old() == 1
    assert (is_there(old), is_there(new)) == (False, True)
    entry = AuditEntry.objects.get(action="recording.remove")
    assert entry.after == {"console": str(old.pk), "recording_sha256": "d" * 64, "bytes": 8}
    assert (entry.object_name, entry.tenant, entry.actor) == ("www1", "acme", "consoled")
    assert not audit.verify().problem
    assert retention.remove_old() == 0
    new.jail.delete()
    assert retention.remove_old(timezone.now() + timedelta(days=5)) == 1
    assert not list(settings.CONSOLE_RECORDINGS.iterdir())


def test_none_goes_where_they_are_kept_for_ever(fleet, recorded, settings):
    settings.CONSOLE_RECORDING_DAYS = 0
    old = recorded(days=9999)
    review.catch_up()
    assert retention.remove_old() == 0 and is_there(old)


def test_one_under_review_stays_until_it_is_signed_off(fleet, recorded):
    """The console's own entry is in the queue, or the break-glass it came by is, which needs two."""
    breakglass.enter(fleet.jails["www1"], REASON, timedelta(hours=1), user=fleet.people["administrator"])
    held, other = recorded("administrator"), recorded("owner")
    review.catch_up()
    assert set(AuditReview.objects.values_list("rule", flat=True)) == {"console", "breakglass"}
    assert retention.remove_old() == 1
    assert (is_there(held), is_there(other)) == (True, False)
    AuditReview.objects.filter(rule="console").update(state="done")
    assert retention.remove_old() == 0
    AuditReview.objects.filter(rule="breakglass").update(state="second")
    assert retention.remove_old() == 0 and is_there(held)
    AuditReview.objects.update(state="done")
    assert retention.remove_old() == 1 and not is_there(held)


def test_what_the_rules_have_not_read_yet_stays(fleet, recorded):
    old = recorded()
    ReviewMark.objects.all().delete()
    assert retention.remove_old() == 0 and is_there(old)
    review.catch_up()
    assert retention.remove_old() == 1


def test_one_that_is_open_is_not_touched(fleet, recorded):
    open_still = recorded()
    Console.objects.filter(pk=open_still.pk).update(ended_at=None)
    review.catch_up()
    assert retention.remove_old() == 0 and is_there(open_still)


def test_a_file_that_was_left_when_it_was_killed_goes_the_next_time(fleet, recorded, monkeypatch, settings):
    old, strange = recorded(), settings.CONSOLE_RECORDINGS / "2020-01/notes.txt"
    strange.parent.mkdir(parents=True)
    strange.write_text("somebody's")
    review.catch_up()
    with monkeypatch.context() as patch:
        patch.setattr(retention, "_remove_files", lambda: None)
        assert retention.remove_old() == 1
    assert records.path_of(old).exists()
    assert retention.remove_old() == 0 and not is_there(old)
    assert strange.exists() and AuditEntry.objects.filter(action="recording.remove").count() == 1
