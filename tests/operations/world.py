"""A simulated host with nothing on it yet, for the kinds that make things: what `Warden` can, and a mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jails.hosts.simulated import mirror
from jails.models import Network, Operation, Release
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

    def fetched(self, **parameters: Any) -> Release:
        self.done("release_fetch", release=RELEASE, architecture="amd64", source=MIRROR, **parameters)
        return Release.objects.get(host=self.row, name=RELEASE)

    def again(self) -> Release:
        """The row of a release that is on the host already: of a copy of one where it was fetched."""
        from jails.operations.release_fetch import row_of

        release = row_of(self.row, self.facts(), RELEASE, "amd64")
        release.state = Release.State.READY
        release.save()
        return release

    def value(self, dataset: str, name: str) -> str:
        """Of a ZFS property."""
        return self.simulation.run("zfs", "get", "-Hp", "-o", "value", name, dataset).strip()

    def mode(self, path: str) -> str:
        return self.simulation.run("stat", "-f", "%Lp", path).strip()

    def list(self, path: str) -> list[str]:
        return self.simulation.run("ls", "-A", path).split()

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
