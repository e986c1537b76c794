"""How a zfs(8) or zpool(8) command ends other than well."""

from __future__ import annotations

import getopt
from collections.abc import Sequence


class ZfsError(Exception):
    """A failure: `text` (lines for stderr) and the exit status."""

    def __init__(self, text: str, rc: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.rc = rc


class UsageError(ZfsError):
    """A wrong call: `text`, then the usage of the command; status 2."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text, 2)


def options(argv: Sequence[str], letters: str) -> tuple[list[tuple[str, str]], list[str]]:
    """getopt(3): the options, with their values, and the operands."""
    try:
        found, operands = getopt.getopt(list(argv), letters)
    except getopt.GetoptError as error:
        if error.msg.endswith("requires argument"):
            raise UsageError(f"missing argument for '{error.opt}' option") from None
        raise UsageError(f"invalid option '{error.opt[:1]}'") from None
    return [(letter[1:], value) for letter, value in found], operands


def expect_operands(operands: Sequence[str], *names: str) -> None:
    """Exactly one operand for each name of `names`, such as "dataset"."""
    for at, name in enumerate(names):
        if len(operands) <= at:
            raise UsageError(f"missing {name} argument")
    if len(operands) > len(names):
        raise UsageError("too many arguments")
