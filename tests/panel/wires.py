"""Websockets asked without a server: the ASGI application and consoled in one loop, all on the test's own connection of
the database. The hosts do not answer: whoever is let in learns that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings

from jails.consoles import reach, server
from jails.hosts.connection import HostUnavailable, Unavailable
from panel import asgi, live_console

SECONDS = 20


@dataclass(frozen=True)
class Asked:
    """`ticket` is called when it is its turn. Without `origin` a browser was not what asked."""

    path: str
    cookie: str
    ticket: Callable[[], str]
    origin: str = settings.PAGE_ORIGINS[0]


@dataclass
class Heard:
    """`accepted`: whether the handshake was; `said`: all messages; `code` of the close."""

    accepted: bool = False
    said: list[dict[str, Any]] = field(default_factory=list)
    code: int = 0

    @property
    def outcome(self) -> str:
        """`handshake`: not even opened; `refused`; `let in`: as far as the host, which does not answer."""
        if not self.accepted:
            return "handshake"
        last = self.said[-1] if self.said else {}
        return "refused" if "refused" in last else "let in" if last.get("ended") == "host" else f"neither: {self.said}"


@contextmanager
def wired(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[Callable[[Sequence[Asked]], list[Heard]]]:
    """A function that asks one after another."""

    def unreachable(host: Any) -> None:
        raise HostUnavailable(Unavailable.UNREACHABLE, "no route to it")

    # The test's transaction is on the connection that these would close.
    patch.setattr(live_console, "close_old_connections", lambda: None)
    patch.setattr(reach.connect, "connection", unreachable)
    patch.setattr(settings, "CONSOLED_SOCKET", str(folder / "c.sock"))
    patch.setattr(settings, "CONSOLE_RECORDINGS", folder / "recordings")
    yield async_to_sync(_ask_all)


async def _ask_all(asked: Sequence[Asked]) -> list[Heard]:
    consoled = server.Consoled()

    async def here(function: Any, *words: Any, **named: Any) -> Any:
        return await sync_to_async(function)(*words, **named)

    consoled.in_database = here  # type: ignore[method-assign]
    listening = await asyncio.start_unix_server(consoled.connected, path=settings.CONSOLED_SOCKET)
    try:
        return [await asyncio.wait_for(_ask(one), SECONDS) for one in asked]
    finally:
        listening.close()
        await asyncio.gather(*consoled.tasks)
        for pool in (consoled.database, consoled.hosts, consoled.commands):
            pool.shutdown()
        Path(settings.CONSOLED_SOCKET).unlink(missing_ok=True)


async def _ask(asked: Asked) -> Heard:
    heard, events = Heard(), asyncio.Queue[dict[str, Any]]()
    token = await sync_to_async(asked.ticket)()
    first = {"ticket": token, "columns": 80, "rows": 24, "text": ""}
    events.put_nowait({"type": "websocket.connect"})
    events.put_nowait({"type": "websocket.receive", "text": json.dumps(first)})

    async def send(message: Any) -> None:
        if message["type"] == "websocket.accept":
            heard.accepted = True
        elif message["type"] == "websocket.close":
            heard.code = message["code"]
        else:
            heard.said.append(json.loads(message["text"]))

    headers = [(b"origin", asked.origin.encode())] if asked.origin else []
    if asked.cookie:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={asked.cookie}".encode()))
    scope = {"type": "websocket", "path": asked.path, "headers": headers, "client": ("192.0.2.77", 1)}
    await asgi.application(scope, events.get, send)
    return heard
