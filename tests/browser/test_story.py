"""The main job from click to running, as a new user does it: in a browser, on everything that `make run` starts."""

import os
import re
import signal

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

RELEASE = "14.4-RELEASE"
LONG = 60_000
"""Milliseconds an operation may take on a busy machine."""


def heading(page: Page):
    return page.get_by_role("heading", level=1)


def plan(page: Page, button: str) -> None:
    """Ask for the plan of what a page offers; nothing is done yet."""
    page.get_by_role("button", name=button, exact=True).first.click()
    expect(page.get_by_role("button", name="Run this plan")).to_be_visible()
    expect(page.get_by_text("Nothing has been done yet")).to_be_visible()


def run(page: Page, *, state: str = "done") -> None:
    """Confirm the plan and watch it to its end, without a reload."""
    page.get_by_role("button", name="Run this plan").click()
    progress = page.locator("#progress")
    expect(progress).to_contain_text("took", timeout=LONG)
    expect(progress.locator(".subtitle .state").first).to_have_text(state, timeout=LONG)
    # What the browser says of how it came to this page: no script has loaded it again.
    assert page.evaluate("performance.getEntriesByType('navigation').map((one) => one.type)") == ["navigate"]


def menu(page: Page, item: str) -> None:
    """Choose from the menu of a page's head."""
    page.locator(".page-head details.menu > summary").click()
    page.locator(".page-head .menu-items").get_by_text(item, exact=True).click()


def state_of(page: Page):
    return page.locator(".page-head .state").first


def come_in(page: Page, link: str, name: str) -> None:
    page.goto(link)
    page.get_by_label("User name").fill(name)
    page.get_by_role("button", name=re.compile("^(Come in|Join)$")).click()
    expect(page.locator(".shell-username")).to_have_text(name)


def fetch_release(page: Page, panel, host: str, picture=None) -> None:
    page.goto(f"/releases/fetch?host={host}")
    page.get_by_label("Release", exact=True).fill(RELEASE)
    plan(page, "Show the plan")
    expect(page.locator("#steps")).to_contain_text("sha256 -c")
    if picture:
        picture(page, "plan-release")
        page.get_by_role("button", name="Run this plan").click()
        expect(page.locator("#steps progress").first).to_be_visible(timeout=LONG)
        picture(page, "operation-fetching", full=False)
        expect(page.locator("#progress")).to_contain_text("took", timeout=LONG)
        expect(page.locator("#progress .subtitle .state").first).to_have_text("done")
        return
    run(page)


def create_jail(page: Page, name: str, host: str, *, kind: str = "", base: str = "", picture=None) -> None:
    page.goto(f"/jails/create?host={host}")
    page.get_by_label("Name", exact=False).first.fill(name)
    if kind:
        page.get_by_role("radio", name=re.compile(f"^{kind}")).check()
    if base:
        page.get_by_label(re.compile("^From")).select_option(label=base)
    page.get_by_label("Hostname").fill(f"{name}.example.com")
    if picture:
        picture(page, "create")
    plan(page, "Show the plan")
    expect(page.locator("#steps")).to_contain_text(f"/etc/jail.conf.d/{name}.conf")
    if picture:
        picture(page, "plan-create")
    run(page)
    if picture:
        picture(page, "operation-done")
    page.get_by_role("link", name=f"Go to {name}", exact=True).click()
    expect(heading(page)).to_contain_text(name)
    expect(state_of(page)).to_have_text(re.compile("running"))


def test_the_story(panel, visit, picture):
    admin = visit()
    come_in(admin, panel.signin_link(), "ada")

    # Hosts: what is there, also what the panel did not make
    admin.goto("/hosts/")
    expect(admin.get_by_role("link", name="warden1").last).to_be_visible()
    admin.goto("/hosts/warden1/")
    expect(admin.locator("#content")).to_contain_text("mailhub", timeout=LONG)
    expect(admin.locator("#content")).to_contain_text("192.0.2.2/24")
    admin.get_by_role("button", name="Refresh").click()
    expect(admin.locator("#content")).to_contain_text("refreshed just now", timeout=LONG)
    admin.goto("/hosts/warden2/")
    expect(admin.locator("#content")).to_contain_text("No ZFS", timeout=LONG)

    # Releases
    fetch_release(admin, panel, "warden1", picture)
    fetch_release(admin, panel, "warden2")
    admin.goto("/releases/")
    picture(admin, "releases")
    assert f"zroot/cellblock/releases/{RELEASE}-amd64@cellblock" in panel.on_host(
        "warden1", "zfs", "list", "-H", "-o", "name", "-t", "snapshot"
    )

    # Thick jails on ZFS and on UFS, thin ones
    create_jail(admin, "loghost", "warden1", kind="Thick")
    create_jail(admin, "logdb", "warden2")
    create_jail(admin, "www1", "warden1", kind="Thin", picture=picture)
    create_jail(admin, "www2", "warden1", kind="Thin")
    picture(admin, "jail")
    running = panel.on_host("warden1", "jls", "-q", "name").split()
    assert {"loghost", "mailhub", "www1", "www2"} <= set(running)
    assert panel.on_host("warden1", "sysrc", "-n", "jail_list").split() == ["mailhub", "loghost", "www1", "www2"]
    panel.on_host("warden1", "service", "jail", "restart", "www2")  # the host does not need the panel
    admin.goto("/hosts/warden1/")
    expect(admin.locator("#content")).to_contain_text("www2")
    picture(admin, "host")

    the_form_checks(admin)
    a_killed_worker_is_replaced(admin, panel)
    change_and_rename(admin, panel)
    several_at_once(admin, picture)
    templates(admin, panel, picture)
    member = tenants(admin, panel, visit, picture)
    what_others_see(admin, panel, visit, member)
    destroy(admin, panel, picture)
    the_log(admin, panel, picture)


def the_form_checks(page: Page) -> None:
    """While one types, and again at the plan."""
    page.goto("/jails/create?host=warden1")
    page.get_by_label("Name").first.fill("www1")
    page.get_by_label("Hostname").focus()
    expect(page.locator("#content .invalid-feedback").first).to_contain_text("www1")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#content .invalid-feedback").first).to_contain_text("www1")
    expect(page.get_by_label("Name").first).to_have_value("www1")


def a_killed_worker_is_replaced(page: Page, panel) -> None:
    """All its processes get SIGKILL in the middle of an operation, which ends well all the same."""
    page.goto("/jails/?q=loghost")
    page.get_by_role("link", name="loghost").last.click()
    plan(page, "Restart loghost")
    page.get_by_role("button", name="Run this plan").click()
    expect(page.locator("#progress .subtitle .state").first).to_have_text(re.compile("running|done"), timeout=LONG)
    for pid in panel.worker_pids():
        os.kill(pid, signal.SIGKILL)
    expect(page.locator("#progress .subtitle .state").first).to_have_text("done", timeout=LONG)


def change_and_rename(page: Page, panel) -> None:
    page.goto("/jails/?q=logdb")
    page.get_by_role("link", name="logdb").last.click()
    menu(page, "Change")
    page.get_by_label("Hostname").fill("db.example.com")
    plan(page, "Show the plan")
    run(page)
    assert panel.on_host("warden2", "jls", "-j", "logdb", "host.hostname").strip() == "db.example.com"
    page.goto("/jails/?q=logdb")
    page.get_by_role("link", name="logdb").last.click()
    menu(page, "Rename")
    page.get_by_label("New name").fill("logstore")
    plan(page, "Show the plan")
    run(page)
    assert panel.on_host("warden2", "jls", "-j", "logstore", "path").strip() == "/jail/logstore"
    assert panel.on_host("warden2", "sysrc", "-n", "jail_list").split() == ["logstore"]


def several_at_once(page: Page, picture) -> None:
    page.goto("/jails/?host=warden1")
    for name in ("www1", "www2"):
        page.get_by_role("checkbox", name=f"Choose {name} on warden1", exact=True).check()
    picture(page, "jails")
    plan(page, "Stop")
    run(page)
    expect(page.locator("#progress")).to_contain_text("www1")
    expect(page.locator("#progress")).to_contain_text("www2")
    picture(page, "operation-several")
    page.goto("/jails/?host=warden1&state=stopped")
    expect(page.locator("#content")).to_contain_text("www2")


def templates(page: Page, panel, picture) -> None:
    page.goto("/jails/?q=www2")
    page.get_by_role("link", name="www2").last.click()
    menu(page, "Make a template")
    page.get_by_label("Name").first.fill("web")
    plan(page, "Show the plan")
    run(page)
    create_jail(page, "www3", "warden1", kind="Thin", base="web")
    page.goto("/templates/")
    page.locator("#content").get_by_role("link", name="web").first.click()
    expect(page.locator("#content")).to_contain_text("www3")
    picture(page, "template")
    assert "/cellblock/templates/web@" in panel.on_host(
        "warden1", "zfs", "get", "-H", "-o", "value", "origin", "zroot/cellblock/host/www3"
    )


def the_link(page: Page) -> str:
    """The one-time link that is shown once."""
    expect(page.locator("main")).to_contain_text("/enter/")
    return re.search(r"http://\S+/enter/[^/\s]+/", page.locator("main").inner_text())[0]


def tenants(page: Page, panel, visit, picture):
    page.goto("/tenants/add")
    page.get_by_label("Name", exact=False).first.fill("Acme Shops")
    page.get_by_label(re.compile("[Ss]hort name|[Ss]lug")).first.fill("acme")
    page.locator("main").get_by_role("button", name=re.compile("^Add")).click()
    expect(heading(page)).to_contain_text("Acme")
    page.goto("/tenants/acme/invite")
    page.get_by_label("For whom").fill("Mia of Acme")
    page.get_by_role("radio", name=re.compile("^Member")).check()
    page.get_by_role("button", name="Make the link").click()
    link = the_link(page)
    for name in ("www1", "www2"):
        page.goto(f"/jails/?q={name}")
        page.get_by_role("link", name=name).last.click()
        menu(page, "Give to a tenant")
        page.get_by_label("Tenant").select_option(label="Acme Shops")
        plan(page, "Show the plan")
        run(page)
    assert "zroot/cellblock/acme/www1" in panel.on_host("warden1", "zfs", "list", "-H", "-o", "name")
    page.goto("/tenants/acme/")
    picture(page, "tenant")
    member = visit()
    come_in(member, link, "mia")
    return member


def what_others_see(admin: Page, panel, visit, member: Page) -> None:
    member.goto("/")
    expect(member.locator("#content")).to_contain_text("www1")
    expect(member.locator("body")).not_to_contain_text("loghost")
    expect(member.locator("body")).not_to_contain_text("warden2")
    for address in ("/hosts/", "/hosts/warden1/", "/tenants/", "/people/", "/releases/", "/templates/", "/networks/"):
        assert member.goto(address).status == 404, address
    admin.goto("/jails/?q=loghost")
    admin.get_by_role("link", name="loghost").last.click()
    assert member.goto(admin.url).status == 404
    member.goto("/search?q=log")
    expect(member.locator("body")).not_to_contain_text("loghost")
    member.goto("/")
    plan(member, "Start www1")
    run(member)
    member.goto("/audit/")
    expect(member.locator("#content")).to_contain_text("mia")
    expect(member.locator("#content")).not_to_contain_text("loghost")
    # An auditor sees all of it and changes nothing
    admin.goto("/people/invite")
    admin.get_by_label("For whom").fill("Otto")
    admin.get_by_role("radio", name=re.compile("^Auditor")).check()
    admin.get_by_role("button", name="Make the link").click()
    link = the_link(admin)
    auditor = visit()
    come_in(auditor, link, "otto")
    auditor.goto("/jails/?q=loghost")
    auditor.get_by_role("link", name="loghost").last.click()
    expect(auditor.get_by_role("button", name=re.compile("^(Start|Stop|Restart)"))).to_have_count(0)
    # A disabled person's session ends at once
    admin.goto("/people/")
    admin.locator("#content").get_by_role("link", name="mia").first.click()
    menu(admin, "Disable mia")
    expect(admin.locator("#content")).to_contain_text("is signed out everywhere")
    member.goto("/")
    expect(member).to_have_url(re.compile("/accounts/login/"))


def destroy(page: Page, panel, picture) -> None:
    page.goto("/jails/?q=loghost")
    page.get_by_role("link", name="loghost").last.click()
    menu(page, "Destroy")
    expect(page.locator("#content")).to_contain_text("zroot/cellblock/host/loghost")
    picture(page, "destroy")
    page.get_by_label(re.compile("[Tt]ype")).fill("loghos")
    page.locator("main").get_by_role("button", name="Show the plan").click()
    expect(page.locator(".invalid-feedback").first).to_be_visible()
    page.get_by_label(re.compile("[Tt]ype")).fill("loghost")
    plan(page, "Show the plan")
    picture(page, "plan-destroy")
    run(page)
    assert "loghost" not in panel.on_host("warden1", "zfs", "list", "-H", "-o", "name")
    assert "loghost" not in panel.on_host("warden1", "sysrc", "-n", "jail_list")
    assert "mailhub" in panel.on_host("warden1", "sysrc", "-n", "jail_list")


def the_log(page: Page, panel, picture) -> None:
    page.goto("/audit/")
    picture(page, "audit")
    expect(page.locator("#content")).to_contain_text("loghost")
    assert "an unbroken chain" in panel.manage("audit_verify")
    page.goto("/")
    picture(page, "overview")


def test_a_second_start_keeps_the_data(panel, visit):
    if panel.kind == "servers":
        pytest.skip("the same as with files")
    panel.stop()
    panel.lines.clear()
    panel.start()
    page = visit()
    page.goto(panel.signin_link())  # ada has no password, so that she needs a new link
    page.get_by_role("button", name="Sign in as ada").click()
    page.goto("/jails/")
    expect(page.locator("#content")).to_contain_text("www1")
    assert "ada" in panel.manage("shell", "-c", "from jails.models import *; print(User.objects.get(username='ada'))")
