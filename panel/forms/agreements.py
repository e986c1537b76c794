from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms

from jails.agreements import LONGEST, Line, Terms
from jails.freebsd import names
from jails.models import Side, Work

SIDES = [(Side.HOST.value, "Host"), (Side.TENANT.value, "Tenant"), (Side.EITHER.value, "Either")]
PLAN = "plan"
SPANS = [
    (PLAN, "This plan, once"),
    ("1", "This kind of work for 1 hour"),
    ("4", "This kind of work for 4 hours"),
    ("24", "This kind of work for a day"),
    ("168", "This kind of work for a week"),
]


class Words(forms.CharField):
    """One paragraph that somebody else reads: no control characters, and no more than fits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off"}), **options)

    def clean(self, value: Any) -> str:
        text = " ".join(str(super().clean(value)).split())
        if len(text) > LONGEST:
            raise forms.ValidationError(f"At most {LONGEST} characters; these are {len(text)}.")
        if problem := names.text_error(text):
            raise forms.ValidationError(f"It {problem}")
        return text


class AgreementForm(forms.Form):
    """Who sees to each kind of work; empty where nothing of its own is agreed. `propose` or `set` is the button."""

    do = forms.ChoiceField(choices=[("propose", "propose"), ("set", "set")], required=False)
    reason = Words(label="Reason", required=False, help_text="The other side reads it.")

    def __init__(self, lines: list[Line], origin: str, otherwise: str, *args: Any, **kwargs: Any) -> None:
        """origin: `jail` or `tenant`, which of the lines are written here; otherwise: what counts for the others."""
        initial = {line.work.value: line.side.value if line.origin == origin else "" for line in lines}
        super().__init__(*args, initial=initial, **kwargs)
        self.lines = lines
        for line in lines:
            self.fields[line.work.value] = forms.ChoiceField(
                label=line.label, choices=[("", otherwise), *SIDES], required=False, help_text=line.means.capitalize()
            )

    @property
    def works(self) -> list[tuple[Line, Any]]:
        return [(line, self[line.work.value]) for line in self.lines]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("do") == "set" and not data.get("reason") and "reason" not in self.errors:
            self.add_error("reason", "Say why it is set without asking: the tenant reads it.")
        return data

    @property
    def terms(self) -> Terms:
        chosen = {work: self.cleaned_data.get(work.value) for work in Work}
        return {work: Side(side) for work, side in chosen.items() if side}


class AskForm(forms.Form):
    """Why what is the other side's should be done, and for how long."""

    reason = Words(label="Reason", error_messages={"required": "Say why: who is asked needs it to decide."})
    span = forms.ChoiceField(
        label="For",
        choices=SPANS,
        initial=PLAN,
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
        help_text="A kind of work means: on these jails, by you, as often as you need until it ends.",
    )

    @property
    def lasts(self) -> timedelta | None:
        span = self.cleaned_data["span"]
        return None if span == PLAN else timedelta(hours=int(span))


class AnswerForm(forms.Form):
    do = forms.ChoiceField(choices=[("yes", "yes"), ("no", "no")])
    comment = Words(label="Comment", required=False)
