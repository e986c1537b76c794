"""Make the simulated fleet that `make run` shows, where there is none yet."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from jails import audit
from jails.models import Host, Network

RELEASE = "14.4-RELEASE"
FLEET: dict[str, dict[str, Any]] = {
    "warden1": {
        "options": ["--pool", "zroot=40G", "--pool", "tank=20G", "--interface", "em0=192.0.2.2/24"],
        "fields": {"pool": "zroot", "interface": "em0"},
    },
    "warden2": {
        "options": ["--interface", "em0=198.51.100.2/24"],
        "fields": {"interface": "em0"},
    },
}
BY_HAND = """\
# Made by hand, long before there was a panel.
mailhub {
	path = "/usr/jails/mailhub";
	host.hostname = "mailhub.example.com";
	ip4.addr = "em0|192.0.2.25/32";
	mount.devfs;
	exec.clean;
	persist;
}
"""
"""/etc/jail.conf of warden1, whose jail starts at boot."""
FETCH_RATE = 2000
"""Bytes a second, so that one sees the few of the mirror arrive."""
NETWORKS = {"office": "192.0.2.0/24", "branch": "198.51.100.0/24"}


class Command(BaseCommand):
    help = "Make two simulated FreeBSD hosts, a small mirror and two networks. Only in the demo; keeps what is there."

    def handle(self, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("the simulated fleet is for CELLBLOCK_DEMO=1 only")
        make_mirror()
        for name, wanted in FLEET.items():
            make_host(name, wanted["options"])
        with transaction.atomic():
            if not Host.objects.exists():
                self.add_rows()

    def add_rows(self) -> None:
        for name, wanted in FLEET.items():
            directory = str(settings.STATE_DIR / "fleet" / name)
            host = Host.objects.create(name=name, kind=Host.Kind.SIMULATED, directory=directory, **wanted["fields"])
            audit.record("host.add", actor="demo", obj=host, source="command line")
        for name, cidr in NETWORKS.items():
            network = Network.objects.create(name=name, cidr=cidr)
            audit.record("network.add", actor="demo", obj=network, source="command line")


def mirror_directory() -> Path:
    return Path(settings.STATE_DIR) / "mirror"


def make_mirror() -> None:
    from jails.hosts.simulated import mirror

    directory = mirror_directory()
    if not directory.exists():
        mirror.make_mirror(directory, RELEASE, "amd64")


def make_host(name: str, options: list[str]) -> None:
    directory = Path(settings.STATE_DIR) / "fleet" / name
    if directory.exists():
        return
    # Under another name until it is whole: whoever stops this in the middle gets a new one next time.
    draft = directory.with_name(f"{name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(mode=0o700, exist_ok=True)
    simulated(draft, "--new", "--release", RELEASE, "--hostname", name, *options)
    simulated(draft, "--fault", json.dumps({"fetch": {"rate": FETCH_RATE}}))
    if name == "warden1":
        make_jail_by_hand(draft)
    draft.rename(directory)


def make_jail_by_hand(host: Path) -> None:
    from jails.hosts.simulated import mirror

    simulated(host, "--", "mkdir", "-p", "/usr/jails/mailhub")
    (host / "root/root/base.txz").write_bytes(mirror.base_archive(RELEASE)[0])
    simulated(host, "--", "tar", "-xpf", "/root/base.txz", "-C", "/usr/jails/mailhub")
    simulated(host, "--", "rm", "/root/base.txz")
    simulated(host, "--", "sh", "-c", "cat >/etc/jail.conf", text=BY_HAND)
    simulated(host, "--", "sysrc", "jail_enable=YES")
    simulated(host, "--", "service", "jail", "start")


def simulated(directory: Path, *words: str, text: str = "") -> None:
    argv = [sys.executable, "-m", "jails.hosts.simulated", str(directory), *words]
    subprocess.run(argv, check=True, input=text, text=True, stdout=subprocess.DEVNULL)
