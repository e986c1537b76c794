import pytest

from jails.freebsd import ps

PRINTED = b"""\
  1087     1     0   0.0   2936     61   0:00.27 RsJ   ps -ax
 70123  1087   80  12.5 204800 864000 131:19.17 SJ    nginx: worker process (nginx)
   900     1 1001   0.0      0      0   0:00.00 Z     <defunct>
"""


def test_processes_of_a_jail():
    first, second, third = ps.parse_of_jail(PRINTED)
    assert (first.pid, first.ppid, first.uid, first.command) == (1087, 1, 0, "ps -ax")
    assert (second.cpu, second.memory, second.elapsed) == (12.5, 204800 * 1024, 864000)
    assert second.cpu_seconds == pytest.approx(131 * 60 + 19.17)
    assert (third.state, third.command) == ("Z", "<defunct>")
    assert ps.parse_of_jail(b"") == ()


@pytest.mark.parametrize("elapsed", [b"-", b"-1"])
def test_one_that_is_swapped_out(elapsed):
    """elapseds and cputime in bin/ps/print.c, where ki_valid is 0."""
    line = b"  812     1     0   0.0      0      %s   0:00.00 IWJ   <getty>\n" % elapsed
    (row,) = ps.parse_of_jail(line)
    assert (row.elapsed, row.cpu_seconds, row.state) == (None, 0, "IWJ")


@pytest.mark.parametrize("line", [b"PID PPID", b"1 2 3 0.0 4 5 0:00.00", b"x" * 200, b"1 1 0 0.0 1 1 1-02:03 S sh"])
def test_a_line_that_is_no_process_is_refused(line):
    with pytest.raises(ValueError, match="ps:"):
        ps.parse_of_jail(PRINTED + line + b"\n")


def test_only_a_jail_is_asked_about():
    assert ps.of_jail(7)[:4] == ("ps", "-ww", "-J", "7")
    for jid in (0, -1):
        with pytest.raises(ValueError, match="jid"):
            ps.of_jail(jid)
