"""A host whose tools print what they are told. The shell, and the text it runs, are real."""

import io
import shlex
import tarfile
from pathlib import Path

from jails.freebsd import sh
from jails.hosts.connection import Result
from jails.hosts.local import run_process
from jails.hosts.output import Output

SYSCTL = """kern.ostype=FreeBSD
kern.osrelease=14.2-RELEASE-p1
kern.hostname=warden1.example.com
kern.boottime={ sec = 1795491443, usec = 9027 } Tue Nov 24 04:17:23 2026
hw.machine_arch=amd64
hw.ncpu=4
hw.physmem=8589934592
kern.racct.enable=1
kern.features.vimage=1
vfs.zfs.version.spa=5000
"""
IFCONFIG = """em0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 0 mtu 1500
\tether 58:9c:fc:00:00:01
\tinet 192.0.2.2 netmask 0xffffff00 broadcast 192.0.2.255
\tinet6 2001:db8::2 prefixlen 64
"""
MOUNTS = "zroot/ROOT/default\t/\tzfs\trw\t0 0\nzroot/cellblock/host/www1\t/jail/www1\tzfs\trw\t0 0\n"
DF = """Filesystem 1024-blocks Used Avail Capacity Mounted on
zroot/ROOT/default 1000 400 600 40% /
"""
JLS = '{"__version": "2", "jail-information": {"jail": []}}\n'


def archive(files: dict[str, bytes | str]) -> bytes:
    """As `tar -c` would write them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class StubHost:
    """A connection. `tools`: what each prints, or (status, stdout, stderr). `commands`: what was run."""

    def __init__(self, directory: Path, **tools: str | bytes | tuple[int, str | bytes, str]) -> None:
        self.directory = directory
        self.requests = 0
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "sh").symlink_to("/bin/sh")
        given = {
            "sysctl": SYSCTL, "freebsd-version": "14.2-RELEASE-p1\n" * 3, "jls": JLS, "ifconfig": IFCONFIG,
            "mount": MOUNTS, "df": DF, "tar": archive({"/etc/rc.conf": 'hostname="warden1"\n'}), "zpool": "", "zfs": "",
            "rctl": "",
        }  # fmt: skip
        for name, answer in (given | {key.replace("_", "-"): value for key, value in tools.items()}).items():
            self.tool(name, answer)

    def tool(self, name: str, answer: str | bytes | tuple[int, str | bytes, str]) -> None:
        rc, stdout, stderr = answer if isinstance(answer, tuple) else (0, answer, "")
        data = self.directory / f"{name}.out"
        data.write_bytes(stdout.encode() if isinstance(stdout, str) else stdout)
        script = self.directory / name
        script.write_text(
            f'#!/bin/sh\necho {name} "$*" >> {shlex.quote(str(self.directory))}/commands\n'
            f"/bin/cat {shlex.quote(str(data))}\nprintf %s {shlex.quote(stderr)} >&2\nexit {rc}\n"
        )
        script.chmod(0o755)

    @property
    def commands(self) -> list[str]:
        return (self.directory / "commands").read_text().splitlines()

    def run(self, pipeline, *, timeout, on_output=None, limit=1_000_000) -> Result:
        self.requests += 1
        return run_process(
            sh.argv_of(pipeline),
            stdin=pipeline.stdin,
            timeout=timeout,
            environment={"PATH": str(self.directory)},
            output=Output(limit, on_output),
        )

    def close(self) -> None: ...
