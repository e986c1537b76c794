"""The same texts and questions on the simulated host, whose own sh and tools read them."""

import subprocess
import sys

import pytest

from jails.freebsd.command import Pipeline
from jails.hosts.simulated_connection import SimulatedConnection
from jails.operations import checks, effects
from jails.operations.step import RemoveFile, WriteFile

ID = "7b0d3f2e-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "warden1"
    options = ["--release", "14.2-RELEASE", "--pool", "zroot=10G", "--interface", "em0=192.0.2.2/24"]
    subprocess.run([sys.executable, "-m", "jails.hosts.simulated", str(folder), "--new", *options], check=True)
    return SimulatedConnection(folder)


def do(host, *argv):
    result = host.run(Pipeline.of(argv), timeout=30)
    assert result.ok, result.stderr
    return result.text


def holds(host, check):
    (answer,) = checks.ask(host, [check])
    return answer


def test_files_are_written_replaced_and_removed(host):
    def act(action):
        return host.run(effects.pipeline(action, ID), timeout=30).ok

    assert act(WriteFile("/etc/x.conf", "it's $x\n"))
    assert not act(WriteFile("/etc/x.conf", "again\n"))
    assert act(WriteFile("/etc/x.conf", "new\n", before="it's $x\n"))
    assert not act(RemoveFile("/etc/x.conf", "other\n"))
    assert holds(host, checks.file_has("/etc/x.conf", "new\n"))
    assert act(RemoveFile("/etc/x.conf", "new\n"))
    assert holds(host, checks.path_absent("/etc/x.conf"))


def test_a_dataset_is_ours_only_where_this_operation_made_it(host):
    do(host, "zfs", "create", "-o", f"cellblock:operation={ID}", "zroot/ours")
    do(host, "zfs", "create", "zroot/ours/byhand")
    do(host, "zfs", "snapshot", "zroot/ours@byhand")
    do(host, "zfs", "snapshot", "-o", f"cellblock:operation={ID}", "zroot/ours@ours")
    assert holds(host, checks.dataset_ours("zroot/ours", ID))
    assert not holds(host, checks.dataset_ours("zroot/ours/byhand", ID))
    assert not holds(host, checks.snapshot_ours("zroot/ours@byhand", ID))
    assert holds(host, checks.snapshot_ours("zroot/ours@ours", ID))
    assert not holds(host, checks.dataset_ours("zroot/nothing", ID))


def test_a_clone_knows_its_origin(host):
    do(host, "zfs", "create", "zroot/release")
    do(host, "zfs", "snapshot", "zroot/release@s")
    do(host, "zfs", "clone", "zroot/release@s", "zroot/clone")
    assert holds(host, checks.dataset_origin("zroot/clone", "zroot/release@s"))
    assert not holds(host, checks.dataset_origin("zroot/release", "zroot/release@s"))


@pytest.mark.parametrize("name", ["dataset_absent", "snapshot_absent", "dataset_ours", "dataset_exists"])
def test_a_pool_that_is_not_there_is_no_answer(host, name):
    args = ("nopool/a", ID) if name == "dataset_ours" else ("nopool/a",)
    with pytest.raises(checks.Unanswered):
        holds(host, checks.Check(name, args))


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
def test_questions(host, check):
    assert holds(host, check) and not holds(host, checks.is_not(check))


def test_questions_together(host):
    assert checks.ask(host, YES) == [True] * len(YES)
