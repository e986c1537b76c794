"""timeout(1): a command that is ended on the host when its time is over, with all it has started."""

import re
from collections.abc import Sequence

from jails.freebsd.command import Argv, argv, checked

EXPIRED = 124
"""The status when the time was over."""
KILLED = 137
"""The status when the command did not end at SIGTERM either."""
GRACE = 2
"""Seconds between SIGTERM and SIGKILL."""
LONGEST = 2 * 3600
"""Seconds."""

# The end of input says that nobody holds the channel any more, whoever let go of it. timeout(1) passes the signal on to
# all that is below it (PROC_REAP_KILL). What reads is of the shell itself: while sh(1) waits for another program, like
# cat(1), it also waits for whatever else of its own has ended (dowait in bin/sh/jobs.c), and the number that it is to
# signal could be another process's by then. What the command says on standard error would be the jail's words: only the
# line of the inner sh is let out.
_TOLD = '"$@" 2>/dev/null; printf "end %s\\n" "$?" >&2'
_WHILE_OPEN = """\
grace=$1 seconds=$2 told=$3
shift 3
timeout -k "$grace" "$seconds" sh -c "$told" sh "$@" &
exec >/dev/null
while read -r _; do :; done
kill "$!" 2>/dev/null
wait "$!"
"""
_END = re.compile(rb"end ([0-9]{1,3})\n")


def run(seconds: float, command: Sequence[str]) -> Argv:
    """The command, for at most so many seconds.

    It is the reaper of what the command starts (bin/timeout/timeout.c, PROC_REAP_ACQUIRE), so that nothing of it stays,
    inside a jail or out: for commands that read, never for one that starts a daemon.
    """
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"seconds: {seconds:g}, expected more than 0 and at most {LONGEST}")
    return argv("timeout", "-k", str(GRACE), f"{seconds:.0f}", *checked(command))


def while_open(seconds: float, command: Sequence[str]) -> Argv:
    """The command, for at most so many seconds, and no longer than standard input is open. It reads nothing of that.

    When it ends by itself that is told on standard error: `ended`.
    """
    run(seconds, command)  # the same limits
    return argv("sh", "-c", _WHILE_OPEN, "sh", str(GRACE), f"{seconds:.0f}", _TOLD, *checked(command))


def ended(error: bytes) -> int | None:
    """The status that a command of `while_open` has ended with by itself, by standard error; None before."""
    found = _END.search(error)
    return int(found[1]) if found else None
