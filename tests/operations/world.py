"""A simulated host with nothing on it yet, for the kinds that make things: what `Warden` can, and a mirror."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from jails.hosts.simulated import mirror
from jails.models import Jail, Network, Operation, Release
from tests.hosts.simulation import Simulation
from tests.operations.warden import Warden

RELEASE = "14.2-RELEASE"
MIRROR = f"/mirror/amd64/{RELEASE}"
"""A folder on the host itself."""


def blank(folder: Path, *, zfs: bool = True, release: str = RELEASE, arch: str = "amd64") -> Path:
    """A host as after its first boot, to be copied for each test."""
    options = ["--release", release, "--arch", arch, "--interface", "em0=192.0.2.2/24,2001:db8::2/64"]
    Simulation(folder, *options, "--hostname", "warden1", *(["--pool", "zroot=10G"] if zfs else []))
    mirror.make_mirror(folder / "root/mirror", RELEASE)
    (folder / "root/etc/resolv.conf").write_text("nameserver 192.0.2.53\n")
    return folder


class World(Warden):
    def done(self, kind: str, /, **parameters: Any) -> Operation:
        """All the way; it must end as done."""
        operation = self.do(kind, **parameters)
        assert operation.status == Operation.Status.DONE, transcript(operation)
        return operation

    def undone(self, kind: str, /, **parameters: Any) -> Operation:
        """It must fail, and be rolled back."""
        operation = self.do(kind, **parameters)
        assert operation.status == Operation.Status.FAILED, transcript(operation)
        return operation

    def fetched(self) -> Release:
        """The release of the mirror, really fetched."""
        self.done("release_fetch", release=RELEASE, architecture="amd64", source=MIRROR)
        return Release.objects.get(host=self.row, name=RELEASE)

    def stock(self, kept: dict[str, tuple[Path, dict[str, Any]]]) -> None:
        """Have the release. It is fetched once for each sort of host; later ones are copies of the first."""
        sort = f"{self.zfs}"
        if sort not in kept:
            release = self.fetched()
            folder = Path(tempfile.mkdtemp(prefix="cellblock-stock-")) / "host"
            shutil.copytree(self.simulation.directory, folder, symlinks=True)
            fields = {field.attname: getattr(release, field.attname) for field in Release._meta.fields}
            kept[sort] = folder, {name: value for name, value in fields.items() if name not in ("id", "host_id")}
        folder, fields = kept[sort]
        shutil.rmtree(self.simulation.directory)
        shutil.copytree(folder, self.simulation.directory, symlinks=True)
        self.release, _ = Release.objects.update_or_create(host=self.row, name=RELEASE, defaults=fields)

    def wish(self, **more: Any) -> dict[str, Any]:
        """Parameters of jail_create: a thick jail `www1` of the release, neither started nor at boot."""
        return {"name": "www1", "kind": "thick", "storage": self.release.storage, "release": self.release.pk, **more}

    def at(self, *ips: str) -> list[dict[str, Any]]:
        """Addresses of the network of all tests."""
        return [{"network": self.network.pk, "ip": ip} for ip in ips]

    def made(self, **more: Any) -> Jail:
        """A jail that jail_create has made."""
        operation = self.done("jail_create", **self.wish(**more))
        return operation.jails.get()

    def value(self, dataset: str, name: str) -> str:
        """Of a ZFS property."""
        return self.simulation.run("zfs", "get", "-Hp", "-o", "value", name, dataset).strip()

    def mode(self, path: str) -> str:
        return self.simulation.run("stat", "-f", "%Lp", path).strip()

    def list(self, path: str) -> list[str]:
        """What is in a folder; nothing where there is none."""
        return self.sh('if [ -d "$1" ]; then ls -A "$1"; fi', path).split()

    def exists(self, path: str) -> bool:
        return self.sh('if [ -e "$1" ] || [ -L "$1" ]; then echo yes; fi', path) == "yes\n"


def transcript(operation: Operation) -> str:
    """For people who look at a failed test."""
    steps = [
        f"{row.index + 1} {row.status:8} {row.data['purpose']}: {row.error or row.output[-300:]!r}"
        for row in operation.steps.order_by("index")
    ]
    return "\n".join([f"{operation.status}: {operation.error} {operation.waiting_for}", *steps])


def network(name: str = "lan", cidr: str = "192.0.2.0/24", **fields: Any) -> Network:
    return Network.objects.get_or_create(name=name, cidr=cidr, **fields)[0]
