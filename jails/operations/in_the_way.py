"""Notes on a plan that starts jails: who holds or covers their addresses, as of the last survey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from jails.freebsd.sockstat import Socket
from jails.hosts import ports, surveying
from jails.models import Host, Jail
from jails.operations import power

SHOWN = 6
"""Sentences a plan shows before it counts the rest."""


def notes(host: Host, jails: Mapping[str, Iterable[str]], tenant_id: int | None = None) -> tuple[str, ...]:
    """`jails`: their addresses by name. A tenant is told that another one's jail is in the way, and not which."""
    survey = surveying.survey_of(host)
    if survey is None or "sockets" in survey.missing:
        return ()
    own = set(jails)
    if tenant_id is not None:
        own |= set(Jail.objects.filter(host=host, tenant_id=tenant_id).values_list("name", flat=True))
    hidden = [_hidden(socket) if _is_secret(socket, tenant_id, own) else socket for socket in survey.sockets]
    found: dict[str, None] = {}
    for name, addresses in jails.items():
        for sentence in ports.blocking(hidden, name, addresses):
            found[sentence if len(jails) == 1 else f"{name}: {sentence}"] = None
    shown = list(found)
    more = (f"{len(shown) - SHOWN} more such: see the ports of {host.name}.",) if len(shown) > SHOWN else ()
    return (*shown[:SHOWN], *more)


def before_start(host: Host, jails: Sequence[power.Found]) -> tuple[str, ...]:
    """Who is in the way of what jails that are about to start may want to listen on."""
    tenants = {found.row.tenant_id for found in jails}
    # Only staff can start jails of several owners: they are told all.
    tenant = tenants.pop() if len(tenants) == 1 else None
    return notes(host, {found.running_name: power.addresses(found) for found in jails}, tenant)


def _is_secret(socket: Socket, tenant_id: int | None, own: set[str]) -> bool:
    return bool(socket.jail) and tenant_id is not None and socket.jail not in own


def _hidden(socket: Socket) -> Socket:
    return replace(socket, jail=ports.SOMEBODY, command="", user="", pid=None)
