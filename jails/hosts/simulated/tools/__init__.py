"""The tools of the simulated host: where each lies and which function it is, imported only when it is run.

A tool is a function `main(process: Process) -> int` (process.py): it gets its words from `process.argv`, prints with
`process.out` and `process.err` and returns its exit status. An OSError that it lets through becomes
`NAME: WORDS` and status 1; `process.exit(rc, "message")` prints `NAME: message` and ends it.
"""

from __future__ import annotations

_FILES = {
    "/bin": "[ cat chmod cp dd echo expr ln ls mkdir mv pwd realpath rm rmdir test",
    "/sbin": "md5 sha256",
    "/sbin ": "sha512",
    "/usr/bin": "awk basename cmp cut diff dirname du find grep head install mktemp printf readlink sed sort stat tail "
    "tar tee touch tr truncate uniq wc xargs chflags",
    "/usr/sbin": "chown",
}
_SYSTEM = {
    "/bin": "date freebsd-version hostname kenv kill ps sleep sync",
    "/sbin": "dmesg kldload kldstat kldunload nologin shutdown swapinfo sysctl",
    "/usr/bin": "env false fetch id killall lockf logger netstat nohup ssh-keygen sockstat timeout true tty uname "
    "uuidgen whoami pkill which",
    "/usr/sbin": "chroot hostid newsyslog pw pwd_mkdb pkg",
    "/bin ": "df",
}
_OTHERS = {
    "/bin/sh": "shell:main",
    "/sbin/zfs": "tools.zfs:main",
    "/sbin/zpool": "tools.zpool:main",
    "/usr/sbin/jail": "tools.jail:main",
    "/usr/sbin/jls": "tools.jls:main",
    "/usr/sbin/jexec": "tools.jexec:main",
    "/sbin/ifconfig": "tools.ifconfig:main",
    "/sbin/route": "tools.route:main",
    "/usr/sbin/arp": "tools.route:arp",
    "/sbin/pfctl": "tools.pfctl:main",
    "/sbin/mount": "tools.mount:main",
    "/sbin/umount": "tools.mount:umount",
    "/sbin/mount_nullfs": "tools.mount:mount_nullfs",
    "/usr/sbin/service": "tools.rc:service",
    "/usr/sbin/sysrc": "tools.rc:sysrc",
    "/libexec/simulated-rc": "tools.service:etc_rc",
    "/usr/bin/rctl": "tools.rctl:main",
    "/sbin/devfs": "tools.devfs:main",
    "/usr/bin/cpuset": "tools.cpuset:main",
}


def _table() -> dict[str, tuple[str, str]]:
    table = {}
    for module, places in (("tools.files", _FILES), ("tools.system", _SYSTEM)):
        for place, names in places.items():
            for name in names.split():
                function = "test" if name == "[" else name.replace("-", "_")
                table[name] = (f"{place.strip()}/{name}", f"{module}:{function}_main")
    for path, target in _OTHERS.items():
        table[path.rpartition("/")[2]] = (path, target)
    return table


TOOLS: dict[str, tuple[str, str]] = _table()
"""name -> (path on a FreeBSD host, "module:function" below jails.hosts.simulated)"""


def program(name: str) -> bytes:
    """What lies at a tool's path: a file that the simulated execve(2) knows again wherever it is copied to."""
    return b"\x7fELF simulated " + name.encode() + b"\n"
