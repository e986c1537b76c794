"""timeout(1): a command that is ended on the host when its time is over, with all it has started."""

from collections.abc import Sequence

from jails.freebsd.command import Argv, argv, checked

EXPIRED = 124
"""The status when the time was over."""
KILLED = 137
"""The status when the command did not end at SIGTERM either."""
GRACE = 2
"""Seconds between SIGTERM and SIGKILL."""


def run(seconds: float, command: Sequence[str]) -> Argv:
    """The command, for at most so many seconds.

    It is the reaper of what the command starts (bin/timeout/timeout.c, PROC_REAP_ACQUIRE), so that nothing of it stays,
    inside a jail or out: for commands that read, never for one that starts a daemon.
    """
    if not 0 < seconds <= 3600:
        raise ValueError(f"seconds: {seconds:g}, expected more than 0 and at most 3600")
    return argv("timeout", "-k", str(GRACE), f"{seconds:.0f}", *checked(command))
