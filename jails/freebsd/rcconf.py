"""rc.conf(5): what sh(1) gets from reading it, without running it; and sysrc(8), which edits it."""

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_ANY_ASSIGNMENT = re.compile(r"(?<![A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*)(?:=|:=)")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_OPENS = frozenset({"if", "case", "for", "while", "until", "{", "("})
_CLOSES = frozenset({"fi", "esac", "done", "}", ")"})
_READS = frozenset({".", "source", "eval", "load_rc_config"})


@dataclass(frozen=True)
class RcConf:
    """`values` as they are at the end of the text. `unclear` are names whose value depends on running something.

    `reads` is set where the text reads or evaluates another one: then no value is certain.
    """

    values: Mapping[str, str] = field(hash=False)
    unclear: frozenset[str] = frozenset()
    reads: bool = False

    def get(self, name: str, default: str = "") -> str:
        """ValueError where the value cannot be known without running the file."""
        if not self.is_certain(name):
            raise ValueError(f'rc.conf: {name} is set in a way that only sh can tell; write it as {name}="…"')
        return self.values.get(name, default)

    def is_certain(self, name: str) -> bool:
        return not self.reads and name not in self.unclear

    def is_yes(self, name: str, default: str = "NO") -> bool:
        """checkyesno of rc.subr(8): yes, true, on and 1, in any case."""
        return self.get(name, default).lower() in ("yes", "true", "on", "1")


def parse(text: str) -> RcConf:
    """Read assignments as sh does: quotes, comments, continued lines, earlier variables. Never raises."""
    reader = _Reader(text)
    reader.read()
    return RcConf(reader.values, frozenset(reader.unclear), reader.reads)


def get(name: str) -> Argv:
    """The value alone; nothing, and status 0, where it is not set (-i)."""
    return argv("sysrc", "-in", names.require("name", name, variable_error))


def set_value(name: str, value: str, *, file: str = "") -> Argv:
    """Write one variable. sysrc takes no lock: one writer of a file at a time."""
    names.require("name", name, variable_error)
    names.require("value", value, value_error)
    return argv("sysrc", *_file(file), f"{name}={value}")


def remove(name: str, *, file: str = "") -> Argv:
    return argv("sysrc", *_file(file), "-ix", names.require("name", name, variable_error))


def without(text: str, wanted: Collection[str]) -> str:
    """The text with every assignment to these variables made a comment, all its lines, and nothing else changed.

    ValueError where that would break the text, or change what sh gets from it of another variable.
    """
    reader = _Reader(text)
    reader.read()
    mine = frozenset(wanted)
    if unclear := sorted(mine & reader.elsewhere):
        raise ValueError(f"{unclear[0]} is set in a way that only sh can tell")
    starts: set[int] = set()
    for set_here, start, end in reader.commands:
        if mine & set_here:
            first = text.rfind("\n", 0, start) + 1
            starts |= {first, *(start + match.end() for match in re.finditer("\n", text[start:end]))}
    if not starts:
        return text
    edges = [0, *sorted(starts), len(text)]
    after = "#".join(text[one:other] for one, other in itertools.pairwise(edges))
    left = parse(after)
    expected = {name: value for name, value in reader.values.items() if name not in mine}
    if reader.text != text or left != RcConf(expected, frozenset(reader.unclear), reader.reads):
        raise ValueError(f"what sets {', '.join(sorted(mine & reader.values.keys()))} cannot be taken out by itself")
    return after


def assigned(text: str, name: str) -> list[str]:
    """The lines of a file that begin an assignment to this variable, as they stand."""
    begin = re.compile(rf"\s*(?:export\s+)?{re.escape(name)}=")
    return [row for row in text.split("\n") if begin.match(row)]


def is_plain(row: str, name: str) -> bool:
    """Whether sysrc, which leaves double quotes and what stands behind them, can change this line and change it back
    to what it was."""
    return re.fullmatch(rf"{re.escape(name)}=\"[^\"'$`\\]*\"(?:[ \t]*|[ \t]+#.*)", row) is not None


def line(name: str, value: str) -> str:
    """One line of rc.conf, with its newline."""
    names.require("name", name, variable_error)
    return f'{name}="{names.require("value", value, value_error)}"\n'


def variable_error(value: str) -> str | None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", value):
        return None
    return "is not the name of a variable: letters, digits and “_”, not beginning with a digit."


def value_error(value: str) -> str | None:
    """Text that means the same inside double quotes as outside: sysrc does not escape what it writes."""
    problem = names.text_error(value)
    if problem:
        return problem
    wrong = re.search(r"[\"'$`\\]", value)
    return f"contains “{wrong[0]}”, which sh would not take as it is." if wrong else None


def _file(file: str) -> list[str]:
    return ["-f", names.require("file", file, names.path_error)] if file else []


class _Unclear(Exception):
    pass


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\\\r\n", "\\\n")
        self.position = 0
        self.depth = 0
        self.values: dict[str, str] = {}
        self.unclear: set[str] = set()
        self.reads = False
        # What was understood, as names, begin and end in the text; and the names that stand in anything else.
        self.commands: list[tuple[frozenset[str], int, int]] = []
        self.elsewhere: set[str] = set()

    def read(self) -> None:
        while self.position < len(self.text):
            if self._skip(" \t\n;"):
                continue
            if self.text[self.position] == "#":
                self._to_end_of_line()
                continue
            self._command()

    def _command(self) -> None:
        """One simple command: nothing but assignments, or what only sh can run."""
        start = self.position
        found: dict[str, str] = {}
        try:
            self._word_is("export")
            while assignment := _ASSIGNMENT.match(self.text, self.position):
                self.position = assignment.end()
                found[assignment[1]] = self._value(found)
                self._skip(" \t")
            if not found or not self._at_end():
                raise _Unclear
        except _Unclear:
            self.position = start
            self._not_understood()
            return
        if self.depth:
            self.unclear |= found.keys()
            self.elsewhere |= found.keys()
            return
        self.commands.append((frozenset(found), start, self.position))
        self.values |= found
        self.unclear -= found.keys()

    def _not_understood(self) -> None:
        start = self.position
        self._to_end_of_line()
        line = self.text[start : self.position]
        words = re.findall(r"[^\s;&|]+", line)
        for word in words:
            if word in _OPENS:
                self.depth += 1
            elif word in _CLOSES:
                self.depth = max(0, self.depth - 1)
        # Where a quotation or a here-document goes on behind the line, what follows cannot be told from text.
        goes_on = line.count('"') % 2 or line.count("'") % 2 or "<<" in line or line.endswith("\\")
        self.reads = self.reads or bool(goes_on) or any(word in _READS for word in words)
        assigned_to = set(_ANY_ASSIGNMENT.findall(line))
        self.unclear |= assigned_to
        self.elsewhere |= assigned_to

    def _value(self, found: Mapping[str, str]) -> str:
        value = ""
        while self.position < len(self.text):
            character = self.text[self.position]
            if character in " \t\n;":
                break
            if character in "|&<>()`" or (character == "~" and value == ""):
                raise _Unclear
            self.position += 1
            if character == "'":
                value += self._until_quote()
            elif character == '"':
                value += self._double(found)
            elif character == "\\":
                value += self._escaped()
            elif character == "$":
                value += self._variable(found)
            else:
                value += character
        return value

    def _until_quote(self) -> str:
        end = self.text.find("'", self.position)
        if end < 0:
            raise _Unclear
        part, self.position = self.text[self.position : end], end + 1
        return part

    def _double(self, found: Mapping[str, str]) -> str:
        value = ""
        while self.position < len(self.text):
            character = self.text[self.position]
            self.position += 1
            if character == '"':
                return value
            if character == "`":
                raise _Unclear
            if character == "$":
                value += self._variable(found)
            elif character == "\\" and self.text[self.position : self.position + 1] in ("$", "`", '"', "\\", "\n"):
                value += self._escaped()
            else:
                value += character
        raise _Unclear

    def _escaped(self) -> str:
        character = self.text[self.position : self.position + 1]
        self.position += 1
        return "" if character == "\n" else character or "\\"

    def _variable(self, found: Mapping[str, str]) -> str:
        variable = _VARIABLE.match(self.text, self.position - 1)
        if variable is None:
            after = self.text[self.position : self.position + 1]
            if after and (after in "({$!#?*@-" or after.isalnum()):
                raise _Unclear
            return "$"
        self.position = variable.end()
        name = variable[1] or variable[2]
        if name in self.unclear or self.reads:
            raise _Unclear
        return found.get(name, self.values.get(name, ""))

    def _word_is(self, word: str) -> None:
        found = re.compile(rf"{word}[ \t]+(?=[A-Za-z_])").match(self.text, self.position)
        if found:
            self.position = found.end()

    def _at_end(self) -> bool:
        return self.position >= len(self.text) or self.text[self.position] in "\n;#"

    def _skip(self, characters: str) -> bool:
        start = self.position
        while self.position < len(self.text) and self.text[self.position] in characters:
            self.position += 1
        return self.position > start

    def _to_end_of_line(self) -> None:
        end = self.text.find("\n", self.position)
        self.position = len(self.text) if end < 0 else end
