"""The grammar of sh(1) as far as the simulated host reads it: text to a tree. See shell.py for what a tree does."""

from __future__ import annotations

from typing import Any, NamedTuple


class SyntaxFault(Exception):
    """The text is not sh, or a part of sh that is not simulated; the message is printed after the shell's name."""


class Literal(NamedTuple):
    text: str
    quoted: bool


class Parameter(NamedTuple):
    """`$name` or `${name OP word}`; operation `length` is `${#name}`."""

    name: str
    operation: str
    word: Word
    quoted: bool


class Substitution(NamedTuple):
    body: Sequence
    quoted: bool


class Arithmetic(NamedTuple):
    word: Word
    quoted: bool


Part = Literal | Parameter | Substitution | Arithmetic
Word = list[Any]


class Redirection(NamedTuple):
    """`fd OP target`; for `<<` the target is the text of the document."""

    fd: int
    operator: str
    target: Word


class Simple(NamedTuple):
    assignments: list[tuple[str, Word]]
    words: list[Word]
    redirections: list[Redirection]
    line: int


class Pipe(NamedTuple):
    negated: bool
    parts: list[Any]


class AndOr(NamedTuple):
    first: Pipe
    rest: list[tuple[str, Pipe]]


class Sequence(NamedTuple):
    """Lists joined by `;` or newline; each with whether it ends with `&`."""

    items: list[tuple[AndOr, bool]]


class Group(NamedTuple):
    """`{ }`, or `( )` when it is a subshell."""

    body: Sequence
    subshell: bool
    redirections: list[Redirection]


class If(NamedTuple):
    branches: list[tuple[Sequence, Sequence]]
    otherwise: Sequence | None
    redirections: list[Redirection]


class Loop(NamedTuple):
    until: bool
    condition: Sequence
    body: Sequence
    redirections: list[Redirection]


class For(NamedTuple):
    name: str
    words: list[Word] | None
    body: Sequence
    redirections: list[Redirection]


class Case(NamedTuple):
    word: Word
    branches: list[tuple[list[Word], Sequence]]
    redirections: list[Redirection]


class Function(NamedTuple):
    name: str
    body: Any


_OPERATORS = ("<<-", "&&", "||", ";;", "<<", ">>", "<&", ">&", "<>", ">|", ";", "&", "|", "(", ")", "<", ">", "\n")
_REDIRECTIONS = ("<<-", "<<", ">>", "<&", ">&", "<>", ">|", "<", ">")
_RESERVED = frozenset("! { } if then elif else fi while until do done for case esac in".split())
_ENDS_WORD = frozenset(" \t\n;&|()<>")
_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAME = _NAME_START | frozenset("0123456789")
_SPECIAL = frozenset("@*#?-$!0123456789")


def parse(text: str) -> Sequence:
    """The whole text as one tree. Raises SyntaxFault."""
    parser = _Parser(text)
    found = parser.sequence(())
    parser.blank()
    if parser.at < len(text):
        parser.unexpected()
    if parser.documents:
        parser.read_documents()
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.documents: list[tuple[Word, str, bool, bool]] = []

    # Tokens

    def blank(self) -> None:
        """Skip blanks, continued lines and a comment."""
        text = self.text
        while self.at < len(text):
            if text[self.at] in " \t":
                self.at += 1
            elif text.startswith("\\\n", self.at):
                self.at += 2
            elif text[self.at] == "#":
                end = text.find("\n", self.at)
                self.at = len(text) if end < 0 else end
            else:
                return

    def newlines(self) -> None:
        self.blank()
        while self.text.startswith("\n", self.at):
            self.at += 1
            self.read_documents()
            self.blank()

    def operator(self) -> str:
        self.blank()
        return next((one for one in _OPERATORS if self.text.startswith(one, self.at)), "")

    def accept(self, operator: str) -> bool:
        if self.operator() != operator:
            return False
        self.at += len(operator)
        if operator == "\n":
            self.read_documents()
        return True

    def keyword(self) -> str:
        """The reserved word that comes next, not consumed."""
        self.blank()
        end = self.at
        while end < len(self.text) and self.text[end] not in _ENDS_WORD:
            end += 1
        word = self.text[self.at : end]
        return word if word in _RESERVED else ""

    def accept_keyword(self, *words: str) -> str:
        word = self.keyword()
        if word not in words:
            return ""
        self.at += len(word)
        return word

    def expect_keyword(self, word: str) -> None:
        if not self.accept_keyword(word):
            self.unexpected(word)

    def unexpected(self, expected: str = "") -> None:
        self.blank()
        if self.at >= len(self.text):
            found = "end of file"
        else:
            operator = self.operator()
            found = (
                "newline"
                if operator == "\n"
                else f'"{operator or self.keyword()}"'
                if operator or self.keyword()
                else "word"
            )
        hint = f' (expecting "{expected}")' if expected else ""
        raise SyntaxFault(f"Syntax error: {found} unexpected{hint}")

    # Commands

    def sequence(self, ends: tuple[str, ...]) -> Sequence:
        """Commands up to one of the words or operators (not consumed) or the end of the text."""
        items: list[tuple[AndOr, bool]] = []
        while True:
            self.newlines()
            if self.at >= len(self.text) or self._at_end(ends):
                return Sequence(items)
            command = self.and_or()
            background = self.accept("&")
            items.append((command, background))
            if not background and not self.accept(";") and self.operator() != "\n":
                return Sequence(items)

    def _at_end(self, ends: tuple[str, ...]) -> bool:
        return self.keyword() in ends if self.keyword() else self.operator() in ends and bool(self.operator())

    def body(self, *ends: str) -> Sequence:
        """A sequence that must not be empty and must end with one of the words."""
        found = self.sequence(ends)
        if not found.items or not self._at_end(ends):
            self.unexpected(ends[0] if found.items else "")
        return found

    def and_or(self) -> AndOr:
        first = self.pipe()
        rest = []
        while (operator := self.operator()) in ("&&", "||"):
            self.at += 2
            self.newlines()
            rest.append((operator, self.pipe()))
        return AndOr(first, rest)

    def pipe(self) -> Pipe:
        negated = False
        while self.accept_keyword("!"):
            negated = not negated
        parts = [self.command()]
        while self.accept("|"):
            self.newlines()
            parts.append(self.command())
        return Pipe(negated, parts)

    def command(self) -> Any:
        word = self.keyword()
        if word == "{":
            self.at += 1
            body = self.body("}")
            self.at += 1
            return Group(body, False, self.redirections())
        if word in ("if", "while", "until", "for", "case"):
            self.at += len(word)
            return getattr(self, f"_{word}")() if word != "until" else self._while(until=True)
        if word:
            self.unexpected()
        if self.accept("("):
            body = self.body(")")
            self.at += 1
            return Group(body, True, self.redirections())
        return self.simple()

    def _if(self) -> If:
        branches = []
        while True:
            condition = self.body("then")
            self.expect_keyword("then")
            branches.append((condition, self.body("fi", "elif", "else")))
            if not self.accept_keyword("elif"):
                break
        otherwise = self.body("fi") if self.accept_keyword("else") else None
        self.expect_keyword("fi")
        return If(branches, otherwise, self.redirections())

    def _while(self, until: bool = False) -> Loop:
        condition = self.body("do")
        return Loop(until, condition, self._do(), self.redirections())

    def _do(self) -> Sequence:
        self.expect_keyword("do")
        body = self.body("done")
        self.expect_keyword("done")
        return body

    def _for(self) -> For:
        self.blank()
        name = self.plain_word("Bad for loop variable")
        self.newlines()
        words: list[Word] | None = None
        if self.accept_keyword("in"):
            words = []
            while (word := self.word()) is not None:
                words.append(word)
            if not self.accept(";") and not self.accept("\n"):
                self.unexpected()
        else:
            self.accept(";")
        self.newlines()
        return For(name, words, self._do(), self.redirections())

    def _case(self) -> Case:
        word = self.word()
        if word is None:
            self.unexpected()
        self.newlines()
        self.expect_keyword("in")
        branches = []
        self.newlines()
        while not self.accept_keyword("esac"):
            self.accept("(")
            patterns = [self._pattern()]
            while self.accept("|"):
                patterns.append(self._pattern())
            if not self.accept(")"):
                self.unexpected(")")
            branches.append((patterns, self.sequence((";;", "esac"))))
            if not self.accept(";;") and self.keyword() != "esac":
                self.unexpected(";;")
            self.newlines()
        return Case(word or [], branches, self.redirections())

    def _pattern(self) -> Word:
        word = self.word()
        if word is None:
            self.unexpected()
        return word or []

    def plain_word(self, complaint: str) -> str:
        word = self.word()
        if not word or len(word) != 1 or not isinstance(word[0], Literal) or not is_name(word[0].text):
            raise SyntaxFault(f"Syntax error: {complaint}")
        return str(word[0].text)

    def simple(self) -> Any:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirections: list[Redirection] = []
        line = self.text.count("\n", 0, self.at) + 1
        while True:
            found = self.redirection()
            if found is not None:
                redirections.append(found)
                continue
            start = self.at
            word = self.word()
            if word is None:
                break
            name = _assigned(word) if not words else ""
            if name:
                assignments.append((name, _after_equals(word, len(name) + 1)))
                continue
            words.append(word)
            if len(words) == 1 and not assignments and not redirections and self.operator() == "(":
                return self._function(self.text[start : self.at].strip())
        if not assignments and not words and not redirections:
            self.unexpected()
        return Simple(assignments, words, redirections, line)

    def _function(self, name: str) -> Function:
        self.accept("(")
        if not self.accept(")"):
            self.unexpected(")")
        if not is_name(name):
            raise SyntaxFault("Syntax error: Bad function name")
        self.newlines()
        return Function(name, self.command())

    # Redirections

    def redirections(self) -> list[Redirection]:
        found = []
        while (one := self.redirection()) is not None:
            found.append(one)
        return found

    def redirection(self) -> Redirection | None:
        self.blank()
        start = self.at
        while self.at < len(self.text) and self.text[self.at].isdigit() and self.text[self.at].isascii():
            self.at += 1
        number = self.text[start : self.at]
        operator = next((one for one in _REDIRECTIONS if self.text.startswith(one, self.at)), "")
        if not operator:
            self.at = start
            return None
        self.at += len(operator)
        target = self.word()
        if target is None:
            self.unexpected()
        assert target is not None
        fd = int(number) if number else 0 if operator.startswith("<") else 1
        if operator.startswith("<<"):
            document: Word = []
            quoted = any(isinstance(part, Literal) and part.quoted for part in target)
            end = "".join(part.text for part in target if isinstance(part, Literal))
            self.documents.append((document, end, quoted, operator == "<<-"))
            return Redirection(fd, "<<", document)
        return Redirection(fd, operator, target)

    def read_documents(self) -> None:
        """The here-documents whose lines start here."""
        waiting, self.documents = self.documents, []
        for document, end, quoted, tabs in waiting:
            lines = []
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = stop + 1
                if tabs:
                    line = line.lstrip("\t")
                if line == end:
                    break
                lines.append(line + "\n")
            self.at = min(self.at, len(self.text))
            text = "".join(lines)
            document.extend([Literal(text, True)] if quoted else _Parser(text).quoted_parts(""))

    # Words

    def word(self, ends: frozenset[str] = _ENDS_WORD) -> Word | None:
        """The next word, or None where an operator or the end comes first."""
        self.blank()
        start, parts = self.at, []
        while self.at < len(self.text) and self.text[self.at] not in ends:
            parts.extend(self.part())
        return parts if self.at > start else None

    def part(self) -> Word:
        text, letter = self.text, self.text[self.at]
        if letter == "\\":
            self.at += 2
            following = text[self.at - 1 : self.at]
            return [] if following == "\n" else [Literal(following or "\\", True)]
        if letter == "'":
            end = text.find("'", self.at + 1)
            if end < 0:
                raise SyntaxFault("Syntax error: Unterminated quoted string")
            literal = Literal(text[self.at + 1 : end], True)
            self.at = end + 1
            return [literal]
        if letter == '"':
            self.at += 1
            return self.quoted_parts('"') or [Literal("", True)]
        if letter in "$`":
            return self.expansion(quoted=False)
        start = self.at
        self.at += 1
        while self.at < len(text) and text[self.at] not in "\\'\"$`}" and text[self.at] not in _ENDS_WORD:
            self.at += 1
        return [Literal(text[start : self.at], False)]

    def quoted_parts(self, end: str) -> Word:
        """What stands in double quotes (`end` is `"`), or in a here-document (`end` is empty)."""
        parts: Word = []
        plain = ""
        while True:
            if self.at >= len(self.text):
                if end:
                    raise SyntaxFault("Syntax error: Unterminated quoted string")
                break
            letter = self.text[self.at]
            if end and letter == end:
                self.at += 1
                break
            following = self.text[self.at + 1 : self.at + 2]
            if letter == "\\" and following and following in '$`\\\n"'[: None if end else -1]:
                self.at += 2
                plain += "" if following == "\n" else following
            elif letter in "$`":
                parts += [Literal(plain, True)] if plain else []
                plain = ""
                parts += self.expansion(quoted=True)
            else:
                self.at += 1
                plain += letter
        return parts + ([Literal(plain, True)] if plain else [])

    def expansion(self, quoted: bool) -> Word:
        text = self.text
        if text[self.at] == "`":
            return [self._backquoted(quoted)]
        following = text[self.at + 1 : self.at + 2]
        if text.startswith("$((", self.at):
            return [self._arithmetic(quoted)]
        if following == "(":
            self.at += 2
            body = self.sequence((")",))
            if not self.accept(")"):
                self.unexpected(")")
            return [Substitution(body, quoted)]
        if following == "{":
            return [self._braced(quoted)]
        if following and following in _SPECIAL:
            self.at += 2
            return [Parameter(following, "", [], quoted)]
        if following and following in _NAME_START:
            self.at += 1
            return [Parameter(self._name(), "", [], quoted)]
        if following == "'" and not quoted:
            raise SyntaxFault("Syntax error: $'...' is not simulated")
        self.at += 1
        return [Literal("$", quoted)]

    def _name(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _NAME:
            self.at += 1
        return self.text[start : self.at]

    def _backquoted(self, quoted: bool) -> Substitution:
        self.at += 1
        inner = ""
        while self.at < len(self.text) and self.text[self.at] != "`":
            special = '$`\\"' if quoted else "$`\\"
            if self.text[self.at] == "\\" and self.text[self.at + 1 : self.at + 2] in list(special):
                self.at += 1
            inner += self.text[self.at]
            self.at += 1
        if self.at >= len(self.text):
            raise SyntaxFault("Syntax error: EOF in backquote substitution")
        self.at += 1
        return Substitution(parse(inner), quoted)

    def _arithmetic(self, quoted: bool) -> Arithmetic:
        self.at += 3
        start, depth = self.at, 0
        while self.at < len(self.text):
            if self.text.startswith("))", self.at) and not depth:
                inner = self.text[start : self.at]
                self.at += 2
                return Arithmetic(_Parser(inner).quoted_parts(""), quoted)
            depth += {"(": 1, ")": -1}.get(self.text[self.at], 0)
            self.at += 1
        raise SyntaxFault("Syntax error: missing '))'")

    def _braced(self, quoted: bool) -> Parameter:
        self.at += 2
        text = self.text
        if text.startswith("#", self.at) and text[self.at + 1 : self.at + 2] not in ("}", "", "-", ":", "=", "?", "+"):
            self.at += 1
            name = self._parameter_name()
            self._close()
            return Parameter(name, "length", [], quoted)
        name = self._parameter_name()
        operation = next(
            (
                one
                for one in (":-", ":=", ":?", ":+", "##", "%%", "-", "=", "?", "+", "#", "%")
                if text.startswith(one, self.at)
            ),
            "",
        )
        self.at += len(operation)
        word: Word = []
        if operation:
            word = self._braced_word(quoted and operation[0] not in "#%")
        self._close()
        return Parameter(name, operation, word, quoted)

    def _braced_word(self, quoted: bool) -> Word:
        parts: Word = []
        while self.at < len(self.text) and self.text[self.at] != "}":
            letter = self.text[self.at]
            following = self.text[self.at + 1 : self.at + 2]
            if letter == '"' and quoted:
                self.at += 1
                parts += self.quoted_parts('"')
            elif letter in "$`":
                parts += self.expansion(quoted)
            elif quoted and letter == "\\" and following in list('$`\\"}\n'):
                self.at += 2
                parts.append(Literal(following, True))
            elif quoted or letter not in "\\'\"":
                self.at += 1
                parts.append(Literal(letter, quoted))
            else:
                parts += self.part()
        return parts

    def _parameter_name(self) -> str:
        if self.text[self.at : self.at + 1] in list(_NAME_START):
            return self._name()
        start = self.at
        while self.text[self.at : self.at + 1].isdigit():
            self.at += 1
        if self.at == start and self.text[self.at : self.at + 1] in list(_SPECIAL):
            self.at += 1
        if self.at == start:
            raise SyntaxFault("Syntax error: Bad substitution")
        return self.text[start : self.at]

    def _close(self) -> None:
        if not self.text.startswith("}", self.at):
            raise SyntaxFault(
                "Syntax error: Bad substitution" if self.at < len(self.text) else "Syntax error: Missing '}'"
            )
        self.at += 1


def is_name(text: str) -> bool:
    return bool(text) and text[0] in _NAME_START and all(letter in _NAME for letter in text)


def _assigned(word: Word) -> str:
    """The name when a word is `name=...`."""
    if not word or not isinstance(word[0], Literal) or word[0].quoted:
        return ""
    name, equals, _ = word[0].text.partition("=")
    return name if equals and is_name(name) else ""


def _after_equals(word: Word, count: int) -> Word:
    rest = word[0].text[count:]
    return ([Literal(rest, False)] if rest else []) + word[1:]
