"""kldload, kldunload, kldstat: kernel modules. What needs one (ifconfig, mount, pf) loads it, as the kernel does.

``state["modules"]`` is a list of ``{"name", "id"}`` in the order of their ids, without the kernel; it is missing until
the first change. ``state["lastkld"]`` is the last id.
"""

from __future__ import annotations

from typing import Any

from jails.hosts.simulated.host import State
from jails.hosts.simulated.process import Process

from . import access
from .access import Options

# Modules with what they need and the size they take in a kernel of 12.1, amd64.
_MODULES: dict[str, tuple[list[str], int]] = {
    "zfs": (["opensolaris"], 0x248730),
    "opensolaris": ([], 0x7588),
    "if_bridge": (["bridgestp"], 0x6BE0),
    "bridgestp": ([], 0x41E0),
    "if_epair": ([], 0x195C),
    "nullfs": ([], 0x2900),
    "tmpfs": ([], 0x8788),
    "unionfs": ([], 0x7A58),
    "fdescfs": ([], 0x19B8),
    "procfs": (["pseudofs"], 0x3A30),
    "linprocfs": (["pseudofs"], 0x6C20),
    "linsysfs": (["pseudofs"], 0x2818),
    "pseudofs": ([], 0x3B70),
    "pf": ([], 0x3D1B8),
    "pflog": (["pf"], 0x1558),
    "pfsync": (["pf"], 0x5D18),
    "ipfw": ([], 0x1CAB0),
    "if_vlan": ([], 0x3F28),
    "if_tuntap": ([], 0x4A68),
    "cpuctl": ([], 0x1D10),
    "coretemp": ([], 0x1B48),
    "accf_http": ([], 0x1328),
    "aesni": ([], 0x9A10),
    "nmdm": ([], 0x2158),
    "vmm": ([], 0x35A788),
}
_KERNEL_SIZE = 0xF5B000
_KERNEL_ADDRESS = 0xFFFFFFFF80200000
_FIRST_ADDRESS = 0xFFFFFFFF81319000


def modules(state: State) -> list[dict[str, Any]]:
    """The loaded modules; a host with pools has booted with zfs, one with pflog0 with pf."""
    if "modules" in state:
        return list(state["modules"])
    names = ["zfs", "opensolaris"] if state.get("zfs") or state["disks"] else []
    if any(row["driver"] == "pflog" for row in state.get("interfaces", [])):
        names += ["pf", "pflog"]
    return [{"name": name, "id": number} for number, name in enumerate(names, 2)]


def loaded(state: State, name: str) -> bool:
    return any(row["name"] == name for row in modules(state))


def load(state: State, name: str) -> bool:
    """Load a module with what it needs, inside a transaction. False when there is none of that name."""
    if name not in _MODULES:
        return False
    rows = modules(state)
    for one in (name, *_MODULES[name][0]):
        if all(row["name"] != one for row in rows):
            state["lastkld"] = _last(state) + 1
            rows.append({"name": one, "id": state["lastkld"]})
    state["modules"] = rows
    return True


def _last(state: State) -> int:
    """The last id that was given away."""
    return int(state.get("lastkld") or max((row["id"] for row in modules(state)), default=1))


def _unload(state: State, name: str) -> None:
    rows = modules(state)
    for one in (name, *_MODULES[name][0]):
        if one != name and any(one in _MODULES[row["name"]][0] for row in rows):
            continue
        # The id of the last file is used again.
        last = _last(state)
        state["lastkld"] = last - any(row["name"] == one and row["id"] == last for row in rows)
        rows = [row for row in rows if row["name"] != one]
        state["modules"] = rows


def _busy(state: State, name: str) -> bool:
    rows = modules(state)
    if name in ("zfs", "opensolaris") or any(name in _MODULES[row["name"]][0] for row in rows):
        return True
    return any(mount["type"] == name for mount in state["mounts"])


def kldstat_main(process: Process) -> int:
    usage = "usage: kldstat [-h] [-d] [-q] [-v] [-i id] [-n filename]\n       kldstat [-d] [-q] [-m modname]"
    options = Options(process, "hi:m:n:qvd", usage, 1)
    with process.host.reading() as state:
        rows = [{"name": "kernel", "id": 1}, *modules(state)]
    if (name := options.get("m")) is not None:
        found = next((row for row in rows if row["name"] == name), None)
        if found is None:
            return _missing(process, options, f"can't find module {name}")
        if "q" not in options:
            process.out(f"Id  Refs Name\n{225 + found['id']:3d}    1 {name}\n")
        return 0
    shown = rows
    if (name := options.get("n")) is not None:
        shown = [row for row in rows if row["name"] == name.removesuffix(".ko")]
        if not shown:
            return _missing(process, options, f"can't find file {name}")
    if (number := options.get("i")) is not None:
        shown = [row for row in rows if str(row["id"]) == number]
        if not shown:
            return _missing(process, options, f"can't find file {number}")
    if "q" not in options:
        _print(process, rows, shown, "v" in options)
    return 0


def _missing(process: Process, options: Options, message: str) -> int:
    if "q" not in options:
        process.err(f"kldstat: {message}: No such file or directory\n")
    return 1


def _print(process: Process, rows: list[dict[str, Any]], shown: list[dict[str, Any]], verbose: bool) -> None:
    process.out("Id Refs Address                Size Name\n")
    address = _FIRST_ADDRESS
    for row in rows:
        kernel = row["name"] == "kernel"
        size = _KERNEL_SIZE if kernel else _MODULES[row["name"]][1]
        references = 6 + 2 * (len(rows) - 1) if kernel else 1
        file = "kernel" if kernel else f"{row['name']}.ko"
        place = _KERNEL_ADDRESS if kernel else address
        if row in shown:
            tail = f" (/boot/kernel/{file})" if verbose else ""
            process.out(f"{row['id']:2d} {references:4d} 0x{place:016x} {size:8x} {file}{tail}\n")
            if verbose and not kernel:
                process.out(f"\tContains modules:\n\t\t Id Name\n\t\t{225 + row['id']:3d} {row['name']}\n")
        if not kernel:
            address = (address + size + 4095) // 4096 * 4096


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
            there = loaded(state, name)
            known = name in _MODULES and (not word.startswith("/") or word.startswith("/boot/kernel/"))
            if known:
                load(state, name)
        if not known:
            process.err(f"kldload: can't load {word}: No such file or directory\n" if "q" not in options else "")
            failed = 1
        elif there and "n" not in options:
            process.err(f"kldload: can't load {word}: module already loaded or in kernel\n")
            failed = 1
        elif "v" in options:
            process.out(f"{word} is already loaded\n" if there else f"Loaded {word}\n")
    return failed


def kldunload_main(process: Process) -> int:
    usage = "usage: kldunload [-fv] -i id ...\n       kldunload [-fv] [-n] name ..."
    options = Options(process, "fi:n:v", usage, 1)
    words = [*options.operands, *(value for letter, value in options.all if letter == "n")]
    if not words:
        access.wrong_usage(process, "", usage, 1)
    if process.jid:
        process.exit(1, "can't unload file: Operation not permitted")
    failed = 0
    for word in words:
        name = word.removesuffix(".ko")
        with process.host.changing() as state:
            there = loaded(state, name)
            busy = name == "kernel" or (there and _busy(state, name))
            if there and not busy:
                _unload(state, name)
        if busy:
            process.err("kldunload: can't unload file: Device busy\n")
        elif not there:
            process.err(f"kldunload: can't find file {word}\n")
        failed |= int(not there or busy)
    return failed
