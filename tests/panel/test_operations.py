"""An operation's page while it runs and ever after, the list, and the tray."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jails.models import Host, Jail, Operation, OperationStep, Release
from jails.operations.step import BootList, Plan, Step, Undo
from tests.panel import work
from tests.panel.crowd import make_crowd

pytestmark = pytest.mark.django_db
LIST, TRAY = "/operations/", "/tray"
LIVE = {"HX-Request": "true"}


@pytest.fixture
def person(fleet):
    return fleet.people["administrator"]


def url(operation, action=""):
    return f"/operations/{operation.pk}/{action}"


def visible_text(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.text))


def step_html(response, number):
    found = re.search(rf'<li class="step[^"]*" id="step-{number}".*?</li>', response.text, re.DOTALL)
    return found[0]


class TestPage:
    def test_running_the_step_is_open_with_what_it_says(self, fleet, person, as_person):
        response = as_person("administrator").get(url(work.running(fleet.zfs, person)))
        assert "1 of 5 steps" in visible_text(response)
        current = step_html(response, 2)
        assert "data-current-step" in current and '<details id="step-2-details" open>' in current
        assert "cloning" in current
        assert "open" not in step_html(response, 3).partition("<summary")[0]

    def test_progress_in_bytes_of_the_total_with_the_rate(self, fleet, person, as_person):
        operation = work.running(fleet.zfs, person, age=timedelta(seconds=10))
        response = as_person("administrator").get(url(operation))
        current = step_html(response, 2)
        assert '<progress value="52428800" max="209715200"' in current
        assert re.search(r"50\.0 MiB.* of .*200 MiB.*, .*\d\.\d MiB.*/s", current, re.DOTALL)

    def test_it_asks_for_news_while_it_is_open_and_no_longer(self, fleet, person, as_person):
        client = as_person("administrator")
        assert "data-every=" in client.get(url(work.running(fleet.zfs, person))).text.partition('id="steps"')[0]
        assert "data-every=" not in client.get(url(work.done(fleet.zfs, person))).text.partition('id="steps"')[0]

    def test_without_javascript_a_link_reloads(self, fleet, person, as_person):
        operation = work.running(fleet.zfs, person)
        text = as_person("administrator").get(url(operation)).text
        assert re.search(rf'<noscript>.*<a class="btn" href="{url(operation)}">Reload', text)

    def test_waiting_says_for_what(self, fleet, person, as_person):
        queued = work.add_operation(fleet.zfs, person, "queued", waiting_for="another operation on www1")
        assert "waits for another operation on www1" in visible_text(as_person("administrator").get(url(queued)))

    def test_failed_opens_at_the_step_and_says_what_was_undone(self, fleet, person, as_person):
        response = as_person("administrator").get(url(work.failed(fleet.zfs, person)))
        text = visible_text(response)
        assert "Everything it had made was removed." in text and "Try again" in text
        assert '<a href="#step-3">See step 3</a>' in response.text
        failed = step_html(response, 3)
        assert "data-failed-step" in failed and '<details id="step-3-details" open>' in failed
        assert "cannot create: File exists" in failed and "Exit status 1" in failed
        assert "not run" in step_html(response, 4)

    def test_the_failed_step_stays_the_failed_one_once_it_is_undone(self, fleet, person, as_person):
        failed = work.failed(fleet.zfs, person)
        failed.steps.filter(index=2).update(status="undone")
        assert "state-red" in step_html(as_person("administrator").get(url(failed)), 3)

    def test_stuck_in_the_middle(self, fleet, person, as_person):
        steps = [{"status": "done"}, {"status": "undoing"}]
        stuck = work.add_operation(fleet.zfs, person, "stuck", steps=steps, error="It is busy.")
        response = as_person("administrator").get(url(stuck))
        assert "could not be undone" in step_html(response, 2) and "data-failed-step" in step_html(response, 2)

    def test_done_leads_to_the_jail_and_the_host(self, fleet, person, as_person):
        done = work.done(fleet.zfs, person, jails=[fleet.jails["loghost"]])
        links = as_person("administrator").get(url(done)).context["results"]
        assert links == [("loghost", f"/jails/{fleet.jails['loghost'].uuid}/"), ("warden1", "/hosts/warden1/")]

    def test_done_leads_to_the_release_or_template(self, fleet, person, as_person):
        wanted = {"release": "14.2-RELEASE", "architecture": "amd64"}
        fetched = work.done(fleet.zfs, person, kind="release_fetch", parameters=wanted)
        made = work.done(fleet.zfs, person, kind="template_create", parameters={"name": "web"})
        client = as_person("administrator")
        assert client.get(url(fetched)).context["results"][0] == ("14.2-RELEASE", f"/releases/{fleet.release.pk}/")
        assert client.get(url(made)).context["results"][0] == ("web", f"/templates/{fleet.template.pk}/")
        assert Release.objects.filter(name="14.2-RELEASE").count() == 2  # the other one is on another host

    def test_done_with_many_jails_leads_to_the_list(self, fleet, person, as_person):
        jails = list(Jail.objects.filter(host=fleet.zfs))
        links = as_person("administrator").get(url(work.done(fleet.zfs, person, jails=jails))).context["results"]
        assert links[0] == ("the jails", "/jails/?host=warden1")

    def test_a_tenant_is_led_to_what_they_may_see(self, fleet, as_person):
        done = work.done(fleet.zfs, fleet.people["member"], jails=[fleet.jails["www1"]])
        assert as_person("member").get(url(done)).context["results"] == [
            ("www1", f"/jails/{fleet.jails['www1'].uuid}/")
        ]

    def test_bulk_has_a_line_a_jail(self, fleet, person, as_person):
        plan = work.bulk_plan(["www1", "www2", "loghost"])
        steps = [{"status": "done"}, {"status": "failed", "error": "www2: in use", "rc": 1}, {"status": "running"}]
        operation = work.add_operation(fleet.zfs, person, "running", plan=plan, steps=steps)
        parts = as_person("administrator").get(url(operation)).context["parts"]
        assert [(part["name"], part["status"], part["error"]) for part in parts] == [
            ("www1", "done", ""),
            ("www2", "failed", "www2: in use"),
            ("loghost", "running", ""),
        ]

    def test_output_and_errors_are_only_text(self, fleet, person, as_person):
        evil = "<script>alert(1)</script>"
        steps = [{"status": "failed", "rc": 1, "output": evil, "error": evil, "command": evil}]
        operation = work.add_operation(fleet.zfs, person, "failed", steps=steps, error=evil, waiting_for=evil)
        assert evil not in as_person("administrator").get(url(operation)).text

    def test_a_tenant_sees_no_others(self, fleet, person, as_person):
        operation = work.running(fleet.zfs, person, jails=[fleet.jails["loghost"]])
        client = as_person("owner")
        assert [client.get(url(operation, action)).status_code for action in ("", "progress")] == [404, 404]

    def test_a_finished_one_that_is_nobodys_any_more(self, fleet, person, as_person):
        done = work.done(fleet.zfs, person)
        Host.objects.get(pk=fleet.zfs.pk).delete()
        Operation.objects.update(requested_by=None)
        text = visible_text(as_person("administrator").get(url(done)))
        assert "asked for by nobody any more" in text and "on warden1" in text


class TestProgress:
    def test_304_until_something_changes(self, fleet, person, as_person):
        client = as_person("administrator")
        operation = work.running(fleet.zfs, person)
        first = client.get(url(operation, "progress"), headers=LIVE)
        assert first.text.lstrip().startswith('<div id="progress"')
        seen = LIVE | {"If-None-Match": first.headers["ETag"]}
        assert client.get(url(operation, "progress"), headers=seen).status_code == 304
        for change in (
            {"output": "more"},
            {"progress": 7},
            {"status": "done"},
            {"error": "it broke"},
            {"command": "x"},
        ):
            OperationStep.objects.filter(operation=operation, index=1).update(**change)
            answer = client.get(url(operation, "progress"), headers=seen)
            assert answer.status_code == 200, change
            seen = LIVE | {"If-None-Match": answer.headers["ETag"]}

    def test_the_page_names_the_mark_of_what_it_shows(self, fleet, person, as_person):
        client = as_person("administrator")
        operation = work.running(fleet.zfs, person)
        mark = re.search(r'data-mark="&quot;([0-9a-f]{32})&quot;"', client.get(url(operation)).text)[1]
        seen = LIVE | {"If-None-Match": f'"{mark}"'}
        assert client.get(url(operation, "progress"), headers=seen).status_code == 304

    def test_once_the_host_has_changed_the_page_is_loaded_anew(self, fleet, person, as_person):
        stale = work.add_operation(fleet.zfs, person, "stale")
        response = as_person("administrator").get(url(stale, "progress"), headers=LIVE)
        assert (response.status_code, response.headers["HX-Refresh"]) == (204, "true")

    def test_no_cache_keeps_it(self, fleet, person, as_person):
        response = as_person("administrator").get(url(work.running(fleet.zfs, person), "progress"), headers=LIVE)
        assert "no-cache" in response.headers["Cache-Control"] and "HX-Request" in response.headers["Vary"]


class TestCancelAndRetry:
    def test_cancel_what_waits(self, fleet, person, as_person):
        queued = work.add_operation(fleet.zfs, person, "queued")
        client = as_person("operator")
        assert ">Cancel</button>" in client.get(url(queued)).text
        client.post(url(queued, "cancel"))
        queued.refresh_from_db()
        assert queued.status == "cancelled"

    def test_cancel_what_runs_stops_after_the_step(self, fleet, person, as_person):
        expires = timezone.now() + timedelta(minutes=1)
        operation = work.running(fleet.zfs, person, lease_expires_at=expires, lease_owner="w")
        client = as_person("operator")
        client.post(url(operation, "cancel"))
        text = client.get(url(operation)).text
        assert "stops after the running step" in text and ">Cancel</button>" not in text

    def test_cancel_what_has_ended_says_so(self, fleet, person, as_person):
        response = as_person("administrator").post(url(work.done(fleet.zfs, person), "cancel"), follow=True)
        assert "It cannot be cancelled: done." in response.text

    def test_what_the_panel_does_of_its_own_accord_was_asked_for_by_it(self, fleet, as_person):
        operation = work.add_operation(fleet.zfs, None, "failed", kind="sandbox_end", error="It is busy.")
        assert "asked for by the panel" in as_person("operator").get(url(operation)).text

    def test_try_again_makes_a_new_plan(self, fleet, person, planned, as_person):
        failed = work.failed(fleet.zfs, person)
        response = as_person("operator").post(url(failed, "retry"))
        again = Operation.objects.get(retry_of=failed)
        assert response.url == url(again) and again.status == "draft"

    def test_refused_again_it_says_why(self, fleet, person, planned, as_person):
        planned.refuses = {"": "the host has no room."}
        response = as_person("operator").post(url(work.failed(fleet.zfs, person), "retry"), follow=True)
        assert "the host has no room." in response.text

    def test_what_needs_attention_is_taken_up_again(self, fleet, person, as_person):
        stuck = work.add_operation(fleet.zfs, person, "stuck", error="It is busy.", sealed="0" * 64)
        client = as_person("operator")
        text = client.get(url(stuck)).text
        assert ">Resume</button>" in text and "Try again" not in text
        assert client.post(url(stuck, "resume")).url == url(stuck)
        stuck.refresh_from_db()
        assert stuck.status == "running"

    @pytest.mark.parametrize("status", ["running", "done", "queued"])
    def test_nothing_to_try_again(self, fleet, person, as_person, status):
        operation = work.add_operation(fleet.zfs, person, status)
        client = as_person("administrator")
        assert "Try again" not in client.get(url(operation)).text
        assert "Only what has failed" in client.post(url(operation, "retry"), follow=True).text

    def test_who_may_only_look_has_no_buttons(self, fleet, person, as_person):
        client = as_person("auditor")
        assert ">Cancel</button>" not in client.get(url(work.running(fleet.zfs, person))).text
        assert "Try again" not in client.get(url(work.failed(fleet.zfs, person))).text


class TestList:
    @pytest.fixture
    def some(self, fleet, person):
        return {
            "done": work.done(fleet.zfs, person),
            "failed": work.failed(fleet.ufs, person),
            "mine": work.done(fleet.zfs, fleet.people["member"], jails=[fleet.jails["www1"]]),
            "draft": work.add_operation(fleet.zfs, person),
        }

    def listed(self, client, query=""):
        return {row.pk for row in client.get(f"{LIST}{query}").context["operations"]}

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", {"done", "failed", "mine"}),
            ("?status=failed", {"failed"}),
            ("?host=warden1", {"done", "mine"}),
            ("?host=warden1&status=failed", set()),
            ("?status=nosuch", {"done", "failed", "mine"}),
            ("?host=%00", {"done", "failed", "mine"}),
        ],
    )
    def test_filters(self, some, as_person, query, found):
        assert self.listed(as_person("administrator"), query) == {some[name].pk for name in found}

    @pytest.mark.parametrize(
        ("role", "found"), [("operator", {"done", "mine"}), ("viewer", {"mine"}), ("stranger", set())]
    )
    def test_everybody_sees_theirs(self, some, as_person, role, found):
        assert self.listed(as_person(role)) == {some[name].pk for name in found}

    def test_pages_keep_the_filter(self, fleet, person, as_person):
        for _ in range(51):
            work.add_operation(fleet.zfs, person, "done")
        text = as_person("administrator").get(f"{LIST}?status=done").text
        (older,) = re.findall(r'<a href="\?status=done&amp;after=([\w-]+)" rel="next">Older</a>', text)
        assert len(self.listed(as_person("administrator"), f"?status=done&after={older}")) == 1

    def test_304_while_nothing_has_changed(self, some, fleet, person, as_person):
        client = as_person("administrator")
        mark = client.get(LIST).headers["ETag"]
        assert client.get(LIST, headers=LIVE | {"If-None-Match": mark}).status_code == 304
        work.done(fleet.zfs, person)
        assert client.get(LIST, headers=LIVE | {"If-None-Match": mark}).status_code == 200


class TestTray:
    def test_quiet_it_is_one_line(self, fleet, as_person):
        assert "No operations yet" in as_person("administrator").get(TRAY).text

    def test_the_last_one(self, fleet, person, as_person):
        work.done(fleet.zfs, person)
        text = visible_text(as_person("administrator").get(TRAY))
        assert "Create www1 on warden1" in text

    def test_what_runs_with_the_step_and_how_many_more(self, fleet, person, as_person):
        work.add_operation(fleet.zfs, person, "queued", age=timedelta(minutes=9))
        work.running(fleet.zfs, person)
        text = visible_text(as_person("administrator").get(TRAY))
        assert re.search(r"Create www1 on warden1 step 2 of 5 and 1 more", text)

    def test_it_brings_the_tree_with_the_asking_page_marked(self, fleet, as_person):
        asker = {"HX-Current-URL": "http://testserver/hosts/warden1/"}
        text = as_person("administrator").get(f"{TRAY}?tree=warden1", headers=LIVE | asker).text
        assert re.search(r'<a href="/hosts/warden1/" aria-current="page">', text)
        assert f"/jails/{fleet.jails['loghost'].uuid}/" in text

    def test_an_address_of_nowhere_marks_nothing(self, fleet, as_person):
        asker = {"HX-Current-URL": "http://testserver/nowhere/at/all"}
        text = as_person("administrator").get(TRAY, headers=LIVE | asker).text
        assert 'id="tree"' in text and "aria-current" not in text

    def test_304_while_nothing_has_changed(self, fleet, person, as_person):
        client = as_person("administrator")
        operation = work.running(fleet.zfs, person)
        seen = LIVE | {"If-None-Match": client.get(TRAY, headers=LIVE).headers["ETag"]}
        assert client.get(TRAY, headers=seen).status_code == 304
        for change in (lambda: operation.save(), lambda: Host.objects.get(name="warden2").save()):
            change()
            answer = client.get(TRAY, headers=seen)
            assert answer.status_code == 200
            seen = LIVE | {"If-None-Match": answer.headers["ETag"]}

    def test_a_tenant_gets_news_of_their_jails_only(self, fleet, person, as_person):
        client = as_person("owner")
        seen = LIVE | {"If-None-Match": client.get(TRAY, headers=LIVE).headers["ETag"]}
        work.done(fleet.zfs, person, jails=[fleet.jails["loghost"]])
        Jail.objects.filter(name="loghost").update(state="stopped", state_since=timezone.now())
        assert client.get(TRAY, headers=seen).status_code == 304
        Jail.objects.filter(name="www1").update(state="stopped", state_since=timezone.now())
        answer = client.get(TRAY, headers=seen)
        assert answer.status_code == 200 and "loghost" not in answer.text

    def test_folding_the_tree_is_news(self, fleet, as_person):
        client = as_person("administrator")
        seen = LIVE | {"If-None-Match": client.get(TRAY, headers=LIVE).headers["ETag"]}
        client.cookies["tree"] = f"+{fleet.zfs.pk}"
        answer = client.get(TRAY, headers=seen)
        assert answer.status_code == 200 and "loghost" in answer.text


class TestQueries:
    def counted(self, client, address):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address, headers=LIVE if address == TRAY else {}).status_code == 200
        return len(queries)

    @pytest.mark.parametrize("role", ["administrator", "owner"])
    @pytest.mark.parametrize("address", [LIST, TRAY])
    def test_as_many_for_few_as_for_many(self, fleet, person, as_person, address, role):
        client = as_person(role)
        work.running(fleet.zfs, person, jails=[fleet.jails["www1"]])
        client.get(address)
        few = self.counted(client, address)
        make_crowd(person, operations=60)
        for _ in range(60):
            work.running(fleet.zfs, person, jails=[fleet.jails["www1"]])
        assert self.counted(client, address) == few <= 12

    def test_an_operation_of_300_steps(self, fleet, person, as_person):
        client = as_person("administrator")
        counts = []
        for number in (3, 300):
            plan = work.bulk_plan([f"jail{step}" for step in range(number)])
            steps = [{"status": "done", "output": "ok\n"}] * (number - 1)
            operation = work.add_operation(fleet.zfs, person, "running", plan=plan, steps=steps)
            counts.append([self.counted(client, url(operation, action)) for action in ("", "progress")])
        assert counts[0] == counts[1]
        assert max(counts[0]) <= 16


class TestWhatATenantIsNotTold:
    """Of the other jails of its host, and of the operations of others."""

    NOW = ('sysrc jail_list="globex-shop www1"', "# starts at boot today: globex-shop")

    def booted(self):
        action = BootList(add=("www1",), now=self.NOW)
        undo = Undo(BootList(destroyed=("www1",), now=self.NOW))
        return Plan(title="Create www1", steps=(Step("boot", "Start www1 when jaw1 boots", action, undo=(undo,)),))

    @pytest.mark.parametrize(("role", "told"), [("owner", False), ("administrator", True), ("operator", True)])
    def test_which_jails_start_at_boot(self, fleet, person, as_person, role, told):
        plan, jails = self.booted(), [fleet.jails["www1"]]
        draft = work.add_operation(fleet.zfs, person, plan=plan, jails=jails)
        begun = {"command": self.NOW[0], "output": "jail_list: globex-shop -> globex-shop www1"}
        rows = [
            work.add_operation(fleet.zfs, person, status, plan=plan, jails=jails, steps=[{"status": status, **begun}])
            for status in ("running", "done")
        ]
        client = as_person(role)
        for address in (*(url(row) for row in (draft, *rows)), url(rows[0], "progress")):
            response = client.get(address)
            assert response.status_code == 200 and "Start www1 when jaw1 boots" in response.text
            assert ("globex-shop" in response.text) == told, address
            assert told or "# www1 starts at boot" in response.text

    @pytest.mark.parametrize(
        "words", ["“Start globex-shop” to finish (jail globex-shop)", "“Start globex-shop” to go first"]
    )
    @pytest.mark.parametrize(("role", "told"), [("owner", False), ("operator", True)])
    def test_whose_operation_it_waits_for(self, fleet, person, as_person, words, role, told):
        operation = work.add_operation(fleet.zfs, person, "queued", jails=[fleet.jails["www1"]], waiting_for=words)
        client = as_person(role)
        for address in (url(operation), url(operation, "progress"), TRAY):
            page = visible_text(client.get(address))
            assert f"waits for {words if told else 'its turn'}" in page, address
        if not told:
            work.add_operation(
                fleet.zfs,
                person,
                "running",
                jails=[fleet.jails["www1"]],
                title="Start globex-shop",
                age=timedelta(hours=1),
            )
            assert words in visible_text(client.get(url(operation))), "one of the same tenant"
