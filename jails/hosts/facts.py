"""What is known of a host: gathered in a handful of commands, the same few for one jail and for a thousand.

A refresh costs at most six requests and thirteen processes. What could not be read is *missing*, which is not the same
as absent: asking for it raises Missing, so that no plan takes a failed command for an empty host.
"""

from __future__ import annotations

import fnmatch
import io
import ipaddress
import re
import secrets
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from jails.freebsd import boot, foreign, ifconfig, jailconf, jls, mount, names, rcconf, rctl, sh, sysctl, uname
from jails.freebsd.command import Argv, Pipeline
from jails.freebsd.foreign import ForeignJail, cbsd
from jails.hosts import zfs_reader
from jails.hosts.connection import Connection, HostUnavailable, Unavailable
from jails.hosts.data import decode, encode
from jails.hosts.zfs_reader import Dataset, Pool, Snapshot, ZFSReader

SECONDS = 60.0
LIMIT = 64_000_000
FILE_LIMIT = 1_000_000
"""Bytes of one configuration file that are read; a longer one counts as unreadable."""

RC_CONF = ("/etc/rc.conf", "/etc/rc.conf.local", "/etc/rc.conf.d/jail", "/usr/local/etc/rc.conf.d/jail")
"""rc.conf(5): what rc.d/jail reads after the defaults, in this order."""
JAIL_CONF = "/etc/jail.conf"
JAIL_CONF_D = "/etc/jail.conf.d"
SYSTEM_FILES = ("/boot/loader.conf", "/etc/fstab", "/etc/login.conf", "/etc/ssh/sshd_config")
"""What a fix of the host itself may change: its plan shows the difference to the file as it is."""
RELEASES = "/var/db/cellblock/releases"
TEMPLATES = "/var/db/cellblock/templates"

MADE = ("/var/log/cellblock", "/etc/newsyslog.conf.d/cellblock.conf")
"""Whether these are there is looked at too: what is made once on a host, beside datasets and the directories above."""

SYSCTLS = (
    *sysctl.HOST, "kern.securelevel", "vfs.zfs.version.spa", "security.jail.enforce_statfs", "security.jail.jailed",
)  # fmt: skip

Interface = ifconfig.Interface
RunningJail = jls.Jail


class Missing(Exception):
    """A fact was asked for that the last refresh could not read: `section` and, in words, why."""

    def __init__(self, section: str, why: str) -> None:
        super().__init__(f"{section} of this host could not be read: {why}. Refresh it and try again.")
        self.section = section
        self.why = why


@dataclass(frozen=True)
class ConfiguredJail:
    """A jail of a configuration file, wildcards and variables resolved; `failed` where jail(8) would refuse it."""

    name: str
    file: str
    failed: bool
    path: str
    hostname: str
    addresses: tuple[str, ...]
    parameters: tuple[tuple[str, tuple[str, ...]], ...] = field(repr=False)


@dataclass(frozen=True)
class HostFacts:
    """All of it is as of one moment, apart from what changed while it was gathered. Sizes in bytes, times since 1970.

    files: text of the configuration files that exist, by path. names: what is in a directory, by its path.
    rules: all of rctl(8), none where the kernel was started without it.
    missing: what could not be read, by section: identity, version, jails, interfaces, mounts, space, files, names,
    rules, zfs.
    unreadable: files that exist and are not text, or too long.
    """

    jail_root: str = "/jail"
    hostname: str = ""
    kernel: str = ""
    userland: str = ""
    architecture: str = ""
    processors: int = 0
    memory: int = 0
    booted_at: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    zfs: bool = False
    pools: tuple[Pool, ...] = ()
    datasets: tuple[Dataset, ...] = field(default=(), repr=False)
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False)
    doubtful: tuple[str, ...] = ()
    jails: tuple[RunningJail, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    mounts: tuple[mount.Mount, ...] = field(default=(), repr=False)
    space: tuple[mount.Space, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    unreadable: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False, repr=False)
    rules: tuple[rctl.Rule, ...] = field(default=(), repr=False)
    missing: Mapping[str, str] = field(default_factory=dict, hash=False)

    def to_data(self) -> dict[str, Any]:
        """JSON values."""
        data: dict[str, Any] = encode(self)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> HostFacts:
        facts: HostFacts = decode(cls, data)
        return facts

    @property
    def errors(self) -> tuple[str, ...]:
        """What could not be read, in words."""
        doubtful = tuple(f"{name}: its properties hold text that pretends to be another's" for name in self.doubtful)
        unreadable = tuple(f"{path}: not text, or longer than {FILE_LIMIT} bytes" for path in self.unreadable)
        return (*(f"{section}: {why}" for section, why in self.missing.items()), *unreadable, *doubtful)

    def require(self, *sections: str) -> None:
        """Raises Missing when one of the sections could not be read."""
        for section in sections:
            if section in self.missing:
                raise Missing(section, self.missing[section])

    @property
    def release(self) -> str:
        """The userland's, as freebsd-version(1) prints it, or else the kernel's."""
        return self.userland or self.kernel

    @property
    def racct(self) -> bool:
        return self.sysctls.get("kern.racct.enable") == "1"

    def limits_in_force(self, name: str) -> dict[str, int] | None:
        """What rctl(8) holds a jail to, by the names of rctl.RESOURCES; None where that could not be read."""
        return None if "rules" in self.missing else rctl.in_force(self.rules, name)

    @property
    def vnet(self) -> bool:
        return self.sysctls.get("kern.features.vimage") == "1"

    def dataset(self, name: str) -> Dataset | None:
        self.require("zfs")
        return self._datasets.get(name)

    def dataset_at(self, path: str) -> Dataset | None:
        """The dataset that is mounted at exactly this path."""
        self.require("zfs", "mounts")
        device = next((row.device for row in reversed(self.mounts) if row.path == path and row.type == "zfs"), "")
        return self._datasets.get(device)

    def children(self, name: str) -> tuple[Dataset, ...]:
        """All datasets below one, however deep: what `zfs destroy -r` would take with it."""
        self.require("zfs")
        return tuple(dataset for dataset in self.datasets if dataset.name.startswith(f"{name}/"))

    def snapshot(self, name: str) -> Snapshot | None:
        self.require("zfs")
        return self._snapshots.get(name)

    def snapshots_of(self, dataset: str) -> tuple[Snapshot, ...]:
        """Of this one dataset. Known below POOL/cellblock only."""
        self.require("zfs")
        return tuple(snapshot for snapshot in self.snapshots if snapshot.dataset == dataset)

    def clones_of(self, name: str) -> tuple[Dataset, ...]:
        """The clones of a snapshot, or of any snapshot of a dataset."""
        self.require("zfs")
        if "@" in name:
            return tuple(dataset for dataset in self.datasets if dataset.origin == name)
        return tuple(dataset for dataset in self.datasets if dataset.origin.partition("@")[0] == name)

    def pool(self, name: str) -> Pool | None:
        self.require("zfs")
        return next((pool for pool in self.pools if pool.name == name), None)

    def jail(self, name: str) -> RunningJail | None:
        """The running jail of that name. A dying one counts only where no other has the name."""
        self.require("jails")
        return self._jails.get(name)

    def file(self, path: str) -> str | None:
        """The text of a configuration file, None where there is none. Raises Missing for one that cannot be read."""
        self.require("files", "names")
        if path in self.unreadable:
            raise Missing(path, "it is not text, or too long")
        return self.files.get(path)

    def exists(self, directory: str, name: str) -> bool:
        """Whether a directory that is looked into (jail_root, RELEASES, TEMPLATES, JAIL_CONF_D) holds that name.

        Also for the paths of MADE.
        """
        self.require("names")
        return name in self.names.get(directory, ())

    @property
    def rc_conf(self) -> str:
        """All that rc.d/jail reads, one after the other."""
        return "\n".join(text for text in map(self.file, RC_CONF) if text is not None)

    @property
    def includes(self) -> bool:
        """Whether this host's jail(8) knows `.include` in jail.conf(5).

        It came into FreeBSD in June 2023 (src e82a62943529), before 14.0 was branched. On an older release only an
        administrator's own use of it tells.
        """
        try:
            release = uname.Release.parse(self.release)
        except ValueError:
            release = uname.Release(0, 0, "RELEASE")
        return release.major >= 14 or (
            release.major == 13 and _INCLUDE.search(self.files.get(JAIL_CONF, "")) is not None
        )

    @cached_property
    def configured(self) -> tuple[ConfiguredJail, ...]:
        """The jails of /etc/jail.NAME.conf, /etc/jail.conf.d/*.conf and /etc/jail.conf, each with the file it is in.

        Where several mention it, the one that rc.d/jail takes.
        """
        self.require("files")
        found: dict[str, ConfiguredJail] = {}
        for path in sorted(filter(_own_name, self.files), key=lambda path: path.startswith(f"{JAIL_CONF_D}/")):
            for jail in _configured(path, jailconf.read(self.files[path], filename=path)):
                # A file that is called after a jail counts for it before any other file that mentions it.
                known = found.get(jail.name)
                own = _own_name(path) == jail.name
                if known is None or (own and _own_name(known.file) != jail.name):
                    found[jail.name] = jail
        for jail in self._read_jail_conf(included=False):
            found.setdefault(jail.name, jail)
        if self.includes and not all(jail.path for jail in found.values()):
            # Such a file relies on what stands in /etc/jail.conf before it is included.
            for jail in self._read_jail_conf(included=True):
                alone = found.get(jail.name)
                if alone is not None and not alone.path:
                    found[jail.name] = replace(jail, file=alone.file)
        return tuple(found.values())

    @cached_property
    def foreign(self) -> tuple[ForeignJail, ...]:
        """The jails that other tools made, and those of rc.conf variables, each as its own files tell of it."""
        self.require("files")
        evidence = foreign.Evidence(
            files=self.files,
            rc_conf="\n".join(self.files[path] for path in RC_CONF if path in self.files),
            datasets={dataset.name: dataset.mountpoint for dataset in self.datasets},
            origins={dataset.name: dataset.origin for dataset in self.datasets if dataset.origin},
            running=tuple(jail.name for jail in self.jails),
            mounts=tuple((row.device, row.path, row.type) for row in self.mounts),
        )
        return foreign.read(evidence)

    @cached_property
    def foreign_rows(self) -> Mapping[str, ForeignJail]:
        """The same by the name that a list of all jails shows each under, which is unique on a host.

        That is how jls(8) shows it; or the name of the standard jail that has the same tree, which is the same jail;
        or `NAME (MANAGER)` where a standard jail, or one of another tool, has the name.
        """
        by_path = {jail.path.rstrip("/"): jail.name for jail in self.configured if jail.path.rstrip("/")}
        rows: dict[str, ForeignJail] = {}
        for jail in self.foreign:
            name = by_path.get(jail.root, "") or jail.running_name
            taken = name in rows or (name in self._configured and jail.root not in by_path)
            rows.setdefault(f"{name} ({jail.manager})" if taken else name, jail)
        return rows

    def running_of(self, jail: ForeignJail) -> RunningJail | None:
        """The running jail that a tool started: the one in its tree, whatever it is called. A dying one counts last."""
        self.require("jails")
        return self._by_root.get(jail.root)

    def jails_of(self, path: str) -> tuple[ConfiguredJail, ...]:
        """What `jail -f PATH` makes of a file, with what it includes where this host's jail(8) includes any.

        Nothing where jail(8) would not read it at all. Raises Missing.
        """
        if path not in self._by_file:
            include = self._matching if self.includes else None
            read = jailconf.read(self.file(path) or "", filename=path, include=include)
            self._by_file[path] = tuple(_configured(path, read))
        return self._by_file[path]

    def _read_jail_conf(self, *, included: bool) -> Iterable[ConfiguredJail]:
        """The jails of /etc/jail.conf, with or without those of the files it includes."""
        return _configured(JAIL_CONF, self._jail_conf(self._matching if included else _nothing))

    def _jail_conf(self, include: jailconf.Include) -> jailconf.JailConf:
        text = self.files.get(JAIL_CONF, "")
        return jailconf.read(text, filename=JAIL_CONF, include=include if self.includes else None)

    @cached_property
    def unread_includes(self) -> tuple[str, ...]:
        """Patterns of `.include` that may take in files which no refresh reads: what those describe is not known.

        Raises Missing.
        """
        self.require("files")
        patterns: set[str] = set()

        def include(pattern: str) -> list[tuple[str, str]]:
            patterns.add(pattern)
            return self._matching(pattern)

        if self.includes:
            for path in (JAIL_CONF, *filter(_own_name, self.files)):
                jailconf.read(self.files.get(path, ""), filename=path, include=include)
        return tuple(sorted(one for one in patterns if one not in self.files and not _is_read(one)))

    def require_includes(self) -> None:
        """Raises Missing where a jail may be described in a file that is not read."""
        if self.unread_includes:
            words = "jail.conf includes it, and it is not one of the files that are read here"
            raise Missing(self.unread_includes[0], words)

    def _matching(self, pattern: str) -> list[tuple[str, str]]:
        return [(path, text) for path, text in self.files.items() if _globs(pattern, path)]

    def boot_state(self) -> boot.BootState:
        """Which jails this host starts at boot. Raises Missing; ValueError where only running rc.conf would tell."""
        rc_conf, _ = self.rc_conf, self.file(JAIL_CONF)
        for path in RC_CONF[2:]:
            values = rcconf.parse(self.file(path) or "").values
            if "jail_list" in values or "jail_enable" in values:
                raise ValueError(f"{path}: sets jail_list or jail_enable over /etc/rc.conf; move them there by hand")
        patterns: list[str] = []

        def include(pattern: str) -> list[tuple[str, str]]:
            patterns.append(pattern)
            return self._matching(pattern)

        everything = [jail.name for jail in self._jail_conf(include).jails]
        new = f"{JAIL_CONF_D}/new.conf"
        includes_folder = self.includes and any(_globs(pattern, new) for pattern in patterns)
        return boot.boot_state(rc_conf, everything, self.own_files, includes_folder=includes_folder)

    @property
    def own_files(self) -> frozenset[str]:
        """Jails that have a file called after them: /etc/jail.conf.d/NAME.conf, or before that /etc/jail.NAME.conf."""
        self.require("names")
        folder = {name for name in self.names.get(JAIL_CONF_D, ()) if name.endswith(".conf")}
        older = {name.removeprefix("jail.") for name in self.names.get("/etc", ())}
        return frozenset(name.removesuffix(".conf") for name in folder | older)

    def configured_jail(self, name: str) -> ConfiguredJail | None:
        return self._configured.get(name)

    def config_file(self, name: str) -> str:
        """The file that rc.d/jail hands to jail(8) for a jail, "" where none has it.

        One that is called after the jail, or else /etc/jail.conf with what it includes, globals among it. Raises
        Missing; ValueError where rc.conf names a file of its own for the jail, or only running it would tell.
        """
        variable = f"jail_{names.rc_variable_part(name)}_conf"
        if named := rcconf.parse(self.rc_conf).get(variable):
            raise ValueError(f"rc.conf: {variable} is {named}; start and stop this jail by hand, or take the line out")
        found = self.configured_jail(name)
        if found is None:
            return ""
        if _own_name(found.file) != name and any(jail.name == name for jail in self.jails_of(JAIL_CONF)):
            return JAIL_CONF
        return found.file

    def address_in_use(self, ip: str) -> str:
        """Who has an address: in words, for a message, or empty. ValueError when `ip` is no address."""
        self.require("jails", "interfaces", "files")
        return self._addresses.get(str(ipaddress.ip_address(ip)), "")

    def free_bytes(self, place: str) -> int:
        """What can still be written to a path (begins with a slash), or to a dataset or pool. Raises Missing."""
        if not place.startswith("/"):
            dataset = self.dataset(place)
            if dataset is None:
                raise Missing(place, "there is no such dataset")
            return dataset.available
        mounted = self.mount_of(place)
        if mounted.type == "zfs":
            return self.free_bytes(mounted.device)
        self.require("space")
        space = next((space for space in self.space if space.path == mounted.path), None)
        if space is None:
            raise Missing(mounted.path, "its space is not known")
        return max(0, space.available)

    def mount_of(self, path: str) -> mount.Mount:
        """The file system that holds a path. Raises Missing."""
        self.require("mounts")
        holding = [row for row in self.mounts if row.path == path or path.startswith(row.path.rstrip("/") + "/")]
        if not holding:
            raise Missing("mounts", f"nothing is mounted above {path}")
        # Of two at one path the later one covers the earlier.
        return max(reversed(holding), key=lambda row: len(row.path))

    def mounted_below(self, path: str) -> tuple[mount.Mount, ...]:
        """What is mounted at a path or below it, deepest first: in this order it can be unmounted."""
        self.require("mounts")
        below = [row for row in self.mounts if row.path == path or row.path.startswith(f"{path.rstrip('/')}/")]
        return tuple(sorted(below, key=lambda row: row.path.count("/"), reverse=True))

    @cached_property
    def _datasets(self) -> dict[str, Dataset]:
        return {dataset.name: dataset for dataset in self.datasets}

    @cached_property
    def _snapshots(self) -> dict[str, Snapshot]:
        return {snapshot.name: snapshot for snapshot in self.snapshots}

    @cached_property
    def _jails(self) -> dict[str, RunningJail]:
        return {jail.name: jail for jail in sorted(self.jails, key=lambda jail: not jail.dying)}

    @cached_property
    def _by_root(self) -> dict[str, RunningJail]:
        return {jail.path.rstrip("/"): jail for jail in sorted(self.jails, key=lambda jail: not jail.dying)}

    @cached_property
    def _configured(self) -> dict[str, ConfiguredJail]:
        return {jail.name: jail for jail in self.configured}

    @cached_property
    def _by_file(self) -> dict[str, tuple[ConfiguredJail, ...]]:
        return {}

    @cached_property
    def _addresses(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for configured in self.configured:
            for ip in map(plain_address, configured.addresses):
                found[ip] = f"jail {configured.name} ({configured.file})"
        for tool in self.foreign:
            for ip in map(plain_address, tool.addresses):
                found.setdefault(ip, f"jail {tool.name} ({tool.config})")
        for interface in self.interfaces:
            for address in interface.addresses:
                found.setdefault(plain_address(address.ip), f"interface {interface.name}")
        for jail in self.jails:
            for ip in map(plain_address, jail.addresses):
                found[ip] = f"jail {jail.name}"
        return found


_INCLUDE = re.compile(r"^\s*\.include\b", re.MULTILINE)


def plain_address(text: str) -> str:
    """`192.0.2.5` of `em0|192.0.2.5/24`, IPv6 in its shortest form; the text itself where it is no address."""
    plain = text.rpartition("|")[2].split()[0] if text.rpartition("|")[2].split() else ""
    plain = plain.partition("/")[0].partition("%")[0]
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return text


def gather(
    connection: Connection, *, jail_root: str = "/jail", reader: ZFSReader | None = None, zfs: bool = True
) -> HostFacts:
    """Ask a host. Raises HostUnavailable, also where what answers is no FreeBSD.

    Without `zfs` it is one request, and what ZFS knows is missing where there is any.
    """
    facts: dict[str, Any] = {"jail_root": jail_root}
    missing: dict[str, str] = {}
    output = _Answers(connection, jail_root)
    for section, take in _SECTIONS.items():
        try:
            facts |= take(output)
        except (ValueError, tarfile.TarError) as error:
            missing[section] = str(error)
    if len(missing) == len(_SECTIONS):
        raise HostUnavailable(Unavailable.PERMISSION, f"it does not answer as FreeBSD does: {missing['identity']}")
    if {"names", "files"}.isdisjoint(missing):
        facts["unreadable"] = tuple(sorted(facts["unreadable"] | (output.watched() - set(facts["files"]))))
    else:
        facts["unreadable"] = ()
    _leave_trees_alone(facts)
    facts["zfs"] = "vfs.zfs.version.spa" in facts.get("sysctls", {}) or _has_zfs_mount(facts)
    if facts["zfs"] and not zfs:
        missing["zfs"] = "it was not asked for"
    elif facts["zfs"]:
        _add_zfs(facts, missing, reader or zfs_reader.reader(connection))
    return HostFacts(missing=missing, **facts)


def _has_zfs_mount(facts: Mapping[str, Any]) -> bool:
    return any(row.type == "zfs" for row in facts.get("mounts", ()))


def _leave_trees_alone(facts: dict[str, Any]) -> None:
    """What looks like a file of a tool inside a jail's tree is its tenant's, and says nothing of the host."""
    if not any(map(_FOREIGN.fullmatch, (*facts.get("files", ()), *facts["unreadable"]))):
        return
    trees = {facts["jail_root"], *(jail.path for jail in facts.get("jails", ())), *_trees_by_files(facts)}
    roots = tuple(f"{tree.rstrip('/')}/" for tree in trees if tree.strip("/"))

    def is_inside(path: str) -> bool:
        return _FOREIGN.fullmatch(path) is not None and path.startswith(roots)

    facts["files"] = {path: text for path, text in facts.get("files", {}).items() if not is_inside(path)}
    facts["unreadable"] = tuple(path for path in facts["unreadable"] if not is_inside(path))


def _trees_by_files(facts: Mapping[str, Any]) -> Iterator[str]:
    """Also of jails that do not run: by jail.conf(5), and by the old variables of rc.conf(5)."""
    if "files" not in facts:
        return
    known = HostFacts(missing={}, **{key: value for key, value in facts.items() if key in ("files", "jail_root")})
    yield from (jail.path for jail in known.configured)
    for name, value in rcconf.parse(known.rc_conf).values.items():
        if re.fullmatch(r"jail_\w+_rootdir", name):
            yield value


def _add_zfs(facts: dict[str, Any], missing: dict[str, str], reader: ZFSReader) -> None:
    found = reader.read()
    if found.errors:
        missing["zfs"] = "; ".join(found.errors)
    mounted = {row.device: row.path for row in facts.get("mounts", ()) if row.type == "zfs"}
    facts["pools"] = found.pools
    facts["datasets"] = tuple(_with_mountpoint(dataset, mounted.get(dataset.name, "")) for dataset in found.datasets)
    facts["snapshots"] = found.snapshots
    facts["doubtful"] = found.doubtful


def _with_mountpoint(dataset: Dataset, path: str) -> Dataset:
    return dataset if dataset.mountpoint or not path else replace(dataset, mountpoint=path)


class _Answers:
    """One request to the host: eight tools and one shell, which also lists directories by itself."""

    def __init__(self, connection: Connection, jail_root: str) -> None:
        self.directories = (jail_root, RELEASES, TEMPLATES, JAIL_CONF_D)
        files = (*RC_CONF, JAIL_CONF, JAIL_CONF_D, *SYSTEM_FILES)
        commands: dict[str, Argv] = {
            "sysctl": sysctl.get(SYSCTLS),
            "freebsd-version": uname.FREEBSD_VERSION,
            "jls": jls.LIST,
            "ifconfig": ifconfig.LIST,
            "mount": mount.LIST,
            "df": mount.df("/", jail_root),
            "rctl": rctl.LIST,
            "tar": ("sh", "-c", _TAR, "sh", jail_root[1:], *(path[1:] for path in files)),
        }
        nonce = secrets.token_hex(16)
        listing = _listing((*RC_CONF, JAIL_CONF, *MADE), self.directories)
        text = f"{sh.batch(commands.values(), nonce)}\n{listing}"
        result = connection.run(Pipeline.of(("sh", "-c", text)), timeout=SECONDS, limit=LIMIT)
        try:
            if result.truncated:
                raise ValueError(f"more output than {LIMIT} bytes")
            self.parts = dict(zip(commands, sh.split_batch(result.stdout), strict=True))
        except ValueError as error:
            said = result.stderr.decode("utf-8", "replace").strip()[:200]
            why = f"{error} (status {result.rc}{': ' + said if said else ''})"
            raise HostUnavailable(Unavailable.PERMISSION, f"it does not answer as FreeBSD does: {why}") from None
        self.tail = result.stdout.rpartition(b"\n%s %d end\n" % (nonce.encode(), len(commands) - 1))[2]

    def stdout(self, tool: str) -> bytes:
        """What a tool printed. ValueError when it failed."""
        part = self.parts[tool]
        if part.rc:
            said = part.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ValueError(f"{tool}: status {part.rc}" + (f": {said[0]}" if said else ""))
        return part.stdout

    def paths(self) -> list[str]:
        """What the listing found. ValueError when its end is missing."""
        paths = self.tail.decode("utf-8", "replace").split("\0")
        if paths[-1:] != ["."]:
            raise ValueError("the list of files is cut off")
        return paths[:-1]

    def watched(self) -> set[str]:
        """The configuration files that exist."""
        return {path for path in self.paths() if path in RC_CONF or path == JAIL_CONF or _is_configuration(path)}


# bsdtar expands no patterns when it writes. Of other tools only regular files go with it, and none below the directory
# of the jails: what looks like a tool's there is a tenant's, and may be as large as a disk. Were there so many that
# execve(2) refused their paths (ARG_MAX is 512 KiB), the files of jail(8) still come.
_TAR = f"""cd / || exit
root=$1
shift
pack() {{
for f in {" ".join(foreign.GLOBS)}; do
case $f in "$root"/*) ;; *) if [ -f "$f" ]; then set -- "$@" "$f"; fi ;; esac
done
all="$*"
if [ ${{#all}} -lt 300000 ]; then exec tar -c -L -f - "$@"; fi
}}
pack "$@" etc/jail.*.conf
exec tar -c -L -f - "$@" etc/jail.*.conf"""
_FOREIGN = re.compile("|".join(re.escape(f"/{glob}").replace(r"\*", "[^/]*") for glob in foreign.GLOBS))


def _is_configuration(path: str) -> bool:
    return bool(_own_name(path)) or _FOREIGN.fullmatch(path) is not None


def _listing(files: Sequence[str], directories: Sequence[str]) -> str:
    """Text for sh(1): which of the paths exist and what is in the directories, each ended by NUL, and a dot at the end.

    It needs no process, and a file's name can hold anything.
    """
    patterns = [sh.quote(path) for path in (*files, *directories)]
    patterns += ["/etc/jail.*.conf", *(f"/{glob}" for glob in foreign.GLOBS)]
    for directory in map(sh.quote, directories):
        patterns += [f"{directory}/*", f"{directory}/.[!.]*"]
    looked_at = " ".join(patterns)
    return f'for f in {looked_at}; do\nif [ -e "$f" ] || [ -L "$f" ]; then printf \'%s\\0\' "$f"; fi\ndone\nprintf .'


def _identity(answers: _Answers) -> dict[str, Any]:
    values = sysctl.parse(answers.stdout("sysctl"), SYSCTLS)
    if values.get("kern.ostype") != "FreeBSD":
        raise ValueError(f"sysctl: kern.ostype is {values.get('kern.ostype', 'missing')!r}, expected FreeBSD")
    return {
        "sysctls": {name: value for name, value in values.items() if name != "vm.loadavg"},
        "hostname": values.get("kern.hostname", ""),
        "kernel": values.get("kern.osrelease", ""),
        "architecture": names.release_arch(values.get("hw.machine_arch", "")),
        "processors": _number(values.get("hw.ncpu", "")),
        "memory": _number(values.get("hw.physmem", "")),
        "booted_at": sysctl.boot_time(values.get("kern.boottime", "")) or 0,
    }


def _version(answers: _Answers) -> dict[str, Any]:
    return {"userland": str(uname.parse_freebsd_version(answers.stdout("freebsd-version")).userland)}


def _space(answers: _Answers) -> dict[str, Any]:
    # df fails where the directory of the jails is not there yet, and still tells of the root.
    found = {space.path: space for space in mount.parse_df(answers.parts["df"].stdout)}
    if not found:
        answers.stdout("df")
        raise ValueError("df: nothing is mounted")
    return {"space": tuple(found.values())}


def _names(answers: _Answers) -> dict[str, Any]:
    paths = answers.paths()
    names: dict[str, tuple[str, ...]] = {}
    for directory in answers.directories:
        if directory in paths:
            prefix = f"{directory.rstrip('/')}/"
            inside = (path.removeprefix(prefix) for path in paths if path.startswith(prefix))
            names[directory] = tuple(sorted({name for name in inside if name and "/" not in name}))
    # Of /etc nothing but the files that rc.d/jail prefers to those in jail.conf.d.
    older = sorted({path.removeprefix("/etc/") for path in paths if re.fullmatch(r"/etc/jail\.[^/]+\.conf", path)})
    for path in MADE:
        if path in paths:
            directory, _, name = path.rpartition("/")
            names[directory] = (name,)
    return {"names": names | ({"/etc": tuple(older)} if older else {})}


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
            path = f"/{member.name}"
            text = _database(archive, member) if path.endswith(f"/{cbsd.DATABASE}") else _text(archive, member)
            if text is not None:
                files[path] = text
            elif not member.isdir():
                unreadable.add(path)
    return {"files": dict(sorted(files.items())), "unreadable": unreadable}


def _database(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    """The jails of CBSD's database as text."""
    file = archive.extractfile(member) if member.isfile() and member.size <= FILE_LIMIT else None
    try:
        return cbsd.database_text(file.read()) if file is not None else None
    except ValueError:
        return None


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    if not member.isfile() or member.size > FILE_LIMIT:
        return None
    file = archive.extractfile(member)
    try:
        text = file.read().decode() if file is not None else "\0"
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _rules(answers: _Answers) -> dict[str, Any]:
    if answers.parts["rctl"].rc and _identity(answers)["sysctls"].get("kern.racct.enable") != "1":
        return {"rules": ()}
    return {"rules": rctl.parse(answers.stdout("rctl"))}


_SECTIONS: dict[str, Callable[[_Answers], dict[str, Any]]] = {
    "identity": _identity,
    "version": _version,
    "jails": lambda answers: {"jails": jls.parse(answers.stdout("jls"))},
    "interfaces": lambda answers: {"interfaces": ifconfig.parse(answers.stdout("ifconfig"))},
    "mounts": lambda answers: {"mounts": mount.parse(answers.stdout("mount"))},
    "space": _space,
    "names": _names,
    "files": _files,
    "rules": _rules,
}


def _globs(pattern: str, path: str) -> bool:
    """Whether glob(3) finds a path: no `*` goes over a slash or stands for the dot of a hidden name."""
    wanted, parts = pattern.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(
        fnmatch.fnmatchcase(part, piece) and part.startswith(".") <= piece.startswith(".")
        for piece, part in zip(wanted, parts, strict=True)
    )


def _nothing(pattern: str) -> list[tuple[str, str]]:
    return []


def _is_read(pattern: str) -> bool:
    """Whether every file that a pattern of `.include` can mean is one that a refresh reads."""
    return bool(re.fullmatch(rf"{JAIL_CONF_D}/[^/]*\.conf|/etc/jail\.[^/]*\.conf", pattern))


def _own_name(path: str) -> str:
    """The jail after which a file is called: `www1` of /etc/jail.conf.d/www1.conf and of /etc/jail.www1.conf."""
    match = re.fullmatch(rf"{JAIL_CONF_D}/(.+)\.conf|/etc/jail\.([^/]+)\.conf", path)
    return (match[1] or match[2]) if match else ""


def _configured(path: str, conf: jailconf.JailConf) -> Iterable[ConfiguredJail]:
    for jail in conf.jails:
        addresses = (*(jail.get("ip4.addr") or ()), *(jail.get("ip6.addr") or ()))
        yield ConfiguredJail(
            name=jail.name,
            file=path,
            failed=jail.failed,
            path=jail.last("path"),
            hostname=jail.last("host.hostname"),
            addresses=tuple(addresses),
            parameters=jail.parameters,
        )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
