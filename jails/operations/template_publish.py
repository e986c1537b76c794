"""Publish a template: take out what tells of those who had it, and give it to all tenants of its host.

The tree is cleaned where it is, from inside, and becomes real with a new snapshot of the same name. A template is what
its snapshot has; the tree beside it is nobody's until then, so one that was cleaned by half is never used. Jails that
were cloned before keep the old snapshot, renamed and marked to go with the last of them (zfs destroy -d): it is in no
folder that a jail could reach, and nobody makes jails of it any more. A copy into another dataset would be no safer,
and would leave the old one behind for as long as it has clones.

On UFS the tree is unpacked, cleaned and packed again, and the new archive takes the place of the old one in one rename.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from jails.freebsd import cleaning, files, tar, zfs
from jails.freebsd.command import argv
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Snapshot
from jails.models import Host, Operation, Template, Tenant
from jails.models.release import Storage
from jails.operations import checks, layout, power, templates
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Check, Plan, Run, Step, Undo
from jails.operations.wish import Wish

BEFORE = "before-"
"""How the snapshot of what was not cleaned is called, with the operation's id."""

# Only what was there when the operation began is replaced.
_REPLACE = """\
if [ -L "$2" ] || [ "$(stat -f %i "$2")" != "$3" ]; then
echo "$2: is not the file that it was when this began" >&2
exit 1
fi
mv -f "$1" "$2\""""


class TemplatePublish(Kind):
    name = "template_publish"
    action = "template.publish"

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        row = Template.objects.select_related("tenant").filter(host=host, pk=parameters["template"]).first()
        return row.tenant if row is not None else None

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        row = Template.objects.filter(host=host, pk=parameters["template"]).first()
        return f"Publish the template {row.name if row is not None else parameters['template']}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"template": wish.required_key("template")}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts = request.host, request.facts
        facts.require("jails", "names", "mounts")
        row = templates.find(host, request.parameters["template"])
        if row.published_at is not None:
            raise Refused({"template": f"{row.name} is published already."})
        if row.state != Template.State.READY:
            raise Refused({"template": f"{row.name} cannot be published: {row.get_state_display().lower()}."})
        steps = _on_zfs(request, row) if row.storage == Storage.ZFS else _on_ufs(request, row)
        whose = f"It is {row.tenant}'s now" if row.tenant is not None else "It is for nobody's jails now"
        dataset_lock = [layout.dataset_lock(host, row.dataset)] if row.dataset else []
        return Plan(
            title=self.title(request.parameters, host),
            steps=steps,
            summary=(
                f"{whose}; then every tenant of {host.name} may have jails made from it.",
                "Taken out: keys, ids, passwords, histories, logs, mail and temporary files.",
            ),
            warnings=(
                "Only what is known to hold secrets is taken out: files of applications stay, for all to read.",
                *_pinned(row, facts),
            ),
            loses=(f"the tree of {row.name} as it is now",),
            resources=(*templates.locks(host, row.name, request.operation_id), *dataset_lock),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        row = Template.objects.filter(pk=operation.parameters["template"]).first()
        named = {"template": row.name} if row else {}
        return {**named, "published": False}, {**named, "published": True}

    def finish(self, operation: Operation, plan: Plan) -> None:
        row = Template.objects.get(pk=operation.parameters["template"])
        found = templates.cleaned(operation)
        row.cleaned = [*row.cleaned, *(entry for entry in found if entry not in row.cleaned)]
        row.tenant, row.published_at = None, timezone.now()
        row.save(update_fields=["cleaned", "tenant", "published_at"])


kind = TemplatePublish()


def _pinned(row: Template, facts: HostFacts) -> tuple[str, ...]:
    clones = facts.clones_of(row.dataset) if row.dataset else ()
    if not clones:
        return ()
    names = power.listed([clone.name for clone in clones])
    return (f"{names} keep what they have of the tree as it is now, which goes with the last of them.",)


# On ZFS


def _on_zfs(request: Request, row: Template) -> tuple[Step, ...]:
    operation_id, dataset, real = request.operation_id, row.dataset, row.snapshot
    kept = _require_as_made(row, request.facts)
    made_by = kept[-1].operation
    before = f"{dataset}@{BEFORE}{operation_id}"
    templates.require_names("template", before)
    was, renamed = checks.snapshot_ours(real, made_by), checks.snapshot_ours(before, made_by)
    ours = checks.snapshot_ours(real, operation_id)
    # Left dirty it does no harm: the template is what its snapshot has.
    discard = (Undo(Run((zfs.rollback(real),)), only_if=(was,), tolerant=True),)
    older = [snapshot.name for snapshot in kept[:-1]]
    return (
        Step(
            key="as-it-is",
            purpose="Begin with the tree as its snapshot has it",
            action=Run((zfs.rollback(real),)),
            changes=False,
            seconds=120,
        ),
        *templates.cleaning_steps(row.path, operation_id, cleaning.EVERYTHING, discard),
        Step(
            key="before",
            purpose="Put the snapshot of what was not cleaned out of the way",
            action=Run((zfs.rename(real, before),)),
            done_when=(renamed,),
            undo=(Undo(Run((zfs.rename(before, real),)), only_if=(renamed, checks.snapshot_absent(real))),),
            seconds=60,
        ),
        Step(
            key="real",
            purpose="Take the snapshot that jails are made from",
            action=Run((zfs.snapshot(dataset, real.partition("@")[2], {layout.OPERATION: operation_id}),)),
            done_when=(ours, checks.only_snapshots(dataset, real, before, *older)),
            undo=(Undo(Run((zfs.destroy(real),)), only_if=(ours,)),),
            seconds=60,
        ),
        *(_let_go(name, ()) for name in older),
        _let_go(before, (renamed, ours)),
    )


def _require_as_made(row: Template, facts: HostFacts) -> tuple[Snapshot, ...]:
    """Its snapshots, oldest first: what an earlier try left, and last the one that is real. Raises Refused."""
    templates.require_own_template(row, facts)
    dataset = facts.dataset(row.dataset)
    if dataset is None or facts.dataset_at(row.path) != dataset:
        raise Refused({"template": f"{row.dataset} is not mounted on {row.path}: mount it first."})
    if facts.children(row.dataset):
        raise Refused({"template": f"There are datasets below {row.dataset}, which are no part of a template."})
    found = facts.snapshots_of(row.dataset)
    real = next((one for one in found if one.name == row.snapshot), None)
    if real is None or not real.operation:
        raise Refused({"template": f"{row.snapshot} is not as Cellblock made it."})
    left = [one for one in found if one.operation and one.name.startswith(f"{row.dataset}@{BEFORE}")]
    if others := [one.name for one in found if one is not real and one not in left]:
        raise Refused({"template": f"{power.listed(others)} would still show what is taken out: remove it first."})
    return (*left, real)


def _let_go(snapshot: str, requires: tuple[Check, ...]) -> Step:
    return Step(
        key=f"let-go-{snapshot.partition('@')[2]}",
        purpose="Let go of what was not cleaned; where it has clones it goes with the last of them",
        action=Run((zfs.destroy(snapshot, deferred=True),)),
        done_when=(checks.snapshot_let_go(snapshot),),
        requires=requires,
        irreversible="the tree as it was before is destroyed",
        ensure=True,
        seconds=120,
        attempts=3,
    )


# On UFS


def _on_ufs(request: Request, row: Template) -> tuple[Step, ...]:
    folder, _, name = row.path.rpartition("/")
    if not request.facts.exists(folder, name):
        raise Refused({"template": f"{row.path} is gone from {request.host.name}."})
    archive, draft = layout.template_archive(row.name), templates.Draft(request.host, row.name, request.operation_id)
    before = f"{draft.folder}/before.tar"
    placed = checks.inode_is(archive, "${cleaned}")
    replace = ("sh", "-c", _REPLACE, "sh", draft.archive, archive, "${original}")
    back = Run((argv("mv", "-f", before, archive),))
    return (
        _note("original", archive, "Note the inode number of its archive, to replace no other"),
        *draft.make_steps(),
        draft.fill_step(f"Unpack {row.name}", Run((tar.extract(archive, draft.tree),))),
        *templates.cleaning_steps(draft.tree, request.operation_id, cleaning.EVERYTHING, draft.discard),
        *draft.pack_steps(),
        _note(
            "cleaned", draft.archive, "Note the inode number of the new archive, which proves it is the one made here"
        ),
        Step(
            key="before",
            purpose="Keep the old archive until the new one is in its place",
            action=Run((argv("ln", archive, before),)),
            done_when=(checks.inode_is(before, "${original}"),),
            undo=draft.discard,
            seconds=30,
        ),
        Step(
            key="real",
            purpose="Put the new archive in its place",
            action=Run((replace,)),
            done_when=(placed,),
            undo=(Undo(back, only_if=(placed, checks.inode_is(before, "${original}"))),),
            seconds=30,
        ),
        Step(
            key="let-go",
            purpose="Remove the archive of what was not cleaned",
            action=Run((files.remove_tree(draft.folder),)),
            done_when=(checks.path_absent(draft.folder),),
            requires=(placed,),
            irreversible="the tree as it was before is removed",
            seconds=300,
            attempts=2,
        ),
    )


def _note(capture: str, path: str, purpose: str) -> Step:
    return Step(
        key=f"note-{capture}",
        purpose=purpose,
        action=Run((("stat", "-f", "%i", path),), captures=((capture, r"^([0-9]+)$"),)),
        changes=False,
        seconds=30,
    )
