"""The forms of jails on a simulated host, with the real kinds of operation: what is checked, planned and done."""

from __future__ import annotations

import shutil

import pytest
from django.urls import reverse

from jails.models import Drift, Jail, Operation, Release, Template, Tenant, User
from jails.operations import queue, release_fetch
from tests.operations.test_limits import rules, with_racct
from tests.operations.world import World, blank, network
from tests.panel.test_tenant_plans import ANY

pytestmark = pytest.mark.django_db
CREATE, CHECK = "/jails/create", "/jails/create/check"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Of a blank host, and of one with a release on it as soon as a test has fetched it: to be copied for each test."""
    made = tmp_path_factory.mktemp("hosts")
    return blank(made / "blank"), made / "stocked"


@pytest.fixture
def world(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "_send", lambda *arguments, **options: None)
    empty, stocked = folders
    ada = User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)
    world = World(stocked if stocked.exists() else empty, tmp_path / "warden1", ada)
    if stocked.exists():
        world.refresh()
        release = release_fetch.row_of(world.row, world.facts(), "14.2-RELEASE", "amd64")
        release.state = Release.State.READY
        release.save()
    else:
        world.fetched()
        shutil.copytree(world.simulation.directory, stocked, symlinks=True)
    world.refresh()
    network()
    return world


@pytest.fixture
def browser(client, world):
    client.force_login(world.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def wanted(world, **changes):
    return {
        "host": "warden1",
        "name": "www1",
        "base": f"release:{Release.objects.get(name='14.2-RELEASE').pk}",
        "kind": "thin",
        "network-0": str(network().pk),
        "ip-0": "",
        "start": "on",
    } | changes


def errors(response):
    return dict(response.context["form"].errors)


def run(world, browser, response):
    """Confirm the plan that a form has led to, and do it as a worker would; the operation afterwards."""
    assert response.status_code == 302, errors(response)
    operation = Operation.objects.get(pk=response.url.rstrip("/").rpartition("/")[2])
    assert "Run this plan" in browser.get(response.url).text
    browser.post(reverse("operation-confirm", args=[operation.pk]), {"digest": operation.digest})
    world.work(operation)
    assert operation.status == Operation.Status.DONE, operation.error
    world.refresh()
    return operation


def url(name, action=""):
    return reverse(f"jail-{action}" if action else "jail", args=[Jail.objects.get(name=name).uuid])


def test_from_the_form_to_a_running_jail_and_to_its_end(world, browser):
    run(world, browser, browser.post(CREATE, wanted(world)))
    assert world.running() == {"www1": "/jail/www1"} and world.addresses() == ["192.0.2.3"]
    page = browser.get(url("www1"))
    assert "running" in page.text and "192.0.2.3" in page.text

    form = browser.get(url("www1", "change")).context["form"]
    values = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    values |= {"hostname": "shop.example.org", "quota": "1 GiB"}
    run(world, browser, browser.post(url("www1", "change"), {**values, "boot": ""}))
    assert world.simulation.run("jls", "-j", "www1", "host.hostname").strip() == "shop.example.org"
    assert world.value("zroot/cellblock/host/www1", "quota") == str(1 << 30)

    run(world, browser, browser.post(url("www1", "rename"), {"name": "shop"}))
    assert world.running() == {"shop": "/jail/shop"}

    run(world, browser, browser.post(url("shop", "stop")))
    making = {"jail": str(Jail.objects.get().uuid), "name": "web", "tenant": ""}
    run(world, browser, browser.post("/templates/create", making))
    assert "shop" in browser.get(reverse("template", args=[Template.objects.get().pk])).text

    world.sh("zfs snapshot zroot/cellblock/host/shop@mine")
    world.refresh()
    text = browser.get(url("shop", "destroy")).text
    for part in ("zroot/cellblock/host/shop", "@mine", "/etc/jail.conf.d/shop.conf", "192.0.2.3"):
        assert part in text, part
    run(world, browser, browser.post(url("shop", "destroy"), {"name": "shop"}))
    assert not Jail.objects.exists() and world.addresses() == []


def test_from_a_changed_plan_to_the_quota_and_the_limits_of_a_jail(world, browser):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    with_racct(world)
    run(world, browser, browser.post(CREATE, wanted(world, tenant=acme.pk, name="acme-www1")))
    plan, numbers = reverse("tenant-plan", args=["acme"]), {"disk": "2 GiB", "memory": "1 GiB"}
    shown = browser.post(plan, ANY | numbers | {"show": "1"})
    row = Jail.objects.get()
    chosen = {f"memory-{row.pk}": "512 MiB", f"quota-{row.pk}": "1 GiB", "effects": shown.context["mark"]}
    run(world, browser, browser.post(plan, ANY | numbers | chosen | {"seen": shown.context["seen"]}))
    assert world.value("zroot/cellblock/acme", "quota") == str(2 << 30)
    assert world.value("zroot/cellblock/acme/acme-www1", "quota") == str(1 << 30)
    assert rules(world) == ["jail:acme-www1:memoryuse:deny=536870912"]
    row.refresh_from_db()
    assert (row.limits["memory"], row.limits["quota"], row.allotted) == (512 << 20, 1 << 30, {})
    text = browser.get(reverse("tenant", args=["acme"])).text
    assert 'id="pending"' not in text and "which the plan asks for" not in text
    assert not Drift.objects.exists()


def test_what_the_host_has_is_said_while_one_types(world, browser):
    world.write("/etc/jail.conf", 'byhand { path = "/usr/jails/byhand"; ip4.addr = "em0|192.0.2.40"; }\n')
    world.sh("mkdir -p /jail/left")
    world.refresh()
    half = {"host": "warden1", "network-0": str(network().pk)}
    for name, words in (
        ("byhand", "warden1 has a jail byhand already."),
        ("left", "/jail/left is there on warden1 already."),
    ):
        assert errors(browser.post(CHECK, half | {"name": name}))["name"] == [words]
    for ip, words in (
        ("192.0.2.40", "192.0.2.40 is in use on warden1"),
        ("192.0.2.2", "192.0.2.2 is in use on warden1"),
        ("198.51.100.9", "198.51.100.9 is not in lan (192.0.2.0/24)."),
    ):
        assert words in errors(browser.post(CHECK, half | {"name": "a", "ip-0": ip}))["ip-0"][0]


def test_a_host_is_read_once_between_two_refreshes(world, browser, monkeypatch):
    from jails.operations import lifecycle

    read, real = [], lifecycle.facts_of
    monkeypatch.setattr(lifecycle, "facts_of", lambda host: read.append(host) or real(host))
    for name in ("a", "b"):
        browser.post(CHECK, wanted(world, name=name))
    assert len(read) == 1
    world.sh("mkdir -p /jail/b")
    world.refresh()
    assert "name" in errors(browser.post(CHECK, wanted(world, name="b")))


def test_a_release_newer_than_the_host_is_said_at_it(world, browser):
    values = {
        "architecture": "amd64",
        "storage": "zfs",
        "path": "/x",
        "state": "ready",
        "snapshot": "zroot/x@cellblock",
    }
    newer = Release.objects.create(host=world.row, name="15.0-RELEASE", **values)
    found = errors(browser.post(CHECK, wanted(world, base=f"release:{newer.pk}")))
    assert set(found) == {"base"} and "15.0-RELEASE" in found["base"][0]
    assert set(errors(browser.post(CREATE, wanted(world, base=f"release:{newer.pk}")))) == {"base"}


def test_too_little_space_is_said(world, browser):
    assert set(errors(browser.post(CHECK, wanted(world, quota="32 MiB")))) == {"quota"}
    left = int(world.value("zroot", "available")) - (32 << 20)
    world.sh('zfs create -o refreservation="$1" zroot/ballast', str(left))
    world.refresh()
    found = errors(browser.post(CHECK, wanted(world)))
    assert set(found) == {"base"} and "MiB left" in found["base"][0]


def test_of_two_plans_for_one_name_the_second_is_told(world, browser):
    first, second = (browser.post(CREATE, wanted(world, **{"ip-0": ip})).url for ip in ("192.0.2.20", "192.0.2.21"))
    digests = {row.pk: row.digest for row in Operation.objects.filter(status="draft")}
    for at in (first, second):
        pk = at.rstrip("/").rpartition("/")[2]
        response = browser.post(f"{at}confirm", {"digest": Operation.objects.get(pk=pk).digest})
    assert len(digests) == 2
    assert response.status_code == 409 and "Somebody else has just taken a name or an address" in response.text
    assert f'href="{CREATE}?host=warden1&amp;name=www1' in response.text
    assert Jail.objects.count() == 1


def test_of_two_plans_for_one_address_the_second_is_told(world, browser):
    urls = [browser.post(CREATE, wanted(world, name=name, **{"ip-0": "192.0.2.20"})).url for name in ("a", "b")]
    for at in urls:
        digest = Operation.objects.get(pk=at.rstrip("/").rpartition("/")[2]).digest
        response = browser.post(f"{at}confirm", {"digest": digest})
    assert response.status_code == 409 and "Somebody else has just taken" in response.text
    assert Jail.objects.get().name == "a"


def test_a_jail_that_another_is_cloned_from_says_why_it_stays(world, browser):
    run(world, browser, browser.post(CREATE, wanted(world)))
    world.sh(
        "zfs snapshot zroot/cellblock/host/www1@x; zfs clone zroot/cellblock/host/www1@x zroot/cellblock/host/copy"
    )
    world.refresh()
    response = browser.get(url("www1", "destroy"))
    assert "It cannot be destroyed now." in response.text and "zroot/cellblock/host/copy" in response.text
    assert 'name="name"' not in response.text


def test_on_a_host_that_has_never_answered_it_says_so(world, browser):
    from jails.models import HostFactsRecord

    HostFactsRecord.objects.all().delete()
    for path, status in ((CHECK, 200), (CREATE, 422)):
        response = browser.post(path, wanted(world))
        assert response.status_code == status
        assert errors(response)["__all__"] == [
            "warden1 has not answered yet, so nothing can be planned there: refresh it first."
        ]
