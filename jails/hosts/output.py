"""Keeping what a command prints, within bounds."""

from __future__ import annotations

from jails.hosts.connection import OnOutput


class Output:
    """Collects stdout and stderr, at most `limit` bytes of each; what comes after is dropped, and said."""

    def __init__(self, limit: int, on_output: OnOutput | None = None) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.truncated = False
        self._limit = limit
        self._on_output = on_output

    def out(self, data: bytes) -> None:
        self._keep(self.stdout, data)

    def err(self, data: bytes) -> None:
        self._keep(self.stderr, data)

    def _keep(self, kept: bytearray, data: bytes) -> None:
        if not data:
            return
        room = max(0, self._limit - len(kept))
        kept += data[:room]
        if len(data) > room:
            self.truncated = True
        if self._on_output is not None:
            self._on_output(data)
