"""CPU time between two moments, and one request for all jails of a host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.hosts import usage
from jails.hosts.connection import HostUnavailable
from jails.hosts.usage import Seen, Used, cpu_between

from .stub import StubHost

PS = """\
    1     0   0   1024    0:01.00
  700     1   7   2048    0:05.00
  701   700   7   1024    0:02.50
  702     1   9   4096    1:00.00
"""
RCTL = "cputime=31\nmemoryuse=0\ncputime=4\nmemoryuse=0\n"
JAILS = {7: "www1", 9: "db1"}


def processes(**seen):
    return Used(processes={int(pid[1:]): Seen(*values) for pid, values in seen.items()})


def test_all_jails_at_once(tmp_path):
    host = StubHost(tmp_path / "host", ps=PS, rctl=RCTL)
    found = usage.gather(host, JAILS)
    assert host.requests == 1
    assert [line.split()[0] for line in host.commands] == ["ps", "rctl"]
    assert (found[7].cpu, found[7].memory, set(found[7].processes)) == (31, 3072 * 1024, {700, 701})
    assert (found[9].cpu, found[9].memory) == (4, 4096 * 1024)


def test_a_thousand_jails_cost_as_much_as_one(tmp_path):
    jails = {number: f"www{number}" for number in range(1, 1001)}
    host = StubHost(tmp_path / "host", ps=PS, rctl="cputime=3\n" * 1000)
    found = usage.gather(host, jails)
    assert host.requests == 1 and len(host.commands) == 2
    assert len(found) == 1000 and {one.cpu for one in found.values()} == {3}


def test_more_than_fit_into_a_command_line_are_asked_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "AT_ONCE", 1)
    host = StubHost(tmp_path / "host", ps=PS, rctl="cputime=3\n")
    assert [one.cpu for one in usage.gather(host, JAILS).values()] == [3, 3] and host.requests == 2


@pytest.mark.parametrize(
    "rctl",
    [(1, "", "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable\n"), "cputime=1\n", "?"],
)
def test_where_the_kernel_does_not_count_processes_do(tmp_path, rctl):
    found = usage.gather(StubHost(tmp_path / "host", ps=PS, rctl=rctl), JAILS)
    assert found[7].cpu is None and sum(seen.cpu for seen in found[7].processes.values()) == 7.5


def test_a_name_that_rctl_cannot_be_told_is_left_out(tmp_path):
    host = StubHost(tmp_path / "host", ps=PS, rctl="cputime=4\n")
    found = usage.gather(host, {7: "a:b", 9: "db1"})
    assert (found[7].cpu, found[7].memory, found[9].cpu) == (None, 3072 * 1024, 4)
    assert usage.gather(StubHost(tmp_path / "other", ps=PS), {7: "a:b"})[7].memory == 3072 * 1024


def test_no_jail_no_question(tmp_path):
    host = StubHost(tmp_path / "host")
    assert usage.gather(host, {}) == {} and host.requests == 0


@pytest.mark.parametrize("printed", ["", "what?\n"])
def test_an_answer_that_is_none_is_no_measurement(tmp_path, printed):
    with pytest.raises(HostUnavailable):
        usage.gather(StubHost(tmp_path / "host", ps=printed, rctl=RCTL), JAILS)


# CPU time


def test_the_kernels_count():
    assert cpu_between(Used(cpu=10), Used(cpu=14)) == 4
    assert cpu_between(Used(cpu=10), Used(cpu=3)) == 3  # counted anew


def test_what_a_process_used():
    assert cpu_between(processes(p700=(1, 5.0)), processes(p700=(1, 7.5))) == 2.5
    assert cpu_between(processes(p700=(1, 5.0)), processes(p700=(1, 5.0), p701=(700, 1.5))) == 1.5


def test_what_a_child_used_goes_over_to_who_waits_for_it():
    before = processes(p700=(1, 5.0), p701=(700, 2.0))
    assert cpu_between(before, processes(p700=(1, 7.5))) == 0.5
    chain = processes(p700=(1, 5.0), p701=(700, 2.0), p702=(701, 3.0))
    assert cpu_between(chain, processes(p700=(1, 10.5))) == 0.5


def test_a_daemon_that_ends_takes_along_only_what_was_not_seen():
    before = processes(p700=(1, 5.0), p800=(1, 100.0))
    assert cpu_between(before, processes(p700=(1, 6.0))) == 1.0


def test_parents_that_make_a_ring_end():
    assert cpu_between(processes(p1=(2, 1.0), p2=(1, 1.0)), processes()) == 0.0


trees = st.dictionaries(st.integers(2, 30), st.builds(Seen, st.integers(1, 30), st.floats(0, 1e6)), max_size=12)


@given(trees, trees)
def test_it_is_never_negative(before, after):
    assert cpu_between(Used(processes=before), Used(processes=after)) >= 0


def test_what_is_swapped_out_keeps_what_it_has_used():
    before = processes(p1=(0, 5.0), p2=(1, 7.0))
    out = usage.carried_on(before, processes(p1=(0, 6.0), p2=(1, 0.0), p3=(1, 0.0)))
    assert cpu_between(before, out) == 1.0 and out.processes[2].cpu == 7.0 and out.processes[3].cpu == 0.0
    assert cpu_between(out, usage.carried_on(out, processes(p1=(0, 6.0), p2=(1, 7.5)))) == 0.5
    assert usage.carried_on(None, before) == before
