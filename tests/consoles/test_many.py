"""What a hundred open consoles cost."""

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from jails.hosts import keys
from jails.models import Console
from tests.consoles.house import PROMPT, Shown
from tests.hosts.sshd import Sshd

pytestmark = [pytest.mark.sshd, pytest.mark.slow, pytest.mark.timeout(600)]

MANY, AT_ONCE = 100, 5
MIB = 1 << 20
MOST = 150 * MIB


def held(*processes):
    """Bytes that are these processes' and their children's own, and their parts of what is shared (PSS)."""
    pids = [process.pid for process in processes]
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                pids += [int(child) for child in file.read().split() if int(child) not in pids]
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    return total


def begin(made, ticket):
    """A console that has been used."""
    made.send(json.dumps({"ticket": ticket, "columns": 80, "rows": 24}))
    shown = Shown(made)
    shown.until(PROMPT, 120)
    shown.type("seq 2000\n")
    shown.until("\r\n2000\r\n", 120)


def test_a_hundred_consoles(own_house, tmp_path, capsys):
    """consoled and the web process that serves streams, with a hundred consoles over SSH, against none."""
    house = own_house
    house.services.settings |= {"CELLBLOCK_CONSOLES_PER_USER": "200", "CELLBLOCK_CONSOLES_PER_TENANT": "200"}
    house.services.start_consoled()
    house.services.start_web()
    server = Sshd(tmp_path / "sshd", options=("MaxStartups 100",))
    server.authorize(keys.public_key(), house.warden.simulation.login)
    server.start()
    type(house.host).objects.filter(pk=house.host.pk).update(
        kind="ssh", address="127.0.0.1", port=server.port, username=server.user, host_key=server.host_key, directory=""
    )
    try:
        with house.console("granted"):
            pass  # what is loaded once is no console's
        before = held(*house.services.processes)
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in range(MANY // AT_ONCE):
                sockets = [stack.enter_context(house.socket("granted")) for _ in range(AT_ONCE)]
                tickets = [house.ticket("granted") for _ in sockets]
                list(pool.map(begin, sockets, tickets))
            assert Console.objects.filter(ended_at=None).count() == MANY
            more = held(*house.services.processes) - before
    finally:
        server.stop()
    with capsys.disabled():
        print(
            f"\n{MANY} open consoles over SSH: {more / MIB:.1f} MiB more than none ({more / MANY / 1024:.0f} KiB each)"
        )
    assert more <= MOST
