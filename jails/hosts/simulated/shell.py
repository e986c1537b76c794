"""sh(1) of the simulated host: it runs the tree of syntax.py with the host's own tools and files.

No real shell is involved. Descriptors are a mapping from the shell's numbers to real ones, the parts of a pipeline
are threads, and what runs with `&` is a forked process that goes on without its shell. What is not simulated
(job control, `$'...'`, aliases, ulimit) ends with a message and status 2.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import builtins, journal
from .host import Location, os_error, strerror
from .process import Killed, NotFound, Process, guard_imports
from .syntax import (
    AndOr,
    Arithmetic,
    Case,
    For,
    Function,
    Group,
    If,
    Literal,
    Loop,
    Parameter,
    Pipe,
    Redirection,
    Sequence,
    Simple,
    Substitution,
    SyntaxFault,
    Word,
    is_name,
    parse,
)

Piece = tuple[str, bool]
Field = list[Piece]
_WHITE = " \t\n"


class _Leave(Exception):
    """`exit`; also the end of a shell that cannot go on."""

    def __init__(self, status: int) -> None:
        self.status = status


class _Return(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class _Break(Exception):
    def __init__(self, levels: int, again: bool) -> None:
        self.levels = levels
        self.again = again


class _Fault(Exception):
    """A command that failed before it ran; the message is printed after the shell's name. `fatal` ends the shell."""

    def __init__(self, message: str, status: int = 2, fatal: bool = False) -> None:
        self.message = message
        self.status = status
        self.fatal = fatal


def main(process: Process) -> int:
    """sh [-eux] [-c TEXT [name [argument ...]] | FILE [argument ...]]"""
    shell = Shell(process)
    words = process.argv[1:]
    text: str | None = None
    command = False
    while words and len(words[0]) > 1 and words[0][0] in "-+":
        word = words.pop(0)
        if word in ("--", "-"):
            break
        if word[1:] == "o":
            shell.set_option(words.pop(0) if words else "", word[0] == "-")
            continue
        for letter in word[1:]:
            if letter == "c":
                command = True
            elif letter in "eufxCnvilsp":
                shell.options[letter] = word[0] == "-"
            else:
                process.err(f"{process.argv[0]}: Illegal option -{letter}\n")
                return 2
    if command:
        if not words:
            process.err(f"{process.argv[0]}: -c requires an argument\n")
            return 2
        text = words.pop(0)
        if words:
            shell.name = words.pop(0)
    elif words:
        shell.name = words.pop(0)
        text = _script(process, shell.name)
        if text is None:
            return 127
    elif shell.options.get("i"):
        from .interactive import converse

        return converse(shell)
    else:
        text = os.fsdecode(process.stdin())
    shell.positional = words
    return shell.run_text(text)


def _script(process: Process, path: str) -> str | None:
    try:
        return os.fsdecode(process.path(path).read_bytes())
    except OSError as error:
        process.err(f"{process.argv[0]}: cannot open {path}: {strerror(error)}\n")
        return None


class Shell:
    """One shell or subshell."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.name = process.argv[0]
        self.variables: dict[str, str] = {"IFS": _WHITE, "OPTIND": "1", **process.env}
        self.exported: set[str] = {name for name in process.env if is_name(name)}
        self.readonly: set[str] = set()
        self.positional: list[str] = []
        self.functions: dict[str, Any] = {}
        self.options: dict[str, bool] = {}
        self.traps: dict[str, str] = {}
        self.fds: dict[int, int] = dict(process.fds)
        self.cwd = process.cwd
        self.status = 0
        self.substituted = 0
        self.background = 0
        self.children: list[int] = []
        self.tested = 0
        self.forked_for = False  # how many conditions we are inside of, where a failure does not end the shell (-e)
        self.loops = 0
        self.variables["PWD"] = self.cwd
        self.held: Path | None = None
        self.sole: Any = None  # the command that a process of its own was made for

    def work_in(self, place: Location) -> None:
        """Have the working directory there: its file system is busy until this shell goes elsewhere or ends."""
        self.let_go()
        root = self.process.root.rstrip("/")
        self.cwd = self.variables["PWD"] = place.path[len(root) :] or "/"
        if place.mount["dir"] != "/":
            self.held = self.process.host.hold(place.mount)

    def let_go(self) -> None:
        if self.held is not None:
            self.held.unlink(missing_ok=True)
            self.held = None

    def subshell(self, fds: dict[int, int] | None = None) -> Shell:
        copy = object.__new__(Shell)
        copy.__dict__.update(self.__dict__)
        for name in ("variables", "exported", "readonly", "positional", "functions", "options"):
            setattr(copy, name, getattr(self, name).copy())
        copy.fds = dict(self.fds if fds is None else fds)
        copy.traps = {}
        copy.children = []
        copy.loops = 0
        copy.held = None
        return copy

    # Running

    def run_text(self, text: str) -> int:
        """A whole program: its status. For the outermost shell."""
        return self.guarded(lambda: self.evaluate(text))

    def guarded(self, body: Callable[[], int]) -> int:
        """Run to the end of this shell, whatever ends it, and then its EXIT trap."""
        status = self._ended(body)
        trap = self.traps.pop("EXIT", "")
        if trap:
            self.status = status
            status = self._ended(lambda: self._trapped(trap, status))
        self.let_go()
        return status

    def _trapped(self, text: str, status: int) -> int:
        self.evaluate(text)
        return status

    def _ended(self, body: Callable[[], int]) -> int:
        try:
            return body()
        except _Leave as end:
            return end.status
        except (_Return, _Break):
            return self.status
        except _Fault as fault:
            self.complain(fault.message)
            return fault.status

    def evaluate(self, text: str) -> int:
        try:
            tree = parse(text)
        except SyntaxFault as fault:
            raise _Fault(str(fault), 2, fatal=True) from None
        except RecursionError:
            raise _Fault("Syntax error: nested too deeply", 2, fatal=True) from None
        return self.sequence(tree)

    def complain(self, message: str) -> None:
        self._write(2, os.fsencode(f"{self.name}: {message}\n"))

    def _write(self, number: int, data: bytes) -> None:
        real = self.fds.get(number)
        if real is None:
            if number == 2:
                return
            raise os_error(errno.EBADF)
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(real, view) :]
            except BrokenPipeError:
                raise _Leave(141) from None

    def sequence(self, tree: Sequence) -> int:
        status = 0
        for command, background in tree.items:
            status = self._start(command) if background else self.and_or(command)
            self.status = status
        return status

    def and_or(self, tree: AndOr) -> int:
        status = self._conditionally(tree.first) if tree.rest else self.pipe(tree.first)
        for number, (operator, part) in enumerate(tree.rest):
            self.status = status
            if (status == 0) != (operator == "&&"):
                continue
            status = self._conditionally(part) if number + 1 < len(tree.rest) else self.pipe(part)
        return status

    def _conditionally(self, part: Pipe) -> int:
        self.tested += 1
        try:
            return self.pipe(part)
        finally:
            self.tested -= 1

    def pipe(self, tree: Pipe) -> int:
        if tree.negated:
            self.tested += 1
        try:
            status = self.command(tree.parts[0]) if len(tree.parts) == 1 else self._pipeline(tree.parts)
        finally:
            if tree.negated:
                self.tested -= 1
        status = int(status == 0) if tree.negated else status
        self.status = status
        if status and self.options.get("e") and not self.tested and not tree.negated and _may_end(tree.parts):
            raise _Leave(status)
        return status

    def _pipeline(self, parts: list[Any]) -> int:
        guard_imports()
        statuses = [1] * len(parts)
        signals: list[Killed] = []
        threads = []
        source = self.fds.get(0)
        for number, part in enumerate(parts):
            fds = dict(self.fds)
            own = []
            if number:
                fds[0] = source  # type: ignore[assignment]
                own.append(source)
            elif source is None:
                fds.pop(0, None)
            if number + 1 < len(parts):
                source, fds[1] = os.pipe()
                own.append(fds[1])
            shell = self.subshell(fds)
            thread = threading.Thread(target=shell._run_part, args=(part, statuses, number, own, signals))
            threads.append(thread)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if signals:
            raise signals[0]
        failed = [status for status in statuses if status]
        return failed[-1] if failed and self.options.get("pipefail") else statuses[-1]

    def _run_part(self, part: Any, statuses: list[int], number: int, own: list[int], signals: list[Killed]) -> None:
        try:
            statuses[number] = self.forked(part)
        except Killed as end:
            signals.append(end)
        finally:
            for real in own:
                os.close(real)

    def forked(self, part: Any) -> int:
        """A command in this subshell; one that is more than a program is a process of its own."""
        if self._is_program(part):
            return self.guarded(lambda: self.command(part))
        number = journal.start(
            self.process.host.directory, self.process.exec_id, ["sh"], self.process.jid, subshell=True
        )
        status = 1
        try:
            status = self.guarded(lambda: self.command(part))
        finally:
            journal.end(self.process.host.directory, number, status)
        return status

    def _is_program(self, part: Any) -> bool:
        if not isinstance(part, Simple) or not part.words:
            return False
        first = part.words[0]
        name = first[0].text if len(first) == 1 and isinstance(first[0], Literal) else ""
        return bool(name) and name not in self.functions and name not in BUILTINS

    def _start(self, tree: AndOr) -> int:
        """`&`: a process of its own that nothing here can hold or end."""
        self._may_fork()
        child = os.fork()
        if child:
            self.background = child
            self.children.append(child)
            if self.process.jid:
                self._keep_jail_alive(child)
            return 0
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            null = os.open(os.devnull, os.O_RDWR)
            fds = dict(self.fds)
            fds[0] = null
            keep_only({*fds.values(), null})
            shell = self.subshell(fds)
            shell.forked_for = True
            shell.sole = _sole(tree)
            if self.held is not None:
                shell.work_in(locate(self.process, self.cwd, "/"))
            status = shell.guarded(lambda: shell.and_or(tree))
            if self.process.jid:
                self._leave_jail()
        finally:
            os._exit(status)

    def _hold_only(self, tree: Any) -> None:
        """A background process holds what its only command was given, not what the shell that made it had."""
        if self.sole is tree and tree is not None:
            keep_only(set(self.fds.values()))

    def _leave_jail(self) -> None:
        from . import daemons
        from .world import World

        with self.process.host.changing() as state:
            daemons.left(state, os.getpid())
        World(self.process).ended(self.process.jid)

    def _may_fork(self) -> None:
        """Limits of the jail; without any, one look at the state."""
        if not self.process.jid:
            return
        with self.process.host.reading() as state:
            if not state.get("rctl"):
                return
            from .tools import rctl

            if not rctl.may_fork(state, self.process.jid):
                raise _Fault("Cannot fork: Resource temporarily unavailable", fatal=True)

    def _keep_jail_alive(self, child: int) -> None:
        from . import daemons

        with self.process.host.changing() as state:
            daemons.start(state, "sh", "sh", jid=self.process.jid, real=child)

    # Commands

    def command(self, tree: Any) -> int:
        try:
            return self._command(tree)
        except _Fault as fault:
            if fault.fatal:
                raise
            self.complain(fault.message)
            return fault.status
        except OSError as error:
            self.complain(strerror(error))
            return 2

    def _command(self, tree: Any) -> int:
        if isinstance(tree, Simple):
            return self._simple(tree)
        if isinstance(tree, Function):
            self.functions[tree.name] = tree.body
            return 0
        before = self.fds
        opened: list[int] = []
        self.fds = dict(before)
        try:
            for one in tree.redirections:
                self._redirect(one, opened)
            self._hold_only(tree)
            return self._compound(tree)
        finally:
            self.fds = before
            for real in opened:
                os.close(real)

    def _compound(self, tree: Any) -> int:
        if isinstance(tree, Group):
            if not tree.subshell:
                return self.sequence(tree.body)
            shell = self.subshell()
            number = journal.start(
                self.process.host.directory, self.process.exec_id, ["sh"], self.process.jid, subshell=True
            )
            status = 1
            try:
                status = shell.guarded(lambda: shell.sequence(tree.body))
            finally:
                journal.end(self.process.host.directory, number, status)
            return status
        if isinstance(tree, If):
            for condition, body in tree.branches:
                if self._test(condition) == 0:
                    return self.sequence(body)
            return self.sequence(tree.otherwise) if tree.otherwise else 0
        if isinstance(tree, Loop):
            return self._loop(tree)
        if isinstance(tree, For):
            return self._for(tree)
        return self._case(tree)

    def _test(self, condition: Sequence) -> int:
        self.tested += 1
        try:
            return self.sequence(condition)
        finally:
            self.tested -= 1

    def _loop(self, tree: Loop) -> int:
        status = 0
        self.loops += 1
        try:
            while (self._test(tree.condition) == 0) != tree.until:
                status, over = self._round(tree.body)
                if over:
                    break
        except _Break as leave:
            self._pass_on(leave)
        finally:
            self.loops -= 1
        return status

    def _for(self, tree: For) -> int:
        values = list(self.positional) if tree.words is None else self.expand_all(tree.words)
        status = 0
        self.loops += 1
        try:
            for value in values:
                self.assign(tree.name, value)
                status, over = self._round(tree.body)
                if over:
                    break
        finally:
            self.loops -= 1
        return status

    def _round(self, body: Sequence) -> tuple[int, bool]:
        try:
            return self.sequence(body), False
        except _Break as leave:
            self._pass_on(leave)
            return 0, not leave.again

    def _pass_on(self, leave: _Break) -> None:
        if leave.levels > 1 and self.loops > 1:
            raise _Break(leave.levels - 1, leave.again)

    def _case(self, tree: Case) -> int:
        word = self.expand_text(tree.word)
        for patterns, body in tree.branches:
            if any(pattern_of(self._pieces(pattern)).fullmatch(word) for pattern in patterns):
                return self.sequence(body)
        return 0

    def _simple(self, tree: Simple) -> int:
        self.substituted = 0
        words = self.expand_all(tree.words)
        name = words[0] if words else ""
        before = self.fds
        opened: list[int] = []
        self.fds = dict(before)
        kept = False
        try:
            for one in tree.redirections:
                self._redirect(one, opened)
            self._hold_only(tree)
            assignments = [(left, self.expand_text(right)) for left, right in tree.assignments]
            if self.options.get("x"):
                self._trace(assignments, words)
            if not words:
                for left, right in assignments:
                    self.assign(left, right)
                return self.substituted
            if name in SPECIAL:
                for left, right in assignments:
                    self.assign(left, right)
                kept = name == "exec" and len(words) == 1
                return SPECIAL[name](self, words)
            return self._with_assignments(assignments, words)
        except (_Fault, OSError) as problem:
            if name in SPECIAL and isinstance(problem, _Fault):
                problem.fatal = True
            raise
        finally:
            if not kept:
                self.fds = before
                for real in opened:
                    os.close(real)

    def _trace(self, assignments: list[tuple[str, str]], words: list[str]) -> None:
        shown = [f"{left}={right}" for left, right in assignments] + words
        self._write(2, os.fsencode("+ " + " ".join(shown) + "\n"))

    def _with_assignments(self, assignments: list[tuple[str, str]], words: list[str]) -> int:
        name = words[0]
        if name not in self.functions and name not in BUILTINS:
            return self.external(words, dict(assignments))
        saved = {left: self.variables.get(left) for left, _ in assignments}
        for left, right in assignments:
            self.assign(left, right)
        try:
            if name in self.functions:
                return self._call(self.functions[name], words[1:])
            return BUILTINS[name](self, words)
        finally:
            for left, value in saved.items():
                if value is None:
                    self.variables.pop(left, None)
                else:
                    self.variables[left] = value

    def _call(self, body: Any, arguments: list[str]) -> int:
        before, self.positional = self.positional, arguments
        try:
            return self.command(body)
        except _Return as end:
            return end.status
        finally:
            self.positional = before

    def environment(self) -> dict[str, str]:
        return {name: self.variables[name] for name in sorted(self.exported) if name in self.variables}

    def external(self, words: list[str], assignments: dict[str, str] | None = None, replaces: bool = False) -> int:
        env = self.environment() | (assignments or {})
        fds = dict(self.fds)
        if not replaces and not self.forked_for:
            self._may_fork()
        self.forked_for = False
        try:
            return self.process.run(words, fds=fds, env=env, cwd=self.cwd, replaces=replaces)
        except Killed as end:
            return self._signalled(end)
        except NotFound as problem:
            if problem.number == errno.ENOENT and words[0] == "kill":
                return self._own_kill(words, fds)
            if problem.number == errno.ENOENT:
                self.complain(f"{words[0]}: not found")
                return 127
            self.complain(f"{words[0]}: {problem.words}")
            return 126

    def _own_kill(self, words: list[str], fds: dict[int, int]) -> int:
        """sh(1) has a kill of its own, for a tree that has no /bin/kill."""
        from .tools.processes import kill_main

        child = self.process.child(words, fds=fds, cwd=self.cwd)
        try:
            return child.call(kill_main)
        except Killed as end:
            return self._signalled(end)
        finally:
            child.flush()

    def _signalled(self, end: Killed) -> int:
        """A signal to this shell itself: its trap, or its end."""
        trap = self.traps.get(signal.Signals(end.number).name.removeprefix("SIG"))
        if trap is None or end.number == signal.SIGKILL:
            raise end
        status = self.status
        self.evaluate(trap)
        self.status = status
        return 0

    # Redirections

    def _redirect(self, one: Redirection, opened: list[int]) -> None:
        if one.operator == "<<":
            self.fds[one.fd] = self._document(self.expand_text(one.target), opened)
            return
        target = self.expand_text(one.target)
        if one.operator in (">&", "<&"):
            self._duplicate(one.fd, target)
            return
        flags = {
            "<": os.O_RDONLY,
            ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
            ">|": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
            ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
            "<>": os.O_RDWR | os.O_CREAT,
        }[one.operator]
        if one.operator == ">" and self.options.get("C"):
            flags |= os.O_EXCL
        try:
            real = open_in(self.process, target, flags, cwd=self.cwd, fds=self.fds)
        except OSError as error:
            verb = "open" if one.operator == "<" else "create"
            raise _Fault(f"cannot {verb} {target}: {strerror(error)}", 2) from None
        opened.append(real)
        self.fds[one.fd] = real

    def _duplicate(self, fd: int, target: str) -> None:
        if target == "-":
            self.fds.pop(fd, None)
            return
        if not target.isdigit():
            raise _Fault("Syntax error: Bad fd number", 2, fatal=True)
        if int(target) not in self.fds:
            raise _Fault(f"{target}: Bad file descriptor", 2)
        self.fds[fd] = self.fds[int(target)]

    def _document(self, text: str, opened: list[int]) -> int:
        name = self.process.host.directory / f"document.{os.getpid()}.{threading.get_ident()}.{id(text)}"
        real = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        opened.append(real)
        os.unlink(name)
        os.write(real, os.fsencode(text))
        os.lseek(real, 0, os.SEEK_SET)
        return real

    # Variables and expansion

    def assign(self, name: str, value: str) -> None:
        if name in self.readonly:
            raise _Fault(f"{name}: is read only", 2, fatal=True)
        self.variables[name] = value
        if self.options.get("a"):
            self.exported.add(name)

    def set_option(self, name: str, on: bool) -> None:
        letters = {"errexit": "e", "nounset": "u", "noglob": "f", "xtrace": "x", "noclobber": "C", "allexport": "a"}
        if name == "pipefail" and not self.process.release_at_least(13):
            raise _Fault("set: Illegal option -o pipefail", 2, fatal=True)
        if name not in letters and name != "pipefail":
            raise _Fault(f"set: Illegal option -o {name}", 2, fatal=True)
        self.options[letters.get(name, name)] = on

    def expand_all(self, words: list[Word]) -> list[str]:
        found: list[str] = []
        for word in words:
            for field in self._fields(word):
                found.extend(self._glob(field))
        return found

    def expand_text(self, word: Word) -> str:
        """As one text, without splitting and globbing."""
        return "".join(text for text, _ in self._pieces(word))

    def _pieces(self, word: Word) -> list[Piece]:
        pieces: list[Piece] = []
        for number, part in enumerate(word):
            if isinstance(part, Literal):
                pieces.append((self._tilde(part.text) if not number and not part.quoted else part.text, part.quoted))
            elif isinstance(part, Parameter) and part.name in ("@", "*") and not part.operation:
                pieces.append((self._joined(part.name), part.quoted))
            else:
                pieces.append((self._value(part), part.quoted))
        return pieces

    def _joined(self, name: str) -> str:
        ifs = self.variables.get("IFS", _WHITE)
        return (" " if name == "@" else ifs[:1]).join(self.positional)

    def _tilde(self, text: str) -> str:
        if text == "~" or text.startswith("~/"):
            return self.variables.get("HOME", "") + text[1:]
        return text

    def _fields(self, word: Word) -> list[Field]:
        builder = _Fields(self.variables.get("IFS", _WHITE))
        for number, part in enumerate(word):
            self._into_fields(part, number, builder)
        return builder.finish()

    def _into_fields(self, part: Any, number: int, builder: _Fields) -> None:
        if isinstance(part, Literal):
            builder.add(self._tilde(part.text) if not number and not part.quoted else part.text, part.quoted)
        elif (
            isinstance(part, Parameter)
            and part.name in ("@", "*")
            and not part.operation
            and not (part.name == "*" and part.quoted)
        ):
            builder.add_list(self.positional, part.quoted)
        elif isinstance(part, Parameter) and part.name == "@" and part.operation in ("+", ":+") and part.quoted:
            if self.positional:
                for inner, one in enumerate(part.word):
                    self._into_fields(one, inner + 1, builder)
            else:
                builder.optional = True
        elif isinstance(part, Parameter) and part.operation in ("-", ":-", "+", ":+") and not part.quoted:
            value, use_word = self._choose(part)
            if not use_word:
                builder.split(value)
            for inner, one in enumerate(part.word if use_word else []):
                if isinstance(one, Literal) and not one.quoted:
                    builder.split(one.text)
                else:
                    self._into_fields(one, inner + 1, builder)
        elif part.quoted:
            builder.add(
                self._joined("*")
                if isinstance(part, Parameter) and part.name == "*" and not part.operation
                else self._value(part),
                True,
            )
        else:
            builder.split(self._value(part))

    def _value(self, part: Any) -> str:
        if isinstance(part, Substitution):
            return self._substitute(part.body)
        if isinstance(part, Arithmetic):
            return str(self._calculate(self.expand_text(part.word)))
        if part.operation == "length":
            value = self._lookup(part.name)
            return str(len(self.positional) if part.name in "@*" else len(value or ""))
        if part.operation and part.operation[0] in "#%":
            return self._trimmed(part)
        value, use_word = self._choose(part)
        return self.expand_text(part.word) if use_word else value

    def _choose(self, part: Parameter) -> tuple[str, bool]:
        """The value, or True where the word after the operator counts."""
        value = self._joined("@") if part.name in ("@", "*") and self.positional else self._lookup(part.name)
        operation = part.operation.lstrip(":")
        missing = value is None or (part.operation.startswith(":") and not value)
        if operation == "+":
            return "", not missing
        if not missing:
            return value or "", False
        if operation == "-":
            return "", True
        if operation == "=":
            text = self.expand_text(part.word)
            self.assign(part.name, text)
            return text, False
        if operation == "?":
            text = self.expand_text(part.word) or (
                "parameter null or not set" if ":" in part.operation else "parameter not set"
            )
            raise _Fault(f"{part.name}: {text}", 2, fatal=True)
        if self.options.get("u") and part.name not in ("@", "*"):
            raise _Fault(f"{part.name}: parameter not set", 2, fatal=True)
        return "", False

    def _lookup(self, name: str) -> str | None:
        if name.isdigit():
            number = int(name)
            if number == 0:
                return self.name
            return self.positional[number - 1] if number <= len(self.positional) else None
        special = {
            "?": lambda: str(self.status),
            "#": lambda: str(len(self.positional)),
            "$": lambda: str(os.getpid()),
            "!": lambda: str(self.background) if self.background else None,
            "-": lambda: "".join(letter for letter, on in self.options.items() if on and len(letter) == 1),
            "@": lambda: None,
            "*": lambda: None,
        }
        return special[name]() if name in special else self.variables.get(name)  # type: ignore[no-untyped-call]

    def _trimmed(self, part: Parameter) -> str:
        value = self._choose(part._replace(operation=""))[0]
        pattern = pattern_of(self._pieces(part.word))
        longest = len(part.operation) == 2
        places = range(len(value) + 1)
        if part.operation[0] == "#":
            ends = reversed(places) if longest else places
            return next((value[at:] for at in ends if pattern.fullmatch(value[:at])), value)
        starts = places if longest else reversed(places)
        return next((value[:at] for at in starts if pattern.fullmatch(value[at:])), value)

    def _substitute(self, body: Sequence) -> str:
        end, real = os.pipe()
        parts: list[bytes] = []

        def collect() -> None:
            while data := os.read(end, 65536):
                parts.append(data)
            os.close(end)

        reader = threading.Thread(target=collect, daemon=True)
        reader.start()
        shell = self.subshell({**self.fds, 1: real})
        try:
            single = _only_command(body)
            if single is not None and (shell._is_program(single) or isinstance(single, Simple)):
                # A simple command is executed in the one process that sh forks; a builtin needs that process too.
                status = shell.guarded(lambda: shell.sequence(body))
            else:
                group = Group(body, True, [])
                status = shell.guarded(lambda: shell.command(group))
        finally:
            os.close(real)
        reader.join()
        self.substituted = self.status = status
        return os.fsdecode(b"".join(parts).replace(b"\0", b"").rstrip(b"\n"))

    def _calculate(self, text: str) -> int:
        from .arithmetic import ArithmeticFault, calculate

        try:
            return calculate(text, self.variables)
        except ArithmeticFault as fault:
            raise _Fault(f'arithmetic expression: {fault}: "{text}"', 2, fatal=True) from None

    def _glob(self, field: Field) -> list[str]:
        text = "".join(piece for piece, _ in field)
        if self.options.get("f") or not any(not quoted and set(piece) & set("*?[") for piece, quoted in field):
            return [text]
        return glob(self, field) or [text]


class _Fields:
    """Words under construction: literal and quoted text joins, unquoted expansions are split at IFS."""

    def __init__(self, ifs: str) -> None:
        self.white = "".join(letter for letter in ifs if letter in _WHITE)
        self.other = "".join(letter for letter in ifs if letter not in _WHITE)
        self.done: list[Field] = []
        self.current: Field | None = None
        self.optional = False

    def add(self, text: str, quoted: bool) -> None:
        if self.current is None:
            self.current = []
        self.current.append((text, quoted))

    def add_list(self, values: list[str], quoted: bool) -> None:
        if not values:
            self.optional = quoted
            return
        for number, value in enumerate(values):
            if number:
                self.end()
            if quoted:
                self.add(value, True)
            else:
                self.split(value)

    def end(self) -> None:
        if self.current is not None:
            self.done.append(self.current)
        self.current = None

    def split(self, text: str) -> None:
        plain = ""
        pending_white = False
        for letter in text:
            if letter in self.white:
                pending_white = True
                if plain:
                    self.add(plain, False)
                    plain = ""
                continue
            if letter in self.other:
                if plain:
                    self.add(plain, False)
                    plain = ""
                if self.current is None and not pending_white:
                    self.current = []
                elif self.current is None:
                    # White space beside a delimiter belongs to it.
                    self.current = [] if not self.done else None
                self.end()
                pending_white = False
                continue
            if pending_white:
                self.end()
                pending_white = False
            plain += letter
        if plain:
            self.add(plain, False)
        if pending_white:
            self.end()

    def finish(self) -> list[Field]:
        if self.current is not None and self.optional and not any(text for text, _ in self.current):
            self.current = None
        self.end()
        return self.done


def _may_end(parts: list[Any]) -> bool:
    """Whether -e looks at a command's failure: the last command inside a group has been looked at itself."""
    return len(parts) > 1 or isinstance(parts[0], Simple) or (isinstance(parts[0], Group) and parts[0].subshell)


def _only_command(body: Sequence) -> Any:
    """The one command of a list that is nothing else."""
    if len(body.items) != 1 or body.items[0][1] or body.items[0][0].rest:
        return None
    pipe = body.items[0][0].first
    return pipe.parts[0] if len(pipe.parts) == 1 and not pipe.negated else None


def pattern_of(pieces: list[Piece]) -> re.Pattern[str]:
    """A shell pattern as a regular expression for fullmatch; quoted pieces stand for themselves."""
    letters = [(letter, quoted) for text, quoted in pieces for letter in text]
    out, at = "", 0
    while at < len(letters):
        letter, quoted = letters[at]
        at += 1
        if quoted or letter not in "*?[\\":
            out += re.escape(letter)
        elif letter == "\\" and at < len(letters):
            out += re.escape(letters[at][0])
            at += 1
        elif letter in "*?":
            out += ".*" if letter == "*" else "."
        else:
            bracket, at = _bracket(letters, at)
            out += bracket
    return re.compile(out, re.DOTALL)


_CLASSES = {"alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s"}


def _bracket(letters: list[tuple[str, bool]], at: int) -> tuple[str, int]:
    text = "".join(letter for letter, _ in letters)
    start = at + 1 if text[at : at + 1] in ("!", "^") else at
    end = text.find("]", start + 1)
    while end >= 0 and text.count("[:", start, end) > text.count(":]", start, end + 1):
        end = text.find("]", end + 1)
    if end < 0:
        return re.escape("["), at
    inside = text[start:end]
    for name, letters_of in _CLASSES.items():
        inside = inside.replace(f"[:{name}:]", letters_of)
    inside = inside.replace("\\", "\\\\").replace("\\\\s", "\\s").replace("[", "\\[")
    return f"[{'^' if start > at else ''}{inside}]", end + 1


def glob(shell: Shell, field: Field) -> list[str]:
    """Names that match, sorted; hidden ones only for a pattern that begins with a dot."""
    parts: list[Field] = [[]]
    for text, quoted in field:
        for number, piece in enumerate(text.split("/")):
            if number:
                parts.append([])
            if piece:
                parts[-1].append((piece, quoted))
    found = [""]
    if not parts[0]:
        found = ["/"]
        parts = parts[1:]
    for part in parts:
        found = [f"{base}{name}" for base in found for name in _matches(shell, base, part)]
    return sorted(name[:-1] if name.endswith("/") and parts[-1] else name for name in found)


def _matches(shell: Shell, base: str, part: Field) -> list[str]:
    text = "".join(piece for piece, _ in part)
    try:
        place = locate(shell.process, (base or ".") if base != "/" else "/", shell.cwd)
        names = shell.process.host.entries(place.backing)
    except OSError:
        return []
    if not any(not quoted and set(piece) & set("*?[") for piece, quoted in part):
        return [f"{text}/"] if not text or text in (*names, ".", "..") else []
    pattern = pattern_of(part)
    return [
        f"{name}/" for name in names if pattern.fullmatch(name) and (text.startswith(".") or not name.startswith("."))
    ]


def locate(process: Process, path: str, cwd: str, *, follow: bool = True) -> Location:
    """As Process.locate, from the shell's own working directory."""
    with process.host.reading() as state:
        return process.host.locate(state, path, root=process.root, cwd=cwd, follow=follow)


def open_in(process: Process, path: str, flags: int, *, cwd: str, fds: dict[int, int]) -> int:
    """open(2) of a path of the host: a real descriptor. Devices of devfs are those of this machine."""
    from .tools.access import open_file

    return open_file(process, path, flags, cwd=cwd, fds=fds)


def _sole(tree: AndOr) -> Any:
    """The one command that a list consists of, inside of bare groups too; None when there are more."""
    if tree.rest or tree.first.negated or len(tree.first.parts) != 1:
        return None
    part = tree.first.parts[0]
    if isinstance(part, Function):
        return None
    if isinstance(part, Group) and not part.redirections:
        items = part.body.items
        return _sole(items[0][0]) if len(items) == 1 and not items[0][1] else None
    return part


def keep_only(wanted: set[int]) -> None:
    """Close every descriptor of a fresh fork but these."""
    lowest = 0
    for real in sorted(wanted):
        if lowest < real:  # os.closerange(0, 0) closes all
            os.closerange(lowest, real)
        lowest = real + 1
    os.closerange(lowest, 4096)


# Builtins


def _colon(shell: Shell, words: list[str]) -> int:
    return 0


def _dot(shell: Shell, words: list[str]) -> int:
    if len(words) < 2:
        raise _Fault(".: filename argument required")
    try:
        text = os.fsdecode(locate(shell.process, words[1], shell.cwd).backing.read_bytes())
    except OSError as error:
        raise _Fault(f".: cannot open {words[1]}: {strerror(error)}") from None
    try:
        return shell.evaluate(text)
    except _Return as end:
        return end.status


def _break(shell: Shell, words: list[str]) -> int:
    if not shell.loops:
        return 0
    raise _Break(int(words[1]) if len(words) > 1 and words[1].isdigit() else 1, words[0] == "continue")


def _eval(shell: Shell, words: list[str]) -> int:
    return shell.evaluate(" ".join(words[1:]))


def _exec(shell: Shell, words: list[str]) -> int:
    words = words[1:]
    if words and words[0] == "--":
        words = words[1:]
    if not words:
        return 0
    shell.traps.clear()
    raise _Leave(shell.external(words, replaces=True))


def _status_of(shell: Shell, words: list[str]) -> int:
    if len(words) < 2:
        return shell.status
    if not words[1].isdigit():
        raise _Fault(f"{words[0]}: Illegal number: {words[1]}")
    return int(words[1]) & 255


def _exit(shell: Shell, words: list[str]) -> int:
    raise _Leave(_status_of(shell, words))


def _return(shell: Shell, words: list[str]) -> int:
    raise _Return(_status_of(shell, words))


def _export(shell: Shell, words: list[str]) -> int:
    wanted = shell.exported if words[0] == "export" else shell.readonly
    if words[1:] in ([], ["-p"]):
        for name in sorted(wanted):
            shell._write(1, os.fsencode(f"{words[0]} {name}={_quoted(shell.variables.get(name, ''))}\n"))
        return 0
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not is_name(name):
            raise _Fault(f"{words[0]}: {word}: bad variable name")
        if equals:
            shell.assign(name, value)
        wanted.add(name)
    return 0


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_./=:,@%+-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _set(shell: Shell, words: list[str]) -> int:
    words = words[1:]
    if not words:
        for name in sorted(shell.variables):
            shell._write(1, os.fsencode(f"{name}={_quoted(shell.variables[name])}\n"))
        return 0
    while words and words[0][:1] in ("-", "+") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            shell.positional = words
            return 0
        if word[1:] == "o":
            if not words:
                raise _Fault("set: -o without a name is not simulated")
            shell.set_option(words.pop(0), word[0] == "-")
            continue
        for letter in word[1:]:
            if letter not in "aefuxCnvbm":
                raise _Fault(f"set: Illegal option -{letter}")
            shell.options[letter] = word[0] == "-"
    if words:
        shell.positional = words
    return 0


def _shift(shell: Shell, words: list[str]) -> int:
    count = int(words[1]) if len(words) > 1 and words[1].isdigit() else 1
    if count > len(shell.positional):
        raise _Fault("shift: can't shift that many")
    shell.positional = shell.positional[count:]
    return 0


def _trap(shell: Shell, words: list[str]) -> int:
    words = [word for word in words[1:] if word != "--"]
    if not words:
        for name, action in shell.traps.items():
            shell._write(1, os.fsencode(f"trap -- {_quoted(action)} {name}\n"))
        return 0
    action = words.pop(0) if len(words) > 1 and not words[0].isdigit() else "-"
    for name in words:
        name = "EXIT" if name == "0" else _signal_name(name)
        if action == "-":
            shell.traps.pop(name, None)
        else:
            shell.traps[name] = action
    return 0


def _signal_name(word: str) -> str:
    if not word.isdigit():
        return word.upper().removeprefix("SIG")
    try:
        return signal.Signals(int(word)).name.removeprefix("SIG")
    except ValueError:
        raise _Fault(f"trap: bad signal {word}") from None


def _unset(shell: Shell, words: list[str]) -> int:
    for word in words[1:]:
        if word == "-f":
            for name in words[words.index("-f") + 1 :]:
                shell.functions.pop(name, None)
            return 0
        if word in shell.readonly:
            raise _Fault(f"unset: {word}: is read only")
        shell.variables.pop(word, None)
        shell.exported.discard(word)
    return 0


def _cd(shell: Shell, words: list[str]) -> int:
    words = [word for word in words[1:] if word not in ("-L", "-P", "--")]
    target = words[0] if words else shell.variables.get("HOME", "/")
    show = target == "-"
    if show:
        target = shell.variables.get("OLDPWD", shell.cwd)
    try:
        place = locate(shell.process, target, shell.cwd)
        shell.process.host.entries(place.backing)
    except OSError as error:
        raise _Fault(f"cd: {target}: {strerror(error)}") from None
    shell.variables["OLDPWD"] = shell.cwd
    shell.work_in(place)
    if show:
        shell._write(1, os.fsencode(shell.cwd + "\n"))
    return 0


def _pwd(shell: Shell, words: list[str]) -> int:
    shell._write(1, os.fsencode(shell.cwd + "\n"))
    return 0


def _echo(shell: Shell, words: list[str]) -> int:
    shell._write(1, builtins.echo(words[1:]))
    return 0


def _printf(shell: Shell, words: list[str]) -> int:
    words = words[1:]
    data, status, problem = builtins.printf(words[1:] if words[:1] == ["--"] else words)
    shell._write(1, data)
    if problem:
        shell._write(2, os.fsencode(problem))
    return status


def _test(shell: Shell, words: list[str]) -> int:
    from .tools.files import file_test

    given = words[1:]
    if words[0] == "[":
        if not given or given[-1] != "]":
            raise _Fault("[: missing ]")
        given = given[:-1]

    def ask(letter: str, path: str) -> bool:
        if letter == "t":
            return path.isdigit() and int(path) in shell.fds and os.isatty(shell.fds[int(path)])
        return file_test(shell.process, letter, path, cwd=shell.cwd)

    try:
        return int(not builtins.test(given, ask))
    except builtins.TestFault as fault:
        shell.complain(f"{words[0]}: {fault}")
        return 2


def _true(shell: Shell, words: list[str]) -> int:
    return 0


def _false(shell: Shell, words: list[str]) -> int:
    return 1


def _read(shell: Shell, words: list[str]) -> int:
    names, raw = words[1:], False
    while names and names[0].startswith("-"):
        option = names.pop(0)
        if option == "--":
            break
        if set(option[1:]) - {"r"}:
            raise _Fault(f"read: {option} is not simulated")
        raw = True
    line, ended = _read_line(shell, raw)
    _spread(shell, names or ["REPLY"], line)
    return 0 if ended else 1


def _read_line(shell: Shell, raw: bool) -> tuple[list[Piece], bool]:
    """Byte by byte, as sh must, so that what follows the line is left for others."""
    real = shell.fds.get(0)
    if real is None:
        return [], False
    line: list[tuple[bytes, bool]] = []
    while True:
        letter = os.read(real, 1)
        if not letter or letter == b"\n":
            break
        if letter == b"\\" and not raw:
            following = os.read(real, 1)
            if following != b"\n":
                line.append((following, True))
            continue
        line.append((letter, False))
    pieces: list[tuple[bytes, bool]] = []
    for data, quoted in line:
        if pieces and pieces[-1][1] == quoted:
            pieces[-1] = (pieces[-1][0] + data, quoted)
        else:
            pieces.append((data, quoted))
    return [(os.fsdecode(data), quoted) for data, quoted in pieces], letter == b"\n"


def _spread(shell: Shell, names: list[str], line: list[Piece]) -> None:
    ifs = shell.variables.get("IFS", _WHITE)
    letters = [(letter, quoted) for text, quoted in line for letter in text]
    white = [letter in ifs and letter in _WHITE and not quoted for letter, quoted in letters]
    other = [letter in ifs and letter not in _WHITE and not quoted for letter, quoted in letters]
    at = 0
    for number, name in enumerate(names):
        while at < len(letters) and white[at]:
            at += 1
        start = at
        if number + 1 == len(names):
            end = len(letters)
            while end > start and white[end - 1]:
                end -= 1
            at = len(letters)
        else:
            while at < len(letters) and not white[at] and not other[at]:
                at += 1
            end = at
            while at < len(letters) and white[at]:
                at += 1
            if at < len(letters) and other[at]:
                at += 1
        shell.assign(name, "".join(letter for letter, _ in letters[start:end]))


def _umask(shell: Shell, words: list[str]) -> int:
    if len(words) == 1:
        shell._write(1, b"%04o\n" % int(shell.variables.get("_umask", "18")))
        return 0
    if not re.fullmatch(r"[0-7]{1,4}", words[1]):
        raise _Fault(f"umask: Illegal number: {words[1]}")
    shell.variables["_umask"] = str(int(words[1], 8))
    return 0


def _wait(shell: Shell, words: list[str]) -> int:
    wanted = [int(word) for word in words[1:] if word.isdigit()] or list(shell.children)
    status = 0
    for child in wanted:
        if child not in shell.children:
            return 127
        shell.children.remove(child)
        _, code = os.waitpid(child, 0)
        status = os.waitstatus_to_exitcode(code)
        status = 128 - status if status < 0 else status
    return status if len(words) > 1 else 0


def _command(shell: Shell, words: list[str]) -> int:
    words = words[1:]
    if words and words[0] in ("-v", "-V"):
        return _which(shell, words)
    if words and words[0] in ("-p", "--"):
        words = words[1:]
    if not words:
        return 0
    if words[0] in SPECIAL:
        return SPECIAL[words[0]](shell, words)
    return BUILTINS[words[0]](shell, words) if words[0] in BUILTINS else shell.external(words)


def _which(shell: Shell, words: list[str]) -> int:
    status = 0
    for name in words[1:]:
        found = name if name in shell.functions or name in BUILTINS or name in SPECIAL else find_path(shell, name)
        if found is None:
            status = 127
            if words[0] != "-v":
                shell._write(2, os.fsencode(f"{name}: not found\n"))
        else:
            shell._write(1, os.fsencode(found + "\n"))
    return status


def find_path(shell: Shell, name: str) -> str | None:
    """Where an executable of that name lies in PATH."""
    places = [name] if "/" in name else [f"{one or '.'}/{name}" for one in shell.variables.get("PATH", "").split(":")]
    for place in places:
        try:
            found = locate(shell.process, place, shell.cwd)
            if found.backing.is_file() and os.access(found.backing, os.X_OK):
                return place
        except OSError:
            continue
    return None


def _local(shell: Shell, words: list[str]) -> int:
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if equals:
            shell.assign(name, value)
    return 0


def _type(shell: Shell, words: list[str]) -> int:
    """typecmd in bin/sh/exec.c."""
    status = 0
    for name in words[1:]:
        if name in shell.functions:
            said = "is a shell function"
        elif name in SPECIAL:
            said = "is a special shell builtin"
        elif name in BUILTINS:
            said = "is a shell builtin"
        elif found := find_path(shell, name):
            said = f"is {found}"
        else:
            shell._write(2, os.fsencode(f"{name}: not found\n"))
            status = 127
            continue
        shell._write(1, os.fsencode(f"{name} {said}\n"))
    return status


SPECIAL: dict[str, Callable[[Shell, list[str]], int]] = {
    ":": _colon,
    ".": _dot,
    "break": _break,
    "continue": _break,
    "eval": _eval,
    "exec": _exec,
    "exit": _exit,
    "export": _export,
    "readonly": _export,
    "return": _return,
    "set": _set,
    "shift": _shift,
    "trap": _trap,
    "unset": _unset,
}
BUILTINS: dict[str, Callable[[Shell, list[str]], int]] = {
    "[": _test,
    "cd": _cd,
    "command": _command,
    "echo": _echo,
    "false": _false,
    "local": _local,
    "printf": _printf,
    "pwd": _pwd,
    "read": _read,
    "test": _test,
    "true": _true,
    "type": _type,
    "umask": _umask,
    "wait": _wait,
}
