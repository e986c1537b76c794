"""Split the text of a jail.conf(5) file into the tokens of usr.sbin/jail/jaillex.l.

The scanner works on bytes, as jail(8) does: texts are carried as Latin-1 strings, one character a byte
(`to_bytes_text`, `from_bytes_text`), so that offsets, escapes and bytes that are not UTF-8 come out as on the host.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

END = "end"
STR, STR1, VAR, VAR1 = "STR", "STR1", "VAR", "VAR1"
UNKNOWN = "unknown"

_SPACE = re.compile(r"[ \t\r\n]+")
_LINE = re.compile(r"[^\n]*")
_ATOM = re.compile(r"[A-Za-z0-9_!%&()\-.:<>?@\[\]^`|~]+")
_ESCAPE = re.compile(r"\\(?:[0-7]{1,3}|x[0-9A-Fa-f]{1,2}|[\s\S])")
_SINGLE = re.compile(r"'(?:[^'\\]|\\[\s\S])*'")
_SINGLE_OPEN = re.compile(r"'(?:[^\n'\\]|\\[^\n])*")
_DOUBLE = re.compile(r'"(?:[^"\\]|\\[\s\S])*"')
_DOUBLE_OPEN = re.compile(r'"(?:[^\n"\\]|\\[^\n])*')
_DOUBLE_REST = re.compile(r'[^"$\\](?:[^"\\]|\\[\s\S])*"')
_NAME = re.compile(r"\$[A-Za-z_][A-Za-z_0-9]*")
# flex takes the longest match, and a backslash may stand for itself or begin an escape: so a character that would end
# the name belongs to it whenever a backslash comes just before.
_BRACED = re.compile(r"\$\{(?:[^\n{}]|(?<=\\)[\n{}])*\}")
_BRACED_OPEN = re.compile(r"\$\{(?:[^\n{}]|(?<=\\)[{}])*")
_BRACED_IN_STRING = re.compile(r'\$\{(?:[^\n"{}]|(?<=\\)[\n"{}])*\}')
_BRACED_IN_STRING_OPEN = re.compile(r'\$\{(?:[^\n"{}]|(?<=\\)["{}])*')

_CONTROL = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_ESCAPE_OR_DOLLAR = re.compile(r"\\[\s\S]?|\$")
_IN_TEXT = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{0,2})|([\s\S])?)")


def to_bytes_text(text: str) -> str:
    """The UTF-8 bytes of `text` as a string of characters U+0000 to U+00FF. Never raises."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("latin-1")


def from_bytes_text(text: str) -> str:
    """The reverse of `to_bytes_text`; a byte that is no UTF-8 becomes a lone surrogate (PEP 383)."""
    if text.isascii():
        return text
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Token:
    """`value` has its escapes undone; `start` and `end` are its place in the text, `line` the one where it ends.

    `closed` is `end`, or behind the quote that follows at once and closes the string whose last piece this is.
    """

    kind: str
    value: str
    start: int
    end: int
    line: int
    closed: int


def unescape(text: str) -> str:
    """Undo the backslash escapes of a string. A NUL ends it, as in C."""
    if "\\" in text:
        text = _IN_TEXT.sub(_unescaped, text)
    return text.split("\0", 1)[0]


def _unescaped(match: re.Match[str]) -> str:
    octal, hexadecimal, other = match.groups()
    if octal is not None:
        return chr(int(octal, 8) & 0xFF)
    if hexadecimal is not None:
        return chr(int(hexadecimal or "0", 16))
    return _CONTROL.get(other, other) if other else "\0"


def first_variable(text: str, start: int, end: int) -> int:
    """The offset of the first `$` between two places that no backslash precedes, or -1."""
    found = _ESCAPE_OR_DOLLAR.finditer(text, start, end)
    return next((match.start() for match in found if match[0] == "$"), -1)


class Lexer:
    """Reads tokens one by one; `complain(message, offset, line)` hears about half-formed strings and comments."""

    def __init__(self, text: str, complain: Callable[[str, int, int], None]) -> None:
        self.text = text
        self.complain = complain
        self.position = 0
        self.line = 1
        self.comments: list[tuple[int, int]] = []
        self._joined = False
        self._in_string = False
        self._string_end = 0  # where the string ends that was seen last, so that each is scanned once

    def next(self) -> Token:
        """The next token; kind END at the end of the text, and for ever after it."""
        while self.position < len(self.text):
            token = self._scan_string() if self._in_string else self._scan()
            if token is not None:
                return token
        end = len(self.text)
        return Token(END, "", end, end, self.line, end)

    def _advance(self, end: int) -> int:
        start, self.position = self.position, end
        self.line += self.text.count("\n", start, end)
        return start

    def _skip(self, end: int) -> Token | None:
        self._advance(end)
        self._joined = False
        return None

    def _skip_comment(self, end: int) -> Token | None:
        self.comments.append((self.position, end))
        return self._skip(end)

    def _token(self, kind: str, value: str, end: int) -> Token:
        start = self._advance(end)
        closes = self._in_string and self.text.startswith('"', end)
        return Token(kind, value, start, end, self.line, end + closes)

    def _reserved(self, end: int) -> Token:
        self._joined = False
        kind = self.text[self.position : end]
        return self._token(kind, kind, end)

    def _string(self, value: str, end: int) -> Token:
        kind = STR1 if self._joined else STR
        self._joined = True
        return self._token(kind, value, end)

    def _variable(self, name: str, end: int) -> Token:
        kind = VAR1 if self._joined else VAR
        self._joined = True
        return self._token(kind, name, end)

    def _scan(self) -> Token | None:
        text, at = self.text, self.position
        character = text[at]
        if match := _ATOM.match(text, at):
            return self._string(match[0], match.end())
        if match := _SPACE.match(text, at):
            return self._skip(match.end())
        if character in ",;={}":
            return self._reserved(at + 1)
        if character == "#" or text.startswith("//", at):
            return self._skip_comment(_end(_LINE, text, at))
        if text.startswith("/*", at):
            return self._comment()
        if text.startswith("+=", at):
            return self._reserved(at + 2)
        if character == "'":
            return self._single()
        if character == '"':
            return self._double()
        if character == "$":
            return self._dollar(_BRACED, _BRACED_OPEN)
        if character in "*+/\\":
            return self._plain()
        return self._other(character)

    def _scan_string(self) -> Token | None:
        """Inside double quotes, after a variable."""
        text, at = self.text, self.position
        if text[at] == '"':
            self._in_string = False
            self._advance(at + 1)
            return None
        if text[at] == "$":
            return self._dollar(_BRACED_IN_STRING, _BRACED_IN_STRING_OPEN)
        if text[at] == "\\":
            return self._plain()
        if at >= self._string_end:
            match = _DOUBLE_REST.match(text, at)
            self._string_end = match.end() if match else at
        if at < self._string_end:
            return self._quoted(at, self._string_end)
        if match := _ATOM.match(text, at):
            return self._string(match[0], match.end())
        if text[at] in "*+/":
            return self._plain()
        self._in_string = False
        return None

    def _plain(self) -> Token:
        """An escape outside quotes, or one of the characters that are words by themselves."""
        match = _ESCAPE.match(self.text, self.position)
        end = match.end() if match else self.position + 1
        return self._string(unescape(self.text[self.position : end]), end)

    def _other(self, character: str) -> Token:
        # The scanner returns the byte itself: NUL, and on machines where char is signed every byte from 0x80 up,
        # reads as the end of the file to the parser.
        kind = END if character == "\0" or character >= "\x80" else UNKNOWN
        return self._token(kind, character, self.position + 1)

    def _comment(self) -> Token | None:
        end = self.text.find("*/", self.position + 2)
        if end >= 0:
            return self._skip_comment(end + 2)
        return self._unterminated("comment", len(self.text))

    def _single(self) -> Token | None:
        match = _SINGLE.match(self.text, self.position)
        if match is None:
            return self._unterminated("string", _end(_SINGLE_OPEN, self.text, self.position))
        return self._string(unescape(match[0][1:-1]), match.end())

    def _double(self) -> Token | None:
        match = _DOUBLE.match(self.text, self.position)
        if match is None:
            return self._unterminated("string", _end(_DOUBLE_OPEN, self.text, self.position))
        self._string_end = match.end()
        return self._quoted(self.position + 1, match.end())

    def _quoted(self, start: int, end: int) -> Token:
        """The text of a string up to its closing quote, just before `end`, or up to its first variable."""
        variable = first_variable(self.text, start, end - 1)
        self._in_string = variable >= 0
        if variable < 0:
            return self._string(unescape(self.text[start : end - 1]), end)
        return self._string(unescape(self.text[start:variable]), variable)

    def _dollar(self, braced: re.Pattern[str], opened: re.Pattern[str]) -> Token | None:
        text, at = self.text, self.position
        if match := _NAME.match(text, at):
            return self._variable(match[0][1:], match.end())
        if not text.startswith("${", at):
            return self._plain()
        match, end = braced.match(text, at), _end(opened, text, at)
        if match is None or end > match.end():
            return self._unterminated("variable", end)
        return self._variable(unescape(match[0][2:-1]), match.end())

    def _unterminated(self, what: str, end: int) -> Token | None:
        start = self._advance(end)
        self.complain(f"unterminated {what}", start, self.line)
        return None


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
