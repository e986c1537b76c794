"""jail(8): creates, changes and removes jails, from the command line or from jail.conf(5).

The flow is that of usr.sbin/jail: state.c (which jail is next, dependencies), command.c (the order of commands of
one jail) and jail.c (what becomes of -c, -m, -r and their mixtures). Commands run one at a time, but jails take
turns as they do when FreeBSD runs them side by side.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Iterable
from typing import Any

from jails.hosts.simulated import network, prison
from jails.hosts.simulated.process import Exit
from jails.hosts.simulated.world import TIMED_OUT, World

START, SET, STOP, SHOW = 1, 2, 4, 8
OPERATION = START | SET | STOP
DEPEND, FAILED, PARAMS, WILD, PERSIST, RDTUN = 16, 32, 64, 128, 256, 512

START_COMMANDS = (
    "exec.prepare",
    "_ip4",
    "_ip6",
    "mount",
    "_fstab",
    "mount.devfs",
    "mount.fdescfs",
    "mount.procfs",
    "exec.prestart",
    "_op",
    "exec.created",
    "vnet.interface",
    "exec.start",
    "command",
    "exec.poststart",
)
STOP_COMMANDS = (
    "exec.prestop",
    "exec.stop",
    "stop.timeout",
    "_op",
    "exec.poststop",
    "mount.procfs",
    "mount.fdescfs",
    "mount.devfs",
    "_fstab",
    "mount",
    "_ip6",
    "_ip4",
    "exec.release",
)
NOT_UNDONE = {"exec.prepare", "exec.prestart", "exec.created", "exec.start", "command", "exec.poststart"}
REVERSED_ON_STOP = {"mount", "_fstab", "_ip4", "_ip6"}
IN_JAIL = {"exec.start", "command", "exec.stop"}
SINCE_13 = {"exec.prepare", "exec.release"}

INTERNAL = {
    "allow.dying": "bool",
    "command": "",
    "depend": "",
    "exec.clean": "bool",
    "exec.consolelog": "",
    "exec.created": "",
    "exec.fib": "int",
    "exec.jail_user": "",
    "exec.poststart": "",
    "exec.poststop": "",
    "exec.prepare": "",
    "exec.prestart": "",
    "exec.prestop": "",
    "exec.release": "",
    "exec.start": "",
    "exec.stop": "",
    "exec.system_jail_user": "bool",
    "exec.system_user": "",
    "exec.timeout": "int",
    "interface": "",
    "ip_hostname": "bool",
    "mount": "",
    "mount.devfs": "bool",
    "mount.fdescfs": "bool",
    "mount.fstab": "",
    "mount.procfs": "bool",
    "stop.timeout": "int",
    "vnet.interface": "",
}
SHELL_CHARACTERS = re.compile(r"""[!"$&'()*;<>?\[\\\]`{|}~]""")

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


class _Usage(Exception):
    pass


class _Exit(Exception):
    """err(3): say something and end at once."""


class ConfJail:
    """A jail as jail(8) sees it: parameters in their order and how far its commands have come."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.params: list[tuple[str, list[str]]] = []
        self.internal: dict[str, list[str]] = {}
        self.flags = 0
        self.jid = 0
        self.imported: dict[str, Any] = {}
        self.commands: tuple[str, ...] = ()
        self.begun = False
        self.position = -1
        self.queue_of_command: list[str] | None = None
        self.at = 0
        self.waiting_for = 0
        self.outcome: tuple[int, str] | None = None
        self.depends_on: list[_Edge] = []
        self.depended_by: list[_Edge] = []

    def add(self, name: str, values: Iterable[str]) -> None:
        """add_param() for something given on the command line: values add up."""
        for position, (known, held) in enumerate(self.params):
            if _same_option(known, name):
                self.params[position] = (name, [*held, *values])
                return
        self.params.append((name, list(values)))

    def find(self, name: str) -> tuple[str, list[str]] | None:
        if name in self.internal:
            return name, self.internal[name]
        return next(((known, held) for known, held in self.params if _same_option(known, name)), None)

    def text(self, name: str) -> str | None:
        found = self.find(name)
        return found[1][-1] if found and found[1] else None

    def true(self, name: str) -> bool:
        found = self.find(name)
        if found is None:
            return False
        negated = found[0].rpartition(".")[2].startswith("no") and found[0] != name
        if not found[1]:
            return not negated
        value = found[1][-1].lower()
        return (value == "true" or bool(re.fullmatch(r"-?0*[1-9]\d*", value))) != negated

    def number(self, name: str) -> int | None:
        value = self.text(name)
        return int(value) if value and re.fullmatch(r"\s*[+-]?\d+", value) else None


class _Edge:
    """``source`` depends on ``target``; light: only on its existence."""

    def __init__(self, source: ConfJail, target: ConfJail, *, light: bool) -> None:
        self.source = source
        self.target = target
        self.light = light
        self.seen = False


def main(caller: Any) -> int:
    process = World(caller)
    run = _Run(process)
    try:
        return run.go(list(process.argv[1:]))
    except _Usage:
        process.err(USAGE_14 if process.release_at_least(13) else USAGE_12)
        return 1
    except _Exit as problem:
        process.err(f"{problem}\n")
        return 1


class _Run:
    def __init__(self, process: Any) -> None:
        self.process = process
        self.host = process.host
        with self.host.reading() as state:
            self.release = self.host.release(state)
        self.jails: list[ConfJail] = []
        self.ready: list[ConfJail] = []
        self.depend: list[ConfJail] = []
        self.sleeping: list[ConfJail] = []
        self.verbose = 0
        self.print_jid = False
        self.dying = False
        self.note_remove = False
        self.separator = "\t"

    # -- The command line ----------------------------------------------------------------------------------------

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
                raise _Usage
            if not removing and any("=" in word for word in words):
                raise _Usage
            from_file = not removing and (conf == "-" or self.process.stat(conf) is not None)
            if from_file:
                self._load(conf)
            self.note_remove = from_file or len(words) > 1 or _is_wild(words[0])
        elif len(words) > 1 or (len(words) == 1 and "=" in words[0]):
            if removing:
                raise _Usage
            from_file = False
            self._command_line(single, words)
            self.jails = [single]
            words = []
        else:
            if removing or not from_file:
                raise _Usage
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
                        raise _Usage
                    options.append((letter, word[position + 1 :] or words.pop(0)))
                    break
                if letter not in "cdhilmqrRv" + ("C" if prison.version(self.release)[0] >= 15 else ""):
                    self.process.err(f"jail: illegal option -- {letter}\n")
                    raise _Usage
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
            raise _Usage
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
            raise _Exit(f"jail: {filename}: {_strerror(problem)}") from None
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
                parts.append(name + ("=" + ",".join(map(_quote, values)) if values else ""))
        return self.separator.join(parts)

    # -- Dependencies and queues (state.c) -----------------------------------------------------------------------

    def _dependencies(self, from_file: bool) -> None:
        if not from_file:
            for name in (self.jails[0].find("depend") or ("", []))[1] if self.jails else []:
                if self._running(name) < 0:
                    self.process.err(f'jail: depends on nonexistent jail "{name}"\n')
                    self.jails[0].flags |= FAILED
            return
        by_name = {str(jail.name): jail for jail in self.jails}
        edges = 0
        for jail in [jail for jail in self.jails if not jail.flags & FAILED]:
            for name in (jail.find("depend") or ("", []))[1]:
                if name in by_name:
                    self._edge(jail, by_name[name], light=False)
                    edges += 1
                else:
                    self._warn(jail, f'depends on undefined jail "{name}"')
                    jail.flags |= FAILED
            outer = str(jail.name).rpartition(".")[0]
            if outer in by_name:
                self._edge(jail, by_name[outer], light=True)
                edges += 1
        if edges > 1:
            self._find_loops()

    def _edge(self, source: ConfJail, target: ConfJail, *, light: bool) -> None:
        edge = _Edge(source, target, light=light)
        source.depends_on.append(edge)
        target.depended_by.append(edge)

    def _find_loops(self) -> None:
        left = {id(jail): len(jail.depends_on) for jail in self.jails}
        pending = list(self.jails)
        while pending:
            free = [jail for jail in pending if left[id(jail)] <= 0]
            if not free:
                self._warn(pending[0], "dependency loop")
                pending[0].flags |= FAILED
                free = [pending[0]]
            for jail in free:
                pending.remove(jail)
                for edge in jail.depended_by:
                    left[id(edge.source)] -= 1

    def _start_state(self, target: str | None, from_file: bool, operation: int, running: bool) -> bool:
        if target is None or (not from_file and operation != STOP) or (not running and target == "*"):
            for jail in self.jails:
                jail.flags = (jail.flags & FAILED) | operation | (WILD if from_file else 0)
                self._count(jail)
                self._queue(jail, self.depend if jail.waiting_for else self.ready)
            return True
        if _is_wild(target):
            if running:
                for name, jid in self._running_jails():
                    if _wild_match(name, target):
                        self._add_running(name, jid).flags |= operation | WILD
            else:
                for jail in [jail for jail in self.jails if _wild_match(str(jail.name), target)]:
                    jail.flags = (jail.flags & FAILED) | operation | WILD
                    self._count(jail)
                    self._queue(jail, self.ready)
            return True
        found = next((jail for jail in self.jails if jail.name == target), None)
        if found is None and operation == STOP and (jid := self._running(target, dying=True)) > 0:
            found = self._add_running(target, jid)
        if found is None:
            self.process.err(f'jail: "{target}" not found\n')
            return False
        found.flags = (found.flags & FAILED) | operation
        self._count(found)
        self._queue(found, self.ready)
        return True

    def _add_running(self, name: str, jid: int) -> ConfJail:
        jail = ConfJail(name)
        jail.jid = jid
        self._queue(jail, self.ready)
        return jail

    def _running_jails(self) -> list[tuple[str, int]]:
        with self.host.reading() as state:
            within = self.process.jid
            rows = prison.all_prisons(state, within=within)
            return [(prison.visible_name(state, row, within), row["jid"]) for row in rows]

    def _running(self, which: str, *, dying: bool = False) -> int:
        with self.host.reading() as state:
            try:
                return int(prison.get(state, which, dying=dying, within=self.process.jid)["jid"])
            except prison.JailError:
                return -1

    def _queue(self, jail: ConfJail, queue: list[ConfJail] | None, *, head: bool = False) -> None:
        for other in (self.ready, self.depend, self.sleeping):
            if jail in other:
                if other is queue and not head:
                    return
                other.remove(jail)
        if queue is not None:
            queue.insert(0 if head else len(queue), jail)

    def _edges(self, jail: ConfJail) -> list[_Edge]:
        """What must happen before: removal waits for those that depend on the jail."""
        return jail.depended_by if jail.flags & STOP else jail.depends_on

    def _count(self, jail: ConfJail) -> None:
        jail.waiting_for = len(self._edges(jail))
        for edge in self._edges(jail):
            edge.seen = False

    def _must_wait(self, jail: ConfJail) -> bool:
        """dep_check(): start or stop first what this jail needs started or stopped."""
        if not jail.waiting_for:
            return False
        stopping = bool(jail.flags & STOP)
        count = 0
        for edge in self._edges(jail):
            if edge.seen:
                continue
            other = edge.source if stopping else edge.target
            if other.flags & FAILED:
                if not jail.flags & (DEPEND | FAILED) and self.verbose >= 0:
                    self._warn(jail, "skipped")
                jail.flags |= FAILED
                continue
            self._drag_in(jail, other)
            if not (edge.light and (other.jid < 0 if stopping else other.jid > 0)):
                count += 1
        if not count:
            return False
        self._queue(jail, self.depend)
        return True

    def _drag_in(self, jail: ConfJail, other: ConfJail) -> None:
        operation = jail.flags & OPERATION
        reset = False
        if not other.flags & OPERATION:
            reset = True
            other.flags |= DEPEND
            self._queue(other, self.ready)
        if (other.flags & OPERATION).bit_count() <= 1:
            if operation == START:
                other.flags |= START
            elif operation == SET:
                if not other.flags & OPERATION:
                    other.flags |= SET
                elif other.flags & STOP:
                    other.flags |= START
            elif operation & STOP:
                reset = reset or not other.flags & STOP
                other.flags |= STOP
                if other.flags & SET:
                    other.flags ^= START | SET
        if reset:
            self._count(other)

    def _settled(self, jail: ConfJail, *, light: bool = False) -> None:
        """dep_done(): those who waited for this jail may go on (or must not)."""
        stopping = bool(jail.flags & STOP)
        for edge in jail.depends_on if stopping else jail.depended_by:
            if edge.seen or (light and not edge.light):
                continue
            edge.seen = True
            other = edge.target if stopping else edge.source
            quiet_set = jail.flags & (OPERATION | DEPEND) == SET | DEPEND
            if jail.flags & FAILED and not quiet_set:
                if not other.flags & (DEPEND | FAILED) and self.verbose >= 0:
                    self._warn(other, "skipped")
                other.flags |= FAILED
            other.waiting_for -= 1
            if other.waiting_for <= 0 and other in self.depend:
                self._queue(other, self.ready)

    def _next(self) -> ConfJail | None:
        if self.ready:
            jail = self.ready[0]
            if jail.flags & STOP:
                jail = next(one for one in reversed(self.ready) if one.flags & STOP)
        elif self.sleeping:
            jail = self.sleeping[0]
        else:
            return None
        self._queue(jail, None)
        return jail

    # -- The main loop (jail.c) ----------------------------------------------------------------------------------

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

    def _failed(self, jail: ConfJail) -> None:
        jail.flags |= FAILED
        self._queue(jail, self.ready, head=True)

    def _note(self, jail: ConfJail, text: str) -> None:
        self.process.out(f"{jail.name}: {text}" if jail.name else text)

    def _warn(self, jail: ConfJail, text: str) -> None:
        self.process.err(f"jail: {jail.name}: {text}\n" if jail.name else f"jail: {text}\n")

    def _quoted(self, jail: ConfJail, text: str) -> None:
        which = jail.name or jail.text("jid") or jail.text("name")
        self.process.err(f'jail: "{which}" {text}\n' if which else "jail: no jail specified\n")

    def _running_of(self, jail: ConfJail, *, dying: bool) -> int:
        if jid := jail.text("jid"):
            return self._running(jid, dying=dying) if re.fullmatch(r"0*[1-9]\d*", jid) else -1
        name = jail.text("name")
        return self._running(name, dying=dying) if name else -1

    # -- Parameters (config.c) -----------------------------------------------------------------------------------

    def _check(self, jail: ConfJail) -> bool:
        """check_intparams(): jail(8)'s own parameters; those for addresses and fstab become commands."""
        fine = True
        for name, values in jail.params:
            kind = INTERNAL.get(_positive(name), "")
            if kind == "bool" and values and not re.fullmatch(r"(?i)true|false|[+-]?\d+", values[-1]):
                self._warn(jail, f'{name}: unknown boolean value "{values[-1]}"')
                fine = False
            if kind == "int" and values and not re.fullmatch(r"\s*[+-]?\d+", values[-1]):
                self._warn(jail, f'{name}: non-integer value "{values[-1]}"')
                fine = False
        if jail.true("ip_hostname") and (hostname := jail.text("host.hostname")):
            fine = self._addresses_of(jail, hostname) and fine
        for family in ("ip4", "ip6"):
            self._interfaces(jail, family)
        if fstabs := jail.find("mount.fstab"):
            for filename in filter(None, fstabs[1]):
                fine = self._fstab(jail, filename) and fine
        if not fine:
            self._failed(jail)
        return fine

    def _addresses_of(self, jail: ConfJail, hostname: str) -> bool:
        address = "127.0.0.1" if hostname == "localhost" else self.process.resolve(hostname)
        if address is None:
            self._warn(jail, f"host.hostname {hostname}: hostname nor servname provided, or not known")
            return False
        jail.add("ip4.addr", [address])
        return True

    def _interfaces(self, jail: ConfJail, family: str) -> None:
        found = jail.find(f"{family}.addr")
        if not found:
            return
        default = jail.text("interface")
        plain = []
        for value in found[1]:
            if "|" in value or default:
                jail.internal.setdefault(f"_{family}", []).append(value)
            plain.append(value.rpartition("|")[2].partition("/")[0].partition(" ")[0])
        found[1][:] = plain

    def _fstab(self, jail: ConfJail, filename: str) -> bool:
        try:
            text = self.process.read_text(filename)
        except OSError as problem:
            self._warn(jail, f"mount.fstab: {filename}: {_strerror(problem)}")
            return False
        lines = [line.partition("#")[0] for line in text.splitlines()]
        jail.internal.setdefault("_fstab", []).extend(lines)
        return True

    def _import(self, jail: ConfJail) -> bool:
        fine = True
        for name, values in jail.params:
            if _positive(name) in INTERNAL:
                continue
            try:
                text = None if not values else ",".join(values) if name.endswith("4.addr") else values[-1]
                if name == "ip6.addr" and values:
                    text = ",".join(values)
                known, value = prison.import_value(name, text, self.release)
            except prison.JailError as problem:
                self._warn(jail, problem.message)
                fine = False
                continue
            jail.imported[known] = value
        if not fine:
            self._failed(jail)
        return fine

    # -- jail_set(2) ---------------------------------------------------------------------------------------------

    def _create(self, jail: ConfJail) -> bool:
        path = jail.text("path")
        if path is not None:
            if jail.name is not None and not path.startswith("/"):
                self._warn(jail, f"path {path}: not an absolute pathname")
                return False
            kind = self.process.stat(path)
            if kind != "dir":
                self._warn(jail, f"path {path}: {'Not a directory' if kind else 'No such file or directory'}")
                return False
        wanted = dict(jail.imported)
        commands = any(jail.find(name) for name in ("exec.start", "command", "exec.poststart"))
        borrowed = not jail.true("persist") and commands
        if borrowed:
            wanted["persist"] = True
        if path is not None:
            wanted["path"] = self.process.realpath(path)
        failure = ""
        with self.host.changing() as state:
            try:
                made = prison.create(state, wanted, self.release, within=self.process.jid)
                jail.jid = made["jid"]
                if made["set"].get("vnet") == "new":
                    network.make_loopback(state, made["jid"])
            except prison.JailError as problem:
                failure = problem.message
                jail.jid = -1
        names: list[tuple[str, list[str]]] = [("persist", [])] if borrowed else []
        names += [row for row in jail.params if not (borrowed and _same_option(row[0], "persist"))]
        self._note_set(jail, "JAIL_CREATE", names, failure)
        if failure:
            self._warn(jail, failure)
            return False
        if borrowed:
            jail.flags |= PERSIST
        return True

    def _note_set(self, jail: ConfJail, what: str, rows: list[tuple[str, list[str]]], failure: str) -> None:
        if self.verbose <= 0:
            return
        text = f"jail_set({what})"
        for name, values in rows:
            if _positive(name) not in INTERNAL:
                text += f" {name}" + (f"={_quote(','.join(values))}" if values else "")
        self._note(jail, text + (f": {failure}" if failure else "") + "\n")

    def _clear_persist(self, jail: ConfJail) -> None:
        if not jail.flags & PERSIST:
            return
        jail.flags &= ~PERSIST
        self.process.drop_persist(jail.jid)
        if self.verbose > 0:
            self._note(jail, f"jail_set(JAIL_UPDATE) jid={jail.jid} nopersist\n")

    def _fixed(self, jail: ConfJail) -> dict[str, Any]:
        known = prison.parameters(self.release)
        return {name: value for name, value in jail.imported.items() if known[name].access == "RDTUN" and name != "jid"}

    def _fixed_differs(self, jail: ConfJail) -> str:
        """The first parameter that is fixed at creation and would have to change."""
        with self.host.reading() as state:
            row = prison.by_jid(state, jail.jid)
            now = prison.values(state, row, self.release) if row else {}
        return next((name for name, value in self._fixed(jail).items() if now.get(name) != value), "")

    def _update(self, jail: ConfJail) -> bool:
        differs = self._fixed_differs(jail)
        if differs == "vnet" and prison.version(self.release)[0] < 13:
            raise Exit(255)  # jail(8) of 12.1 dies of a segmentation fault here
        if differs:
            self._warn(jail, f"{differs} cannot be changed after creation")
            self._failed(jail)
            return False
        fixed = {*self._fixed(jail), "jid"}
        wanted = {name: value for name, value in jail.imported.items() if name not in fixed}
        if not wanted:
            return True
        failure = ""
        with self.host.changing() as state:
            row = prison.by_jid(state, jail.jid)
            try:
                if row is None:
                    raise prison.JailError(f"jail {jail.jid} not found", "ENOENT")
                prison.update(state, row, wanted)
            except prison.JailError as problem:
                failure = problem.message
        rows = [("jid", [str(jail.jid)]), *(row for row in jail.params if row[0] not in fixed)]
        self._note_set(jail, "JAIL_UPDATE", rows, failure)
        if failure:
            self._warn(jail, failure)
            self._failed(jail)
            return False
        if wanted.get("persist") is False:
            self.process.drop_persist(jail.jid)
        return True

    # -- Commands (command.c) ------------------------------------------------------------------------------------

    def _begin(self, jail: ConfJail, commands: tuple[str, ...]) -> None:
        modern = prison.version(self.release)[0] >= 13
        jail.commands = tuple(name for name in commands if modern or name not in SINCE_13)
        jail.begun, jail.position, jail.queue_of_command = True, -1, None

    def _next_command(self, jail: ConfJail) -> bool:
        """Run commands up to the next process. False when there are none left."""
        undoing = jail.flags & (STOP | FAILED) == FAILED
        while True:
            if jail.queue_of_command is None:
                jail.position += -1 if undoing else 1
                if not 0 <= jail.position < len(jail.commands):
                    return False
                values = self._strings(jail)
                if values is None:
                    continue
                backwards = undoing or (jail.flags & STOP and jail.commands[jail.position] in REVERSED_ON_STOP)
                jail.queue_of_command = values
                jail.at = len(values) - 1 if backwards else 0
            else:
                backwards = undoing or (jail.flags & STOP and jail.commands[jail.position] in REVERSED_ON_STOP)
                jail.at += -1 if backwards else 1
            if not 0 <= jail.at < len(jail.queue_of_command):
                jail.queue_of_command = None
                continue
            name = jail.commands[jail.position]
            if jail.queue_of_command[jail.at] == "" or (undoing and name in NOT_UNDONE):
                continue
            result = self._run(jail, name, jail.queue_of_command[jail.at])
            if result == "failed":
                self._failed(jail)
                return True
            if result == "process":
                self._queue(jail, self.sleeping)
                return True

    def _strings(self, jail: ConfJail) -> list[str] | None:
        name = jail.commands[jail.position]
        if name in ("_op", "stop.timeout"):
            return ["."]
        if name in ("mount.devfs", "mount.fdescfs", "mount.procfs"):
            return ["."] if jail.true(name) else None
        if name.startswith("_"):
            return jail.internal.get(name)
        found = jail.find(name)
        if found and name == "command" and jail.name is None:
            return ["."]
        return found[1] if found else None

    def _run(self, jail: ConfJail, name: str, value: str) -> str:
        down = bool(jail.flags & (STOP | FAILED))
        if name == "_op":
            return self._operate(jail, down)
        if name == "stop.timeout":
            return self._terminate(jail)
        if name in ("_ip4", "_ip6"):
            argv = self._address_command(jail, name, value, down)
        elif name == "vnet.interface":
            which = jail.text("jid") or jail.text("name") or str(jail.jid)
            argv = ["/sbin/ifconfig", value, "-vnet" if down else "vnet", which]
        elif name in ("mount", "_fstab"):
            argv = self._mount_command(jail, name, value, down) or []
        elif name.startswith("mount."):
            argv = self._device_mount(jail, name, down) or []
        elif name == "command" and jail.name is None:
            argv = list((jail.find("command") or ("", []))[1])
        else:
            return self._hook(jail, name, value)
        if not argv:
            return "failed" if not (name in ("mount", "_fstab") and not value.split()) else "done"
        return self._spawn(jail, name, argv, background=False)

    def _operate(self, jail: ConfJail, down: bool) -> str:
        if not down:
            if not self._create(jail):
                return "failed"
            if self.print_jid:
                self.process.out(f"{jail.jid}\n")
            if self.verbose >= 0 and (jail.name or self.verbose > 0):
                self._note(jail, "created\n")
            self._settled(jail, light=True)
            return "done"
        self.process.remove_jail(jail.jid)
        spoken = self.note_remove if jail.flags & STOP else jail.name is not None
        if self.verbose > 0 or (self.verbose == 0 and spoken):
            self._note(jail, "removed\n")
        jail.jid = -1
        if jail.flags & STOP:
            self._settled(jail, light=True)
        else:
            jail.flags &= ~PERSIST
        return "done"

    def _terminate(self, jail: ConfJail) -> str:
        """term_procs(): ask the jail's processes to end, and wait for them for a while."""
        timeout = jail.number("stop.timeout")
        if timeout == 0:
            return "done"
        pids = self.process.terminate_jail(jail.jid)
        if pids and self.verbose > 0:
            self._note(jail, f"sent SIGTERM to: {' '.join(map(str, pids))}\n")
        deadline = time.monotonic() + (10 if timeout is None else timeout)
        while pids and time.monotonic() < deadline and self.process.jail_processes(jail.jid):
            time.sleep(0.02)
        return "done"

    def _address_command(self, jail: ConfJail, name: str, value: str, down: bool) -> list[str]:
        interface, bar, address = value.partition("|")
        if not bar:
            interface, address = jail.text("interface") or "", value
        address, *extra = address.split()
        family = "inet" if name == "_ip4" else "inet6"
        argv = ["/sbin/ifconfig", interface, family]
        plain, slash, mask = address.partition("/")
        if not slash:
            argv += [plain, "netmask", "255.255.255.255"] if family == "inet" else [plain, "prefixlen", "128"]
        elif "." in mask:
            argv += [plain, "netmask", mask]
        else:
            argv += [address]
        return [*argv, *extra, "-alias" if down else "alias"]

    def _mount_command(self, jail: ConfJail, name: str, value: str, down: bool) -> list[str] | None:
        words = value.split()[:4]
        if not words:
            return None
        label = "mount" if name == "mount" else "mount.fstab"
        if len(words) < 3:
            self._warn(jail, f"{label}: {value}: missing information")
            return None
        if not self._path_fits(jail, label, words[1], words[2] if down else None):
            return None
        if down:
            return ["/sbin/umount", "-t", words[2], words[1]]
        options = ["-o", words[3]] if len(words) == 4 else []
        return ["/sbin/mount", "-t", words[2], *options, words[0], words[1]]

    def _device_mount(self, jail: ConfJail, name: str, down: bool) -> list[str] | None:
        path = jail.text("path")
        if path is None:
            self._warn(jail, f"{name}: no jail root path defined")
            return None
        kind = name.partition(".")[2]
        place = path.rstrip("/") + {"devfs": "/dev", "fdescfs": "/dev/fd", "procfs": "/proc"}[kind]
        if not self._path_fits(jail, name, place, kind if down else None):
            return None
        if down:
            return ["/sbin/umount", place]
        if kind != "devfs":
            return ["/sbin/mount", "-t", kind, ".", place]
        return ["/sbin/mount", "-t", "devfs", f"-oruleset={jail.text('devfs_ruleset') or '4'}", ".", place]

    def _path_fits(self, jail: ConfJail, label: str, path: str, unmounting: str | None) -> bool:
        """check_path(): below the jail's root nothing may be a symbolic link; the place must be there."""
        if not path.startswith("/"):
            self._warn(jail, f"{label}: {path}: not an absolute pathname")
            return False
        root = (jail.text("path") or "").rstrip("/")
        if root and path.startswith(root + "/"):
            done = root
            for part in filter(None, path[len(root) :].split("/")):
                done += "/" + part
                if self.process.lstat(done) == "link":
                    self._warn(jail, f"{label}: {done} is a symbolic link")
                    return False
        if unmounting is not None:
            kind = self.process.mounted_type(path)
            if kind is None:
                self._warn(jail, f"{label}: {path}: not a mount point")
                return False
            if kind != unmounting:
                self._warn(jail, f"{label}: {path}: not a {unmounting} mount")
                return False
            return True
        found = self.process.stat(path)
        if label == "exec.consolelog":
            return True
        if found != "dir" and not (found == "file" and label in ("mount", "mount.fstab")):
            self._warn(jail, f"{label}: {path}: {'Not a directory' if found else 'No such file or directory'}")
            return False
        return True

    def _hook(self, jail: ConfJail, name: str, value: str) -> str:
        """A command of the configuration: by the shell only if it has characters for one."""
        found = SHELL_CHARACTERS.search(value)
        if found and not (found[0] == "&" and found.end() == len(value)):
            return self._spawn(jail, name, ["/bin/sh", "-c", value], background=False)
        argv = (value[:-1] if found else value).split()
        return self._spawn(jail, name, argv, background=bool(found)) if argv else "done"

    def _spawn(self, jail: ConfJail, name: str, argv: list[str], *, background: bool) -> str:
        inside = name in IN_JAIL
        line = " ".join(argv)
        user = jail.text("exec.jail_user" if inside else "exec.system_user")
        if self.verbose > 0:
            where = " in jail" if inside else ""
            self._note(jail, f"run command{where}{' as ' + user if user else ''}: {line}\n")
        consolelog = jail.text("exec.consolelog") if inside else None
        if consolelog and not self._path_fits(jail, "exec.consolelog", consolelog, None):
            return "failed"
        started = self.process.spawn(
            argv,
            jid=jail.jid if inside else None,
            user=user,
            clean=jail.true("exec.clean"),
            system_user=jail.true("exec.system_jail_user"),
            output=consolelog,
            background=background,
            timeout=jail.number("exec.timeout") or None,
            warn=lambda text: self._warn(jail, text),
        )
        if background:
            return "done"
        jail.outcome = (started, line)
        return "process"

    def _finish(self, jail: ConfJail) -> bool:
        """finish_command(): what the process made of it."""
        status, line = jail.outcome or (0, "")
        jail.outcome = None
        if status == 0:
            return True
        if status == TIMED_OUT:
            self._warn(jail, f"{line}: timed out")
        elif status < 0:
            self._warn(jail, f"{line}: exited on signal {-status}")
        else:
            self._warn(jail, f"{line}: failed")
        self._failed(jail)
        return False


def _positive(name: str) -> str:
    """``exec.noclean`` is ``exec.clean`` for the table of jail(8)'s own parameters."""
    head, dot, tail = name.rpartition(".")
    short = f"{head}{dot}{tail[2:]}"
    return short if tail.startswith("no") and short in INTERNAL else name


def _same_option(one: str, other: str) -> bool:
    if one == other:
        return True
    one_head, _, one_tail = one.rpartition(".")
    other_head, _, other_tail = other.rpartition(".")
    return one_head == other_head and (f"no{one_tail}" == other_tail or one_tail == f"no{other_tail}")


def _is_wild(name: str) -> bool:
    return "*" in name.split(".")


def _wild_match(name: str, pattern: str) -> bool:
    names, patterns = name.split("."), pattern.split(".")
    while len(names) > 1 and len(patterns) > 1:
        if patterns[0] not in (names[0], "*"):
            return False
        names, patterns = names[1:], patterns[1:]
    return patterns == ["*"] or patterns == names


def _quote(text: str) -> str:
    quote = '"' if not text or "'" in text else "'" if '"' in text else '"' if " " in text or "\t" in text else ""
    body = "".join("\\" + c if c in ("\\", quote) and c else c for c in text)
    return f"{quote}{body}{quote}"


def _strerror(problem: OSError) -> str:
    return problem.strerror or str(problem)
