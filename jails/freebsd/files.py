"""Files and directories of the host. Never of a jail's tree that a tenant could have touched."""

import re

from jails.freebsd import names
from jails.freebsd.command import Argv, argv


def make_directory(path: str, *, mode: str = "0755", parents: bool = False) -> Argv:
    """Fails where it is there already, unless `parents` (-p)."""
    return argv("mkdir", *(["-p"] if parents else []), "-m", _mode(mode), _path(path))


def install_directory(path: str, *, mode: str = "0755", owner: str = "root", group: str = "wheel") -> Argv:
    """A directory with its parents, owner and mode, whether or not it is there already."""
    names.require("owner", owner, names.user_name_error)
    names.require("group", group, names.user_name_error)
    return argv("install", "-d", "-m", _mode(mode), "-o", owner, "-g", group, _changed(path))


def install_file(source: str, path: str, *, mode: str = "0644") -> Argv:
    """Copy to a temporary file beside `path`, then rename (-S)."""
    return argv("install", "-S", "-m", _mode(mode), _path(source, "source"), _changed(path))


def remove_directory(path: str) -> Argv:
    """An empty one only."""
    return argv("rmdir", _changed(path))


def remove_file(path: str) -> Argv:
    return argv("rm", "-f", _changed(path))


def remove_tree(path: str) -> Argv:
    """Remove what is below, never across a mount (-x). First see that nothing is mounted there, then `clear_flags`."""
    return argv("rm", "-rfx", _deep(path))


def clear_flags(path: str) -> Argv:
    """Take schg, which even root cannot remove, off a whole tree of one file system."""
    return argv("chflags", "-R", "-x", "noschg", _deep(path))


def change_mode(path: str, mode: str) -> Argv:
    return argv("chmod", "-h", _mode(mode), _changed(path))


def link(target: str, path: str) -> Argv:
    """A symbolic link; fails where `path` is there already."""
    return argv("ln", "-s", _path(target, "target"), _changed(path))


def move(source: str, path: str) -> Argv:
    """Rename. Where `path` is a directory mv(1) would move into it: see that it is not there."""
    return argv("mv", "-n", _changed(source, "source"), _changed(path))


def digest(path: str) -> Argv:
    """The SHA-256 of a file, in hexadecimal digits and nothing else."""
    return argv("sha256", "-q", _path(path))


def parse_digest(output: bytes) -> str:
    text = output.decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"sha256: expected 64 hexadecimal digits, got {text[:80]!r}")
    return text


def exists(path: str) -> Argv:
    return argv("test", "-e", _path(path))


def size(path: str) -> Argv:
    """Bytes of a file, as stat(1) prints them."""
    return argv("stat", "-f", "%z", _path(path))


def _path(path: str, argument: str = "path") -> str:
    return names.require(argument, path, names.path_error)


def _changed(path: str, argument: str = "path") -> str:
    if _path(path, argument) == "/":
        raise ValueError(f"{argument}: “/” is the host's own root")
    return path


def _deep(path: str) -> str:
    # Two parts at least: a mistake must not be able to name /usr or /jail.
    if _changed(path).count("/") < 2:
        raise ValueError(f"path: “{path}” is too near to the root to be removed with all that is below it")
    return path


def _mode(mode: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}|[0-7]{4}", mode):
        raise ValueError(f"mode: expected octal digits such as 0755, got {mode!r}")
    return mode
