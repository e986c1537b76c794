from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from jails.freebsd import logins, publickey
from jails.freebsd.publickey import PublicKey
from jails.models import Jail, SshKey, User
from panel.forms.fields import CheckedField

KEYS_MAX = 30
"""Of one person."""


class KeyForm(forms.Form):
    """One public key, pasted. Afterwards `key` is what was read."""

    key: PublicKey

    text = forms.CharField(
        label="Public key",
        max_length=20_000,
        help_text="The one line of a file that ends in .pub, such as ~/.ssh/id_ed25519.pub. Ed25519, ECDSA, RSA of at "
        f"least {publickey.RSA_BITS} bits, and keys on a security token.",
        widget=forms.Textarea(attrs={"rows": 4, "class": "form-control mono", "spellcheck": "false"}),
    )
    name = forms.CharField(
        label="Name",
        max_length=publickey.COMMENT_MAX,
        required=False,
        help_text="So that you know it again, like laptop. Empty: the comment of the key.",
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off"}),
    )

    def __init__(self, user: User, data: Mapping[str, Any] | None = None) -> None:
        self.user = user
        super().__init__(data)

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        try:
            self.key = publickey.parse(text)
        except publickey.Unusable as unusable:
            raise forms.ValidationError(str(unusable)) from unusable
        rows = SshKey.objects.filter(user=self.user)
        if same := rows.filter(fingerprint=self.key.fingerprint).first():
            raise forms.ValidationError(f"You have this key already: {same.name}.")
        if rows.count() >= KEYS_MAX:
            raise forms.ValidationError(f"You have {KEYS_MAX} keys: remove one first.")
        return text

    def clean_name(self) -> str:
        name = publickey.comment_of(self.cleaned_data["name"])
        if self.cleaned_data["name"].strip() and not name:
            raise forms.ValidationError("Use letters, digits and “@._+-”.")
        return name

    def save(self) -> SshKey:
        name = self.cleaned_data["name"] or self.key.comment or self.key.type
        fields = {"type": self.key.type, "body": self.key.body, "fingerprint": self.key.fingerprint}
        return SshKey.objects.create(user=self.user, name=publickey.comment_of(name), **fields)


class AccessForm(forms.Form):
    """Which of one's own keys open a login of a jail."""

    login = CheckedField(
        logins.login_error,
        label="Login",
        help_text="The account inside. It is made where there is none: without a password, in the group wheel.",
    )
    keys = forms.MultipleChoiceField(
        label="Your keys", widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"})
    )
    sshd = forms.BooleanField(label="Let sshd run in it", required=False)

    def __init__(self, user: User, jail: Jail | None, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.user, self.jail = user, jail
        super().__init__(data, **options)
        rows = list(SshKey.objects.filter(user=user))
        self.fields["keys"].choices = [(row.fingerprint, f"{row.name} ({row.type})") for row in rows]
        self.has_keys = bool(rows)

    def parameters(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "jail": str(self.jail.uuid) if self.jail is not None else "",
            "login": data["login"],
            "person": self.user.pk,
            "keys": data["keys"],
            "sshd": data["sshd"],
        }
