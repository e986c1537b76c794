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
    return _each_held(env, argv, _hold)


def release(env: Env, argv: Sequence[str]) -> int:
    return _each_held(env, argv, _release)


def _each_held(env: Env, argv: Sequence[str], act) -> int:  # type: ignore[no-untyped-def]
    found, operands = options(argv, "r")
    if len(operands) < 2:
        raise UsageError()
    tag, failed = operands[0], 0
    if tag.startswith("."):
        raise UsageError("tag may not start with '.'")
    with env.changing() as zfs:
        for name in operands[1:]:
            try:
                for one, record in _held(zfs, env, name, bool(found)):
                    act(zfs, env, one, record, tag)
            except ZfsError as error:
                env.err(error.text + "\n")
                failed = 1
    return failed


def _held(zfs: Zfs, env: Env, name: str, recursive: bool) -> list[tuple[str, Record]]:
    filesystem, at, short = name.partition("@")
    if not at:
        raise ZfsError(f"'{name}' is not a snapshot")
    found = [(name, open_dataset(zfs, env, name, "s"))] if not recursive or zfs.find(name) else []
    if recursive:
        for one in zfs.descendants(filesystem):
            record = zfs.find(f"{one}@{short}")
            found += [(f"{one}@{short}", record)] if record else []
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
            for one, record in _held(zfs, env, name, "r" in flags):
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
    expect_operands(operands, "source", "bookmark")
    source, target = operands
    with env.changing() as zfs:
        filesystem, hash_, short = target.partition("#")
        if not hash_:
            raise UsageError(f"invalid bookmark name '{target}': must contain a '#'")
        snapshot = open_dataset(zfs, env, source if "@" in source[1:] else filesystem + source, "s")
        dataset = open_dataset(zfs, env, filesystem or filesystem_of(source), "fv")
        marks = dataset.setdefault("bookmarks", [])
        if any(one["name"] == short for one in marks):
            raise ZfsError(f"cannot create bookmark '{target}': bookmark exists")
        marks.append({"name": short, **{key: snapshot[key] for key in ("guid", "creation", "createtxg")}})
    return 0


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
        columns = [change, *([kind] if "F" in flags else []), where.rstrip("/") + path]
        if "t" in flags:
            columns.insert(0, f"{clock.now():.9f}")
        env.out("\t".join(columns) + "\n")
    return 0


def allow(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "ldu:g:ecs:h")
    if not operands:
        raise UsageError("missing dataset argument")
    with env.changing() as zfs:
        record = open_dataset(zfs, env, operands[-1], "fv")
        permissions = record.setdefault("permissions", {})
        words = [value for letter, value in found if value] + operands[:-1]
        if len(words) == 1 and not found:
            raise UsageError("missing permission(s)")
        if words:
            who = ",".join(words[:-1]) or "everyone"
            permissions[who] = sorted({*permissions.get(who, []), *words[-1].split(",")})
            return 0
        if permissions:
            env.out(f"---- Permissions on {operands[-1]} " + "-" * max(0, 52 - len(operands[-1])) + "\n")
            env.out("Local+Descendent permissions:\n")
            for who, what in sorted(permissions.items()):
                env.out(f"\tuser {who} {','.join(what)}\n")
    return 0


def unallow(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "rldu:g:ecs:h")
    if not operands:
        raise UsageError("missing dataset argument")
    with env.changing() as zfs:
        record = open_dataset(zfs, env, operands[-1], "fv")
        for who in operands[:-1][:1] or list(record.get("permissions", {})):
            record.get("permissions", {}).pop(who, None)
    return 0


def upgrade(env: Env, argv: Sequence[str]) -> int:
    options(argv, "rvV:a")
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
    row = ["POSIX User", "0" if "n" in flags else "root", size, "none"]
    if "H" in flags:
        env.out("\t".join(row) + "\n")
    else:
        env.out(table(["TYPE", "NAME", "USED", "QUOTA"], [row], [False, False, True, True]))
    return 0
