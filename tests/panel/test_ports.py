"""The port map of a host."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails.freebsd.sockstat import Socket
from jails.hosts.survey import HostSurvey
from jails.models import HostSurveyRecord
from tests.panel.fleet import add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
PAGE = "/hosts/warden1/ports"


def socket(ip, port, jail="", command="sshd", proto=""):
    return Socket("root", command, 7, proto or ("tcp6" if ":" in ip else "tcp4"), ip, port, jail)


def surveyed(host, *sockets, **more):
    data = HostSurvey(sockets=sockets, **more).to_data()
    HostSurveyRecord.objects.update_or_create(host=host, defaults={"data": data, "gathered_at": timezone.now()})


def rows(response):
    return [(row["entry"].where, row["entry"].jail, row["level"]) for row in response.context["rows"]]


@pytest.fixture
def www1(fleet):
    """Its address, as the fleet has it."""
    return fleet.jails["www1"].addresses.get().ip


def test_not_looked_at_yet(as_person, fleet):
    response = as_person("administrator").get(PAGE)
    assert "Not looked at yet" in response.text


def test_what_could_not_be_read_is_said(as_person, fleet):
    surveyed(fleet.zfs, missing={"sockets": "sockstat: status 1"})
    response = as_person("administrator").get(PAGE)
    assert "sockstat: status 1" in response.text and "Nobody listens" not in response.text


def test_nobody_listens(as_person, fleet):
    surveyed(fleet.zfs)
    assert "Nobody listens" in as_person("administrator").get(PAGE).text


def test_conflicts_and_near_misses_have_a_word_and_a_reason(as_person, fleet, www1):
    surveyed(fleet.zfs, socket("*", 22), socket(www1, 22, "www1"), socket("*", 25, command="sendmail"))
    response = as_person("administrator").get(PAGE)
    assert rows(response) == [("*:22", "", "conflict"), (f"{www1}:22", "www1", "conflict"), ("*:25", "", "near")]
    text = re.sub(r"<[^>]+>", " ", response.text)
    assert "conflict" in text and "near miss" in text
    assert f"The host&#x27;s sshd wants {www1}:22 too." in text
    assert response.context["conflicts"] == 2 and response.context["near"] == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=nginx", ["192.0.2.9:80"]),
        ("q=:22", ["*:22"]),
        ("q=53/udp", ["127.0.0.1:53"]),
        ("q=WWW1", ["192.0.2.9:80"]),
        ("who=host", ["*:22", "127.0.0.1:53"]),
        ("who=jails", ["192.0.2.9:80"]),
        ("who=x", []),
        ("level=near", ["*:22"]),
        ("level=x", []),
        ("sort=address", ["*:22", "127.0.0.1:53", "192.0.2.9:80"]),
        ("sort=-port", ["192.0.2.9:80", "127.0.0.1:53", "*:22"]),
        ("sort=process", ["127.0.0.1:53", "192.0.2.9:80", "*:22"]),
        ("sort=who", ["*:22", "127.0.0.1:53", "192.0.2.9:80"]),
        ("sort=level", ["*:22", "127.0.0.1:53", "192.0.2.9:80"]),
        ("sort=x&page=x", ["*:22", "127.0.0.1:53", "192.0.2.9:80"]),
        ("q=%00", []),
    ],
)
def test_filters_and_order(as_person, fleet, query, expected):
    local = socket("127.0.0.1", 53, command="local-unbound", proto="udp4")
    surveyed(fleet.zfs, socket("*", 22), local, socket("192.0.2.9", 80, "www1", "nginx"))
    response = as_person("administrator").get(f"{PAGE}?{query}")
    assert [where for where, *_ in rows(response)] == expected


def test_a_jail_is_a_link_and_an_unknown_one_is_not(as_person, fleet):
    surveyed(fleet.zfs, socket("192.0.2.9", 80, "www1"), socket("192.0.2.9", 81, "hidden"))
    text = as_person("administrator").get(PAGE).text
    assert f'<a href="/jails/{fleet.jails["www1"].uuid}/">www1</a>' in text and ">hidden<" in text


def test_hostile_names_stay_text(as_person, fleet):
    surveyed(fleet.zfs, *(socket("192.0.2.9", 80 + n, text, text) for n, text in enumerate(HOSTILE)))
    response = as_person("administrator").get(PAGE)
    assert response.status_code == 200 and "<script>alert" not in response.text


def test_the_number_of_queries_does_not_grow(as_person, fleet):
    client = as_person("administrator")

    def queries():
        surveyed(fleet.zfs, *(socket(f"10.0.0.{n}", 80, f"j{n}") for n in range(fleet.zfs.jails.count())))
        with CaptureQueriesContext(connection) as found:
            client.get(PAGE)
        return len(found)

    queries()
    few = queries()
    for number in range(12):
        add_jail(fleet, f"j{number}", ip=f"192.0.2.{100 + number}")
    assert queries() == few


def test_looking_again_asks_for_both(as_person, fleet, monkeypatch, django_capture_on_commit_callbacks):
    from panel.views import hosts, ports

    asked = []
    monkeypatch.setattr(hosts.queue, "send_refresh", lambda host: asked.append("refresh"))
    monkeypatch.setattr(ports.queue, "send_survey", lambda host: asked.append("survey"))
    with django_capture_on_commit_callbacks(execute=True):
        response = as_person("operator").post("/hosts/warden1/survey", {"next": f"{PAGE}?q=x"})
    assert asked == ["refresh", "survey"] and response.headers["Location"] == f"{PAGE}?q=x"
    response = as_person("operator").post("/hosts/warden1/survey", {"next": "//evil.example.org/"})
    assert response.headers["Location"] == "/hosts/warden1/"


def test_a_survey_is_read_again_when_there_is_a_newer_one(as_person, fleet):
    surveyed(fleet.zfs, socket("*", 22))
    assert len(rows(as_person("administrator").get(PAGE))) == 1
    surveyed(fleet.zfs, socket("*", 22), socket("*", 23))
    HostSurveyRecord.objects.update(gathered_at=timezone.now() + timedelta(seconds=1))
    assert len(rows(as_person("administrator").get(PAGE))) == 2
