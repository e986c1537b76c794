"""Log files of a jail, listed and read from inside it by its own tools. What they print is the tenant's."""

import re
from dataclasses import dataclass

from jails.freebsd.command import Argv

FOLDER = "/var/log"
LINES = 400
WIDTH = 2000
"""Bytes of a line that are read."""
MOST = 500
"""Files that are listed."""

_FORMAT = "%z %m %N"
LIST: Argv = (
    "/usr/bin/find", "-P", FOLDER, "-maxdepth", "3", "-type", "f", "-exec", "/usr/bin/stat", "-f", _FORMAT, "{}", "+",
)  # fmt: skip

# A named pipe would never end. What newsyslog(8) has packed is unpacked on the way; status 3 means it is no file.
_READ = """\
[ -f "$1" ] || exit 3
show() {
    case $1 in
    *.gz) zcat "$1" ;;
    *.bz2) bzcat "$1" ;;
    *.xz) xzcat "$1" ;;
    *.zst) zstdcat "$1" ;;
    *) cat "$1" ;;
    esac
}
"""
_TAIL = (
    _READ
    + """\
case $1 in
*.gz | *.bz2 | *.xz | *.zst) show "$1" | tail -n "$2" | cut -b "1-$3" ;;
*) tail -n "$2" "$1" | cut -b "1-$3" ;;
esac
"""
)
_SEARCH = (
    _READ
    + """\
show "$1" | grep -a -i -F -e "$4" | tail -n "$2" | cut -b "1-$3"
"""
)
# First what is there, then from the very byte after it: nothing is left out or shown twice. It never ends by itself.
_FOLLOW = """\
[ -f "$1" ] || exit 3
[ -n "$3" ] || exec tail -n "$2" -F "$1"
size=$(stat -L -f %z "$1") || exit 3
head -c "$size" "$1" | grep -a -i -F -e "$3" | tail -n "$2"
tail -c "+$((size + 1))" -F "$1" | grep -a -i -F --line-buffered -e "$3"
"""
GONE = 3
PACKED = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class File:
    """`changed` as Unix time."""

    path: str
    size: int
    changed: int


def path_error(value: str) -> str | None:
    """Of a log file: below FOLDER, without steps back and without what cannot be shown."""
    if not value.startswith(f"{FOLDER}/") or len(value) > 255 or not value.isprintable():
        return f"must be a file below {FOLDER}."
    if {"", ".", ".."} & set(value.removeprefix(f"{FOLDER}/").split("/")):
        return "must be a plain path, without “.” and “..”."
    return None


def text_error(value: str) -> str | None:
    """Of what is searched for."""
    if len(value) > 200 or not value.isprintable():
        return "must be a line of at most 200 characters."
    return None


def follow_error(value: str) -> str | None:
    """Of a log that can be followed: what newsyslog(8) has packed gets no more lines."""
    return path_error(value) or ("is packed: nothing is added to it." if value.endswith(PACKED) else None)


def parse_list(output: bytes) -> tuple[File, ...]:
    """What LIST printed, by path; lines that are none, as of names with newlines, are left out."""
    found: dict[str, File] = {}
    for line in output.decode("utf-8", "replace").split("\n"):
        match = re.fullmatch(r"([0-9]{1,18}) ([0-9]{1,12}) (/.+)", line, re.ASCII | re.DOTALL)
        if match and path_error(match[3]) is None and len(found) < MOST:
            found[match[3]] = File(match[3], int(match[1]), int(match[2]))
    return tuple(found[path] for path in sorted(found))


def read(path: str, text: str = "") -> Argv:
    """The last LINES of a file, or of its lines that have a text in them, whatever the case of its letters."""
    _require(path_error(path), path, text)
    arguments = (path, str(LINES), str(WIDTH), *([text] if text else []))
    return ("/bin/sh", "-c", _SEARCH if text else _TAIL, "sh", *arguments)


def follow(path: str, text: str = "") -> Argv:
    """The last LINES of a file, or of its lines with a text, and what is added to it, until somebody ends it.

    By its name: it goes on with the new file when the old one is turned over. Lines are as long as they are.
    """
    _require(follow_error(path), path, text)
    return ("/bin/sh", "-c", _FOLLOW, "sh", path, str(LINES), text)


def _require(problem: str | None, path: str, text: str) -> None:
    for value, wrong in ((path, problem), (text, text_error(text))):
        if wrong:
            raise ValueError(f"{value[:60]!r} {wrong}")
