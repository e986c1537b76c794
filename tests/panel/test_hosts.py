"""The list of hosts, a host's page, and the forms that add, change and forget one."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails.models import AuditEntry, Host, HostFactsRecord, ObservedAddress, Operation, Pool, Worker
from panel.forms.hosts import HostForm
from panel.views import hosts as views
from tests.panel import work
from tests.panel.crowd import make_crowd
from tests.panel.fleet import GiB, add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
LIST, ADD, PAGE, CHANGE = "/hosts/", "/hosts/add", "/hosts/warden1/", "/hosts/warden1/change"
LIVE = {"HX-Request": "true"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG5vdCBhIHJlYWwga2V5LCBidXQgb2YgaXRzIHNpemU="
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG5vdCBhIHJlYWwgb25lLCBidXQgb2YgaXRzIHNpemU="
SSH = {
    "kind": "ssh",
    "name": "warden3",
    "address": "198.51.100.7",
    "port": "22",
    "username": "root",
    "directory": "",
    "pool": "",
    "jail_root": "/jail",
    "interface": "",
    "worker": "default",
}


@pytest.fixture
def worker(db):
    return Worker.objects.create(name="default", seen_at=timezone.now(), public_key="ssh-ed25519 AAAA cellblock@here")


@pytest.fixture
def refreshes(monkeypatch):
    """The hosts whose refresh was asked for."""
    asked = []
    monkeypatch.setattr(views.queue, "send_refresh", lambda host: asked.append(host.name))
    monkeypatch.setattr(views.queue, "send_access", lambda host: None)
    return asked


def posted(client, url, django_capture_on_commit_callbacks, **data):
    with django_capture_on_commit_callbacks(execute=True):
        return client.post(url, data)


def visible_text(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.text))


class TestList:
    def test_release_jails_pools_and_when_it_was_seen(self, fleet, worker, as_person):
        text = visible_text(as_person("administrator").get(LIST))
        for words in ("warden1", "14.2-RELEASE", "3 of 5", "zroot", "13 %", "UFS only"):
            assert words in text

    def test_a_host_that_does_not_answer_says_since_when_and_why(self, fleet, worker, as_person):
        since = timezone.now() - timedelta(hours=2)
        Host.objects.filter(name="warden2").update(unavailable_since=since, unavailable_reason="no answer in 10 s")
        text = visible_text(as_person("administrator").get(LIST))
        assert re.search(r"no answer in 10 s\s+for\s+2 h", text)

    def test_a_worker_that_is_not_there(self, fleet, as_person):
        assert "Worker default is not running" in as_person("administrator").get(LIST).text
        Worker.objects.create(name="default", seen_at=timezone.now())
        assert "is not running" not in as_person("administrator").get(LIST).text

    def test_an_operator_sees_theirs_only(self, fleet, as_person):
        response = as_person("operator").get(LIST)
        assert "warden1" in response.text and "warden2" not in response.text

    def test_of_many_pools_the_worst_are_shown(self, fleet, worker, as_person):
        for number in range(5):
            Pool.objects.create(host=fleet.zfs, name=f"tank{number}", used=number * 10, available=100 - number * 10)
        row = as_person("administrator").get(LIST).context["rows"][0]
        assert [pool.name for pool in row["pools"]] == ["tank4", "tank3"]
        assert row["more_pools"] == 4

    def test_nothing_yet(self, fleet, as_person):
        Host.objects.all().delete()
        assert "No hosts yet" in as_person("administrator").get(LIST).text

    def test_304_while_nothing_has_changed(self, fleet, worker, as_person):
        client = as_person("administrator")
        mark = client.get(LIST).headers["ETag"]
        assert client.get(LIST, headers=LIVE | {"If-None-Match": mark}).status_code == 304
        Host.objects.get(name="warden2").save()
        response = client.get(LIST, headers=LIVE | {"If-None-Match": mark})
        assert response.text.lstrip().startswith('<div id="hosts"')


class TestPage:
    def test_storage_with_data_snapshots_reserve_and_what_is_left(self, fleet, worker, as_person):
        Pool.objects.update(snapshots=GiB)
        text = visible_text(as_person("administrator").get(PAGE))
        for words in (
            "zroot for jails 13 % full",
            "3.0 GiB data",
            "1.0 GiB snapshots",
            "8.0 GiB reserve",
            "26.0 GiB left",
        ):
            assert words in text

    def test_the_bar_is_drawn_in_attributes(self, fleet, worker, as_person):
        text = as_person("administrator").get(PAGE).text
        assert re.search(r'<rect class="data" x="0" y="0" width="11" height="10"/>', text)
        assert re.search(r'<rect class="reserve" x="79" y="0" width="21" height="10"/>', text)

    def test_without_a_reserve_one_is_offered_to_who_may(self, fleet, worker, as_person):
        assert "Reserve 20 %" not in as_person("administrator").get(PAGE).text
        Pool.objects.update(reserve=0)
        assert "Reserve 20 %" in as_person("operator").get(PAGE).text
        text = as_person("auditor").get(PAGE).text
        assert "Nothing is held back" in text and "Reserve 20 %" not in text

    def test_ufs_shows_the_file_system_that_holds_jails(self, fleet, worker, as_person):
        space = [
            {"device": "/dev/ada0p2", "path": "/", "size": 100 * GiB, "used": 10 * GiB, "available": 90 * GiB},
            {"device": "/dev/ada1p1", "path": "/jail", "size": 50 * GiB, "used": 45 * GiB, "available": 5 * GiB},
            {"device": "/dev/ada2p1", "path": "/jailhouse", "size": GiB, "used": 0, "available": GiB},
        ]
        record = HostFactsRecord.objects.get(host=fleet.ufs)
        record.data["space"] = space
        record.save()
        text = visible_text(as_person("administrator").get("/hosts/warden2/"))
        assert "/jail for jails 90 % full" in text and "5.0 GiB left" in text and "No ZFS" in text

    def test_jails_also_those_the_panel_did_not_make(self, fleet, worker, as_person):
        response = as_person("administrator").get(PAGE)
        rows = [jail.name for jail in response.context["jails"]]
        assert rows == ["gone", "legacy", "loghost", "www1", "www2"]
        text = visible_text(response)
        assert "3 of 5 running" in text and "found here" in text and "192.0.2.77" in text

    def test_the_first_of_many_jails_and_a_way_to_all(self, fleet, worker, as_person):
        for number in range(30):
            add_jail(fleet, f"a{number}")
        response = as_person("administrator").get(PAGE)
        assert len(response.context["jails"]) == views.JAILS_SHOWN
        assert response.context["jails"][0].name == "gone"
        assert '<a href="/jails/?host=warden1">All 35 jails</a>' in response.text

    def test_addresses_of_the_host_and_of_jails(self, fleet, worker, as_person):
        ObservedAddress.objects.get_or_create(host=fleet.zfs, ip="192.0.2.2", prefix=24, interface="em0")
        ObservedAddress.objects.create(host=fleet.zfs, ip="192.0.2.11", interface="em0", jail_name="www1")
        context = as_person("administrator").get(PAGE).context
        assert [row.ip for row in context["own_addresses"]] == ["192.0.2.2"]
        assert [row.jail_name for row in context["jail_addresses"]] == ["www1"]

    def test_a_conflict_is_shown_where_it_is_and_nowhere_else(self, fleet, worker, as_person):
        for host in (fleet.zfs, fleet.ufs):
            ObservedAddress.objects.create(host=host, ip="192.0.2.66", interface="em0")
        other = Host.objects.create(name="warden9", kind="local", refreshed_at=timezone.now())
        client = as_person("administrator")
        assert "is in use more than once" in client.get(PAGE).text
        assert "is in use more than once" not in client.get(f"/hosts/{other.name}/").text

    def test_releases_and_operations(self, fleet, worker, as_person):
        work.done(fleet.zfs, fleet.people["administrator"])
        response = as_person("administrator").get(PAGE)
        assert [row.name for row in response.context["releases"]] == ["13.1-RELEASE", "14.2-RELEASE"]
        assert [row.title for row in response.context["operations"]] == ["Create www1"]

    def test_a_release_past_its_end(self, fleet, worker, as_person):
        Host.objects.filter(name="warden1").update(release="13.1-RELEASE")
        assert "ended 2023-07-31" in visible_text(as_person("administrator").get(PAGE))

    def test_not_answering_with_why_and_since_when(self, fleet, worker, as_person):
        since = timezone.now() - timedelta(minutes=12)
        Host.objects.filter(name="warden1").update(unavailable_since=since, unavailable_reason="no route to it")
        text = visible_text(as_person("administrator").get(PAGE))
        assert re.search(r"Has not answered for 12 min ?\. +no route to it", text)

    def test_its_worker_is_not_there(self, fleet, as_person):
        client = as_person("administrator")
        assert "No worker called default has ever started" in client.get(PAGE).text
        Worker.objects.create(name="default", seen_at=timezone.now() - timedelta(minutes=5))
        assert "has not been heard of since" in client.get(PAGE).text

    def test_never_seen(self, fleet, worker, as_person):
        Host.objects.create(name="new", kind="ssh", address="198.51.100.9")
        text = visible_text(as_person("administrator").get("/hosts/new/"))
        assert "Not seen yet" in text and "Create jail" not in text

    def test_buttons_of_who_may(self, fleet, worker, as_person):
        client = as_person("auditor")
        text = client.get(PAGE).text
        assert not any(word in text for word in ("Create jail", ">Refresh", "Forget this host", "Prepare for jails"))
        text = as_person("operator").get(PAGE).text
        assert "Create jail" in text and "Prepare for jails" in text and "Forget this host" not in text

    def test_a_host_of_others_does_not_exist(self, fleet, as_person):
        assert as_person("operator").get("/hosts/warden2/").status_code == 404
        assert as_person("owner").get(PAGE).status_code == 404


class TestRefresh:
    def test_it_is_asked_for_and_the_page_says_so(
        self, fleet, worker, as_person, refreshes, django_capture_on_commit_callbacks
    ):
        client = as_person("operator")
        response = posted(client, f"{PAGE}refresh", django_capture_on_commit_callbacks)
        assert (response.status_code, response.url, refreshes) == (302, PAGE, ["warden1"])
        text = client.get(PAGE).text
        assert "refreshing…" in text and 'data-every="1000"' in text

    def test_live_the_answer_is_the_part_that_changes(self, fleet, worker, as_person, refreshes):
        response = as_person("operator").post(f"{PAGE}refresh", headers=LIVE)
        assert response.text.lstrip().startswith('<div id="host"')
        assert "refreshing…" in response.text

    @pytest.mark.parametrize("outcome", ["answered", "failed", "lost"])
    def test_it_is_over(self, fleet, worker, as_person, outcome):
        now = timezone.now()
        host = Host.objects.get(name="warden1")
        host.refresh_wanted_at = now - timedelta(minutes=3 if outcome == "lost" else 1)
        if outcome == "answered":
            host.refreshed_at = now
        if outcome == "failed":
            host.unavailable_since, host.unavailable_reason = now - timedelta(days=1), "away"
        if outcome == "lost":
            host.refreshed_at = now - timedelta(days=1)
        host.save()
        assert "refreshing…" not in as_person("administrator").get(PAGE).text

    def test_the_page_changes_when_it_is_over(self, fleet, worker, as_person):
        client = as_person("administrator")
        Host.objects.filter(name="warden1").update(refresh_wanted_at=timezone.now())
        mark = client.get(PAGE).headers["ETag"]
        assert client.get(PAGE, headers=LIVE | {"If-None-Match": mark}).status_code == 304
        Host.objects.filter(name="warden1").update(refreshed_at=timezone.now(), changed_at=timezone.now())
        response = client.get(PAGE, headers=LIVE | {"If-None-Match": mark})
        assert response.status_code == 200 and "refreshing…" not in response.text

    def test_a_worker_that_falls_silent_changes_the_page(self, fleet, worker, as_person):
        client = as_person("administrator")
        mark = client.get(PAGE).headers["ETag"]
        Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=2))
        assert client.get(PAGE, headers=LIVE | {"If-None-Match": mark}).status_code == 200


class TestAdd:
    def test_over_ssh(self, fleet, worker, as_person, refreshes, django_capture_on_commit_callbacks):
        client = as_person("administrator")
        response = posted(client, ADD, django_capture_on_commit_callbacks, **SSH)
        assert (response.status_code, response.url) == (302, "/hosts/warden3/access")
        host = Host.objects.get(name="warden3")
        assert (host.address, host.port, host.username, host.host_key) == ("198.51.100.7", 22, "root", "")
        assert refreshes == ["warden3"]
        entry = AuditEntry.objects.get(action="host.add")
        assert (entry.object_name, entry.actor, entry.after["address"]) == (
            "warden3",
            "administrator-person",
            "198.51.100.7",
        )

    def test_what_is_left_empty_has_defaults(self, fleet, as_person, refreshes):
        as_person("administrator").post(ADD, SSH | {"port": "", "username": "", "jail_root": ""})
        host = Host.objects.get(name="warden3")
        assert (host.port, host.username, host.jail_root) == (22, "root", "/jail")

    def test_the_form_says_what_comes_then(self, fleet, worker, as_person):
        text = as_person("administrator").get(ADD).text
        assert "Let the worker in." in text and 'value="22"' in text

    @pytest.mark.parametrize(
        ("values", "username", "become"),
        [
            ({"become": "root", "username": ""}, "root", ""),
            ({"become": "root", "username": "typed and not seen"}, "root", ""),
            ({"become": "doas", "username": ""}, "cellblock", "doas"),
            ({"become": "sudo", "username": "ops"}, "ops", "sudo"),
            ({"username": "ops"}, "ops", ""),
            ({"kind": "local", "become": "root", "username": ""}, "root", ""),
            ({"kind": "local", "become": "doas", "username": ""}, "cellblock-worker", "doas"),
            ({"kind": "simulated", "directory": "/tmp/x", "become": "doas"}, "root", ""),
        ],
    )
    def test_ways_to_root(self, fleet, as_person, refreshes, values, username, become):
        assert as_person("administrator").post(ADD, SSH | values).status_code == 302
        host = Host.objects.get(name="warden3")
        assert (host.username, host.become) == (username, become)

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"become": "doas", "username": "root"}, "username"),
            ({"become": "doas", "username": "a b"}, "username"),
            ({"become": "mdo"}, "become"),
            ({"become": "site", "username": "ops"}, "become"),
        ],
    )
    def test_no_way_to_root(self, fleet, values, field):
        assert list(HostForm(SSH | values).errors) == [field]

    def test_an_address_outside_of_where_workers_may_go(self, fleet, settings):
        settings.HOST_NETWORKS = [ip_network("198.51.100.0/24")]
        form = HostForm(SSH | {"address": "192.0.2.9"})
        assert "192.0.2.9 is outside of 198.51.100.0/24" in str(form.errors["address"])
        for address in ("198.51.100.9", "warden3.example.org"):
            assert HostForm(SSH | {"address": address}).is_valid()

    def test_the_sites_own_way_is_offered_where_it_has_one(self, fleet, settings):
        settings.BECOME = ("mdo",)
        form = HostForm(SSH | {"become": "site", "username": "ops"})
        assert form.is_valid() and form.save().becomes_root_by == ("mdo",)
        assert "root by mdo (CELLBLOCK_BECOME)" in str(form["become"])

    @pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
    @pytest.mark.parametrize(
        "field",
        ["kind", "name", "address", "port", "username", "directory", "pool", "jail_root", "interface", "worker"],
    )
    def test_hostile_values_are_refused_at_their_field(self, fleet, as_person, field, value):
        response = as_person("administrator").post(ADD, SSH | {field: value})
        assert response.status_code == 422
        assert list(response.context["form"].errors) == [field]
        assert not Host.objects.filter(name="warden3").exists()

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"name": "warden1"}, "name"),
            ({"name": "123"}, "name"),
            ({"name": ""}, "name"),
            ({"name": "x" * 64}, "name"),
            ({"address": ""}, "address"),
            ({"address": "-oProxyCommand=reboot"}, "address"),
            ({"address": "192.0.2.300"}, None),
            ({"address": "2001:db8::1"}, None),
            ({"port": "0"}, "port"),
            ({"port": "65536"}, "port"),
            ({"username": "-root"}, "username"),
            ({"kind": "simulated"}, "directory"),
            ({"worker": "nobody"}, "worker"),
            ({"jail_root": "jail"}, "jail_root"),
        ],
    )
    def test_what_cannot_be(self, fleet, as_person, values, field):
        form = HostForm(SSH | values)
        assert list(form.errors) == ([field] if field else [])

    def test_simulated_hosts_are_for_the_demo(self, fleet, settings):
        settings.DEMO = False
        form = HostForm(SSH | {"kind": "simulated", "directory": "/tmp"})
        assert list(form.errors) == ["kind"] and "directory" not in form.fields

    def test_of_two_at_once_one_gets_a_sentence(self, fleet, as_person, monkeypatch, refreshes):
        monkeypatch.setattr(HostForm, "validate_unique", lambda form: None)
        response = as_person("administrator").post(ADD, SSH | {"name": "warden1"})
        assert response.status_code == 422
        assert "Another host of this name" in response.text

    def test_what_was_typed_stays(self, fleet, as_person):
        response = as_person("administrator").post(ADD, SSH | {"name": "a b", "pool": "tank"})
        assert 'value="a b"' in response.text and 'value="tank"' in response.text


class TestPinning:
    @pytest.fixture
    def offering(self, fleet):
        Host.objects.filter(name="warden1").update(
            kind="ssh",
            address="198.51.100.7",
            offered_key=KEY,
            unavailable_since=timezone.now(),
            unavailable_reason="x",
        )
        return Host.objects.get(name="warden1")

    def test_the_fingerprint_and_how_to_compare_it(self, offering, worker, as_person):
        text = as_person("administrator").get(PAGE).text
        assert offering.offered.fingerprint in text
        assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in text
        assert "pin this key" in text

    def test_who_may_not_pin_sees_it_without_the_button(self, offering, worker, as_person):
        text = as_person("operator").get(PAGE).text
        assert offering.offered.fingerprint in text and "pin this key" not in text
        assert as_person("operator").post(CHANGE, {"trust": KEY}).status_code == 403

    def test_pinned_and_asked_again(self, offering, as_person, refreshes, django_capture_on_commit_callbacks):
        posted(as_person("administrator"), CHANGE, django_capture_on_commit_callbacks, trust=KEY)
        offering.refresh_from_db()
        assert (offering.host_key, offering.offered_key, refreshes) == (KEY, "", ["warden1"])
        entry = AuditEntry.objects.get(action="host.pin")
        assert (entry.before, entry.after) == ({"host_key": ""}, {"host_key": KEY})

    @pytest.mark.parametrize("seen", [OTHER_KEY, "", KEY + " "])
    def test_only_the_key_that_was_seen(self, offering, as_person, refreshes, seen):
        as_person("administrator").post(CHANGE, {"trust": seen})
        offering.refresh_from_db()
        assert (offering.host_key, offering.offered_key, refreshes) == ("", KEY, [])

    def test_another_key_than_the_pinned_one_shows_both(self, offering, worker, as_person):
        Host.objects.update(host_key=OTHER_KEY)
        offering.refresh_from_db()
        text = as_person("administrator").get(PAGE).text
        assert "another key than the pinned one" in text
        assert offering.offered.fingerprint in text and offering.pinned.fingerprint in text


class TestChange:
    def values(self, **changes):
        return SSH | {"kind": "simulated", "name": "warden1", "directory": "/tmp/warden1", "pool": "zroot"} | changes

    def test_where_it_is_reached(self, fleet, as_person, refreshes, django_capture_on_commit_callbacks):
        values = self.values(pool="tank", port="2222")
        response = posted(as_person("administrator"), CHANGE, django_capture_on_commit_callbacks, **values)
        assert response.status_code == 302
        host = Host.objects.get(name="warden1")
        assert (host.pool, host.port, refreshes) == ("tank", 2222, ["warden1"])
        entry = AuditEntry.objects.get(action="host.change")
        assert (entry.before["pool"], entry.after["pool"]) == ("zroot", "tank")

    @pytest.mark.parametrize(("become", "way"), [("", "site"), ("doas", "doas")])
    def test_the_way_to_root_as_it_is(self, fleet, as_person, become, way):
        host = Host.objects.create(name="warden4", kind="ssh", address="192.0.2.9", username="ops", become=become)
        form = HostForm(instance=host)
        assert (form["become"].value(), form["username"].value()) == (way, "ops")
        saved = HostForm(SSH | {"become": way, "username": "ops"}, instance=host)
        assert saved.is_valid() and saved.save().become == become

    def test_name_and_kind_stay(self, fleet, as_person, refreshes):
        as_person("administrator").post(CHANGE, self.values(name="other", kind="ssh"))
        assert Host.objects.get(pk=fleet.zfs.pk).kind == "simulated"
        assert not Host.objects.filter(name="other").exists()

    def test_what_the_old_place_offered_is_forgotten(self, fleet, as_person, refreshes):
        Host.objects.filter(pk=fleet.zfs.pk).update(offered_key=KEY, address="192.0.2.9")
        as_person("administrator").post(CHANGE, self.values(address="192.0.2.9"))
        assert Host.objects.get(pk=fleet.zfs.pk).offered_key == KEY
        as_person("administrator").post(CHANGE, self.values(address="192.0.2.8"))
        assert Host.objects.get(pk=fleet.zfs.pk).offered_key == ""

    def test_a_refresh_meanwhile_is_not_overwritten(self, fleet, as_person, refreshes, monkeypatch):
        real = HostForm.is_valid

        def refreshed_meanwhile(form):
            Host.objects.filter(pk=fleet.zfs.pk).update(release="15.0-RELEASE")
            return real(form)

        monkeypatch.setattr(HostForm, "is_valid", refreshed_meanwhile)
        as_person("administrator").post(CHANGE, self.values())
        assert Host.objects.get(pk=fleet.zfs.pk).release == "15.0-RELEASE"

    def test_hostile_pool(self, fleet, as_person):
        response = as_person("administrator").post(CHANGE, self.values(pool="a@b"))
        assert response.status_code == 422 and list(response.context["form"].errors) == ["pool"]


class TestForget:
    URL = f"{PAGE}forget"

    def test_the_host_goes_and_the_log_says_what_was_there(self, fleet, as_person):
        response = as_person("administrator").post(self.URL, {"name": "warden1"})
        assert (response.status_code, response.url) == (302, LIST)
        assert not Host.objects.filter(name="warden1").exists()
        entry = AuditEntry.objects.get(action="host.forget")
        assert sorted(entry.before["jails"]) == ["gone", "legacy", "loghost", "www1", "www2"]

    @pytest.mark.parametrize("name", ["", "warden", "WARDEN1", "warden2"])
    def test_the_name_must_be_typed(self, fleet, as_person, name):
        assert as_person("administrator").post(self.URL, {"name": name}).status_code == 422
        assert Host.objects.filter(name="warden1").exists()

    def test_who_loses_sight_of_jails_is_named(self, fleet, as_person):
        assert "Acme will no longer see its jails" in visible_text(as_person("administrator").get(self.URL))

    @pytest.mark.parametrize("status", ["queued", "running", "undoing"])
    def test_not_while_something_is_under_way(self, fleet, as_person, status):
        work.add_operation(fleet.zfs, fleet.people["administrator"], status)
        response = as_person("administrator").post(self.URL, {"name": "warden1"})
        assert response.status_code == 422 and "is not finished" in visible_text(response)
        assert Host.objects.filter(name="warden1").exists()

    def test_plans_are_put_away_and_what_needed_attention_is_no_obstacle(self, fleet, as_person):
        person = fleet.people["administrator"]
        draft, stuck = work.add_operation(fleet.zfs, person), work.add_operation(fleet.zfs, person, "stuck")
        as_person("administrator").post(self.URL, {"name": "warden1"})
        draft.refresh_from_db()
        stuck.refresh_from_db()
        assert (draft.status, stuck.status, stuck.host) == (Operation.Status.DISCARDED, "stuck", None)


class TestSetup:
    def test_it_plans_with_the_reserve_when_asked(self, fleet, planned, as_person):
        client = as_person("operator")
        client.post(f"{PAGE}setup")
        client.post(f"{PAGE}setup", {"reserve": "1"})
        assert [request.parameters for request in planned.seen] == [{"reserve": False}, {"reserve": True}]

    def test_refused_it_says_why_on_the_hosts_page(self, fleet, planned, as_person):
        planned.refuses = {"reserve": "there is no room."}
        client = as_person("operator")
        response = client.post(f"{PAGE}setup", {"reserve": "1"}, follow=True)
        assert response.redirect_chain == [(PAGE, 302)]
        assert "there is no room." in response.text


class TestQueries:
    def counted(self, client, url):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url).status_code == 200
        return len(queries)

    @pytest.mark.parametrize("url", [LIST, PAGE, ADD])
    def test_as_many_for_few_as_for_many(self, fleet, worker, as_person, url):
        client = as_person("administrator")
        client.get(url)
        few = self.counted(client, url)
        make_crowd(fleet.people["administrator"])
        for number in range(300):
            add_jail(fleet, f"shop{number}", tenant=fleet.acme, ip=f"198.18.{number // 250}.{number % 250 + 1}")
        assert self.counted(client, url) == few
        assert few <= 21
