"""zfs hold, release, holds, bookmark, diff, and what only reports: allow, upgrade, userspace."""

from __future__ import annotations

import time
from collections.abc import Sequence

from jails.hosts.simulated import clock

from . import numbers
from .datasets import finish_deferred, open_dataset
from .env import Env
from .errors import UsageError, ZfsError, expect_operands, options
from .listing import DATE, table
from .model import Record, Zfs, filesystem_of


def hold(env: Env, argv: Sequence[str]) -> int:
    return _each_held(env, argv, _hold, "cannot hold snapshot")


def release(env: Env, argv: Sequence[str]) -> int:
    return _each_held(env, argv, _release, "cannot release hold from snapshot")


def _each_held(env: Env, argv: Sequence[str], act, absent: str) -> int:  # type: ignore[no-untyped-def]
    found, operands = options(argv, "r")
    if len(operands) < 2:
        raise UsageError()
    tag, failed = operands[0], 0
    if tag.startswith(".") and act is _hold:
        raise UsageError("tag may not start with '.'")
    with env.changing() as zfs:
        for name in operands[1:]:
            try:
                for one, record in _held(zfs, env, name, bool(found), absent):
                    act(zfs, env, one, record, tag)
            except ZfsError as error:
                env.err(error.text + "\n")
                failed = 1
    return failed


def _held(zfs: Zfs, env: Env, name: str, recursive: bool, absent: str) -> list[tuple[str, Record]]:
    """The snapshots meant; `absent` is how the complaint begins when there is none (zfs_hold() in libzfs_dataset.c)."""
    filesystem, at, short = name.partition("@")
    if not at:
        raise ZfsError(f"'{name}' is not a snapshot")
    open_dataset(zfs, env, filesystem, "fv")
    here = zfs.find(name)
    found = [(name, here)] if here else []
    if recursive:
        for one in zfs.descendants(filesystem):
            record = zfs.find(f"{one}@{short}")
            found += [(f"{one}@{short}", record)] if record else []
    if not found and absent:
        raise ZfsError(f"{absent} '{name}': dataset does not exist")
    return found


def _hold(zfs: Zfs, env: Env, name: str, record: Record, tag: str) -> None:
    holds = record.setdefault("holds", {})
    if tag in holds:
        raise ZfsError(f"cannot hold snapshot '{name}': tag already exists on this dataset")
    holds[tag] = int(clock.now())


def _release(zfs: Zfs, env: Env, name: str, record: Record, tag: str) -> None:
    if record.get("holds", {}).pop(tag, None) is None:
        raise ZfsError(f"cannot release hold from snapshot '{name}': no such tag on this dataset")
    if not record["holds"]:
        del record["holds"]
        finish_deferred(zfs, env)


def holds(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "rHpd:" if env.openzfs else "rHd:p")
    flags = {letter for letter, _ in found}
    if not operands:
        raise UsageError()
    rows = []
    with env.reading() as zfs:
        for name in operands:
            if "@" not in name:
                raise ZfsError(f"'{name}' is not a snapshot")
            for one, record in _held(zfs, env, name, "r" in flags, "cannot open"):
                for tag, moment in sorted(record.get("holds", {}).items()):
                    shown = str(moment) if "p" in flags else time.strftime(DATE, time.gmtime(moment))
                    rows.append([one, tag, shown])
    if "H" in flags:
        env.out("".join("\t".join(row) + "\n" for row in rows))
    elif rows:
        env.out(table(["NAME", "TAG", "TIMESTAMP"], rows, [False] * 3))
    return 0


def bookmark(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "")
    expect_operands(operands, "snapshot", "bookmark")
    source, target = operands
    with env.changing() as zfs:
        filesystem, hash_, short = target.partition("#")
        if not hash_:
            raise UsageError(f"invalid bookmark name '{target}' -- must contain a '#'")
        if source.startswith("@"):
            source = filesystem + source
        filesystem = filesystem or filesystem_of(source)
        complaint = f"cannot create bookmark '{target}'"
        try:
            snapshot = open_dataset(zfs, env, source, "s")
        except ZfsError as error:
            raise UsageError(error.text) from None
        if filesystem.partition("/")[0] != source.partition("/")[0]:
            raise ZfsError(f"{complaint}: bookmark is in a different pool")
        dataset = zfs.datasets.get(filesystem)
        if dataset is None:
            raise ZfsError(f"{complaint}: unknown error")
        if not _is_before(zfs, source, filesystem):
            raise ZfsError(f"{complaint}: invalid argument")
        marks = dataset.setdefault("bookmarks", [])
        if any(one["name"] == short for one in marks):
            raise ZfsError(f"{complaint}: bookmark exists")
        marks.append({"name": short, **{key: snapshot[key] for key in ("guid", "creation", "createtxg")}})
    return 0


def _is_before(zfs: Zfs, snapshot: str, filesystem: str) -> bool:
    """Whether the snapshot is one of the filesystem or of what it was cloned from (dsl_dataset_is_before)."""
    at: str | None = filesystem
    while at:
        if filesystem_of(snapshot) == filesystem_of(at):
            here, before = zfs.find(snapshot), zfs.find(at)
            return "@" not in at or (here or {}).get("createtxg", 0) <= (before or {}).get("createtxg", 0)
        at = zfs.origin_name(zfs.datasets[filesystem_of(at)])
    return False


def diff(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "FHth")
    flags = {letter for letter, _ in found}
    if not operands:
        raise UsageError("must provide at least one snapshot name")
    if len(operands) > 2:
        raise UsageError("too many arguments")
    with env.reading() as zfs:
        old = open_dataset(zfs, env, operands[0], "s")
        filesystem = filesystem_of(operands[0])
        new = zfs.datasets[filesystem]
        if len(operands) == 2:
            name = filesystem + operands[1] if operands[1].startswith("@") else operands[1]
            new = open_dataset(zfs, env, name)
        where = env.mounts(zfs.state).get(filesystem, "/" + filesystem)
        lines = env.changes(old["id"], new["id"])
    for change, kind, path in lines:
        shown = where.rstrip("/") + path
        columns = [change, *([kind] if "F" in flags else []), shown if "h" in flags else _mangled(shown)]
        if "t" in flags:
            columns.insert(0, f"{clock.now():.9f}")
        env.out("\t".join(columns) + "\n")
    return 0


def _mangled(path: str) -> str:
    """stream_bytes (lib/libzfs/libzfs_diff.c): all but printable ASCII as a backslash and four octal digits."""
    raw = path.encode("utf-8", "surrogateescape")
    return "".join(chr(one) if 0x20 < one < 0x7F and one != 0x5C else f"\\{one:04o}" for one in raw)


def share(env: Env, argv: Sequence[str]) -> int:
    """Nothing is shared here: -a has nothing to do, and a filesystem's share is a legacy one (share_mount_one)."""
    found, operands = options(argv, "a")
    if found:
        return 0
    expect_operands(operands, "filesystem")
    verb = env.argv[1]
    with env.reading() as zfs:
        open_dataset(zfs, env, operands[0], "f")
    raise ZfsError(f"cannot {verb} '{operands[0]}': legacy share")


VERSIONS = (
    "Initial ZFS filesystem version",
    "Enhanced directory entries",
    "Case insensitive and filesystem user identifier (FUID)",
    "userquota, groupquota properties",
    "System attributes",
)


def upgrade(env: Env, argv: Sequence[str]) -> int:
    found, _ = options(argv, "rvV:a")
    if any(letter == "v" for letter, _ in found):
        env.out("The following filesystem versions are supported:\n\nVER  DESCRIPTION\n---  " + "-" * 56 + "\n")
        env.out("".join(f" {number}   {text}\n" for number, text in enumerate(VERSIONS, 1)))
        env.out("\nFor more information on a particular version, including supported releases,\n")
        env.out("see the ZFS Administration Guide.\n\n")
        return 0
    env.out("This system is currently running ZFS filesystem version 5.\n\n")
    env.out("All filesystems are formatted with the current version.\n")
    return 0


def userspace(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "nHpo:s:S:t:i")
    expect_operands(operands, "dataset")
    flags = {letter for letter, _ in found}
    with env.measured() as zfs:
        open_dataset(zfs, env, operands[0])
        record = zfs.find(operands[0]) or {}
        used = int(record.get("space", record).get("refer", 0))
    size = str(used) if "p" in flags else numbers.nice(used, "0B" if env.openzfs else "0")
    group = env.argv[1] == "groupspace"
    kind, name = ("POSIX Group", "wheel") if group else ("POSIX User", "root")
    row = [kind, "0" if "n" in flags else name, size, "none"]
    if "H" in flags:
        env.out("\t".join(row) + "\n")
    else:
        env.out(table(["TYPE", "NAME", "USED", "QUOTA"], [row], [False, False, True, True]))
    return 0
