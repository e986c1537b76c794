"""A real sshd of OpenSSH on loopback, with its own keys and configuration."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from jails.hosts import keys
from jails.hosts.ssh import SSHConnection

PROGRAM = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "sshd"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def make_key(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return path


class Sshd:
    """`command`: the forced command of the one authorized key; without it the login shell runs what it is sent."""

    def __init__(self, directory: Path, *, command: str = "", options: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.port = free_port()
        self.user = getpass.getuser()
        self.key_directory = directory / "worker"
        self.options = options
        self.process: subprocess.Popen | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.new_host_key()
        self.authorize(keys.public_key(self.key_directory), command)

    def new_host_key(self, kind: str = "ed25519") -> None:
        for path in self.directory.glob("host_key*"):
            path.unlink()
        make_key(self.directory / "host_key", kind)

    @property
    def host_key(self) -> str:
        return (self.directory / "host_key.pub").read_text()

    def authorize(self, line: str, command: str = "") -> None:
        quoted = command.replace('"', '\\"')
        prefix = f'restrict,command="{quoted}" ' if command else ""
        (self.directory / "authorized_keys").write_text(f"{prefix}{line}\n")

    def start(self) -> "Sshd":
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.directory / "sshd_config"
        lines = (
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.directory}/host_key",
            f"AuthorizedKeysFile {self.directory}/authorized_keys",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            *self.options,
            "PermitRootLogin prohibit-password",
        )
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [PROGRAM, "-D", "-e", "-f", config], stderr=(self.directory / "log").open("ab"), start_new_session=True
        )
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"sshd did not start: {(self.directory / 'log').read_text()}")

    def kill_sessions(self) -> None:
        """End the processes that serve connections, as a broken network would; what they started goes on."""
        assert self.process is not None
        for pid in _descendants(self.process.pid):
            if _name(pid).startswith("sshd"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop_sessions(self) -> list[int]:
        """Have the processes that serve connections do nothing, until they get SIGCONT."""
        assert self.process is not None
        pids = [pid for pid in _descendants(self.process.pid) if _name(pid).startswith("sshd")]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return pids

    def stop(self) -> None:
        if self.process is None:
            return
        self.kill_sessions()
        self.process.kill()
        self.process.wait()
        self.process = None

    def connection(self, **options: object) -> SSHConnection:
        values = {
            "address": "127.0.0.1",
            "port": self.port,
            "username": self.user,
            "host_key": self.host_key,
            "key": lambda: keys.private_key(self.key_directory),
            "connect_timeout": 5.0,
        }
        return SSHConnection(**{**values, **options})


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
