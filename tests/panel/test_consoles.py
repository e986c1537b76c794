"""The page of a jail's console: who has been in it lately, and a recording as text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils import timezone

from jails.consoles import client
from jails.models import Console, Jail, Tenant
from tests.panel.fleet import Fleet


def opened(jail: Jail, tenant: Tenant | None, username: str) -> Console:
    row = Console(kind=Console.Kind.TERMINAL, username=username, jail=jail, tenant=tenant, login="root")
    row.jail_name, row.host_name, row.source = jail.name, jail.host.name, "192.0.2.1"
    row.ended_at, row.ended = timezone.now(), Console.Ended.EXIT
    row.save()
    return row


def test_who_got_a_jail_does_not_see_who_of_its_former_owner_was_in_it(as_person: Any, fleet: Fleet) -> None:
    www1 = fleet.jails["www1"]
    opened(www1, Tenant.objects.create(name="Former", slug="former"), "frida-of-former")
    opened(www1, www1.tenant, "anna-of-acme")
    page = as_person("owner").get(f"/jails/{www1.uuid}/console").content.decode()
    assert "anna-of-acme" in page and "frida-of-former" not in page


def test_it_says_that_no_service_stays_that_a_command_has_started(as_person: Any, fleet: Fleet) -> None:
    page = as_person("owner").get(f"/jails/{fleet.jails['www1'].uuid}/console").content.decode()
    assert "What it has started ends with it" in page


@pytest.mark.parametrize("between", ["\u2028", "\u2029", "\x85", "\x0c", "\x1e"])
def test_nothing_vanishes_from_the_text_of_a_recording(
    as_person: Any, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    """Its lines end with a line feed and nothing else that ends a line elsewhere."""
    console = opened(fleet.jails["www1"], fleet.acme, "anna")
    event = json.dumps([1.0, "o", f"before{between}after"], ensure_ascii=False)
    content = b'{"version":2}\n' + event.encode() + b"\n"
    found = client.Recording(len(content), True, iter([content]))
    monkeypatch.setattr(client, "read", lambda wanted: found)
    page = as_person("auditor").get(f"/consoles/{console.pk}/text").content.decode()
    assert "before" in page and "after" in page
