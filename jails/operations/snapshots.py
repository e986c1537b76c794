"""Snapshots of a jail: what kinds of operation that take, drop and use them have in common.

They are of the jail's own dataset, never of those below it. A snapshot carries which operation took it, whether that
was by hand or before something else (`cellblock:kind`), and what somebody wrote of it (`cellblock:note`). One that is
kept is held (zfs-hold(8)) with the panel's own tag, and `cellblock:kept` is the operation that did so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from jails import plans, policy
from jails.freebsd import names, zfs
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset, Snapshot
from jails.models import Host, Jail, Operation, Template
from jails.models.agreement import Side
from jails.models.release import Storage
from jails.operations import checks, common, layout, lifecycle, power, templates
from jails.operations.kind import SNAPSHOT_FIRST, Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish

KIND, NOTE, KEEP = "cellblock:kind", "cellblock:note", "cellblock:kept"
TAG = "cellblock"
"""Of the hold on what is kept. Holds of other tags are other people's."""
AUTOMATIC, BY_HAND = "automatic", "by hand"
KEPT = 3
"""Automatic snapshots of one jail and one kind of operation that stay: taking another one drops the oldest.

Of one kind: who may only give keys must not be able to push out, key by key, what was taken before others' changes.
"""
NOTE_MAX = 200
SECONDS = 60
DESTROY_SECONDS = 300


# What there is


class OfOne(Kind):
    """A kind of operation with one snapshot of one jail: `jail` and `snapshot`, the name behind the “@”."""

    action = "jail.snapshot"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jail": wish.uuid("jail"), "snapshot": wish.text("snapshot", names.snapshot_reference_error)}
        wish.refuse_wrong()
        return cleaned


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


def kept_for_the_host(row: Jail) -> dict[str, str]:
    """Name of a snapshot → who kept it last, where only those who run the host may let it go.

    That is so unless it was somebody of its tenant's team who does not run the host: what staff keep outlasts their
    posts and accounts. As the panel's own rows say: a mark anybody on the host may have written. Some may have been let
    go since.
    """
    kept = row.operations.filter(kind="snapshot_hold", status=Operation.Status.DONE).order_by("finished_at")
    rows = kept.select_related("confirmed_by").only("parameters", "confirmed_by")
    last = {one.parameters["snapshot"]: one.confirmed_by for one in rows}
    people = {user for user in last.values() if user is not None}
    team = {user for user in people if policy.is_viewer(user, row) and not policy.works_for(user, Side.HOST, row)}
    return {name: str(user or "somebody who is gone") for name, user in last.items() if user not in team}


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


def first_parameter(kind: str) -> str:
    """Which parameter of such a kind asks for it: true, or false where it was to be left out."""
    return "snapshot" if kind == "jail_change" else "snapshot_first"


def clean_first(kind: str, wish: Wish) -> dict[str, Any]:
    """What a wish says of it. `instead`: names of automatic snapshots that go, to make room for it in a plan."""
    name, cleaned = first_parameter(kind), dict[str, Any]()
    if kind not in SNAPSHOT_FIRST:
        return cleaned
    if name in wish.given and (wish.flag(name) or name != "snapshot"):
        cleaned[name] = bool(wish.given[name])
    if "instead" in wish.given:
        given = wish.take("instead")
        if not isinstance(given, (list, tuple)) or not all(
            isinstance(one, str) and not names.snapshot_reference_error(one) for one in given
        ):
            wish.wrong("instead", "must be a list of names of snapshots.")
        else:
            cleaned["instead"] = list(dict.fromkeys(given))
    return cleaned


def ask_first(
    kind: str, parameters: Mapping[str, Any], row: Jail | None, found: Callable[[], Iterable[Snapshot]]
) -> dict[str, Any]:
    """A wish as a person sends it, with a snapshot first where that is so by the table and the wish says nothing of it.

    Where the plan of its tenant has no room left, an automatic one of the jail goes for it, never a person's: the
    oldest of the same kind, else the oldest. Where there is none, it is left out, and the plan says so. found: the
    jail's snapshots, as its host was last seen.
    """
    name, wanted = first_parameter(kind), dict(parameters)
    if kind not in SNAPSHOT_FIRST or row is None or why_none(row) or not _overwrites(kind, parameters):
        return wanted
    if not wanted.get(name, kind != "jail_change") or "instead" in wanted:
        return wanted
    if plans.has_room_for_snapshot(row.tenant):
        return wanted | {name: True}
    could_go = [one for one in found() if _may_be_dropped(one) and not _is_used(one, kind, parameters)]
    if could_go:
        oldest = min(could_go, key=lambda one: (_is_of_another_kind(one, kind), _age(one)))
        return wanted | {name: True, "instead": [short(oldest)]}
    return wanted if kind == "jail_change" else wanted | {name: False}


def _overwrites(kind: str, wish: Mapping[str, Any]) -> bool:
    if kind == "file_restore":
        return wish.get("how") == "replace"
    return bool(wish.get("keys")) if kind == "keys_change" else True


def _age(snapshot: Snapshot) -> tuple[int, str]:
    return (snapshot.creation, snapshot.name)


def _may_be_dropped(snapshot: Snapshot) -> bool:
    return is_automatic(snapshot) and not snapshot.clones and not snapshot.userrefs


def _is_of_another_kind(snapshot: Snapshot, kind: str) -> bool:
    """Whether its name says that it was taken before another kind of operation."""
    return any(short(snapshot).startswith(_prefix(what)) for one, what in SNAPSHOT_FIRST.items() if one != kind)


def _is_used(snapshot: Snapshot, kind: str, wish: Mapping[str, Any]) -> bool:
    """Whether the operation itself takes something out of it."""
    return kind == "file_restore" and short(snapshot) == wish.get("snapshot")


def with_first(request: Request, kind: str, row: Jail, plan: Plan, *, at_end: bool = True) -> Plan:
    """The plan with its snapshot first, as its wish has it; without one, with the reason for who reads it.

    at_end: whether old automatic ones go once all is done; else before, where nothing may fail behind the last step.
    Raises Refused as `look` does.
    """
    asked = request.parameters.get(first_parameter(kind))
    if not asked:
        why = "" if asked is None else _why_no_first(row)
        return replace(plan, notes=(*plan.notes, why)) if why else plan
    instead = request.parameters.get("instead", ())
    first, last, gone = _before_steps(request, row, kind, instead, at_end=at_end)
    return replace(
        plan,
        steps=(*first, *plan.steps, *last),
        loses=(*plan.loses, *(f"the automatic snapshot {short(one)}, of {when(one)}" for one in gone)),
        resources=tuple(dict.fromkeys((*plan.resources, *locks(request.host, row)))),
    )


def _why_no_first(row: Jail) -> str:
    if plans.has_room_for_snapshot(row.tenant):
        return f"No snapshot of {row.name} is taken first, as was asked for."
    return (
        f"No snapshot of {row.name} is taken first: the plan of {row.tenant} has no room for one, and there is no "
        "automatic one that could go for it. Destroy one that is not needed to have one taken."
    )


def automatic_name(operation_id: str, what: str) -> str:
    return f"{_prefix(what)}{operation_id[:8]}"


def _prefix(what: str) -> str:
    return f"{layout.SNAPSHOT}-before-{what}-"


def _before_steps(
    request: Request, row: Jail, kind: str, instead: Sequence[str], *, at_end: bool
) -> tuple[tuple[Step, ...], tuple[Step, ...], list[Snapshot]]:
    """First and last steps of a plan: a snapshot before it begins; and once all is done, the oldest automatic ones go.

    What goes `instead` goes before: also those, as the third.
    """
    own = look(row, request.facts)
    gone = [own.find(name, "instead") for name in instead]
    for one in gone:
        if not _may_be_dropped(one):
            raise Refused({"instead": f"{short(one)} is no automatic snapshot that can go: plan it again."})
        if _is_used(one, kind, request.parameters):
            raise Refused({"instead": f"{short(one)} is what the file is taken from: it cannot go for another one."})
    words = f"Take a snapshot of {row.name} first, to put it back to"
    name = automatic_name(request.operation_id, SNAPSHOT_FIRST[kind])
    step = take_step(request, row, name, kind=AUTOMATIC, purpose=words, key="snapshot-before")
    others = [one for one in own.snapshots if one not in gone and one.operation != request.operation_id]
    mine = [one for one in others if is_automatic(one) and not _is_of_another_kind(one, kind)]
    over = [one for one in mine if _may_be_dropped(one)][: max(0, len(mine) + 1 - KEPT)]
    # Who takes one file out of it may want more.
    over = [one for one in over if not _is_used(one, kind, request.parameters)]
    kept = f"of automatic snapshots the last {KEPT} are kept for each kind of change"
    drop = tuple(drop_step(row, one, purpose=f"Destroy {short(one)}: {kept}") for one in over)
    room = [drop_step(row, one, purpose=f"Destroy {short(one)}, to make room in the plan") for one in gone]
    if not at_end:
        room, drop, gone = [*room, *drop], (), [*gone, *over]
    # That they are gone keeps nobody from undoing what comes after.
    room = [replace(one, irreversible="") for one in room]
    return (*room, step), drop, gone


# Rows


def note_count(operation: Operation, row: Jail) -> None:
    """For `finish`: so that plans count at once what the next refresh would, from what the operation saw last."""
    assert operation.host is not None
    count = len(lifecycle.facts_of(operation.host).snapshots_of(row.dataset))
    Jail.objects.filter(pk=row.pk).update(snapshots=count)


def locks(host: Host, row: Jail) -> tuple[str, ...]:
    return (layout.jail_lock(host, row.name), layout.dataset_lock(host, row.dataset))
