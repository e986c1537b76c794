"""What an operation has changed, for its entry of the log: what its jails were and are now, and what its kind adds.

Nothing of the host is in it, as tenants read the entries of their own jails: no dataset, no path, no other's name.
Values are as the panel has them (bytes, per cent of a CPU, lists of text); pages say them in words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Q

from jails.models import Address, Drift, Jail, JailKey, Operation

Picture = dict[str, dict[str, Any]]
"""`jail:3` → its name and what it is."""
FIELDS = ("name", "hostname", "boot", "state", "snapshots", "adoption")


def key_of(pk: int) -> str:
    return f"jail:{pk}"


def picture(jails: Iterable[int], tenant: int | None) -> Picture:
    """Of jails by their ids, without those that are only being made. Four queries for one jail or a hundred.

    tenant: whose log the entry goes into. Keys of another one's people, which are still on their way out of a jail that
    has got another owner, are not in it.
    """
    wanted = sorted(set(jails))
    rows = Jail.objects.filter(pk__in=wanted).exclude(state=Jail.State.PENDING).select_related("release", "template")
    addresses = Address.objects.filter(jail__in=wanted, operation=None).order_by("pk").values_list("jail_id", "ip")
    drifts = Drift.objects.filter(jail__in=wanted).order_by("parameter").values_list("jail_id", "parameter")
    theirs = Q(leaving_since=None, jail__tenant=tenant) | Q(removal__isnull=False, removal__tenant=tenant)
    keys = JailKey.objects.filter(theirs, jail__in=wanted).order_by("login", "user__username", "name")
    lists = {
        "addresses": _gathered(addresses),
        "drift": _gathered(drifts),
        "keys": _gathered(
            (jail, f"{login}: {name} of {person}, {fingerprint}")
            for jail, login, name, person, fingerprint in keys.values_list(
                "jail_id", "login", "name", "user__username", "fingerprint"
            )
        ),
    }
    found = {}
    for row in rows:
        told = {name: getattr(row, name) for name in FIELDS}
        told |= {"release": row.release.name if row.release else None}
        told |= {"template": row.template.name if row.template else None}
        told |= {name: of_jail.get(row.pk, []) for name, of_jail in lists.items()}
        found[key_of(row.pk)] = {**told, **row.limits}
    return found


def _gathered(pairs: Iterable[tuple[int, str]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for pk, value in pairs:
        found[pk].append(value)
    return found


def of(operation: Operation) -> Picture:
    """Of the jails it is about as of now, and of those it was about when a worker began it."""
    begun = [int(key.partition(":")[2]) for key in operation.was]
    return picture([*begun, *operation.jails.values_list("pk", flat=True)], operation.tenant_id)


def differences(before: Picture, now: Picture) -> tuple[Picture, Picture]:
    """What differs, each with the jail's name; of a jail that is new or gone all that is said of it."""
    was: Picture = {}
    became: Picture = {}
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old is None or new is None:
            was |= {key: _said(old)} if old is not None else {}
            became |= {key: _said(new)} if new is not None else {}
        elif differing := [name for name in {**old, **new} if old.get(name) != new.get(name)]:
            was[key] = {"name": old["name"]} | {name: old.get(name) for name in differing}
            became[key] = {"name": new["name"]} | {name: new.get(name) for name in differing}
    return was, became


def _said(of_jail: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in of_jail.items() if value not in (None, "", [])}


def told(
    operation: Operation, now: Picture, by_kind: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Before and after of its entry; None where there is nothing to say.

    by_kind: what Kind.noted said. It stands with the jail where there is one alone, else beside them.
    """
    sides = differences(operation.was, now)
    alone = {*operation.was, *now}
    found: list[dict[str, Any] | None] = []
    for side, more in zip(sides, by_kind, strict=True):
        if len(alone) == 1 and more and not any(isinstance(one, dict) for one in more.values()):
            (key,) = alone
            name = (now.get(key) or operation.was[key])["name"]
            side = {key: {"name": name, **side.get(key, {}), **more}}
            more = {}
        found.append({**side, **more} or None)
    return found[0], found[1]
