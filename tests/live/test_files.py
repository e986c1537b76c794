from jails.freebsd.command import Pipeline
from jails.operations import effects
from jails.operations.step import RemoveFile, WriteFile

HOSTILE = "a'b\"c!d$(id)`id`\\ \u00e4\u20ac %s\n" * 50


def do(connection, action):
    return connection.run(effects.pipeline(action, "live-test"), timeout=30)


def read(connection, path):
    return connection.run(Pipeline.of(("cat", path)), timeout=30)


def test_a_new_file(live_connection, live_directory):
    path = f"{live_directory}/new.conf"
    assert do(live_connection, WriteFile(path, HOSTILE)).ok
    assert read(live_connection, path).stdout.decode() == HOSTILE


def test_a_new_file_overwrites_nothing(live_connection, live_directory):
    path = f"{live_directory}/new.conf"
    assert do(live_connection, WriteFile(path, "first\n")).ok
    assert not do(live_connection, WriteFile(path, "second\n")).ok
    assert read(live_connection, path).stdout == b"first\n"


def test_a_changed_file_wants_what_was_there(live_connection, live_directory):
    path = f"{live_directory}/changed.conf"
    assert do(live_connection, WriteFile(path, "first\n")).ok
    assert not do(live_connection, WriteFile(path, "third\n", before="other\n")).ok
    assert do(live_connection, WriteFile(path, "second\n", before="first\n")).ok
    assert read(live_connection, path).stdout == b"second\n"


def test_a_file_is_removed_only_as_it_was_seen(live_connection, live_directory):
    path = f"{live_directory}/gone.conf"
    assert do(live_connection, WriteFile(path, "first\n")).ok
    assert not do(live_connection, RemoveFile(path, "other\n")).ok
    assert do(live_connection, RemoveFile(path, "first\n")).ok
    assert not read(live_connection, path).ok
