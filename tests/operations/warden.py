"""A simulated host with jails on it, and the rows that the panel has of them: for tests of kinds of operation.

The jails are made by commands, as a finished jail_create leaves them, so that these tests stand alone.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from jails.freebsd.command import Pipeline
from jails.hosts.connection import Result
from jails.hosts.facts import gather
from jails.hosts.refresh import refresh
from jails.hosts.simulated import mirror
from jails.hosts.simulated_connection import SimulatedConnection
from jails.models import Address, Host, Jail, Network, Operation
from jails.operations import engine, jailfile, layout, lifecycle
from tests.hosts.simulation import Simulation

QUICK = engine.Timing(heartbeat=3600, progress=3600, patience=1, poll=0.02, backoff=0, output=0)


def prepare(folder: Path, *, zfs: bool = True, release: str = "14.2-RELEASE") -> Path:
    """A host in a folder with what a release leaves: a tree of a system, to be copied for each test."""
    options = ["--release", release, "--hostname", "warden1", "--interface", "em0=192.0.2.2/24,2001:db8::2/64"]
    simulation = Simulation(folder, *options, *(["--pool", "zroot=10G"] if zfs else []))
    archive, _ = mirror.base_archive("14.2-RELEASE")
    (folder / "root/tmp/base.txz").write_bytes(archive)
    parents = (
        "zfs create -o mountpoint=none -o canmount=off zroot/cellblock; "
        "zfs create -o mountpoint=none -o canmount=off zroot/cellblock/host; "
        "zfs create -o mountpoint=/var/db/cellblock/base zroot/cellblock/base; "
        if zfs
        else "mkdir -p /var/db/cellblock/base; "
    )
    simulation.run(
        "sh",
        "-ec",
        f"{parents} tar -xpf /tmp/base.txz -C /var/db/cellblock/base; rm /tmp/base.txz; mkdir -m 0700 /jail; "
        "mkdir -m 0700 /var/log/cellblock; "
        + ("zfs snapshot zroot/cellblock/base@cellblock" if zfs else "chflags -R noschg /var/db/cellblock/base"),
    )
    return folder


class Warden:
    """One test's host. `user` asks for everything."""

    def __init__(self, prepared: Path, folder: Path, user, *, name: str = "warden1") -> None:
        shutil.copytree(prepared, folder, symlinks=True)
        self.simulation = Simulation.__new__(Simulation)
        self.simulation.directory = folder
        state = json.loads((folder / "state.json").read_text())
        self.zfs = bool(state.get("zfs", {}).get("pools"))
        self.user = user
        self.connection = SimulatedConnection(folder)
        self.row = Host.objects.create(
            name=name,
            kind=Host.Kind.SIMULATED,
            directory=str(folder),
            pool="zroot" if self.zfs else "",
            interface="em0",
        )
        self.network, _ = Network.objects.get_or_create(name="lan", cidr="192.0.2.0/24")

    # The host

    def sh(self, text: str, *args: str) -> str:
        return self.simulation.run("sh", "-ec", text, "sh", *args)

    def write(self, path: str, text: str) -> None:
        self.sh('printf %s "$1" >"$2"', text, path)

    def read(self, path: str) -> str:
        return self.simulation.run("cat", path)

    def fault(self, **values: object) -> None:
        self.simulation.fault(**values)

    def fail(self, match: str, words: str = "it resists", **more: object) -> None:
        """Every command that begins so fails without an effect."""
        self.fault(match=match, fail={"rc": 1, "stderr": words + "\n", **more})

    def running(self) -> dict[str, str]:
        """Name → root."""
        lines = self.simulation.run("jls", "-N", "name", "path").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def addresses(self) -> list[str]:
        """On em0, beside the host's own."""
        words = self.simulation.run("ifconfig", "em0").split()
        found = [words[at + 1] for at, word in enumerate(words) if word in ("inet", "inet6")]
        return sorted(ip for ip in found if ip not in ("192.0.2.2", "2001:db8::2") and not ip.startswith("fe80"))

    def mounts(self) -> list[str]:
        return [line.split()[1] for line in self.simulation.run("mount", "-p").splitlines()]

    def datasets(self) -> list[str]:
        return self.simulation.run("zfs", "list", "-H", "-o", "name", "-t", "all").split("\n")[:-1]

    def commands(self) -> list[str]:
        """What changed the host, as words, in order."""
        tools = ("jail", "zfs", "mv", "rm", "mkdir", "umount", "sysrc", "ln", "chflags", "ifconfig")
        found = []
        for entry in self.simulation.log():
            words = [entry["argv"][0].rpartition("/")[2], *entry["argv"][1:]]
            reads = words[:2] in (["zfs", "list"], ["zfs", "get"], ["ifconfig", "-a"]) or "-n" in words[1:3]
            if words[0] in tools and not reads:
                found.append(" ".join(words))
        return found

    def picture(self) -> dict[str, object]:
        """All of the host that an operation could change, to be compared: no times, no numbers of jails, no logs."""
        root = self.simulation.directory / "root"
        files = {}
        # Of the trees of jails the names alone: what runs in them writes as it likes.
        for folder, pattern in (("etc", "**/*"), ("var/db/cellblock", "**/*"), ("jail", "*")):
            for path in sorted((root / folder).glob(pattern)):
                content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
                files[str(path.relative_to(root))] = content
        properties = "name,mountpoint,origin,quota,cellblock:jail,cellblock:operation"
        zfs = self.simulation.run("zfs", "list", "-H", "-t", "all", "-o", properties) if self.zfs else ""
        return {
            "files": files,
            "zfs": zfs.splitlines(),
            "jails": self.running(),
            "mounts": sorted(self.mounts()),
            "addresses": self.addresses(),
            "run": self.sh("ls -A /var/run/cellblock 2>/dev/null || true"),
        }

    # Jails

    def make(self, name: str, ip: str = "", *, start: bool = True, boot: bool = False, **fields: object) -> Jail:
        """A jail as jail_create leaves it, with its row."""
        storage = fields.pop("storage", "zfs" if self.zfs else "ufs")
        path = f"/jail/{name}"
        row = Jail(
            uuid=uuid.uuid4(),
            host=self.row,
            name=name,
            kind=Jail.Kind.THIN,
            storage=storage,
            managed=True,
            hostname=f"{name}.example.org",
            boot=boot,
            path=path,
            dataset=f"zroot/cellblock/host/{name}" if storage == "zfs" else "",
            config_path=layout.config_path(name),
            limits={"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2},
            state=Jail.State.RUNNING if start else Jail.State.STOPPED,
        )
        for field, value in fields.items():
            setattr(row, field, value)
        row.save()
        addresses = []
        if ip:
            Address.objects.create(network=self.network, ip=ip, jail=row, interface="em0", prefix=32)
            addresses = [jailfile.Address(ip, "em0", 32)]
        limits = {key: value for key, value in row.limits.items() if key != "quota"}
        file = jailfile.JailFile(name, str(row.uuid), path, row.hostname, tuple(addresses), limits)
        if storage == "zfs":
            made = f"-o cellblock:operation=made -o cellblock:jail={row.uuid} -o mountpoint={path}"
            self.sh(f"zfs clone {made} zroot/cellblock/base@cellblock {row.dataset}")
            row.origin = "zroot/cellblock/base@cellblock"
            row.save()
        else:
            self.sh(f"cp -Rp /var/db/cellblock/base {path}")
        self.write(row.config_path, file.text())
        if boot:
            self.sh(f"sysrc -q jail_enable=YES jail_list+={name}")
        if start:
            self.sh(f"jail -q -f {row.config_path} -c {name}")
        return row

    def find(self, name: str) -> Jail:
        """The row of a jail that the panel did not make, after a refresh."""
        self.refresh()
        return Jail.objects.get(host=self.row, name=name)

    # Operations

    def refresh(self) -> None:
        refresh(self.row, connection=lambda host: self.connection)
        self.row.refresh_from_db()

    def facts(self):
        return gather(self.connection, jail_root=self.row.jail_root)

    def draft(self, kind: str, /, **parameters: object) -> Operation:
        self.refresh()
        return lifecycle.draft(kind, parameters, host=self.row, user=self.user)

    def confirm(self, kind: str, /, **parameters: object) -> Operation:
        operation = self.draft(kind, **parameters)
        self.simulation.forget_log()
        return lifecycle.confirm(operation, operation.digest, user=self.user)

    def work(self, operation: Operation, **options: object) -> str:
        """As a worker does; the status afterwards."""
        arguments = {"worker": "w1", "connect": lambda host: self.connection, "timing": QUICK}
        engine.run(operation.pk, **(arguments | options))
        operation.refresh_from_db()
        return operation.status

    def work_with(
        self,
        operation: Operation,
        words: str,
        *,
        before: Callable[[], object] = bool,
        after: Callable[[], object] = bool,
    ) -> str:
        """`work`, and something else happens right before or after the first changing command that has these words."""
        calls = [before, after]

        def intercept(pipeline: Pipeline, **options: object) -> Result:
            hit = pipeline.argvs[0][0] == "lockf" and words in " ".join(pipeline.argvs[0]) and len(calls) == 2
            if hit:
                calls.pop(0)()
            result = self.connection.run(pipeline, **options)
            if hit:
                calls.pop()()
            return result

        status = self.work(operation, connect=lambda host: SimpleNamespace(run=intercept))
        assert not calls, f"nothing has run {words}"
        return status

    def do(self, kind: str, /, **parameters: object) -> Operation:
        operation = self.confirm(kind, **parameters)
        self.work(operation)
        return operation


def expire(operation: Operation) -> None:
    """The lease of an operation runs out: its worker has died."""
    past = datetime.now(UTC) - timedelta(minutes=5)
    Operation.objects.filter(pk=operation.pk).update(lease_expires_at=past)
