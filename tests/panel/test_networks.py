"""Networks, the addresses given from them, and addresses in use more than once."""

from __future__ import annotations

import ipaddress
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jails.models import Address, AuditEntry, Network, ObservedAddress
from panel.forms.networks import NetworkForm
from panel.views.networks import free_in
from tests.panel.crowd import make_crowd
from tests.panel.fleet import add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
LIST, ADD = "/networks/", "/networks/add"
NEW = {"name": "lab", "cidr": "203.0.113.0/24", "host": "", "interface": ""}


@pytest.fixture(autouse=True)
def nothing_seen(fleet):
    ObservedAddress.objects.all().delete()


def seen(host, ip, interface="em0", jail=""):
    return ObservedAddress.objects.create(host=host, ip=ip, interface=interface, jail_name=jail)


def conflicts(client):
    found = client.get(LIST).context["conflicts"]
    return {row["ip"]: [(place.host.name, place.jail_name) for place in row["places"]] for row in found}


class TestList:
    def test_networks_with_what_is_given_and_left(self, fleet, as_person):
        rows = as_person("administrator").get(LIST).context["networks"]
        assert [(row["row"].name, row["row"].given, row["free"]) for row in rows] == [
            ("branch", 1, 253),
            ("office", 3, 251),
        ]

    def test_addresses_in_the_order_of_numbers(self, fleet, as_person):
        for number in (9, 100, 20):
            add_jail(fleet, f"j{number}", ip=f"192.0.2.{number}")
        shown = [
            row.ip for row in as_person("administrator").get(f"{LIST}?network={fleet.office.pk}").context["addresses"]
        ]
        assert shown == sorted(shown, key=ipaddress.ip_address) and len(shown) == 6

    @pytest.mark.parametrize("query", ["?network=x", "?network=999999", "?network=%00", "?page=-1", "?page=x"])
    def test_what_is_no_network_shows_all(self, fleet, as_person, query):
        response = as_person("administrator").get(f"{LIST}{query}")
        assert response.status_code == 200 and response.context["page"].paginator.count == 4

    def test_an_operator_sees_shared_networks_and_addresses_of_their_hosts(self, fleet, as_person):
        Network.objects.create(name="private2", cidr="10.2.0.0/16", host=fleet.ufs)
        response = as_person("operator").get(LIST)
        assert [row["row"].name for row in response.context["networks"]] == ["branch", "office"]
        assert {row.jail.name for row in response.context["addresses"]} == {"loghost", "www1", "www2"}
        assert "Add network" not in response.text

    def test_tenants_see_no_such_page(self, as_person):
        assert as_person("owner").get(LIST).status_code == 404

    def test_none_yet(self, fleet, as_person):
        Address.objects.all().delete()
        Network.objects.all().delete()
        assert "No networks yet" in as_person("administrator").get(LIST).text

    @pytest.mark.parametrize(
        ("cidr", "given", "free"),
        [("192.0.2.0/30", 1, 1), ("192.0.2.0/31", 1, 1), ("192.0.2.1/32", 1, 0), ("2001:db8::/64", 5, None)],
    )
    def test_how_many_are_left(self, cidr, given, free):
        assert free_in(cidr, given) == free


class TestConflicts:
    def test_on_two_hosts(self, fleet, as_person):
        seen(fleet.zfs, "192.0.2.66", jail="www1")
        seen(fleet.ufs, "192.0.2.66")
        seen(fleet.ufs, "192.0.2.67")
        client = as_person("administrator")
        assert conflicts(client) == {"192.0.2.66": [("warden1", "www1"), ("warden2", "")]}
        assert re.search(r"192\.0\.2\.66</code> is in use more than once: www1 on warden1 \(em0\), warden2 \(em0\)",
                         client.get(LIST).text)  # fmt: skip

    def test_on_two_interfaces_of_one_host(self, fleet, as_person):
        seen(fleet.zfs, "192.0.2.66")
        seen(fleet.zfs, "192.0.2.66", "em1")
        assert list(conflicts(as_person("administrator"))) == ["192.0.2.66"]

    def test_loopback_may_repeat(self, fleet, as_person):
        for host in (fleet.zfs, fleet.ufs):
            seen(host, "10.0.0.1", "lo1")
        assert conflicts(as_person("administrator")) == {}

    def test_a_private_network_may_repeat_on_another_host(self, fleet, as_person):
        for host in (fleet.zfs, fleet.ufs):
            Network.objects.create(name="inside", cidr="10.7.0.0/16", host=host)
            seen(host, "10.7.0.1", "bridge0")
        assert conflicts(as_person("administrator")) == {}

    def test_it_is_one_where_only_one_of_them_is_private(self, fleet, as_person):
        Network.objects.create(name="inside", cidr="10.7.0.0/16", host=fleet.zfs)
        third = seen(fleet.ufs, "10.7.0.1")
        seen(fleet.zfs, "10.7.0.1")
        assert conflicts(as_person("administrator")) == {}
        seen(third.host, "10.7.0.1", "em1")
        assert list(conflicts(as_person("administrator"))) == ["10.7.0.1"]

    def test_hosts_of_others_do_not_count(self, fleet, as_person):
        seen(fleet.zfs, "192.0.2.66")
        seen(fleet.ufs, "192.0.2.66")
        assert conflicts(as_person("operator")) == {}


class TestAdd:
    def test_shared(self, as_person):
        assert as_person("administrator").post(ADD, NEW).url == LIST
        network = Network.objects.get(name="lab")
        assert (network.cidr, network.host) == ("203.0.113.0/24", None)
        assert AuditEntry.objects.get(action="network.add").after == {"cidr": "203.0.113.0/24"}

    def test_private_to_a_host_it_may_repeat(self, fleet, as_person):
        for host in (fleet.zfs, fleet.ufs):
            response = as_person("administrator").post(ADD, NEW | {"cidr": "10.0.0.0/16", "host": host.pk})
            assert response.status_code == 302
        assert Network.objects.filter(cidr="10.0.0.0/16").count() == 2

    @pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
    @pytest.mark.parametrize("field", list(NEW))
    def test_hostile_values_are_refused_at_their_field(self, as_person, field, value):
        response = as_person("administrator").post(ADD, NEW | {field: value})
        assert response.status_code == 422
        assert list(response.context["form"].errors) == [field]

    @pytest.mark.parametrize(
        ("cidr", "words"),
        [
            ("192.0.2.128/25", "Overlaps office"),
            ("192.0.0.0/16", "Overlaps office"),
            ("203.0.113.7/24", "the network itself is 203.0.113.0/24"),
            ("203.0.113.0/33", "is no network"),
            ("203.0.113.0", None),
            ("0.0.0.0/0", "every address there is"),
            ("224.0.0.0/8", "multicast"),
            ("2001:db8::/64", None),
            ("", "required"),
        ],
    )
    def test_what_cannot_be(self, fleet, cidr, words):
        form = NetworkForm(NEW | {"cidr": cidr})
        assert (words in form.errors["cidr"][0]) if words else form.is_valid()

    def test_a_name_that_is_taken(self, fleet):
        assert not NetworkForm(NEW | {"name": "office"}).is_valid()

    def test_of_two_at_once_one_gets_a_sentence(self, fleet, as_person, monkeypatch):
        monkeypatch.setattr(NetworkForm, "clean", lambda form: form.cleaned_data)
        monkeypatch.setattr(NetworkForm, "_post_clean", lambda form: vars(form.instance).update(form.cleaned_data))
        response = as_person("administrator").post(ADD, NEW | {"name": "office", "cidr": "192.0.2.0/24"})
        assert response.status_code == 422 and "Somebody has just added" in response.text

    def test_staff_who_may_not(self, as_person):
        assert as_person("operator").get(ADD).status_code == 403


class TestRemove:
    def test_an_unused_one(self, fleet, as_person):
        network = Network.objects.create(name="lab", cidr="203.0.113.0/24")
        as_person("administrator").post(f"{LIST}{network.pk}/remove")
        assert not Network.objects.filter(name="lab").exists()
        assert AuditEntry.objects.get(action="network.remove").object_name == "lab"

    def test_not_one_that_has_given_addresses(self, fleet, as_person):
        response = as_person("administrator").post(f"{LIST}{fleet.office.pk}/remove", follow=True)
        assert "still has addresses in use" in response.text and Network.objects.filter(name="office").exists()


def test_as_many_queries_for_few_as_for_many(fleet, as_person):
    client = as_person("administrator")

    def counted():
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST)
        return len(queries)

    client.get(LIST)
    few = counted()
    make_crowd(fleet.people["administrator"])
    assert counted() == few <= 14
