"""Remove a template from a host. What jails come from keeps it there: clones need it, copies go on naming it.

What an operation that got stuck has left of one can be removed as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jails.freebsd import files, zfs
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset
from jails.models import Host, Operation, Template, Tenant
from jails.models.release import Storage
from jails.operations import checks, common, layout, power, templates
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Check, Plan, Run, Step, Undo
from jails.operations.wish import Wish


class TemplateRemove(Kind):
    name = "template_remove"
    action = "template.remove"

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        row = Template.objects.select_related("tenant").filter(host=host, pk=parameters["template"]).first()
        return row.tenant if row is not None else None

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        row = Template.objects.filter(host=host, pk=parameters["template"]).first()
        return f"Remove the template {row.name if row is not None else parameters['template']}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"template": wish.required_key("template")}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        facts.require("names", "mounts")
        row = templates.find(host, request.parameters["template"])
        _require_idle(row, request.operation_id)
        _require_unused(row)
        if row.storage == Storage.ZFS:
            datasets = _datasets(row, host, facts)
            steps, loses = _on_zfs(row, facts, datasets), _losses(datasets, facts)
            sizes = tuple(f"{dataset.name}: {dataset.used >> 20} MiB" for dataset in datasets)
        else:
            folders = _folders(row, facts)
            steps, loses, sizes = _on_ufs(request, row, folders), folders, ()
        gone = f"{row.name} is gone from {host.name} already: only its entry here is removed."
        return Plan(
            title=self.title(request.parameters, host),
            steps=steps,
            summary=(f"No jail can be made from {row.name} any more.",) if steps else (gone,),
            warnings=("It cannot be restored.",) if steps else (),
            loses=loses,
            sizes=sizes,
            resources=(
                layout.template_lock(host, row.name),
                *([layout.dataset_lock(host, row.dataset)] if row.dataset else []),
            ),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        row = Template.objects.filter(pk=operation.parameters["template"]).first()
        return ({"template": row.name} if row else {}), {}

    def reserve(self, operation: Operation) -> None:
        """From now on no jail is made from it."""
        key = operation.parameters["template"]
        row = Template.objects.select_for_update(of=("self",)).filter(host=operation.host, pk=key).first()
        if row is None:
            raise Refused({"template": "It is gone already."})
        _require_idle(row, str(operation.pk))
        _require_unused(row)
        row.state, row.operation = Template.State.REMOVING, operation
        row.save(update_fields=["state", "operation"])

    def finish(self, operation: Operation, plan: Plan) -> None:
        Template.objects.filter(operation=operation, pk=operation.parameters["template"]).delete()

    def release(self, operation: Operation) -> None:
        rows = Template.objects.filter(operation=operation, state=Template.State.REMOVING)
        rows.update(state=Template.State.READY, operation=None)


kind = TemplateRemove()


def _require_idle(row: Template, operation_id: str) -> None:
    """What an operation has that is under way is its own. One that got stuck goes on with nothing."""
    other = row.operation if row.operation_id and str(row.operation_id) != operation_id else None
    if other is not None and not other.has_ended:
        raise Refused({"template": f"{row.name}: {row.get_state_display().lower()} by “{other.title}”."})


def _require_unused(row: Template) -> None:
    names = list(row.descendants().order_by("name").values_list("name", flat=True))
    if names:
        raise Refused(
            {"template": f"{row.name} stays on {row.host.name}, for these come from it: {power.listed(names)}."}
        )


def _stuck(row: Template) -> list[str]:
    """The operations that got stuck while they made a template of this name: what they made has their id."""
    found = Operation.objects.filter(
        host=row.host, kind="template_create", status=Operation.Status.STUCK, parameters__name=row.name
    )
    return [str(key) for key in found.order_by("created_at").values_list("pk", flat=True)]


# On ZFS


def _datasets(row: Template, host: Host, facts: HostFacts) -> tuple[Dataset, ...]:
    """What is there of it, drafts last. Raises Refused where its dataset is not what the panel made."""
    stuck, found = _stuck(row), list[Dataset]()
    whole = row.dataset or layout.template_dataset(layout.pool_of(host, facts), row.name)
    dataset = facts.dataset(whole)
    if dataset is not None and row.dataset:
        templates.require_own_template(row, facts)
    if dataset is not None and (row.dataset or dataset.operation in stuck):
        found.append(dataset)
    for one in found:
        _require_alone(row, one, facts)
    return (*found, *(draft for key in stuck if (draft := facts.dataset(f"{whole}.{key}")) is not None))


def _require_alone(row: Template, dataset: Dataset, facts: HostFacts) -> None:
    if clones := facts.clones_of(dataset.name):
        names = power.listed([clone.name for clone in clones])
        raise Refused({"template": f"{row.name} stays as long as there are clones of it: {names}."})
    others = [one.name for one in facts.snapshots_of(dataset.name) if not one.operation]
    others += [child.name for child in facts.children(dataset.name)]
    if others:
        raise Refused({"template": f"{power.listed(others)} would go with it: remove what is not Cellblock's first."})


def _losses(datasets: Sequence[Dataset], facts: HostFacts) -> tuple[str, ...]:
    names = [[dataset.name, *(one.name for one in facts.snapshots_of(dataset.name))] for dataset in datasets]
    return tuple(name for group in names for name in group)


def _on_zfs(row: Template, facts: HostFacts, datasets: Sequence[Dataset]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for dataset in datasets:
        if "." in dataset.name.rpartition("/")[2]:
            steps.append(_destroy_draft(dataset.name))
        else:
            steps += _destroy(row, dataset, facts)
    return (*steps, _remove_folder(row.path)) if datasets else ()


def _destroy(row: Template, dataset: Dataset, facts: HostFacts) -> tuple[Step, ...]:
    """Unmounted first: while somebody keeps it busy, it can be mounted again and is whole."""
    name = dataset.name
    ours = checks.dataset_property(name, "cellblock:template", row.name)
    unmounted = checks.dataset_property(name, "mounted", "no")
    unmount = Step(
        key="unmount",
        purpose=f"Unmount its dataset {name}",
        action=Run((zfs.unmount(name),)),
        done_when=(unmounted,),
        undo=(Undo(Run((zfs.mount(name),)), only_if=(ours, unmounted)),) if dataset.mounted else (),
        requires=(ours,),
        ensure=True,
        in_use=row.path,
        seconds=60,
        attempts=3,
    )
    snapshots = (
        _gone(one.name, checks.snapshot_absent(one.name), (ours, checks.snapshot_unused(one.name)))
        for one in facts.snapshots_of(name)
    )
    return (unmount, *snapshots, _gone(name, checks.dataset_absent(name), (ours, unmounted)))


def _gone(name: str, gone: Check, requires: tuple[Check, ...]) -> Step:
    """Only what is named: a child, a snapshot or a clone that appeared meanwhile makes it fail."""
    return Step(
        key=f"destroy-{name}",
        purpose=f"Destroy {name}",
        action=Run((zfs.destroy(name),)),
        done_when=(gone,),
        requires=requires,
        irreversible=f"{name} is destroyed",
        seconds=300,
        attempts=3,
    )


def _destroy_draft(name: str) -> Step:
    """What never became a template goes whole; its name says whose it is."""
    return Step(
        key=f"destroy-{name}",
        purpose=f"Destroy {name}, which never became a template",
        action=Run((zfs.destroy(name, recursive=True),)),
        done_when=(checks.dataset_absent(name),),
        irreversible=f"{name} is destroyed",
        seconds=300,
        attempts=3,
    )


def _remove_folder(path: str) -> Step:
    """ZFS takes away a folder whose place is inherited; should it not, it is empty."""
    return Step(
        key="folder",
        purpose="Have no folder left where it was mounted",
        action=Run((files.remove_directory(path),)),
        done_when=(checks.path_absent(path),),
        ensure=True,
        seconds=30,
    )


# On UFS


def _folders(row: Template, facts: HostFacts) -> tuple[str, ...]:
    """What is there of it: its folder once it was made, and drafts whose name has the id of what made them."""
    whole = [row.path] if row.state != Template.State.PENDING and facts.exists(*row.path.rsplit("/", 1)) else []
    drafts = [layout.draft_path(row.path, key) for key in _stuck(row)]
    return (*whole, *(draft for draft in drafts if facts.exists(*draft.rsplit("/", 1))))


def _on_ufs(request: Request, row: Template, folders: Sequence[str]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for number, folder in enumerate(folders):
        steps += _remove_ufs(request, row, folder, number)
    return tuple(steps)


def _remove_ufs(request: Request, row: Template, folder: str, number: int) -> tuple[Step, ...]:
    """Renamed first, so that nobody unpacks half of it."""
    draft = f"{layout.draft_path(row.path, request.operation_id)}.{number}"
    moved = (checks.path_exists(draft), checks.path_absent(folder))
    back = Run((("sh", "-c", common.MOVE_NEW, "sh", draft, folder),))
    unflag = Step(
        key=f"flags-{number}",
        purpose="Take the flags off that not even root may remove files with",
        action=Run((files.clear_flags(draft),)),
        changes=False,
        seconds=templates.REMOVE_SECONDS,
    )
    return (
        Step(
            key=f"rename-{number}",
            purpose=f"Take its name from {folder}, so that no jail is made from it any more",
            action=Run((("sh", "-c", common.MOVE_NEW, "sh", folder, draft),)),
            done_when=moved,
            undo=(Undo(back, only_if=moved),),
            seconds=30,
        ),
        # A tree that is being worked on has such files; what is finished is an archive.
        *((unflag,) if folder != row.path else ()),
        Step(
            key=f"remove-{number}",
            purpose="Remove it",
            action=Run((files.remove_tree(draft),)),
            done_when=(checks.path_absent(draft),),
            requires=(checks.unmounted(draft), checks.nothing_mounted_below(draft)),
            irreversible=f"{folder} is removed",
            seconds=templates.REMOVE_SECONDS,
        ),
    )
