"""What other tools leave on a host: files by path, as their own sources and two recorded hosts have them.

Each of `LAYOUTS` is one host with jails of one tool: `files` path → text (bytes for a database), `datasets` with their
mount points, and the trees of the jails.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jails.hosts.simulated import base
from jails.hosts.simulated.host import Host
from jails.hosts.simulated.new import make
from jails.hosts.simulated.process import PATH, Process
from jails.hosts.simulated.tools import TOOLS, program

RECORDED = Path(__file__).parents[1] / "transcripts" / "foreign"


@dataclass(frozen=True)
class Layout:
    """`release` is the host's; `command` the tool's own program, which starts and stops."""

    files: Mapping[str, str | bytes]
    trees: tuple[str, ...]
    directories: tuple[str, ...] = ()
    datasets: Mapping[str, str] = field(default_factory=dict)
    release: str = "13.2-RELEASE"
    command: str = ""
    interface: str = "em0"
    shared: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Tree → the base that is mounted in it by nullfs, and where: its programs are links there."""


def build(directory: Path, tool: str) -> Host:
    """A simulated host with the jails of a tool, all of them stopped, and the tool itself."""
    layout = LAYOUTS[tool]
    interfaces = {"em0": {"inet": ["192.0.2.2/24"]}, layout.interface: {"inet": ["192.0.2.2/24"]}}
    if layout.interface != "em0":
        interfaces["em0"] = {"inet": ["198.51.100.2/24"]}
    host = make(directory, release=layout.release, hostname=tool, pools={"tank": 8 << 30}, interfaces=interfaces)
    for dataset, mountpoint in layout.datasets.items():
        _run(host, "zfs", "create", "-o", f"mountpoint={mountpoint}", dataset)
    for tree in layout.trees:
        shared = layout.shared.get(tree)
        _populate(host, shared[0] if shared else tree, layout.release)
        if shared:
            _link(host, tree, shared[1])
    for path in layout.directories:
        _run(host, "mkdir", "-p", path)
    for path, content in layout.files.items():
        _run(host, "mkdir", "-p", path.rpartition("/")[0])
        place = _backing(host, path)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        if content[:2] in ("#!", b"#!"):
            place.chmod(0o755)
    _install(host, layout.command)
    return host


def run(host: Host, *argv: str) -> tuple[int, str, str]:
    """Status, standard output and standard error of a command on the host."""
    rc, out, err = Process(host, ["sh"], fds={}, env={"PATH": PATH}).capture(list(argv))
    return rc, out.decode(), err.decode()


def _run(host: Host, *argv: str) -> None:
    rc, _, err = run(host, *argv)
    assert rc == 0, (argv, err)


def _backing(host: Host, path: str) -> Path:
    with host.reading() as state:
        return host.locate(state, path).backing


def _populate(host: Host, tree: str, release: str) -> None:
    """Programs and configuration, as base.txz has them, without what only a host needs."""
    _run(host, "mkdir", "-p", tree)
    root = _backing(host, tree)
    for entry in base.userland(release):
        place = root / entry.path
        if entry.kind == "d":
            place.mkdir(exist_ok=True, parents=True)
        elif entry.kind == "f" and not place.exists():
            place.write_bytes(entry.data)
            place.chmod(entry.mode | 0o600)


_LINKED = ("bin", "sbin", "libexec", "lib", "usr/bin", "usr/sbin", "usr/libexec")


def _link(host: Host, tree: str, point: str) -> None:
    """A tree with files of its own, whose programs are those of the base that is mounted in it."""
    for path in ("dev", "etc", "tmp", "var/run", "var/log", "root", "usr", "proc", point):
        _run(host, "mkdir", "-p", f"{tree}/{path}")
    root = _backing(host, tree)
    for path in _LINKED:
        (root / path).symlink_to(f"/{point}/{path}")
    for entry in base.userland("13.2-RELEASE"):
        if entry.kind == "f" and entry.path.startswith("etc/"):
            place = root / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(entry.data)


_SCRIPTS = {"cbsd": "cbsdd", "jailadmin": "jail.sh"}


def _install(host: Host, command: str) -> None:
    if not command:
        return
    _run(host, "mkdir", "-p", "/usr/local/bin", "/usr/local/sbin", "/usr/local/etc/rc.d")
    path, _ = TOOLS.get(command, ("", ""))
    if path:
        place = _backing(host, path)
        place.write_bytes(program(command))
        place.chmod(0o755)
    script = _backing(host, f"/usr/local/etc/rc.d/{_SCRIPTS.get(command, command)}")
    if not script.exists():
        script.write_text("#!/bin/sh\n")
    script.chmod(0o755)


def _recorded(tool: str) -> dict[str, str]:
    files = json.loads((RECORDED / f"{tool}.layout.json").read_text())["files"]
    return {path: entry["content"] for path, entry in files.items() if "content" in entry}


def _iocage(**properties: object) -> str:
    return json.dumps({"CONFIG_VERSION": "32", **properties}, indent=4, sort_keys=True)


IOCAGE = Layout(
    files={
        "/etc/rc.conf": 'hostname="old1"\niocage_enable="YES"\n',
        "/usr/local/bin/before": "#!/bin/sh\nexit 0\n",
        "/iocage/defaults.json": _iocage(boot=0, securelevel="2", devfs_ruleset="4", vnet=0),
        "/iocage/jails/web.example/config.json": _iocage(
            boot=1,
            host_hostname="web-example",
            host_hostuuid="web.example",
            ip4_addr="em0|192.0.2.10/24,em0|192.0.2.11/32",
            jail_zfs_dataset="iocage/jails/web.example/data",
            last_started="2023-11-02 10:11:12",
            release="13.2-RELEASE-p4",
            allow_raw_sockets=1,
            exec_prestart="/usr/local/bin/before",
            memoryuse="2G:deny",
            notes="shop; do not touch",
        ),
        "/iocage/jails/web.example/fstab": "/var/data\t/iocage/jails/web.example/root/mnt\tnullfs\trw\t0\t0 # iocage\n",
        "/iocage/jails/db/config.json": _iocage(
            boot=0, host_hostname="db", host_hostuuid="db", ip4_addr="em0|192.0.2.12/24", release="13.2-RELEASE-p4"
        ),
        "/iocage/jails/db/fstab": "",
        "/iocage/jails/net/config.json": _iocage(
            boot=0, host_hostname="net", ip4_addr="vnet0|192.0.2.13/24", vnet=1, basejail=1, release="13.2-RELEASE-p4"
        ),
        "/iocage/jails/net/fstab": "",
    },
    trees=tuple(f"/iocage/jails/{name}/root" for name in ("web.example", "db", "net")),
    directories=("/var/data", "/iocage/log", "/iocage/jails/web.example/root/mnt"),
    datasets={
        "tank/iocage": "/iocage",
        "tank/iocage/jails": "/iocage/jails",
        "tank/iocage/jails/web.example": "/iocage/jails/web.example",
        "tank/iocage/jails/web.example/root": "/iocage/jails/web.example/root",
        "tank/iocage/jails/db": "/iocage/jails/db",
        "tank/iocage/jails/db/root": "/iocage/jails/db/root",
        "tank/iocage/jails/net": "/iocage/jails/net",
        "tank/iocage/jails/net/root": "/iocage/jails/net/root",
    },
    command="iocage",
)

_UUID = "5d2f1c0e-7d0b-11e6-9f0c-0800279a2b3c"
IOCELL = Layout(
    files={
        "/etc/rc.conf": 'hostname="old2"\niocell_enable="YES"\n',
        f"/iocell/jails/{_UUID}/config": (
            f'tag = "mail";\nhost_hostuuid = "{_UUID}";\nhost_hostname = "mail.example.org";\nboot = "on";\n'
            'type = "thickjail";\nvnet = "off";\nip4_addr = "em0|192.0.2.30";\nip6_addr = "none";\n'
            'release = "11.0-RELEASE";\nsecurelevel = "2";\nexec_start = "/bin/sh /etc/rc";\n'
            'allow_set_hostname = "1";\nmount_devfs = "1";\nmount_fdescfs = "1";\nquota = "none";\n'
        ),
        f"/iocell/jails/{_UUID}/fstab": "",
    },
    trees=(f"/iocell/jails/{_UUID}/root",),
    directories=("/iocell/log",),
    command="iocell",
    release="12.1-RELEASE",
)

EZJAIL = Layout(
    files={"/etc/rc.conf": 'hostname="jailhost"\nezjail_enable="YES"\n', **_recorded("ezjail")},
    trees=("/usr/jails/www.example.org", "/usr/jails/db"),
    directories=(
        "/usr/jails/basejail/bin",
        "/usr/jails/newjail",
        "/usr/jails/www.example.org/basejail",
        "/usr/jails/db/basejail",
        "/usr/jails/www.example.org/proc",
        "/usr/jails/db/proc",
    ),
    command="ezjail",
    release="12.1-STABLE",
    interface="vtnet0",
    shared={f"/usr/jails/{name}": ("/usr/jails/basejail", "basejail") for name in ("www.example.org", "db")},
)


def _ezjail(name: str, ip: str, root: str) -> str:
    values = {
        "hostname": name, "ip": ip, "rootdir": root, "exec_start": "/bin/sh /etc/rc", "exec_stop": "",
        "mount_enable": "YES", "devfs_enable": "YES", "devfs_ruleset": "devfsrules_jail", "procfs_enable": "NO",
        "fdescfs_enable": "YES",
    }  # fmt: skip
    lines = "".join(f'export jail_{name}_{key}="{value}"\n' for key, value in values.items())
    return f"# PROVIDE: standard_ezjail\n# REQUIRE: \n# BEFORE: \n#\n\n{lines}"


BSDPLOY = Layout(
    files={
        "/etc/rc.conf": (
            'hostname="ploy"\ncloned_interfaces="lo1"\njail_interface="lo1"\n'
            'jail_parameters="allow.raw_sockets=1 allow.sysvipc=1"\njail_exec_stop="/bin/sh /etc/rc.shutdown"\n'
            'jail_parallel_start="YES"\nezjail_enable="YES"\n'
        ),
        "/usr/local/etc/ezjail.conf": 'ezjail_jaildir=/usr/jails\nezjail_use_zfs="YES"\nezjail_jailzfs="tank/jails"\n',
        "/usr/jails/flavours/bsdploy_base/etc/rc.conf": 'sendmail_enable="NONE"\n',
        "/usr/local/etc/ezjail/webserver": _ezjail("webserver", "10.0.0.1", "/usr/jails/webserver"),
        "/etc/fstab.webserver": (
            "/usr/jails/basejail /usr/jails/webserver/basejail nullfs ro 0 0\n# mount points from ploy\n"
            "/tank/htdocs /usr/jails/webserver/htdocs nullfs ro 0 0\n"
        ),
    },
    trees=("/usr/jails/webserver",),
    directories=(
        "/usr/jails/basejail/bin", "/tank/htdocs", "/usr/jails/webserver/basejail", "/usr/jails/webserver/htdocs",
    ),
    command="ezjail",
    release="12.1-RELEASE",
    interface="lo1",
    shared={"/usr/jails/webserver": ("/usr/jails/basejail", "basejail")},
)  # fmt: skip

BASTILLE = Layout(
    files={"/etc/rc.conf": 'hostname="jailhost"\nbastille_enable="YES"\n', **_recorded("bastille")},
    trees=tuple(f"/usr/local/bastille/jails/{name}/root" for name in ("web1", "db1", "empty1")),
    directories=(
        "/usr/local/bastille/releases/12.1-RELEASE/usr/ports",
        "/usr/local/bastille/jails/web1/root/.bastille",
        "/usr/local/bastille/jails/web1/root/usr/ports",
        "/var/log/bastille/web1",
        "/var/log/bastille/db1",
    ),
    command="bastille",
    release="12.1-STABLE",
    interface="vtnet0",
    shared={
        "/usr/local/bastille/jails/web1/root": ("/usr/local/bastille/releases/12.1-RELEASE", ".bastille"),
    },
)

APPJAIL = Layout(
    files={
        "/etc/rc.conf": 'hostname="app1"\nappjail_enable="YES"\n',
        "/usr/local/appjail/jails/nginx/conf/config.conf": (
            'birth: 1700000000\nosarch: "amd64"\n'
            'osversion: "13.2-RELEASE"\njail_type: "thin"\nrelease_name: "default"\n'
        ),
        "/usr/local/appjail/jails/nginx/conf/template.conf": (
            'exec.start: "/bin/sh /etc/rc"\nexec.stop: "/bin/sh /etc/rc.shutdown jail"\nmount.devfs\npersist\n'
            'interface: "em0"\nip4.addr: "192.0.2.40"\n+ip4.addr: "192.0.2.41"\n'
        ),
        "/usr/local/appjail/jails/nginx/conf/fstab": "",
        "/usr/local/appjail/jails/nginx/conf/boot/startup/boot": "",
        "/usr/local/appjail/jails/build/conf/config.conf": (
            'osarch: "amd64"\nosversion: "13.2-RELEASE"\njail_type: "thick"\nrelease_name: "default"\n'
        ),
        "/usr/local/appjail/jails/build/conf/template.conf": (
            'exec.start: "/bin/sh /etc/rc"\nexec.stop: "/bin/sh /etc/rc.shutdown jail"\nmount.devfs\npersist\n'
            "ip4: inherit\n"
        ),
    },
    trees=("/usr/local/appjail/jails/nginx/jail", "/usr/local/appjail/jails/build/jail"),
    directories=(
        "/usr/local/appjail/releases/amd64/13.2-RELEASE/default/release",
        "/usr/local/appjail/jails/nginx/jail/.appjail",
        "/var/log/appjail/jails/nginx",
        "/var/log/appjail/jails/build",
    ),
    command="appjail",
)

POT = Layout(
    files={
        "/etc/rc.conf": 'hostname="pot1"\npot_enable="YES"\n',
        "/usr/local/etc/pot/pot.default.conf": "POT_ZFS_ROOT=zroot/pot\nPOT_FS_ROOT=/opt/pot\nPOT_EXTIF=em0\n",
        "/usr/local/etc/pot/pot.conf": "POT_ZFS_ROOT=tank/pot\n",
        "/opt/pot/jails/cache/conf/pot.conf": (
            "pot.level=0\npot.type=single\npot.base=13.2\npot.potbase=\npot.dns=inherit\npot.cmd=sh /etc/rc\n"
            'host.hostname="cache.pot1"\nosrelease="13.2-RELEASE"\npot.attr.no-rc-script=NO\npot.attr.persistent=YES\n'
            "pot.attr.start-at-boot=YES\npot.attr.prunable=NO\npot.attr.no-tmpfs=NO\npot.attr.enforce_statfs=2\n"
            "pot.attr.raw_sockets=YES\npot.attr.sysvshm=new\npot.attr.sysvsem=new\npot.attr.sysvmsg=new\n"
            "pot.attr.children=0\npot.attr.devfs_ruleset=4\npot.attr.stop_timeout=10\n"
            "pot.stack=ipv4\nnetwork_type=alias\nvnet=false\nip=192.0.2.50\n"
        ),
        "/opt/pot/jails/cache/conf/fscomp.conf": "/var/cache/data /mnt ro\n",
        "/opt/pot/jails/old/conf/pot.conf": (
            "pot.level=1\npot.type=multi\npot.base=13.2\npot.potbase=\npot.dns=inherit\npot.cmd=sh /etc/rc\n"
            'host.hostname="old.pot1"\nosrelease="13.2-RELEASE"\npot.attr.persistent=YES\npot.attr.start-at-boot=NO\n'
            "pot.stack=ipv4\nnetwork_type=public-bridge\nvnet=true\nip=10.192.0.10\n"
        ),
        "/opt/pot/jails/old/conf/fscomp.conf": (
            "tank/pot/bases/13.2 / ro\ntank/pot/jails/old/usr.local /usr/local zfs-remount\n"
        ),
    },
    trees=("/opt/pot/jails/cache/m", "/opt/pot/jails/old/m"),
    directories=("/var/cache/data", "/opt/pot/jails/cache/m/mnt"),
    command="pot",
)


def cbsd_database(*rows: Mapping[str, str]) -> bytes:
    """A database with the table `jails` and these rows, the same bytes each time."""
    columns = sorted({key for row in rows for key in row} | {"jname", "emulator", "status"})
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE jails ({', '.join(f'{name} TEXT' for name in columns)})")
    for row in rows:
        marks = ", ".join("?" * len(columns))
        connection.execute(f"INSERT INTO jails VALUES ({marks})", [row.get(name, "0") for name in columns])
    connection.commit()
    data = connection.serialize()
    connection.close()
    return data


def _cbsd(name: str, **values: str) -> dict[str, str]:
    home = "/usr/jails"
    return {
        "jname": name, "emulator": "jail", "path": f"{home}/jails/{name}", "host_hostname": f"{name}.my.domain",
        "data": f"{home}/jails-data/{name}-data", "mount_fstab": f"{home}/jails-fstab/{name}/fstab",
        "baserw": "0", "astart": "0", "vnet": "0", "ver": "13.2", "arch": "amd64", "interface": "auto",
        "mount_devfs": "1", "allow_mount": "1", "allow_devfs": "1", "allow_nullfs": "1", "allow_raw_sockets": "0",
        "devfs_ruleset": "4", "exec_start": "/bin/sh /etc/rc", "exec_stop": "/bin/sh /etc/rc.shutdown",
        "exec_prestart": "0", "exec_poststart": "0", "exec_prestop": "0", "exec_poststop": "0", "status": "0",
        **values,
    }  # fmt: skip


CBSD = Layout(
    files={
        "/etc/rc.conf": 'hostname="cbsd1"\ncbsd_workdir="/usr/jails"\ncbsdd_enable="YES"\n',
        "/usr/jails/var/db/local.sqlite": cbsd_database(
            _cbsd("shop", baserw="1", astart="1", ip4_addr="192.0.2.60", interface="em0"),
            _cbsd("thin1", ip4_addr="192.0.2.61/24,2001:db8::61/64"),
            _cbsd("vm1", emulator="bhyve"),
        ),
        "/usr/jails/jails-rcconf/rc.conf_away": 'jname="away"\nbaserw="1"\nip4_addr="192.0.2.62"\nastart="0"\n',
    },
    trees=("/usr/jails/jails-data/shop-data", "/usr/jails/jails/thin1"),
    command="cbsd",
)

JAILADMIN = Layout(
    files={
        "/etc/rc.conf": 'hostname="old3"\n',
        "/etc/fstab": (
            "/dev/vtbd0\t/\tufs\trw\t1\t1\n/usr/ports /var/jail/server1/usr/ports nullfs ro,noauto 0 0\n"
            "devfs /var/jail/server1/dev devfs rw,noauto 0 0\n"
        ),
        "/usr/local/etc/rc.d/jail.sh": "#!/bin/sh\n/usr/local/sbin/jailadmin start all\n",
        "/usr/local/etc/jailadmin.conf": (
            "# jails of the old house\njaildir=/var/jail\nmaxparallel=5\ndefault_usejtools=1\n"
            "default_shutdown=emulated\n\nserver1\n    ip: 192.0.2.70\n    hostname: www.example.net\n"
            "    mount: /usr/ports(1),/dev\n\nserver2\n    ip: 192.0.2.71\n    hostname: db.example.net\n\n"
            "group_all = ALL, !server2\n"
        ),
    },
    trees=("/var/jail/server1", "/var/jail/server2"),
    directories=("/usr/ports", "/var/jail/server1/usr/ports"),
    command="jailadmin",
    release="12.1-RELEASE",
)

RC_CONF = Layout(
    files={
        "/etc/rc.conf": (
            'hostname="old4"\njail_enable="YES"\njail_list="www mail.old"\njail_interface="em0"\n'
            'jail_www_rootdir="/usr/jail/www"\njail_www_hostname="www.example.com"\njail_www_ip="192.0.2.80"\n'
            'jail_www_devfs_enable="YES"\njail_www_ip_multi0="em0|192.0.2.81/25"\n'
            'jail_www_exec_prestart0="/usr/local/bin/before www"\n'
            'jail_mail_old_rootdir="/usr/jail/mail"\njail_mail_old_hostname="mail.example.com"\n'
            'jail_mail_old_ip="192.0.2.82,2001:db8::82"\njail_mail_old_mount_enable="YES"\n'
            'jail_spare_rootdir="/usr/jail/spare"\njail_spare_hostname="spare"\njail_spare_ip="192.0.2.83"\n'
        ),
        "/usr/local/bin/before": "#!/bin/sh\nexit 0\n",
        "/etc/fstab.mail_old": "/var/spool /usr/jail/mail/mnt nullfs rw 0 0\n",
    },
    trees=("/usr/jail/www", "/usr/jail/mail", "/usr/jail/spare"),
    directories=("/var/spool", "/usr/jail/mail/mnt"),
    release="12.1-RELEASE",
)

LAYOUTS: Mapping[str, Layout] = {
    "iocage": IOCAGE,
    "iocell": IOCELL,
    "ezjail": EZJAIL,
    "bsdploy": BSDPLOY,
    "bastille": BASTILLE,
    "appjail": APPJAIL,
    "pot": POT,
    "cbsd": CBSD,
    "jailadmin": JAILADMIN,
    "rc.conf": RC_CONF,
}
