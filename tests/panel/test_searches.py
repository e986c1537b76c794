"""Searches of the log that are kept under a name."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from jails.models import AuditEntry, SavedSearch
from tests.panel.fleet import Fleet
from tests.panel.fleet import signed_in as as_
from tests.panel.hostile import HOSTILE
from tests.panel.test_tenants import last

pytestmark = pytest.mark.django_db


def keep(client: Client, query: str = "action=jail.destroy&host=warden1", name: str = "Gone", **data: str) -> Any:
    return client.post(reverse("audit-search-save"), {"query": query, "name": name, **data}, follow=True)


def offered(client: Client, query: str = "") -> list[tuple[str, bool]]:
    found = client.get(f"{reverse('audit')}?{query}").context["searches"]
    return [(one["search"].name, one["is_here"]) for one in found]


def test_a_search_is_kept_with_its_filters_and_found_again(fleet: Fleet) -> None:
    auditor = as_(fleet, "auditor")
    page = keep(auditor, "host=warden1&before=9&action=jail.destroy&nonsense=1&who=")
    assert page.request["QUERY_STRING"] == "action=jail.destroy&host=warden1"
    assert SavedSearch.objects.get().query == "action=jail.destroy&host=warden1"
    assert offered(auditor) == [("Gone", False)]
    assert offered(auditor, "host=warden1&action=jail.destroy") == [("Gone", True)]
    assert 'value="action=jail.destroy&amp;host=warden1"' in page.content.decode()  # for who keeps it again
    assert 'name="q" value=""' in page.content.decode()
    assert f'href="{reverse("audit")}?action=jail.destroy&amp;host=warden1"' in page.content.decode()


def test_it_is_ones_own(fleet: Fleet) -> None:
    keep(as_(fleet, "auditor"))
    keep(as_(fleet, "member"), name="Mine")
    for role, names in (("administrator", []), ("auditor", ["Gone"]), ("member", ["Mine"]), ("owner", [])):
        assert [name for name, _ in offered(as_(fleet, role))] == names, role
    assert not AuditEntry.objects.filter(action__startswith="search.").exists()


def test_it_is_shared_among_who_sees_the_whole_log_and_that_is_noted(fleet: Fleet) -> None:
    keep(as_(fleet, "auditor"), shared="on")
    assert last("search.share").after == {"query": "action=jail.destroy&host=warden1"}
    assert offered(as_(fleet, "administrator")) == [("Gone", False)]
    assert offered(as_(fleet, "owner")) == []
    as_(fleet, "auditor").post(reverse("audit-search-remove", args=[SavedSearch.objects.get().pk]))
    assert last("search.remove").before == {"query": "action=jail.destroy&host=warden1"}
    assert offered(as_(fleet, "administrator")) == []


def test_a_tenant_shares_none(fleet: Fleet) -> None:
    assert keep(as_(fleet, "owner"), shared="on").status_code == 404
    assert not SavedSearch.objects.exists()


@pytest.mark.parametrize(
    "query", ["", "nonsense=1", "before=3", "outcome=nosuch", "since=yesterday", "object=", "who="]
)
def test_what_filters_by_nothing_is_not_kept(fleet: Fleet, query: str) -> None:
    assert "Filter first" in keep(as_(fleet, "auditor"), query).content.decode()
    assert not SavedSearch.objects.exists()


@pytest.mark.parametrize("name", ["", *(HOSTILE[case] for case in ("newline", "nul", "long", "right-to-left"))])
def test_a_name_is_one_line_of_text(fleet: Fleet, name: str) -> None:
    assert "was not kept" in keep(as_(fleet, "auditor"), name=name).content.decode()
    assert not SavedSearch.objects.exists()


def test_a_name_is_shown_as_text(fleet: Fleet) -> None:
    page = keep(as_(fleet, "auditor"), name="<b>x</b>").content.decode()
    assert "<b>x</b>" not in page and "&lt;b&gt;x&lt;/b&gt;" in page


def test_a_name_is_used_once_and_the_first_stays(fleet: Fleet) -> None:
    auditor = as_(fleet, "auditor")
    keep(auditor)
    assert "choose another name" in keep(auditor, "host=warden2").content.decode()
    assert SavedSearch.objects.get().query == "action=jail.destroy&host=warden1"


def test_there_is_an_end_to_how_many(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SavedSearch, "MOST", 1)
    auditor = as_(fleet, "auditor")
    keep(auditor)
    assert "remove one first" in keep(auditor, name="Another").content.decode()


def test_searches_cost_one_query(fleet: Fleet, django_assert_max_num_queries: Any) -> None:
    auditor = as_(fleet, "auditor")
    auditor.get(reverse("audit"))
    SavedSearch.objects.bulk_create(
        SavedSearch(user=fleet.people["administrator"], name=f"s{n}", query="who=x", shared=True) for n in range(30)
    )
    with django_assert_max_num_queries(16):
        assert len(offered(auditor)) == 30
