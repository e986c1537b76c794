"""`$((...))` of sh(1): integers, variables, the usual operators and assignments."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|\d+|[A-Za-z_]\w*|<<=|>>=|&&|\|\||[-+*/%&|^]=|<<|>>|[=!<>]=|[-+*/%()<>!~&|^?:=])"
)
_LEVELS = (
    ("||",),
    ("&&",),
    ("|",),
    ("^",),
    ("&",),
    ("==", "!="),
    ("<", "<=", ">", ">="),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)


class ArithmeticFault(Exception):
    """The text is no expression, or divides by zero."""


def calculate(text: str, variables: dict[str, str]) -> int:
    """The value of an expression; assignments change `variables`. 64 bits, as intmax_t."""
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ArithmeticFault("syntax error")
        tokens.append(found[1])
        at = found.end()
    if not tokens:
        return 0
    parser = _Expression(tokens, variables)
    value = parser.assignment()
    if parser.tokens:
        raise ArithmeticFault("syntax error")
    return value


class _Expression:
    def __init__(self, tokens: list[str], variables: dict[str, str]) -> None:
        self.tokens = tokens[::-1]
        self.variables = variables

    def peek(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def next(self) -> str:
        if not self.tokens:
            raise ArithmeticFault("syntax error")
        return self.tokens.pop()

    def assignment(self) -> int:
        if (
            len(self.tokens) > 1
            and re.fullmatch(r"[A-Za-z_]\w*", self.peek())
            and self.tokens[-2] in ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
        ):
            name, operator = self.next(), self.next()
            value = self.assignment()
            if operator != "=":
                value = _apply(operator[:-1], self._variable(name), value)
            self.variables[name] = str(value)
            return value
        return self.conditional()

    def conditional(self) -> int:
        value = self.binary(0)
        if self.peek() != "?":
            return value
        self.next()
        one = self.assignment()
        if self.next() != ":":
            raise ArithmeticFault("syntax error")
        other = self.conditional()
        return one if value else other

    def binary(self, level: int) -> int:
        if level == len(_LEVELS):
            return self.unary()
        value = self.binary(level + 1)
        while self.peek() in _LEVELS[level]:
            operator = self.next()
            value = _apply(operator, value, self.binary(level + 1))
        return value

    def unary(self) -> int:
        word = self.next()
        if word in ("+", "-", "!", "~"):
            value = self.unary()
            return {"+": value, "-": -value, "!": int(not value), "~": ~value}[word]
        if word == "(":
            value = self.assignment()
            if self.next() != ")":
                raise ArithmeticFault("syntax error")
            return value
        if word[0].isdigit():
            return _integer(word)
        if re.fullmatch(r"[A-Za-z_]\w*", word):
            return self._variable(word)
        raise ArithmeticFault("syntax error")

    def _variable(self, name: str) -> int:
        text = self.variables.get(name, "").strip()
        if not re.fullmatch(r"[-+]?(0[xX][0-9a-fA-F]+|\d+)?", text):
            raise ArithmeticFault("variable conversion error")
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("+-")
        return sign * _integer(digits) if digits else 0


def _integer(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text, 16)
    try:
        return int(text, 8) if text.startswith("0") and len(text) > 1 else int(text)
    except ValueError:
        raise ArithmeticFault("syntax error") from None


def _apply(operator: str, left: int, right: int) -> int:
    if operator in ("/", "%"):
        if right == 0:
            raise ArithmeticFault("division by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if operator == "/" else left - quotient * right
    results = {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "<<": lambda: left << (right & 63),
        ">>": lambda: left >> (right & 63),
        "&": lambda: left & right,
        "|": lambda: left | right,
        "^": lambda: left ^ right,
        "&&": lambda: int(bool(left) and bool(right)),
        "||": lambda: int(bool(left) or bool(right)),
        "==": lambda: int(left == right),
        "!=": lambda: int(left != right),
        "<": lambda: int(left < right),
        "<=": lambda: int(left <= right),
        ">": lambda: int(left > right),
        ">=": lambda: int(left >= right),
    }
    value = results[operator]() & 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >> 63 else value
