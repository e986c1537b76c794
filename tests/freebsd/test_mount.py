import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import mount

from .samples import outputs


def test_12_1():
    rows = mount.parse(outputs("09-mount.json", "mount", "-p")[0])
    assert rows[0] == mount.Mount("/dev/vtbd0", "/", "ufs", ("rw",))
    assert mount.Mount("tank/jails/alpha", "/jails/alpha", "zfs", ("rw", "nfsv4acls")) in rows
    assert rows[-1] == mount.Mount("/mnt/src", "/mnt/dst", "nullfs", ("rw",))


def test_readonly():
    rows = mount.parse(outputs("09-mount.json", "mount", "-p")[1])
    assert (rows[-1].readonly, rows[0].readonly) == (True, False)


def padded(device, path, type_, options):
    """As putfsent of sbin/mount/mount.c pads it."""
    words = [word + ("\t" * max(1, 3 - len(word) // 8) if len(word) < 24 else " ") for word in (device, path)]
    end = "\t" if len(options) < 8 else " "
    return f"{words[0]}{words[1]}{type_}\t{options}{end}\t0 0\n".encode()


PATHS = st.from_regex(r"(/[A-Za-z0-9._-]{1,20}( [a-z]{1,9})?){1,4}", fullmatch=True)


@given(PATHS, PATHS)
def test_spaces_in_paths(device, path):
    (row,) = mount.parse(padded(device, path, "nullfs", "rw"))
    assert row.ambiguous or (row.device, row.path) == (device, path)
    assert not row.ambiguous or " /" in f"{device} {path}"


def test_long_names_with_spaces_are_told_apart():
    (row,) = mount.parse(
        padded("zroot/cellblock/host/a long name", "/jail/a long name of a jail", "zfs", "rw,noatime,nfsv4acls")
    )
    assert (row.device, row.path, row.ambiguous) == (
        "zroot/cellblock/host/a long name",
        "/jail/a long name of a jail",
        False,
    )


def test_two_readings_are_said_to_be():
    (row,) = mount.parse(padded("/a/long/path/of/the/source /x", "/y", "nullfs", "rw"))
    assert row.ambiguous


def test_escaped_spaces():
    (row,) = mount.parse(b"/a\\040b\t\t\t/jail/x\\040y\t\tnullfs\tro\t\t0 0\n")
    assert (row.device, row.path) == ("/a b", "/jail/x y")


def test_a_line_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="mount -p: cannot read"):
        mount.parse(b"mount: unknown\n")


def test_fstab_is_read_back():
    line = mount.fstab_line("/var/db/base", "/jail/www1/base", "nullfs", ("ro", "noexec"))
    assert line == "/var/db/base\t/jail/www1/base\tnullfs\tro,noexec\t0\t0\n"
    assert mount.parse_fstab(f"# a comment\n\n{line}") == (
        mount.Mount("/var/db/base", "/jail/www1/base", "nullfs", ("ro", "noexec")),
    )


def test_df():
    root, devfs, *_ = mount.parse_df(outputs("00-system.json", "df", "-k")[0])
    assert root == mount.Space("/dev/vtbd0", "/", 1944700 * 1024, 317272 * 1024, 1530196 * 1024)
    assert devfs.path == "/dev"


def test_df_of_a_file_system_that_is_more_than_full():
    (space,) = mount.parse_df(
        b"Filesystem 1024-blocks Used Avail Capacity  Mounted on\n/dev/a b  100 110 -10 110%    /x y\n"
    )
    assert (space.available, space.path, space.device) == (-10240, "/x y", "/dev/a b")


def test_df_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="df: cannot read"):
        mount.parse_df(b"Filesystem\nnonsense\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (mount.nullfs("/a", "/b"), "mount -t nullfs -o ro /a /b"),
        (mount.nullfs("/a", "/b", readonly=False), "mount -t nullfs /a /b"),
        (mount.devfs("/jail/a/dev", ruleset=4), "mount -t devfs -o ruleset=4 devfs /jail/a/dev"),
        (mount.tmpfs("/jail/a/tmp", size=1024), "mount -t tmpfs -o size=1024,mode=1777 tmpfs /jail/a/tmp"),
        (mount.unmount("/jail/a/dev", force=True), "umount -f /jail/a/dev"),
        (mount.df("/", "/jail"), "df -kP / /jail"),
    ],
)
def test_commands(words, line):
    assert " ".join(words) == line


def test_a_devfs_that_enforces_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^ruleset: "):
        mount.devfs("/jail/a/dev", ruleset=0)


def test_the_root_is_not_unmounted():
    with pytest.raises(ValueError, match=r"^path: "):
        mount.unmount("/")
