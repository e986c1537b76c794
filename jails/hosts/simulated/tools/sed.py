"""sed(1): a script is a list of commands run over each line; all of POSIX's, and -E, -i, -n, -s."""

from __future__ import annotations

import os
import re
from typing import NamedTuple, NoReturn

from jails.hosts.simulated.host import strerror
from jails.hosts.simulated.process import Process

from . import access
from .text import lines_of, posix_pattern

USAGE = (
    "usage: sed script [-EHalnru] [-i extension] [file ...]\n"
    "\tsed [-EHalnu] [-i extension] [-e script] ... [-f script_file] ... [file ...]"
)


class Address(NamedTuple):
    """`kind` is line, last, match or step."""

    kind: str
    number: int = 0
    pattern: re.Pattern[str] | None = None


class Command(NamedTuple):
    """`text` is what the letter takes; `body` the place behind the group's end for `{`."""

    letter: str
    first: Address | None = None
    second: Address | None = None
    negated: bool = False
    text: str = ""
    pattern: re.Pattern[str] | None = None
    flags: str = ""
    body: int = 0


def main(process: Process) -> int:
    words, scripts, operands = process.argv[1:], [], []
    quiet = extended = separate = False
    in_place: str | None = None
    while words:
        word = words.pop(0)
        if word in ("-e", "-f") and words:
            value = words.pop(0)
            scripts.append(value if word == "-e" else os.fsdecode(access.read_all(process, value)).rstrip("\n"))
        elif word in ("-i", "-I") and words:
            in_place, separate = words.pop(0), True
        elif word.startswith("-i") and len(word) > 2:
            in_place, separate = word[2:], True
        elif re.fullmatch(r"-[nErsau]+", word):
            quiet, extended = quiet or "n" in word, extended or "E" in word or "r" in word
            separate = separate or "s" in word
        elif word.startswith("-") and word not in ("-", "--"):
            access.wrong_usage(process, f"illegal option -- {word[1]}", USAGE, 1)
        elif word != "--":
            operands.append(word)
    if not scripts:
        if not operands:
            access.wrong_usage(process, "", USAGE, 1)
        scripts = [operands.pop(0)]
    commands = _Parser(process, "\n".join(scripts), extended).commands()
    if commands[:1] and commands[0].letter == "#n":
        quiet, commands = True, commands[1:]
    failed, inputs = 0, []
    for operand in operands or ["-"]:
        try:
            inputs.append((operand, access.read_all(process, operand)))
        except OSError as error:
            process.err(f"sed: {operand}: {strerror(error)}\n")
            failed = 1
    groups = [[one] for one in inputs] if separate else [inputs]
    for group in groups:
        result = _Editor(process, commands, quiet).run(b"".join(data for _, data in group))
        if in_place is None:
            process.out(result)
        else:
            _replace(process, group[0][0], group[0][1], in_place, result)
    return failed


def _replace(process: Process, operand: str, old: bytes, extension: str, result: bytes) -> None:
    if extension:
        _write(process, operand + extension, old)
    _write(process, operand, result)


def _write(process: Process, path: str, data: bytes) -> None:
    real = access.open_file(process, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(real, data)
    finally:
        os.close(real)


class _Parser:
    def __init__(self, process: Process, script: str, extended: bool) -> None:
        self.process = process
        self.script = script
        self.extended = extended
        self.at = 0
        self.last = ""

    def fail(self, message: str) -> NoReturn:
        line = self.script.count("\n", 0, self.at) + 1
        self.process.exit(1, f'{line}: "{self.script}": {message}')

    def commands(self) -> list[Command]:
        found: list[Command] = []
        opened: list[int] = []
        if re.match(r"#n(\n|$)", self.script):
            found.append(Command("#n"))
        while self._skip():
            command = self._command()
            if command.letter == "{":
                opened.append(len(found))
            elif command.letter == "}":
                if not opened:
                    self.fail("unexpected }")
                start = opened.pop()
                found[start] = found[start]._replace(body=len(found))
            found.append(command)
        if opened:
            self.fail("unexpected EOF (pending }'s)")
        return found

    def _skip(self) -> bool:
        found = re.compile(r"(?:[ \t\n;]|#[^\n]*)*").match(self.script, self.at)
        self.at = found.end() if found else self.at
        return self.at < len(self.script)

    def _command(self) -> Command:
        first = self._address()
        second = None
        if first is not None and self._take(r"[ \t]*,[ \t]*"):
            second = self._address()
            if second is None:
                self.fail("expected context address")
        self._take(r"[ \t]*")
        negated = bool(self._take(r"![! \t]*"))
        letter = self.script[self.at : self.at + 1]
        self.at += 1
        command = Command(letter, first, second, negated)
        if letter == "":
            self.fail("command expected")
        if letter in "dDgGhHlnNpPqx={}":
            return command
        if letter in "aic":
            return command._replace(text=self._lines())
        if letter in ":bt":
            found = re.compile(r"[ \t]*([^\n;}]*)").match(self.script, self.at)
            self.at = found.end() if found else self.at
            return command._replace(text=found[1].strip() if found else "")
        if letter in "rw":
            return command._replace(text=self._to_end_of_line().strip())
        if letter == "s":
            return self._substitute(command)
        if letter == "y":
            delimiter = self._delimiter()
            return command._replace(text=self._part(delimiter, keep=False), flags=self._part(delimiter, keep=False))
        self.at -= 1
        return self.fail(f"invalid command code {letter}")

    def _take(self, pattern: str) -> str:
        found = re.compile(pattern).match(self.script, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def _to_end_of_line(self) -> str:
        end = self.script.find("\n", self.at)
        end = len(self.script) if end < 0 else end
        text, self.at = self.script[self.at : end], end
        return text

    def _lines(self) -> str:
        """The text of a, i and c: after a backslash and a newline, or (as newer ones have it) on the same line."""
        if not self._take(r"[ \t]*\\\n"):
            self._take(r"[ \t]*(?:\\(?=[ \t]))?")
        text = ""
        while True:
            line = self._to_end_of_line()
            odd = len(line) - len(line.rstrip("\\"))
            if odd % 2 == 0 or self.at >= len(self.script):
                return re.sub(r"\\(.)", r"\1", text + line) + "\n"
            text += line[:-1] + "\n"
            self.at += 1

    def _address(self) -> Address | None:
        if number := self._take(r"\d+"):
            step = self._take(r"~\d+")
            return Address("step", int(number), re.compile(step[1:])) if step else Address("line", int(number))
        if self._take(r"\$"):
            return Address("last")
        if self._take(r"\\(?=[^\n])"):
            return Address("match", 0, self._regex(self._delimiter()))
        if self.script[self.at : self.at + 1] == "/":
            return Address("match", 0, self._regex(self._delimiter()))
        return None

    def _delimiter(self) -> str:
        delimiter = self.script[self.at : self.at + 1]
        if delimiter in ("", "\n", "\\"):
            self.fail("substitute pattern can not be delimited by newline or backslash")
        self.at += 1
        return delimiter

    def _regex(self, delimiter: str) -> re.Pattern[str]:
        text = self._part(delimiter, keep=True)
        return self.compile(text, bool(self._take("I")))

    def compile(self, text: str, fold: bool) -> re.Pattern[str]:
        if not text:
            text = self.last
        self.last = text
        try:
            return re.compile(posix_pattern(text.replace("\\n", "\n"), self.extended), re.I if fold else 0)
        except re.error:
            self.fail("RE error: invalid regular expression")

    def _part(self, delimiter: str, keep: bool) -> str:
        """Up to the next bare delimiter; brackets hide it in a regular expression."""
        text, in_bracket = "", False
        while self.at < len(self.script):
            letter = self.script[self.at]
            if letter == "\\" and self.at + 1 < len(self.script):
                following = self.script[self.at + 1]
                text += delimiter if following == delimiter else letter + following
                self.at += 2
                continue
            self.at += 1
            if letter == delimiter and not in_bracket:
                return text
            if keep and letter == "[" and not in_bracket:
                in_bracket = True
            elif letter == "]" and in_bracket and not re.search(r"\[\^?$", text):
                in_bracket = False
            if letter == "\n" and keep:
                break
            text += letter
        return self.fail("unterminated substitute pattern" if keep else "unterminated substitute in regular expression")

    def _substitute(self, command: Command) -> Command:
        delimiter = self._delimiter()
        pattern = self._part(delimiter, keep=True)
        replacement = self._part(delimiter, keep=False)
        flags = self._take(r"[gpIi0-9]*")
        target = self._to_end_of_line().strip() if self._take("w[ \t]+") else ""
        if re.match(r"[^ \t\n;}#]", self.script[self.at : self.at + 1] or "\n"):
            self.fail("bad flag in substitute command: '" + self.script[self.at] + "'")
        compiled = self.compile(pattern, "I" in flags or "i" in flags)
        return command._replace(text=replacement, pattern=compiled, flags=flags + (f"w{target}" if target else ""))


class _Editor:
    def __init__(self, process: Process, commands: list[Command], quiet: bool) -> None:
        self.process = process
        self.commands = commands
        self.quiet = quiet
        self.labels = {one.text: at for at, one in enumerate(commands) if one.letter == ":"}
        self.active = [0] * len(commands)
        self.hold = ""
        self.out: list[str] = []
        self.after: list[str] = []
        self.files: dict[str, list[str]] = {}

    def run(self, data: bytes) -> bytes:
        self.lines = [os.fsdecode(line.removesuffix(b"\n")) for line in lines_of(data)]
        self.number = 0
        self.space: str | None = None
        while self.number < len(self.lines):
            if self.space is None:
                self._next()
            if not self._cycle():
                break
        for name, lines in self.files.items():
            _write(self.process, name, os.fsencode("".join(lines)))
        result = "".join(self.out)
        return os.fsencode(result[:-1] if result and data and not data.endswith(b"\n") else result)

    def _next(self) -> None:
        self.space = self.lines[self.number]
        self.number += 1

    def _flush(self) -> None:
        self.out += self.after
        self.after = []

    def _end_of_cycle(self) -> None:
        if not self.quiet:
            self.out.append(f"{self.space}\n")
        self._flush()

    def _cycle(self) -> bool:
        """One run of the script; False when no further line is wanted."""
        at, replaced = 0, False
        while at < len(self.commands):
            command = self.commands[at]
            at += 1
            if self._selected(command, at - 1) == command.negated:
                at = command.body if command.letter == "{" else at
                continue
            letter, space = command.letter, self.space or ""
            if letter == "s":
                done = self._substitute(command, space)
                replaced = replaced or done
            elif letter in ("b", "t"):
                if letter == "b" or replaced:
                    replaced = False if letter == "t" else replaced
                    at = self.labels.get(command.text, len(self.commands)) if command.text else len(self.commands)
            elif letter == "d" or (letter == "D" and "\n" not in space):
                self.space = None
                self._flush()
                return True
            elif letter == "D":
                self.space = space.partition("\n")[2]
                self._flush()
                return True
            elif letter == "c":
                if command.second is None or command.negated or not self.active[at - 1]:
                    self.out.append(command.text)
                self.space = None
                self._flush()
                return True
            elif letter == "q":
                self._end_of_cycle()
                return False
            elif letter in "nN":
                if self.number >= len(self.lines):
                    if letter == "N" or not self.quiet:
                        self._end_of_cycle()
                    return False
                if letter == "n":
                    self._end_of_cycle()
                    self._next()
                else:
                    self._flush()
                    self._next()
                    self.space = f"{space}\n{self.space}"
            else:
                self._simple(command, space)
        self._end_of_cycle()
        self.space = None
        return True

    def _simple(self, command: Command, space: str) -> None:
        letter = command.letter
        if letter == "p":
            self.out.append(space + "\n")
        elif letter == "P":
            self.out.append(space.partition("\n")[0] + "\n")
        elif letter == "=":
            self.out.append(f"{self.number}\n")
        elif letter == "l":
            shown = space.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
            self.out.append(shown + "$\n")
        elif letter == "i":
            self.out.append(command.text)
        elif letter == "a":
            self.after.append(command.text)
        elif letter == "r":
            try:
                self.after.append(os.fsdecode(access.read_all(self.process, command.text)))
            except OSError:
                return
        elif letter == "w":
            self.files.setdefault(command.text, []).append(space + "\n")
        elif letter == "y":
            self.space = space.translate(str.maketrans(command.text, command.flags))
        elif letter in "gG":
            self.space = self.hold if letter == "g" else f"{space}\n{self.hold}"
        elif letter in "hH":
            self.hold = space if letter == "h" else f"{self.hold}\n{space}"
        elif letter == "x":
            self.space, self.hold = self.hold, space

    def _substitute(self, command: Command, space: str) -> bool:
        assert command.pattern is not None
        flags, _, target = command.flags.partition("w")
        wanted = int(re.sub(r"\D", "", flags) or 1)
        seen = 0

        def put(found: re.Match[str]) -> str:
            nonlocal seen
            seen += 1
            if seen < wanted or (seen > wanted and "g" not in flags):
                return found[0]
            return _expand(command.text, found)

        changed = command.pattern.sub(put, space)
        if seen < wanted:
            return False
        self.space = changed
        if "p" in flags:
            self.out.append(changed + "\n")
        if target:
            self.files.setdefault(target, []).append(changed + "\n")
        return True

    def _selected(self, command: Command, at: int) -> bool:
        if command.first is None:
            return True
        if command.second is None:
            return self._hits(command.first)
        if self.active[at]:
            ends = command.second.kind == "line" and self.number >= command.second.number
            if ends or (command.second.kind != "line" and self._hits(command.second)):
                self.active[at] = 0
            return not (command.second.kind == "line" and self.number > command.second.number)
        if not self._hits(command.first):
            return False
        over = command.second.kind == "line" and command.second.number <= self.number
        self.active[at] = int(not over and not (command.second.kind == "last" and self.number == len(self.lines)))
        return True

    def _hits(self, address: Address) -> bool:
        if address.kind == "line":
            return self.number == address.number
        if address.kind == "last":
            return self.number == len(self.lines)
        if address.kind == "step":
            step = int(address.pattern.pattern) if address.pattern else 0
            return self.number == address.number if not step else (
                self.number >= address.number and (self.number - address.number) % step == 0)  # fmt: skip
        return bool(address.pattern and address.pattern.search(self.space or ""))


def _expand(text: str, found: re.Match[str]) -> str:
    """A replacement with its & and \\1."""

    def one(part: re.Match[str]) -> str:
        if part[0] == "&":
            return found[0]
        letter = part[1]
        if letter.isdigit():
            return (found[int(letter)] or "") if int(letter) <= (found.re.groups) else ""
        return "\n" if letter == "n" else letter

    return re.sub(r"\\([\s\S])|&", one, text)
