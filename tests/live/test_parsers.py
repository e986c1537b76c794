"""Every parser of jails.freebsd on what the host's own tools print."""

import hashlib

import pytest

from jails.freebsd import (
    cleaning,
    fetch,
    files,
    fstat,
    ifconfig,
    jailconf,
    jls,
    lockf,
    mount,
    pw,
    rcconf,
    sh,
    sysctl,
    uname,
    zfs,
    zpool,
)
from jails.freebsd.command import Pipeline


@pytest.fixture
def pools(site):
    found = zpool.parse_list(site.output(*zpool.LIST))
    if not found:
        pytest.skip("this host has no pool")
    return found


def test_uname_and_freebsd_version(site):
    seen = uname.parse_uname(site.output(*uname.UNAME))
    versions = uname.parse_freebsd_version(site.output(*uname.FREEBSD_VERSION))
    assert seen.system == "FreeBSD" and uname.Release.parse(seen.release) == versions.kernel_running
    assert uname.userland_not_newer(versions.kernel_running, versions.userland)


def test_sysctl(site):
    values = sysctl.parse(site.output(*sysctl.get()))
    assert values["kern.ostype"] == "FreeBSD" and int(values["hw.ncpu"]) > 0
    assert sysctl.boot_time(values["kern.boottime"]) > 1_000_000_000


def test_ifconfig(site):
    found = {interface.name: interface for interface in ifconfig.parse(site.output(*ifconfig.LIST))}
    assert "127.0.0.1" in [address.ip for address in found["lo0"].addresses]
    assert len(found) > 1


def test_mount_and_df(site):
    mounts = mount.parse(site.output(*mount.LIST))
    assert sum(row.path == "/" for row in mounts) == 1
    (space,) = mount.parse_df(site.output(*mount.df("/")))
    assert space.path == "/" and 0 < space.available < space.size
    assert {row.path for row in mount.parse_df(site.output(*mount.df()))} <= {row.path for row in mounts}


def test_fstab(site):
    lines = mount.parse_fstab(site.run("sh", "-c", "cat /etc/fstab 2>/dev/null || true"))
    assert all(row.path.startswith("/") or row.path == "none" for row in lines)


def test_rc_conf_is_read_as_sh_reads_it(site):
    values = rcconf.parse(site.run("cat", "/etc/rc.conf"))
    for name in sorted(values.values):
        if values.is_certain(name) and "\n" not in values.get(name):
            told = site.sh('unset "$1"; . /etc/rc.conf >/dev/null 2>&1; eval "printf %s \\"\\${$1-}\\""', name)
            assert told == values.get(name), name


def test_sysrc_says_the_same(site):
    values = rcconf.parse(site.run("cat", "/etc/rc.conf"))
    for name in [
        name for name in ("hostname", "sshd_enable", "zfs_enable", "ifconfig_em0", "jail_list") if name in values.values
    ]:
        assert site.output(*rcconf.get(name)).decode().rstrip("\n") == values.get(name)


def test_the_jail_conf_of_the_host(site):
    for path in site.sh("for f in /etc/jail.conf /etc/jail.conf.d/*.conf; do [ ! -f $f ] || echo $f; done").split():
        jailconf.read(site.run("cat", path), filename=path)


def test_jls_as_json_and_as_text(site):
    """Both of a jail that is made for it, with a value that needs quotes."""
    name = f"{site.prefix}-jls"
    words = ("path=/", "host.hostname=two words", "persist", "children.max=1", "enforce_statfs=1")
    site.run("jail", "-c", f"name={name}", *words)
    try:
        made = [
            next(jail for jail in jls.parse(site.output(*jls.LIST)) if jail.name == name),
            next(jail for jail in jls.parse_text(site.output(*jls.LIST_TEXT)) if jail.name == name),
        ]
    finally:
        site.run("jail", "-r", name)
    assert made[0] == made[1]
    assert made[0].text("host.hostname") == "two words" and made[0].number("children.max", 0) == 1
    assert not made[0].dying and made[0].jid > 0


def test_zpool_list_and_status(site, pools):
    assert {pool.health for pool in pools} <= {"ONLINE", "DEGRADED"}
    assert all(0 < pool.allocated < pool.size for pool in pools)
    assert {pool.name for pool in zpool.parse_status(site.output(*zpool.STATUS))} == {pool.name for pool in pools}


def test_zfs_list_and_get(site, pools):
    rows = zfs.parse_list(site.output(*zfs.list_datasets(pools[0].name)))
    assert pools[0].name in [row["name"] for row in rows]
    ((name, prop, value, source),) = zfs.parse_get(site.output(*zfs.get(["type"], pools[0].name)))
    assert (name, prop, value, source) == (pools[0].name, "type", "filesystem", "-")


def test_free_text_of_properties(site, pools):
    """A dataset of these tests with a property that looks like a row of another one."""
    dataset = f"{pools[0].name}/{site.prefix}-free"
    forged = f"x\n{pools[0].name}\tforged\tforged"
    site.run("zfs", "create", "-o", "mountpoint=none", "-o", f"cellblock:source={forged}", dataset)
    try:
        known = [row["name"] for row in zfs.parse_list(site.output(*zfs.list_datasets(pools[0].name)))]
        properties = ("mountpoint", "cellblock:source")
        argv = ("zfs", "list", "-Hp", "-t", "filesystem,volume", "-o", f"name,{','.join(properties)}")
        values, doubtful = zfs.parse_free(site.output(*argv), known, properties)
    finally:
        site.run("zfs", "destroy", dataset)
    assert pools[0].name in doubtful and pools[0].name not in values


def test_fetch_and_digest(site, live_directory):
    path = f"{live_directory}/file"
    site.connection.run(Pipeline.of(("tee", path), stdin=b"some bytes\n"), timeout=30)
    assert fetch.parse_size(site.output(*fetch.size(f"file://{path}"))) == 11
    site.run(*fetch.get(f"file://{path}", f"{path}.copy"))
    assert files.parse_digest(site.output(*files.digest(f"{path}.copy"))) == hashlib.sha256(b"some bytes\n").hexdigest()
    assert site.output(*files.size(path)) == b"11\n"


def test_fstat_names_who_holds_a_file_system(site):
    """The shell that asks stands in it itself."""
    root = mount.parse(site.output(*mount.LIST))[0].path
    holders = fstat.parse(site.output(*fstat.same_file_system("/")), root)
    assert all(holder.pid >= 0 and holder.command and holder.user for holder in holders)
    assert holders or not site.is_real


def test_lockf_says_that_it_is_held(site, live_directory):
    lock = f"{live_directory}/lock"
    text = (
        'lockf -k -s -t 0 "$1" sleep 3 & sleep 1; '
        'r=0; lockf -k -s -t 0 "$1" true || r=$?; echo $r; wait; lockf -k -s -t 0 "$1" true'
    )
    assert site.sh(text, lock) == f"{lockf.HELD}\n"


def test_users(site):
    assert site.run(*pw.show_user("root")).startswith("root:")
    assert not site.connection.run(Pipeline.of(pw.show_user(f"{site.prefix}x")), timeout=30).ok


def test_batches(site):
    text = sh.batch([("echo", "one"), ("sh", "-c", "echo bad >&2; exit 3"), Pipeline.of(("echo", "a b"), ("cat",))])
    parts = sh.split_batch(site.output("sh", "-c", text))
    assert [(part.rc, part.stdout, part.stderr) for part in parts] == [
        (0, b"one\n", b""),
        (3, b"", b"bad"),
        (0, b"a b\n", b""),
    ]


def test_what_a_template_must_not_carry_is_listed(site):
    """Of the host itself: only listed."""
    found = cleaning.parse(site.run(*cleaning.command(cleaning.LIST, cleaning.IDENTITY)))
    lines = site.run(*cleaning.command(cleaning.LIST, cleaning.IDENTITY)).splitlines()
    assert len(found) == len(set(lines)) and all(what in cleaning.WHAT for what, _ in found)
