"""Read jail.conf(5) files as jail(8) does, and change single parameters. Needs no settings and no database."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jails.freebsd import jailconf, parameters
from jails.freebsd.jailconf import effective, write
from jails.management import textfiles

STDIN = "-"
NEARBY = 3
"""Lines shown around a fault."""

SHOW = """\
The effective parameters of each jail: wildcards applied, variables replaced, `.include` followed. A FILE of - is
standard input. Exits with 1 when jail(8) would not read one of the files; the others are shown all the same.

With --json each file is an object on a line of its own: file, rc (of reading it), errors (file, line, column, message,
jail), jails (null where rc is 1): name, failed, parameters (name, values; none for a bare name). A byte that is not
UTF-8 comes as the lone surrogate U+DC80 to U+DCFF.
"""
SET = """\
Prints what would change as a unified diff; nothing is written without --write. All other bytes of the file stay.

  PARAM=VALUE   one value; given several times: a list, in that order. PARAM= is the empty value.
  PARAM         a boolean that is on: persist, allow.mount
  noPARAM       a boolean that is off: nopersist, allow.nomount
  PARAM-        take out what the jail's own block says of it; what the file sets for all jails then applies

Values are taken as they are: a $ in one is a dollar sign, no variable. The jail's block must stand in FILE itself and
not in a file that it includes. Only that jail may change: where the edit would reach others, or where a later part of
the file would override it, nothing is done. JAIL is one jail, no wildcard.

--write puts the new file in place in one stroke, with the same mode and owner, following a symbolic link, and only if
the file is still as it was read. The last five versions are kept as .versions/NAME.1 (the newest) to .5 beside it,
where neither rc.d/jail nor a pattern of `.include` finds them.
"""


class Command(BaseCommand):
    help = "Read jail.conf(5) as jail(8) does, or change one jail's parameters and leave every other byte as it was."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="subcommand", metavar="show | set", required=True)
        raw = argparse.RawDescriptionHelpFormatter
        show = commands.add_parser("show", description=SHOW, formatter_class=raw, help="what jail(8) makes of files")
        show.add_argument("files", nargs="+", metavar="FILE")
        show.add_argument("--json", action="store_true", dest="as_json", help="one object a file, each on a line")
        show.add_argument(
            "--no-include",
            action="store_true",
            help="read as jail(8) before FreeBSD 14.0 does, 12.1 for one: .include is a parameter like any other",
        )
        change = commands.add_parser("set", description=SET, formatter_class=raw, help="change one jail's parameters")
        change.add_argument("file", metavar="FILE")
        change.add_argument("jail", metavar="JAIL")
        change.add_argument("changes", nargs="+", metavar="PARAM[=VALUE]")
        change.add_argument("--write", action="store_true", help="write the file")
        change.add_argument(
            "--force", action="store_true", help="also what is not known as a parameter of jail(8), or as its value"
        )

    def handle(self, *, subcommand: str, **options: Any) -> None:
        if subcommand == "show":
            self.show(options["files"], as_json=options["as_json"], no_include=options["no_include"])
        else:
            self.set(options["file"], options["jail"], options["changes"], options["write"], options["force"])

    def show(self, files: Sequence[str], *, as_json: bool, no_include: bool) -> None:
        readings = []
        for at, name in enumerate(files):
            reading = Reading.of(name, include=not no_include)
            readings.append(reading)
            if as_json:
                textfiles.put(self.stdout, json.dumps(reading.row) + "\n")
            else:
                textfiles.put(self.stdout, ("\n" if at else "") + "".join(f"{line}\n" for line in reading.listing()))
        bad = [textfiles.visible(reading.name) for reading in readings if reading.conf.rc]
        if bad:
            raise CommandError(f"jail(8) would not read {', '.join(bad)}", returncode=1)

    def set(self, name: str, jail: str, words: Sequence[str], is_written: bool, forced: bool) -> None:
        if is_written and name == STDIN:
            raise CommandError("--write: standard input cannot be written; name the file")
        changes = parsed(words)
        self.refuse_wrong(changes, forced)
        try:
            file = None if name == STDIN else textfiles.read(name)
        except OSError as error:
            raise CommandError(textfiles.visible(f"{name}: {error.strerror}")) from None
        text = file.text if file else textfiles.decode(textfiles.standard_input())
        edited = self.edited(text, shown_name(name), jail, changes)
        if edited == text:
            self.stderr.write("It says so already: nothing changes.")
            return
        textfiles.put(self.stdout, textfiles.diff(shown_name(name), text, edited))
        for parameter in changes:
            if parameters.change(parameter) is parameters.Change.RESTART:
                self.stderr.write(
                    f"{parameter}: needs a restart. If jail {textfiles.visible(jail)} runs, stop it before the file is "
                    "written: jail -r undoes what the file says."
                )
        if is_written and file:
            self.replace(file, edited)

    def refuse_wrong(self, changes: Changes, forced: bool) -> None:
        wrong = [
            textfiles.visible(problem)
            for name, value in changes.items()
            if value is not REMOVE and (problem := parameters.validate(name, value))
        ]
        for problem in wrong if forced else ():
            self.stderr.write(f"{problem} Taken all the same.")
        if wrong and not forced:
            raise CommandError("\n".join([*wrong, "Nothing was done; --force takes it all the same."]))

    def edited(self, text: str, name: str, jail: str, changes: Changes) -> str:
        conf = jailconf.read(text, filename=name)
        if conf.rc:
            lines = [*problem_lines(conf.errors), *marked(text, name, conf.errors, nearby=NEARBY)]
            textfiles.put(self.stderr, "".join(f"{line}\n" for line in lines))
            raise CommandError(f"{textfiles.visible(name)}: jail(8) would not read it; nothing was done")
        try:
            document = jailconf.edit(text, filename=name)
            for parameter, value in changes.items():
                removes = value is REMOVE
                document = document.remove(jail, parameter) if removes else document.set(jail, parameter, value)
        except ValueError as refused:
            names = [own.name for own in conf.jails]
            known = "" if jail in names or not names else f" Its jails: {', '.join(names)}."
            raise CommandError(textfiles.visible(f"{refused}. Nothing was done.{known}")) from None
        return document.text

    def replace(self, file: textfiles.File, text: str) -> None:
        try:
            kept = textfiles.replace(file, textfiles.encode(text))
        except OSError as error:
            where = error.filename or file.path
            raise CommandError(textfiles.visible(f"{where}: {error.strerror}; nothing was written")) from None
        except textfiles.NotWritten as error:
            raise CommandError(textfiles.visible(f"{error}; nothing was written")) from None
        self.stderr.write(textfiles.visible(f"{file.path} is written; the version before is {kept}."))


@dataclass(frozen=True)
class Reading:
    """A file as jail(8) reads it; `texts` are it and the included ones, by the name they have in messages."""

    name: str
    conf: jailconf.JailConf
    texts: dict[str, str]

    @classmethod
    def of(cls, name: str, *, include: bool) -> Reading:
        shown = shown_name(name)
        try:
            content = textfiles.standard_input() if name == STDIN else open_read(name)
        except OSError as error:
            problem = jailconf.Problem(f"{shown}: {error.strerror}", shown)
            return cls(name, jailconf.JailConf(1, (problem,), ()), {})
        texts = {shown: textfiles.decode(content)}
        included = textfiles.Included()

        def find(pattern: str) -> Iterator[tuple[str, str]]:
            for path, text in included(pattern):
                texts[path] = text
                yield path, text

        conf = jailconf.read(texts[shown], filename=shown, include=find if include else None)
        return cls(name, conf, texts)

    @property
    def row(self) -> dict[str, Any]:
        """JSON values."""
        jails = [
            {
                "name": jail.name,
                "failed": jail.failed,
                "parameters": [{"name": name, "values": list(values)} for name, values in jail.parameters],
            }
            for jail in self.conf.jails
        ]
        errors = [
            {
                "file": problem.filename,
                "line": problem.line,
                "column": problem.column,
                "message": problem.message,
                "jail": problem.jail,
            }
            for problem in self.conf.errors
        ]
        return {"file": self.name, "rc": self.conf.rc, "errors": errors, "jails": None if self.conf.rc else jails}

    def listing(self) -> Iterator[str]:
        """Lines for people, without what a terminal would act on."""
        name = textfiles.visible(self.name)
        if self.conf.rc:
            yield f"{name}: jail(8) would not read it"
            yield from problem_lines((*self.conf.errors, *self.conf.notes))
            for filename, text in self.texts.items():
                yield from marked(text, filename, self.conf.errors)
            return
        count = len(self.conf.jails)
        yield f"{name}: {count} {'jail' if count == 1 else 'jails'}"
        for jail in self.conf.jails:
            yield ""
            yield f"  {textfiles.visible(jail.name)}{' (jail(8) refuses this jail)' if jail.failed else ''}"
            width = max((len(textfiles.visible(parameter)) for parameter, _ in jail.parameters), default=0)
            for parameter, values in jail.parameters:
                yield f"    {textfiles.visible(parameter):{width}}  {', '.join(map(quoted, values))}".rstrip()
        yield from problem_lines((*self.conf.errors, *self.conf.notes))


def shown_name(name: str) -> str:
    """What jail(8) calls a file in its messages."""
    return "STDIN" if name == STDIN else name


def open_read(name: str) -> bytes:
    with open(name, "rb") as file:
        return file.read()


def quoted(value: str) -> str:
    return textfiles.visible(write.quote(value)).replace("\n", "\\n")


def problem_lines(problems: Sequence[jailconf.Problem]) -> Iterator[str]:
    for problem in problems:
        place = f" (line {problem.line}, column {problem.column})" if problem.line else ""
        yield f"  {textfiles.visible(problem.message)}{place}"


def marked(text: str, name: str, problems: Sequence[jailconf.Problem], *, nearby: int | None = None) -> Iterator[str]:
    """The text with line numbers and a mark under each fault; with `nearby`, only so many lines around each."""
    columns: dict[int, list[int]] = {}
    for problem in problems:
        if problem.filename == name and problem.line:
            columns.setdefault(problem.line, []).append(problem.column)
    if not columns:
        return
    near = {line + step for line in columns for step in range(-nearby, nearby + 1)} if nearby is not None else None
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if number == len(lines) and not line and number not in columns:
            return
        if near is not None and number not in near:
            continue
        yield f"{number:6} | {textfiles.visible(line)}"
        for column in columns.get(number, ()):
            before = textfiles.visible(line[: column - 1])
            yield f"       | {''.join(c if c == chr(9) else ' ' for c in before)}^"


REMOVE = object()
Changes = dict[str, Any]
"""Values by parameter: None for a bare name, a text, several of them, or REMOVE."""


def parsed(words: Sequence[str]) -> Changes:
    """What the words of `set` ask for. CommandError for what contradicts itself."""
    changes: Changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        wanted: Any = value if equals else None
        if name.endswith("+") and equals:
            raise CommandError(f"{word}: give all values that {name[:-1]} is to have, one PARAM=VALUE each")
        if name.endswith("-") and not equals:
            name, wanted = name[:-1], REMOVE
        like = next((known for known in changes if effective.same_option(known, name)), None)
        if like is None:
            changes[name] = wanted
        elif like == name and isinstance(changes[name], (str, tuple)) and isinstance(wanted, str):
            before = changes[name]
            changes[name] = (*((before,) if isinstance(before, str) else before), wanted)
        else:
            raise CommandError(textfiles.visible(f"{word}: {like} is given twice, in ways that do not go together"))
    return changes
