"""`manage.py jailconf`: the command as people type it, in an environment where nothing is set up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from jails.management import textfiles

ROOT = Path(__file__).parents[2]
RECORDED = json.loads((ROOT / "tests/transcripts/jailconf.json").read_text())

TEXT = """\
# ours
exec.clean;
path = "/jail/$name";

www1 {
    host.hostname = 'www1.example.org';   // öffentlich
    ip4.addr = 192.0.2.10,
               192.0.2.11;
    allow.nomount;
}

db { meta = "x"; depend=www1; }	# one line
"""


def manage(*words, stdin=b"", cwd=None):
    """`manage.py jailconf WORDS` with an empty environment: (status, what it prints, what it complains of) as bytes."""
    argv = [sys.executable, str(ROOT / "manage.py"), "jailconf", *words]
    done = subprocess.run(argv, env={"LC_ALL": "C", "PATH": "/bin"}, input=stdin, capture_output=True, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def show(capsysbinary, *words):
    """The objects of `show --json`; where it fails, they are on standard output before that."""
    try:
        call_command("jailconf", "show", "--json", *words)
    except CommandError as error:
        assert "would not read" in str(error)
    return [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]


def change(*words):
    call_command("jailconf", "set", *words)


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "jail.conf"
    path.write_text(TEXT)
    return path


def test_all_recorded_files_are_shown_as_jail8_read_them(tmp_path):
    names = []
    for case in RECORDED:
        (tmp_path / case["id"]).mkdir()
        (tmp_path / case["id"] / "jail.conf").write_text(case["conf"])
        names.append(f"{case['id']}/jail.conf")
    status, out, _ = manage("show", "--json", *names, cwd=tmp_path)
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [row["file"] for row in rows] == names
    assert [(row["rc"], row["jails"]) for row in rows] == [(case["rc"], case["jails"]) for case in RECORDED]
    for row, case in zip(rows, RECORDED, strict=True):
        assert row.keys() == {"file", "rc", "errors", "jails"}
        said = "".join(f"jail: {error['message']}\n" for error in row["errors"])
        assert said.replace(f"{case['id']}/", "") == case["stderr"]
        assert all(error["file"] == row["file"] and error["line"] and error["column"] for error in row["errors"])


def test_shows_a_listing(conf):
    status, out, _ = manage("show", str(conf))
    assert status == 0
    assert out.decode().splitlines() == [
        f"{conf}: 2 jails",
        "",
        "  www1",
        "    name           www1",
        "    exec.clean",
        "    path           /jail/www1",
        "    host.hostname  www1.example.org",
        "    ip4.addr       192.0.2.10, 192.0.2.11",
        "    allow.nomount",
        "",
        "  db",
        "    name        db",
        "    exec.clean",
        "    path        /jail/db",
        "    meta        x",
        "    depend      www1",
    ]


def test_what_cannot_be_read_is_named_and_the_rest_is_shown(conf):
    status, out, err = manage("show", "--json", "/nosuch", str(conf))
    rows = [json.loads(line) for line in out.splitlines()]
    assert (status, [row["rc"] for row in rows]) == (1, [1, 0])
    assert rows[0]["errors"][0]["message"] == "/nosuch: No such file or directory"
    assert rows[0]["jails"] is None
    assert b"/nosuch" in err
    assert str(conf).encode() not in err


def test_a_faulty_file_is_shown_with_the_place(tmp_path):
    path = tmp_path / "bad.conf"
    path.write_text("a { path = /x; }\n\tb { path /x ä y; }\n")
    status, out, _ = manage("show", str(path))
    assert status == 1
    assert out.decode().splitlines()[2:] == [
        "     1 | a { path = /x; }",
        "     2 | \tb { path /x ä y; }",
        "       | \t            ^",
    ]


def test_reads_standard_input():
    status, out, _ = manage("show", "--json", "-", stdin=b"a { path /x y; }")
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert (status, row["file"]) == (1, "-")
    assert row["errors"][0] == {
        "file": "STDIN",
        "line": 1,
        "column": 13,
        "message": "STDIN line 1: y: syntax error",
        "jail": None,
    }


def test_bytes_that_are_no_utf8_come_through(tmp_path, capsysbinary):
    path = tmp_path / "latin1.conf"
    path.write_bytes(b'j { host.hostname = "b\xfccher"; path = "/jail/\xc3\xbc"; }\n')
    (row,) = show(capsysbinary, str(path))
    assert row["jails"][0]["parameters"][1:] == [
        {"name": "host.hostname", "values": ["b\udcfccher"]},
        {"name": "path", "values": ["/jail/ü"]},
    ]
    assert b"b\\xfccher" in manage("show", str(path))[1]
    change(str(path), "j", "persist", "--write")
    assert path.read_bytes() == b'j { host.hostname = "b\xfccher"; path = "/jail/\xc3\xbc"; persist; }\n'


def test_the_diff_has_the_bytes_of_the_file(tmp_path):
    path = tmp_path / "latin1.conf"
    path.write_bytes(b'j { # b\xfccher\n path = "/x";\n}\n')
    _, out, _ = manage("set", str(path), "j", "path=/y")
    assert b' j { # b\xfccher\n- path = "/x";\n+ path = /y;\n }\n' in out


def test_a_listing_steers_no_terminal(tmp_path):
    path = tmp_path / "hostile.conf"
    path.write_bytes(b'j { host.hostname = "\x1b]0;gotcha\x07"; x = "a\nb"; }\n"\x1b[2J" { }\n')
    _, out, _ = manage("show", str(path))
    assert b"\x1b" not in out
    assert b"\\x1b]0;gotcha\\x07" in out
    assert b'"a\\nb"' in out


class Folder:
    def __init__(self, path):
        self.path = path

    def write(self, **files):
        for name, text in files.items():
            target = self.path / name.replace("__", "/").replace("_", ".")
            target.parent.mkdir(exist_ok=True, parents=True)
            target.write_text(text)
        return str(self.path / "jail.conf")


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_include_is_followed_from_disk(folder, capsysbinary):
    jail_conf = folder.write(
        jail_conf='path = "/jail/$name"; .include "conf.d/*.conf"; .include "one.conf"; last { }',
        conf_d__b_conf="b { }",
        conf_d__a_conf='a { } .include "more/x.conf";',
        conf_d__a_bak="c { }",
        conf_d__more__x_conf="x { }",
        one_conf="one { }",
    )
    (folder.path / "conf.d" / ".hidden.conf").write_text("hidden { }")
    (row,) = show(capsysbinary, jail_conf)
    assert [jail["name"] for jail in row["jails"]] == ["a", "x", "b", "one", "last"]
    (row,) = show(capsysbinary, "--no-include", jail_conf)
    assert [jail["name"] for jail in row["jails"]] == ["last"]
    assert {"name": ".include", "values": ["one.conf"]} in row["jails"][0]["parameters"]


def test_faults_of_included_files_name_them(folder, capsysbinary):
    jail_conf = folder.write(jail_conf='a { }\n  .include "bad.conf";\n', bad_conf="\nb { x = ; }\n")
    (row,) = show(capsysbinary, jail_conf)
    bad = str(folder.path / "bad.conf")
    assert [(error["file"], error["line"], error["column"]) for error in row["errors"]] == [(bad, 2, 9)]
    assert b"     2 | b { x = ; }" in manage("show", jail_conf)[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('.include "nosuch.conf";', "nosuch.conf: No such file or directory"),
        ('.include "sub*";', "subfolder: Is a directory"),
        ('.include "jail.conf";', "maximum include depth exceeded"),
    ],
)
def test_what_cannot_be_included_is_an_error_with_its_place(folder, capsysbinary, text, message):
    (folder.path / "subfolder").mkdir()
    jail_conf = folder.write(jail_conf=f"a {{ }}\n {text}")
    (row,) = show(capsysbinary, jail_conf)
    (error,) = row["errors"]
    assert row["rc"] == 1
    assert error["message"].endswith(message)
    assert (error["line"], error["column"]) == (2, 2)


def test_files_that_include_each_other_without_end_are_an_error(folder, capsysbinary, monkeypatch):
    monkeypatch.setattr(textfiles, "INCLUDED_FILES", 50)
    files = {f"f{n}_conf": f'.include "f{n + 1}.conf"; .include "f{n + 1}.conf";' for n in range(20)}
    (row,) = show(capsysbinary, folder.write(jail_conf='.include "f0.conf";', f20_conf="", **files))
    assert "too much is included" in row["errors"][0]["message"]


def test_a_byte_outside_ascii_that_ends_the_file_is_told(tmp_path):
    path = tmp_path / "jail.conf"
    path.write_text("a { }\n\xa0b { }\n")
    status, out, _ = manage("show", str(path))
    assert status == 0
    assert "takes it for the end of the file (line 2, column 1)" in out.decode()


def test_set_prints_the_diff_and_writes_nothing(conf, capsys):
    change(str(conf), "www1", "ip4.addr=192.0.2.1", "ip4.addr=192.0.2.2", "allow.mount", "host.hostname-", "persist")
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines()[2:] if line[0] in "+-"] == [
        "-    host.hostname = 'www1.example.org';   // öffentlich",
        "-    ip4.addr = 192.0.2.10,",
        "-               192.0.2.11;",
        "-    allow.nomount;",
        "+    // öffentlich",
        "+    ip4.addr = 192.0.2.1, 192.0.2.2;",
        "+    allow.mount;",
        "+    persist;",
    ]
    assert "ip4.addr: needs a restart" in err
    assert conf.read_text() == TEXT
    assert sorted(os.listdir(conf.parent)) == ["jail.conf"]


@pytest.mark.skipif(shutil.which("patch") is None, reason="there is no patch(1) on this machine")
def test_patch_makes_of_the_old_file_what_write_makes(conf, tmp_path):
    _, diff, _ = manage("set", "jail.conf", "db", "meta=", "nopersist", cwd=tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "jail.conf").write_text(TEXT)
    subprocess.run(["patch", "-s", "-p0"], input=diff, cwd=copy, check=True)
    change(str(conf), "db", "meta=", "nopersist", "--write")
    assert (copy / "jail.conf").read_bytes() == conf.read_bytes()
    assert 'db { meta = ""; depend=www1; nopersist; }\t# one line' in conf.read_text()


def test_write_keeps_mode_and_the_last_five(conf):
    conf.chmod(0o640)
    for number in range(7):
        change(str(conf), "db", f"meta=m{number}", "--write")
    assert "meta = m6" in conf.read_text()
    assert conf.stat().st_mode & 0o777 == 0o640
    versions = conf.parent / ".versions"
    assert sorted(os.listdir(versions)) == [f"jail.conf.{number}" for number in range(1, 6)]
    assert [f"meta = m{6 - n};" in (versions / f"jail.conf.{n}").read_text() for n in range(1, 6)] == [True] * 5
    assert {(versions / name).stat().st_mode & 0o777 for name in os.listdir(versions)} == {0o640}
    assert versions.stat().st_mode & 0o777 == 0o700


def test_no_pattern_finds_the_versions(tmp_path, capsysbinary):
    path = tmp_path / "conf.d" / "a.conf"
    path.parent.mkdir()
    path.write_text("a { }\n")
    change(str(path), "a", "persist", "--write")
    jail_conf = tmp_path / "jail.conf"
    jail_conf.write_text('.include "conf.d/*"; .include "conf.d/*/*";')
    capsysbinary.readouterr()
    (row,) = show(capsysbinary, str(jail_conf))
    assert [jail["name"] for jail in row["jails"]] == ["a"]


def test_write_follows_a_link(conf, tmp_path):
    link = tmp_path / "etc" / "jail.conf"
    link.parent.mkdir()
    link.symlink_to("../jail.conf")
    change(str(link), "db", "persist", "--write")
    assert link.is_symlink()
    assert "persist" in conf.read_text()
    assert (tmp_path / ".versions" / "jail.conf.1").read_text() == TEXT
    assert not (link.parent / ".versions").exists()


def test_write_refuses_a_file_that_has_changed_meanwhile(conf, monkeypatch):
    read = textfiles.read

    def read_and_meddle(name):
        file = read(name)
        conf.write_text(TEXT + "# by hand\n")
        return file

    monkeypatch.setattr(textfiles, "read", read_and_meddle)
    with pytest.raises(CommandError, match="has changed since it was read"):
        change(str(conf), "db", "persist", "--write")
    assert conf.read_text() == TEXT + "# by hand\n"
    assert not os.listdir(conf.parent / ".versions")


def test_a_change_at_the_last_moment_is_not_lost(conf, monkeypatch):
    keep = textfiles._keep

    def keep_and_meddle(*args):
        conf.write_text("changed { }\n")
        return keep(*args)

    monkeypatch.setattr(textfiles, "_keep", keep_and_meddle)
    with pytest.raises(CommandError, match="has changed since it was read"):
        change(str(conf), "db", "persist", "--write")
    assert conf.read_text() == "changed { }\n"
    assert sorted(os.listdir(conf.parent)) == [".versions", "jail.conf"]


def test_a_write_that_fails_leaves_everything(conf, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="No space left on device; nothing was written"):
        change(str(conf), "db", "persist", "--write")
    assert conf.read_text() == TEXT
    assert sorted(os.listdir(conf.parent)) == [".versions", "jail.conf"]
    assert not os.listdir(conf.parent / ".versions")


def test_nothing_is_written_where_nothing_changes(conf, capsys):
    change(str(conf), "db", "depend=www1", "--write")
    assert "nothing changes" in capsys.readouterr().err
    assert sorted(os.listdir(conf.parent)) == ["jail.conf"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["db", "depnd=x"], "depnd: is not a parameter of jail"),
        (["db", "securelevel=high"], "securelevel: is “high”"),
        (["db", "persist=x"], "persist: is on or off"),
        (["db", "path"], "path: needs a value"),
        (["db", "persist", "nopersist"], "given twice"),
        (["db", "allow.mount=true", "allow.nomount"], "given twice"),
        (["db", "meta=x", "meta-"], "given twice"),
        (["db", "persist", "persist"], "given twice"),
        (["db", "exec.start+=x"], "give all values"),
        (["db", "path-"], "does not set path"),
        (["nosuch", "persist"], "Its jails: www1, db"),
        (["*", "persist"], "many jails"),
        (["db", "$v=1", "--force"], "is not a parameter's name"),
        (["db", "meta=a\nb", "--force"], "newline"),
        (["db", "meta=\udcff", "--force"], "control character"),
    ],
)
def test_set_refuses(conf, words, message):
    with pytest.raises(CommandError, match=message):
        change(str(conf), *words, "--write")
    assert conf.read_text() == TEXT
    assert sorted(os.listdir(conf.parent)) == ["jail.conf"]


def test_force_takes_what_is_not_known(conf, capsys):
    change(str(conf), "db", "allow.teleport", "--write", "--force")
    assert "allow.teleport;" in conf.read_text()
    assert "Taken all the same" in capsys.readouterr().err


def test_a_dollar_sign_is_one(conf, capsysbinary):
    change(str(conf), "db", "meta=$name", "--write")
    capsysbinary.readouterr()
    (row,) = show(capsysbinary, str(conf))
    assert {"name": "meta", "values": ["$name"]} in row["jails"][1]["parameters"]


def test_a_file_it_does_not_understand_is_shown_and_not_touched(tmp_path):
    path = tmp_path / "bad.conf"
    path.write_text("a { }\n" * 20 + "b { path /x y; }\n")
    status, out, err = manage("set", str(path), "a", "persist", "--write", "--force")
    assert (status, out) == (1, b"")
    assert "    21 | b { path /x y; }\n       |             ^\n" in err.decode()
    assert b"     1 |" not in err
    assert b"nothing was done" in err
    assert sorted(os.listdir(tmp_path)) == ["bad.conf"]


def test_standard_input_is_changed_but_not_written():
    status, out, _ = manage("set", "-", "a", "persist", stdin=b"a { }")
    assert status == 0
    assert out.decode().splitlines() == [
        "--- STDIN.orig",
        "+++ STDIN",
        "@@ -1 +1 @@",
        "-a { }",
        "\\ No newline at end of file",
        "+a { persist; }",
        "\\ No newline at end of file",
    ]
    assert manage("set", "-", "a", "persist", "--write", stdin=b"a { }")[0] == 1


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["set", "--help"]])
def test_help(words):
    status, out, _ = manage(*words)
    assert status == 0
    assert b"jail" in out
