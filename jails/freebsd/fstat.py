"""fstat(1): who has files open in a file system, and so keeps it from being unmounted."""

import re
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv


@dataclass(frozen=True)
class Holder:
    """A process, by the first 10 or more characters of its command's name."""

    user: str
    command: str
    pid: int

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid} of {self.user})"


def same_file_system(path: str) -> Argv:
    """All that is open in the file system that holds a path (-f)."""
    return argv("fstat", "-f", names.require("path", path, names.path_error))


# USER CMD PID FD MOUNT …; a command's name may hold a space.
_ROW = re.compile(r"(?P<user>\S+)\s+(?P<command>\S.*?)\s+(?P<pid>[0-9]+)\s+(?:[a-z]+|[0-9]+)\*?\s+(?P<mount>/\S*)\s")


def parse(output: bytes, mount: str) -> tuple[Holder, ...]:
    """Each process once, of those that hold something on that very mount point; other lines are passed over."""
    found: dict[int, Holder] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        row = _ROW.match(line)
        if row is not None and row["mount"] == mount:
            found.setdefault(int(row["pid"]), Holder(row["user"], row["command"], int(row["pid"])))
    return tuple(found.values())
