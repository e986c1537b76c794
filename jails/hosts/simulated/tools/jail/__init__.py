"""jail(8): creates, changes and removes jails, from the command line or from jail.conf(5).

The flow is that of usr.sbin/jail: state.c (which jail is next, dependencies), command.c (the order of commands of
one jail) and jail.c (what becomes of -c, -m, -r and their mixtures). Commands run one at a time, but jails take
turns as they do when FreeBSD runs them side by side.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Any

from jails.hosts.simulated import prison
from jails.hosts.simulated.process import Exit
from jails.hosts.simulated.world import World

from .commands import START_COMMANDS, STOP_COMMANDS, Commands
from .conf import DEPEND, FAILED, OPERATION, PARAMS, SET, SHOW, START, STOP, WILD, ConfJail, is_wild, quote, strerror

USAGE_12 = """\
usage: jail [-dhilqv] [-J jid_file] [-u username] [-U username]
            -[cmr] param=value ... [command=command ...]
       jail [-dqv] [-f file] -[cmr] [jail]
       jail [-qv] [-f file] -[rR] ['*' | jail ...]
       jail [-dhilqv] [-J jid_file] [-u username] [-U username]
            [-n jailname] [-s securelevel]
            path hostname [ip[,...]] command ...
       jail [-f file] -e separator
"""
USAGE_14 = """\
usage: jail [-dhilqv] [-J jid_file] [-u username] [-U username]
            -[cmr] param=value ... [command=command ...]
       jail [-dqv] [-f file] [-e separator] -[cmr] [jail]
       jail [-qv] [-f file] -[rR] ['*' | jail ...]
       jail [-dhilqv] [-J jid_file] [-u username] [-U username]
            [-n jailname] [-s securelevel]
            path hostname [ip[,...]] command ...
"""


class Usage(Exception):
    pass


class Complaint(Exception):
    """err(3): say something and end at once."""


def main(caller: Any) -> int:
    process = World(caller)
    run = Run(process)
    try:
        return run.go(list(process.argv[1:]))
    except Usage:
        process.err(USAGE_14 if process.release_at_least(13) else USAGE_12)
        return 1
    except Complaint as problem:
        process.err(f"{problem}\n")
        return 1


class Run(Commands):
    """One run: the command line and the main loop (jail.c)."""

    def go(self, words: list[str]) -> int:
        operation, from_file, removing, conf, jid_file = 0, True, False, "/etc/jail.conf", None
        single = ConfJail()
        options, words = self._options(words)
        for letter, value in options:
            if letter == "c":
                operation |= START
            elif letter == "m":
                operation |= SET
            elif letter in "rR":
                operation |= STOP
                removing = removing or letter == "R"
            elif letter == "e":
                operation |= SHOW
                self.separator = value
            elif letter == "f":
                conf = value
            elif letter == "J":
                jid_file = value
            elif letter == "p":
                self.one_at_a_time = value == "1"
            elif letter == "d":
                self.dying = True
            elif letter == "i":
                self.print_jid, self.verbose = True, -1
            elif letter in "qv":
                self.verbose = -1 if letter == "q" else 1
            elif letter in "hlnsuU":
                self._old_option(single, letter, value)
                from_file = False
        if not operation:
            self._old_style(single, words)
            operation, from_file = START, False
            self.jails = [single]
            words = []
        elif operation & SHOW and (operation == SHOW or not words):
            self._load(conf)
            self._show()
            return 0
        elif operation == STOP:
            if not from_file or not words:
                raise Usage
            if not removing and any("=" in word for word in words):
                raise Usage
            from_file = not removing and (conf == "-" or self.process.stat(conf) is not None)
            if from_file:
                self._load(conf)
            self.note_remove = from_file or len(words) > 1 or is_wild(words[0])
        elif len(words) > 1 or (len(words) == 1 and "=" in words[0]):
            if removing:
                raise Usage
            from_file = False
            self._command_line(single, words)
            self.jails = [single]
            words = []
        else:
            if removing or not from_file:
                raise Usage
            self._load(conf)
        self._dependencies(from_file)
        if operation == STOP:
            failed = [word for word in words if not self._start_state(word, from_file, operation, removing)]
            error = 1 if failed else 0
        else:
            target = words[0] if words else None
            if not self._start_state(target, from_file, operation, False):
                return 1
            error = 0
        return self._loop(error, jid_file)

    def _options(self, words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
        options: list[tuple[str, str]] = []
        while words and words[0].startswith("-") and words[0] != "-":
            word = words.pop(0)
            if word == "--":
                break
            for position, letter in enumerate(word[1:], 1):
                if letter in "efJnpsuU":
                    if position + 1 == len(word) and not words:
                        self.process.err(f"jail: option requires an argument -- {letter}\n")
                        raise Usage
                    options.append((letter, word[position + 1 :] or words.pop(0)))
                    break
                if letter not in "cdhilmqrRv" + ("C" if prison.version(self.release)[0] >= 15 else ""):
                    self.process.err(f"jail: illegal option -- {letter}\n")
                    raise Usage
                options.append((letter, ""))
        return options, words

    def _old_option(self, jail: ConfJail, letter: str, value: str) -> None:
        if letter == "h":
            jail.add("ip_hostname", [])
        elif letter == "l":
            jail.add("exec.clean", [])
        elif letter == "n":
            jail.add("name", [value])
        elif letter == "s":
            jail.add("securelevel", [value])
        else:
            jail.add("exec.jail_user", [value])
            jail.add("exec.system_jail_user", [] if letter == "u" else ["false"])

    def _old_style(self, jail: ConfJail, words: list[str]) -> None:
        if len(words) < 4 or not words[0].startswith("/"):
            raise Usage
        jail.add("path", [words[0]])
        jail.add("host.hostname", [words[1]])
        for address in filter(None, words[2].split(",")):
            jail.add("ip6.addr" if ":" in address else "ip4.addr", [address])
        jail.add("command", words[3:])
        jail.add("allow.noraw_sockets", [])

    def _command_line(self, jail: ConfJail, words: list[str]) -> None:
        for position, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name == "command":
                jail.add("command", ([value] if equals else []) + words[position + 1 :])
                return
            if name in ("ip4.addr", "ip6.addr") and equals:
                jail.add(name, value.split(","))
            elif name in ("name", "jid") and jail.find(name):
                self.process.err(f'jail: cannot redefine variable "{name}".\n')
            else:
                jail.add(name, [value] if equals else [])

    def _load(self, filename: str) -> None:
        """Read jail.conf(5); what is wrong with it is said now."""
        from jails.freebsd import jailconf

        try:
            text = self.process.stdin_text() if filename == "-" else self.process.read_text(filename)
        except OSError as problem:
            raise Complaint(f"jail: {filename}: {strerror(problem)}") from None
        include = self._include if prison.version(self.release)[0] >= 14 else None
        read = jailconf.read(text, filename=filename, include=include)
        self.process.err(read.stderr)
        if read.rc:
            raise Exit(read.rc)
        for found in read.jails:
            jail = ConfJail(found.name)
            jail.params = [(name, list(values)) for name, values in found.parameters]
            jail.flags = FAILED if found.failed else 0
            self.jails.append(jail)

    def _include(self, pattern: str) -> Iterable[tuple[str, str]]:
        folder, _, last = pattern.rpartition("/")
        names = self.process.listdir(folder or "/") if re.search(r"[*?\[]", last) else [last]
        for name in sorted(names):
            if fnmatch.fnmatchcase(name, last):
                yield f"{folder}/{name}", self.process.read_text(f"{folder}/{name}")

    def _show(self) -> None:
        for jail in self.jails:
            self.process.out(self._record(jail, running=False) + "\n")

    def _record(self, jail: ConfJail, *, running: bool) -> str:
        parts = [f"jid={jail.jid}"] if running else []
        for name, values in jail.params:
            if name != "jid":
                parts.append(name + ("=" + ",".join(map(quote, values)) if values else ""))
        return self.separator.join(parts)

    def _loop(self, error: int, jid_file: str | None) -> int:
        records: list[str] = []
        while jail := self._next():
            if jail.flags & FAILED:
                error = 1
                if not jail.begun:
                    self._settled(jail)
                    continue
            if not jail.flags & PARAMS:
                jail.flags |= PARAMS
                if not self._check(jail) or (jail.flags & (START | SET) and not self._import(jail)):
                    continue
            if not jail.jid:
                allow_dying = self.dying or jail.true("allow.dying")
                jail.jid = self._running_of(jail, dying=bool(jail.flags & SET) and allow_dying)
            if jail.outcome and not self._finish(jail):
                continue
            self._mixed(jail)
            if jail.flags & STOP:
                error = self._stop(jail, error)
            elif jail.flags & START:
                self._start(jail, records)
            elif jail.flags & SET:
                self._set(jail)
            if jail.flags & FAILED:
                error = 1
        if jid_file is not None:
            self.process.write_text(jid_file, "".join(records))
        return error

    def _mixed(self, jail: ConfJail) -> None:
        """-cm, -mr and -cmr turn into one operation, depending on whether the jail runs."""
        operation = jail.flags & OPERATION
        if operation == START | SET:
            jail.flags ^= SET if jail.jid < 0 else START
        elif operation == SET | STOP and jail.jid > 0:
            jail.flags ^= SET if self._fixed_differs(jail) else STOP
            jail.flags |= START if jail.flags & STOP else 0
        elif operation == START | SET | STOP:
            if jail.jid < 0:
                jail.flags ^= SET | STOP
            else:
                jail.flags ^= SET if self._fixed_differs(jail) else START | STOP

    def _start(self, jail: ConfJail, records: list[str]) -> None:
        if not jail.begun:
            if jail.jid > 0 and not jail.flags & (DEPEND | WILD):
                self._quoted(jail, "already exists")
                self._failed(jail)
                return
            if self._must_wait(jail):
                return
            if jail.jid <= 0:
                self._begin(jail, START_COMMANDS)
        if jail.begun and self._next_command(jail):
            return
        self._clear_persist(jail)
        if not jail.flags & FAILED:
            records.append(self._record(jail, running=True) + "\n")
        self._settled(jail)

    def _set(self, jail: ConfJail) -> None:
        if jail.jid < 0 and not jail.flags & DEPEND:
            self._quoted(jail, "not found")
            self._failed(jail)
            return
        if self._must_wait(jail):
            return
        if not jail.flags & DEPEND:
            if not self._update(jail):
                return
            if self.verbose >= 0 and (jail.name or self.verbose > 0):
                self._note(jail, "updated\n")
        self._settled(jail)

    def _stop(self, jail: ConfJail, error: int) -> int:
        if not jail.begun:
            if self._must_wait(jail):
                return error
            if jail.jid < 0:
                if not jail.flags & (DEPEND | WILD):
                    if self.verbose >= 0:
                        self._quoted(jail, "not found")
                    if not jail.flags & START or self.verbose >= 0:
                        jail.flags |= FAILED if not jail.flags & START else 0
                    error = 0 if jail.flags & START else 1
                self._stopped(jail)
                return error
            self._begin(jail, STOP_COMMANDS)
        if self._next_command(jail):
            return error
        self._stopped(jail)
        return error

    def _stopped(self, jail: ConfJail) -> None:
        self._settled(jail)
        if jail.flags & (START | FAILED) == START:
            jail.begun = False
            jail.flags &= ~STOP
            self._count(jail)
            self._queue(jail, self.depend if jail.waiting_for else self.ready)
