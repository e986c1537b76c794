"""What is really run on a host for a step's action.

Every command that changes something runs as

    lockf -k -s -t 0 /var/run/cellblock/ID sh -c FENCED sh /var/run/cellblock/ID TOKEN SECONDS COMMAND...

The lock shows that a command still runs after its worker or its connection died: lockf(1) then exits with 75. The
file's content is the token of the newest worker: a command that an older worker had sent and that starts only now
finds another number, or none, and exits with 76 without having done a thing. timeout(1) ends the command on the host
itself.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from jails.freebsd import sh
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.facts import HostFacts
from jails.operations.step import Action, BootList, RemoveFile, Run, Undo, WriteFile, digest

LOCK_DIRECTORY = "/var/run/cellblock"
HELD = 75
"""lockf(1), EX_TEMPFAIL: somebody has the lock."""
NO_FOLDER = 73
"""lockf(1), EX_CANTCREAT: its file cannot be opened; the host was restarted, or somebody emptied /var/run."""
OVERTAKEN = 76
"""The lock file does not name this worker's token."""
TIMED_OUT = 124
"""timeout(1)."""
KILL_AFTER = 10
"""Seconds between timeout(1)'s SIGTERM and its SIGKILL."""

# Without --foreground timeout(1) waits for every descendant, and kills them all: it would wait for a jail's daemons.
LEAVE_DAEMONS = frozenset(
    {"jail", "jexec", "service", "appjail", "bastille", "cbsd", "ezjail-admin", "iocage", "iocell", "jailadmin", "pot"}
)
"""Commands that start jails, other tools' among them."""

_FENCED = """\
t=
read -r t <"$1"
if [ "$t" != "$2" ]; then [ "$t" ] || rm -f "$1"; exit 76; fi
l=$3
shift 3
exec timeout -k 10 "$l" "$@\""""
_FENCED_FOREGROUND = _FENCED.replace("timeout ", "timeout --foreground ")

# Only ever upwards: a worker that was overtaken must not take the file back.
_RAISE = """\
t=
read -r t <"$1"
[ "$t" ] || t=0
[ "$2" -ge "$t" ] || exit 76
[ "$2" -eq "$t" ] || echo "$2" >"$1\""""

# Only by who has it: another worker may have taken over since.
_REMOVE_LOCK = """\
t=
read -r t <"$1"
[ "$t" != "$2" ] || rm -f "$1\""""

_IN_FOLDER = 'install -d -m 0700 "$1" && shift && exec "$@"'

# Input that is cut off by a lost connection must not become real, so the content is compared before the last step.
# ln(1) never replaces anything, but would put the file into a directory of its name.
_WRITE_NEW = """\
umask 077
rm -f "$1" || exit
cat >"$1" && [ "$(sha256 -q "$1")" = "$4" ] && chmod "$3" "$1" &&
if [ -d "$2" ]; then echo "$2: is a directory" >&2; false; else ln "$1" "$2"; fi
r=$?
rm -f "$1"
exit "$r\""""

_WRITE_OVER = """\
if [ -L "$2" ]; then echo "$2: is a symbolic link, expected a file" >&2; exit 1; fi
h=$(sha256 -q "$2") || exit
if [ "$h" != "$3" ]; then echo "$2: has changed since the plan was made" >&2; exit 1; fi
umask 077
rm -f "$1" || exit
cp -p "$2" "$1" && cat >"$1" && [ "$(sha256 -q "$1")" = "$4" ] && mv -f "$1" "$2"
r=$?
[ "$r" = 0 ] || rm -f "$1"
exit "$r\""""

_REMOVE = """\
if [ -L "$1" ]; then echo "$1: is a symbolic link, expected a file" >&2; exit 1; fi
h=$(sha256 -q "$1") || exit
if [ "$h" != "$2" ]; then echo "$1: has changed since the plan was made" >&2; exit 1; fi
rm "$1\""""


def lock_file(operation_id: object) -> str:
    return f"{LOCK_DIRECTORY}/{operation_id}"


def fence(operation_id: object, token: int) -> Pipeline:
    """Take the operation's lock and shut out older workers. 75: a command still runs; 76: this worker is the older.

    The folder is made each time: a reboot of the host empties /var/run.
    """
    lock = lock_file(operation_id)
    argv = (*_lockf(lock), "sh", "-c", _RAISE, "sh", lock, str(token))
    return Pipeline.of(("sh", "-c", _IN_FOLDER, "sh", LOCK_DIRECTORY, *argv))


def remove_lock(operation_id: object, token: int) -> Pipeline:
    """Unless a command still runs under it, or it is another worker's by now."""
    lock = lock_file(operation_id)
    return Pipeline.of((*_lockf(lock), "sh", "-c", _REMOVE_LOCK, "sh", lock, str(token)))


def fenced(pipeline: Pipeline, operation_id: object, token: int, seconds: int) -> Pipeline:
    """The same pipeline under the operation's lock, its token and a time limit."""
    lock = lock_file(operation_id)
    leaves_daemons = any(posixpath.basename(argv[0]) in LEAVE_DAEMONS for argv in pipeline.argvs)
    text = _FENCED_FOREGROUND if leaves_daemons else _FENCED
    argv = sh.argv_of(pipeline)
    return Pipeline.of(
        (*_lockf(lock), "sh", "-c", text, "sh", lock, str(token), str(seconds), *argv), stdin=pipeline.stdin
    )


def _lockf(lock: str) -> Argv:
    return ("lockf", "-k", "-s", "-t", "0", lock)


def pipeline(action: Action, operation_id: object, captured: Mapping[str, str] | None = None) -> Pipeline:
    """The commands of an action. Raises KeyError where it names what was never captured, TypeError for a BootList,
    whose commands depend on the host's rc.conf when it runs."""
    if isinstance(action, Run):
        return action.pipeline(captured)
    if isinstance(action, WriteFile):
        return _write(action, operation_id)
    if isinstance(action, RemoveFile):
        return Pipeline.of(("sh", "-c", _REMOVE, "sh", action.path, digest(action.before)))
    raise TypeError(f"{type(action).__name__} has no commands of its own")


def boot_commands(action: BootList, facts: HostFacts) -> tuple[Argv, ...]:
    """What changes the boot list of a host as it is now, and no other jail's boot; none where it is so already."""
    from jails.freebsd import boot

    change = boot.boot_change(
        facts.boot_state(),
        add=action.add,
        remove=action.remove,
        rename=dict(action.rename),
        destroyed=action.destroyed,
        order=action.order,
    )
    return change.commands


def temporary(path: str, operation_id: object) -> str:
    """Where a file's content is put before it becomes real: beside it, under a name that no include pattern takes."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.{operation_id}")


def remove_drafts(actions: Iterable[Action], operation_id: object) -> Pipeline | None:
    """Of files whose writing was cut off, as when the host went down; None where no file is written."""
    paths = {temporary(action.path, operation_id) for action in actions if isinstance(action, WriteFile)}
    return Pipeline.of(("rm", "-f", *sorted(paths))) if paths else None


def _write(action: WriteFile, operation_id: object) -> Pipeline:
    draft = temporary(action.path, operation_id)
    sums = digest(action.content)
    if action.before is None:
        argv: Argv = ("sh", "-c", _WRITE_NEW, "sh", draft, action.path, action.mode, sums)
    else:
        argv = ("sh", "-c", _WRITE_OVER, "sh", draft, action.path, digest(action.before), sums)
    return Pipeline.of(argv, stdin=action.content.encode())


def undo_of(action: Action) -> tuple[Undo, ...]:
    """How a file or a boot list is put back, guarded by the proof that it is as this operation left it.

    For kinds, as `undo=` of a step. A Run has no undo that could be guessed.
    """
    from jails.operations.checks import file_absent, file_has

    if isinstance(action, WriteFile):
        ours = (file_has(action.path, action.content),)
        if action.before is None:
            return (Undo(RemoveFile(action.path, action.content), only_if=ours),)
        return (Undo(WriteFile(action.path, action.before, before=action.content, mode=action.mode), only_if=ours),)
    if isinstance(action, RemoveFile):
        return (Undo(WriteFile(action.path, action.before), only_if=(file_absent(action.path),)),)
    if isinstance(action, BootList):
        back = BootList(
            add=(*action.remove, *action.destroyed),
            remove=action.add,
            rename=tuple((new, old) for old, new in action.rename),
            order=action.order,
        )
        return (Undo(back),)
    raise TypeError(f"{type(action).__name__} has no undo that could be guessed")
