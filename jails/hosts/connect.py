"""The connection to a host: made at first use, kept for this process, made anew when where it leads has changed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from django.conf import settings

from jails.hosts import keys
from jails.hosts.connection import Connection
from jails.hosts.local import LocalConnection
from jails.hosts.simulated_connection import SimulatedConnection
from jails.hosts.ssh import SSHConnection

if TYPE_CHECKING:
    from jails.models import Host

_Place = tuple[object, ...]
_kept: dict[int | None, tuple[_Place, Connection]] = {}
_lock = threading.Lock()


def connection(host: Host) -> Connection:
    """The connection to that host, shared by the threads of this process. Nothing is contacted before it is used."""
    place = _place(host)
    with _lock:
        kept = _kept.get(host.pk)
        if kept is not None and kept[0] == place:
            return kept[1]
        made = _make(host)
        _kept[host.pk] = (place, made)
    if kept is not None:
        kept[1].close()
    return made


def close_all() -> None:
    with _lock:
        connections = [kept for _, kept in _kept.values()]
        _kept.clear()
    for kept in connections:
        kept.close()


def _place(host: Host) -> _Place:
    return (host.kind, host.address, host.port, host.username, host.become, host.host_key, host.directory)


def _make(host: Host) -> Connection:
    if host.kind == "local":
        return LocalConnection(become=become(host))
    if host.kind == "simulated":
        return SimulatedConnection(host.directory)
    if host.kind == "ssh":
        username = host.username or "root"
        return SSHConnection(
            host.address,
            host.port,
            username,
            host.host_key,
            keys.private_key,
            become=become(host),
            networks=settings.HOST_NETWORKS,
        )
    raise ValueError(f"host {host.name}: no connection of kind {host.kind!r}")


def become(host: Host) -> tuple[str, ...]:
    """The words before each command that give it root's rights without a password; none where it has them."""
    return host.becomes_root_by


def _after_fork() -> None:
    # The parent goes on using its connections: the child must neither use nor close them.
    global _lock
    _lock = threading.Lock()
    for _, kept in _kept.values():
        if isinstance(kept, SSHConnection):
            kept.forget()
    _kept.clear()


os.register_at_fork(after_in_child=_after_fork)
