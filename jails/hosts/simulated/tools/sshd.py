"""sshd(8) as far as one asks it about its configuration: `-t`, and `-T`, which also prints where it listens."""

from __future__ import annotations

from jails.hosts.simulated import listening
from jails.hosts.simulated.process import Process
from jails.hosts.simulated.world import World

from .access import Options


def main(process: Process) -> int:
    options = Options(process, "46DdeGiqTtVC:c:E:f:g:h:o:p:u:", "usage: sshd [-46DdeGiqTtV] [-C connection_spec]", 1)
    if "t" not in options and "T" not in options:
        process.exit(1, "re-exec requires execution with an absolute path") if "/" not in process.argv[0] else None
        process.exit(255, "Cannot bind any address.")
    world = World(process)
    path = options.get("f") or listening.SSHD_CONFIG
    try:
        text = world.read_text(path)
    except OSError:
        process.exit(1, f"{path}: No such file or directory")
    if problem := listening.config_problem(text):
        process.err(problem.replace(listening.SSHD_CONFIG, path) + "\n")
        return 255
    if not any(_exists(world, f"/etc/ssh/ssh_host_{kind}_key") for kind in ("rsa", "ecdsa", "ed25519")):
        process.exit(1, "no hostkeys available -- exiting.")
    if "T" in options:
        for one in listening.wanted("sshd", "", lambda _: text):
            ip = {"*4": "0.0.0.0", "*6": "::"}.get(one.ip, one.ip)  # noqa: S104
            ip = f"[{ip}]" if ":" in ip else ip
            process.out(f"listenaddress {ip}:{one.port}\n")
    return 0


def _exists(world: World, path: str) -> bool:
    return bool(world.stat(path))
