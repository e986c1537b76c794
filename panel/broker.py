"""The default broker: kombu's transport through files in a folder, with messages that appear and are taken in one step.

Kombu's own lets a reader see a message that is still being written, which ends the worker, and takes one by a move
that between file systems is a copy, which two readers can both make.
"""

import contextlib
import logging
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)

LEFT_OVER = 3600
"""Seconds after which what a process that died had begun to write or to read is removed."""


class Channel(filesystem.Channel):
    """A message is a file ID.QUEUE.msg; ids sort by the time of sending."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for pattern in ("*.draft", "*.taken"):
            for path in Path(self.data_folder_in).glob(pattern):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > LEFT_OVER:
                        path.unlink()

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:
        name = f"{time.time_ns():020}_{uuid.uuid4()}.{queue}"
        draft = Path(self.data_folder_out, f"{name}.draft")
        draft.write_text(dumps(payload))
        draft.rename(draft.with_suffix(".msg"))

    def _get(self, queue: str) -> dict[str, Any]:
        for name in sorted(os.listdir(self.data_folder_in)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = Path(self.data_folder_in, f"{name}.taken")
            try:
                Path(self.data_folder_in, name).rename(taken)
            except FileNotFoundError:
                continue  # another worker was quicker
            message = self._read(taken)
            taken.unlink()
            if message is not None:
                return message
        raise Empty

    def _read(self, path: Path) -> dict[str, Any] | None:
        """None for what is no message: it would end the worker, and the next one after it."""
        try:
            message: dict[str, Any] = loads(path.read_text())
            self.Message(message, channel=self)
            if not isinstance(message.get("body"), str) or not isinstance(message.get("headers"), dict):
                raise TypeError("expected a body and headers")
        except Exception as error:
            log.warning("%s holds no message, and is thrown away: %r", path.name, error)
            return None
        return message


class Transport(filesystem.Transport):
    Channel = Channel
