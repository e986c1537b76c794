"""The worker's own SSH key: made by the worker, readable by nobody else, never in the database or a message.

The web process may show the public part only, which `publish` puts into the worker's row.
"""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from jails import secretfile

NAME = "id_ed25519"


class KeyUnusable(Exception):
    """The key file cannot be used; the message names it and says what to do."""


def directory() -> Path:
    """Where this worker keeps its key."""
    from django.conf import settings

    return Path(settings.WORKER_DIR) / "ssh"


def private_key(folder: Path | None = None) -> paramiko.Ed25519Key:
    """The worker's key, made at its first use. Safe when several processes ask at once. Raises KeyUnusable."""
    path = (folder or directory()) / NAME
    if not path.exists():
        _make(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyUnusable(f"{path}: others may read it (mode {mode:04o}); make a new one, or `chmod 600` it")
    try:
        return paramiko.Ed25519Key.from_private_key_file(str(path))
    except (OSError, ValueError, paramiko.SSHException) as error:
        raise KeyUnusable(f"{path}: not an Ed25519 key of OpenSSH without a passphrase: {error}") from error


def public_key(folder: Path | None = None) -> str:
    """The line for a host's authorized_keys: type, base64 and a comment that names this machine."""
    key = private_key(folder)
    return f"{key.get_name()} {key.get_base64()} cellblock@{socket.gethostname()}"


def publish(worker: str, folder: Path | None = None) -> None:
    """Let the web process show this worker's public key: the worker's row carries it."""
    from django.utils import timezone

    from jails.models import Worker

    values = {"public_key": public_key(folder)}
    Worker.objects.update_or_create(name=worker, defaults=values, create_defaults={**values, "seen_at": timezone.now()})


def _make(path: Path) -> None:
    text = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    secretfile.make(path, text.decode())
