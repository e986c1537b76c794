import pytest

from jails.freebsd.command import Pipeline

HOSTILE = (
    "",
    " ",
    "a'b",
    'a"b',
    "a!b",
    "!!",
    "$(id)",
    "`id`",
    "a\nb",
    "a\\b",
    "*",
    "~",
    "-n",
    "%s",
    "äö€",
    "\x01",
    "a;b",
)


def run(connection, *argvs, stdin=b"", timeout=30):
    return connection.run(Pipeline.of(*argvs, stdin=stdin), timeout=timeout)


def test_it_is_freebsd(live_connection):
    assert run(live_connection, ("uname", "-s")).text == "FreeBSD\n"


def test_hostile_words_pass_the_login_shell(live_connection):
    result = run(live_connection, ("printf", "%s\\0", *HOSTILE))
    assert result.stdout.decode().split("\0")[:-1] == list(HOSTILE)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_pipeline_fails_with_any_of_its_parts(live_connection, failing):
    parts = [("cat",), ("cat",), ("cat",)]
    parts[failing] = ("sh", "-c", "cat; exit 7")
    result = run(live_connection, *parts, stdin=b"text")
    assert (result.rc, result.stdout) == (7, b"text")


def test_a_daemon_does_not_hold_the_channel(live_connection):
    assert run(live_connection, ("sh", "-c", "sleep 30 & echo started"), timeout=30).stdout == b"started\n"


def test_death_by_signal(live_connection):
    assert run(live_connection, ("sh", "-c", "kill -9 $$")).rc == 128 + 9
