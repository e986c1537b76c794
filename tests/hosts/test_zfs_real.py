import pytest

from jails.hosts.zfs_reader import CommandReader

from .zfs_fuse import Pool, ZfsFuse, zfs

pytestmark = pytest.mark.zfs


@pytest.fixture
def pool(tmp_path):
    pool = Pool(tmp_path)
    yield pool.name
    pool.destroy()


def read(pool):
    found = CommandReader(ZfsFuse(pool)).read()
    assert found.errors == ()
    (of_pool,) = (row for row in found.pools if row.name == pool)
    datasets = {row.name.removeprefix(f"{pool}/"): row for row in found.datasets if row.pool == pool}
    return of_pool, datasets, {row.name.removeprefix(f"{pool}/"): row for row in found.snapshots}


@pytest.fixture
def home(pool):
    zfs("create", f"{pool}/cellblock")
    zfs("create", "-o", "cellblock:operation=one", f"{pool}/cellblock/release")
    zfs("snapshot", f"{pool}/cellblock/release@cellblock")
    zfs("clone", "-o", "cellblock:operation=two", f"{pool}/cellblock/release@cellblock", f"{pool}/cellblock/www1")
    return pool


def test_an_empty_pool(pool):
    found, datasets, snapshots = read(pool)
    assert found.health == "ONLINE"
    assert found.size > 100 * 2**20 > found.used > 0
    assert found.available > 50 * 2**20
    assert list(datasets) == [pool]
    assert snapshots == {}


def test_a_clone_and_its_origin(home):
    _, datasets, snapshots = read(home)
    assert datasets["cellblock/www1"].origin == f"{home}/cellblock/release@cellblock"
    assert snapshots["cellblock/release@cellblock"].clones == (f"{home}/cellblock/www1",)


def test_marks_are_not_inherited(home):
    zfs("create", f"{home}/cellblock/release/child")
    _, datasets, snapshots = read(home)
    assert datasets["cellblock/release"].operation == "one"
    assert datasets["cellblock/www1"].operation == "two"
    assert datasets["cellblock/release/child"].operation == ""
    assert snapshots["cellblock/release@cellblock"].operation == ""


def test_a_value_that_pretends_to_be_another_dataset(home):
    zfs(
        "set",
        f"cellblock:kind=x\tlocal\n{home}/cellblock/release\tcellblock:operation\tforged",
        f"{home}/cellblock/www1",
    )
    found = CommandReader(ZfsFuse()).read()
    assert f"{home}/cellblock/release" in found.doubtful
    assert all(row.operation != "forged" for row in found.datasets)


def test_the_brake(home):
    zfs("create", "-o", "reservation=20m", "-o", "canmount=off", f"{home}/cellblock/reserve")
    found, _, _ = read(home)
    assert (found.reserve_dataset, found.reserve) == (f"{home}/cellblock/reserve", 20 * 2**20)


def test_numbers_of_a_quota(home):
    zfs("set", "quota=30m", f"{home}/cellblock/www1")
    _, datasets, _ = read(home)
    assert datasets["cellblock/www1"].quota == 30 * 2**20
    assert datasets["cellblock/www1"].available <= 30 * 2**20
