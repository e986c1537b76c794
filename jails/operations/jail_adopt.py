"""Take jails that somebody else made under the panel, in one of three ways.

in place: a jail of jail.conf(5). The file stays where its administrator keeps it, and not one byte on the host changes.
beside: a jail of another tool. Nothing changes either; from then on it is started and stopped by that tool's commands.
taken over: a standard file is written, and the tool no longer starts it at boot. Its tree stays where it is, its tool
keeps what it has, and the way back is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jails import plans
from jails.freebsd import jailconf, names, parameters
from jails.freebsd.foreign import cbsd
from jails.hosts.facts import JAIL_CONF_D, HostFacts, plain_address
from jails.models import Host, Jail, Operation, Tenant
from jails.operations import adoption, common, layout, power
from jails.operations.adoption import Accepted, Adoption
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import BootList, Plan, RemoveFile, Run, Step, Undo, WriteFile
from jails.operations.wish import Wish

HEADER = """\
{name}: taken over from {tool} by Cellblock. What is changed here by hand is shown as drift and kept.
uuid: {uuid}"""

ANY_TEXT = frozenset({"host.hostuuid"})
"""Parameters that a tool may give values which the panel itself would not: any text to the kernel."""


class JailAdopt(Kind):
    name = "jail_adopt"
    action = "jail.adopt"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        """Nobody but staff sees the plan: it shows files of the host."""
        return None

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return _title([row.name for row in self.jails(host, parameters)])

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        tenant = Tenant.objects.filter(pk=parameters["tenant"]).first() if parameters["tenant"] else None
        return plans.of_given(tenant, host, self.jails(host, parameters))

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        jails, how = wish.uuids("jails"), wish.choice("how", Adoption.values)
        cleaned = {"jails": jails, "how": how, "tenant": wish.key("tenant")}
        if how == Adoption.TAKEN_OVER and len(jails) > 1:
            wish.wrong("jails", "are taken over from their tool one at a time: choose one.")
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts, how = request.host, request.facts, request.parameters["how"]
        tenant = common.find_tenant(request.parameters["tenant"])
        try:
            rows = self.jails(host, request.parameters)
        except LookupError as error:
            raise Refused({"jails": f"{error}."}) from error
        problems = [f"{row.name}: {why}" for row in rows if (why := _why_not(row, how))]
        if problems:
            raise Refused({"jails": " ".join(problems)})
        if how == Adoption.IN_PLACE:
            return _in_place(host, facts, rows)
        if tenant is not None:
            _require_trusted(facts, rows)
        if how == Adoption.BESIDE:
            return _beside(host, facts, rows)
        return _TakingOver(request, rows[0]).plan()

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        wish = operation.parameters
        for row in self.jails(operation.host, wish):
            row.adoption, row.touched = wish["how"], True
            if row.adoption == Adoption.BESIDE:
                row.wanted, row.way_back = {}, {}
            else:
                shall = adoption.from_result(plan.result, row)
                adoption.take(row, shall)
                row.way_back = _way_back(plan) if row.adoption == Adoption.TAKEN_OVER else {}
                if row.adoption == Adoption.TAKEN_OVER:
                    row.config_path = layout.config_path(row.name)
            if wish["tenant"] is not None:
                row.tenant_id = wish["tenant"]
            row.save()
            if row.adoption != Adoption.BESIDE:
                adoption.keep_addresses(row, shall.parameters)
            adoption.tell_tenant(operation, row, f"{row.name} was adopted and is kept by the panel now.")


kind = JailAdopt()


def ways(row: Jail) -> list[str]:
    """How a jail may be adopted, the best way first; none where no file tells of it, or it is the panel's already."""
    return [how for how in (Adoption.IN_PLACE, Adoption.BESIDE, Adoption.TAKEN_OVER) if not _why_not(row, how)]


def _why_not(row: Jail, how: str) -> str:
    """Why a jail cannot be adopted that way at all: a sentence, or ""."""
    if row.managed:
        return "it was made by Cellblock."
    if row.adoption:
        return f"it is adopted already, {adoption.WORDS[row.adoption]}."
    if row.manager not in power.STANDARD:
        made_by = adoption.tool_name(row)
        return "" if how != Adoption.IN_PLACE else f"{made_by} made it: adopt it beside {made_by}, or take it over."
    if not row.config_path:
        return "no file describes it: write one in /etc/jail.conf.d first, so that it can be started again."
    return "" if how == Adoption.IN_PLACE else f"no other tool made it: adopt it where it is, in {row.config_path}."


def _title(jails: Sequence[str]) -> str:
    return f"Adopt {power.listed(jails)}"


# In place


def _in_place(host: Host, facts: HostFacts, rows: Sequence[Jail]) -> Plan:
    found = [power.look(row, facts) for row in rows]
    power.refuse(found, lambda one: adoption.why_not_in_place(host, one) or _why_not_trusted(one))
    steps, result = [], []
    boots, held = adoption.boots_today(facts), adoption.holders(facts)
    shown: Counter[str] = Counter()
    warnings = _boot_warning(host, facts)
    for one in found:
        assert one.configured is not None
        path = adoption.file_of(one, facts)
        text = facts.file(path)
        assert text is not None
        steps.append(adoption.look_step(one.name, path, text))
        result.append(adoption.accepted(one.row, one.configured, facts, boots).to_result(one.row))
        shown[path] += 1
        warnings += adoption.hooks_warning(one.row, adoption.hooks_of(dict(one.configured.parameters)))
        warnings += adoption.shared_addresses(host, held, one.row, one.configured.addresses)
    its, it = ("its", "it") if len(rows) == 1 else ("their", "they")
    files = [path if count == 1 else f"{path} ({count} jails)" for path, count in shown.items()]
    return Plan(
        title=_title([row.name for row in rows]),
        steps=tuple(steps),
        summary=(
            f"{its.capitalize()} configuration stays in {power.listed(files)}, and {its} tree where it is.",
            f"Not one byte changes on {host.name}, and {it} {'goes' if it == 'it' else 'go'} on as before.",
            f"From then on what {its} file says is how {it} should be: what differs is shown, and can be changed here.",
        ),
        warnings=tuple(dict.fromkeys(warnings)),
        notes=power.dying_notes(found),
        resources=adoption.resources(host, rows),
        result=tuple(result),
    )


def _boot_warning(host: Host, facts: HostFacts) -> list[str]:
    try:
        facts.boot_state()
    except ValueError as error:
        return [f"What boots on {host.name} cannot be told ({error}): it is noted as not starting at boot."]
    return []


def _why_not_trusted(found: power.Found) -> str:
    assert found.configured is not None
    return adoption.why_not_trusted(found.name, dict(found.configured.parameters), found.configured.path)


def _require_trusted(facts: HostFacts, rows: Sequence[Jail]) -> None:
    """For what a tenant gets from a tool at once: the same is asked as when it is given to a tenant later."""
    tools = {row.name: adoption.require_tool(row, facts) for row in rows}
    problems = [adoption.why_not_trusted(name, tool.parameters, tool.root) for name, tool in tools.items()]
    if any(problems):
        raise Refused({"jails": " ".join(filter(None, problems))})


# Beside its tool


def _beside(host: Host, facts: HostFacts, rows: Sequence[Jail]) -> Plan:
    steps: list[Step] = []
    result: list[tuple[str, str]] = []
    warnings: list[str] = []
    held = adoption.holders(facts)
    it = "it" if len(rows) == 1 else "them"
    for row in rows:
        tool = adoption.require_tool(row, facts)
        if not (tool.start and tool.stop):
            made_by = adoption.tool_name(row)
            raise Refused({"jails": f"{row.name}: no command of {made_by} is known that starts and stops it."})
        text = facts.files.get(tool.config)
        if text is not None and not tool.config.endswith(cbsd.DATABASE):
            steps.append(adoption.look_step(row.name, tool.config, text))
        result.append((str(row.uuid), " ".join((*tool.start, "/", *tool.stop))))
        warnings += adoption.hooks_warning(row, tool.hooks)
        warnings += adoption.shared_addresses(host, held, row, tool.addresses)
    made_by = power.listed(sorted({adoption.tool_name(row) for row in rows}))
    return Plan(
        title=_title([row.name for row in rows]),
        steps=tuple(steps),
        summary=(
            f"{made_by} keeps {it}: not one byte changes on {host.name}.",
            f"From then on Cellblock starts and stops {it} by {made_by}'s own commands.",
            f"Whatever else is done to {it} is still done with {made_by}.",
        ),
        warnings=tuple(dict.fromkeys(warnings)),
        resources=adoption.resources(host, rows),
        result=tuple(result),
    )


# Taken over


class _TakingOver:
    """One jail's way from its tool to a standard file."""

    def __init__(self, request: Request, row: Jail) -> None:
        self.host, self.facts, self.row = request.host, request.facts, row
        self.operation_id = request.operation_id
        self.made_by = adoption.tool_name(row)
        self.facts.require("jails", "files", "names", "interfaces")
        self.tool = adoption.require_tool(row, self.facts)
        self.path = layout.config_path(row.name)
        self.fstab = self._fstab()
        self.parameters = dict(self.tool.parameters)
        if self.tool.fstab:
            self.parameters["mount.fstab"] = (self.fstab,)
        self._require_possible()
        self.text = self._text()
        self.later = common.with_file(self.facts, self.path, self.text)
        self.configured = next((one for one in self.later.jails_of(self.path) if one.name == row.name), None)
        self._require_readable()
        live = self.facts.running_of(self.tool)
        self.running = live is not None and not live.dying
        self.dying = live is not None and live.dying
        inside = [one.name for one in self.facts.jails if one.name.startswith(f"{self.tool.running_name}.")]
        if self.running and inside:
            raise Refused({"jails": f"{row.name} is stopped a moment, and with it {inside[0]}: stop that first."})
        # What the list of jails says from then on, where one has to be made to leave this one out.
        self.others: list[str] = []

    def plan(self) -> Plan:
        shall = Accepted(dict(self.configured.parameters), self.tool.boot) if self.configured else Accepted({}, False)
        steps = list(self._files())
        if self.running:
            steps = [self._stop(), *steps, self._start()]
        # Last, as sysrc(8) alone could not put the boot list back to the last byte.
        steps += self._boot()
        return Plan(
            title=_title([self.row.name]),
            steps=tuple(steps),
            summary=self._summary(),
            warnings=tuple(self._warnings()),
            notes=(f"{self.tool.running_name} is still dying.",) if self.dying else (),
            resources=(
                *adoption.resources(self.host, [self.row]),
                *(layout.address_lock(ip) for ip in sorted(set(map(plain_address, self.tool.addresses)))),
            ),
            result=(shall.to_result(self.row), ("directory", "" if self._has_folder else JAIL_CONF_D)),
            remembers=(("rc.conf", adoption.rc_conf_before(self.host, self.facts)), ("others", " ".join(self.others))),
        )

    @property
    def _has_folder(self) -> bool:
        return JAIL_CONF_D in self.facts.names

    # Whether it can be

    def _require_possible(self) -> None:
        row, tool = self.row, self.tool
        if problem := names.jail_name_error(row.name):
            raise Refused({"jails": f"{row.name}: as a jail of jail.conf(5) its name {problem}"})
        if tool.problems:
            raise Refused({"jails": f"{row.name} cannot be taken over: {' '.join(tool.problems)}"})
        if not self.parameters:
            raise Refused({"jails": f"{row.name}: what {self.made_by} says of it cannot be put into jail.conf(5)."})
        if self.facts.file(self.path) is not None or self.facts.exists(JAIL_CONF_D, f"{row.name}.conf"):
            raise Refused({"jails": f"{self.path} is there already: take it away first."})
        if (standard := self.facts.configured_jail(row.name)) is not None:
            raise Refused({"jails": f"{standard.file} describes a jail {row.name} already: rename that first."})
        other, own = self.facts.jail(row.name), self.facts.running_of(tool)
        if other is not None and other != own:
            raise Refused({"jails": f"another jail that is called {row.name} runs on {self.host.name}: stop it first."})
        clash = names.jail_name_clash(row.name, sorted({one.name for one in self.facts.configured}))
        if clash:
            raise Refused({"jails": f"rc.conf(5) cannot tell {row.name} from {clash}: “-”, “_” and “.” are one there."})

    def _text(self) -> str:
        values = {name: given or True for name, given in self.parameters.items()}
        problems = [
            why for name, value in values.items() if name not in ANY_TEXT and (why := parameters.validate(name, value))
        ]
        if problems:
            raise Refused({"jails": f"{self.row.name} cannot be taken over: {' '.join(problems)}"})
        header = HEADER.format(name=self.row.name, tool=self.made_by, uuid=self.row.uuid)
        try:
            return jailconf.render_jail(self.row.name, values, header=header)
        except ValueError as error:
            raise Refused({"jails": f"{self.row.name}: jail.conf(5) cannot say this: {error}"}) from error

    def _require_readable(self) -> None:
        found = self.configured
        given = {name: values for name, values in found.parameters if name != "name"} if found is not None else {}
        if found is None or found.failed or given != self.parameters:
            raise Refused(
                {"jails": f"{self.row.name}: jail(8) would not read of {self.path} what {self.made_by} says."}
            )
        if not found.path:
            raise Refused({"jails": f"{self.row.name}: {self.made_by} does not tell where its tree is."})

    # Steps

    def _stop(self) -> Step:
        return power.tool_stop_step(power.look(self.row, self.facts), self.tool, back=True)

    def _start(self) -> Step:
        return common.start_step(self.row.name, "", self.path, subject=self.row.name)

    def _files(self) -> list[Step]:
        steps = list(self._autostart_off())
        if self.tool.fstab:
            steps.append(self._new_file(self.fstab, self.tool.fstab, "Describe its mounts for mount.fstab"))
        if not self._has_folder:
            words = "Have a folder for the files of jails"
            steps.append(common.ensure_directory(self.host, JAIL_CONF_D, self.operation_id, words))
        steps.append(self._new_file(self.path, self.text, f"Describe {self.row.name} to jail(8)"))
        return steps

    def _new_file(self, path: str, text: str, purpose: str) -> Step:
        return adoption.edit_step(self.host, self.row, path, None, text, purpose)

    def _fstab(self) -> str:
        """Where its mounts are written, if its tool has them in a form of its own: fstab(5) beside the host's."""
        path = (self.tool.parameters.get("mount.fstab") or (f"/etc/fstab.{self.row.name}",))[-1]
        if self.tool.fstab and self.facts.files.get(path) is not None:
            raise Refused({"jails": f"{path} is there already: take it away first."})
        return path

    def _autostart_off(self) -> Iterator[Step]:
        purpose = f"Keep {self.made_by} from starting {self.row.name} at boot"
        edits = list(self.tool.autostart_off)
        for source, target in adoption.renames(edits):
            yield adoption.rename_step(self.row, source.path, target.path, source.before or "", purpose)
            edits = [edit for edit in edits if edit not in (source, target)]
        for edit in edits:
            yield adoption.edit_step(self.host, self.row, edit.path, edit.before, edit.after, purpose)
        if self.tool.autostart and not self.tool.autostart_off and self.tool.autostart_off_argv:
            back = (Undo(Run((self.tool.autostart_on_argv,))),) if self.tool.autostart_on_argv else ()
            run = Run((self.tool.autostart_off_argv,))
            yield Step(key="autostart", purpose=purpose, action=run, undo=back, seconds=60, subject=self.row.name)

    def _boot(self) -> list[Step]:
        later, name = self._after_edits(), self.row.name
        try:
            today = later.boot_state().boots_today
        except ValueError as error:
            raise Refused({"jails": f"What boots on {self.host.name} cannot be told: {error}."}) from error
        listed = next((one for one in today if one != name and _as_rc(one) == name), "")
        if listed:
            action, words = BootList(rename=((listed, name),)), f"Call {name} so in the list of what starts at boot"
        elif self.tool.boot:
            action, words = BootList(add=(name,)), f"Let {name} start at boot, by its file"
        elif name in today:
            action, words = BootList(remove=(name,)), f"Keep {name} from starting at boot, as it is now"
            self.others = [one for one in today if one != name]
        else:
            return []
        return [common.boot_step(self.host, later, action, purpose=words, subject=name)]

    def _after_edits(self) -> HostFacts:
        facts = self.later
        for edit in self.tool.autostart_off:
            if edit.path in facts.files and edit.after is not None:
                facts = replace(facts, files={**facts.files, edit.path: edit.after})
        return facts

    # What is said

    def _summary(self) -> tuple[str, ...]:
        boot = "is started at boot by it" if self.tool.boot else "is not started at boot"
        back = f"Giving it back takes {self.path} away, and lets {self.made_by} have it as it was."
        return (
            f"{self.path} describes it from now on, and it {boot}. {self.made_by} keeps all that it has of it.",
            f"Its tree stays at {self.tool.root}: nothing is copied or moved.",
            back,
        )

    def _warnings(self) -> list[str]:
        row, tool = self.row, self.tool
        warnings = []
        if self.running:
            warnings.append(
                f"{row.name} is stopped through {self.made_by} and started by jail(8): it is away a moment."
            )
        warnings.append(f"Do not start it with {self.made_by} any more, until it is given back.")
        if tool.hooks:
            warnings.append(
                f"Its file runs commands on the host as root, as {self.made_by} does: {', '.join(tool.hooks)}."
            )
        warnings += tool.notes
        held = adoption.holders(self.facts)
        return [*warnings, *adoption.shared_addresses(self.host, held, row, tool.addresses)]


def _as_rc(name: str) -> str:
    """A name of jail_list as rc.d/jail takes it."""
    return name.replace(".", "_").replace("/", "_")


def _way_back(plan: Plan) -> dict[str, Any]:
    """All that was written, as it was before and as it was left; of rc.conf what it was before any of it."""
    before: dict[str, str | None] = {}
    after: dict[str, str | None] = {}
    for step in plan.steps:
        action = step.action
        if isinstance(action, WriteFile):
            before.setdefault(action.path, action.before)
            after[action.path] = action.content
        elif isinstance(action, RemoveFile):
            before.setdefault(action.path, action.before)
            after[action.path] = None
    lists = [step.action for step in plan.steps if isinstance(step.action, BootList)]
    return {
        "before": before,
        "after": after,
        "renamed": [adoption.renamed_by(step) for step in plan.steps if step.key.startswith("rename-")],
        "directory": dict(plan.result).get("directory", ""),
        "by_command": any(step.key == "autostart" for step in plan.steps),
        "boot": {
            "rc.conf": dict(plan.remembers).get("rc.conf", ""),
            "others": dict(plan.remembers).get("others", "").split(),
            "added": [name for one in lists for name in one.add],
            "removed": [name for one in lists for name in one.remove],
            "renamed": [list(pair) for one in lists for pair in one.rename],
        },
    }
