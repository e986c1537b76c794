"""What every page has around its content: the tree, its folds, the look; and that pages obey a strict policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jails.models import Host
from panel.context import TREE_LIMIT, folds_of
from tests.panel.crowd import LONG, make_crowd
from tests.panel.fleet import add_jail

LIVE = {"HX-Request": "true"}


def tree(response):
    return re.search(r'<nav class="tree".*?</nav>', response.text, re.DOTALL)[0]


def links(response):
    return re.findall(r'<a (?:class="quiet" )?href="([^"]*)"', tree(response))


def current(response):
    return re.findall(r'href="([^"]*)"\s+aria-current="page"', tree(response))


@pytest.mark.django_db
class TestTree:
    def test_an_administrator(self, as_person):
        assert links(as_person("administrator").get("/")) == [
            "/", "/hosts/", "/hosts/warden1/", "/hosts/warden2/", "/jails/", "/releases/", "/templates/", "/networks/",
            "/tenants/", "/people/", "/operations/", "/approvals/", "/audit/",
        ]  # fmt: skip

    def test_an_operator(self, as_person):
        shown = links(as_person("operator").get("/"))
        assert "/hosts/warden1/" in shown
        assert not {"/hosts/warden2/", "/tenants/", "/people/", "/audit/"} & set(shown)

    def test_a_tenant_has_jails_team_and_log(self, fleet, as_person):
        jails = [f"/jails/{fleet.jails[name].uuid}/" for name in ("www1", "www2")]
        assert links(as_person("member").get("/")) == [
            "/",
            *jails,
            "/operations/",
            "/approvals/",
            "/tenants/acme/",
            "/audit/",
        ]

    @pytest.mark.parametrize(
        ("page", "marked"),
        [
            ("/", "/"),
            ("/hosts/", "/hosts/"),
            ("/hosts/add", "/hosts/"),
            ("/hosts/warden1/", "/hosts/warden1/"),
            ("/hosts/warden1/change", "/hosts/warden1/"),
            ("/networks/add", "/networks/"),
            ("/operations/", "/operations/"),
        ],
    )
    def test_where_one_is(self, as_person, page, marked):
        assert current(as_person("administrator").get(page)) == [marked]

    def test_a_jail_is_marked_below_its_host(self, fleet, as_person):
        page = f"/jails/{fleet.jails['loghost'].uuid}/"
        assert current(as_person("administrator").get(page)) == [page]
        mine = f"/jails/{fleet.jails['www1'].uuid}/"
        assert current(as_person("member").get(mine)) == [mine]

    def test_the_host_of_the_page_is_unfolded(self, fleet, as_person):
        jail = f"/jails/{fleet.jails['loghost'].uuid}/"
        assert jail in links(as_person("administrator").get("/hosts/warden1/"))
        assert jail not in links(as_person("administrator").get("/hosts/warden2/"))

    def test_it_remembers_what_was_unfolded_and_folded(self, fleet, as_person):
        client, jail = as_person("administrator"), f"/jails/{fleet.jails['logdb'].uuid}/"
        client.cookies["tree"] = f"+{fleet.ufs.pk}"
        assert jail in links(client.get("/"))
        client.cookies["tree"] = f"-{fleet.ufs.pk}"
        assert jail not in links(client.get("/hosts/warden2/"))

    def test_the_list_of_hosts_folds_too(self, fleet, as_person):
        client = as_person("administrator")
        assert '<ul id="tree-hosts">' in tree(client.get("/"))
        client.cookies["tree"] = "-0"
        assert '<ul id="tree-hosts" hidden>' in tree(client.get("/"))

    def test_a_cookie_opens_no_host_of_others(self, fleet, as_person):
        client = as_person("operator")
        client.cookies["tree"] = f"+{fleet.ufs.pk}"
        assert "logdb" not in client.get("/").text

    def test_of_many_jails_and_hosts_the_first_and_a_way_to_all(self, fleet, as_person):
        for number in range(TREE_LIMIT + 5):
            add_jail(fleet, f"a{number}")
            Host.objects.create(name=f"a{number}", kind="local")
        response = as_person("administrator").get("/hosts/warden1/")
        shown = links(response)
        assert sum(link.startswith("/jails/") and link.endswith("/") for link in shown) == TREE_LIMIT + 1
        assert "/jails/?host=warden1" in shown
        # The host of the page is there although it is not among the first.
        assert sum(bool(re.fullmatch(r"/hosts/\w+/", link)) for link in shown) == TREE_LIMIT + 1
        assert "/hosts/warden1/" in shown and f"all {TREE_LIMIT + 7} hosts" in tree(response)

    def test_what_waits_for_hosts_as_many_queries_whatever_is_unfolded(self, fleet, as_person):
        client = as_person("administrator")
        make_crowd(fleet.people["administrator"])

        def counted():
            with CaptureQueriesContext(connection) as queries:
                client.get("/hosts/warden1/")
            return len(queries)

        counted()  # what is asked for once a process is known now
        few = counted()
        client.cookies["tree"] = ".".join(f"+{pk}" for pk in Host.objects.values_list("pk", flat=True))
        assert counted() == few
        assert LONG in tree(client.get("/"))


@pytest.mark.parametrize(
    ("cookie", "opened", "closed"),
    [
        ("", set(), set()),
        ("+3.-5.-0", {3}, {5, 0}),
        ("+3.x.-", {3}, set()),
        ("+" + "9" * 30, set(), set()),
        ("+٣", set(), set()),
        ("3.4", set(), set()),
        (".".join(["+1"] * 9000), {1}, set()),
    ],
)
def test_what_the_cookie_of_the_tree_says(cookie, opened, closed):
    assert folds_of(cookie) == (opened, closed)


@pytest.mark.django_db
class TestLook:
    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_a_chosen_look_is_there_without_javascript(self, as_person, theme):
        client = as_person("administrator")
        client.cookies["theme"] = theme
        assert f'data-bs-theme="{theme}"' in client.get("/").text

    def test_a_made_up_look_is_none(self, as_person):
        client = as_person("administrator")
        client.cookies["theme"] = 'x" onload="y'
        text = client.get("/").text
        assert "data-bs-theme" not in text and 'onload="y' not in text

    def test_the_policy_of_every_page(self, as_person):
        policy = as_person("administrator").get("/").headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy


TEMPLATES = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_script_or_style_of_its_own(path):
    text = path.read_text()
    assert not re.findall(r"\sstyle\s*=", text), "a style attribute"
    assert not re.findall(r"<style\b", text), "a style element"
    # JSON is data to browsers, which run none of it.
    assert not re.findall(r'<script\b(?![^>]*\bsrc=|[^>]*\stype="application/json">)', text), "a script without src"
    assert not re.findall(r"<[^>]*\son[a-z]+\s*=", text), "an event handler"
    assert not re.findall(r"javascript:", text, re.IGNORECASE), "a javascript: address"
    assert not re.findall(r"hx-(?:on|vals=.js:|vars)", text), "something htmx would evaluate"
    assert not re.findall(r"hx-trigger=\"[^\"]*\[", text), "a filter that htmx would evaluate"


def test_templates_are_found():
    assert len(TEMPLATES) > 40


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_what_keeps_itself_up_to_date_has_an_id(path):
    for tag in re.findall(r"<[a-z]+[^<]*\bdata-live=[^<]*", path.read_text()):
        assert re.match(r"<[a-z]+[^<]*?\bid=\"", tag), tag
