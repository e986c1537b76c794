"""The pages on which jails are adopted and given back, on a simulated host with jails of Bastille and of jail.conf."""

from __future__ import annotations

import pytest
from django.urls import reverse

from jails.models import Jail, Operation, User
from jails.operations import queue
from tests.hosts import foreign
from tests.operations.warden import Warden

pytestmark = pytest.mark.django_db
BY_HAND = """\
exec.clean; mount.devfs; path = "/usr/jails/$name";
mail { ip4.addr = "em0|198.51.100.7"; host.hostname = mail.example.org; }
twin { ip4.addr = "em0|198.51.100.7"; host.hostname = twin.example.org; }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("bastille") / "host"
    foreign.build(made, "bastille")
    return made


@pytest.fixture
def warden(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "_send", lambda *arguments, **options: None)
    ada = User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)
    warden = Warden(folder, tmp_path / "host", ada)
    warden.write("/etc/jail.conf", BY_HAND)
    warden.refresh()
    return warden


@pytest.fixture
def browser(client, warden):
    client.force_login(warden.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(name, action=""):
    return reverse(f"jail-{action}" if action else "jail", args=[Jail.objects.get(name=name).uuid])


def run(warden, browser, response):
    assert response.status_code == 302 and "/operations/" in response.url, response.url
    operation = Operation.objects.get(pk=response.url.rstrip("/").rpartition("/")[2])
    assert "Run this plan" in browser.get(response.url).text
    browser.post(reverse("operation-confirm", args=[operation.pk]), {"digest": operation.digest})
    warden.work(operation)
    assert operation.status == "done", operation.error
    warden.refresh()
    return operation


def test_all_standard_jails_of_a_host_at_once(warden, browser):
    host = reverse("host", args=["warden1"])
    assert "Adopt jails" in browser.get(host).text
    page = browser.get(reverse("host-adopt", args=["warden1"])).text
    for part in ("mail", "twin", "web1", "/etc/jail.conf", "/usr/jails/mail", "Bastille, thin", "jail.conf"):
        assert part in page, part
    wanted = {"jails": [str(row.uuid) for row in Jail.objects.filter(manager="standard")]}
    operation = run(warden, browser, browser.post(reverse("host-adopt", args=["warden1"]), wanted))
    assert operation.title == "Adopt mail and twin" and not any(step["changes"] for step in operation.plan["steps"])
    page = browser.get(reverse("host-adopt", args=["warden1"])).text
    assert "Its file stays where it is" in page and "There is none left to adopt." in page
    assert browser.post(reverse("host-adopt", args=["warden1"]), {}).status_code == 302


def test_addresses_of_several_jails_are_shown(warden, browser):
    for page in (reverse("host", args=["warden1"]), reverse("networks")):
        assert "<code>198.51.100.7</code> is an address of mail, twin" in browser.get(page).text


def test_from_the_list_of_jails(warden, browser):
    assert 'value="adopt"' in browser.get(reverse("jails")).text
    chosen = {"do": "adopt", "jails": [str(Jail.objects.get(name="mail").uuid)]}
    run(warden, browser, browser.post(reverse("jails-bulk"), chosen))
    assert Jail.objects.get(name="mail").adoption == "in place"
    chosen["jails"] = [str(Jail.objects.get(name="web1").uuid)]
    assert "Bastille made it" in browser.post(reverse("jails-bulk"), chosen, follow=True).text


def test_one_that_is_adopted_is_changed_and_given_back(warden, browser):
    page = browser.get(url("mail")).text
    assert "Adopt mail" in page and "Give back" not in page and "not adopted" in page
    page = browser.get(url("mail", "adopt")).text
    assert "Where it is" in page and "nothing changes" in page and "Take it over" not in page
    run(warden, browser, browser.post(url("mail", "adopt"), {"how": "in place"}))
    page = browser.get(url("mail")).text
    assert "Give back" in page and "adopted where its file is" in page and "Destroy" not in page
    form = browser.get(url("mail", "change")).context["form"]
    values = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    run(warden, browser, browser.post(url("mail", "change"), {**values, "hostname": "post.example.org"}))
    assert warden.read("/etc/jail.conf") == BY_HAND.replace("mail.example.org", "post.example.org")
    assert "give it back first" in browser.get(url("mail", "rename"), follow=True).text
    run(warden, browser, browser.post(url("mail", "unadopt")))
    assert "Adopt mail" in browser.get(url("mail")).text


def test_one_of_a_tool_is_adopted_in_either_way(warden, browser):
    page = browser.get(url("web1")).text
    assert "Bastille made this jail" in page and "Start web1" not in page
    page = browser.get(url("web1", "adopt")).text
    assert "Beside Bastille" in page and "Take it over from Bastille" in page and "/etc/jail.conf.d/web1.conf" in page
    assert browser.post(url("web1", "adopt"), {"how": "in place"}).status_code == 422
    run(warden, browser, browser.post(url("web1", "adopt"), {"how": "beside"}))
    page = browser.get(url("web1")).text
    assert "Bastille, adopted beside it" in page and "Start web1" in page and "bastille start web1" in page
    run(warden, browser, browser.post(url("web1", "start")))
    assert "web1" in warden.running()
    assert "change it with Bastille" in browser.get(url("web1", "change"), follow=True).text
    run(warden, browser, browser.post(url("web1", "stop")))
    run(warden, browser, browser.post(url("web1", "unadopt")))
    run(warden, browser, browser.post(url("web1", "adopt"), {"how": "taken over"}))
    assert "taken over from Bastille" in browser.get(url("web1")).text
    assert browser.get(url("web1", "adopt")).status_code == 200
