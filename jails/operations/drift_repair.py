"""Bring a host to what the panel wants of a jail: its file, what runs, and the boot list.

The file is edited: only the parameters that differ are written, every other byte stays. It is written as a whole only
where it is gone. A running jail is changed while it runs where jail(8) can; where not it is stopped with the file as it
is, and started with the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from jails import plans
from jails.freebsd import jail, jailconf, parameters, rctl
from jails.freebsd.parameters import Change, Setter
from jails.hosts import drift
from jails.hosts.drift import BOOT, FILE, ON, OWN, REFUSED, TREE, Comparison, Difference, Values
from jails.hosts.facts import HostFacts, plain_address
from jails.models import Host, Operation
from jails.operations import checks, common, effects, jailfile, layout, limits, power, snapshots
from jails.operations.differing import (
    DriftKind,
    Look,
    baseline_of,
    keep_way_back,
    lines,
    parameters_result,
    with_family,
)
from jails.operations.kind import Refused, Request
from jails.operations.step import BootList, Plan, Run, Step, Undo, WriteFile

SHARING = ("disable", "new", "inherit")
"""How jls(8) prints these when asked for one by name: as 0, 1 and 2."""


class DriftRepair(DriftKind):
    name = "drift_repair"
    action = "jail.repair"
    told = "It was made again on its host what it should be."

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Repair {self.jails(host, parameters)[0].name}"

    def widens(self, host: Host, parameters: Mapping[str, Any]) -> list[str]:
        """What is wanted beyond what every new jail has: somebody has once been allowed that, not who repairs it."""
        (row,) = self.jails(host, parameters)
        want, baseline = Look(row, host, HostFacts()).want, baseline_of(row)
        names = parameters["parameters"]
        if names is None or FILE in names:
            names = list(want)
        return [
            name
            for name in with_family(names)
            if name in want
            and not name.startswith(drift.RULE)
            and parameters_setter(name, want[name]) >= Setter.ADMINISTRATOR
            and not drift.same(name, want[name], baseline.get(name))
        ]

    def plan(self, request: Request) -> Plan:
        look = self.look(request)
        repair = _Repair(look, request.parameters["parameters"])
        plan = repair.plan()
        restarts = repair.running and bool(repair.restarting)
        return snapshots.with_first(request, self.name, look.row, plan) if restarts else plan

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        return plans.of_snapshot_first(self.jails(host, parameters)[0], parameters)

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        keep_way_back(
            row, {one.action.path: one.action.content for one in plan.steps if isinstance(one.action, WriteFile)}
        )
        if operation.parameters.get("snapshot_first"):
            snapshots.note_count(operation, row)
        super().finish(operation, plan)


def parameters_setter(name: str, values: Values) -> Setter:
    return parameters.setter(name, list(values or ()))


class _Repair:
    def __init__(self, look: Look, names: Sequence[str] | None) -> None:
        self.look, self.row, self.host, self.facts = look, look.row, look.host, look.facts
        chosen = look.chosen(None if names is None else list(names))
        self.left = [one for one in chosen if names is None and one.parameter == TREE]
        self.chosen = [one for one in chosen if one not in self.left]
        self.names = {one.parameter for one in self.chosen}
        if TREE in self.names or not self.chosen:
            raise Refused(f"{look.wanted.tree} is gone: no plan brings it back. Restore it on {self.host.name}.")
        self.found = power.look(self.row, self.facts)
        self.running = self.found.running is not None
        self.path, self.before = self._place()
        self.after = self._edited()
        self.later = self._facts_afterwards()
        self._require_so()

    def plan(self) -> Plan:
        steps = [*self._running_steps(), *self._boot_steps()]
        restarts = self.running and bool(self.restarting)
        return Plan(
            title=f"Repair {self.row.name}",
            steps=tuple(steps),
            summary=lines(self._line(one) for one in self.chosen),
            warnings=tuple(self._warnings(restarts)),
            resources=self._resources(restarts),
            result=(parameters_result(self.chosen),),
        )

    # The file

    def _place(self) -> tuple[str, str | None]:
        """Where its definition stands, or belongs, and the text of that file; None where there is no such file."""
        standing = self.facts.configured_jail(self.row.name)
        file = self.look.by_name.get(FILE)
        if file is not None and file.configured == (REFUSED,):
            raise Refused(
                f"jail(8) does not take what {self.row.config_path} says of {self.row.name}: mend it by hand."
            )
        if file is not None and file.configured is not None:
            raise Refused(f"{drift.shown(file.configured)} is taken in its place: take that one away by hand first.")
        path = standing.file if standing is not None else self.look.wanted.file
        return path, self.facts.file(path) if path else None

    def _edited(self) -> str | None:
        """The whole text as it will be. Raises Refused where no edit does it."""
        if FILE in self.names:
            return self._anew()
        differing = [one for one in self.chosen if one.in_file and one.parameter not in OWN]
        if not differing or self.before is None:
            return self.before
        try:
            document = jailconf.edit(self.before, filename=self.path)
            hooks = {one.parameter: one for one in differing if self._is_of_hooks(one.parameter)}
            for one in differing:
                if one.parameter not in hooks:
                    document = self._with(document, one)
            if hooks:
                document = self._with_hooks(document, hooks)
        except (jailconf.EditRefused, ValueError) as error:
            raise Refused(f"The file cannot be changed without touching what was written by hand: {error}.") from error
        return document.text

    def _anew(self) -> str:
        row = self.row
        if not self.path:
            raise Refused(f"No file of {row.name} is known: write one by hand.")
        if row.managed:
            values: dict[str, parameters.Value] = common.file_of(row).parameters()
        else:
            values = {name: drift.for_file(name, value) for name, value in self.look.want.items()}
        try:
            if self.before is not None:
                return jailconf.edit(self.before, filename=self.path).add(row.name, values).text
            if row.managed:
                return common.file_of(row).text()
            return jailconf.render_jail(row.name, values, header=f"{row.name}: as Cellblock has adopted it.")
        except (jailconf.EditRefused, ValueError) as error:
            raise Refused(f"Its definition cannot be written: {error}.") from error

    def _is_of_hooks(self, name: str) -> bool:
        return name.startswith(drift.RULE) or (self.look.wanted.limited and name in jailfile.HOOKS)

    def _with_hooks(self, document: jailconf.Document, differing: Mapping[str, Difference]) -> jailconf.Document:
        """Its limits as they are wanted, and beside them the other commands before a start and after a stop."""
        standing = self.facts.configured_jail(self.row.name)
        given = dict(standing.parameters) if standing is not None else {}
        shall = limits.of_file(self.row.name, given)
        shall |= {
            limit: amount
            for limit, amount in drift.limits_of(self.look.want).items()
            if f"{drift.RULE}{rctl.RESOURCES[limit]}" in differing
        }
        others = {name: self.look.want.get(name) or () for name in jailfile.HOOKS if name in differing}
        return jailfile.with_rules(document, self.row.name, given, shall, others=others)

    def _with(self, document: jailconf.Document, one: Difference) -> jailconf.Document:
        name, values = one.parameter, one.wanted
        if values is not None:
            if name.endswith(".addr") and self._says(name.removesuffix(".addr")):
                document = document.remove(self.row.name, name.removesuffix(".addr"))
            return document.set(self.row.name, name, drift.for_file(name, _with_prefixes(name, values)))
        if name.endswith(".addr") and self.row.managed:
            return document.remove(self.row.name, name).set(self.row.name, name.removesuffix(".addr"), "disable")
        try:
            removed = document.remove(self.row.name, name)
        except jailconf.EditRefused:
            removed = document
        if not self._still_differs(removed, one):
            return removed
        # Something that is for other jails as well sets it: here it is set back for this one.
        usual = drift.default(name)
        if usual is None:
            raise Refused(f"{name} is set for {self.row.name} outside of its own block in {self.path}: do it by hand.")
        return document.set(self.row.name, name, drift.for_file(name, usual))

    def _says(self, name: str) -> bool:
        """Whether the jail's own block sets it."""
        try:
            jailconf.edit(self.before or "", filename=self.path).remove(self.row.name, name)
        except jailconf.EditRefused:
            return False
        return True

    def _still_differs(self, document: jailconf.Document, one: Difference) -> bool:
        if one.parameter.endswith(".addr"):
            return False
        later = Comparison(self._with_text(document.text))
        return any(other.parameter == one.parameter and other.in_file for other in later.differences(self.look.wanted))

    def _facts_afterwards(self) -> HostFacts:
        if self.after is None or self.after == self.before:
            return self.facts
        return self._with_text(self.after)

    def _with_text(self, text: str) -> HostFacts:
        if self.before is None:
            return common.with_file(self.facts, self.path, text)
        return replace(self.facts, files={**self.facts.files, self.path: text})

    def _require_so(self) -> None:
        """What is written is read as jail(8) would: it is what is wanted, or nothing is planned."""
        left = {
            one.parameter
            for one in Comparison(self.later).differences(self.look.wanted)
            if one.in_file and one.parameter in self.names - {BOOT}
        }
        if left:
            raise Refused(
                f"{power.listed(sorted(left))} of {self.row.name} would still differ: "
                f"other parts of {self.path} set it. Do it by hand."
            )

    # What runs

    @cached_property
    def restarting(self) -> list[Difference]:
        """What a running jail has to be stopped and started for."""
        return [one for one in self.chosen if self.running and self._needs_restart(one)]

    def _needs_restart(self, one: Difference) -> bool:
        if one.parameter in OWN or not drift.needs_restart(one.parameter):
            return False
        if one.running is not None:
            return one.in_kernel
        # Nobody tells whether it was started with this or that; of our own jails it is known where they run.
        return one.in_file and not (one.parameter == "path" and self.row.managed)

    @property
    def live(self) -> dict[str, tuple[Values, Values]]:
        """What `jail -m` changes: name → what runs, what shall."""
        found: dict[str, tuple[Values, Values]] = {}
        for one in self.chosen:
            if not self.running or not one.in_kernel or one in self.restarting or one.parameter.startswith(drift.RULE):
                continue
            shall = one.wanted if one.wanted is not None else self.look.comparison.default(one.parameter)
            if shall is None or len(shall) != 1 or parameters.change(one.parameter) is not Change.LIVE:
                raise Refused(f"{one.parameter} of {self.row.name} cannot be set back while it runs: restart it.")
            found[one.parameter] = (one.running, shall)
        return found

    def _running_steps(self) -> Iterable[Step]:
        write = [*self._write_step()]
        if not self.restarting:
            yield from write
            if live := self.live:
                yield self._live_step(live)
            yield from self._limit_steps()
            return
        if not self.found.stop_file:
            raise Refused(f"No file describes {self.row.name}, so it cannot be restarted: bring back its file first.")
        if why := power.why_not_stop(self.facts, self.found, [self.found]):
            raise Refused(f"{self.row.name}: {why}")
        then = power.look(self.row, self.later)
        if why := power.why_not_start(self.host, self.later, then, [then]):
            raise Refused(f"{self.row.name}: {why}")
        given = _addresses(then) if self.row.managed else ()
        yield from power.stop_steps(self.found, self.facts, back=True)
        yield from common.free_addresses_step([one for one in given if one.ip not in self._own_ips()])
        yield from write
        yield common.start_step(self.row.name, then.path, then.file, addresses=given, subject=self.row.name)

    def _limit_steps(self) -> Iterable[Step]:
        chosen = [one for one in self.chosen if one.in_kernel and one.parameter.startswith(drift.RULE)]
        if not chosen or not self.running:
            return
        if not self.facts.racct:
            words = power.listed([one.parameter for one in chosen])
            raise Refused(f"{words} of {self.row.name}: {limits.OFF} on {self.host.name}. {limits.HOW_ON}")
        wanted = drift.limits_of(self.look.want)
        names = {f"{drift.RULE}{resource}": limit for limit, resource in rctl.RESOURCES.items()}
        shall = {names[one.parameter]: wanted[names[one.parameter]] for one in chosen}
        yield from limits.live_steps(self.row.name, self.found.path, self.facts, shall)

    def _own_ips(self) -> set[str]:
        """What it has or is given today: its stop leaves it where it was the host's own before."""
        live = self.found.running.addresses if self.found.running is not None else ()
        return {*map(plain_address, live), *power.addresses(self.found)}

    def _write_step(self) -> Iterable[Step]:
        if self.after is None or self.after == self.before:
            return
        write = WriteFile(self.path, self.after, before=self.before)
        yield Step(
            key=f"file-{self.row.name}",
            purpose=f"Describe {self.row.name} to jail(8) as the panel wants it",
            action=write,
            done_when=(checks.file_has(self.path, self.after),),
            undo=effects.undo_of(write),
            seconds=30,
            subject=self.row.name,
        )

    def _live_step(self, live: Mapping[str, tuple[Values, Values]]) -> Step:
        name = self.row.name
        shall = {parameter: _given(parameter, new) for parameter, (_, new) in live.items()}
        runs = common.runs_check(name, self.found.path)
        back = tuple(
            Undo(
                Run((jail.set_parameters(name, {parameter: _given(parameter, old)}),)),
                only_if=(runs, checks.jail_param(name, parameter, _printed(parameter, new))),
            )
            for parameter, (old, new) in live.items()
        )
        return Step(
            key=f"live-{name}",
            purpose=f"Change {power.listed(list(live))} of {name} while it runs",
            action=Run((jail.set_parameters(name, shall),)),
            done_when=tuple(checks.jail_param(name, one, _printed(one, new)) for one, (_, new) in live.items()),
            undo=back,
            requires=(runs,),
            seconds=60,
            subject=name,
        )

    # Boot

    def _boot_steps(self) -> Iterable[Step]:
        if BOOT not in self.names:
            return
        name, today = self.row.name, self.facts.boot_state().boots_today
        if self.row.boot:
            action, purpose = BootList(add=(name,)), f"Start {name} when {self.host.name} boots"
        else:
            action, purpose = BootList(remove=(name,), order=today), f"Start {name} no more when {self.host.name} boots"
        yield common.boot_step(self.host, self.later, action, purpose=purpose, subject=name)

    # For people

    def _line(self, one: Difference) -> str:
        if one.parameter == FILE:
            return f"{self.path} is written, as the panel has it."
        if one.parameter == BOOT:
            return f"boot: {_yes(one.configured)} → {_yes(one.wanted)} (at the host's next boot)"
        now = one.configured if one.in_file else one.running
        return f"{one.parameter}: {_shown(now)} → {_shown(one.wanted)} ({self._how(one)})"

    def _how(self, one: Difference) -> str:
        if not self.running:
            return "from its next start"
        if one in self.restarting:
            return "needs a restart"
        if one.in_kernel:
            return "live"
        return "in its file" if one.running is not None else "from its next start"

    def _warnings(self, restarts: bool) -> Iterable[str]:
        if restarts:
            why = power.listed([one.parameter for one in self.restarting])
            yield f"{self.row.name} will be stopped for a moment: for {why} it has to start anew."
            yield from filter(None, (power.host_addresses_lost(self.found, self.facts),))
        if not restarts and self.live.get("persist", (None, None))[1] == drift.OFF:
            yield f"{self.row.name} ends with its last process from then on."
        yield from (f"{drift.words(one)[:-1]}; that stays so." for one in self.left)

    def _resources(self, restarts: bool) -> tuple[str, ...]:
        locks = [layout.jail_lock(self.host, self.row.name)]
        ips = {plain_address(one) for name in ("ip4.addr", "ip6.addr") for one in self.look.want.get(name) or ()}
        if restarts or self.names & {"ip4.addr", "ip6.addr", FILE}:
            locks += [layout.address_lock(ip) for ip in sorted(ips | power.addresses(self.found))]
        return tuple(dict.fromkeys(locks))


def _addresses(found: power.Found) -> tuple[jailfile.Address, ...]:
    given = found.configured.addresses if found.configured is not None else ()
    return tuple(address for one in given if (address := jailfile.Address.parse(one)) is not None)


def _with_prefixes(name: str, values: Values) -> Values:
    """As the panel writes addresses: with their prefix."""
    if name not in ("ip4.addr", "ip6.addr") or values is None:
        return values
    longest = 32 if name == "ip4.addr" else 128
    return tuple(one if "/" in one or " " in one else f"{one}/{longest}" for one in values)


def _given(name: str, values: Values) -> str | bool:
    """As jail.set_parameters takes it."""
    parameter = parameters.find(name)
    if parameter is not None and parameter.kind is parameters.Kind.BOOLEAN:
        return values == ON
    return values[0] if values else ""


def _printed(name: str, values: Values) -> str:
    """As jls(8) prints a parameter that is asked for by name."""
    parameter = parameters.find(name)
    if parameter is not None and parameter.kind is parameters.Kind.BOOLEAN:
        return "1" if values == ON else "0"
    text = values[0] if values else ""
    if parameter is not None and parameter.kind is parameters.Kind.CHOICE and text in SHARING:
        return str(SHARING.index(text))
    return text


def _yes(values: Values) -> str:
    return "yes" if values == ON else "no"


def _shown(values: Values) -> str:
    text = drift.shown(values) if values else "none"
    return text if len(text) <= 80 else f"{text[:79]}…"


kind = DriftRepair()
