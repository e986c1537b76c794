"""The same texts and questions on the simulated host, whose own sh and tools read them."""

import subprocess
import sys
import threading
import time
from uuid import uuid4

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts.facts import gather
from jails.hosts.simulated_connection import SimulatedConnection
from jails.operations import checks, effects
from jails.operations.step import RemoveFile, WriteFile

ID = "7b0d3f2e-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "warden1"
    options = ["--release", "14.2-RELEASE", "--pool", "zroot=10G", "--interface", "em0=192.0.2.2/24"]
    subprocess.run([sys.executable, "-m", "jails.hosts.simulated", str(folder), "--new", *options], check=True)
    return SimulatedConnection(folder)


def do(simulated, *argv):
    result = simulated.run(Pipeline.of(argv), timeout=30)
    assert result.ok, result.stderr
    return result.text


def holds(simulated, check):
    (answer,) = checks.ask(simulated, [check])
    return answer


def test_files_are_written_replaced_and_removed(simulated):
    def act(action):
        return simulated.run(effects.pipeline(action, ID), timeout=30).ok

    assert act(WriteFile("/etc/x.conf", "it's $x\n"))
    assert not act(WriteFile("/etc/x.conf", "again\n"))
    assert act(WriteFile("/etc/x.conf", "new\n", before="it's $x\n"))
    assert not act(RemoveFile("/etc/x.conf", "other\n"))
    assert holds(simulated, checks.file_has("/etc/x.conf", "new\n"))
    assert act(RemoveFile("/etc/x.conf", "new\n"))
    assert holds(simulated, checks.path_absent("/etc/x.conf"))


def test_a_dataset_is_ours_only_where_this_operation_made_it(simulated):
    do(simulated, "zfs", "create", "-o", f"cellblock:operation={ID}", "zroot/ours")
    do(simulated, "zfs", "create", "zroot/ours/byhand")
    do(simulated, "zfs", "snapshot", "zroot/ours@byhand")
    do(simulated, "zfs", "snapshot", "-o", f"cellblock:operation={ID}", "zroot/ours@ours")
    assert holds(simulated, checks.dataset_ours("zroot/ours", ID))
    assert not holds(simulated, checks.dataset_ours("zroot/ours/byhand", ID))
    assert not holds(simulated, checks.snapshot_ours("zroot/ours@byhand", ID))
    assert holds(simulated, checks.snapshot_ours("zroot/ours@ours", ID))
    assert not holds(simulated, checks.dataset_ours("zroot/nothing", ID))


def test_a_clone_knows_its_origin(simulated):
    do(simulated, "zfs", "create", "zroot/release")
    do(simulated, "zfs", "snapshot", "zroot/release@s")
    do(simulated, "zfs", "clone", "zroot/release@s", "zroot/clone")
    assert holds(simulated, checks.dataset_origin("zroot/clone", "zroot/release@s"))
    assert not holds(simulated, checks.dataset_origin("zroot/release", "zroot/release@s"))


def test_snapshots_that_are_used_let_go_and_others(simulated):
    do(simulated, "zfs", "create", "zroot/base")
    do(simulated, "zfs", "snapshot", "zroot/base@one")
    do(simulated, "zfs", "snapshot", "zroot/base@two")
    do(simulated, "zfs", "clone", "zroot/base@one", "zroot/user")
    both = ("zroot/base", "zroot/base@one", "zroot/base@two")
    assert holds(simulated, checks.only_snapshots(*both)) and not holds(simulated, checks.only_snapshots(*both[:2]))
    assert holds(simulated, checks.only_snapshots("zroot/user"))
    assert holds(simulated, checks.snapshot_unused("zroot/base@two"))
    assert not holds(simulated, checks.snapshot_unused("zroot/base@one"))
    assert not holds(simulated, checks.snapshot_let_go("zroot/base@one"))
    do(simulated, "zfs", "destroy", "-d", "zroot/base@one")
    assert holds(simulated, checks.snapshot_let_go("zroot/base@one"))
    do(simulated, "zfs", "destroy", "zroot/user")
    assert holds(simulated, checks.snapshot_let_go("zroot/base@one"))
    assert holds(simulated, checks.snapshot_absent("zroot/base@one"))
    for check in (checks.only_snapshots, checks.snapshot_unused, checks.snapshot_let_go):
        with pytest.raises(checks.Unanswered):
            holds(simulated, check("nopool/a@b"))


@pytest.mark.parametrize("name", ["dataset_absent", "snapshot_absent", "dataset_ours", "dataset_exists"])
def test_a_pool_that_is_not_there_is_no_answer(simulated, name):
    args = ("nopool/a", ID) if name == "dataset_ours" else ("nopool/a",)
    with pytest.raises(checks.Unanswered):
        holds(simulated, checks.Check(name, args))


YES = [
    checks.dataset_exists("zroot"),
    checks.dataset_absent("zroot/no"),
    checks.snapshot_absent("zroot@no"),
    checks.dataset_property("zroot", "quota", "0"),
    checks.directory_exists("/etc"),
    checks.mode_is("/etc", "0755"),
    checks.owner_is("/etc", "root", "wheel"),
    checks.mounted("/"),
    checks.unmounted("/nowhere"),
    checks.jail_absent("www1"),
    checks.jail_gone("www1"),
    checks.is_not(checks.jail_running("www1", "/jail/www1")),
    checks.rc_list_has_not("jail_list", "www1"),
    checks.user_exists("root"),
    checks.is_not(checks.user_exists("nosuchuser")),
]


@pytest.mark.parametrize("check", YES, ids=checks.words)
def test_questions(simulated, check):
    assert holds(simulated, check) and not holds(simulated, checks.is_not(check))


def test_questions_together(simulated):
    assert checks.ask(simulated, YES) == [True] * len(YES)


# The lock and its token


def fenced(*argv, token=1, seconds=20):
    return effects.fenced(Pipeline.of(argv), ID, token, seconds)


def test_the_fence_keeps_older_workers_out(simulated):
    assert simulated.run(effects.fence(ID, 7), timeout=30).ok
    assert simulated.run(fenced("echo", "a  b", token=7), timeout=30).text == "a  b\n"
    result = simulated.run(fenced("touch", "/etc/late", token=6), timeout=30)
    assert (result.rc, result.stdout, result.stderr) == (effects.OVERTAKEN, b"", b"")
    assert simulated.run(effects.fence(ID, 6), timeout=30).rc == effects.OVERTAKEN
    assert holds(simulated, checks.path_absent("/etc/late"))


def test_the_fence_is_held_while_a_command_runs_and_a_time_limit_ends_it(simulated):
    simulated.run(effects.fence(ID, 8), timeout=30)
    outcome = []
    sleeper = threading.Thread(
        target=lambda: outcome.append(simulated.run(fenced("sleep", "60", token=8, seconds=2), timeout=30).rc)
    )
    sleeper.start()
    time.sleep(1)
    assert simulated.run(effects.fence(ID, 9), timeout=30).rc == effects.HELD
    sleeper.join()
    assert outcome == [effects.TIMED_OUT]
    assert simulated.run(effects.fence(ID, 9), timeout=30).ok


def test_a_pipeline_fails_with_any_of_its_parts(simulated):
    simulated.run(effects.fence(ID, 10), timeout=30)
    parts = Pipeline.of(("echo", "x"), ("false",), ("cat",))
    assert simulated.run(effects.fenced(parts, ID, 10, 20), timeout=30).rc == 1
    assert simulated.run(effects.remove_lock(ID, 10), timeout=30).ok


# The engine


@pytest.fixture(autouse=True)
def _locks_of_the_host(request, monkeypatch):
    """In a folder that the simulated host has too; the one of `box` is this machine's."""
    if "box" in request.fixturenames:
        request.getfixturevalue("box")
        monkeypatch.setattr(effects, "LOCK_DIRECTORY", "/var/run/cellblock")


@pytest.fixture
def place(simulated):
    """A folder on the simulated host, new for each test."""
    folder = f"/var/tmp/{uuid4().hex}"
    do(simulated, "mkdir", folder)
    do(simulated, "sh", "-c", 'echo old >"$1/old"', "sh", folder)
    return folder


@pytest.mark.parametrize(("fail", "left"), [(False, "box journal"), (True, "journal old")])
def test_an_operation_runs_and_rolls_back(simulated, place, confirmed, run, fail, left):
    operation = confirmed(root=place, fail=fail)
    run(operation, connect=lambda row: simulated)
    assert operation.status == ("failed" if fail else "done"), operation.error
    assert do(simulated, "ls", place).split() == left.split()


def test_an_operation_is_planned_again_from_facts_that_are_really_gathered(simulated, place, confirmed, run):
    operation = confirmed(root=place)
    seen = []

    def gather_facts(connection, row):
        seen.append(gather(connection, jail_root=row.jail_root))
        return seen[-1]

    run(operation, connect=lambda row: simulated, gather=gather_facts)
    assert operation.status == "done" and seen[0].pool("zroot") is not None
