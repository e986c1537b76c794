"""Making a jail as a tenant, changing its size: what one is asked, and what one learns."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from jails import selfservice
from jails.models import Address, Host, Membership, Network, Operation, Release, SshKey, Template, TenantPlan
from jails.models.release import Storage
from jails.operations.kind import Refused
from tests.freebsd.test_logins import KEYS
from tests.panel.fleet import Fleet, GiB

pytestmark = pytest.mark.django_db


@pytest.fixture
def plan(fleet: Fleet) -> TenantPlan:
    return TenantPlan.objects.create(tenant=fleet.acme, jails=5, disk=40 * GiB, addresses=6)


def data(**more: Any) -> dict[str, Any]:
    return {"label": "shop", "base": "release:14.2-RELEASE", "quota": "5 GiB", **more}


def said(response: Any) -> str:
    return str(response.content.decode())


def test_three_fields_make_a_whole_wish(fleet, as_person, plan, planned):
    answer = as_person("owner").post(reverse("jail-make"), data(label="shop.example.org"))
    operation = Operation.objects.get()
    assert answer.url == reverse("operation", args=[operation.pk])
    wish = operation.parameters
    (address,) = wish.pop("addresses")
    assert address["network"] == fleet.office.pk and address["ip"].startswith("192.0.2.")
    assert not Address.objects.filter(ip=address["ip"]).exists()
    assert wish == {
        "name": "acme-shop-example-org",
        "hostname": "shop.example.org",
        "kind": "thin",
        "storage": "zfs",
        "release": fleet.release.pk,
        "template": None,
        "boot": True,
        "start": True,
        "tenant": fleet.acme.pk,
        "limits": {"quota": 5 * GiB, "children_max": 0, "securelevel": -1, "enforce_statfs": 2},
    }
    assert (operation.host, operation.tenant) == (fleet.zfs, fleet.acme)


def test_the_address_is_any_free_one(fleet, as_person, plan, planned):
    client = as_person("owner")
    for number in range(8):
        client.post(reverse("jail-make"), data(label=f"j{number}"))
    ips = {operation.parameters["addresses"][0]["ip"] for operation in Operation.objects.all()}
    assert len(ips) > 2, "the next free one each time would tell how many others there are"


def test_keys_of_ones_own_open_it(fleet, as_person, plan, planned):
    key, owner = KEYS[0], fleet.people["owner"]
    SshKey.objects.create(user=owner, name="k", type=key.type, body=key.body, fingerprint=key.fingerprint)
    page = said(as_person("owner").get(reverse("jail-make")))
    assert key.fingerprint in page and 'value="owner-person"' in page
    as_person("owner").post(reverse("jail-make"), data(login="web", keys=[key.fingerprint]))
    access = Operation.objects.get().parameters["access"]
    assert access == {"login": "web", "person": owner.pk, "keys": [key.fingerprint]}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"label": ""}, "required"),
        ({"label": "a b"}, "contains"),
        ({"label": "../etc"}, "contains"),
        ({"label": "x" * 60}, "too long"),
        ({"base": "release:15.0-RELEASE"}, "not one of the available choices"),
        ({"base": "release:1"}, "not one of the available choices"),
        ({"quota": ""}, "required"),
        ({"quota": "1"}, "must be"),
        ({"quota": "90 GiB"}, "room for"),
        ({"tenant": "acme", "keys": ["SHA256:x"], "login": "root"}, None),
    ],
)
def test_what_is_wrong_is_said_at_the_field(fleet, as_person, plan, planned, more, words):
    answer = as_person("owner").post(reverse("jail-make"), data(**more))
    if words is None:  # without keys on the profile there is nothing to ask about
        assert "access" not in Operation.objects.get().parameters
        return
    assert answer.status_code == 422 and words in said(answer)
    assert not Operation.objects.exists()


def test_whoever_cannot_make_one_does_not_know_of_the_page(fleet, as_person, plan):
    Membership.objects.filter(user=fleet.people["member"]).update(rights=["power", "destroy", "console"])
    for role in ("member", "viewer", "stranger", "administrator"):
        assert as_person(role).get(reverse("jail-make")).status_code == 404
    assert "Make a jail" not in said(as_person("member").get(reverse("home")))
    assert "Make a jail" in said(as_person("owner").get(reverse("home")))
    Membership.objects.filter(user=fleet.people["member"]).update(rights=["create"])
    assert as_person("member").get(reverse("jail-make")).status_code == 200


def test_for_another_team_or_without_a_plan(fleet, as_person, plan):
    assert as_person("owner").get(reverse("jail-make"), {"tenant": "globex"}).status_code == 404
    assert as_person("owner").post(reverse("jail-make"), data(tenant="globex")).status_code == 404
    TenantPlan.objects.all().delete()
    assert as_person("owner").get(reverse("jail-make")).status_code == 404


# What there is to choose


def test_only_what_the_plan_allows_and_is_ready(fleet, as_person, plan):
    assert [key for key, _ in selfservice.bases(plan)] == ["release:14.2-RELEASE", "release:13.1-RELEASE"]
    Template.objects.filter(pk=fleet.template.pk).update(published_at=timezone.now())
    theirs = Template.objects.create(
        host=fleet.zfs, name="theirs", architecture="amd64", storage="zfs", path="/x", state="ready", tenant=fleet.other
    )
    keys = [key for key, _ in selfservice.bases(plan)]
    assert keys[0] == "template:web" and f"template:{theirs.name}" not in keys
    Release.objects.filter(name="13.1-RELEASE").update(state="pending")
    plan.any_release = plan.any_template = False
    plan.save()
    plan.releases.set([fleet.release])
    assert [key for key, _ in selfservice.bases(plan)] == ["release:14.2-RELEASE"]
    plan.any_host = False
    plan.save()
    assert selfservice.bases(plan) == []
    plan.hosts.set([fleet.ufs])
    plan.any_release = True
    plan.save()
    assert selfservice.bases(plan) == [], "without ZFS none could have the quota that it needs"
    plan.disk = None
    plan.save()
    assert [key for key, _ in selfservice.bases(plan)] == ["release:14.2-RELEASE"]


def test_a_host_that_does_not_answer_is_left_out(fleet, plan):
    Host.objects.filter(pk=fleet.zfs.pk).update(unavailable_since=timezone.now())
    assert selfservice.bases(plan) == []


def test_a_network_of_the_plan(fleet, as_person, plan, planned):
    mine = Network.objects.create(name="mine", cidr="10.7.0.0/24")
    plan.any_network = False
    plan.save()
    plan.networks.set([mine])
    as_person("owner").post(reverse("jail-make"), data())
    assert Operation.objects.get().parameters["addresses"][0]["network"] == mine.pk
    plan.networks.clear()
    answer = as_person("owner").post(reverse("jail-make"), data(label="two"))
    assert answer.status_code == 422 and selfservice.NO_ROOM in said(answer)


def test_routers_at_either_end_of_a_network_keep_their_address(fleet, as_person, plan, planned):
    small = Network.objects.create(name="small", cidr="10.7.0.0/29")
    plan.any_network = False
    plan.save()
    plan.networks.set([small])
    for number in range(3, 6):
        Address.objects.create(network=small, ip=f"10.7.0.{number}", jail=fleet.jails["www1"])
    as_person("owner").post(reverse("jail-make"), data())
    assert Operation.objects.get().parameters["addresses"][0]["ip"] == "10.7.0.2"
    Address.objects.create(network=small, ip="10.7.0.2", jail=fleet.jails["www1"])
    answer = as_person("owner").post(reverse("jail-make"), data(label="two"))
    assert answer.status_code == 422 and selfservice.NO_ROOM in said(answer)


# What is learnt


@pytest.mark.parametrize(
    ("refusal", "shown"),
    [
        ({"name": "warden1 has a jail acme-shop already."}, selfservice.NOT_AVAILABLE),
        ({"addresses": "192.0.2.9 belongs to loghost on warden1."}, selfservice.NO_ROOM),
        ({"storage": "zroot/cellblock has 3 MiB left; the jail needs 900 MiB."}, selfservice.NO_ROOM),
        ({"": "warden1 has not answered yet"}, selfservice.NO_ROOM),
        ({"quota": "It needs 500 MiB at least."}, "It needs 500 MiB at least."),
    ],
)
def test_refusals_tell_nothing_of_hosts_and_of_others(fleet, as_person, plan, planned, refusal, shown):
    planned.refuses = refusal
    answer = as_person("owner").post(reverse("jail-make"), data())
    assert answer.status_code == 422
    page = said(answer)
    assert shown in page
    for word in ("warden1", "loghost", "zroot", "192.0.2.9"):
        assert word not in page


def test_the_next_host_is_asked_where_one_has_no_room(fleet, plan, monkeypatch):
    plan.disk = None
    plan.save()
    Release.objects.filter(host=fleet.ufs).update(storage=Storage.UFS)
    asked = []

    def draft(kind, wish, *, host, user, source):
        asked.append(host.name)
        if host == fleet.zfs:
            raise Refused({"storage": "zroot is full"})
        return Operation(host=host)

    monkeypatch.setattr(selfservice.lifecycle, "draft", draft)
    wanted = selfservice.Wanted("shop", "release:14.2-RELEASE", {})
    made = selfservice.draft(fleet.acme, wanted, user=fleet.people["owner"])
    assert asked == ["warden1", "warden2"] and made.host == fleet.ufs


def test_what_has_no_room_in_the_plan_is_told_in_its_words(fleet, as_person, plan, planned):
    plan.jails = 2
    plan.save()
    answer = as_person("owner").post(reverse("jail-make"), data())
    assert answer.status_code == 422 and "acme has 2 of 2 jails" in said(answer)


# Size


def test_a_larger_quota_within_the_plan(fleet, as_person, plan, planned):
    jail = fleet.jails["www1"]
    answer = as_person("owner").post(reverse("jail-size", args=[jail.uuid]), {"quota": "12 GiB", "boot": "on"})
    assert answer.status_code == 302
    wish = Operation.objects.get().parameters
    assert wish["limits"]["quota"] == 12 * GiB and wish["boot"] is True
    assert wish["hostname"] == jail.hostname and wish["limits"]["enforce_statfs"] == 2
    answer = as_person("owner").post(reverse("jail-size", args=[jail.uuid]), {"quota": "90 GiB"})
    assert answer.status_code == 422 and "room for" in said(answer)


def test_without_a_limit_of_the_plan_only_less(fleet, as_person, planned):
    jail = fleet.jails["www1"]
    answer = as_person("owner").post(reverse("jail-size", args=[jail.uuid]), {"quota": "12 GiB"})
    assert answer.status_code == 422 and "Only staff can give it more" in said(answer)
    assert as_person("owner").post(reverse("jail-size", args=[jail.uuid]), {"quota": "9 GiB"}).status_code == 302


def test_who_has_power_alone_changes_the_boot_flag_alone(fleet, as_person, plan, planned):
    jail = fleet.jails["www1"]
    page = said(as_person("member").get(reverse("jail-size", args=[jail.uuid])))
    assert 'name="boot"' in page and 'name="quota"' not in page
    sent = {"quota": "12 GiB"} | ({} if jail.boot else {"boot": "on"})
    as_person("member").post(reverse("jail-size", args=[jail.uuid]), sent)
    wish = Operation.objects.get().parameters
    assert wish["boot"] is not jail.boot and wish["limits"]["quota"] == 10 * GiB
    assert as_person("viewer").get(reverse("jail-size", args=[jail.uuid])).status_code == 404
