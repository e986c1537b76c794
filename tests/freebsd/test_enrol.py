"""The lines that an administrator pastes, run by both of FreeBSD's login shells with stand-ins for its tools."""

import shutil
import stat
import subprocess

import pytest

from jails.freebsd import enrol
from tests.panel.hostile import HOSTILE

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG5vdCBhIHJlYWwga2V5LCBidXQgb2YgaXRzIHNpemU= cellblock@panel.example.org"
DOAS, SUDO = ("doas", "-n"), ("sudo", "-n")
SHELLS = [name for name in ("sh", "csh") if shutil.which(name)]
ADMINISTRATORS_CONFIG = "# ours\nPermitRootLogin no\nMatch User git\n  X11Forwarding no\n"


@pytest.fixture(params=SHELLS)
def machine(request, tmp_path):
    return Machine(tmp_path, request.param)


class Machine:
    """A folder that stands for /, and tools that note how they were called."""

    def __init__(self, folder, shell):
        self.folder, self.shell = folder, shell
        for path in ("root", "home/cellblock", "etc/ssh", "usr/local/etc/sudoers.d", "bin"):
            (folder / path).mkdir(parents=True)
        self.write("etc/ssh/sshd_config", ADMINISTRATORS_CONFIG)
        for name in ("pw", "pkg", "chown", "doas", "visudo", "service", "su", "sshd"):
            self.tool(name)

    def tool(self, name, text=""):
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.folder}/log\n{text}\n')
        path.chmod(0o755)

    def lets_root_in(self, value):
        self.tool("sshd", f'case "$1" in -T) echo port 22; echo permitrootlogin {value};; esac')

    def read(self, path):
        return (self.folder / path).read_text()

    def write(self, path, text):
        (self.folder / path).write_text(text)

    @property
    def log(self):
        return self.read("log").splitlines() if (self.folder / "log").exists() else []

    def paste(self, blocks):
        text = "\n".join(block.text for block in blocks) + "\n"
        for path in ("/root", "/etc/ssh", "/usr/local/etc"):
            text = text.replace(path, f"{self.folder}{path}")
        text = text.replace("~cellblock", f"{self.folder}/home/cellblock")
        options = ["-f"] if self.shell == "csh" else []
        environment = {"PATH": f"{self.folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder)}
        done = subprocess.run([self.shell, *options], input=text, env=environment, capture_output=True, text=True)
        assert done.stderr == ""
        return done.returncode

    def mode(self, path):
        return stat.S_IMODE((self.folder / path).stat().st_mode)


def keys_of(text):
    return [line for line in text.splitlines() if line]


class TestRoot:
    @pytest.mark.parametrize("there", ["", "ssh-rsa AAAA ops\n", "ssh-rsa AAAA ops"])
    def test_the_key_is_let_in_beside_those_that_are_there(self, machine, there):
        (machine.folder / "root/.ssh").mkdir(mode=0o755)
        machine.write("root/.ssh/authorized_keys", there)
        machine.paste(enrol.blocks("root", KEY))
        assert keys_of(machine.read("root/.ssh/authorized_keys")) == [*keys_of(there), f"restrict {KEY}"]
        assert machine.mode("root/.ssh/authorized_keys") == 0o600

    def test_the_folder_is_made(self, machine):
        machine.paste(enrol.blocks("root", KEY))
        assert machine.mode("root/.ssh") == 0o700

    @pytest.mark.parametrize("value", ["no", "forced-commands-only"])
    def test_sshd_is_told_before_any_match_block_and_tested(self, machine, value):
        machine.lets_root_in(value)
        machine.paste(enrol.blocks("root", KEY))
        assert machine.read("etc/ssh/sshd_config") == "PermitRootLogin prohibit-password\n" + ADMINISTRATORS_CONFIG
        assert machine.read("etc/ssh/sshd_config.before-cellblock") == ADMINISTRATORS_CONFIG
        assert machine.log[-2:] == ["sshd -t", "service sshd reload"]

    @pytest.mark.parametrize("value", ["yes", "prohibit-password", "without-password"])
    def test_where_root_may_sign_in_the_file_stays(self, machine, value):
        machine.lets_root_in(value)
        machine.paste(enrol.blocks("root", KEY))
        assert machine.read("etc/ssh/sshd_config") == ADMINISTRATORS_CONFIG
        assert not (machine.folder / "etc/ssh/sshd_config.before-cellblock").exists()

    def test_nothing_is_reloaded_that_sshd_refuses(self, machine):
        machine.tool("sshd", "exit 255")
        machine.paste(enrol.blocks("root", KEY))
        assert machine.read("etc/ssh/sshd_config") == ADMINISTRATORS_CONFIG
        assert "service sshd reload" not in machine.log

    def test_pasted_twice_it_is_as_pasted_once(self, machine):
        machine.lets_root_in("no")
        machine.paste(enrol.blocks("root", KEY))
        machine.lets_root_in("prohibit-password")
        machine.paste(enrol.blocks("root", KEY))
        assert machine.read("etc/ssh/sshd_config").count("PermitRootLogin prohibit-password") == 1
        assert machine.read("etc/ssh/sshd_config.before-cellblock") == ADMINISTRATORS_CONFIG
        assert set(keys_of(machine.read("root/.ssh/authorized_keys"))) == {f"restrict {KEY}"}


class TestOwnUser:
    def test_it_is_made_without_a_password_and_has_the_key(self, machine):
        machine.paste(enrol.blocks("cellblock", KEY, become=DOAS))
        assert machine.log[0] == "pw useradd cellblock -c Cellblock -m -s /bin/sh -h -"
        assert f"chown -R cellblock {machine.folder}/home/cellblock/.ssh" in machine.log
        assert keys_of(machine.read("home/cellblock/.ssh/authorized_keys")) == [f"restrict {KEY}"]

    def test_one_that_is_there_already_is_used(self, machine):
        machine.tool("pw", "exit 65")
        machine.paste(enrol.blocks("cellblock", KEY, become=DOAS))
        assert keys_of(machine.read("home/cellblock/.ssh/authorized_keys")) == [f"restrict {KEY}"]

    def test_doas(self, machine):
        machine.write("usr/local/etc/doas.conf", "deny www as root")
        assert machine.paste(enrol.blocks("cellblock", KEY, become=DOAS)) == 0
        rules = keys_of(machine.read("usr/local/etc/doas.conf"))
        assert rules == ["deny www as root", "permit nopass cellblock as root"]
        assert not machine.mode("usr/local/etc/doas.conf") & 0o022
        assert machine.log[-3:] == [
            "pkg install -y doas",
            f"doas -C {machine.folder}/usr/local/etc/doas.conf",
            "su - cellblock -c doas -n id -u",
        ]

    def test_sudo(self, machine):
        assert machine.paste(enrol.blocks("cellblock", KEY, become=SUDO)) == 0
        path = "usr/local/etc/sudoers.d/cellblock"
        assert machine.read(path) == "cellblock ALL=(root) NOPASSWD: ALL\n"
        assert machine.mode(path) == 0o440
        assert machine.log[-3:] == ["pkg install -y sudo", "visudo -c", "su - cellblock -c sudo -n id -u"]

    def test_what_the_site_has_set_up_is_only_proved(self, machine):
        assert enrol.becoming_root("ops", ("mdo", "-u", "root")).lines == ("su - ops -c 'mdo -u root id -u'",)

    def test_sshd_is_left_alone(self, machine):
        machine.paste(enrol.blocks("cellblock", KEY, become=SUDO))
        assert machine.read("etc/ssh/sshd_config") == ADMINISTRATORS_CONFIG

    def test_no_words_no_root(self):
        with pytest.raises(ValueError, match="become"):
            enrol.blocks("cellblock", KEY)


class TestKeyLine:
    @pytest.mark.parametrize(
        ("source", "options"),
        [
            ("", "restrict"),
            ("192.0.2.10", 'restrict,from="192.0.2.10"'),
            ("192.0.2.0/24", 'restrict,from="192.0.2.0/24"'),
            ("2001:DB8::1", 'restrict,from="2001:db8::1"'),
        ],
    )
    def test_options(self, source, options):
        assert enrol.authorized_key(KEY + "\n", source) == f"{options} {KEY}"

    def test_without_a_comment(self):
        assert enrol.authorized_key(KEY.rpartition(" ")[0]) == f"restrict {KEY.rpartition(' ')[0]}"

    @pytest.mark.parametrize("source", [*HOSTILE.values(), "192.0.2.300", "192.0.2.1/24", "host", '1.2.3.4"', "*"])
    def test_hostile_sources(self, source):
        if not source:
            return
        assert enrol.source_error(source)
        with pytest.raises(ValueError, match="source"):
            enrol.authorized_key(KEY, source)

    @pytest.mark.parametrize(
        "key",
        [*HOSTILE.values(), "", KEY + " x", KEY + "'; reboot; '", f"{KEY}\n{KEY}", f'command="x" {KEY}', "ssh-x A"],
    )
    def test_hostile_keys(self, key):
        with pytest.raises(ValueError, match="public_key"):
            enrol.authorized_key(key)


@pytest.mark.parametrize("name", [*HOSTILE.values(), "", "-ops", "Ops", "a b", "a.b", "a$", "9lives", "x" * 33])
@pytest.mark.parametrize("become", [DOAS, SUDO, ("mdo",)])
def test_user_names_that_pw_would_refuse_or_a_shell_would_read(name, become):
    with pytest.raises(ValueError, match="username"):
        enrol.blocks(name, KEY, become=become)
    with pytest.raises(ValueError, match="username"):
        enrol.becoming_root(name, become)


@pytest.mark.parametrize("become", [(), DOAS, SUDO])
def test_nothing_in_a_line_is_one_shells_own(become):
    for block in enrol.blocks("cellblock" if become else "root", KEY, become=become, source="192.0.2.1"):
        for line in block.lines:
            assert not set("!`;{}*?[]") & set(line), line
            # A variable, or csh's history; `~cellblock` both know.
            assert "$" not in line and "\n" not in line
