"""The files of a FreeBSD userland, small: what a new host has at / and what base.txz of the demo's mirror holds.

Programs are files that the simulated execve(2) knows (tools.program); contents are written for this purpose.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .tools import TOOLS, program


class Entry(NamedTuple):
    """`kind` is d, f or l (then `data` is the target); `flags` as chflags(1) names them."""

    path: str
    kind: str
    mode: int
    data: bytes = b""
    flags: tuple[str, ...] = ()


_DIRECTORIES = (
    "bin boot boot/kernel dev etc etc/defaults etc/jail.conf.d etc/mtree etc/newsyslog.conf.d etc/periodic etc/pkg "
    "etc/rc.conf.d etc/rc.d etc/ssh etc/ssl etc/syslog.d lib libexec media mnt net proc rescue sbin usr usr/bin "
    "usr/home usr/lib usr/libdata usr/libexec usr/local usr/local/etc usr/local/bin usr/local/sbin usr/obj usr/sbin "
    "usr/share usr/share/zoneinfo usr/src usr/tests var var/account var/at var/audit var/backups var/cache var/crash "
    "var/cron var/cron/tabs var/db var/db/pkg var/games var/heimdal var/log var/mail var/msgs var/preserve var/run "
    "var/rwho var/spool var/yp"
).split()
_MODES = {"root": 0o750, "tmp": 0o1777, "var/tmp": 0o1777, "var/empty": 0o555, "var/crash": 0o750, "var/audit": 0o750}
# Those of a jail's tree that carry schg on a real system: what plain rm(1) cannot remove.
_SCHG = {
    "bin/rcp",
    "lib/libc.so.7",
    "libexec/ld-elf.so.1",
    "sbin/init",
    "usr/bin/passwd",
    "usr/bin/su",
    "usr/lib/librt.so.1",
}
_SERVICES = (
    "cron devfs hostid hostid_save hostname jail netif newsyslog ntpd pf routing sendmail sshd syslogd zfs".split()
)

_LOGS = (
    "auth.log cron debug.log devd.log lpd-errs maillog messages ppp.log security utx.lastlogin utx.log xferlog"
).split()

_USERS = """\
root::0:0::0:0:Charlie &:/root:/bin/sh
toor:*:0:0::0:0:Bourne-again Superuser:/root:
daemon:*:1:1::0:0:Owner of many system processes:/root:/usr/sbin/nologin
operator:*:2:5::0:0:System &:/:/usr/sbin/nologin
bin:*:3:7::0:0:Binaries Commands and Source:/:/usr/sbin/nologin
sshd:*:22:22::0:0:Secure Shell Daemon:/var/empty:/usr/sbin/nologin
mail:*:26:6::0:0:Sendmail Default User:/var/spool/clientmqueue:/usr/sbin/nologin
www:*:80:80::0:0:World Wide Web Owner:/nonexistent:/usr/sbin/nologin
nobody:*:65534:65534::0:0:Unprivileged user:/nonexistent:/usr/sbin/nologin
"""
_GROUPS = """\
wheel:*:0:root
daemon:*:1:
kmem:*:2:
sys:*:3:
tty:*:4:
operator:*:5:root
mail:*:6:
bin:*:7:
staff:*:20:
sshd:*:22:
guest:*:31:
www:*:80:
nogroup:*:65533:
nobody:*:65534:
"""
_RC_DEFAULTS = """\
# Defaults of rc.conf(5); what is set in /etc/rc.conf wins.
hostname=""
ifconfig_lo0="inet 127.0.0.1/8"
gateway_enable="NO"
cron_enable="YES"
cron_flags=""
syslogd_enable="YES"
syslogd_flags="-s"
sshd_enable="NO"
sendmail_enable="NO"
ntpd_enable="NO"
pf_enable="NO"
pf_rules="/etc/pf.conf"
zfs_enable="NO"
newsyslog_enable="YES"
jail_enable="NO"
jail_confwarn="YES"
jail_parallel_start="NO"
jail_list=""
jail_reverse_stop="NO"
devfs_system_ruleset=""
devfs_load_rulesets="YES"
rc_conf_files="/etc/rc.conf /etc/rc.conf.local"
"""


_LOGIN_CONF = b"default:\\\n\t:path=/sbin /bin /usr/sbin /usr/bin /usr/local/sbin /usr/local/bin:\n"


def capability_database(text: bytes) -> str:
    """What cap_mkdb(1) makes of a file of getcap(3), as much as anybody here asks."""
    return f"getcap database of {zlib.crc32(text):08x}\n"


def passwd() -> bytes:
    """/etc/passwd of master.passwd's users."""
    lines = (line.split(":") for line in _USERS.splitlines())
    return "".join(":".join([one[0], "*", *one[2:4], *one[7:]]) + "\n" for one in lines).encode()


def userland(release: str) -> Iterator[Entry]:
    """All entries below /, parents first."""
    yield from (Entry(path, "d", _MODES.get(path, 0o755)) for path in sorted({*_DIRECTORIES, *_MODES}))
    yield Entry("sys", "l", 0o755, b"usr/src/sys")
    yield Entry("home", "l", 0o755, b"usr/home")
    for name, (path, _) in sorted(TOOLS.items()):
        if path.startswith("/usr/local/"):
            continue
        yield Entry(path.lstrip("/"), "f", 0o555, program(name))
    for path in sorted(_SCHG):
        yield Entry(path, "f", 0o555, b"\x7fELF " + path.encode() + b"\n", ("schg",))
    for name in ("cron", "syslogd", "sendmail", "ntpd"):
        yield Entry(f"usr/sbin/{name}", "f", 0o555, b"\x7fELF " + name.encode() + b"\n")
    for name in _SERVICES:
        yield Entry(
            f"etc/rc.d/{name}",
            "f",
            0o555,
            f'#!/bin/sh\n# PROVIDE: {name}\nexec /usr/sbin/service {name} "$@"\n'.encode(),
        )
    for path, mode, data in _configuration(release):
        yield Entry(path, "f", mode, data)


def _configuration(release: str) -> Iterator[tuple[str, int, bytes]]:
    yield "etc/defaults/rc.conf", 0o644, _RC_DEFAULTS.encode()
    yield "etc/group", 0o644, _GROUPS.encode()
    yield "etc/passwd", 0o644, passwd()
    yield "etc/master.passwd", 0o600, _USERS.encode()
    yield "etc/pwd.db", 0o644, b"pwd.db of the users in master.passwd\n"
    yield "etc/spwd.db", 0o600, b"spwd.db of the users in master.passwd\n"
    yield "etc/rc", 0o644, b"#!/bin/sh\n# rc(8): starts what rc.conf(5) enables.\nexec /libexec/simulated-rc start\n"
    yield "etc/rc.shutdown", 0o644, b"#!/bin/sh\n# rc(8): stops what was started.\nexec /libexec/simulated-rc stop\n"
    yield "etc/rc.subr", 0o644, b"# rc.subr(8)\n"
    yield "etc/syslog.conf", 0o644, b"*.notice;authpriv.none\t/var/log/messages\nauth.info\t/var/log/auth.log\n"
    yield "etc/hosts", 0o644, b"::1\t\t\tlocalhost\n127.0.0.1\t\tlocalhost\n"
    yield "etc/services", 0o644, b"ssh\t22/tcp\nsyslog\t514/udp\nhttp\t80/tcp\nntp\t123/udp\n"
    yield "etc/shells", 0o644, b"/bin/sh\n/bin/csh\n/bin/tcsh\n"
    yield "etc/login.conf", 0o644, _LOGIN_CONF
    yield "etc/login.conf.db", 0o644, capability_database(_LOGIN_CONF).encode()
    yield "etc/newsyslog.conf", 0o644, b"/var/log/messages\t644  5\t   1000 @0101T JC\n"
    yield "etc/crontab", 0o644, b"0\t*\t*\t*\t*\troot\tnewsyslog\n"
    yield "etc/motd.template", 0o644, f"FreeBSD {release}\n\nWelcome to FreeBSD!\n".encode()
    yield "etc/ssh/sshd_config", 0o644, b"#Port 22\n#ListenAddress 0.0.0.0\nSubsystem\tsftp\t/usr/libexec/sftp-server\n"
    yield "etc/os-release", 0o444, f'NAME=FreeBSD\nVERSION="{release}"\nID=freebsd\n'.encode()
    yield "root/.cshrc", 0o644, b"set path = (/sbin /bin /usr/sbin /usr/bin /usr/local/sbin /usr/local/bin)\n"
    yield "root/.profile", 0o644, b"PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin; export PATH\n"
    yield "usr/share/zoneinfo/UTC", 0o444, b"TZif2" + b"\0" * 39
    yield "usr/share/zoneinfo/zone1970.tab", 0o444, b"# tzdb\n"
    for name in _LOGS:
        yield f"var/log/{name}", 0o600 if name in ("auth.log", "security", "cron") else 0o644, b""
