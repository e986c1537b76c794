"""The scripts that run inside: on the simulated host, and with real tools in a chroot, as root and as the login."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from jails.freebsd import logins
from jails.freebsd.publickey import parse
from tests.hosts.simulation import with_tree

KEYS = [
    parse(f"ssh-ed25519 {body} key{number}")
    for number, body in enumerate(
        [
            "AAAAC3NzaC1lZDI1NTE5AAAAIA3F+cZWVRMPsKD7hGGbhbgV0kfQRBGHzZOIt4WTvIda",
            "AAAAC3NzaC1lZDI1NTE5AAAAIJSS3QKSGFOoHMJ3xT3zPGA0RjL/8lWBA5PkMqR9q0Wj",
            "AAAAC3NzaC1lZDI1NTE5AAAAIGm1Tvv6EGXbSJAb8yw1Q0qYwKiGKZzUnWfqQ2LwRZ2q",
        ]
    )
]
ONE, TWO, THREE = KEYS
ADA, BOB = 1, 12
PASSWD = """\
root:*:0:0::0:0:Charlie &:/root:/bin/sh
www:*:80:80::0:0:World Wide Web Owner:/nonexistent:/usr/sbin/nologin
web:*:54321:54321:class:0:0::/home/web:/bin/sh
lost:*:54322:54322::0:0:Lost:/home/lost:/bin/sh
"""


class OnSimulatedHost:
    def __init__(self, folder: Path) -> None:
        self.host, self.tree = with_tree(folder)

    def run(self, argv: tuple[str, ...], text: str = "") -> str:
        return self.host.run("sh", "-c", 'text=$1; shift; printf %s "$text" | "$@"', "sh", text, *argv)


class OnDash:
    """In a chroot with a real sh. `chroot` there gives up rights as FreeBSD's does; `pw` shows the password file."""

    JLS = "#!/bin/dash\nexit 0\n"
    JEXEC = '#!/bin/dash\nshift 2\nexec "$@"\n'
    CHROOT = (
        '#!/bin/dash\nuid=$2 gid=$4\nshift 7\nexec /bin/setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"\n'
    )
    PW = """#!/bin/dash
while IFS= read -r line; do
    case $line in "$3":*) echo "$line"; exit 0 ;; esac
done </etc/master.passwd
echo "pw: no such user" >&2
exit 67
"""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        for name in ("bin", "usr/bin", "etc", "dev"):
            (self.tree / name).mkdir(parents=True)
        for tool in ("dash", "cat", "mkdir", "mktemp", "mv", "rm", "setpriv", "wc"):
            self.copy(shutil.which(tool) or tool, self.tree / "bin" / tool)
        (self.tree / "bin/sh").symlink_to("dash")
        for name, text in {"jls": self.JLS, "jexec": self.JEXEC, "chroot": self.CHROOT, "pw": self.PW}.items():
            (self.tree / "bin" / name).write_text(text)
            (self.tree / "bin" / name).chmod(0o755)

    def copy(self, source: str, target: Path) -> None:
        shutil.copy(source, target)
        listed = subprocess.run(["ldd", source], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            place = self.tree / library[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)

    def run(self, argv: tuple[str, ...], text: str = "") -> str:
        words = ["/usr/sbin/chroot", str(self.tree), "/bin/dash", *argv[1:]]
        done = subprocess.run(words, input=text, capture_output=True, text=True, env={"PATH": "/bin:/usr/bin"})
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout


@pytest.fixture(params=[OnSimulatedHost, OnDash])
def place(request, tmp_path):
    if request.param is OnDash and os.geteuid():
        pytest.skip("chroot(2) is for root")
    os.umask(0o022)
    found = request.param(tmp_path)
    (found.tree / "etc/master.passwd").write_text(PASSWD)
    passwd = [line.split(":") for line in PASSWD.splitlines()]
    (found.tree / "etc/passwd").write_text("".join(":".join([*row[:4], *row[7:]]) + "\n" for row in passwd))
    home = found.tree / "home/web"
    home.mkdir(parents=True)
    if not os.geteuid():
        os.chown(home, 54321, 54321)
    found.home, found.file = home, home / ".ssh/authorized_keys"
    return found


def change(place, wanted=(), gone=(), person=ADA, login="web"):
    argv = logins.change_keys("x", "keys-1", "/jail/x", login, person)
    return place.run(argv, logins.wishes(person, wanted, [key.body for key in gone]))


def have(place, text):
    """The file as the login itself has made it."""
    place.file.parent.mkdir(mode=0o700, exist_ok=True)
    place.file.write_text(text)
    own(place)


def own(place):
    if not os.geteuid():
        for path in (place.home, *place.home.rglob("*")):
            os.chown(path, 54321, 54321, follow_symlinks=False)


def refused(place, words, *args, **more):
    with pytest.raises(RuntimeError, match=re.escape(words)):
        change(place, *args, **more)


def test_the_first_key_makes_folder_and_file(place):
    change(place, [ONE, TWO])
    assert place.file.read_text() == f"{ONE.marked(ADA)}\n{TWO.marked(ADA)}\n"
    if isinstance(place, OnDash):
        found = [place.file.parent.stat(), place.file.stat()]
        assert [(stat.S_IMODE(one.st_mode), one.st_uid, one.st_gid) for one in found] == [
            (0o700, 54321, 54321),
            (0o600, 54321, 54321),
        ]
    assert [path.name for path in place.file.parent.iterdir()] == ["authorized_keys"]


def test_lines_of_others_stay_to_the_last_byte(place):
    theirs = (
        f"# a comment with cellblock:{ADA} in it\n\n"
        f'from="192.0.2.0/24",command="echo \\"a  b\\"" {THREE.line}\n'
        f"{TWO.marked(BOB)}\n\tssh-rsa AAAAB3 indented\\n"
    )
    have(place, theirs)
    change(place, [ONE])
    assert place.file.read_text() == f"{theirs}\n{ONE.marked(ADA)}\n"
    change(place, [], [ONE])
    assert place.file.read_text() == f"{theirs}\n"


def test_the_panels_lines_are_those_that_are_wanted(place):
    restricted = f'from="192.0.2.1" {ONE.marked(ADA)}'
    have(place, f"{restricted}\n{TWO.marked(ADA)}\n")
    change(place, [ONE, THREE], [TWO])
    assert place.file.read_text() == f"{restricted}\n{THREE.marked(ADA)}\n"


def test_nothing_is_written_where_nothing_changes(place):
    have(place, f"{ONE.marked(ADA)}\n")
    before = place.file.stat()
    change(place, [ONE])
    after = place.file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_key_that_is_there_by_hand_is_not_added_again(place):
    have(place, f'from="192.0.2.1" {ONE.line}\n')
    change(place, [ONE])
    assert place.file.read_text() == f'from="192.0.2.1" {ONE.line}\n'


def test_a_revoked_key_goes_without_its_mark_too_but_never_from_anothers_line(place):
    have(place, f"no-pty {ONE.line}\n{ONE.marked(BOB)}\n{TWO.line}\n{THREE.marked(ADA)}\n")
    change(place, [], [ONE])
    assert place.file.read_text() == f"{ONE.marked(BOB)}\n{TWO.line}\n"


def test_one_persons_number_is_not_the_beginning_of_anothers(place):
    have(place, f"{ONE.marked(BOB)}\n{TWO.marked(ADA)}\n")
    change(place, [])
    assert place.file.read_text() == f"{ONE.marked(BOB)}\n"


def test_nothing_to_take_away(place):
    change(place, [], [ONE])
    assert not place.file.parent.exists()
    assert "no login" in change(place, [], [ONE], login="nobody-here")
    assert "no home" in change(place, [], [ONE], login="lost")


def test_what_cannot_have_keys(place):
    refused(place, "there is no login", [ONE], login="nobody-here")
    refused(place, "/home/lost", [ONE], login="lost")
    with (place.tree / "etc/master.passwd").open("a") as file:
        file.write("web2:*:999:999::0:0::/home/web:/bin/sh\n")
    refused(place, "account of the system", [ONE], login="web2")


def test_a_file_that_is_too_large_is_left_alone(place):
    have(place, f"{ONE.line}\n" * 4000)
    before = place.file.read_bytes()
    refused(place, "too large", [TWO])
    assert place.file.read_bytes() == before


# Planted by the login itself: links out of its home, and what is no file


@pytest.mark.parametrize("wanted", [[ONE], []])
def test_the_folder_is_a_link(place, wanted):
    target = place.tree / "etc/sshd"
    target.mkdir()
    (target / "authorized_keys").write_text(f"{TWO.marked(ADA)}\n")
    (place.home / ".ssh").symlink_to("/etc/sshd")
    refused(place, ".ssh is a link", wanted, [TWO])
    assert (target / "authorized_keys").read_text() == f"{TWO.marked(ADA)}\n"
    assert os.listdir(target) == ["authorized_keys"]


@pytest.mark.parametrize("target", ["/etc/master.passwd", "/nowhere", "../../../../etc/passwd"])
def test_the_file_is_a_link(place, target):
    passwords = [(place.tree / "etc" / name).read_bytes() for name in ("master.passwd", "passwd")]
    place.file.parent.mkdir()
    place.file.symlink_to(target)
    own(place)
    refused(place, "authorized_keys is a link", [ONE])
    refused(place, "authorized_keys is a link", [], [ONE])
    assert passwords == [(place.tree / "etc" / name).read_bytes() for name in ("master.passwd", "passwd")]
    assert place.file.is_symlink()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_the_file_is_none(place, make):
    if isinstance(place, OnSimulatedHost) and make is os.mkfifo:
        pytest.skip("nobody can make one there")
    place.file.parent.mkdir()
    make(place.file)
    own(place)
    refused(place, "authorized_keys is no file", [ONE])


def test_the_folder_is_a_file(place):
    (place.home / ".ssh").write_text("x")
    refused(place, ".ssh is no folder", [ONE])


def test_a_home_that_is_a_link_gains_nobody_anything(place):
    """The login's own rights are all that writes: where they do not reach, nothing happens."""
    if not isinstance(place, OnDash):
        pytest.skip("the simulated host knows no rights of users")
    place.home.rmdir()
    place.home.symlink_to("/root")
    (place.tree / "root").mkdir(mode=0o755)
    refused(place, "ermission denied", [ONE])
    assert os.listdir(place.tree / "root") == []


def test_the_host_is_out_of_reach(place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    place.home.rmdir()
    place.home.symlink_to(f"../../../../../../../../../..{outside}")
    refused(place, "/home/web", [ONE])
    assert os.listdir(outside) == []


# Logins and sshd


@pytest.fixture
def simulated(tmp_path):
    return OnSimulatedHost(tmp_path)


def test_a_login_is_made_once_and_has_no_password(simulated):
    argv = logins.make("x", "keys-1", "/jail/x", "web", "Made by Cellblock for ada")
    simulated.run(argv)
    row = simulated.host.run("pw", "-R", "/jail/x", "usershow", "web").strip()
    assert row == "web:*:1001:1001::0:0:Made by Cellblock for ada:/home/web:/bin/sh"
    assert "web" in simulated.host.run("pw", "-R", "/jail/x", "groupshow", "wheel")
    before = (simulated.tree / "etc/master.passwd").read_bytes()
    simulated.run(argv)
    assert (simulated.tree / "etc/master.passwd").read_bytes() == before
    assert simulated.host.run("jls", "-h", "name").split()[1:] == []
    simulated.run(logins.change_keys("x", "keys-1", "/jail/x", "web", ADA), logins.wishes(ADA, [ONE], []))
    assert (simulated.tree / "home/web/.ssh/authorized_keys").read_text() == f"{ONE.marked(ADA)}\n"


def test_an_account_of_the_system_gets_no_keys(simulated):
    with (simulated.tree / "etc/master.passwd").open("a") as file:
        file.write("app:*:843:843::0:0:App:/srv:/bin/sh\n")
    with pytest.raises(RuntimeError, match="account of the system"):
        simulated.run(logins.make("x", "keys-1", "/jail/x", "app", ""))


@pytest.mark.parametrize("login", [*sorted(logins.SYSTEM), "", "-n", "a:b", "Web", "a b", "1", "ä"])
def test_logins_that_are_never_taken(login):
    with pytest.raises(ValueError, match="login"):
        logins.make("x", "keys-1", "/jail/x", login, "words")


def test_sshd_in_a_jail_that_runs_and_in_one_that_does_not(simulated):
    simulated.run(logins.enable_sshd("x", "keys-1", "/jail/x"))
    assert 'sshd_enable="YES"' in (simulated.tree / "etc/rc.conf").read_text()
    simulated.host.run("mkdir", "-p", "/jail/x/dev")
    simulated.host.run("jail", "-c", "name=x", "path=/jail/x", "persist", "mount.devfs", "ip4=inherit")
    simulated.run(logins.enable_sshd("x", "keys-1", "/jail/x"))
    assert "sshd" in simulated.host.run("jexec", "x", "service", "sshd", "status")
    again = simulated.run(logins.enable_sshd("x", "keys-1", "/jail/x"))
    assert "Starting" not in again


def test_a_jail_whose_tree_is_not_known_must_run(simulated):
    with pytest.raises(RuntimeError, match="x does not run"):
        simulated.run(logins.enable_sshd("x", "keys-1", ""))
