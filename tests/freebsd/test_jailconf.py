"""jail.conf(5) as FreeBSD's own reader takes it: every recorded file, and what no recording shows."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd.jailconf import read

RECORDED = json.loads((Path(__file__).parent.parent / "transcripts" / "jailconf.json").read_text())


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["id"])
def test_reads_as_jail8_does(case):
    conf = read(case["conf"])
    jails = [
        {
            "name": jail.name,
            "failed": jail.failed,
            "parameters": [{"name": name, "values": list(values)} for name, values in jail.parameters],
        }
        for jail in conf.jails
    ]
    assert (conf.rc, conf.stderr, jails) == (case["rc"], case["stderr"], case["jails"] or [])


def values(text, parameter, jail="j"):
    conf = read(text)
    assert conf.stderr == ""
    return conf.jail(jail).get(parameter)


@given(st.text() | st.text(alphabet="ab.*$ {}\"'\\;=+,/#\n\x00é\udc80"))
def test_never_raises(text):
    conf = read(text)
    assert conf.rc in (0, 1)
    assert conf.rc == 0 or conf.stderr


@given(
    st.lists(st.sampled_from(["a", "{", "}", ";", "=", "+=", ",", "$v", "${a.b}", '"x $v', '"', "'", "*", "\\", " "]))
)
def test_never_raises_on_nearly_correct_files(words):
    read("".join(words), include=lambda pattern: [])


def test_an_error_knows_its_line_and_column():
    (error,) = read("a { path = /x; }\nb { path /x y; }\n").errors
    assert (error.line, error.column, str(error)) == (2, 13, "jail: jail.conf line 2: y: syntax error")


def test_the_column_counts_characters():
    (error,) = read('a { path = "ä" b; }').errors
    assert error.column == 16


def test_a_failing_jail_names_the_statement():
    (error,) = read("a {\n  path = $root;\n}\n").errors
    assert (error.jail, error.line, error.column) == ("a", 2, 3)


def test_the_filename_is_in_the_message():
    assert read("a {", filename="/etc/jail.conf").stderr == "jail: /etc/jail.conf: unexpected EOF\n"


def test_a_byte_outside_ascii_and_quotes_ends_the_file():
    assert [jail.name for jail in read("a { }\né\nb { }").jails] == ["a"]


def test_text_outside_ascii_in_quotes_is_kept():
    assert values('j { host.hostname = "bücher"; }', "host.hostname") == ("bücher",)


def test_bytes_that_are_no_utf8_are_kept():
    assert values('j { host.hostname = "\udcff"; }', "host.hostname") == ("\udcff",)


def test_a_list_variable_gives_a_list():
    assert values("$all = a, b; j { depend = $all, c; }", "depend") == ("a", "b", "c")


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("web", "*", ["x"]),
        ("web.child", "*", ["x"]),
        ("web.child", "web.*", ["x"]),
        ("web", "web.*", None),
        ("web.a.b", "web.*", ["x"]),
        ("web.a.b", "*.a.*", ["x"]),
        ("web.b.c", "*.a.*", None),
        ("webby", "web.*", None),
    ],
)
def test_wildcards(name, pattern, expected):
    found = read(f'"{pattern}" {{ path = x; }} {name} {{ }}').jails[0].get("path")
    assert found == (tuple(expected) if expected else None)


def test_what_comes_later_wins_wildcards_too():
    assert values("j { path = own; } * { path = all; }", "path") == ("all",)
    assert values("* { path = all; } j { path = own; }", "path") == ("own",)


def test_no_takes_the_place_of_its_opposite():
    jail = read("allow.mount; j { allow.nomount; }").jails[0]
    assert jail.parameters == (("name", ("j",)), ("allow.nomount", ()))
    assert not jail.enabled("allow.mount")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [("persist", True), ("persist = true", True), ("persist = 0", False), ("nopersist", False), ("persist = 2", True)],
)
def test_enabled(statement, expected):
    assert read(f"j {{ {statement}; }}").jails[0].enabled("persist") is expected


def test_a_variable_must_not_have_the_name_of_a_parameter():
    conf = read("j { $path = x; }")
    assert conf.jails[0].failed
    assert conf.stderr == 'jail: j: variable "$path" cannot have the same name as a parameter.\n'


def test_the_name_cannot_be_redefined():
    assert read("j { name = k; }").stderr == 'jail: j: cannot redefine parameter "name".\n'


def test_doubling_variables_fail_the_jail_before_they_fill_the_memory():
    text = "$v0 = " + "x" * 100 + ";" + "".join(f'$v{n + 1} = "$v{n}$v{n}";' for n in range(64))
    assert read(text + "j { path = $v64; } k { }").jails[0].failed


def test_a_variable_may_swallow_the_closing_quote():
    """flex takes the longest match, so the quote behind two backslashes belongs to the name of the variable."""
    assert read(r'j { path = "${\\"} x"; }').stderr == 'jail: j: path: variable "\\"" not found\n'


def test_a_string_of_many_variables_is_scanned_once():
    text = '$a = x; j { path = "' + "$a " * 2000 + '"; }'
    assert values(text, "path") == ("x " * 2000,)


def test_a_long_chain_of_variables_is_resolved():
    text = "".join(f"$v{n} = $v{n + 1};" for n in range(300)) + "$v300 = end;"
    assert values(text + "j { path = $v0; }", "path") == ("end",)


FILES = {
    "/etc/jail.conf.d/a.conf": "a { path = /jail/a; }",
    "/etc/jail.conf.d/b.conf": "b { path = /jail/b; }",
    "/etc/loop.conf": '.include "loop.conf";',
    "/etc/bad.conf": "a { path = ; }",
}


def include(pattern):
    if pattern.endswith("*.conf"):
        folder = pattern.removesuffix("*.conf")
        return [(name, text) for name, text in FILES.items() if name.startswith(folder)]
    return [(pattern, FILES[pattern])] if pattern in FILES else []


def including(text):
    return read(text, filename="/etc/jail.conf", include=include)


def test_include_reads_what_the_pattern_finds_relative_to_the_file():
    conf = including('exec.clean; .include "jail.conf.d/*.conf"; path = /global; c { }')
    assert [(jail.name, jail.last("path")) for jail in conf.jails] == [
        ("a", "/global"),
        ("b", "/global"),
        ("c", "/global"),
    ]


def test_include_of_nothing_is_an_error_without_a_pattern_only():
    assert including('.include "/nowhere/*.conf";').rc == 0
    assert including('.include "/nowhere/a.conf";').stderr == "jail: /nowhere/a.conf: No such file or directory\n"


def test_include_for_ever_ends():
    assert including('.include "loop.conf";').stderr == "jail: maximum include depth exceeded\n"


@pytest.mark.parametrize(("depth", "rc"), [(32, 0), (33, 1)])
def test_include_goes_32_files_deep(depth, rc):
    def nested(pattern):
        level = int(pattern)
        return [(pattern, f'.include "{level + 1}";' if level < depth else "deepest { }")]

    assert read('.include "1";', include=nested).rc == rc


def test_a_fault_in_an_included_file_names_that_file():
    assert including('.include "bad.conf"; a { b = }').stderr == "jail: /etc/bad.conf line 1: ;: syntax error\n"


def test_include_takes_no_variables():
    conf = including('$d = x; .include "$d.conf";')
    assert conf.stderr == "jail: /etc/jail.conf line 1: variables not permitted in '.include' filename\n"


def test_without_include_it_is_a_parameter():
    assert read('.include "x"; j { }').jails[0].get(".include") == ("x",)
