"""The websockets of a console and of a followed log: bytes between a browser and consoled, not what they mean.

The page's origin and the session are asked here already, so that nobody else even reaches consoled, which asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.cookie import parse_cookie

from jails.consoles import frames, sessions
from panel.middleware import peer_address

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATIENCE = 10
"""Seconds for the first message, which brings the ticket."""
LONGEST = 1 << 20
"""Bytes of one message: a large paste."""
REFUSED, DONE, TRY_AGAIN = 4403, 1000, 1013
NO_SERVICE = {
    "open": "The console service does not run.",
    "follow": "The service that follows logs does not run.",
}


async def console(scope: Message, receive: Receive, send: Send) -> None:
    """/live/console"""
    await _serve(scope, receive, send, "open", ("ticket", "columns", "rows"))


async def log(scope: Message, receive: Receive, send: Send) -> None:
    """/live/log"""
    await _serve(scope, receive, send, "follow", ("ticket", "text"))


async def _serve(scope: Message, receive: Receive, send: Send, do: str, wanted: tuple[str, ...]) -> None:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get("origin", "")
    key = parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME, "")
    await receive()  # websocket.connect
    if origin not in settings.PAGE_ORIGINS or not await _is_signed_in(key):
        await send({"type": "websocket.close", "code": REFUSED})
        return
    await send({"type": "websocket.accept"})
    try:
        first = _said(await asyncio.wait_for(receive(), PATIENCE))
        reader, writer = await asyncio.open_unix_connection(settings.CONSOLED_SOCKET, limit=frames.LARGEST * 2)
    except (TimeoutError, frames.Malformed):
        await send({"type": "websocket.close", "code": REFUSED})
        return
    except OSError:
        await _end(send, {"ended": "service", "words": NO_SERVICE[do]}, TRY_AGAIN)
        return
    request = {name: first[name] for name in wanted if name in first}
    request |= {"do": do, "session": key, "origin": origin, "source": _source(scope, headers)}
    try:
        writer.write(frames.message(request))
        await _relay(receive, send, reader, writer)
    except ValueError:
        await send({"type": "websocket.close", "code": REFUSED})
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _relay(receive: Receive, send: Send, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one of the two hangs up: consoled learns of it by its socket, the browser by a close."""
    tasks = [asyncio.create_task(_to_browser(reader, send)), asyncio.create_task(_to_consoled(receive, writer))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        # A browser that is gone is no error of ours.
        with contextlib.suppress(OSError, RuntimeError):
            task.result()


async def _to_browser(reader: asyncio.StreamReader, send: Send) -> None:
    with contextlib.suppress(frames.Malformed):
        while (frame := await frames.read(reader)) is not None:
            kind, content = frame
            if kind == frames.DATA:
                await send({"type": "websocket.send", "bytes": content})
            else:
                await send({"type": "websocket.send", "text": content.decode()})
    await send({"type": "websocket.close", "code": DONE})


async def _to_consoled(receive: Receive, writer: asyncio.StreamWriter) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        content, text = event.get("bytes"), event.get("text")
        if len(content or text or "") > LONGEST:
            return
        if content:
            writer.write(frames.data(content))
        elif text:
            try:
                writer.write(frames.message(_said(event)))
            except (frames.Malformed, ValueError):
                return
        await writer.drain()


def _said(event: Message) -> dict[str, Any]:
    text = event.get("text")
    if not isinstance(text, str) or len(text) > 4096:
        raise frames.Malformed("expected a short text")
    return frames.parsed(text.encode())


async def _end(send: Send, said: dict[str, Any], code: int) -> None:
    await send({"type": "websocket.send", "text": json.dumps(said)})
    await send({"type": "websocket.close", "code": code})


@sync_to_async
def _is_signed_in(key: str) -> bool:
    close_old_connections()
    try:
        return sessions.owner(key) is not None
    finally:
        close_old_connections()


def _source(scope: Message, headers: dict[str, str]) -> str:
    """As the log has it of requests for pages."""
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = (scope.get("client") or ("",))[0] or ""
    request.META["HTTP_X_FORWARDED_FOR"] = headers.get("x-forwarded-for", "")
    return peer_address(request)
