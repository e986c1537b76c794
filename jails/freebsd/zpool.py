"""zpool(8): how full and how healthy the pools are."""

import re
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
    """`scan` is the whole line about the last or running scrub or resilver, `percent` how far a running one is."""

    name: str
    state: str
    status: str
    scan: str
    scanning: bool
    percent: float | None
    errors: str

    @property
    def healthy(self) -> bool:
        return self.state == "ONLINE" and not self.status and self.errors == "No known data errors"


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
    """One for each pool of `zpool status`; its table of devices is not read."""
    text = output.decode("utf-8", "replace")
    return tuple(
        _status(part)
        for part in re.split(r"^(?= *pool: )", text, flags=re.MULTILINE)
        if part.strip().startswith("pool:")
    )


def _status(text: str) -> PoolStatus:
    fields: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
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
    )


def _number(value: str) -> int | None:
    digits = re.fullmatch(r"([0-9]+)%?", value)
    return int(digits[1]) if digits else None
