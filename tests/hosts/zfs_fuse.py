"""Real ZFS for tests: zfs-fuse, whose zfs(8) is older than any FreeBSD's that is managed.

`ZfsFuse` is a connection that turns what the product asks into what this old one understands; what changes something
goes through as it is.
"""

import subprocess
import time
import uuid
from pathlib import Path

from jails.hosts.connection import Result
from jails.hosts.local import LocalConnection

UNKNOWN = frozenset({"jailed", "logicalused", "written", "clones", "guid"})
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class ZfsFuse(LocalConnection):
    """With `pool` it shows no other: tests that run side by side share one daemon."""

    def __init__(self, pool: str = "") -> None:
        super().__init__()
        self.pool = pool

    def run(self, pipeline, **options):
        words = pipeline.argvs[0]
        mine = [self.pool] if self.pool else []
        if words[:3] == ("zfs", "list", "-Hp"):
            return _printed(_listed(words, mine))
        if words[:3] == ("zfs", "get", "-Hp"):
            return _printed(_got(words))
        if words[:3] == ("zpool", "list", "-Hp"):
            return _printed(_pools(words, mine))
        return super().run(pipeline, **options)


def zfs(*words):
    return subprocess.run(("zfs", *words), check=True, capture_output=True, text=True).stdout


def zpool(*words):
    return subprocess.run(("zpool", *words), check=True, capture_output=True, text=True).stdout


class Pool:
    """A pool in a file, that mounts nothing unless told to."""

    def __init__(self, directory: Path) -> None:
        self.name = f"test{uuid.uuid4().hex[:8]}"
        self.file = directory / "disk"
        with self.file.open("wb") as disk:
            disk.truncate(128 * 2**20)
        zpool("create", "-m", "none", self.name, str(self.file))

    def destroy(self) -> None:
        """A file system that was mounted goes a moment after its umount(8)."""
        for attempt in range(50):
            done = subprocess.run(("zpool", "destroy", "-f", self.name), capture_output=True, text=True)
            if not done.returncode:
                return
            time.sleep(0.1 if attempt < 10 else 0.5)
        raise RuntimeError(done.stderr)


def _printed(lines):
    return Result(0, "".join(f"{line}\n" for line in lines).encode())


def _option(words, name):
    return words[words.index(name) + 1]


def _names(words, roots):
    return zfs("list", "-H", *(["-r"] if roots else []), "-t", _option(words, "-t"), "-o", "name", *roots).split("\n")[
        :-1
    ]


def _values(names, properties):
    """(name, property) to (value, source)."""
    wanted = [name for name in properties if name not in UNKNOWN and name != "name"]
    if not names or not wanted:
        return {}
    rows = zfs("get", "-Hp", "-o", "name,property,value,source", ",".join(wanted), *names).split("\n")[:-1]
    return {(name, key): (value, source) for name, key, value, source in (row.split("\t") for row in rows)}


def _listed(words, mine):
    columns, *roots = words[words.index("-o") + 1 :]
    properties = columns.split(",")
    names = _names(words, roots or mine)
    values = _values(names, properties)
    for name in names:
        row = {key: values.get((name, key), ("-", "-"))[0] for key in properties}
        if "clones" in properties:
            row["clones"] = ",".join(_clones(name)) or "-"
        yield "\t".join((row | {"name": name})[key] for key in properties)


def _clones(snapshot):
    rows = (row.split("\t") for row in zfs("list", "-H", "-t", "filesystem", "-o", "name,origin").split("\n")[:-1])
    return [name for name, origin in rows if origin == snapshot]


def _got(words):
    columns, wanted, *roots = words[words.index("-o") + 1 :]
    names = _names(words, roots)
    return zfs("get", "-Hp", "-o", columns, wanted, *names).split("\n")[:-1]


def _pools(words, mine):
    columns = _option(words, "-o").split(",")
    known = ("name", "size", "allocated", "free", "capacity", "health", "guid")
    for line in zpool("list", "-H", "-o", ",".join(known), *mine).split("\n")[:-1]:
        row = dict(zip(known, line.split("\t"), strict=True))
        for key in ("size", "allocated", "free"):
            row[key] = str(int(float(row[key].rstrip("KMGT")) * _UNITS.get(row[key][-1], 1)))
        yield "\t".join(row.get(key, "-") for key in columns)
