"""What a kind of look is: one module in this folder reads one thing of a jail. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from jails.freebsd import jexec, timeout
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import CommandTimeout, Connection, Result

if TYPE_CHECKING:
    from jails.models import Jail

OUTPUT = 512 * 1024
"""Bytes of output that are taken of one command."""
RESULT = 256 * 1024
"""Bytes of JSON that are kept of one look."""


class Refused(Exception):
    """It cannot be looked at: a sentence for who asked."""


@dataclass(frozen=True)
class Place:
    """The jail where it is. `jid` is of the jail as it runs right now; 0 where the kind does not need it to run."""

    connection: Connection
    jail: Jail
    jid: int = 0
    seconds: float = 20
    begun: float = field(default_factory=time.monotonic)

    def on_host(self, argv: Argv, *, limit: int = OUTPUT) -> Result:
        """Run a command on the host, as root. Its paths and names must be the panel's own, never a tenant's."""
        return self._run(argv, limit)

    def inside(self, command: Sequence[str], *, limit: int = OUTPUT) -> Result:
        """Run a command in the running jail, as its root. What it prints is the tenant's: believe none of it."""
        if not self.jid:
            raise ValueError("this kind of look does not say that it needs the jail to run")
        return self._run(jexec.run(self.jid, command), limit)

    def _run(self, argv: Argv, limit: int) -> Result:
        left = self.seconds - (time.monotonic() - self.begun)
        if left < 1:
            raise CommandTimeout(self.seconds, Result(timeout.EXPIRED))
        # The connection gives up waiting; timeout(1) ends what still runs on the host.
        result = self.connection.run(Pipeline.of(timeout.run(left, argv)), timeout=left + 10, limit=limit)
        if result.rc in (timeout.EXPIRED, timeout.KILLED) and time.monotonic() - self.begun >= self.seconds - 1:
            raise CommandTimeout(self.seconds, result)
        return result


class Kind:
    """One kind of look. Subclasses are stateless; `get` finds them by name.

    name: as Look.kind stores it, and the module's name. action: what policy.py is asked for, of who asked and as of
    now. needs_running: whether it is refused for a jail that does not run. seconds: for all of its commands together.
    fresh: how long one answer serves all who ask. is_read: it reads what is in the tenant's files; everybody asks for
    themselves then, and that somebody who is not of its tenant did is an entry of the log.
    """

    name: ClassVar[str]
    action: ClassVar[str] = "inside.view"
    needs_running: ClassVar[bool] = False
    seconds: ClassVar[float] = 20
    fresh: ClassVar[timedelta] = timedelta(seconds=4)
    is_read: ClassVar[bool] = False

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, complete and checked, without looking at any host. Raises Refused.

        Asked by the view, and again by the worker.
        """
        return {}

    def detail(self, parameters: Mapping[str, Any]) -> str:
        """What is read, for the log."""
        return ""

    def look(self, place: Place, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """JSON values of at most RESULT bytes. Raises Refused; HostUnavailable and CommandTimeout may pass through."""
        raise NotImplementedError


HOLD_DATASETS = ("changes",)
"""Kinds that keep a dataset from being rolled back or destroyed for as long as they look: zfs diff holds a snapshot of
its own. None begins while an operation is at the dataset, and no operation while one of these is."""

KINDS = ("processes", "services", "logs", "log", "changes", "snapshot_files")


def get(name: str) -> Kind:
    """The kind of that name. Raises LookupError for any other name, whatever a row or a message says."""
    if name not in KINDS:
        raise LookupError(f"no kind of look is called {name!r}")
    kind: Kind = import_module(f"jails.looks.{name}").kind
    return kind
