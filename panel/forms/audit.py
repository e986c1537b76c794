"""Which thing of the log, and between which moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from panel.forms.people import checked_label

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

    def clean_since(self) -> datetime:
        return _in_utc(self.cleaned_data["since"])

    def clean_until(self) -> datetime:
        return _in_utc(self.cleaned_data["until"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("since") and data.get("until") and data["since"] >= data["until"]:
            self.add_error("until", "This must be later than the other.")
        return data


def _in_utc(moment: datetime) -> datetime:
    """With an offset the first and the last year there are may reach beyond what a database can be asked for."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise forms.ValidationError("Give a time within the years 1 to 9999, UTC.") from None


class SearchForm(forms.Form):
    """A name for the filters in the address of the log's page."""

    name = forms.CharField(
        label="Name of this search",
        max_length=60,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off"}),
    )
    shared = forms.BooleanField(
        label="For all who see the whole log",
        required=False,
        widget=forms.CheckboxInput(attrs={"class": "form-check-input"}),
    )

    def clean_name(self) -> str:
        return checked_label(self.cleaned_data["name"])


def between(query: Any) -> BetweenForm:
    """With the last seven days where no times are given."""
    now = timezone.now()
    usual = {"since": now - USUAL, "until": now + timedelta(minutes=1)}
    data = {name: value.strftime("%Y-%m-%dT%H:%M") for name, value in usual.items()}
    return BetweenForm(data | {name: value for name, value in query.items() if value})
