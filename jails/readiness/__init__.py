"""Whether a host is fit for jails: what is looked at, what it means, and what puts it right.

One module a group of checks. A check is a pure function from what is known of a host (`Look`) to findings; it runs
nothing, reads no rows and no clock. What could not be looked at is unknown, never fine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jails.hosts.facts import Missing
from jails.readiness import boot, services, storage, system, trees
from jails.readiness.finding import Finding, Look, Status

Check = Callable[[Look], Iterable[Finding]]

GROUPS: tuple[tuple[str, tuple[tuple[str, str, str, Check], ...]], ...] = (
    ("FreeBSD", system.CHECKS),
    ("Services of the host", services.CHECKS),
    ("ZFS", storage.CHECKS),
    ("Jails at boot", boot.CHECKS),
    ("Trees of jails", trees.CHECKS),
)
"""Title → its checks, each as key, title, man page and function."""


@dataclass(frozen=True)
class Group:
    """Findings of one kind, worst first."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Status:
        return max((finding.status for finding in self.findings), key=lambda status: status.weight)


@dataclass(frozen=True)
class Report:
    """Groups, worst first; those with nothing to say are left out."""

    groups: tuple[Group, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for group in self.groups for finding in group.findings)

    def count(self, status: Status) -> int:
        return sum(finding.status is status for finding in self.findings)

    @property
    def is_fine(self) -> bool:
        return all(finding.status is Status.PASS for finding in self.findings)

    def find(self, key: str) -> Finding | None:
        return next((finding for finding in self.findings if finding.key == key), None)


def report(look: Look) -> Report:
    """All that can be said of a host."""
    groups = []
    for title, checks in GROUPS:
        found = [finding for check in checks for finding in _ask(look, *check)]
        if found:
            groups.append(Group(title, tuple(sorted(found, key=lambda finding: -finding.status.weight))))
    return Report(tuple(sorted(groups, key=lambda group: -group.worst.weight)))


def _ask(look: Look, key: str, title: str, man: str, check: Check) -> Iterable[Finding]:
    try:
        return list(check(look))
    except Missing as missing:
        return [
            Finding(
                key, Status.UNKNOWN, title, f"{missing.section} could not be read: {missing.why.rstrip('.: ')}.", man
            )
        ]
    except ValueError as error:
        # rc.conf that only sh can tell, mostly.
        return [Finding(key, Status.UNKNOWN, title, f"{str(error).rstrip('.')}.", man)]


__all__ = ["GROUPS", "Finding", "Group", "Look", "Report", "Status", "report"]
