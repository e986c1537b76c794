"""Sizes as ZFS reads and writes them (lib/libzfs/libzfs_util.c, lib/libzutil/zutil_nicenum.c)."""

from __future__ import annotations

import re

MAXIMUM = 2**64 - 1
_UNITS = "KMGTPEZ"


def nice(number: int, zero: str = "0") -> str:
    """The number in at most five characters: 24K, 7.00G, 271M. Bytes below 1,024 carry no unit, but see `zero`."""
    if number == 0:
        return zero
    index, rest = 0, number
    while rest >= 1024 and index < 6:
        rest //= 1024
        index += 1
    if index == 0:
        return f"{number}{zero[1:]}"
    unit = _UNITS[index - 1]
    divisor = 1024**index
    if number % divisor == 0:
        return f"{number // divisor}{unit}"
    text = ""
    for digits in (2, 1, 0):
        text = f"{number / divisor:.{digits}f}{unit}"
        if len(text) <= 5:
            break
    return text


def parse(text: str) -> int:
    """Bytes of "10", "1.5G", "20mb". ValueError carries ZFS's words."""
    if not text or not (text[0].isdigit() or text[0] == "."):
        raise ValueError(f"bad numeric value '{text}'")
    found = re.fullmatch(r"(\d*)(\.\d*)?(.*)", text, re.ASCII | re.DOTALL)
    assert found is not None
    whole, fraction, suffix = found.groups()
    shift = _shift(suffix)
    number = int((float(f"{whole or 0}{fraction}")) * 2**shift) if fraction else int(whole) << shift
    if number > MAXIMUM:
        raise ValueError("numeric value is too large")
    return number


def _shift(suffix: str) -> int:
    upper = suffix.upper()
    if upper in ("", "B"):
        return 0
    if upper[0] in _UNITS and upper[1:] in ("", "B", "IB"):
        return 10 * (_UNITS.index(upper[0]) + 1)
    raise ValueError(f"invalid numeric suffix '{suffix}'")
