"""Where jails' trees are: who may look into them, what they are mounted from, and what iocage wants."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from jails.freebsd import loginconf, names
from jails.hosts.facts import HostFacts
from jails.hosts.survey import HostSurvey
from jails.readiness.finding import Finding, Look, Status, listed

NETWORK = ("nfs", "smbfs", "fusefs", "p9fs", "autofs")


def roots_of(facts: HostFacts) -> dict[str, str]:
    """Path of a tree → its jail; not of jails in jails, whose paths are a tenant's."""
    found: dict[str, str] = {}
    if "files" not in facts.missing:
        found |= {jail.path: jail.name for jail in facts.configured if jail.path and "." not in jail.name}
    if "jails" not in facts.missing:
        found |= {jail.path: jail.name for jail in facts.jails if not jail.parent and jail.path != "/"}
    return {path: name for path, name in found.items() if names.path_error(path) is None}


def readable(look: Look) -> Iterable[Finding]:
    facts, survey = look.known, look.seen
    facts.require("jails", "files")
    survey.require("modes")
    by_folder: dict[str, list[str]] = {}
    for path, name in sorted(roots_of(facts).items()):
        by_folder.setdefault(folder_of(path), []).append(name)
    if facts.jail_root in survey.modes:
        by_folder.setdefault(facts.jail_root, [])
    for folder, jails in sorted(by_folder.items()):
        yield _readable(survey, folder, jails, facts.jail_root)
    if not by_folder:
        reason = f"There is no {facts.jail_root} yet; the panel makes it for root alone."
        yield Finding("tree", Status.PASS, "Trees of jails are closed to users of the host", reason, "chmod(1)")


def folder_of(path: str) -> str:
    """The folder that holds the trees of jails. Where tools keep a folder a jail, with the tree in it, that above."""
    tree = PurePosixPath(path)
    return str(tree.parent.parent if tree.name in ("root", "m") else tree.parent)


def _readable(survey: HostSurvey, folder: str, jails: list[str], jail_root: str) -> Finding:
    key, title, man = f"tree:{folder}", f"{folder} is closed to users of the host", "chmod(1)"
    guards = [folder, *(str(parent) for parent in PurePosixPath(folder).parents)]
    shut = next((path for path in guards if path in survey.modes and not int(survey.modes[path].mode, 8) & 0o001), "")
    if shut:
        mode, what = survey.modes[shut].mode, "" if shut == folder else f", so {folder} is out of reach"
        return Finding(key, Status.PASS, title, f"{shut} has mode {mode}{what}.", man)
    if folder not in survey.modes:
        return Finding(key, Status.UNKNOWN, title, f"The mode of {folder} could not be read.", man)
    whose = f" They can read and run what is in {listed(jails)}, setuid programs among it." if jails else ""
    reason = f"{folder} has mode {survey.modes[folder].mode}: every user of the host may enter it.{whose}"
    if may_close(folder, jail_root):
        return Finding(key, Status.FAIL, title, reason, man, "tree_mode", {"path": folder})
    advice = f"{folder} is not for jails alone: move them into a folder of their own, and close that."
    return Finding(key, Status.FAIL, title, reason, man, advice=advice)


def may_close(folder: str, jail_root: str) -> bool:
    """Whether a folder is for jails alone, by its name or because the panel makes its jails there: then it may be shut
    without anybody else noticing."""
    path = PurePosixPath(folder)
    return "jail" in path.name.lower() or (folder == jail_root and len(path.parts) > 2)


def filesystems(look: Look) -> Iterable[Finding]:
    key, title, man = "filesystems", "Local file systems under jails", "mount_unionfs(8)"
    facts = look.known
    facts.require("mounts", "jails", "files")
    roots = roots_of(facts)
    union, remote = [], []
    for mount in facts.mounts:
        jail = next((name for path, name in roots.items() if _holds(mount.path, path)), None)
        below = any(mount.path == path or mount.path.startswith(f"{path.rstrip('/')}/") for path in roots)
        if jail is None and not below:
            continue
        if mount.type == "unionfs" or "union" in mount.options:
            union.append(mount.path)
        elif mount.type.startswith(NETWORK):
            remote.append(f"{mount.path} ({mount.type})")
    if union:
        reason = f"unionfs is under jails: {listed(union)}. It is known to lose data and to stop the kernel."
        advice = "Use nullfs for what is shared and read-only, or ZFS clones for what is changed."
        yield Finding(key, Status.FAIL, title, reason, man, advice=advice)
    elif remote:
        reason = f"Jails stand on the network: {listed(remote)}. When it is away they hang, and cannot be stopped."
        advice = "Keep trees on local disks; mount what must come from elsewhere with soft,intr."
        yield Finding(key, Status.WARN, title, reason, "mount_nfs(8)", advice=advice)
    else:
        yield Finding(key, Status.PASS, title, "No unionfs and no network file system is under a jail.", man)


def _holds(mounted: str, path: str) -> bool:
    """Whether a mount point, other than the root, holds a path."""
    return mounted != "/" and (path == mounted or path.startswith(f"{mounted}/"))


def fdescfs(look: Look) -> Iterable[Finding]:
    key, title, man = "fdescfs", "fdescfs for iocage", "fdescfs(5)"
    if not look.iocage:
        return
    facts = look.known
    facts.require("mounts")
    mounted = any(row.path == "/dev/fd" and row.type == "fdescfs" for row in facts.mounts)
    kept = fdescfs_line(facts)
    if mounted and kept:
        yield Finding(key, Status.PASS, title, "fdescfs is mounted on /dev/fd, and fstab has it.", man)
    elif mounted:
        reason = "fdescfs is mounted on /dev/fd, but /etc/fstab does not have it: it is gone after a restart."
        yield Finding(key, Status.WARN, title, reason, man, fix="fdescfs")
    else:
        reason = "iocage is used here, and nothing is mounted on /dev/fd, which its scripts need."
        yield Finding(key, Status.FAIL, title, reason, man, fix="fdescfs")


def fdescfs_line(facts: HostFacts) -> bool:
    from jails.freebsd import mount

    return any(
        row.path == "/dev/fd" and row.type == "fdescfs" for row in mount.parse_fstab(facts.file("/etc/fstab") or "")
    )


def locale(look: Look) -> Iterable[Finding]:
    key, title, man = "locale", "A UTF-8 locale for iocage", "login.conf(5)"
    if not look.iocage:
        return
    text = look.known.file(loginconf.PATH)
    if text is None:
        yield Finding(key, Status.UNKNOWN, title, f"There is no {loginconf.PATH} that could be read.", man)
    elif loginconf.is_utf8(text):
        yield Finding(key, Status.PASS, title, "The class “default” of login.conf is UTF-8.", man)
    else:
        charset = loginconf.capabilities(text).get("charset", "not set")
        reason = f"iocage is used here, and stops at other letters: charset of the class “default” is {charset}."
        yield Finding(key, Status.FAIL, title, reason, man, fix="locale")


CHECKS = (
    ("tree", "Trees of jails are closed to users of the host", "chmod(1)", readable),
    ("filesystems", "Local file systems under jails", "mount_unionfs(8)", filesystems),
    ("fdescfs", "fdescfs for iocage", "fdescfs(5)", fdescfs),
    ("locale", "A UTF-8 locale for iocage", "login.conf(5)", locale),
)
