from __future__ import annotations

from datetime import timedelta

from django import forms

from jails.breakglass import LONGEST_REASON, SHORTEST_REASON
from jails.freebsd import names

HOURS = [("1", "1 hour"), ("2", "2 hours"), ("4", "4 hours"), ("8", "8 hours")]


class BreakGlassForm(forms.Form):
    """Why an administrator enters a tenant's jail, and for how long."""

    reason = forms.CharField(
        label="Reason",
        help_text=f"The tenant reads it. At least {SHORTEST_REASON} characters.",
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"}),
        error_messages={"required": "Say why: the tenant reads it."},
    )
    hours = forms.ChoiceField(
        label="For",
        choices=HOURS,
        initial="1",
        help_text="It ends by itself. End it as soon as you are done.",
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
    )

    def clean_reason(self) -> str:
        reason = " ".join(self.cleaned_data["reason"].split())
        if len(reason) < SHORTEST_REASON:
            raise forms.ValidationError(f"Say more: at least {SHORTEST_REASON} characters.")
        if len(reason) > LONGEST_REASON:
            raise forms.ValidationError(f"At most {LONGEST_REASON} characters; these are {len(reason)}.")
        if problem := names.text_error(reason):
            raise forms.ValidationError(f"It {problem}")
        return reason

    @property
    def lasts(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["hours"]))
