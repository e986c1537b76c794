"""What of a host is looked at less often than its facts: who listens where, limits, devices, files of the system.

At most four requests, whatever the number of jails. What could not be read is missing, as with facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jails.freebsd import devfs, rctl, sockstat, zpool
from jails.hosts.data import decode, encode
from jails.hosts.facts import Missing


@dataclass(frozen=True)
class Mode:
    """Of a file or directory: `mode` in octal with all four digits, "0755"."""

    mode: str
    owner: str
    group: str


@dataclass(frozen=True)
class PacketFilter:
    """pf(4) as it is loaded. anchors: what the main ruleset calls, `anchor`, `nat-anchor` or `rdr-anchor` before its
    name: "nat-anchor cellblock/*"."""

    enabled: bool
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostSurvey:
    """As of about one moment: `at` by the panel's clock, `time` by the host's, in seconds since 1970.

    utc_offset: what the host's local time is ahead of UTC, in seconds. sockets: of the host and of jails that share
    its network stack, never of those with their own. devfs_rulesets: numbers in the kernel; devfs_used: those that
    running jails are held to. files: text of those of FILES that exist, by path. modes: of the directories above
    jails' trees, and the trees. pf: None where it is not loaded. updates: names in /var/db/freebsd-update that say
    something is fetched and not installed. sshd_test: "" or what `sshd -t` says. locks: names in /var/run/cellblock.
    missing: what could not be read, by section: time, sockets, rctl, devfs, files, modes, sysctls, pools, pf, updates,
    sshd, locks. Without ZFS there are no pools, without racct no rules; neither is missing then.
    """

    at: float = 0.0
    time: int = 0
    utc_offset: int = 0
    sockets: tuple[sockstat.Socket, ...] = field(default=(), repr=False)
    rctl: tuple[rctl.Rule, ...] = field(default=(), repr=False)
    devfs_rulesets: tuple[int, ...] = ()
    devfs_rules: tuple[devfs.Ruleset, ...] = field(default=(), repr=False)
    devfs_used: tuple[int, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    unreadable: tuple[str, ...] = ()
    modes: Mapping[str, Mode] = field(default_factory=dict, hash=False, repr=False)
    sysctls: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    pool_status: tuple[zpool.PoolStatus, ...] = ()
    pf: PacketFilter | None = None
    updates: tuple[str, ...] = ()
    sshd_test: str = ""
    locks: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict, hash=False)

    def to_data(self) -> dict[str, Any]:
        """JSON values."""
        data: dict[str, Any] = encode(self)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> HostSurvey:
        survey: HostSurvey = decode(cls, data)
        return survey

    def require(self, *sections: str) -> None:
        """Raises Missing when one of the sections could not be read."""
        for section in sections:
            if section in self.missing:
                raise Missing(section, self.missing[section])

    def file(self, path: str) -> str | None:
        """The text of a file, None where there is none. Raises Missing for one that could not be read."""
        self.require("files")
        if path in self.unreadable:
            raise Missing(path, "it is not text, or too long")
        return self.files.get(path)

    @property
    def skew(self) -> float | None:
        """How far the host's clock is ahead of the panel's, in seconds; None where it was not read."""
        return None if "time" in self.missing or not self.time else self.time - self.at
