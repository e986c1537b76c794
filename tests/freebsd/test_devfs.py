import pytest

from jails.freebsd import devfs

from .samples import outputs


def test_what_freebsd_printed():
    assert devfs.parse_sets(outputs("00-system.json", "devfs", "rule", "showsets")[0]) == (1, 2, 3, 4)
    rules = outputs("00-system.json", "devfs", "rule", "-s", "4", "show")[0]
    (found,) = devfs.parse_all(b"[4]\n" + rules)
    assert found.includes == (1, 2, 3) and found.rules[-1] == "500 path zfs unhide"


def test_sets_without_rules_and_output_that_is_none():
    assert devfs.parse_all(b"[5]\n[6]\n100 hide\n") == (devfs.Ruleset(5), devfs.Ruleset(6, ("100 hide",)))
    assert devfs.parse_all(b"") == ()
    with pytest.raises(ValueError, match="devfs"):
        devfs.parse_all(b"100 hide\n")
    with pytest.raises(ValueError, match="devfs"):
        devfs.parse_sets(b"1\ndevfs: no\n")


def test_names_of_a_rules_file():
    text = "# [devfsrules_old=9]\n[devfsrules_hide_all=1]\nadd hide\n\n [ devfsrules_jail = 4 ]\nadd include $x\n"
    assert devfs.names(text) == {1: "devfsrules_hide_all", 4: "devfsrules_jail"}


def test_commands():
    assert devfs.delete_set(17) == ("devfs", "rule", "-s", "17", "delset")
    assert devfs.add_rule(17, "200 path bpf* unhide")[3:] == ("17", "add", "200", "path", "bpf*", "unhide")
    for number, rule in ((0, "100 hide"), (17, "-s 4 hide"), (17, "hide"), (17, "100 -x")):
        with pytest.raises(ValueError, match=r"number|rule"):
            devfs.add_rule(number, rule)
