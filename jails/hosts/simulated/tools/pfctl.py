"""pfctl(8): loads and shows rule sets as text. Rules are kept, not applied.

``state["pf"]`` is ``{"enabled", "rules": {anchor: text}}``; the main rule set has the anchor ``""``.
"""

from __future__ import annotations

import re
from typing import Any

from jails.hosts.simulated.host import strerror
from jails.hosts.simulated.world import World

from . import kld

KEYWORDS = (
    "altq anchor antispoof binat binat-anchor block ether include load match nat nat-anchor no pass queue rdr "
    "rdr-anchor scrub set table"
).split()
TRANSLATION = ("nat", "rdr", "binat", "no nat", "no rdr", "nat-anchor", "rdr-anchor", "binat-anchor")
USAGE = "usage: pfctl [-AdeghMmNnOPqRrvz] [-a anchor] [-D macro=value] [-F modifier] [-f file] [-s modifier]\n"


def main(caller: Any) -> int:
    process = World(caller)
    flags: set[str] = set()
    values: dict[str, str] = {}
    words = list(process.argv[1:])
    while words and words[0].startswith("-"):
        word = words.pop(0)
        for position, letter in enumerate(word[1:], 1):
            if letter in "aDFfikKosptTxS":
                values[letter] = word[position + 1 :] or (words.pop(0) if words else "")
                break
            if letter not in "AdeghMmNnOPqRrvz":
                process.err(f"pfctl: illegal option -- {letter}\n{USAGE}")
                return 1
            flags.add(letter)
    if not flags and not values:
        process.err(USAGE)
        return 1
    with process.host.reading() as state:
        if not loaded(state) and "n" not in flags:
            process.err("pfctl: /dev/pf: No such file or directory\n")
            return 1
    if "f" in values and (status := _load(process, values["f"], values.get("a", ""), flags)):
        return status
    if "F" in values:
        with process.host.changing() as state:
            _pf(state)["rules"].pop(values.get("a", ""), None)
        process.err("rules cleared\nnat cleared\n" if values["F"] in ("all", "rules", "nat") else "")
    for letter, wanted in (("e", True), ("d", False)):
        if letter in flags and (status := _switch(process, wanted)):
            return status
    return _show(process, values["s"], values.get("a", "")) if "s" in values else 0


def loaded(state: dict[str, Any]) -> bool:
    """Whether the pf module is in the kernel."""
    return kld.loaded(state, "pf")


def _pf(state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = state.setdefault("pf", {})
    found.setdefault("enabled", False)
    found.setdefault("rules", {})
    return found


def _switch(process: World, wanted: bool) -> int:
    with process.host.changing() as state:
        pf = _pf(state)
        already = pf["enabled"] == wanted
        pf["enabled"] = wanted
    word = "enabled" if wanted else "not enabled" if already else "disabled"
    if already:
        process.err(f"pfctl: pf {'already enabled' if wanted else 'not enabled'}\n")
        return 1
    process.err(f"pf {word}\n")
    return 0


def _load(process: World, filename: str, anchor: str, flags: set[str]) -> int:
    only_check = "n" in flags
    try:
        text = process.stdin_text() if filename == "-" else process.read_text(filename)
    except OSError as problem:
        process.err(f"pfctl: {filename}: {strerror(problem)}\npfctl: cannot open the main config file!: "
                    f"{strerror(problem)}\npfctl: Syntax error in config file: pf rules not loaded\n")  # fmt: skip
        return 1
    name = "stdin" if filename == "-" else filename
    faults = [number for number, line in _lines(text) if not _plausible(line)]
    for number in faults:
        process.err(f"{name}:{number}: syntax error\n")
    if faults:
        if not only_check:
            process.err("pfctl: Syntax error in config file: pf rules not loaded\n")
        return 1
    if "v" in flags:
        process.out("".join(f"{as_printed(line)}\n" for _, line in _lines(text)))
    if not only_check:
        with process.host.changing() as state:
            _pf(state)["rules"][anchor] = text
    return 0


def as_printed(line: str) -> str:
    """A rule as pfctl prints it, where it is a filter rule without macros or lists (sbin/pfctl/pfctl_parser.c)."""
    words = line.split()
    if words[0] not in ("pass", "block", "anchor") or set(line) & set("{}$"):
        return line
    if words[0] == "block" and (len(words) == 1 or words[1] not in ("drop", "return", "return-rst", "return-icmp")):
        words.insert(1, "drop")
    if not {"all", "from", "to"} & set(words):
        place = next(
            (at for at, word in enumerate(words) if word in ("flags", "keep", "no", "label", "tag")), len(words)
        )
        words.insert(place, "all")
    if words[0] != "pass" or {"keep", "modulate", "synproxy", "no"} & set(words):
        return " ".join(words)
    protocol = words[words.index("proto") + 1] if "proto" in words[:-1] else "tcp"
    if protocol == "tcp" and "flags" not in words:
        words += ["flags", "S/SA"]
    return " ".join([*words, "keep", "state"])


def _lines(text: str) -> list[tuple[int, str]]:
    """Rules with their line numbers: continued lines joined, comments left out."""
    found, start, held = [], 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = start if held else number
        held += line.partition("#")[0]
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        if held.strip():
            found.append((start, held.strip()))
        held = ""
    return found


def _plausible(line: str) -> bool:
    if re.match(r"[A-Za-z_]\w*\s*=\s*\S", line):
        return True
    return line.split()[0] in KEYWORDS and line.count('"') % 2 == 0 and line.count("{") == line.count("}")


_STATE_TABLE = ("searches", "inserts", "removals")
_COUNTERS = (
    "match bad-offset fragment short normalize memory bad-timestamp congestion ip-option proto-cksum state-mismatch "
    "state-insert state-limit src-limit synproxy map-failed"
).split()


def _counters(enabled: bool) -> str:
    """The tables of `pfctl -s info`: nothing passes through the simulated pf; it has rates when it is off."""
    rate = f"{'':14}" if enabled else f"{0.0:14.1f}/s"
    text = f"{'State Table':<27} {'Total':>14} {'Rate':>16}\n  {'current entries':<25} {0:>14} {'':14}\n"
    text += "".join(f"  {name:<25} {0:>14} {rate}\n" for name in _STATE_TABLE)
    return text + "Counters\n" + "".join(f"  {name:<25} {0:>14} {rate}\n" for name in _COUNTERS)


def _show(process: World, what: str, anchor: str) -> int:
    with process.host.reading() as state:
        pf = state.get("pf", {})
        rules = dict(pf.get("rules", {}))
        enabled = bool(pf.get("enabled"))
    lines = [line for _, line in _lines(rules.get(anchor, ""))]
    what = what.lower()
    if "info".startswith(what) and what:
        status = "Enabled for 0 days 00:00:00" if enabled else "Disabled"
        process.out(f"Status: {status:<37} Debug: Urgent\n\n{_counters(enabled)}")
    elif "rules".startswith(what):
        process.out(
            "".join(
                f"{as_printed(line)}\n" for line in lines if line.split()[0] in ("pass", "block", "anchor", "match")
            )
        )
    elif "nat".startswith(what):
        process.out("".join(f"{line}\n" for line in lines if line.startswith(TRANSLATION)))
    elif "anchors".startswith(what):
        called = {match[1] for line in lines if (match := re.search(r'anchor "?([^"\s]+)"?', line))}
        known = {name for name in rules if name} | {name.rstrip("/*") for name in called}
        process.out("".join(f"  {name}\n" for name in sorted(known)))
    return 0
