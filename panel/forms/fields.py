"""Fields that refuse what the knowledge of FreeBSD refuses, in its words."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from django import forms

from jails.freebsd.names import Check

UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
LONGEST = 4096
"""Characters of any field: what is longer is refused before anything looks at it."""


class CheckedField(forms.CharField):
    """One line of text that a check of jails.freebsd.names finds nothing wrong with.

    Only spaces around it are taken away: a line break is never part of a name, and is refused as such.
    """

    def __init__(self, check: Check, **options: Any) -> None:
        self.check = check
        super().__init__(strip=False, max_length=LONGEST, **options)
        # The browser's limit would cut what is pasted; the check says what is wrong instead.
        self.widget.attrs.pop("maxlength", None)
        self.widget.attrs |= {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).strip(" ")

    def validate(self, value: str) -> None:
        super().validate(value)
        if value and (problem := self.check(value)):
            raise forms.ValidationError(problem)


class SizeField(forms.Field):
    """A size as people write it, `10 GiB`, `512M` or bytes; the value is bytes, None where it is empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}

    def to_python(self, value: Any) -> int | None:
        text = str(value or "").strip(" ")
        return parse_size(text) if text else None

    def prepare_value(self, value: Any) -> Any:
        return format_size(value) if isinstance(value, int) else value


def parse_size(text: str) -> int:
    """Bytes. Units are those of 1024, as zfs(8) has them. Raises ValidationError."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([KMGTP]?)(?:i?B)?", text, re.IGNORECASE | re.ASCII)
    if found is None:
        raise forms.ValidationError("is not a size; expected for example 10 GiB or 512M.")
    size = Decimal(found[1]) * 1024 ** UNITS[found[2].upper()]
    if size != int(size):
        raise forms.ValidationError("is not a whole number of bytes.")
    return int(size)


def format_size(size: int) -> str:
    """The shortest text that parse_size reads back as exactly this many bytes."""
    for unit, power in (("PiB", 5), ("TiB", 4), ("GiB", 3), ("MiB", 2), ("KiB", 1)):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power} {unit}"
    return str(size)
