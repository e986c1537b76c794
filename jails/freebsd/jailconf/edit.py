"""Change single statements of somebody's jail.conf(5) and leave every other byte as it was.

Each change is read back as jail(8) would: it is refused unless exactly the wanted jail has changed in the wanted way.
"""

from dataclasses import dataclass

from jails.freebsd.jailconf import write
from jails.freebsd.jailconf.effective import Jail, is_wildcard, resolve, same_option
from jails.freebsd.jailconf.lexer import from_bytes_text, to_bytes_text
from jails.freebsd.jailconf.parser import Block, Builder, Parser, Statement, Stopped, read_into

_BLANK = " \t\r"


class EditRefused(ValueError):
    """The file stays as it is: the message says why, where, and what a person can do."""


@dataclass(frozen=True, slots=True)
class _Change:
    start: int
    end: int
    text: str = ""


class Document:
    """A jail.conf(5) that can be edited. Every method gives a new document; `text` is the whole file.

    What an included file says is not looked at: edit the file where the jail stands.
    """

    def __init__(self, text: str, *, filename: str = "jail.conf") -> None:
        self.text = text
        self.filename = filename
        self._bytes = to_bytes_text(text)
        if from_bytes_text(self._bytes) != text:
            raise EditRefused(f"{filename}: is not text that can be written back as it was")
        self._parser, self._jails = _parse(text, filename)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the jails, in order."""
        return tuple(jail.name for jail in self._jails)

    def set(self, jail: str, parameter: str, values: write.Value = None) -> "Document":
        """Give a parameter of a jail exactly these values (as for `render_jail`); adds a line where it has none yet."""
        name, wanted = write.normal(parameter, values)
        block = self._block(jail)
        own = self._own(block, name)
        if own:
            changes = [self._replacement(own[0], name, wanted), *(self._removal(item) for item in own[1:])]
        else:
            changes = [self._insertion(block, write.statements(name, wanted))]
        edited = self._apply(changes)
        self._check_others(edited, jail)
        found = edited._jail(jail)
        if (name, wanted) not in found.parameters:
            shown = found.get(name)
            raise EditRefused(
                f"{self.filename}: {parameter} of jail {jail} would be {shown!r} all the same, because another part "
                "of the file sets it too; change that part by hand"
            )
        return edited

    def remove(self, jail: str, parameter: str) -> "Document":
        """Take out what the jail's own block says of a parameter. What the file sets for all jails then applies."""
        own = self._own(self._block(jail), parameter)
        if not own:
            raise EditRefused(f"{self.filename}: the block of jail {jail} does not set {parameter}")
        edited = self._apply([self._removal(item) for item in own])
        self._check_others(edited, jail)
        return edited

    def rename(self, jail: str, name: str) -> "Document":
        """Give a jail another name; refused where other jails depend on it or are its children."""
        block = self._block(jail)
        if name in self.names:
            raise EditRefused(f"{self.filename}: there is a jail {name} already; choose another name")
        for other, _ in self._blocks_around(jail):
            raise EditRefused(f"{self.filename}: {other} belongs to jail {jail} by its name; rename it by hand first")
        for user in self._jails:
            if user.name != jail and jail in (user.get("depend") or ()):
                raise EditRefused(f"{self.filename}: jail {user.name} depends on {jail}; change its “depend” first")
        new_name = to_bytes_text(write.jail_name(name))
        edited = self._apply([_Change(block.start, block.name_end, new_name)])
        before, after = self._jail(jail), edited._jail(name)
        same = [item[0] for item in before.parameters] == [item[0] for item in after.parameters]
        if not same or (after.failed and not before.failed):
            raise EditRefused(f"{self.filename}: as {name}, the jail would get other parameters; rename it by hand")
        self._compare([item for item in self._jails if item.name != jail], edited, name)
        return edited

    def add(self, jail: str, parameters: write.Parameters) -> "Document":
        """Put a block for a new jail at the end."""
        if jail in self.names:
            raise EditRefused(f"{self.filename}: there is a jail {jail} already; choose another name")
        newline = "" if not self._bytes or self._bytes.endswith("\n") else "\n"
        block = to_bytes_text(write.render_block(jail, parameters))
        edited = self._apply([_Change(len(self._bytes), len(self._bytes), newline + block)])
        if edited._jail(jail).failed:
            raise EditRefused(f"{self.filename}: what it sets for all jails makes jail {jail} fail; add it by hand")
        self._compare(list(self._jails), edited, jail)
        return edited

    def drop(self, jail: str) -> "Document":
        """Take a jail's whole block out, with the comments inside it."""
        block = self._block(jail)
        start, end = self._whole_lines(block.start, block.end)
        edited = self._apply([_Change(start, end)])
        self._compare([item for item in self._jails if item.name != jail], edited, jail)
        return edited

    def _block(self, jail: str) -> Block:
        wanted = to_bytes_text(jail)
        found = [block for block in self._parser.blocks if block.name == wanted]
        if is_wildcard(jail):
            raise EditRefused(f"{self.filename}: “{jail}” is for many jails; change it by hand")
        if not found:
            raise EditRefused(f"{self.filename}: has no block for jail {jail}")
        if len(found) > 1:
            lines = ", ".join(str(self._line(block.start)) for block in found)
            raise EditRefused(
                f"{self.filename}: has several blocks for jail {jail} (lines {lines}); make them one first"
            )
        return found[0]

    def _blocks_around(self, jail: str) -> list[tuple[str, Block]]:
        prefix = to_bytes_text(jail) + "."
        return [(from_bytes_text(b.name), b) for b in self._parser.blocks if b.name.startswith(prefix)]

    def _jail(self, name: str) -> Jail:
        found = next((jail for jail in self._jails if jail.name == name), None)
        if found is None:
            raise EditRefused(f"{self.filename}: jail {name} would not be there any more")
        return found

    def _own(self, block: Block, parameter: str) -> list[Statement]:
        return [item for item in block.statements if not item.variable and same_option(item.name, parameter)]

    def _line(self, offset: int) -> int:
        return self._bytes.count("\n", 0, offset) + 1

    def _refuse_comments(self, start: int, end: int) -> None:
        for comment, _ in self._parser.comments:
            if start <= comment < end:
                raise EditRefused(
                    f"{self.filename} line {self._line(comment)}: a comment stands inside the statement and would be "
                    "lost; change the line by hand"
                )

    def _replacement(self, statement: Statement, name: str, values: tuple[str, ...]) -> _Change:
        self._refuse_comments(statement.start, statement.body_end)
        start, written = statement.name_end, ""
        if statement.name != name:
            start, written = statement.start, name
        if values and statement.op in ("=", ""):
            written += self._bytes[statement.name_end : statement.value_start]
        elif values:
            written += " = "
        return _Change(start, statement.body_end, written + to_bytes_text(write.value_list(values)))

    def _removal(self, statement: Statement) -> _Change:
        self._refuse_comments(statement.start, statement.end)
        start, end = self._whole_lines(statement.start, statement.end)
        return _Change(start, end)

    def _whole_lines(self, start: int, end: int) -> tuple[int, int]:
        """The lines of a place, if nothing else stands on them; else the place and the blanks beside it."""
        text = self._bytes
        line = text.rfind("\n", 0, start) + 1
        after = end
        while after < len(text) and text[after] in _BLANK:
            after += 1
        at_end = after == len(text) or text[after] == "\n"
        if not text[line:start].strip(_BLANK) and at_end:
            return line, min(after + 1, len(text))
        while at_end and text[start - 1] in " \t":
            start -= 1
        return (start, end) if at_end else (start, after)

    def _insertion(self, block: Block, lines: list[str]) -> _Change:
        text = self._bytes
        line = text.rfind("\n", 0, block.close) + 1
        closing = text[line : block.close]
        if line <= block.open or closing.strip(_BLANK):
            gap = "" if text[block.close - 1] in " \t\n" else " "
            return _Change(block.close, block.close, gap + to_bytes_text(" ".join(lines)) + " ")
        indent = self._indent(block) or closing.strip("\r") + "\t"
        newline = "\r\n" if text[line - 2 : line] == "\r\n" else "\n"
        return _Change(line, line, to_bytes_text("".join(f"{indent}{item}{newline}" for item in lines)))

    def _indent(self, block: Block) -> str:
        for statement in reversed(block.statements):
            line = self._bytes.rfind("\n", 0, statement.start) + 1
            indent = self._bytes[line : statement.start]
            if line > block.open and indent and not indent.strip(" \t"):
                return indent
        return ""

    def _apply(self, changes: list[_Change]) -> "Document":
        text = self._bytes
        for change in sorted(changes, key=lambda change: change.start, reverse=True):
            text = text[: change.start] + change.text + text[change.end :]
        return Document(from_bytes_text(text), filename=self.filename)

    def _check_others(self, edited: "Document", jail: str) -> None:
        self._compare([item for item in self._jails if item.name != jail], edited, jail)
        if edited._jail(jail).failed and not self._jail(jail).failed:
            raise EditRefused(f"{self.filename}: jail {jail} would no longer be accepted by jail(8); change it by hand")

    def _compare(self, expected: list[Jail], edited: "Document", jail: str) -> None:
        if expected != [item for item in edited._jails if item.name != jail]:
            raise EditRefused(f"{self.filename}: the change would reach other jails than {jail}; make it by hand")


def edit(text: str, *, filename: str = "jail.conf") -> Document:
    """A file to be edited. EditRefused where jail(8) would not read it, or not to its end."""
    return Document(text, filename=filename)


def _parse(text: str, filename: str) -> tuple[Parser, tuple[Jail, ...]]:
    builder = Builder()
    try:
        parser = read_into(builder, text, filename, include=lambda pattern: ((pattern, ""),))
    except Stopped:
        raise EditRefused(f"{builder.problems[0].message}; mend the file by hand first") from None
    if parser.early_end is not None:
        line = parser.text.count("\n", 0, parser.early_end) + 1
        raise EditRefused(
            f"{filename} line {line}: jail(8) stops reading at a byte outside ASCII here; put the word in quotes first"
        )
    return parser, resolve(builder)
