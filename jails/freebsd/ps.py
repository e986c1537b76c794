"""ps(1): which jail each process is in."""

import re

from jails.freebsd.command import Argv

JAILS: Argv = ("ps", "-ax", "-o", "pid=", "-o", "jid=")


def parse_jails(output: bytes) -> dict[int, int]:
    """pid → jid, 0 for the host, from what JAILS printed; ValueError for any other line, or none at all."""
    found: dict[int, int] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        match = re.fullmatch(r"\s*([0-9]+)\s+(-?[0-9]+)\s*", line)
        if match is None:
            raise ValueError(f"ps: expected a pid and a jid, got {line[:60]!r}")
        found[int(match[1])] = int(match[2])
    if not found:
        raise ValueError("ps: expected at least its own process, got nothing")
    return found
