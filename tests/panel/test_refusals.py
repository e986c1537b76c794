"""What the policy refuses and what is taken out of the panel is in the log, and nobody reads of what is not theirs."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse

from jails import policy, review
from jails.models import AuditEntry, AuditReview, Host, Operation
from tests.panel.fleet import Fleet, add_jail, signed_in

pytestmark = pytest.mark.django_db


def refusals() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(outcome="refused").order_by("sequence"))


@pytest.fixture
def shop(fleet: Fleet) -> Any:
    return add_jail(fleet, "shop", tenant=fleet.other)


def test_what_is_sent_about_a_hidden_thing_is_noted_for_staff_alone(fleet: Fleet, shop: Any) -> None:
    client = signed_in(fleet, "member")
    there = client.post(reverse("jail-stop", args=[shop.uuid]), REMOTE_ADDR="203.0.113.7")
    (entry,) = refusals()
    assert there.status_code == 404
    assert (entry.action, entry.actor, entry.object_name, entry.source) == (
        "jail.power", "member-person", "shop", "203.0.113.7",
    )  # fmt: skip
    assert (entry.tenant, entry.tenant_id) == ("", None)
    readers = [name for name, one in fleet.people.items() if policy.visible(one, AuditEntry).filter(pk=entry.pk)]
    assert readers == ["administrator", "auditor"]
    review.catch_up()
    assert AuditReview.objects.filter(sequence=entry.sequence, rule="refused").exists()


def test_it_is_answered_as_what_does_not_exist(fleet: Fleet, shop: Any) -> None:
    client = signed_in(fleet, "member")
    there = client.post(reverse("jail-stop", args=[shop.uuid]))
    nowhere = client.post(reverse("jail-stop", args=["00000000-0000-4000-8000-000000000000"]))
    assert (there.status_code, nowhere.status_code, len(refusals())) == (404, 404, 1)
    assert without_tokens(there) == without_tokens(nowhere)


def without_tokens(response: Any) -> str:
    return re.sub(r"[A-Za-z0-9+/=_-]{40,}", "", response.content.decode())


def test_looking_is_no_entry(fleet: Fleet, shop: Any) -> None:
    client = signed_in(fleet, "member")
    for path in (reverse("jail", args=[shop.uuid]), reverse("host", args=["warden1"]), reverse("tenants")):
        assert client.get(path).status_code == 404
    assert refusals() == []


def test_what_is_sent_to_pages_of_staff_is_noted(fleet: Fleet) -> None:
    assert signed_in(fleet, "owner").post(reverse("tenant-add"), {"name": "Mine", "slug": "mine"}).status_code == 404
    (entry,) = refusals()
    assert (entry.action, entry.actor, entry.tenant) == ("tenant.add", "owner-person", "")


def test_hidden_jails_among_ones_own_are_noted_and_nothing_is_planned(fleet: Fleet, shop: Any) -> None:
    jails = [str(shop.uuid), str(fleet.jails["www1"].uuid), str(fleet.jails["loghost"].uuid)]
    response = signed_in(fleet, "member").post(reverse("jails-bulk"), {"do": "stop", "jails": jails})
    assert response.status_code == 404 and not Operation.objects.exists()
    assert sorted((entry.action, entry.object_name, entry.tenant) for entry in refusals()) == [
        ("jail.power", "loghost", ""),
        ("jail.power", "shop", ""),
    ]


def test_what_is_seen_and_not_allowed_is_in_the_log_of_its_tenant(fleet: Fleet) -> None:
    assert signed_in(fleet, "viewer").post(reverse("jail-stop", args=[fleet.jails["www1"].uuid])).status_code == 404
    assert signed_in(fleet, "auditor").post(reverse("host-forget", args=["warden2"])).status_code == 403
    assert [(entry.actor, entry.action, entry.tenant) for entry in refusals()] == [
        ("viewer-person", "jail.power", "acme"),
        ("auditor-person", "host.forget", ""),
    ]
    assert Host.objects.filter(name="warden2").exists()


@pytest.mark.parametrize("uuid", ["0", "%00", "x" * 36])
def test_what_cannot_be_a_thing_is_no_entry(uuid: str, fleet: Fleet) -> None:
    assert signed_in(fleet, "member").post(f"/jails/{uuid}/stop").status_code == 404
    for path in ("/hosts/a%00b/forget", f"/approvals/{10**30}/withdraw", f"/break-glass/{2**63}/end"):
        assert signed_in(fleet, "administrator").post(path).status_code == 404
    assert refusals() == []


# Taken out


@pytest.mark.parametrize(("role", "tenant"), [("administrator", ""), ("owner", "acme")])
def test_a_list_of_jails_that_is_taken_out_is_an_entry(role: str, tenant: str, fleet: Fleet) -> None:
    response = signed_in(fleet, role).get(reverse("jails"), {"export": "csv", "state": "running", "q": ""})
    assert b"www1" in b"".join(response.streaming_content)
    entry = AuditEntry.objects.get(action="jail.export")
    assert (entry.actor, entry.tenant) == (f"{role}-person", tenant)
    assert entry.after == {"export": "csv", "state": "running"}


def test_the_fleet_that_is_taken_out_is_an_entry(fleet: Fleet) -> None:
    out = StringIO()
    call_command("fleet", "export", stdout=out)
    assert "warden1" in out.getvalue()
    assert AuditEntry.objects.get(action="fleet.export").actor == "command line"
