"""A command's output as it is kept and shown: bounded, without secrets, safe to display.

Output is taken apart into lines, and a line is shown only when it is complete, so that no secret slips through
because it came in two pieces.
"""

from __future__ import annotations

import codecs
import re

HEAD = 16_000
TAIL = 48_000
"""Characters kept of the beginning and of the end."""
LINE = 8_000
"""A longer line is broken, so that output without any newline cannot fill the memory."""
SHORTEST_SECRET = 4
HIDDEN = "[hidden]"

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")
_SECRETS = (
    re.compile(r"\$(?:1|2[abxy]?|5|6|y|argon2[a-z]*)\$[./A-Za-z0-9$=,+-]{8,}"),  # crypt(3)
    re.compile(r"(?i)(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?:(?<=password=)|(?<=passphrase=)|(?<=secret=)|(?<=token=)|(?<=authorization: ))\S.*"),
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Controls, and the characters that turn the direction of text round or are not seen at all.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")


def safe(text: str) -> str:
    """Without terminal escapes; other control characters as the visible `\\x1b`. Newlines and tabs stay."""
    text = _ESCAPES.sub("", text).encode("utf-8", "replace").decode()
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class Transcript:
    """Feed it bytes; `text` is what may be kept. `secrets` are texts that must not appear, line by line."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        self._secrets = sorted((line for line in lines if len(line) >= SHORTEST_SECRET), key=len, reverse=True)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._in_key = False
        self._head = ""
        self._tail = ""
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        self._pending += self._decoder.decode(data)
        *lines, self._pending = re.split(r"\r\n|\n|\r(?=.)", self._pending, flags=re.DOTALL)
        for line in lines:
            self._add(line)
        while len(self._pending) > 2 * LINE:
            self._pending = self._hide(self._pending)  # before the cut, which may go through a secret
            self._add(self._pending[:LINE])
            self._pending = self._pending[LINE:]

    def finish(self) -> str:
        self._pending += self._decoder.decode(b"", final=True)
        if self._pending:
            self._add(self._pending)
            self._pending = ""
        return self.text

    @property
    def text(self) -> str:
        if not self._dropped:
            return self._head + self._tail
        return f"{self._head}[... {self._dropped} characters left out ...]\n{self._tail}"

    def _add(self, line: str) -> None:
        line = self.clean(line)
        if not line and self._in_key:
            return
        line += "\n"
        if not self._tail and len(self._head) + len(line) <= HEAD:
            self._head += line
            return
        self._tail += line
        if len(self._tail) > TAIL + LINE:
            cut = len(self._tail) - TAIL
            self._dropped += cut
            self._tail = self._tail[cut:]

    def clean(self, line: str) -> str:
        """One line without secrets and safe to show."""
        if self._in_key:
            if not _KEY_ENDS.search(line):
                return ""
            self._in_key = False
            return HIDDEN
        begins = _KEY_BEGINS.search(line)
        if begins:
            self._in_key = not _KEY_ENDS.search(line, begins.end())
            return safe(line[: begins.start()]) + HIDDEN
        return safe(self._hide(line))

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for pattern in _SECRETS:
            text = pattern.sub(HIDDEN, text)
        return text
