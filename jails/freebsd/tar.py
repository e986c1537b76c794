"""tar(1) of the base system: unpacking a release, packing a template."""

import re
from collections.abc import Sequence

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

STDIO = "-"


def extract(archive: str, directory: str) -> Argv:
    """Unpack with owners by number, modes, flags and ACLs (-p). `archive` may be STDIO."""
    return argv("tar", "--numeric-owner", "-xpf", _archive(archive), "-C", _directory(directory))


def create(archive: str, directory: str, *, exclude: Sequence[str] = ()) -> Argv:
    """Pack what is in `directory`, without what is mounted in it; the archive's suffix says how to compress (-a)."""
    excludes = [word for pattern in exclude for word in ("--exclude", _pattern(pattern))]
    compress = [] if archive == STDIO else ["-a"]
    return argv(
        "tar",
        "--numeric-owner",
        "--one-file-system",
        *compress,
        *excludes,
        "-cf",
        _archive(archive),
        "-C",
        _directory(directory),
        ".",
    )


def list_files(archive: str) -> Argv:
    return argv("tar", "-tf", _archive(archive))


def _archive(value: str) -> str:
    return value if value == STDIO else names.require("archive", value, names.path_error)


def _directory(value: str) -> str:
    return names.require("directory", value, names.path_error)


def _pattern(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.*/][A-Za-z0-9_.*/-]{0,254}", value):
        raise ValueError(f"exclude: {value!r} is not a plain pattern of file names")
    return value
