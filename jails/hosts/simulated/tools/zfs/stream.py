"""zfs send and receive: a byte stream of records (lib/libzfs/libzfs_sendrecv.c for the flow and the words).

A record is a header of type, payload length and magic number, then the payload. Each snapshot is BEGIN (JSON about it),
TREE (a tar of what changed since the snapshot it builds on) and END (the sha256 of all before in it). `send -R` puts
COMPOUND before the first. The layout is this simulation's own; real streams do not fit it and are refused.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import mounting, names, numbers, space
from .datasets import check_parents, open_dataset, remove_snapshot
from .env import Env
from .errors import UsageError, ZfsError, expect_operands, options
from .model import Record, Zfs, filesystem_of
from .setting import apply_values, checked_values, parse_assignments

MAGIC = 0x2F5BACBAC
HEADER = struct.Struct("<IQQ292x")
BEGIN, TREE, END, COMPOUND, LAST = range(5)


class Part:
    """One snapshot of a stream."""

    def __init__(self, about: dict[str, Any], tree: bytes = b"") -> None:
        self.about = about
        self.tree = tree


class Stream:
    """What was read: `broken` says what is wrong after a good beginning."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.recursive = False
        self.broken = ""


def record(kind: int, payload: bytes) -> bytes:
    return HEADER.pack(kind, len(payload), MAGIC) + payload


def records_of(part: Part) -> Iterator[bytes]:
    """The records of one snapshot."""
    about = json.dumps(part.about, sort_keys=True).encode()
    yield record(BEGIN, about)
    yield record(TREE, part.tree)
    from hashlib import sha256

    yield record(END, sha256(about + part.tree).digest())


def read_stream(read: Callable[[int], bytes], began: Callable[[Part], None]) -> Stream:
    """Read a whole stream, `read` giving so many bytes; ZfsError when it does not even begin like one.

    `began` is called with each snapshot as soon as its beginning is known, and may refuse it.
    """
    stream = Stream()
    first = True
    while True:
        header = read(HEADER.size)
        if len(header) < HEADER.size:
            if first:
                raise ZfsError("cannot receive: failed to read from stream")
            stream.broken = "incomplete stream"
            return stream
        kind, length, magic = HEADER.unpack(header)
        if magic != MAGIC:
            if first:
                raise ZfsError("cannot receive: invalid stream (bad magic number)")
            stream.broken = "checksum mismatch"
            return stream
        first = False
        payload = read(length)
        if len(payload) < length and not stream.parts:
            raise ZfsError("cannot receive: failed to read from stream")
        if len(payload) < length or kind > LAST:
            stream.broken = "incomplete stream"
            return stream
        if kind == LAST:
            return stream
        if kind == COMPOUND:
            stream.recursive = True
        elif kind == BEGIN:
            stream.parts.append(Part(json.loads(payload)))
            began(stream.parts[-1])
        elif stream.parts and kind == TREE:
            stream.parts[-1].tree = payload
        elif stream.parts and kind == END and not _sound(stream.parts[-1], payload):
            stream.broken = "checksum mismatch"
            return stream


def _sound(part: Part, digest: bytes) -> bool:
    about = json.dumps(part.about, sort_keys=True).encode()
    from hashlib import sha256

    return sha256(about + part.tree).digest() == digest


def send(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "i:I:RDpvnPLect:wbhVs")
    flags = dict(found)
    expect_operands(operands, "snapshot")
    name = operands[0]
    with env.measured() as zfs:
        plan = _plan(zfs, env, name, flags)
        for text in _estimates(zfs, plan, flags):
            (env.out if "n" in flags else env.note)(text + "\n")
        if "n" in flags:
            return 0
        if "v" in flags and not zfs.openzfs:
            # 12.1 names each snapshot a second time when it sends it.
            env.note("".join(f"{text}\n" for text in list(_estimates(zfs, plan, flags))[:-1]))
        if env.stdout_is_terminal():
            raise ZfsError("Error: Stream can not be written to a terminal.\nYou must redirect standard output.")
        parts = [_part(zfs, env, snapshot, base, flags) for snapshot, base in plan]
    if "v" in flags:
        env.note("TIME        SENT   SNAPSHOT" + (f" {name}\n" if env.openzfs else "\n"))
    try:
        if "R" in flags:
            env.write(record(COMPOUND, b""))
        for part in parts:
            for chunk in records_of(part):
                env.write(chunk)
                if env.process:
                    env.process.middle()
        env.write(record(LAST, b""))
    except BrokenPipeError:
        raise ZfsError(f"warning: cannot send '{name}': signal received") from None
    return 0


def _plan(zfs: Zfs, env: Env, name: str, flags: dict[str, str]) -> list[tuple[str, str | None]]:
    """Snapshots to send in order, each with the name of the snapshot it is sent against."""
    filesystem, at, short = name.partition("@")
    if not at:
        open_dataset(zfs, env, name, "fv")
        raise ZfsError(f"warning: cannot send '{name}': target is busy; if a filesystem, it must not be mounted")
    open_dataset(zfs, env, filesystem, "fv")
    if zfs.find(name) is None:
        raise ZfsError(f"WARNING: could not send {name}: does not exist")
    base = flags.get("i") or flags.get("I")
    source = _base_name(filesystem, base) if base else None
    if source:
        _check_place(zfs, filesystem, source)
        _check_base(zfs, name, source)
    if "R" not in flags:
        return _line(zfs, filesystem, short, source, "I" in flags)
    plan: list[tuple[str, str | None]] = []
    for one in [filesystem, *zfs.descendants(filesystem)]:
        if zfs.find(f"{one}@{short}"):
            own = f"{one}@{source.partition('@')[2]}" if source else None
            plan += _line(zfs, one, short, own if own and zfs.find(own) else None, "i" not in flags)
    return plan


def _base_name(filesystem: str, base: str) -> str:
    if "@" not in base:
        return f"{filesystem}@{base}"
    return filesystem + base if base.startswith("@") else base


def _check_place(zfs: Zfs, filesystem: str, source: str) -> None:
    """zfs_do_send(): what an increment is against is a snapshot of the same filesystem, or its origin."""
    if filesystem_of(source) != filesystem and source != zfs.origin_name(zfs.datasets[filesystem]):
        raise UsageError("incremental source must be in same filesystem")
    if "/" in source.partition("@")[2] or source.count("@") > 1:
        raise UsageError("invalid incremental source")


def _check_base(zfs: Zfs, name: str, source: str) -> None:
    target, base = zfs.find(name), zfs.find(source)
    same = filesystem_of(source) == filesystem_of(name)
    is_origin = base is not None and zfs.datasets[filesystem_of(name)].get("origin") == base["id"]
    if base is None or (not same and not is_origin) or (target or {})["createtxg"] <= base["createtxg"]:
        raise ZfsError(f"WARNING: could not send {name}:\nincremental source ({source}) does not exist")


def _line(zfs: Zfs, filesystem: str, last: str, source: str | None, every: bool) -> list[tuple[str, str | None]]:
    have = [one["name"] for one in zfs.datasets[filesystem]["snapshots"]]
    end = have.index(last)
    if not every:
        return [(f"{filesystem}@{last}", source)]
    begin = have.index(source.partition("@")[2]) + 1 if source and filesystem_of(source) == filesystem else 0
    before: str | None = source
    if source is None:
        before = zfs.origin_name(zfs.datasets[filesystem])
        before = before if before else None
    found: list[tuple[str, str | None]] = []
    for short in have[begin : end + 1]:
        found.append((f"{filesystem}@{short}", before))
        before = f"{filesystem}@{short}"
    return found


def _estimates(zfs: Zfs, plan: Sequence[tuple[str, str | None]], flags: dict[str, str]) -> Iterator[str]:
    if "v" not in flags and "P" not in flags:
        return
    total, zero = 0, "0B" if zfs.openzfs else "0"
    for name, base in plan:
        snapshot = zfs.find(name) or {}
        size = int(snapshot.get("written" if base else "refer", 0)) or 624
        total += size
        if "P" in flags:
            yield f"incremental\t{base}\t{name}\t{size}" if base else f"full\t{name}\t{size}"
        elif base:
            short = base if filesystem_of(base) != filesystem_of(name) or zfs.openzfs else "@" + base.partition("@")[2]
            yield f"send from {short} to {name} estimated size is {numbers.nice(size, zero)}"
        else:
            yield f"full send of {name} estimated size is {numbers.nice(size, zero)}"
    yield f"size\t{total}" if "P" in flags else f"total estimated size is {numbers.nice(total, zero)}"


def _part(zfs: Zfs, env: Env, name: str, base: str | None, flags: dict[str, str]) -> Part:
    snapshot, filesystem = zfs.find(name), filesystem_of(name)
    source = zfs.find(base) if base else None
    assert snapshot is not None
    dataset = zfs.datasets[filesystem]
    about: dict[str, Any] = {
        "name": name,
        "guid": snapshot["guid"],
        "creation": snapshot["creation"],
        "from": source["guid"] if source else 0,
        "clone": bool(base and filesystem_of(base) != filesystem),
        "type": dataset["type"],
    }
    if {"R", "p"} & set(flags):
        about["props"] = {key: value for key, value in dataset["props"].items() if _travels(key)}
    return Part(about, env.pack_tree(snapshot["id"], source["id"] if source else None))


def _travels(property_: str) -> bool:
    return property_ not in ("volsize", "volblocksize")


def receive(env: Env, argv: Sequence[str]) -> int:
    found, operands = options(argv, "vnsFudeMhAo:x:c" if env.openzfs else "vnsFudeAo:")
    flags = {letter for letter, _ in found}
    assignments = parse_assignments([value for letter, value in found if letter == "o"])
    origin = assignments.pop("origin", None)
    if assignments and not env.openzfs:
        raise UsageError("invalid option 'o'")
    excluded = {value for letter, value in found if letter == "x"}
    expect_operands(operands, "snapshot")
    if "A" in flags:
        with env.reading() as zfs:
            try:
                open_dataset(zfs, env, operands[0], "fv")
            except ZfsError as error:
                raise UsageError(error.text) from None
        raise ZfsError(f"'{operands[0]}' does not have any resumable receive state to abort")
    tops: list[str] = []

    def refuse_early(part: Part) -> None:
        tops.append(filesystem_of(part.about["name"]))
        with env.reading() as zfs:
            _check_beginning(zfs, part, _target(zfs, env, operands[0], part, flags, tops[0]), flags, len(tops) == 1)
        if env.process:
            # Killed before a stream has come whole, zfs receive leaves nothing.
            env.process.middle()

    stream = read_stream(env.read_exactly, refuse_early)
    if not stream.parts:
        raise ZfsError("cannot receive: invalid backup stream")
    top = tops[0]
    if stream.broken:
        # The kernel discards what has come; a sender that was cut off has told about it by then.
        time.sleep(0.05)
    for at, part in enumerate(stream.parts):
        broken = stream.broken if at == len(stream.parts) - 1 else ""
        started = time.monotonic()
        with env.changing() as zfs:
            target = _target(zfs, env, operands[0], part, flags, top)
            how = "full" if not part.about["from"] or part.about["clone"] else "incremental"
            if "v" in flags:
                verb = "would receive" if "n" in flags else "receiving"
                env.out(f"{verb} {how} stream of {part.about['name']} into {target}\n")
            if "n" in flags:
                continue
            _receive_part(zfs, env, part, target, flags, broken, origin, stream.recursive)
            _receive_properties(zfs, env, filesystem_of(target), part, assignments, excluded)
        if "v" in flags:
            size = sum(len(chunk) for chunk in records_of(part))
            seconds = max(1, round(time.monotonic() - started))
            text, rate = numbers.nice(size, "0B"), numbers.nice(size // seconds, "0B")
            env.out(f"received {text} stream in {seconds} seconds ({rate}/sec)\n")
    return 0


def _check_beginning(zfs: Zfs, part: Part, target: str, flags: set[str], first: bool) -> None:
    """What libzfs refuses by the beginning of a stream alone, so that the sender meets a closed pipe."""
    filesystem = filesystem_of(target)
    if part.about["from"] and not part.about["clone"]:
        if first and filesystem not in zfs.datasets:
            raise ZfsError(f"cannot receive incremental stream: destination '{filesystem}' does not exist")
    elif filesystem in zfs.datasets:
        _check_overwrite(zfs, filesystem, flags, "cannot receive new filesystem stream")


def _target(zfs: Zfs, env: Env, operand: str, part: Part, flags: set[str], top: str) -> str:
    sent, _, short = part.about["name"].partition("@")
    if flags & {"d", "e"}:
        rest = sent.partition("/")[2] if "d" in flags else top.rpartition("/")[2] + sent[len(top) :]
        if operand not in zfs.datasets:
            raise ZfsError(f"cannot receive: specified fs ({operand}) does not exist")
        return f"{operand}/{rest}@{short}" if rest else f"{operand}@{short}"
    filesystem, at, own = operand.partition("@")
    full = f"{filesystem}{sent[len(top) :]}@{own if at else short}"
    if names.problem(full, snapshot=True):
        raise ZfsError("cannot receive: invalid name")
    return full


def _receive_part(
    zfs: Zfs,
    env: Env,
    part: Part,
    target: str,
    flags: set[str],
    broken: str,
    origin: str | None,
    recursive: bool,
) -> None:
    filesystem = filesystem_of(target)
    if part.about["from"] and not part.about["clone"] and not origin:
        _receive_incremental(zfs, env, part, target, flags, broken)
        return
    complaint = "cannot receive new filesystem stream"
    if filesystem in zfs.datasets:
        _overwrite(zfs, env, filesystem, flags, complaint)
    if broken:
        raise ZfsError(f"{complaint}: {_incomplete(zfs, broken)}")
    base = _origin_of(zfs, env, part, target, origin)
    existing = zfs.datasets.get(filesystem)
    if existing is None:
        try:
            check_parents(zfs, env, filesystem)
        except ZfsError:
            raise ZfsError(f"{complaint}: destination '{filesystem}' does not exist") from None
        _refuse_space(zfs, filesystem.rpartition("/")[0], part, complaint)
        existing = zfs.add_dataset(filesystem, part.about["type"], base["id"] if base else None)
        env.make_tree(existing["id"])
    env.restore_tree(base["id"] if base else None, existing["id"])
    env.unpack_tree(existing["id"], part.tree)
    _keep_snapshot(zfs, env, filesystem, target, part)
    if "u" not in flags:
        mounting.mount_new(zfs, env, filesystem)


def _incomplete(zfs: Zfs, broken: str) -> str:
    """12.1 does not tell the two apart; OpenZFS does (recv_ecksum_set_aux in libzfs_sendrecv.c of 2.2.6)."""
    return broken if zfs.openzfs else "checksum mismatch or incomplete stream"


def _overwrite(zfs: Zfs, env: Env, filesystem: str, flags: set[str], complaint: str) -> None:
    _check_overwrite(zfs, filesystem, flags, complaint)
    mounting.unmount_one(zfs, env, filesystem)


def _check_overwrite(zfs: Zfs, filesystem: str, flags: set[str], complaint: str) -> None:
    dataset = zfs.datasets[filesystem]
    if "F" not in flags:
        raise ZfsError(f"{complaint}: destination '{filesystem}' exists\nmust specify -F to overwrite it")
    if dataset["snapshots"]:
        first = f"{filesystem}@{dataset['snapshots'][0]['name']}"
        raise ZfsError(f"{complaint}: destination has snapshots (eg. {first})\nmust destroy them to overwrite it")
    if dataset.get("origin"):
        raise ZfsError(f"{complaint}: destination '{filesystem}' is a clone\nmust destroy it to overwrite it")


def _origin_of(zfs: Zfs, env: Env, part: Part, target: str, origin: str | None) -> Record | None:
    if origin:
        return open_dataset(zfs, env, origin, "s")
    if not part.about["clone"]:
        return None
    name = zfs.snapshot_by_guid(part.about["from"])
    if name is None:
        raise ZfsError(f"cannot receive: local origin for clone {target} does not exist")
    return zfs.find(name)


def _receive_incremental(zfs: Zfs, env: Env, part: Part, target: str, flags: set[str], broken: str) -> None:
    complaint = "cannot receive incremental stream"
    filesystem = filesystem_of(target)
    if filesystem not in zfs.datasets:
        raise ZfsError(f"{complaint}: destination '{filesystem}' does not exist")
    dataset = zfs.datasets[filesystem]
    guids = [one["guid"] for one in dataset["snapshots"]]
    if part.about["guid"] in guids:
        return
    if part.about["from"] in guids and "F" in flags:
        for newer in dataset["snapshots"][guids.index(part.about["from"]) + 1 :]:
            remove_snapshot(zfs, env, f"{filesystem}@{newer['name']}")
    if not guids or dataset["snapshots"][-1]["guid"] != part.about["from"]:
        raise ZfsError(f"{complaint}: most recent snapshot of {filesystem} does not\nmatch incremental source")
    env.measure(zfs, filesystem)
    last = dataset["snapshots"][-1]
    if "F" in flags:
        env.restore_tree(last["id"], dataset["id"])
    elif not env.same_trees(last["id"], dataset["id"]):
        raise ZfsError(f"{complaint}: destination {filesystem} has been modified\nsince most recent snapshot")
    if broken:
        raise ZfsError(f"{complaint}: {_incomplete(zfs, broken)}")
    _refuse_space(zfs, filesystem, part, complaint)
    env.unpack_tree(dataset["id"], part.tree)
    _keep_snapshot(zfs, env, filesystem, target, part)


def _refuse_space(zfs: Zfs, name: str, part: Part, complaint: str) -> None:
    if space.refusal(zfs, name, len(part.tree)):
        raise ZfsError(f"{complaint}: out of space")


def _keep_snapshot(zfs: Zfs, env: Env, filesystem: str, target: str, part: Part) -> None:
    kept = zfs.add_snapshot(filesystem, target.partition("@")[2])
    kept["guid"], kept["creation"] = part.about["guid"], part.about["creation"]
    env.copy_tree(zfs.datasets[filesystem]["id"], kept["id"])
    env.measure(zfs, filesystem)


def _receive_properties(
    zfs: Zfs, env: Env, name: str, part: Part, assignments: dict[str, str], excluded: set[str]
) -> None:
    dataset = zfs.datasets[name]
    received = {key: value for key, value in part.about.get("props", {}).items() if key not in excluded}
    if received:
        dataset["received"] = {**dataset.get("received", {}), **received}
    if assignments:
        letter = "v" if dataset["type"] == "volume" else "f"
        apply_values(dataset, checked_values(zfs, assignments, letter, "cannot receive"))
