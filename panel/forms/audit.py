"""Which thing of the log, and between which moments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

MOMENT = forms.DateTimeInput(attrs={"type": "datetime-local", "class": "form-control"}, format="%Y-%m-%dT%H:%M")
USUAL = timedelta(days=7)


class BetweenForm(forms.Form):
    """Times are UTC, as everywhere in the log."""

    object = forms.CharField(max_length=110, widget=forms.HiddenInput)
    since = forms.DateTimeField(label="From, UTC", widget=MOMENT)
    until = forms.DateTimeField(label="To, UTC", widget=MOMENT)

    def clean_object(self) -> tuple[str, str]:
        """(kind, id) as entries have them."""
        kind, colon, pk = self.cleaned_data["object"].partition(":")
        if not (kind and colon and pk):
            raise forms.ValidationError("Expected a kind and an id, as jail:3.")
        return kind, pk

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("since") and data.get("until") and data["since"] >= data["until"]:
            self.add_error("until", "This must be later than the other.")
        return data


def between(query: Any) -> BetweenForm:
    """With the last seven days where no times are given."""
    now = timezone.now()
    usual = {"since": now - USUAL, "until": now + timedelta(minutes=1)}
    data = {name: value.strftime("%Y-%m-%dT%H:%M") for name, value in usual.items()}
    return BetweenForm(data | {name: value for name, value in query.items() if value})
