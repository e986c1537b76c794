import os
import shlex
import signal
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import paramiko
import pytest

from jails.freebsd.command import Pipeline
from jails.hosts import keys
from jails.hosts.connection import CommandTimeout, HostUnavailable, Unavailable
from jails.hosts.hostkey import HostKey
from jails.hosts.ssh import SSHConnection, scan_host_key
from jails.models import Worker

from .sshd import Sshd, free_port, make_key

pytestmark = pytest.mark.sshd

HOSTILE = (
    "",
    " ",
    "a'b",
    'a"b',
    "a!b",
    "$(id)",
    "`id`",
    "a\nb",
    "a\\b",
    "*",
    "~",
    "-n",
    "%s",
    "\u00e4\u20ac",
    "\x01",
    "a;b&c|d",
)


def run(connection, *argvs, stdin=b"", timeout=10.0, **options):
    return connection.run(Pipeline.of(*argvs, stdin=stdin), timeout=timeout, **options)


def sh(connection, text, **options):
    return run(connection, ("sh", "-c", text), **options)


def until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def reason(connection):
    with pytest.raises(HostUnavailable) as caught:
        run(connection, ("true",))
    return caught.value


def test_status_and_both_outputs(connection):
    result = sh(connection, "echo out; echo err >&2; exit 3")
    assert (result.rc, result.stdout, result.stderr) == (3, b"out\n", b"err\n")


def test_hostile_words_arrive_as_they_are(connection):
    result = run(connection, ("printf", "%s\\0", *HOSTILE))
    assert result.stdout.decode().split("\0")[:-1] == list(HOSTILE)


def test_stdin_is_sent_whole_and_closed(connection):
    data = bytes(range(256)) * 8192
    assert run(connection, ("cat",), stdin=data, limit=10_000_000).stdout == data


def test_stdin_that_nobody_reads_does_no_harm(connection):
    assert sh(connection, "exec <&-; exit 4", stdin=b"x" * 5_000_000).rc == 4


def test_large_output_comes_whole_after_the_exit(connection):
    assert len(sh(connection, "head -c 8000000 /dev/zero", limit=10_000_000).stdout) == 8_000_000


def test_255_of_the_command_is_a_result(connection):
    assert sh(connection, "exit 255").rc == 255


def test_death_by_signal_is_a_result(connection):
    assert sh(connection, "kill -9 $$").rc == 128 + signal.SIGKILL


def test_a_missing_tool_is_a_result(connection):
    assert run(connection, ("no-such-tool",)).rc == 127


def test_a_pipeline_fails_with_any_of_its_parts(connection):
    assert run(connection, ("sh", "-c", "exit 7"), ("cat",)).rc == 7


def test_over_when_it_exits_though_a_daemon_holds_the_channel(connection):
    result = sh(connection, "echo started; sleep 60 & echo $!")
    started, pid = result.stdout.split()
    assert (result.rc, started) == (0, b"started")
    os.kill(int(pid), signal.SIGKILL)  # which is still there


def test_time_limit(connection):
    with pytest.raises(CommandTimeout) as caught:
        sh(connection, "echo first; sleep 20", timeout=2)
    assert caught.value.partial.stdout == b"first\n"
    assert run(connection, ("true",)).ok


def test_time_limit_where_sshd_takes_the_command_and_does_not_answer(sshd, connection, monkeypatch):
    """A host that hangs: the network still acknowledges what is sent."""
    run(connection, ("true",))
    stopped = []
    real = connection._open

    def open_and_hang():
        channel = real()
        stopped.extend(sshd.stop_sessions())
        return channel

    monkeypatch.setattr(connection, "_open", open_and_hang)
    begin = time.monotonic()
    try:
        with pytest.raises(CommandTimeout):
            run(connection, ("true",), timeout=1)
        assert time.monotonic() - begin < 4
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    assert run(connection, ("true",)).ok


def test_output_is_bounded(connection):
    result = sh(connection, "head -c 300000 /dev/zero", limit=1000)
    assert (len(result.stdout), result.truncated) == (1000, True)


def test_output_streams_as_it_comes(connection, tmp_path):
    """The command goes on only once somebody has seen its first word."""
    seen, mark = [], tmp_path / "seen"
    text = f"echo one; until test -e {shlex.quote(str(mark))}; do sleep 0.02; done; echo two >&2"
    sh(connection, text, on_output=lambda data: (seen.append(data), mark.touch()))
    assert seen == [b"one\n", b"two\n"]


def test_threads_share_one_connection(sshd, connection):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: sh(connection, f"sleep 0.2; echo {n}").stdout, range(16)))
    assert results == [b"%d\n" % n for n in range(16)]
    assert (sshd.directory / "log").read_text().count("Accepted publickey") == 1


def test_more_threads_than_sshd_allows_sessions_wait(connection):
    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(lambda _: sh(connection, "sleep 0.1").ok, range(24)))


def test_a_dead_connection_is_made_anew_before_the_command_is_sent(sshd, connection):
    run(connection, ("true",))
    sshd.kill_sessions()
    until(lambda: not connection._transport.is_active())
    assert run(connection, ("echo", "again")).stdout == b"again\n"


def test_lost_in_the_middle_and_the_command_goes_on(sshd, connection, tmp_path):
    begun, go_on, done = tmp_path / "begun", tmp_path / "go-on", tmp_path / "done"
    text = 'touch "$0"; until test -e "$1"; do sleep 0.02; done; echo over >"$2"'

    def kill():
        until(begun.exists)
        sshd.kill_sessions()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(HostUnavailable) as caught:
            run(connection, ("sh", "-c", text, str(begun), str(go_on), str(done)))
        killer.join()
        assert caught.value.reason == Unavailable.LOST
        assert not done.exists()
    finally:
        go_on.touch()
    until(lambda: done.exists() and done.read_text() == "over\n")


def test_the_host_key_is_pinned(sshd, tmp_path):
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
    error = reason(sshd.connection(host_key=other))
    assert error.reason == Unavailable.HOST_KEY
    assert HostKey.parse(other).fingerprint in error.message
    assert HostKey.parse(sshd.host_key).fingerprint in error.message


def test_a_changed_host_key_is_shown_even_of_another_type(sshd):
    pinned = sshd.host_key
    sshd.stop()
    sshd.new_host_key("ecdsa")
    sshd.start()
    error = reason(sshd.connection(host_key=pinned))
    assert error.reason == Unavailable.HOST_KEY
    assert HostKey.parse(sshd.host_key).fingerprint in error.message


def test_a_pinned_rsa_key_is_asked_for_where_there_are_several(sshd):
    sshd.stop()
    make_key(sshd.directory / "rsa_key", "rsa")
    sshd.options = (f"HostKey {sshd.directory}/rsa_key",)
    sshd.start()
    connection = sshd.connection(host_key=(sshd.directory / "rsa_key.pub").read_text())
    assert run(connection, ("true",)).ok
    connection.close()


def test_nothing_is_pinned(sshd):
    error = reason(sshd.connection(host_key=""))
    assert error.reason == Unavailable.HOST_KEY
    assert error.offered.split() == sshd.host_key.split()[:2]
    assert "Accepted" not in (sshd.directory / "log").read_text()


def test_scanning_shows_what_ssh_keygen_shows(sshd):
    import subprocess

    key = scan_host_key("127.0.0.1", sshd.port)
    listed = subprocess.run(["ssh-keygen", "-lf", sshd.directory / "host_key.pub"], capture_output=True, text=True)
    assert key.fingerprint == listed.stdout.split()[1]
    assert key.line.split() == sshd.host_key.split()[:2]


def test_a_key_the_host_does_not_know(sshd, tmp_path):
    error = reason(sshd.connection(key=lambda: keys.private_key(tmp_path / "stranger")))
    assert error.reason == Unavailable.AUTHENTICATION
    assert "authorized_keys" in error.message


def test_root_login_not_permitted(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can try to log in as root")
    server = Sshd(tmp_path / "strict", options=("PermitRootLogin no",)).start()
    try:
        error = reason(server.connection())
    finally:
        server.stop()
    assert error.reason == Unavailable.AUTHENTICATION
    assert "PermitRootLogin" in error.message


def test_keys_not_accepted_at_all(tmp_path):
    options = ("PubkeyAuthentication no", "KbdInteractiveAuthentication yes", "PasswordAuthentication yes")
    server = Sshd(tmp_path / "strict", options=(*options, "PermitRootLogin yes")).start()
    try:
        error = reason(server.connection())
    finally:
        server.stop()
    assert error.reason == Unavailable.AUTHENTICATION
    assert "PubkeyAuthentication" in error.message


def test_sessions_refused(tmp_path):
    server = Sshd(tmp_path / "strict", options=("MaxSessions 0",)).start()
    try:
        error = reason(server.connection())
    finally:
        server.stop()
    assert error.reason == Unavailable.PERMISSION


def test_become_that_does_not_make_root(sshd):
    error = reason(sshd.connection(become=("sh", "-c", "echo no tty >&2; exit 1")))
    assert error.reason == Unavailable.NOT_ROOT
    assert "no tty" in error.message


def test_become_is_not_asked_where_sessions_are_refused(tmp_path):
    server = Sshd(tmp_path / "strict", options=("MaxSessions 0",)).start()
    try:
        error = reason(server.connection(become=("env",)))
    finally:
        server.stop()
    assert error.reason == Unavailable.PERMISSION


def test_become_stands_before_every_command(sshd):
    if os.geteuid() != 0:
        pytest.skip("only root becomes root without a password here")
    connection = sshd.connection(become=("env", "BECOME=yes"))
    assert sh(connection, "echo $BECOME").stdout == b"yes\n"
    connection.close()


def test_refused_port(sshd):
    assert reason(sshd.connection(port=free_port())).reason == Unavailable.REFUSED


def test_unknown_name(sshd):
    assert reason(sshd.connection(address="no-such-host.invalid")).reason == Unavailable.UNKNOWN_NAME


def test_a_host_that_accepts_and_never_answers(sshd):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        error = reason(sshd.connection(port=silent.getsockname()[1], connect_timeout=0.5))
    assert error.reason == Unavailable.TIMED_OUT
    assert time.monotonic() - begin < 3


def test_something_that_is_not_sshd(sshd):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            peer, _ = server.accept()
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        error = reason(sshd.connection(port=server.getsockname()[1]))
        thread.join()
    assert error.reason == Unavailable.UNREACHABLE


def test_the_key_is_made_once_and_for_the_worker_alone(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: keys.public_key(tmp_path / "worker"), range(8)))
    assert len(made) == 1
    assert stat.S_IMODE((tmp_path / "worker" / keys.NAME).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "worker").iterdir()] == [keys.NAME]


def test_a_key_others_may_read_is_refused(tmp_path):
    keys.public_key(tmp_path)
    (tmp_path / keys.NAME).chmod(0o644)
    with pytest.raises(keys.KeyUnusable, match="chmod"):
        keys.private_key(tmp_path)


def test_a_key_that_cannot_be_used_is_an_answer(sshd):
    def broken() -> paramiko.PKey:
        raise keys.KeyUnusable("gone")

    assert reason(sshd.connection(key=broken)).reason == Unavailable.AUTHENTICATION


def test_a_host_key_line_is_read_strictly():
    with pytest.raises(ValueError, match="base64"):
        HostKey.parse("ssh-ed25519 !!!")


def test_a_place_is_written_as_people_write_it():
    connection = SSHConnection("2001:db8::2", 2222, "root", "", lambda: None)
    assert connection.place == "root@[2001:db8::2]:2222"


@pytest.mark.django_db
def test_the_web_process_sees_the_public_part_only(tmp_path):
    keys.publish("default", tmp_path)
    keys.publish("default", tmp_path)
    worker = Worker.objects.get()
    assert worker.public_key == keys.public_key(tmp_path)
    assert worker.public_key.startswith("ssh-ed25519 ") and "PRIVATE" not in worker.public_key
