"""tar(1): archives of the host's files, compressed ones too, really read and written with tarfile."""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import stat as modes
import tarfile
import time
from collections.abc import Iterator
from typing import Any

from jails.hosts.simulated import clock
from jails.hosts.simulated.host import Location, os_error, strerror
from jails.hosts.simulated.process import Process

from . import access

_FLAGS = "SCHILY.fflags"
_SUFFIXES = {"txz": "xz", "xz": "xz", "tgz": "gz", "gz": "gz", "tbz": "bz2", "tbz2": "bz2", "bz2": "bz2"}


class _Words:
    """tar's options, in the old style without a dash too."""

    def __init__(self, process: Process) -> None:
        words = process.argv[1:]
        if words and not words[0].startswith("-"):
            words[0] = "-" + words[0]
        self.mode = self.file = ""
        self.flags: set[str] = set()
        self.directory = process.cwd
        self.excluded: list[str] = []
        self.operands: list[str] = []
        self.strip = 0
        while words:
            word = words.pop(0)
            if word == "--":
                self.operands += words
                break
            if word.startswith("--"):
                self._long(process, word, words)
            elif word.startswith("-") and len(word) > 1:
                self._short(process, word[1:], words)
            else:
                self.operands.append(word)
        if not self.mode:
            process.err("tar: Must specify one of -c, -r, -t, -u, -x\n")
            process.exit(1)

    def _long(self, process: Process, word: str, words: list[str]) -> None:
        name, equals, value = word.partition("=")
        takes = {"--exclude", "--file", "--directory", "--strip-components", "--format", "--uid", "--gid", "--include"}
        if name in takes and not equals:
            value = words.pop(0) if words else ""
        if name == "--exclude":
            self.excluded.append(value)
        elif name == "--file":
            self.file = value
        elif name == "--directory":
            self.directory = value
        elif name == "--strip-components":
            self.strip = int(value or 0)
        elif name in ("--numeric-owner", "--no-xattrs", "--format", "--one-file-system", "--uid", "--gid", "--fflags"):
            self.flags.add("l" if name == "--one-file-system" else name)
        elif name in ("--extract", "--create", "--list"):
            self.mode = name[2].replace("e", "x").replace("l", "t")
        else:
            process.err(f"tar: Option {name} is not supported\n")
            process.exit(1)

    def _short(self, process: Process, letters: str, words: list[str]) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in "fCb":
                value, letters = letters or (words.pop(0) if words else ""), ""
                if letter == "f":
                    self.file = value
                elif letter == "C":
                    self.directory = value if value.startswith("/") else f"{self.directory}/{value}"
            elif letter in "cxt":
                self.mode = letter
            elif letter in "apvzJjymkoPlULSqn":
                self.flags.add(letter)
            else:
                access.wrong_usage(
                    process, f"Option -{letter} is not supported", "Usage:\n  List:    tar -tf <archive-filename>", 1
                )


def main(process: Process) -> int:
    words = _Words(process)
    try:
        base = process.locate(words.directory)
        if not base.backing.is_dir():
            raise os_error(errno.ENOTDIR if base.exists else errno.ENOENT)
    except OSError:
        process.exit(1, f"could not chdir to '{words.directory}'")
    return {"c": _create, "x": _extract, "t": _list}[words.mode](process, words)


def _read_archive(process: Process, words: _Words) -> Any:
    if words.file in ("", "-"):
        return os.fdopen(os.dup(process.fds[0]), "rb")
    try:
        return os.fdopen(access.open_file(process, words.file, os.O_RDONLY), "rb")
    except OSError as error:
        process.exit(
            1,
            f"Error opening archive: Failed to open '{words.file}'"
            if error.errno == errno.ENOENT
            else f"Error opening archive: {strerror(error)}",
        )


def _members(process: Process, words: _Words, file: Any) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Every member; what is no archive is tar's error and status."""
    try:
        archive = tarfile.open(fileobj=file, mode="r|*")  # noqa: SIM115 (closed below)
    except _damage() as error:
        words_of = _about_damage(error)
        process.exit(
            1, words_of if words_of.startswith("trunc") else "Error opening archive: Unrecognized archive format"
        )
    with archive:
        for member in archive:
            yield archive, member
        _check_whole(archive.fileobj)


def _check_whole(stream: Any) -> None:
    """tarfile is content where a compressed archive breaks off between members."""
    while stream.read(1 << 16):
        pass
    if not getattr(getattr(stream, "cmp", None), "eof", True):
        raise EOFError


def _damage() -> tuple[type[Exception], ...]:
    from lzma import LZMAError
    from zlib import error as zlib_error

    return (EOFError, LZMAError, zlib_error, tarfile.ReadError)


def _about_damage(error: Exception) -> str:
    """What libarchive says of input that breaks off or is not what it began as."""
    name, text = type(error).__name__, str(error)
    if name == "LZMAError":
        return "Lzma library error: Corrupted input data"
    if name == "error":
        return "gzip decompression failed"
    if isinstance(error, tarfile.ReadError) and ("not" in text or "invalid" in text or "bad" in text):
        return "Damaged tar archive"
    return "Truncated tar archive" if isinstance(error, tarfile.ReadError) else "truncated input"


def _list(process: Process, words: _Words) -> int:
    found: set[str] = set()
    try:
        with _read_archive(process, words) as file:
            for _, member in _members(process, words, file):
                if _wanted(member.name, words, found):
                    process.out(_line(member, words) + "\n")
    except _damage() as error:
        process.err(f"tar: {_about_damage(error)}\ntar: Error exit delayed from previous errors.\n")
        return 1
    return _not_found(process, words, found)


def _not_found(process: Process, words: _Words, found: set[str]) -> int:
    """Tell what was asked for and is not in the archive."""
    missing = [one for one in words.operands if one not in found and one.rstrip("/") not in (".", "")]
    for one in missing:
        process.err(f"tar: {one}: Not found in archive\n")
    if missing:
        process.err("tar: Error exit delayed from previous errors.\n")
    return int(bool(missing))


def _line(member: tarfile.TarInfo, words: _Words) -> str:
    """A member as list_item_verbose() in contrib/libarchive/tar/util.c shows it."""
    name = member.name + ("/" if member.isdir() else "")
    if "v" not in words.flags:
        return name
    kind = "d" if member.isdir() else "l" if member.issym() else "h" if member.islnk() else "-"
    mode = modes.filemode(member.mode)[1:]
    when = time.gmtime(member.mtime)
    near = abs(clock.now() - member.mtime) < 365 * 86400 / 2
    day = time.strftime("%b %e %H:%M" if near else "%b %e  %Y", when)
    owner, group = member.uname or str(member.uid), member.gname or str(member.gid)
    line = f"{kind}{mode}  0 {owner:<6} {group:<6} {member.size:>8} {day} {name}"
    if member.islnk():
        return f"{line} link to {member.linkname}"
    return f"{line} -> {member.linkname}" if member.issym() else line


def _wanted(name: str, words: _Words, found: set[str]) -> bool:
    """Whether the member was asked for; `found` gets the words that ask for it."""
    plain = name.removeprefix("./").rstrip("/")
    if _excluded(plain, words):
        return False
    wanted = False
    for given in words.operands:
        one = given.removeprefix("./").rstrip("/")
        if one in (".", "") or plain == one or plain.startswith(one + "/") or fnmatch.fnmatchcase(plain, one):
            found.add(given)
            wanted = True
    return wanted or not words.operands


def _excluded(plain: str, words: _Words) -> bool:
    """Whether a pattern names the file or a directory it lies in."""
    parts = plain.split("/")
    places = ["/".join(parts[: number + 1]) for number in range(len(parts))]
    return any(
        fnmatch.fnmatchcase(place, one.removeprefix("./").rstrip("/")) or fnmatch.fnmatchcase(place, f"*/{one}")
        for one in words.excluded
        for place in places
    )


def _extract(process: Process, words: _Words) -> int:
    failed = 0
    count = 0
    found: set[str] = set()
    directories: list[tuple[Location, tarfile.TarInfo]] = []
    try:
        with _read_archive(process, words) as file:
            for archive, member in _members(process, words, file):
                if not _wanted(member.name, words, found):
                    continue
                try:
                    _extract_one(process, words, archive, member, directories)
                except OSError as error:
                    failed = 1
                    process.err(f"{member.name}: {_extract_words(error, member)}\n")
                count += 1
                if count == 40:
                    process.middle()
    except _damage() as error:
        failed = 1
        process.err(f"tar: {_about_damage(error)}\n")
    for place, member in reversed(directories):
        os.utime(place.backing, ns=(int(member.mtime * 1e9), int(member.mtime * 1e9)))
    if failed:
        process.err("tar: Error exit delayed from previous errors.\n")
    return failed or _not_found(process, words, found)


def _extract_words(error: OSError, member: tarfile.TarInfo) -> str:
    if error.errno == errno.EINVAL and ".." in member.name:
        return "Path contains '..'"
    if error.errno == errno.ELOOP:
        return f"Cannot extract through symlink {error.filename}"
    if member.isdir():
        return f"Can't create directory: {strerror(error)}" if error.errno != errno.ENOSPC else "Write failed"
    return f"Can't create '{member.name}': {strerror(error)}" if error.errno != errno.ENOSPC else "Write failed"


def _extract_one(
    process: Process,
    words: _Words,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    directories: list[tuple[Location, tarfile.TarInfo]],
) -> None:
    parts = [part for part in member.name.split("/") if part not in ("", ".")][words.strip :]
    if ".." in parts:
        raise os_error(errno.EINVAL, member.name)
    if not parts:
        if member.isdir() and not words.strip:
            place = process.locate(words.directory)
            _attributes(process, place, member)
        return
    place = _place(process, words, parts)
    if member.isdir():
        if not place.exists or not place.backing.is_dir() or place.backing.is_symlink():
            if place.exists:
                access.remove(process, place)
            access.make_directory(process, place, member.mode)
        _attributes(process, place, member)
        directories.append((place, member))
        return
    if place.exists:
        if "k" in words.flags:
            return
        if place.backing.is_dir() and not place.backing.is_symlink():
            access.remove_directory(process, place)
        else:
            access.remove(process, place)
    access.check_parent(process, place)
    if member.issym():
        os.symlink(member.linkname, place.backing)
    elif member.islnk():
        linked = _place(process, words, [part for part in member.linkname.split("/") if part not in ("", ".")])
        os.link(linked.backing, place.backing)
    elif member.isreg():
        _write(process, archive, member, place)
    else:
        return
    access.changed(process, place)


def _write(process: Process, archive: tarfile.TarFile, member: tarfile.TarInfo, place: Location) -> None:
    access.check_space(process, place, max(member.size, 1))
    source = archive.extractfile(member)
    assert source is not None
    with open(place.backing, "xb") as target:
        while part := source.read(1 << 16):
            target.write(part)
    _attributes(process, place, member)
    os.utime(place.backing, ns=(int(member.mtime * 1e9), int(member.mtime * 1e9)))


def _place(process: Process, words: _Words, parts: list[str]) -> Location:
    """Where a member goes. No directory on the way may be a link, as without -P; missing ones are made."""
    path = words.directory.rstrip("/")
    for part in parts[:-1]:
        path = f"{path}/{part}"
        place = process.locate(path, follow=False)
        if place.backing.is_symlink():
            raise os_error(errno.ELOOP, path[len(words.directory.rstrip("/")) + 1 :])
        if not place.exists:
            access.make_directory(process, place)
    return process.locate(f"{path}/{parts[-1]}", follow=False)


def _attributes(process: Process, place: Location, member: tarfile.TarInfo) -> None:
    access.set_mode(process, place, member.mode & 0o7777)
    flags = sorted(one for one in member.pax_headers.get(_FLAGS, "").split(",") if one)
    if member.uid or member.gid or flags:
        process.host.set_metadata(place.backing, uid=member.uid or None, gid=member.gid or None, flags=flags or None)


def _stream_writer(target: Any, kind: str) -> tarfile.TarFile:
    mode: Any = f"w|{kind}"
    return tarfile.open(fileobj=target, mode=mode, format=tarfile.PAX_FORMAT)


def _create(process: Process, words: _Words) -> int:
    if not words.operands:
        process.exit(1, "no files or directories specified")
    kind = "xz" if "J" in words.flags else "gz" if "z" in words.flags else "bz2" if words.flags & {"j", "y"} else ""
    if "a" in words.flags:
        kind = _SUFFIXES.get(words.file.rpartition(".")[2], "")
    if words.file in ("", "-"):
        target: Any = os.fdopen(os.dup(process.fds[1]), "wb")
    else:
        target = os.fdopen(access.open_file(process, words.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")
    failed = 0
    base = words.directory.rstrip("/")
    try:
        with target, _stream_writer(target, kind) as archive:
            for operand in words.operands:
                failed |= _add_tree(
                    process, words, archive, operand, operand if operand.startswith("/") else f"{base}/{operand}"
                )
    except BrokenPipeError:
        return 141
    if failed:
        process.err("tar: Error exit delayed from previous errors.\n")
    return failed


def _add_tree(process: Process, words: _Words, archive: tarfile.TarFile, name: str, path: str) -> int:
    try:
        top = process.locate(path, follow="L" in words.flags)
        if not top.exists:
            raise os_error(errno.ENOENT)
    except OSError as error:
        process.err(f"tar: {name}: Cannot stat: {strerror(error)}\n")
        return 1
    for shown, place in access.walk(process, name, top, across="l" not in words.flags):
        if _excluded(shown.removeprefix("./"), words):
            continue
        if place.backing.is_symlink() and "L" in words.flags:
            place = _followed(process, place)
        member = member_of(process, shown.lstrip("/") or ".", place)
        if member.isreg():
            with open(place.backing, "rb") as file:
                archive.addfile(member, file)
        else:
            archive.addfile(member, io.BytesIO())
    return 0


def _followed(process: Process, place: Location) -> Location:
    """Where a link of the tree leads, or the link itself where that is nowhere."""
    try:
        found = process.locate(access.seen_path(process, place))
    except OSError:
        return place
    return found if found.exists else place


def member_of(process: Process, name: str, place: Location) -> tarfile.TarInfo:
    """A header with what the host knows of the file."""
    given = access.status(process, place)
    member = tarfile.TarInfo(name)
    member.mode = modes.S_IMODE(given.mode)
    member.uid, member.gid = given.uid, given.gid
    member.mtime = int(given.real.st_mtime)
    if given.flags:
        member.pax_headers = {_FLAGS: ",".join(given.flags)}
    if given.is_directory:
        member.type = tarfile.DIRTYPE
    elif given.is_link:
        member.type = tarfile.SYMTYPE
        member.linkname = os.readlink(place.backing)
    else:
        member.size = given.real.st_size
    return member
