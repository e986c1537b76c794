"""tar(1): packing, unpacking and what goes wrong with either."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from .machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "host", directories=["/s", "/d"])
    text = """
        mkdir -p /s/sub/deep /s/empty
        echo one > /s/one; echo deep > /s/sub/deep/file; printf '' > /s/sub/none
        chmod 751 /s/sub; chmod 4555 /s/one; chown 80:1001 /s/sub/deep/file
        ln -s ../one /s/sub/up; ln -s /etc/passwd /s/abroad
        touch -t 202001020304.05 /s/one
        chflags schg /s/one
    """
    assert machine.run("sh", "-ec", text) == (0, "", "")
    return machine


def listed(machine: Machine, where: str) -> str:
    return machine.run("sh", "-c", f"cd {where} && find . | sort | xargs stat -f '%N %Sp %u:%g %Sf %Y'").out


def archive(*members: tuple[str, str, str]) -> bytes:
    """Of (name, type, content or where a link leads)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}[kind]
            if kind == "f":
                member.size = len(content)
            else:
                member.linkname = content
            packed.addfile(member, io.BytesIO(content.encode()) if kind == "f" else None)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["tar", "txz", "tgz", "tar.bz2"])
def test_there_and_back(machine: Machine, suffix: str) -> None:
    made = machine.run("tar", "-a", "-cf", f"/tmp/a.{suffix}", "-C", "/s", ".")
    assert made == (0, "", "")
    assert machine.run("tar", "--numeric-owner", "-xpf", f"/tmp/a.{suffix}", "-C", "/d") == (0, "", "")
    assert listed(machine, "/d") == listed(machine, "/s")
    assert "./one -r-sr-xr-x 0:0 schg" in listed(machine, "/d")
    assert machine.run("stat", "-f", "%m", "/d/one").out == machine.run("stat", "-f", "%m", "/s/one").out
    assert machine.run("cat", "/d/sub/deep/file", "/d/sub/up").out == "deep\none\n"


def test_through_a_pipe(machine: Machine) -> None:
    assert machine.run("sh", "-c", "tar -cf - -C /s sub one | tar -xf - -C /d") == (0, "", "")
    assert machine.run("ls", "/d").out == "one\nsub\n"
    assert machine.run("sh", "-c", "tar cf - /s/one | tar tf -").out == "s/one\n"


def test_what_is_in_it(machine: Machine) -> None:
    machine.run("tar", "-cf", "/tmp/a.tar", "-C", "/s", ".")
    names = set(machine.run("tar", "-tf", "/tmp/a.tar").out.split())
    assert {"./", "./one", "./sub/", "./sub/deep/", "./sub/deep/file", "./empty/", "./abroad"} <= names
    assert machine.run("tar", "-tf", "/tmp/a.tar", "./sub/deep").out == "./sub/deep/\n./sub/deep/file\n"


@pytest.mark.parametrize("pattern", ["./sub", "sub", "s*b"])
def test_what_is_left_out(machine: Machine, pattern: str) -> None:
    machine.run("tar", "--exclude", pattern, "-cf", "/tmp/a.tar", "-C", "/s", ".")
    assert "sub" not in machine.run("tar", "-tf", "/tmp/a.tar").out


def test_another_file_system_is_left_out(machine: Machine) -> None:
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/s/empty")
    machine.run("touch", "/s/empty/inside")
    machine.run("tar", "--one-file-system", "-cf", "/tmp/a.tar", "-C", "/s", ".")
    assert "inside" not in machine.run("tar", "-tf", "/tmp/a.tar").out
    machine.run("tar", "-cf", "/tmp/a.tar", "-C", "/s", ".")
    assert "./empty/inside" in machine.run("tar", "-tf", "/tmp/a.tar").out


def test_a_file_is_not_made_anew_where_it_must_not_change(machine: Machine) -> None:
    machine.run("sh", "-c", "tar -cf /tmp/a.tar -C /s one; echo mine > /d/one; chflags schg /d/one")
    outcome = machine.run("tar", "-xf", "/tmp/a.tar", "-C", "/d")
    assert outcome.rc == 1
    assert outcome.err.startswith("one: Can't ") and "Error exit delayed from previous errors" in outcome.err
    assert machine.run("cat", "/d/one").out == "mine\n"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../out", "f", "x")], "../out: Path contains '..'\n"),
        ([("a/../../out", "f", "x")], "a/../../out: Path contains '..'\n"),
        ([("etc", "l", "/etc"), ("etc/out", "f", "x")], "etc/out: Cannot extract through symlink etc\n"),
        ([("up", "l", ".."), ("up/out", "f", "x")], "up/out: Cannot extract through symlink up\n"),
    ],
)
def test_no_member_leaves_the_directory(machine: Machine, members: list[tuple[str, str, str]], words: str) -> None:
    outcome = machine.run("tar", "-xf", "-", "-C", "/d", stdin=archive(*members))
    assert outcome == (1, "", words + "tar: Error exit delayed from previous errors.\n")
    assert not any(machine.exists(path) for path in ("/out", "/etc/out", "/d/../out"))


def test_a_leading_slash_is_dropped(machine: Machine) -> None:
    machine.run("tar", "-xf", "-", "-C", "/d", stdin=archive(("/etc/x", "f", "in")))
    assert machine.run("cat", "/d/etc/x").out == "in"
    assert not machine.exists("/etc/x")


def test_links_are_kept_as_links(machine: Machine) -> None:
    members = [("a", "f", "text"), ("hard", "h", "a"), ("soft", "l", "/nosuch")]
    assert machine.run("tar", "-xf", "-", "-C", "/d", stdin=archive(*members)).rc == 0
    assert machine.run("stat", "-f", "%l", "/d/a", "/d/hard").out == "2\n2\n"
    assert machine.run("readlink", "/d/soft").out == "/nosuch\n"


def test_followed_links_with_L(machine: Machine) -> None:
    assert machine.run("tar", "-c", "-L", "-f", "/tmp/a.tar", "-C", "/s", "abroad").rc == 0
    assert machine.run("sh", "-c", "tar -xf /tmp/a.tar -C /d && cmp /d/abroad /etc/passwd").rc == 0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["tar", "txz", "tgz"])
def test_an_archive_that_ends_early(machine: Machine, suffix: str, share: float) -> None:
    machine.host.path("/s/sub/noise").write_bytes(bytes(range(256)) * 3000)
    machine.run("tar", "-a", "-cf", f"/tmp/a.{suffix}", "-C", "/s", ".")
    file = machine.host.path(f"/tmp/a.{suffix}")
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    outcome = machine.run("tar", "-xf", f"/tmp/a.{suffix}", "-C", "/d")
    assert outcome.rc == 1 and outcome.err.startswith("tar: ")


def test_no_archive(machine: Machine) -> None:
    assert (
        machine.run("tar", "-xf", "/tmp/none.tar").err == "tar: Error opening archive: Failed to open '/tmp/none.tar'\n"
    )
    unknown = machine.run("tar", "-tf", "-", stdin=b"this is no archive at all\n" * 40)
    assert unknown == (1, "", "tar: Error opening archive: Unrecognized archive format\n")
    assert machine.run("tar", "-xf", "/tmp/x", "-C", "/nosuch").err == "tar: could not chdir to '/nosuch'\n"
    assert machine.run("tar", "-f", "/tmp/x").err.startswith("tar: Must specify one of -c, -r, -t, -u, -x")
    assert machine.run("tar", "-cf", "/tmp/x").err == "tar: no files or directories specified\n"
    missing = machine.run("tar", "-cf", "/tmp/x", "-C", "/s", "nosuch", "one")
    assert missing.rc == 1
    assert missing.err == (
        "tar: nosuch: Cannot stat: No such file or directory\ntar: Error exit delayed from previous errors.\n"
    )
    assert machine.run("tar", "-tf", "/tmp/x").out == "one\n"


def test_a_full_file_system(machine: Machine) -> None:
    machine.host.path("/s/sub/noise").write_bytes(b"x" * 3_000_000)
    machine.zfs("create -o quota=1M -o mountpoint=/d/q tank/q")
    outcome = machine.run("sh", "-c", "tar -cf - -C /s sub | tar -xf - -C /d/q")
    assert outcome.rc == 1 and "sub/noise: " in outcome.err


def test_in_a_jail_it_stays_there(machine: Machine) -> None:
    machine.run(
        "sh", "-c", "mkdir -p /d/j && cp -R /bin /usr /lib /libexec /etc /d/j/ && mkdir /d/j/out && ln -s / /d/j/root"
    )
    machine.run("jail", "-c", "name=j", "path=/d/j", "persist")
    packed = archive(("x", "f", "inside"))
    assert machine.run("jexec", "j", "tar", "-xf", "-", "-C", "/root/out", stdin=packed).rc == 0
    assert machine.run("cat", "/d/j/out/x").out == "inside"
    assert machine.run("jexec", "j", "tar", "-xf", "-", "-C", "/../..", stdin=packed).rc == 0
    assert machine.run("cat", "/d/j/x").out == "inside" and not machine.exists("/x")
