"""What is around every page, in a real browser: search, tree, menus, keyboard, and all of it without JavaScript."""

import re

import pytest
from playwright.sync_api import expect

from jails.models import Host, Operation
from tests.panel import work
from tests.panel.fleet import GiB, add_jail

pytestmark = pytest.mark.browser
PHONE = {"width": 360, "height": 740}


@pytest.fixture
def page(sign_in):
    page = sign_in()
    page.goto("/")
    return page


def focused(page):
    """The words or the name of what has the focus."""
    return page.evaluate("""() => {
        const element = document.activeElement;
        return (element.getAttribute("aria-label") || element.textContent || element.name || element.tagName)
            .replace(/\\s+/g, " ").trim();
    }""")


class TestSearch:
    @pytest.mark.parametrize("keys", ["/", "Control+k"])
    def test_by_keyboard_alone(self, page, rows, keys):
        page.keyboard.press(keys)
        assert focused(page).startswith("Search jails")
        page.keyboard.type("www")
        results = page.locator("#search-results a")
        expect(results).to_have_count(2)
        page.keyboard.press("ArrowDown")
        assert focused(page).startswith("www1")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        assert focused(page).startswith("www2")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        assert focused(page).startswith("Search jails")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/jails/{rows.jails['www1'].uuid}/")

    def test_escape_closes_the_list_then_leaves(self, page):
        page.keyboard.press("/")
        page.keyboard.type("www")
        expect(page.locator("#search-results a")).to_have_count(2)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Escape")
        expect(page.locator("#search-results")).to_be_empty()
        assert focused(page).startswith("Search jails")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.tagName") == "BODY"

    def test_a_slash_that_is_typed_is_a_slash(self, page):
        page.goto("/networks/add")
        page.get_by_role("textbox", name="Addresses").fill("10.0.0.0")
        page.get_by_role("textbox", name="Addresses").press("End")
        page.keyboard.press("/")
        assert page.get_by_role("textbox", name="Addresses").input_value() == "10.0.0.0/"

    def test_it_closes_when_one_clicks_or_tabs_away_and_comes_back(self, page):
        page.keyboard.press("/")
        page.keyboard.type("www")
        expect(page.locator("#search-results a")).to_have_count(2)
        page.mouse.click(1000, 700)
        expect(page.locator("#search-results")).to_be_empty()
        page.keyboard.press("/")
        expect(page.locator("#search-results a")).to_have_count(2)

    def test_nothing_found(self, page):
        page.keyboard.press("/")
        page.keyboard.type("nosuch")
        expect(page.locator("#search-results")).to_contain_text("Nothing is called or addressed “nosuch”")

    def test_on_a_phone_the_list_has_the_whole_width(self, sign_in):
        page = sign_in(viewport=PHONE)
        page.goto("/")
        page.get_by_role("searchbox").fill("www")
        expect(page.locator("#search-results a")).to_have_count(2)
        box = page.locator("#search-results").bounding_box()
        assert box["x"] >= 0 and box["width"] > 320 and box["x"] + box["width"] <= 360


class TestTree:
    def test_a_host_unfolds_without_reload_and_stays_so(self, page, rows):
        page.evaluate("window.stayed = true")
        fold = page.get_by_role("button", name="Jails of warden1")
        expect(fold).to_have_attribute("aria-expanded", "false")
        fold.click()
        expect(page.locator("#tree").get_by_role("link", name="loghost")).to_be_visible()
        expect(fold).to_have_attribute("aria-expanded", "true")
        assert page.evaluate("window.stayed") is True
        assert focused(page) == "Jails of warden1"
        page.goto("/networks/")
        expect(page.locator("#tree").get_by_role("link", name="loghost")).to_be_visible()
        page.get_by_role("button", name="Jails of warden1").click()
        expect(page.locator("#tree").get_by_role("link", name="loghost")).to_have_count(0)
        page.reload()
        expect(page.locator("#tree").get_by_role("link", name="loghost")).to_have_count(0)

    def test_the_host_of_the_page_can_be_folded(self, page):
        page.goto("/hosts/warden1/")
        link = page.locator("#tree").get_by_role("link", name="loghost")
        expect(link).to_be_visible()
        page.get_by_role("button", name="Jails of warden1").click()
        expect(link).to_have_count(0)
        page.reload()
        expect(link).to_have_count(0)

    def test_the_list_of_hosts_folds(self, page):
        page.get_by_role("button", name="List of hosts").click()
        expect(page.locator("#tree").get_by_role("link", name="warden1")).to_be_hidden()
        page.reload()
        expect(page.locator("#tree").get_by_role("link", name="warden1")).to_be_hidden()

    def test_all_of_it_hides_and_stays_hidden(self, page):
        button = page.get_by_role("button", name="Navigation")
        expect(button).to_have_attribute("aria-expanded", "true")
        button.click()
        expect(page.locator("#tree")).to_be_hidden()
        page.goto("/networks/")
        expect(page.locator("#tree")).to_be_hidden()
        expect(button).to_have_attribute("aria-expanded", "false")
        button.click()
        expect(page.locator("#tree")).to_be_visible()

    def test_where_one_is_shows_in_a_tree_longer_than_the_screen(self, sign_in, rows):
        for number in range(40):
            Host.objects.create(name=f"host{number}", kind="local")
        page = sign_in()
        page.goto("/audit/")
        expect(page.locator("#tree [aria-current]")).to_be_in_viewport()
        page.locator("#tree").evaluate("tree => { tree.scrollTop = 300 }")
        page.locator("#tree").get_by_role("link", name="host30").click()
        expect(page.locator("#tree [aria-current]")).to_be_in_viewport()
        assert page.locator("#tree").evaluate("tree => tree.scrollTop") == 300

    @pytest.mark.parametrize("motion", ["reduce", "no-preference"])
    def test_a_drawer_on_a_phone(self, sign_in, motion):
        page = sign_in(viewport=PHONE, reduced_motion=motion)
        page.goto("/networks/")
        button, tree = page.get_by_role("button", name="Navigation"), page.locator("#tree")
        expect(tree).to_be_hidden()
        expect(button).to_have_attribute("aria-expanded", "false")
        button.press("Enter")
        expect(tree).to_be_visible()
        assert focused(page) == "Networks"
        assert page.locator("#content").evaluate("main => main.inert")
        page.keyboard.press("Escape")
        expect(tree).to_be_hidden()
        assert focused(page) == "Navigation"
        assert not page.locator("#content").evaluate("main => main.inert")
        button.click()
        page.mouse.click(350, 400)
        expect(tree).to_be_hidden()
        button.click()
        tree.get_by_role("link", name="Operations").click()
        page.wait_for_url("**/operations/")
        expect(tree).to_be_hidden()


class TestMenus:
    def test_escape_closes_and_gives_the_focus_back(self, page):
        page.goto("/hosts/warden1/")
        more = page.get_by_label("More for warden1")
        more.press("Enter")
        expect(page.get_by_role("link", name="Forget this host")).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(page.get_by_role("link", name="Forget this host")).to_be_hidden()
        assert focused(page) == "More for warden1"

    def test_tabbing_out_closes(self, page):
        page.goto("/hosts/warden1/")
        page.get_by_label("More for warden1").press("Enter")
        for _ in range(12):  # more than the menu has
            page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Forget this host")).to_be_hidden()

    def test_the_look_is_chosen_and_kept(self, page):
        page.locator(".shell-user summary").click()
        page.get_by_role("button", name="Dark").click()
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
        page.goto("/networks/")
        expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")

    def test_copying(self, page, rows):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        draft = work.add_operation(rows.zfs, rows.people["administrator"])
        page.goto(f"/operations/{draft.pk}/")
        page.get_by_role("button", name="Copy the command").first.click()
        assert page.evaluate("navigator.clipboard.readText()") == "zfs create -u -p zroot/cellblock/host"


class TestKeyboard:
    @pytest.mark.parametrize(
        "path", ["/", "/hosts/", "/hosts/warden1/", "/hosts/add", "/networks/", "/operations/", "plan"]
    )
    def test_tab_reaches_everything_in_reading_order_and_shows_where_it_is(self, sign_in, rows, path):
        if path == "plan":
            path = f"/operations/{work.add_operation(rows.zfs, rows.people['administrator']).pk}/"
        page = sign_in(viewport={"width": 1280, "height": 2000})
        page.goto(path)
        expect(page.locator("#tray-details")).to_be_visible()
        wanted = page.evaluate("""() => {
            const all = document.querySelectorAll(
                "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']");
            const other = (e) => e.type === "radio" && !e.checked;  // Tab goes to the one that is chosen
            return [...all].filter((e) => !e.disabled && !other(e) && e.checkVisibility({ checkVisibilityCSS: true }))
                .map((e, number) => { e.dataset.order = number; return number; });
        }""")
        page.evaluate("document.activeElement.blur()")
        reached, unseen = [], []
        for _ in wanted:
            page.keyboard.press("Tab")
            here = page.evaluate("""() => {
                const element = document.activeElement, style = getComputedStyle(element);
                const ring = parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== "none";
                return [Number(element.dataset.order), ring, element.outerHTML.slice(0, 80)];
            }""")
            reached.append(here[0])
            if not here[1]:
                unseen.append(here[2])
        assert reached == wanted
        assert unseen == []

    def test_enter_in_a_field_asks_for_the_plan_and_not_for_another_address(self, page, rows):
        page.goto(f"/jails/{rows.jails['www1'].uuid}/change")
        rows_of_addresses = page.get_by_label("Address").count()
        with page.expect_navigation():
            page.get_by_label("Hostname").press("Enter")
        expect(page.locator("main [role=alert]").first).to_be_visible()
        assert page.get_by_label("Address").count() == rows_of_addresses

    def test_skip_link(self, page):
        page.keyboard.press("Tab")
        assert focused(page) == "Skip to content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"


class TestWithoutJavaScript:
    @pytest.fixture
    def page(self, sign_in):
        return sign_in(java_script_enabled=False)

    def test_every_page_of_the_main_job_shows_and_its_links_work(self, page, rows):
        for path in ("/", "/hosts/", "/hosts/warden1/", "/hosts/add", "/networks/", "/operations/"):
            page.goto(path)
            expect(page.locator("#tree").get_by_role("link", name="warden1")).to_be_visible()
            expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.goto("/hosts/warden1/")
        expect(page.locator("#tree").get_by_role("link", name="loghost")).to_be_visible()
        expect(page.locator("#tray").get_by_role("link", name="Operations")).to_be_visible()

    def test_search_is_a_page(self, page, rows):
        page.goto("/")
        page.get_by_role("searchbox").fill("www")
        page.get_by_role("searchbox").press("Enter")
        expect(page.get_by_role("heading", name="Search")).to_be_visible()
        page.locator("#content").get_by_role("link", name=re.compile("^www1")).click()
        page.wait_for_url(f"**/jails/{rows.jails['www1'].uuid}/")

    def test_a_plan_is_run_and_its_page_reloaded_by_hand(self, page, rows):
        draft = work.add_operation(rows.zfs, rows.people["administrator"])
        page.goto(f"/operations/{draft.pk}/")
        page.get_by_role("button", name="Run this plan").click()
        expect(page.locator(".page-head")).to_contain_text("waiting")
        Operation.objects.filter(pk=draft.pk).update(status="done")
        page.get_by_role("link", name="Reload to see how far it is").click()
        expect(page.locator(".page-head")).to_contain_text("done")

    def test_on_a_phone_the_tree_comes_first(self, sign_in):
        page = sign_in(java_script_enabled=False, viewport=PHONE)
        page.goto("/networks/")
        expect(page.locator("#tree").get_by_role("link", name="Operations")).to_be_visible()
        assert page.locator("#tree").bounding_box()["y"] < page.locator("h1").bounding_box()["y"]


class TestPhone:
    @pytest.mark.parametrize(
        "path", ["/", "/hosts/", "/hosts/warden1/", "/hosts/add", "/networks/", "/networks/add", "/operations/"]
    )
    def test_nothing_is_wider_than_the_screen(self, sign_in, rows, path):
        page = sign_in(viewport=PHONE)
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 360

    def test_nor_is_a_page_of_a_jail_with_the_longest_name(self, sign_in, rows):
        jail = add_jail(rows, "n" * 63, ip="192.0.2.63", kind="thin", tenant=rows.acme, limits={"quota": 10 * GiB})
        page = sign_in("owner", viewport=PHONE)
        wide = {}
        for tab in ("", "use", "services", "logs", "snapshots", "console", "access", "size", "destroy", "agreement"):
            page.goto(f"/jails/{jail.uuid}/{tab}")
            if (width := page.evaluate("document.documentElement.scrollWidth")) != 360:
                wide[tab] = width
        assert wide == {}


class TestNamesInLists:
    @pytest.mark.parametrize(("width", "lines"), [(1024, 2), (1280, 1)])
    def test_the_name_of_a_jail_is_not_cut_into_pieces(self, sign_in, rows, width, lines):
        """The long names of host and tenant, the state and the addresses leave room for it."""
        for row, name in ((rows.zfs, "bsd-frankfurt-01.internal.example.net"), (rows.acme, "Acme Shops of the North")):
            row.name = name
            row.save()
        jail = rows.jails["gone"]
        jail.name, jail.tenant, jail.used = "acme-webshop-01", rows.acme, 9 << 30
        jail.save()
        page = sign_in(viewport={"width": width, "height": 800})
        page.goto("/jails/")
        cells = page.locator(".jail-list td.name")
        one = cells.get_by_role("link", name="www1").bounding_box()["height"]
        assert cells.get_by_role("link", name=jail.name).bounding_box()["height"] < one * (lines + 0.5)
        assert page.evaluate("document.documentElement.scrollWidth") == width


class TestSignedOutMeanwhile:
    """In the middle of a form: what was filled in is there again, for who it was and in that tab alone."""

    PASSWORD = "correct horse battery st"

    def signs_in(self, page, person):
        person.set_password(self.PASSWORD)
        person.save()
        page.get_by_label("User name").fill(person.username)
        page.get_by_label("Password").fill(self.PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()

    @pytest.fixture
    def form(self, sign_in):
        page = sign_in("owner")
        page.goto("/tenants/acme/invite")
        page.get_by_label("For whom").fill("Mia of Acme")
        page.get_by_role("radio", name=re.compile("^Manager")).check()
        return page

    def signed_out(self, page):
        page.context.clear_cookies(name=re.compile("session"))
        page.get_by_role("button", name="Make the link").click()
        expect(page.get_by_role("alert").or_(page.get_by_role("status"))).to_contain_text("nothing of what you sent")

    def test_the_form_is_filled_in_again(self, form, rows):
        self.signed_out(form)
        self.signs_in(form, rows.people["owner"])
        expect(form).to_have_url(re.compile("/tenants/acme/invite$"))
        expect(form.get_by_label("For whom")).to_have_value("Mia of Acme")
        expect(form.get_by_role("radio", name=re.compile("^Manager"))).to_be_checked()
        expect(form.get_by_text("What you had filled in is here again.")).to_be_visible()
        form.reload()
        expect(form.get_by_label("For whom")).to_have_value("")

    def test_somebody_else_finds_nothing_of_it(self, form, rows):
        self.signed_out(form)
        self.signs_in(form, rows.people["administrator"])
        expect(form).to_have_url(re.compile("/tenants/acme/invite$"))
        expect(form.get_by_label("For whom")).to_have_value("")
        assert form.evaluate("sessionStorage.getItem('unsent')") is None

    def test_a_code_that_was_not_taken_is_kept_nowhere(self, form):
        form.get_by_label("For whom").evaluate("field => field.setAttribute('autocomplete', 'one-time-code')")
        form.get_by_label("For whom").fill("a1b2c3d4e5")
        self.signed_out(form)
        kept = form.evaluate("sessionStorage.getItem('unsent')")
        assert "manager" in kept and "a1b2c3d4e5" not in kept

    def test_what_was_taken_is_not_kept(self, form):
        form.get_by_role("button", name="Make the link").click()
        expect(form.get_by_role("heading", level=1)).to_have_text("A link for Mia of Acme")
        assert form.evaluate("sessionStorage.getItem('unsent')") is None
