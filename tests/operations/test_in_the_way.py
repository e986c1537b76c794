"""What a plan that starts jails says of the ports it finds taken."""

import pytest
from django.utils import timezone

from jails.freebsd.sockstat import Socket
from jails.hosts import surveying
from jails.hosts.survey import HostSurvey
from jails.models import HostSurveyRecord, Tenant
from jails.operations import in_the_way, lifecycle
from jails.operations.step import plan_from_data


def notes_of(operation):
    return plan_from_data(operation.plan).notes


def surveyed(host, *sockets, **more):
    HostSurveyRecord.objects.update_or_create(
        host=host, defaults={"data": HostSurvey(sockets=sockets, **more).to_data(), "gathered_at": timezone.now()}
    )


def socket(ip, port, jail="", command="sshd"):
    return Socket("root", command, 7, "tcp4", ip, port, jail)


@pytest.mark.parametrize("kind", ["jail_start", "jail_restart"])
def test_of_a_real_survey(warden, kind):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    surveying.survey(warden.row, connection=lambda host: warden.connection)
    operation = warden.draft(kind, jails=[str(www1.uuid)])
    assert "The host's sshd listens on *:22, which covers 192.0.2.11." in notes_of(operation)


def test_the_plan_that_is_confirmed_is_the_same_with_and_without(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    before = warden.draft("jail_start", jails=[str(www1.uuid)])
    surveyed(warden.row, socket("192.0.2.11", 22))
    operation = lifecycle.confirm(before, before.digest, user=warden.user, source="192.0.2.9")
    assert operation.status == "queued"
    assert warden.draft("jail_start", jails=[str(www1.uuid)]).plan["notes"] == ["The host's sshd holds 192.0.2.11:22."]


def test_of_a_jail_that_is_made_and_started(stocked):
    surveyed(stocked.row, socket("192.0.2.10", 22))
    wish = stocked.wish(addresses=stocked.at("192.0.2.10"))
    assert "The host's sshd holds 192.0.2.10:22." in notes_of(stocked.draft("jail_create", **wish | {"start": True}))
    assert "sshd" not in " ".join(notes_of(stocked.draft("jail_create", **wish | {"start": False})))


def test_nothing_is_said_where_nothing_is_known(host):
    assert in_the_way.notes(host, {"www1": ["192.0.2.11"]}) == ()
    surveyed(host, missing={"sockets": "no"})
    assert in_the_way.notes(host, {"www1": ["192.0.2.11"]}) == ()


def test_several_are_named_and_many_are_counted(host):
    surveyed(host, *(socket("*", port) for port in range(20, 24)))
    found = in_the_way.notes(host, {"www1": ["192.0.2.11"], "www2": ["192.0.2.12"]})
    assert found[0] == "www1: The host's sshd listens on *:20, which covers 192.0.2.11."
    assert len(found) == in_the_way.SHOWN + 1 and found[-1] == "2 more such: see the ports of warden1."


def test_a_tenant_is_not_told_which_jail_of_another_it_is(host):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    surveyed(host, socket("192.0.2.11", 80, "secret", "secretd"))
    (hidden,) = in_the_way.notes(host, {"www1": ["192.0.2.11"]}, acme.pk)
    assert hidden == "Somebody else's jail holds 192.0.2.11:80."
    (told,) = in_the_way.notes(host, {"www1": ["192.0.2.11"]}, None)
    assert told == "Jail secret's secretd holds 192.0.2.11:80."
    host.jails.create(name="secret", path="/jail/secret", kind="found", tenant=acme)
    assert in_the_way.notes(host, {"www1": ["192.0.2.11"]}, acme.pk) == (told,)
