"""The first page: what needs attention, the fleet in five numbers, a tenant's jails."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails.models import Host, Jail, ObservedAddress, Operation, Pool, TenantPlan, Worker
from panel.views import overview
from tests.panel import work
from tests.panel.crowd import make_crowd
from tests.panel.fleet import GiB, add_jail

pytestmark = pytest.mark.django_db
LIVE = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def worker(db):
    return Worker.objects.create(name="default", seen_at=timezone.now())


@pytest.fixture
def calm(fleet, monkeypatch):
    """A fleet in which nothing needs attention."""
    Jail.objects.filter(state="missing").delete()
    monkeypatch.setattr(overview, "is_past_end", lambda release: False)
    return fleet


@pytest.fixture
def texts(as_person):
    """What needs attention, in words, as this role sees it."""

    def see(role="administrator"):
        context = as_person(role).get("/").context
        return [need.text for need in (*context["needs"], *context["more_needs"])]

    return see


class TestNeeds:
    def test_all_fine_is_one_line(self, calm, as_person):
        response = as_person("administrator").get("/")
        assert "nothing needs attention" in response.text
        assert "needs-list" not in response.text

    def test_a_host_that_does_not_answer_with_why_and_since_when(self, calm, as_person):
        since = timezone.now() - timedelta(hours=3)
        Host.objects.filter(pk=calm.zfs.pk).update(unavailable_since=since, unavailable_reason="no route to it")
        need = as_person("administrator").get("/").context["needs"][0]
        assert (need.text, need.since, need.grave) == ("warden1 does not answer: no route to it", since, True)
        assert need.url == "/hosts/warden1/"

    def test_a_host_whose_key_is_not_pinned(self, calm, texts):
        Host.objects.filter(pk=calm.zfs.pk).update(unavailable_since=timezone.now(), offered_key="ssh-ed25519 AAAA")
        assert texts() == ["warden1 waits for its key to be compared and pinned."]

    def test_a_worker_that_is_not_running(self, calm, texts, worker):
        Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=2))
        assert texts() == ["Worker default is not running: 2 hosts cannot be reached."]

    def test_a_failed_operation_until_it_was_tried_again(self, calm, texts):
        failed = work.failed(calm.zfs, calm.people["administrator"])
        assert texts() == [f"Create www1 on warden1: {failed.error}"]
        again = work.add_operation(calm.zfs, calm.people["administrator"], retry_of=failed)
        assert len(texts()) == 1
        Operation.objects.filter(pk=again.pk).update(status="done")
        assert texts() == []

    def test_a_failed_operation_is_forgotten_after_two_days_and_a_stuck_one_never(self, calm, texts):
        person, old = calm.people["administrator"], timedelta(days=3)
        work.failed(calm.zfs, person, age=old)
        work.add_operation(calm.zfs, person, "stuck", error="It is busy.", age=old)
        assert texts() == ["Create www1 on warden1: It is busy."]

    @pytest.mark.parametrize(("used", "grave"), [(79, None), (81, False), (91, True)])
    def test_a_pool_above_80_per_cent_of_what_data_may_use(self, calm, as_person, used, grave):
        Pool.objects.update(used=(used + 25) * GiB, reserve=25 * GiB, available=(100 - used) * GiB)
        needs = as_person("administrator").get("/").context["needs"]
        assert [need.grave for need in needs] == ([] if grave is None else [grave])
        assert all(f"{used} % full" in need.text for need in needs)

    def test_a_degraded_pool(self, calm, texts):
        Pool.objects.update(health="DEGRADED")
        assert texts() == ["Pool zroot of warden1 is degraded."]

    def test_releases_past_their_end_in_one_line_each(self, fleet, texts):
        fleet.zfs.release, fleet.ufs.release = "13.1-RELEASE-p4", "13.1-RELEASE"
        fleet.zfs.save()
        fleet.ufs.save()
        add_jail(fleet, "old", base=fleet.old_release)
        assert "13.1-RELEASE is past its end of life: 2 hosts and 1 jail." in texts()

    def test_the_release_of_a_template_counts_for_its_jails(self, fleet, texts):
        fleet.template.release = fleet.old_release
        fleet.template.save()
        assert any(text.startswith("13.1-RELEASE") and "1 jail." in text for text in texts())

    def test_missing_jails_by_name_and_many_together(self, fleet, texts):
        assert "gone is missing on warden1." in texts()
        for number in range(5):
            add_jail(fleet, f"lost{number}", state="missing")
        assert "6 jails are missing on warden1: gone, lost0, lost1 and others." in texts()

    def test_an_address_that_is_in_use_twice(self, calm, texts):
        for host, jail in ((calm.zfs, "www1"), (calm.ufs, "")):
            ObservedAddress.objects.create(host=host, ip="192.0.2.66", interface="em0", jail_name=jail)
        assert texts() == ["192.0.2.66 is in use more than once: www1 on warden1 and em0 on warden2."]

    def test_the_gravest_first(self, fleet, as_person):
        Pool.objects.update(used=85 * GiB, reserve=0, available=15 * GiB)
        graves = [need.grave for need in as_person("administrator").get("/").context["needs"]]
        assert graves == sorted(graves, reverse=True)
        assert set(graves) == {True, False}

    def test_an_operator_is_told_of_their_hosts_only(self, calm, texts):
        Host.objects.update(unavailable_since=timezone.now(), unavailable_reason="away")
        work.failed(calm.ufs, calm.people["administrator"])
        assert texts("operator") == ["warden1 does not answer: away"]


class TestFleet:
    def test_five_numbers(self, fleet, as_person):
        figures = as_person("administrator").get("/").context["figures"]
        assert (figures["hosts"], figures["jails"], figures["running"], figures["tenants"]) == (2, 6, 3, 2)
        assert (figures["used"], figures["space"]) == (4 * GiB, 30 * GiB)

    def test_last_operations_without_drafts(self, fleet, as_person):
        person = fleet.people["administrator"]
        shown = work.done(fleet.zfs, person)
        work.add_operation(fleet.zfs, person)
        work.add_operation(fleet.zfs, person, "discarded")
        assert as_person("administrator").get("/").context["operations"] == [shown]

    def test_no_host_yet_says_what_belongs_here(self, as_person, fleet):
        Operation.objects.all().delete()
        Host.objects.all().delete()
        assert "Add the first host" in as_person("administrator").get("/").text
        assert "Add host" not in as_person("auditor").get("/").text


class TestLive:
    def test_nothing_is_sent_while_nothing_has_changed(self, fleet, as_person):
        client = as_person("administrator")
        mark = client.get("/").headers["ETag"]
        assert client.get("/", headers=LIVE | {"If-None-Match": mark}).status_code == 304
        work.done(fleet.zfs, fleet.people["administrator"])
        response = client.get("/", headers=LIVE | {"If-None-Match": mark})
        assert response.status_code == 200
        assert response.text.lstrip().startswith('<div id="overview"')

    def test_a_whole_page_is_never_answered_with_304(self, fleet, as_person):
        client = as_person("administrator")
        mark = client.get("/").headers["ETag"]
        assert client.get("/", headers={"If-None-Match": mark}).status_code == 200


class TestTenantHome:
    @pytest.mark.parametrize("role", ["owner", "member", "viewer"])
    def test_their_jails_and_nothing_else(self, fleet, as_person, role):
        text = as_person(role).get("/").text
        assert "www1.example.org" in text and "www2.example.org" in text
        assert not any(word in text for word in ("loghost", "legacy", "warden2", "globex"))

    def test_disk_of_their_quota(self, fleet, as_person):
        text = as_person("member").get("/").text
        assert (
            '2.0 GiB</span> <span class="quiet">of <span class="number" title="10,737,418,240 bytes">10.0 GiB' in text
        )

    def test_for_how_long_a_jail_is_so(self, fleet, as_person):
        Jail.objects.filter(name="www1").update(state_since=timezone.now() - timedelta(hours=3, minutes=2))
        Jail.objects.filter(name="www2").update(state_since=timezone.now() + timedelta(minutes=1))  # a clock ahead
        text = re.sub(r"<[^>]+>", "", as_person("owner").get("/").text)
        assert "running for 3 h" in text and "stopped for 0 s" in text

    def test_a_viewer_has_no_buttons(self, fleet, as_person):
        assert "Restart www1" in as_person("member").get("/").text
        assert "Restart www1" not in as_person("viewer").get("/").text

    def test_what_went_wrong_comes_first(self, fleet, as_person):
        failed = work.failed(fleet.zfs, fleet.people["member"], jails=[fleet.jails["www1"]])
        work.failed(fleet.zfs, fleet.people["administrator"], jails=[fleet.jails["loghost"]])
        response = as_person("owner").get("/")
        assert response.context["trouble"] == [failed]

    def test_of_many_the_first_with_their_number_and_a_search(self, fleet, as_person):
        client = as_person("owner")
        assert "find-mine" not in client.get("/").text
        for number in range(overview.MY_JAILS):
            add_jail(fleet, f"shop{number:02}", tenant=fleet.acme, state="stopped" if number % 2 else "running")
        response = client.get("/")
        assert len(response.context["jails"]) == overview.MY_JAILS
        assert response.text.count('class="my-jail"') == overview.MY_JAILS and "find-mine" in response.text
        assert f"All {overview.MY_JAILS + 2} jails" in response.text
        running = Jail.objects.filter(tenant=fleet.acme, state="running").count()
        assert f"{running} of {overview.MY_JAILS + 2} running" in response.text

    def test_what_changes_is_noticed_whatever_it_is(self, fleet, as_person):
        client = as_person("owner")
        done = work.done(fleet.zfs, fleet.people["member"], jails=[fleet.jails["www1"]])

        def is_new(mark):
            return client.get("/", headers=LIVE | {"If-None-Match": mark}).status_code == 200

        for change in (
            lambda: Jail.objects.filter(name="www1").update(limits={"quota": 1}),
            lambda: Jail.objects.filter(name="www1").update(hostname="other.example.org"),
            lambda: fleet.jails["www1"].addresses.all().delete(),
            lambda: done.save(),
            lambda: work.failed(fleet.zfs, fleet.people["member"], jails=[fleet.jails["www1"]]),
            lambda: TenantPlan.objects.create(tenant=fleet.acme, jails=9),
            lambda: TenantPlan.objects.update(jails=8),
        ):
            mark = client.get("/").headers["ETag"]
            assert not is_new(mark)
            change()
            assert is_new(mark)

    def test_a_stranger_is_told_how_to_get_a_jail(self, fleet, as_person):
        assert "Ask your administrator" in as_person("stranger").get("/").text

    def test_live(self, fleet, as_person):
        client = as_person("owner")
        mark = client.get("/").headers["ETag"]
        assert client.get("/", headers=LIVE | {"If-None-Match": mark}).status_code == 304
        Jail.objects.filter(name="www1").update(state="stopped", state_since=timezone.now())
        assert client.get("/", headers=LIVE | {"If-None-Match": mark}).status_code == 200


class TestQueries:
    def counted(self, client):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get("/").status_code == 200
        return len(queries)

    @pytest.mark.parametrize("role", ["administrator", "owner"])
    def test_as_many_for_few_as_for_many(self, fleet, as_person, role):
        client = as_person(role)
        client.get("/")
        few = self.counted(client)
        make_crowd(fleet.people["administrator"])
        for number in range(100):
            add_jail(fleet, f"shop{number}", tenant=fleet.acme, ip=f"192.0.2.{number + 100}")
        assert self.counted(client) == few
        assert few <= (20 if role == "administrator" else 9)

    def test_a_plan_costs_three_more(self, fleet, as_person):
        client = as_person("owner")
        few = self.counted(client)
        TenantPlan.objects.create(tenant=fleet.acme, jails=9)
        assert self.counted(client) <= few + 3
