"""The list of jails and a jail's page."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jails.models import Jail, JailKey, Operation, User
from panel.views import jails as views
from tests.panel.fleet import GiB, add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
LIST = "/jails/"


def names(response):
    return [row["jail"].name for row in response.context["rows"]]


def columns(response):
    heads = re.search(r'<table class="list jail-list">\s*<thead>(.*?)</thead>', response.text, re.DOTALL)[1]
    found = [re.sub(r"<[^>]+>", "", head).strip() for head in re.findall(r"<th\b.*?</th>", heads, re.DOTALL)]
    return [head for head in found if head != "Chosen"]


def url(jail, action=""):
    return reverse(f"jail-{action}" if action else "jail", args=[jail.uuid])


class TestList:
    def test_all_of_the_fleet_by_name(self, as_person):
        assert names(as_person("administrator").get(LIST)) == ["gone", "legacy", "logdb", "loghost", "www1", "www2"]

    def test_an_operator_sees_those_of_their_hosts(self, as_person):
        assert "logdb" not in names(as_person("operator").get(LIST))

    @pytest.mark.parametrize("role", ["owner", "member", "viewer"])
    def test_a_tenant_sees_its_own_and_no_host(self, as_person, role):
        response = as_person(role).get(LIST)
        assert names(response) == ["www1", "www2"]
        assert "warden2" not in response.text and "loghost" not in response.text and "2 jails" in response.text

    def test_a_stranger_sees_none(self, as_person):
        response = as_person("stranger").get(LIST)
        assert "No jails yet" in response.text and "www1" not in response.text

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("host=warden2", ["logdb"]),
            ("state=stopped", ["logdb", "www2"]),
            ("tenant=acme", ["www1", "www2"]),
            ("tenant=-&host=warden1", ["gone", "legacy", "loghost"]),
            ("kind=found", ["legacy"]),
            ("q=LOG", ["logdb", "loghost"]),
            ("q=192.0.2.11", ["www1"]),
            ("q=legacy.example", ["legacy"]),
            ("tenant=acme&state=running", ["www1"]),
            ("host=nosuch", []),
            ("state=nosuch", []),
            ("kind=%27", []),
            ("q=%00", []),
            ("host=%00", []),
            ("tenant=%00", []),
        ],
    )
    def test_filters(self, as_person, query, found):
        response = as_person("administrator").get(f"{LIST}?{query}")
        assert response.status_code == 200
        assert names(response) == found

    def test_an_address_that_was_only_seen_is_found_too(self, as_person, fleet):
        fleet.zfs.observed_addresses.create(ip="192.0.2.77", interface="em0", jail_name="legacy")
        assert names(as_person("administrator").get(f"{LIST}?q=192.0.2.77")) == ["legacy"]

    def test_a_filter_shows_as_a_chip_that_takes_it_away(self, as_person):
        response = as_person("administrator").get(f"{LIST}?tenant=acme&q=www&page=2")
        assert response.context["chips"] == [
            {"words": "“www”", "url": "?tenant=acme"},
            {"words": "of Acme", "url": "?q=www"},
        ]

    def test_nothing_that_matches_says_so(self, as_person):
        response = as_person("administrator").get(f"{LIST}?q=nosuch")
        assert "No jail matches" in response.text and "“nosuch”" in response.text

    def test_a_tenant_cannot_tell_hosts_or_tenants_apart_by_filters(self, as_person):
        client = as_person("member")
        for query in ("host=warden2", "host=nosuch", "tenant=globex", "tenant=nosuch", "q=logdb"):
            assert names(client.get(f"{LIST}?{query}")) == []

    @pytest.mark.parametrize(
        ("sort", "first"),
        [("name", "gone"), ("-name", "www2"), ("-size", "www1"), ("host", "gone"), ("-host", "logdb"), ("'", "gone")],
    )
    def test_sorting(self, as_person, sort, first):
        assert names(as_person("administrator").get(LIST, {"sort": sort}))[0] == first

    def test_a_column_that_is_sorted_by_turns_round(self, as_person):
        heads = as_person("administrator").get(f"{LIST}?sort=name&q=w").context["heads"]
        assert (heads["name"]["sorted"], heads["name"]["url"]) == ("ascending", "?sort=-name&q=w")
        assert heads["size"]["url"] == "?sort=-size&q=w"

    def test_pages(self, as_person, fleet, monkeypatch):
        monkeypatch.setattr(views, "A_PAGE", 4)
        client = as_person("administrator")
        assert names(client.get(LIST)) == ["gone", "legacy", "logdb", "loghost"]
        first = client.get(f"{LIST}?sort=name")
        assert "1–4 of 6" in first.text and 'rel="prev"' not in first.text
        following = re.search(r'<a href="(\?sort=name&amp;after=[\w-]+)" rel="next">Next', first.text)
        second = client.get(LIST + unescape(following[1]))
        assert names(second) == ["www1", "www2"] and "5–6 of 6" in second.text and 'rel="next"' not in second.text
        assert names(client.get(LIST + second.context["jails"].previous)) == ["gone", "legacy", "logdb", "loghost"]
        assert names(client.get(f"{LIST}?page=x'&after=x'")) == ["gone", "legacy", "logdb", "loghost"]

    def test_what_narrows_or_sorts_begins_at_the_first_page(self, as_person, fleet, monkeypatch):
        monkeypatch.setattr(views, "A_PAGE", 2)
        client = as_person("administrator")
        page = client.get(LIST + client.get(f"{LIST}?q=o").context["jails"].next)
        assert "after=" in page.context["jails"].here
        assert not [one for one in page.context["heads"].values() if "after=" in one["url"]]
        assert page.context["chips"][0]["url"] == "?" and page.context["here"] == "?q=o"

    def test_columns_are_chosen_and_stay_chosen(self, as_person, fleet):
        client = as_person("administrator")
        wanted = {"column": ["host", "size", "nosuch", HOSTILE["markup"]], "filter": "q=www&after=x&sort=size"}
        response = client.post("/jails/columns", wanted)
        assert response.url == "/jails/?q=www&after=x&sort=size"
        assert columns(client.get(LIST)) == ["Name", "State", "Host", "Size"]
        assert fleet.people["administrator"].hidden_columns == {}
        kept = User.objects.get(pk=fleet.people["administrator"].pk).hidden_columns
        assert kept == {"jails": ["hostname", "tenant", "addresses", "from", "since"]}
        assert columns(as_person("auditor").get(LIST))[-1] == "Since"
        client = as_person("administrator")
        assert "192.0.2.11" in client.get(f"{LIST}?export=csv").getvalue().decode()
        client.post("/jails/columns", {"all": "1"})
        assert columns(client.get(LIST)) == [
            "Name", "State", "Hostname", "Host", "Tenant", "Addresses", "From", "Size", "Since",
        ]  # fmt: skip

    def test_a_tenant_chooses_among_its_own(self, as_person, fleet):
        client = as_person("member")
        text = client.get(LIST).text
        assert 'value="size" checked' in text and 'value="host"' not in text
        client.post("/jails/columns", {"column": ["host", "tenant", "size"]})
        assert columns(client.get(LIST)) == ["Name", "State", "Size"]
        client.post("/jails/columns", {})
        assert columns(client.get(LIST)) == ["Name", "State"] and names(client.get(LIST)) == ["www1", "www2"]
        assert client.get(LIST).text.count('<td class="wide only-small">') == 2  # a phone's line has what it had
        assert columns(client.get(f"{LIST}?sort=-size")) == ["Name", "State", "Size"]
        assert columns(client.get(f"{LIST}?sort=host")) == ["Name", "State"]

    @pytest.mark.parametrize("role", ["administrator", "auditor", "operator", "member"])
    @pytest.mark.parametrize("query", ["", "?q=1&state=running&sort=-size"])
    def test_it_costs_at_most_eight_queries_however_many_there_are(self, as_person, fleet, role, query):
        for number in range(60):
            add_jail(fleet, f"n{number}", ip=f"192.0.2.{100 + number}", tenant=fleet.acme if number % 2 else None)
        client = as_person(role)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(LIST + query).status_code == 200
        assert len(queries) <= 8, [query["sql"][:120] for query in queries]

    def test_it_keeps_itself_up_to_date(self, as_person, fleet):
        client = as_person("member")
        first = client.get(f"{LIST}?q=www")
        asked = {"HX-Request": "true", "HX-Target": "jail-list", "If-None-Match": first["ETag"]}
        assert client.get(f"{LIST}?q=www", headers=asked).status_code == 304
        Jail.objects.filter(name="loghost").update(state="stopped")
        assert client.get(f"{LIST}?q=www", headers=asked).status_code == 304
        Jail.objects.filter(name="www1").update(state="stopped")
        part = client.get(f"{LIST}?q=www", headers=asked)
        assert part.status_code == 200 and "<html" not in part.text and 'id="jail-list"' in part.text

    def test_hostile_names_are_only_text(self, as_person, fleet):
        Jail.objects.create(
            host=fleet.zfs, name="<b>'\"&{{ x }}", hostname="</td><script>", kind="found", state="running"
        )
        text = as_person("administrator").get(LIST).text
        assert "<b>'" not in text and "<script>" not in text.replace("<script src", "")


class TestCSV:
    @pytest.mark.parametrize("sort", ["tenant", "-tenant", "size"])
    def test_in_the_order_of_the_pages(self, as_person, sort):
        client = as_person("administrator")
        rows = csv.DictReader(io.StringIO(client.get(f"{LIST}?sort={sort}&export=csv").getvalue().decode()))
        assert [row["name"] for row in rows] == names(client.get(f"{LIST}?sort={sort}"))

    def test_what_the_list_shows_with_exact_numbers(self, as_person):
        response = as_person("administrator").get(f"{LIST}?tenant=acme&export=csv")
        rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert "attachment" in response["Content-Disposition"]
        assert [row["name"] for row in rows] == ["www1", "www2"]
        assert rows[0] | {"since": ""} == {
            "name": "www1",
            "hostname": "www1.example.org",
            "host": "warden1",
            "state": "running",
            "since": "",
            "tenant": "acme",
            "addresses": "192.0.2.11",
            "kind": "thin",
            "from": "14.2-RELEASE",
            "used": str(2 * GiB),
            "snapshots": "0",
            "path": "/jail/www1",
            "dataset": "zroot/cellblock/acme/www1",
        }

    def test_a_tenant_gets_its_own(self, as_person):
        text = as_person("viewer").get(f"{LIST}?export=csv").getvalue().decode()
        assert "www1" in text and "loghost" not in text

    @pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
    def test_no_name_is_a_formula(self, as_person, fleet, name):
        Jail.objects.create(host=fleet.zfs, name=name, kind="found", state="running")
        text = as_person("administrator").get(f"{LIST}?kind=found&export=csv").getvalue().decode()
        found = [row["name"] for row in csv.DictReader(io.StringIO(text, newline=""))]
        assert "'" + name in found


class TestPage:
    def test_what_is_known_of_it(self, as_person, fleet):
        text = as_person("administrator").get(url(fleet.jails["www1"])).text
        for part in (
            "192.0.2.11",
            "www1.example.org",
            "/etc/jail.conf.d/www1.conf",
            "zroot/cellblock/acme/www1",
            "zroot/cellblock/releases/14.2-RELEASE-amd64@cellblock",
            "end of life since 2025-09-30",
            "10.0 GiB",
            "Acme",
        ):
            assert part in text, part

    def test_by_hand_are_the_commands_that_do_the_same(self, as_person, fleet):
        fleet.jails["www2"].boot = False
        fleet.jails["www2"].save()
        client = as_person("administrator")
        assert [command for _, command in client.get(url(fleet.jails["www1"])).context["by_hand"]] == [
            "service jail start www1",
            "service jail stop www1",
            "service jail restart www1",
        ]
        assert client.get(url(fleet.jails["www2"])).context["by_hand"][0] == ("Start", "service jail onestart www2")

    def test_by_hand_nothing_is_offered_for_what_is_not_there(self, as_person, fleet):
        response = as_person("administrator").get(url(fleet.jails["gone"]))
        assert response.context["by_hand"] == []
        assert "By hand" not in response.text
        assert "By hand" in as_person("administrator").get(url(fleet.jails["www1"])).text

    @pytest.mark.parametrize("name", ["a b", "a;reboot", "has.dot", "$(reboot)", "*"])
    def test_by_hand_no_name_reaches_a_shell(self, as_person, fleet, name):
        import shlex

        jail = fleet.jails["legacy"]
        jail.name = name
        jail.save()
        commands = as_person("administrator").get(url(jail)).context["by_hand"]
        assert all(shlex.split(command)[:3] == ["jail", "-f", "/etc/jail.conf"] for _, command in commands)
        assert all(shlex.split(command)[4:] == [name] for _, command in commands)
        assert bool(commands) is (name != "*")

    def test_who_depends_on_it(self, as_person, fleet):
        loghost = fleet.jails["loghost"]
        add_jail(fleet, "copy", kind="thin", origin=f"{loghost.dataset}@cellblock")
        context = as_person("administrator").get(url(loghost)).context
        assert [jail.name for jail in context["clones"]] == ["copy"]
        assert [template.name for template in context["made_templates"]] == ["web"]

    def test_a_prefix_of_a_dataset_is_no_parent(self, as_person, fleet):
        add_jail(fleet, "copy", kind="thin", origin="zroot/cellblock/host/loghost2@cellblock")
        assert as_person("administrator").get(url(fleet.jails["loghost"])).context["clones"] == []

    @pytest.mark.parametrize(
        ("state", "offered"),
        [("running", ["restart", "stop"]), ("stopped", ["start"]), ("missing", []), ("pending", [])],
    )
    def test_buttons_by_state(self, as_person, fleet, state, offered):
        jail = fleet.jails["www1"]
        Jail.objects.filter(pk=jail.pk).update(state=state)
        text = as_person("administrator").get(url(jail)).text
        assert [word for word in ("restart", "start", "stop") if f'action="{url(jail, word)}"' in text] == offered

    @pytest.mark.parametrize(
        ("role", "offered"),
        [
            ("administrator", ["change", "rename", "give", "destroy", "access"]),
            ("operator", ["change", "rename", "destroy", "access"]),
            ("auditor", ["access"]),
            ("owner", ["destroy", "size", "access"]),
            ("member", ["size", "access"]),
            ("viewer", ["access"]),
        ],
    )
    def test_only_what_one_may_do_is_offered(self, as_person, fleet, role, offered):
        jail = fleet.jails["www1"]
        text = as_person(role).get(url(jail)).text
        words = ("change", "rename", "give", "destroy", "size", "access")
        assert [word for word in words if f'href="{url(jail, word)}"' in text] == offered
        may_stop = role in ("administrator", "operator", "owner", "member")
        assert (f'action="{url(jail, "stop")}"' in text) is may_stop

    @pytest.mark.parametrize("role", ["owner", "member", "viewer"])
    def test_a_tenant_sees_nothing_of_the_host(self, as_person, fleet, role):
        text = as_person(role).get(url(fleet.jails["www1"])).text
        for secret in ("/etc/jail.conf.d", "zroot/", "/jail/www1", "service jail", reverse("host", args=["warden1"])):
            assert secret not in text, secret

    @pytest.mark.parametrize(("role", "name"), [("member", "loghost"), ("stranger", "www1"), ("operator", "logdb")])
    def test_others_jails_do_not_exist(self, as_person, fleet, role, name):
        client = as_person(role)
        jail = fleet.jails[name]
        assert client.get(url(jail)).status_code == 404
        for action in ("start", "stop", "restart", "change", "rename", "destroy", "give"):
            assert client.post(url(jail, action)).status_code == 404, action

    def test_one_the_panel_did_not_make(self, as_person, fleet):
        text = as_person("administrator").get(url(fleet.jails["legacy"])).text
        assert "did not make this jail: it found it in /etc/jail.conf." in text.replace("&#x27;", "'")
        assert f'href="{url(fleet.jails["legacy"], "destroy")}"' not in text
        assert f'action="{url(fleet.jails["legacy"], "stop")}"' in text

    def test_one_that_only_jls_knows_can_only_be_stopped(self, as_person, fleet):
        Jail.objects.filter(name="legacy").update(config_path="")
        response = as_person("administrator").get(url(fleet.jails["legacy"]))
        assert "nothing here can start it again" in response.text
        assert f'action="{url(fleet.jails["legacy"], "restart")}"' not in response.text
        assert response.context["by_hand"] == [("Stop", "jail -R legacy")]

    def test_it_keeps_itself_up_to_date(self, as_person, fleet):
        jail, client = fleet.jails["www1"], as_person("member")
        first = client.get(url(jail))
        asked = {"HX-Request": "true", "HX-Target": "jail-live", "If-None-Match": first["ETag"]}
        assert client.get(url(jail), headers=asked).status_code == 304
        values = {"kind": "jail_stop", "title": "Stop www1", "host": fleet.zfs, "tenant": fleet.acme}
        Operation.objects.create(**values, status="running").jails.add(jail)
        part = client.get(url(jail), headers=asked)
        assert "Stop www1" in part.text and "<html" not in part.text and 'id="jail-live"' in part.text
        asked["If-None-Match"] = part["ETag"]
        Jail.objects.filter(pk=jail.pk).update(state="stopped")
        assert f'action="{url(jail, "start")}"' in client.get(url(jail), headers=asked).text

    @pytest.mark.parametrize("role", ["administrator", "member"])
    def test_it_costs_the_same_however_much_there_is(self, as_person, fleet, role):
        client, jail = as_person(role), fleet.jails["www1"]

        def cost():
            with CaptureQueriesContext(connection) as queries:
                assert client.get(url(jail)).status_code == 200
            return len(queries)

        before = cost()
        for number in range(20):
            add_jail(fleet, f"n{number}", tenant=fleet.acme, kind="thin", origin=f"{jail.dataset}@x")
            Operation.objects.create(kind="jail_stop", title="x", host=fleet.zfs, status="done").jails.add(jail)
        assert cost() <= before


class TestPower:
    @pytest.mark.parametrize("action", ["start", "stop", "restart"])
    def test_a_button_ends_in_a_plan(self, as_person, fleet, planned, action):
        response = as_person("member").post(url(fleet.jails["www1"], action))
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert (operation.kind, operation.parameters) == (
            f"jail_{action}",
            {"jails": [str(fleet.jails["www1"].uuid)]},
        )
        assert operation.status == "draft" and operation.tenant == fleet.acme

    def test_what_is_refused_is_said_on_the_jails_page(self, as_person, fleet, planned):
        planned.refuses = {"": "it resists."}
        client = as_person("administrator")
        response = client.post(url(fleet.jails["www1"], "start"), follow=True)
        assert response.redirect_chain == [(url(fleet.jails["www1"]), 302)]
        assert "it resists." in response.text and not Operation.objects.exists()

    @pytest.mark.parametrize("role", ["auditor", "viewer"])
    def test_who_may_only_look_is_refused(self, as_person, fleet, planned, role):
        response = as_person(role).post(url(fleet.jails["www1"], "stop"))
        assert response.status_code == (403 if role == "auditor" else 404)
        assert not Operation.objects.exists()

    @pytest.mark.parametrize("action", ["start", "stop", "restart"])
    def test_get_does_nothing(self, as_person, fleet, action):
        assert as_person("administrator").get(url(fleet.jails["www1"], action)).status_code == 405


class TestBulk:
    def post(self, client, *jails, **data):
        return client.post(reverse("jails-bulk"), {"jails": [str(jail.uuid) for jail in jails], "do": "stop", **data})

    def test_jails_of_one_host_are_one_operation(self, as_person, fleet, planned):
        response = self.post(as_person("administrator"), fleet.jails["www1"], fleet.jails["loghost"])
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert operation.kind == "jail_stop"
        assert {jail.name for jail in operation.jails.all()} == {"loghost", "www1"}

    def test_jails_of_two_hosts_are_two_whose_plans_are_listed(self, as_person, fleet, planned):
        client = as_person("administrator")
        response = self.post(client, fleet.jails["www1"], fleet.jails["logdb"], do="restart")
        page = client.get(response.url)
        assert sorted(Operation.objects.values_list("host_name", "kind")) == [
            ("warden1", "jail_restart"),
            ("warden2", "jail_restart"),
        ]
        assert all(reverse("operation", args=[row.pk]) in page.text for row in Operation.objects.all())

    def test_plans_of_others_are_not_listed(self, as_person, fleet):
        hidden = Operation.objects.create(kind="jail_stop", title="Stop logdb", host=fleet.ufs, host_name="warden2")
        response = as_person("member").get(reverse("jails-bulk"), {"plan": [hidden.pk]})
        assert response.url == "/jails/"

    @pytest.mark.parametrize("plan", ["x", "'", "%00"])
    def test_what_is_no_plan_leads_back(self, as_person, plan):
        assert as_person("administrator").get(f"{reverse('jails-bulk')}?plan={plan}").url == "/jails/"

    def test_all_that_match_the_filter(self, as_person, fleet, planned):
        response = self.post(as_person("administrator"), all="1", filter="tenant=acme", do="start")
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert {jail.name for jail in operation.jails.all()} == {"www1", "www2"}

    def test_all_is_what_one_may_see(self, as_person, fleet, planned):
        self.post(as_person("member"), all="1", filter="", do="stop")
        assert {jail.name for jail in Operation.objects.get().jails.all()} == {"www1", "www2"}

    @pytest.mark.parametrize("role", ["member", "stranger", "viewer"])
    def test_a_foreign_jail_in_the_list_is_not_found(self, as_person, fleet, planned, role):
        response = self.post(as_person(role), fleet.jails["www1"], fleet.jails["loghost"])
        assert response.status_code == 404 and not Operation.objects.exists()

    @pytest.mark.parametrize("role", ["auditor", "viewer"])
    def test_who_may_only_look_is_refused(self, as_person, fleet, planned, role):
        response = self.post(as_person(role), fleet.jails["www1"])
        assert response.status_code == (403 if role == "auditor" else 404)
        assert not Operation.objects.exists()

    @pytest.mark.parametrize("value", ["x", "", "'", "a" * 5000, "00000000-0000-0000-0000-000000000000"])
    def test_what_is_no_jail_is_not_found(self, as_person, planned, value):
        response = as_person("administrator").post(reverse("jails-bulk"), {"jails": [value], "do": "stop"})
        assert response.status_code == 404

    @pytest.mark.parametrize(("data", "words"), [({}, "Choose at least one"), ({"do": "destroy"}, "Choose what to do")])
    def test_nothing_chosen_is_said_on_the_list(self, as_person, planned, data, words):
        client = as_person("administrator")
        response = client.post(reverse("jails-bulk"), {"do": "stop", "filter": "tenant=acme", **data}, follow=True)
        assert response.redirect_chain == [("/jails/?tenant=acme", 302)]
        assert words in response.text

    def test_too_many_at_once_are_refused(self, as_person, fleet, planned, monkeypatch):
        monkeypatch.setattr(views, "BULK_MAX", 2)
        client = as_person("administrator")
        for data in ({"all": "1", "filter": ""}, {"jails": [str(jail.uuid) for jail in fleet.jails.values()]}):
            response = client.post(reverse("jails-bulk"), {"do": "stop", **data}, follow=True)
            assert "At most 2 jails at once" in response.text
        assert not Operation.objects.exists()

    def test_what_one_host_refuses_is_said_and_the_other_is_planned(self, as_person, fleet, planned, monkeypatch):
        from jails.operations import lifecycle
        from jails.operations.kind import Refused

        draft = lifecycle.draft

        def refuse(kind, wish, *, host, **more):
            if host == fleet.ufs:
                raise Refused("logdb runs already.")
            return draft(kind, wish, host=host, **more)

        monkeypatch.setattr(lifecycle, "draft", refuse)
        client = as_person("administrator")
        response = self.post(client, fleet.jails["www2"], fleet.jails["logdb"], do="start")
        assert response.url == reverse("operation", args=[Operation.objects.get().pk])
        assert "warden2: logdb runs already." in client.get(LIST).text


# SSH


def survey_with(host, *sockets):
    from jails.freebsd.sockstat import Socket
    from jails.hosts.survey import HostSurvey
    from jails.models import HostSurveyRecord

    now = datetime.now(UTC)
    rows = tuple(Socket("root", "sshd", 7, proto, ip, port, jail) for proto, ip, port, jail in sockets)
    HostSurveyRecord.objects.create(host=host, data=HostSurvey(sockets=rows).to_data(), gathered_at=now)


def test_how_to_reach_a_jail_by_ssh(as_person, fleet):
    www1 = fleet.jails["www1"]
    path = reverse("jail", args=[www1.uuid])
    assert "no sshd was seen to listen in it" in as_person("owner").get(path).content.decode()
    www1.observed_addresses = ["192.0.2.11", "2001:db8::11"]
    www1.save()
    others = (("tcp4", "192.0.2.10", 22, "loghost"), ("tcp4", "*", 22, ""))
    survey_with(www1.host, ("tcp4", "*", 22, "www1"), ("tcp6", "2001:db8::11", 2222, "www1"), *others)
    context = as_person("owner").get(path).context
    assert context["ssh"] == ["ssh user@192.0.2.11", "ssh -p 2222 user@2001:db8::11"]


def gets_in(person, jail, login="shopkeeper", **more):
    return JailKey.objects.create(
        jail=jail, user=person, login=login, name="laptop", type="ssh-ed25519", body="A", fingerprint=login, **more
    )


def test_who_has_keys_in_a_jail_reads_the_line_with_their_own_login(as_person, fleet):
    www1 = fleet.jails["www1"]
    gets_in(fleet.people["owner"], www1)
    gets_in(fleet.people["owner"], www1, "left", leaving_since=timezone.now())
    gets_in(fleet.people["viewer"], www1, "else")
    Jail.objects.filter(pk=www1.pk).update(observed_addresses=["192.0.2.11"])
    survey_with(www1.host, ("tcp4", "*", 22, "www1"))
    assert as_person("owner").get(reverse("jail", args=[www1.uuid])).context["ssh"] == ["ssh shopkeeper@192.0.2.11"]


def test_a_jail_that_started_after_the_last_look_is_not_said_to_be_without_sshd(as_person, fleet):
    www1 = fleet.jails["www1"]
    survey_with(www1.host)
    Jail.objects.filter(pk=www1.pk).update(state_since=timezone.now() + timedelta(minutes=1))
    client, path = as_person("owner"), reverse("jail", args=[www1.uuid])
    text = client.get(path).text
    assert "no sshd was seen" not in text and "nobody has looked yet since it started whether sshd listens" in text
    gets_in(fleet.people["owner"], www1)
    own = [f"ssh shopkeeper@{address.ip}" for address in www1.addresses.all()]
    assert own and client.get(path).context["ssh"] == own
