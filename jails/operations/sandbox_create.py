"""Make a sandbox: a copy of a jail as it was at a snapshot, without network, to try things in.

It is a clone, so it takes space only for what is changed in it, and the snapshot stays as long as the sandbox does. It
is a jail of the same tenant, counted as one and destroyed as one. It never gets an address: what it copies believes to
be the jail it was made from. So nobody reaches it with the keys of then: who enters is whoever may use its console. It
has some days, and is ended by the panel itself when they are over.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from jails import plans, selfservice
from jails.freebsd import names
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Snapshot
from jails.models import Host, Jail, Operation, User
from jails.operations import checks, common, jail_create, jailfile, layout, snapshots, trees
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import BootList, Plan, Step, Undo
from jails.operations.wish import QUOTA_MAX, QUOTA_MIN, Wish

DAYS, MOST_DAYS = 7, 30
"""How long a sandbox has until the panel ends it (jails.sandboxes), usually and at most."""


@dataclass(frozen=True)
class _Copy:
    """What is to be made: `snapshot` of `own` as the jail `name`."""

    request: Request
    own: snapshots.Own
    snapshot: Snapshot
    name: str
    dataset: str
    path: str

    @property
    def source(self) -> Jail:
        return self.own.row

    @property
    def uuid(self) -> str:
        return jail_create.uuid_of(self.request.operation_id)

    @property
    def limits(self) -> dict[str, int | None]:
        return limits_of(self.source, self.request.parameters["quota"])


def limits_of(source: Jail, quota: int | None) -> dict[str, int | None]:
    """Never more than the jail has that it is made from, and nothing that an administrator has widened for that."""
    level = source.limits.get("securelevel")
    return {
        "quota": quota,
        **{rule: source.limits[rule] for rule in jailfile.RULES if source.limits.get(rule) is not None},
        "children_max": 0,
        "securelevel": -1 if level is None else level,
        "enforce_statfs": 2,
    }


class SandboxCreate(Kind):
    name = "sandbox_create"
    action = "jail.sandbox"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        """The one that it is a copy of."""
        return common.find_jails(host, parameters)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Make the sandbox {parameters['name']} of {self.jails(host, parameters)[0].name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {
            "jail": wish.uuid("jail"),
            "snapshot": wish.text("snapshot", names.snapshot_reference_error),
            "name": wish.text("name", names.jail_name_error),
            "start": wish.flag("start"),
            "quota": wish.number("quota", QUOTA_MIN, QUOTA_MAX),
            "days": wish.number("days", 1, MOST_DAYS, default=DAYS),
        }
        wish.refuse_wrong()
        return cleaned

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        (source,) = self.jails(host, parameters)
        return plans.of_sandbox(source, limits_of(source, parameters["quota"]))

    def why_not_for(self, user: User, host: Host, parameters: Mapping[str, Any]) -> str:
        (source,) = self.jails(host, parameters)
        return " ".join(selfservice.why_not_sandbox(user, source, parameters).values())

    def plan(self, request: Request) -> Plan:
        copy = _look(request)
        host, wish = request.host, request.parameters
        file = _file(copy)
        later = common.with_file(request.facts, layout.config_path(copy.name), file.text())
        pool = copy.dataset.partition("/")[0]
        steps = (
            *common.ensure_jail_parents(host, request.operation_id, pool=pool, tenant=copy.source.tenant),
            *common.mount_point_steps(copy.path, request.operation_id),
            _clone(copy),
            common.write_file_step(file),
            *_start(copy),
            *_boot(copy, later),
        )
        return Plan(
            title=self.title(wish, host),
            steps=common.each_once(steps),
            summary=(
                f"A jail {copy.name}: {copy.source.name} as it was at {snapshots.when(copy.snapshot)}.",
                f"It has no network, {'is started' if wish['start'] else 'stays stopped'}, and does not start at boot.",
                f"{copy.source.name} stays as it is. The snapshot cannot be destroyed as long as {copy.name} is there.",
            ),
            warnings=(
                f"{copy.name} is destroyed by itself {_days(wish)} after it is made, with all that is in it, unless "
                "somebody gives it more time.",
                f"What {copy.source.name} does by itself, like cron jobs, {copy.name} does as well once it runs: "
                "without network, but with its own copy of all files.",
            ),
            resources=(
                *snapshots.locks(host, copy.source),
                layout.jail_lock(host, copy.name),
                layout.dataset_lock(host, copy.dataset),
            ),
            result=(("dataset", copy.dataset), ("path", copy.path), ("origin", copy.snapshot.name)),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"copy of": operation.parameters["snapshot"]}

    def reserve(self, operation: Operation) -> None:
        host, wish, made = operation.host, operation.parameters, dict(operation.plan["result"])
        assert host is not None
        (source,) = self.jails(host, wish)
        row = Jail.objects.create(
            host=host,
            uuid=jail_create.uuid_of(str(operation.pk)),
            state=Jail.State.PENDING,
            name=wish["name"],
            kind=Jail.Kind.SANDBOX,
            storage=source.storage,
            tenant=source.tenant,
            release=source.release,
            template=source.template,
            hostname=jail_create.as_hostname(wish["name"]),
            boot=False,
            limits=limits_of(source, wish["quota"]),
            path=made["path"],
            dataset=made["dataset"],
            origin=made["origin"],
            managed=True,
            touched=True,
        )
        operation.jails.add(row)

    def finish(self, operation: Operation, plan: Plan) -> None:
        Jail.objects.filter(uuid=jail_create.uuid_of(str(operation.pk))).update(
            config_path=layout.config_path(operation.parameters["name"]),
            state=Jail.State.RUNNING if operation.parameters["start"] else Jail.State.STOPPED,
            state_since=timezone.now(),
            expires_at=timezone.now() + timedelta(days=operation.parameters.get("days", DAYS)),
        )

    def release(self, operation: Operation) -> None:
        made = jail_create.uuid_of(str(operation.pk))
        Jail.objects.filter(uuid=made, state=Jail.State.PENDING).delete()


kind = SandboxCreate()


def _days(wish: Mapping[str, Any]) -> str:
    days = wish.get("days", DAYS)
    return "a day" if days == 1 else f"{days} days"


def _look(request: Request) -> _Copy:
    host, facts, wish = request.host, request.facts, request.parameters
    facts.require("files", "names", "mounts", "interfaces")
    source = snapshots.find_jail(host, wish)
    own = snapshots.look(source, facts)
    snapshot = own.find(wish["snapshot"])
    pool = source.dataset.partition("/")[0]
    try:
        path = layout.jail_path(host, wish["name"])
        names.require("path", layout.draft_path(path, f"{uuid.UUID(int=0)}.mount"), names.path_error)
        dataset = layout.jail_dataset(pool, source.tenant, wish["name"])
        names.require("dataset", dataset, names.dataset_error)
    except ValueError as error:
        raise Refused({"name": f"{error}"}) from error
    own_uuid = jail_create.uuid_of(request.operation_id)
    if taken := common.name_taken(host, facts, wish["name"], uuid=own_uuid, datasets=[dataset]):
        raise Refused({"name": taken if source.tenant is None else _without_names(host, source, wish["name"], taken)})
    return _Copy(request, own, snapshot, wish["name"], dataset, path)


def _without_names(host: Host, source: Jail, name: str, taken: str) -> str:
    """A tenant learns that a name is taken, and of whose jail only where that is its own."""
    own = Jail.objects.filter(host=host, tenant=source.tenant, name=name).exists()
    return taken if own else selfservice.NOT_AVAILABLE


def _file(copy: _Copy) -> jailfile.JailFile:
    return common.make_file(
        name=copy.name,
        uuid=copy.uuid,
        path=copy.path,
        hostname=jail_create.as_hostname(copy.name),
        addresses=(),
        limits=copy.limits,
    )


def _clone(copy: _Copy) -> Step:
    source = copy.source
    base = source.template or source.release
    made_from = {}
    if base is not None:
        is_template = source.template is not None
        made_from = {
            "cellblock:template" if is_template else "cellblock:release": base.name
            if is_template
            else f"{base.name}-{base.architecture}"
        }
    marks = {
        layout.OPERATION: copy.request.operation_id,
        layout.JAIL: copy.uuid,
        "cellblock:kind": Jail.Kind.SANDBOX.value,
        "cellblock:touched": "yes",
        "cellblock:source": source.name,
        **made_from,
    }
    quota = copy.limits["quota"]
    return trees.clone_step(
        copy.snapshot.name,
        copy.dataset,
        copy.path,
        marks | ({"quota": str(quota)} if quota else {}),
        purpose=f"Clone {snapshots.short(copy.snapshot)} of {source.name}: it takes space only for what is changed",
        requires=(checks.dataset_property(copy.snapshot.name, "creation", str(copy.snapshot.creation)),),
    )


def _start(copy: _Copy) -> tuple[Step, ...]:
    if not copy.request.parameters["start"]:
        return ()
    step = common.start_step(
        copy.name,
        copy.path,
        layout.config_path(copy.name),
        purpose=f"Start {copy.name}, and see that it runs",
        ours=True,
    )
    return (step,)


def _boot(copy: _Copy, later: HostFacts) -> tuple[Step, ...]:
    """Only where it would boot for being there, as with an empty jail_list."""
    name = copy.name
    if jail_create.boot_problem(later) or name not in later.boot_state().boots_today:
        return ()
    undo = (Undo(BootList(destroyed=(name,))),)
    purpose = f"Keep {name} from starting at boot"
    return (common.boot_step(copy.request.host, later, BootList(remove=(name,)), purpose=purpose, undo=undo),)
