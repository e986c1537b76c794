"""The steps that make and give up a jail's tree, through the real engine, on real ZFS."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jails.freebsd import zfs as product
from jails.freebsd.command import Pipeline
from jails.models import Operation, Release
from jails.operations import checks, trees
from jails.operations.step import Plan, Run, Step
from tests.hosts.zfs_fuse import Pool, zfs
from tests.operations import fakes

pytestmark = pytest.mark.zfs
Status = Operation.Status
# FreeBSD's mount -p and mv -n, of this machine.
SHIMS = {"mount": "exec awk '{print $1, $2, $3, $4, 0, 0}' /proc/mounts", "mv": 'shift; exec /bin/mv -nT "$@"'}


class RealZFS(fakes.ShellHost):
    """Real processes. The zfs(8) of zfs-fuse sets one property at a time; FreeBSD's, several."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for name, text in SHIMS.items():
            (self.shims / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.shims / name).chmod(0o755)
        one_by_one = (
            'if [ "$1" != set ]; then exec /usr/sbin/zfs "$@"; fi\n'
            'for last; do :; done; shift\nwhile [ $# -gt 1 ]; do /usr/sbin/zfs set "$1" "$last" || exit; shift; done'
        )
        (self.shims / "zfs").write_text(f"#!/bin/sh\n{one_by_one}\n")
        (self.shims / "zfs").chmod(0o755)


@pytest.fixture
def pool(tmp_path):
    pool = Pool(tmp_path)
    yield pool
    pool.destroy()


@pytest.fixture
def shell(tmp_path):
    return RealZFS(tmp_path)


@pytest.fixture
def release(pool, tmp_path):
    """A release as release_fetch leaves it."""
    dataset, path = f"{pool.name}/cellblock/releases/r", tmp_path / "release"
    zfs("create", "-o", "mountpoint=none", "-o", "canmount=off", f"{pool.name}/cellblock")
    for parent in ("releases", "host"):
        zfs("create", "-o", "mountpoint=none", "-o", "canmount=off", f"{pool.name}/cellblock/{parent}")
    zfs("create", "-o", f"mountpoint={path}", "-o", "cellblock:operation=fetched", dataset)
    (path / "etc").mkdir()
    (path / "etc/motd").write_text("hello\n")
    zfs("snapshot", "-o", "cellblock:operation=fetched", f"{dataset}@cellblock")
    return Release(name="r", architecture="amd64", storage="zfs", dataset=dataset, snapshot=f"{dataset}@cellblock")


FAIL = Step(key="fail", purpose="Do what cannot be done", action=Run((("false",),)))


@pytest.fixture(params=["thick", "thin"])
def make(request, box, confirmed, run, release, pool, tmp_path, root):
    """Make a tree `www1`; `fail`: and then fail. `before` acts before step n. The operation, and its tree."""
    (tmp_path / "jail").mkdir()

    def go(*, fail=False, before=None, quota=None):
        trees_made = []

        def plan(plan: Plan) -> Plan:
            tree = trees.Tree(
                base=release,
                operation_id=str(operation_id[0]),
                path=str(tmp_path / "jail/www1"),
                dataset=f"{pool.name}/cellblock/host/www1",
                thin=request.param == "thin",
                quota=quota,
                marks={"cellblock:jail": "uuid"},
            )
            trees_made.append(tree)
            return replace(plan, steps=(*trees.make(tree), *((FAIL,) if fail else ())))

        operation_id = [""]
        real = box.plan
        box.plan = lambda wanted: (operation_id.__setitem__(0, wanted.operation_id), real(wanted))[1]
        box.change = plan
        operation = confirmed()
        if before:
            before(operation)
        run(operation)
        return operation, trees_made[-1]

    return go


def datasets(pool):
    return zfs("list", "-H", "-o", "name", "-t", "all", "-r", f"{pool.name}/cellblock/host").split()


def test_a_tree_is_made(make, pool, tmp_path, shell):
    operation, tree = make(quota=64 << 20)
    assert operation.status == Status.DONE, operation.error
    assert (tmp_path / "jail/www1/etc/motd").read_text() == "hello\n"
    assert datasets(pool) == [f"{pool.name}/cellblock/host", tree.dataset]
    assert checks.all_hold(shell, [checks.dataset_ours(tree.dataset, str(operation.pk))])
    assert zfs("get", "-H", "-o", "value", "quota,cellblock:jail", tree.dataset).split() == ["64M", "uuid"]
    assert [path.name for path in (tmp_path / "jail").iterdir()] == ["www1"]


def test_what_fails_afterwards_leaves_nothing(make, pool, tmp_path):
    operation, _ = make(fail=True)
    assert operation.status == Status.FAILED, operation.error
    assert datasets(pool) == [f"{pool.name}/cellblock/host"] and list((tmp_path / "jail").iterdir()) == []


def test_what_is_there_already_is_neither_adopted_nor_removed(make, pool, tmp_path):
    theirs = f"{pool.name}/cellblock/host/www1"
    operation, _ = make(before=lambda operation: zfs("create", "-o", "mountpoint=none", theirs))
    assert operation.status == Status.FAILED and "exists" in operation.error
    assert datasets(pool) == [f"{pool.name}/cellblock/host", theirs]
    assert list((tmp_path / "jail").iterdir()) == []


def test_a_path_that_is_there_already_is_not_mounted_over(make, pool, tmp_path):
    place = tmp_path / "jail/www1"

    def theirs(operation):
        place.mkdir()
        (place / "precious").write_text("mine")

    operation, _ = make(before=theirs)
    assert operation.status == Status.FAILED
    assert (place / "precious").read_text() == "mine" and datasets(pool) == [f"{pool.name}/cellblock/host"]


def test_a_tree_that_is_busy_is_given_up_once_it_is_not(make, pool, tmp_path, shell):
    """Somebody's shell stands in it for a moment."""
    place, standing = tmp_path / "jail/www1", []

    def stand(pipeline):
        if "false" in pipeline.argvs[0] and not standing:
            standing.append(subprocess.Popen(["sleep", "0.4"], cwd=place))
            time.sleep(0.05)

    def slowly(pipeline):
        if standing and "destroy" in pipeline.argvs[0]:
            time.sleep(0.5)

    shell.before, shell.after = stand, slowly
    operation, _ = make(fail=True)
    standing[0].wait()
    assert operation.status == Status.FAILED, operation.error
    assert datasets(pool) == [f"{pool.name}/cellblock/host"]


def test_what_somebody_made_below_it_is_not_taken_along(make, pool, shell):
    theirs = f"{pool.name}/cellblock/host/www1/theirs"

    def below(pipeline):
        if "false" in pipeline.argvs[0]:
            zfs("create", "-o", "mountpoint=none", theirs)

    shell.before = below
    operation, _ = make(fail=True)
    assert operation.status == Status.STUCK and theirs in datasets(pool)
    assert "has children" in operation.error


@pytest.mark.parametrize("recursive", [False, True])
def test_a_release_with_clones_stays(pool, release, shell, recursive):
    clone = f"{pool.name}/clone"
    zfs("clone", "-o", "mountpoint=none", release.snapshot, clone)
    for target in (release.snapshot, release.dataset):
        result = shell.run(Pipeline.of(product.destroy(target, recursive=recursive)), timeout=30)
        assert not result.ok
    assert checks.all_hold(shell, [checks.snapshot_exists(release.snapshot), checks.dataset_exists(clone)])
