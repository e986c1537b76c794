"""Argument lists as text for sh(1), and for the login shell that sshd(8) hands a command to.

The text runs in FreeBSD's sh, dash and bash. It uses no temporary files and no extension such as pipefail.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jails.freebsd.command import Argv, Pipeline, checked

PATH = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"

# One argument of execve(2) may hold 128 KiB on Linux, all of them together 256 KiB on FreeBSD 12: what is
# larger belongs on standard input.
REMOTE_LIMIT = 131_000

_PLAIN = re.compile(r"[A-Za-z0-9_./=:,@%+-]+")
_NOT_PLAIN_BYTE = re.compile(rb"[^A-Za-z0-9_./=:,@%+-]")
# As a first word these act on the shell itself, or are its grammar, and would not run a program.
_SHELL_GRAMMAR = "case do done elif else esac fi for if in then until while"
_SHELL_BUILTINS = (
    ". : alias bg break cd continue eval exec exit export fc fg getopts hash jobs local read readonly return set shift "
    "times trap type ulimit umask unalias unset wait"
)
_SHELL_WORDS = frozenset(f"{_SHELL_GRAMMAR} {_SHELL_BUILTINS}".split())


def quote(word: str) -> str:
    """The word as sh reads it back unchanged, whatever it holds; ValueError for NUL."""
    if "\0" in word:
        raise ValueError("word: contains NUL, which no shell can pass on")
    if _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def words(argv: Sequence[str]) -> str:
    """One simple command. ValueError where the first word would be read as the shell's own."""
    argv = checked(argv)
    if argv[0] in _SHELL_WORDS:
        raise ValueError(f"argv[0]: {argv[0]!r} is a word of the shell, not a tool")
    return " ".join(quote(word) for word in argv)


def render(pipeline: Pipeline) -> str:
    """A text for `sh -c` whose status is that of the last part that failed, 0 when none did.

    `pipeline.stdin` is not part of the text: feed it to the shell. Status 125 stands for a part whose shell was killed.
    """
    parts = [words(argv) for argv in pipeline.argvs]
    if len(parts) == 1:
        return parts[0]
    # Statuses come back on descriptor 3, the last part's output goes out on 4. No part gets either one, so that
    # a daemon left behind cannot hold the substitution open and no output can be taken for a status.
    numbers = range(1, len(parts) + 1)
    guarded = [f"{{ {part} 3>&- 4>&-; echo r{n}=$? >&3; }}" for n, part in zip(numbers, parts, strict=True)]
    unset = " ".join(f"r{n}=125" for n in numbers)
    statuses = " ".join(f'"$r{n}"' for n in reversed(numbers))
    return (
        f"{unset}\n"
        f"{{ r=$({{ {' | '.join(guarded)} >&4; }} 3>&1); }} 4>&1\n"
        'eval "$r"\n'
        f'for r in {statuses}; do [ "$r" = 0 ] || exit "$r"; done'
    )


def argv_of(pipeline: Pipeline) -> Argv:
    """The pipeline as one argument list: itself where it has one part, `sh -c TEXT` otherwise."""
    if len(pipeline.argvs) == 1:
        return pipeline.argvs[0]
    return ("sh", "-c", render(pipeline))


def remote_string(argv: Sequence[str]) -> str:
    """What may be handed to sshd, whichever of sh, csh and tcsh is root's login shell.

    Inside the single quotes stand only plain bytes and octal escapes: csh expands `!` and breaks at a newline
    even in quotes. ValueError when the text is longer than REMOTE_LIMIT bytes.
    """
    command = " ".join(_octal(quote(word)) for word in checked(argv))
    run = f'eval "exec $(printf "{command}")"' if "\\" in command else f"exec {command.replace('%%', '%')}"
    text = f"exec /bin/sh -c 'PATH={PATH};export PATH;{run}'"
    if len(text) > REMOTE_LIMIT:
        raise ValueError(f"argv: {len(text)} bytes as a remote command, expected at most {REMOTE_LIMIT}: use stdin")
    return text


def _octal(word: str) -> str:
    """As a format of printf(1), whose own `%` is doubled."""
    raw = word.encode("utf-8", "surrogateescape").replace(b"%", b"%%")
    return _NOT_PLAIN_BYTE.sub(lambda found: b"\\%03o" % found[0][0], raw).decode("ascii")


@dataclass(frozen=True)
class Part:
    """One command of a batch. `stderr` comes without the newlines at its end."""

    rc: int
    stdout: bytes
    stderr: bytes


def batch(commands: Iterable[Sequence[str] | Pipeline], nonce: str | None = None) -> str:
    """One text for `sh -c` that runs the commands in order, whatever each one's status, for `split_batch`.

    For commands that read: they get no standard input, and one that leaves a daemon behind would hold it up.
    It costs one process a command and the shell itself; a pipeline costs a shell a part more.
    """
    nonce = secrets.token_hex(16) if nonce is None else nonce
    if not re.fullmatch(r"[0-9a-z]{8,64}", nonce):
        raise ValueError("nonce: expected 8 to 64 lower case letters and digits")
    texts = [_batched(command) for command in commands]
    lines = ["{", f"printf '%s\\n' 'cellblock-batch {nonce} {len(texts)}'"]
    for number, text in enumerate(texts):
        lines.append(f"e=$({text} 2>&1 >&3 3>&-); r=$?")
        lines.append(f"printf '\\n%s %s\\n%s\\n%s\\n' '{nonce} {number} rc' \"$r\" \"$e\" '{nonce} {number} end'")
    lines.append("} 3>&1 </dev/null")
    return "\n".join(lines)


def _batched(command: Sequence[str] | Pipeline) -> str:
    if not isinstance(command, Pipeline):
        return words(command)
    if command.stdin:
        raise ValueError("pipeline: a command of a batch cannot have stdin")
    return words(argv_of(command))


def split_batch(output: bytes) -> list[Part]:
    """What `batch` printed, taken apart. What a login shell printed before it is skipped.

    ValueError when it is cut off, or when a frame stands where none was written: then nothing of it is to be believed.
    """
    head = re.search(rb"^cellblock-batch ([0-9a-z]{8,64}) ([0-9]{1,6})\n", output, re.MULTILINE)
    if head is None:
        raise ValueError("batch: its first line is missing: the command did not run, or its output was cut off")
    nonce, count = head[1], int(head[2])
    body = output[head.end() :]
    frames = list(re.finditer(rb"\n" + nonce + rb" ([0-9]+) (?:rc ([0-9]+)|end)\n", body))
    expected = [(b"%d" % number, kind) for number in range(count) for kind in (True, False)]
    found = [(frame[1], frame[2] is not None) for frame in frames]
    if found[: len(expected)] != expected[: len(found)] or len(found) > len(expected):
        raise ValueError("batch: its frames are out of order: some output pretends to be a frame")
    if len(found) < len(expected):
        raise ValueError(f"batch: output cut off in command {len(found) // 2 + 1} of {count}")
    parts, start = [], 0
    for status, end in zip(frames[::2], frames[1::2], strict=True):
        parts.append(Part(int(status[2]), body[start : status.start()], body[status.end() : end.start()]))
        start = end.end()
    return parts
