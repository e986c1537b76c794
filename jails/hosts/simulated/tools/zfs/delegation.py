"""zfs allow and unallow (zfs_do_allow_unallow_impl in cmd/zfs/zfs_main.c of 12.1).

A dataset keeps `delegated`: {who: {permission: where}}, `who` being `s$NAME` (a set), `c$` (who creates), `u$UID`,
`g$GID` or `e$`, and `where` of the letters l (here) and d (below), - for sets and creators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .datasets import open_dataset
from .env import Env
from .errors import UsageError, ZfsError, options
from .model import Record, Zfs, parent_of
from .properties import is_user_property

ORDER = "scuge"
PERMISSIONS = frozenset(
    "allow bookmark clone create destroy diff groupquota groupused hold mount promote receive release remap rename "
    "rollback send share snapshot userprop userquota userused vscan".split()
)


class Call(NamedTuple):
    """What the words say: `who` None to show; `permissions` None for all of them (unallow)."""

    dataset: str
    who: str | None
    permissions: list[str] | None
    where: str


def allow(env: Env, argv: Sequence[str]) -> int:
    return _run(env, argv, taking=False)


def unallow(env: Env, argv: Sequence[str]) -> int:
    return _run(env, argv, taking=True)


def _run(env: Env, argv: Sequence[str], taking: bool) -> int:
    found, operands = options(argv, "ldugecsrh" if taking else "ldugecsh")
    flags = {letter for letter, _ in found}
    call = _call(flags, operands, taking)
    with env.changing() as zfs:
        try:
            record = open_dataset(zfs, env, call.dataset, "fv")
        except ZfsError as error:
            raise ZfsError(f"{error.text}\nFailed to open dataset: {call.dataset}", 255) from None
        if call.who is None:
            _show(zfs, env, call.dataset)
            return 0
        keys = _keys(env, flags, call.who)
        below = [zfs.datasets[one] for one in zfs.descendants(call.dataset)] if "r" in flags else []
        for one in [record, *below]:
            for key in keys:
                _change(zfs, one, key, call, taking)
    return 0


def _call(flags: set[str], operands: list[str], taking: bool) -> Call:
    where = "".join(letter for letter in "ld" if letter in flags) or "ld"
    if len(flags & set("uge")) > 1:
        raise UsageError("-u, -g, and -e are mutually exclusive")
    if "s" in flags:
        dataset, permissions = _last(operands, 3, taking)
        if not operands[0].startswith("@"):
            raise UsageError("invalid set name: missing '@' prefix")
        return Call(dataset, operands[0], permissions, "-")
    if flags & set("ce"):
        return Call(*_last(operands, 2, taking)[:1], "", _last(operands, 2, taking)[1], "-" if "c" in flags else where)
    if operands[:1] == ["everyone"] and not flags & set("ug"):
        flags.add("e")
        dataset, permissions = _last(operands[1:], 2, taking)
        return Call(dataset, "", permissions, where)
    if len(operands) == 1 and not taking:
        return Call(operands[0], None, None, where)
    dataset, permissions = _last(operands, 3, taking)
    return Call(dataset, operands[0], permissions, where)


def _last(operands: list[str], expected: int, taking: bool) -> tuple[str, list[str] | None]:
    """The dataset and the permissions before it."""
    if len(operands) == expected - 1 and taking:
        return operands[-1], None
    if len(operands) != expected:
        raise UsageError("wrong number of parameters")
    return operands[-1], operands[-2].split(",")


def _keys(env: Env, flags: set[str], who: str) -> list[str]:
    if "s" in flags:
        return [f"s${who}"]
    if flags & set("ce"):
        return ["c$" if "c" in flags else "e$"]
    return [_person(env, flags, name) for name in who.split(",")]


def _person(env: Env, flags: set[str], name: str) -> str:
    for letter, file in (("u", "passwd"), ("g", "group")):
        if "ug".replace(letter, "") in flags:
            continue
        for row in _rows(env, file):
            if name in (row[0], row[2]):
                return f"{letter}${row[2]}"
    kind = "user" if "u" in flags else "group" if "g" in flags else "user/group"
    raise UsageError(f"invalid {kind} {name}")


def _rows(env: Env, file: str) -> list[list[str]]:
    try:
        text = env.process.path(f"/etc/{file}").read_text(errors="replace")
    except OSError:
        return []
    return [row for line in text.splitlines() if len(row := line.split(":")) > 2 and not line.startswith("#")]


def _change(zfs: Zfs, record: Record, key: str, call: Call, taking: bool) -> None:
    given: dict[str, dict[str, str]] = record.setdefault("delegated", {})
    held = given.setdefault(key, {})
    for name in list(held) if call.permissions is None else call.permissions:
        if not _known(zfs, name):
            complaint = f"cannot set permissions on '{call.dataset}'"
            raise ZfsError(f"{complaint}: operation not applicable to datasets of this type")
        if not taking:
            held[name] = "".join(letter for letter in "ld-" if letter in held.get(name, "") + call.where)
        else:
            held[name] = "".join(letter for letter in held.get(name, "") if letter not in call.where)
            if not held[name]:
                del held[name]
    record["delegated"] = {one: held for one, held in given.items() if held}


def _known(zfs: Zfs, name: str) -> bool:
    """zfs_valid_permission_name() in zfs_deleg.c."""
    known = name in PERMISSIONS or zfs.properties.find(name) is not None
    return known or name.startswith("@") or is_user_property(name)


def _show(zfs: Zfs, env: Env, name: str) -> None:
    at = name
    while at:
        given = zfs.datasets[at].get("delegated", {})
        if given:
            head = f"---- Permissions on {at} "
            env.out(head.ljust(70, "-") + "\n")
            _show_sets(env, given)
            for title, where in (("Local", "l"), ("Descendent", "d"), ("Local+Descendent", "ld")):
                _show_people(env, given, title, where)
        at = parent_of(at)


def _sorted(given: dict[str, dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    return sorted(given.items(), key=lambda item: (ORDER.index(item[0][0]), item[0]))


def _show_sets(env: Env, given: dict[str, dict[str, str]]) -> None:
    # The titles are taken in their order, whichever comes first: so does print_set_creat_perms().
    titles = iter(("Permission sets:\n", "Create time permissions:\n"))
    before = ""
    for key, held in _sorted(given):
        if key[0] not in "sc":
            continue
        if key[0] != before:
            env.out(next(titles))
            before = key[0]
        env.out(f"\t{key[2:]} " if key[2:] else "\t")
        env.out(",".join(sorted(held)) + "\n")


def _show_people(env: Env, given: dict[str, dict[str, str]], title: str, where: str) -> None:
    lines = []
    for key, held in _sorted(given):
        names = sorted(name for name, there in held.items() if there == where)
        if key[0] in "uge" and names:
            lines.append(f"\t{_title(env, key)} {','.join(names)}\n")
    if lines:
        env.out(f"{title} permissions:\n" + "".join(lines))


def _title(env: Env, key: str) -> str:
    if key[0] == "e":
        return "everyone"
    file, kind = ("passwd", "user") if key[0] == "u" else ("group", "group")
    name = next((row[0] for row in _rows(env, file) if row[2] == key[2:]), key[2:])
    return f"{kind} {name}"
