"""Give a jail of the panel another name: with it go its tree, dataset, file, console log and place in the boot list.

`jail -m name=` would rename a running jail and nothing of all that, so it is stopped with its old file first, and
started with its new one. Who is cloned from it, and what was made of it, stays as it is: ZFS knows it under the new
name, and a template only notes the name that its jail had.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jails.freebsd import files, jailconf, names, rctl, zfs
from jails.hosts.facts import JAIL_CONF_D, HostFacts
from jails.models import Host, Jail, Operation
from jails.operations import checks, common, effects, jailfile, layout, limits, power
from jails.operations.jail_change import file_step
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import BootList, Plan, RemoveFile, Run, Step, Undo
from jails.operations.wish import Wish

_MOVE_LOGS = """\
for f in "$1" "$1".[0-9]*; do
if [ ! -e "$f" ]; then continue; fi
t=$2${f#"$1"}
if [ -e "$t" ]; then echo "$t: File exists" >&2; exit 1; fi
mv "$f" "$t" || exit
done"""


@dataclass(frozen=True)
class _Names:
    """What bears a jail's name."""

    name: str
    path: str
    dataset: str
    file: str
    log: str


class JailRename(Kind):
    name = "jail_rename"
    action = "jail.rename"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Rename {self.jails(host, parameters)[0].name} to {parameters['name']}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jail": wish.uuid("jail"), "name": wish.text("name", names.jail_name_error)}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts, name = request.host, request.facts, request.parameters["name"]
        try:
            (row,) = self.jails(host, request.parameters)
        except LookupError as error:
            raise Refused(f"{error}.") from error
        found = power.look(row, facts)
        power.require_ours(host, found)
        old = _Names(row.name, row.path, row.dataset, row.config_path, layout.console_log(row.name))
        new = _renamed(old, name)
        _require_possible(request, found, old, new)
        before = facts.file(old.file) or ""
        after = _edited(found, before, old, new)
        start = common.start_step(new.name, new.path, new.file, addresses=common.addresses_of(row), subject=new.name)
        steps = [
            *(power.stop_steps(found, facts, back=True) if found.running is not None else ()),
            *power.clear_steps(found, facts),
            nothing_mounted_step(found),
            *(_dataset_steps(request, row, old, new) if row.dataset else _tree_steps(old, new)),
            file_step(new.name, new.file, None, after),
            remove_file_step(old.name, old.file, before),
            _log_step(old, new),
            *_boot_steps(host, facts, old, new),
            *((start,) if found.running is not None else ()),
        ]
        return Plan(
            title=f"Rename {old.name} to {new.name}",
            steps=tuple(steps),
            summary=_summary(old, new),
            warnings=tuple(_warnings(found, facts)),
            resources=_resources(host, old, new),
            result=tuple((field.name, getattr(new, field.name)) for field in dataclasses.fields(new)),
        )

    def reserve(self, operation: Operation) -> None:
        """A row keeps the new name free until the jail's own can have it."""
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        new = dict(operation.plan["result"])
        Jail.objects.create(
            uuid=_placeholder(str(operation.pk)),
            host=operation.host,
            tenant=row.tenant,
            name=new["name"],
            path=new["path"],
            kind=Jail.Kind.FOUND,
            storage=row.storage,
            state=Jail.State.PENDING,
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        self.release(operation)
        new = dict(plan.result)
        (row,) = self.jails(operation.host, operation.parameters)
        Jail.objects.filter(pk=row.pk).update(
            name=new["name"], path=new["path"], dataset=new["dataset"], config_path=new["file"]
        )

    def release(self, operation: Operation) -> None:
        Jail.objects.filter(uuid=_placeholder(str(operation.pk)), state=Jail.State.PENDING).delete()


def _placeholder(operation_id: str) -> str:
    return str(uuid.uuid5(uuid.UUID(operation_id), "name"))


def _renamed(old: _Names, name: str) -> _Names:
    def beside(place: str) -> str:
        return f"{place.rpartition('/')[0]}/{name}"

    return _Names(
        name=name,
        path=names.require("path", beside(old.path), names.path_error),
        dataset=beside(old.dataset) if old.dataset else "",
        file=layout.config_path(name),
        log=layout.console_log(name),
    )


# What stands against it


def _require_possible(request: Request, found: power.Found, old: _Names, new: _Names) -> None:
    host, facts, row = request.host, request.facts, found.row
    if new.name == old.name:
        raise Refused({"name": f"It is called {old.name} already."})
    if new.dataset and (problem := names.dataset_error(new.dataset)):
        raise Refused({"name": f"Its dataset would be called {new.dataset}, which {problem}"})
    placeholder = _placeholder(request.operation_id)
    alone = _without(facts, old)
    datasets = [new.dataset] if new.dataset else []
    if taken := common.name_taken(host, alone, new.name, uuid=str(row.uuid), also=placeholder, datasets=datasets):
        raise Refused({"name": taken})
    if row.dataset:
        dataset, problem = power.own_dataset(row, facts)
        if dataset is None:
            raise Refused(problem)
    if problem := power.tree_problem(found, facts):
        raise Refused(f"{old.name}: {problem}")
    if mounts := power.foreign_mounts(found, facts):
        raise Refused(f"{power.listed(mounts)} is mounted in its tree: unmount that first.")
    users = [one.name for one in facts.configured if old.name in dict(one.parameters).get("depend", ())]
    if users:
        raise Refused(f"{power.listed(users)} depends on {old.name} by its name: change its “depend” first.")
    if found.running is not None and (why := power.why_not_stop(facts, found, [found])):
        raise Refused(f"{old.name}: {why}")


def _without(facts: HostFacts, old: _Names) -> HostFacts:
    """The facts as if the jail were not there: its old name is in nobody's way."""
    inside = tuple(name for name in facts.names.get(JAIL_CONF_D, ()) if f"{JAIL_CONF_D}/{name}" != old.file)
    return dataclasses.replace(
        facts,
        jails=tuple(one for one in facts.jails if one.name != old.name),
        files={path: text for path, text in facts.files.items() if path != old.file},
        names={**facts.names, JAIL_CONF_D: inside},
    )


def _edited(found: power.Found, before: str, old: _Names, new: _Names) -> str:
    """The text of its file under the new name; what was changed in it by hand stays. Raises Refused."""
    given = dict(found.configured.parameters) if found.configured is not None else {}
    logs = given.get("exec.consolelog") == (old.log,)
    for name, values in given.items():
        if name != "path" and not (name == "exec.consolelog" and logs) and any(old.path in value for value in values):
            raise Refused(f"{old.file} names {old.path} in {name} as well: change that by hand first.")
    try:
        document = jailconf.edit(before, filename=old.file).rename(old.name, new.name)
        document = document.set(new.name, "path", new.path)
        if logs:
            document = document.set(new.name, "exec.consolelog", new.log)
        document = jailfile.with_rules(document, new.name, given, limits.of_file(old.name, given), called=old.name)
    except jailconf.EditRefused as error:
        raise Refused(f"The file cannot be changed without touching what was written by hand: {error}.") from error
    head = f"# {old.name}: managed by Cellblock."
    text = document.text
    return text.replace(head, f"# {new.name}: managed by Cellblock.", 1) if text.startswith(head) else text


# Steps


def nothing_mounted_step(found: power.Found) -> Step:
    return Step(
        key="mounts",
        purpose=f"See that nothing is mounted in the tree of {found.name}",
        action=Run((("mount", "-p"),)),
        done_when=(checks.nothing_mounted_below(found.row.path),),
        changes=False,
        seconds=30,
        subject=found.name,
        attempts=3,
    )


def _dataset_steps(request: Request, row: Jail, old: _Names, new: _Names) -> Iterable[Step]:
    """Rename the dataset where it is (-u), then give it its new place: whichever fails, the other is undone."""
    ours = checks.dataset_property(new.dataset, layout.JAIL, str(row.uuid))
    renamed = (ours, checks.dataset_absent(old.dataset))
    there = checks.dataset_property(new.dataset, "mountpoint", new.path)
    yield from common.mount_point_steps(new.path, request.operation_id)
    yield Step(
        key="dataset",
        purpose=f"Rename its dataset, with all its snapshots, to {new.dataset}",
        action=Run((zfs.rename(old.dataset, new.dataset, keep_mounted=True),)),
        done_when=renamed,
        undo=(Undo(Run((zfs.rename(new.dataset, old.dataset, keep_mounted=True),)), only_if=renamed),),
        requires=(checks.dataset_property(old.dataset, layout.JAIL, str(row.uuid)),),
        seconds=60,
        subject=old.name,
    )
    yield Step(
        key="mount",
        purpose=f"Mount it on {new.path}",
        action=Run((zfs.set_properties(new.dataset, {"mountpoint": new.path}),)),
        done_when=(there, checks.mounted(new.path), checks.unmounted(old.path)),
        undo=(Undo(Run((zfs.set_properties(new.dataset, {"mountpoint": old.path}),)), only_if=(ours, there)),),
        seconds=120,
        attempts=3,
        subject=old.name,
    )
    yield Step(
        key="folder",
        purpose=f"Remove {old.path}, which is an empty folder now",
        action=Run((files.remove_directory(old.path),)),
        done_when=(checks.path_absent(old.path),),
        undo=(Undo(Run((files.make_directory(old.path),)), only_if=(checks.path_absent(old.path),)),),
        seconds=30,
        ensure=True,
        subject=old.name,
    )


def _tree_steps(old: _Names, new: _Names) -> tuple[Step, ...]:
    back = Run((("sh", "-c", common.MOVE_NEW, "sh", new.path, old.path),))
    return common.move_steps(old.path, new.path, purpose=f"Rename its tree to {new.path}", capture="tree", undo=(back,))


def remove_file_step(name: str, path: str, content: str) -> Step:
    remove = RemoveFile(path, content)
    return Step(
        key=f"remove-{name}",
        purpose=f"Remove {path}",
        action=remove,
        done_when=(checks.file_absent(path),),
        undo=effects.undo_of(remove),
        seconds=30,
        subject=name,
    )


def _log_step(old: _Names, new: _Names) -> Step:
    moved = checks.path_absent(old.log)
    return Step(
        key="log",
        purpose=f"Keep its console log, with older ones, as {new.log}",
        action=Run((("sh", "-c", _MOVE_LOGS, "sh", old.log, new.log),)),
        done_when=(moved,),
        undo=(Undo(Run((("sh", "-c", _MOVE_LOGS, "sh", new.log, old.log),)), only_if=(moved,)),),
        seconds=60,
        subject=old.name,
    )


def _boot_steps(host: Host, facts: HostFacts, old: _Names, new: _Names) -> Iterable[Step]:
    """Where a list names what starts, the new name takes the old one's place; where all starts, the file does it."""
    try:
        state = facts.boot_state()
    except ValueError as error:
        raise Refused(f"{host.name}: {error}.") from error
    if state.mode == "list" and old.name in state.boots_today:
        action = BootList(rename=((old.name, new.name),))
        yield common.boot_step(
            host, facts, action, purpose=f"Start it under its new name when {host.name} boots", subject=old.name
        )


def _summary(old: _Names, new: _Names) -> tuple[str, ...]:
    lines = [f"{old.path} becomes {new.path}, {old.file} becomes {new.file}."]
    if old.dataset:
        lines.append(f"The dataset {old.dataset} becomes {new.dataset}.")
    return tuple(lines)


def _warnings(found: power.Found, facts: HostFacts) -> Iterable[str]:
    if found.running is not None:
        yield f"{found.name} will be stopped for a moment."
        yield from filter(None, (power.host_addresses_lost(found, facts),))
    # Those of its file go with it.
    ours = rctl.rules(found.name, facts.limits_in_force(found.name) or {})
    if any(rule.subject == "jail" and rule.who == found.name and rule not in ours for rule in facts.rules):
        yield f"Limits that somebody has set with rctl(8) for {found.name} stay under that name: move them by hand."


def _resources(host: Host, old: _Names, new: _Names) -> tuple[str, ...]:
    locks = [layout.jail_lock(host, old.name), layout.jail_lock(host, new.name)]
    locks += [layout.dataset_lock(host, one.dataset) for one in (old, new) if one.dataset]
    return tuple(locks)


kind = JailRename()
