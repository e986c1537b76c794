"""What the settings refuse, and what they make of the environment: the file is run anew for each case."""

import logging
import os
import runpy
import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from panel import settings as loaded

SECRET = string.ascii_letters  # stands for 52 random characters
Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    def load(**values: str) -> dict[str, Any]:
        for name in [name for name in os.environ if name.startswith("CELLBLOCK_")]:
            monkeypatch.delenv(name)
        values = {"ENV_FILE": os.devnull, "STATE_DIR": str(tmp_path)} | values
        for name, value in values.items():
            monkeypatch.setenv(f"CELLBLOCK_{name}", value)
        return runpy.run_path(str(loaded.__file__))

    return load


@pytest.fixture
def production(load: Load) -> Load:
    def production(**values: str) -> dict[str, Any]:
        return load(**({"SECRET_KEY": SECRET, "URL": "https://cellblock.example.org"} | values))

    return production


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("SECRET_KEY", {"SECRET_KEY": ""}),
        ("SECRET_KEY", {"SECRET_KEY": "short"}),
        ("SECRET_KEY", {"SECRET_KEY": "a" * 80}),
        ("SECRET_KEY", {"SECRET_KEY": "django-insecure-" + SECRET}),
        ("SECRET_KEY_FILE", {"SECRET_KEY_FILE": "/nonexistent/key"}),
        ("DEBUG", {"DEBUG": "1"}),
        ("URL", {"URL": ""}),
        ("URL", {"URL": "cellblock.example.org"}),
        ("URL", {"URL": "https://cellblock.example.org/panel"}),
        ("URL", {"URL": "http://cellblock.example.org"}),
        ("WORKERS", {"WORKERS": "elsewhere"}),
        ("STATE_DIR", {"STATE_DIR": "/dev/null/state"}),
        ("MFA_REQUIRED_ROLES", {"MFA_REQUIRED_ROLES": "administrator,boss"}),
        ("STEP_UP_MINUTES", {"STEP_UP_MINUTES": "0"}),
        ("MAIL_URL", {"MAIL_URL": "http://mail.example.org"}),
        ("MAIL_URL", {"MAIL_URL": "smtp:///"}),
        ("HOST_NETWORKS", {"HOST_NETWORKS": "192.0.2.0/24,hosts.example.org"}),
        ("HOST_NETWORKS", {"HOST_NETWORKS": "192.0.2.1/24"}),
        ("OIDC_ISSUER", {"OIDC_ISSUER": "id.example.org"}),
        ("OIDC_ISSUER", {"OIDC_ISSUER": "http://id.example.org"}),
        ("OIDC_CLIENT_ID", {"OIDC_ISSUER": "https://id.example.org"}),
        ("MAIL_PASSWORD_FILE", {"MAIL_PASSWORD_FILE": "/nonexistent/password"}),
        ("TRUSTED_PROXY", {"TRUSTED_PROXY": "192.0.2.1,proxy"}),
        ("DATABASE_URL", {"BROKER_URL": "redis://192.0.2.9:6379/0"}),
        ("DATABASE_URL", {"WORKERS": "remote", "BROKER_URL": "redis://127.0.0.1/0"}),
        ("BROKER_URL", {"WORKERS": "remote", "DATABASE_URL": "postgresql://db.example.org/cellblock"}),
    ],
)
def test_production_refuses_what_is_unsafe_by_name(production: Load, name: str, values: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^CELLBLOCK_{name}: "):
        production(**values)


def test_without_any_setting_it_does_not_start(load: Load) -> None:
    with pytest.raises(ImproperlyConfigured, match="CELLBLOCK_URL"):
        load()


def test_production_starts_with_a_secret_and_its_address(production: Load) -> None:
    settings = production()
    assert not settings["DEBUG"]
    assert settings["ALLOWED_HOSTS"] == ["cellblock.example.org"]
    assert settings["STORAGES"]["staticfiles"]["BACKEND"].startswith("whitenoise.")
    assert settings["LIVE_ORIGINS"] == []


def test_postgresql_allows_workers_and_a_broker_elsewhere(production: Load) -> None:
    settings = production(
        WORKERS="remote", DATABASE_URL="postgresql://db.example.org/cellblock", BROKER_URL="rediss://q.example.org/0"
    )
    assert settings["DATABASES"]["default"]["HOST"] == "db.example.org"


def test_sqlite_with_a_broker_on_the_same_machine_is_fine(production: Load) -> None:
    assert production(BROKER_URL="redis://[::1]:6379/0")["BROKER_IS_LOCAL"]


def test_cookies_are_for_tls_alone_where_there_is_tls(production: Load) -> None:
    settings = production()
    assert settings["SESSION_COOKIE_SECURE"] and settings["CSRF_COOKIE_SECURE"]
    assert settings["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert settings["SECURE_HSTS_SECONDS"] > 0


def test_the_demo_makes_a_secret_of_its_own_and_keeps_it(load: Load, tmp_path: Path) -> None:
    first = load(DEMO="1")["SECRET_KEY"]
    assert load(DEMO="1")["SECRET_KEY"] == first
    assert len(first) > 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_a_demo_that_others_reach_needs_its_address_said(load: Load) -> None:
    with pytest.raises(ImproperlyConfigured, match="CELLBLOCK_URL"):
        load(DEMO="1", LISTEN="0.0.0.0:8000")
    assert load(DEMO="1", LISTEN="0.0.0.0:8000", URL="http://lab.example.org:8000")["DEMO"]


def test_secrets_can_come_from_a_file(production: Load, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    assert production(SECRET_KEY="", SECRET_KEY_FILE=str(tmp_path / "key"))["SECRET_KEY"] == SECRET


def test_the_policy_of_scripts_and_styles_has_no_exception(production: Load) -> None:
    directives = production()["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]
    assert directives["default-src"] == ["'self'"]
    assert "script-src" not in directives and "style-src" not in directives
    assert not [source for sources in directives.values() for source in sources if "unsafe" in source]


def test_messages_are_json_and_leave_no_results(production: Load) -> None:
    settings = production()
    assert settings["CELERY_ACCEPT_CONTENT"] == ["json"]
    assert settings["CELERY_RESULT_BACKEND"] is None
    assert settings["CELERY_WORKER_ENABLE_REMOTE_CONTROL"] is False


def test_the_workers_key_is_named_but_not_read(production: Load, tmp_path: Path) -> None:
    key = tmp_path / "seal.key"
    key.write_text("only workers read this")
    settings = production(WORKER_KEY_FILE=str(key))
    assert settings["WORKER_KEY_FILE"] == key
    assert "only workers read this" not in repr(settings)


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_in_the_log_shows_no_values(load: Load, form: str) -> None:
    formatter = dict(load(DEMO="1", LOG_FORMAT=form)["LOGGING"]["formatters"]["structlog"])
    made = formatter.pop("()")(**formatter)

    def fail(password: str) -> None:
        raise RuntimeError("no luck")

    try:
        fail("hunter" + str(2))
    except RuntimeError:
        record = logging.LogRecord("jails", logging.ERROR, __file__, 1, "it failed", (), sys.exc_info())
    text = made.format(record)
    assert "RuntimeError" in text and "no luck" in text and "fail" in text
    assert "hunter2" not in text


def test_a_broker_that_is_away_does_not_hold_up_who_sends(load: Load) -> None:
    options = load(DEMO="1", BROKER_URL="redis://127.0.0.1:6379/0")["CELERY_BROKER_TRANSPORT_OPTIONS"]
    assert options["socket_connect_timeout"] <= 5 and options["socket_timeout"] <= 5 and options["max_retries"] <= 1


def test_staff_must_have_a_second_factor_in_production_and_nobody_in_the_demo(load: Load, production: Load) -> None:
    assert production()["MFA_REQUIRED_ROLES"] == {"administrator", "operator", "auditor"}
    assert production(MFA_REQUIRED_ROLES="administrator, owner")["MFA_REQUIRED_ROLES"] == {"administrator", "owner"}
    assert production(MFA_REQUIRED_ROLES="")["MFA_REQUIRED_ROLES"] == frozenset()
    assert load(DEMO="1")["MFA_REQUIRED_ROLES"] == frozenset()


@pytest.mark.parametrize(
    ("url", "port", "starttls", "tls"),
    [
        ("smtp://mail.example.org", 587, True, False),
        ("smtps://mail.example.org", 465, False, True),
        ("smtp://127.0.0.1", 25, False, False),
        ("smtp://mail.example.org:2525", 2525, True, False),
    ],
)
def test_mail_goes_over_tls_but_to_this_machine(
    production: Load, url: str, port: int, starttls: bool, tls: bool
) -> None:
    settings = production(MAIL_URL=url)
    assert (settings["EMAIL_PORT"], settings["EMAIL_USE_TLS"], settings["EMAIL_USE_SSL"]) == (port, starttls, tls)
    assert settings["MAIL_SENDS"] and settings["DEFAULT_FROM_EMAIL"] == "cellblock@cellblock.example.org"


def test_the_password_of_the_mail_server_comes_from_a_file(production: Load, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    settings = production(MAIL_URL="smtp://panel%40x@mail.example.org", MAIL_PASSWORD_FILE=str(tmp_path / "password"))
    assert (settings["EMAIL_HOST_USER"], settings["EMAIL_HOST_PASSWORD"]) == ("panel@x", "p@ss/word")


def test_without_a_mail_server_nothing_is_sent(production: Load) -> None:
    assert not production()["MAIL_SENDS"]
    assert production()["EMAIL_BACKEND"].endswith("dummy.EmailBackend")


def test_forms_may_go_on_to_the_provider_that_is_set_and_to_no_other(production: Load, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    named = {"OIDC_ISSUER": "https://id.example.org/realm", "OIDC_CLIENT_ID": "x"}
    settings = production(**named, OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert settings["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["form-action"] == ["'self'", "https://id.example.org"]
    assert production()["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["form-action"] == ["'self'"]
