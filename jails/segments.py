"""Sealed segments of the log: old entries as files that can be kept, and checked, without the panel.

Nothing is deleted from the database by it. A segment is a gzip(1) file of JSON lines, each as jails.audit.line gives
it, that begins where the one before ended. Beside it lies its seal, one line of JSON: `first` and `last` entry, the
`previous_hash` it continues and the `hash` it ends with, the `sha256` of the file, `at` in UTC, `key` and `signature`
(Ed25519, RFC 8032, by the key of the checkpoints) over the text `cellblock audit segment 1` and these values in this
order, each with a newline behind it. What is sealed was verified as it was written.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from jails import audit, checkpoints, folders
from jails.models import AuditEntry

FORMAT = "cellblock audit segment 1"
NAME = re.compile(r"audit-([0-9]{12})-([0-9]{12})\.seal\.json")
LARGEST = 100_000
"""Entries of one segment."""


@dataclass(frozen=True)
class Seal:
    first: int
    last: int
    previous_hash: str
    hash: str
    sha256: str
    at: str
    key: str = ""
    signature: str = ""

    @property
    def signed(self) -> bytes:
        parts = (FORMAT, self.first, self.last, self.previous_hash, self.hash, self.sha256, self.at)
        return "".join(f"{part}\n" for part in parts).encode()

    @property
    def name(self) -> str:
        return f"audit-{self.first:012}-{self.last:012}"


# Reading


def seals(folder: Path) -> list[Seal]:
    """All of a folder, in their order. ValueError names the first that is none, or does not continue the one before."""
    found: list[Seal] = []
    for path in sorted(folder.glob("*.seal.json")):
        seal = _parse(path)
        before = found[-1] if found else None
        if (seal.first, seal.previous_hash) != ((before.last + 1, before.hash) if before else (1, audit.GENESIS)):
            where = f"entry {before.last} of {before.name}" if before else "the first entry of the log"
            raise ValueError(f"{path.name}: a segment that continues {where} is missing")
        found.append(seal)
    return found


def check(folder: Path, trusted: list[str]) -> Iterator[tuple[int, str]]:
    """The last sequence and hash of each segment, after its seal, its file and each entry in it were checked.

    Lowest first, as jails.audit.verify takes checkpoints: the log in the database must be the one that was sealed.
    ValueError names the first file that is not as it was sealed. Constant memory: one line at a time.
    """
    for seal in seals(folder):
        _check_signature(seal, trusted)
        _check_file(folder / f"{seal.name}.jsonl.gz", seal)
        yield seal.last, seal.hash


def _parse(path: Path) -> Seal:
    name = NAME.fullmatch(path.name)
    try:
        seal = Seal(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path.name} is no seal of a segment") from error
    if name is None or [int(number) for number in name.groups()] != [seal.first, seal.last]:
        raise ValueError(f"{path.name} is not the seal its name says: it is about {seal.first} to {seal.last}")
    return seal


def _check_signature(seal: Seal, trusted: list[str]) -> None:
    try:
        checkpoints.require_signed(seal.signed, seal.key, seal.signature, trusted)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{seal.name}: {error}") from error


def _check_file(path: Path, seal: Seal) -> None:
    if not path.exists():
        raise ValueError(f"{path.name} is missing: its seal is there")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != seal.sha256:
            raise ValueError(f"{path.name} is not the file that was sealed")
    previous, expected = seal.previous_hash, seal.first
    with gzip.open(path, "rb") as lines:
        for line in lines:
            previous = _hash_as_written(line, expected, previous) or _hash_as_read(path, line, expected, previous)
            expected += 1
    if (expected - 1, previous) != (seal.last, seal.hash):
        raise ValueError(f"{path.name} ends at entry {expected - 1}, not at entry {seal.last} as its seal says")


def _hash_as_written(line: bytes, number: int, previous: str) -> str:
    """The hash of a line that is that entry to the byte as `audit.line` writes it; "" of any other, be it right or not.

    Behind these keys is only text, with a backslash at each quote in it: those that are found last are the entry's own.
    """
    front, _, rest = line.rpartition(b',"hash":"')
    digest, text = rest[:64].decode("ascii", "replace"), front + rest[65:].rstrip(b"\n")
    at = text.rfind(b',"previous_hash":"')
    is_next = text.startswith(b',"previous_hash":"%b","sequence":%d,"source":"' % (previous.encode(), number), at)
    return digest if is_next and hashlib.sha256(text).hexdigest() == digest else ""


def _hash_as_read(path: Path, line: bytes, number: int, previous: str) -> str:
    """The hash of a line that says what that entry says, in whatever spelling. ValueError of one that does not."""
    values = json.loads(line.decode("ascii"))
    digest: str = values.pop("hash")
    if (values["sequence"], values["previous_hash"]) != (number, previous):
        raise ValueError(f"{path.name}: entry {values['sequence']} does not continue entry {number - 1}")
    if audit.hash_of(values) != digest:
        raise ValueError(f"{path.name}: entry {number} was changed after it was written")
    return digest


# Sealing


def seal(before: datetime) -> list[Seal]:
    """Seal what was written before that moment and is not sealed yet. Raises jails.checkpoints.Broken for a chain that
    does not hold, ValueError for a folder that is not as it was left, OSError of the folder; nothing is half there."""
    folder = Path(settings.AUDIT_ARCHIVE)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: list[Seal] = []
    with checkpoints.alone(folder / "seals"):
        for draft in folder.glob("*.draft"):
            draft.unlink()  # of one that was killed
        known = seals(folder)
        while (segment := _next(folder, known[-1] if known else None, before)) is not None:
            known.append(segment)
            made.append(segment)
    return made


def _next(folder: Path, newest: Seal | None, before: datetime) -> Seal | None:
    first = newest.last + 1 if newest else 1
    previous = newest.hash if newest else audit.GENESIS
    # The first that is too young ends it: at an equal time or a clock that was set back, sequences decide.
    rows = AuditEntry.objects.filter(sequence__gte=first).order_by("sequence")
    young = rows.filter(at__gte=before).values_list("sequence", flat=True).first()
    end = min(young if young is not None else first + LARGEST, first + LARGEST)
    draft = folder / "segment.draft"
    try:
        bare = _write(draft, rows.filter(sequence__lt=end), first, previous)
        if bare is None:
            return None
        key = checkpoints.signing_key()
        bare = replace(bare, key=checkpoints.public(key))
        made = replace(bare, signature=key.sign(bare.signed).hex())
        draft.replace(folder / f"{made.name}.jsonl.gz")
    finally:
        draft.unlink(missing_ok=True)
    # The seal comes last: a file without one was never sealed, and is made anew.
    _place(folder / f"{made.name}.seal.json", json.dumps(asdict(made)) + "\n")
    folders.sync(folder)
    return made


def _write(draft: Path, rows: Any, first: int, previous: str) -> Seal | None:
    """The entries into a file, each verified. None where there is none."""
    walk = audit.Walk(first, previous, iter(()))
    with draft.open("xb") as file:
        # No name and no time of ours in it: the same entries give the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            for entry in rows.iterator(chunk_size=1000):
                if problem := walk.step(entry):
                    raise checkpoints.Broken(problem)
                packed.write(f"{audit.line(entry)}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    if walk.expected == first:
        return None
    with draft.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    at = timezone.now().isoformat(timespec="microseconds")
    return Seal(first, walk.expected - 1, previous, walk.previous, digest, at)


def _place(path: Path, text: str) -> None:
    draft = path.with_name("seal.draft")
    with draft.open("x", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
