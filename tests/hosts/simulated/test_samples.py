"""The samples of a real 12.1, run again on a host made as that one was: what differs is written down, nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jails.hosts.simulated import clock, replay
from jails.hosts.simulated.host import Host

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
ZFS_ORDER = "tank tank/jails tank/jails/alpha tank/jails/delta tank/jails/beta tank/jails/base tank/jails/gamma"
BOOT_ORDER = "tank/jails tank tank/jails/delta tank/jails/base tank/jails/gamma tank/jails/beta tank/jails/alpha"
FIRST_ORDER = "tank tank/jails tank/jails/alpha tank/jails/beta tank/jails/delta tank/jails/gamma tank/jails/base"
ALIASES = tuple(
    ("ifconfig", "vtnet0", family, address, "alias")
    for family, address in (
        ("inet", "10.0.2.50/32"),
        ("inet", "10.0.2.40/32"),
        ("inet", "192.0.2.7/32"),
        ("inet6", "fd00::7/128"),
    )
)
ALPHA = (
    *("jail", "-c", "name=alpha", "path=/jails/alpha", "host.hostname=alpha.example.org"),
    *("ip4.addr=10.0.2.50", "persist"),
)
MODULES = tuple(("kldload", "-n", name) for name in ("if_bridge", "if_epair", "nullfs", "tmpfs"))
V6 = tuple(("ifconfig", "vtnet0", "inet6", "fd00::7/128", word) for word in ("alias", "-alias"))

PIDS = "numbers and times of processes, and those of the recorder's ssh session and console"
SIZES = "sizes and contents of what was on the real disk"
TRAFFIC = "what real packets leave: counters, neighbours, times, the recorder's own connection"
SPEED = "how fast the machine was"
IDS = "numbers the kernel gives modules, after others that were loaded before"
ENVIRONMENT = "addresses of the recorder's ssh connection, and the order the shell keeps variables in"
SIGNALS = "the recorder shows 255 where a signal ended the command on the other side of ssh"
STREAM = "the length of a stream of ZFS to the byte, and what received blocks take"
USED = "memory, files and time that processes use"


class Sample(NamedTuple):
    """`last_jid` is where the host's count of jails stood; `known` the commands that differ, by number, and why;
    `drawn` those that differ or not as numbers are drawn: a GUID, a MAC address, a port."""

    name: str
    known: dict[int, str] = {}
    drawn: tuple[int, ...] = ()
    order: str = BOOT_ORDER
    last_jid: int = 0
    clones: bool = True
    pflog: bool = True
    racct: bool = True
    before: tuple[tuple[str, ...], ...] = ()


def _known(**reasons: str) -> dict[int, str]:
    """`_known(SIZES="1 2 5-7")`: numbers of commands by the name of the reason they differ for."""
    found = {}
    for name, numbers in reasons.items():
        for word in numbers.split():
            first, _, last = word.partition("-")
            found |= dict.fromkeys(range(int(first), int(last or first) + 1), str(globals().get(name, name)))
    return found


SAMPLES = [
    Sample(
        "00-system",
        _known(SIZES="10 26-29 87 93-96", TRAFFIC="40 41 45 48", IDS="49 51 52", PIDS="58-60"),
        order=FIRST_ORDER,
        pflog=False,
        before=MODULES,
    ),
    Sample(
        "01-zpool",
        _known(SIZES="0-6 14 15 22 24 42 45"),
        drawn=(62, 63),
        order=FIRST_ORDER,
        clones=False,
    ),
    Sample(
        "02-zfs",
        _known(SIZES="0-4 10 16-19 23 75 86 134", SPEED="58", STREAM="119 124 127 161")
        | {40: "nothing in fstab(5)", 60: "no kernel to copy", 144: "the recorder waited longer for held output"},
        order=FIRST_ORDER,
        clones=False,
    ),
    Sample("03-jls-zero"),
    Sample("03-jls-one", last_jid=1),
    Sample("03-jls-several", last_jid=1, before=(ALPHA,)),
    Sample("03-jls-dying", drawn=(3,), last_jid=14),
    Sample("04-jail-cmd", _known(PIDS="190")),
    Sample("04b-jail-exec", _known(ENVIRONMENT="10", PIDS="26 27"), last_jid=34, before=ALIASES),
    Sample("05-jexec", _known(SIGNALS="11 12", ENVIRONMENT="13", PIDS="26", SIZES="28"), last_jid=62),
    Sample(
        "06-net",
        _known(TRAFFIC="82 83 86") | {87: "ifconfig BRIDGE addr is not made"},
        drawn=(78,),
        last_jid=62,
        before=V6,
    ),
    Sample(
        "07-rctl",
        _known(USED="4 5 10 11 13 48 55 58", SPEED="54") | {47: "the kernel's words about rules are not made"},
    ),
    Sample("07b-cpuset"),
    Sample("08-zfs-jail", _known(SIZES="11 25 26 32"), order=ZFS_ORDER, last_jid=1),
    Sample(
        "09-mount",
        _known(SIZES="10 11", SPEED="28 39") | {22: "a shell's directory is still there after umount -f"},
        order=ZFS_ORDER,
    ),
    Sample(
        "10-service-jail",
        _known(PIDS="12 37 41", ENVIRONMENT="54", SIZES="34 42 50"),
        order=ZFS_ORDER,
        last_jid=3,
    ),
    Sample("11-modules", _known(TRAFFIC="36", IDS="44"), order=ZFS_ORDER, pflog=False),
    Sample("12-rctl-disabled", order=ZFS_ORDER, racct=False),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Path]]:
    """Hosts with a jail tree in tank/jails/base, with and without pflog0."""
    yield {pflog: _install(tmp_path_factory.mktemp("used"), pflog) for pflog in (True, False)}


def _install(place: Path, pflog: bool) -> Path:
    given = json.loads((TRANSCRIPTS / "jails.session.json").read_text())["host"]
    given["directories"] = ["/mnt", "/tmp"]
    if not pflog:
        del given["interfaces"]["pflog0"]
    host = replay.make_host(given, place / "host")
    _do(host, "zfs", "create", "-o", "mountpoint=/jails", "tank/jails")
    _do(host, "zfs", "create", "tank/jails/base")
    tree = host.path("/jails/base")
    for name in ("bin", "etc", "lib", "libexec", "sbin", "usr", "root", "var"):
        shutil.copytree(host.directory / "root" / name, tree / name, symlinks=True)
    for name in ("dev", "mnt", "tmp", "proc", "media"):
        (tree / name).mkdir()
    for name in ("etc/fstab", "etc/rc.conf", "usr/sbin/pkg"):
        (tree / name).unlink()
    (tree / "usr/world").write_bytes(b"x")
    host.set_metadata(tree / "usr/world", size=283_000_000)
    with host.reading() as state:
        host.touched(host.locate(state, "/jails/base").mount)
    return host.directory


def _do(host: Host, *argv: str) -> None:
    ran = replay.run(host, list(argv), "")
    assert ran["rc"] == 0, ran


def _set_up(sample: Sample, directory: Path) -> Host:
    host = Host(directory)
    if sample.clones:
        _do(host, "zfs", "snapshot", "tank/jails/base@v1")
        for name in ("alpha", "beta", "gamma", "delta"):
            _do(host, "zfs", "clone", "tank/jails/base@v1", f"tank/jails/{name}")
    with host.changing() as state:
        rank = {name: place for place, name in enumerate(sample.order.split())}
        state["mounts"].sort(key=lambda one: rank.get(one["source"], -1))
        state["lastjid"] = sample.last_jid
        state["racct"] = sample.racct
    for argv in sample.before:
        _do(host, *argv)
    return host


def differing(sample: Sample, directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    monkeypatch.setattr(clock, "_ahead", 0.0)
    monkeypatch.setattr(clock, "_still", None)
    clock.hurry()
    host = _set_up(sample, directory)
    commands: list[dict[str, Any]] = json.loads((TRANSCRIPTS / "samples" / f"{sample.name}.json").read_text())
    ran = []
    for one in commands:
        clock.forward(replay.PACE)
        ran.append(replay.run(host, one["argv"], one.get("stdin") or ""))
    found = replay.differences({"commands": commands}, ran)
    return {int(text.partition(":")[0]): text for text in found}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_sample(sample: Sample, installed: dict[bool, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(installed[sample.pflog], tmp_path / "host", symlinks=True)
    found = differing(sample, tmp_path / "host", monkeypatch)
    assert set(found) - set(sample.drawn) == set(sample.known), "\n".join(
        text for number, text in found.items() if number not in sample.known
    )
