"""Public keys of people, as authorized_keys(5) and files *.pub hold them: which are taken, and how they are shown."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from jails.freebsd import names

TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
RSA_BITS = 3072
"""NIST SP 800-57: 128 bits of security, for keys that are to last beyond 2030."""
LONGEST = 4096
"""Bytes of a line: an RSA key of 16384 bits has 2.8 kB."""
_BODY = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_COMMENT = re.compile(r"[^A-Za-z0-9@._+-]+")
COMMENT_MAX = 60
MARK = "cellblock:{person}"
"""A word in the comment of each line that the panel has put into a file: whose key it is."""


class Unusable(ValueError):
    """Why a text is no key that is taken: a sentence for who has pasted it."""


@dataclass(frozen=True)
class PublicKey:
    """body: base64. comment: what the file said, reduced to letters, digits and `@._+-`."""

    type: str
    body: str
    comment: str = ""

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it."""
        digest = hashlib.sha256(base64.b64decode(self.body)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def line(self) -> str:
        return f"{self.type} {self.body} {self.comment}".rstrip()

    def marked(self, person: int) -> str:
        """The line for authorized_keys."""
        return f"{self.type} {self.body} {MARK.format(person=person)} {self.comment}".rstrip()


def parse(text: str) -> PublicKey:
    """One line of a *.pub file. Raises Unusable: also for a private key, options in front, and several keys."""
    if "PRIVATE KEY" in text:
        raise Unusable(
            "This is a private key, which must stay where it is and is not kept here. Paste the line of the file that "
            "ends in .pub. If anybody may have seen it, make a new pair."
        )
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        raise Unusable("Paste one key at a time: the one line of a file that ends in .pub.")
    line = lines[0].strip().replace("\t", " ")
    if names.text_error(line, LONGEST):
        raise Unusable("It is too long, or has characters that no public key has.")
    words = line.split(None, 2)
    if words[0] == "ssh-dss":
        raise Unusable("DSA keys are broken, and OpenSSH takes none any more: use an Ed25519 key.")
    if words[0] not in TYPES:
        raise Unusable(
            "It must begin with the type of the key, such as ssh-ed25519: options in front of it are not taken."
        )
    if len(words) < 2 or not _BODY.fullmatch(words[1]):
        raise Unusable("The key itself is missing or cut off: paste the whole line.")
    kind, body = words[0], words[1]
    _require_strong(kind, body)
    return PublicKey(kind, body, comment_of(words[2] if len(words) == 3 else ""))


def comment_of(text: str) -> str:
    return _COMMENT.sub("-", text.strip()).strip("-")[:COMMENT_MAX]


def _require_strong(kind: str, body: str) -> None:
    try:
        key = load_ssh_public_key(f"{kind} {body}".encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable("It is damaged: paste the whole line of the file that ends in .pub.") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
        raise Unusable(f"It has {key.key_size} bits: of RSA at least {RSA_BITS} are needed. Use an Ed25519 key.")
    # What a reader of base64 tolerates (bits beyond the end) would make two spellings of one key.
    if base64.b64encode(base64.b64decode(body)).decode() != body:
        raise Unusable("It is damaged: paste the whole line of the file that ends in .pub.")
