"""Public keys of SSH hosts, as known_hosts and `ssh-keygen -l` write them. Nothing here needs an SSH library."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import PKey


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's public key: `type` as in known_hosts, `blob` the decoded base64."""

    type: str
    blob: bytes

    @classmethod
    def parse(cls, line: str) -> HostKey:
        """From `type base64 [comment]`, as Host.host_key and a public key file hold it. Raises ValueError."""
        words = line.split()
        if len(words) < 2:
            raise ValueError("host key: expected its type and its base64 text, as in known_hosts")
        try:
            return cls(words[0], base64.b64decode(words[1], validate=True))
        except binascii.Error as error:
            raise ValueError(f"host key: not base64: {error}") from None

    @classmethod
    def of(cls, key: PKey) -> HostKey:
        return cls(key.get_name(), key.asbytes())

    @property
    def line(self) -> str:
        return f"{self.type} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: SHA256: and base64 without padding."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def md5(self) -> str:
        """As `ssh-keygen -l -E md5` shows it, and ssh of old always did."""
        return hashlib.md5(self.blob, usedforsecurity=False).hexdigest()

    def compare(self, pasted: str) -> bool:
        """Whether what a person copied from the host is of this very key.

        One or more lines of `ssh-keygen -l`, bare fingerprints, or the public key itself. Where there are several, one
        of them must be of this key's type, and it decides. ValueError, in words, where there is nothing to compare.
        """
        shown = [_shown(line) for line in pasted.splitlines() if line.strip()]
        if not shown:
            raise ValueError("is empty; paste what ssh-keygen -lf prints on the host.")
        comparable = [one for one in shown if one.type in ("", self.type)]
        if not comparable:
            raise ValueError(
                f"is of another type of key ({shown[0].type}); the host answered with its {self.type} key: paste what "
                f"ssh-keygen -lf {self.file} prints."
            )
        return all(one.of(self) for one in comparable)

    @property
    def file(self) -> str:
        """Where sshd keeps its public part unless sshd_config(5) says otherwise."""
        name = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(self.type, "ecdsa")
        return f"/etc/ssh/ssh_host_{name}_key.pub"


@dataclass(frozen=True)
class _Shown:
    """What one line says of a key: `kind` is SHA256, MD5 or key; `type` "" where the line does not tell."""

    kind: str
    value: str
    type: str = ""

    def of(self, key: HostKey) -> bool:
        found = {"SHA256": key.fingerprint.removeprefix("SHA256:"), "MD5": key.md5, "key": key.line.split()[1]}
        return hmac.compare_digest(found[self.kind].encode(), self.value.encode())


_TYPES = {"ED25519": "ssh-ed25519", "RSA": "ssh-rsa", "DSA": "ssh-dss"}
_LINE = re.compile(r"(?:[0-9]{3,5} )?(SHA256:|MD5:)?(\S+)(?: .*?)?(?: \(([A-Z0-9-]+)\))?", re.ASCII)


def _shown(line: str) -> _Shown:
    words = line.split()
    if len(words) >= 2 and re.fullmatch(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+", words[0]):
        return _Shown("key", words[1], words[0])
    found = _LINE.fullmatch(" ".join(words))
    prefix, value, name = found.groups() if found else (None, "", None)
    # Of an ECDSA key only the bits tell the curve.
    kind = _TYPES.get(name or "", "") or (f"ecdsa-sha2-nistp{words[0]}" if name == "ECDSA" else "")
    if prefix != "MD5:" and re.fullmatch(r"[A-Za-z0-9+/]{43}=?", value):
        return _Shown("SHA256", value.rstrip("="), kind)
    if prefix != "SHA256:" and re.fullmatch(r"([0-9a-f]{2}:){15}[0-9a-f]{2}", value.lower()):
        return _Shown("MD5", value.lower().replace(":", ""), kind)
    raise ValueError(
        "is no fingerprint; expected SHA256: and 43 letters, digits, + and /, as ssh-keygen -lf prints it."
    )
