"""No leak, wherever one looks: every address, plain and as htmx asks, by GET and POST, for each person of the world.

What is asked is generated: the addresses by the resolver and the table of rights, which must have all of them; the
things by who may not know of them; the words that must not be told by what the database has of others.
"""

# ruff: noqa: F811
from __future__ import annotations

import difflib
import functools
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from celery import current_app
from django.apps import apps
from django.conf import settings
from django.core import serializers
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from jails import audit, tasks
from jails.consoles import tickets
from jails.models import Address, Host, Jail, Membership, Network, Operation, Tenant, User, Worker
from panel import asgi, middleware
from tests.panel.rights import GET, PEOPLE, POST, ROWS, SOCKETS, Row
from tests.panel.test_rights import World, client_of, made, sent, text_of, undone, world  # noqa: F401
from tests.panel.wires import Asked, wired

pytestmark = pytest.mark.django_db

TENANTS = "OMVSN"
OPERATORS = "PQ"
HTMX = {"HX-Request": "true"}
USUAL = "MSP"
"""Whom no quick run leaves out: somebody of either tenant, and an operator."""
NOBODYS = {
    "uuid": uuid.UUID("0f0f0f0f-0000-4000-8000-000000000000"),
    "int": 987_654_321,
    "slug": "nosuch",
    "str": "nosuch",
}
"""By the sort of a part of an address: what nothing has."""


def asking(letters: str) -> list[Any]:
    """(letter, headers): plain and as htmx asks."""
    marks = {letter: [] if letter in USUAL else [pytest.mark.slow] for letter in letters}
    plain = [pytest.param(letter, {}, id=f"{letter}-plain", marks=marks[letter]) for letter in letters]
    return plain + [pytest.param(letter, HTMX, id=f"{letter}-htmx", marks=marks[letter]) for letter in letters]


def patterns(found: list[URLPattern | URLResolver] | None = None) -> Iterator[URLPattern]:
    for pattern in get_resolver().url_patterns if found is None else found:
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns)
        else:
            yield pattern


def sorts(pattern: URLPattern) -> list[str]:
    """Of each part of its address that names something, in their order."""
    return re.findall(r"<(\w+):", str(pattern.pattern))


PARTS = {str(pattern.name): sorts(pattern) for pattern in patterns()}
OPEN = {"enter", "account_confirm_email"}
"""What the link alone opens, whoever has it."""
SELF = {"mfa_edit_webauthn", "mfa_remove_webauthn", "audit-saved"}
"""What one names is one's own or it is nothing: no thing of others that could be named is in the table."""


def path_of(row: Row, world: World) -> str:
    return reverse(row.name, args=[world.things[name] for name in row.about])


def ask(client: Client, method: str, path: str, data: dict[str, Any], headers: dict[str, str]) -> Any:
    return client.get(path, data, headers=headers) if method == GET else client.post(path, data, headers=headers)


def told(response: Any, path: str) -> tuple[Any, ...]:
    """All of an answer that could tell one from another, without its own address."""
    text = text_of(response)
    headers = {name: value for name, value in response.headers.items() if name != "Content-Length"}
    return (
        response.status_code,
        {name: value.replace(path, "·") for name, value in headers.items() if name != "Set-Cookie"},
        sorted(response.cookies),
        text.replace(path, "·") if len(path) > 1 else text,
    )


def differ(one: tuple[Any, ...], other: tuple[Any, ...]) -> list[str]:
    """The lines of two answers that are not in both."""
    first, second = ("\n".join(map(str, answer)).splitlines() for answer in (one, other))
    return [line for line in difflib.ndiff(first, second) if line[0] in "+-"] if first != second else []


@pytest.fixture(autouse=True)
def no_use_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute an answer renews the cookie of a session: one of two answers that are compared."""
    monkeypatch.setattr(middleware, "NOTED_EVERY", float("inf"))


# What is another's is as what does not exist


def foreign(letter: str) -> list[Row]:
    """Requests about things of which that person knows nothing, whatever they do with them."""
    rows = [row for row in ROWS if row.about and row.name not in OPEN and row.about not in known_to(letter)]
    return [row for row in rows if row.expected[letter] == "404"]


@functools.cache
def known_to(letter: str) -> set[tuple[str, ...]]:
    return {row.about for row in ROWS if row.expected[letter] not in ("404", "405")}


def nobodys(letter: str, row: Row, world: World) -> Iterator[Any]:
    """The parts of an address that names nothing; what the person knows stays, as a team of a member that is none."""
    for name, sort in zip(row.about, PARTS[row.name], strict=True):
        yield world.things[name] if (name,) in known_to(letter) else NOBODYS[sort]


@pytest.mark.parametrize(("letter", "headers"), asking(TENANTS + OPERATORS))
def test_a_thing_of_others_is_a_thing_that_does_not_exist(letter: str, headers: dict[str, str], world: World) -> None:
    client = client_of(world, letter)
    for row in foreign(letter):
        path = path_of(row, world)
        nowhere = reverse(row.name, args=list(nobodys(letter, row, world)))
        data = sent(row, world)
        with undone():
            there = told(ask(client, row.method, path, data, headers), path)
        with undone():
            assert differ(there, told(ask(client, row.method, nowhere, data, headers), nowhere)) == [], row


def test_every_address_of_a_thing_is_tried_with_that_of_another_tenant() -> None:
    """A new page is tried too, or this says that the table of rights lacks a thing that some tenant may not see."""
    tried = {row.name for letter in "OMVS" for row in foreign(letter)}
    wanted = {name for name, parts in PARTS.items() if parts} - OPEN - SELF
    assert wanted - tried == set()


# No answer tells of others


def words_of(tenant: Tenant | None) -> set[str]:
    """All that the database calls things of a tenant, or those that are no tenant's, by a name of their own."""
    jails = Jail.objects.filter(tenant=tenant)
    names = {str(jail.uuid) for jail in jails} | {jail.name for jail in jails} | {jail.hostname for jail in jails}
    names |= {row.ip for row in Address.objects.filter(jail__in=jails)}
    names |= {str(pk) for pk in Operation.objects.filter(tenant=tenant).values_list("pk", flat=True)}
    if tenant is not None:
        members = Membership.objects.filter(tenant=tenant, user__role="").exclude(user__username="disabled-person")
        names |= {tenant.slug, tenant.name, *members.values_list("user__username", flat=True)}
    return {name for name in names if name and len(name) > 3} - {"gone"}  # which many a page says of other things


def unknown_to(letter: str) -> set[str]:
    """The words that stand in no answer to that person."""
    acme, globex = Tenant.objects.get(slug="acme"), Tenant.objects.get(slug="globex")
    theirs = {"O": acme, "M": acme, "V": acme, "S": globex, "N": None}[letter]
    found = words_of(None) | {word for tenant in (acme, globex) if tenant != theirs for word in words_of(tenant)}
    known = words_of(theirs) if theirs else set()
    return {word for word in found if not any(word in own for own in known)}


@pytest.mark.parametrize("method", [GET, POST])
@pytest.mark.parametrize(("letter", "headers"), asking(TENANTS))
def test_no_answer_has_a_word_of_others(letter: str, method: str, headers: dict[str, str], world: World) -> None:
    words, client = unknown_to(letter), client_of(world, letter)
    assert len(words) > 8
    for row in ROWS:
        if row.method != method or row.name in OPEN:
            continue
        path, data = path_of(row, world), sent(row, world)
        with undone():
            response = ask(client, method, path, data, headers)
            text = text_of(response) + str(response.headers)
            if response.status_code == 302 and method == POST and response["Location"].startswith("/"):
                text += text_of(client_of(world, letter).get(response["Location"]))
        for own in sorted((path, *flat(data.values())), key=len, reverse=True):
            text = text.replace(own, "") if len(own) > 3 else text
        assert response.status_code != 403, row
        assert not [word for word in words if word in text], row
        client = client_of(world, letter)


def flat(values: Any) -> list[str]:
    return [str(item) for value in values for item in (value if isinstance(value, list) else [value])]


# Lists, searches and exports: the same whatever others have


LISTS = sorted(
    {row.name for row in ROWS if row.method == GET and not row.about and not row.name.startswith(("account", "mfa_"))}
)
LATELY = re.compile(r"<time[^>]*>[^<]*</time>|data-mark=\"[^\"]*\"")
"""What is not the same twice: how long ago, and the mark of what a page that updates itself has shown."""


def seen(world: World, letter: str, name: str, query: dict[str, str]) -> tuple[Any, ...]:
    path = reverse(name)
    response = client_of(world, letter).get(path, query)
    status, headers, _, text = told(response, path)
    return status, headers.get("Location"), LATELY.sub("", text)


@pytest.mark.parametrize("letter", ["M", "S", *[pytest.param(it, marks=pytest.mark.slow) for it in "OVN"]])
def test_what_others_do_changes_nothing_that_one_sees(letter: str, world: World) -> None:
    """No count, no order, no choice of a filter, no search tells that there is more."""
    with undone():
        before = {name: seen(world, letter, name, query) for name, query in asked()}
        more_of_others(letter)
        for name, query in asked():
            assert differ(before[name], seen(world, letter, name, query)) == [], name


def asked() -> list[tuple[str, dict[str, str]]]:
    return [(name, {"q": "e"} if name == "search" else {}) for name in LISTS]


def more_of_others(letter: str) -> None:
    acme, globex = Tenant.objects.get(slug="acme"), Tenant.objects.get(slug="globex")
    other = acme if letter == "S" else globex
    host = Host.objects.get(name="warden1" if letter == "S" else "warden2")
    person = User.objects.create_user("very-new-person", role="operator")
    person.operated_hosts.add(host)
    Membership.objects.create(tenant=other, user=User.objects.create_user("enemy-person"), role="owner")
    Network.objects.create(name="hidden-network", cidr="10.9.0.0/16", host=host)
    Tenant.objects.create(slug="third", name="Third and secret")
    for number in range(3):
        jail = Jail.objects.create(host=host, name=f"secret{number}", kind="thick", tenant=other, state="running")
        Operation.objects.create(
            kind="jail_start",
            title=f"Start secret{number}",
            host=host,
            host_name=host.name,
            tenant=other,
            status="running",
        ).jails.add(jail)
    with transaction.atomic():
        audit.record("jail.start", actor=person, tenant=other, outcome="refused", host=host.name)
        audit.record("host.change", actor=person, obj=host)


KEYS = {
    "q": ["shop", "globex", "stranger-person", "loghost", "192.0.2.10"],
    "tenant": ["globex"],
    "who": ["stranger-person"],
    "host": ["warden2"],
    "object": ["jail:{shop}", "user:{the administrator}"],
    "operation": ["{plan for shop}"],
    "plan": ["{plan for shop}"],
    "jail": ["{shop}"],
}
FIRST = ("q", "object", "plan")
"""What a quick run asks for."""
NOTHING = {"who": "stranger-persox", "host": "warden9", "tenant": "globez", "q": "nosuch-word"}


def nothing(key: str, value: str) -> str:
    """What the same key could name and nothing has."""
    if key in ("operation", "plan") or (key == "jail" and "-" in value):
        return str(NOBODYS["uuid"])
    kind, colon, _ = value.partition(":")
    return f"{kind}:{NOBODYS['int']}" if colon else NOTHING.get(key, str(NOBODYS["int"]))


@pytest.mark.parametrize("key", [key if key in FIRST else pytest.param(key, marks=pytest.mark.slow) for key in KEYS])
@pytest.mark.parametrize("letter", ["M", pytest.param("N", marks=pytest.mark.slow)])
def test_what_one_may_not_know_cannot_be_asked_for(letter: str, key: str, world: World) -> None:
    for value in KEYS[key]:
        value = filled_in(world, value)
        instead = nothing(key, value)
        for name in LISTS:
            for extra in ({}, {"export": "csv"}):
                with undone():
                    there = seen(world, letter, name, {key: value} | extra)
                with undone():
                    nowhere = seen(world, letter, name, {key: instead} | extra)
                assert differ(without(there, value), without(nowhere, instead)) == [], (name, key, value)


def filled_in(world: World, value: str) -> str:
    """With an id as addresses have it; the log calls a jail by the number of its row."""
    kind, colon, name = value.rpartition(":")
    if not name.startswith("{"):
        return value
    thing = world.things[name.strip("{}")]
    return f"{kind}{colon}{Jail.objects.get(uuid=thing).pk if kind == 'jail' else thing}"


def without(answer: tuple[Any, ...], value: str) -> tuple[Any, ...]:
    once = quote(value, safe="")
    spellings = (quote(once, safe=""), once, value)
    return tuple(functools.reduce(lambda text, own: text.replace(own, "·"), spellings, str(part)) for part in answer)


# Websockets: a ticket is no right


SOCKET_PATHS = sorted(asgi.websockets)
NO_SESSION = "DX"


@pytest.fixture
def ask_sockets(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    with undone(), wired(monkeypatch, tmp_path) as ask_all:
        yield ask_all


def ticket_for(world: World, letter: str, path: str, jail: str) -> Any:
    """For somebody who may have no right to it: as whoever has taken over the web process would issue it."""
    user = world.people[letter] or world.people["A"]
    log = "/var/log/messages" if path == "/live/log" else ""
    key = world.sessions.get(letter, "none")
    row = Jail.objects.get(uuid=world.things[jail])
    return lambda: tickets.issue(user, key, row, origin=settings.PAGE_ORIGINS[0], log=log)


def test_every_websocket_is_in_the_table_of_rights() -> None:
    """A new one is tried too, once somebody has said whom it shall let in where."""
    assert set(SOCKET_PATHS) == set(SOCKETS)
    for path, jails in SOCKETS.items():
        assert {"www1", "loghost", "shop"} <= set(jails), path


@pytest.mark.parametrize("path", SOCKET_PATHS)
def test_whom_a_websocket_lets_in(path: str, world: World, ask_sockets: Any) -> None:
    cases = [(letter, jail) for letter in PEOPLE for jail in SOCKETS[path]]
    heard = ask_sockets(
        [Asked(path, world.sessions.get(it, ""), ticket_for(world, it, path, jail)) for it, jail in cases]
    )
    outcomes = {case: one.outcome for case, one in zip(cases, heard, strict=True)}
    assert outcomes == {(letter, jail): socket_answer(path, letter, jail) for letter, jail in cases}
    refusals = {one.said[-1]["refused"] for one in heard if one.outcome == "refused"}
    assert len(refusals) == 1  # the same words, whosever the jail is


def socket_answer(path: str, letter: str, jail: str) -> str:
    if letter in NO_SESSION:
        return "handshake"
    return "let in" if letter in SOCKETS[path][jail] else "refused"


@pytest.mark.parametrize("path", SOCKET_PATHS)
def test_tickets_that_are_forged_foreign_or_used_and_other_origins(path: str, world: World, ask_sockets: Any) -> None:
    mine, theirs = world.sessions["O"], world.sessions["S"]
    once = functools.cache(ticket_for(world, "O", path, "www1"))
    (other,) = set(SOCKET_PATHS) - {path}

    def asked(cookie: str, ticket: Any, origin: str = settings.PAGE_ORIGINS[0]) -> Asked:
        return Asked(path, cookie, ticket, origin)

    own = ticket_for(world, "O", path, "www1")
    wanted = [
        (asked(mine, once), "let in"),
        (asked(mine, once), "refused"),
        (asked(mine, lambda: "x" * 43), "refused"),
        (asked(mine, lambda: ""), "refused"),
        (asked(theirs, own), "refused"),
        (asked(mine, ticket_for(world, "S", path, "www1")), "refused"),
        (asked(mine, ticket_for(world, "O", other, "www1")), "refused"),
        (asked(mine, own, "http://evil.example"), "handshake"),
        (asked(mine, own, f"{settings.PAGE_ORIGINS[0]}.evil.example"), "handshake"),
        (asked(mine, own, ""), "handshake"),
        (asked("x" * 32, own), "handshake"),
    ]
    heard = ask_sockets([one for one, _ in wanted])
    assert [one.outcome for one in heard] == [outcome for _, outcome in wanted]


@pytest.mark.parametrize("path", SOCKET_PATHS)
def test_a_host_that_another_worker_serves(path: str, world: World, ask_sockets: Any) -> None:
    """A web process knows one consoled, and that reaches the hosts of its own worker alone: it says so."""
    Host.objects.filter(name="warden1").update(worker="rack2")
    (heard,) = ask_sockets([Asked(path, world.sessions["O"], ticket_for(world, "O", path, "www1"))])
    assert heard.outcome == "refused" and "Another worker serves its host" in heard.said[-1]["refused"]


# Tasks: a message may say anything


TASKS = sorted(name for name in current_app.tasks if name.startswith(tasks.__name__))


def kept() -> str:
    """All rows of the panel, as text. That a worker was there is no change."""
    models = [model for model in apps.get_app_config("jails").get_models() if model is not Worker]
    return "\n".join(serializers.serialize("json", model._default_manager.order_by("pk")) for model in models)


def test_there_are_tasks_to_try() -> None:
    assert "jails.tasks.run_operation" in TASKS and len(TASKS) > 8


@pytest.mark.parametrize("name", TASKS)
def test_no_message_changes_what_was_not_decided(name: str, world: World) -> None:
    """With any id, of plans that nobody confirmed, of hosts that another worker serves, of nothing."""
    task = current_app.tasks[name]
    count = task.run.__code__.co_argcount - len(task.run.__defaults__ or ())
    if count == 0:
        pytest.skip("it is told nothing")
    with undone():
        Host.objects.update(worker="elsewhere")
        ids = [world.things[name] for name in ("plan for www1", "plan for shop", "failed on shop", "shop", "acme")]
        ids += [pk for model in (Host, Jail, User, Tenant) for pk in model.objects.values_list("pk", flat=True)]
        before = kept()
        for it in [*ids, *NOBODYS.values(), -1, 0]:
            _run(task, count, it)
        assert kept() == before


def _run(task: Any, count: int, it: Any) -> None:
    """As a message would: what is no id of its sort ends in an error, and in nothing else."""
    value = it if isinstance(it, int) else str(it)
    try:
        with transaction.atomic():
            task.run(*[value] * count)
    except (ValueError, TypeError):
        return
