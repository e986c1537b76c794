"""What the engine costs: plans again, asks whether each step is done, and writes all of it down."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import join, quote, split

from jails.freebsd import sh
from jails.models import Operation, OperationStep, User
from jails.operations import effects, queue
from jails.operations.step import BootList, step_from_data
from tests.hosts.simulation import SOURCE
from tests.operations import world

RUNS = 3


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
        script, count = write_script(operation, copy)
        ratios.append(took / run_script(script))
        assert parameters["name"] in on(copy, "jls", "name").split(), "the script has not done the same"
        shutil.rmtree(copy)
    return label, ratios, f"{count} commands"


def write_script(operation: Operation, directory: Path) -> tuple[Path, int]:
    """Every command that the operation ran, one after the other as by hand, each on the host in that folder."""
    host = f"{quote(sys.executable)} -S -m jails.hosts.simulated {quote(str(directory))} --"
    lines = ["set -e", f"export PYTHONPATH={quote(SOURCE)}"]
    captured: dict[str, str] = {}
    for row in operation.steps.filter(status=OperationStep.Status.DONE).order_by("index"):
        action = step_from_data(row.data).action
        captured |= row.captured
        if isinstance(action, BootList):
            lines += [f"{host} {join(split(line))}" for line in row.command.splitlines()]
            continue
        pipeline = effects.pipeline(action, operation.pk, captured)
        command = f"{host} {' '.join(sh.quote(word) for word in sh.argv_of(pipeline))}"
        if pipeline.stdin:
            stdin = directory.with_name(f"{directory.name}-stdin-{row.index}")
            stdin.write_bytes(pipeline.stdin)
            command += f" <{quote(str(stdin))}"
        lines.append(command)
    script = directory.with_name(f"{directory.name}.sh")
    script.write_text("\n".join(lines) + "\n")
    return script, len(lines) - 2


def run_script(script: Path) -> float:
    begin = time.monotonic()
    done = subprocess.run(["sh", script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    took = time.monotonic() - begin
    assert done.returncode == 0, done.stderr
    return took


def on(directory: Path, *argv: str) -> str:
    command = [sys.executable, "-S", "-m", "jails.hosts.simulated", str(directory), "--", *argv]
    environment = os.environ | {"PYTHONPATH": SOURCE}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
