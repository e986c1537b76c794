"""mount(8), umount(8) and mount_nullfs(8)."""

from __future__ import annotations

import errno
import os
import re
from typing import Any

from jails.hosts.simulated import prison
from jails.hosts.simulated.host import os_error, strerror
from jails.hosts.simulated.world import World

from . import devfs, kld

USAGE = """\
usage: mount [-adflpruvw] [-F fstab] [-o options] [-t ufs | external_type]
       mount [-dfpruvw] special | node
       mount [-dfpruvw] [-o options] [-t ufs | external_type] special node
"""
UMOUNT_USAGE = "usage: umount [-fNnv] special ... | node ... | fsid ...\n"
SYNTHETIC = ("devfs", "fdescfs", "procfs", "tmpfs")
TYPES = (*SYNTHETIC, "nullfs", "unionfs", "ufs", "zfs", "linprocfs", "linsysfs", "msdosfs", "cd9660")
GENERAL = set(
    "ro rw noatime noexec nosuid noauto late nocover noasync sync async union failok multilabel nosymfollow nfsv4acls "
    "snapshot noclusterr noclusterw force".split()
)
OWN = {
    "tmpfs": {"size", "mode", "uid", "gid", "inodes", "maxfilesize", "nomtime", "export"},
    "devfs": {"ruleset"},
    "fdescfs": {"linrdlnk", "nodup"},
    "nullfs": {"nocache", "cache", "emptydir"},
    "unionfs": {"below", "copymode", "whiteout", "noatime"},
}


class _Refused(Exception):
    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def seen_mounts(process: World, state: dict[str, Any]) -> list[dict[str, Any]]:
    """Mounts as the process sees them: a jail by its enforce_statfs, paths from its own root."""
    mounts = [dict(mount) for mount in state["mounts"]]
    if not process.jid:
        return mounts
    jail = prison.by_jid(state, process.jid) or {"path": "/", "set": {}}
    level = jail["set"].get("enforce_statfs", 2)
    if level == 0:
        return mounts
    root = jail["path"].rstrip("/")
    own = process.host.locate(state, jail["path"]).mount["id"]
    seen = []
    for mount in mounts:
        if mount["id"] == own:
            seen.append(mount | {"dir": "/"})
        elif level == 1 and mount["dir"].startswith(root + "/"):
            seen.append(mount | {"dir": mount["dir"][len(root) :]})
    return seen


def _list_fstab(mounts: list[dict[str, Any]]) -> str:
    """putfsent() of mount(8): columns by tabs, and a blank after what is too long for them."""
    text = ""
    for mount in mounts:
        options = _fstab_options(mount)
        text += _column(mount["source"]) + _column(mount["dir"]) + mount["type"] + "\t"
        text += options + ("\t" if len(options) < 8 else " ") + f"\t{_numbers(mount)}\n"
    return text


def _column(word: str) -> str:
    return word + "\t" * sum(len(word) < limit for limit in (8, 16)) + ("\t" if len(word) < 24 else " ")


def _fstab_options(mount: dict[str, Any]) -> str:
    words = ["ro" if "ro" in mount["options"] else "rw"]
    return ",".join(words + [word for word in mount["options"] if word not in ("ro", "rw") and "=" not in word])


def _numbers(mount: dict[str, Any]) -> str:
    """Dump and pass numbers, which mount(8) makes up for UFS."""
    if mount["type"] == "ufs":
        return "1 1" if mount["dir"] == "/" else "2 2"
    return "0 0"


_WORDS = {
    "ro": "read-only",
    "noatime": "noatime",
    "noexec": "noexec",
    "nosuid": "nosuid",
    "nfsv4acls": "nfsv4acls",
    "nosymfollow": "nosymfollow",
    "sync": "synchronous",
    "nocover": "nocover",
}


def _list_plain(mounts: list[dict[str, Any]]) -> str:
    text = ""
    for mount in mounts:
        words = [mount["type"]]
        words += ["noatime"] if "noatime" in mount["options"] else []
        words += ["local"] + (["multilabel"] if mount["type"] == "devfs" else [])
        words += [word for key, word in _WORDS.items() if key in mount["options"] and key != "noatime"]
        text += f"{mount['source']} on {mount['dir']} ({', '.join(words)})\n"
    return text


def main(caller: Any) -> int:
    process = World(caller)
    flags: set[str] = set()
    options: list[str] = []
    fstab, kind = "/etc/fstab", ""
    words = list(process.argv[1:])
    while words and words[0].startswith("-"):
        word = words.pop(0)
        for position, letter in enumerate(word[1:], 1):
            if letter in "otF":
                value = word[position + 1 :] or (words.pop(0) if words else "")
                options += value.split(",") if letter == "o" else []
                kind = value if letter == "t" else kind
                fstab = value if letter == "F" else fstab
                break
            if letter not in "adflpruvwL":
                process.err(f"mount: illegal option -- {letter}\n{USAGE}")
                return 1
            flags.add(letter)
    options += ["ro"] if "r" in flags else []
    try:
        return _dispatch(process, flags, options, fstab, kind, words)
    except _Refused as refusal:
        process.err(f"{refusal.message}\n")
        return refusal.status


def _dispatch(process: World, flags: set[str], options: list[str], fstab: str, kind: str, words: list[str]) -> int:
    if "a" in flags:
        return _all(process, fstab, kind, "l" in flags)
    if not words:
        with process.host.reading() as state:
            mounts = [m for m in seen_mounts(process, state) if not kind or m["type"] in kind.split(",")]
        if "p" in flags and process.jid and process.stat("/etc/fstab") is None:
            process.err("fstab: /etc/fstab:0: No such file or directory\n" * 2 * len(mounts))
        process.out(_list_fstab(mounts) if "p" in flags else _list_plain(mounts))
        return 0
    if "u" in flags:
        return _update(process, words[-1], options)
    if len(words) == 1:
        entry = next((row for row in _fstab_rows(process, fstab) if words[0] in (row[0], row[1])), None)
        if kind:
            process.err(USAGE)
            return 1
        if entry is None:
            raise _Refused(f"mount: {words[0]}: unknown special file or file system")
        return mount_one(process, entry[2], entry[0], entry[1], entry[3].split(",") + options)
    if len(words) != 2:
        process.err(USAGE)
        return 1
    return mount_one(process, kind or "ufs", words[0], words[1], options)


def _fstab_rows(process: World, filename: str) -> list[list[str]]:
    try:
        text = process.read_text(filename)
    except OSError as problem:
        process.err(f"fstab: {filename}:0: {strerror(problem)}\n")
        return []
    rows = []
    for line in text.splitlines():
        fields = [re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), word) for word in line.partition("#")[0].split()]
        if len(fields) >= 3:
            rows.append([*fields, *["rw", "0", "0"][len(fields) - 3 :]])
    return rows


def _all(process: World, fstab: str, kind: str, late: bool) -> int:
    status = 0
    with process.host.reading() as state:
        present = {mount["dir"] for mount in state["mounts"]}
    for source, place, type_, options, *_ in _fstab_rows(process, fstab):
        words = options.split(",")
        if "noauto" in words or type_ in ("swap", "xx") or place in present or (kind and type_ != kind):
            continue
        if "late" in words and not late:
            continue
        try:
            mount_one(process, type_, source, place, words)
        except _Refused as refusal:
            process.err(f"{refusal.message}\n")
            status = refusal.status
    return status


def _update(process: World, path: str, options: list[str]) -> int:
    try:
        place = process.locate(path)
    except OSError as problem:
        raise _Refused(f"mount: {path}: {strerror(problem)}") from None
    if not place.is_mountpoint:
        raise _Refused(f"mount: {path}: not currently mounted")
    if place.mount["type"] == "nullfs":
        raise _Refused(f"mount_nullfs: {path}: Operation not supported")
    with process.host.changing() as state:
        mount = next(one for one in state["mounts"] if one["id"] == place.mount["id"])
        kept = [word for word in mount["options"] if not ({"ro", "rw"} & set(options) and word in ("ro", "rw"))]
        mount["options"] = [*[word for word in options if word], *kept]
    return 0


def mount_one(process: World, kind: str, source: str, path: str, options: list[str]) -> int:
    """Mount one file system, in the words of the helper that mount(8) would call."""
    options = [word for word in options if word and word not in ("noauto", "late", "failok")]
    if kind == "nullfs":
        return _nullfs(process, source, path, options, f"mount: {path}")
    if kind not in TYPES or kind in ("linprocfs", "linsysfs"):
        raise _Refused(f"mount: {source}: Operation not supported by device")
    if process.jid and not _jail_may(process, kind):
        raise _Refused(f"mount: {source}: Operation not permitted")
    place = _directory(process, path, f"mount: {path}")
    for word in options:
        name = word.partition("=")[0]
        if name not in GENERAL and name not in OWN.get(kind, set()):
            raise _Refused(f"mount: {source}: mount option <{name}> is unknown: Invalid argument")
    if kind == "tmpfs":
        _check_tmpfs(source, options)
    if kind == "zfs":
        return _zfs(process, source, place, options)
    if kind == "ufs":
        return _memory_disk(process, source, place, options)
    if kind not in (*SYNTHETIC, "unionfs"):
        raise _Refused(f"mount: {source}: No such file or directory")
    label = kind if kind in SYNTHETIC else f"<above>:{source}"
    with process.host.changing() as state:
        kld.load(state, kind)
        made = process.host.mount(state, label, place, kind, ["ro" if "ro" in options else "rw", *_kept(options)])
        if kind == "tmpfs":
            _furnish_tmpfs(process, made, place, options)
        if kind == "devfs":
            ruleset = next((word.partition("=")[2] for word in options if word.startswith("ruleset=")), "0")
            devfs.furnish(process.host, state, made, ruleset or "0")
    return 0


def _values(options: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in options if "=" in word)


def _check_tmpfs(source: str, options: list[str]) -> None:
    """tmpfs_mount() in sys/fs/tmpfs: numbers that are none are EINVAL, with nothing more to say."""
    given = _values(options)
    for name, form in (("size", r"\d+[kKmMgGtT]?"), ("inodes", r"\d+[kKmMgGtT]?"), ("mode", r"[0-7]+")):
        if name in given and not re.fullmatch(form, given[name]):
            raise _Refused(f"mount: {source}: Invalid argument")


def _furnish_tmpfs(process: World, mount: dict[str, Any], place: Any, options: list[str]) -> None:
    """The root of a tmpfs has the mode and owner of the directory below it, where no option says otherwise."""
    given, below = _values(options), process.host.metadata(place.backing)
    mode = int(given["mode"], 8) if "mode" in given else below.get("mode", place.backing.stat().st_mode & 0o7777)
    root = process.host.directory / mount["backing"]
    root.chmod(mode | 0o700)
    changes: dict[str, Any] = {} if mode & 0o700 == 0o700 else {"mode": mode}
    for name in ("uid", "gid"):
        value = int(given[name]) if given.get(name, "").isdigit() else below.get(name)
        changes |= {name: value} if value else {}
    if changes:
        process.host.set_metadata(root, **changes)


def _zfs(process: World, source: str, place: Any, options: list[str]) -> int:
    """A dataset whose mountpoint is legacy, or any other, at a place of the caller's."""
    from .zfs import backing_of

    with process.host.changing() as state:
        backing = backing_of(state, source)
        if backing is None:
            raise _Refused(f"mount: {source}: No such file or directory")
        if any(one["type"] == "zfs" and one["source"] == source for one in state["mounts"]):
            raise _Refused(f"mount: {source}: Device busy")
        access = "ro" if "ro" in options or "@" in source else "rw"
        process.host.mount(state, source, place, "zfs", [access, *_kept(options), "nfsv4acls"], backing=backing)
    return 0


def _memory_disk(process: World, source: str, place: Any, options: list[str]) -> int:
    """UFS, which the simulated host has on memory disks besides its own root."""
    from .disks import md_backing

    with process.host.changing() as state:
        backing = md_backing(state, source)
        if backing is None:
            missing = source.removeprefix("/dev/") not in state["disks"]
            raise _Refused(f"mount: {source}: {'No such file or directory' if missing else 'Invalid argument'}")
        if any(one["source"] == source for one in state["mounts"]):
            raise _Refused(f"mount: {source}: Device busy")
        process.host.mount(
            state, source, place, "ufs", ["ro" if "ro" in options else "rw", *_kept(options)], backing=backing
        )
    return 0


def _kept(options: list[str]) -> list[str]:
    return [word for word in options if word not in ("ro", "rw")]


def _jail_may(process: World, kind: str) -> bool:
    with process.host.reading() as state:
        jail = prison.by_jid(state, process.jid)
        given = jail["set"] if jail else {}
    return bool(given.get("allow.mount") and given.get(f"allow.mount.{kind}") and given.get("enforce_statfs", 2) < 2)


def _directory(process: World, path: str, prefix: str) -> Any:
    try:
        place = process.locate(path)
        if not os.path.lexists(place.backing):
            raise os_error(errno.ENOENT, path)
        if not os.path.isdir(place.backing):
            raise os_error(errno.ENOTDIR, path)
    except OSError as problem:
        raise _Refused(f"{prefix}: {strerror(problem)}", 64 if prefix.startswith("mount_nullfs") else 1) from None
    return place


def mount_nullfs(caller: Any) -> int:
    """mount_nullfs(8) called by itself: sysexits(3) for what is wrong with its operands."""
    process = World(caller)
    words, options = list(process.argv[1:]), []
    while len(words) > 1 and words[0] == "-o":
        options += words[1].split(",")
        words = words[2:]
    if len(words) != 2:
        process.err("usage: mount_nullfs [-o options] target mount-point\n")
        return 64
    try:
        return _nullfs(process, words[0], words[1], options, f"mount_nullfs: {words[1]}")
    except _Refused as refusal:
        process.err(f"{refusal.message}\n")
        return refusal.status


def _nullfs(process: World, source: str, path: str, options: list[str], prefix: str) -> int:
    if process.jid and not _jail_may(process, "nullfs"):
        raise _Refused(f"mount_nullfs: {path}: Operation not permitted")
    if prefix.startswith("mount:"):
        _directory(process, path, prefix)
    lower = _exists(process, source)
    upper = _directory(process, path, f"mount_nullfs: {path}")
    for word in _kept(options):
        name = word.partition("=")[0]
        if name not in GENERAL and name not in OWN["nullfs"]:
            raise _Refused(f"mount_nullfs: {path}: mount option <{name}> is unknown: Invalid argument")
    same = os.path.realpath(lower.backing) == os.path.realpath(upper.backing)
    if same or (upper.mount["type"] == "nullfs" and upper.is_mountpoint and upper.mount["source"] == lower.path):
        raise _Refused(f"mount_nullfs: {path}: Resource deadlock avoided")
    with process.host.changing() as state:
        kld.load(state, "nullfs")
        backing = os.path.relpath(lower.backing, process.host.directory)
        mode = "ro" if "ro" in options or lower.read_only else "rw"
        process.host.mount(state, lower.path, upper, "nullfs", [mode, *_kept(options)], backing=backing)
    return 0


def _exists(process: World, source: str) -> Any:
    try:
        place = process.locate(source)
        if not os.path.lexists(place.backing):
            raise os_error(errno.ENOENT, source)
        return place
    except OSError as problem:
        raise _Refused(f"mount_nullfs: {source}: {strerror(problem)}", 64) from None


def umount(caller: Any) -> int:
    process = World(caller)
    flags: set[str] = set()
    kind, words = "", list(process.argv[1:])
    while words and words[0].startswith("-"):
        word = words.pop(0)
        for position, letter in enumerate(word[1:], 1):
            if letter in "thF":
                value = word[position + 1 :] or (words.pop(0) if words else "")
                kind = value if letter == "t" else kind
                break
            if letter not in "AafNnv":
                process.err(f"umount: illegal option -- {letter}\n{UMOUNT_USAGE}")
                return 1
            flags.add(letter)
    if flags & {"a", "A"}:
        with process.host.reading() as state:
            mounts = [m for m in state["mounts"] if m["dir"] not in ("/", "/dev") and (not kind or m["type"] == kind)]
        return max([_unmount(process, m["dir"], "", "f" in flags) for m in reversed(mounts)], default=0)
    if not words:
        process.err(UMOUNT_USAGE)
        return 1
    return max(_unmount(process, word, kind, "f" in flags) for word in words)


def _unmount(process: World, word: str, kind: str, force: bool) -> int:
    with process.host.reading() as state:
        mounts = state["mounts"]
    try:
        place = process.locate(word)
        mount = place.mount if place.is_mountpoint else None
        found = os.path.lexists(place.backing)
    except OSError:
        mount, found = None, False
    if mount is None:
        mount = next((m for m in reversed(mounts) if m["source"] == word), None)
    if mount is None and not found:
        process.err(f"umount: {word}: statfs: No such file or directory\numount: {word}: unknown file system\n")
        return 1
    if mount is None or (kind and mount["type"] not in kind.split(",")):
        process.err(f"umount: {word}: not a file system root directory\n")
        return 1
    return _take_off(process, mount, force)


def _take_off(process: World, mount: dict[str, Any], force: bool) -> int:
    with process.host.changing() as state:
        if force and mount["dir"] != "/":
            reason = next((f"{m['dir']}" for m in state["mounts"] if m["on"] == mount["id"]), None)
        else:
            reason = process.host.busy(state, mount) or ("it is the root" if mount["dir"] == "/" else None)
        if not reason:
            process.host.unmount(state, mount)
    if not reason:
        return 0
    process.err(f"umount: unmount of {mount['dir']} failed: Device busy\n")
    return 1
