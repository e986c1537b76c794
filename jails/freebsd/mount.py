"""mount(8), umount(8), df(1) and fstab(5)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

LIST: Argv = ("mount", "-p")


@dataclass(frozen=True)
class Mount:
    """`ambiguous` is set where spaces in paths leave more than one reading: then believe neither path."""

    device: str
    path: str
    type: str
    options: tuple[str, ...]
    ambiguous: bool = False

    @property
    def readonly(self) -> bool:
        return "ro" in self.options


_LINE = re.compile(r"(?P<head>.+?)[ \t]+(?P<type>[A-Za-z0-9_.]+)\t(?P<options>\S+?)[ \t]+[0-9]+ [0-9]+")


def parse(output: bytes) -> tuple[Mount, ...]:
    """What LIST printed. Releases differ in whether they write a space in a path as `\\040` or as it is."""
    mounts = []
    for line in output.decode("utf-8", "replace").splitlines():
        row = _LINE.fullmatch(line)
        if row is None:
            raise ValueError(f"mount -p: cannot read {line!r}")
        device, path, ambiguous = _split(row["head"])
        options = tuple(filter(None, row["options"].split(",")))
        mounts.append(Mount(unescape(device), unescape(path), row["type"], options, ambiguous))
    return tuple(mounts)


def _split(head: str) -> tuple[str, str, bool]:
    # mount.c pads a short device with tabs, and writes one space after 24 or more characters.
    tabbed = re.fullmatch(r"([^\t]+)\t+([^\t]+)", head)
    if tabbed:
        return tabbed[1], tabbed[2], False
    places = [found.start() for found in re.finditer(r" (?=/)", head) if found.start() >= 24]
    if not places:
        raise ValueError(f"mount -p: cannot tell device and path apart in {head!r}")
    return head[: places[0]], head[places[0] + 1 :], len(places) > 1


def unescape(word: str) -> str:
    """A word of fstab(5): `\\040` is a space, as vis(3) writes it."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), word)


def fstab_line(device: str, path: str, type_: str, options: Iterable[str] = ("rw",)) -> str:
    """One line of fstab(5), dump and pass 0, with its newline."""
    names.require("path", path, names.path_error)
    if device not in ("tmpfs", "devfs", "fdesc", "proc", "linprocfs", "linsysfs"):
        names.require("device", device, names.path_error)
    _kind(type_)
    return f"{device}\t{path}\t{type_}\t{','.join(_options(options)) or 'rw'}\t0\t0\n"


def parse_fstab(text: str) -> tuple[Mount, ...]:
    """The entries of a file of fstab(5); comments, and lines of less than four words, are passed over."""
    entries = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) >= 4:
            device, path, type_, options = words[:4]
            entries.append(Mount(unescape(device), unescape(path), type_, tuple(options.split(","))))
    return tuple(entries)


def nullfs(source: str, path: str, *, readonly: bool = True) -> Argv:
    names.require("source", source, names.path_error)
    names.require("path", path, names.path_error)
    return argv("mount", "-t", "nullfs", *(["-o", "ro"] if readonly else []), source, path)


def devfs(path: str, *, ruleset: int) -> Argv:
    """Mount a devfs for a jail. Ruleset 0 enforces nothing and is refused; 4 is the one for jails."""
    if not 1 <= ruleset <= 65535:
        raise ValueError(f"ruleset: expected 1 to 65535, got {ruleset}")
    names.require("path", path, names.path_error)
    return argv("mount", "-t", "devfs", "-o", f"ruleset={ruleset}", "devfs", path)


def fdescfs(path: str = "/dev/fd") -> Argv:
    names.require("path", path, names.path_error)
    return argv("mount", "-t", "fdescfs", "fdesc", path)


def tmpfs(path: str, *, size: int, mode: str = "1777") -> Argv:
    """Mount an empty file system in memory, of at most `size` bytes."""
    if size < 1:
        raise ValueError(f"size: expected bytes above 0, got {size}")
    if not re.fullmatch(r"[0-7]{3,4}", mode):
        raise ValueError(f"mode: expected octal digits, got {mode!r}")
    names.require("path", path, names.path_error)
    return argv("mount", "-t", "tmpfs", "-o", f"size={size},mode={mode}", "tmpfs", path)


def unmount(path: str, *, force: bool = False) -> Argv:
    names.require("path", path, names.path_error)
    if path == "/":
        raise ValueError("path: “/” is the host's own root")
    return argv("umount", *(["-f"] if force else []), path)


@dataclass(frozen=True)
class Space:
    """Bytes; `available` can be negative where root has used the reserve of UFS."""

    device: str
    path: str
    size: int
    used: int
    available: int


def df(*paths: str) -> Argv:
    """The space of the file systems that hold `paths`; of all that are mounted without any."""
    return argv("df", "-kP", *(names.require("paths", path, names.path_error) for path in paths))


_DF = re.compile(
    r"(?P<device>\S.*?)\s+(?P<size>[0-9]+)\s+(?P<used>-?[0-9]+)\s+(?P<free>-?[0-9]+)\s+[0-9-]+%?\s+(?P<path>/.*)"
)


def parse_df(output: bytes) -> tuple[Space, ...]:
    """What `df` printed, turned into bytes; ValueError for a line that is none of it."""
    spaces = []
    for line in output.decode("utf-8", "replace").splitlines()[1:]:
        row = _DF.fullmatch(line)
        if row is None:
            raise ValueError(f"df: cannot read {line!r}")
        size, used, free = (int(row[key]) * 1024 for key in ("size", "used", "free"))
        spaces.append(Space(row["device"], row["path"], size, used, free))
    return tuple(spaces)


def _kind(type_: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]{0,14}", type_):
        raise ValueError(f"type_: expected a kind of file system such as nullfs, got {type_!r}")
    return type_


def _options(options: Iterable[str]) -> list[str]:
    checked = list(options)
    for option in checked:
        if not re.fullmatch(r"[a-z][A-Za-z0-9_.-]*(=[A-Za-z0-9_./:-]+)?", option):
            raise ValueError(f"options: {option!r} is not a mount option")
    return checked
