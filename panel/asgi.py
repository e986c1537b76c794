"""What gunicorn serves streams from: `gunicorn -k asgi panel.asgi`.

Django's ASGI handler answers HTTP alone, so websockets are routed here, to plain ASGI callables by path.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Websocket = Callable[[Message, Receive, Send], Awaitable[None]]

NOT_FOUND = 4404
"""Close code for a path that nothing answers (codes from 4000 on are an application's own)."""

pages = get_asgi_application()


async def _console(scope: Message, receive: Receive, send: Send) -> None:
    from panel.live_console import console  # it needs the applications, which are ready only now

    await console(scope, receive, send)


async def _log(scope: Message, receive: Receive, send: Send) -> None:
    from panel.live_console import log

    await log(scope, receive, send)


websockets: dict[str, Websocket] = {"/live/console": _console, "/live/log": _log}
"""The callable behind each websocket path."""


async def application(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await websockets.get(scope["path"], _refuse)(scope, receive, send)
    else:
        await pages(scope, receive, send)


async def _refuse(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": NOT_FOUND})


async def _lifespan(receive: Receive, send: Send) -> None:
    while (event := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{event}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
