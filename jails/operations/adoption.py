"""Jails that somebody else made, coming under the panel and given back: what those operations have in common.

What a jail shall be once it is adopted (`Accepted`) is bound to the plan that was confirmed, through its result.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from jails import audit
from jails.freebsd import files
from jails.freebsd.foreign import FileEdit, ForeignJail
from jails.freebsd.foreign.model import HOOKS
from jails.hosts.facts import RC_CONF, ConfiguredJail, HostFacts, Missing, plain_address
from jails.models import Address, Host, Jail, Network, Operation
from jails.operations import checks, effects, kind, layout, power
from jails.operations.jailfile import LIMITS
from jails.operations.kind import Refused
from jails.operations.step import RemoveFile, Run, Step, Undo, WriteFile, digest

Adoption = Jail.Adoption
WORDS: Mapping[str, str] = {
    Adoption.IN_PLACE: "where they are",
    Adoption.BESIDE: "beside their own tool",
    Adoption.TAKEN_OVER: "from their own tool",
}
DEFAULTS: Mapping[str, int] = {"children_max": 0, "securelevel": -1, "enforce_statfs": 2}


@dataclass(frozen=True)
class Accepted:
    """What a jail is to be, as its file says. parameters: all of them, name → values. boot: as the host has it."""

    parameters: Mapping[str, tuple[str, ...]]
    boot: bool
    quota: int | None = None

    def to_result(self, row: Jail) -> tuple[str, str]:
        """An entry of Plan.result, by the jail's uuid."""
        data = {"wanted": wanted_of(self.parameters), "boot": self.boot, "quota": self.quota}
        return str(row.uuid), json.dumps(data)

    def last(self, name: str) -> str:
        values = self.parameters.get(name) or ("",)
        return values[-1]

    @property
    def limits(self) -> dict[str, int | None]:
        """As Jail.limits has them; the default where the file says nothing that is a number."""
        found: dict[str, int | None] = {"quota": self.quota}
        for limit, parameter in LIMITS.items():
            text = self.last(parameter)
            is_number = text.removeprefix("-").isdecimal() and len(text) < 10
            found[limit] = int(text) if is_number else DEFAULTS[limit]
        return found


def from_result(result: Iterable[tuple[str, str]], row: Jail) -> Accepted:
    """The inverse of `to_result`. Raises KeyError for a jail that is not in it."""
    data = json.loads(dict(result)[str(row.uuid)])
    parameters = {name: tuple(values) for name, values in data["wanted"].items()}
    return Accepted(parameters, data["boot"], data["quota"])


def wanted_of(parameters: Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]]) -> dict[str, list[str]]:
    """As Jail.wanted has them: JSON values."""
    return {name: list(values) for name, values in dict(parameters).items()}


def accepted(row: Jail, configured: ConfiguredJail, facts: HostFacts, boots: Collection[str]) -> Accepted:
    """What its file says of it now; `boots` are the jails that the host starts by itself."""
    return Accepted(dict(configured.parameters), row.name in boots, quota_of(row, facts))


def boots_today(facts: HostFacts) -> frozenset[str]:
    """The jails that the host's own rc starts; none where only running rc.conf would tell."""
    try:
        return frozenset(facts.boot_state().boots_today)
    except ValueError:
        return frozenset()


def quota_of(row: Jail, facts: HostFacts) -> int | None:
    try:
        dataset = facts.dataset(row.dataset) if row.dataset else None
    except Missing:
        return None
    return dataset.quota or None if dataset is not None else None


def take(row: Jail, shall: Accepted) -> None:
    """Set what an adopted jail is to be, as its file has it. It is saved by who calls."""
    row.wanted = wanted_of(shall.parameters)
    row.hostname = shall.last("host.hostname")[:255]
    row.path = (shall.last("path") or row.path)[:1023]
    row.boot, row.limits = shall.boot, shall.limits


def tell_tenant(operation: Operation, row: Jail, detail: str) -> None:
    """In the log of a jail's tenant, which does not see an operation that shows files of the host: words without them.

    For `finish`.
    """
    if row.tenant is None:
        return
    action = kind.get(operation.kind).action
    audit.record(action, actor=operation.confirmed_by, obj=row, tenant=row.tenant, detail=detail, source="worker")


# Tools


def require_tool(row: Jail, facts: HostFacts) -> ForeignJail:
    """Raises Refused where its tool no longer knows it, or where the panel does not understand what it says."""
    tool = power.tool_of(row, facts)
    if tool is None:
        raise Refused({"jails": f"{row.name}: {tool_name(row)} does not know it any more on {row.host.name}."})
    return tool


def tool_name(row: Jail) -> str:
    return row.get_manager_display() or "its own tool"


def file_of(found: power.Found, facts: HostFacts) -> str:
    """Where the block of a standard jail stands: the file that jail(8) is given may only include it."""
    standing = facts.configured_jail(found.name)
    return standing.file if standing is not None else found.file


def why_not_in_place(host: Host, found: power.Found) -> str:
    """A sentence, or "": what the panel does not understand it leaves alone."""
    if found.problem:
        return found.problem
    if found.configured is None:
        return f"no file on {host.name} that jail(8) can read describes it."
    if found.configured.failed:
        return f"jail(8) refuses what {found.file} says of it: mend the file by hand first."
    if not found.configured.path:
        return f"{found.file} gives it no path, so that it would have the host's own root: mend the file by hand first."
    return ""


# What the host runs for it

_RUN_WHAT_FOLLOWS = re.compile(
    r"(?:[a-z]*sh|\.|source|cd|env|exec|nice|nohup|su|daemon|timeout|perl|ruby|lua|python)[0-9.]*"
)
"""Commands whose other words may be what is run."""


def hooks_of(parameters: Mapping[str, Sequence[str]]) -> list[str]:
    """Parameters of which the host runs commands, as root."""
    return [name for name in parameters if name in HOOKS]


def hooks_warning(row: Jail, hooks: Sequence[str]) -> Iterator[str]:
    if hooks:
        yield f"{row.name} has commands that run on the host as root: {power.listed(hooks)}."


def why_not_trusted(name: str, parameters: Mapping[str, Sequence[str]], tree: str) -> str:
    """Why root of the jail could have the host do something as root: a sentence, or ""."""
    own = [one for one in parameters.get("mount.fstab", ()) if _is_below(one, tree)]
    if own:
        return f"mount.fstab of {name} is {own[-1]}, which root of the jail may write: move it out of its tree first."
    for hook in hooks_of(parameters):
        run = [word for command in parameters[hook] for word in _run_by(command) if _is_below(word, tree)]
        if run:
            return (
                f"{hook} of {name} runs {run[0]} on the host as root, and root of the jail may write that: "
                "move it out of its tree first."
            )
    return ""


def _run_by(command: str) -> Iterator[str]:
    """Words of a line for sh(1) that it may run; what is only told to a command, as a mount point is, is not."""
    for part in re.split(r"[;&|\n()`{}]+", command):
        words = [word for word in re.split(r"[\s\"'<>]+", part) if word and not re.match(r"[A-Za-z_]\w*=", word)]
        if words:
            yield from words if _RUN_WHAT_FOLLOWS.fullmatch(words[0].rpartition("/")[2]) else words[:1]


def _is_below(path: str, tree: str) -> bool:
    path, tree = posixpath.normpath(path), posixpath.normpath(tree or "/nowhere")
    return path == tree or path.startswith(tree.rstrip("/") + "/")


# What was shown is still so


def look_step(name: str, path: str, text: str) -> Step:
    """Changes nothing: the file that the plan was made from is what it was, to the last byte."""
    return Step(
        key=f"look-{name}",
        purpose=f"See that {path} is what was shown of {name}",
        action=Run((files.digest(path),)),
        done_when=(checks.file_says(path, digest(text)),),
        ensure=True,
        changes=False,
        seconds=30,
        subject=name,
    )


# Addresses


def known_addresses(host: Host, parameters: Mapping[str, Sequence[str]]) -> Iterator[tuple[Network, str, str, int]]:
    """Of what a file gives a jail, that which is in a network of the panel: (network, ip, interface, prefix).

    A network that is this host's own goes before one that hosts share.
    """
    networks = [(one, ipaddress.ip_network(one.cidr)) for one in Network.objects.filter(host__in=[host])]
    networks += [(one, ipaddress.ip_network(one.cidr)) for one in Network.objects.filter(host__isnull=True)]
    default = (list(parameters.get("interface") or ()) or [""])[-1]
    for value in (*(parameters.get("ip4.addr") or ()), *(parameters.get("ip6.addr") or ())):
        ip = plain_address(value)
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            continue
        network = next((one for one, cidr in networks if address in cidr), None)
        if network is not None:
            yield network, ip, (value.rpartition("|")[0] or default)[:15], _prefix(value, address.max_prefixlen)


def _prefix(value: str, most: int) -> int:
    words = value.rpartition("|")[2].split()
    prefix = words[0].partition("/")[2] if words else ""
    return int(prefix) if prefix.isdecimal() and int(prefix) <= most else most


def keep_addresses(row: Jail, parameters: Mapping[str, Sequence[str]]) -> None:
    """Note as given to it what it has in networks of the panel. What somebody else has is left to them."""
    kept = []
    for network, ip, interface, prefix in known_addresses(row.host, parameters):
        values = {"jail": row, "interface": interface, "prefix": prefix}
        try:
            with transaction.atomic():
                found, _ = Address.objects.get_or_create(network=network, ip=ip, defaults=values)
        except IntegrityError:
            continue
        kept.append(found.pk)
    row.addresses.filter(operation=None).exclude(pk__in=kept).delete()


def holders(facts: HostFacts) -> dict[str, list[str]]:
    """Address → the jails that have it, by the files of the host, those of other tools among them."""
    found: dict[str, list[str]] = {}
    for name, given in [*((one.name, one.addresses) for one in facts.configured), *_of_tools(facts)]:
        for ip in dict.fromkeys(map(plain_address, given)):
            if name not in found.setdefault(ip, []):
                found[ip].append(name)
    return found


def _of_tools(facts: HostFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    return ((name, tool.addresses) for name, tool in facts.foreign_rows.items())


def shared_addresses(host: Host, held: Mapping[str, list[str]], row: Jail, addresses: Iterable[str]) -> Iterator[str]:
    """Who else has one of its addresses, by the files of this host (`holders`) or on another one: sentences."""
    for ip in dict.fromkeys(map(plain_address, addresses)):
        others = [name for name in held.get(ip, ()) if name != row.name]
        if others:
            yield f"{ip} of {row.name} is an address of {power.listed(others)} as well: only one of them can run."
        elif words := power.taken_elsewhere(host, row, ip):
            yield f"{row.name}: {words}"


def resources(host: Host, rows: Iterable[Jail]) -> tuple[str, ...]:
    return tuple(layout.jail_lock(host, row.name) for row in rows)


# Files of a tool, and back


def renames(edits: Sequence[FileEdit]) -> Iterator[tuple[FileEdit, FileEdit]]:
    """Of the edits those that only give a file another name: so its owner and mode stay as well."""
    for source in edits:
        for target in edits:
            if source.after is None and target.before is None and source.before == target.after:
                yield source, target


def rename_step(row: Jail, source: str, target: str, text: str, purpose: str) -> Step:
    """`text` is what the file says, by which it is known again."""
    there = (checks.file_absent(source), checks.file_has(target, text))
    before = (checks.file_absent(target), checks.file_has(source, text))
    return Step(
        key=f"rename-{source.rpartition('/')[2]}",
        purpose=purpose,
        action=Run((files.move(source, target),)),
        done_when=there,
        undo=(Undo(Run((files.move(target, source),)), only_if=there),),
        requires=before,
        seconds=30,
        subject=row.name,
    )


def renamed_by(step: Step) -> list[str]:
    """Old and new path of a `rename_step`."""
    assert isinstance(step.action, Run)
    return list(step.action.argvs[0][-2:])


def edit_step(host: Host, row: Jail, path: str, before: str | None, after: str | None, purpose: str) -> Step:
    """A file from one text to another: new where there was none, gone where there shall be none."""
    action: WriteFile | RemoveFile
    if after is None:
        action, done = RemoveFile(path, before or ""), checks.file_absent(path)
    else:
        action, done = WriteFile(path, after, before=before), checks.file_has(path, after)
    return Step(
        key=f"file-{path.strip('/')}",
        purpose=purpose,
        action=action,
        done_when=(done,),
        undo=effects.undo_of(action),
        seconds=30,
        subject=row.name,
        resources=(layout.rc_conf_lock(host),) if path in RC_CONF else (),
    )


def _places(lines: Sequence[str], now: Sequence[str]) -> dict[int, int]:
    """Which line of a text is which one now, as far as that is the same looked at from either end."""
    last, last_now = len(lines) - 1, len(now) - 1
    backwards = {last - one: last_now - other for one, other in _matched(lines[::-1], now[::-1])}
    return {one: other for one, other in _matched(lines, now) if backwards.get(one) == other}


def _matched(lines: Sequence[str], now: Sequence[str]) -> Iterator[tuple[int, int]]:
    for one, other, size in difflib.SequenceMatcher(None, lines, now, autojunk=False).get_matching_blocks():
        yield from zip(range(one, one + size), range(other, other + size), strict=True)


def put_back(before: str, after: str, now: str) -> str | None:
    """A text as it is now with one edit of its lines, from `before` to `after`, taken back; None where that is unclear.

    It is where somebody has changed those lines since, or the lines that were added stand beside others now, or where
    the same lines are there several times and those meant cannot be told.
    """
    old, own, lines = (text.splitlines(keepends=True) for text in (before, after, now))
    place = _places(own, lines) | {-1: -1, len(own): len(lines)}
    found = list(lines)
    for tag, start, end, first, last in reversed(difflib.SequenceMatcher(None, own, old, autojunk=False).get_opcodes()):
        if tag == "equal":
            continue
        # What goes must be there in one piece, and what only comes has the same lines around it.
        needed = range(start, end) if end > start else (start - 1, start)
        places = [place.get(line) for line in needed]
        if None in places or places != list(range(places[0] or 0, (places[0] or 0) + len(places))):
            return None
        at = (places[0] or 0) if end > start else (places[1] or 0)
        found[at : at + end - start] = old[first:last]
    return "".join(found)


# The boot list, byte for byte

_BOOT_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?(?:jail_enable|jail_list)=")


def rc_conf_before(host: Host, facts: HostFacts) -> str:
    """The text of /etc/rc.conf as it was before the first of the jails that are taken over on this host now.

    What nobody but they has changed since can be put back to the last byte when the last of them is given back.
    """
    now = facts.file(RC_CONF[0]) or ""
    for row in Jail.objects.filter(host=host, adoption=Adoption.TAKEN_OVER).order_by("pk"):
        kept = (row.way_back.get("boot") or {}).get("rc.conf", "")
        if kept and without_boot_lines(kept) == without_boot_lines(now):
            return str(kept)
    return now


def without_boot_lines(text: str) -> list[str]:
    """Its lines but those that say which jails start at boot, and nothing else."""
    return [line for line in text.splitlines() if not _BOOT_LINE.match(line) or ";" in line]
