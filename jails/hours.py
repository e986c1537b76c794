"""Working hours as a setting has them: `Mon-Fri 07:00-19:00`, several spans separated by commas."""

from __future__ import annotations

import re
from typing import NamedTuple

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPAN = re.compile(r"([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))? ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")


class Span(NamedTuple):
    """On the days first to last (1 Monday, 7 Sunday), from a minute of the day up to another, which is not in it."""

    first: int
    last: int
    begin: int
    end: int


def parse(text: str) -> tuple[Span, ...]:
    """The spans; none of an empty text. Raises ValueError with what was expected."""
    return tuple(_span(part.strip()) for part in text.split(",")) if text.strip() else ()


def _span(text: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"expected days and hours like Mon-Fri 07:00-19:00, got {text!r}")
    first, last, *numbers = found.groups()
    last = last or first
    if first not in DAYS or last not in DAYS or DAYS.index(first) > DAYS.index(last):
        raise ValueError(f"expected days from Mon to Sun in their order, got {text!r}")
    from_hour, from_minute, to_hour, to_minute = map(int, numbers)
    begin, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    if from_minute > 59 or to_minute > 59 or not begin < end <= 24 * 60:
        raise ValueError(f"expected hours from 00:00 to 24:00, the earlier first, got {text!r}")
    return Span(DAYS.index(first) + 1, DAYS.index(last) + 1, begin, end)
