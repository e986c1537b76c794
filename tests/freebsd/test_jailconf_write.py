"""Files of the panel's own: what is written is read back, by the reader that is held to FreeBSD's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd.jailconf import read, render_jail

LEGAL = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\"'\\$ {};#/*,=+"))
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}(\.[a-z0-9_]{1,8})?", fullmatch=True)
PARAMETERS = st.dictionaries(NAMES.map("x_{}".format), st.lists(LEGAL, max_size=4).map(tuple), max_size=6)


@given(PARAMETERS)
def test_reads_back(parameters):
    conf = read(render_jail("www1", parameters, header="Managed by Cellblock."))
    assert conf.stderr == ""
    assert conf.jails[0].parameters == (("name", ("www1",)), *parameters.items())


@given(LEGAL.filter(lambda name: name and "*" not in name and not name.strip(" \t+-").isdigit()))
def test_any_name_reads_back(name):
    assert [jail.name for jail in read(render_jail(name, {}, header="")).jails] == [name]


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.just("\n")))
def test_a_header_is_never_more_than_a_comment(header):
    assert [jail.name for jail in read(render_jail("a", {}, header=header)).jails] == ["a"]


def test_looks_as_a_person_would_write_it():
    parameters = {
        "path": "/jail/www1",
        "host.hostname": "www1.example.org",
        "ip4.addr": ("em0|192.0.2.10/24", "192.0.2.11"),
        "exec.start": "/bin/sh /etc/rc",
        "exec.poststart": ["logger up", "echo '$5'"],
        "exec.clean": True,
        "allow.mount": False,
        "securelevel": 2,
        "depend": (),
    }
    assert render_jail("www1", parameters, header="Managed by Cellblock.\n\nOperation 7.") == (
        "# Managed by Cellblock.\n"
        "#\n"
        "# Operation 7.\n"
        "www1 {\n"
        "\tpath = /jail/www1;\n"
        "\thost.hostname = www1.example.org;\n"
        "\tip4.addr = em0|192.0.2.10/24, 192.0.2.11;\n"
        '\texec.start = "/bin/sh /etc/rc";\n'
        '\texec.poststart = "logger up";\n'
        "\texec.poststart += \"echo '\\$5'\";\n"
        "\texec.clean;\n"
        "\tallow.nomount;\n"
        "\tsecurelevel = 2;\n"
        "\tdepend;\n"
        "}\n"
    )


def test_a_long_list_takes_a_line_a_value():
    addresses = [f"2001:db8::{n}" for n in range(20)]
    text = render_jail("www1", {"ip6.addr": addresses}, header="")
    assert max(map(len, text.splitlines())) < 100
    assert read(text).jails[0].get("ip6.addr") == tuple(addresses)


@pytest.mark.parametrize("value", ["a\nb", "a\0", "a\rb", "\x1b[0m", "\udc80"])
def test_control_characters_are_refused_with_the_parameter_named(value):
    with pytest.raises(ValueError, match=r"^exec\.start: contains"):
        render_jail("www1", {"exec.start": ["fine", value]}, header="")


@pytest.mark.parametrize("name", ["", "*", "a.*", "17", "-3", "a\nb"])
def test_names_that_are_no_jail_are_refused(name):
    with pytest.raises(ValueError, match=r"^name: "):
        render_jail(name, {}, header="")


@pytest.mark.parametrize("name", ["", "$x", "a b", "a;", "path{", "a..b", "päth"])
def test_what_is_no_parameter_is_refused(name):
    with pytest.raises(ValueError, match="is not a parameter's name"):
        render_jail("a", {name: "x"}, header="")


@pytest.mark.parametrize("name", ["name", "jid"])
def test_the_name_is_not_set_inside(name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        render_jail("a", {name: "x"}, header="")


def test_a_parameter_and_its_opposite_are_one():
    with pytest.raises(ValueError, match="given twice"):
        render_jail("a", [("allow.mount", True), ("allow.nomount", True)], header="")


def test_a_header_with_control_characters_is_refused():
    with pytest.raises(ValueError, match=r"^header: "):
        render_jail("a", {}, header="x\rb { }")
