"""What is asked before a snapshot is taken, looked for or copied."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django import forms
from django.utils import timezone

from jails.freebsd import names
from jails.operations import sandbox_create, snapshots
from panel.forms.audit import MOMENT
from panel.forms.fields import CheckedField, SizeField


class SandboxForm(forms.Form):
    name = CheckedField(names.jail_name_error, label="Name", help_text="Letters, digits, “-” and “_”.")
    quota = SizeField(
        label="Quota", help_text="Like 10 GiB, for what is changed in it. Empty: as much as the pool has."
    )
    days = forms.IntegerField(
        label="Days",
        required=False,
        min_value=1,
        max_value=sandbox_create.MOST_DAYS,
        help_text=f"Then it is destroyed by itself. Its page can give it more time. Empty: {sandbox_create.DAYS}.",
    )
    start = forms.BooleanField(label="Start it at once", required=False)


class SnapshotForm(forms.Form):
    name = CheckedField(snapshots.name_error, label="Name", help_text="Letters, digits, “-”, “_”, “.” and “:”.")
    note = CheckedField(
        snapshots.note_error, label="Note", required=False, help_text="Why: for whoever reads the list."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("initial", {"name": f"{timezone.now():%Y%m%d-%H%M}"})
        super().__init__(*args, **options)


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def zone_error(value: str) -> str | None:
    return None if value in _zones() else "is not the name of a time zone; expected for example Europe/Berlin or UTC."


class MomentForm(forms.Form):
    """A moment as a person's clock shows it. `moment` is it in UTC; of an hour that comes twice the first is meant."""

    at = forms.DateTimeField(label="As it was at", widget=MOMENT)
    zone = CheckedField(
        zone_error,
        label="Time zone",
        initial="UTC",
        help_text="Whose clock shows that: Europe/Berlin, America/New_York, UTC.",
        widget=forms.TextInput(attrs={"data-time-zone": ""}),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("at") and data.get("zone"):
            try:
                wanted: datetime = data["at"].replace(tzinfo=zoneinfo.ZoneInfo(data["zone"])).astimezone(UTC)
            except OverflowError:
                self.add_error("at", "Give a time within the years 1 to 9999.")
                return data
            if wanted > timezone.now():
                self.add_error("at", "That is still to come.")
            data["moment"] = wanted
        return data
