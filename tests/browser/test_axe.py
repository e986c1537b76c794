"""Every screen without a violation of WCAG 2 A and AA that axe can find, in light and dark."""

import re
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from jails import agreements, approvals, audit, breakglass, review
from jails.hosts.access import Access, Line, Verdict
from jails.looks import looking
from jails.models import (
    AuditReview,
    Console,
    Host,
    HostAccessRecord,
    HostFactsRecord,
    Jail,
    JailKey,
    Look,
    Pool,
    Sample,
    Side,
    SshKey,
    TenantDataset,
    TenantPlan,
    Work,
    Worker,
)
from jails.statements import Month
from tests.freebsd.test_logins import KEYS
from tests.panel import work
from tests.panel.crowd import make_crowd
from tests.panel.test_factors import add_all_factors
from tests.panel.test_snapshots import answered, row
from tests.test_statements import measured

pytestmark = pytest.mark.browser
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
}
PATHS = {
    "overview": "/",
    "hosts": "/hosts/",
    "host": "/hosts/warden1/",
    "host without ZFS": "/hosts/warden2/",
    "add host": "/hosts/add",
    "access to a host": "/hosts/warden1/access",
    "change host": "/hosts/warden1/change",
    "forget host": "/hosts/warden1/forget",
    "jails": "/jails/",
    "releases": "/releases/",
    "templates": "/templates/",
    "networks": "/networks/",
    "add network": "/networks/add",
    "operations": "/operations/",
    "audit": "/audit/?action=host.forget",
    "timeline": "/audit/timeline?object=user:1",
    "what differs": "/audit/differences?object=user:1",
    "reviews": "/audit/review",
    "reviews for a second person": "/audit/review?state=second",
    "reviews signed off": "/audit/review?state=done",
    "break-glass": "/break-glass/",
    "approvals": "/approvals/",
    "agreement of a tenant": "/tenants/acme/agreement",
    "tenant with a plan": "/tenants/acme/",
    "plan of a tenant": "/tenants/acme/plan",
    "usage of a tenant": "/tenants/acme/usage",
    "consoles": "/consoles/",
    "search": "/search?q=w",
    "account": "/account/",
    "address": "/accounts/address/",
    "second factors": "/accounts/factors/",
    "add an app": "/accounts/factors/app/add",
    "add a passkey": "/accounts/passkeys/add",
    "new recovery codes": "/accounts/factors/codes/new",
    "not found": "/nowhere",
}


CHANGES = [
    {"change": change, "kind": "F", "path": f"/srv/{number}", "to": to, "at": 1_700_000_000}
    for number, (change, to) in enumerate([("+", ""), ("R", "/srv/new"), ("-", "")])
]


def violations(page):
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        (one["id"], node["target"], node.get("failureSummary", "")[:300]) for one in found for node in one["nodes"][:4]
    ]


@pytest.fixture
def checked(complaints):
    """Looks at a page in both looks and as narrow as a phone."""

    def check(page):
        if page.locator("#tray").count():
            expect(page.locator("#tray-details")).to_be_attached()
        found = []
        for look in ("light", "dark"):
            page.emulate_media(color_scheme=look, reduced_motion="reduce")
            expect(page.locator("html")).to_have_attribute("data-bs-theme", look)
            found += [(look, *one) for one in violations(page)]
        page.set_viewport_size({"width": 360, "height": 740})
        found += [("phone", *one) for one in violations(page)]
        return found

    return check


def reviewed(rows):
    """Something in each part of the queue of reviews, own and others'."""
    people = rows.people
    with transaction.atomic():
        for actor in ("member", "administrator", "operator", "member"):
            audit.record("host.forget", actor=people[actor], obj=rows.ufs, outcome="refused", tenant=rows.acme)
            after = {"role": "administrator"}
            audit.record("user.change", actor=people[actor], obj=people["viewer"], after=after)
    review.catch_up()
    chosen = AuditReview.objects.filter(actor="member-person").order_by("pk")[:2]
    review.sign_off(chosen, "A slip of the hand; I asked them.", user=people["auditor"])


@pytest.fixture
def trouble(rows):
    """Something of everything that can be wrong, so that every colour is on the page."""
    person = rows.people["administrator"]
    Pool.objects.filter(host=rows.zfs).update(health="DEGRADED", reserve=0, used=95, available=5, snapshots=10)
    Host.objects.filter(name="warden2").update(
        unavailable_since=person.date_joined, unavailable_reason="no answer in 10 s"
    )
    Jail.objects.filter(name="www1").update(state="dying")
    reviewed(rows)
    work.failed(rows.zfs, person)
    work.running(rows.zfs, person, age=timedelta(seconds=9))
    work.add_operation(rows.zfs, person, "stuck")
    work.add_operation(rows.zfs, person, "queued")
    plan = TenantPlan.objects.create(tenant=rows.acme, jails=1, disk=2**40, memory=2**30, any_host=False)
    plan.hosts.set([rows.zfs])
    TenantDataset.objects.create(tenant=rows.acme, host=rows.zfs, name="zroot/cellblock/acme", used=2**30)
    month = Month.of(timezone.now()).begin
    for name in ("www1", "www2"):
        for hour in (0, 5):
            measured(rows, name, month + timedelta(hours=hour))
    www1 = rows.jails["www1"]
    Jail.objects.filter(pk=www1.pk).update(limits={**www1.limits, "memory": 2**29, "cpu": 150, "processes": 200})
    record, _ = HostFactsRecord.objects.get_or_create(host=rows.zfs, defaults={"data": {}, "gathered_at": month})
    record.data["sysctls"] = {**record.data.get("sysctls", {}), "kern.racct.enable": "0"}
    record.save()
    reason = "Its mail queue fills the disk of the host, and nobody of the team answers."
    breakglass.enter(rows.jails["www1"], reason, timedelta(hours=1), user=person)
    breakglass.end(breakglass.enter(rows.jails["www2"], reason, timedelta(hours=2), user=person), user=person)
    return rows


@pytest.mark.parametrize("name", PATHS)
def test_page(sign_in, trouble, checked, name):
    page = sign_in()
    page.goto(PATHS[name])
    assert checked(page) == []


def test_what_a_changed_plan_means_on_hosts(sign_in, trouble, checked):
    page = sign_in()
    page.goto(PATHS["plan of a tenant"])
    page.click("[name=show]")
    expect(page.get_by_text("Nothing has been saved yet")).to_be_visible()
    assert checked(page) == []


@pytest.mark.parametrize("path", ["/", "/jails/", "/jails/make", "/operations/", "/audit/"])
def test_page_of_a_tenant(sign_in, trouble, checked, path):
    page = sign_in("owner")
    page.goto(path)
    assert checked(page) == []


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_console_and_who_was_there(sign_in, rows, checked, state):
    jail = rows.jails["www1"]
    Jail.objects.filter(pk=jail.pk).update(state=state)
    for number in range(12):
        more = {"ended_at": timezone.now(), "ended": "idle"} if number else {}
        Console.objects.create(
            jail=jail, jail_name="www1", host_name="warden1", tenant=rows.acme, username="x" * 40, login="root", **more
        )
    page = sign_in("owner")
    page.goto(f"/jails/{jail.uuid}/console")
    expect(page.get_by_role("heading", level=2, name="Who was in www1")).to_be_visible()
    assert checked(page) == []
    page.get_by_role("link", name="All consoles in www1").click()
    expect(page.locator("tbody tr")).to_have_count(12)
    assert checked(page) == []


@pytest.mark.parametrize("count", [0, 3])
def test_snapshots(sign_in, trouble, checked, count):
    jail = trouble.jails["www1"]
    work.seen_snapshots(jail, count)
    page = sign_in("owner")
    page.goto(f"/jails/{jail.uuid}/snapshots")
    expect(page.get_by_role("heading", level=1)).to_have_text("Snapshots of www1")
    assert checked(page) == []
    if count:
        page.goto(f"/jails/{jail.uuid}/snapshots?at={timezone.now():%Y-%m-%dT%H:%M}&zone=UTC")
        expect(page.get_by_role("button", name="Show what would be lost")).to_be_visible()
        assert checked(page) == []
        answered(jail, "changes", {"snapshot": "day1"}, {"count": 3, "more": False, "rows": CHANGES})
        page.goto(f"/jails/{jail.uuid}/snapshots/changes?snapshot=day1")
        expect(page.get_by_text("renamed")).to_be_visible()
        assert checked(page) == []
        rows = [row("shop", "directory"), row("page"), row("link", "link"), row("odd", exact=False)]
        answered(jail, "snapshot_files", {"snapshot": "day1", "path": "/srv"}, {"count": 4, "rows": rows})
        page.goto(f"/jails/{jail.uuid}/snapshots/files?snapshot=day1&path=/srv")
        expect(page.get_by_role("link", name="shop/")).to_be_visible()
        assert checked(page) == []
        page.goto(f"/jails/{jail.uuid}/snapshots")
        page.get_by_role("link", name="Make a sandbox of day3").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sandbox of www1")
        assert checked(page) == []


@pytest.fixture
def agreed(rows):
    """Restarts are the tenant's; the tenant proposes something else; an administrator asks. The approval."""
    admin, owner = rows.people["administrator"], rows.people["owner"]
    agreements.set_alone(rows.acme, None, {Work.RESTARTS: Side.TENANT}, user=admin, reason="As in the contract.")
    www1 = rows.jails["www1"]
    agreements.propose(rows.acme, www1, {Work.RESTARTS: Side.EITHER}, side=Side.TENANT, user=owner, reason="Both do.")
    wish = {"jails": [str(www1.uuid)]}
    operation = work.add_operation(rows.zfs, admin, kind="jail_stop", parameters=wish, tenant=rows.acme, jails=[www1])
    return operation, approvals.ask(operation, "The kernel is updated tonight.", user=admin)[0]


@pytest.mark.parametrize("role", ["administrator", "owner"])
def test_who_does_what_and_approvals(sign_in, rows, agreed, checked, role):
    operation, row = agreed
    page = sign_in(role)
    uuid = rows.jails["www1"].uuid
    for path in ("/", f"/jails/{uuid}/", f"/jails/{uuid}/agreement", f"/approvals/{row.pk}/", "/approvals/"):
        page.goto(path)
        assert checked(page) == [], path
        page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"/operations/{operation.pk}/")
    assert checked(page) == []


def test_a_plan_that_needs_an_approval(sign_in, rows, agreed, checked):
    operation, row = agreed
    approvals.withdraw(row, user=rows.people["administrator"])
    page = sign_in()
    page.goto(f"/operations/{operation.pk}/")
    page.get_by_role("button", name="Ask Acme").click()
    expect(page.get_by_text("Say why: who is asked needs it to decide.")).to_be_visible()
    assert checked(page) == []


@pytest.mark.parametrize("role", ["administrator", "owner"])
def test_the_page_of_a_break_glass(sign_in, trouble, checked, role):
    page = sign_in(role)
    page.goto(f"/jails/{trouble.jails['www1'].uuid}/")
    page.get_by_role("link", name="What was done").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("administrator-person in www1")
    assert checked(page) == []


def test_the_form_of_a_break_glass(sign_in, rows, checked):
    page = sign_in()
    page.goto(f"/jails/{rows.jails['www1'].uuid}/break-glass")
    page.get_by_role("button", name="Break the glass").click()
    expect(page.get_by_text("Say why: the tenant reads it.")).to_be_visible()
    assert checked(page) == []


@pytest.fixture
def looked_at(rows):
    """Answers of looks at www1 as a worker would have left them."""

    def keep(kind, result, parameters=None, **fields):
        look = looking.ask(rows.jails["www1"], kind, parameters or {}, user=rows.people["administrator"])
        now = timezone.now() + timedelta(hours=1)
        values = {"state": "done", "result": result, "seen_at": timezone.now(), "ended_at": now, "expires_at": now}
        Look.objects.filter(pk=look.pk).update(**(values | fields))

    return keep


PROCESS = {
    "pid": 70123, "ppid": 1, "user": "www", "cpu": 12.5, "memory": 2**28, "elapsed": 86400 * 3, "cpu_seconds": 7879.2,
    "state": "SJ", "command": "nginx: worker process (nginx) " + "x" * 200,
}  # fmt: skip


def test_processes_of_a_jail(sign_in, rows, looked_at, checked):
    www1 = rows.jails["www1"]
    looked_at("processes", {"count": 500, "rows": [PROCESS | {"pid": number} for number in range(100, 140)]})
    page = sign_in("viewer")
    page.goto(f"/jails/{www1.uuid}/processes")
    expect(page.get_by_role("row")).to_have_count(41)
    assert checked(page) == []
    looked_at("processes", None, state="failed", problem="Its host could not be reached.")
    page.reload()
    expect(page.get_by_role("status").first).to_contain_text("could not be reached")


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/factors/",
        "/accounts/factors/codes",
        "/accounts/factors/app/remove",
        "/accounts/factors/reauthenticate",
        "/accounts/reauthenticate/",
        "/accounts/passkeys/reauthenticate",
    ],
)
def test_page_of_who_has_all_factors(sign_in, rows, checked, path):
    person = rows.people["administrator"]
    person.set_password("correct horse battery")
    person.save()
    add_all_factors(person)
    page = sign_in()
    page.goto(path)
    expect(page).to_have_url(re.compile(path))
    assert checked(page) == []


def test_the_pages_before_one_is_signed_in(visit_rows, rows, checked):
    person = rows.people["administrator"]
    person.set_password("correct horse battery")
    person.save()
    add_all_factors(person)
    page = visit_rows()
    page.goto("/accounts/login/")
    assert checked(page) == []
    page.get_by_label("User name").fill(person.username)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    assert checked(page) == []


def test_who_must_set_one_up(sign_in, rows, checked, settings):
    settings.MFA_REQUIRED_ROLES = frozenset({"administrator"})
    page = sign_in()
    page.goto("/")
    expect(page.get_by_text("Your role needs one.")).to_be_visible()
    assert checked(page) == []


def test_services_of_a_jail(sign_in, rows, looked_at, checked):
    states = {"cron": (True, True), "nginx": (True, False), "php-fpm": (False, False), "odd": (True, None)}
    services = [
        {"name": name, "enabled": enabled, "runs": runs, "pid": 812 if runs else 0, "local": name != "cron"}
        for name, (enabled, runs) in states.items()
    ]
    looked_at("services", {"services": services, "others": [f"service{n}" for n in range(40)], "partial": True})
    page = sign_in("owner")
    page.goto(f"/jails/{rows.jails['www1'].uuid}/services")
    page.get_by_text("40 more that could start with it").click()
    expect(page.get_by_role("button", name="Restart cron")).to_be_visible()
    assert checked(page) == []


def test_logs_of_a_jail(sign_in, rows, looked_at, checked):
    files = [{"path": f"/var/log/a{n}.log", "size": 2**n, "changed": 10**9 + n} for n in range(30)]
    looked_at("logs", {"files": files, "all": True})
    page = sign_in()
    page.goto(f"/jails/{rows.jails['www1'].uuid}/logs")
    expect(page.get_by_role("row")).to_have_count(31)
    assert checked(page) == []
    looked_at("log", {"lines": ["Mar  1 12:00:00 www1 " + "x" * 300] * 60, "cut": True}, {"path": "/var/log/a29.log"})
    page.get_by_role("link", name="/var/log/a29.log").click()
    expect(page.get_by_text("The newest 60 lines.")).to_be_visible()
    assert checked(page) == []


@pytest.mark.parametrize("span", ["hour", "month"])
def test_what_a_jail_uses(sign_in, rows, checked, span):
    www1, now = rows.jails["www1"], timezone.now()
    values = {"seconds": 60, "cpu": 9.0, "memory": 2**27, "processes": 17, "disk": 2**31}
    Sample.objects.bulk_create(
        Sample(jail=www1, at=now - timedelta(minutes=minute), running=minute % 20 > 4, **values)
        for minute in range(60)
        if not 30 < minute < 40
    )
    page = sign_in("viewer")
    page.goto(f"/jails/{www1.uuid}/use?span={span}")
    expect(page.get_by_role("heading", level=2)).to_have_text(["CPU", "Memory", "Processes", "Disk"])
    for table in page.get_by_text("As a table").all():
        table.click()
    assert checked(page) == []


@pytest.fixture
def keyed(rows):
    """Keys of two people in a jail, one of them on its way out; and one that could not be taken out."""
    owner, member = rows.people["owner"], rows.people["member"]
    for key in KEYS:
        values = {"name": key.comment, "type": key.type, "body": key.body, "fingerprint": key.fingerprint}
        SshKey.objects.create(user=owner, **values)
        JailKey.objects.create(jail=rows.jails["www1"], login="web", user=owner, **values)
    values["leaving_since"], values["why_not"] = timezone.now(), "warden1 has not answered yet."
    JailKey.objects.create(jail=rows.jails["www1"], login="deploy", user=member, **values)
    return rows


@pytest.mark.parametrize("name", ["keys", "removal of a key", "access", "access without keys", "size", "team"])
def test_keys(sign_in, keyed, checked, name):
    first = SshKey.objects.first()
    path = {
        "keys": "/account/keys",
        "removal of a key": f"/account/keys/{first.pk}/remove",
        "access": f"/jails/{keyed.jails['www1'].uuid}/access",
        "access without keys": f"/jails/{keyed.jails['www2'].uuid}/access",
        "size": f"/jails/{keyed.jails['www1'].uuid}/size",
        "team": "/tenants/acme/",
    }[name]
    page = sign_in("owner")
    page.goto(path)
    assert checked(page) == []


def test_a_key_to_pin(sign_in, rows, checked):
    Host.objects.filter(name="warden1").update(
        kind="ssh", offered_key="ssh-ed25519 AAAA", host_key="ssh-ed25519 BBBB", worker="nobody"
    )
    page = sign_in()
    page.goto("/hosts/warden1/")
    assert checked(page) == []


@pytest.mark.parametrize("is_pinned", [False, True])
def test_the_steps_of_a_new_host(sign_in, rows, checked, is_pinned):
    """All of them at once: lines to paste, a key to compare or a test of which every verdict is shown."""
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFdvcmtlcg== cellblock@here"
    Worker.objects.update_or_create(name="default", defaults={"public_key": public, "seen_at": timezone.now()})
    Host.objects.filter(name="warden1").update(
        kind="ssh", username="cellblock", become="doas", offered_key="" if is_pinned else "ssh-ed25519 AAAA"
    )
    Host.objects.filter(name="warden1").update(host_key="ssh-ed25519 BBBB")
    verdicts = [Line(verdict, f"It is {verdict}", verdict, "because", "Do this.") for verdict in Verdict]
    values = {"wanted_at": timezone.now(), "tested_at": timezone.now(), "data": Access(tuple(verdicts)).to_data()}
    HostAccessRecord.objects.create(host=rows.zfs, **values)
    page = sign_in()
    page.goto("/hosts/warden1/access")
    expect(page.get_by_text("Do this.").first).to_be_visible()
    assert checked(page) == []


def test_a_form_with_errors(sign_in, rows, checked):
    page = sign_in()
    page.goto("/hosts/add")
    page.get_by_label("Name").fill("a b")
    page.get_by_role("button", name="Add host").click()
    expect(page.get_by_text("contains “ ”")).to_be_visible()
    assert checked(page) == []


@pytest.mark.parametrize("status", ["draft", "destroy", "stale", "running", "failed", "done", "bulk", "stuck"])
def test_operation(sign_in, rows, checked, status):
    person = rows.people["administrator"]
    make = {
        "draft": lambda: work.add_operation(rows.zfs, person),
        "destroy": lambda: work.add_operation(rows.zfs, person, plan=work.destroy_plan()),
        "stale": lambda: work.add_operation(rows.zfs, person, "stale", error="It boots one more."),
        "running": lambda: work.running(rows.zfs, person, age=timedelta(seconds=9)),
        "failed": lambda: work.failed(rows.zfs, person),
        "done": lambda: work.done(rows.zfs, person, jails=[rows.jails["loghost"]]),
        "bulk": lambda: work.add_operation(
            rows.zfs, person, "running", plan=work.bulk_plan(["a", "b", "c"]),
            steps=[{"status": "done"}, {"status": "failed", "error": "no", "rc": 1}, {"status": "running"}],
        ),
        "stuck": lambda: work.add_operation(rows.zfs, person, "stuck", error="Busy.", steps=[{"status": "undoing"}]),
    }  # fmt: skip
    page = sign_in()
    page.goto(f"/operations/{make[status]().pk}/")
    page.evaluate("document.querySelectorAll('details:not(.menu)').forEach((one) => (one.open = true))")
    assert checked(page) == []


def test_everything_open(sign_in, trouble, checked):
    page = sign_in()
    page.goto("/hosts/warden1/")
    page.locator("#tray summary").click()
    page.get_by_role("searchbox").fill("w")
    expect(page.locator("#search-results a").first).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert checked(page) == []


def test_axe_does_find_what_is_wrong(sign_in, rows):
    page = sign_in()
    page.goto("/networks/")
    page.evaluate("""() => {
        const main = document.getElementById("content");
        main.append(document.createElement("button"));
        const faint = main.appendChild(document.createElement("p"));
        faint.textContent = "faint";
        faint.className = "btn-copy";
    }""")
    assert {one[0] for one in violations(page)} == {"button-name", "color-contrast"}


def test_very_full(sign_in, rows, checked):
    make_crowd(rows.people["administrator"])
    page = sign_in()
    page.goto("/hosts/")
    assert checked(page) == []
