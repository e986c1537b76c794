"""What people see of drift, and what the two buttons ask for."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jails.models import AuditEntry, Drift, HostFactsRecord, Operation
from tests.panel.fleet import WHEN, add_jail

pytestmark = pytest.mark.django_db


def drift(jail, parameter, wanted=None, configured=None, running=None, age=0):
    at = WHEN - timedelta(hours=age)
    columns = {"wanted": wanted, "configured": configured, "running": running}
    return Drift.objects.create(jail=jail, parameter=parameter, first_seen_at=at, changed_at=at, **columns)


@pytest.fixture
def www1(fleet):
    www1 = fleet.jails["www1"]
    drift(www1, "host.hostname", ["www1.example.org"], ["x.example.org"], ["www1.example.org"], age=5)
    drift(www1, "allow.raw_sockets", None, None, ["true"])
    drift(www1, "exec.prestart", None, ["/root/secret-hook --all"], None)
    drift(www1, "boot", ["true"], ["false"])
    return www1


def keeps_no_limits(host):
    HostFactsRecord.objects.update_or_create(
        host=host, defaults={"data": {"sysctls": {"kern.racct.enable": "0"}}, "gathered_at": timezone.now()}
    )


def page(jail):
    return reverse("jail-drift", args=[jail.uuid])


def post(client, jail, **data):
    return client.post(page(jail), data)


class TestJailPage:
    def test_staff_see_three_columns_and_two_buttons(self, as_person, www1):
        text = as_person("administrator").get(reverse("jail", args=[www1.uuid])).text
        assert "Not as the panel wants it" in text and "4 differences" in text
        assert text.count("x.example.org") >= 1 and "/root/secret-hook" in text
        assert 'value="repair"' in text and 'value="accept"' in text
        assert "to put right exec.prestart it has to restart" in text

    def test_an_auditor_sees_it_without_buttons(self, as_person, www1):
        for where in (reverse("jail", args=[www1.uuid]), page(www1)):
            text = as_person("auditor").get(where).text
            assert "x.example.org" in text and 'value="repair"' not in text and 'value="accept"' not in text

    def test_its_tenant_reads_words_and_nothing_of_the_host(self, as_person, www1):
        text = as_person("owner").get(reverse("jail", args=[www1.uuid])).text
        assert "the file says x.example.org" in text and "exec.prestart: it was changed on the host." in text
        assert "secret-hook" not in text and 'value="repair"' not in text and page(www1) not in text

    def test_its_tenant_reads_of_limits_in_their_units_and_not_twice(self, as_person, fleet, www1):
        Drift.objects.all().delete()
        www1.limits = {**www1.limits, "memory": 2**29}
        www1.save()
        drift(www1, "rctl.memoryuse", [str(2**29)], [str(2**29)], [])
        client, where = as_person("owner"), reverse("jail", args=[www1.uuid])
        words = "limit of memory: the panel wants 512 MiB, and so says the file, it runs with none."
        assert words in client.get(where).text
        keeps_no_limits(www1.host)
        Drift.objects.update(unheld=True)
        text = client.get(where).text
        assert 'id="drift"' not in text and "limits of memory, CPU and processes are written and do nothing yet" in text
        administrator = as_person("administrator")
        assert "rctl.memoryuse" in administrator.get(page(www1)).text
        assert 'id="drift"' not in administrator.get(where).text

    def test_a_jail_without_drift_says_nothing(self, as_person, fleet, www1):
        text = as_person("administrator").get(reverse("jail", args=[fleet.jails["loghost"].uuid])).text
        assert 'id="drift"' not in text

    def test_it_keeps_itself_up_to_date(self, as_person, www1):
        client, url = as_person("administrator"), reverse("jail", args=[www1.uuid])
        first = client.get(url)
        asked = {"HX-Request": "true", "HX-Target": "jail-live", "If-None-Match": first["ETag"]}
        assert client.get(url, headers=asked).status_code == 304
        Drift.objects.filter(jail=www1, parameter="boot").delete()
        assert "3 differences" in client.get(url, headers=asked).text


class TestComparePage:
    def test_everything_in_words(self, as_person, www1):
        text = as_person("operator").get(page(www1)).text
        assert "host.hostname: the panel wants www1.example.org, the file says x.example.org" in text
        assert "boot: the panel wants it to start when its host boots, and it does not." in text
        assert text.count('type="checkbox"') == 4

    def test_nothing_differs(self, as_person, fleet):
        for name in ("loghost", "legacy"):
            assert "is as the panel wants it" in as_person("administrator").get(page(fleet.jails[name])).text

    def test_what_was_chosen_is_planned(self, as_person, www1, planned):
        response = post(as_person("administrator"), www1, do="repair", parameter=["host.hostname", "boot"])
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert (operation.kind, operation.parameters) == (
            "drift_repair",
            {"jail": str(www1.uuid), "parameters": ["boot", "host.hostname"], "snapshot_first": True},
        )

    def test_all_of_it_as_far_as_there_is_such_a_plan(self, as_person, www1, planned):
        drift(www1, "tree", ["/jail/www1"])
        post(as_person("administrator"), www1, do="accept", all="1")
        assert Operation.objects.get().parameters["parameters"] == ["boot", "exec.prestart", "host.hostname"]
        post(as_person("administrator"), www1, do="repair", all="1")
        names = Operation.objects.get(kind="drift_repair").parameters["parameters"]
        assert names == ["allow.raw_sockets", "boot", "exec.prestart", "host.hostname"]

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"do": "repair"}, "Choose at least one parameter"),
            ({"do": "accept", "parameter": ["allow.raw_sockets"]}, "Nothing of that can be accepted"),
            ({"do": "accept", "parameter": ["nosuch", "\0"]}, "Nothing of that can be accepted"),
            ({"do": "burn", "all": "1"}, "Choose what to do"),
            ({}, "Choose what to do"),
        ],
    )
    def test_what_makes_no_plan(self, as_person, www1, planned, data, words):
        client = as_person("administrator")
        response = client.post(page(www1), data, follow=True)
        assert words in response.text and not Operation.objects.exists()

    def test_only_an_administrator_lets_it_have_more(self, as_person, www1, planned):
        client = as_person("operator")
        assert post(client, www1, do="accept", parameter=["exec.prestart"]).status_code == 403
        assert AuditEntry.objects.filter(outcome="refused").count() == 1
        assert post(client, www1, do="accept", parameter=["host.hostname"]).status_code == 302

    def test_a_plan_leads_back_to_what_was_chosen(self, as_person, www1, planned):
        client = as_person("administrator")
        plan = client.get(post(client, www1, do="repair", parameter=["boot"]).url)
        assert plan.context["change_url"] == f"{page(www1)}?parameter=boot"
        assert client.get(plan.context["change_url"]).text.count(" checked") == 1

    def test_hostile_values_are_only_text(self, as_person, www1):
        drift(www1, 'x"><script>alert(1)</script>', ["<b>"], ["<script>alert(2)</script>"] * 200, ["\u202e"])
        text = as_person("administrator").get(page(www1)).text
        assert "<script>alert" not in text and "&lt;script&gt;alert(2)" in text
        assert as_person("owner").get(reverse("jail", args=[www1.uuid])).status_code == 200


class TestElsewhere:
    def test_the_list_marks_and_finds_them(self, as_person, www1):
        client = as_person("administrator")
        assert client.get(reverse("jails")).text.count('visually-hidden">not as the panel wants it') == 1
        for query, found in (("yes", ["www1"]), ("no", ["gone", "legacy", "logdb", "loghost", "www2"]), ("'", [])):
            response = client.get(reverse("jails"), {"drift": query})
            assert [row["jail"].name for row in response.context["rows"]] == found
        assert response.context["chips"] == [{"words": "'", "url": "?"}]
        assert [row["jail"].name for row in as_person("member").get("/jails/?drift=yes").context["rows"]] == ["www1"]

    def test_the_host_counts_them(self, as_person, fleet, www1):
        text = as_person("administrator").get(fleet.zfs.get_absolute_url()).text
        assert "1 not as the panel wants it" in text and "?host=warden1&amp;drift=yes" in text
        assert "not as the panel wants" not in as_person("administrator").get(fleet.ufs.get_absolute_url()).text

    def test_the_overview_names_a_few_and_counts_many(self, as_person, fleet, www1):
        client = as_person("administrator")
        assert "www1 on warden1 is not as the panel wants it." in client.get("/").text
        for number in range(5):
            drift(add_jail(fleet, f"n{number}"), "boot", ["true"], ["false"])
        with CaptureQueriesContext(connection) as queries:
            text = client.get("/").text
        assert "6 jails on warden1 are not as the panel wants them: n0, n1, n2 and others." in text
        assert len([query for query in queries if "jails_drift" in query["sql"]]) == 1
        assert "/jails/?host=warden1&amp;drift=yes" in text

    def test_a_jail_without_drift_is_nobodys_need(self, as_person, fleet):
        assert "not as the panel wants" not in as_person("administrator").get("/").text
