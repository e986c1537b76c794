"""The tools of the simulated host: where each lies and which function it is, imported only when it is run.

A tool is a function `main(process: Process) -> int` (process.py): it gets its words from `process.argv`, prints with
`process.out` and `process.err` and returns its exit status. An OSError that it lets through becomes
`NAME: WORDS` and status 1; `process.exit(rc, "message")` prints `NAME: message` and ends it.
"""

from __future__ import annotations

_FILES = {
    "/bin": "[ cat chflags chmod cp dd echo ln ls mkdir mv pwd realpath rm rmdir test",
    "/sbin": "md5 sha256 sha512",
    "/usr/bin": "basename chgrp dirname du find install mktemp printf readlink stat tar tee touch truncate",
    "/usr/sbin": "chown",
}
_TEXT = {
    "/bin": "expr",
    "/usr/bin": "awk cmp cut diff grep head sed sort tail tr uniq wc xargs",
}
_SYSTEM = {
    "/bin": "date freebsd-version hostname sleep sync",
    "/sbin": "dmesg reboot shutdown",
    "/usr/bin": "cap_mkdb env false id lockf logger nohup ssh-keygen timeout true uname uuidgen which whoami yes",
    "/usr/sbin": "chroot daemon newsyslog nologin pkg pwd_mkdb",
}
_PROCESSES = {"/bin": "kill pgrep pkill ps", "/usr/bin": "killall"}
_DISKS = {"/sbin": "diskinfo gpart mdconfig mknod newfs swapinfo"}
_MODULES = (
    ("tools.files", _FILES),
    ("tools.text", _TEXT),
    ("tools.system", _SYSTEM),
    ("tools.processes", _PROCESSES),
    ("tools.disks", _DISKS),
    ("tools.sysctl", {"/sbin": "sysctl", "/bin": "kenv"}),
    ("tools.kld", {"/sbin": "kldload kldstat kldunload"}),
    ("tools.terminal", {"/bin": "stty", "/usr/bin": "script tty"}),
    ("tools.df", {"/bin": "df"}),
    ("tools.small", {"/usr/bin": "getent groups logname nice printenv seq time uptime who"}),
    ("tools.netstat", {"/usr/bin": "netstat sockstat"}),
)
_OTHERS = {
    "/bin/sh": "shell:main",
    "/sbin/zfs": "tools.zfs:main",
    "/sbin/zpool": "tools.zpool:main",
    "/usr/bin/fetch": "tools.fetch:main",
    "/usr/bin/nc": "tools.nc:main",
    "/usr/bin/fstat": "tools.fstat:main",
    "/usr/sbin/pw": "tools.pw:main",
    "/usr/sbin/sshd": "tools.sshd:main",
    "/usr/sbin/jail": "tools.jail:main",
    "/usr/sbin/jls": "tools.jls:main",
    "/usr/sbin/jexec": "tools.jexec:main",
    "/sbin/ifconfig": "tools.ifconfig:main",
    "/sbin/ping": "tools.ping:main",
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
    # Of ports: they lie on a host that has been given them.
    "/usr/local/bin/iocage": "tools.foreign:iocage_main",
    "/usr/local/sbin/iocell": "tools.foreign:iocell_main",
    "/usr/local/bin/bastille": "tools.foreign:bastille_main",
    "/usr/local/bin/appjail": "tools.foreign:appjail_main",
    "/usr/local/bin/cbsd": "tools.foreign:cbsd_main",
    "/usr/local/bin/pot": "tools.foreign:pot_main",
    "/usr/local/sbin/jailadmin": "tools.foreign:jailadmin_main",
}


_FUNCTIONS = {"[": "test", "pgrep": "pkill", "chgrp": "chown"}


def _table() -> dict[str, tuple[str, str]]:
    table = {}
    for module, places in _MODULES:
        for place, names in places.items():
            for name in names.split():
                function = _FUNCTIONS.get(name) or name.replace("-", "_")
                table[name] = (f"{place}/{name}", f"{module}:{function}_main")
    for path, target in _OTHERS.items():
        table[path.rpartition("/")[2]] = (path, target)
    return table


TOOLS: dict[str, tuple[str, str]] = _table()
"""name -> (path on a FreeBSD host, "module:function" below jails.hosts.simulated)"""


def program(name: str) -> bytes:
    """What lies at a tool's path: a file that the simulated execve(2) knows again wherever it is copied to."""
    return b"\x7fELF simulated " + name.encode() + b"\n"
