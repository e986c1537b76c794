"""sysctl(8) and kenv(1): what the simulated kernel tells of itself, and what of it can be set.

The order of names below a node is the kernel's, as recorded; values that a host, a jail or a setting decides are
worked out when asked for.
"""

from __future__ import annotations

import re
import time
from typing import Any

from jails.hosts.simulated import prison
from jails.hosts.simulated.host import State
from jails.hosts.simulated.process import Process

from . import access, kld
from .access import Options
from .system import hostname_of, jail_value, release_of, version_text

_FEATURES = (
    "ufs_quota64 ufs_quota ufs_gjournal ufs_acl softupdates ffs_snapshot security_mac audit ipsec_natt ipsec "
    "inet6 sctp inet vimage aio posix_shm sysv_shm sysv_sem sysv_msg process_descriptors security_capabilities "
    "security_capability_mode stack ekcd rctl racct compat_freebsd7 compat_freebsd6 compat_freebsd5 "
    "compat_freebsd4 ktrace kdtrace_hooks kposix_priority_scheduling geom_part_mbr geom_part_gpt "
    "geom_part_ebr_compat geom_part_ebr geom_part_bsd geom_label nfsd nfscl evdev ata_cam compat_freebsd_32bit "
    "scbus "
).split()

# Below security.jail: name, value, description. No value: it has no format that sysctl prints.
_JAIL = """\
mount_tmpfs_allowed|0|Jail may mount the tmpfs file system (deprecated)
mount_nullfs_allowed|0|Jail may mount the nullfs file system (deprecated)
mount_zfs_allowed|0|Jail may mount the zfs file system (deprecated)
mount_devfs_allowed|0|Jail may mount the devfs file system (deprecated)
mount_procfs_allowed|0|Jail may mount the procfs file system (deprecated)
param.sysvshm.|0|SYSV shared memory
param.sysvsem.|0|SYSV semaphores
param.sysvmsg.|0|SYSV message queues
param.allow.mount.tmpfs|0|Jail may mount the tmpfs file system
param.allow.mount.nullfs|0|Jail may mount the nullfs file system
param.allow.mount.zfs|0|Jail may mount the zfs file system
param.allow.mount.devfs|0|Jail may mount the devfs file system
param.allow.mount.procfs|0|Jail may mount the procfs file system
param.allow.mount.|0|Jail may mount/unmount jail-friendly file systems in general
param.allow.read_msgbuf|0|Jail may read the kernel message buffer
param.allow.reserved_ports|0|Jail may bind sockets to reserved ports
param.allow.mlock|0|Jail may lock (unlock) physical pages in memory
param.allow.socket_af|0|Jail may create sockets other than just UNIX/IPv4/IPv6/route
param.allow.quotas|0|Jail may set file quotas
param.allow.chflags|0|Jail may alter system file flags
param.allow.raw_sockets|0|Jail may create raw sockets
param.allow.sysvipc|0|Jail may use SYSV IPC
param.allow.set_hostname|0|Jail may set hostname
param.ip6.saddrsel|0|Do (not) use IPv6 source address selection rather than the primary jail IPv6 address.
param.ip6.addr||Jail IPv6 addresses
param.ip6.|0|Jail IPv6 address virtualization
param.ip4.saddrsel|0|Do (not) use IPv4 source address selection rather than the primary jail IPv4 address.
param.ip4.addr||Jail IPv4 addresses
param.ip4.|0|Jail IPv4 address virtualization
param.cpuset.id|0|Jail cpuset ID
param.host.hostid|0|Jail host ID
param.host.hostuuid|64|Jail host UUID
param.host.domainname|256|Jail NIS domainname
param.host.hostname|256|Jail hostname
param.host.|0|Jail host info
param.children.max|0|Maximum number of child jails
param.children.cur|0|Current number of child jails
param.dying|0|Jail is in the process of shutting down
param.vnet|0|Virtual network stack
param.persist|0|Jail persistence
param.devfs_ruleset|0|Ruleset for in-jail devfs mounts
param.enforce_statfs|0|Jail cannot see all mounted file systems
param.osrelease|32|Jail value for kern.osrelease and uname -r
param.osreldate|0|Jail value for kern.osreldate and uname -K
param.securelevel|0|Jail secure level
param.path|1024|Jail root path
param.name|256|Jail name
param.parent|0|Jail parent ID
param.jid|0|Jail ID
devfs_ruleset|0|Ruleset for the devfs filesystem in jail (deprecated)
enforce_statfs|2|Processes in jail cannot see all mounted file systems (deprecated)
mount_allowed|0|Processes in jail can mount/unmount jail-friendly file systems (deprecated)
chflags_allowed|0|Processes in jail can alter system file flags (deprecated)
allow_raw_sockets|0|Prison root can create raw sockets (deprecated)
sysvipc_allowed|0|Processes in jail can use System V IPC primitives (deprecated)
socket_unixiproute_only|1|Processes in jail are limited to creating UNIX/IP/route sockets only (deprecated)
set_hostname_allowed|1|Processes in jail can set their hostnames (deprecated)
jail_max_af_ips|255|Number of IP addresses a jail may have at most per address family (deprecated)
vnet|0|Jail owns vnet?
jailed|0|Process in jail?
list||List of active jails
"""

_NUMBERS = {
    "kern.racct.rctl.throttle_pct2": "100",
    "kern.racct.rctl.throttle_pct": "100",
    "kern.racct.rctl.throttle_max": "200",
    "kern.racct.rctl.throttle_min": "1",
    "kern.racct.rctl.devctl_rate_limit": "10",
    "kern.racct.rctl.log_rate_limit": "10",
    "kern.racct.rctl.maxbufsize": "16777216",
    "kern.racct.pcpu_threshold": "1",
    "kern.ipc.somaxconn": "128",
    "kern.securelevel": "-1",
    "kern.maxproc": "13044",
    "kern.maxfiles": "130488",
    "kern.maxfilesperproc": "117432",
    "kern.coredump": "1",
    "vm.overcommit": "0",
    "vm.swap_total": "0",
    "vfs.usermount": "0",
    "net.inet.ip.forwarding": "0",
    "net.inet.ip.ttl": "64",
    "net.inet.ip.redirect": "1",
    "net.inet.tcp.syncookies": "1",
    "net.inet.tcp.blackhole": "0",
    "net.inet.udp.blackhole": "0",
    "net.inet.icmp.icmplim": "200",
    "net.inet6.ip6.forwarding": "0",
    "net.inet6.ip6.dad_count": "1",
    "net.inet6.ip6.accept_rtadv": "0",
    "net.fibs": "1",
    "net.link.tap.up_on_open": "0",
    "security.bsd.see_other_uids": "1",
    "security.bsd.see_other_gids": "1",
    "security.bsd.see_jail_proc": "1",
    "security.bsd.unprivileged_proc_debug": "1",
    "security.bsd.unprivileged_read_msgbuf": "1",
    "security.bsd.hardlink_check_uid": "0",
    "security.bsd.hardlink_check_gid": "0",
}
_BRIDGE = {
    "net.link.bridge.ipfw": "0",
    "net.link.bridge.allow_llz_overlap": "0",
    "net.link.bridge.inherit_mac": "0",
    "net.link.bridge.log_stp": "0",
    "net.link.bridge.pfil_local_phys": "0",
    "net.link.bridge.pfil_member": "1",
    "net.link.bridge.ipfw_arp": "0",
    "net.link.bridge.pfil_bridge": "1",
    "net.link.bridge.pfil_onlyip": "1",
}
_FIXED = frozenset({"kern.maxproc", "vm.swap_total", "net.inet.ip.ttl"})
_TUNABLE = frozenset({"kern.racct.enable", "net.fibs"})
_TEXTS = frozenset({"kern.hostname"})
_DESCRIPTIONS = {
    "kern.hostname": "Hostname",
    "kern.ostype": "Operating system type",
    "kern.osrelease": "Operating system release",
    "kern.osreldate": "Kernel release date",
    "kern.version": "Kernel version",
    "kern.securelevel": "Current secure level",
    "kern.racct.enable": "Enable RACCT/RCTL",
    "hw.ncpu": "Number of active CPUs",
    "hw.physmem": "",
    "net.inet.ip.forwarding": "Enable IP forwarding between interfaces",
    "net.inet6.ip6.forwarding": "Enable forwarding of IPv6 packets between interfaces",
    "vfs.usermount": "Unprivileged users may mount and unmount file systems",
}


def _jail_rows() -> list[tuple[str, str, str]]:
    rows = []
    for line in _JAIL.splitlines():
        name, value, text = line.split("|")
        rows.append((f"security.jail.{name}", value, text))
    return rows


def table_of(process: Process, state: State) -> dict[str, str]:
    """Everything sysctl(8) knows here, in order."""
    release = release_of(process, state)
    memory, booted = state["memory"], state["booted"]
    stamp = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(booted))
    machine = "aarch64" if state["arch"] == "arm64" else state["arch"]
    table = {
        "kern.ostype": "FreeBSD",
        "kern.osrelease": release,
        "kern.osrevision": "199506",
        "kern.version": version_text(release) + "\n",
        "kern.hostname": hostname_of(process, state),
        "kern.hostid": str(int(state["uuid"][:8], 16)),
        "kern.hostuuid": str(jail_value(process, state, "host.hostuuid") or state["uuid"]),
        "kern.boottime": f"{{ sec = {booted}, usec = 9027 }} {stamp}",
        "kern.osreldate": str(jail_value(process, state, "osreldate") or state["osreldate"]),
        "kern.ident": "GENERIC",
        "kern.smp.cpus": str(state["ncpu"]),
        "hw.machine": state["arch"],
        "hw.model": "Simulated processor",
        "hw.ncpu": str(state["ncpu"]),
        "hw.physmem": str(memory),
        "hw.usermem": str(memory - memory // 16),
        "hw.pagesize": "4096",
        "hw.realmem": str(memory),
        "hw.machine_arch": machine,
        "vm.loadavg": "{ 0.12 0.20 0.18 }",
        "vm.stats.vm.v_page_count": str(memory // 4096),
        "vm.stats.vm.v_page_size": "4096",
        "vm.stats.vm.v_free_count": str(memory // 8192),
        **_NUMBERS,
        "kern.racct.enable": str(int(bool(state["racct"]))),
        **{f"kern.features.{name}": "1" for name in _FEATURES},
    }
    if kld.loaded(state, "if_bridge"):
        table |= _BRIDGE
    if kld.loaded(state, "if_epair"):
        table["net.link.epair.netisr_maxqlen"] = "2100"
    if state.get("zfs") or state["disks"]:
        table |= {f"vfs.zfs.version.{name}": text for name, text in _zfs_versions(process)}
    table |= {name: value for name, value, _ in _jail_rows() if value}
    table |= _of_the_jail(process, state)
    return table | {name: value for name, value in state["sysctl"].items() if name in table}


def _zfs_versions(process: Process) -> list[tuple[str, str]]:
    if process.release_at_least(13):
        return [("module", "v2.1.15-FreeBSD"), ("zpl", "5"), ("spa", "5000"), ("acl", "1"), ("ioctl", "15")]
    return [("zpl", "5"), ("spa", "5000"), ("acl", "1"), ("ioctl", "7")]


def _of_the_jail(process: Process, state: State) -> dict[str, str]:
    """What differs in a jail; the deprecated names show its own permissions."""
    jail = prison.by_jid(state, process.jid) if process.jid else None
    given = jail["set"] if jail else {}
    found = {
        "security.jail.jailed": str(int(jail is not None)),
        "security.jail.vnet": str(int(given.get("vnet") == "new")),
    }
    if process.release_at_least(12, 2):
        found["security.jail.children.max"] = str(given.get("children.max", 0) if jail else 999999)
        found["security.jail.children.cur"] = str(len(prison.all_prisons(state, within=process.jid)))
    if jail is None:
        return found
    pairs = {
        "mount_allowed": "allow.mount",
        "chflags_allowed": "allow.chflags",
        "allow_raw_sockets": "allow.raw_sockets",
        "sysvipc_allowed": "allow.sysvipc",
        "set_hostname_allowed": "allow.set_hostname",
        "mount_zfs_allowed": "allow.mount.zfs",
        "mount_devfs_allowed": "allow.mount.devfs",
        "mount_nullfs_allowed": "allow.mount.nullfs",
        "mount_tmpfs_allowed": "allow.mount.tmpfs",
        "mount_procfs_allowed": "allow.mount.procfs",
    }
    for name, parameter in pairs.items():
        allowed = given.get(parameter, parameter == "allow.set_hostname")
        found[f"security.jail.{name}"] = str(int(bool(allowed)))
    found["security.jail.enforce_statfs"] = str(given.get("enforce_statfs", 2))
    found["security.jail.devfs_ruleset"] = str(given.get("devfs_ruleset", 0))
    return found


_USAGE = (
    "usage: sysctl [-bdehiNnoqTtWx] [ -B <bufsize> ] [-f filename] name[=value] ...\n"
    "       sysctl [-bdehNnoqTtWx] [ -B <bufsize> ] -a"
)


def sysctl_main(process: Process) -> int:
    options = Options(process, "AaB:bdeFf:hiJNnoqTtVWXx", _USAGE, 1)
    with process.host.reading() as state:
        table = table_of(process, state)
    names = list(options.operands)
    if (file := options.get("f")) is not None:
        for line in access.read_all(process, file).decode(errors="replace").splitlines():
            if line := line.partition("#")[0].strip():
                names.append(line.replace(" ", ""))
    if {"a", "A", "X"} & {letter for letter, _ in options.all} and not names:
        names = list(table)
    if not names:
        access.wrong_usage(process, "", _USAGE, 1)
    failed = 0
    for name in names:
        failed |= _one(process, options, table, name)
    return failed


def _one(process: Process, options: Options, table: dict[str, str], word: str) -> int:
    name, equals, value = word.partition("=")
    found = [name] if name in table else [one for one in table if one.startswith(name.rstrip(".") + ".")]
    if not found:
        if "i" not in options and "q" not in options:
            process.err(f"sysctl: unknown oid '{name}'\n")
        return int("i" not in options)
    if equals:
        return _set(process, options, table, name, value)
    if "d" in options:
        return _describe(process, options, name, found)
    for one in found:
        if "N" in options:
            process.out(one + "\n")
        elif "t" in options:
            kind = "integer" if re.fullmatch(r"-?\d+", table[one]) else "string"
            process.out(("" if "n" in options else f"{one}: ") + kind + "\n")
        else:
            separator = "=" if "e" in options else ": "
            process.out(("" if "n" in options else f"{one}{separator}") + table[one] + "\n")
    return 0


def _describe(process: Process, options: Options, name: str, found: list[str]) -> int:
    texts = {one: text for one, _, text in _jail_rows()} | _DESCRIPTIONS
    if name not in found:
        nodes = {"security.jail": "Jails", "security": "Security", "kern": "High kernel, proc, limits &c"}
        process.out(f"{name}: {nodes.get(name, '')}\n")
        if name == "security.jail":
            found = [one for one, _, _ in _jail_rows()]
    for one in found:
        process.out(("" if "n" in options else f"{one}: ") + texts.get(one, "") + "\n")
    return 0


def _set(process: Process, options: Options, table: dict[str, str], name: str, value: str) -> int:
    if name not in table:
        process.err(f"sysctl: oid '{name}' isn't a leaf node\n")
        return 1
    if name in _TUNABLE:
        process.err(
            f"sysctl: oid '{name}' is a read only tunable\nsysctl: Tunable values are set in /boot/loader.conf\n"
        )
        return 1
    settable = name in _TEXTS or (name in _NUMBERS and name not in _FIXED) or name in _BRIDGE
    if not settable and not (name.startswith("security.jail.") and name.endswith("_allowed")):
        process.err(f"sysctl: oid '{name}' is read only\n")
        return 1
    if name not in _TEXTS and not re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", value):
        process.err(f"sysctl: invalid integer '{value}'\n" if value else f"sysctl: {name}: empty numeric value\n")
        return 1
    if not _may_set(process, name):
        process.err(f"sysctl: {name}={value}: Operation not permitted\n")
        return 1
    if name == "kern.securelevel" and int(value, 0) < int(table[name]):
        process.err(f"sysctl: {name}={value}: Operation not permitted\n")
        return 1
    with process.host.changing() as state:
        jail = prison.by_jid(state, process.jid) if process.jid else None
        if name in _TEXTS and jail:
            jail["set"]["host.hostname"] = value
        elif name in _TEXTS:
            state["hostname"] = value
        else:
            state["sysctl"][name] = str(int(value, 0))
    if "q" not in options:
        new = value if name in _TEXTS else str(int(value, 0))
        head = "" if "n" in options else f"{name}{'=' if 'e' in options else ': '}"
        process.out(f"{head}{table[name]} -> {new}\n")
    return 0


def _may_set(process: Process, name: str) -> bool:
    """In a jail only its own name, if it may, and what its own network stack has."""
    if not process.jid:
        return True
    with process.host.reading() as state:
        jail = prison.by_jid(state, process.jid)
        given: dict[str, Any] = jail["set"] if jail else {}
    if name == "kern.hostname":
        return bool(given.get("allow.set_hostname", True))
    return name.startswith("net.inet") and given.get("vnet") == "new"


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
