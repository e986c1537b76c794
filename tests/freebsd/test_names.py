import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import names

HOSTILE = [
    "",
    "-rf",
    "a b",
    "a\nb",
    "a\0b",
    "a'b",
    'a"b',
    "a;b",
    "$(id)",
    "`id`",
    "a|b",
    "*",
    "аlpha",
    "a\u200bb",
    "a\\b",
    "x{y",
]
GOOD = {
    names.jail_name_error: ["www1", "log-db", "a_b", "1st", "x" * 63],
    names.jail_reference_error: ["ioc-www1", "top.kid", "sp ace", 'a b"c'],
    names.hostname_error: ["www1", "www1.example.org", "a" * 63 + ".b", "1.example"],
    names.dataset_component_error: ["www1", "14.2-RELEASE", "_x"],
    names.dataset_error: ["zroot", "zroot/cellblock/acme/www1", "a/" + "x" * 253],
    names.dataset_reference_error: ["zroot/sp ace", "tank/a:b"],
    names.snapshot_name_error: ["before", "2026-01-01_10.00"],
    names.snapshot_error: ["zroot/a@b", "zroot/sp ace@x:y"],
    names.pool_error: ["zroot", "tank-1", "cellar"],
    names.interface_error: ["em0", "bridge1", "epair0a", "em0.5", "x" * 15],
    names.tenant_error: ["acme", "a-1"],
    names.path_error: ["/", "/jail/www1", "/etc/jail.conf.d/www1.conf"],
    names.jail_path_error: ["/jail/www1"],
    names.file_name_error: ["base.txz", "www1.conf"],
    names.release_error: ["14.2-RELEASE", "15.0-BETA2", "15.0-RC1", "13.5-STABLE", "15-STABLE", "16.0-CURRENT"],
    names.arch_error: ["amd64", "arm64"],
    names.ip4_error: ["192.0.2.1", "192.0.2.1/24", "127.0.1.1"],
    names.ip6_error: ["2001:db8::1", "2001:db8::1/64", "fe80::1"],
    names.user_name_error: ["root", "_ntp", "www-data"],
}
BAD = {
    names.jail_name_error: ["77", "_x", "a.b", "x" * 64, "a/b", "A\u030a", "www１"],
    names.jail_reference_error: ["77", "*", "foo.*", "name=x"],
    names.hostname_error: ["a..b", ".a", "a.", "-a.b", "a-.b", "a_b", "x" * 64, "a." * 128 + "a"],
    names.dataset_component_error: ["a/b", "a@b", "a#b", ".", "a%b"],
    names.dataset_error: [
        "/zroot",
        "zroot/",
        "zroot//a",
        "zroot/../a",
        "zroot/.",
        "zroot@a",
        "mirror",
        "a/" + "x" * 254,
    ],
    names.dataset_reference_error: ["zroot/..", "zroot/", "zroot@a", "zroot/-x"],
    names.snapshot_name_error: ["a@b", "a/b", "a,b", "a%b"],
    names.snapshot_error: ["zroot/a", "zroot@", "@a", "zroot@a@b", "z" * 200 + "@" + "s" * 60],
    names.pool_error: ["1pool", "mirror0", "raidz", "c0t", "log", "spare1", "draid2"],
    names.interface_error: ["x" * 16, "0em", "a/b"],
    names.tenant_error: ["host", "releases", "templates", "Acme", "a_b", "a-", "1a", "x" * 31],
    names.path_error: ["jail", "/a//b", "/a/", "/a/../b", "/./a", "/a b", "/" + "x" * 256, "/x" * 600],
    names.jail_path_error: ["/jail", "/jail/", "/jail/..", "/jails/x", "/etc"],
    names.file_name_error: ["a/b", "..", ".hidden", "x" * 256],
    names.release_error: ["14.2", "14.2-RELEASE-p1", "14.2-release", "14.2-RELEASE/..", "0.1-RELEASE", "14.-RELEASE"],
    names.arch_error: ["vax", "AMD64"],
    names.ip4_error: [
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1/33",
        "192.0.2.01",
        "2001:db8::1",
        "0.0.0.0",
        "224.0.0.1",
        "192.0.2.1/",
        "192.0.2.1/024",
    ],
    names.ip6_error: ["::", "ff02::1", "2001:db8::1/129", "fe80::1%em0", "192.0.2.1", "2001:db8:::1"],
    names.user_name_error: ["Root", "a b", "x" * 33],
}


@pytest.mark.parametrize(("check", "value"), [(check, value) for check, values in GOOD.items() for value in values])
def test_good_names_pass(check, value):
    assert check(value) is None


@pytest.mark.parametrize(("check", "value"), [(check, value) for check, values in BAD.items() for value in values])
def test_bad_names_are_refused(check, value):
    assert check(value)


@pytest.mark.parametrize("check", list(GOOD))
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_are_refused(check, value):
    allowed = (
        check is names.jail_reference_error
        and value.isascii()
        and value.isprintable()
        and value[:1] not in ("", "-", "*")
    )
    allowed |= check in (names.dataset_reference_error,) and value == "a b"
    assert bool(check(value)) != allowed


@pytest.mark.parametrize("check", list(GOOD))
@given(value=st.text())
def test_what_passes_is_one_printable_ascii_word_and_no_option(check, value):
    if check(value) is None:
        assert value.isascii() and value.isprintable() and not value.startswith("-") and len(value) < 1024


def test_look_alikes_are_named():
    assert "U+0430 CYRILLIC SMALL LETTER A" in names.jail_name_error("аlpha")


def test_require_names_the_argument():
    with pytest.raises(ValueError, match=r"^dataset: contains “;”"):
        names.require("dataset", "a;b", names.dataset_error)


def test_names_that_are_one_in_rc_conf_clash():
    assert names.jail_name_clash("a-b", ["x", "a_b"]) == "a_b"
    assert names.jail_name_clash("a-b", ["x", "ab"]) is None


JAIL_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True).filter(lambda name: not name.isdigit())
SUFFIXES = st.from_regex(r"[a-z0-9]{1,3}", fullmatch=True)


def test_short_interface_names_are_readable():
    assert names.interface_name("www1", "a") == "www1_a"


@given(JAIL_NAMES, SUFFIXES)
def test_interface_names_fit(name, suffix):
    interface = names.interface_name(name, suffix)
    assert names.interface_error(interface) is None and interface.endswith(f"_{suffix}")


@given(st.sets(st.tuples(JAIL_NAMES, SUFFIXES), min_size=2, max_size=30))
def test_interface_names_do_not_collide(pairs):
    assert len({names.interface_name(*pair) for pair in pairs}) == len(pairs)


def test_long_names_that_begin_alike_do_not_collide():
    made = {names.interface_name(f"customer-web-frontend-{n}", "a") for n in range(5000)}
    assert len(made) == 5000


def test_a_jail_cannot_be_named_to_take_the_interface_of_a_longer_one():
    victim = names.interface_name("customer-web-frontend", "a")
    assert names.interface_name(victim.removesuffix("_a"), "a") != victim


def test_taken_interface_names_are_avoided():
    first = names.interface_name("www1", "a")
    second = names.interface_name("www1", "a", {first})
    assert second != first and names.interface_name("www1", "a", {first, second}) not in {first, second}
