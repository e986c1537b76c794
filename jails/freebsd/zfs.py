"""zfs(8): argument lists for every change, and lists read back."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

# None of these can hold a tab or a newline, so that a row is a row. A mount point and a user property can, and whoever
# has a jailed dataset can set them: they are read by `list_free`, which takes no row for granted.
LIST_PROPERTIES = (
    "name", "guid", "type", "origin", "used", "available", "referenced", "logicalused", "usedbydataset",
    "usedbysnapshots", "usedbychildren", "quota", "refquota", "reservation", "refreservation", "mounted", "canmount",
    "jailed", "compressratio", "creation", "readonly", "encryption", "keystatus",
)  # fmt: skip
# The ZFS of 12.1 knows no encryption.
OLD_LIST_PROPERTIES = tuple(name for name in LIST_PROPERTIES if name not in ("encryption", "keystatus"))
SNAPSHOT_PROPERTIES = ("name", "guid", "used", "referenced", "creation", "userrefs", "clones")
TYPES = frozenset({"filesystem", "volume", "snapshot", "bookmark", "all"})
VALUE_MAX = 8191  # ZAP_MAXVALUELEN with the NUL


def list_datasets(
    *roots: str,
    properties: Sequence[str] = LIST_PROPERTIES,
    types: Sequence[str] = ("filesystem", "volume"),
    depth: int | None = None,
) -> Argv:
    """One row a dataset, tabs between exact numbers; of all pools, or of `roots` and what is below them."""
    return argv(
        "zfs",
        "list",
        "-Hp",
        *_depth(depth, roots),
        "-t",
        _types(types),
        "-o",
        _columns(properties),
        *_any("roots", roots),
    )


def list_free(*roots: str, properties: Sequence[str] = ("mountpoint", "cellblock:operation")) -> Argv:
    """One row a dataset of properties that may hold any text; for `parse_free`."""
    return argv(
        "zfs",
        "list",
        "-Hp",
        *_depth(None, roots),
        "-t",
        "filesystem,volume",
        "-o",
        _columns(("name", *properties)),
        *_any("roots", roots),
    )


def parse_list(output: bytes, properties: Sequence[str] = LIST_PROPERTIES) -> tuple[dict[str, str], ...]:
    """The rows, each property by its name, `-` where it has none. ValueError for a row with too few or many columns."""
    rows = []
    for number, line in enumerate(_lines(output), 1):
        columns = line.split("\t")
        if len(columns) != len(properties):
            raise ValueError(f"zfs list: row {number} has {len(columns)} columns, expected {len(properties)}")
        rows.append(dict(zip(properties, columns, strict=True)))
    seen = [row["name"] for row in rows if "name" in row]
    if len(set(seen)) != len(seen):
        raise ValueError("zfs list: a dataset is listed twice: some property holds a newline")
    return tuple(rows)


def parse_free(
    output: bytes, known: Sequence[str], properties: Sequence[str] = ("mountpoint", "cellblock:operation")
) -> tuple[dict[str, dict[str, str]], frozenset[str]]:
    """Values by dataset, and the datasets whose rows cannot be told from text inside another's property.

    `known` are the names that `list_datasets` gave. A forged row names a dataset that has its true row too: both are
    left out. What is no row of a known dataset is ignored.
    """
    wanted, values, doubtful = set(known), dict[str, dict[str, str]](), set[str]()
    for line in _lines(output):
        name, *columns = line.split("\t")
        if name not in wanted:
            continue
        if name in values or len(columns) != len(properties):
            doubtful.add(name)
        values[name] = dict(zip(properties, columns, strict=False))
    doubtful |= wanted - values.keys()
    return {name: row for name, row in values.items() if name not in doubtful}, frozenset(doubtful)


def number(value: str) -> int | None:
    """A size, count or time of -p output; None for `-` and `none`."""
    return int(value) if re.fullmatch(r"[0-9]+", value) else None


def get(properties: Sequence[str], *targets: str) -> Argv:
    """dataset, property, value and source, one row each."""
    return argv(
        "zfs", "get", "-Hp", "-o", "name,property,value,source", _columns(properties), *_any("targets", targets)
    )


def parse_get(output: bytes) -> tuple[tuple[str, str, str, str], ...]:
    """(dataset, property, value, source); ValueError when a row has another number of columns."""
    rows = [tuple(line.split("\t")) for line in _lines(output)]
    if any(len(row) != 4 for row in rows):
        raise ValueError("zfs get: a row has not four columns: some value holds a tab or a newline")
    return tuple((row[0], row[1], row[2], row[3]) for row in rows)


def create(dataset: str, properties: Mapping[str, str] | None = None, *, unmounted: bool = False) -> Argv:
    """Make a filesystem; its parent must be there. `unmounted` (-u) is unknown to old releases."""
    names.require("dataset", dataset, names.dataset_error)
    return argv("zfs", "create", *(["-u"] if unmounted else []), *_options(properties), dataset)


def destroy(target: str, *, recursive: bool = False, deferred: bool = False) -> Argv:
    """Destroy a dataset or snapshot, with `recursive` its children and snapshots. Never clones: there is no -R.

    `deferred` (-d) lets a snapshot that has clones go with the last of them.
    """
    if deferred and (recursive or "@" not in target):
        raise ValueError("deferred: only a single snapshot can be destroyed when its last clone goes")
    return argv("zfs", "destroy", *(["-r"] if recursive else []), *(["-d"] if deferred else []), _target(target))


def rollback(target: str, *, newer: bool = False) -> Argv:
    """Put a filesystem back to its newest snapshot. Fails where there is a newer one.

    `newer` (-r) destroys those, and fails before it does anything where one of them has clones: there is no -R.
    """
    return argv("zfs", "rollback", *(["-r"] if newer else []), _snapshot("target", target))


def snapshot(dataset: str, name: str, properties: Mapping[str, str] | None = None, *, recursive: bool = False) -> Argv:
    names.require("name", name, names.snapshot_name_error)
    full = _snapshot("name", f"{_dataset('dataset', dataset)}@{name}")
    return argv("zfs", "snapshot", *(["-r"] if recursive else []), *_options(properties), full)


def clone(origin: str, dataset: str, properties: Mapping[str, str] | None = None) -> Argv:
    names.require("dataset", dataset, names.dataset_error)
    return argv("zfs", "clone", *_options(properties), _snapshot("origin", origin), dataset)


def promote(dataset: str) -> Argv:
    """Turn the relation of a clone and its origin round: then the origin depends on this dataset."""
    return argv("zfs", "promote", _dataset("dataset", dataset))


def rename(old: str, new: str, *, keep_mounted: bool = False) -> Argv:
    """Rename a dataset or a snapshot inside its pool. `keep_mounted` (-u) leaves mounts as they are."""
    if "@" in old:
        _snapshot("old", old)
        names.require("new", new, names.snapshot_error)
        if old.partition("@")[0] != new.partition("@")[0]:
            raise ValueError("new: a snapshot stays with its dataset; only what stands behind “@” can change")
    else:
        _dataset("old", old)
        names.require("new", new, names.dataset_error)
    return argv("zfs", "rename", *(["-u"] if keep_mounted else []), old, new)


def set_properties(target: str, properties: Mapping[str, str]) -> Argv:
    if not properties:
        raise ValueError("properties: expected at least one, got none")
    return argv("zfs", "set", *(_assignment(name, value) for name, value in properties.items()), _target(target))


def inherit(property_name: str, dataset: str, *, received: bool = False) -> Argv:
    names.require("property_name", property_name, property_error)
    return argv("zfs", "inherit", *(["-S"] if received else []), property_name, _target(dataset, "dataset"))


def send(source: str, *, since: str = "", replicate: bool = False, raw: bool = False) -> Argv:
    """Write a snapshot to standard output; `since` makes it what changed after that snapshot of the same dataset."""
    options = [*(["-R"] if replicate else []), *(["-w"] if raw else [])]
    if since:
        options += ["-i", _snapshot("since", since)]
    return argv("zfs", "send", *options, _snapshot("source", source))


def receive(dataset: str, properties: Mapping[str, str] | None = None, *, unmounted: bool = True) -> Argv:
    """Read a stream from standard input into a new dataset; never over an existing one (no -F)."""
    names.require("dataset", dataset, names.dataset_error)
    return argv("zfs", "receive", *(["-u"] if unmounted else []), *_options(properties), dataset)


def mount(dataset: str) -> Argv:
    return argv("zfs", "mount", _dataset("dataset", dataset))


def unmount(dataset: str, *, force: bool = False) -> Argv:
    return argv("zfs", "unmount", *(["-f"] if force else []), _dataset("dataset", dataset))


def hold(tag: str, target: str) -> Argv:
    return argv("zfs", "hold", _tag(tag), _snapshot("target", target))


def release(tag: str, target: str) -> Argv:
    return argv("zfs", "release", _tag(tag), _snapshot("target", target))


def holds(*targets: str) -> Argv:
    return argv("zfs", "holds", "-H", *(_snapshot("targets", target) for target in targets))


@dataclass(frozen=True)
class Change:
    """A line of `zfs diff`. change: `+`, `-`, `M` or `R` (then `to` is the new path). kind as ls -F has it, `F` a file.

    Paths begin with a “/” that is the mount point. at: seconds since 1970, of the last change of the inode.
    """

    change: str
    kind: str
    path: str
    to: str = ""
    at: int = 0


def diff(snapshot: str, dataset: str) -> Argv:
    """What differs between a snapshot and its mounted file system now: by -H with tabs, -F with kinds, -t with times.

    It takes a snapshot for as long as it looks, which is gone when it ends.
    """
    return argv("zfs", "diff", "-FHt", _snapshot("snapshot", snapshot), _dataset("dataset", dataset))


def parse_diff(output: bytes, mountpoint: str) -> tuple[Change, ...]:
    """The changes below `mountpoint`, in the order of the output; a line that is none is left out.

    Names are any bytes but NUL and “/”: zfs(8) writes all but printable ASCII as a backslash and four octal digits
    (stream_bytes in libzfs_diff.c), so that tabs and newlines are what they look like. Bytes that are no UTF-8 stay as
    surrogates.
    """
    found = []
    for line in output.decode("ascii", "replace").split("\n"):
        columns = line.split("\t")
        if len(columns) < 4 or columns[1] not in ("+", "-", "M", "R") or len(columns[2]) != 1:
            continue
        paths = [_unmangled(column, mountpoint) for column in columns[3 : 5 if columns[1] == "R" else 4]]
        if not all(paths) or len(paths) != (2 if columns[1] == "R" else 1):
            continue
        seconds = columns[0].strip().partition(".")[0]
        at = int(seconds) if re.fullmatch(r"[0-9]{1,18}", seconds) else 0
        found.append(Change(columns[1], columns[2], paths[0], paths[1] if len(paths) > 1 else "", at))
    return tuple(found)


def _unmangled(text: str, mountpoint: str) -> str:
    """The path inside, or "" for one that is not below the mount point."""
    raw = re.sub(rb"\\([0-7]{4})", lambda match: bytes([int(match[1], 8) & 0xFF]), text.encode("ascii", "replace"))
    path, root = raw.decode("utf-8", "surrogateescape"), mountpoint.rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else ""


def attach(jail: str, dataset: str) -> Argv:
    """Hand a dataset with jailed=on over to a running jail (zfs-jail(8)); its mount points are then the jail's."""
    names.require("jail", jail, names.jail_reference_error)
    return argv("zfs", "jail", jail, _dataset("dataset", dataset))


def detach(jail: str, dataset: str) -> Argv:
    names.require("jail", jail, names.jail_reference_error)
    return argv("zfs", "unjail", jail, _dataset("dataset", dataset))


def property_error(value: str) -> str | None:
    """zfsprops(7): a native property of lower case letters and digits, or a user property `module:name`."""
    if len(value) <= 256 and re.fullmatch(r"[a-z][a-z0-9_]*(@[a-z0-9_-]+)?|[a-z0-9][a-z0-9:_.-]*:[a-z0-9:_.-]*", value):
        return None
    return "is not the name of a ZFS property; expected for example quota or cellblock:operation."


def _assignment(name: str, value: str) -> str:
    names.require("properties", name, property_error)
    problem = names.text_error(value, VALUE_MAX)
    if problem:
        raise ValueError(f"properties: {name}: {problem}")
    return f"{name}={value}"


def _options(properties: Mapping[str, str] | None) -> list[str]:
    return [word for name, value in (properties or {}).items() for word in ("-o", _assignment(name, value))]


def _columns(properties: Sequence[str]) -> str:
    if not properties:
        raise ValueError("properties: expected at least one, got none")
    return ",".join(names.require("properties", name, property_error) for name in properties)


def _types(types: Sequence[str]) -> str:
    if not types or not set(types) <= TYPES:
        raise ValueError(f"types: expected some of {', '.join(sorted(TYPES))}, got {', '.join(types) or 'none'}")
    return ",".join(types)


def _depth(depth: int | None, roots: Sequence[str]) -> list[str]:
    if depth is not None:
        if depth < 0:
            raise ValueError(f"depth: expected 0 or more, got {depth}")
        return ["-d", str(depth)]
    return ["-r"] if roots else []


def _any(argument: str, targets: Sequence[str]) -> list[str]:
    return [_target(target, argument) for target in targets]


def _target(target: str, argument: str = "target") -> str:
    return names.require(argument, target, names.dataset_or_snapshot_error)


def _dataset(argument: str, value: str) -> str:
    return names.require(argument, value, names.dataset_reference_error)


def _snapshot(argument: str, value: str) -> str:
    return names.require(argument, value, names.snapshot_error)


def _tag(tag: str) -> str:
    return names.require("tag", tag, names.snapshot_name_error)


def _lines(output: bytes) -> list[str]:
    text = output.decode("utf-8", "replace")
    return text.removesuffix("\n").split("\n") if text else []
