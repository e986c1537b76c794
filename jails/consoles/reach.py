"""What all that consoled has open in a jail begins and ends with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from jails.consoles.tickets import Opening
from jails.hosts import connect
from jails.hosts.connection import Connection, Stream
from jails.looks import looking

FAREWELL = 12.0
"""Seconds for what runs in a jail to end, longer than the host itself takes to kill it (jails.freebsd.console)."""


def inside(opening: Opening) -> tuple[int, Connection]:
    """The jail as it runs right now, proved to be the one that is meant. Raises looking.Refused, HostUnavailable,
    CommandTimeout."""
    connection = connect.connection(opening.jail.host)
    return looking.jid_of(connection, opening.jail), connection


async def let_go(stream: Stream) -> None:
    """The end of its input has the host end what is in the jail."""
    stream.end_input()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(_drained(stream), FAREWELL)
    stream.close()


async def _drained(stream: Stream) -> None:
    async def empty(read: Callable[[], Any]) -> None:
        while await read():
            pass

    await asyncio.gather(empty(stream.read), empty(stream.read_error))


async def first_of(tasks: list[asyncio.Task[None]], over: asyncio.Event) -> None:
    """Until one says that it is over, or all have come to their end. Raises what one of them has raised."""
    left, waiting = set(tasks), asyncio.create_task(over.wait())
    try:
        while left and not waiting.done():
            done, _ = await asyncio.wait([*left, waiting], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                left.discard(task)
                task.result()
    finally:
        waiting.cancel()


async def put_down(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
