import pytest

from jails.freebsd import service


def test_a_jail_is_started_by_its_name():
    assert service.jail("start", "www1") == ("service", "jail", "start", "www1")


def test_without_jail_enable_it_is_started_once():
    assert service.jail("restart", "www1", enabled=False) == ("service", "jail", "onerestart", "www1")


@pytest.mark.parametrize("name", ["", "has.dot", "*", "-f", "a b", "a;b", "7", "a\nb", "a\0b", "wwẃ"])
def test_what_rc_would_not_take_as_one_name_is_refused(name):
    with pytest.raises(ValueError, match="name: "):
        service.jail("stop", name)


def test_other_actions_are_refused():
    with pytest.raises(ValueError, match="action: "):
        service.jail("enable", "www1")
