"""pw(8): users of a tree that no tenant has touched; in any other it is run from inside the jail."""

from jails.freebsd import names
from jails.freebsd.command import Argv, argv


def show_user(user: str, *, root: str = "") -> Argv:
    return argv("pw", *_root(root), "usershow", "-n", _user(user))


def forbid_password(user: str, *, root: str = "") -> Argv:
    """Give a password hash that no password has (`*`): keys still work."""
    return argv("pw", *_root(root), "usermod", "-n", _user(user), "-h", "-")


def lock(user: str, *, root: str = "") -> Argv:
    return argv("pw", *_root(root), "lock", _user(user))


def unlock(user: str, *, root: str = "") -> Argv:
    return argv("pw", *_root(root), "unlock", _user(user))


def _user(value: str) -> str:
    return names.require("user", value, names.user_name_error)


def _root(value: str) -> list[str]:
    return ["-R", names.require("root", value, names.path_error)] if value else []
