"""Pools: apart, redundant, healthy, looked over, and never quite full."""

from __future__ import annotations

from collections.abc import Iterable

from jails.freebsd.zpool import PoolStatus
from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Pool
from jails.readiness.finding import Finding, Look, Status

SCRUB_DAYS = 35
"""As daily_scrub_zfs_default_threshold of periodic.conf(5) has it."""
DAY = 86400
SHARE, LOWERED = 0.20, 0.15
ROUNDING = 0.01
"""What a pool grows and shrinks by between two looks is no reason to nag."""
TIGHT = 0.05
"""Of what data may use: with so little left the reserve is there to be lowered."""


def pool_of(look: Look) -> str:
    """The pool for jails, "" without ZFS."""
    pools = [pool.name for pool in look.known.pools]
    return look.pool if look.pool in pools else pools[0] if pools and not look.pool else ""


def root_pool(facts: HostFacts) -> str:
    """The pool that the system is on; "" for one on UFS. Raises Missing."""
    root = facts.mount_of("/")
    return root.device.partition("/")[0] if root.type == "zfs" else ""


def separate(look: Look) -> Iterable[Finding]:
    key, title, man = "separate", "A pool for jails alone", "zpool-create(8)"
    look.known.require("identity", "zfs", "mounts")
    if not look.known.zfs:
        reason = "There is no ZFS here: jails are folders on UFS, always thick and without snapshots."
        yield Finding(key, Status.PASS, "Storage of jails", reason, "zfs(8)")
        return
    jails, system = pool_of(look), root_pool(look.known)
    if not jails:
        wanted = f"the pool {look.pool} is not there" if look.pool else "no pool is imported"
        yield Finding(
            key,
            Status.FAIL,
            title,
            f"ZFS is loaded and {wanted}.",
            man,
            advice="See zpool import, or name another pool on the host's page.",
        )
    elif jails == system:
        reason = f"{jails} holds the system and the jails: jails that fill it stop the host as well."
        advice = "With disks to spare, make a pool for jails and name it on the host's page; jails made before stay."
        yield Finding(key, Status.WARN, title, reason, man, advice=advice)
    else:
        where = f"the system is on {system}" if system else "the system is on UFS"
        yield Finding(key, Status.PASS, title, f"Jails are in {jails}, {where}.", man)


def _statuses(look: Look) -> list[PoolStatus]:
    """Of the pool for jails and of the system's. Raises Missing where one of them was not looked at."""
    look.known.require("identity", "zfs", "mounts")
    if not look.known.zfs:
        return []
    wanted = [name for name in dict.fromkeys((pool_of(look), root_pool(look.known))) if name]
    look.seen.require("pools")
    found = {one.name: one for one in look.seen.pool_status}
    return [found[name] for name in wanted if name in found]


def redundancy(look: Look) -> Iterable[Finding]:
    for pool in _statuses(look):
        key, title, man = f"redundancy:{pool.name}", f"{pool.name} outlives a disk", "zpoolconcepts(7)"
        if not pool.vdevs:
            yield Finding(key, Status.UNKNOWN, title, f"What {pool.name} is made of could not be read.", man)
        elif pool.redundant:
            yield Finding(key, Status.PASS, title, f"{pool.name} is made of {_vdevs(pool)}.", man)
        else:
            reason = f"{pool.name} is made of {_vdevs(pool)}: one broken disk takes all of it."
            advice = f"Add a second disk: zpool attach {pool.name} OLD NEW makes a mirror of it, while it is in use."
            yield Finding(key, Status.WARN, title, reason, man, advice=advice)


def _vdevs(pool: PoolStatus) -> str:
    counted: dict[str, int] = {}
    for vdev in (*pool.vdevs, *pool.others):
        counted[vdev] = counted.get(vdev, 0) + 1
    words = {"disk": "single disk"}
    return ", ".join(f"{count} × {words.get(vdev, vdev)}" for vdev, count in counted.items())


def health(look: Look) -> Iterable[Finding]:
    for pool in _statuses(look):
        key, title, man = f"health:{pool.name}", f"{pool.name} is healthy", "zpool-status(8)"
        if pool.healthy:
            yield Finding(key, Status.PASS, title, f"{pool.name} is {pool.state}, without known errors.", man)
            continue
        said = " ".join(filter(None, (pool.status, pool.errors if pool.errors != "No known data errors" else "")))
        # Features that a newer ZFS has are no trouble, whatever zpool(8) calls them.
        mild = pool.state == "ONLINE" and pool.errors == "No known data errors"
        reason = f"{pool.name} is {pool.state or 'in no state that could be read'}. {said}".rstrip()
        advice = f"zpool status -v {pool.name} on the host says what to do."
        yield Finding(key, Status.WARN if mild else Status.FAIL, title, reason, man, advice=advice)


def scrub(look: Look) -> Iterable[Finding]:
    for pool in _statuses(look):
        key, title, man = f"scrub:{pool.name}", f"{pool.name} was looked over lately", "zpool-scrub(8)"
        at, fix = pool.scrubbed_at(look.seen.utc_offset), {"pool": pool.name}
        if pool.scanning:
            done = f", {pool.percent:.0f} % done" if pool.percent is not None else ""
            yield Finding(key, Status.PASS, title, f"{pool.name} is being looked over now{done}.", man)
        elif at is None and pool.scan and "none requested" not in pool.scan and not pool.scan.startswith("scrub"):
            yield Finding(key, Status.WARN, title, f"The last of {pool.name}: {pool.scan}.", man, "scrub", fix)
        elif at is None:
            reason = f"{pool.name} was never scrubbed: what has rotted on its disks is found when it is read."
            yield Finding(key, Status.FAIL, title, reason, man, "scrub", fix)
        else:
            days = max(0, int(look.now - at) // DAY)
            when = "today" if days == 0 else f"{days} day{'s' if days != 1 else ''} ago"
            status = Status.PASS if days <= SCRUB_DAYS else Status.WARN
            reason = f"The last scrub of {pool.name} ended {when}."
            if status is Status.PASS:
                yield Finding(key, status, title, reason, man)
            else:
                advice = "daily_scrub_zfs_enable=YES in periodic.conf(5) does it by itself."
                yield Finding(key, status, title, reason, man, "scrub", fix, advice)


def reserve(look: Look) -> Iterable[Finding]:
    look.known.require("identity", "zfs")
    pool = look.known.pool(pool_of(look)) if look.known.zfs else None
    if pool is None:
        return
    key, title, man = f"reserve:{pool.name}", f"A fifth of {pool.name} held back", "zfsprops(7)"
    total = pool.used + pool.available
    share = pool.reserve / total if total else 0.0
    fix = {"pool": pool.name}
    held = f"{share:.0%} of {pool.name} is held back ({pool.reserve_dataset})." if pool.reserve else ""
    if share >= SHARE - ROUNDING:
        if _left(pool) > TIGHT:
            yield Finding(key, Status.PASS, title, held, man)
            return
        reason = (
            f"{held} Of what data may use {_left(pool):.0%} is left: lower it to delete in peace, then raise it again."
        )
        yield Finding(key, Status.WARN, title, reason, man, "reserve_lower", fix)
    elif share >= LOWERED - ROUNDING:
        reason = f"{held} It was lowered in an emergency: make room, then raise it to a fifth again."
        yield Finding(key, Status.WARN, title, reason, man, "reserve", fix)
    else:
        reason = (
            held or f"Nothing of {pool.name} is held back: above 80 % it is slow, and a full pool cannot even delete."
        )
        yield Finding(key, Status.FAIL, title, reason, man, "reserve", fix)


def _left(pool: Pool) -> float:
    room = pool.used + pool.available - pool.reserve
    return pool.available / room if room > 0 else 0.0


CHECKS = (
    ("separate", "A pool for jails alone", "zpool-create(8)", separate),
    ("redundancy", "Pools outlive a disk", "zpoolconcepts(7)", redundancy),
    ("health", "Pools are healthy", "zpool-status(8)", health),
    ("scrub", "Pools were looked over lately", "zpool-scrub(8)", scrub),
    ("reserve", "A fifth of the pool held back", "zfsprops(7)", reserve),
)
