"""devfs(8): rule sets, and what of the devices a device file system shows by them (fs/devfs/devfs_rule.c).

``state["devfs"]`` is {rule set: {rule number: rule}}; ``state["devfs_default"]`` {mount point: its current rule set}.
A mounted devfs has an entry in its folder for each device it shows: an empty file with its mode and number kept
beside it, or a link.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Any, NamedTuple

from jails.hosts.simulated.host import Host, State

# What /etc/defaults/devfs.rules and rc leave in the kernel after boot.
DEFAULT: dict[str, dict[str, str]] = {
    "1": {"100": "hide"},
    "2": {
        "100": "path null unhide",
        "200": "path zero unhide",
        "300": "path crypto unhide",
        "400": "path random unhide",
        "500": "path urandom unhide",
    },
    "3": {
        "100": "path ptyp* unhide",
        "1100": "path ptmx unhide",
        "1200": "path pts unhide",
        "1300": "path pts/* unhide",
        "1400": "path fd unhide",
        "1500": "path fd/* unhide",
        "1600": "path stdin unhide",
        "1700": "path stdout unhide",
        "1800": "path stderr unhide",
    },
    "4": {
        "100": "include 1",
        "200": "include 2",
        "300": "include 3",
        "400": "path fuse unhide",
        "500": "path zfs unhide",
    },
}


class Device(NamedTuple):
    """`target` makes it a link; else a device of that mode, group and number."""

    target: str = ""
    mode: int = 0o600
    group: str = "wheel"
    number: int = 0


_LINKS = {"stderr": "fd/2", "stdin": "fd/0", "stdout": "fd/1", "urandom": "random"}
_OPEN = {"null": 0x21, "zero": 0x22, "full": 0x23, "zfs": 0x38, "crypto": 0x24}
_PLAIN = (
    "acpi apm apmctl atkbd0 audit auditpipe bpf bpf0 bpsm0 cd0 console consolectl ctty cuau0 cuau0.init cuau0.lock "
    "devctl devctl2 devstat fido geom.ctl hpet0 io kbd0 kbd1 kbdmux0 klog kmem mdctl mem nfslock pass0 pci psm0 "
    "reroot sysmouse tcp_log ttyu0 ttyu0.init ttyu0.lock ttyv0 ttyv1 ttyv2 ttyv3 ttyv4 ttyv5 ttyv6 ttyv7 ttyv8 ttyv9 "
    "ttyva ttyvb ufssuspend xpt0"
).split()


def devices(state: State) -> dict[str, Device]:
    """All devices of the host by name; `fd` is a directory and not among them."""
    found = {name: Device(number=0x40 + at) for at, name in enumerate(_PLAIN)}
    found |= {name: Device(target=target) for name, target in _LINKS.items()}
    found |= {
        name: Device("", 0o666, "wheel", number) for name, number in _OPEN.items() if name not in ("zfs", "crypto")
    }
    found["random"] = Device("", 0o644, "wheel", 0x7)
    disks = ["vtbd0", *state["disks"]]
    found |= {name: Device("", 0o640, "operator", 0x60 + at) for at, name in enumerate(disks)}
    if state.get("zfs") or state["disks"]:
        found["zfs"] = Device("", 0o666, "operator", _OPEN["zfs"])
    if any(row["driver"] == "pflog" for row in state.get("interfaces", [])) or _loaded(state, "pf"):
        found["pf"] = Device(number=0x39)
    return found


def _loaded(state: State, name: str) -> bool:
    return any(row["name"] == name for row in state.get("modules", []))


def furnish(host: Host, state: State, mount: dict[str, Any], ruleset: str) -> None:
    """Fill a new devfs; `ruleset` is that of the mount, 0 for none: then everything is to be seen."""
    known = devices(state)
    shown = {*known, "fd"}
    if ruleset != "0":
        shown = _apply(sets_of(state), ruleset, shown, {*known, "fd"})
    _show(host, mount, known, shown)


def _show(host: Host, mount: dict[str, Any], known: dict[str, Device], shown: set[str]) -> None:
    """Make the folder of a devfs have just these entries."""
    folder = host.directory / mount["backing"]
    there = set(host.entries(folder))
    for name in there - shown:
        if name == "fd":
            (folder / name).rmdir()
        else:
            (folder / name).unlink()
    kept: dict[str, dict[str, Any] | None] = dict.fromkeys(there - shown)
    for name in shown - there:
        if name == "fd":
            (folder / name).mkdir()
            kept[name] = None
        elif known[name].target:
            (folder / name).symlink_to(known[name].target)
        else:
            (folder / name).touch()
            kept[name] = {"mode": known[name].mode, "rdev": known[name].number} | (
                {"gid": 5} if known[name].group == "operator" else {}
            )
    if kept:
        host.set_metadata_in(folder, kept)


def _apply(sets: dict[str, dict[str, str]], ruleset: str, shown: set[str], all_names: set[str]) -> set[str]:
    """What is to be seen after the rules of a set have gone over the entries, in the order of their numbers."""
    for key in sorted(sets.get(ruleset, {}), key=int):
        shown = _apply_rule(sets, sets[ruleset][key], shown, all_names)
    return shown


def _apply_rule(sets: dict[str, dict[str, str]], rule: str, shown: set[str], all_names: set[str]) -> set[str]:
    words = rule.split()
    if words[:1] == ["include"] and len(words) > 1:
        return _apply(sets, words[1], shown, all_names)
    matched = set(all_names)
    if "path" in words[:-1]:
        pattern = words[words.index("path") + 1]
        matched = {name for name in all_names if fnmatch.fnmatchcase(name, pattern)}
    if "hide" in words:
        return shown - matched
    return shown | matched if "unhide" in words else shown


def sets_of(state: State) -> dict[str, dict[str, str]]:
    if "devfs" not in state:
        return {number: dict(rules) for number, rules in DEFAULT.items()}
    return dict(state["devfs"])


def main(process: Any) -> int:
    words = list(process.argv[1:])
    ruleset = ""
    mount = "/dev"
    while len(words) > 1 and words[0] in ("-m", "-s"):
        mount, ruleset = (words[1], ruleset) if words[0] == "-m" else (mount, words[1])
        words = words[2:]
    if not words or words[0] not in ("rule", "ruleset"):
        process.err("usage: devfs [-m mount-point] keyword argument ...\n")
        return 1
    keyword = words.pop(0)
    try:
        place = process.locate(mount)
    except OSError:
        place = None
    if place is None or not place.exists:
        process.exit(1, f"open: {mount}: No such file or directory")
    if keyword == "ruleset":
        return _ruleset(process, place, words)
    while len(words) > 1 and words[0] == "-s":
        ruleset, words = words[1], words[2:]
    return _rule(process, place, ruleset, words)


def _refused(process: Any, what: str, problem: str) -> int:
    process.err(f"devfs rule: ioctl {what}: {problem}\n")
    return 1


def _ruleset(process: Any, place: Any, words: list[str]) -> int:
    if len(words) != 1 or not re.fullmatch(r"\d+", words[0]):
        process.err("usage: devfs ruleset rulesetnum\n")
        return 1
    if place.mount["type"] != "devfs":
        process.exit(1, "ioctl DEVFSIO_SUSE: Inappropriate ioctl for device")
    if process.jid:
        process.exit(1, "ioctl DEVFSIO_SUSE: Operation not permitted")
    with process.host.changing() as state:
        state.setdefault("devfs_default", {})[place.mount["dir"]] = words[0]
        _sets(state).setdefault(words[0], {})
    return 0


def _sets(state: dict[str, Any]) -> dict[str, dict[str, str]]:
    if "devfs" not in state:
        state["devfs"] = {number: dict(rules) for number, rules in DEFAULT.items()}
    sets: dict[str, dict[str, str]] = state["devfs"]
    return sets


def _rule(process: Any, place: Any, number: str, words: list[str]) -> int:
    if not words:
        process.err("usage: devfs rule [-s ruleset] keyword argument ...\n")
        return 1
    command = words.pop(0)
    if command not in ("add", "apply", "applyset", "del", "delset", "show", "showsets"):
        process.err(f"devfs rule: unknown keyword: {command}\n")
        return 1
    if place.mount["type"] != "devfs":
        return _refused(process, "DEVFSIO_RGETNEXT", "Inappropriate ioctl for device")
    if process.jid and command not in ("show", "showsets"):
        return _refused(process, f"DEVFSIO_{'RADD' if command == 'add' else 'RAPPLY'}", "Operation not permitted")
    with process.host.changing() as state:
        sets = _sets(state)
        number = number or state.get("devfs_default", {}).get(place.mount["dir"], "0")
        return _do(process, state, sets, place.mount, number, command, words)


def _do(
    process: Any,
    state: dict[str, Any],
    sets: dict[str, dict[str, str]],
    mount: dict[str, Any],
    number: str,
    command: str,
    words: list[str],
) -> int:
    if command == "showsets":
        process.out("".join(f"{name}\n" for name in sorted(sets, key=int)))
    elif command == "show":
        rules = sets.get(number, {})
        wanted = [key for key in sorted(rules, key=int) if not words or key == words[0]]
        process.out("".join(f"{key} {rules[key]}\n" for key in wanted))
    elif number == "0":
        return _refused(
            process, {"add": "DEVFSIO_RADD", "del": "DEVFSIO_RDEL"}.get(command, "DEVFSIO_SAPPLY"), "Invalid argument"
        )
    elif command == "add":
        return _add(process, sets.setdefault(number, {}), words)
    elif command == "del":
        if not words or words[0] not in sets.get(number, {}):
            return _refused(process, "DEVFSIO_RDEL", "No such process")
        del sets[number][words[0]]
    elif command == "delset":
        # A set that is some mount's current one stays, empty.
        sets[number] = {}
        if number not in state.get("devfs_default", {}).values():
            del sets[number]
    else:
        _apply_to(process.host, state, sets, mount, number, command, words)
    return 0


def _apply_to(
    host: Host,
    state: dict[str, Any],
    sets: dict[str, dict[str, str]],
    mount: dict[str, Any],
    number: str,
    command: str,
    words: list[str],
) -> None:
    known = devices(state)
    names = {*known, "fd"}
    shown = set(host.entries(host.directory / mount["backing"]))
    if command == "applyset":
        shown = _apply(sets, number, shown, names)
    elif len(words) == 1 and words[0].isdigit():
        shown = _apply_rule(sets, sets.get(number, {}).get(words[0], ""), shown, names)
    else:
        shown = _apply_rule(sets, " ".join(words), shown, names)
    _show(host, mount, known, shown & names)


_CONDITIONS = {"path": 1, "type": 1}
_ACTIONS = {"hide": 0, "unhide": 0, "group": 1, "user": 1, "mode": 1, "include": 1}


def _add(process: Any, rules: dict[str, str], words: list[str]) -> int:
    number = words.pop(0) if words and re.fullmatch(r"\d+", words[0]) else ""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        wants = {**_CONDITIONS, **_ACTIONS}.get(word)
        if wants is None:
            process.err(f"devfs rule: unknown argument: {word}\n")
            return 1
        if wants and not rest:
            process.err(f"devfs rule: expecting argument for {word}\n")
            return 1
        rest = rest[wants:]
    if not words:
        process.err("usage: devfs rule add [rulenum] rulespec\n")
        return 1
    if number in rules:
        return _refused(process, "DEVFSIO_RADD", "File exists")
    if not number:
        number = str(max((int(key) for key in rules), default=0) // 100 * 100 + 100)
    rules[number] = " ".join(words)
    return 0
