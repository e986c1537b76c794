"""Rows of the lists that are long or on every page: made by a template, each costs about ten times as much."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from django import template
from django.urls import reverse
from django.utils.safestring import SafeString

from jails.models import AuditEntry, Operation
from panel import words
from panel.templatetags.cellblock import ago, bytes_iec, fill, icon, joined, lasting, state, state_mark, working

register = template.Library()

NO_ID = UUID(int=0)


def address(name: str, pk: object) -> str:
    """As `reverse`, of a page whose address differs in one part alone: a UUID or a number."""
    before, after = _around(name, isinstance(pk, UUID))
    return f"{before}{pk}{after}"


@cache
def _around(name: str, is_uuid: bool) -> tuple[str, str]:
    given = str(NO_ID) if is_uuid else "0"
    before, _, after = reverse(name, args=[given]).rpartition(given)
    return before, after


@register.simple_tag
def options(choices: Iterable[tuple[str, str]], chosen: str | None = None) -> SafeString:
    """(value, word) each, the chosen one marked; the word alone where it is the value."""
    return joined(_option(value, word, value == chosen) for value, word in choices)


@lru_cache(4096)
def _option(value: str, word: str, is_chosen: bool) -> SafeString:
    own = "" if value == word else fill(' value="{}"', value)
    return fill("<option{}{}>{}</option>", own, fill(" {}", "selected") if is_chosen else "", word)


# The tree


@register.simple_tag
def tree_rows(jails: Iterable[Any], opened: UUID | None) -> SafeString:
    """Jails in the tree, the one that the page is about marked. Each has pk, uuid, name and state."""
    return joined(_tree_row(jail.pk, jail.uuid, jail.name, jail.state, jail.uuid == opened) for jail in jails)


@lru_cache(8192)
def _tree_row(pk: int, uuid: UUID, name: str, state: str, is_open: bool) -> SafeString:
    return fill(
        '<li id="tree-jail-{}"><a href="{}"{}>{}<span class="tree-name" title="{}">{}</span></a></li>',
        str(pk),
        address("jail", uuid),
        fill(' aria-current="{}"', "page") if is_open else "",
        state_mark(state),
        name,
        name,
    )


# A tenant's first page


@register.simple_tag(takes_context=True)
def my_jail_rows(
    context: Mapping[str, Any], jails: Iterable[Any], addresses: Mapping[int, list[str]], may_power: Collection[int]
) -> SafeString:
    """One's own jails as one knows them. may_power: ids of those that one may start and stop."""
    token = str(context["csrf_token"])
    return joined(
        fill(
            '<div class="my-jail" id="jail-{}"><div class="my-jail-name"><a href="{}"><strong>{}</strong></a>{}'
            '<div class="quiet">{}</div></div><div class="my-jail-state">{} <span class="quiet">for {}</span></div>'
            '<div class="my-jail-disk tabular">{}</div><div class="my-jail-do">{}</div></div>',
            str(jail.pk),
            address("jail", jail.uuid),
            jail.hostname or jail.name,
            _quiet(jail.name) if jail.hostname not in ("", jail.name) else "",
            ", ".join(addresses.get(jail.pk, ())),
            state(jail.state),
            lasting(jail.state_since),
            _disk(jail.used, jail.limits.get("quota")),
            _power(jail, token) if jail.pk in may_power else "",
        )
        for jail in jails
    )


def _quiet(text: str) -> SafeString:
    return fill(' <span class="quiet">{}</span>', text)


def _disk(used: int, quota: int | None) -> str:
    if not used or not quota:
        return bytes_iec(used) if used else ""
    return fill('{} <span class="quiet">of {}</span>', bytes_iec(used), bytes_iec(quota))


POWER = {"stopped": ("jail-start", "player-play", "Start"), "running": ("jail-restart", "rotate", "Restart")}
"""State of a jail → what one wants of it then: the page, the mark and the word on the button."""


def _power(jail: Any, token: str) -> str:
    if jail.state not in POWER:
        return ""
    page, mark, verb = POWER[jail.state]
    return fill(
        '<form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '<button class="btn btn-sm" aria-label="{} {}">{}{}</button></form>',
        address(page, jail.uuid),
        token,
        verb,
        jail.name,
        icon(mark),
        verb,
    )


# Operations


@register.simple_tag
def operation_rows(
    operations: Iterable[Operation], rows_id: str = "", on_host: bool = False, with_words: bool = False
) -> SafeString:
    """on_host: it is known on which host all of them are. with_words: the state also as a word, where there is room."""
    return joined(
        fill(
            '<a class="row-link operation-row" id="{}-{}" href="{}">{}<span class="grow">{}{}</span>'
            '<span class="quiet who hide-small">{}</span><span class="quiet ago tabular">{}</span></a>',
            rows_id or "operation",
            str(row.pk),
            address("operation", row.pk),
            _state_of_operation(working(row.status), bool(with_words)),
            row.title,
            "" if on_host or row.host_name in row.title else _quiet(f"on {row.host_name}"),
            str(row.requested_by or ""),
            ago(row.created_at),
        )
        for row in operations
    )


@cache
def _state_of_operation(status: str, with_words: bool) -> str:
    if not with_words:
        return state_mark(status)
    wide, narrow = state(status), state_mark(status)
    return fill('<span class="hide-small">{}</span><span class="show-small">{}</span>', wide, narrow)


# The log


@register.simple_tag
def audit_rows(rows: Iterable[Mapping[str, Any]], with_tenant: bool) -> SafeString:
    """Each with its `entry`, and its `source` as far as the reader may know it."""
    return joined(
        fill(
            '<tr><td class="log-when">{}</td><td class="log-who">{}{}</td>'
            '<td class="log-did"><a href="{}"><span title="{}">{}</span></a></td><td class="log-to">{}{}</td>'
            '<td class="log-outcome">{}</td>{}<td class="mono hide-small quiet">{}</td></tr>',
            *_audit_cells(row["entry"], row["source"], with_tenant),
        )
        for row in rows
    )


def _audit_cells(entry: AuditEntry, source: str, with_tenant: bool) -> tuple[str, ...]:
    return (
        ago(entry.at),
        entry.actor or "nobody",
        _quiet(f"for {entry.on_behalf_of}") if entry.on_behalf_of else "",
        address("audit-entry", entry.sequence),
        entry.action,
        words.did(entry),
        entry.object_name if entry.object_name != entry.actor else "",
        _quiet(f"on {entry.host}") if entry.host not in ("", entry.object_name) else "",
        state(entry.outcome),
        fill('<td class="hide-small">{}</td>', entry.tenant) if with_tenant else "",
        source,
    )
