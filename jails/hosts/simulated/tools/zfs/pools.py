"""The subcommands of zpool(8) (cmd/zpool/zpool_main.c of 12.1 and of zfs-2.2.6)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from jails.hosts.simulated import clock

from . import mounting, names, numbers, space
from .env import Env
from .errors import UsageError, ZfsError, expect_operands, options
from .listing import table
from .model import Record, Zfs, new_guid
from .setting import apply_values, checked_values, parse_assignments

DEFAULTS = {
    "altroot": "-",
    "version": "-",
    "bootfs": "-",
    "delegation": "on",
    "autoreplace": "off",
    "cachefile": "-",
    "failmode": "wait",
    "listsnapshots": "off",
    "autoexpand": "off",
    "dedupditto": "0",
    "comment": "-",
    "freeing": "0",
    "leaked": "0",
    "bootsize": "-",
    "multihost": "off",
}
OPENZFS_DEFAULTS = {"ashift": "0", "autotrim": "off", "compatibility": "off"}
EDITABLE = {"altroot", "autoexpand", "autoreplace", "bootfs", "cachefile", "comment", "delegation", "failmode"} | {
    "listsnapshots",
    "multihost",
    "version",
    "dedupditto",
    "ashift",
    "autotrim",
    "compatibility",
}
CHOICES = {
    **dict.fromkeys(("delegation", "autoreplace", "listsnapshots", "autoexpand", "multihost", "autotrim"), "off | on"),
    "failmode": "wait | continue | panic",
}
"""Values of those that have a list of them (zpool_prop.c)."""
ORDER = (
    "size capacity altroot health guid version bootfs delegation autoreplace cachefile failmode listsnapshots "
    "autoexpand dedupditto dedupratio free allocated readonly ashift comment expandsize freeing fragmentation leaked "
    "bootsize checkpoint multihost autotrim compatibility"
).split()
ALIASES = {
    "alloc": "allocated",
    "cap": "capacity",
    "frag": "fragmentation",
    "dedup": "dedupratio",
    "ckpoint": "checkpoint",
    "expandsz": "expandsize",
    "listsnaps": "listsnapshots",
    "replace": "autoreplace",
    "expand": "autoexpand",
}
HEADS = {
    "allocated": "ALLOC",
    "capacity": "CAP",
    "fragmentation": "FRAG",
    "dedupratio": "DEDUP",
    "checkpoint": "CKPOINT",
    "expandsize": "EXPANDSZ",
}
RIGHT = {"size", "allocated", "free", "capacity", "fragmentation", "dedupratio", "checkpoint", "expandsize", "guid"}
FEATURES = (
    "async_destroy empty_bpobj lz4_compress multi_vdev_crash_dump spacemap_histogram enabled_txg hole_birth "
    "extensible_dataset embedded_data bookmarks filesystem_limits large_blocks large_dnode sha512 skein "
    "device_removal obsolete_counts zpool_checkpoint spacemap_v2 allocation_classes"
).split()
ACTIVE = {"empty_bpobj", "lz4_compress", "spacemap_histogram", "enabled_txg", "hole_birth", "embedded_data"} | {
    "spacemap_v2"
}
DEFAULT_COLUMNS = "name,size,allocated,free,checkpoint,expandsize,fragmentation,capacity,dedupratio,health,altroot"
STAMP = "%Y-%m-%d.%H:%M:%S"
LABELS = 4718592


def add_pool(zfs: Zfs, env: Env, name: str, size: int, vdevs: Sequence[Sequence[object]]) -> Record:
    """A new pool of `size` bytes with its root filesystem, not mounted."""
    pool: Record = {
        "guid": new_guid(),
        "size": size,
        "vdevs": [list(one) for one in vdevs],
        "created": int(clock.now()),
        "health": "ONLINE",
        "props": {},
        "history": [],
        "scan": "",
    }
    zfs.pools[name] = pool
    root = zfs.add_dataset(name)
    root["createtxg"] = 1
    env.make_tree(root["id"])
    env.measure(zfs, name)
    return pool


def open_pool(zfs: Zfs, name: str) -> Record:
    if name not in zfs.pools or name not in zfs.datasets:
        raise ZfsError(f"cannot open '{name}': no such pool")
    return zfs.pools[name]


def _value(zfs: Zfs, name: str, wanted: str, parsable: bool) -> str:
    pool = zfs.pools[name]
    used = min(space.pool_used(zfs, name), pool["size"])
    if space.is_full(zfs.state, name):
        used = space.usable(pool["size"])
    sizes = {"size": pool["size"], "allocated": used, "free": pool["size"] - used}
    plain = parsable and zfs.openzfs
    if wanted in sizes:
        return str(sizes[wanted]) if parsable else numbers.nice(sizes[wanted])
    if wanted == "capacity":
        return f"{used * 100 // pool['size']}" + ("" if parsable else "%")
    fixed = {
        "name": name,
        "health": pool["health"],
        "guid": str(pool["guid"]),
        "fragmentation": "0" if plain else "0%",
        "dedupratio": "1.00" if plain else "1.00x",
        "readonly": "off",
        "expandsize": "-",
        "checkpoint": "-",
    }
    if wanted in fixed:
        return str(fixed[wanted])
    if wanted.startswith("feature@"):
        return "active" if wanted.partition("@")[2] in ACTIVE else "enabled"
    return str(pool["props"].get(wanted, {**DEFAULTS, **OPENZFS_DEFAULTS}[wanted]))


def _columns(zfs: Zfs, text: str) -> list[str]:
    found = []
    for word in text.split(","):
        name = ALIASES.get(word, word)
        feature = name.startswith("feature@") and name.partition("@")[2] in FEATURES
        if name != "name" and name not in _known(zfs) and not feature:
            raise UsageError(f"bad property list: invalid property '{word}'")
        found.append(name)
    return found


def _known(zfs: Zfs) -> list[str]:
    missing = {"bootsize", "dedupditto"} if zfs.openzfs else set(OPENZFS_DEFAULTS)
    return [name for name in ORDER if name not in missing]


def list_(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "gHLo:pPT:v")
    flags = dict(found)
    with env.measured() as zfs:
        columns = _columns(zfs, flags.get("o", DEFAULT_COLUMNS))
        failed, pools = _pools(zfs, env, operands)
        rows: list[Sequence[str]] = [[_value(zfs, name, one, "p" in flags) for one in columns] for name in pools]
        if "v" in flags:
            rows = _with_vdevs(zfs, pools, rows, columns)
    if not rows and not operands:
        (env.err if env.openzfs else env.out)("no pools available\n")
    elif "H" in flags:
        env.out("".join("\t".join(row) + "\n" for row in rows))
    elif rows:
        heads = [HEADS.get(column, column.upper()) for column in columns]
        text = table(heads, rows, [column in RIGHT for column in columns])
        width = min(10, max(len(row[0]) for row in rows))
        env.out(_vdev_lines(text, columns, pools, width) if "v" in flags and not zfs.openzfs else text)
    return failed


def _vdev_lines(text: str, columns: Sequence[str], pools: Sequence[str], width: int) -> str:
    """As `zpool list -v` of 12.1 has it: a title of at least ten columns over narrower names, and for a vdev nothing
    behind its capacity."""
    head, *lines = text.splitlines()
    if columns[:1] == ["name"] and len(columns) > 1:
        head = f"{'NAME':<10}{head[width:]}"
    shown = [line if line.split()[0] in pools else _cut(line) for line in lines]
    return "\n".join([head, *shown]) + "\n"


def _cut(line: str) -> str:
    end = line.rfind("%")
    return line[: end + 1] if end >= 0 else line


def _with_vdevs(
    zfs: Zfs, pools: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[str]
) -> list[Sequence[str]]:
    found: list[Sequence[str]] = []
    for name, row in zip(pools, rows, strict=True):
        found.append(row)
        for depth, vdev, *_ in zfs.pools[name]["vdevs"]:
            cells = {**dict(zip(columns, row, strict=True)), "fragmentation": "0%", "health": "ONLINE"}
            cells["capacity"] = f"{space.pool_used(zfs, name) * 100 / zfs.pools[name]['size']:.2f}%"
            kept = {"size", "allocated", "free", "fragmentation", "capacity"} | ({"health"} if zfs.openzfs else set())
            found.append(["  " * depth + vdev, *(cells[one] if one in kept else "-" for one in columns[1:])])
    return found


def _pools(zfs: Zfs, env: Env, operands: Sequence[str]) -> tuple[int, list[str]]:
    failed, found = 0, []
    for name in operands or zfs.active_pools():
        try:
            open_pool(zfs, name)
            found.append(name)
        except ZfsError as error:
            env.err(error.text + "\n")
            failed = 1
    return failed, found


def status(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "cDegiLpPsT:tvx")
    flags = {letter for letter, _ in found}
    with env.reading() as zfs:
        failed, pools = _pools(zfs, env, operands)
        shown = [name for name in pools if "x" not in flags or zfs.pools[name]["health"] != "ONLINE"]
        if not pools and not failed:
            (env.err if env.openzfs else env.out)("no pools available\n")
        elif not shown and "x" in flags and not failed:
            env.out(f"pool '{operands[0]}' is healthy\n" if len(operands) == 1 else "all pools are healthy\n")
        env.out("\n".join(_status(zfs, name) for name in shown))
    return failed


def _status(zfs: Zfs, name: str) -> str:
    pool = zfs.pools[name]
    lines = [f"  pool: {name}", f" state: {pool['health']}"]
    if pool["health"] == "DEGRADED":
        lines += [
            "status: One or more devices has been taken offline by the administrator.",
            "\tSufficient replicas exist for the pool to continue functioning in a",
            "\tdegraded state.",
            "action: Online the device using 'zpool online' or replace the device with",
            "\t'zpool replace'.",
        ]
    scan = pool["scan"] or ("" if zfs.openzfs else "none requested")
    lines += [f"  scan: {scan}"] if scan else []
    lines += ["config:", ""]
    rows = [(0, name, pool["health"], "")]
    for depth, vdev, *rest in pool["vdevs"]:
        offline = bool(rest and rest[0] == "OFFLINE")
        group = "-" in vdev and not vdev.startswith("/")
        state = "OFFLINE" if offline else pool["health"] if group else "ONLINE"
        rows.append((depth, str(rest[1]) if offline else vdev, state, f"  was {vdev}" if offline else ""))
    width = max(10, *(2 * depth + len(text) for depth, text, _, _ in rows))
    lines.append(f"\t{'NAME':<{width}}  {'STATE':<8} {'READ':>5} {'WRITE':>5} {'CKSUM':>5}")
    for depth, text, state, note in rows:
        lines.append(f"\t{'  ' * depth + text:<{width}}  {state:<8} {0:>5} {0:>5} {0:>5}{note}")
    return "\n".join([*lines, "", "errors: No known data errors", ""])


def get(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "Hpo:")
    flags = dict(found)
    if not operands:
        raise UsageError("missing property argument")
    fields = flags.get("o", "name,property,value,source")
    if fields == "all":
        fields = "name,property,value,source"
    with env.measured() as zfs:
        features = [f"feature@{name}" for name in FEATURES]
        wanted = [*_known(zfs), *features] if operands[0] == "all" else _columns(zfs, operands[0])
        failed, pools = _pools(zfs, env, operands[1:])
        rows = []
        for name in pools:
            for one in wanted:
                values = {
                    "name": name,
                    "property": one,
                    "value": _value(zfs, name, one, "p" in flags),
                    "source": _source(zfs, name, one),
                }
                rows.append([values[field] for field in fields.split(",")])
    if "H" in flags:
        env.out("".join("\t".join(row) + "\n" for row in rows))
    elif rows:
        heads = fields.upper().split(",")
        text = table(heads, rows, [False] * len(rows[0]))
        if "value" in fields.split(",") and any(one.startswith("feature@") for one in wanted):
            # libzfs takes the width of a feature's name for that of its value.
            least = max(len(one) for one in wanted if one.startswith("feature@"))
            at = fields.split(",").index("value")
            if at < len(heads) - 1:
                rows = [[*row[:at], row[at].ljust(least), *row[at + 1 :]] for row in rows]
                text = table(heads, rows, [False] * len(rows[0]))
        env.out(text)
    return failed


def _source(zfs: Zfs, name: str, wanted: str) -> str:
    if wanted.startswith("feature@") or wanted in zfs.pools[name]["props"]:
        return "local"
    if wanted in DEFAULTS or wanted in OPENZFS_DEFAULTS or (wanted == "guid" and not zfs.openzfs):
        return "default"
    return "-"


def set_(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "")
    if not operands or "=" not in operands[0]:
        raise UsageError("missing property=value argument")
    if len(operands) < 2:
        raise UsageError("missing pool name")
    wanted, _, value = operands[0].partition("=")
    with env.changing() as zfs:
        for name in operands[1:]:
            pool = open_pool(zfs, name)
            _check_property(zfs, wanted, value, f"cannot set property for '{name}'")
            pool["props"][wanted] = value
    return 0


def _check_property(zfs: Zfs, wanted: str, value: str, complaint: str) -> None:
    """zpool_valid_proplist() in libzfs_pool.c."""
    allowed = CHOICES.get(wanted)
    if allowed and value not in allowed.split(" | "):
        raise ZfsError(f"{complaint}: '{wanted}' must be one of '{allowed}'")
    if wanted in EDITABLE:
        return
    if wanted in _known(zfs):
        raise ZfsError(f"{complaint}: '{wanted}' is readonly")
    raise ZfsError(f"{complaint}: invalid property '{wanted}'")


def create(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "fndBR:m:o:O:t:")
    flags = dict(found)
    if not operands:
        raise UsageError("missing pool name argument")
    if len(operands) == 1:
        raise UsageError("missing vdev specification")
    name, complaint = operands[0], f"cannot create '{operands[0]}'"
    pool_values = parse_assignments([value for letter, value in found if letter == "o"])
    assignments = parse_assignments([value for letter, value in found if letter == "O"])
    with env.changing() as zfs:
        if "/" in name:
            hint = "use 'zfs create' to create a dataset"
            raise ZfsError(f"{complaint}: invalid character '/' in pool name\n{hint}")
        size, vdevs = _layout(zfs, env, name, operands[1:], "f" in flags)
        problem = names.pool_problem(name)
        if problem:
            raise ZfsError(f"{complaint}: {problem}\npool name may have been omitted")
        if name in zfs.datasets:
            raise ZfsError(f"{complaint}: pool already exists")
        for wanted, value in pool_values.items():
            _check_property(zfs, wanted, value, complaint)
        if "m" in flags:
            assignments["mountpoint"] = flags["m"]
        values = checked_values(zfs, assignments, "f", complaint)
        if "n" in flags:
            env.out(f"would create '{name}' with the following layout:\n\n\t{name}\n")
            env.out("".join("\t" + "  " * int(depth) + str(vdev) + "\n" for depth, vdev in vdevs))
            return 0
        add_pool(zfs, env, name, size, vdevs)["props"].update(pool_values)
        apply_values(zfs.datasets[name], values)
        return mounting.mount_new(zfs, env, name)


def _layout(zfs: Zfs, env: Env, pool: str, words: Sequence[str], force: bool) -> tuple[int, list[tuple[int, str]]]:
    vdevs: list[tuple[int, str]] = []
    groups: list[tuple[str, list[int]]] = []
    for word in words:
        kind = word.rstrip("0123456789")
        if kind in ("mirror", "raidz"):
            vdevs.append((1, f"{'raidz1' if word == 'raidz' else word}-{len(groups)}"))
            groups.append((kind, []))
            continue
        size = _device_size(zfs, env, pool, word, force)
        vdevs.append((2 if groups and groups[-1][0] != "disk" else 1, word))
        if groups and groups[-1][0] != "disk":
            groups[-1][1].append(size)
        else:
            groups.append(("disk", [size]))
    for kind, sizes in groups:
        least = {"mirror": 2, "raidz": 3}.get(kind, 1)
        if len(sizes) < least:
            raise ZfsError(f"invalid vdev specification: {kind} requires at least {least} devices")
    total = sum(min(sizes) * (len(sizes) if kind == "raidz" else 1) for kind, sizes in groups)
    return total, vdevs


def _device_size(zfs: Zfs, env: Env, pool: str, device: str, force: bool, adding: bool = False) -> int:
    short = device.removeprefix("/dev/")
    owner = _owner(zfs, short)
    shown = device if device.startswith("/") else f"/dev/{device}"
    if owner:
        advice = (
            "the following errors must be manually repaired:" if force else "use '-f' to override the following errors:"
        )
        raise ZfsError(f"invalid vdev specification\n{advice}\n{shown} is part of active pool '{owner}'")
    if any(one["source"] == f"/dev/{short}" for one in zfs.state["mounts"]):
        if pool in zfs.datasets and not adding:
            return 1 << 30
        # A disk in use cannot be opened for writing, of which only this is left to read.
        raise ZfsError(f"cannot create '{pool}': no such pool or dataset")
    disk = zfs.state.get("disks", {}).get(short)
    if disk is not None and not short.startswith("md"):
        # The sizes of disks are what a pool on them has.
        return int(disk)
    size = disk
    if size is None and device.startswith("/"):
        size = env.file_size(zfs.state, device)
        if size is None:
            raise ZfsError(f"cannot open '{device}': No such file or directory")
    if size is None:
        raise ZfsError(f"cannot open '{device}': no such GEOM provider\nmust be a full path or shorthand device name")
    room = _room(int(size))
    if room <= 0:
        raise ZfsError(f"cannot create pool: one or more devices is less than the minimum size (64M): '{device}'")
    return room


def _room(size: int) -> int:
    """What is left of a device for blocks: whole metaslabs (vdev_metaslab_set_size in vdev.c)."""
    size = max(0, size - LABELS)
    shift = 29
    if size >> shift < 16:
        shift = (size // 16).bit_length()
    elif size >> shift > 200:
        shift = (size // 200).bit_length()
    shift = max(24, min(shift, 34))
    return size >> shift << shift


def _owner(zfs: Zfs, device: str) -> str | None:
    for name in zfs.active_pools():
        if any(vdev == device for _, vdev, *_ in zfs.pools[name]["vdevs"]):
            return name
    return None


def destroy(env: Env, argv: Sequence[str]) -> int:
    return _leave(env, argv, "destroyed")


def export(env: Env, argv: Sequence[str]) -> int:
    return _leave(env, argv, "exported")


def _leave(env: Env, argv: Sequence[str], how: str) -> int:
    found, operands = options(argv, "f" if how == "destroyed" else "af")
    if not operands:
        raise UsageError("missing pool argument" + ("" if how == "destroyed" else "s"))
    force = any(letter == "f" for letter, _ in found)
    with env.changing() as zfs:
        for name in operands:
            pool = open_pool(zfs, name)
            mine = [name, *zfs.descendants(name)]
            try:
                mounting.unmount_all(zfs, env, mine, force)
            except ZfsError as error:
                more = f"\ncould not destroy '{name}': could not unmount datasets" if how == "destroyed" else ""
                raise ZfsError(error.text + more) from None
            pool["left"] = {one: zfs.datasets.pop(one) for one in mine}
            pool["how"] = how
            # A pool of the same name may come: the old one steps aside under its guid.
            zfs.pools[f"{name} {pool['guid']}"] = zfs.pools.pop(name)
    return 0


def import_(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "aCc:d:DEfFmnNlo:rR:stTVX")
    flags = {letter for letter, _ in found}
    how = "destroyed" if "D" in flags else "exported"
    with env.changing() as zfs:
        waiting = [key for key, pool in zfs.pools.items() if pool.get("how") == how]
        if not operands and "a" not in flags:
            for key in waiting:
                env.out(_importable(zfs.pools[key], key.partition(" ")[0], how))
            return 0 if waiting else 1
        chosen = waiting if "a" in flags else _named(zfs, waiting, operands[0])
        if not chosen and operands:
            raise ZfsError(f"cannot import '{operands[0]}': no such pool available")
        for key in chosen:
            _come_back(zfs, env, key, operands[1] if len(operands) > 1 else key.partition(" ")[0], "N" not in flags)
    return 0


def _named(zfs: Zfs, waiting: Sequence[str], wanted: str) -> list[str]:
    return [key for key in waiting if wanted in (key.partition(" ")[0], str(zfs.pools[key]["guid"]))][:1]


def _importable(pool: Record, name: str, how: str) -> str:
    state = pool["health"] + (" (DESTROYED)" if how == "destroyed" else "")
    rows = [(0, name), *((depth, vdev) for depth, vdev, *_ in pool["vdevs"])]
    width = max(10, *(2 * depth + len(text) for depth, text in rows))
    lines = [
        f"   pool: {name}",
        f"     id: {pool['guid']}",
        f"  state: {state}",
        " action: The pool can be imported using its name or numeric identifier.",
        " config:",
        "",
        *(f"\t{'  ' * depth + text:<{width}}  ONLINE" for depth, text in rows),
    ]
    return "\n".join(lines) + "\n"


def _come_back(zfs: Zfs, env: Env, key: str, name: str, mount: bool) -> None:
    if name in zfs.datasets:
        raise ZfsError(
            f"cannot import '{name}': a pool with that name already exists\nuse the form 'zpool import "
            "<pool | id> <newpool>' to give it a new name"
        )
    pool = zfs.pools.pop(key)
    old = key.partition(" ")[0]
    for one, record in pool.pop("left").items():
        zfs.datasets[name + one[len(old) :]] = record
    pool.pop("how")
    zfs.pools[name] = pool
    for one in [name, *zfs.descendants(name)] if mount else []:
        if zfs.mountable(one):
            mounting.mount_quietly(zfs, env, one)


def scrub(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "spwe")
    if not operands:
        raise UsageError("missing pool name argument")
    with env.changing() as zfs:
        for name in operands:
            pool = open_pool(zfs, name)
            if any(letter in "sp" for letter, _ in found):
                raise ZfsError(f"cannot cancel scrubbing {name}: there is no active scrub")
            pool["scan"] = _finished(zfs, f"scrub repaired {'0B' if zfs.openzfs else '0'} in", 1)
    return 0


def _finished(zfs: Zfs, what: str, seconds: int) -> str:
    when = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(clock.now() + seconds))
    days = "" if zfs.openzfs else "0 days "
    return f"{what} {days}00:00:{seconds:02} with 0 errors on {when}"


def add(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "fgLnPo:")
    if not operands:
        raise UsageError("missing pool name argument")
    if len(operands) == 1:
        raise UsageError("missing vdev specification")
    with env.changing() as zfs:
        size, vdevs = _layout(zfs, env, operands[0], operands[1:], any(letter == "f" for letter, _ in found))
        pool = open_pool(zfs, operands[0])
        if not any(letter == "n" for letter, _ in found):
            pool["vdevs"] += [list(one) for one in vdevs]
            pool["size"] += size
    return 0


def _device(env: Env, argv: Sequence[str], verb: str) -> int:
    _, operands = options(argv, "tfe")
    if not operands:
        raise UsageError("missing pool name")
    if len(operands) < 2:
        raise UsageError("missing device name")
    with env.changing() as zfs:
        pool = open_pool(zfs, operands[0])
        for device in operands[1:]:
            at = next((at for at, vdev in enumerate(pool["vdevs"]) if vdev[1] == device), None)
            if at is None:
                raise ZfsError(f"cannot {verb} {device}: no such device in pool")
            depth = pool["vdevs"][at][0]
            others = [vdev for vdev in pool["vdevs"] if vdev[0] == depth and vdev[1] != device and len(vdev) == 2]
            if verb == "offline" and (depth < 2 or not others):
                raise ZfsError(f"cannot offline {device}: no valid replicas")
            if verb == "online" and len(pool["vdevs"][at]) > 2:
                pool["scan"] = _finished(zfs, "resilvered 1.50K in", 0)
            pool["vdevs"][at] = [depth, device, "OFFLINE", new_guid()] if verb == "offline" else [depth, device]
        pool["health"] = "DEGRADED" if any(len(vdev) > 2 for vdev in pool["vdevs"]) else "ONLINE"
    return 0


def attach(env: Env, argv: Sequence[str]) -> int:
    """zpool attach POOL DEVICE NEW: a device becomes one side of a mirror."""
    return _join(env, argv, replacing=False)


def replace(env: Env, argv: Sequence[str]) -> int:
    return _join(env, argv, replacing=True)


def _join(env: Env, argv: Sequence[str], replacing: bool) -> int:
    found, operands = options(argv, "fo:")
    if not operands:
        raise UsageError("missing pool name argument")
    if len(operands) < 2:
        raise UsageError("missing <device> specification")
    if len(operands) < 3 and not replacing:
        raise UsageError("missing <new_device> specification")
    if len(operands) > 3:
        raise UsageError("too many arguments")
    name, old, new = operands[0], operands[1], operands[-1]
    verb = "replace" if replacing else "attach"
    with env.changing() as zfs:
        pool = open_pool(zfs, name)
        room = _device_size(zfs, env, name, new, any(letter == "f" for letter, _ in found), adding=True)
        at = next((at for at, vdev in enumerate(pool["vdevs"]) if vdev[1] == old), None)
        complaint = f"cannot {verb} {old} with {new}" if replacing else f"cannot attach {new} to {old}"
        if at is None:
            raise ZfsError(f"{complaint}: no such device in pool")
        depth = pool["vdevs"][at][0]
        if room < pool["size"] and depth == 1 and len(pool["vdevs"]) == 1:
            raise ZfsError(f"{complaint}: device is too small")
        if replacing:
            pool["vdevs"][at] = [depth, new]
        elif depth > 1:
            pool["vdevs"].insert(_end(pool["vdevs"], at), [depth, new])
        else:
            tops = sum(1 for vdev in pool["vdevs"][:at] if vdev[0] == 1)
            pool["vdevs"][at : at + 1] = [[1, f"mirror-{tops}"], [2, old], [2, new]]
        pool["health"] = "DEGRADED" if any(len(vdev) > 2 for vdev in pool["vdevs"]) else "ONLINE"
        pool["scan"] = _finished(zfs, f"resilvered {_value(zfs, name, 'allocated', False)} in", 0)
    return 0


def detach(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "")
    if not operands:
        raise UsageError("missing pool name argument")
    if len(operands) < 2:
        raise UsageError("missing <device> specification")
    name, device = operands[0], operands[1]
    with env.changing() as zfs:
        pool = open_pool(zfs, name)
        vdevs = pool["vdevs"]
        at = next((at for at, vdev in enumerate(vdevs) if vdev[1] == device), None)
        if at is None:
            raise ZfsError(f"cannot detach {device}: no such device in pool")
        top = next((one for one in range(at, -1, -1) if vdevs[one][0] == 1), at)
        mirrored = str(vdevs[top][1]).startswith("mirror-") and top != at
        if not mirrored:
            raise ZfsError(f"cannot detach {device}: only applicable to mirror and replacing vdevs")
        sides = [one for one in range(top + 1, _end(vdevs, top)) if one != at]
        if not any(len(vdevs[one]) == 2 for one in sides):
            raise ZfsError(f"cannot detach {device}: no valid replicas")
        if len(sides) == 1:
            vdevs[top : top + 3] = [[1, *vdevs[sides[0]][1:]]]
        else:
            del vdevs[at]
        pool["health"] = "DEGRADED" if any(len(vdev) > 2 for vdev in vdevs) else "ONLINE"
    return 0


def _end(vdevs: Sequence[Sequence[object]], top: int) -> int:
    """Where the devices below a top-level one end."""
    return next((at for at in range(top + 1, len(vdevs)) if vdevs[at][0] == 1), len(vdevs))


def labelclear(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "f")
    expect_operands(operands, "vdev name")
    device = operands[0].removeprefix("/dev/")
    with env.changing() as zfs:
        owner = _owner(zfs, device)
        shown = f"/dev/{device}"
        if owner:
            raise ZfsError(f'{shown} is a member (ACTIVE) of pool "{owner}"')
        left = next(
            (key for key, pool in zfs.pools.items() if _has(pool, device) and pool.get("how") == "exported"), ""
        )
        if left and not found:
            name = left.partition(" ")[0]
            raise ZfsError(
                f"use '-f' to override the following error:\n{shown} is a member of exported pool \"{name}\""
            )
        if not any(_has(pool, device) for pool in zfs.pools.values()):
            raise ZfsError(f"failed to read label from {shown}")
        for key in [key for key, pool in zfs.pools.items() if _has(pool, device) and pool.get("how")]:
            del zfs.pools[key]
    return 0


def _has(pool: Record, device: str) -> bool:
    return any(vdev[1] == device for vdev in pool["vdevs"])


def reopen(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "")
    expect_operands(operands, "pool name")
    with env.reading() as zfs:
        open_pool(zfs, operands[0])
    return 0


def online(env: Env, argv: Sequence[str]) -> int:
    return _device(env, argv, "online")


def offline(env: Env, argv: Sequence[str]) -> int:
    return _device(env, argv, "offline")


def iostat(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "gLPvHpT:lnqrwy" if env.openzfs else "gLPvT:")
    with env.measured() as zfs:
        failed, pools = _pools(zfs, env, [one for one in operands if not one.isdigit()])
        width = max(10, *(len(name) for name in pools)) if pools else 10
        env.out(
            f"{'':{width}}    capacity     operations     bandwidth \n"
            if zfs.openzfs
            else f"{'':{width}}     capacity     operations    bandwidth\n"
        )
        env.out(f"{'pool':<{width}}  alloc   free   read  write   read  write\n")
        env.out("-" * width + "  -----" * 6 + "\n")
        for name in pools:
            used, free = _value(zfs, name, "allocated", False), _value(zfs, name, "free", False)
            env.out(f"{name:<{width}}  {used:>5}  {free:>5}" + f"  {0:>5}" * 4 + "\n")
    return failed


def history(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "il")
    with env.reading() as zfs:
        failed, pools = _pools(zfs, env, operands)
        for name in pools:
            env.out(f"History for '{name}':\n")
            for moment, text in zfs.pools[name]["history"]:
                env.out(f"{time.strftime(STAMP, time.gmtime(moment))} {text}\n")
            env.out("\n")
    return failed


def clear(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "FnX")
    if not operands:
        raise UsageError("missing pool name")
    with env.reading() as zfs:
        open_pool(zfs, operands[0])
    return 0


def sync(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "f")
    with env.reading() as zfs:
        return _pools(zfs, env, operands)[0]


def upgrade(env: Env, argv: Sequence[str]) -> int:
    options(argv, "vaV:")
    env.out("This system supports ZFS pool feature flags.\n\nAll pools are formatted using feature flags.\n\n")
    env.out("Every feature flags pool has all supported features enabled.\n")
    return 0


def reguid(env: Env, argv: Sequence[str]) -> int:
    _, operands = options(argv, "g:")
    expect_operands(operands, "pool name")
    with env.changing() as zfs:
        open_pool(zfs, operands[0])["guid"] = new_guid()
    return 0
