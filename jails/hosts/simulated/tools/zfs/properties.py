"""The native properties of datasets (zfsprops(7); module/zcommon/zfs_prop.c of 12.1 and of zfs-2.2.6)."""

from __future__ import annotations

import re
from typing import NamedTuple

from . import numbers

ON_OFF = "on | off"
UNLIMITED = numbers.MAXIMUM
_USER_NAME = re.compile(r"[a-z0-9:_.+-]*:[a-z0-9:_.+-]*")


class Property(NamedTuple):
    """One native property.

    `kind` is number, index or string; `flow` is inherit, default (settable, not inherited), once or readonly;
    `types` are those that have it: f(ilesystem), v(olume), s(napshot), b(ookmark).
    """

    name: str
    kind: str
    flow: str
    types: str
    values: str
    column: str
    default: str | int = ""
    right: bool = False


def _number(name: str, flow: str, types: str, column: str, default: int = 0, values: str = "<size>") -> Property:
    return Property(name, "number", flow, types, values, column, default, right=True)


def _index(name: str, values: str, column: str, default: str, types: str = "f", flow: str = "inherit") -> Property:
    return Property(name, "index", flow, types, values, column, default)


def _string(name: str, flow: str, types: str, column: str, default: str = "", values: str = "") -> Property:
    return Property(name, "string", flow, types, values, column, default)


_CHECKSUMS = "on | off | fletcher2 | fletcher4 | sha256 | sha512 | skein"
_COMPRESSIONS = "on | off | lzjb | gzip | gzip-[1-9] | zle | lz4"
_DEDUPS = "on | off | verify | sha256[,verify], sha512[,verify], skein[,verify]"
_CACHES = "all | none | metadata"

# The order is that of `zfs get all`.
_LEGACY = (
    _string("type", "readonly", "fvsb", "TYPE", values="filesystem | volume | snapshot | bookmark"),
    Property("creation", "number", "readonly", "fvsb", "<date>", "CREATION"),
    _number("used", "readonly", "fvs", "USED"),
    _number("available", "readonly", "fv", "AVAIL"),
    _number("referenced", "readonly", "fvs", "REFER"),
    _number("compressratio", "readonly", "fvs", "RATIO"),
    _index("mounted", "yes | no", "MOUNTED", "no", flow="readonly"),
    _string("origin", "readonly", "fv", "ORIGIN"),
    _number("quota", "default", "f", "QUOTA", values="<size> | none"),
    _number("reservation", "default", "fv", "RESERV", values="<size> | none"),
    _number("volsize", "default", "vs", "VOLSIZE"),
    _number("volblocksize", "once", "v", "VOLBLOCK", 8192),
    _number("recordsize", "inherit", "f", "RECSIZE", 131072),
    _string("mountpoint", "inherit", "f", "MOUNTPOINT", values="<path> | legacy | none"),
    _string("sharenfs", "inherit", "f", "SHARENFS", "off"),
    _index("checksum", _CHECKSUMS, "CHECKSUM", "on", "fv"),
    _index("compression", _COMPRESSIONS, "COMPRESS", "off", "fv"),
    _index("atime", ON_OFF, "ATIME", "on"),
    _index("devices", ON_OFF, "DEVICES", "on", "fs"),
    _index("exec", ON_OFF, "EXEC", "on", "fs"),
    _index("setuid", ON_OFF, "SETUID", "on", "fs"),
    _index("readonly", ON_OFF, "RDONLY", "off", "fv"),
    _index("jailed", ON_OFF, "JAILED", "off"),
    _index("snapdir", "hidden | visible", "SNAPDIR", "hidden"),
    _index("aclmode", "discard | groupmask | passthrough | restricted", "ACLMODE", "discard"),
    _index("aclinherit", "discard | noallow | restricted | passthrough | passthrough-x", "ACLINHERIT", "restricted"),
    _number("createtxg", "readonly", "fvsb", "CREATETXG", values="<uint64>"),
    _index("canmount", "on | off | noauto", "CANMOUNT", "on", flow="default"),
    _index("xattr", ON_OFF, "XATTR", "off", "fs"),
    _index("copies", "1 | 2 | 3", "COPIES", "1", "fv"),
    _index("version", "1 | 2 | 3 | 4 | 5 | current", "VERSION", "5", "fs", "default"),
    _index("utf8only", ON_OFF, "UTF8ONLY", "off", "fs", "once"),
    _index("normalization", "none | formC | formD | formKC | formKD", "NORMALIZATION", "none", "fs", "once"),
    _index("casesensitivity", "sensitive | insensitive | mixed", "CASE", "sensitive", "fs", "once"),
    _index("vscan", ON_OFF, "VSCAN", "off"),
    _index("nbmand", ON_OFF, "NBMAND", "off", "fs"),
    _string("sharesmb", "inherit", "f", "SHARESMB", "off"),
    _number("refquota", "default", "f", "REFQUOTA", values="<size> | none"),
    _number("refreservation", "default", "fv", "REFRESERV", values="<size> | none"),
    _number("guid", "readonly", "fvsb", "GUID", values="<uint64>"),
    _index("primarycache", _CACHES, "PRIMARYCACHE", "all", "fvs"),
    _index("secondarycache", _CACHES, "SECONDARYCACHE", "all", "fvs"),
    _number("usedbysnapshots", "readonly", "fv", "USEDSNAP"),
    _number("usedbydataset", "readonly", "fv", "USEDDS"),
    _number("usedbychildren", "readonly", "fv", "USEDCHILD"),
    _number("usedbyrefreservation", "readonly", "fv", "USEDREFRESERV"),
    _string("defer_destroy", "readonly", "s", "DEFER_DESTROY"),
    _number("userrefs", "readonly", "s", "USERREFS", values="<count>"),
    _index("logbias", "latency | throughput", "LOGBIAS", "latency", "fv"),
    _index("dedup", _DEDUPS, "DEDUP", "off", "fv"),
    _string("mlslabel", "inherit", "fv", "MLSLABEL"),
    _index("sync", "standard | always | disabled", "SYNC", "standard", "fv"),
    _index("dnodesize", "legacy | auto | 1k | 2k | 4k | 8k | 16k", "DNSIZE", "legacy"),
    _number("refcompressratio", "readonly", "fvs", "REFRATIO"),
    _number("written", "readonly", "fvs", "WRITTEN"),
    _string("clones", "readonly", "s", "CLONES"),
    _number("logicalused", "readonly", "fv", "LUSED"),
    _number("logicalreferenced", "readonly", "fvs", "LREFER"),
    _index("volmode", "default | geom | dev | none", "VOLMODE", "default", "fv"),
    _number("filesystem_limit", "default", "f", "FSLIMIT", UNLIMITED, "<count> | none"),
    _number("snapshot_limit", "default", "fv", "SSLIMIT", UNLIMITED, "<count> | none"),
    _number("filesystem_count", "readonly", "f", "FSCOUNT", UNLIMITED, "<count>"),
    _number("snapshot_count", "readonly", "fv", "SSCOUNT", UNLIMITED, "<count>"),
    _index("redundant_metadata", "all | most", "REDUND_MD", "all", "fv"),
    _number("special_small_blocks", "inherit", "f", "SPECIAL_SMALL_BLOCKS"),
    _string("receive_resume_token", "readonly", "fv", "RESUMETOK"),
)

_OPENZFS = {
    "checksum": _index("checksum", _CHECKSUMS + " | edonr | blake3", "CHECKSUM", "on", "fv"),
    "compression": _index(
        "compression",
        _COMPRESSIONS + " | zstd | zstd-[1-19] | zstd-fast | zstd-fast-[1-10,20,30,40,50,60,70,80,90,100,500,1000]",
        "COMPRESS",
        "off",
        "fv",
    ),
    "dedup": _index(
        "dedup",
        "on | off | verify | sha256[,verify] | sha512[,verify] | skein[,verify] | edonr,verify | blake3[,verify]",
        "DEDUP",
        "off",
        "fv",
    ),
    "xattr": _index("xattr", "on | off | dir | sa", "XATTR", "on", "fs"),
    "volmode": _index("volmode", "default | full | geom | dev | none", "VOLMODE", "default", "fv"),
    "redundant_metadata": _index("redundant_metadata", "all | most | some | none", "REDUND_MD", "all", "fv"),
    "volblocksize": _number("volblocksize", "once", "v", "VOLBLOCK", 16384),
}
_OPENZFS_ADDED = (
    _number("objsetid", "readonly", "fvs", "OBJSETID", values="<uint64>"),
    _index("snapdev", "hidden | visible", "SNAPDEV", "hidden", "fv"),
    _index("acltype", "off | nfsv4 | posix", "ACLTYPE", "nfsv4", "fs"),
    _index("relatime", ON_OFF, "RELATIME", "on"),
    _index("overlay", ON_OFF, "OVERLAY", "on"),
    _index("encryption", ON_OFF, "ENCRYPTION", "off", "fvs", "once"),
    _string("keylocation", "default", "fv", "KEYLOCATION", "none"),
    _index("keyformat", "none | raw | hex | passphrase", "KEYFORMAT", "none", "fv", "once"),
    _number("pbkdf2iters", "once", "fv", "PBKDF2ITERS", values="<iters>"),
    _string("keystatus", "readonly", "fvs", "KEYSTATUS"),
    _string("encryptionroot", "readonly", "fvs", "ENCROOT"),
)

_VALUE_SETS = {
    "gzip-[1-9]": tuple(f"gzip-{level}" for level in range(1, 10)),
    "zstd-[1-19]": tuple(f"zstd-{level}" for level in range(1, 20)),
    "zstd-fast-[1-10,20,30,40,50,60,70,80,90,100,500,1000]": tuple(
        f"zstd-fast-{level}" for level in (*range(1, 11), *range(20, 101, 10), 500, 1000)
    ),
}


class Properties:
    """The properties of one release: `table` by name in the order of `zfs get all`."""

    def __init__(self, release: tuple[int, int]) -> None:
        self.table = {known.name: known for known in _LEGACY}
        if release >= (13, 0):
            self.table.update(_OPENZFS)
            self.table.update({known.name: known for known in _OPENZFS_ADDED})
        if release >= (14, 0):
            old = self.table["compression"]
            self.table["compression"] = _index("compression", old.values, old.column, "on", old.types)
        self._columns = {known.column.lower(): known for known in self.table.values()}

    def find(self, name: str) -> Property | None:
        """By name or, as zfs(8) allows, by the name of its column in lower case."""
        return self.table.get(name) or self._columns.get(name)

    def value(self, known: Property, text: str, type_: str) -> str | int:
        """What the dataset keeps of `text`. ValueError carries ZFS's words."""
        if known.kind == "index":
            return self._index_value(known, text)
        if known.kind == "number":
            return _number_value(known, text)
        if len(text) >= 8192:
            raise ValueError(f"'{known.name}' is too long")
        if known.name == "mountpoint" and text not in ("none", "legacy") and not text.startswith("/"):
            raise ValueError("'mountpoint' must be an absolute path, 'none', or 'legacy'")
        return text

    @staticmethod
    def _index_value(known: Property, text: str) -> str:
        allowed = re.sub(r"(\w+)\[,verify\]", r"\1 | \1,verify", known.values).replace(", ", " | ").split(" | ")
        for pattern, names in _VALUE_SETS.items():
            if pattern in allowed:
                allowed += names
        if text not in allowed or text in _VALUE_SETS:
            raise ValueError(f"'{known.name}' must be one of '{known.values}'")
        return "5" if text == "current" else text


def _number_value(known: Property, text: str) -> int:
    if text == "none":
        return UNLIMITED if known.name.endswith("_limit") else 0
    number = numbers.parse(text)
    if number == 0 and known.name in ("quota", "refquota"):
        raise ValueError("use 'none' to disable quota/refquota")
    if known.name == "recordsize" and (not 512 <= number <= 1048576 or number & (number - 1)):
        raise ValueError("'recordsize' must be power of 2 from 512B to 1M")
    return number


def is_user_property(name: str) -> bool:
    """`module:name` (zfsprops(7), "User Properties")."""
    return _USER_NAME.fullmatch(name) is not None


def shown(known: Property, value: str | int, parsable: bool) -> str:
    """The text of a value in list and get."""
    if not isinstance(value, int):
        return value
    if known.name in ("guid", "createtxg", "userrefs", "objsetid", "pbkdf2iters", "special_small_blocks"):
        return str(value)
    if parsable:
        return str(value)
    if known.name in ("quota", "refquota", "reservation", "refreservation") and value == 0:
        return "none"
    if known.values.startswith("<count>"):
        return "none" if value == UNLIMITED else str(value)
    return ""
