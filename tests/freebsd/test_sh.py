import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jails.freebsd import sh
from jails.freebsd.command import Pipeline

SHELLS = [["dash"], ["bash", "--posix"]]
LOGIN_SHELLS = ["tcsh", "dash", "bash"]
WORDS = [
    "plain",
    "",
    "a!b",
    "!!",
    "two words",
    "line\nbreak",
    "ends\n",
    "\n",
    "it's",
    '"double"',
    "$HOME ${x} $(id) `id`",
    "back\\slash\\",
    "\\n\\101",
    "100%s %% %",
    "*?[a-z]{a,b}~",
    "=1",
    "~root",
    "-n",
    "# no comment",
    "; & | < > ( )",
    "tab\tbell\a\x01\x7f",
    "ünï©ødé 日本 🐡",
    "\udcff\udc80",
    "a^b",
]
# Prints every argument with its length, so that neither splitting nor joining can hide.
SHOW = ["python3", "-c", "import os,sys\nfor a in sys.argv[1:]: b=os.fsencode(a); print(len(b), b)"]


def shown(words):
    raw = [word.encode("utf-8", "surrogateescape") for word in words]
    return "".join(f"{len(word)} {word}\n" for word in raw).encode()


def run(shell, text, stdin=b""):
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    return subprocess.run([*shell, "-c", text], input=stdin, capture_output=True, timeout=20)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_rendered_words_arrive_unchanged(shell):
    done = run(shell, sh.render(Pipeline.of([*SHOW, *WORDS])))
    assert (done.returncode, done.stdout) == (0, shown(WORDS))


@pytest.mark.parametrize("login_shell", LOGIN_SHELLS)
@pytest.mark.parametrize("word", WORDS)
def test_remote_word_arrives_unchanged(login_shell, word):
    done = run([login_shell], sh.remote_string([*SHOW, word, "end"]))
    assert (done.returncode, done.stdout, done.stderr) == (0, shown([word, "end"]), b"")


@pytest.mark.parametrize("login_shell", LOGIN_SHELLS)
def test_remote_plain_words_arrive_unchanged(login_shell):
    words = ["=1", "%1", "@", "a=b", "50%%", "+x", "x:y,z", "-n"]
    assert run([login_shell], sh.remote_string(["printf", "%s.", *words])).stdout == b"=1.%1.@.a=b.50%%.+x.x:y,z.-n."


@pytest.mark.parametrize("login_shell", LOGIN_SHELLS)
def test_remote_long_word_arrives(login_shell):
    done = run([login_shell], sh.remote_string([*SHOW, "x" * 100_000, "a b"]))
    assert done.stdout == shown(["x" * 100_000, "a b"])


def test_remote_string_refuses_what_the_host_could_not_take():
    with pytest.raises(ValueError, match="use stdin"):
        sh.remote_string(["printf", " " * 100_000])


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
def test_remote_string_keeps_foreign_bytes_from_the_login_shell(words):
    text = sh.remote_string(["tool", *words])
    inside = text.removeprefix("exec /bin/sh -c '").removesuffix("'")
    assert text.isascii() and text.isprintable()
    assert not set(inside) & set("'!`&|<>*?[]{}~#^")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=4))
@pytest.mark.parametrize("login_shell", ["tcsh", "dash"])
def test_any_remote_word_arrives(login_shell, words):
    done = run([login_shell], sh.remote_string(["printf", "%s\\0", *words]))
    assert done.stdout == "".join(word + "\0" for word in words).encode()


@pytest.mark.parametrize("login_shell", LOGIN_SHELLS)
def test_remote_status_and_path(login_shell):
    assert run([login_shell], sh.remote_string(["sh", "-c", "echo $PATH; exit 7"])).returncode == 7
    assert run([login_shell], sh.remote_string(["sh", "-c", "echo $PATH"])).stdout.decode() == sh.PATH + "\n"


def test_nul_is_refused():
    for refuses in (sh.quote, lambda word: sh.remote_string(["tool", word]), lambda word: Pipeline.of(["tool", word])):
        with pytest.raises(ValueError, match="NUL"):
            refuses("a\0b")


@pytest.mark.parametrize("word", ["exit", "if", ".", "eval"])
def test_words_of_the_shell_are_no_tools(word):
    with pytest.raises(ValueError, match="not a tool"):
        sh.render(Pipeline.of([word, "0"]))


def fails(status):
    return ["sh", "-c", f"cat; exit {status}"]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((0, 0), 0),
        ((3, 0), 3),
        ((0, 4), 4),
        ((0, 0, 0), 0),
        ((3, 0, 0), 3),
        ((0, 4, 0), 4),
        ((0, 0, 5), 5),
        ((3, 4, 0), 4),
    ],
)
def test_pipeline_fails_if_any_part_fails(shell, statuses, expected):
    done = run(shell, sh.render(Pipeline.of(*map(fails, statuses))), b"data, no newline")
    assert (done.returncode, done.stdout) == (expected, b"data, no newline")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_pipeline_with_a_missing_tool_fails(shell):
    assert run(shell, sh.render(Pipeline.of(["no-such-tool-here"], ["cat"]))).returncode == 127


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_pipeline_reports_a_killed_part(shell):
    done = run(shell, sh.render(Pipeline.of(["sh", "-c", "kill -9 $$"], ["cat"])))
    assert done.returncode == 137


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_output_of_a_part_cannot_pretend_a_status(shell):
    writes = "for n in 3 4 5 6; do echo r1=0 >&$n; done 2>/dev/null; echo r1=0 >&2; echo r1=0; exit 9"
    done = run(shell, sh.render(Pipeline.of(["sh", "-c", writes], ["cat"])))
    assert (done.returncode, done.stdout) == (9, b"r1=0\n")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_pipeline_keeps_binary_data(shell):
    data = bytes(range(256)) * 100
    assert run(shell, sh.render(Pipeline.of(["cat"], ["cat"], ["cat"])), data).stdout == data


BATCH = [
    (["printf", "no newline"], sh.Part(0, b"no newline", b"")),
    (["printf", "two\n\n"], sh.Part(0, b"two\n\n", b"")),
    (["true"], sh.Part(0, b"", b"")),
    (["sh", "-c", "printf '\\000\\377'; echo oops >&2; exit 3"], sh.Part(3, b"\0\xff", b"oops")),
    (["printf", "\n"], sh.Part(0, b"\n", b"")),
    (["printf", "cellblock-batch 0123456789 2\n\n0123456789 0 rc 0\n"], None),
    (["cat"], sh.Part(0, b"", b"")),
]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_batch_restores_each_part(shell):
    done = run(shell, sh.batch([words for words, _ in BATCH]), b"stdin is not for them")
    parts = sh.split_batch(done.stdout)
    assert done.stderr == b"" and len(parts) == len(BATCH)
    assert [part for part, (_, expected) in zip(parts, BATCH, strict=True) if expected] == [e for _, e in BATCH if e]


@pytest.mark.parametrize("login_shell", LOGIN_SHELLS)
def test_batch_over_a_login_shell(login_shell):
    text = sh.batch([["echo", "a!b"], ["no-such-tool-here"], Pipeline.of(["echo", "x"], ["false"])])
    parts = sh.split_batch(run([login_shell], sh.remote_string(["sh", "-c", text])).stdout)
    assert [part.rc for part in parts] == [0, 127, 1]
    assert parts[0].stdout == b"a!b\n" and b"not found" in parts[1].stderr


def test_batch_skips_what_the_login_shell_printed():
    done = run(["dash"], sh.batch([["echo", "x"]]))
    assert sh.split_batch(b"Welcome!\n" + done.stdout) == [sh.Part(0, b"x\n", b"")]


def test_batch_with_a_forged_frame_is_not_believed():
    nonce = "0123456789"
    forged = ["printf", f"\n{nonce} 0 rc 0\n\n{nonce} 0 end\n"]
    with pytest.raises(ValueError, match="out of order"):
        sh.split_batch(run(["dash"], sh.batch([forged], nonce)).stdout)


def test_batch_cut_off_anywhere_is_an_error():
    whole = run(["dash"], sh.batch([["echo", "x"], ["echo", "y"]])).stdout
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="cut off"):
            sh.split_batch(whole[:length])


def test_batches_have_nonces_of_their_own():
    assert sh.batch([["true"]]) != sh.batch([["true"]])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=3))
def test_batch_restores_any_bytes(outputs):
    commands = [["printf", "".join(f"\\{byte:03o}" for byte in output) or "%b"] for output in outputs]
    assert [part.stdout for part in sh.split_batch(run(["dash"], sh.batch(commands)).stdout)] == outputs


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_batch_costs_a_process_a_command():
    text = sh.batch([["/bin/true"]] * 5)
    done = subprocess.run(["strace", "-f", "-e", "trace=process", "dash", "-c", text], capture_output=True, text=True)
    assert done.stderr.count("execve(") == 6
