"""What the panel may do on a host: each permission that it needs tried harmlessly, in at most three requests.

Nothing is changed but for a lock in /var/run that is taken and given back. A line that fails says why and what to do.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jails.freebsd import jls, lockf, names, sh, sysctl, uname
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import CommandTimeout, Connection, HostUnavailable, Result, Unavailable
from jails.hosts.data import decode, encode

SECONDS = 60.0
OLDEST = (12, 1)
PHRASE = "a'b\"c!d $e\\f %g *\u00e4\nh"
"""Each letter of it means something to one shell or the other."""
LOCK = "/var/run/cellblock.access"
FILES = ("/etc/jail.conf.d", "/etc/newsyslog.conf.d", "/etc/rc.conf")
DATA = ("/var/db/cellblock", "/var/log/cellblock")
TOOLS = (
    "chflags", "chmod", "devfs", "df", "fetch", "find", "fstat", "ifconfig", "install", "jail", "jexec", "jls", "ln",
    "lockf", "ls", "mkdir", "mktemp", "mount", "mv", "newsyslog", "ps", "pw", "rm", "rmdir", "service", "sha256",
    "stat", "sysctl", "sysrc", "tar", "timeout", "umount", "xargs",
)  # fmt: skip
"""What plans run, all of FreeBSD's base."""
SYSCTLS = ("kern.ostype", "kern.securelevel", "security.jail.jailed", "vfs.zfs.version.spa")


class Verdict(StrEnum):
    """DOUBT: it works, but not all of the panel does. UNKNOWN: another line has failed, or the host did not tell."""

    PASS = "pass"  # noqa: S105
    DOUBT = "doubt"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Line:
    """One permission: `title` says what is wanted, `reason` what was found, `advice` what to do, "" where nothing."""

    name: str
    title: str
    verdict: Verdict
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Access:
    """What one test found, in the order in which one thing needs the other."""

    lines: tuple[Line, ...] = ()

    def to_data(self) -> dict[str, Any]:
        data: dict[str, Any] = encode(self)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Access:
        access: Access = decode(cls, data)
        return access

    def line(self, name: str) -> Line | None:
        return next((line for line in self.lines if line.name == name), None)

    def passes(self, name: str) -> bool:
        line = self.line(name)
        return line is not None and line.verdict == Verdict.PASS

    @property
    def failing(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.verdict == Verdict.FAIL)

    @property
    def doubtful(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.verdict in (Verdict.DOUBT, Verdict.UNKNOWN))

    @property
    def untried(self) -> dict[str, tuple[str, ...]]:
        """Why lines are unknown, and which ones by their titles."""
        found: dict[str, tuple[str, ...]] = {}
        for line in self.lines:
            if line.verdict == Verdict.UNKNOWN:
                found[line.reason] = (*found.get(line.reason, ()), line.title)
        return found

    @property
    def is_good(self) -> bool:
        return bool(self.lines) and not self.failing


@dataclass(frozen=True)
class Subject:
    """Who is tried: kind as Host.kind; `become` the words before each command; `pool` "" where none is wanted."""

    kind: str
    username: str = "root"
    become: tuple[str, ...] = ()
    jail_root: str = "/jail"
    pool: str = ""

    @property
    def titles(self) -> dict[str, str]:
        """The lines that there are for it, with what each one wants."""
        by = f" by {self.become[0]}" if self.become else ""
        who = "The worker" if self.kind == "local" else self.username
        found = dict(_TITLES)
        found["root"] = f"{who} becomes root{by}" if by else "Commands run as root"
        found["sign_in"] = f"The host lets the worker in as {self.username}"
        found["data"] = f"Writes below {self.jail_root}, /var/db and /var/log"
        if self.kind != "ssh":
            for name in ("host_key", "sign_in"):
                del found[name]
        if self.kind == "local":
            del found["reach"]
        return found


_TITLES = {
    "reach": "The host answers",
    "host_key": "It shows the key that was compared and pinned",
    "sign_in": "",
    "commands": "Commands arrive as they were sent",
    "quiet": "The shell's start-up files print nothing",
    "root": "",
    "freebsd": "It is FreeBSD 12.1 or newer",
    "jailed": "It is a machine of its own, not a jail",
    "securelevel": "Its securelevel forbids nothing that is needed",
    "jails": "Reads all jails",
    "locks": "Takes locks in /var/run",
    "files": "Writes /etc/jail.conf.d, newsyslog.conf.d and rc.conf",
    "data": "",
    "tools": "The tools of the base system are there",
    "zfs": "ZFS answers",
}

_STOPS_AT = {
    Unavailable.HOST_KEY: "host_key",
    Unavailable.AUTHENTICATION: "sign_in",
    Unavailable.PERMISSION: "commands",
    Unavailable.NOT_ROOT: "root",
}
"""Which line a connection that is refused fails; any other reason is that the host was not reached."""

_ADVICE = {
    "reach": "See that the address, the port and the firewall are right, and that sshd runs.",
    "host_key": "Compare the key on this page, and pin it if the two are equal.",
    "sign_in": "Paste the lines that let the worker in, on the host, as root.",
    "commands": "Take `command=` and ForceCommand away from this key, and give the user /bin/sh or csh as login shell.",
}


def examine(connection: Connection, subject: Subject) -> Access:
    """Try everything. Never raises for what the host does: that is what the lines are about."""
    trial = _Trial(connection, subject)
    try:
        trial.run()
    except (HostUnavailable, CommandTimeout) as error:
        trial.stopped(error)
    return trial.access()


class _Trial:
    def __init__(self, connection: Connection, subject: Subject) -> None:
        self.connection, self.subject = connection, subject
        self.found: dict[str, Line] = {}
        self.titles = subject.titles
        self.why_unknown = "What comes before it has failed."

    def access(self) -> Access:
        return Access(
            tuple(
                self.found.get(name) or Line(name, title, Verdict.UNKNOWN, self.why_unknown)
                for name, title in self.titles.items()
            )
        )

    def say(self, name: str, verdict: Verdict, reason: str = "", advice: str = "") -> None:
        if name in self.titles:
            self.found[name] = Line(name, self.titles[name], verdict, reason[:1000], advice)

    def good(self, name: str, reason: str = "") -> None:
        self.say(name, Verdict.PASS, reason)

    def bad(self, name: str, reason: str, advice: str = "") -> None:
        self.say(name, Verdict.FAIL, reason, advice)

    def stopped(self, error: HostUnavailable | CommandTimeout) -> None:
        """The connection was refused, or is lost: what lies before that has passed, what lies behind is unknown."""
        if isinstance(error, CommandTimeout) or self.found:
            self.bad(
                "commands", f"The host stopped answering: {error}", "See that the line to it holds, and try again."
            )
            return
        at = _STOPS_AT.get(error.reason, "reach")
        for name in self.titles:
            if name == at:
                break
            if name in ("reach", "host_key", "sign_in", "commands"):
                self.good(name)
        self.bad(at, error.message, self.how_to_root() if at == "root" else _ADVICE[at])

    def run(self) -> None:
        if not self.hears():
            return
        answers = self.ask(
            id=("id", "-u"),
            uname=("uname", "-sr"),
            sysctl=sysctl.get(SYSCTLS),
            jls=jls.LIST,
            which=("which", *TOOLS),
            # The panel's own locks stay (-k); this one goes with the command.
            lockf=("lockf", "-s", "-t", "0", LOCK, "true"),
            **self.questions(),
        )
        self.identity(answers)
        is_root = self.is_root(answers)
        self.tools(answers)
        if is_root:
            self.jails(answers)
            self.locks(answers)
            self.writes("files", FILES, answers)
            self.writes("data", (self.subject.jail_root, *DATA), answers)
            self.zfs(answers)
        else:
            self.why_unknown = "Only root can tell."

    # The first request: one command, whose words say whether the login shell hands commands over unchanged

    def hears(self) -> bool:
        result = self.connection.run(Pipeline.of(("printf", "%s\\n", PHRASE)), timeout=SECONDS)
        for name in ("reach", "host_key", "sign_in"):
            self.good(name)
        expected = f"{PHRASE}\n".encode()
        if result.rc or not result.stdout.endswith(expected):
            if self.subject.become and self.subject.kind == "local":
                self.bad("root", self.said(result), self.how_to_root())
            else:
                self.bad("commands", f"A test line came back changed: {self.said(result)}", _ADVICE["commands"])
            return False
        self.good("commands")
        noise = result.stdout.removesuffix(expected) or result.stderr
        if not noise:
            self.good("quiet")
            return True
        said = _first_line(noise)
        advice = "Let the start-up files of the login shell (.cshrc, .shrc, /etc/csh.cshrc) print in terminals only."
        if len(result.stdout) > len(expected):
            self.bad("quiet", f"Before each command comes: {said}", advice)
        else:
            self.say("quiet", Verdict.DOUBT, f"With each command comes on standard error: {said}", advice)
        return True

    def said(self, result: Result) -> str:
        said = _first_line(result.stderr) or _first_line(result.stdout)
        return f"status {result.rc}" + (f", {said}" if said else "")

    # The second request

    def ask(self, **commands: Argv) -> Mapping[str, sh.Part]:
        """All in one request. Raises HostUnavailable also where the answer cannot be read."""
        text = sh.batch(commands.values())
        result = self.connection.run(Pipeline.of(("sh", "-c", text)), timeout=SECONDS)
        try:
            return dict(zip(commands, sh.split_batch(result.stdout), strict=True))
        except ValueError as error:
            raise HostUnavailable(Unavailable.LOST, f"{error} ({self.said(result)})") from None

    def questions(self) -> dict[str, Argv]:
        wanted = (*FILES, *DATA, self.subject.jail_root, lockf.DIRECTORY)
        paths = {parent: None for path in wanted for parent in _with_parents(path)}
        return {f"{letter} {path}": ("test", f"-{letter}", path) for path in paths for letter in "ew"}

    def identity(self, answers: Mapping[str, sh.Part]) -> None:
        said = answers["uname"].stdout.decode("utf-8", "replace").strip()
        system, _, release = said.partition(" ")
        values = sysctl.parse(answers["sysctl"].stdout, SYSCTLS)
        if system != "FreeBSD" or values.get("kern.ostype") != "FreeBSD":
            self.bad("freebsd", f"It says that it is {said or 'nothing'}.", "The panel manages FreeBSD only.")
            return
        self.release(release)
        self.jailed(values.get("security.jail.jailed", ""))
        self.securelevel(values.get("kern.securelevel", ""))

    def release(self, release: str) -> None:
        try:
            parsed = uname.Release.parse(release)
        except ValueError:
            self.say("freebsd", Verdict.DOUBT, f"FreeBSD {release}, which is no release that is known here.")
            return
        if (parsed.major, parsed.minor) < OLDEST:
            self.say("freebsd", Verdict.DOUBT, f"FreeBSD {release}.", "What is older than 12.1 has not been tried.")
        else:
            self.good("freebsd", f"FreeBSD {release}")

    def jailed(self, value: str) -> None:
        if value == "0":
            self.good("jailed")
        elif value == "1":
            self.say(
                "jailed",
                Verdict.DOUBT,
                "It is a jail itself. Jails in it need children.max, mounts allow.mount and enforce_statfs 1, ZFS a "
                "dataset that was handed over; sysctls, limits, devfs rules and new interfaces belong to its host.",
                "Add the machine it runs on instead, if you can.",
            )
        else:
            self.say("jailed", Verdict.UNKNOWN, "security.jail.jailed could not be read.")

    def securelevel(self, value: str) -> None:
        try:
            level = int(value)
        except ValueError:
            self.say("securelevel", Verdict.UNKNOWN, "kern.securelevel could not be read.")
            return
        if level < 1:
            self.good("securelevel", f"It is {level}")
            return
        lost = ["file flags cannot be taken away, so releases and jails on UFS cannot be removed"]
        lost += ["kernel modules cannot be loaded"]
        lost += ["pf rules cannot be changed"] if level >= 3 else []
        self.say(
            "securelevel",
            Verdict.DOUBT,
            f"It is {level}: {'; '.join(lost)}.",
            "See securelevel(7). It can be lowered only by kern_securelevel in rc.conf and a restart.",
        )

    def is_root(self, answers: Mapping[str, sh.Part]) -> bool:
        said = answers["id"].stdout.decode("utf-8", "replace").strip()
        if answers["id"].rc == 0 and said == "0":
            self.good("root")
            return True
        self.bad("root", f"Commands run as the user {said or '?'}, not as root.", self.how_to_root())
        return False

    def how_to_root(self) -> str:
        tool = self.subject.become[0] if self.subject.become else ""
        if tool:
            check = sh.words((*self.subject.become, "id", "-u"))
            return f"Paste the lines for {tool} on the host; `{check}` must print 0 there."
        if self.subject.kind == "local":
            return "Run the worker as root, or say that it becomes root by doas or sudo and paste the lines for it."
        return "Sign in as root, or as a user who becomes root by doas or sudo."

    def tools(self, answers: Mapping[str, sh.Part]) -> None:
        there = {path.rpartition("/")[2] for path in answers["which"].stdout.decode("utf-8", "replace").split()}
        missing = [tool for tool in TOOLS if tool not in there]
        if not missing:
            self.good("tools", f"{len(TOOLS)} of them")
            return
        self.bad(
            "tools",
            f"Missing: {', '.join(missing)}.",
            f"They belong to FreeBSD's base. Were they taken away, or is this user's path another than {sh.PATH}?",
        )

    def jails(self, answers: Mapping[str, sh.Part]) -> None:
        part = answers["jls"]
        try:
            if part.rc:
                raise ValueError(_first_line(part.stderr) or f"status {part.rc}")
            count = len(jls.parse(part.stdout))
        except ValueError as error:
            self.bad("jails", f"jls: {error}", "`jls -n` must work there.")
            return
        self.good("jails", f"{count} running" if count else "None runs")

    def locks(self, answers: Mapping[str, sh.Part]) -> None:
        part, place = answers["lockf"], _nearest(lockf.DIRECTORY, answers)
        # Somebody else's test at the same moment.
        if part.rc not in (0, lockf.HELD):
            self.bad("locks", _first_line(part.stderr) or f"lockf: status {part.rc}", _writable("/var/run"))
        elif not _is_writable(place, answers):
            self.bad("locks", f"{place} cannot be written.", _writable(place))
        else:
            self.good("locks")

    def writes(self, name: str, paths: Iterable[str], answers: Mapping[str, sh.Part]) -> None:
        places = {path: _nearest(path, answers) for path in paths}
        wrong = {path: place for path, place in places.items() if not _is_writable(place, answers)}
        if not wrong:
            self.good(name)
            return
        words = [path if path == place else f"{place} (for {path})" for path, place in wrong.items()]
        self.bad(name, f"Cannot be written: {', '.join(words)}.", _writable(*dict.fromkeys(wrong.values())))

    # The third request, where there is ZFS

    def zfs(self, answers: Mapping[str, sh.Part]) -> None:
        values = sysctl.parse(answers["sysctl"].stdout, SYSCTLS)
        pool = self.subject.pool
        if "vfs.zfs.version.spa" not in values:
            if pool:
                advice = "`sysrc zfs_enable=YES` and `service zfs start`, or leave the pool empty for UFS."
                self.bad("zfs", f"The pool for jails is {pool}, but ZFS is not loaded.", advice)
            else:
                self.good("zfs", "It is not loaded: jails are directories on UFS")
            return
        asked = self.ask(
            zpool=("zpool", "list", "-H", "-o", "name,health"),
            zfs=("zfs", "list", "-H", "-d", "0", "-o", "name,readonly"),
        )
        for tool in ("zpool", "zfs"):
            if asked[tool].rc:
                self.bad("zfs", f"{tool}: {_first_line(asked[tool].stderr) or f'status {asked[tool].rc}'}")
                return
        self.pools(_rows(asked["zpool"].stdout), _rows(asked["zfs"].stdout))

    def pools(self, health: Mapping[str, str], readonly: Mapping[str, str]) -> None:
        pool = self.subject.pool
        if pool and pool not in health:
            there = f"There are: {', '.join(health)}." if health else "There is none."
            self.bad("zfs", f"There is no pool {pool}.", f"{there} Change the pool for jails, or import it.")
            return
        if not health:
            self.good("zfs", "No pool: jails are directories on UFS")
            return
        looked_at = [pool] if pool else list(health)
        sick = [f"{name} is {health[name]}" for name in looked_at if health[name] not in ("ONLINE", "DEGRADED")]
        fixed = [f"{name} is read-only" for name in looked_at if readonly.get(name) == "on"]
        if sick or (fixed and len(fixed) == len(looked_at)):
            self.bad("zfs", f"{', '.join([*sick, *fixed])}.", "See zpool-status(8).")
        else:
            self.good("zfs", ", ".join(f"{name} {health[name]}" for name in looked_at))


def _first_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[0].strip()[:300] if lines else ""


def _rows(output: bytes) -> dict[str, str]:
    pairs = (line.split("\t") for line in output.decode("utf-8", "replace").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _with_parents(path: str) -> list[str]:
    """The path itself, what it is in, and so on to `/`."""
    names.require("path", path, names.path_error)
    found = [path]
    while found[-1] != "/":
        found.append(posixpath.dirname(found[-1]))
    return found


def _nearest(path: str, answers: Mapping[str, sh.Part]) -> str:
    """The path where it is there, or else what it would be made in."""
    return next((place for place in _with_parents(path) if answers[f"e {place}"].rc == 0), "/")


def _is_writable(path: str, answers: Mapping[str, sh.Part]) -> bool:
    return answers[f"w {path}"].rc == 0


def _writable(*paths: str) -> str:
    return f"Is a file system mounted read-only? See `mount -p`, and `ls -lod {' '.join(paths)}`."
