"""zfs(8) of the simulated host: semantics and words."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jails.hosts.simulated import faults
from jails.hosts.simulated.process import PATH, Process
from jails.hosts.simulated.tools.zfs import check_space, main
from jails.hosts.simulated.tools.zfs.env import Env

from .machine import Machine


@pytest.fixture
def m(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "host")


@pytest.fixture
def old(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "old", release="12.1-STABLE")


def test_create_mounts_where_the_parent_says(m: Machine) -> None:
    m.zfs("create -o mountpoint=/jail tank/jails")
    m.zfs("create tank/jails/www1")
    assert m.zfs("list -H -o mounted,mountpoint tank/jails/www1") == "yes\t/jail/www1\n"


@pytest.mark.parametrize(
    "options", ["-u", "-o canmount=noauto", "-o canmount=off", "-o mountpoint=none", "-o jailed=on"]
)
def test_create_does_not_mount(m: Machine, options: str) -> None:
    m.zfs(f"create {options} tank/a")
    assert m.zfs("list -H -o mounted tank/a") == "no\n"


def test_one_of_two_creates_of_a_name_wins(m: Machine) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: m.run("zfs", "create", "tank/a"), range(16)))
    assert sorted(one.rc for one in outcomes) == [0] + [1] * 15
    assert {one.err for one in outcomes if one.rc} == {"cannot create 'tank/a': dataset already exists\n"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tank/a@b", "snapshot delimiter '@' is not expected here"),
        ("tank/a#b", "bookmark delimiter '#' is not expected here"),
        ("tank/a%b", "invalid character % in name"),
        ("tank/a/", "trailing slash in name"),
        ("/tank/a", "leading slash in name"),
        ("tank//a", "empty component or misplaced '@' or '#' delimiter in name"),
        ("tank/a;b", "invalid character ';' in name"),
        ("tank/ä", "invalid character 'ä' in name"),
        ("tank/../a", "parent reference, '..' is found in name"),
        ("tank/" + "a" * 251, "name is too long"),
        ("tank", "missing dataset name"),
        ("none/a", "no such pool 'none'"),
        ("tank/x/y", "parent does not exist"),
    ],
)
def test_create_refuses_a_name(m: Machine, name: str, words: str) -> None:
    assert m.refused(f"create {name}") == f"cannot create '{name}': {words}\n"


def test_a_snapshot_with_clones_cannot_go(m: Machine) -> None:
    m.zfs("create tank/a")
    m.zfs("snapshot tank/a@s")
    m.zfs("clone tank/a@s tank/c")
    assert m.refused("destroy tank/a@s") == (
        "cannot destroy 'tank/a@s': snapshot has dependent clones\n"
        "use '-R' to destroy the following datasets:\ntank/c\n"
    )
    m.zfs("destroy tank/c")
    m.zfs("destroy tank/a@s")


def test_destroy_with_clones_takes_them_along(m: Machine) -> None:
    m.zfs("create tank/a")
    m.zfs("snapshot tank/a@s")
    m.zfs("clone tank/a@s tank/c")
    m.zfs("destroy -R tank/a")
    assert m.zfs("list -H -o name -t all -r tank") == "tank\n"


def test_destroy_leaves_no_files_and_no_mountpoint(m: Machine) -> None:
    m.zfs("create tank/a")
    m.write("/tank/a/f")
    folders = list((m.host.directory / "datasets").iterdir())
    m.zfs("destroy tank/a")
    assert not m.exists("/tank/a")
    assert len(list((m.host.directory / "datasets").iterdir())) == len(folders) - 1


@pytest.mark.parametrize(("fixture", "words"), [("m", "pool or dataset is busy"), ("old", "Device busy")])
def test_a_jail_root_keeps_its_dataset_busy(request: pytest.FixtureRequest, fixture: str, words: str) -> None:
    machine: Machine = request.getfixturevalue(fixture)
    machine.zfs("create tank/a")
    with machine.host.changing() as state:
        state["jails"].append({"jid": 1, "name": "a", "path": "/tank/a", "set": {}})
    assert machine.refused("destroy tank/a") == f"cannot unmount '/tank/a': {words}\n"
    assert machine.refused("rename tank/a tank/b") == f"cannot unmount '/tank/a': {words}\n"
    assert machine.zfs("list -H -o mounted tank/a") == "yes\n"


def test_a_mount_below_keeps_a_dataset_busy(m: Machine) -> None:
    m.zfs("create tank/a")
    with m.host.changing() as state:
        (m.host.locate(state, "/tank/a").backing / "dev").mkdir()
        m.host.mount(state, "devfs", m.host.locate(state, "/tank/a/dev"), "devfs")
    assert "pool or dataset is busy" in m.refused("destroy tank/a")


def test_clone_shares_and_then_grows(m: Machine) -> None:
    m.zfs("create tank/a")
    m.write("/tank/a/base", 300_000)
    m.zfs("snapshot tank/a@s")
    m.zfs("clone tank/a@s tank/c")
    assert m.number("tank/c", "used") == 0
    m.write("/tank/c/more", 50_000)
    assert 50_000 <= m.number("tank/c", "used") < 60_000
    assert m.number("tank/c", "referenced") > 350_000


def test_a_snapshot_holds_what_was_deleted(m: Machine) -> None:
    m.zfs("create tank/a")
    m.write("/tank/a/f", 100_000)
    m.zfs("snapshot tank/a@s")
    m.write("/tank/a/f", 100_000)
    assert m.number("tank/a@s", "used") >= 100_000
    assert m.number("tank/a", "usedbysnapshots") >= 100_000
    m.zfs("destroy tank/a@s")
    assert m.number("tank/a", "usedbysnapshots") == 0


def test_used_sums_up(m: Machine) -> None:
    m.zfs("create -p tank/a/b")
    m.write("/tank/a/b/f", 70_000)
    parts = ["usedbydataset", "usedbysnapshots", "usedbychildren", "usedbyrefreservation"]
    assert m.number("tank/a", "used") == sum(m.number("tank/a", part) for part in parts)
    assert m.number("tank/a", "usedbychildren") == m.number("tank/a/b", "used")


def test_reservation_takes_from_the_others(m: Machine) -> None:
    m.zfs("create tank/a")
    before = m.number("tank", "available")
    m.zfs("set reservation=1G tank/a")
    assert before - m.number("tank", "available") == pytest.approx(1 << 30, abs=200_000)
    assert m.refused("set reservation=100G tank/a").endswith(": size is greater than available space\n")


def test_quota_bounds_and_is_told_to_writers(m: Machine) -> None:
    m.zfs("create -o quota=1M tank/a")
    with m.host.reading() as state:
        assert check_space(state, "tank/a", 1000) is None
        assert check_space(state, "tank/a", 2_000_000) == "Disc quota exceeded"
        assert check_space(state, "tank", 9_000_000_000) == "No space left on device"
    m.write("/tank/a/f", 500_000)
    with m.host.reading() as state:
        assert check_space(state, "tank/a", 600_000, m.host) == "Disc quota exceeded"
        assert check_space(state, "tank/a", 100_000, m.host) is None
    assert m.refused("set quota=100K tank/a").endswith(": size is less than current used or reserved space\n")


def test_a_full_pool_refuses(m: Machine) -> None:
    m.zfs("create tank/a")
    faults.add(m.host, '{"full": "tank"}')
    assert m.refused("create tank/b") == "cannot create 'tank/b': out of space\n"
    assert m.refused("snapshot tank/a@s") == "cannot create snapshot 'tank/a@s': out of space\n"
    assert m.number("tank", "available") == 0
    faults.add(m.host, "none")
    m.zfs("create tank/b")


def test_rename_moves_the_mounts_that_follow(m: Machine) -> None:
    m.zfs("create -p tank/a/b")
    m.write("/tank/a/b/f")
    m.zfs("create -o mountpoint=/srv tank/a/own")
    m.zfs("rename -p tank/a tank/t/acme")
    assert m.exists("/tank/t/acme/b/f")
    assert not m.exists("/tank/a")
    assert m.zfs("list -H -o mountpoint tank/t/acme/own") == "/srv\n"


def test_rename_u_leaves_the_mount(m: Machine) -> None:
    m.zfs("create tank/a")
    m.zfs("rename -u tank/a tank/b")
    assert m.zfs("mount").splitlines()[-1].split() == ["tank/b", "/tank/a"]


def test_properties_are_inherited_with_their_source(m: Machine) -> None:
    m.zfs("create -p tank/a/b")
    m.zfs("set compression=zstd cellblock:tenant=acme tank/a")
    got = m.zfs("get -H -o property,value,source compression,cellblock:tenant,quota tank/a/b")
    assert got == (
        "compression\tzstd\tinherited from tank/a\n"
        "cellblock:tenant\tacme\tinherited from tank/a\n"
        "quota\tnone\tdefault\n"
    )
    m.zfs("inherit -r compression tank/a")
    assert m.zfs("get -H -o value,source compression tank/a/b") == "on\tdefault\n"


def test_mountpoint_none_and_back(m: Machine) -> None:
    m.zfs("create -p tank/a/b")
    m.zfs("set mountpoint=none tank/a")
    assert m.zfs("list -H -o mounted -r tank/a") == "no\nno\n"
    m.zfs("set mountpoint=/srv tank/a")
    assert m.zfs("list -H -o mounted,mountpoint -r tank/a") == "yes\t/srv\nyes\t/srv/b\n"


def test_readonly_shows_in_the_mount(m: Machine) -> None:
    m.zfs("create tank/a")
    m.zfs("set readonly=on tank/a")
    with m.host.reading() as state:
        assert m.host.locate(state, "/tank/a/f").read_only


def test_rollback_brings_the_files_back(m: Machine) -> None:
    m.zfs("create tank/a")
    m.write("/tank/a/old")
    m.zfs("snapshot tank/a@s")
    m.write("/tank/a/new")
    m.zfs("snapshot tank/a@t")
    assert m.refused("rollback tank/a@s").endswith("following snapshots and bookmarks:\ntank/a@t\n")
    m.zfs("rollback -r tank/a@s")
    assert (m.exists("/tank/a/old"), m.exists("/tank/a/new")) == (True, False)


def test_promote_turns_the_relation_round(m: Machine) -> None:
    m.zfs("create tank/a")
    m.zfs("snapshot tank/a@s")
    m.zfs("clone tank/a@s tank/c")
    m.zfs("promote tank/c")
    assert m.zfs("get -H -o value origin tank/a tank/c") == "tank/c@s\n-\n"
    m.zfs("destroy tank/a")


def test_snapshots_by_list_and_range(m: Machine) -> None:
    for name in "abcd":
        m.zfs(f"snapshot tank@{name}")
    m.zfs("destroy tank@a,b%c")
    assert m.zfs("list -H -t snapshot -o name") == "tank@d\n"


def test_recursive_snapshot_is_all_or_nothing(m: Machine) -> None:
    m.zfs("create tank/a")
    m.zfs("snapshot tank/a@s")
    err = m.refused("snapshot -r tank@s")
    assert err == "cannot create snapshot 'tank/a@s': dataset already exists\nno snapshots were created\n"
    assert m.zfs("list -H -t snapshot -o name") == "tank/a@s\n"


def test_a_hold_keeps_a_snapshot(m: Machine) -> None:
    m.zfs("snapshot tank@s")
    m.zfs("hold keep tank@s")
    assert m.refused("destroy tank@s") == "cannot destroy snapshot tank@s: dataset is busy\n"
    m.zfs("destroy -d tank@s")
    m.zfs("release keep tank@s")
    assert m.zfs("list -H -t snapshot") == ""


def test_snapshot_directory_is_readable_and_read_only(m: Machine) -> None:
    m.write("/tank/f", 10)
    m.zfs("snapshot tank@s")
    m.write("/tank/f", 20)
    with m.host.reading() as state:
        place = m.host.locate(state, "/tank/.zfs/snapshot/s/f")
    assert place.backing.stat().st_size == 10
    assert place.read_only


def test_a_jailed_dataset_belongs_to_its_jail(m: Machine) -> None:
    m.zfs("create tank/root")
    m.zfs("create -o jailed=on tank/data")
    with m.host.changing() as state:
        state["jails"].append({"jid": 3, "name": "z", "path": "/tank/root", "set": {}})
        (m.host.locate(state, "/tank/root").backing / "dev").mkdir()
        m.host.mount(state, "devfs", m.host.locate(state, "/tank/root/dev"), "devfs")
    assert m.refused("mount tank/data") == "cannot mount 'tank/data': dataset is exported to a local zone\n"
    assert m.run("zfs", "jail", "nosuch", "tank/data").rc == 2
    m.zfs("jail z tank/data")
    assert m.refused("jail z tank/data") == "cannot jail 'tank/data': dataset already exists\n"
    assert _inside(m, "create", "tank/other") == 1
    assert _inside(m, "mount", "-a") == 0
    assert m.zfs("mount").splitlines()[-1].split() == ["tank/data", "/tank/root/tank/data"]


def _inside(m: Machine, *words: str) -> int:
    """Run zfs as jail 3 does, whose root has no programs of its own."""
    process = Process(m.host, ["zfs", *words], fds={}, env={"PATH": PATH}, jid=3, root="/tank/root")
    return main(process)


def test_diff(m: Machine) -> None:
    m.zfs("create tank/a")
    m.write("/tank/a/gone")
    m.write("/tank/a/same")
    m.zfs("snapshot tank/a@s")
    with m.host.reading() as state:
        m.host.locate(state, "/tank/a/gone").backing.unlink()
    m.write("/tank/a/new")
    assert m.zfs("diff -F tank/a@s") == "M\t/\t/tank/a/\n-\tF\t/tank/a/gone\n+\tF\t/tank/a/new\n"


def test_one_list_of_a_thousand_datasets_is_quick(m: Machine) -> None:
    env = Env.of_host(m.host)
    with env.changing() as zfs:
        for number in range(1000):
            record = zfs.add_dataset(f"tank/j{number}")
            record["space"] = {"refer": 1, "dataset": 1, "snapshots": 0, "written": 1}
            zfs.add_snapshot(f"tank/j{number}", "s")
    started = time.process_time()
    out = m.zfs("list -Hp -t all -o name,used,available,referenced,mountpoint,origin,clones,creation")
    assert out.count("\n") == 2001
    assert time.process_time() - started < 0.5


def test_cut_in_the_middle_leaves_a_clone_unmounted(m: Machine) -> None:
    m.zfs("snapshot tank@s")
    faults.add(m.host, '{"match": "zfs clone", "cut": {"nth": 1}}')
    words = [sys.executable, "-m", "jails.hosts.simulated", str(m.host.directory), "--", "zfs", "clone", "tank@s"]
    assert subprocess.run([*words, "tank/c"], check=False).returncode == -signal.SIGKILL
    assert m.zfs("list -H -o mounted,origin tank/c") == "no\ttank@s\n"


def test_a_cut_transaction_leaves_the_state_as_it_was(m: Machine) -> None:
    """A directory left by a killed command is not in the way of the next one."""
    (m.host.directory / "datasets" / "d2").mkdir()
    (m.host.directory / "datasets" / "d2" / "rest").touch()
    m.zfs("create tank/a")
    assert not m.exists("/tank/a/rest")


def test_history_has_what_was_done_and_nothing_else(m: Machine) -> None:
    m.zfs("create tank/a")
    m.refused("create tank/a")
    m.zfs("list")
    lines = m.run("zpool", "history", "tank").out.splitlines()
    assert [line.partition(" ")[2] for line in lines[1:] if line] == ["zpool create tank da0", "zfs create tank/a"]


def test_version_came_with_openzfs(m: Machine, old: Machine) -> None:
    assert m.zfs("version").startswith("zfs-2.2.")
    assert old.run("zfs", "version").err.startswith("unrecognized command 'version'\nusage: zfs command args ...\n")


def test_a_wrong_call_shows_the_usage_of_its_command(m: Machine, old: Machine) -> None:
    assert m.run("zfs", "create", "-z", "tank/a").err.startswith(
        "invalid option 'z'\nusage:\n\tcreate [-Pnpuv] [-o property=value] ... <filesystem>\n"
    )
    assert old.run("zfs", "create").err.startswith("missing filesystem argument\nusage:\n\tcreate [-pu] ")
    assert old.run("zfs", "create").rc == 2


def test_the_directory_one_stands_in_is_busy(m: Machine) -> None:
    m.zfs("create tank/a")
    process = Process(m.host, ["zfs", "destroy", "tank/a"], fds={}, env={"PATH": PATH}, cwd="/tank/a")
    assert main(process) == 1
    process = Process(m.host, ["zfs", "destroy", "-f", "tank/a"], fds={}, env={"PATH": PATH}, cwd="/tank/a")
    assert main(process) == 0
