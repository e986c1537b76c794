"""From a host that was added to one that can be used: the lines, its key, the test, and its page meanwhile."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from jails.hosts.access import Access, Line, Subject, Verdict
from jails.hosts.hostkey import HostKey
from jails.models import AuditEntry, Host, HostAccessRecord, Worker
from panel.views import hosts as views
from tests.panel.hostile import HOSTILE
from tests.panel.test_hosts import KEY, LIVE, OTHER_KEY, SSH, posted, visible_text

pytestmark = pytest.mark.django_db
PAGE, ACCESS, CHANGE = "/hosts/warden1/", "/hosts/warden1/access", "/hosts/warden1/change"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFdvcmtlcg== cellblock@here"


@pytest.fixture
def worker(db):
    return Worker.objects.create(name="default", seen_at=timezone.now(), public_key=PUBLIC)


@pytest.fixture
def tests_asked(monkeypatch):
    """The hosts whose test was asked for."""
    asked = []
    monkeypatch.setattr(views.queue, "send_refresh", lambda host: None)
    monkeypatch.setattr(views.queue, "send_access", lambda host: asked.append(host.name))
    return asked


@pytest.fixture
def host(fleet):
    """Over SSH, its key not yet seen."""
    Host.objects.filter(name="warden1").update(kind="ssh", address="198.51.100.7", refreshed_at=None)
    return Host.objects.get(name="warden1")


@pytest.fixture
def offering(host):
    Host.objects.update(offered_key=KEY, unavailable_since=timezone.now(), unavailable_reason="compare it")
    host.refresh_from_db()
    return host


def found(**verdicts):
    """Access of which the named lines have that verdict, and the others pass."""
    return Access(
        tuple(
            Line(name, title, Verdict(verdicts.get(name, "pass")), f"because {name}" if name in verdicts else "", "do")
            for name, title in Subject("ssh").titles.items()
        )
    )


def tried(host, access, ago=0):
    at = timezone.now() - timedelta(seconds=ago)
    return HostAccessRecord.objects.create(host=host, wanted_at=at, tested_at=at, data=access.to_data())


class TestLines:
    def test_for_root(self, host, worker, as_person):
        response = as_person("administrator").get(ACCESS)
        blocks = response.context["lines"]["blocks"]
        assert f"'restrict {PUBLIC}' &gt;&gt; /root/.ssh/authorized_keys" in response.text.replace("&#x27;", "'")
        assert "sshd -t" in blocks[1].text
        assert "Root by a detour" not in response.text

    @pytest.mark.parametrize(("become", "word"), [("doas", "doas.conf"), ("sudo", "sudoers.d"), ("", "sudo -n id -u")])
    def test_for_a_user_of_its_own(self, host, worker, as_person, become, word):
        Host.objects.update(username="ops", become=become)
        response = as_person("administrator").get(ACCESS)
        text = response.text
        assert "pw useradd ops" in text and word in text and "Root by a detour is still root" in text

    def test_from_one_address_only(self, host, worker, as_person):
        response = as_person("administrator").get(f"{ACCESS}?source=192.0.2.10")
        assert 'restrict,from="192.0.2.10" ssh-ed25519' in response.context["lines"]["blocks"][0].text
        assert f'data-live="{ACCESS}?source=192.0.2.10"' in response.text

    @pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
    def test_hostile_addresses_are_no_part_of_a_line(self, host, worker, as_person, source):
        response = as_person("administrator").get(ACCESS, {"source": source})
        assert response.context["lines"]["source_form"].errors
        assert "from=" not in response.context["lines"]["blocks"][0].text

    def test_no_worker_yet(self, host, as_person):
        assert "has not started yet" in as_person("administrator").get(ACCESS).text

    def test_this_machine(self, host, worker, as_person):
        Host.objects.update(kind="local", username="root")
        text = visible_text(as_person("administrator").get(ACCESS))
        assert "The worker must run as root" in text and "Compare its key" not in text and "authorized_keys" not in text

    def test_this_machine_with_doas(self, host, worker, as_person):
        Host.objects.update(kind="local", username="cellblock-worker", become="doas")
        response = as_person("administrator").get(ACCESS)
        assert "permit nopass cellblock-worker as root" in response.text and "pw useradd" not in response.text

    def test_simulated(self, fleet, worker, as_person):
        text = visible_text(as_person("administrator").get(ACCESS))
        assert "Simulated, in" in text and "Let the worker" not in text

    def test_they_are_folded_once_it_is_let_in(self, host, worker, as_person):
        client = as_person("administrator")
        assert '<details id="lines" open>' in client.get(ACCESS).text
        tried(host, found(tools="fail"))
        assert '<details id="lines">' in client.get(ACCESS).text


class TestComparing:
    def send(self, client, callbacks, **data):
        return posted(client, ACCESS, callbacks, **{"trust": KEY, **data})

    def test_what_there_is_to_compare(self, offering, worker, as_person):
        text = as_person("administrator").get(ACCESS).text
        assert offering.offered.fingerprint in text
        assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in text

    @pytest.mark.parametrize("form", ["{f}", "256 {f} root@host (ED25519)", KEY])
    def test_equal_is_pinned_and_tested(
        self, offering, as_person, tests_asked, django_capture_on_commit_callbacks, form
    ):
        pasted = form.format(f=offering.offered.fingerprint)
        response = self.send(as_person("administrator"), django_capture_on_commit_callbacks, fingerprint=pasted)
        assert (response.status_code, response.url) == (302, ACCESS)
        offering.refresh_from_db()
        assert (offering.host_key, offering.offered_key, tests_asked) == (KEY, "", ["warden1"])
        assert AuditEntry.objects.get(action="host.pin").after == {"host_key": KEY}

    @pytest.mark.parametrize(
        ("pasted", "said"),
        [
            (HostKey.parse(OTHER_KEY).fingerprint, "Not equal"),
            (OTHER_KEY, "Not equal"),
            ("", "Paste what ssh-keygen prints"),
            ("yes", "is no fingerprint"),
            ("2048 SHA256:" + "A" * 43 + " root@host (RSA)", "another type"),
        ],
    )
    def test_anything_else_is_not_pinned_and_says_so(self, offering, worker, as_person, tests_asked, pasted, said):
        response = as_person("administrator").post(ACCESS, {"trust": KEY, "fingerprint": pasted})
        assert response.status_code == 422
        assert said in response.text
        offering.refresh_from_db()
        assert (offering.host_key, offering.offered_key, tests_asked) == ("", KEY, [])

    def test_what_was_pasted_stays_and_the_page_does_not_change_by_itself(self, offering, worker, as_person):
        client = as_person("administrator")
        response = client.post(ACCESS, {"trust": KEY, "fingerprint": "SHA256:mine"})
        assert "SHA256:mine</textarea>" in response.text
        assert client.get(ACCESS, headers=LIVE | {"If-None-Match": response.headers["ETag"]}).status_code == 304

    def test_by_eye(self, offering, as_person, tests_asked, django_capture_on_commit_callbacks):
        self.send(as_person("administrator"), django_capture_on_commit_callbacks, by_eye="1")
        offering.refresh_from_db()
        assert offering.host_key == KEY and tests_asked == ["warden1"]

    @pytest.mark.parametrize("how", ["fingerprint", "by_eye"])
    def test_only_the_key_that_was_seen(self, offering, worker, as_person, tests_asked, how):
        """Somebody else answers since the page was shown, with a key whose fingerprint is pasted."""
        Host.objects.update(offered_key=OTHER_KEY)
        data = {"trust": KEY, how: HostKey.parse(OTHER_KEY).fingerprint}
        response = as_person("administrator").post(ACCESS, data, follow=True)
        assert "offers another key by now" in response.text
        offering.refresh_from_db()
        assert (offering.host_key, offering.offered_key) == ("", OTHER_KEY)

    def test_nothing_offered_nothing_pinned(self, host, worker, as_person, tests_asked):
        as_person("administrator").post(ACCESS, {"trust": "", "by_eye": "1"})
        host.refresh_from_db()
        assert host.host_key == ""

    def test_a_changed_key_shows_both(self, offering, worker, as_person):
        Host.objects.update(host_key=OTHER_KEY)
        text = as_person("administrator").get(ACCESS).text
        assert HostKey.parse(OTHER_KEY).fingerprint in text and offering.offered.fingerprint in text
        assert "another key than the pinned one" in text

    def test_the_hosts_page_leads_there(self, offering, worker, as_person):
        assert f'href="{ACCESS}#step-key"' in as_person("administrator").get(PAGE).text
        assert ACCESS not in as_person("operator").get(PAGE).text


class TestTesting:
    def test_it_is_asked_for(self, host, as_person, tests_asked, django_capture_on_commit_callbacks):
        Host.objects.update(host_key=KEY)
        response = posted(as_person("administrator"), ACCESS, django_capture_on_commit_callbacks)
        assert (response.status_code, response.url, tests_asked) == (302, ACCESS, ["warden1"])
        assert HostAccessRecord.objects.get().is_under_way

    def test_live_the_answer_is_the_part_that_changes(self, host, worker, as_person, tests_asked):
        Host.objects.update(host_key=KEY)
        response = as_person("administrator").post(ACCESS, headers=LIVE)
        assert response.text.lstrip().startswith('<div id="host-access"')
        assert "testing…" in response.text and 'data-every="1000"' in response.text

    def test_without_javascript_one_reloads(self, host, worker, as_person, tests_asked):
        Host.objects.update(host_key=KEY)
        HostAccessRecord.objects.create(host=host, wanted_at=timezone.now())
        assert (
            f'<noscript><p class="mt-3"><a class="btn" href="{ACCESS}">' in as_person("administrator").get(ACCESS).text
        )

    def test_the_page_changes_when_it_is_over(self, host, worker, as_person):
        Host.objects.update(host_key=KEY)
        record = HostAccessRecord.objects.create(host=host, wanted_at=timezone.now())
        client = as_person("administrator")
        mark = client.get(ACCESS).headers["ETag"]
        assert client.get(ACCESS, headers=LIVE | {"If-None-Match": mark}).status_code == 304
        record.tested_at, record.data = timezone.now(), found().to_data()
        record.save()
        response = client.get(ACCESS, headers=LIVE | {"If-None-Match": mark})
        assert response.status_code == 200 and "All 15 pass." in response.text

    def test_it_is_lost(self, host, worker, as_person):
        Host.objects.update(host_key=KEY)
        HostAccessRecord.objects.create(host=host, wanted_at=timezone.now() - timedelta(minutes=5))
        text = as_person("administrator").get(ACCESS).text
        assert "has left no trace" in text and "testing…" not in text

    def test_not_before_the_key_is_pinned(self, offering, worker, as_person):
        assert "Once its key is pinned." in as_person("administrator").get(ACCESS).text

    def test_each_line_with_its_reason_and_what_to_do(self, host, worker, as_person):
        Host.objects.update(host_key=KEY)
        tried(host, found(tools="fail", securelevel="doubt"))
        text = visible_text(as_person("administrator").get(ACCESS))
        assert re.search(r"fail ?The tools of the base system are there because tools do", text)
        assert re.search(r"in part ?Its securelevel forbids nothing that is needed because securelevel do", text)
        assert "1 of 15 fail." in text

    def test_with_a_reserve(self, host, worker, as_person):
        tried(host, found(jailed="doubt"))
        Host.objects.update(host_key=KEY)
        assert "1 with a reserve" in as_person("administrator").get(ACCESS).text

    def test_what_was_not_tried_is_one_line(self, host, worker, as_person):
        unknown = dict.fromkeys(["jails", "locks", "files"], "unknown")
        lines = tuple(
            Line(line.name, line.title, line.verdict, "Only root can tell." if line.name in unknown else "")
            for line in found(root="fail", **unknown).lines
        )
        tried(host, Access(lines))
        text = as_person("administrator").get(ACCESS).text
        assert text.count("Only root can tell.") == 1 and "Takes locks in /var/run" in text

    def test_what_a_host_says_is_shown_as_text(self, host, worker, as_person):
        evil = Line("commands", "Commands", Verdict.FAIL, "<script>alert(1)</script>", "")
        tried(host, Access((evil,)))
        client = as_person("administrator")
        assert "<script>alert" not in client.get(ACCESS).text + client.get(PAGE).text


class TestOnTheHostsPage:
    def test_as_long_as_something_fails(self, fleet, worker, as_person):
        record = tried(fleet.zfs, found(tools="fail"))
        client = as_person("administrator")
        text = visible_text(client.get(PAGE))
        assert "may not do all that it needs" in text and "because tools" in text and "1 of 15 fail" in text
        record.data = found(jailed="doubt").to_data()
        record.save()
        text = visible_text(client.get(PAGE))
        assert "may not do all" not in text and "all that is needed" in text

    def test_who_may_not_test_sees_it_without_the_link(self, fleet, worker, as_person):
        tried(fleet.zfs, found(tools="fail"))
        for person in ("operator", "auditor"):
            text = as_person(person).get(PAGE).text
            assert "may not do all that it needs" in text and ACCESS not in text

    def test_a_test_that_ends_changes_the_page(self, fleet, worker, as_person):
        client = as_person("administrator")
        mark = client.get(PAGE).headers["ETag"]
        tried(fleet.zfs, found(tools="fail"))
        assert client.get(PAGE, headers=LIVE | {"If-None-Match": mark}).status_code == 200


class TestAskedByItself:
    @pytest.mark.parametrize(
        ("values", "asked"),
        [
            ({"kind": "local"}, ["warden3"]),
            ({"kind": "simulated", "directory": "/tmp/x"}, ["warden3"]),
            ({}, []),
        ],
    )
    def test_when_a_host_is_added(
        self, fleet, as_person, tests_asked, django_capture_on_commit_callbacks, values, asked
    ):
        response = posted(as_person("administrator"), "/hosts/add", django_capture_on_commit_callbacks, **SSH | values)
        assert (response.url, tests_asked) == ("/hosts/warden3/access", asked)

    def test_when_its_key_is_pinned_on_its_page(
        self, offering, as_person, tests_asked, django_capture_on_commit_callbacks
    ):
        posted(as_person("administrator"), CHANGE, django_capture_on_commit_callbacks, trust=KEY)
        assert tests_asked == ["warden1"]

    @pytest.mark.parametrize(
        ("change", "is_forgotten"),
        [
            ({"address": "198.51.100.8"}, True),
            ({"become": "doas", "username": "ops"}, True),
            ({"pool": "tank"}, False),
        ],
    )
    def test_when_it_is_reached_in_another_way_and_the_old_test_is_forgotten(
        self, host, as_person, tests_asked, django_capture_on_commit_callbacks, change, is_forgotten
    ):
        tried(host, found(tools="fail"))
        values = SSH | {"name": "warden1", "become": "root"} | change
        posted(as_person("administrator"), CHANGE, django_capture_on_commit_callbacks, **values)
        record = HostAccessRecord.objects.get()
        assert (record.tested_at is None) == is_forgotten
        assert tests_asked == (["warden1"] if is_forgotten else [])
