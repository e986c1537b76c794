"""Jails as an operation finds them on their host, made by the panel or by anybody, and what it takes to start and stop
them: with the file that rc.d/jail would take, and without touching any jail that nobody asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from jails.freebsd import ifconfig, jail, mount, names, rcconf
from jails.freebsd.foreign import ForeignJail
from jails.hosts.facts import ConfiguredJail, HostFacts, RunningJail, plain_address
from jails.hosts.zfs_reader import Dataset
from jails.models import Address, Host, Jail, Network, ObservedAddress, Operation
from jails.operations import checks, common, jailfile, layout
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Run, Step, Undo
from jails.operations.wish import Wish

NAMED = 8
"""How many jails a sentence names before it says how many more there are."""


@dataclass(frozen=True)
class Found:
    """A jail on its host. `file` is what rc.d/jail hands to jail(8), `configured` what that file makes of it.

    `running` is None for a jail that is dying. `problem`: why the panel leaves its hands off it, or "".
    `tool`: for one that is started and stopped by the tool that made it, what the tool says of it; it has no `file`.
    """

    row: Jail
    file: str
    configured: ConfiguredJail | None
    running: RunningJail | None
    dying: bool
    problem: str
    tool: ForeignJail | None = None

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def running_name(self) -> str:
        """As jls(8) shows it while it runs."""
        return self.tool.running_name if self.tool is not None else self.row.name

    @property
    def path(self) -> str:
        """What proves that it is this jail that runs; "" where only the kernel knows it."""
        return self.row.path if self.row.managed else ""

    @property
    def stop_file(self) -> str:
        """What jail(8) can stop it with; "" where no file tells how."""
        return self.file if self.configured is not None and not self.configured.failed else ""


def look(row: Jail, facts: HostFacts) -> Found:
    facts.require("jails", "files", "names")
    if is_with_tool(row):
        return _look_at_tool(row, facts)
    live = facts.jail(row.name)
    running = live if live is not None and not live.dying else None
    problem = names.jail_reference_error(row.name)
    file, configured = "", None
    try:
        file = facts.config_file(row.name)
    except ValueError as error:
        problem = problem or f"{error}."
    if file:
        configured = next((one for one in facts.jails_of(file) if one.name == row.name), None)
    problem = problem or (_not_ours(row, facts, file, configured, running) if row.managed else "")
    return Found(row, file, configured, running, live is not None and live.dying, problem or "")


STANDARD = ("", Jail.Manager.STANDARD)
"""Managers of jails that a file of jail.conf(5) defines, or none."""


def is_with_tool(row: Jail) -> bool:
    """Whether another tool made it and still has it: jail(8) alone would leave the tool's state wrong."""
    return not row.managed and row.manager not in STANDARD and row.adoption != Jail.Adoption.TAKEN_OVER


def tool_of(row: Jail, facts: HostFacts) -> ForeignJail | None:
    """What the tool that made it says of it; None where it is no tool's, or the tool does not know it any more."""
    if row.manager in STANDARD:
        return None
    tool = facts.foreign_rows.get(row.name)
    return tool if tool is not None and tool.manager == row.manager else None


def _look_at_tool(row: Jail, facts: HostFacts) -> Found:
    made_by = row.get_manager_display()
    tool = tool_of(row, facts)
    live = facts.running_of(tool) if tool is not None else facts.jail(row.name)
    problem = ""
    if row.adoption != Jail.Adoption.BESIDE:
        problem = f"{made_by} made it: adopt it first, so that it is started and stopped through {made_by}."
    elif tool is None:
        problem = f"{made_by} does not know it any more on {row.host.name}."
    elif not (tool.start and tool.stop):
        problem = f"there is no command of {made_by} that starts and stops this one: do it by hand."
    running = live if live is not None and not live.dying else None
    return Found(row, "", None, running, live is not None and live.dying, problem, tool)


def _not_ours(
    row: Jail, facts: HostFacts, file: str, configured: ConfiguredJail | None, running: RunningJail | None
) -> str:
    """Why what the host has under a managed jail's name is not what the panel made."""
    if running is not None and running.path != row.path:
        return f"the jail of this name that runs is another one: its root is {running.path}, expected {row.path}."
    if configured is None and facts.file(row.config_path) is not None:
        return f"jail(8) cannot read {row.config_path}: mend it by hand first."
    if file and file != row.config_path:
        return f"{file} goes before {row.config_path}: take one of them away first."
    if configured is not None and configured.path != row.path:
        return (
            f"{file} gives it the path {configured.path or 'of the host'}, expected {row.path}: change it back first."
        )
    return ""


def require_ours(host: Host, found: Found, *, file: bool = True) -> None:
    """Raises Refused unless it is a finished jail of the panel, with a file of its own that jail(8) can read."""
    if not found.row.managed:
        raise Refused(why_not_ours(found.row))
    if found.row.state == Jail.State.PENDING:
        raise Refused(f"{found.name} is being made.")
    if found.problem:
        raise Refused(f"{found.name}: {found.problem}")
    if file and not found.stop_file:
        gone = "is gone" if found.configured is None else "is refused by jail(8)"
        raise Refused(f"{found.row.config_path} {gone} on {host.name}: mend it by hand first.")


def why_not_ours(row: Jail) -> str:
    """Why what only the panel's own jails allow is refused: a sentence, for one that it did not make."""
    if row.adoption:
        return f"{row.name} was adopted, its tree and its name are not the panel's: give it back and do it by hand."
    return f"{row.name} was not made by Cellblock: change it on {row.host.name} by hand, where it was made."


def own_dataset(row: Jail, facts: HostFacts) -> tuple[Dataset | None, str]:
    """The dataset that was made for this jail; or None, and why: gone, or somebody else's under its name."""
    dataset = facts.dataset(row.dataset)
    if dataset is None:
        return None, f"Its dataset {row.dataset} is gone."
    if dataset.marks.get(layout.JAIL) != str(row.uuid):
        return None, f"{row.dataset} is not the dataset that was made for {row.name}: look at it on the host."
    return dataset, ""


# What stands against it


def refuse(jails: Iterable[Found], why_not: Callable[[Found], str], field: str = "jails") -> None:
    """Raises Refused with what stands against each of the jails."""
    problems = [f"{found.name}: {why}" for found in jails if (why := why_not(found))]
    if problems:
        raise Refused({field: " ".join(problems)})


def why_not_start(host: Host, facts: HostFacts, found: Found, together: Sequence[Found]) -> str:
    """A sentence, or "". `together` are all jails of the operation, in the order in which they start."""
    if found.problem:
        return found.problem
    if found.row.state == Jail.State.PENDING:
        return "it is being made."
    if found.tool is not None:
        return _address_problem(host, facts, found, together)
    if found.configured is None:
        return f"no file on {host.name} describes it, so nothing tells how to start it."
    if found.configured.failed:
        return f"jail(8) refuses what {found.file} says of it: mend the file by hand first."
    return (
        tree_problem(found, facts)
        or _address_problem(host, facts, found, together)
        or _depend_problem(facts, found, together)
    )


def why_not_stop(facts: HostFacts, found: Found, together: Sequence[Found]) -> str:
    """A sentence, or "": above all, jail(8) stops with a jail all those of its file that depend on it."""
    if found.problem:
        return found.problem
    with_it = {one.name for one in together}
    others = [name for name in dependents(facts, found) if facts.jail(name) is not None and name not in with_it]
    if others:
        return f"{spoken(found, others)} would stop with it, depending on it in {found.file}: stop that first."
    return ""


def tree_problem(found: Found, facts: HostFacts) -> str:
    row = found.row
    path = found.configured.path if found.configured is not None else row.path
    if row.managed and row.dataset:
        dataset = facts.dataset(row.dataset)
        if dataset is None:
            return f"its dataset {row.dataset} is gone."
        if facts.dataset_at(path) != dataset:
            return f"its dataset {row.dataset} is not mounted on {path}: mount it first (zfs mount {row.dataset})."
    folder, _, last = path.rpartition("/")
    if folder in (facts.jail_root, *facts.names) and not facts.exists(folder, last):
        return f"its path {path} is not there."
    return ""


def _address_problem(host: Host, facts: HostFacts, found: Found, together: Sequence[Found]) -> str:
    facts.require("interfaces")
    given = found.configured.parameters if found.configured is not None else ()
    default = next((values[-1] for name, values in given if name == "interface" and values), "")
    mine = addresses(found)
    for value in found.configured.addresses if found.configured is not None else ():
        interface = value.rpartition("|")[0] or default
        if interface and interface not in {one.name for one in facts.interfaces}:
            return f"{found.file} puts {plain_address(value)} on {interface}, an interface that {host.name} has not."
    for other in facts.jails:
        shared = mine & set(map(plain_address, other.addresses))
        if other.name != found.running_name and not other.dying and shared:
            return f"{listed(sorted(shared))} is in use: {spoken(found, [other.name])} has it and runs."
    for one in together:
        if one.name != found.name and (shared := mine & addresses(one)):
            return f"{listed(sorted(shared))} is an address of {one.name} as well."
    return next((words for ip in sorted(mine) if (words := taken_elsewhere(host, found.row, ip))), "")


def addresses(found: Found) -> set[str]:
    """The plain addresses that its file, or its tool, gives it."""
    given = found.tool or found.configured
    return set(map(plain_address, given.addresses)) if given is not None else set()


def taken_elsewhere(host: Host, row: Jail, ip: str) -> str:
    """Who has an address in a network that this host shares with others: a sentence, or "".

    Where no such network of the panel holds the address, two hosts may well have it each for itself.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return f"{ip!r} is no address."
    networks = [one for one in Network.objects.all() if address in ipaddress.ip_network(one.cidr)]
    if any(one.host_id == host.pk for one in networks):
        return ""
    shared = [one for one in networks if one.host_id is None]
    given = Address.objects.select_related("jail__host").filter(ip=ip, network__in=shared).exclude(jail=row).first()
    if given is not None and row.tenant_id in (None, given.jail.tenant_id):
        return f"{ip} belongs to {given.jail.name} on {given.jail.host.name}."
    seen = ObservedAddress.objects.select_related("host").filter(ip=ip).exclude(host=host).first() if shared else None
    if seen is not None and row.tenant_id is None:
        return f"{ip} is in use on {seen.host.name}: {seen.jail_name or seen.interface}."
    return f"{ip} is in use by somebody else." if given is not None or seen is not None else ""


def _depend_problem(facts: HostFacts, found: Found, together: Sequence[Found]) -> str:
    there = {one.name for one in together} | {one.name for one in facts.jails if not one.dying}
    others = [name for name in dependencies(facts, found) if name not in there]
    if others:
        return f"{spoken(found, others)} would start with it, as it depends on that in {found.file}: start that first."
    return ""


def spoken(found: Found, others: Sequence[str]) -> str:
    """Other jails of the host in words. A tenant's members, who may start a jail, know no jails but their own."""
    if found.row.tenant_id is None:
        return listed(others)
    rows = Jail.objects.filter(host=found.row.host_id, tenant=found.row.tenant_id, name__in=others)
    own = set(rows.values_list("name", flat=True))
    known = [name for name in others if name in own]
    return listed([*known, "another jail"] if len(known) < len(others) else known)


# Who depends on whom, in the one file that jail(8) reads for a jail


def dependencies(facts: HostFacts, found: Found) -> list[str]:
    """The jails that jail(8) starts before this one, where they do not run."""
    return _closure(found.name, _depend(facts, found))


def dependents(facts: HostFacts, found: Found) -> list[str]:
    """The jails that jail(8) stops before this one."""
    turned: dict[str, list[str]] = {}
    for name, others in _depend(facts, found).items():
        for other in others:
            turned.setdefault(other, []).append(name)
    return _closure(found.name, turned)


def _depend(facts: HostFacts, found: Found) -> dict[str, list[str]]:
    if not found.stop_file:
        return {}
    return {
        one.name: [other for name, values in one.parameters if name == "depend" for other in values]
        for one in facts.jails_of(found.file)
    }


def _closure(name: str, edges: Mapping[str, Sequence[str]]) -> list[str]:
    found: list[str] = []
    waiting = list(edges.get(name, ()))
    while waiting:
        one = waiting.pop(0)
        if one != name and one not in found:
            found.append(one)
            waiting += edges.get(one, ())
    return found


def in_order(facts: HostFacts, jails: Sequence[Found]) -> list[Found]:
    """As given, but each one behind those on which it depends: to start them. Stop them the other way round."""
    by_name = {found.name: found for found in jails}
    ordered: dict[str, Found] = {}

    def visit(found: Found, above: frozenset[str]) -> None:
        for name in dependencies(facts, found):
            if name in by_name and name not in above and name not in ordered:
                visit(by_name[name], above | {found.name})
        ordered.setdefault(found.name, found)

    for found in jails:
        visit(found, frozenset())
    return list(ordered.values())


# Steps


def start_step(found: Found, *, independent: bool = False) -> Step:
    if found.tool is not None:
        return tool_start_step(found, found.tool, independent=independent)
    given = common.addresses_of(found.row) if found.row.managed else ()
    return common.start_step(
        found.name, found.path, found.file, addresses=given, subject=found.name, independent=independent
    )


def start_steps(found: Found, facts: HostFacts, *, independent: bool = False) -> tuple[Step, ...]:
    """`start_step`, and before it what is left of an earlier run is taken away."""
    left = clear_steps(found, facts, independent=independent)
    return (*left, start_step(found, independent=independent))


def stop_steps(found: Found, facts: HostFacts, *, back: bool = False, independent: bool = False) -> tuple[Step, ...]:
    """Stop it with its file as it is now, and take away what that file has forgotten and is surely the jail's.

    `back`: undone by starting it again. Where somebody wanted it stopped, it is not.
    """
    if found.tool is not None:
        return (tool_stop_step(found, found.tool, back=back, independent=independent),)
    if found.stop_file:
        forgotten = forgotten_addresses(found, facts)
        stop = common.stop_step(
            found.name,
            found.path,
            found.stop_file,
            addresses=[one for one in _live_addresses(found, facts) if one not in forgotten],
            devfs=_has_devfs(found, facts) and not forgotten_devfs(found, facts),
            subject=found.name,
            undo=None if back else (),
            independent=independent,
        )
    else:
        stop = Step(
            key=f"stop-{found.name}",
            purpose=f"Stop {found.name}, which no file describes",
            action=Run((jail.remove_unconfigured(found.name),)),
            done_when=(checks.is_not(common.runs_check(found.name, found.path)),),
            seconds=common.STOP_SECONDS,
            subject=found.name,
            independent=independent,
        )
    return (stop, *_leftover_steps(found, facts, independent=independent))


def tool_start_step(found: Found, tool: ForeignJail, *, independent: bool = False) -> Step:
    """By the tool's own command, and proved by jls(8). A tool says that all is well of a jail that runs already."""
    runs = common.runs_check(tool.running_name, "")
    return Step(
        key=f"start-{found.name}",
        purpose=f"Start {found.name} through {found.row.get_manager_display()}",
        action=Run((tool.start,)),
        done_when=(runs,),
        undo=(Undo(Run((tool.stop,)), only_if=(runs,), after_failure=False),),
        seconds=common.START_SECONDS,
        subject=found.name,
        independent=independent,
    )


def tool_stop_step(found: Found, tool: ForeignJail, *, back: bool = False, independent: bool = False) -> Step:
    gone = checks.jail_absent(tool.running_name)
    return Step(
        key=f"stop-{found.name}",
        purpose=f"Stop {found.name} through {found.row.get_manager_display()}",
        action=Run((tool.stop,)),
        done_when=(gone,),
        undo=(Undo(Run((tool.start,)), only_if=(gone,)),) if back else (),
        seconds=common.STOP_SECONDS,
        subject=found.name,
        independent=independent,
    )


def clear_steps(found: Found, facts: HostFacts, *, independent: bool = False) -> tuple[Step, ...]:
    """Take away what is surely left of a jail that does not run: it ended by itself, or was stopped without its file.

    jail(8) would mount a second devfs over one that is left.
    """
    return tuple(_leftover_steps(found, facts, independent=independent)) if found.running is None else ()


def _leftover_steps(found: Found, facts: HostFacts, *, independent: bool) -> Iterable[Step]:
    for address in forgotten_addresses(found, facts):
        yield Step(
            key=f"alias-{found.name}-{address.ip}",
            purpose=f"Take {address.ip} off {address.interface}, which would stay there without {found.name}",
            action=Run((ifconfig.remove_alias(address.interface, address.ip),)),
            done_when=(checks.is_not(checks.address_on(address.interface, address.ip)),),
            seconds=30,
            ensure=True,
            subject=found.name,
            independent=independent,
        )
    if devfs := forgotten_devfs(found, facts):
        yield Step(
            key=f"devfs-{found.name}",
            purpose=f"Unmount {devfs}, which would stay there without {found.name}",
            action=Run((mount.unmount(devfs),)),
            done_when=(checks.unmounted(devfs),),
            seconds=60,
            ensure=True,
            subject=found.name,
            independent=independent,
        )


def forgotten_addresses(found: Found, facts: HostFacts) -> list[jailfile.Address]:
    """Aliases that the panel gave to this jail and that are on the host without being needed, or will be.

    Of a running jail those that its file no longer names, so that stopping it leaves them behind. Of one that does not
    run all that no other jail has by now.
    """
    named = addresses(found) if found.running is not None and found.stop_file else set()
    return [address for address in _live_addresses(found, facts) if address.ip not in named]


def _live_addresses(found: Found, facts: HostFacts) -> list[jailfile.Address]:
    """Aliases of the panel's for this jail that are there and that no other jail has."""
    facts.require("interfaces", "jails")
    if not found.row.managed:
        return []
    there = {(interface.name, one.ip, one.prefix) for interface in facts.interfaces for one in interface.addresses}
    others = {ip for one in facts.jails if one.name != found.name for ip in map(plain_address, one.addresses)}
    return [
        address
        for address in common.addresses_of(found.row)
        if address.ip not in others and (address.interface, address.ip, address.prefix) in there
    ]


def forgotten_devfs(found: Found, facts: HostFacts) -> str:
    """The jail's devfs, mounted and not needed, or left behind when it is stopped with its file as it is; or ""."""
    if not _has_devfs(found, facts):
        return ""
    named = dict(found.configured.parameters).get("mount.devfs") if found.configured and found.stop_file else None
    unmounted = found.running is not None and named is not None and named[-1:] not in (("false",), ("0",))
    return "" if unmounted else f"{found.row.path}/dev"


def _has_devfs(found: Found, facts: HostFacts) -> bool:
    place = f"{found.row.path}/dev"
    return found.row.managed and any(one.path == place and one.type == "devfs" for one in facts.mounted_below(place))


def foreign_mounts(found: Found, facts: HostFacts) -> list[str]:
    """What is mounted below its root and not the jail's: it would lose its place, or its files with the tree."""
    given = dict(found.configured.parameters) if found.configured is not None else {}
    root = found.row.path
    own = {f"{root}/dev"}
    if found.running is not None and found.stop_file:
        own |= {f"{root}/dev/fd", f"{root}/proc"} if {"mount.fdescfs", "mount.procfs"} & given.keys() else set()
        own |= {words[1] for line in given.get("mount", ()) if len(words := line.split()) > 1}
    datasets = (
        {found.row.dataset, *(one.name for one in facts.children(found.row.dataset))} if found.row.dataset else set()
    )
    return [
        one.path
        for one in facts.mounted_below(root)
        if one.path not in own and one.device.partition("@")[0] not in datasets
    ]


def left_behind(found: Found, facts: HostFacts) -> str:
    """What stopping a jail that no file describes leaves on the host: a sentence, or ""."""
    if found.running is None or found.stop_file or found.tool is not None:
        return ""
    cleared = {address.ip for address in forgotten_addresses(found, facts)}
    on_host = {one.ip for interface in facts.interfaces for one in interface.addresses}
    left = [ip for ip in map(plain_address, found.running.addresses) if ip in on_host and ip not in cleared]
    below = f"{found.running.path.rstrip('/')}/"
    left += [
        row.path for row in facts.mounts if row.path.startswith(below) and row.path != forgotten_devfs(found, facts)
    ]
    words = f"No file describes {found.name}: once it is stopped, nothing tells how to start it again."
    return f"{words} Left behind: {listed(left)}." if left else words


def host_addresses_lost(found: Found, facts: HostFacts) -> str:
    """jail(8) removes a jail's alias even where it was the host's own address before."""
    if found.configured is None:
        return ""
    own = {
        word.partition("/")[0]
        for name, value in rcconf.parse(facts.rc_conf).values.items()
        if name.startswith("ifconfig_")
        for word in value.split()
    }
    on_interface = {plain_address(one) for one in found.configured.addresses if "|" in one or _has_interface(found)}
    lost = sorted(on_interface & own)
    return f"Stopping {found.name} takes {listed(lost)} away, which rc.conf gives to the host itself." if lost else ""


def _has_interface(found: Found) -> bool:
    return found.configured is not None and any(name == "interface" for name, _ in found.configured.parameters)


def resources(host: Host, jails: Iterable[Found], *, start: bool) -> tuple[str, ...]:
    """Two jails with one address, each in an operation of its own, must not start side by side."""
    wanted = []
    for found in jails:
        wanted.append(layout.jail_lock(host, found.name))
        wanted += [layout.address_lock(ip) for ip in sorted(addresses(found))] if start else []
    return tuple(dict.fromkeys(wanted))


def dying_notes(jails: Iterable[Found]) -> tuple[str, ...]:
    return tuple(
        f"{found.name} is still dying: what holds it (connections that close, a mount) may keep its addresses a while."
        for found in jails
        if found.dying
    )


def listed(names_: Sequence[str]) -> str:
    """`a, b and c`; of many the first few and how many more."""
    shown = list(names_)
    if len(shown) > NAMED + 1:
        shown = [*shown[:NAMED], f"{len(shown) - NAMED} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


# What the three kinds have in common


class PowerKind(Kind):
    """Several jails of one host, a line for each: a failed one leaves the others as they are."""

    action = "jail.power"
    verb: str

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jails": wish.uuids("jails")}
        wish.refuse_wrong()
        return cleaned

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return self.titled([row.name for row in self.jails(host, parameters)])

    def titled(self, names_: Sequence[str]) -> str:
        few = len(names_) <= 3 and sum(map(len, names_)) <= 200
        return f"{self.verb} {listed(names_) if few else f'{len(names_)} jails'}"

    def look(self, request: Request) -> list[Found]:
        try:
            rows = self.jails(request.host, request.parameters)
        except LookupError as error:
            raise Refused({"jails": f"{error}."}) from error
        return [look(row, request.facts) for row in rows]


def note_state(operation: Operation, state: str, names_: Iterable[str]) -> None:
    """For `finish`: so that pages tell at once what the next refresh would."""
    values: dict[str, Any] = {"state": state, "state_since": timezone.now()}
    if state == Jail.State.STOPPED:
        values |= {"jid": None, "observed_addresses": []}
    Jail.objects.filter(operations=operation, name__in=list(names_)).exclude(state=Jail.State.PENDING).update(**values)
