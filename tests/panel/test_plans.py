"""The plan's page: what one reads before it is confirmed, and confirming it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jails.freebsd.sockstat import Socket
from jails.hosts import ports
from jails.models import AuditEntry, Operation
from jails.operations import lifecycle, queue
from jails.operations.kind import Refused
from jails.operations.step import Plan, Run, Step, to_data
from panel.views import planning
from tests.panel import work

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """The operations for which a message was sent to a worker."""
    found = []
    monkeypatch.setattr(queue, "send", lambda operation, *_: found.append(operation.pk))
    return found


@pytest.fixture
def draft(fleet):
    return work.add_operation(fleet.zfs, fleet.people["administrator"])


def url(operation, action=""):
    return f"/operations/{operation.pk}/{action}"


def visible_text(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.text))


class TestPage:
    def test_numbered_steps_with_purpose_command_and_undo(self, draft, as_person):
        response = as_person("administrator").get(url(draft))
        text = visible_text(response)
        assert "5 steps. Nothing has been done yet." in text
        for words in (
            "1 Make sure there is a dataset for the host&#x27;s own jails only if it is not so already",
            "zfs create -u -p zroot/cellblock/host",
            "2 Clone the release 14.2-RELEASE",
            "Undone by zfs destroy -r zroot/cellblock/host/www1",
            "sysrc jail_list=&quot;loghost www1&quot;",
        ):
            assert words in text

    def test_a_file_with_its_diff(self, draft, as_person):
        text = as_person("administrator").get(url(draft)).text
        assert re.search(r"<code>/etc/jail.conf.d/www1.conf</code>\s*<span class=\"quiet\">new, mode 0644", text)
        assert '<span class="add">+www1 {</span>' in text
        assert "/dev/null" not in text

    def test_above_what_changes_and_what_is_so_for_the_moment(self, draft, as_person):
        text = visible_text(as_person("administrator").get(url(draft)))
        assert "It gets 192.0.2.11 on em0." in text
        assert "If a step fails, the steps before it are undone." in text
        assert "The release is past its end of life." in text
        assert text.index("It gets 192.0.2.11") < text.index("Clone the release")

    def test_above_what_cannot_be_undone_and_what_will_be_gone(self, fleet, as_person):
        destroy = work.add_operation(fleet.zfs, fleet.people["administrator"], plan=work.destroy_plan())
        text = visible_text(as_person("administrator").get(url(destroy)))
        assert "Step 3 cannot be undone: a destroyed dataset cannot be brought back." in text
        assert "If a step fails" not in text
        assert text.index("This will be gone") < text.index("dataset zroot/cellblock/host/www1") < text.index("1 Stop")

    def test_a_secret_is_named_and_not_shown(self, fleet, as_person):
        action = Run((("pw", "usermod", "root", "-h", "0"),), stdin="very-secret", stdin_is_secret=True)
        plan = Plan(title="Set it", steps=(Step(key="one", purpose="Set it", action=action),))
        response = as_person("administrator").get(
            url(work.add_operation(fleet.zfs, fleet.people["administrator"], plan=plan))
        )
        assert "very-secret" not in response.text and "Reads a secret from its input" in response.text

    def test_hostile_text_in_a_plan_is_only_text(self, fleet, as_person):
        evil = "<script>alert(1)</script>"
        step = Step(key="one", purpose=evil, action=Run((("echo", evil),)), irreversible=evil)
        plan = Plan(title=evil, steps=(step,), summary=(evil,), warnings=(evil,), loses=(evil,), notes=(evil,))
        operation = work.add_operation(fleet.zfs, fleet.people["administrator"], plan=plan)
        assert evil not in as_person("administrator").get(url(operation)).text

    def test_run_change_and_discard_for_who_may(self, draft, as_person):
        text = as_person("operator").get(url(draft)).text
        assert "Run this plan" in text and "Discard" in text
        text = as_person("auditor").get(url(draft)).text
        assert "Run this plan" not in text and "You may read this plan, but not run it." in text

    def test_change_leads_back_to_the_form(self, fleet, as_person):
        jail = fleet.jails["loghost"]
        parameters = {"jail": str(jail.uuid), "name": "log2"}
        rename = work.add_operation(
            fleet.zfs, fleet.people["administrator"], kind="jail_rename", jails=[jail], parameters=parameters
        )
        text = as_person("administrator").get(url(rename)).text
        assert re.search(rf'href="/jails/{jail.uuid}/rename[^"]*">Change</a>', text)

    def test_a_tenant_reads_sentences_and_the_commands_on_request(self, fleet, as_person):
        start = work.add_operation(
            fleet.zfs, fleet.people["member"], jails=[fleet.jails["www1"]], kind="jail_start",
            plan=work.bulk_plan(["www1"]), parameters={"jails": [str(fleet.jails["www1"].uuid)]},
        )  # fmt: skip
        text = as_person("member").get(url(start)).text
        assert re.search(
            r"<details class=\"undo\"><summary>Command</summary>\s*<div class=\"command\"><pre>service", text
        )
        assert "Run this plan" in text
        assert as_person("stranger").get(url(start)).status_code == 404

    def test_discarded_it_cannot_be_run(self, fleet, as_person):
        gone = work.add_operation(fleet.zfs, fleet.people["administrator"], "discarded")
        text = as_person("administrator").get(url(gone)).text
        assert "was discarded" in text and "Run this plan" not in text

    def test_the_host_has_changed(self, fleet, as_person):
        stale = work.add_operation(fleet.zfs, fleet.people["administrator"], "stale", error="It boots one more.")
        text = visible_text(as_person("administrator").get(url(stale)))
        assert "The host has changed since you looked." in text and "It boots one more." in text
        assert "Run the new plan" in text and "Nothing has been done yet" not in text


class TestConfirm:
    def test_it_is_queued_bound_to_what_was_seen(self, draft, as_person, sent, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            response = as_person("operator").post(url(draft, "confirm"), {"digest": draft.digest})
        assert (response.status_code, response.url, sent) == (302, url(draft), [draft.pk])
        draft.refresh_from_db()
        assert (draft.status, draft.confirmed_digest, draft.confirmed_by.username) == (
            "queued", draft.digest, "operator-person",
        )  # fmt: skip
        assert AuditEntry.objects.get(action="operation.confirm").plan_digest == draft.digest

    def test_twice_at_once_the_second_gets_a_sentence(self, draft, as_person, sent):
        client = as_person("administrator")
        client.post(url(draft, "confirm"), {"digest": draft.digest})
        response = client.post(url(draft, "confirm"), {"digest": draft.digest})
        assert response.status_code == 409
        assert "It was waiting already" in response.text
        assert AuditEntry.objects.filter(action="operation.confirm", outcome="done").count() == 1

    @pytest.mark.parametrize("digest", ["", "0" * 64, "x"])
    def test_another_digest_keeps_the_page_with_the_reason(self, draft, as_person, sent, digest):
        response = as_person("administrator").post(url(draft, "confirm"), {"digest": digest})
        assert (response.status_code, sent) == (409, [])
        assert "The plan has changed since it was shown" in response.text
        assert "Run this plan" in response.text and "Clone the release" in response.text

    def test_somebody_else_took_a_name_meanwhile(self, draft, as_person, monkeypatch):
        def refuse(operation):
            raise Refused("Somebody else has just taken a name.")

        monkeypatch.setattr(lifecycle, "_reserve", refuse)
        response = as_person("administrator").post(url(draft, "confirm"), {"digest": draft.digest})
        assert response.status_code == 409 and "Somebody else has just taken a name." in response.text

    def test_a_damaged_plan_is_not_run(self, draft, as_person, sent):
        Operation.objects.filter(pk=draft.pk).update(plan=to_data(work.destroy_plan()))
        response = as_person("administrator").post(url(draft, "confirm"), {"digest": draft.digest})
        assert response.status_code == 409 and "damaged" in response.text and sent == []

    def test_the_new_plan_of_a_stale_one(self, fleet, as_person, sent, django_capture_on_commit_callbacks):
        stale = work.add_operation(fleet.zfs, fleet.people["administrator"], "stale")
        with django_capture_on_commit_callbacks(execute=True):
            as_person("administrator").post(url(stale, "confirm"), {"digest": stale.digest})
        stale.refresh_from_db()
        assert (stale.status, sent) == ("queued", [stale.pk])

    def test_who_may_only_look_is_refused_and_that_is_written_down(self, draft, as_person, sent):
        response = as_person("auditor").post(url(draft, "confirm"), {"digest": draft.digest})
        assert (response.status_code, sent) == (403, [])
        assert AuditEntry.objects.filter(outcome="refused").count() == 1


class TestDiscard:
    def test_it_is_put_away(self, draft, as_person):
        response = as_person("administrator").post(url(draft, "discard"))
        draft.refresh_from_db()
        assert (response.url, draft.status) == ("/", "discarded")

    def test_not_once_it_is_confirmed(self, fleet, as_person):
        queued = work.add_operation(fleet.zfs, fleet.people["administrator"], "queued")
        response = as_person("administrator").post(url(queued, "discard"), follow=True)
        queued.refresh_from_db()
        assert queued.status == "queued" and "Only a plan that is not confirmed" in response.text


class TestPlanning:
    """From a button or a form to a plan."""

    def test_a_button_leads_to_the_plan(self, fleet, planned, as_person):
        response = as_person("operator").post("/hosts/warden1/setup")
        operation = Operation.objects.get()
        assert response.url == url(operation) and operation.status == "draft"

    def test_refused_it_leads_back_with_the_reason(self, fleet, planned, as_person):
        planned.refuses = {"": "Nothing can be planned there."}
        response = as_person("operator").post("/hosts/warden1/setup", follow=True)
        assert response.redirect_chain == [("/hosts/warden1/", 302)]
        assert "Nothing can be planned there." in response.text and not Operation.objects.exists()

    def test_what_it_is_about_went_meanwhile(self, fleet, rf, monkeypatch):
        def gone(*args, **kwargs):
            raise LookupError("no jail 7")

        monkeypatch.setattr(planning.lifecycle, "draft", gone)
        request = rf.post("/")
        request.user = fleet.people["administrator"]
        with pytest.raises(Refused, match="gone: no jail 7"):
            planning.plan(request, "jail_start", {"jails": []}, fleet.zfs)

    def test_nobody_plans_what_they_may_not_run(self, fleet, planned, rf):
        request = rf.post("/")
        request.user = fleet.people["auditor"]
        with pytest.raises(PermissionDenied):
            planning.plan(request, "host_setup", {}, fleet.zfs)
        assert planned.seen == []


class TestNotes:
    def test_a_tenant_reads_none_of_what_the_host_listens_on_for_itself(self, fleet, as_person):
        sockets = [
            Socket("root", "sshd", 7, "tcp4", "*", 22),
            Socket("www", "nginx", 8, "tcp4", "192.0.2.11", 80, "shop"),
        ]
        notes = (*ports.blocking(sockets, "www1", ["192.0.2.11"]), "www1 is still dying.")
        assert len(notes) == 3
        plan = replace(work.bulk_plan(["www1"]), notes=notes)
        operation = work.add_operation(fleet.zfs, fleet.people["owner"], plan=plan, jails=[fleet.jails["www1"]])
        assert as_person("administrator").get(url(operation)).context["notes"] == list(notes)
        assert as_person("owner").get(url(operation)).context["notes"] == [notes[0], notes[2]]


class TestQueries:
    def test_as_many_for_3_steps_as_for_300(self, fleet, as_person):
        client = as_person("administrator")
        counts = []
        for number in (3, 300):
            plan = work.bulk_plan([f"jail{step}" for step in range(number)])
            operation = work.add_operation(fleet.zfs, fleet.people["administrator"], plan=plan)
            with CaptureQueriesContext(connection) as queries:
                client.get(url(operation))
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 20
