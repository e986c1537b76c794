"""Pages that look into jails, without a worker: what they ask for, and what they show of an answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from jails.looks import looking
from jails.models import Look, Operation
from jails.operations import queue

PROCESS = {
    "pid": 700, "ppid": 1, "user": "www", "cpu": 12.5, "memory": 2**28, "elapsed": 90, "cpu_seconds": 4.0,
    "state": "SJ", "command": "<script>nginx</script>",
}  # fmt: skip
SERVICE = {"name": "sshd", "enabled": True, "runs": False, "pid": 0, "local": False}


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    found: list[str] = []
    monkeypatch.setattr(queue, "_send", lambda task, argument, name, countdown=0: bool(found.append(argument)) or True)
    return found


@pytest.fixture
def answer(fleet):
    """As a worker would have left it."""

    def keep(kind: str, result: Any, role: str = "owner", parameters: Any = None, **fields: Any) -> None:
        look = looking.ask(fleet.jails["www1"], kind, parameters or {}, user=fleet.people[role])
        now = timezone.now()
        values = {"state": "done", "result": result, "seen_at": now, "ended_at": now + timedelta(hours=1)}
        Look.objects.filter(pk=look.pk).update(**(values | fields))

    return keep


def get(client: Any, jail: Any, name: str, *, htmx: bool = False, **query: str) -> Any:
    headers = {"HX-Request": "true"} if htmx else {}
    return client.get(reverse(name, args=[jail.uuid]), query, headers=headers)


@pytest.mark.parametrize("name", ["jail-processes", "jail-services", "jail-logs"])
def test_a_page_asks_once_and_waits(as_person, fleet, sent, name, django_capture_on_commit_callbacks):
    client, www1 = as_person("owner"), fleet.jails["www1"]
    with django_capture_on_commit_callbacks(execute=True):
        text = get(client, www1, name).content.decode()
    assert "Asking www1" in text and 'data-every="700"' in text and "Reload" in text
    with django_capture_on_commit_callbacks(execute=True):
        get(client, www1, name, htmx=True)
    assert len(sent) == Look.objects.count() == 1


@pytest.mark.parametrize("name", ["jail-processes", "jail-services", "jail-logs"])
def test_a_stopped_jail_is_not_asked(as_person, fleet, name):
    text = get(as_person("owner"), fleet.jails["www2"], name).content.decode()
    assert "It does not run" in text and not Look.objects.exists()


def test_processes_are_shown_as_text(as_person, fleet, answer):
    answer("processes", {"count": 500, "rows": [PROCESS]})
    text = get(as_person("viewer"), fleet.jails["www1"], "jail-processes").content.decode()
    assert "&lt;script&gt;nginx" in text and "<script>nginx" not in text
    assert "The 1 busiest of 500 processes." in text and "256 MiB" in text and "12.5 %" in text


def test_nothing_is_sent_while_the_answer_is_the_same(as_person, fleet, answer):
    answer("processes", {"count": 1, "rows": [PROCESS]})
    client, www1 = as_person("owner"), fleet.jails["www1"]
    mark = get(client, www1, "jail-processes", htmx=True)["ETag"]
    path = reverse("jail-processes", args=[www1.uuid])
    assert client.get(path, headers={"HX-Request": "true", "If-None-Match": mark}).status_code == 304
    Look.objects.update(seen_at=timezone.now() + timedelta(seconds=1))
    assert client.get(path, headers={"HX-Request": "true", "If-None-Match": mark}).status_code == 200


def test_what_went_wrong_is_shown_with_the_last_answer(as_person, fleet, answer):
    answer("processes", {"count": 1, "rows": [PROCESS]}, state="failed", problem="Its host could not be reached.")
    text = get(as_person("owner"), fleet.jails["www1"], "jail-processes").content.decode()
    assert "Its host could not be reached." in text and "What follows is from" in text and "nginx" in text


def test_one_that_nobody_answers_says_so(as_person, fleet, answer):
    answer("processes", None, state="waiting", asked_at=timezone.now() - timedelta(minutes=3))
    text = get(as_person("owner"), fleet.jails["www1"], "jail-processes", htmx=True).content.decode()
    assert "No worker has answered" in text


@pytest.mark.parametrize(("role", "count"), [("owner", 1), ("member", 1), ("viewer", 0), ("auditor", 0)])
def test_buttons_are_for_who_may_use_them(as_person, fleet, answer, role, count):
    answer("services", {"services": [SERVICE], "others": ["ntpd"], "partial": False})
    text = get(as_person(role), fleet.jails["www1"], "jail-services").content.decode()
    assert text.count('value="start"') == count and text.count('value="disable"') == count
    assert text.count('value="enable"') == count and "not running" in text


def test_a_button_plans_the_change_of_a_service(as_person, fleet, planned):
    www1 = fleet.jails["www1"]
    response = as_person("owner").post(reverse("jail-services", args=[www1.uuid]), {"service": "sshd", "do": "restart"})
    operation = Operation.objects.get()
    assert response["Location"] == reverse("operation", args=[operation.pk])
    assert (operation.kind, operation.parameters["service"], operation.parameters["do"]) == (
        "service_change", "sshd", "restart",
    )  # fmt: skip


def test_a_service_that_is_none_is_said_on_the_page(as_person, fleet, planned):
    www1 = fleet.jails["www1"]
    path = reverse("jail-services", args=[www1.uuid])
    response = as_person("owner").post(path, {"service": "../x", "do": "start"}, follow=True)
    assert "must be the name of a service" in response.content.decode() and not Operation.objects.exists()


# Logs


def test_a_file_that_is_dated_beyond_all_dates(as_person, fleet, answer):
    """touch -t and utimes(2) set any time, and the file is the tenant's."""
    times = [10**17, 253_402_300_800, -(10**17), -1]
    answer(
        "logs",
        {"files": [{"path": f"/var/log/{n}", "size": 1, "changed": at} for n, at in enumerate(times)], "all": False},
    )
    text = get(as_person("owner"), fleet.jails["www1"], "jail-logs").content.decode()
    assert all(f"/var/log/{number}" in text for number in range(len(times))) and "9999-12-31" in text


def test_files_the_newest_first(as_person, fleet, answer):
    files = [
        {"path": f"/var/log/{name}", "size": 5, "changed": at} for name, at in (("old", 10**9), ("a&b", 2 * 10**9))
    ]
    answer("logs", {"files": files, "all": False})
    text = get(as_person("owner"), fleet.jails["www1"], "jail-logs").content.decode()
    assert text.index("a&amp;b") < text.index("/var/log/old") and "path=/var/log/a%26b" in text.replace("%2F", "/")
    assert "more files than are listed" in text


def test_the_end_of_one_and_following_it(as_person, fleet, answer):
    answer("log", {"lines": ["<b>one", "two"], "cut": True}, parameters={"path": "/var/log/messages"})
    client, www1 = as_person("owner"), fleet.jails["www1"]
    text = get(client, www1, "jail-logs", path="/var/log/messages").content.decode()
    assert "&lt;b&gt;one\ntwo" in text and 'data-every="0"' in text and "The newest 2 lines." in text
    text = get(client, www1, "jail-logs", path="/var/log/messages", follow="on").content.decode()
    assert 'data-every="2500"' in text and "checked" in text


def test_a_stream_is_offered_where_there_can_be_one(as_person, fleet, settings):
    """Beside what the page asks for by itself, which is all there is without JavaScript."""
    client, www1 = as_person("owner"), fleet.jails["www1"]

    def page(**query):
        return get(client, www1, "jail-logs", **query).content.decode()

    followed = page(path="/var/log/messages", text="<x>", follow="on")
    assert f'data-ticket="/jails/{www1.uuid}/logs/ticket"' in followed and 'data-text="&lt;x&gt;"' in followed
    assert '/live/log"' in followed and 'data-every="700"' in followed
    for other in ({"path": "/var/log/messages"}, {"path": "/var/log/messages.0.bz2", "follow": "on"}):
        assert "data-follow" not in page(**other) and "js/log" not in page(**other)
    type(www1).objects.filter(pk=www1.pk).update(state="stopped")
    assert "data-follow" not in page(path="/var/log/messages", follow="on")


def test_no_line_has_it(as_person, fleet, answer):
    parameters = {"path": "/var/log/messages", "text": "x<y"}
    answer("log", {"lines": [], "cut": False}, parameters=parameters)
    text = get(as_person("owner"), fleet.jails["www1"], "jail-logs", **parameters).content.decode()
    assert "No line of /var/log/messages has “x&lt;y” in it." in text


def test_a_path_that_is_no_log_is_refused_and_not_asked(as_person, fleet):
    text = get(as_person("owner"), fleet.jails["www1"], "jail-logs", path="/etc/master.passwd").content.decode()
    assert "must be a file below /var/log" in text and not Look.objects.exists()
