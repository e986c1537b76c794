"""What sh(1), printf(1), echo(1) and test(1) work out without the host's files: pure functions over words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}


def echo(words: list[str]) -> bytes:
    """sh(1)'s echo: -n and -e; nothing is an escape without -e."""
    newline, escapes = True, False
    words = list(words)
    while words and words[0] in ("-n", "-e"):
        newline, escapes = newline and words[0] != "-n", escapes or words[0] == "-e"
        words.pop(0)
    text = os.fsencode(" ".join(words))
    if escapes:
        text, stopped = unescape(text, octal_zero=True)
        newline = newline and not stopped
    return text + (b"\n" if newline else b"")


def unescape(text: bytes, *, octal_zero: bool = False) -> tuple[bytes, bool]:
    """Backslash escapes of printf(1); whether a \\c ended it. With octal_zero (for %b) an octal is \\0ooo or \\ooo."""
    out, at = bytearray(), 0
    while at < len(text):
        if text[at] != 92 or at + 1 >= len(text):
            out.append(text[at])
            at += 1
            continue
        letter = chr(text[at + 1])
        if letter == "c":
            return bytes(out), True
        if letter in _ESCAPES:
            out.append(_ESCAPES[letter])
            at += 2
        elif letter in "01234567":
            start = at + 1
            limit = 4 if octal_zero and letter == "0" else 3
            end = start
            while end < len(text) and end < start + limit and chr(text[end]) in "01234567":
                end += 1
            out.append(int(text[start:end], 8) & 255)
            at = end
        else:
            out.append(92)
            at += 1
    return bytes(out), False


_CONVERSION = re.compile(rb"%(?P<flags>[-+ #0]*)(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?(?P<kind>[a-zA-Z%])", re.S)


def printf(words: list[str]) -> tuple[bytes, int, str]:
    """printf(1) of a format and arguments: what it prints, its status and its complaint."""
    if not words:
        return b"", 2, "usage: printf format [arguments ...]\n"
    form, arguments = os.fsencode(words[0]), list(words[1:])
    out, problems = bytearray(), ""
    while True:
        before = len(arguments)
        text, stopped, problem = _printf_once(form, arguments)
        out += text
        problems += problem
        if stopped or not arguments or len(arguments) == before:
            return bytes(out), 1 if problems else 0, problems


def _printf_once(form: bytes, arguments: list[str]) -> tuple[bytes, bool, str]:
    out, at, problems = bytearray(), 0, ""
    while at < len(form):
        percent = form.find(b"%", at)
        plain, stopped = unescape(form[at : percent if percent >= 0 else None])
        out += plain
        if stopped or percent < 0:
            return bytes(out), stopped, problems
        found = _CONVERSION.match(form, percent)
        if found is None:
            return bytes(out), True, problems + "printf: missing format character\n"
        at = found.end()
        if found["kind"] == b"%":
            out += b"%"
            continue
        width = _star(found["width"], arguments)
        precision = _star(found["precision"], arguments)
        text, stopped, problem = _convert(found["kind"].decode(), found["flags"].decode(), width, precision, arguments)
        out += text
        problems += problem
        if stopped:
            return bytes(out), True, problems
    return bytes(out), False, problems


def _star(given: bytes | None, arguments: list[str]) -> int | None:
    if given == b"*":
        return int(arguments.pop(0)) if arguments else 0
    if given is None:
        return None
    return int(given or 0)


def _convert(
    kind: str, flags: str, width: int | None, precision: int | None, arguments: list[str]
) -> tuple[bytes, bool, str]:
    argument = arguments.pop(0) if arguments else None
    problem, stopped = "", False
    if kind in "sbc":
        text = os.fsencode(argument or "")
        if kind == "b":
            text, stopped = unescape(text, octal_zero=True)
        text = text[:1] if kind == "c" else text if precision is None else text[:precision]
        return _pad(text, flags.replace("0", ""), width), stopped, ""
    if kind not in "diuxXo":
        return b"", True, f"printf: illegal format character {kind}\n"
    value, problem = _number(argument)
    if kind in "diu":
        digits = str(abs(value) if kind in "di" or value >= 0 else value % (1 << 64))
    else:
        digits = format(value % (1 << 64), kind)
        digits = {"x": "0x", "X": "0X", "o": "0"}[kind] + digits if "#" in flags and value else digits
    digits = digits.rjust(precision or 0, "0")
    sign = "-" if kind in "di" and value < 0 else "+" if "+" in flags and kind in "di" else " " if " " in flags else ""
    if "0" in flags and "-" not in flags and precision is None:
        digits = digits.rjust((width or 0) - len(sign), "0")
    return _pad((sign + digits).encode(), flags, width), False, problem


def _pad(text: bytes, flags: str, width: int | None) -> bytes:
    return text.ljust(width or 0) if "-" in flags else text.rjust(width or 0)


def _number(text: str | None) -> tuple[int, str]:
    if not text:
        return 0, "" if text is None else f"printf: {text}: expected numeric value\n"
    if text[0] in "'\"":
        return ord(text[1]) if len(text) > 1 else 0, ""
    found = re.match(r"\s*[-+]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", text)
    if found is None:
        return 0, f"printf: {text}: expected numeric value\n"
    digits = found[0].strip().lower()
    sign, digits = (-1, digits[1:]) if digits.startswith("-") else (1, digits.lstrip("+"))
    value = int(digits, 16) if digits.startswith("0x") else int(digits, 8) if digits.startswith("0") else int(digits)
    rest = "" if found.end() == len(text) else f"printf: {text}: not completely converted\n"
    return sign * value, rest


class TestFault(Exception):
    """test(1) cannot read its words; status 2."""


def test(words: list[str], file_test: Callable[[str, str], bool]) -> bool:
    """test(1). `file_test("f", path)` answers the questions about files. Raises TestFault."""
    words = list(words)
    if len(words) == 3 and words[1] in _BINARY:
        return _binary(words[0], words[1], words[2], file_test)
    if len(words) == 4 and words[0] == "!":
        return not test(words[1:], file_test)
    if len(words) <= 1:
        return bool(words and words[0])
    at = _Test(words, file_test)
    answer = at.either()
    if at.at < len(words):
        raise TestFault(f"{words[at.at]}: unexpected operator")
    return answer


_BINARY = frozenset("= == != < > -eq -ne -lt -le -gt -ge -nt -ot -ef".split())
_UNARY = frozenset("-b -c -d -e -f -g -h -k -L -n -O -G -p -r -S -s -t -u -w -x -z".split())


class _Test:
    def __init__(self, words: list[str], file_test: Callable[[str, str], bool]) -> None:
        self.words = words
        self.file_test = file_test
        self.at = 0

    def peek(self, offset: int = 0) -> str | None:
        place = self.at + offset
        return self.words[place] if place < len(self.words) else None

    def either(self) -> bool:
        answer = self.both()
        while self.peek() == "-o":
            self.at += 1
            other = self.both()
            answer = answer or other
        return answer

    def both(self) -> bool:
        answer = self.negated()
        while self.peek() == "-a":
            self.at += 1
            other = self.negated()
            answer = answer and other
        return answer

    def negated(self) -> bool:
        if self.peek() == "!" and self.peek(1) is not None and self.peek(1) not in _BINARY:
            self.at += 1
            return not self.negated()
        return self.primary()

    def primary(self) -> bool:
        word = self.peek()
        if word is None:
            raise TestFault("argument expected")
        if self.peek(1) in _BINARY and self.peek(2) is not None:
            left, operator, right = self.words[self.at : self.at + 3]
            self.at += 3
            return _binary(left, operator, right, self.file_test)
        if word == "(":
            self.at += 1
            answer = self.either()
            if self.peek() != ")":
                raise TestFault("closing paren expected")
            self.at += 1
            return answer
        if word in _UNARY and self.peek(1) is not None:
            self.at += 2
            return _unary(word[1], self.words[self.at - 1], self.file_test)
        self.at += 1
        return bool(word)


def _unary(letter: str, word: str, file_test: Callable[[str, str], bool]) -> bool:
    if letter in "nz":
        return bool(word) == (letter == "n")
    return file_test(letter, word)


def _binary(left: str, operator: str, right: str, file_test: Callable[[str, str], bool]) -> bool:
    if operator in ("=", "=="):
        return left == right
    if operator == "!=":
        return left != right
    if operator in "<>":
        return left < right if operator == "<" else left > right
    if operator in ("-nt", "-ot", "-ef"):
        return file_test(operator[1:], f"{left}\0{right}")
    numbers = []
    for word in (left, right):
        if not re.fullmatch(r"\s*[-+]?[0-9]+\s*", word):
            raise TestFault(f"{word}: bad number")
        numbers.append(int(word))
    one, two = numbers
    return {
        "-eq": one == two,
        "-ne": one != two,
        "-lt": one < two,
        "-le": one <= two,
        "-gt": one > two,
        "-ge": one >= two,
    }[operator]
