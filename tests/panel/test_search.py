"""Search: everything one may know of by name, and nothing else."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jails.models import Network, ObservedAddress, Template
from panel.views.search import beginning_of_id, find_all
from tests.panel import work
from tests.panel.crowd import make_crowd
from tests.panel.fleet import add_jail

pytestmark = pytest.mark.django_db
LIVE = {"HX-Request": "true"}


@pytest.fixture
def found(fleet):
    """What a role finds, as (sort, name)."""
    return lambda query, role="administrator": [(hit.sort, hit.name) for hit in find_all(fleet.people[role], query)]


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("www1", ("Jail", "www1")),
        ("LOGHOST", ("Jail", "loghost")),
        ("legacy.example", ("Jail", "legacy")),
        ("warden2", ("Host", "warden2")),
        ("warden1.example", ("Host", "warden1")),
        ("192.0.2.11", ("Address", "192.0.2.11")),
        ("office", ("Network", "office")),
        ("198.51.100.0/", ("Network", "branch")),
        ("acme", ("Tenant", "Acme")),
        ("glob", ("Tenant", "Globex")),
        ("auditor-p", ("Person", "auditor-person")),
        ("13.1", ("Release", "13.1-RELEASE")),
        ("web", ("Template", "web")),
    ],
)
def test_everything_is_found(found, query, hit):
    assert hit in found(query)


def test_an_operation_by_title_and_by_the_beginning_of_its_id(fleet, found):
    operation = work.done(fleet.zfs, fleet.people["administrator"])
    for query in (
        "create w",
        str(operation.pk),
        str(operation.pk)[:11],
        operation.pk.hex[:14].upper(),
        str(operation.pk)[:4],
    ):
        assert ("Operation", "Create www1") in found(query)
    assert found(str(operation.pk)[:3]) == []


def test_an_address_that_was_only_seen_leads_to_its_host(fleet):
    ObservedAddress.objects.create(host=fleet.zfs, ip="192.0.2.88", interface="em0", jail_name="legacy")
    (hit,) = find_all(fleet.people["administrator"], "192.0.2.88")
    assert (hit.note, hit.url) == ("legacy on warden1", "/hosts/warden1/")


def test_a_given_address_is_not_found_twice(fleet, found):
    ObservedAddress.objects.create(host=fleet.zfs, ip="192.0.2.11", interface="em0", jail_name="www1")
    assert found("192.0.2.11") == [("Address", "192.0.2.11")]


def test_the_exact_name_comes_first(fleet, found):
    for name in ("a-www1", "www1-old", "www10"):
        add_jail(fleet, name)
    assert [name for sort, name in found("www1") if sort == "Jail"] == ["www1", "www1-old", "www10", "a-www1"]


@pytest.mark.parametrize("role", ["owner", "member", "viewer"])
def test_a_tenant_finds_their_own(fleet, found, role):
    Network.objects.create(name="www-net", cidr="203.0.113.0/24")
    Template.objects.update(tenant=fleet.acme)
    work.done(fleet.zfs, fleet.people["administrator"], jails=[fleet.jails["loghost"]])
    mine = work.done(fleet.zfs, fleet.people["member"], jails=[fleet.jails["www1"]])
    assert found("www", role) == [("Jail", "www1"), ("Jail", "www2"), ("Operation", mine.title)]
    assert found("192.0.2.1", role) == [("Address", "192.0.2.11"), ("Address", "192.0.2.12")]
    assert found("acme", role) == [("Tenant", "Acme")]
    for query in ("loghost", "warden", "globex", "14.2", "web", "person", "office", "198.51", "192.0.2.2", "legacy"):
        assert found(query, role) == []


def test_an_operator_finds_what_is_on_their_hosts(found):
    assert found("log", "operator") == [("Jail", "loghost")]
    assert found("warden", "operator") == [("Host", "warden1")]
    assert found("198.51.100.10", "operator") == []
    assert found("acme", "operator") == found("person", "operator") == []


class TestPage:
    def test_as_one_types_only_the_list(self, as_person):
        response = as_person("administrator").get("/search?q=www", headers=LIVE)
        assert "www2" in response.text and "<html" not in response.text

    def test_without_javascript_a_page(self, as_person):
        response = as_person("administrator").get("/search?q=www")
        assert "<html" in response.text and "2 found" in response.text

    def test_the_only_one_is_opened(self, fleet, as_person):
        assert as_person("administrator").get("/search?q=loghost").url == f"/jails/{fleet.jails['loghost'].uuid}/"

    def test_nothing_found_says_so(self, as_person):
        assert "Nothing is called or addressed “nosuch”" in as_person("administrator").get("/search?q=nosuch").text

    @pytest.mark.parametrize("query", ["", "%20", "%00", "%25", "_", "'", "%F0%9F%90%A1", "x" * 5000, "%ED%A0%80"])
    def test_odd_queries(self, as_person, query):
        response = as_person("administrator").get(f"/search?q={query}")
        assert response.status_code in (200, 302)

    def test_wildcards_are_only_characters(self, found):
        assert found("%") == found("w_w1") == []

    def test_what_was_asked_is_only_text(self, as_person):
        assert "<script>alert" not in as_person("administrator").get("/search?q=<script>alert(1)</script>").text


@pytest.mark.parametrize(
    ("query", "beginning"),
    [
        ("abcd", "abcd"),
        ("ABCDEF0123", "abcdef01-23"),
        ("abcdef01-2345-6789-abcd-ef0123456789", "abcdef01-2345-6789-abcd-ef0123456789"),
        ("abc", ""),
        ("abcg", ""),
        ("a" * 33, ""),
    ],
)
def test_the_beginning_of_an_id(query, beginning):
    assert beginning_of_id(query) == beginning


@pytest.mark.parametrize("role", ["administrator", "owner"])
def test_as_many_queries_for_few_as_for_many(fleet, as_person, role):
    client = as_person(role)

    def counted():
        with CaptureQueriesContext(connection) as queries:
            client.get("/search?q=1", headers=LIVE)
        return len(queries)

    client.get("/search")
    few = counted()
    make_crowd(fleet.people["administrator"])
    for number in range(100):
        add_jail(fleet, f"shop{number}", tenant=fleet.acme)
    assert counted() == few <= 16
