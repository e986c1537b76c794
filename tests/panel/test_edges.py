"""What the panel tells browsers and proxies, and what it takes from them, in production's settings."""

from __future__ import annotations

import json
import os
import runpy
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from tests.panel.fleet import Fleet

pytestmark = pytest.mark.django_db
TOP = Path(__file__).parent.parent.parent
PRODUCTION = {
    "CELLBLOCK_ENV_FILE": os.devnull,
    "CELLBLOCK_URL": "https://panel.example",
    "CELLBLOCK_TRUSTED_PROXY": "127.0.0.1",
    "CELLBLOCK_SECRET_KEY": string.ascii_letters,
}


def manage(tmp_path: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CELLBLOCK_")}
    environment = clean | PRODUCTION | {"CELLBLOCK_STATE_DIR": str(tmp_path), "PYTHONPATH": str(TOP)} | settings
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True)


def test_djangos_check_for_deployment_finds_nothing(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_that_check_does_find_what_is_wrong(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING", CELLBLOCK_HSTS_SECONDS="0")
    assert done.returncode == 1 and "security.W004" in done.stderr


@pytest.fixture
def production(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The panel with the settings of production that have to do with browsers; a client that comes over TLS."""
    from django.conf import settings as current

    for name in [name for name in os.environ if name.startswith("CELLBLOCK_")]:
        monkeypatch.delenv(name)
    for name, value in (PRODUCTION | {"CELLBLOCK_STATE_DIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    loaded = runpy.run_path(str(TOP / "panel" / "settings.py"))
    prefixes = (
        "SECURE_",
        "SESSION_",
        "CSRF_",
        "X_FRAME",
        "CONTENT_SECURITY",
        "ALLOWED_HOSTS",
        "TRUSTED_",
        "DATA_UPLOAD",
    )
    for name, value in loaded.items():
        if name.startswith(prefixes) and hasattr(current, name):
            setattr(settings, name, value)
    settings.MFA_REQUIRED_ROLES = frozenset()
    return Client(headers={"host": "panel.example", "x-forwarded-proto": "https"})


EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
}


@pytest.mark.parametrize("path", ["/accounts/login/", "/", "/nowhere", "/hosts/", "/audit/?export=csv", "/health"])
def test_every_answer_has_the_headers(production: Client, fleet: Fleet, path: str) -> None:
    production.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    response = production.get(path)
    assert {name: response.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    csp = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in csp and "frame-ancestors 'none'" in csp and "object-src 'none'" in csp
    assert "unsafe" not in csp and "*" not in csp and "http:" not in csp


def test_pages_of_people_are_in_no_shared_cache(production: Client, fleet: Fleet) -> None:
    production.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    for name in ("home", "people", "account", "mfa_index"):
        response = production.get(reverse(name))
        assert "Cookie" in response.headers.get("Vary", "") or "no-store" in response.headers.get("Cache-Control", "")


def test_cookies_are_for_this_name_tls_and_no_script(production: Client, fleet: Fleet) -> None:
    person = fleet.people["administrator"]
    person.set_password("correct horse battery")
    person.save()
    production.get(reverse("account_login"))
    production.post(reverse("account_login"), {"login": person.username, "password": "correct horse battery"})
    assert {"__Host-session", "__Host-csrf"} <= set(production.cookies)
    for name in ("__Host-session", "__Host-csrf"):
        cookie = production.cookies[name]
        assert cookie["secure"] and cookie["httponly"] and cookie["samesite"] == "Lax"
        assert cookie["path"] == "/" and not cookie["domain"]


def test_without_tls_one_is_sent_to_it_but_the_monitor_is_not(production: Client) -> None:
    plain = {"headers": {"host": "panel.example", "x-forwarded-proto": "http"}}
    response = Client(**plain).get("/hosts/")
    assert (response.status_code, response.headers["Location"]) == (301, "https://panel.example/hosts/")
    assert Client(**plain).get("/health").status_code == 200


def test_nobody_else_says_that_there_was_tls(production: Client, settings: Any) -> None:
    response = production.get("/accounts/login/", REMOTE_ADDR="198.51.100.7")
    assert response.status_code == 301


def test_another_name_is_not_answered(production: Client) -> None:
    assert production.get("/accounts/login/", headers={"host": "evil.example"}).status_code == 400


def test_a_post_from_another_site_is_refused(production: Client, fleet: Fleet) -> None:
    strict = Client(enforce_csrf_checks=True, headers={"host": "panel.example", "x-forwarded-proto": "https"})
    strict.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    for origin in ("https://evil.example", "null", "http://panel.example"):
        response = strict.post(reverse("account-sessions"), headers={"origin": origin})
        assert response.status_code == 403, origin


@pytest.mark.parametrize(
    "data",
    [
        {"q": "x" * 3_000_000},
        {f"field{number}": "1" for number in range(5_001)},
        {"file": SimpleUploadedFile("a", b"x")},
    ],
    ids=["3 MB", "5001 fields", "a file"],
)
def test_what_is_sent_is_bounded(fleet: Fleet, client: Client, data: Any) -> None:
    client.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    assert client.post(reverse("host-add"), data).status_code in (400, 413)


def test_sending_as_json_or_xml_changes_nothing(fleet: Fleet, client: Client) -> None:
    client.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    for content_type in ("application/json", "text/xml"):
        response = client.post(reverse("person-invite"), '{"label": "x", "role": ""}', content_type=content_type)
        assert response.status_code == 422


# What asks for known vulnerabilities


@pytest.fixture(scope="module")
def verdict() -> Any:
    return runpy.run_path(str(TOP / ".ci" / "audit"))["verdict"]


def test_a_known_vulnerability_fails(verdict: Any) -> None:
    row = {"name": "django", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]}
    status, text = verdict(json.dumps({"dependencies": [row]}), "")
    assert status == 1 and "django 1.0: PYSEC-1" in text


def test_what_could_not_be_asked_is_said(verdict: Any) -> None:
    skipped = '{"dependencies": [{"name": "x", "version": "1", "skip_reason": "not found"}]}'
    assert verdict(skipped, "") == (0, "audit: no vulnerability database knows these 1 packages: nothing was checked")
    assert verdict("", "warning\nERROR: no route to host")[1].endswith("(ERROR: no route to host): nothing was checked")
    rows = [{"name": "x", "version": "1", "skip_reason": "?"}, {"name": "y", "version": "1", "vulns": []}]
    assert (
        verdict(json.dumps({"dependencies": rows}), "")[1]
        == "audit: 1 packages checked, 1 could not be, 0 vulnerabilities known"
    )
