from __future__ import annotations

from django import forms

from jails.freebsd import names
from panel.forms.fields import CheckedField

COMMAND_LONGEST = 8000
"""Characters; consoled counts bytes."""


class CommandForm(forms.Form):
    """As whom, and one line or more of sh(1). What is typed is shown again, and kept nowhere."""

    login = CheckedField(names.user_name_error, label="Sign in as")
    text = forms.CharField(label="Command", max_length=COMMAND_LONGEST, widget=forms.Textarea)

    def clean_text(self) -> str:
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")
