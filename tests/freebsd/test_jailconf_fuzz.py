"""Any bytes, mangled files, values written in all ways: read without a crash, edited only where it was meant."""

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from jails.freebsd.jailconf import EditRefused, edit, read

CORPUS = [
    path.read_bytes().decode("utf-8", "surrogateescape")
    for path in sorted((Path(__file__).parent / "corpus").glob("*.conf"))
    if path.name != "huge.conf"
]
SPECIAL = [
    "{",
    "}",
    ";",
    ";;",
    "=",
    "+=",
    ",",
    '"',
    "'",
    "\\",
    "$",
    "${",
    "*",
    "/*",
    "*/",
    "#",
    "//",
    "\n",
    "\r\n",
    "\0",
    "é",
    "\udcff",
]


def check_reading(text):
    """What holds for any text."""
    conf = read(text, include=lambda pattern: ())
    assert conf.rc in (0, 1)
    assert bool(conf.errors) == (conf.rc == 1 or any(jail.failed for jail in conf.jails))
    lines = text.split("\n")
    for problem in (*conf.errors, *conf.notes):
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
    return conf


def check_round_trip(text):
    try:
        document = edit(text)
    except EditRefused:
        return None
    assert document.text == text
    return document


@given(st.binary(max_size=300))
@example(b'"\n\n')
@example(b"/* \n")
@example(b'a { b = "x\n\ny" z; }')
@example(b"a { '\n' = = ; }")
@example(b'.include "a.conf";\n.include "x$y";')
def test_any_bytes(content):
    text = content.decode("utf-8", "surrogateescape")
    check_reading(text)
    document = check_round_trip(text)
    assert document is None or document.text.encode("utf-8", "surrogateescape") == content


@given(st.lists(st.sampled_from([*SPECIAL, "a", "path", ".include", " ", "b.c", "${v}", "$name"]), max_size=60))
def test_any_words(words):
    text = "".join(words)
    if "\udcff" in text or "é" in text:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    check_reading(text)
    check_round_trip(text)


@given(st.sampled_from(CORPUS), st.data())
def test_mangled_files(text, data):
    """A piece cut out, and something put in."""
    at = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 20))
    put = "".join(data.draw(st.lists(st.sampled_from(SPECIAL), max_size=3)))
    mangled = text[:at] + put + text[at + gone :]
    conf = check_reading(mangled)
    document = check_round_trip(mangled)
    if document is None or not conf.jails:
        return
    name = conf.jails[0].name
    try:
        edited = document.set(name, "meta", "set by a test")
    except (EditRefused, ValueError):
        return
    before, after = read(mangled), read(edited.text)
    assert after.jail(name).get("meta") == ("set by a test",)
    assert [jail for jail in after.jails if jail.name != name] == [jail for jail in before.jails if jail.name != name]
    if before.jail(name).get("meta") is None:
        assert "".join(edited.remove(name, "meta").text.split()) == "".join(mangled.split())


WRITTEN = [
    "a",
    "/b/c",
    '"d e"',
    "'f g'",
    '""',
    "''",
    "\\;",
    '"a;b"',
    "'}'",
    '"#"',
    '"//"',
    '"ü"',
    "1",
    '"\n"',
    "-z",
    "*",
]
WITH_VARIABLES = ['"$v"', '"${v}"', "$v", "${v}", '"x$v"', '"${v}y"', '"x${v}y$v"', '"\\"$v\\n"', '"$v\\""', "'$v'"]
PIECES = st.lists(st.sampled_from([*WRITTEN, *WITH_VARIABLES]), min_size=1, max_size=3).map("".join)
BLANKS = st.sampled_from(["", " ", "\t", "  ", "\n", "\r\n", " \n\t"])


@given(
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["=", ""]),
    BLANKS,
    BLANKS,
    st.sampled_from(["j { ", "j{", "j\n{\n\t", "# c\nj { x; /* } */ ", "$w = 1; j { y = '$v'; "]),
    st.sampled_from(["}", " }\n", "z; }", "\n}\n# end", " /* ; */ z = 1; }\nk { p = 1; }"]),
    st.sampled_from([("new", "new"), (["a b", "c"], '"a b", c'), ("$", "'$'"), (7, "7"), ("", '""')]),
)
def test_a_value_written_in_any_way_is_replaced_and_nothing_else(values, op, before, after, head, tail, new):
    """The text is put together here, so what must come out is known without the editor."""
    value, written = new
    start = f"$v = val;\n{head}p{before or ' '}{op}{after}"
    old = f"{before},{after}".join(values)
    text = f"{start}{old}{before};{tail}"
    edited = edit(text).set("j", "p", value)
    assert edited.text == f"{start}{written}{before};{tail}"
    assert read(edited.text).jail("j").get("p") == ((str(value),) if isinstance(value, (str, int)) else tuple(value))


@given(st.lists(PIECES, min_size=1, max_size=3), st.sampled_from(["\t", "  "]), st.sampled_from(["\n", "\r\n"]))
def test_a_statement_written_in_any_way_is_removed_and_nothing_else(values, indent, newline):
    head, tail = f"$v = val;{newline}j {{{newline}{indent}x;{newline}", f"{indent}z;{newline}}}{newline}"
    text = f"{head}{indent}p = {', '.join(values)};{newline}{tail}"
    assert edit(text).remove("j", "p").text == head + tail
