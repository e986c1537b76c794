"""The port map of a host: how it is narrowed and sorted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from django.http import QueryDict

from jails.hosts.ports import Entry, Level
from panel.tables.jails import without

LEVELS = {"conflict": Level.CONFLICT, "near": Level.NEAR}
OWNERS = {"host": "of the host", "jails": "of jails"}
LABELS = {
    "address": "Address",
    "port": "Port",
    "who": "Who",
    "process": "Process",
    "level": "In the way",
}


def narrowed(entries: Iterable[Entry], query: QueryDict) -> list[Entry]:
    """Those that match the filters of an address; what makes no sense as a filter matches none."""
    found = list(entries)
    if text := query.get("q", "").strip().lower():
        found = [one for one in found if text in _searched(one)]
    if owner := query.get("who"):
        found = [one for one in found if owner in OWNERS and bool(one.jail) == (owner == "jails")]
    if level := query.get("level"):
        found = [one for one in found if one.level == LEVELS.get(level)]
    return found


def _searched(entry: Entry) -> str:
    return f"{entry.where} {entry.port}/{entry.protocol} {entry.jail} {entry.command} {entry.user}".lower()


def ordered(entries: Sequence[Entry], wanted: str) -> list[Entry]:
    """By a column's name, with a `-` in front downwards; by port and address within and where that says nothing."""
    name = wanted.removeprefix("-")
    keys: dict[str, Any] = {
        "address": _address,
        "who": lambda entry: entry.jail,
        "process": lambda entry: entry.command.lower(),
        "level": lambda entry: -entry.level,
        "port": lambda entry: entry.port,
    }
    return sorted(entries, key=keys.get(name, keys["port"]), reverse=wanted.startswith("-"))


def _address(entry: Entry) -> tuple[int, int]:
    return (0, 0) if entry.ip == "*" else (ip_address(entry.ip).version, int(ip_address(entry.ip)))


def heads(query: QueryDict) -> dict[str, dict[str, str]]:
    wanted = query.get("sort", "") or "port"
    now, down = wanted.removeprefix("-"), wanted.startswith("-")
    return {
        name: {
            "label": label,
            "css": "num" if name == "port" else "",
            "url": without(query, "page", sort=f"-{name}" if name == now and not down else name),
            "sorted": "" if name != now else "descending" if down else "ascending",
        }
        for name, label in LABELS.items()
    }


def chips(query: QueryDict) -> list[dict[str, str]]:
    """The filters in force, in words, each with the address without it."""
    words = {
        "q": lambda value: f"“{value}”",
        "who": lambda value: OWNERS.get(value, value),
        "level": lambda value: {"conflict": "conflicts", "near": "near misses"}.get(value, value),
    }
    return [
        {"words": words[name](query[name]), "url": without(query, name, "page")}
        for name in words
        if query.get(name, "").strip()
    ]
