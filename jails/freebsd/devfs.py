"""devfs(8) and devfs.rules(5): the sets of rules that say which devices a jail sees."""

import re
from dataclasses import dataclass

from jails.freebsd.command import Argv, argv

SHOW_SETS: Argv = ("devfs", "rule", "showsets")
SHOW_ALL = 'for n in $(devfs rule showsets); do echo "[$n]"; devfs rule -s "$n" show || exit; done'
"""Text for `sh -c`: every set with its rules, a process a set."""
RULES = "/etc/devfs.rules"
DEFAULTS = "/etc/defaults/devfs.rules"


@dataclass(frozen=True)
class Ruleset:
    """A set of the kernel. `rules`: as `devfs rule show` prints each, `100 include 1`."""

    number: int
    rules: tuple[str, ...] = ()

    @property
    def includes(self) -> tuple[int, ...]:
        """Numbers of the sets whose rules it takes in."""
        found = (re.fullmatch(r"[0-9]+ include ([0-9]+)", rule) for rule in self.rules)
        return tuple(int(match[1]) for match in found if match)


def parse_sets(output: bytes) -> tuple[int, ...]:
    """What SHOW_SETS printed; ValueError for a line that is no number."""
    lines = output.decode("utf-8", "replace").split()
    if wrong := [line for line in lines if not line.isdecimal()]:
        raise ValueError(f"devfs: expected numbers of rule sets, got {wrong[0][:60]!r}")
    return tuple(int(line) for line in lines)


def parse_all(output: bytes) -> tuple[Ruleset, ...]:
    """What SHOW_ALL printed; ValueError for a rule before any set."""
    rules: dict[int, list[str]] = {}
    current: list[str] | None = None
    for line in output.decode("utf-8", "replace").splitlines():
        if heading := re.fullmatch(r"\[([0-9]+)\]", line):
            current = rules.setdefault(int(heading[1]), [])
        elif current is None:
            raise ValueError(f"devfs: expected a rule set, got {line[:60]!r}")
        else:
            current.append(line.strip())
    return tuple(Ruleset(number, tuple(lines)) for number, lines in rules.items())


def names(text: str) -> dict[int, str]:
    """number → name of the sets a rules file defines: `[devfsrules_jail=4]`."""
    found = re.finditer(r"^\s*\[\s*([A-Za-z0-9_]+)\s*=\s*([0-9]+)\s*\]", text, re.MULTILINE)
    return {int(match[2]): match[1] for match in found}


def delete_set(number: int) -> Argv:
    """`devfs rule -s NUMBER delset`: what is mounted keeps the devices it shows now."""
    return argv("devfs", "rule", "-s", _number(number), "delset")


def add_rule(number: int, rule: str) -> Argv:
    """A rule as `devfs rule show` prints it, put back under its own number."""
    words = rule.split()
    if len(words) < 2 or not words[0].isdecimal() or any(word.startswith("-") for word in words):
        raise ValueError(f"rule: {rule!r} is no rule as `devfs rule show` prints it")
    return argv("devfs", "rule", "-s", _number(number), "add", *words)


def _number(number: int) -> str:
    if not 0 < number < 65536:
        raise ValueError(f"number: {number}, expected 1 to 65535")
    return str(number)
