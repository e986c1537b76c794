"""`python -m jails.hosts.simulated DIR -- ARGV...`: one command on the simulated host in DIR.

DIR -- ARGV...              run a command: standard input, output and error are its own, the status is its status
DIR --new [OPTIONS]         make a host (`--new --help` shows the options)
DIR --ssh [--login-shell sh|csh]   run $SSH_ORIGINAL_COMMAND as root's login shell (sshd's forced command)
DIR --fault JSON|none       what shall go wrong from now on (faults.py)
DIR --log | --log-clear     the processes that ran, one JSON object a line
DIR --reboot                as shutdown -r now: jails end, rc starts what it is told to
--nursery                   fork a child for each command that is asked for on a socket (nursery.py)
--replay FILE [--json]      a fresh host as a transcript says, its commands, and what differs
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

OFFLINE = "ssh: connect to host {} port 22: Operation timed out\n"


def main(words: list[str]) -> int:
    if words and words[0] == "--replay":
        from .replay import command

        return command(words[1:])
    if words == ["--nursery"]:
        from .nursery import serve

        return serve()
    if len(words) < 2 or words[0].startswith("-"):
        sys.stderr.write(f"usage: {(__doc__ or '').strip()}\n")
        return 2
    directory, option, rest = words[0], words[1], words[2:]
    if option == "--new":
        from .new import command as new

        return new(directory, rest)
    if not Path(directory, "state.json").is_file():
        sys.stderr.write(f"{directory}: no simulated host is there; make one with --new\n")
        return 2
    return _on_host(directory, option, rest)


def _on_host(directory: str, option: str, rest: list[str]) -> int:
    from . import faults
    from .host import Host

    host = Host(directory)
    faults.lead()
    if option == "--":
        return run(host, rest)
    if option == "--ssh":
        from .login import session

        return session(host, rest)
    if option == "--fault" and len(rest) == 1:
        try:
            faults.add(host, rest[0])
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        return 0
    if option == "--log":
        import json

        from . import journal

        for entry in journal.read(host.directory):
            print(json.dumps(entry))
        return 0
    if option == "--log-clear":
        from . import journal

        journal.clear(host.directory)
        return 0
    if option == "--reboot":
        from .tools import rc

        return int(rc.reboot(process(host, ["reboot"])) or 0)
    sys.stderr.write(f"{option}: unknown, expected --, --new, --ssh, --fault, --log, --log-clear, --reboot\n")
    return 2


def process(host: object, argv: list[str]):  # type: ignore[no-untyped-def]
    """A root process as sshd starts it, on this process's own standard files."""
    from .process import PATH, Process

    env = {"PATH": PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"}
    return Process(host, argv, fds=_standard_files(), env=env, cwd="/root")  # type: ignore[arg-type]


def _standard_files() -> dict[int, int]:
    found = {}
    for number in (0, 1, 2):
        try:
            os.fstat(number)
            found[number] = number
        except OSError:
            continue
    return found


def run(host: object, argv: list[str]) -> int:
    """One exec request: the words are a command, as after the login shell has read them."""
    from . import faults
    from .process import NotFound

    if not argv:
        sys.stderr.write("expected a command after --\n")
        return 2
    one = process(host, argv)
    if faults.value(faults.load(one.host), "offline"):
        with one.host.reading() as state:
            sys.stderr.write(OFFLINE.format(state["hostname"]))
        return 255
    try:
        return int(one.execute())
    except NotFound as problem:
        one.err(
            f"sh: {argv[0]}: not found\n"
            if problem.words.startswith("No such")
            else f"sh: {argv[0]}: {problem.words}\n"
        )
        return 127 if problem.words.startswith("No such") else 126


if __name__ == "__main__":
    # A host runs thousands of short commands: what they import is compiled once, whatever the environment says.
    sys.dont_write_bytecode = False
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Nothing is left to tidy up, and the interpreter's own end takes a tenth of a short command's time.
    os._exit(status)
