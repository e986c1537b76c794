"""The list of jails: how it is narrowed, sorted and written out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import django_filters
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import QueryDict

from jails.drift import IS_MARKED
from jails.models import Address, Jail, ObservedAddress, User

DRIFT = (("yes", "With drift"), ("no", "Without drift"))
PLACES = ("page", "after", "before")
"""What in an address says which page of a list: nothing of another sorting or filter."""
NOBODY = "-"
"""As the tenant in an address: jails that belong to none."""


class JailFilter(django_filters.FilterSet):
    q = django_filters.CharFilter(label="Search", method="search")
    host = django_filters.CharFilter(label="Host", field_name="host__name")
    state = django_filters.ChoiceFilter(label="State", choices=Jail.State.choices)
    tenant = django_filters.CharFilter(label="Tenant", method="of_tenant")
    kind = django_filters.ChoiceFilter(label="Kind", choices=Jail.Kind.choices)
    drift = django_filters.ChoiceFilter(label="Drift", choices=DRIFT, method="with_drift")

    class Meta:
        model = Jail
        fields: list[str] = []

    def search(self, rows: QuerySet[Jail], name: str, text: str) -> QuerySet[Jail]:
        given = Address.objects.filter(jail=OuterRef("pk"), ip__startswith=text)
        seen = ObservedAddress.objects.filter(
            host=OuterRef("host"), jail_name=OuterRef("name"), ip__startswith=text
        ).exclude(jail_name="")
        return rows.filter(Q(name__icontains=text) | Q(hostname__icontains=text) | Exists(given) | Exists(seen))

    def of_tenant(self, rows: QuerySet[Jail], name: str, slug: str) -> QuerySet[Jail]:
        return rows.filter(tenant__isnull=True) if slug == NOBODY else rows.filter(tenant__slug=slug)

    def with_drift(self, rows: QuerySet[Jail], name: str, value: str) -> QuerySet[Jail]:
        return rows.filter(IS_MARKED if value == "yes" else ~IS_MARKED)


def narrowed(rows: QuerySet[Jail], query: QueryDict) -> QuerySet[Jail]:
    """The rows that match the filters of an address. None match a filter that makes no sense."""
    wanted = JailFilter(query, rows)
    return wanted.qs if wanted.is_valid() else rows.none()


@dataclass(frozen=True)
class Column:
    """One that sorts: its name in the address, the word over it, the field, and whether it starts from the top."""

    name: str
    label: str
    field: str
    css: str = ""
    descends: bool = False


SORTED_BY = (
    Column("name", "Name", "name"),
    Column("state", "State", "state"),
    Column("hostname", "Hostname", "hostname", css="hostname"),
    Column("host", "Host", "host__name"),
    Column("tenant", "Tenant", "tenant__slug", css="tenant"),
    Column("size", "Size", "used", css="num size", descends=True),
    Column("since", "Since", "state_since", css="since", descends=True),
)
COLUMNS = {column.name: column for column in SORTED_BY}


CHOOSABLE = ("hostname", "host", "tenant", "addresses", "from", "size", "since")
"""Columns that a person may do without, from left to right. Name and state stay."""
OF_STAFF = frozenset({"host", "tenant", "from"})
LABELS = {name: column.label for name, column in COLUMNS.items()} | {"addresses": "Addresses", "from": "From"}


def choosable(*, is_staff: bool) -> list[tuple[str, str]]:
    """(name, label) of the columns that this person may show and hide."""
    return [(name, LABELS[name]) for name in CHOOSABLE if is_staff or name not in OF_STAFF]


def hidden(user: User) -> list[str]:
    """Names of the columns that this person does without."""
    return list(user.hidden_columns.get("jails", ()))


def shown(user: User, sort: str, *, is_staff: bool) -> dict[str, bool]:
    """Name of a column → whether this person sees it: also that by which the list is sorted, to see and turn that."""
    gone = {*hidden(user)} - {sort.removeprefix("-")}
    return {name: name not in gone for name, _ in choosable(is_staff=is_staff)}


def show_only(user: User, wanted: Iterable[str], *, is_staff: bool) -> None:
    """Keep which columns of the list the person wants to see. What is not one of theirs is left out."""
    wanted = set(wanted)
    gone = [name for name, _ in choosable(is_staff=is_staff) if name not in wanted]
    user.hidden_columns = {**user.hidden_columns, "jails": gone}
    user.save(update_fields=["hidden_columns"])


def ordered(rows: QuerySet[Jail], wanted: str) -> QuerySet[Jail]:
    """Sorted by a column's name, with a `-` in front downwards; by name where that says nothing."""
    column = COLUMNS.get(wanted.removeprefix("-"))
    if column is None:
        return rows.order_by("name", "host__name")
    direction = "-" if wanted.startswith("-") else ""
    return rows.order_by(direction + column.field, "name", "pk")


def heads(query: QueryDict) -> dict[str, dict[str, str]]:
    """For each column that sorts: the link that sorts by it, or turns it round, and how it is sorted now."""
    wanted = query.get("sort", "") or "name"
    now = wanted.removeprefix("-")
    found = {}
    for column in SORTED_BY:
        descending = wanted.startswith("-") if column.name == now else None
        flip = not descending if descending is not None else column.descends
        found[column.name] = {
            "label": column.label,
            "css": column.css,
            "url": without(query, *PLACES, sort=("-" if flip else "") + column.name),
            "sorted": "" if descending is None else "descending" if descending else "ascending",
        }
    return found


def chips(query: QueryDict, names: Iterable[tuple[str, str]] = ()) -> list[dict[str, str]]:
    """The filters in force, in words, each with the address without it. names: (slug, name) of tenants to show."""
    tenants = {NOBODY: "nobody", **dict(names)}
    words = {
        "q": lambda value: f"“{value}”",
        "host": lambda value: f"on {value}",
        "state": lambda value: dict(Jail.State.choices).get(value, value).lower(),
        "tenant": lambda value: f"of {tenants.get(value, value)}",
        "kind": lambda value: dict(Jail.Kind.choices).get(value, value).lower(),
        "drift": lambda value: dict(DRIFT).get(value, value).lower(),
    }
    return [
        {"words": words[name](query[name]), "url": without(query, name, *PLACES)}
        for name in JailFilter.base_filters
        if query.get(name, "").strip()
    ]


def without(query: QueryDict, *names: str, **changed: str) -> str:
    """The query string without some of its parameters and with others set; `?` where nothing is left."""
    copy = query.copy()
    for name in (*names, "export"):
        copy.pop(name, None)
    for name, value in changed.items():
        copy[name] = value
    return "?" + "&".join(part for part in copy.urlencode().split("&") if part and not part.endswith("="))


CSV_HEAD = (
    "name", "hostname", "host", "state", "since", "tenant", "addresses", "kind", "from", "used", "snapshots", "path",
    "dataset",
)  # fmt: skip


def cells(jail: Jail) -> tuple[Any, ...]:
    """A line of the CSV: sizes in bytes, times in UTC."""
    return (
        jail.name,
        jail.hostname,
        jail.host.name,
        jail.state,
        jail.state_since.isoformat(timespec="seconds"),
        jail.tenant or "",
        " ".join(addresses_of(jail)),
        jail.kind,
        comes_from(jail),
        jail.used,
        jail.used_by_snapshots,
        jail.path,
        jail.dataset,
    )


def addresses_of(jail: Jail) -> list[str]:
    """What the panel gave it, or else what was seen on it. Prefetch `addresses`."""
    return [address.ip for address in jail.addresses.all()] or list(jail.observed_addresses)


def comes_from(jail: Jail) -> str:
    """The name of its release or template; "" for one the panel did not make. Select both related."""
    base = jail.template or jail.release
    return base.name if base else ""
