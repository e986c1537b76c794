"""Snapshots of a jail: what kinds of operation that take, drop and use them have in common.

They are of the jail's own dataset, never of those below it. A snapshot carries which operation took it, whether that
was by hand or before something else (`cellblock:kind`), and what somebody wrote of it (`cellblock:note`). One that is
kept is held (zfs-hold(8)) with the panel's own tag, and `cellblock:kept` is the operation that did so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jails.freebsd import names, zfs
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset, Snapshot
from jails.models import Host, Jail, Operation, Template
from jails.models.release import Storage
from jails.operations import checks, common, layout, lifecycle, power, templates
from jails.operations.kind import Refused, Request
from jails.operations.step import Run, Step, Undo

KIND, NOTE, KEEP = "cellblock:kind", "cellblock:note", "cellblock:kept"
TAG = "cellblock"
"""Of the hold on what is kept. Holds of other tags are other people's."""
AUTOMATIC, BY_HAND = "automatic", "by hand"
KEPT = 3
"""Automatic snapshots of one jail that stay: taking another one drops the oldest."""
NOTE_MAX = 200
SECONDS = 60
DESTROY_SECONDS = 300


# What there is


@dataclass(frozen=True)
class Own:
    """The dataset of a jail with its snapshots, the oldest first."""

    row: Jail
    dataset: Dataset
    snapshots: tuple[Snapshot, ...]

    def find(self, name: str, field: str = "snapshot") -> Snapshot:
        """By what stands behind the “@”. Raises Refused where there is no such one."""
        found = next((one for one in self.snapshots if short(one) == name), None)
        if found is None:
            raise Refused({field: f"{self.row.name} has no snapshot {name}."})
        return found

    def newer(self, than: Snapshot) -> tuple[Snapshot, ...]:
        """What a rollback to it would destroy. Those of the same second may be: zfs(8) alone knows which came first."""
        return tuple(one for one in self.snapshots if one != than and one.creation >= than.creation)


def look(row: Jail, facts: HostFacts) -> Own:
    """Raises Refused for a jail that can have none: on UFS, not the panel's, or whose dataset is not as it was made."""
    if why := why_none(row):
        raise Refused(why)
    facts.require("zfs", "jails")
    templates.require_own_dataset(row, facts, "jail")
    dataset = facts.dataset(row.dataset)
    assert dataset is not None
    found = sorted(facts.snapshots_of(row.dataset), key=lambda one: (one.creation, one.name))
    return Own(row, dataset, tuple(found))


def why_none(row: Jail) -> str:
    """Why a jail has no snapshots, whatever its host says: a sentence, or ""."""
    if not row.managed:
        return power.why_not_ours(row)
    if row.storage != Storage.ZFS or not row.dataset:
        return f"{row.name} is on UFS, which has no snapshots that a jail could be put back to: only ZFS has."
    if row.state == Jail.State.PENDING:
        return f"{row.name} is being made."
    return ""


def short(snapshot: Snapshot) -> str:
    """What stands behind the “@”."""
    return snapshot.name.partition("@")[2]


def taken_at(snapshot: Snapshot) -> datetime:
    return datetime.fromtimestamp(snapshot.creation, UTC)


def when(snapshot: Snapshot) -> str:
    return f"{taken_at(snapshot):%Y-%m-%d %H:%M:%S} UTC"


def is_automatic(snapshot: Snapshot) -> bool:
    return snapshot.marks.get(KIND) == AUTOMATIC


def is_kept(snapshot: Snapshot) -> bool:
    """Whether somebody has kept it through the panel; one whose hold was released by hand is not any more."""
    return bool(snapshot.userrefs) and KEEP in snapshot.marks


def find_jail(host: Host, parameters: Mapping[str, Any]) -> Jail:
    """Raises Refused where it is gone."""
    try:
        (row,) = common.find_jails(host, parameters)
    except LookupError as error:
        raise Refused(f"{error}.") from error
    return row


def name_error(value: str) -> str | None:
    """Of a snapshot that is made by hand: `cellblock` is what makes a release or a template real."""
    if value == layout.SNAPSHOT or value.startswith(f"{layout.SNAPSHOT}-before-"):
        return f"“{value}” is a name that Cellblock itself gives: choose another one."
    return names.snapshot_name_error(value)


def note_error(value: str) -> str | None:
    return names.text_error(value, NOTE_MAX)


# What stands in the way


def refuse_in_use(own: Own, snapshots: Iterable[Snapshot], what: str, field: str = "") -> None:
    """Raises Refused where one of them has clones, or is held: it could not go."""
    snapshots = list(snapshots)
    clones = sorted({clone for one in snapshots for clone in one.clones})
    if clones:
        raise Refused({field: f"{what}: {_spoken_clones(own.row, clones)} is made from it. Destroy that first."})
    if kept := [short(one) for one in snapshots if is_kept(one)]:
        raise Refused({field: f"{what}: {power.listed(kept)} is kept. Let it go first."})
    if held := [short(one) for one in snapshots if one.userrefs]:
        words = f"{power.listed(held)} is held by somebody (zfs holds): it stays until that is released."
        raise Refused({field: f"{what}: {words}"})


def _spoken_clones(row: Jail, datasets: Sequence[str]) -> str:
    """By the names that people know. A tenant learns of no jail but its own."""
    rows = Jail.objects.filter(host=row.host_id, dataset__in=datasets)
    known = {one.dataset: f"the jail {one.name}" for one in rows if row.tenant_id in (None, one.tenant_id)}
    if row.tenant_id is None:
        bases = Template.objects.filter(host=row.host_id, dataset__in=datasets)
        known |= {one.dataset: f"the template {one.name}" for one in bases}
        return power.listed([known.get(name, name) for name in datasets])
    return power.listed([*known.values(), *(["something else"] if len(known) < len(datasets) else [])])


# Steps


def take_step(
    request: Request, row: Jail, name: str, *, kind: str, note: str = "", purpose: str = "", key: str = "snapshot"
) -> Step:
    full = f"{row.dataset}@{name}"
    templates.require_names("name", full)
    marks = {layout.OPERATION: request.operation_id, KIND: kind, **({NOTE: note} if note else {})}
    ours = checks.snapshot_ours(full, request.operation_id)
    return Step(
        key=key,
        purpose=purpose or f"Take the snapshot {name} of {row.name}",
        action=Run((zfs.snapshot(row.dataset, name, marks),)),
        done_when=(ours,),
        undo=(Undo(Run((zfs.destroy(full),)), only_if=(ours,)),),
        seconds=SECONDS,
        subject=row.name,
    )


def drop_step(row: Jail, snapshot: Snapshot, *, purpose: str = "") -> Step:
    """Only where it still is the one that the plan was made for, and nothing needs it."""
    return Step(
        key=f"drop-{short(snapshot)}",
        purpose=purpose or f"Destroy the snapshot {short(snapshot)} of {row.name}",
        action=Run((zfs.destroy(snapshot.name),)),
        done_when=(checks.snapshot_absent(snapshot.name),),
        requires=(
            checks.dataset_property(snapshot.name, "creation", str(snapshot.creation)),
            checks.snapshots_free(snapshot.dataset, snapshot.name),
        ),
        seconds=DESTROY_SECONDS,
        attempts=3,
        irreversible=f"the snapshot {short(snapshot)} is gone",
        subject=row.name,
    )


def keep_steps(request: Request, row: Jail, snapshot: Snapshot) -> tuple[Step, ...]:
    """The mark first: a hold without it would look like another one's."""
    full, ours = snapshot.name, checks.dataset_property(snapshot.name, KEEP, request.operation_id)
    held = checks.snapshot_held(full, TAG)
    same = checks.dataset_property(full, "creation", str(snapshot.creation))
    return (
        Step(
            key="mark",
            purpose=f"Note on {short(snapshot)} that it is kept",
            action=Run((zfs.set_properties(full, {KEEP: request.operation_id}),)),
            done_when=(ours,),
            undo=(Undo(Run((zfs.inherit(KEEP, full),)), only_if=(ours,)),),
            requires=(same,),
            seconds=SECONDS,
            subject=row.name,
        ),
        Step(
            key="hold",
            purpose=f"Hold {short(snapshot)}, so that nothing can destroy it",
            action=Run((zfs.hold(TAG, full),)),
            done_when=(held,),
            undo=(Undo(Run((zfs.release(TAG, full),)), only_if=(held, ours)),),
            requires=(same,),
            seconds=SECONDS,
            subject=row.name,
        ),
    )


def let_go_steps(row: Jail, snapshot: Snapshot) -> tuple[Step, ...]:
    """Each may have been done by hand already."""
    full, kept_by = snapshot.name, snapshot.marks[KEEP]
    held, marked = checks.snapshot_held(full, TAG), checks.dataset_property(full, KEEP, kept_by)
    return (
        Step(
            key="release",
            purpose=f"Release the hold on {short(snapshot)}",
            action=Run((zfs.release(TAG, full),)),
            done_when=(checks.is_not(held),),
            undo=(Undo(Run((zfs.hold(TAG, full),)), only_if=(marked, checks.is_not(held))),),
            ensure=True,
            seconds=SECONDS,
            subject=row.name,
        ),
        Step(
            key="unmark",
            purpose=f"Take off {short(snapshot)} the note that it is kept",
            action=Run((zfs.inherit(KEEP, full),)),
            done_when=(checks.is_not(marked),),
            ensure=True,
            seconds=SECONDS,
            subject=row.name,
        ),
    )


# Before something that is risky


def automatic_name(operation_id: str, what: str) -> str:
    return f"{layout.SNAPSHOT}-before-{what}-{operation_id[:8]}"


def before_steps(request: Request, row: Jail, what: str) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """First and last steps of a plan: a snapshot before it begins; and once all is done, the oldest automatic ones go.

    `what`: one word of what is done (change). Raises Refused as `look` does.
    """
    own = look(row, request.facts)
    words = f"Take a snapshot of {row.name} first, to put it back to"
    name = automatic_name(request.operation_id, what)
    step = take_step(request, row, name, kind=AUTOMATIC, purpose=words, key="snapshot-before")
    mine = [one for one in own.snapshots if is_automatic(one) and one.operation != request.operation_id]
    over = [one for one in mine if not one.clones and not one.userrefs][: max(0, len(mine) + 1 - KEPT)]
    drop = tuple(
        drop_step(row, one, purpose=f"Destroy {short(one)}: of automatic snapshots the last {KEPT} are kept")
        for one in over
    )
    return (step,), drop


# Rows


def note_count(operation: Operation, row: Jail) -> None:
    """For `finish`: so that plans count at once what the next refresh would, from what the operation saw last."""
    assert operation.host is not None
    count = len(lifecycle.facts_of(operation.host).snapshots_of(row.dataset))
    Jail.objects.filter(pk=row.pk).update(snapshots=count)


def locks(host: Host, row: Jail) -> tuple[str, ...]:
    return (layout.jail_lock(host, row.name), layout.dataset_lock(host, row.dataset))
