"""mdconfig, newfs, gpart, diskinfo, mknod: disks, as far as file systems of jails are made on memory disks.

``state["md"]`` is {unit: {"type", "size", "file", "made"}}; a memory disk with a file system has its files in
DIR/md/UNIT-TIME.
"""

from __future__ import annotations

import os

from jails.hosts.simulated import clock
from jails.hosts.simulated.host import State, os_error
from jails.hosts.simulated.process import Process

from . import access
from .access import Options

_UNITS = {"b": 512, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_USAGE = (
    "usage: mdconfig -a -t type [-n] [-o [no]option] ... [-f file]\n                [-s size] [-S sectorsize] [-u unit]"
)
BLOCK = 32768
FRAGMENT = 4096


def size_of(text: str) -> int:
    """Bytes of `10m`; a bare number counts sectors of 512 bytes. ValueError."""
    unit = text[-1:].lower()
    return int(text[:-1]) * _UNITS[unit] if unit in _UNITS else int(text) * 512


def md_backing(state: State, source: str) -> str | None:
    """The folder of the file system on /dev/mdN, or None when there is no such disk or no file system on it."""
    one = state.get("md", {}).get(source.removeprefix("/dev/md")) if source.startswith("/dev/md") else None
    return one.get("folder") if one else None


def mdconfig_main(process: Process) -> int:
    options = Options(process, "adf:lno:rs:S:t:u:vx:y:L:", _USAGE, 1)
    if "l" in options:
        return _list(process, options)
    if process.jid:
        process.exit(1, "/dev/mdctl: No such file or directory")
    if "d" in options:
        return _detach(process, options)
    if "a" not in options and not ("f" in options or "s" in options):
        access.wrong_usage(process, "", _USAGE, 1)
    return _attach(process, options)


def _unit(text: str) -> str:
    return text.rpartition("/")[2].removeprefix("md")


def _attach(process: Process, options: Options) -> int:
    kind = options.get("t") or ("vnode" if "f" in options else "swap")
    file = options.get("f") or ""
    size = 0
    if kind == "vnode":
        place = process.locate(file) if file else None
        if place is None or not place.exists:
            process.exit(1, f"open({file}): No such file or directory" if file else "must specify -f for -t vnode")
        size = int(process.host.metadata(place.backing).get("size", place.backing.stat().st_size))
    try:
        size = size_of(options.get("s") or "") if "s" in options else size
    except ValueError:
        process.exit(1, f"invalid size suffix on {options.get('s')}")
    if size <= 0:
        process.exit(1, "must specify -s for -t malloc or -t swap" if kind != "vnode" else "Invalid argument")
    given = _unit(options.get("u") or "")
    with process.host.changing() as state:
        disks = state.setdefault("md", {})
        taken = given in disks
        unit = given or str(next(n for n in range(len(disks) + 1) if str(n) not in disks))
        if not taken:
            disks[unit] = {"type": kind, "size": size, "file": file, "made": clock.now()}
            state["disks"][f"md{unit}"] = size
    if taken:
        process.exit(1, "ioctl(/dev/mdctl): Device busy")
    if not given and "n" in options:
        process.out(f"{unit}\n")
    elif not given:
        process.out(f"md{unit}\n")
    return 0


def _detach(process: Process, options: Options) -> int:
    unit = _unit(options.get("u") or "")
    if not unit:
        access.wrong_usage(process, "", _USAGE, 1)
    with process.host.changing() as state:
        one = state.get("md", {}).get(unit)
        busy = any(mount["source"] == f"/dev/md{unit}" for mount in state["mounts"])
        if one and not busy:
            del state["md"][unit]
            state["disks"].pop(f"md{unit}", None)
    if one is None:
        process.exit(1, "ioctl(/dev/mdctl): No such file or directory")
    if busy:
        process.exit(1, "ioctl(/dev/mdctl): Device busy")
    if folder := one.get("folder"):
        from shutil import rmtree

        rmtree(process.host.directory / folder, ignore_errors=True)
    return 0


def _list(process: Process, options: Options) -> int:
    wanted = _unit(options.get("u") or "")
    with process.host.reading() as state:
        disks = {unit: one for unit, one in state.get("md", {}).items() if not wanted or unit == wanted}
    if wanted and not disks:
        return 1
    if "v" in options or wanted:
        for unit, one in disks.items():
            process.out(f"md{unit}\t{one['type']:>6}\t{_size(one['size']):>8}\t{one['file'] or '-'}\n")
    elif disks:
        process.out(" ".join(f"{unit if 'n' in options else 'md' + unit}" for unit in disks) + " \n")
    return 0


def _size(size: int) -> str:
    for unit, letter in ((30, "G"), (20, "M"), (10, "K")):
        if size >= 1 << unit and not size % (1 << unit):
            return f"{size >> unit}{letter}"
    return str(size)


def newfs_main(process: Process) -> int:
    usage = "usage: newfs [ -fsoptions ] special-device"
    options = Options(process, "EJNUjlntL:S:T:a:b:c:d:e:f:g:h:i:k:m:o:p:r:s:O:", usage, 1)
    if len(options.operands) != 1:
        access.wrong_usage(process, "", usage, 1)
    device = options.operands[0]
    name = device.removeprefix("/dev/")
    with process.host.changing() as state:
        size = state["disks"].get(name)
        one = state.get("md", {}).get(name.removeprefix("md")) if name.startswith("md") else None
        mounted = any(mount["source"] == f"/dev/{name}" for mount in state["mounts"])
        if size and one and not mounted and "N" not in options:
            one["folder"] = f"md/{name}-{int(clock.now() * 1000)}"
            (process.host.directory / one["folder"]).mkdir(parents=True)
    if not size:
        process.exit(1, f"{device}: could not find special device")
    if mounted or one is None:
        process.exit(1, f"{device}: failed to open disk for writing")
    process.out(newfs_text(f"/dev/{name}", int(size), "U" in options))
    return 0


def newfs_text(device: str, size: int, soft: bool) -> str:
    """What newfs(8) says of a small disk: four cylinder groups, an inode for each 8192 bytes."""
    sectors = size // 512
    blocks = size // BLOCK // 4 + 1
    per_group = blocks * BLOCK // 512
    inodes = -(-blocks * BLOCK // 8192 // 128) * 128
    starts = [192 + number * per_group for number in range(4) if 192 + number * per_group < sectors]
    return (
        f"{device}: {size / 1048576:.1f}MB ({sectors} sectors) block size {BLOCK}, fragment size {FRAGMENT}\n"
        f"\tusing 4 cylinder groups of {blocks * BLOCK / 1048576:.2f}MB, {blocks} blks, {inodes} inodes.\n"
        + ("\twith soft updates\n" if soft else "")
        + f"super-block backups (for fsck_ffs -b #) at:\n {', '.join(map(str, starts))}\n"
    )


def gpart_main(process: Process) -> int:
    """The simulated disks have no partitions."""
    words = process.argv[1:]
    if words[:1] not in (["show"], ["status"], ["list"]):
        process.err("usage: gpart show [-l | -r] [-p] [geom ...]\n")
        return 1
    for name in [word for word in words[1:] if not word.startswith("-")]:
        process.err(f"gpart: No such geom: {name}.\n")
        return 1
    return 0


def diskinfo_main(process: Process) -> int:
    options = Options(process, "citSvpsw", "usage: diskinfo [-ciSstvw] disk ...\n       diskinfo [-l] [-p] disk ...", 1)
    failed = 0
    for word in options.operands:
        name = word.removeprefix("/dev/")
        with process.host.reading() as state:
            size = state["disks"].get(name)
        if size is None:
            process.err(f"diskinfo: {word}: No such file or directory\n")
            failed = 1
            continue
        row = (name, "512", str(size), str(size // 512), "0", "0", str(size // 512 // 1008), "16", "63")
        process.out("\t".join(row) + "\n")
    return failed


def mknod_main(process: Process) -> int:
    usage = "usage: mknod name\n       mknod name [b | c] major minor [owner:group]"
    if len(process.argv) < 2:
        access.wrong_usage(process, "", usage, 1)
    name = process.argv[1]
    if process.jid:
        process.exit(1, f"{name}: Operation not permitted")
    place = process.locate(name)
    if place.exists:
        process.exit(1, f"{name}: File exists")
    access.check_parent(process, place)
    if not place.backing.parent.is_dir():
        raise os_error(2, name)
    os.close(os.open(place.backing, os.O_CREAT | os.O_WRONLY, 0o600))
    access.changed(process, place)
    return 0


def swapinfo_main(process: Process) -> int:
    process.out("Device          1K-blocks     Used    Avail Capacity\n")
    return 0
