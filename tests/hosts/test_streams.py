"""Commands with their standard input open, by each kind of connection."""

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from jails.freebsd import timeout
from jails.freebsd.command import Pipeline
from jails.hosts.connection import HostUnavailable
from jails.hosts.local import LocalConnection
from jails.hosts.simulated_connection import SimulatedConnection

from .simulation import Simulation
from .sshd import Sshd


def talk(connection, argv, conversation):
    """Run a coroutine with the stream of a command."""

    async def go():
        loop = asyncio.get_running_loop()
        stream = await loop.run_in_executor(None, connection.stream, argv, loop)
        try:
            return await asyncio.wait_for(conversation(stream), 30)
        finally:
            stream.close()

    return asyncio.run(go())


@pytest.fixture(params=["local", "simulated", pytest.param("ssh", marks=pytest.mark.sshd)])
def connection(request, tmp_path):
    if request.param == "local":
        yield LocalConnection()
    elif request.param == "simulated":
        simulation = Simulation(tmp_path / "warden1")
        yield SimulatedConnection(simulation.directory)
    else:
        server = Sshd(tmp_path / "sshd").start()
        made = server.connection()
        yield made
        made.close()
        server.stop()


async def rest_of(read):
    parts = []
    while part := await read():
        parts.append(part)
    return b"".join(parts)


def test_there_and_back_line_by_line(connection):
    async def conversation(stream):
        for line in (b"one\n", b"two\n"):
            await stream.write(line)
            assert await stream.read() == line
        stream.end_input()
        assert await stream.read() == b""

    talk(connection, ("cat",), conversation)


def test_both_outputs_apart(connection):
    async def conversation(stream):
        stream.end_input()
        return await asyncio.gather(rest_of(stream.read), rest_of(stream.read_error))

    assert talk(connection, ("sh", "-c", "echo out; echo err >&2"), conversation) == [b"out\n", b"err\n"]


def test_what_nobody_reads_is_not_taken(connection):
    """The command waits, and goes on once it is read."""

    async def conversation(stream):
        stream.end_input()
        first = await stream.read()
        await asyncio.sleep(0.5)
        return first + await rest_of(stream.read)

    text = talk(
        connection, ("sh", "-c", "i=0; while [ $i -lt 400 ]; do printf %01000d 0; i=$((i+1)); done"), conversation
    )
    assert text == b"0" * 400_000


def test_more_than_the_command_takes_at_once(connection):
    async def conversation(stream):
        reading = asyncio.create_task(rest_of(stream.read))
        await stream.write(b"x" * 1_000_000)
        stream.end_input()
        return await reading

    assert len(talk(connection, ("cat",), conversation)) == 1_000_000


def test_writing_to_a_command_that_has_ended(connection):
    async def conversation(stream):
        assert await rest_of(stream.read) == b""
        for _ in range(3):
            await stream.write(b"more\n")
            await asyncio.sleep(0.1)

    talk(connection, ("true",), conversation)


@pytest.mark.sshd
def test_more_streams_than_one_ssh_connection_has(tmp_path):
    server = Sshd(tmp_path / "sshd").start()
    connection = server.connection()

    async def go():
        loop = asyncio.get_running_loop()
        streams = [await asyncio.to_thread(connection.stream, ("cat",), loop) for _ in range(20)]
        for number, stream in enumerate(streams):
            await stream.write(b"%d\n" % number)
        said = [await stream.read() for stream in streams]
        # They leave the channels for commands alone.
        assert (await asyncio.to_thread(connection.run, Pipeline.of(("echo", "yes")), timeout=10)).text == "yes\n"
        for stream in streams:
            stream.close()
        return said

    try:
        assert asyncio.run(go()) == [b"%d\n" % number for number in range(20)]
    finally:
        connection.close()
        server.stop()


@pytest.mark.sshd
def test_a_lost_connection_is_the_end(tmp_path):
    server = Sshd(tmp_path / "sshd").start()
    connection = server.connection()

    async def conversation(stream):
        await stream.write(b"one\n")
        assert await stream.read() == b"one\n"
        server.kill_sessions()
        begun = time.monotonic()
        assert await stream.read() == b"" == await stream.read_error()
        await stream.write(b"two\n")
        assert time.monotonic() - begun < 10

    try:
        talk(connection, ("cat",), conversation)
        server.stop()
        with pytest.raises(HostUnavailable):
            talk(connection, ("cat",), conversation)
    finally:
        connection.close()
        server.stop()


def test_a_simulated_host_that_is_offline(tmp_path):
    simulation = Simulation(tmp_path / "warden1")
    simulation.fault(offline=True)
    with pytest.raises(HostUnavailable):
        talk(SimulatedConnection(simulation.directory), ("cat",), None)


def pids_of(connection, mark):
    """The processes with that word among theirs, as the host has them."""
    return connection.run(Pipeline.of(("pgrep", "-f", mark)), timeout=20).text.split()


def test_a_command_no_longer_than_its_input_is_open(connection, tmp_path):
    """It does not read, and writes nothing more, so that no broken pipe would ever end it."""
    name = f"{tmp_path.name}.log"
    folder = str(tmp_path) if isinstance(connection, LocalConnection) else "/var/tmp"
    path = f"{folder}/{name}"
    connection.run(Pipeline.of(("sh", "-c", 'echo first >"$1"', "sh", path)), timeout=20)

    async def conversation(stream):
        assert await stream.read() == b"first\n"
        await asyncio.to_thread(connection.run, Pipeline.of(("sh", "-c", 'echo second >>"$1"', "sh", path)), timeout=20)
        assert await stream.read() == b"second\n"
        assert await asyncio.to_thread(pids_of, connection, f"tail -F {path}")
        stream.end_input()
        assert await rest_of(stream.read) == b""
        assert timeout.ended(await rest_of(stream.read_error)) is None

    talk(connection, timeout.while_open(60, ("tail", "-F", path)), conversation)
    assert not pids_of(connection, f"tail -F {path}")


def test_a_lost_connection_is_the_end_of_the_input_too(connection, tmp_path):
    path = f"/var/tmp/{tmp_path.name}.log"
    connection.run(Pipeline.of(("sh", "-c", 'echo first >"$1"', "sh", path)), timeout=20)

    async def conversation(stream):
        assert await stream.read() == b"first\n"
        stream.close()

    talk(connection, timeout.while_open(60, ("tail", "-F", path)), conversation)
    end = time.monotonic() + 10
    while pids_of(connection, f"tail -F {path}"):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_command_that_ends_by_itself_says_so_and_with_what(connection):
    """While its input is open still: nobody has to wait for the end of its output, which others may hold."""

    async def conversation(stream):
        error = b""
        while (status := timeout.ended(error)) is None:
            part = await stream.read_error()
            assert part, error
            error += part
        assert status == 7 and error == b"end 7\n"
        stream.end_input()
        assert await rest_of(stream.read) == b"end 0\n"

    command = ("sh", "-c", "echo end 0; echo end 0 >&2; exit 7")
    talk(connection, timeout.while_open(60, command), conversation)


def test_the_number_of_a_command_that_has_ended_goes_to_no_other():
    """It is what is sent a signal when the input ends: until then nobody may have waited for it."""
    words = timeout.while_open(60, ("sh", "-c", "exit 7"))
    shell = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with shell:
        assert shell.stderr.readline() == b"end 7\n"
        end = time.monotonic() + 10
        while "Z" not in (states := states_of_children(shell.pid)):
            assert states and time.monotonic() < end, "it was waited for"
            time.sleep(0.02)
        time.sleep(0.2)
        assert "Z" in states_of_children(shell.pid)
        shell.stdin.close()
        assert shell.wait(10) is not None


def states_of_children(pid):
    """As proc(5) has them: Z of one that has ended and that nobody has waited for."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2][0] for child in children]
