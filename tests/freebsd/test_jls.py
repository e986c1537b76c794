import json

import pytest

from jails.freebsd import jls

from .samples import outputs

SEVERAL = "03-jls-several.json"


def several():
    return jls.parse(outputs(SEVERAL, "jls", "--libxo=json", "-n")[0])


def by_name(jails):
    return {jail.name: jail for jail in jails}


def test_all_jails_of_a_host():
    jails = by_name(several())
    assert list(jails) == [
        "alpha",
        "beta",
        "gamma",
        "top",
        "top.kid",
        "top.kid.grand",
        "nopath",
        "inherit4",
        "dash-name_1",
        "sp ace",
        "123abc",
        "quote",
        "77",
        "456",
    ]
    assert (jails["alpha"].jid, jails["alpha"].path, jails["alpha"].addresses) == (2, "/jails/alpha", ("10.0.2.50",))
    assert (jails["beta"].vnet, jails["alpha"].vnet) == (True, False)
    assert jails["quote"].hostname == 'a b"c'
    assert jails["77"].addresses == ("10.0.2.61", "10.0.2.62", "fd00::61")
    assert (jails["top.kid"].parent, jails["top"].number("children.max", 0)) == (5, 5)
    assert (jails["inherit4"].ip4, jails["inherit4"].ip6, jails["gamma"].ip4) == ("inherit", "disable", "disable")


def test_the_empty_string_of_12_1_is_empty():
    jails = by_name(several())
    assert jails["gamma"].hostname == "" and jails["alpha"].text("host.domainname") == ""


def test_text_gives_the_same_as_json():
    assert jls.parse_text(outputs(SEVERAL, "jls", "-n", "-q")[0]) == several()
    assert [dict(jail.parameters) for jail in jls.parse_text(outputs(SEVERAL, "jls", "-n", "-q")[0])] == [
        dict(jail.parameters) for jail in several()
    ]


def test_a_dying_jail_is_seen():
    jail = jls.parse_text(outputs("03-jls-dying.json", "jls", "-d", "-j", "alpha", "-n", "all")[0])[0]
    assert (jail.name, jail.dying, jail.jid) == ("alpha", True, 15)
    assert jail.parameters["persist"] is False


def test_no_jails():
    assert jls.parse(outputs("03-jls-zero.json", "jls", "--libxo=json", "-n")[0]) == ()
    assert jls.parse_text(b"") == ()


@pytest.mark.parametrize("name", ['}]}}"', "a\nb", "a\tb", "x=y", "ünï", "'; reboot", "\\"])
def test_hostile_names_stay_one_jail(name):
    jail = {"jid": "1", "name": "j", "path": "/", "host.hostname": name, "dying": True}
    output = json.dumps({"__version": "2", "jail-information": {"jail": [jail]}}, ensure_ascii=False).encode()
    (found,) = jls.parse(output)
    assert (found.hostname, found.dying) == (name, True)


def test_bytes_that_are_no_text_do_not_break_the_list():
    output = outputs(SEVERAL, "jls", "--libxo=json", "-n")[0].replace(b'"sp ace"', b'"sp\xfface\x01"')
    assert len(jls.parse(output)) == 14


@pytest.mark.parametrize(
    "output", [b"", b"{}", b"[]", b"jls: unknown parameter", b'{"jail-information": {"jail": [{"name": "x"}]}}']
)
def test_what_is_no_list_is_an_error_and_not_an_empty_host(output):
    with pytest.raises(ValueError, match="jls"):
        jls.parse(output)


def test_jails_can_be_compared_and_hashed():
    assert len(set(several())) == 14
