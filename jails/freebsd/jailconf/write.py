"""Write jail.conf(5): whole files of the panel's own, and the single statements that edit.py puts into others'."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from jails.freebsd.jailconf.effective import is_jid, is_wildcard, same_option

Value = str | int | bool | None | Sequence[str]
Parameters = Mapping[str, Value] | Iterable[tuple[str, Value]]

LINE_WIDTH = 100

_BARE = re.compile(r"/?[A-Za-z0-9_.:@%|-]+(?:/[A-Za-z0-9_.:@%|-]+)*")
_BARE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
# Their values are commands and mounts, in order: one a line is how people read them.
_ONE_A_LINE = ("exec.", "mount")


def render_jail(name: str, parameters: Parameters, *, header: str) -> str:
    """The text of /etc/jail.conf.d/NAME.conf: `header` as comment lines, then one block with a parameter a line.

    `parameters` are names with values: a string or a number, a sequence of strings for a list, an empty sequence, None
    or True for a bare name, False for the name with `no`. ValueError names the parameter that cannot be written.
    """
    comment = "".join(f"# {line}".rstrip() + "\n" for line in _header_lines(header))
    return f"{comment}{render_block(name, parameters)}"


def render_block(name: str, parameters: Parameters) -> str:
    """One `name { … }` with a newline at its end."""
    lines: list[str] = []
    seen: list[str] = []
    for given, value in parameters.items() if isinstance(parameters, Mapping) else parameters:
        parameter, values = normal(given, value)
        double = next((other for other in seen if same_option(other, parameter)), None)
        if double is not None:
            raise ValueError(f"{parameter}: is given twice ({double}); give it once, with all its values")
        seen.append(parameter)
        lines += statements(parameter, values)
    body = "".join(f"\t{line}\n" for line in lines)
    return f"{jail_name(name)} {{\n{body}}}\n"


def normal(name: str, value: Value) -> tuple[str, tuple[str, ...]]:
    """A parameter as jail(8) holds it: its name, with `no` for False, and its values. ValueError says what is wrong."""
    if not _PARAMETER.fullmatch(name):
        raise ValueError(f"{name!r}: is not a parameter's name; expected words of letters, digits and “_” with dots")
    if name in ("name", "jid"):
        raise ValueError(f"{name}: is given by the name of the block and cannot be set inside it")
    if value is None or value is True:
        return name, ()
    if value is False:
        head, dot, last = name.rpartition(".")
        return f"{head}{dot}no{last}", ()
    if isinstance(value, int):
        return name, (str(value),)
    values = (value,) if isinstance(value, str) else tuple(value)
    for item in values:
        _check_text(name, item)
    return name, values


def statements(name: str, values: Sequence[str]) -> list[str]:
    """The lines that set a parameter: one, or `=` and then `+=` for lists that are commands, mounts or long."""
    if not values:
        return [f"{name};"]
    single = f"{name} = {value_list(values)};"
    if len(values) == 1 or (len(single) <= LINE_WIDTH and not name.startswith(_ONE_A_LINE)):
        return [single]
    return [f"{name} {'+=' if at else '='} {quote(value)};" for at, value in enumerate(values)]


def value_list(values: Sequence[str]) -> str:
    return ", ".join(quote(value) for value in values)


def quote(value: str) -> str:
    """A value as one string of jail.conf(5), without quotes where none are needed; nothing in it is a variable."""
    return value if _BARE.fullmatch(value) else _quoted(value)


def jail_name(name: str) -> str:
    """The name of a block, which must be a single string; ValueError for what cannot name one jail."""
    _check_text("name", name)
    if not name:
        raise ValueError("name: must not be empty")
    if is_wildcard(name):
        raise ValueError(f"name: {name!r} is a wildcard of jail.conf(5), not one jail")
    if is_jid(name):
        raise ValueError(f"name: {name!r} is a number, which jail(8) takes for a jid; put a letter into it")
    return name if _BARE_NAME.fullmatch(name) else _quoted(name)


def _quoted(value: str) -> str:
    if ("$" in value or '"' in value) and "'" not in value and "\\" not in value:
        return f"'{value}'"
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected text, got {type(value).__name__}")
    for character in value:
        if character != "\t" and unicodedata.category(character) in ("Cc", "Cs"):
            what = {"\n": "a newline", "\r": "a carriage return", "\0": "a NUL character"}
            found = what.get(character, f"the control character U+{ord(character):04X}")
            raise ValueError(f"{name}: contains {found}, which a value in jail.conf must not have")


def _header_lines(header: str) -> list[str]:
    lines = header.split("\n") if header else []
    for line in lines:
        _check_text("header", line)
    return lines
