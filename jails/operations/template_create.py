"""Make a template of a stopped jail: an independent copy of its tree, cleaned from inside.

The copy is a full one (zfs send | zfs receive, not a clone), so that the jail can still be destroyed. On UFS it is an
archive. What two systems must not share is always taken out. Where the template is not for the jail's own tenant, what
tells of those who had the jail goes as well.

The copy is made under a name that holds the operation's id, and has its own name only with the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jails.freebsd import cleaning, names, tar, zfs
from jails.hosts.facts import TEMPLATES, HostFacts
from jails.models import Host, HostFactsRecord, Jail, Operation, Template, Tenant
from jails.models.release import Storage
from jails.operations import checks, common, layout, templates
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish


class TemplateCreate(Kind):
    name = "template_create"
    action = "template.create"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        (row,) = self.jails(host, parameters)
        return f"Make the template {parameters['name']} of {row.name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {
            "jail": wish.uuid("jail"),
            "name": wish.text("name", names.jail_name_error),
            "tenant": wish.key("tenant"),
        }
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host, facts, wish = request.host, request.facts, request.parameters
        facts.require("jails", "names", "mounts")
        try:
            (row,) = self.jails(host, wish)
        except LookupError as error:
            raise Refused({"jail": f"{error}."}) from error
        tenant = common.find_tenant(wish["tenant"])
        _require_jail(row, facts)
        _require_tenant(row, tenant)
        _require_free(request, row)
        extent = cleaning.IDENTITY if row.tenant is not None and row.tenant == tenant else cleaning.EVERYTHING
        on_zfs = row.storage == Storage.ZFS
        steps = _on_zfs(request, row, extent) if on_zfs else _on_ufs(request, row, extent)
        dataset = _dataset(row, wish["name"]) if on_zfs else ""
        return Plan(
            title=self.title(wish, host),
            steps=common.each_once(steps),
            summary=_summary(row, wish["name"], tenant, extent),
            warnings=_warnings(row, facts, extent),
            notes=_notes(row, facts),
            resources=(
                layout.jail_lock(host, row.name),
                *templates.locks(host, wish["name"], request.operation_id),
                *([layout.dataset_lock(host, row.dataset)] if on_zfs else []),
            ),
            result=(("dataset", dataset), ("snapshot", layout.snapshot_of(dataset) if dataset else "")),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"template": operation.parameters["name"]}

    def reserve(self, operation: Operation) -> None:
        wish, host = operation.parameters, operation.host
        assert host is not None
        (row,) = self.jails(host, wish)
        Template.objects.filter(operation=operation, state=Template.State.PENDING).delete()
        Template.objects.create(
            host=host,
            name=wish["name"],
            architecture=_architecture(row),
            storage=row.storage,
            path=layout.template_path(wish["name"]),
            operation=operation,
            release=row.release or (row.template.release if row.template else None),
            tenant_id=wish["tenant"],
            source_jail=row.name[:63],
            touched=row.touched or row.tenant is not None,
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        made = dict(plan.result)
        template = Template.objects.get(operation=operation)
        (row,) = self.jails(template.host, operation.parameters)
        template.touched = template.touched or row.touched
        template.dataset, template.snapshot = made["dataset"], made["snapshot"]
        template.cleaned = templates.cleaned(operation)
        template.used = _used(template)
        template.state, template.operation = Template.State.READY, None
        template.save()

    def release(self, operation: Operation) -> None:
        Template.objects.filter(operation=operation, state=Template.State.PENDING).delete()


kind = TemplateCreate()


def _architecture(row: Jail) -> str:
    base = row.template or row.release
    return base.architecture if base is not None else row.host.architecture


def _used(template: Template) -> int:
    """Bytes, where ZFS tells."""
    record = HostFactsRecord.objects.filter(host=template.host).first() if template.dataset else None
    dataset = HostFacts.from_data(record.data).dataset(template.dataset) if record is not None else None
    return dataset.used if dataset is not None else 0


def _dataset(row: Jail, name: str) -> str:
    return layout.template_dataset(row.dataset.partition("/")[0], name)


# Whether it can be


def _require_jail(row: Jail, facts: HostFacts) -> None:
    if row.adoption:
        words = "was adopted: its tree is not known well enough to copy it."
        raise Refused({"jail": f"{row.name} {words}"})
    if not row.managed:
        raise Refused({"jail": f"{row.name} was not made by Cellblock: its tree is not known well enough to copy it."})
    if row.state == Jail.State.PENDING:
        raise Refused({"jail": f"{row.name} is being made."})
    templates.require_stopped(row, facts, "jail")
    if row.storage == Storage.ZFS:
        templates.require_own_dataset(row, facts, "jail")
        return
    folder, _, last = row.path.rpartition("/")
    if folder == facts.jail_root and not facts.exists(folder, last):
        raise Refused({"jail": f"{row.path} of {row.name} is gone."})


def _require_tenant(row: Jail, tenant: Tenant | None) -> None:
    """What a tenant has in a jail is not for others, unless an administrator publishes it."""
    if tenant is not None and row.tenant is not None and row.tenant != tenant:
        raise Refused({"tenant": f"{row.name} is {row.tenant}'s: its template can be theirs or nobody's."})


def _require_free(request: Request, row: Jail) -> None:
    host, facts, name = request.host, request.facts, request.parameters["name"]
    others = Template.objects.filter(host=host, name=name).exclude(operation_id=request.operation_id)
    if others.exists():
        raise Refused({"name": f"{host.name} has a template {name} already."})
    if facts.exists(TEMPLATES, name):
        raise Refused({"name": f"{layout.template_path(name)} is there on {host.name} already."})
    if row.storage != Storage.ZFS:
        return
    target = _dataset(row, name)
    if facts.dataset(target) is not None:
        raise Refused({"name": f"{target} is there on {host.name} already."})
    draft, source = _draft(row, request), facts.dataset(row.dataset)
    templates.require_names("name", f"{draft}@{_copied(request)}", f"{row.dataset}@{_copied(request)}")
    if source is not None and source.available < source.referenced:
        needs = f"{source.referenced >> 20} MiB"
        raise Refused({"name": f"{source.pool} has {source.available >> 20} MiB left; the copy needs {needs}."})


# What people read


def _summary(row: Jail, name: str, tenant: Tenant | None, extent: str) -> tuple[str, ...]:
    where = _dataset(row, name) if row.storage == Storage.ZFS else layout.template_archive(name)
    what = "ssh host keys, host ids, entropy and leases"
    if extent == cleaning.EVERYTHING:
        what = "keys, ids, passwords, histories, logs, mail and temporary files"
    for_whom = f"of {tenant}" if tenant else "of no tenant, until an administrator publishes it"
    return (
        f"{row.path} is copied to {where}. {row.name} stays as it is.",
        f"Taken out of the copy: {what}.",
        f"It is for jails {for_whom}.",
    )


def _warnings(row: Jail, facts: HostFacts, extent: str) -> tuple[str, ...]:
    warnings = []
    inside = [mount.path for mount in facts.mounted_below(row.path) if mount.path != row.path]
    if inside:
        warnings.append(f"Not in the template, for it is mounted: {', '.join(sorted(inside))}.")
    if extent == cleaning.EVERYTHING:
        warnings.append("Only what is known to hold secrets is taken out: files of applications stay as they are.")
    return tuple(warnings)


def _notes(row: Jail, facts: HostFacts) -> tuple[str, ...]:
    dataset = facts.dataset(row.dataset) if row.storage == Storage.ZFS else None
    return (f"The copy takes up to {dataset.referenced >> 20} MiB.",) if dataset is not None else ()


# Steps on ZFS


def _copied(request: Request) -> str:
    """The snapshot that is sent, on both sides. When it is there on the copy, the copy is complete."""
    return f"cellblock-{request.operation_id}"


def _draft(row: Jail, request: Request) -> str:
    return f"{_dataset(row, request.parameters['name'])}.{request.operation_id}"


def _on_zfs(request: Request, row: Jail, extent: str) -> tuple[Step, ...]:
    """Nothing has the name of the draft but what this operation makes: it holds the operation's id."""
    host, operation_id, name = request.host, request.operation_id, request.parameters["name"]
    draft, target = _draft(row, request), _dataset(row, name)
    path = f"{layout.template_path(name)}.{operation_id}"
    source, copied = f"{row.dataset}@{_copied(request)}", f"{draft}@{_copied(request)}"
    there = checks.dataset_exists(draft)
    # With its snapshots, whoever made them: they are of a tree that never became a template.
    discard = (Undo(Run((zfs.destroy(draft, recursive=True),)), only_if=(there,)),)
    drop = (Undo(Run((zfs.destroy(source),)), only_if=(checks.snapshot_ours(source, operation_id),)),)
    mark = {layout.OPERATION: operation_id}
    marks = {
        **mark,
        "cellblock:template": name,
        "cellblock:source": row.name,
        "cellblock:touched": "yes" if row.touched or row.tenant is not None else "no",
        **_belongings(request, row),
    }
    real = layout.snapshot_of(draft)
    final = layout.template_path(name)
    named = (checks.dataset_ours(target, operation_id), checks.snapshot_ours(layout.snapshot_of(target), operation_id))
    return (
        *common.ensure_bases(host, operation_id, TEMPLATES, pool=row.dataset.partition("/")[0]),
        Step(
            key="snapshot",
            purpose=f"Take a snapshot of {row.name}, to copy it as it is now",
            action=Run((zfs.snapshot(row.dataset, _copied(request), mark),)),
            done_when=(checks.snapshot_ours(source, operation_id),),
            undo=drop,
            seconds=60,
        ),
        Step(
            key="copy",
            purpose="Copy it, so that the template does not depend on the jail",
            action=Run((zfs.send(source), zfs.receive(draft))),
            done_when=(checks.snapshot_exists(copied),),
            undo=discard,
            again=discard,
            seconds=templates.COPY_SECONDS,
        ),
        Step(
            key="unsnapshot",
            purpose=f"Remove the snapshot from {row.name}",
            action=Run((zfs.destroy(source),)),
            done_when=(checks.snapshot_absent(source),),
            undo=drop,
            seconds=60,
            attempts=3,
        ),
        Step(
            key="mark",
            purpose="Mark the copy with what made it and which template it is",
            action=Run((zfs.set_properties(draft, marks),)),
            done_when=tuple(checks.dataset_property(draft, key, value) for key, value in marks.items()),
            undo=discard,
            seconds=60,
        ),
        templates.work_mount_step(draft, path),
        *templates.cleaning_steps(path, operation_id, extent, discard),
        *templates.work_unmount_steps(draft, path, discard),
        Step(
            key="forget",
            purpose="Remove the snapshot of what was not cleaned",
            action=Run((zfs.destroy(copied),)),
            done_when=(checks.snapshot_absent(copied), checks.only_snapshots(draft)),
            undo=discard,
            seconds=60,
        ),
        Step(
            key="real",
            purpose="Take the snapshot that jails are made from",
            action=Run((zfs.snapshot(draft, layout.SNAPSHOT, mark),)),
            done_when=(checks.snapshot_ours(real, operation_id),),
            undo=discard,
            seconds=60,
        ),
        *common.mount_point_steps(final, operation_id),
        Step(
            key="name",
            purpose="Make it real: give it its name",
            action=Run((zfs.rename(draft, target),)),
            done_when=named,
            undo=(Undo(Run((zfs.rename(target, draft),)), only_if=(*named, checks.dataset_absent(draft))), *discard),
            seconds=60,
        ),
        Step(
            key="mount-real",
            purpose="Mount it where templates are",
            action=Run((zfs.mount(target),)),
            done_when=(checks.dataset_property(target, "mounted", "yes"), checks.mounted(final)),
            undo=(Undo(Run((zfs.unmount(target),)), only_if=(*named, checks.mounted(final))),),
            ensure=True,
            seconds=60,
        ),
    )


def _belongings(request: Request, row: Jail) -> dict[str, str]:
    """Whose it is and what it comes from: for a database that is rebuilt from the hosts."""
    tenant = common.find_tenant(request.parameters["tenant"])
    release = row.release or (row.template.release if row.template else None)
    marks = {"cellblock:tenant": tenant.slug} if tenant is not None else {}
    return marks | ({"cellblock:release": f"{release.name}-{release.architecture}"} if release is not None else {})


# Steps on UFS


def _on_ufs(request: Request, row: Jail, extent: str) -> tuple[Step, ...]:
    name = request.parameters["name"]
    draft = templates.Draft(request.host, name, request.operation_id)
    path = layout.template_path(name)
    copy = Run((tar.create(tar.STDIO, row.path), tar.extract(tar.STDIO, draft.tree)))
    # The archive is all there is in it by then.
    remove = tuple(undo.action for undo in common.remove_tree(path, ()))
    return (
        *common.ensure_bases(request.host, request.operation_id, TEMPLATES),
        *draft.make_steps(),
        draft.fill_step(f"Copy the tree of {row.name}", copy),
        _still_stopped(row),
        *templates.cleaning_steps(draft.tree, request.operation_id, extent, draft.discard),
        *draft.pack_steps(),
        *common.move_steps(
            draft.folder, path, purpose="Make it real: give it its name", capture="template", undo=remove
        ),
    )


def _still_stopped(row: Jail) -> Step:
    text = 'if jls -j "$1" jid 2>/dev/null; then echo "$1 was started while it was copied" >&2; exit 1; fi'
    return Step(
        key="stopped",
        purpose=f"See that {row.name} was not started meanwhile",
        action=Run((("sh", "-c", text, "sh", row.name),)),
        changes=False,
        seconds=30,
    )
