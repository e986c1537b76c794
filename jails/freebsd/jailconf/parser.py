"""Parse a jail.conf(5) file by the grammar of usr.sbin/jail/jailparse.y.

The tables below are that grammar's LALR(1) automaton with yacc's error recovery: after a syntax error tokens are
dropped up to the next `;` that fits, so that one run names every fault, at the lines where jail(8) names them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from jails.freebsd.jailconf.lexer import END, STR, STR1, VAR, VAR1, Lexer, Token, from_bytes_text, to_bytes_text

Include = Callable[[str], Iterable[tuple[str, str]]]
INCLUDE_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Problem:
    """What jail(8) says on standard error: `message` is that line without its `jail: ` and its newline.

    `line` and `column` (in characters) are where the fault begins, from 1, and 0 where it has no place in the file; the
    line in the message is the one jail(8) had read to. `jail` names the jail that fails, if any.
    """

    message: str
    filename: str
    line: int = 0
    column: int = 0
    jail: str | None = None

    def __str__(self) -> str:
        return f"jail: {self.message}"


@dataclass(slots=True)
class Text:
    """One value: literal text with variables to be put in at offsets. All in bytes text, see lexer.py."""

    text: str
    variables: list[tuple[int, str]] = field(default_factory=list)

    def copy(self) -> "Text":
        return Text(self.text, list(self.variables))


@dataclass(slots=True)
class Statement:
    """`name op values ;`: `op` is `=`, `+=`, "" for `name value`, or None without a value.

    Offsets into the text of the file: the name, the first value, the end of the last, the place after the semicolon.
    """

    name: str
    variable: bool
    start: int
    name_end: int
    line: int
    filename: str = ""
    column: int = 0
    op: str | None = None
    value_start: int = 0
    values: list[Text] = field(default_factory=list)
    body_end: int = 0
    end: int = 0


@dataclass(slots=True)
class Block:
    """`name { statements }`: offsets of the name, of the place after `{`, of `}`, and of the place after that."""

    name: str
    start: int
    name_end: int
    open: int
    close: int
    end: int
    statements: list[Statement]


class Builder:
    """Collects what is parsed, in order, over all included files. Statements outside blocks belong to a block `*`."""

    def __init__(self) -> None:
        self.blocks: list[tuple[str, list[Statement]]] = []
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        """What jail(8) does without a word."""

    def add_global(self, statement: Statement) -> None:
        if not self.blocks or self.blocks[-1][0] != "*":
            self.blocks.append(("*", []))
        self.blocks[-1][1].append(statement)

    def add_block(self, block: Block) -> None:
        self.blocks.append((block.name, list(block.statements)))


class Stopped(Exception):
    """Reading ends here, as jail(8) exits; the problem is in the builder."""


_SHIFT: dict[int, dict[str, int]] = {
    1: {STR: 3, VAR: 4, ";": 5},
    3: {"{": 9},
    7: {";": 10},
    8: {"=": 11, "+=": 12, STR: 13, VAR: 14},
    11: {STR: 13, VAR: 14},
    12: {STR: 13, VAR: 14},
    15: {",": 20},
    16: {STR1: 21, VAR1: 22},
    17: {"}": 23, ";": 24, STR: 25, VAR: 4},
    18: {",": 20},
    19: {",": 20},
    20: {STR: 13, VAR: 14},
    26: {";": 28},
    27: {STR1: 21, VAR1: 22},
}
_REDUCE: dict[int, dict[str, str]] = {
    3: dict.fromkeys((";", "=", "+=", STR, VAR), "name: STR"),
    8: {";": "param: name"},
    15: {";": "param: name value"},
    16: {";": "value: string", ",": "value: string"},
    18: {";": "param: name = value"},
    19: {";": "param: name = value"},
    27: {";": "value: value , string", ",": "value: value , string"},
}
_REDUCE_ALWAYS = {
    0: "conf:",
    2: "param: error",
    4: "name: STR",
    5: "conf: conf ;",
    6: "conf: conf jail",
    9: "param_l:",
    10: "conf: conf param ;",
    13: "string: STR",
    14: "string: STR",
    21: "string: string STR1",
    22: "string: string STR1",
    23: "jail: STR { param_l }",
    24: "param_l: param_l ;",
    25: "name: STR",
    28: "param_l: param_l param ;",
}
_GOTO: dict[str, dict[int, int]] = {
    "conf": {0: 1},
    "jail": {1: 6},
    "param": {1: 7, 17: 26},
    "name": {1: 8, 17: 8},
    "param_l": {9: 17},
    "value": {8: 15, 11: 18, 12: 19},
    "string": {8: 16, 11: 16, 12: 16, 20: 27},
}
_ON_ERROR = {1: 2, 17: 2}
_CONF, _ERROR = 1, 2

_Value = Token | Statement | Block | Text | list["Statement | Text"] | None


@dataclass(slots=True)
class _Entry:
    state: int
    value: _Value
    start: int
    end: int


class Parser:
    """Parses one file into `builder`. `blocks` and `globals_` then hold this file's own, with their places."""

    def __init__(
        self, text: str, filename: str, builder: Builder, include: Include | None = None, depth: int = 0
    ) -> None:
        self.text = text
        self.filename = filename
        self.builder = builder
        self.blocks: list[Block] = []
        self.globals_: list[Statement] = []
        self.early_end: int | None = None
        self._include = include
        self._depth = depth
        self._failed = False
        self._lexer = Lexer(text, self._complain)
        self._stack = [_Entry(0, None, 0, 0)]
        self._token: Token | None = None
        self._recovering = 0
        self._place_seen = (0, 1, 1)

    @property
    def comments(self) -> list[tuple[int, int]]:
        """The places of all comments, (start, end)."""
        return self._lexer.comments

    def parse(self) -> None:
        """Raises Stopped if the file has a fault, once all of them are noted."""
        accepted = self._run()
        if not accepted or self._failed:
            raise Stopped

    def _run(self) -> bool:
        while True:
            state = self._stack[-1].state
            rule = _REDUCE_ALWAYS.get(state)
            if rule is not None:
                self._reduce(rule)
                continue
            token = self._peek()
            if state == _CONF and token.kind == END:
                self._end_at(token.start)
                return True
            target = _SHIFT.get(state, {}).get(token.kind)
            if target is not None:
                self._push(target, token, token.start, token.closed)
                self._token = None
                self._recovering = max(0, self._recovering - 1)
                continue
            rule = _REDUCE.get(state, {}).get(token.kind)
            if rule is not None:
                self._reduce(rule)
            elif not self._recover(token):
                return False

    def _end_at(self, offset: int) -> None:
        if offset < len(self.text):
            self.early_end = offset
            line, column = self._place(offset)
            message = f"{self.filename} line {line}: jail(8) reads to here and takes it for the end of the file"
            self.builder.notes.append(Problem(message, self.filename, line, column))

    def _peek(self) -> Token:
        if self._token is None:
            self._token = self._lexer.next()
        return self._token

    def _push(self, state: int, value: _Value, start: int, end: int) -> None:
        self._stack.append(_Entry(state, value, start, end))

    def _recover(self, token: Token) -> bool:
        """yacc's way: one message, back to where `error` is allowed; no new message until three tokens have fitted."""
        if self._recovering == 3:
            self._token = None
            return token.kind != END
        if self._recovering == 0:
            self._syntax_error(token)
        self._recovering = 3
        while self._stack[-1].state not in _ON_ERROR:
            self._stack.pop()
            if not self._stack:
                return False
        self._push(_ON_ERROR[self._stack[-1].state], None, token.start, token.start)
        return True

    def _syntax_error(self, token: Token) -> None:
        text = self.text[token.start : token.end].split("\0", 1)[0]
        if not text:
            self._note(f"{self.filename}: unexpected EOF", token.start)
        else:
            where = f"{self.filename} line {token.line}"
            shown = text.encode("latin-1").decode("utf-8", "backslashreplace")
            self._note(f"{where}: {shown}: syntax error", token.start)

    def _complain(self, message: str, offset: int, line: int) -> None:
        self._note(f"{self.filename} line {line}: {message}", offset)

    def _note(self, message: str, offset: int) -> None:
        self._failed = True
        self.builder.problems.append(Problem(message, self.filename, *self._place(offset)))

    def _place(self, offset: int) -> tuple[int, int]:
        """(line, column) of an offset. They are asked for in order, nearly always: each stretch is counted once."""
        seen, line, column = self._place_seen
        if offset < seen:
            seen, line, column = 0, 1, 1
        stretch = self.text[seen:offset]
        newline = stretch.rfind("\n")
        if newline >= 0:
            line, column = line + stretch.count("\n"), 1
        column += len(from_bytes_text(stretch[newline + 1 :]))
        self._place_seen = (offset, line, column)
        return line, column

    def _reduce(self, rule: str) -> None:
        left, _, right = rule.partition(":")
        length = len(right.split())
        entries = self._stack[len(self._stack) - length :]
        del self._stack[len(self._stack) - length :]
        here = self._token.start if self._token else self._lexer.position
        start, end = (entries[0].start, entries[-1].end) if entries else (here, here)
        value = self._action(rule, entries, start, end)
        self._push(_GOTO[left][self._stack[-1].state], value, start, end)

    def _action(self, rule: str, entries: list[_Entry], start: int, end: int) -> _Value:
        values = [entry.value for entry in entries]
        match rule, values:
            case "conf: conf param ;", [_, Statement() as statement, _]:
                statement.end = end
                if not self._special(statement):
                    self.globals_.append(statement)
                    self.builder.add_global(statement)
            case "conf: conf jail", [_, Block() as block]:
                self.blocks.append(block)
            case "jail: STR { param_l }", [Token() as name, Token() as opening, list() as items, Token() as closing]:
                statements = [item for item in items if isinstance(item, Statement)]
                block = Block(name.value, name.start, entries[0].end, opening.end, closing.start, end, statements)
                self.builder.add_block(block)
                return block
            case "param_l:", []:
                return []
            case "param_l: param_l param ;", [list() as items, param, _]:
                if isinstance(param, Statement):
                    param.end = end
                    if not self._special(param):
                        items.append(param)
                return items
            case "param_l: param_l ;", [list() as items, _]:
                return items
            case "name: STR", [Token() as token]:
                line, column = self._place(start)
                return Statement(
                    name=token.value,
                    variable=token.kind in (VAR, VAR1),
                    start=start,
                    name_end=end,
                    line=line,
                    filename=self.filename,
                    column=column,
                    body_end=end,
                )
            case "param: name", [Statement() as statement]:
                return statement
            case "param: name = value", [Statement() as statement, Token() as op, list() as items]:
                return _with_values(statement, op.kind, items, entries[2].start, end)
            case "param: name value", [Statement() as statement, list() as items]:
                return _with_values(statement, "", items, entries[1].start, end)
            case "value: string", [Text() as text]:
                return [text]
            case "value: value , string", [list() as items, _, Text() as text]:
                items.append(text)
                return items
            case "string: STR", [Token() as token]:
                return _joined(Text(""), token)
            case "string: string STR1", [Text() as text, Token() as token]:
                return _joined(text, token)
        return None

    def _special(self, statement: Statement) -> bool:
        """`.include "pattern";` of FreeBSD 14.0 (src e82a62943529); before, it is a parameter like any other."""
        if self._include is None or statement.name != ".include" or statement.variable or statement.op != "":
            return False
        for value in statement.values:
            if value.variables:
                self._complain("variables not permitted in '.include' filename", statement.start, self._lexer.line)
            else:
                self._read_included(from_bytes_text(value.text), self._include, statement)
        return True

    def _read_included(self, pattern: str, include: Include, statement: Statement) -> None:
        if self._depth >= INCLUDE_DEPTH:
            self._stop("maximum include depth exceeded", statement)
        if not pattern.startswith("/") and "/" in self.filename:
            pattern = self.filename.rsplit("/", 1)[0] + "/" + pattern
        found = (file for files in (include,) for file in files(pattern))
        is_there = any(character in pattern for character in "*?[")
        while True:
            try:
                filename, text = next(found)
            except StopIteration:
                break
            except OSError as error:
                self._stop(f"{error.filename or pattern}: {error.strerror or error}", statement)
            is_there = True
            read_into(self.builder, text, filename, include, self._depth + 1)
        if not is_there:
            self._stop(f"{pattern}: No such file or directory", statement)

    def _stop(self, message: str, statement: Statement) -> NoReturn:
        self.builder.problems.append(Problem(message, self.filename, statement.line, statement.column))
        raise Stopped


def _with_values(statement: Statement, op: str, items: list[Statement | Text], start: int, end: int) -> Statement:
    statement.op = op
    statement.value_start = start
    statement.values = [item for item in items if isinstance(item, Text)]
    statement.body_end = end
    return statement


def _joined(text: Text, token: Token) -> Text:
    if token.kind in (VAR, VAR1):
        text.variables.append((len(text.text), token.value))
    else:
        text.text += token.value
    return text


def read_into(builder: Builder, text: str, filename: str, include: Include | None = None, depth: int = 0) -> Parser:
    """Parse one file and what it includes. Raises Stopped at the first file with a fault."""
    parser = Parser(to_bytes_text(text), filename, builder, include, depth)
    parser.parse()
    return parser
