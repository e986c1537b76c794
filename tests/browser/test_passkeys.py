"""Passkeys in a real browser, with an authenticator of the browser's own making."""

import re

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from playwright.sync_api import expect

from jails.models import AuditEntry

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"


@pytest.fixture
def admin(rows):
    person = rows.people["administrator"]
    person.set_password(PASSWORD)
    person.save()
    return person


def add_key(page, *, verifies=True):
    """A virtual authenticator in this page; without `verifies` one that only proves that somebody touched it."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": verifies,
        "hasUserVerification": verifies,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def sign_in_by_password(page, person):
    page.goto("/accounts/login/")
    page.get_by_label("User name").fill(person.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page):
    page.locator(".shell-user summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def register(page, name, *, alone=True):
    page.goto("/accounts/passkeys/add")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Sign in with it alone").set_checked(alone)
    page.get_by_role("button", name="Add a passkey").click()


def test_a_passkey_is_added_and_signs_in_alone(visit_rows, admin):
    page = visit_rows()
    add_key(page)
    sign_in_by_password(page, admin)
    expect(page.locator("#tree")).to_be_attached()
    register(page, "Laptop")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.goto("/accounts/factors/")
    expect(page.get_by_text("Laptop", exact=True)).to_be_visible()
    expect(page.get_by_text("signs in alone")).to_be_visible()
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator(".shell-username")).to_have_text(admin.username)
    entry = AuditEntry.objects.filter(action="session.sign_in", outcome="done").order_by("-sequence").first()
    assert entry.after == {"by": ["passkey"]}


def test_a_key_without_a_pin_is_a_second_factor_and_not_enough_alone(visit_rows, admin):
    page = visit_rows()
    add_key(page, verifies=False)
    sign_in_by_password(page, admin)
    register(page, "Old key", alone=False)
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    sign_out(page)
    sign_in_by_password(page, admin)
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page.goto("/account/")
    expect(page).to_have_url(re.compile("/accounts/factors/sign-in"))
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator(".shell-username")).to_have_text(admin.username)
    entry = AuditEntry.objects.filter(action="session.sign_in", outcome="done").order_by("-sequence").first()
    assert entry.after == {"by": ["password", "passkey"]}
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert").filter(has_text="cancelled, took too long")).to_be_visible()
    expect(page).to_have_url(re.compile("/accounts/login/"))


def test_it_proves_who_one_is_before_what_cannot_be_undone(visit_rows, admin, rows):
    page = visit_rows()
    add_key(page)
    sign_in_by_password(page, admin)
    register(page, "Laptop")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    settings.ACCOUNT_REAUTHENTICATION_TIMEOUT, before = 0, settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    try:
        page.goto("/people/invite")
        page.get_by_label("For whom").fill("Bob")
        page.get_by_role("button", name=re.compile("link", re.I)).click()
        expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
        page.get_by_role("link", name="Use a passkey").click()
        expect(page.get_by_role("button", name="Use a passkey")).to_be_visible()
    finally:
        settings.ACCOUNT_REAUTHENTICATION_TIMEOUT = before
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="A link for Bob")).to_be_visible()
    entry = AuditEntry.objects.filter(action="session.step_up").order_by("-sequence").first()
    assert (entry.outcome, entry.after) == ("done", {"by": ["passkey"]})


def test_somebody_elses_passkey_is_not_accepted(visit_rows, admin, rows):
    """The key in this browser is of the administrator; the password is the auditor's."""
    page = visit_rows()
    add_key(page)
    sign_in_by_password(page, admin)
    register(page, "Laptop")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    sign_out(page)
    auditor = rows.people["auditor"]
    auditor.set_password(PASSWORD)
    auditor.save()
    stolen = Authenticator.objects.get(type="webauthn")
    Authenticator.objects.create(user=auditor, type="totp", data={})
    sign_in_by_password(page, auditor)
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    expect(page.get_by_role("button", name="Use a passkey")).to_have_count(0)
    assert stolen.user == admin


def test_without_javascript_the_page_says_so_and_codes_work(browser, rows, visit_rows, admin):
    page = visit_rows(java_script_enabled=False)
    page.goto("/accounts/login/")
    expect(page.get_by_role("button", name="Sign in with a passkey")).not_to_be_visible()
    expect(page.get_by_text("A passkey needs JavaScript.")).to_be_visible()
    sign_in_by_password(page, admin)
    page.goto("/accounts/factors/app/add")
    expect(page.get_by_role("img", name=re.compile("QR code"))).to_be_visible()
