"""MANIFEST of a FreeBSD release: which distribution files it has, and their digests."""

import hashlib
import hmac
import re
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

# SHA-256 of the whole MANIFEST, by release and architecture. Source: the files of the port
# misc/freebsd-release-manifests (freebsd/freebsd-ports, files/MANIFESTS/amd64-amd64-14.2-RELEASE and so on).
# What is not here is trusted only after an administrator has compared the digest.
TRUSTED_MANIFESTS: dict[tuple[str, str], str] = {
    ("13.5-RELEASE", "amd64"): "172129513db721e0afabf8d5c9ddb99c79011e8b2fdcc85aba49d656223bfa82",
    ("14.2-RELEASE", "amd64"): "a24e5aa03d3da74b8617fe6639d7b9298506232783c94c59dbc3c36fcc840c00",
    ("14.2-RELEASE", "arm64"): "d3964f1e2fb419ee1bb53944b9e1bc6978f3dc38f725bfa05969ab052057c7dc",
    ("14.3-RELEASE", "amd64"): "1099ea170efa5a8e32824ebec9e7cca556ff292556920413b08aa4ab4310c619",
    ("15.0-RELEASE", "amd64"): "f979899434327ed4643d25b56b169220382c0f94991d48dc53bd966497e61cc3",
}


@dataclass(frozen=True)
class Entry:
    """`entries` is the number of files in the archive; `default` whether an installation takes it unasked."""

    file: str
    digest: str
    entries: int
    name: str
    description: str
    default: bool


@dataclass(frozen=True)
class Manifest:
    entries: tuple[Entry, ...]
    digest: str

    def entry(self, file: str) -> Entry:
        """ValueError when the release has no such file."""
        found = next((entry for entry in self.entries if entry.file == file), None)
        if found is None:
            raise ValueError(f"MANIFEST: has no {file}; it lists {', '.join(entry.file for entry in self.entries)}")
        return found


def parse(content: bytes) -> Manifest:
    """ValueError, with the line, for anything that is no MANIFEST."""
    entries: list[Entry] = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        columns = line.split("\t")
        if len(columns) != 6:
            raise ValueError(f"MANIFEST: line {number} has {len(columns)} columns, expected 6 between tabs")
        file, digest, count, name, description, default = columns
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", file):
            raise ValueError(f"MANIFEST: line {number}: {file!r} is not the name of a distribution file")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"MANIFEST: line {number}: expected 64 hexadecimal digits for {file}")
        if not re.fullmatch(r"[0-9]{1,9}", count):
            raise ValueError(f"MANIFEST: line {number}: expected a number of files for {file}")
        entries.append(Entry(file, digest, int(count), name, description.strip('"'), default == "on"))
    if not entries:
        raise ValueError("MANIFEST: is empty")
    if len({entry.file for entry in entries}) != len(entries):
        raise ValueError("MANIFEST: lists a file twice")
    return Manifest(tuple(entries), digest_of(content))


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def compare(digest: str, path: str) -> Argv:
    """Status 0 when the SHA-256 of the file is that, 2 when it is another one (-c of sha256(1), which prints it)."""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"digest: expected 64 hexadecimal digits, got {digest!r}")
    return argv("sha256", "-c", digest, names.require("path", path, names.path_error))


def is_trusted(content: bytes, release: str, architecture: str, confirmed: str = "") -> bool:
    """Whether this very MANIFEST is in the table, or is the one whose digest an administrator `confirmed`."""
    digest = digest_of(content).encode()
    answers = (TRUSTED_MANIFESTS.get((release, architecture), ""), confirmed.lower())
    return any(hmac.compare_digest(digest, answer.encode()) for answer in answers)
