"""fstat(1), as far as -f goes: who has files open in a file system (usr.bin/fstat/fstat.c)."""

from __future__ import annotations

import errno

from jails.hosts.simulated import daemons, prison
from jails.hosts.simulated.host import os_error, strerror
from jails.hosts.simulated.process import Process

HEADER = "USER     CMD          PID   FD MOUNT      INUM MODE         SZ|DV R/W\n"


def main(process: Process) -> int:
    words = list(process.argv[1:])
    if words[:1] != ["-f"] or any(word.startswith("-") for word in words[1:]):
        process.err("usage: fstat [-fmnv] [-M core] [-N system] [-p pid] [-u user] [file ...]\n")
        return 1
    lines = []
    with process.host.reading() as state:
        mounts = []
        for path in words[1:] or ["."]:
            try:
                place = process.host.locate(state, path, root=process.root, cwd=process.cwd)
                if not place.exists:
                    raise os_error(errno.ENOENT)
                mounts.append(place.mount)
            except OSError as error:
                process.err(f"fstat: {path}: {strerror(error)}\n")
        if not mounts:
            return 1
        roots = {jail["jid"]: jail["path"] for jail in prison.all_prisons(state, dying=True)}
        for mount in mounts:
            lines += [_line("root", "sh", pid, "wd", mount["dir"]) for pid in process.host.holders(mount)]
            for row in daemons.running(state):
                if row["jid"] in roots and process.host.locate(state, roots[row["jid"]]).mount["id"] == mount["id"]:
                    lines.append(_line(row["user"], row["name"], row["pid"], "jail", mount["dir"]))
    process.out(HEADER + "".join(lines))
    return 0


def _line(user: str, command: str, pid: int, what: str, mount: str) -> str:
    return f"{user:<8.8} {command:<10} {pid:>5} {what:>4} {mount:<8} {34:>6} drwxr-xr-x {24:>6}  r\n"
