"""Destroy a jail of the panel: its tree, snapshots, file, console log, address, place at boot and the row itself.

Up to the destruction of the tree everything can be undone. That is done only to what is proved to be this jail's: a
dataset with its uuid, mounted at exactly its path or nowhere, with nothing of anybody else mounted in it and nothing
cloned from it; never `zfs destroy -R`. On UFS the tree first gets a name that holds the operation's id.

A jail of which parts are gone already, and one whose making has failed half-way, can be destroyed as well: what is
there goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jails.freebsd import files, names, zfs
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset, Snapshot
from jails.models import Host, Jail, Operation, Template
from jails.operations import checks, common, layout, power, snapshots
from jails.operations.jail_rename import remove_file_step
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import BootList, Plan, Run, Step, Undo
from jails.operations.wish import Wish

BUSY_ATTEMPTS = 8
"""A jail that has just been stopped holds its dataset for some seconds."""

_REMOVE_FOLDER = 'if [ -d "$1" ]; then rmdir "$1" || echo "$1 stays: it is not empty"; fi'
_REMOVE_LOGS = 'rm -f "$1" "$1".[0-9]*'
_REMOVE_RULES = 'r=$(rctl "$1") || exit; if [ "$r" ]; then rctl -r "$1"; fi'


@dataclass(frozen=True)
class _Goes:
    """What is there of a jail, and goes. `datasets`: its own and all below it. `tree`: on UFS, or ""."""

    found: power.Found
    datasets: tuple[Dataset, ...]
    snapshots: tuple[Snapshot, ...]
    tree: str
    file: str | None
    boots: bool
    boot_problem: str


class JailDestroy(Kind):
    name = "jail_destroy"
    action = "jail.destroy"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Destroy {self.jails(host, parameters)[0].name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jail": wish.uuid("jail"), "name": wish.text("name", names.text_error)}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        try:
            (row,) = self.jails(host, request.parameters)
        except LookupError as error:
            raise Refused(f"{error}.") from error
        if request.parameters["name"] != row.name:
            raise Refused({"name": f"Type the name of the jail, {row.name}, to destroy it."})
        found = power.look(row, facts)
        _require_ours(host, found)
        goes = _what_goes(found, facts)
        _require_possible(facts, goes)
        return Plan(
            title=f"Destroy {row.name}",
            steps=tuple(_steps(request, goes)),
            summary=(f"{row.name} will be gone from {host.name}, with all that is in it.",),
            warnings=tuple(_warnings(host, facts, goes)),
            loses=tuple(words for words, _ in _losses(goes)),
            sizes=tuple(f"{words}: {_size(size)}" if size else words for words, size in _losses(goes)),
            notes=power.dying_notes([found]),
            resources=_resources(host, goes),
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        Jail.objects.filter(host=operation.host, uuid=operation.parameters["jail"]).delete()


# What stands against it


def _require_ours(host: Host, found: power.Found) -> None:
    row = found.row
    if row.adoption:
        raise Refused(f"{row.name} was adopted, and its tree is not the panel's to destroy: give it back first.")
    if not row.managed:
        raise Refused(f"{row.name} was not made by Cellblock: it is not the panel's to destroy.")
    if (
        row.state == Jail.State.PENDING
        and row.operations.filter(status__in=Operation.OPEN, kind="jail_create").exists()
    ):
        raise Refused(f"{row.name} is being made: cancel that first.")
    if found.problem:
        raise Refused(f"{row.name}: {found.problem}")
    if found.running is not None and not found.stop_file:
        raise Refused(f"{row.name} runs, and no file tells how to stop it: stop it first.")


def _require_possible(facts: HostFacts, goes: _Goes) -> None:
    row = goes.found.row
    for dataset in goes.datasets:
        if dataset.name in facts.doubtful:
            raise Refused(f"The properties of {dataset.name} cannot be read safely: look at it on the host.")
        if dataset.name == row.dataset and dataset.mountpoint != row.path:
            raise Refused(f"{dataset.name} belongs at {dataset.mountpoint or 'no path'}, expected {row.path}.")
        if dataset.name != row.dataset and _is_elsewhere(dataset, row.path):
            raise Refused(f"{dataset.name} belongs at {dataset.mountpoint}, outside of the jail: move it first.")
    if mounts := power.foreign_mounts(goes.found, facts):
        raise Refused(f"{power.listed(mounts)} is mounted in its tree, and is not the jail's: unmount that first.")
    if kept := [snapshot.name for snapshot in goes.snapshots if snapshots.is_kept(snapshot)]:
        raise Refused(f"{power.listed(kept)} is kept: let it go first, on the page of its snapshots.")
    if held := [snapshot.name for snapshot in goes.snapshots if snapshot.userrefs]:
        raise Refused(f"{power.listed(held)} is held by somebody: release it first (zfs holds, zfs release).")
    if clones := _clones(facts, goes):
        raise Refused(f"{power.listed(clones)} is cloned from it, and would go with it: destroy that first.")
    if goes.found.running is not None and (why := power.why_not_stop(facts, goes.found, [goes.found])):
        raise Refused(f"{row.name}: {why}")


def _is_elsewhere(dataset: Dataset, path: str) -> bool:
    """Not one that a jail has got (jailed=on): its mount point is the jail's, and means a path inside."""
    at = dataset.mountpoint
    return not dataset.jailed and at.startswith("/") and at != path and not at.startswith(f"{path}/")


def _clones(facts: HostFacts, goes: _Goes) -> list[str]:
    """By the names that people know: `the jail www2`, `the template web`, or the dataset."""
    own = {dataset.name for dataset in goes.datasets}
    clones = {clone.name for dataset in goes.datasets for clone in facts.clones_of(dataset.name)} - own
    clones |= {clone for snapshot in goes.snapshots for clone in snapshot.clones} - own
    row = goes.found.row
    host = row.host
    # A tenant's members, who may destroy a jail, know no jails but their own.
    jails = {
        one.dataset: f"the jail {one.name}" if row.tenant_id in (None, one.tenant_id) else "another jail"
        for one in Jail.objects.filter(host=host, dataset__in=clones)
    }
    templates = dict(Template.objects.filter(host=host, dataset__in=clones).values_list("dataset", "name"))
    return [
        jails[name] if name in jails else f"the template {templates[name]}" if name in templates else name
        for name in sorted(clones)
    ]


def _what_goes(found: power.Found, facts: HostFacts) -> _Goes:
    row = found.row
    datasets: tuple[Dataset, ...] = ()
    if row.dataset and facts.dataset(row.dataset) is not None:
        own, problem = power.own_dataset(row, facts)
        if own is None:
            raise Refused(problem)
        datasets = (own, *facts.children(own.name))
    taken = tuple(snapshot for dataset in datasets for snapshot in facts.snapshots_of(dataset.name))
    folder, _, last = row.path.rpartition("/")
    tree = row.path if not row.dataset and facts.exists(folder, last) else ""
    try:
        state = facts.boot_state()
        boots, problem = state.mode == "list" and row.name in state.boots_today, ""
    except ValueError as error:
        boots, problem = False, str(error)
    return _Goes(found, datasets, taken, tree, facts.file(layout.config_path(row.name)), boots, problem)


# What is told


def _losses(goes: _Goes) -> Iterable[tuple[str, int]]:
    """Each thing that will be gone, with its size in bytes or 0."""
    row = goes.found.row
    for dataset in goes.datasets:
        own = dataset.name == row.dataset
        what = f"with all files in {row.path}" if own else "below it, with all its files"
        yield f"the dataset {dataset.name}, {what}", dataset.used - dataset.usedbychildren - dataset.usedbysnapshots
    for snapshot in goes.snapshots:
        yield f"the snapshot {snapshot.name}", snapshot.used
    if goes.tree:
        yield f"the tree {goes.tree}, with all its files", 0
    if goes.file is not None:
        yield layout.config_path(row.name), 0
    yield f"{layout.console_log(row.name)}, with older ones", 0
    for address in common.addresses_of(row):
        yield f"the address {address.ip}: it is free for others", 0
    if goes.boots:
        yield "its place in the list of what starts at boot", 0


def _size(size: int) -> str:
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size} bytes"


def _warnings(host: Host, facts: HostFacts, goes: _Goes) -> Iterable[str]:
    found = goes.found
    yield "This cannot be undone once its tree is being destroyed."
    if found.running is not None:
        yield f"{found.name} runs, and will be stopped."
        yield from filter(None, (power.host_addresses_lost(found, facts),))
    users = [one.name for one in facts.configured if found.name in dict(one.parameters).get("depend", ())]
    if users:
        yield f"{power.spoken(found, users)} depends on it by its name, and will not start without it."
    if goes.boot_problem:
        yield f"Take {found.name} out of the boot list by hand: {host.name}: {goes.boot_problem}."


def _resources(host: Host, goes: _Goes) -> tuple[str, ...]:
    row = goes.found.row
    locks = [layout.jail_lock(host, row.name), *common.address_locks(common.addresses_of(row))]
    locks += [layout.dataset_lock(host, row.dataset)] if row.dataset else []
    return tuple(dict.fromkeys(locks))


# Steps


def _steps(request: Request, goes: _Goes) -> Iterable[Step]:
    """In an order in which a failure leaves a jail that works, until nothing brings it back."""
    host, facts, found, row = request.host, request.facts, goes.found, goes.found.row
    if goes.boots:
        action = BootList(destroyed=(row.name,), order=facts.boot_state().boots_today)
        purpose = f"Start {row.name} no more when {host.name} boots"
        yield common.boot_step(host, facts, action, purpose=purpose, subject=row.name)
    if found.running is not None:
        yield from power.stop_steps(found, facts, back=True)
    yield from power.clear_steps(found, facts)
    if goes.file is not None:
        yield remove_file_step(row.name, layout.config_path(row.name), goes.file)
    if goes.datasets:
        yield from _dataset_steps(row, goes)
    if goes.tree:
        yield from _remove_tree_steps(request, row)
    yield from _remnants(row, facts)


def _dataset_steps(row: Jail, goes: _Goes) -> Iterable[Step]:
    """Unmounted first: while somebody keeps it busy it still has all its files, and can be mounted again."""
    inside = sorted(dataset.mountpoint for dataset in goes.datasets[1:] if dataset.mountpoint.startswith("/"))
    ours = (
        checks.dataset_property(row.dataset, layout.JAIL, str(row.uuid)),
        checks.dataset_property(row.dataset, "mountpoint", row.path),
        checks.mounted_below_only(row.path, *inside),
        checks.jail_absent(row.name),
    )
    yield Step(
        key="unmount",
        purpose=f"Unmount its dataset {row.dataset}",
        action=Run((zfs.unmount(row.dataset),)),
        done_when=(checks.dataset_property(row.dataset, "mounted", "no"),),
        undo=tuple(
            Undo(Run((zfs.mount(one.name),)), only_if=(ours[0], checks.dataset_property(one.name, "mounted", "no")))
            for one in goes.datasets
            if one.mounted
        ),
        requires=ours,
        seconds=120,
        ensure=True,
        attempts=BUSY_ATTEMPTS,
        in_use=row.path,
        subject=row.name,
    )
    yield Step(
        key="tree",
        purpose=f"Destroy its dataset {row.dataset}, with all that is below and all snapshots",
        action=Run((zfs.destroy(row.dataset, recursive=True),)),
        done_when=(checks.dataset_absent(row.dataset),),
        requires=(*ours, checks.unmounted(row.path)),
        seconds=common.REMOVE_SECONDS,
        irreversible=f"the files of {row.name} are gone, or going",
        attempts=3,
        subject=row.name,
    )


def _remove_tree_steps(request: Request, row: Jail) -> Iterable[Step]:
    draft = layout.draft_path(row.path, request.operation_id)
    back = Run((("sh", "-c", common.MOVE_NEW, "sh", draft, row.path),))
    yield Step(
        key="mounts",
        purpose=f"See that nothing is mounted in {row.path}, and that it does not run",
        action=Run((("mount", "-p"),)),
        done_when=(
            checks.unmounted(row.path),
            checks.nothing_mounted_below(row.path),
            checks.jail_absent(row.name),
        ),
        changes=False,
        attempts=3,
        seconds=30,
        subject=row.name,
    )
    purpose = "Put its tree out of the way, under a name that nobody else has"
    yield from common.move_steps(row.path, draft, purpose=purpose, capture="tree", undo=(back,))
    irreversible = f"the files of {row.name} are gone, or going"
    requires = (checks.nothing_mounted_below(draft), checks.unmounted(draft))
    yield Step(
        key="flags",
        purpose="Take off the flags that keep even root from removing files",
        action=Run((files.clear_flags(draft),)),
        requires=requires,
        seconds=common.REMOVE_SECONDS,
        irreversible=irreversible,
        subject=row.name,
    )
    yield Step(
        key="tree",
        purpose="Remove its files, and never what is mounted",
        action=Run((files.remove_tree(draft),)),
        done_when=(checks.path_absent(draft),),
        requires=requires,
        seconds=common.REMOVE_SECONDS,
        irreversible=irreversible,
        attempts=3,
        in_use=draft,
        subject=row.name,
    )


def _remnants(row: Jail, facts: HostFacts) -> Iterable[Step]:
    if row.dataset:
        yield Step(
            key="folder",
            purpose=f"Remove {row.path}, which is an empty folder now",
            action=Run((("sh", "-c", _REMOVE_FOLDER, "sh", row.path),)),
            requires=(checks.unmounted(row.path),),
            seconds=30,
            subject=row.name,
        )
    yield Step(
        key="log",
        purpose="Remove its console log, with older ones",
        action=Run((("sh", "-c", _REMOVE_LOGS, "sh", layout.console_log(row.name)),)),
        done_when=(checks.path_absent(layout.console_log(row.name)),),
        seconds=60,
        irreversible=f"the console log of {row.name} is gone",
        subject=row.name,
    )
    if facts.racct:
        yield Step(
            key="rctl",
            purpose="Remove its limits, which would hold for the next jail of that name",
            action=Run((("sh", "-c", _REMOVE_RULES, "sh", f"jail:{row.name}"),)),
            seconds=60,
            irreversible=f"the limits of {row.name} are gone",
            subject=row.name,
        )


kind = JailDestroy()
