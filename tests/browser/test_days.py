"""A whole day of a tenant, an administrator and an auditor: three browsers on everything that `make run` starts."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Page, expect

from tests.browser.conftest import Panel
from tests.browser.test_story import LONG, RELEASE, come_in, fetch_release, heading, menu, plan, run, state_of, the_link

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

JAIL = "acme-shop"
WHY_ENTERED = "The shop sends spam, and nobody of Acme answers the telephone."
BY_RULES = 90_000
"""Milliseconds until what the log has is in the queue: its rules are asked every minute."""


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    panel = Panel(tmp_path_factory.mktemp("panel"))
    panel.kind = "days"
    panel.start()
    yield panel
    panel.stop()


def test_a_day(panel, visit, picture):
    admin = visit()
    come_in(admin, panel.signin_link(), "ada")
    fetch_release(admin, panel, "warden1")
    a_tenant_with_a_plan(admin, picture)
    owner = visit()
    come_in(owner, invited(admin, "Olga of Acme", "Owner"), "olga")
    auditor = visit()
    come_in(auditor, invited_auditor(admin), "otto")

    a_key_and_a_jail(owner, panel, picture)
    its_page(owner, picture)
    undo(owner, panel, picture)
    it_grows(owner, panel)
    the_plan_on_the_host(admin, panel)
    member = visit()
    come_in(member, invited_without_rights(owner), "mia")
    what_a_member_may(member)
    granted_power(owner, member, picture)

    work_of_the_host(owner, admin, picture)
    the_glass_is_broken(admin, picture)
    the_owner_reads_of_it(owner, admin, picture)
    without_scripts(visit, owner, panel)

    member_is_taken_out(owner, member)
    the_queue(auditor, admin, picture)
    recordings(auditor, picture)
    the_log(auditor, owner, panel, picture)


# The administrator


def a_tenant_with_a_plan(admin: Page, picture) -> None:
    admin.goto("/tenants/add")
    admin.get_by_label("Name", exact=False).first.fill("Acme Shops")
    admin.get_by_label("Short name").fill("acme")
    admin.locator("main").get_by_role("button", name=re.compile("^Add")).click()
    admin.get_by_role("link", name="Make a plan of Acme Shops").click()
    for label, value in (("Jails", "3"), ("Disk", "20 GiB"), ("Addresses", "3"), ("Snapshots", "4")):
        admin.get_by_label(label, exact=True).fill(value)
    admin.get_by_role("button", name="Save").click()
    expect(heading(admin)).to_have_text("Acme Shops")
    expect(admin.locator("#content")).to_contain_text("0 B of 20.0 GiB")
    picture(admin, "tenant-with-a-plan")


def invited(page: Page, who: str, role: str) -> str:
    page.goto("/tenants/acme/invite")
    page.get_by_label("For whom").fill(who)
    page.get_by_role("radio", name=re.compile(f"^{role}")).check()
    page.get_by_role("button", name="Make the link").click()
    return the_link(page)


def invited_auditor(admin: Page) -> str:
    admin.goto("/people/invite")
    admin.get_by_label("For whom").fill("Otto")
    admin.get_by_role("radio", name=re.compile("^Auditor")).check()
    admin.get_by_role("button", name="Make the link").click()
    return the_link(admin)


def the_plan_on_the_host(admin: Page, panel) -> None:
    """A plan that changes once there are jails is an operation on their host."""
    admin.goto("/tenants/acme/plan")
    admin.get_by_label("Disk", exact=True).fill("24 GiB")
    admin.get_by_role("button", name="Show what it changes").click()
    admin.get_by_role("button", name="Save").click()
    expect(admin.get_by_text("Nothing has been done yet")).to_be_visible()
    run(admin)
    quota = panel.on_host("warden1", "zfs", "get", "-Hp", "-o", "value", "quota", "zroot/cellblock/acme")
    assert int(quota) == 24 << 30


# The tenant


def a_key_and_a_jail(owner: Page, panel, picture) -> None:
    owner.goto("/")
    expect(owner.locator("#content")).to_contain_text("No jails yet")
    owner.goto("/account/keys")
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    owner.get_by_label("Public key").fill(f"{public} olga@laptop")
    owner.get_by_role("button", name="Add key").click()
    expect(owner.locator("#content")).to_contain_text("opens no jail")

    owner.goto("/")
    owner.get_by_role("link", name="Make a jail").click()
    owner.get_by_label("Name", exact=True).fill("shop")
    owner.get_by_label("From").select_option(label=f"FreeBSD {RELEASE}")
    owner.get_by_label("Disk").fill("5 GiB")
    picture(owner, "make-a-jail")
    plan(owner, "Show the plan")
    picture(owner, "make-a-jail-plan")
    run(owner)
    owner.get_by_role("link", name=f"Go to {JAIL}", exact=True).click()
    expect(heading(owner)).to_have_text(JAIL)
    expect(state_of(owner)).to_have_text("running")
    picture(owner, "jail")
    assert panel.on_host("warden1", "jls", "-j", JAIL, "host.hostname").strip() == "shop"
    lines = panel.on_host("warden1", "jexec", JAIL, "cat", "/home/olga/.ssh/authorized_keys")
    assert public.split()[1] in lines


def go_to_tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name=JAIL).get_by_role("link", name=name, exact=True).click()


def its_page(owner: Page, picture) -> None:
    go_to_tab(owner, "Use")
    expect(owner.get_by_role("heading", name="Memory", exact=True)).to_be_visible()
    picture(owner, "jail-use")
    go_to_tab(owner, "Services")
    expect(owner.locator("#service-sshd")).to_contain_text("running", timeout=LONG)
    picture(owner, "jail-services")
    go_to_tab(owner, "Processes")
    expect(owner.locator(".process-list")).to_contain_text("sshd", timeout=LONG)
    go_to_tab(owner, "Logs")
    expect(owner.locator("#content")).to_contain_text(re.compile("/var/log/|There is no file"), timeout=LONG)
    picture(owner, "jail-logs")
    go_to_tab(owner, "Access")
    expect(owner.locator("#content")).to_contain_text(re.compile(r"ssh olga@[0-9a-f.:]+"))


def at_terminal(page: Page, *lines: str, shows: str, picture=None) -> None:
    """Type into a terminal of xterm and leave it."""
    go_to_tab(page, "Console")
    status = page.get_by_role("status").first
    page.get_by_role("button", name="Connect").click()
    expect(status).to_have_text(f"Connected to {JAIL} as root. Recorded.")
    shown = page.locator(".xterm-accessibility-tree")
    for number, line in enumerate(lines, start=1):
        expect(shown).to_have_text(re.compile(f"(root@shop:.*){{{number}}}$", re.DOTALL))  # a prompt for each
        page.keyboard.type(f"{line}\n")
    expect(shown).to_contain_text(shows)
    if picture:
        picture(page, "console")
    page.get_by_label(f"Terminal in {JAIL}").focus()
    page.keyboard.type("exit\n")
    expect(status).to_contain_text("The shell ended.")


def run_one(page: Page, command: str) -> str:
    """What one command prints, by the form that needs no script."""
    go_to_tab(page, "Console")
    page.get_by_role("textbox", name="Command").fill(command)
    page.get_by_role("button", name=f"Run in {JAIL}").click()
    expect(page.get_by_text("Exit status 0")).to_be_visible()
    output = page.get_by_label("Output")
    return output.inner_text() if output.count() else ""


def undo(owner: Page, panel, picture) -> None:
    """A file is written, a snapshot taken, the file spoilt and brought back; then all of it is put back."""
    at_terminal(
        owner, "echo 40 bicycles > /root/stock.txt", "cat /root/stock.txt", shows="40 bicycles", picture=picture
    )
    go_to_tab(owner, "Snapshots")
    owner.get_by_label("Name", exact=True).fill("counted")
    owner.get_by_label("Note").fill("After the stocktaking")
    plan(owner, "Show the plan")
    run(owner)
    owner.get_by_role("link", name=f"Go to {JAIL}", exact=True).click()
    assert run_one(owner, "echo none > /root/stock.txt; cat /root/stock.txt") == "none\n"

    go_to_tab(owner, "Snapshots")
    expect(owner.locator("#content")).to_contain_text("1 of 4 in the plan of Acme Shops")
    picture(owner, "jail-snapshots")
    owner.get_by_role("link", name="What changed since counted").click()
    expect(owner.locator(".changes-list")).to_contain_text("/root/stock.txt", timeout=LONG)
    owner.get_by_role("link", name="its files").click()
    owner.get_by_role("link", name="root/", exact=True).click()
    expect(owner.locator(".files-list")).to_contain_text("stock.txt", timeout=LONG)
    picture(owner, "jail-snapshot-files")
    plan(owner, "Put stock.txt in the place of what is there")
    run(owner)
    owner.get_by_role("link", name=f"Go to {JAIL}", exact=True).click()
    assert run_one(owner, "cat /root/stock.txt; touch /root/later") == "40 bicycles\n"

    go_to_tab(owner, "Snapshots")
    plan(owner, f"Put {JAIL} back to counted")
    expect(owner.get_by_role("region", name="What will be gone")).to_be_visible()
    picture(owner, "plan-put-back")
    run(owner)
    assert panel.on_host("warden1", "jexec", JAIL, "ls", "/root/later", ok=False) == ""
    assert panel.on_host("warden1", "jexec", JAIL, "cat", "/root/stock.txt") == "40 bicycles\n"
    owner.get_by_role("link", name=f"Go to {JAIL}", exact=True).click()
    expect(state_of(owner)).to_have_text("running")


def it_grows(owner: Page, panel) -> None:
    menu(owner, "Size and start")
    owner.get_by_label("Disk").fill("60 GiB")
    owner.get_by_role("button", name="Show the plan").click()
    expect(owner.locator("#content")).to_contain_text("plan")
    expect(owner.locator(".invalid-feedback, .alert-danger").first).to_be_visible()
    owner.get_by_label("Disk").fill("8 GiB")
    plan(owner, "Show the plan")
    run(owner)
    quota = panel.on_host("warden1", "zfs", "get", "-Hp", "-o", "value", "quota", f"zroot/cellblock/acme/{JAIL}")
    assert int(quota) == 8 << 30


def invited_without_rights(owner: Page) -> str:
    """Somebody who may do nothing in general: the right on the one jail comes afterwards."""
    owner.goto("/tenants/acme/invite")
    owner.get_by_label("For whom").fill("Mia of Acme")
    owner.get_by_role("radio", name=re.compile("^Member")).check()
    for tick in owner.get_by_role("group", name="A member may").get_by_role("checkbox").all():
        tick.uncheck()
    owner.get_by_role("button", name="Make the link").click()
    return the_link(owner)


def to_jail(page: Page) -> None:
    page.goto("/")
    page.locator("#my-jails").get_by_role("link", name=re.compile("^shop")).click()
    expect(heading(page)).to_have_text(JAIL)


def what_a_member_may(member: Page) -> None:
    member.goto("/")
    expect(member.locator("#my-jails")).to_contain_text("shop")
    expect(member.get_by_role("button", name=re.compile("Restart|Start|Stop"))).to_have_count(0)
    expect(member.get_by_role("link", name="Make a jail")).to_have_count(0)


def granted_power(owner: Page, member: Page, picture) -> None:
    """From then on the member may restart this jail, and still opens no console in it."""
    owner.goto("/tenants/acme/")
    owner.locator("#content").get_by_role("link", name="mia", exact=True).click()
    owner.get_by_label("Jail", exact=True).select_option(label=JAIL)
    owner.get_by_role("group", name="The member may, on this one").get_by_role(
        "checkbox", name=re.compile("^Power")
    ).check()
    owner.get_by_role("button", name="Grant", exact=True).click()
    expect(owner.get_by_role("button", name=f"Take back what was granted on {JAIL}")).to_be_visible()
    picture(owner, "member")
    to_jail(member)
    expect(member.get_by_role("navigation", name=JAIL).get_by_role("link", name="Console")).to_have_count(0)
    plan(member, f"Restart {JAIL}")
    run(member)


def work_of_the_host(owner: Page, admin: Page, picture) -> None:
    """Both agree that the host restarts this jail; then the owner has to ask for it."""
    to_jail(owner)
    owner.get_by_role("link", name=f"Change who does what on {JAIL}").click()
    owner.get_by_label("Restarts: done by").select_option(label="Host")
    owner.get_by_label("Reason").fill("We shall not restart it in the middle of your backups.")
    owner.get_by_role("button", name="Propose it to the host").click()
    admin.goto("/")
    admin.get_by_role("link", name=re.compile("^olga proposes another agreement")).click()
    picture(admin, "agreement")
    admin.get_by_role("button", name="Accept").click()

    to_jail(owner)
    owner.get_by_role("button", name=f"Restart {JAIL}").first.click()
    expect(owner.get_by_text("Nothing has been done yet")).to_be_visible()
    expect(owner.get_by_role("button", name="Run this plan")).to_have_count(0)
    owner.get_by_label("Reason").fill("The new certificate is read at the start only.")
    owner.get_by_role("button", name="Ask the host").click()
    expect(owner.locator("#approval")).to_contain_text("It waits for an answer")
    picture(owner, "plan-that-waits")

    admin.goto("/")
    admin.get_by_role("link", name=re.compile("^olga asks for your approval")).click()
    admin.get_by_label("Comment").fill("No backup runs now.")
    picture(admin, "approval")
    admin.get_by_role("button", name="Approve").click()
    expect(admin.locator("#content")).to_contain_text("No backup runs now.")

    owner.goto("/")
    picture(owner, "my-jails")
    owner.get_by_role("link", name=re.compile("^ada has approved")).click()
    run(owner)


# Break-glass


def the_glass_is_broken(admin: Page, picture) -> None:
    admin.goto("/jails/?q=shop")
    admin.locator("#content").get_by_role("link", name=JAIL, exact=True).first.click()
    expect(admin.get_by_role("link", name="Console", exact=True)).to_have_count(0)
    menu(admin, "Break the glass")
    admin.get_by_label("Reason").fill("Spam")
    admin.get_by_role("button", name="Break the glass").click()
    expect(admin.locator(".invalid-feedback").first).to_contain_text("Say more")
    admin.get_by_label("Reason").fill(WHY_ENTERED)
    picture(admin, "break-the-glass")
    admin.get_by_role("button", name="Break the glass").click()
    expect(admin.locator(".break-glass")).to_contain_text(WHY_ENTERED)
    picture(admin, "jail-by-break-glass")
    assert run_one(admin, "id -un") == "root\n"


def the_owner_reads_of_it(owner: Page, admin: Page, picture) -> None:
    owner.goto("/")
    banner = owner.get_by_role("region", name=f"Break-glass into {JAIL}")
    expect(banner).to_contain_text(f"ada is in {JAIL} by break-glass.")
    expect(banner).to_contain_text(WHY_ENTERED)
    picture(owner, "my-jails-break-glass")
    banner.get_by_role("link", name="What was done").click()
    expect(owner.locator("#content")).to_contain_text(re.compile("command"))
    picture(owner, "break-glass")
    owner.get_by_role("button", name="We have read this").click()
    go_to_tab(admin, "Overview")
    admin.get_by_role("button", name=f"End the break-glass of ada into {JAIL}").click()
    expect(admin.get_by_role("link", name="Console", exact=True)).to_have_count(0)
    expect(owner.locator("#content")).to_contain_text("olga, ")
    owner.goto("/")
    expect(banner).to_have_count(0)


# Without scripts


def without_scripts(visit, owner: Page, panel) -> None:
    """Make a jail, stop it and start it again: all by forms and links."""
    page = visit(java_script_enabled=False, storage_state=owner.context.storage_state())
    page.goto("/jails/make")
    page.get_by_label("Name", exact=True).fill("blog.example.org")
    page.get_by_label("Disk").fill("2 GiB")
    page.get_by_role("button", name="Show the plan").click()
    run_without_scripts(page)
    name = "acme-blog-example-org"
    page.get_by_role("link", name=f"Go to {name}", exact=True).click()
    expect(state_of(page)).to_have_text("running")
    for button, state in ((re.compile("^Stop$"), "stopped"), (f"Start {name}", "running")):
        page.get_by_role("button", name=button).first.click()
        run_without_scripts(page)
        page.get_by_role("link", name=f"Go to {name}", exact=True).click()
        expect(state_of(page)).to_have_text(state)
    assert name in panel.on_host("warden1", "jls", "-q", "name").split()


def run_without_scripts(page: Page) -> None:
    page.get_by_role("button", name="Run this plan").click()
    reloaded_until(page, page.locator("#progress").get_by_text("took "))
    expect(page.locator("#progress .subtitle .state").first).to_have_text("done")


def reloaded_until(page: Page, there, within: int = LONG) -> None:
    """Load a page again, each second, until something is on it."""
    for _ in range(within // 1000):
        if there.count():
            return
        page.wait_for_timeout(1000)
        page.reload()
    expect(there.first).to_be_visible()


# Leaving


def member_is_taken_out(owner: Page, member: Page) -> None:
    owner.goto("/tenants/acme/")
    owner.locator("#content").get_by_role("link", name="mia", exact=True).click()
    owner.get_by_text("Take out of the team").click()
    owner.get_by_role("button", name="Take mia out of Acme Shops").click()
    expect(heading(owner)).to_have_text("Acme Shops")
    member.goto("/")
    expect(member).to_have_url(re.compile("/accounts/login/"))


# The auditor


def the_queue(auditor: Page, admin: Page, picture) -> None:
    """The gravest needs a second person, who is not the one who did it; the other is signed off at once."""
    auditor.goto("/audit/review")
    console = auditor.get_by_role("checkbox", name=re.compile(": Console into a tenant$"))
    reloaded_until(auditor, console, BY_RULES)
    picture(auditor, "audit-review")
    glass = auditor.get_by_role("checkbox", name=re.compile(": Broke the glass$"))
    glass.check()
    console.check()
    auditor.get_by_role("button", name="Sign off the chosen").click()
    expect(auditor.locator("#comment-error")).to_be_visible()
    auditor.get_by_label("What you found").fill("Asked Olga: they knew of it by the afternoon.")
    auditor.get_by_role("button", name="Sign off the chosen").click()
    expect(console).to_have_count(0)
    expect(glass).to_have_count(0)
    auditor.get_by_role("link", name=re.compile("^Needs a second person")).click()
    expect(auditor.locator(".review-table")).to_contain_text("Broke the glass")
    auditor.get_by_role("link", name=re.compile("^Signed off")).click()
    expect(auditor.locator(".review-table")).to_contain_text("Console into a tenant")
    expect(auditor.locator(".review-table")).to_contain_text("they knew of it by the afternoon")
    admin.goto("/audit/review?state=second")
    expect(admin.locator(".review-table")).to_contain_text("Needs somebody else")
    expect(admin.get_by_role("checkbox", name=re.compile("Broke the glass"))).to_have_count(0)


def recordings(auditor: Page, picture) -> None:
    auditor.goto(f"/consoles/?jail={JAIL}&who=olga")
    auditor.get_by_role("link", name=f"Recording of olga in {JAIL}").last.click()
    auditor.get_by_role("button", name="Play").click()
    auditor.get_by_role("button", name="To the end").click()
    expect(auditor.locator(".xterm-rows")).to_contain_text("40 bicycles")
    place = auditor.get_by_label("Position in seconds")
    assert place.input_value() == place.get_attribute("max")
    place.press("Home")
    expect(auditor.locator(".xterm-rows")).not_to_contain_text("40 bicycles")
    place.press("End")
    expect(auditor.locator(".xterm-rows")).to_contain_text("It ended by itself.")
    picture(auditor, "recording")
    auditor.get_by_role("link", name="Read as text").click()
    expect(auditor.get_by_label("What was shown")).to_contain_text("cat /root/stock.txt")


def the_log(auditor: Page, owner: Page, panel, picture) -> None:
    auditor.goto("/audit/?tenant=acme")
    picture(auditor, "audit-tenant")
    for words in ("ada", "olga", "mia", "otto"):
        expect(auditor.locator(".log-table")).to_contain_text(words)
    auditor.goto("/audit/?tenant=acme&action=tenant.plan")
    auditor.locator(".log-did a").last.click()  # the newest is that of the operation on the host
    auditor.get_by_role("link", name="what differs").click()
    disk = auditor.get_by_role("row").filter(has_text="disk")
    expect(disk).to_contain_text("ada")
    picture(auditor, "differences")

    auditor.goto("/audit/")
    expect(auditor.locator("#content")).to_contain_text("unbroken")
    with auditor.expect_download() as download:
        auditor.get_by_role("link", name="JSON lines").click()
    entries = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    holds(entries)
    done = {(entry["actor"], entry["action"]) for entry in entries}
    assert {
        ("ada", "tenant.plan"),
        ("olga", "console.open"),
        ("ada", "jail.breakglass"),
        ("ada", "console.run"),
        ("otto", "audit.review"),
        ("otto", "recording.read"),
    } <= done
    assert "an unbroken chain" in panel.manage("audit_verify")

    owner.goto("/audit/")
    expect(owner.get_by_role("link", name="JSON lines")).to_have_count(0)
    expect(owner.locator("#content")).to_contain_text(JAIL)
    expect(owner.locator("#content")).not_to_contain_text("mailhub")
    picture(owner, "log-of-the-tenant")


def holds(entries: list[dict]) -> None:
    """What docs/audit.md tells others to do with an export."""
    entries.sort(key=lambda entry: entry["sequence"])
    assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
    previous = "0" * 64
    for entry in entries:
        assert entry["previous_hash"] == previous
        previous = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == previous, entry["sequence"]
