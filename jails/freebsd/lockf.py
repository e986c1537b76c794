"""lockf(1): a lock on the host that lasts as long as the command, whatever becomes of who started it."""

from jails.freebsd import names
from jails.freebsd.command import Argv, Pipeline, argv
from jails.freebsd.sh import argv_of

DIRECTORY = "/var/run/cellblock"
HELD = 75  # EX_TEMPFAIL: somebody else has the lock, the command was not run


def locked(file: str, command: Argv | Pipeline, *, wait: int = 0) -> Argv:
    """The command under the lock `file`, which stays (-k); status HELD when it is not free within `wait` seconds."""
    names.require("file", file, names.path_error)
    if not 0 <= wait <= 86400:
        raise ValueError(f"wait: expected 0 to 86400 seconds, got {wait}")
    pipeline = command if isinstance(command, Pipeline) else Pipeline((command,))
    return argv("lockf", "-k", "-s", "-t", str(wait), file, *argv_of(pipeline))


def is_free(file: str) -> Argv:
    """Status 0 when nobody has the lock, HELD when somebody has."""
    return locked(file, ("true",))
