"""rctl(8) -u: what jails have used, where the kernel counts it (kern.racct.enable=1)."""

import re
from collections.abc import Sequence

from jails.freebsd.command import Argv, argv

FIRST = "cputime"
"""What the kernel writes first of each subject (racct_types in sys/kern/kern_racct.c)."""


def nameable(name: str) -> bool:
    """Whether a filter of rctl(8) can name the jail: it reads a word up to the first colon, comma or equals sign."""
    return bool(name) and re.search(r"[:=/,\s]", name) is None


def usage(names: Sequence[str]) -> Argv:
    """What each of these jails uses, in one call: usr.bin/rctl/rctl.c prints them one after the other, in this order,
    and zeros for a jail that does not run."""
    for name in names:
        if not nameable(name):
            raise ValueError(f"name: {name!r} cannot be written in a filter of rctl(8)")
    return argv("rctl", "-u", *(f"jail:{name}" for name in names))


def parse_usage(output: bytes, count: int) -> tuple[dict[str, int], ...]:
    """Resource → amount of each of the jails that `usage` was asked for; ValueError when it is not of so many."""
    found: list[dict[str, int]] = []
    for line in output.decode("utf-8", "replace").splitlines():
        match = re.fullmatch(r"([a-z]+)=([0-9]+)", line)
        if match is None:
            raise ValueError(f"rctl: expected RESOURCE=AMOUNT, got {line[:60]!r}")
        if match[1] == FIRST:
            found.append({})
        if not found:
            raise ValueError(f"rctl: expected {FIRST} first, got {line[:60]!r}")
        found[-1][match[1]] = int(match[2])
    if len(found) != count:
        raise ValueError(f"rctl: expected {count} jails, got {len(found)}")
    return tuple(found)
