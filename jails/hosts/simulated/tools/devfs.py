"""devfs(8): rule sets of device file systems."""

from __future__ import annotations

import re
from typing import Any

# What /etc/defaults/devfs.rules and rc leave in the kernel after boot.
DEFAULT: dict[str, dict[str, str]] = {
    "1": {"100": "hide"},
    "2": {
        "100": "path null unhide",
        "200": "path zero unhide",
        "300": "path crypto unhide",
        "400": "path random unhide",
        "500": "path urandom unhide",
    },
    "3": {
        "100": "path ptyp* unhide",
        "1100": "path ptmx unhide",
        "1200": "path pts unhide",
        "1300": "path pts/* unhide",
        "1400": "path fd unhide",
        "1500": "path fd/* unhide",
        "1600": "path stdin unhide",
        "1700": "path stdout unhide",
        "1800": "path stderr unhide",
    },
    "4": {
        "100": "include 1",
        "200": "include 2",
        "300": "include 3",
        "400": "path fuse unhide",
        "500": "path zfs unhide",
    },
}


def main(process: Any) -> int:
    words = list(process.argv[1:])
    ruleset = ""
    mount = "/dev"
    while len(words) > 1 and words[0] in ("-m", "-s"):
        mount, ruleset = (words[1], ruleset) if words[0] == "-m" else (mount, words[1])
        words = words[2:]
    if not words or words[0] not in ("rule", "ruleset"):
        process.err("usage: devfs [-m mount-point] keyword argument ...\n")
        return 1
    keyword = words.pop(0)
    if keyword == "ruleset":
        return _ruleset(process, mount, words)
    while len(words) > 1 and words[0] == "-s":
        ruleset, words = words[1], words[2:]
    return _rule(process, mount, ruleset or "0", words)


def _ruleset(process: Any, mount: str, words: list[str]) -> int:
    if len(words) != 1 or not words[0].isdigit():
        process.err("usage: devfs ruleset rulesetnum\n")
        return 1
    with process.host.changing() as state:
        state.setdefault("devfs_default", {})[mount] = words[0]
        _sets(state).setdefault(words[0], {})
    return 0


def _sets(state: dict[str, Any]) -> dict[str, dict[str, str]]:
    if "devfs" not in state:
        state["devfs"] = {number: dict(rules) for number, rules in DEFAULT.items()}
    sets: dict[str, dict[str, str]] = state["devfs"]
    return sets


def _rule(process: Any, mount: str, number: str, words: list[str]) -> int:
    if not words:
        process.err("usage: devfs rule [-s ruleset] keyword argument ...\n")
        return 1
    command = words.pop(0)
    with process.host.changing() as state:
        sets = _sets(state)
        if command == "showsets":
            process.out("".join(f"{name}\n" for name in sorted(sets, key=int)))
        elif command == "show":
            rules = sets.get(number, {})
            process.out("".join(f"{key} {rules[key]}\n" for key in sorted(rules, key=int)))
        elif command == "add":
            _add(sets.setdefault(number, {}), words)
        elif command == "del" and words:
            sets.get(number, {}).pop(words[0], None)
        elif command == "delset":
            # A set that is some mount's current one stays, empty.
            sets[number] = {}
            if number not in state.get("devfs_default", {}).values():
                del sets[number]
        elif command not in ("apply", "applyset"):
            process.err(f"devfs rule: unknown command: {command}\n")
            return 1
    return 0


def _add(rules: dict[str, str], words: list[str]) -> None:
    number = words.pop(0) if words and re.fullmatch(r"\d+", words[0]) else ""
    if not number:
        number = str(max((int(key) for key in rules), default=0) // 100 * 100 + 100)
    rules[number] = " ".join(words)
