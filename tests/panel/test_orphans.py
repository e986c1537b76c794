"""What nobody owns on a host, and the choice of what to remove."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails.freebsd.ifconfig import Address, Interface
from jails.freebsd.rctl import Rule
from jails.hosts.facts import HostFacts
from jails.hosts.survey import HostSurvey
from jails.hosts.zfs_reader import Dataset
from jails.models import HostFactsRecord, HostSurveyRecord, Operation
from tests.panel.fleet import MiB, add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
PAGE = "/hosts/warden1/orphans"


def seen(host, survey=None, **facts):
    """As the last refresh and survey have it."""
    given = {"jail_root": "/jail", "zfs": True, **facts}
    HostFactsRecord.objects.update_or_create(
        host=host, defaults={"data": HostFacts(**given).to_data(), "gathered_at": timezone.now()}
    )
    if survey is not None:
        HostSurveyRecord.objects.update_or_create(
            host=host, defaults={"data": survey.to_data(), "gathered_at": timezone.now()}
        )


def em0(*ips):
    own = Address("inet", "192.0.2.2", 24)
    return Interface("em0", ("UP",), 1500, addresses=(own, *(Address("inet", ip, 32) for ip in ips)))


@pytest.fixture
def left(fleet):
    old = Dataset("zroot/cellblock/host/old", mountpoint="/jail/old", mounted=True, used=3 * MiB)
    base = Dataset("zroot/cellblock/host/base", mountpoint="/jail/base", mounted=True)
    clone = Dataset("zroot/other", origin="zroot/cellblock/host/base@a")
    survey = HostSurvey(rctl=(Rule("jail", "lost", "maxproc", "deny", 10),))
    seen(fleet.zfs, survey, datasets=(old, base, clone), interfaces=(em0("192.0.2.77"),))


def keys(response):
    return [row["orphan"].key for group in response.context["groups"] for row in group["rows"]]


def test_each_thing_is_named_with_where_it_comes_from_and_what_would_run(as_person, left):
    response = as_person("administrator").get(PAGE)
    assert keys(response) == [
        "dataset:zroot/cellblock/host/base",
        "dataset:zroot/cellblock/host/old",
        "alias:192.0.2.77",
        "rctl:jail:lost:maxproc:deny=10",
    ]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))
    for words in ("zfs destroy zroot/cellblock/host/old", "ifconfig em0 inet 192.0.2.77 -alias", "3.0 MiB"):
        assert words in text
    assert "zroot/other is a clone of it" in text
    assert 'value="dataset:zroot/cellblock/host/old"' in response.text
    assert 'value="dataset:zroot/cellblock/host/base"' not in response.text


def test_an_auditor_looks_and_has_nothing_to_choose(as_person, left):
    response = as_person("auditor").get(PAGE)
    assert "192.0.2.77" in response.text and 'name="orphans"' not in response.text


def test_what_is_chosen_becomes_a_plan(as_person, left, fleet):
    wanted = ["alias:192.0.2.77", "rctl:jail:lost:maxproc:deny=10"]
    response = as_person("administrator").post(PAGE, {"orphans": wanted})
    operation = Operation.objects.get(kind="orphans_remove")
    assert response.headers["Location"] == f"/operations/{operation.pk}/"
    assert operation.parameters == {"orphans": wanted} and operation.host == fleet.zfs
    page = as_person("administrator").get(response.headers["Location"])
    assert "192.0.2.77" in page.text and "rctl -r jail:lost:maxproc:deny=10" in page.text


@pytest.mark.parametrize("chosen", [[], ["dataset:zroot/cellblock/host/base"], ["alias:192.0.2.78"], ["x"]])
def test_what_cannot_be_chosen_is_said_on_the_page(as_person, left, chosen):
    client = as_person("administrator")
    response = client.post(PAGE, {"orphans": chosen}, follow=True)
    assert response.redirect_chain[-1][0] == PAGE and "alert" in response.text
    assert not Operation.objects.filter(kind="orphans_remove").exists()


def test_not_seen_yet(as_person, fleet):
    HostFactsRecord.objects.all().delete()
    assert "Not seen yet" in as_person("administrator").get(PAGE).text


def test_without_a_survey_it_says_what_is_not_known(as_person, fleet):
    seen(fleet.zfs)
    text = as_person("administrator").get(PAGE).text
    assert "has not been surveyed yet" in text and "Nothing is left over" not in text


def test_nothing_is_called_left_over_while_a_file_is_unreadable(as_person, fleet):
    seen(fleet.zfs, HostSurvey(), interfaces=(em0("192.0.2.77"),), files={"/etc/jail.conf.d/x.conf": "x {"})
    response = as_person("administrator").get(PAGE)
    assert "/etc/jail.conf.d/x.conf" in response.text and "192.0.2.77" not in response.text


def test_nothing_is_left_over(as_person, fleet):
    seen(fleet.zfs, HostSurvey())
    assert "Nothing is left over" in as_person("administrator").get(PAGE).text


def test_hostile_names_stay_text_and_have_no_command(as_person, fleet):
    rules = tuple(Rule("jail", text, "maxproc", "deny", 1) for text in HOSTILE)
    seen(fleet.zfs, HostSurvey(rctl=rules))
    response = as_person("administrator").get(PAGE)
    assert response.status_code == 200 and "<script>alert" not in response.text


def test_the_number_of_queries_does_not_grow(as_person, fleet):
    client = as_person("administrator")

    def queries(count):
        seen(fleet.zfs, HostSurvey(), interfaces=(em0(*(f"192.0.2.{n}" for n in range(100, 100 + count))),))
        with CaptureQueriesContext(connection) as found:
            client.get(PAGE)
        return len(found)

    queries(1)
    few = queries(1)
    for number in range(12):
        add_jail(fleet, f"j{number}", ip=f"192.0.2.{200 + number}")
    assert queries(40) == few


def test_tenants_and_operators(as_person, left):
    assert as_person("owner").get(PAGE).status_code == 404
    assert as_person("operator").get(PAGE).status_code == 403
    assert as_person("auditor").post(PAGE, {"orphans": ["alias:192.0.2.77"]}).status_code == 403
