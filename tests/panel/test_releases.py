"""Releases: their list and page, fetching one, and vouching for a MANIFEST."""

from __future__ import annotations

from datetime import date

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jails.models import AuditEntry, Host, Operation, Release, TrustedManifest
from jails.operations.release_fetch import trusted_digest
from panel.forms import releases as forms
from panel.views.jails import form_url
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
LIST, FETCH = "/releases/", "/releases/fetch"
DIGEST = "ab" * 32


def wanted(**changes):
    source = "http://mirror.example.org/14.2-RELEASE"
    return {"host": "warden1", "release": "14.2-RELEASE", "architecture": "amd64", "source": source} | changes


def errors(response):
    return dict(response.context["form"].errors)


@pytest.fixture
def offer(db):
    return TrustedManifest.objects.create(
        release="14.1-RELEASE",
        architecture="amd64",
        digest=DIGEST,
        source="http://mirror.example.org/14.1-RELEASE",
        host_name="warden1",
    )


class TestList:
    def test_releases_with_who_descends_and_until_when(self, as_person):
        response = as_person("administrator").get(LIST)
        rows = {(row["release"].host.name, row["release"].name): row for row in response.context["releases"]}
        newest = rows["warden1", "14.2-RELEASE"]
        assert (newest["release"].jail_count, newest["release"].template_count) == (3, 1)
        assert newest["end_of_life"] == date(2025, 9, 30)
        assert rows["warden1", "13.1-RELEASE"]["past_end"] is True
        assert "ended 2023-07-31" in response.text

    def test_an_operator_sees_those_of_their_hosts(self, as_person):
        assert "warden2" not in as_person("operator").get(LIST).text

    def test_tenants_see_no_such_page(self, as_person, fleet):
        client = as_person("owner")
        pages = [LIST, FETCH, reverse("release", args=[fleet.release.pk])]
        assert [client.get(page).status_code for page in pages] == [404, 404, 404]

    def test_an_empty_list_says_what_to_do(self, as_person, fleet):
        from jails.models import Jail, Template

        Jail.objects.all().delete()
        Template.objects.all().delete()
        Release.objects.all().delete()
        text = as_person("administrator").get(LIST).text
        assert "No release yet" in text and f'href="{FETCH}"' in text

    def test_it_costs_the_same_however_many_there_are(self, as_person, fleet):
        client = as_person("administrator")

        def cost():
            with CaptureQueriesContext(connection) as queries:
                client.get(LIST)
            return len(queries)

        before = cost()
        for minor in range(20):
            name = f"14.{minor + 20}-RELEASE"
            Release.objects.create(host=fleet.zfs, name=name, architecture="amd64", storage="zfs", path="/x")
        assert cost() <= before


class TestPage:
    def test_what_it_is_and_what_is_made_from_it(self, as_person, fleet):
        response = as_person("auditor").get(reverse("release", args=[fleet.release.pk]))
        assert [jail.name for jail in response.context["jails"]] == ["gone", "loghost", "www1"]
        assert [template.name for template in response.context["templates"]] == ["web"]
        assert response.context["jails_below"] == 1
        for part in (fleet.release.manifest_digest, fleet.release.source, fleet.release.snapshot, "since 2025-09-30"):
            assert part in response.text
        assert reverse("release-remove", args=[fleet.release.pk]) not in response.text

    def test_those_of_other_hosts_do_not_exist(self, as_person, fleet):
        client = as_person("operator")
        assert client.get(reverse("release", args=[fleet.ufs_release.pk])).status_code == 404
        assert client.post(reverse("release-remove", args=[fleet.ufs_release.pk])).status_code == 404

    def test_who_may_only_look_is_refused(self, as_person, fleet):
        client = as_person("auditor")
        assert client.post(reverse("release-remove", args=[fleet.release.pk])).status_code == 403
        assert client.get(reverse("release-remove", args=[fleet.release.pk])).status_code == 405

    def test_why_it_cannot_be_removed_is_said_on_its_page(self, as_person, fleet, planned):
        client = as_person("operator")
        assert client.post(reverse("release-remove", args=[fleet.release.pk])).status_code == 302
        operation = Operation.objects.get()
        assert (operation.kind, operation.parameters) == ("release_remove", {"release": fleet.release.pk})
        planned.refuses = {"release": "www1 is cloned from it."}
        response = client.post(reverse("release-remove", args=[fleet.release.pk]), follow=True)
        assert response.redirect_chain == [(reverse("release", args=[fleet.release.pk]), 302)]
        assert "www1 is cloned from it." in response.text


class TestFetch:
    def test_it_ends_in_a_plan_of_what_was_asked(self, as_person, fleet, planned):
        response = as_person("operator").post(FETCH, wanted())
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert (operation.kind, operation.host) == ("release_fetch", fleet.zfs)
        assert operation.parameters == {
            "release": "14.2-RELEASE",
            "architecture": "amd64",
            "source": "http://mirror.example.org/14.2-RELEASE",
        }

    def test_the_way_back_has_all_of_it(self, as_person, fleet, planned):
        client = as_person("operator")
        client.post(FETCH, wanted(source="/var/tmp/release"))
        form = client.get(form_url(Operation.objects.get())).context["form"]
        assert {name: form[name].value() for name in form.fields} == wanted(source="/var/tmp/release")

    @pytest.mark.parametrize(
        ("release", "source"),
        [
            ("15.9-RELEASE", "https://download.freebsd.org/releases/amd64/15.9-RELEASE"),
            ("13.1-RELEASE", "https://ftp-archive.freebsd.org/pub/FreeBSD-Archive/old-releases/amd64/13.1-RELEASE"),
        ],
    )
    def test_without_a_source_it_is_freebsds_mirror_or_its_archive(self, as_person, fleet, planned, release, source):
        as_person("administrator").post(FETCH, wanted(release=release, source="", architecture=""))
        assert Operation.objects.get().parameters["source"] == source

    def test_in_the_demo_it_is_the_mirror_there(self, as_person, fleet, planned, settings, tmp_path):
        settings.DEMO, settings.STATE_DIR, settings.MIRROR_LISTEN = True, tmp_path, "127.0.0.1:8002"
        (tmp_path / "mirror/amd64/14.2-RELEASE").mkdir(parents=True)
        client = as_person("administrator")
        client.post(FETCH, wanted(source=""))
        assert Operation.objects.get().parameters["source"] == "http://127.0.0.1:8002/amd64/14.2-RELEASE"
        Host.objects.update(kind=Host.Kind.SSH)
        client.post(FETCH, wanted(source=""))
        assert "127.0.0.1" not in Operation.objects.first().parameters["source"]

    def test_an_arm_hosts_architecture_has_the_mirrors_word(self, as_person, fleet, planned):
        Host.objects.update(architecture="aarch64")
        as_person("administrator").post(FETCH, wanted(architecture=""))
        assert Operation.objects.get().parameters["architecture"] == "arm64"

    def test_a_host_that_has_not_said_what_it_is_needs_one_chosen(self, as_person, fleet, planned):
        Host.objects.update(architecture="")
        assert set(errors(as_person("administrator").post(FETCH, wanted(architecture="")))) == {"architecture"}

    def test_the_form_starts_with_the_hosts_own_release(self, as_person, fleet):
        Host.objects.filter(name="warden2").update(release="13.2-RELEASE-p4")
        form = as_person("administrator").get(f"{FETCH}?host=warden2").context["form"]
        assert (form["host"].value(), form["release"].value()) == ("warden2", "13.2-RELEASE")

    def test_nothing_newer_than_the_hosts_is_offered(self):
        host = Host(name="a", release="13.2-RELEASE-p1")
        known = forms.known_releases([host])
        assert known[0] == "13.2-RELEASE" and "12.1-RELEASE" in known

    def test_rights(self, as_person, fleet, planned):
        assert as_person("auditor").get(FETCH).status_code == 403
        assert as_person("auditor").post(FETCH, wanted()).status_code == 403
        client = as_person("operator")
        assert client.post(FETCH, wanted(host="warden2")).status_code == 404
        assert client.get(f"{FETCH}?host=warden2").status_code == 404
        assert as_person("member").post(FETCH, wanted()).status_code == 404

    def test_what_is_refused_is_said_at_its_field(self, as_person, fleet, planned):
        planned.refuses = {"release": "warden1 has it already.", "source": "is empty."}
        response = as_person("operator").post(FETCH, wanted())
        assert response.status_code == 422
        assert errors(response) == {"release": ["warden1 has it already."], "source": ["is empty."]}

    @pytest.mark.parametrize("what", HOSTILE)
    @pytest.mark.parametrize("field", ["host", "release", "architecture", "source"])
    def test_hostile_values(self, as_person, fleet, planned, field, what):
        response = as_person("administrator").post(FETCH, wanted(**{field: HOSTILE[what]}))
        if field == "host":
            assert response.status_code == 404
        else:
            assert response.status_code == 422 and field in errors(response)
        assert not Operation.objects.exists() and not planned.seen

    @pytest.mark.parametrize(
        "source",
        [
            "ftp://a/b",
            "http://user:secret@a/b",
            "file:///../x y",
            "http://a/$(x)",
            "/a/../b",
            "http:///",
            "javascript:1",
        ],
    )
    def test_sources_that_are_none(self, as_person, fleet, planned, source):
        assert set(errors(as_person("administrator").post(FETCH, wanted(source=source)))) == {"source"}


class TestTrust:
    def url(self, offer):
        return reverse("release-trust", args=[offer.pk])

    def test_an_offer_waits_on_the_list_for_an_administrator(self, as_person, fleet, offer):
        assert self.url(offer) in as_person("administrator").get(LIST).text
        assert self.url(offer) not in as_person("auditor").get(LIST).text
        assert "Nobody has vouched yet" not in as_person("operator").get(LIST).text

    def test_it_counts_once_the_digest_was_compared(self, as_person, fleet, offer):
        Host.objects.update(kind=Host.Kind.SSH)
        fleet.zfs.refresh_from_db()
        client = as_person("administrator")
        assert DIGEST in client.get(self.url(offer)).text
        assert trusted_digest(fleet.zfs, "14.1-RELEASE", "amd64") == ""
        response = client.post(self.url(offer), {"digest": f" {DIGEST.upper()}\n"})
        assert response.url == LIST
        assert trusted_digest(fleet.zfs, "14.1-RELEASE", "amd64") == DIGEST
        entry = AuditEntry.objects.get(action="release.trust")
        assert (entry.actor, entry.outcome, entry.after["digest"]) == ("administrator-person", "done", DIGEST)
        assert DIGEST in client.get(LIST).text
        assert client.get(self.url(offer)).status_code == 302

    @pytest.mark.parametrize("typed", ["", "cd" * 32, "x" * 64, DIGEST[:-1], DIGEST + "a", "a\0b"])
    def test_another_digest_is_refused(self, as_person, fleet, offer, typed):
        response = as_person("administrator").post(self.url(offer), {"digest": typed})
        assert response.status_code == 422 and set(errors(response)) == {"digest"}
        offer.refresh_from_db()
        assert not offer.is_confirmed

    def test_of_two_for_one_release_the_second_is_refused(self, as_person, fleet, offer):
        second = TrustedManifest.objects.create(
            release="14.1-RELEASE", architecture="amd64", digest="cd" * 32, source="x", host_name="warden1"
        )
        client = as_person("administrator")
        client.post(self.url(offer), {"digest": DIGEST})
        response = client.post(self.url(second), {"digest": "cd" * 32})
        assert response.status_code == 422 and "is trusted already" in response.text

    def test_rights(self, as_person, fleet, offer):
        expected = {"auditor": 403, "operator": 404, "owner": 404, "stranger": 404}
        for role, status in expected.items():
            client = as_person(role)
            assert client.get(self.url(offer)).status_code == status, role
            assert client.post(self.url(offer), {"digest": DIGEST}).status_code == status, role
        offer.refresh_from_db()
        assert not offer.is_confirmed
