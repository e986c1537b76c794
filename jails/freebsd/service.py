"""service(8): rc.d/jail as people start and stop a jail by hand."""

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

ACTIONS = ("start", "stop", "restart")


def jail(action: str, name: str, *, enabled: bool = True) -> Argv:
    """Start, stop or restart one jail. Its status is 0 even where the jail failed: ask jls afterwards.

    `enabled` is whether rc.conf has jail_enable=YES; without it rc.subr(8) wants the prefix `one`.
    """
    if action not in ACTIONS:
        raise ValueError(f"action: expected one of {', '.join(ACTIONS)}, got {action!r}")
    names.require("name", name, names.jail_name_error)
    return argv("service", "jail", action if enabled else f"one{action}", name)
