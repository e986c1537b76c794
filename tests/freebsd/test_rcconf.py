import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jails.freebsd import rcconf


def by_sh(text, *names):
    script = text + "\nprintf '%s\\0' " + " ".join(f'"${{{name}}}"' for name in names)
    done = subprocess.run(["dash", "-c", script], capture_output=True, env={})
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]


TEXTS = [
    'a="x y"\nb=z\n',
    "a='single $b'; b=\"$a!\"",
    "a=one # comment\n#b=no\nb=two#not-a-comment",
    'a="line\\\ngoes on"\nb="two\nlines"',
    'a="\\"quoted\\" \\$x \\\\ \\n"\nb=x\\ y',
    "b=1\na=${b}2$b\n",
    "export a=1 b=2\n",
    '  a=""  \nb=\n',
    "a=1;b=2",
    "a=\"$nosuch-\"\nb='it'\\''s'",
    'a="cost: 5$"\nb=$',
]


@pytest.mark.parametrize("text", TEXTS)
def test_values_are_those_of_sh(text):
    conf = rcconf.parse(text)
    assert by_sh(text, "a", "b") == (0, [conf.get("a"), conf.get("b")])


PARTS = st.sampled_from(
    [
        "a=",
        "b=",
        "c=",
        "x",
        " ",
        "\n",
        '"',
        "'",
        "\\",
        "$a",
        "${b}",
        ";",
        "#",
        "$",
        "y z",
        "=",
        "{",
        "}",
        "if true\nthen ",
        "\nfi\n",
        "&& ",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=14).map("".join))
def test_what_is_certain_is_what_sh_says(text):
    conf = rcconf.parse(text)
    rc, values = by_sh(text, "a", "b", "c")
    if rc == 0 and len(values) == 3:
        for name, value in zip("abc", values, strict=True):
            if conf.is_certain(name) and name in conf.values:
                assert conf.get(name) == value


@given(st.text())
def test_any_text_is_read(text):
    rcconf.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "a=$(id)",
        "a=`id`",
        'a="${b:-x}"',
        ": ${a:=x}",
        "[ -f /x ] && a=1",
        "if x; then\na=1\nfi",
        "f() {\n a=1\n}",
        "case x in\ny) a=1;;\nesac",
        "a=~root",
        "a=1 cmd",
        ". /etc/other",
        "a=1\neval $x",
        "x=\"$(echo '\na=1\n')\"\n",
    ],
)
def test_what_only_sh_can_tell_is_not_certain(text):
    with pytest.raises(ValueError, match="only sh can tell"):
        rcconf.parse(text).get("a")


def test_a_plain_assignment_afterwards_is_certain():
    assert rcconf.parse("a=$(id)\na=2\n").get("a") == "2"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("YES", True),
        ("yes", True),
        ("On", True),
        ("1", True),
        ("TRUE", True),
        ("NO", False),
        ("", False),
        ("enabled", False),
    ],
)
def test_yes_is_what_checkyesno_takes(value, expected):
    assert rcconf.parse(f"a={value}").is_yes("a") is expected


def test_sysrc_words():
    assert rcconf.set_value("jail_list", "a b") == ("sysrc", "jail_list=a b")
    assert rcconf.set_value("x", "", file="/etc/rc.conf.d/x") == ("sysrc", "-f", "/etc/rc.conf.d/x", "x=")
    assert rcconf.remove("x") == ("sysrc", "-ix", "x")
    assert rcconf.get("x") == ("sysrc", "-in", "x")


@pytest.mark.parametrize("value", ['a"b', "a$b", "a`b", "a\\b", "a\nb", "a\0b", "a'b"])
def test_values_that_sysrc_would_not_escape_are_refused(value):
    with pytest.raises(ValueError, match=r"^value: contains"):
        rcconf.set_value("x", value)
    with pytest.raises(ValueError, match=r"^value: contains"):
        rcconf.line("x", value)


@given(
    st.text(st.characters(exclude_characters="\"'$`\\", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=30)
)
def test_a_line_is_read_back(value):
    assert rcconf.parse(rcconf.line("x", value)).get("x") == value
