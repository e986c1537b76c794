"""uname(1), freebsd-version(1), and how releases compare."""

import re
from dataclasses import dataclass
from datetime import date
from functools import total_ordering

from jails.freebsd.command import Argv

UNAME: Argv = ("uname", "-snrmp")
# Installed kernel, running kernel, userland: always in this order.
FREEBSD_VERSION: Argv = ("freebsd-version", "-kru")

# A stable branch goes on after its last release; a PRERELEASE leads to the first BETA.
_STAGES = ("CURRENT", "PRERELEASE", "ALPHA", "BETA", "RC", "RELEASE", "STABLE")


@dataclass(frozen=True)
class Uname:
    system: str
    hostname: str
    release: str
    machine: str
    processor: str


def parse_uname(output: bytes) -> Uname:
    """What UNAME printed; ValueError when it is not five words."""
    words = output.decode("utf-8", "replace").split()
    if len(words) != 5:
        raise ValueError(f"uname: expected five words, got {len(words)}")
    return Uname(*words)


@dataclass(frozen=True)
class Versions:
    """Differing kernels mean that a reboot is due."""

    kernel_installed: "Release"
    kernel_running: "Release"
    userland: "Release"

    @property
    def needs_reboot(self) -> bool:
        return self.kernel_installed != self.kernel_running


def parse_freebsd_version(output: bytes) -> Versions:
    """What FREEBSD_VERSION printed; ValueError when it is not three releases."""
    lines = output.decode("utf-8", "replace").split()
    if len(lines) != 3:
        raise ValueError(f"freebsd-version: expected three releases, got {len(lines)}")
    return Versions(*(Release.parse(line) for line in lines))


@total_ordering
@dataclass(frozen=True)
class Release:
    """14.2-RELEASE-p1: major 14, minor 2, stage RELEASE, number 0 (of BETA2 it is 2), patch 1."""

    major: int
    minor: int
    stage: str
    number: int = 0
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> "Release":
        """ValueError when the text is no release, as uname -r and freebsd-version write one."""
        found = re.fullmatch(
            r"([1-9][0-9]?)(?:\.([0-9]{1,2}))?-(CURRENT|PRERELEASE|ALPHA|BETA|RC|RELEASE|STABLE)([0-9]{0,2})(?:-p([0-9]{1,3}))?",
            text.strip(),
        )
        if found is None:
            raise ValueError(f"release: expected for example 14.2-RELEASE or 14.2-RELEASE-p1, got {text.strip()!r}")
        major, minor, stage, number, patch = found.groups()
        return cls(int(major), int(minor or 0), stage, int(number or 0), int(patch or 0))

    @property
    def name(self) -> str:
        """Without the patch level: what a mirror calls it."""
        return f"{self.major}.{self.minor}-{self.stage}{self.number or ''}"

    def __str__(self) -> str:
        return f"{self.name}-p{self.patch}" if self.patch else self.name

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Release):
            return NotImplemented
        return self._key < other._key

    @property
    def _key(self) -> tuple[int, int, int, int, int]:
        return self.major, self.minor, _STAGES.index(self.stage), self.number, self.patch


def userland_not_newer(host: Release, jail: Release) -> bool:
    """Whether a kernel of `host` can carry a userland of `jail`, which may be older, never newer.

    Patch levels do not count: they change no interface of the kernel.
    """
    return jail._key[:4] <= host._key[:4]


# The day on which support ends, by the tables at www.freebsd.org/security/ and /security/unsupported/. Dates of
# releases that were supported when this was written are the project's estimates, and can move.
END_OF_LIFE = {
    "12.0-RELEASE": date(2020, 2, 29),
    "12.1-RELEASE": date(2021, 1, 31),
    "12.2-RELEASE": date(2022, 3, 31),
    "12.3-RELEASE": date(2023, 3, 31),
    "12.4-RELEASE": date(2023, 12, 31),
    "13.0-RELEASE": date(2022, 8, 31),
    "13.1-RELEASE": date(2023, 7, 31),
    "13.2-RELEASE": date(2024, 6, 30),
    "13.3-RELEASE": date(2024, 12, 31),
    "13.4-RELEASE": date(2025, 6, 30),
    "13.5-RELEASE": date(2026, 4, 30),
    "14.0-RELEASE": date(2024, 9, 30),
    "14.1-RELEASE": date(2025, 3, 31),
    "14.2-RELEASE": date(2025, 9, 30),
    "14.3-RELEASE": date(2026, 6, 30),
    "15.0-RELEASE": date(2026, 9, 30),
}
BRANCH_END_OF_LIFE = {
    12: date(2023, 12, 31),
    13: date(2026, 4, 30),
    14: date(2028, 11, 30),
    15: date(2029, 12, 31),
}


def end_of_life(release: Release) -> date | None:
    """The last day of support of a release, or of its branch where the release is not in the table; None if unknown."""
    return END_OF_LIFE.get(release.name) or BRANCH_END_OF_LIFE.get(release.major)


def eol_of(text: str) -> date | None:
    """`end_of_life` of a release as text; None also where it is no release."""
    try:
        return end_of_life(Release.parse(text))
    except ValueError:
        return None
