"""Services of a running jail, changed from inside it."""

import pytest

from jails.models import Jail
from jails.operations.kind import Refused
from tests.operations.warden import expire

pytestmark = pytest.mark.django_db


@pytest.fixture
def www1(warden):
    return warden.make("www1", "192.0.2.11")


def change(warden, jail, do, service="sshd"):
    return warden.do("service_change", jail=str(jail.uuid), service=service, do=do)


def runs(warden, service="sshd", jail="www1"):
    return "is running" in warden.sh('jexec "$1" service "$2" onestatus || true', jail, service)


def starts_with_it(warden, service="sshd"):
    return f'{service}_enable="YES"' in warden.sh("cat /jail/www1/etc/rc.conf || true")


def changed(warden):
    return [" ".join(entry["argv"]) for entry in warden.simulation.log() if entry["argv"][0] == "jexec"]


def test_start_stop_and_restart(warden, www1):
    assert change(warden, www1, "start").status == "done" and runs(warden)
    assert "jexec -l www1 /usr/sbin/service sshd onestart" in changed(warden)
    before = warden.sh("cat /jail/www1/var/run/sshd.pid")
    operation = change(warden, www1, "restart")
    assert operation.status == "done" and [step.status for step in operation.steps.all()] == ["done", "done"]
    assert runs(warden) and warden.sh("cat /jail/www1/var/run/sshd.pid") != before
    assert change(warden, www1, "stop").status == "done" and not runs(warden)


def test_with_the_jail_and_no_more(warden, www1):
    operation = change(warden, www1, "enable")
    assert (operation.status, operation.title) == ("done", "Start sshd with www1") and starts_with_it(warden)
    assert not runs(warden)
    assert change(warden, www1, "disable").status == "done" and not starts_with_it(warden)


def test_what_is_so_already_is_left_alone(warden, www1):
    change(warden, www1, "start")
    operation = change(warden, www1, "start")
    assert operation.status == "done" and [step.status for step in operation.steps.all()] == ["skipped"]
    assert not any("onestart" in words for words in changed(warden))


def test_a_jail_of_its_own_only(warden, www1):
    warden.make("db1", "192.0.2.12")
    change(warden, www1, "start")
    assert runs(warden) and not runs(warden, jail="db1")


def test_one_that_does_not_start_is_said(warden, www1):
    operation = change(warden, www1, "start", "nosuch")
    assert operation.status == "failed" and "nosuch" in operation.error


def test_a_jail_that_does_not_run_is_refused(warden):
    idle = warden.make("idle", start=False)
    with pytest.raises(Refused, match="does not run"):
        warden.draft("service_change", jail=str(idle.uuid), service="sshd", do="start")


@pytest.mark.parametrize("wish", [{"service": "../sshd"}, {"service": ""}, {"do": "reload"}, {"do": None}, {"more": 1}])
def test_what_cannot_be_is_refused(warden, www1, wish):
    with pytest.raises(Refused):
        warden.draft("service_change", **({"jail": str(www1.uuid), "service": "sshd", "do": "start"} | wish))


def test_another_jail_that_has_taken_its_name_is_left_alone(warden, www1):
    operation = warden.confirm("service_change", jail=str(www1.uuid), service="sshd", do="start")

    def swap():
        warden.sh("jail -q -f /etc/jail.conf.d/www1.conf -r www1; jail -c name=www1 path=/jail/other persist")

    warden.sh("cp -Rp /var/db/cellblock/base /jail/other")
    swap()
    assert warden.work(operation) in ("failed", "stale", "refused", "draft")
    assert not runs(warden)


def test_a_worker_that_dies_in_the_middle_of_a_restart(warden, www1):
    change(warden, www1, "start")
    operation = warden.confirm("service_change", jail=str(www1.uuid), service="sshd", do="restart")

    class Death(BaseException):
        pass

    def die():
        raise Death

    with pytest.raises(Death):
        warden.work_with(operation, "onestop", after=die)
    assert not runs(warden)
    expire(operation)
    assert warden.work(operation) == "done" and runs(warden)


def test_a_start_that_fails_after_the_stop_is_tried_again_and_said(warden, www1):
    change(warden, www1, "start")
    operation = warden.confirm("service_change", jail=str(www1.uuid), service="sshd", do="restart")
    warden.fail("onestart")
    assert warden.work(operation) in ("failed", "stuck")
    assert "it resists" in operation.error and Jail.objects.get(pk=www1.pk).state == "running"
