"""Change a jail of the panel: hostname, addresses, boot and limits, each in the way that the value allows.

What jail(8) can change while the jail runs is changed so (`jail -m`). What it cannot is a restart, in this order: stop
with the old file, write, start, because jail(8) undoes what the file says when it stops a jail. The file is edited,
never written anew: what a person has changed in it by hand stays. The file of a jail that was adopted is edited where
its administrator keeps it, /etc/jail.conf with all others among it, and only where nothing but this jail changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from jails import plans, selfservice
from jails.freebsd import jail, jailconf, names, parameters, zfs
from jails.freebsd.parameters import Change
from jails.hosts.facts import ConfiguredJail, HostFacts, plain_address
from jails.models import Host, Jail, Operation, Tenant, User
from jails.models.release import Storage
from jails.operations import adoption, checks, common, effects, jailfile, layout, limits, power, snapshots
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import BootList, Plan, Run, Step, Undo, WriteFile
from jails.operations.wish import Wish

LIVE, RESTART, START, BOOT = "live", "restart", "start", "boot"
HOW = {
    LIVE: "live",
    RESTART: "needs a restart",
    START: "from its next start",
    BOOT: "at the host's next boot",
}
"""How a value comes to hold, for people."""
LIMITS = ("quota", *jailfile.RULES, *jailfile.LIMITS)
ALWAYS = ("quota", *jailfile.LIMITS)
"""Limits that a wish must name; of the others one that it leaves out stays as it is."""
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "hostname": ("host.hostname",),
    "addresses": ("ip4.addr", "ip6.addr"),
    **{limit: (parameter,) for limit, parameter in jailfile.LIMITS.items()},
}
"""Field of the form → parameters of jail(8)."""
FIELDS = ("hostname", "addresses", "boot", *LIMITS)


_NOT_OURS = "Its commands at start and stop are not Cellblock's: set its limits on the host, in rctl.conf(5)."


class Effect(NamedTuple):
    """A value that changes: addresses as lists of text, a quota in bytes or None. `how` is a key of HOW."""

    field: str
    old: Any
    new: Any
    how: str

    def __str__(self) -> str:
        return f"{self.field.replace('_', '.')}: {_shown(self, self.old)} → {_shown(self, self.new)} ({HOW[self.how]})"


def effects_of(row: Jail, wanted: Mapping[str, Any], facts: HostFacts) -> list[Effect]:
    """What a wish (cleaned, or as a form has it so far) changes of a jail, and what each value takes."""
    running = power.look(row, facts).running is not None
    return [
        Effect(field, old, new, _how(field, running, facts))
        for field, (old, new) in _values(row, wanted).items()
        if (set(old) != set(new) if field == "addresses" else old != new)
    ]


def limit_effects(found: power.Found, wanted: Mapping[str, int | None], facts: HostFacts) -> dict[str, Effect]:
    """The same of a quota and of limits of rctl(8) alone, by their names; what is left out stays."""
    running, has = found.running is not None, found.row.limits
    return {
        limit: Effect(limit, has.get(limit), wanted[limit], _how(limit, running, facts))
        for limit in ("quota", *jailfile.RULES)
        if limit in wanted and wanted[limit] != has.get(limit)
    }


def limit_steps(host: Host, facts: HostFacts, found: power.Found, changes: Mapping[str, Effect]) -> Iterable[Step]:
    """Bring a jail of the panel, running or not, to what `limit_effects` says. Raises Refused."""
    power.require_ours(host, found)
    yield from _quota_steps(found.row, facts, changes.get("quota"), key=f"quota-{found.name}")
    if not changes.keys() & set(jailfile.RULES):
        return
    path = _file_of(found, facts)
    before = facts.file(path) or ""
    edit = WriteFile(path, _edited(found, changes, (), path, before), before=before)
    yield from _file_steps(found, facts, changes, (), edit)


def _wanted_limits(row: Jail, wanted: Mapping[str, Any]) -> dict[str, int | None]:
    """As they will be in its row."""
    return {**row.limits, **(wanted.get("limits") or {})}


def _values(row: Jail, wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    given = wanted.get("limits") or {}
    pairs: dict[str, tuple[Any, Any]] = {
        "hostname": (row.hostname, wanted.get("hostname", row.hostname)),
        "boot": (row.boot, wanted.get("boot", row.boot)),
    }
    own = list(row.addresses.filter(operation=None).order_by("pk").values_list("ip", flat=True))
    pairs["addresses"] = (own, [one["ip"] for one in wanted["addresses"]] if "addresses" in wanted else own)
    for limit in LIMITS:
        old = row.limits.get(limit, DEFAULT_LIMITS[limit])
        pairs[limit] = (old, given.get(limit, old))
    return {field: pairs[field] for field in FIELDS}


DEFAULT_LIMITS: Mapping[str, int | None] = {
    "quota": None,
    "memory": None,
    "cpu": None,
    "processes": None,
    "children_max": 0,
    "securelevel": -1,
    "enforce_statfs": 2,
}


def _how(field: str, running: bool, facts: HostFacts) -> str:
    if field == "quota":
        return LIVE
    if field in jailfile.RULES:
        return LIVE if running and facts.racct else START
    if field == "boot":
        return BOOT
    if not running:
        return START
    changes = {parameters.change(name) for name in PARAMETERS[field]}
    return RESTART if Change.RESTART in changes else LIVE if Change.LIVE in changes else START


def _shown(effect: Effect, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if effect.field in ("quota", "memory") and value is not None:
        return plans.size(value)
    if effect.field == "cpu" and value is not None:
        return f"{value} %"
    return "none" if value in (None, "") else str(value)


class JailChange(Kind):
    name = "jail_change"
    action = "jail.change"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        """Nobody but staff sees the plan for an adopted jail: it shows files of the host, and of other jails."""
        adopted = any(row.adoption for row in self.jails(host, parameters))
        return None if adopted else super().tenant(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Change {self.jails(host, parameters)[0].name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Complete: what is left out would be taken for a wish to have it gone."""
        wish = Wish(parameters)
        for name in ("addresses", "boot", "limits"):
            if parameters.get(name) is None:
                wish.wrong(name, "is missing.")
        cleaned = {
            "jail": wish.uuid("jail"),
            "hostname": wish.text("hostname", names.hostname_error),
            "addresses": wish.addresses(),
            "boot": wish.flag("boot"),
            "limits": wish.limits(),
        }
        cleaned |= snapshots.clean_first(self.name, wish)
        given = parameters.get("limits")
        for limit in ALWAYS:
            if isinstance(given, Mapping) and limit not in given:
                wish.wrong(limit, "is missing.")
        wish.refuse_wrong()
        return cleaned

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        (row,) = self.jails(host, parameters)
        growth = plans.of_change(row, parameters)
        if not parameters.get("snapshot"):
            return growth
        return plans.with_snapshot(growth, len(parameters.get("instead", ())))

    def actions_of(self, user: User, host: Host, parameters: Mapping[str, Any], usual: str) -> tuple[str, ...]:
        """A tenant's members may change its boot flag, and its limits within the plan, and nothing else with that.

        Where nothing changes the plan says so, to whoever sees the jail.
        """
        (row,) = self.jails(host, parameters)
        changed = {field: pair for field, pair in _values(row, parameters).items() if pair[0] != pair[1]}
        if row.adoption or not row.managed or not _keeps_addresses(row, parameters):
            return (usual,)
        resized = {field: pair for field, pair in changed.items() if field not in ("boot", "addresses")}
        if not resized.keys() <= selfservice.THINGS.keys() or not selfservice.is_resize(row, resized):
            return (usual,)
        actions = [*(["jail.power"] if "boot" in changed else []), *(["jail.resize"] if resized else [])]
        return tuple(actions) or ("jail.view",)

    def widens(self, host: Host, parameters: Mapping[str, Any]) -> list[str]:
        """What it would have more of than it has."""
        (row,) = self.jails(host, parameters)
        old, new = {**DEFAULT_LIMITS, **row.limits}, parameters["limits"]
        more = {
            "children_max": (new["children_max"] or 0) > (old["children_max"] or 0),
            "enforce_statfs": (new["enforce_statfs"] or 0) < (old["enforce_statfs"] or 0),
        }
        return jailfile.widened({limit: value for limit, value in new.items() if more.get(limit)})

    def plan(self, request: Request) -> Plan:
        host, facts, wish = request.host, request.facts, request.parameters
        try:
            (row,) = self.jails(host, wish)
        except LookupError as error:
            raise Refused(f"{error}.") from error
        found = power.look(row, facts)
        _require_changeable(host, found)
        if row.kind == Jail.Kind.SANDBOX and wish["addresses"]:
            raise Refused({"addresses": f"{row.name} is a sandbox, which never has a network."})
        changes = {effect.field: effect for effect in effects_of(row, wish, facts)}
        if not changes:
            raise Refused("Nothing changes: every value is as it was.")
        resolved = _resolved(host, facts, row, wish["addresses"])
        path = _file_of(found, facts)
        before = facts.file(path) or ""
        if row.adoption and changes.keys() & set(jailfile.RULES):
            raise Refused(dict.fromkeys(sorted(changes.keys() & set(jailfile.RULES)), _NOT_OURS))
        after = _edited(found, changes, resolved, path, before)
        adopted = _Adopted(host, facts, found, changes, resolved, path, after) if row.adoption else None
        steps = [
            *_quota_steps(row, facts, changes.get("quota")),
            *_file_steps(found, facts, changes, resolved, WriteFile(path, after, before=before)),
            *_boot_steps(host, row, facts, changes.get("boot")),
        ]
        restarts = any(effect.how == RESTART for effect in changes.values())
        resources = _resources(host, row, changes)
        warnings = [f"{row.name} will be stopped for a moment."] if restarts else []
        if row.managed and before != common.file_of(row, addresses=_own_addresses(row)).text():
            warnings.append(f"{row.config_path} was changed by hand; what was changed there stays.")
        plan = Plan(
            title=f"Change {row.name}",
            steps=tuple(steps),
            summary=tuple(map(str, changes.values())),
            warnings=tuple(warnings),
            notes=limits.notes(host.name, facts, [wish["limits"]]) if changes.keys() & set(jailfile.RULES) else (),
            resources=resources,
            result=(*common.addresses_to_result(resolved), *([adopted.result(wish)] if adopted else [])),
        )
        return snapshots.with_first(request, self.name, row, plan) if restarts else plan

    def reserve(self, operation: Operation) -> None:
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        common.reserve_addresses(operation, row, operation.parameters["addresses"])

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        wish = operation.parameters
        (row,) = self.jails(operation.host, wish)
        changed = [field for field, (old, new) in _values(row, wish).items() if old != new]
        kept = _wanted_limits(row, wish)
        _forget_accepted(row, wish)
        common.keep_addresses(row, wish["addresses"], common.addresses_of_result(plan.result))
        # What somebody has chosen for it since goes before what its tenant's plan was saved with.
        left = limits.allotted_beside(row, changed)
        values = {"hostname": wish["hostname"], "boot": wish["boot"], "limits": kept, "allotted": left}
        Jail.objects.filter(pk=row.pk).update(**values)
        if wish.get("snapshot"):
            snapshots.note_count(operation, row)
        if row.adoption:
            _keep_adopted(row, plan)
            words = power.listed([field.replace("_", ".") for field in changed])
            adoption.tell_tenant(operation, row, f"Changed: {words}.")

    def release(self, operation: Operation) -> None:
        common.release_addresses(operation)


def _keeps_addresses(row: Jail, wish: Mapping[str, Any]) -> bool:
    own = set(row.addresses.filter(operation=None).values_list("network_id", "ip"))
    return own == {(one["network"], one["ip"]) for one in wish["addresses"]}


def _forget_accepted(row: Jail, wish: Mapping[str, Any]) -> None:
    """What was accepted from the host (drift_accept) no longer counts where it has been changed here since."""
    changed = [field for field, (old, new) in _values(row, wish).items() if field != "addresses" and old != new]
    names_ = {name for field in changed for name in PARAMETERS.get(field, ())}
    left = {name: values for name, values in row.wanted.items() if name not in names_}
    if row.managed and left != row.wanted:
        Jail.objects.filter(pk=row.pk).update(wanted=left)


def _resolved(
    host: Host, facts: HostFacts, row: Jail, wanted: Sequence[Mapping[str, Any]]
) -> tuple[jailfile.Address, ...]:
    """What it keeps stays on its interface, whatever its network says of new ones by now."""
    own = {(one.network_id, one.ip): one for one in row.addresses.filter(operation=None)}
    found = []
    for one in wanted:
        kept = own.get((one["network"], one["ip"]))
        if kept is not None:
            found.append(jailfile.Address(kept.ip, kept.interface, kept.prefix))
        else:
            found += common.resolve_addresses(host, facts, [one], uuid=str(row.uuid))
    return tuple(found)


def _own_addresses(row: Jail) -> tuple[jailfile.Address, ...]:
    """Without those that this very operation has reserved."""
    rows = row.addresses.filter(operation=None).order_by("pk")
    return tuple(jailfile.Address(one.ip, one.interface, one.prefix) for one in rows)


def _resources(host: Host, row: Jail, changes: Mapping[str, Effect]) -> tuple[str, ...]:
    locks = [layout.jail_lock(host, row.name)]
    if "addresses" in changes:
        ips = {*changes["addresses"].old, *changes["addresses"].new}
        locks += [layout.address_lock(ip) for ip in sorted(ips)]
    if "quota" in changes:
        locks.append(layout.dataset_lock(host, row.dataset))
    return tuple(locks)


# A jail that was adopted


def _require_changeable(host: Host, found: power.Found) -> None:
    row = found.row
    if row.managed or not row.adoption:
        power.require_ours(host, found)
        return
    if found.tool is not None or row.adoption == Jail.Adoption.BESIDE:
        made_by = adoption.tool_name(row)
        raise Refused(
            f"{row.name} is adopted beside {made_by}, which keeps its configuration: change it with {made_by}."
        )
    if why := adoption.why_not_in_place(host, found):
        raise Refused(f"{row.name}: {why}")


def _file_of(found: power.Found, facts: HostFacts) -> str:
    """Where its block stands."""
    return found.row.config_path if found.row.managed else adoption.file_of(found, facts)


class _Adopted:
    """The changed file as jail(8) will read it. Raises Refused unless exactly what was wanted changes by it."""

    def __init__(
        self,
        host: Host,
        facts: HostFacts,
        found: power.Found,
        changes: Mapping[str, Effect],
        resolved: Sequence[jailfile.Address],
        path: str,
        after: str,
    ) -> None:
        assert found.configured is not None
        self.row, self.path = found.row, path
        self.old = dict(found.configured.parameters)
        later = replace(facts, files={**facts.files, path: after})
        new = next((one for one in later.jails_of(found.file) if one.name == found.name), None)
        if new is None or new.failed:
            raise Refused(
                f"With this, jail(8) would not take {found.name} of {found.file} any more: change it by hand."
            )
        self.new = dict(new.parameters)
        if "quota" in changes:
            raise Refused({"quota": "Its dataset was not made by Cellblock: set its quota on the host."})
        if "addresses" in changes and ("vnet" in self.old or "vnet" in self.new):
            raise Refused({"addresses": "It has a network stack of its own (vnet): its addresses are set inside it."})
        restarts = any(effect.how == RESTART for effect in changes.values())
        if restarts and (why := power.why_not_stop(facts, found, [found])):
            raise Refused(f"{found.name}: {why}")
        self._require_exact(changes, resolved)
        if _others(later, found.name) != _others(facts, found.name):
            raise Refused(
                f"{path} cannot be changed for {found.name} alone: other jails would change too. Do it by hand."
            )

    def _require_exact(self, changes: Mapping[str, Effect], resolved: Sequence[jailfile.Address]) -> None:
        touched = {"ip4", "ip6"} if "addresses" in changes else set()
        touched |= {name for field in changes for name in PARAMETERS.get(field, ())}
        wrong = [name for name in {**self.old, **self.new} if name not in touched and self._differs(name)]
        for field, effect in changes.items():
            for name in PARAMETERS.get(field, ()) if field != "addresses" else ():
                if (self.new.get(name) or ("",))[-1] != str(effect.new):
                    wrong.append(name)
        if "addresses" in changes:
            was, gone = set(self._addresses(self.old)), set(changes["addresses"].old) - set(changes["addresses"].new)
            if set(self._addresses(self.new)) != (was - gone) | {one.ip for one in resolved}:
                wrong.append("ip4.addr")
        if wrong:
            words = power.listed(sorted(set(wrong)))
            raise Refused(f"{self.path} sets {words} for other jails as well: change it by hand.")

    def _differs(self, name: str) -> bool:
        return self.old.get(name) != self.new.get(name)

    @staticmethod
    def _addresses(given: Mapping[str, Sequence[str]]) -> list[str]:
        return [plain_address(value) for name in ("ip4.addr", "ip6.addr") for value in given.get(name, ())]

    def result(self, wish: Mapping[str, Any]) -> tuple[str, str]:
        """What is wanted from then on: what this changes, and of all else what was wanted before."""
        wanted = {name: tuple(values) for name, values in self.row.wanted.items() if values is not None}
        for name in {**self.old, **self.new}:
            if self._differs(name) and name in self.new:
                wanted[name] = self.new[name]
            elif self._differs(name):
                wanted.pop(name, None)
        return adoption.Accepted(wanted, wish["boot"], self.row.limits.get("quota")).to_result(self.row)


def _others(facts: HostFacts, name: str) -> list[ConfiguredJail]:
    return [one for one in facts.configured if one.name != name]


def _keep_adopted(row: Jail, plan: Plan) -> None:
    row.wanted = adoption.wanted_of(adoption.from_result(plan.result, row).parameters)
    written = {step.action.path: step.action.content for step in plan.steps if isinstance(step.action, WriteFile)}
    after = row.way_back.get("after") or {}
    after |= {path: text for path, text in written.items() if path in after}
    Jail.objects.filter(pk=row.pk).update(wanted=row.wanted, way_back=row.way_back)


# The file


def _edited(
    found: power.Found, changes: Mapping[str, Effect], resolved: Sequence[jailfile.Address], path: str, before: str
) -> str:
    """The text of its file with the changed values, and every other byte as it is. Raises Refused."""
    row = found.row
    try:
        document = jailconf.edit(before, filename=path)
        if "hostname" in changes:
            document = document.set(row.name, "host.hostname", changes["hostname"].new)
        if "addresses" in changes:
            document = _with_addresses(document, found, changes["addresses"], resolved)
        for limit, parameter in jailfile.LIMITS.items():
            if limit in changes and row.adoption:
                document = document.set(row.name, parameter, changes[limit].new)
            elif limit in changes:
                document = _with_limit(document, row.name, limit, parameter, changes[limit].new)
        if changes.keys() & set(jailfile.RULES):
            shall = {**limits.of(row), **{name: changes[name].new for name in jailfile.RULES if name in changes}}
            document = jailfile.with_rules(document, row.name, _given(found), shall)
    except jailconf.EditRefused as error:
        raise Refused(f"The file cannot be changed without touching what was written by hand: {error}.") from error
    return document.text


def _given(found: power.Found) -> dict[str, tuple[str, ...]]:
    return dict(found.configured.parameters) if found.configured is not None else {}


def _with_addresses(
    document: jailconf.Document, found: power.Found, effect: Effect, resolved: Sequence[jailfile.Address]
) -> jailconf.Document:
    """Takes out what the jail loses and adds what it gains; what else stands in the lists stays."""
    gone = set(effect.old) - set(effect.new)
    gained = [address for address in resolved if address.ip not in effect.old]
    given = _given(found)
    for version in (4, 6):
        lists, family = f"ip{version}.addr", f"ip{version}"
        old = given.get(lists, ())
        new = [value for value in old if plain_address(value) not in gone]
        new += [str(address) for address in gained if address.version == version]
        if tuple(new) == old:
            continue
        if new:
            document = document.set(found.name, lists, new)
            if family in given:
                document = document.remove(found.name, family)
        else:
            document = document.remove(found.name, lists).set(found.name, family, "disable")
    return document


def _with_limit(document: jailconf.Document, name: str, limit: str, parameter: str, value: int) -> jailconf.Document:
    if not jailfile.is_default(limit, value):
        return document.set(name, parameter, value)
    try:
        return document.remove(name, parameter)
    except jailconf.EditRefused:
        return document  # it was never written, being the default


def _file_steps(
    found: power.Found,
    facts: HostFacts,
    changes: Mapping[str, Effect],
    resolved: Sequence[jailfile.Address],
    edit: WriteFile,
) -> Iterable[Step]:
    gained = [one for one in resolved if "addresses" in changes and one.ip not in changes["addresses"].old]
    yield from common.free_addresses_step(gained)
    # Somebody may have written just that by hand already.
    is_new = edit.before != edit.content
    write = [file_step(found.name, edit.path, edit.before, edit.content)] if is_new else []
    if any(effect.how == RESTART for effect in changes.values()):
        yield from power.stop_steps(found, facts, back=True)
        yield from write
        own = resolved if found.row.managed else ()
        yield common.start_step(found.name, found.path, found.file, addresses=own, subject=found.name)
        return
    yield from write
    live = {effect.field: effect for effect in changes.values() if effect.how == LIVE and effect.field in PARAMETERS}
    if live:
        yield _live_step(found, live)
    rules = {field: effect.new for field, effect in changes.items() if field in jailfile.RULES and effect.how == LIVE}
    yield from limits.live_steps(found.name, found.path, facts, rules)


def file_step(name: str, path: str, before: str | None, after: str) -> Step:
    write = WriteFile(path, after, before=before)
    return Step(
        key=f"file-{name}",
        purpose=f"Describe {name} to jail(8) as it will be",
        action=write,
        done_when=(checks.file_has(path, after),),
        undo=effects.undo_of(write),
        seconds=30,
        subject=name,
    )


def _live_step(found: power.Found, live: Mapping[str, Effect]) -> Step:
    wanted = {PARAMETERS[field][0]: str(effect.new) for field, effect in live.items()}
    given = _given(found)
    # Back to what the file says, not to what it is for the moment: root in the jail may change its hostname any time.
    now = {PARAMETERS[field][0]: str(effect.old) for field, effect in live.items()}
    now |= {name: given[name][-1] for name in wanted if given.get(name)}
    holds = tuple(checks.jail_param(found.name, name, value) for name, value in wanted.items())
    back = tuple(
        Undo(
            Run((jail.set_parameters(found.name, {name: now[name]}),)),
            only_if=(checks.jail_running(found.name, found.path), checks.jail_param(found.name, name, value)),
        )
        for name, value in wanted.items()
        if now[name] != value
    )
    return Step(
        key=f"live-{found.name}",
        purpose=f"Change {power.listed(list(wanted))} of {found.name} while it runs",
        action=Run((jail.set_parameters(found.name, wanted),)),
        done_when=holds,
        undo=back,
        seconds=60,
        subject=found.name,
    )


# Boot and quota


def _boot_steps(host: Host, row: Jail, facts: HostFacts, effect: Effect | None) -> Iterable[Step]:
    if effect is None:
        return
    try:
        today = facts.boot_state().boots_today
    except ValueError as error:
        raise Refused({"boot": f"{host.name}: {error}."}) from error
    if (row.name in today) == effect.new:
        return  # somebody has made it so by hand already
    if effect.new:
        action, purpose = BootList(add=(row.name,)), f"Start {row.name} when {host.name} boots"
    else:
        action, purpose = BootList(remove=(row.name,), order=today), f"Start {row.name} no more when {host.name} boots"
    yield common.boot_step(host, facts, action, purpose=purpose, subject=row.name)


def _quota_steps(row: Jail, facts: HostFacts, effect: Effect | None, *, key: str = "quota") -> Iterable[Step]:
    if effect is None:
        return
    if row.adoption:
        raise Refused({"quota": "Its dataset was not made by Cellblock: set its quota on the host."})
    if row.storage != Storage.ZFS or not row.dataset:
        raise Refused({"quota": "On UFS a jail can have no quota."})
    dataset, problem = power.own_dataset(row, facts)
    if dataset is None:
        raise Refused({"quota": problem})
    if effect.new is not None and effect.new < dataset.used:
        raise Refused({"quota": f"It uses {plans.size(dataset.used)} already: give it at least that."})
    old, new = str(dataset.quota), str(effect.new or 0)
    yield Step(
        key=key,
        purpose=f"Let {row.name} fill at most {plans.size(effect.new)}"
        if effect.new
        else f"Let {row.name} fill the pool",
        action=Run((zfs.set_properties(row.dataset, {"quota": new if effect.new else "none"}),)),
        done_when=(checks.dataset_property(row.dataset, "quota", new),),
        undo=(
            Undo(
                Run((zfs.set_properties(row.dataset, {"quota": old if dataset.quota else "none"}),)),
                only_if=(checks.dataset_property(row.dataset, "quota", new),),
            ),
        ),
        requires=(checks.dataset_property(row.dataset, layout.JAIL, str(row.uuid)),),
        seconds=60,
        subject=row.name,
    )


kind = JailChange()
