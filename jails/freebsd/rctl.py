"""rctl(8): limits on resources. Rules outlive the jails they are for, and count for the next one of that name."""

import re
from dataclasses import dataclass

from jails.freebsd.command import Argv, argv

LIST: Argv = ("rctl",)

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
