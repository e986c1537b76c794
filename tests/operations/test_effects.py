"""The fixed texts for files and the fence, run by this machine's own sh."""

import subprocess
import time

import pytest

from jails.freebsd.command import Pipeline
from jails.operations import effects
from jails.operations.step import BootList, RemoveFile, Run, WriteFile
from tests.operations import fakes

ID = "7b0d3f2e-0000-4000-8000-000000000000"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setattr(effects, "LOCK_DIRECTORY", str(tmp_path / "locks"))
    return fakes.ShellHost(tmp_path)


@pytest.fixture
def do(shell):
    return lambda action: shell.run(effects.pipeline(action, ID), timeout=10)


def listing(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name not in ("shims", "locks"))


NASTY = 'it\'s $(reboot) `x` \\ "q" \n\ttab %s é\n'


def test_a_new_file_gets_its_content_and_mode(do, tmp_path):
    assert do(WriteFile(f"{tmp_path}/a b", NASTY, mode="0640")).ok
    assert (tmp_path / "a b").read_text() == NASTY
    assert (tmp_path / "a b").stat().st_mode & 0o777 == 0o640
    assert listing(tmp_path) == ["a b"]


def test_a_new_file_never_overwrites(do, tmp_path):
    (tmp_path / "f").write_text("theirs")
    assert not do(WriteFile(f"{tmp_path}/f", "ours")).ok
    assert (tmp_path / "f").read_text() == "theirs" and listing(tmp_path) == ["f"]


def test_a_new_file_is_not_put_into_a_directory_of_its_name(do, tmp_path):
    (tmp_path / "d").mkdir()
    assert not do(WriteFile(f"{tmp_path}/d", "ours")).ok
    assert list((tmp_path / "d").iterdir()) == []


def test_a_new_file_does_not_follow_a_link(do, tmp_path):
    (tmp_path / "f").symlink_to(tmp_path / "elsewhere")
    assert not do(WriteFile(f"{tmp_path}/f", "ours")).ok
    assert not (tmp_path / "elsewhere").exists()


def test_content_that_was_cut_off_does_not_become_real(shell, tmp_path):
    whole = effects.pipeline(WriteFile(f"{tmp_path}/f", "one\ntwo\n"), ID)
    assert not shell.run(Pipeline(whole.argvs, b"one\n"), timeout=10).ok
    assert listing(tmp_path) == []


def test_a_file_is_replaced_and_keeps_its_mode(do, tmp_path):
    (tmp_path / "f").write_text("old\n")
    (tmp_path / "f").chmod(0o600)
    assert do(WriteFile(f"{tmp_path}/f", NASTY, before="old\n")).ok
    assert (tmp_path / "f").read_text() == NASTY
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600 and listing(tmp_path) == ["f"]


def test_a_file_that_was_edited_since_is_left(do, tmp_path):
    (tmp_path / "f").write_text("edited\n")
    result = do(WriteFile(f"{tmp_path}/f", "new\n", before="old\n"))
    assert not result.ok and b"has changed since the plan was made" in result.stderr
    assert (tmp_path / "f").read_text() == "edited\n"


def test_a_replacement_that_was_cut_off_leaves_the_file(shell, tmp_path):
    (tmp_path / "f").write_text("old\n")
    whole = effects.pipeline(WriteFile(f"{tmp_path}/f", "one\ntwo\n", before="old\n"), ID)
    assert not shell.run(Pipeline(whole.argvs, b"one\n"), timeout=10).ok
    assert (tmp_path / "f").read_text() == "old\n" and listing(tmp_path) == ["f"]


def test_a_symbolic_link_is_not_replaced_by_a_file(do, tmp_path):
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "f").symlink_to("real")
    assert not do(WriteFile(f"{tmp_path}/f", "new\n", before="old\n")).ok
    assert (tmp_path / "f").is_symlink()


def test_only_the_expected_file_is_removed(do, tmp_path):
    (tmp_path / "f").write_text("edited\n")
    assert not do(RemoveFile(f"{tmp_path}/f", "old\n")).ok
    assert do(RemoveFile(f"{tmp_path}/f", "edited\n")).ok
    assert listing(tmp_path) == []


@pytest.mark.parametrize("path", ["/etc/jail.conf.d/www1.conf", "/etc/jail.conf", "fstab"])
def test_drafts_lie_beside_the_file_and_match_no_include(path):
    draft = effects.temporary(path, ID)
    assert draft.rpartition("/")[0] == path.rpartition("/")[0]
    assert draft.rpartition("/")[2].startswith(".") and not draft.endswith(".conf")


@pytest.mark.parametrize("before", [None, "old\n"])
def test_writing_is_undone_by_its_inverse(do, tmp_path, before):
    if before:
        (tmp_path / "f").write_text(before)
    action = WriteFile(f"{tmp_path}/f", "new\n", before=before)
    do(action)
    for undo in effects.undo_of(action):
        assert do(undo.action).ok
    assert listing(tmp_path) == (["f"] if before else [])


def test_a_boot_list_is_undone_by_the_inverse_change():
    (undo,) = effects.undo_of(BootList(add=("a",), remove=("b",)))
    assert undo.action == BootList(add=("b",), remove=("a",))


def test_undoing_a_boot_list_renames_back_and_finds_the_old_place():
    action = BootList(rename=(("a", "b"),), destroyed=("c",), order=("c", "a"))
    (undo,) = effects.undo_of(action)
    assert undo.action == BootList(add=("c",), rename=(("b", "a"),), order=("c", "a"))


def test_a_run_has_no_undo_to_guess():
    with pytest.raises(TypeError):
        effects.undo_of(Run((("true",),)))


# The lock and its token


def fenced(argv, token=1, seconds=10, stdin=b""):
    return effects.fenced(Pipeline.of(argv, stdin=stdin), ID, token, seconds)


def test_a_command_runs_under_its_own_token(shell):
    assert shell.run(effects.fence(ID, 1), timeout=10).ok
    result = shell.run(fenced(("sh", "-c", 'cat; echo "$1"', "sh", NASTY), stdin=b"in\n"), timeout=10)
    assert result.ok and result.text == f"in\n{NASTY}\n"


def test_an_older_token_is_refused_without_a_word(shell, tmp_path):
    shell.run(effects.fence(ID, 2), timeout=10)
    result = shell.run(fenced(("touch", f"{tmp_path}/done"), token=1), timeout=10)
    assert (result.rc, result.stdout, result.stderr) == (effects.OVERTAKEN, b"", b"")
    assert listing(tmp_path) == []


def test_an_older_worker_cannot_take_the_fence_back(shell):
    shell.run(effects.fence(ID, 10), timeout=10)
    assert shell.run(effects.fence(ID, 9), timeout=10).rc == effects.OVERTAKEN
    assert shell.run(fenced(("true",), token=10), timeout=10).ok


def test_without_a_fence_nothing_runs(shell, tmp_path):
    (tmp_path / "locks").mkdir()
    assert shell.run(fenced(("touch", f"{tmp_path}/done")), timeout=10).rc == effects.OVERTAKEN


def test_while_a_command_runs_the_fence_is_held(shell):
    shell.run(effects.fence(ID, 1), timeout=10)
    command = fenced(("sleep", "1"))
    process = subprocess.Popen(command.argvs[0], env={"PATH": f"{shell.shims}:/usr/bin:/bin"})
    time.sleep(0.2)
    assert shell.run(effects.fence(ID, 2), timeout=10).rc == effects.HELD
    process.wait()
    assert shell.run(effects.fence(ID, 2), timeout=10).ok


def test_the_lock_is_removed_by_who_has_it_alone(shell, tmp_path):
    """A worker that was overtaken wakes up in the middle of its end."""
    shell.run(effects.fence(ID, 1), timeout=10)
    shell.run(effects.fence(ID, 2), timeout=10)
    shell.run(effects.remove_lock(ID, 1), timeout=10)
    assert shell.run(fenced(("true",), token=2), timeout=10).ok
    shell.run(effects.remove_lock(ID, 2), timeout=10)
    assert list((tmp_path / "locks").iterdir()) == []


def test_the_lock_is_not_removed_from_under_a_command(shell, tmp_path):
    shell.run(effects.fence(ID, 1), timeout=10)
    process = subprocess.Popen(fenced(("sleep", "0.7")).argvs[0], env={"PATH": f"{shell.shims}:/usr/bin:/bin"})
    time.sleep(0.2)
    assert shell.run(effects.remove_lock(ID, 1), timeout=10).rc == effects.HELD
    assert shell.run(effects.fence(ID, 2), timeout=10).rc == effects.HELD
    process.wait()


def test_a_command_that_comes_after_the_end_leaves_no_lock(shell, tmp_path):
    shell.run(effects.fence(ID, 1), timeout=10)
    shell.run(effects.remove_lock(ID, 1), timeout=10)
    assert shell.run(fenced(("touch", f"{tmp_path}/done")), timeout=10).rc == effects.OVERTAKEN
    assert list((tmp_path / "locks").iterdir()) == [] and listing(tmp_path) == []


def test_the_folder_of_locks_is_for_its_owner_alone(shell, tmp_path):
    shell.run(effects.fence(ID, 1), timeout=10)
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


def test_all_parts_of_a_pipeline_end_with_its_time_limit(shell, tmp_path):
    shell.run(effects.fence(ID, 1), timeout=10)
    parts = Pipeline.of(("sleep", "5"), ("sh", "-c", f"sleep 2; touch {tmp_path}/late"))
    assert shell.run(effects.fenced(parts, ID, 1, 1), timeout=10).rc == effects.TIMED_OUT
    time.sleep(1.5)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("argv", "foreground"),
    [(("jail", "-c", "www1"), True), (("/usr/sbin/service", "jail", "start"), True), (("zfs", "list"), False)],
)
def test_a_command_that_leaves_daemons_is_not_waited_for_with_them(argv, foreground):
    assert ("--foreground" in str(fenced(argv).argvs)) is foreground
