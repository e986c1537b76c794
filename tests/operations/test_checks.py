"""What a question runs and what its answer means. Files are asked of real ones, ZFS and jails of recorded answers."""

import os

import pytest

from jails.hosts.connection import HostUnavailable, Result, Unavailable
from jails.operations import checks
from jails.operations.step import Check, digest
from tests.operations import fakes

ID = "7b0d3f2e-0000-4000-8000-000000000000"


@pytest.fixture
def shell(tmp_path):
    return fakes.ShellHost(tmp_path)


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "pl'ace $x"
    folder.mkdir()
    (folder / "file").write_text("content\n")
    (folder / "link").symlink_to("file")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "empty").mkdir()
    return folder


FILES = [
    ("file_is", ("file", digest("content\n")), True),
    ("file_is", ("file", digest("other\n")), False),
    ("file_is", ("link", digest("content\n")), False),
    ("file_is", ("nothing", digest("")), False),
    ("file_absent", ("nothing",), True),
    ("file_absent", ("file",), False),
    ("path_absent", ("nothing",), True),
    ("path_absent", ("dangling",), False),
    ("path_exists", ("dangling",), True),
    ("path_exists", ("nothing",), False),
    ("directory_exists", ("",), True),
    ("directory_exists", ("file",), False),
    ("directory_exists", ("nothing",), False),
    ("directory_empty", ("empty",), True),
    ("directory_empty", ("",), False),
    ("directory_empty", ("nothing",), False),
    ("mode_is", ("file", "0600"), True),
    ("mode_is", ("file", "644"), False),
    ("mode_is", ("nothing", "644"), False),
]


@pytest.mark.parametrize(("name", "args", "expected"), FILES)
def test_files(shell, place, name, args, expected):
    (place / "file").chmod(0o600)
    path = str(place / args[0]) if args[0] else str(place)
    assert checks.ask(shell, [Check(name, (path, *args[1:]))]) == [expected]


def test_an_inode_is_this_directory_and_no_other(shell, place):
    inode = str(os.stat(place / "empty").st_ino)
    assert checks.all_hold(shell, [checks.inode_is(str(place / "empty"), "${inode}")], {"inode": inode})
    assert not checks.all_hold(shell, [checks.inode_is(str(place / "file"), inode)])
    assert not checks.all_hold(shell, [checks.inode_is(str(place / "nothing"), inode)])


def test_all_questions_are_asked_in_one_request(shell, place):
    asked = [checks.path_exists(str(place)), checks.is_not(checks.path_exists(str(place / "x")))]
    assert checks.ask(shell, asked) == [True, True] and len(shell.log) == 1


def test_no_question_is_no_request(shell):
    assert checks.all_hold(shell, []) and shell.log == []


class Answers:
    """A host that gives one answer to whatever it is asked."""

    def __init__(self, rc=0, stdout=""):
        self.result = Result(rc, stdout.encode(), b"cannot open: nothing works")

    def run(self, pipeline, **options):
        return self.result


ANSWERS = [
    (checks.dataset_ours("z/a", ID), f"{ID}\tlocal\n", True),
    (checks.dataset_ours("z/a", ID), f"{ID}\tinherited from z\n", False),
    (checks.dataset_ours("z/a", ID), "-\t-\n", False),
    (checks.dataset_ours("z/a", ID), "", False),
    (checks.snapshot_ours("z/a@s", ID), f"{ID}\tinherited from z/a\n", False),
    (checks.snapshot_ours("z/a@s", ID), f"{ID}\tlocal\n", True),
    (checks.dataset_absent("z/a"), "", True),
    (checks.dataset_absent("z/a"), "filesystem\n", False),
    (checks.dataset_exists("z/a"), "filesystem\n", True),
    (checks.snapshot_absent("z/a@s"), "snapshot\n", False),
    (checks.snapshots_free("z/a", "z/a@s"), "z/a@s\t\t0\n", True),
    (checks.snapshots_free("z/a", "z/a@s"), "z/a@s\t-\t0\nz/a@t\tz/b\t1\n", True),
    (checks.snapshots_free("z/a", "z/a@s"), "z/a@s\tz/b\t0\n", False),
    (checks.snapshots_free("z/a", "z/a@s"), "z/a@s\t\t2\n", False),
    (checks.snapshots_free("z/a", "z/a@s"), "", True),
    (checks.snapshot_held("z/a@s", "cellblock"), "z/a@s\tcellblock\tTue Nov 24  3:09 2026\n", True),
    (checks.snapshot_held("z/a@s", "cellblock"), "z/a@s\tmine\tTue Nov 24  3:09 2026\n", False),
    (checks.snapshot_held("z/a@s", "cellblock"), "", False),
    (checks.dataset_property("z/a", "quota", "1073741824"), "1073741824\n", True),
    (checks.dataset_property("z/a", "quota", "1073741824"), "0\n", False),
    (checks.dataset_origin("z/a", "z/r@s"), "z/r@s\n", True),
    (checks.jail_running("www1", "/jail/www1"), "/jail/www1\n", True),
    (checks.jail_running("www1", "/jail/www1"), "/jail/other\n", False),
    (checks.jail_running("www1", "/jail/www1"), "", False),
    (checks.jail_absent("www1"), "", True),
    (checks.jail_absent("www1"), "12\n", False),
    (checks.jail_gone("www1"), "12\n", False),
    (checks.jail_param("www1", "host.hostname", "a b"), "a b\n", True),
    (checks.service_runs("www1", "sshd"), "yes\n", True),
    (checks.service_runs("www1", "sshd"), "no\n", False),
    (checks.service_enabled("www1", "sshd"), "yes\n", True),
    (checks.service_enabled("www1", "sshd"), "no\n", False),
    (checks.limit_is("www1", "pcpu", "50"), "jail:www1:pcpu:deny=50\njail:www1:memoryuse:deny=9\n", True),
    (checks.limit_is("www1", "pcpu", "50"), "jail:www1:pcpu:deny=500\njail:www11:pcpu:deny=50\n", False),
    (checks.limit_is("www1", "pcpu", "none"), "jail:www1:pcpu:deny=5/user\njail:www1:pcpu:log=5\n", True),
    (checks.limit_is("www1", "pcpu", "none"), "jail:www1:pcpu:deny=50\n", False),
    (checks.mounted("/jail/a b"), "z/a\t/jail/a\\040b\tzfs\trw 0 0\n", True),
    (checks.unmounted("/jail/a"), "z/a /jail/a/b zfs rw 0 0\n", True),
    (checks.nothing_mounted_below("/jail/a"), "z/a /jail/a/b zfs rw 0 0\n", False),
    (checks.nothing_mounted_below("/jail/a"), "z/a /jail/a zfs rw 0 0\nz/b /jail/ab zfs rw 0 0\n", True),
    (checks.nothing_mounted_below("/jail/a"), "z/a@s /jail/a/.zfs/snapshot/s zfs ro,nosuid 0 0\n", True),
    (checks.mounted_below_only("/jail/a", "/jail/a/dev"), "z/a@s /jail/a/.zfs/snapshot/s zfs ro,nosuid 0 0\n", True),
    (checks.mounted_below_only("/jail/a", "/jail/a/dev"), "devfs /jail/a/dev devfs rw 0 0\n", True),
    (checks.mounted_below_only("/jail/a", "/jail/a/dev"), "z/b /jail/a/dev/x zfs rw 0 0\n", False),
    (checks.rc_list_has("jail_list", "www1"), "db www1\n", True),
    (checks.rc_list_has("jail_list", "www"), "db www1\n", False),
    (checks.rc_list_has_not("jail_list", "www1"), "", True),
]


@pytest.mark.parametrize(("check", "answer", "expected"), ANSWERS)
def test_answers(check, answer, expected):
    assert checks.ask(Answers(stdout=answer), [check]) == [expected]
    assert checks.ask(Answers(stdout=answer), [checks.is_not(check)]) == [not expected]


@pytest.mark.parametrize("check", {check.kind: check for check, _, _ in ANSWERS}.values(), ids=lambda c: c.kind)
def test_a_command_that_fails_is_never_an_answer(check):
    with pytest.raises(checks.Unanswered):
        checks.ask(Answers(rc=1), [check])


def test_a_host_that_is_away_is_no_answer(shell):
    shell.before = fakes.unreachable
    with pytest.raises(HostUnavailable) as away:
        checks.ask(shell, [checks.path_exists("/")])
    assert away.value.reason == Unavailable.UNREACHABLE


def test_an_answer_cut_off_is_no_answer():
    asked = [checks.path_exists("/"), checks.path_exists("/")]
    with pytest.raises(checks.Unanswered):
        checks.ask(Answers(stdout="cellblock-batch 0123456789abcdef 2\nyes\n"), asked)


def test_an_unknown_check_is_an_error(shell):
    with pytest.raises(LookupError):
        checks.ask(shell, [Check("surely")])


def test_a_value_that_was_never_captured_is_an_error(shell):
    with pytest.raises(KeyError):
        checks.ask(shell, [checks.path_exists("${epair}")])


@pytest.mark.parametrize("name", sorted(checks._makers))
def test_what_comes_from_outside_is_never_part_of_a_shell_text(name):
    """Hostile arguments reach the host as words of their own, or not at all."""
    hostile = "-x'; reboot; '$(reboot)`reboot`"
    count = checks._makers[name].__code__.co_argcount
    argv = checks.question(Check(name, (hostile,) * count)).argv
    fixed = [word for word in argv if hostile not in word]
    assert all("reboot" not in word for word in fixed)
    assert argv[0] != "sh" or hostile not in argv[2]


@pytest.mark.parametrize("name", sorted(checks._makers))
def test_each_has_words_for_people(name):
    count = checks._makers[name].__code__.co_argcount
    assert "www" in checks.words(Check(name, ("www",) * count))


def test_words_show_what_is_yet_to_be_captured():
    assert checks.words(checks.path_exists("/dev/${epair}")) == "/dev/$epair exists"
