"""What is asked before a snapshot is taken."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils import timezone

from jails.freebsd import names
from jails.operations import snapshots
from panel.forms.fields import CheckedField, SizeField


class SandboxForm(forms.Form):
    name = CheckedField(names.jail_name_error, label="Name", help_text="Letters, digits, “-” and “_”.")
    quota = SizeField(
        label="Quota", help_text="Like 10 GiB, for what is changed in it. Empty: as much as the pool has."
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
