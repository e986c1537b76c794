"""Keys on one's profile, and who gets into a jail."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from jails.models import AuditEntry, HostFactsRecord, Jail, JailKey, Membership, Operation, SshKey, User
from tests.freebsd.test_logins import KEYS

pytestmark = pytest.mark.django_db
ONE, TWO, THREE = KEYS


def add(person: User, *wanted: Any) -> list[SshKey]:
    return [
        SshKey.objects.create(user=person, name=key.comment, type=key.type, body=key.body, fingerprint=key.fingerprint)
        for key in wanted
    ]


def put(jail: Jail, person: User, *wanted: Any, login: str = "web", **fields: Any) -> list[JailKey]:
    return [
        JailKey.objects.create(
            jail=jail, login=login, user=person, name=key.comment, type=key.type, body=key.body,
            fingerprint=key.fingerprint, **fields,
        )
        for key in wanted
    ]  # fmt: skip


def said(response: Any) -> str:
    return str(response.content.decode())


def test_a_key_is_added_by_its_own_line(fleet, as_person):
    client = as_person("viewer")
    answer = client.post(reverse("account-keys"), {"text": f" {ONE.line} \n", "name": "my laptop"}, follow=True)
    row = SshKey.objects.get()
    assert (row.user, row.name, row.fingerprint) == (fleet.people["viewer"], "my-laptop", ONE.fingerprint)
    assert ONE.fingerprint in said(answer) and "opens no jail" in said(answer)
    entry = AuditEntry.objects.get(action="user.key_add")
    assert entry.actor == "viewer-person" and entry.after["fingerprint"] == ONE.fingerprint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'command="sh" {ONE.line}', "options in front of it"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nx", "private key"),
        ("", "required"),
        (TWO.line, "You have this key already: key1"),
    ],
)
def test_what_is_no_key_is_refused_and_stays_in_the_form(fleet, as_person, text, words):
    add(fleet.people["member"], TWO)
    answer = as_person("member").post(reverse("account-keys"), {"text": text, "name": "x"})
    assert answer.status_code == 422 and words in said(answer)
    assert SshKey.objects.count() == 1 and not AuditEntry.objects.filter(action="user.key_add").exists()


def test_two_people_may_have_the_same_key_and_learn_nothing_of_it(fleet, as_person):
    add(fleet.people["owner"], ONE)
    assert as_person("member").post(reverse("account-keys"), {"text": ONE.line}).status_code == 302


def test_nobody_touches_anothers_key(fleet, as_person):
    (row,) = add(fleet.people["owner"], ONE)
    for role in ("administrator", "member"):
        assert as_person(role).post(reverse("account-key-remove", args=[row.pk])).status_code == 404
    assert SshKey.objects.filter(pk=row.pk).exists()


def test_removing_a_key_names_what_it_opens(fleet, as_person):
    owner = fleet.people["owner"]
    (row,) = add(owner, ONE)
    put(fleet.jails["www1"], owner, ONE)
    put(fleet.jails["loghost"], owner, ONE)
    page = said(as_person("owner").get(reverse("account-key-remove", args=[row.pk])))
    assert "www1" in page and "loghost" not in page and "1 in jails that you do not see" in page


def test_a_removed_key_that_cannot_be_taken_out_is_listed_until_it_is(fleet, as_person):
    HostFactsRecord.objects.all().delete()  # a host that has never answered: nothing can be planned there
    owner = fleet.people["owner"]
    (row,) = add(owner, ONE)
    put(fleet.jails["www1"], owner, ONE)
    as_person("owner").post(reverse("account-key-remove", args=[row.pk]))
    assert not SshKey.objects.exists()
    left = JailKey.objects.get()
    assert left.leaving_since is not None and left.is_stuck and "not answered" in left.why_not
    page = said(as_person("owner").get(reverse("tenant", args=["acme"])))
    assert "Keys that must leave" in page and "has not answered yet" in page and "Try again" in page
    assert "Try again" not in said(as_person("viewer").get(reverse("tenant", args=["acme"])))
    assert "Keys that must leave" not in said(as_person("stranger").get(reverse("tenant", args=["globex"])))


def test_who_is_disabled_loses_all_keys(fleet, as_person):
    member = fleet.people["member"]
    Membership.objects.filter(user=member).update(rights=["console"])
    put(fleet.jails["www1"], member, ONE)
    as_person("administrator").post(reverse("person-disable", args=[member.pk]))
    assert JailKey.objects.get().leaving_since is not None


def test_a_change_of_rights_that_leaves_the_console_leaves_the_keys(fleet, as_person):
    member = fleet.people["member"]
    Membership.objects.filter(user=member).update(rights=["console"])
    put(fleet.jails["www1"], member, ONE)
    url = reverse("tenant-member", args=["acme", member.memberships.get().pk])
    as_person("owner").post(url, {"role": "member", "rights": ["console", "power"]})
    assert JailKey.objects.get().leaving_since is None
    as_person("owner").post(url, {"role": "viewer"})
    assert JailKey.objects.get().leaving_since is not None


# A jail's page


def test_logins_with_lines_to_copy(fleet, as_person):
    jail = fleet.jails["www1"]
    put(jail, fleet.people["owner"], ONE, TWO)
    put(jail, fleet.people["member"], TWO, login="deploy", leaving_since=timezone.now())
    page = said(as_person("owner").get(reverse("jail-access", args=[jail.uuid])))
    assert "ssh web@192.0.2.11" in page and "ssh deploy@192.0.2.11" in page
    assert page.count(TWO.fingerprint) == 2 and "should be out since" in page
    assert page.count('name="take"') == 2
    assert said(as_person("viewer").get(reverse("jail-access", args=[jail.uuid]))).count('name="take"') == 0


def test_access_with_ones_own_keys_is_a_plan(fleet, as_person, planned):
    owner, jail = fleet.people["owner"], fleet.jails["www1"]
    add(owner, ONE, TWO)
    data = {"login": "web", "keys": [ONE.fingerprint], "sshd": "on"}
    answer = as_person("owner").post(reverse("jail-access", args=[jail.uuid]), data)
    operation = Operation.objects.get()
    assert answer.url == reverse("operation", args=[operation.pk])
    assert operation.parameters == {
        "jail": str(jail.uuid), "login": "web", "person": owner.pk, "keys": [ONE.fingerprint], "sshd": True,
        "snapshot_first": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"login": "root", "keys": [ONE.fingerprint]}, "account of the system"),
        ({"login": "a b", "keys": [ONE.fingerprint]}, "contains"),
        ({"login": "web", "keys": [THREE.fingerprint]}, "is not one of the available choices"),
        ({"login": "web"}, "required"),
    ],
)
def test_forms_that_are_wrong(fleet, as_person, planned, data, words):
    add(fleet.people["owner"], ONE)
    add(fleet.people["member"], THREE)
    answer = as_person("owner").post(reverse("jail-access", args=[fleet.jails["www1"].uuid]), data)
    assert answer.status_code == 422 and words in said(answer)
    assert not Operation.objects.exists()


def test_a_constant_number_of_queries(fleet, as_person, django_assert_max_num_queries):
    jail, people = fleet.jails["www1"], [User.objects.create_user(f"u{number}") for number in range(12)]
    for person in people:
        put(jail, person, ONE, TWO)
    client = as_person("owner")
    client.get(reverse("jail-access", args=[jail.uuid]))
    with django_assert_max_num_queries(24):
        client.get(reverse("jail-access", args=[jail.uuid]))


def test_what_a_former_owners_people_left_is_shown_to_staff_alone(fleet, as_person):
    jail, member = fleet.jails["www1"], fleet.people["member"]
    removal = Operation.objects.create(
        kind="keys_change", host=fleet.zfs, host_name="warden1", tenant=fleet.other, status="failed", parameters={}
    )
    stranger = fleet.people["stranger"]
    put(jail, stranger, ONE, login="theirs", leaving_since=timezone.now(), removal=removal)
    put(jail, member, TWO, login="ours", leaving_since=timezone.now(), why_not="It is being made.")
    for address in (reverse("jail-access", args=[jail.uuid]), reverse("tenant", args=["acme"])):
        shown = said(as_person("owner").get(address))
        assert "stranger-person" not in shown and "theirs" not in shown and "member-person" in shown
        assert "stranger-person" in said(as_person("administrator").get(address))
    data = {"take": stranger.pk, "login": "theirs"}
    assert as_person("owner").post(reverse("jail-access", args=[jail.uuid]), data).status_code == 404


@pytest.mark.parametrize("login", ["\0", "a\0b", "", "x" * 5000])
def test_a_login_that_can_be_none_is_not_found(fleet, as_person, login):
    jail, owner = fleet.jails["www1"], fleet.people["owner"]
    put(jail, owner, ONE)
    answer = as_person("owner").post(reverse("jail-access", args=[jail.uuid]), {"take": owner.pk, "login": login})
    assert answer.status_code == 404
