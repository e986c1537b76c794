"""A jail as jail(8) holds it while it works on it, and what is said about names and values (config.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

START, SET, STOP, SHOW = 1, 2, 4, 8
OPERATION = START | SET | STOP
DEPEND, FAILED, PARAMS, WILD, PERSIST, RDTUN = 16, 32, 64, 128, 256, 512

INTERNAL = {
    "allow.dying": "bool",
    "command": "",
    "depend": "",
    "exec.clean": "bool",
    "exec.consolelog": "",
    "exec.created": "",
    "exec.fib": "int",
    "exec.jail_user": "",
    "exec.poststart": "",
    "exec.poststop": "",
    "exec.prepare": "",
    "exec.prestart": "",
    "exec.prestop": "",
    "exec.release": "",
    "exec.start": "",
    "exec.stop": "",
    "exec.system_jail_user": "bool",
    "exec.system_user": "",
    "exec.timeout": "int",
    "interface": "",
    "ip_hostname": "bool",
    "mount": "",
    "mount.devfs": "bool",
    "mount.fdescfs": "bool",
    "mount.fstab": "",
    "mount.procfs": "bool",
    "stop.timeout": "int",
    "vnet.interface": "",
}


class ConfJail:
    """A jail as jail(8) sees it: parameters in their order and how far its commands have come."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.params: list[tuple[str, list[str]]] = []
        self.internal: dict[str, list[str]] = {}
        self.flags = 0
        self.jid = 0
        self.imported: dict[str, Any] = {}
        self.commands: tuple[str, ...] = ()
        self.begun = False
        self.position = -1
        self.queue_of_command: list[str] | None = None
        self.at = 0
        self.waiting_for = 0
        self.outcome: tuple[int, str] | None = None
        self.depends_on: list[Edge] = []
        self.depended_by: list[Edge] = []

    def add(self, name: str, values: Iterable[str]) -> None:
        """add_param() for something given on the command line: values add up."""
        for position, (known, held) in enumerate(self.params):
            if same_option(known, name):
                self.params[position] = (name, [*held, *values])
                return
        self.params.append((name, list(values)))

    def find(self, name: str) -> tuple[str, list[str]] | None:
        if name in self.internal:
            return name, self.internal[name]
        return next(((known, held) for known, held in self.params if same_option(known, name)), None)

    def text(self, name: str) -> str | None:
        found = self.find(name)
        return found[1][-1] if found and found[1] else None

    def true(self, name: str) -> bool:
        found = self.find(name)
        if found is None:
            return False
        negated = found[0].rpartition(".")[2].startswith("no") and found[0] != name
        if not found[1]:
            return not negated
        value = found[1][-1].lower()
        return (value == "true" or bool(re.fullmatch(r"-?0*[1-9]\d*", value))) != negated

    def number(self, name: str) -> int | None:
        value = self.text(name)
        return int(value) if value and re.fullmatch(r"\s*[+-]?\d+", value) else None


class Edge:
    """``source`` depends on ``target``; light: only on its existence."""

    def __init__(self, source: ConfJail, target: ConfJail, *, light: bool) -> None:
        self.source = source
        self.target = target
        self.light = light
        self.seen = False


def positive(name: str) -> str:
    """``exec.noclean`` is ``exec.clean`` for the table of jail(8)'s own parameters."""
    head, dot, tail = name.rpartition(".")
    short = f"{head}{dot}{tail[2:]}"
    return short if tail.startswith("no") and short in INTERNAL else name


def same_option(one: str, other: str) -> bool:
    if one == other:
        return True
    one_head, _, one_tail = one.rpartition(".")
    other_head, _, other_tail = other.rpartition(".")
    return one_head == other_head and (f"no{one_tail}" == other_tail or one_tail == f"no{other_tail}")


def is_wild(name: str) -> bool:
    return "*" in name.split(".")


def wild_match(name: str, pattern: str) -> bool:
    names, patterns = name.split("."), pattern.split(".")
    while len(names) > 1 and len(patterns) > 1:
        if patterns[0] not in (names[0], "*"):
            return False
        names, patterns = names[1:], patterns[1:]
    return patterns == ["*"] or patterns == names


def quote(text: str) -> str:
    quote = '"' if not text or "'" in text else "'" if '"' in text else '"' if " " in text or "\t" in text else ""
    body = "".join("\\" + c if c in ("\\", quote) and c else c for c in text)
    return f"{quote}{body}{quote}"


def strerror(problem: OSError) -> str:
    return problem.strerror or str(problem)
