"""zfs list and get (zfs_do_list, zfs_do_get in cmd/zfs/zfs_main.c)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from . import numbers, properties, space
from .env import Env
from .errors import UsageError, ZfsError, options
from .model import Record, Zfs, list_key, type_letter
from .properties import Property, is_user_property

TYPES = {
    "filesystem": "f",
    "fs": "f",
    "volume": "v",
    "vol": "v",
    "snapshot": "s",
    "snap": "s",
    "bookmark": "b",
    "all": "fvsb",
}
DEFAULT_COLUMNS = "name,used,available,referenced,mountpoint"
SPACE_COLUMNS = "name,available,used,usedbysnapshots,usedbydataset,usedbyrefreservation,usedbychildren"
SIZES = {
    "used": "used",
    "available": "available",
    "referenced": "referenced",
    "usedbysnapshots": "snapshots",
    "usedbydataset": "dataset",
    "usedbychildren": "children",
    "usedbyrefreservation": "refreservation",
    "written": "written",
}
NAME = Property("name", "string", "readonly", "fvsb", "", "NAME")
MOUNT_WORDS = {"readonly": ("ro", "rw"), "exec": ("exec", "noexec"), "setuid": ("setuid", "nosuid")}
"""Properties that an option of the mount overrides: what turns each on and off."""
DATE = "%a %b %e %k:%M %Y"


class View:
    """Values of properties of anything with a name, over one loaded state."""

    def __init__(self, zfs: Zfs, env: Env, parsable: bool) -> None:
        self.zfs = zfs
        self.env = env
        self.parsable = parsable
        self.totals = space.totals(zfs)
        self.origins = zfs.origins()
        self.mounts = {name: env.seen_if_visible(zfs.state, path) for name, path in env.mounts(zfs.state).items()}
        self.clones: dict[str, list[str]] = {}
        for name, dataset in sorted(zfs.datasets.items()):
            if dataset.get("origin"):
                self.clones.setdefault(dataset["origin"], []).append(name)
        self._computed: dict[str, Callable[[str, Record], Any]] = {
            "type": self._type,
            "creation": lambda name, record: record["creation"],
            "guid": lambda name, record: record["guid"],
            "createtxg": lambda name, record: record["createtxg"],
            "objsetid": lambda name, record: int(record["id"][1:]) + 50,
            "compressratio": lambda name, record: "1.00" if self.parsable and zfs.openzfs else "1.00x",
            "refcompressratio": lambda name, record: "1.00" if self.parsable and zfs.openzfs else "1.00x",
            "mounted": lambda name, record: "yes" if self.mounts.get(name) else "no",
            "origin": lambda name, record: self.origins.get(record.get("origin") or ""),
            "clones": lambda name, record: ",".join(self.clones.get(record["id"], [])),
            "userrefs": lambda name, record: len(record.get("holds", ())),
            "defer_destroy": lambda name, record: "on" if record.get("deferred") else "off",
            "logicalreferenced": lambda name, record: max(0, self._size(name, record, "referenced") - 12288),
            "logicalused": lambda name, record: self._size(name, record, "used"),
            "receive_resume_token": lambda name, record: None,
            "keystatus": lambda name, record: None,
            "encryptionroot": lambda name, record: None,
        }

    def _type(self, name: str, record: Record) -> str:
        return {"f": "filesystem", "v": "volume", "s": "snapshot", "b": "bookmark"}[type_letter(name, record)]

    def _size(self, name: str, record: Record, wanted: str) -> int:
        if "@" in name or "#" in name:
            field = {"referenced": "refer", "used": "used", "written": "written"}.get(wanted, "")
            return int(record.get(field, 0))
        return int(getattr(self.totals[name], SIZES[wanted]))

    def raw(self, name: str, record: Record, known: Property) -> tuple[str | int | None, str]:
        """Value (None: it has no such property) and source."""
        if known is NAME:
            return name, "-"
        if type_letter(name, record) not in known.types:
            return None, "-"
        if known.name in SIZES:
            return self._size(name, record, known.name), "-"
        computed = self._computed.get(known.name)
        if computed:
            return computed(name, record), "-"
        value, source = self.zfs.property(name, known.name)
        if known.flow == "once" or known.name in ("version", "mlslabel"):
            source = "-"
        if known.name == "xattr" and not self.zfs.openzfs:
            source = "temporary"
        if known.name in MOUNT_WORDS and "@" not in name:
            return self._mounted_with(name, known.name, value, source)
        return value, source

    def _mounted_with(self, name: str, wanted: str, value: str | int, source: str) -> tuple[str | int, str]:
        """What an option of the mount says instead (get_numeric_property in libzfs_dataset.c)."""
        words = self.env.mount_options(self.zfs.state, name)
        on, off = MOUNT_WORDS[wanted]
        if words is None or value not in ("on", "off"):
            return value, source
        if value == "off" and on in words:
            return "on", "temporary"
        if value == "on" and off in words:
            return "off", "temporary"
        return value, source

    def text(self, known: Property, value: str | int | None) -> str:
        """The value as printed."""
        if value is None:
            return "-"
        if known.name == "creation":
            return str(value) if self.parsable else time.strftime(DATE, time.gmtime(int(value)))
        if not isinstance(value, int):
            return value
        text = properties.shown(known, value, self.parsable)
        return text or numbers.nice(value, "0B" if self.zfs.openzfs else "0")

    def user_property(self, name: str, wanted: str) -> tuple[str | None, str]:
        if "#" in name:
            return None, "-"
        filesystem, at, snapshot = wanted.partition("@")
        if filesystem == "written" and at:
            return self._written_since(name, snapshot), "-"
        value, source = self.zfs.property(name, wanted)
        return (None if source == "-" else str(value)), source

    def _written_since(self, name: str, snapshot: str) -> str | None:
        dataset = self.zfs.datasets.get(name)
        have = [one["name"] for one in dataset["snapshots"]] if dataset else []
        if dataset is None or snapshot not in have:
            return None
        later = dataset["snapshots"][have.index(snapshot) + 1 :]
        total = sum(int(one["written"]) for one in later) + self.totals[name].written
        return str(total) if self.parsable else numbers.nice(total, "0B" if self.zfs.openzfs else "0")


def parse_types(text: str) -> str:
    letters = ""
    for word in text.split(","):
        if word not in TYPES:
            raise UsageError(f"invalid type '{word}'")
        letters += TYPES[word]
    return letters


def parse_columns(zfs: Zfs, text: str) -> list[Property | str]:
    """Native properties, or names of user properties."""
    found: list[Property | str] = []
    for word in text.split(","):
        known = NAME if word == "name" else zfs.properties.find(word)
        if word == "space":
            found += parse_columns(zfs, SPACE_COLUMNS)
        elif known is not None:
            found.append(known)
        elif properties.is_user_property(word) or word.startswith("written@"):
            found.append(word)
        else:
            raise UsageError(f"bad property list: invalid property '{word}'")
    return found


def chosen(
    zfs: Zfs, env: Env, operands: Sequence[str], types: str, depth: int | None, failures: list[str]
) -> list[tuple[str, Record]]:
    """What the operands name, with what lies below down to `depth` (None: no limit), in the order of the lists."""
    found: dict[str, Record] = {}
    roots: Iterable[str] = operands or [pool for pool in zfs.active_pools() if env.visible(zfs, pool)]
    for operand in roots:
        try:
            name, record = _open(zfs, env, operand, types, depth)
        except ZfsError as error:
            failures.append(error.text)
            continue
        limit = None if not operands and depth is None else depth
        for one, one_record in _below(zfs, name, record, types, limit):
            if env.visible(zfs, one.partition("@")[0].partition("#")[0]):
                found[one] = one_record
    return sorted(found.items(), key=lambda item: list_key(item[0], item[1]["createtxg"]))


def _open(zfs: Zfs, env: Env, operand: str, types: str, depth: int | None) -> tuple[str, Record]:
    from .datasets import open_dataset

    name = operand
    if operand.startswith(("/", "./")):
        name = env.dataset_of_path(zfs, operand)
    allowed = types if depth == 0 else types + "fv" if set(types) & set("sb") else types + "f"
    if "#" in name and "b" in types:
        return name, _bookmark(zfs, name)
    return name, open_dataset(zfs, env, name, allowed)


def _bookmark(zfs: Zfs, name: str) -> Record:
    filesystem, _, short = name.partition("#")
    for one in zfs.datasets.get(filesystem, {}).get("bookmarks", []):
        if one["name"] == short:
            return dict(one)
    raise ZfsError(f"cannot open '{name}': dataset does not exist")


def _below(zfs: Zfs, name: str, record: Record, types: str, depth: int | None) -> Iterator[tuple[str, Record]]:
    if "@" in name or "#" in name:
        yield name, record
        return
    base = name.count("/")
    below = [] if depth == 0 else zfs.descendants(name)
    for one in [name, *below]:
        level = one.count("/") - base
        if depth is not None and level > depth:
            continue
        dataset = zfs.datasets[one]
        if type_letter(one, dataset) in types:
            yield one, dataset
        if depth is not None and level + 1 > depth:
            continue
        if "s" in types:
            yield from ((f"{one}@{snap['name']}", snap) for snap in dataset["snapshots"])
        if "b" in types:
            yield from ((f"{one}#{mark['name']}", mark) for mark in dataset.get("bookmarks", []))


def _depth(zfs: Zfs, flags: dict[str, str], operands: Sequence[str], types: str) -> int | None:
    if "d" in flags:
        if not flags["d"].isdigit():
            raise UsageError(f"{flags['d']} is not a number")
        return int(flags["d"])
    if "r" in flags or not operands:
        return None
    # OpenZFS lists the snapshots of a filesystem without -r (zfs_do_list in zfs_main.c of 2.2.6).
    if zfs.openzfs and types in ("s", "b"):
        return 1
    return 0


def list_(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "HS:d:o:prs:t:")
    flags = dict(found)
    with env.measured() as zfs:
        for letter, name in found:
            if letter in "sS" and name != "name" and not (zfs.properties.find(name) or is_user_property(name)):
                raise UsageError(f"invalid property '{name}'")
        columns_text = flags.get("o", DEFAULT_COLUMNS)
        columns = parse_columns(zfs, columns_text)
        types = parse_types(flags["t"]) if "t" in flags else "fv"
        depth = _depth(zfs, flags, operands, types)
        if "t" not in flags and any("@" in operand for operand in operands):
            types += "s"
        failures: list[str] = []
        rows = chosen(zfs, env, operands, types, depth, failures)
        view = View(zfs, env, "p" in flags)
        for letter, name in reversed([pair for pair in found if pair[0] in "sS"]):
            rows = _sorted(view, rows, parse_columns(zfs, name)[0], letter == "S")
        for text in failures:
            env.err(text + "\n")
        if not rows and not failures and "H" not in flags:
            if zfs.openzfs:
                env.err("no datasets available\n")
            else:
                env.out("no datasets available\n")
        _print_rows(env, columns, [_cells(view, columns, *row) for row in rows], "H" in flags)
    return int(bool(failures))


def _sorted(view: View, rows: list[tuple[str, Record]], by: Property | str, reverse: bool) -> list[tuple[str, Record]]:
    def key(row: tuple[str, Record]) -> Any:
        return view.user_property(row[0], by)[0] if isinstance(by, str) else view.raw(*row, by)[0]

    have = [row for row in rows if key(row) is not None]
    have.sort(key=lambda row: (isinstance(key(row), str), key(row)), reverse=reverse)
    return have + [row for row in rows if key(row) is None]


def _cells(view: View, columns: Sequence[Property | str], name: str, record: Record) -> list[str]:
    cells = []
    for column in columns:
        if isinstance(column, str):
            cells.append(view.user_property(name, column)[0] or "-")
            continue
        value = view.raw(name, record, column)[0]
        cells.append(view.text(column, value))
    return cells


def _print_rows(env: Env, columns: Sequence[Property | str], rows: Sequence[Sequence[str]], scripted: bool) -> None:
    if scripted:
        env.out("".join("\t".join(row) + "\n" for row in rows))
        return
    if not rows:
        return
    heads = [column.upper() if isinstance(column, str) else column.column for column in columns]
    right = [not isinstance(column, str) and column.right for column in columns]
    env.out(table(heads, rows, right))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Aligned columns, two spaces apart; right-aligned ones hold at least five characters."""
    widths = [
        max(5 if to_right else 0, len(head), *(len(row[at]) for row in rows))
        for at, (head, to_right) in enumerate(zip(heads, right, strict=True))
    ]
    lines = []
    for row in [list(heads), *rows]:
        cells = []
        for at, cell in enumerate(row):
            last = at == len(row) - 1
            cells.append(cell.rjust(widths[at]) if right[at] else cell if last else cell.ljust(widths[at]))
        lines.append("  ".join(cells) + "\n")
    return "".join(lines)


GET_FIELDS = ("name", "property", "value", "received", "source")
SOURCES = ("local", "default", "inherited", "received", "temporary", "none")


def get(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, ":d:o:s:rt:Hp".lstrip(":"))
    flags = dict(found)
    fields = _get_fields(flags.get("o", "name,property,value,source"))
    sources = flags.get("s", ",".join(SOURCES)).split(",")
    for word in sources:
        if word not in SOURCES:
            raise UsageError(f"invalid source '{word}'")
    if not operands:
        raise UsageError("missing property argument")
    with env.measured() as zfs:
        types = parse_types(flags["t"]) if "t" in flags else "fvsb"
        wanted = None if operands[0] == "all" else parse_columns(zfs, operands[0])
        depth = _get_depth(flags, operands[1:])
        failures: list[str] = []
        view = View(zfs, env, "p" in flags)
        lines: list[dict[str, str]] = []
        for name, record in chosen(zfs, env, operands[1:], types, depth, failures):
            lines += _get_lines(view, name, record, wanted)
        for text in failures:
            env.err(text + "\n")
        kept = [line for line in lines if _source_kind(line["source"]) in sources]
        _print_get(env, fields, kept, "H" in flags)
    return int(bool(failures))


def _get_depth(flags: dict[str, str], operands: Sequence[str]) -> int | None:
    if "d" in flags:
        if not flags["d"].isdigit():
            raise UsageError(f"{flags['d']} is not a number")
        return int(flags["d"])
    return None if "r" in flags or not operands else 0


def _get_fields(text: str) -> list[str]:
    if text == "all":
        return list(GET_FIELDS)
    words = text.split(",")
    for word in words:
        if word not in GET_FIELDS:
            raise UsageError(f"invalid column name '{word}'")
    return words


def _source_kind(source: str) -> str:
    if source == "-":
        return "none"
    return "inherited" if source.startswith("inherited") else source


def _get_lines(
    view: View, name: str, record: Record, wanted: Sequence[Property | str] | None
) -> Iterator[dict[str, str]]:
    if wanted is None:
        yield from _all_lines(view, name, record)
        return
    for column in wanted:
        if isinstance(column, str):
            value, source = view.user_property(name, column)
            yield _line(view, name, record, column, "-" if value is None else value, source)
            continue
        if column is NAME:
            continue
        raw, source = view.raw(name, record, column)
        yield _line(view, name, record, column.name, view.text(column, raw), source)


def _all_lines(view: View, name: str, record: Record) -> Iterator[dict[str, str]]:
    for known in view.zfs.properties.table.values():
        raw, source = view.raw(name, record, known)
        if raw is None:
            continue
        yield _line(view, name, record, known.name, view.text(known, raw), source)
    if "#" in name:
        return
    filesystem = name.partition("@")[0]
    owned: set[str] = set()
    while filesystem:
        dataset = view.zfs.datasets[filesystem]
        owned |= {one for one in (*dataset["props"], *dataset.get("received", ())) if ":" in one}
        filesystem = filesystem.rpartition("/")[0]
    owned |= {one for one in record["props"] if ":" in one}
    for one in sorted(owned):
        value, source = view.user_property(name, one)
        yield _line(view, name, record, one, value or "", source)


def _line(view: View, name: str, record: Record, property_: str, value: str, source: str) -> dict[str, str]:
    received = record.get("received", {}).get(property_, "-")
    return {"name": name, "property": property_, "value": value, "received": str(received), "source": source}


def _print_get(env: Env, fields: Sequence[str], lines: Sequence[dict[str, str]], scripted: bool) -> None:
    rows = [[line[field] for field in fields] for line in lines]
    if scripted:
        env.out("".join("\t".join(row) + "\n" for row in rows))
    elif rows:
        env.out(table([field.upper() for field in fields], rows, [False] * len(fields)))
