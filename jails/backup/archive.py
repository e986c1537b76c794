"""A backup's file: a zip archive whose manifest names every part with its SHA-256. Nobody but its owner may read it."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from jails import secretfile

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_LONGEST = 128_000_000
"""Bytes: of some hundred thousand recordings."""
CHUNK = 1 << 20
# The last ones: of a header that says the part is encrypted, or begins where there is nothing.
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, LookupError, TypeError, ValueError, RuntimeError, OSError,
    OverflowError,
)  # fmt: skip


class Damaged(Exception):
    """The file is no backup, or not as it was made: a sentence."""


class Writer:
    """Parts first, the manifest last; the digest of that is the archive's comment."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.parts: dict[str, dict[str, Any]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[_Hashing]:
        # A name and content decide its bytes, no clock.
        info = zipfile.ZipInfo(name)
        info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        with self.archive.open(info, "w", force_zip64=True) as stream:
            hashing = _Hashing(stream)
            yield hashing
        self.parts[name] = {"sha256": hashing.digest.hexdigest(), "bytes": hashing.count}

    def finish(self, facts: Mapping[str, Any]) -> None:
        text = json.dumps({"format": FORMAT, **facts, "parts": self.parts}, indent=1, sort_keys=True).encode()
        with self.part(MANIFEST) as stream:
            stream.write(text)
        self.archive.comment = self.parts[MANIFEST]["sha256"].encode()


class _Hashing:
    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest, self.count = stream, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self.stream.write(data)
        self.digest.update(data)
        self.count += len(data)


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A new file with mode 0600, there only when it is whole. Raises FileExistsError, other OSErrors."""
    with secretfile.new(path) as file, zipfile.ZipFile(file, "w") as archive:
        yield Writer(archive)


class Reader:
    """A file all of whose parts are as they were written."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Mapping[str, Any]) -> None:
        self.archive, self.manifest = archive, manifest

    def names(self, folder: str) -> list[str]:
        return sorted(name for name in self.manifest["parts"] if name.startswith(folder))

    def read(self, name: str) -> bytes:
        return self.archive.read(name)

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)

    def lines(self, name: str) -> Iterator[bytes]:
        with self.archive.open(name) as stream:
            yield from stream


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Checks all of it first. Raises Damaged, OSError."""
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise Damaged(f"{path}: is no backup of Cellblock, or its end is missing ({error}).") from error
        with archive:
            yield Reader(archive, _checked(path, archive))


def _checked(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        return _check(path, archive)
    except UNREADABLE as error:
        raise Damaged(f"{path}: is damaged ({error}).") from error


def _check(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    names = archive.namelist()
    if MANIFEST not in names:
        raise Damaged(f"{path}: is no backup of Cellblock: it has no {MANIFEST}.")
    if archive.getinfo(MANIFEST).file_size > MANIFEST_LONGEST:
        raise Damaged(f"{path}: {MANIFEST} is too long.")
    text = archive.read(MANIFEST)
    if hashlib.sha256(text).hexdigest().encode() != archive.comment:
        raise Damaged(f"{path}: {MANIFEST} is not as it was written.")
    manifest: dict[str, Any] = json.loads(text)
    if manifest["format"] != FORMAT:
        raise Damaged(f"{path}: has the format {manifest['format']}; this release reads {FORMAT}.")
    if sorted(names) != sorted([*manifest["parts"], MANIFEST]):
        raise Damaged(f"{path}: does not have the parts that its {MANIFEST} names.")
    for name, known in manifest["parts"].items():
        if _digest_of(archive, name) != (known["sha256"], known["bytes"]):
            raise Damaged(f"{path}: {name} is not as it was written.")
    return manifest


def _digest_of(archive: zipfile.ZipFile, name: str) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    with archive.open(name) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            count += len(chunk)
    return digest.hexdigest(), count
