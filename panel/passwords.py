"""What no password may be made of beside what Django's validators refuse."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

WORDS = ("administrator", "cellblock", "freebsd", "operator", "password", "warden")
MOST = 0.5
"""How much of a password may be such words."""


class ContextWords:
    """Refuses what is mostly names of this place: those of WORDS and of the panel's own address."""

    def validate(self, password: str, user: Any = None) -> None:
        rest = password.lower()
        for word in sorted((*WORDS, *_own_names()), key=len, reverse=True):
            rest = rest.replace(word, "")
        if len(rest) < len(password) * (1 - MOST):
            raise ValidationError("It is mostly words that everybody would try here.", code="password_of_this_place")

    def get_help_text(self) -> str:
        return "Not mostly words of this place, like the panel's name."


def _own_names() -> list[str]:
    """`cellblock.example.org` → its labels of four letters and more."""
    return [label for label in (urlsplit(settings.URL).hostname or "").lower().split(".") if len(label) > 3]
