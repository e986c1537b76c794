"""fetch(1): files from a mirror. It prints no progress without a terminal: watch the size of the file."""

import re
from urllib.parse import urlsplit

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

SECONDS = 60  # without a byte, before it gives up


def get(url: str, output: str) -> Argv:
    """Fetch into `output`, quietly; a partial file stays where it breaks off."""
    names.require("url", url, url_error)
    names.require("output", output, names.path_error)
    return argv("fetch", "-q", "-T", str(SECONDS), "-o", output, url)


def size(url: str) -> Argv:
    """Print the size in bytes without fetching; for `parse_size`."""
    return argv("fetch", "-s", "-T", str(SECONDS), names.require("url", url, url_error))


def parse_size(output: bytes) -> int | None:
    """Bytes; None where the server does not tell (“Unknown”)."""
    text = output.decode("utf-8", "replace").strip()
    return int(text) if re.fullmatch(r"[0-9]+", text) else None


def source_error(value: str) -> str | None:
    """Where a release comes from: a URL, or a folder on the host itself."""
    return names.path_error(value) if value.startswith("/") else url_error(value)


def url_of(source: str, file: str) -> str:
    """The URL of a file in such a place, which may end with a slash."""
    base = f"file://{source}" if source.startswith("/") else source
    return names.require("url", f"{base.rstrip('/')}/{file}", url_error)


def url_error(value: str) -> str | None:
    """http, https or file, of plain characters, without a user or a password: an argument is seen by every user."""
    if not re.fullmatch(r"[A-Za-z0-9_./:@%+~,=\[\]-]{1,2000}", value):
        return "is empty, too long, or holds a character that must be written as %XX."
    try:
        parts = urlsplit(value)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        return "is not a URL: its host or port cannot be read."
    if parts.scheme not in ("http", "https", "file") or not value.startswith(f"{parts.scheme}://"):
        return "must begin with http://, https:// or file://."
    if "@" in parts.netloc:
        return "must not hold a user or password."
    if parts.scheme == "file":
        return None if not parts.netloc and parts.path.startswith("/") else "must be file:// and an absolute path."
    if not port_is_right or not re.fullmatch(
        r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+", parts.hostname or ""
    ):
        return "has no host that could be asked."
    if ".." in parts.path.split("/"):
        return "must not hold “..”."
    return None
