import types

import pytest

from jails.hosts import zfs_reader
from jails.hosts.local import LocalConnection
from jails.hosts.zfs_reader import CommandReader, LibraryReader

from .libzfs_double import Commands, Library, Table

NATIVE = {
    "type": "filesystem", "used": "96", "available": "1000", "referenced": "96", "usedbysnapshots": "5",
    "usedbydataset": "91", "usedbychildren": "0", "usedbyrefreservation": "0", "logicalused": "42", "written": "1",
    "quota": "0", "refquota": "0", "reservation": "0", "refreservation": "0", "mounted": "yes", "canmount": "on",
    "jailed": "off", "origin": "", "creation": "1700000000", "mountpoint": "none",
}  # fmt: skip
SNAPSHOT = {
    "type": "snapshot",
    "used": "7",
    "referenced": "90",
    "creation": "1700000001",
    "userrefs": "0",
    "clones": "",
}
HOME = "zroot/cellblock"
RELEASE = f"{HOME}/releases/14.2-RELEASE-amd64"
WWW1 = f"{HOME}/host/www1"


def filesystem(**values):
    return {**NATIVE, **{key.replace("__", ":"): value for key, value in values.items()}}


@pytest.fixture
def table():
    objects = {
        "zroot": filesystem(used="5000", available="7000"),
        "zroot/home@weekly": SNAPSHOT,
        "zroot/home": filesystem(mountpoint="/home"),
        "zroot/swap": {key: NATIVE[key] for key in NATIVE if key not in ("quota", "mounted")} | {"type": "volume"},
        HOME: filesystem(),
        f"{HOME}/releases": filesystem(),
        RELEASE: filesystem(cellblock__operation=("one", "local")),
        f"{RELEASE}@cellblock": SNAPSHOT | {"clones": WWW1, "cellblock:operation": ("one", "inherited")},
        f"{HOME}/host": filesystem(cellblock__operation=("two", "inherited")),
        WWW1: filesystem(
            origin=f"{RELEASE}@cellblock", mountpoint="/jail/www1", cellblock__operation=("two", "local"),
            cellblock__jail=("www1", "received"),
        ),
        f"{HOME}/reserve": filesystem(reservation="2400", mounted="no", canmount="off"),
    }  # fmt: skip
    pool = {"size": "16000", "allocated": "5000", "free": "11000", "health": "ONLINE", "guid": "42", "readonly": "off"}
    return Table({"zroot": pool}, objects)


@pytest.fixture
def facts(table):
    return CommandReader(Commands(table)).read()


def by_name(found):
    return {item.name: item for item in found}


def test_both_readers_tell_the_same(table, facts):
    assert LibraryReader(Library(table)).read() == facts


def test_both_tell_the_same_of_a_host_without_a_panel(table):
    table.objects = {name: value for name, value in table.objects.items() if not name.startswith(HOME)}
    assert LibraryReader(Library(table)).read() == CommandReader(Commands(table)).read()


def test_both_tell_the_same_without_pools():
    table = Table({}, {})
    assert LibraryReader(Library(table)).read() == CommandReader(Commands(table)).read()


def test_four_processes_at_most(table):
    connection = Commands(table)
    CommandReader(connection).read()
    assert len(connection.commands) <= 4


def test_a_pool_and_its_brake(facts):
    (pool,) = facts.pools
    assert (pool.health, pool.size, pool.used, pool.available) == ("ONLINE", 16000, 5000, 7000)
    assert (pool.reserve_dataset, pool.reserve) == (f"{HOME}/reserve", 2400)
    assert pool.usedbysnapshots == 5 * len(facts.datasets)


def test_a_clone_knows_its_origin_and_the_snapshot_its_clones(facts):
    assert by_name(facts.datasets)[WWW1].origin == f"{RELEASE}@cellblock"
    assert by_name(facts.snapshots)[f"{RELEASE}@cellblock"].clones == (WWW1,)


def test_marks_are_those_of_the_very_dataset(facts):
    datasets = by_name(facts.datasets)
    assert datasets[WWW1].marks == {"cellblock:operation": "two", "cellblock:jail": "www1"}
    assert datasets[f"{HOME}/host"].operation == ""
    assert facts.snapshots[0].operation == ""


def test_snapshots_of_others_are_not_listed(facts):
    assert [snapshot.name for snapshot in facts.snapshots] == [f"{RELEASE}@cellblock"]


def test_forged_rows_are_believed_by_nobody(table):
    forged = f"x\tlocal\n{RELEASE}\tcellblock:operation\tforged"
    table.objects[WWW1]["cellblock:kind"] = (forged, "local")
    facts = CommandReader(Commands(table)).read()
    assert RELEASE in facts.doubtful
    assert by_name(facts.datasets)[RELEASE].operation == ""


def test_a_value_with_tabs_hides_its_own_dataset_only(table):
    table.objects[WWW1]["cellblock:kind"] = ("a\tb", "local")
    facts = CommandReader(Commands(table)).read()
    assert facts.doubtful == (WWW1,)
    assert by_name(facts.datasets)[RELEASE].operation == "one"


def test_a_forged_row_invents_no_dataset(table):
    table.objects[WWW1]["mountpoint"] = f"/a\t-\n{HOME}/host/evil\tcellblock:operation\tx\tlocal\n"
    facts = CommandReader(Commands(table)).read()
    assert f"{HOME}/host/evil" not in by_name(facts.datasets)


def test_the_library_is_for_this_machine_where_it_is_there(monkeypatch, table):
    library = types.ModuleType("libzfs")
    monkeypatch.setitem(__import__("sys").modules, "libzfs", library)
    assert isinstance(zfs_reader.reader(LocalConnection()), LibraryReader)
    assert isinstance(zfs_reader.reader(Commands(table)), CommandReader)


def test_without_the_library_it_is_the_commands(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "libzfs", None)
    assert isinstance(zfs_reader.reader(LocalConnection()), CommandReader)


def test_an_error_of_the_library_is_said(table):
    library = Library(table)

    def broken(history=True):
        raise library.ZFSException(1, "no permission")

    library.ZFS = broken
    assert LibraryReader(library).read().errors == ("libzfs: no permission",)


def test_the_handle_is_given_back(table):
    library = Library(table)
    LibraryReader(library).read()
    assert library.calls == ["exit"]


def test_the_double_fails_on_a_call_that_is_not_cited(table):
    with pytest.raises(AssertionError, match="not cited"):
        Library(table).ZFS(history=False).get_dataset("zroot")
