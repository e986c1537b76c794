"""What of a host is looked at less often than its facts: who listens where, limits, devices, files of the system.

At most four requests, whatever the number of jails. What could not be read is missing, as with facts.
"""

from __future__ import annotations

import io
import re
import secrets
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from jails.freebsd import devfs, jls, names, pfctl, ps, rctl, sh, sockstat, sysctl, zpool
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import Connection, HostUnavailable, Unavailable
from jails.hosts.data import decode, encode
from jails.hosts.facts import FILE_LIMIT, LIMIT, SECONDS, HostFacts, Missing

FILES = (
    "/boot/loader.conf", "/boot/loader.conf.local", "/etc/sysctl.conf", "/etc/sysctl.conf.local",
    "/etc/ssh/sshd_config", "/etc/ntp.conf", "/usr/local/etc/ntpd.conf", "/etc/pf.conf", "/etc/fstab",
    "/etc/login.conf", "/etc/profile", "/etc/syslog.conf", "/etc/newsyslog.conf", "/etc/rctl.conf", "/etc/rc.local",
    "/etc/rc.conf.d/netif", "/etc/rc.conf.d/network", "/etc/rc.conf.d/routing", "/etc/rc.conf.d/devfs", devfs.RULES,
    devfs.DEFAULTS, "/var/db/freebsd-update/tag",
)  # fmt: skip
PATTERNS = ("/boot/loader.conf.d/*.conf", "/etc/fstab.*", "/etc/start_if.*")
LOCKS = "/var/run/cellblock"
UPDATES = "/var/db/freebsd-update"

SYSCTLS = (
    "kern.securelevel", "kern.racct.enable", "kern.features.vimage", "net.inet.ip.forwarding",
    "net.inet6.ip6.forwarding", "security.bsd.see_other_uids", "security.bsd.see_other_gids",
    "security.bsd.see_jail_proc", "security.bsd.unprivileged_proc_debug", "security.bsd.unprivileged_read_msgbuf",
    "security.jail.enforce_statfs", "vfs.usermount",
)  # fmt: skip


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


def gather_survey(connection: Connection, facts: HostFacts) -> HostSurvey:
    """Look at a host whose facts are known: they tell which directories guard jails, and whether there is ZFS, which
    asking zpool(8) would otherwise load. Two requests. Raises HostUnavailable and CommandTimeout."""
    answers = _Answers(connection, facts)
    found: dict[str, Any] = {"at": answers.at}
    missing: dict[str, str] = {}
    for section, take in _SECTIONS.items():
        try:
            found |= take(answers)
        except (ValueError, tarfile.TarError) as error:
            missing[section] = str(error)
    return HostSurvey(missing=missing, **found)


class _Answers:
    """What the host says to the two requests. The clock is asked for in the second, when the connection is open."""

    def __init__(self, connection: Connection, facts: HostFacts) -> None:
        self.zfs = facts.zfs
        self.guarding = _guarding(facts)
        # It fails where one of them is not there, and still tells of the others.
        words = ("xargs", "-0", "stat", "-L", "-f", "%Mp%03Lp %Su %Sg %N")
        paths = "".join(f"{path}\0" for path in self.guarding).encode("utf-8", "surrogateescape")
        self.modes = connection.run(Pipeline.of(words, stdin=paths), timeout=SECONDS, limit=LIMIT)
        commands: dict[str, Argv] = {
            "date": ("date", "+%s:%z"),
            "sockstat": sockstat.LISTENING,
            "ps": ps.JAILS,
            "jls": jls.LIST,
            "rctl": rctl.LIST,
            "devfs": ("sh", "-c", devfs.SHOW_ALL),
            "sysctl": sysctl.get(SYSCTLS),
            "pf": pfctl.INFO,
            "pf nat": pfctl.NAT,
            "pf rules": pfctl.RULES,
            "sshd": ("/usr/sbin/sshd", "-t"),
            "tar": ("sh", "-c", _TAR, "sh", *(path[1:] for path in FILES)),
        }
        if self.zfs:
            commands["zpool"] = zpool.STATUS
        nonce = secrets.token_hex(16)
        text = f"{sh.batch(commands.values(), nonce)}\n{_LISTING}"
        self.at = time.time()
        result = connection.run(Pipeline.of(("sh", "-c", text)), timeout=SECONDS, limit=LIMIT)
        try:
            if result.truncated:
                raise ValueError(f"more output than {LIMIT} bytes")
            self.parts = dict(zip(commands, sh.split_batch(result.stdout), strict=True))
        except ValueError as error:
            why = f"{error} (status {result.rc})"
            raise HostUnavailable(Unavailable.PERMISSION, f"it does not answer as FreeBSD does: {why}") from None
        self.tail = result.stdout.rpartition(b"\n%s %d end\n" % (nonce.encode(), len(commands) - 1))[2]

    def stdout(self, tool: str) -> bytes:
        """What a tool printed. ValueError when it failed."""
        part = self.parts[tool]
        if part.rc:
            raise ValueError(f"{tool}: status {part.rc}: {self.said(tool)[:200]}".rstrip(": "))
        return part.stdout

    def said(self, tool: str) -> str:
        return self.parts[tool].stderr.decode("utf-8", "replace").strip()

    def there(self) -> list[str]:
        """What the listing found. ValueError when its end is missing."""
        paths = self.tail.decode("utf-8", "replace").split("\0")
        if paths[-1:] != ["."]:
            raise ValueError("the list of files is cut off")
        return paths[:-1]


_TAR = 'cd / && exec tar -c -L -f - "$@" ' + " ".join(pattern[1:] for pattern in PATTERNS)
_LISTED = (*FILES, *PATTERNS, "/dev/pf", f"{LOCKS}/*", f"{LOCKS}/.[!.]*", f"{UPDATES}/*-install")
_LISTING = (
    f'for f in {" ".join(_LISTED)}; do\nif [ -e "$f" ] || [ -L "$f" ]; then printf \'%s\\0\' "$f"; fi\ndone\nprintf .'
)
"""Text for sh(1), without a process: which of them exist, each ended by NUL, and a dot at the end."""


def _guarding(facts: HostFacts) -> list[str]:
    """The roots of jails and all that is above them. Not of jails in jails: what leads to them is a tenant's."""
    roots = {facts.jail_root}
    if "jails" not in facts.missing:
        roots |= {jail.path for jail in facts.jails if not jail.parent}
    if "files" not in facts.missing:
        roots |= {jail.path for jail in facts.configured if "." not in jail.name}
    roots = {path for path in roots if path and names.path_error(path) is None}
    above = {str(parent) for path in roots for parent in PurePosixPath(path).parents}
    return sorted((roots | above) - {"/"})


def _time(answers: _Answers) -> dict[str, Any]:
    text = answers.stdout("date").decode("ascii", "replace").strip()
    match = re.fullmatch(r"([0-9]+):([+-])([0-9]{2})([0-9]{2})", text)
    if match is None:
        raise ValueError(f"date: expected seconds and a zone, got {text[:40]!r}")
    offset = int(match[3]) * 3600 + int(match[4]) * 60
    return {"time": int(match[1]), "utc_offset": -offset if match[2] == "-" else offset}


def _sockets(answers: _Answers) -> dict[str, Any]:
    found = sockstat.parse(answers.stdout("sockstat"))
    jids = ps.parse_jails(answers.stdout("ps"))
    jails = {jail.jid: jail.name for jail in jls.parse(answers.stdout("jls"))}
    return {"sockets": sockstat.in_jails(found, jids, jails)}


def _rctl(answers: _Answers) -> dict[str, Any]:
    if answers.parts["rctl"].rc and _sysctls(answers)["sysctls"].get("kern.racct.enable") != "1":
        return {"rctl": ()}
    return {"rctl": rctl.parse(answers.stdout("rctl"))}


def _devfs(answers: _Answers) -> dict[str, Any]:
    rules = devfs.parse_all(answers.stdout("devfs"))
    used = {jail.number("devfs_ruleset", 0) for jail in jls.parse(answers.stdout("jls"))} - {0}
    return {
        "devfs_rulesets": tuple(one.number for one in rules),
        "devfs_rules": rules,
        "devfs_used": tuple(sorted(used)),
    }


def _files(answers: _Answers) -> dict[str, Any]:
    # tar fails where one of the files is not there, and still writes the others.
    output = answers.parts["tar"].stdout
    if not output:
        answers.stdout("tar")
        raise ValueError("tar: wrote no archive")
    files: dict[str, str] = {}
    unreadable = set()
    with tarfile.open(fileobj=io.BytesIO(output), mode="r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            text = _text(archive, member)
            if text is None:
                unreadable.add(f"/{member.name}")
            else:
                files[f"/{member.name}"] = text
    watched = {
        path
        for path in answers.there()
        if path in FILES or path.startswith(("/etc/fstab.", "/etc/start_if.", "/boot/"))
    }
    return {"files": dict(sorted(files.items())), "unreadable": tuple(sorted(unreadable | (watched - set(files))))}


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    if not member.isfile() or member.size > FILE_LIMIT:
        return None
    file = archive.extractfile(member)
    try:
        text = file.read().decode() if file is not None else "\0"
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _modes(answers: _Answers) -> dict[str, Any]:
    found: dict[str, Mode] = {}
    for line in answers.modes.stdout.decode("utf-8", "surrogateescape").splitlines():
        match = re.fullmatch(r"([0-7]{4}) (\S+) (\S+) (/.*)", line)
        if match is None:
            raise ValueError(f"stat: expected mode, owner, group and path, got {line[:60]!r}")
        found[match[4]] = Mode(match[1], match[2], match[3])
    if not found and answers.modes.rc not in (0, 1):
        raise ValueError(f"stat: status {answers.modes.rc}")
    return {"modes": found}


def _sysctls(answers: _Answers) -> dict[str, Any]:
    return {"sysctls": sysctl.parse(answers.stdout("sysctl"), SYSCTLS)}


def _pools(answers: _Answers) -> dict[str, Any]:
    return {"pool_status": zpool.parse_status(answers.stdout("zpool")) if answers.zfs else ()}


def _pf(answers: _Answers) -> dict[str, Any]:
    if answers.parts["pf"].rc and "/dev/pf" not in answers.there():
        return {"pf": None}
    anchors = pfctl.parse_anchors(answers.stdout("pf nat")) + pfctl.parse_anchors(answers.stdout("pf rules"))
    return {"pf": PacketFilter(pfctl.parse_enabled(answers.stdout("pf")), tuple(dict.fromkeys(anchors)))}


def _updates(answers: _Answers) -> dict[str, Any]:
    return {
        "updates": tuple(
            path.rpartition("/")[2]
            for path in answers.there()
            if path.startswith(f"{UPDATES}/") and path.endswith("-install")
        )
    }


def _sshd(answers: _Answers) -> dict[str, Any]:
    part = answers.parts["sshd"]
    if part.rc in (126, 127):
        answers.stdout("sshd")
    return {"sshd_test": (answers.said("sshd") or f"status {part.rc}") if part.rc else ""}


def _locks(answers: _Answers) -> dict[str, Any]:
    return {"locks": tuple(path.removeprefix(f"{LOCKS}/") for path in answers.there() if path.startswith(f"{LOCKS}/"))}


_SECTIONS: dict[str, Callable[[_Answers], dict[str, Any]]] = {
    "time": _time,
    "sockets": _sockets,
    "rctl": _rctl,
    "devfs": _devfs,
    "files": _files,
    "modes": _modes,
    "sysctls": _sysctls,
    "pools": _pools,
    "pf": _pf,
    "updates": _updates,
    "sshd": _sshd,
    "locks": _locks,
}
