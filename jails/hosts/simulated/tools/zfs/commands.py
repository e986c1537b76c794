"""The subcommands of zfs(8) and zpool(8), their usage, and the history of pools."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .env import Env
from .errors import UsageError, ZfsError

ZFS = {
    "create": "datasets:create",
    "destroy": "datasets:destroy",
    "snapshot": "datasets:snapshot",
    "snap": "datasets:snapshot",
    "rollback": "datasets:rollback",
    "clone": "datasets:clone",
    "promote": "datasets:promote",
    "rename": "datasets:rename",
    "bookmark": "marks:bookmark",
    "list": "listing:list_",
    "get": "listing:get",
    "set": "setting:set_",
    "inherit": "setting:inherit",
    "upgrade": "marks:upgrade",
    "userspace": "marks:userspace",
    "groupspace": "marks:userspace",
    "mount": "mounting:mount",
    "unmount": "mounting:unmount",
    "umount": "mounting:unmount",
    "send": "stream:send",
    "receive": "stream:receive",
    "recv": "stream:receive",
    "share": "marks:share",
    "unshare": "marks:share",
    "allow": "delegation:allow",
    "unallow": "delegation:unallow",
    "hold": "marks:hold",
    "holds": "marks:holds",
    "release": "marks:release",
    "diff": "marks:diff",
    "jail": "mounting:jail",
    "unjail": "mounting:unjail",
}
ZPOOL = {
    "create": "pools:create",
    "destroy": "pools:destroy",
    "add": "pools:add",
    "list": "pools:list_",
    "iostat": "pools:iostat",
    "status": "pools:status",
    "online": "pools:online",
    "offline": "pools:offline",
    "clear": "pools:clear",
    "attach": "pools:attach",
    "detach": "pools:detach",
    "replace": "pools:replace",
    "labelclear": "pools:labelclear",
    "reopen": "pools:reopen",
    "scrub": "pools:scrub",
    "import": "pools:import_",
    "export": "pools:export",
    "upgrade": "pools:upgrade",
    "reguid": "pools:reguid",
    "history": "pools:history",
    "get": "pools:get",
    "set": "pools:set_",
    "sync": "pools:sync",
}
# First lines of the usage, of 12.1 and where they differ of zfs-2.2.6 (get_usage in zfs_main.c and zpool_main.c).
ZFS_USAGE = {
    "create": ["create [-pu] [-o property=value] ... <filesystem>"],
    "destroy": [
        "destroy [-fnpRrv] <filesystem|volume>",
        "destroy [-dnpRrv] <filesystem|volume>@<snap>[%<snap>][,...]",
        "destroy <filesystem|volume>#<bookmark>",
    ],
    "snapshot": ["snapshot|snap [-r] [-o property=value] ... <filesystem|volume>@<snap> ..."],
    "rollback": ["rollback [-rRf] <snapshot>"],
    "clone": ["clone [-p] [-o property=value] ... <snapshot> <filesystem|volume>"],
    "promote": ["promote <clone-filesystem>"],
    "rename": ["rename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>"],
    "bookmark": ["bookmark <snapshot> <bookmark>"],
    "list": [
        "list [-Hp] [-r|-d max] [-o property[,...]] [-s property]...",
        "    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...",
    ],
    "get": [
        'get [-rHp] [-d max] [-o "all" | field[,...]]',
        "    [-t type[,...]] [-s source[,...]]",
        '    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...',
    ],
    "set": ["set <property=value> ... <filesystem|volume|snapshot> ..."],
    "inherit": ["inherit [-rS] <property> <filesystem|volume|snapshot> ..."],
    "mount": ["mount", "mount [-vO] [-o opts] <-a | filesystem>"],
    "unmount": ["unmount|umount [-f] <-a | filesystem|mountpoint>"],
    "send": ["send [-DnPpRvLec] [-[iI] snapshot] <snapshot>"],
    "receive": ["receive|recv [-vnsFu] <filesystem|volume|snapshot>"],
    "hold": ["hold [-r] <tag> <snapshot> ..."],
    "holds": ["holds [-Hp] [-r|-d depth] <filesystem|volume|snapshot> ..."],
    "release": ["release [-r] <tag> <snapshot> ..."],
    "diff": ["diff [-FHt] <snapshot> [snapshot|filesystem]"],
    "jail": ["jail <jailid|jailname> <filesystem>"],
    "unjail": ["unjail <jailid|jailname> <filesystem>"],
}
ZPOOL_USAGE = {
    "create": [
        "create [-fnd] [-B] [-o property=value] ... ",
        "    [-O file-system-property=value] ...",
        "    [-m mountpoint] [-R root] [-t tempname] <pool> <vdev> ...",
    ],
    "list": ["list [-gHLpPv] [-o property[,...]] [-T d|u] [pool] ... [interval [count]]"],
    "get": ['get [-Hp] [-o "all" | field[,...]] <"all" | property[,...]> <pool> ...'],
    "iostat": ["iostat [-gLPv] [-T d|u] [pool] ... [interval [count]]"],
    "status": ["status [-DgLPvx] [-T d|u] [pool] ... [interval [count]]"],
    "set": ["set <property=value> <pool> "],
    "destroy": ["destroy [-f] <pool>"],
    "add": ["add [-fgLnP] <pool> <vdev> ..."],
    "export": ["export [-f] <pool> ..."],
    "scrub": ["scrub [-s | -p] <pool> ..."],
}
ZFS_USAGE_OPENZFS = {
    **ZFS_USAGE,
    "create": [
        "create [-Pnpuv] [-o property=value] ... <filesystem>",
        "create [-Pnpsv] [-b blocksize] [-o property=value] ... -V <size> <volume>",
    ],
    "snapshot": ["snapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ..."],
    "bookmark": ["bookmark <snapshot|bookmark> <newbookmark>"],
    "set": ["set [-u] <property=value> ... <filesystem|volume|snapshot> ..."],
    "mount": ["mount", "mount [-flvO] [-o opts] <-a|-R filesystem|filesystem>"],
    "unmount": ["unmount [-fu] <-a | filesystem|mountpoint>"],
    "send": ["send [-DLPbcehnpsVvw] [-i|-I snapshot]", "     [-R [-X dataset[,dataset]...]]     <snapshot>"],
    "receive": [
        "receive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...",
        "    <filesystem|volume|snapshot>",
    ],
    "holds": ["holds [-rHp] <snapshot> ..."],
    "diff": ["diff [-FHth] <snapshot> [snapshot|filesystem]"],
    "version": ["version"],
}
ZPOOL_USAGE_OPENZFS = {
    **ZPOOL_USAGE,
    "create": [
        "create [-fnd] [-o property=value] ... ",
        "    [-O file-system-property=value] ... ",
        "    [-m mountpoint] [-R root] <pool> <vdev> ...",
    ],
    "add": ["add [-afgLnP] [-o property=value] <pool> <vdev> ..."],
    "list": ["list [-gHLpPv] [-o property[,...]] [-T d|u] [pool] ... ", "    [interval [count]]"],
    "set": ["set <property=value> <pool>", "set <vdev_property=value> <pool> <vdev>"],
    "export": ["export [-af] <pool> ..."],
    "scrub": ["scrub [-s | -p] [-w] [-e] <pool> ..."],
    "version": ["version"],
}
# What FreeBSD 13.x, 14.x and 15.x carry.
VERSIONS = {13: "2.1.15", 14: "2.2.6", 15: "2.4.0"}
ZFS_TRAILER = "\nFor the property list, run: zfs set|get\n\nFor the delegated permission list, run: zfs allow|unallow\n"
QUIET = {"list", "get", "holds", "diff", "send", "status", "iostat", "history", "userspace", "groupspace", "mount"} | {
    "unmount",
    "umount",
    "sync",
}
SAME = {"snap": "snapshot", "umount": "unmount", "recv": "receive"}


def zfs(process: Any) -> int:
    """zfs(8)."""
    return _run(process, ZFS, ZFS_USAGE, ZFS_USAGE_OPENZFS)


def zpool(process: Any) -> int:
    """zpool(8)."""
    return _run(process, ZPOOL, ZPOOL_USAGE, ZPOOL_USAGE_OPENZFS)


def _run(process: Any, commands: dict[str, str], legacy: dict[str, list[str]], openzfs: dict[str, list[str]]) -> int:
    env = Env(process)
    try:
        if env.openzfs and env.argv[1:] == ["version"]:
            return _version(env)
        return _dispatch(env, commands, openzfs if env.openzfs else legacy)
    finally:
        env.flush()


def _version(env: Env) -> int:
    with env.reading() as zfs:
        number = VERSIONS.get(zfs.release[0], "2.2.6")
    env.out(f"zfs-{number}-FreeBSD\nzfs-kmod-{number}-FreeBSD\n")
    return 0


def _dispatch(env: Env, commands: dict[str, str], usage: dict[str, list[str]]) -> int:
    tool, arguments = env.argv[0].rpartition("/")[2], env.argv[1:]
    if not arguments:
        return _misused(env, tool, "missing command", None, usage)
    name = arguments[0]
    if name == "-?" or (name == "--help" and env.openzfs):
        _misused(env, tool, "", None, usage, env.out)
        return 0
    if name not in commands:
        return _misused(env, tool, f"unrecognized command '{name}'", None, usage)
    if not env.library_works():
        env.err("internal error: failed to initialize ZFS library\n")
        return 1
    if SAME.get(name, name) not in QUIET:
        env.history = " ".join([tool, *arguments])
    module, _, function = commands[name].partition(":")
    act = getattr(importlib.import_module(f".{module}", __package__), function)
    try:
        rc: int = act(env, arguments[1:])
    except UsageError as error:
        return _misused(env, tool, error.text, SAME.get(name, name), usage)
    except ZfsError as error:
        env.err(error.text + "\n")
        return error.rc
    return rc


def _misused(
    env: Env,
    tool: str,
    text: str,
    command: str | None,
    usage: dict[str, list[str]],
    say: Callable[[str], None] | None = None,
) -> int:
    say = say or env.err
    if text:
        say(text + "\n")
    if command is None:
        say(f"usage: {tool} command args ...\nwhere 'command' is one of the following:\n\n")
        for lines in usage.values():
            say("".join(f"\t{line}\n" for line in lines))
    else:
        say("usage:\n" + "".join(f"\t{line}\n" for line in usage.get(command, [command])))
    if tool == "zfs" and not text.startswith("bad property list"):
        say(ZFS_TRAILER)
    return 2
