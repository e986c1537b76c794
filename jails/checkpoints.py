"""Signed checkpoints of the log: what even the owner of the database cannot rewrite unseen.

A worker notes, on a schedule, where the chain of the log ends, signed with an Ed25519 key (RFC 8032) that the database
and the web process never see. A checkpoint is made only after the chain from the one before leads there. It goes to a
file beside the worker's keys and, where settings name one, to a syslog: the more places, the harder to forge all.

A line is JSON: sequence and hash of the entry, `at` in UTC, `key` (the public key, hex) and `signature` (hex) over the
text `cellblock audit checkpoint 1`, sequence, hash and at, each with a newline behind it. To check one elsewhere needs
nothing but an Ed25519 implementation; docs/audit.md has a program of a few lines.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.utils import timezone

from jails import audit, secretfile
from jails.models import AuditHead

log = logging.getLogger("cellblock.audit")
"""Settings may send this one to a syslog."""

FORMAT = "cellblock audit checkpoint 1"
LONGEST_LINE = 1000


class Broken(Exception):
    """The chain does not lead from the last checkpoint to its end: nothing is signed. The message says where."""


@dataclass(frozen=True)
class Checkpoint:
    sequence: int
    hash: str
    at: str
    key: str
    signature: str

    @property
    def signed(self) -> bytes:
        return "".join(f"{part}\n" for part in (FORMAT, self.sequence, self.hash, self.at)).encode()

    def line(self) -> str:
        return json.dumps(asdict(self))


def parse(line: str) -> Checkpoint:
    """ValueError says what is wrong with a line."""
    try:
        data = json.loads(line[:LONGEST_LINE])
        found = Checkpoint(**data)
    except (ValueError, TypeError) as error:
        raise ValueError("it is no checkpoint") from error
    fits = {"hash": r"[0-9a-f]{64}", "key": r"[0-9a-f]{64}", "signature": r"[0-9a-f]{128}", "at": r"[0-9T:.+-]{20,40}"}
    if type(found.sequence) is not int or found.sequence < 1:
        raise ValueError("its sequence is no number of an entry")
    for name, pattern in fits.items():
        if not re.fullmatch(pattern, str(getattr(found, name))):
            raise ValueError(f"its {name} is not one")
    return found


def check(checkpoint: Checkpoint, trusted: Iterable[str]) -> None:
    """ValueError unless one of the trusted public keys (hex) has signed it."""
    require_signed(checkpoint.signed, checkpoint.key, checkpoint.signature, trusted)


def require_signed(text: bytes, key: str, signature: str, trusted: Iterable[str]) -> None:
    """ValueError unless that key (hex) is a trusted one and the signature (hex) is its own of the text."""
    if key not in set(trusted):
        raise ValueError(f"it is signed with the key {str(key)[:16]}…, which is not a trusted one")
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), text)
    except InvalidSignature as error:
        raise ValueError("its signature is not right") from error


def read(path: Path, trusted: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Sequence and hash of each checkpoint of a file, checked, in its order. ValueError names the first bad line."""
    keys, last = set(trusted), 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                found = parse(line)
                check(found, keys)
                if found.sequence <= last:
                    raise ValueError(f"it is about entry {found.sequence}, behind one about entry {last}")
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from error
            last = found.sequence
            yield found.sequence, found.hash


# Making one


def make() -> Checkpoint | None:
    """Sign where the log ends; None where nothing was appended since. Raises Broken, and OSError of the file."""
    path = Path(settings.AUDIT_CHECKPOINTS)
    with alone(path):
        key = signing_key()
        before = _last(path, public(key))
        head = AuditHead.objects.filter(pk=1).first()
        if head is None or head.sequence == 0 or (before is not None and before == (head.sequence, head.hash)):
            return None
        verdict = _verified(before, head.sequence)
        made = _signed(key, verdict.last, verdict.last_hash)
        _append(path, made.line())
    log.info("checkpoint %s", made.line())
    return made


def public_key() -> str:
    """Of this worker's machine, hex. It is no secret: note it where those who check the log can find it."""
    return public(signing_key())


def signing_key() -> Ed25519PrivateKey:
    return _key(Path(settings.AUDIT_KEY_FILE))


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def _verified(before: tuple[int, str] | None, newest: int) -> audit.Verdict:
    """From the entry of the last checkpoint on, that one included."""
    count = newest - before[0] + 1 if before is not None else None
    if count is not None and count < 1:
        raise Broken(
            f"the log ends at entry {newest}, before entry {before[0] if before else 0} of the last checkpoint"
        )
    verdict = audit.verify(newest=count, checkpoints=[before] if before is not None else [])
    if not verdict.ok:
        raise Broken(verdict.problem)
    return verdict


def _signed(key: Ed25519PrivateKey, sequence: int, digest: str) -> Checkpoint:
    bare = Checkpoint(sequence, digest, timezone.now().isoformat(timespec="microseconds"), public(key), "")
    return Checkpoint(sequence, digest, bare.at, bare.key, key.sign(bare.signed).hex())


def _last(path: Path, trusted: str) -> tuple[int, str] | None:
    """The newest checkpoint of the file. A last line that was cut off by a crash is left out, and taken away.

    Raises Broken where another line is no checkpoint of ours: somebody has written there.
    """
    if not path.exists():
        return None
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    if not whole:
        return None
    try:
        found = parse(whole.decode("utf-8", "replace").splitlines()[-1])
        check(found, [trusted])
    except ValueError as error:
        raise Broken(f"the last line of {path} is no checkpoint of this key: {error}") from error
    return found.sequence, found.hash


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Workers of one machine share the file: one at a time writes it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _key(path: Path) -> Ed25519PrivateKey:
    """The 32 bytes of RFC 8032 as hex; made where it is missing. PermissionError where others can read it."""
    if not path.exists():
        secretfile.make(path, Ed25519PrivateKey.generate().private_bytes_raw().hex())
    secretfile.require_private(path)
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    except ValueError as error:
        raise ValueError(f"{path} is no Ed25519 key of 32 bytes in hex") from error
