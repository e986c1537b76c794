"""Files of a jail's tree, listed and moved from inside it: by the tree's own sh and tools, in a jail of their own.

Whoever had the tree decides what these do in it, and their output is that one's text. What is kept out here is somebody
who is not root there: a folder is entered once, it is asked where one is then, and from there on all names are single
ones in the folder one stands in, so that no link put in the way leads anywhere else. The scripts are fixed texts.

No devfs is mounted where they run: a redirection to /dev/null would make a file of that name.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

PATH_MAX = 900
NAME_MAX = 255

_ENTER = """\
cd -- "$1" || nowhere
[ "$(pwd -P)" = "$1" ] || { echo "$1: a link is part of it" >&2; nowhere; }
there() { [ -e "./$1" ] || [ -L "./$1" ]; }
"""
_ENTER_OR_FAIL = (
    """\
PATH=/sbin:/bin:/usr/sbin:/usr/bin
nowhere() { exit 1; }
"""
    + _ENTER
)
# jail(8) has a status of its own for a command that fails: the list says it in words.
_LIST = (
    """\
PATH=/sbin:/bin:/usr/sbin:/usr/bin
nowhere() { echo none; exit 0; }
"""
    + _ENTER
    + """\
most=$2
n=0
set --
for entry in * .[!.]* ..?*; do
    there "$entry" || continue
    n=$((n + 1))
    [ "$n" -gt "$most" ] || set -- "$@" "./$entry"
done
echo "$n"
[ $# -eq 0 ] && exit 0
stat -f '%p %z %m' "$@" || exit
printf '%s\\0' "$@"
"""
)
_PACK = (
    _ENTER_OR_FAIL
    + """\
there "$2" || { echo "$2: No such file or directory" >&2; exit 1; }
exec tar --numeric-owner --one-file-system -cf - "./$2"
"""
)
# mv(1) moves into what is a folder or leads to one, and any name can become that at any moment, for whoever owns the
# folder. So things get their names in a folder that root alone may enter, and go from there to “..”: rename(2) follows
# no link in a last part.
_ALONE = """\
here=${1%/}
alone() {
    [ -d "./$1" ] || (umask 077 && mkdir "./$1") || exit 1
    cd -P "./$1" && [ "$(pwd -P)" = "$here/$1" ] && [ "$(stat -f %u .)" = "$(id -u)" ] && chmod 0700 . || exit 1
}
move() { mv -n "$1" "$2" && ! there "$1" || exit 1; }
"""
# $3 is what it shall be called, $4 a folder to unpack in that only root may enter. Both hold the operation's id.
_UNPACK = (
    _ENTER_OR_FAIL
    + _ALONE
    + """\
if there "$3"; then
    wc -c
    exit
fi
rm -rf "./$4"
alone "$4"
[ -z "$(ls -A)" ] && tar --numeric-owner -xpf - || exit 1
move "./$2" "./$3"
move "./$3" ..
cd .. && rmdir "./$4" && there "$3"
"""
)
# `settle` lets what is in a room be called $3, out of where it was $2, however far an earlier run has got.
_ROOMS = (
    _ENTER_OR_FAIL
    + _ALONE
    + """\
settle() {
    [ -d "./$1" ] || return 0
    cd "./$1" || exit 1
    there "$3" || ! there "$2" || move "./$2" "./$3"
    ! there "$3" || move "./$3" ../..
    cd .. && rmdir "./$1" || exit 1
}
carry() {
    mkdir "./$1" && cd "./$1" && move "../../$2" . && cd .. || exit 1
    settle "$@"
}
alone "$5"
"""
)
# $2 becomes $4, and $3 becomes $2, by way of $5: done once however often it is run.
_SWAP = (
    _ROOMS
    + """\
settle old "$2" "$4"
settle new "$3" "$2"
if there "../$3"; then
    if there "../$2"; then
        ! there "../$4" || exit 1
        carry old "$2" "$4"
    fi
    carry new "$3" "$2"
fi
cd .. && rmdir "./$5" && there "$2"
"""
)
_SWAP_BACK = (
    _ROOMS
    + """\
settle new "$2" "$3"
settle old "$4" "$2"
there "../$3" || carry new "$2" "$3"
! there "../$4" || carry old "$4" "$2"
cd .. && rmdir "./$5"
"""
)
_DISCARD = _ENTER_OR_FAIL + 'rm -rf "./$2" "./$3"\n'


@dataclass(frozen=True)
class Entry:
    """A name in a folder. kind: directory, file, link or other. `exact`: whether the name can be sent back as it is."""

    name: str
    kind: str
    size: int
    modified: int
    exact: bool


def path_error(value: str) -> str | None:
    """An absolute path of the jail in its only spelling, of characters that can be shown. Spaces and “-” are fine."""
    if problem := names.text_error(value, PATH_MAX):
        return problem
    if value == "/":
        return None
    if not value.startswith("/"):
        return "must be absolute: begin with “/”."
    parts = value[1:].split("/")
    if "" in parts or "." in parts or ".." in parts:
        return "has an empty part, “.” or “..”: write the path out."
    if any(len(part.encode()) > NAME_MAX for part in parts):
        return f"has a part of more than {NAME_MAX} bytes."
    return None


def shown(name: str) -> str:
    """For people: what moves the cursor, turns the direction of text or is no text at all becomes U+FFFD."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


def split(path: str) -> tuple[str, str]:
    """The folder and the name in it. ValueError for the root."""
    names.require("path", path, path_error)
    if path == "/":
        raise ValueError("path: the root is in no folder")
    folder, _, name = path.rpartition("/")
    return folder or "/", name


def list_folder(path: str, most: int) -> Argv:
    return argv("/bin/sh", "-c", _LIST, "sh", names.require("path", path, path_error), str(most))


def parse_list(output: bytes) -> tuple[int, tuple[Entry, ...]]:
    """How many names there are, and the first of them. ValueError where it is no such list.

    LookupError where there is no such folder, or a link is part of its path.
    """
    if output == b"none\n":
        raise LookupError("there is no such folder, or a link is part of its path")
    count, _, rest = output.partition(b"\n")
    if not re.fullmatch(rb"[0-9]{1,9}", count):
        raise ValueError("the list of a folder: expected a number first")
    if not rest:
        return int(count), ()
    # The names come last, each ended by NUL, after one line for each that holds numbers alone.
    head, _, first = rest.partition(b"./") if b"\0" in rest else (b"", b"", b"")
    listed = [b"./" + first.split(b"\0")[0], *first.split(b"\0")[1:-1]] if first else []
    rows = re.findall(rb"([0-7]{1,7}) ([0-9]{1,20}) (-?[0-9]{1,20})\n", head)
    if len(rows) != len(listed) or not rest.endswith(b"\0"):
        raise ValueError(f"the list of a folder: {len(listed)} names, {len(rows)} rows")
    return int(count), tuple(_entry(name, row) for name, row in zip(listed, rows, strict=True))


def pack(path: str) -> Argv:
    """One file or directory as a tar on standard output, under its last name alone, without what is mounted in it."""
    folder, name = split(path)
    return argv("/bin/sh", "-c", _PACK, "sh", folder, name)


def unpack(path: str, called: str, work: str) -> Argv:
    """What `pack` wrote, beside where it was, called otherwise. Nothing is called so but by an earlier run."""
    folder, name = split(path)
    return argv("/bin/sh", "-c", _UNPACK, "sh", folder, name, _name(called), _name(work))


def swap(path: str, new: str, old: str, work: str) -> Argv:
    """Give the file called `new` the name of `path`, and what had that the name `old`, by way of the folder `work`."""
    folder, name = split(path)
    return argv("/bin/sh", "-c", _SWAP, "sh", folder, name, _name(new), _name(old), _name(work))


def swap_back(path: str, new: str, old: str, work: str) -> Argv:
    """Undo `swap`, however far it has got."""
    folder, name = split(path)
    return argv("/bin/sh", "-c", _SWAP_BACK, "sh", folder, name, _name(new), _name(old), _name(work))


def discard(path: str, called: str, work: str) -> Argv:
    """Remove what `unpack` has made, however far it has got."""
    folder, _ = split(path)
    return argv("/bin/sh", "-c", _DISCARD, "sh", folder, _name(called), _name(work))


def name_error(value: str) -> str | None:
    if value in ("", ".", "..") or "/" in value:
        return "is not the name of a file."
    if len(value.encode()) > NAME_MAX:
        return f"has {len(value.encode())} bytes; a name has at most {NAME_MAX}."
    return names.text_error(value)


def _name(value: str) -> str:
    return names.require("name", value, name_error)


_KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


def _entry(raw: bytes, row: tuple[bytes, bytes, bytes]) -> Entry:
    name = raw.removeprefix(b"./").decode("utf-8", "surrogateescape")
    mode, size, modified = int(row[0], 8), int(row[1]), int(row[2])
    try:
        exact = name_error(name) is None and shown(name) == name
    except UnicodeEncodeError:
        exact = False
    return Entry(name, _KINDS.get(stat.S_IFMT(mode), "other"), size, modified, exact)
