"""pfctl(8): whether the packet filter works, and which anchors its main ruleset calls. It reads; it changes nothing."""

import re

from jails.freebsd.command import Argv

INFO: Argv = ("pfctl", "-s", "info")
NAT: Argv = ("pfctl", "-s", "nat")
RULES: Argv = ("pfctl", "-s", "rules")


def parse_enabled(output: bytes) -> bool:
    """What INFO printed; ValueError when it says neither."""
    match = re.search(rb"^Status: (Enabled|Disabled)\b", output, re.MULTILINE)
    if match is None:
        raise ValueError("pfctl: expected a line `Status: Enabled` or `Status: Disabled`")
    return match[1] == b"Enabled"


def parse_anchors(output: bytes) -> tuple[str, ...]:
    """Calls of anchors by what NAT or RULES printed, in order: `anchor ftp-proxy/*`, `nat-anchor cellblock/*`."""
    found = re.finditer(r'^((?:nat-|rdr-|binat-)?anchor) "([^"\n]+)"', output.decode("utf-8", "replace"), re.MULTILINE)
    return tuple(dict.fromkeys(f"{match[1]} {match[2]}" for match in found))
