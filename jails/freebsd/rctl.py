"""rctl(8): limits on resources. Rules outlive the jails they are for, and count for the next one of that name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jails.freebsd.command import Argv, argv

LIST: Argv = ("rctl",)
RESOURCES: Mapping[str, str] = {"memory": "memoryuse", "cpu": "pcpu", "processes": "maxproc"}
"""A limit of a jail → what rctl(8) calls it: bytes of resident memory, per cent of one CPU, processes.

memoryuse and pcpu cannot be denied as such: the kernel pages a jail out that is above the one and lets it wait above
the other (rctl_rule_add in sys/kern/kern_rctl.c).
"""
MOST: Mapping[str, int] = {"memory": 1 << 60, "cpu": 100_000, "processes": 99_999}
"""maxproc: kern.maxproc is 99999 at most (PID_MAX)."""

_SUBJECTS = ("process", "user", "loginclass", "jail")
_RULE = re.compile(
    # From the right: a jail's name may hold anything, a colon too.
    r"(?P<subject>process|user|loginclass|jail):(?P<who>.*):(?P<resource>[a-z]+):(?P<action>[a-z0-9]+)"
    r"=(?P<amount>[0-9]+)(?:/(?P<per>process|user|loginclass|jail))?",
    re.DOTALL,
)
_ACTIONS = re.compile(r"deny|log|devctl|throttle|sig[a-z0-9]+")


@dataclass(frozen=True)
class Rule:
    """`subject` is process, user, loginclass or jail; `who` its pid or name. `per` is what the amount is counted for,
    "" where it is the subject. `amount` in bytes, or in what the resource is counted in."""

    subject: str
    who: str
    resource: str
    action: str
    amount: int
    per: str = ""

    def __str__(self) -> str:
        return f"{self.subject}:{self.who}:{self.resource}:{self.action}={self.amount}" + (
            f"/{self.per}" if self.per else ""
        )


def parse(output: bytes) -> tuple[Rule, ...]:
    """What LIST printed, rules of all subjects; ValueError for a line that is no rule."""
    found = []
    for line in output.decode("utf-8", "replace").splitlines():
        match = _RULE.fullmatch(line)
        if match is None or not _ACTIONS.fullmatch(match["action"]):
            raise ValueError(f"rctl: expected SUBJECT:ID:RESOURCE:ACTION=AMOUNT, got {line[:80]!r}")
        found.append(
            Rule(
                subject=match["subject"],
                who=match["who"],
                resource=match["resource"],
                action=match["action"],
                amount=int(match["amount"]),
                per=match["per"] or "",
            )
        )
    return tuple(found)


def add(rule: Rule) -> Argv:
    """`rctl -a RULE`: a second time it changes nothing."""
    return argv("rctl", "-a", _word(rule))


def remove(rule: Rule) -> Argv:
    """`rctl -r RULE`, this one rule alone: a filter that left parts out would match others."""
    return argv("rctl", "-r", _word(rule))


# Limits of a jail, by the names of RESOURCES


def rules(jail: str, limits: Mapping[str, int | None]) -> tuple[Rule, ...]:
    """The rules for those that are not None, in the order of RESOURCES."""
    given = ((resource, limits.get(limit)) for limit, resource in RESOURCES.items())
    return tuple(Rule("jail", jail, resource, "deny", amount) for resource, amount in given if amount is not None)


def set_limits(jail: str, limits: Mapping[str, int | None]) -> Argv:
    """`rctl -a`: of a denial with another amount the kernel takes the new one. ValueError where there is none."""
    found = rules(jail, limits)
    if not found:
        raise ValueError("limits: expected at least one")
    return argv("rctl", "-a", *map(_word, found))


def clear_limits(jail: str, limits: Iterable[str]) -> Argv:
    """`rctl -r` of these limits, whatever their amounts; it fails where one of them is not there."""
    return argv("rctl", "-r", *(_filter(jail, RESOURCES[limit]) for limit in limits))


def in_force(given: Iterable[Rule], jail: str) -> dict[str, int]:
    """Limit → amount, of what LIST printed: rules that deny, for the jail as a whole."""
    limits = {resource: limit for limit, resource in RESOURCES.items()}
    return {
        limits[rule.resource]: rule.amount
        for rule in given
        if (rule.subject, rule.who, rule.action) == ("jail", jail, "deny")
        and rule.resource in limits
        and rule.per in ("", "jail")
    }


# The same as commands in jail.conf(5)

_ANYWAY = " || true"
# A host that was started without kern.racct.enable says so, and its jails start all the same.


def prestart(jail: str, limits: Mapping[str, int | None]) -> str:
    """For exec.prestart: the rules are there before the jail is, so that nothing in it runs without them."""
    return " ".join(set_limits(jail, limits)) + _ANYWAY


def poststop(jail: str, limits: Mapping[str, int | None]) -> str:
    """For exec.poststop: rules outlive a jail, and would count for the next one of its name."""
    return " ".join(clear_limits(jail, [name for name in RESOURCES if limits.get(name) is not None])) + _ANYWAY


def limits_of_prestart(jail: str, command: str) -> dict[str, int] | None:
    """What such a line sets; None for any other command, or one for another jail."""
    words = _words(command, "-a")
    try:
        found = [_read(jail, word) for word in words]
    except ValueError:
        return None
    return dict(found) if found and len(dict(found)) == len(found) else None


def is_poststop(jail: str, command: str) -> bool:
    """Whether it takes limits of this jail away, and does nothing else."""
    words = _words(command, "-r")
    return bool(words) and all(word in {_filter(jail, resource) for resource in RESOURCES.values()} for word in words)


def _words(command: str, option: str) -> list[str]:
    words = command.strip().removesuffix(_ANYWAY).split()
    return words[2:] if words[:2] in (["rctl", option], ["/usr/bin/rctl", option]) else []


_SIZES = {unit: 10 * (power + 1) for power, unit in enumerate("kmgtpe")}
_READ = re.compile(
    r"jail:(?P<who>[^:]+):(?P<resource>[a-z]+):deny=(?P<number>[0-9]{1,19})(?P<unit>[kmgtpeKMGTPE]?)(?:/jail)?"
)


def _read(jail: str, word: str) -> tuple[str, int]:
    """One rule as a person may write it, `jail:www1:memoryuse:deny=1G`: limit and amount."""
    match = _READ.fullmatch(word)
    limit = next((name for name, resource in RESOURCES.items() if match and resource == match["resource"]), None)
    if match is None or limit is None or match["who"] != jail:
        raise ValueError(f"rctl: {word!r} is no limit of {jail}")
    amount = int(match["number"]) << _SIZES.get(match["unit"].lower(), 0)
    if amount > MOST[limit]:
        raise ValueError(f"rctl: {word!r} is more than any jail can use")
    return limit, amount


def _filter(jail: str, resource: str) -> str:
    return _word(Rule("jail", jail, resource, "deny", 0)).removesuffix("=0")


def _word(rule: Rule) -> str:
    if rule.subject not in _SUBJECTS:
        raise ValueError(f"subject: {rule.subject!r}, expected one of {', '.join(_SUBJECTS)}")
    # rctl(8) reads its words up to the first colon, and cannot be told to take one as part of a name.
    if not rule.who or re.search(r"[:\s=/,]", rule.who):
        raise ValueError(f"who: {rule.who!r} cannot be written in a rule of rctl(8)")
    text = str(rule)
    if parse(text.encode()) != (rule,):
        raise ValueError(f"rule: {text!r} is no rule of rctl(8)")
    return text
