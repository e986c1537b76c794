"""Public keys of SSH hosts, as known_hosts and `ssh-keygen -l` write them. Nothing here needs an SSH library."""

from __future__ import annotations

import base64
import binascii
import hashlib
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
    def file(self) -> str:
        """Where sshd keeps its public part unless sshd_config(5) says otherwise."""
        name = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(self.type, "ecdsa")
        return f"/etc/ssh/ssh_host_{name}_key.pub"
