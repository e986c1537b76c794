import os
import shlex
import signal
import subprocess

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts.connection import CommandTimeout
from jails.hosts.local import LocalConnection

from .simulation import until

LOCAL = LocalConnection()


def run(*argvs, stdin=b"", timeout=10.0, **options):
    return LOCAL.run(Pipeline.of(*argvs, stdin=stdin), timeout=timeout, **options)


def sh(text, **options):
    return run(("sh", "-c", text), **options)


def alive(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_status_and_both_outputs():
    result = sh("echo out; echo err >&2; exit 3")
    assert (result.rc, result.stdout, result.stderr) == (3, b"out\n", b"err\n")


def test_stdin_larger_than_a_pipe_while_output_comes_back():
    data = bytes(range(256)) * 8192
    assert run(("cat",), stdin=data, limit=10_000_000).stdout == data


def test_stdin_that_nobody_reads_does_no_harm():
    assert sh("exit 4", stdin=b"x" * 1_000_000).rc == 4


def test_a_pipeline_fails_with_any_of_its_parts():
    assert run(("sh", "-c", "echo a; exit 7"), ("cat",)).rc == 7


def test_death_by_signal():
    assert sh("kill -9 $$").rc == 128 + 9


def test_a_missing_tool_is_a_result():
    result = run(("no-such-tool",))
    assert result.rc == 127
    assert b"no-such-tool" in result.stderr


def test_a_file_that_is_no_program_is_a_result():
    assert run(("/etc/passwd",)).rc == 126


def test_over_when_it_exits_though_a_daemon_holds_its_output():
    result = sh("echo started; sleep 60 & echo $!")
    started, pid = result.stdout.split()
    assert started == b"started" and alive(int(pid))
    os.kill(int(pid), signal.SIGKILL)


def test_not_over_when_it_closes_its_output():
    assert sh("exec >&- 2>&-; sleep 0.3; exit 5").rc == 5


def test_time_limit_ends_it_with_what_it_started():
    with pytest.raises(CommandTimeout) as caught:
        sh("echo first; (trap '' TERM; sleep 30) & echo $!; wait", timeout=2)
    first, pid = caught.value.partial.stdout.split()
    assert first == b"first"
    assert until(lambda: not alive(int(pid)), 10)


def test_output_is_bounded_and_the_rest_is_drained():
    result = sh("head -c 300000 /dev/zero", limit=1000)
    assert (len(result.stdout), result.truncated, result.rc) == (1000, True, 0)


def test_output_streams_as_it_comes(tmp_path):
    """The command goes on only once somebody has seen its first word."""
    seen, mark = [], tmp_path / "seen"
    text = f"echo one; until test -e {shlex.quote(str(mark))}; do sleep 0.02; done; echo two >&2"
    sh(text, on_output=lambda data: (seen.append(data), mark.touch()))
    assert seen == [b"one\n", b"two\n"]


def test_the_workers_environment_stays_here(monkeypatch):
    monkeypatch.setenv("CELLBLOCK_SECRET_KEY", "hidden")
    assert b"hidden" not in run(("env",)).stdout


def test_it_has_a_session_of_its_own():
    assert int(sh("ps -o sid= -p $$").stdout) != os.getsid(0)


def test_become_stands_before_every_command():
    connection = LocalConnection(become=("env", "BECOME=yes"))
    assert connection.run(Pipeline.of(("sh", "-c", "echo $BECOME")), timeout=5).stdout == b"yes\n"
    assert connection.run(Pipeline.of(("cat",), ("cat",), stdin=b"text"), timeout=5).stdout == b"text"


def test_become_that_is_not_there_is_a_result():
    assert LocalConnection(become=("no-such-tool", "-n")).run(Pipeline.of(("true",)), timeout=5).rc == 127
