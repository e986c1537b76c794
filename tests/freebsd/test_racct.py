import pytest

from jails.freebsd import ps, racct
from tests.freebsd.samples import outputs

ALPHA = b"cputime=2\ndatasize=0\nmemoryuse=4096\nmaxproc=1\npcpu=194\n"


def test_what_a_real_host_printed():
    printed = outputs("07-rctl.json", "rctl", "-u", "jail:alpha")
    assert [racct.parse_usage(one, 1)[0]["cputime"] for one in printed] == [0, 2]
    nobody = racct.parse_usage(outputs("07-rctl.json", "rctl", "-u", "jail:nosuch")[0], 1)[0]
    assert set(nobody.values()) == {0}


def test_several_jails_come_one_after_the_other():
    assert racct.usage(["www1", "db"]) == ("rctl", "-u", "jail:www1", "jail:db")
    first, second = racct.parse_usage(ALPHA + ALPHA.replace(b"=2\n", b"=7\n"), 2)
    assert (first["cputime"], second["cputime"], second["memoryuse"]) == (2, 7, 4096)


@pytest.mark.parametrize(("output", "count"), [(ALPHA, 2), (b"", 1), (b"maxproc=1\n", 1), (ALPHA + b"x: y\n", 1)])
def test_what_is_not_of_so_many_is_refused(output, count):
    with pytest.raises(ValueError, match="rctl:"):
        racct.parse_usage(output, count)


@pytest.mark.parametrize("name", ["", "a:b", "a=b", "a/b", "a,b", "a b", "a\nb"])
def test_a_name_that_a_filter_cannot_have_is_refused(name):
    assert not racct.nameable(name)
    with pytest.raises(ValueError, match="filter"):
        racct.usage(["www1", name])


def test_what_processes_use():
    printed = (
        b"    1     0   0   1024    0:01.00\n 1087     1   7   2936   61:19.17\n   12     0  -1      0    0:00.00\n"
    )
    assert ps.parse_usage(printed) == (ps.Used(1087, 1, 7, 2936 * 1024, 61 * 60 + 19.17),)
    for bad in (b"", b"PID PPID JID RSS TIME\n", b"1 2 3 4\n", b"1 2 3 4 5:6\n"):
        with pytest.raises(ValueError, match="ps:"):
            ps.parse_usage(bad)
