"""jexec(8): running a command inside a jail that runs."""

from collections.abc import Sequence

from jails.freebsd import names
from jails.freebsd.command import Argv, argv, checked


def run(name: str | int, command: Sequence[str], *, user: str = "", clean: bool = True) -> Argv:
    """Run a command as root or as a user that the jail itself knows (-U), in the jail of that name or jid.

    With `clean` (-l) the environment starts empty, which needs a password database and a home in the jail's tree.
    """
    options = ["-l"] if clean else []
    if user:
        options += ["-U", names.require("user", user, names.user_name_error)]
    if isinstance(name, int):
        if name <= 0:
            raise ValueError(f"jid: {name} is no jail's")
        return argv("jexec", *options, str(name), *checked(command))
    names.require("name", name, names.jail_reference_error)
    return argv("jexec", *options, name, *checked(command))


def sh(name: str, script: str, *arguments: str, user: str = "", clean: bool = True) -> Argv:
    """Run a script with the jail's own sh; what varies goes in as $1, $2, …, never into the script's text."""
    return run(name, ("sh", "-c", script, "sh", *arguments), user=user, clean=clean)
