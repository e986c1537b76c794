"""A simulated host for tests of what reaches one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jails
from jails.freebsd.command import Pipeline
from jails.hosts.simulated import faults, journal
from jails.hosts.simulated.host import Host
from jails.hosts.simulated_connection import SimulatedConnection

SOURCE = str(Path(jails.__file__).parent.parent)


def until(holds: Callable[[], object], seconds: float = 30) -> bool:
    """Whether it held within so long. It is long for what takes a moment: the machine may be busy."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Simulation:
    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.command("--new", *options)

    def command(self, *words: str) -> str:
        """What `python -m jails.hosts.simulated DIR WORDS` prints."""
        argv = [sys.executable, "-S", "-m", "jails.hosts.simulated", str(self.directory), *words]
        done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": SOURCE}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def run(self, *argv: str) -> str:
        done = SimulatedConnection(self.directory).run(Pipeline.of(argv), timeout=120)
        if not done.ok:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode(errors='replace')}")
        return done.text

    def fault(self, **values: object) -> None:
        faults.add(Host(self.directory), json.dumps(values) if values else "none")

    def log(self) -> list[dict]:
        return journal.read(self.directory)

    def is_running(self, *argv: str) -> bool:
        return any(one["argv"] == [*argv] and "end" not in one for one in self.log())

    def forget_log(self) -> None:
        journal.clear(self.directory)

    @property
    def login(self) -> str:
        """The forced command of an sshd that leads here."""
        return f"env PYTHONPATH={SOURCE} {sys.executable} -S -m jails.hosts.simulated {self.directory} --ssh"

    def multiply(self, name: str, count: int, hostile: tuple[str, ...] = ()) -> None:
        """Copy a jail of this name, with its dataset, mount, address and file, to NAME-1 … NAME-N in one stroke.

        The first copies get the hostile names as names of jails.
        """
        path = self.directory / "state.json"
        state = json.loads(path.read_text())
        serial, dataset = state["zfs"]["serial"], f"zroot/cellblock/host/{name}"
        last_mount = max(mount["id"] for mount in state["mounts"])
        jail = next(jail for jail in state["jails"] if jail["name"] == name)
        mount = next(mount for mount in state["mounts"] if mount["source"] == dataset)
        conf = self.directory / "root/etc/jail.conf.d"
        conf.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            copy = f"{name}-{number}"
            shown = hostile[number - 1] if number <= len(hostile) else copy
            address = f"10.0.{number // 200}.{number % 200 + 1}"
            tree, jid = f"/jail/{copy}", jail["jid"] + number
            properties = {**jail["set"], "host.hostname": copy, "ip4.addr": [address]}
            state["jails"].append({**jail, "name": shown, "path": tree, "jid": jid, "set": properties})
            made = json.loads(json.dumps(state["zfs"]["datasets"][dataset]))
            made["id"] = f"d{serial + 2 * number}"
            made["props"] |= {"mountpoint": tree, "cellblock:operation": f"op{number}"}
            for snapshot in made["snapshots"]:
                snapshot["id"] = f"s{serial + 2 * number + 1}"
            state["zfs"]["datasets"][f"{dataset}-{number}"] = made
            backing = f"datasets/{made['id']}"
            (self.directory / backing).mkdir()
            state["mounts"].append(
                {**mount, "id": last_mount + number, "dir": tree, "source": f"{dataset}-{number}", "backing": backing}
            )
            (conf / f"{copy}.conf").write_text(f'{copy} {{ path = "{tree}"; ip4.addr = "em0|{address}/32"; }}\n')
        state["zfs"]["serial"] = serial + 2 * count + 2
        state["lastjid"] = jail["jid"] + count
        state["lastmount"] = last_mount + count
        path.write_text(json.dumps(state))


def with_tree(folder: Path) -> tuple[Simulation, Path]:
    """A host with a jail's tree at /jail/x, of its own files; and where that tree is on this machine."""
    host = Simulation(folder / "host", "--release", "14.2-RELEASE")
    host.run("mkdir", "-p", "/jail/x")
    host.run("sh", "-c", "tar --one-file-system -cf - -C / bin sbin etc usr root | tar -xpf - -C /jail/x")
    return host, folder / "host/root/jail/x"
