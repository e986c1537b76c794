"""A FreeBSD mirror in a folder for simulated hosts: RELEASE/base.txz and MANIFEST, real files, very small.

The bytes depend on the release and architecture alone, so that the sha256 of MANIFEST is a constant.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from functools import cache
from pathlib import Path

from . import base

RELEASES, ARCHITECTURE = ("14.2-RELEASE", "14.4-RELEASE"), "amd64"
RELEASE = RELEASES[0]
"""What the demo's mirror has, and the only one whose digest simulated hosts trust without anybody's word."""
_WHEN = 1_700_000_000


def make_mirror(directory: str | Path, release: str = RELEASE, arch: str = ARCHITECTURE) -> Path:
    """Write DIRECTORY/ARCH/RELEASE/{MANIFEST,base.txz}, as download.freebsd.org has them below releases/; its folder.

    What is there already and right is left alone.
    """
    folder = Path(directory) / arch / release
    folder.mkdir(parents=True, exist_ok=True)
    archive, count = base_archive(release)
    _write(folder / "base.txz", archive)
    _write(folder / "MANIFEST", manifest({"base.txz": (archive, count, "Base system")}))
    return folder


def manifest(sets: dict[str, tuple[bytes, int, str]]) -> bytes:
    """MANIFEST of {file: (bytes, number of members, description)}: file, sha256, count, name, description, default."""
    lines = [
        "\t".join(
            [name, hashlib.sha256(data).hexdigest(), str(count), name.partition(".")[0], f'"{words} (MANDATORY)"', "on"]
        )
        for name, (data, count, words) in sets.items()
    ]
    return "".join(line + "\n" for line in lines).encode()


@cache
def manifest_digest(release: str = RELEASE) -> str:
    """sha256 of the MANIFEST of a release: what may be trusted on simulated hosts only."""
    archive, count = base_archive(release)
    return hashlib.sha256(manifest({"base.txz": (archive, count, "Base system")})).hexdigest()


def base_archive(release: str) -> tuple[bytes, int]:
    """base.txz and how many members it has."""
    plain = io.BytesIO()
    count = 0
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(_header(".", "d", 0o755))
        for entry in base.userland(release):
            member = _header(f"./{entry.path}", entry.kind, entry.mode)
            if entry.kind == "l":
                member.linkname = entry.data.decode()
            if entry.kind == "f":
                member.size = len(entry.data)
            if entry.flags:
                member.pax_headers = {"SCHILY.fflags": ",".join(entry.flags)}
            archive.addfile(member, io.BytesIO(entry.data))
            count += 1
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2, "mode": lzma.MODE_FAST,
                "nice_len": 64, "mf": lzma.MF_HC4, "depth": 24}]  # fmt: skip
    return lzma.compress(plain.getvalue(), check=lzma.CHECK_CRC64, filters=filters), count + 1


def _header(name: str, kind: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime, member.uid, member.gid = mode, _WHEN, 0, 0
    member.uname, member.gname = "root", "wheel"
    member.type = {"d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "f": tarfile.REGTYPE}[kind]
    return member


def _write(path: Path, data: bytes) -> None:
    if path.exists() and path.read_bytes() == data:
        return
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    new.replace(path)
