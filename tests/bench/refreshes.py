"""A refresh costs a host the same few commands whatever is on it; what grows is what there is to read and to store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from jails.hosts.refresh import refresh
from jails.hosts.simulated_connection import SimulatedConnection
from jails.models import Host, Jail
from tests.hosts.simulation import Simulation

COUNTS = (1, 100, 1000)
RUNS = 3

MAKE = """\
zfs create zroot/cellblock
zfs create zroot/cellblock/host
zfs create -o mountpoint=/jail/www -o cellblock:operation=op zroot/cellblock/host/www
zfs snapshot zroot/cellblock/host/www@first
jail -c name=www path=/jail/www host.hostname=www persist
"""


class Counting(SimulatedConnection):
    requests = 0

    def run(self, *args, **options):
        self.requests += 1
        return super().run(*args, **options)


def rows(folder: Path) -> Iterator[tuple[str, list[float], str]]:
    one = 0.0
    for count in COUNTS:
        times, requests, processes = measured(folder / f"host-{count}", count)
        one = one or median(times)
        jails = "1 jail" if count == 1 else f"{count:,} jails"
        yield jails, [took / one for took in times], f"{requests} requests, {processes} processes on the host"


def measured(directory: Path, count: int) -> tuple[list[float], int, int]:
    simulation = Simulation(directory, "--pool", "zroot=100G")
    simulation.run("sh", "-ec", MAKE)
    simulation.multiply("www", count - 1)
    host = Host.objects.create(name=directory.name, kind=Host.Kind.SIMULATED, directory=str(directory))
    connection = Counting(directory)
    refresh(host, connection=lambda row: connection)  # the first one makes the rows
    assert Jail.objects.filter(host=host).count() == count
    times = []
    for _ in range(RUNS):
        simulation.forget_log()
        connection.requests = 0
        begin = time.monotonic()
        refresh(host, connection=lambda row: connection)
        times.append(time.monotonic() - begin)
    processes = [entry for entry in simulation.log() if not entry.get("replaces")]
    host.delete()
    return times, connection.requests, len(processes)
