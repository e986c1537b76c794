"""awk(1): patterns, actions, fields, arrays, functions; without pipes, getline and system()."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from jails.hosts.simulated.host import strerror
from jails.hosts.simulated.process import Process

from . import access
from .text import lines_of, posix_pattern

USAGE = "usage: awk [-F fs][-v var=value][prog | -f progfile][file ...]\n"
_TOKEN = re.compile(
    r"""[ \t\r]*(?:\\\n[ \t]*|\#[^\n]*)*(?:
    (?P<number>0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    |(?P<string>"(?:\\.|[^"\\\n])*")
    |(?P<name>[A-Za-z_]\w*)
    |(?P<op>\|\||&&|\+\+|--|\*\*|[-+*/%^<>=!]=|!~|>>|[-+*/%^!<>|?:~$=(){}\[\];,\n])
    )""",
    re.X,
)
_KEYWORDS = frozenset(
    "BEGIN END function func if else while for do break continue next exit return delete in print printf".split()
)
_FUNCTIONS = frozenset(
    "length substr index split sub gsub match sprintf tolower toupper int sqrt exp log sin cos atan2 rand srand".split()
)
_COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")
_ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "^=")


class Fault(Exception):
    """The program is wrong or asks for what is not simulated."""


class _Jump(Exception):
    def __init__(self, kind: str, value: Any = None) -> None:
        self.kind = kind
        self.value = value


class Text(str):
    """A string from input, which compares as a number where it looks like one."""


def main(process: Process) -> int:
    words = process.argv[1:]
    separator, program = " ", ""
    settings: list[str] = []
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        value = word[2:] or (words.pop(0) if words else "")
        if word[1] == "F":
            separator = "\t" if value == "t" else value
        elif word[1] == "v":
            settings.append(value)
        elif word[1] == "f":
            program += os.fsdecode(access.read_all(process, value)) + "\n"
        else:
            process.err(f"awk: unknown option {word} ignored\n")
    if not program:
        if not words:
            process.err(USAGE)
            return 1
        program = words.pop(0)
    try:
        run = _Run(process, _Parser(program).program(), separator)
        for text in settings:
            name, _, value = text.partition("=")
            run.set_variable(name, Text(_unescape(value)))
        return run.go(words)
    except Fault as fault:
        process.err(f"awk: {fault}\n")
        return 2


def _unescape(text: str) -> str:
    known = {
        "n": "\n",
        "t": "\t",
        "r": "\r",
        "\\": "\\",
        '"': '"',
        "/": "/",
        "a": "\a",
        "b": "\b",
        "f": "\f",
        "v": "\v",
    }

    def one(found: re.Match[str]) -> str:
        body = found[1]
        return chr(int(body, 8)) if body[0] in "01234567" else known.get(body, "\\" + body)

    return re.sub(r"\\([0-7]{1,3}|.)", one, text, flags=re.S)


class _Parser:
    """The program as nested tuples: (kind, ...)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.kind, self.value = "", ""
        self.in_print = False
        self.functions: dict[str, tuple[list[str], Any]] = {}
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.at)
        if found is None or found.lastgroup is None:
            rest = self.text[self.at :].strip()
            if rest and not rest.startswith("#"):
                raise Fault(f"syntax error at source line 1\n source line number 1\n context is\n\t{rest[:40]}")
            self.kind, self.value, self.at = "end", "", len(self.text)
            return
        self.kind, self.value, self.at = found.lastgroup, found[found.lastgroup], found.end()
        if self.kind == "name" and self.value in _KEYWORDS:
            self.kind = "keyword"

    def regex(self) -> Any:
        """The current token is / or /=: what follows is a regular expression."""
        start = self.at - len(self.value) + 1
        found = re.compile(r"((?:\\.|\[(?:\\.|[^]\\])*\]|[^/\\\n])*)/").match(self.text, start)
        if found is None:
            raise Fault("nonterminated regular expression")
        self.at = found.end()
        self.advance()
        return ("regex", found[1].replace("\\/", "/"))

    def is_(self, *values: str) -> bool:
        return self.kind in ("op", "keyword") and self.value in values

    def take(self, value: str) -> bool:
        if not self.is_(value):
            return False
        self.advance()
        return True

    def expect(self, value: str) -> None:
        if not self.take(value):
            raise Fault(f"syntax error at source line 1\n context is\n\t >>> {self.value!r} <<< ")

    def newlines(self) -> None:
        while self.is_("\n"):
            self.advance()

    def ends(self) -> None:
        while self.is_("\n", ";"):
            self.advance()

    def program(self) -> dict[str, Any]:
        begin, end, rules = [], [], []
        self.ends()
        while self.kind != "end":
            if self.is_("BEGIN"):
                self.advance()
                begin.append(self.block())
            elif self.is_("END"):
                self.advance()
                end.append(self.block())
            elif self.is_("function", "func"):
                self.function()
            else:
                first = None if self.is_("{") else self.expression()
                second = None
                if self.take(","):
                    second = self.expression()
                rules.append((first, second, self.block() if self.is_("{") else None))
            self.ends()
        return {"begin": begin, "end": end, "rules": rules, "functions": self.functions}

    def function(self) -> None:
        self.advance()
        name = self.value
        self.advance()
        self.expect("(")
        parameters = []
        while not self.take(")"):
            parameters.append(self.value)
            self.advance()
            self.take(",")
        self.newlines()
        self.functions[name] = (parameters, self.block())

    def block(self) -> Any:
        self.expect("{")
        body = []
        self.ends()
        while not self.take("}"):
            body.append(self.statement())
            self.ends()
        return ("block", body)

    def body(self) -> Any:
        self.newlines()
        if self.take(";"):
            return ("block", [])
        return self.statement()

    def statement(self) -> Any:
        if self.is_("{"):
            return self.block()
        if self.is_("if"):
            return self.if_()
        if self.is_("while"):
            self.advance()
            self.expect("(")
            condition = self.expression()
            self.expect(")")
            return ("while", condition, self.body())
        if self.is_("do"):
            self.advance()
            body = self.body()
            self.ends()
            self.expect("while")
            self.expect("(")
            condition = self.expression()
            self.expect(")")
            return ("do", condition, body)
        if self.is_("for"):
            return self.for_()
        return self.simple()

    def if_(self) -> Any:
        self.advance()
        self.expect("(")
        condition = self.expression()
        self.expect(")")
        yes = self.body()
        before = self.at, self.kind, self.value
        self.ends()
        if self.take("else"):
            return ("if", condition, yes, self.body())
        self.at, self.kind, self.value = before
        return ("if", condition, yes, None)

    def for_(self) -> Any:
        self.advance()
        self.expect("(")
        first = None if self.is_(";") else self.simple()
        if first and first[0] == "expression" and first[1][0] == "in" and self.take(")"):
            _, (key,), array = first[1]
            return ("each", key, array, self.body())
        self.expect(";")
        condition = None if self.is_(";") else self.expression()
        self.expect(";")
        step = None if self.is_(")") else self.simple()
        self.expect(")")
        return ("for", first, condition, step, self.body())

    def simple(self) -> Any:
        for word in ("break", "continue", "next"):
            if self.take(word):
                return (word,)
        for word in ("exit", "return"):
            if self.take(word):
                return (word, None if self.is_(";", "\n", "}") or self.kind == "end" else self.expression())
        if self.take("delete"):
            name = self.value
            self.advance()
            return ("delete", name, self.subscripts() if self.take("[") else None)
        if self.is_("print", "printf"):
            return self.print_()
        return ("expression", self.expression())

    def print_(self) -> Any:
        kind = self.value
        self.advance()
        values: list[Any] = []
        if not (self.is_(";", "\n", "}", ">", ">>", "|") or self.kind == "end"):
            self.in_print = True
            values = self.expressions()
            self.in_print = False
            if len(values) == 1 and values[0][0] == "group":
                values = list(values[0][1])
        target = None
        if self.is_(">", ">>"):
            mode = self.value
            self.advance()
            target = (mode, self.concatenation())
        elif self.is_("|"):
            raise Fault("the simulated host does not start programs from awk")
        return (kind, values, target)

    def expressions(self) -> list[Any]:
        found = [self.expression()]
        while self.take(","):
            self.newlines()
            found.append(self.expression())
        return found

    def subscripts(self) -> list[Any]:
        found = self.expressions()
        self.expect("]")
        return found

    def expression(self) -> Any:
        left = self.ternary()
        if self.is_(*_ASSIGNMENTS) and left[0] in ("variable", "element", "field"):
            operator = self.value
            self.advance()
            self.newlines()
            return ("assign", operator, left, self.expression())
        return left

    def ternary(self) -> Any:
        condition = self.either()
        if not self.take("?"):
            return condition
        self.newlines()
        yes = self.expression()
        self.newlines()
        self.expect(":")
        self.newlines()
        return ("choose", condition, yes, self.expression())

    def either(self) -> Any:
        left = self.both()
        while self.take("||"):
            self.newlines()
            left = ("or", left, self.both())
        return left

    def both(self) -> Any:
        left = self.membership()
        while self.take("&&"):
            self.newlines()
            left = ("and", left, self.membership())
        return left

    def membership(self) -> Any:
        left = self.matching()
        while self.is_("in"):
            self.advance()
            keys = list(left[1]) if left[0] == "group" else [left]
            left = ("in", keys, self.value)
            self.advance()
        return left

    def matching(self) -> Any:
        left = self.comparison()
        while self.is_("~", "!~"):
            operator = self.value
            self.advance()
            left = ("match", operator, left, self.comparison())
        return left

    def comparison(self) -> Any:
        left = self.concatenation()
        if self.is_(*_COMPARISONS) and not (self.in_print and self.is_(">")):
            operator = self.value
            self.advance()
            return ("compare", operator, left, self.concatenation())
        return left

    def concatenation(self) -> Any:
        left = self.additive()
        while self._begins_operand():
            left = ("join", left, self.additive())
        return left

    def _begins_operand(self) -> bool:
        if self.kind in ("number", "string"):
            return True
        return self.kind == "name" or self.is_("$", "!", "(", "-", "+", "++", "--")

    def additive(self) -> Any:
        left = self.multiplicative()
        while self.is_("+", "-"):
            operator = self.value
            self.advance()
            left = ("arith", operator, left, self.multiplicative())
        return left

    def multiplicative(self) -> Any:
        left = self.unary()
        while self.is_("*", "/", "%"):
            operator = self.value
            self.advance()
            left = ("arith", operator, left, self.unary())
        return left

    def unary(self) -> Any:
        for operator in ("!", "-", "+"):
            if self.take(operator):
                return ("unary", operator, self.unary())
        return self.power()

    def power(self) -> Any:
        left = self.postfix()
        if self.is_("^", "**"):
            self.advance()
            return ("arith", "^", left, self.unary())
        return left

    def postfix(self) -> Any:
        if self.is_("++", "--"):
            operator = self.value
            self.advance()
            return ("before", operator, self.primary())
        left = self.primary()
        if self.is_("++", "--") and left[0] in ("variable", "element", "field"):
            operator = self.value
            self.advance()
            return ("after", operator, left)
        return left

    def primary(self) -> Any:
        kind, value = self.kind, self.value
        if kind == "op" and value in ("/", "/="):
            return self.regex()
        if kind == "number":
            self.advance()
            return ("constant", float(int(value, 16)) if value[:2] == "0x" else float(value))
        if kind == "string":
            self.advance()
            return ("constant", _unescape(value[1:-1]))
        if self.take("$"):
            return ("field", self.postfix() if self.is_("++", "--") else self.primary())
        if self.take("("):
            was, self.in_print = self.in_print, False
            found = self.expressions()
            self.in_print = was
            self.expect(")")
            return found[0] if len(found) == 1 else ("group", tuple(found))
        if kind == "name":
            self.advance()
            return self.named(value)
        raise Fault(f"syntax error at source line 1\n context is\n\t >>> {value!r} <<< ")

    def named(self, name: str) -> Any:
        if name in _FUNCTIONS or (self.is_("(") and self.text[self.at - 2 : self.at - 1].isalnum()):
            arguments: list[Any] = []
            if self.take("("):
                was, self.in_print = self.in_print, False
                arguments = [] if self.is_(")") else self.expressions()
                self.in_print = was
                self.expect(")")
            return ("call", name, arguments)
        if self.take("["):
            return ("element", name, self.subscripts())
        return ("variable", name)


def number(value: Any) -> float:
    if isinstance(value, float):
        return value
    found = re.match(r"[ \t\n]*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", value or "")
    return float(found[0]) if found else 0.0


def text(value: Any, form: str = "%.6g") -> str:
    if not isinstance(value, float):
        return str(value or "")
    return str(int(value)) if value == int(value) and abs(value) < 1e16 else form % value


def _numeric(value: Any) -> bool:
    if isinstance(value, Text):
        return bool(re.fullmatch(r"[ \t\n]*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[ \t\n]*", value))
    return isinstance(value, float) or value is None


class _Run:
    def __init__(self, process: Process, program: dict[str, Any], separator: str) -> None:
        self.process = process
        self.program = program
        self.globals: dict[str, Any] = {
            "FS": separator,
            "OFS": " ",
            "ORS": "\n",
            "RS": "\n",
            "NR": 0.0,
            "NF": 0.0,
            "FNR": 0.0,
            "SUBSEP": "\x1c",
            "FILENAME": "",
            "RSTART": 0.0,
            "RLENGTH": -1.0,
            "CONVFMT": "%.6g",
            "OFMT": "%.6g",
            "ENVIRON": {name: Text(value) for name, value in process.env.items()},
        }
        self.frames: list[dict[str, Any]] = []
        self.line = ""
        self.fields: list[str] = []
        self.active: dict[int, bool] = {}
        self.files: dict[str, int] = {}

    def go(self, operands: list[str]) -> int:
        status = 0
        try:
            for block in self.program["begin"]:
                self.execute(block)
            if self.program["rules"] or self.program["end"]:
                self._read(operands)
        except _Jump as jump:
            if jump.kind != "exit":
                raise Fault(f"illegal {jump.kind}") from None
            status = int(jump.value or 0)
        try:
            for block in self.program["end"]:
                self.execute(block)
        except _Jump as jump:
            status = int(jump.value if jump.value is not None else status)
        for real in self.files.values():
            os.close(real)
        return status

    def _read(self, operands: list[str]) -> None:
        files = [one for one in operands if not re.match(r"[A-Za-z_]\w*=", one)]
        for one in operands or ["-"]:
            if one not in files and operands:
                name, _, value = one.partition("=")
                self.set_variable(name, Text(_unescape(value)))
                continue
            self._file(one)
        if operands and not files:
            self._file("-")

    def _file(self, operand: str) -> None:
        try:
            data = access.read_all(self.process, operand)
        except OSError as error:
            self.process.err(f"awk: can't open file {operand}\n source line number 1\n" if error.errno == 2 else
                             f"awk: {operand}: {strerror(error)}\n")  # fmt: skip
            raise _Jump("exit", 2) from None
        self.globals["FILENAME"], self.globals["FNR"] = "" if operand == "-" else operand, 0.0
        for line in self._records(data):
            self.globals["NR"] += 1.0
            self.globals["FNR"] += 1.0
            self.set_line(line)
            try:
                self._rules()
            except _Jump as jump:
                if jump.kind != "next":
                    raise

    def _records(self, data: bytes) -> list[str]:
        separator = text(self.globals["RS"])
        if separator == "\n":
            return [os.fsdecode(line.removesuffix(b"\n")) for line in lines_of(data)]
        whole = os.fsdecode(data).rstrip("\n")
        if separator == "":
            return [one for one in re.split(r"\n\n+", whole.strip("\n")) if one]
        return whole.split(separator[0])

    def _rules(self) -> None:
        for number_, (first, second, block) in enumerate(self.program["rules"]):
            if second is not None:
                started = self.active.get(number_) or self.truth(self.value(first))
                if not started:
                    continue
                self.active[number_] = not self.truth(self.value(second))
            elif first is not None and not self.truth(self.value(first)):
                continue
            if block is None:
                self.process.out(os.fsencode(self.line + text(self.globals["ORS"])))
            else:
                self.execute(block)

    def set_line(self, line: str) -> None:
        self.line = line
        self.fields = self.split(line, text(self.globals["FS"]))
        self.globals["NF"] = float(len(self.fields))

    def split(self, line: str, separator: str) -> list[str]:
        if separator == " ":
            return line.split()
        if not line:
            return []
        if len(separator) == 1:
            return line.split(separator)
        return re.split(posix_pattern(separator, True), line)

    # Variables

    def holder(self, name: str) -> dict[str, Any]:
        return self.frames[-1] if self.frames and name in self.frames[-1] else self.globals

    def set_variable(self, name: str, value: Any) -> None:
        self.holder(name)[name] = value
        if name == "NF":
            count = int(number(value))
            self.fields = (self.fields + [""] * count)[:count]
            self._join()

    def array(self, name: str) -> dict[str, Any]:
        holder = self.holder(name)
        if not isinstance(holder.get(name), dict):
            holder[name] = {}
        found: dict[str, Any] = holder[name]
        return found

    def key(self, parts: list[Any]) -> str:
        return text(self.globals["SUBSEP"]).join(text(self.value(part)) for part in parts)

    def _join(self) -> None:
        self.line = text(self.globals["OFS"]).join(self.fields)

    def store(self, target: Any, value: Any) -> Any:
        if target[0] == "variable":
            self.set_variable(target[1], value)
        elif target[0] == "element":
            self.array(target[1])[self.key(target[2])] = value
        else:
            at = int(number(self.value(target[1])))
            if at == 0:
                self.set_line(text(value))
            else:
                self.fields += [""] * (at - len(self.fields))
                self.fields[at - 1] = text(value)
                self.globals["NF"] = float(len(self.fields))
                self._join()
        return value

    def truth(self, value: Any) -> bool:
        return bool(number(value)) if _numeric(value) else bool(value)

    # Expressions

    def value(self, tree: Any) -> Any:
        handler: Callable[[Any], Any] = getattr(self, f"_x_{tree[0]}")
        return handler(tree)

    def _x_constant(self, tree: Any) -> Any:
        return tree[1]

    def _x_variable(self, tree: Any) -> Any:
        return self.holder(tree[1]).get(tree[1])

    def _x_element(self, tree: Any) -> Any:
        return self.array(tree[1]).setdefault(self.key(tree[2]), None)

    def _x_field(self, tree: Any) -> Any:
        at = int(number(self.value(tree[1])))
        if at == 0:
            return Text(self.line)
        return Text(self.fields[at - 1]) if at <= len(self.fields) else None

    def _x_regex(self, tree: Any) -> Any:
        return float(bool(re.search(posix_pattern(tree[1], True), self.line)))

    def _x_group(self, tree: Any) -> Any:
        return text(self.globals["SUBSEP"]).join(text(self.value(one)) for one in tree[1])

    def _x_assign(self, tree: Any) -> Any:
        _, operator, target, right = tree
        value = self.value(right)
        if operator != "=":
            value = self._calculate(operator[0], self.value(target), value)
        return self.store(target, value)

    def _x_choose(self, tree: Any) -> Any:
        return self.value(tree[2] if self.truth(self.value(tree[1])) else tree[3])

    def _x_or(self, tree: Any) -> Any:
        return float(self.truth(self.value(tree[1])) or self.truth(self.value(tree[2])))

    def _x_and(self, tree: Any) -> Any:
        return float(self.truth(self.value(tree[1])) and self.truth(self.value(tree[2])))

    def _x_in(self, tree: Any) -> Any:
        return float(self.key(tree[1]) in self.array(tree[2]))

    def _pattern(self, tree: Any) -> str:
        return posix_pattern(tree[1] if tree[0] == "regex" else text(self.value(tree)), True)

    def _x_match(self, tree: Any) -> Any:
        found = bool(re.search(self._pattern(tree[3]), text(self.value(tree[2]))))
        return float(found == (tree[1] == "~"))

    def _x_compare(self, tree: Any) -> Any:
        left, right = self.value(tree[2]), self.value(tree[3])
        pair: tuple[Any, Any] = (text(left), text(right))
        if _numeric(left) and _numeric(right):
            pair = (number(left), number(right))
        operator = tree[1]
        smaller, equal = pair[0] < pair[1], pair[0] == pair[1]
        wanted = {"<": smaller, "<=": smaller or equal, "==": equal, "!=": not equal, ">=": not smaller}
        return float(wanted.get(operator, not smaller and not equal))

    def _x_join(self, tree: Any) -> Any:
        return text(self.value(tree[1])) + text(self.value(tree[2]))

    def _x_arith(self, tree: Any) -> Any:
        return self._calculate(tree[1], self.value(tree[2]), self.value(tree[3]))

    def _calculate(self, operator: str, left: Any, right: Any) -> float:
        one, other = number(left), number(right)
        if operator in "/%" and other == 0:
            raise Fault("division by zero")
        if operator == "+":
            return one + other
        if operator == "-":
            return one - other
        if operator == "*":
            return one * other
        if operator == "/":
            return one / other
        if operator == "%":
            return one - other * int(one / other)
        return float(one**other)

    def _x_unary(self, tree: Any) -> Any:
        value = self.value(tree[2])
        if tree[1] == "!":
            return float(not self.truth(value))
        return -number(value) if tree[1] == "-" else number(value)

    def _x_before(self, tree: Any) -> Any:
        return self.store(tree[2], number(self.value(tree[2])) + (1 if tree[1] == "++" else -1))

    def _x_after(self, tree: Any) -> Any:
        old = number(self.value(tree[2]))
        self.store(tree[2], old + (1 if tree[1] == "++" else -1))
        return old

    def _x_call(self, tree: Any) -> Any:
        _, name, arguments = tree
        if name in self.program["functions"]:
            return self._own(name, arguments)
        if name not in _FUNCTIONS:
            raise Fault(f"calling undefined function {name}")
        handler = getattr(self, f"_f_{name}", None)
        if handler is None:
            raise Fault(f"the simulated host has no {name}() in awk")
        return handler(arguments)

    def _own(self, name: str, arguments: list[Any]) -> Any:
        parameters, body = self.program["functions"][name]
        frame: dict[str, Any] = dict.fromkeys(parameters)
        for parameter, one in zip(parameters, arguments, strict=False):
            is_array = one[0] == "variable" and isinstance(self.holder(one[1]).get(one[1]), dict)
            frame[parameter] = self.array(one[1]) if is_array else self.value(one)
        self.frames.append(frame)
        try:
            self.execute(body)
        except _Jump as jump:
            if jump.kind != "return":
                raise
            return jump.value
        finally:
            self.frames.pop()
        return None

    def _f_length(self, arguments: list[Any]) -> float:
        if arguments and arguments[0][0] == "variable":
            held = self.holder(arguments[0][1]).get(arguments[0][1])
            if isinstance(held, dict):
                return float(len(held))
        return float(len(text(self.value(arguments[0])) if arguments else self.line))

    def _f_substr(self, arguments: list[Any]) -> str:
        whole = text(self.value(arguments[0]))
        start = round(number(self.value(arguments[1])))
        end = len(whole) + 1 if len(arguments) < 3 else start + round(number(self.value(arguments[2])))
        return whole[max(start, 1) - 1 : max(end, 1) - 1]

    def _f_index(self, arguments: list[Any]) -> float:
        return float(text(self.value(arguments[0])).find(text(self.value(arguments[1]))) + 1)

    def _f_split(self, arguments: list[Any]) -> float:
        separator = text(self.globals["FS"])
        if len(arguments) > 2:
            separator = arguments[2][1] if arguments[2][0] == "regex" else text(self.value(arguments[2]))
        parts = self.split(text(self.value(arguments[0])), separator)
        array = self.array(arguments[1][1])
        array.clear()
        array.update({str(at): Text(part) for at, part in enumerate(parts, 1)})
        return float(len(parts))

    def _f_match(self, arguments: list[Any]) -> float:
        found = re.search(self._pattern(arguments[1]), text(self.value(arguments[0])))
        self.globals["RSTART"] = float(found.start() + 1 if found else 0)
        self.globals["RLENGTH"] = float(found.end() - found.start() if found else -1)
        return float(self.globals["RSTART"])

    def _f_sub(self, arguments: list[Any]) -> float:
        return self._replace(arguments, 1)

    def _f_gsub(self, arguments: list[Any]) -> float:
        return self._replace(arguments, 0)

    def _replace(self, arguments: list[Any], limit: int) -> float:
        target = arguments[2] if len(arguments) > 2 else ("field", ("constant", 0.0))
        new = text(self.value(arguments[1]))

        def put(found: re.Match[str]) -> str:
            return re.sub(r"\\&|&", lambda one: "&" if one[0] == "\\&" else found[0], new)

        changed, count = re.subn(self._pattern(arguments[0]), put, text(self.value(target)), count=limit)
        if count:
            self.store(target, changed)
        return float(count)

    def _f_sprintf(self, arguments: list[Any]) -> str:
        return self.format([self.value(one) for one in arguments])

    def _f_tolower(self, arguments: list[Any]) -> str:
        return text(self.value(arguments[0])).lower()

    def _f_toupper(self, arguments: list[Any]) -> str:
        return text(self.value(arguments[0])).upper()

    def _f_int(self, arguments: list[Any]) -> float:
        return float(int(number(self.value(arguments[0]))))

    def _f_sqrt(self, arguments: list[Any]) -> float:
        return float(number(self.value(arguments[0])) ** 0.5)

    def format(self, values: list[Any]) -> str:
        rest = values[1:]

        def one(found: re.Match[str]) -> str:
            flags, letter = found[1], found[2]
            if letter == "%":
                return "%"
            while "*" in flags:
                flags = flags.replace("*", str(int(number(rest.pop(0) if rest else None))), 1)
            value = rest.pop(0) if rest else None
            if letter in "di":
                return f"%{flags}d" % int(number(value))
            if letter in "oxXu":
                return f"%{flags}{letter if letter != 'u' else 'd'}" % int(number(value))
            if letter in "eEfgG":
                return f"%{flags}{letter}" % number(value)
            if letter == "c":
                return f"%{flags}s" % (chr(int(value)) if isinstance(value, float) else text(value)[:1])
            return f"%{flags}s" % text(value)

        return re.sub(r"%([-+ #0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?)([a-zA-Z%])", one, text(values[0]))

    # Statements

    def execute(self, tree: Any) -> None:
        handler: Callable[[Any], None] = getattr(self, f"_s_{tree[0]}")
        handler(tree)

    def _s_block(self, tree: Any) -> None:
        for one in tree[1]:
            self.execute(one)

    def _s_expression(self, tree: Any) -> None:
        self.value(tree[1])

    def _s_if(self, tree: Any) -> None:
        if self.truth(self.value(tree[1])):
            self.execute(tree[2])
        elif tree[3] is not None:
            self.execute(tree[3])

    def _once(self, body: Any) -> bool:
        """Run a loop's body; False when it wants out."""
        try:
            self.execute(body)
        except _Jump as jump:
            if jump.kind == "break":
                return False
            if jump.kind != "continue":
                raise
        return True

    def _s_while(self, tree: Any) -> None:
        while self.truth(self.value(tree[1])):
            if not self._once(tree[2]):
                break

    def _s_do(self, tree: Any) -> None:
        while self._once(tree[2]) and self.truth(self.value(tree[1])):
            pass

    def _s_for(self, tree: Any) -> None:
        _, first, condition, step, body = tree
        if first is not None:
            self.execute(first)
        while condition is None or self.truth(self.value(condition)):
            if not self._once(body):
                break
            if step is not None:
                self.execute(step)

    def _s_each(self, tree: Any) -> None:
        for key in list(self.array(tree[2])):
            self.store(tree[1], Text(key))
            if not self._once(tree[3]):
                break

    def _s_delete(self, tree: Any) -> None:
        if tree[2] is None:
            self.array(tree[1]).clear()
        else:
            self.array(tree[1]).pop(self.key(tree[2]), None)

    def _s_break(self, tree: Any) -> None:
        raise _Jump("break")

    def _s_continue(self, tree: Any) -> None:
        raise _Jump("continue")

    def _s_next(self, tree: Any) -> None:
        raise _Jump("next")

    def _s_exit(self, tree: Any) -> None:
        raise _Jump("exit", None if tree[1] is None else number(self.value(tree[1])))

    def _s_return(self, tree: Any) -> None:
        raise _Jump("return", None if tree[1] is None else self.value(tree[1]))

    def _s_print(self, tree: Any) -> None:
        values = [text(self.value(one), text(self.globals["OFMT"])) for one in tree[1]] or [self.line]
        self._put(text(self.globals["OFS"]).join(values) + text(self.globals["ORS"]), tree[2])

    def _s_printf(self, tree: Any) -> None:
        self._put(self.format([self.value(one) for one in tree[1]]), tree[2])

    def _put(self, data: str, target: Any) -> None:
        if target is None:
            self.process.out(os.fsencode(data))
            return
        name = text(self.value(target[1]))
        if name in ("/dev/stderr", "/dev/stdout"):
            (self.process.err if name.endswith("err") else self.process.out)(os.fsencode(data))
            return
        if name not in self.files:
            flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if target[0] == ">>" else os.O_TRUNC)
            self.files[name] = access.open_file(self.process, name, flags)
        os.write(self.files[name], os.fsencode(data))
