import pytest

from jails.freebsd import files, lockf, pw, tar
from jails.freebsd.command import Pipeline


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (files.make_directory("/jail/a", mode="0750"), "mkdir -m 0750 /jail/a"),
        (files.make_directory("/jail/a", parents=True), "mkdir -p -m 0755 /jail/a"),
        (files.install_directory("/jail", mode="0700"), "install -d -m 0700 -o root -g wheel /jail"),
        (files.install_file("/etc/resolv.conf", "/jail/a/x"), "install -S -m 0644 /etc/resolv.conf /jail/a/x"),
        (files.remove_directory("/jail/a"), "rmdir /jail/a"),
        (files.remove_file("/jail/a/x"), "rm -f /jail/a/x"),
        (files.remove_tree("/jail/.a.7"), "rm -rfx /jail/.a.7"),
        (files.clear_flags("/jail/.a.7"), "chflags -R -x noschg /jail/.a.7"),
        (files.change_mode("/jail/a", "0700"), "chmod -h 0700 /jail/a"),
        (files.link("/usr/home", "/jail/home"), "ln -s /usr/home /jail/home"),
        (files.move("/jail/.a.7", "/jail/a"), "mv -n /jail/.a.7 /jail/a"),
        (files.digest("/tmp/base.txz"), "sha256 -q /tmp/base.txz"),
        (files.exists("/jail/a"), "test -e /jail/a"),
        (files.size("/tmp/base.txz"), "stat -f %z /tmp/base.txz"),
        (tar.extract("/tmp/base.txz", "/jail/a"), "tar --numeric-owner -xpf /tmp/base.txz -C /jail/a"),
        (tar.extract("-", "/jail/a"), "tar --numeric-owner -xpf - -C /jail/a"),
        (
            tar.create("/var/db/a.txz", "/jail/a", exclude=["./var/log/*"]),
            "tar --numeric-owner --one-file-system -a --exclude ./var/log/* -cf /var/db/a.txz -C /jail/a .",
        ),
        (tar.create("-", "/jail/a"), "tar --numeric-owner --one-file-system -cf - -C /jail/a ."),
        (tar.list_files("/tmp/base.txz"), "tar -tf /tmp/base.txz"),
        (pw.forbid_password("root", root="/jail/a"), "pw -R /jail/a usermod -n root -h -"),
        (pw.show_user("root"), "pw usershow -n root"),
        (pw.lock("toor"), "pw lock toor"),
        (pw.unlock("toor"), "pw unlock toor"),
        (lockf.locked("/var/run/cellblock/7", ("zfs", "list")), "lockf -k -s -t 0 /var/run/cellblock/7 zfs list"),
        (lockf.is_free("/var/run/cellblock/7"), "lockf -k -s -t 0 /var/run/cellblock/7 true"),
    ],
)
def test_commands(words, line):
    assert " ".join(words) == line


def test_a_pipeline_is_locked_as_a_whole():
    words = lockf.locked("/var/run/cellblock/7", Pipeline.of(["zfs", "send", "a@b"], ["zfs", "receive", "c"]), wait=5)
    assert words[:8] == ("lockf", "-k", "-s", "-t", "5", "/var/run/cellblock/7", "sh", "-c") and len(words) == 9


@pytest.mark.parametrize("path", ["/", "/jail", "/usr", "jail/a", "/jail/../usr/x", "/jail/a/", "", "-rf", "/jail/a b"])
def test_what_removes_trees_refuses_the_host(path):
    for refuses in (files.remove_tree, files.clear_flags):
        with pytest.raises(ValueError, match=r"^path: "):
            refuses(path)


def test_digests():
    assert files.parse_digest(b"ab" * 32 + b"\n") == "ab" * 32
    with pytest.raises(ValueError, match="64 hexadecimal"):
        files.parse_digest(b"sha256: /x: No such file\n")


@pytest.mark.parametrize("mode", ["", "rwx", "0999", "-R", "07777"])
def test_modes_are_octal(mode):
    with pytest.raises(ValueError, match=r"^mode: "):
        files.make_directory("/jail/a", mode=mode)
