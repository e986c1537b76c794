"""zfs create, clone, snapshot, destroy, rollback, promote, rename (lib/libzfs/libzfs_dataset.c, cmd/zfs/zfs_main.c)."""

from __future__ import annotations

from collections.abc import Sequence

from . import mounting, names, space
from .env import Env
from .errors import UsageError, ZfsError, expect_operands, options
from .model import Record, Zfs, filesystem_of, parent_of
from .setting import apply_values, check_limits, checked_values, parse_assignments


def open_dataset(zfs: Zfs, env: Env, name: str, types: str = "fvs") -> Record:
    """The record called `name`, of one of the types, or the error of zfs_open()."""
    complaint = f"cannot open '{name}'"
    problem = names.problem(name, snapshot="s" in types and ("@" in name or types == "s"), modifying=False)
    if problem:
        raise ZfsError(f"{complaint}: {problem}")
    found = zfs.find(name)
    if found is None or not env.visible(zfs, name):
        raise ZfsError(f"{complaint}: dataset does not exist")
    letter = "s" if "@" in name else "v" if found["type"] == "volume" else "f"
    if letter not in types:
        raise ZfsError(f"{complaint}: operation not applicable to datasets of this type")
    return found


def check_parents(zfs: Zfs, env: Env, name: str, ancestors: bool = False) -> None:
    """The place for a new dataset, as check_parents() wants it; with `ancestors` any existing one above will do."""
    complaint = f"cannot create '{name}'"
    parent = parent_of(name)
    if not parent:
        raise ZfsError(f"{complaint}: missing dataset name")
    pool = name.partition("/")[0]
    if pool not in zfs.datasets:
        raise ZfsError(f"{complaint}: no such pool '{pool}'")
    while ancestors and parent not in zfs.datasets:
        parent = parent_of(parent)
    if parent not in zfs.datasets:
        raise ZfsError(f"{complaint}: parent does not exist")
    if zfs.datasets[parent]["type"] != "filesystem":
        raise ZfsError(f"{complaint}: parent is not a filesystem")
    if env.jail is not None and not env.delegated(zfs, parent):
        raise ZfsError(f"{complaint}: permission denied")


def create_ancestors(zfs: Zfs, env: Env, name: str) -> None:
    """The missing filesystems above `name`, mounted."""
    check_parents(zfs, env, name, ancestors=True)
    missing = []
    at = parent_of(name)
    while at not in zfs.datasets:
        missing.append(at)
        at = parent_of(at)
    for one in reversed(missing):
        new_filesystem(zfs, env, one, {})
        mounting.mount_new(zfs, env, one)


def new_filesystem(zfs: Zfs, env: Env, name: str, values: Record) -> Record:
    """An empty filesystem of these property values, not mounted."""
    _refuse_full(zfs, name, f"cannot create '{name}'")
    record = zfs.add_dataset(name)
    env.make_tree(record["id"])
    _finish(zfs, env, name, record, values)
    return record


def _finish(zfs: Zfs, env: Env, name: str, record: Record, values: Record) -> None:
    apply_values(record, values)
    env.measure(zfs, name)
    try:
        check_limits(zfs, name, values, creating=True)
    except ZfsError:
        del zfs.datasets[name]
        env.drop_tree(record["id"])
        raise


def _refuse_full(zfs: Zfs, name: str, complaint: str) -> None:
    parent = parent_of(name)
    why = space.refusal(zfs, parent, space.empty_size(zfs)) if parent in zfs.datasets else None
    if why:
        raise ZfsError(f"{complaint}: out of space")


def create(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "PV:b:nso:puv")
    flags = {letter for letter, _ in found}
    assignments = parse_assignments([value for letter, value in found if letter == "o"])
    volume = dict(found).get("V")
    expect_operands(operands, "volume" if volume else "filesystem")
    if {"b", "s"} & flags and not volume:
        raise UsageError("'-s' and '-b' can only be used when creating a volume")
    name = operands[0]
    with env.changing() as zfs:
        if "p" in flags and not names.problem(name):
            if name in zfs.datasets:
                return 0
            create_ancestors(zfs, env, name)
        _check_new(zfs, env, name)
        if name in zfs.datasets:
            raise ZfsError(f"cannot create '{name}': dataset already exists")
        if volume:
            _create_volume(zfs, env, name, volume, dict(found), assignments)
            return 0
        values = checked_values(zfs, assignments, "f", f"cannot create '{name}'")
        if "n" not in flags:
            new_filesystem(zfs, env, name, values)
        if {"v", "P"} & flags:
            env.out(f"create\t{name}\n" if "P" in flags else f"{'would ' if 'n' in flags else ''}create {name}\n")
    if {"u", "n"} & flags:
        return 0
    return _mount_made(env, name)


def _mount_made(env: Env, name: str) -> int:
    """Mount what was made; a step of its own, as zfs(8) makes and mounts with two system calls."""
    with env.changing() as zfs:
        return mounting.mount_new(zfs, env, name) if name in zfs.datasets else 0


def _check_new(zfs: Zfs, env: Env, name: str) -> None:
    problem = names.problem(name)
    if problem:
        raise ZfsError(f"cannot create '{name}': {problem}")
    check_parents(zfs, env, name)


def _create_volume(
    zfs: Zfs, env: Env, name: str, size_text: str, flags: dict[str, str], assignments: dict[str, str]
) -> None:
    from . import numbers

    try:
        size = numbers.parse(size_text)
    except ValueError as error:
        raise ZfsError(f"bad volume size '{size_text}': {error}") from None
    block = int(zfs.properties.table["volblocksize"].default)
    if "b" in flags:
        block = numbers.parse(flags["b"])
    values = checked_values(zfs, assignments, "v", f"cannot create '{name}'")
    size = -(-size // block) * block
    if size == 0:
        raise ZfsError(f"cannot create '{name}': volume size cannot be zero")
    values |= {"volsize": size, "volblocksize": block}
    if "s" not in flags:
        values.setdefault("refreservation", space.volume_reservation(size, block))
    record = zfs.add_dataset(name, "volume")
    record["space"] = {"refer": 12288, "dataset": 12288, "snapshots": 0, "written": 12288}
    if space.refusal(zfs, parent_of(name), int(values.get("refreservation", 0))):
        del zfs.datasets[name]
        raise ZfsError(f"cannot create '{name}': out of space")
    env.make_tree(record["id"])
    apply_values(record, values)


def clone(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "o:p")
    assignments = parse_assignments([value for letter, value in found if letter == "o"])
    expect_operands(operands, "source dataset", "target dataset")
    source, target = operands
    with env.changing() as zfs:
        snapshot = open_dataset(zfs, env, source, "s")
        if any(letter == "p" for letter, _ in found) and not names.problem(target):
            if target in zfs.datasets:
                return 0
            create_ancestors(zfs, env, target)
        _check_new(zfs, env, target)
        values = checked_values(zfs, assignments, "f", f"cannot create '{target}'")
        if target in zfs.datasets:
            raise ZfsError(f"cannot create '{target}': dataset already exists")
        if target.partition("/")[0] != filesystem_of(source).partition("/")[0]:
            raise ZfsError(f"cannot create '{target}': source and target pools differ")
        _refuse_full(zfs, target, f"cannot create '{target}'")
        type_ = zfs.datasets[filesystem_of(source)]["type"]
        record = zfs.add_dataset(target, type_, snapshot["id"])
        env.copy_tree(snapshot["id"], record["id"])
        _finish(zfs, env, target, record, values)
    return _mount_made(env, target)


def snapshot(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "ro:")
    recursive = any(letter == "r" for letter, _ in found)
    assignments = parse_assignments([value for letter, value in found if letter == "o"])
    if not operands:
        raise UsageError("missing snapshot argument")
    with env.changing() as zfs:
        wanted = _snapshot_names(zfs, env, operands, recursive)
        several = "\nno snapshots were created" if recursive or len(operands) > 1 else ""
        _check_snapshots(zfs, wanted, several)
        values = checked_values(zfs, assignments, "s", "cannot create snapshots ")
        txg = zfs.next_txg()
        for name in wanted:
            filesystem, _, short = name.partition("@")
            record = zfs.add_snapshot(filesystem, short, txg)
            env.copy_tree(zfs.datasets[filesystem]["id"], record["id"])
            apply_values(record, values)
            env.measure(zfs, filesystem)
    return 0


def _snapshot_names(zfs: Zfs, env: Env, operands: Sequence[str], recursive: bool) -> list[str]:
    wanted: list[str] = []
    for operand in operands:
        filesystem, at, short = operand.partition("@")
        if not at:
            raise UsageError()
        try:
            open_dataset(zfs, env, filesystem, "fv")
        except ZfsError as error:
            raise UsageError(error.text) from None
        wanted.append(f"{filesystem}@{short}")
        if recursive:
            wanted += [f"{one}@{short}" for one in zfs.descendants(filesystem)]
    return wanted


def _check_snapshots(zfs: Zfs, wanted: Sequence[str], several: str) -> None:
    for name in wanted:
        problem = names.problem(name, snapshot=True)
        if problem:
            raise ZfsError(f"cannot create snapshot '{name}': {problem}{several}")
    taken = [name for name in wanted if zfs.find(name)]
    if taken:
        lines = [f"cannot create snapshot '{name}': dataset already exists" for name in taken]
        raise ZfsError("\n".join(lines) + several)
    for name in wanted:
        if space.is_full(zfs.state, name.partition("/")[0].partition("@")[0]):
            raise ZfsError(f"cannot create snapshot '{name}': out of space{several}")


def destroy(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "vpndfrR")
    flags = {letter for letter, _ in found}
    expect_operands(operands, "dataset")
    name = operands[0]
    with env.changing() as zfs:
        if "@" in name:
            return _destroy_snapshots(zfs, env, name, flags)
        if "#" in name:
            _refuse_flags(flags)
            return _destroy_bookmark(zfs, env, name)
        return _destroy_dataset(zfs, env, name, flags)


def _refuse_flags(flags: set[str]) -> None:
    """What zfs_do_destroy() does not do with a bookmark."""
    for letters, words in (("n", "dryrun"), ("d", "defer destroy"), ("rR", "recursive")):
        if flags & set(letters):
            raise ZfsError(f"{words} is not supported with bookmark", 255)


def _destroy_bookmark(zfs: Zfs, env: Env, name: str) -> int:
    filesystem, _, short = name.partition("#")
    dataset = zfs.datasets.get(filesystem)
    bookmarks = dataset.get("bookmarks", []) if dataset else []
    kept = [one for one in bookmarks if one["name"] != short]
    if dataset is None or len(kept) == len(bookmarks):
        raise ZfsError(f"bookmark '{name}' does not exist.")
    dataset["bookmarks"] = kept
    return 0


def _destroy_dataset(zfs: Zfs, env: Env, name: str, flags: set[str]) -> int:
    open_dataset(zfs, env, name, "s" if "d" in flags else "fv")
    if "/" not in name and not {"r", "R"} & flags:
        raise ZfsError(
            f"cannot destroy '{name}': operation does not apply to pools\n"
            f"use 'zfs destroy -r {name}' to destroy all datasets in the pool\n"
            f"use 'zpool destroy {name}' to destroy the pool itself"
        )
    if "R" not in flags:
        _refuse_dependents(zfs, name, "r" in flags)
    batch: list[str] = []
    for one in [*zfs.dependents(name), name]:
        _tell(env, one, flags)
        if "n" in flags or ("/" not in one and "@" not in one):
            continue
        if "@" in one:
            batch.append(one)
            continue
        _destroy_batch(zfs, env, batch)
        _destroy_one(zfs, env, one, "f" in flags)
    _destroy_batch(zfs, env, batch)
    return 0


def _destroy_batch(zfs: Zfs, env: Env, batch: list[str]) -> None:
    """The snapshots gathered so far, all of them or none (lzc_destroy_snaps); each that is held is told."""
    held = [one for one in batch if (zfs.find(one) or {}).get("holds")]
    if held:
        raise ZfsError("\n".join(f"cannot destroy snapshot {one}: dataset is busy" for one in held))
    for one in batch:
        _destroy_one(zfs, env, one)
    batch.clear()


def _tell(env: Env, name: str, flags: set[str]) -> None:
    if "p" in flags:
        env.out(f"destroy\t{name}\n")
    elif "v" in flags:
        env.out(f"{'would' if 'n' in flags else 'will'} destroy {name}\n")


def _refuse_dependents(zfs: Zfs, name: str, recursive: bool) -> None:
    kind = "snapshot" if "@" in name else zfs.datasets[name]["type"]
    inside = zfs.dependents(name, clones=False)
    if inside and not recursive and "@" not in name:
        lines = "\n".join(inside)
        raise ZfsError(
            f"cannot destroy '{name}': {kind} has children\nuse '-r' to destroy the following datasets:\n{lines}"
        )
    clones = [one for one in zfs.dependents(name) if one not in inside]
    if clones:
        lines = "\n".join(clones)
        raise ZfsError(
            f"cannot destroy '{name}': {kind} has dependent clones\n"
            f"use '-R' to destroy the following datasets:\n{lines}"
        )


def _destroy_one(zfs: Zfs, env: Env, name: str, force: bool = False) -> None:
    if "@" in name:
        remove_snapshot(zfs, env, name)
        return
    if zfs.datasets[name]["snapshots"] or zfs.children(name):
        raise ZfsError(f"cannot destroy '{name}': dataset already exists")
    mounting.unmount_one(zfs, env, name, force)
    remove_dataset(zfs, env, name)


def remove_dataset(zfs: Zfs, env: Env, name: str) -> None:
    """The dataset is gone: its record, tree and the mountpoint that ZFS made."""
    mountpoint, source = zfs.property(name, "mountpoint")
    record = zfs.datasets.pop(name)
    env.drop_tree(record["id"])
    if record.get("origin"):
        finish_deferred(zfs, env)
    _remove_made(zfs, env, str(mountpoint), source)


def _remove_made(zfs: Zfs, env: Env, mountpoint: str, source: str) -> None:
    """Remove the directory of a mount, unless its place was set by hand (remove_mountpoint in libzfs_mount.c)."""
    if mountpoint.startswith("/") and (source == "default" or source.startswith("inherited")):
        env.remove_mountpoint(zfs.state, mountpoint)


def remove_snapshot(zfs: Zfs, env: Env, name: str) -> None:
    """The snapshot is gone, unless it is held or cloned."""
    filesystem, _, short = name.partition("@")
    record = zfs.find(name)
    assert record is not None
    if record.get("holds"):
        raise ZfsError(f"cannot destroy snapshot {name}: dataset is busy")
    if zfs.clones(record["id"]):
        raise ZfsError(f"cannot destroy snapshot {name}: snapshot is cloned")
    dataset = zfs.datasets[filesystem]
    dataset["snapshots"] = [one for one in dataset["snapshots"] if one["name"] != short]
    env.drop_tree(record["id"])
    env.measure(zfs, filesystem)


def _destroy_snapshots(zfs: Zfs, env: Env, operand: str, flags: set[str]) -> int:
    filesystem, _, spec = operand.partition("@")
    open_dataset(zfs, env, filesystem, "fv")
    datasets = [filesystem, *zfs.descendants(filesystem)] if {"r", "R"} & flags else [filesystem]
    wanted = [name for one in datasets for name in _snapshots_of_spec(zfs, env, one, spec, one == filesystem)]
    if not wanted:
        raise ZfsError("could not find any snapshots to destroy; check snapshot names.")
    if "R" not in flags and "d" not in flags:
        for name in wanted:
            _refuse_dependents(zfs, name, recursive=True)
    for name in wanted:
        _tell(env, name, flags)
    if {"v", "p"} & flags:
        _tell_reclaimed(zfs, env, wanted, flags)
    if "n" in flags:
        return 0
    if "d" in flags:
        wanted = [name for name in wanted if not _defer(zfs, name)]
    return _destroy_each(zfs, env, wanted)


def _defer(zfs: Zfs, name: str) -> bool:
    """Mark a snapshot that is held or cloned, to go with the last hold or clone (zfs destroy -d)."""
    record = zfs.find(name)
    assert record is not None
    if not record.get("holds") and not zfs.clones(record["id"]):
        return False
    record["deferred"] = True
    return True


def finish_deferred(zfs: Zfs, env: Env) -> None:
    """Remove snapshots marked by zfs destroy -d that nothing holds any more."""
    for name, dataset in zfs.datasets.items():
        for record in [one for one in dataset["snapshots"] if one.get("deferred")]:
            if not record.get("holds") and not zfs.clones(record["id"]):
                remove_snapshot(zfs, env, f"{name}@{record['name']}")


def _destroy_each(zfs: Zfs, env: Env, wanted: Sequence[str]) -> int:
    held = [name for name in wanted if (zfs.find(name) or {}).get("holds")]
    for name in held:
        env.err(f"cannot destroy snapshot {name}: dataset is busy\n")
    if held:
        return 1
    for name in wanted:
        for clone_name in zfs.dependents(name):
            _destroy_one(zfs, env, clone_name)
        remove_snapshot(zfs, env, name)
    return 0


def _tell_reclaimed(zfs: Zfs, env: Env, wanted: Sequence[str], flags: set[str]) -> None:
    from . import numbers

    freed = sum(int((zfs.find(name) or {}).get("used", 0)) for name in wanted)
    if "p" in flags:
        env.out(f"reclaim\t{freed}\n")
        return
    env.out(f"{'would' if 'n' in flags else 'will'} reclaim {numbers.nice(freed, zfs_zero(zfs))}\n")


def zfs_zero(zfs: Zfs) -> str:
    return "0B" if zfs.openzfs else "0"


def _snapshots_of_spec(zfs: Zfs, env: Env, filesystem: str, spec: str, tell: bool) -> list[str]:
    have = [one["name"] for one in zfs.datasets[filesystem]["snapshots"]]
    found: list[str] = []
    for part in spec.split(","):
        first, percent, last = part.partition("%")
        if not percent:
            found += [f"{filesystem}@{part}"] if part in have else []
            continue
        if (first and first not in have) or (last and last not in have):
            continue
        begin = have.index(first) if first else 0
        end = have.index(last) if last else len(have) - 1
        found += [f"{filesystem}@{one}" for one in have[begin : end + 1]]
    return found


def rollback(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "rRf")
    flags = {letter for letter, _ in found}
    expect_operands(operands, "dataset")
    name = operands[0]
    with env.changing() as zfs:
        snapshot_record = open_dataset(zfs, env, name, "s")
        filesystem = filesystem_of(name)
        newer = _newer(zfs, filesystem, snapshot_record["name"])
        if newer and not flags & {"r", "R"}:
            lines = "\n".join(newer)
            raise ZfsError(
                f"cannot rollback to '{name}': more recent snapshots or bookmarks exist\n"
                f"use '-r' to force deletion of the following snapshots and bookmarks:\n{lines}"
            )
        clones = [one for snap in newer for one in zfs.dependents(snap)]
        if clones and "R" not in flags:
            lines = "\n".join(clones)
            raise ZfsError(
                f"cannot rollback to '{name}': clones of previous snapshots exist\n"
                f"use '-R' to force deletion of the following clones and dependents:\n{lines}"
            )
        for one in [*clones, *reversed(newer)]:
            if zfs.find(one):
                _destroy_one(zfs, env, one, "f" in flags)
        env.restore_tree(snapshot_record["id"], zfs.datasets[filesystem]["id"])
        env.measure(zfs, filesystem)
    return 0


def _newer(zfs: Zfs, filesystem: str, short: str) -> list[str]:
    have = [one["name"] for one in zfs.datasets[filesystem]["snapshots"]]
    return [f"{filesystem}@{one}" for one in have[have.index(short) + 1 :]]


def promote(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "")
    expect_operands(operands, "clone filesystem")
    name = operands[0]
    with env.changing() as zfs:
        dataset = open_dataset(zfs, env, name, "fv")
        origin = zfs.origin_name(dataset)
        if origin is None:
            raise ZfsError(f"cannot promote '{name}': not a cloned filesystem")
        parent = filesystem_of(origin)
        _promote(zfs, name, parent, origin)
        env.measure(zfs, name)
        env.measure(zfs, parent)
    return 0


def _promote(zfs: Zfs, name: str, parent: str, origin: str) -> None:
    dataset, old = zfs.datasets[name], zfs.datasets[parent]
    names_of_old = [one["name"] for one in old["snapshots"]]
    cut = names_of_old.index(origin.partition("@")[2]) + 1
    moving = old["snapshots"][:cut]
    have = {one["name"] for one in dataset["snapshots"]}
    for snap in moving:
        if snap["name"] in have:
            raise ZfsError(f"cannot promote '{name}': conflicting snapshot '{snap['name']}' from parent '{origin}'")
    dataset["snapshots"] = moving + dataset["snapshots"]
    old["snapshots"] = old["snapshots"][cut:]
    dataset["origin"], old["origin"] = old.get("origin"), dataset["origin"]


def rename(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "pruf")
    flags = {letter for letter, _ in found}
    expect_operands(operands, "source dataset", "target dataset")
    source, target = operands
    if "r" in flags and "@" not in source:
        raise UsageError("source dataset for recursive rename must be a snapshot")
    if "u" in flags and "p" in flags:
        raise UsageError("-u and -p options are mutually exclusive")
    with env.changing() as zfs:
        if "@" in source:
            open_dataset(zfs, env, source, "s")
            _rename_snapshot(zfs, env, source, target, "r" in flags)
            return 0
        open_dataset(zfs, env, source, "fv")
        if "p" in flags and not names.problem(target):
            create_ancestors(zfs, env, target)
        if source == target:
            return 0
        _check_rename(zfs, env, source, target)
        return _rename(zfs, env, source, target, flags)


def _rename_snapshot(zfs: Zfs, env: Env, source: str, target: str, recursive: bool) -> None:
    filesystem, _, old = source.partition("@")
    before, _, new = target.rpartition("@")
    if before and before != filesystem:
        raise ZfsError(f"cannot rename to '{target}': snapshots must be part of same dataset")
    full = f"{filesystem}@{new}"
    problem = names.problem(full, snapshot=True)
    if problem:
        raise ZfsError(f"cannot rename to '{full}': {problem}")
    concerned = [filesystem, *zfs.descendants(filesystem)] if recursive else [filesystem]
    for one in concerned:
        if zfs.find(f"{one}@{old}") and zfs.find(f"{one}@{new}"):
            why = "a child dataset already has a snapshot with the new name" if recursive else "dataset already exists"
            raise ZfsError(f"cannot rename '{one}@{old}': {why}")
    for one in concerned:
        record = zfs.find(f"{one}@{old}")
        if record:
            record["name"] = new
            env.measure(zfs, one)


def _check_rename(zfs: Zfs, env: Env, source: str, target: str) -> None:
    problem = names.problem(target)
    if problem:
        raise ZfsError(f"cannot rename to '{target}': {problem}")
    check_parents(zfs, env, target)
    if source.partition("/")[0] != target.partition("/")[0]:
        raise ZfsError(f"cannot rename to '{target}': datasets must be within same pool")
    if target.startswith(source + "/"):
        why = "New dataset name cannot be a descendant of current dataset name"
        raise ZfsError(f"cannot rename to '{target}': {why}")
    if env.jail is None and zfs.value(source, "jailed") == "on":
        raise ZfsError(f"cannot rename '{source}': dataset is used in a non-global zone")


def _rename(zfs: Zfs, env: Env, source: str, target: str, flags: set[str]) -> int:
    concerned = [source, *zfs.descendants(source)]
    moved = []
    if "u" not in flags and target not in zfs.datasets:
        moved = [one for one in concerned if mounting.follows_name(zfs, env, one)]
        mounting.unmount_all(zfs, env, moved, "f" in flags)
    if target in zfs.datasets:
        raise ZfsError(f"cannot rename '{source}': dataset already exists")
    made = zfs.property(source, "mountpoint")
    for one in concerned:
        zfs.datasets[target + one[len(source) :]] = zfs.datasets.pop(one)
        env.rename_source(zfs.state, one, target + one[len(source) :])
    failed = 0
    if source in moved:
        _remove_made(zfs, env, str(made[0]), made[1])
    for one in moved:
        failed |= mounting.mount_quietly(zfs, env, target + one[len(source) :])
    return failed
