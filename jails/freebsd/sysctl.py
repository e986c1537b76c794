"""sysctl(8): reading what the kernel says."""

import re
from collections.abc import Sequence

from jails.freebsd.command import Argv, argv

HOST = (
    "kern.ostype", "kern.osrelease", "kern.osreldate", "kern.hostname", "kern.hostuuid", "kern.boottime", "hw.machine",
    "hw.machine_arch", "hw.model", "hw.ncpu", "hw.physmem", "kern.features.vimage", "kern.racct.enable",
    "security.jail.children.max", "vm.loadavg",
)  # fmt: skip


def get(names: Sequence[str] = HOST) -> Argv:
    """`name=value` lines; what this kernel does not know is left out without a word (-i)."""
    if not names:
        raise ValueError("names: expected at least one, got none")
    return argv("sysctl", "-ie", *(_name(name) for name in names))


def set_value(name: str, value: int) -> Argv:
    return argv("sysctl", f"{_name(name)}={value:d}")


def parse(output: bytes, names: Sequence[str] = HOST) -> dict[str, str]:
    """Values by name. A line that begins with none of the names belongs to the value before it."""
    values: dict[str, str] = {}
    last = ""
    wanted = set(names)
    for line in output.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and name in wanted and name not in values:
            values[name], last = value, name
        elif last:
            values[last] += f"\n{line}"
    return {name: value.rstrip("\n") for name, value in values.items()}


def boot_time(value: str) -> int | None:
    """Seconds since the epoch, from `{ sec = 1795491443, usec = 9027 } Tue …`; None when it is no such text."""
    found = re.match(r"\{ sec = ([0-9]+),", value)
    return int(found[1]) if found else None


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_%-]+(\.[A-Za-z0-9_%-]+)+\.?", name) or name.startswith("-"):
        raise ValueError(f"name: {name!r} is not the name of a sysctl")
    return name
