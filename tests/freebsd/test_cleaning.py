import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jails.freebsd import cleaning
from tests.hosts.simulation import with_tree

SECRETS = {
    "etc/ssh/ssh_host_ed25519_key": "ssh host key: /etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub": "ssh host key: /etc/ssh/ssh_host_ed25519_key.pub",
    "etc/hostid": "host id: /etc/hostid",
    "etc/machine-id": "host id: /etc/machine-id",
    "boot/entropy": "entropy: /boot/entropy",
    "var/db/entropy/saved-entropy.1": "entropy: /var/db/entropy/saved-entropy.1",
    "var/db/dhclient.leases.em0": "lease: /var/db/dhclient.leases.em0",
}
PERSONAL = {
    "root/.ssh/authorized_keys": "authorized keys: /root/.ssh/authorized_keys",
    "root/.sh_history": "shell history: /root/.sh_history",
    "home/ada/.ssh/authorized_keys": "authorized keys: /home/ada/.ssh/authorized_keys",
    "home/ada/.ssh/id_ed25519": "ssh key: /home/ada/.ssh/id_ed25519",
    "srv/bob/.bash_history": "shell history: /srv/bob/.bash_history",
    "srv/bob/.netrc": "stored password: /srv/bob/.netrc",
    "var/mail/bob": "mail: /var/mail/bob",
    "var/log/auth.log": "log: /var/log/auth.log",
    "var/log/messages.0.bz2": "log: /var/log/messages.0.bz2",
    "var/log/app/two words.log": "log: /var/log/app/two words.log",
    "var/backups/master.passwd.bak": "password hash: /var/backups/master.passwd.bak",
    "tmp/.X11": "temporary file: /tmp/.X11",
    "var/tmp/vi.recover": "temporary file: /var/tmp/vi.recover",
}
USERS = {"root": "", "ada": "$6$salt$hash", "shut": "*LOCKED*$6$salt$hash", "daemon": "*"}
OF_USERS = [f"password hash: {name}" for name in ("root", "ada", "shut")]
KEPT = ("etc/ssh/sshd_config", "root/.profile", "home/ada/work", "var/log/empty.log", "usr/local/etc/app.conf")


def fill(tree: Path) -> None:
    for path in (*SECRETS, *PERSONAL, *KEPT):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text("" if path.endswith("empty.log") else "secret\n")
    lines = [f"{name}:{hash_}:1001:1001::0:0:{name}:/home/{name}:/bin/sh" for name, hash_ in USERS.items()]
    lines[0] = "root::0:0::0:0:Charlie &:/root:/bin/sh"
    (tree / "etc/master.passwd").write_text("# $FreeBSD$\n" + "\n".join(lines) + "\n")
    (tree / "etc/passwd").write_text("root:*:0:0:Charlie &:/root:/bin/sh\nbob:*:1002:1002:Bob:/srv/bob:/bin/sh\n")


class OnSimulatedHost:
    """In a transient jail of the simulated host, with its sh and tools."""

    def __init__(self, folder: Path) -> None:
        self.host, self.tree = with_tree(folder)
        for key in self.tree.glob("etc/ssh/ssh_host_*"):  # the host's own, which the tests do not count on
            key.unlink()

    def run(self, action: str, extent: str) -> subprocess.CompletedProcess[str]:
        from jails.freebsd.jail import run_transient

        argv = run_transient("clean", "/jail/x", cleaning.command(action, extent))
        try:
            return subprocess.CompletedProcess(argv, 0, self.host.run(*argv), "")
        except RuntimeError as error:
            return subprocess.CompletedProcess(argv, 1, "", str(error))


class OnDash:
    """In a chroot with a real sh and real tools, which is near to FreeBSD's."""

    PW = """#!/bin/dash
case $1 in
usermod) new="*"; user=$3 ;;
lock) new="*LOCKED**"; user=$2 ;;
esac
while IFS= read -r line; do
    case $line in
    "$user":*) rest=${line#*:}; printf '%s:%s:%s\\n' "$user" "$new" "${rest#*:}" ;;
    *) printf '%s\\n' "$line" ;;
    esac
done </etc/master.passwd >/etc/new
mv /etc/new /etc/master.passwd
"""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        (self.tree / "bin").mkdir(parents=True)
        (self.tree / "usr/bin").mkdir(parents=True)
        for tool in ("dash", "rm", "mv", "truncate"):
            self.copy(shutil.which(tool) or tool, self.tree / "bin" / tool)
        (self.tree / "bin/sh").symlink_to("dash")
        (self.tree / "bin/pw").write_text(self.PW)
        (self.tree / "bin/pw").chmod(0o755)

    def copy(self, source: str, target: Path) -> None:
        shutil.copy(source, target)
        for library in re.findall(
            r"(/\S+) \(0x", subprocess.run(["ldd", source], capture_output=True, text=True).stdout
        ):
            place = self.tree / library[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)

    def run(self, action: str, extent: str) -> subprocess.CompletedProcess[str]:
        words = ["/usr/sbin/chroot", str(self.tree), *cleaning.command(action, extent)]
        return subprocess.run(words, capture_output=True, text=True, env={})


@pytest.fixture(params=[OnSimulatedHost, OnDash])
def place(request, tmp_path):
    if request.param is OnDash and os.geteuid():
        pytest.skip("chroot(2) is for root")
    found = request.param(tmp_path)
    fill(found.tree)
    return found


def lines_of(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_identity_alone(place):
    assert set(lines_of(place.run("list", "identity"))) == set(SECRETS.values())
    assert set(lines_of(place.run("remove", "identity"))) == set(SECRETS.values())
    assert not [path for path in SECRETS if (place.tree / path).exists()]
    assert all((place.tree / path).exists() for path in (*PERSONAL, *KEPT))
    assert lines_of(place.run("list", "identity")) == []


def test_everything(place):
    expected = {*SECRETS.values(), *PERSONAL.values(), *OF_USERS}
    assert set(lines_of(place.run("list", "everything"))) == expected
    assert all((place.tree / path).exists() for path in (*SECRETS, *PERSONAL, *KEPT))
    assert set(lines_of(place.run("remove", "everything"))) == expected
    left = [path for path in (*SECRETS, *PERSONAL) if (place.tree / path).exists()]
    assert left == ["var/log/auth.log", "var/log/app/two words.log"]
    assert [(place.tree / path).read_text() for path in left] == ["", ""]
    assert all((place.tree / path).exists() for path in KEPT)
    hashes = dict(line.split(":")[:2] for line in (place.tree / "etc/master.passwd").read_text().splitlines()[-4:])
    assert hashes == {"root": "*", "ada": "*", "shut": "*LOCKED**", "daemon": "*"}
    assert lines_of(place.run("list", "everything")) == []


def test_names_with_newlines_blanks_and_options_are_cleaned_too(place):
    for path in ("tmp/-rf", "tmp/two\nlines", "tmp/ leading", "var/log/a\nb.log", "var/log/trailing .log "):
        (place.tree / path).parent.mkdir(parents=True, exist_ok=True)
        (place.tree / path).write_text("x\n")
    place.run("remove", "everything")
    assert os.listdir(place.tree / "tmp") == []
    assert lines_of(place.run("list", "everything")) == []


def test_links_lead_nowhere_out_of_the_tree(place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ssh_host_rsa_key").write_text("the host's\n")
    (outside / "messages").write_text("the host's\n")
    shutil.rmtree(place.tree / "etc/ssh")
    shutil.rmtree(place.tree / "var/log")
    (place.tree / "etc/ssh").symlink_to(outside)
    (place.tree / "var/log").symlink_to(f"../../../../../../../../../../..{outside}")
    (place.tree / "tmp/up").symlink_to(outside)
    lines_of(place.run("remove", "everything"))
    assert sorted(os.listdir(outside)) == ["messages", "ssh_host_rsa_key"]
    assert {path.read_text() for path in outside.iterdir()} == {"the host's\n"}
    assert not (place.tree / "tmp/up").is_symlink()


def test_what_cannot_be_cleaned_is_said(place):
    (place.tree / "bin/rm").unlink()
    result = place.run("remove", "identity")
    assert result.returncode != 0 and "could not be cleaned: ssh host key: /etc/ssh/" in result.stderr


def test_only_fixed_words_reach_the_script():
    with pytest.raises(ValueError, match="cleaning"):
        cleaning.command("list", "identity; rm -rf /")
    with pytest.raises(ValueError, match="cleaning"):
        cleaning.command("purge", "identity")


def test_a_tree_that_lies_is_not_believed():
    lies = [
        "log: /var/log/a",
        "log: /var/log/a",
        "host id: /etc/hostid",
        "<b>: /x",
        "log: \x1b[2J",
        "log: /\u202egol",
        f"log: /{'x' * 400}",
        "nothing",
        "log:",
    ]
    found = cleaning.parse("\n".join(lies))
    assert found == (("host id", "/etc/hostid"), ("log", "/var/log/a"))
    assert len(cleaning.parse("\n".join(f"log: /{n}" for n in range(9999)))) == cleaning.MOST
