"""sh(1) as one types to it: `sh -i`. The terminal edits the line; job control is not simulated.

The prompt is the one that FreeBSD's skeleton files ask for, `root@www1:~ # `.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from .syntax import SyntaxFault, parse

_UNFINISHED = ("end of file unexpected", "Unterminated quoted string", "EOF in backquote substitution")


def converse(shell: Any) -> int:
    """Read and run line after line until the end of input or `exit`; the status of the last."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    host = shell.process.capture(["hostname", "-s"])[1].decode().strip() or "jail"
    return int(shell.guarded(lambda: _converse(shell, host)))


def _converse(shell: Any, host: str) -> int:
    while True:
        try:
            text = _whole(shell, host)
            if text is None:
                shell._write(2, b"\n")
                return int(shell.status)
            _run(shell, text)
        except KeyboardInterrupt:
            shell.status = 130
            shell._write(2, b"\n")


def _whole(shell: Any, host: str) -> str | None:
    """One command, of as many lines as it takes; None at the end of input."""
    text, prompt = "", _prompt(shell, host)
    while True:
        shell._write(2, os.fsencode(prompt))
        line = _line(shell)
        if not line:
            return text or None
        text += os.fsdecode(line)
        if not _is_unfinished(text):
            return text
        prompt = "> "


def _prompt(shell: Any, host: str) -> str:
    home, user = shell.variables.get("HOME", ""), shell.process.user
    where = "~" if shell.cwd == home else shell.cwd
    return f"{user}@{host}:{where} {'#' if user == 'root' else '$'} "


def _line(shell: Any) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(shell.fds[0], 4096)
        if not part:
            break
        line += part
    return line


def _is_unfinished(text: str) -> bool:
    try:
        parse(text)
    except SyntaxFault as fault:
        return any(words in str(fault) for words in _UNFINISHED)
    except RecursionError:
        return False
    return False


def _run(shell: Any, text: str) -> None:
    """What is wrong with one command ends that command, not the shell."""
    from .shell import _Fault

    try:
        shell.status = shell.evaluate(text)
    except _Fault as fault:
        shell.complain(fault.message)
        shell.status = fault.status
