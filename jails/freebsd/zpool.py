"""zpool(8): how full and how healthy the pools are."""

import calendar
import re
import time
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

_COLUMNS = ("name", "size", "allocated", "free", "capacity", "health", "fragmentation", "readonly", "guid")
LIST: Argv = ("zpool", "list", "-Hp", "-o", ",".join(_COLUMNS))
STATUS: Argv = ("zpool", "status")


@dataclass(frozen=True)
class Pool:
    """Sizes in bytes, of the raw pool (zfs list tells what can be used); `capacity` and `fragmentation` in per cent.

    A pool that cannot be opened (health UNAVAIL, FAULTED) has no sizes: None.
    """

    name: str
    size: int | None
    allocated: int | None
    free: int | None
    capacity: int | None
    health: str
    fragmentation: int | None
    readonly: bool
    guid: str

    @property
    def healthy(self) -> bool:
        return self.health == "ONLINE"


@dataclass(frozen=True)
class PoolStatus:
    """`scan` is the whole line about the last or running scrub or resilver, `percent` how far a running one is.

    vdevs: what it stores data on, each alone enough to lose it: `mirror`, `raidz1`, `draid2` or `disk` for a bare one.
    others: logs, caches, spares and special ones by the same names, with what they are: `logs:mirror`.
    """

    name: str
    state: str
    status: str
    scan: str
    scanning: bool
    percent: float | None
    errors: str
    vdevs: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        return self.state == "ONLINE" and not self.status and self.errors == "No known data errors"

    @property
    def redundant(self) -> bool:
        """Whether it outlives the loss of any one disk, those of special vdevs included."""
        special = (vdev.partition(":")[2] for vdev in self.others if vdev.startswith(("special:", "dedup:")))
        return bool(self.vdevs) and "disk" not in (*self.vdevs, *special)

    def scrubbed_at(self, offset: int = 0) -> int | None:
        """When the last scrub ended, in seconds since 1970; None where there was none or one runs.

        zpool(8) prints the host's local time: `offset` is what the host's clock is ahead of UTC, in seconds.
        """
        found = re.search(r"^scrub repaired .* on \w{3} (\w{3} +\d+ \d+:\d\d:\d\d \d{4})", self.scan)
        if found is None:
            return None
        try:
            return calendar.timegm(time.strptime(found[1], "%b %d %H:%M:%S %Y")) - offset
        except (ValueError, OverflowError):
            return None


def status(*pools: str) -> Argv:
    return argv(*STATUS, *(names.require("pools", pool, names.pool_error) for pool in pools))


def scrub(pool: str) -> Argv:
    return argv("zpool", "scrub", names.require("pool", pool, names.pool_error))


def parse_list(output: bytes) -> tuple[Pool, ...]:
    """What LIST printed; ValueError for a row with another number of columns."""
    pools = []
    for line in output.decode("utf-8", "replace").splitlines():
        columns = line.split("\t")
        if len(columns) != len(_COLUMNS):
            raise ValueError(f"zpool list: expected {len(_COLUMNS)} columns, got {len(columns)}: {line!r}")
        name, size, allocated, free, capacity, health, fragmentation, readonly, guid = columns
        pools.append(
            Pool(
                name=name,
                size=_number(size),
                allocated=_number(allocated),
                free=_number(free),
                capacity=_number(capacity),
                health=health,
                fragmentation=_number(fragmentation),
                readonly=readonly == "on",
                guid=guid,
            )
        )
    return tuple(pools)


def parse_status(output: bytes) -> tuple[PoolStatus, ...]:
    """One for each pool of `zpool status`."""
    text = output.decode("utf-8", "replace")
    return tuple(
        _status(part)
        for part in re.split(r"^(?= *pool: )", text, flags=re.MULTILINE)
        if part.strip().startswith("pool:")
    )


def _status(text: str) -> PoolStatus:
    fields: dict[str, str] = {}
    key = ""
    vdevs: list[str] = []
    others: list[str] = []
    kind = ""
    for line in text.splitlines():
        if key == "config" and (device := re.match(r"\t( *)(\S+)(?:\s|$)", line)):
            # The pool and the headings of its other parts stand at the margin, vdevs two blanks in, disks below four.
            if not device[1]:
                kind = "" if device[2] in ("NAME", fields["pool"]) else device[2]
            elif len(device[1]) == 2:
                (others if kind else vdevs).append(f"{kind}:{_vdev(device[2])}" if kind else _vdev(device[2]))
            continue
        named = re.match(r" *(pool|state|status|action|see|scan|config|errors): ?(.*)", line)
        if named:
            key = named[1]
            fields[key] = named[2].strip()
        elif key and line.strip():
            fields[key] += f" {line.strip()}" if key != "config" else ""
    scan = fields.get("scan", "")
    percent = re.search(r"([0-9.]+)% done", scan)
    return PoolStatus(
        name=fields["pool"],
        state=fields.get("state", ""),
        status=fields.get("status", ""),
        scan=scan,
        scanning=" in progress" in scan,
        percent=float(percent[1]) if percent and " in progress" in scan else None,
        errors=fields.get("errors", ""),
        vdevs=tuple(vdevs),
        others=tuple(others),
    )


def _vdev(name: str) -> str:
    """`mirror` of `mirror-0`, `raidz1` of `raidz1-0`, `draid2` of `draid2:4d:8c:1s-0`; `disk` of a bare device."""
    found = re.fullmatch(r"(mirror|raidz[1-3]?|draid[1-3]?|replacing|spare)(?::[^-]*)?-\d+", name)
    if found is None or found[1] in ("replacing", "spare"):
        return "disk"
    return {"raidz": "raidz1", "draid": "draid1"}.get(found[1], found[1])


def _number(value: str) -> int | None:
    digits = re.fullmatch(r"([0-9]+)%?", value)
    return int(digits[1]) if digits else None
