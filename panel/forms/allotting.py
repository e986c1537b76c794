"""What a changed plan means on hosts, to be chosen before it is saved: shares of its disk, and limits of jails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from jails import allotting, plans, selfservice
from jails.allotting import Estate, Place
from jails.models import Jail
from jails.plans import A_LIMIT, LIMITS
from panel.forms.fields import SizeField, format_size
from panel.forms.selfservice import BOUNDS, BYTES, limit_field

SHOWN = 60
"""Jails whose limits are asked for one by one."""


@dataclass
class Row:
    """A jail of the page. fields: those of its limits that are asked for. notes: what else is to be known of it."""

    jail: Jail
    fields: list[forms.BoundField]
    notes: list[str]


class EffectsForm(forms.Form):
    """`share-HOST`, empty for what the others leave, and `LIMIT-JAIL`, by their ids, empty for none.

    numbers: those of the plan as it is to be. others: jails beyond the first SHOWN get what is proposed.
    """

    def __init__(
        self, estate: Estate, numbers: allotting.Numbers, given: Mapping[int, int], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.estate, self.numbers, self.given = estate, numbers, given
        self.counted = allotting.counted(numbers)
        self.proposed = allotting.proposals(estate, numbers)
        self.places_shared: list[Place] = []
        self.asked: dict[int, dict[str, str]] = {}
        self.rest: list[Jail] = []
        self._add_shares()
        self._add_limits()

    # Disk

    @property
    def disk(self) -> int | None:
        return self.numbers.get("disk")

    def _add_shares(self) -> None:
        if self.disk is None:
            return
        usual = allotting.shares(self.estate, self.disk, self.given, self.proposed.get("quota"))
        for place in self.estate.places:
            if place.host.pk in usual:
                self.fields[_share(place)] = SizeField(
                    label=f"Of the disk, for {place.host.name}", help_text="Empty: what the others leave."
                )
                self.initial[_share(place)] = usual[place.host.pk]
                self.places_shared.append(place)

    def share_field(self, place: Place) -> forms.BoundField | None:
        return self[_share(place)] if _share(place) in self.fields else None

    @property
    def shares(self) -> dict[int, int]:
        """Host id → bytes. Where nobody was asked, as it is, or what is proposed where that no longer fits."""
        if not self.is_bound:
            usual = allotting.shares(self.estate, self.disk, self.given) if self.given else {}
            return {key: value for key, value in usual.items() if value is not None}
        given = {place.host.pk: self.cleaned_data.get(_share(place)) for place in self.places_shared}
        return {key: value for key, value in given.items() if value is not None}

    # Limits

    def _add_limits(self) -> None:
        over = {limit for limit, total in self._totals({}).items() if total > self.counted.get(limit, total)}
        asked = [(row, limits) for row in self.estate.jails if (limits := self._asked_of(row, over))]
        asked.sort(key=lambda one: not any(one[0].pk in self.proposed[limit] for limit in one[1]))
        for row, limits in asked[:SHOWN]:
            self.asked[row.pk] = {limit: f"{limit}-{row.pk}" for limit in limits}
            for limit, name in self.asked[row.pk].items():
                self.fields[name] = limit_field(limit, self._hint(row, limit), required=False)
                self.initial[name] = self._initial(row, limit)
        beyond = asked[SHOWN:]
        self.rest = [row for row, limits in beyond if any(row.pk in self.proposed[limit] for limit in limits)]
        self.unshown = len(beyond) - len(self.rest)
        if self.rest:
            words = f"Give the other {len(self.rest)} that have none what they use now and an equal part as well"
            self.fields["others"] = forms.BooleanField(label=words, required=False, initial=True)

    def _asked_of(self, row: Jail, over: set[str]) -> list[str]:
        """Limits that it needs, or that must become smaller for all to fit; and what it was given and has not yet."""
        return [
            limit
            for limit in self.counted
            if allotting.may_have(row, limit)
            and (row.pk in self.proposed[limit] or limit in over or limit in row.allotted)
        ]

    def _initial(self, row: Jail, limit: str) -> int | None:
        has = allotting.limits_of(row)[limit]
        return self.proposed[limit].get(row.pk) if has is None else has

    def _hint(self, row: Jail, limit: str) -> str:
        has, uses = row.limits.get(limit), self.estate.uses_now(row, limit)
        thing = selfservice.THINGS[limit]
        words = f"Now {plans.shown(thing, has)}" if has is not None else "Now none"
        return f"{words}, uses {plans.shown(thing, uses)}." if uses else f"{words}."

    @property
    def limits(self) -> dict[int, dict[str, int | None]]:
        """Id of a jail → what is chosen for it, only where it is not what it has. Nothing where nobody was asked."""
        if not self.is_bound:
            return {}
        chosen: dict[int, dict[str, int | None]] = {
            key: {limit: value for limit, name in names.items() if (value := self.cleaned_data.get(name)) is not None}
            for key, names in self.asked.items()
        }
        if self.cleaned_data.get("others"):
            chosen |= self._proposed_to_rest()
        has = {row.pk: row.limits for row in self.estate.jails}
        return {
            key: left
            for key, limits in chosen.items()
            if (left := {limit: value for limit, value in limits.items() if has[key].get(limit) != value})
        }

    def _proposed_to_rest(self) -> dict[int, dict[str, int | None]]:
        return {
            row.pk: {limit: found[row.pk] for limit, found in self.proposed.items() if row.pk in found}
            for row in self.rest
        }

    def _totals(self, chosen: Mapping[int, Mapping[str, int | None]]) -> dict[str, int]:
        return allotting.totals(self.estate, chosen)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for row in self.estate.jails:
            for limit, name in self.asked.get(row.pk, {}).items():
                if name not in self.errors and (problem := self._problem(row, limit, data.get(name))):
                    self.add_error(name, problem)
        self._clean_shares()
        if not self.errors:
            self._clean_totals()
        return data

    def _problem(self, row: Jail, limit: str, value: int | None) -> str:
        low, high = BOUNDS[limit]
        if value is not None and limit in BYTES and not low <= value <= high:
            return f"must be {format_size(low)} to {format_size(high)}."
        has = allotting.limits_of(row)[limit]
        if value is None and has is not None:
            return "It has one: the plan asks for one of each jail."
        if limit == "quota" and value is not None and value != has and value < row.used + row.used_by_snapshots:
            return f"It uses {plans.size(row.used + row.used_by_snapshots)} already: give it at least that."
        return ""

    def _clean_shares(self) -> None:
        together = sum(self.shares.values())
        if self.disk is not None and together > self.disk:
            words = f"Together {plans.size(together)}, and the plan has {plans.size(self.disk)} of disk."
            for place in self.places_shared:
                if _share(place) not in self.errors:
                    self.add_error(_share(place), words)
                    words = "See above."

    def _clean_totals(self) -> None:
        """More for one that has a limit already only as far as the plan has room. A first limit is never refused."""
        chosen = self.limits
        together = self._totals(chosen)
        for row in self.estate.jails:
            for limit, value in chosen.get(row.pk, {}).items():
                has, whole = row.limits.get(limit), self.counted[limit]
                if has is not None and value is not None and value > has and together[limit] > whole:
                    thing = selfservice.THINGS[limit]
                    words = (
                        f"{plans.shown(thing, together[limit])} together, and the plan has {plans.shown(thing, whole)}."
                    )
                    self.add_error(self.asked[row.pk][limit], f"With this it is {words}")

    @property
    def decided(self) -> dict[int, set[str]]:
        """Id of a jail → limits that were asked for: what it was given of those before counts no more."""
        return {key: set(names) for key, names in self.asked.items()} if self.is_bound else {}

    # For the page

    @property
    def counts_rules(self) -> bool:
        """Whether the plan counts anything that rctl(8) holds jails to."""
        return bool(self.counted.keys() - {"quota"})

    @property
    def others_field(self) -> forms.BoundField:
        return self["others"]

    def place_notes(self, place: Place) -> Iterator[str]:
        """What its share of the disk means there."""
        share = plans.left_for(place.host.pk, self.disk, self._shares_shown()) if self.disk is not None else None
        if share is None or not place.has_zfs:
            return
        quotas = allotting.quotas_of(
            place, {key: limits.get("quota") for key, limits in self._chosen_all().items() if "quota" in limits}
        )
        if share < place.used:
            yield (
                f"{plans.size(place.used)} are used there and {plans.size(share)} set aside: ZFS takes no quota below "
                "what is used, so it stays as it is until there is room."
            )
        elif share < quotas:
            yield f"The quotas of its jails there are {plans.size(quotas)} together: they cannot all be filled."

    def _shares_shown(self) -> dict[int, int]:
        if self.is_bound:
            return self.shares if self.is_valid() else {}
        found = {place.host.pk: self.initial[_share(place)] for place in self.places_shared}
        return {key: value for key, value in found.items() if value is not None}

    def _chosen_all(self) -> dict[int, dict[str, int | None]]:
        if self.is_bound:
            return self.limits if self.is_valid() else {}
        rows = {row.pk: row for row in self.estate.jails}
        asked = {key: {limit: self._initial(rows[key], limit) for limit in names} for key, names in self.asked.items()}
        return asked | self._proposed_to_rest()

    def rows(self, place: Place) -> list[Row]:
        """Jails of a host for which something is asked, or whose limits nobody can set here."""
        found = []
        for row in place.jails:
            fields = [self[name] for name in self.asked.get(row.pk, {}).values()]
            notes = list(self._notes(row))
            if fields or notes:
                found.append(Row(row, fields, notes))
        return found

    def _notes(self, row: Jail) -> Iterator[str]:
        has = allotting.limits_of(row)
        missing = [limit for limit in self.counted if has[limit] is None and not allotting.may_have(row, limit)]
        if missing:
            words = " and ".join(A_LIMIT[selfservice.THINGS[limit]] for limit in missing)
            why = (
                "on UFS no jail can have it" if row.managed else "it was not made here: its limits are set on its host"
            )
            yield f"It needs {words}, and {why}."
        for limit in self.asked.get(row.pk, {}):
            value, uses = self._chosen(row, limit), self.estate.uses_now(row, limit)
            if limit != "quota" and value is not None and value < uses:
                thing = selfservice.THINGS[limit]
                less = f"more than {plans.shown(thing, value)}: {SLOW[limit]}"
                yield f"{row.name} uses {plans.shown(thing, uses)} now, {less}"

    def _chosen(self, row: Jail, limit: str) -> int | None:
        name = self.asked[row.pk][limit]
        if not self.is_bound:
            return self._initial(row, limit)
        value: int | None = None if name in self.errors else self.cleaned_data.get(name)
        return value

    @property
    def together(self) -> list[plans.Share]:
        """What the plan counts of limits, against what all jails would have then."""
        sums = self._totals(self._chosen_all())
        return [
            plans.Share(thing, plans.LABELS[thing], sums[limit], self.counted[limit])
            for thing, limit in LIMITS.items()
            if limit in self.counted
        ]


SLOW = {
    "memory": "what is above it is paged out, and it gets slow.",
    "cpu": "it has to wait.",
    "processes": "it can start none until enough have ended.",
}


def _share(place: Place) -> str:
    return f"share-{place.host.pk}"
