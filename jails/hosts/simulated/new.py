"""`--new`: a host in a folder, as after its first boot."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import base, clock, network
from .host import Host, State
from .process import PATH, Process
from .tools import devfs

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_OSRELDATES = {"12.1-STABLE": 1201517}


def size(text: str) -> int:
    """Bytes of `10G` or `4096`."""
    number, unit = text.rstrip("KkMmGgTtBb"), text.strip("0123456789.").lower().removesuffix("b")
    if unit not in _UNITS or not number:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a size such as 10G")
    return int(float(number) * _UNITS[unit])


def osreldate(release: str) -> int:
    """kern.osreldate of a release, as __FreeBSD_version was when it was made (`1402000` for 14.2-RELEASE)."""
    if release in _OSRELDATES:
        return _OSRELDATES[release]
    major, _, rest = release.partition(".")
    minor = rest.partition("-")[0]
    return int(major) * 100000 + int(minor or 0) * 1000


def command(directory: str, words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m jails.hosts.simulated DIR --new")
    parser.add_argument("--release", default="14.2-RELEASE")
    parser.add_argument("--hostname", default="simulated")
    parser.add_argument("--pool", action="append", default=[], metavar="NAME=SIZE", help="none: UFS only")
    parser.add_argument("--ufs-size", type=size, default=size("20G"))
    parser.add_argument("--interface", action="append", default=[], metavar="NAME=ADDRESS/LENGTH[,...]")
    parser.add_argument("--directory", action="append", default=[], help="an empty directory to make")
    parser.add_argument("--arch", default="amd64")
    parser.add_argument("--ncpu", type=int, default=4)
    parser.add_argument("--memory", type=size, default=size("8G"))
    parser.add_argument("--racct", action="store_true", help="kern.racct.enable=1")
    options = parser.parse_args(words)
    interfaces: dict[str, Any] = {}
    for text in options.interface or ["em0=192.0.2.2/24"]:
        name, _, addresses = text.partition("=")
        given = [one for one in addresses.split(",") if one]
        interfaces[name] = {
            "inet": [one for one in given if ":" not in one],
            "inet6": [one for one in given if ":" in one],
        }
    try:
        make(
            directory,
            release=options.release,
            hostname=options.hostname,
            pools={name: size(amount) for name, _, amount in (text.partition("=") for text in options.pool)},
            ufs_size=options.ufs_size,
            interfaces=interfaces,
            directories=options.directory,
            arch=options.arch,
            ncpu=options.ncpu,
            memory=options.memory,
            racct=options.racct,
        )
    except (FileExistsError, ValueError, argparse.ArgumentTypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def make(
    directory: str | Path,
    *,
    release: str = "14.2-RELEASE",
    hostname: str = "simulated",
    pools: Mapping[str, int] | None = None,
    devices: Mapping[str, str] | None = None,
    ufs_size: int = 20 << 30,
    interfaces: Mapping[str, Mapping[str, Any]] | None = None,
    directories: list[str] | None = None,
    arch: str = "amd64",
    ncpu: int = 4,
    memory: int = 8 << 30,
    racct: bool = False,
    router: str = "",
    minimal: bool = False,
) -> Host:
    """A new host. `pools` are {name: bytes}, `interfaces` {name: {"inet": [], "inet6": []}} (lo0 comes by itself).

    `router` is the default one's address; `minimal` makes the services those of the recorded transcripts' host.
    FileExistsError if the folder has a host.
    """
    host = Host(directory)
    if (host.directory / "state.json").exists():
        raise FileExistsError(f"{host.directory}: there is a simulated host already")
    disks = {
        (devices or {}).get(name, f"da{number}"): amount for number, (name, amount) in enumerate((pools or {}).items())
    }
    host.create(_state(release, hostname, arch, ncpu, memory, racct, ufs_size, disks))
    _write_files(host, release)
    given = dict(interfaces or {"em0": {"inet": ["192.0.2.2/24"]}})
    with host.changing() as state:
        if router:
            state["router"] = router
        if minimal:
            state["sockets"] = [row for row in _SOCKETS if row["command"] == "sshd"]
        for name, one in given.items():
            if name != "lo0":
                network.add_physical(
                    state, name, list(one.get("inet", [])), list(one.get("inet6", [])), up=one.get("flags") == "UP"
                )
        network.add_physical(state, "lo0", ["127.0.0.1/8"], ["::1/128"])
        dev = host.locate(state, "/dev")
        devfs.furnish(host, state, host.mount(state, "devfs", dev, "devfs", ["rw"]), "0")
    _write_configuration(host, hostname, given, bool(pools), minimal)
    for (name, _), device in zip((pools or {}).items(), disks, strict=True):
        _make_pool(host, name, device)
    for path in directories or []:
        _make_directories(host, path)
    return host


def _state(
    release: str, hostname: str, arch: str, ncpu: int, memory: int, racct: bool, ufs_size: int, disks: dict[str, int]
) -> State:
    number = random.SystemRandom().getrandbits(128)
    text = f"{number:032x}"
    return {
        "release": release,
        "osreldate": osreldate(release),
        "hostname": hostname,
        "arch": arch,
        "ncpu": ncpu,
        "memory": memory,
        "racct": racct,
        "uuid": f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}",
        "booted": int(clock.now()),
        "ufs_size": ufs_size,
        "disks": disks,
        "mounts": [
            {"id": 1, "on": 0, "dir": "/", "source": "/dev/vtbd0", "type": "ufs", "options": ["rw"], "backing": "root"}
        ],
        "lastmount": 1,
        "interfaces": [],
        "jails": [],
        "lastjid": 0,
        "sysctl": {},
        "sockets": _SOCKETS,
        "faults": [],
    }


_SOCKETS = [
    {"user": "root", "command": "syslogd", "pid": 336, "fd": 6, "proto": "udp6", "local": "*:514", "foreign": "*:*"},
    {"user": "root", "command": "syslogd", "pid": 336, "fd": 7, "proto": "udp4", "local": "*:514", "foreign": "*:*"},
    {"user": "root", "command": "sshd", "pid": 514, "fd": 3, "proto": "tcp6", "local": "*:22", "foreign": "*:*"},
    {"user": "root", "command": "sshd", "pid": 514, "fd": 4, "proto": "tcp4", "local": "*:22", "foreign": "*:*"},
]


def _write_files(host: Host, release: str) -> None:
    root = host.directory / "root"
    root.chmod(0o755)
    flags: dict[Path, dict[str, Any]] = {}
    for entry in base.userland(release):
        place = root / entry.path
        if entry.kind == "d":
            place.mkdir(exist_ok=True)
            place.chmod(entry.mode | 0o700)
        elif entry.kind == "l":
            place.symlink_to(os.fsdecode(entry.data))
        else:
            place.write_bytes(entry.data)
            place.chmod(entry.mode | 0o600)
        kept: dict[str, Any] = {"flags": list(entry.flags)} if entry.flags else {}
        if entry.kind == "f" and entry.mode & 0o600 != 0o600:
            kept["mode"] = entry.mode
        if kept:
            flags.setdefault(place.parent, {})[place.name] = kept
    for directory, names in flags.items():
        host.set_metadata_in(directory, names)


def _write_configuration(
    host: Host, hostname: str, interfaces: Mapping[str, Mapping[str, Any]], zfs: bool, minimal: bool
) -> None:
    lines = [f'hostname="{hostname}"']
    if minimal:
        lines += ['sshd_enable="YES"', 'cron_enable="NO"', 'sendmail_enable="NONE"', 'syslogd_flags="-ss"']
        lines += ['zfs_enable="YES"'] if zfs else []
    else:
        for name, one in interfaces.items():
            lines += [f'ifconfig_{name}="inet {address}"' for address in one.get("inet", [])[:1]]
            lines += [f'ifconfig_{name}_ipv6="inet6 {address}"' for address in one.get("inet6", [])[:1]]
        lines += ['sshd_enable="YES"']
        if zfs:
            lines.append('zfs_enable="YES"')
    host.path("/etc/rc.conf").write_text("\n".join(lines) + "\n")
    # What sshd's first start makes.
    Process(host, ["ssh-keygen"], fds={}, env={"PATH": PATH}, exec_id="new").capture(["ssh-keygen", "-A", "-q"])
    host.path("/etc/fstab").write_text(
        "# Device\tMountpoint\tFStype\tOptions\tDump\tPass#\n/dev/vtbd0\t/\tufs\trw\t1\t1\n"
    )


def _make_directories(host: Host, path: str) -> None:
    parts = [part for part in path.split("/") if part]
    for end in range(1, len(parts) + 1):
        host.path("/" + "/".join(parts[:end])).mkdir(exist_ok=True)


def _make_pool(host: Host, name: str, device: str) -> None:
    process = Process(host, ["zpool"], fds={}, env={"PATH": PATH}, exec_id="new")
    rc, _, stderr = process.capture(["zpool", "create", name, device])
    if rc:
        raise ValueError(f"zpool create {name}: {stderr.decode(errors='replace').strip()}")
