"""The page of a tenant's statement, and what is taken out of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from jails.models import AuditEntry
from jails.statements import HOUR
from tests.panel.fleet import Fleet
from tests.test_statements import MARCH, hours, measured

pytestmark = pytest.mark.django_db
URL = "/tenants/acme/usage?month=2026-03"


def test_it_shows_each_jail_and_all_of_them(as_person: Any, fleet: Fleet) -> None:
    hours(fleet, "www1", MARCH.begin, 3)
    hours(fleet, "www2", MARCH.begin, 2)
    page = as_person("owner").get(URL).content.decode()
    assert "Usage of" in page and "March 2026" in page and "www1" in page and "www2" in page
    assert '<dd class="tabular">5.0</dd>' in page
    assert "Not measured, and in no sum" in page and "2026-03-01 03:00 to 2026-04-01 00:00" in page


def test_a_month_without_data_says_so(as_person: Any, fleet: Fleet) -> None:
    page = as_person("owner").get(URL).content.decode()
    assert "Nothing measured" in page and "export=csv" not in page


def test_the_months_beside_it_are_those_of_which_there_is_something(as_person: Any, fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin)
    measured(fleet, "www1", MARCH.before.begin)
    page = as_person("owner").get(URL).content.decode()
    assert "?month=2026-02" in page and "?month=2026-04" in page
    assert "?month=2026-01" not in as_person("owner").get("/tenants/acme/usage?month=2026-02").content.decode()


def test_csv_is_sent_and_noted(as_person: Any, fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin, jail_name="=cmd()")
    response = as_person("owner").get(f"{URL}&export=csv")
    entry = AuditEntry.objects.get(action="tenant.usage_export")
    assert entry.actor == fleet.people["owner"].username and entry.tenant == "acme"
    assert '"month": "2026-03"' in str(entry.after).replace("'", '"')
    assert response.streaming and "usage-acme-2026-03" in response["Content-Disposition"]
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert len(lines) == 3 and "'=cmd()" in lines[1] and lines[2].startswith("2026-03,acme,all jails,")


def test_nothing_of_another_tenant_is_in_it(as_person: Any, fleet: Fleet) -> None:
    measured(fleet, "www1", MARCH.begin)
    measured(fleet, "www1", MARCH.begin + HOUR, tenant=fleet.other, jail_name="secret")
    assert "secret" not in as_person("owner").get(URL).content.decode()


@pytest.mark.parametrize("role", ["member", "viewer", "operator"])
def test_it_is_for_owners_and_managers(as_person: Any, fleet: Fleet, role: str) -> None:
    assert as_person(role).get(URL).status_code == 404
    assert reverse("tenant-usage", args=["acme"]).encode() not in as_person(role).get("/tenants/acme/").content


@pytest.mark.parametrize("month", ["9999-12", "0001-01", "1999-12", "3000-01", "2026-13", "2026-00", "2026-3", "x"])
def test_there_is_no_page_of_what_is_no_month(as_person: Any, fleet: Fleet, month: str) -> None:
    client = as_person("owner")
    assert client.get("/tenants/acme/usage", {"month": month}).status_code == 404
    assert client.get("/tenants/acme/usage", {"month": "2999-12"}).status_code == 200
