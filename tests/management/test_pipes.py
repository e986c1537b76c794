"""`manage.py … | head -1`: whoever has read enough goes, and hears no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jails.management import pipes

ROOT = Path(__file__).parents[2]
LONG = "long" * 30


def unread(*words, environment=None, stderr=subprocess.PIPE):
    """`manage.py WORDS` with a pipe as standard output that nobody reads: (status, what it complains of)."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, str(ROOT / "manage.py"), *words]
    try:
        done = subprocess.run(argv, env=environment, stdout=writer, stderr=stderr, timeout=120)
    finally:
        os.close(writer)
    return done.returncode, (done.stderr or b"").decode()


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "jail.conf"
    # Longer than what a pipe holds.
    path.write_text("".join(f'j{number} {{ path = "/jail/{LONG}"; }}\n' for number in range(2000)))
    return path


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_jailconf_ends_quietly(conf, words):
    assert unread("jailconf", "show", *words, str(conf)) == (141, "")


def test_an_error_that_nobody_reads_ends_quietly_too(tmp_path):
    (tmp_path / "bad.conf").write_text("a {")
    assert unread("jailconf", "show", str(tmp_path / "bad.conf"), stderr=subprocess.STDOUT) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_half_way(conf, unbuffered):
    argv = [sys.executable, str(ROOT / "manage.py"), "jailconf", "show", str(conf)]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


@pytest.mark.slow
def test_so_do_the_commands_of_a_panel(tmp_path):
    environment = os.environ | {
        "CELLBLOCK_DATABASE_URL": f"sqlite:///{tmp_path / 'panel.sqlite3'}",
        "CELLBLOCK_STATE_DIR": str(tmp_path / "state"),
        "DJANGO_SETTINGS_MODULE": "panel.settings",
    }
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"], env=environment, check=True
    )
    for words in (("host", "list"), ("host", "list", "--json"), ("fleet", "export"), ("audit_verify",)):
        expected = (0, "") if words[-1] == "--json" else (141, "")  # There are no hosts: nothing is written.
        assert unread(*words, environment=environment) == expected, words


def test_another_connection_that_breaks_is_an_error():
    with pytest.raises(BrokenPipeError, match="of the broker"), pipes.ending_quietly():
        raise BrokenPipeError(32, "of the broker")
