"""`--ssh`: what sshd(8) does with a command: root's login shell gets it as one string.

As sh that is `sh -c STRING`. As csh, root's shell before 14, the string goes through csh's reader first, which knows
fewer ways to quote: `!` stands for the history even within single quotes, and a newline ends a quoted string.
"""

from __future__ import annotations

import os
import sys

from .host import Host


class CshFault(Exception):
    """csh would not run the command; the message is what it prints."""


def session(host: Host, words: list[str]) -> int:
    from .__main__ import process, run

    shell = ""
    if words[:1] == ["--login-shell"] and len(words) == 2:
        shell = words[1]
    elif words:
        sys.stderr.write("expected --login-shell sh|csh\n")
        return 2
    if not shell:
        with host.reading() as state:
            shell = "sh" if int(host.release(state).split(".")[0]) >= 14 else "csh"
    if shell not in ("sh", "csh"):
        sys.stderr.write(f"--login-shell {shell}: expected sh or csh\n")
        return 2
    text = os.environ.get("SSH_ORIGINAL_COMMAND")
    if text is None:
        sys.stderr.write("a login without a command is not simulated\n")
        return 1
    if shell == "csh":
        try:
            words = csh_words(text)
        except CshFault as fault:
            process(host, ["csh"]).err(f"{fault}\n")
            return 1
        return run(host, words)
    return run(host, ["sh", "-c", text])


def csh_words(text: str) -> list[str]:
    """A command of plain and quoted words, as csh(1) reads it; `exec` in front is done with. Raises CshFault.

    Only what a careful caller sends is run: variables, globs, pipes and redirections outside quotes are refused, since
    a command that relies on csh's own would not mean the same to sh.
    """
    reader = _Csh(text)
    found = reader.words()
    if found[:1] == ["exec"]:
        found = found[1:]
    if not found:
        raise CshFault("exec: Too few arguments.")
    return found


class _Csh:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def words(self) -> list[str]:
        self._history()
        found: list[str] = []
        word: str | None = None
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter in " \t":
                found += [] if word is None else [word]
                word = None
                self.at += 1
            elif letter in "'\"":
                word = (word or "") + self._quoted(letter)
            elif letter == "\\":
                word = (word or "") + self.text[self.at + 1 : self.at + 2]
                self.at += 2
            else:
                self._refuse(letter, start=word is None)
                word = (word or "") + letter
                self.at += 1
        return found if word is None else [*found, word]

    def _history(self) -> None:
        """`!` is looked at before any quote; a backslash before it, or a blank, `=`, `~`, `(` after it, saves it."""
        for at, letter in enumerate(self.text):
            following = self.text[at + 1 : at + 2]
            if (
                letter == "!"
                and self.text[at - 1 : at] != "\\"
                and following not in ("", " ", "\t", "\n", "=", "~", "(")
            ):
                event = self.text[at + 1 :].split(" ")[0].split("'")[0].split('"')[0].split("\n")[0]
                raise CshFault(f"{event}: Event not found.")

    def _quoted(self, quote: str) -> str:
        end = self.text.find(quote, self.at + 1)
        inside = self.text[self.at + 1 : end if end >= 0 else None]
        if end < 0 or self._bare_newline(inside):
            raise CshFault(f"Unmatched {quote}." if quote == '"' else "Unmatched '''.")
        if quote == '"' and ("$" in inside or "`" in inside):
            name = inside.partition("$")[2].split(" ")[0].strip("{}") or "`"
            raise CshFault(f"{name}: Undefined variable.")
        self.at = end + 1
        return inside.replace("\\\n", "\n").replace("\\!", "!")

    def _bare_newline(self, inside: str) -> bool:
        return "\n" in inside.replace("\\\n", "")

    def _refuse(self, letter: str, start: bool) -> None:
        rest = self.text[self.at + 1 :]
        if letter == "$":
            raise CshFault(f"{rest.split(' ')[0].strip('{}')}: Undefined variable.")
        if letter in "*?[{":
            raise CshFault(f"{self.text.split(' ')[0]}: No match.")
        if letter == "~" and start:
            raise CshFault(f"Unknown user: {rest.split(' ')[0]}.")
        if letter in "()":
            raise CshFault("Badly placed ()'s.")
        if letter in "<>":
            raise CshFault("Missing name for redirect.")
        if letter in "|&;`\n#^":
            raise CshFault("Invalid null command.")
