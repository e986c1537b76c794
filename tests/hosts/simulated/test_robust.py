"""Many processes at once, processes that are killed, and faults where the product meets them: behind lockf(1), sh(1)
and timeout(1), and in pipelines."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jails.hosts.simulated import faults, journal

from .machine import Machine

PROCESSES = 8


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "host", directories=["/jail"])


def command(machine: Machine, *argv: str) -> list[str]:
    return [sys.executable, "-S", "-m", "jails.hosts.simulated", str(machine.host.directory), "--", *argv]


def run(machine: Machine, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(machine, *argv), capture_output=True, text=True, check=False, timeout=120)


def sh(machine: Machine, text: str) -> subprocess.CompletedProcess[str]:
    return run(machine, "sh", "-c", text)


def at_once(machine: Machine, texts: list[str]) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(lambda text: sh(machine, text), texts))


# Many at once


def test_eight_processes_make_and_destroy(machine: Machine) -> None:
    machine.zfs("create tank/base")
    machine.zfs("snapshot tank/base@v1")
    text = """
        set -e
        for i in 1 2 3; do
            zfs clone tank/base@v1 tank/%(n)s
            zfs create -o mountpoint=/jail/%(n)s tank/%(n)s-data
            zfs snapshot tank/%(n)s@a
            ifconfig lo0 inet 127.0.1.%(n)s/32 alias
            jail -c name=j%(n)s path=/tank/%(n)s ip4.addr=127.0.1.%(n)s persist >/dev/null
            rctl -a jail:j%(n)s:maxproc:deny=%(n)s
            lockf -k /tmp/sysrc sysrc -q key%(n)s=$i >/dev/null
            echo $i > /tank/%(n)s/file
            jail -r j%(n)s
            rctl -r jail:j%(n)s
            ifconfig lo0 inet 127.0.1.%(n)s -alias
            zfs destroy -r tank/%(n)s
            zfs destroy tank/%(n)s-data
        done
        zfs create tank/%(n)s
        jail -c name=j%(n)s path=/tank/%(n)s persist >/dev/null
    """
    with machine.host.changing() as state:
        state["racct"] = True
    ended = at_once(machine, [text % {"n": number} for number in range(1, PROCESSES + 1)])
    assert [(one.returncode, one.stderr) for one in ended] == [(0, "")] * PROCESSES
    numbers = [str(number) for number in range(1, PROCESSES + 1)]
    assert machine.zfs("list -H -o name -r tank").split() == ["tank", *(f"tank/{one}" for one in numbers), "tank/base"]
    assert sorted(machine.run("jls", "name").out.split()) == [f"j{one}" for one in numbers]
    jids = machine.run("jls", "jid").out.split()
    assert len(set(jids)) == PROCESSES and max(map(int, jids)) == 4 * PROCESSES
    assert "127.0.1." not in machine.run("ifconfig", "lo0").out
    assert machine.run("rctl").out == ""
    shown = machine.run("sysrc", "-n", *(f"key{one}" for one in numbers)).out
    assert shown.split() == ["3"] * PROCESSES


def test_one_of_eight_gets_the_name(machine: Machine) -> None:
    ended = at_once(machine, ["zfs create tank/x && jail -c name=x path=/tank/x persist"] * PROCESSES)
    won = [one for one in ended if one.returncode == 0]
    lost = {one.stderr for one in ended if one.returncode}
    assert len(won) == 1
    assert lost == {"cannot create 'tank/x': dataset already exists\n"}
    ended = at_once(machine, ["jail -c name=y path=/ persist"] * PROCESSES)
    assert sum(one.returncode == 0 for one in ended) == 1
    assert all('"y" already exists\n' in one.stderr for one in ended if one.returncode)


def test_a_reader_never_sees_half_a_state(machine: Machine) -> None:
    text = "for i in 1 2 3 4 5 6 7 8 9 10; do zfs create tank/%s; zfs destroy tank/%s; done"
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(sh, machine, text % (name, name)) for name in "abc"]
        looks = 0
        while not all(one.done() for one in writers):
            state = json.loads((machine.host.directory / "state.json").read_text())
            assert "tank" in state["zfs"]["datasets"]
            looks += 1
    assert looks > 3
    assert [one.result().stderr for one in writers] == ["", "", ""]


def test_a_lock_of_lockf_is_had_by_one(machine: Machine) -> None:
    text = "lockf -k /tmp/l sh -c 'read n < /tmp/n; sleep 0.02; echo $((n + 1)) > /tmp/n'"
    sh(machine, "echo 0 > /tmp/n")
    ended = at_once(machine, [f"for i in 1 2 3; do {text}; done"] * PROCESSES)
    assert [one.returncode for one in ended] == [0] * PROCESSES
    assert machine.run("cat", "/tmp/n").out == f"{3 * PROCESSES}\n"
    held = subprocess.Popen(command(machine, "lockf", "-k", "/tmp/l", "sleep", "20"))
    try:
        assert until(lambda: sh(machine, "lockf -s -k -t 0 /tmp/l true").returncode == 75)
        busy = sh(machine, "lockf -k -t 0 /tmp/l true")
        assert (busy.returncode, busy.stderr) == (75, "lockf: /tmp/l: already locked\n")
    finally:
        held.kill()
        held.wait()


def until(holds: object, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


# Killed


def test_a_killed_process_leaves_a_state_that_loads(machine: Machine) -> None:
    text = """
        while :; do
            zfs create tank/a; zfs snapshot tank/a@s; zfs clone tank/a@s tank/b; cp /etc/rc.conf /tank/b/; sysrc x=1
            jail -c name=a path=/tank/a persist; jexec a true; ifconfig lo0 alias 127.0.0.9/32
            zfs send tank/a@s | zfs receive tank/r; tar -cf - -C /etc . | tar -xf - -C /tank/b
            ifconfig lo0 -alias 127.0.0.9; jail -r a; zfs destroy -r tank/r; zfs destroy -R tank/a
        done
    """
    draw = random.Random(1)
    for _ in range(12):
        process = subprocess.Popen(
            command(machine, "sh", "-c", text),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(0.2 + draw.random() * 0.6)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        names = set(machine.zfs("list -H -o name").split())
        assert names - {"tank", "tank/a", "tank/b", "tank/r"} == set()
        for name in names - {"tank"}:
            machine.zfs(f"get -H all {name}")
        assert machine.run("mount").rc == machine.run("jls").rc == 0
        again = sh(
            machine,
            "jail -r a 2>/dev/null; zfs destroy -r tank/r 2>/dev/null; zfs destroy -R tank/a; zfs list -Ho name",
        )
        assert again.stdout == "tank\n", (names, again)
        sh(machine, "ifconfig lo0 -alias 127.0.0.9")
    assert "127.0.0.9" not in machine.run("ifconfig", "lo0").out


def test_a_killed_process_lets_go_of_its_locks(machine: Machine) -> None:
    text = "cd /jail; exec lockf -k /tmp/l timeout 60 sh -c 'echo in; sleep 60'"
    held = subprocess.Popen(command(machine, "sh", "-c", text), stdout=subprocess.PIPE, start_new_session=True)
    assert held.stdout is not None and held.stdout.readline() == b"in\n"
    assert sh(machine, "lockf -s -k -t 0 /tmp/l true").returncode == 75
    os.killpg(held.pid, signal.SIGTERM)
    held.wait()
    held.stdout.close()
    assert until(lambda: sh(machine, "lockf -s -k -t 0 /tmp/l true").returncode == 0)


# Faults


def wrapped(text: str) -> str:
    return f"lockf -s -k -t 5 /tmp/l timeout 30 sh -c '{text}'"


THREE = "zfs create tank/a && zfs create tank/b && zfs create tank/c"


def made(machine: Machine) -> list[str]:
    return [name.removeprefix("tank/") for name in machine.zfs("list -H -o name -r tank").split()[1:]]


@pytest.fixture(params=["%s", "sh -c '%s'", "wrapped", "env - PATH=/sbin:/bin:/usr/bin sh -ec '%s'", "(%s) | cat"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    yield wrapped("%s") if request.param == "wrapped" else request.param


def test_the_second_fails(machine: Machine, form: str) -> None:
    faults.add(
        machine.host, '{"match": "zfs create", "fail": {"nth": 2, "rc": 3, "stderr": "cannot create: I/O error"}}'
    )
    outcome = sh(machine, form % THREE)
    assert outcome.stderr == "cannot create: I/O error\n"
    assert outcome.returncode == (0 if form.endswith("| cat") else 3)
    assert made(machine) == ["a"]
    assert sh(machine, "zfs create tank/d").returncode == 0


@pytest.mark.parametrize(("at", "left"), [("before", ["a"]), ("middle", ["a", "b"]), ("after", ["a", "b"])])
def test_the_second_is_cut_off(machine: Machine, form: str, at: str, left: list[str]) -> None:
    """All that the command started is gone with it, and lets go of its lock."""
    faults.add(machine.host, json.dumps({"match": "zfs create", "cut": {"nth": 2, "at": at}}))
    outcome = sh(machine, form % THREE)
    assert outcome.returncode == -signal.SIGKILL
    time.sleep(0.2)
    assert made(machine) == left
    mounted = machine.zfs("list -H -o mounted -r tank").split()[1:]
    assert mounted == (["yes"] if at == "before" else ["yes", "no"] if at == "middle" else ["yes", "yes"])
    again = sh(machine, "lockf -s -k -t 0 /tmp/l zfs create tank/d")
    assert (again.returncode, again.stderr) == (0, "")


def test_inside_a_jail(machine: Machine) -> None:
    sh(
        machine,
        "mkdir -p /jail/a && cp -R /bin /sbin /usr /etc /libexec /jail/a/ && jail -c name=a path=/jail/a persist",
    )
    faults.add(machine.host, '{"match": "touch /two", "cut": {"nth": 1, "at": "before"}}')
    outcome = sh(machine, wrapped('jexec a sh -c "touch /one; touch /two; touch /three"; touch /tmp/four'))
    assert outcome.returncode == -signal.SIGKILL
    time.sleep(0.2)
    assert sh(machine, "ls /jail/a/one /jail/a/two /jail/a/three /tmp/four").stdout == "/jail/a/one\n"


def test_slow(machine: Machine, form: str) -> None:
    faults.add(machine.host, '{"match": "zfs create", "slow": 0.2}')
    begin = time.monotonic()
    assert sh(machine, form % THREE).returncode == 0
    assert time.monotonic() - begin > 0.6
    took = {" ".join(one["argv"]): one["end"] - one["start"] for one in journal.read(machine.host.directory)}
    assert min(took[f"zfs create tank/{name}"] for name in "abc") >= 0.2


def test_too_slow_for_its_time_limit(machine: Machine) -> None:
    faults.add(machine.host, '{"match": "zfs create tank/b", "slow": 20}')
    outcome = sh(machine, f"lockf -s -k /tmp/l timeout 3 sh -c '{THREE}'")
    assert outcome.returncode == 124
    assert made(machine) == ["a"]
    assert sh(machine, "lockf -s -k -t 0 /tmp/l true").returncode == 0


def test_nothing_is_counted_that_does_not_match(machine: Machine) -> None:
    faults.add(machine.host, '{"fail": {"nth": 3, "rc": 9}}')
    outcome = sh(machine, wrapped("ls /tmp; env id -u; sh -c : ; ls /nosuch; echo over"))
    assert (outcome.stdout, outcome.stderr) == ("l\n0\nover\n", "ls: simulated failure\n")


# Pipelines


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "zfs receive", "cut": {"nth": 1}},
        {"match": "zfs receive", "cut": {"nth": 1, "at": "before"}},
        {"match": "zfs send", "cut": {"nth": 1}},
        {"match": "zfs send", "cut": {"nth": 1, "at": "before"}},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("form", ["%s", wrapped("%s")], ids=["plain", "wrapped"])
def test_a_stream_that_is_cut_leaves_nothing(machine: Machine, fault: dict[str, object], form: str) -> None:
    machine.zfs("create tank/a")
    machine.write("/tank/a/file", 1 << 20)
    machine.zfs("snapshot tank/a@s")
    faults.add(machine.host, json.dumps(fault))
    assert sh(machine, form % "zfs send tank/a@s | zfs receive tank/r").returncode == -signal.SIGKILL
    time.sleep(0.2)
    assert made(machine) == ["a"]
    faults.add(machine.host, "none")
    whole = sh(machine, form % "zfs send tank/a@s | zfs receive tank/r")
    assert (whole.returncode, whole.stderr) == (0, "")
    assert sh(machine, "cmp /tank/a/file /tank/r/file").returncode == 0


@pytest.mark.parametrize("bytes_", [0, 1, 100, 300, 1000, 500_000])
def test_a_stream_that_ends_early_leaves_nothing(machine: Machine, bytes_: int) -> None:
    machine.zfs("create tank/a")
    machine.write("/tank/a/file", 1 << 20)
    machine.zfs("snapshot tank/a@s")
    outcome = sh(machine, f"zfs send tank/a@s | head -c {bytes_} | zfs receive tank/r")
    assert outcome.returncode == 1 and "cannot receive" in outcome.stderr
    assert made(machine) == ["a"]
    assert not machine.exists("/tank/r")


def test_a_download_through_a_pipe_that_is_cut(machine: Machine, tmp_path: Path) -> None:
    sh(
        machine,
        "mkdir -p /tmp/src/sub /tmp/dst && i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i > /tmp/src/$i; done",
    )
    faults.add(machine.host, '{"match": "tar -x", "cut": {"nth": 1}}')
    outcome = sh(machine, wrapped("tar -C /tmp/src -cf - . | tar -xf - -C /tmp/dst; touch /tmp/after"))
    assert outcome.returncode == -signal.SIGKILL
    time.sleep(0.2)
    there = sh(machine, "ls /tmp/dst | wc -l; test -e /tmp/after || echo none").stdout.split()
    assert 30 < int(there[0]) < 60 and there[1] == "none"
