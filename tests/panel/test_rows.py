"""Rows that no template makes: what others chose stands in them as text, and links lead where `reverse` does."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.urls import reverse

from jails import audit
from jails.models import Grant, Jail, Membership, Operation
from panel.templatetags import rows
from panel.templatetags.cellblock import fill
from tests.panel import work
from tests.panel.fleet import Fleet, add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
MARKUP = HOSTILE["markup"] + HOSTILE["quotes"] + HOSTILE["format"]


def test_parts_are_text_unless_they_are_markup_already() -> None:
    inner = fill("<b>{}</b>", "<&\"'>")
    assert inner == "<b>&lt;&amp;&quot;&#x27;&gt;</b>"
    assert fill("<i>{}{}</i>", inner, "{0}") == f"<i>{inner}{{0}}</i>"


@pytest.mark.parametrize("page", ["jail", "jail-start", "jail-restart", "operation"])
def test_addresses_of_what_has_a_uuid(page: str) -> None:
    pk = uuid4()
    assert rows.address(page, pk) == reverse(page, args=[pk])


def test_the_address_of_an_entry() -> None:
    assert rows.address("audit-entry", 1204) == reverse("audit-entry", args=[1204])


def test_what_others_chose_is_text_in_every_row(fleet: Fleet, as_person: Any) -> None:
    add_jail(fleet, "odd", tenant=fleet.acme)
    Jail.objects.filter(name="odd").update(hostname=MARKUP, state="stopped")
    Jail.objects.filter(name="www1").update(name=MARKUP)
    work.done(fleet.zfs, fleet.people["member"], jails=[Jail.objects.get(name=MARKUP)])
    Operation.objects.update(title=MARKUP, host_name=MARKUP)
    made = audit.entry(MARKUP, actor=MARKUP, tenant=fleet.acme, source=MARKUP, outcome="done")
    made.object_name, made.host, made.on_behalf_of = f"x{MARKUP}", MARKUP, MARKUP
    with transaction.atomic():
        audit.record_all([made])
    for role, path in [("owner", "/"), ("owner", "/audit/"), ("auditor", "/audit/"), ("owner", "/operations/")]:
        text = as_person(role).get(path).text
        assert HOSTILE["markup"] not in text and "&lt;script&gt;alert(1)&lt;/script&gt;a&quot;b&#x27;c" in text
        assert HOSTILE["format"] in text


def test_a_member_with_a_grant_starts_that_jail_and_no_other(fleet: Fleet, as_person: Any) -> None:
    Membership.objects.filter(user=fleet.people["member"]).update(rights=[])
    text = as_person("member").get("/").text
    assert "www1" in text and "Restart" not in text and "Start" not in text.replace("Started", "")
    Grant.objects.create(
        membership=Membership.objects.get(user=fleet.people["member"]), jail=fleet.jails["www1"], right="power"
    )
    text = as_person("member").get("/").text
    assert text.count('<button class="btn btn-sm"') == 1
    assert f'action="{reverse("jail-restart", args=[fleet.jails["www1"].uuid])}"' in text
