"""df(1): how full the mounted file systems are."""

from __future__ import annotations

import errno
import os
from typing import Any

from jails.hosts.simulated.host import os_error, strerror
from jails.hosts.simulated.process import Process
from jails.hosts.simulated.world import World

from . import access
from .access import Options
from .mount import seen_mounts

USAGE = "usage: df [-b | -g | -H | -h | -k | -m | -P] [-acilnT] [-t type] [-,] [file | filesystem ...]"
PAGE = 4096


def df_main(process: Process) -> int:
    options = Options(process, "abcgHhiklmnPt:T,", USAGE)
    failed = 0
    with process.host.reading() as state:
        mounts = seen_mounts(World(process), state)
        chosen = mounts if not options.operands else []
        for operand in options.operands:
            try:
                place = process.host.locate(state, operand, root=process.root, cwd=process.cwd)
                if not place.exists:
                    raise os_error(errno.ENOENT)
                chosen.append(next((one for one in mounts if one["id"] == place.mount["id"]), place.mount))
            except OSError as error:
                named = next((one for one in mounts if one["source"] == operand), None)
                if named is None:
                    process.err(f"df: {operand}: {strerror(error)}\n")
                    failed = 1
                else:
                    chosen.append(named)
    kinds = (options.get("t") or "").split(",") if "t" in options else None
    chosen = [mount for mount in chosen if not kinds or mount["type"] in kinds]
    sizes = _sizes(process, chosen)
    if chosen:
        _table(process, options, [{**mount, "sizes": sizes[mount["id"]]} for mount in chosen])
    return failed


def _sizes(process: Process, mounts: list[dict[str, Any]]) -> dict[int, tuple[int, int, int]]:
    """By mount: total, used and available bytes."""
    found: dict[int, tuple[int, int, int]] = {}
    totals = None
    for mount in mounts:
        kind = mount["backing"].split("/")[0]
        if kind == "datasets":
            totals = _zfs_totals(process) if totals is None else totals
            one = totals.get(mount["source"])
            used, free = (one.referenced, one.available) if one else (0, 0)
            found[mount["id"]] = (used + free, used, free)
        elif kind == "root":
            with process.host.reading() as state:
                size = state["ufs_size"]
                full = any(fault.get("full") == "/" for fault in state["faults"])
                used = size * 92 // 100 if full else access.ufs_used(process, state)
            found[mount["id"]] = (size, used, size * 92 // 100 - used)
        elif kind == "tmpfs":
            size, used = tmpfs_size(process, mount)
            found[mount["id"]] = (size, used, max(0, size - used))
        else:
            found[mount["id"]] = (1024, 1024, 0)
    return found


def tmpfs_size(process: Process, mount: dict[str, Any]) -> tuple[int, int]:
    """The size of a tmpfs and what of it is used, in bytes: whole pages, one for each entry at least."""
    limit = next((one[5:] for one in mount["options"] if one.startswith("size=")), "0")
    unit = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}.get(limit[-1:].lower(), 1)
    size = int(limit.rstrip("kKmMgGtT") or 0) * unit
    if not size:
        with process.host.reading() as state:
            size = int(state["memory"]) * 3 // 4
    used, waiting = PAGE, [os.fspath(process.host.directory / mount["backing"])]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    used += (entry.stat(follow_symlinks=False).st_size + PAGE - 1) // PAGE * PAGE
    return size, used


def _zfs_totals(process: Process) -> dict[str, Any]:
    from .zfs import space
    from .zfs.env import Env

    with Env(process).measured() as zfs:
        return dict(space.totals(zfs))


def _table(process: Process, options: Options, rows: list[dict[str, Any]]) -> None:
    given = 512 if "P" in options else access.block_size(process)
    base = 1000 if "H" in options else 1024
    unit = 1 << 10 if "k" in options else 1 << 20 if "m" in options else 1 << 30 if "g" in options else given
    human = "h" in options or "H" in options
    heads = {512: "512-blocks", 1 << 10: "1K-blocks", 1 << 20: "1M-blocks", 1 << 30: "1G-blocks"}
    heads |= {1 << 10: "1024-blocks"} if "k" in options else {}
    counted = 0 if human else unit
    table = [[row["source"], row["type"], *_amounts(row["sizes"], counted, base), row["dir"]] for row in rows]
    if "c" in options:
        total = tuple(sum(row["sizes"][column] for row in rows) for column in range(3))
        table.append(["total", "", *_amounts(total, counted, base), ""])
    head = ["Filesystem", "Type", "   Size" if human else heads[unit], "Used", "Avail"]
    widths = [max(len(line[column]) for line in [head, *table]) for column in range(5)]
    if human:
        widths[2:5] = [7, 7, 7]
    kind = f"  {'Type':<{widths[1]}}" if "T" in options else ""
    inodes = "  iused ifree %iused" if "i" in options else ""
    process.out(
        f"{head[0]:<{widths[0]}}{kind} {head[2]:>{widths[2]}} {head[3]:>{widths[3]}} {head[4]:>{widths[4]}} "
        f"Capacity{inodes}  Mounted on\n"
    )
    for line in table:
        kind = f"  {line[1]:<{widths[1]}}" if "T" in options else ""
        inodes = f" {0:>5} {0:>5} {0:>4}% " if "i" in options else "  "
        process.out(
            f"{line[0]:<{widths[0]}}{kind} {line[2]:>{widths[2]}} {line[3]:>{widths[3]}} {line[4]:>{widths[4]}} "
            f"{line[5]:>5}%{inodes}  {line[6]}\n"
        )


def _amounts(sizes: tuple[int, ...], unit: int, base: int = 1024) -> list[str]:
    """Total, used, available in units (0: for people), and how full in per cent."""
    total, used, free = sizes
    share = f"{used * 100 / (used + free) if used + free > 0 else 100:.0f}"
    shown = [_human(size, base) if not unit else str(-(-size // unit)) for size in (total, used, free)]
    return [*shown, share]


def _human(size: float, base: int = 1024) -> str:
    if abs(size) < base:
        return f"{size:.0f}B"
    for unit in "KMGTP":
        size /= base
        if abs(size) < base:
            return f"{size:.1f}{unit}" if abs(size) < 10 else f"{size:.0f}{unit}"
    return f"{size:.0f}E"
