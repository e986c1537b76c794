from datetime import timedelta

import pytest
from django.utils import timezone

from jails import tasks
from jails.hosts import surveying
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.hosts.simulated_connection import SimulatedConnection
from jails.models import Host, HostSurveyRecord
from jails.operations import queue

from .simulation import Simulation


@pytest.fixture
def host(db, tmp_path):
    simulation = Simulation(tmp_path / "host", "--pool", "zroot=10G")
    return Host.objects.create(name="warden1", kind=Host.Kind.SIMULATED, directory=str(simulation.directory))


@pytest.fixture
def sent(monkeypatch):
    found = []
    monkeypatch.setattr(queue, "_send", lambda task, argument, name, countdown=0: found.append((task.name, name)))
    return found


def connection(host):
    return SimulatedConnection(host.directory)


def test_it_is_kept(host):
    assert surveying.survey_of(host) is None and surveying.is_due(host)
    surveying.survey(host, connection=connection)
    found = surveying.survey_of(host)
    assert found is not None and found.missing == {} and any(one.command == "sshd" for one in found.sockets)
    assert not surveying.is_due(host)


def test_a_host_that_does_not_answer_keeps_its_last_one(host):
    surveying.survey(host, connection=connection)
    before = HostSurveyRecord.objects.get()

    def broken(host):
        raise HostUnavailable(Unavailable.REFUSED, "no")

    surveying.survey(host, connection=broken)
    assert HostSurveyRecord.objects.get().gathered_at == before.gathered_at


def test_a_refresh_asks_for_one_that_is_due(host, sent):
    def surveys():
        found = [one for one in sent if one[0] == "jails.tasks.survey_host"]
        sent.clear()
        return found

    tasks.refresh_host(host.pk)
    assert surveys() == [("jails.tasks.survey_host", "refresh")]
    tasks.survey_host(host.pk)
    sent.clear()
    Host.objects.update(refresh_wanted_at=timezone.now())
    tasks.refresh_host(host.pk)
    assert surveys() == []
    HostSurveyRecord.objects.update(gathered_at=timezone.now() - timedelta(minutes=11))
    Host.objects.update(refresh_wanted_at=timezone.now())
    tasks.refresh_host(host.pk)
    assert surveys() == [("jails.tasks.survey_host", "refresh")]


def test_a_host_that_does_not_answer_is_not_asked_twice(host, sent):
    Host.objects.update(directory="/nonexistent")
    tasks.refresh_host(host.pk)
    assert sent == []


def test_one_survey_serves_all_that_asked_before_it_began(host, sent, monkeypatch):
    begun = []
    real = surveying.survey
    monkeypatch.setattr(surveying, "survey", lambda row: (begun.append(row), real(row)))
    for _ in range(3):
        queue.send_refresh(host)
        queue.send_survey(host)
    for _ in range(3):
        tasks.survey_host(host.pk)
    assert len(begun) == 1
    queue.send_refresh(host)
    tasks.survey_host(host.pk)
    assert len(begun) == 2


def test_an_id_of_no_host_does_nothing(db):
    tasks.survey_host(4711)
