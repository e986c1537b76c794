"""uname, sysctl, ps, df, lockf, timeout, env and the others that ask or lead processes (bin/, sbin/, usr.bin/)."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import time
from typing import Any

from jails.hosts.simulated import daemons, prison
from jails.hosts.simulated.host import State, os_error, strerror
from jails.hosts.simulated.process import NotFound, Process

from . import access
from .access import Options, each

# What the host is


def hostname_of(process: Process, state: State) -> str:
    """gethostname(3) as this process sees it."""
    return str(_jail_value(process, state, "host.hostname") or state["hostname"])


def _jail_value(process: Process, state: State, name: str) -> Any:
    row = prison.by_jid(state, process.jid) if process.jid else None
    return row["set"].get(name) if row else None


def _release_of(process: Process, state: State) -> str:
    return str(_jail_value(process, state, "osrelease") or process.host.release(state))


def _version(release: str) -> str:
    return f"FreeBSD {release} GENERIC"


def uname_main(process: Process) -> int:
    options = Options(process, "abiKmnoprsUv", "usage: uname [-abiKmnoprsUv]", 1)
    with process.host.reading() as state:
        release = _release_of(process, state)
        known = {
            "s": "FreeBSD",
            "n": hostname_of(process, state),
            "r": release,
            "v": _version(release) + (" " if release.startswith("12.") else ""),
            "m": state["arch"],
            "p": "aarch64" if state["arch"] == "arm64" else state["arch"],
            "i": "GENERIC",
            "K": str(state["osreldate"]),
            "U": str(_jail_value(process, state, "osreldate") or state["osreldate"]),
            "b": "0",
        }
    wanted = {letter for letter, _ in options.all} or {"s"}
    wanted = (wanted | set("snrvm") if "a" in wanted else wanted) | ({"s"} if "o" in wanted else set())
    process.out(" ".join(text for letter, text in known.items() if letter in wanted) + "\n")
    return 0


def freebsd_version_main(process: Process) -> int:
    options = Options(process, "kruj:", "usage: freebsd-version [-kru] [-j jail]", 1)
    with process.host.reading() as state:
        host = process.host.release(state)
        userland = str(state.get("userland") or host)
        root, label = process.root, "u"
        if "j" in options:
            try:
                root = prison.get(state, options.get("j") or "", within=process.jid)["path"]
            except prison.JailError as problem:
                process.exit(1, problem.message)
    inside = _userland(process, root) if root != "/" else userland
    shown = {letter for letter, _ in options.all} & set("kru") or {label}
    if "k" in shown:
        process.out(host + "\n")
    if "r" in shown:
        process.out(host + "\n")
    if "u" in shown or "j" in options:
        process.out((inside or host) + "\n")
    return 0


def _userland(process: Process, root: str) -> str | None:
    """USERLAND_VERSION of a tree: what its os-release says."""
    try:
        with process.host.reading() as state:
            text = process.host.locate(state, "/etc/os-release", root=root).backing.read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r'^VERSION="?([^"\n]+)', text, re.MULTILINE)
    return found[1] if found else None


def hostname_main(process: Process) -> int:
    options = Options(process, "fsd", "usage: hostname [-f] [-s | -d] [name-of-host]", 1)
    if options.operands:
        if process.jid:
            with process.host.changing() as state:
                row = prison.by_jid(state, process.jid)
                if row and row["set"].get("allow.set_hostname", True):
                    row["set"]["host.hostname"] = options.operands[0]
                    return 0
            process.exit(1, "sethostname: Operation not permitted")
        with process.host.changing() as state:
            state["hostname"] = options.operands[0]
        return 0
    with process.host.reading() as state:
        name = hostname_of(process, state)
    short, _, domain = name.partition(".")
    process.out((short if "s" in options else domain if "d" in options else name) + "\n")
    return 0


_READ_WRITE = {
    "net.inet.ip.forwarding": "0",
    "net.inet6.ip6.forwarding": "0",
    "net.link.bridge.pfil_member": "0",
    "net.link.bridge.pfil_bridge": "0",
    "net.link.bridge.pfil_onlyip": "1",
    "net.link.tap.up_on_open": "0",
    "net.inet.tcp.syncookies": "1",
    "kern.ipc.somaxconn": "128",
    "kern.securelevel": "-1",
    "vfs.usermount": "0",
    "vm.overcommit": "0",
    "security.bsd.see_other_uids": "1",
    "security.bsd.see_other_gids": "1",
    "security.bsd.see_jail_proc": "1",
    "security.jail.set_hostname_allowed": "1",
    "security.jail.socket_unixiproute_only": "1",
    "security.jail.allow_raw_sockets": "0",
    "security.jail.chflags_allowed": "0",
    "security.jail.mount_allowed": "0",
    "security.jail.enforce_statfs": "2",
    "security.jail.devfs_ruleset": "0",
}
_TUNABLE = frozenset({"kern.racct.enable"})


def sysctl_table(process: Process, state: State) -> dict[str, str]:
    """Everything sysctl(8) knows here, in order."""
    release = _release_of(process, state)
    memory, booted = state["memory"], state["booted"]
    stamp = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(booted))
    table = {
        "kern.ostype": "FreeBSD",
        "kern.osrelease": release,
        "kern.osrevision": "199506",
        "kern.version": _version(release) + "\n",
        "kern.hostname": hostname_of(process, state),
        "kern.hostid": str(int(state["uuid"][:8], 16)),
        "kern.hostuuid": str(_jail_value(process, state, "host.hostuuid") or state["uuid"]),
        "kern.boottime": f"{{ sec = {booted}, usec = 9027 }} {stamp}",
        "kern.osreldate": str(_jail_value(process, state, "osreldate") or state["osreldate"]),
        "kern.maxproc": "13044",
        "kern.maxfiles": "130488",
        "kern.smp.cpus": str(state["ncpu"]),
        "kern.features.vimage": "1",
        "kern.features.racct": "1",
        "kern.features.rctl": "1",
        "kern.features.inet": "1",
        "kern.features.inet6": "1",
        "kern.racct.enable": str(int(bool(state["racct"]))),
        "hw.machine": state["arch"],
        "hw.machine_arch": "aarch64" if state["arch"] == "arm64" else state["arch"],
        "hw.model": "Simulated processor",
        "hw.ncpu": str(state["ncpu"]),
        "hw.physmem": str(memory),
        "hw.usermem": str(memory - memory // 16),
        "hw.realmem": str(memory),
        "hw.pagesize": "4096",
        "vm.loadavg": "{ 0.12 0.20 0.18 }",
        "vm.stats.vm.v_page_count": str(memory // 4096),
        "vm.stats.vm.v_page_size": "4096",
        "vm.stats.vm.v_free_count": str(memory // 8192),
        "vm.swap_total": "0",
        "security.jail.jailed": str(int(bool(process.jid))),
        "security.jail.vnet": str(int(_jail_value(process, state, "vnet") == "new")),
        "security.jail.jail_max_af_ips": "255",
        "security.jail.children.max": str(
            _jail_value(process, state, "children.max") or (0 if process.jid else 999999)
        ),
        "security.jail.children.cur": str(len(prison.all_prisons(state, within=process.jid))),
        **_READ_WRITE,
    }
    if state.get("zfs") or state["disks"]:
        table |= {"vfs.zfs.version.spa": "5000", "vfs.zfs.version.zpl": "5", "vfs.zfs.version.ioctl": "7"}
    return table | {name: value for name, value in state["sysctl"].items() if name in table}


def sysctl_main(process: Process) -> int:
    options = Options(
        process,
        "AabdeFf:hiJNnoqTtVWx",
        "usage: sysctl [-bdeFhilNnoqTtWx] [ -B <bufsize> ] [-f filename] [-j jail] name[=value] ...",
        1,
    )
    with process.host.reading() as state:
        table = sysctl_table(process, state)
    names = options.operands
    if "a" in options and not names:
        names = list(table)
    if not names:
        access.wrong_usage(
            process, "", "usage: sysctl [-bdeFhilNnoqTtWx] [ -B <bufsize> ] [-f filename] [-j jail] name[=value] ...", 1
        )
    failed = 0
    for name in names:
        failed |= _sysctl_one(process, options, table, name)
    return failed


def _sysctl_one(process: Process, options: Options, table: dict[str, str], word: str) -> int:
    name, equals, value = word.partition("=")
    found = [name] if name in table else [one for one in table if one.startswith(name.rstrip(".") + ".")]
    if not found:
        if "i" not in options:
            process.err(f"sysctl: unknown oid '{name}'\n")
        return int("i" not in options)
    if equals:
        return _sysctl_set(process, options, table, name, value)
    for one in found:
        if "N" in options:
            process.out(one + "\n")
        else:
            separator = "=" if "e" in options else ": "
            process.out(("" if "n" in options else f"{one}{separator}") + table[one] + "\n")
    return 0


def _sysctl_set(process: Process, options: Options, table: dict[str, str], name: str, value: str) -> int:
    if name in _TUNABLE:
        process.err(
            f"sysctl: oid '{name}' is a read only tunable\nsysctl: Tunable values are set in /boot/loader.conf\n"
        )
        return 1
    if name not in _READ_WRITE and name != "kern.hostname":
        process.err(f"sysctl: oid '{name}' is read only\n")
        return 1
    if process.jid:
        process.err(f"sysctl: {name}={value}: Operation not permitted\n")
        return 1
    if name in _READ_WRITE and not re.fullmatch(r"-?\d+", value):
        process.err(f"sysctl: invalid integer '{value}'\n")
        return 1
    with process.host.changing() as state:
        if name == "kern.hostname":
            state["hostname"] = value
        else:
            state["sysctl"][name] = value
    old = table[name]
    if "q" not in options:
        process.out(("" if "n" in options else f"{name}{'=' if 'e' in options else ': '}") + f"{old} -> {value}\n")
    return 0


def kenv_main(process: Process) -> int:
    options = Options(process, "hNquv", "usage: kenv [-hNqv]\n       kenv [-qv] variable[=value]", 1)
    with process.host.reading() as state:
        table = {"smbios.system.uuid": state["uuid"], "kernelname": "/boot/kernel/kernel", "boot_verbose": "NO"}
        if state["racct"]:
            table["kern.racct.enable"] = "1"
    for name in options.operands:
        if name not in table:
            if "q" not in options:
                process.err(f"kenv: unable to get {name}\n")
            return 1 if process.release_at_least(13) else 255
        process.out((f'{name}="{table[name]}"' if "v" in options else table[name]) + "\n")
    if not options.operands:
        process.out("".join(f'{name}="{value}"\n' for name, value in sorted(table.items())))
    return 0


def dmesg_main(process: Process) -> int:
    with process.host.reading() as state:
        release = process.host.release(state)
        memory = state["memory"]
        cpus = state["ncpu"]
    process.out(
        f"---<<BOOT>>---\n{_version(release)} {state['arch']}\nreal memory  = {memory} ({memory >> 20} MB)\n"
        f"FreeBSD/SMP: Multiprocessor System Detected: {cpus} CPUs\nTrying to mount root from ufs:/dev/vtbd0 []...\n"
    )
    return 0


def swapinfo_main(process: Process) -> int:
    process.out("Device          1K-blocks     Used    Avail Capacity\n")
    return 0


# Kernel modules

_MODULES = {
    "zfs": ["opensolaris"],
    "if_bridge": ["bridgestp"],
    "bridgestp": [],
    "if_epair": [],
    "if_vlan": [],
    "if_tuntap": [],
    "nullfs": [],
    "tmpfs": [],
    "fdescfs": [],
    "procfs": ["pseudofs"],
    "linprocfs": ["pseudofs"],
    "linsysfs": ["pseudofs"],
    "pf": [],
    "pflog": ["pf"],
    "ipfw": [],
    "opensolaris": [],
    "pseudofs": [],
    "cpuctl": [],
    "coretemp": [],
}


def _loaded(state: State) -> list[str]:
    first = ["kernel", *(["zfs", "opensolaris"] if state.get("zfs") or state["disks"] else [])]
    return list(state.get("modules") or first)


def kldstat_main(process: Process) -> int:
    options = Options(
        process,
        "hi:m:n:qvd",
        "usage: kldstat [-h] [-d] [-q] [-v] [-i id] [-n filename]\n       kldstat [-d] [-q] [-m modname]",
        1,
    )
    with process.host.reading() as state:
        loaded = _loaded(state)
    if "m" in options:
        name = options.get("m") or ""
        if name not in loaded:
            return _no_module(process, options, f"can't find module {name}")
        if "q" not in options:
            process.out(f"Id  Refs Name\n{220 + loaded.index(name):3d}    1 {name}\n")
        return 0
    if "n" in options:
        name = (options.get("n") or "").removesuffix(".ko")
        if name not in loaded:
            return _no_module(process, options, f"can't find file {options.get('n')}")
        loaded_shown = [name]
    else:
        loaded_shown = loaded
    if "q" in options:
        return 0
    process.out("Id Refs Address                Size Name\n")
    for name in loaded_shown:
        number = loaded.index(name)
        size = 0xF5B000 if name == "kernel" else 0x6BE0 + 0x100 * number
        file = "kernel" if name == "kernel" else f"{name}.ko"
        references = 1 if number else len(loaded) * 2
        address = 0xFFFFFFFF80200000 + number * 0x1119000
        process.out(f"{number + 1:2d} {references:4d} 0x{address:016x} {size:8x} {file}\n")
    return 0


def _no_module(process: Process, options: Options, message: str) -> int:
    if "q" not in options:
        process.err(f"kldstat: {message}: No such file or directory\n")
    return 1


def kldload_main(process: Process) -> int:
    options = Options(process, "nqv", "usage: kldload [-nqv] file ...", 1)
    if not options.operands:
        access.wrong_usage(process, "", "usage: kldload [-nqv] file ...", 1)
    if process.jid:
        process.exit(1, f"can't load {options.operands[0]}: Operation not permitted")
    failed = 0
    for word in options.operands:
        name = word.rpartition("/")[2].removesuffix(".ko")
        with process.host.changing() as state:
            loaded = _loaded(state)
            known = name in _MODULES and (not word.startswith("/") or word.startswith("/boot/kernel/"))
            there = name in loaded
            if known and not there:
                state["modules"] = [*loaded, name, *(one for one in _MODULES[name] if one not in loaded)]
        if not known:
            process.err(f"kldload: can't load {word}: No such file or directory\n")
            failed = 1
        elif there and "n" not in options:
            process.err(f"kldload: can't load {word}: module already loaded or in kernel\n")
            failed = 1
    return failed


def kldunload_main(process: Process) -> int:
    options = Options(process, "fi:n:v", "usage: kldunload [-fv] -i id ...\n       kldunload [-fv] [-n] name ...", 1)
    failed = 0
    for word in options.operands:
        name = word.removesuffix(".ko")
        with process.host.changing() as state:
            loaded = _loaded(state)
            there = name in loaded
            busy = name in ("kernel", "zfs", "opensolaris")
            if there and not busy:
                unused = {name, *_MODULES.get(name, [])}
                state["modules"] = [one for one in loaded if one not in unused]
        if not there:
            process.err(f"kldunload: can't find file {word}\n")
        elif busy:
            process.err("kldunload: can't unload file: Device busy\n")
        failed |= int(not there or busy)
    return failed


# Space


def df_main(process: Process) -> int:
    usage = "usage: df [-b | -g | -H | -h | -k | -m | -P] [-acilnT] [-t type] [-,] [file | filesystem ...]"
    options = Options(process, "abcgHhiklmnPt:T,", usage)
    rows: list[dict[str, Any]] = []
    failed = 0
    with process.host.reading() as state:
        mounts = [one for one in state["mounts"] if _visible(process, one)]
        chosen = mounts if not options.operands else []
        for operand in options.operands:
            try:
                place = process.host.locate(state, operand, root=process.root, cwd=process.cwd)
                if not place.exists:
                    raise os_error(errno.ENOENT)
                chosen.append(place.mount)
            except OSError as error:
                named = next((one for one in mounts if one["source"] == operand), None)
                if named is None:
                    process.err(f"df: {operand}: {strerror(error)}\n")
                    failed = 1
                else:
                    chosen.append(named)
    sizes = _sizes(process, chosen)
    kinds = (options.get("t") or "").split(",") if "t" in options else None
    for mount in chosen:
        if kinds and mount["type"] not in kinds:
            continue
        rows.append({**mount, "sizes": sizes[mount["id"]]})
    if rows:
        _df_table(process, options, rows)
    elif options.operands and not failed:
        failed = 1
    return failed


def _visible(process: Process, mount: dict[str, Any]) -> bool:
    root = process.root.rstrip("/")
    return not root or mount["dir"] == root or mount["dir"].startswith(root + "/")


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
            limit = next((one[5:] for one in mount["options"] if one.startswith("size=")), "1g")
            unit = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(limit[-1:].lower(), 1)
            size = int(limit.rstrip("kKmMgG") or 0) * unit
            used = process.host.tree_usage(process.host.directory / mount["backing"])
            found[mount["id"]] = (size, used, max(0, size - used))
        else:
            found[mount["id"]] = (1024, 1024, 0)
    return found


def _zfs_totals(process: Process) -> dict[str, Any]:
    from .zfs import space
    from .zfs.env import Env

    with Env(process).measured() as zfs:
        return dict(space.totals(zfs))


def _df_table(process: Process, options: Options, rows: list[dict[str, Any]]) -> None:
    unit = 1 << 10 if "k" in options else 1 << 20 if "m" in options else 1 << 30 if "g" in options else 512
    human = "h" in options or "H" in options
    heads = {512: "512-blocks", 1 << 10: "1024-blocks", 1 << 20: "1M-blocks", 1 << 30: "1G-blocks"}

    def shown(size: int) -> str:
        return _human(size) if human else str(-(-size // unit))

    table = []
    for row in rows:
        total, used, free = row["sizes"]
        share = f"{used * 100 / (used + free) if used + free > 0 else 100:.0f}%"
        directory = row["dir"][len(process.root.rstrip("/")) :] or "/"
        table.append([row["source"], row["type"], shown(total), shown(used), shown(free), share, directory])
    head = ["Filesystem", "Type", "Size" if human else heads[unit], "Used", "Avail", "Capacity", "Mounted on"]
    columns = [0, 1, 2, 3, 4, 5, 6] if "T" in options else [0, 2, 3, 4, 5, 6]
    widths = [max(len(line[column]) for line in [head, *table]) for column in range(7)]
    least = {2: 7 if human else 11, 3: 7 if human else 6, 4: 7 if human else 5, 5: 8}
    for line in [head, *table]:
        cells = []
        for column in columns:
            width = max(widths[column], least.get(column, 0))
            left = column in (0, 1)
            cells.append(
                line[column].ljust(width) if left else line[column] if column == 6 else line[column].rjust(width)
            )
        text = cells[0] + " " + " ".join(cells[1:-1]) + "  " + cells[-1]
        process.out(text.rstrip() + "\n")


def _human(size: float) -> str:
    if abs(size) < 1024:
        return f"{size:.0f}B"
    for unit in "KMGTP":
        size /= 1024
        if abs(size) < 1024:
            return f"{size:.1f}{unit}" if abs(size) < 10 else f"{size:.0f}{unit}"
    return f"{size:.0f}E"


# Processes

_KERNEL = [
    (0, 0, "[kernel]"),
    (1, 0, "/sbin/init --"),
    (5, 0, "[cam]"),
    (11, 0, "[idle]"),
    (12, 0, "[intr]"),
    (13, 0, "[geom]"),
]


def _rows(process: Process, state: State) -> list[dict[str, Any]]:
    rows = [{"pid": pid, "ppid": ppid, "jid": 0, "user": "root", "command": command} for pid, ppid, command in _KERNEL]
    seen = set()
    for socket in state.get("sockets", []):
        if socket["pid"] not in seen and socket["pid"] < daemons.FIRST_PID:
            seen.add(socket["pid"])
            rows.append(
                {
                    "pid": socket["pid"],
                    "ppid": 1,
                    "jid": socket.get("jid", 0),
                    "user": socket["user"],
                    "command": f"/usr/sbin/{socket['command']}",
                }
            )
    for row in daemons.running(state):
        rows.append({"pid": row["pid"], "ppid": 1, "jid": row["jid"], "user": row["user"], "command": row["args"]})
    rows.append(
        {
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "jid": process.jid,
            "user": "root",
            "command": " ".join(process.argv),
        }
    )
    if process.jid:
        inside = {process.jid, *(one["jid"] for one in prison.all_prisons(state, within=process.jid))}
        rows = [row for row in rows if row["jid"] in inside]
    return sorted(rows, key=lambda row: int(row["pid"]))


def _comm(command: str) -> str:
    return command.strip("[]").split(" ")[0].rpartition("/")[2] if not command.startswith("[") else command.strip("[]")


_HEADS = {
    name: name.upper() for name in ("pid", "ppid", "jid", "user", "ucomm", "time", "rss", "vsz", "uid", "jail")
} | {
    "command": "COMMAND",
    "comm": "COMMAND",
    "args": "COMMAND",
    "tt": "TT",
    "tty": "TT",
    "stat": "STAT",
    "state": "STAT",
    "pcpu": "%CPU",
    "%cpu": "%CPU",
    "pmem": "%MEM",
    "%mem": "%MEM",
    "lstart": "STARTED",
    "start": "STARTED",
    "etime": "ELAPSED",
}
_LEFT = frozenset({"user", "command", "comm", "args", "ucomm", "stat", "state", "tt", "tty", "jail", "lstart"})


def ps_main(process: Process) -> int:
    if len(process.argv) > 1 and not process.argv[1].startswith("-"):
        process.argv[1] = "-" + process.argv[1]
    options = Options(
        process,
        "aCcdeHhjlmrSTuvwXxZAfJ:O:o:p:t:U:G:M:N:",
        "usage: ps [-aCcdefHhjlmrSTuvwXxZ] [-O fmt | -o fmt] [-G gid[,gid...]]",
        1,
    )
    with process.host.reading() as state:
        rows = _rows(process, state)
        wanted = options.get("J")
        if wanted is not None:
            try:
                jids = {
                    0 if one == "0" else prison.get(state, one, within=process.jid)["jid"] for one in wanted.split(",")
                }
            except prison.JailError:
                process.exit(1, f"Invalid jail id: {wanted}")
            rows = [row for row in rows if row["jid"] in jids]
        names = {one["jid"]: one["name"] for one in state["jails"]}
    if "p" in options:
        pids = (options.get("p") or "").split(",")
        rows = [row for row in rows if str(row["pid"]) in pids]
    columns = [one for letter, value in options.all if letter == "o" for one in re.split(r"[ ,]+", value) if one]
    heads = {}
    for number, column in enumerate(columns):
        name, equals, title = column.partition("=")
        columns[number] = name
        if equals:
            heads[name] = title
        if name not in _HEADS:
            process.exit(1, f"{name}: keyword not found")
    if not columns:
        columns = (
            ["user", "pid", "pcpu", "pmem", "vsz", "rss", "tt", "stat", "start", "time", "command"]
            if "u" in options
            else ["pid", "tt", "stat", "time", "command"]
        )
    table = [[_cell(row, column, names) for column in columns] for row in rows]
    titles = [heads.get(column, _HEADS[column]) for column in columns]
    _print_ps(process, columns, titles, table)
    return 0 if table else 1


def _cell(row: dict[str, Any], column: str, names: dict[int, str]) -> str:
    if column in row:
        return str(row[column])
    if column in ("comm", "ucomm"):
        return _comm(row["command"])
    if column == "jail":
        return names.get(row["jid"], "-")
    fixed: dict[str, str] = {
        "args": str(row["command"]),
        "tt": "-",
        "tty": "-",
        "stat": "Is",
        "state": "Is",
        "time": "0:00.01",
        "rss": "3120",
        "vsz": "12840",
    }
    fixed |= {
        "pcpu": "0.0",
        "%cpu": "0.0",
        "pmem": "0.1",
        "%mem": "0.1",
        "uid": "0",
        "etime": "01:00",
        "start": "00:00",
        "lstart": "Thu Jan  1 00:00:00 1970",
    }
    return fixed[column]


def _print_ps(process: Process, columns: list[str], titles: list[str], table: list[list[str]]) -> None:
    lines = ([titles] if any(titles) else []) + table
    widths = [max(len(line[number]) for line in lines) if lines else 0 for number in range(len(columns))]
    for line in lines:
        cells = []
        for number, column in enumerate(columns):
            last = number + 1 == len(columns)
            text = line[number]
            cells.append(
                text
                if last and column in _LEFT
                else text.ljust(widths[number])
                if column in _LEFT
                else text.rjust(widths[number])
            )
        process.out(" ".join(cells) + "\n")


def sockstat_main(process: Process) -> int:
    options = Options(
        process, "46CciIj:LlnP:p:qSsUuvw", "usage: sockstat [-46CciLlnqSsUuvw] [-j jid] [-p ports] [-P protocols]", 1
    )
    with process.host.reading() as state:
        rows = list(state.get("sockets", []))
        if process.jid or "j" in options:
            jid = process.jid
            if "j" in options:
                try:
                    jid = (
                        0
                        if options.get("j") == "0"
                        else prison.get(state, options.get("j") or "", within=process.jid)["jid"]
                    )
                except prison.JailError:
                    process.exit(
                        1,
                        f'jail_getid: jail "{options.get("j")}" not found'
                        if process.release_at_least(12)
                        else "invalid jail",
                    )
            rows = [row for row in rows if row.get("jid", 0) == jid]
    families = {letter for letter in "46" if letter in options} or {"4", "6"}
    rows = [row for row in rows if row["proto"][-1] in families]
    if "P" in options:
        rows = [row for row in rows if row["proto"][:-1] in (options.get("P") or "").split(",")]
    if "p" in options:
        rows = [row for row in rows if row["local"].rpartition(":")[2] in (options.get("p") or "").split(",")]
    if "c" in options and "l" not in options:
        rows = [row for row in rows if row["foreign"] != "*:*"]
    if "q" not in options:
        process.out("USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      \n")
    for row in rows:
        process.out(
            f"{row['user'][:8]:<8} {row['command'][:10]:<10} {row['pid']:<5} {row['fd']:<2} {row['proto']:<6} "
            f"{row['local']:<21} {row['foreign']}\n"
        )
    return 0


def netstat_main(process: Process) -> int:
    from jails.hosts.simulated.world import World

    from . import route

    options = Options(
        process,
        "46AaBbdEf:ghI:iLlMmN:nOPp:Qq:RrsSTuWw:xz",
        "usage: netstat [-46AaLnRSTWx] [-f protocol_family | -p protocol]",
        1,
    )
    if "r" not in options:
        process.exit(1, "only -r is simulated")
    world = World(process)
    with process.host.reading() as state:
        rows = route.routes(world, state)
    process.out("Routing tables\n\nInternet:\nDestination        Gateway            Flags     Netif Expire\n")
    for row in rows:
        destination, gateway = str(row.get("destination", "")), str(row.get("gateway", ""))
        if ":" not in destination:
            process.out(f"{destination:<18} {gateway:<18} {row.get('flags', 'U'):<6} {row.get('interface', ''):>8}\n")
    return 0


_SIGNALS = {one.name.removeprefix("SIG"): int(one) for one in signal.Signals}


def _signal_number(process: Process, word: str) -> int:
    name = word.upper().removeprefix("SIG")
    if name.isdigit():
        return int(name)
    if name not in _SIGNALS:
        process.exit(
            1, f"unknown signal {word}; valid signals: {' '.join(sorted(_SIGNALS, key=lambda one: _SIGNALS[one]))}"
        )
    return _SIGNALS[name]


def kill_main(process: Process) -> int:
    words, number = process.argv[1:], int(signal.SIGTERM)
    if words and words[0] == "-s" and len(words) > 1:
        number, words = _signal_number(process, words[1]), words[2:]
    elif words and words[0].startswith("-") and words[0] != "--":
        number, words = _signal_number(process, words[0][1:]), words[1:]
    words = [word for word in words if word != "--"]
    if not words:
        access.wrong_usage(process, "", "usage: kill [-s signal_name] pid ...", 1)
    failed = 0
    for word in words:
        if not word.isdigit():
            process.err(f"kill: illegal process id: {word}\n")
            failed = 1
        elif not _signal(process, int(word), number):
            process.err(f"kill: {word}: No such process\n")
            failed = 1
    return failed


def _signal(process: Process, pid: int, number: int) -> bool:
    with process.host.changing() as state:
        known = [row for row in _rows(process, state) if row["pid"] == pid and pid != os.getpid()]
        if known:
            if number:
                daemons.end(state, [row for row in daemons.running(state) if row["pid"] == pid], number)
                state["sockets"] = [one for one in state["sockets"] if one["pid"] != pid]
            return True
    if not _is_ours(process, pid):
        return False
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def _is_ours(process: Process, pid: int) -> bool:
    """Whether a real process is a command of this simulated host, and nothing else of this machine."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return b"jails.hosts.simulated" in words and os.fsencode(process.host.directory) in words


def _by_name(process: Process, names: list[str], full: bool) -> list[int]:
    with process.host.reading() as state:
        rows = [row for row in _rows(process, state) if row["pid"] != os.getpid() and row["pid"] >= 100]
    return [
        row["pid"]
        for row in rows
        if any(re.search(name, row["command"] if full else _comm(row["command"])) for name in names)
    ]


def pkill_main(process: Process) -> int:
    number, words = int(signal.SIGTERM), process.argv[1:]
    if words and re.fullmatch(r"-([A-Z]+\d?|\d+)", words[0]):
        number = _signal_number(process, words[0][1:])
        process.argv[1:2] = []
    options = Options(process, "fxnoqj:u:F:", "usage: pkill [-signal] [-ILfinovx] [-F pidfile] [-G gid] pattern ...", 2)
    found = _by_name(process, options.operands, "f" in options)
    for pid in found:
        _signal(process, pid, number)
    return int(not found)


def killall_main(process: Process) -> int:
    words, number = process.argv[1:], int(signal.SIGTERM)
    if words and words[0].startswith("-"):
        number, words = _signal_number(process, words[0][1:]), words[1:]
    found = _by_name(process, [f"^{re.escape(word)}$" for word in words], full=False)
    for pid in found:
        _signal(process, pid, number)
    if not found:
        process.err(
            "No matching processes were found\n" if words else "usage: killall [-delmsqvz] [-help] [-I] [-j jail]\n"
        )
    return int(not found)


# Running others


def lockf_main(process: Process) -> int:
    usage = "usage: lockf [-kns] [-t seconds] file command [arguments]"
    options = Options(process, "knpst:w", usage)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage)
    file, *command = options.operands
    wait = options.get("t")
    if wait is not None and not re.fullmatch(r"-?\d+", wait):
        process.exit(64, f'invalid timeout "{wait}"')
    flags = os.O_RDONLY | (0 if "n" in options else os.O_CREAT)
    try:
        place = process.locate(file)
        if flags & os.O_CREAT and not place.exists:
            access.before_write(process, place)
        lock = os.open(place.backing, flags, 0o666)
    except OSError as error:
        process.exit(
            69 if error.errno == errno.ENOENT and "n" in options else 73, f"cannot open {file}: {strerror(error)}"
        )
    try:
        if not _take(lock, None if wait is None else int(wait)):
            if "s" not in options:
                process.err(f"lockf: {file}: already locked\n")
            return 75
        try:
            return process.run(command)
        except NotFound as problem:
            process.err(f"lockf: {command[0]}: {problem.words}\n")
            return 1
        finally:
            if "k" not in options:
                place.backing.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _take(lock: int, seconds: int | None) -> bool:
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(0.02)


def timeout_main(process: Process) -> int:
    usage = (
        "usage: timeout [-f | --foreground] [-k time | --kill-after time] [-p | --preserve-status] "
        "[-s signal | --signal signal] <duration> <command> <arg ...>"
    )
    words = process.argv[1:]
    long = {"--foreground": "-f", "--preserve-status": "-p", "--kill-after": "-k", "--signal": "-s"}
    process.argv[1:] = [
        long.get(word.partition("=")[0], word.partition("=")[0]) + word.partition("=")[2]
        if word.startswith("--") and word != "--"
        else word
        for word in words
    ]
    options = Options(process, "fk:ps:v", usage, 125)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage, 125)
    seconds = _duration(process, options.operands[0])
    number = _signal_number(process, options.get("s") or "TERM")
    process.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setpgid(0, 0)
            status = _run_or_tell(process, options.operands[1:])
        finally:
            os._exit(status)
    try:
        ended = _wait(child, seconds)
        if ended is not None:
            return ended
        os.killpg(child, number)
        ended = _wait(child, _duration(process, options.get("k") or "0") if "k" in options else 0)
        if ended is None:
            os.killpg(child, signal.SIGKILL)
            ended = _wait(child, 0) or 137
        return ended if "p" in options else 124
    except ProcessLookupError:
        return 124


def _duration(process: Process, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)", text)
    if found is None:
        process.exit(
            125, "duration is not a number" if not re.match(r"[\d.]", text) else "duration unit suffix invalid"
        )
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _wait(child: int, seconds: float) -> int | None:
    """The child's status, or None when it still runs after so many seconds (0: for ever)."""
    end = time.monotonic() + seconds if seconds else None
    while True:
        pid, code = os.waitpid(child, os.WNOHANG if end is not None else 0)
        if pid:
            status = os.waitstatus_to_exitcode(code)
            return 128 - status if status < 0 else status
        if end is not None and time.monotonic() >= end:
            return None
        time.sleep(0.01)


def _run_or_tell(process: Process, command: list[str], **more: Any) -> int:
    try:
        return process.run(command, **more)
    except NotFound as problem:
        process.err(f"{process.name}: {command[0]}: {problem.words}\n")
        return 127 if problem.number == errno.ENOENT else 126


def env_main(process: Process) -> int:
    words, env = process.argv[1:], dict(process.env)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in ("-i", "-"):
            env = {}
        elif word == "-u" and words:
            env.pop(words.pop(0), None)
        elif word == "--":
            break
        elif word != "-v":
            access.wrong_usage(
                process,
                f"illegal option -- {word[1:2]}",
                "usage: env [-0iv] [-u name] [name=value ...] [utility [argument ...]]",
                1,
            )
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if not words:
        process.out("".join(f"{name}={value}\n" for name, value in env.items()))
        return 0
    return _run_or_tell(process, words, env=env)


def nohup_main(process: Process) -> int:
    if len(process.argv) < 2:
        access.wrong_usage(process, "", "usage: nohup [--] utility [arguments]", 127)
    words = process.argv[2:] if process.argv[1] == "--" else process.argv[1:]
    if process.jid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN) if _in_main_thread() else None
    return _run_or_tell(process, words)


def _in_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def chroot_main(process: Process) -> int:
    options = Options(
        process, "G:g:u:n", "usage: chroot [-g group] [-G group,group,...] [-u user] [-n] newroot [command]", 1
    )
    if not options.operands:
        access.wrong_usage(
            process, "", "usage: chroot [-g group] [-G group,group,...] [-u user] [-n] newroot [command]", 1
        )
    place = process.locate(options.operands[0])
    if not place.exists or not place.backing.is_dir():
        process.exit(1, f"{options.operands[0]}: {'Not a directory' if place.exists else 'No such file or directory'}")
    return _run_or_tell(process, options.operands[1:] or ["/bin/sh", "-i"], root=place.path, cwd="/")


def sleep_main(process: Process) -> int:
    if len(process.argv) != 2 or not re.fullmatch(r"\d*\.?\d+", process.argv[1]):
        access.wrong_usage(
            process, "", "usage: sleep number[unit] ..." if process.release_at_least(14) else "usage: sleep seconds", 1
        )
    time.sleep(float(process.argv[1]))
    return 0


def true_main(process: Process) -> int:
    return 0


def false_main(process: Process) -> int:
    return 1


def sync_main(process: Process) -> int:
    return 0


def tty_main(process: Process) -> int:
    process.out("not a tty\n")
    return 1


def nologin_main(process: Process) -> int:
    process.out("This account is currently not available.\n")
    return 1


def newsyslog_main(process: Process) -> int:
    return 0


def pwd_mkdb_main(process: Process) -> int:
    options = Options(
        process, "BCiLNpd:s:u:v", "usage: pwd_mkdb [-BCiLNp] [-d directory] [-s cachesize] [-u username] file", 1
    )

    def check(operand: str) -> int:
        access.read_all(process, operand)
        return 0

    return each(process, options.operands, check)


def shutdown_main(process: Process) -> int:
    words = process.argv[1:]
    if "-r" not in words or words[-1:] != ["now"]:
        access.wrong_usage(
            process,
            "",
            "usage: shutdown [-] [-c | -f | -h | -p | -r | -k] [-o [-n]] [-q] time [warning-message ...]",
            1,
        )
    from . import rc

    return int(rc.reboot(process) or 0)


def pkg_main(process: Process) -> int:
    """Only its bootstrap is there: pkg(7), not pkg(8)."""
    if "-N" in process.argv[1:]:
        process.err("pkg: pkg is not installed\n")
        return 1
    process.err(
        "The package management tool is not yet installed on your system.\n"
        "Do you want to fetch and install it now? [y/N]: \n"
    )
    return 1


# Who, when, what


def id_main(process: Process) -> int:
    options = Options(process, "AGMPacdgnpru", "usage: id [user]", 1)
    users = access.account_names(process, "/etc/passwd")
    groups = access.account_names(process, "/etc/group")
    name = options.operands[0] if options.operands else "root"
    if name not in users:
        process.err(f"id: {name}: no such user\n")
        return 1
    uid = users[name]
    rows = [row.split(":") for row in _text(process, "/etc/passwd").splitlines()]
    gid = next((int(row[3]) for row in rows if row[0] == name), 0)
    member = [
        int(row[2])
        for row in (line.split(":") for line in _text(process, "/etc/group").splitlines())
        if len(row) > 3 and name in row[3].split(",")
    ]
    all_groups = [gid, *(one for one in member if one != gid)]
    by_name = "n" in options
    if "u" in options:
        process.out((name if by_name else str(uid)) + "\n")
    elif "G" in options:
        process.out(" ".join(access.name_of(groups, one) if by_name else str(one) for one in all_groups) + "\n")
    elif "g" in options:
        process.out((access.name_of(groups, gid) if by_name else str(gid)) + "\n")
    else:
        shown = ",".join(f"{one}({access.name_of(groups, one)})" for one in all_groups)
        process.out(f"uid={uid}({name}) gid={gid}({access.name_of(groups, gid)}) groups={shown}\n")
    return 0


def _text(process: Process, path: str) -> str:
    try:
        return process.path(path).read_text(errors="replace")
    except OSError:
        return ""


def whoami_main(process: Process) -> int:
    process.out("root\n")
    return 0


def which_main(process: Process) -> int:
    options = Options(process, "as", "usage: which [-as] program ...", 1)
    failed = 0
    for name in options.operands:
        found = None
        for directory in (process.env.get("PATH") or "").split(":") if "/" not in name else [""]:
            try:
                process.find_program(f"{directory}/{name}" if directory else name)
                found = f"{directory}/{name}" if directory else name
                break
            except NotFound:
                continue
        if found is None:
            failed = 1
        elif "s" not in options:
            process.out(found + "\n")
    return failed


def date_main(process: Process) -> int:
    import calendar

    usage = "usage: date [-jnRu] [-I[date|hours|minutes|seconds|ns]] [-f input_fmt]"
    options = Options(process, "jnRuf:r:v:I:z:", usage, 1)
    moment = time.time()
    words = list(options.operands)
    if "r" in options:
        text = options.get("r") or ""
        moment = float(text) if text.isdigit() else process.path(text).stat().st_mtime
    if "f" in options and words:
        try:
            moment = calendar.timegm(time.strptime(words.pop(0), options.get("f") or ""))
        except ValueError:
            process.exit(1, "illegal time format")
    form = words[0][1:] if words and words[0].startswith("+") else "%a %b %e %H:%M:%S UTC %Y"
    if "R" in options:
        form = "%a, %d %b %Y %H:%M:%S +0000"
    form = (
        form.replace("%s", str(int(moment)))
        .replace("%N", f"{int(moment % 1 * 1e9):09d}")
        .replace("%Z", "UTC")
        .replace("%z", "+0000")
    )
    process.out(time.strftime(form, time.gmtime(moment)) + "\n")
    return 0


def uuidgen_main(process: Process) -> int:
    options = Options(process, "1cn:o:r", "usage: uuidgen [-1] [-r] [-c] [-n count] [-o filename]", 1)
    for _ in range(int(options.get("n") or 1)):
        text = os.urandom(16).hex()
        process.out(f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}\n")
    return 0


def logger_main(process: Process) -> int:
    options = Options(
        process, "46Ais:f:H:h:P:p:S:t:", "usage: logger [-46Ais] [-f file] [-h host] [-P port] [-p pri] [-t tag]", 1
    )
    text = " ".join(options.operands) if options.operands else os.fsdecode(process.stdin()).rstrip("\n")
    with process.host.reading() as state:
        name = hostname_of(process, state).partition(".")[0]
    stamp = time.strftime("%b %e %H:%M:%S", time.gmtime())
    tag = options.get("t") or "root"
    real = access.open_file(process, "/var/log/messages", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(
            real, os.fsencode("".join(f"{stamp} {name} {tag}[{os.getpid()}]: {line}\n" for line in text.splitlines()))
        )
    finally:
        os.close(real)
    return 0


def ssh_keygen_main(process: Process) -> int:
    """Pairs of files of the right form and mode. They are no keys: nothing on a simulated host logs in with them."""
    options = Options(
        process,
        "AlqyBvb:t:f:N:C:E:P:Rm:a:",
        "usage: ssh-keygen [-q] [-a rounds] [-b bits] [-C comment] [-f output_keyfile] [-m format]",
        1,
    )
    if "l" in options:
        return _fingerprint(process, options.get("f") or "/etc/ssh/ssh_host_ed25519_key.pub")
    if "A" in options:
        made = []
        for kind in ("rsa", "ecdsa", "ed25519"):
            path = f"{(options.get('f') or '').rstrip('/')}/etc/ssh/ssh_host_{kind}_key"
            if not process.locate(path).exists:
                _make_pair(process, path, kind, "root@" + process.env.get("HOSTNAME", ""))
                made.append(kind.upper())
        if made and "q" not in options:
            process.out(f"ssh-keygen: generating new host keys: {' '.join(made)} \n")
        return 0
    kind = options.get("t") or "ed25519"
    if kind not in ("rsa", "ecdsa", "ed25519"):
        process.err(f"unknown key type {kind}\n")
        return 255
    path = options.get("f") or f"/root/.ssh/id_{kind}"
    if process.locate(path).exists:
        process.err(f"{path} already exists.\n")
        return 1
    _make_pair(process, path, kind, options.get("C") or "root")
    if "q" not in options:
        process.out(
            f"Generating public/private {kind} key pair.\nYour identification has been saved in {path}\n"
            f"Your public key has been saved in {path}.pub\n"
        )
    return 0


def _make_pair(process: Process, path: str, kind: str, comment: str) -> None:
    import base64

    secret = base64.b64encode(os.urandom(48)).decode()
    name = {"rsa": "ssh-rsa", "ecdsa": "ecdsa-sha2-nistp256", "ed25519": "ssh-ed25519"}[kind]
    blob = base64.b64encode(len(name).to_bytes(4, "big") + name.encode() + os.urandom(36)).decode()
    texts = {
        path: f"-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n-----END OPENSSH PRIVATE KEY-----\n",
        f"{path}.pub": f"{name} {blob} {comment}\n",
    }
    for one, text in texts.items():
        real = access.open_file(process, one, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(real, text.encode())
        finally:
            os.close(real)
    access.set_mode(process, process.locate(path), 0o600)


def _fingerprint(process: Process, path: str) -> int:
    import base64
    import hashlib

    text = _text(process, path) or _text(process, path + ".pub")
    words = text.split()
    if len(words) < 2:
        process.err(f"{path}: No such file or directory\n" if not text else f"{path} is not a public key file.\n")
        return 255
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(words[1])).digest()).decode().rstrip("=")
    kind = words[0].rpartition("-")[2].upper()
    process.out(f"256 SHA256:{digest} {' '.join(words[2:]) or 'no comment'} ({kind})\n")
    return 0
