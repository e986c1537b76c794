"""What is run on a host: argument lists, alone or joined by pipes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

Argv = tuple[str, ...]

_TOOL = re.compile(r"[A-Za-z0-9_./\[][A-Za-z0-9_./+\[-]*")


def argv(*words: str) -> Argv:
    """The words as a checked argument list; ValueError says which word is at fault and why."""
    return checked(words)


def checked(words: Sequence[str]) -> Argv:
    """Refuse what execve(2) cannot pass on (no words, NUL, text without bytes) and a tool that looks like an option."""
    if isinstance(words, str):
        raise ValueError("argv: expected a list of words, got one string")
    if not words:
        raise ValueError("argv: expected a tool and its arguments, got nothing")
    for position, word in enumerate(words):
        if not isinstance(word, str):
            raise ValueError(f"argv[{position}]: expected text, got {type(word).__name__}")
        if "\0" in word:
            raise ValueError(f"argv[{position}]: contains NUL, which no program can be given")
        try:
            word.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError(f"argv[{position}]: contains a lone surrogate, which has no bytes") from None
    if not _TOOL.fullmatch(words[0]):
        raise ValueError(f"argv[0]: expected the name or path of a tool, got {words[0]!r}")
    return tuple(words)


@dataclass(frozen=True)
class Pipeline:
    """One or more argument lists, each one's standard output feeding the next; `stdin` feeds the first."""

    argvs: tuple[Argv, ...]
    stdin: bytes = b""

    def __post_init__(self) -> None:
        if not self.argvs:
            raise ValueError("pipeline: expected at least one command, got none")
        object.__setattr__(self, "argvs", tuple(checked(words) for words in self.argvs))
        if not isinstance(self.stdin, bytes):
            raise ValueError(f"pipeline: expected bytes for stdin, got {type(self.stdin).__name__}")

    @classmethod
    def of(cls, *argvs: Sequence[str], stdin: bytes = b"") -> "Pipeline":
        return cls(tuple(checked(words) for words in argvs), stdin)
