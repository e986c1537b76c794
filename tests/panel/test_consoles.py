"""The page of a jail's console: who has been in it lately."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

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
