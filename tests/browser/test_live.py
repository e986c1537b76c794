"""Pages that keep themselves up to date, in a real browser: nothing the reader holds is lost."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from jails.models import Host, Jail, Operation, OperationStep
from tests.panel import work

pytestmark = pytest.mark.browser
SHORT = timedelta(seconds=20)


def step(operation, index, **values):
    OperationStep.objects.filter(operation=operation, index=index).update(**values)


def touch(thing):
    """As a worker does with each of its writes."""
    thing.save(update_fields=["changed_at"])


@pytest.fixture
def running(rows):
    return work.running(rows.zfs, rows.people["administrator"], age=SHORT)


@pytest.fixture
def page(sign_in, running):
    page = sign_in()
    page.goto(f"/operations/{running.pk}/")
    return page


class TestOperation:
    def test_it_moves_on_without_reload(self, page, running):
        page.evaluate("window.stayed = true")
        expect(page.locator("#step-2")).to_contain_text("50.0 MiB of 200 MiB")
        step(running, 1, progress=100 * 2**20, output="cloning\nhalf\n")
        expect(page.locator("#step-2")).to_contain_text("100 MiB of 200 MiB")
        expect(page.locator("#step-2-output")).to_have_text("cloning\nhalf\n")
        step(running, 1, status="done", finished_at=running.started_at + SHORT)
        step(running, 2, status="running", started_at=running.started_at + SHORT)
        expect(page.locator("#step-3")).to_have_attribute("data-current-step", "")
        expect(page.locator(".page-head")).to_contain_text("2 of 5 steps")
        assert page.evaluate("window.stayed") is True

    def test_when_it_is_done_it_says_so_and_stops_asking(self, page, running):
        step(running, 1, status="done")
        Operation.objects.filter(pk=running.pk).update(status="done", finished_at=running.started_at + SHORT)
        expect(page.get_by_role("link", name="Go to warden1")).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        asked = []
        page.on("request", lambda request: asked.append(request.url) if "/progress" in request.url else None)
        page.wait_for_timeout(1600)
        assert asked == []

    def test_news_on_the_way_when_it_ends_do_not_load_the_page_again(self, page, running):
        page.evaluate("window.stayed = true")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        Operation.objects.filter(pk=running.pk).update(status="done", finished_at=running.started_at + SHORT)
        # The tray has news, and asks for the part a second time while the first answer is not there yet.
        page.evaluate("for (let i = 0; i < 2; i++) live.refresh(document.getElementById('progress'))")
        expect(page.get_by_role("link", name="Go to warden1")).to_be_visible()
        page.wait_for_timeout(500)
        assert page.evaluate("window.stayed") is True
        assert [url for url in asked if url.endswith("undefined")] == []

    def test_what_the_reader_opened_stays_open_and_what_was_closed_closed(self, page, running):
        page.locator("#step-4 summary").first.click()
        page.locator("#step-2 summary").first.click()
        for number in range(3):
            step(running, 1, progress=number)
            expect(page.locator("#step-2 .step-progress")).to_contain_text(f"{number} B")
        expect(page.locator("#step-4-details")).to_have_attribute("open", "")
        expect(page.locator("#step-2-details")).not_to_have_attribute("open", "")

    def test_focus_and_selection_stay(self, page, running):
        page.locator("#step-4 summary").first.focus()
        page.evaluate("""() => {
            const text = document.getElementById("step-2-output").firstChild;
            getSelection().setBaseAndExtent(text, 0, text, 5);
        }""")
        step(running, 1, output="cloning\nmore\n")
        expect(page.locator("#step-2-output")).to_contain_text("more")
        assert page.evaluate("getSelection().toString()") == "cloni"
        assert page.evaluate("document.activeElement.closest('li').id") == "step-4"

    def test_focus_goes_to_the_part_when_its_button_is_gone(self, page, running):
        page.get_by_role("button", name="Cancel").focus()
        Operation.objects.filter(pk=running.pk).update(status="done", finished_at=running.started_at + SHORT)
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        assert page.evaluate("document.activeElement.tagName") != "BODY"

    def test_output_scrolls_along_until_the_reader_scrolls_up(self, page, running):
        lines = [f"line {number}" for number in range(200)]
        output, at_end = (
            page.locator("#step-2-output"),
            "pre => pre.scrollHeight - pre.scrollTop - pre.clientHeight < 8",
        )
        step(running, 1, output="\n".join(lines[:100]))
        expect(output).to_contain_text("line 99")
        assert output.evaluate(at_end)
        step(running, 1, output="\n".join(lines[:150]))
        expect(output).to_contain_text("line 149")
        assert output.evaluate(at_end)
        output.evaluate("pre => { pre.scrollTop = 40 }")
        step(running, 1, output="\n".join(lines))
        expect(output).to_contain_text("line 199")
        assert output.evaluate("pre => pre.scrollTop") == 40

    def test_a_plan_that_changed_is_shown_anew(self, page, running):
        Operation.objects.filter(pk=running.pk).update(status="stale", error="It boots one more.")
        expect(page.get_by_role("button", name="Run the new plan")).to_be_visible()

    def test_nothing_is_asked_in_a_hidden_tab_and_at_once_when_it_is_back(self, page, running):
        page.evaluate("""() => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => window.away ?? true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        page.wait_for_timeout(800)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        step(running, 1, output="while away\n")
        page.wait_for_timeout(2600)
        assert asked == []
        page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
        expect(page.locator("#step-2-output")).to_contain_text("while away")


class TestFollowing:
    @pytest.fixture
    def long(self, rows, sign_in):
        plan = work.bulk_plan([f"jail{number}" for number in range(60)])
        operation = work.add_operation(
            rows.zfs, rows.people["administrator"], "running", plan=plan, steps=[{"status": "running"}], age=SHORT
        )
        page = sign_in(viewport={"width": 1280, "height": 600})
        page.goto(f"/operations/{operation.pk}/")
        return page, operation

    def advance(self, operation, to):
        OperationStep.objects.filter(operation=operation, index__lt=to).update(status="done")
        step(operation, to, status="running")

    def test_it_follows_until_the_reader_scrolls_and_again_when_asked(self, long):
        page, operation = long
        again = page.get_by_role("button", name="Follow the running step")
        expect(again).to_be_hidden()
        self.advance(operation, 40)
        expect(page.locator("[data-current-step]")).to_be_in_viewport()
        expect(page.locator("[data-current-step]")).to_contain_text("jail40")
        page.mouse.move(700, 300)
        page.mouse.wheel(0, -3000)
        expect(again).to_be_visible()
        self.advance(operation, 50)
        expect(page.locator("[data-current-step]")).to_contain_text("jail50")
        expect(page.locator("[data-current-step]")).not_to_be_in_viewport()
        again.click()
        expect(page.locator("[data-current-step]")).to_be_in_viewport()
        expect(again).to_be_hidden()

    def test_at_the_end_it_shows_the_outcome(self, long):
        page, operation = long
        self.advance(operation, 40)
        expect(page.locator("[data-current-step]")).to_contain_text("jail40")
        OperationStep.objects.filter(operation=operation).update(status="done")
        Operation.objects.filter(pk=operation.pk).update(status="done", finished_at=operation.started_at + SHORT)
        expect(page.get_by_role("link", name="Go to warden1")).to_be_in_viewport()

    def test_when_it_fails_it_shows_where(self, long):
        page, operation = long
        self.advance(operation, 5)
        expect(page.locator("[data-current-step]")).to_contain_text("jail5")
        step(operation, 5, status="done")
        step(operation, 50, status="failed", error="jail50: in use", rc=1)
        Operation.objects.filter(pk=operation.pk).update(status="failed", error="One failed.")
        expect(page.get_by_text("jail50: in use")).to_be_in_viewport()

    def test_keys_that_scroll_let_go_too(self, long):
        page, _ = long
        page.keyboard.press("PageDown")
        expect(page.get_by_role("button", name="Follow the running step")).to_be_visible()

    def test_a_failed_one_opens_where_it_failed(self, rows, sign_in):
        plan = work.bulk_plan([f"jail{number}" for number in range(60)])
        steps = [*[{"status": "done"}] * 45, {"status": "failed", "error": "jail45: in use", "rc": 1, "output": "x\n"}]
        operation = work.add_operation(rows.zfs, rows.people["administrator"], "failed", plan=plan, steps=steps)
        page = sign_in(viewport={"width": 1280, "height": 600})
        page.goto(f"/operations/{operation.pk}/")
        expect(page.get_by_text("jail45: in use")).to_be_in_viewport()


class TestTray:
    def test_one_line_that_opens_and_stays_open(self, rows, sign_in):
        page = sign_in()
        page.goto("/networks/")
        tray = page.locator("#tray")
        expect(tray).to_contain_text("No operations yet")
        tray.locator("summary").click()
        first = work.done(rows.zfs, rows.people["administrator"])
        expect(tray.locator(".tray-list")).to_contain_text("Create www1")
        expect(tray.locator("details")).to_have_attribute("open", "")
        work.running(rows.zfs, rows.people["administrator"], age=SHORT)
        expect(tray.locator("summary")).to_contain_text("step 2 of 5")
        expect(tray.locator("details")).to_have_attribute("open", "")
        tray.locator(f"#tray-{first.pk}").click()
        page.wait_for_url(f"**/operations/{first.pk}/")

    def test_news_reach_the_page_and_the_tree(self, rows, sign_in):
        page = sign_in()
        page.goto("/hosts/warden1/")
        row = page.locator(f"#jail-{rows.jails['www2'].pk}")
        expect(row).to_contain_text("stopped")
        Jail.objects.filter(name="www2").update(state="running")
        touch(Host.objects.get(name="warden1"))
        expect(row).to_contain_text("running")
        expect(page.locator(f"#tree-jail-{rows.jails['www2'].pk} .state-mark")).to_have_attribute("title", "running")


class TestRefresh:
    def test_the_button_keeps_the_focus_and_the_page_tells(self, rows, sign_in, monkeypatch):
        from panel.views import hosts

        monkeypatch.setattr(hosts.queue, "send_refresh", lambda host: None)
        page = sign_in()
        page.goto("/hosts/warden1/")
        page.evaluate("window.stayed = true")
        page.get_by_role("button", name="Refresh").click()
        expect(page.locator(".page-head")).to_contain_text("refreshing…")
        assert page.evaluate("document.activeElement.textContent.trim()") == "Refresh"
        host = Host.objects.get(name="warden1")
        host.refreshed_at = host.refresh_wanted_at + timedelta(seconds=1)
        host.save()
        expect(page.locator(".page-head")).to_contain_text("refreshed")
        assert page.evaluate("window.stayed") is True


class TestTimes:
    def test_how_long_something_is_so_is_kept_fresh_and_exact_on_hover(self, rows, sign_in):
        page = sign_in()
        page.goto("/")
        said = page.evaluate(
            """() => {
              const time = document.createElement("time");
              time.dataset.lasting = "";
              time.dateTime = new Date(Date.now() - 7_500_000).toISOString();
              document.querySelector("main").append(time);
              document.dispatchEvent(new CustomEvent("htmx:afterSettle"));
              return [time.textContent, time.title !== ""];
            }"""
        )
        assert said == ["2 h", True]


class TestLine:
    def test_when_it_is_cut_the_page_says_since_when(self, sign_in, complaints):
        page = sign_in()
        page.goto("/")
        banner = page.get_by_text("Not connected since")
        expect(banner).to_be_hidden()
        page.context.set_offline(True)
        expect(banner).to_be_visible()
        assert re.search(r"Not connected since \d", banner.inner_text())
        page.context.set_offline(False)
        expect(banner).to_be_hidden(timeout=15_000)
        complaints[:] = [text for text in complaints if "ERR_INTERNET_DISCONNECTED" not in text]

    def test_signed_out_elsewhere(self, sign_in, rows):
        from django.contrib.sessions.models import Session

        page = sign_in()
        page.goto("/hosts/add")
        page.get_by_label("Name").fill("half-typed")
        Session.objects.all().delete()
        expect(page.get_by_text("You were signed out.")).to_be_visible()
        assert page.get_by_label("Name").input_value() == "half-typed"
        expect(page.get_by_role("link", name="Sign in")).to_have_attribute(
            "href", re.compile(r"/accounts/login/\?next=/hosts/add")
        )
