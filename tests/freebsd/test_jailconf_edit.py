"""Editing somebody's jail.conf(5): only the wanted bytes change, or nothing does."""

import difflib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd.jailconf import EditRefused, edit, read

RECORDED = json.loads((Path(__file__).parent.parent / "transcripts" / "jailconf.json").read_text())

TEXT = """\
# ours
exec.clean;
path = "/jail/$name";

www1 {
    host.hostname = 'www1.example.org';   // öffentlich
    ip4.addr = 192.0.2.10,
               192.0.2.11;
    exec.poststart += "a"; exec.poststart += "b";
    allow.nomount;
}

db { $v = 1; meta = "$v"; depend=www1; }	# one line
"""


SNIPPETS = [
    "a { }",
    " ",
    "\t",
    "\r\n",
    "# ö\n",
    "/* } */",
    'b { x = "\udcff"; ; }',
    "persist;",
    "$v = '\\\n';",
    "// {\n",
]


def without_blanks(text):
    return "".join(text.split())


def changed(before, after):
    """The lines that went and came, as `-line` and `+line`."""
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]


def test_changes_one_value():
    assert changed(TEXT, edit(TEXT).set("www1", "host.hostname", "new.example.org").text) == [
        "-     host.hostname = 'www1.example.org';   // öffentlich",
        "+     host.hostname = new.example.org;   // öffentlich",
    ]


def test_changes_a_quoted_value_that_ends_with_a_variable():
    text = 'a { $n = 1; ip4.addr = "em0|10.0.0.$n"; b = "x${n}", "$n"; }\n'
    assert edit(text).set("a", "ip4.addr", "10.0.0.2").text == text.replace('"em0|10.0.0.$n"', "10.0.0.2")
    assert edit(text).set("a", "b", "y").text == text.replace('"x${n}", "$n"', "y")


def test_keeps_how_it_was_spaced():
    assert "depend=a, b; }\t# one line" in edit(TEXT).set("db", "depend", ["a", "b"]).text


def test_adds_a_line_as_the_others_are_indented():
    assert changed(TEXT, edit(TEXT).set("www1", "securelevel", 2).text) == ["+     securelevel = 2;"]


def test_adds_to_a_block_on_one_line():
    assert "depend=www1; persist; }\t# one line" in edit(TEXT).set("db", "persist").text


def test_adds_to_an_empty_block():
    assert edit("a{}").set("a", "path", "/x").text == "a{ path = /x; }"


def test_a_list_of_statements_becomes_one():
    assert '    exec.poststart = "x y";\n' in edit(TEXT).set("www1", "exec.poststart", "x y").text


def test_a_boolean_is_turned_round():
    assert "    allow.mount;\n" in edit(TEXT).set("www1", "allow.mount", True).text


def test_overrides_what_is_set_for_all():
    edited = edit(TEXT).set("www1", "path", "/other")
    assert read(edited.text).jail("www1").last("path") == "/other"
    assert read(edited.text).jail("db").last("path") == "/jail/db"


def test_windows_line_ends_stay():
    text = "a {\r\n\tpath = /x;\r\n}\r\n"
    assert edit(text).set("a", "persist").text == "a {\r\n\tpath = /x;\r\n\tpersist;\r\n}\r\n"


def test_removes_whole_lines():
    assert changed(TEXT, edit(TEXT).remove("www1", "ip4.addr").text) == [
        "-     ip4.addr = 192.0.2.10,",
        "-                192.0.2.11;",
    ]


def test_removing_leaves_a_comment_on_the_line():
    assert "    // öffentlich\n" in edit(TEXT).remove("www1", "host.hostname").text


def test_renames():
    text = "www1 { path = /jail/$name; } db { }"
    assert edit(text).rename("www1", "www 2").text == "www1 { path = /jail/$name; } db { }".replace("www1", '"www 2"')


def test_adds_and_drops_a_jail():
    added = edit(TEXT).add("new", {"path": "/jail/new"})
    assert added.text == TEXT + "new {\n\tpath = /jail/new;\n}\n"
    assert added.drop("new").text == TEXT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda doc: doc.rename("www1", "db"), "already"),
        (lambda doc: doc.rename("www1", "x"), "depends on www1"),
        (lambda doc: doc.add("db", {}), "already"),
        (lambda doc: doc.set("nosuch", "path", "/x"), "no block"),
        (lambda doc: doc.remove("db", "path"), "does not set"),
        (lambda doc: doc.set("db", "v", "1"), "no longer be accepted"),
        (lambda doc: doc.set("*", "path", "/x"), "many jails"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(EditRefused, match=message):
        change(edit(TEXT))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a { path = /x; } * { path = /y; }", "another part"),
        ("a { path = /x; } a { path = /y; }", r"several blocks for jail a \(lines 1, 1\)"),
        ("a { path = /* why */ /y; }", "line 1: a comment"),
        ("a { path /x y; }", "jail.conf line 1: y: syntax error"),
        ("a { }\né", "line 2: jail"),
        ("a { } \udfff", "written back"),
    ],
)
def test_refuses_what_it_cannot_be_sure_of(text, message):
    with pytest.raises(EditRefused, match=message):
        edit(text).set("a", "path", "/z")


def test_refuses_to_rename_a_parent():
    with pytest.raises(EditRefused, match=r"a\.b belongs to jail a"):
        edit("a { } a.b { }").rename("a", "c")


def test_includes_stay_as_they_are():
    text = '.include "/etc/jail.conf.d/*.conf";\na { }\n'
    assert edit(text).set("a", "persist").text == '.include "/etc/jail.conf.d/*.conf";\na { persist; }\n'


@pytest.mark.parametrize("case", [case for case in RECORDED if case["jails"]], ids=lambda case: case["id"])
def test_recorded_files_survive_being_edited(case):
    document = edit(case["conf"])
    assert document.text == case["conf"]
    before = read(case["conf"])
    for jail in before.jails:
        try:
            edited = document.set(jail.name, "x.y", ["new", "$value"])
        except EditRefused as refused:
            assert "several blocks" in str(refused)
            continue
        after = read(edited.text)
        assert [item for item in after.jails if item.name != jail.name] == [
            item for item in before.jails if item.name != jail.name
        ]
        expected = (*jail.parameters, ("x.y", ("new", "$value")))
        assert sorted(after.jail(jail.name).parameters) == sorted(expected)
        assert without_blanks(edited.remove(jail.name, "x.y").text) == without_blanks(case["conf"])


@given(st.lists(st.sampled_from(SNIPPETS)), st.text())
def test_a_file_is_given_back_byte_for_byte(snippets, end):
    text = "".join(snippets)
    assert edit(text).text == text
    try:
        assert edit(text + end).text == text + end
    except EditRefused:
        assert end


@given(st.sampled_from([case["conf"] for case in RECORDED]), st.text(min_size=1, max_size=20))
def test_any_value_is_set_or_refused(conf, value):
    try:
        edited = edit(conf).set(read(conf).jails[0].name, "path", value) if read(conf).jails else None
    except ValueError:
        return
    if edited:
        assert read(edited.text).jails[0].get("path") == (value,)
