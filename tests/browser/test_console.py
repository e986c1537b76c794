"""A console as somebody at a keyboard has it, on everything that `make run` starts."""

import os
import re
import signal
import subprocess

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Panel
from tests.browser.test_axe import violations
from tests.browser.test_story import come_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    panel = Panel(tmp_path_factory.mktemp("panel"))
    panel.kind = "files"
    panel.start()
    yield panel
    panel.stop()


@pytest.fixture(scope="module")
def cookies(panel, browser):
    context = browser.new_context(base_url=panel.url)
    page = context.new_page()
    come_in(page, panel.signin_link(), "ada")
    page.goto("/jails/")
    expect(page.get_by_text("mailhub", exact=True).first).to_be_visible(timeout=30_000)
    found = context.cookies()
    context.close()
    return found


@pytest.fixture
def at_console(visit, cookies):
    def go(**options) -> Page:
        page = visit(**options)
        page.context.add_cookies(cookies)
        page.goto("/jails/")
        page.locator("#content").get_by_role("link", name="mailhub", exact=True).first.click()
        page.get_by_role("link", name="Console").click()
        return page

    return go


def shown(page: Page):
    """What a screen reader is given of the terminal."""
    return page.locator(".xterm-accessibility-tree")


def state_of(page: Page):
    return page.get_by_role("status").first


def test_typing_a_command(at_console, picture):
    page = at_console()
    expect(state_of(page)).to_have_text("Not connected.")
    page.get_by_role("button", name="Connect").click()
    expect(state_of(page)).to_have_text("Connected to mailhub as root. Recorded.")
    expect(page.get_by_label("Terminal in mailhub")).to_be_focused()
    page.keyboard.type("hostname; stty size; printf '\\033[38;2;200;90;40mwarm\\033[0m\\n'\n")
    expect(shown(page)).to_contain_text("mailhub.example.com")
    expect(shown(page)).to_contain_text("warm")
    size = re.search(r"\b(\d+) (\d+)\b", shown(page).inner_text())
    assert size and int(size[1]) > 10 and int(size[2]) > 60
    picture(page, "console")
    assert violations(page) == []
    page.keyboard.press("Control+Shift+ArrowUp")
    expect(page.get_by_role("button", name="Disconnect")).to_be_focused()
    page.get_by_label("Terminal in mailhub").focus()
    page.keyboard.type("exit 4\n")
    expect(state_of(page)).to_have_text("The shell ended. Exit status 4.")
    expect(page.get_by_role("button", name="Connect again")).to_be_focused()


def test_control_c_and_a_new_size(at_console):
    page = at_console()
    page.get_by_role("button", name="Connect").click()
    page.get_by_label("Terminal in mailhub").wait_for()
    page.keyboard.type("sleep 60\n")
    expect(shown(page)).to_contain_text("sleep 60")
    page.keyboard.press("Control+c")
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_timeout(1500)
    page.keyboard.type("echo width $(stty size)\n")
    expect(shown(page)).to_contain_text(re.compile(r"width \d+ [1-7]\d"))
    page.get_by_role("button", name="Disconnect").click()
    expect(state_of(page)).to_have_text("Disconnected.")


def test_the_service_dies_and_comes_again(at_console, panel):
    page = at_console()
    page.get_by_role("button", name="Connect").click()
    expect(state_of(page)).to_contain_text("Connected")
    (pid,) = pids_of_consoled(panel)
    os.kill(pid, signal.SIGKILL)
    expect(state_of(page)).to_contain_text("The connection was lost at")
    panel.wait_for("consoles ended")
    page.wait_for_timeout(6000)
    page.get_by_role("button", name="Connect again").click()
    expect(state_of(page)).to_contain_text("Connected")
    page.get_by_role("button", name="Disconnect").click()


def pids_of_consoled(panel):
    found = subprocess.run(["pgrep", "-f", "django consoled"], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found if panel.is_mine(pid)]


def test_a_log_as_it_is_written(at_console, panel, picture):
    """By the stream, beside which nothing is asked for; when that is lost the page asks by itself again."""
    page = at_console()
    expect(page).to_have_url(re.compile("/console$"))
    base = page.url.removesuffix("/console")

    def write(text):
        script = 'mkdir -p /var/log; echo "$1" >>/var/log/messages'
        panel.on_host("warden1", "jexec", "mailhub", "sh", "-c", script, "sh", text)

    write("there before")
    page.goto(f"{base}/logs?path=/var/log/messages&follow=on")
    state, lines = page.locator("[data-follow-state]"), page.locator("[data-follow-lines]")
    expect(state).to_have_text("New lines appear as they are written.", timeout=20_000)
    expect(lines).to_contain_text("there before")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/logs" in request.url else None)
    write("<b>just now</b>")
    expect(lines).to_contain_text("<b>just now</b>")
    assert not asked and violations(page) == []
    picture(page, "log")
    page.get_by_role("button", name="Stop").click()
    expect(state).to_contain_text("Stopped at")
    page.get_by_role("button", name="Follow again").click()
    expect(state).to_contain_text("New lines appear", timeout=20_000)
    (pid,) = pids_of_consoled(panel)
    os.kill(pid, signal.SIGKILL)
    expect(state).to_contain_text("This page asks every few seconds instead.")
    write("afterwards")
    expect(page.locator("#log-lines")).to_contain_text("afterwards", timeout=20_000)
    page.wait_for_timeout(6000)


def test_an_answer_that_comes_after_the_stream_brings_nothing_back(at_console, panel):
    """What the page asked for by itself, just before, is answered when the lines come by the stream already."""
    page = at_console()
    expect(page).to_have_url(re.compile("/console$"))
    base = page.url.removesuffix("/console")
    script = "mkdir -p /var/log; echo one >>/var/log/late"
    panel.on_host("warden1", "jexec", "mailhub", "sh", "-c", script)
    late, tickets = [], []

    def hold(route):
        (late if route.request.headers.get("hx-target") == "jail-log" else tickets).append(route)

    page.goto(f"{base}/logs?path=/var/log/late")
    page.route("**/logs**", lambda route: hold(route) if route.request.resource_type == "fetch" else route.continue_())
    page.get_by_label("Follow").check()
    page.get_by_role("button", name="Show").click()
    for _ in range(200):
        if late and tickets:
            break
        page.wait_for_timeout(100)
    (held,), (ticket,) = late, tickets
    late.clear()
    ticket.continue_()
    expect(page.locator("[data-follow-state]")).to_have_text("New lines appear as they are written.", timeout=20_000)
    with page.expect_response(lambda answer: answer.request == held.request):
        held.continue_()
    page.wait_for_timeout(1500)
    assert not late
    expect(page.locator("#log-look")).to_be_hidden()
    expect(page.locator("#jail-log")).not_to_have_attribute("data-live", re.compile(""))


def test_a_user_that_is_none(at_console):
    page = at_console()
    page.locator("[data-console-login]").fill("Root!")
    page.get_by_role("button", name="Connect").click()
    expect(state_of(page)).to_contain_text("lower case letters")


def test_without_javascript(at_console, picture):
    page = at_console(java_script_enabled=False)
    expect(page.get_by_text("A terminal needs JavaScript.")).to_be_visible()
    page.get_by_role("textbox", name="Command").fill("echo '<b>'; exit 3")
    page.get_by_role("button", name="Run in mailhub").click()
    expect(page.get_by_text("Exit status 3")).to_be_visible()
    expect(page.get_by_label("Output")).to_have_text("<b>\n")


def test_a_recording(at_console, picture):
    page = at_console()
    page.get_by_role("button", name="Connect").click()
    expect(state_of(page)).to_contain_text("Connected")
    page.keyboard.type("echo recorded words\nexit\n")
    expect(state_of(page)).to_contain_text("The shell ended")
    page.goto("/consoles/")
    picture(page, "consoles")
    assert violations(page) == []
    page.get_by_role("link", name="Recording of ada in mailhub").first.click()
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    page.get_by_role("button", name="To the end").click()
    expect(page.locator(".xterm-rows")).to_contain_text("recorded words")
    expect(page.get_by_role("status").first).to_contain_text("The end")
    picture(page, "recording")
    assert violations(page) == []
    page.get_by_role("link", name="Read as text").click()
    expect(page.get_by_label("What was shown")).to_contain_text("recorded words")
    assert violations(page) == []
