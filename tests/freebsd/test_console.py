import subprocess

import pytest

from jails.freebsd import console, sh

TOKENS = console.Tokens("0123456789abcdef" * 2, "fedcba9876543210" * 2)


def test_what_varies_is_a_parameter():
    words = console.terminal(7, "www", TOKENS, columns=80, rows=24)
    assert words[:2] == ("sh", "-c")
    assert words[3:10] == ("sh", "7", "www", TOKENS.mark, TOKENS.secret, "80", "24")
    script = words[2]
    assert "www" not in script and TOKENS.mark not in script and TOKENS.secret not in script
    assert 'jexec -l -U "$user" "$jid" script -q /dev/null sh -c "$inner"' in script


def test_the_jail_never_hears_the_secret():
    words = console.terminal(7, "root", TOKENS, columns=80, rows=24)
    inside = words[2].partition("jexec ")[2].partition("\n")[0]
    assert "$secret" not in inside and "$secret" not in words[-1]


@pytest.mark.parametrize("script", console.terminal(7, "root", TOKENS, columns=80, rows=24)[2::9], ids=["host", "jail"])
def test_the_scripts_are_whole(script):
    """The host's and the jail's, read by a real sh."""
    assert subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True).stderr == ""


def test_a_session_is_killed_before_what_it_is_found_by():
    script = console.terminal(7, "root", TOKENS, columns=80, rows=24)[2]
    end = script.partition("end() {")[2].partition("}")[0]
    assert 0 < end.index("finish HUP") < end.index("finish KILL") < end.index("pkill -KILL")


def test_no_session_of_the_host_is_killed():
    script = console.terminal(7, "root", TOKENS, columns=80, rows=24)[2]
    kills = [line.split() for line in script.splitlines() if "pkill" in line and "#" not in line]
    assert [words[words.index("-j") + 1] for words in kills] == ["any", '"$jid"']


def test_it_fits_through_ssh():
    words = console.terminal(123456, "a" * 32, TOKENS, columns=500, rows=500)
    assert len(sh.remote_string(("doas", *words))) < 10_000


def test_one_line():
    assert console.line(7, "root", seconds=20) == (
        "timeout", "-k", "3", "20", "jexec", "-l", "-U", "root", "7", "sh", "-c", 'exec 2>&1; eval "$(cat)"',
    )  # fmt: skip


def test_a_new_size():
    words = console.resize(7, "www", "pts/3", columns=132, rows=43)
    assert words == ("jexec", "-l", "-U", "www", "7", "stty", "-f", "/dev/pts/3", "rows", "43", "columns", "132")


@pytest.mark.parametrize("tty", ["", "pts/", "../etc/passwd", "pts/3 /etc/passwd", "ttyv0", "pts/../../x", "pts/3\n"])
def test_a_terminal_that_is_none(tty):
    with pytest.raises(ValueError, match="tty"):
        console.resize(7, "www", tty, columns=80, rows=24)


@pytest.mark.parametrize("user", ["", "-l", "root;id", "a b", "Root", "x" * 33, "ro\0ot"])
def test_a_user_that_is_none(user):
    for make in (
        lambda: console.terminal(7, user, TOKENS, columns=80, rows=24),
        lambda: console.line(7, user, seconds=1),
    ):
        with pytest.raises(ValueError, match="user"):
            make()


@pytest.mark.parametrize("jid", [0, -1, True, "7"])
def test_a_jid_that_is_none(jid):
    with pytest.raises(ValueError, match="jid"):
        console.line(jid, "root", seconds=1)


@pytest.mark.parametrize("token", ["", "x" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n"])
def test_tokens_are_hexadecimal(token):
    with pytest.raises(ValueError, match="token"):
        console.Tokens(token, "0" * 32)


def test_sizes_are_kept_within_what_terminals_have():
    assert [console.size_of(number) for number in (-5, 0, 24, 9999)] == [2, 2, 24, 500]
    for wrong in ("24", None, True, 24.5):
        with pytest.raises(ValueError, match="size"):
            console.size_of(wrong)


def test_what_is_told():
    mark, secret = TOKENS.mark, TOKENS.secret
    assert console.told(b"", TOKENS) == ("", None)
    assert console.told(f"motd\ntty {mark} /dev/pts/3\n".encode(), TOKENS) == ("pts/3", None)
    assert console.told(f"tty {mark} /dev/pts/3\nend {secret} 2\n".encode(), TOKENS) == ("pts/3", 2)


def test_what_the_jail_makes_up_means_nothing():
    mark = TOKENS.mark
    for text in (
        f"tty {mark} /dev/../etc/passwd",
        f"tty {mark} not a tty",
        f"end {mark} 0",
        f"tty {'0' * 32} /dev/pts/3",
        "end  0",
    ):
        assert console.told(text.encode() + b"\n\xff\n", TOKENS) == ("", None)
    assert console.told(f"tty {mark} /dev/pts/3\ntty {mark} /dev/pts/9\n".encode(), TOKENS)[0] == "pts/3"
