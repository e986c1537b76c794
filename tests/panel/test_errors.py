"""Pages for what went wrong."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from panel.views import errors, health

pytestmark = pytest.mark.django_db
NOWHERE = "/nowhere"


def test_not_found_has_the_panel_around_it(as_person):
    response = as_person("administrator").get(NOWHERE)
    assert response.status_code == 404
    assert "There is nothing at this address" in response.text and 'id="tree"' in response.text


def test_not_found_for_who_is_not_signed_in(client):
    response = client.get(NOWHERE)
    assert response.status_code == 404 and 'id="tree"' not in response.text


def test_to_a_tenant_forbidden_and_not_found_look_the_same(fleet, as_person):
    client = as_person("viewer")
    forbidden = client.post(f"/jails/{fleet.jails['www1'].uuid}/start")
    hidden = client.post(f"/jails/{fleet.jails['loghost'].uuid}/start")
    assert forbidden.status_code == hidden.status_code == 404
    assert "There is nothing at this address" in forbidden.text and "There is nothing at this address" in hidden.text


def test_staff_are_told_that_it_is_forbidden(as_person):
    response = as_person("auditor").post("/hosts/warden1/refresh")
    assert response.status_code == 403 and "Not allowed" in response.text


def test_a_form_from_before_signing_in(fleet):
    client = Client(enforce_csrf_checks=True)
    client.force_login(fleet.people["administrator"], backend="django.contrib.auth.backends.ModelBackend")
    response = client.post("/hosts/warden1/refresh")
    assert response.status_code == 403 and "This page has expired" in response.text


class TestBroken:
    @pytest.fixture
    def break_it(self, monkeypatch):
        def broken(*args, **kwargs):
            raise DatabaseError("server closed the connection unexpectedly")

        monkeypatch.setattr("panel.views.overview.needs", broken)

    def test_it_has_the_panels_look_and_says_nothing_of_the_cause(self, as_person, break_it):
        client = as_person("administrator")
        client.raise_request_exception = False
        client.cookies["theme"] = "dark"
        response = client.get("/")
        assert response.status_code == 500
        assert "css/panel.css" in response.text and 'data-bs-theme="dark"' in response.text
        assert "Something broke in the panel" in response.text and "server closed" not in response.text

    def test_it_asks_the_database_nothing(self, fleet, rf):
        request = rf.get("/")
        with CaptureQueriesContext(connection) as queries:
            response = errors.broken(request)
        assert (response.status_code, len(queries)) == (500, 0)


class TestHealth:
    def test_it_answers_anybody(self, client):
        response = client.get("/health")
        assert (response.status_code, response.text) == (200, "ok\n")

    def test_without_a_database_it_does_not(self, client, monkeypatch):
        class Gone:
            def cursor(self):
                raise DatabaseError

        monkeypatch.setattr(health, "connection", Gone())
        client.raise_request_exception = False
        assert client.get("/health").status_code == 500
