"""zfs(8) and zpool(8) of a simulated 12.1 against what a real one printed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from .machine import Machine

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
MIB = 1 << 20


def commands(name: str) -> list[dict[str, Any]]:
    found = json.loads((TRANSCRIPTS / name).read_text())
    return found["commands"] if isinstance(found, dict) else found


def masked(text: str) -> str:
    """Without times, sizes, guids and the rest of a usage; runs of blanks are one."""
    text = re.sub(r"\w{3} \w{3} +\d+ +\d+:\d\d(:\d\d)? \d{4}|\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"usage:.*", "usage", text, flags=re.DOTALL)
    text = re.sub(r"(?<![\w/@.-])\d[\d.]*[KMGTB]?%?(?![\w/@.])", "N", text)
    return re.sub(r"[ \t]+", " ", text)


def differences(
    machine: Machine,
    name: str,
    *,
    leave: Collection[str] = (),
    effects: Mapping[str, Callable[[], object]] | None = None,
    tools: Collection[str] = ("zfs", "zpool"),
) -> list[str]:
    """Run the commands of a sample whose tool is of `tools`; `effects` stand for others, by their words."""
    found = []
    for command in commands(name):
        argv = command["argv"]
        words = " ".join(argv)
        if effects and words in effects:
            effects[words]()
        if argv[0] not in tools or words in leave:
            continue
        got = machine.run(*argv, stdin=command["stdin"].encode())
        for what, mine, real in (("out", got.out, command["stdout"]), ("err", got.err, command["stderr"])):
            if masked(mine) != masked(real):
                found.append(f"{words}: {what}: {masked(mine)!r} is not {masked(real)!r}")
        if got.rc != command["rc"]:
            found.append(f"{words}: {got.rc} is not {command['rc']}")
    return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """As the recorded host was when the samples began."""
    made = Machine(tmp_path / "host", release="12.1-STABLE", devices={"tank": "vtbd1"})
    made.zfs("create -o mountpoint=/jails tank/jails")
    made.zfs("create tank/jails/base")
    claim(made, "/jails/base/world", 283_000_000)
    return made


def claim(machine: Machine, path: str, size: int) -> None:
    """A file of the claimed size."""
    machine.write(path, 1)
    machine.host.set_metadata(machine.host.path(path), size=size)


def test_zpool(machine: Machine) -> None:
    with machine.host.changing() as state:
        state["disks"]["md5"] = 201326592
    for number in (0, 1):
        with machine.host.path(f"/tmp/disk{number}").open("wb") as file:
            file.truncate(128 * MIB)
    assert differences(machine, "samples/01-zpool.json", leave={"zpool list -v", "zpool history tank"}) == []


def test_zfs(machine: Machine) -> None:
    big = "dd if=/dev/random of=/mnt/b/big bs=1m count=40"
    again = (
        "sh -c dd if=/dev/random of=/mnt/b/big bs=1m count=10 2>/dev/null; sync; zpool sync; "
        "zfs list -Hp -o name,used,avail,quota tank/b"
    )
    receive = "sh -c zfs send tank/e2@s2 | zfs receive tank/r"
    effects = {
        big: lambda: claim(machine, "/mnt/b/big", 20 * MIB),
        "rm -f /mnt/b/big": lambda: remove(machine, "/mnt/b/big"),
        again: lambda: claim(machine, "/mnt/b/big", 10 * MIB),
        receive: lambda: machine.exists("/tank/r") or replicate(machine),
        "sh -c zfs send -R tank/e2@s5 | zfs receive -u tank/r3": lambda: machine.zfs("create -u tank/r3"),
    }
    leave = {
        # Its dates are of one second here, and of two there.
        "zfs list -Hp -t snapshot -o name,used,refer,creation -s creation",
        # Depends on what shells did before.
        "zfs list -Hp -t all -o name,used,refer,origin -r tank",
        "zfs destroy -r tank/r",
        "zfs list -Hp -t all -o name",
        "zfs destroy -r -n -v tank",
    }
    assert differences(machine, "samples/02-zfs.json", leave=leave, effects=effects) == []


def remove(machine: Machine, path: str) -> None:
    with machine.host.reading() as state:
        place = machine.host.locate(state, path)
    place.backing.unlink()
    machine.host.forget_metadata(place.backing)
    machine.host.touched(place.mount)


def replicate(machine: Machine) -> None:
    rc, stream, _ = machine.run_bytes("zfs", "send", "tank/e2@s2")
    assert rc == 0
    machine.zfs("receive tank/r", stdin=stream)


def test_session(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "host", release="12.1-STABLE", directories=["/jail"])
    release = "/tank/cell/releases/14.3-RELEASE/etc"
    effects = {
        f"mkdir -p {release}": lambda: machine.host.path(release).mkdir(),
        f"tee {release}/motd": lambda: machine.write(f"{release}/motd"),
        "tee /jail/www1/etc/motd": lambda: machine.write("/jail/www1/etc/motd"),
        "tee /jail/www1/etc/new": lambda: machine.write("/jail/www1/etc/new"),
    }
    assert differences(machine, "zfs.session.json", effects=effects) == []


def test_jailed(machine: Machine) -> None:
    base = machine.host.path("/jails/base")
    for name in ("sbin", "etc"):
        shutil.copytree(machine.host.directory / "root" / name, base / name, symlinks=True)
    for name in ("dev", "tank"):
        (base / name).mkdir()
    machine.zfs("snapshot tank/jails/base@v1")
    for name in ("alpha", "delta", "beta", "gamma"):
        machine.zfs(f"clone tank/jails/base@v1 tank/jails/{name}")
    # The order of clones in the mounts is another one there, and its pool was scrubbed.
    leave = {"mount -p", "jexec z mount -p", "jexec z zpool status"}
    tools = ("zfs", "zpool", "jail", "jls", "jexec", "mount", "umount")
    assert differences(machine, "samples/08-zfs-jail.json", leave=leave, tools=tools) == []
