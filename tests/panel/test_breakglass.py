"""The form of who breaks the glass, and what the tenant and the auditors read of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from jails import audit, breakglass
from jails.models import AuditEntry, BreakGlass, Console, User
from tests.panel.fleet import Fleet, add_jail, signed_in

pytestmark = pytest.mark.django_db
REASON = "Its mail queue fills the disk of the host."


def read(fleet: Fleet, role: str, path: str) -> str:
    response = signed_in(fleet, role).get(path)
    assert response.status_code == 200
    return response.content.decode()


def entered(fleet: Fleet, name: str = "www1", **fields: Any) -> BreakGlass:
    return breakglass.enter(
        fleet.jails[name], fields.pop("reason", REASON), timedelta(hours=1), user=fleet.people["administrator"]
    )


def url(fleet: Fleet, name: str = "www1", more: str = "") -> str:
    return f"/jails/{fleet.jails[name].uuid}/{more}"


def test_an_administrator_breaks_the_glass_and_all_are_told(fleet: Fleet) -> None:
    client = signed_in(fleet, "administrator")
    assert "Break the glass" in client.get(url(fleet)).content.decode()
    response = client.post(url(fleet, more="break-glass"), {"reason": REASON, "hours": "2"}, follow=True)
    assert "Acme is told that you may enter www1" in response.content.decode()
    row = BreakGlass.objects.get()
    assert row.expires_at - row.opened_at == timedelta(hours=2)
    for role in ("owner", "member", "viewer"):
        for path in ("/", url(fleet)):
            text = read(fleet, role, path)
            assert "is in www1 by break-glass" in text and REASON in text
            assert ("We have read this" in text) == (role == "owner")
    assert "End it now" in read(fleet, "administrator", url(fleet))
    assert "by break-glass" in read(fleet, "auditor", url(fleet))
    for role, path in (("stranger", "/"), ("operator", url(fleet)), ("owner", url(fleet, "www2"))):
        assert "break-glass" not in read(fleet, role, path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"reason": "", "hours": "1"}, "Say why: the tenant reads it."),
        ({"reason": "disk       full", "hours": "1"}, "at least 15 characters"),
        ({"reason": "x" * 501, "hours": "1"}, "At most 500 characters; these are 501."),
        ({"reason": REASON, "hours": "9"}, "9 is not one of the available choices"),
        ({"reason": REASON}, "This field is required"),
        ({"reason": REASON + "\x1b[2J", "hours": "1"}, "control"),
    ],
)
def test_what_is_wrong_is_said_at_the_field(data: dict[str, str], words: str, fleet: Fleet) -> None:
    response = signed_in(fleet, "administrator").post(url(fleet, more="break-glass"), data)
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not BreakGlass.objects.exists()


def test_who_is_in_already_is_told_so(fleet: Fleet) -> None:
    entered(fleet)
    client = signed_in(fleet, "administrator")
    assert "You have broken it already" in client.get(url(fleet, more="break-glass")).content.decode()
    response = client.post(url(fleet, more="break-glass"), {"reason": REASON, "hours": "1"})
    assert response.status_code == 422 and BreakGlass.objects.count() == 1


def test_an_owner_reads_it_and_it_is_gone_once_it_has_ended(fleet: Fleet) -> None:
    row = entered(fleet)
    owner = signed_in(fleet, "owner")
    text = owner.post(f"/break-glass/{row.pk}/acknowledge", follow=True).content.decode()
    assert "owner-person" in text and "We have read this" not in text
    assert "is in www1" in read(fleet, "owner", "/"), "it is still open"
    signed_in(fleet, "administrator").post(f"/break-glass/{row.pk}/end")
    assert "was in www1" not in read(fleet, "owner", "/")
    assert "www1" in read(fleet, "owner", "/break-glass/")


def test_what_nobody_has_read_stays(fleet: Fleet) -> None:
    row = entered(fleet)
    breakglass.end(row, user=fleet.people["administrator"])
    assert "was in www1 by break-glass" in read(fleet, "member", "/")
    assert "An owner of Acme has not read this yet" in read(fleet, "member", url(fleet))


def test_ending_it_twice_says_so(fleet: Fleet) -> None:
    row = entered(fleet)
    client = signed_in(fleet, "administrator")
    client.post(f"/break-glass/{row.pk}/end")
    assert "It has ended already" in client.post(f"/break-glass/{row.pk}/end", follow=True).content.decode()
    assert AuditEntry.objects.filter(action="jail.breakglass_end").count() == 1


def test_the_tenant_reads_what_was_done_and_nothing_of_others(fleet: Fleet) -> None:
    admin = fleet.people["administrator"]
    row = entered(fleet)
    with transaction.atomic():
        audit.record("jail.power", actor=admin, obj=fleet.jails["www1"], source="203.0.113.9", detail="It ran.")
        audit.record("host.change", actor=admin, obj=fleet.ufs)
    text = read(fleet, "viewer", f"/break-glass/{row.pk}/")
    assert "It ran." in text and REASON in text and f"/audit/?object=jail:{fleet.jails['www1'].pk}" in text
    assert "203.0.113.9" not in text and "warden2" not in text


def test_the_list_is_of_ones_own(fleet: Fleet) -> None:
    add_jail(fleet, "shop", tenant=fleet.other)
    assert "No administrator has entered one of your jails" in read(fleet, "owner", "/break-glass/")
    entered(fleet)
    entered(fleet, "shop", reason="The shop sends mail to everybody.")
    own, all_of_them = read(fleet, "owner", "/break-glass/"), read(fleet, "auditor", "/break-glass/")
    assert REASON in own and "shop" not in own and "Globex" not in own
    assert REASON in all_of_them and "The shop sends" in all_of_them and "Globex" in all_of_them


def test_hostile_reasons_are_text(fleet: Fleet) -> None:
    row = entered(fleet, reason="<script>alert(1)</script> {{ 7 }}")
    for path in ("/", url(fleet), f"/break-glass/{row.pk}/", "/break-glass/"):
        text = read(fleet, "owner", path)
        assert "&lt;script&gt;alert(1)" in text and "<script>alert(1)" not in text


@pytest.mark.parametrize("path", ["/", "/break-glass/"])
def test_as_many_queries_for_many_as_for_few(path: str, fleet: Fleet) -> None:
    entered(fleet)
    client = signed_in(fleet, "owner")
    client.get(path)
    counts = []
    for number in (1, 12):
        for one in range(number):
            other = User.objects.create_user(f"admin-{number}-{one}", role="administrator")
            breakglass.enter(fleet.jails["www1"], REASON, timedelta(hours=1), user=other)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_page_that_is_polled_tells_of_it(fleet: Fleet) -> None:
    client = signed_in(fleet, "owner")
    first = client.get("/", headers={"HX-Request": "true"})
    mark = {"HX-Request": "true", "If-None-Match": first.headers["ETag"]}
    assert client.get("/", headers=mark).status_code == 304
    entered(fleet)
    assert client.get("/", headers=mark).status_code == 200


def test_the_tenant_sees_that_an_administrator_is_inside_now(fleet: Fleet) -> None:
    """Their console in this jail while it is open, on the pages of the tenant and of who is in it; no other's."""
    admin, www1 = fleet.people["administrator"], fleet.jails["www1"]
    about: dict[str, Any] = {"tenant": fleet.acme, "login": "root", "jail_name": "x", "host_name": "x"}
    mine = Console.objects.create(user=fleet.people["owner"], username="x", jail=www1, **about)
    entered(fleet)
    assert "A console is open now" not in read(fleet, "owner", url(fleet))
    theirs = Console.objects.create(user=admin, username="x", jail=www1, **about)
    for role, path in (("owner", "/"), ("viewer", url(fleet)), ("owner", url(fleet, more="console"))):
        assert "A console is open now" in read(fleet, role, path)
    assert "A console is open now" in read(fleet, "administrator", url(fleet, more="console"))
    Console.objects.filter(pk=theirs.pk).update(ended_at=mine.opened_at)
    text = read(fleet, "administrator", url(fleet, more="console"))
    assert "is in www1 by break-glass" in text and "A console is open now" not in text
