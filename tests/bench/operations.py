"""What the engine costs: plans again, asks whether each step is done, and writes all of it down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from jails.freebsd import sh
from jails.freebsd.command import Pipeline
from jails.hosts.simulated_connection import SimulatedConnection
from jails.models import Operation, OperationStep, User
from jails.operations import effects, queue
from jails.operations.step import BootList, step_from_data
from tests.operations import world

RUNS = 3
SCRIPT = "/root/bench.sh"


def rows(folder: Path) -> Iterator[tuple[str, list[float], str]]:
    queue._send = lambda *args: True  # type: ignore[assignment]
    user = User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)
    host = world.World(world.blank(folder / "blank"), folder / "warden1", user)
    host.release = host.fetched()
    yield measured("create a thick jail", host, folder, lambda n: ("jail_create", create(host, f"thick{n}", n)))
    thin = {"kind": "thin"}
    yield measured("create a thin jail", host, folder, lambda n: ("jail_create", create(host, f"thin{n}", n + 9, thin)))


def create(host: world.World, name: str, number: int, more: dict[str, object] | None = None) -> dict[str, object]:
    wish = host.wish(name=name, hostname=name, addresses=host.at(f"192.0.2.{10 + number}"), boot=True, start=True)
    empty = {"template": None, "tenant": None, "limits": {}}
    return empty | wish | (more or {})


def measured(label, host, folder, wish) -> tuple[str, list[float], str]:
    ratios, count = [], 0
    for number in range(RUNS):
        kind, parameters = wish(number)
        operation = host.confirm(kind, **parameters)
        copy = folder / f"copy-{kind}-{parameters['name']}"
        shutil.copytree(host.simulation.directory, copy, symlinks=True)
        begin = time.monotonic()
        status = host.work(operation)
        took = time.monotonic() - begin
        assert status == Operation.Status.DONE, world.transcript(operation)
        connection = SimulatedConnection(copy)
        count = write_script(operation, connection)
        ratios.append(took / run_script(connection))
        assert parameters["name"] in on(connection, "jls", "name").split(), "the script has not done the same"
        shutil.rmtree(copy)
    return label, ratios, f"{count} commands"


def write_script(operation: Operation, connection: SimulatedConnection) -> int:
    """Every command that the operation ran, one after the other as by hand, as a file on the host; how many."""
    lines = []
    captured: dict[str, str] = {}
    for row in operation.steps.filter(status=OperationStep.Status.DONE).order_by("index"):
        action = step_from_data(row.data).action
        captured |= row.captured
        if isinstance(action, BootList):
            lines += row.command.splitlines()
            continue
        pipeline = effects.pipeline(action, operation.pk, captured)
        command = " ".join(sh.quote(word) for word in sh.argv_of(pipeline))
        if pipeline.stdin:
            stdin = f"/root/stdin-{row.index}"
            on(connection, "tee", stdin, stdin=pipeline.stdin)
            command += f" <{stdin}"
        lines.append(command)
    on(connection, "tee", SCRIPT, stdin="\n".join(["set -e", *lines, ""]).encode())
    return len(lines)


def run_script(connection: SimulatedConnection) -> float:
    on(connection, "true")  # so that what is measured does not begin with the start of the simulation
    begin = time.monotonic()
    on(connection, "sh", SCRIPT)
    return time.monotonic() - begin


def on(connection: SimulatedConnection, *argv: str, stdin: bytes = b"") -> str:
    done = connection.run(Pipeline.of(argv, stdin=stdin), timeout=60)
    assert done.ok, done.stderr
    return done.text
