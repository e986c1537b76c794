"""The page of a jail's snapshots."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails import policy
from jails.looks import kind as look_kinds
from jails.looks import looking
from jails.models import AuditEntry, Jail, Look, Operation, TenantPlan, User
from jails.operations import kind as kinds
from tests.panel import work
from tests.panel.fleet import Fleet, GiB, MiB
from tests.panel.hostile import HOSTILE
from tests.panel.planned import Planned

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    real, state = kinds.get, Planned.State()
    monkeypatch.setattr(kinds, "get", lambda name: Planned(real(name), state))


def url(jail: Jail) -> str:
    return f"/jails/{jail.uuid}/snapshots"


def words(response: Any) -> str:
    return re.sub(r"(<[^>]+>|\s)+", " ", response.content.decode())


def names(response: Any) -> list[str]:
    return [row["name"] for row in response.context["rows"]]


@pytest.fixture
def www1(fleet: Fleet) -> Jail:
    Jail.objects.filter(name="www1").update(snapshots=3, used_by_snapshots=6 * MiB)
    jail = Jail.objects.get(name="www1")
    work.seen_snapshots(jail, 3)
    return jail


def test_the_newest_first_with_what_each_holds(as_person: Any, www1: Jail) -> None:
    response = as_person("owner").get(url(www1))
    assert names(response) == ["day3", "day2", "day1"]
    text = words(response)
    assert "3 in all, 6.0 MiB that only they hold" in text and "something is made from it" in text
    assert "www1-copy" not in text  # what is made from it may be another tenant's


def test_what_cannot_go_cannot_be_chosen(as_person: Any, www1: Jail) -> None:
    chosen = re.findall(r'name="snapshots" value="([^"]+)"', as_person("owner").get(url(www1)).content.decode())
    assert chosen == ["day3", "day1"]


def test_who_may_only_see_has_no_buttons(as_person: Any, www1: Jail) -> None:
    text = as_person("viewer").get(url(www1)).content.decode()
    assert "day3" in text and 'name="back"' not in text and 'name="take"' not in text


def test_who_took_it_is_told_to_who_may_know_of_the_operation(as_person: Any, fleet: Fleet, www1: Jail) -> None:
    made = work.add_operation(fleet.zfs, fleet.people["member"], "done")
    made.confirmed_by = fleet.people["member"]
    made.tenant = fleet.acme
    made.save()
    work.seen_snapshots(www1, 1, **{"cellblock:operation": str(made.pk), "cellblock:note": "Before <b>the sale</b>"})
    text = as_person("owner").get(url(www1)).content.decode()
    assert "by member-person" in text and "Before &lt;b&gt;the sale&lt;/b&gt;" in text
    Operation.objects.filter(pk=made.pk).update(tenant=None)
    assert "by member-person" not in as_person("owner").get(url(www1)).content.decode()


@pytest.mark.parametrize("mark", ["x", "00000000-0000-0000-0000-000000000000", "%s", *HOSTILE])
def test_marks_that_are_no_operations(as_person: Any, www1: Jail, mark: str) -> None:
    work.seen_snapshots(www1, 1, **{"cellblock:operation": mark, "cellblock:note": mark})
    assert as_person("owner").get(url(www1)).status_code == 200


def test_keeping_one_and_letting_it_go(as_person: Any, fleet: Fleet, www1: Jail) -> None:
    """What is kept has no box to tick, says who keeps it to whoever may know, and has the other button."""
    made = work.add_operation(fleet.zfs, fleet.people["member"], "done")
    made.confirmed_by = fleet.people["member"]
    made.tenant = fleet.acme
    made.save()
    work.seen_snapshots(www1, 3, **{"cellblock:kept": str(made.pk)})
    assert 'name="let_go"' not in as_person("owner").get(url(www1)).content.decode()  # the mark alone keeps nothing
    work.seen_snapshots(www1, 3, held=3, **{"cellblock:kept": str(made.pk)})
    text = as_person("owner").get(url(www1)).content.decode()
    assert "kept by member-person" in text and 'name="let_go" value="day3"' in text
    assert re.findall(r'name="keep" value="([^"]+)"', text) == ["day2", "day1"]
    assert re.findall(r'name="snapshots" value="([^"]+)"', text) == ["day1"]
    assert 'name="let_go"' not in as_person("viewer").get(url(www1)).content.decode()
    for sent, kind in (({"keep": "day1"}, "snapshot_hold"), ({"let_go": "day3"}, "snapshot_release")):
        as_person("owner").post(url(www1), sent)
        done = Operation.objects.get(kind=kind)
        assert done.parameters == {"jail": str(www1.uuid), "snapshot": next(iter(sent.values()))}
    work.seen_snapshots(www1, 3, held=3)
    text = as_person("owner").get(url(www1)).content.decode()
    assert "held on the host" in text and 'name="let_go"' not in text


def test_what_those_who_run_the_host_keep_its_tenant_cannot_let_go(as_person: Any, fleet: Fleet, www1: Jail) -> None:
    def kept_by(role: str) -> None:
        person, wish = fleet.people[role], {"snapshot": "day3"}
        made = work.add_operation(
            fleet.zfs, person, "done", kind="snapshot_hold", jails=[www1], parameters=wish, tenant=fleet.acme
        )
        Operation.objects.filter(pk=made.pk).update(finished_at=timezone.now(), confirmed_by=person)
        work.seen_snapshots(www1, 3, held=3, **{"cellblock:kept": str(made.pk)})

    def let_go(role: str) -> str:
        return as_person(role).post(url(www1), {"let_go": "day3"}, follow=True).content.decode()

    kept_by("owner")
    kept_by("operator")
    text = as_person("owner").get(url(www1)).content.decode()
    assert "for the host" in text and 'name="let_go"' not in text
    assert "operator-person keeps day3 for the host: ask those who run it" in let_go("owner")
    assert not Operation.objects.filter(kind="snapshot_release").exists()
    forged = Operation(kind="snapshot_release", host=fleet.zfs, parameters={"jail": str(www1.uuid), "snapshot": "day3"})
    assert "for the host" in policy.why_not_operation(fleet.people["owner"], forged)
    assert policy.why_not_operation(fleet.people["operator"], forged) == ""
    assert 'name="let_go" value="day3"' in as_person("administrator").get(url(www1)).content.decode()
    let_go("administrator")
    assert Operation.objects.filter(kind="snapshot_release").count() == 1
    kept_by("member")
    assert 'name="let_go" value="day3"' in as_person("owner").get(url(www1)).content.decode()
    kept_by("operator")
    User.objects.filter(pk=fleet.people["operator"].pk).update(is_active=False)
    text = as_person("owner").get(url(www1)).content.decode()
    assert "for the host" in text and 'name="let_go"' not in text, "who has left"
    assert "operator-person keeps day3 for" in policy.why_not_operation(fleet.people["owner"], forged)
    fleet.people["operator"].operated_hosts.clear()
    User.objects.filter(pk=fleet.people["operator"].pk).update(is_active=True)
    assert "operator-person keeps day3 for" in policy.why_not_operation(fleet.people["owner"], forged), "another post"
    Operation.objects.filter(kind="snapshot_hold").update(confirmed_by=None)
    assert "somebody who is gone keeps day3 for" in policy.why_not_operation(fleet.people["owner"], forged)


def test_on_ufs_it_says_what_is_not_possible(as_person: Any, fleet: Fleet) -> None:
    text = as_person("administrator").get(url(fleet.jails["logdb"])).content.decode()
    assert "logdb is on UFS" in text and 'name="take"' not in text


def test_what_the_panel_did_not_make(as_person: Any, fleet: Fleet) -> None:
    assert "was not made by Cellblock" in as_person("administrator").get(url(fleet.jails["legacy"])).content.decode()


def test_none_yet(as_person: Any, fleet: Fleet) -> None:
    text = as_person("owner").get(url(fleet.jails["www1"])).content.decode()
    assert "No snapshot yet" in text and 'name="take"' in text


def test_how_many_the_plan_allows(as_person: Any, fleet: Fleet, www1: Jail) -> None:
    TenantPlan.objects.create(tenant=fleet.acme, snapshots=3)
    assert "3 of 3 in the plan of Acme" in as_person("owner").get(url(www1)).content.decode()
    response = as_person("owner").post(url(www1), {"take": "1", "name": "friday"})
    assert response.status_code == 422
    assert "its plan has no room for more" in response.content.decode()


def test_taking_one_ends_in_a_plan(as_person: Any, www1: Jail) -> None:
    response = as_person("owner").post(url(www1), {"take": "1", "name": "friday", "note": "Why not"})
    made = Operation.objects.get()
    assert response.url == f"/operations/{made.pk}/" and made.kind == "snapshot_create"
    assert made.parameters == {"jail": str(www1.uuid), "name": "friday", "note": "Why not"}


@pytest.mark.parametrize("name", ["cellblock", "a b", "", "a@b", "day1"])
def test_a_name_that_cannot_be_is_said_at_the_field(as_person: Any, www1: Jail, name: str) -> None:
    response = as_person("owner").post(url(www1), {"take": "1", "name": name})
    assert response.status_code == 422 and "name" in response.context["form"].errors
    assert not Operation.objects.exists()


def test_destroying_those_that_are_ticked(as_person: Any, www1: Jail) -> None:
    as_person("owner").post(url(www1), {"snapshots": ["day3", "day1"]})
    made = Operation.objects.get()
    assert (made.kind, made.parameters["snapshots"]) == ("snapshot_destroy", ["day3", "day1"])


@pytest.mark.parametrize("sent", [{}, {"snapshots": "day2"}, {"snapshots": "day9"}, {"back": "day9"}, {"back": "a\0b"}])
def test_what_cannot_be_planned_comes_back_with_the_reason(as_person: Any, www1: Jail, sent: dict[str, str]) -> None:
    response = as_person("owner").post(url(www1), sent, follow=True)
    assert response.redirect_chain == [(url(www1), 302)] and len(response.context["messages"]) == 1
    assert not Operation.objects.exists()


# Sandboxes


def test_a_sandbox_says_when_it_ends_and_who_gets_in_and_gets_more_time(as_person: Any, www1: Jail) -> None:
    Jail.objects.filter(pk=www1.pk).update(kind="sandbox", expires_at=timezone.now() + 2 * HOUR)
    person, page = as_person("owner"), f"/jails/{www1.uuid}/"
    text = words(person.get(page))
    assert "It is destroyed by itself in 1 h" in text and "let nobody in" in text
    assert "those of Acme who may use its console" in text and "Give it 7 days from now" in text
    response = person.post(f"/jails/{www1.uuid}/extend", follow=True)
    assert "www1 now has time until" in words(response) and "in 6 d" in words(response)
    Jail.objects.filter(pk=www1.pk).update(expires_at=timezone.now(), why_not_ended="zroot/x@y is held by somebody")
    assert "Who runs its host sees why." in words(person.get(page)) and "zroot" not in words(person.get(page))
    assert "Give it 7 days" not in words(as_person("viewer").get(page))
    assert "zroot/x@y is held by somebody" in words(as_person("administrator").get(page))


@pytest.mark.parametrize("kind", ["sandbox", "thin"])
def test_what_does_not_end_by_itself_gets_no_more_time(as_person: Any, www1: Jail, kind: str) -> None:
    Jail.objects.filter(pk=www1.pk).update(kind=kind)
    response = as_person("owner").post(f"/jails/{www1.uuid}/extend", follow=True)
    assert "is no sandbox that ends by itself" in words(response) and not AuditEntry.objects.filter(
        action="sandbox.extend"
    )


# As it was at 14:05


def asked(www1: Jail, at: datetime, zone: str = "UTC") -> str:
    return f"{url(www1)}?{urlencode({'at': at.strftime('%Y-%m-%dT%H:%M'), 'zone': zone})}"


@pytest.mark.usefixtures("time_stands")
def test_as_it_was_at_a_moment(as_person: Any, www1: Jail) -> None:
    """Of day1, day2 and day3, an hour apart, the last one from before, and what going back to it costs."""
    day2 = timezone.now() - HOUR - timedelta(seconds=60)
    moment = day2 + timedelta(minutes=25)
    response = as_person("owner").get(asked(www1, moment))
    answer = response.context["answer"]
    assert (answer["name"], answer["newer"]) == ("day2", ["day3"]) and 23 * 60 < answer["off"] <= 25 * 60
    text = words(response)
    assert "day2 was taken" in text and "loses 1 newer snapshot and all that was written since" in text
    assert '<button class="btn btn-primary" name="back" value="day2">' in response.content.decode()
    newest = as_person("owner").get(asked(www1, timezone.now())).context["answer"]
    assert (newest["name"], newest["newer"]) == ("day3", [])


@pytest.mark.usefixtures("time_stands")
def test_the_clock_is_that_of_the_person(as_person: Any, www1: Jail) -> None:
    """In a zone that has no hour twice, of which the form would mean the first."""
    there = zoneinfo.ZoneInfo("America/Phoenix")
    moment = (timezone.now() - timedelta(minutes=90)).astimezone(there)
    answer = as_person("owner").get(asked(www1, moment, "America/Phoenix")).context["answer"]
    assert answer["name"] == "day1" and answer["moment"] == moment.replace(second=0, microsecond=0)


def test_before_the_oldest_there_is_nothing(as_person: Any, www1: Jail) -> None:
    response = as_person("owner").get(asked(www1, timezone.now() - timedelta(days=9)))
    assert "There is no snapshot from before" in words(response) and 'class="btn btn-primary" name="back"' not in (
        response.content.decode()
    )


@pytest.mark.parametrize(
    ("at", "zone", "field"),
    [
        ("", "UTC", "at"),
        ("14:05", "UTC", "at"),
        ("2020-01-01T00:00", "Mars", "zone"),
        ("2020-01-01T00:00", "../../etc/passwd", "zone"),
        ("2020-01-01T00:00", "", "zone"),
        ("0001-01-01T00:00", "Asia/Tokyo", "at"),
        ("9000-01-01T00:00", "UTC", "at"),
    ],
)
def test_moments_that_cannot_be(as_person: Any, www1: Jail, at: str, zone: str, field: str) -> None:
    response = as_person("owner").get(f"{url(www1)}?{urlencode({'at': at, 'zone': zone})}")
    assert set(response.context["moment_form"].errors) == {field} and "answer" not in response.context


def test_who_may_only_see_is_not_told_what_to_put_back(as_person: Any, www1: Jail) -> None:
    response = as_person("viewer").get(asked(www1, timezone.now()))
    assert "answer" not in response.context and 'name="zone"' not in response.content.decode()


def test_two_thousand_of_them(as_person: Any, www1: Jail) -> None:
    work.seen_snapshots(www1, 2000)
    person = as_person("owner")
    with CaptureQueriesContext(
        connection,
    ) as few:
        response = person.get(url(www1))
    assert len(names(response)) == 50 and "1–50 of 2000" in response.content.decode()
    assert len(response.content) < 100_000
    assert names(person.get(f"{url(www1)}?page=40"))[-1] == "day1"
    work.seen_snapshots(www1, 3)
    with CaptureQueriesContext(connection) as fewer:
        person.get(url(www1))
    assert len(few) == len(fewer) < 20


def test_the_jails_page_leads_there(as_person: Any, www1: Jail) -> None:
    text = as_person("owner").get(f"/jails/{www1.uuid}/").content.decode()
    assert url(www1) in text and "3 snapshots" in text


def test_its_size_counts_with_the_quota(as_person: Any, www1: Jail) -> None:
    assert www1.limits["quota"] == 10 * GiB
    assert "out of its quota of 10" in words(as_person("owner").get(url(www1)))


# A sandbox


def sandbox_url(jail: Jail) -> str:
    return f"/jails/{jail.uuid}/sandbox"


def test_the_form_of_a_sandbox_has_a_name_and_the_quota_of_the_jail(as_person: Any, www1: Jail) -> None:
    response = as_person("owner").get(f"{sandbox_url(www1)}?snapshot=day3")
    assert 'value="www1-sandbox"' in response.content.decode() and 'value="10 GiB"' in response.content.decode()


def test_a_sandbox_ends_in_a_plan(as_person: Any, www1: Jail) -> None:
    work.seen_snapshots(www1, 3)
    TenantPlan.objects.create(tenant=www1.tenant)
    sent = {"snapshot": "day3", "name": "www1-try1", "quota": "1 GiB", "start": "on"}
    response = as_person("owner").post(sandbox_url(www1), sent)
    made = Operation.objects.get()
    assert response.url == f"/operations/{made.pk}/"
    assert made.parameters == {
        "jail": str(www1.uuid), "snapshot": "day3", "name": "www1-try1", "quota": GiB, "start": True, "days": 7,
    }  # fmt: skip


def test_a_sandbox_of_a_tenant_keeps_to_its_plan_and_its_names(as_person: Any, www1: Jail) -> None:
    work.seen_snapshots(www1, 3)
    sent = {"snapshot": "day3", "name": "try1", "quota": ""}
    response = as_person("owner").post(sandbox_url(www1), sent)
    assert response.status_code == 422 and "has no plan" in words(response)
    TenantPlan.objects.create(tenant=www1.tenant)
    response = as_person("owner").post(sandbox_url(www1), sent)
    assert response.status_code == 422 and set(response.context["form"].errors) == {"name", "quota"}
    assert not Operation.objects.exists()
    assert as_person("administrator").post(sandbox_url(www1), sent).status_code == 302


@pytest.mark.parametrize("name", ["", "a/b", "www2"])
def test_a_name_of_a_sandbox_that_cannot_be(as_person: Any, www1: Jail, name: str) -> None:
    TenantPlan.objects.create(tenant=www1.tenant)
    response = as_person("owner").post(sandbox_url(www1), {"snapshot": "day3", "name": name})
    assert response.status_code == 422 and "name" in response.context["form"].errors


@pytest.mark.parametrize("snapshot", ["", "day9", "day3\0", "day3@x"])
def test_no_snapshot_to_copy(as_person: Any, www1: Jail, snapshot: str) -> None:
    response = as_person("owner").post(sandbox_url(www1), {"snapshot": snapshot, "name": "try1"})
    assert response.url == url(www1) and not Operation.objects.exists()


# What changed, and files


def answered(jail: Jail, kind: str, parameters: dict[str, Any], result: dict[str, Any]) -> None:
    """As a worker leaves a look."""
    now = timezone.now()
    person = User.objects.get(username="owner-person")
    key = looking.key_of(look_kinds.get(kind), parameters, person)
    values = {
        "asked_by": person,
        "state": Look.State.DONE,
        "result": result,
        "seen_at": now,
        "ended_at": now,
        "expires_at": now + HOUR,
    }
    Look.objects.create(jail=jail, kind=kind, key=key, parameters=parameters, asked_at=now, **values)


def row(name: str, kind: str = "file", *, exact: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "size": 2048, "modified": 1_700_000_000, "exact": exact, **more}


def test_what_changed_is_asked_for_and_shown(as_person: Any, www1: Jail) -> None:
    person, address = as_person("owner"), f"/jails/{www1.uuid}/snapshots/changes?snapshot=day1"
    assert "Asking www1" in person.get(address).content.decode()
    Look.objects.all().delete()
    rows = [
        {"change": change, "kind": kind, "path": path, "to": to, "at": 10**17}
        for change, kind, path, to in (
            ("M", "/", "/srv", ""), ("+", "F", "/srv/<b>", ""), ("R", "F", "/a", "/b"), ("-", "F", "/c", ""),
        )
    ]  # fmt: skip
    answered(www1, "changes", {"snapshot": "day1"}, {"count": 4, "more": False, "rows": rows})
    text = words(person.get(address))
    assert (
        "changed /srv/" in text and "new /srv/&lt;b&gt;" in text and "renamed /a → /b" in text and "4 changes." in text
    )


def test_files_lead_into_folders_and_back_into_the_jail(as_person: Any, www1: Jail) -> None:
    asked = {"snapshot": "day1", "path": "/srv"}
    rows = [row("shop", "directory"), row("a b"), row("l", "link"), row("s", "other"), row("x\ufffd", exact=False)]
    answered(www1, "snapshot_files", asked, {"count": 5, "rows": rows})
    address = f"/jails/{www1.uuid}/snapshots/files"
    text = as_person("owner").get(f"{address}?snapshot=day1&path=/srv").content.decode()
    assert "?snapshot=day1&amp;path=%2Fsrv%2Fshop" in text
    assert re.findall(r'name="replace" value="([^"]+)"', text) == ["/srv/shop", "/srv/a b", "/srv/l"]


@pytest.mark.parametrize("how", ["beside", "replace"])
def test_a_file_comes_back_by_a_plan(as_person: Any, www1: Jail, planned: Any, how: str) -> None:
    sent = {"snapshot": "day1", "path": "/srv", how: "/srv/a b"}
    response = as_person("owner").post(f"/jails/{www1.uuid}/snapshots/files", sent)
    made = Operation.objects.get()
    assert response.url == f"/operations/{made.pk}/" and made.kind == "file_restore"
    first = {"snapshot_first": True} if how == "replace" else {}
    assert made.parameters == {"jail": str(www1.uuid), "snapshot": "day1", "path": "/srv/a b", "how": how} | first


def test_without_the_snapshot_that_is_taken_first(as_person: Any, www1: Jail, planned: Any) -> None:
    person = as_person("owner")
    person.post(f"/jails/{www1.uuid}/snapshots/files", {"snapshot": "day1", "path": "/srv", "replace": "/srv/a"})
    made = Operation.objects.get()
    assert "Plan it without the snapshot" in words(person.get(f"/operations/{made.pk}/"))
    response = person.post(f"/operations/{made.pk}/retry", {"without_snapshot": "1"})
    again = Operation.objects.exclude(pk=made.pk).get()
    assert response.url == f"/operations/{again.pk}/"
    assert again.parameters == made.parameters | {"snapshot_first": False}
    assert "Plan it without the snapshot" not in words(person.get(response.url))
    made.refresh_from_db()
    assert made.status == "discarded"


def test_where_none_can_be_taken_it_is_tried_without(as_person: Any, www1: Jail, planned: Any) -> None:
    """As where the jail has filled its quota: another try would end as the first did."""
    person = as_person("owner")
    person.post(f"/jails/{www1.uuid}/snapshots/files", {"snapshot": "day1", "path": "/srv", "replace": "/srv/a"})
    made = Operation.objects.get()
    failed = {"status": "failed", "error": "Step 1 failed: out of space", "confirmed_at": timezone.now()}
    Operation.objects.update(**failed)
    assert "Try without the snapshot" in words(person.get(f"/operations/{made.pk}/"))
    person.post(f"/operations/{made.pk}/retry", {"without_snapshot": "1"})
    again = Operation.objects.get(retry_of=made)
    assert again.parameters == made.parameters | {"snapshot_first": False}
    Operation.objects.filter(pk=made.pk).update(parameters=again.parameters)
    assert "Try without the snapshot" not in words(person.get(f"/operations/{made.pk}/"))


def test_what_goes_for_the_snapshot_is_chosen_anew_when_it_is_tried_again(
    as_person: Any, www1: Jail, planned: Any
) -> None:
    """What was to go may be gone: the try before has destroyed it, and then failed."""
    person = as_person("owner")
    person.post(f"/jails/{www1.uuid}/snapshots/files", {"snapshot": "day1", "path": "/srv", "replace": "/srv/a"})
    made = Operation.objects.get()
    wish = made.parameters
    for asked, wanted in ((wish | {"instead": ["gone"]}, wish), (wish | {"snapshot_first": False},) * 2):
        Operation.objects.filter(pk=made.pk).update(status="failed", parameters=asked)
        person.post(f"/operations/{made.pk}/retry")
        again = Operation.objects.get(retry_of=made)
        assert again.parameters == wanted
        again.delete()


@pytest.mark.parametrize("path", ["", "/", "/../etc", "/a\nb", "srv"])
def test_a_path_that_cannot_be_comes_back_with_the_reason(as_person: Any, www1: Jail, path: str) -> None:
    sent = {"snapshot": "day1", "path": "/srv", "beside": path}
    response = as_person("owner").post(f"/jails/{www1.uuid}/snapshots/files", sent, follow=True)
    assert response.status_code == 200 and len(response.context["messages"]) == 1
    assert not Operation.objects.exists()


@pytest.mark.parametrize("query", ["", "?snapshot=..", "?snapshot=day1&path=/..", "?snapshot=a/b", "?snapshot=%00"])
def test_what_is_no_snapshot_or_folder(as_person: Any, www1: Jail, query: str) -> None:
    response = as_person("owner").get(f"/jails/{www1.uuid}/snapshots/files{query}")
    assert response.status_code == 200 and not Look.objects.exists()
    assert re.search("has no such snapshot|no such folder", response.content.decode())


# Before a change


def test_a_change_offers_a_snapshot_first(as_person: Any, fleet: Fleet, www1: Jail) -> None:
    box = '<input type="checkbox" name="snapshot"'
    tag = re.search(f"{box}[^>]*>", as_person("administrator").get(f"/jails/{www1.uuid}/change").content.decode())
    assert tag and " checked" in tag[0]
    TenantPlan.objects.create(tenant=fleet.acme, snapshots=3)
    tag = re.search(f"{box}[^>]*>", as_person("administrator").get(f"/jails/{www1.uuid}/change").content.decode())
    assert tag and " checked" not in tag[0]
    on_ufs = fleet.jails["logdb"]
    assert box not in as_person("administrator").get(f"/jails/{on_ufs.uuid}/change").content.decode()
