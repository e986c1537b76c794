"""A jail that another tool made, as its own files tell of it, and what those files are read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from jails.freebsd import rcconf
from jails.freebsd.command import Argv

THICK = "thick"
THIN = "thin"
BASE = "base"
HOOKS = frozenset(
    {"exec.prepare", "exec.prestart", "exec.created", "exec.poststart", "exec.prestop", "exec.poststop", "exec.release"}
)
"""Parameters of jail(8) that run commands on the host, as root."""


@dataclass(frozen=True)
class FileEdit:
    """One file of a tool before and after: the whole text, None where the file is not there."""

    path: str
    before: str | None = field(repr=False)
    after: str | None = field(repr=False)


@dataclass(frozen=True)
class ForeignJail:
    """What a tool says of one of its jails. Text is "" and a command () where the tool does not tell, or has none.

    manager: as jails.models.Jail.Manager has it. name: as the tool calls it. running_name: as jls(8) shows it while it
    runs. config: the file, or dataset, that defines it. files: all the files of the tool that are about it. root: its
    tree as the host sees it. kind: thick (a tree of its own), thin (a clone, or a release mounted below it), base (a
    shared base beside its own files), or "". release: of its userland. addresses: `iface|ip/prefix`, each part where it
    is known. vnet: whether it has a network stack of its own. boot: whether the host starts it, through the tool, when
    it boots (autostart says whether the tool would, were the tool itself started at boot).

    start, stop: the tool's own commands. autostart_off: the edits after which the tool does not start it at boot; the
    way back is each one's `before`. autostart_off_argv and autostart_on_argv: the same by the tool's own command where
    no text file holds it (CBSD's database); autostart_off is then empty. Neither where it is off already.

    parameters: what a jail.conf(5) of its own would say, name → values (none for a parameter without value), in the
    order to write them. notes: what such a file cannot say, or says
    otherwise than the tool does, in words. fstab: the lines for the file that `mount.fstab` names, where the tool keeps
    them in a form of its own; "" where parameters name the tool's file, or nothing is mounted.
    problems: why it is not to be taken over: what of its definition could not be understood, or what only the tool
    itself does for it. With any, it is shown, started and stopped through its tool, and no more.
    """

    manager: str
    name: str
    running_name: str
    config: str
    root: str = ""
    kind: str = ""
    release: str = ""
    hostname: str = ""
    addresses: tuple[str, ...] = ()
    vnet: bool = False
    boot: bool = False
    autostart: bool = False
    start: Argv = ()
    stop: Argv = ()
    autostart_off: tuple[FileEdit, ...] = field(default=(), repr=False)
    autostart_off_argv: Argv = ()
    autostart_on_argv: Argv = ()
    files: tuple[str, ...] = field(default=(), repr=False)
    dataset: str = ""
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False, repr=False)
    fstab: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """As a jail of jls(8) or of jail.conf(5) has it."""
        return self.root

    @property
    def hooks(self) -> tuple[str, ...]:
        """Names of the parameters that run commands on the host."""
        return tuple(name for name in self.parameters if name in HOOKS)


@dataclass(frozen=True)
class Evidence:
    """What the tools' jails are told from; pure data, all as of one moment.

    files: text by path. rc_conf: the text of all that rc(8) reads. datasets: name → where it is mounted, or "".
    origins: dataset → the snapshot it is a clone of. properties: dataset → user properties set on it. running: names
    of running jails. mounts: (device, path, type).
    """

    files: Mapping[str, str]
    rc_conf: str = ""
    datasets: Mapping[str, str] = field(default_factory=dict, hash=False)
    origins: Mapping[str, str] = field(default_factory=dict, hash=False)
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    running: Sequence[str] = ()
    mounts: Sequence[tuple[str, str, str]] = ()

    @cached_property
    def rc_values(self) -> dict[str, str]:
        """Variables of rc.conf that are certain without running it."""
        read = rcconf.parse(self.rc_conf)
        return {} if read.reads else {name: value for name, value in read.values.items() if name not in read.unclear}

    @cached_property
    def dataset_by_mountpoint(self) -> dict[str, str]:
        return {path: name for name, path in self.datasets.items() if path}
