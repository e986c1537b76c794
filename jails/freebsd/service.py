"""service(8): rc.d/jail as people start and stop a jail by hand."""

import re

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

ACTIONS = ("start", "stop", "restart")
DAEMON_ACTIONS = ("start", "stop", "restart", "reload", "onestart", "onestop")


def jail(action: str, name: str, *, enabled: bool = True) -> Argv:
    """Start, stop or restart one jail. Its status is 0 even where the jail failed: ask jls afterwards.

    `enabled` is whether rc.conf has jail_enable=YES; without it rc.subr(8) wants the prefix `one`.
    """
    if action not in ACTIONS:
        raise ValueError(f"action: expected one of {', '.join(ACTIONS)}, got {action!r}")
    names.require("name", name, names.jail_name_error)
    return argv("service", "jail", action if enabled else f"one{action}", name)


def daemon(action: str, name: str) -> Argv:
    """Start, stop, restart or reload a service of the base system; `one…` also where rc.conf does not enable it."""
    if action not in DAEMON_ACTIONS:
        raise ValueError(f"action: expected one of {', '.join(DAEMON_ACTIONS)}, got {action!r}")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
        raise ValueError(f"name: {name!r} is not the name of a service")
    return argv("service", name, action)
