"""What nobody owns on a host: left by jails, tools and operations that are gone.

A thing is an orphan only while all that could own it is known: the jails that run, every jail of a configuration file
or of another tool, and the panel's own rows. Where any of that could not be read, nothing is called an orphan.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from jails.freebsd import devfs, files, ifconfig, jailconf, mount, names, rcconf, rctl, zfs
from jails.freebsd.command import Argv
from jails.freebsd.sockstat import Socket
from jails.hosts.facts import JAIL_CONF, JAIL_CONF_D, RELEASES, TEMPLATES, HostFacts, Missing, plain_address
from jails.hosts.survey import LOCKS, HostSurvey
from jails.hosts.zfs_reader import HOME, Dataset, Snapshot

KINDS = {
    "dataset": "Datasets",
    "mount": "Mount points",
    "epair": "Pairs of interfaces",
    "alias": "Addresses",
    "rctl": "Limits",
    "devfs": "Device rules",
    "fstab": "Files of mounts",
    "snapshot": "Snapshots that clones hold",
    "draft": "Unfinished files and trees",
    "lock": "Locks of operations",
}
"""kind → its heading, in the order in which they are shown and removed."""

TOOLS = {"iocage": "iocage/jails", "iocell": "iocell/jails", "Bastille": "bastille/jails", "pot": "pot/jails"}
"""Tool → where below a pool it keeps a dataset for each jail."""
RESERVED_RULESETS = range(1, 6)
"""devfs.rules(5): numbers that /etc/defaults/devfs.rules has used on some release."""
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DRAFT = re.compile(rf"\.?(?P<name>.+?)\.(?P<operation>{_UUID})(?:\.[a-z0-9]+)?")
_POINT_TO_POINT = frozenset({"tun", "tap", "wg", "gif", "gre", "ovpn", "ipsec", "ppp", "ng"})
_EPAIR = re.compile(r"(?P<head>epair[0-9]+|e[0-9]+(?=a_.))a(?P<tail>|_.+)")
"""The first end: as it was made, or as jib of /usr/share/examples/jails and Bastille rename it, e0a_JAIL."""
_COPY = re.compile(r"(?i).*(bak|backup|old|orig|save|saved|dist|sample|tmp|new|~|[0-9]{6,})$")


@dataclass(frozen=True)
class Known:
    """A jail of the panel's rows, whoever made it."""

    name: str
    path: str = ""
    dataset: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """What the panel knows of a host. datasets and paths: of its releases and templates. containers: names of datasets
    right below POOL/cellblock that are its own. networks: CIDRs. own: addresses by which it reaches the host.
    reached: the name by which it does, which may be any address; "" for none. open, ended: ids of operations."""

    jails: tuple[Known, ...] = ()
    datasets: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset({"host", "releases", "templates", "reserve"})
    networks: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    reached: str = ""
    open: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pair:
    """An epair with both ends on the host. `bridge`: the one its a end is in, "" for none."""

    a: str
    b: str
    ether: str
    bridge: str


@dataclass(frozen=True)
class Alias:
    interface: str
    ip: str
    prefix: int


@dataclass(frozen=True)
class Holding:
    """A dataset with what has to go before it: its snapshots, and datasets below it."""

    dataset: Dataset
    snapshots: tuple[Snapshot, ...] = ()
    children: tuple[str, ...] = ()


@dataclass(frozen=True)
class Orphan:
    """`name`: as the host calls it. origin: where it likely comes from, a sentence. size in bytes, None where it has
    none. commands: what a clean-up would run, in order; empty where `kept` says why there is none. jail: the name it
    was for, as far as one can tell. thing: itself, as facts or survey have it."""

    kind: str
    name: str
    origin: str
    size: int | None = None
    commands: tuple[Argv, ...] = ()
    kept: str = ""
    jail: str = ""
    thing: Any = field(default=None, repr=False)

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Found:
    """unknown: kinds that could not be looked for, and why; under "" why none could."""

    orphans: tuple[Orphan, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()

    def get(self, key: str) -> Orphan | None:
        return next((orphan for orphan in self.orphans if orphan.key == key), None)


def find(facts: HostFacts, survey: HostSurvey | None, rows: Rows) -> Found:
    """All of them, each kind in the order in which they can go: what is inside before what holds it."""
    try:
        owners = Owners(facts, survey, rows)
    except Missing as missing:
        return Found(unknown=(("", f"{missing.section}: {missing.why}"),))
    found: list[Orphan] = []
    unknown: list[tuple[str, str]] = []
    for kind in KINDS:
        try:
            found += sorted(_FINDERS[kind](owners), key=lambda orphan: (-orphan.name.count("/"), orphan.name))
        except Missing as missing:
            unknown.append((kind, f"{missing.section}: {missing.why}"))
    return Found(tuple(map(_cleanable, found)), tuple(unknown))


def _cleanable(orphan: Orphan) -> Orphan:
    if orphan.kept or orphan.commands:
        return orphan
    try:
        return replace(orphan, commands=tuple(_commands(orphan)))
    except ValueError as error:
        return replace(orphan, kept=f"Its name is not one to be put into a command ({error}): remove it by hand.")


class Owners:
    """Everybody who could own something. Raises Missing where that is not known."""

    def __init__(self, facts: HostFacts, survey: HostSurvey | None, rows: Rows) -> None:
        facts.require("jails", "files", "names", "mounts")
        if facts.unreadable:
            raise Missing(facts.unreadable[0], "it is not text, or too long, and may describe a jail")
        self.facts, self.rows, self._survey = facts, rows, survey
        self._require_understood()

    def _require_understood(self) -> None:
        """A file that jail(8) cannot read may still tell a person of jails."""
        self.facts.require_includes()
        understood = {jail.file for jail in self.facts.configured}
        for path, text in self.facts.files.items():
            is_one = path == JAIL_CONF or re.fullmatch(rf"{JAIL_CONF_D}/.+\.conf|/etc/jail\.[^/]+\.conf", path)
            if is_one and path not in understood and jailconf.read(text, filename=path).rc:
                raise Missing(path, "jail(8) cannot read it: what it describes is not known")

    @property
    def survey(self) -> HostSurvey:
        if self._survey is None:
            raise Missing("survey", "the host has not been surveyed yet")
        return self._survey

    @cached_property
    def names(self) -> frozenset[str]:
        """Of all jails: running, dying, configured, other tools', the panel's."""
        found = {jail.name for jail in self.facts.jails} | {jail.name for jail in self.facts.configured}
        found |= {name for jail in self.facts.foreign for name in (jail.name, jail.running_name)}
        return frozenset(found | {jail.name for jail in self.rows.jails})

    @cached_property
    def live_roots(self) -> frozenset[str]:
        """Of jails that run, or are dying."""
        return frozenset(_plain(jail.path) for jail in self.facts.jails)

    @cached_property
    def roots(self) -> dict[str, str]:
        """Path of a jail's tree → its name, of all jails."""
        found = {_plain(jail.path): jail.name for jail in self.rows.jails if jail.path}
        found |= {_plain(jail.root): jail.running_name for jail in self.facts.foreign if jail.root}
        found |= {_plain(jail.path): jail.name for jail in self.facts.configured if jail.path}
        return found | {_plain(jail.path): jail.name for jail in self.facts.jails}

    @cached_property
    def datasets(self) -> frozenset[str]:
        found = set(self.rows.datasets) | {jail.dataset for jail in self.rows.jails}
        found |= {jail.dataset for jail in self.facts.foreign}
        return frozenset(found - {""})

    @cached_property
    def above_datasets(self) -> frozenset[str]:
        return _all_parents(self.datasets)

    @cached_property
    def taken(self) -> frozenset[str]:
        """Paths that are a jail's, a release's or a template's."""
        return frozenset((*self.roots, *self.rows.paths))

    @cached_property
    def above_taken(self) -> frozenset[str]:
        return _all_parents(self.taken)

    @cached_property
    def above_devices(self) -> frozenset[str]:
        """Of what is mounted elsewhere: nullfs(5) has a path for a device."""
        return _all_parents(row.device for row in self.facts.mounts)

    @cached_property
    def above_mounts(self) -> frozenset[str]:
        return _all_parents(row.path for row in self.facts.mounts)

    @cached_property
    def fstabs(self) -> dict[str, frozenset[str]]:
        """Text that goes on behind /etc/fstab. to the end of its line → the files it stands in."""
        found: dict[str, set[str]] = {}
        for at, text in (*self.facts.files.items(), *self.survey.files.items()):
            for line in re.findall(r"/etc/fstab\.[^\n]*", text):
                found.setdefault(line, set()).add(at)
        return {line: frozenset(files) for line, files in found.items()}

    @cached_property
    def above_files(self) -> frozenset[str]:
        return _all_parents((*self.facts.files, *self.facts.unreadable))

    @cached_property
    def live(self) -> tuple[frozenset[str], frozenset[str]]:
        """The trees of jails that run, but for those in /, and all parents of them."""
        roots = self.live_roots - {"/"}
        return roots, _all_parents(roots)

    @cached_property
    def addresses(self) -> frozenset[str]:
        """All that any jail has or wants, and those by which the panel reaches the host."""
        given: list[tuple[str, ...]] = [jail.addresses for jail in self.facts.jails]
        given += [jail.addresses for jail in self.facts.configured]
        given += [jail.addresses for jail in self.facts.foreign]
        given += [jail.addresses for jail in self.rows.jails]
        return frozenset({plain_address(address) for some in given for address in some} | self.rows.own)

    @cached_property
    def text(self) -> str:
        """All that is configured, to look for a name in: jails, rc.conf, file systems."""
        return "\n".join((*self.facts.files.values(), *self.survey.files.values()))

    def mentions(self, word: str) -> bool:
        """Whether a name stands anywhere in a configuration file, as a word of its own."""
        return _has_word(self.text, word)

    @cached_property
    def text_of_host(self) -> str:
        """The same without the files of mounts that jails have: those are mounted and unmounted with their jail."""
        found = {**self.facts.files, **self.survey.files}
        return "\n".join(text for path, text in found.items() if not path.startswith("/etc/fstab."))

    @cached_property
    def _written(self) -> frozenset[str]:
        return _addresses_in(self.text)

    @cached_property
    def _ranges(self) -> tuple[tuple[int, int, int], ...]:
        return _ranges_in(self.text)

    def configures(self, ip: str) -> bool:
        """Whether an address stands in a configuration file, by itself or in a range."""
        address = ipaddress.ip_address(ip)
        if ip in self._written:
            return True
        return any(
            version == address.version and first <= int(address) <= last for version, first, last in self._ranges
        )

    @cached_property
    def _asking(self) -> frozenset[str]:
        """Interfaces, as rc.conf(5) writes them in names of variables, that get addresses by DHCP or from routers.
        "" stands for all: ifconfig_DEFAULT counts for each that has no variable of its own."""
        texts = [self.facts.rc_conf]
        texts += [text for path, text in self.survey.files.items() if path.startswith("/etc/rc.conf.d/")]
        found = set()
        for text in texts:
            # Also what only sh(1) could tell: a line that merely mentions it is enough to leave addresses alone.
            for name in re.findall(r"(?im)^[^#\n]*?ifconfig_(\w+?)=.*?(?:dhcp|accept_rtadv)", text):
                found.add("" if name.startswith("DEFAULT") else name)
            if re.search(r"(?im)^\s*ipv6_activate_all_interfaces=.?(?:yes|true|on|1)", text) and "rtsold" in text:
                found.add("")
        return frozenset(found)

    def gets_addresses(self, interface: str) -> bool:
        """Whether it may get addresses that no file has: any of them may then be the host's own."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", interface)
        return "" in self._asking or any(one == name or one.startswith(f"{name}_") for one in self._asking)

    def is_under_way(self, text: str) -> bool:
        """Whether an operation that has not ended is named in it."""
        return any(operation in text for operation in re.findall(_UUID, text) if operation in self.rows.open)

    def operation_words(self, operation: str) -> str:
        if operation in self.rows.ended:
            return f"Left by an operation of this panel that has ended ({operation[:8]})."
        return f"Left by an operation this panel does not know ({operation[:8]}): another's, or of a lost database."


def _plain(path: str) -> str:
    return path.rstrip("/") or "/"


def _is_within(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _parents(path: str) -> Iterator[str]:
    """A path or a dataset's name, and all above it: /a/b, /a, /. Sets of them answer at once who is above whom."""
    yield path
    while (cut := path.rfind("/")) > 0:
        path = path[:cut]
        yield path
    if path.startswith("/") and path != "/":
        yield "/"


def _all_parents(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(parent for path in paths for parent in _parents(path))


def _is_related(one: str, others: Collection[str], above: Collection[str]) -> bool:
    """Whether one of the others is it, above it or below it. above: all parents of the others."""
    return one in above or any(parent in others for parent in _parents(one))


# Datasets


def _datasets(owners: Owners) -> Iterator[Orphan]:
    facts = owners.facts
    facts.require("zfs")
    survey = owners.survey
    survey.require("files")
    for dataset in facts.datasets:
        tool = _tool_of(dataset)
        if not (tool or _is_ours(dataset, owners)) or _has_owner(dataset, owners):
            continue
        # Where it is not mounted, nobody has looked whether it still holds a configuration.
        if tool and not (dataset.mounted and dataset.mountpoint.startswith("/")):
            continue
        yield Orphan(
            "dataset",
            dataset.name,
            _dataset_origin(dataset, tool, owners),
            size=dataset.used,
            kept=_why_dataset_stays(dataset, tool, owners),
            thing=Holding(
                dataset,
                facts.snapshots_of(dataset.name),
                tuple(child.name for child in facts.children(dataset.name)),
            ),
        )


def _is_ours(dataset: Dataset, owners: Owners) -> bool:
    """Below POOL/cellblock, and not one of the datasets that only hold others."""
    _, _, below = dataset.name.partition("/")
    home, _, rest = below.partition("/")
    return home == HOME and bool(rest) and rest not in owners.rows.containers


def _tool_of(dataset: Dataset) -> str:
    """The tool that keeps a dataset like this for one jail."""
    _, _, below = dataset.name.partition("/")
    return next((tool for tool, place in TOOLS.items() if below.rpartition("/")[0] == place), "")


def _is_base(dataset: Dataset) -> bool:
    """A release or a template, or where a panel keeps them."""
    _, _, rest = dataset.name.partition(f"/{HOME}/")
    marked = dataset.marks.get("cellblock:release") or dataset.marks.get("cellblock:template")
    return bool(marked) or rest.partition("/")[0] in ("releases", "templates")


def _has_owner(dataset: Dataset, owners: Owners) -> bool:
    if _is_related(dataset.name, owners.datasets, owners.above_datasets):
        return True
    if owners.is_under_way(" ".join((dataset.name, *dataset.marks.values()))):
        return True
    at = _plain(dataset.mountpoint) if dataset.mountpoint.startswith("/") else ""
    if not at:
        return False
    if _is_related(at, owners.taken, owners.above_taken) or at in owners.above_devices or owners.mentions(at):
        return True
    # A tool's file that could not be made a jail of is still somebody's.
    return at in owners.above_files


def _dataset_origin(dataset: Dataset, tool: str, owners: Owners) -> str:
    if tool:
        return f"Left by {tool}: the configuration of its jail is gone."
    if "cellblock:jail" in dataset.marks:
        return "The tree of a jail that a panel made and no longer knows."
    if dataset.marks.get("cellblock:release"):
        return "A release that a panel fetched and no longer knows."
    if dataset.marks.get("cellblock:template"):
        return "A template that a panel made and no longer knows."
    if dataset.operation:
        return owners.operation_words(dataset.operation)
    return "Made by hand, or before the panel marked what it makes."


def _why_dataset_stays(dataset: Dataset, tool: str, owners: Owners) -> str:
    facts = owners.facts
    if tool:
        return f"It is {tool}'s: remove it with that tool, or by hand."
    if _is_base(dataset):
        return "It may be another panel's, or of a lost database: jails elsewhere may need it. Remove it by hand."
    if dataset.name in facts.doubtful:
        return "Its properties hold text that pretends to be another's: look at it on the host."
    if children := facts.children(dataset.name):
        owned = [child.name for child in children if _has_owner(child, owners)]
        if owned:
            return f"{owned[0]} below it is in use."
    if clones := [clone.name for clone in facts.clones_of(dataset.name)]:
        return f"{', '.join(clones[:3])} is a clone of it." if len(clones) == 1 else f"{len(clones)} are clones of it."
    if held := [snapshot.name for snapshot in facts.snapshots_of(dataset.name) if snapshot.userrefs]:
        return f"{held[0]} is held by somebody (zfs holds)."
    if dataset.jailed:
        return "It was handed over to a jail (jailed=on): find out which on the host."
    at = dataset.mountpoint
    if _plain(at) not in owners.above_mounts:
        return ""
    below = [row.path for row in facts.mounts if at.startswith("/") and row.path.startswith(f"{_plain(at)}/")]
    if foreign := [path for path in below if not _is_dataset_below(path, dataset, facts)]:
        return f"Something is mounted in it, on {foreign[0]}: unmount that first."
    return ""


def _is_dataset_below(path: str, dataset: Dataset, facts: HostFacts) -> bool:
    there = next((row for row in facts.mounts if row.path == path), None)
    return there is not None and there.type == "zfs" and there.device.startswith(f"{dataset.name}/")


# Snapshots


def _snapshots(owners: Owners) -> Iterator[Orphan]:
    owners.facts.require("zfs")
    for snapshot in owners.facts.snapshots:
        if not snapshot.clones or snapshot.dataset in owners.datasets or owners.is_under_way(snapshot.name):
            continue
        shown = ", ".join(snapshot.clones[:3]) + (
            f" and {len(snapshot.clones) - 3} more" if snapshot.clones[3:] else ""
        )
        yield Orphan(
            "snapshot",
            snapshot.name,
            "What it was taken from belongs to no release, template or jail any more.",
            size=snapshot.used,
            kept=f"{shown} {'is a clone' if len(snapshot.clones) == 1 else 'are clones'} of it: it goes with the last.",
            thing=snapshot,
        )


# Mounts


def _mounts(owners: Owners) -> Iterator[Orphan]:
    survey = owners.survey
    survey.require("files")
    always = {row.path for row in mount.parse_fstab(survey.file("/etc/fstab") or "")}
    jail_root = _plain(owners.facts.jail_root)
    for row in owners.facts.mounts:
        if row.ambiguous or row.type == "zfs" or row.path in always:
            continue
        root = next((parent for parent in _parents(row.path) if parent in owners.roots and parent != row.path), "")
        root = root if root not in ("", "/") else _root_below(row.path, jail_root)
        if root in ("", "/") or _is_related(root, *owners.live):
            continue
        if _belongs_to_tool(row.path, owners) or _has_word(owners.text_of_host, row.path):
            continue
        in_memory = row.type == "tmpfs" or row.device.startswith("/dev/md")
        yield Orphan(
            "mount",
            row.path,
            "Left by a jail that was removed without its file (jail -R), or whose file changed while it ran.",
            jail=owners.roots.get(root, root.rpartition("/")[2]),
            kept="What is in it is in memory only, and gone once it is unmounted: do that by hand."
            if in_memory
            else "",
            thing=row,
        )


def _has_word(text: str, word: str) -> bool:
    if word not in text:
        return False
    return re.search(rf"(?<![A-Za-z0-9_.:-]){re.escape(word)}(?![A-Za-z0-9_.:-])", text) is not None


def _root_below(path: str, jail_root: str) -> str:
    """/jail/old of /jail/old/dev, for a jail that nobody knows."""
    rest = path.removeprefix(f"{jail_root}/")
    return f"{jail_root}/{rest.partition('/')[0]}" if rest != path and "/" in rest else ""


def _belongs_to_tool(path: str, owners: Owners) -> bool:
    """Where a tool leaves its mounts between two starts it is not for others to take them away."""
    return any(jail.root and _is_within(path, jail.root) for jail in owners.facts.foreign if jail.manager == "pot")


# Interfaces


def _epairs(owners: Owners) -> Iterator[Orphan]:
    facts = owners.facts
    facts.require("interfaces")
    owners.survey.require("files")
    if any(jail.dying and jail.vnet for jail in facts.jails):
        raise Missing("interfaces", "a jail with a network stack of its own is still dying, and may hold one")
    by_name = {interface.name: interface for interface in facts.interfaces}
    bridges = {member: one.name for one in facts.interfaces for member in one.members}
    parents = {one.vlan_parent for one in facts.interfaces}
    for name, a in by_name.items():
        match = _EPAIR.fullmatch(name)
        b = by_name.get(f"{match['head']}b{match['tail']}") if match is not None else None
        if match is None or b is None or b.name in bridges:
            continue
        # An end that came back from a jail has lost its groups; the one that stayed keeps them.
        if match["tail"] and "epair" not in (*a.groups, *b.groups):
            continue
        jail = match["tail"].removeprefix("_")
        if jail in owners.names or any(_counts(one.ip) for one in (*a.addresses, *b.addresses)):
            continue
        words = [name, b.name] if jail else [name, b.name, name[:-1]]
        if any(map(owners.mentions, words)) or a.vlan_parent or b.vlan_parent or parents & {a.name, b.name}:
            continue
        yield Orphan(
            "epair",
            name,
            "Left by a jail with a network stack of its own: its end of the pair came back to the host.",
            jail=jail,
            thing=Pair(a.name, b.name, a.ether, bridges.get(a.name, "")),
        )


def _counts(ip: str) -> bool:
    return not ipaddress.ip_address(ip).is_link_local


def _aliases(owners: Owners) -> Iterator[Orphan]:
    facts, survey = owners.facts, owners.survey
    facts.require("interfaces")
    survey.require("files", "sockets")
    networks = [ipaddress.ip_network(cidr) for cidr in owners.rows.networks]
    listening = {socket.ip.partition("%")[0]: socket for socket in bound(survey.sockets) if not socket.jail}
    for interface in facts.interfaces:
        if _POINT_TO_POINT & {*interface.groups, interface.name.rstrip("0123456789")}:
            continue
        if owners.gets_addresses(interface.name):
            continue
        for address in _added(interface):
            ip = ipaddress.ip_address(address.ip)
            is_single = address.prefix == ip.max_prefixlen
            if not is_single and not any(ip.version == network.version and ip in network for network in networks):
                continue
            if "vhid" in address.flags or address.ip in owners.addresses or owners.configures(address.ip):
                continue
            holder = listening.get(address.ip)
            yield Orphan(
                "alias",
                address.ip,
                f"Left on {interface.name} by a jail that was removed without its file.",
                kept=_use_of(holder, owners.rows.reached),
                thing=Alias(interface.name, address.ip, address.prefix),
            )


def _use_of(holder: Socket | None, reached: str) -> str:
    if holder is not None:
        return f"{holder.command} of the host listens on it: it is in use."
    if reached:
        return f"The panel reaches the host as {reached}, which may be this address: give the host's page an address."
    return ""


def _added(interface: ifconfig.Interface) -> Iterator[ifconfig.Address]:
    """The addresses that came after the first of their family, which is the host's own; on lo* all."""
    first: set[str] = {"inet", "inet6"} if re.fullmatch(r"lo[0-9]+", interface.name) else set()
    for address in interface.addresses:
        ip = ipaddress.ip_address(address.ip)
        # ifconfig(8): autoconf and temporary are what the host made itself from a router's advertisement.
        if ip.is_loopback or ip.is_link_local or {"autoconf", "temporary"} & {*address.flags}:
            continue
        if address.family in first:
            yield address
        first.add(address.family)


def bound(sockets: Iterable[Socket]) -> list[Socket]:
    """Those that wait on an address because somebody said so: ntpd(8) opens one for every address there is."""
    found = list(sockets)
    everywhere = {(one.command, one.proto, one.port, one.jail) for one in found if one.ip == "*"}
    return [one for one in found if (one.command, one.proto, one.port, one.jail) not in everywhere]


def _addresses_in(text: str) -> frozenset[str]:
    """All addresses that stand in a text, however each is written there."""
    words = re.findall(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){3}(?![0-9]|\.[0-9])", text)
    words += [word.rstrip(".") for word in re.findall(r"(?<![0-9A-Fa-f:])[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+", text)]
    return frozenset(map(plain_address, words))


def _ranges_in(text: str) -> tuple[tuple[int, int, int], ...]:
    """Version, first and last. rc.conf(5): `inet 192.0.2.10-14/32` and `inet6 2001:db8::10-1f prefixlen 64` stand for
    each of them."""
    found = []
    for start, last, end in re.findall(r"([0-9A-Fa-f:.]*[:.])([0-9A-Fa-f]+)-([0-9A-Fa-f]+)", text):
        try:
            ends = [ipaddress.ip_address(f"{start}{part}") for part in (last, end)]
        except ValueError:
            continue
        found.append((ends[0].version, int(ends[0]), int(ends[1])))
    return tuple(dict.fromkeys(found))


# Kernel tables


def _rules(owners: Owners) -> Iterator[Orphan]:
    survey = owners.survey
    survey.require("rctl", "files")
    at_boot = {line.partition("#")[0].strip() for line in (survey.file("/etc/rctl.conf") or "").splitlines()}
    named = {line.split(":")[1] for line in at_boot if line.startswith("jail:") and line.count(":") > 1}
    for rule in survey.rctl:
        if rule.subject != "jail" or rule.who in owners.names or rule.who in named:
            continue
        yield Orphan(
            "rctl",
            str(rule),
            "Limits outlive their jail, and count for the next one of that name (rctl(8)).",
            jail=rule.who,
            thing=rule,
        )


def _rulesets(owners: Owners) -> Iterator[Orphan]:
    facts, survey = owners.facts, owners.survey
    survey.require("devfs", "files")
    defined = {*RESERVED_RULESETS}
    for path in (devfs.DEFAULTS, devfs.RULES):
        defined |= set(devfs.names(survey.file(path) or ""))
    used = defined | set(survey.devfs_used) | {jail.number("devfs_ruleset", 0) for jail in facts.jails}
    used |= set(_wanted_rulesets(owners))
    by_number = {one.number: one for one in survey.devfs_rules}
    todo = list(used)
    while todo:
        included = set(by_number[todo[-1]].includes) - used if todo[-1] in by_number else set()
        todo = [*todo[:-1], *included]
        used |= included
    for ruleset in survey.devfs_rules:
        if ruleset.number not in used:
            yield Orphan(
                "devfs",
                str(ruleset.number),
                "Put into the kernel by a tool or by hand; no rules file has it and no jail is held to it.",
                thing=ruleset,
            )


def _wanted_rulesets(owners: Owners) -> Iterator[int]:
    """By jails of files, by fstab(5) options and by rc.conf(5)."""
    parameters = [pair for jail in owners.facts.configured for pair in jail.parameters]
    parameters += [(name, values) for jail in owners.facts.foreign for name, values in jail.parameters.items()]
    for name, values in parameters:
        if name == "devfs_ruleset":
            yield from (int(value) for value in values if value.isdecimal())
    yield from (int(number) for number in re.findall(r"ruleset=([0-9]+)", owners.text))
    # A tool's own file may name it in its own words: `devfs_ruleset: 5`, `"devfs_ruleset": "5"`.
    yield from (int(number) for number in re.findall(r"devfs_ruleset\W{1,6}([0-9]+)", owners.text))
    for name, value in rcconf.parse(owners.facts.rc_conf).values.items():
        if "devfs" in name:
            yield from (int(number) for number in re.findall(r"[0-9]+", value))


# Files


def _fstabs(owners: Owners) -> Iterator[Orphan]:
    survey = owners.survey
    survey.require("files")
    as_files = {re.sub(r"[^A-Za-z0-9]", "_", name) for name in owners.names}
    for path, text in survey.files.items():
        name = path.removeprefix("/etc/fstab.")
        if name == path or name in owners.names or re.sub(r"[^A-Za-z0-9]", "_", name) in as_files:
            continue
        if any(path in line and files != {path} for line, files in owners.fstabs.items()):
            continue
        copy = _COPY.match(name) is not None
        yield Orphan(
            "fstab",
            path,
            "A copy of /etc/fstab that somebody kept."
            if copy
            else "Left by a jail of that name: ezjail and the old rc.conf variables keep such files.",
            size=len(text.encode()),
            kept="It may be somebody's way back: remove it by hand." if copy else "",
            jail="" if copy else name,
            thing=text,
        )


def _drafts(owners: Owners) -> Iterator[Orphan]:
    facts = owners.facts
    for folder in (facts.jail_root, RELEASES, TEMPLATES, JAIL_CONF_D):
        for name in facts.names.get(folder, ()):
            match = _DRAFT.fullmatch(name)
            path = f"{_plain(folder)}/{name}"
            if match is None or match["operation"] in owners.rows.open or path in owners.roots:
                continue
            if path in owners.above_mounts:
                why = "Something is mounted there: that goes first."
            elif match["operation"] not in owners.rows.ended:
                why = "It may be another panel's, which still works on it: remove it by hand."
            else:
                why = ""
            origin = owners.operation_words(match["operation"])
            yield Orphan("draft", path, origin, kept=why, jail=match["name"], thing=folder)


def _locks(owners: Owners) -> Iterator[Orphan]:
    survey = owners.survey
    survey.require("locks")
    for name in survey.locks:
        if not re.fullmatch(_UUID, name) or name in owners.rows.open:
            continue
        known = name in owners.rows.ended
        kept = "" if known else "It may be another panel's, which still works under it: remove it by hand."
        yield Orphan("lock", f"{LOCKS}/{name}", owners.operation_words(name), kept=kept, thing=name)


_FINDERS: dict[str, Callable[[Owners], Iterable[Orphan]]] = {
    "dataset": _datasets,
    "mount": _mounts,
    "epair": _epairs,
    "alias": _aliases,
    "rctl": _rules,
    "devfs": _rulesets,
    "fstab": _fstabs,
    "snapshot": _snapshots,
    "draft": _drafts,
    "lock": _locks,
}

REMOVE_LOCK = 'lockf -s -t 0 "$1" true || exit 1'
"""lockf(1) without -k takes its file away; it fails while a command runs under it. 75 would mean our own lock."""


def _commands(orphan: Orphan) -> Iterator[Argv]:
    """What removes it, whatever the circumstances; ValueError where its name is not one for a command."""
    thing = orphan.thing
    if orphan.kind == "dataset":
        yield from (zfs.destroy(snapshot.name) for snapshot in thing.snapshots)
        yield zfs.destroy(thing.dataset.name)
    elif orphan.kind == "mount":
        yield mount.unmount(thing.path)
    elif orphan.kind == "epair":
        if thing.bridge:
            yield ifconfig.remove_member(thing.bridge, thing.a)
        yield ifconfig.destroy(thing.a)
    elif orphan.kind == "alias":
        yield ifconfig.remove_alias(thing.interface, thing.ip)
    elif orphan.kind == "rctl":
        yield rctl.remove(thing)
    elif orphan.kind == "devfs":
        yield devfs.delete_set(thing.number)
    elif orphan.kind == "fstab":
        yield ("rm", names.require("path", orphan.name, names.path_error))
    elif orphan.kind == "draft" and thing == JAIL_CONF_D:
        yield files.remove_file(orphan.name)
    elif orphan.kind == "draft":
        yield files.clear_flags(orphan.name)
        yield files.remove_tree(orphan.name)
    elif orphan.kind == "lock":
        yield ("sh", "-c", REMOVE_LOCK, "sh", orphan.name)
