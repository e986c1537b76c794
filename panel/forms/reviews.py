from __future__ import annotations

from typing import Any

from django import forms

from jails.models import AuditReview
from jails.review import LONGEST_COMMENT
from panel.tables.audit import sequence

AT_ONCE = 100


class Reviews(forms.ModelMultipleChoiceField):
    def clean(self, value: Any) -> Any:
        """No database is asked for a number that it cannot hold."""
        if not all(sequence(str(one)) for one in value or []):
            raise forms.ValidationError(self.error_messages["invalid_choice"], code="invalid_choice")
        return super().clean(value)


class SignOffForm(forms.Form):
    """What was looked at, and what came of it."""

    reviews = Reviews(
        queryset=AuditReview.objects.none(),
        error_messages={
            "required": "Choose what you have looked at.",
            "invalid_choice": "What you chose is not in the queue.",
            "invalid_pk_value": "What you chose is not in the queue.",
        },
    )
    comment = forms.CharField(
        label="What you found",
        max_length=LONGEST_COMMENT,
        widget=forms.Textarea(attrs={"class": "form-control", "rows": 2, "autocomplete": "off"}),
        error_messages={"required": "Say what you found: the next one who looks needs it."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reviews"].queryset = AuditReview.objects.all()

    def clean_reviews(self) -> Any:
        chosen = self.cleaned_data["reviews"]
        if len(chosen) > AT_ONCE:
            raise forms.ValidationError(f"At most {AT_ONCE} at once.")
        return chosen
