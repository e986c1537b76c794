from __future__ import annotations

from typing import Any

from allauth.account.forms import AddEmailForm, LoginForm, ReauthenticateForm
from django import forms

from jails.freebsd import names
from jails.models import User
from panel.accounts import RESERVED_NAMES


class SignInForm(LoginForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "User name"
        self.fields["login"].widget.attrs |= {"autofocus": True, "autocapitalize": "none", "spellcheck": "false"}
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)

    def clean_login(self) -> str:
        """As the account is spelled: the back end asks without case, and failures are counted by what stands here."""
        typed = str(super().clean_login())
        spelled = User.objects.filter(username__iexact=typed).values_list("username", flat=True).first()
        return str(spelled or typed.lower())


class AddressForm(AddEmailForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = "New address"
        self.fields["email"].widget.attrs.pop("placeholder", None)
        self.fields["email"].help_text = "A link is sent there; the address counts once you open it."


class PasswordForm(ReauthenticateForm):
    """Asks for the password of who is signed in already."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].widget.attrs.pop("placeholder", None)
        self.fields["password"].widget.attrs["autofocus"] = True


class EnterForm(forms.Form):
    """The name a person chooses who comes in by a link."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        help_text="How you sign in, and what the log calls you: lower case letters, digits, “-” and “_”.",
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false", "autofocus": True}
        ),
    )

    def clean_username(self) -> str:
        username: str = self.cleaned_data["username"]
        problem = names.user_name_error(username)
        if problem:
            raise forms.ValidationError(f"It {problem}")
        if username in RESERVED_NAMES:
            raise forms.ValidationError(f"“{username}” is what the log calls the panel itself; choose another.")
        if User.objects.filter(username__iexact=username).exists():
            raise forms.ValidationError(f"“{username}” is taken; choose another.")
        return username
