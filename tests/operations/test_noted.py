"""What the log says that an operation changed."""

from __future__ import annotations

import pytest

from jails import audit
from jails.models import AuditEntry, Jail
from jails.operations import kind, noted
from tests.operations.test_jail_change import change

pytestmark = pytest.mark.django_db


def entry(operation) -> AuditEntry:
    return AuditEntry.objects.get(operation=str(operation.pk), source="worker")


def told(operation, row):
    """(before, after) of the jail in the entry."""
    found, key = entry(operation), noted.key_of(row.pk)
    return (found.before or {}).get(key), (found.after or {}).get(key)


def test_the_entry_has_what_differs(warden):
    www1 = warden.make("www1", "192.0.2.11")
    operation = change(warden, www1, hostname="shop.example.org", limits={"quota": 2**30})
    assert told(operation, www1) == (
        {"name": "www1", "hostname": "www1.example.org", "quota": None},
        {"name": "www1", "hostname": "shop.example.org", "quota": 2**30},
    )
    operation = warden.do("jail_restart", jails=[str(www1.uuid)])
    assert told(operation, www1) == (None, {"name": "www1", "restarted": ["www1"]})
    operation = warden.do("jail_stop", jails=[str(www1.uuid)])
    assert told(operation, www1) == ({"name": "www1", "state": "running"}, {"name": "www1", "state": "stopped"})
    operation = warden.do("snapshot_create", jail=str(www1.uuid), name="tried")
    assert told(operation, www1)[1] == {"name": "www1", "snapshot": "tried", "snapshots": 1}
    operation = warden.do("jail_destroy", jail=str(www1.uuid), name="www1")
    assert not Jail.objects.filter(pk=www1.pk).exists()
    before, after = told(operation, www1)
    assert (before["hostname"], before["quota"], after) == ("shop.example.org", 2**30, None)
    assert audit.verify().ok


def test_what_was_made_is_all_new_and_says_nothing_of_the_host(stocked):
    jail = stocked.made(kind="thin", addresses=stocked.at("192.0.2.10"), start=True, boot=True)
    found = AuditEntry.objects.get(action="jail.create", source="worker")
    after = found.after[noted.key_of(jail.pk)]
    assert found.before is None
    assert (after["name"], after["state"], after["addresses"]) == ("www1", "running", ["192.0.2.10"])
    assert (after["release"], after["boot"]) == (jail.release.name, True)
    assert not [word for word in ("zroot", "/jail", stocked.row.name) if word in str(found.after)]


def test_what_was_found_when_it_began_counts_however_often_the_host_is_looked_at(warden):
    www1 = warden.make("www1", "192.0.2.11")
    operation = warden.draft("jail_stop", jails=[str(www1.uuid)])
    operation.was = noted.picture([www1.pk], None)
    Jail.objects.filter(pk=www1.pk).update(state="stopped")
    before, after = noted.told(operation, noted.of(operation))
    assert (before, after) == (
        {noted.key_of(www1.pk): {"name": "www1", "state": "running"}},
        {noted.key_of(www1.pk): {"name": "www1", "state": "stopped"}},
    )


def test_what_its_kind_says_is_with_the_one_jail_and_else_beside():
    class Of:
        was = {"jail:1": {"name": "a", "state": "running"}}

    same = {"jail:1": {"name": "a", "state": "running"}}
    assert noted.told(Of(), same) == (None, None)
    assert noted.told(Of(), same, ({}, {"service sshd": "start"})) == (
        None,
        {"jail:1": {"name": "a", "service sshd": "start"}},
    )
    Of.was = {}
    assert noted.told(Of(), {}, ({"release": "14.2-RELEASE"}, {})) == ({"release": "14.2-RELEASE"}, None)


BY_ITS_JAILS = {
    "jail_create", "jail_start", "jail_stop", "jail_change", "jail_rename", "jail_destroy", "jail_adopt",
    "jail_unadopt", "sandbox_end", "drift_repair", "drift_accept", "keys_change", "sandbox_create",
}  # fmt: skip
"""What these do is in the rows of jails: state, settings, addresses, keys, drift, adoption."""
SAYS_NOTHING = {
    "jail_give": "whose it was is for the two tenants in entries of their own",
}


def test_every_kind_says_what_it_changed_or_why_not():
    for name in kind.KINDS:
        says = type(kind.get(name)).noted is not kind.Kind.noted
        assert says or name in BY_ITS_JAILS or name in SAYS_NOTHING, name
        assert not (says and name in SAYS_NOTHING), name
