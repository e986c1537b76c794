"""sed(1): addresses, p, d, q, s, =, a, i, c, y and { }; what else there is, is refused."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from jails.hosts.simulated.host import strerror
from jails.hosts.simulated.process import Process

from . import access
from .text import posix_pattern


class Command(NamedTuple):
    first: str
    second: str
    negated: bool
    letter: str
    text: str
    pattern: re.Pattern[str] | None
    flags: str


def main(process: Process) -> int:
    words, scripts, operands = process.argv[1:], [], []
    quiet = extended = False
    in_place: str | None = None
    while words:
        word = words.pop(0)
        if word in ("-e", "-f") and words:
            value = words.pop(0)
            scripts.append(value if word == "-e" else os.fsdecode(access.read_all(process, value)))
        elif word == "-i" and words:
            in_place = words.pop(0)
        elif re.fullmatch(r"-[nEr]+", word):
            quiet, extended = quiet or "n" in word, extended or "E" in word or "r" in word
        elif word.startswith("-") and word not in ("-", "--"):
            access.wrong_usage(
                process, f"illegal option -- {word[1]}", "usage: sed script [-EHalnru] [-i extension] [file ...]", 1
            )
        elif word != "--":
            operands.append(word)
    if not scripts:
        if not operands:
            access.wrong_usage(process, "", "usage: sed script [-EHalnru] [-i extension] [file ...]", 1)
        scripts = [operands.pop(0)]
    commands = _parse(process, "\n".join(scripts), extended)
    failed = 0
    for operand in operands or ["-"]:
        try:
            text = os.fsdecode(access.read_all(process, operand))
        except OSError as error:
            process.err(f"sed: {operand}: {strerror(error)}\n")
            failed = 1
            continue
        result = os.fsencode(_edit(commands, text, quiet, extended))
        if in_place is None:
            process.out(result)
            continue
        real = access.open_file(process, operand, os.O_WRONLY | os.O_TRUNC)
        os.write(real, result)
        os.close(real)
    return failed


_ADDRESS = r"(\d+|\$|/(?:\\.|[^/])*/)"


def _parse(process: Process, script: str, extended: bool) -> list[Command]:
    commands, rest = [], script
    while rest := rest.lstrip("; \t\n"):
        found = re.match(rf"{_ADDRESS}?(?:,{_ADDRESS})?\s*(!?)\s*([pdq=s]|[aic]\\?\n?)", rest)
        if found is None:
            process.exit(1, f'1: "{script}": invalid command code {rest[0]}')
        letter = found[4][0]
        rest = rest[found.end() :]
        pattern, text, flags = None, "", ""
        if letter == "s":
            delimiter = re.escape(rest[:1])
            parts = re.match(
                rf"{delimiter}((?:\\.|(?!{delimiter}).)*){delimiter}((?:\\.|\\\n|(?!{delimiter}).)*){delimiter}([gpI0-9]*)",
                rest,
                re.S,
            )
            if parts is None:
                process.exit(1, f'1: "{script}": unterminated substitute pattern')
            flags, text = parts[3], parts[2]
            pattern = re.compile(posix_pattern(parts[1], extended), re.I if "I" in flags else 0)
            rest = rest[parts.end() :]
        elif letter in "aic":
            text, _, rest = rest.partition("\n")
        commands.append(Command(found[1] or "", found[2] or "", bool(found[3]), letter, text, pattern, flags))
    return commands


def _edit(commands: list[Command], text: str, quiet: bool, extended: bool) -> str:
    lines = text.splitlines()
    active = [False] * len(commands)
    out: list[str] = []
    for number, line in enumerate(lines, 1):
        last = number == len(lines)
        deleted, ending, after = False, False, []
        for at, command in enumerate(commands):
            if _selected(command, number, last, line, active, at, extended) == command.negated:
                continue
            if command.letter == "s" and command.pattern:
                line, count = command.pattern.subn(
                    _replacement(command.text), line, count=0 if "g" in command.flags else 1
                )
                if count and "p" in command.flags:
                    out.append(line)
            elif command.letter == "p":
                out.append(line)
            elif command.letter == "=":
                out.append(str(number))
            elif command.letter == "i":
                out.append(command.text)
            elif command.letter == "a":
                after.append(command.text)
            elif command.letter == "q":
                ending = True
                break
            else:
                if command.letter == "c":
                    out.append(command.text)
                deleted = True
                break
        if not quiet and not deleted:
            out.append(line)
        out += after
        if ending:
            break
    result = "".join(line + "\n" for line in out)
    return result[:-1] if result and not text.endswith("\n") else result


def _replacement(text: str) -> str:
    text = re.sub(r"(?<!\\)((?:\\\\)*)&", r"\1\\g<0>", text)
    return text.replace(r"\&", "&").replace("\\\n", "\n").replace(r"\/", "/")


def _selected(
    command: Command, number: int, last: bool, line: str, active: list[bool], at: int, extended: bool
) -> bool:
    def hits(address: str) -> bool:
        if address.isdigit():
            return number == int(address)
        return last if address == "$" else bool(re.search(posix_pattern(address[1:-1], extended), line))

    if not command.first:
        return True
    if not command.second:
        return hits(command.first)
    if active[at]:
        active[at] = not (number >= int(command.second) if command.second.isdigit() else hits(command.second))
        return True
    if hits(command.first):
        active[at] = not (command.second.isdigit() and int(command.second) <= number)
        return True
    return False
