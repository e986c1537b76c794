"""Remove a release from a host. Jails that were copied from it stay; those that are clones of it keep it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from jails.freebsd import files, zfs
from jails.hosts.facts import HostFacts
from jails.models import Host, Jail, Operation, Release, Template
from jails.models.release import Storage
from jails.operations import checks, common, layout
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish


class ReleaseRemove(Kind):
    name = "release_remove"
    action = "release.remove"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        row = Release.objects.filter(pk=parameters["release"]).first()
        return f"Remove {row.name if row is not None else 'a release'} from {host.name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"release": wish.required_key("release")}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        facts.require("names", "mounts")
        row = _find(host, request.parameters["release"], request.operation_id)
        _refuse_needed(row)
        steps = _on_zfs(facts, row) if row.storage == Storage.ZFS else _on_ufs(request, row)
        return Plan(
            title=self.title(request.parameters, host),
            steps=steps,
            summary=(
                f"{row.name} for {row.architecture} goes from {host.name}.",
                "Jails that were copied from it stay as they are.",
            )
            if steps
            else (f"{row.name} is gone from {host.name} already: only its entry here is removed.",),
            warnings=("It can be fetched again, and not restored.",) if steps else (),
            loses=(row.dataset or row.path,) if steps else (),
            resources=(layout.release_lock(host, row.name, row.architecture),),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        row = Release.objects.filter(pk=operation.parameters["release"]).first()
        return ({"release": row.name, "architecture": row.architecture} if row else {}), {}

    def reserve(self, operation: Operation) -> None:
        """From now on no jail is made from it."""
        row = Release.objects.select_for_update().filter(pk=operation.parameters["release"]).first()
        if row is None or row.state not in (Release.State.READY, Release.State.MISSING):
            raise Refused({"release": "It is gone, or something else is being done to it."})
        _refuse_needed(row)
        row.state, row.operation = Release.State.REMOVING, operation
        row.save()

    def finish(self, operation: Operation, plan: Plan) -> None:
        row = Release.objects.get(pk=operation.parameters["release"])
        # What descends from it goes on saying so.
        if Jail.objects.filter(release=row).exists() or Template.objects.filter(release=row).exists():
            row.state, row.operation, row.used = Release.State.MISSING, None, 0
            row.save()
        else:
            row.delete()

    def release(self, operation: Operation) -> None:
        rows = Release.objects.filter(operation=operation, state=Release.State.REMOVING)
        rows.update(state=Release.State.READY, operation=None)


def _find(host: Host, key: int, operation_id: str) -> Release:
    row = Release.objects.filter(host=host, pk=key).first()
    if row is None:
        raise Refused({"release": f"{host.name} has no such release."})
    under_way = row.state in (Release.State.PENDING, Release.State.REMOVING)
    if under_way and str(row.operation_id) != operation_id:
        raise Refused({"release": f"{row.name}: {row.get_state_display().lower()}."})
    return row


def _refuse_needed(row: Release) -> None:
    """By what the panel knows: clones of it, and what is being made from it."""
    being_made = Q(release=row, state=Jail.State.PENDING)
    needing = Jail.objects.filter(Q(origin=row.snapshot) | being_made if row.snapshot else being_made, host=row.host)
    names = [*needing.order_by("name").values_list("name", flat=True)]
    names += Template.objects.filter(release=row, state=Template.State.PENDING).values_list("name", flat=True)
    if names:
        raise Refused({"release": f"{', '.join(names[:8])} on {row.host.name} would be without it: it stays."})


def _on_zfs(facts: HostFacts, row: Release) -> tuple[Step, ...]:
    dataset = facts.dataset(row.dataset)
    if dataset is None:
        return ()
    mark = f"{row.name}-{row.architecture}"
    if not dataset.operation or dataset.marks.get("cellblock:release") != mark or dataset.mountpoint != row.path:
        raise Refused({"release": f"{row.dataset} is not as Cellblock made it: look at it on {row.host.name}."})
    if clones := facts.clones_of(row.dataset):
        names = ", ".join(clone.name for clone in clones[:8])
        raise Refused({"release": f"{names} are clones of {row.name}: it stays as long as they do."})
    others = [one.name for one in facts.snapshots_of(row.dataset) if one.name != row.snapshot]
    others += [child.name for child in facts.children(row.dataset)]
    if others:
        raise Refused({"release": f"{', '.join(others[:8])} would go with it: remove what is not Cellblock's first."})
    mark_again = {layout.OPERATION: dataset.operation}
    again = Run((zfs.snapshot(row.dataset, layout.SNAPSHOT, mark_again),))
    return (
        Step(
            key="snapshot",
            purpose="Take away the snapshot that made it real",
            action=Run((zfs.destroy(row.snapshot),)),
            requires=(checks.snapshot_unused(row.snapshot),),
            done_when=(checks.snapshot_absent(row.snapshot),),
            undo=(Undo(again, only_if=(checks.dataset_exists(row.dataset), checks.snapshot_absent(row.snapshot))),),
            seconds=120,
            attempts=3,
        ),
        Step(
            key="dataset",
            purpose="Remove the release",
            action=Run((zfs.destroy(row.dataset),)),
            requires=(
                checks.only_snapshots(row.dataset),
                checks.dataset_property(row.dataset, "cellblock:release", mark),
                checks.nothing_mounted_below(row.path),
            ),
            done_when=(checks.dataset_absent(row.dataset),),
            irreversible=f"{row.dataset} is destroyed",
            seconds=300,
            attempts=5,
            in_use=row.path,
        ),
        _remove_folder(row.path),
    )


def _remove_folder(path: str) -> Step:
    """ZFS takes away a folder whose place is inherited; should it not, it is empty."""
    return Step(
        key="folder",
        purpose="Have no folder left where it was mounted",
        action=Run((files.remove_directory(path),)),
        done_when=(checks.path_absent(path),),
        seconds=30,
        ensure=True,
    )


def _on_ufs(request: Request, row: Release) -> tuple[Step, ...]:
    """Renamed first, so that nobody unpacks half of it."""
    facts = request.facts
    if not facts.exists(*row.path.rsplit("/", 1)):
        return ()
    draft = layout.draft_path(row.path, request.operation_id)
    back = Undo(
        Run((("sh", "-c", common.MOVE_NEW, "sh", draft, row.path),)),
        only_if=(checks.path_exists(draft), checks.path_absent(row.path)),
    )
    return (
        Step(
            key="rename",
            purpose="Take its name away, so that no jail is made from it any more",
            action=Run((("sh", "-c", common.MOVE_NEW, "sh", row.path, draft),)),
            done_when=(checks.path_exists(draft), checks.path_absent(row.path)),
            undo=(back,),
            seconds=30,
        ),
        Step(
            key="remove",
            purpose="Remove the release",
            action=Run((files.remove_tree(draft),)),
            done_when=(checks.path_absent(draft),),
            irreversible=f"{row.path} is removed",
            seconds=300,
        ),
    )


kind = ReleaseRemove()
