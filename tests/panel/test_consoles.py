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


def test_a_recording_that_was_removed_says_so_and_is_not_offered(as_person: Any, fleet: Fleet) -> None:
    console = opened(fleet.jails["www1"], fleet.acme, "anna")
    Console.objects.filter(pk=console.pk).update(digest="d" * 64)
    auditor = as_person("auditor")
    page = auditor.get(f"/consoles/{console.pk}/").content.decode()
    assert "for 365 days" in page and "Download" in page
    Console.objects.filter(pk=console.pk).update(removed_at=timezone.now())
    page = auditor.get(f"/consoles/{console.pk}/").content.decode()
    assert "The recording was removed" in page and "d" * 64 in page
    assert "Download" not in page and "xterm" not in page and "for 365 days" not in page
    assert "Recording of anna" not in auditor.get("/consoles/").content.decode()
